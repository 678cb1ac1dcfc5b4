"""Layouts: a tensor is read however it is stored, and a wrong one is not read as right."""

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2 import GPT2, GPT2Config, flatten
from minigpt2.verification.compare import compare
from minigpt2.verification.layouts import LAYOUTS, align
from minigpt2.verification.trace import trace

V, P, L = 13, 9, 2


@functools.cache
def traced(B=3, T=7, C=8, H=2, dtype="float64"):
    """A trace with its parameters, of a model whose weights are far from zero."""
    config = GPT2Config(vocab_size=V, n_positions=P, n_embd=C, n_layer=L, n_head=H)
    model, rng = GPT2(config, dtype=dtype), np.random.default_rng(0)
    parameters = flatten(model.params)
    for name, parameter in parameters.items():
        parameter[...] = (".ln_" in f".{name}" and name.endswith("weight")) + 0.4 * rng.standard_normal(parameter.shape)
    ids = np.random.default_rng(1).integers(0, V, (B, T))
    targets = None if T > 1 else (ids + 1) % V
    return trace(model, ids, targets, backward=True) | parameters


@pytest.fixture(scope="module")
def ours():
    return traced()


def stored(ours, pattern, store):
    """Ours, with the tensors of a name, and their gradients, stored in another way."""
    found = {name: store(x) for name, x in ours.items() if re.fullmatch(rf"(grad\.)?(h\.\d\.)?({pattern})", name)}
    assert len(found) > 1 or pattern in ("ids", "targets")
    return ours | found


def notes(ours, theirs):
    """The notes of what was read in another way; all must be read, and rightly."""
    found = set()
    for name, aligned in align(ours, theirs).items():
        assert aligned.problem is None, (name, aligned)
        assert aligned.tensor.shape == aligned.ours.shape
        np.testing.assert_array_equal(aligned.tensor, aligned.ours, err_msg=name)
        found.add(aligned.note)
    return found - {""}


def with_last(axis):
    return lambda x: np.moveaxis(x, axis, -1)


B, T, C, H, D = 3, 7, 8, 2, 4
KINDS = {
    "a sequence of all tokens": ("embd|ln_f|ln_1|resid_mid|mlp.fc", lambda x: x.reshape(B * T, -1), "(B*T, C)"),
    "time first": ("embd|ln_f|ln_1|resid_post|mlp.gelu", lambda x: x.swapaxes(0, 1), "(T, B, C)"),
    "flat": ("embd|attn.out", np.ravel, "(B*T*C,)"),
    "q, k, v without heads": ("attn.[qkv]", lambda x: x.swapaxes(1, 2).reshape(B, T, C), "(B, T, C)"),
    "q, k, v of all tokens": ("attn.[qkv]", lambda x: x.swapaxes(1, 2).reshape(B * T, C), "(B*T, C)"),
    "q, k, v of all tokens, by head": ("attn.[qkv]", lambda x: x.swapaxes(1, 2).reshape(B * T, H, D), "(B*T, H, D)"),
    "q, k, v, tokens before heads": ("attn.[qkv]", lambda x: x.swapaxes(1, 2), "(B, T, H, D)"),
    "q, k, v, heads as sequences": ("attn.[qkv]", lambda x: x.reshape(B * H, T, D), "(B*H, T, D)"),
    "q, k, v, time first": ("attn.[qkv]", lambda x: x.transpose(2, 0, 1, 3).reshape(T, B, C), "(T, B, C)"),
    "q, k, v, time first, by head": ("attn.[qkv]", lambda x: x.transpose(2, 0, 1, 3), "(T, B, H, D)"),
    "q, k, v, time, heads as sequences": (
        "attn.[qkv]", lambda x: x.transpose(2, 0, 1, 3).reshape(T, B * H, D), "(T, B*H, D)"),
    "q, k, v, a list of heads": ("attn.[qkv]", lambda x: x.swapaxes(0, 1), "(H, B, T, D)"),
    "k, time last": ("attn.k", lambda x: x.swapaxes(2, 3), "(B, H, D, T)"),
    "k, time last, heads as sequences": ("attn.k", lambda x: x.swapaxes(2, 3).reshape(B * H, D, T), "(B*H, D, T)"),
    "probs, heads as sequences": ("attn.(probs|scores)", lambda x: x.reshape(B * H, T, T), "(B*H, T, T)"),
    "probs, a list of heads": ("attn.(probs|scores)", lambda x: x.swapaxes(0, 1), "(H, B, T, T)"),
    "heads apart": ("attn.heads", lambda x: x.reshape(B, T, H, D), "(B, T, H, D)"),
    "heads first": ("attn.heads", lambda x: x.reshape(B, T, H, D).swapaxes(1, 2), "(B, H, T, D)"),
    "heads, of all tokens": ("attn.heads", lambda x: x.reshape(B * T, C), "(B*T, C)"),
    "heads as sequences": (
        "attn.heads", lambda x: x.reshape(B, T, H, D).swapaxes(1, 2).reshape(B * H, T, D), "(B*H, T, D)"),
    "heads, time first": ("attn.heads", lambda x: x.swapaxes(0, 1), "(T, B, C)"),
    "heads, a list": ("attn.heads", lambda x: x.reshape(B, T, H, D).transpose(2, 0, 1, 3), "(H, B, T, D)"),
    "(out, in)": (r"attn.c_attn.weight|.*c_proj.weight|mlp.c_fc.weight", np.transpose, "transposed"),
    "(1, in, out)": (r"attn.c_attn.weight|.*c_proj.weight|mlp.c_fc.weight", lambda x: x[None], None),
    "q, k, v stacked": ("attn.c_attn.weight", lambda x: x.reshape(C, 3, C).swapaxes(0, 1), "(3, in, C)"),
    "q, k, v stacked, (out, in)": (
        "attn.c_attn.weight|.*c_proj.weight|mlp.c_fc.weight",
        lambda x: x.T if x.shape[1] != 3 * C else x.reshape(C, 3, C).transpose(1, 2, 0), "(3, C, in)"),
    "q, k, v by head": (
        "attn.c_attn.weight", lambda x: x.reshape(C, 3, H, D).transpose(1, 2, 0, 3), "(3, H, in, D)"),
    "q, k, v by head, (out, in)": (
        "attn.c_attn.weight|mlp.c_fc.weight|.*c_proj.weight",
        lambda x: x.T if x.shape[1] != 3 * C else x.reshape(C, 3, H, D).transpose(1, 2, 3, 0), "(3, H, D, in)"),
    "q, k, v by head, inputs first": ("attn.c_attn.weight", lambda x: x.reshape(C, 3, H, D), "(in, 3, H, D)"),
    "q, k, v, inputs first": ("attn.c_attn.weight", lambda x: x.reshape(C, 3, C), "(in, 3, C)"),
    "q, k, v stacked, inputs first": (
        "attn.c_attn.weight", lambda x: x.reshape(C, 3, H, D).swapaxes(0, 1), "(3, in, H, D)"),
    "q, k, v biases": ("attn.c_attn.bias", lambda x: x.reshape(3, C), "(3, C)"),
    "q, k, v biases by head": ("attn.c_attn.bias", lambda x: x.reshape(3, H, D), "(3, H, D)"),
    "c_proj by head": ("attn.c_proj.weight", lambda x: x.reshape(H, D, C), "(H, D, out)"),
    "c_proj by head, outputs before": (
        "attn.c_proj.weight", lambda x: x.reshape(H, D, C).swapaxes(1, 2), "(H, out, D)"),
    "c_proj by head, outputs first": (
        "attn.c_proj.weight", lambda x: x.reshape(H, D, C).transpose(2, 0, 1), "(out, H, D)"),
    "a padded vocabulary": ("logits", lambda x: np.pad(x, ((0, 0), (0, 0), (0, 3)), constant_values=7), "padded"),
    "a padded vocabulary, of all tokens": (
        "logits", lambda x: np.pad(x.reshape(B * T, V), ((0, 0), (0, 3)), constant_values=7), "(B*T, V), padded"),
    "padded embeddings": ("wte.weight", lambda x: np.pad(x, ((0, 3), (0, 0))), "padded"),
    "a head's weight": ("wte.weight", np.transpose, "transposed"),
    "a head's weight, padded": ("wte.weight", lambda x: np.pad(x, ((0, 3), (0, 0))).T, "transposed, padded"),
    "logits of the last position": ("logits", lambda x: x[:, -1], "(B, V), the last position"),
    "logits of the last position, kept": ("logits", lambda x: x[:, -1:], "the last position"),
    "logits of all but the last": ("logits", lambda x: x[:, :-1], "the first 6 positions"),
    "logits of all but the last, in a row": (
        "logits", lambda x: x[:, :-1].reshape(-1, V), "(B*T, V), the first 6 positions"),
    "positions that were used": ("wpe.weight", lambda x: x[:T], "the first 7 rows"),
    "more positions": ("wpe.weight", lambda x: np.pad(x, ((0, 4), (0, 0))), "the first 9 rows"),
    "one sequence": ("embd", lambda x: x[:1], "the first sequence"),
    "a loss with axes": ("loss", lambda x: x[None, None], "(1, 1)"),
    "tokens in a row": ("ids|targets", np.ravel, "(B*T,)"),
}  # fmt: skip


@pytest.mark.parametrize("pattern, store, note", KINDS.values(), ids=KINDS)
def test_a_layout_is_read(ours, pattern, store, note):
    found = notes(ours, stored(ours, pattern, store))
    assert note is None or note in found, found


@pytest.mark.parametrize("pattern, store", [
    ("embd|ln_1|logits", lambda x: x[0]),
    ("attn.[qkv]", lambda x: x[0]),
    ("attn.k", lambda x: x[0].swapaxes(1, 2)),
    ("attn.[qkv]", lambda x: x[0].swapaxes(0, 1)),
    ("attn.[qkv]", lambda x: x[0].swapaxes(0, 1).reshape(T, C)),
    ("attn.heads", lambda x: x.reshape(T, H, D).swapaxes(0, 1)),
    ("attn.heads", lambda x: x[0]),
    ("attn.(probs|scores)", lambda x: x[0]),
    ("ids|targets", lambda x: x[0]),
    ("loss", lambda x: x[None]),
])  # fmt: skip
def test_without_a_batch_axis(pattern, store):
    ours = traced(B=1)
    assert notes(ours, stored(ours, pattern, store))


def test_a_loss_per_position_is_averaged_and_its_gradient_summed(ours):
    counted = ours["targets"] != -100
    losses = np.where(counted, ours["loss"] + 0.5 - np.arange(T) % 2, 9.0)  # of T - 1 = 6, half is more and half less
    for stored_losses in losses, losses.ravel(), losses[counted], losses[:, :-1]:
        theirs = {"loss": stored_losses, "grad.loss": np.full((B, T), 1 / (B * T))}
        aligned = align(ours, theirs)
        assert (aligned["loss"].note, aligned["grad.loss"].note) == ("mean of the positions", "sum of the positions")
        np.testing.assert_allclose(aligned["loss"].tensor, ours["loss"], rtol=1e-15)
        np.testing.assert_allclose(aligned["grad.loss"].tensor, 1.0, rtol=1e-15)


def test_what_is_no_known_way_is_said_and_the_rest_is_read(ours):
    for name, tensor in ours.items():
        for wrong in np.zeros((5, *tensor.shape)), np.zeros(tensor.size + 1), np.zeros(0):
            aligned = align(ours, ours | {name: wrong})
            assert aligned[name].tensor is None, (name, wrong.shape, aligned[name].note)
            assert f"theirs {wrong.shape}, which is no known way to store it" in aligned[name].problem
            assert not any(other.problem for key, other in aligned.items() if key != name)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_nothing_is_raised(data):
    ours = traced()
    name = data.draw(st.sampled_from(sorted(ours)))
    shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 6, 7, 8, 9, 13, 16, 21, 24]), max_size=5))
    aligned = align(ours, ours | {name: np.full(shape, data.draw(st.sampled_from([0, 1, np.nan, np.inf, 1e300])))})
    assert (aligned[name].tensor is None) == (aligned[name].problem is not None)
    assert aligned[name].tensor is None or aligned[name].tensor.shape == aligned[name].ours.shape


# A wrong tensor is not read as right.


def differing(ours, theirs):
    """Names of the tensors that are wrong, as they are read."""
    return {name for name, a in align(ours, theirs).items() if a.problem or not np.array_equal(a.tensor, a.ours)}


def weights(ours, grad=""):
    kinds = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    return {name: x for name, x in ours.items() if name.startswith(f"{grad}h.") and name.endswith(kinds)}


@pytest.mark.parametrize("grad", ["", "grad."])
@pytest.mark.parametrize("turned", [False, True], ids=["(in, out)", "(out, in)"])
@pytest.mark.parametrize("wrong", ["one", "all"])
def test_a_square_weight_that_is_transposed_alone_is_wrong(ours, grad, turned, wrong):
    theirs = {name: x.T if turned else x for name, x in weights(ours, grad).items()}
    square = [name for name in theirs if "attn.c_proj" in name]
    for name in square if wrong == "all" else square[1:]:
        theirs[name] = theirs[name].T
    assert differing(ours, theirs) == set(square if wrong == "all" else square[1:])


@pytest.mark.parametrize("turned", [False, True])
def test_square_weights_alone_have_the_orientation_of_most(ours, turned):
    ours = ours | {f"h.2.{name}": ours[f"h.0.{name}"] + 1 for name in ("attn.c_proj.weight", "attn.out")}
    theirs = {f"h.{i}.attn.c_proj.weight": ours[f"h.{i}.attn.c_proj.weight"] for i in range(3)}
    theirs = {name: x.T if turned else x for name, x in theirs.items()}
    assert not differing(ours, theirs)
    theirs["h.1.attn.c_proj.weight"] = theirs["h.1.attn.c_proj.weight"].T
    assert differing(ours, theirs) == {"h.1.attn.c_proj.weight"}


def test_one_of_q_k_and_v_transposed_alone_is_wrong(ours):
    """Of three square weights in one array; and c_attn reshaped where it should be transposed."""
    stacked = {name: x.reshape(C, 3, C).transpose(1, 2, 0).copy() if "c_attn" in name else x.T
               for name, x in weights(ours).items()}  # fmt: skip
    assert not differing(ours, stacked)
    name = "h.1.attn.c_attn.weight"
    stacked[name][1] = stacked[name][1].T
    assert differing(ours, stacked) == {name}
    assert differing(ours, weights(ours) | {name: ours[name].reshape(3 * C, C)}) == {name}


def test_tensors_of_one_size_are_told_apart_by_all_layers():
    """Where H = T, (B, T, H, D) has the shape of (B, H, T, D); where B = T, (T, B, C) that of (B, T, C)."""
    ours = traced(B=3, T=4, C=8, H=4)
    assert notes(ours, stored(ours, "attn.[qkv]", lambda x: x.swapaxes(1, 2))) == {"(B, T, H, D)"}
    apart = stored(ours, "attn.heads", lambda x: x.reshape(3, 4, 4, 2).swapaxes(1, 2))
    assert notes(ours, apart) == {"(B, H, T, D)"}
    for name in "h.1.attn.q", "h.0.attn.v", "grad.h.0.attn.k":
        assert differing(ours, ours | {name: ours[name].swapaxes(1, 2)}) == {name}
    ours = traced(B=7, T=7)
    assert notes(ours, stored(ours, "embd|ln_1|attn.out", lambda x: x.swapaxes(0, 1))) == {"(T, B, C)"}
    for name in "h.0.ln_1", "grad.h.1.mlp.out":
        assert differing(ours, ours | {name: ours[name].swapaxes(0, 1)}) == {name}
    ours = traced(B=1, T=4, C=8, H=2)  # T = D
    assert notes(ours, stored(ours, "attn.k", lambda x: x[0].swapaxes(1, 2))) == {"(H, D, T)"}
    assert differing(ours, ours | {"h.1.attn.k": ours["h.1.attn.k"].swapaxes(2, 3)}) == {"h.1.attn.k"}


def test_heads_that_are_mixed_up_in_all_layers_are_wrong_though_a_layout_fits():
    """(B, T, C) reshaped to (B, H, T, D) at once: where H = T, that is (B, T, H, D) of the right ones.

    What is computed from it tells: with the right q and k in another layout, the scores are right.
    """
    ours = traced(B=3, T=4, C=8, H=4)
    mixed = stored(ours, "attn.[qkv]", lambda x: x.swapaxes(1, 2))
    wrong = {f"h.{i}.attn.{name}": ours[f"h.{i}.attn.{name}"] + 1.0 for i in range(L) for name in ("scores", "heads")}
    expected = {f"h.{i}.attn.{name}" for i in range(L) for name in "qkv"}
    forward = {name: x for name, x in (mixed | wrong).items() if not name.startswith("grad.")}
    assert differing(ours, forward) == expected | set(wrong)
    without_scores = {name: x for name, x in forward.items() if not name.endswith(("scores", "probs"))}
    assert differing(ours, without_scores) == expected | {name for name in wrong if "heads" in name}


def test_q_in_another_layout_is_not_blamed_for_scores_without_their_scale():
    ours = traced(B=3, T=4, C=8, H=4)
    theirs = stored(ours, "attn.[qkv]", lambda x: x.swapaxes(1, 2))
    scores = {f"h.{i}.attn.scores": 3 * ours[f"h.{i}.attn.scores"] for i in range(L)}
    assert differing(ours, theirs | scores) == set(scores)
    masked = {name: np.where(np.tri(4), ours[name], -1e10) for name in scores}  # as they enter the softmax
    assert differing(ours, theirs | masked) == set(masked)


@pytest.mark.slow
@pytest.mark.parametrize("B, T, C, H", [(3, 2, 8, 2), (7, 7, 8, 2), (4, 4, 16, 4), (2, 8, 8, 2), (3, 4, 8, 2)])
def test_no_mistake_of_torch_hides_in_a_layout_of_the_same_shape(B, T, C, H):
    """H = T, B = T, T = D and all of them: the mistake is found where it is, and everything read as it is stored."""
    pytest.importorskip("torch", reason="plants mistakes in a PyTorch GPT-2")
    import torch_gpt2
    from test_compare import PLANTED, tiny

    model = tiny(n_embd=C, n_head=H)
    ids = np.random.default_rng(1).integers(0, V, (B, T))
    targets = np.concatenate([ids[:, 1:], np.full((B, 1), -100)], axis=1)
    ours = trace(model, ids, targets, backward=True)
    for mistake, (first, _) in PLANTED.items():
        report = compare(ours, torch_gpt2.trace(model, ids, targets, mistake))
        assert (report.first.name, {row.note for row in report.rows}) == (first, {""}), mistake


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [
    {"T": 1}, {"H": 1}, {"T": 1, "H": 1}, {"B": 1, "T": 1}, {"B": 1, "H": 1}, {"B": 2, "T": 2, "H": 2, "C": 4},
    {"T": 8}, {"B": 7}, {"T": 4}, {"H": 8}, {"B": 8}, {"B": 2, "T": 1}, {"C": 4, "H": 4, "T": 4, "B": 4},
    {"C": 9}, {"C": 13, "H": 13},
], ids=str)  # fmt: skip
def test_axes_exchanged_in_one_tensor_are_found_in_all_sizes(sizes):
    """Two axes of one tensor exchanged, where its shape stays: it must differ, unless it is the same numbers."""
    ours = traced(**sizes | {"H": 1 if sizes.get("C") == 9 else sizes.get("H", 2)})
    assert not notes(ours, ours)
    for name, tensor in ours.items():
        for first in range(tensor.ndim):
            for second in range(first):
                wrong = tensor.swapaxes(first, second)
                alone = sum(re.sub(r"h\.\d+", "", other) == re.sub(r"h\.\d+", "", name) for other in ours) == 1
                if wrong.shape == tensor.shape and not np.array_equal(wrong, tensor) and not alone:
                    assert differing(ours, ours | {name: wrong}) == {name}, (name, first, second)


@pytest.mark.parametrize("sizes", [{}, {"T": 4, "H": 4}, {"B": 7}, {"T": 1}, {"H": 1}], ids=str)
def test_noise_and_factors_are_read_as_they_are(sizes):
    ours = traced(**sizes)
    noise = np.random.default_rng(2)
    for change in lambda x: x * 1.7, lambda x: -x, lambda x: 0 * x, lambda x: x + noise.standard_normal(x.shape):
        theirs = {name: change(x) if x.dtype.kind == "f" else x for name, x in ours.items()}
        assert {aligned.note for aligned in align(ours, theirs).values()} == {""}
    for name in ours:
        assert align(ours, ours | {name: theirs[name]})[name].note == ""


def test_every_layout_is_spelled_with_the_letters_of_the_first():
    for layouts in LAYOUTS.values():
        assert {"".join(sorted(layout.replace(" ", ""))) for layout in layouts} == {
            "".join(sorted(layouts[0].replace(" ", "")))
        }


def test_compare_reports_a_shape_and_goes_on(ours):
    theirs = ours | {"h.0.mlp.fc": np.zeros((5, 5)), "logits": ours["logits"] + 1}
    report = compare(ours, theirs)
    verdicts = {row.name: row.verdict for row in report.rows}
    assert (verdicts["h.0.mlp.fc"], verdicts["logits"], verdicts["ln_f"]) == ("shape", "differs", "ok")
    assert not report and len(report.rows) == len(ours) and "no known way to store it" in str(report)


def test_any_negative_target_is_one_that_does_not_count(ours):
    theirs = {"targets": np.where(ours["targets"] < 0, -1, ours["targets"])}
    assert not differing(ours, theirs)
    assert differing(ours, {"targets": np.abs(ours["targets"])}) == {"targets"}
