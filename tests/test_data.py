"""Reading, splitting and cutting text."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.data import document_parts, documents, load_text, random_windows, split_documents


def test_load_text_joins_sources_and_keeps_line_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\n")
    (tmp_path / "b.txt").write_bytes("二\n".encode())
    assert load_text([tmp_path / "a.txt", str(tmp_path / "b.txt")]) == "one\r\n二\n"


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty"), (b"ab\xff", "line 1: not UTF-8 text .byte 2"), (None, "no such text file")]
)
def test_load_text_names_the_file_that_is_wrong(tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        load_text([path])
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one\r\n\n two\n", ["one\r\n\n two\n"]),
        ("\n", ["\n"]),
        ("a\n|\nb\n|\nc\n", ["a", "b", "c\n"]),
        ("a|b", ["a", "b"]),
        ("a\r\n|\r\nb", ["a", "b"]),
        ("a\n\n|\n\nb", ["a\n", "\nb"]),
        ("|\n|a||\n\n|\n", ["a"]),
        ("|\n \n|", [" "]),
        ("a <|endoftext |> b|c", ["a <|endoftext |> b", "c"]),
    ],
)
def test_documents_are_cut_at_the_marker(tmp_path, content, expected):
    path = tmp_path / "a.txt"
    path.write_bytes(content.replace("<|endoftext |>", "*").replace("|", "<|endoftext|>").encode())
    assert list(documents(path)) == [text.replace("<|endoftext |>", "*") for text in expected]


@given(st.lists(st.sampled_from(["a", "b c", " ", "\n", "\r\n", "<|endoftext|>", "<|endof", "text|>"]), min_size=1))
@settings(max_examples=300, deadline=None)
def test_documents_are_those_of_a_regular_expression(pieces):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes("".join(pieces).encode())
        expected = [text for text in re.split(r"(?:\r?\n)?<\|endoftext\|>(?:\r?\n)?", "".join(pieces)) if text]
        if expected:
            assert list(documents(path)) == expected
            first_lines = [next(parts) for parts in document_parts(str(path))]  # the rest is passed over
            assert all(map(str.startswith, expected, first_lines)) and len(first_lines) == len(expected)
        else:
            with pytest.raises(ValueError, match="all documents in it are empty"):
                list(documents(path))


def test_documents_of_jsonl_are_the_field_text(tmp_path):
    texts = ["one\n<|endoftext|>\ntwo", "", "三\r\n"]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": 1, "text": text}) + "\n\n" for text in texts))
    assert list(documents(path)) == [texts[0], texts[2]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"title": "x"}', "line 2: there is no field 'text', only 'title'"),
        ('{"text": 5}', 'line 2: "text" must be a string, got int'),
        (r'{"text": "a\ud800"}', "line 2 is not valid JSON: 'utf-8' codec can't encode"),
        ("text", "line 2 is not valid JSON"),
    ],
)
def test_documents_name_the_line_that_is_wrong(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n' + line)
    with pytest.raises(ValueError, match=re.escape(f"{path}, {message}")):
        list(documents(path))


def test_split_is_nine_tenths_of_the_characters():
    assert split_documents(["0123456789" * 10]) == (["0123456789" * 9], ["0123456789"])
    assert split_documents(["0123456789"] * 3 + ["a" * 70]) == (["0123456789"] * 3 + ["a" * 60], ["a" * 10])


@given(n=st.integers(2, 60), B=st.integers(1, 5), seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=50, deadline=None)
def test_targets_are_the_tokens_that_follow(n, B, seed, data):
    T = data.draw(st.integers(1, n - 1))
    tokens = np.arange(n)
    ids, targets = random_windows(tokens, B, T, np.random.default_rng(seed))
    assert ids.shape == targets.shape == (B, T)
    assert (targets == ids + 1).all() and (np.diff(ids, axis=1) == 1).all()
    assert ids.min() >= 0 and targets.max() < n


def test_every_window_can_be_drawn():
    ids, _ = random_windows(np.arange(6), 200, 3, np.random.default_rng(0))
    assert set(ids[:, 0]) == {0, 1, 2}


def test_windows_longer_than_the_text_are_refused():
    with pytest.raises(ValueError, match="3 tokens, but a window of 3"):
        random_windows(np.arange(3), 1, 3, np.random.default_rng(0))
