"""Try a function in every case of its task, and report what is right, what is wrong and what it looks like."""

import contextlib
import copy
import io
import warnings
from dataclasses import replace

import numpy as np

from minigpt2.exercises import call_hints
from minigpt2.exercises.guard import call
from minigpt2.exercises.hints import hint_of
from minigpt2.exercises.report import Finding, Report
from minigpt2.exercises.results import describe, named
from minigpt2.exercises.trees import cast, changed_names, halved
from minigpt2.exercises.trying import attempt_of, fate, trials_of
from minigpt2.gradcheck import gradient_check

HINT_SECONDS = 60.0  # a hint that takes longer, or fails on odd results, is left out


def run(task, function, forward=None, seed=0):
    """Try ``function`` in every case of ``task``; see ``minigpt2.exercises.check``."""
    if not callable(function):
        text = f"  expected   a function\n  came back  {describe(function)}"
        return Report(task.name, (Finding("it is a function", False, text),), task.notebook)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trials = trials_of(task, forward, np.random.default_rng(seed))
        attempts = []
        for trial in trials:
            attempts.append(attempt_of(task, function, trial))
            if attempts[-1].unwritten:
                return Report(task.name, (attempts[-1].finding,), task.notebook)
            if attempts[-1].hopeless:
                break
        findings = [attempt.finding for attempt in attempts]
        findings += [Finding(trial.title, None) for trial in trials[len(findings) :]]
        findings.append(_unchanged(attempts))
        with contextlib.redirect_stdout(io.StringIO()):  # of hundreds of further calls
            findings += _again(task, function, attempts[0])
            if task.forward:
                findings.append(_differences(task, function, forward, trials[0], attempts))
            if task.serves:
                findings.append(_served(task, trials[0], attempts[0]))
            if task.limit:
                findings.append(_limited(task, function, attempts))
            wrong = next((i for i, attempt in enumerate(attempts) if not attempt.finding.passed), None)
            if wrong is not None and not findings[wrong].hint:
                hint = call(hint_of, [task, function, forward, attempts, attempts[wrong], seed], HINT_SECONDS, function)
                findings[wrong] = replace(findings[wrong], hint=hint.value if hint.ended else "")
    remarks = dict.fromkeys(attempt.remark for attempt in attempts if attempt.remark)
    return Report(task.name, tuple(findings), task.notebook, tuple(remarks))


def _unchanged(attempts):
    """Whether the function left its inputs unchanged; that only counts where it computes something right."""
    title = "its inputs stay unchanged"
    attempt = next((attempt for attempt in attempts if attempt.changed), None)
    if attempt is None:
        return Finding(title, True if any(attempt.finding.passed for attempt in attempts) else None)
    name = attempt.changed[0]
    text = f"  {name} is not the same after the call as before."
    return Finding(title, False, text, call_hints.of_change(name, attempt))


def _again(task, function, attempt):
    """A finding if another call changes what the first one gave, or what its arguments give."""
    if not attempt.finding.passed or attempt.results is None:
        return []
    call(function, list(halved(attempt.trial.arguments).values()), task.seconds)
    overwritten = attempt.wrong
    outcome = call(function, copy.deepcopy(list(attempt.trial.arguments.values())), task.seconds)
    results = call(named, [task, outcome.value], task.seconds) if outcome.ended else outcome
    for name in attempt.results:
        if overwritten or not results.ended or not attempt.equal(results.value[name], attempt.expected[name]):
            text = f"  {name} was right the first time. After a call with other arguments, it is not."
            return [Finding("a second call gives the same", False, text, call_hints.KEPT)]
    return []


def _differences(task, function, forward, trial, attempts):
    """The gradients against central differences of the forward pass."""
    title = "the gradients are those of finite differences"
    is_wrong = not forward and not attempts[0].finding.passed  # for the same inputs, which says it already
    if is_wrong or any(attempt.hopeless for attempt in attempts):
        return Finding(title, None)
    inputs = cast(trial.inputs, np.float64)
    arguments = [forward or task.forward, function, list(inputs.values())]
    outcome = call(gradient_check, arguments, 3 * task.seconds, owner=function)
    if outcome.ended and outcome.value.passed:
        return Finding(title, True)
    text = str(outcome.value) if outcome.ended else fate(outcome, task)
    for i, name in enumerate(inputs):
        text = text.replace(f"input {i}", name)
    return Finding(title, False, "\n".join(f"  {line}" for line in text.splitlines()), call_hints.DIFFERENCES)


def _served(task, trial, attempt):
    """Whether our backward pass can use the cache that the function returned, where the text says what is in it."""
    title = "its cache serves the backward pass"
    if not attempt.finding.passed:
        return Finding(title, None)
    y, cache = task.reference(*copy.deepcopy(list(trial.inputs.values())))
    dy = np.random.default_rng(0).standard_normal(y.shape)
    value = attempt.outcome.value
    if not isinstance(value, tuple) or len(value) != 2:
        return Finding(title, False, f"  came back  {describe(value)}\n  expected   y and its cache", call_hints.CACHE)
    wanted = task.serves(dy, cache)
    got = call(task.serves, [dy, value[1]], task.seconds)
    if got.ended and (got.value is None or not changed_names(wanted, got.value, "gradients")):
        return Finding(title, True)
    came = "other gradients than with ours" if got.ended else fate(got, task)
    text = f"  its keys   {describe(value[1])}\n  expected   {describe(cache)}\n  came back  {came}"
    return Finding(title, False, text, call_hints.CACHE)


def _limited(task, function, attempts):
    """Whether a function with right results keeps to the limit of its task."""
    title, mistake = task.limit
    if not all(attempt.finding.passed for attempt in attempts):
        return Finding(title, None)
    outcome = call(mistake, [function], task.seconds, owner=function)
    if not outcome.ended:
        return Finding(title, False, f"  came back  {fate(outcome, task)}", call_hints.of_fate(outcome))
    return Finding(title, not outcome.value, "  The results are right." if outcome.value else "", outcome.value or "")
