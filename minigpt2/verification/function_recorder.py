"""Write down what a GPT-2 of plain functions computes, as picoGPT's in NumPy, without touching it.

    import pico
    from minigpt2.verification.function_recorder import record_functions

    with record_functions(pico) as theirs:
        pico.gpt2(ids, **params, n_head=4)
    theirs.save("theirs.safetensors")

A tensor is called by the functions that led to it, each with the number of its call within the one before:
``gpt2.0.transformer_block.2.ffn.0.gelu.0`` is what ``gelu`` returned in the third block, and what it was given is
``gpt2.0.transformer_block.2.ffn.0.gelu.0.x``, by the name in its definition.
"""

import contextlib
import functools
import inspect
import types
from collections import Counter
from contextlib import contextmanager

import numpy as np

from minigpt2.verification.recorder import Recorder, to_numpy


@contextmanager
def record_functions(module):
    """Record what is given to the functions of a module within the block, by position, and what they return.

    The same array is recorded once, under the first of its names. What does not convert to an array is left out:
    text, and JAX's tracers, since nothing is computed with them.

    module: a Python module, or anything else whose attributes are functions that call each other by these names
    returns Recorder, to which more may be tapped; the module is as before after the block.
    raises: TypeError when the module has no functions of its own.
    """
    functions = {
        name: value for name, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__
    }  # fmt: skip
    if not functions:
        raise TypeError(f"record_functions: {module!r} has no functions of its own")
    recorder = Recorder()
    calls = _Calls(recorder)
    try:
        for name, function in functions.items():
            setattr(module, name, calls.watched(name, function))
        yield recorder
    finally:
        for name, function in functions.items():
            setattr(module, name, function)


class _Calls:
    """The functions that are running, how often each was called within the one before, and the arrays seen."""

    def __init__(self, recorder):
        self.recorder, self.path = recorder, ""
        self.counts, self.seen = Counter(), {}

    def watched(self, name, function):
        """The function, with its arguments and its result recorded."""
        parameters = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*arguments, **options):
            before = self.path
            path = f"{before}.{name}.{self.counts[before, name]}".lstrip(".")
            self.counts[before, name] += 1
            for parameter, argument in zip(parameters, arguments, strict=False):  # strict is wrong for *arguments
                self.tap(f"{path}.{parameter}", argument)
            self.path = path
            try:
                result = function(*arguments, **options)
            finally:
                self.path = before
            return self.tap(path, result)

        return call

    def tap(self, name, value):
        """Record an array, or those in a container; what was recorded already, unless it was changed in place, not."""
        if isinstance(value, dict | list | tuple):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                self.tap(f"{name}.{key}", part)
        elif getattr(value, "shape", None) is not None:
            with contextlib.suppress(TypeError):  # not an array, or not yet
                array = to_numpy(name, value)
                known = self.seen.get(id(value))
                if known is None or not np.array_equal(known[1], array, equal_nan=True):
                    self.recorder.tap(name, value)
                    self.seen[id(value)] = value, array  # the value too, so that its id is not given to another
        return value
