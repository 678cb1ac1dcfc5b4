"""Notebooks of a class are graded, whatever is in them: what was asked for counts, and nothing else does."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict, namedtuple
from pathlib import Path

import numpy as np
import pytest
from exercise_maker import FOLDER, make, nbformat

from minigpt2 import GPT2Config

SOURCE = FOLDER / "05_layer_norm.py"

from grading import border, cells, feedback, grader, library, submission  # noqa: E402  (make.py knows where)
from grading.judge import judge  # noqa: E402

ASSIGNMENTS = make.assignments()
ASSIGNMENT = next(each for each in ASSIGNMENTS if each.name == SOURCE.stem)
SOLVED = {cell.name: cell.source for cell in ASSIGNMENT.cells}
FORWARD, BACKWARD = SOLVED["layer_norm_forward"], SOLVED["layer_norm_backward"]
HEAD = "def layer_norm_forward(x, weight, bias, eps=1e-5):\n"
BACK_HEAD = "def layer_norm_backward(dy, cache):\n"


def notebook(forward=FORWARD, backward=BACKWARD, added=()):
    """A student's notebook of exercise 5, as JSON; ``added`` cells come first. None leaves an answer blank."""
    made = make.student(SOURCE)
    for cell in made.cells:
        answer = {"layer_norm_forward": forward, "layer_norm_backward": backward}.get(cell.id)
        cell.source = cell.source if answer is None else answer
    made.cells[:0] = [nbformat.v4.new_code_cell(source) for source in added]
    return json.loads(json.dumps(made))


def of(made, name):
    """The index of a cell in a notebook."""
    return next(i for i, cell in enumerate(made["cells"]) if cell.get("id") == name)


def within(function, lines):
    """An answer with lines added at the beginning of its body's own."""
    first = next(line for line in function.splitlines() if re.match("    (mean|x_hat)", line))
    return function.replace(first, f"{lines}\n{first}", 1)


def inflated():
    made = notebook(None, None)
    for cell in [cell for cell in made["cells"] if cell["metadata"].get("nbgrader", {}).get("grade")]:
        made["cells"].append({**cell, "id": f"x-{cell['id']}", "source": "4.0"})
    about = {**cell["metadata"]["nbgrader"], "grade_id": "mine", "points": 90}
    made["cells"].append({**cell, "id": "mine", "source": "90", "metadata": {"nbgrader": about}})
    return made


def from_colab():
    made = notebook()
    made["nbformat_minor"] = 0
    for cell in made["cells"]:
        del cell["id"]
        cell["metadata"] = {"id": "aBcD", "colab": {}}
    return made


def with_copies():
    made = notebook()
    i = of(made, "check_layer_norm_forward")
    made["cells"].insert(i + 1, {**made["cells"][i], "id": "copy"})
    i = of(made, "layer_norm_forward")
    made["cells"].insert(i, {**made["cells"][i], "source": f"{HEAD}    return x, {{}}\n"})
    return made


def without(*names):
    made = notebook()
    made["cells"] = [cell for cell in made["cells"] if cell["id"] not in names]
    return made


# name -> (notebook, points or what says why there are none, what a teacher is told)
CLASS = {
    "right": (notebook(), 10, ""),
    "blank": (notebook(None, None), 0, ""),
    # 1. Cells that are worth points, added.
    "inflated": (inflated(), 0, "a copy of check_layer_norm_forward, which is worth nothing"),
    # 2. What is written to stderr.
    "loud": (
        notebook(
            "import logging, sys, warnings\nfrom tqdm import tqdm\n"
            + within(
                FORWARD,
                "    warnings.warn('hm'); logging.warning('hm'); print('hm', file=sys.stderr)\n"
                "    np.log(np.zeros(2)), [0 for _ in tqdm(range(3))]",
            )
        ),
        10,
        "",
    ),
    # 5. Notebooks that are not as they should be.
    "endless": (notebook(f"{HEAD}    while True:\n        pass\n"), 4, ""),
    "stubborn": (
        notebook(f"{HEAD}    while True:\n        try:\n            while True: pass\n        except: pass\n"), 4, ""
    ),
    "asleep": (notebook(f"{HEAD}    import time; time.sleep(1e9)\n"), 4, ""),
    "in_c": (notebook(f"{HEAD}    return 10**10**10\n"), 4, ""),
    "gone": (notebook("import os; os._exit(0)"), 4, "os._exit(0)"),
    "goes": (notebook(f"{HEAD}    import os; os._exit(3)\n"), 4, "os._exit(3)"),
    "exits": (notebook(f"{HEAD}    raise SystemExit(2)\n"), 4, ""),
    "asks": (notebook(f"{HEAD}    return input('x?')\n"), 4, ""),
    "syntax": (notebook("def layer_norm_forward(x:\n"), 4, ""),
    "nested": (notebook("x = " + "(" * 5000), 4, ""),
    "long": (notebook("x = " + "-" * 200_000 + "1"), 4, "too many to be searched"),
    "null": (notebook(f"x = '\0'\n{FORWARD}"), 4, ""),
    "half": (notebook(f"x = '\ud800'\n{FORWARD}"), 10, ""),
    "no_answer": (without("layer_norm_forward"), 4, "layer_norm_forward is missing"),
    "no_checks": (
        without("check_layer_norm_forward", "hidden_layer_norm_backward", "05_layer_norm-1"), 10,
        "check_layer_norm_forward is missing, and was put back",
    ),
    "copies": (with_copies(), 10, "layer_norm_forward is there twice: the last one counts"),
    "colab": (from_colab(), 10, ""),
    "helper": (
        notebook(FORWARD.replace("(x - mean) ** 2", "square(x - mean)"), added=["def square(x): return x**2"]), 10,
        "def square(x)",
    ),
    "magic": (notebook(f"%matplotlib inline\n{FORWARD}", added=["!pip list", "%%time\nx = 1"]), 10, "!pip list"),
    "not_json": (b"this is {", "not a notebook", ""),
    "empty": (b"", "not a notebook", ""),
    "deep": (b"[" * 200_000, "not a notebook", ""),
    "other": (json.loads(json.dumps(nbformat.v4.new_notebook())), "of no exercise", ""),
    "marked": (b"\xef\xbb\xbf" + json.dumps(notebook()).encode(), 10, ""),
    # 7. Cheats.
    "redefines": (
        notebook(
            "class R: score = 1; passed = True; hint = ''\ncheck = lambda *a, **k: R()\nround = lambda *a: 4.0\n"
            f"{HEAD}    return x\n",
            None,
        ),
        0,
        "check = lambda",
    ),
    "patches": (
        notebook(
            "from minigpt2.exercises import checking\nfrom minigpt2.exercises.report import Report\n"
            "Report.score, Report.passed, Report.__bool__ = 1.0, True, lambda self: True\n"
            "checking.TOLERANCE = dict(float64=1e9, float32=1e9)\n"
            "from minigpt2.exercises import results\nresults.TOLERANCE.update(checking.TOLERANCE)\n"
            "np.allclose = lambda *a, **k: True\n"
            f"{HEAD}    return x * 0, {{}}\n",
            f"{BACK_HEAD}    return dy * 0, dy[0, 0] * 0, dy[0, 0] * 0\n",
        ),
        0,
        "checking.TOLERANCE",
    ),
    "frames": (
        notebook(
            f"import sys\n{HEAD}    frame = sys._getframe()\n    while frame:\n"
            "        for value in [*frame.f_locals.values()]:\n"
            "            if getattr(value, 'expected', None): return tuple(value.expected.values())\n"
            "        frame = frame.f_back\n",
            f"{BACK_HEAD}    return layer_norm_forward(dy, dy, dy)\n",
        ),
        0,
        "sys._getframe()",
    ),
    "forges": (
        notebook(
            within(FORWARD, "    import os\n    for i in range(3, 20):\n        try: os.write(i, b'garbage!' * 9)\n"
                            "        except OSError: pass")
        ),
        4,
        "os.write",
    ),
    "kills": (notebook(f"import os, signal\nos.kill(os.getppid(), signal.SIGTERM)\n{FORWARD}"), 0, "os.kill"),
    # What is found, and not punished.
    "references": (
        notebook(
            "from minigpt2.exercises import ex05_layer_norm as ex\nlayer_norm_forward = ex.TASKS[0].reference",
            "layer_norm_backward = ex.TASKS[1].reference",
        ),
        10,
        "layer_norm_backward calls minigpt2.exercises.ex05_layer_norm.layer_norm_backward",
    ),
    "hides": (
        notebook(
            "names = 'minigpt2.components.layer_norm'\nfound = getattr(np, '__builtins__')['__import__'](names, "
            "fromlist=['x'])\n" + HEAD + "    return found.layer_norm_forward(x, weight, bias, eps)\n"
        ),
        10,
        "layer_norm_forward calls minigpt2.components.layer_norm.layer_norm_forward",
    ),
    "reads": (notebook(f"exec(open({str(SOURCE)!r}).read())", "pass"), 10, "exec(open("),
    # What comes back over the border.
    "prints": (notebook(within(FORWARD, "    print('here', x.shape)")), 10, ""),
    "floods": (notebook(within(FORWARD, "    print('y' * 10**7)")), 10, ""),
    "halves": (notebook(f"{HEAD}    print('\\ud800')\n    raise ValueError('\\ud800')\n"), 4, ""),
    "changes": (notebook(within(FORWARD, "    weight *= 2; weight /= 2; bias += 1; bias -= 0.5")), 4, ""),
    "defaults": (
        notebook(
            "from collections import defaultdict\n"
            + re.sub(r"return (x_hat.*), (\{.*\})", r"return \1, defaultdict(dict, \2)", FORWARD),
            BACKWARD.replace("    tokens", "    'mean' in cache or cache.default_factory()\n    tokens", 1),
        ),
        10,
        "",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    """{name: the Marks} of the whole class, graded in one go."""
    folder = tmp_path_factory.mktemp("class")
    for name, (made, _, _) in CLASS.items():
        (folder / name).mkdir()
        text = made if isinstance(made, bytes) else json.dumps(made).encode()
        (folder / name / "05_layer_norm.ipynb").write_bytes(text)
    return {each.path.parent.name: each for each in make.grade([folder], out=folder / "marks", limit=100)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASS)
def test_each_of_a_class_gets_what_it_deserves(marks, name):
    _, points, told = CLASS[name]
    mine = marks[name]
    if isinstance(points, str):
        assert points in mine.failure and mine.points == mine.possible == 0
    else:
        assert (mine.points, mine.possible) == (pytest.approx(points, abs=0.01), 10), mine.checks
        lost = [check for check in mine.checks if check.points < check.possible]
        assert all(check.reason for check in lost), "each loss has a reason"
    assert told in " | ".join([*mine.added, *mine.look_at])


@pytest.mark.slow
def test_honest_notebooks_give_a_teacher_nothing_to_look_at(marks):
    for name in ("right", "blank", "helper", "colab", "copies", "magic", "prints"):
        assert marks[name].look_at == [], name


@pytest.mark.slow
def test_reasons_say_where_and_what(marks):
    def reason(name, check="check_layer_norm_forward"):
        return next(each.reason for each in marks[name].checks if each.name == check)

    assert "since its cell failed: SyntaxError: '(' was never closed (line 1)" in reason("syntax")
    assert reason("goes") == "in a call of layer_norm_forward, its process ended, exit code 3"
    assert "the cell layer_norm_forward is missing" in reason("no_answer")
    assert "It may never end" in reason("endless") and "nobody is there" in reason("asks")
    assert "grading ended" in reason("kills")
    printed = {name: marks[name].checks[0].printed for name in ("prints", "floods")}
    assert "here (2, 3, 4)" in printed["prints"] and len(printed["floods"]) < 150_000


@pytest.mark.slow
def test_table_and_pages_of_a_class(marks):
    folder = marks["right"].path.parents[1] / "marks"
    text = (folder / "marks.csv").read_text(encoding="utf-8-sig")
    rows = {row["student"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows.keys() == CLASS.keys()
    row = rows["endless"]
    assert (row["points"], row["check_layer_norm_backward"], row["hidden_layer_norm_forward"]) == ("4", "4", "0")
    assert "hidden_layer_norm_forward: " in row["reasons"] and "check_rms_norm" not in row["reasons"]
    pages = list((folder / "feedback").glob("*.html"))
    assert len(pages) == len(CLASS)
    page = (folder / "feedback/endless_05_layer_norm.html").read_text(encoding="utf-8")
    assert "line 3, in layer_norm_forward: pass" in page or "line 2, in layer_norm_forward: while True" in page
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "standard_normal" not in text and "assert " not in text, "nothing of the hidden tests is on a page"


@pytest.mark.slow
def test_solutions_have_full_marks_and_blanks_none(tmp_path):
    for each in make.grade([]):
        assert (each.points, each.possible, each.failure) == (10, 10, ""), each
        assert each.look_at == [] and each.added == []
    for path in make.sources():
        nbformat.write(make.student(path), tmp_path / path.with_suffix(".ipynb").name)
    for each in make.grade([tmp_path]):
        assert (each.points, each.possible, each.failure) == (0, 10, ""), each
        assert each.look_at == [] and each.added == []


@pytest.mark.slow
def test_four_graders_at_once_give_the_same_marks(tmp_path):
    """On two cores: limits are of processor time."""
    nbformat.write(make.annotated(FOLDER / "10_model.py"), tmp_path / "10_model.ipynb")  # the slowest: it trains
    command = [sys.executable, FOLDER / "make.py", "grade", tmp_path, "--jobs", "1"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        printed, _ = process.communicate()
        assert process.returncode == 0 and "10.00 of 10" in printed, printed


@pytest.mark.slow
def test_a_notebook_has_a_limit_and_leaves_no_process_behind(tmp_path):
    mark = f"{os.getpid()}{time.time_ns()}"  # of a child, to be looked for
    start = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{mark}'])"
    child = f"import subprocess, sys\n{start}"
    (tmp_path / "ann.ipynb").write_text(json.dumps(notebook(f"{child}\nwhile True: pass", added=["import time"])))
    begin = time.monotonic()
    mine = make.grade([tmp_path / "ann.ipynb"], limit=8)[0]
    assert time.monotonic() - begin < 60 and mine.points == 0
    assert "the 8 seconds for the whole notebook are over" in mine.checks[0].reason
    if Path("/proc").exists():
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not [line for line in lines if mark.encode() in line]


@pytest.mark.slow
def test_the_command_names_what_it_could_not_grade(tmp_path, capsys):
    (tmp_path / "ann.ipynb").write_text(json.dumps(notebook()))
    assert make.main(["grade", str(tmp_path / "ann.ipynb")]) == 0
    assert "hidden_layer_norm_forward" in capsys.readouterr().out
    (tmp_path / "bob.ipynb").write_text("{}")
    assert make.main(["grade", str(tmp_path), "--out", str(tmp_path / "marks"), "--language", "zh"]) == 1
    output = capsys.readouterr()
    assert "bob.ipynb: it is not a notebook" in output.err and "10.00 of 10" in output.out
    page = (tmp_path / "marks/feedback/ann_05_layer_norm.html").read_text(encoding="utf-8")
    assert '<html lang="zh">' in page and "教师的测试" in page
    assert make.main(["grade", str(tmp_path / "missing.ipynb")]) == 1


# Without a process.


def recognised(made, name="ann.ipynb", tmp_path=None, root=None):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made))
    return submission.recognise(path, ASSIGNMENTS, root)


def test_an_exercise_is_recognised_by_its_cells_and_a_student_by_the_names(tmp_path):
    made = notebook()
    for name, student in {
        "ann_05_layer_norm.ipynb": "ann",
        "ann/05_layer_norm (1).ipynb": "ann",
        "bob/05 (1).ipynb": "bob",
        "05_layer_norm-carla-Copy1.ipynb": "carla",
        "Ann Lee_123_assignsubmission_file_/05.ipynb": "Ann Lee",
        "submitted/dan/05_layer_norm/05_layer_norm.ipynb": "dan",
        "wrong/06_attention_forward.ipynb": "06_attention_forward",
    }.items():
        found = recognised(made, name, tmp_path)
        assert (found.student, found.assignment.name) == (student, "05_layer_norm"), name
    assert recognised({**made, "metadata": {"authors": [{"name": " Eve "}]}}, "x.ipynb", tmp_path).student == "Eve"
    assert recognised(made, "class/05 (2).ipynb", tmp_path, tmp_path / "class").student == "05 (2)"
    for path in make.sources():
        colab = json.loads(json.dumps(make.student(path)))
        for cell in colab["cells"]:
            cell["id"], cell["metadata"] = "", {}
        found = recognised(colab, "x.ipynb", tmp_path)
        assert found.assignment.name == path.stem and found.added == []


def test_cells_that_are_odd_do_not_end_it(tmp_path):
    made = notebook()
    made["metadata"] = ["odd"]
    made["cells"][:0] = [None, {}, {"cell_type": "code"}, {"cell_type": "code", "source": 3, "metadata": 4, "id": {}}]
    made["cells"][4:4] = [{"cell_type": "code", "source": ["a = 1\n", 2], "metadata": {"nbgrader": [1]}}]
    found = recognised(made, tmp_path=tmp_path)
    assert found.assignment.name == "05_layer_norm" and found.added == ["cell 3: a = 1"]
    with pytest.raises(ValueError, match="not a notebook"):
        recognised({"cells": 3}, tmp_path=tmp_path)
    os.mkfifo(tmp_path / "pipe.ipynb") if hasattr(os, "mkfifo") else (tmp_path / "pipe.ipynb").mkdir()
    with pytest.raises(ValueError, match="not a notebook"):
        submission.recognise(tmp_path / "pipe.ipynb", [ASSIGNMENT])


def test_a_changed_given_cell_counts_for_the_answers_and_not_for_the_checks(tmp_path):
    made = notebook()
    given = next(cell for cell in made["cells"] if cell["cell_type"] == "code")
    given["source"] = given["source"] + "\nimport math"
    found = recognised(made, tmp_path=tmp_path)
    assert found.added == ["05_layer_norm-1, a given cell, was changed"]
    assert [kind for kind, *_ in found.steps[:3]] == ["given", "added", "answer"]


def test_demonstrations_are_not_run():
    texts = {"given": "", "demonstration": ""}
    for each in ASSIGNMENTS:
        for cell in each.cells:
            if cell.kind in texts:
                texts[cell.kind] += f"{cell.source}\n"
    assert "SORTER = GPT2Config(" in texts["given"] and "y, cache = full_forward(x, params, H)" in texts["given"]
    assert texts["given"].count("import check\n") == 11 and "if report" not in texts["given"]
    assert texts["demonstration"].count("if report") == 7 and "import check\n" not in texts["demonstration"]


def test_values_cross_the_border_as_they_are():
    here, there = border.Border(None), border.Border(None)

    def over(value):
        return there.unpack(here.pack(value))

    array = np.arange(6, dtype="float32").reshape(2, 3)
    value = {
        ("a", 1): [array, array, array.T, np.float64(0.5), np.array(2), np.array(["x", "yz"])],
        "b": (True, None, -1, 1.5, float("inf"), "\ud800é", b"\0\xff", {}, [], (), 10**40, np.zeros((0, 3))),
    }
    back = over(value)
    assert repr(back) == repr(value)
    items = back["a", 1]
    assert items[0] is items[1] and items[0].dtype == np.float32 and items[0].flags.writeable
    assert items[4].ndim == 0 and type(items[3]) is np.float64
    config = GPT2Config(vocab_size=3, n_embd=4, n_head=2)
    assert over(config) == config


def test_what_has_a_class_of_its_own_comes_back_as_the_same_object():
    here, there = border.Border(None), border.Border(None)
    Pair = namedtuple("Pair", "left right")
    value = [Pair(1, np.ones(2)), defaultdict(list, a=[1]), object()]
    seen = there.unpack(here.pack(value))
    assert seen[0][0] == 1 and seen[1] == {"a": [1]} and isinstance(seen[2], border.Remote)
    back = here.unpack(there.pack(seen))
    assert back[0].left == 1 and back[1]["new"] == [] and type(back[2]) is object


@pytest.mark.parametrize("message", [
    b"", b"\5\0\0\0\0\0\0\0[[[", b"\xff" * 8 + b"{}", b"\2\0\0\0\0\0\0\0{}", b"\2\0\0\0\0\0\0\0[]",
    *(len(tree).to_bytes(8, "little") + tree for tree in (
        b'{"array": "|O8", "shape": [1]}', b'{"array": "<f8", "shape": [1000000000000]}',
        b'{"array": "<f8", "shape": [-1]}', b'{"array": 3, "shape": []}', b'{"same": 7}', b'{"yours": 7}',
        b'{"dict": [1]}', b'{"dict": [{"list": []}, 1]}', b'{"bytes": 9}', b'{"bytes": -1}', b'{"config": {"a": 1}}',
        b'{"list": 5}', b"[" * 100_000, b'{"number": "<U99999999999999999999"}',
    )),
    b"\1\0\0\0\0\0\0\0" + b"1 and more",
])  # fmt: skip
def test_what_is_no_message_is_refused(message):
    with pytest.raises(border.Broken):
        border.Border(None).unpack(message)


def test_reading_stops_at_what_is_too_long():
    for text in (b"\xff" * 20, (10).to_bytes(8, "little") + b"\xff" * 10):
        with pytest.raises(border.Broken):
            border.read(io.BytesIO(text))
    with pytest.raises(EOFError):
        border.read(io.BytesIO(b"\x10\0\0\0\0\0\0\0abc"))


def test_a_cell_has_the_value_of_its_last_line():
    scope = {}
    assert cells.run("a = 2\na + 1", scope, "one") == 3 and scope["a"] == 2
    assert cells.run("a = 3", scope, "two") is None and cells.run("", scope, "none") is None
    assert cells.run("%%time\n!ls\nif a:\n    %time b\nhelp?\na", scope, "three") == 3
    with pytest.raises(SyntaxError, match="never closed"):
        cells.run("%time\nf(", scope, "four")


def test_the_search_knows_what_the_exercise_itself_gives():
    def places(name, source):
        assignment = next(each for each in ASSIGNMENTS if each.name == name)
        made = submission.Submission(Path("x"), "ann", "", assignment, [("answer", "f", source)])
        return library.places(made)

    norm = "from minigpt2.components.layer_norm import layer_norm_forward"
    assert places("10_model", norm) == []
    assert places("10_model", "from minigpt2.exercises import whole\nprint(whole.check_notebooks('.'))") == []
    assert places("05_layer_norm", norm) == [f"f, line 1: {norm}"]
    assert places("05_layer_norm", "def f(score, reference):\n    'open, exec'\n    return score.sum()  # eval") == []
    assert places("05_layer_norm", "round = 2\nx.components") == ["f, line 1: round = 2", "f, line 2: x.components"]


def test_a_table_and_a_page_can_do_no_harm():
    check = grader.Check("check_f", 0.5, 1, False, "=1+1\n<b>no</b>", "<script>alert(1)</script>")
    mine = grader.Marks(Path("x.ipynb"), "=cmd|' /C calc'!A0 <i>", "05", "xx", [check], added=["@x"], look_at=["-y"])
    table = feedback.table([mine])
    row = next(csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))))
    assert row["student"].startswith("'=cmd") and row["added"] == "'@x" and row["look at"] == "'-y"
    assert (row["points"], row["of"], row["check_f"]) == ("0.5", "1", "0.5") and "\n" not in row["reasons"]
    for language in feedback.LANGUAGES:
        page = feedback.page(mine, language)
        assert "<script>" not in page and "<i>" not in page and "&lt;script&gt;" in page and "-y" not in page
        assert f'<html lang="{language}">' in page and "width=device-width" in page
    assert feedback.TEXTS["zh"].keys() == feedback.TEXTS["en"].keys()


def test_two_notebooks_of_one_student_are_both_there_and_named(tmp_path):
    two = [grader.Marks(Path(name), "ann", "05") for name in ("a.ipynb", "b.ipynb")]
    grader.note_doubles([*two, grader.Marks(Path("c.ipynb"), "ann", "06")])
    assert [each.added for each in two] == [["one of 2 notebooks of ann for this exercise"]] * 2
    feedback.write(two, tmp_path)
    assert sorted(path.name for path in (tmp_path / "feedback").iterdir()) == ["ann_05.html", "ann_05_2.html"]


def test_points_are_between_none_and_all():
    """A check that says otherwise is the teacher's mistake; answers that return odd values are not asked."""
    sources = {"more": "7.0", "less": "-1", "all": "x = 1", "error": "1 / 0", "false": "assert 1 > 2", "nan": "1e999*0"}
    steps = [("check", name, source) for name, source in sources.items()]
    got = judge(steps, dict.fromkeys(sources, 2), {}, 60)["checks"]
    points = {name: each["points"] for name, each in got.items()}
    assert points == {"more": 2, "less": 0, "all": 2, "error": 0, "false": 0, "nan": 0}
    assert got["error"]["reason"] == "ZeroDivisionError: division by zero"
    assert got["false"]["reason"] and not got["all"]["reason"]
