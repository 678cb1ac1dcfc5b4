"""Loss and perplexity of a text, against a token-by-token computation."""

import math

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.evaluation import Evaluation, evaluate, exponential

TEXT = "to be, or not to be, that is the question: whether 'tis nobler in the mind to suffer" * 2


@pytest.fixture(scope="module")
def tokenizer():
    return CharTokenizer.train(TEXT)


@pytest.fixture(scope="module")
def model(tokenizer):
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=16, n_embd=12, n_layer=2, n_head=2, initializer_range=0.5
    )
    return GPT2(config, seed=3, dtype="float64")


def nats_one_by_one(model, ids, stride, short_last=False):
    """-log p of each token, from the window in which it is scored first."""
    T = min(model.config.n_positions, len(ids) - 1)
    starts = [*range(0, len(ids) - 1 - T, stride), len(ids) - 1 - T]
    if short_last:
        starts[-1] = (len(starts) - 1) * stride
    total, done = 0.0, 0
    for start in starts:
        for target in range(max(done, start) + 1, min(start + T, len(ids) - 1) + 1):
            logits = model.forward([ids[start:target]])[0][0, -1]
            logits = logits - logits.max()
            total -= logits[ids[target]] - math.log(np.exp(logits).sum())
            done = target
    return total


@pytest.mark.parametrize("short_last", [False, True])
@pytest.mark.parametrize("stride", [1, 5, 16])
@pytest.mark.parametrize("length", [2, 9, 16, 17, 33, 70])
def test_equals_one_token_at_a_time(model, tokenizer, stride, length, short_last):
    expected = nats_one_by_one(model, tokenizer.encode(TEXT[:length]), stride, short_last)
    for text, limit in ((TEXT[:length], None), (TEXT, length), (TEXT[:length], 999)):
        result = evaluate(model, tokenizer, text, stride, limit=limit, short_last=short_last)
        assert result.nats == pytest.approx(expected, rel=1e-12)
        assert (result.tokens, result.characters) == (length - 1, length - 1)


def test_the_last_window_of_hugging_faces_guide(model, tokenizer):
    """Its loop over the text, with the token after a window as its last target; it scores no token twice."""
    ids, P, stride = tokenizer.encode(TEXT), 16, 6
    nats, before = 0.0, 0
    for start in range(0, len(ids), stride):
        end = min(start + P, len(ids) - 1)
        logits, _ = model.forward([ids[start:end]])
        log_probs = logits[0] - np.log(np.exp(logits[0]).sum(axis=-1, keepdims=True))
        for position in range(before, end):
            nats -= log_probs[position - start, ids[position + 1]]
        before = end
        if end == len(ids) - 1:
            break
    assert (len(ids) - 1 - P) % stride, "the last window is a short one"
    ours = evaluate(model, tokenizer, TEXT, stride, short_last=True).nats
    assert ours == pytest.approx(nats, rel=1e-12)
    assert evaluate(model, tokenizer, TEXT, stride).nats != pytest.approx(nats, rel=1e-5), "more context at the end"


def test_a_limit_counts_the_characters_of_documents_without_their_ends(model):
    bpe = Tokenizer.train(TEXT, 280)
    model = GPT2(GPT2Config(vocab_size=len(bpe), n_positions=8, n_embd=8, n_layer=1, n_head=1))
    first, second = TEXT[:20], TEXT[20:60]
    limit = len(bpe.encode(first)) + 3
    result = evaluate(model, bpe, [first, second], limit=limit)
    read = first + bpe.decode(bpe.encode(second)[:2])
    assert (result.tokens, result.characters) == (limit - 1, len(read) - len(bpe.decode(bpe.encode(first)[:1])))
    for limit in (1, 0, -3):
        with pytest.raises(ValueError, match="at least 2 are needed"):
            evaluate(model, bpe, TEXT, limit=limit)


def test_by_default_windows_do_not_overlap(model, tokenizer):
    assert evaluate(model, tokenizer, TEXT) == evaluate(model, tokenizer, TEXT, stride=16)


def test_figures_follow_from_the_sum():
    result = Evaluation(nats=20.0, tokens=10, characters=25)
    assert result.loss == 2.0 and result.loss_per_character == 0.8
    assert result.perplexity == math.exp(2.0) and result.perplexity_per_character == math.exp(0.8)
    assert result.bits_per_character == pytest.approx(0.8 / math.log(2))


def test_a_perplexity_that_exceeds_float64_is_infinite():
    """A model with huge weights is wrong by thousands of nats per token."""
    result = Evaluation(nats=7101.0, tokens=10, characters=9)
    assert result.perplexity == result.perplexity_per_character == math.inf
    assert result.loss == 710.1 and math.isfinite(result.bits_per_character)
    assert Evaluation(math.inf, 10, 10).perplexity == math.inf
    assert math.isnan(Evaluation(math.nan, 10, 10).perplexity), "what is no number is not infinite"
    assert exponential(709.7) < math.inf == exponential(709.8)


def test_characters_of_longer_tokens_are_counted(model):
    bpe = Tokenizer.train(TEXT, 280)
    config = GPT2Config(vocab_size=len(bpe), n_positions=8, n_embd=8, n_layer=1, n_head=1)
    result = evaluate(GPT2(config), bpe, TEXT)
    first = bpe.decode(bpe.encode(TEXT)[:1])
    assert result.characters == len(TEXT) - len(first)
    assert result.tokens == len(bpe.encode(TEXT)) - 1


def test_bad_input(model, tokenizer):
    with pytest.raises(ValueError, match="at least 2 are needed"):
        evaluate(model, tokenizer, "t")
    for stride in (0, 17):
        with pytest.raises(ValueError, match=r"stride must be 1 \.\.\. 16"):
            evaluate(model, tokenizer, TEXT, stride)
