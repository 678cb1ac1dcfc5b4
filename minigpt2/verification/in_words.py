"""What a report says of names, numbers and two arrays that differ."""

import re

import numpy as np

from minigpt2.verification.mistakes.hypothesis import relative


def in_any_block(name):
    """A name without the number of its block.

    >>> in_any_block("grad.h.3.attn.q")
    'grad.h.*.attn.q'
    """
    return re.sub(r"\bh\.\d+\.", "h.*.", name, count=1)


def few(names, most=4):
    """The first of some names, and how many there are beside them, in a line."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def folded(names, most=4):
    """Names, those of several blocks as one, in a line.

    >>> folded(["h.0.ln_1", "h.1.ln_1", "h.1.ln_2"], most=2)
    'h.*.ln_1, h.*.ln_2'
    """
    return few(names if len(names) <= most else dict.fromkeys(map(in_any_block, names)), most)


def ranges(numbers):
    """Integers in ascending order, neighbours as one range.

    >>> ranges([0, 1, 2, 7])
    '0-2, 7'
    """
    runs = []
    for n in map(int, numbers):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:6]) + (" ..." if len(runs) > 6 else "")


def in_blocks(blocks, recorded, every=False):
    """In which blocks something is wrong, of those in which it is recorded; "" if there is only one, or none.

    blocks, recorded: sets of numbers, None for what is outside the blocks
    every: no block speaks against it, wrong or not
    """
    blocks = sorted(blocks - {None})
    if not blocks or len(recorded) < 2:
        return ""
    if every or len(blocks) >= len(recorded):
        return "in every block"
    return f"only in block{'s' * (len(blocks) > 1)} {', '.join(map(str, blocks))}"


def difference(expected, actual, rtol, measure, root=None):
    """How two arrays of one shape differ: what is simplest to say of it, in words.

    expected, actual: float64, of any shape
    rtol:    up to which difference, relative to the largest number, one counts as right
    measure: (expected, actual) -> absolute and relative difference, and cosine
    root:    sqrt(D), where a factor may be attention's scale
    """
    return (
        _without_content(expected, actual)
        or _multiple(expected, actual, root)
        or _transpose(expected, actual)
        or _slices(expected, actual, rtol)
        or _size(expected, actual, measure(expected, actual)[2])
    )


def _without_content(expected, actual):
    """NaN, zeros, or one number everywhere."""
    if not np.isfinite(actual).all():
        return f"theirs holds NaN or infinity ({np.mean(~np.isfinite(actual)):.0%} of its numbers)"
    if not actual.any():
        return "theirs is all zeros"
    if actual.size > 1 and np.ptp(actual) == 0 < np.ptp(expected):
        return f"theirs is {actual.flat[0]:.6g} everywhere"
    return None


def _multiple(expected, actual, root):
    """The right numbers, times one factor."""
    size = np.vdot(expected, expected)
    factor = np.vdot(expected, actual) / size if size else 0.0
    if not (relative(actual, factor * expected) < 1e-4 and abs(factor - 1) > 1e-4):
        return None
    scales = {root: "sqrt(D): before the scale", 1 / root: "1/sqrt(D): after the scale"} if root else {}
    named = next((f" = {words}" for scale, words in scales.items() if abs(factor / scale - 1) < 1e-4), "")
    return f"theirs is {factor:.6g} times what it should be{named}"


def _transpose(expected, actual):
    """The last two axes exchanged, where they have one length."""
    square = expected.ndim >= 2 and expected.shape[-1] == expected.shape[-2]
    return "theirs is transposed" if square and relative(actual, expected.swapaxes(-1, -2)) < 1e-4 else None


AXES = {
    1: ("numbers",),
    2: ("rows", "columns"),
    3: ("sequences", "positions", "channels"),
    4: ("sequences", "heads", "positions", "numbers"),
}


def _slices(expected, actual, rtol):
    """Wrong only in some slices along an axis: up to half of them, or all but one."""
    wrong = np.abs(actual - expected) > max(rtol, 1e-4) * np.abs(expected).max(initial=0)
    for axis, what in enumerate(AXES.get(expected.ndim, ())):
        hit = wrong.any(tuple(a for a in range(expected.ndim) if a != axis))
        if 0 < hit.sum() < len(hit) and (hit.sum() <= len(hit) / 2 or hit.sum() == len(hit) - 1):
            return f"only in {what} {ranges(np.flatnonzero(hit))} of {len(hit)}"
    return None


def _size(expected, actual, cosine):
    """How large the difference is, and whether the direction is right."""
    off = f"off by {relative(actual, expected):.1e} of its size"
    if expected.any() and abs(cosine) > 0.999:
        return f"{off}, in the same direction (cosine {cosine:.6f})"
    return f"{off} everywhere (cosine {cosine:.3f})"
