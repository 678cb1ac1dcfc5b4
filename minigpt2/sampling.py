"""Sampling: what turns the model's scores into a choice, in the order in which it is applied.

Shapes: B sequences of L tokens so far, V vocabulary.
"""

import math

import numpy as np

from minigpt2.backend import array_module
from minigpt2.components.softmax import softmax_forward


def apply_repetition_penalty(scores, ids, penalty):
    """Make the tokens that occurred less likely.

        s_v <- s_v / penalty  where s_v > 0,   s_v penalty  where s_v < 0,      for each v in ids

    scores:  (B, V) logits or log-probabilities; ids: (B, L) the tokens so far, prompt included
    penalty: above 1 against repetition, below 1 in its favour, 1 for no change
    returns (B, V).
    Source: Keskar et al. 2019, "CTRL", section 4.1, who divide in either case; but a negative score that
        is divided becomes a better one, so that everybody multiplies those.
    """
    xp = array_module(scores)
    seen = xp.zeros(scores.shape, bool)
    seen[xp.arange(len(ids))[:, None], ids] = True
    return xp.where(seen, xp.where(scores > 0, scores / penalty, scores * penalty), scores)


def next_token_probs(logits, temperature=1.0, top_k=None, top_p=None):
    """The distribution from which the next token is drawn.

        p = softmax(keep_top_p(keep_top_k(logits / temperature)))

    logits:      (B, V)
    temperature: above 0; below 1 sharpens the distribution towards the best token, above 1 flattens it
    top_k, top_p: as in ``keep_top_k`` and ``keep_top_p``; None leaves them out
    returns (B, V), each row sums to 1. float64 whatever the input: sums over all of a vocabulary follow, and
        in float32 a running sum over 50,257 probabilities rounds the rare ones away.
    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.3.
    """
    logits = logits.astype("float64")
    logits -= logits.max(axis=-1, keepdims=True)  # changes no probability, and none of them overflows
    with np.errstate(over="ignore"):  # close to temperature 0 all but the best become -inf, as they should
        logits /= temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return softmax_forward(logits)


def keep_top_k(logits, k):
    """Keep the k best tokens, and those that equal the last of them.

        s_v <- s_v  where s_v >= the k-th largest,   -inf  elsewhere

    logits: (B, V); k: 1 or more, V and above keep all
    returns (B, V).
    Source: Fan et al. 2018, "Hierarchical Neural Story Generation"; with k = 40 for GPT-2's own samples,
        Radford et al. 2019.
    """
    xp, V = array_module(logits), logits.shape[-1]
    k = min(k, V)
    kth = xp.partition(logits, V - k, axis=-1)[:, V - k, None]
    return xp.where(logits >= kth, logits, -math.inf)


def keep_top_p(logits, p):
    """Keep the nucleus: the fewest tokens, best first, that have a probability of p together.

        s_v <- s_v  where the tokens better than v sum to less than p,   -inf  elsewhere

    Of equal tokens those with lower ids count as better. The best one always stays.

    logits: (B, V); p: in (0, 1]
    returns (B, V).
    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    xp = array_module(logits)
    order = xp.argsort(-logits, axis=-1, kind="stable")
    probs = softmax_forward(xp.take_along_axis(logits, order, axis=-1))
    # Summed from the smallest one up, which is exact where it matters: p = 1 cuts nothing off.
    rest = probs[:, ::-1].cumsum(axis=-1)[:, ::-1]  # of each token and all after it
    drop = rest <= 1 - p
    drop[:, 0] = False
    dropped = xp.empty_like(drop)
    dropped[xp.arange(len(order))[:, None], order] = drop
    return xp.where(dropped, -math.inf, logits)


def draw(probs, rng):
    """Draw a token from each row, by inversion of the cumulative distribution.

        token = min { v : p_0 + ... + p_v > u },   u uniform in [0, 1)

    probs: (B, V), rows that sum to 1; rng: numpy.random.Generator, gives B numbers, so that a seed draws the same on
        every device
    returns (B,). A token of probability 0 is never drawn.
    Source: Devroye 1986, "Non-Uniform Random Variate Generation", section III.2.
    """
    xp = array_module(probs)
    cumulative = probs.cumsum(axis=-1)
    u = xp.asarray(rng.random(len(probs))) * cumulative[:, -1]  # the last one is 1, but for rounding
    return (cumulative <= u[:, None]).sum(axis=-1)
