"""Where does another GPT-2 go wrong? Compare its activations and gradients with ours, in the order of computation.

Everything after the first wrong tensor is wrong as a consequence, so the first one is the one that matters: ``compare``
finds it. ``minigpt2.verification.diagnosis`` then recomputes each of their tensors from their own inputs: it finds
every mistake that is not a consequence, and names it if it can.
"""

import re
import textwrap
from dataclasses import dataclass, field, replace

import numpy as np

from minigpt2.progress import progress_bar
from minigpt2.verification.diagnosis import Diagnosis
from minigpt2.verification.in_words import few, in_any_block
from minigpt2.verification.layouts import align
from minigpt2.verification.mistakes import accepted
from minigpt2.verification.names import is_parameter, place, translate
from minigpt2.verification.rows import Row, measure, measured, tolerances, where_it_differs
from minigpt2.verification.search import partly_compared
from minigpt2.verification.step_record import split
from minigpt2.verification.steps import compare_steps

ENOUGH = 0.25  # the share of our tensors that must have been compared to call it agreement


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
        rows = [row for row in self.rows if row.verdict != "shape" and not _is_tokens(row.name)]
        return len(rows) if len(weights) == len(rows) == self.total else len([r for r in rows if r.name not in weights])

    @property
    def enough(self):
        """Whether it is enough to call it agreement: a quarter of all, and the logits or the loss if ours has them."""
        names = [row.name for row in self.rows if not is_parameter(row.name) and not _is_tokens(row.name)]
        ends = {"logits", "loss"} & {*self.only_ours, *names}
        steps = bool(names) and all(split(name) for name in names)  # of an optimizer, and nothing of the pass
        return self.compared >= ENOUGH * self.total and (steps or not ends or not ends <= set(self.only_ours))

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
        known = "though they agree" if self.compared else "nothing that is computed was compared"
        return (
            f"Too few to call it agreement, {known}:\na quarter is needed, and the logits or the loss. "
            "Record more, or say with --map what their names stand for."
        )

    def explanation(self):
        """For each mistake the recomputation that shows it: formula, inputs, and the numbers at the worst place."""
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


def compare(ours, theirs, rtol=None, atol=None, names="auto", eps=1e-5, label_smoothing=0.0, accept=(), settings=None):
    """Compare two traces, tensor by tensor, in the order of computation.

        a tensor agrees when   max |theirs - ours| <= rtol * max |ours|   and   |theirs - ours| <= rtol * |ours|,
        with |x| the root of the sum of squares; or when   max |theirs - ours| <= atol

    The ways in which others store the same tensor are understood, see ``layouts``. Scores, and the gradients of scores
    and probs, are compared only where the key does not come after the query: nothing depends on the rest. If something
    differs, each of their tensors is recomputed from their own inputs with the weights in ours, see ``diagnosis``. The
    tensors of optimizer steps are held against the formula instead, see ``steps``.

    ours:   dict from name to array, as ``minigpt2.trace`` returns it, with or without ``trace_steps``: the reference
    theirs: dict from name to array
    rtol:   5e-5 in float32, 1e-10 in float64 by default, see ``rows``; atol: rtol * 1e-6 by default
    names:  what their names stand for: "auto" recognises them, else a key of MAPS, a dict like those, or a list
    eps:    the eps of our layer norms; label_smoothing: of our loss
    accept: choices of theirs that are no mistake, such as "gelu=erf": what follows is judged from their own inputs
    settings: the ``Settings`` of the steps in ours
    returns Comparison.
    raises: ValueError, naming the tensor, when the ids differ, a tensor of ours holds NaN or infinity, a tensor of
        either is not of real numbers, there is nothing to compare, a tolerance is negative, nothing is called as in
        accept, or both have steps and settings are missing.
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
    if all(_is_tokens(name) for name in common):
        raise ValueError(
            f"nothing to compare, the traces have no tensor in common: ours has {few(ours) or 'none'}; theirs has "
            f"{few([*theirs, *translation.unknown]) or 'none'}; say with --map what their names stand for, and give "
            "ours first"
        )
    reading = align(ours, theirs)
    _check_ids(reading, ours, theirs)
    limits = tolerances(ours, theirs, rtol, atol)
    rows, whole, where = [], _own_head(ours, theirs), None
    for name in progress_bar([name for name in common if not split(name)], "comparing", delay=2):
        row, sentence = _compared(name, ours, theirs, reading[name], limits[name])
        rows.append(row)
        where = where or sentence
        if reading[name].tensor is not None and reading[name].tensor.shape == ours[name].shape:
            whole[name] = reading[name].tensor
    clean = where is None
    rows, findings = _judge(rows, ours, whole, limits, eps, label_smoothing, accept)
    if all(row.verdict == "ok" for row in rows):
        where = None
    if any(split(name) for name in common):
        if settings is None:
            raise ValueError("settings: theirs has optimizer steps; say how ours were taken, settings=Settings(lr=...)")
        known = {name: theirs[name] if one.tensor is None else one.tensor for name, one in reading.items()}
        more = compare_steps(ours, known, settings, eps, label_smoothing, rtol, atol, clean)
        rows += [_with_note(row, reading[row.name].note) for row in more[0]]
        findings, where = findings + more[1], where or more[2]
    only_ours = sorted((name for name in ours.keys() - theirs.keys() if not is_parameter(name)), key=place)
    assumed = [*translation.assumed, *numbered, *_without_partner(ours, theirs)]
    total = len(_comparable(ours, theirs)) or len([name for name in ours if not _is_tokens(name)])
    return Comparison(rows, only_ours, list(translation.unknown), where, findings, assumed, total)


def _is_tokens(name):
    return name.rpartition(".")[2] in ("ids", "targets")


def _compared(name, ours, theirs, reading, limits):
    """The Row of one tensor of the pass, and a sentence if it is not right."""
    if reading.tensor is None:
        row = Row(name, ours[name].shape, np.nan, np.nan, np.nan, "shape", f"theirs {theirs[name].shape}")
        return row, f"{name}, which cannot be compared: {reading.problem}"
    x, y, note = reading.ours, reading.tensor, reading.note
    if partly_compared(name):
        x, y = np.tril(x), np.tril(y)
    row = measured(name, x, y, note, *limits)
    if row.verdict == "differs" and name.endswith("attn.c_attn.bias") and _only_weights(ours):
        x, y = (np.concatenate([part[: part.size // 3], part[-(part.size // 3) :]]) for part in (x, y))
        apart = measured(name, x, y, "the key bias apart, which changes nothing", *limits)
        row = replace(apart, shape=row.shape) if apart.verdict == "ok" else row
    return row, None if row.verdict == "ok" else where_it_differs(row, x, y, limits[0])


def _only_weights(tensors):
    return all(is_parameter(name) or _is_tokens(name) for name in tensors)


def _comparable(ours, theirs):
    """The names of ours that theirs would have if nothing were missing, of the kinds that it has at all."""
    kinds = {_kind(name) for name in theirs}
    if not any(split(name) for name in theirs):
        kinds.add("pass")
    return [name for name in ours if not _is_tokens(name) and not is_parameter(name) and _kind(name) in kinds]


def _kind(name):
    """What is recorded together: "pass", "gradients", or step and kind of a tensor in a step."""
    step = split(name)
    if step:
        return step[:2]
    return "gradients" if name.startswith("grad.") else "weights" if is_parameter(name) else "pass"


def _with_note(row, note):
    return replace(row, note=", ".join(words for words in (note, row.note) if words))


def _without_partner(ours, theirs):
    """The sentence about steps of theirs that ours does not have."""
    mine, other = ({step[0] for name in names if (step := split(name))} for names in (ours, theirs))
    if not other - mine:
        return []
    return [f"step {min(other - mine)} of theirs was not compared, ours has {len(mine) or 'none'}: "
            f"`minigpt2 trace --steps {max(other)}`"]  # fmt: skip


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


def _judge(rows, ours, theirs, limits, eps, label_smoothing, accept):
    """The rows of the pass, right where they follow from theirs under what is accepted, and the findings."""
    ours = {name: x for name, x in ours.items() if not split(name)}
    changes = accepted(accept, ours, theirs, eps)
    differing = [row.name for row in rows if row.verdict not in ("ok", "shape")]
    if all(row.verdict == "ok" for row in rows):
        return rows, []
    diagnosis = Diagnosis(ours, theirs, differing, measure, limits.__getitem__, eps, label_smoothing, changes)
    notes = {}
    if accept:
        notes = {name: "follows from its inputs" for name in differing if diagnosis.right(name)}
        diagnosis.differing -= set(notes)
    findings = diagnosis.run() if diagnosis.differing else []
    notes |= diagnosis.scaled
    rows = [replace(row, verdict="ok", note=notes[row.name]) if row.name in notes else row for row in rows]
    return rows, findings


def _check_ids(reading, ours, theirs):
    for name in reading:
        part, one = name.rpartition(".")[2], reading[name]
        if _is_tokens(name) and (one.problem or (part == "ids" and not np.array_equal(one.tensor, one.ours))):
            raise ValueError(
                f"{name} differ, ours {_head(ours[name])} and theirs {_head(theirs[name])}: run both on the same tokens"
            )


def _head(x):
    """Shape and first numbers of integer ids."""
    return f"{x.shape} {x.ravel()[:6].tolist()}{' ...' if x.size > 6 else ''}"


def _summary(names):
    """Names, with those of several layers or steps as one: "h.*.attn.out (12 layers)", "step.*.grad (84 tensors)"."""
    alike = {}
    for name in names:
        step = split(name)
        kind = step and (step[1] if step[1] != "w" else "{parameter}")
        plain = (f"step.*.{kind}", "tensors") if kind else (in_any_block(name), "layers")
        alike.setdefault(plain, []).append(name)
    return [same[0] if len(same) == 1 else f"{name} ({len(same)} {what})" for (name, what), same in alike.items()]


def _plain(value):
    """What JSON can hold: no NaN, no infinity."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return int(value) if isinstance(value, np.integer) else value
