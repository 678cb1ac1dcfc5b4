"""Make the students' notebooks and nbgrader's folder from the sources beside this file; grade without nbgrader.

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
import textwrap
from pathlib import Path

import jupytext
import nbformat
import numpy as np

from minigpt2.exercises import whole
from minigpt2.storage.files import atomic_write

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))
import build as book  # noqa: E402  (the notebooks of the book are built by build.py in the folder above)

NBGRADER = book.ROOT / "build" / "nbgrader"
SELF_STUDY = book.ROOT / "build" / "self_study"
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.M | re.S)
HIDDEN = re.compile(r"^ *### BEGIN HIDDEN TESTS\n.*?^ *### END HIDDEN TESTS\n?", re.M | re.S)
STUB = r"\1# Write your code here, in place of the next line.\n\1raise NotImplementedError"
FOLDED = "<details><summary>A solution</summary>\n\n```python\n{}\n```\n\n</details>"
LIMIT = 300.0  # seconds, for all cells of a notebook

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
c = get_config()
c.CourseDirectory.course_id = "minigpt2"
c.CourseDirectory.root = {root!r}
c.ClearSolutions.code_stub = {{
    "python": "# Write your code here, in place of the next line.\\nraise NotImplementedError"
}}
c.ExecutePreprocessor.timeout = {limit}  # seconds for a cell; one that takes longer gets no points
c.ExecutePreprocessor.interrupt_on_timeout = True
"""

EXAMPLE = """\
example:
  python notebooks/exercises/make.py build             student/*.ipynb, adapters/, and nbgrader's build/nbgrader
  python notebooks/exercises/make.py build --solutions as well, for those who learn alone: build/self_study
  python notebooks/exercises/make.py check             do the committed files agree with the sources?
  python notebooks/exercises/make.py grade ann.ipynb   points of a student's notebook, hidden tests included
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


def course(root, limit=LIMIT):
    """Write the files that nbgrader starts from: root/source/<exercise>/<exercise>.ipynb and root/nbgrader_config.py.

    limit: seconds for each cell of a submission
    """
    for path in sources():
        _write(root / "source" / path.stem / f"{path.stem}.ipynb", _text(annotated(path)))
    _write(root / "nbgrader_config.py", CONFIG.format(root=str(root), limit=int(limit)))


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


def grade(path, limit=LIMIT):
    """Execute a notebook with the hidden tests in place, and return {cell: (points, of how many)}.

    path: a student's notebook, recognised by the ids of its cells, or a source, whose solutions are graded
    raises: ValueError when it does not belong to an exercise or takes too long.
    """
    path = Path(path)
    if path.suffix == ".py":
        notebook = annotated(path)
    else:
        notebook = _with_tests(nbformat.read(path, as_version=4), path)
    book.run_cells(notebook, path.parent, path.name, limit, allow_errors=True)
    return {
        cell.metadata.nbgrader.grade_id: (_points(cell), cell.metadata.nbgrader.points)
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }


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
        cell.source = HIDDEN.sub("", SOLUTION.sub(STUB, cell.source)).rstrip("\n")
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


def _with_tests(notebook, path):
    """A student's notebook with the cells that students may not change as they are in the source."""
    ids = {cell.get("id") for cell in notebook.cells}
    for source in sources():
        whole = annotated(source)
        locked = {cell.id: cell for cell in whole.cells if cell.metadata.get("nbgrader", {}).get("locked")}
        if locked.keys() & ids:
            missing = sorted(locked.keys() - ids)
            if missing:
                raise ValueError(f"{path} lacks the cell {missing[0]}: take a new copy of {source.stem}.ipynb")
            notebook.cells = [locked.get(cell.get("id"), cell) for cell in notebook.cells]
            return notebook
    raise ValueError(f"{path} is the notebook of no exercise: none of its cells has the id of one")


def _points(cell):
    """The points of an executed check cell, as nbgrader counts them."""
    points = cell.metadata.nbgrader.points
    for output in cell.outputs:
        if output.output_type == "error" or output.get("name") == "stderr":
            return 0.0
        if output.output_type == "execute_result":
            return min(float(output.data["text/plain"]), points)
    return float(points)


def main(arguments=None):
    """Returns the exit code: 1 when something is wrong, each thing on a line of stderr."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="build | check | grade")
    for command, purpose in (
        ("build", "make the students' notebooks and nbgrader's folder"),
        ("check", "do the students' notebooks agree with the sources?"),
        ("grade", "execute notebooks with the hidden tests and print their points"),
    ):
        subparser = commands.add_parser(command, help=purpose, description=purpose)
        if command == "build":
            subparser.add_argument(
                "--solutions", nargs="?", const=SELF_STUDY, metavar="FOLDER",
                help="notebooks with folded solutions too, for those who learn alone; by default in build/self_study",
            )  # fmt: skip
        if command == "grade":
            subparser.add_argument("paths", nargs="*", help="students' notebooks; by default the sources")
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
            for path in options.paths or sources():
                points = grade(path)
                got, possible = map(sum, zip(*points.values(), strict=True))
                print(f"{Path(path).name:32} {got:5.1f} of {possible}", flush=True)
                for name, (mine, most) in points.items() if options.paths else ():
                    print(f"  {name:38} {mine:5.1f} of {most}")
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
