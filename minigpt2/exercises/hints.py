"""What a wrong answer looks like: from the surest source, a known mistake, to one that only tells where to look."""

import copy

import numpy as np

from minigpt2.exercises import call_hints, result_hints
from minigpt2.exercises.experiments import Laboratory
from minigpt2.exercises.guard import call
from minigpt2.exercises.recognition import known, wrong_alone
from minigpt2.exercises.results import Comparison, named
from minigpt2.exercises.trees import has_single
from minigpt2.exercises.trying import attempt_of, names_of_backward, trials_of


def hint_of(task, function, forward, attempts, attempt, seed):
    """What it looks like, in a few sentences.

    attempts: all of them
    attempt:  the first wrong one
    seed:     of the inputs
    """
    if attempt.outcome.late:
        return call_hints.of_fate(attempt.outcome, attempt.trial.arguments)
    if attempt.results is not None and _is_forgetful(task, function, forward, attempt):
        return call_hints.FORGETFUL
    if forward and not _is_right(task, forward, attempt.trial):
        return call_hints.OWN_FORWARD
    if told := _known(task, function, forward, attempts, attempt, seed):
        return told
    if default := call_hints.of_defaults(function, task.reference, attempt.trial.inputs):
        return default
    if attempt.error is not None:
        told = call_hints.of_fate(attempt.outcome, attempt.trial.arguments)
        return f"{told} {result_hints.only_in(attempts)}".strip()
    if attempt.results is None or attempt.outcome.value is None:
        told = call_hints.of_kind(task, attempt.outcome.value, attempt.expected)
        return f"{told} {result_hints.only_in(attempts)}".strip()
    if attempt.changed:
        return call_hints.of_change(attempt.changed[0], attempt)
    alone = wrong_alone(task, attempts)
    return result_hints.follows(alone, attempt) + (
        result_hints.of_results(task, attempts, attempt, alone)
        or _experiments(task, function, forward, attempts, attempt, alone)
        or result_hints.of_cases(attempts, attempt, alone)
    )


def _known(task, function, forward, attempts, attempt, seed):
    """The known mistake, or several, and what is beside them; "" where there is none."""
    if not task.reference:
        return ""
    if hints := known(task, attempts + _others(task, function, forward, attempts, seed)):
        several = len(hints) > 1 and not task.exact
        told = (result_hints.turned(attempts) if several else "") or result_hints.together(hints)  # one rather than two
        if attempt.results is not None and attempt.changed:
            return f"{call_hints.of_change(attempt.changed[0], attempt)} Beside that, or because of it: {told}"
        return told
    failed = [each for each in attempts if each.error is not None]
    ended = [each for each in attempts if each.error is None]
    if failed and attempt.error is None and sum(not each.finding.passed for each in ended) > 2:
        hints = known(task, ended)
        if hints:
            return f"{result_hints.together(hints)} Beside that, it fails in: {failed[0].finding.title}."
    return ""


def _others(task, function, forward, attempts, seed):
    """Attempts with other inputs, where results are exact: whole numbers can be by chance what a mistake predicts."""
    if not task.exact or any(attempt.hopeless for attempt in attempts):
        return []
    return [attempt_of(task, function, trial) for trial in trials_of(task, forward, np.random.default_rng(seed + 1))]


def _is_forgetful(task, function, forward, attempt):
    """Whether calls with equal arguments give different results, the last one right after its forward pass."""
    arguments, seen = list(attempt.trial.arguments.values()), [attempt.results]
    for is_second in (False, True):
        if is_second and forward:
            inputs = copy.deepcopy(list(attempt.trial.inputs.values()))
            again = call(lambda inputs: forward(*inputs)[1], [inputs], task.seconds)
            if not again.ended:
                return False
            arguments[1] = again.value
        outcome = call(function, copy.deepcopy(arguments), task.seconds)
        if outcome.ended:  # a copy, as it may be an array that the next call writes into
            outcome = call(lambda value: copy.deepcopy(named(task, value)), [outcome.value], task.seconds)
        if not outcome.ended:
            return False
        seen.append(outcome.value)
    first, *others = seen
    return any(
        other.keys() != first.keys() or not all(attempt.equal(other[name], first[name]) for name in first)
        for other in others
    )


def _is_right(task, forward, trial):
    """Whether somebody's own forward pass gives what ours does."""

    def compared():
        actual, expected = (
            np.asarray(each(*copy.deepcopy(list(trial.inputs.values())))[0]) for each in (forward, task.forward)
        )
        return Comparison(False, has_single(trial.inputs), {"y": expected})(actual, expected)

    outcome = call(compared, [], task.seconds, forward)
    return outcome.ended and outcome.value


def _experiments(task, function, forward, attempts, attempt, alone):
    """What a change of the inputs brings to light."""
    inputs, ours = attempt.trial.inputs, task.reference
    tried = function
    if task.forward:
        upstream = names_of_backward(task)[0]
        inputs = {upstream: attempt.trial.arguments[upstream]} | inputs

        def tried(dy, *inputs):
            return function(dy, (forward or task.forward)(*inputs)[1])

        def ours(dy, *inputs):
            return task.reference(dy, task.forward(*inputs)[1])

    special = any(each.finding.passed for each in attempts)

    def found():
        return Laboratory(task, tried, ours, inputs, attempt.equal, alone or list(attempt.expected), special).hint()

    outcome = call(found, [], task.seconds, function)
    return outcome.value if outcome.ended else ""
