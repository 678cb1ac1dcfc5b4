"""Find out what a result depends on: change one input at a time, and see what follows.

What is told here is what happened, beside what should have happened, and so it is true of any mistake.
"""

import copy
import functools

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
    outputs:  the names of the outputs to look at
    special:  whether other cases are right, so that what is found is true of this one only
    """

    step = 1.0  # how far inputs are moved

    def __init__(self, task, function, ours, inputs, equal, outputs, special=False):
        self.task, self.function, self.ours, self.inputs, self.equal = task, function, ours, inputs, equal
        self.outputs, self.special = outputs, special
        self.results, self.expected = self._results(function, inputs), self._results(ours, inputs)

    def hint(self):
        """What the experiments found, in a sentence or two; "" where they found nothing, or one fails."""
        try:
            with np.errstate(all="ignore"):
                if told := self._is_linear():
                    return told
                told = self._depends() or self._leaks()
                return f"In this case {told}" if told and self.special else told
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
            changed = self._changed(name, _moved(value, self.step))
            results, expected = self._results(self.function, changed), self._results(self.ours, changed)
            for output in self.outputs:
                moves = not self.equal(results[output], self.results[output])
                should = not self.equal(expected[output], self.expected[output])
                if should and not moves and not self._moves(output, self._changed(name, _turned(value))):
                    where = "Where is it lost?" if self.special else f"Where does {name} come in?"
                    return f"{output} stays the same when {name} is changed. {where}"
                if moves and not should:
                    return f"{output} changes when {name} is changed, and should not."
        return ""

    def _moves(self, output, changed):
        return not self.equal(self._results(self.function, changed)[output], self.results[output])

    def _leaks(self):
        """Whether each element depends on those elements of the inputs on which it should, and on no others."""
        for name, value in self._numbers():
            for axis in range(np.ndim(value)):
                if value.shape[axis] < 2:
                    continue
                for index in (value.shape[axis] - 1, 0):
                    if found := self._leak(name, (slice(None),) * axis + (index,)):
                        return found
        return ""

    def _leak(self, name, cause):
        shown = f"{name}{_shown(cause, np.ndim(arrays_in(self.inputs)[name]))}"
        for output, (moves, should) in self._effects(name, cause).items():
            if (moves == should).all():
                continue
            moves_too, should_too = self._elsewhere._effects(name, cause)[output]
            leaks = moves & ~should & ~should_too  # not only flat here, as what is cut off
            if leaks.any():
                place = _shown(_first(leaks), moves.ndim)
                return f"{output}{place} changes when {shown} is changed, and should not."
            if (should & ~moves).any():
                stuck = should & ~moves & should_too & ~moves_too
                if (whole := _whole(stuck, should)).any():
                    place = _shown(_first(whole), moves.ndim)
                    return f"{output}{place} should change when {shown} is changed, and does not."
        return ""

    def _effects(self, name, cause):
        """Output -> where it moves when a part of an input is changed, and where it should: two arrays of bool."""
        value = arrays_in(self.inputs)[name]
        moved = value.copy()
        moved[cause] = _moved(value, self.step)[cause]
        changed = self._changed(name, moved)
        results, expected = self._results(self.function, changed), self._results(self.ours, changed)
        return {
            output: (self.equal.off(results[output], self.results[output]), self.equal.off(expected[output], before))
            for output, before in self.expected.items()
            if output in self.outputs
            and before.ndim and self.results[output].shape == results[output].shape == before.shape
        }

    @functools.cached_property
    def _elsewhere(self):
        """The same function with its numbers in other places, and moved so far that no rounding hides it."""
        other = copy.copy(self)
        other.step = 16.0
        for name, value in arrays_in(self.inputs).items():
            other.inputs = other._changed(name, _turned(value))
        other.results, other.expected = (self._results(each, other.inputs) for each in (self.function, self.ours))
        return other

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


def _moved(value, step):
    """Other numbers in place of all of these; integers are exchanged with each other, to stay ids of the vocabulary."""
    if isinstance(value, float):
        return 0.9 * value or 0.1
    if value.dtype.kind == "f":
        return value + step * (0.3 + 0.1 * np.sin(np.arange(value.size))).reshape(value.shape).astype(value.dtype)
    return _turned(value)


def _turned(value):
    """The same numbers in other places; another one for a single number."""
    if isinstance(value, float):
        return 0.8 * value or 0.2
    return np.roll(value.ravel(), 1).reshape(value.shape)


def _whole(stuck, should):
    """The elements that are stuck with all others of one index: a single one may be where the result is flat."""
    whole = np.zeros_like(stuck)
    for axis in range(stuck.ndim):
        others = tuple(other for other in range(stuck.ndim) if other != axis)
        whole |= stuck & ~(should & ~stuck).any(others, keepdims=True)
    return whole


def _first(mask):
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _shown(place, ndim):
    indices = [":" if isinstance(index, slice) else str(index) for index in place]
    return f"[{', '.join(indices + [':'] * (ndim - len(indices)))}]"
