"""The character tokenizer: one id per character, and nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.tokenizer import Tokenizer

TEXT = "To be, or not to be:\nthat is the question é🤗"


def test_ids_are_the_sorted_characters():
    tokenizer = CharTokenizer.train("hello\n")
    assert tokenizer.vocab == {"\n": 0, "e": 1, "h": 2, "l": 3, "o": 4}
    assert len(tokenizer) == 5
    assert tokenizer.encode("hello") == [2, 1, 3, 3, 4]
    assert tokenizer.decode([2, 1, 3, 3, 4]) == "hello"
    assert tokenizer.decode_bytes([2, 1]) == b"he"
    assert tokenizer.eos_id is None


def test_repr_is_one_line_that_describes():
    assert repr(CharTokenizer.train("hello\n")) == r"CharTokenizer(5 characters: '\nehlo')"
    many = repr(CharTokenizer(map(chr, range(32, 2032))))
    assert many.startswith("CharTokenizer(2,000 characters: ") and "..." in many and len(many) < 80


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_round_trip(text):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert sorted(set(ids)) == list(range(len(tokenizer)))
    assert tokenizer.decode(ids) == tokenizer.decode(np.array(ids)) == tokenizer.decode(iter(ids)) == text
    assert tokenizer.decode_bytes(ids) == text.encode()


def test_train_on_an_iterable():
    assert CharTokenizer.train(["ba", "cb"]).vocab == CharTokenizer.train("abc").vocab


def test_special_tokens_are_always_text():
    tokenizer = CharTokenizer.train("<|endoftext|>")
    assert len(tokenizer.encode("<|endoftext|>", allow_special=True)) == 13


def test_save_and_load(tmp_path):
    tokenizer = CharTokenizer.train(TEXT)
    tokenizer.save_pretrained(tmp_path / "new")
    for loader in (CharTokenizer, Tokenizer):
        again = loader.from_pretrained(tmp_path / "new")
        assert isinstance(again, CharTokenizer)
        assert again.vocab == tokenizer.vocab
        assert again.decode(again.encode(TEXT)) == TEXT


def test_unknown_character_is_named():
    with pytest.raises(ValueError, match=r"character 'é' \(U\+00E9\) at position 3 is not one of the 4 "):
        CharTokenizer.train("cafe").encode("café")


@pytest.mark.parametrize("call, error, message", [
    (lambda t: t.encode(5), TypeError, "expected a str"),
    (lambda t: t.encode("a\ud800"), ValueError, "surrogate"),
    (lambda t: t.decode([3]), ValueError, "id 3 at position 0 .* 0 to 2"),
    (lambda t: t.decode([0, -1]), ValueError, "id -1 at position 1"),
    (lambda t: t.decode([1.0]), TypeError, "integers"),
    (lambda t: t.decode([True]), TypeError, "integers"),
    (lambda t: t.train(""), ValueError, "empty"),
    (lambda t: t.train([]), ValueError, "empty"),
    (lambda t: t.train(["a", 1]), TypeError, "expected a str"),
    (lambda t: CharTokenizer("aa"), ValueError, "no two alike"),
    (lambda t: CharTokenizer([]), ValueError, "one or more"),
    (lambda t: CharTokenizer(["a", "bc"]), ValueError, "single characters, got 'bc'"),
    (lambda t: CharTokenizer(["a", 1]), TypeError, "expected a str"),
])  # fmt: skip
def test_rejects(call, error, message):
    with pytest.raises(error, match=message):
        call(CharTokenizer.train("abc"))


@pytest.mark.parametrize("vocab, message", [
    ({"a": 0, "b": 2}, "the ids 0, 1, 2"), ({"ab": 0}, "single characters"), ({}, "one or more"),
])  # fmt: skip
def test_malformed_files_are_named(tmp_path, vocab, message):
    CharTokenizer.train("ab").save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    with pytest.raises(ValueError, match=f"vocab.json: .*{message}"):
        CharTokenizer.from_pretrained(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab\.json"):
        CharTokenizer.from_pretrained(tmp_path)
