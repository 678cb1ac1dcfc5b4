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
    wrong: (*inputs) -> all the results of such a solution; or the changes that turn our solution into it, pairs of
        (text in its source, text in its place). Changes in different places can be combined: so two mistakes at once
        are recognised as two.
    """

    hint: str
    wrong: Callable | tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Task:
    """A function to be written.

    name:      of the function
    outputs:   the names of its results, in their order; a nested dict of arrays counts as one
    reference: (*inputs) -> the right outputs, a tuple, or the only one; after them its cache, if the text asks for one
    cases:     (rng) -> list of Case; the first is small, so that a person can follow its numbers. Arguments at the end
        that are not in a case have their default values
    mistakes:  the more specific ones first
    notebook:  name of the notebook that explains it
    forward:   of a backward pass: its forward pass, (*inputs) -> (y, cache). The function that is tried then takes
        (dy, cache), and its outputs are the gradients of all float inputs of ``forward``
    has_cache: whether a cache may follow the outputs. What is in it is up to the student
    serves:    where the text says what is in the cache: our backward pass, which must be able to use it; it returns
        None where that cannot be told
    exact:     whether outputs must be equal, rather than equal up to rounding: for token ids and the like
    ordered:   whether the order of a dict's entries counts
    accept:    (inputs, result) -> the mistake in a sentence, or None; in place of ``reference`` where there is more
        than one right result
    limit:     what a function with right results must do as well, such as need little memory: a title, and
        (function) -> the mistake in a sentence, or None
    seconds:   of processor time, after which a single call is stopped
    """

    name: str
    outputs: tuple[str, ...]
    reference: Callable | None
    cases: Callable
    mistakes: tuple[Mistake, ...] = ()
    notebook: str = ""
    forward: Callable | None = None
    has_cache: bool = False
    serves: Callable | None = None
    exact: bool = False
    ordered: bool = False
    accept: Callable | None = None
    limit: tuple[str, Callable] | None = None
    seconds: float = 10.0
