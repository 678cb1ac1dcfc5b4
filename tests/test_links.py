"""Every link on a page of the repository leads somewhere: to a file, to a folder, to a heading."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder in ("", ".github/**/", "minigpt2/**/", "notebooks/**/", "tests/**/")
    for path in ROOT.glob(f"{folder}*.md")
    if not {".ipynb_checkpoints", "build"} & set(path.parts)
)
SCRIPT = re.compile(r"(?<![\w/.-])(?:minigpt2|notebooks|tests)/[\w./-]*\w")


def prose(path):
    """The text of a page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def links(path):
    """The targets of links and pictures; code is no link."""
    return re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`]*`", "", prose(path).replace("[`", "[").replace("`]", "]")))


def anchors(path):
    """The names of a page's headings, as git hosts and myst make them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(path):
    found = []
    for link in links(path):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        there = (path.parent / target).resolve() if target else path
        if target.startswith("/") or not there.is_relative_to(ROOT) or not there.exists():
            found.append(f"{link}: no such file")
        elif anchor and (there.suffix != ".md" or anchor not in anchors(there)):
            found.append(f"{link}: no such heading")
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(path):
    assert broken(path) == []


@pytest.mark.parametrize(
    "path", [path for path in PAGES if path.name != "changelog.md"], ids=lambda path: str(path.relative_to(ROOT))
)  # the changelog names files as they were
def test_files_that_are_named_exist(path):
    """In code: `tests/tools/fuzz.py`, `python notebooks/build.py build`, also in a block."""
    text = path.read_text(encoding="utf-8")
    code = re.findall(r"^```.*?^```|`[^`\n]+`|^    .*$", text, flags=re.M | re.S)
    named = {name for piece in code for name in SCRIPT.findall(piece) if "." in Path(name).name}
    assert [name for name in sorted(named) if not (ROOT / name).exists() and "NAME" not in name] == []


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
        waiting += [path for path in targets - reached if path.suffix == ".md" and path.exists()]
    wanted = {path for path in PAGES if path.parent.name in ("site", "exercises", "shakespeare")}
    assert {path.name for path in wanted - reached} <= {"index.md"}  # the site's front page is the README's twin


def test_a_broken_link_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# A heading: `code`, and more\n```\n# no heading\n```\n")
    page.write_text(
        "[a](other.md#a-heading-code-and-more) [b](#c) [`d`](gone.py) ![e](other.md#no-heading) [f](https://x.y)\n"
        "[g](../outside.md) [h](/other.md) `[i](no.link)`\n\n```\n[j](no.link)\n```\n"
    )
    assert [line.partition(":")[0] for line in broken(page)] == [
        "#c", "gone.py", "other.md#no-heading", "../outside.md", "/other.md"
    ]  # fmt: skip
