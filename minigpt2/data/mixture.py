"""A weighted mixture of corpora (notebook 3.2), each split into a training part and a validation part.

Shapes: B batch, T time (tokens).
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigpt2.data.batches import random_windows, split_documents
from minigpt2.data.text import documents, locate
from minigpt2.data.token_file import encode_documents, open_tokens
from minigpt2.progress import progress_bar

CHUNK = 1 << 22  # tokens added to a checksum at a time
VALIDATION_TOKENS = 1_000_000  # at most, from a token file: enough for four digits of the loss


@dataclass
class Source:
    """A corpus before it has tokens: its name, its weight (None: by its size), its documents (None: a token file).

    path: where it is, if that is not its name
    """

    name: str
    weight: float | None
    documents: list | None
    path: str = ""

    def texts(self):
        """Every document."""
        if self.documents is None:
            raise ValueError(
                f"{self.name} holds tokens and no text: give the --tokenizer that they were made with "
                "(for objective 'mlm' the one of a masked run: minigpt2 data TEXT --model RUN --out FOLDER)"
            )
        return self.documents

    def train_texts(self):
        """The texts to train on: all but the last tenth."""
        return split_documents(self.texts())[0]


@dataclass
class Corpus:
    """A corpus as tokens.

    weight: its share of the windows; all weights sum to 1
    train_ids, validation_ids: (N,) integers; the first may be on the disk
    validation_characters: in the validation text, without the first token, which nothing predicts
    """

    name: str
    weight: float
    train_ids: np.ndarray
    validation_ids: np.ndarray
    validation_characters: int

    def checksum(self):
        """The SHA-256 of its tokens, in hexadecimal digits; a progress bar shows, since it may take long."""
        digest, parts = hashlib.sha256(), (self.train_ids, self.validation_ids)
        total = sum(map(len, parts))
        with progress_bar(desc=f"checking {self.name}", total=total, unit="token", unit_scale=True) as bar:
            for ids in parts:
                digest.update(b"%d tokens" % len(ids))
                for start in range(0, len(ids), CHUNK):
                    digest.update(np.ascontiguousarray(ids[start : start + CHUNK]))
                    bar.update(len(ids[start : start + CHUNK]))
        return digest.hexdigest()


def read_corpora(sources, folder=""):
    """Read the corpora that ``--data`` names.

    sources: "file", or "file:weight"; texts as ``minigpt2.data.documents`` reads them, .tokens files as
        ``minigpt2.data.token_file`` writes them. A text is split at nine tenths of its characters and a token file
        at nine tenths of its tokens: use the same one of the two from the first stage to the last.
    folder: where relative paths are looked for first; by default only in the current folder
    returns list of Source.
    raises: ValueError when a source is given twice, some have weights and others have none, a weight is negative, or
        all are 0; FileNotFoundError and ValueError as ``minigpt2.data.documents``.
    """
    pairs = [name_and_weight(source, folder) for source in sources]
    names = [name for name, _ in pairs]
    weights = [weight for _, weight in pairs if weight is not None]
    paths = [_path(name, folder) for name in names]
    places = [Path(path).resolve() for path in paths]
    if twice := [name for name, place in zip(names, places, strict=True) if places.count(place) > 1]:
        raise ValueError(f"data: {twice[0]} is given twice; give it once, with a weight")
    if weights and len(weights) < len(pairs):
        raise ValueError("data: give every corpus a weight (file:0.7), or none")
    if weights and not 0 < sum(weights) < math.inf:
        raise ValueError(f"data: the weights sum to {sum(weights):g}, so that no window can be drawn")
    return [
        Source(name, weight, None if _has_tokens(path) else list(documents(path)), path)
        for (name, weight), path in zip(pairs, paths, strict=True)
    ]


def in_place_of(sources, others, folder):
    """The sources of a run whose data have moved: ``others``, each with the weight of the one whose place it takes.

    sources, others: as in ``read_corpora``; folder: in which the names of the first are looked for
    returns tuple of str; names that are paths are absolute unless ``folder`` is the current one.
    raises: ValueError when there are more or fewer, or one has another weight.
    """
    if len(others) != len(sources):
        raise ValueError(
            f"data: give as many as the run has, {len(sources)} ({', '.join(sources)}), in the same order; "
            f"got {len(others)}"
        )
    moved = []
    for source, other in zip(sources, others, strict=True):
        (name, weight), (new, new_weight) = name_and_weight(source, folder), name_and_weight(other)
        if new_weight not in (None, weight):
            raise ValueError(f"data: the weights stay as they are in {', '.join(sources)}; give {new} without one")
        if Path(new).exists() and Path(folder).resolve() != Path.cwd():
            new = str(Path(new).absolute())
        moved.append(new if weight is None else new + source.removeprefix(name))
    return tuple(moved)


class Mixture:
    """Corpora as tokens, from which batches are drawn according to their weights."""

    def __init__(self, sources, tokenizer, block_size):
        """Encode the corpora.

        sources: the list from ``read_corpora``
        tokenizer: token files must have been written with it; block_size: tokens in a window
        raises: ValueError, naming the corpus, when one is too short or a token file has another vocabulary.
        """
        self.corpora = [_encode(source, tokenizer, block_size) for source in sources]
        total = sum(corpus.weight for corpus in self.corpora)
        for corpus in self.corpora:
            corpus.weight /= total
        self._drawn = [corpus for corpus in self.corpora if corpus.weight]
        self._vocab_size = len(tokenizer)

    @property
    def train_tokens(self):
        """The number of tokens to train on."""
        return sum(len(corpus.train_ids) for corpus in self._drawn)

    def windows(self, B, T, rng):
        """B windows of T tokens from random places of random corpora; see ``minigpt2.data.random_windows``.

        raises: ValueError, naming the corpus, when a token file holds an id beyond the vocabulary.
        """
        if len(self._drawn) == 1:
            return self._windows(self._drawn[0], B, T, rng)
        counts = rng.multinomial(B, [corpus.weight for corpus in self._drawn])
        pairs = [self._windows(corpus, n, T, rng) for corpus, n in zip(self._drawn, counts, strict=True) if n]
        ids, targets = zip(*pairs, strict=True)
        return np.concatenate(ids), np.concatenate(targets)

    def _windows(self, corpus, B, T, rng):
        ids, targets = random_windows(corpus.train_ids, B, T, rng)
        if (largest := max(ids.max(), targets.max())) >= self._vocab_size:
            raise ValueError(
                f"{corpus.name} is damaged: it holds the id {largest}, but the vocabulary has {self._vocab_size:,} "
                "tokens; write it again with: minigpt2 data TEXT --out FOLDER"
            )
        return ids, targets

    def mean(self, losses):
        """The mean of a loss per corpus, weighted as the corpora are. losses: dict from name to number."""
        return sum(corpus.weight * losses[corpus.name] for corpus in self._drawn)


def _encode(source, tokenizer, block_size):
    """A source as a Corpus, with a weight that is not yet a share; errors as in ``Mixture``."""
    split = _split_tokens if source.documents is None else _split_texts
    train_ids, validation_ids, characters = split(source, tokenizer)
    if len(validation_ids) < 2:
        raise ValueError(f"training: {source.name} is too short to keep a tenth of it for validation")
    weight = len(train_ids) if source.weight is None else source.weight
    if weight and len(train_ids) < block_size + 1:
        raise too_short(source.name, len(train_ids), block_size)
    return Corpus(source.name, weight, train_ids, validation_ids, max(characters, 1))


def _split_tokens(source, tokenizer):
    """The ids of a token file to train on and those for validation, and the number of characters in the latter."""
    ids = open_tokens(source.path or source.name, tokenizer).ids
    boundary = len(ids) - min(len(ids) // 10, VALIDATION_TOKENS)
    train_ids, validation_ids = ids[:boundary], np.asarray(ids[boundary:])
    counted = [i for i in validation_ids[1:].tolist() if i != tokenizer.eos_id]
    try:
        return train_ids, validation_ids, len(tokenizer.decode(counted))
    except ValueError as error:
        raise ValueError(f"{source.name} is damaged: {error}") from None


def _split_texts(source, tokenizer):
    """The same of a source with documents."""
    train, validation = split_documents(source.documents)
    try:
        train_ids = np.asarray(encode_documents(tokenizer, train), dtype=np.int32)
        validation_ids = np.asarray(encode_documents(tokenizer, validation), dtype=np.int32)
    except (ValueError, OverflowError) as error:  # OverflowError: an id beyond 32 bits
        raise ValueError(f"{source.name}: {error}") from None
    return train_ids, validation_ids, sum(map(len, validation)) - len(tokenizer.decode(validation_ids[:1]))


def too_short(name, tokens, block_size):
    """The ValueError about a corpus that has no window to train on. tokens: how many it has, in figures or words."""
    return ValueError(
        f"{name}: {tokens} tokens are left to train on, but a window and the token after it need {block_size + 1}; "
        "use a longer text or a smaller block size"
    )


def name_and_weight(source, folder=""):
    """("a.txt", 0.7) of "a.txt:0.7"; a file whose name looks like that is a file. folder: as in ``read_corpora``."""
    name, _, number = str(source).rpartition(":")
    if not name or Path(_path(source, folder)).exists():
        return str(source), None
    try:
        weight = float(number)
    except ValueError:
        if Path(_path(name, folder)).is_file():
            raise ValueError(f"data: the weight of {name} must be a number such as 0.7, got {number!r}") from None
        return str(source), None
    if not 0 <= weight < math.inf:
        raise ValueError(f"data: the weight of {name} must be 0 or more, got {number}")
    return name, weight


def _path(name, folder):
    """The path of a corpus: in ``folder`` if it is there, else its name."""
    path = Path(folder, name)
    return str(path if folder and path.exists() else name)


def _has_tokens(name):
    """Whether a source is a token file."""
    return locate(name).suffix == ".tokens"
