"""What a class needs around the exercises: a package of one's own, a whole model, hours, self-study, a workflow."""

import ast
import inspect
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from exercise_maker import FOLDER, SOURCES, make, nbformat

from minigpt2 import GPT2, plain
from minigpt2.exercises import check, names, whole
from minigpt2.exercises.ex10_model import SORTER
from minigpt2.parameters import flatten


def solved(path):
    """A student's notebook of a source with every answer right."""
    notebook = make.student(path)
    answers = {cell.id: cell.source for cell in make.annotated(path).cells}
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = answers[cell.id]
    return notebook


def program(path):
    """The imports and the answers of a solved notebook, as a module."""
    cells = "\n".join(cell.source for cell in solved(path).cells if cell.cell_type == "code")
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef
    return "\n".join(ast.unparse(node) for node in ast.parse(cells).body if isinstance(node, kinds))


@pytest.fixture(scope="module")
def solutions():
    """{name: function}: all of them, those of exercise 10 with the library's parts."""
    functions = {}
    for path, exercise in zip(SOURCES, whole.EXERCISES, strict=True):
        scope = {}
        exec(program(path), scope)
        functions |= {task.name: scope[task.name] for task in exercise.TASKS}
    return functions


# A package of one's own.


def pytest_of(folder, *options):
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout


@pytest.fixture
def package(tmp_path):
    """The template with a module for each exercise, that has its solutions."""
    shutil.copytree(FOLDER / "adapters", tmp_path / "class", ignore=shutil.ignore_patterns("__pycache__"))
    lines = []
    for path, exercise in zip(SOURCES, whole.EXERCISES, strict=True):
        (tmp_path / "class" / f"my_{path.stem}.py").write_text(program(path), encoding="utf-8")
        lines.append(f"from my_{path.stem} import {', '.join(task.name for task in exercise.TASKS)}\n")
    (tmp_path / "class/adapters.py").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "class"


@pytest.mark.slow
def test_the_solutions_have_all_points_in_the_adapters(package):
    printed = pytest_of(package)
    assert f"{len(names()) + 1} passed" in printed and len(names()) == 56
    points = re.findall(r"^(\d+): .* (\d) of (\d) functions right +10\.0 of 10$", printed, re.M)
    assert [int(number) for number, *_ in points] == list(range(1, 12))
    assert sum(int(right) for _, right, _ in points) == sum(int(of) for *_, of in points) == 56
    assert re.search(r"^together +110\.0 of 110$", printed, re.M)


@pytest.mark.slow
def test_points_in_the_adapters_are_in_proportion_and_of_what_was_tested(package):
    with open(package / "adapters.py", "a", encoding="utf-8") as file:
        file.write("\n\ndef gelu_forward(x):\n    raise NotImplementedError\n")
    printed = pytest_of(package, "-k", "gelu or linear or feed_forward")
    # The checks of exercise 4 are worth 1, 2, 2 and 2; without its forward pass the gradient of GELU gets our cache.
    assert re.search(r"^4: linear layer and GELU +5 of 6 functions right +7\.1 of 10$", printed, re.M)
    assert re.search(r"^together +7\.1 of 10$", printed, re.M) and "Fill in its body" in printed
    assert "Traceback" not in printed


def test_adapters_say_what_is_in_a_cache():
    functions = {node.name: ast.get_docstring(node) for node in ast.parse(make.adapters()).body[1:]}
    said = 0
    for name, task in whole.TASKS.items():
        if task.forward and name != "softmax_backward":
            _, cache = task.forward(*task.cases(np.random.default_rng(1))[0].inputs.values())
            assert all(f'"{key}"' in functions[name] for key in cache), name
            own = name.replace("_backward", "_forward")
            assert (f"your own {own} returned" in " ".join(functions[name].split())) == (own in functions), name
            said += 1
    assert said == 16 and "see above" not in make.adapters()


def test_a_backward_pass_gets_the_cache_of_ones_own_forward_pass():
    own = {name: getattr(plain, name) for name in names() if hasattr(plain, name)}  # with caches that are tuples
    for name in ("layer_norm_backward", "linear_backward", "gelu_backward", "attention_backward", "block_backward"):
        forward = whole.own_forward(name, own)
        assert forward is own[name.replace("_backward", "_forward")]
        assert check(name, own[name], forward=forward).passed and not check(name, own[name]).passed

    def unwritten(x):
        raise NotImplementedError

    for forward in (unwritten, lambda x: x, lambda x: (x, {}), None):
        assert whole.own_forward("gelu_backward", {"gelu_forward": forward}) is None
    assert whole.own_forward("softmax_backward", {"softmax_forward": lambda x: (x, {"x": x})}) is None
    bare = {"gelu_forward": lambda x: (x, x)}  # an array for a cache
    assert whole.own_forward("gelu_backward", bare) is bare["gelu_forward"]
    broken = {"gelu_forward": lambda x: x[99]}
    assert whole.own_forward("gelu_backward", broken) is broken["gelu_forward"]  # the report says what is wrong with it


def test_the_workflow_of_a_class_installs_tests_and_puts_the_points_into_the_summary(tmp_path):
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((FOLDER / "adapters/.github/workflows/classroom.yml").read_text(encoding="utf-8"))
    assert set(workflow[True]) == {"push", "workflow_dispatch"}  # `on` is true in YAML 1.1
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    uses = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
    assert uses == ["actions/checkout", "actions/setup-python"] and job["timeout-minutes"] <= 30
    version = next(step["with"]["python-version"] for step in job["steps"] if "with" in step)
    assert tuple(map(int, version.split("."))) >= (3, 11)
    install, test, summary = (step["run"] for step in job["steps"] if "run" in step)
    assert "pytest" in install and "minigpt2-*.whl" in install and test.startswith("python -m pytest")
    if shutil.which("bash") is None:
        return
    points = f"{'=' * 9} points {'=' * 9}\n1: a\ntogether  5\n"
    (tmp_path / "report.txt").write_text(f"F\n= FAILURES =\n{points}= short =\nx\n")
    environment = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-eo", "pipefail", "-c", summary], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == f"```\n{points}```\n"


# The whole model.


def test_our_parts_joined_are_the_librarys_model():
    model = GPT2(SORTER, 0, "float64")
    rows, parts = list(whole._steps(whole.join({}))), whole.join({})
    ids, targets = next(result for place, name, result in rows if name == "sorting_batch")
    loss, grads = model.loss_and_grads(ids, targets)
    logits, cache = parts["gpt2_forward"](ids, model.params, SORTER.n_head)
    assert np.allclose(logits, model.forward(ids)[0], rtol=0, atol=1e-12)
    mine, loss_cache = parts["cross_entropy_forward"](logits, targets)
    assert np.isclose(mine, loss, rtol=1e-12, atol=0)
    mine = flatten(parts["gpt2_backward"](parts["cross_entropy_backward"](1.0, loss_cache), cache))
    for name, gradient in flatten(grads).items():
        assert np.allclose(mine[name], gradient, rtol=0, atol=1e-12), name
    losses = [result for _, name, result in rows if name == "cross_entropy_forward"]
    assert len(losses) == whole.STEPS and losses[-1] < 0.9 * losses[0], "it learns"


@pytest.mark.slow
def test_the_whole_model_of_the_solutions_is_ours(solutions):
    report = whole.check_whole(solutions)
    assert report.passed and f"yours: {len(whole.PARTS)} of {len(whole.PARTS)}." in report.text
    tuples = {name: getattr(plain, name) for name in whole.PARTS if hasattr(plain, name)}
    for name in ("gpt2_backward", "cross_entropy_forward", "cross_entropy_backward"):
        del tuples[name]  # which have other results and arguments in plain.py
    report = whole.check_whole(tuples)
    assert report.passed and "yours: 19 of 25; ours: cross_entropy_forward, cross_entropy_backward" in report.text


def test_nothing_written_is_no_whole_model():
    report = whole.check_whole({name: None for name in names()})
    assert not report.passed and report.score == 0 and "None of these is written yet" in report.text


def slightly_more(function):
    """The function with its first result larger by a hundredth, or its first number if that is a dict."""

    def more(value):
        if isinstance(value, dict):
            first = next(iter(value))
            return value | {first: more(value[first])}
        return value + 1 if np.asarray(value).dtype.kind == "i" else value * 1.01

    def wrong(*inputs):
        result = function(*inputs)
        return (more(result[0]), *result[1:]) if isinstance(result, tuple) else more(result)

    return wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "position_forward", "embedding_backward", "layer_norm_backward", "linear_backward", "gelu_forward",
        "feed_forward_backward", "attention_backward", "block_forward", "gpt2_backward", "sorting_batch",
        "clip_by_norm", "adamw_step",
    ],
)  # fmt: skip
def test_a_part_that_is_wrong_is_named(solutions, name):
    report = whole.check_whole(solutions | {name: slightly_more(solutions[name])})
    assert not report.passed and f": {name}, yours.\n" in report.text, str(report)


def test_a_part_that_fails_is_named_with_its_line(solutions):
    def gelu_forward(x):
        return x[99], {}

    report = whole.check_whole(solutions | {"gelu_forward": gelu_forward})
    assert "They part at h.0.mlp.gelu: gelu_forward, yours." in report.text and "return x[99], {}" in report.text
    assert [finding.passed for finding in report.findings] == [False, None, None]


OWN_CACHE = '''
def layer_norm_forward(x, weight, bias, eps=1e-5):
    deviation = np.sqrt(x.var(-1, keepdims=True) + eps)
    return (x - x.mean(-1, keepdims=True)) / deviation * weight + bias, [x, deviation, weight]


def layer_norm_backward(dy, cache):
    x, deviation, weight = cache
    x_hat, dx_hat = (x - x.mean(-1, keepdims=True)) / deviation, dy * weight
    dx = dx_hat - dx_hat.mean(-1, keepdims=True) - x_hat * (dx_hat * x_hat).mean(-1, keepdims=True)
    tokens = tuple(range(x.ndim - 1))
    return dx / deviation * FACTOR, (dy * x_hat).sum(tokens), dy.sum(tokens)
'''


@pytest.fixture
def notebooks(tmp_path):
    """The solved notebooks of exercises 2 to 10, in which layer norm has a cache of its own."""
    for path in SOURCES[1:10]:
        notebook = solved(path)
        if path.stem.startswith("05"):
            notebook.cells.append(nbformat.v4.new_code_cell(f"FACTOR = 1.0\n{OWN_CACHE}"))
            notebook.cells.append(nbformat.v4.new_code_cell("%matplotlib inline\nimport antigravity_of_mine"))
        nbformat.write(notebook, tmp_path / path.name.replace(".py", ".ipynb"))
    return tmp_path


@pytest.mark.slow
def test_the_whole_model_is_read_from_a_students_notebooks(notebooks):
    report = whole.check_notebooks(notebooks)
    assert report.passed, str(report)
    assert f"yours: {len(whole.PARTS)} of {len(whole.PARTS)}." in report.text
    assert "05_layer_norm.ipynb: cell 18 is not Python" in report.text

    path = notebooks / "05_layer_norm.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("FACTOR = 1.0", "FACTOR = 1.1"), encoding="utf-8")
    (notebooks / "03_position.ipynb").unlink()
    (notebooks / "09_adamw.ipynb").write_text("{", encoding="utf-8")
    report = whole.check_notebooks(notebooks)
    assert "They part at ln_f: layer_norm_backward, yours.\n  dx is off by" in report.text
    assert "there is no notebook 03_....ipynb in this folder" in report.text
    assert "09_adamw.ipynb: it cannot be read as a notebook" in report.text
    assert "ours: position_forward, position_backward, clip_by_norm, adamw_step." in " ".join(report.text.split())


def test_a_block_in_a_notebook_calls_the_parts_of_the_other_notebooks(notebooks, monkeypatch):
    path = notebooks / "05_layer_norm.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("FACTOR = 1.0", "FACTOR = 1.1"), encoding="utf-8")
    found = {}
    monkeypatch.setattr(whole, "check_whole", lambda functions, remarks: found.update(functions))
    whole.check_notebooks(notebooks)
    assert "FACTOR" in inspect.getsource(found["layer_norm_backward"])
    assert not check("block_backward", found["block_backward"], forward=found["block_forward"]).passed


# Hours, self-study, and a folder on its own.

PART = re.compile(r"^# ## (\d+)\. (.*)\n#\n# \*(★+)(☆*) · about (\d+) minutes( more)?\*$", re.M)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_part_says_how_hard_it_is_and_the_minutes_add_up(path):
    text = path.read_text(encoding="utf-8")
    parts = PART.findall(text)
    sections = re.split(r"^# ## ", text, flags=re.M)[1:]
    assert [number for number, *_ in parts] == [
        section.partition(".")[0] for section in sections if '["answer"' in section or "if you like" in section
    ]
    assert all(len(black + white) == 3 for _, _, black, white, _, _ in parts)
    assert all(("if you like" in title) == bool(more) for _, title, _, _, _, more in parts)
    counted = sum(int(minutes) for *_, minutes, more in parts if not more)
    assert counted == int(re.search(r"About (\d+) minutes, 10 points", text)[1])


@pytest.mark.slow
def test_self_study_has_the_solutions_folded_and_a_class_has_none(tmp_path, capsys):
    assert make.main(["build", "--solutions", str(tmp_path / "alone")]) == 0
    make.course(tmp_path / "class")
    for path in SOURCES:
        cells = nbformat.read(tmp_path / "alone" / f"{path.stem}.ipynb", as_version=4).cells
        answers = [i for i, cell in enumerate(cells) if cell.metadata.get("nbgrader", {}).get("solution")]
        assert len(answers) >= 3
        for i in answers:
            assert "raise NotImplementedError" in cells[i].source
            folded = r"<details><summary>A solution</summary>\n\n```python\n(.*)\n```\n\n</details>"
            code = re.fullmatch(folded, cells[i + 1].source, re.S)[1]
            assert ast.parse(code).body and "### " not in code and "NotImplementedError" not in code
        assert not [cell for cell in cells if "HIDDEN TESTS" in cell.source]
        nbgrader = tmp_path / "class/source" / path.stem / f"{path.stem}.ipynb"
        for text in (make.student_path(path).read_text(encoding="utf-8"), nbgrader.read_text(encoding="utf-8")):
            assert "A solution" not in text
    assert make.check() == []
    assert make.main(["build", "--solutions", str(FOLDER / "student")]) == 1
    assert "take another folder" in capsys.readouterr().err


def test_links_lead_somewhere_where_there_is_nothing_but_the_students_folder(tmp_path):
    shutil.copytree(FOLDER / "student", tmp_path / "student", ignore=shutil.ignore_patterns(".*"))
    found = 0
    for path in (tmp_path / "student").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
            for link in re.findall(r"(?:\]\(|(?:src|href)=\")(?!\w+:|#)([^)\"\s]+)", text):
                found += 1
                assert (path.parent / link).exists(), (path.name, link)
    assert found >= len(SOURCES) - 1


def test_the_numbers_by_hand_in_exercise_7():
    p, dp = np.array([1, 2, 1]) / 4, np.array([0.0, 4.0, 0.0])
    text = (FOLDER / "07_attention_backward.py").read_text(encoding="utf-8")
    assert "$p = (\\frac14, \\frac12, \\frac14)$" in text and "$dp = (0, 4, 0)$" in text
    assert "$d\\mathrm{scores} = (-\\frac12, 1, -\\frac12)$" in text
    assert plain.softmax_backward(dp, p).tolist() == [-0.5, 1.0, -0.5]
