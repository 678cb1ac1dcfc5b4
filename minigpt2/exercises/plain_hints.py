"""What it looks like when lists, dicts, texts or numbers are not equal to the expected ones.

A kind of difference is told only where it is the same in every wrong case.
"""

import functools
from collections import Counter

from minigpt2.exercises.results import describe


def of_plain(name, cases):
    """The difference, in a sentence or two.

    name:  of the output
    cases: pairs (actual, expected), of all the cases that went wrong
    """
    for rule in (_of_type, _of_kind, _of_dict, _of_order, _of_list, _of_number):
        if told := rule(name, cases):
            return told
    return _first(name, *cases[0])


def _in_all(rule):
    """A rule for one case as one for all of them, which must agree."""

    @functools.wraps(rule)
    def of_all(name, cases):
        told = {rule(name, actual, expected) for actual, expected in cases}
        return told.pop() if len(told) == 1 else ""

    return of_all


@_in_all
def _of_type(name, actual, expected):
    """Something of another type, nothing, or the right thing with another one beside it."""
    if isinstance(actual, list) and any(type(item) is type(expected) and item == expected for item in actual):
        beside = f"with {len(actual) - 1} more beside it" if len(actual) > 1 else "inside of a list of one"
        return f"{name} is there, but {beside}. Only {name} is wanted."
    if type(actual) is not type(expected):
        return f"{name} is {_type(actual)}, and should be of type {type(expected).__name__}."
    if actual in ([], {}, ""):
        return f"{name} is empty: is anything ever put into it?"
    return ""


def _type(value):
    """The type of a result, where tuples and arrays were made lists: see ``results.plain``."""
    return "a list, a tuple or an array" if isinstance(value, list) else f"of type {type(value).__name__}"


def _of_kind(name, cases):
    """The right type with something else in it."""
    kinds = [(_kind(actual), _kind(expected)) for actual, expected in cases if actual and expected]
    if not kinds or any(kind == wanted for kind, wanted in kinds):
        return ""
    return f"{name} is a {kinds[0][0]}, and should be a {kinds[0][1]}."


def _kind(value):
    """The type of something and of what is in it; pairs are lists here, unless they are keys of a dict."""
    if isinstance(value, list):
        return f"list of {_kinds(value)}"
    if isinstance(value, dict):
        return f"dict from {_kinds(value)} to {_kinds(value.values())}"
    return type(value).__name__


def _kinds(items):
    kinds = sorted({_kind(item) for item in items})
    return kinds[0] if len(kinds) == 1 else f"({' or '.join(kinds)})"


@_in_all
def _of_dict(name, actual, expected):
    if not isinstance(actual, dict) or not isinstance(expected, dict) or not actual or not expected:
        return ""
    if actual == expected:
        return f"{name} has the right entries in another order. Which come first?"
    if actual.keys() == expected.keys():
        return _of_values(name, actual, expected)
    if all(isinstance(key, tuple) for key in actual) and {key[::-1]: n for key, n in actual.items()} == expected:
        return f"The keys of {name} are turned round: what should be on the left is on the right."
    if actual.items() < expected.items():
        return f"{name} is right as far as it goes, but keys are missing."
    if actual.items() > expected.items():
        return f"{name} is right but for keys that should not be there."
    return ""


def _of_values(name, actual, expected):
    """Right keys with numbers that are all off by the same."""
    if not all(isinstance(value, int | float) for value in [*actual.values(), *expected.values()]):
        return ""
    if len({actual[key] - expected[key] for key in expected}) == 1 < len(expected):
        return f"The values of {name} are all off by the same number. What is added once too often, or not at all?"
    return ""


def _of_order(name, cases):
    """Lists or texts of the right items, backwards or in another order."""
    for actual, expected in cases:
        if not isinstance(expected, list | str) or type(actual) is not type(expected):
            return ""
        if _counts(actual) != _counts(expected):
            return ""
    if all(actual == expected[::-1] for actual, expected in cases):
        return f"{name} is right, but backwards."
    return f"{name} has the right {_parts(expected)} in another order."


def _parts(value):
    return "items" if isinstance(value, list) else "characters"


@_in_all
def _of_list(name, actual, expected):
    """Lists or texts in which something is missing, or too much."""
    if not isinstance(expected, list | str) or type(actual) is not type(expected) or actual == expected:
        return ""
    if isinstance(expected, list) and len(actual) > 1 and _counts(actual) == Counter(_counts(expected).keys()):
        return f"Each item is in {name} once only, also where it should come more often."
    if all(isinstance(item, list) for item in actual) and [item[::-1] for item in actual] == expected:
        return f"The parts of each item of {name} are turned round: what should be on the left is on the right."
    return _of_ends(name, actual, expected, _parts(expected))


def _of_ends(name, actual, expected, what):
    """Lists or texts that are right, but too long or too short; of a few items this may be chance."""
    if not len(expected) <= 2 * len(actual) <= 4 * len(expected):
        return ""
    if actual == expected[: len(actual)]:
        return f"{name} is right as far as it goes, but has too few {what}."
    if expected == actual[: len(expected)]:
        return f"{name} is right up to its end, where more {what} follow than should."
    if actual == expected[-len(actual) :]:
        return f"The beginning of {name} is missing."
    if expected == actual[-len(expected) :]:
        return f"{name} is right, but there is something before its beginning."
    return ""


@_in_all
def _of_number(name, actual, expected):
    if isinstance(expected, bool) or not isinstance(expected, int) or type(actual) is not type(expected):
        return ""
    return f"{name} is too {'large' if actual > expected else 'small'}, by {abs(actual - expected)}."


def _first(name, actual, expected):
    """The first difference."""
    if type(actual) is not type(expected):
        return f"{name} is {describe(actual)} here, and should be {describe(expected)}."
    if isinstance(expected, dict):
        keys = {
            "missing": [key for key in expected if key not in actual],
            "not expected": [key for key in actual if key not in expected],
            "with another value": [key for key in expected if key in actual and actual[key] != expected[key]],
        }
        told = [f"{len(found)} {what}, such as {found[0]!r}" for what, found in keys.items() if found]
        return f"The keys of {name}: {'; '.join(told)}."
    if isinstance(expected, list | str):
        place = next((i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b), None)
        if not actual:
            return f"{name} is empty here: is anything ever put into it?"
        if place is None:
            return f"{name} has the length {len(actual)} here, and should have {len(expected)}."
        return (
            f"{name} is right up to place {place} (counted from 0), where it has {actual[place]!r}: what happens there?"
        )
    return f"{name} is {describe(actual)} here, and should be {describe(expected)}."


def _counts(items):
    """How often there is each item, also of those that cannot be keys."""
    return Counter(map(repr, items))
