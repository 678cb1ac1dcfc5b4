"""Notebook 2.5.1, token embedding: a matrix with a row for each token; its transpose is the output layer.

Shapes: B batch, T time (tokens), C channels (n_embd), V vocabulary.
"""

import reprlib

import numpy as np

from minigpt2.backend import add_rows, array_module, on_host, to_host
from minigpt2.parallel import matmul


def embedding_forward(ids, weight):
    """Look up the vector of each token.

        y_bt = W[ids_bt]        the same as one_hot(ids) W

    ids:    (B, T) integers in 0 ... V-1
    weight: (V, C) one row per token of the vocabulary (``wte``)
    returns y (B, T, C) and the cache for ``embedding_backward``.
    raises: as ``check_ids``.
    Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", eq. 2.

    >>> y, cache = embedding_forward(np.array([[2, 0]]), np.array([[1.0, 2], [3, 4], [5, 6]]))
    >>> y
    array([[[5., 6.],
            [1., 2.]]])
    """
    check_ids(ids, V=len(weight))
    return array_module(weight).take(weight, ids, axis=0), {"ids": ids, "weight": weight}


def embedding_backward(dy, cache, *, out=None, add_to=None):
    """Gradient of ``embedding_forward``: each token's row collects the gradients of its occurrences.

        dW[v] = sum over (b, t) with ids_bt = v of dy_bt        the same as one_hot(ids)^T dy

    dy: (B, T, C) gradient of the output
    returns dweight (V, C). Integers have no gradient, so there is no dids.

    Not for a first reading: out is {"weight"}, an array to write dweight into. add_to is an array to add
    the gradient to: if the output layer is this matrix too, it already holds the output layer's share.

    >>> embedding_backward(np.array([[[1, 2], [3, 4]]]), {"ids": np.array([[2, 2]]), "weight": np.zeros((3, 2))})
    array([[0., 0.],
           [0., 0.],
           [4., 6.]])
    """
    ids, weight = cache["ids"], cache["weight"]
    dweight = add_to
    if add_to is None:
        dweight = array_module(dy).empty_like(weight) if out is None else out["weight"]
        dweight[...] = 0
    add_rows(dweight, ids.ravel(), dy.reshape(-1, dy.shape[-1]))
    return dweight


def check_ids(ids, V):
    """Check that ids are tokens of a vocabulary of V.

    On a device only their dtype is checked and not their range, since reading values would force a synchronisation:
    check them before moving them there.

    raises: TypeError when ids are not integers, ValueError when one is out of range (NumPy would silently read a
        negative one from the end of the table; CuPy wraps any of them around to some row).
    """
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: ids must be integers, got {ids.dtype}; encode text with a Tokenizer")
    if on_host(ids) and ids.size and (int(ids.min()) < 0 or int(ids.max()) >= V):
        raise ValueError(
            f"embedding: ids must lie in 0 ... {V - 1}, got {int(ids.min())} ... {int(ids.max())}; "
            "does the tokenizer belong to this model?"
        )


def token_array(values, name):
    """Token ids as an integer array on the host; lists are welcome.

    raises: TypeError for anything but integers, truth values among them; ValueError where the lengths of rows differ.
    """
    try:
        array = np.asarray(to_host(values))
    except ValueError:
        raise ValueError(
            f"{name} must be (B, T) with rows of equal length; fill up the shorter ones, with -100 in the targets"
        ) from None
    if (array.size and array.dtype.kind not in "iu") or _has_bool(values):
        kind = array.dtype if array.dtype.kind in "fc" else f"{reprlib.repr(values)} ({type(values).__name__})"
        advice = "give its 'input_ids'" if hasattr(values, "keys") else "encode text with a Tokenizer"
        raise TypeError(f"{name} must be integers, got {kind}; {advice}")
    return array


def _has_bool(values):
    """Whether a list holds a truth value, which NumPy takes for 0 or 1 where it stands beside an integer."""
    if isinstance(values, list | tuple):
        return any(map(_has_bool, values))
    return isinstance(values, bool | np.bool_)


def unembedding_forward(x, weight):
    """Score every token of the vocabulary by its dot product with the final activation.

        logits = x W^T

    x:      (..., C) activation after the last layer normalisation
    weight: (V, C): ``wte`` itself in GPT-2 (tied), or a matrix of its own (``lm_head``)
    returns logits (..., V), unnormalised log-probabilities, and the cache for ``unembedding_backward``.
    Source: Press & Wolf 2017, "Using the Output Embedding to Improve Language Models".

    >>> unembedding_forward(np.array([1.0, 2]), np.array([[1.0, 0], [0, 1], [1, 1]]))[0]
    array([1., 2., 3.])
    """
    logits = matmul(x.reshape(-1, x.shape[-1]), weight.T)  # (N, C) @ (C, V) -> (N, V)
    return logits.reshape(*x.shape[:-1], -1), {"x": x, "weight": weight}


def unembedding_backward(dlogits, cache, *, out=None):
    """Gradients of ``unembedding_forward``.

        in the forward pass:  logits_nv = sum_c x_nc W_vc
        dx = dlogits W     dW = dlogits^T x

    dlogits: (..., V) gradient of the logits
    returns dx (..., C), dweight (V, C).

    Not for a first reading: out is {"weight"}, an array to write dweight into.
    """
    x, weight = cache["x"], cache["weight"]
    V, C = weight.shape
    dlogits = dlogits.reshape(-1, V)
    dx = matmul(dlogits, weight).reshape(x.shape)  # (N, V) @ (V, C) -> (N, C)
    dweight = matmul(dlogits.T, x.reshape(-1, C), out=out["weight"] if out else None)  # (V, N) @ (N, C)
    return dx, dweight
