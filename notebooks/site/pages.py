"""The source of the site: notebooks, exercises, manual pages and a page for each module, in one folder for Sphinx.

Links between files of the repository become links between pages; a file that is no page is shown as a page of code.
"""

import ast
import importlib
import inspect
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import nbformat
from docstrings import inline

# The order of the manual; a page that is not named here comes at the end.
MANUAL = (
    "installation", "notebooks", "exercises", "classroom", "python", "command_line", "verify", "zero_shot",
    "experiments", "speed", "gpu", "security", "limits", "contributing", "changelog",
)  # fmt: skip
# The order of the modules beside packages; one that is not named here comes at the end.
MODULES = {
    "The textbook": "config model parameters backend parallel gradcheck plain",
    "Text in, text out": "tokenizer char_tokenizer vocabulary generation sampling",
    "Training and evaluation": "settings training run_folder fine_tuning evaluation measures report loss_curve",
}
INTRODUCTION = """\
Made from the docstrings: each entry has its formula, the shape of every argument, the errors, the source in the
literature, and the file and the line where it is defined. Shapes use the same letters everywhere: ``B`` batch, ``T``
time (tokens), ``C`` channels, ``H`` heads, ``D`` head size, ``V`` vocabulary. A gradient of ``x`` is called ``dx``.

.. automodule:: minigpt2
"""
PICTURES = (".png", ".svg", ".jpg", ".gif")
LONG = 8  # lines of a cell that mostly imports, from which on it is folded
CODE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
NOTEBOOK = re.compile(r"`(notebooks/en/\w+\.ipynb)`")  # named in exercises, which may lie where the book does not
LINK = re.compile(r"(?P<before>\]\(|\b(?:src|href)=\"|^\[[^\]\n]+\]:[ ]+)(?P<url>[^)\s\"]+)", re.MULTILINE)


def write(pages, root, notebooks):
    """Fill the folder ``pages``, which is there, from the repository at ``root``.

    notebooks: the paths of the executed notebooks, in their order
    raises: ValueError when a link leads nowhere.
    """
    site = _Site(pages, root)
    exercises = sorted((root / "notebooks/exercises/student").glob("*.ipynb"))
    manual = [path for path in (root / "notebooks/site").glob("*.md") if path.stem != "index"]
    manual += [path for path in [root / ".github/CONTRIBUTING.md"] if path.exists()]
    manual.sort(key=lambda path: (_place(path.stem.lower(), MANUAL), path.stem))
    api = _api(root, pages)
    site.add({path: path.stem for path in notebooks})
    site.add({path: f"exercises/{path.stem}" for path in exercises})
    site.add({root / "notebooks/exercises/README.md": "exercises/index"})
    site.add({path: f"manual/{path.stem.lower()}" for path in manual})
    site.add({root / "notebooks/site/index.md": "index"})
    site.places |= api | {root / "README.md": "index.md", root / "notebooks/en": "index.md"}
    site.places |= {root / "notebooks/exercises/student": "exercises/index.md", root / "notebooks": "index.md"}
    contents = {"NOTEBOOKS": notebooks, "EXERCISES": exercises, "MANUAL": manual}
    site.convert({name: [site.places[path].rpartition(".")[0] for path in paths] for name, paths in contents.items()})


class _Site:
    """Which file of the repository is which page.

    places: {path in the repository: path in the folder for Sphinx}
    """

    def __init__(self, pages, root):
        self.pages, self.root, self.places, self.waiting = pages, root, {}, []

    def add(self, documents):
        """Notebooks and Markdown files, {path: name of the page}, which ``convert`` is to write."""
        for path, name in documents.items():
            self.places[path] = name + path.suffix
            self.waiting.append(path)

    def convert(self, contents):
        """Write the pages that were added, and those that they lead to."""
        while self.waiting:
            path = self.waiting.pop()
            target = self.pages / self.places[path]
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".ipynb":
                notebook = nbformat.read(path, as_version=4)
                for cell in notebook.cells:
                    if cell.cell_type == "markdown":
                        book = os.path.relpath(self.root, path.parent).replace(os.sep, "/")
                        cell.source = self.linked(NOTEBOOK.sub(rf"[\1]({book}/\1)", cell.source), path)
                    elif imports(cell.source):
                        cell.metadata["tags"] = [*cell.metadata.get("tags", ()), "hide-input"]
                    for output in cell.get("outputs", ()):
                        if shown := output.get("metadata", {}).get("image/png"):  # as sized, and what it shows
                            cell.metadata["mystnb"] = {"image": {"width": f"{shown['width']}px", "alt": shown["alt"]}}
                nbformat.write(notebook, target)
                continue
            text = self.linked(path.read_text(encoding="utf-8"), path)
            for name, lines in contents.items():
                text = re.sub(rf"^{name}$", "\n".join(lines), text, flags=re.MULTILINE)
            if self.places[path].startswith("files/"):
                text = "---\norphan: true\n---\n" + text
            target.write_text(text, encoding="utf-8")

    def linked(self, text, path):
        """Markdown whose links to files lead to pages."""
        parts = CODE.split(text)
        for index in range(0, len(parts), 2):
            parts[index] = LINK.sub(lambda match: match["before"] + self.link(match["url"], path), parts[index])
        return "".join(parts)

    def link(self, url, path):
        """The link, in the page of ``path``, to what ``url`` means there."""
        if re.match(r"[a-z]+:|#", url):
            return url
        url, _, anchor = url.partition("#")
        target = Path(os.path.normpath(path.parent / unquote(url)))
        if not target.exists() or not target.is_relative_to(self.root):
            raise ValueError(f"{path.relative_to(self.root)}: the link to {url} leads nowhere")
        if target not in self.places:
            self._add_file(target)
        place = self.places[target]
        keeps = anchor and place.endswith((".md", ".ipynb")) and place != "index.md"
        relative = os.path.relpath(place, Path(self.places[path]).parent).replace(os.sep, "/")
        return f"{relative}#{anchor}" if keeps else relative

    def _add_file(self, path):
        """A page for a file that has none: Markdown as such, pictures as they are, everything else as code."""
        name = f"files/{path.relative_to(self.root).as_posix().lstrip('.')}"
        if path.suffix == ".md":
            self.add({path: name.removesuffix(".md")})
            return
        target = self.pages / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in PICTURES:
            self.places[path] = name
            shutil.copy(path, target)
            return
        self.places[path] = f"{name}.rst"
        title = path.relative_to(self.root).as_posix()
        if path.is_dir():
            names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir() if entry.name[0] not in "._")
            body = "".join(f"- ``{entry}``\n" for entry in names)
        else:
            shutil.copy(path, target)
            language = {".py": "python", ".toml": "toml", ".yml": "yaml", ".json": "json"}.get(path.suffix, "text")
            body = f".. literalinclude:: {path.name}\n   :language: {language}\n"
        Path(f"{target}.rst").write_text(f":orphan:\n\n{_title(title)}\n{body}", encoding="utf-8")


def imports(source):
    """Whether a cell is long and mostly imports."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a magic
        return False
    found = sum(isinstance(statement, ast.Import | ast.ImportFrom) for statement in statements)
    return len(source.splitlines()) >= LONG and found > len(statements) / 2


def _api(root, pages):
    """Write a page for each module and one for all; {path of the module, or folder of the package: page}."""
    (pages / "api").mkdir()
    places, inside, first_lines, packages = {}, {}, {}, set()
    for path in sorted((root / "minigpt2").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        name = ".".join(part for part in parts if part != "__init__")
        first_lines[name] = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
        inside.setdefault(name.rpartition(".")[0], []).append(name)
        places[path] = f"api/{name}.rst"
        if parts[-1] == "__init__":
            places[path.parent] = places[path]
            packages.add(name)
    for name in first_lines:
        if name != "minigpt2":
            _write_module(pages, name, inside.get(name, ()), first_lines)
    places[root / "minigpt2"] = places[root / "minigpt2/__init__.py"] = "api/index.rst"
    _write_index(pages, packages, inside["minigpt2"], first_lines)
    return places


def _write_module(pages, name, submodules, first_lines):
    parts = [_title(name.removeprefix("minigpt2.")), f".. automodule:: {name}\n"]
    if submodules:
        parts += [*_offers(name), ".. rubric:: Modules\n", _table(submodules, first_lines), _toctree(submodules)]
    (pages / f"api/{name}.rst").write_text("\n".join(parts), encoding="utf-8")


def _write_index(pages, packages, top, first_lines):
    """The page from which all others are reached, in the order of a walk through the house."""
    groups = {title: [f"minigpt2.{name}" for name in names.split()] for title, names in MODULES.items()}
    groups = {title: [name for name in names if name in top] for title, names in groups.items()}
    packages = sorted(set(top) & packages, key=lambda name: (name != "minigpt2.components", name))
    listed = {name for names in groups.values() for name in names} | set(packages)
    groups["Others"] = [name for name in top if name not in listed]
    parts = [_title("API reference"), INTRODUCTION, *_offers("minigpt2")]
    for title, names in {"The components": packages[:1], **groups, "The other packages": packages[1:]}.items():
        if names:
            parts += [f"{title}\n{'-' * len(title)}\n", _table(names, first_lines), _toctree(names)]
    (pages / "api/index.rst").write_text("\n".join(parts), encoding="utf-8")


def _offers(package):
    """What ``import package`` offers at once: links to where each is defined."""
    module = importlib.import_module(package)
    lines = []
    for name in sorted(getattr(module, "__all__", ()), key=str.lower):
        member = getattr(module, name)
        if (inspect.isclass(member) or inspect.isfunction(member)) and member.__module__ != package:
            meaning = inline(inspect.getdoc(member).split("\n\n")[0], member.__module__)
            lines.append(f":py:obj:`{package}.{name} <{member.__module__}.{name}>`\n    {meaning}\n")
    return [f"What ``import {package}`` offers at once:\n", *lines] if lines else []


def _table(names, first_lines):
    """Modules and what each is about."""
    lines = []
    for name in names:
        meaning = inline(" ".join(first_lines[name].split()), name)
        lines.append(f":doc:`{name.removeprefix('minigpt2.')} <{name}>`\n    {meaning}\n")
    return "\n".join(lines)


def _toctree(names):
    entries = [f"   {name.rpartition('.')[2]} <{name}>" for name in names]
    return "\n".join([".. toctree::", "   :hidden:", "", *entries, ""])


def _title(text):
    return f"{text}\n{'=' * len(text)}\n"


def _place(name, order):
    return order.index(name) if name in order else len(order)
