"""Nested dicts, lists and tuples with arrays in them: the arguments of functions."""

import copy

import numpy as np

from minigpt2.parameters import flatten


def cast(value, dtype):
    """The same value with all floating-point arrays in it in another dtype."""
    return _mapped(value, lambda array: array.astype(dtype))


def halved(value):
    """The same value with all floating-point arrays in it half as large."""
    return _mapped(value, lambda array: array * array.dtype.type(0.5))


def _mapped(value, change):
    if isinstance(value, np.ndarray | np.floating):
        return change(value) if value.dtype.kind == "f" else copy.deepcopy(value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, change) for item in value)
    return value


def arrays_in(tree):
    """Dotted name -> array, of the arrays in a dict."""
    return {name: leaf for name, leaf in flatten(tree).items() if isinstance(leaf, np.ndarray)}


def has_single(tree):
    """Whether there is an array of float32 in a dict."""
    return any(array.dtype == np.float32 for array in arrays_in(tree).values())


def in_code(name):
    """A dotted name as one writes it: params.h.0.weight -> params["h"][0]["weight"]."""
    first, *keys = name.split(".")
    return first + "".join(f"[{key}]" if key.isdecimal() else f'["{key}"]' for key in keys)


def changed_names(before, after, name):
    """The names, as in code, of what is not the same in two values of one structure, below ``name``."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return [found for key in before for found in changed_names(before[key], after[key], f'{name}["{key}"]')]
    return [] if _same(before, after) else [name]


def _same(one, other):
    """Whether two values are equal in every element of every array in them."""
    if isinstance(one, np.ndarray | np.generic):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.random.Generator):
        return True  # it is there to be drawn from
    try:
        return bool(one == other) or not isinstance(one, int | float | str | bytes)
    except Exception:  # somebody's own class
        return True
