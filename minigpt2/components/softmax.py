"""Softmax, which turns scores into probabilities: in attention (notebook 2.5.3), and for the next token.

Shapes: ... any leading dimensions, S scores per row, whose probabilities sum to 1.
"""

from minigpt2.backend import array_module


def softmax_forward(scores, *, out=None):
    """Turn scores into probabilities.

        p = exp(s - max s) / sum exp(s - max s)        along the last axis; the maximum keeps exp finite

    scores: (..., S), -inf where nothing may be seen
    returns probs (..., S), which are all that ``softmax_backward`` needs; each row sums to 1.

    Not for a first reading: out is an array to write to, ``scores`` itself if they are not needed again.

    >>> softmax_forward(np.array([0, np.log(3)]))
    array([0.25, 0.75])
    """
    xp = array_module(scores)
    probs = xp.subtract(scores, scores.max(axis=-1, keepdims=True), out=out)
    xp.exp(probs, out=probs)
    probs /= (probs @ xp.ones(probs.shape[-1], probs.dtype))[..., None]  # sums by BLAS: saves 2 % of a prefill
    return probs


def softmax_backward(dprobs, probs):
    """Gradient of ``softmax_forward``.

        dscores = probs * (dprobs - sum_s(dprobs * probs))        zero wherever probs is zero

    Each row of dscores sums to 0: adding the same number to all scores changes no probability.

    dprobs, probs: (..., S)
    returns dscores (..., S).

    >>> softmax_backward(np.array([1.0, 0]), np.array([0.25, 0.75]))
    array([ 0.1875, -0.1875])
    """
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
