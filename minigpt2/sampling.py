"""Sampling: how a token is chosen from the model's scores, and the steps to it in the order in which they are taken.

Shapes: B sequences of L tokens so far, V vocabulary.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from minigpt2.backend import array_module, generator
from minigpt2.components.softmax import softmax_forward

REQUIREMENTS = {  # of each option: its kind, which values are valid, and both in words
    "temperature": (Real, lambda t: 0 <= t < math.inf, "a number, 0 (greedy) or above"),
    "top_k": (Integral, lambda k: k >= 1, "an integer, 1 or more"),
    "top_p": (Real, lambda p: 0 < p <= 1, "a number in (0, 1]"),
    "repetition_penalty": (Real, lambda r: 0 < r < math.inf, "a number above 0"),
    "num_samples": (Integral, lambda n: n >= 1, "an integer, 1 or more"),
    "beams": (Integral, lambda n: n >= 1, "an integer, 1 or more"),
}
COUNT = Integral, lambda n: n >= 0, "an integer, 0 or more"  # kind, validity and words of any number of things
OPTIONAL = "top_k", "top_p"  # these may be None, which keeps all tokens


@dataclass(frozen=True)
class Sampling:
    """The options by which tokens are chosen, checked.

    temperature: 0 takes the best token each time (greedy), on ties the lowest id; above 0 draws one from
        ``next_token_probs``, 1 as the model predicts
    top_k:       draw from the k best tokens only, see ``keep_top_k``; None: from all
    top_p:       draw from the fewest tokens that have a probability of p together, see ``keep_top_p``; None: from all
    repetition_penalty: above 1 makes tokens that occurred less likely, see ``apply_repetition_penalty``
    seed:        integer; the same seed draws the same tokens. Or a numpy.random.Generator; or a list of them, one for
        each row of tokens, so that what a row draws does not depend on the others. Prompts of equal length draw from
        one generator in turn; prompts of unequal length each draw what they would alone, with the same integer
    num_samples: continuations of each prompt; they can differ where the temperature is above 0
    beams:       above 1 looks for the likeliest continuation with ``beam_search``, without drawing
    allowed:     ids of the tokens that may be chosen, such as ``known_ids`` of a tokenizer; None: all
    raises: TypeError for a value of the wrong kind; ValueError for one that is out of range, or for beams together
        with an option for drawing.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    seed: int | np.random.Generator | list = 0
    num_samples: int = 1
    beams: int = 1
    allowed: Iterable[int] | None = None

    def __post_init__(self):
        for name, (kind, valid, wanted) in REQUIREMENTS.items():
            value, optional = getattr(self, name), name in OPTIONAL
            if value is not None or not optional:
                check_option(name, value, kind, valid, wanted + "; None keeps all tokens" * optional)
        drawing = self.temperature > 0 or self.top_k is not None or self.top_p is not None or self.num_samples > 1
        if self.beams > 1 and drawing:
            raise ValueError(
                f"beams={self.beams} looks for the likeliest text, while temperature, top_k, top_p and "
                "num_samples are for drawing; leave them out, or use beams=1"
            )
        if isinstance(self.seed, list) and not all(isinstance(each, np.random.Generator) for each in self.seed):
            raise TypeError(
                "seed must be an integer, 0 or more, or a numpy.random.Generator, or a list of generators, one for "
                f"each row, got {self.seed!r}"
            )

    def generator(self, prompts=None):
        """A new source of the random numbers with which ``choose`` draws.

        prompts: how many prompts draw what each would alone; None: all rows draw in turn
        raises: ValueError or TypeError for a seed that is none.
        """
        if isinstance(self.seed, list):
            return RowGenerators(self.seed)
        if prompts is None or not isinstance(self.seed, Integral):
            return generator(self.seed)
        return RowGenerators([generator(self.seed) for _ in range(prompts)], self.num_samples)

    def choose(self, scores, rng):
        """Choose a token for each row.

        scores: (B, V) logits; rng: from ``generator``
        returns (B,) token ids.
        """
        if self.temperature == 0:
            return scores.argmax(axis=-1)
        return draw(next_token_probs(scores, self.temperature, self.top_k, self.top_p), rng)


def keep_allowed(scores, allowed):
    """Keep the tokens that may be chosen.

        s_v <- s_v  where v is allowed,   -inf  elsewhere

    scores:  (B, V); allowed: (V,) truth values, or None: all may be chosen
    returns (B, V).
    """
    return scores if allowed is None else array_module(scores).where(allowed, scores, -math.inf)


def apply_repetition_penalty(scores, ids, penalty):
    """Make tokens that occurred before less likely.

        s_v <- s_v / penalty  where s_v > 0,   s_v penalty  where s_v < 0,      for each v in ids

    scores:  (B, V) logits or log-probabilities; ids: (B, L) the tokens so far, prompt included
    penalty: above 1 against repetition, below 1 in its favour, 1 for no change
    returns (B, V).
    Source: Keskar et al. 2019, "CTRL", section 4.1, who divide in either case; but dividing a negative score
        would make the token likelier, so implementations multiply it.
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
    top_k, top_p: as in ``keep_top_k`` and ``keep_top_p``; None skips the step
    returns (B, V), each row sums to 1. float64 whatever the input, because sums over the whole vocabulary follow:
        in float32 a running sum over 50,257 probabilities rounds the rare ones away.
    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.3.
    """
    logits = logits.astype("float64")
    logits -= logits.max(axis=-1, keepdims=True)  # changes no probability and prevents overflow
    with np.errstate(over="ignore"):  # near temperature 0 all but the best become -inf, as they should
        logits /= temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return softmax_forward(logits)


def keep_top_k(logits, k):
    """Keep the k best tokens, and any that tie with the last of them.

        s_v <- s_v  where s_v >= the k-th largest,   -inf  elsewhere

    logits: (B, V); k: 1 or more; V or more keeps all
    returns (B, V).
    Source: Fan et al. 2018, "Hierarchical Neural Story Generation"; with k = 40 for GPT-2's own samples,
        Radford et al. 2019.
    """
    xp, V = array_module(logits), logits.shape[-1]
    k = min(k, V)
    kth = xp.partition(logits, V - k, axis=-1)[:, V - k, None]
    return xp.where(logits >= kth, logits, -math.inf)


def keep_top_p(logits, p):
    """Keep the nucleus: the fewest tokens, best first, whose probabilities sum to at least p.

        s_v <- s_v  where the tokens better than v sum to less than p,   -inf  elsewhere

    On ties, a lower id counts as better. The best token always stays.

    logits: (B, V); p: in (0, 1]
    returns (B, V).
    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    xp = array_module(logits)
    order = xp.argsort(-logits, axis=-1, kind="stable")
    probs = softmax_forward(xp.take_along_axis(logits, order, axis=-1))
    # Summed from the smallest up, which is exact where it matters: p = 1 cuts nothing off.
    rest = probs[:, ::-1].cumsum(axis=-1)[:, ::-1]  # the probability of each token and all worse ones
    drop = rest <= 1 - p
    drop[:, 0] = False
    dropped = xp.empty_like(drop)
    dropped[xp.arange(len(order))[:, None], order] = drop
    return xp.where(dropped, -math.inf, logits)


def draw(probs, rng):
    """Draw a token from each row, by inversion of the cumulative distribution.

        token = min { v : p_0 + ... + p_v > u },   u uniform in [0, 1)

    probs: (B, V), rows that sum to 1
    rng:   numpy.random.Generator; it gives B numbers on the host, so that a seed draws the same on every device
    returns (B,). A token of probability 0 is never drawn.
    Source: Devroye 1986, "Non-Uniform Random Variate Generation", section III.2.
    """
    xp = array_module(probs)
    cumulative = probs.cumsum(axis=-1)
    u = xp.asarray(rng.random(len(probs))) * cumulative[:, -1]  # the last one is 1 up to rounding
    return (cumulative <= u[:, None]).sum(axis=-1)


class RowGenerators:
    """A numpy.random.Generator for each row, or for each few of them, which together draw like one."""

    def __init__(self, generators, rows=1):
        """rows: how many each generator draws for"""
        self.generators, self.rows = generators, rows

    def random(self, n):
        """A number in [0, 1) for each of n rows."""
        if n != len(self.generators) * self.rows:
            raise ValueError(f"seed: there are {len(self.generators)} generators, but {n} rows of tokens")
        return np.concatenate([generator.random(self.rows) for generator in self.generators])


def check_option(name, value, kind, valid, wanted):
    """Raise TypeError unless ``value`` is of a kind and no bool, ValueError unless ``valid(value)``.

    wanted: what it must be, for the message
    """
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    if not valid(value):
        raise ValueError(f"{name} must be {wanted}, got {value}")
