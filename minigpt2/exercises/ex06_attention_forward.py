"""Exercise 6, attention forward: softmax, heads, scores with a mask, and all of it together."""

import functools
import math

import numpy as np

from minigpt2.components.attention import attention_forward
from minigpt2.components.linear import linear_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_3_attention"

# 1. The softmax.


def softmax_cases(rng):
    """The cases in which the softmax is tried."""
    masked = rng.standard_normal((2, 1, 5, 5))
    masked[..., np.triu_indices(5, 1)[0], np.triu_indices(5, 1)[1]] = -np.inf
    far = rng.standard_normal((4, 3)) + np.array([[-5000.0], [0.0], [3000.0], [-20.0]])
    return [
        Case("two times three rows of four scores", {"scores": 2 * rng.standard_normal((2, 3, 4))}),
        Case("as many rows as scores", {"scores": rng.standard_normal((5, 5))}),
        Case("a single row", {"scores": rng.standard_normal(7)}),
        Case("a single score in each row", {"scores": rng.standard_normal((3, 2, 1))}),
        Case("equal scores", {"scores": np.full((2, 6), 3.5)}),
        Case("-inf where nothing may be seen", {"scores": masked}),
        Case("rows that are far from each other", {"scores": far}),
        Case("scores in the thousands", {"scores": 3000 * rng.standard_normal((2, 3, 4))}),
    ]


def _softmax(scores, axis=-1, shift=None):
    """Over another axis, or with another number than the row's maximum subtracted."""
    e = np.exp(scores - (scores.max(axis, keepdims=True) if shift is None else shift))
    return e / e.sum(axis, keepdims=True)


def _softmax_of_columns(scores):
    return _softmax(scores, axis=-2 if scores.ndim > 1 else -1)


def _without_maximum(scores):
    return _softmax(scores, shift=0)


def _not_normalised(scores):
    return np.exp(scores - scores.max(-1, keepdims=True))


# Mistakes in the softmax, here and in the attention.
SOFTMAX_MISTAKES = (
    (
        "The softmax runs down the columns, so the shares that all queries give to one key sum to 1. Each row is a "
        "query that divides its attention: along which axis are its numbers?",
        _softmax_of_columns,
    ),
    (
        "The softmax is taken over the first axis, which counts the examples of the batch. Along which axis are the "
        "scores of one row?",
        functools.partial(_softmax, axis=0),
    ),
    (
        "The softmax is taken over all numbers at once, so all rows together sum to 1. Each row must sum to 1 by "
        "itself.",
        functools.partial(_softmax, axis=None),
    ),
    (
        "exp of a large score overflows, or exp of all scores of a row is 0, and then inf / inf or 0 / 0 is NaN. "
        "Adding one number to all scores of a row changes nothing: which one makes exp safe?",
        _without_maximum,
    ),
    (
        "The exponentials are not divided by their sum: rows do not sum to 1.",
        _not_normalised,
    ),
)

SOFTMAX = Task(
    name="softmax_forward",
    outputs=("probs",),
    reference=softmax_forward,
    cases=softmax_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *(Mistake(hint, wrong) for hint, wrong in SOFTMAX_MISTAKES),
        Mistake(
            "The exponentials are not divided by their sum: rows do not sum to 1.",
            np.exp,
        ),
        Mistake(
            "One maximum, that of the whole array, is subtracted everywhere. In a row far below it, exp of all scores "
            "is 0. Each row needs its own.",
            lambda scores: _softmax(scores, shift=scores.max()),
        ),
        Mistake(
            "The scores themselves are divided by their sum: where is exp? Shares must be positive, and scores need "
            "not be.",
            lambda scores: scores / scores.sum(-1, keepdims=True),
        ),
    ),
)


# 2. The heads.


def split_heads(x, n_head):
    """(B, T, C) -> (B, H, T, D): the channels of each token are cut into H runs of D."""
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).swapaxes(1, 2)


def merge_heads(heads):
    """(B, H, T, D) -> (B, T, C): the heads of each token are put side by side again."""
    B, H, T, D = heads.shape
    return heads.swapaxes(1, 2).reshape(B, T, H * D)


def _split_cases(rng):
    counted = np.arange(48.0).reshape(2, 4, 6)
    return [
        Case("two sequences of four tokens, two heads of three channels", {"x": counted, "n_head": 2}),
        Case("one head", {"x": rng.standard_normal((2, 3, 5)), "n_head": 1}),
        Case("heads of one channel", {"x": rng.standard_normal((1, 2, 3)), "n_head": 3}),
        Case("one token", {"x": rng.standard_normal((3, 1, 8)), "n_head": 4}),
        Case("as many tokens as heads and as channels of a head", {"x": rng.standard_normal((3, 3, 9)), "n_head": 3}),
        Case("three heads of four channels", {"x": rng.standard_normal((2, 7, 12)), "n_head": 3}),
    ]


def _reshaped(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, n_head, T, C // n_head)


def _interleaved(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, C // n_head, n_head).transpose(0, 3, 1, 2)


SPLIT = Task(
    name="split_heads",
    outputs=("heads",),
    reference=split_heads,
    cases=_split_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The shape is right and the numbers are in the wrong places: a reshape alone fills the heads with runs of "
            "whole tokens. First cut only the last axis; then move an axis.",
            _reshaped,
        ),
        Mistake(
            "The channels are dealt out like cards, every H-th one to the same head. A head has D neighbours: which of "
            "the two axes that C becomes comes first?",
            _interleaved,
        ),
        Mistake(
            "The channels are cut correctly, but the axes are still in the order (B, T, H, D).",
            lambda x, n_head: x.reshape(*x.shape[:2], n_head, -1),
        ),
        Mistake(
            "Time and channels of each head are exchanged: (B, H, D, T).",
            lambda x, n_head: split_heads(x, n_head).swapaxes(-1, -2),
        ),
        Mistake(
            "n_head is used as the size of a head. It is the number of heads, and their size is C / n_head.",
            lambda x, n_head: split_heads(x, x.shape[-1] // n_head),
        ),
        Mistake(
            "The heads come before the batch: (H, B, T, D).",
            lambda x, n_head: split_heads(x, n_head).swapaxes(0, 1),
        ),
    ),
)


def _merge_cases(rng):
    counted = np.arange(48.0).reshape(2, 2, 4, 3)
    return [
        Case("two sequences of four tokens, two heads of three channels", {"heads": counted}),
        Case("one head", {"heads": rng.standard_normal((2, 1, 3, 5))}),
        Case("heads of one channel", {"heads": rng.standard_normal((1, 3, 2, 1))}),
        Case("one token", {"heads": rng.standard_normal((3, 4, 1, 2))}),
        Case("as many tokens as heads and as channels of a head", {"heads": rng.standard_normal((2, 3, 3, 3))}),
        Case("three heads of four channels", {"heads": rng.standard_normal((2, 3, 7, 4))}),
    ]


def _merged_unmoved(heads):
    B, H, T, D = heads.shape
    return heads.reshape(B, T, H * D)


def _merged_interleaved(heads):
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 3, 1).reshape(B, T, H * D)


MERGE = Task(
    name="merge_heads",
    outputs=("x",),
    reference=merge_heads,
    cases=_merge_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The shape is right and the numbers are in the wrong places: a token is filled with one head's numbers for "
            "several tokens. Before the reshape, H and D must be neighbours.",
            _merged_unmoved,
        ),
        Mistake(
            "The heads are shuffled into each other, one channel of each in turn. They should be side by side: which "
            "of the last two axes comes first?",
            _merged_interleaved,
        ),
        Mistake(
            "The axes are in the right order, but H and D are still two axes.",
            lambda heads: heads.swapaxes(1, 2),
        ),
        Mistake(
            "The heads are put one after the other in time. They belong side by side in the channels of each token.",
            lambda heads: np.concatenate(list(heads.swapaxes(0, 1)), axis=1),
        ),
        Mistake(
            "The heads are added up, or averaged. Nothing is computed here: all numbers stay unchanged.",
            lambda heads: heads.sum(1),
        ),
        Mistake(
            "The heads are added up, or averaged. Nothing is computed here: all numbers stay unchanged.",
            lambda heads: heads.mean(1),
        ),
    ),
)


# 3. The scores.


def causal_scores(q, k):
    """q k^T / sqrt(D), and -inf where the key comes after the query."""
    return _scores(q, k, math.sqrt(q.shape[-1]))


def _scores(q, k, divisor, diagonal=0, masked=-math.inf):
    scores = q @ k.swapaxes(-1, -2) / divisor
    return np.where(np.tri(scores.shape[-1], k=diagonal, dtype=bool), scores, masked)


def _scaled(q, k):
    return q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])


def _reversed(q, k):
    return np.where(np.tri(q.shape[-2], dtype=bool).T, _scaled(q, k), -math.inf)


def _too_high(number):
    """Two ways to mask with ``-number``: in place of the score, and added to it."""
    return (
        lambda q, k: _scores(q, k, math.sqrt(q.shape[-1]), masked=-number),
        lambda q, k: _scaled(q, k) - number * (1 - np.tri(q.shape[-2])),
    )


# Mistakes in the scores, here and in the attention.
SCORE_MISTAKES = (
    (
        "The scores are not divided: a sum of D products grows with D, and so the softmax would see ever larger "
        "numbers. Look at the denominator.",
        lambda q, k: _scores(q, k, 1.0),
    ),
    (
        "The scores are divided by D. Their variance grows like D; what is the unit of the scores themselves?",
        lambda q, k: _scores(q, k, q.shape[-1]),
    ),
    (
        "The scores are divided by the root of C, all channels. How many products are there in the sum of one head?",
        lambda q, k: _scores(q, k, math.sqrt(q.shape[1] * q.shape[-1])),
    ),
    (
        "The scores are divided by the root of T. Over which axis of q does q k^T sum?",
        lambda q, k: _scores(q, k, math.sqrt(q.shape[-2])),
    ),
    (
        "The scores are multiplied by the root of D, which makes them larger still.",
        lambda q, k: _scores(q, k, 1 / math.sqrt(q.shape[-1])),
    ),
    ("There is no mask: every token sees those that come after it.", _scaled),
    (
        "The mask is off by one: a token does not see itself, and the first one has nothing at all to look at. Is the "
        "diagonal allowed?",
        lambda q, k: _scores(q, k, math.sqrt(q.shape[-1]), diagonal=-1),
    ),
    (
        "The mask is off by one: every token sees the next one, the very token that it should predict. Where does the "
        "forbidden part begin, on the diagonal or beside it?",
        lambda q, k: _scores(q, k, math.sqrt(q.shape[-1]), diagonal=1),
    ),
    (
        "The wrong half is masked: tokens see the future and not the past. Rows are queries, columns are keys.",
        _reversed,
    ),
    (
        "The wrong half is masked: tokens see the future and not the past. Rows are queries, columns are keys.",
        lambda q, k: np.where(np.tri(q.shape[-2], dtype=bool), -math.inf, _scaled(q, k)),
    ),
    (
        "Forbidden places have the score 0. That is not a mask: 0 is a score like any other, and exp(0) = 1. Which "
        "score has an exp of 0?",
        lambda q, k: _scores(q, k, math.sqrt(q.shape[-1]), masked=0.0),
    ),
    (
        "`k.T` reverses all four axes. Only the last two should change places.",
        lambda q, k: q @ k.T,
    ),
    (
        "k is not transposed: a score is the dot product of a row of q and a row of k.",
        lambda q, k: q @ k,
    ),
    (
        "k has the shape of its transpose, (..., D, T), by a reshape. That keeps the numbers in their order and tears "
        "the keys apart.",
        lambda q, k: _scores(q, k.reshape(*k.shape[:-2], k.shape[-1], -1).swapaxes(-1, -2), math.sqrt(q.shape[-1])),
    ),
)


def _heads(rng, *shape, scale=1.0):
    return {"q": scale * rng.standard_normal(shape), "k": scale * rng.standard_normal(shape)}


def _score_cases(rng):
    return [
        Case("two sequences, two heads, four tokens, three channels", _heads(rng, 2, 2, 4, 3)),
        Case("one token", _heads(rng, 2, 3, 1, 4)),
        Case("heads of one channel", _heads(rng, 1, 4, 5, 1)),
        Case("as many tokens as heads and as channels of a head", _heads(rng, 3, 3, 3, 3)),
        Case("more tokens than channels", _heads(rng, 1, 2, 17, 5)),
        Case("scores in the thousands", _heads(rng, 1, 2, 4, 8, scale=60.0)),
    ]


SCORES = Task(
    name="causal_scores",
    outputs=("scores",),
    reference=causal_scores,
    cases=_score_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *(Mistake(hint, wrong) for hint, wrong in SCORE_MISTAKES),
        Mistake(
            "Rows and columns are exchanged: a row is a query, and the columns are the keys that it meets.",
            lambda q, k: causal_scores(k, q),
        ),
        *(
            Mistake(
                "Forbidden places have a low number, but not the lowest. There are scores that are lower still; "
                "-np.inf is below them all.",
                wrong,
            )
            for exponent in (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 20, 30)
            for wrong in _too_high(10.0**exponent)
        ),
    ),
)


# 4. All of it.


def _inputs(rng, B, T, C, n_head, scale=1.0):
    """Arguments of ``attention_forward``; ``scale`` makes queries and keys, and so the scores, larger."""
    weight = rng.standard_normal((C, 3 * C)) / math.sqrt(C)
    weight[:, : 2 * C] *= scale
    return {
        "x": 0.3 + rng.standard_normal((B, T, C)),
        "params": {
            "c_attn": {"weight": weight, "bias": rng.standard_normal(3 * C)},
            "c_proj": {"weight": rng.standard_normal((C, C)) / math.sqrt(C), "bias": rng.standard_normal(C)},
        },
        "n_head": n_head,
    }


def attention_cases(rng):
    """The cases in which attention is tried, forward and backward."""
    alike = _inputs(rng, 2, 5, 4, 2)
    alike["x"] = np.ones_like(alike["x"])
    return [
        Case("two sequences of four tokens, two heads of three channels", _inputs(rng, 2, 4, 6, 2)),
        Case("one head, as many tokens as channels", _inputs(rng, 3, 5, 5, 1)),
        Case("one token", _inputs(rng, 2, 1, 6, 3)),
        Case("one sequence, heads of one channel", _inputs(rng, 1, 3, 4, 4)),
        Case("as many tokens as heads and as channels of a head", _inputs(rng, 3, 3, 9, 3)),
        Case("more tokens than channels", _inputs(rng, 1, 19, 8, 2)),
        Case("all tokens alike", alike),
        Case("scores in the thousands", _inputs(rng, 2, 4, 6, 2, scale=60.0)),
    ]


def _attention(
    split=split_heads, order=(0, 1, 2), scores=causal_scores, softmax=softmax_forward, after=None, mix=np.matmul,
    merge=merge_heads, leave_out=(), turned=False, residual=False, cut=None,
):  # fmt: skip
    """An ``attention_forward`` with one of its steps changed.

    order:     in which the thirds of qkv are taken for q, k and v
    after:     probs -> probs, a mask that comes late
    mix:       (probs, v) -> heads
    leave_out: "c_attn.bias", "c_proj" and the like
    turned:    whether the weight of c_proj is transposed
    residual:  whether x is added
    cut:       (qkv, n_head) -> q, k and v, in place of ``split`` and ``order``
    """

    def forward(x, params, n_head):
        qkv, _ = linear_forward(x, **params["c_attn"])
        if "c_attn.bias" in leave_out:
            qkv = qkv - params["c_attn"]["bias"]
        if cut:
            q, k, v = cut(qkv, n_head)
        else:
            thirds = np.split(qkv, 3, axis=-1)
            q, k, v = (split(thirds[i], n_head) for i in order)
        probs = softmax(scores(q, k))
        merged = merge(mix(probs if after is None else after(probs), v))
        if "c_proj" in leave_out:
            return merged
        weight, bias = params["c_proj"]["weight"], params["c_proj"]["bias"]
        y = merged @ (weight.T if turned else weight)
        if "c_proj.bias" not in leave_out:
            y = y + bias
        return y + x if residual else y

    return forward


def _cut_by_head(qkv, n_head):
    B, T, width = qkv.shape
    return qkv.reshape(B, T, n_head, 3, width // (3 * n_head)).transpose(3, 0, 2, 1, 4)


def _below(probs):
    return np.where(np.tri(probs.shape[-1], dtype=bool), probs, 0)


def _below_again(probs):
    return _below(probs) / _below(probs).sum(-1, keepdims=True)


ATTENTION = Task(
    name="attention_forward",
    outputs=("y",),
    reference=attention_forward,
    has_cache=True,
    cases=attention_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The mask comes after the softmax: the forbidden shares are set to 0, and the rest of a row no longer sums "
            "to 1. The future has already taken its part of the sum. Which step must come first?",
            _attention(scores=_scaled, after=_below),
        ),
        Mistake(
            "The mask comes after the softmax, and the rows are divided by their sums again. On paper that is equal, "
            "but the maximum is still that of the forbidden scores, and compared with it exp of the allowed ones can "
            "be 0.",
            _attention(scores=_scaled, after=_below_again),
        ),
        *(
            Mistake(
                "The forbidden scores are low, but others may be lower still, and then the future wins. Which number "
                "is below all scores?",
                _attention(scores=wrong),
            )
            for exponent in (0, 1, 2, 3, 4)
            for wrong in _too_high(10.0**exponent)
        ),
        *(Mistake(hint, _attention(scores=wrong)) for hint, wrong in SCORE_MISTAKES),
        *(Mistake(hint, _attention(softmax=wrong)) for hint, wrong in SOFTMAX_MISTAKES),
        Mistake(
            "The softmax is taken over the heads, the axis at place 1 of (B, H, T, T). Along which axis are the scores "
            "of one query?",
            _attention(softmax=functools.partial(_softmax, axis=1)),
        ),
        Mistake(
            "There is no softmax: the values are weighted with the scores.",
            _attention(scores=functools.partial(_scores, divisor=1.0, masked=0.0), softmax=lambda scores: scores),
        ),
        Mistake(
            "The heads are cut by one reshape to (B, H, T, D), which fills them with runs of whole tokens. Look at "
            "your split_heads.",
            _attention(split=_reshaped),
        ),
        Mistake(
            "The heads are cut by one reshape to (B, H, T, D), which fills them with runs of whole tokens, and put "
            "together likewise. Look at your split_heads and merge_heads.",
            _attention(split=_reshaped, merge=_merged_unmoved),
        ),
        Mistake(
            "The channels are dealt out to the heads like cards. A head has D neighbours.",
            _attention(split=_interleaved),
        ),
        Mistake(
            "The channels are dealt out to the heads like cards. A head has D neighbours.",
            _attention(split=_interleaved, merge=_merged_interleaved),
        ),
        Mistake(
            "There is one head as wide as C. Where does n_head come in?",
            lambda x, params, n_head: attention_forward(x, params, 1),
        ),
        Mistake(
            "n_head is used as the size of a head: it is their number.",
            lambda x, params, n_head: attention_forward(x, params, x.shape[-1] // n_head),
        ),
        Mistake(
            "Queries and keys are exchanged. In which order do q, k and v come in the 3C columns?",
            _attention(order=(1, 0, 2)),
        ),
        *(
            Mistake(
                "The 3C columns are not cut into q, k and v in this order.",
                _attention(order=order),
            )
            for order in ((0, 2, 1), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        ),
        Mistake(
            "The 3C columns are cut into heads first and into q, k and v within each: (H, 3, D). In GPT-2 all queries "
            "come first, then all keys, then all values: which axis is the outer one?",
            _attention(cut=_cut_by_head),
        ),
        Mistake(
            "The heads are put together by a reshape alone, which mixes up tokens and heads. Look at your merge_heads.",
            _attention(merge=_merged_unmoved),
        ),
        Mistake(
            "probs is transposed: a token's result is the mean of the values, weighted with its own row of probs.",
            _attention(mix=lambda probs, v: probs.swapaxes(-1, -2) @ v),
        ),
        Mistake("c_proj is missing, the map that mixes the heads at the end.", _attention(leave_out=("c_proj",))),
        Mistake("The bias of c_attn is missing.", _attention(leave_out=("c_attn.bias",))),
        Mistake("The bias of c_proj is missing.", _attention(leave_out=("c_proj.bias",))),
        Mistake("Both biases are missing.", _attention(leave_out=("c_attn.bias", "c_proj.bias"))),
        Mistake(
            "The weight of c_proj is transposed. GPT-2 stores weights as (in, out): y = x W + b.",
            _attention(turned=True),
        ),
        Mistake(
            "x is added to the result. That is the residual connection, which belongs to the block and not to "
            "attention.",
            _attention(residual=True),
        ),
    ),
)


# The harder part: keys in blocks.


def attention_by_blocks(q, k, v, size):
    """One head, without a mask, and the logarithm of each row's sum; ``size`` does not change the result.

        head = softmax(q k^T / sqrt(D)) v        log_sums_i = ln sum_j exp(q_i k_j / sqrt(D))

    Source: Dao et al. 2022, "FlashAttention", algorithm 1.
    """
    scores = _scaled(q, k)
    most = scores.max(-1, keepdims=True)
    return softmax_forward(scores) @ v, (most + np.log(np.exp(scores - most).sum(-1, keepdims=True)))[:, 0]


def block_inputs(rng, T, S, D, size, scale=1.0):
    """Arguments of ``attention_by_blocks``: T queries, S keys and values."""
    q, k, v = (rng.standard_normal((rows, D)) for rows in (T, S, S))
    return {"q": scale * q, "k": scale * k, "v": v, "size": size}


def block_cases(rng):
    """The cases in which attention by blocks is tried, forward and backward."""
    return [
        Case("three queries, five keys in blocks of two", block_inputs(rng, 3, 5, 4, 2)),
        Case("one key in each block", block_inputs(rng, 4, 4, 3, 1)),
        Case("all keys in one block", block_inputs(rng, 2, 3, 5, 3)),
        Case("a block that is larger than the keys", block_inputs(rng, 2, 3, 1, 8)),
        Case("one query, as when generating", block_inputs(rng, 1, 23, 4, 5)),
    ]


def _block_cases(rng):
    rising = block_inputs(rng, 2, 6, 4, 2)
    rising["q"] = np.abs(rising["q"]) + 0.5
    rising["k"] = np.abs(rising["k"]) * 10.0 ** np.arange(-2, 4)[:, None]
    falling = rising | {"k": rising["k"][::-1].copy()}
    return [
        *block_cases(rng),
        Case("scores that rise from block to block into the thousands", rising),
        Case("scores that fall from block to block out of the thousands", falling),
    ]


def _by_blocks(rescale_sums=True, rescale_head=True, maximum=True, divide=True, scale=True, last=True, log_sums=None):
    """An ``attention_by_blocks`` with something left out."""

    def forward(q, k, v, size):
        stop = len(k) if last else len(k) // size * size
        q = q / math.sqrt(q.shape[-1]) if scale else q
        most = np.full((len(q), 1), -np.inf if maximum else 0.0)
        sums, head = np.zeros((len(q), 1)), np.zeros(q.shape)
        for start in range(0, stop, size):
            scores = q @ k[start : start + size].T
            larger = np.maximum(most, scores.max(-1, keepdims=True)) if maximum else most
            shrink = np.exp(most - larger)
            weights = np.exp(scores - larger)
            sums = sums * (shrink if rescale_sums else 1) + weights.sum(-1, keepdims=True)
            head = head * (shrink if rescale_head else 1) + weights @ v[start : start + size]
            most = larger
        return head / (sums if divide else 1), (log_sums or (lambda m, s: m + np.log(s)))(most, sums)[:, 0]

    return forward


def _mean_of_blocks(q, k, v, size):
    parts = [
        attention_by_blocks(q, k[start : start + size], v[start : start + size], size)[0]
        for start in range(0, len(k), size)
    ]
    return np.mean(parts, axis=0), attention_by_blocks(q, k, v, size)[1]


BLOCKS = Task(
    name="attention_by_blocks",
    outputs=("head", "log_sums"),
    reference=attention_by_blocks,
    cases=_block_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "When a block brings a larger maximum, the sum so far is not changed. It was made with the old maximum: "
            "what must it be multiplied by?",
            _by_blocks(rescale_sums=False),
        ),
        Mistake(
            "When a block brings a larger maximum, the weighted values so far are not changed. They were made with the "
            "old maximum, like the sum.",
            _by_blocks(rescale_head=False),
        ),
        Mistake(
            "When a block brings a larger maximum, the numbers made with the old one are not changed.",
            _by_blocks(rescale_sums=False, rescale_head=False),
        ),
        Mistake(
            "No maximum is subtracted: in the thousands, exp overflows.",
            _by_blocks(maximum=False),
        ),
        Mistake(
            "The weighted values are not divided by the sum of their weights at the end.",
            _by_blocks(divide=False),
        ),
        Mistake("The scores are not divided by the root of D.", _by_blocks(scale=False)),
        Mistake(
            "The last block is missing where it is not full. How far does your range run?",
            _by_blocks(last=False),
        ),
        Mistake(
            "Each block has its own softmax, and the results are averaged. A block with high scores must count for "
            "more than one with low scores.",
            _mean_of_blocks,
        ),
        Mistake(
            "log_sums lacks the maximum, by which every term of the sum had been divided.",
            _by_blocks(log_sums=lambda most, sums: np.log(sums)),
        ),
        Mistake(
            "log_sums has the sums themselves: take the logarithm.",
            _by_blocks(log_sums=lambda most, sums: np.exp(most) * sums),
        ),
        Mistake(
            "log_sums has the sums themselves: take the logarithm.",
            _by_blocks(log_sums=lambda most, sums: sums),
        ),
    ),
)

TASKS = (SOFTMAX, SPLIT, MERGE, SCORES, ATTENTION, BLOCKS)
