"""Find out what a result depends on: change one input at a time, and see what follows.

What is told here is what happened, beside what should have happened, and so it is true of any mistake.
"""

import copy

import numpy as np

from minigpt2.exercises.results import named
from minigpt2.exercises.trees import arrays_in


class Laboratory:
    """A function and our own, to be called with the same arguments, changed a little.

    task:     what the function should do
    function: (*inputs) -> results; of a backward pass, (dy, *inputs) -> results, through its forward pass
    ours:     the same, right
    inputs:   argument name -> value
    equal:    Comparison
    """

    def __init__(self, task, function, ours, inputs, equal):
        self.task, self.function, self.ours, self.inputs, self.equal = task, function, ours, inputs, equal
        self.results, self.expected = self._results(function, inputs), self._results(ours, inputs)

    def hint(self):
        """What the experiments found, in a sentence or two; "" where they found nothing, or one fails."""
        try:
            with np.errstate(all="ignore"):
                return self._is_linear() or self._depends() or self._leaks()
        except Exception:  # somebody's function with arguments that it was not tried with before
            return ""

    def _results(self, function, inputs):
        return named(self.task, function(*copy.deepcopy(list(inputs.values()))))

    def _is_linear(self):
        """A gradient is proportional to the upstream gradient."""
        if not self.task.forward:
            return ""
        upstream, dy = next(iter(self.inputs.items()))
        none = self._results(self.function, self.inputs | {upstream: dy * 0})
        twice = self._results(self.function, self.inputs | {upstream: dy * 2})
        if all(np.array_equal(none[name], value) for name, value in self.results.items()):
            return (
                f"It gives the same for any {upstream}. Where does {upstream} come in? Or is a result kept from an "
                "earlier call?"
            )
        for name in none:
            if none[name].any():
                return (
                    f"With {upstream} = 0 everywhere, {name} should be 0 and is not: some part of it is not multiplied "
                    f"by {upstream}."
                )
        for name, value in self.results.items():
            if not self.equal(twice[name], 2 * value):
                return (
                    f"Twice the {upstream} should give twice the {name}, and does not: each part of it must be "
                    f"multiplied by {upstream} once."
                )
        return ""

    def _depends(self):
        """Whether each output depends on those inputs on which it should, and on no others."""
        for name, value in self._numbers():
            changed = self._changed(name, _moved(value))
            results, expected = self._results(self.function, changed), self._results(self.ours, changed)
            for output in expected:
                moves = not self.equal(results[output], self.results[output])
                should = not self.equal(expected[output], self.expected[output])
                if should and not moves:
                    return f"{output} stays the same when {name} is changed. Where does {name} come in?"
                if moves and not should:
                    return f"{output} changes when {name} is changed, and should not."
        return ""

    def _leaks(self):
        """Whether each element depends on those elements of the inputs on which it should, and on no others."""
        for name, value in self._numbers():
            for axis in range(np.ndim(value)):
                if value.shape[axis] < 2:
                    continue
                for index in (value.shape[axis] - 1, 0):
                    moved = value.copy()
                    place = (slice(None),) * axis + (index,)
                    moved[place] = _moved(value)[place]
                    changed = self._changed(name, moved)
                    results, expected = self._results(self.function, changed), self._results(self.ours, changed)
                    if found := self._leak(f"{name}{_shown(place, value.ndim)}", results, expected):
                        return found
        return ""

    def _leak(self, cause, results, expected):
        for output, before in self.expected.items():
            if self.results[output].shape != before.shape or results[output].shape != before.shape or not before.ndim:
                continue
            should = self.equal.off(expected[output], before)
            moves = self.equal.off(results[output], self.results[output])
            if (moves & ~should).any():
                place = _shown(_first(moves & ~should), before.ndim)
                return f"{output}{place} changes when {cause} is changed, and should not."
            if (should & ~moves).any():
                place = _shown(_first(should & ~moves), before.ndim)
                return f"{output}{place} should change when {cause} is changed, and does not."
        return ""

    def _numbers(self):
        """The arrays and floating-point numbers among the inputs, by dotted name."""
        single = {name: value for name, value in self.inputs.items() if isinstance(value, float)}
        return (arrays_in(self.inputs) | single).items()

    def _changed(self, name, value):
        """The inputs with another value for one of them, which may lie within nested dicts."""
        inputs = copy.deepcopy(self.inputs)
        *path, last = name.split(".")
        node = inputs
        for key in path:
            node = node[int(key) if isinstance(node, list) else key]
        node[int(last) if isinstance(node, list) else last] = value
        return inputs


def _moved(value):
    """Other numbers in place of all of these; integers are exchanged with each other, as ids must be of the "
    "vocabulary."""
    if isinstance(value, float):
        return 0.9 * value or 0.1
    if value.dtype.kind == "f":
        return value + (0.3 + 0.1 * np.sin(np.arange(value.size))).reshape(value.shape).astype(value.dtype)
    return np.roll(value.ravel(), 1).reshape(value.shape)


def _first(mask):
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _shown(place, ndim):
    indices = [":" if isinstance(index, slice) else str(index) for index in place]
    return f"[{', '.join(indices + [':'] * (ndim - len(indices)))}]"
