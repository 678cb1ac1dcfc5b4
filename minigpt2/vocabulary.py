"""The vocabulary of a tokenizer: bytes in printable form, ids, merges, and the files that hold them."""

import os
import reprlib
from numbers import Integral
from pathlib import Path

from minigpt2.storage import files

END_OF_TEXT = "<|endoftext|>"
VOCABULARY_FILES = ("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")  # Hugging Face's, OpenAI's
CONFIG_FILE = "tokenizer_config.json"


def printable_bytes():
    """The printable character that stands for each byte in the vocabulary files, in GPT-2's order.

    Bytes that are visible characters of Latin-1 stand for themselves and come first; the other 68
    (control characters, space, 0xA0, 0xAD) borrow U+0100, U+0101, ... in order. A space is thus "Ġ".

    returns {byte: character}, 256 entries; the position of an entry is its id in GPT-2.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


PRINTABLE = printable_bytes()
BYTE_OF = {character: byte for byte, character in PRINTABLE.items()}


# ---------------------------------------------------------------------------------- ids, and what they stand for


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
            raise ValueError(f"the id of {reprlib.repr(token)} must be an integer, 0 or more, got {reprlib.repr(i)}")
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


class MergeError(ValueError):
    """A merge that the vocabulary or the merges before it do not allow; ``rank`` is its place in the list."""

    def __init__(self, rank, left, right, reason):
        super().__init__(f"merge {rank + 1} ({reprlib.repr(left)} + {reprlib.repr(right)}): {reason}")
        self.rank = rank


def merge_tables(vocab, merges, special_tokens):
    """A list of merges in ids instead of tokens.

    vocab: {token: id}; merges: pairs of tokens, lowest rank first
    returns {(left id, right id): rank} and the list rank -> id of the merged token.
    raises: MergeError when a token is not in the vocabulary, a pair occurs twice, or a pair uses a token that a
        later one makes: training cannot have found them in this order, and faster ways to merge rely on it.
    """
    ranks, merged = {}, []
    used, special = set(), set(special_tokens)
    for rank, (left, right) in enumerate(merges):
        token = left + right
        for symbol in (left, right, token):
            if symbol not in vocab or symbol in special:
                reason = f"{reprlib.repr(symbol)} is not an ordinary token of the vocabulary"
                raise MergeError(rank, left, right, reason)
        pair = vocab[left], vocab[right]
        if pair in ranks:
            raise MergeError(rank, left, right, f"the same pair as merge {ranks[pair] + 1}")
        if token in used:
            raise MergeError(rank, left, right, f"an earlier merge already uses {reprlib.repr(token)}; "
                                                f"merges must be in the order of training")
        ranks[pair] = rank
        merged.append(vocab[token])
        used |= {left, right}
    return ranks, merged


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


# ---------------------------------------------------------------------------------------------------- files


def read_config(folder):
    """The content of a folder's tokenizer_config.json as a dict, empty where there is no such file."""
    path = folder / CONFIG_FILE
    return files.read_json(path, files.MAX_CONFIG) if os.path.lexists(path) else {}


def read_vocabulary(folder, config, make):
    """Make a tokenizer from the vocabulary, the merges and the special tokens in a folder.

    folder: Path; it holds vocab.json and merges.txt, or encoder.json and vocab.bpe
    config: from ``read_config``; may name special tokens
    make:   makes the tokenizer from (vocab, merges, special_tokens)
    raises: FileNotFoundError when a file is missing; ValueError, naming the file, when one is malformed or ``make``
        refuses what it holds.
    """
    for vocab_name, merges_name in VOCABULARY_FILES:
        vocab_file, merges_file = folder / vocab_name, folder / merges_name
        if os.path.lexists(vocab_file) and os.path.lexists(merges_file):
            break
    else:
        pairs = ", or ".join(" and ".join(names) for names in VOCABULARY_FILES)
        raise FileNotFoundError(f"{folder} holds no tokenizer: expected {pairs}")

    vocab = files.read_json(vocab_file)
    special_tokens = {END_OF_TEXT: vocab[END_OF_TEXT]} if END_OF_TEXT in vocab else {}
    special_tokens |= read_special_tokens(folder / CONFIG_FILE, config)
    merges, first_line = read_merges(merges_file)
    try:
        return make(vocab | special_tokens, merges, special_tokens)
    except MergeError as error:
        raise ValueError(f"{merges_file}, line {first_line + error.rank}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{vocab_file}: {error}") from None


def read_merges(path):
    """The merges in the file ``path``: each on a line "left right", after an optional line "#version: 0.2".

    returns the list of pairs, and the number of the line that holds the first.
    raises: FileNotFoundError; ValueError, naming the line, when it is not two tokens with a space between them.
    """
    lines = files.read_text(path).rstrip("\n").split("\n")
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


def write_vocabulary(folder, vocab, merges, special_tokens):
    """Write vocab.json, merges.txt and tokenizer_config.json, which transformers can read too.

    folder: made if it is not there
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    end = END_OF_TEXT if END_OF_TEXT in special_tokens else None
    files.write_json(folder / "vocab.json", vocab)
    with files.atomic_write(folder / "merges.txt", "w") as file:
        file.write("#version: 0.2\n")
        file.writelines(f"{left} {right}\n" for left, right in merges)
    special = {str(vocab[token]): {"content": token, "special": True} for token in special_tokens}
    files.write_json(folder / CONFIG_FILE, {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "added_tokens_decoder": special,
        "bos_token": end,
        "eos_token": end,
        "unk_token": end,
    })
