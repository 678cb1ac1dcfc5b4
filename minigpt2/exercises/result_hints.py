"""What it looks like when results are wrong, told from the results alone: true of any function.

Each hint says what is the case, and asks what may be the cause. What cannot be sure says less.
"""

import itertools
import math

import numpy as np

from minigpt2.exercises.plain_hints import of_plain
from minigpt2.exercises.results import size
from minigpt2.exercises.trees import arrays_in, in_code

LARGE = 1e6  # beside what is so many times too large, nothing else can be seen
CLOSE = 0.02  # an error below this part of the largest number looks like a constant or a rounding
POWERS = {-1: "divided by", -0.5: "divided by the root of", 0.5: "times the root of", 1: "times"}


def together(hints):
    """One text from several hints."""
    if len(hints) == 1:
        return hints[0]
    return f"{len(hints)} things at once. " + " ".join(f"({i}) {hint}" for i, hint in enumerate(hints, 1))


def turned(attempts):
    """All that is wrong has the wrong sign, in every case; "" where it is not so."""
    names = {name for each in attempts for name in (each.wrong if each.results else [None])}
    if None in names or not all(
        each.equal(each.results[name], -each.expected[name]) for each in attempts for name in each.wrong
    ):
        return ""
    return f"{_few(sorted(names))} {'is' if len(names) == 1 else 'are'} right except for the sign."


def follows(alone, attempt):
    """What follows as it should from the outputs that are wrong by themselves, in a sentence; "" if there are none."""
    if not alone:
        return ""
    others = [name for name in attempt.wrong if name not in alone]
    return f"Look at {_few(alone)} alone: {_few(others)} would be right if {_few(alone)} were. "


def of_results(task, attempts, attempt, alone=()):
    """The kind of mistake behind wrong results, if it can be told from them; else "".

    attempt: the first one that went wrong
    alone:   the outputs that are wrong by themselves, where the others follow from them
    """
    results, expected, equal = attempt.results, attempt.expected, attempt.equal
    if _is_constant(attempts):
        return "The same comes back in every case. Where do the arguments come in?"
    if task.exact:
        name = attempt.wrong[0]
        wrong = [each for each in attempts if each.results is not None and name in each.wrong]
        told = of_plain(name, [(each.results[name], each.expected[name]) for each in wrong])
        return f"{told} {only_in(attempts)}".strip()
    if moved := _exchanged(results, expected, equal) or _second(task, attempt):
        return moved
    if told := _shared(attempt) or _of_lengths(attempts, attempt):
        return told
    inputs = {in_code(name): array for name, array in arrays_in(attempt.trial.ours).items()}
    names = alone or attempt.wrong
    hints = {name: of_array(name, results[name], expected[name], inputs, equal) for name in names}
    return next((hint for hint in hints.values() if hint), "") or _nearly(attempts, attempt, names[0])


def _is_constant(attempts):
    """Whether at least three calls gave the same, where different results are expected."""
    results, expected = [each.results for each in attempts], [each.expected for each in attempts]
    return len(results) > 2 and None not in results and _are_alike(results) and not _are_alike(expected)


def _are_alike(results):
    first, *others = results
    return all(
        np.array_equal(other.get(name), value) if isinstance(value, np.ndarray) else other.get(name) == value
        for other in others
        for name, value in first.items()
    )


def _exchanged(results, expected, equal):
    """Outputs that come in each other's places."""
    names = list(expected)
    at = {
        name: next((other for other in names if other != name and equal(results[name], expected[other])), None)
        for name in names
        if not equal(results[name], expected[name])
    }
    told = [f"what comes back as {name} is {other}" for name, other in at.items() if other]
    if not told or len(told) < len(at):
        return ""
    return f"A result stands in the place of another: {', '.join(told)}."


def _shared(attempt):
    """A wrong output that is one and the same array as another output."""
    for one, other in itertools.combinations(attempt.results, 2):
        if attempt.results[one] is attempt.results[other] and {one, other} & set(attempt.wrong):
            return (
                f"{one} and {other} are one and the same array. Is it returned twice, or has it two names, as after "
                "`a = b = np.zeros(...)`?"
            )
    return ""


def _of_lengths(attempts, attempt):
    """A factor that is in every case the length of an axis, or a product of lengths, or the root of it."""
    if not all(each.results for each in attempts):
        return ""
    wrong = {name: [i for i, each in enumerate(attempts) if name in each.wrong] for name in attempt.wrong}
    for (lengths, told), (power, words) in itertools.product(_lengths(attempts, attempt), POWERS.items()):
        names = [
            name
            for name in wrong
            if len({lengths[i] for i in wrong[name]}) > 1  # one number alone may be many things
            and all(
                each.equal(each.results[name], each.expected[name] * float(length) ** power)
                for each, length in zip(attempts, lengths, strict=True)
            )
        ]
        if names:
            are = "is what it" if len(names) == 1 else "are what they"
            done, other = ("multiplied", "divided") if power > 0 else ("divided", "multiplied")
            return (
                f"{_few(names)} {are} should be, {words} {told}, in every case. What is {done} once too often, or not "
                f"{other} at all?"
            )
    return ""


def _lengths(attempts, attempt):
    """Pairs of a length in all attempts, or then a product of several, and its name; of the wrong outputs first."""
    shapes = [
        {name: array.shape for name, array in (each.expected | arrays_in(each.trial.ours)).items()} for each in attempts
    ]
    names = dict.fromkeys([*attempt.wrong, *shapes[0]])
    ndims = {array: {len(each.get(array, ())) for each in shapes} for array in names}
    most = max(map(max, ndims.values()))
    for count, array in itertools.product(range(1, most + 1), names):
        if len(ndims[array]) == 1:
            for axes in itertools.combinations(range(min(ndims[array])), count):
                what = "the length of" if count == 1 else "the product of the lengths of"
                lengths = [math.prod(each[array][axis] for axis in axes) for each in shapes]
                if all(lengths):
                    yield lengths, f"{what} {_axes(axes)} of {array}"


def _second(task, attempt):
    """The only output where its cache should be."""
    name, value = task.outputs[0], attempt.outcome.value
    is_pair = len(task.outputs) == 1 and task.has_cache and isinstance(value, tuple) and len(value) == 2
    if is_pair and isinstance(value[1], np.ndarray) and attempt.equal(value[1], attempt.expected.get(name, np.nan)):
        return f"{name} is right, but comes second. In this order: `{name}` and a cache."
    return ""


def _nearly(attempts, attempt, name):
    """A small error, wherever there is one; where that is in very few cases, they say more."""
    failed = [each for each in attempts if not each.finding.passed]
    if 4 * len(failed) < len(attempts):
        return ""
    if not all(each.results and all(_is_near(each, name) for name in each.wrong) for each in failed):
        return ""
    actual, expected = attempt.results[name], attempt.expected[name]
    if np.asarray(attempt.equal.off(actual, expected))[expected != 0].mean() <= 0.5:  # a few places, and others right
        return ""
    digits = _digits(actual - expected, expected)
    return (
        f"{name} is nearly right, {digits}: is it a constant, an epsilon, a rounding, or a small term? Compare each "
        "number in your code with the formula."
    )


def _is_near(attempt, name):
    """Whether an output is nearly right. One that is an input as well is updated: then its change is the measure."""
    actual, expected, before = attempt.results[name], attempt.expected[name], attempt.trial.ours.get(name, 0.0)
    if actual.shape != expected.shape or not np.isfinite(actual - expected).all():
        return False
    change = expected - before if np.shape(before) == expected.shape else expected
    return size(np.asarray(actual - expected)) < CLOSE * size(np.asarray(change))


def of_array(name, actual, expected, inputs, equal):
    """The kind of mistake that turns ``expected`` into ``actual``; "" when it is not known.

    name:   of the output
    inputs: name, as in code -> array: the function's arguments
    equal:  (actual, expected) -> whether two arrays agree up to rounding
    """
    if actual.shape != expected.shape:
        return _of_shape(name, actual, expected, equal)
    if actual.dtype.kind != "f" and expected.dtype.kind == "f":
        return f"{name} is of {actual.dtype}: its numbers were cut to integers, or compared. Floats are expected."
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        if np.isfinite(expected).all() and not np.isnan(actual).any():
            return (
                f"{name} is infinite at {_place(np.isinf(actual))}, and should not be. Is an infinity left there that "
                "was written for a purpose, does a number overflow (exp of a large one), or is it divided by zero, or "
                "the logarithm of zero?"
            )
        if np.isfinite(expected).all():
            return (
                f"{name} has NaN in it. Where can a number overflow (exp of a large one), be divided by zero, or be "
                "the logarithm of zero or the root of a negative number? Is -inf multiplied by 0, or subtracted from "
                "itself, as in a softmax of nothing else? Is every element of it written to?"
            )
        return _of_infinities(name, actual, expected, inputs, equal)
    if not actual.any():
        everywhere = " everywhere" if actual.ndim else ""
        return (
            f"{name} is zero{everywhere}: is it never written to, multiplied by 0, rounded down, as `//` does, or put "
            "in place of NaN?"
        )
    if equal(actual, -expected):
        return f"{name} is right except for the sign."
    if equal(actual * actual, expected):
        return f"{name} is the root of what it should be."
    if equal(actual, expected * expected):
        return f"{name} is the square of what it should be."
    if places := _places(actual, expected, equal):
        return f"{name} is rounded to {places} decimal place{'s' * (places > 1)}."
    for other, value in inputs.items():
        if value.shape == actual.shape and value.dtype.kind == "f" and equal(actual, value):
            return f"{name} is the same as {other}: nothing is done to it."
    return _of_numbers(name, actual, expected, inputs, equal)


def _of_numbers(name, actual, expected, inputs, equal):
    """How arrays of one shape with finite numbers differ."""
    difference, off = actual - expected, equal.off(actual, expected)
    if actual.dtype == np.float16 or equal(actual, expected.astype(np.float16)):
        return f"{name} has only the digits of float16."
    if equal.tolerance < 1e-6 and size(difference) < 1e-6 * size(expected) and (actual == np.float32(actual)).all():
        return f"{name} has only the digits of float32."
    if expected.size == 1:  # any number is a multiple of another
        return ""
    if size(actual) > LARGE * size(expected) > 0:
        return (
            f"{name} is far too large, {size(actual):.1g} at most where {size(expected):.1g} is expected. What is "
            "divided by a small number, or raised to a power?"
        )
    place = _place(off)
    if not actual[off].any():
        return (
            f"{name} is 0 where it is wrong, in {off.sum()} of {off.size} numbers, such as {place}. Is nothing "
            "written there, or is it masked?"
        )
    ratio = float((actual * expected).sum() / (expected * expected).sum()) if expected.any() else 0.0
    if ratio and equal(actual, ratio * expected):
        if abs(ratio - 1) < CLOSE:
            return (
                f"{name} is a little too {'large' if ratio > 1 else 'small'}, by the same factor everywhere: "
                f"{ratio:.6g}."
            )
        much = f"{ratio:.6g}" if abs(ratio) > 1 else f"1 / {1 / ratio:.6g}"
        return (
            f"{name} is what it should be times {much}, everywhere. Which number has this value here? What divides or "
            "multiplies once too often, or not at all?"
        )
    shift = float(difference.mean())
    if equal(actual, expected + shift):
        return f"{name} is off by the same number everywhere, {shift:.6g}. What is added once too often, or not at all?"
    if 1 < off.sum() < off.size and np.ptp(actual[off]) == 0:
        return (
            f"{name} is {actual[off][0]:.6g} where it is wrong, in {off.sum()} of {off.size} numbers, such as {place}. "
            "Where does this number come from?"
        )
    for other, value in inputs.items():
        if value.shape == actual.shape and value.dtype.kind == "f":
            if equal(difference, value):
                return f"{name} is too large by {other}: it was added once too often."
            if equal(-difference, value):
                return f"{name} is too small by {other}: it is missing, or was subtracted."
            if equal(actual, expected * value):
                return f"{name} is what it should be times {other}: one factor too many."
    if equal(abs(actual), abs(expected)):
        return (
            f"{name} is right except for the sign of some numbers, such as {place}. Where does a sign get lost, as in "
            "abs, a square or a root?"
        )
    if equal(np.sort(actual, axis=None), np.sort(expected, axis=None)):
        return _of_places(name, actual, expected, equal)
    if (off & (expected == 0)).any():
        return f"{name} should be 0 at {_place(off & (expected == 0))}, and is not."
    if (off & (actual == 0)).any():
        return f"{name} is 0 at {_place(off & (actual == 0))}, and should not be."
    return _of_axes(name, actual, expected, equal)


def _of_axes(name, actual, expected, equal):
    """A difference or a factor that is the same along some axes."""
    difference = actual - expected
    axes = [axis for axis in range(expected.ndim) if expected.shape[axis] > 1]
    alike = [axis for axis in axes if equal(difference, difference.mean(axis, keepdims=True) + 0 * difference)]
    if alike and len(alike) < len(axes):
        return (
            f"{name} is off by a number that is the same along {_axes(alike)} and differs along "
            f"{_axes(set(axes) - set(alike))}. Which term depends on just that?"
        )
    alike = []
    axes = [axis for axis in axes if (np.count_nonzero(expected, axis) != 1).all()]  # one number is a multiple of any
    for axis in axes:
        factor = (actual * expected).sum(axis, keepdims=True) / (expected * expected).sum(axis, keepdims=True)
        if np.isfinite(factor).all() and equal(actual, factor * expected):
            alike.append(axis)
    factors = (actual * expected).sum(tuple(alike)) / (expected * expected).sum(tuple(alike)) if alike else 0.0
    if alike and np.ptp(factors) < CLOSE * size(np.asarray(factors)):
        return (
            f"{name} is what it should be times {np.median(factors):.3g}, nearly the same factor everywhere. What "
            "multiplies or divides there, or should?"
        )
    if alike and len(alike) < len(axes):
        return (
            f"{name} is right up to a factor that is the same along {_axes(alike)} and differs along "
            f"{_axes(set(axes) - set(alike))}. What multiplies or divides there, or should?"
        )
    return ""


def _places(actual, expected, equal):
    """The number of decimal places to which a result was rounded; 0 if it was not, or has too few digits to tell."""
    if equal.tolerance > 1e-6:
        return 0
    for places in range(1, 9):
        if np.array_equal(actual, np.round(actual, places)) and equal(actual, np.round(expected, places)):
            return places if size(actual) * 10**places >= 10 else 0
    return 0


def _axes(axes):
    return ("axis " if len(axes) == 1 else "axes ") + ", ".join(map(str, sorted(axes)))


def _digits(difference, expected):
    return f"off by {size(difference) / size(expected):.1g} of its largest number"


def _place(mask):
    """The first index at which a mask is true."""
    return [int(i) for i in np.argwhere(mask)[0]]


def _of_infinities(name, actual, expected, inputs, equal):
    """Arrays with infinities or NaN, both of them or only the result."""
    if np.isnan(actual).any() and not np.isnan(expected).any():
        return f"{name} has NaN in it. Is infinity multiplied by 0, or subtracted from infinity?"
    there, wanted = np.isinf(actual), np.isinf(expected)
    if (there & wanted & (actual != expected)).any():
        return f"{name} has an infinity of the wrong sign."
    more, fewer = there & ~wanted, wanted & ~there
    if not there.any():
        return f"{name} should have {expected[wanted][0]} at some places, and has none."
    if more.any() and np.array_equal(there.sum(-1), wanted.sum(-1)):
        return f"{name} has the right number of infinities in each row, in wrong places: {_place(more)} is one."
    if more.any() and fewer.any():
        return f"{name} is infinite at {_place(more)}, and should not be. At {_place(fewer)} it is the other way round."
    if more.any():
        return f"{name} has too many infinities: one at {_place(more)}, for example. None is missing."
    if fewer.any():
        return f"{name} has too few infinities: none at {_place(fewer)}, for example. Those that are there are right."
    told = _of_numbers(name, np.where(wanted, 0.0, actual), np.where(wanted, 0.0, expected), inputs, equal)
    return f"The infinities of {name} are where they should be. {told or 'Look at the finite numbers.'}"


def _of_places(name, actual, expected, equal):
    """The right numbers in other places."""
    for axis in range(expected.ndim):
        length = expected.shape[axis]
        if length > 1 and equal(actual, np.flip(expected, axis)):
            return f"{name} is right, but backwards along axis {axis}."
        for step in range(1, min(length, 9)):
            for shift in (step, -step):
                if equal(actual, np.roll(expected, shift, axis)):
                    return f"{name} is right, but shifted by {shift} along axis {axis}."
    for axes in itertools.permutations(range(expected.ndim)):
        turned = expected.transpose(axes)
        if turned.shape == expected.shape and equal(actual, turned):
            return f"{name} is right, but its axes are in another order: {axes}."
    return (
        f"{name} has the right numbers in the wrong places. Is it the order of indices or axes, or a reshape where a "
        "transpose belongs?"
    )


def _of_shape(name, actual, expected, equal):
    if actual.size == 1 < expected.size:
        return f"{name} is a single number, and should have the shape {expected.shape}. Is it a sum, or one of many?"
    if not expected.ndim and actual.size > 1:
        right = next((what for what in ("sum", "mean") if equal(getattr(actual, what)(), expected)), None)
        return f"{name} should be a single number, and has the shape {actual.shape}. " + (
            f"Its {right} is right." if right else "Is a sum or a mean of it missing?"
        )
    for axes in itertools.permutations(range(expected.ndim)) if expected.ndim < 5 else ():
        turned = expected.transpose(axes)
        if turned.shape == actual.shape and equal(actual, turned):
            if axes == tuple(reversed(range(expected.ndim))):
                return f"{name} is right, but transposed."
            return f"{name} is right, but its axes are in another order: {axes}."
    if actual.size == expected.size and equal(actual.reshape(expected.shape), expected):
        what = "a reshape back is missing, or one too many"
        if 1 in actual.shape + expected.shape:
            what = "an axis of length 1 is missing or one too many (keepdims)"
        return f"The numbers of {name} are right, but its shape is not: {what}."
    extra = actual.ndim - expected.ndim
    if extra > 0 and equal(actual.sum(axis=tuple(range(extra))), expected):
        return (
            f"{name} still has the axes of the batch. A parameter acts at every place of the batch, so its "
            "gradient is the sum over all of them."
        )
    if extra < 0:
        for axis in range(expected.ndim):
            for index in range(expected.shape[axis]):
                part = expected.take(index, axis)
                if part.shape == actual.shape and equal(actual, part):
                    return f"Only {index} of axis {axis} comes back as {name}, of {expected.shape[axis]}."
        for axes in itertools.combinations(range(expected.ndim), -extra):
            if math.prod(expected.shape[axis] for axis in axes) > 1:
                for what, reduced in (("averaged", expected.mean(axes)), ("summed", expected.sum(axes))):
                    if equal(actual, reduced):
                        return f"{name} was {what} over {_axes(axes)}, which should be kept."
    if actual.ndim == expected.ndim and sorted(actual.shape) == sorted(expected.shape):
        return f"{name} has the right lengths in another order: {actual.shape} instead of {expected.shape}."
    common = tuple(slice(0, min(pair)) for pair in zip(actual.shape, expected.shape, strict=False))
    if actual.ndim == expected.ndim and actual.size and equal(actual[common], expected[common]):
        return f"As far as it goes {name} is right, but it has the shape {actual.shape} instead of {expected.shape}."
    return (
        f"{name} has the shape {actual.shape} instead of {expected.shape}. Write the shape beside each line: where "
        "does it come to differ from the docstring?"
    )


def of_cases(attempts, attempt, alone=()):
    """Where to look, when nothing else is known: what is right, and in which cases."""
    wrong = alone or attempt.wrong
    right = [name for name in attempt.results if name not in attempt.wrong]
    told = []
    if right and len(attempt.results) > 1:
        told.append(f"{_few(right)} {'is' if len(right) == 1 else 'are'} right, {_few(wrong)} not.")
    passed = [each.finding.title for each in attempts if each.finding.passed]
    if only := only_in(attempts):
        told.append(only)
    elif passed:
        told.append(f"It is right in: {'; '.join(passed)}. What does not matter there?")
    told.append(
        f"Compute one number of {wrong[0]} by hand from the formula, and print each step of your code beside it."
    )
    return " ".join(told)


def _few(names):
    """Names in a sentence: all of them, or three and the number of the others."""
    return ", ".join(names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"])


def only_in(attempts):
    """The few cases in which it goes wrong, in a sentence; "" if they are many."""
    failed = [each.finding.title for each in attempts if not each.finding.passed]
    if 2 * len(failed) > len(attempts):
        return ""
    return f"It goes wrong only in: {'; '.join(failed)}. What is special there?"
