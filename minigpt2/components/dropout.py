"""Notebook 2.5.6, dropout: while training, set random activations to zero so that the model relies on none.

GPT-2 in transformers does so in three places: after the embeddings are summed, on the attention
probabilities, and on the output of each sub-layer before it joins the residual stream. OpenAI's released code, which
cannot train, has no dropout.
"""

from minigpt2.backend import array_module


def dropout_forward(x, p, rng=None):
    """Zero each element with probability p and scale the others up, so that the mean stays the same ("inverted").

        y = x * mask,   mask = 0 with probability p, else 1 / (1 - p)

    x:   any shape
    p:   probability in 0 <= p < 1
    rng: numpy.random.Generator while training; None while evaluating, when y is x itself
    returns y, shaped like x, and the cache for ``dropout_backward``.
    raises: ValueError when p is not in [0, 1).
    Source: Srivastava et al. 2014, "Dropout", section 10 for the scaling at training time.

    >>> dropout_forward(np.ones(6), 0.5, np.random.default_rng(0))[0]
    array([2., 2., 2., 0., 0., 0.])
    """
    mask = dropout_mask(x, p, rng)
    if mask is None:
        return x, {"mask": None}
    return x * mask, {"mask": mask}


def dropout_backward(dy, cache):
    """Gradient of ``dropout_forward``: a dropped element gets none.

        dx = dy * mask

    dy: shaped like x
    returns dx, shaped like x.
    """
    return dy if cache["mask"] is None else dy * cache["mask"]


def dropout_mask(x, p, rng=None):
    """The mask by which ``dropout_forward`` multiplies x, with the shape and dtype of x; None when nothing drops."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p must be in [0, 1), got {p}")
    if p == 0 or rng is None:
        return None
    xp = array_module(x)
    mask = (rng.random(x.shape, dtype=xp.float32) >= p).astype(x.dtype)
    mask *= 1.0 / (1.0 - p)
    return mask
