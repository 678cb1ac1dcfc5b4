"""What is wrong with another GPT-2: every operation that does not make of its inputs what it should, and why.

Each of their tensors is recomputed from their own inputs (``operations``). What fails there is a mistake of its own,
not a consequence of an earlier one. For each, the hypotheses of ``mistakes`` are tried (``search``); the one that makes
their numbers is named, the simplest if several do, and if two are equally simple, both. A mistake that is found becomes
part of what is expected, so that the next one shows. If none fits, it is said what is known.
"""

import contextlib
import math
import re
from dataclasses import dataclass, field

import numpy as np

from minigpt2.parallel import without_false_alarms
from minigpt2.verification.in_words import difference, folded, in_any_block, in_blocks, ranges
from minigpt2.verification.mistakes.anywhere import order_along
from minigpt2.verification.mistakes.output import target_choices
from minigpt2.verification.mistakes.weights import as_loaded
from minigpt2.verification.names import is_parameter, place
from minigpt2.verification.operations import OPERATIONS, Tensors
from minigpt2.verification.search import Search, as_compared, comparable, is_consequence

MOST_FINDINGS = 8

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

WITH_WEIGHTS = {
    "embd", "ln_1", "attn.q", "attn.k", "attn.v", "attn.out", "ln_2", "mlp.fc", "mlp.out", "ln_f", "logits",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One mistake, or what is known of it.

    name:     the first recorded tensor that it makes wrong
    kind:     "mistake", named; "unknown", a mistake without a name; "recording", only what was recorded under this name
        differs; "rounding", no operation is wrong
    sentence: what it is
    place:    in which blocks; after which tensors that are right, and what was not recorded between; "" if that says
        nothing
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
        self.given_targets = theirs.get("targets")
        theirs = {name: x for name, x in theirs.items() if name not in ("ids", "targets")}
        self.tensors = Tensors(ours, theirs, eps, label_smoothing, accepted)
        for name in sorted(ours, key=place):  # in this order no recursion is deep
            if name not in theirs and not _is_weight(name):
                with contextlib.suppress(KeyError):
                    self.tensors[name]
        self.tainted = set()  # names of tensors that are wrong by what was found
        self.findings = []
        self.scaled = {}  # names of tensors that were only recorded before or after the scale, and how

    @property
    def theirs(self):
        """Their tensors but those that turned out to be only recorded otherwise."""
        return self.tensors.theirs

    @without_false_alarms
    def run(self):
        """Find what there is to find; returns Findings in the order of computation."""
        with np.errstate(all="ignore"):  # a hypothesis may divide by 0: NaN predicts nothing
            if self._other_order():
                return self.findings
            self._weights()
            self._targets()
            self._otherwise_recorded()
            self._mistakes()
            if not self.findings:
                self._no_operation()
        return sorted(self.findings, key=lambda finding: place(finding.name))

    def right(self, name, tensors=None):
        """Whether one of their tensors is what the operations make of its inputs; None if that cannot be computed.

        tensors: ``Tensors`` to compute it with, those of what is known if None
        """
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
        names = [name for name in sorted(self.theirs, key=place) if self._what(name) in OPERATIONS]
        return [name for name in names if name in self.differing and self.right(name) is False]

    def _what(self, name):
        """What a tensor is, a key of OPERATIONS."""
        return self.tensors.what(name)[0]

    def _blocks(self, names):
        """The numbers of the blocks that tensors are in, None outside of them."""
        return {self.tensors.what(name)[1] for name in names}

    def _agrees(self, name, expected):
        """Whether one of their tensors is within the relative tolerance of what is expected."""
        size = self.measure(as_compared(name, expected), comparable(name, self.theirs[name]))[1]
        return size <= self.tolerance(name)[0]

    def _difference(self, name, expected, actual):
        """How a tensor differs from what is expected, in words."""
        root = None
        if "attn." in name and expected.ndim == 4:
            root = math.sqrt(self.ours["h.0.attn.q"].shape[-1])
        return difference(expected, actual, self.tolerance(name)[0], self.measure, root)

    # ------------------------------------------------------------------- the batch, the weights and the targets

    def _other_order(self):
        """Whether all that differs is that the sequences of the batch come in another order."""
        B = len(self.ours["ids"]) if "ids" in self.ours else 0
        names = [n for n in sorted(self.differing, key=place) if n in self.theirs]
        batched = [n for n in names if not _is_weight(n) and self.ours[n].ndim > 2]
        every = [n for n, x in self.theirs.items() if not _is_weight(n) and x.ndim > 2]
        if B < 2 or len(batched) < max(2, len(names), len(every)):
            return False
        order = order_along(0, self.ours[batched[0]], self.theirs[batched[0]])
        if order is None or not all(self._agrees(n, self.ours[n][order]) for n in batched):
            return False
        self.findings.append(Finding(
            batched[0], "recording", "only the sequences of the batch come in another order, "
            f"{', '.join(map(str, order))}: record both runs with the same", tensors=batched,
        ))  # fmt: skip
        return True

    def _weights(self):
        """Parameters of theirs that are not ours: everything else is judged with theirs."""
        kinds = {}
        for name in sorted(self.differing, key=place):
            if is_parameter(name) and name in self.theirs:
                kinds.setdefault(in_any_block(name), []).append(name)
        for same in list(kinds.values())[: MOST_FINDINGS // 2]:
            name, kind = same[0], "mistake"
            words = as_loaded(name, self.ours, self.theirs[name])
            if words is None:
                expected, actual = (x[name].astype(np.float64) for x in (self.ours, self.theirs))
                how = self._difference(name, expected, actual)
                kind, words = "unknown", f"the weights are not the same: {name} is not ours, {how}"
            where = f"in blocks {ranges([int(n.split('.')[1]) for n in same])}" if len(same) > 1 else ""
            self.findings.append(Finding(name, kind, words, where, tensors=same))

    def _targets(self):
        """Targets of theirs that are not ours: those of the loss, or only recorded so."""
        if "targets" not in self.differing:
            return
        choices = target_choices(self.ours["ids"], self.ours["targets"])
        words = next((words for words, wrong in choices if np.array_equal(wrong, self.given_targets)), None)
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
            group = next((group for group in _groups(wrong) if self._only_recorded(group)), None)
            if group is None:
                return
            self._set_aside(group)

    def _wrong_in_themselves(self):
        """Failing tensors that still fail when no other failing tensor is taken for an input."""
        wrong = self.failing()
        for _ in range(4):
            if not wrong:
                return []
            without = self.tensors.without(wrong)
            still = [n for n in wrong if self.right(n, without) is False and np.isfinite(self.theirs[n]).all()]
            if still == wrong:
                break
            wrong = still
        return wrong

    def _stays(self, name):
        """Whether what is wrong with a tensor has a name and is no way to record it, though what follows is right."""
        fits = self._search(name, [name], [name]).fits(general_too=False)
        return bool(fits) and not any(fit.hypothesis.harmless for fit in fits)

    def _only_recorded(self, group):
        """Whether what is computed from a group of tensors is right without what was recorded, and wrong with it."""
        without, consumers = self.tensors.without(group), self._consumers(group)
        return bool(consumers) and all(self.right(name, without) for name in consumers) and self._witnessed(group)

    def _consumers(self, group):
        """Recorded tensors outside of a group that are computed from one in it."""
        found = []
        for name in sorted(self.theirs, key=place):
            if name in group or is_parameter(name):
                continue
            with contextlib.suppress(KeyError):
                if not set(group).isdisjoint(self.tensors.sources(name)[0]):
                    found.append(name)
        if "loss" in group:
            found += [n for n in sorted(self.theirs, key=place) if n.startswith("grad.") and n not in group][:3]
        return found

    def _witnessed(self, group):
        """Whether each has a tensor computed from it that is wrong with what was recorded, and so speaks for it."""
        for name in group:
            if name == "loss":
                if not all(self.right(n) for n in self.theirs if n.startswith("grad.")):
                    return False
            elif not any(self.right(n) is False for n in self._consumers([name])):
                return False
        return True

    def _set_aside(self, group):
        """Go on as if a group of tensors were not recorded; a Finding for those that are not merely scaled."""
        without, consumers = self.tensors.without(group), self._consumers(group)
        expected = {name: as_compared(name, without.compute(name)) for name in group}
        scaled = {name: self._scale(name, x) for name, x in expected.items()}
        self.scaled |= {name: words for name, words in scaled.items() if words}
        self.differing -= set(self.scaled)
        if others := [name for name in group if not scaled[name]]:
            first = others[0]
            how = self._difference(first, expected[first], comparable(first, self.theirs[first]))
            self.findings.append(Finding(
                first, "recording", f"only what was recorded as {folded(others)} differs: {how}; what is computed from "
                f"it agrees ({folded(consumers, 3)})", tensors=others,
            ))  # fmt: skip
        self.tensors = without

    def _scale(self, name, expected):
        """How scores, q or k were recorded, if only before or after the division by sqrt(D); else None."""
        if not name.endswith(("attn.scores", "attn.q", "attn.k")):
            return None
        root = math.sqrt(self.ours["h.0.attn.q"].shape[-1])
        for words, factor in (
            ("before the scale", root), ("after the scale", 1 / root), ("after half of the scale", root**-0.5),
        ):  # fmt: skip
            if factor != 1 and self._agrees(name, factor * expected):
                return words
        return None

    # --------------------------------------------------------------------------------------- one mistake at a time

    def _mistakes(self):
        """Explain the first tensor that fails and is no consequence, until there is none."""
        for _ in range(MOST_FINDINGS):
            failing = [n for n in self.failing() if not is_consequence(self.tensors, n, self.tainted)]
            if not failing or self._other_weights(failing):
                return
            name = failing[0]
            suspects = self._suspects(name)
            if fits := self._fits(name, suspects, failing):
                self._named(name, suspects, fits)
            else:
                self._unnamed(name, suspects, failing)

    def _other_weights(self, failing):
        """Whether all operations with weights are wrong and none without: then theirs has others.

        Nothing else is known then. Asked after the first tensor, which may have a name: blocks in another order look
        like this, too.
        """
        first = next((f for f in self.findings if f.kind != "recording"), None)
        if first is None or first.kind != "unknown" or first.name.startswith("grad."):
            return False
        wrong = {self._what(n) for n in [first.name, *failing]}
        seen = {self._what(n) for n in self.theirs if self.right(n) is not None and not n.startswith("grad.")}
        if len(seen & WITH_WEIGHTS) < 4 or seen & wrong != seen & WITH_WEIGHTS:
            return False
        self.findings.remove(first)
        self.findings.append(Finding(
            first.name, "unknown", "every operation with weights is wrong and none without them: these are not the "
            "same weights", tensors=failing, worked=first.worked,
        ))  # fmt: skip
        return True

    def _suspects(self, name):
        """The operations that may be wrong: its own, and those before it that no right tensor has passed through."""
        _, between = self.tensors.sources(name)
        if between:
            cleared = set()
            for other in self.theirs:
                if other != name and self._what(other) in OPERATIONS and self.right(other):
                    cleared |= set(self.tensors.sources(other)[1])
            between = [each for each in between if each not in cleared]
        return [name, *between]

    def _fits(self, name, suspects, failing):
        """What explains a tensor; nothing if all its numbers are the same, which comes about in too many ways."""
        actual = self.theirs[name]
        if actual.size > 1 and np.ptp(actual) == 0 and actual.any():
            return []
        return self._search(name, suspects, failing).fits()

    def _search(self, name, suspects, failing):
        return Search(self.tensors, self.measure, self.tolerance, name, suspects, failing, self.tainted)

    def _named(self, name, suspects, fits):
        """Add what was found, and expect it from now on."""
        best, sentences = fits[0], list(dict.fromkeys(fit.hypothesis.sentence for fit in fits))
        kind = "recording" if all(fit.hypothesis.harmless for fit in fits) else "mistake"
        words = sentences[0] if len(sentences) == 1 else "either " + ", or ".join(sentences[:4])
        key = best.hypothesis.key if len(sentences) == 1 else None
        where = self._place(name, suspects, best.blocks, not best.refuted)
        worked = self._worked(name, best.predicted)
        self.findings.append(Finding(name, kind, words, where, best.left, best.explained, key, worked))

        blocks = best.blocks if best.refuted else None
        self._taint(best, blocks)
        changes = {}
        for what, operation in best.changes.items():
            changes |= dict.fromkeys([what] if blocks is None else [(what, block) for block in blocks], operation)
        self.tensors = self.tensors.changed(changes)
        if self.right(name) is False:  # what was found does not settle it
            self.tainted |= {name, *suspects}

    def _unnamed(self, name, suspects, failing):
        """Add what is known of the first failing tensor, and ask no more of those that are wrong alike."""
        actual, expected = comparable(name, self.theirs[name]), as_compared(name, self.tensors.compute(name))
        kind, words = self._unknown(name, actual, expected)
        same = [n for n in failing if self._what(n) == self._what(name)]
        if kind == "unknown" and len(failing) > 3 and all(map(_is_weight, failing)):
            same = failing
            words = (
                f"only the gradients of parameters are wrong, in {len(same)} tensors, those of the activations are "
                f"right; {name}: {words.partition(': ')[2]}"
            )
        earlier = [f for f in self.findings if f.kind == "unknown" and not f.name.startswith("grad.")]
        if not (kind == "unknown" and name.startswith("grad.") and earlier):  # else it may well be a consequence
            where = self._place(name, suspects, self._blocks(same))
            self.findings.append(Finding(name, kind, words, where, tensors=same, worked=self._worked(name)))
            self._taint_derived({self._what(each) for each in suspects}, None)
        self.tainted |= {*suspects, *same}

    def _taint(self, fit, blocks):
        """Taint what a found mistake makes wrong beyond what it predicts.

        blocks: the numbers of the blocks that have it, None for all
        """
        hypothesis = fit.hypothesis
        if not any(what.startswith("grad.") for what in hypothesis.changes):
            self._taint_derived(set(fit.changes), blocks)
        if hypothesis.spoils:
            for name in self.ours:
                what, block = self.tensors.what(name)
                if re.fullmatch(hypothesis.spoils, what) and (
                    blocks is None or block in blocks or name.startswith("grad.")
                ):
                    self.tainted.add(name)

    def _taint_derived(self, whats, blocks):
        """Taint what a framework derives from operations, keys of OPERATIONS, that are wrong in some blocks or all."""
        derived = {each for what in whats for each in DERIVED.get(what, ())}
        for name in self.ours:
            what, block = self.tensors.what(name)
            if what in derived and (blocks is None or block in blocks or block is None):
                self.tainted.add(name)

    # ------------------------------------------------------------------------------------------------- in words

    def _place(self, name, suspects, blocks, every=False):
        """In which blocks, after what, and what lies between."""
        recorded = self._blocks(n for n in self.theirs if self._what(n) == self._what(name))
        parts = [in_blocks(blocks, recorded, every)]
        inputs, _ = self.tensors.sources(name)
        inputs = [n for n in inputs if not is_parameter(n) and n not in ("ids", "targets")]
        if inputs and len(suspects) > 1:
            between = folded(suspects[1:], 6)
            parts.append(f"after {folded(inputs, 3)}, at or before {name}; not recorded between: {between}")
        elif inputs:
            parts.append(f"{name} does not follow from {folded(inputs, 3)}")
        return "; ".join(filter(None, parts))

    def _unknown(self, name, actual, expected):
        """The kind of a Finding, and what is known where no hypothesis fits."""
        if self._only_float32(name, actual, expected):
            cause = ""
            if name == "loss" or name.startswith("grad."):
                cause = " (transformers' own loss, from labels=, turns the logits into float32: compute it outside)"
            return "mistake", (
                f"theirs is float64, but from {name} on only as exact as float32: something at or before it is in "
                f"float32{cause}"
            )
        forward = [n for n in self.theirs if not n.startswith("grad.")]
        if any(finding.kind in ("mistake", "unknown") for finding in self.findings):
            lead = f"another mistake, first at {name}"
        elif name.startswith("grad.") and self.differing.isdisjoint(forward):
            lead = f"the forward pass is right, the backward pass is wrong from {name} on"
        else:
            lead = f"wrong from {name} on"
        return "unknown", f"{lead}: {self._difference(name, expected, actual)}"

    def _only_float32(self, name, actual, expected):
        """Whether their float64 is off by no more than float32's rounding, here and in nearly all that follows."""
        if self.theirs[name].dtype != np.float64 or self.tolerance(name)[0] >= 1e-8:
            return False
        after = [n for n in self.theirs if place(n) >= place(name) and not is_parameter(n)]
        enough = max(2, 0.9 * len(after))  # not this one tensor alone
        return self.measure(expected, actual)[1] < 2e-6 and len(self.differing & set(after)) >= enough

    def _worked(self, name, predicted=None):
        """The recomputation, with the numbers where they differ most, in lines."""
        actual, expected = comparable(name, self.theirs[name]), as_compared(name, self.tensors.compute(name))
        recorded, between = self.tensors.sources(name)
        inputs = [n for n in recorded if not is_parameter(n)]
        weights = [n for n in recorded if is_parameter(n)]
        whose = "theirs" if any(n in self.theirs for n in weights) else "ours"
        lines = [
            f"{name} = {OPERATIONS[self._what(name)][1]}",
            f"  from {folded(inputs, 6)} of theirs" + (f", with {folded(weights, 4)} ({whose})" if weights else ""),
        ]
        if between:
            lines.append(f"  by way of {folded(between, 8)}, which were not recorded")
        off = np.where(np.isnan(actual), np.inf, np.abs(actual - expected))
        at = np.unravel_index(np.argmax(off), off.shape)
        lines.append(f"  at {[int(i) for i in at]} that gives {expected[at]:.7g}, theirs is {actual[at]:.7g}")
        if predicted is not None:
            lines.append(f"  with the mistake it gives {predicted[at]:.7g}")
        return lines

    def _no_operation(self):
        """Tensors differ, though each follows from those before it."""
        names = [n for n in sorted(self.differing, key=place) if n in self.theirs and not is_parameter(n)]
        if names and all(self._what(n) in OPERATIONS and self.right(n) for n in names):
            self.findings.append(Finding(
                names[0], "rounding", "no operation is wrong: each of their tensors follows from those before it; "
                "rounding adds up, or the tolerance is tight", tensors=names,
            ))  # fmt: skip


def _is_weight(name):
    """Whether a tensor is a parameter or its gradient."""
    return is_parameter(name.removeprefix("grad."))


def _groups(wrong):
    """Lists of names that may be recorded otherwise for one reason: all, those of a kind, single ones."""
    kinds = {}
    for name in wrong:
        kind = re.sub(r"h\.\d+\.", "", name)
        kinds.setdefault(kind, []).append(name)
        kinds.setdefault(re.sub(r"attn\.[qkv]$", "attn.qkv", kind) + " together", []).append(name)
    groups = [wrong, *kinds.values(), *([name] for name in wrong[:6])]
    return [group for n, group in enumerate(groups) if group not in groups[:n]]
