"""An exercise as the teacher has it: its cells, with solutions and hidden tests, and what students see of them."""

import ast
import builtins
import re
from dataclasses import dataclass
from functools import cached_property

SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.M | re.S)
HIDDEN = re.compile(r"^ *### BEGIN HIDDEN TESTS\n.*?^ *### END HIDDEN TESTS\n?", re.M | re.S)
STUB = r"\1# Write your code here, in place of the next line.\n\1raise NotImplementedError"
DEFINED = re.compile(r"^(?:async +)?def +(\w+) *\(", re.M)  # not parsed: it may be no Python


def without_answers(source):
    """What students see of a cell."""
    return HIDDEN.sub("", SOLUTION.sub(STUB, source)).rstrip("\n")


def functions(source):
    """The functions that a cell defines, in their order."""
    return list(dict.fromkeys(DEFINED.findall(source)))


@dataclass(frozen=True)
class Cell:
    """A cell of code of an exercise.

    kind:   "given"; "demonstration", a given one that shows what the answers can do and is not needed for the checks;
        "answer"; or "check"
    points: of a check
    """

    name: str
    kind: str
    source: str
    points: float = 0

    @property
    def shown(self):
        """What students see of it."""
        return without_answers(self.source)

    @property
    def hidden(self):
        """Whether it has tests that students do not see."""
        return self.kind == "check" and bool(HIDDEN.search(self.source))


@dataclass(frozen=True)
class Assignment:
    """An exercise: its name and its cells of code."""

    name: str
    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, name, notebook):
        """That of a notebook with nbgrader's metadata, solutions and hidden tests."""
        cells = []
        for cell in notebook.cells:
            meta = cell.metadata.get("nbgrader", {})
            if cell.cell_type == "code":
                kind = "answer" if meta.get("solution") else "check" if meta.get("grade") else "given"
                points = float(meta.get("points", 0)) if kind == "check" else 0
                cells.append(Cell(meta.get("grade_id") or cell.get("id", ""), kind, cell.source, points))
        return cls(name, _with_demonstrations(cells))

    @cached_property
    def by_name(self):
        """name -> cell."""
        return {cell.name: cell for cell in self.cells}

    @cached_property
    def by_function(self):
        """Function that students write -> its cell."""
        return {name: cell for cell in self.cells if cell.kind == "answer" for name in functions(cell.source)}

    @cached_property
    def by_text(self):
        """Text of a cell as students see it, without spaces at ends of lines -> its cell."""
        return {bare(cell.shown): cell for cell in self.cells if bare(cell.shown)}

    @property
    def checks(self):
        """The cells that are worth points."""
        return [cell for cell in self.cells if cell.kind == "check"]


def bare(source):
    """A text without spaces at the ends of its lines, and without empty lines at its ends."""
    return "\n".join(line.rstrip() for line in source.splitlines()).strip("\n")


def _with_demonstrations(cells):
    """The cells, with those given ones marked that use an answer or the report of a check."""
    later = set()
    for cell in cells:
        if cell.kind != "given":
            later |= _names(cell.source, ast.Store)
    known, marked = set(dir(builtins)), []
    for cell in cells:
        kind = cell.kind
        if kind == "given":
            free = _names(cell.source, ast.Load) - _names(cell.source, ast.Store) - known
            if free & later:
                kind = "demonstration"
            else:
                known |= _names(cell.source, ast.Store)
        marked.append(Cell(cell.name, kind, cell.source, cell.points))
    return tuple(marked)


def _names(source, context):
    """The names that a cell uses (ast.Load) or binds (ast.Store)."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, context):
            found.add(node.id)
        elif context is ast.Store and isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif context is ast.Store and isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return found
