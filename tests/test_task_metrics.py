"""The metrics of generated text: against figures worked out by hand, and ROUGE against the package rouge-score."""

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.tasks.metrics import bleu, coqa_f1, exact_match, normalize, rouge, token_f1


def test_rouge_by_hand():
    """Six words and five: "the" twice in one, once in the other; of the pairs only "the cat" and "cat sat"."""
    one, two, longest = rouge("The cat sat by the door.", "the cat SAT down, door")
    assert one == pytest.approx(2 * 4 / (6 + 5))  # the, cat, sat, door
    assert two == pytest.approx(2 * 2 / (5 + 4))
    assert longest == pytest.approx(2 * 4 / (6 + 5))
    assert rouge("b a", "a b") == (1.0, 0.0, 0.5)  # the same words in another order
    assert rouge("a a a", "a")[0] == 0.5  # a word counts as often as it is in both
    assert rouge("running", "run") == (0.0, 0.0, 0.0)  # no stemming
    assert rouge("e-mail", "E mail") == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("pair", [("", ""), ("", "word"), ("word", ""), ("...", "word"), ("é", "é")])
def test_rouge_of_nothing_is_zero(pair):
    assert rouge(*pair) == (0.0, 0.0, 0.0)


def test_rouge_of_one_word_has_no_pairs():
    assert rouge("word", "word") == (1.0, 0.0, 1.0)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "The", "dogs", "U.S.", "3.5", "naïve", "--", "x_y"]), max_size=30)


@pytest.fixture(scope="module")
def rouge_score():
    package = pytest.importorskip("rouge_score.rouge_scorer", reason="compares with rouge-score")
    return package.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)


@given(text=WORDS.map(" ".join), reference=WORDS.map("\n".join))
@settings(max_examples=300, deadline=None)
def test_rouge_as_rouge_score(rouge_score, text, reference):
    expected = rouge_score.score(reference, text)
    assert rouge(text, reference) == pytest.approx([expected[f"rouge{n}"].fmeasure for n in "12L"], rel=1e-12)


def test_normalize_as_squad():
    assert normalize(' The  "U.S."\n an  answer-ed  A theory ') == "us answered theory"
    assert normalize("a, an & the!") == ""
    assert normalize("the-end") == "theend"  # punctuation goes first, and no article is left
    assert normalize("L’été — «là»") == "l’été — «là»"  # only ASCII punctuation goes


def test_exact_match():
    assert exact_match("The Beatles.", ["Rolling Stones", "beatles"])
    assert not exact_match("Beatles band", ["Rolling Stones", "beatles"])
    assert not exact_match("Beatles", [])
    assert exact_match("the", [""])


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("a white cat", "The cat", 2 * 1 / (2 + 1)),
        ("cat cat dog", "cat dog dog", 2 * 2 / (3 + 3)),
        ("white", "black", 0),
        ("The!", "a", 1),  # nothing is left of either
        ("", "cat", 0),
        ("cat", "the", 0),
    ],
)
def test_token_f1(answer, reference, expected):
    assert token_f1(answer, reference) == pytest.approx(expected)


def test_coqa_leaves_each_reference_out_once():
    references = ["white cat", "cat", "a dog", "no"]  # F1 of "cat": 2/3, 1, 0, 0
    assert coqa_f1("cat", references) == pytest.approx((1 + 2 / 3 + 1 + 1) / 4)
    assert coqa_f1("cat", ["white cat"]) == pytest.approx(2 / 3)
    assert coqa_f1("cat", ["cat", "dog"]) == 0.5
    assert coqa_f1("cat", ["cat", "cat", "dog"]) == 1


def test_bleu_by_hand():
    pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu (extra: evaluation)")
    texts, references = ["a b c d e", "x y z w"], ["a b c d f g", "x y z w"]
    precisions = [(4 + 4) / (5 + 4), (3 + 3) / (4 + 3), (2 + 2) / (3 + 2), (1 + 1) / (2 + 1)]
    expected = 100 * math.exp(1 - (6 + 4) / (5 + 4)) * math.prod(precisions) ** 0.25
    assert bleu(texts, references) == pytest.approx(expected, rel=1e-9)
    assert bleu(references, references) == pytest.approx(100)
    assert bleu(["A B C D"], ["a b c d"]) < 50  # case counts


def test_bleu_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[evaluation\]'"):
        bleu(["a"], ["a"])
