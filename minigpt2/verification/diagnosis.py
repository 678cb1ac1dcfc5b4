"""What is wrong with another GPT-2: every operation that does not make of its inputs what it should, and why.

Each of their tensors is recomputed from their own inputs (``operations``). What fails there is a mistake of its own, not
a consequence of an earlier one. For each, the hypotheses of ``mistakes`` and ``backward_mistakes`` are tried; the one that
makes their numbers is named, the simplest if several do, and if two are equally simple, both. A mistake that is found
becomes part of what is expected, so that the next one shows. If none fits, it is said what is known.
"""

import math
import re
from dataclasses import dataclass, field

import numpy as np

from minigpt2.parallel import without_false_alarms
from minigpt2.verification.backward_mistakes import BACKWARD
from minigpt2.verification.mistakes import ANYWHERE, FORWARD, Observed, relative
from minigpt2.verification.names import is_parameter, place
from minigpt2.verification.operations import OPERATIONS, Block, Tensors

FLOOR_PER_RTOL = 1 / 20  # what one operation's rounding may leave, relative to rtol: 2.5e-6 in float32; measured 8e-7
MOST_FINDINGS = 8
MOST_NUMBERS = 2e9  # elements computed while looking for one explanation: some ten seconds

# The operations of the backward pass that a framework derives from one of the forward pass; "x" as in operations.
DERIVED = {
    "embd": ("grad.wte.weight", "grad.wpe.weight"),
    "ln_1": ("grad.x", "grad.ln_1.weight", "grad.ln_1.bias"),
    **dict.fromkeys(("attn.q", "attn.k", "attn.v"), (
        "grad.ln_1", "grad.attn.c_attn.weight", "grad.attn.c_attn.bias", "grad.attn.q", "grad.attn.k", "grad.attn.v")),
    "attn.scores": ("grad.attn.q", "grad.attn.k"),
    "attn.probs": ("grad.attn.scores",),
    "attn.heads": ("grad.attn.probs", "grad.attn.v"),
    "attn.out": ("grad.attn.heads", "grad.attn.c_proj.weight", "grad.attn.c_proj.bias"),
    "resid_mid": ("grad.x", "grad.attn.out", "grad.ln_1"),
    "ln_2": ("grad.resid_mid", "grad.ln_2.weight", "grad.ln_2.bias"),
    "mlp.fc": ("grad.ln_2", "grad.mlp.c_fc.weight", "grad.mlp.c_fc.bias"),
    "mlp.gelu": ("grad.mlp.fc",),
    "mlp.out": ("grad.mlp.gelu", "grad.mlp.c_proj.weight", "grad.mlp.c_proj.bias"),
    "resid_post": ("grad.resid_mid", "grad.mlp.out", "grad.ln_2"),
    "ln_f": ("grad.last", "grad.ln_f.weight", "grad.ln_f.bias"),
    "logits": ("grad.ln_f", "grad.wte.weight", "grad.lm_head.weight"),
    "loss": ("grad.logits",),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One mistake, or what is known of it.

    name:     the first recorded tensor that it makes wrong
    kind:     "mistake", named; "unknown", a mistake without a name; "recording", only what was recorded under this name
        differs; "rounding", no operation is wrong
    sentence: what it is
    place:    in which blocks; after which tensors that are right, and what was not recorded between; "" if it says nothing
    left:     share of the difference that the explanation leaves, NaN without one
    tensors:  names of the tensors that it explains
    key:      what ``--accept`` calls it, None if it is not a matter of choice
    worked:   the recomputation at the place of the largest difference, in lines
    """

    name: str
    kind: str
    sentence: str
    place: str = ""
    left: float = math.nan
    tensors: list = field(default_factory=list)
    key: str | None = None
    worked: list = field(default_factory=list)


class Diagnosis:
    """Recomputes, explains and keeps what was found.

    ours:      a trace; theirs: their tensors in the shape of ours
    differing: names whose numbers differ from ours, in the order of computation
    measure:   (expected, actual) -> absolute and relative difference, and cosine
    tolerance: name -> rtol, atol
    eps, label_smoothing: of our model; accepted: changes, see ``Tensors``
    """

    def __init__(self, ours, theirs, differing, measure, tolerance, eps, label_smoothing=0.0, accepted=None):
        self.ours, self.measure, self.tolerance = ours, measure, tolerance
        self.settings = eps, label_smoothing
        self.differing = set(differing)
        self.theirs = {name: x for name, x in theirs.items() if name not in ("ids", "targets")}
        self.changes = dict(accepted or {})
        self.tensors = self._recompute(self.theirs)
        self.tainted, self.findings = set(), []
        self.scaled = {}  # names of tensors that were only recorded before or after the scale, and how

    def _recompute(self, theirs):
        tensors = Tensors(self.ours, theirs, *self.settings, self.changes)
        for name in sorted(self.ours, key=place):  # in this order no recursion is deep
            try:
                tensors[name]
            except KeyError:
                continue
        return tensors

    def right(self, name, tensors=None):
        """Whether one of their tensors is what the operations make of their inputs; None if that cannot be computed."""
        try:
            expected = (tensors or self.tensors).compute(name)
        except KeyError:
            return None
        rtol, atol = self.tolerance(name)
        absolute, size, _ = self.measure(as_compared(name, expected), comparable(name, self.theirs[name]))
        return bool(size <= rtol or absolute <= atol)

    def failing(self):
        """Names of their tensors that do not follow from their inputs, in the order of computation."""
        names = [name for name in sorted(self.theirs, key=place) if self.tensors.what(name)[0] in OPERATIONS]
        return [name for name in names if name in self.differing and self.right(name) is False]

    @without_false_alarms
    def run(self):
        """Find what there is to find; returns Findings in the order of computation."""
        with np.errstate(all="ignore"):  # a hypothesis may divide by 0: NaN predicts nothing
            self._weights()
            self._otherwise_recorded()
            for _ in range(MOST_FINDINGS):
                failing = [name for name in self.failing() if not self._follows(name)]
                if not failing:
                    break
                self._explain(failing[0], failing)
            if not self.findings:
                self._no_operation()
        return sorted(self.findings, key=lambda finding: place(finding.name))

    # ------------------------------------------------------------------------------------ weights that differ

    def _weights(self):
        """Parameters of theirs that are not ours: everything else is judged with theirs."""
        kinds = {}
        for name in sorted(self.differing, key=place):
            if is_parameter(name) and name in self.theirs:
                kinds.setdefault(re.sub(r"^h\.\d+\.", "h.*.", name), []).append(name)
        for same in list(kinds.values())[: MOST_FINDINGS // 2]:
            name, words = same[0], _as_loaded(same[0], self.ours, self.theirs[same[0]])
            where = f"in blocks {_ranges([int(n.split('.')[1]) for n in same])}" if len(same) > 1 else ""
            if words:
                self.findings.append(Finding(name, "mistake", words, where, tensors=same))
            else:
                how = self._how(self.ours[name].astype(np.float64), self.theirs[name].astype(np.float64), name)
                sentence = f"the weights are not the same: {name} is not ours, {how}"
                self.findings.append(Finding(name, "unknown", sentence, where, tensors=same))

    # ------------------------------------------------------------------------ recorded otherwise, but not wrong

    def _otherwise_recorded(self):
        """Tensors that are wrong, while everything computed from them is right: only what was recorded differs."""
        while wrong := self._wrong_in_themselves():
            for group in self._groups(wrong):
                without = self._recompute({n: x for n, x in self.theirs.items() if n not in group})
                consumers = self._consumers(group)
                if consumers and all(self.right(name, without) for name in consumers):
                    break
            else:
                return
            scaled = {name: self._scaled(name, without.compute(name)) for name in group}
            self.scaled |= {name: words for name, words in scaled.items() if words}
            self.differing -= set(self.scaled)
            if others := [name for name in group if not scaled[name]]:
                words = self._how(as_compared(others[0], without.compute(others[0])), comparable(others[0], self.theirs[others[0]]), others[0])
                self.findings.append(Finding(
                    others[0], "recording", f"only what was recorded as {_folded(others)} differs: {words}; what is "
                    f"computed from it agrees ({_folded(consumers, 3)})", tensors=others,
                ))  # fmt: skip
            self.theirs = {n: x for n, x in self.theirs.items() if n not in group}
            self.tensors = without

    def _scaled(self, name, expected):
        """How scores, q or k were recorded, if only before or after the division by sqrt(D); else None."""
        if not name.endswith(("attn.scores", "attn.q", "attn.k")):
            return None
        actual, root = comparable(name, self.theirs[name]), math.sqrt(self.ours["h.0.attn.q"].shape[-1])
        expected = as_compared(name, expected)
        for words, factor in (("before the scale", root), ("after the scale", 1 / root), ("after half of the scale", root**-0.5)):
            if factor != 1 and self.measure(factor * expected, actual)[1] <= self.tolerance(name)[0]:
                return words
        return None

    def _wrong_in_themselves(self):
        """Failing tensors that still fail when no other failing tensor is taken for an input."""
        wrong = self.failing()
        for _ in range(4):
            if not wrong:
                return []
            without = self._recompute({n: x for n, x in self.theirs.items() if n not in wrong})
            still = [name for name in wrong if self.right(name, without) is False]
            if still == wrong:
                break
            wrong = still
        return wrong

    def _groups(self, wrong):
        """Sets of tensors that may be recorded otherwise for one reason: all, those of a kind, single ones."""
        kinds = {}
        for name in wrong:
            kind = re.sub(r"h\.\d+\.", "", name)
            kinds.setdefault(kind, []).append(name)
            kinds.setdefault(re.sub(r"attn\.[qkv]$", "attn.qkv", kind) + " together", []).append(name)
        groups = [wrong, *kinds.values(), *([name] for name in wrong[:6])]
        return [group for n, group in enumerate(groups) if group not in groups[:n]]

    def _consumers(self, group):
        """Recorded tensors outside of a group that are computed from one in it."""
        found, group = [], set(group)
        for name in sorted(self.theirs, key=place):
            if name in group or is_parameter(name):
                continue
            try:
                recorded, _ = self.tensors.sources(name)
            except KeyError:
                continue
            if group & set(recorded):
                found.append(name)
        if "loss" in group:
            found += [n for n in sorted(self.theirs, key=place) if n.startswith("grad.") and n not in group][:3]
        return found

    # --------------------------------------------------------------------------------------- one mistake at a time

    def _follows(self, name):
        """Whether a tensor is computed with an operation already known to be wrong."""
        return bool({name, *self.tensors.sources(name)[1]} & self.tainted)

    def _explain(self, name, failing):
        suspects = self._suspects(name)
        fits = self._fits(name, suspects, failing)
        actual, expected = comparable(name, self.theirs[name]), as_compared(name, self.tensors.compute(name))
        if not fits:
            whats = {self.tensors.what(each)[0] for each in suspects}
            same = [n for n in failing if self.tensors.what(n)[0] == self.tensors.what(name)[0]]
            kind, words = self._unknown(name, actual, expected, failing)
            self.findings.append(Finding(
                name, kind, words, self._place(name, suspects, same), tensors=same, worked=self._worked(name, actual, expected)
            ))  # fmt: skip
            self._taint(whats, None)
            self.tainted |= set(suspects)
            return
        best = fits[0]
        sentences = list(dict.fromkeys(fit.hypothesis.sentence for fit in fits))
        blocks = {self.tensors.what(n)[1] for n in best.explained}
        words = sentences[0] if len(sentences) == 1 else "either " + ", or ".join(sentences[:4])
        self.findings.append(Finding(
            name, "mistake", words, self._place(name, suspects, best.explained), best.left, best.explained,
            best.hypothesis.key if len(sentences) == 1 else None, self._worked(name, actual, expected, best.predicted),
        ))  # fmt: skip
        everywhere = all(n in best.explained or self._follows(n) for n in failing if n in best.touched) and blocks >= {
            self.tensors.what(n)[1] for n in best.touched
        }
        for what, operation in best.hypothesis.changes.items():
            for key in [what] if everywhere else [(what, block) for block in blocks]:
                self.changes[key] = operation
        if not any(what.startswith("grad.") for what in best.hypothesis.changes):
            self._taint(set(best.hypothesis.changes), None if everywhere else blocks)
        if best.hypothesis.throughout:
            self.tainted |= {n for n in self.ours if self.tensors.what(n)[1] in blocks}
            self.tainted |= {n for n in self.ours if n.startswith("grad.") and not is_parameter(n)}
        self.tensors = self._recompute(self.theirs)
        if self.right(name) is False:  # what was found does not settle it
            self.tainted |= {name, *suspects}

    def _taint(self, whats, blocks):
        """What a framework derives from a wrong operation is wrong as a consequence."""
        for what in whats:
            for derived in DERIVED.get(what, ()):
                for name in self.ours:
                    kind, block = self.tensors.what(name)
                    if kind == derived and (blocks is None or block in blocks or block is None):
                        self.tainted.add(name)

    def _suspects(self, name):
        """The operations that may be wrong: its own, and those before it that no right tensor has passed through."""
        _, between = self.tensors.sources(name)
        if between:
            cleared = set()
            for other in self.theirs:
                if other != name and self.tensors.what(other)[0] in OPERATIONS and self.right(other):
                    cleared |= set(self.tensors.sources(other)[1])
            between = [each for each in between if each not in cleared]
        return [name, *between]

    def _fits(self, name, suspects, failing):
        """Hypotheses that make of their inputs what they have: the simplest, more than one if they are equally simple."""
        budget = [MOST_NUMBERS]
        specific, general = [], []
        for suspect in suspects:
            what, _ = self.tensors.what(suspect)
            for table, found in (FORWARD.get(what, ()) or BACKWARD.get(what, ()), specific), (ANYWHERE, general):
                if found is general and (specific or len(suspects) > 12):
                    continue
                for mistake in table:
                    try:
                        found += self._tried(mistake, suspect, name, suspects, failing, budget)
                    except (KeyError, ValueError, IndexError):  # the trace lacks what this mistake needs
                        continue
        return _simplest(specific, self._floor(name)) or _simplest(general, self._floor(name))[:1]

    def _tried(self, mistake, suspect, name, suspects, failing, budget):
        what, block = self.tensors.what(suspect)
        observed = Observed(
            what, Block(self.tensors, block), suspect, as_compared(suspect, self.tensors.compute(suspect)),
            comparable(suspect, self.theirs[suspect]) if suspect == name else None, self._floor(name),
        )  # fmt: skip
        fits = []
        for hypothesis in mistake(observed):
            budget[0] -= sum(self.tensors.computed[each].size for each in suspects if each in self.tensors.computed)
            if budget[0] < 0:
                break
            fit = self._try(hypothesis, name, suspects, failing)
            if fit is not None:
                fits.append(fit)
        return fits

    def _try(self, hypothesis, name, suspects, failing):
        """A Fit if the hypothesis makes what theirs has, here and wherever else it says something; else None."""
        first = self._left(hypothesis, name)
        if first is None:
            return None
        explained, touched, sizes = [name], [name], [first[0]]
        block = self.tensors.what(name)[1]
        for other in sorted(self.theirs, key=place):
            what, its_block = self.tensors.what(other)
            if other == name or what not in hypothesis.changes or other not in self.theirs:
                continue
            touched.append(other)
            fit = self._left(hypothesis, other, must_explain=other in failing)
            if fit is None and its_block == block and not self._follows(other):
                return None  # contradicted by a tensor beside it
            if fit is not None and other in failing:
                explained.append(other)
                sizes.append(fit[0])
        return Fit(hypothesis, explained, touched, max(sizes), first[1], first[2])

    def _left(self, hypothesis, name, must_explain=True):
        """(relative size of what is left, share of the difference, prediction); None if that is too much."""
        _, between = self.tensors.sources(name)
        only = {name, *between}
        try:
            predicted = as_compared(name, self.tensors.trial(self.changes | hypothesis.changes, only).compute(name))
        except (KeyError, ValueError, IndexError, np.linalg.LinAlgError):
            return None
        actual, right = comparable(name, self.theirs[name]), as_compared(name, self.tensors.compute(name))
        if predicted.shape != actual.shape:
            return None
        known = ~np.isnan(predicted)
        if not predicted[known].any() and hypothesis.fitted != 1:  # zeros come about in too many ways
            return None
        if not known.any() or not np.isfinite(actual[known]).all():
            return None
        rtol, atol = self.tolerance(name)
        absolute, size, _ = self.measure(predicted[known], actual[known])
        if not (size <= rtol or absolute <= atol):
            return None
        before = np.linalg.norm(actual[known] - right[known])
        left = np.linalg.norm(actual[known] - predicted[known])
        if not math.isfinite(before):
            return float(size), 0.0, predicted
        if must_explain and not left <= 0.1 * before:
            return None
        return float(size), float(left / before) if before else 0.0, predicted

    def _floor(self, name):
        return self.tolerance(name)[0] * FLOOR_PER_RTOL

    # ------------------------------------------------------------------------------------------------- in words

    def _place(self, name, suspects, same):
        """In which blocks, after what, and what lies between."""
        parts, blocks = [], sorted({self.tensors.what(n)[1] for n in same} - {None})
        recorded = {self.tensors.what(n)[1] for n in self.theirs if self.tensors.what(n)[0] == self.tensors.what(name)[0]}
        if blocks and len(recorded) > 1:
            every = len(blocks) == len(recorded)
            parts.append("in every block" if every else f"only in block{'s' * (len(blocks) > 1)} {', '.join(map(str, blocks))}")
        inputs, _ = self.tensors.sources(name)
        inputs = [n for n in inputs if not is_parameter(n) and n not in ("ids", "targets")]
        if inputs and len(suspects) > 1:
            parts.append(f"after {_folded(inputs, 3)}, at or before {name}; not recorded between: {_folded(suspects[1:], 6)}")
        elif inputs:
            parts.append(f"{name} does not follow from {_folded(inputs, 3)}")
        return "; ".join(parts)

    def _unknown(self, name, actual, expected, failing):
        """What is known where no hypothesis fits."""
        rtol, _ = self.tolerance(name)
        size = self.measure(expected, actual)[1]
        if self.theirs[name].dtype == np.float64 and rtol < 1e-8 and size < 5e-5 and self._from_here_on(name):
            cause = ""
            if name == "loss" or name.startswith("grad."):
                cause = " (transformers' own loss, from labels=, turns the logits into float32: compute it outside)"
            return "mistake", (
                f"theirs is float64, but from {name} on only as exact as float32: something at or before it is in "
                f"float32{cause}"
            )
        if any(finding.kind in ("mistake", "unknown") for finding in self.findings):
            lead = f"another mistake, first at {name}"
        elif name.startswith("grad.") and not any(n in self.differing for n in self.theirs if not n.startswith("grad.")):
            lead = f"the forward pass is right, the backward pass is wrong from {name} on"
        else:
            lead = f"wrong from {name} on"
        return "unknown", f"{lead}: {self._how(expected, actual, name)}"

    def _from_here_on(self, name):
        """Whether nearly everything from a tensor on differs, as a consequence: not this one tensor alone."""
        after = [n for n in sorted(self.theirs, key=place) if place(n) >= place(name) and not is_parameter(n)]
        return len(self.differing & set(after)) >= max(2, 0.9 * len(after))

    def _how(self, expected, actual, name):
        """How two arrays of one shape differ, in words."""
        if not np.isfinite(actual).all():
            return f"theirs holds NaN or infinity ({np.mean(~np.isfinite(actual)):.0%} of its numbers)"
        if not actual.any():
            return "theirs is all zeros"
        size = np.vdot(expected, expected)
        factor = np.vdot(expected, actual) / size if size else 0.0
        if relative(actual, factor * expected) < 1e-4 and abs(factor - 1) > 1e-4:
            root = ""
            if "attn." in name and expected.ndim == 4:
                D = self.ours["h.0.attn.q"].shape[-1]
                names = {math.sqrt(D): "sqrt(D): before the scale", 1 / math.sqrt(D): "1/sqrt(D): after the scale"}
                root = next((f" = {text}" for value, text in names.items() if abs(factor / value - 1) < 1e-4), "")
            return f"theirs is {factor:.6g} times what it should be{root}"
        if expected.ndim >= 2 and expected.shape[-1] == expected.shape[-2] and relative(actual, expected.swapaxes(-1, -2)) < 1e-4:
            return "theirs is transposed"
        difference = np.abs(actual - expected)
        limit = max(self.tolerance(name)[0], 1e-4) * np.abs(expected).max(initial=0)
        wrong = difference > limit
        axes = {4: ("sequences", "heads", "positions", "numbers"), 3: ("sequences", "positions", "channels")}.get(
            expected.ndim, {2: ("rows", "columns"), 1: ("numbers",)}.get(expected.ndim, ())
        )
        for axis, what in enumerate(axes):
            hit = wrong.any(tuple(a for a in range(expected.ndim) if a != axis))
            if 0 < hit.sum() < len(hit) and (hit.sum() <= len(hit) / 2 or hit.sum() == len(hit) - 1):
                return f"only in {what} {_ranges(np.flatnonzero(hit))} of {len(hit)}"
        cosine = self.measure(expected, actual)[2]
        if size and 0.999 < abs(cosine):
            return f"off by {relative(actual, expected):.1e} of its size, in the same direction (cosine {cosine:.6f})"
        return f"off by {relative(actual, expected):.1e} of its size everywhere (cosine {cosine:.3f})"

    def _worked(self, name, actual, expected, predicted=None):
        """The recomputation, with the numbers where they differ most."""
        what, _ = self.tensors.what(name)
        recorded, between = self.tensors.sources(name)
        lines = [f"{name} = {OPERATIONS[what][1]}"]
        inputs = [n for n in recorded if not is_parameter(n)]
        weights = [n for n in recorded if is_parameter(n)]
        whose = "theirs" if any(n in self.theirs for n in weights) else "ours"
        lines.append(f"  from {_folded(inputs, 6)} of theirs" + (f", with {_folded(weights, 4)} ({whose})" if weights else ""))
        if between:
            lines.append(f"  by way of {_folded(between, 8)}, which were not recorded")
        difference = np.where(np.isnan(actual), np.inf, np.abs(actual - expected))
        at = np.unravel_index(np.argmax(difference), difference.shape)
        lines.append(f"  at {[int(i) for i in at]} that gives {expected[at]:.7g}, theirs is {actual[at]:.7g}")
        if predicted is not None:
            lines.append(f"  with the mistake it gives {predicted[at]:.7g}")
        return lines

    def _no_operation(self):
        """Tensors differ, though each follows from those before it."""
        names = [n for n in sorted(self.differing, key=place) if n in self.theirs and not is_parameter(n)]
        checked = [n for n in names if self.tensors.what(n)[0] in OPERATIONS and self.right(n)]
        if names and len(checked) == len(names):
            self.findings.append(Finding(
                names[0], "rounding", "no operation is wrong: each of their tensors follows from those before it; "
                "rounding adds up, or the tolerance is tight", tensors=names,
            ))  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """A hypothesis that fits: the tensors it explains, those it says something about, the relative size of what it leaves,
    the same as a share of the difference, and what it predicts for the first tensor."""

    hypothesis: object
    explained: list
    touched: list
    size: float
    left: float
    predicted: np.ndarray


def _as_loaded(name, ours, theirs):
    """How a parameter of theirs came to be another, as far as loading a checkpoint goes wrong; None if it did not."""
    right, theirs = ours[name].astype(np.float64), theirs.astype(np.float64)

    def same(x):
        return x.shape == theirs.shape and relative(theirs, x) < 1e-4

    if not theirs.any():
        return f"weights: {name} is all zeros; was it loaded?"
    if right.ndim == 1 and name.endswith(".weight") and (theirs == 1).all():
        return f"weights: {name} is all ones; was it loaded?"
    if right.ndim == 2 and same(right.T):
        return (
            f"attention: the weight of attn.c_proj is transposed ({name}); released checkpoints store (in, out), PyTorch's "
            "nn.Linear (out, in)" if "attn.c_proj" in name else f"weights: {name} is transposed"
        )  # fmt: skip
    if right.ndim == 2 and same(right.T.reshape(right.shape)):
        return f"weights: {name} is reshaped from (out, in) to (in, out), it should be transposed"
    if "c_attn" in name:
        for order in ("qvk", "kqv", "kvq", "vqk", "vkq"):
            parts = dict(zip("qkv", np.split(right, 3, -1), strict=True))
            if same(np.concatenate([parts[n] for n in order], -1)):
                return f"weights: {name} holds {', '.join(order)}; in GPT-2 the order is q, k, v"
    kind = re.sub(r"^h\.\d+\.", "", name)
    for other, tensor in ours.items():
        if other != name and is_parameter(other) and same(tensor.astype(np.float64)):
            block = " of another block" if other.endswith(f".{kind}") and kind != name else ""
            return f"weights: {name} holds what belongs into {other}{block}"
    factor = np.vdot(right, theirs) / max(np.vdot(right, right), 1e-300)
    return f"weights: {name} is multiplied by {factor:.6g}" if abs(factor - 1) > 1e-3 and same(factor * right) else None


def _simplest(fits, floor):
    """Of the hypotheses that explain most and leave least, those with the fewest fitted numbers."""
    if not fits:
        return []
    most = max(len(fit.explained) for fit in fits)
    fits = [fit for fit in fits if len(fit.explained) == most]
    least = min(fit.size for fit in fits)
    fits = [fit for fit in fits if fit.size <= max(3 * least, floor)]
    fewest = min(fit.hypothesis.fitted for fit in fits)
    return [fit for fit in fits if fit.hypothesis.fitted == fewest]


def comparable(name, tensor):
    """A tensor of theirs in float64; scores and their gradients as far as something depends on them."""
    return as_compared(name, tensor.astype(np.float64))


def as_compared(name, tensor):
    """A tensor with 0 where nothing depends on it."""
    return np.tril(tensor) if partly_compared(name) else tensor


def partly_compared(name):
    """Whether a tensor says nothing where the key comes after the query."""
    return re.fullmatch(r"(grad\.)?h\.\d+\.attn\.scores|grad\.h\.\d+\.attn\.probs", name) is not None


def _folded(names, most=4):
    """Names, those of several blocks as one, in a line."""
    folded = list(dict.fromkeys(re.sub(r"\bh\.\d+\.", "h.*.", n) for n in names))
    names = list(names) if len(names) <= most else folded
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _ranges(numbers):
    """[0, 1, 2, 7] as "0-2, 7"."""
    runs = []
    for n in map(int, numbers):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:6]) + (" ..." if len(runs) > 6 else "")

