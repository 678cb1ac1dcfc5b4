"""Every component, and the block and the model made of them, against differences and against PyTorch.

``CASES`` of minigpt2/reference is the one list of what is compared, ``PAIRS`` of minigpt2/verification/pairs.py the
list of our functions. What is special to one component follows below.
"""

import math
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from assertions import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2 import flatten, gradient_check, unflatten
from minigpt2.components import attention, loss
from minigpt2.components.attention import attention_forward
from minigpt2.components.dropout import dropout_backward, dropout_forward
from minigpt2.components.embedding import (
    embedding_backward,
    embedding_forward,
)
from minigpt2.components.feed_forward import (
    gelu_forward,
)
from minigpt2.components.key_value_cache import KeyValueCache, KeyValueCaches
from minigpt2.components.layer_norm import layer_norm_forward
from minigpt2.components.linear import linear_forward
from minigpt2.components.lora import lora_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.position import position_forward, sinusoidal_positions
from minigpt2.components.residual import residual_forward
from minigpt2.parameters import allocate_like
from minigpt2.reference import CASES, calculate, numbers, recorded
from minigpt2.verification.pairs import pair, run_case

SMALL_CASES = [name for name in CASES if not name.startswith("gpt2") and not name.endswith("_long")]


def converted(tree, dtype):
    """A copy of a tree whose float arrays have another dtype."""
    leaves = {name: np.array(leaf) for name, leaf in flatten(tree).items()}
    return unflatten({k: a.astype(dtype) if a.dtype.kind == "f" else a for k, a in leaves.items()})


def assert_same_bits(actual, expected):
    actual, expected = flatten({"": actual}), flatten({"": expected})
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


def float_dtypes(tree):
    """The dtypes of all float arrays and scalars in a tree."""
    arrays = [leaf for leaf in flatten({"": tree}).values() if isinstance(leaf, np.ndarray | np.generic)]
    return {array.dtype.name for array in arrays if array.dtype.kind == "f"}


# Against PyTorch.


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_torch_in_float64(name):
    reference = recorded(name)
    y, _, gradients = run_case(name, reference["inputs"], reference["dy"])
    # Largest differences measured: y 9e-16, gradients 2e-15.
    assert_close(y, reference["y"], 1e-10)
    assert_close(gradients, reference["gradients"], 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_torch_in_float32(name):
    reference = recorded(name)
    y, _, gradients = run_case(name, converted(reference["inputs"], "float32"), reference["dy"].astype("float32"))
    # Largest differences measured: y 3e-7, gradients 1e-6 (torch in float32 is as far from torch in float64).
    assert_close(y, reference["y"], 2e-5)
    assert_close(gradients, reference["gradients"], 2e-6)


@pytest.mark.parametrize("name", CASES)
def test_torch_says_what_is_recorded(name):
    pytest.importorskip("torch", reason="needs torch; the recorded values stand in")
    pytest.importorskip("transformers", reason="needs transformers; the recorded values stand in")
    reference, live = recorded(name), calculate(name)
    assert_same_bits(live["inputs"], reference["inputs"])
    assert_close(live["y"], reference["y"], 1e-12)
    assert_close(live["gradients"], reference["gradients"], 1e-12)


# Against central differences.


@st.composite
def sizes(draw):
    """B, T, C, H: small, odd and even, one token, one head, one channel."""
    H = draw(st.integers(1, 3))
    return draw(st.integers(1, 3)), draw(st.integers(1, 5)), H * draw(st.integers(1, 3)), H


def laid_out(tree, layout):
    """A copy of a tree of arrays, contiguous ("C"), transposed in memory ("F"), or with gaps."""

    def gaps(array):
        wide = np.full((*array.shape, 2), np.nan if array.dtype.kind == "f" else -1)
        wide[..., 0] = array
        return wide[..., 0]

    copy = {"C": np.array, "F": np.asfortranarray, "gaps": gaps}[layout]
    return unflatten({name: copy(leaf) for name, leaf in flatten(tree).items()})


@contextmanager
def blocks_of(size):
    """Let attention and loss work on ``size`` queries or numbers at a time, as they do on long inputs."""
    with mock.patch.object(attention, "QUERY_BLOCK", size), mock.patch.object(loss, "CHUNK", size):
        yield


LAYOUTS = st.sampled_from(["C", "F", "gaps"])
BLOCKS = st.sampled_from([1, 2, 128])


@pytest.mark.parametrize("name", SMALL_CASES)
@settings(max_examples=12, deadline=None)
@given(sizes=sizes(), layout=LAYOUTS, block=BLOCKS, seed=st.integers(0, 1000))
def test_gradients_are_the_differences(name, sizes, layout, block, seed):
    case = CASES[name]
    inputs = laid_out(case.inputs(np.random.default_rng(seed), *sizes), layout)
    options = case.options | ({"n_head": sizes[-1]} if "n_head" in case.options else {})
    with blocks_of(block):
        report = gradient_check(*pair(name), inputs | options, seed=seed)
    assert report, report


@pytest.mark.parametrize("name", ["attention", "attention_bidirectional", "block"])
@settings(max_examples=12, deadline=None)
@given(sizes=sizes(), block=BLOCKS, seed=st.integers(0, 1000))
def test_gradients_with_dropout_are_the_differences(name, sizes, block, seed):
    case = CASES[name]
    forward, backward = pair(name)
    inputs = case.inputs(np.random.default_rng(seed), *sizes)
    options = case.options | {"n_head": sizes[-1]}
    options |= {"attn_pdrop": 0.3, "resid_pdrop": 0.4} if name == "block" else {"dropout": 0.3}

    def seeded_forward(**inputs):  # every call drops the same
        return forward(**inputs, **options, rng=np.random.default_rng(seed))

    with blocks_of(block):
        report = gradient_check(seeded_forward, backward, inputs, seed=seed)
    assert report, report


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
def test_gradient_of_dropout_is_the_difference(p):
    x = numbers(np.random.default_rng(0), 3, 4, 5)
    report = gradient_check(lambda x: dropout_forward(x, p, np.random.default_rng(1)), dropout_backward, [x])
    assert report, report


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_of_long_attention_are_the_differences(causal):
    T = 2 * attention.QUERY_BLOCK + 1
    inputs = CASES["attention"].inputs(np.random.default_rng(0), 1, T, 1, 1)
    report = gradient_check(*pair("attention"), inputs | {"n_head": 1, "causal": causal})
    assert report, report


# What holds for every pair.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_dtype_follows_the_input(name, dtype):
    reference = recorded(name)
    y, cache, gradients = run_case(name, converted(reference["inputs"], dtype), reference["dy"].astype(dtype))
    assert float_dtypes(y) == {dtype}
    assert float_dtypes(cache) <= {dtype}
    assert float_dtypes(gradients) == {dtype}


@pytest.mark.parametrize("name", CASES)
def test_inputs_and_cache_stay_as_they_are(name):
    reference = recorded(name)
    inputs, dy = converted(reference["inputs"], "float64"), reference["dy"].copy()
    _, cache, gradients = run_case(name, inputs, dy)
    gradients = converted(gradients, "float64")  # a copy
    again = pair(name)[1](dy, cache)
    assert_same_bits(inputs, reference["inputs"])
    assert_same_bits(dy, reference["dy"])
    again = again if isinstance(again, tuple) else (again,)
    assert_same_bits(list(again), list(gradients.values()))


@pytest.mark.parametrize(
    "name", [name for name in CASES if name not in ("residual", "gelu", "softmax", "dropout", "lora")]
)
def test_gradients_are_written_where_asked(name):
    """With ``out``, the parameters' gradients are the same, in the arrays that were given."""
    reference = recorded(name)
    *_, expected = run_case(name, reference["inputs"], reference["dy"])
    if name.startswith("cross_entropy"):
        out = np.full_like(reference["inputs"]["logits"], np.nan)
    else:
        out = allocate_like(expected.get("params") or {key: g for key, g in expected.items() if key != "x"})
        for array in flatten(out).values():
            array.fill(0 if name == "embedding" else np.nan)  # which adds
    *_, gradients = run_case(name, reference["inputs"], reference["dy"], out=out)
    assert_close(gradients, expected, 1e-14)  # another memory alignment may round otherwise
    written = {id(array) for array in flatten({"": out}).values()}
    assert written <= {id(array) for array in flatten(gradients).values()}


# 2.5.1 embedding


def test_embedding_adds_to_the_output_layers_gradient():
    weight = np.zeros((3, 2))
    _, cache = embedding_forward(np.array([[1, 1]]), weight)
    dweight = embedding_backward(np.ones((1, 2, 2)), cache, add_to=np.full((3, 2), 10.0))
    np.testing.assert_array_equal(dweight, [[10, 10], [12, 12], [10, 10]])


@pytest.mark.parametrize(
    "ids, error, message",
    [
        ([[0.0, 1.0]], TypeError, "ids must be integers, got float64"),
        ([[True]], TypeError, "ids must be integers, got bool"),
        ([[0, 3]], ValueError, r"ids must lie in 0 \.\.\. 2, got 0 \.\.\. 3"),
        ([[-1, 0]], ValueError, r"ids must lie in 0 \.\.\. 2, got -1 \.\.\. 0"),
    ],
)
def test_embedding_refuses(ids, error, message):
    with pytest.raises(error, match=message):
        embedding_forward(np.array(ids), np.zeros((3, 2)))


# 2.5.2 position


@pytest.mark.parametrize("C", [1, 2, 7, 8])
def test_sinusoidal_positions_are_the_formula(C):
    weight = sinusoidal_positions(50, C, "float64")
    assert weight.shape == (50, C)
    for p in (0, 1, 2, 49):
        for c in range(C):
            angle = p / 10000 ** ((c - c % 2) / C)
            assert weight[p, c] == pytest.approx(math.cos(angle) if c % 2 else math.sin(angle), abs=1e-13)


def test_sinusoidal_positions_come_in_the_dtype_asked_for():
    assert sinusoidal_positions(3, 4).dtype == np.float32
    np.testing.assert_array_equal(sinusoidal_positions(9, 5), sinusoidal_positions(9, 5, "float64").astype(np.float32))


@pytest.mark.parametrize("start", [0, 1, 2])
def test_positions_count_from_start(start):
    x, weight = np.zeros((2, 3, 1)), np.arange(5.0)[:, None]
    y, _ = position_forward(x, weight, start)
    np.testing.assert_array_equal(y[1, :, 0], start + np.arange(3))


def test_positions_start_at_0():
    y, _ = position_forward(np.zeros((1, 3, 2)), np.arange(10.0).reshape(5, 2))
    np.testing.assert_array_equal(y[0, :, 0], [0, 2, 4])


def test_positions_count_from_the_first_token_after_the_padding():
    weight = np.random.default_rng(0).standard_normal((9, 4))
    for start in 0, 3:
        y, _ = position_forward(np.zeros((3, 5, 4)), weight, start, padding=np.array([0, 2, 4]))
        positions = np.maximum(np.arange(start, start + 5) - np.array([[0], [2], [4]]), 0)
        np.testing.assert_array_equal(y, weight[positions])


def test_position_refuses_more_tokens_than_positions():
    with pytest.raises(ValueError, match=r"6 tokens, but the model has 5 positions"):
        position_forward(np.zeros((1, 3, 2)), np.zeros((5, 2)), start=3)


# 2.5.3 attention


@pytest.fixture(params=[2, 128], ids=["blocked", "whole"])
def query_block(request, monkeypatch):
    monkeypatch.setattr(attention, "QUERY_BLOCK", request.param)


@pytest.mark.parametrize("causal", [True, False])
def test_attention_rows_sum_to_one_and_never_look_ahead(causal, query_block):
    inputs = CASES["attention"].inputs(np.random.default_rng(0), 2, 7, 6, 3)
    y, cache = attention_forward(**inputs, n_head=3, causal=causal)
    probs = cache["probs"]
    assert probs.shape == (2, 3, 7, 7) and cache["heads"].shape == y.shape
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=0, atol=1e-15)
    future = np.triu(np.ones((7, 7), bool), 1)
    assert (probs[..., ~future] > 0).all()
    assert (probs[..., future] == 0).all() if causal else (probs[..., future] > 0).all()


@pytest.mark.parametrize("causal", [True, False])
def test_a_later_token_changes_earlier_outputs_only_without_the_mask(causal, query_block):
    inputs = CASES["attention"].inputs(np.random.default_rng(0), 1, 7, 4, 2)
    before, _ = attention_forward(**inputs, n_head=2, causal=causal)
    inputs["x"][:, 4] += 1
    after, _ = attention_forward(**inputs, n_head=2, causal=causal)
    same = (before == after).all(axis=-1)[0]
    assert same[:4].all() if causal else not same[:4].any()
    assert not same[4:].any()


def test_attention_is_stable_for_large_scores(query_block):
    """Scores of 1e12: exp must not overflow, which is an error in our tests, and no mask be outweighed."""
    inputs = CASES["attention"].inputs(np.random.default_rng(0), 1, 7, 4, 2)
    inputs["params"]["c_attn"]["weight"] *= 1e6
    y, cache = attention_forward(**inputs, n_head=2)
    assert np.isfinite(y).all()
    np.testing.assert_allclose(cache["probs"].sum(-1), 1)
    np.testing.assert_array_equal(np.triu(cache["probs"], 1), 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_padding_is_never_seen_and_stays_finite(dtype, scale, query_block):
    inputs = CASES["attention"].inputs(np.random.default_rng(0), 3, 7, 4, 2)
    inputs["params"]["c_attn"]["weight"] *= scale
    inputs = unflatten({name: leaf.astype(dtype) for name, leaf in flatten(inputs).items()})
    padding = np.array([0, 3, 6])
    y, cache = attention_forward(**inputs, n_head=2, padding=padding)
    assert np.isfinite(y).all() and float_dtypes([y, cache]) == {dtype}
    np.testing.assert_allclose(cache["probs"].sum(-1), 1, rtol=1e-6)
    for b, n in enumerate(padding):
        np.testing.assert_array_equal(cache["probs"][b, :, n:, :n], 0)
        alone, _ = attention_forward(inputs["x"][b : b + 1, n:], inputs["params"], n_head=2)
        np.testing.assert_allclose(y[b, n:], alone[0], rtol=1e-4 if dtype == "float32" else 1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("shape", [(2, 6), (1, 2, 5)])
def test_attention_refuses(shape):
    with pytest.raises(ValueError, match=r"x must be \(B, T, C\) with C a multiple of 2 heads"):
        attention_forward(np.zeros(shape), {}, n_head=2)


def test_a_full_key_value_cache_refuses_more():
    past = KeyValueCache(1, 2, 3, 4, "float64", np)
    past.append(np.zeros((1, 2, 2, 4)), np.zeros((1, 2, 2, 4)))
    with pytest.raises(ValueError, match="4 tokens, but it was made for 3"):
        past.append(np.zeros((1, 2, 2, 4)), np.zeros((1, 2, 2, 4)))


@pytest.mark.parametrize("rows", [[1, 0], [1, 1, 0], [0]])
def test_key_value_cache_goes_on_with_the_sequences_asked_for(rows):
    rng = np.random.default_rng(0)
    past = KeyValueCache(2, 2, 4, 3, "float64", np)
    k, v, more = (rng.standard_normal((len(indices), 2, T, 3)) for indices, T in (([0, 1], 3), ([0, 1], 3), (rows, 1)))
    past.append(k, v)
    past.select(np.array(rows))
    keys, values = past.append(more, -more)  # fills it to the last place
    np.testing.assert_array_equal(keys, np.concatenate([k[rows], more], axis=2))
    np.testing.assert_array_equal(values, np.concatenate([v[rows], -more], axis=2))


# 2.5.4 feed-forward and 2.5.5 residual, layer norm


def test_linear_tells_about_a_transposed_weight():
    with pytest.raises(ValueError, match=r"x has 3 channels but weight \(4, 3\) takes 4.*transpose"):
        linear_forward(np.zeros((2, 3)), np.zeros((4, 3)), np.zeros(3))


def test_gelu_is_the_tanh_form():
    x = np.linspace(-5, 5, 101)
    y, _ = gelu_forward(x)
    erf_form = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])
    assert 4e-4 < np.abs(y - erf_form).max() < 5e-4


def test_layer_norm_uses_gpt2s_eps():
    x = 1e-3 * np.random.default_rng(0).standard_normal((4, 6))  # its variance is a tenth of eps
    y, _ = layer_norm_forward(x, np.ones(6), np.zeros(6))
    np.testing.assert_allclose(y, (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5))


@pytest.mark.parametrize("n_layer", [1, 3])
def test_the_caches_of_all_blocks_go_together(n_layer):
    caches = KeyValueCaches([KeyValueCache(2, 1, 4, 1, "float64", np) for _ in range(n_layer)])
    for layer in range(n_layer):
        caches[layer].append(np.array([[[[1.0]]], [[[2.0]]]]), np.array([[[[3.0]]], [[[4.0]]]]))
    caches.select([1])
    assert caches.length == 1
    assert [caches[layer].keys[:, 0, 0, 0].tolist() for layer in range(n_layer)] == [[2.0]] * n_layer
    assert [caches[layer].values[:, 0, 0, 0].tolist() for layer in range(n_layer)] == [[4.0]] * n_layer


@pytest.mark.parametrize("weight, bias", [(1, 4), (4, 1), (5, 4)])
def test_layer_norm_refuses_what_numpy_would_broadcast(weight, bias):
    with pytest.raises(ValueError, match="x has 4 channels, but weight is"):
        layer_norm_forward(np.zeros((2, 4)), np.ones(weight), np.zeros(bias))


def test_residual_refuses_what_numpy_would_broadcast():
    with pytest.raises(ValueError, match=r"turned \(2, 3, 4\) into \(2, 1, 4\)"):
        residual_forward(np.zeros((2, 3, 4)), np.zeros((2, 1, 4)))


# 2.5.6 dropout


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_drops_or_scales_up(dtype):
    x = np.random.default_rng(0).standard_normal((50, 40)).astype(dtype)
    y, cache = dropout_forward(x, 0.2, np.random.default_rng(1))
    dropped = cache["mask"] == 0
    assert float_dtypes([y, cache]) == {dtype}
    np.testing.assert_array_equal(y[dropped], 0)
    np.testing.assert_allclose(y[~dropped], x[~dropped] * 1.25, rtol=1e-6)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    """The mean of n ones after dropout is 1 with standard deviation sqrt(p / (1 - p) / n); a bound of five
    standard deviations is crossed by one seed in two million."""
    n = 200_000
    y, _ = dropout_forward(np.ones(n), p, np.random.default_rng(0))
    assert abs(y.mean() - 1) < 5 * math.sqrt(p / (1 - p) / n)


def test_dropout_repeats_with_its_seed_only():
    x = np.ones(1000)
    first, again, other = (dropout_forward(x, 0.5, np.random.default_rng(seed))[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.4


def test_dropout_is_the_identity_while_evaluating():
    x = np.ones(5)
    assert dropout_forward(x, 0.5, rng=None)[0] is x
    assert dropout_forward(x, 0.0, np.random.default_rng(0))[0] is x


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, math.nan])
def test_dropout_refuses(p):
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\), got"):
        dropout_forward(np.ones(3), p)


# 2.5.7 label smoothing and 2.5.8 cross-entropy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target, expected", [(0, 0.0), (1, 1e4), (2, 2e4)])
def test_cross_entropy_is_stable_for_large_logits(target, expected, dtype):
    logits = np.array([[1e4, 0, -1e4]], dtype)
    value, cache = cross_entropy_forward(logits, np.array([target]))
    assert value == expected and value.dtype == dtype
    one_hot = np.eye(3)[[target]]
    np.testing.assert_array_equal(cross_entropy_backward(1.0, cache), [[1, 0, 0]] - one_hot)


def test_cross_entropy_of_equal_logits_is_log_V():
    value, _ = cross_entropy_forward(np.zeros((2, 3, 50257)), np.ones((2, 3), int))
    assert value == pytest.approx(math.log(50257), rel=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_smoothed_loss_is_the_formula(smoothing):
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((4, 5)), np.array([0, -1, 4, 2])  # -1 is ignored here
    value, cache = cross_entropy_forward(logits, targets, smoothing, ignore_index=-1)
    losses = []
    for row, target in zip(logits, targets, strict=True):
        log_p = row - math.log(sum(math.exp(v) for v in row))
        q = [(1 - smoothing) * (v == target) + smoothing / 5 for v in range(5)]
        losses.append(-sum(q * log_p))
    assert value == pytest.approx((losses[0] + losses[2] + losses[3]) / 3, rel=1e-13)
    dlogits = cross_entropy_backward(1.0, cache)
    np.testing.assert_array_equal(dlogits[1], 0)
    np.testing.assert_allclose(dlogits.sum(axis=-1), 0, atol=1e-16)


@pytest.mark.parametrize(
    "targets, smoothing, error, message",
    [
        ([[1, 2]], 0.0, ValueError, r"targets must be \(2,\) like the logits, got \(1, 2\)"),
        ([1.0, 2.0], 0.0, TypeError, "targets must be integers, got float64"),
        ([0, 3], 0.0, ValueError, r"targets must lie in 0 \.\.\. 2 or be -100, got 0 \.\.\. 3"),
        ([0, -1], 0.0, ValueError, r"targets must lie in 0 \.\.\. 2 or be -100, got -1 \.\.\. 0"),
        ([-100, -100], 0.0, ValueError, "all 2 targets are -100, nothing to predict"),
        ([0, 1], -0.1, ValueError, r"label_smoothing must be in \[0, 1\], got -0.1"),
        ([0, 1], 1.1, ValueError, r"label_smoothing must be in \[0, 1\], got 1.1"),
    ],
)
def test_cross_entropy_refuses(targets, smoothing, error, message):
    with pytest.raises(error, match=message):
        cross_entropy_forward(np.zeros((2, 3)), np.array(targets), smoothing)


def test_cross_entropy_refuses_to_write_into_a_copy():
    _, cache = cross_entropy_forward(np.zeros((2, 3)), np.array([0, 1]))
    with pytest.raises(ValueError, match="out must be C-contiguous"):
        cross_entropy_backward(1.0, cache, out=np.zeros((3, 2)).T)


# 3.3 low-rank adaptation


@pytest.mark.parametrize("a, b", [((3, 2), (2, 5)), ((4, 2), (2, 4)), ((3, 2), (3, 4))])
def test_lora_refuses_shapes_that_do_not_fit(a, b):
    with pytest.raises(ValueError, match=r"must give weight \(3, 4\)"):
        lora_forward(np.zeros((3, 4)), np.zeros(a), np.zeros(b), 1.0)
