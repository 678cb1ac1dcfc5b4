"""Byte-level byte-pair encoding (BPE), exactly as GPT-2 does it: encode, decode, explain, train.

A text becomes token ids in four steps (Radford et al. 2019, section 2.2; Sennrich et al. 2016):

1. A pattern cuts the text into pieces: words with the space before them, numbers, punctuation.
2. Each piece becomes its UTF-8 bytes, so that 256 symbols spell every text of every language.
3. In each piece the adjacent pair with the lowest rank in the merge list becomes one symbol, again
   and again, until no adjacent pair is in the list.
4. The vocabulary gives each remaining symbol its id.

Training makes the merge list: the most frequent pair of the corpus becomes a new symbol, again and
again, until the vocabulary is full.

``Tokenizer.explain`` takes the four steps one at a time. All that makes ``encode`` and ``train`` fast
is in the second half of this file; it changes no id.
"""

import heapq
import io
import os
import re
import reprlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, pairwise
from numbers import Integral

import regex

from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.progress import progress_bar
from minigpt2.tokenizer_files import DEFAULT_ROLES, read_config, read_tokenizer, write_tokenizer
from minigpt2.vocabulary import (
    END_OF_TEXT,
    PRINTABLE,
    bytes_of_ids,
    check_bytes,
    check_roles,
    check_text,
    cut_at_tokens,
    ends_of_text,
    look_up,
    merge_tables,
    token_patterns,
)

# English contractions; letters, numbers and everything else, each with at most one space before it;
# white space, whose last space is left to the word that follows.
PIECES = regex.compile(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


class Tokenizer:
    """GPT-2's tokenizer: a vocabulary and a ranked list of merges.

    vocab: {token: id}; tokens are written in the printable form of the released files (see
        ``printable_bytes``), special and added tokens as they are
    merges: pairs of tokens; the position of a pair in the list is its rank, lowest first
    special_tokens: tokens of ``vocab`` that no text spells unless ``encode`` is told to allow it
    added_tokens: other tokens of ``vocab`` that every text spells, as a whole and before it is cut into pieces
    late_tokens: the special and added tokens that are looked for only between the others; by default the added ones
    roles: {role: token}, as transformers names them ("eos_token", "pad_token", ...); by default <|endoftext|>, where
        it is special, is "bos_token", "eos_token" and "unk_token"
    eos_ids: ids at which a text ends besides that of the "eos_token"
    add_prefix_space: True puts a space before a text that begins without one, so that its first word is as any other
    add_bos_token: True puts the "bos_token" before each text
    raises: ValueError when a merged, special or added token is not in ``vocab``, an id is given twice, or the merges
        are in an order in which training cannot have found them.

    ``len(tokenizer)`` is the vocabulary size: the largest id + 1.
    """

    def __init__(
        self, vocab: dict[str, int], merges: Iterable[tuple[str, str]], special_tokens: Iterable[str] = (END_OF_TEXT,),
        *, added_tokens: Iterable[str] = (), late_tokens: Iterable[str] | None = None,
        roles: dict[str, str] | None = None, eos_ids: Iterable[int] = (), add_prefix_space: bool = False,
        add_bos_token: bool = False,
    ):  # fmt: skip
        if not isinstance(vocab, dict):
            raise TypeError(
                f"vocab must be a dict {{token: id}}, got {reprlib.repr(vocab)}; Tokenizer.from_pretrained reads files"
            )
        self.merges = [tuple(pair) for pair in merges]
        self.special_tokens, self.added_tokens = tuple(special_tokens), tuple(added_tokens)
        self.late_tokens = self.added_tokens if late_tokens is None else tuple(late_tokens)
        self.roles = dict(roles if roles is not None else DEFAULT_ROLES if END_OF_TEXT in self.special_tokens else {})
        self.add_prefix_space, self.add_bos_token = bool(add_prefix_space), bool(add_bos_token)
        self._bytes = bytes_of_ids(vocab, self.special_tokens, self.added_tokens)  # id -> bytes
        self.vocab = {token: int(i) for token, i in vocab.items()}  # NumPy's integers too
        self._size = max(self._bytes) + 1
        self._byte_ids = [self.vocab.get(PRINTABLE[byte]) for byte in range(256)]  # byte -> id, None where it has none
        self._lacking = bytes(byte for byte, i in enumerate(self._byte_ids) if i is None)
        # (left id, right id) -> rank; rank -> id of the merged token
        self._ranks, self._merged = merge_tables(self.vocab, self.merges, (*self.special_tokens, *self.added_tokens))
        self._fast = FastEncoder(self._merge, self._byte_ids, self._ranks, self._merged, self._bytes)
        self._patterns = {  # allow_special -> what finds the tokens that a text holds as a whole
            False: token_patterns(self.added_tokens, self.late_tokens),
            True: token_patterns((*self.special_tokens, *self.added_tokens), self.late_tokens),
        }
        # Whether a text without special tokens is cut into pieces, and nothing else is done with it.
        self._plain = not (self.added_tokens or add_prefix_space or add_bos_token or self._lacking)
        check_roles(self.vocab, self.roles, add_bos_token)
        self.eos_ids = ends_of_text(self.vocab, self.roles.get("eos_token"), eos_ids, self.special_tokens)

    def __len__(self):
        return self._size

    def __repr__(self):
        parts = [f"{256 - len(self._lacking)} bytes", f"{len(self.merges):,} merges"]
        for kind, tokens in (("special", self.special_tokens), ("added", self.added_tokens)):
            if tokens:
                shown = [reprlib.repr(token)[1:-1] for token in tokens[:3]]
                more = len(tokens) - len(shown)
                parts.append(f"{kind} {', '.join(shown)}{f' and {more:,} more' if more else ''}")
        return f"Tokenizer({len(self.vocab):,} tokens: {', '.join(parts)})"

    @property
    def eos_id(self) -> int | None:
        """The id of the token that ends a text, the first of ``eos_ids``; None where there is none."""
        return self.eos_ids[0] if self.eos_ids else None

    @property
    def bos_id(self) -> int | None:
        """The id of the token that begins a text; None where no token has the role "bos_token"."""
        return self.vocab.get(self.roles.get("bos_token"))

    @property
    def known_ids(self) -> list[int]:
        """The ids that have a token, in order; a padded vocabulary, or a model beside it, may have more."""
        return sorted(self._bytes)

    def encode(self, text: str, allow_special: bool = False, continues: bool = False) -> list[int]:
        """The token ids of ``text``.

            ids = []
            for piece in PIECES.findall(text):
                ids += merge(piece.encode())        see ``_merge``; ``FastEncoder`` finds the same ids sooner

        So it is for the texts between the tokens that are found as a whole: ``added_tokens`` in every text, as they
        are ordinary words, ``special_tokens`` only where it is allowed, so that a stranger's text is safe.

        text: str
        allow_special: True turns the text of a special token into its id; else it is text like any other. With True
            the ids are those of transformers
        continues: True for a text that goes on from an earlier one: no space and no token is put before it
        returns list of ids; ``decode`` gives back ``text``, with what was put before it.
        raises: TypeError when ``text`` is not a str; ValueError when it holds a lone surrogate, or needs a byte that
            the vocabulary lacks.
        """
        check_text(text)
        if allow_special not in (True, False):
            raise TypeError(f"allow_special must be True or False, got {allow_special!r}")
        if self._plain and not (allow_special and self.special_tokens):
            return self._fast.encode(text)
        ids = [self.bos_id] if self.add_bos_token and not continues else []
        for part, i in self._parts(text, allow_special, continues):
            ids += self._fast.encode(part) if i is None else [i]
        return ids

    def _parts(self, text, allow_special, continues):
        """Yield what ``text`` consists of: (token, its id) for a token that is found as a whole, else (text, None)."""
        for n, (part, whole) in enumerate(cut_at_tokens(text, self._patterns[allow_special])):
            if whole:
                yield part, self.vocab[part]
                continue
            if self.add_prefix_space and part[:1] not in ("", " ") and not (continues and n == 0):
                part = " " + part
            check_bytes(part, self._lacking)
            yield part, None

    def _merge(self, piece, trace=None):
        """The ids of one piece: merge its bytes, always the pair of the lowest rank, the leftmost on ties.

        Each merge searches all ranks: O(n^2) for n bytes, but nothing is faster for a word.

        piece: bytes
        trace: list that receives (rank, ids after the merge) for each merge
        """
        rank_of, never = self._ranks.get, len(self._merged)
        ids = [None, *[self._byte_ids[byte] for byte in piece], None]  # no pair contains the None at either end
        ranks = [rank_of(pair, never) for pair in pairwise(ids)]  # ranks[i] is that of ids[i], ids[i + 1]
        while (rank := min(ranks)) < never:
            i = ranks.index(rank)
            ids[i] = self._merged[rank]
            del ids[i + 1], ranks[i]
            ranks[i - 1] = rank_of((ids[i - 1], ids[i]), never)
            ranks[i] = rank_of((ids[i], ids[i + 1]), never)
            if trace is not None:
                trace.append((rank, ids[1:-1]))
        return ids[1:-1]

    def explain(self, text: str) -> list["Piece"]:
        """Every step from ``text`` to its ids, for readers; a token that is found as a whole takes none.

        returns list of Piece, in the order of the text; print one to read it.
        raises: as ``encode``.
        """
        check_text(text)
        pieces = [Piece("", b"", [], [], [self.roles["bos_token"]], [self.bos_id])] if self.add_bos_token else []
        for part, i in self._parts(text, allow_special=False, continues=False):
            if i is None:
                pieces += self._explain_pieces(PIECES.findall(part))
            else:
                pieces.append(Piece(part, part.encode(), [], [], [part], [i]))
        return pieces

    def _explain_pieces(self, texts):
        """Yield a Piece for each piece of a text, with every merge in it."""
        token_of = {i: token for token, i in self.vocab.items()}
        for text in texts:
            steps = []
            ids = self._merge(text.encode(), steps)
            symbols = [PRINTABLE[byte] for byte in text.encode()]
            merges = [Merge(rank, *self.merges[rank], [token_of[i] for i in after]) for rank, after in steps]
            yield Piece(text, text.encode(), symbols, merges, [token_of[i] for i in ids], ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; bytes that are not UTF-8 become U+FFFD. See ``decode_bytes``."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ``ids`` spell.

        ids: integers, as a list, an array, a generator, ...
        returns bytes; not always UTF-8, as a token may hold a part of a character.
        raises: TypeError when an id is not an integer; ValueError when no token has it.
        """
        joined = io.BytesIO()  # b"".join would take 80 bytes for each token
        joined.writelines(look_up(ids, self._bytes))
        return joined.getvalue()

    @classmethod
    def train(
        cls, text: str | Iterable[str], vocab_size: int = 1024, special_tokens: Iterable[str] = (END_OF_TEXT,),
        progress: bool | None = None,
    ) -> "Tokenizer":  # fmt: skip
        """Learn the merges from a corpus (Sennrich et al. 2016, algorithm 1, on bytes).

            count the adjacent pairs in all pieces;
            the most frequent one becomes a token wherever it occurs; again, until there are enough

        On ties the pair with the lowest ids is taken, the left id compared first. Ids are laid out as in
        GPT-2: 256 bytes, merges, special tokens.

        text: str, or an iterable of str; these are separate, no pair reaches from one into the next
        vocab_size: number of tokens, including bytes and special tokens. The vocabulary comes out smaller,
            with a warning, when no remaining pair occurs twice
        special_tokens: each a str; in ``text`` they are text like any other
        progress: True or False shows or hides a progress bar; None shows it when it takes long
        raises: TypeError for what is not text; ValueError when ``vocab_size`` is too small.
        """
        if isinstance(special_tokens, str):
            raise TypeError(f"special_tokens must be a list of str, got {special_tokens!r}; a single one is [token]")
        if isinstance(text, bytes | dict) or not isinstance(text, Iterable):
            raise TypeError(f"expected a str as the text, or several, got {reprlib.repr(text)}; read a file first")
        special_tokens = tuple(special_tokens)
        smallest = 256 + len(special_tokens)
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, Integral):
            raise TypeError(f"vocab_size must be an integer, got {vocab_size!r}")
        if vocab_size < smallest:
            raise ValueError(f"vocab_size must be at least {smallest} (256 bytes and {len(special_tokens)} "
                             f"special token{'s' * (len(special_tokens) > 1)}), got {vocab_size}")
        bar = {"show": progress is not False, "delay": 2 if progress is None else 0, "leave": True}

        tokens = list(PRINTABLE.values())  # id -> printable token
        # An error in special_tokens shows here, before the work.
        if bytes_among := [token for token in special_tokens if token in tokens]:
            raise ValueError(f"special tokens must not stand for a byte, got {bytes_among[0]!r}")
        cls({token: i for i, token in enumerate((*tokens, *special_tokens))}, [], special_tokens)

        counts = Counter()
        texts = [text] if isinstance(text, str) else text
        for part in progress_bar(texts, "counting words", unit="text", **bar):
            check_text(part)
            counts.update(PIECES.findall(part))

        pairs = []
        merges = learn_merges(counts, int(vocab_size) - smallest)
        for left, right in progress_bar(merges, "learning merges", int(vocab_size) - smallest, unit="merge", **bar):
            pairs.append((tokens[left], tokens[right]))
            tokens.append(tokens[left] + tokens[right])
        tokens += special_tokens
        if len(tokens) < vocab_size:
            warnings.warn(f"the text is too small for {vocab_size} tokens: after {len(pairs)} merges no pair "
                          f"occurs twice; the vocabulary has {len(tokens)}", stacklevel=2)
        return cls({token: i for i, token in enumerate(tokens)}, pairs, special_tokens)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike) -> "Tokenizer | CharTokenizer":
        """Read a tokenizer from a folder, or by the name of a released or the built-in model.

        name_or_path: a folder that holds tokenizer.json, or vocab.json and merges.txt, or encoder.json and
            vocab.bpe; "gpt2", "owner/name", ... (downloaded once); "shakespeare" (inside this package)
        returns Tokenizer, or CharTokenizer where a CharTokenizer saved the folder.
        raises: FileNotFoundError when a file is missing; ValueError, naming the file, when one is malformed or asks
            for what GPT-2's tokenizer does not do: what is read gives the same ids as in transformers.
        """
        from minigpt2.storage import hub  # here, as it needs requests, which is slow to import

        folder = hub.locate(name_or_path, files="tokenizer")
        config = read_config(folder)
        if config.get("tokenizer_class") == "CharTokenizer":
            return CharTokenizer.from_pretrained(folder)
        return read_tokenizer(folder, config, make=cls)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write vocab.json, merges.txt and tokenizer_config.json, which transformers can read too.

        folder: made if it is not there
        """
        write_tokenizer(folder, self)


@dataclass(frozen=True)
class Merge:
    """One merge in one piece: its rank, the two tokens that it joins, and all symbols after it."""

    rank: int
    left: str
    right: str
    symbols: list[str]


@dataclass(frozen=True)
class Piece:
    """A piece of text on its way to ids, step by step: what ``explain`` returns."""

    text: str
    bytes: bytes
    symbols: list[str]  # a printable character per byte
    merges: list[Merge]
    tokens: list[str]
    ids: list[int]

    def __str__(self):
        lines = [
            f"{self.text!r}",
            f"  bytes    {self.bytes.hex(' ')}",
            f"  symbols  {' '.join(self.symbols)}",
            *(f"  rank {m.rank:<6} {m.left} + {m.right}  ->  {' '.join(m.symbols)}" for m in self.merges),
            f"  tokens   {' '.join(self.tokens)}",
            f"  ids      {' '.join(map(str, self.ids))}",
        ]
        return "\n".join(lines)


# ======================================================================================= The rest is speed
#
# It gives the ids and the merges that the text above defines, and the tests compare both. Encoding: most
# words have been seen before, most new ones are tokens as a whole, and long ones are cut. Training: counts
# are corrected where a merge changes them, instead of counting the corpus again.

# The same pieces of ASCII text: Python's `re` takes half the time of `regex`.
ASCII_PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)

# A chunk ends where white space follows something else. No piece reaches from one chunk into the next, and the
# pieces of a chunk depend on it alone. Python's `re` finds chunks several times as fast as `regex` finds pieces,
# and few chunks are new. (`re` counts U+001C to U+001F as white space; `regex` and GPT-2 do not.)
CHUNKS = re.compile(r"[^\S\x1c-\x1f]*[\S\x1c-\x1f]+|\s+")

SHORT = 64  # the longest piece, in bytes, for which a list of ranks is faster than a heap
CACHE_BYTES = 2**21  # how much text a cache remembers the ids of: about 300,000 words


class FastEncoder:
    """Encodes text without special tokens: the same ids as merging one piece after another.

    merge:    ``Tokenizer._merge``, for short pieces
    byte_ids: list from a byte to its id, None where it has none; no text that is encoded here has such a byte
    ranks, merged: from ``merge_tables``
    bytes_of: {id: bytes}
    """

    def __init__(self, merge, byte_ids, ranks, merged, bytes_of):
        self.merge, self.byte_ids, self.ranks, self.merged, self.bytes_of = merge, byte_ids, ranks, merged, bytes_of
        whole = whole_tokens(byte_ids, ranks, merged)
        self.whole = {bytes_of[i]: i for i in whole}  # a piece that is found here needs no merging
        self.window = 16 * max(map(len, bytes_of.values()))  # how many bytes are merged at a time
        self.chunks = IdsCache(self.encode_chunk, self.window)
        self.pieces = IdsCache(self.encode_piece, self.window)
        self.windows = IdsCache(self.merge_long, self.window)

    def encode(self, text):
        return list(chain.from_iterable(map(self.chunks.__getitem__, CHUNKS.findall(text))))

    def encode_chunk(self, chunk):
        ids = []
        for piece in (ASCII_PIECES if chunk.isascii() else PIECES).findall(chunk):
            ids += self.pieces[piece]
        return ids

    def encode_piece(self, piece):
        """The ids of one piece (str), in time linear in its length."""
        piece = piece.encode()
        if piece in self.whole:
            return [self.whole[piece]]
        return self.merge(piece) if len(piece) <= SHORT else self.encode_long(piece)

    def encode_long(self, piece):
        """The ids of a long piece (bytes), window by window; each starts at a token of the one before.

        Where two windows agree on this token, joining them there gives the ids of the piece as a whole. For
        whether two adjacent tokens stay apart depends on their own bytes alone (until a merge crosses a
        boundary, neither side can affect the other), and each pair of neighbours lies in one window.
        This requires merges in the order of training: a rank is then a time, the same in every window.
        """
        if len(piece) <= self.window:
            return self.merge_long(piece)
        ids, start = [], 0
        while True:
            window = piece[start : start + self.window]
            found = self.windows[window]
            if ids and found[0] != ids.pop():
                return self.merge_long(piece)  # rare: the cut at the window's end changed tokens this far to its left
            if start + len(window) == len(piece):
                return ids + found
            kept = found[: len(found) * 3 // 4]  # far from the cut; the next window confirms the last
            ids += kept
            start += sum(len(self.bytes_of[i]) for i in kept[:-1])

    def merge_long(self, piece):
        """The same as ``merge`` in O(n log n): symbols form a linked list, pairs wait in a heap.

        A pair that changed while it waited no longer has its rank, and is skipped.
        """
        ids = [self.byte_ids[byte] for byte in piece]
        end = len(ids)
        ids.append(None)  # the neighbour of both ends, as ids[end] and as ids[-1]: no pair contains it
        following, preceding = list(range(1, end + 2)), list(range(-1, end))
        ranks = self.ranks
        heap = [(ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
        heapq.heapify(heap)
        while heap:
            rank, i = heapq.heappop(heap)
            j = following[i]
            if ids[i] is None or ranks.get((ids[i], ids[j])) != rank:
                continue
            ids[i], ids[j] = self.merged[rank], None
            k = following[i] = following[j]
            preceding[k] = i
            for left, right in ((preceding[i], i), (i, k)):
                if (pair := (ids[left], ids[right])) in ranks:
                    heapq.heappush(heap, (ranks[pair], left))
        return [x for x in ids if x is not None]


class IdsCache(dict):
    """Text or bytes -> token ids: finds them with ``encode`` on first use and remembers them.

    encode:  function from a key to its ids
    longest: the longest key that is remembered

    A full cache is emptied and starts again.
    """

    def __init__(self, encode, longest):
        super().__init__()
        self.encode, self.longest, self.size = encode, longest, 0

    def __missing__(self, key):
        ids = self.encode(key)
        if len(key) <= self.longest:
            if self.size > CACHE_BYTES:
                self.clear()
                self.size = 0
            self.size += len(key)
            self[key] = ids
        return ids


def whole_tokens(byte_ids, ranks, merged):
    """The ids of the tokens that merging makes of their own bytes.

    A vocabulary may hold others: with the merges a + b, b + c, a + bc, in this order, "abc" is ab, c. A token is
    whole when both its parts are, and no merge crosses the boundary between them before they are joined.

    byte_ids: id of each byte, or None; ranks: {(left id, right id): rank}, in the order of training; merged: rank -> id
    """
    pairs = list(ranks)  # rank -> pair
    made = {i: -1 for i in byte_ids if i is not None}  # whole token -> rank of the merge that makes it

    def crossed(x, y, rank):
        """Whether a merge before ``rank`` joins an end of ``x`` with a start of ``y``, its neighbour.

        This goes back in time: of the two symbols at the boundary, the one made last is split into its parts, one
        of which is then at the boundary. Ranks are times; ``x`` is there until ``end_x``, ``y`` until ``end_y``.
        """
        end_x = end_y = rank
        while (made_x := made[x]) >= 0 or made[y] >= 0:
            if made_x > made[y]:
                end_x, x = made_x, pairs[made_x][1]
            else:  # also where both are the same token: the left one was made first
                end_y = made[y]
                y = pairs[end_y][0]
            joined = ranks.get((x, y), rank)
            if joined < end_x and joined <= end_y:  # of one rank, x + y comes before y + what follows it
                return True
        return False

    for rank, ((left, right), token) in enumerate(zip(pairs, merged, strict=True)):
        if token not in made and left in made and right in made and not crossed(left, right, rank):
            made[token] = rank
    return made.keys()


def learn_merges(counts, n_merges):
    """Yield pairs of ids to merge, best first; the n-th pair makes the token 256 + n.

    All words lie in one linked list of symbols, each word once, with None between words. Pairs are counted
    once; a merge then visits only the places of its pair and corrects the counts of the neighbours.
    A heap finds the most frequent pair: a new count is a new entry, and an entry whose count is out of
    date is skipped.

    counts: {word: number of times that it occurs}
    n_merges: how many to yield at most; fewer when no remaining pair occurs twice
    """
    byte_ids = {byte: i for i, byte in enumerate(PRINTABLE)}
    ids, repeats = [None], [0]  # of each symbol: its id; how often its word occurs
    for word, count in counts.items():
        spelling = word.encode()
        ids += [*(byte_ids[byte] for byte in spelling), None]
        repeats += [count] * (len(spelling) + 1)
    preceding, following = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))

    pair_counts = Counter()
    places = defaultdict(set)  # pair -> where it begins, or once began
    for i, pair in enumerate(pairwise(ids)):
        if None not in pair:
            pair_counts[pair] += repeats[i]
            places[pair].add(i)
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)

    new_id = 256
    while heap and new_id < 256 + n_merges:
        count, pair = heapq.heappop(heap)
        if -count != pair_counts[pair]:
            continue
        if -count < 2:
            return
        yield pair
        changed = set()
        for i in sorted(places.pop(pair)):  # from left to right: of "aaa" the first two merge
            j = following[i]
            if (ids[i], ids[j]) != pair:
                continue
            h, k = preceding[i], following[j]  # the neighbours on both sides
            for left, right in ((h, i), (j, k)):
                changed.add((ids[left], ids[right]))
                pair_counts[ids[left], ids[right]] -= repeats[i]
            ids[i], ids[j] = new_id, None
            following[i], preceding[k] = k, i
            for left, right in ((h, i), (i, k)):
                changed.add((ids[left], ids[right]))
                pair_counts[ids[left], ids[right]] += repeats[i]
                places[ids[left], ids[right]].add(left)
        del pair_counts[pair]
        for other in changed:
            if None not in other and pair_counts[other]:  # beyond None lies another word
                heapq.heappush(heap, (-pair_counts[other], other))
        new_id += 1
