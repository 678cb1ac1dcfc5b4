"""Try a function in every case of its task, and find out what is wrong with it."""

import contextlib
import copy
import inspect
import io
import warnings
from dataclasses import dataclass, replace

import numpy as np

from minigpt2.exercises import call_hints, result_hints
from minigpt2.exercises.experiments import Laboratory
from minigpt2.exercises.guard import Outcome, call
from minigpt2.exercises.recognition import known, wrong_alone
from minigpt2.exercises.report import Finding, Report
from minigpt2.exercises.results import Comparison, describe, describe_all, detail, named
from minigpt2.exercises.trees import arrays_in, cast, changed_names, halved
from minigpt2.gradcheck import gradient_check

HINT_SECONDS = 60.0  # a hint that takes longer, or fails on odd results, is left out
WRITTEN = "it is written"  # the title of the only case where there is nothing but a skeleton


def run(task, function, forward=None, seed=0):
    """Try ``function`` in every case of ``task``; see ``minigpt2.exercises.check``."""
    if not callable(function):
        text = f"  expected   a function\n  came back  {describe(function)}"
        return Report(task.name, (Finding("it is a function", False, text),), task.notebook)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trials = _trials(task, forward, np.random.default_rng(seed))
        attempts = []
        for trial in trials:
            attempts.append(_attempt(task, function, trial))
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
                hint = call(_hint, [task, function, forward, attempts, attempts[wrong], seed], HINT_SECONDS, function)
                findings[wrong] = replace(findings[wrong], hint=hint.value if hint.ended else "")
    remarks = dict.fromkeys(attempt.remark for attempt in attempts if attempt.remark)
    return Report(task.name, tuple(findings), task.notebook, tuple(remarks))


@dataclass(frozen=True)
class Trial:
    """One case, with everything that is computed before the function is called.

    inputs:    of the case
    arguments: the function's arguments, by name
    ours:      the same with the cache of our own forward pass: the arguments of the known mistakes
    expected:  the wanted result: dotted name -> array, or None where ``task.accept`` judges
    problem:   the problem in somebody's own forward pass, or ""
    unwritten: whether that is only a skeleton
    """

    title: str
    inputs: dict
    arguments: dict
    ours: dict
    expected: dict | None
    problem: str = ""
    unwritten: bool = False


@dataclass(frozen=True)
class Attempt:
    """The result of a trial.

    finding:   without a hint, unless there can be only one
    outcome:   of the call
    results:   dotted name -> array, where the function returned what it should in kind
    equal:     the comparison with ``trial.expected``
    changed:   names of the arguments that the function changed
    hopeless:  whether to skip the other cases
    unwritten: whether there is only the exercise's skeleton
    remark:    on what is right and could be better
    """

    trial: Trial
    finding: Finding
    outcome: Outcome | None = None
    results: dict | None = None
    equal: Comparison | None = None
    changed: tuple = ()
    hopeless: bool = False
    unwritten: bool = False
    remark: str = ""

    @property
    def expected(self):
        """The wanted results, by name."""
        return self.trial.expected

    @property
    def error(self):
        """The exception that the function raised, or None."""
        return self.outcome.error if self.outcome else None

    @property
    def wrong(self):
        """The names of the outputs that are not as expected."""
        return [name for name in self.results if not self.equal(self.results[name], self.expected[name])]


def _trials(task, forward, rng):
    cases = task.cases(rng)
    trials = [_trial(task, case.title, case.inputs, forward, rng) for case in cases]
    if task.reference and not task.exact:
        small = cast(cases[0].inputs, np.float32)
        if any(array.dtype == np.float32 for array in arrays_in(small).values()):
            trials.insert(1, _trial(task, f"{cases[0].title}, in float32", small, forward, rng))
    return trials


def _trial(task, title, inputs, forward, rng):
    if not task.forward:
        exact = inputs if task.exact else cast(inputs, np.float64)
        expected = named(task, task.reference(*copy.deepcopy(list(exact.values())))) if task.reference else None
        return Trial(title, inputs, inputs, inputs, expected)
    y, cache = task.forward(*copy.deepcopy(list(inputs.values())))
    dy = rng.standard_normal(np.shape(y)).astype(np.asarray(y).dtype)[()]
    _, exact_cache = task.forward(*cast(list(inputs.values()), np.float64))
    expected = named(task, task.reference(cast(dy, np.float64), exact_cache))
    names = _names_of_backward(task)
    ours = arguments = dict(zip(names, (dy, cache), strict=True))
    problem, unwritten = "", False
    if forward:
        outcome = call(forward, copy.deepcopy(list(inputs.values())), task.seconds)
        unwritten = _is_unwritten(outcome)
        if unwritten:
            problem = "  Your own forward pass is not written yet: do that first."
        elif not outcome.ended:
            problem = f"  your own forward pass: {_fate(outcome, task)}"
        elif not isinstance(outcome.value, tuple) or len(outcome.value) != 2:
            problem = f"  your own forward pass must return (y, cache), not {describe(outcome.value)}"
        else:
            arguments = dict(zip(names, (dy, outcome.value[1]), strict=True))
    return Trial(title, inputs, arguments, ours, expected, problem, unwritten)


def _names_of_backward(task):
    """The names of a backward pass's arguments: dy and cache; dprobs and probs."""
    return list(inspect.signature(task.reference).parameters)[:2]


def _attempt(task, function, trial):
    """Call the function and compare its result."""
    if trial.problem:
        title = WRITTEN if trial.unwritten else trial.title
        hint = "" if trial.unwritten else call_hints.FORWARD
        return Attempt(trial, Finding(title, False, trial.problem, hint), hopeless=True, unwritten=trial.unwritten)
    arguments = copy.deepcopy(trial.arguments)
    outcome = call(function, list(arguments.values()), task.seconds)
    tried = f"  tried      {describe_all(arguments)}"
    if _is_unwritten(outcome):
        text = "  Fill in its body in place of `raise NotImplementedError`, run its cell, and then this one again."
        if (name := _raised_in(outcome.error)) != getattr(function, "__name__", name):
            text = f"  {name}, which it calls, is not written yet: do that first."
        return Attempt(trial, Finding(WRITTEN, False, text), unwritten=True)
    if not outcome.ended:
        text = f"{tried}\n  came back  {_fate(outcome, task)}"
        if trial.expected:
            text += f"\n  expected   {describe_all(trial.expected)}"
        return Attempt(trial, Finding(trial.title, False, text), outcome, hopeless=outcome.late)
    changed = tuple(name for key in arguments for name in changed_names(trial.arguments[key], arguments[key], key))
    if task.accept:
        verdict = call(task.accept, [trial.arguments, outcome.value], task.seconds)
        if not verdict.ended:
            text = f"{tried}\n  it cannot be judged: {_fate(verdict, task)}"
            finding = Finding(trial.title, False, text, call_hints.KIND)
        else:
            finding = Finding(trial.title, not verdict.value, tried, verdict.value or "")
        return Attempt(trial, finding, outcome, changed=changed)
    results = call(named, [task, outcome.value], task.seconds)
    if not results.ended or results.value.keys() != trial.expected.keys():
        wanted = ", ".join(trial.expected)
        text = f"{tried}\n  came back  {describe(outcome.value)}\n  expected   {wanted}"
        return Attempt(trial, Finding(trial.title, False, text), outcome, changed=changed)
    return _compared(task, trial, outcome, results.value, tried, changed)


def _compared(task, trial, outcome, results, tried, changed):
    single = any(array.dtype == np.float32 for array in arrays_in(trial.ours).values())
    equal = Comparison(task.exact, single, trial.expected, task.ordered)
    if all(equal(results[name], trial.expected[name]) for name in results):
        finding, remark = Finding(trial.title, True), _remark(task, trial, results)
        return Attempt(trial, finding, outcome, results, equal, changed, remark=remark)
    lines = [tried, f"  came back  {describe_all(results)}"]
    lines += [detail(name, results[name], trial.expected[name], equal) for name in results]
    return Attempt(trial, Finding(trial.title, False, "\n".join(lines)), outcome, results, equal, changed)


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
    text = str(outcome.value) if outcome.ended else _fate(outcome, task)
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
    fate = "other gradients than with ours" if got.ended else _fate(got, task)
    text = f"  its keys   {describe(value[1])}\n  expected   {describe(cache)}\n  came back  {fate}"
    return Finding(title, False, text, call_hints.CACHE)


def _limited(task, function, attempts):
    """Whether a function with right results keeps to the limit of its task."""
    title, mistake = task.limit
    if not all(attempt.finding.passed for attempt in attempts):
        return Finding(title, None)
    outcome = call(mistake, [function], task.seconds, owner=function)
    if not outcome.ended:
        return Finding(title, False, f"  came back  {_fate(outcome, task)}", _fated(outcome))
    return Finding(title, not outcome.value, "  The results are right." if outcome.value else "", outcome.value or "")


# The hint.


def _hint(task, function, forward, attempts, attempt, seed):
    """What it looks like, from the surest source to the one that can only tell where to look."""
    if attempt.outcome.late:
        return _fated(attempt.outcome, attempt.trial.arguments)
    if attempt.results is not None and _is_forgetful(task, function, forward, attempt):
        return call_hints.FORGETFUL
    if forward and not _is_right(task, forward, attempt.trial):
        return call_hints.OWN_FORWARD
    if told := _known(task, function, forward, attempts, attempt, seed):
        return told
    if default := call_hints.of_defaults(function, task.reference, attempt.trial.inputs):
        return default
    if attempt.error is not None:
        return f"{_fated(attempt.outcome, attempt.trial.arguments)} {result_hints.only_in(attempts)}".strip()
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
    return [_attempt(task, function, trial) for trial in _trials(task, forward, np.random.default_rng(seed + 1))]


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
        single = any(array.dtype == np.float32 for array in arrays_in(trial.inputs).values())
        return Comparison(False, single, {"y": expected})(actual, expected)

    outcome = call(compared, [], task.seconds, forward)
    return outcome.ended and outcome.value


def _fated(outcome, arguments=None):
    """What the end of a call that did not end well may mean."""
    if outcome.late:
        return call_hints.of_lateness(outcome.place)
    return call_hints.of_error(outcome.error, outcome.place, arguments or {})


def _experiments(task, function, forward, attempts, attempt, alone):
    """What a change of the inputs brings to light."""
    inputs, ours = attempt.trial.inputs, task.reference
    tried = function
    if task.forward:
        upstream = _names_of_backward(task)[0]
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


def _remark(task, trial, results):
    """A remark on a result that is right and could be better."""
    single = [name for name, array in arrays_in(trial.arguments).items() if array.dtype == np.float32]
    doubled = [name for name, array in results.items() if not task.exact and array.ndim and array.dtype == np.float64]
    if not single or not doubled:
        return ""
    return (
        f"float32 went in, and {doubled[0]} came back as float64: right, in twice the memory and half the speed. "
        "np.zeros and np.ones are of float64 unless you say dtype=x.dtype, and so is np.sqrt of an integer; "
        "use math.sqrt or ** 0.5 there. Is it in here, or in a function that is called?"
    )


# In words.


def _is_unwritten(outcome):
    """Whether a call met `raise NotImplementedError`; a library's own kind of this error says something else."""
    return type(outcome.error) is NotImplementedError


def _raised_in(error):
    """The name of the function that raised an error."""
    if name := getattr(error, "function", ""):  # in another process
        return name
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return last.tb_frame.f_code.co_name


def _fate(outcome, task):
    """The fate of a call that did not end well."""
    at = f"\n  at         {outcome.place}" if outcome.place else ""
    if outcome.late:
        end = "it is still running: restart the kernel" if outcome.running else "it was stopped"
        return f"nothing within {task.seconds:g} seconds; {end}{at}"
    message = f": {outcome.error}" if str(outcome.error) else ""
    return f"an error, {type(outcome.error).__name__}{message}{at}"
