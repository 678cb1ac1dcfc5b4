"""The parameter tree: names, order, and one buffer underneath."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2 import GPT2, SGD, GPT2Config, flatten, unflatten
from minigpt2.parameters import allocate, allocate_like, arrays_of, flat_view, layout, unpack

SHAPES = {"ln.bias": (3,), "h.0.weight": (2, 3), "h.0.bias": (2,), "h.1.weight": (3, 2), "h.1.bias": (2,)}

NAMES = st.text("abc_", min_size=1, max_size=4)


def nested(inner):
    return st.lists(inner, min_size=1, max_size=3) | st.dictionaries(NAMES, inner, min_size=1, max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NAMES, st.recursive(st.integers(), nested, max_leaves=12)))
def test_unflatten_is_the_inverse_of_flatten(tree):
    assert unflatten(flatten(tree)) == tree


def test_flatten_gives_dotted_names_and_the_leaves_themselves():
    b, w = np.zeros(2), np.ones(3)
    leaves = flatten({"h": [{"ln_1": {"bias": b}}, {"ln_1": {"bias": w}}], "wte": {"weight": w}})
    assert list(leaves) == ["h.0.ln_1.bias", "h.1.ln_1.bias", "wte.weight"]
    assert leaves["h.0.ln_1.bias"] is b and leaves["wte.weight"] is w


def test_unflatten_puts_blocks_in_the_order_of_their_numbers():
    names = sorted(f"h.{i}.weight" for i in range(12))  # as a file in alphabetical order has them: 0, 1, 10, 11, 2, ...
    blocks = unflatten({name: name for name in names})["h"]
    assert [block["weight"] for block in blocks] == [f"h.{i}.weight" for i in range(12)]
    with pytest.raises(ValueError, match=r"unflatten: a list must have the items 0 ... 1, got 0, 2"):
        unflatten({"h.0.weight": 1, "h.2.weight": 2})


@pytest.mark.parametrize(
    "tree, error, message",
    [
        (None, TypeError, "params must be a nested dict of arrays, such as model.params or .*, got NoneType"),
        ((1.5, {}), TypeError, "got tuple"),
        (GPT2Config(), TypeError, "got GPT2Config"),
        ({}, ValueError, "params is empty"),
        ({"w": [1.0]}, TypeError, "w.0 must be an array of real numbers, got float"),
        ({"w": np.zeros(2, bool)}, TypeError, "w must be an array of real numbers, got bool"),
        ({"w": np.zeros(2, complex)}, TypeError, "got complex128"),
    ],
)
def test_what_is_no_tree_of_arrays_is_named(tree, error, message):
    with pytest.raises(error, match=message):
        arrays_of(tree, "params")


def test_layout_puts_matrices_before_vectors():
    slices, matrix_end, size = layout(SHAPES)
    order = ["h.0.weight", "h.1.weight", "ln.bias", "h.0.bias", "h.1.bias"]
    assert list(slices) == order
    assert [(s.start, s.stop) for s in slices.values()] == [(0, 6), (6, 12), (12, 15), (15, 17), (17, 19)]
    assert (matrix_end, size) == (12, 19)
    assert layout({"b": (3,)})[1:] == (0, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_allocate_gives_views_into_one_buffer(dtype):
    tree = allocate(SHAPES, dtype, np)
    leaves = flatten(tree)
    assert {name: leaf.shape for name, leaf in leaves.items()} == SHAPES
    flat, shared = flat_view(leaves)
    assert shared and flat.dtype == dtype and flat.flags.c_contiguous
    flat[...] = np.arange(19)
    np.testing.assert_array_equal(tree["h"][1]["weight"], [[6, 7], [8, 9], [10, 11]])
    np.testing.assert_array_equal(tree["ln"]["bias"], [12, 13, 14])


def test_allocate_like_shares_names_and_dtype_but_no_memory():
    params = allocate(SHAPES, "float32", np)
    like = allocate_like(params)
    assert list(flatten(like)) == list(flatten(params))
    assert not np.shares_memory(flat_view(flatten(like))[0], flat_view(flatten(params))[0])
    assert flatten(like)["ln.bias"].dtype == np.float32


def separate(leaves):
    return {name: leaf.copy() for name, leaf in leaves.items()}


def one_replaced(leaves):
    return leaves | {"h.1.bias": leaves["h.1.bias"].copy()}


def in_another_order(leaves):
    names = sorted(leaves, reverse=True)
    buffer = np.concatenate([leaves[name].ravel() for name in names])
    parts = np.split(buffer, np.cumsum([leaves[name].size for name in names])[:-1])
    parts = {name: part.reshape(leaves[name].shape) for name, part in zip(names, parts, strict=True)}
    return {name: parts[name] for name in leaves}


def with_gaps(leaves):
    return {name: np.stack([leaf, leaf], axis=-1)[..., 0] for name, leaf in leaves.items()}


@pytest.mark.parametrize("rearranged", [separate, one_replaced, in_another_order, with_gaps])
def test_flat_view_of_any_other_tree_is_a_packed_copy(rearranged):
    leaves = flatten(allocate(SHAPES, "float64", np))
    for i, leaf in enumerate(leaves.values()):
        leaf[...] = 10 * i + np.arange(leaf.size).reshape(leaf.shape)
    leaves = rearranged(leaves)
    flat, shared = flat_view(leaves)
    assert not shared
    for name, where in layout(SHAPES)[0].items():
        np.testing.assert_array_equal(flat[where], leaves[name].ravel(), err_msg=name)
    unpack(flat + 100, leaves)
    for name, where in layout(SHAPES)[0].items():
        np.testing.assert_array_equal(flat[where] + 100, leaves[name].ravel(), err_msg=name)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_gradients_of_a_model_lie_in_flat_buffers(tied):
    config = GPT2Config(5, 4, 4, 2, 2, tie_word_embeddings=tied)
    model = GPT2(config)
    _, grads = model.loss_and_grads([[1, 2, 3]], [[2, 3, 4]])
    flat, shared = flat_view(flatten(model.params))
    assert shared and flat_view(flatten(grads))[1]
    assert list(flatten(model.params)) == list(config.parameter_shapes())
    SGD(model.params, lr=0.0)
    flat[...] = 7
    assert (model.params["h"][1]["mlp"]["c_fc"]["bias"] == 7).all()
