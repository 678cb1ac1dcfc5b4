"""The diagnosis: planted mistakes are named and nothing else is, whatever was recorded; nonsense has no name.

The mistakes are those of ``planted_mistakes``, in the GPT-2 of ``planted``, which shares nothing with minigpt2. All in
float64; in float32 the same is tested with PyTorch's in test_compare.
"""

import functools
import json
import math
import re

import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import Var, each, exp, linear, mix, norm, qkv, score, softmax, where
from planted_mistakes import BACKWARD, FORWARD, rounded

from minigpt2 import GPT2, GPT2Config, flatten
from minigpt2.cli import main
from minigpt2.verification import backward_mistakes, mistakes
from minigpt2.verification.compare import ENOUGH, compare
from minigpt2.verification.names import is_parameter
from minigpt2.verification.operations import OPERATIONS, Block, Tensors
from minigpt2.verification.trace import trace, write_trace

# All sizes differ, so that none is taken for another; B T > C + 8, so that a matrix can be fitted to the logits.
B, T, C, H, V, P = 4, 7, 18, 3, 29, 13
D = C // H


def model_of(n_layer=2, seed=0, **changes):
    """Weights far from zero, so that everything matters."""
    sizes = {"vocab_size": V, "n_positions": P, "n_embd": C, "n_layer": n_layer, "n_head": H}
    model = GPT2(GPT2Config(**sizes | changes), dtype="float64")
    rng = np.random.default_rng(seed)
    for name, parameter in flatten(model.params).items():
        gain = ".ln_" in f".{name}" and name.endswith("weight")
        parameter[...] = gain + 0.3 * rng.standard_normal(parameter.shape)
    return model


def _batch():
    """Tokens of which some occur twice in a sequence or at a position, and targets of which some do not count."""
    ids = np.random.default_rng(1).integers(0, V, (B, T))
    ids[1, 3] = ids[0, 3]
    targets = np.concatenate([ids[:, 1:], np.full((B, 1), -100)], 1)
    targets[1, :2] = targets[0, 4] = -100
    targets[2:, -1] = 5
    return ids, targets


IDS, TARGETS = _batch()


@functools.cache
def ours_of(n_layer=2):
    """Our trace, with the weights."""
    return trace(model_of(n_layer), IDS, TARGETS, backward=True)


@functools.cache
def parameters(n_layer=2):
    return flatten(model_of(n_layer).params)


def recorded(n_layer=2, **steps):
    """The trace of the planted model."""
    with np.errstate(all="ignore"):
        return planted.forward(parameters(n_layer), IDS, TARGETS, H, **steps)


@functools.cache
def clean(n_layer=2):
    return recorded(n_layer)


def by_hand(n_layer=2, **steps):
    """The same with the gradients of a backward pass by hand."""
    with np.errstate(all="ignore"):
        return clean(n_layer) | planted.backward(clean(n_layer), parameters(n_layer), H, **steps)


def named(report):
    return [finding.sentence for finding in report.findings if finding.kind == "mistake"]


def shown(report):
    return "\n".join([str(report.first), *(f"{f.kind} {f.name}: {f.sentence} ({f.place})" for f in report.findings)])


# ------------------------------------------------------------------------------------------------------ operations


SHAPES = {
    "": {}, "untied": {"tie_word_embeddings": False}, "one sequence": {"B": 1}, "one token": {"T": 1},
    "one head": {"n_head": 1}, "one block": {"n_layer": 1}, "all one": {"B": 1, "T": 1, "n_head": 1, "n_layer": 1},
    "smoothed": {"label_smoothing": 0.1}, "another eps": {"layer_norm_epsilon": 0.02}, "all of wpe": {"T": P},
}  # fmt: skip


def trace_of(B=B, T=T, label_smoothing=0.0, **changes):
    """ours, eps and label_smoothing, for Tensors"""
    model = model_of(**changes)
    ids = np.random.default_rng(2).integers(0, V, (B, T))
    targets = np.concatenate([ids[:, 1:], ids[:, :1]], 1)
    targets[0, 1:2] = -100
    ours = trace(model, ids, targets, backward=True, label_smoothing=label_smoothing)
    return ours, model.config.layer_norm_epsilon, label_smoothing


@pytest.mark.parametrize("shape", SHAPES)
def test_operations_recompute_our_trace(shape):
    """From what is recorded, and from nothing but ids, targets and weights: 5e-15 and 3e-14 of a tensor's size."""
    ours, *settings = trace_of(**SHAPES[shape])
    computed = [name for name in ours if name not in ("ids", "targets") and not is_parameter(name)]
    for theirs in ours, {"loss": ours["loss"]}, {}:
        tensors = Tensors(ours, theirs, *settings)
        for name in computed:
            expected, actual = ours[name], tensors.compute(name)
            assert actual.shape == expected.shape, name
            if re.fullmatch(r"(grad\.)?h\.\d+\.attn\.scores|grad\..*probs", name):
                expected, actual = np.tril(expected), np.tril(actual)
            assert np.abs(actual - expected).max() <= 1e-12 * np.abs(expected).max() + 1e-15, name


def test_every_operation_is_used():
    """None is left out of the test above, and nothing of a trace has no operation."""
    kinds = set()
    for shape in "", "untied":
        ours, *settings = trace_of(**SHAPES[shape])
        tensors = Tensors(ours, {}, *settings)
        kinds |= {tensors.what(name)[0] for name in ours if name not in ("ids", "targets") and not is_parameter(name)}
    assert kinds == set(OPERATIONS)


def test_names_of_operations():
    tensors = Tensors(ours_of(), {}, 1e-5)
    for name, what in (
        ("embd", ("embd", None)), ("h.1.attn.q", ("attn.q", 1)), ("grad.h.1.mlp.fc", ("grad.mlp.fc", 1)),
        ("grad.embd", ("grad.x", 0)), ("grad.h.0.resid_post", ("grad.x", 1)), ("grad.h.1.resid_post", ("grad.last", None)),
        ("grad.h.0.mlp.c_fc.weight", ("grad.mlp.c_fc.weight", 0)), ("grad.wte.weight", ("grad.wte.weight", None)),
    ):  # fmt: skip
        assert tensors.what(name) == what
    block = Block(tensors, 1)
    for name, full in (
        ("x", "h.0.resid_post"), ("grad.x", "grad.h.0.resid_post"), ("last", "h.1.resid_post"), ("ln_1", "h.1.ln_1"),
        ("attn.c_proj.weight", "h.1.attn.c_proj.weight"), ("ln_f", "ln_f"), ("wte.weight", "wte.weight"),
    ):  # fmt: skip
        assert block.full(name) == full
    assert block.of(0).full("x") == "embd"


def test_sources():
    """What a tensor is computed from: recorded ones, and those that have to be computed on the way."""
    ours = ours_of()
    found, between = Tensors(ours, ours, 1e-5).sources("h.1.mlp.gelu")
    assert (found, between) == (["h.1.mlp.fc"], [])
    few = {name: ours[name] for name in ("embd", "h.0.resid_post", "h.1.mlp.out")}
    found, between = Tensors(ours, few, 1e-5).sources("h.1.mlp.out")
    assert "h.0.resid_post" in found and "embd" not in found and "h.1.mlp.c_proj.weight" in found
    assert {"h.1.mlp.gelu", "h.1.mlp.fc", "h.1.ln_2", "h.1.resid_mid", "h.1.attn.probs", "h.1.ln_1"} <= set(between)
    assert not any(name.startswith("h.0.") for name in between)


def test_what_was_not_recorded_is_computed_from_theirs():
    ours = ours_of()
    theirs = {name: x.copy() for name, x in ours.items() if name != "h.0.mlp.gelu"}
    theirs["h.0.mlp.fc"] *= 2
    tensors = Tensors(ours, theirs, 1e-5)
    assert np.allclose(tensors["h.0.mlp.gelu"], each_gelu(2 * ours["h.0.mlp.fc"]), atol=1e-14)
    assert np.array_equal(tensors["h.0.mlp.fc"], theirs["h.0.mlp.fc"])  # theirs, not recomputed
    assert np.allclose(tensors.compute("h.0.mlp.fc"), ours["h.0.mlp.fc"], atol=1e-13)


def each_gelu(x):
    return planted.act(None, Var(x), 0).value


def test_without():
    """As if a tensor had not been recorded: what is computed from it starts from its inputs."""
    ours = ours_of()
    theirs = ours | {"h.0.mlp.gelu": 3 * ours["h.0.mlp.gelu"]}
    tensors = Tensors(ours, theirs, 1e-5)
    wrong = tensors.compute("h.0.mlp.out")
    without = tensors.without(["h.0.mlp.gelu"])
    assert np.allclose(without.compute("h.0.mlp.out"), ours["h.0.mlp.out"], atol=1e-13)
    assert np.allclose(without["h.0.mlp.gelu"], ours["h.0.mlp.gelu"], atol=1e-14)
    assert not np.allclose(wrong, ours["h.0.mlp.out"]) and np.array_equal(tensors.compute("h.0.mlp.out"), wrong)
    assert "h.0.mlp.gelu" in without.sources("h.0.mlp.out")[1]
    assert np.array_equal(without.compute("h.1.mlp.out"), tensors.compute("h.1.mlp.out"))


def test_changed():
    """With another operation, in all blocks or in one; what is not recorded follows from it."""
    ours = ours_of()

    def relu(t):
        return np.maximum(t["mlp.fc"], 0)

    few = {name: x for name, x in ours.items() if not name.endswith("mlp.gelu")}
    tensors = Tensors(ours, few, 1e-5)
    every, one = tensors.changed({"mlp.gelu": relu}), tensors.changed({("mlp.gelu", 1): relu})
    expected = np.maximum(ours["h.0.mlp.fc"], 0)
    assert np.array_equal(every["h.0.mlp.gelu"], expected) and np.allclose(one["h.0.mlp.gelu"], ours["h.0.mlp.gelu"], atol=1e-14)
    assert np.array_equal(one["h.1.mlp.gelu"], every["h.1.mlp.gelu"])
    product = expected @ ours["h.0.mlp.c_proj.weight"] + ours["h.0.mlp.c_proj.bias"]
    assert np.allclose(every.compute("h.0.mlp.out"), product, atol=1e-13)
    assert np.allclose(tensors.compute("h.0.mlp.out"), ours["h.0.mlp.out"], atol=1e-13)  # itself unchanged
    trial = tensors.trial({"mlp.gelu": relu}, {"h.0.mlp.gelu"})
    assert np.array_equal(trial.compute("h.0.mlp.gelu"), expected)
    assert np.allclose(trial.compute("h.1.mlp.gelu"), ours["h.1.mlp.gelu"], atol=1e-14)  # not in what was to be changed


def test_what_cannot_be_computed_is_a_key_error():
    tensors = Tensors(ours_of(), {}, 1e-5)
    for name in "no.such.tensor", "h.0.attn.no":
        with pytest.raises(KeyError):
            tensors.compute(name)


# -------------------------------------------------------------------------------------------------- planted mistakes

LAYERS = {"blocks": 3, **dict.fromkeys(("gelu", "softmax", "output", "targets", "count", "loss"), 1)}

KNOWN = {}  # (family, name): the reason why it is not named yet


def cases(tables, known=True):
    return [
        pytest.param(family, name, marks=[pytest.mark.xfail(strict=True, reason=KNOWN[family, name])]
                     if known and (family, name) in KNOWN else [])
        for family, table in tables.items() for name in table
    ]  # fmt: skip


def test_the_planted_model_is_right_and_so_is_its_backward_pass():
    """The worst, 3e-15 of a tensor's size."""
    for n_layer in 1, 2, 3:
        for theirs in clean(n_layer), by_hand(n_layer):
            report = compare(ours_of(n_layer), theirs)
            assert report and max(row.relative for row in report.rows) < 1e-13
            assert report.compared == report.total and not report.findings and report.where is None


@functools.cache
def made(family, name):
    """ours, theirs"""
    if family in FORWARD:
        n_layer = LAYERS.get(family, 2)
        return ours_of(n_layer), recorded(n_layer, **FORWARD[family][name][2])
    return ours_of(1), by_hand(1, **BACKWARD[family][name][2])


def check(family, name, theirs=None, first=True):
    ours, everything = made(family, name)
    expected, words, _ = (FORWARD | BACKWARD)[family][name]
    report = compare(ours, everything if theirs is None else theirs)
    sentences = named(report)
    assert report.diagnosis and not report, shown(report)
    assert not first or report.first.name == expected, shown(report)
    assert all(re.search(words, sentence) for sentence in sentences), shown(report)
    assert {finding.kind for finding in report.findings} == {"mistake"}, shown(report)
    return report


@pytest.mark.parametrize("family, name", cases(FORWARD))
def test_forward(family, name):
    """The first wrong tensor is found, the mistake is named, and nothing else is."""
    check(family, name)


@pytest.mark.parametrize("family, name", cases(BACKWARD))
def test_backward(family, name):
    check(family, name)


def _sentences(n_layer=3):
    """What every table of mistakes says of a right and of a wrong tensor, to the name of the table."""
    ours = ours_of(n_layer)
    tensors, rng, found = Tensors(ours, ours, 1e-5), np.random.default_rng(0), {}
    for name in ours:
        what, block = tensors.what(name)
        right = tensors.compute(name) if what in OPERATIONS else None
        for actual in (None, right + rng.standard_normal(right.shape)) if right is not None else ():
            observed = mistakes.Observed(what, Block(tensors, block), name, right, actual, 1e-11)
            for table in mistakes.FORWARD.get(what, ()) or backward_mistakes.BACKWARD.get(what, ()):
                with np.errstate(all="ignore"):
                    found |= {hypothesis.sentence: table.__name__ for hypothesis in table(observed)}
    return found


def test_every_mistake_that_can_be_named_is_planted():
    """Who adds a mistake plants it in planted_mistakes; those that differ in a number, or in q, k and v, count as one."""
    def shape(sentence):
        return re.sub(r"\b[qkv] alone|\battn\.[qkv]|-?\b\d[\d.e+-]*|c_attn|c_proj|c_fc|\battn|\bmlp", "#", sentence)

    words = [words for table in (FORWARD | BACKWARD).values() for _, words, _ in table.values()]
    sentences = _sentences()
    planted_ones = {shape(sentence) for sentence in sentences if any(re.search(word, sentence) for word in words)}
    missing = {sentence: table for sentence, table in sentences.items() if shape(sentence) not in planted_ones}
    assert len(sentences) > 300 and not missing, "\n".join(f"{table}: {sentence}" for sentence, table in missing.items())
