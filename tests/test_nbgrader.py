"""The exercises go through nbgrader, end to end: handed out, submitted in every state, graded, and the marks read."""

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="needs nbgrader, of the extra 'classroom'")
from exercise_maker import FOLDER, make, nbformat

from minigpt2.exercises import check

EXERCISE = "05_layer_norm"

SOLVED = {cell.id: cell.source for cell in make.annotated(FOLDER / f"{EXERCISE}.py").cells}
FORWARD, BACKWARD = SOLVED["layer_norm_forward"], SOLVED["layer_norm_backward"]
SUBMISSIONS = {
    "right": {"layer_norm_forward": FORWARD, "layer_norm_backward": BACKWARD},
    "partly": {
        "layer_norm_forward": FORWARD,
        "layer_norm_backward": BACKWARD.replace("dx_hat - mean - x_hat * along", "dx_hat - x_hat * along"),
    },
    "eps": {"layer_norm_forward": FORWARD.replace("+ eps", "+ 1e-5"), "layer_norm_backward": BACKWARD},
    "loud": {
        "layer_norm_forward": f"import sys, warnings\nwarnings.warn('careful')\n{FORWARD}".replace(
            "mean =", "print('here', file=sys.stderr); np.log(np.zeros(1)); mean =", 1
        ),
        "layer_norm_backward": BACKWARD,
    },
    "blank": {},
    "syntax": {"layer_norm_forward": "def layer_norm_forward(x:\n", "layer_norm_backward": BACKWARD},
    "endless": {
        "layer_norm_forward": "def layer_norm_forward(*inputs):\n    while True:\n        pass",
        "layer_norm_backward": BACKWARD,
    },
    "cheat": {
        "layer_norm_forward": "check = lambda *a, **k: None\nround = lambda *a: 4.0",
        "check_layer_norm_forward": "3",
        "check_layer_norm_backward": "4",
    },
    "inflated": {},
    "odd": {"layer_norm_forward": FORWARD, "layer_norm_backward": BACKWARD},
    "cut": {"layer_norm_forward": FORWARD, "layer_norm_backward": BACKWARD},
    "colab": {"layer_norm_forward": FORWARD, "layer_norm_backward": BACKWARD},
}


def changed(student, notebook):
    """What some do to more than their answers."""
    checks = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    if student == "inflated":
        for i, cell in enumerate(checks):
            added = nbformat.from_dict({**cell, "id": f"added-{i}", "source": "4.0"})
            notebook.cells.append(added)
        more = {**added.metadata.nbgrader, "grade_id": "mine", "points": 90}
        notebook.cells.append(nbformat.v4.new_code_cell("90", metadata={"nbgrader": more}))
    if student == "odd":
        checks[0].metadata.nbgrader.pop("points")
        checks[1].metadata.nbgrader.schema_version = 1
        checks[2].metadata["nbgrader"] = "none"
        notebook.cells.insert(0, nbformat.v4.new_code_cell("1", metadata={"nbgrader": {"grade": True, "points": "x"}}))
    if student == "colab":
        for cell in notebook.cells:
            cell.pop("id")
            cell.metadata = nbformat.from_dict({"id": "aBcD"})
        notebook.nbformat_minor = 0
    if student == "cut":
        notebook.cells = [cell for cell in notebook.cells if cell not in checks]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of nbgrader's own
def test_submissions_in_every_state_get_their_marks(tmp_path, monkeypatch):
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # nbgrader calls alembic
    make.course(tmp_path, limit=100)
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
        # Some hand in the notebook of this repository rather than what nbgrader released: it has the same ids.
        submitted = nbformat.from_dict(committed if student == "partly" else notebook)
        for cell in submitted.cells:
            cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
        changed(student, submitted)
        folder = tmp_path / "submitted" / student / EXERCISE
        folder.mkdir(parents=True)
        (folder / f"{EXERCISE}.ipynb").write_text(nbformat.v4.writes(submitted))
        result = api.autograde(EXERCISE, student)
        assert result["success"], result["log"]

    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        scores = {s: gradebook.find_submission(EXERCISE, s).score for s in SUBMISSIONS}
        assert gradebook.find_assignment(EXERCISE).max_score == 10
    assert scores["right"] == scores["loud"] == scores["odd"] == scores["cut"] == scores["colab"] == 10
    assert scores["blank"] == scores["cheat"] == scores["inflated"] == 0
    assert scores["partly"] == 4, "all of the forward pass, 3 + 1, and no case of the backward pass"
    # One case of the forward pass has a large eps, and is wrong, and so are both hidden tests.
    cases = len(check("layer_norm_forward", lambda *inputs: 0).findings)
    assert scores["eps"] == pytest.approx(round(3 * (1 - 1 / cases), 2) + 4)
    # A forward pass that does not run costs its own points, and the hidden test that needs it.
    assert scores["syntax"] == scores["endless"] == 4

    result = api.generate_feedback(EXERCISE, "partly")
    assert result["success"], result["log"]
    page = (tmp_path / "feedback" / "partly" / EXERCISE / f"{EXERCISE}.html").read_text()
    assert "layer_norm_backward: 0 of" in page and "What it looks like" in page
