"""Grade notebooks, each by itself in a process of its own, several at once."""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from grading import library
from grading.answers import SETTINGS
from grading.submission import recognise, student_of
from minigpt2.progress import progress_bar

FOLDER = Path(__file__).resolve().parents[1]
LIMIT = 300.0  # seconds, by the clock on the wall, for one notebook
PATIENCE = 60.0  # seconds more, after which the judge itself is ended


@dataclass
class Check:
    """The result of a check.

    hidden: whether students do not see its tests
    reason: why it has fewer points than it could, or is not right, in words; "" for full ones
    printed: its report
    """

    name: str
    points: float
    possible: float
    hidden: bool
    reason: str = ""
    printed: str = ""


@dataclass
class Marks:
    """The result of a notebook.

    failure: why it could not be graded, in words, or ""
    cells:   name of a cell that is no check -> what it printed
    added:   what a teacher should know of its cells
    look_at: places that a teacher should look at: they may be honest
    """

    path: Path
    student: str
    exercise: str = ""
    language: str = ""
    checks: list[Check] = field(default_factory=list)
    failure: str = ""
    cells: dict = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    look_at: list[str] = field(default_factory=list)

    @property
    def points(self):
        """The points of all checks."""
        return sum(check.points for check in self.checks)

    @property
    def possible(self):
        """The points that there are."""
        return sum(check.possible for check in self.checks)


def grade(path, assignments, limit=LIMIT, root=None):
    """The Marks of a notebook; raises nothing, whatever is in it.

    root: the folder in which it was found, if that was searched
    """
    path = Path(path)
    try:
        submission = recognise(path, assignments, root)
    except (OSError, ValueError) as error:
        named = next((each.name for each in assignments if each.name in path.stem), "")
        return Marks(path, student_of(path, {}, named, root), failure=str(error))
    return graded(submission, limit)


def graded(submission, limit=LIMIT):
    """The Marks of a submission."""
    assignment = submission.assignment
    marks = Marks(submission.path, submission.student, assignment.name, submission.language, added=submission.added)
    sources = {cell.name: cell.source for cell in assignment.cells}
    work = {
        "steps": [
            (kind, name, sources[name] if kind in ("given", "check") else source)
            for kind, name, source in submission.steps
            if kind != "demonstration"
        ],
        "checks": {cell.name: cell.points for cell in assignment.checks},
        "functions": {name: cell.name for name, cell in assignment.by_function.items()},
        "limit": limit,
    }
    result, marks.failure = _judged(work, limit)
    for cell in assignment.checks:
        got = result["checks"].get(cell.name, {"points": 0.0, "reason": marks.failure, "printed": ""})
        marks.checks.append(Check(cell.name, got["points"], cell.points, cell.hidden, got["reason"], got["printed"]))
    marks.cells = result["cells"]
    marks.look_at = [f"{name} calls {', '.join(called)}" for name, called in result["library"].items()]
    marks.look_at += library.places(submission)
    return marks


def grade_all(paths, assignments, limit=LIMIT, jobs=None):
    """The Marks of many notebooks, in the order of ``paths``, with a bar of the progress.

    paths: (path, the folder that was searched or None)
    jobs:  how many at once; by default as many as there are processors
    """
    with progress_bar(desc="grading", total=len(paths), show=len(paths) > 1, unit="notebook") as bar:

        def work(pair):
            marks = grade(pair[0], assignments, limit, pair[1])
            bar.update()
            return marks

        with ThreadPoolExecutor(jobs or processors()) as pool:
            return list(pool.map(work, paths))


def note_doubles(marks):
    """Add to each of several submissions of one student for one exercise that there are several."""
    of = Counter((each.student, each.exercise) for each in marks)
    for each in marks:
        if each.exercise and (count := of[each.student, each.exercise]) > 1:
            each.added.append(f"one of {count} notebooks of {each.student} for this exercise")


def processors():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _judged(work, limit):
    """(what the judge says, "") or (nothing, why it says nothing)."""
    path = os.pathsep.join([str(FOLDER), *filter(None, sys.path)])
    nothing = {"checks": {}, "cells": {}, "library": {}}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "grading.judge"],
            input=json.dumps(work),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=limit + PATIENCE,
            cwd=FOLDER,  # Python looks for modules there first: not among files that were handed in
            env=os.environ | SETTINGS | {"PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return nothing, f"it was not graded within {limit + PATIENCE:g} seconds"
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return nothing, f"its grading ended: {last[0]}"
    return json.loads(done.stdout), ""
