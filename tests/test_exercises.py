"""Exercises that check themselves: right solutions pass in every style, known mistakes are told by their names."""

import functools
import importlib
import re
import time
from bdb import BdbQuit
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.exercises import EXERCISES, call_hints, check, names
from minigpt2.exercises.guard import call

SOLUTIONS = [importlib.import_module(f"student_solutions.{each.__name__.rpartition('.')[2]}") for each in EXERCISES]
TASKS = {task.name: task for exercise in EXERCISES for task in exercise.TASKS}
RIGHT = [(name, function) for module in SOLUTIONS for name, function in module.RIGHT]
WRONG = [entry for module in SOLUTIONS for entry in module.WRONG]
# What the kinds of mistakes that any function can have are told by.
GENERAL = "An operation in place", "None came back", "for the sign", "may never end"


@functools.cache
def report_of(name, function):
    return check(name, function)


def label(entry):
    return f"{entry[0]}-{getattr(entry[1], '__name__', 'lambda')}"


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].reference and TASKS[name].seconds <= 10])
def test_our_own_solution_has_full_marks(name):
    report = check(name, TASKS[name].reference)
    assert report.passed and report.score == 1.0 and bool(report) and report.hint == "", str(report)
    assert report.text == str(report) and f"{name}: " in report.text and not report.remarks


@pytest.mark.slow
@pytest.mark.parametrize("entry", RIGHT, ids=label)
def test_right_solutions_in_other_styles_are_accepted(entry):
    name, function = entry
    report = check(name, function)
    assert report.passed and report.score == 1.0, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("entry", WRONG, ids=label)
def test_a_known_mistake_is_rejected_and_told(entry):
    name, function, words = entry
    report = report_of(name, function)
    assert not report.passed and 0 <= report.score < 1 and not report
    assert words in report.hint, str(report)
    assert " ".join(report.hint.split()) in " ".join(report.text.split())


@pytest.mark.slow
def test_every_exercise_has_six_wrong_solutions_and_every_hint_is_given_by_one():
    for exercise, module in zip(EXERCISES, SOLUTIONS, strict=True):
        assert len({function for _, function, _ in module.WRONG}) >= 6, exercise
        assert {name for name, *_ in module.RIGHT} == {task.name for task in exercise.TASKS}, "a right one of each"
        given = {(name, report_of(name, function).hint) for name, function, _ in module.WRONG}
        for task in exercise.TASKS:
            for mistake in task.mistakes:
                assert (task.name, mistake.hint) in given, f"nobody makes this mistake: {task.name}, {mistake.hint}"


def test_words_that_tests_look_for_tell_one_hint_from_all_others_of_its_task():
    for name, _, words in WRONG:
        hints = {mistake.hint for mistake in TASKS[name].mistakes if words in mistake.hint}
        assert len(hints) <= 1, (name, words)
        assert hints or any(general in words for general in GENERAL) or len(words.split()) >= 3, (name, words)


def test_names_are_unique_and_in_the_order_of_the_exercises():
    assert names() == list(TASKS) and max(Counter(names()).values()) == 1
    assert names().index("layer_norm_forward") < names().index("layer_norm_backward")
    with pytest.raises(ValueError, match=r"no task 'layernorm_forward'; did you mean 'layer_norm_forward'\?"):
        check("layernorm_forward", layer_norm_forward)


def test_other_seeds_try_other_numbers_and_our_solution_passes_them_all():
    seen = []

    def spy(x, weight, bias, eps=1e-5):
        seen.append(x.copy())
        return layer_norm_forward(x, weight, bias, eps)

    for seed in (0, 1, 0):
        assert check("layer_norm_forward", spy, seed=seed)
    third = len(seen) // 3
    assert all(np.array_equal(a, b) for a, b in zip(seen[:third], seen[2 * third :], strict=True))
    assert not np.array_equal(seen[0], seen[third])
    assert {x.dtype.name for x in seen} == {"float32", "float64"} and len({x.shape for x in seen}) >= 4


def test_ones_own_forward_pass_may_have_a_cache_of_its_own():
    def forward(x, weight, bias, eps=1e-5):
        y, cache = layer_norm_forward(x, weight, bias, eps)
        return y, {"mine": cache}

    def backward(dy, cache):
        return layer_norm_backward(dy, cache["mine"])

    assert check("layer_norm_backward", backward, forward=forward).score == 1.0
    report = check("layer_norm_backward", backward)
    assert report.score == 0 and "KeyError: 'mine'" in report.text and "Print its keys" in report.hint

    def broken(x, weight, bias, eps=1e-5):
        return x[99], {}

    report = check("layer_norm_backward", backward, forward=broken)
    assert report.score == 0 and "your own forward pass" in report.text and "return x[99], {}" in report.text


def unwritten(x, weight, bias, eps=1e-5):
    raise NotImplementedError


def fails(x, weight, bias, eps=1e-5):
    helper = np.zeros(3)
    return helper[5], {}


def leaves(x, weight, bias, eps=1e-5):
    raise SystemExit(3)


def recurses(x, weight, bias, eps=1e-5):
    return recurses(x, weight, bias, eps)


class Odd:
    def __array__(self, *_, **__):
        raise RuntimeError("no array here")

    def __eq__(self, other):
        raise RuntimeError("not to be compared")

    def __repr__(self):
        raise RuntimeError("not to be printed")

    __hash__ = None


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (unwritten, "Fill in its body"),
        (fails, "return helper[5], {}"),
        (leaves, "SystemExit: 3"),
        (recurses, "calls itself endlessly"),
        (lambda x: x, "TypeError"),
        (lambda *_: None, "None came back"),
        (lambda *_: "text", "expected   y"),
        (lambda *_: Odd(), "an object of Odd"),
        (lambda *_: ({}, {}), "expected   y"),
        (lambda x, *_: x[..., 0], "has shape (2, 3), expected (2, 3, 4)"),
        (lambda x, *_: (x > 0), "expected floating-point numbers"),
        (lambda x, *_: x, "y is the same as x"),
        (lambda x, *_: np.zeros_like(x), "zero everywhere"),
        (lambda *inputs: -layer_norm_forward(*inputs)[0], "right except for the sign"),
        (lambda *inputs: 3 * layer_norm_forward(*inputs)[0], "should be times 3"),
        (lambda *inputs: 1 + layer_norm_forward(*inputs)[0], "off by the same number everywhere, 1"),
        (lambda *inputs: layer_norm_forward(*inputs)[0].T, "right, but transposed"),
        (lambda *inputs: layer_norm_forward(*inputs)[0].ravel(), "its shape is not"),
        (lambda *inputs: layer_norm_forward(*inputs)[0].astype("float16"), "is wrong in"),
        (lambda x, *_: np.full_like(x, np.nan), "NaN in it"),
        (7, "expected   a function"),
        (None, "expected   a function"),
    ],
)
def test_whatever_a_function_does_the_check_ends_and_says_what_happened(function, words):
    report = check("layer_norm_forward", function)
    assert not report.passed and report.score < 0.5
    assert words in " ".join(report.text.split()) or words in report.text, str(report)


def test_an_endless_loop_is_stopped_at_its_line():
    def endless(x, weight, bias, eps=1e-5):
        while True:
            x = x + 1

    start = time.monotonic()
    outcome = call(endless, np.zeros((4, 1)), 0.3)
    assert outcome.late and not outcome.running and time.monotonic() - start < 5
    assert re.search(r"test_exercises\.py, line \d+, in endless: (while True:|x = x \+ 1)", outcome.place)


def test_float64_for_float32_is_right_with_a_remark():
    def double(x, weight, bias, eps=1e-5):
        return layer_norm_forward(x.astype("float64"), weight, bias, eps)

    report = check("layer_norm_forward", double)
    assert report.passed and "float32 went in" in report.remarks[0] and "Remark: float32 went in" in report.text


def test_float32_for_float64_is_too_little():
    def single(x, weight, bias, eps=1e-5):
        return layer_norm_forward(x.astype("float32"), weight.astype("float32"), bias.astype("float32"), eps)

    assert not check("layer_norm_forward", single).passed


def test_a_report_does_not_change_what_the_caller_has():
    state = np.random.get_state()[1].copy()
    check("layer_norm_forward", layer_norm_forward)
    assert np.array_equal(state, np.random.get_state()[1])


def test_the_page_about_exercises_shows_what_a_check_prints(capsys):
    page = (Path(__file__).parents[1] / "notebooks/site/exercises.md").read_text(encoding="utf-8")
    code, shown = re.search(r"# The exercises\n.*?```python\n(.*?)```.*?```\n(.*?)```", page, flags=re.S).groups()
    exec(code, {})
    printed = capsys.readouterr().out
    for part in shown.split("...\n"):
        assert part in printed


# Answers that want something from outside.


class StdinError(NotImplementedError):
    """As a notebook's kernel raises it where nobody can type."""


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (StdinError("raw_input was called, but this frontend does not support input requests."), "to be typed"),
        (StdinError("getpass was called, but this frontend does not support input requests."), "to be typed"),
        (EOFError("EOF when reading a line"), "to be typed"),
        (EOFError(), "to be typed"),
        (BdbQuit(), "to be typed"),  # breakpoint()
        (FileNotFoundError(2, "No such file or directory", "weights.txt"), "looks for a file"),
    ],
)
def test_an_answer_that_asks_is_told_so(error, hint):
    def layer_norm_forward(x, weight, bias, eps=1e-5):
        raise error

    report = str(check("layer_norm_forward", layer_norm_forward))
    assert hint in report and type(error).__name__ in report and "not written yet" not in report


def test_an_answer_that_waits_for_input_on_a_terminal_is_told_so():
    assert "to be typed" in call_hints.of_lateness('answer.py, line 3, in layer_norm_forward: n = int(input("n? "))')
    assert "to be typed" in call_hints.of_lateness("line 2: text = sys.stdin.read()")
    assert "may never end" in call_hints.of_lateness("line 2: while inputs: pass")
