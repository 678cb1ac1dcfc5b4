"""One tensor of theirs beside what it should be: how far it is off, and how far it may be."""

import re
from dataclasses import dataclass

import numpy as np

from minigpt2.verification.names import is_parameter

# How far apart two right answers may be, relative to the size of ours. Worst cases measured against PyTorch, among
# all activations and gradients of 12 layers with 256 and 768 channels and sharp attention: 1.3e-14 in float64 and
# 7.8e-6 in float32, both at gradients of q and k. With 2 layers of 48 and 12 of 768 channels, a model in bfloat16 is
# off by at most 0.071, one under autocast by 0.044; under autocast in float16 by 0.014, and by 0.044 where
# gradients are so small, for want of a loss scale, that float16 has no digits left for them.
RTOL = {"float64": 1e-10, "float32": 5e-5, "float16": 2e-2, "bfloat16": 0.1}
ATOL_PER_RTOL = 1e-6  # below rtol * 1e-6 a number counts as zero, e.g. the gradient of q when there is one token
HALVES = {"bfloat16": 16, "float16": 13}  # and how many low bits of a float32 number are zero in it
SOME = 8  # numbers; so few may have zeros there by chance
NEARLY_ALL = 0.9
LINEAR = re.compile(r"(grad\.)?h\.\d+\.(attn\.([qkv]|out)|mlp\.(fc|out))")  # what autocast computes in the half


@dataclass(frozen=True)
class Row:
    """One tensor that both traces have.

    absolute: largest |theirs - ours|
    relative: the same against the largest |ours|, or norm against norm if that is more: the first sees one wrong
        number in a large tensor, the second a small error everywhere beside one outlier
    cosine:   of the angle between the two; verdict: "ok", "differs", "NaN", or "shape" if theirs is in no known layout
    note:     how theirs is stored or judged, if not like ours
    A tensor of an optimizer's step is held against what follows from theirs before it, instead of against ours, unless
    that was not recorded.
    """

    name: str
    shape: tuple
    absolute: float
    relative: float
    cosine: float
    verdict: str
    note: str


def measured(name, ours, theirs, note, rtol, atol):
    """The Row of a tensor.

    raises: ValueError when ours holds NaN or infinity.
    """
    if not np.isfinite(ours).all():
        raise ValueError(f"{name}: ours holds NaN or infinity, at {_at(~np.isfinite(ours))}: it is no reference")
    absolute, relative, cosine = measure(ours, theirs)
    right = relative <= rtol or absolute <= atol
    verdict = "ok" if right else "NaN" if np.isnan(absolute) else "differs"
    return Row(name, ours.shape, float(absolute), float(relative), float(cosine), verdict, note)


def measure(ours, theirs):
    """Largest absolute and relative difference, and cosine; NaN if theirs holds NaN or infinity."""
    x, y = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    if not np.isfinite(y).all():
        return np.nan, np.nan, np.nan
    size, norm, product = np.abs(x).max(initial=0), np.linalg.norm(x), x @ y
    other = np.linalg.norm(y)
    cosine = product / (norm * other) if norm * other else float(norm == other)
    y -= x
    absolute, off = np.abs(y).max(initial=0), np.linalg.norm(y)
    if not size:
        return absolute, np.inf if absolute else 0.0, cosine
    return absolute, max(absolute / size, off / norm), cosine


def where_it_differs(row, ours, theirs, rtol=None):
    """The sentence about a divergence; rtol: the tolerance, if it is one for all numbers."""
    if row.verdict == "NaN":
        return f"{row.name}, where theirs holds NaN or infinity at {_at(~np.isfinite(theirs))}"
    at = _at(np.abs(theirs.astype(np.float64) - ours))
    x, y = ours[tuple(at)], theirs[tuple(at)]
    place = f"most at {at}, where" if at else "where"
    tolerance = "" if rtol is None else f" (tolerance {rtol:.0e})"
    whose = "ours is" if rtol is not None else "it should be"
    return f"{row.name}, off by {row.relative:.1e} of its size{tolerance}; {place} {whose} {x:.7g} and theirs {y:.7g}"


def _at(size):
    return [int(i) for i in np.unravel_index(np.argmax(size), size.shape)]


def tolerances(ours, theirs, rtol=None, atol=None):
    """Dict from name to the (rtol, atol) of each tensor that both have.

    ours, theirs: dicts from name to array. The coarser dtype of the two decides, but a half counts only where a whole
    pass of theirs is in it: one tensor in bfloat16 among float32 is to be seen.
    """
    half = halves(theirs)
    found = {}
    for name in ours.keys() & theirs.keys():
        floats = [x.dtype.name for x in (ours[name], theirs[name]) if x.dtype.kind == "f"]
        if not floats:
            found[name] = 0.0, 0.0  # integers are equal or not
            continue
        whole = half[_pass(name)]
        floats = [whole] if whole else ["float32" if dtype in HALVES else dtype for dtype in floats]
        most = rtol if rtol is not None else max(RTOL.get(dtype, RTOL["float64"]) for dtype in floats)
        found[name] = most, most * ATOL_PER_RTOL if atol is None else atol
    return found


def _pass(name):
    lead = name.partition(".")[0]
    return lead if lead in ("grad", "step") else "weights" if is_parameter(name) else "forward"


def halves(theirs):
    """Dict from each pass to the half in which theirs computed it, or None.

    A pass is in it if nearly all of its tensors are, weights included. Under autocast most weights and sums stay in
    float32, but all outputs of linear layers are in the half; then so are their gradients.
    """
    parts = {key: {} for key in ("forward", "weights", "grad", "step")}
    for name, tensor in theirs.items():
        parts[_pass(name)][name] = tensor
    whole = half_of((parts["forward"] | parts["weights"]).values())
    linear = [{n: x for n, x in parts[key].items() if LINEAR.fullmatch(n)} for key in ("forward", "grad")]
    mixed = [half_of(tensors.values(), 1.0) if len(tensors) > 1 else None for tensors in linear]
    forward = whole or mixed[0]
    grad = half_of(parts["grad"].values()) or mixed[1] or forward
    return {"forward": forward, "weights": whole, "grad": grad, "step": half_of(parts["step"].values())}


def half_of(tensors, share=NEARLY_ALL):
    """The half that nearly all of some tensors are in, or None; those of few numbers, or of one, do not count."""
    kinds = [kind for tensor in tensors if (kind := _kind(tensor)) is not None]
    return next((half for half in HALVES if kinds and kinds.count(half) >= share * len(kinds)), None)


def _kind(x):
    """The dtype in which a tensor was computed, as far as it shows; None if it does not.

    A half is also known by the low bits of float32 numbers, as which files of bfloat16 are read.
    """
    if x.dtype.kind != "f" or x.size <= SOME or (x == x.flat[0]).all():
        return None
    if x.dtype != np.float32:
        return x.dtype.name
    bits = np.ascontiguousarray(x).view(np.uint32).ravel()
    for half, zeros in HALVES.items():
        low = np.uint32(2**zeros - 1)
        if not (bits[:64] & low).any() and not (bits & low).any():
            return half
    return "float32"
