"""The vocabulary of a tokenizer: bytes in printable form, ids and what they stand for, tokens with a role."""

import re
import reprlib
from collections.abc import Iterable
from numbers import Integral

import numpy as np

from minigpt2.storage.files import line_and_column

END_OF_TEXT = "<|endoftext|>"


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


def bytes_of_ids(vocab, special_tokens, added_tokens=()):
    """{id: bytes} of a vocabulary that is written in printable form; ValueError where it is malformed."""
    whole = set()  # these stand for their own text
    for token in (*special_tokens, *added_tokens):
        if not isinstance(token, str) or not token or token in whole:
            raise ValueError(f"special tokens and added tokens must be different strings, "
                             f"got {reprlib.repr(token)} among {reprlib.repr([*special_tokens, *added_tokens])}")
        if token in BYTE_OF and not is_its_own_text(token):
            raise ValueError(f"{token!r} cannot be a special or added token: it stands for the byte {BYTE_OF[token]}")
        if token not in vocab:
            raise ValueError(f"the special or added token {reprlib.repr(token)} is not in the vocabulary")
        whole.add(token)
    if BYTE_OF.keys().isdisjoint(vocab):
        raise ValueError("the vocabulary has a token for none of the 256 bytes")
    table = {}
    for token, i in vocab.items():
        if isinstance(i, bool) or not isinstance(i, (int, Integral)) or i < 0:  # int first, as Integral is slow
            raise ValueError(f"the id of {reprlib.repr(token)} must be an integer, 0 or more, got {reprlib.repr(i)}")
        if i >= 2**63:
            raise ValueError(f"the id of {reprlib.repr(token)} must be below 2**63, got {reprlib.repr(i)}")
        if i in table:
            raise ValueError(f"the id {i} of {reprlib.repr(token)} is given twice")
        if token in whole:
            table[i] = token.encode()
        elif token and None not in (spelling := [BYTE_OF.get(character) for character in token]):
            table[i] = bytes(spelling)
        else:
            raise ValueError(f"{reprlib.repr(token)} (id {i}) is neither a special nor an added token, nor made of "
                             f"the 256 characters that stand for bytes")
    return table


def is_its_own_text(token):
    """Whether the printable form of a text is the text itself: nothing but visible ASCII."""
    return all("!" <= character <= "~" for character in token)


class MergeError(ValueError):
    """A merge that the vocabulary or the merges before it do not allow; ``rank`` is its place in the list."""

    def __init__(self, rank, left, right, reason):
        super().__init__(f"merge {rank + 1} ({reprlib.repr(left)} + {reprlib.repr(right)}): {reason}")
        self.rank = rank


def merge_tables(vocab, merges, whole_tokens):
    """A list of merges in ids instead of tokens.

    vocab: {token: id}; merges: pairs of tokens, lowest rank first
    whole_tokens: special and added tokens, which merges neither make nor use unless their bytes are their text
    returns {(left id, right id): rank} and the list rank -> id of the merged token.
    raises: MergeError when a token is not in the vocabulary, a pair occurs twice, or a pair uses a token that a
        later one makes: training cannot have found them in this order, and faster ways to merge rely on it.
    """
    ranks, merged = {}, []
    used, opaque = set(), {token for token in whole_tokens if not is_its_own_text(token)}
    for rank, (left, right) in enumerate(merges):
        token = left + right
        for symbol in (left, right, token):
            if symbol not in vocab or symbol in opaque:
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
    if hasattr(ids, "tolist") and not (isinstance(ids, np.ndarray) and ids.ndim == 1):
        ids = ids.tolist()  # a tensor, whose elements are no integers to Python
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        advice = "; a single one is [id]" if isinstance(ids, Integral) else ""
        raise TypeError(f"ids must be integers in a list or an array, got {reprlib.repr(ids)}{advice}")
    entries = []
    for position, i in enumerate(ids):
        if isinstance(i, bool) or not isinstance(i, Integral):
            advice = "; decode one sequence at a time" if isinstance(i, list | tuple | np.ndarray) else ""
            raise TypeError(
                f"ids must be integers, got {reprlib.repr(i)} ({type(i).__name__}) at position {position}{advice}"
            )
        if i not in table:
            ids_there = f"ids are 0 to {max(table)}"
            if i <= max(table):
                ids_there = f"{len(table):,} ids lie between {min(table)} and {max(table)}, with holes"
            raise ValueError(
                f"id {i} at position {position} is not in the vocabulary, whose {ids_there}: does it belong to this "
                "model? One with more rows than tokens draws no others with generate(..., allowed=tokenizer.known_ids)"
            )
        entries.append(table[i])
    return entries


def check_text(text):
    """Raise TypeError unless ``text`` is a str, ValueError where it cannot be written in UTF-8."""
    if not isinstance(text, str):
        advice = {list: "; give one text at a time", bytes: "; decode it first: text.decode()"}.get(type(text), "")
        raise TypeError(f"expected a str as the text, got {reprlib.repr(text)} ({type(text).__name__}){advice}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line, column = line_and_column(text, error.start)
        raise ValueError(
            f"the text has a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start} (line {line}, "
            f"column {column}): half a character, which has no UTF-8 form; remove it, or write the whole character"
        ) from None


def check_bytes(text, lacking):
    """Raise ValueError where ``text`` needs one of the bytes that a vocabulary lacks.

    lacking: bytes, in any order
    """
    for character in text if lacking else "":
        for byte in character.encode():
            if byte in lacking:
                raise ValueError(
                    f"the character {character!r} (U+{ord(character):04X}) needs the byte 0x{byte:02X}, for which this "
                    f"vocabulary has no token; leave it out, or use a vocabulary of all 256 bytes"
                )


# ------------------------------------------------------------------------------- tokens found as a whole, and roles


def token_patterns(tokens, late_tokens):
    """The patterns that find tokens in a text, to be used one after the other; the late ones come last."""
    late = set(late_tokens)
    patterns = []
    for is_late in (False, True):
        # The longest first, because an alternation takes the first that fits.
        if chosen := sorted((token for token in tokens if (token in late) == is_late), key=len, reverse=True):
            patterns.append(re.compile(f"({'|'.join(map(re.escape, chosen))})"))
    return patterns


def cut_at_tokens(text, patterns):
    """Cut a text at its tokens: list of (part, whether it is a token); no part is empty, but the text may be.

    patterns: from ``token_patterns``
    """
    parts = [(text, False)]
    for pattern in patterns:
        cut = []
        for part, whole in parts:
            # Every other part of a split is what the pattern found.
            cut += [(part, True)] if whole else [(new, n % 2 == 1) for n, new in enumerate(pattern.split(part)) if new]
        parts = cut
    return parts


def check_roles(vocab, roles, add_bos_token):
    """Raise ValueError where a role has a token that is not in ``vocab``, or a needed one has none."""
    for role, token in roles.items():
        if token not in vocab:
            raise ValueError(f"the {role} {reprlib.repr(token)} is not in the vocabulary")
    if add_bos_token and "bos_token" not in roles:
        raise ValueError('add_bos_token needs a token with the role "bos_token"')


def ends_of_text(vocab, eos_token, eos_ids, special_tokens):
    """The ids that end a text, each once: that of ``eos_token``, ``eos_ids``; without both that of <|endoftext|>."""
    ids = list(map(int, eos_ids))
    if ids and (unknown := set(ids).difference(vocab.values())):
        raise ValueError(f"eos_ids: no token has the id {min(unknown)}")
    if eos_token is not None:
        ids.insert(0, vocab[eos_token])
    if not ids and END_OF_TEXT in special_tokens:
        ids = [vocab[END_OF_TEXT]]
    return tuple(dict.fromkeys(ids))
