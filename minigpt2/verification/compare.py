"""Where does another GPT-2 go wrong? Compare its activations and gradients with ours, in the order of computation.

Everything after the first wrong tensor is wrong as a consequence, so the first one is the one that matters: ``compare``
finds it. ``minigpt2.verification.diagnosis`` then recomputes each of their tensors from their own inputs: it finds every
mistake that is not a consequence, and names it if it can.
"""

import re
import textwrap
from dataclasses import dataclass, field

import numpy as np

from minigpt2.progress import progress_bar
from minigpt2.verification.diagnosis import Diagnosis
from minigpt2.verification.layouts import align
from minigpt2.verification.mistakes import accepted
from minigpt2.verification.names import is_parameter, place, translate
from minigpt2.verification.search import partly_compared

# How far apart two right answers may be, relative to the size of ours. Worst cases measured against PyTorch, among
# all activations and gradients of 12 layers with 256 and 768 channels and sharp attention: 1.3e-14 in float64 and
# 7.8e-6 in float32, both at gradients of q and k. The coarser dtype of the two decides.
RTOL = {"float64": 1e-10, "float32": 5e-5, "float16": 2e-2, "bfloat16": 0.15}
ATOL_PER_RTOL = 1e-6  # below rtol * 1e-6 a number counts as zero, e.g. the gradient of q when there is one token
ENOUGH = 0.25  # the share of our tensors that must have been compared to call it agreement


@dataclass(frozen=True)
class Row:
    """One tensor that both traces have.

    absolute: largest |theirs - ours|
    relative: the same against the largest |ours|, or norm against norm if that is more: the first sees one wrong
        number in a large tensor, the second a small error everywhere beside one outlier
    cosine:   of the angle between the two; verdict: "ok", "differs", "NaN", or "shape" if theirs is in no known layout
    note:     how theirs is stored or judged, if not like ours
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
    """The result of ``compare``: true in a condition if all tensors agree and they are enough, a table when printed.

    rows: in the order of computation; only_ours, only_theirs: names that the other trace lacks
    where: a sentence about the first divergence, or None; findings: what is wrong, see ``diagnosis.Finding``
    assumed: sentences about names and layouts that were recognised; total: how many tensors of ours could be compared
    """

    rows: list
    only_ours: list
    only_theirs: list
    where: str | None
    findings: list = field(default_factory=list)
    assumed: list = field(default_factory=list)
    total: int = 0

    @property
    def first(self):
        """The Row of the first divergence, or None."""
        return next((row for row in self.rows if row.verdict != "ok"), None)

    @property
    def diagnosis(self):
        """The sentence about the first mistake, or None if it has no name."""
        first = self.findings[0] if self.findings else None
        return first.sentence if first is not None and first.kind == "mistake" else None

    @property
    def passed(self):
        """Whether every tensor that was compared agrees."""
        return self.first is None

    @property
    def compared(self):
        """How many of the ``total`` tensors were compared."""
        weights = {row.name for row in self.rows if is_parameter(row.name)}
        rows = [row for row in self.rows if row.verdict != "shape" and row.name not in ("ids", "targets")]
        return len(rows) if len(weights) == len(rows) == self.total else len([r for r in rows if r.name not in weights])

    @property
    def enough(self):
        """Whether that is enough to call it agreement: a quarter of all, and the logits or the loss if ours has them."""
        ends = {"logits", "loss"} & {*self.only_ours, *(row.name for row in self.rows)}
        reached = not ends or not ends <= set(self.only_ours)
        return self.compared >= ENOUGH * self.total and reached

    def __bool__(self):
        return self.passed and self.enough

    def __str__(self):
        return "\n".join([*self._table(), *self._unpaired(), "", self.summary()])

    def _table(self):
        width, first = max(len(row.name) for row in self.rows), self.first
        lines = [f"{'tensor':{width}}  {'shape':>18}  {'absolute':>8}  {'relative':>8}  {'cosine':>11}  verdict"]
        for row in self.rows:
            marks = (row.verdict, row.note and f"({row.note})", "<-- first divergence" if row is first else "")
            lines.append(
                f"{row.name:{width}}  {row.shape!s:>18}  {row.absolute:8.1e}  {row.relative:8.1e}"
                f"  {row.cosine:11.8f}  {' '.join(mark for mark in marks if mark)}"
            )
        return lines

    def _unpaired(self):
        lines = []
        for sentence in self.assumed:
            lines += ["", *textwrap.wrap(sentence, 110)]
        for whose, names in ("ours", self.only_ours), ("theirs", self.only_theirs):
            if names:
                lines += ["", *textwrap.wrap(f"only in {whose}: {', '.join(_summary(names))}", 110)]
        return lines

    def summary(self):
        """What there is to know, without the table."""
        different = sum(row.verdict != "ok" for row in self.rows)
        lines = []
        if self.total and (self.compared < self.total or not self.enough):
            lines.append(f"Compared {self.compared} of {self.total} tensors.")
        if different:
            lines.append(f"{different} of {len(self.rows)} tensors differ, the first is {self.where}.")
        elif self.enough:
            lines.append(f"All {len(self.rows)} tensors agree.")
        else:
            lines.append(self._too_few())
        for finding in self.findings:
            place = f" ({finding.place})" if finding.place else ""
            if finding.kind == "mistake":
                if finding.place:
                    lines.append(f"At {finding.name}: {finding.place}.")
                lines.append(f"Diagnosis: {finding.sentence}.")
            elif finding.kind == "recording":
                lines.append(f"No mistake: {finding.sentence}{place}.")
            else:
                lines.append(f"Known: {finding.sentence}{place}.")
        return "\n".join(lines)

    def _too_few(self):
        known = "they agree" if self.compared else "nothing that is computed was compared"
        return (
            f"Too few to call it agreement, though {known}:\na quarter is needed, and the logits or the loss. "
            "Record more, or say with --map what their names stand for."
        )

    def explanation(self):
        """For each mistake the recomputation that shows it: the formula, its inputs, and the numbers at the worst place."""
        return "\n\n".join("\n".join([f"{n}. {finding.sentence}", *(f"   {line}" for line in finding.worked)])
                           for n, finding in enumerate(self.findings, 1))  # fmt: skip

    def to_dict(self):
        """The same for JSON, which knows neither infinity nor NaN."""
        rows = [{key: _plain(value) for key, value in vars(row).items()} for row in self.rows]
        findings = [{key: _plain(value) for key, value in vars(finding).items()} for finding in self.findings]
        first = next((row for row in rows if row["verdict"] != "ok"), None)
        return {
            "passed": bool(self), "compared": self.compared, "total": self.total, "enough": self.enough, "first": first,
            "where": self.where, "diagnosis": self.diagnosis, "findings": findings, "assumed": self.assumed,
            "only_ours": self.only_ours, "only_theirs": self.only_theirs, "tensors": rows,
        }  # fmt: skip


def compare(ours, theirs, rtol=None, atol=None, names="auto", eps=1e-5, label_smoothing=0.0, accept=()):
    """Compare two traces, tensor by tensor, in the order of computation.

        a tensor agrees when   max |theirs - ours| <= rtol * max |ours|   and   |theirs - ours| <= rtol * |ours|,
        with |x| the root of the sum of squares; or when   max |theirs - ours| <= atol

    The ways in which others store the same tensor are understood, see ``layouts``. Scores, and the gradients of scores
    and probs, are compared only where the key does not come after the query: nothing depends on the rest. If something
    differs, each of their tensors is recomputed from their own inputs with the weights in ours, see ``diagnosis``.

    ours:   dict from name to array, as ``minigpt2.trace`` returns it: the reference
    theirs: dict from name to array
    rtol:   5e-5 in float32, 1e-10 in float64 by default; atol: rtol * 1e-6 by default
    names:  what their names stand for: "auto" recognises them, else a key of MAPS, a dict like those, or a list of these
    eps:    the eps of our layer norms; label_smoothing: of our loss
    accept: choices of theirs that are no mistake, such as "gelu=erf": what follows is judged from their own inputs
    returns Comparison.
    raises: ValueError, naming the tensor, when the ids differ, a tensor of ours holds NaN or infinity, a tensor of either
        is not of real numbers, there is nothing to compare, a tolerance is negative, or nothing is called as in accept.
    """
    for option, value in ("rtol", rtol), ("atol", atol):
        if value is not None and not value >= 0:
            raise ValueError(f"{option} must be 0 or more, got {value}")
    ours = {name: np.asarray(tensor) for name, tensor in ours.items()}
    theirs = {name: np.asarray(tensor) for name, tensor in theirs.items()}
    for tensor_name, tensor in (ours | theirs).items():
        if tensor.dtype.kind not in "fiu":
            raise ValueError(f"{tensor_name}: expected an array of real numbers, got {tensor.dtype}")
    translation = translate(theirs, names, ours)
    theirs, numbered = _from_zero(translation.tensors, ours)
    common = sorted(ours.keys() & theirs.keys(), key=place)
    if not set(common) - {"ids", "targets"}:
        raise ValueError(
            f"nothing to compare, the traces have no tensor in common: ours has {_few(ours)}; theirs has "
            f"{_few([*theirs, *translation.unknown])}; say with --map what their names stand for, and give ours first"
        )
    reading = align(ours, theirs)
    _check_ids(reading, ours, theirs)

    def tolerance(name):
        return _tolerance(ours[name], theirs[name], rtol, atol)

    aligned, parts, rows, where = {}, {}, [], None
    for name in progress_bar(common, "comparing", delay=2):
        parts[name], aligned[name] = reading[name].ours, reading[name].tensor
        if partly_compared(name) and aligned[name] is not None:
            parts[name] = np.tril(parts[name])
        if aligned[name] is None:
            del aligned[name]
            rows.append(Row(name, ours[name].shape, np.nan, np.nan, np.nan, "shape", f"theirs {theirs[name].shape}"))
            where = where or f"{name}, which cannot be compared: {reading[name].problem}"
            continue
        shown = np.tril(aligned[name]) if partly_compared(name) else aligned[name]
        rows.append(_row(name, parts[name], shown, reading[name].note, tolerance(name)))
        if where is None and rows[-1].verdict != "ok":
            where = _where(rows[-1], parts[name], shown, tolerance(name))
    whole = {name: x for name, x in aligned.items() if x.shape == ours[name].shape}
    whole |= _own_head(ours, theirs)
    rows, findings = _judge(rows, ours, whole, tolerance, eps, label_smoothing, accept)
    if all(row.verdict == "ok" for row in rows):
        where = None
    only_ours = sorted((n for n in ours.keys() - theirs.keys() if not is_parameter(n)), key=place)
    total = [n for n in ours if n not in ("ids", "targets") and not is_parameter(n)]
    if total and not any(name.startswith("grad.") for name in theirs):
        total = [name for name in total if not name.startswith("grad.")]
    return Comparison(rows, only_ours, list(translation.unknown), where, findings, [*translation.assumed, *numbered],
                      len(total) or len(ours.keys() - {"ids", "targets"}))  # fmt: skip


def _from_zero(theirs, ours):
    """Theirs with blocks counted from 0, and the sentence that says so if they were counted from 1."""
    blocks = [{int(n) for name in names for n in re.findall(r"\bh\.(\d+)\.", name)} for names in (ours, theirs)]
    if not all(blocks) or 0 in blocks[1] or max(blocks[1]) != max(blocks[0]) + 1:
        return theirs, []
    moved = {re.sub(r"\bh\.(\d+)\.", lambda m: f"h.{int(m[1]) - 1}.", name): x for name, x in theirs.items()}
    return moved, ["blocks are counted from 1 in theirs: h.1 is taken for our h.0"]


def _own_head(ours, theirs):
    """The matrix of their output layer, if they have one of their own and ours is tied to wte."""
    name, wte = "lm_head.weight", ours.get("wte.weight")
    if name not in theirs or name in ours or wte is None or theirs[name].ndim != 2:
        return {}
    head = theirs[name] if theirs[name].shape[1] == wte.shape[1] else theirs[name].T
    head = head[: len(wte)]
    return {name: head} if head.shape == wte.shape else {}


def _judge(rows, ours, theirs, tolerance, eps, label_smoothing, accept):
    """The rows, right where they follow from theirs under what is accepted, and the findings."""
    if all(row.verdict == "ok" for row in rows):
        accepted(accept, ours, theirs, eps)
        return rows, []
    changes = accepted(accept, ours, theirs, eps)
    differing = [row.name for row in rows if row.verdict not in ("ok", "shape")]
    diagnosis = Diagnosis(ours, theirs, differing, _measure, tolerance, eps, label_smoothing, changes)
    notes = {}
    if accept:
        notes = {name: "follows from its inputs" for name in differing if diagnosis.right(name)}
        diagnosis.differing -= set(notes)
    findings = diagnosis.run() if diagnosis.differing else []
    notes |= diagnosis.scaled
    judged = [Row(*(row.name, row.shape, row.absolute, row.relative, row.cosine), "ok", notes[row.name])
              if row.name in notes else row for row in rows]  # fmt: skip
    return judged, findings


def _check_ids(reading, ours, theirs):
    for name in ("ids", "targets"):
        if name in reading and (
            reading[name].problem or (name == "ids" and not np.array_equal(reading[name].tensor, reading[name].ours))
        ):
            raise ValueError(
                f"{name} differ, ours {_head(ours[name])} and theirs {_head(theirs[name])}: run both on the same tokens"
            )


def _tolerance(ours, theirs, rtol, atol):
    """rtol and atol: as given, or else by the coarser dtype of the two."""
    floats = [_precision(x) for x in (ours, theirs) if x.dtype.kind == "f"]
    if not floats:
        return 0.0, 0.0  # integers are equal or not
    if rtol is None:
        rtol = max(RTOL.get(name, RTOL["float64"]) for name in floats)
    return rtol, rtol * ATOL_PER_RTOL if atol is None else atol


def _precision(x):
    """The name of the dtype; "bfloat16" for float32 numbers whose lower 16 bits are all zero, as files are read."""
    if x.dtype == np.float32 and x.size > 8 and not (np.ascontiguousarray(x).view(np.uint32) & 0xFFFF).any():
        return "bfloat16"
    return x.dtype.name


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


def _plain(value):
    """What JSON can hold: no NaN, no infinity."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value
