"""What somebody handed in: a notebook that anyone may have written, recognised by its cells."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from grading.assignment import bare, functions
from minigpt2.storage.files import read_text

MOST = 100_000_000  # bytes of a notebook, its pictures included
COPY = re.compile(r"(\s*\(\d+\)|[-_ ]+copy\d*|[-_ ]+checkpoint)+$", re.I)  # as browsers and Jupyter name a second one
MOODLE = re.compile(r"_\d+_assignsubmission_.*$")


@dataclass
class Submission:
    """A notebook that was handed in.

    steps:  in their order (kind, name, source): "answer" and "added" cells as they are, "given", "check" and
        "demonstration" ones by the name of the exercise's cell
    added:  what a teacher should know of the cells, in words
    """

    path: Path
    student: str
    language: str
    assignment: object
    steps: list = field(default_factory=list)
    added: list = field(default_factory=list)


def read_cells(path):
    """(the cells of code of a notebook, each {"id", "grade_id", "source"}; its metadata).

    raises: OSError; ValueError, in words, where it cannot be read as a notebook.
    """
    try:
        notebook = json.loads(read_text(path, MOST))
        if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
            raise ValueError("no list of cells")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not a notebook: {_clean(str(error)).replace(str(path), 'the file')}") from None
    cells = []
    for cell in notebook["cells"]:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source, metadata = cell.get("source", ""), cell.get("metadata")
        source = source if isinstance(source, str) else "".join(map(str, source)) if isinstance(source, list) else ""
        nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
        cells.append({"id": str(cell.get("id", "")), "grade_id": str(grade_id or ""), "source": _clean(source)})
    metadata = notebook.get("metadata")
    return cells, metadata if isinstance(metadata, dict) else {}


def recognise(path, assignments, root=None):
    """The Submission of a notebook. Its exercise is the one with most of its cells, whatever the file is called.

    root: the folder that was searched for it, if it was found by a search
    raises: OSError, ValueError, in words, where it is no notebook of an exercise.
    """
    cells, metadata = read_cells(path)
    found = [(matched(cells, assignment), assignment) for assignment in assignments]
    matches, assignment = max(found, key=lambda pair: sum(kind != "added" for kind, *_ in pair[0]), default=([], None))
    if all(kind == "added" for kind, *_ in matches):
        raise ValueError("it is the notebook of no exercise: none of its cells belongs to one")
    language = metadata.get("language")
    submission = Submission(
        Path(path),
        student_of(Path(path), metadata, assignment.name, root),
        language if isinstance(language, str) else "",
        assignment,
    )
    _fill(submission, matches)
    return submission


def matched(cells, assignment):
    """(kind, the exercise's cell or None, source) of each cell: by its id, by its text, by the functions in it."""
    matches = []
    for cell in cells:
        source = cell["source"]
        own = assignment.by_name.get(cell["id"]) or assignment.by_name.get(cell["grade_id"])
        own = own or assignment.by_text.get(bare(source))
        if own is None:
            own = next(filter(None, map(assignment.by_function.get, functions(source))), None)
        matches.append((own.kind if own else "added", own, source))
    return matches


def _fill(submission, matches):
    """The steps of a submission, with what is missing put back and what is there twice named."""
    seen, assignment = set(), submission.assignment
    for number, (kind, own, source) in enumerate(matches, 1):
        if own is None:
            if bare(source):
                submission.steps.append(("added", f"cell {number}", source))
                submission.added.append(f"cell {number}: {_first_line(source)}")
            continue
        again, name = own.name in seen, own.name
        seen.add(name)
        if kind == "answer":
            submission.steps.append((kind, f"{name}, again" if again else name, source))
            if again:
                submission.added.append(f"{name} is there twice: the last one counts")
            continue
        if again:
            submission.added.append(f"a copy of {name}, which is worth nothing")
            continue
        submission.steps.append((kind, name, source))
        if kind == "given" and bare(source) != bare(own.shown):
            submission.steps.append(("added", f"{name}, changed", source))
            submission.added.append(f"{name}, a given cell, was changed")
    _put_back(submission, seen)
    for cell in assignment.cells:
        if cell.name not in seen and cell.kind in ("answer", "check"):
            submission.added.append(f"{cell.name} is missing" + (", and was put back" if cell.kind == "check" else ""))


def _put_back(submission, seen):
    """Add the exercise's own cells that are not there, each after the one that precedes it in the exercise."""
    before = None
    for cell in submission.assignment.cells:
        if cell.name not in seen and cell.kind in ("given", "check"):
            places = [i for i, (_, name, _) in enumerate(submission.steps) if name.partition(",")[0] == before]
            submission.steps.insert(places[-1] + 1 if places else 0, (cell.kind, cell.name, ""))
        if cell.name in seen or cell.kind in ("given", "check"):
            before = cell.name


def student_of(path, metadata, exercise, root):
    """Whose notebook it is: from its metadata, or from the name of the file, or from that of the folder.

    exercise: its name, "" if that is not known; root: the folder that was searched, or None
    """
    authors = metadata.get("authors")
    names = [each.get("name") for each in authors if isinstance(each, dict)] if isinstance(authors, list) else []
    if names := [_clean(name).strip() for name in names if isinstance(name, str) and name.strip()]:
        return ", ".join(names)[:100]
    stem = COPY.sub("", path.stem)
    number = exercise.partition("_")[0]
    rest = re.sub(re.escape(exercise), "", stem, flags=re.I) if exercise else stem
    rest = re.sub(rf"(?<![A-Za-z0-9]){re.escape(number)}(?![A-Za-z0-9])", "", rest).strip(" -_.") if exercise else rest
    if rest:
        return rest
    folder = path.resolve().parent
    if folder.name == exercise:  # nbgrader's submitted/ann/05_layer_norm
        folder = folder.parent
    if root is not None and folder == Path(root).resolve():
        return path.stem
    return MOODLE.sub("", folder.name) or path.stem


def _first_line(source):
    line = next(line for line in source.splitlines() if line.strip()).strip()
    return line if len(line) <= 60 else f"{line[:60]} ..."


def _clean(text):
    """A text that can be written: half characters are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
