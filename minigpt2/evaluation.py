"""How well a model predicts a text: loss and perplexity, per token and per character.

Shapes: N tokens in the text, B windows at a time, T tokens in a window (n_positions).
"""

import math
from dataclasses import dataclass

import numpy as np

from minigpt2.components.loss import IGNORED
from minigpt2.data import mask_tokens
from minigpt2.data.token_file import encode_documents
from minigpt2.progress import progress_bar


@dataclass(frozen=True)
class Evaluation:
    """The loss of a model on a text, in nats, and the counts to average it over.

    nats: sum of -log p over the predicted tokens; tokens, characters: how many were predicted
    """

    nats: float
    tokens: int
    characters: int

    @property
    def loss(self):
        """Nats per token. Depends on the vocabulary: longer tokens are harder to predict, and fewer."""
        return self.nats / self.tokens

    @property
    def loss_per_character(self):
        """Nats per character, by which models with different vocabularies can be compared."""
        return self.nats / self.characters

    @property
    def perplexity(self):
        """exp(loss): the number of equally likely tokens that would be as hard to choose from."""
        return exponential(self.loss)

    @property
    def perplexity_per_character(self):
        """The same for characters."""
        return exponential(self.loss_per_character)

    @property
    def bits_per_character(self):
        """The size, in bits per character, to which the model would compress the text."""
        return self.loss_per_character / math.log(2)


def exponential(x):
    """exp(x), or infinity if that exceeds float64: the perplexity of x nats."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def evaluate(model, tokenizer, text, stride=None, progress=False, limit=None, short_last=False):
    """Predict every token of a text but the first, each from those before it; other arguments as in ``total_nats``.

    text: str, or a list of documents, between which <|endoftext|> is predicted as well
    limit: how many tokens of it to read at most, from the first on; None: all
    returns Evaluation.
    raises: ValueError as ``total_nats`` and ``encode_documents``.
    """
    texts = [text] if isinstance(text, str) else text
    ids = np.asarray(encode_documents(tokenizer, texts))
    characters = sum(map(len, texts))
    if limit is not None and limit < ids.size:
        ids = ids[: max(limit, 0)]
        characters = len(tokenizer.decode(ids[ids != tokenizer.eos_id]))
    nats = total_nats(model, ids, stride, progress=progress, short_last=short_last)
    # All characters but those of the first token, which nothing predicts.
    return Evaluation(nats, ids.size - 1, max(characters - len(tokenizer.decode(ids[:1])), 1))


def total_nats(model, ids, stride=None, context=None, progress=False, short_last=False):
    """-log p of every token but the first, summed.

    Windows of ``context`` tokens begin every ``stride`` tokens; in each, only the tokens count that
    the previous window has not predicted. A small stride gives every token a long context and costs
    context / stride passes over the text.

    ids: (N,) integers
    stride: tokens between windows, 1 ... context; context by default: no overlap
    context: tokens in a window, 1 ... n_positions; n_positions by default
    progress: True shows a bar on standard error
    short_last: the last window is as long as the others and ends the text, so that it begins less than ``stride``
        after the one before; True: it begins where its turn is and is shorter, as in Hugging Face's "Perplexity of
        fixed-length models"
    returns float, in nats.
    raises: ValueError when there are fewer than two tokens, or stride or context is out of range.
    """
    P = model.config.n_positions
    ids = np.asarray(ids)
    if ids.size < 2:
        raise ValueError(f"evaluate: the text has {ids.size} tokens, but at least 2 are needed: the first is given")
    context = P if context is None else context
    if not 1 <= context <= P:
        raise ValueError(f"evaluate: context must be 1 ... {P} tokens, got {context}")
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise ValueError(f"evaluate: stride must be 1 ... {context} tokens, got {stride}")
    N = ids.size - 1  # tokens to predict
    T = min(context, N)

    # A window sees ids[start : start + T] and predicts the token after each.
    starts = [*range(0, N - T, stride)]
    last = len(starts) * stride if short_last else N - T
    starts = np.asarray([*starts, last])
    predicted_before = np.concatenate([[0], starts[:-1] + T])
    nats, B = 0.0, max(1, 4096 // T)
    bar = progress_bar(range(0, len(starts), B), "evaluating", show=progress)
    for chunk in (slice(first, first + B) for first in bar):
        seen = starts[chunk, None] + np.arange(T)
        counts = (seen >= predicted_before[chunk, None]) & (seen < N)
        seen = np.minimum(seen, N - 1)  # what fills a short window up comes after all that counts in it
        targets = np.where(counts, ids[seen + 1], np.int64(IGNORED))
        nats += model.loss(ids[seen], targets) * int(counts.sum())
    return nats


def masked_loss(model, ids, mask_id, seed=0, progress=False):
    """How well a masked language model guesses hidden tokens: mean -log p, in nats per hidden token.

    Windows of n_positions tokens do not overlap, and the tokens left over at the end are not used; the same seed
    hides the same tokens.

    ids: (N,) integers; mask_id, seed: as in ``minigpt2.data.mask_tokens``
    raises: ValueError when there is no token.
    """
    T = min(model.config.n_positions, len(ids))
    if not T:
        raise ValueError("evaluate: the text has no tokens")
    windows = np.asarray(ids[: len(ids) // T * T]).reshape(-1, T)
    rng, B = np.random.default_rng(seed), max(1, 4096 // T)
    nats, hidden = 0.0, 0
    bar = progress_bar(range(0, len(windows), B), "evaluating", show=progress)
    for first in bar:
        inputs, targets = mask_tokens(windows[first : first + B], mask_id, rng)
        n = int((targets != IGNORED).sum())
        nats += model.loss(inputs, targets, causal=False) * n
        hidden += n
    return nats / hidden
