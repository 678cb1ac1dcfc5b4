"""Duplicates, overlap and reports: by hand, and against sets of tuples of words."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.data import cleaning, token_file, words
from minigpt2.data.cleaning import (
    CorpusReport,
    Duplicates,
    HashSet,
    deduplicate,
    describe,
    ngram_hashes,
    overlap,
    word_hashes,
)

# Few different words, so that n-grams meet; "A" and "a." are the word "a", "!" is none.
DOCUMENT = st.lists(st.sampled_from(["a", "A", "a.", "b", "c", "!", "水"]), max_size=12).map(" ".join)
DOCUMENTS = st.lists(DOCUMENT, max_size=8)


def grams(document, n):
    listed = words(document)
    return [tuple(listed[i : i + n]) for i in range(len(listed) - n + 1)]


@given(DOCUMENTS, st.integers(1, 5), st.sampled_from([0, 0.25, 0.5, 0.9, 1]))
@settings(max_examples=300, deadline=None)
def test_duplicates_are_those_of_sets_of_tuples(documents, n, threshold):
    kept, exact, near, texts, seen = [], [], [], set(), set()
    for position, document in enumerate(documents):
        text, own = document, grams(document, n)
        if text in texts:
            exact.append(position)
        elif own and sum(gram in seen for gram in own) / len(own) > threshold:
            near.append(position)
        else:
            kept.append(document)
            seen.update(own)
        texts.add(text)
    assert deduplicate(documents, n, threshold) == (kept, Duplicates(exact, near))


@given(DOCUMENTS, DOCUMENTS, st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_overlap_is_that_of_sets_of_tuples(train, evaluation, n):
    known = {gram for document in train for gram in grams(document, n)}
    found = [gram in known for document in evaluation for gram in grams(document, n)]
    if found:
        assert overlap(train, evaluation, n) == sum(found) / len(found)
    else:
        with pytest.raises(ValueError, match=f"no document of {n} words or more"):
            overlap(train, evaluation, n)


def numbers(first, last):
    return " ".join(map(str, range(first, last)))


def test_planted_duplicates_are_found_and_others_not():
    documents = [
        numbers(0, 107),  # 100 8-grams
        numbers(1000, 1107),
        numbers(0, 107).replace(" ", ",\n"),  # near: only white space and punctuation differ
        numbers(0, 58) + " " + numbers(2000, 2049),  # 51 of 100 8-grams: 0 ... 50, where each begins
        numbers(0, 57) + " " + numbers(3000, 3050),  # 50 of 100: not more than half
        numbers(1, 107)[::-1],
        "0 1 2 3 4 5 6",  # 7 words: no 8-gram
        "0 1 2 3 4 5 6 7",  # its only 8-gram is in the first
        "0, 1, 2, 3, 4, 5, 6",
        "!",
        "?",
        "!",
        numbers(2000, 2049),  # its 8-grams were in a document that was removed
    ]
    kept, removed = deduplicate(documents)
    assert removed == Duplicates(exact=[11], near=[2, 3, 7])
    assert kept == [documents[i] for i in (0, 1, 4, 5, 6, 8, 9, 10, 12)]
    assert deduplicate(documents, threshold=0.51)[1].near == [2, 7, 12]  # 3 is kept, and 12 is its end
    assert deduplicate(documents, threshold=0.49)[1].near == [2, 3, 4, 7]
    assert deduplicate(documents, threshold=1)[1].near == []


def test_overlap_by_hand():
    corpus = [numbers(0, 20), numbers(20, 40)]
    assert overlap(corpus, [numbers(3, 15)]) == 1
    assert overlap(corpus, [numbers(40, 60)]) == 0
    assert overlap(corpus, ["7 6 5 4 3 2 1 0"]) == 0  # the order of the words counts
    # 19 words have 12 8-grams; those that begin with 10, 11 and 12 end before 90.
    assert overlap(corpus, [numbers(10, 20) + " " + numbers(90, 99)]) == 3 / 12
    assert overlap(corpus, [numbers(16, 24)]) == 0  # no n-gram reaches from one document into the next
    assert overlap(corpus, ["too short to count", numbers(0, 8), numbers(0, 8), numbers(50, 58)]) == 2 / 3


def test_hashes_are_the_polynomial_of_the_docstring():
    values = [int(x) for x in word_hashes("To be, or not to be")]
    assert values[:2] == values[4:] and len(set(values)) == 4
    P = cleaning.P
    expected = [(values[i] * P**2 + values[i + 1] * P + values[i + 2]) % 2**64 for i in range(4)]
    assert ngram_hashes(word_hashes("To be, or not to be"), 3).tolist() == expected


def test_hashes_are_the_same_in_every_process():
    call = "from minigpt2.data.cleaning import word_hashes; print(word_hashes('to be').tolist())"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(word_hashes("to be").tolist())


def test_P_keeps_8_grams_of_the_same_words_apart():
    """The hashes of two 8-grams differ by a sum of ±P^i times each word's: divisible by 2^9 at most, 2^(9-64)."""
    sums = np.zeros(1, np.uint64)
    for i in range(8):
        power = np.uint64(pow(cleaning.P, i, 2**64))
        sums = np.concatenate([sums, sums + power, sums - power])
    assert (sums[1:] % np.uint64(2**10) != 0).all()


def test_long_documents_have_the_words_of_all_their_parts(monkeypatch):
    text = "one two,  three four five\nsix " * 20
    expected = word_hashes(text)
    monkeypatch.setattr(token_file, "PART", 7)
    assert (word_hashes(text) == expected).all() and len(expected) == 120


@given(st.lists(st.lists(st.integers(0, 40), max_size=10), max_size=20), st.integers(0, 40))
@settings(deadline=None)
def test_hash_set_is_a_set(groups, asked):
    hashes = HashSet()
    for group in groups:
        hashes.add(np.array(group, np.uint64))
    assert hashes.contains(np.array([asked], np.uint64)).tolist() == [asked in {x for group in groups for x in group}]


def test_words_are_forgotten_when_there_are_too_many(monkeypatch):
    cache = cleaning._WordHashes()
    cache.update((str(i), i) for i in range(2**20))
    monkeypatch.setattr(cleaning, "_HASHES", cache)
    assert word_hashes("to be to").size == 3 and len(cache) == 2


def test_describe_by_hand():
    documents = ["né né", "né né né né né né né né", "né né", "né " * 9 + "x"]
    # Characters: 5, 23, 5, 28 with 2, 8, 2, 9 two-byte letters. The last has 3 8-grams, of which 2 occurred.
    tokenizer = CharTokenizer.train(documents)
    report = describe("corpus", documents, tokenizer)
    assert report == CorpusReport("corpus", 82, 61, 4, 61, exact_duplicates=1, near_duplicates=1)
    assert report.bytes_per_token == 82 / 61
    bpe = Tokenizer.train(documents, 259)
    assert describe("corpus", documents, bpe).tokens == sum(len(bpe.encode(document)) for document in documents)
    assert describe("corpus", documents, tokenizer, threshold=0.7).near_duplicates == 0
    assert describe("corpus", documents, tokenizer, n=11).near_duplicates == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 1 word"):
        deduplicate(["a b"], n=0)
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"threshold must be a share"):
            deduplicate(["a b"], threshold=threshold)
    with pytest.raises(ValueError, match="corpus: there is no text"):
        describe("corpus", [], Tokenizer.train("a", 257))
