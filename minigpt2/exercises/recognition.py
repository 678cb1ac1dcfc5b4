"""Find the mistake behind wrong results: a known one, two known ones together, or one for each output.

A mistake counts only if it predicts everything that was seen: the right outputs as right, the wrong ones to the last
digit, in every case; and where the first thing that was wrong is an error, that error. What cannot be sure says less:
see ``result_hints`` and ``experiments``.
"""

import copy
import functools
import inspect
import itertools
import re
import textwrap
import time

import numpy as np

from minigpt2.exercises.results import named

SECONDS = 3.0  # of processor time for pairs of mistakes, after which the search is given up


def known(task, attempts):
    """The hints of the known mistakes that together explain all attempts: a list of one or two, or []."""
    seen = [attempt for attempt in attempts if attempt.results is not None or attempt.error is not None or task.accept]
    first = next((attempt for attempt in seen if not attempt.finding.passed), None)
    if first is None:
        return []
    predicted = [(mistake, _prediction(task, mistake.wrong, first)) for mistake in task.mistakes]
    for mistake, prediction in predicted:
        if _fits(task, first, prediction) and _explains(task, mistake.wrong, seen):
            return [mistake.hint]
    if not task.exact and not _tells(first, seen):
        return []
    return (
        _one_for_each_output(task, first, seen, predicted)
        or _two_together(task, first, seen, predicted)
        or _in_some_outputs(task, first, seen, predicted)
    )


def _tells(first, seen):
    """Whether there is something to compare: where an output is NaN in all cases, many mistakes look alike."""
    if first.results is None:
        return True
    return all(
        any(np.isfinite(attempt.results[name]).any() for attempt in seen if attempt.results) for name in first.wrong
    )


def wrong_alone(task, attempts):
    """The wrong outputs from which our own solution makes all the others, as they came back: [] if there are none.

    What is wrong is how these are made, and nothing else. Our solution must have a line for each of them.
    """
    seen = [attempt for attempt in attempts if attempt.results is not None]
    first = next((attempt for attempt in seen if not attempt.finding.passed), None)
    if first is None or task.exact or task.forward or any(attempt.error for attempt in attempts):
        return []
    for count in (1, 2):
        for names in itertools.combinations(first.wrong, count):
            if count < len(first.wrong) and all(_follows(task, attempt, names) for attempt in seen):
                return list(names)
    return []


def _follows(task, attempt, names):
    """Whether the other outputs of an attempt follow from some of them, as our solution would make them."""
    function = _given(task.reference, names)
    if function is None:
        return False
    # These are globals of its own: see ``changed``.
    function.__globals__["given"] = {name: attempt.results[name][()] for name in names}
    return _fits(task, attempt, _prediction(task, function, attempt))


@functools.cache
def _given(function, names):
    """A function whose lines ``name = ...`` take ``given[name]``; None where it has no such line."""
    changes = []
    for name in names:
        lines = re.findall(rf"^    {name} = .*$", _source(function), re.MULTILINE)
        if len(lines) != 1:
            return None
        changes.append((lines[0], f'    {name} = given["{name}"]'))
    return changed(function, tuple(changes))


def _in_some_outputs(task, first, seen, predicted):
    """A mistake that explains some of the wrong outputs, where the others are not as it alone would make them."""
    if first.results is None or task.exact or any(attempt.results is None for attempt in seen):
        return []
    wrong = [output for output in task.outputs if any(_is_of(name, output) for name in first.wrong)]
    found = {}  # the outputs that a mistake explains -> its hint
    for mistake, prediction in predicted:
        touched = _touched(first, prediction)
        if touched and touched <= set(first.wrong):
            changed = [output for output in wrong if any(_is_of(name, output) for name in touched)]
            told = tuple(output for output in changed if _is_explained(first, prediction, output))
            if told and all(
                _is_explained(attempt, _prediction(task, mistake.wrong, attempt), output)
                for attempt in seen
                for output in told
            ):
                found.setdefault(told, mistake.hint)
    if not found:
        return []
    told = max(found, key=len)
    others = [output for output in wrong if output not in told]
    return [f"{found[told]} That explains {', '.join(told)}, but not all that is wrong with {', '.join(others)}."]


def _is_of(name, output):
    """Whether a dotted name is that of an output, or of a part of it."""
    return name.partition(".")[0] == output


def _is_explained(attempt, prediction, output):
    """Whether an output is as a mistake makes it, with finite numbers."""
    if not isinstance(prediction, dict) or prediction.keys() != attempt.results.keys():
        return False
    return all(
        attempt.equal(attempt.results[name], value) and np.isfinite(value).all()
        for name, value in prediction.items()
        if _is_of(name, output)
    )


def _one_for_each_output(task, first, seen, predicted):
    """Two or three mistakes, each of which explains some of the wrong outputs and touches no other."""
    if first.results is None or len(first.wrong) < 2:
        return []
    parts = {}  # the outputs that a mistake changes -> the mistake
    for mistake, prediction in predicted:
        touched = _touched(first, prediction)
        agrees = touched and touched < set(first.wrong)
        if agrees and all(first.equal(prediction[name], first.results[name]) for name in touched):
            parts.setdefault(touched, mistake)
    for count in (2, 3):
        for chosen in itertools.combinations(parts, count):
            if sum(map(len, chosen)) == len(first.wrong) and set().union(*chosen) == set(first.wrong):
                mistakes = [parts[touched] for touched in chosen]
                if all(_all_fit(task, attempt, mistakes) for attempt in seen):
                    return list(dict.fromkeys(mistake.hint for mistake in mistakes))
    return []


def _all_fit(task, attempt, mistakes):
    """Whether several mistakes in different outputs explain an attempt."""
    if attempt.results is None:
        return False
    merged = dict(attempt.expected)
    for mistake in mistakes:
        prediction = _prediction(task, mistake.wrong, attempt)
        if not isinstance(prediction, dict) or prediction.keys() != merged.keys():
            return False
        merged |= {name: prediction[name] for name in _touched(attempt, prediction)}
    return _fits(task, attempt, merged)


def _two_together(task, first, seen, predicted):
    """Two mistakes in one solution."""
    if all(_is_empty(attempt) for attempt in seen if not attempt.finding.passed):
        return []
    begin = time.process_time()
    for one, other in _pairs(first, predicted):
        if time.process_time() - begin > SECONDS:
            break
        orders = one.wrong + other.wrong, other.wrong + one.wrong  # a piece may lie within the other one
        both = next((both for both in orders if changed(task.reference, both)), None)
        if both is None or one.hint == other.hint:
            continue
        if _fits(task, first, _prediction(task, both, first)) and _explains(task, both, seen):
            return [one.hint, other.hint]
    return []


def _pairs(first, predicted):
    """The pairs of changes that are worth trying together, by what each of them does alone: most are not."""
    changes = [(mistake, prediction) for mistake, prediction in predicted if not callable(mistake.wrong)]
    if first.error is not None:
        alone = [(mistake, isinstance(prediction, Exception)) for mistake, prediction in changes]
        return [(one, other) for (one, its), (other, others) in itertools.combinations(alone, 2) if its or others]
    alone, wrong = [(mistake, _touched(first, prediction)) for mistake, prediction in changes], set(first.wrong)
    return [(one, other) for (one, its), (other, others) in itertools.combinations(alone, 2) if its | others == wrong]


def _explains(task, wrong, seen):
    """Whether a mistake that explains the first wrong attempt explains them all, with any error for an error."""
    for attempt in seen:
        prediction = _prediction(task, wrong, attempt)
        both_fail = attempt.error is not None and isinstance(prediction, Exception)
        if not both_fail and not _fits(task, attempt, prediction):
            return False
    return True


def _is_empty(attempt):
    """Whether lists or the like came back with nothing in them, which says too little for two mistakes."""
    values = () if attempt.results is None else attempt.results.values()
    return bool(values) and all(isinstance(value, list | dict | str) and not value for value in values)


def _touched(attempt, prediction):
    """The outputs that a mistake makes wrong, a frozenset."""
    if not isinstance(prediction, dict) or prediction.keys() != attempt.expected.keys():
        return frozenset()
    return frozenset(name for name, value in attempt.expected.items() if not attempt.equal(prediction[name], value))


def _fits(task, attempt, prediction):
    """Whether a prediction is what was seen."""
    if attempt.error is not None:
        return type(prediction) is type(attempt.error) and _text(prediction) == _text(attempt.error)
    if task.accept:  # there is more than one right result: whether the same is said of both
        verdict = isinstance(prediction, dict) and task.accept(attempt.trial.ours, *prediction.values())
        return verdict is not False and (verdict or "") == attempt.finding.hint
    if not isinstance(prediction, dict) or prediction.keys() != attempt.results.keys():
        return False
    return all(attempt.equal(attempt.results[name], prediction[name]) for name in prediction)


def _text(error):
    """What an error says, except for the number of an axis: it depends on the shape in which somebody works."""
    return re.sub(r"axis -?\d+", "axis", str(error))


def _prediction(task, wrong, attempt):
    """The results by name that a mistake has with an attempt's arguments, or the error that it raises."""
    function = wrong if callable(wrong) else changed(task.reference, wrong)
    try:
        with np.errstate(all="ignore"):
            return named(task, function(*copy.deepcopy(list(attempt.trial.ours.values()))))
    except Exception as error:
        return error


@functools.lru_cache(maxsize=4096)
def changed(function, changes):
    """A function with pieces of its source changed; None where two changes overlap: a piece is not there once.

    changes: pairs of (text in its source, text in its place)
    """
    source = _source(function)
    for old, new in changes:
        if source.count(old) != 1:
            return None
        source = source.replace(old, new)
    scope = dict(function.__globals__)
    try:
        exec(compile(source, f"<{function.__name__}, changed>", "exec"), scope)
    except SyntaxError:
        return None
    return scope[function.__name__]


@functools.cache
def _source(function):
    return textwrap.dedent(inspect.getsource(function))
