"""What it looks like when lists, dicts, texts or numbers are not equal to the expected ones.

A kind of difference is told only where it is the same in every wrong case.
"""

from collections import Counter

from minigpt2.exercises.results import describe


def of_plain(name, cases):
    """The difference, in a sentence or two.

    name:  of the output
    cases: pairs (actual, expected), of all the cases that went wrong
    """
    for rule in (_of_type, _of_dict, _of_list, _of_number):
        told = [rule(name, actual, expected) for actual, expected in cases]
        if len(set(told)) == 1 and told[0]:
            return told[0]
    return _first(name, *cases[0])


def _of_type(name, actual, expected):
    """Something of another type, or the right thing with another one beside it."""
    if isinstance(actual, list) and expected and any(_same(item, expected) for item in actual):
        beside = f"with {len(actual) - 1} more beside it" if len(actual) > 1 else "inside of a list of one"
        return f"{name} is there, but {beside}. Only {name} is wanted."
    if type(actual) is not type(expected):
        return f"{name} is of type {type(actual).__name__}, and should be of type {type(expected).__name__}."
    if isinstance(expected, list) and actual and expected:
        wanted = type(expected[0])
        odd = next((item for item in actual if type(item) is not wanted), None)
        if odd is not None:
            return f"There are items of type {type(odd).__name__} in {name}, not of type {_kind(wanted)} alone."
    return ""


def _of_dict(name, actual, expected):
    if not isinstance(actual, dict) or not isinstance(expected, dict) or not actual or not expected:
        return ""
    for what, ours, wanted in (("keys", actual, expected), ("values", actual.values(), expected.values())):
        types, right = {type(each) for each in ours}, type(next(iter(wanted)))
        if right not in types:
            return f"The {what} of {name} are of type {_kind(types.pop())}, and should be of type {_kind(right)}."
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
    """Right keys with numbers that are all off by the same, or by the same factor."""
    if not all(isinstance(value, int | float) for value in [*actual.values(), *expected.values()]):
        return ""
    if len({actual[key] - expected[key] for key in expected}) == 1 < len(expected):
        return f"The values of {name} are all off by the same number. What is added once too often, or not at all?"
    return ""


def _of_list(name, actual, expected):
    """Lists or texts in which something is missing, or has another place."""
    if not isinstance(expected, list | str) or type(actual) is not type(expected) or actual == expected:
        return ""
    what = "items" if isinstance(expected, list) else "characters"
    if not actual:
        return f"{name} is empty: is anything ever put into it?"
    if actual == expected[::-1]:
        return f"{name} is right, but backwards."
    if _counts(actual) == _counts(expected):
        return f"{name} has the right {what} in another order."
    if _counts(actual) == Counter(_counts(expected).keys()):
        return f"Each of the {what} is in {name} once only, also where it should come more often."
    if all(isinstance(item, list) for item in actual) and [item[::-1] for item in actual] == expected:
        return f"The parts of each item of {name} are turned round: what should be on the left is on the right."
    if actual == expected[: len(actual)]:
        return f"{name} is right as far as it goes, but has too few {what}."
    if expected == actual[: len(expected)]:
        return f"{name} is right up to its end, where more {what} follow than should."
    if actual == expected[-len(actual) :]:
        return f"The beginning of {name} is missing."
    if expected and expected == actual[-len(expected) :]:
        return f"{name} is right, but there is something before its beginning."
    return ""


def _of_number(name, actual, expected):
    if isinstance(expected, bool) or not isinstance(expected, int) or type(actual) is not type(expected):
        return ""
    return f"{name} is too {'large' if actual > expected else 'small'}, by {abs(actual - expected)}."


def _first(name, actual, expected):
    """The first difference."""
    if type(actual) is not type(expected):
        return f"{name} is {describe(actual)} here, and should be {describe(expected)}."
    if isinstance(expected, dict):
        missing, more = [k for k in expected if k not in actual], [k for k in actual if k not in expected]
        wrong = [key for key in expected if key in actual and actual[key] != expected[key]]
        told = [
            f"{len(keys)} {are}, such as {keys[0]!r}"
            for keys, are in ((missing, "are missing"), (more, "should not be there"), (wrong, "have another value"))
            if keys
        ]
        return f"Of the keys of {name}, {'; '.join(told)}. What do these have in common?"
    if isinstance(expected, list | str):
        place = next((i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b), None)
        if place is None:
            return f"{name} has the length {len(actual)} here, and should have {len(expected)}."
        return (
            f"{name} is right up to place {place} (counted from 0), where it has {actual[place]!r}: what happens there?"
        )
    return f"{name} is {describe(actual)} here, and should be {describe(expected)}."


def _same(one, other):
    return type(one) is type(other) and one == other


def _counts(items):
    """How often there is each item, also of those that cannot be keys."""
    return Counter(map(repr, items))


def _kind(wanted):
    """The name of a type; a pair, which is a tuple in a dict's keys, is a list among other values."""
    return "list or tuple" if wanted is list else wanted.__name__
