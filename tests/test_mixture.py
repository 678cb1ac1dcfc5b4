"""Corpora that are mixed: weights, splits, token files beside texts."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.data import split_documents
from minigpt2.data.mixture import Mixture, read_corpora
from minigpt2.data.token_file import write_tokens

A = "abcdefghij" * 30
B = "ABCDEFGHIJ" * 60


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.txt").write_text(A)
    (tmp_path / "b.txt").write_text(B)
    return str(tmp_path / "a.txt"), str(tmp_path / "b.txt")


def mixture(*sources, tokenizer=None, block_size=8):
    return Mixture(read_corpora(sources), tokenizer or CharTokenizer.train(A + B), block_size)


def share_of_a(mixed, n=4000):
    ids, targets = mixed.windows(n, 8, np.random.default_rng(0))
    assert ids.shape == targets.shape == (n, 8) and (ids[:, 1:] == targets[:, :-1]).all()
    lower = ids >= mixed.corpora[0].train_ids.min()  # capitals have lower ids than small letters
    assert (lower.all(axis=1) | ~lower.any(axis=1)).all(), "a window is of one corpus"
    return lower[:, 0].mean()


@pytest.mark.parametrize("weights, share", [(("0.7", "0.3"), 0.7), (("1", "3"), 0.25), (("2", "0"), 1.0)])
def test_windows_are_drawn_by_the_weights(files, weights, share):
    mixed = mixture(*(f"{file}:{weight}" for file, weight in zip(files, weights, strict=True)))
    # Four standard deviations of 4,000 draws: one alarm in 16,000, and the seed is fixed.
    assert abs(share_of_a(mixed) - share) <= 4 * (share * (1 - share) / 4000) ** 0.5
    assert sum(corpus.weight for corpus in mixed.corpora) == pytest.approx(1)


def test_without_weights_the_sizes_decide(files):
    mixed = mixture(*files)
    assert [corpus.weight for corpus in mixed.corpora] == pytest.approx([1 / 3, 2 / 3])
    assert mixed.train_tokens == 270 + 540
    assert mixed.mean({files[0]: 3.0, files[1]: 6.0}) == pytest.approx(5.0)


def test_the_same_seed_draws_the_same_windows(files):
    mixed = mixture(*files)
    first, second, other = (mixed.windows(16, 8, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert (first == second).all() and (first != other).any()


def test_each_corpus_keeps_its_own_tenth(files):
    for corpus, text in zip(mixture(*files).corpora, (A, B), strict=True):
        tokenizer = CharTokenizer.train(A + B)
        assert tokenizer.decode(corpus.train_ids) == text[: len(text) * 9 // 10]
        assert tokenizer.decode(corpus.validation_ids) == text[len(text) * 9 // 10 :]
        assert corpus.validation_characters == len(text) // 10 - 1


@given(texts=st.lists(st.text(min_size=1), min_size=1), share=st.floats(0, 1))
def test_documents_are_split_at_a_character(texts, share):
    train, validation = split_documents(texts, share)
    assert "".join(train + validation) == "".join(texts)
    assert len("".join(train)) == int(share * len("".join(texts)))
    assert all(train) and all(validation)


def test_documents_are_separated_by_end_of_text(tmp_path):
    path = tmp_path / "c.jsonl"
    texts = [f"document number {i} says {i} times nothing" for i in range(20)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = Tokenizer.train(texts, 270)
    corpus = mixture(str(path), tokenizer=tokenizer).corpora[0]
    both = tokenizer.decode(np.concatenate([corpus.train_ids, corpus.validation_ids]))
    assert both == "<|endoftext|>".join(texts)
    first = tokenizer.decode(corpus.validation_ids[:1])
    seen = tokenizer.decode(corpus.validation_ids)
    assert corpus.validation_characters == len(seen.replace("<|endoftext|>", "")) - len(first)
    with pytest.raises(ValueError, match="endoftext"):
        mixture(str(path), tokenizer=CharTokenizer.train("".join(texts)))


def test_a_token_file_is_a_corpus_too(tmp_path):
    path = tmp_path / "c.jsonl"
    texts = [f"document number {i} says {i} times nothing" for i in range(20)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = Tokenizer.train(texts, 270)
    write_tokens(tmp_path / "c.tokens", tokenizer, [path])
    corpus = mixture(str(tmp_path / "c.tokens"), tokenizer=tokenizer).corpora[0]
    ids = np.concatenate([corpus.train_ids, corpus.validation_ids])
    assert tokenizer.decode(ids) == "<|endoftext|>".join(texts)
    assert len(corpus.validation_ids) == len(ids) // 10
    assert isinstance(corpus.train_ids, np.memmap), "it may be larger than memory"
    first = tokenizer.decode(corpus.validation_ids[:1])
    seen = tokenizer.decode(corpus.validation_ids).replace("<|endoftext|>", "")
    assert corpus.validation_characters == len(seen) - len(first)
    with pytest.raises(ValueError, match="another tokenizer"):
        mixture(str(tmp_path / "c.tokens"), tokenizer=Tokenizer.train(texts, 260))


def test_bad_mixtures(files, tmp_path):
    a, b = files
    (tmp_path / "short.txt").write_text("a" * 9)
    (tmp_path / "x.tokens").write_bytes(b"nothing")
    for sources, message in (
        ((f"{a}:0", f"{b}:0"), "weights sum to 0"),
        ((f"{a}:-1", f"{b}:2"), "weight of .*a.txt must be 0 or more"),
        ((f"{a}:nan",), "must be 0 or more"),
        ((f"{a}:0,7", f"{b}:0,3"), "weight of .*a.txt must be a number such as 0.7, got '0,7'"),
        ((f"{a}:",), "weight of .*a.txt must be a number such as 0.7, got ''"),
        ((f"{a}:0.5", b), "give every corpus a weight"),
        ((a, a), "given twice"),
        ((a, f"{a}/../a.txt"), "given twice"),
        ((f"{a}:1e308", f"{b}:1e308"), "weights sum to inf"),
    ):
        with pytest.raises(ValueError, match=message):
            read_corpora(sources)
    with pytest.raises(FileNotFoundError, match="no such text file"):
        read_corpora([f"{tmp_path}/nowhere.txt:0.5"])
    with pytest.raises(ValueError, match=r"short\.txt is too short to keep a tenth"):
        mixture(str(tmp_path / "short.txt"))
    with pytest.raises(ValueError, match=r"a\.txt: 270 tokens are left .* smaller block size"):
        mixture(a, block_size=270)
    assert mixture(f"{a}:0", f"{b}:1", block_size=300).mean({a: 1.0, b: 2.0}) == 2.0, "a is only evaluated"
    with pytest.raises(ValueError, match=r"x\.tokens"):
        mixture(str(tmp_path / "x.tokens"))


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path):
    path = tmp_path / "part:2"
    path.write_text(A)
    assert [(c.name, c.weight) for c in read_corpora([str(path)])] == [(str(path), None)]
    assert [(c.name, c.weight) for c in read_corpora([f"{path}:0.5"])] == [(str(path), 0.5)]
