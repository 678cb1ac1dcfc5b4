"""A corpus as token ids on the disk: written as a stream, read through a memory map, so it may exceed the memory.

A file is a header of 128 bytes, little-endian, and the ids after it, 2 or 4 bytes each:

    16 bytes   "minigpt2 tokens" and a line feed
    4, 4       version of the format (1); bytes per id: 2 if the vocabulary has at most 65,536 tokens, else 4
    5 x 8      number of ids, documents, UTF-8 bytes and characters of the text; size of the vocabulary
    32         ``vocabulary_hash`` of the tokenizer
    32         SHA-256 of the 96 bytes before it

The tokenizer's end-of-text token, GPT-2's is <|endoftext|>, separates two documents (Radford et al. 2019, section 2).
"""

import hashlib
import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigpt2.data.text import document_parts, locate
from minigpt2.progress import progress_bar
from minigpt2.storage.files import atomic_write, check_file

MAGIC, VERSION = b"minigpt2 tokens\n", 1
FIELDS = struct.Struct("<16sII5Q32s")
HEADER_BYTES = FIELDS.size + hashlib.sha256().digest_size

PART = 2**20  # characters encoded at a time
# White space after something else: no token crosses it, see CHUNKS in tokenizer.py, and no word does.
CUT = re.compile(r"(?<=[\S\x1c-\x1f])[^\S\x1c-\x1f]")


@dataclass(frozen=True, eq=False)
class TokenFile:
    """A corpus on the disk.

    ids: (N,) read-only memory map, uint16 or uint32; the disk is read only as ids are used
    documents, bytes, characters: of the text, bytes in UTF-8; the separators between documents do not count
    """

    ids: np.memmap
    documents: int
    bytes: int
    characters: int


def encode_documents(tokenizer, documents):
    """The ids of all documents, with the tokenizer's ``eos_id`` between them.

    documents: iterable of str
    returns list of int; for one document just ``tokenizer.encode(document)``.
    raises: ValueError when there are several and the tokenizer has no end-of-text token; else as ``encode``.
    """
    ids = []
    for number, document in enumerate(documents):
        if number:
            ids.append(_separator(tokenizer))
        ids += tokenizer.encode(document)
    return ids


def write_tokens(path, tokenizer, sources, progress=False):
    """Write the ids of ``encode_documents`` to a file, a part at a time: memory does not grow with the text.

    (Only a run of nothing but white space is held as a whole, since it is one word to the tokenizer.)

    path: the file to write; it is either whole or absent
    tokenizer: Tokenizer or CharTokenizer
    sources: list, each entry a path or a name, as in ``minigpt2.data.documents``, or an iterable of documents
    progress: True shows a bar on standard error
    returns TokenFile.
    raises: as ``documents`` and ``encode_documents``; ValueError when there is nothing to write, or an id above 2**32.
    """
    if len(tokenizer) > 2**32:
        raise ValueError(f"{path}: ids take 4 bytes at most, but this tokenizer's reach {len(tokenizer) - 1:,}")
    id_type = np.dtype("<u2" if len(tokenizer) <= 2**16 else "<u4")
    files = [source for source in sources if _is_path(source)]
    total = sum(locate(file).stat().st_size for file in files) if len(files) == len(sources) else None
    tokens = documents = size = characters = 0
    bar = progress_bar(desc=f"writing {Path(path).name}", total=total, unit="B", unit_scale=True, show=progress)
    with atomic_write(path) as file, bar:
        file.write(bytes(HEADER_BYTES))  # room for numbers that are known only at the end
        for name, parts in _documents_of(sources):
            if documents:
                file.write(np.array(_separator(tokenizer), id_type))
                tokens += 1
            documents += 1
            before = characters
            for part in in_parts(parts, tokenizer.added_tokens):
                try:
                    ids = np.array(tokenizer.encode(part, continues=characters > before), id_type)
                except ValueError as error:
                    raise ValueError(
                        f"{name}, document {documents}, after {characters - before:,} characters: {error}"
                    ) from None
                file.write(ids)
                tokens += ids.size
                characters += len(part)
                size += (part_bytes := len(part.encode()))
                bar.update(part_bytes)
        if not tokens:
            raise ValueError(f"{path}: there is no document to write")
        fields = FIELDS.pack(
            MAGIC, VERSION, id_type.itemsize, tokens, documents, size, characters, len(tokenizer),
            bytes.fromhex(vocabulary_hash(tokenizer)),
        )  # fmt: skip
        file.seek(0)
        file.write(fields + hashlib.sha256(fields).digest())
    return open_tokens(path)


def open_tokens(path, tokenizer=None):
    """Open a file from ``write_tokens``; no id is read, nor checked against the vocabulary, before it is used.

    tokenizer: if given, it must be the one the file was written with
    returns TokenFile.
    raises: FileNotFoundError when it is missing; ValueError, naming it, when it is not such a file, is cut off or
        damaged, or was written with another tokenizer.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{path}: no such token file; write one with: minigpt2 data TEXT --out FOLDER")
    again = "write it again with: minigpt2 data TEXT --out FOLDER"
    actual = check_file(path)
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    if not header.startswith(MAGIC):
        raise ValueError(f"{path} is not a token file of minigpt2; {again}")
    if len(header) < HEADER_BYTES:
        raise ValueError(f"{path} is cut off: {actual} bytes, but its header alone has {HEADER_BYTES}; {again}")
    fields, checksum = header[: FIELDS.size], header[FIELDS.size :]
    _, version, id_bytes, tokens, documents, size, characters, vocabulary_size, vocabulary = FIELDS.unpack(fields)
    if version != VERSION:
        raise ValueError(f"{path} has version {version} of the format, expected {VERSION}; {again}")
    if hashlib.sha256(fields).digest() != checksum:
        raise ValueError(f"{path}: the header is damaged (its checksum does not match); {again}")
    right_width = id_bytes == (2 if vocabulary_size <= 2**16 else 4)
    if not (right_width and 1 <= documents <= characters <= size <= 4 * characters and 2 * documents - 1 <= tokens):
        raise ValueError(f"{path}: the numbers in the header contradict each other; {again}")
    if actual != (expected := HEADER_BYTES + tokens * id_bytes):
        raise ValueError(f"{path} is cut off or damaged: {actual:,} bytes, expected {expected:,}; {again}")
    if tokenizer is not None and vocabulary.hex() != vocabulary_hash(tokenizer):
        raise ValueError(
            f"{path} was written with another tokenizer ({vocabulary_size:,} tokens) than this one "
            f"({len(tokenizer):,} tokens); use that one, or {again} --model M"
        )
    ids = np.memmap(path, f"<u{id_bytes}", "r", HEADER_BYTES)
    return TokenFile(ids, documents, size, characters)


def vocabulary_hash(tokenizer):
    """The SHA-256, in hexadecimal, of everything that determines a text's ids.

    That is vocabulary, merges and special tokens, and more only where a tokenizer has more than GPT-2's.

    tokenizer: Tokenizer or CharTokenizer
    """
    vocab = sorted((int(i), token) for token, i in tokenizer.vocab.items())
    merges = getattr(tokenizer, "merges", None)  # a CharTokenizer has none, which differs from an empty list
    rest = {
        name: sorted(value) if isinstance(value, tuple) else value
        for name in ("added_tokens", "late_tokens", "add_prefix_space", "add_bos_token")
        if (value := getattr(tokenizer, name, None))
    }
    if "add_bos_token" in rest:
        rest["bos_id"] = tokenizer.bos_id
    content = [vocab, merges, sorted(tokenizer.special_tokens), *([rest] if rest else [])]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def in_parts(texts, whole=()):
    """Yield one text in parts of about a million characters, cut where no token and no word is cut in two.

    So the ids of the parts, one after another, are those of the text, and so are the words.

    texts: iterable of str, the text cut anywhere
    whole: tokens that are found in the text before it is cut into words
    """
    held, length, enough = [], 0, PART
    spaced = [token for token in whole if CUT.search(token)]  # the others cross no cut
    longest = max(map(len, spaced), default=0)

    def next_cut(text, start):
        for place in CUT.finditer(text, start + PART):
            n = place.start()
            if spaced and n + longest > len(text):
                return None  # a token may end beyond
            around = text[max(n - longest + 1, start) : n + longest - 1]
            if not any(token in around for token in spaced):
                return n
        return None

    for text in texts:
        held.append(text)
        length += len(text)
        if length < enough:
            continue
        text, start = "".join(held), 0
        while place := next_cut(text, start):
            yield text[start:place]
            start = place
        held, length = [text[start:]], len(text) - start
        enough = max(PART, 2 * length)  # twice as long each time, for linear time even when there is no place to cut
    if length:
        yield "".join(held)


def _documents_of(sources):
    """Yield (a name for messages, parts) of each document of sources as in ``write_tokens``."""
    for source in sources:
        if _is_path(source):
            for parts in document_parts(source):
                yield source, parts
        else:
            for text in filter(None, source):
                yield "the corpus", [text]


def _separator(tokenizer):
    """The id that ends a text; ValueError if there is none."""
    if tokenizer.eos_id is None:
        raise ValueError(
            "there are several documents, but this tokenizer has no <|endoftext|> or other end token to put between "
            "them; use a byte-level one that has, or join the documents into one"
        )
    return tokenizer.eos_id


def _is_path(source):
    return isinstance(source, str | os.PathLike)
