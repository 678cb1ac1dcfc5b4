"""The book: a notebook for each section of the document, and notebooks that are what their sources say.

Building is tested on small sources of its own; what the committed notebooks show is compared by
``python notebooks/build.py run``.
"""

import base64
import importlib.util
import itertools
import json
import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from minigpt2.verification.trace import read_trace

jupytext, nbformat, *_ = (
    pytest.importorskip(package, reason=f"needs {package}, of the extra 'notebooks'")
    for package in ("jupytext", "nbformat", "nbclient", "ipykernel", "matplotlib", "PIL")
)
from matplotlib.colors import to_rgb  # noqa: E402

FOLDER = Path(__file__).parents[1] / "notebooks"

SECTIONS = {  # the titles of the document, and of the nine components of its section 2.5
    "简介": "1_introduction",
    "工具箱": "2_0_toolbox",  # what the derivations below have in common
    "深度学习": "2_1_deep_learning",
    "模型": "2_2_models",
    "文本生成": "2_3_text_generation",
    "数据集": "2_4_datasets",
    "框架": "2_5_framework",
    "Embedding layer": "2_5_1_embedding",
    "位置编码": "2_5_2_position",
    "注意力机制": "2_5_3_attention",
    "前馈神经网络": "2_5_4_feed_forward",
    "残差连接和归一化层": "2_5_5_residual_and_layer_norm",
    "丢弃法": "2_5_6_dropout",
    "标签平滑": "2_5_7_label_smoothing",
    "损失函数": "2_5_8_loss_function",
    "优化器": "2_5_9_optimizer",
    "使用BERT为GPT-2模型预训练语言模型": "3_1_pretraining",
    "使用语言模型为GPT-2模型提供更多训练数据": "3_2_more_data",
    "对GPT-2模型进行微调": "3_3_fine_tuning",
    "使用Zero Shot的方式进行语言模型的训练": "3_4_zero_shot",
    "代码实例": "4_1_code_example",
    "解释说明": "4_2_explanation",
    "评估": "5_evaluation",  # announced in 4.2; the document ends before it
    "查错": "6_find_the_bug",  # what the others are good for
}

PENDING = []  # not written yet
WRITTEN = [name for name in SECTIONS.values() if name not in PENDING]

SOURCE = """\
# %% [markdown] tags=["en"]
# # 9. 标题 · A title

# %% [markdown] tags=["zh"]
# # 9. 标题

# %%
import time

import matplotlib.pyplot as plt

print("loss", end=" ", flush=True)
time.sleep(0.5)  # the kernel sends two messages
print("3.7039887")
plt.plot([1, 2])
plt.show()

# %% [markdown] tags=["en", "alt"]
# A line
# that rises.

# %% [markdown] tags=["zh", "alt"]
# 一条上升的直线。

# %% tags=["hide-input"]
{"a": 1}
"""


def load(name):
    """A script of the notebooks' folder as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load("build")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with one source and its notebooks in both languages."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "9_title.py").write_text(SOURCE, encoding="utf-8")
    build.build([], folder)
    return folder


@pytest.fixture
def copy(built, tmp_path):
    """The same, to be broken."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


@pytest.mark.parametrize(("title", "name"), SECTIONS.items())
def test_every_section_has_its_notebook(title, name):
    source = FOLDER / f"{name}.py"
    if name in PENDING:
        assert not source.exists(), f"{name} is written: take it off PENDING"
        return
    first = jupytext.read(source, fmt="py:percent").cells[0].source.splitlines()[0]
    number = ".".join(re.findall(r"(\d+)_", name))
    assert re.match(rf"# {re.escape(number)}\.? ", first), f"{name} begins with {first!r}, not with its number"
    assert title in first and "·" in first, f"{name} begins with {first!r}, not with {title} · its English title"
    assert (FOLDER / "en" / f"{name}.ipynb").exists()


def test_no_source_is_without_a_section():
    assert {path.stem for path in build.sources()} <= set(SECTIONS.values())
    assert [path.stem for path in build.sources()] == WRITTEN, "in the order of the document"


def test_sources_and_committed_notebooks_agree():
    assert build.check() == []


@pytest.mark.parametrize("name", WRITTEN)
def test_a_notebook_is_light_and_its_pictures_are_small(name):
    path = FOLDER / "en" / f"{name}.ipynb"
    assert path.stat().st_size < 600_000
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                width, height = struct.unpack(">II", base64.b64decode(output.data["image/png"])[16:24])
                shown = output.metadata["image/png"]
                assert (width, height) == (2 * shown["width"], 2 * shown["height"]), f"{cell.id}: not sharp"
                assert width <= 2000 and height <= 2000, f"{cell.id}: {width} x {height} pixels"
                assert output.data["text/plain"].startswith("<Figure"), cell.id
                assert shown["alt"] == cell.metadata["alt"] and len(shown["alt"]) > 40, f"{cell.id}: {shown['alt']!r}"


def prose(name):
    """The cells of prose of an English notebook, as committed."""
    cells = nbformat.read(FOLDER / "en" / f"{name}.ipynb", as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_notebook_begins_with_its_exercise_and_ends_with_the_next_notebook(name):
    cells = prose(name)
    assert "**Exercise:**" in cells[0] and "](../exercises/" in cells[0]
    following = dict(itertools.pairwise(WRITTEN)).get(name)
    assert following is None or f"]({following}.ipynb)" in cells[-1].splitlines()[-1]


def test_a_notebook_that_an_exercise_names_leads_back_to_it():
    for exercise in sorted((FOLDER / "exercises").glob("[0-9]*.py")):
        names = re.findall(r"/en/(\w+)\.ipynb", exercise.read_text(encoding="utf-8"))
        link = f"](../exercises/student/{exercise.stem}.ipynb)"
        assert any(link in prose(name)[0] for name in names), exercise.name


@pytest.mark.parametrize("name", WRITTEN)
def test_every_question_has_its_answer(name):
    (questions,) = (cell for cell in prose(name) if cell.startswith("## Questions"))
    numbers = re.findall(r"^(\d+)\. ", questions, flags=re.MULTILINE)
    assert numbers == [str(n + 1) for n in range(len(numbers))] and numbers
    parts = re.split(r"^\d+\. ", questions, flags=re.MULTILINE)[1:]
    for number, part in zip(numbers, parts, strict=True):
        answer = re.search(r"<details><summary>Answer</summary>\n\n(.+?)\n\n *</details>", part, flags=re.DOTALL)
        assert answer and len(answer[1]) > 20, f"question {number} has no answer"


def test_words_in_pictures_can_be_read():
    style = load("style")
    for name in ("BLUE", "ORANGE_TEXT", "GREEN_TEXT", "GREY"):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(getattr(style, name))]
        luminance = np.dot((0.2126, 0.7152, 0.0722), linear)
        assert 1.05 / (luminance + 0.05) >= 4.5, f"{name} on white (WCAG 2.2, 1.4.3)"
    for path in build.sources():
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"\.(text|annotate)\([^)]*color=style\.(ORANGE|GREEN)\b", source), path.name


@pytest.mark.slow
def test_prose_goes_where_its_tag_says_and_code_everywhere(built):
    english, chinese = (nbformat.read(built / language / "9_title.ipynb", as_version=4) for language in ("en", "zh"))
    assert [cell.id for cell in english.cells] == ["9_title-0", "9_title-2", "9_title-5"]
    assert [cell.id for cell in chinese.cells] == ["9_title-1", "9_title-2", "9_title-5"]
    assert english.cells[0].source == "# 9. 标题 · A title" and chinese.cells[0].source == "# 9. 标题"
    alts = [notebook.cells[1].metadata.pop("alt") for notebook in (english, chinese)]
    assert alts == ["A line that rises.", "一条上升的直线。"]
    for notebook, alt in zip((english, chinese), alts, strict=True):
        assert notebook.cells[1].outputs[1].metadata.pop("image/png") == {"alt": alt}
    assert english.cells[1:] == chinese.cells[1:]
    assert [dict(cell.metadata) for cell in english.cells] == [{"tags": ["en"]}, {}, {"tags": ["hide-input"]}]
    assert english.metadata == build.METADATA
    assert english.cells[1].outputs[0].text == "loss 3.7039887\n"
    assert "image/png" in english.cells[1].outputs[1].data
    assert english.cells[2].outputs[0].data["text/plain"] == "{'a': 1}"


def test_a_language_without_prose_is_not_built(tmp_path):
    (tmp_path / "9_title.py").write_text(SOURCE.replace('"zh"', '"en"'), encoding="utf-8")
    build.build([], tmp_path)
    assert not (tmp_path / "zh").exists()
    assert build.check(tmp_path) == []


@pytest.mark.slow
def test_a_rebuild_gives_the_same_bytes(copy):
    paths = [copy / "en/9_title.ipynb", copy / "zh/9_title.ipynb"]
    before = [path.read_bytes() for path in paths]
    build.build(["9"], copy)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in (copy / "en").iterdir()) == ["9_title.ipynb"], "nothing else is left there"


@pytest.mark.slow
def test_the_committed_layer_norm_notebook_is_rebuilt_twice_to_the_same_bytes(tmp_path):
    name = "2_5_5_residual_and_layer_norm"
    for file in (f"{name}.py", "style.py", "graphs.py"):
        shutil.copy(FOLDER / file, tmp_path)
    found = []
    for _ in range(2):
        build.build([name], tmp_path)
        found.append((tmp_path / "en" / f"{name}.ipynb").read_bytes())
    assert found[0] == found[1]
    committed = nbformat.read(FOLDER / "en" / f"{name}.ipynb", as_version=4)
    assert build.compare(committed, nbformat.reads(found[0].decode(), as_version=4)) == []


@pytest.mark.slow
def test_the_bug_is_found_without_torch_as_with_it(tmp_path, monkeypatch):
    """It then reads what was recorded: what it shows is the same."""
    (tmp_path / "torch.py").write_text('raise ImportError("not here")\n')
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(FOLDER.parent)]))
    assert build.run(["6_find_the_bug"]) == []


@pytest.mark.slow
def test_the_recordings_of_the_bug_are_what_its_model_computes(tmp_path):
    pytest.importorskip("torch", reason="records a PyTorch GPT-2")
    for file in ("6_find_the_bug.py", "style.py", "graphs.py"):
        shutil.copy(FOLDER / file, tmp_path)
    (tmp_path / "recorded").mkdir()
    build.build(["6_find_the_bug"], tmp_path)
    written, committed = ({path.name: read_trace(path)[0] for path in sorted(folder.glob("*.safetensors"))}
                          for folder in (tmp_path / "recorded", FOLDER / "recorded"))  # fmt: skip
    assert written.keys() == committed.keys() and len(committed) == 3
    for file, tensors in committed.items():
        assert written[file].keys() == tensors.keys()
        for name, tensor in tensors.items():  # the same bits here; another processor rounds otherwise
            np.testing.assert_allclose(written[file][name], tensor, rtol=1e-3, atol=1e-4, err_msg=f"{file}: {name}")
    assert sum(path.stat().st_size for path in (FOLDER / "recorded").iterdir()) < 200_000


def change(path, function):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    function(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


BROKEN = {
    "prose": (lambda nb: nb["cells"][0].update(source="# another title"), "is not what 9_title.py says"),
    "code": (lambda nb: nb["cells"][1].update(source="print(1)"), "is not what 9_title.py says"),
    "order": (lambda nb: nb["cells"].insert(0, nb["cells"].pop()), "was not executed in its turn"),
    "lost cell": (lambda nb: nb["cells"].pop(), "is not what 9_title.py says"),
    "id": (lambda nb: nb["cells"][0].update(id="random"), "is not what 9_title.py says"),
    "cell metadata": (lambda nb: nb["cells"][1]["metadata"].update(collapsed=True), "is not what 9_title.py says"),
    "metadata": (lambda nb: nb["metadata"]["language_info"].update(version="3.11.7"), "is not what 9_title.py says"),
    "not executed": (lambda nb: nb["cells"][1].update(execution_count=None, outputs=[]), "was not executed"),
    "stderr": (lambda nb: nb["cells"][1]["outputs"].append(stream("a warning", "stderr")), "writes to stderr"),
    "error": (
        lambda nb: nb["cells"][1]["outputs"].append(
            {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}
        ),
        "shows an error: ValueError",
    ),
    "path": (lambda nb: nb["cells"][1]["outputs"].append(stream("in /home/me/x.py")), "shows a path of the machine"),
    "path here": (lambda nb: nb["cells"][1]["outputs"].append(stream(f"{build.ROOT}")), "shows a path of the machine"),
    "windows": (lambda nb: nb["cells"][1]["outputs"].append(stream("C:\\Users\\me")), "shows a path of the machine"),
    "picture": (lambda nb: nb["cells"][1]["outputs"].pop(), "shows 0 pictures: one and"),
    "alternative text": (lambda nb: nb["cells"][1]["metadata"].pop("alt"), "shows 1 pictures: one and"),
    "address": (
        lambda nb: nb["cells"][2]["outputs"][0]["data"].update({"text/plain": "<Text at 0x7f35c0ffee00>"}),
        "shows an address in memory",
    ),
}


@pytest.mark.parametrize(("function", "message"), BROKEN.values(), ids=BROKEN)
def test_check_finds_what_is_wrong_in_a_notebook(copy, function, message):
    assert build.check(copy) == []
    change(copy / "en/9_title.ipynb", function)
    found = build.check(copy)
    assert any(message in problem for problem in found), found
    assert all(problem.startswith("en/9_title.ipynb") for problem in found), found


def test_check_finds_what_is_missing_or_too_much(copy):
    (copy / "en/9_title.ipynb").rename(copy / "en/8_other.ipynb")
    found = build.check(copy)
    assert len(found) == 2
    assert "en/9_title.ipynb is missing" in found[0] and "build 9_title" in found[0]
    assert "en/8_other.ipynb has no source 8_other.py" in found[1]


def test_check_finds_a_changed_source(copy):
    source = copy / "9_title.py"
    source.write_text(source.read_text(encoding="utf-8").replace("3.7039887", "4"), encoding="utf-8")
    assert [problem.split(" is ")[0] for problem in build.check(copy)] == ["en/9_title.ipynb", "zh/9_title.ipynb"]


@pytest.mark.parametrize("tags", ["", ' tags=["note"]', ' tags=["en", "zh"]'])
def test_prose_needs_one_language(tmp_path, tags):
    (tmp_path / "9_title.py").write_text(f'# %% [markdown] tags=["en"]\n# a\n\n# %% [markdown]{tags}\n# some prose\n')
    with pytest.raises(ValueError, match=r"9_title.py: a prose cell needs the tag.*some prose"):
        build.check(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings; warnings.warn('careful')", "writes to stderr: .*careful"),
        ("print('/home/me')", "shows a path of the machine"),
        ("object()", "shows an address in memory"),
    ],
)
def test_build_writes_nothing_that_check_would_refuse(copy, code, message):
    before = (copy / "en/9_title.ipynb").read_bytes()
    (copy / "9_title.py").write_text(f'# %% [markdown] tags=["en"]\n# a\n\n# %%\n{code}\n')
    with pytest.raises(ValueError, match=message):
        build.build([], copy)
    assert (copy / "en/9_title.ipynb").read_bytes() == before


@pytest.mark.slow
def test_a_notebook_that_takes_too_long_is_stopped(copy, monkeypatch):
    monkeypatch.setattr(build, "LIMIT", 1.0)
    (copy / "9_title.py").write_text('# %% [markdown] tags=["en"]\n# a\n\n# %%\nimport time; time.sleep(60)\n')
    with pytest.raises(ValueError, match=r"9_title\.py: more than 1 s"):
        build.build([], copy)
    assert any("more than 1 s" in problem for problem in build.run([], copy))


@pytest.mark.slow
def test_run_accepts_rounding_and_another_picture_and_nothing_else(copy, capsys):
    def rounding(notebook):
        notebook["cells"][1]["outputs"][0]["text"] = "loss 3.7039891\n"
        notebook["cells"][1]["outputs"][1]["data"]["image/png"] = "iVBORw0KGgo="

    def another_number(notebook):
        notebook["cells"][1]["outputs"][0]["text"] = "loss 3.7139891\n"

    change(copy / "en/9_title.ipynb", rounding)
    change(copy / "zh/9_title.ipynb", another_number)
    (found,) = build.run([], copy)
    assert found.startswith("zh/9_title.ipynb: cell 9_title-2 showed") and "3.7139891" in found
    assert re.search(r"^ *\d+\.\d s  en/9_title\.ipynb$", capsys.readouterr().out, flags=re.M), "the time is printed"

    change(copy / "zh/9_title.ipynb", rounding)
    change(copy / "en/9_title.ipynb", lambda notebook: notebook["cells"][1]["outputs"].pop())
    (found,) = build.run([], copy)
    assert "outputs of another kind or number" in found


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("loss 3.7039887", "loss 3.7039891", True),
        ("loss 3.70", "loss 3.71", True),  # one in the last digit
        ("loss 3.70", "loss 3.72", False),
        ("error 3.1e-11", "error 8e-12", True),  # both are rounding noise
        ("error 3.1e-3", "error 8.0e-3", False),
        ("[1.  2.5]", "[ 1. 2.5]", True),
        ("1024 tokens", "1025 tokens", False),
        ("1,024 tokens", "1,024 tokens", True),
        ("passed", "FAILED", False),
        ("[1.0, 2.0]", "[1.0, 2.0, 3.0]", False),
        ("x 1.5", "y 1.5", False),
        ("-0.5", "0.5", False),
        ("nan", "1.0", False),
    ],
)
def test_text_is_compared_with_a_tolerance_for_numbers(old, new, same):
    assert build.same_text(old, new) is same
    assert build.same_text(new, old) is same


def test_names_are_beginnings(copy):
    (copy / "2_5_framework.py").write_text("")
    (copy / "2_5_1_embedding.py").write_text("")
    assert [path.stem for path in build.sources(copy)] == ["2_5_framework", "2_5_1_embedding", "9_title"]
    assert [path.stem for path in build.sources(copy, ["2_5_1"])] == ["2_5_1_embedding"]
    assert [path.stem for path in build.sources(copy, ["notebooks/9_title.py"])] == ["9_title"]
    with pytest.raises(ValueError, match=r"no source begins with '3'.*9_title"):
        build.sources(copy, ["3"])


def test_the_command_line(capsys):
    assert build.main(["check"]) == 0
    assert build.main(["run", "7"]) == 1
    assert "no source begins with '7'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        build.main(["--help"])
    assert stopped.value.code == 0 and "example:" in capsys.readouterr().out


def test_style_shows_the_source_that_runs(capsys):
    import inspect

    from minigpt2.components.layer_norm import layer_norm_forward

    shown = []
    style = load("style")
    style.display = shown.append
    style.show_source(layer_norm_forward)
    assert shown[0].data == (
        f"`minigpt2/components/layer_norm.py`\n\n```python\n{inspect.getsource(layer_norm_forward).strip()}\n```"
    )
