"""Section 2.5.3, causal multi-head self-attention: every token looks at itself and at those before it.

Shapes: B batch, T time (tokens), C channels (n_embd), H heads, D = C / H head size, and S keys: the T
tokens themselves plus those that a key/value cache remembers.
"""

import functools
import math

import numpy as np

from minigpt2.backend import array_module
from minigpt2.components.dropout import dropout_mask
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.parallel import CHUNK, in_parallel

QUERY_BLOCK = 128  # queries whose scores are worked on at a time, above twice as many tokens


def attention_forward(x, params, n_head, causal=True, dropout=0.0, rng=None, past=None, keep=True):
    """Multi-head self-attention.

        q, k, v = split(x W_attn + b_attn), each cut into H heads
        scores  = q k^T / sqrt(D), and -inf where the key comes after the query
        probs   = softmax(scores), each row sums to 1
        y       = merge(dropout(probs) v) W_proj + b_proj

    x:       (B, T, C) input, already normalised
    params:  {"c_attn": {"weight" (C, 3C), "bias" (3C,)}, "c_proj": {"weight" (C, C), "bias" (C,)}}
    n_head:  H, a divisor of C
    causal:  False lets every token see all others, as in BERT
    dropout: probability of dropping an attention probability, if ``rng`` is given
    past:    KeyValueCache of this layer: its tokens are attended to as well, and the new ones are added
    keep:    False leaves probs out of the cache (None), where nobody will look at them
    returns y (B, T, C) and the cache for ``attention_backward``, with
        q, k, v (B, H, T, D), probs (B, H, T, S), heads (B, T, C) the merged heads, out (B, T, C) y itself.
    raises: ValueError when x is not (B, T, C), or C is not a multiple of H.
    Source: Vaswani et al. 2017, section 3.2, eq. 1; Radford et al. 2018 for the causal mask.
    """
    if x.ndim != 3 or x.shape[-1] % n_head:
        raise ValueError(f"attention: x must be (B, T, C) with C a multiple of {n_head} heads, got {x.shape}")
    xp = array_module(x)
    B, T, C = x.shape
    D = C // n_head

    qkv, c_attn = linear_forward(x, **params["c_attn"])
    q, k, v = qkv.reshape(B, T, 3, n_head, D).transpose(2, 0, 3, 1, 4)  # views, nothing is copied
    if past is not None:
        k, v = past.append(k, v)
    S = k.shape[2]
    scaled_q = q * (1.0 / math.sqrt(D))  # scaling q costs S / D times less than scaling the scores

    keep = keep or rng is not None  # dropout: for a backward pass
    probs = xp.empty((B, n_head, T, S), x.dtype) if keep else None
    mask = dropout_mask(probs, dropout, rng) if keep else None
    heads = xp.empty((B, T, n_head, D), x.dtype)

    def attend(some):
        for rows, keys in _query_blocks(T, S, causal):
            # The scores, which become the probabilities. Not in a view of probs, on whose rows, so many bytes
            # apart, every step would take twice as long.
            p = scaled_q[some][:, :, rows] @ k[some][:, :, keys].swapaxes(-1, -2)
            if causal and p.shape[2] > 1:
                p[..., S - T + rows.start :] += _future(p.shape[2], x.dtype, xp)
            softmax_forward(p, out=p)
            if keep:
                probs[some][:, :, rows, keys] = p
                probs[some][:, :, rows, keys.stop :] = 0
            weights = p if mask is None else p * mask[some][:, :, rows, keys]
            xp.matmul(weights, v[some][:, :, keys], out=heads.swapaxes(1, 2)[some][:, :, rows])

    in_parallel(attend, _some_heads(B, n_head, T, S, xp), xp)
    heads = heads.reshape(B, T, C)
    y, c_proj = linear_forward(heads, **params["c_proj"])
    cache = {"c_attn": c_attn, "q": q, "k": k, "v": v, "probs": probs, "mask": mask, "heads": heads}
    return y, cache | {"c_proj": c_proj, "out": y, "causal": causal}


def attention_backward(dy, cache, out=None, dcache=None):
    """Gradients of ``attention_forward`` (without ``past``), which run through it upside-down.

        in the forward pass:  heads = (probs * mask) v,  probs = softmax(scores),  scores = q k^T / sqrt(D)
        dv = (probs * mask)^T dheads       dprobs = (dheads v^T) * mask       dscores = softmax_backward(dprobs)
        dq = dscores k / sqrt(D)           dk = dscores^T q / sqrt(D)

    dy:  (B, T, C) gradient of the output
    out: nested dict like ``params`` to write the parameters' gradients into; new arrays by default
    dcache: dict that receives the gradients of q, k, v, heads and out, for those who want to look at them
    returns dx (B, T, C) and grads, nested like ``params``.
    """
    q, k, v, probs, mask = (cache[name] for name in ("q", "k", "v", "probs", "mask"))
    xp = array_module(dy)
    out = out or {"c_attn": None, "c_proj": None}
    B, H, T, D = q.shape

    dmerged, *c_proj = linear_backward(dy, cache["c_proj"], out["c_proj"])
    dheads = dmerged.reshape(B, T, H, D).swapaxes(1, 2)
    dqkv = xp.empty((B, T, 3, H, D), dy.dtype)
    dq, dk, dv = dqkv.transpose(2, 0, 3, 1, 4)  # views: what is written to them is written to dqkv
    scaled_q = q * (1.0 / math.sqrt(D))

    def attend_backward(some):
        dk[some] = 0
        dv[some] = 0
        for rows, keys in _query_blocks(T, T, cache["causal"]):
            p = probs[some][:, :, rows, keys]
            weights = p if mask is None else p * mask[some][:, :, rows, keys]
            dv[some][:, :, keys] += weights.swapaxes(-1, -2) @ dheads[some][:, :, rows]
            dprobs = dheads[some][:, :, rows] @ v[some][:, :, keys].swapaxes(-1, -2)
            if mask is not None:
                dprobs *= mask[some][:, :, rows, keys]
            dscores = softmax_backward(dprobs, p, out=dprobs)
            xp.matmul(dscores, k[some][:, :, keys], out=dq[some][:, :, rows])
            dk[some][:, :, keys] += dscores.swapaxes(-1, -2) @ scaled_q[some][:, :, rows]
        dq[some] *= 1.0 / math.sqrt(D)

    in_parallel(attend_backward, _some_heads(B, H, T, T, xp), xp)
    if dcache is not None:
        dcache |= {"q": dq, "k": dk, "v": dv, "heads": dmerged, "out": dy}

    dx, *c_attn = linear_backward(dqkv.reshape(B, T, -1), cache["c_attn"], out["c_attn"])
    return dx, {
        "c_attn": {"weight": c_attn[0], "bias": c_attn[1]},
        "c_proj": {"weight": c_proj[0], "bias": c_proj[1]},
    }


def softmax_forward(scores, out=None):
    """Turn scores into probabilities.

        p = exp(s - max s) / sum exp(s - max s)        along the last axis; the maximum keeps exp finite

    scores: (..., S), -inf where nothing may be seen
    out:    array to write to, ``scores`` itself if they are not needed again; new by default
    returns probs (..., S), each row sums to 1. They are all that ``softmax_backward`` needs.
    """
    xp = array_module(scores)
    probs = xp.subtract(scores, scores.max(axis=-1, keepdims=True), out=out)
    xp.exp(probs, out=probs)
    probs /= (probs @ xp.ones(probs.shape[-1], probs.dtype))[..., None]  # BLAS sums rows several times as fast
    return probs


def softmax_backward(dprobs, probs, out=None):
    """Gradient of ``softmax_forward``.

        dscores = probs * (dprobs - sum_s(dprobs * probs))        zero wherever probs is zero

    Each row of dscores sums to 0: raising all scores alike changes no probability.

    dprobs, probs: (..., S); out: array to write to, may be ``dprobs``; new by default
    returns dscores (..., S).
    """
    xp = array_module(probs)
    dscores = xp.subtract(dprobs, xp.einsum("...s,...s->...", dprobs, probs)[..., None], out=out)
    dscores *= probs
    return dscores


class KeyValueCache:
    """The keys and values of the tokens that one layer has already seen, so that they are not computed again.

    Room for all of them is made at the start; ``append`` fills it in place.
    """

    def __init__(self, B, n_head, max_tokens, D, dtype, xp):
        """An empty cache for B sequences of at most ``max_tokens`` tokens, H = n_head heads of size D."""
        self.keys = xp.empty((B, n_head, max_tokens, D), dtype)
        self.values = xp.empty_like(self.keys)
        self.length = 0

    def append(self, k, v):
        """Add k and v (B, H, T, D) of T new tokens; returns all keys and all values so far (B, H, S, D)."""
        stop = self.length + k.shape[2]
        if stop > self.keys.shape[2]:
            raise ValueError(f"key/value cache: {stop} tokens, but it was made for {self.keys.shape[2]}")
        self.keys[:, :, self.length : stop] = k
        self.values[:, :, self.length : stop] = v
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def select(self, rows):
        """Go on with the sequences ``rows`` (indices) in this order; one may become several."""
        keys, values = self.keys[rows, :, : self.length], self.values[rows, :, : self.length]
        if len(rows) != len(self.keys):
            xp, shape = array_module(keys), (len(rows), *self.keys.shape[1:])
            self.keys, self.values = xp.empty(shape, keys.dtype), xp.empty(shape, keys.dtype)
        self.keys[:, :, : self.length] = keys
        self.values[:, :, : self.length] = values


def _some_heads(B, H, T, S, xp):
    """Index pairs (sequences, heads) that cover (B, H) arrays: a few heads each, whose scores stay in the cache.

    Within ``array[some]``, a view, sequences, heads, queries and keys stand where they stand in the array.
    """
    heads = max(1, CHUNK // (min(T, 2 * QUERY_BLOCK) * S))
    if xp is not np or heads >= B * H:
        return [(slice(None), slice(None))]
    if heads >= H:
        return [(slice(b, b + heads // H), slice(None)) for b in range(0, B, heads // H)]
    return [(slice(b, b + 1), slice(h, h + heads)) for b in range(B) for h in range(0, H, heads)]


def _query_blocks(T, S, causal):
    """Pairs (rows, keys) of slices: a run of queries, and the keys that any of them may see.

    A block of scores stays in the processor's cache, and the keys after it are never touched: for
    long sequences that halves the work.
    """
    size = QUERY_BLOCK if T > 2 * QUERY_BLOCK else max(T, 1)
    for start in range(0, T, size):
        stop = min(start + size, T)
        yield slice(start, stop), slice(0, S - T + stop if causal else S)


@functools.lru_cache(maxsize=4)
def _future(size, dtype, xp):
    """What is added to the last scores of a block: -inf where the key comes after the query, else 0."""
    return xp.triu(xp.full((size, size), -xp.inf, dtype), 1)
