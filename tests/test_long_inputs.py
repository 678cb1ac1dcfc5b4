"""Long and strange inputs: the work stays linear, the memory too, and what comes out is what came out of short ones.

Work is counted and not timed; times are in tests/benchmarks (``long-...``).
"""

import dataclasses
import heapq
import json
import random
import string
import tracemalloc
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.data.token_file import in_parts, write_tokens
from minigpt2.generation import generate, stream, stream_text
from minigpt2.settings import TrainingSettings
from minigpt2.tokenizer import PIECES, SHORT, learn_merges
from minigpt2.training import Trainer
from minigpt2.vocabulary import PRINTABLE

LATIN_1 = "".join(map(chr, range(256)))


def said_again(unit):
    return lambda size: unit * (size // len(unit))


def drawn_from(alphabet):
    return lambda size: "".join(random.Random(0).choices(alphabet, k=size))


def code_points(size):
    rng = random.Random(0)
    numbers = (rng.randrange(0x110000 - 0x800) for _ in range(size))
    return "".join(chr(n if n < 0xD800 else n + 0x800) for n in numbers)  # no surrogates


TEXTS = {
    "one letter": said_again("a"), "one accent": said_again("é"), "one Chinese character": said_again("好"),
    "one emoji": said_again("😀"), "spaces": said_again(" "), "newlines": said_again("\n"), "tabs": said_again("\t"),
    "hard spaces": said_again("\u00a0"), "spaces and newlines": said_again(" \n"), "separators": said_again("\x1c"),
    "separators and spaces": said_again("\x1c "), "combining marks": said_again("\u0301"), "digits": said_again("7"),
    "accents of two": said_again("a\u0301"), "dots": said_again("."), "quotes": said_again("'"),
    "contractions": said_again("'s"), "end of text": said_again("<|endoftext|>"), "half of it": said_again("<|"),
    "a word": said_again("antidisestablishmentarianism"), "words": said_again(" the rain in Spain"),
    "random white space": drawn_from(" \t\n\r\u00a0\u2003"), "random letters": drawn_from(string.ascii_lowercase),
    "random words": drawn_from(string.ascii_lowercase + "    "), "random digits": drawn_from(string.digits),
    "random punctuation": drawn_from(string.punctuation), "random bytes": drawn_from(LATIN_1),
    "random code points": code_points,
}  # fmt: skip
parametrize_texts = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())


@pytest.fixture(scope="module")
def shakespeare():
    return Tokenizer.from_pretrained("shakespeare")


@pytest.fixture(scope="module")
def gpt2(gpt2_vocab):
    return Tokenizer.from_pretrained(gpt2_vocab)


@pytest.fixture(params=["shakespeare", "gpt2"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def fresh(tokenizer):
    """The tokenizer, with nothing remembered."""
    for cache in (tokenizer._fast.chunks, tokenizer._fast.pieces, tokenizer._fast.windows):
        cache.clear()
        cache.size = 0
    return tokenizer


def by_definition(tokenizer, piece):
    """The pair of the lowest rank becomes one symbol wherever it stands, until no pair has a rank."""
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    symbols = [PRINTABLE[byte] for byte in piece.encode()]
    while ranked := [(ranks[pair], pair) for pair in pairwise(symbols) if pair in ranks]:
        _, pair = min(ranked)
        joined, i = [], 0
        while i < len(symbols):
            step = 2 if tuple(symbols[i : i + 2]) == pair else 1
            joined.append("".join(symbols[i : i + step]))
            i += step
        symbols = joined
    return [tokenizer.vocab[symbol] for symbol in symbols]


class Work:
    """Counts the heap operations of the tokenizer, and the bytes that it merges without a heap, a few at a time."""

    def __init__(self, monkeypatch, tokenizer=None):
        self.operations = 0

        def counted(function):
            def call(heap, *item):
                self.operations += len(heap) if function is heapq.heapify else 1
                return function(heap, *item)

            return call

        def counted_merge(piece):
            assert len(piece) <= SHORT  # because it takes the square of it
            self.operations += len(piece)
            return tokenizer._merge(piece)

        if tokenizer:
            monkeypatch.setattr(tokenizer._fast, "merge", counted_merge)
        functions = {name: counted(getattr(heapq, name)) for name in ("heapify", "heappush", "heappop")}
        monkeypatch.setattr("minigpt2.tokenizer.heapq", SimpleNamespace(**functions))

    def of(self, function, *arguments):
        before = self.operations
        function(*arguments)
        return self.operations - before


# ------------------------------------------------------------------------------------------------ tokenizer


@parametrize_texts
def test_encoding_is_linear(tokenizer, text, monkeypatch):
    """Four operations per byte at most, however long the text; twice the text is at most twice the work."""
    work = Work(monkeypatch, tokenizer)
    short, long = text(10_000), text(20_000)
    once, twice = work.of(fresh(tokenizer).encode, short), work.of(fresh(tokenizer).encode, long)
    assert twice <= 4 * len(long.encode())
    assert twice <= 2.2 * once + 10_000  # a window of GPT-2's vocabulary is 2,048 bytes


@parametrize_texts
def test_long_texts_are_encoded_by_definition(shakespeare, text):
    text = text(700)
    expected = [i for piece in PIECES.findall(text) for i in by_definition(shakespeare, piece)]
    assert fresh(shakespeare).encode(text) == expected


@pytest.mark.slow
@parametrize_texts
def test_round_trip_in_bounded_memory(shakespeare, text):
    """The text comes back, and ids, remembered words and all take 64 bytes per byte at most."""
    text = text(30_000)
    size = len(text.encode())
    tokenizer = fresh(shakespeare)
    tracemalloc.start()
    try:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tracemalloc.get_traced_memory()[1] < 64 * size + 200_000
    finally:
        tracemalloc.stop()
    special = tokenizer.encode(text, allow_special=True)
    assert tokenizer.decode(special) == text
    assert (special == ids) == ("<|endoftext|>" not in text)


@parametrize_texts
def test_parts_of_a_long_text_are_the_text(shakespeare, text, monkeypatch, tmp_path):
    monkeypatch.setattr("minigpt2.data.token_file.PART", 1000)
    monkeypatch.setattr("minigpt2.data.text.PIECE", 500)
    text = text(20_000)
    lines = [text[i : i + 77] for i in range(0, len(text), 77)]
    parts = list(in_parts(iter(lines)))
    assert "".join(parts) == text
    tokenizer = fresh(shakespeare)
    assert [i for part in parts for i in tokenizer.encode(part)] == tokenizer.encode(text)
    written = write_tokens(tmp_path / "long.tokens", tokenizer, [[text]])
    assert written.ids.tolist() == tokenizer.encode(text)
    if "<|endoftext|>" not in text:
        (tmp_path / "long.txt").write_bytes(text.encode())
        written = write_tokens(tmp_path / "long.tokens", tokenizer, [tmp_path / "long.txt"])
        assert written.ids.tolist() == tokenizer.encode(text) and written.documents == 1


@pytest.mark.slow
@parametrize_texts
def test_training_is_linear(text, monkeypatch):
    """The heap is asked for as often as merges change counts, which is no more than a few times per byte."""
    work, counts = Work(monkeypatch), []
    for size in (20_000, 40_000):
        words = Counter(PIECES.findall(text(size)))
        length = sum(len(word.encode()) for word in words)
        counts.append(work.of(lambda words=words: list(learn_merges(words, 60))))
        # 256**2 pairs of bytes, and of each new token with each other one on both sides.
        assert counts[-1] <= min(6 * length, 256**2 + 60 * 4 * 316)
    assert counts[1] <= 2.2 * counts[0] + 1000


@parametrize_texts
def test_characters_of_long_texts(text):
    text = text(50_000)
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


# ----------------------------------------------------------------------------------------------- generation

P = 16
FAR = 5000  # tokens beyond the last position


@pytest.fixture(scope="module")
def model():
    size = {"n_embd": 8, "n_layer": 1, "n_head": 2, "initializer_range": 0.5}
    return GPT2(GPT2Config(vocab_size=30, n_positions=P, **size), seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generation_far_beyond_the_window(model, temperature):
    """The same tokens as a loop that reads the last n_positions tokens, each time anew."""
    found = generate(model, [1, 2, 3], P + FAR, temperature=temperature, seed=5)
    rng, expected = np.random.default_rng(5), [1, 2, 3]
    for _ in range(P + FAR):
        logits = model.forward(np.array([expected[-P:]]))[0][0, -1].astype("float64")
        if temperature:
            cumulative = np.exp(logits - logits.max()).cumsum()
            expected.append(int((cumulative <= rng.random() * cumulative[-1]).sum()))
        else:
            expected.append(int(logits.argmax()))
    assert found.tolist() == expected


@pytest.mark.slow
def test_each_token_far_beyond_costs_the_same(model, monkeypatch):
    """The model reads P tokens each time, and memory does not grow by more than the tokens themselves."""
    read = []
    forward = model.forward

    def counted(ids, **options):
        read.append(ids.size)
        return forward(ids, **options)

    monkeypatch.setattr(model, "forward", counted)
    tokens = stream(model, [1, 2, 3], P + FAR)
    for _ in range(P + 100):
        next(tokens)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert sum(1 for _ in tokens) == FAR - 100
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read[P:] == [P] * (len(read) - P)
    assert after - before < 8 * FAR + 20_000 and peak - before < 200_000


def test_a_penalty_far_beyond(model):
    """It remembers every token, also those that the model has forgotten."""
    found = generate(model, [1, 2, 3], 500, repetition_penalty=1.5).tolist()
    for length in (10, P + 1, 300, 502):
        logits = model.forward(np.array([found[:length][-P:]]))[0][0, -1]
        seen = np.isin(np.arange(30), found[:length])
        logits = np.where(seen, np.where(logits > 0, logits / 1.5, logits * 1.5), logits)
        assert found[length] == logits.argmax()


@pytest.mark.slow
def test_streaming_text_far_beyond(model):
    tokenizer = CharTokenizer("abcdefghijklmnopqrstuvwxyzäöü好")
    text = "".join(stream_text(model, tokenizer, "hello", P + FAR, temperature=1.0))
    assert text == tokenizer.decode(list(stream(model, tokenizer.encode("hello"), P + FAR, temperature=1.0)))
    assert len(text) == P + FAR


# ------------------------------------------------------------------------------------ training on too little


@pytest.mark.parametrize("tokenizer", ["char", "shakespeare"])
@pytest.mark.parametrize("kind", ["txt", "jsonl", "tokens"])
@pytest.mark.parametrize("length", [0, 1, 2, 9, 10, 60])
def test_a_text_shorter_than_a_block(tmp_path, shakespeare, tokenizer, kind, length):
    """One clear error that names the file, and nothing on the disk."""
    path, text = tmp_path / f"short.{kind}", ("abc\n" * 20)[:length]
    if kind == "txt":
        path.write_bytes(text.encode())
    elif kind == "jsonl":
        path.write_bytes((json.dumps({"text": text}) + "\n").encode())
    elif not text:
        with pytest.raises(ValueError, match=r"short.tokens.*no document"):
            write_tokens(path, shakespeare, [[text]])
        assert not path.exists()
        return
    else:
        write_tokens(path, shakespeare, [[text]])
    settings = TrainingSettings(
        data=(str(path),), tokenizer=tokenizer, n_layer=1, n_head=2, n_embd=16, block_size=64, steps=1
    )
    with pytest.raises(ValueError, match=r"short\.\w+.*(empty|too short|longer text|holds tokens and no text)"):
        Trainer(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_validation_part_shorter_than_a_window_is_enough(tmp_path):
    (tmp_path / "a.txt").write_bytes(("abcdefghij" * 9).encode())
    settings = TrainingSettings(
        data=(str(tmp_path / "a.txt"),), tokenizer="char", n_layer=1, n_head=2, n_embd=16, block_size=64, steps=1
    )
    assert np.isfinite(Trainer(dataclasses.replace(settings, batch_size=2), tmp_path / "run").run())
