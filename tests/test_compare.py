"""compare: the first wrong tensor is found, and classic mistakes are named, whoever made them.

The mistakes are planted in the PyTorch GPT-2 of torch_gpt2.py and, so that this is tested without torch as well,
in the weights or the trace of our own model.
"""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minigpt2 import GPT2, GPT2Config, flatten
from minigpt2.cli import main
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.model import gpt2_backward
from minigpt2.storage.checkpoint import write_tensors
from minigpt2.verification.compare import compare
from minigpt2.verification.llm_c_state import write_debug_state
from minigpt2.verification.maps import LLM_C
from minigpt2.verification.mistakes import FORWARD
from minigpt2.verification.names import is_parameter
from minigpt2.verification.operations import Block, Tensors
from minigpt2.verification.recorder import Recorder
from minigpt2.verification.trace import read_trace, trace, write_trace

B, T, C, H, D, V, L = 3, 7, 8, 2, 4, 13, 2


def tiny(dtype="float64", **changes):
    """A small model with weights that are far from zero, so that everything matters."""
    sizes = {"vocab_size": V, "n_positions": 9, "n_embd": C, "n_layer": L, "n_head": H}
    model = GPT2(GPT2Config(**sizes | changes), dtype=dtype)
    rng = np.random.default_rng(0)
    for name, parameter in flatten(model.params).items():
        gain = ".ln_" in f".{name}" and name.endswith("weight")
        parameter[...] = gain + 0.4 * rng.standard_normal(parameter.shape)
    return model


IDS = np.random.default_rng(1).integers(0, V, (B, T))
TARGETS = np.concatenate([IDS[:, 1:], np.full((B, 1), -100)], axis=1)
COUNTED = B * (T - 1)


@pytest.fixture(scope="module")
def ours():
    return trace(tiny(), IDS, TARGETS, backward=True)


# Mistakes in a PyTorch GPT-2: where it first shows, and words of the sentence.

PLANTED = {
    "erf_gelu": ("h.1.mlp.gelu", "the erf form"),
    "eps": ("h.1.ln_1", "eps is 0.001, it should be 1e-05"),
    "unbiased_variance": ("h.1.ln_1", "divided by C - 1"),
    "no_scale": ("h.1.attn.scores", r"not divided by sqrt\(D\) = 2"),
    "scale_twice": ("h.1.attn.scores", r"divided by sqrt\(D\) twice"),
    "sees_one_more": ("h.1.attn.probs", "mask.* sees the one after it"),
    "cannot_see_itself": ("h.1.attn.probs", "mask.* cannot see itself"),
    "post_norm": ("h.1.ln_1", "post-norm"),
    "heads_without_transpose": ("h.1.attn.q", r"\(B, T, C\) is reshaped to \(B, H, T, D\) at once"),
    "heads_interleaved": ("h.1.attn.q", "every H-th channel"),
    "heads_merged_without_transpose": ("h.1.attn.heads", r"\(B, H, T, D\) is reshaped to \(B, T, C\) at once"),
    "k_q_v_order": ("h.1.attn.q", "split as k, q, v;"),
    "v_q_k_order": ("h.1.attn.q", "split as k, v, q;"),  # q is read from the third part
    "q_v_k_order": ("h.1.attn.k", "split as q, v, k;"),
    "split_per_head": ("h.1.attn.q", r"\(H, 3, D\)"),
    "untied_copy": ("grad.wte.weight", "not tied.* lacks the output layer's share"),
    "untied_random": ("logits", "not tied.* a matrix other than wte"),
    "transposed_c_proj": ("h.1.attn.out", "c_proj is transposed"),
    "summed": ("loss", "summed.* factor of 18"),
    "ignored_counted": ("loss", "all 21 positions.* factor of 0.857143"),
    "no_shift": ("loss", "not shifted"),
    "shift_twice": ("loss", "shifted twice"),
}


def test_every_mistake_of_the_torch_model_is_here():
    torch_gpt2 = _torch_gpt2()
    assert set(PLANTED) == set(torch_gpt2.MISTAKES)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mistake", PLANTED)
def test_mistake_in_torch_is_found_and_named(mistake, dtype, capsys, tmp_path):
    torch_gpt2 = _torch_gpt2()
    model, (first, words) = tiny(dtype), PLANTED[mistake]
    theirs = torch_gpt2.trace(model, IDS, TARGETS, mistake, getattr(torch_gpt2.torch, dtype))
    report = compare(trace(model, IDS, TARGETS, backward=True), theirs)
    assert not report and report.first.name == first
    _assert_names(report, words)

    write_trace(tmp_path / "ours.safetensors", trace(model, IDS, TARGETS, backward=True), {})
    write_tensors(tmp_path / "theirs.safetensors", theirs)
    assert main(["compare", str(tmp_path / "ours.safetensors"), str(tmp_path / "theirs.safetensors")]) == 1
    out, err = capsys.readouterr()
    assert err == "" and out == f"{report}\n"
    marked = [line for line in out.splitlines() if "<-- first divergence" in line]
    assert len(marked) == 1 and marked[0].startswith(first + " ") and out.endswith(f"Diagnosis: {report.diagnosis}.\n")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_is_named_when_torch_is_right(dtype):
    torch_gpt2 = _torch_gpt2()
    model = tiny(dtype)
    theirs = torch_gpt2.trace(model, IDS, TARGETS, None, getattr(torch_gpt2.torch, dtype))
    report = compare(trace(model, IDS, TARGETS, backward=True), theirs)
    assert report and report.diagnosis is None and report.first is None
    assert len(report.rows) == len(theirs) and report.only_ours == ["grad.loss"] and not report.only_theirs
    assert {row.verdict for row in report.rows} == {"ok"}


@pytest.mark.parametrize("mistake", ["sees_one_more", "no_scale", "k_q_v_order", "cannot_see_itself"])
def test_mistake_in_attention_is_named_where_it_comes_to_light(mistake, ours):
    """Their trace has neither scores nor probs, or even nothing before the heads' output."""
    theirs = _torch_gpt2().trace(tiny(), IDS, TARGETS, mistake)
    for hidden in ("scores", "probs"), ("scores", "probs", "q", "k", "v"):
        few = {name: tensor for name, tensor in theirs.items() if not name.endswith(tuple(f"attn.{n}" for n in hidden))}
        report = compare(ours, few)
        _assert_names(report, PLANTED[mistake][1])


def _torch_gpt2():
    pytest.importorskip("torch", reason="plants mistakes in a PyTorch GPT-2")
    import torch_gpt2

    return torch_gpt2


def _assert_names(report, words):
    assert report.diagnosis and re.search(words, report.diagnosis), f"{report.first}\n{report.diagnosis}"


# The same without torch: our own model with changed weights, or a changed trace.


def changed(edit, **changes):
    """Trace of the tiny model after ``edit(parameters)``, dotted names; it does not say what the weights are."""
    model = tiny(**changes)
    edit(flatten(model.params))
    return trace(model, IDS, TARGETS, backward=True, weights=False)


def with_operation(ours, what, function, block=1):
    """The forward pass with another operation in one block, and no gradients."""
    tensors = Tensors(ours, {}, 1e-5, changes={(what, block): function})
    return {name: tensors.compute(name) for name in ours if tensors.what(name)[0] in FORWARD}


def test_named_without_torch_eps(ours):
    report = compare(ours, changed(lambda p: None, layer_norm_epsilon=1e-6))
    assert (report.first.name, report.diagnosis) == ("h.0.ln_1", "layer norm: eps is 1e-06, it should be 1e-05")
    other = trace(tiny(layer_norm_epsilon=0.02), IDS, TARGETS, backward=True)
    report = compare(other, ours, eps=0.02)
    assert (report.first.name, report.diagnosis) == ("h.0.ln_1", "layer norm: eps is 1e-05, it should be 0.02")


def _set(name, function):
    def edit(parameters):
        parameters[name][...] = function(parameters[name])

    return edit


def test_named_without_torch_transposed_weight(ours):
    report = compare(ours, changed(_set("h.0.attn.c_proj.weight", np.transpose)))
    assert report.first.name == "h.0.attn.out"
    _assert_names(report, PLANTED["transposed_c_proj"][1])


@pytest.mark.parametrize("order", ["qvk", "kqv", "kvq", "vqk", "vkq"])
def test_named_without_torch_order(order, ours):
    """c_attn's columns in another order make q of what was, say, k."""

    def edit(parameters):
        for kind in "weight", "bias":
            c_attn = parameters[f"h.1.attn.c_attn.{kind}"]
            blocks = dict(zip(order, np.split(c_attn.copy(), 3, axis=-1), strict=True))
            c_attn[...] = np.concatenate([blocks[name] for name in "qkv"], axis=-1)

    report = compare(ours, changed(edit))
    assert report.first.name == ("h.1.attn.k" if order == "qvk" else "h.1.attn.q")
    _assert_names(report, f"split as {', '.join(order)};")


def test_named_without_torch_heads(ours):
    report = compare(ours, with_operation(ours, "attn.q", lambda t: project(t).swapaxes(1, 2).reshape(B, H, T, D)))
    assert report.first.name == "h.1.attn.q"
    _assert_names(report, "heads: in q alone, .*reshaped")

    def at_once(part):
        return lambda t: np.split(t["ln_1"] @ t["attn.c_attn.weight"] + t["attn.c_attn.bias"], 3, -1)[part].reshape(
            B, H, T, D
        )

    tensors = Tensors(ours, {}, 1e-5, changes={f"attn.{name}": at_once(n) for n, name in enumerate("qkv")})
    report = compare(ours, {name: tensors.compute(name) for name in ours if tensors.what(name)[0] in FORWARD})
    assert report.first.name == "h.0.attn.q"
    _assert_names(report, PLANTED["heads_without_transpose"][1])


def project(t):
    """q of a block (B, H, T, D)."""
    q = (t["ln_1"] @ t["attn.c_attn.weight"] + t["attn.c_attn.bias"])[..., :C]
    return q.reshape(B, T, H, D).swapaxes(1, 2)


@pytest.mark.parametrize("ahead, words", [(1, "sees_one_more"), (-1, "cannot_see_itself")])
def test_named_without_torch_mask(ahead, words, ours):
    """Also where an empty row of the softmax became NaN, as -inf makes it."""
    future = np.triu(np.ones((T, T), bool), 1 + ahead)

    def masked(t):
        with np.errstate(invalid="ignore"):
            return softmax_forward(np.where(future, -np.inf, t["attn.q"] @ t["attn.k"].swapaxes(-1, -2) / math.sqrt(D)))

    report = compare(ours, with_operation(ours, "attn.probs", masked))
    assert report.first.name == "h.1.attn.probs" and report.first.verdict == ("NaN" if ahead < 0 else "differs")
    _assert_names(report, PLANTED[words][1])


@pytest.mark.parametrize("factor, words", [(2.0, "no_scale"), (0.5, "scale_twice")])
def test_named_without_torch_scale(factor, words, ours):
    def scores(t):
        return factor * (t["attn.q"] @ t["attn.k"].swapaxes(-1, -2)) / math.sqrt(D)

    report = compare(ours, with_operation(ours, "attn.scores", scores))
    assert report.first.name == "h.1.attn.scores"
    _assert_names(report, PLANTED[words][1])


def test_named_without_torch_gelu(ours):
    def gelu(t):
        fc = t["mlp.fc"]
        return fc * (1 + np.reshape([math.erf(x / math.sqrt(2)) for x in fc.ravel()], fc.shape)) / 2

    report = compare(ours, with_operation(ours, "mlp.gelu", gelu))
    assert report.first.name == "h.1.mlp.gelu"
    _assert_names(report, PLANTED["erf_gelu"][1])


def test_named_without_torch_post_norm(ours):
    def normalised(t):
        x = t["x"] + t["attn.out"]
        x_hat = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x_hat * t["ln_1.weight"] + t["ln_1.bias"]

    attention = Tensors(ours, {}, 1e-5, changes={"ln_1": lambda t: t["x"]})
    theirs = {"embd": ours["embd"], "h.0.attn.out": attention.compute("h.0.attn.out")}
    theirs["h.0.ln_1"] = normalised(Block(Tensors(ours, theirs, 1e-5), 0))
    report = compare(ours, theirs)
    assert report.first.name == "h.0.ln_1"
    _assert_names(report, PLANTED["post_norm"][1])


def test_a_tensor_that_only_was_recorded_otherwise_is_no_mistake(ours):
    """What is computed from it agrees: whatever it is, the model has the right one."""
    for name in ("h.0.attn.q", "h.0.attn.probs", "h.1.mlp.gelu", "h.1.ln_2", "embd", "grad.h.0.mlp.fc"):
        report = compare(ours, ours | {name: ours[name][::-1].copy()})
        assert not report and report.diagnosis is None, name
        assert [(finding.kind, finding.name) for finding in report.findings] == [("recording", name)]
        assert f"No mistake: only what was recorded as {name} differs" in str(report)
    summed = compare(ours, ours | {"loss": ours["loss"] * COUNTED})
    assert summed.diagnosis is None and "loss differs: theirs is 18 times" in str(summed)


def test_scores_before_the_scale_are_right_if_probs_are(ours):
    theirs = {name: 2.0 * x if name.endswith("attn.scores") and name[0] == "h" else x for name, x in ours.items()}
    report = compare(ours, theirs)
    assert report and {row.note for row in report.rows if row.name.endswith(".scores")} == {"before the scale", ""}


def test_named_without_torch_untied(ours):
    def untied(head):
        model = tiny(tie_word_embeddings=False)
        for name, parameter in flatten(tiny().params).items():
            flatten(model.params)[name][...] = parameter
        model.params["lm_head"]["weight"][...] = head(model.params["wte"]["weight"])
        return trace(model, IDS, TARGETS, backward=True, weights=False)

    copied = compare(ours, untied(lambda wte: wte))
    assert copied.first.name == "grad.wte.weight" and copied.only_theirs == ["grad.lm_head.weight"]
    _assert_names(copied, PLANTED["untied_copy"][1])
    other = compare(ours, untied(lambda wte: wte[::-1]))
    assert other.first.name == "logits"
    _assert_names(other, PLANTED["untied_random"][1])
    head = untied(lambda wte: wte)["grad.lm_head.weight"]
    _assert_names(compare(ours, ours | {"grad.wte.weight": head}), "lacks the embedding's share")


@pytest.mark.parametrize("with_loss", [True, False])
def test_named_without_torch_targets(with_loss, ours):
    """By the loss, or by the first gradient if there is no loss, or by the targets themselves."""
    twice = np.concatenate([TARGETS[:, 1:], np.full((B, 1), -100)], axis=1)
    for wrong, words in (IDS, "no_shift"), (twice, "shift_twice"):
        theirs = trace(tiny(), IDS, wrong, backward=True)
        recorded = compare(ours, theirs)
        assert recorded.first.name == "targets"
        _assert_names(recorded, PLANTED[words][1])
        theirs.pop("targets")
        if not with_loss:
            theirs.pop("loss")
        report = compare(ours, theirs)
        assert report.first.name == ("loss" if with_loss else "grad.logits")
        _assert_names(report, PLANTED[words][1])


@pytest.mark.parametrize(
    "count, words",
    [
        (1, "summed"),
        (B * T, f"all {B * T} positions"),
        (B, f"number of sequences, {B};"),
        (T, f"tokens in a sequence, {T};"),
        (COUNTED**2, "divided twice"),
        (COUNTED * B, "averaged, and divided by the number of sequences"),
        (COUNTED * V, f"over the vocabulary, {V}"),
    ],
)
def test_named_without_torch_count(count, words, ours):
    factor = COUNTED / count
    theirs = {name: factor * x if name.startswith("grad.") else x for name, x in ours.items()}
    report = compare(ours, theirs)
    assert report.first.name == "grad.loss"
    _assert_names(report, f"^gradients: .*{words}.*factor of {factor:.6g}")
    only_parameters = {name: x for name, x in theirs.items() if name.endswith(("weight", "bias"))}
    report = compare(ours, only_parameters)
    assert report.first.name == "grad.ln_f.bias"
    _assert_names(report, f"^gradients: .*{words}")


# No mistake is named that was not made.

ALL = list(trace(tiny(), IDS, TARGETS, backward=True))
FLOATS = [name for name in ALL if name not in ("ids", "targets")]


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(FLOATS), size=st.sampled_from([1e-9, 1e-6, 1e-3, 1.0]), seed=st.integers(0, 2**32 - 1))
def test_noise_has_no_name(name, size, seed):
    ours = trace(tiny(), IDS, TARGETS, backward=True)
    noise = np.random.default_rng(seed).standard_normal(ours[name].shape)
    report = compare(ours, ours | {name: ours[name] * (1 + size * noise)})
    assert report.passed or (report.first.name == name and report.diagnosis is None)


@pytest.mark.parametrize("name", ["logits", "h.0.ln_1", "ln_f", "h.1.attn.out", "h.0.mlp.gelu", "h.1.attn.probs"])
def test_noise_just_above_the_tolerance_has_no_name(name, ours):
    """Where a hypothesis with something to fit could bring it below the tolerance without explaining it."""
    noise = np.random.default_rng(2).standard_normal(ours[name].shape)
    noise *= 1e-6 / compare(ours, ours | {name: ours[name] + noise}).first.relative
    for rtol in np.linspace(0.5e-6, 0.99999e-6, 10):
        report = compare(ours, ours | {name: ours[name] + noise}, rtol=rtol)
        assert report.first.name == name and report.diagnosis is None


def test_a_loss_in_float32_is_said_to_be_one(ours):
    """As in transformers, whose own loss turns the logits into float32."""
    model = tiny()
    logits, cache = model.forward(IDS)
    _, loss_cache = cross_entropy_forward(logits.astype("float32"), TARGETS)
    _, grads = gpt2_backward(cross_entropy_backward(1.0, loss_cache).astype("float64"), cache)
    theirs = {f"grad.{name}": gradient for name, gradient in flatten(grads).items()}
    report = compare(ours, theirs)
    assert not report and report.first.name.startswith("grad.ln_f")
    _assert_names(report, "only as exact as float32: .*labels=")


def test_an_activation_in_float32_is_said_to_be_one(ours):
    model = tiny()
    model.params["wpe"]["weight"][...] = model.params["wpe"]["weight"].astype("float32")
    report = compare(ours, trace(model, IDS, TARGETS, backward=True, weights=False))
    assert not report and report.first.name == "embd"
    _assert_names(report, "from embd on only as exact as float32: something at or before it is in float32$")


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from([name for name in FLOATS if "scores" not in name]),
    factor=st.sampled_from([0.0, -1.0, 1.01, 1.7]),
)
@example(name="logits", factor=0.0)
@example(name="logits", factor=1.7)
@example(name="grad.wpe.weight", factor=0.0)
def test_other_mistakes_have_no_name(name, factor):
    """But a parameter's gradient, from which nothing follows, may be missing or of the wrong sign."""
    ours = trace(tiny(), IDS, TARGETS, backward=True)
    report = compare(ours, ours | {name: ours[name] * factor})
    assert report.first.name == name
    if factor < 1 and is_parameter(name.removeprefix("grad.")):
        assert re.search("all zeros|multiplied by -1", report.diagnosis)
    elif is_parameter(name):
        assert report.diagnosis == f"weights: {name} is multiplied by {factor}"
    else:
        assert report.diagnosis is None


def test_changed_weights_have_no_name(ours):
    rng = np.random.default_rng(5)
    for name in flatten(tiny().params):
        report = compare(ours, changed(_set(name, lambda p: p + 0.1 * rng.standard_normal(p.shape))))
        assert not report and report.diagnosis is None, f"{name}: {report.diagnosis}"
        assert (report.first.name == "embd") == (name in ("wte.weight", "wpe.weight"))


def test_one_token_and_one_head(ours):
    """Where most mistakes change nothing, and little can be told apart."""
    model = tiny(n_head=1)
    ours = trace(model, IDS[:1, :1], TARGETS[:1, :1], backward=True)
    assert compare(ours, ours)
    for name in FLOATS:
        if name in ours and np.abs(ours[name]).max() > 0:
            noise = np.random.default_rng(3).standard_normal(ours[name].shape)
            report = compare(ours, ours | {name: ours[name] + 1e-3 * noise})
            assert report.first.name == name and report.diagnosis is None, (name, report.diagnosis)


# Order, layouts, names.


def test_order_of_computation(ours):
    shuffled = {name: ours[name] for name in sorted(ours)}
    names = [row.name for row in compare(ours, shuffled).rows]
    forward = [name for name in ours if not name.startswith("grad.") and not is_parameter(name)]
    names = [name for name in names if not is_parameter(name)]
    loss = names.index("loss")
    activations = {name.removeprefix("grad.") for name in ours if name.startswith("grad.")} & set(forward)
    backward = [f"grad.{name}" for name in reversed(forward) if name in activations]
    assert [n for n in names[: loss + 1] if n != "targets"] == [n for n in forward if n != "targets"]
    assert [name for name in names[loss + 1 :] if name in backward] == backward
    at = names.index
    for later, earlier in (
        ("grad.ln_f.weight", "grad.ln_f"),
        ("grad.h.1.mlp.c_proj.weight", "grad.h.1.mlp.out"),
        ("grad.h.1.attn.c_attn.bias", "grad.h.1.attn.q"),
        ("grad.h.1.ln_1", "grad.h.1.attn.c_attn.weight"),
        ("grad.h.0.resid_post", "grad.h.1.ln_1.weight"),
        ("grad.wte.weight", "grad.embd"),
    ):
        assert at(later) > at(earlier)


def test_eleven_layers_are_in_numerical_order():
    ours = {f"h.{i}.resid_post": np.ones((1, 1, 2)) for i in range(12)}
    assert [row.name for row in compare(ours, dict(sorted(ours.items()))).rows] == list(ours)


def test_layouts(ours):
    def stored(name, x):
        if name.endswith(("attn.q", "attn.k")):
            return x.swapaxes(1, 2)  # (B, T, H, D)
        if name.endswith("attn.v"):
            return x.swapaxes(1, 2).reshape(B, T, C)
        if name.endswith("attn.heads"):
            return x.reshape(B, T, H, D)
        if name.endswith(("c_attn.weight", "c_fc.weight", "c_proj.weight")):
            return x.T  # as nn.Linear; c_proj of attention is square
        if name.endswith("logits"):
            return np.pad(x, ((0, 0), (0, 0), (0, 3)), constant_values=7)
        if name == "grad.wte.weight":
            return np.pad(x, ((0, 3), (0, 0)))
        if name.endswith("attn.scores"):
            return np.where(np.tri(T, dtype=bool), x, -np.inf)
        if name.endswith(("ln_1", "ln_2")):
            return x.reshape(B * T, C)
        return x[None, None] if name == "loss" else x

    report = compare(ours, {name: stored(name, x) for name, x in ours.items()})
    assert report, report
    notes = {row.name: row.note for row in report.rows}
    assert notes["grad.h.0.attn.c_proj.weight"] == notes["grad.h.1.mlp.c_fc.weight"] == "transposed"
    assert (notes["h.0.attn.q"], notes["h.1.attn.v"]) == ("(B, T, H, D)", "(B, T, C)")
    assert notes["logits"] == notes["grad.wte.weight"] == "padded" and notes["embd"] == ""
    assert "ok (transposed)" in str(report)


def test_square_gradient_that_is_not_transposed_is_not_called_so(ours):
    assert {row.note for row in compare(ours, ours).rows} == {""}
    wrong = ours["grad.h.0.attn.c_proj.weight"] + 1e-3
    report = compare(ours, ours | {"grad.h.0.attn.c_proj.weight": wrong})
    assert (report.first.name, report.first.note) == ("grad.h.0.attn.c_proj.weight", "")


def test_llm_c_names(ours):
    """Its arrays hold all layers; weights are (out, in); above the diagonal of preatt anything may stand."""
    theirs = {}
    for their_name, names in LLM_C.items():
        names = names if isinstance(names, list) else [names]
        for grad in ("", "grad."):
            layers = []
            for i in range(L if "{i}" in names[0] else 1):
                parts = [ours.get(grad + name.replace("{i}", str(i))) for name in names]
                if any(part is None for part in parts):
                    continue
                if len(parts) == 3:
                    parts = [part.swapaxes(1, 2).reshape(B, T, C) for part in parts]
                part = np.concatenate(parts, axis=-1) if len(parts) == 3 else parts[0]
                layers.append(part.T if "{i}" in names[0] and names[0].endswith(".weight") and part.ndim == 2 else part)
            if layers:
                theirs[grad + their_name] = np.stack(layers) if "{i}" in names[0] else layers[0]
    theirs["preatt"] = np.where(np.tri(T, dtype=bool), theirs["preatt"], np.nan)
    theirs["losses"] = np.full((B, T), ours["loss"] / 2)
    theirs["losses"][:, : T - 1] = ours["loss"]  # where targets count
    theirs["ln1_mean"] = np.zeros((L, B, T))
    assert theirs["qkv"].shape == (L, B, T, 3 * C) and theirs["grad.qkvw"].shape == (L, 3 * C, C)
    report = compare(ours, theirs, names="llm.c")
    assert report, report
    assert report.only_theirs == [] and report.only_ours == ["ids", "logits", "targets", "grad.logits"]
    theirs["fch_gelu"][1, 0, 0, 0] += 1e-3
    assert compare(ours, theirs, names="llm.c").first.name == "h.1.mlp.gelu"


def test_transformers_by_its_own_names():
    """Outputs of transformers' modules and gradients of its parameters, as hooks and named_parameters give them."""
    torch = pytest.importorskip("torch", reason="runs transformers")
    transformers = pytest.importorskip("transformers", reason="compares with its GPT-2")
    model = tiny("float32")
    config = transformers.GPT2Config(**model.config.to_dict() | {"bos_token_id": 0, "eos_token_id": 0})
    config._attn_implementation = "eager"
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(torch.from_numpy(flatten(model.params)[name.removeprefix("transformer.")]))
    seen = {}

    def keep(name):
        def hook(module, inputs, output):
            if isinstance(output, torch.Tensor):
                output.retain_grad()
                seen[name] = output

        return hook

    for name, module in theirs.named_modules():
        module.register_forward_hook(keep(name))
    out = theirs(torch.from_numpy(IDS), output_attentions=True)
    loss = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), torch.from_numpy(TARGETS).flatten())
    loss.backward()
    tensors = {name: x.detach().numpy() for name, x in seen.items()} | {"loss": loss.detach().numpy()}
    tensors["attentions"] = torch.stack(out.attentions).detach().numpy()
    tensors |= {f"grad.{name}": x.grad.numpy() for name, x in seen.items() if x.grad is not None}
    tensors |= {f"grad.{name}": p.grad.numpy() for name, p in theirs.named_parameters()}
    ours = trace(model, IDS, TARGETS, backward=True)
    report = compare(ours, tensors, names="transformers")
    assert report, report
    compared = {row.name for row in report.rows}
    assert {"embd", "ln_f", "logits", "loss", "grad.h.1.mlp.fc", "grad.h.0.attn.q"} <= compared
    for name in ("ln_1", "attn.q", "attn.v", "attn.probs", "attn.out", "ln_2", "mlp.fc", "mlp.gelu", "mlp.out"):
        assert f"h.0.{name}" in compared and f"h.1.{name}" in compared
    assert "h.0.resid_post" in compared
    assert {f"grad.{name}" for name in flatten(model.params)} <= compared
    tensors["attentions"][1, 0, 0, 0, 0] -= 0.1
    assert compare(ours, tensors, names="transformers").first.name == "h.1.attn.probs"


def test_nanogpt_names_and_transposed_weights(ours):
    theirs = {"transformer.h.1.mlp.gelu": ours["h.1.mlp.gelu"], "lm_head": ours["logits"]}
    for name in flatten(tiny().params):
        gradient = ours[f"grad.{name}"]
        if "c_" in name and gradient.ndim == 2:
            gradient = gradient.T
        theirs[f"grad.transformer.{name}"] = gradient
    report = compare(ours, theirs, names="nanogpt")
    assert report and len(report.rows) == len(theirs)


def test_own_names(ours, tmp_path, capsys):
    names = {"layer{i}_out": "h.{i}.resid_post", "all_mid": "h.{i}.resid_mid", "scores": "logits"}
    theirs = {f"layer{i}_out": ours[f"h.{i}.resid_post"] for i in range(L)} | {"scores": ours["logits"]}
    theirs["all_mid"] = np.stack([ours[f"h.{i}.resid_mid"] for i in range(L)])
    theirs["embd"] = ours["embd"]  # a name that needs no translation
    expected = ["embd", "h.0.resid_mid", "h.0.resid_post", "h.1.resid_mid", "h.1.resid_post", "logits"]
    assert [row.name for row in compare(ours, theirs, names=names).rows] == expected
    (tmp_path / "names.json").write_text(json.dumps(names))
    write_trace(tmp_path / "ours.safetensors", ours, {})
    np.savez(tmp_path / "theirs.npz", **theirs)
    code = main(["compare", *(str(tmp_path / n) for n in ("ours.safetensors", "theirs.npz")), "--map",
                 str(tmp_path / "names.json")])  # fmt: skip
    out = capsys.readouterr().out  # 6 of the 32 of the forward pass
    assert code == 1 and "Compared 6 of 32 tensors.\nToo few to call it agreement, though they agree" in out


# Tolerances and the table.


@pytest.mark.parametrize("dtype, fine, coarse", [("float32", 2e-5, 1e-4), ("float64", 1e-11, 1e-9)])
def test_tolerance_follows_the_coarser_dtype(dtype, fine, coarse):
    x = np.linspace(-3, 3, 100)
    theirs = {"embd": x.astype(dtype)}
    for factor, passes in (1 + fine, True), (1 + coarse, False):
        assert compare({"embd": x * factor}, theirs).passed == passes
    assert compare({"embd": x * (1 + coarse)}, theirs, rtol=2 * coarse)
    assert compare({"embd": x * (1 + coarse)}, theirs, atol=4 * coarse)
    assert not compare({"embd": x * (1 + fine)}, theirs, rtol=fine / 2, atol=0)


def halved(x, zeros=16):
    """Float32 numbers with so many low bits zero: bfloat16, or float16, as files of them are read."""
    keep = np.uint32(2**32 - 2**zeros)
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) & keep).view(np.float32)


@pytest.mark.parametrize("zeros", [16, 13])
def test_a_half_counts_where_a_whole_pass_is_in_it(zeros):
    ours = trace(tiny("float32"), IDS, TARGETS, backward=True)
    theirs = {name: x if name == "loss" or x.dtype.kind == "i" else halved(x, zeros) for name, x in ours.items()}
    assert compare(ours, theirs)
    forward = {name: x for name, x in theirs.items() if not name.startswith("grad.")}
    assert compare(ours, ours | forward)
    for name in "h.1.mlp.gelu", "grad.h.1.attn.q", "h.0.mlp.c_fc.weight":
        report = compare(ours, ours | {name: theirs[name]})
        assert report.first.name == name and 1e-4 < report.first.relative < 1e-2


def test_under_autocast_all_linear_layers_are_in_a_half():
    """What they give is rounded, sums and norms are not, and everything is as exact as a half."""
    ours = trace(tiny("float32"), IDS, TARGETS, backward=True)
    linear = re.compile(r"h\.\d\.(attn\.([qkv]|out)|mlp\.(fc|out))")
    computed = [name for name in ours if not is_parameter(name) and ours[name].dtype.kind == "f"]
    theirs = ours | {name: ours[name] * np.float32(1 + 4e-3) for name in computed}
    assert not compare(ours, theirs)
    theirs |= {name: halved(theirs[name]) for name in computed if linear.fullmatch(name)}
    assert compare(ours, theirs)
    theirs["h.0.mlp.c_fc.weight"] = halved(ours["h.0.mlp.c_fc.weight"])  # a master weight is not
    assert compare(ours, theirs).first.name == "h.0.mlp.c_fc.weight"


def test_one_wrong_number_and_a_small_error_beside_an_outlier_are_both_seen():
    x = np.ones(1_000_000)
    y = x.copy()
    y[5] += 1e-8  # 1e-11 of the norm
    report = compare({"embd": x}, {"embd": y})
    assert not report and report.first.relative == pytest.approx(1e-8)
    x, y = np.ones(1000), np.full(1000, 1 + 1e-8)
    x[0] = y[0] = 1e3  # 1e-11 of the largest
    assert compare({"embd": x}, {"embd": y}).first.relative == pytest.approx(3e-10, rel=0.1)


def test_figures():
    report = compare({"embd": np.array([3.0, 4.0])}, {"embd": np.array([4.0, -3.0])})
    (row,) = report.rows
    assert (row.absolute, row.cosine, row.verdict) == (7.0, 0.0, "differs")
    assert row.relative == pytest.approx(7 / 4)
    assert "most at [1], where ours is 4 and theirs -3" in str(report)
    zero = compare({"embd": np.zeros(2)}, {"embd": np.array([0.0, 1e-20])})
    assert zero and zero.rows[0].relative == math.inf
    assert not compare({"embd": np.zeros(2)}, {"embd": np.array([0.0, 1e-10])})


def test_table(ours):
    theirs = {name: ours[name] for name in ("embd", "logits", "loss")} | {"mine": np.ones(2)}
    text = str(compare(ours, theirs))
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["embd", "logits", "loss"]
    assert "h.*.attn.q (2 layers)" in text and "only in theirs: mine" in text and "Compared 3 of 32 tensors." in text
    assert max(map(len, text.splitlines())) <= 110


# Bad input.


def test_different_ids(ours):
    with pytest.raises(ValueError, match=r"ids differ, ours \(3, 7\) .* theirs \(3, 7\).*same tokens"):
        compare(ours, ours | {"ids": ours["ids"] + 1})
    with pytest.raises(ValueError, match=r"ids differ, .* theirs \(3, 6\)"):
        compare(ours, ours | {"ids": ours["ids"][:, 1:]})


def test_different_shapes(ours):
    report = compare(ours, ours | {"h.1.mlp.fc": ours["h.1.mlp.fc"][:, 1:]})
    assert not report and (report.first.name, report.first.verdict) == ("h.1.mlp.fc", "shape")
    assert "h.1.mlp.fc, which cannot be compared: ours has shape (3, 7, 32), theirs (3, 6, 32)" in str(report)


def test_nan_of_theirs_is_a_divergence_that_says_where(ours):
    theirs = {name: x.copy() for name, x in ours.items()}
    theirs["h.1.mlp.fc"][1, 2, 3] = np.nan
    theirs["h.1.mlp.gelu"][0, 0, 0] = np.inf
    report = compare(ours, theirs)
    assert not report and report.diagnosis is None
    assert (report.first.name, report.first.verdict) == ("h.1.mlp.fc", "NaN")
    assert "h.1.mlp.fc, where theirs holds NaN or infinity at [1, 2, 3]" in str(report)


def test_nan_of_ours_is_no_reference(ours):
    broken = ours["h.0.ln_2"].copy()
    broken[0, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"h\.0\.ln_2: ours holds NaN or infinity, at \[0, 1, 2\]"):
        compare(ours | {"h.0.ln_2": broken}, ours)


@pytest.mark.parametrize("theirs", [{}, {"other": np.ones(2)}, {"ids": IDS, "targets": TARGETS}])
def test_nothing_to_compare(theirs, ours):
    with pytest.raises(ValueError, match="no tensor in common"):
        compare(ours, theirs)


@pytest.mark.parametrize("value", ["text", [True, False], np.ones(2, complex), [None]])
def test_what_is_no_number(value, ours):
    with pytest.raises(ValueError, match=r"embd: expected an array of real numbers, got"):
        compare(ours, {"embd": np.asarray(value)})


@pytest.mark.parametrize("option", ["rtol", "atol"])
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_tolerance_must_be_positive(option, value, ours):
    with pytest.raises(ValueError, match=f"{option} must be 0 or more, got {value}"):
        compare(ours, ours, **{option: value})


@pytest.mark.parametrize(
    "names, message",
    [
        ("jax", r"expected auto, torch, .* or a dict, got 'jax'"),
        ({"a": 3}, "'a' must stand for our name"),
        ({"a{i}": "embd"}, r"'a\{i\}' must have one \{i\}"),
    ],
)
def test_bad_names(names, message, ours):
    with pytest.raises(ValueError, match=message):
        compare(ours, {"a": np.ones((2, 3)), "b": np.ones(2), "c": np.ones(())}, names=names)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("content", [b"", b"no such format" * 9, b"PK\x03\x04" + b"\0" * 90, None])
def test_damaged_file(suffix, content, ours, tmp_path, capsys):
    path, good = tmp_path / f"theirs.{suffix}", tmp_path / "ours.safetensors"
    write_trace(good, ours, {})
    if content is None:  # a good file, cut short
        np.savez(path, **ours) if suffix == "npz" else write_trace(path, ours, {})
        content = path.read_bytes()[:-1000]
    path.write_bytes(content)
    assert main(["compare", str(good), str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and path.name in err


def test_pickles_are_refused(ours, tmp_path):
    np.savez(tmp_path / "theirs.npz", embd=np.array([{"a": 1}], dtype=object))
    message = r"theirs\.npz is damaged, or not an \.npz file of plain arrays: .*allow_pickle"
    with pytest.raises(ValueError, match=message):
        read_trace(tmp_path / "theirs.npz")


def test_missing_file(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "a.safetensors"), str(tmp_path / "b.npz")]) == 2
    assert "a.safetensors" in capsys.readouterr().err


def test_eps_is_read_from_the_metadata(tmp_path, capsys):
    model = tiny(layer_norm_epsilon=0.02)
    theirs = changed(lambda p: None, layer_norm_epsilon=1e-3)
    write_trace(tmp_path / "a.safetensors", trace(model, IDS, TARGETS), {"config": model.config.to_dict()})
    write_tensors(tmp_path / "b.safetensors", theirs)
    assert main(["compare", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 1
    assert "eps is 0.001, it should be 0.02" in capsys.readouterr().out


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--help"])
    assert stop.value.code == 0 and "example:\n  minigpt2 compare " in capsys.readouterr().out


@pytest.fixture
def files(tmp_path):
    """A trace, a recording with a NaN in it, and a folder for more."""
    ours = trace(tiny("float32"), IDS, TARGETS, backward=True)
    write_trace(tmp_path / "ours.safetensors", ours, {"config": "{}"})
    theirs = Recorder()
    for name, x in ours.items():
        theirs.tap(name, np.full_like(x, np.nan) if name == "logits" else x)
    theirs.save(tmp_path / "theirs.safetensors")
    return tmp_path


def compared(files, ours, theirs, *flags):
    return main(["compare", str(files / ours), str(files / theirs), *flags])


def test_quiet_json_and_first(files, capsys):
    assert compared(files, "ours.safetensors", "ours.safetensors", "--quiet") == 0
    assert compared(files, "ours.safetensors", "theirs.safetensors", "--quiet") == 1
    assert capsys.readouterr() == ("", "")
    assert compared(files, "ours.safetensors", "theirs.safetensors", "--json") == 1

    def no_constant(name):
        raise AssertionError(f"{name} is no JSON")

    report = json.loads(capsys.readouterr().out, parse_constant=no_constant)
    assert report["first"]["name"] == "logits" and report["first"]["absolute"] is None and not report["passed"]
    assert compared(files, "ours.safetensors", "theirs.safetensors", "--first") == 1
    out = capsys.readouterr().out
    assert "logits, where theirs holds NaN" in out and "verdict" not in out


@pytest.mark.parametrize("ours, theirs, flags, message", [
    ("theirs.safetensors", "ours.safetensors", [], "theirs.safetensors is not what `minigpt2 trace` wrote: give"),
    ("state.bin", "ours.safetensors", [], "state.bin is a debug state of llm.c, which comes second"),
    ("ours.safetensors", "theirs.safetensors", ["--accept", "gelu=exact"], "accept: nothing is called 'gelu=exact'"),
    ("ours.safetensors", "theirs.safetensors", ["--map", "nothing"], "--map: nothing is no file"),
    ("ours.safetensors", "theirs.safetensors", ["--rtol=-1"], "rtol must be 0 or more"),
    ("ours.safetensors", "no.npz", [], "no.npz: No such file"),
])  # fmt: skip
def test_errors_exit_with_2_and_say_what_to_do(files, capsys, ours, theirs, flags, message):
    write_debug_state(files / "state.bin", trace(tiny("float32"), IDS, IDS, backward=True))
    for output in [], ["--quiet"], ["--json"]:
        assert compared(files, ours, theirs, *flags, *output) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.count("\n") == 1


def test_maps_given_twice_add_up(files, capsys):
    tensors = dict(read_trace(files / "ours.safetensors")[0])
    tensors = {f"mine.{name}" if name.startswith("h.0") else f"{name}_" if name == "logits" else name: x
               for name, x in tensors.items()}  # fmt: skip
    write_tensors(files / "other.safetensors", tensors)
    (files / "a.json").write_text(json.dumps({f"mine.h.0.{n}": f"h.0.{n}" for n in ("mlp.fc", "attn.out")}))
    (files / "b.json").write_text('{"logits_": "logits"}')
    flags = [word for name in "ab" for word in ("--map", str(files / f"{name}.json"))]
    assert compared(files, "ours.safetensors", "other.safetensors", *flags, "--json") == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["tensors"]]
    assert {"h.0.mlp.fc", "h.0.attn.out", "logits"} <= set(names)


def test_weights_alone_are_no_agreement(ours):
    report = compare(ours, {name: x for name, x in ours.items() if is_parameter(name)})
    assert report.passed and not report and report.compared == 0
    assert "nothing that is computed was compared" in report.summary()


def test_help_names_every_kind_of_file(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in (".safetensors", ".npz", "in C", "debug state", "compare ours.safetensors theirs.npz --accept"):
        assert words in text
