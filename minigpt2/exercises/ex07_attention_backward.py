"""Exercise 7, attention backward: through the softmax, through the heads, and through all of it."""

import functools
import math

import numpy as np

from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.exercises.ex06_attention_forward import (
    attention_by_blocks,
    attention_cases,
    block_cases,
    block_inputs,
    causal_scores,
    merge_heads,
    softmax_cases,
    split_heads,
)
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_3_attention"

# 1. The softmax.


def _softmax_forward(scores):
    """Our forward pass; the backward pass needs only the probabilities."""
    probs = softmax_forward(scores)
    return probs, probs


def _mean_over(axis):
    """(dprobs, probs) -> dscores with the mean of the row taken over another axis."""

    def backward(dprobs, probs):
        over = max(axis, -probs.ndim) if axis else axis
        return probs * (dprobs - (dprobs * probs).sum(over, keepdims=True))

    return backward


def _row_sum(dprobs, probs):
    return (dprobs * probs).sum(-1, keepdims=True)


# Mistakes in the softmax's gradient, here and in the attention: (dprobs, probs) -> dscores.
SOFTMAX_MISTAKES = (
    (
        "The sum over the row is missing in dscores. Every score acts on all shares of its row, because they must sum "
        "to 1. What do your rows of dscores sum to? They should sum to 0.",
        lambda dprobs, probs: probs * dprobs,
    ),
    (
        "p (1 - p) is only the diagonal of the softmax's Jacobian: how a share changes with its own score. Each score "
        "changes the other shares as well.",
        lambda dprobs, probs: probs * (1 - probs) * dprobs,
    ),
    (
        "The sum in dscores runs down the columns. The shares that must sum to 1 are those of one row, one query.",
        _mean_over(-2),
    ),
    (
        "The sum in dscores is one number for all rows. Each row, each query, has its own.",
        _mean_over(None),
    ),
    (
        "The first factor of dscores is missing: a place without a share gets no gradient, and so the mask takes care "
        "of itself. Do your masked places get one?",
        lambda dprobs, probs: dprobs - _row_sum(dprobs, probs),
    ),
    (
        "probs multiplies dprobs, but not the sum. Mind the brackets in the formula.",
        lambda dprobs, probs: probs * dprobs - _row_sum(dprobs, probs),
    ),
    (
        "The sum in dscores is the plain sum of dprobs. It should be a weighted mean: what are its weights?",
        lambda dprobs, probs: probs * (dprobs - dprobs.sum(-1, keepdims=True)),
    ),
    (
        "The plain mean of dprobs is subtracted in dscores. It should be a weighted mean: what are its weights?",
        lambda dprobs, probs: probs * (dprobs - dprobs.mean(-1, keepdims=True)),
    ),
)


def _softmax_cases(rng):
    return softmax_cases(rng)[:-1]  # in the thousands every gradient is rounding


SOFTMAX = Task(
    name="softmax_backward",
    outputs=("dscores",),
    reference=softmax_backward,
    forward=_softmax_forward,
    cases=_softmax_cases,
    notebook=NOTEBOOK,
    mistakes=tuple(Mistake(hint, wrong) for hint, wrong in SOFTMAX_MISTAKES),
)


# 2. The heads.


def dot_product_attention_forward(q, k, v):
    """heads = softmax(q k^T / sqrt(D)) v with the causal mask, each (B, H, T, D), and everything on the way."""
    scores = causal_scores(q, k)
    probs = softmax_forward(scores)
    heads = probs @ v
    return heads, {"q": q, "k": k, "v": v, "scores": scores, "probs": probs, "heads": heads}


def dot_product_attention_backward(dheads, cache):
    """Gradients of ``dot_product_attention_forward``: dq, dk, dv (B, H, T, D)."""
    return _heads_backward(dheads, cache)


def _transposed(array):
    return array.swapaxes(-1, -2)


def _heads_backward(
    dheads, cache, dprobs=None, softmax=softmax_backward, late=None, roots=(1, 1), dq=None, dk=None, dv=None
):
    """dq, dk, dv, where a mistake puts something else in place of a step.

    dprobs:  (dheads, cache) -> dprobs
    softmax: (dprobs, probs) -> dscores
    late:    (dscores, cache) -> dscores, after the softmax
    roots:   how often dq and dk are divided by the root of D
    dq, dk:  (dscores, q, k) -> dq or dk, not yet divided
    dv:      (dheads, cache) -> dv
    """
    q, k, v, probs = (cache[name] for name in ("q", "k", "v", "probs"))
    dscores = softmax(dprobs(dheads, cache) if dprobs else dheads @ _transposed(v), probs)
    if late:
        dscores = late(dscores, cache)
    root = math.sqrt(q.shape[-1])
    return (
        (dq(dscores, q, k) if dq else dscores @ k) / root ** roots[0],
        (dk(dscores, q, k) if dk else _transposed(dscores) @ q) / root ** roots[1],
        dv(dheads, cache) if dv else _transposed(probs) @ dheads,
    )


def _unmasked(cache):
    return softmax_forward(cache["q"] @ _transposed(cache["k"]) / math.sqrt(cache["q"].shape[-1]))


def _without_mask(dheads, cache):
    return _heads_backward(dheads, cache | {"probs": _unmasked(cache)})


def _without_mask_in_the_softmax(dheads, cache):
    return _heads_backward(dheads, cache, softmax=lambda dprobs, _: softmax_backward(dprobs, _unmasked(cache)))


def _infinite(dscores, cache):
    return np.where(np.isinf(cache["scores"]), -np.inf, dscores)


def _heads_with(**steps):
    return functools.partial(_heads_backward, **steps)


# Mistakes in the gradients of q, k and v, here and in the attention: (dheads, cache) -> dq, dk, dv.
HEADS_MISTAKES = (
    *((hint, _heads_with(softmax=wrong)) for hint, wrong in SOFTMAX_MISTAKES),
    (
        "The softmax is skipped: dprobs is used as if it were dscores.",
        _heads_with(softmax=lambda dprobs, probs: dprobs),
    ),
    ("dq is not divided by the root of D, and dk is.", _heads_with(roots=(0, 1))),
    ("dk is not divided by the root of D, and dq is.", _heads_with(roots=(1, 0))),
    (
        "Neither dq nor dk is divided by the root of D. The scores were divided, and so their gradients are.",
        _heads_with(roots=(0, 0)),
    ),
    (
        "dq and dk are divided by D. The root was there once in the forward pass; where does it come in a second time?",
        _heads_with(roots=(2, 2)),
    ),
    (
        "dk adds up the queries with the wrong shares: dscores is not transposed. Each key is met by a column of "
        "dscores.",
        _heads_with(dk=lambda dscores, q, k: dscores @ q),
    ),
    (
        "dq adds up the keys with the wrong shares: dscores is transposed. Each query has a row of dscores.",
        _heads_with(dq=lambda dscores, q, k: _transposed(dscores) @ k),
    ),
    (
        "dq is made from the queries and dk from the keys. What is a score's derivative with respect to q: what is q "
        "multiplied by?",
        _heads_with(dq=lambda dscores, q, k: dscores @ q, dk=lambda dscores, q, k: _transposed(dscores) @ k),
    ),
    (
        "In dv, probs is not transposed. Each value is used by all later queries: its shares are in a column.",
        _heads_with(dv=lambda dheads, cache: cache["probs"] @ dheads),
    ),
    (
        "dv is made with the scores. What are the values multiplied by in the forward pass?",
        _heads_with(dv=lambda dheads, cache: _transposed(cache["scores"]) @ dheads),
    ),
    (
        "dprobs is made with the keys. What are the shares multiplied by in the forward pass?",
        _heads_with(dprobs=lambda dheads, cache: dheads @ _transposed(cache["k"])),
    ),
    (
        "dprobs is made with the queries. What are the shares multiplied by in the forward pass?",
        _heads_with(dprobs=lambda dheads, cache: dheads @ _transposed(cache["q"])),
    ),
    (
        "Keys in the future get a gradient: the shares are those of a softmax that has seen no mask.",
        _without_mask,
    ),
    (
        "Keys in the future get a gradient: the shares are those of a softmax that has seen no mask.",
        _without_mask_in_the_softmax,
    ),
    (
        "-inf is put into a gradient. It makes a score harmless, since exp(-inf) is 0; in a gradient it spreads. What "
        "gradient does a place have that acts on nothing?",
        _heads_with(late=_infinite),
    ),
)


def _qkv(rng, *shape, scale=1.0):
    q, k, v = (rng.standard_normal(shape) for _ in range(3))
    return {"q": scale * q, "k": scale * k, "v": v}


def _heads_cases(rng):
    return [
        Case("two sequences, two heads, four tokens, three channels", _qkv(rng, 2, 2, 4, 3)),
        Case("one token", _qkv(rng, 2, 3, 1, 4)),
        Case("heads of one channel", _qkv(rng, 1, 4, 5, 1)),
        Case("as many tokens as heads and as channels of a head", _qkv(rng, 3, 3, 3, 3)),
        Case("more tokens than channels", _qkv(rng, 1, 2, 17, 5)),
        Case("scores in the thousands", _qkv(rng, 1, 2, 4, 8, scale=60.0)),
    ]


HEADS = Task(
    name="dot_product_attention_backward",
    outputs=("dq", "dk", "dv"),
    reference=dot_product_attention_backward,
    forward=dot_product_attention_forward,
    cases=_heads_cases,
    notebook=NOTEBOOK,
    mistakes=tuple(Mistake(hint, wrong) for hint, wrong in HEADS_MISTAKES),
)


# 3. All of it.


def full_forward(x, params, n_head):
    """``attention_forward`` with everything that a backward pass may want in the cache.

    returns y and the library's cache with x, params, n_head, qkv (B, T, 3C) and scores (B, H, T, T) as well.
    """
    y, cache = attention_forward(x, params, n_head)
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
    scores = causal_scores(cache["q"], cache["k"])
    return y, cache | {"x": x, "params": params, "n_head": n_head, "qkv": qkv, "scores": scores}


def _side_by_side(*gradients, order=(0, 1, 2), merge=merge_heads):
    return np.concatenate([merge(gradients[i]) for i in order], axis=-1)


def _within_each_head(dq, dk, dv):
    B, _, T, _ = dq.shape
    return np.stack([dq, dk, dv], axis=3).swapaxes(1, 2).reshape(B, T, -1)


def _rows(array):
    return array.reshape(-1, array.shape[-1])


def _weight(inputs, gradient):
    return _rows(inputs).T @ _rows(gradient)


def _bias(gradient):
    return _rows(gradient).sum(0)


def _mean(make):
    """Divided by the number of tokens in the batch."""
    return lambda *arrays: make(*arrays) / len(_rows(arrays[-1]))


def _backward(
    heads=_heads_backward, split=split_heads, join=_side_by_side, weight=_weight, bias=_bias, proj=None,
    proj_input="heads", dx=None, residual=False,
):  # fmt: skip
    """An ``attention_backward`` with one of its steps changed.

    heads:      (dheads, cache) -> dq, dk, dv
    join:       (dq, dk, dv) -> dqkv (B, T, 3C)
    weight:     (inputs, gradient of the outputs) -> gradient of a weight
    bias:       gradient of the outputs -> gradient of a bias
    proj:       (dy, weight) -> gradient of c_proj's input
    proj_input: what c_proj is thought to have multiplied
    dx:         (dqkv, weight) -> dx
    residual:   whether dy is added to dx
    """

    def backward(dy, cache):
        c_attn, c_proj = (cache["params"][name]["weight"] for name in ("c_attn", "c_proj"))
        dmerged = proj(dy, c_proj) if proj else dy @ c_proj.T
        dqkv = join(*heads(split(dmerged, cache["n_head"]), cache))
        gradient = dx(dqkv, c_attn) if dx else dqkv @ c_attn.T
        return gradient + dy if residual else gradient, {
            "c_attn": {"weight": weight(cache["x"], dqkv), "bias": bias(dqkv)},
            "c_proj": {"weight": weight(cache[proj_input], dy), "bias": bias(dy)},
        }

    return backward


def _reshaped(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, n_head, T, C // n_head)


def _merged_unmoved(heads):
    B, H, T, D = heads.shape
    return heads.reshape(B, T, H * D)


def _third(number):
    """dx of one third of qkv only."""

    def dx(dqkv, weight):
        columns = slice(number * len(weight), (number + 1) * len(weight))
        return dqkv[..., columns] @ weight[:, columns].T

    return dx


ATTENTION = Task(
    name="attention_backward",
    outputs=("dx", "grads"),
    reference=attention_backward,
    forward=full_forward,
    cases=attention_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *(Mistake(hint, _backward(heads=wrong)) for hint, wrong in HEADS_MISTAKES),
        *(
            Mistake(
                "The gradients of q, k and v are put together in a different order from the one in which qkv was cut.",
                _backward(join=functools.partial(_side_by_side, order=order)),
            )
            for order in ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        ),
        Mistake(
            "dq, dk and dv are side by side within each head. In the 3C columns of qkv all queries come first, then "
            "all keys, then all values.",
            _backward(join=_within_each_head),
        ),
        Mistake(
            "dq, dk and dv are brought from (B, H, T, D) to (B, T, C) by a reshape alone, which mixes up tokens and "
            "heads. How does merge_heads do it?",
            _backward(join=functools.partial(_side_by_side, merge=_merged_unmoved)),
        ),
        Mistake(
            "The gradient of the merged heads is cut into heads by a reshape alone, which mixes up tokens and heads. "
            "How does split_heads do it?",
            _backward(split=_reshaped),
        ),
        Mistake(
            "Heads are cut and merged by a reshape alone, both times. How do split_heads and merge_heads do it?",
            _backward(split=_reshaped, join=functools.partial(_side_by_side, merge=_merged_unmoved)),
        ),
        Mistake(
            "dy goes into the heads unchanged. There is a linear layer between the heads and y.",
            _backward(proj=lambda dy, weight: dy),
        ),
        Mistake(
            "On the way back through c_proj its weight is not transposed. It is square, so NumPy does not complain. "
            "Which axis of it holds the outputs?",
            _backward(proj=lambda dy, weight: dy @ weight),
        ),
        Mistake(
            "The gradient of c_proj's weight is made with x. What does this weight multiply in the forward pass?",
            _backward(proj_input="x"),
        ),
        Mistake(
            "The gradients of the biases are means. A bias is added to every token; is there a 1/N in the forward "
            "pass?",
            _backward(bias=_mean(_bias)),
        ),
        Mistake(
            "All gradients of parameters are means over the tokens. Each token adds its part to the loss; is there a "
            "1/N in the forward pass?",
            _backward(weight=_mean(_weight), bias=_mean(_bias)),
        ),
        Mistake(
            "The gradients of the biases still have the axes of batch and time. One bias is added to all tokens.",
            _backward(bias=lambda gradient: gradient),
        ),
        Mistake(
            "The gradients of the biases are summed over batch or over time only. One bias is added to all tokens.",
            _backward(bias=lambda gradient: gradient.sum(0)),
        ),
        Mistake(
            "The gradients of the biases are summed over batch or over time only. One bias is added to all tokens.",
            _backward(bias=lambda gradient: gradient.sum(1)),
        ),
        Mistake(
            "The gradients of the weights still have the axis of the batch. All sequences share one weight.",
            _backward(weight=lambda inputs, gradient: _transposed(inputs) @ gradient),
        ),
        Mistake(
            "The gradients of weights and biases still have the axis of the batch. All sequences share these "
            "parameters.",
            _backward(
                weight=lambda inputs, gradient: _transposed(inputs) @ gradient, bias=lambda gradient: gradient.sum(1)
            ),
        ),
        *(
            Mistake(
                "dx has only one of its three parts. x is used for the queries, for the keys and for the values: what "
                "happens to the gradients of something that is used several times?",
                _backward(dx=_third(number)),
            )
            for number in range(3)
        ),
        Mistake(
            "dy is added to dx. That is the residual connection's gradient, which belongs to the block.",
            _backward(residual=True),
        ),
    ),
)


# The harder part: without the probabilities.


def _blocks_forward(q, k, v, size):
    """Our forward pass, whose cache has no array of T times S numbers."""
    head, log_sums = attention_by_blocks(q, k, v, size)
    return head, {"q": q, "k": k, "v": v, "size": size, "head": head, "log_sums": log_sums}


def attention_by_blocks_backward(dhead, cache):
    """Gradients of ``attention_by_blocks``' head, from the logarithms of the sums.

        probs = exp(scores - log_sums)      dscores = probs * (dprobs - sum_d(dhead * head))

    Source: Dao et al. 2022, "FlashAttention", algorithm 4.
    """
    return _by_blocks()(dhead, cache)


def _by_blocks(rows=None, probs=None, roots=(1, 1), last=True, dq=np.add):
    """An ``attention_by_blocks_backward`` with one of its steps changed.

    rows:  (dhead, head, dprobs, probs) -> what is subtracted from dprobs (T, 1), or 0
    probs: (scores, log_sums) -> probabilities of a block
    roots: how often dq and dk are divided by the root of D
    last:  whether a last block that is not full counts
    dq:    (dq of the blocks before, dq of this block) -> dq
    """
    rows = rows or (lambda dhead, head, dprobs, probs: (dhead * head).sum(-1, keepdims=True))
    probs = probs or (lambda scores, log_sums: np.exp(scores - log_sums[:, None]))

    def backward(dhead, cache):
        q, k, v, size = (cache[name] for name in ("q", "k", "v", "size"))
        root = math.sqrt(q.shape[-1])
        total, dk, dv = (np.zeros_like(array) for array in (q, k, v))
        for start in range(0, len(k) if last else len(k) // size * size, size):
            block = slice(start, start + size)
            p = probs(q @ k[block].T / root, cache["log_sums"])
            dv[block] = p.T @ dhead
            dprobs = dhead @ v[block].T
            dscores = p * (dprobs - rows(dhead, cache["head"], dprobs, p))
            total = dq(total, dscores @ k[block] / root ** roots[0])
            dk[block] = dscores.T @ q / root ** roots[1]
        return total, dk, dv

    return backward


def _blocks_cases(rng):
    return [*block_cases(rng), Case("scores in the thousands", block_inputs(rng, 3, 7, 4, 2, scale=60.0))]


BLOCKS = Task(
    name="attention_by_blocks_backward",
    outputs=("dq", "dk", "dv"),
    reference=attention_by_blocks_backward,
    forward=_blocks_forward,
    cases=_blocks_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The sum in dscores runs over the keys of one block. It must be that of the whole row, which you can "
            "compute before you have seen all its shares: look at the formula with dhead and head.",
            _by_blocks(rows=lambda dhead, head, dprobs, probs: _row_sum(dprobs, probs)),
        ),
        Mistake(
            "Nothing is subtracted from dprobs: the softmax's gradient has two terms.",
            _by_blocks(rows=lambda dhead, head, dprobs, probs: 0),
        ),
        Mistake(
            "The shares of each block sum to 1 by themselves. Those of all blocks together must: divide by the sum of "
            "the whole row, which log_sums knows.",
            _by_blocks(probs=lambda scores, log_sums: softmax_forward(scores)),
        ),
        Mistake(
            "The exponentials are not divided by the sum of the row.",
            _by_blocks(probs=lambda scores, log_sums: np.exp(scores)),
        ),
        Mistake(
            "The exponentials are divided by log_sums, which are logarithms.",
            _by_blocks(probs=lambda scores, log_sums: np.exp(scores) / log_sums[:, None]),
        ),
        Mistake(
            "exp of a large score overflows before it is divided by the sum. Subtract the logarithm first.",
            _by_blocks(probs=lambda scores, log_sums: np.exp(scores) / np.exp(log_sums)[:, None]),
        ),
        Mistake(
            "dq is that of the last block. Every query meets the keys of all blocks.",
            _by_blocks(dq=lambda before, now: now),
        ),
        Mistake("dq is not divided by the root of D, and dk is.", _by_blocks(roots=(0, 1))),
        Mistake("dk is not divided by the root of D, and dq is.", _by_blocks(roots=(1, 0))),
        Mistake("Neither dq nor dk is divided by the root of D.", _by_blocks(roots=(0, 0))),
        Mistake(
            "The last block is missing where it is not full. How far does your range run?",
            _by_blocks(last=False),
        ),
    ),
)

TASKS = (SOFTMAX, HEADS, ATTENTION, BLOCKS)
