"""Call a function in one case after the other, and compare what it returns with what it should."""

import copy
import inspect
from dataclasses import dataclass

import numpy as np

from minigpt2.exercises import call_hints
from minigpt2.exercises.guard import Outcome, call
from minigpt2.exercises.report import Finding
from minigpt2.exercises.results import Comparison, describe, describe_all, detail, named
from minigpt2.exercises.trees import cast, changed_names, has_single

WRITTEN = "it is written"  # the title of the only case where there is nothing but a skeleton


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


def trials_of(task, forward, rng):
    """The cases of a task, as Trials; the first one in float32 as well.

    forward: whose cache a backward pass gets, or None for ours
    """
    cases = task.cases(rng)
    trials = [_trial(task, case.title, case.inputs, forward, rng) for case in cases]
    if task.reference and not task.exact:
        small = cast(cases[0].inputs, np.float32)
        if has_single(small):
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
    names = names_of_backward(task)
    ours = arguments = dict(zip(names, (dy, cache), strict=True))
    problem, unwritten = "", False
    if forward:
        outcome = call(forward, copy.deepcopy(list(inputs.values())), task.seconds)
        unwritten = _is_unwritten(outcome)
        if unwritten:
            problem = "  Your own forward pass is not written yet: do that first."
        elif not outcome.ended:
            problem = f"  your own forward pass: {fate(outcome, task)}"
        elif not isinstance(outcome.value, tuple) or len(outcome.value) != 2:
            problem = f"  your own forward pass must return (y, cache), not {describe(outcome.value)}"
        else:
            arguments = dict(zip(names, (dy, outcome.value[1]), strict=True))
    return Trial(title, inputs, arguments, ours, expected, problem, unwritten)


def names_of_backward(task):
    """The names of a backward pass's arguments: dy and cache; dprobs and probs."""
    return list(inspect.signature(task.reference).parameters)[:2]


def attempt_of(task, function, trial):
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
        text = f"{tried}\n  came back  {fate(outcome, task)}"
        if trial.expected:
            text += f"\n  expected   {describe_all(trial.expected)}"
        return Attempt(trial, Finding(trial.title, False, text), outcome, hopeless=outcome.late)
    changed = tuple(name for key in arguments for name in changed_names(trial.arguments[key], arguments[key], key))
    if task.accept:
        verdict = call(task.accept, [trial.arguments, outcome.value], task.seconds)
        if not verdict.ended:
            text = f"{tried}\n  it cannot be judged: {fate(verdict, task)}"
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
    equal = Comparison(task.exact, has_single(trial.ours), trial.expected, task.ordered)
    if all(equal(results[name], trial.expected[name]) for name in results):
        finding, remark = Finding(trial.title, True), _remark(task, trial, results)
        return Attempt(trial, finding, outcome, results, equal, changed, remark=remark)
    lines = [tried, f"  came back  {describe_all(results)}"]
    lines += [detail(name, results[name], trial.expected[name], equal) for name in results]
    return Attempt(trial, Finding(trial.title, False, "\n".join(lines)), outcome, results, equal, changed)


def _remark(task, trial, results):
    """A remark on a result that is right and could be better."""
    doubled = [name for name, array in results.items() if not task.exact and array.ndim and array.dtype == np.float64]
    if not has_single(trial.arguments) or not doubled:
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


def fate(outcome, task):
    """The fate of a call that did not end well."""
    at = f"\n  at         {outcome.place}" if outcome.place else ""
    if outcome.late:
        end = "it is still running: restart the kernel" if outcome.running else "it was stopped"
        return f"nothing within {task.seconds:g} seconds; {end}{at}"
    message = f": {outcome.error}" if str(outcome.error) else ""
    return f"an error, {type(outcome.error).__name__}{message}{at}"
