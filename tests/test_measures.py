"""Repetition and diversity of texts, against figures worked out by hand and properties that hold for all texts."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2.measures import distinct_n, n_grams, repeated_n_grams, self_bleu

TEXTS = st.lists(st.text("ab c.床", max_size=30), max_size=5)


@pytest.fixture(scope="module")
def sacrebleu():
    pytest.importorskip("sacrebleu", reason="it comes with the extra [evaluation]")


def test_distinct_n_by_hand():
    texts = ["a b a b", "A, b!"]  # a b a b and a b: six words, four pairs ab ba ab ab, two triples aba bab
    assert distinct_n(texts, 1) == 2 / 6
    assert distinct_n(texts, 2) == 2 / 4
    assert distinct_n(texts, 3) == 1
    assert distinct_n(texts, 5) is None
    assert distinct_n(["月明月明"], 2) == 2 / 3  # 月明 明月 月明


def test_repeated_n_grams_by_hand():
    again = "a b c d a b c d"  # abcd bcda cdab dabc abcd: the last of the five occurred before
    assert repeated_n_grams([again]) == pytest.approx(1 / 5)
    assert repeated_n_grams([again, "a b c d", "too short"]) == pytest.approx((1 / 5 + 0) / 2)
    assert repeated_n_grams(["a b c d", "a b c d"]) == 0  # another text is another text
    assert repeated_n_grams(["a a a a"], 1) == 3 / 4
    assert repeated_n_grams(["a b c", ""]) is None


def test_self_bleu_by_hand(sacrebleu):
    # Each has 4 of 5 words, 3 of 4 pairs, 2 of 3 triples and 1 of 2 runs of four in the other.
    assert self_bleu(["a b c d e", "A b, c d f."]) == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    # No common run of four: 0.1 of 2 instead of 0.
    assert self_bleu(["a b c d e", "a b c x y"]) == pytest.approx(100 * (3 / 5 * 2 / 4 * 1 / 3 * 0.1 / 2) ** 0.25)
    # The shorter one is in the longer one, but pays for its length.
    short, long = math.exp(1 - 5 / 4), (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert self_bleu(["a b c d", "a b c d e"]) == pytest.approx(100 * (short + long) / 2)
    # All others are references: the third finds its first half in one and its second half in the other.
    texts = ["a b c d", "e f g h", "a b c d e f g h"]
    third = (8 / 8 * 6 / 7 * 4 / 6 * 2 / 5) ** 0.25
    # The closest length to 4 is 4, that of the other short one.
    assert self_bleu(texts) == pytest.approx(100 * (1 + 1 + third) / 3)


def test_self_bleu_of_little_text(sacrebleu):
    assert self_bleu(["a b", "a b"]) == pytest.approx(100)  # has no runs of three or four: they do not count
    assert self_bleu(["a b c d", "e f g h"]) == 0
    assert self_bleu(["a b c d", "", "..."]) is None
    assert self_bleu([]) is None


@given(TEXTS, st.integers(1, 5))
def test_bounds(texts, n):
    distinct, repeated = distinct_n(texts, n), repeated_n_grams(texts, n)
    assert (distinct is None) == (repeated is None)
    if distinct is not None:
        assert 0 < distinct <= 1 and 0 <= repeated < 1
    if distinct == 1:
        assert repeated == 0


@given(st.text("ab c.床", max_size=30), st.integers(1, 5))
def test_of_a_single_text_the_two_are_complements(text, n):
    distinct = distinct_n([text], n)
    assert distinct is None or repeated_n_grams([text], n) == pytest.approx(1 - distinct, abs=1e-15)


@given(texts=TEXTS)
def test_self_bleu_bounds_and_order(sacrebleu, texts):
    value = self_bleu(texts)
    if value is not None:
        assert 0 <= value <= 100 + 1e-9
        assert self_bleu(texts[::-1]) == pytest.approx(value)


@given(text=st.text("ab c.床", max_size=30), copies=st.integers(2, 4))
def test_self_bleu_of_equal_texts_is_100(sacrebleu, text, copies):
    value = self_bleu([text] * copies)
    assert value == pytest.approx(100) if value is not None else not any(c in "abc床" for c in text)


def test_n_grams():
    assert n_grams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert n_grams(["a"], 2) == []
    with pytest.raises(ValueError, match="at least 1 word, got n = 0"):
        distinct_n(["a b"], 0)


def test_without_sacrebleu_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[evaluation\]'"):
        self_bleu(["a b", "a c"])
