"""Reading, splitting and cutting text."""

import bz2
import contextlib
import gzip
import io
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import warnings
import zipfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.data import (
    document_parts,
    documents,
    has_json_lines,
    load_text,
    pipe,
    random_windows,
    read_jsonl,
    read_lines,
    read_pieces,
    split_documents,
    text,
)


def tar_of(content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("text.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zip_of(content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("text.txt", content)
    return packed.getvalue()


def test_load_text_joins_sources_and_keeps_line_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\n")
    (tmp_path / "b.txt").write_bytes("二\n".encode())
    assert load_text([tmp_path / "a.txt", str(tmp_path / "b.txt")]) == "one\r\n二\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"ab\xff", "line 1: not UTF-8 text .byte 2"),
        (b"ab\n" + b"x" * 3_000_000 + b"\xff", "line 2: not UTF-8 text .byte 3000000"),
        ("text".encode("utf-16"), r"UTF-16 text, expected UTF-8: save it as UTF-8, or .* iconv -f UTF-16 -t UTF-8"),
        ("text".encode("utf-32"), "UTF-32 text, expected UTF-8"),
        ("text".encode("utf-16-le"), "UTF-16LE text, expected UTF-8"),
        ("text".encode("utf-16-be"), "UTF-16BE text, expected UTF-8"),
        (gzip.compress(b"text"), r"packed \(gzip\), expected UTF-8 text: unpack it first"),
        (bz2.compress(b"text"), r"packed \(bzip2\), expected UTF-8 text: unpack it first"),
        (tar_of(b"text"), r"packed \(tar\), expected UTF-8 text: unpack it first"),  # half of it zeros
        (zip_of(b"text"), r"packed \(zip\), expected UTF-8 text: unpack it first"),
        (struct.pack("<6H", 1, 39, 0, 1, 50, 43), r"numbers and no text \(of its first 12 bytes 7 are 0\)"),
        (b"minigpt2 tokens\n\1\0\0\0", "is a token file, which only train reads, expected text"),
        ("caf\xe9".encode("latin-1"), "not UTF-8 text .*; if it is text, save it as UTF-8"),
        (None, "no such text file"),
    ],
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


LINES = '{"id": 1, "text": "one\\n<|endoftext|>\\ntwo"}\n\n{"id": 2, "text": ""}\n{"text": "三\\r\\n"}'
TEXTS = ["one\n<|endoftext|>\ntwo", "三\r\n"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.json", "a.txt", "a.data", "a"])
def test_documents_of_json_lines_are_the_field_text(tmp_path, name, mark):
    path = tmp_path / name
    path.write_text(mark + "\n \n" + LINES, encoding="utf-8")
    assert list(documents(path)) == TEXTS


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("a.jsonl", '{"title": "x"}', "line 2: there is no field 'text', only 'title'"),
        ("a.txt", '{"title": "x", "body": "y"}', "line 2: there is no field 'text', only 'title', 'body'"),
        ("a.jsonl", '{"text": 5}', 'line 2: "text" must be a string, got int'),
        ("a", r'{"text": "a\ud800"}', "line 2 is not valid JSON: \\ud800 in column 12 is half a character"),
        ("a.ndjson", "text", "line 2 is not valid JSON"),
        ("a.json", "[1]", 'line 2: expected a JSON object {...}, got list; expected an object with "text" on each'),
    ],
)
def test_documents_name_the_line_that_is_wrong(tmp_path, name, line, message):
    path = tmp_path / name
    path.write_text('{"text": "fine"}\n' + line)
    with pytest.raises(ValueError, match=re.escape(f"{path}, {message}")):
        list(documents(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"},\n {"text": "b"}]', "on each line, as jq -c '.[]' FILE makes them"),
        ('[{"text": "a"}]', "got list; expected an object with \"text\" on each line, as jq -c '.[]' FILE makes them"),
        ('{\n "text": "a"\n}\n', "on each line, as jq -c . FILE makes them"),
        ('{"content": "a"}', "there is no field 'text', only 'content'"),
        ("a story", 'expected an object with "text" on each line'),
    ],
)
@pytest.mark.parametrize("ending", ["json", "jsonl", "ndjson"])
def test_json_that_does_not_stand_on_lines_is_told_what_is_expected(tmp_path, content, message, ending):
    path = tmp_path / f"a.{ending}"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        list(documents(path))
    assert str(raised.value).startswith(f"{path}, line 1")


@pytest.mark.parametrize(
    "content", ["{ a brace }\nend", '{"text"}', "{", "[1, 2]", '"text"', "{}x", "[Exit]\n{sings}", "{{ a.b }}: c"]
)
def test_a_text_that_begins_like_json_stays_a_text(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not has_json_lines(path) and list(documents(path)) == [content]


@pytest.mark.parametrize(
    "content",
    ['{"text": "cut', '\n  {"a": 1\n}', '[\n  {"text": "a"},\n]', '[{"text": "a"}]', "{'text': 'as Python writes it'}"],
)
def test_other_json_is_read_as_text_with_a_warning(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.warns(UserWarning, match="a.txt is read as text, since it begins like JSON, but not every line"):
        assert list(documents(path)) == [content]


def test_objects_without_text_are_read_as_text_with_a_warning(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text('{"level": "info", "event": "start"}\n')
    with pytest.warns(UserWarning, match="log.txt is read as text, .* without \"text\", but with 'level', 'event'"):
        assert list(documents(path)) == [path.read_text()]


@given(st.dictionaries(st.text(max_size=5), st.text()), st.text(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_object_with_a_text_begins_json_lines(others, content, escaped):
    line = json.dumps(others | {"text": content + "."}, ensure_ascii=escaped or not content.isprintable())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_text(f"{line}\n{line}\n", encoding="utf-8")
        assert list(documents(path)) == [content + "."] * 2


def test_a_json_line_may_be_long(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "PIECE", 100)
    path = tmp_path / "a.txt"
    path.write_text(json.dumps({"text": "the cat " * 1000}) + "\n")
    assert list(documents(path)) == ["the cat " * 1000]
    monkeypatch.setattr(text, "MAX_LINE", 5000)
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1: longer than 5,000 bytes"):
        list(documents(path.rename(tmp_path / "a.jsonl")))


# ----------------------------------------------------------------------------------------------------- long lines

MARKER = "<|endoftext|>"


UNITS = ["a", "é", "😀", " ", "\r", "\r\n", "\n", "<", "<|", MARKER, MARKER[:-1], "|>"]


@given(st.lists(st.sampled_from(UNITS), min_size=1), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_pieces_are_the_text_and_cut_nothing_in_two(units, size):
    """Wherever a long line is cut: the same text, lines and documents, and no half of anything."""
    content = "".join(units)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "a.txt"
        path.write_bytes(content.encode())
        expected = None
        with contextlib.suppress(ValueError):  # all documents are empty
            expected = list(documents(path))
        patch.setattr(text, "PIECE", size)
        pieces = list(read_pieces(path))
        assert "".join(pieces) == content
        for first, second in pairwise(pieces):
            assert not (first.endswith("\r") and second.startswith("\n"))
            both = {match.start() for match in re.finditer(re.escape(MARKER), first + second)}
            assert not any(start < len(first) < start + len(MARKER) for start in both)
        assert list(read_lines(path)) == re.findall(r"[^\n]*\n|[^\n]+", content)
        if expected is not None:
            assert list(documents(path)) == expected


def test_no_piece_is_much_longer_than_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "PIECE", 1000)
    path = tmp_path / "text8"
    path.write_text("the cat sat on a mat " * 10_000)
    pieces = list(read_pieces(path))
    assert len(pieces) > 200 and max(map(len, pieces)) < 1000 + text.LONGEST_BEGUN


# ----------------------------------------------------------------------------------------------------------- pipes


@pytest.fixture
def standard_input(monkeypatch):
    """Put a text into standard input."""

    def put(content, terminal=False):
        monkeypatch.setattr(pipe, "_kept", {})
        stream = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: terminal)
        monkeypatch.setattr(sys, "stdin", stream)

    return put


@pytest.mark.parametrize("name", ["-", Path("-")])
def test_standard_input_can_be_read_twice(standard_input, name, capsys):
    standard_input("\ufefföne\n<|endoftext|>two".encode())
    assert [list(documents(name)) for _ in range(2)] == [["öne", "two"]] * 2
    standard_input(LINES.encode(), terminal=True)
    assert list(documents("-")) == TEXTS and list(read_jsonl("-", ["text"]))
    assert capsys.readouterr().err == "reading - from the terminal, up to Ctrl-D (on Windows Ctrl-Z and Enter)\n"


def test_an_empty_or_closed_standard_input(standard_input, monkeypatch):
    standard_input(b"")
    with pytest.raises(ValueError, match=r"^-: nothing came through this pipe"):
        load_text(["-"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match=r"^-: standard input is closed"):
        load_text(["-"])


named_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@named_pipes
@pytest.mark.parametrize("delay", [0, 0.2])
def test_a_named_pipe_is_read_once_and_kept(tmp_path, delay):
    """The writer may come later, write slowly, and end before the text is used a second time."""
    os.mkfifo(tmp_path / "p")
    content = "words " * 50_000  # more than a pipe holds

    def write():
        stop.wait(delay)
        with open(tmp_path / "p", "w") as file:
            stop.wait(delay)
            file.write(content)

    stop = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    assert load_text([tmp_path / "p"]) == content
    writer.join()
    assert list(documents(tmp_path / "p")) == [content]


@named_pipes
def test_nobody_waits_for_ever_for_a_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(pipe, "PATIENCE", 0.05)
    os.mkfifo(tmp_path / "p")
    with pytest.raises(ValueError, match="p: nothing came through this pipe; start the command that writes to it"):
        load_text([tmp_path / "p"])


@named_pipes
def test_what_a_shell_makes_of_a_command(tmp_path):
    """A pipe, one with a number for a name, and one that is gone."""
    (tmp_path / "a.txt").write_text("To be, or not to be.")
    code = "import sys; from minigpt2.data import load_text; print(*(load_text([s]) for s in sys.argv[1:] * 2))"
    for source in ("-", "/dev/stdin", "/dev/fd/0"):
        with subprocess.Popen(["cat", tmp_path / "a.txt"], stdout=subprocess.PIPE) as cat:
            call = [sys.executable, "-c", code, source]
            done = subprocess.run(call, stdin=cat.stdout, capture_output=True, text=True)
        assert done.stdout == "To be, or not to be. To be, or not to be.\n", done.stderr
    out, into = os.pipe()
    os.write(into, b"To be")
    os.close(into)
    assert load_text([f"/dev/fd/{out}"]) == "To be"
    os.close(out)
    pipe._kept.clear()
    with pytest.raises(FileNotFoundError, match=f"/dev/fd/{out}: no such pipe; .* train --resume RUN --data FILE"):
        load_text([f"/dev/fd/{out}"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("*.txt", r"\*.txt is a pattern, expected a text file: no file matches it"),
        ("*.md", r"\*.md is a pattern, expected a text file: give the files that match it"),
        (".", "is a folder: give the text files in it"),
        pytest.param("/dev/null", "is a device, expected a text file or a pipe", marks=named_pipes),
        ("shakespear", "no such text file; give a path, 'alice' .built in., or a name for a download: shakespeare, "),
    ],
)
def test_what_is_no_text_file_is_called_by_its_name(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.md").write_text("a")
    with pytest.raises(FileNotFoundError, match=message):
        load_text([name])


# -------------------------------------------------------------------------------------------- splits and windows


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
