"""The exercises go through nbgrader, end to end: handed out, submitted in every state, graded, and the marks read."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="needs nbgrader, of the extra 'classroom'")
nbformat, *_ = (
    pytest.importorskip(package, reason=f"needs {package}, of the extra 'notebooks'")
    for package in ("nbformat", "jupytext", "nbclient", "ipykernel")
)

FOLDER = Path(__file__).parents[1] / "notebooks/exercises"
EXERCISE = "05_layer_norm"

spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


SOLVED = {cell.id: cell.source for cell in make.annotated(FOLDER / f"{EXERCISE}.py").cells}
FORWARD, BACKWARD = SOLVED["layer_norm_forward"], SOLVED["layer_norm_backward"]
SUBMISSIONS = {
    "right": {"layer_norm_forward": FORWARD, "layer_norm_backward": BACKWARD},
    "partly": {
        "layer_norm_forward": FORWARD,
        "layer_norm_backward": BACKWARD.replace("dx_hat - mean - x_hat * along", "dx_hat - x_hat * along"),
    },
    "eps": {"layer_norm_forward": FORWARD.replace("+ eps", "+ 1e-5"), "layer_norm_backward": BACKWARD},
    "blank": {},
    "syntax": {"layer_norm_forward": "def layer_norm_forward(x:\n", "layer_norm_backward": BACKWARD},
    "endless": {"layer_norm_forward": "while True:\n    pass", "layer_norm_backward": BACKWARD},
    "cheat": {"check_layer_norm_forward": "3", "check_layer_norm_backward": "4"},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of nbgrader's own
def test_right_partly_right_blank_broken_and_endless_submissions_get_their_marks(tmp_path, monkeypatch):
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # nbgrader calls alembic
    make.course(tmp_path, limit=5)
    config = Config()
    source = (tmp_path / "nbgrader_config.py").read_text()
    exec(compile(source, "nbgrader_config.py", "exec"), {"get_config": lambda: config})
    api = NbGraderAPI(config=config)
    result = api.generate_assignment(EXERCISE)
    assert result["success"], result["log"]

    released = tmp_path / "release" / EXERCISE
    assert [path.name for path in released.iterdir()] == [f"{EXERCISE}.ipynb"], "nothing else reaches students"
    notebook = nbformat.read(released / f"{EXERCISE}.ipynb", as_version=4)
    committed = nbformat.read(make.student_path(FOLDER / f"{EXERCISE}.py"), as_version=4)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in committed.cells]

    for student, answers in SUBMISSIONS.items():
        submitted = nbformat.from_dict(notebook)
        # Some hand in the notebook of this repository rather than what nbgrader released: it has the same ids.
        submitted.cells = [cell.copy() for cell in (committed if student == "partly" else notebook).cells]
        for cell in submitted.cells:
            cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
        folder = tmp_path / "submitted" / student / EXERCISE
        folder.mkdir(parents=True)
        nbformat.write(submitted, folder / f"{EXERCISE}.ipynb")
        result = api.autograde(EXERCISE, student)
        assert result["success"], result["log"]

    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        scores = {s: gradebook.find_submission(EXERCISE, s).score for s in SUBMISSIONS}
        assert gradebook.find_assignment(EXERCISE).max_score == 10
    assert scores["right"] == 10
    assert scores["blank"] == scores["cheat"] == 0
    assert scores["partly"] == 4, "all of the forward pass, 3 + 1, and no case of the backward pass"
    # Of the nine cases of the forward pass the large eps is wrong, and so are both hidden tests.
    assert scores["eps"] == pytest.approx(round(3 * 8 / 9, 2) + 4)
    # A forward pass that does not run costs its own points, and the hidden test that needs it.
    assert scores["syntax"] == scores["endless"] == 4
