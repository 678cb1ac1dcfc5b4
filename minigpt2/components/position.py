"""Notebook 2.5.2, position encoding: without it, attention sees its input as a set without order.

GPT-2 learns one vector per position. The 2017 Transformer computes them. Either kind is added to the tokens' vectors.
Shapes: B batch, T time (tokens), C channels (n_embd), P positions (n_positions).
"""

import numpy as np

from minigpt2.backend import array_module


def position_forward(x, weight, start=0, padding=None):
    """Add the vector of each token's position.

        y_bt = x_bt + W[start + t]

    x:      (B, T, C) token embeddings
    weight: (P, C) one row per position: learned (``wpe``), or ``sinusoidal_positions``
    start:  position of the first token, above 0 when earlier ones are in the key/value cache
    returns y (B, T, C) and the cache for ``position_backward``.
    raises: ValueError when start + T exceeds P: there is no vector for such a position.
    Source: Radford et al. 2018, eq. 2.

    Not for a first reading: padding (B,) is the number of tokens at the start of each sequence that only fill it up to
    the length of the others: the token after them has position 0, as they do.

    >>> position_forward(np.zeros((1, 2, 2)), np.array([[1.0, 2], [3, 4], [5, 6]]), start=1)[0]
    array([[[3., 4.],
            [5., 6.]]])
    """
    T, P = x.shape[1], weight.shape[0]
    if start + T > P:
        raise ValueError(
            f"position: {start + T} tokens, but the model has {P} positions (n_positions); "
            f"give it at most the last {P} tokens"
        )
    if padding is None:
        return x + weight[start : start + T], {"weight": weight, "start": start}
    xp = array_module(x)
    positions = xp.maximum(xp.arange(start, start + T) - padding[:, None], 0)  # (B, T)
    return x + weight[positions], {"weight": weight, "positions": positions}


def position_backward(dy, cache, *, out=None):
    """Gradients of ``position_forward`` (without ``padding``).

        dx = dy     dW[start + t] = sum_b dy_bt, zero for unused positions

    dy: (B, T, C) gradient of the output
    returns dx (B, T, C), dweight (P, C).

    Not for a first reading: out is {"weight"}, an array to write dweight into.
    """
    weight, start = cache["weight"], cache["start"]
    xp = array_module(dy)
    T = dy.shape[1]
    dweight = xp.empty_like(weight) if out is None else out["weight"]
    dweight[:start] = 0
    dweight[start : start + T] = dy.sum(axis=0)
    dweight[start + T :] = 0
    return dy, dweight


def sinusoidal_positions(P, C, dtype="float32"):
    """The fixed position vectors of the original Transformer, to use in place of ``wpe``.

        W[p, 2i] = sin(p / 10000^(2i/C))     W[p, 2i+1] = cos(p / 10000^(2i/C))

    P: number of positions; C: channels, even or odd; dtype: of the result
    returns (P, C). It is a constant: there is nothing to learn, so it has no backward pass.
    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.5.

    >>> sinusoidal_positions(2, 2).round(2)
    array([[0.  , 1.  ],
           [0.84, 0.54]], dtype=float32)
    """
    even = np.arange(0, C, 2)
    angles = np.arange(P)[:, None] / 10000.0 ** (even / C)
    weight = np.empty((P, C), dtype)
    weight[:, 0::2] = np.sin(angles)
    weight[:, 1::2] = np.cos(angles[:, : C // 2])
    return weight
