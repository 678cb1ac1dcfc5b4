"""Batches: splitting a text in two, cutting random windows, hiding tokens.

Shapes: B batch, T time (tokens).
"""

import numpy as np

from minigpt2.components.loss import IGNORED

MASK = "<|mask|>"  # the special token in place of a hidden one


def split_documents(texts, train_share=0.9):
    """The first 90 % of the characters for training, the last 10 % for validation; one document may be cut in two.

    texts: list of str; a single one is cut where nanoGPT cuts it
    returns two lists of str, in which no text is empty.
    """
    left = int(train_share * sum(map(len, texts)))
    train, validation = [], []
    for text in texts:
        if text[:left]:
            train.append(text[:left])
        if text[left:]:
            validation.append(text[left:])
        left -= min(left, len(text))
    return train, validation


def random_windows(tokens, B, T, rng):
    """A batch of B runs of T tokens from random places, and the token that follows each token in them.

    tokens: (N,) integer array; rng: numpy.random.Generator
    returns ids (B, T) and targets (B, T): ids shifted by one.
    raises: ValueError when there are fewer than T + 1 tokens.
    """
    if len(tokens) < T + 1:
        raise ValueError(
            f"the text has {len(tokens)} tokens, but a window of {T} and the one after it need {T + 1}; "
            "use a longer text or a smaller block size"
        )
    starts = rng.integers(0, len(tokens) - T, B)
    windows = tokens[starts[:, None] + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


def mask_tokens(ids, mask_id, rng, share=0.15):
    """Hide some tokens, for a model to guess from both sides (notebook 3.1).

    Of the chosen tokens 80 % become the mask token, 10 % a random token (at times the same), and 10 % stay: in later
    use there are no mask tokens, and the model must not rely on its input being right.

    ids:     (B, T) integers
    mask_id: the token <|mask|>; random tokens are drawn from the lower ids
    rng:     numpy.random.Generator
    share:   probability with which a token is chosen; at least one is
    returns inputs (B, T) and targets (B, T), -100 where the token was not chosen.
    Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 3.1.
    """
    chosen = rng.random(ids.shape) < share
    if not chosen.any():
        chosen.flat[rng.integers(ids.size)] = True
    fate = rng.random(ids.shape)
    random_ids = rng.integers(0, mask_id, ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs = np.where(chosen & (fate >= 0.8) & (fate < 0.9), random_ids, inputs)
    return inputs, np.where(chosen, ids, np.int64(IGNORED))
