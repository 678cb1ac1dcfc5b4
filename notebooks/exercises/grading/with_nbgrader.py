"""The same grading inside nbgrader: its ``autograde`` asks the judge in place of executing a notebook.

Named in nbgrader_config.py, which make.py writes.
"""

from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    IgnorePattern,
    LimitOutput,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)
from traitlets import Float

from grading import grader
from grading.assignment import Assignment
from grading.submission import matched


class _OfAnAssignment(NbGraderPreprocessor):
    """Knows the teacher's notebook."""

    def source(self, resources):
        """(the Assignment of the notebook that is graded, its cells with nbgrader's metadata: name -> cell)."""
        about = resources["nbgrader"]
        notebook = nbformat.read(self._file("source_directory", ".", about), as_version=4)
        cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
        return Assignment.of(about["notebook"], notebook), cells

    def submitted(self, resources):
        """The file that was handed in."""
        return self._file("submitted_directory", resources["nbgrader"]["student"], resources["nbgrader"])

    def _file(self, kind, student, about):
        course = self.parent.parent.coursedir
        folder = course.format_path(getattr(course, kind), student, about["assignment"])
        return Path(folder) / f"{about['notebook']}.ipynb"


class Restore(_OfAnAssignment):
    """Make a notebook one of the assignment, before nbgrader looks at it: whatever its metadata says."""

    def preprocess(self, nb, resources):
        assignment, wanted = self.source(resources)
        codes = [cell for cell in nb.cells if cell.cell_type == "code"]
        cells = [{"id": "", "grade_id": _grade_id(cell), "source": cell.source} for cell in codes]
        names = iter([own.name if own else None for _, own, _ in matched(cells, assignment)])
        seen = set()
        for cell in nb.cells:
            name = next(names) if cell.cell_type == "code" else _grade_id(cell)
            cell.metadata.pop("nbgrader", None)
            if name in wanted and name not in seen and wanted[name].cell_type == cell.cell_type:
                seen.add(name)
                cell.metadata["nbgrader"] = nbformat.from_dict(wanted[name].metadata.nbgrader)
                if wanted[name].metadata.nbgrader.locked:
                    cell.source = wanted[name].source
        nb.cells += [nbformat.from_dict(wanted[name]) for name in wanted if name not in seen]
        return nb, resources


class Grade(_OfAnAssignment):
    """Put the judge's marks into the cells, where nbgrader reads them."""

    limit = Float(grader.LIMIT, help="Seconds for one notebook, by the clock on the wall.").tag(config=True)

    def preprocess(self, nb, resources):
        assignment, _ = self.source(resources)
        marks = grader.grade(self.submitted(resources), [assignment], self.limit)
        for text in [*marks.added, *marks.look_at, *filter(None, [marks.failure])]:
            self.log.warning("%s: %s", resources["nbgrader"]["student"], text)
        checks = {check.name: check for check in marks.checks}
        for cell in nb.cells:
            name = _grade_id(cell)
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                if name in checks:
                    _show(cell, "\n".join(filter(None, [checks[name].printed.rstrip(), checks[name].reason])))
                    points = nbformat.v4.new_output("execute_result", {"text/plain": repr(checks[name].points)})
                    cell.outputs.append(points)
                elif cell.metadata.get("nbgrader", {}).get("grade") and not cell.metadata.nbgrader.solution:
                    _show(cell, marks.failure)
                    cell.outputs.append(nbformat.v4.new_output("execute_result", {"text/plain": "0.0"}))
                else:
                    _show(cell, marks.cells.get(name, ""))
        return nb, resources


def _grade_id(cell):
    """The name that nbgrader knows a cell by, or ""."""
    about = cell.metadata.get("nbgrader")
    return str(about.get("grade_id", "")) if isinstance(about, dict) else ""


def _show(cell, text):
    if text.strip():
        cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=text.rstrip() + "\n"))


SANITIZE = [Restore, ClearOutput, DeduplicateIds, OverwriteKernelspec, OverwriteCells, CheckCellMetadata]
AUTOGRADE = [
    Grade, IgnorePattern, ClearMetadataPreprocessor, LimitOutput, SaveAutoGrades, AssignLatePenalties, CheckCellMetadata
]  # fmt: skip
