"""The gradient check itself: right gradients pass, wrong ones are found and named."""

import numpy as np
import pytest

from minigpt2 import gradient_check


def softmax_forward(x):
    p = np.exp(x - x.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return p, {"p": p}


def softmax_backward(dy, cache):
    p = cache["p"]
    return p * (dy - (dy * p).sum(-1, keepdims=True))


def product_forward(x, params, power=1):
    return x**power @ params["w"], {"x": x, "w": params["w"], "power": power}


def product_backward(dy, cache):
    x, w, power = cache["x"], cache["w"], cache["power"]
    return power * x ** (power - 1) * (dy @ w.T), {"w": (x**power).T @ dy}


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((3, 4))


@pytest.fixture
def w():
    return np.random.default_rng(1).standard_normal((4, 2))


def test_right_gradients_pass(x, w):
    before = x.copy()
    for inputs in ([x, {"w": w}], [x, {"w": w}, 2], {"x": x, "params": {"w": w}, "power": 3}):
        report = gradient_check(product_forward, product_backward, inputs)
        assert report and report.passed and report.max_error < 1e-8, report
    np.testing.assert_array_equal(x, before)  # every element was put back
    assert [check.name for check in report.checks] == ["x", "params.w"]
    assert "passed" in str(report) and "WRONG" not in str(report)


def test_a_softmax_whose_backward_is_zero_is_found(x):
    """With an upstream gradient of ones it would pass: the rows sum to one whatever x is."""
    assert gradient_check(softmax_forward, softmax_backward, [x])
    report = gradient_check(softmax_forward, lambda dy, cache: np.zeros_like(dy), [x])
    assert not report and report.max_error == 1.0


@pytest.mark.parametrize("relative_error", [2e-6, 1e-3, -1.0])
def test_an_error_in_one_element_is_found_and_named(x, w, relative_error):
    def wrong(dy, cache):
        dx, grads = product_backward(dy, cache)
        grads["w"][2, 1] += relative_error * np.abs(grads["w"]).max()
        return dx, grads

    report = gradient_check(product_forward, wrong, [x, {"w": w}])
    assert not report and [check.error < 1e-8 for check in report.checks] == [True, False]
    bad = report.checks[1]
    assert bad.index == (2, 1) and bad.error == pytest.approx(abs(relative_error), rel=0.5)
    assert "FAILED" in str(report) and "input 1.w" in str(report) and "WRONG" in str(report)


def test_a_gradient_of_nan_is_found(x):
    report = gradient_check(softmax_forward, lambda dy, cache: np.where(dy < 0, np.nan, dy), [x])
    assert not report and not report.passed


def test_a_scalar_output_is_checked(x):
    square = lambda x: (np.sum(x * x), x)  # noqa: E731
    assert gradient_check(square, lambda dy, x: 2 * x * dy, [x])
    assert not gradient_check(square, lambda dy, x: x * dy, [x])


def test_a_tiny_gradient_is_measured_absolutely():
    """The gradient of a constant is zero, its difference quotient 1e-11: no error."""
    assert gradient_check(lambda x: (1.0 + 0.0 * x, None), lambda dy, _: np.zeros_like(dy), [np.ones(3)])


def test_tolerance_and_seed_are_used(x):
    slightly_off = lambda dy, cache: 1.001 * softmax_backward(dy, cache)  # noqa: E731
    assert not gradient_check(softmax_forward, slightly_off, [x])
    assert gradient_check(softmax_forward, slightly_off, [x], tolerance=1e-2)
    reports = [gradient_check(softmax_forward, softmax_backward, [x], seed=seed) for seed in (1, 1, 2)]
    assert reports[0].checks == reports[1].checks != reports[2].checks


@pytest.mark.parametrize(
    "backward, message",
    [
        (lambda dy, cache: (dy, dy), r"1 float inputs \(input 0\), but backward gave 2 gradients"),
        (lambda dy, cache: dy.T, r"gradient of input 0 should have shapes.*\(3, 4\).*but has.*\(4, 3\)"),
    ],
)
def test_gradients_of_wrong_number_or_shape_are_refused(x, backward, message):
    with pytest.raises(ValueError, match=message):
        gradient_check(softmax_forward, backward, [x])


def test_inputs_that_cannot_be_checked_are_refused(x):
    with pytest.raises(TypeError, match="input 0 is float32; differences need float64"):
        gradient_check(softmax_forward, softmax_backward, [x.astype(np.float32)])
    with pytest.raises(ValueError, match="none of the inputs is a float array"):
        gradient_check(softmax_forward, softmax_backward, [np.arange(3)])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"inputs": np.ones(2)}, TypeError, r"inputs must be a tuple .*, got ndarray; a single one is \(x,\)"),
        ({"inputs": ([1.0, 2.0],)}, ValueError, r"none of the inputs is a float array.*numpy.array\(x, dtype=float\)"),
        ({"inputs": (np.ones(0),)}, ValueError, "input 0 is empty"),
        ({"inputs": (np.broadcast_to(1.0, 3),)}, ValueError, "input 0 is read-only; give a copy"),
        ({"forward": lambda x: x * x}, TypeError, r"forward must return \(y, cache\), got ndarray"),
        ({"backward": lambda dy, cache: None}, TypeError, "backward returned None"),
        ({"step": 0}, ValueError, "step and tolerance must be above 0, got 0"),
    ],
)
def test_a_beginners_mistake_is_named(arguments, error, message):
    right = {"forward": lambda x: (x * x, x), "backward": lambda dy, x: 2 * dy * x, "inputs": (np.ones(2),)}
    assert gradient_check(**right)
    with pytest.raises(error, match=message):
        gradient_check(**right | arguments)
