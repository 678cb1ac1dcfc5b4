"""Section 2.5.5, layer normalisation: give every token's vector mean 0 and variance 1, then rescale.

GPT-2 normalises the *input* of each sub-layer ("pre-norm") and once more after the last block.
Shapes: ... any leading dimensions, usually B batch and T time; C channels.
"""

from minigpt2.backend import array_module
from minigpt2.parallel import by_rows, sum_row_products, sum_rows


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
    """
    C = x.shape[-1]
    if weight.shape != (C,) or bias.shape != (C,):
        raise ValueError(f"layer_norm: x has {C} channels, but weight is {weight.shape} and bias {bias.shape}")
    xp = array_module(x)

    def normalise(x):
        x_hat = x - _mean(x, xp)
        variance = xp.einsum("...c,...c->...", x_hat, x_hat)[..., None] / C  # no array of squares
        rstd = 1.0 / xp.sqrt(variance + eps)
        x_hat *= rstd
        y = x_hat * weight
        y += bias
        return y, x_hat, rstd

    y, x_hat, rstd = by_rows(normalise, x)
    return y, {"x_hat": x_hat, "rstd": rstd, "weight": weight}


def layer_norm_backward(dy, cache, out=None):
    """Gradients of ``layer_norm_forward``.

        in the forward pass:  x_hat = (x - mean) * rstd,  y = x_hat * weight + bias
        dx_hat = dy * weight
        dx = rstd * (dx_hat - mean_c(dx_hat) - x_hat * mean_c(dx_hat * x_hat))
        dweight = sum_n dy_n * x_hat_n     dbias = sum_n dy_n

    The two means are there because x also acts through ``mean`` and through ``rstd``: the gradient
    loses its component along (1, ..., 1) and its component along x_hat.

    dy:  (..., C) gradient of the output
    out: {"weight", "bias"} arrays to write the parameters' gradients into; new ones by default
    returns dx (..., C), dweight (C,), dbias (C,).
    """
    x_hat, rstd, weight = cache["x_hat"], cache["rstd"], cache["weight"]
    xp = array_module(dy)
    out = out or {"weight": None, "bias": None}
    C = dy.shape[-1]
    dweight = sum_row_products(dy.reshape(-1, C), x_hat.reshape(-1, C), out=out["weight"])
    dbias = sum_rows(dy.reshape(-1, C), out=out["bias"])

    def gradient(dy, x_hat, rstd):
        dx = dy * weight  # dx_hat, turned into dx in place
        along_x_hat = xp.einsum("...c,...c->...", dx, x_hat)[..., None] / C
        dx -= _mean(dx, xp)
        dx -= x_hat * along_x_hat
        dx *= rstd
        return dx

    dx = by_rows(gradient, dy, x_hat, rstd)
    return dx, dweight, dbias


def _mean(x, xp):
    """Of the last dimension, which stays with length 1; as a product, which is faster than ``x.mean``."""
    C = x.shape[-1]
    return (x @ xp.full(C, 1.0 / C, x.dtype))[..., None]
