"""Byte-level byte-pair encoding (BPE), exactly as GPT-2 does it: train, encode, decode, explain.

A text becomes token ids in four steps (Radford et al. 2019, section 2.2; Sennrich et al. 2016):

1. A pattern cuts the text into pieces: words with the space before them, numbers, punctuation.
2. Each piece becomes its UTF-8 bytes, so that 256 symbols spell every text of every language.
3. In each piece the adjacent pair with the lowest rank in the merge list becomes one symbol, again
   and again, until no adjacent pair is in the list.
4. The vocabulary gives each remaining symbol its id.

Training makes the merge list: the most frequent pair of the corpus becomes a new symbol, as often as
the vocabulary has room.
"""

import heapq
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from pathlib import Path

import regex
from tqdm import tqdm

from minigpt2 import files

END_OF_TEXT = "<|endoftext|>"

# English contractions; letters, numbers and the rest, each with at most one space before it; white
# space, of which the last space before a word is left to the word.
PIECES = regex.compile(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

CACHE_BYTES = 2**21  # text of the pieces whose ids are remembered: about 300,000 words


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


class Tokenizer:
    """GPT-2's tokenizer: a vocabulary and a ranked list of merges.

    vocab: {token: id}; tokens are written in the printable form of the released files (see
        ``printable_bytes``), special tokens as they are.
    merges: pairs of tokens; the position of a pair in the list is its rank, lowest first.
    special_tokens: tokens of ``vocab`` that no text spells unless ``encode`` is told to allow it.
    raises: ValueError when a byte, a merged token or a special token is not in ``vocab``, an id is
        given twice, or the merges are not in an order in which training can have found them.

    ``len(tokenizer)`` is the vocabulary size: the largest id + 1.
    """

    def __init__(self, vocab, merges, special_tokens=(END_OF_TEXT,)):
        self.vocab = dict(vocab)
        self.merges = [tuple(pair) for pair in merges]
        self.special_tokens = tuple(special_tokens)
        self._bytes = _bytes_of_ids(self.vocab, self.special_tokens)  # id -> bytes, None where no token is
        self._byte_ids = [self.vocab[PRINTABLE[byte]] for byte in range(256)]

        self._ranks = {}  # (left id, right id) -> rank
        self._merged = []  # rank -> id of the merged token
        used = set()
        for rank, (left, right) in enumerate(self.merges):
            where, token = f"merge {rank + 1} ({left!r}, {right!r})", left + right
            for symbol in (left, right, token):
                if symbol not in self.vocab or symbol in self.special_tokens:
                    raise ValueError(f"{where}: {symbol!r} is not an ordinary token of the vocabulary")
            if token in used:  # `_encode_piece` relies on it, and training cannot do it
                raise ValueError(f"{where}: an earlier merge already uses {token!r}; merges must be in the "
                                 f"order of training")
            pair = self.vocab[left], self.vocab[right]
            if pair in self._ranks:
                raise ValueError(f"{where}: is already merge {self._ranks[pair] + 1}")
            self._ranks[pair] = rank
            self._merged.append(self.vocab[token])
            used |= {left, right}

        self._window = 16 * max(len(token) for token in self._bytes if token is not None)
        self._cache, self._cached_bytes = {}, 0

    def __len__(self):
        return len(self._bytes)

    @property
    def eos_id(self):
        """The id of <|endoftext|>, or None where that is no special token of this vocabulary."""
        return self.vocab[END_OF_TEXT] if END_OF_TEXT in self.special_tokens else None

    def encode(self, text, allow_special=False):
        """The token ids of ``text``.

        text: str.
        allow_special: turn the text of a special token into its id; else it is text like any other.
        returns: list of ids; ``decode`` gives back ``text``.
        raises: TypeError when ``text`` is not a str; ValueError when it holds a lone surrogate.
        """
        check_text(text)
        if not (allow_special and self.special_tokens):
            return self._encode_ordinary(text)
        # The longest first: an alternation takes the first that fits.
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        special = regex.compile(f"({'|'.join(map(regex.escape, longest_first))})")
        ids = []
        for n, part in enumerate(special.split(text)):  # odd parts are what the group matched
            ids += [self.vocab[part]] if n % 2 else self._encode_ordinary(part)
        return ids

    def _encode_ordinary(self, text):
        ids, cache = [], self._cache
        for piece in PIECES.findall(text):
            ids += cache.get(piece) or self._remember(piece, self._encode_piece(piece.encode()))
        return ids

    def _remember(self, piece, ids):
        """Keep the ids of a piece in the cache, which starts anew when it is full; return them."""
        if self._cached_bytes > CACHE_BYTES:
            self._cache.clear()
            self._cached_bytes = 0
        if len(piece) <= self._window:
            self._cache[piece] = ids
            self._cached_bytes += len(piece)
        return ids

    def _encode_piece(self, piece):
        """The ids of one piece (bytes), in time linear in its length.

        A long piece is encoded window by window, each starting at a token of the one before. Where
        both windows agree on that token, the two halves are exactly what the whole gives: how a token
        comes about depends on its own bytes alone, so neighbours that stay apart in one window stay
        apart in the whole, and each pair of neighbours is within a window. (It takes merges in the
        order of training: then the rank of a merge is its time, in each window the same.)
        """
        ids, start = [], 0
        while True:
            end = start + self._window
            window = piece[start:end]
            found = self._cache.get(window) or self._remember(window, self._merge(window))
            if ids and found[0] != ids.pop():
                return self._merge(piece)  # the cut was felt too far to the left: do it in one go
            if end >= len(piece):
                return ids + found
            kept = found[: len(found) * 3 // 4]  # far from the cut; the next window confirms the last
            ids += kept
            start += sum(len(self._bytes[i]) for i in kept[:-1])

    def _merge(self, piece, trace=None):
        """Merge the bytes of ``piece``, always the pair of the lowest rank, the leftmost of these.

        The symbols form a linked list, the pairs wait in a heap: O(n log n) for n bytes. A pair that
        was changed while it waited no longer has its rank, and is passed over.

        trace: list that receives (rank, ids after the merge) for each merge.
        """
        ids = [self._byte_ids[byte] for byte in piece]
        end = len(ids)
        ids.append(None)  # the neighbour of both ends, as ids[end] and as ids[-1]: no pair has it
        following, preceding = list(range(1, end + 2)), list(range(-1, end))
        ranks = self._ranks
        heap = [(ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
        heapq.heapify(heap)
        while heap:
            rank, i = heapq.heappop(heap)
            j = following[i]
            if ids[i] is None or ranks.get((ids[i], ids[j])) != rank:
                continue
            ids[i], ids[j] = self._merged[rank], None
            k = following[i] = following[j]
            preceding[k] = i
            for left, right in ((preceding[i], i), (i, k)):
                if (pair := (ids[left], ids[right])) in ranks:
                    heapq.heappush(heap, (ranks[pair], left))
            if trace is not None:
                trace.append((rank, [x for x in ids if x is not None]))
        return [x for x in ids if x is not None]

    def decode(self, ids):
        """The text of ``ids``; bytes that are not UTF-8 become U+FFFD. See ``decode_bytes``."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids):
        """The bytes that ``ids`` spell.

        ids: integers, as list, array, generator, ...
        returns: bytes; not always UTF-8, as a token may hold a part of a character.
        raises: TypeError when an id is not an integer; ValueError when no token has it.
        """
        return b"".join(look_up(ids, self._bytes))

    @classmethod
    def train(cls, text, vocab_size=1024, special_tokens=(END_OF_TEXT,), progress=None):
        """Learn the merges from a corpus (Sennrich et al. 2016, algorithm 1, on bytes).

        Of all adjacent pairs the most frequent becomes a token; of equally frequent ones that of the
        lowest ids, the left id first. Ids are laid out as in GPT-2: 256 bytes, merges, special tokens.

        text: str, or an iterable of str; these are separate, no pair reaches from one into the next.
        vocab_size: number of tokens, with bytes and special tokens. It comes out smaller, with a
            warning, when no pair that is left occurs twice.
        special_tokens: str each; in ``text`` they are text like any other.
        progress: True or False shows or hides a progress bar; None shows it on a terminal when it takes long.
        raises: TypeError for what is not text; ValueError when ``vocab_size`` is too small.
        """
        special_tokens = tuple(special_tokens)
        smallest = 256 + len(special_tokens)
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, Integral):
            raise TypeError(f"vocab_size must be an integer, got {vocab_size!r}")
        if vocab_size < smallest:
            raise ValueError(f"vocab_size must be at least {smallest} (256 bytes and {len(special_tokens)} "
                             f"special tokens), got {vocab_size}")
        bar = {"disable": None if progress is None else not progress, "delay": 2 if progress is None else 0}

        counts = Counter()
        for piece_text in tqdm([text] if isinstance(text, str) else text, "counting words", unit="text", **bar):
            check_text(piece_text)
            counts.update(PIECES.findall(piece_text))

        tokens = list(PRINTABLE.values())  # id -> printable token
        pairs = []
        merges = learn_merges(counts, int(vocab_size) - smallest)
        for left, right in tqdm(merges, "learning merges", int(vocab_size) - smallest, unit="merge", **bar):
            pairs.append((tokens[left], tokens[right]))
            tokens.append(tokens[left] + tokens[right])
        tokens += special_tokens
        if len(tokens) < vocab_size:
            warnings.warn(f"the text is too small for {vocab_size} tokens: after {len(pairs)} merges no pair "
                          f"occurs twice; the vocabulary has {len(tokens)}", stacklevel=2)
        return cls({token: i for i, token in enumerate(tokens)}, pairs, special_tokens)

    @classmethod
    def from_pretrained(cls, name_or_path):
        """Read a tokenizer from a folder, or by the name of a released or the built-in model.

        name_or_path: a folder that holds vocab.json and merges.txt, or encoder.json and vocab.bpe;
            "gpt2", "gpt2-medium", ... (downloaded once); "shakespeare" (inside this package).
        returns: Tokenizer, or CharTokenizer where a CharTokenizer saved the folder.
        raises: FileNotFoundError when a file is missing; ValueError, naming the file, when one is malformed.
        """
        folder = Path(name_or_path)
        if not folder.is_dir():
            from minigpt2 import hub  # here, as it needs requests, which is slow to import

            folder = hub.locate(name_or_path, files="tokenizer")
        config_file = folder / "tokenizer_config.json"
        config = files.read_json(config_file) if config_file.exists() else {}
        if config.get("tokenizer_class") == "CharTokenizer":
            from minigpt2.char_tokenizer import CharTokenizer  # here, as it imports this file

            return CharTokenizer.from_pretrained(folder)
        vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
        if not vocab_file.exists() and (folder / "encoder.json").exists():
            vocab_file, merges_file = folder / "encoder.json", folder / "vocab.bpe"
        vocab = files.read_json(vocab_file)
        merges = read_merges(merges_file)
        special_tokens = [END_OF_TEXT] if END_OF_TEXT in vocab else []
        try:
            return cls(vocab, merges, special_tokens)
        except ValueError as error:
            raise ValueError(f"{vocab_file}, {merges_file}: {error}") from None

    def save_pretrained(self, folder):
        """Write vocab.json, merges.txt and tokenizer_config.json, which transformers opens too.

        folder: made if it is not there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        end = END_OF_TEXT if END_OF_TEXT in self.special_tokens else None
        files.write_json(folder / "vocab.json", self.vocab)
        with files.atomic_write(folder / "merges.txt", "w") as file:
            file.write("#version: 0.2\n")
            file.writelines(f"{left} {right}\n" for left, right in self.merges)
        files.write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "GPT2Tokenizer",
            "add_prefix_space": False,
            "bos_token": end,
            "eos_token": end,
            "unk_token": end,
        })


def learn_merges(counts, n_merges):
    """Yield pairs of ids to merge, best first; the n-th pair makes the token 256 + n.

    The words are counted once. A merge then changes only the words that hold its pair, and only
    their pairs are counted anew. A heap finds the most frequent pair; whenever a count changes, an entry
    with the new count is added, and one whose count is no longer true is passed over.

    counts: {word: number of times that it occurs}.
    n_merges: how many to yield at most; fewer when no pair that is left occurs twice.
    """
    byte_ids = {byte: i for i, byte in enumerate(PRINTABLE)}
    words = [[byte_ids[byte] for byte in word.encode()] for word in counts]
    repeats = list(counts.values())
    pair_counts = Counter()
    words_with = defaultdict(set)  # pair -> indices of the words that hold it, or once did
    for n, word in enumerate(words):
        for pair in pairwise(word):
            pair_counts[pair] += repeats[n]
            words_with[pair].add(n)
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
        changes = Counter()
        for n in words_with.pop(pair):
            old, new = words[n], merge_pair(words[n], pair, new_id)
            for p in pairwise(old):
                changes[p] -= repeats[n]
            for p in pairwise(new):
                changes[p] += repeats[n]
                words_with[p].add(n)
            words[n] = new
        for p, change in changes.items():
            if change:
                pair_counts[p] += change
                heapq.heappush(heap, (-pair_counts[p], p))
        new_id += 1


def merge_pair(ids, pair, new_id):
    """``ids`` with each ``pair``, from left to right, replaced by ``new_id``."""
    merged, i = [], 0
    while i < len(ids):
        if ids[i] == pair[0] and i + 1 < len(ids) and ids[i + 1] == pair[1]:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def read_merges(path):
    """The pairs in a merges file: a line each, two tokens with a space between; "#version" comes first."""
    # split("\n"), as splitlines() would also cut at characters that can be part of a token
    lines = Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    pairs = [tuple(line.split(" ")) for line in lines]
    return pairs[1:] if lines[0].startswith("#version") else pairs


def _bytes_of_ids(vocab, special_tokens):
    missing = [token for token in special_tokens if token not in vocab]
    if missing:
        raise ValueError(f"special tokens {missing} are not in the vocabulary")
    table = [None] * (max(vocab.values()) + 1)
    for token, i in vocab.items():
        table[i] = token.encode() if token in special_tokens else bytes(BYTE_OF[c] for c in token)
    return table


def check_text(text):
    """Raise TypeError unless ``text`` is a str, ValueError where it cannot be written in UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"expected a str, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text has a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start}; "
                         f"it is half a character and has no UTF-8 form") from None


def look_up(ids, table):
    """The entry of ``table`` for each id; TypeError or ValueError for an id that it does not have."""
    entries = []
    for position, i in enumerate(ids):
        if isinstance(i, bool) or not isinstance(i, Integral):
            raise TypeError(f"ids must be integers, got {i!r} ({type(i).__name__}) at position {position}")
        if not 0 <= i < len(table) or table[i] is None:
            raise ValueError(f"id {i} at position {position} is not in the vocabulary of {len(table)} tokens")
        entries.append(table[i])
    return entries
