"""Kinds of mistakes that any function of arrays can have, recognised by its result."""

import re
from bdb import BdbQuit

import numpy as np

# The most frequent meanings of exceptions, by their texts.
ERRORS = (
    (
        r"could not be broadcast together",
        "Two arrays have shapes that do not fit. Is one of them transposed, or not the one you meant? If one has an "
        "axis fewer: a sum, mean or max over an axis removes it, and keepdims=True keeps it with length 1.",
    ),
    (
        r"matmul|shapes .* not aligned",
        "The inner dimensions of a product do not fit. Write the shapes beside the factors: (n, k) @ (k, m). Must one "
        "of them be transposed, or the batch flattened to rows first?",
    ),
    (
        r"ufunc .* output .* with casting rule|Cannot cast ufunc",
        "An operation in place (+=, -=, *=, /=) cannot change an array's dtype: integers stay integers. Make a new "
        "array, or one of the dtype of the floats.",
    ),
    (
        r"cannot reshape array of size",
        "The requested shape has a different number of elements from the array. Which letter of the shape legend does "
        "each axis stand for?",
    ),
    (r"NoneType", "Something is None: does every function that you call end with a return?"),
    (r"read-only", "The input may not be written to. Work on a new array: `x * 1`, `x.copy()`, `np.zeros_like(x)`."),
)


ASKS = (
    "It waits for something to be typed, and nobody is there while it is checked or graded: whatever it needs comes in "
    "as an argument."
)
LATE = "It may never end: does every loop come nearer to its end each time? Print the values in its condition."


def of_lateness(place):
    """The likeliest reason why a function was not done in time.

    place: its line at the end, as text
    """
    return ASKS if re.search(r"\b(input|getpass|breakpoint|set_trace)\(|\bstdin\b", place) else LATE


def of_error(error):
    """The most frequent meaning of an exception; "" when it is not known."""
    if isinstance(error, RecursionError):
        return "The function calls itself endlessly."
    if isinstance(error, KeyError):
        return (
            f"{error} is not a key of that dict. Print its keys: list(cache), list(params). With your own forward "
            "pass, the cache is the dict that it returns."
        )
    asked = re.search("^(raw_input|getpass) was called|reading from stdin", str(error))
    if asked or isinstance(error, EOFError | BdbQuit):
        return ASKS
    if isinstance(error, OSError) and error.filename is not None:
        return "It looks for a file that is not on every machine: whatever it needs comes in as an argument."
    text = str(error)
    return next((hint for pattern, hint in ERRORS if re.search(pattern, text)), "")


def of_array(name, actual, expected, inputs, equal):
    """The kind of mistake that turns ``expected`` into ``actual``; "" when it is not known.

    name:   of the output
    inputs: dotted name -> array, the function's arguments
    equal:  (actual, expected) -> whether two arrays agree up to rounding
    """
    if actual.shape != expected.shape:
        return _of_shape(name, actual, expected, equal)
    if not np.isfinite(actual).all():
        if np.isfinite(expected).all():
            return (
                f"{name} has NaN or infinity in it. Where can a number overflow (exp of a large one), be divided by "
                "zero, or be the logarithm of zero? Is every element of it written to?"
            )
        return ""
    if not actual.any():
        return f"{name} is zero everywhere: is the result ever written to it?"
    if equal(actual, -expected):
        return f"{name} is right except for its sign."
    for other, value in inputs.items():
        if value.shape == actual.shape and equal(actual, value):
            return f"{name} is the input {other}, unchanged."
    if expected.size == 1:  # any number is a multiple of another
        return ""
    ratio = (actual * expected).sum() / (expected * expected).sum() if expected.any() else 0
    if ratio and equal(actual, ratio * expected):
        return (
            f"{name} is too {'large' if abs(ratio) > 1 else 'small'} by a constant factor, {ratio:.6g} = 1 / "
            f"{1 / ratio:.6g}. Which number has this value here? What divides or multiplies once too often, or not "
            "at all?"
        )
    shift = (actual - expected).mean()
    if equal(actual, expected + shift):
        return f"{name} is off by the same number everywhere, {shift:.6g}. What is added once too often, or not at all?"
    if expected.ndim > 1 and len(expected) > 1 and expected[0].any() and equal(actual[:1], expected[:1]):
        return f"{name} is right only for the first index of its first axis. Does something stop, or is it overwritten?"
    return ""


def _of_shape(name, actual, expected, equal):
    if actual.shape == expected.shape[::-1] and equal(actual.T, expected):
        return f"{name} is right, but transposed."
    if actual.size == expected.size and equal(actual.reshape(expected.shape), expected):
        what = "a reshape back is missing, or one too many"
        if 1 in actual.shape + expected.shape:
            what = "an axis of length 1 is missing or one too many (keepdims)"
        return f"The numbers of {name} are right, but its shape is not: {what}."
    extra = actual.ndim - expected.ndim
    if extra > 0 and equal(actual.sum(axis=tuple(range(extra))), expected):
        return (
            f"{name} still has the axes of the batch. A parameter acts at every place of the batch, so its "
            "gradient is the sum over all of them."
        )
    return ""
