"""The examples in docstrings are what comes out."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import minigpt2
from minigpt2 import components

MODULES = [
    name for _, name, _ in pkgutil.walk_packages(minigpt2.__path__, "minigpt2.") if not name.endswith("__main__")
]
FUNCTIONS = [
    function
    for _, name, _ in pkgutil.iter_modules(components.__path__, "minigpt2.components.")
    for function in vars(importlib.import_module(name)).values()
    if inspect.isfunction(function) and function.__module__ == name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert not results.failed


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_formula_has_an_example(function):
    small = not function.__name__.startswith(("_", "check_"))
    composite = "params" in inspect.signature(function).parameters  # has no few numbers to show
    if small and not composite and function.__name__.endswith("_forward"):
        assert ">>>" in function.__doc__, "an example with numbers that can be checked by hand"
