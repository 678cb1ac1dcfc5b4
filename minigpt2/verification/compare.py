"""Where does another GPT-2 go wrong? Compare its activations and gradients with ours, in the order of computation.

Everything after the first wrong tensor is wrong as a consequence, so the first one is the one that matters:
``compare`` finds it, and ``minigpt2.verification.mistakes`` may know why.
"""

import re
import textwrap
from dataclasses import dataclass

import numpy as np

from minigpt2.progress import progress_bar
from minigpt2.verification.layouts import align
from minigpt2.verification.mistakes import diagnose
from minigpt2.verification.names import place, translate

# How far apart two right answers may be, relative to the size of ours. Worst cases measured against PyTorch, among
# all activations and gradients of 12 layers with 256 and 768 channels and sharp attention: 1.3e-14 in float64 and
# 7.8e-6 in float32, both at gradients of q and k. The coarser dtype of the two decides.
RTOL = {"float64": 1e-10, "float32": 5e-5, "float16": 2e-2}
ATOL_PER_RTOL = 1e-6  # below rtol * 1e-6 a number counts as zero, e.g. the gradient of q when there is one token


@dataclass(frozen=True)
class Row:
    """One tensor that both traces have.

    absolute: largest |theirs - ours|
    relative: the same against the largest |ours|, or norm against norm if that is more: the first sees one wrong
        number in a large tensor, the second a small error everywhere beside one outlier
    cosine:   of the angle between the two; verdict: "ok", "differs", "NaN", or "shape" if it cannot be read
    note:     how theirs is stored, if not like ours
    """

    name: str
    shape: tuple
    absolute: float
    relative: float
    cosine: float
    verdict: str
    note: str


@dataclass(frozen=True)
class Comparison:
    """The result of ``compare``: true in a condition if all tensors agree, a table when printed.

    rows: in the order of computation; only_ours, only_theirs: names that the other trace lacks
    first: the Row of the first divergence, or None; where: a sentence about it
    diagnosis: a sentence about the mistake, or None if none fits
    """

    rows: list
    only_ours: list
    only_theirs: list
    where: str | None
    diagnosis: str | None

    @property
    def first(self):
        return next((row for row in self.rows if row.verdict != "ok"), None)

    @property
    def passed(self):
        return self.first is None

    def __bool__(self):
        return self.passed

    def __str__(self):
        width, first = max(len(row.name) for row in self.rows), self.first
        lines = [f"{'tensor':{width}}  {'shape':>18}  {'absolute':>8}  {'relative':>8}  {'cosine':>11}  verdict"]
        for row in self.rows:
            marks = (row.verdict, row.note and f"({row.note})", "<-- first divergence" if row is first else "")
            lines.append(
                f"{row.name:{width}}  {row.shape!s:>18}  {row.absolute:8.1e}  {row.relative:8.1e}"
                f"  {row.cosine:11.8f}  {' '.join(mark for mark in marks if mark)}"
            )
        for whose, names in ("ours", self.only_ours), ("theirs", self.only_theirs):
            if names:
                lines += ["", *textwrap.wrap(f"only in {whose}: {', '.join(_summary(names))}", 110)]
        different = sum(row.verdict != "ok" for row in self.rows)
        if self.passed:
            lines += ["", f"All {len(self.rows)} tensors agree."]
        else:
            lines += ["", f"{different} of {len(self.rows)} tensors differ, the first is {self.where}."]
        if self.diagnosis:
            lines.append(f"Diagnosis: {self.diagnosis}.")
        return "\n".join(lines)


def compare(ours, theirs, rtol=None, atol=None, names=None, eps=1e-5):
    """Compare two traces, tensor by tensor, in the order of computation.

        a tensor agrees when   max |theirs - ours| <= rtol * max |ours|   and   |theirs - ours| <= rtol * |ours|,
        with |x| the root of the sum of squares; or when   max |theirs - ours| <= atol

    Known ways to store the same tensor are understood: Linear weights as (out, in); q, k, v as (B, T, H, D) or
    (B, T, C); a vocabulary with padding; B and T in one axis; a loss per position. Scores, and the gradients of
    scores and probs, are compared only where the key does not come after the query: nothing depends on the rest.

    ours:   dict from name to array, as ``minigpt2.trace`` returns it: the reference
    theirs: dict from name to array
    rtol:   5e-5 in float32, 1e-10 in float64 by default; atol: rtol * 1e-6 by default
    names:  their names: "transformers", "nanogpt", "llm.c", or a dict like those in MAPS
    eps:    the eps of our layer norms
    returns Comparison.
    raises: ValueError, naming the tensor, when the ids differ, a shape does not fit, a tensor of ours holds NaN or
        infinity, a tensor of either is not of real numbers, there is nothing to compare, or a tolerance is negative.
    """
    for option, value in ("rtol", rtol), ("atol", atol):
        if value is not None and not value >= 0:
            raise ValueError(f"{option} must be 0 or more, got {value}")
    ours = {name: np.asarray(tensor) for name, tensor in ours.items()}
    translation = translate(theirs, names or [], ours)
    theirs = translation.tensors
    for tensor_name, tensor in (ours | theirs).items():
        if tensor.dtype.kind not in "fiu":
            raise ValueError(f"{tensor_name}: expected an array of real numbers, got {tensor.dtype}")
    common = sorted(ours.keys() & theirs.keys(), key=place)
    if not set(common) - {"ids", "targets"}:
        raise ValueError(
            f"nothing to compare, the traces have no tensor in common: ours has {_few(ours)}; theirs has "
            f"{_few(theirs)}; names are translated with --map"
        )

    readings, aligned, rows, where = align(ours, theirs), {}, [], None
    for name in {"ids", "targets"} & set(common):
        if readings[name].problem or (name == "ids" and (readings[name].tensor != ours[name]).any()):
            raise ValueError(
                f"{name} differ, ours {_head(ours[name])} and theirs {_head(theirs[name])}: run both on the same tokens"
            )
    for name in progress_bar(common, "comparing", delay=2):
        if readings[name].problem:
            rows.append(Row(name, ours[name].shape, np.nan, np.nan, np.nan, "shape", readings[name].problem))
            where = where or f"{name}: {readings[name].problem}"
            continue
        ours[name], aligned[name], note = readings[name].ours, readings[name].tensor, readings[name].note
        if re.fullmatch(r"(grad\.)?h\.\d+\.attn\.scores|grad\.h\.\d+\.attn\.probs", name):
            ours[name], aligned[name] = np.tril(ours[name]), np.tril(aligned[name])
        tolerance = _tolerance(ours[name], theirs[name], rtol, atol)
        rows.append(_row(name, ours[name], aligned[name], note, tolerance))
        if where is None and rows[-1].verdict != "ok":
            where = _where(rows[-1], ours[name], aligned[name], tolerance)

    def agrees(name, expected, actual):
        return _agree(_measure(expected, actual), *_tolerance(ours[name], theirs[name], rtol, atol))

    first = next((row.name for row in rows if row.verdict != "ok"), None)
    diagnosis = first and (diagnose(ours | {"eps": eps}, aligned, first, agrees) or _rounded(rows, aligned))
    only_ours, only_theirs = (sorted(a.keys() - b.keys(), key=place) for a, b in ((ours, theirs), (theirs, ours)))
    only_theirs += translation.unknown
    return Comparison(rows, only_ours, only_theirs, where, diagnosis)


def _rounded(rows, theirs):
    """The sentence about a trace in float64 of which a part was computed in float32, or None.

    What follows that part is then off everywhere, by float32's rounding.
    """
    wrong = [row for row in rows if row.verdict != "ok"]
    after = rows[rows.index(wrong[0]) :]
    if len(wrong) < max(2, 0.9 * len(after)):
        return None
    if not all(theirs[row.name].dtype == np.float64 and row.relative <= RTOL["float32"] for row in wrong):
        return None
    first = wrong[0].name
    cause = ""
    if first == "loss" or first.startswith("grad."):
        cause = " (transformers' own loss, from labels=, turns the logits into float32: compute it outside)"
    return (
        f"theirs is float64, but from {first} on only as exact as float32: something at or before it is in "
        f"float32{cause}"
    )


def _tolerance(ours, theirs, rtol, atol):
    """rtol and atol: as given, or else by the coarser dtype of the two."""
    floats = [x.dtype for x in (ours, theirs) if x.dtype.kind == "f"]
    if not floats:
        return 0.0, 0.0  # integers are equal or not
    if rtol is None:
        rtol = max(RTOL.get(dtype.name, RTOL["float64"]) for dtype in floats)
    return rtol, rtol * ATOL_PER_RTOL if atol is None else atol


def _agree(measures, rtol, atol):
    """Whether two arrays are equal within the tolerance; NaN is not."""
    absolute, relative, _ = measures
    return bool(relative <= rtol or absolute <= atol)


def _measure(ours, theirs):
    """Largest absolute and relative difference, and cosine."""
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


def _row(name, ours, theirs, note, tolerance):
    if not np.isfinite(ours).all():
        raise ValueError(f"{name}: ours holds NaN or infinity, at {_at(~np.isfinite(ours))}: it is no reference")
    measures = _measure(ours, theirs)
    verdict = "ok" if _agree(measures, *tolerance) else "NaN" if np.isnan(measures[0]) else "differs"
    return Row(name, ours.shape, *map(float, measures), verdict, note)


def _where(row, ours, theirs, tolerance):
    """The sentence about the first divergence."""
    if row.verdict == "NaN":
        return f"{row.name}, where theirs holds NaN or infinity at {_at(~np.isfinite(theirs))}"
    difference = np.abs(theirs.astype(np.float64) - ours)
    at = np.unravel_index(np.argmax(difference), ours.shape)
    return (
        f"{row.name}, off by {row.relative:.1e} of its size (tolerance {tolerance[0]:.0e}); most at "
        f"{[int(i) for i in at]}, where ours is {ours[at]:.7g} and theirs {theirs[at]:.7g}"
    )


def _at(wrong):
    return [int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape)]


def _head(x):
    """Shape and first numbers of integer ids."""
    return f"{x.shape} {x.ravel()[:6].tolist()}{' ...' if x.size > 6 else ''}"


def _few(names, most=4):
    some = ", ".join(list(names)[:most]) or "none"
    return some + (f" and {len(names) - most} more" if len(names) > most else "")


def _summary(names):
    """Names, with those of several layers as one: "h.*.attn.out (12 layers)"."""
    layers = {}
    for name in names:
        layers.setdefault(re.sub(r"\bh\.\d+\.", "h.*.", name, count=1), []).append(name)
    return [same[0] if len(same) == 1 else f"{name} ({len(same)} layers)" for name, same in layers.items()]
