"""Token files: what is written comes back, in parts as at once; what is damaged or does not belong is refused."""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.data import token_file
from minigpt2.data.token_file import (
    FIELDS,
    HEADER_BYTES,
    encode_documents,
    in_parts,
    open_tokens,
    vocabulary_hash,
    write_tokens,
)

TEXT = "To be,  or not to be:\n\n\tthat's the question.  Ça va? 水 の\u3000音\x1c \x1d\x85\u2028 !\x1c!\x1c" * 3
SPACES = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2028\u3000\u200b\u180e"
WORDY = st.text(st.one_of(st.sampled_from(SPACES + "aab'st1,é!\x1c"), st.characters(exclude_categories=["Cs"])))
MARKER = "<|endoftext|>"


@lru_cache
def bpe():
    return Tokenizer.train(TEXT, 290)


def write(folder, content, name="a.txt"):
    path = Path(folder) / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ---------------------------------------------------------------------------------- the text in parts


@given(st.lists(WORDY, max_size=8), st.integers(1, 30))
@settings(max_examples=400, deadline=None)
def test_ids_in_parts_are_those_at_once(texts, size):
    with mock.patch.object(token_file, "PART", size):
        parts = list(in_parts(texts))
    text = "".join(texts)
    assert "".join(parts) == text and all(parts)
    assert [i for part in parts for i in bpe().encode(part)] == bpe().encode(text)


def test_parts_end_at_the_first_place_after_their_size(monkeypatch):
    monkeypatch.setattr(token_file, "PART", 5)
    assert list(in_parts(["one two three  four five"])) == ["one two", " three", "  four", " five"]
    assert list(in_parts(["abcdefghijkl", "mnop", " q", "rstuvw"])) == ["abcdefghijklmnop", " qrstuvw"]
    assert list(in_parts(["to be !\x1c!\x1c to be"])) == ["to be", " !\x1c!\x1c", " to be"]  # U+001C is no white space
    assert list(in_parts([])) == list(in_parts(["", ""])) == []


def test_text_that_cannot_be_cut_takes_linear_time(monkeypatch):
    monkeypatch.setattr(token_file, "PART", 10)
    pattern = mock.Mock(wraps=token_file.CUT)
    monkeypatch.setattr(token_file, "CUT", pattern)
    assert list(in_parts(["\n"] * 10_000)) == ["\n" * 10_000]
    assert sum(len(call.args[0]) for call in pattern.search.call_args_list) < 3 * 10_000


# ---------------------------------------------------------------------------------- there and back


def test_encode_documents_puts_end_of_text_between():
    end = bpe().eos_id
    a, b = bpe().encode("to be"), bpe().encode("or not")
    assert encode_documents(bpe(), ["to be"]) == a
    assert encode_documents(bpe(), iter(["to be", "or not", "to be"])) == [*a, end, *b, end, *a]
    assert encode_documents(bpe(), []) == []
    characters = CharTokenizer.train("to be")
    assert encode_documents(characters, ["to be"]) == characters.encode("to be")
    with pytest.raises(ValueError, match=r"several documents, but this tokenizer has no <\|endoftext\|>"):
        encode_documents(characters, ["to", "be"])


def test_file_holds_the_ids_of_all_documents(tmp_path):
    a = write(tmp_path, f"To be\n{MARKER}\nor nöt{MARKER}{MARKER}\n")
    b = write(tmp_path, '{"text": "that\'s"}\n\n{"text": "", "id": 1}\n{"text": "the\\n水"}\n', "b.jsonl")
    written = write_tokens(tmp_path / "c.tokens", bpe(), [a, str(b), ["question", "", "is"]])
    documents = ["To be", "or nöt", "that's", "the\n水", "question", "is"]
    for file in (written, open_tokens(tmp_path / "c.tokens", bpe()), open_tokens(str(tmp_path / "c.tokens"))):
        assert file.ids.tolist() == encode_documents(bpe(), documents)
        assert isinstance(file.ids, np.memmap) and file.ids.dtype == np.uint16 and not file.ids.flags.writeable
        assert (file.documents, file.characters, file.bytes) == (6, 5 + 6 + 6 + 5 + 8 + 2, 32 + 1 + 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.jsonl", "c.tokens"]


@given(st.lists(WORDY.filter(bool), min_size=1, max_size=5), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_round_trip(documents, size):
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(token_file, "PART", size):
        path = write(folder, "".join(json.dumps({"text": text}) + "\n" for text in documents), "a.jsonl")
        file = write_tokens(Path(folder) / "a.tokens", bpe(), [path])
        assert file.ids.tolist() == encode_documents(bpe(), documents)
        assert file.bytes == sum(len(text.encode()) for text in documents)
        del file


def test_the_layout_is_that_of_the_docstring(tmp_path):
    write_tokens(tmp_path / "a.tokens", bpe(), [["à b", "c"]])
    content = (tmp_path / "a.tokens").read_bytes()
    ids = encode_documents(bpe(), ["à b", "c"])
    assert content[:16] == b"minigpt2 tokens\n"
    assert np.frombuffer(content, "<u4", 2, 16).tolist() == [1, 2]
    assert np.frombuffer(content, "<u8", 5, 24).tolist() == [len(ids), 2, 5, 4, 290]
    assert content[64:96].hex() == vocabulary_hash(bpe())
    assert content[96:128] == hashlib.sha256(content[:96]).digest()
    assert np.frombuffer(content, "<u2", offset=128).tolist() == ids


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_have_two_bytes_up_to_65536_tokens(tmp_path, size, dtype):
    tokenizer = CharTokenizer([chr(i) for i in range(0xD800)] + [chr(0x10000 + i) for i in range(size - 0xD800)])
    last = chr(0x10000 + size - 0xD800 - 1)
    file = write_tokens(tmp_path / "a.tokens", tokenizer, [["a" + last]])
    assert file.ids.dtype == dtype and file.ids.tolist() == [97, size - 1]
    assert (tmp_path / "a.tokens").stat().st_size == HEADER_BYTES + 2 * np.dtype(dtype).itemsize


# ---------------------------------------------------------------------------------- the tokenizer must be the same


def test_vocabulary_hash_depends_on_all_that_decides_ids(tmp_path):
    vocab, merges, special = bpe().vocab, bpe().merges, bpe().special_tokens
    swapped = vocab | {"a": vocab["b"], "b": vocab["a"]}
    tokenizers = [
        bpe(),
        Tokenizer(swapped, merges),
        Tokenizer(vocab, merges[:-1]),
        Tokenizer(vocab, [merges[1], merges[0], *merges[2:]]),
        Tokenizer(vocab | {"<|mask|>": len(vocab)}, merges, (*special, "<|mask|>")),
        CharTokenizer("ab"),
        CharTokenizer("ba"),
        Tokenizer({t: i for t, i in vocab.items() if len(t) == 1}, [], ()),
        CharTokenizer([t for t in vocab if len(t) == 1]),
    ]
    assert len({vocabulary_hash(tokenizer) for tokenizer in tokenizers}) == len(tokenizers)
    bpe().save_pretrained(tmp_path)
    again = Tokenizer.from_pretrained(tmp_path)
    reordered = Tokenizer(dict(reversed(vocab.items())), merges)
    assert vocabulary_hash(bpe()) == vocabulary_hash(again) == vocabulary_hash(reordered)
    assert re.fullmatch("[0-9a-f]{64}", vocabulary_hash(again))


def test_another_tokenizer_is_refused(tmp_path):
    write_tokens(tmp_path / "a.tokens", bpe(), [["to be"]])
    other = Tokenizer.train(TEXT, 280)
    with pytest.raises(ValueError, match=r"a.tokens was written with another tokenizer \(290 tokens\) .* --model M"):
        open_tokens(tmp_path / "a.tokens", other)
    same_size = Tokenizer.train(TEXT[::-1], len(bpe()))
    assert len(same_size) == len(bpe())
    with pytest.raises(ValueError, match="was written with another tokenizer"):
        open_tokens(tmp_path / "a.tokens", same_size)


# ---------------------------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "a.tokens"
    write_tokens(path, bpe(), [["to be", "or not"]])
    return path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "is not a token file"),
        (lambda content: b"PK" + content[2:], "is not a token file"),
        (lambda content: content[:20], "is cut off: 20 bytes, but its header alone has 128"),
        (lambda content: content[:-1], "is cut off or damaged"),
        (lambda content: content + b"\0\0", "is cut off or damaged"),
        (lambda content: content[:16] + b"\2" + content[17:], "has version 2 of the format, expected 1"),
        (lambda content: content[:24] + b"\1" + content[25:], "the header is damaged"),
    ],
)
def test_damage_is_named(tmp_path, content, damage, message):
    path = write(tmp_path, damage(content), "a.tokens")
    with pytest.raises(ValueError, match=message) as raised:
        open_tokens(path, bpe())
    assert str(path) in str(raised.value) and "minigpt2 data" in str(raised.value)


@given(st.integers(0, HEADER_BYTES - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_of_the_header_is_noticed(content, position, flip):
    changed = bytearray(content)
    changed[position] ^= flip
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ValueError, match=r"a\.tokens"):
        open_tokens(write(folder, bytes(changed), "a.tokens"))


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_content_gives_another_error(content, rest, with_magic):
    """Also where the checksum is right: what a broken writer could make."""
    rest = rest.ljust(FIELDS.size)
    fields = (content[:20] if with_magic else b"") + rest[: FIELDS.size - 20 * with_magic]
    made = fields + hashlib.sha256(fields).digest() + rest
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ValueError, match=r"a\.tokens"):
        open_tokens(write(folder, made, "a.tokens"))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b.tokens: no such token file; write one with: minigpt2 data"):
        open_tokens(tmp_path / "b.tokens")


# ---------------------------------------------------------------------------------- nothing is left of a failure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"fine\n" * 4 + b"bad \xff", r"a\.txt, line 5: not UTF-8 text"),
        (b"", r"a\.txt: the file is empty"),
        (MARKER.encode() * 3, r"a\.txt: all documents in it are empty"),
        (b"fine\n" + b"x" * 10_000_001 + b"\xff", r"a\.txt, line 2: not UTF-8 text \(byte 10000001:"),
        (None, r"a\.txt: no such text file"),
    ],
)
def test_bad_text_names_file_and_line_and_leaves_nothing(tmp_path, text, message):
    path = tmp_path / "a.txt" if text is None else write(tmp_path, text)
    before = list(tmp_path.iterdir())
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        write_tokens(tmp_path / "a.tokens", bpe(), [["first"], path])
    assert list(tmp_path.iterdir()) == before


def test_text_that_the_tokenizer_cannot_encode(tmp_path, monkeypatch):
    monkeypatch.setattr(token_file, "PART", 3)
    tokenizer = CharTokenizer.train("abc ")
    with pytest.raises(ValueError, match=r"a\.txt, document 1, after 3 characters: character 'd' .* at position 1 "):
        write_tokens(tmp_path / "a.tokens", tokenizer, [write(tmp_path, "abc d")])
    with pytest.raises(ValueError, match="several documents"):
        write_tokens(tmp_path / "a.tokens", tokenizer, [["a", "b"]])
    with pytest.raises(ValueError, match=r"a\.tokens: there is no document"):
        write_tokens(tmp_path / "a.tokens", tokenizer, [[""]])
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    monkeypatch.setattr(token_file, "PART", 10)
    tokenizer = Tokenizer.train(TEXT, 290)
    write_tokens(tmp_path / "a.tokens", tokenizer, [["the old one"]])
    old = (tmp_path / "a.tokens").read_bytes()
    encoded = [[1, 2], [3, 4], KeyboardInterrupt]
    monkeypatch.setattr(tokenizer, "encode", mock.Mock(side_effect=encoded))
    for name in ("a.tokens", "b.tokens"):
        with pytest.raises(KeyboardInterrupt):
            write_tokens(tmp_path / name, tokenizer, [[TEXT]])
        tokenizer.encode.side_effect = encoded
    assert [path.name for path in tmp_path.iterdir()] == ["a.tokens"]
    assert (tmp_path / "a.tokens").read_bytes() == old


MEMORY = """
import re, sys
from minigpt2 import Tokenizer
from minigpt2.data.token_file import write_tokens
def peak():  # of this process alone; resource.getrusage starts from the parent's
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024
tokenizer = Tokenizer.from_pretrained("shakespeare")
write_tokens(sys.argv[2], tokenizer, [[open(sys.argv[1]).read(2**20)]])  # the words enter the caches
before = peak()
file = write_tokens(sys.argv[2], tokenizer, sys.argv[1:2])
print(file.documents, file.bytes, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_memory_does_not_grow_with_the_document(tmp_path):
    rng = np.random.default_rng(0)
    syllables = [consonant + vowel for consonant in "bdlmt" for vowel in "aeiou"]
    listed = np.array(["".join(rng.choice(syllables, 3)) for _ in range(5000)])
    megabyte = "".join(" ".join(rng.choice(listed, 12)) + "\n" for _ in range(2**20 // 84 + 1))
    with open(tmp_path / "a.txt", "w") as file:
        for _ in range(64):
            file.write(megabyte)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "a.txt"), str(tmp_path / "a.tokens")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    documents, size, megabytes = map(int, done.stdout.split())
    assert documents == 1 and size == 64 * len(megabyte) >= 64e6
    assert megabytes < 32, "of 64 MB of text in a single document"
