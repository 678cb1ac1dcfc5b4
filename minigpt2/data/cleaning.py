"""Cleaning a corpus: documents that occur twice, nearly twice, or in the text on which a model is evaluated.

WebText was cleared of duplicates, and the overlap of its 8-grams with each evaluation text was measured (Radford et
al. 2019, sections 2.1 and 4; they do not say how they found duplicates). An n-gram is a run of n words of one document;
``minigpt2.data.words`` says what a word is. A document of fewer than n words has no n-gram: it can be an exact
duplicate, but not a near one, and it adds nothing to an overlap.

An n-gram is represented by a hash of 64 bits, which is the same in every process:

    hash(w_1 ... w_n) = (BLAKE2b(w_1) P^(n-1) + BLAKE2b(w_2) P^(n-2) + ... + BLAKE2b(w_n))  mod 2^64

Two different n-grams have the same hash with a probability of 2^-64, unless they consist of the same words; two
8-grams that do, with 2^-55 at most: this is the reason for this P; other odd numbers are worse. An n-gram that is not
among a billion others is thus mistaken for one of them with a probability of about 10^9 / 2^64 = 5e-11; the Bloom
filters of the paper allowed 1e-8.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from minigpt2.data.text import words
from minigpt2.data.token_file import in_parts
from minigpt2.progress import progress_bar

P = 6364136223846793005  # Knuth's multiplier for MMIX


@dataclass(frozen=True)
class CorpusReport:
    """Statistics of a corpus.

    bytes, characters: of the text, bytes in UTF-8
    tokens: of the documents, without the separators between them
    exact_duplicates, near_duplicates: documents that ``deduplicate`` would remove; None: not counted
    """

    name: str
    bytes: int
    characters: int
    documents: int
    tokens: int
    exact_duplicates: int | None
    near_duplicates: int | None

    @property
    def bytes_per_token(self):
        """How well the vocabulary fits the text: the same text in fewer tokens has more bytes in each."""
        return self.bytes / self.tokens


def corpus_table(reports):
    """A line of headings and a line per CorpusReport, names to the left and figures to the right, as a str."""
    rows = [
        ("corpus", "bytes", "characters", "documents", "tokens", "bytes/token", "exact duplicates", "near duplicates")
    ]
    for report in reports:
        counts = report.bytes, report.characters, report.documents, report.tokens
        duplicates = report.exact_duplicates, report.near_duplicates
        rows.append((
            report.name, *(f"{count:,}" for count in counts), f"{report.bytes_per_token:.3f}",
            *("-" if count is None else f"{count:,}" for count in duplicates),
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ((name.ljust(widths[0]), *map(str.rjust, figures, widths[1:])) for name, *figures in rows)
    return "\n".join("  ".join(line) for line in lines)


@dataclass(frozen=True)
class Duplicates:
    """The documents that ``deduplicate`` removed, by position, from 0 on."""

    exact: list[int]
    near: list[int]


class Seen:
    """The documents and the n-grams met so far, in one corpus or several."""

    def __init__(self):
        self.texts, self.grams = set(), HashSet()


def describe(name, documents, tokenizer, n=8, threshold=0.5, seen=None, progress=False):
    """Gather the statistics of a corpus; documents, n and threshold as in ``deduplicate``.

    name: its name in the report
    tokenizer: Tokenizer or CharTokenizer
    seen: as in ``mark_duplicates``
    progress: True shows a bar on standard error
    returns CorpusReport.
    raises: ValueError as ``deduplicate`` and ``tokenizer.encode``, and when there is no text.
    """
    size = characters = tokens = count = 0
    found = {None: 0, "exact": 0, "near": 0}
    with progress_bar(desc=f"reading {name}", unit="B", unit_scale=True, show=progress) as bar:
        for document, kind in mark_duplicates(documents, n, threshold, seen):
            count += 1
            found[kind] += 1
            for part in in_parts([document]):
                part_bytes = len(part.encode())
                size += part_bytes
                characters += len(part)
                tokens += len(tokenizer.encode(part))
                bar.update(part_bytes)
    if not tokens:
        raise ValueError(f"{name}: there is no text to describe")
    return CorpusReport(name, size, characters, count, tokens, found["exact"], found["near"])


def deduplicate(documents, n=8, threshold=0.5):
    """Remove the documents that repeat an earlier one, as a whole or in most of their n-grams.

        removed   if  it is an earlier document, character for character, or
                      (n-grams that occur in documents kept before) / (all n-grams)  >  threshold

    documents: iterable of str; n: words, 1 or more; threshold: 0 ... 1, with 1 only exact duplicates are removed
    returns kept, a list of str, and Duplicates.
    raises: ValueError when n or threshold is out of range.
    """
    kept, removed = [], Duplicates([], [])
    for position, (document, kind) in enumerate(mark_duplicates(documents, n, threshold)):
        if kind is None:
            kept.append(document)
        else:
            getattr(removed, kind).append(position)
    return kept, removed


def mark_duplicates(documents, n=8, threshold=0.5, seen=None):
    """Yield (document, None, "exact" or "near") for each document: as ``deduplicate``, one at a time.

    It remembers 8 bytes per n-gram kept and 16 per document, but not the text.

    seen: a Seen filled by other corpora, so that their documents count as earlier ones; a new one by default
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be a share of the n-grams, 0 ... 1, got {threshold}")
    seen = Seen() if seen is None else seen
    for document in documents:
        key = hashlib.blake2b(document.encode(), digest_size=16).digest()
        own = ngram_hashes(word_hashes(document), n)
        if key in seen.texts:
            kind = "exact"
        elif own.size and seen.grams.contains(own).mean() > threshold:
            kind = "near"
        else:
            kind = None
            seen.grams.add(own)
        seen.texts.add(key)
        yield document, kind


def overlap(train_documents, evaluation_documents, n=8, progress=False):
    """The share of a text's n-grams that also occur in a training corpus.

        overlap = |{i : g_i in G}| / N,   g_1 ... g_N the n-grams of the evaluation text, G those of the corpus

    An n-gram that occurs twice in the evaluation text counts twice. The corpus is read once and not remembered.

    train_documents, evaluation_documents: iterables of str
    progress: True shows a bar on standard error
    returns float, 0 ... 1.
    raises: ValueError when the evaluation text has no n-gram.
    Source: Radford et al. 2019, section 4, table 6 (n = 8).
    """
    wanted = [ngram_hashes(word_hashes(document), n) for document in evaluation_documents]
    wanted, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *wanted]), return_counts=True)
    if not wanted.size:
        raise ValueError(f"the evaluation text has no document of {n} words or more, so no overlap is defined")
    found = np.zeros(wanted.size, bool)
    for document in progress_bar(train_documents, "looking for overlap", unit=" documents", show=progress):
        grams = ngram_hashes(word_hashes(document), n)
        places = np.minimum(np.searchsorted(wanted, grams), wanted.size - 1)
        found[places[wanted[places] == grams]] = True
    return float(counts[found].sum() / counts.sum())


def word_hashes(document):
    """A hash of 64 bits for each word of a document, uint64 (N,)."""
    parts = [words(part) for part in in_parts([document])]
    parts = [np.fromiter(map(_HASHES.__getitem__, part), np.uint64, len(part)) for part in parts]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def ngram_hashes(hashes, n):
    """A hash of 64 bits for each n-gram, by Horner's rule for all at once.

    hashes: (N,) uint64, of the words; n: words in an n-gram, 1 or more
    returns (N - n + 1,) uint64; (0,) where N < n.
    raises: ValueError when n is below 1.
    """
    if n < 1:
        raise ValueError(f"an n-gram must have at least 1 word, got n = {n}")
    N = max(len(hashes) - n + 1, 0)
    grams = hashes[:N].copy()
    for i in range(1, n):
        grams *= np.uint64(P)  # wraps around, as meant
        grams += hashes[i : i + N]
    return grams


class HashSet:
    """A growing set of 64-bit hashes, in sorted arrays, each more than twice as long as the next.

    So there are few of them, and among N hashes one is merged about log2 N times.
    """

    def __init__(self):
        self._runs = []

    def contains(self, hashes):
        """Which of the hashes are in the set: bool, in the shape of ``hashes``."""
        found = np.zeros(hashes.shape, bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, hashes), run.size - 1)
            found |= run[places] == hashes
        return found

    def add(self, hashes):
        """Add hashes (N,)."""
        run = np.sort(hashes)
        while self._runs and self._runs[-1].size <= 2 * run.size:
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")  # merges two sorted arrays
        if run.size:
            self._runs.append(run)


class _WordHashes(dict):
    """Word -> the first 64 bits of its BLAKE2b, remembered."""

    def __missing__(self, word):
        if len(self) == 2**20:  # about 100 MB; a corpus has ever more words, mostly rare ones
            self.clear()
        self[word] = value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        return value


_HASHES = _WordHashes()
