"""The functions that an exercise asks for, with the cases to try and the mistakes that people make."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One situation in which a function is tried.

    title:  its special feature, "one sequence of five tokens"
    inputs: argument name -> value, in the order of the arguments; of a backward pass, those of its forward pass
    """

    title: str
    inputs: dict


@dataclass(frozen=True)
class Mistake:
    """A typical wrong solution, which is recognised by its results, or by the error that it raises.

    hint:  the kind of mistake and where to look, without the answer
    wrong: (*inputs) -> all the results of such a solution
    """

    hint: str
    wrong: Callable


@dataclass(frozen=True)
class Task:
    """A function to be written.

    name:      of the function
    outputs:   the names of its results, in their order; a nested dict of arrays counts as one
    reference: (*inputs) -> the right outputs, a tuple, or the only one
    cases:     (rng) -> list of Case; the first is small, so that a person can follow its numbers
    mistakes:  the more specific ones first
    notebook:  name of the notebook that explains it
    forward:   of a backward pass: its forward pass, (*inputs) -> (y, cache). The function that is tried then takes
        (dy, cache), and its outputs are the gradients of all float inputs of ``forward``
    exact:     whether outputs must be equal, rather than equal up to rounding: for token ids and the like
    accept:    (inputs, result) -> the mistake in a sentence, or None; in place of ``reference`` where there is more
        than one right result
    seconds:   after this time a single call is stopped
    """

    name: str
    outputs: tuple[str, ...]
    reference: Callable | None
    cases: Callable
    mistakes: tuple[Mistake, ...] = ()
    notebook: str = ""
    forward: Callable | None = None
    exact: bool = False
    accept: Callable | None = None
    seconds: float = 10.0
