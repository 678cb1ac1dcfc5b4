"""The exercises' notebooks: full marks for the solutions, none for blank ones, and no answer in a student's file."""

import ast
import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from exercise_maker import FOLDER, SOURCES, make

from minigpt2.exercises import EXERCISES, names


def run(notebook):
    """Execute code cells one after another; {cell id: (last value or exception, what was printed)}.

    Without a kernel, which takes two seconds to start.
    """
    scope, results = {"__name__": "__main__"}, {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        printed, value = io.StringIO(), None
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                tree = ast.parse(cell.source)
                last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
                exec(compile(tree, f"<{cell.id}>", "exec"), scope)
                if last:
                    value = eval(compile(ast.Expression(last.value), f"<{cell.id}>", "eval"), scope)
            except Exception as error:
                value = error
        results[cell.id] = value, printed.getvalue()
    return results


def points(notebook):
    """(points, of how many) as nbgrader counts, of an executed notebook."""
    results, got, possible = run(notebook), 0.0, 0
    for cell in notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        if meta.get("grade"):
            value, _ = results[cell.id]
            possible += meta["points"]
            got += 0 if isinstance(value, Exception) else meta["points"] if value is None else value
    return got, possible


def blank_with_tests(path):
    """A student's untouched notebook with the hidden tests in place, as it is graded."""
    tests = {cell.id: cell for cell in make.annotated(path).cells if "grade" in cell.metadata.get("nbgrader", {})}
    notebook = make.student(path)
    for cell in notebook.cells:
        if cell.id in tests and tests[cell.id].metadata.nbgrader.grade:
            cell.source = tests[cell.id].source
    return notebook


def by_name(path):
    return path.stem


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_the_solution_has_full_marks(path):
    assert points(make.annotated(path)) == (10, 10)


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_a_blank_notebook_has_none(path):
    assert points(blank_with_tests(path)) == (0, 10)


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_an_untouched_notebook_says_what_to_do_and_shows_no_traceback(path):
    results = run(make.student(path))
    errors = {name: value for name, (value, _) in results.items() if isinstance(value, Exception)}
    assert not errors
    first = next(printed for name, (_, printed) in results.items() if name.startswith("check_"))
    assert "Fill in its body in place of `raise NotImplementedError`" in first


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_no_answer_and_no_hidden_test_is_in_a_students_file(path):
    text = make.student_path(path).read_text(encoding="utf-8")
    source = path.read_text(encoding="utf-8")
    assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text
    kept = {line.strip() for line in re.sub(r"### BEGIN.*?### END[^\n]*", "", source, flags=re.S).splitlines()}
    blocks = re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", source, flags=re.S)
    assert len(blocks) >= 3
    lines = {line.strip() for block in blocks for line in block.splitlines()}
    cells = [line.strip() for cell in json.loads(text)["cells"] for line in "".join(cell["source"]).splitlines()]
    assert not [line for line in lines - kept if len(line) > 12 and line in cells]
    assert not json.loads(text)["metadata"].get("nbgrader") and "outputs" not in re.findall(r'"outputs": \[\n', text)


def test_students_files_are_what_the_sources_say_and_nothing_else_lies_there():
    assert make.check() == []


def test_an_exercise_for_every_module_in_order_with_points_and_links_that_exist():
    assert [f"ex{path.stem}" for path in SOURCES] == [each.__name__.rpartition(".")[2] for each in EXERCISES]
    assert [int(path.stem[:2]) for path in SOURCES] == list(range(1, len(SOURCES) + 1))
    minutes = 0
    for path, following in zip(SOURCES, [*SOURCES[1:], None], strict=True):
        text = path.read_text(encoding="utf-8")
        assert re.search(rf"^# # Exercise {int(path.stem[:2])}: \w", text, re.M), path
        minutes += int(re.search(r"About (\d+) minutes, 10 points\.", text)[1])
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (FOLDER / "student" / link).exists() or make.student_path(FOLDER / link).exists(), (path, link)
        assert following is None or f"]({following.stem}.ipynb)" in text, f"{path.name} does not lead on"
        assert "<details>" in text, path
        book = re.findall(r"`(notebooks/en/\w+\.ipynb)`", text)
        assert book and all((FOLDER.parents[1] / name).exists() for name in book), path
    assert 9 * 60 <= minutes <= 11 * 60


def test_every_task_is_checked_in_its_notebook():
    for exercise, path in zip(EXERCISES, SOURCES, strict=True):
        text = path.read_text(encoding="utf-8")
        for task in exercise.TASKS:
            assert f'check("{task.name}"' in text and f"def {task.name}(" in text, (path, task.name)
            assert (FOLDER.parent / "en" / f"{task.notebook}.ipynb").exists(), task.name
    assert names() == [task.name for exercise in EXERCISES for task in exercise.TASKS]


def test_the_page_for_teachers_lists_the_exercises():
    rows = re.findall(r"^\| (\d+) \| \[(.*?)\]\((.*?)\) \| (\d+) \| (.*) \|$", (FOLDER / "README.md").read_text(), re.M)
    assert len(rows) == len(SOURCES)
    for (number, title, link, minutes, functions), path, exercise in zip(rows, SOURCES, EXERCISES, strict=True):
        text = path.read_text(encoding="utf-8")
        assert f"# # Exercise {number}: {title}\n" in text and f"About {minutes} minutes" in text, number
        assert (FOLDER / link).exists() and Path(link).stem == path.stem
        assert set(re.findall(r"`(\w+)`", functions)) == {task.name for task in exercise.TASKS}, number


@pytest.mark.slow
def test_points_are_numbers_that_nbgrader_can_read():
    for path in SOURCES:
        for value, _ in run(make.annotated(path)).values():
            assert value is None or type(value) in (float, int), (path, value)
