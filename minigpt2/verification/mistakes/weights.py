"""Mistakes in loading a checkpoint: a parameter that is transposed, in another's place, rounded, or never loaded."""

import re

import numpy as np

from minigpt2.verification.mistakes.hypothesis import relative, rounded
from minigpt2.verification.names import is_parameter


def as_loaded(name, ours, theirs):
    """How a parameter of theirs came to be another than ours, in words; None if loading does not explain it.

    name:   of the parameter; ours: a trace with the right parameters
    theirs: the parameter in the shape of ours
    """
    right, theirs = ours[name].astype(np.float64), theirs.astype(np.float64)

    def same(x):
        return x.shape == theirs.shape and relative(theirs, x) < 1e-4

    words = (
        _never_loaded(name, theirs)
        or _transposed(name, right, same)
        or _other_thirds(name, right, same)
        or _fewer_bits(right, theirs)
        or _another_parameter(name, ours, same)
        or _multiplied(right, theirs, same)
    )
    if words is None or words.startswith("attention: "):
        return words
    return f"weights: {name} {words}"


def _never_loaded(name, theirs):
    """Zeros, or a gain of ones, as a framework initialises them."""
    if not theirs.any():
        return "is all zeros; was it loaded?"
    if theirs.ndim == 1 and name.endswith(".weight") and (theirs == 1).all():
        return "is all ones; was it loaded?"
    return None


def _transposed(name, right, same):
    """(out, in) for (in, out), or numbers that were only reshaped from one to the other."""
    if right.ndim != 2:
        return None
    if same(right.T) and "attn.c_proj" in name:
        return (
            f"attention: the weight of attn.c_proj is transposed ({name}); released checkpoints store (in, out), "
            "PyTorch's nn.Linear (out, in)"
        )
    if same(right.T):
        return "is transposed"
    if same(right.T.reshape(right.shape)) or same(right.reshape(right.shape[::-1]).T):
        return "is reshaped between (in, out) and (out, in), it should be transposed"
    return None


def _other_thirds(name, right, same):
    """c_attn's thirds in another order than q, k, v."""
    if "c_attn" not in name:
        return None
    parts = dict(zip("qkv", np.split(right, 3, -1), strict=True))
    for order in ("qvk", "kqv", "kvq", "vqk", "vkq"):
        if same(np.concatenate([parts[n] for n in order], -1)):
            return f"holds {', '.join(order)}; in GPT-2 the order is q, k, v"
    return None


def _fewer_bits(right, theirs):
    """Ours, rounded to a shorter format."""
    for words, bits in (("float16", 11), ("bfloat16", 8)):
        if np.array_equal(rounded(right, bits), theirs):
            return f"is rounded to {words}, {bits} significant bits"
    return None


def _another_parameter(name, ours, same):
    """Another parameter of ours stands in its place, as it is or transposed."""
    kind = re.sub(r"^h\.\d+\.", "", name)
    for other, tensor in ours.items():
        if other == name or not is_parameter(other):
            continue
        tensor = tensor.astype(np.float64)
        if tensor.ndim == 2 and same(tensor.T):
            return f"is the transpose of {other}"
        if same(tensor):
            block = " of another block" if other.endswith(f".{kind}") and kind != name else ""
            return f"holds what belongs into {other}{block}"
    return None


def _multiplied(right, theirs, same):
    """Ours times a number."""
    factor = np.vdot(right, theirs) / max(np.vdot(right, right), 1e-300)
    return f"is multiplied by {factor:.6g}" if abs(factor - 1) > 1e-3 and same(factor * right) else None
