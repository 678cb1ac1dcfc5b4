"""Notebook 2.5.3, causal multi-head self-attention: every token looks at itself and at those before it.

Shapes: B batch, T time (tokens), C channels (n_embd), H heads, D = C / H head size, and S keys: the T
tokens themselves plus those that a key/value cache remembers.
"""

import functools
import math

import numpy as np

from minigpt2.backend import array_module
from minigpt2.components.dropout import dropout_mask
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.parallel import CHUNK, in_parallel

QUERY_BLOCK = 128  # queries in a block, once there are more than twice as many


def attention_forward(x, params, n_head, causal=True, dropout=0.0, rng=None, *, past=None, keep=True, padding=None):
    """Multi-head self-attention.

        q, k, v = split(x W_attn + b_attn), each cut into H heads
        scores  = q k^T / sqrt(D), and -inf where the key comes after the query
        probs   = softmax(scores), each row sums to 1
        heads   = dropout(probs) v
        y       = merge(heads) W_proj + b_proj

    x:       (B, T, C) input, already normalised
    params:  {"c_attn": {"weight" (C, 3C), "bias" (3C,)}, "c_proj": {"weight" (C, C), "bias" (C,)}}
    n_head:  H, a divisor of C
    causal:  False lets every token see all others, as in BERT
    dropout: probability of dropping an attention probability, if ``rng`` is given
    returns y (B, T, C) and the cache for ``attention_backward``, with
        q (B, H, T, D), k, v (B, H, S, D), probs (B, H, T, S), heads (B, T, C) the merged heads, out (B, T, C)
        y itself; mask, shaped like probs, is the dropout mask that multiplied them, or None.
    raises: ValueError when x is not (B, T, C), or C is not a multiple of H.
    Source: Vaswani et al. 2017, section 3.2, eq. 1, and 3.2.3 for the mask.

    Not for a first reading: past is the KeyValueCache of this block; its tokens are attended to as well, and the new
    ones are appended to it. keep=False leaves probs out of the cache (None) to save memory; ``rng`` overrides it,
    since a backward pass will need them. padding (B,) is the number of keys at the start of each sequence that only
    fill it up to the length of the others: no token sees them.
    """
    if x.ndim != 3 or x.shape[-1] % n_head:
        raise ValueError(f"attention: x must be (B, T, C) with C a multiple of {n_head} heads, got {x.shape}")
    xp, (B, T, C), H, D = array_module(x), x.shape, n_head, x.shape[-1] // n_head

    qkv, c_attn = linear_forward(x, **params["c_attn"])  # (B, T, C) -> (B, T, 3C)
    q, k, v = qkv.reshape(B, T, 3, H, D).transpose(2, 0, 3, 1, 4)  # (B, H, T, D) each, views of qkv
    if past is not None:
        k, v = past.append(k, v)  # (B, H, S, D)
    S = k.shape[2]
    padded = None if padding is None else _padded_keys(padding, S, x.dtype, xp)

    keep = keep or rng is not None
    probs = xp.zeros((B, H, T, S), x.dtype) if keep else None
    mask = dropout_mask(probs, dropout, rng) if keep else None
    scaled_q = q / math.sqrt(D)
    heads = xp.empty((B, T, H, D), x.dtype).swapaxes(1, 2)  # (B, H, T, D), (B, T, H, D) in memory: merged

    def attend(some_heads):  # without blocks, queries, keys and pairs would each select everything
        for queries, keys, pairs, unseen in _blocks(some_heads, T, S, causal, x.dtype, xp, padded):
            scores = scaled_q[queries] @ k[keys].swapaxes(-1, -2)  # (B, H, T, D) @ (B, H, D, S)
            scores += unseen
            p = softmax_forward(scores, out=scores)  # this, += and out= below save 2 to 4 % of a prefill
            if keep:
                probs[pairs] = p
            dropped = p if mask is None else p * mask[pairs]
            xp.matmul(dropped, v[keys], out=heads[queries])  # (B, H, T, S) @ (B, H, S, D)

    in_parallel(attend, _some_heads(B, H, T, S, xp), xp)
    heads = heads.swapaxes(1, 2).reshape(B, T, C)
    y, c_proj = linear_forward(heads, **params["c_proj"])
    cache = {"c_attn": c_attn, "q": q, "k": k, "v": v, "probs": probs, "mask": mask, "heads": heads}
    return y, cache | {"c_proj": c_proj, "out": y, "causal": causal}


def attention_backward(dy, cache, *, out=None, dcache=None):
    """Gradients of ``attention_forward`` (without ``past`` and ``padding``), in reverse order.

        in the forward pass:  heads = (probs * mask) v,  probs = softmax(scores),  scores = q k^T / sqrt(D)
        dv = (probs * mask)^T dheads       dprobs = (dheads v^T) * mask       dscores = softmax_backward(dprobs)
        dq = dscores k / sqrt(D)           dk = dscores^T q / sqrt(D)

    dy:  (B, T, C) gradient of the output
    returns dx (B, T, C) and grads, nested like ``params``.

    Not for a first reading: out is a nested dict like ``params`` to write the parameters' gradients into; dcache
    is a dict that receives the gradients of q, k, v, heads and out, for inspection.
    """
    q, k, v, probs, mask = (cache[name] for name in ("q", "k", "v", "probs", "mask"))
    xp, (B, H, T, D) = array_module(dy), q.shape
    out = out or {"c_attn": None, "c_proj": None}

    dmerged, dweight, dbias = linear_backward(dy, cache["c_proj"], out=out["c_proj"])
    c_proj = {"weight": dweight, "bias": dbias}
    dheads = dmerged.reshape(B, T, H, D).swapaxes(1, 2)  # (B, H, T, D)
    scaled_q = q / math.sqrt(D)
    dqkv = xp.zeros((B, T, 3, H, D), dy.dtype)
    dq, dk, dv = dqkv.transpose(2, 0, 3, 1, 4)  # (B, H, T, D) each, views: writing to them fills dqkv

    def attend_backward(some_heads):
        for queries, keys, pairs, _ in _blocks(some_heads, T, T, cache["causal"], dy.dtype, xp):
            p = probs[pairs]
            dropped = p if mask is None else p * mask[pairs]
            dv[keys] += dropped.swapaxes(-1, -2) @ dheads[queries]  # (B, H, S, T) @ (B, H, T, D)
            dprobs = dheads[queries] @ v[keys].swapaxes(-1, -2)  # (B, H, T, D) @ (B, H, D, S)
            if mask is not None:
                dprobs *= mask[pairs]
            dscores = softmax_backward(dprobs, p)
            dq[queries] = dscores @ k[keys] / math.sqrt(D)  # (B, H, T, S) @ (B, H, S, D)
            dk[keys] += dscores.swapaxes(-1, -2) @ scaled_q[queries]  # (B, H, S, T) @ (B, H, T, D)

    in_parallel(attend_backward, _some_heads(B, H, T, T, xp), xp)
    dx, dweight, dbias = linear_backward(dqkv.reshape(B, T, -1), cache["c_attn"], out=out["c_attn"])
    c_attn = {"weight": dweight, "bias": dbias}
    if dcache is not None:
        dcache |= {"q": dq, "k": dk, "v": dv, "heads": dmerged, "out": dy}
    return dx, {"c_attn": c_attn, "c_proj": c_proj}


def _some_heads(B, H, T, S, xp):
    """Index pairs (sequences, heads) that cover (B, H) arrays, each with so few heads that they fit into the cache."""
    heads = max(1, CHUNK // (min(T, 2 * QUERY_BLOCK) * S))
    if xp is not np or heads >= B * H:
        return [(slice(None), slice(None))]
    if heads >= H:
        return [(slice(b, b + heads // H), slice(None)) for b in range(0, B, heads // H)]
    return [(slice(b, b + 1), slice(h, h + heads)) for b in range(B) for h in range(0, H, heads)]


def _blocks(some_heads, T, S, causal, dtype, xp, padded=None):
    """Runs of queries, each with the keys that any of them may see, as indices into (B, H, ...) arrays.

    A block of scores stays in the processor's cache, and the keys after it are never touched: for long sequences
    that halves the work.

    padded: from ``_padded_keys``, or None
    yields (queries, keys, pairs, unseen); unseen (T, S), or with padding (B, 1, T, S), is added to the scores of a
        block: -inf where the key comes after the query, the numbers of ``padded``, else 0.
    """
    size = QUERY_BLOCK if T > 2 * QUERY_BLOCK else max(T, 1)
    for start in range(0, T, size):
        stop = min(start + size, T)
        rows, columns = slice(start, stop), slice(0, S - T + stop if causal else S)
        unseen = _future(stop - start, columns.stop, dtype, xp) if causal and T > 1 else 0
        if padded is not None:
            unseen = unseen + padded[some_heads[0], :, :, columns]
        yield (*some_heads, rows), (*some_heads, columns), (*some_heads, rows, columns), unseen


@functools.lru_cache(maxsize=16)
def _future(T, S, dtype, xp):
    """-inf where the key comes after the query, for the last T queries of S tokens; else 0."""
    return xp.triu(xp.full((T, S), -xp.inf, dtype), 1 + S - T)


def _padded_keys(padding, S, dtype, xp):
    """The lowest number where a key is padding, else 0: (B, 1, 1, S).

    Added to a score, it leaves no probability. Minus infinity would not do: padding itself sees nothing but padding,
    and the softmax of nothing is not finite.
    """
    lowest = float(np.finfo(dtype).min)
    return xp.where(xp.arange(S) < padding[:, None], lowest, 0).astype(dtype)[:, None, None]
