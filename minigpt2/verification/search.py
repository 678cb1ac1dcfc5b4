"""The search for what another GPT-2 does: which hypotheses make their numbers of their inputs.

A hypothesis is tried on the tensor in question and on every other one that it speaks of. It must make what is wrong
there, leave right what is right, and beat those that explain less or fit more numbers.
"""

import itertools
import math
import re
from dataclasses import dataclass

import numpy as np

from minigpt2.verification.mistakes import ANYWHERE, BACKWARD, FORWARD, TOGETHER
from minigpt2.verification.mistakes.hypothesis import Hypothesis, Observed
from minigpt2.verification.names import place
from minigpt2.verification.operations import OPERATIONS, Block

# The share of rtol that one operation's rounding may leave: 2.5e-6 in float32. Worst case measured between a right
# float32 tensor of PyTorch's and the same in float64 from its inputs: 1.2e-6, at grad.ln_f with 768 channels.
FLOOR_PER_RTOL = 1 / 20
MOST_NUMBERS = 2e9  # elements computed while looking for one explanation: some ten seconds
MOST_SUSPECTS = 12  # with more, what can go wrong with any operation fits by chance

NOT_POSSIBLE = KeyError, ValueError, IndexError, ZeroDivisionError  # the trace lacks what it needs, or in other shapes


@dataclass(frozen=True)
class Fit:
    """A hypothesis that makes what theirs has.

    hypothesis: itself; changes: those of its changes that nothing contradicts
    explained: names of the tensors that are wrong by it
    blocks:    numbers of the blocks that show it; refuted: whether others speak against it
    size:      what it leaves at the most, relative to a tensor's size
    left:      what it leaves of the first tensor's difference, as a share
    predicted: what it makes of the first tensor
    """

    hypothesis: Hypothesis
    changes: dict
    explained: list
    blocks: set
    refuted: bool
    size: float
    left: float
    predicted: np.ndarray


class Search:
    """The hypotheses for one wrong tensor of theirs.

    tensors:  ``Tensors``, with the mistakes that are known
    measure:  (expected, actual) -> absolute and relative difference, and cosine
    tolerance: name -> rtol, atol
    name:     of the wrong tensor; suspects: it, and what lies between its recorded inputs and it
    failing:  names of all tensors that do not follow from their inputs
    tainted:  names of those that an earlier mistake makes wrong, they say nothing
    """

    def __init__(self, tensors, measure, tolerance, name, suspects, failing, tainted):
        self.tensors, self.measure, self.tolerance = tensors, measure, tolerance
        self.name, self.suspects, self.failing, self.tainted = name, suspects, failing, tainted
        self.floor = tolerance(name)[0] * FLOOR_PER_RTOL
        self.budget, self.passes = MOST_NUMBERS, {}

    def fits(self, general_too=True):
        """The simplest Fits, more than one if they are equally simple; the general ones only if no other is found.

        general_too: whether what can go wrong with any operation is tried as well
        """
        tables = [FORWARD.get(what, ()) or BACKWARD.get(what, ()) for what in map(self._what, self.suspects)]
        specific, general = [], []
        # The general ones of a suspect come before the specific ones of the next, since all share one budget.
        for suspect, table in zip(self.suspects, tables, strict=True):
            specific += self._tried(table, suspect)
            if general_too and not specific and len(self.suspects) <= MOST_SUSPECTS:
                general += self._tried(ANYWHERE, suspect)
        return simplest(specific, self.floor) or simplest(general, self.floor)[:1] or self._two_at_once()

    def _two_at_once(self):
        """The simplest Fits of two mistakes in operations between which nothing was recorded."""
        tables = {each: TOGETHER.get(self._what(each), ()) for each in self.suspects}
        singles = [
            (suspect, hypothesis)
            for suspect, table in tables.items()
            for mistake in table
            for hypothesis in self._hypotheses(mistake, suspect)
            if not (hypothesis.fitted or hypothesis.rule)
        ]
        fits = []
        for (one, first), (two, second) in itertools.combinations(singles, 2):
            if one == two or first.changes.keys() & second.changes.keys():
                continue
            self.budget -= sum(self.tensors.compute(each).size for each in self.suspects)
            if self.budget < 0:
                break
            both = Hypothesis(f"{first.sentence}; and {second.sentence}", first.changes | second.changes, 1)
            if (fit := self._fit(both, one)) is not None:
                fits.append(fit)
        return simplest(fits, self.floor)

    def _what(self, name):
        return self.tensors.what(name)[0]

    def _tried(self, table, suspect):
        """The Fits of a table's mistakes in one operation."""
        fits = []
        for mistake in table:
            try:
                fits += self._fits_of(mistake, suspect)
            except NOT_POSSIBLE:
                continue
        return fits

    def _fits_of(self, mistake, suspect):
        """The Fits of one mistake, as long as the budget lasts."""
        fits = []
        for hypothesis in self._hypotheses(mistake, suspect):
            self.budget -= sum(self.tensors.compute(each).size for each in self.suspects)
            if self.budget < 0:
                break
            if (fit := self._fit(hypothesis, suspect)) is not None:
                fits.append(fit)
        return fits

    def _hypotheses(self, mistake, suspect):
        """The hypotheses of one mistake in one operation."""
        what, block = self.tensors.what(suspect)
        actual = comparable(suspect, self.tensors.theirs[suspect]) if suspect == self.name else None
        right = as_compared(suspect, self.tensors.compute(suspect))
        return mistake(Observed(what, Block(self.tensors, block), suspect, right, actual, self.floor))

    def _fit(self, hypothesis, suspect):
        """A Fit if the hypothesis makes what theirs has, here and wherever else it says something; else None."""
        first = self._left(hypothesis, self.name)
        if first is None:
            return None
        size, left, predicted = first
        block = self.tensors.what(suspect)[1]
        explained, refuting, sizes, dropped = [self.name], set(), [size], set()
        for other, changed in self._others(hypothesis):
            wrong = other in self.failing
            fit = self._left(hypothesis, other, must_explain=wrong)
            if fit is not None:
                if wrong:
                    explained.append(other)
                    sizes.append(fit[0])
            elif other.startswith("grad.") and not self.name.startswith("grad."):  # it has mistakes of its own
                if self.tensors.what(other)[1] in (block, None):
                    dropped |= {what for what in changed if what.startswith("grad.")}
            elif hypothesis.rule or (
                self.tensors.what(other)[1] == block
                and (self._what(other) in hypothesis.changes or suspect != self.name)
            ):
                return None  # contradicted by a tensor beside it
            else:
                refuting.add(self.tensors.what(other)[1])
        # What it predicts here is right anyway, or a number was fitted to a single one: others must speak for it.
        alone = hypothesis.fitted and predicted.size == 1 and not hypothesis.harmless
        if len(explained) < 2 and (left is None or alone):
            return None
        changes = {what: operation for what, operation in hypothesis.changes.items() if what not in dropped}
        blocks = {block} | {self.tensors.what(n)[1] for n in explained[1:]} - refuting
        return Fit(hypothesis, changes, explained, blocks, bool(refuting), max(sizes), left or 0.0, predicted)

    def _others(self, hypothesis):
        """Pairs (name, the changes it goes through) of the other tensors of theirs that a hypothesis speaks of."""
        for other in sorted(self.tensors.theirs, key=place):
            changed = self._passed(other) & hypothesis.changes.keys()
            if other != self.name and changed and not is_consequence(self.tensors, other, self.tainted):
                yield other, changed

    def _passed(self, name):
        """What the operations are that a tensor of theirs has gone through since the recorded ones before it."""
        if name not in self.passes:
            try:
                between = self.tensors.sources(name)[1] if self._what(name) in OPERATIONS else []
            except KeyError:
                between = []
            self.passes[name] = {self._what(n) for n in (name, *between)}
        return self.passes[name]

    def _left(self, hypothesis, name, must_explain=True):
        """What a hypothesis leaves of a tensor's difference; None if that is too much, or it says too little.

        returns its size relative to the tensor's, its share of the difference (None where all that the hypothesis
        predicts is right without it), and what it predicts
        """
        actual, predicted = comparable(name, self.tensors.theirs[name]), self._predicted(hypothesis, name)
        if predicted is None or predicted.shape != actual.shape:
            return None
        right = as_compared(name, self.tensors.compute(name))
        known = ~np.isnan(predicted)  # elsewhere any value follows
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

    def _predicted(self, hypothesis, name):
        """What a hypothesis makes of a tensor's recorded inputs, NaN where it says nothing; None if it cannot."""
        only = {name, *self.tensors.sources(name)[1]}
        trial = self.tensors.trial(self.tensors.changes | hypothesis.changes, only)
        try:
            return as_compared(name, trial.compute(name))
        except (*NOT_POSSIBLE, np.linalg.LinAlgError):
            return None


def is_consequence(tensors, name, tainted):
    """Whether a tensor, or one between its recorded inputs and it, is among the tainted names."""
    return bool({name, *tensors.sources(name)[1]} & tainted)


def simplest(fits, floor):
    """Of the Fits that explain most and leave least, those that no block refutes, with the fewest fitted numbers.

    floor: rounding, relative to a tensor's size; what leaves no more leaves nothing
    """
    if not fits:
        return []
    most = max(len(fit.explained) for fit in fits)
    fits = [fit for fit in fits if len(fit.explained) == most]
    least = min(fit.size for fit in fits)
    fits = [fit for fit in fits if fit.size <= max(3 * least, floor)]

    def rank(fit):  # a rule for all blocks that shows in one only is no better than what other blocks refute
        return fit.refuted or (fit.hypothesis.rule and len(fit.blocks) < 2), fit.hypothesis.fitted

    simple = min(map(rank, fits))
    return [fit for fit in fits if rank(fit) == simple]


def _only_zeros(predicted, right):
    """Whether all that a prediction changes is to make it zero, which comes about in too many ways to prove one."""
    size = np.abs(right).max(initial=0)
    changed = np.abs(predicted - right) > 1e-4 * size
    return bool(changed.any()) and np.abs(predicted[changed]).max() <= 1e-6 * size


def comparable(name, tensor):
    """A tensor of theirs in float64; scores and their gradients as far as something depends on them."""
    return as_compared(name, tensor.astype(np.float64))


def as_compared(name, tensor):
    """A tensor with 0 where nothing depends on it."""
    return np.tril(tensor) if partly_compared(name) else tensor


def partly_compared(name):
    """Whether a tensor says nothing where the key comes after the query."""
    return re.fullmatch(r"(grad\.)?h\.\d+\.attn\.scores|grad\.h\.\d+\.attn\.probs", name) is not None
