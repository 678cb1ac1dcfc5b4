"""Names of other implementations: recognised, joined, split, and said so; NumPy alone is needed."""

import json

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, flatten, trace
from minigpt2.verification.compare import compare
from minigpt2.verification.maps import MAPS, read_map
from minigpt2.verification.names import BLOCK, END, START, fold, translate

B, T, C, H, D, V, L = 2, 7, 8, 2, 4, 13, 4
OURS = {*START, *END, *(f"h.{{i}}.{name}" for name in BLOCK)}


@pytest.fixture(scope="module")
def ours():
    model = GPT2(GPT2Config(vocab_size=V, n_positions=9, n_embd=C, n_layer=L, n_head=H), dtype="float64")
    rng = np.random.default_rng(0)
    for parameter in flatten(model.params).values():
        parameter[...] = rng.standard_normal(parameter.shape)
    ids = rng.integers(0, V, (B, T + 1))
    return trace(model, ids[:, :-1], ids[:, 1:], backward=True) | flatten(model.params)


def named(ours, names, change=lambda name, tensor: tensor):
    """Ours under their names: pairs of ours with {i}, and theirs."""
    theirs = {}
    for name, tensor in ours.items():
        plain = name.removeprefix("grad.")
        lead = name.removesuffix(plain)
        layer = plain.split(".")[1] if plain.startswith("h.") else ""
        key = plain.replace(f"h.{layer}.", "h.{i}.", 1)
        if key in names:
            theirs[lead + names[key].replace("{i}", layer)] = change(key, tensor)
    return theirs


NANOGPT = {
    "wte.weight": "transformer.wte.weight", "wpe.weight": "transformer.wpe.weight", "embd": "transformer.drop",
    **{f"h.{{i}}.{name}": f"transformer.h.{{i}}.{name}" for name in BLOCK if name.endswith(("weight", "bias"))},
    "h.{i}.ln_1": "transformer.h.{i}.ln_1", "h.{i}.attn.out": "transformer.h.{i}.attn",
    "h.{i}.attn.heads": "transformer.h.{i}.attn.c_proj.input", "h.{i}.resid_mid": "transformer.h.{i}.ln_2.input",
    "h.{i}.ln_2": "transformer.h.{i}.ln_2", "h.{i}.mlp.fc": "transformer.h.{i}.mlp.c_fc",
    "h.{i}.mlp.gelu": "transformer.h.{i}.mlp.gelu", "h.{i}.mlp.out": "transformer.h.{i}.mlp",
    "h.{i}.resid_post": "transformer.h.{i}", "ln_f": "transformer.ln_f", "ln_f.weight": "transformer.ln_f.weight",
    "ln_f.bias": "transformer.ln_f.bias", "logits": "lm_head",
}  # fmt: skip


def transposed(name, tensor):
    return tensor.T if name.startswith("h.") and name.endswith(".weight") and tensor.ndim == 2 else tensor


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod.", "model.", "student."])
def test_nanogpt_whatever_stands_before(prefix, ours):
    theirs = {
        ("grad." if name.startswith("grad.") else "") + prefix + name.removeprefix("grad."): tensor
        for name, tensor in named(ours, NANOGPT, transposed).items()
    }
    translation = translate(theirs, "auto", ours)
    assert not translation.unknown and len(translation.tensors) == len(theirs)
    assert compare(ours, translation.tensors).passed
    assert translation.sources["grad.h.3.attn.heads"] == f"grad.{prefix}transformer.h.3.attn.c_proj.input"
    line = translation.assumed[0]
    assert line.startswith("names as in nanoGPT: ") and line.count(".attn.c_proj.input -> h.{i}.attn.heads") == 1
    assert "ln_1" not in line  # it has our name, but for what stands before


LLMS_FROM_SCRATCH = {
    "wte.weight": "tok_emb.weight", "wpe.weight": "pos_emb.weight", "embd": "drop_emb",
    "h.{i}.ln_1.weight": "trf_blocks.{i}.norm1.scale", "h.{i}.ln_1.bias": "trf_blocks.{i}.norm1.shift",
    "h.{i}.ln_1": "trf_blocks.{i}.norm1", "h.{i}.attn.out": "trf_blocks.{i}.att",
    "h.{i}.attn.c_proj.weight": "trf_blocks.{i}.att.out_proj.weight",
    "h.{i}.mlp.c_fc.weight": "trf_blocks.{i}.ff.layers.0.weight", "h.{i}.mlp.fc": "trf_blocks.{i}.ff.layers.0",
    "h.{i}.mlp.gelu": "trf_blocks.{i}.ff.layers.1", "h.{i}.mlp.c_proj.weight": "trf_blocks.{i}.ff.layers.2.weight",
    "h.{i}.mlp.out": "trf_blocks.{i}.ff", "h.{i}.resid_post": "trf_blocks.{i}", "ln_f": "final_norm",
    "ln_f.weight": "final_norm.scale", "logits": "out_head",
}  # fmt: skip


@pytest.mark.parametrize("out_in", [True, False])
def test_separate_q_k_v_are_joined(out_in, ours):
    """Weights (out, in) as in torch.nn.Linear, or (in, out): the weights that are not square tell which."""
    theirs = named(ours, LLMS_FROM_SCRATCH, transposed if out_in else lambda name, tensor: tensor)
    for lead in "", "grad.":
        for i in range(L):
            for kind in "weight", "bias":
                parts = np.split(ours[f"{lead}h.{i}.attn.c_attn.{kind}"], 3, -1)
                for part, name in zip(parts, ("query", "key", "value"), strict=True):
                    theirs[f"{lead}trf_blocks.{i}.att.W_{name}.{kind}"] = part.T if out_in else part
    translation = translate(theirs, "auto", ours)
    assert not translation.unknown and compare(ours, translation.tensors).passed
    assert {"h.0.attn.c_attn.weight", "grad.h.3.attn.c_attn.bias"} <= translation.tensors.keys()
    assert translation.sources["h.1.attn.c_attn.bias"] == [
        f"trf_blocks.1.att.W_{name}.bias" for name in ("query", "key", "value")
    ]
    joined = [sentence for sentence in translation.assumed if "joined" in sentence]
    weights = "trf_blocks.{i}.att.W_query.weight, trf_blocks.{i}.att.W_key.weight, trf_blocks.{i}.att.W_value.weight"
    assert joined == [f"{what} are joined to h.{{i}}.attn.c_attn.{kind}" for kind, what in (
        ("weight", weights), ("bias", weights.replace("weight", "bias")))]  # fmt: skip
    del theirs["trf_blocks.2.att.W_key.weight"]
    translation = translate(theirs, "auto", ours)
    assert "h.2.attn.c_attn.weight" not in translation.tensors
    assert any("is only a part of h.{i}.attn.c_attn.weight" in sentence for sentence in translation.assumed)


def test_weights_and_activations_of_single_heads(ours):
    """TransformerLens's (H, C, D), and a list of modules, one per head."""
    lens, listed = {}, {}
    for i in range(L):
        weight, bias = ours[f"h.{i}.attn.c_attn.weight"], ours[f"h.{i}.attn.c_attn.bias"]
        for part, b, name in zip(np.split(weight, 3, 1), np.split(bias, 3), ("query", "key", "value"), strict=True):
            heads = part.reshape(C, H, D).swapaxes(0, 1)
            lens[f"blocks.{i}.attn.W_{name[0].upper()}"] = heads
            lens[f"blocks.{i}.attn.b_{name[0].upper()}"] = b.reshape(H, D)
            for j in range(H):
                listed[f"blocks.{i}.sa.heads.{j}.{name}.weight"] = heads[j].T
                listed[f"blocks.{i}.sa.heads.{j}.{name}"] = ours[f"h.{i}.attn.{name[0]}"][:, j]
                listed[f"blocks.{i}.sa.heads.{j}"] = ours[f"h.{i}.attn.heads"][..., j * D : (j + 1) * D]
                listed[f"blocks.{i}.sa.heads.{j}.softmax"] = ours[f"h.{i}.attn.probs"][:, j]
        lens[f"blocks.{i}.hook_resid_post"] = ours[f"h.{i}.resid_post"]
    for theirs, count in (lens, 3 * L), (listed, 6 * L):
        translation = translate(theirs, "auto", ours)
        assert not translation.unknown and len(translation.tensors) == count
        assert compare(ours, translation.tensors).passed
    assert "names as in TransformerLens" in translate(lens, "auto", ours).assumed[0]


def test_what_is_used_comes_before_what_is_computed(ours):
    """The dropout left on shows in the probabilities that meet the values, and the sentence says where."""
    here, name = "transformer.h.0.attn.", "h.0.attn."
    q, k, v, scores, probs = (ours[name + part] for part in ("q", "k", "v", "scores", "probs"))
    dropped = probs * (np.arange(T) % 2) * 2
    theirs = {
        f"{here}matmul": scores * 2, f"{here}matmul.input": q, f"{here}matmul.other": k.swapaxes(2, 3),
        f"{here}softmax.input": scores, f"{here}softmax": probs,
        f"{here}matmul@2": dropped @ v, f"{here}matmul@2.input": dropped, f"{here}matmul@2.other": v,
    }  # fmt: skip
    translation = translate(theirs, "auto", ours)
    assert not translation.unknown
    np.testing.assert_array_equal(translation.tensors["h.0.attn.probs"], dropped)
    np.testing.assert_array_equal(translation.tensors["h.0.attn.k"], k)
    assert any("attn.softmax is not equal to " in sentence for sentence in translation.assumed)
    differing = {row.name for row in compare(ours, translation.tensors).rows if row.verdict != "ok"}
    assert differing == {"h.0.attn.probs", "h.0.attn.heads"}


def test_a_product_of_something_else_is_no_attention(ours):
    theirs = {"blocks.0.attn.matmul": np.ones((B, H, T, T)), "blocks.0.attn.matmul.input": ours["h.0.attn.k"],
              "blocks.0.attn.matmul.other": ours["h.0.attn.k"], "blocks.0.attn": ours["h.0.attn.out"]}  # fmt: skip
    assert list(translate(theirs, "auto", ours).tensors) == ["h.0.attn.out"]


def test_q_multiplied_before_the_product(ours):
    q, k = ours["h.0.attn.q"], ours["h.0.attn.k"]
    theirs = {
        "blocks.0.attn.q_proj": q.swapaxes(1, 2).reshape(B, T, C), "blocks.0.attn.k_proj": k,
        "blocks.0.attn.scaled_dot_product_attention.query": q / 2,
        "blocks.0.attn.scaled_dot_product_attention.key": k,
    }  # fmt: skip
    translation = translate(theirs, "auto", ours)
    assert compare(ours, translation.tensors).passed
    assert any("blocks.{i}.attn.q_proj, before a factor of 0.5, is taken for" in text for text in translation.assumed)


def test_shapes_decide_where_names_do_not(ours):
    """The dropout of a module called dropout is that of the probabilities or of the output."""
    for theirs, our_name in ("h.0.attn.probs", "h.0.attn.probs"), ("h.0.attn.out", "h.0.attn.out"):
        translation = translate({"layers.0.attention.dropout": ours[theirs]}, "auto", ours)
        assert list(translation.tensors) == [our_name]
    translation = translate({"pos_emb": np.ones((T, C)), "blocks.0.sa.foo": np.ones(3)}, "auto", ours)
    assert not translation.tensors and translation.unknown == ["pos_emb", "blocks.0.sa.foo"]


def test_a_wrong_shape_is_kept_to_be_told(ours):
    translation = translate({"transformer.h.0.ln_1": np.ones((B, T, C + 1))}, "auto", ours)
    assert translation.tensors["h.0.ln_1"].shape == (B, T, C + 1)


def test_tied_under_the_other_name(ours):
    translation = translate({"lm_head.weight": ours["wte.weight"], "lm_head": ours["logits"]}, "auto", ours)
    assert list(translation.tensors) == ["wte.weight", "logits"] and "the two being tied" in translation.assumed[-1]


def test_what_ours_lacks_is_listed(ours):
    theirs = {"wte.weight": ours["wte.weight"], "lm_head.weight": ours["wte.weight"], "grad.lm_head.weight": np.ones(2)}
    assert translate(theirs, "auto", ours).unknown == ["lm_head.weight"]
    forward = {name: tensor for name, tensor in ours.items() if not name.startswith("grad.")}
    assert translate({"grad.embd": ours["grad.embd"]}, "auto", forward).unknown == []  # asked for none


def test_maps_extend_each_other(ours):
    theirs = named(ours, NANOGPT) | {"my_scores": ours["h.0.attn.scores"], "other": np.ones(1)}
    translation = translate(theirs, ["auto", {"my_scores": "h.0.attn.scores", "transformer.drop": []}], ours)
    assert "h.0.attn.scores" in translation.tensors and translation.unknown == ["other"]
    assert translate(theirs, [], ours).tensors.keys() <= {"my_scores"}
    exchanged = {"a": ours["h.1.ln_1"], "b": ours["h.1.ln_2"], "h.1.ln_1": ours["h.1.ln_2"]}
    translation = translate(exchanged, [{"a": "h.{i}.ln_2"}, {"a": "h.1.ln_1", "b": "h.1.ln_2"}], ours)
    assert translation.sources["h.1.ln_1"] == "a" and translation.sources["h.1.ln_2"] == "b"


def test_two_for_one_name(ours):
    names = {"a": "embd", "b": "embd"}
    translation = translate({"a": ours["embd"], "b": ours["embd"].copy()}, names, ours)
    assert translation.sources == {"embd": "a"} and not translation.unknown
    assert not any("not equal" in sentence for sentence in translation.assumed)
    for other in 2 * ours["embd"], np.ones(3):
        translation = translate({"a": ours["embd"], "b": other}, names, ours)
        assert "b is not equal to a, which is taken for embd" in translation.assumed


def test_stacks_parts_and_transposes(ours):
    probs = np.stack([ours[f"h.{i}.attn.probs"] for i in range(L)])
    both = np.concatenate([ours["h.2.ln_1"], ours["h.2.ln_2"]], -1)
    names = {"all": "h.{i}.attn.probs", "two.{i}": ["h.{i}.ln_1", "h.{i}.ln_2"], "kT": "h.0.attn.k^T"}
    names["x"] = "h.{i}.ln_1"
    k = ours["h.0.attn.k"].swapaxes(2, 3)
    theirs = {"all": probs, "two.2": both, "kT": k, "grad.kT": k, "x": np.ones(())}
    translation = translate(theirs, names, ours)
    expected = {*(f"h.{i}.attn.probs" for i in range(L)), "h.2.ln_1", "h.2.ln_2", "h.0.attn.k", "grad.h.0.attn.k"}
    assert set(translation.tensors) == expected and translation.unknown == ["x"]
    assert all(np.array_equal(translation.tensors[name], ours[name]) for name in expected if "grad" not in name)
    assert "x is no array for all layers, (L, ...), its shape is ()" in translation.assumed
    translation = translate({"two.0": np.ones((2, 3))}, names, ours)
    assert "two.{i} has no 2 equal parts on the last axis, its shape is (2, 3)" in translation.assumed


def test_steps_of_an_optimizer_keep_what_stands_before(ours):
    x = ours["h.3.attn.c_proj.weight"]
    leads = ["", "step.1.", "step.2.grad.", "step.2.clipped.", "step.10.m.", "step.10.v."]
    translation = translate({f"{lead}transformer.h.3.attn.c_proj.weight": x for lead in leads}, "auto", ours)
    assert set(translation.tensors) == {f"{lead}h.3.attn.c_proj.weight" for lead in leads}
    assert "step.1.loss" in translate({"step.1.loss": np.ones(())}, "auto", ours).tensors


def test_llm_c_is_recognised(ours):
    theirs = {"encoded": ours["embd"], "ln1": np.stack([ours[f"h.{i}.ln_1"] for i in range(L)]), "lnf": ours["ln_f"],
              "wte": ours["wte.weight"], "wpe": ours["wpe.weight"], "logits": ours["logits"]}  # fmt: skip
    translation = translate(theirs, "auto", ours)
    assert not translation.unknown and len(translation.tensors) == 5 + L
    assert translation.assumed[0].startswith("names as in llm.c: ")


def test_maps_know_only_names_of_traces():
    for names in MAPS.values():
        for ours in names.values():
            for name in ours if isinstance(ours, list) else [ours]:
                plain = name.removesuffix("^T").partition(":")[0]
                assert plain in OURS, name


def test_every_key_is_a_map(ours, tmp_path):
    for key in MAPS:
        assert translate({"embd": ours["embd"]}, key, ours).tensors.keys() == {"embd"}
    (tmp_path / "names.json").write_text(json.dumps({"a.{i}": "h.{i}.{nonsense}", "b": []}))
    assert read_map(tmp_path / "names.json")["b"] == []
    with pytest.raises(ValueError, match=r"expected auto, torch, .* or a dict, got 'jax'"):
        translate({}, "jax", ours)
    with pytest.raises(ValueError, match="expected a dict from their name to ours, got 5"):
        translate({}, [5], ours)


def test_odd_tensors_never_raise(ours):
    odd = [np.array("text"), np.array([None]), np.ones(2, complex), np.ones((0, 3)), np.ones(()), np.ones((2,) * 9)]
    keys = ["transformer.h.0.attn.c_attn", "attentions", "h.0.attn.q", "blocks.0.attn.W_Q", "blocks.0.sa.heads.0.key",
            "lm_head", "wpe.weight", "softmax", "matmul", "grad.h.0.attn.softmax", "step.1.m.x", "grad.", "a" * 999]
    for tensor in odd:
        for key in "auto", *MAPS:
            translation = translate({name: tensor for name in keys}, key, ours)
            assert {*translation.unknown} <= {*keys}


def test_fold():
    assert fold("transformer.h.11.attn") == "transformer.h.{i}.attn" and fold("x2") == "x2"
