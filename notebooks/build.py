"""Build, check and run the notebooks, one way only: from the sources beside this file to en/<name>.ipynb.

A source is a script in jupytext's percent format whose name begins with the number of its section. Its prose
cells carry the tag of their language; its code cells belong to every language:

    # %% [markdown] tags=["en"]      into en/<name>.ipynb
    # %% [markdown] tags=["zh"]      into zh/<name>.ipynb, which is built once a source has such a cell
    # %%                             into both

A cell of code shows one picture at most. What the picture shows, for those who do not see it, stands in words in the
cell after it, which is no cell of the notebook but its picture's alternative text:

    # %% [markdown] tags=["en", "alt"]
"""

import argparse
import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import jupytext
import nbformat

from minigpt2.storage.files import atomic_write

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
LANGUAGES = ("en", "zh")
LIMIT = 60.0  # seconds, for all cells of a notebook

# These vary between machines and say nothing about a notebook.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# One thread of BLAS: sums are then rounded in the same order on any number of cores.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TQDM_DISABLE": "1",  # a bar would stay in the output
    # What a notebook shows must not depend on what somebody has downloaded.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_CACHE": "build/nothing",
    "MINIGPT2_CACHE": "build/nothing",
}

# A printed number may differ by a thousandth, by 1e-6 (rounding noise around 0), or by one in its last digit.
RELATIVE, ABSOLUTE = 1e-3, 1e-6
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w])")

MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|usr|opt|var|mnt|private)/\w|\b[A-Z]:\\\w|site-packages")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of a traceback, for a terminal
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")

EXAMPLE = """\
example:
  python notebooks/build.py build 2_5_5        execute the source, write notebooks/en/2_5_5_....ipynb
  python notebooks/build.py check              do all sources and notebooks agree? (no kernel, immediate)
  python notebooks/build.py run                execute everything again, compare with the committed notebooks
  python notebooks/build.py site               build/site/index.html, the manual, readable without a network
"""


def build(names, folder=FOLDER):
    """Execute sources and write their notebooks, each whole or not at all.

    names: beginnings of their names; empty for all
    raises: ValueError when a cell fails, writes to stderr, shows a path of this machine or takes too long.
    """
    for path in sources(folder, names):
        for language in languages(path):
            notebook, seconds = execute(path, language)
            found = problems(notebook)
            if found:
                raise ValueError(f"{path.name}: {found[0]}")
            target = notebook_path(path, language)
            target.parent.mkdir(exist_ok=True)
            with atomic_write(target, "w") as file:
                file.write(nbformat.writes(notebook) + "\n")
            print(f"{seconds:5.1f} s  {language}/{target.name}", flush=True)


def check(folder=FOLDER):
    """Everything that is wrong with the committed notebooks, without executing any; [] when nothing is."""
    found, wanted = [], set()
    for path in sources(folder):
        for language in languages(path):
            target, expected = notebook_path(path, language), convert(path, language)
            wanted.add(target)
            if not target.exists():
                found.append(f"{language}/{target.name} is missing: python notebooks/build.py build {path.stem}")
                continue
            notebook = nbformat.read(target, as_version=4)
            found += [f"{language}/{target.name}: {problem}" for problem in problems(notebook)]
            if bare(notebook) != bare(expected):
                found.append(
                    f"{language}/{target.name} is not what {path.name} says: "
                    f"python notebooks/build.py build {path.stem}"
                )
    for language in LANGUAGES:
        for target in sorted((folder / language).glob("*.ipynb")):
            if target not in wanted:
                found.append(f"{language}/{target.name} has no source {target.stem}.py: delete it")
    return found


def run(names, folder=FOLDER):
    """Execute sources again and compare the outputs with the committed notebooks; all the differences.

    Text must be the same except for numbers, which may differ as ``same_text`` says; of a picture only the existence is
    compared.
    """
    found = []
    for path in sources(folder, names):
        for language in languages(path):
            target = notebook_path(path, language)
            if not target.exists():
                found.append(f"{language}/{target.name} is missing: python notebooks/build.py build {path.stem}")
                continue
            try:
                notebook, seconds = execute(path, language)
            except ValueError as error:
                found.append(str(error))
                continue
            differences = compare(nbformat.read(target, as_version=4), notebook)
            found += [f"{language}/{target.name}: {problem}" for problem in problems(notebook) + differences]
            print(f"{seconds:5.1f} s  {language}/{target.name}", flush=True)
    return found


def site(folder=FOLDER, out=ROOT / "build"):
    """Build the manual as static pages that fetch nothing: out/site/index.html.

    raises: ValueError when a notebook is not built, npm is missing, a link leads nowhere or Sphinx fails.
    """
    sys.path.insert(0, str(FOLDER / "site"))
    from pages import write as write_pages

    for path in sources(folder):
        if not notebook_path(path, "en").exists():
            raise ValueError(f"there is no en/{path.stem}.ipynb: python notebooks/build.py build {path.stem}")
    mathjax = fetch_mathjax(out)
    pages = out / "site_source"
    shutil.rmtree(pages, ignore_errors=True)
    shutil.rmtree(out / "site", ignore_errors=True)
    (pages / "_static").mkdir(parents=True)
    for path in (mathjax, folder / "site/site.css"):
        shutil.copy(path, pages / "_static")
    write_pages(pages, folder.parent, [notebook_path(path, "en") for path in sources(folder)])
    settings = ["-c", folder / "site", "-D", f"html_static_path={pages / '_static'}"]
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-j", "auto", "-b", "html", *settings, pages, out / "site"]
    if subprocess.run(command).returncode:
        raise ValueError("sphinx failed, see above; it needs pip install -e '.[docs]'")
    print(out / "site/index.html")


def fetch_mathjax(out):
    """MathJax 3 in one file that needs no other fonts; kept in ``out`` once it is there."""
    target = out / "mathjax/tex-svg.js"
    if target.exists():
        return target
    if shutil.which("npm") is None:
        raise ValueError("the site needs MathJax from npm's registry, and npm was not found: install Node.js")
    target.parent.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", "--silent", "mathjax@3"],
        cwd=target.parent,
        capture_output=True,
        text=True,
        shell=os.name == "nt",
    )
    if packed.returncode:
        raise ValueError(f"npm pack mathjax@3 failed: {packed.stderr.strip()[-300:]}")
    with tarfile.open(target.parent / packed.stdout.split()[-1]) as archive, atomic_write(target) as file:
        file.write(archive.extractfile("package/es5/tex-svg.js").read())
    return target


def sources(folder=FOLDER, names=()):
    """The sources in the order of their sections, 2_5 before 2_5_1; those that begin with one of ``names``."""
    paths = sorted(folder.glob("[0-9]*.py"), key=lambda path: [int(n) for n in re.findall(r"(\d+)_", path.stem)])
    names = [Path(name).stem for name in names]
    for name in names:
        if not any(path.stem.startswith(name) for path in paths):
            raise ValueError(f"no source begins with {name!r}; there are {', '.join(path.stem for path in paths)}")
    return [path for path in paths if not names or path.stem.startswith(tuple(names))]


def languages(path):
    """The languages that a source has prose cells for."""
    tags = {tag for cell in _read(path) if cell.cell_type == "markdown" for tag in cell.metadata.get("tags", ())}
    return [language for language in LANGUAGES if language in tags]


def notebook_path(path, language):
    """The path of a source's notebook."""
    return path.parent / language / f"{path.stem}.ipynb"


def convert(path, language):
    """The notebook of a source in one language, not executed.

    Ids count the cells of the source, so that a code cell has the same one in every language.
    raises: ValueError when a prose cell has no language, or two, or an alternative text stands behind no code.
    """
    cells = []
    for index, cell in enumerate(_read(path)):
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown" and len(set(tags) & set(LANGUAGES)) != 1:
            raise ValueError(f"{path.name}: a prose cell needs the tag of its language, en or zh: {cell.source[:60]!r}")
        if cell.cell_type == "markdown" and language not in tags:
            continue
        if "alt" in tags:
            if not cells or cells[-1].cell_type != "code":
                raise ValueError(f"{path.name}: an alternative text stands behind no picture: {cell.source[:60]!r}")
            cells[-1].metadata["alt"] = " ".join(cell.source.split())
            continue
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.id = f"{path.stem}-{index}"
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def execute(path, language):
    """(the executed notebook, the seconds it took), run in the folder of the finished notebook.

    raises: ValueError when a cell fails or the limit is exceeded.
    """
    where = notebook_path(path, language).parent
    where.mkdir(exist_ok=True)
    notebook, start = convert(path, language), time.monotonic()
    run_cells(notebook, where, path.name, LIMIT)
    seconds = time.monotonic() - start
    if seconds > LIMIT:
        raise ValueError(f"{path.name}: {seconds:.0f} s, more than {LIMIT:.0f}")
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                _finish(output, cell.metadata.get("alt", ""))
    return notebook, seconds


def run_cells(notebook, where, name, limit):
    """Execute a notebook in the folder ``where``; its outputs are then in it.

    name: for messages; limit: seconds for all cells
    raises: ValueError when a cell fails or the limit is exceeded.
    """
    from nbclient import NotebookClient  # importing it takes longer than a check
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    start = time.monotonic()
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        timeout_func=lambda cell: max(1, math.ceil(start + limit - time.monotonic())),
        resources={"metadata": {"path": str(where)}},
    )
    try:
        # The kernel's own stderr is a warning about its ports; that of the cells is in their outputs.
        client.execute(env=os.environ | ENVIRONMENT, stderr=subprocess.DEVNULL)
    except CellTimeoutError:
        raise ValueError(f"{name}: more than {limit:.0f} s") from None
    except (CellExecutionError, DeadKernelError) as error:
        raise ValueError(f"{name}: {COLOUR.sub('', str(error))}") from None


def problems(notebook):
    """Things that must not be in an executed notebook."""
    found, count = [], 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.execution_count != count:
            found.append(f"cell {cell.id} was not executed in its turn")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {cell.id} shows an error: {output.ename}")
            elif output.get("name") == "stderr":
                found.append(f"cell {cell.id} writes to stderr: {output.text.strip()[:100]!r}")
            text = "\n".join(texts(output).values())
            if str(ROOT) in text or MACHINE_PATH.search(text):
                found.append(f"cell {cell.id} shows a path of the machine that built it")
            if ADDRESS.search(text):
                found.append(f"cell {cell.id} shows an address in memory, which differs each time")
        pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        if pictures != ("alt" in cell.metadata):
            found.append(f"cell {cell.id} shows {pictures} pictures: one and a cell tagged alt, or none")
    return found


def bare(notebook):
    """All of a notebook except the results of executing it."""
    cells = [(c.cell_type, c.id, c.source, json.dumps(c.metadata, sort_keys=True)) for c in notebook.cells]
    return cells, json.dumps(notebook.metadata, sort_keys=True), (notebook.nbformat, notebook.nbformat_minor)


def compare(old, new):
    """The differences between the outputs of two notebooks of one source, in words."""
    found = []
    for before, after in zip(old.cells, new.cells, strict=False):
        if before.cell_type != "code" or after.cell_type != "code":
            continue
        if [kinds(output) for output in before.outputs] != [kinds(output) for output in after.outputs]:
            found.append(f"cell {after.id} shows outputs of another kind or number than before")
            continue
        for one, two in zip(before.outputs, after.outputs, strict=True):
            for kind, text in texts(one).items():
                if not same_text(text, texts(two)[kind]):
                    found.append(f"cell {after.id} showed\n{_indent(text)}\nand now\n{_indent(texts(two)[kind])}")
    return found


def same_text(old, new):
    """Whether two texts agree in everything except spaces and the last digits of numbers that are not integers."""
    if "".join(NUMBER.sub("#", old).split()) != "".join(NUMBER.sub("#", new).split()):
        return False
    return all(_same_number(*pair) for pair in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True))


def kinds(output):
    """The type of an output and the kinds of content in it."""
    return output.output_type, output.get("name"), sorted(output.get("data", {}))


def texts(output):
    """The readable parts of an output, by their kind; pictures are omitted."""
    if "text" in output:
        return {"stream": output.text}
    if output.output_type == "error":
        return {"error": "\n".join(output.traceback)}
    return {kind: content for kind, content in output.data.items() if kind.startswith("text/")}


def main(arguments=None):
    """Returns the exit code: 1 when something is wrong, each thing on a line of stderr."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="build | check | run | site")
    for command, purpose in (
        ("build", "execute sources and write their notebooks"),
        ("check", "do sources and notebooks agree? without executing anything"),
        ("run", f"execute sources and compare with their notebooks; at most {LIMIT:.0f} s each"),
        ("site", "the manual as static pages in build/site"),
    ):
        subparser = commands.add_parser(command, help=purpose, description=purpose)
        if command in ("build", "run"):
            subparser.add_argument("names", nargs="*", help="beginnings of names, such as 2_5_5; all by default")
    options = parser.parse_args(arguments)
    try:
        if options.command == "build":
            build(options.names)
        elif options.command == "site":
            site()
        else:
            found = check() if options.command == "check" else run(options.names)
            print("\n".join(found), file=sys.stderr, end="\n" if found else "")
            return 1 if found else 0
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def _read(path):
    """The cells of a source."""
    return jupytext.read(path, fmt="py:percent").cells


def _finish(output, alt):
    """Give a picture of twice the resolution the colours that it uses, at most 256, and its alternative text.

    It then takes the room of one of half the resolution in all colours.
    """
    from PIL import Image  # the exercises import this module and make no pictures

    picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    output.data["image/png"] = base64.b64encode(file.getvalue()).decode() + "\n"
    output.metadata.setdefault("image/png", {})["alt"] = alt


def _same_number(old, new):
    """Integers must be equal; a difference of one in the last digit, the coarser of the two, is rounding."""
    if not set(".eE") & set(old + new):
        return int(old) == int(new)
    unit = max(_unit(old), _unit(new))
    return math.isclose(float(old), float(new), rel_tol=RELATIVE, abs_tol=max(ABSOLUTE, 1.001 * unit))


def _unit(number):
    """The value of one unit in the last digit of a printed number: 0.01 for 3.70, 0 for 37."""
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals) if decimals or exponent else 0.0


def _indent(text):
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[:12])


if __name__ == "__main__":
    sys.exit(main())
