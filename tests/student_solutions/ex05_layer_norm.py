"""Exercise 5 as students write it: right in several styles, and wrong in the ways that are known."""

import numpy as np


def in_one_line(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias, {}


def without_a_cache(x, weight, bias, eps=1e-5):
    return in_one_line(x, weight, bias, eps)[0]


def in_loops(x, weight, bias, eps=1e-5):
    y = np.zeros(x.shape)  # float64, whatever x is
    for index in np.ndindex(x.shape[:-1]):
        C = len(x[index])
        mean = sum(float(value) for value in x[index]) / C
        variance = sum((float(value) - mean) ** 2 for value in x[index]) / C
        for c in range(C):
            y[index][c] = weight[c] * (float(x[index][c]) - mean) / (variance + eps) ** 0.5 + bias[c]
    return y, {}


def by_mean_of_squares(x, weight, bias, eps=1e-5):
    wide = x.astype(np.float64)  # E[x^2] - E[x]^2 loses digits
    mean = wide.mean(axis=-1)[..., None]
    variance = (wide**2).mean(axis=-1)[..., None] - mean**2
    y = (wide - mean) / (variance + eps) ** 0.5
    return (y * weight + bias).astype(x.dtype), {}


def by_einsum(x, weight, bias, eps=1e-5):
    C = x.shape[-1]
    ones = np.full(C, 1 / C, x.dtype)
    centred = x - np.einsum("...c,c->...", x, ones)[..., None]
    rstd = np.einsum("...c,...c,c->...", centred, centred, ones)
    return np.einsum("...c,...,c->...c", centred, (rstd + eps) ** -0.5, weight) + bias, {}


def backward_by_jacobian(dy, cache):
    """The Jacobian of each token, as a matrix."""
    x_hat, rstd, weight = cache["x_hat"], cache["rstd"], cache["weight"]
    C = dy.shape[-1]
    dx = np.empty_like(dy)
    for index in np.ndindex(dy.shape[:-1]):
        v = x_hat[index]
        jacobian = (np.eye(C) - 1 / C - np.outer(v, v) / C) * rstd[index]
        dx[index] = jacobian @ (dy[index] * weight)
    rows, hats = dy.reshape(-1, C), x_hat.reshape(-1, C)
    return dx, np.einsum("nc,nc->c", rows, hats), np.einsum("nc->c", rows)


def backward_by_chain_rule(dy, cache):
    """Through variance and mean one after the other, as in the paper on batch normalisation."""
    x, mean, variance, eps = (cache[name] for name in ("x", "mean", "variance", "eps"))
    C = x.shape[-1]
    dx_hat = dy * cache["weight"]
    dvariance = (dx_hat * (x - mean)).sum(-1, keepdims=True) * -0.5 * (variance + eps) ** -1.5
    dmean = -dx_hat.sum(-1, keepdims=True) / np.sqrt(variance + eps) + dvariance * (-2 * (x - mean)).mean(
        -1, keepdims=True
    )
    dx = dx_hat / np.sqrt(variance + eps) + dvariance * 2 * (x - mean) / C + dmean / C
    x_hat = (x - mean) / np.sqrt(variance + eps)
    return dx, (dy * x_hat).reshape(-1, C).sum(0), dy.reshape(-1, C).sum(0)


def rms_right(x, weight, eps=1e-5):
    return weight * x * (np.square(x).mean(-1, keepdims=True) + eps) ** -0.5


def rms_backward_right(dy, cache):
    x, rms, weight = cache["x"], cache["rms"], cache["weight"]
    g, C = dy * weight, dy.shape[-1]
    dx = g / rms - x * np.sum(g * x, -1, keepdims=True) / (C * rms**3)
    return dx, np.sum(dy * x / rms, axis=tuple(range(x.ndim - 1)))


RIGHT = [
    ("layer_norm_forward", in_one_line),
    ("layer_norm_forward", without_a_cache),
    ("layer_norm_forward", in_loops),
    ("layer_norm_forward", by_mean_of_squares),
    ("layer_norm_forward", by_einsum),
    ("layer_norm_backward", backward_by_jacobian),
    ("layer_norm_backward", backward_by_chain_rule),
    ("rms_norm_forward", rms_right),
    ("rms_norm_backward", rms_backward_right),
]


def first_axis(x, weight, bias, eps=1e-5):
    mean, variance = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias, {}


def time_axis(x, weight, bias, eps=1e-5):
    mean, variance = x.mean(axis=-2, keepdims=True), x.var(axis=-2, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias, {}


def all_axes(x, weight, bias, eps=1e-5):
    return (x - np.mean(x)) / np.sqrt(np.var(x) + eps) * weight + bias, {}


def no_keepdims(x, weight, bias, eps=1e-5):
    mean = x.mean(axis=-1)
    variance = x.var(axis=-1)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias, {}


def unbiased(x, weight, bias, eps=1e-5):
    C = x.shape[-1]
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).sum(-1, keepdims=True) / (C - 1) + eps) * weight + bias, {}


def eps_outside(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + eps) * weight + bias, {}


def no_eps(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) * weight + bias, {}


def fixed_eps(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias, {}


def by_variance(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + eps) * weight + bias, {}


def not_centred(x, weight, bias, eps=1e-5):
    return x / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias, {}


def squares_not_centred(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(np.mean(x**2, -1, keepdims=True) + eps) * weight + bias, {}


def no_weight(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + bias, {}


def no_bias(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight, {}


def weight_last(x, weight, bias, eps=1e-5):
    return ((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + bias) * weight, {}


def in_place(x, weight, bias, eps=1e-5):
    x -= x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias, {}


def gradients(dy, cache, dx=None, dweight=None, dbias=None):
    """Right but for what is given."""
    right = backward_by_chain_rule(dy, cache)
    return tuple(r if g is None else g for r, g in zip(right, (dx, dweight, dbias), strict=True))


def no_mean_term(dy, cache):
    x_hat, g = cache["x_hat"], dy * cache["weight"]
    return gradients(dy, cache, (g - x_hat * (g * x_hat).mean(-1, keepdims=True)) * cache["rstd"])


def no_variance_term(dy, cache):
    g = dy * cache["weight"]
    return gradients(dy, cache, (g - g.mean(-1, keepdims=True)) * cache["rstd"])


def constants(dy, cache):
    return gradients(dy, cache, dy * cache["weight"] * cache["rstd"])


def weight_forgotten(dy, cache):
    x_hat = cache["x_hat"]
    dx = dy - dy.mean(-1, keepdims=True) - x_hat * (dy * x_hat).mean(-1, keepdims=True)
    return gradients(dy, cache, dx * cache["rstd"])


def means_over_batch(dy, cache):
    x_hat, g = cache["x_hat"], dy * cache["weight"]
    dx = g - g.mean(0, keepdims=True) - x_hat * (g * x_hat).mean(0, keepdims=True)
    return gradients(dy, cache, dx * cache["rstd"])


def sums_for_means(dy, cache):
    x_hat, g = cache["x_hat"], dy * cache["weight"]
    dx = g - g.sum(-1, keepdims=True) - x_hat * (g * x_hat).sum(-1, keepdims=True)
    return gradients(dy, cache, dx * cache["rstd"])


def no_rstd(dy, cache):
    x_hat, g = cache["x_hat"], dy * cache["weight"]
    return gradients(dy, cache, g - g.mean(-1, keepdims=True) - x_hat * (g * x_hat).mean(-1, keepdims=True))


def not_summed(dy, cache):
    return gradients(dy, cache, None, dy * cache["x_hat"], dy)


def summed_over_batch_only(dy, cache):
    return gradients(dy, cache, None, (dy * cache["x_hat"]).sum(0), dy.sum(0))


def averaged(dy, cache):
    tokens = tuple(range(dy.ndim - 1))
    return gradients(dy, cache, None, (dy * cache["x_hat"]).mean(tokens), dy.mean(tokens))


def dweight_of_x(dy, cache):
    return gradients(dy, cache, None, (dy * cache["x"]).sum(tuple(range(dy.ndim - 1))))


def changes_the_cache(dy, cache):
    right = backward_by_chain_rule(dy, cache)
    cache["x_hat"] *= cache["rstd"]
    return right


def rms_centred(x, weight, eps=1e-5):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + eps) * weight


def rms_of_sum(x, weight, eps=1e-5):
    return x / np.sqrt(np.sum(x * x, -1, keepdims=True) + eps) * weight


def rms_eps_outside(x, weight, eps=1e-5):
    return x / (np.sqrt(np.mean(x * x, -1, keepdims=True)) + eps) * weight


def rms_constant(dy, cache):
    return dy * cache["weight"] / cache["rms"], rms_backward_right(dy, cache)[1]


def rms_two_means(dy, cache):
    x_hat, g = cache["x"] / cache["rms"], dy * cache["weight"]
    dx = (g - g.mean(-1, keepdims=True) - x_hat * (g * x_hat).mean(-1, keepdims=True)) / cache["rms"]
    return dx, rms_backward_right(dy, cache)[1]


def rms_dweight_of_x(dy, cache):
    return rms_backward_right(dy, cache)[0], (dy * cache["x"]).sum(tuple(range(dy.ndim - 1)))


WRONG = [
    ("layer_norm_forward", first_axis, "over another axis than the channels"),
    ("layer_norm_forward", time_axis, "over another axis than the channels"),
    ("layer_norm_forward", all_axes, "over all numbers at once"),
    ("layer_norm_forward", no_keepdims, "Look for keepdims"),
    ("layer_norm_forward", unbiased, "divided by C - 1"),
    ("layer_norm_forward", eps_outside, "eps is added outside the root"),
    ("layer_norm_forward", no_eps, "eps is missing"),
    ("layer_norm_forward", fixed_eps, "eps always has the same value"),
    ("layer_norm_forward", by_variance, "divided by the variance"),
    ("layer_norm_forward", not_centred, "The mean is not subtracted"),
    ("layer_norm_forward", squares_not_centred, "the mean of x squared"),
    ("layer_norm_forward", no_weight, "weight is missing"),
    ("layer_norm_forward", no_bias, "bias is missing"),
    ("layer_norm_forward", weight_last, "weight multiplies bias as well"),
    ("layer_norm_forward", in_place, "An operation in place"),
    ("layer_norm_backward", no_mean_term, "comes through the mean"),
    ("layer_norm_backward", no_variance_term, "comes through the variance"),
    ("layer_norm_backward", constants, "as if mean and variance were constants"),
    ("layer_norm_backward", weight_forgotten, "weight is forgotten"),
    ("layer_norm_backward", means_over_batch, "over another axis than the channels"),
    ("layer_norm_backward", sums_for_means, "are sums: what are they divided by"),
    ("layer_norm_backward", no_rstd, "not multiplied by rstd"),
    ("layer_norm_backward", not_summed, "still have the axes of batch and time"),
    ("layer_norm_backward", summed_over_batch_only, "over the first axis only"),
    ("layer_norm_backward", averaged, "dweight and dbias are means"),
    ("layer_norm_backward", dweight_of_x, "dweight uses x"),
    ("layer_norm_backward", changes_the_cache, "An operation in place"),
    ("rms_norm_forward", rms_centred, "The mean is subtracted"),
    ("rms_norm_forward", rms_of_sum, "The squares are summed"),
    ("rms_norm_forward", rms_eps_outside, "outside the root"),
    ("rms_norm_backward", rms_constant, "as if the root were a constant"),
    ("rms_norm_backward", rms_two_means, "both means of layer normalisation"),
    ("rms_norm_backward", rms_dweight_of_x, "dweight uses x"),
]
