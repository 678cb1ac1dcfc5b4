"""The vocabulary of a tokenizer: bytes in printable form, ids, and the files in which it is kept."""

import reprlib
from numbers import Integral

from minigpt2.storage.files import read_text

END_OF_TEXT = "<|endoftext|>"
VOCABULARY_FILES = ("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")  # Hugging Face's, OpenAI's


def printable_bytes():
    """The printable character that stands for each byte in the vocabulary files, in GPT-2's order.

    Bytes that are visible characters of Latin-1 stand for themselves and come first; the other 68
    (control characters, space, 0xA0, 0xAD) borrow U+0100, U+0101, ... in order. A space is thus "Ġ".

    returns: {byte: character}, 256 entries; the position of an entry is its id in GPT-2.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


PRINTABLE = printable_bytes()
BYTE_OF = {character: byte for byte, character in PRINTABLE.items()}


def read_merges(path):
    """The merges in the file ``path``: a line "left right" each, after an optional line "#version: 0.2".

    returns: (list of pairs, number of the line of the first).
    raises: FileNotFoundError; ValueError, naming the line, when one is not two tokens with a space between.
    """
    lines = read_text(path).rstrip("\n").split("\n")
    first_line = 2 if lines[0].startswith("#version") or lines == [""] else 1
    pairs = [tuple(line.split(" ", 2)) for line in lines[first_line - 1 :]]
    for n, pair in enumerate(pairs, first_line):
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"{path}, line {n}: expected two tokens with a space between, "
                             f"got {reprlib.repr(lines[n - 1])}")
    return pairs, first_line


def read_special_tokens(path, config):
    """The special tokens {token: id} that a tokenizer_config.json names; ``path`` is for the message."""
    try:
        added = config.get("added_tokens_decoder", {}).items()
        special_tokens = {entry["content"]: int(i) for i, entry in added if entry.get("special")}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f'{path}: expected "added_tokens_decoder" as {{"id": {{"content": "token", '
                         f'"special": true}}}}, got {reprlib.repr(config["added_tokens_decoder"])}') from None
    if wrong := [token for token in special_tokens if not isinstance(token, str) or not token]:
        raise ValueError(f'{path}: expected a text as "content" of a special token, got {reprlib.repr(wrong[0])}')
    return special_tokens


def bytes_of_ids(vocab, special_tokens):
    """{id: bytes} of a vocabulary that is written in printable form; ValueError where it is malformed."""
    special = set()
    for token in special_tokens:
        if not isinstance(token, str) or not token or token in BYTE_OF or token in special:
            raise ValueError(f"special tokens must be different strings, none of which stands for a byte; "
                             f"got {reprlib.repr(token)} among {reprlib.repr(special_tokens)}")
        if token not in vocab:
            raise ValueError(f"the special token {reprlib.repr(token)} is not in the vocabulary")
        special.add(token)
    for character, byte in BYTE_OF.items():
        if character not in vocab:
            raise ValueError(f"the vocabulary lacks {character!r}, which stands for the byte {byte}")
    table = {}
    for token, i in vocab.items():
        if isinstance(i, bool) or not isinstance(i, (int, Integral)) or i < 0:  # int first, as Integral is slow
            raise ValueError(f"the id of {reprlib.repr(token)} must be an integer from 0 on, got {reprlib.repr(i)}")
        if i >= 2**63:
            raise ValueError(f"the id of {reprlib.repr(token)} must be below 2**63, got {reprlib.repr(i)}")
        if i in table:
            raise ValueError(f"the id {i} of {reprlib.repr(token)} is given twice")
        if token in special:
            table[i] = token.encode()
        elif token and None not in (spelling := [BYTE_OF.get(character) for character in token]):
            table[i] = bytes(spelling)
        else:
            raise ValueError(f"{reprlib.repr(token)} (id {i}) is neither a special token nor made of the 256 "
                             f"characters that stand for bytes")
    return table


def check_text(text):
    """Raise TypeError unless ``text`` is a str, ValueError where it cannot be written in UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"expected a str, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        surrogate = ord(text[error.start])
        raise ValueError(f"the text has a lone surrogate, U+{surrogate:04X}, at position {error.start}: half "
                         f"a character, which has no UTF-8 form") from None


def look_up(ids, table):
    """The entry of ``table`` (a dict) for each id; TypeError or ValueError for an id that has none."""
    entries = []
    for position, i in enumerate(ids):
        if isinstance(i, bool) or not isinstance(i, Integral):
            raise TypeError(f"ids must be integers, got {i!r} ({type(i).__name__}) at position {position}")
        if i not in table:
            raise ValueError(f"id {i} at position {position} is not in the vocabulary, whose ids are "
                             f"0 to {max(table)}")
        entries.append(table[i])
    return entries
