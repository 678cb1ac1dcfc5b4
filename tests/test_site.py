"""The site as static pages, as a browser without a network shows it: reference, formulas, pictures, links, search."""

import functools
import importlib
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import minigpt2

for package in ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx_copybutton", "jupytext", "nbclient"):
    pytest.importorskip(package, reason="the site needs the extras [notebooks,docs]")
if shutil.which("npm") is None:
    pytest.skip("the site needs npm, for MathJax", allow_module_level=True)

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MATH = re.compile(r'<(div|span) class="math notranslate[^>]*>(.*?)</\1>', re.DOTALL)
ENTRY = r'<dt class="sig sig-object py" id="{}">(.*?)(?=<dt class="sig sig-object|</section>)'
pytestmark = pytest.mark.slow
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium")


class Page(HTMLParser):
    """What a page links to and loads, the ids that it has, and its text outside of code and formulas."""

    def __init__(self, html):
        super().__init__()
        self.links, self.loads, self.ids, self.text, self._code = [], [], set(), [], 0
        self.feed(MATH.sub("", html))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag in ("img", "script", "source", "iframe") and attributes.get("src"):
            self.loads.append(attributes["src"])
        if tag == "link" and attributes.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(attributes["href"])
        self._code += tag in ("pre", "code", "script", "style")

    def handle_endtag(self, tag):
        self._code -= tag in ("pre", "code", "script", "style")

    def handle_data(self, data):
        if not self._code:
            self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built by the one command that a user has, and its pages."""
    specification = importlib.util.spec_from_file_location("notebooks_build", NOTEBOOKS / "build.py")
    build = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(build)
    out = tmp_path_factory.mktemp("build")
    sys.modules["notebooks_build"] = build
    try:
        build.fetch_mathjax(out)
    except ValueError as error:
        pytest.skip(f"npm gives no MathJax here: {error}")
    build.site(out=out)
    paths = [path for path in (out / "site").rglob("*.html") if "_static" not in path.parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    return out / "site", pages


def dom(page, width=1400):
    """The text of a page after its scripts have run, without a network."""
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", f"--window-size={width},1000",
         "--dump-dom", page],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


def public_members():
    """The functions and classes of every module: {module: [member, ...]}."""
    sys.path.insert(0, str(NOTEBOOKS / "site"))
    docstrings = importlib.import_module("docstrings")
    return {module.__name__: docstrings.public_members(module) for module in docstrings.modules()}


@functools.cache
def entry(page, member):
    """The part of a page of the reference that is about one function."""
    name = f"{member.__module__}.{member.__qualname__}"
    found = re.search(ENTRY.format(re.escape(name)), page.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{name} is not in {page.name}"
    return found[1]


def test_everything_is_a_page_that_the_start_page_leads_to(site):
    folder, pages = site
    wanted = {f"{path.stem}.html" for path in (NOTEBOOKS / "en").glob("*.ipynb")}
    wanted |= {f"exercises/{path.stem}.html" for path in (NOTEBOOKS / "exercises/student").glob("*.ipynb")}
    wanted |= {f"manual/{path.stem}.html" for path in (NOTEBOOKS / "site").glob("*.md") if path.stem != "index"}
    wanted |= {"exercises/index.html", "api/index.html"}
    assert wanted <= {path.relative_to(folder).as_posix() for path in pages}
    assert wanted <= set(pages[folder / "index.html"].links)
    assert any(url.endswith("overview.png") for url in pages[folder / "index.html"].loads)


def test_nothing_is_fetched_from_outside(site):
    for path, page in site[1].items():
        assert [url for url in page.loads if urlsplit(url).netloc] == [], path.name
    styles = "\n".join(path.read_text(errors="replace") for path in site[0].rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?https?:[^)\"']*", styles) == []


def test_pictures_and_links_resolve(site):
    _, pages = site
    broken = []
    for path, page in pages.items():
        for url in page.loads + page.links:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.name}: {url}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{path.name}: {url} (no such place)")
    assert broken == []


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path):
    pages = importlib.import_module("pages")
    site = pages._Site(tmp_path / "pages", tmp_path)
    (tmp_path / "code.toml").write_text("a = 1\n")
    page = tmp_path / "page.md"
    site.add({page: "manual/page"})
    assert site.linked("[a](code.toml) `[b](gone.md)`", page) == "[a](../files/code.toml.rst) `[b](gone.md)`"
    with pytest.raises(ValueError, match=r"page.md: the link to gone.md leads nowhere"):
        site.linked("[b](gone.md)", page)


def test_every_public_function_is_in_the_reference(site):
    folder, _ = site
    for module, members in public_members().items():
        for member in members:
            text = entry(folder / f"api/{module}.html", member)
            line = inspect.getsourcelines(member)[1]
            assert f", line {line}</a>" in text, f"{module}.{member.__name__}: where it is defined"
            assert "[source]" in text
    for name in set(minigpt2.__all__) - {"__version__"}:
        member = getattr(minigpt2, name)
        assert f"minigpt2.{member.__module__.partition('.')[2]}.html#" in (folder / "api/index.html").read_text()
        entry(folder / f"api/{member.__module__}.html", member)


def test_an_entry_has_shapes_formulas_and_what_is_raised(site):
    formulas = importlib.import_module("formulas")
    counted = 0
    for module, members in public_members().items():
        if not module.startswith("minigpt2.components."):
            continue
        for member in filter(inspect.isfunction, members):
            text, doc = entry(site[0] / f"api/{module}.html", member), inspect.getdoc(member)
            for name, shape in re.findall(r"^(\w+): +(\((?:\.\.\.|[A-Z]).*?\))", doc, re.MULTILINE):
                shown = re.search(rf'>{name}<span class="colon">:</span></dt>\s*<dd.*?<code.*?</code>', text, re.DOTALL)
                assert shown, f"{module}: {name} of {member.__name__}"
                assert re.sub("<.*?>", "", shown[0]).split(":", 1)[1].strip() == shape
            for start, heading in (("raises:", "Raises"), ("Source:", "Source"), ("returns ", "Returns")):
                assert bool(re.search(f"^{start}", doc, re.MULTILINE)) == (f">{heading}<span" in text), member.__name__
            blocks = [part for part in re.split(r"\n\s*\n", doc) if all(row[:4] == "    " for row in part.splitlines())]
            rows = [row for block in blocks for row in block.splitlines()]
            wanted = sum(is_formula for row in rows for is_formula, _ in formulas.pieces(row))
            assert len(MATH.findall(text)) == wanted, f"formulas of {member.__name__}"
            counted += wanted
    assert counted > 50


def test_long_imports_are_folded_and_code_can_be_copied(site):
    folder, pages = site
    for path in (NOTEBOOKS / "en").glob("*.ipynb"):
        text = (folder / f"{path.stem}.html").read_text(encoding="utf-8")
        folded = re.findall(r'<details class="[^"]*hide above-input">(.*?)</details>', text, re.DOTALL)
        assert all(">import<" in cell for cell in folded), path.name
        assert len(folded) == 1, path.name
    assert any("copybutton" in url for url in pages[folder / "index.html"].loads)


def test_pictures_of_notebooks_have_words_and_answers_are_folded(site):
    for path in (NOTEBOOKS / "en").glob("*.ipynb"):
        text = (site[0] / f"{path.stem}.html").read_text(encoding="utf-8")
        pictures = re.findall(r'<img alt="([^"]*)"[^>]*src="_images/[^>]*width="(\d+)"', text)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        words = [cell["metadata"]["alt"] for cell in cells if "alt" in cell["metadata"]]
        assert [unescape(alt) for alt, _ in pictures] == words, path.name
        assert all(int(width) <= 1000 for _, width in pictures), path.name
        answers = re.findall(r"<details><summary>Answer</summary>(.*?)</details>", text, re.DOTALL)
        assert len(answers) >= 2 and all("<p>" in answer for answer in answers), path.name


def test_there_is_one_search_box(site):
    for path in site[1]:
        if path.name != "search.html":
            assert path.read_text(encoding="utf-8").count("search-button__button") == 1, path.name


def test_no_formula_is_left_as_text(site):
    for path, page in site[1].items():
        found = re.findall(r"\$[^$\n]{1,80}\$|\\\(|\\\[|\\mathrm|\\frac", "".join(page.text))
        if "detokenizers" not in path.name:  # of dollars
            assert found == [], path.name


@needs_browser
def test_formulas_are_typeset(site):
    """All of them on one page, with the settings of the pages that they are from; and a page as it is."""
    folder, pages = site
    settings = r"<script>window\.MathJax = .*?</script>"
    script = r'<script[^>]* src="[^"]*tex-svg\.js[^"]*"></script>'
    formulas, seen = [], set()
    for path in pages:
        text = path.read_text(encoding="utf-8")
        found = [match[0] for match in MATH.finditer(text)]
        assert not found or re.search(script, text), f"{path.name} does not load MathJax"
        formulas += found
        seen.update(re.findall(settings, text, re.DOTALL) if found else [])
    assert len(formulas) > 500 and len(seen) == 1
    everything = folder / "all_formulas.html"
    source = re.search(script, (folder / "2_5_3_attention.html").read_text(encoding="utf-8"))[0]
    everything.write_text(f"<html><head>{seen.pop()}{source}</head><body>{' '.join(formulas)}</body></html>", "utf-8")
    text = dom(everything.as_uri())
    assert text.count("<mjx-container") == len(formulas)
    assert not re.search(r'<g data-mml-node="merror"|data-mjx-error="', text)
    assert 'fill="red"' not in text, "an unknown macro"
    page = folder / "api/minigpt2.components.layer_norm.html"
    assert dom(page.as_uri()).count("<mjx-container") == len(MATH.findall(page.read_text(encoding="utf-8")))


@needs_browser
@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("layer_norm_backward", "minigpt2.components.layer_norm.layer_norm_backward"),
        ("cross entropy", "minigpt2.components.loss.cross_entropy_backward"),
        ("learn_merges", "minigpt2.tokenizer.learn_merges"),  # not that of the exercise
    ],
)
def test_the_search_finds_functions_first(site, words, first):
    text = dom(f"{(site[0] / 'search.html').as_uri()}?q={words.replace(' ', '%20')}")
    results = text[text.index('id="search-results"') :]
    assert re.search(r'<li[^>]*>\s*<a href="([^"]*)"', results)[1] == f"api/{first.rpartition('.')[0]}.html#{first}"


WIDTHS = """
<script>
function report() {
  const frames = [...document.querySelectorAll("iframe")].map(frame => frame.contentDocument);
  const wide = page => [...page.querySelectorAll("pre")].filter(pre => pre.scrollWidth > pre.clientWidth + 1);
  document.title = JSON.stringify(frames.map(page => [page.documentElement.scrollWidth, wide(page).length]));
}
window.addEventListener("load", () => setTimeout(report, 3000));
</script>
"""


@needs_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_a_page_is_as_wide_as_the_screen(site, width):
    """At 1,400 pixels all code can be seen, lines of 120 characters included; at 390 it scrolls by itself."""
    folder, _ = site
    names = [
        "index.html", "2_5_3_attention.html", "exercises/05_layer_norm.html", "api/minigpt2.model.html",
        "api/minigpt2.components.key_value_cache.html",
        *(path.relative_to(folder).as_posix() for path in (folder / "_modules/minigpt2/components").glob("*.html")),
    ]  # fmt: skip
    frames = "".join(f'<iframe src="{name}" width="{width}" height="900" frameborder="0"></iframe>' for name in names)
    page = folder / f"widths_{width}.html"
    page.write_text(f"<html><head>{WIDTHS}</head><body>{frames}</body></html>", encoding="utf-8")
    found = json.loads(re.search(r"<title>(.*?)</title>", dom(page.as_uri(), width + 100))[1])
    assert [name for name, (wide, _) in zip(names, found, strict=True) if wide > width] == []
    if width == 1400:
        assert [name for name, (_, cut) in zip(names, found, strict=True) if cut] == []
