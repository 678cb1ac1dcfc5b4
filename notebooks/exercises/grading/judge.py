"""Run the checks of one notebook, in a process that executes no line of the student's.

Started as a module, ``python -m grading.judge``: the work comes on stdin and the marks go to stdout, in JSON, so that
whatever happens to this process costs one notebook its marks and no other.
"""

import contextlib
import io
import json
import sys
import traceback

import minigpt2.exercises
from grading import cells
from grading.answers import Answers
from minigpt2.exercises import check, guard

PRINTED = 100_000  # characters kept of what a check prints


def judge(steps, checks, functions, limit):
    """The marks of a notebook.

    steps:     (kind, name, source) in their order: those of "given" and "check" cells from the exercise, those of
        "answer" and "added" ones from the student
    checks:    name of a check -> its points
    functions: that students write: name -> its cell
    limit:     seconds, for everything
    returns a dict: "checks", name -> {"points", "reason", "printed"}; "cells", name of another cell -> what it printed;
        "library", function -> library functions that it calls.
    """
    tasks = {task.name: task for exercise in minigpt2.exercises.EXERCISES for task in exercise.TASKS}
    answers = Answers(limit, {name: tasks[name].seconds for name in functions if name in tasks})
    there = {name for _, name, _ in steps}
    for name, cell in functions.items():
        answers.undefined[name] = f"the cell {cell} {f'does not define {name}' if cell in there else 'is missing'}"
    bench, marks, printed = Bench(answers, functions), {}, {}
    minigpt2.exercises.check = bench.noted
    try:
        for kind, name, source in steps:
            if kind == "check":
                marks[name] = bench.check(name, source, checks[name])
                continue
            printed[name], wrong = answers.cell(name, source)
            if kind == "given":
                bench.given(name, source)
            elif wrong:
                printed[name] += wrong
                for function, cell in functions.items():
                    if cell == name.partition(",")[0]:
                        answers.undefined[function] = f"there is no {function}, since its cell failed: {wrong}"
    finally:
        answers.close()
        minigpt2.exercises.check = check
    return {"checks": marks, "cells": printed, "library": bench.called_from_the_library()}


class Bench:
    """The namespace in which the checks run: the given cells, and a stand-in for each function of the answers."""

    def __init__(self, answers, functions):
        self.answers, self.reports = answers, []
        self.namespace = {"__name__": "__main__"} | {name: answers.proxy(name) for name in functions}
        self.allowed = set()  # names of the library that given cells have

    def noted(self, *arguments, **named):
        """``minigpt2.exercises.check``, which also notes its report."""
        self.reports.append(check(*arguments, **named))
        return self.reports[-1]

    def given(self, name, source):
        """Execute a given cell. What fails in it, fails in the checks that need it."""
        proxies = {name: value for name, value in self.namespace.items() if hasattr(value, "processor_time")}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            cells.run(source, self.namespace, name)
        for value in self.namespace.values():
            for each in getattr(value, "__mro__", [value]):
                self.allowed.add(f"{getattr(each, '__module__', '')}.{getattr(each, '__qualname__', '')}")
        self.namespace |= proxies  # no import takes the place of an answer

    def check(self, name, source, points):
        """{"points", "reason", "printed"} of a check; the reason is that of a loss, in words."""
        self.reports, printed, value, wrong = [], io.StringIO(), None, ""
        self.answers.notes.clear()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                value = cells.run(source, self.namespace, name)
            except guard.Stopped as stopped:
                value, wrong = 0, f"an answer was stopped, it takes too long {stopped.place}".strip()
            except BaseException as error:  # SystemExit of an answer as well
                value, wrong = 0, _in_words(error)
        got = float(points if value is None else value)
        got = min(max(got, 0.0), float(points)) if got == got else 0.0
        failed = next((report for report in self.reports if not report.passed), None)
        if failed is not None and (got < points or not points):
            of = "" if name.endswith(failed.name) else f"{failed.name}: "
            wrong = self.answers.notes[0] if self.answers.notes else of + _why(failed)
        reason = wrong if got < points or not points else ""
        return {"points": got, "reason": reason, "printed": printed.getvalue()[:PRINTED]}

    def called_from_the_library(self):
        """function -> library functions that it calls and that no given cell has."""
        found = {}
        for function, names in self.answers.library.items():
            new = sorted(name for name in names if not any(f"{name}.".startswith(f"{each}.") for each in self.allowed))
            if new and isinstance(function, str):
                found[function] = new
        return found


def _why(report):
    """Why a report is not right, in a sentence or a few lines."""
    finding = next(finding for finding in report.findings if finding.passed is False)
    text = report.hint or " ".join(line.strip() for line in finding.text.splitlines())
    return text if finding.title == "it is written" else f"{finding.title}: {text}"


def _in_words(error):
    """An error of a check: what it says, or else that a test failed; never its source."""
    text = str(error)
    if isinstance(error, AssertionError):
        return text or "a test found other numbers than it should"
    name = type(error).__name__
    place = getattr(error, "place", "")
    return f"{name}: {text}" + (f" ({place})" if place else "")


def main():
    """Judge the notebook that is described on stdin."""
    stdout, sys.stdout = sys.stdout, sys.stderr
    work = json.loads(sys.stdin.read())
    try:
        result = judge(**work)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    stdout.buffer.write(json.dumps(result, ensure_ascii=False).encode("utf-8", "replace"))  # half characters as "?"
    stdout.flush()


if __name__ == "__main__":
    main()
