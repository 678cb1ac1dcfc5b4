"""Notebook 2.5.5, layer normalisation: give every token's vector mean 0 and variance 1, then rescale.

GPT-2 normalises the *input* of each sub-layer ("pre-norm") and again after the last block.
Shapes: ... any leading dimensions, usually B batch and T time; C channels.
"""

from minigpt2.backend import array_module
from minigpt2.parallel import by_rows


def layer_norm_forward(x, weight, bias, eps=1e-5):
    """Normalise the last dimension.

        mean = sum_c x_c / C        variance = sum_c (x_c - mean)^2 / C     (biased)
        x_hat = (x - mean) / sqrt(variance + eps)        y = x_hat * weight + bias

    x:      (..., C) input
    weight: (C,) gain; bias: (C,) shift
    eps:    keeps the root away from 0, 1e-5 in GPT-2; has the unit of a variance
    returns y (..., C) and the cache for ``layer_norm_backward``.
    raises: ValueError when weight or bias is not (C,).
    Source: Ba, Kiros & Hinton 2016, "Layer Normalization", eq. 4.

    >>> layer_norm_forward(np.array([1.0, 3]), weight=np.ones(2), bias=np.array([0.0, 10]))[0].round(3)
    array([-1., 11.])
    """
    C = x.shape[-1]
    if weight.shape != (C,) or bias.shape != (C,):
        raise ValueError(f"layer_norm: x has {C} channels, but weight is {weight.shape} and bias {bias.shape}")
    xp = array_module(x)

    def normalise(x):
        centred = x - _mean(x)  # (N, C) - (N, 1)
        rstd = 1.0 / xp.sqrt(_mean(centred * centred) + eps)  # (N, 1)
        x_hat = centred * rstd
        return x_hat * weight + bias, x_hat, rstd

    y, x_hat, rstd = by_rows(normalise, x)
    return y, {"x_hat": x_hat, "rstd": rstd, "weight": weight}


def layer_norm_backward(dy, cache, *, out=None):
    """Gradients of ``layer_norm_forward``.

        in the forward pass:  x_hat = (x - mean) * rstd,  y = x_hat * weight + bias
        dx_hat = dy * weight
        dx = rstd * (dx_hat - mean_c(dx_hat) - x_hat * mean_c(dx_hat * x_hat))
        dweight = sum_n dy_n * x_hat_n     dbias = sum_n dy_n

    The two means appear because x also acts through ``mean`` and through ``rstd``: they take from the gradient
    its component along (1, ..., 1) and, but for eps, its component along x_hat.

    dy: (..., C) gradient of the output
    returns dx (..., C), dweight (C,), dbias (C,).

    Not for a first reading: out is {"weight", "bias"}, arrays to write the parameters' gradients into.
    """
    x_hat, rstd, weight = cache["x_hat"], cache["rstd"], cache["weight"]
    out = out or {"weight": None, "bias": None}
    C = dy.shape[-1]
    dweight = (dy * x_hat).reshape(-1, C).sum(axis=0, out=out["weight"])
    dbias = dy.reshape(-1, C).sum(axis=0, out=out["bias"])

    def gradient(dy, x_hat, rstd):
        dx_hat = dy * weight
        return rstd * (dx_hat - _mean(dx_hat) - x_hat * _mean(dx_hat * x_hat))

    dx = by_rows(gradient, dy, x_hat, rstd)
    return dx, dweight, dbias


def _mean(x):
    """The mean over the last dimension, which stays with length 1.

    As a product: ``x.mean(axis=-1, keepdims=True)`` gives the same and adds 3 % to a small model's training step.
    """
    C = x.shape[-1]
    return (x @ array_module(x).full(C, 1.0 / C, x.dtype))[..., None]
