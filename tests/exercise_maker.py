"""notebooks/exercises/make.py as a module, for the tests of the exercises; they skip where its packages are missing."""

import importlib.util
from pathlib import Path

import pytest

nbformat, *_ = (
    pytest.importorskip(package, reason=f"needs {package}, of the extra 'notebooks'")
    for package in ("nbformat", "jupytext", "nbclient")
)

FOLDER = Path(__file__).parents[1] / "notebooks/exercises"

spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

SOURCES = make.sources()
