"""The book as static pages, as a browser without a network shows it: formulas typeset, pictures and links there."""

import importlib.util
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

for package in ("sphinx", "myst_nb", "sphinx_book_theme", "jupytext", "nbclient"):
    pytest.importorskip(package, reason="the site needs the extras [notebooks,docs]")
if shutil.which("npm") is None:
    pytest.skip("the site needs npm, for MathJax", allow_module_level=True)

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page links to and loads, the ids that it has, and its text outside of code."""

    def __init__(self, html):
        super().__init__()
        self.links, self.loads, self.ids, self.text, self._code = [], [], set(), [], 0
        self.feed(html)

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
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in (out / "site").glob("*.html")}
    return out / "site", pages


def test_every_notebook_is_a_page(site):
    folder, pages = site
    for notebook in (NOTEBOOKS / "en").glob("*.ipynb"):
        assert folder / f"{notebook.stem}.html" in pages
    index = pages[folder / "index.html"]
    assert {f"{notebook.stem}.html" for notebook in (NOTEBOOKS / "en").glob("*.ipynb")} <= set(index.links)


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
            if not target.exists():
                broken.append(f"{path.name}: {url}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{path.name}: {url} (no such place)")
    assert broken == []


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_formulas_are_typeset(site):
    _, pages = site
    for path in sorted(pages):
        formulas = len(re.findall(r'class="math notranslate', path.read_text(encoding="utf-8")))
        if path.name in ("index.html", "search.html", "genindex.html"):
            continue
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
             "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--dump-dom", path.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert done.stdout.count("<mjx-container") >= formulas, path.name
        assert not re.search(r'<g data-mml-node="merror"|data-mjx-error="', done.stdout), path.name
        text = "".join(Page(done.stdout).text)
        assert re.findall(r"\$[^$\n]{1,80}\$|\\\(|\\\[|\\mathrm|\\frac", text) == [], path.name
