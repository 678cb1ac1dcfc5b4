"""The results of somebody's function: by name, compared with the expected ones, and in words."""

import math
from collections.abc import Iterator

import numpy as np

from minigpt2.parameters import flatten

# Largest difference, relative to the largest expected element. Both are far above rounding (sums in another order:
# 1e-14 and 1e-6), and far below any mistake. An output that should be near zero is measured by the largest of all
# outputs, times the last number.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
NEAR_ZERO = 1e-2


def named(task, result):
    """The outputs of a function by name, dotted for nested dicts.

    A cache behind them may be anything, and may be missing, where our own solution has one.
    raises: TypeError or ValueError where they are something else.
    """
    outputs = outputs_of(task, result)
    if len(outputs) != len(task.outputs):
        raise ValueError(f"{len(task.outputs)} results, not {len(outputs)}")
    by_name = dict(zip(task.outputs, outputs, strict=True))
    if task.exact:
        return {name: plain(value) for name, value in by_name.items()}
    if any("." in key for output in outputs if isinstance(output, dict) for key in map(str, output)):
        raise TypeError("a dotted name stands in place of nested dicts")
    arrays = {}
    for name, value in flatten(by_name).items():
        if isinstance(value, tuple | dict | None):
            raise TypeError(f"{name} is not an array")
        arrays[name] = np.asarray(value)
        if arrays[name].dtype.kind not in "fiub":
            raise TypeError(f"{name} is not an array of numbers")
    return arrays


def outputs_of(task, result):
    """The outputs among what a function returned, a tuple or list, without the cache."""
    count = len(task.outputs)
    if count == 1:
        is_pair = task.has_cache and isinstance(result, tuple) and len(result) == 2
        return (result[0],) if is_pair else (result,)
    outputs = tuple(result) if isinstance(result, tuple | list) else (result,)
    return outputs[:count] if task.has_cache and len(outputs) == count + 1 else outputs


def plain(value):
    """Lists and Python numbers for arrays, tuples and NumPy's numbers: equal values look equal.

    raises: TypeError for an iterator, which can be read only once.
    """
    if isinstance(value, Iterator):
        raise TypeError("an iterator came back")
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): plain(item) for key, item in value.items()}
    return value


def _key(key):
    return tuple(plain(item) for item in key) if isinstance(key, tuple) else plain(key)


class Comparison:
    """Whether results are equal to expected ones: exactly, or up to the rounding of the numbers that went in.

    exact:     whether types and values must be the same
    ordered:   whether the entries of a dict must be in the same order
    single:    whether float32 went in
    expected:  dotted name -> array, for the scale
    """

    def __init__(self, exact, single=False, expected=None, ordered=False):
        self.exact, self.ordered = exact, ordered
        self.tolerance = TOLERANCE["float32" if single else "float64"]
        self.floor = 0.0 if exact else NEAR_ZERO * max((size(array) for array in (expected or {}).values()), default=0)

    def __call__(self, actual, expected):
        if self.exact:
            return _identical(actual, expected) and (not self.ordered or repr(actual) == repr(expected))
        if actual.shape != expected.shape or (actual.dtype.kind != "f" and expected.dtype.kind == "f"):
            return False
        return not self.off(actual, expected).any()

    def off(self, actual, expected):
        """Where two arrays of one shape differ: an array of bool."""
        bound = self.tolerance * max(size(expected), self.floor)
        with np.errstate(all="ignore"):
            return ~np.isclose(actual, expected, rtol=0, atol=bound, equal_nan=True)


def _identical(one, other):
    """Whether two values are equal, and of the same types all through: 1.0 is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_identical, one, other))
    if isinstance(one, dict):
        return one == other and all(_identical(one[key], other[key]) for key in one)
    return one == other


def size(array):
    """The largest finite number in an array, without its sign."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


# In words.


def detail(name, actual, expected, equal):
    """One output: that it is right, or the difference from the expected one."""
    start = f"  {name:<10} "
    if equal(actual, expected):
        return f"{start}is right"
    if equal.exact:
        return f"{start}is {_shown(actual)}\n{' ' * len(start)}expected {_shown(expected)}"
    if actual.shape != expected.shape:
        return f"{start}has shape {actual.shape}, expected {expected.shape}"
    if actual.dtype.kind != "f" and expected.dtype.kind == "f":
        return f"{start}holds {actual.dtype}, expected floating-point numbers"
    off = equal.off(actual, expected)
    with np.errstate(all="ignore"):
        gap = np.where(off, np.nan_to_num(np.abs(actual - expected.astype(float)), nan=math.inf), 0)
    if not gap.ndim:
        return f"{start}is {actual:.6g}, expected {expected:.6g}"
    worst = np.unravel_index(np.argmax(gap), gap.shape)
    place = [int(i) for i in worst]
    return (
        f"{start}is wrong in {off.sum()} of {off.size} numbers; most at {place}: {_number(actual[worst])}, expected "
        f"{_number(expected[worst])}"
    )


def _number(value):
    return f"{value:.6g}" if isinstance(value, np.floating) else str(value)


def _shown(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."


def describe_all(values):
    """Names and values, or shapes, on one line."""
    return ", ".join(f"{name} {describe(value)}" for name, value in values.items())


def describe(value):
    """Shapes for arrays, values for everything short."""
    if isinstance(value, np.ndarray):
        return f"{value.shape}" if value.ndim else f"{value:.6g}"
    if isinstance(value, dict) and value and any(isinstance(v, np.ndarray | dict) for v in value.values()):
        return f"{{{describe_all(value)}}}"
    if isinstance(value, tuple) and any(isinstance(v, np.ndarray | dict) for v in value):
        return f"({', '.join(map(describe, value))})"
    if isinstance(value, np.floating):
        return f"{value:.6g}"
    if isinstance(value, list) and any(isinstance(v, np.ndarray | dict) for v in value):
        return f"a list of {len(value)}"
    try:
        text = repr(value)
    except Exception:  # somebody's own class
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:60]} ..."
