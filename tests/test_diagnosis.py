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
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from planted import Var, each
from planted_mistakes import BACKWARD, FORWARD, rounded

from minigpt2 import GPT2, GPT2Config, flatten
from minigpt2.cli import main
from minigpt2.verification import mistakes
from minigpt2.verification.compare import ENOUGH, compare
from minigpt2.verification.mistakes.hypothesis import Observed
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


def named(report, but=None):
    """What is called a mistake, except what matches ``but``."""
    sentences = [finding.sentence for finding in report.findings if finding.kind == "mistake"]
    return [sentence for sentence in sentences if but is None or not re.search(but, sentence)]


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
        ("grad.embd", ("grad.x", 0)), ("grad.h.0.resid_post", ("grad.x", 1)),
        ("grad.h.1.resid_post", ("grad.last", None)),
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
    assert np.array_equal(every["h.0.mlp.gelu"], expected) and np.allclose(one["h.0.mlp.gelu"], ours["h.0.mlp.gelu"],
                                                                           atol=1e-14)
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

QUICK = 24  # of so many planted mistakes one is quick, the rest slow: all of them take more than three seconds


def cases(tables, how="all"):
    every = [(family, name) for family, table in tables.items() for name in table]
    if how != "all":  # a sixteenth of them
        every = every[8 * (how == "bare") :: 16]
    params = []
    for n, (family, name) in enumerate(every):
        marks = [pytest.mark.slow] if n % (QUICK if how == "all" else 4) else []
        params.append(pytest.param(family, name, marks=marks))
    return params


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


def check(family, name, keep=lambda name: True):
    """Nothing but the mistake is named, and if everything was recorded it is, at the first wrong tensor.

    keep: name -> whether it is recorded
    """
    ours, theirs = made(family, name)
    expected, words, _ = (FORWARD | BACKWARD)[family][name]
    report = compare(ours, {name: x for name, x in theirs.items() if keep(name)})
    assert not report, shown(report)
    assert all(re.search(words, sentence) for sentence in named(report)), shown(report)
    if all(map(keep, theirs)):
        assert report.first.name == expected and report.findings, shown(report)
        assert all(finding.kind in ("mistake", "recording") and re.search(words, finding.sentence)
                   for finding in report.findings), shown(report)
    return report


@pytest.mark.parametrize("family, name", cases(FORWARD))
def test_forward(family, name):
    """The first wrong tensor is found, the mistake is named, and nothing else is."""
    check(family, name)


@pytest.mark.parametrize("family, name", cases(BACKWARD))
def test_backward(family, name):
    check(family, name)


def plain(name):
    """What plain hooks on modules see: neither scores, probs and heads nor the sum between; no parameters."""
    hidden = re.search(r"attn\.(scores|probs|heads)$|resid_mid$|mlp\.gelu$", name)
    return not hidden and not is_parameter(name)


def bare(name):
    """The output of the blocks, and the parameters' gradients."""
    return bool(re.fullmatch(r"(grad\.)?(embd|h\.\d+\.resid_post|logits|loss)", name)) or (
        name.startswith("grad.") and is_parameter(name[5:])
    )


@pytest.mark.parametrize("family, name", cases(FORWARD | BACKWARD, "plain"))
def test_recorded_by_hooks(family, name):
    """It may lack a name, but no other is given."""
    check(family, name, plain)


@pytest.mark.parametrize("family, name", cases(FORWARD | BACKWARD, "bare"))
def test_hardly_anything_recorded(family, name):
    check(family, name, bare)


FOUND_BY_HOOKS = (
    ("scale", "none"), ("scale", "sqrt(C)"), ("mask", "ahead"), ("mask", "none"), ("mask", "not itself"),
    ("gelu", "erf"),
    ("heads", "unmoved"), ("split", "at once"), ("split", "order kqv"), ("layer norm", "eps 0.001"), ("GELU", "no 3"),
    ("layer norm", "unbiased"), ("blocks", "c_proj transposed"), ("attention", "softmax: no sum"),
    ("norm", "no mean, ln_1"),
    ("attention", "no scale"), ("loss", "smoothing 0.1"), ("parameters", "wte: ="), ("targets", "shifted twice"),
)  # fmt: skip


@pytest.mark.parametrize("family, name", FOUND_BY_HOOKS)
def test_named_by_what_hooks_see(family, name):
    assert check(family, name, plain).diagnosis


@pytest.mark.slow
def test_most_are_named_by_what_hooks_see():
    some = [(family, name) for family, table in (FORWARD | BACKWARD).items() for name in list(table)[::11]]
    without = []
    for family, name in some:
        ours, theirs = made(family, name)
        if not named(compare(ours, {n: x for n, x in theirs.items() if plain(n)})):
            without.append((family, name))
    assert len(without) <= len(some) / 10, without


def _sentences(n_layer=3):
    """What every table of mistakes says of a right and of a wrong tensor, to the name of the table."""
    ours = ours_of(n_layer)
    tensors, rng, found = Tensors(ours, ours, 1e-5), np.random.default_rng(0), {}
    for name in ours:
        what, block = tensors.what(name)
        right = tensors.compute(name) if what in OPERATIONS else None
        for actual in (None, right + rng.standard_normal(right.shape)) if right is not None else ():
            observed = Observed(what, Block(tensors, block), name, right, actual, 1e-11)
            for table in mistakes.FORWARD.get(what, ()) or mistakes.BACKWARD.get(what, ()):
                with np.errstate(all="ignore"):
                    found |= {hypothesis.sentence: table.__name__ for hypothesis in table(observed)}
    return found


@pytest.mark.slow
def test_every_mistake_that_can_be_named_is_planted():
    """Who adds a mistake plants it in planted_mistakes; those that differ in a number or a layer count as one."""
    def shape(text):
        layer = r"\b[qkv] alone|\battn\.[qkv]|ln_[12f]|c_attn|c_proj|c_fc|\battn|\bmlp|resid_\w+|a GELU|a ReLU"
        return re.sub(rf"-?\b\d[\d.e+-]*|{layer}", "#", text)

    words = [shape(words) for table in (FORWARD | BACKWARD).values() for _, words, _ in table.values()]
    sentences = _sentences()
    planted_ones = {shape(sentence) for sentence in sentences
                    if any(re.search(word, shape(sentence)) for word in words)}
    elsewhere = "beyond 10 are cut off|start at 0, they"  # below; and what cannot be
    missing = {s: table for s,
               table in sentences.items() if shape(s) not in planted_ones and not re.search(elsewhere, s)}
    assert len(sentences) > 300 and not missing, "\n".join(f"{table}: {s}" for s, table in missing.items())


def test_gelu_cut_off_at_10():
    """Only where something is as large."""
    model = model_of(1)
    model.params["h"][0]["mlp"]["c_fc"]["bias"][:] += 9
    ours = trace(model, IDS, TARGETS, backward=True)
    cut = dict(act=lambda m, x,
               i: each(lambda x: np.where(x < 10, planted.act(None, Var(x), 0).value, 10), x, lambda x: x < 10))
    theirs = planted.forward(flatten(model.params), IDS, TARGETS, H, **cut)
    assert re.search("beyond 10 are cut off", compare(ours, {n: x for n, x in theirs.items() if n[0] != "g"}).diagnosis)


# ------------------------------------------------------------------------------------------- more than one mistake


def _both(*pairs):
    steps = {}
    for family, name in pairs:
        assert not steps.keys() & FORWARD[family][name][2].keys()
        steps |= FORWARD[family][name][2]
    return steps, [FORWARD[family][name][1] for family, name in pairs]


@pytest.mark.parametrize("pairs", [
    (("gelu", "erf"), ("layer norm", "eps 0.001")), (("mask", "ahead"), ("gelu", "ReLU")),
    (("split", "at once"), ("loss", "smoothing 0.1")), (("scale", "twice"), ("blocks", "no bias of mlp.c_proj")),
    (("embedding", "positions+1"), ("count", "summed")),
    (("layer norm", "unbiased"), ("heads", "unmoved"), ("gelu", "quick")),
], ids=str)  # fmt: skip
def test_two_mistakes_are_both_named(pairs):
    steps, words = _both(*pairs)
    report = compare(ours_of(), recorded(**steps))
    sentences = named(report)
    for word in words:
        assert sum(re.search(word, sentence) is not None for sentence in sentences) == 1, shown(report)
    assert len(report.findings) == len(words), shown(report)


@pytest.mark.parametrize("pairs", [
    (("scale", "none"), ("mask", "none")), (("scale", "twice"), ("mask", "ahead")),
    (("mask", "none"), ("heads", "unmoved")),
], ids=str)  # fmt: skip
def test_two_mistakes_between_which_nothing_was_recorded_are_named_together(pairs):
    """As in a fused attention, of which only q, k, v and the output are seen."""
    steps, words = _both(*pairs)
    report = compare(ours_of(), {name: x for name, x in recorded(**steps).items() if plain(name)})
    assert re.search("; and ", report.diagnosis), shown(report)
    assert all(re.search(word, report.diagnosis) for word in words), shown(report)
    assert len(named(report)) == 1 and "in every block" in report.findings[0].place, shown(report)


@pytest.mark.parametrize("pairs", [
    (("GELU", "no 3"), ("attention", "no scale")), (("shares", "stream twice"), ("parameters", "wte: =")),
    (("attention", "softmax: no sum"), ("norm", "no gain, ln_2")),
], ids=str)  # fmt: skip
def test_two_mistakes_of_a_backward_pass_are_both_named(pairs):
    steps = {}
    for family, name in pairs:
        steps |= BACKWARD[family][name][2]
    report = compare(ours_of(), by_hand(**steps))
    for family, name in pairs:
        assert any(re.search(BACKWARD[family][name][1], sentence) for sentence in named(report)), shown(report)
    assert len(report.findings) == len(pairs), shown(report)


def test_a_mistake_of_the_forward_and_one_of_the_backward_pass():
    theirs = recorded(1, **FORWARD["gelu"]["0.0447 for 0.044715"][2])
    wrong = planted.backward(theirs, parameters(1), H, **BACKWARD["parameters"]["bias twice"][2])
    report = compare(ours_of(1), theirs | {"grad.h.0.mlp.c_fc.bias": 2 * theirs["grad.h.0.mlp.c_fc.bias"]})
    assert wrong and [re.search("0.0447 in place", named(report)[0]),
                      re.search("multiplied by 2", named(report)[-1])] != [None, None]
    assert len(report.findings) == 2, shown(report)


# -------------------------------------------------------------------------------------------- never a wrong name

# Whatever is off by a rounding of float32, with all that follows: this may be said of it.
COARSE = "only as exact as float32"
STEPS = ("act", "softmax", "mix", "linear", "norm", "score", "head", "loss", "embed")


def _noisy(step, size, seed):
    """A step whose result is off, everywhere by its own amount, and what follows with it."""
    right = planted.STEPS[step]

    def changed(m, *inputs):
        y = right(m, *inputs)
        noise = np.random.default_rng(seed).standard_normal(y.shape)
        return y + size * np.abs(y.value).max() * noise

    return {step: changed}


def _of_nonsense(step, seed):
    """A smooth random function of each number of the result."""
    right, (a, b, c) = planted.STEPS[step], np.random.default_rng(seed).uniform(0.3, 2, 3)

    def changed(m, *inputs):
        return each(lambda x: a * np.sin(b * x + c) + 0.3 * np.cos(c * x), right(m, *inputs))

    return {step: changed}


@pytest.mark.slow
@settings(deadline=None, max_examples=15, phases=[Phase.generate])
@given(step=st.sampled_from(STEPS), size=st.sampled_from([1e-8, 1e-6, 1e-4, 1e-2, 1.0, 100.0]),
       seed=st.integers(0, 999),
       keep=st.sampled_from([plain, bare, lambda name: True]))  # fmt: skip
def test_noise_and_its_consequences_have_no_name(step, size, seed, keep):
    theirs = {name: x for name, x in recorded(1, **_noisy(step, size, seed)).items() if keep(name)}
    report = compare(ours_of(1), theirs)
    assert not report and not named(report, COARSE if 1e-9 < size < 1e-5 else None), shown(report)


@pytest.mark.slow
@settings(deadline=None, max_examples=15, phases=[Phase.generate])
@given(step=st.sampled_from(STEPS), seed=st.integers(0, 999), keep=st.sampled_from([plain, bare, lambda name: True]))
def test_a_random_function_has_no_name(step, seed, keep):
    theirs = {name: x for name, x in recorded(1, **_of_nonsense(step, seed)).items() if keep(name)}
    report = compare(ours_of(1), theirs)
    assert not report and not named(report), shown(report)


@settings(deadline=None, max_examples=20, phases=[Phase.generate])
@given(name=st.sampled_from([n for n in trace(model_of(1), IDS, TARGETS, backward=True)
                             if n not in ("ids", "targets", "loss", "grad.loss")]),
       seed=st.integers(0, 999))  # fmt: skip
def test_channels_in_another_order_are_not_called_something_else(name, seed):
    """One tensor that others do not follow from."""
    ours = ours_of(1)
    order = np.random.default_rng(seed).permutation(ours[name].shape[-1])
    report = compare(ours, ours | {name: ours[name][..., order]})
    assert not named(report, "order|channels|columns|a matrix other than wte"), shown(report)


@pytest.mark.parametrize("keep", [plain, bare, lambda name: True], ids=["plain", "bare", "all"])
@pytest.mark.parametrize("scale", [0.3, 0.02])
def test_other_weights_have_no_name(scale, keep):
    """Weights of another seed, recorded or not."""
    other = model_of(1, seed=5)
    for name, parameter in flatten(other.params).items():
        gain = ".ln_" in f".{name}" and name.endswith("weight")
        parameter[...] = gain + (parameter - gain) * scale / 0.3
    theirs = planted.forward(flatten(other.params), IDS, TARGETS, H)
    report = compare(ours_of(1), {name: x for name, x in theirs.items() if keep(name)})
    assert not report and not named(report), shown(report)


@pytest.mark.parametrize("rtol", [1e-14, 1e-12, 1e-3, 0.1, 10.0])
def test_no_tolerance_makes_a_name(rtol):
    rng = np.random.default_rng(4)
    theirs = {n: x if n in ("ids", "targets") else x * (1 + 1e-9 * rng.standard_normal(x.shape)) for n,
              x in clean().items()}
    for each_one in clean(), theirs:
        assert not named(compare(ours_of(), each_one, rtol=rtol), COARSE)


@pytest.mark.parametrize("what", ["zeros", "ones", "negated", "noise", "NaN"])
def test_everything_nonsense(what):
    rng = np.random.default_rng(4)
    make = {
        "zeros": np.zeros_like, "ones": np.ones_like, "negated": lambda x: -x,
        "NaN": lambda x: np.full(x.shape, np.nan),
        "noise": lambda x: rng.standard_normal(x.shape),
    }[what]  # fmt: skip
    for keep in plain, bare:
        theirs = {n: x if n in ("ids", "targets") else make(x) for n, x in clean(1).items() if keep(n)}
        report = compare(ours_of(1), theirs)
        wrong = [s for s in named(report) if what not in ("zeros", "negated")
                 or not re.search("zeros|-1|sign|gradient is stopped|none reaches|bias is added", s)]
        assert not report and not wrong, shown(report)


# A right implementation, recorded in odd ways: nothing of the model is accused.


def _each(pattern, change):
    """change(trace, name, tensor) of the tensors whose names match."""
    return lambda theirs: {n: change(theirs, n, x) if re.fullmatch(pattern, n) else x for n, x in theirs.items()}


def _bfloat16(x):
    return rounded(x, 8).astype("float32") if x.dtype.kind == "f" else x


PER_LAYER = r"(grad\.)?h\.\d+\."
ODD = {
    "scores before the scale": _each(r"h\.\d+\.attn\.scores", lambda t, n, x: x * math.sqrt(D)),
    "scores before the scale, gradients too": _each(
        PER_LAYER + r"attn\.scores", lambda t, n, x: x * math.sqrt(D) ** (1 if n[0] == "h" else -1)),
    "masked scores": _each(r"h\.\d+\.attn\.scores", lambda t, n, x: np.where(np.tri(T, dtype=bool), x, -np.inf)),
    "q after the scale": _each(r"h\.\d+\.attn\.q", lambda t, n, x: x / math.sqrt(D)),
    "loss summed in the log": _each("loss", lambda t, n, x: x * 23),
    "heads at once": _each(r"h\.\d+\.attn\.heads", lambda t, n,
                           x: x.reshape(B, T, H, D).swapaxes(1, 2).reshape(B, T, C)),
    "q and k exchanged": _each(PER_LAYER + r"attn\.[qk]", lambda t, n, x: t[n[:-1] + ("k" if n[-1] == "q" else "q")]),
    "k and v exchanged": _each(r"h\.\d+\.attn\.[kv]", lambda t, n, x: t[n[:-1] + ("k" if n[-1] == "v" else "v")]),
    "norms before gain and shift": _each(r"ln_f|h\.\d+\.ln_[12]", lambda t, n,
                                         x: (x - t[n + ".bias"]) / t[n + ".weight"]),
    "gelu is its input": _each(r"h\.\d+\.mlp\.gelu", lambda t, n, x: t[n[:-4] + "fc"]),
    "fc is its output": _each(r"h\.\d+\.mlp\.fc", lambda t, n, x: t[n[:-2] + "gelu"]),
    "resid_mid after the norm": _each(r"h\.\d+\.resid_mid", lambda t, n, x: t[n[:-9] + "ln_2"]),
    "last hidden state after ln_f": _each(r"h\.1\.resid_post", lambda t, n, x: t["ln_f"]),
    "GradScaler": _each(r"grad\..*", lambda t, n, x: x * 65536.0),
    "time first": _each(PER_LAYER + r"(ln_[12]|attn\.(heads|out)|resid_.*|mlp\.(fc|gelu|out))", lambda t, n,
                        x: x.swapaxes(0, 1)),
    "last logits": lambda t: {n: x[:, -1:] if n == "logits" else x for n,
                              x in t.items() if n not in ("loss", "grad.logits")},
    "embd without wpe": _each("embd", lambda t, n, x: t["wte.weight"][t["ids"]]),
    "bfloat16 in the dump": lambda t: {n: _bfloat16(x) for n, x in t.items()},
    "float16 in the dump": lambda t: {n: x.astype("float16") if x.dtype.kind == "f" else x for n,
                                      x in t.items() if n[0] != "g"},
    "float32 in the dump": lambda t: {n: x.astype("float32") if x.dtype.kind == "f" else x for n, x in t.items()},
    "stream overwritten": lambda t: {n: t["h.1.resid_post"] if re.fullmatch(r"embd|h\.\d+\.resid_\w+", n) else x
                                     for n, x in t.items() if not n.startswith("grad.")},
    "logits as log-probabilities": _each("logits", lambda t, n, x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    "logits as probabilities": _each("logits", lambda t, n, x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "attn.out after the sum": _each(r"h\.\d+\.attn\.out", lambda t, n, x: t[n[:-8] + "resid_mid"]),
    "attn.out before its bias": _each(r"h\.\d+\.attn\.out", lambda t, n, x: x - t[n[:-3] + "c_proj.bias"]),
    "clipped": _each(r"grad\..*(weight|bias)", lambda t, n, x: x / 7.3),
    "counted from 1": lambda t: {re.sub(r"h\.(\d+)\.", lambda m: f"h.{int(m[1]) + 1}.", n): x for n, x in t.items()},
    "batch reversed": _each(r"(?!ids|targets|loss)(?!.*(weight|bias)).*", lambda t, n, x: x[::-1] if x.ndim else x),
    "gradients never filled": _each(r"grad\.h\.\d+\.(mlp\.gelu|attn\.heads)", lambda t, n, x: 0 * x),
    "parameters after a step": _each(r"(?!grad).*(weight|bias)", lambda t, n, x: x - 0.1 * t["grad." + n]),
    "(out, in)": _each(r".*c_\w+\.weight", lambda t, n, x: x.T),
    "(B, T, H, D)": _each(PER_LAYER + r"attn\.[qkv]", lambda t, n, x: x.swapaxes(1, 2)),
    "k as (B, H, D, T)": _each(PER_LAYER + r"attn\.k", lambda t, n, x: x.swapaxes(2, 3)),
    "probs averaged": _each(r"h\.\d+\.attn\.probs", lambda t, n, x: x.mean(1)),
    "no batch": lambda t: {n: x[0] if x.ndim > 2 else x for n, x in t.items()},
}  # fmt: skip
MAY_BE_SAID = {  # it is so
    "bfloat16 in the dump": "bfloat16", "GradScaler": "multiplied by 65536", "clipped": "multiplied|norm|clip",
    "parameters after a step": "weights",
}  # fmt: skip


@pytest.mark.parametrize("how", ODD)
def test_a_right_model_recorded_oddly_is_not_accused(how):
    if how == "no batch":
        ours = trace(model_of(), IDS[:1], TARGETS[:1], backward=True)
        theirs = planted.forward(parameters(), IDS[:1], TARGETS[:1], H)
    else:
        ours, theirs = ours_of(), clean()
    for keep in (lambda name: True), plain:
        report = compare(ours, {name: x for name, x in ODD[how](theirs).items() if keep(name)})
        accused = [s for s in named(report) if how not in MAY_BE_SAID or not re.search(MAY_BE_SAID[how], s)]
        assert not accused, shown(report)


# ------------------------------------------------------------------------------------------------------- accept

ACCEPTED = {
    "gelu=erf": ("gelu", "erf"), "gelu=quick": ("gelu", "quick"), "gelu=relu": ("gelu", "ReLU"),
    "gelu=silu": ("gelu", "SiLU"),
    "scale=1": ("scale", "none"), "scale=1/D": ("scale", "twice"), "scale=1/sqrt(C)": ("scale", "sqrt(C)"),
    "mask=none": ("mask", "none"), "eps=0.001": ("layer norm", "eps 0.001"), "eps=1e-6": ("layer norm", "eps 1e-06"),
    "variance=unbiased": ("layer norm", "unbiased"), "eps=outside": ("layer norm", "eps outside"),
}  # fmt: skip


@pytest.mark.parametrize("key",
                         [pytest.param(key, marks=[pytest.mark.slow] if n else []) for n, key in enumerate(ACCEPTED)])
def test_accepted(key):
    """All that follows from it agrees, gradients too: of the same form, or of the same function."""
    steps = FORWARD[ACCEPTED[key][0]][ACCEPTED[key][1]][2]
    for keep in (lambda name: True), plain:
        theirs = {name: x for name, x in recorded(**steps).items() if keep(name)}
        assert compare(ours_of(), theirs).findings[0].key in (key,
                                                              f"eps={float(key[4:]):g}" if key[4:5].isdigit() else key)
        report = compare(ours_of(), theirs, accept=[key])
        assert report and not report.findings, shown(report)
        assert any(row.note for row in report.rows) and {row.verdict for row in report.rows} == {"ok"}


@pytest.mark.parametrize("key", ["gelu=erf", "eps=0.001", "scale=1", "mask=none"])
def test_behind_what_is_accepted_a_second_mistake_is_found(key):
    first, (family, name) = ACCEPTED[key], ("count", "summed") if key == "mask=none" else ("blocks",
                                                                                           "no bias of mlp.c_proj")
    steps, words = _both(first, (family, name))
    report = compare(ours_of(), recorded(**steps), accept=[key])
    assert report.first.name == FORWARD[family][name][0] and not report, shown(report)
    assert [finding.kind for finding in report.findings] == ["mistake"] and re.search(words[1],
                                                                                      report.diagnosis), shown(report)


def test_two_are_accepted():
    steps, _ = _both(ACCEPTED["gelu=erf"], ACCEPTED["scale=1"])
    assert compare(ours_of(), recorded(**steps), accept=["gelu=erf", "scale=1"])
    assert not compare(ours_of(), recorded(**steps), accept=["gelu=erf"])


def test_what_was_not_made_is_not_accepted():
    """Accepting the erf form, the tanh form is wrong: nothing is passed over."""
    assert not compare(ours_of(), recorded(**FORWARD["gelu"]["ReLU"][2]), accept=["gelu=erf"])


def test_an_unknown_key_is_an_error_that_lists_the_known():
    for theirs in clean(), recorded(**FORWARD["gelu"]["erf"][2]):
        with pytest.raises(ValueError,
                           match=r"accept: nothing is called 'gelu=exact'; known are .*gelu=erf.*mask=none.*eps"):
            compare(ours_of(), theirs, accept=["gelu=exact"])


# ------------------------------------------------------------------------------------ what was compared, the report


def test_enough():
    """A quarter of all, and the logits or the loss."""
    ours = {name: x for name, x in ours_of().items() if not is_parameter(name)}
    names = [name for name in ours if name not in ("ids", "targets")]
    assert compare(ours, ours).enough and compare(ours, ours).compared == len(names)
    without = {name: x for name, x in ours.items() if name not in ("logits", "loss")}
    report = compare(ours, without)
    assert report.passed and not report.enough and not report and "Too few to call it agreement" in str(report)
    forward = [name for name in names if not name.startswith("grad.")]
    for count in range(1, len(forward) - 2):
        few = {name: ours[name] for name in ["logits", "loss", *forward[:count]]}
        report = compare(ours, few)
        assert (report.compared, report.total) == (count + 2, len(forward))
        assert bool(report) == (count + 2 >= ENOUGH * len(forward)) and report.passed
        assert (f"Compared {count + 2} of {len(forward)} tensors." in str(report)) == (count + 2 < len(forward))


@pytest.mark.parametrize("n, code", [(0, 0), (1, 1), (2, 1)])
def test_exit_code(n, code, tmp_path, capsys):
    theirs = [clean(), recorded(**FORWARD["gelu"]["erf"][2]), {"embd": ours_of()["embd"]}][n]
    write_trace(tmp_path / "ours.safetensors", ours_of(), {})
    np.savez(tmp_path / "theirs.npz", **theirs)
    files = [str(tmp_path / "ours.safetensors"), str(tmp_path / "theirs.npz")]
    assert main(["compare", *files, "--quiet"]) == code and capsys.readouterr() == ("", "")
    assert main(["compare", *files, "--accept", "gelu=erf", "--first"]) == (code if n != 1 else 0)
    assert "tensor " not in capsys.readouterr().out
    assert main(["compare", *files, "--accept", "gelu=exact"]) == 2
    assert "nothing is called 'gelu=exact'" in capsys.readouterr().err


def test_a_shape_is_a_row():
    """Everything else is compared and judged all the same."""
    theirs = recorded(**FORWARD["gelu"]["erf"][2])
    report = compare(ours_of(), theirs | {"h.0.attn.v": theirs["h.0.attn.v"][:, :, 1:]})
    (row,) = (row for row in report.rows if row.verdict == "shape")
    assert row.name == "h.0.attn.v" == report.first.name
    assert "theirs (4, 3, 6, 6)" in row.note and math.isnan(row.relative)
    assert "cannot be compared" in report.where and len(report.rows) == len(theirs)
    assert re.search("erf form", report.diagnosis), shown(report)


@pytest.mark.parametrize("steps", [{}, FORWARD["gelu"]["erf"][2], FORWARD["mask"]["none in block 1"][2]])
def test_json(steps):
    """Nothing is lost but what JSON does not know."""
    report = compare(ours_of(), recorded(**steps) | {"mine": np.ones(2)})
    said = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert said["passed"] == bool(report) and (said["compared"], said["total"]) == (report.compared, report.total)
    assert [row["name"] for row in said["tensors"]] == [row.name for row in report.rows]
    assert said["diagnosis"] == report.diagnosis and said["only_theirs"] == ["mine"]
    assert [finding["sentence"] for finding in said["findings"]] == [finding.sentence for finding in report.findings]
    assert (said["first"] or {}).get("name") == (report.first.name if report.first else None)
    if steps:
        assert said["findings"][0]["tensors"] and said["findings"][0]["worked"]


def test_json_of_nan():
    theirs = clean() | {"h.0.ln_2": np.full((B, T, C), np.nan)}
    said = compare(ours_of(), theirs).to_dict()
    assert json.loads(json.dumps(said, allow_nan=False))["first"]["relative"] is None


def test_explanation():
    """The formula, whose inputs, and three numbers: what it should be, theirs, and theirs with the mistake."""
    theirs = recorded(**FORWARD["gelu"]["ReLU"][2])
    report = compare(ours_of(), theirs)
    text = report.explanation()
    assert text.startswith("1. GELU: a ReLU")
    assert "h.0.mlp.gelu = gelu(fc), tanh form" in text and "h.0.mlp.fc of theirs" in text
    at = tuple(map(int, re.search(r"at \[([\d, ]+)\]", text)[1].split(", ")))
    numbers = [float(x) for x in re.search(r"gives ([-.e\d]+), theirs is ([-.e\d]+)\n.* gives ([-.e\d]+)",
                                           text).groups()]
    expected = [each_gelu(theirs["h.0.mlp.fc"])[at], theirs["h.0.mlp.gelu"][at], theirs["h.0.mlp.gelu"][at]]
    assert np.allclose(numbers, expected, rtol=1e-6, atol=1e-12)
    two, _ = _both(("gelu", "ReLU"), ("scale", "twice"))
    text = compare(ours_of(), recorded(**two)).explanation()
    assert re.search(r"^1\. attention: .*\n(   .*\n)+\n2\. GELU: a ReLU", text)
    assert compare(ours_of(), clean()).explanation() == ""


def test_explanation_of_a_weight_is_whose_it_is():
    report = compare(ours_of(), recorded(**FORWARD["blocks"]["c_proj transposed"][2]))
    assert "attn.c_proj.weight" in report.explanation() and "heads W_proj + b_proj" in report.explanation()
