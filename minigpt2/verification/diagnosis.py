"""What is wrong with another GPT-2: every operation that does not make of its inputs what it should, and why.

Each of their tensors is recomputed from their own inputs (``operations``). What fails there is a mistake of its own, not
a consequence of an earlier one. For each, the hypotheses of ``mistakes`` are tried; the one that
makes their numbers is named, the simplest if several do, and if two are equally simple, both. A mistake that is found
becomes part of what is expected, so that the next one shows. If none fits, it is said what is known.
"""

import contextlib
import math
import re
from dataclasses import dataclass, field

import numpy as np

from minigpt2.parallel import without_false_alarms
from minigpt2.verification.mistakes import ANYWHERE, BACKWARD, FORWARD
from minigpt2.verification.mistakes.anywhere import order_along
from minigpt2.verification.mistakes.hypothesis import Observed, relative, rounded
from minigpt2.verification.mistakes.output import target_choices
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
        self.differing = set(differing)
        self.theirs = {name: x for name, x in theirs.items() if name not in ("ids", "targets")}
        self.given_targets = theirs.get("targets")
        self.tensors = Tensors(ours, self.theirs, eps, label_smoothing, accepted)
        for name in sorted(ours, key=place):  # in this order no recursion is deep
            if name not in self.theirs and not is_parameter(name.removeprefix("grad.")):
                with contextlib.suppress(KeyError):
                    self.tensors[name]
        self.tainted, self.findings = set(), []
        self._passed_by, self._passes = None, {}
        self.scaled = {}  # names of tensors that were only recorded before or after the scale, and how

    def right(self, name, tensors=None):
        """Whether one of their tensors is what the operations make of their inputs; None if that cannot be computed."""
        try:
            expected = (tensors or self.tensors).compute(name)
        except KeyError:
            return None
        rtol, atol = self.tolerance(name)
        expected, actual = as_compared(name, expected), comparable(name, self.theirs[name])
        known = ~np.isnan(expected)  # elsewhere any value follows: an input is NaN, or a mistake says nothing of it
        absolute, size, _ = self.measure(expected[known], actual[known])
        return bool(size <= rtol or absolute <= atol)

    def failing(self):
        """Names of their tensors that do not follow from their inputs, in the order of computation."""
        names = [name for name in sorted(self.theirs, key=place) if self.tensors.what(name)[0] in OPERATIONS]
        return [name for name in names if name in self.differing and self.right(name) is False]

    @without_false_alarms
    def run(self):
        """Find what there is to find; returns Findings in the order of computation."""
        with np.errstate(all="ignore"):  # a hypothesis may divide by 0: NaN predicts nothing
            if self._other_order():
                return self.findings
            self._weights()
            self._targets()
            self._otherwise_recorded()
            for _ in range(MOST_FINDINGS):
                failing = [name for name in self.failing() if not self._follows(name)]
                if not failing:
                    break
                if self._other_weights(failing):
                    break
                self._explain(failing[0], failing)
            if not self.findings:
                self._no_operation()
        return sorted(self.findings, key=lambda finding: place(finding.name))

    def _other_order(self):
        """Whether all that differs is that the sequences of the batch come in another order."""
        B = len(self.ours["ids"]) if "ids" in self.ours else 0
        names = [n for n in sorted(self.differing, key=place) if n in self.theirs]
        batched = [n for n in names if not is_parameter(n.removeprefix("grad.")) and self.ours[n].ndim > 2]
        every = [n for n in self.theirs if not is_parameter(n.removeprefix("grad.")) and self.theirs[n].ndim > 2]
        if B < 2 or len(batched) < max(2, len(names), len(every)):
            return False
        order = order_along(0, self.ours[batched[0]], self.theirs[batched[0]])
        if order is None or not all(
            self.measure(as_compared(n, self.ours[n][order]), comparable(n, self.theirs[n]))[1] <= self.tolerance(n)[0] for n in batched
        ):
            return False
        self.findings.append(Finding(
            batched[0], "recording", "only the sequences of the batch come in another order, "
            f"{', '.join(map(str, order))}: record both runs with the same", tensors=batched,
        ))  # fmt: skip
        return True

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

    def _targets(self):
        """Targets of theirs that are not ours: those of the loss, or only recorded so."""
        if "targets" not in self.differing:
            return
        words = next((words for words, wrong in target_choices(self.ours["ids"], self.ours["targets"])
                      if np.array_equal(wrong, self.given_targets)), None)  # fmt: skip
        computed = [n for n in ("loss", "grad.logits") if n in self.theirs]
        if computed and all(self.right(n) for n in computed):
            self.findings.append(Finding(
                "targets", "recording", "only what was recorded as targets differs: the loss was computed with ours",
                tensors=["targets"],
            ))  # fmt: skip
        elif words and not computed:
            self.findings.append(Finding("targets", "mistake", words, tensors=["targets"]))

    # ------------------------------------------------------------------------ recorded otherwise, but not wrong

    def _otherwise_recorded(self):
        """Tensors that are wrong, while everything computed from them is right: only what was recorded differs."""
        while wrong := [n for n in self._wrong_in_themselves() if n != "logits" or not self._stays(n)]:
            for group in self._groups(wrong):
                without = self.tensors.without(group)
                consumers = self._consumers(group)
                if consumers and all(self.right(name, without) for name in consumers) and self._witnessed(group):
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

    def _stays(self, name):
        """Whether what is wrong with the logits has a name and is no way to record them, though the loss does not mind."""
        fits = self._fits(name, [name], [name], False)
        return bool(fits) and not any(fit.hypothesis.harmless for fit in fits)

    def _witnessed(self, group):
        """Whether each has a tensor computed from it that is wrong with what was recorded, and so speaks for the rest."""
        for name in group:
            if name == "loss":
                if not all(self.right(n) for n in self.theirs if n.startswith("grad.")):
                    return False
            elif not any(self.right(n) is False for n in self._consumers([name])):
                return False
        return True

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
            without = self.tensors.without(wrong)
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

    def _other_weights(self, failing):
        """Whether all operations with weights are wrong and none without: then theirs has others, and nothing else is known.

        Asked after the first tensor, which may have a name: blocks in another order look like this, too.
        """
        first = next((f for f in self.findings if f.kind != "recording"), None)
        if first is None or first.kind != "unknown" or first.name.startswith("grad."):
            return False
        wrong = {self.tensors.what(n)[0] for n in [first.name, *failing]}
        seen = {self.tensors.what(n)[0] for n in self.theirs if self.right(n) is not None and not n.startswith("grad.")}
        with_weights = {"embd", "ln_1", "attn.q", "attn.k", "attn.v", "attn.out", "ln_2", "mlp.fc", "mlp.out", "ln_f", "logits"}
        if len(seen & with_weights) < 4 or (seen & with_weights) - wrong or (wrong & seen) - with_weights:
            return False
        self.findings.remove(first)
        self.findings.append(Finding(
            first.name, "unknown", "every operation with weights is wrong and none without them: these are not the same "
            "weights", tensors=failing, worked=first.worked,
        ))  # fmt: skip
        return True

    def _follows(self, name):
        """Whether a tensor is computed with an operation already known to be wrong."""
        return bool({name, *self.tensors.sources(name)[1]} & self.tainted)

    def _explain(self, name, failing):
        suspects = self._suspects(name)
        constant = self.theirs[name].size > 1 and np.ptp(comparable(name, self.theirs[name])) == 0
        fits = [] if constant and self.theirs[name].any() else self._fits(name, suspects, failing)
        actual, expected = comparable(name, self.theirs[name]), as_compared(name, self.tensors.compute(name))
        if not fits:
            whats = {self.tensors.what(each)[0] for each in suspects}
            same = [n for n in failing if self.tensors.what(n)[0] == self.tensors.what(name)[0]]
            kind, words = self._unknown(name, actual, expected)
            rest = {n for n in failing if is_parameter(n.removeprefix("grad."))}
            if name in rest and len(rest) == len(failing) > 3:
                same = sorted(rest, key=place)
                words = "only the gradients of parameters are wrong, in {} tensors, those of the activations are right: {}; {}"
                words = words.format(len(same), "were they added to older ones (not zeroed)?", f"{name} is {words[words.index(': ') + 2:]}")
            if kind == "unknown" and name.startswith("grad.") and any(
                f.kind == "unknown" and not f.name.startswith("grad.") for f in self.findings
            ):
                self.tainted |= {*suspects, *same}  # it may well be a consequence
                return
            self.findings.append(Finding(
                name, kind, words, self._place(name, suspects, same), tensors=same, worked=self._worked(name, actual, expected)
            ))  # fmt: skip
            self._taint(whats, None)
            self.tainted |= {*suspects, *same}
            return
        best = fits[0]
        sentences = list(dict.fromkeys(fit.hypothesis.sentence for fit in fits))
        words = sentences[0] if len(sentences) == 1 else "either " + ", or ".join(sentences[:4])
        harmless = all(fit.hypothesis.harmless for fit in fits)
        self.findings.append(Finding(
            name, "recording" if harmless else "mistake", words, self._place(name, suspects, best), best.left, best.explained,
            best.hypothesis.key if len(sentences) == 1 else None, self._worked(name, actual, expected, best.predicted),
        ))  # fmt: skip
        blocks = best.blocks if best.refuted and best.blocks != {None} else None
        changes = {}
        for what, operation in best.changes.items():
            changes |= dict.fromkeys([what] if blocks is None else [(what, block) for block in blocks], operation)
        if not any(what.startswith("grad.") for what in best.hypothesis.changes):
            self._taint(set(best.changes), blocks)
        if best.hypothesis.spoils:
            self.tainted |= {n for n in self.ours if re.fullmatch(best.hypothesis.spoils, self.tensors.what(n)[0])
                             and (blocks is None or self.tensors.what(n)[1] in blocks or n.startswith("grad."))}  # fmt: skip
        self.tensors = self.tensors.changed(changes)
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

    def _fits(self, name, suspects, failing, general_too=True):
        """Hypotheses that make of their inputs what they have: the simplest, more than one if they are equally simple."""
        budget = [MOST_NUMBERS]
        specific, general = [], []
        for suspect in suspects:
            what, _ = self.tensors.what(suspect)
            for table, found in (FORWARD.get(what, ()) or BACKWARD.get(what, ()), specific), (ANYWHERE, general):
                if found is general and (specific or len(suspects) > 12 or not general_too):
                    continue
                for mistake in table:
                    try:
                        found += self._tried(mistake, suspect, name, suspects, failing, budget)
                    except (KeyError, ValueError, IndexError, ZeroDivisionError):  # the trace lacks what it needs
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
            budget[0] -= sum(self.tensors.compute(each).size for each in suspects)
            if budget[0] < 0:
                break
            fit = self._try(hypothesis, name, suspect, failing)
            if fit is not None:
                fits.append(fit)
        return fits

    def _try(self, hypothesis, name, suspect, failing):
        """A Fit if the hypothesis makes what theirs has, here and wherever else it says something; else None."""
        first = self._left(hypothesis, name)
        if first is None:
            return None
        explained, refuting, sizes, dropped = [name], set(), [first[0]], set()
        block = self.tensors.what(suspect)[1]
        for other in sorted(self.theirs, key=place):
            changed = self._passed(other) & hypothesis.changes.keys()
            if other == name or not changed or self._follows(other):
                continue
            wrong = other in failing
            fit = self._left(hypothesis, other, must_explain=wrong)
            if fit is not None:
                if wrong:
                    explained.append(other)
                    sizes.append(fit[0])
                continue
            its_block = self.tensors.what(other)[1]
            if other.startswith("grad.") and not name.startswith("grad."):  # the backward pass has its own mistakes
                dropped |= {what for what in changed if what.startswith("grad.")}
            elif hypothesis.rule or (its_block == block and self.tensors.what(other)[0] in hypothesis.changes):
                return None  # contradicted by a tensor beside it
            else:
                refuting.add(its_block)
        if first[1] is None and len(explained) < 2:  # what it predicts here is right anyway: others must speak for it
            return None
        changes = {what: operation for what, operation in hypothesis.changes.items() if what not in dropped}
        blocks = {block} | {self.tensors.what(n)[1] for n in explained if n != name} - refuting
        return Fit(hypothesis, changes, explained, blocks, bool(refuting), max(sizes), first[1] or 0.0, first[2])

    def _passed(self, name):
        """What the operations are that a tensor of theirs has gone through since the recorded ones before it."""
        if self._passed_by is not self.tensors:
            self._passed_by, self._passes = self.tensors, {}
        if name not in self._passes:
            what = self.tensors.what(name)[0]
            try:
                between = self.tensors.sources(name)[1] if what in OPERATIONS else []
            except KeyError:
                between = []
            self._passes[name] = {what, *(self.tensors.what(n)[0] for n in between)}
        return self._passes[name]

    def _left(self, hypothesis, name, must_explain=True):
        """(relative size of what is left, share of the difference, prediction); None if that is too much."""
        _, between = self.tensors.sources(name)
        only = {name, *between}
        try:
            predicted = as_compared(name, self.tensors.trial(self.tensors.changes | hypothesis.changes, only).compute(name))
        except (KeyError, ValueError, IndexError, ZeroDivisionError, np.linalg.LinAlgError):
            return None
        actual, right = comparable(name, self.theirs[name]), as_compared(name, self.tensors.compute(name))
        if predicted.shape != actual.shape:
            return None
        known = ~np.isnan(predicted)
        if not hypothesis.zeros and _only_zeros(predicted[known], right[known]):
            return None
        if known.mean() < 0.3 or not np.isfinite(actual[known]).all():
            return None
        rtol, atol = self.tolerance(name)
        absolute, size, _ = self.measure(predicted[known], actual[known])
        if not (size <= rtol or absolute <= atol):
            return None
        before = np.linalg.norm(actual[known] - right[known])
        left = np.linalg.norm(actual[known] - predicted[known])
        if not math.isfinite(before):
            return float(size), 0.0, predicted
        if not known.all() and self.measure(right[known], actual[known])[1] <= rtol:
            return float(size), None, predicted
        if must_explain and not left <= 0.1 * before:
            return None
        return float(size), float(left / before) if before else 0.0, predicted

    def _floor(self, name):
        return self.tolerance(name)[0] * FLOOR_PER_RTOL

    # ------------------------------------------------------------------------------------------------- in words

    def _place(self, name, suspects, fit):
        """In which blocks, after what, and what lies between; ``fit``: a Fit, or a list of tensors that are wrong alike."""
        parts = []
        blocks = sorted((fit.blocks if isinstance(fit, Fit) else {self.tensors.what(n)[1] for n in fit}) - {None})
        recorded = {self.tensors.what(n)[1] for n in self.theirs if self.tensors.what(n)[0] == self.tensors.what(name)[0]}
        if blocks and len(recorded) > 1:
            if isinstance(fit, Fit) and not fit.refuted:
                parts.append("in every block")
            elif len(blocks) < len(recorded):
                parts.append(f"only in block{'s' * (len(blocks) > 1)} {', '.join(map(str, blocks))}")
            else:
                parts.append("in every block")
        inputs, _ = self.tensors.sources(name)
        inputs = [n for n in inputs if not is_parameter(n) and n not in ("ids", "targets")]
        if inputs and len(suspects) > 1:
            parts.append(f"after {_folded(inputs, 3)}, at or before {name}; not recorded between: {_folded(suspects[1:], 6)}")
        elif inputs:
            parts.append(f"{name} does not follow from {_folded(inputs, 3)}")
        return "; ".join(parts)

    def _unknown(self, name, actual, expected):
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
        if actual.size > 1 and np.ptp(actual) == 0 < np.ptp(expected):
            return f"theirs is {actual.flat[0]:.6g} everywhere"
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
        if size and abs(cosine) > 0.999:
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
    """A hypothesis that fits: what it changes, the tensors it explains, the blocks, whether other blocks refute it, the
    relative size of what it leaves, the same as a share of the difference, and what it predicts for the first tensor."""

    hypothesis: object
    changes: dict
    explained: list
    blocks: set
    refuted: bool
    size: float
    left: float
    predicted: np.ndarray


def _only_zeros(predicted, right):
    """Whether all that a prediction changes is to make it zero, which comes about in too many ways to prove one."""
    size = np.abs(right).max(initial=0)
    changed = np.abs(predicted - right) > 1e-4 * size
    return bool(changed.any()) and np.abs(predicted[changed]).max() <= 1e-6 * size


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
    if right.ndim == 2 and (same(right.T.reshape(right.shape)) or same(right.reshape(right.shape[::-1]).T)):
        return f"weights: {name} is reshaped between (in, out) and (out, in), it should be transposed"
    if "c_attn" in name:
        for order in ("qvk", "kqv", "kvq", "vqk", "vkq"):
            parts = dict(zip("qkv", np.split(right, 3, -1), strict=True))
            if same(np.concatenate([parts[n] for n in order], -1)):
                return f"weights: {name} holds {', '.join(order)}; in GPT-2 the order is q, k, v"
    for words, bits in (("float16", 11), ("bfloat16", 8)):
        if np.array_equal(rounded(right, bits), theirs):
            return f"weights: {name} is rounded to {words}, {bits} significant bits"
    kind = re.sub(r"^h\.\d+\.", "", name)
    for other, tensor in ours.items():
        if other != name and is_parameter(other) and tensor.ndim == 2 and same(tensor.astype(np.float64).T):
            return f"weights: {name} is the transpose of {other}"
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

