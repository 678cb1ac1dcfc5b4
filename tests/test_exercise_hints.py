"""What a wrong answer looks like: known mistakes, alone and together, experiments, what can be told of any result."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from minigpt2.exercises import check
from minigpt2.exercises.checking import run
from minigpt2.exercises.guard import call
from minigpt2.exercises.plain_hints import of_plain
from minigpt2.exercises.recognition import changed
from minigpt2.exercises.result_hints import of_array
from minigpt2.exercises.results import Comparison
from minigpt2.exercises.task import Case, Mistake, Task


def affine(x, weight, bias):
    """x: (B, T, C); weight: (C, C); bias: (C,)."""
    scaled = 2.0 * x
    return scaled @ weight + bias


def affine_forward(x, weight, bias):
    return affine(x, weight, bias), {"x": x, "weight": weight}


def affine_backward(dy, cache):
    x, weight = cache["x"], cache["weight"]
    dx = 2.0 * dy @ weight.T
    dweight = 2.0 * np.einsum("bti,bto->io", x, dy)
    dbias = dy.sum((0, 1))
    return dx, dweight, dbias


def cases(rng):
    return [
        Case(title, {"x": rng.standard_normal(shape), "weight": rng.standard_normal((3, 3)), "bias": np.arange(1.0, 4)})
        for title, shape in (("two texts", (2, 4, 3)), ("one token", (1, 1, 3)))
    ]


FORWARD = Task(
    name="affine",
    outputs=("y",),
    reference=affine,
    cases=cases,
    mistakes=(
        Mistake("not doubled", (("2.0 * x", "x"),)),
        Mistake("transposed", (("@ weight", "@ weight.T"),)),
        Mistake("no bias", ((" + bias", ""),)),
        Mistake("only the first token is doubled", lambda x, w, b: np.where(np.arange(x.shape[1])[:, None], 1, 2) * x),
    ),
)
BACKWARD = Task(
    name="affine_backward",
    outputs=("dx", "dweight", "dbias"),
    reference=affine_backward,
    forward=affine_forward,
    cases=cases,
    mistakes=(
        Mistake("dx is not doubled", (("2.0 * dy", "dy"),)),
        Mistake("dweight is not doubled", (("2.0 * np", "np"),)),
        Mistake("dbias is a mean", (("dy.sum", "dy.mean"),)),
    ),
)


NEGATIVE = ("scaled = 2.0 * x", "scaled = -(2.0 * x)")  # in it lies what another mistake changes


def hint(task, function, **options):
    report = run(task, function, **options)
    assert not report.passed
    return report.hint


def test_changes_of_a_source_make_a_known_mistake_and_overlapping_ones_make_none():
    x, weight, bias = np.ones((1, 1, 3)), np.eye(3), np.zeros(3)
    assert np.array_equal(changed(affine, (("2.0 * x", "x"),))(x, weight, bias), x)
    assert np.array_equal(affine(x, weight, bias), 2 * x)
    assert changed(affine, (("2.0 * x", "x"), ("2.0", "3.0"))) is None
    assert changed(affine, (("not there", ""),)) is None


def test_one_mistake_is_told_as_one_and_two_as_two():
    assert hint(FORWARD, lambda x, w, b: x @ w + b) == "not doubled"
    assert hint(FORWARD, lambda x, w, b: 2 * x @ w.T) == "2 things at once. (1) transposed (2) no bias"
    assert hint(BACKWARD, lambda dy, c: (dy @ c["weight"].T, *affine_backward(dy, c)[1:])) == "dx is not doubled"
    wrong_in_two = lambda dy, c: (affine_backward(dy, c)[0], affine_backward(dy, c)[1] / 2, dy.mean((0, 1)))  # noqa: E731
    assert hint(BACKWARD, wrong_in_two) == "2 things at once. (1) dweight is not doubled (2) dbias is a mean"


def test_of_two_mistakes_one_may_lie_within_the_other():
    task = replace(FORWARD, mistakes=(Mistake("not doubled", (("2.0 * x", "x"),)), Mistake("negative", (NEGATIVE,))))
    assert hint(task, lambda x, w, b: -x @ w + b) == "2 things at once. (1) not doubled (2) negative"


def test_a_known_mistake_must_explain_every_case():
    """The last known mistake has the same result where there is one token, and another one where there are four."""

    def right_for_many(x, weight, bias):
        return affine(x, weight, bias) if x.shape[1] > 1 else 2 * x

    assert "only the first token" not in hint(FORWARD, right_for_many)
    cubed = lambda x, w, b: affine(x, w, b) ** (3 if x.size == 3 else 1)  # noqa: E731
    assert "It goes wrong only in: one token." in hint(FORWARD, cubed)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, w, b: affine(x, w, b) + b.mean() * x, "y[0, 0, 0] changes when bias[2] is changed, and should not."),
        (lambda x, w, b: affine(x, w, b) * (1 + 0.001 * np.sin(x @ w)), "y is nearly right"),
        (lambda x, w, b: np.cumsum(2 * x, axis=1) @ w + b, "y[0, 1, 0] changes when x[:, 0, :] is changed"),
        (lambda x, w, b: (2 * x) @ np.tril(w) + b, "y[0, 0, 1] should change when x[:, :, 0] is changed, and does not"),
        (lambda x, w, b: np.maximum(affine(x, w, b), 1.5), "y is 1.5 where it is wrong, in 8 of 24 numbers"),
        (lambda x, w, b: 1.1 * np.maximum(affine(x, w, b), 1.5), "Compute one number of y by hand"),
        (lambda x, w, b: np.cos(x) @ w, "y stays the same when bias is changed. Where does bias come in?"),
        (lambda x, w, b: affine(x, w, b) if len(x) > 1 else w.sum() * x, "In this case y stays the same when bias is"),
        (lambda x, w, b: np.round(affine(x, w, b), 3), "y is rounded to 3 decimal places"),
        (lambda x, w, b: affine(x, w, b).astype(np.float32), "y has only the digits of float32"),
        (lambda x, w, b: affine(x, w, b) * b, "y is right up to a factor that is the same along"),
        (lambda x, w, b: np.ones((2, 3)), "The same comes back in every case"),
        (lambda x, w, b: affine(x, w, b) + np.random.random(x.shape), "Called twice with equal arguments"),
    ],
)
def test_experiments_and_results_tell_what_no_list_of_mistakes_has(function, words):
    assert words in hint(FORWARD, function)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, w, b: affine(x, w, b) / x.shape[1] ** 0.5, "y is what it should be, divided by the root of the len"),
        (lambda x, w, b: affine(x, w, b) * x[..., 0].size, "times the product of the lengths of axes 0, 1 of y, in ev"),
        (lambda x, w, b: affine(x, w, b) * 1.5, "y is what it should be times 1.5, everywhere"),
    ],
)
def test_a_factor_is_told_by_the_length_that_it_is_in_every_case(function, words):
    def more(rng):
        return [*cases(rng), Case("five tokens", {**cases(rng)[0].inputs, "x": rng.standard_normal((3, 5, 3))})]

    assert words in hint(replace(FORWARD, cases=more), function)


def refuses(x, w, b):
    if x.shape[0] > 1:
        raise ValueError("only one text")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (refuses, "Your function itself refuses these arguments"),
        (lambda x, w, b: np.einsum("btc,cd->btd", x[0], w) + b, "The letters of einsum do not fit the arrays"),
        (lambda x, w, b: x @ np.eye(4) + b, "The inner dimensions of a product do not fit"),
        (lambda x, w, b: np.zeros((2, 2)).__setitem__(0, x), "does not fit into the place that it is written to"),
        (lambda x, w, b: b[:, None, 0, 0], "more indices in the brackets than the array has axes"),
        (lambda x, w, b: x.sum(3) + b, "There is no such axis here"),
        (lambda x, w, b: math.sqrt(x @ w), "A whole array stands where a single number is needed"),
        (lambda x, w, b: 12 // len(x[0, 1:0]) * x, "The divisor is 0 in this case"),
        (lambda x, w, b: len(x)[0], "It ends with TypeError"),
    ],
)
def test_errors_are_told_by_their_texts_and_lines(function, words):
    assert words in hint(FORWARD, function)


def shifted(x, shift=None):
    return 2 * x if shift is None else x + shift


SHIFT = Task(
    name="shifted",
    outputs=("y",),
    reference=shifted,
    cases=lambda rng: [
        Case("a shift", {"x": np.arange(1.0, 5), "shift": 3.0}),
        Case("no shift", {"x": np.arange(1.0, 5), "shift": None}),
        Case("the shift is left out", {"x": np.arange(1.0, 5)}),
    ],
)


def test_an_argument_that_may_be_none_and_another_default_are_told_by_their_names():
    told = hint(SHIFT, lambda x, shift=None: x + shift)
    assert told.startswith("shift may be None, and is in this case")
    assert "shift is left out, and so has its default, 1.0" in hint(SHIFT, lambda x, shift=1.0: shifted(x, shift))


def test_two_mistakes_are_not_told_where_all_is_nan():
    zero, infinite = ("2.0 * x", "0.0 * x"), ("+ bias", "* np.inf")
    task = replace(FORWARD, mistakes=tuple(Mistake(change[1], (change,)) for change in (zero, infinite)))
    assert "y has NaN in it" in hint(task, lambda x, w, b: x * np.nan)


def test_an_error_is_not_told_by_a_mistake_that_is_judged_differently():
    def judged(inputs, result):
        return None if np.all(result > 0) else "It is not above 0."

    task = replace(SHIFT, accept=judged, mistakes=(Mistake("no shift", (("x + shift", "-x"), ("2 * x", "x[9]"))),))
    told = hint(task, lambda x, shift=None: x[9] if shift is None else x + 1)
    assert "An index is beyond the end" in told


def test_what_is_only_flat_where_it_is_cut_off_is_no_leak():
    task = replace(FORWARD, reference=lambda x, w, b: np.maximum(x @ w, 0), mistakes=())
    assert "and should not" not in hint(task, lambda x, w, b: np.where(x @ w < 0, 0.1 * (x @ w), np.sqrt(abs(x @ w))))


def test_a_factor_is_not_told_of_lines_with_a_single_number():
    row, other = np.zeros((2, 2, 3))
    row[0], other[0] = [1, 2, 3], [3, 1, -2]
    with np.errstate(all="ignore"):
        assert not of_array("dweight", other, row, {}, Comparison(False, expected={"dweight": row}))


def test_a_gradient_is_proportional_to_the_upstream_gradient():
    dx, rest = (lambda dy, c: 2.0 * dy @ c["weight"].T), (lambda dy, c: affine_backward(dy, c)[1:])
    assert "With dy = 0 everywhere, dx should be 0 and is not" in hint(
        BACKWARD, lambda dy, c: (dx(dy, c) + np.sin(c["x"]), *rest(dy, c))
    )
    assert "Twice the dy should give twice the dx" in hint(BACKWARD, lambda dy, c: (dx(dy, c) * dy**2, *rest(dy, c)))
    assert "what comes back as dweight is dx" in hint(
        BACKWARD, lambda dy, c: (affine_backward(dy, c)[1], affine_backward(dy, c)[0], dy.sum((0, 1)))
    )


def test_one_array_that_comes_back_twice_is_told():
    def summed(dy, cache):
        dx, dweight, dbias = affine_backward(dy, cache)
        dbias = dweight = dweight + dbias
        return dx, dweight, dbias

    assert "dweight and dbias are one and the same array" in hint(BACKWARD, summed)


def test_ones_own_forward_pass_is_told_when_it_is_the_wrong_one():
    def tripled(x, weight, bias):
        return 1.5 * affine(x, weight, bias), {"x": x, "weight": 1.5 * weight}

    told = hint(BACKWARD, lambda dy, c: affine_backward(1.0 * dy, c), forward=tripled)
    assert "your own forward pass, which does not give what it should" in told
    assert "own forward" not in hint(BACKWARD, lambda dy, c: affine_backward(dy * 3, c), forward=affine_forward)


def test_what_is_kept_between_calls_is_found_even_where_the_results_are_right():
    buffers, calls = {}, []

    def one_buffer(x, weight, bias):
        y = buffers.setdefault((x.shape, x.dtype), np.empty_like(x))
        y[...] = affine(x, weight, bias)
        return y

    def grows(x, weight, bias):
        calls.append(x.shape)
        return affine(x, weight, bias) + calls.count(x.shape) // 3

    def adds_up(x, weight, bias):
        y = buffers.setdefault(("sum", x.shape), np.zeros(x.shape))
        y += affine(x, weight, bias)
        return y

    assert "Called twice with equal arguments" in hint(FORWARD, adds_up)
    for function in (one_buffer, grows):
        report = run(FORWARD, function)
        assert not report.passed and "a second call gives the same" in report.text
        assert "Each call must return a result of its own" in report.hint


def test_what_the_forward_pass_keeps_beside_its_cache_is_found():
    last = {}

    def forward(x, weight, bias):
        last["x"] = x
        return affine_forward(x, weight, bias)

    def backward(dy, cache):
        return affine_backward(dy, cache | last)

    assert "Called twice with equal arguments" in hint(BACKWARD, backward, forward=forward)


def test_a_change_of_the_arguments_is_told_beside_what_else_is_known():
    def in_place(x, weight, bias):
        x -= 1
        return (x + 1) @ weight + bias

    told = hint(FORWARD, in_place)
    assert told.startswith("An operation in place (`x -= ...`") and told.endswith("because of it: not doubled")


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ((np.ones(3), {}), "A tuple of 2 came back"),
        ({"y": 1.0}, "A dict came back"),
        (None, "None came back"),
        ("a text", "of another kind"),
    ],
)
def test_results_of_another_kind(result, words):
    assert words in hint(FORWARD, lambda *_: result)


A = np.arange(1.0, 13.0).reshape(3, 4) ** 2


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        (A[::-1], "right, but backwards along axis 0"),
        (np.roll(A, 1, axis=1), "shifted by 1 along axis 1"),
        (A.T.reshape(3, 4), "the right numbers in the wrong places"),
        (A.T, "right, but transposed"),
        (A[0], "Only 0 of axis 0 comes back"),
        (A.mean(1), "was averaged over axis 1"),
        (A[:, :2], "As far as it goes"),
        (A[None] / 3 * np.ones((3, 1, 1)), "still has the axes of the batch"),
        (A.astype(int), "cut to integers"),
        (A + A[:, :1], "is the same along axis 1 and differs along axis 0"),
        (A * 1.001, "the same factor everywhere"),
        (np.where(A > 100, np.inf, A), "infinite at [2, 2], and should not be"),
        (np.where(A > 100, np.nan, A), "NaN in it"),
        (A**0.5, "the root of what it should be"),
        (A**2, "the square of what it should be"),
        (0 * A, "zero everywhere"),
        (A.sum(), "a single number, and should have the shape (3, 4)"),
        (np.where(A > 100, 0, A + 1), "y is 0 at [2, 2], and should not be"),
        (np.where(A > 100, 0, A), "y is 0 where it is wrong, in 2 of 12 numbers, such as [2, 2]"),
    ],
)
def test_arrays_are_told_by_what_is_the_case(actual, words):
    assert words in of_array("y", actual, A, {}, Comparison(False, expected={"y": A}))


@pytest.mark.parametrize(
    ("actual", "expected", "words"),
    [
        ([1, 2, 3], [1, 2, 3, 4], "has too few items"),
        ([1, 2, 3], [1, 2], "more items follow"),
        ([2, 3], [1, 2, 3], "The beginning of ids is missing"),
        ([7, 1, 2], [1, 2], "something before its beginning"),
        ([2, 1], [1, 2], "right, but backwards"),
        ([2, 1, 3], [1, 2, 3], "the right items in another order"),
        ([1, 2], [1, 2, 1], "once only"),
        ([1, 9, 3], [1, 2, 3], "right up to place 1"),
        ([], [1], "ids is empty"),
        ([[2, 1], [4, 3]], [[1, 2], [3, 4]], "turned round"),
        ([256, 257], [[1, 2], [256, 2]], "ids is a list of int, and should be a list of list of int"),
        ([[1, 2], 7], [1, 2], "with 1 more beside it"),
        ([1, [2, 3]], [1, 2], "ids is a list of (int or list of int), and should be a list of int"),
        ([[1, 2]], [1, 2], "inside of a list of one"),
        ({"a": 1}, {"a": 1, "b": 2}, "keys are missing"),
        ({"a": 1, "b": 2}, {"a": 1}, "keys that should not be there"),
        ({"b": 1}, {"a": 1}, "1 missing, such as 'a'; 1 not expected, such as 'b'"),
        ({"a": 3, "b": 2}, {"a": 1, "b": 2}, "1 with another value, such as 'a'"),
        ({"a": 3, "b": 4}, {"a": 1, "b": 2}, "all off by the same number"),
        ({"a": 0.5, "b": 0.5}, {"a": 1, "b": 1}, "should be a dict from str to int"),
        ({"b": 2, "a": 1}, {"a": 1, "b": 2}, "the right entries in another order"),
        ({(2, 1): 1}, {(1, 2): 1}, "keys of ids are turned round"),
        ({b"12": 1}, {(1, 2): 1}, "is a dict from bytes to int"),
        (3, 5, "too small, by 2"),
        ("ab", ["a", "b"], "of type str"),
    ],
)
def test_lists_and_numbers_are_told_by_what_is_the_case(actual, expected, words):
    assert words in of_plain("ids", [(actual, expected)])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda ids: min([]), "The smallest or largest of nothing"),
        (lambda ids: [].index(1), "What is looked for is not there"),
        (lambda ids: bytes([256]), "Bytes are the numbers from 0 to 255"),
        (lambda ids: b"\xc3".decode(), "stand for no character"),
        (lambda ids: "é".encode("ascii"), "characters that this encoding does not have"),
        (lambda ids: {ids: 1}, "A tuple of numbers can"),
        (lambda ids: {1: 2}[3], "3 is not a key of that dict. Print its keys, and how they come in."),
        (lambda ids: [1] + (2,), "has another type than that line needs"),
    ],
)
def test_errors_of_plain_python_are_told_by_their_meaning(function, words):
    task = Task("sums", ("total",), sum, lambda rng: [Case("three", {"ids": [1, 2, 3]})], exact=True)
    assert words in run(task, function).hint


def test_the_order_of_a_dict_counts_where_the_task_says_so():
    def table():
        return {2: "b", 1: "a"}

    task = Task("table", ("table",), table, lambda rng: [Case("it", {})], exact=True)
    assert run(task, lambda: {1: "a", 2: "b"}).passed
    report = run(replace(task, ordered=True), lambda: {1: "a", 2: "b"})
    assert "the right entries in another order" in report.hint
    assert "None came back" in run(replace(task, ordered=True), lambda: None).hint
    assert "is a dict from bytes to str" in run(task, lambda: {b".": "b", b",": "a"}).hint


def test_a_difference_is_told_only_if_it_is_the_same_in_every_case():
    backwards, cut = ([2, 1], [1, 2]), ([1, 2], [1, 2, 3])
    assert "backwards" in of_plain("ids", [backwards, backwards])
    assert "right up to place 0" in of_plain("ids", [backwards, cut])
    assert "the right items in another order" in of_plain("ids", [backwards, ([2, 1, 3], [1, 2, 3])])


def test_what_a_known_mistake_predicts_by_chance_is_not_told_as_that_mistake():
    def largest(ids):
        return max(ids)

    def three(rng):
        return [Case("three", {"ids": [4, 7, int(rng.integers(1, 4))]}), Case("one", {"ids": [5]})]

    task = Task("largest", ("most",), largest, three, (Mistake("the first", (("max(ids)", "ids[0]"),)),), exact=True)
    assert run(task, lambda ids: ids[0]).hint == "the first"
    assert run(task, lambda ids: 5 if len(ids) == 1 else 7 - ids[2]).hint != "the first"


def test_an_error_in_a_few_cases_is_told_with_them():
    def cases(rng):
        return [Case("two", {"ids": [1, 2]}), Case("one", {"ids": [1]}), Case("none", {"ids": []})]

    task = Task("sums", ("total",), sum, cases, exact=True)
    assert run(task, lambda ids: sum(ids) if ids else ids[0]).hint.endswith("only in: none. What is special there?")
    assert run(task, lambda ids: sum(ids) if ids else None).hint.endswith("only in: none. What is special there?")
    assert "goes wrong only in" not in run(task, lambda ids: ids[5]).hint


@pytest.mark.parametrize("cache", [(1, 2), [3], None, object(), {"x": 1}])
def test_a_cache_may_be_anything(cache):
    from minigpt2.components.layer_norm import layer_norm_forward

    assert check("layer_norm_forward", lambda *inputs: (layer_norm_forward(*inputs)[0], cache)).score == 1.0


def test_time_is_that_of_the_processor_and_one_that_waits_is_ended():
    begin = time.monotonic()
    outcome = call(lambda: time.sleep(60), [], 0.2)
    assert outcome.late and time.monotonic() - begin < 20

    def works():
        for _ in range(60):
            end = time.process_time() + 0.002
            while time.process_time() < end:
                pass
            time.sleep(0.008)  # as on a busy machine, where others have their turns
        return "done"

    assert call(works, [], 0.4).value == "done"


def test_what_an_answer_prints_is_shown_for_the_cases_alone(capsys):
    def talks(dy, cache):
        print("here")
        return tuple(-gradient for gradient in affine_backward(dy, cache))

    assert not run(BACKWARD, talks).passed
    assert capsys.readouterr().out.count("here") == 3, "two cases and one of them in float32"


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        ([[1, 2, -np.inf], [0, -np.inf, 3]], "the right number of infinities in each row, in wrong places: [0, 2]"),
        ([[1, -np.inf, -np.inf], [-np.inf, 0, 3]], "too many infinities: one at [0, 2]"),
        ([[1, -np.inf, 2], [4, 0, 3]], "too few infinities: none at [1, 0]"),
        ([[1, -np.inf, -np.inf], [4, 0, 3]], "is infinite at [0, 2], and should not be. At [1, 0]"),
        ([[1, -np.inf, 2], [np.inf, 0, 3]], "an infinity of the wrong sign"),
        ([[1, 7, 2], [8, 0, 3]], "should have -inf at some places, and has none"),
        ([[2, -np.inf, 4], [-np.inf, 0, 6]], "where they should be. y is what it should be times 2"),
        ([[1, -np.inf, 2], [-np.inf, 5, 3]], "where they should be. y should be 0 at [1, 1], and is not"),
    ],
)
def test_infinities_are_told_by_their_places(actual, words):
    expected = np.array([[1, -np.inf, 2], [-np.inf, 0, 3]])
    assert words in of_array("y", np.array(actual, float), expected, {}, Comparison(False, expected={"y": expected}))
