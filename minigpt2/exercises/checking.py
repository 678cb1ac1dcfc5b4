"""Try a function in every case of its task, and find out what is wrong with it."""

import copy
import inspect
import math
import warnings
from dataclasses import dataclass, replace

import numpy as np

from minigpt2.exercises import general_hints as kinds
from minigpt2.exercises.guard import call
from minigpt2.exercises.report import Finding, Report
from minigpt2.gradcheck import gradient_check
from minigpt2.parameters import flatten

# Largest difference, relative to the largest expected element. Both are far above rounding (sums in another order:
# 1e-14 and 1e-6), and far below any mistake. An output that should be near zero is measured by the largest of all
# outputs, times the last number.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
NEAR_ZERO = 1e-2
WRITTEN = "it is written"  # the title of the only case where there is nothing but a skeleton


def run(task, function, forward=None, seed=0):
    """Try ``function`` in every case of ``task``; see ``minigpt2.exercises.check``."""
    if not callable(function):
        text = f"  expected   a function\n  came back  {_describe(function)}"
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
        unchanged = _unchanged(attempts)
        findings = [
            replace(attempt.finding, hint=attempt.finding.hint or (unchanged.hint if attempt.changed else ""))
            for attempt in attempts
        ]
        findings += [Finding(trial.title, None) for trial in trials[len(findings) :]]
        findings.append(unchanged)
        if task.forward:
            findings.append(_differences(task, function, forward, trials[0], attempts))
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

    changed:  names of the arguments that the function changed
    hopeless: whether to skip the other cases
    unwritten: whether there is only the exercise's skeleton
    """

    finding: Finding
    changed: tuple = ()
    hopeless: bool = False
    unwritten: bool = False
    remark: str = ""


def _trials(task, forward, rng):
    cases = task.cases(rng)
    trials = [_trial(task, case.title, case.inputs, forward, rng) for case in cases]
    if task.reference and not task.exact:
        small = _cast(cases[0].inputs, np.float32)
        if any(array.dtype == np.float32 for array in _arrays(small).values()):
            trials.insert(1, _trial(task, f"{cases[0].title}, in float32", small, forward, rng))
    return trials


def _trial(task, title, inputs, forward, rng):
    if not task.forward:
        exact = inputs if task.exact else _cast(inputs, np.float64)
        expected = _named(task, task.reference(*copy.deepcopy(list(exact.values())))) if task.reference else None
        return Trial(title, inputs, inputs, inputs, expected)
    y, cache = task.forward(*copy.deepcopy(list(inputs.values())))
    dy = rng.standard_normal(np.shape(y)).astype(np.asarray(y).dtype)[()]
    _, exact_cache = task.forward(*_cast(list(inputs.values()), np.float64))
    expected = _named(task, task.reference(_cast(dy, np.float64), exact_cache))
    names = list(inspect.signature(task.reference).parameters)[:2]  # dy and cache; dprobs and probs
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
            problem = f"  your own forward pass must return (y, cache), not {_describe(outcome.value)}"
        else:
            arguments = dict(zip(names, (dy, outcome.value[1]), strict=True))
    return Trial(title, inputs, arguments, ours, expected, problem, unwritten)


def _attempt(task, function, trial):
    """Call the function and compare its result."""
    if trial.problem:
        title = WRITTEN if trial.unwritten else trial.title
        return Attempt(Finding(title, False, trial.problem), hopeless=True, unwritten=trial.unwritten)
    arguments = copy.deepcopy(trial.arguments)
    outcome = call(function, list(arguments.values()), task.seconds)
    tried = f"  tried      {_describe_all(arguments)}"
    if _is_unwritten(outcome):
        text = "  Fill in its body in place of `raise NotImplementedError`, run its cell, and then this one again."
        if (name := _raised_in(outcome.error)) != getattr(function, "__name__", name):
            text = f"  {name}, which it calls, is not written yet: do that first."
        return Attempt(Finding(WRITTEN, False, text), unwritten=True)
    if not outcome.ended:
        text = f"{tried}\n  came back  {_fate(outcome, task)}"
        if trial.expected:
            text += f"\n  expected   {_describe_all(trial.expected)}"
        return Attempt(Finding(trial.title, False, text, _hint_of_fate(task, trial, outcome)), hopeless=outcome.late)
    changed = tuple(name for name in arguments if not _same(arguments[name], trial.arguments[name]))
    if task.accept:
        verdict = call(task.accept, [trial.arguments, outcome.value], task.seconds)
        if not verdict.ended:
            text = f"{tried}\n  it cannot be judged: {_fate(verdict, task)}"
            return Attempt(Finding(trial.title, False, text), changed)
        return Attempt(Finding(trial.title, not verdict.value, tried, verdict.value or ""), changed)
    results = call(_named, [task, outcome.value], task.seconds)
    if not results.ended or results.value.keys() != trial.expected.keys():
        wanted = ", ".join(trial.expected)
        text = f"{tried}\n  came back  {_describe(outcome.value)}\n  expected   {wanted}"
        return Attempt(Finding(trial.title, False, text, _hint_of_names(task, trial, outcome.value, results)), changed)
    return _compared(task, trial, results.value, tried, changed)


def _compared(task, trial, results, tried, changed):
    equal = _equality(task, trial)
    wrong = [name for name in results if not equal(results[name], trial.expected[name])]
    if not wrong:
        return Attempt(Finding(trial.title, True), changed, remark=_remark(task, trial, results))
    lines = [tried, f"  came back  {_describe_all(results)}"]
    lines += [_detail(task, name, results[name], trial.expected[name], equal) for name in results]
    hint = _recognised(task, trial, lambda outcome: _predicts(task, outcome, results, wrong, equal))
    if not hint and not task.exact:
        name = wrong[0]
        hint = kinds.of_array(name, results[name], trial.expected[name], _arrays(trial.ours), equal)
    return Attempt(Finding(trial.title, False, "\n".join(lines), hint), changed)


def _unchanged(attempts):
    """Whether the function left its inputs unchanged; that only counts where it computes something right."""
    title = "its inputs stay unchanged"
    changed = [name for attempt in attempts for name in attempt.changed]
    if not changed:
        return Finding(title, True if any(attempt.finding.passed for attempt in attempts) else None)
    name = changed[0]
    return Finding(
        title,
        False,
        f"  {name} is not the same after the call as before.",
        f"An operation in place (`{name} -= ...`, `{name}[...] = ...`, `out={name}`) writes into the array of the "
        "caller, who still needs it, as does the backward pass. A slice, a reshape and a transpose of it are the same "
        "memory. Write `a = a - b` for `a -= b`, or copy first.",
    )


def _differences(task, function, forward, trial, attempts):
    """The gradients against central differences of the forward pass."""
    title = "the gradients are those of finite differences"
    if any(attempt.hopeless for attempt in attempts):
        return Finding(title, None)
    inputs = _cast(trial.inputs, np.float64)
    arguments = [forward or task.forward, function, list(inputs.values())]
    outcome = call(gradient_check, arguments, 3 * task.seconds, owner=function)
    if outcome.ended and outcome.value.passed:
        return Finding(title, True)
    text = str(outcome.value) if outcome.ended else _fate(outcome, task)
    for i, name in enumerate(inputs):
        text = text.replace(f"input {i}", name)
    return Finding(title, False, "\n".join(f"  {line}" for line in text.splitlines()))


# Results, as arrays by name.


def _named(task, result):
    """The results of a function, by name, dotted for nested dicts. Raises where they are something else."""
    count = len(task.outputs)
    if count == 1 and not (isinstance(result, tuple) and len(result) in (1, 2) and not task.exact):
        result = (result,)
    elif isinstance(result, tuple) and len(result) == count + 1 and isinstance(result[-1], dict):
        result = result[:-1]  # the cache, which everyone may fill as they like
    named = dict(zip(task.outputs, result, strict=True))
    if task.exact:
        return {name: _plain(value) for name, value in named.items()}
    arrays = {name: np.asarray(value) for name, value in flatten(named).items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} is not an array of numbers")
    return arrays


def _plain(value):
    """Lists and Python numbers for arrays, tuples and NumPy's numbers: equal values look equal."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    return value


def _key(key):
    return tuple(_plain(item) for item in key) if isinstance(key, tuple) else _plain(key)


def _equality(task, trial):
    """(actual, expected) -> whether they are equal, up to the rounding of the numbers that the function was given."""
    if task.exact:
        return lambda actual, expected: type(actual) is type(expected) and actual == expected
    single = any(array.dtype == np.float32 for array in _arrays(trial.ours).values())
    tolerance = TOLERANCE["float32" if single else "float64"]
    floor = NEAR_ZERO * max((_size(array) for array in trial.expected.values()), default=0.0)

    def equal(actual, expected):
        if actual.shape != expected.shape or (actual.dtype.kind != "f" and expected.dtype.kind == "f"):
            return False
        scale = max(_size(expected), floor)
        return bool(np.allclose(actual, expected, rtol=0, atol=tolerance * scale, equal_nan=True))

    return equal


def _size(array):
    """The largest finite number in an array, without its sign."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


# The mistake behind a result.


def _recognised(task, trial, explains):
    """The hint of the first mistake for which ``explains(its Outcome)`` is true, or ""."""
    for mistake in task.mistakes:
        outcome = call(mistake.wrong, copy.deepcopy(list(trial.ours.values())), task.seconds)
        if explains(outcome):
            return mistake.hint
    return ""


def _predicts(task, outcome, results, wrong, equal):
    """Whether a mistake gives exactly the wrong results."""
    if not outcome.ended:
        return False
    predicted = _named(task, outcome.value)
    return all(name in predicted and equal(results[name], predicted[name]) for name in wrong)


def _hint_of_fate(task, trial, outcome):
    if outcome.late:
        return kinds.of_lateness(outcome.place)
    error = outcome.error
    hint = _recognised(
        task, trial, lambda other: type(other.error) is type(error) and str(other.error) == str(error)
    )
    return hint or kinds.of_error(error)


def _hint_of_names(task, trial, value, results):
    if value is None:
        return f"A function without `return` gives None. The last line should be `return {', '.join(task.outputs)}`."
    missing = [name for name in trial.expected if name not in results.value] if results.ended else task.outputs
    if not any(name in task.outputs for name in missing):  # the names within a nested dict differ
        odd = [name for name in results.value if name not in trial.expected]
        missing, odd = ", ".join(missing) or "none", ", ".join(odd) or "none"
        return f"The names are not as expected. Missing: {missing}. Not known here: {odd}."
    return f"These are to be returned, in this order: {', '.join(task.outputs)}."


def _remark(task, trial, results):
    """A remark on a result that is right and could be better."""
    single = [name for name, array in _arrays(trial.arguments).items() if array.dtype == np.float32]
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


def _detail(task, name, actual, expected, equal):
    """One output: that it is right, or the difference from the expected one."""
    start = f"  {name:<10} "
    if equal(actual, expected):
        return f"{start}is right"
    if task.exact:
        return f"{start}is {_shown(actual)}\n{' ' * len(start)}expected {_shown(expected)}"
    if actual.shape != expected.shape:
        return f"{start}has shape {actual.shape}, expected {expected.shape}"
    if actual.dtype.kind != "f":
        return f"{start}holds {actual.dtype}, expected floating-point numbers"
    with np.errstate(all="ignore"):
        off = ~np.isclose(actual, expected, rtol=1e-7, atol=0, equal_nan=True)
        gap = np.where(off, np.nan_to_num(np.abs(actual - expected), nan=math.inf), 0)
    worst = np.unravel_index(np.argmax(gap), gap.shape)
    if not gap.ndim:
        return f"{start}is {actual:.6g}, expected {expected:.6g}"
    place = [int(i) for i in worst]
    return (
        f"{start}is wrong in {off.sum()} of {off.size} numbers; most at {place}: {actual[worst]:.6g}, "
        f"expected {expected[worst]:.6g}"
    )


def _shown(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _describe_all(values):
    return ", ".join(f"{name} {_describe(value)}" for name, value in values.items())


def _describe(value):
    """Shapes for arrays, values for everything short."""
    if isinstance(value, np.ndarray):
        return f"{value.shape}" if value.ndim else f"{value:.6g}"
    if isinstance(value, dict) and value and any(isinstance(v, np.ndarray | dict) for v in value.values()):
        return f"{{{_describe_all(value)}}}"
    if isinstance(value, tuple) and any(isinstance(v, np.ndarray | dict) for v in value):
        return f"({', '.join(map(_describe, value))})"
    if isinstance(value, np.floating):
        return f"{value:.6g}"
    try:
        text = repr(value)
    except Exception:  # somebody's own class
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:60]} ..."


# Trees of arrays.


def _cast(value, dtype):
    """The same value with all floating-point arrays in it in another dtype."""
    if isinstance(value, np.ndarray | np.floating):
        return value.astype(dtype) if value.dtype.kind == "f" else value
    if isinstance(value, dict):
        return {key: _cast(item, dtype) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def _arrays(tree):
    return {name: leaf for name, leaf in flatten(tree).items() if isinstance(leaf, np.ndarray)}


def _same(one, other):
    """Whether two values are equal in every element of every array in them."""
    if isinstance(one, np.ndarray | np.generic):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.random.Generator):
        return True  # it is there to be drawn from
    try:
        return bool(one == other) or not isinstance(one, int | float | str | bytes)
    except Exception:  # somebody's own class
        return True
