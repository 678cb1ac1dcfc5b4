"""README and the pages in notebooks/site say what is true: code runs, tables and pictures are those of the code."""

import importlib.metadata
import importlib.util
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from minigpt2 import plain
from minigpt2.cli import main
from minigpt2.tasks import TASKS

ROOT = Path(__file__).parents[1]
SITE = ROOT / "notebooks/site"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = {"README.md": README} | {path.name: path.read_text(encoding="utf-8") for path in sorted(SITE.glob("*.md"))}


def blocks(text, language=""):
    """The fenced blocks of a page in one language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    return [code for its_language, code in fenced if its_language == language]


def first_column(page, heading):
    """The first cells of the table under a heading."""
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", PAGES[page], flags=re.M | re.S)[1]
    return [cell for cell in re.findall(r"^\| ([^|]*?) \|", section, flags=re.M) if "`" in cell]


def test_it_begins_with_the_two_commands():
    first, second = blocks(README, "sh")[:2]
    venv = "python3 -m venv .venv && .venv/bin/pip install -e "
    assert first == venv + '. && .venv/bin/minigpt2 generate --prompt "ROMEO:"\n'
    assert second == venv + "'.[test]' && .venv/bin/python -m pytest\n"


def test_it_is_read_in_ten_minutes():
    assert len(README.splitlines()) <= 215


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "python")])
def test_code_runs(page, capsys):
    """All blocks of a page one after the other, as a reader would; an excerpt of plain.py is no program."""
    source, names = Path(plain.__file__).read_text(encoding="utf-8"), {}
    code = [block for block in blocks(PAGES[page], "python") if block not in source]
    for block in code:
        exec(compile(block, page, "exec"), names)
    assert code and capsys.readouterr().out
    if page == "README.md":
        assert names["loss"] < 2.5  # of 6.2: it has learned something of the page


# The tour of the house.


def tree():
    """(folders and files that the tour names, their comments), from the block that begins with minigpt2/."""
    (block,) = (block for block in blocks(README) if block.startswith("minigpt2/\n"))
    named, comments, folders = [], [], []
    for line in block.splitlines():
        indent, entry, comment = re.fullmatch(r"( *)((?:\S+ ?)+?)(?: {2,}(\S.*))?", line).groups()
        del folders[len(indent) // 2 :]
        paths = ["/".join([*folders, name]) for name in entry.split()]
        named += paths
        comments.append(comment)
        if paths[-1].endswith("/"):
            folders.append(entry.strip(" /"))
    return named, comments


def test_the_tour_names_every_file_of_the_package_once():
    named, comments = tree()
    assert [name for name, times in Counter(named).items() if times > 1] == []
    assert [name for name in named if "*" in name] == ["minigpt2/exercises/ex*.py", "minigpt2/cli/*.py"]
    toured = {path for name in named for path in ROOT.glob(name.rstrip("/"))}
    files = {path for path in ROOT.glob("minigpt2/**/*") if path.is_file() and "__pycache__" not in path.parts}
    folders = {path.parent for path in files}
    modules = {path for path in files if path.suffix == ".py" and path.name != "__init__.py"}
    assert {str(path.relative_to(ROOT)) for path in (modules | folders) - toured} == set()
    assert comments[0] is None and all(comments[1:])


def test_the_tour_names_nothing_that_is_not_there():
    for name in tree()[0]:
        assert [*ROOT.glob(name.rstrip("/"))], name


# Installation.


def test_installing_brings_as_many_packages_as_the_pages_say():
    from packaging.requirements import Requirement  # which pytest needs

    wanted, waiting = set(), [name_of(requirement) for requirement in PROJECT["dependencies"]]
    direct = len(waiting)
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": "", "sys_platform": "linux",
                                                                               "platform_system": "Linux"})  # fmt: skip
            if needed and name_of(text) not in wanted:
                waiting.append(name_of(text))
    listed = {cell.strip("`") for cell in first_column("installation.md", "The packages") if cell.strip("`") in wanted}
    numbers = {4: "four", 6: "six", 10: "ten"}
    assert listed == wanted
    every, ours, theirs = (numbers[number] for number in (len(wanted), direct, len(wanted) - direct))
    assert f"{every} packages, {ours} that it asks for and {theirs} that" in " ".join(README.split())
    assert f"brings {every} packages: {ours} that" in " ".join(PAGES["installation.md"].split())


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_extras_are_listed():
    listed = {cell.strip("`") for cell in first_column("installation.md", "The packages")}
    assert set(PROJECT["optional-dependencies"]) <= listed
    for page, text in PAGES.items():
        assert not re.search(r"minigpt2\[", text), f"{page}: the name is on no index; write -e '.[extra]'"
        for extras in re.findall(r"'\.\[([\w,]+)\]'|`\.\[([\w,]+)\]`", text):
            assert set("".join(extras).split(",")) <= set(PROJECT["optional-dependencies"]), page


def test_environment_variables_are_listed():
    listed = " ".join(first_column("installation.md", "Environment variables"))
    for path in (ROOT / "minigpt2").rglob("*.py"):
        for name in re.findall(r"environ(?:\.get)?[(\[]\s*\"(\w+)\"", path.read_text(encoding="utf-8")):
            assert f"`{name}`" in listed, (path.name, name)


# Tables.


def test_commands_and_options_exist(capsys):
    """Those of the table, and those of the other pages as far as they stand beside a command."""
    helps = {}

    def help_of(command):
        if command not in helps:
            with pytest.raises(SystemExit) as ended:
                main([*command, "--help"])
            assert ended.value.code == 0, command
            helps[command] = capsys.readouterr().out
        return helps[command]

    commands = re.findall(r"^    ([a-z]+) {2,}\S", help_of(()), flags=re.M)
    table = "\n".join(line for line in PAGES["command_line.md"].splitlines() if line.startswith("| `minigpt2 "))
    assert set(re.findall(r"`minigpt2 (\w+)", table)) == set(commands)
    used = [(row, re.match(r"\| `minigpt2 (\w+)", row)[1]) for row in table.splitlines()]
    used += [(call, call.split()[1]) for text in PAGES.values()
             for call in re.findall(r"\bminigpt2 [a-z]+ [^`\n]*", text)]  # fmt: skip
    used += [(section, section.split(maxsplit=1)[0].lower()) for section in PAGES["command_line.md"].split("\n## ")
             if section.split(maxsplit=1)[0] in ("Generate", "Train")]  # fmt: skip
    used += [(PAGES["zero_shot.md"].replace("`.[evaluation]`", ""), "eval")]
    checked = 0
    for text, command in used:
        if command in commands:
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text):
                assert re.search(rf"{option}\b", help_of((command,))), (command, option)
                checked += 1
    assert checked > 60


def test_the_settings_are_those_of_the_presets():
    from minigpt2.settings import RUNS

    rows = re.findall(r"^\| (`--.*?) \| .*? \| (.*?) \| (.*?) \|$", PAGES["command_line.md"], flags=re.M)
    for options, *columns in rows:
        names = [name.replace("-", "_") for name in re.findall(r"--([\w-]+)", options)]
        for preset, values in zip(("alice", "shakespeare"), columns, strict=True):
            values = re.sub(r"(?<=\d),(?=\d{3})", "", values).replace("`", "").split(", ")
            for name, value in zip(names, values, strict=True):
                setting = getattr(RUNS[preset], name)
                setting = " ".join(setting) if isinstance(setting, tuple) else setting
                assert value == str(setting) or (value == "none" and not setting), (preset, name)
    assert len(rows) > 8


def test_every_task_has_its_row():
    rows = re.findall(r"^\| (`.*?) \| .*? \| .*? \| .*? ?\|$", PAGES["zero_shot.md"], flags=re.M)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == [*TASKS]


def test_every_notebook_has_its_row():
    rows = re.findall(r"^\| ([\d.]+) \| \[(.*?)\]\(\.\./en/(.*?)\.ipynb\) \|$", PAGES["notebooks.md"], flags=re.M)
    assert {name for *_, name in rows} == {path.stem for path in (ROOT / "notebooks/en").glob("*.ipynb")}
    for number, title, name in rows:
        notebook = json.loads((ROOT / f"notebooks/en/{name}.ipynb").read_text(encoding="utf-8"))
        heading = "".join(notebook["cells"][0]["source"]).splitlines()[0]
        assert re.fullmatch(rf"# {re.escape(number)}\.? .*· {re.escape(title)}", heading), name
    assert len(rows) == 24 and "[Twenty-four notebooks]" in README


def test_the_experiments_are_those_that_were_run():
    folder = ROOT / "notebooks/experiments"
    full = (folder / "domains.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\|.* ± .*\|$", PAGES["experiments.md"], flags=re.M):
        cells = row.strip("| ").split(" | ")
        if len(cells) == 4:
            assert f"| {' | '.join(cells[1:])} |" in full, row
    masked = json.loads((folder / "masked_then_causal.json").read_text(encoding="utf-8"))["nats per character"]
    for losses in masked.values():
        assert f"| {sum(losses) / len(losses):.3f} ± " in PAGES["experiments.md"]


# Pictures.


@pytest.fixture(scope="module")
def pictures():
    """notebooks/pictures.py as a module."""
    pytest.importorskip("matplotlib", reason="the pictures need the extra [notebooks]")
    specification = importlib.util.spec_from_file_location("pictures", ROOT / "notebooks/pictures.py")
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "notebooks")  # it takes colours from overview.py
        specification.loader.exec_module(module)
    return module


def as_text(facts):
    """What a picture keeps; numbers are left out, whose last digits differ between machines."""
    return re.sub(r"-?\d+(\.\d+(e-?\d+)?|e-?\d+)", "#", json.dumps(facts))


@pytest.mark.parametrize("name", ["read", "teach", "verify", "pace"])
def test_a_picture_shows_what_the_code_does(pictures, name):
    image = pytest.importorskip("PIL.Image").open(ROOT / f"notebooks/{name}.png")
    facts = pictures.PICTURES[name][0]()
    drawn = json.loads(image.text["Description"])
    if name == "pace":
        assert drawn == json.loads(json.dumps(facts)), "speed.md is newer: python notebooks/pictures.py pace"
    assert as_text(drawn) == as_text({key: value for key, value in facts.items() if key != "figure"})
    assert name in PICTURES_OF_THE_README and image.width > 1000


PICTURES_OF_THE_README = re.findall(r"!\[.*?\]\(notebooks/(\w+)\.png\)", README)
