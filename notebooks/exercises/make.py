"""Make the students' notebooks and nbgrader's folder from the sources beside this file; grade with or without nbgrader.

A source is a script in jupytext's percent format. Tags give the kind of a code cell:

    # %%                                                            given: imports, pictures
    # %% tags=["answer", "id:layer_norm_forward"]                   to be written by the student
    # %% tags=["check", "id:check_layer_norm_forward", "points:3"]  worth points: the value of its last line, or all
                                                                    of them when that has no value and nothing fails

The lines between ### BEGIN SOLUTION and ### END SOLUTION, or ### BEGIN HIDDEN TESTS and ### END HIDDEN TESTS, are in
no student's file. nbgrader copies all files of an assignment's folder to students, so its folder is made in build/,
away from the sources.
"""

import argparse
import ast
import json
import re
import sys
import tempfile
import textwrap
from pathlib import Path

import jupytext
import nbformat
import numpy as np

from minigpt2.exercises import whole
from minigpt2.storage.files import atomic_write

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER)]
import build as book  # noqa: E402  (the notebooks of the book are built by build.py in the folder above)
from grading import feedback, grader  # noqa: E402
from grading.assignment import HIDDEN, Assignment, without_answers  # noqa: E402

NBGRADER = book.ROOT / "build" / "nbgrader"
SELF_STUDY = book.ROOT / "build" / "self_study"
FOLDED = "<details><summary>A solution</summary>\n\n```python\n{}\n```\n\n</details>"

ADAPTERS = FOLDER / "adapters" / "adapters.py"
POINTS = FOLDER / "adapters" / "points.json"
ADAPTERS_TEXT = '''\
"""The tests beside this file find your functions here: let each of these call yours, or write it here.

    import my_gpt2

    def gelu_forward(x):
        return my_gpt2.gelu(x)

Made by notebooks/exercises/make.py from the exercises' skeletons.
"""
'''

CONFIG = """\
# Made by notebooks/exercises/make.py.
import sys

c = get_config()
c.CourseDirectory.course_id = "minigpt2"
c.CourseDirectory.root = {root!r}
c.ClearSolutions.code_stub = {{
    "python": "# Write your code here, in place of the next line.\\nraise NotImplementedError"
}}
# Notebooks are graded as `make.py grade` does it: answers and checks in two processes.
sys.path.insert(0, {folder!r})
from grading.with_nbgrader import AUTOGRADE, SANITIZE

c.Autograde.sanitize_preprocessors = SANITIZE
c.Autograde.autograde_preprocessors = AUTOGRADE
c.Grade.limit = {limit}  # seconds for a notebook
"""

EXAMPLE = """\
example:
  python notebooks/exercises/make.py build             student/*.ipynb, adapters/, and nbgrader's build/nbgrader
  python notebooks/exercises/make.py build --solutions as well, for those who learn alone: build/self_study
  python notebooks/exercises/make.py check             do the committed files agree with the sources?
  python notebooks/exercises/make.py grade ann.ipynb   points of a student's notebook, hidden tests included
  python notebooks/exercises/make.py grade submissions/ --out marks/
                                                       those of a class: marks/marks.csv and a page for each student
  python notebooks/exercises/make.py grade             points of the solutions: full marks
"""


def build():
    """Write the students' notebooks, and a folder in which nbgrader can be started."""
    for path in sources():
        _write(student_path(path), _text(student(path)))
    _write(ADAPTERS, adapters())
    _write(POINTS, points())
    course(NBGRADER)
    print(f"{len(sources())} notebooks in {FOLDER / 'student'}; start nbgrader in {NBGRADER}")


def course(root, limit=grader.LIMIT):
    """Write the files that nbgrader starts from: root/source/<exercise>/<exercise>.ipynb and root/nbgrader_config.py.

    limit: seconds for each submission
    """
    for path in sources():
        _write(root / "source" / path.stem / f"{path.stem}.ipynb", _text(annotated(path)))
    _write(root / "nbgrader_config.py", CONFIG.format(root=str(root), folder=str(FOLDER), limit=float(limit)))


def self_study(folder):
    """Write notebooks for people who learn alone: each answer has a solution below it, folded.

    raises: ValueError when the folder is that of a class.
    """
    folder = Path(folder).resolve()
    for taken in (FOLDER, NBGRADER):
        if folder.is_relative_to(taken):
            raise ValueError(f"{folder} is in {taken}, where a class gets its files from: take another folder")
    for path in sources():
        _write(folder / f"{path.stem}.ipynb", _text(with_solutions(path)))
    print(f"{len(sources())} notebooks with folded solutions in {folder}")


def check():
    """Everything that is wrong with the committed files; [] when nothing is."""
    wanted = {student_path(path): _text(student(path)) for path in sources()}
    wanted |= {ADAPTERS: adapters(), POINTS: points()}
    found = [
        f"{target.name} does not agree with its source: python notebooks/exercises/make.py build"
        for target, text in wanted.items()
        if not target.exists() or target.read_text(encoding="utf-8") != text
    ]
    names = {path.stem for path in sources()}
    found += [
        f"{target.name} has no source: delete it"
        for target in sorted((FOLDER / "student").glob("*"))
        if target.stem not in names
    ]
    return found


def grade(paths, out=None, limit=grader.LIMIT, jobs=None, language=""):
    """The Marks of notebooks, several of which are graded at once; each has its own, whatever is in it.

    paths:    notebooks, and folders that are searched for them; none for the solutions
    out:      folder for marks.csv and a page for each student, or None
    limit:    seconds for one notebook
    jobs:     how many at once; by default as many as there are processors
    language: of the pages; by default that of a notebook's metadata, or English
    raises: OSError where there is no such file.
    """
    if not paths:
        with tempfile.TemporaryDirectory() as folder:
            for path in sources():
                _write(Path(folder) / path.name.replace(".py", ".ipynb"), _text(annotated(path)))
            return grade([folder], out, limit, jobs, language)
    marks = grader.grade_all(_found(paths), assignments(), limit, jobs)
    grader.note_doubles(marks)
    if out is not None:
        feedback.write(marks, Path(out), language)
    return marks


def assignments():
    """The exercises as they are graded."""
    return [Assignment.of(path.stem, annotated(path)) for path in sources()]


def _found(paths):
    """(notebook, the folder that was searched for it or None) for each notebook of paths; not Jupyter's own copies."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = (each for each in sorted(path.rglob("*.ipynb")) if ".ipynb_checkpoints" not in each.parts)
            found += [(each, path) for each in inside]
        elif path.exists():
            found.append((path, None))
        else:
            raise FileNotFoundError(f"{path} does not exist")
    return found


def sources():
    """The sources in the order of the exercises."""
    return sorted(FOLDER.glob("[0-9]*.py"))


def student_path(path):
    """Where the student's notebook of a source belongs."""
    return FOLDER / "student" / f"{path.stem}.ipynb"


def annotated(path):
    """The whole notebook of a source with nbgrader's metadata, solutions and hidden tests."""
    cells = []
    for index, cell in enumerate(jupytext.read(path, fmt="py:percent").cells):
        tags = dict(tag.partition(":")[::2] for tag in cell.metadata.get("tags", ()))
        cell.id = name = tags.get("id", f"{path.stem}-{index}")
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            answer, graded = "answer" in tags, "check" in tags
            cell.metadata["nbgrader"] = {
                "schema_version": 3, "grade_id": name, "grade": graded, "solution": answer, "task": False,
                "locked": not answer, **({"points": int(tags["points"])} if graded else {}),
            }  # fmt: skip
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=book.METADATA)


def student(path):
    """The notebook of a source, without solutions and hidden tests."""
    notebook = annotated(path)
    for cell in notebook.cells:
        cell.source = without_answers(cell.source)
    return notebook


def with_solutions(path):
    """The student's notebook of a source, with a cell of prose below each answer that has the solution, folded."""
    notebook = student(path)
    solutions = {cell.id: re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", cell.source) for cell in annotated(path).cells}
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.metadata.get("nbgrader", {}).get("solution"):
            solution = FOLDED.format(solutions[cell.id].rstrip("\n"))
            cells.append(nbformat.v4.new_markdown_cell(solution, id=f"{cell.id}-solution"))
    notebook.cells = cells
    return notebook


def _text(notebook):
    return nbformat.writes(notebook) + "\n"


def _write(target, text):
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target, "w") as file:
        file.write(text)


def adapters():
    """The text of adapters.py: every function that students write, with its docstring and no body."""
    text = ADAPTERS_TEXT
    for path in sources():
        for cell in annotated(path).cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                for function in ast.parse(cell.source).body:
                    if isinstance(function, ast.FunctionDef):
                        docstring = _docstring(ast.get_docstring(function), whole.TASKS[function.name])
                        function.body = [ast.Expr(ast.Constant(docstring)), ast.Raise(ast.Name("NotImplementedError"))]
                        text += f"\n\n{ast.unparse(ast.fix_missing_locations(function))}\n"
    return text


def _docstring(text, task):
    """The docstring of a function in adapters.py: that of a backward pass says what is in its cache."""
    if not task.forward or task.name == "softmax_backward":  # which gets the shares themselves
        return text if "\n" not in text else f"{_indented(text)}\n    "
    cache = task.forward(*task.cases(np.random.default_rng(0))[0].inputs.values())[1]
    keys = f"{{{', '.join(json.dumps(key) for key in cache)}}}"
    own = whole.forward_of(task.name)
    said = f"what your own {own} returned; while it returns none, ours: {keys}"
    line = textwrap.fill(f"cache: {said if own else keys}", 116, subsequent_indent=4 * " ")
    before, returns, after = text.partition("\nreturns ")
    text = f"{before}\n{line}{returns}{after}" if returns else f"{text}\n\n{line}"
    return f"{_indented(text)}\n    "


def _indented(text):
    return textwrap.indent(text, 4 * " ").lstrip()


def points():
    """The text of points.json: {exercise: {function: what its check in the notebook counts}}."""
    table = {}
    for path in sources():
        cells = annotated(path).cells
        worth = table[cells[0].source.partition("\n")[0].removeprefix("# Exercise ")] = {}
        for cell in cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                checked = re.findall(r'check\("(\w+)"', HIDDEN.sub("", cell.source))
                worth |= {name: cell.metadata.nbgrader.points / len(checked) for name in checked}
    return json.dumps(table, indent=1) + "\n"


def _line(marks):
    """The result of a notebook on a line."""
    remarks = [*(["look at it"] if marks.look_at else []), *(["see its cells"] if marks.added else [])]
    if marks.failure:
        remarks.append("could not be graded")
    points = f"{marks.points:6.2f} of {marks.possible:g}"
    return f"{marks.student[:30]:30} {marks.exercise:24} {points}  {', '.join(remarks)}".rstrip()


def main(arguments=None):
    """Returns the exit code: 1 when something is wrong, each thing on a line of stderr."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="build | check | grade")
    for command, purpose in (
        ("build", "make the students' notebooks and nbgrader's folder"),
        ("check", "do the students' notebooks agree with the sources?"),
        ("grade", "run notebooks with the hidden tests in place; points, reasons, pages for students"),
    ):
        subparser = commands.add_parser(command, help=purpose, description=purpose)
        if command == "build":
            subparser.add_argument(
                "--solutions", nargs="?", const=SELF_STUDY, metavar="FOLDER",
                help="notebooks with folded solutions too, for those who learn alone; by default in build/self_study",
            )  # fmt: skip
        if command == "grade":
            subparser.add_argument("paths", nargs="*", help="notebooks, or folders with them; by default the solutions")
            subparser.add_argument("--out", metavar="FOLDER", help="write marks.csv and a page for each student there")
            subparser.add_argument(
                "--limit", type=float, default=grader.LIMIT, metavar="SECONDS",
                help="for one notebook, by the clock on the wall (default %(default)g)",
            )  # fmt: skip
            subparser.add_argument("--jobs", type=int, help="notebooks at once; by default one for each processor")
            subparser.add_argument("--language", choices=feedback.LANGUAGES, default="", help="of the pages")
    options = parser.parse_args(arguments)
    try:
        if options.command == "build":
            build()
            if options.solutions:
                self_study(options.solutions)
        elif options.command == "check":
            found = check()
            print("\n".join(found), file=sys.stderr, end="\n" if found else "")
            return 1 if found else 0
        else:
            marks = grade(options.paths, options.out, options.limit, options.jobs, options.language)
            for each in marks:
                print(_line(each))
                for one in each.checks if len(marks) == 1 else ():
                    print(f"  {one.name:38} {one.points:5.2f} of {one.possible:g}  {one.reason}".rstrip())
            failures = [f"{each.path}: {each.failure}" for each in marks if each.failure]
            if not options.paths:
                failures += [f"{each.exercise}: less than full marks" for each in marks if each.points < each.possible]
            print("".join(f"{failure}\n" for failure in failures), file=sys.stderr, end="")
            return 1 if failures or not marks else 0
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
