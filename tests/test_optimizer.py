"""AdamW and SGD against torch's and against their formulas; clipping; the learning rate's schedule."""

import math
from itertools import pairwise

import numpy as np
import pytest
from assertions import assert_close

from minigpt2 import SGD, AdamW, flatten, unflatten
from minigpt2.components import optimizer as optimizer_module
from minigpt2.components.optimizer import learning_rate
from minigpt2.parameters import allocate, flat_view
from minigpt2.reference import MAX_NORM, TRAINING, calculate, recorded
from minigpt2.verification.verify import training_error

SHAPES = {"h.0.weight": (3, 4), "h.0.bias": (4,), "wte.weight": (5, 3), "scale": (1,)}
OPTIMIZERS = {
    "adamw": lambda params: AdamW(params, lr=0.1, weight_decay=0.2),
    "sgd": lambda params: SGD(params, lr=0.1, momentum=0.9),
}


def random_tree(seed, dtype="float64"):
    """A tree with a flat buffer underneath."""
    tree, rng = allocate(SHAPES, dtype, np), np.random.default_rng(seed)
    for leaf in flatten(tree).values():
        leaf[...] = rng.standard_normal(leaf.shape)
    return tree


def plain(tree):
    """A copy in which every leaf is an array of its own."""
    return unflatten({name: leaf.copy() for name, leaf in flatten(tree).items()})


def assert_same_bits(actual, expected):
    for name, leaf in flatten(expected).items():
        np.testing.assert_array_equal(flatten(actual)[name], leaf, err_msg=name)


def state(optimizer):
    """Everything that a step changes."""
    return {k: np.copy(v) for k, v in vars(optimizer).items() if k in ("m", "v", "t", "b")} | {
        name: leaf.copy() for name, leaf in flatten(optimizer.params).items()
    }


@pytest.fixture(params=OPTIMIZERS)
def make(request):
    return OPTIMIZERS[request.param]


# Against torch: five steps of a small GPT-2, with clipping, changing learning rate and smoothed loss.


@pytest.mark.parametrize("name", TRAINING)
def test_five_steps_agree_with_torch(name):
    """In float64 only: the gradient of the key bias is zero, and AdamW turns its rounding noise into steps
    of full size as soon as the noise is above eps, which it is in float32."""
    reference = recorded(name)
    error, where = training_error(name, reference)
    # Largest differences measured: gradients 2e-15, parameters after five steps 5e-13 (AdamW).
    assert error <= 1e-10, where
    assert min(reference["norms"]) < MAX_NORM < max(reference["norms"])


@pytest.mark.parametrize("name", TRAINING)
def test_torch_says_what_is_recorded(name):
    pytest.importorskip("torch", reason="needs torch; the recorded values stand in")
    pytest.importorskip("transformers", reason="needs transformers; the recorded values stand in")
    assert_close(calculate(name), recorded(name), 1e-11)


# The formula.


def test_adamw_is_its_formula():
    params = {"matrix": np.array([[0.5]]), "vector": np.array([0.5])}
    optimizer = AdamW(params, lr=0.1, betas=(0.8, 0.9), eps=0.01, weight_decay=0.3)
    w, m, v = {"matrix": 0.5, "vector": 0.5}, 0.0, 0.0
    for t, g in enumerate((0.7, -0.2, 0.05), 1):
        optimizer.step({"matrix": np.array([[g]]), "vector": np.array([g])})
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        for name, decay in ("matrix", 0.3), ("vector", 0.0):
            w[name] -= 0.1 * decay * w[name] + 0.1 * (m / (1 - 0.8**t)) / (math.sqrt(v / (1 - 0.9**t)) + 0.01)
            assert params[name].item() == pytest.approx(w[name], rel=1e-14)
    assert optimizer.t == 3


def test_defaults_are_those_of_the_papers():
    optimizer = AdamW({"w": np.ones(1)})
    values = optimizer.lr, optimizer.betas, optimizer.eps, optimizer.weight_decay
    assert values == (1e-3, (0.9, 0.999), 1e-8, 0.01)


def test_only_parameters_of_two_or_more_dimensions_decay():
    params = random_tree(0)
    before = plain(params)
    AdamW(params, lr=0.1, weight_decay=0.2).step(unflatten({k: np.zeros(s) for k, s in SHAPES.items()}))
    for name, leaf in flatten(params).items():
        factor = 1 - 0.1 * 0.2 if leaf.ndim >= 2 else 1
        np.testing.assert_allclose(leaf, flatten(before)[name] * factor, rtol=1e-15, err_msg=name)


# Clipping.


def test_step_returns_the_norm_and_clips_to_max_norm(make):
    grads = random_tree(1)
    norm = math.sqrt(sum((leaf**2).sum() for leaf in flatten(grads).values()))
    clipped, scaled, long, free = (make(random_tree(0)) for _ in range(4))
    for _ in range(2):
        assert clipped.step(grads, max_norm=norm / 3) == pytest.approx(norm, rel=1e-14)
        factor = norm / 3 / (norm + 1e-6)
        scaled.step(unflatten({name: leaf * factor for name, leaf in flatten(grads).items()}))
        assert long.step(grads, max_norm=2 * norm) == free.step(grads)
    assert_close(clipped.params, scaled.params, 1e-13)
    assert_same_bits(long.params, free.params)
    assert abs(flatten(clipped.params)["scale"] - flatten(free.params)["scale"]) > 1e-9


def test_norm_of_many_float32_numbers_is_exact():
    g = np.random.default_rng(0).standard_normal(3_000_000, dtype=np.float32)
    norm = SGD({"w": np.zeros_like(g)}, lr=0.0).step({"w": g})
    assert norm == pytest.approx(math.sqrt(np.square(g, dtype=np.float64).sum()), rel=1e-7)  # measured: 4e-9


# In place, in flat buffers, in chunks.


def test_parameters_of_any_layout_are_updated_in_place_alike(make):
    flat, separate = random_tree(0), plain(random_tree(0))
    optimizers = make(flat), make(separate)
    leaves = flatten(flat), flatten(separate)
    for seed in 1, 2, 3:
        for optimizer in optimizers:
            optimizer.step(random_tree(seed), max_norm=1.0)
    assert_close(separate, flat, 1e-14)
    for tree, before in zip((flat, separate), leaves, strict=True):
        assert all(flatten(tree)[name] is leaf for name, leaf in before.items())
    assert flat_view(leaves[0])[1] and not flat_view(leaves[1])[1]


def test_gradients_of_any_layout_and_order_give_the_same(make):
    first, second = make(random_tree(0)), make(random_tree(0))
    grads = random_tree(1)
    reordered = unflatten({name: np.asfortranarray(leaf) for name, leaf in reversed(flatten(grads).items())})
    first.step(grads)
    second.step(reordered)
    assert_same_bits(second.params, first.params)


def test_gradients_stay_as_they_are(make):
    grads = random_tree(1)
    make(random_tree(0)).step(grads, max_norm=0.1)
    assert_same_bits(grads, random_tree(1))


def test_chunks_change_nothing(make, monkeypatch):
    whole, chunked = make(random_tree(0)), make(random_tree(0))
    whole.step(random_tree(1))
    monkeypatch.setattr(optimizer_module, "CHUNK", 4)
    chunked.step(random_tree(1))
    assert_same_bits(chunked.params, whole.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_follows_the_parameters(make, dtype):
    optimizer = make(random_tree(0, dtype))
    optimizer.step(random_tree(1, dtype), max_norm=0.5)
    arrays = [leaf for leaf in state(optimizer).values() if leaf.dtype.kind == "f"]
    assert {leaf.dtype.name for leaf in arrays} == {dtype}


def test_float32_is_as_good_as_float32_can_be(make):
    single, double = (make(plain(random_tree(0, dtype))) for dtype in ("float32", "float64"))
    for leaf, exact in zip(flatten(single.params).values(), flatten(double.params).values(), strict=True):
        exact[...] = leaf
    for seed in range(1, 6):
        grads = random_tree(seed, "float32")
        single.step(grads)
        double.step(unflatten({name: leaf.astype("float64") for name, leaf in flatten(grads).items()}))
    assert_close(single.params, double.params, 1e-6)  # measured: 2e-7


# Bad input.


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(make, bad):
    optimizer = make(random_tree(0))
    optimizer.step(random_tree(1))
    before, grads = state(optimizer), random_tree(2)
    flatten(grads)["h.0.bias"][2] = bad
    with pytest.raises(ValueError, match="gradient holds NaN or infinity"):
        optimizer.step(grads, max_norm=1.0)
    assert_same_bits(state(optimizer), before)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda g: g.pop("scale"), "grads must have the parameters' names and shapes.*'scale'"),
        (lambda g: g.update(scale=np.zeros(2)), "grads must have the parameters' names and shapes.*'scale'"),
        (lambda g: g.update(more=np.zeros(2)), "grads must have the parameters' names and shapes.*'more'"),
    ],
)
def test_gradients_of_another_model_are_refused(make, change, message):
    optimizer = make(random_tree(0))
    before, grads = state(optimizer), random_tree(1)
    change(grads)
    with pytest.raises(ValueError, match=message):
        optimizer.step(grads)
    assert_same_bits(state(optimizer), before)


def test_the_default_rates():
    params, grads = {"w": np.ones(3)}, {"w": np.full(3, 2.0)}
    SGD(params).step(grads)
    np.testing.assert_allclose(params["w"], 1 - 0.1 * 2, rtol=1e-15)


def test_zero_is_a_setting_too():
    before = random_tree(0)
    for optimizer in (AdamW(random_tree(0), lr=0, betas=(0, 0), eps=0, weight_decay=0), SGD(random_tree(0), lr=0)):
        optimizer.step(random_tree(1))
        for name, parameter in flatten(before).items():
            np.testing.assert_array_equal(flatten(optimizer.params)[name], parameter)


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan])
def test_max_norm_must_be_positive(make, max_norm):
    optimizer = make(random_tree(0))
    before = state(optimizer)
    with pytest.raises(ValueError, match="max_norm must be above 0"):
        optimizer.step(random_tree(1), max_norm=max_norm)
    assert_same_bits(state(optimizer), before)


@pytest.mark.parametrize(
    "arguments",
    [
        {"lr": -1},
        {"lr": math.nan},
        {"eps": -1e-8},
        {"weight_decay": -0.1},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -0.1)},
    ],
)
def test_adamw_refuses(arguments):
    (name, value), *_ = arguments.items()
    with pytest.raises(ValueError, match=r"AdamW: lr, eps and weight_decay must be >= 0") as error:
        AdamW(random_tree(0), **arguments)
    assert f"{name}={value}" in str(error.value)


@pytest.mark.parametrize("arguments", [{"lr": -1}, {"lr": math.nan}, {"momentum": 1.0}, {"momentum": -0.1}])
def test_sgd_refuses(arguments):
    with pytest.raises(ValueError, match=r"SGD: lr must be >= 0 and momentum in \[0, 1\)"):
        SGD(random_tree(0), **arguments)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"lr": "1e-3"}, TypeError, "AdamW: lr must be a number, got '1e-3'"),
        ({"lr": True}, TypeError, "lr must be a number, got True"),
        ({"lr": math.inf}, ValueError, "lr must be finite"),
        ({"eps": None}, TypeError, "eps must be a number, got None"),
        ({"betas": 0.9}, TypeError, r"betas must be two numbers, such as \(0.9, 0.999\), got 0.9"),
        ({"betas": (0.9,)}, TypeError, "betas must be two numbers"),
        ({"betas": (0.9, "x")}, TypeError, r"betas\[1\] must be a number, got 'x'"),
    ],
)
def test_adamw_names_what_is_no_number(arguments, error, message):
    with pytest.raises(error, match=message):
        AdamW(random_tree(0), **arguments)


def test_what_no_optimizer_can_train_is_named(make):
    with pytest.raises(TypeError, match=r"params: w must be an array of float32 or float64, got int64"):
        make({"w": np.zeros(3, "int64")})
    optimizer = make(random_tree(0))
    before = state(optimizer)
    for grads, message in ((2.5, random_tree(1)), "got tuple"), (None, "got NoneType"), ({"w": None}, "got NoneType"):
        with pytest.raises(TypeError, match=f"optimizer: grads.*{message}"):
            optimizer.step(grads)
    with pytest.raises(ValueError, match="max_norm must be above 0, or None for no clipping, got True"):
        optimizer.step(random_tree(1), max_norm=True)
    assert_same_bits(state(optimizer), before)


# The learning rate.


def test_learning_rate_warms_up_then_falls_along_a_cosine():
    rates = [learning_rate(step, 1.0, 0.1, warmup_steps=4, decay_steps=10) for step in range(13)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == 1.0
    assert rates[7] == pytest.approx(0.55)  # half way: the mean of both
    assert rates[5] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 6)) / 2)
    assert all(a > b for a, b in pairwise(rates[4:11]))
    assert rates[10:] == [0.1, 0.1, 0.1]


def test_learning_rate_without_warm_up_or_decay():
    assert learning_rate(0, 1.0, 0.1, warmup_steps=0, decay_steps=10) == 1.0
    assert learning_rate(0, 1.0, 0.1, warmup_steps=0, decay_steps=0) == 0.1
    assert learning_rate(3, 1.0, 0.1, warmup_steps=5, decay_steps=5) == pytest.approx(4 / 6)
    assert learning_rate(5, 1.0, 0.1, warmup_steps=5, decay_steps=5) == 0.1
