"""The whole model: gradients of every parameter, causality, key/value cache, initialisation, configuration.

Its logits, gradients and training steps are held against transformers in test_components and test_optimizer.
"""

import inspect
import json
import math
from fractions import Fraction

import numpy as np
import pytest

from minigpt2 import GPT2, AdamW, GPT2Config, flatten, gradient_check
from minigpt2.components import attention
from minigpt2.components.feed_forward import gelu_forward
from minigpt2.components.loss import cross_entropy_forward
from minigpt2.config import PRESETS
from minigpt2.model import block_forward, gpt2_backward, gpt2_forward

B, T, V, C, H = 2, 6, 7, 4, 2
SIZES = {"vocab_size": V, "n_positions": 8, "n_embd": C, "n_layer": 2, "n_head": H, "n_inner": 5}
DROPOUT = {"embd_pdrop": 0.1, "attn_pdrop": 0.2, "resid_pdrop": 0.3}


def tiny(dtype="float64", **changes):
    """A small model with weights that are far from zero, so that everything matters."""
    model = GPT2(GPT2Config(**SIZES | DROPOUT | changes), dtype=dtype)
    rng = np.random.default_rng(0)
    for name, parameter in flatten(model.params).items():
        gain = ".ln_" in f".{name}" and name.endswith("weight")
        parameter[...] = gain + 0.5 * rng.standard_normal(parameter.shape)
    return model


@pytest.fixture
def ids():
    return np.random.default_rng(1).integers(0, V, (B, T))


@pytest.fixture
def targets(ids):
    targets = np.roll(ids, -1, axis=1)
    targets[:, -1] = -100
    return targets


def copy_of(params):
    return {name: parameter.copy() for name, parameter in flatten(params).items()}


# Loss and gradients.


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("seed", [None, 3], ids=["", "dropout"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_gradient_of_every_parameter_is_the_difference(tied, seed, causal, ids, targets):
    model = tiny(tie_word_embeddings=tied)

    def forward(params):  # model.params, which the check changes in place
        rng = None if seed is None else np.random.default_rng(seed)
        return model.loss_and_grads(ids[:, :4], targets[:, :4], label_smoothing=0.1, rng=rng, causal=causal)

    def backward(dloss, grads):
        return {name: dloss * gradient for name, gradient in flatten(grads).items()}

    report = gradient_check(forward, backward, [flatten(model.params)])
    assert len(report.checks) == 2 + 2 * 12 + 2 + (not tied)
    assert report, report


def test_loss_is_the_cross_entropy_of_the_logits(ids, targets):
    model = tiny()
    logits, _ = model.forward(ids)
    expected, _ = cross_entropy_forward(logits, targets, 0.1)
    loss, _ = model.loss_and_grads(ids, targets, label_smoothing=0.1)
    assert type(loss) is float and loss == expected == model.loss(ids, targets, label_smoothing=0.1)
    bidirectional, _ = model.loss_and_grads(ids, targets, causal=False)
    assert bidirectional == model.loss(ids, targets, causal=False) != model.loss(ids, targets)


def test_gradient_of_the_key_bias_is_zero(ids, targets):
    """A bias that all keys share raises all scores of a query alike, which softmax does not see."""
    _, grads = tiny().loss_and_grads(ids, targets)
    for block in grads["h"]:
        bias = block["attn"]["c_attn"]["bias"]
        assert np.abs(bias[C : 2 * C]).max() < 1e-15
        assert np.abs(bias[:C]).max() > 1e-4 < np.abs(bias[2 * C :]).max()


def test_gradients_of_activations_add_up_to_those_of_what_was_added(ids):
    """The gradient of a bias is the sum of the gradients of all that it was added to."""
    model, dcache = tiny(), {}
    logits, cache = model.forward(ids)
    dlogits = np.random.default_rng(0).standard_normal(logits.shape)
    dembd, grads = gpt2_backward(dlogits, cache, dcache=dcache)
    assert dcache["logits"] is dlogits and dcache["embd"] is dembd
    sums = {
        "wpe.weight": np.pad(dcache["embd"].sum(axis=0), ((0, 8 - T), (0, 0))),
        "ln_f.bias": dcache["ln_f"].sum(axis=(0, 1)),
    }
    for i, d in enumerate(dcache["h"]):
        qkv = np.concatenate([d["attn"][name].sum(axis=(0, 2)).ravel() for name in "qkv"])
        sums |= {
            f"h.{i}.ln_1.bias": d["ln_1"].sum(axis=(0, 1)),
            f"h.{i}.attn.c_attn.bias": qkv,
            f"h.{i}.attn.c_proj.bias": d["attn"]["out"].sum(axis=(0, 1)),
            f"h.{i}.ln_2.bias": d["ln_2"].sum(axis=(0, 1)),
            f"h.{i}.mlp.c_fc.bias": d["mlp"]["fc"].sum(axis=(0, 1)),
            f"h.{i}.mlp.c_proj.bias": d["mlp"]["out"].sum(axis=(0, 1)),
        }
        # Without dropout, what a branch adds to the stream and the stream itself have one gradient.
        np.testing.assert_array_equal(d["resid_mid"], d["attn"]["out"])
        np.testing.assert_array_equal(d["resid_post"], d["mlp"]["out"])
        for kind, name in ("attn", "heads"), ("mlp", "gelu"):
            weight = model.params["h"][i][kind]["c_proj"]["weight"]
            np.testing.assert_allclose(d[kind][name], d[kind]["out"] @ weight.T, rtol=0, atol=1e-13)
    for name, value in sums.items():
        np.testing.assert_allclose(value, flatten(grads)[name], rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_from_weights_to_logits_to_trained_weights(dtype, ids, targets):
    model = tiny(dtype)
    optimizer = AdamW(model.params)
    _, grads = model.loss_and_grads(ids, targets, label_smoothing=0.1, rng=np.random.default_rng(0))
    optimizer.step(grads, max_norm=1.0)
    arrays = [model.forward(ids)[0], *flatten(grads).values(), *flatten(model.params).values()]
    assert {array.dtype.name for array in [*arrays, optimizer.m, optimizer.v]} == {dtype}


def test_loss_and_grads_change_nothing(ids, targets):
    model = tiny()
    before, ids_before, targets_before = copy_of(model.params), ids.copy(), targets.copy()
    model.loss_and_grads(ids, targets, rng=np.random.default_rng(0))
    for name, parameter in flatten(model.params).items():
        np.testing.assert_array_equal(parameter, before[name], err_msg=name)
    np.testing.assert_array_equal(ids, ids_before)
    np.testing.assert_array_equal(targets, targets_before)


def test_dropout_follows_its_generator_only(ids, targets):
    model = tiny()

    def logits(seed):
        return model.forward(ids, rng=None if seed is None else np.random.default_rng(seed))[0]

    without = tiny(embd_pdrop=0, attn_pdrop=0, resid_pdrop=0)
    np.testing.assert_array_equal(logits(None), without.forward(ids)[0])
    np.testing.assert_array_equal(logits(5), logits(5))
    assert not np.allclose(logits(5), logits(6)) and not np.allclose(logits(5), logits(None))


def test_one_batch_is_learnt_by_heart(ids, targets):
    model = GPT2(GPT2Config(**SIZES | {"n_embd": 16, "n_inner": None}))
    optimizer = AdamW(model.params, lr=0.01, weight_decay=0.0)
    first = model.loss(ids, targets)
    for _ in range(60):
        _, grads = model.loss_and_grads(ids, targets)
        optimizer.step(grads, max_norm=1.0)
    assert first > 1.8 and model.loss(ids, targets) < 0.05  # log 7 = 1.95 at first


# Forward.


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("t", [0, 3, T - 1])
def test_a_token_changes_earlier_logits_only_without_the_mask(causal, t, ids):
    model = tiny()
    before, _ = model.forward(ids, causal=causal)
    ids[0, t] = (ids[0, t] + 1) % V
    after, _ = model.forward(ids, causal=causal)
    changed = (before != after).any(axis=-1)
    assert changed[0].tolist() == [not causal or s >= t for s in range(T)]
    assert not changed[1].any()


def test_rows_of_a_batch_do_not_meet(ids):
    model = tiny()
    together, _ = model.forward(ids)
    apart = np.concatenate([model.forward(row[None])[0] for row in ids])
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-13)


def test_cache_holds_what_it_says(ids):
    model = tiny()
    logits, cache = model.forward(ids)
    assert logits.shape == (B, T, V) and len(cache["h"]) == 2
    assert cache["h"][1]["attn"]["probs"].shape == (B, H, T, T)
    wte, wpe = model.params["wte"]["weight"], model.params["wpe"]["weight"]
    np.testing.assert_array_equal(cache["embd"], wte[ids] + wpe[:T])
    assert cache["h"][0]["resid_mid"].shape == cache["h"][1]["resid_post"].shape == (B, T, C)


def test_keep_and_positions_change_no_logits(ids):
    model = tiny()
    logits, _ = model.forward(ids)
    last, cache = model.forward(ids, keep=False, positions=slice(-1, None))
    np.testing.assert_allclose(last, logits[:, -1:], rtol=0, atol=1e-14)
    assert cache["h"] == [None, None]


def test_ids_may_be_lists_or_any_integers(ids):
    model = tiny()
    logits, _ = model.forward(ids)
    for same in (ids.tolist(), ids.astype(np.uint8), ids.astype(np.int32)):
        np.testing.assert_array_equal(model.forward(same)[0], logits)


@pytest.mark.parametrize("chunks", [[1] * T, [3, 1, 2], [5, 1], [T]], ids=str)
@pytest.mark.parametrize("query_block", [1, 128])
@pytest.mark.parametrize("n_layer", [1, 2])
def test_key_value_cache_equals_the_full_forward(n_layer, chunks, query_block, ids, monkeypatch):
    model = tiny(n_layer=n_layer)
    expected, _ = model.forward(ids)
    monkeypatch.setattr(attention, "QUERY_BLOCK", query_block)
    past, logits, start = model.key_value_cache(B), [], 0
    for size in chunks:
        logits.append(model.forward(ids[:, start : start + size], past=past)[0])
        start += size
    assert [layer.length for layer in past] == [T] * n_layer
    # Largest difference measured: 1e-15.
    np.testing.assert_allclose(np.concatenate(logits, axis=1), expected, rtol=0, atol=1e-10)


def test_key_value_cache_has_its_limits(ids):
    model = tiny()
    past = model.key_value_cache(B, max_tokens=4)
    model.forward(ids[:, :3], past=past)
    with pytest.raises(ValueError, match="5 tokens, but it was made for 4"):
        model.forward(ids[:, 3:5], past=past)
    past = model.key_value_cache(B)
    model.forward(ids, past=past)
    with pytest.raises(ValueError, match="9 tokens, but the model has 8 positions"):
        model.forward(ids[:, :3], past=past)


@pytest.mark.parametrize("query_block", [1, 128])
@pytest.mark.parametrize("causal, chunks", [(True, [T]), (True, [4, 1, 1]), (True, [1, 5]), (False, [T])], ids=str)
def test_padded_sequences_get_the_logits_that_they_get_alone(causal, query_block, chunks, ids, monkeypatch):
    model, padding = tiny(), np.arange(B) % T
    monkeypatch.setattr(attention, "QUERY_BLOCK", query_block)
    past = model.key_value_cache(B) if len(chunks) > 1 else None
    parts, start = [], 0
    for size in chunks:
        part, _ = model.forward(ids[:, start : start + size], past=past, padding=padding, causal=causal)
        parts.append(part)
        start += size
    logits = np.concatenate(parts, axis=1)
    assert np.isfinite(logits).all() and padding.max() > 0
    for b, n in enumerate(padding):
        alone, _ = model.forward(ids[b : b + 1, n:], causal=causal)
        # Largest difference measured: 1e-15.
        np.testing.assert_allclose(logits[b, n:], alone[0], rtol=0, atol=1e-10)


def test_options_of_forward_are_those_of_the_function():
    method, function = (inspect.signature(f).parameters for f in (GPT2.forward, gpt2_forward))
    theirs = {name: (p.kind, p.default) for name, p in function.items() if name not in ("params", "config")}
    assert theirs == {name: (p.kind, p.default) for name, p in method.items() if name != "self"}


def test_generate_is_greedy_adds_20_tokens_and_has_seed_0():
    model = tiny()
    np.testing.assert_array_equal(model.generate([1, 2]), model.generate([1, 2], max_new_tokens=20, temperature=0.0))
    drawn = model.generate([1, 2], 20, temperature=5.0)
    np.testing.assert_array_equal(drawn, model.generate([1, 2], 20, temperature=5.0, seed=0))


# Initialisation.


def test_initial_weights_are_gpt2s():
    """The measured standard deviation of n numbers is off by std / sqrt(2 n); five times that is crossed by
    one array in two million."""
    sizes = {"vocab_size": 300, "n_positions": 64, "n_embd": 64, "n_layer": 3, "n_head": 2}
    config = GPT2Config(**sizes, tie_word_embeddings=False)
    for name, parameter in flatten(GPT2(config).params).items():
        if parameter.ndim == 1:
            assert (parameter == (1 if "ln_" in name and name.endswith("weight") else 0)).all(), name
            continue
        std = 0.02 / math.sqrt(2 * 3) if name.endswith("c_proj.weight") else 0.02
        assert abs(parameter.std() / std - 1) < 5 / math.sqrt(2 * parameter.size), name
        assert abs(parameter.mean()) < 5 * std / math.sqrt(parameter.size), name


def test_a_new_model_knows_nothing_yet(ids, targets):
    assert GPT2(GPT2Config(**SIZES)).loss(ids, targets) == pytest.approx(math.log(V), abs=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_same_bits(dtype):
    first, again, other = (flatten(GPT2(GPT2Config(**SIZES), seed, dtype).params) for seed in (1, 1, 2))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert first[name].dtype == dtype
        assert first[name].ndim == 1 or (first[name] != other[name]).all(), name


def test_initializer_range_is_used():
    wide, narrow = (GPT2(GPT2Config(**SIZES, initializer_range=r), dtype="float64") for r in (0.2, 0.02))
    np.testing.assert_allclose(wide.params["wte"]["weight"], 10 * narrow.params["wte"]["weight"])


# Configuration.


@pytest.mark.parametrize(
    "name, count",
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_presets_have_the_released_numbers_of_parameters(name, count):
    config = GPT2Config.preset(name)
    assert sum(math.prod(shape) for shape in config.parameter_shapes().values()) == count
    assert (config.vocab_size, config.n_positions, config.eos_token_id) == (50257, 1024, 50256)
    assert config.n_embd // config.n_head == 64


def test_the_defaults_are_gpt2_small():
    """As in the config.json of the released gpt2, whose text ends with the last token of its vocabulary."""
    wanted = {
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None,
        "embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1, "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02, "tie_word_embeddings": True,
    }  # fmt: skip
    assert GPT2Config().to_dict().items() >= wanted.items()
    assert GPT2Config.preset("gpt2") == GPT2Config(bos_token_id=50256, eos_token_id=50256)
    with pytest.raises(AttributeError):  # parameters are made for these sizes
        GPT2Config().n_layer = 1


def test_initial_weights_to_the_last_digit():
    rng = np.random.default_rng(3)
    for name, parameter in flatten(GPT2(GPT2Config(**SIZES), seed=3, dtype="float64").params).items():
        if parameter.ndim == 2:
            std = 0.02 / math.sqrt(2 * SIZES["n_layer"]) if name.endswith("c_proj.weight") else 0.02
            np.testing.assert_allclose(parameter, std * rng.standard_normal(parameter.shape), rtol=1e-12)


def test_the_default_seed_is_0():
    config = GPT2Config(**SIZES)
    zero = flatten(GPT2(config, seed=0).params)
    for name, parameter in flatten(GPT2(config).params).items():
        np.testing.assert_array_equal(parameter, zero[name])


def test_a_block_uses_gpt2s_eps(ids):
    block = tiny().params["h"][0]
    x = 1e-3 * np.random.default_rng(0).standard_normal((1, 3, block["ln_1"]["bias"].size))  # small, so that eps counts
    C = x.shape[-1]
    default, eps = (GPT2Config(n_embd=C, n_head=1, **eps) for eps in ({}, {"layer_norm_epsilon": 1e-5}))
    np.testing.assert_array_equal(block_forward(x, block, default)[0], block_forward(x, block, eps)[0])


def test_presets_are_four_and_can_be_changed():
    assert len(PRESETS) == 4
    assert GPT2Config.preset("gpt2", n_layer=1, vocab_size=10).parameter_shapes()["wte.weight"] == (10, 768)
    with pytest.raises(ValueError, match=r"expected one of gpt2, .*gpt2-xl, got 'gpt3'"):
        GPT2Config.preset("gpt3")


def test_num_parameters_counts_the_arrays():
    tied, untied = (GPT2(GPT2Config(**SIZES, tie_word_embeddings=tied)) for tied in (True, False))
    block = 2 * (2 * C) + (C * 3 * C + 3 * C) + (C * C + C) + (C * 5 + 5) + (5 * C + C)
    assert tied.num_parameters == V * C + 8 * C + 2 * block + 2 * C
    assert untied.num_parameters == tied.num_parameters + V * C


def test_config_survives_its_json():
    config = GPT2Config(**SIZES, tie_word_embeddings=False, layer_norm_epsilon=1e-6, eos_token_id=3)
    values = config.to_dict()
    assert GPT2Config.from_dict(values | {"use_cache": True, "task_specific_params": {}}) == config
    assert values["model_type"] == "gpt2" and values["activation_function"] == "gelu_new"


@pytest.mark.parametrize(
    "key, value",
    [
        ("activation_function", "gelu"),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("model_type", "llama"),
    ],
)
def test_config_of_another_model_is_refused(key, value):
    with pytest.raises(ValueError, match=f"{key}.*{value}"):
        GPT2Config.from_dict({key: value})


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"])
def test_every_name_of_the_tanh_form_of_gelu_is_read(name):
    config = GPT2Config.from_dict({"activation_function": name})
    assert config.to_dict()["activation_function"] == "gelu_new"
    torch = pytest.importorskip("torch", reason="computes the activation that transformers has under this name")
    activations = pytest.importorskip("transformers.activations", reason="compares with transformers").ACT2FN
    x = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    ours = gelu_forward(x.numpy())[0]
    np.testing.assert_allclose(activations[name](x).numpy(), ours, rtol=0, atol=1e-12)


def test_config_takes_the_numbers_of_numpy():
    """Arrays too: what np.savez has stored is read as an array () or (N,)."""
    ours = GPT2Config(n_layer=np.array(2), n_embd=np.uint8(12), n_head=np.int16(3), attn_pdrop=np.array(0.5),
                      tie_word_embeddings=np.array(True), eos_token_id=np.array([3, 4]))  # fmt: skip
    same = GPT2Config(n_layer=2, n_embd=12, n_head=3, attn_pdrop=0.5, tie_word_embeddings=True, eos_token_id=(3, 4))
    assert ours == same and json.dumps(ours.to_dict()) == json.dumps(same.to_dict())
    assert GPT2Config(eos_token_id=np.array(3)).eos_token_id == 3
    with pytest.raises(TypeError, match=r"n_layer must be an integer, got \[2\]"):
        GPT2Config(n_layer=np.array([2]))


@pytest.mark.parametrize("own, ids, ends", [
    (None, [], None), (None, [5], 5), (5, [5], 5), (5, [7, 5], (5, 7)), ((5, 6), [7], (5, 6, 7)), (50, [5, 60], 5),
    (50, [60], 50),
])  # fmt: skip
def test_config_takes_more_ends(own, ids, ends):
    assert GPT2Config(vocab_size=9, eos_token_id=own).with_ends(ids).eos_token_id == ends


def test_config_reads_the_other_names_of_its_numbers():
    """As transformers does; n_ctx is OpenAI's name, and stands beside n_positions in early files."""
    values = {"hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 2, "max_position_embeddings": 7}
    assert GPT2Config.from_dict(values) == GPT2Config(n_embd=12, n_head=3, n_layer=2, n_positions=7)
    assert GPT2Config.from_dict({"n_ctx": 7}).n_positions == 7
    assert GPT2Config.from_dict({"n_ctx": 7, "n_positions": 9, "n_embd": 12, "hidden_size": 12}).n_positions == 9
    with pytest.raises(ValueError, match=r"hidden_size=12 and n_embd=24 are two names of one number"):
        GPT2Config.from_dict({"n_embd": 24, "hidden_size": 12})


def test_config_keeps_several_ends():
    config = GPT2Config.from_dict({"eos_token_id": [3, 5]})
    assert config.eos_token_id == (3, 5) and hash(config)
    assert GPT2Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="eos_token_id must be an integer, got True"):
        GPT2Config.from_dict({"eos_token_id": [True]})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("changes", [
    {"vocab_size": np.array([3, 41]).max() + 1}, {"n_layer": np.uint8(2), "n_head": np.int32(1)},
    {"eos_token_id": np.int64(3)}, {"eos_token_id": [np.int64(3)]}, {"bos_token_id": np.uint16(1)},
    {"layer_norm_epsilon": np.float32(1e-5)}, {"layer_norm_epsilon": np.float16(1e-5)}, {"attn_pdrop": np.float32(0.1)},
    {"initializer_range": np.longdouble("0.02")}, {"embd_pdrop": Fraction(1, 10)}, {"resid_pdrop": np.int64(0)},
    {"tie_word_embeddings": np.bool_(False)}, {"n_inner": np.int16(20)},
])  # fmt: skip
def test_what_config_accepts_it_can_save(changes, tmp_path):
    config = GPT2Config(**{"n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 4, "vocab_size": 9} | changes)
    GPT2(config).save_pretrained(tmp_path)
    assert GPT2Config.from_pretrained(tmp_path) == config
    for name, value in changes.items():
        kept = getattr(config, name)
        assert type(kept) in (int, float, bool, tuple)
        assert kept == (tuple(value) if isinstance(value, list) else float(value)), "the number itself"


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"n_embd": 10, "n_head": 3}, ValueError, "n_embd=10 must be a multiple of n_head=3"),
        ({"n_layer": 0}, ValueError, "n_layer must be at least 1, got 0"),
        ({"n_inner": 0}, ValueError, "n_inner must be at least 1, got 0"),
        ({"vocab_size": 10.0}, TypeError, "vocab_size must be an integer, got 10.0"),
        ({"n_head": True}, TypeError, "n_head must be an integer, got True"),
        ({"n_positions": "64"}, TypeError, "n_positions must be an integer, got '64'"),
        ({"embd_pdrop": 1.0}, ValueError, r"embd_pdrop must be in \[0, 1\), got 1.0"),
        ({"attn_pdrop": -0.1}, ValueError, r"attn_pdrop must be in \[0, 1\), got -0.1"),
        ({"resid_pdrop": math.nan}, ValueError, r"resid_pdrop must be in \[0, 1\), got nan"),
        ({"layer_norm_epsilon": 0}, ValueError, "layer_norm_epsilon must be above 0, got 0"),
        ({"initializer_range": -1}, ValueError, "initializer_range must be above 0, got -1"),
        ({"initializer_range": 0.0}, ValueError, "initializer_range must be above 0, got 0.0"),
        ({"layer_norm_epsilon": Fraction(10**400)}, ValueError, "layer_norm_epsilon must be finite, got Fraction"),
        ({"layer_norm_epsilon": -(10**400)}, ValueError, "layer_norm_epsilon must be above 0, got -1000"),
        ({"bos_token_id": [3]}, TypeError, r"bos_token_id must be an integer or None, got \[3\]"),
        ({"layer_norm_epsilon": math.inf}, ValueError, "layer_norm_epsilon must be finite, got inf"),
        ({"layer_norm_epsilon": 1e-400}, ValueError, "layer_norm_epsilon must be above 0"),
        ({"layer_norm_epsilon": True}, TypeError, "layer_norm_epsilon must be a number, got True"),
        ({"attn_pdrop": "0.1"}, TypeError, "attn_pdrop must be a number, got '0.1'"),
        ({"vocab_size": 2**31}, ValueError, "vocab_size must be at most 2,147,483,647, got 2147483648"),
        ({"bos_token_id": True}, TypeError, "bos_token_id must be an integer or None, got True"),
        ({"eos_token_id": 1.5}, TypeError, "eos_token_id must be an integer or None, got 1.5"),
        ({"tie_word_embeddings": 1}, TypeError, "tie_word_embeddings must be true or false, got 1"),
    ],
)
def test_config_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        GPT2Config(**changes)


def test_config_accepts_what_is_just_in_its_range():
    config = GPT2Config(vocab_size=2**31 - 1, n_layer=1, n_head=1, n_embd=1, n_positions=1, bos_token_id=None)
    assert config.vocab_size == 2**31 - 1 and config.bos_token_id is None
    assert GPT2Config(layer_norm_epsilon=1).layer_norm_epsilon == 1 and GPT2Config(n_inner=np.int64(3)).n_inner == 3


@pytest.mark.parametrize("place", DROPOUT)
def test_dropout_in_one_place_alone_drops(place, ids):
    model = tiny(**dict.fromkeys(DROPOUT, 0.0) | {place: 0.5})
    still, _ = model.forward(ids)
    dropped, _ = model.forward(ids, rng=np.random.default_rng(0))
    assert not np.allclose(still, dropped)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_dtype_must_be_float32_or_float64(dtype):
    with pytest.raises(ValueError, match=f"dtype must be float32 or float64, got {dtype}"):
        GPT2(GPT2Config(**SIZES), dtype=dtype)


# Bad ids and targets.


@pytest.mark.parametrize(
    "ids, error, message",
    [
        ([[0.5, 1.0]], TypeError, "ids must be integers, got float64; encode text"),
        ("text", TypeError, "ids must be integers"),
        ([[0, V]], ValueError, rf"ids must lie in 0 \.\.\. {V - 1}, got 0 \.\.\. {V}"),
        ([[0, -1]], ValueError, rf"ids must lie in 0 \.\.\. {V - 1}, got -1 \.\.\. 0"),
        ([[0, 1], [2]], ValueError, r"ids must be \(B, T\) with rows of equal length"),
        ([0, 1], ValueError, r"ids must be \(B, T\), at least one token each, got shape \(2,\)"),
        ([], ValueError, r"ids must be \(B, T\), at least one token each, got shape \(0,\)"),
        ([[]], ValueError, r"ids must be \(B, T\), at least one token each, got shape \(1, 0\)"),
        ([[0] * 9], ValueError, r"9 tokens, but the model has 8 positions \(n_positions\)"),
    ],
)
def test_forward_refuses_bad_ids(ids, error, message):
    with pytest.raises(error, match=message):
        tiny().forward(ids)


@pytest.mark.parametrize(
    "targets, error, message",
    [
        ([[1, 2]], ValueError, r"targets must be \(1, 3\) like the logits, got \(1, 2\)"),
        ([1, 2, 3], ValueError, r"targets must be \(1, 3\) like the logits, got \(3,\)"),
        ([[1, 2], [3]], ValueError, r"targets must be \(B, T\) with rows of equal length"),
        ([[1, 2, V]], ValueError, rf"targets must lie in 0 \.\.\. {V - 1} or be -100, got 1 \.\.\. {V}"),
        ([[1, 2, -1]], ValueError, rf"targets must lie in 0 \.\.\. {V - 1} or be -100, got -1 \.\.\. 2"),
        ([[1.0, 2.0, 3.0]], TypeError, "targets must be integers, got float64"),
        ([[-100, -100, -100]], ValueError, "all 3 targets are -100, nothing to predict"),
    ],
)
def test_loss_refuses_bad_targets(targets, error, message):
    for function in (tiny().loss, tiny().loss_and_grads):
        with pytest.raises(error, match=message):
            function([[0, 1, 2]], targets)


def test_gpt2_forward_is_what_the_model_runs(ids):
    model = tiny()
    np.testing.assert_array_equal(gpt2_forward(ids, model.params, model.config)[0], model.forward(ids)[0])


@pytest.mark.parametrize(
    "ids, error, message",
    [
        ([[1, True]], TypeError, r"ids must be integers, got \[\[1, True\]\] \(list\)"),  # NumPy would take it for a 1
        (None, TypeError, r"ids must be integers, got None \(NoneType\)"),
        ({"input_ids": [[1]]}, TypeError, "ids must be integers, got .*; give its 'input_ids'"),
        ([1, 2], ValueError, r"got shape \(2,\); one sequence is \[ids\]"),
        ([[1], [1, 2]], ValueError, "rows of equal length; fill up the shorter ones, with -100 in the targets"),
    ],
)
def test_ids_as_beginners_write_them_are_named(ids, error, message):
    with pytest.raises(error, match=message):
        GPT2(GPT2Config(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=1)).forward(ids)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"config": "gpt2"}, TypeError, "config must be a GPT2Config, got 'gpt2'; GPT2.from_pretrained loads"),
        ({"dtype": None}, ValueError, "dtype must be float32 or float64, got None"),  # NumPy's float64
        ({"dtype": "bfloat16"}, ValueError, "dtype must be float32 or float64, got bfloat16"),
        ({"seed": -1}, ValueError, "seed must be an integer, 0 or more, .*, got -1"),
        ({"seed": True}, TypeError, "seed must be an integer, 0 or more, .*, got True"),
    ],
)
def test_a_model_made_of_something_else_is_refused(arguments, error, message):
    config = GPT2Config(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=1)
    with pytest.raises(error, match=message):
        GPT2(**{"config": config} | arguments)


def test_rng_and_label_smoothing_of_another_kind_are_named():
    model = GPT2(GPT2Config(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=1))
    with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator such as .*default_rng\(0\).*, got 0"):
        model.loss_and_grads([[1, 2]], [[2, 3]], rng=0)
    for value in ("0.1", None, True):
        with pytest.raises(TypeError, match=r"label_smoothing must be a number in \[0, 1\], got"):
            model.loss([[1, 2]], [[2, 3]], label_smoothing=value)


@pytest.mark.parametrize("path, error", [(None, TypeError), ("", ValueError)])
def test_a_path_that_is_none_is_named(path, error):
    model = GPT2(GPT2Config(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=1))
    with pytest.raises(error, match=r"the path of (a|the) folder to write into"):
        model.save_pretrained(path)
    with pytest.raises(error, match=r"name of (a|the) model"):
        GPT2.from_pretrained(path)


def test_saving_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    model = GPT2(GPT2Config(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=1))
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FileExistsError, match="is a file, not a folder to write into: give another path"):
            model.save_pretrained(path)
