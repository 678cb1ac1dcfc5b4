"""Is a backward pass the derivative of its forward pass? Central differences tell, in float64.

This proves that the two agree, not that the forward pass computes the right thing: compare that with an
independent implementation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigpt2.parameters import flatten, shapes_of

# Below this size a gradient is compared absolutely: the difference quotient itself is off by about
# 1e-16 |f| / step = 1e-10, which is little beside 1e-3 * tolerance but not beside a gradient that is zero.
SMALL = 1e-3


@dataclass(frozen=True)
class InputCheck:
    """One input's gradient, at the element where backward pass and differences disagree most.

    error: largest |analytic - numeric| over the input, relative to its largest gradient
    index, analytic, numeric: the element and its two gradients
    """

    name: str
    shape: tuple
    error: float
    index: tuple
    analytic: float
    numeric: float


@dataclass(frozen=True)
class GradientReport:
    """The result of ``gradient_check``: true in a condition if it passed, a table when printed."""

    checks: list
    tolerance: float

    @property
    def max_error(self):
        """The largest relative error over all inputs."""
        return max(check.error for check in self.checks)

    @property
    def passed(self):
        """Whether every input's error is below the tolerance (NaN is not)."""
        return all(check.error < self.tolerance for check in self.checks)

    def __bool__(self):
        return self.passed

    def __str__(self):
        width = max(len(check.name) for check in self.checks)
        lines = [f"gradient check: {'passed' if self.passed else 'FAILED'} (tolerance {self.tolerance:.0e})"]
        for check in self.checks:
            verdict = "ok" if check.error < self.tolerance else "WRONG"
            lines.append(
                f"  {check.name:{width}}  {check.shape!s:>14}  error {check.error:.1e}  {verdict:5}"
                f"  at {[int(i) for i in check.index]}: backward {check.analytic:+.6e}, numeric {check.numeric:+.6e}"
            )
        return "\n".join(lines)


def gradient_check(
    forward: Callable, backward: Callable, inputs: tuple | dict, tolerance: float = 1e-6, step: float = 1e-5,
    seed: int = 0,
) -> GradientReport:  # fmt: skip
    """Compare a backward pass with central differences of its forward pass.

        f(x) = sum(dy * forward(x)),  dy random      numeric df/dx_i = (f(x_i + h) - f(x_i - h)) / 2h

    The upstream gradient dy is random, never ones: sum(softmax(x)) is constant, so with ones a softmax
    whose backward returns zeros would pass.

    forward:   (*inputs) -> (y, cache); must give the same y each time, so seed dropout inside
    backward:  (dy, cache) -> the gradients of the float inputs, in their order; a single one need not be in a tuple
    inputs:    the arguments of forward: a sequence, or a dict of keywords. Arrays of float64 and nested
               dicts or lists of them are checked; everything else (ids, numbers) is passed on unchanged.
    tolerance: bound on the error relative to each input's largest gradient
    step:      h; seed: for dy
    returns GradientReport.
    raises: TypeError when a float input is not float64; ValueError when there is nothing to check or the
        number or shape of the gradients is wrong.
    """
    if not isinstance(inputs, dict | tuple | list):
        raise TypeError(
            "gradient_check: inputs must be a tuple of the arguments of forward, or a dict of keywords, got "
            f"{type(inputs).__name__}; a single one is (x,)"
        )
    if not (step > 0 and tolerance > 0):
        raise ValueError(f"gradient_check: step and tolerance must be above 0, got {step} and {tolerance}")
    named = inputs if isinstance(inputs, dict) else {f"input {i}": value for i, value in enumerate(inputs)}
    leaves = {name: _float_arrays(name, value) for name, value in named.items()}
    leaves = {name: arrays for name, arrays in leaves.items() if arrays}
    if not leaves:
        raise ValueError(
            "gradient_check: none of the inputs is a float array, so there is no gradient; write "
            "numpy.array(x, dtype=float) for a list or a number"
        )

    def run():
        result = forward(**inputs) if isinstance(inputs, dict) else forward(*inputs)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(f"gradient_check: forward must return (y, cache), got {type(result).__name__}")
        return result

    y, cache = run()
    dy = np.random.default_rng(seed).standard_normal(np.shape(y))
    gradients = backward(dy if np.ndim(y) else float(dy), cache)
    if gradients is None:
        raise TypeError("gradient_check: backward returned None; it must return the gradients of the float inputs")
    gradients = gradients if isinstance(gradients, tuple | list) else (gradients,)
    if len(gradients) != len(leaves):
        raise ValueError(
            f"gradient_check: {len(leaves)} float inputs ({', '.join(leaves)}), but backward gave "
            f"{len(gradients)} gradients"
        )
    checks = []
    for (name, arrays), gradient in zip(leaves.items(), gradients, strict=True):
        gradient = flatten({name: gradient})
        shapes, wanted = {key: np.shape(g) for key, g in gradient.items()}, shapes_of(arrays)
        if shapes != wanted:
            raise ValueError(f"gradient_check: the gradient of {name} should have shapes {wanted}, but has {shapes}")
        for key, x in arrays.items():
            checks.append(_check_input(key, x, np.array(gradient[key]), lambda: float(np.sum(dy * run()[0])), step))
    return GradientReport(checks, tolerance)


def _float_arrays(name, value):
    """The float arrays in one argument, by dotted name."""
    arrays = {
        key: leaf
        for key, leaf in flatten({name: value}).items()
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    }
    for key, leaf in arrays.items():
        if leaf.dtype != np.float64:
            raise TypeError(f"gradient_check: {key} is {leaf.dtype}; differences need float64")
        if not leaf.size or not leaf.flags.writeable:  # its elements are changed one by one, and back
            kind = "read-only; give a copy" if leaf.size else "empty"
            raise ValueError(f"gradient_check: {key} is {kind}")
    return arrays


def _check_input(name, x, analytic, f, step):
    numeric = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + step
        above = f()
        x[index] = value - step
        below = f()
        x[index] = value
        numeric[index] = (above - below) / (2 * step)
    difference = np.abs(analytic - numeric)
    worst = np.unravel_index(np.argmax(difference), x.shape)  # argmax finds NaN first
    error = float(difference[worst] / max(np.abs(analytic).max(), np.abs(numeric).max(), SMALL))
    return InputCheck(name, x.shape, error, worst, float(analytic[worst]), float(numeric[worst]))
