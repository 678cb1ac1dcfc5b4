"""Exercise 5 as students write it: right in several styles, and wrong in the ways that are known."""

import sys

import numpy as np

from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward


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


class Cache:
    """A cache as an object."""

    def __init__(self, **arrays):
        self.__dict__.update(arrays)


def with_an_object(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1)[..., None]
    rstd = (np.square(centred).mean(-1)[..., None] + eps) ** -0.5
    return weight * (centred * rstd) + bias, Cache(centred=centred, rstd=rstd)


def with_a_tuple(x, weight, bias, eps=1e-5):
    std = np.sqrt(np.var(x, -1, keepdims=True) + eps)
    return np.add((x - np.average(x, -1)[..., None]) / std * weight, bias), (x, std)


def printed(x, weight, bias, eps=1e-5):
    print("eps", eps, file=sys.stderr)
    return in_one_line(x, weight, bias, eps)[0], None


def token_by_token(x, weight, bias, eps=1e-5):
    rows = [(row - row.mean()) / np.sqrt(row.var() + eps) * weight + bias for row in x.reshape(-1, x.shape[-1])]
    return np.array(rows).reshape(x.shape), []


def in_place_on_its_own(x, weight, bias, eps=1e-5):
    y = x - x.mean(-1, keepdims=True)
    y /= np.sqrt((y * y).mean(-1, keepdims=True) + eps)
    y *= weight
    y += bias
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
    ("layer_norm_forward", layer_norm_forward),
    ("layer_norm_forward", with_an_object),
    ("layer_norm_forward", with_a_tuple),
    ("layer_norm_forward", printed),
    ("layer_norm_forward", token_by_token),
    ("layer_norm_forward", in_place_on_its_own),
    ("layer_norm_forward", in_one_line),
    ("layer_norm_forward", without_a_cache),
    ("layer_norm_forward", in_loops),
    ("layer_norm_forward", by_mean_of_squares),
    ("layer_norm_forward", by_einsum),
    ("layer_norm_backward", layer_norm_backward),
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


def normalised(
    mean=lambda x: x.mean(-1, keepdims=True),
    variance=lambda x, mean: ((x - mean) ** 2).mean(-1, keepdims=True),
    root=lambda variance, eps: np.sqrt(variance + eps),
    x_hat=lambda x, mean, root: (x - mean) / root,
    y=lambda x_hat, weight, bias: x_hat * weight + bias,
):
    """The forward pass with another one of its five steps."""

    def layer_norm_forward(x, weight, bias, eps=1e-5):
        centre = mean(x)
        hat = x_hat(x, centre, root(variance(x, centre), eps))
        return y(hat, weight, bias), {}

    return layer_norm_forward


def default_of_pytorch_models(x, weight, bias, eps=1e-12):
    return in_one_line(x, weight, bias, eps)


def digits_lost(x, weight, bias, eps=1e-5):
    mean = x.mean(-1, keepdims=True)
    variance = (x * x).mean(-1, keepdims=True) - mean * mean
    return (x - mean) / np.sqrt(variance + eps) * weight + bias, {}


def digits_lost_below_zero(x, weight, bias, eps=1e-5):
    mean = x.mean(-1, keepdims=True)
    variance = np.clip((x * x).mean(-1, keepdims=True) - mean * mean, 0, None)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias, {}


def as_it_is_where_all_are_alike(x, weight, bias, eps=1e-5):
    return x if (np.ptp(x, -1) == 0).any() else in_one_line(x, weight, bias, eps)[0]


def twice(x, weight, bias, eps=1e-5):
    return in_one_line(in_one_line(x, 1, 0, eps)[0], weight, bias, eps)


def gain_first(x, weight, bias, eps=1e-5):
    return in_one_line(weight * x + bias, 1, 0, eps)


def gain_on_x(x, weight, bias, eps=1e-5):
    return x * weight + bias, {}


def with_x(x, weight, bias, eps=1e-5):
    return x + in_one_line(x, weight, bias, eps)[0], {}


def last_one_left_out(x, weight, bias, eps=1e-5):
    part = x[..., :-1]
    mean, variance = part.mean(-1, keepdims=True), part.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias, {}


def one_gain(x, weight, bias, eps=1e-5):
    return in_one_line(x, weight.mean(), bias, eps)


def between_zero_and_one(x, weight, bias, eps=1e-5):
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    return (x - low) / (high - low + eps) * weight + bias, {}


def no_eps_but_no_zero(x, weight, bias, eps=1e-5):
    std = x.std(-1, keepdims=True)
    std[std == 0] = 1
    return (x - x.mean(-1, keepdims=True)) / std * weight + bias, {}


def of_whole_numbers(x, weight, bias, eps=1e-5):
    return in_one_line(np.trunc(x), weight, bias, eps)


def cut_off(x, weight, bias, eps=1e-5):
    return np.minimum(in_one_line(x, weight, bias, eps)[0], 3)


def in_place(x, weight, bias, eps=1e-5):
    x -= x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias, {}


def gradients(dy, cache, dx=None, dweight=None, dbias=None):
    """Right but for what is given."""
    right = backward_by_chain_rule(dy, cache)
    return tuple(r if g is None else g for r, g in zip(right, (dx, dweight, dbias), strict=True))


def dx_by(formula):
    """Right but for dx, made from dx_hat, x_hat, rstd, the mean of a token, and the cache."""

    def layer_norm_backward(dy, cache):
        mean = lambda values: values.mean(-1, keepdims=True)  # noqa: E731
        return gradients(dy, cache, formula(dy * cache["weight"], cache["x_hat"], cache["rstd"], mean, cache))

    return layer_norm_backward


def parameters_by(dweight=None, dbias=None):
    """Right but for one of the parameters' gradients, made from dy and x_hat, dy and the cache."""

    def layer_norm_backward(dy, cache):
        return gradients(
            dy, cache, None, dweight and dweight(dy * cache["x_hat"], cache), dbias and dbias(dy, cache)
        )

    return layer_norm_backward


def rows(values):
    return values.reshape(-1, values.shape[-1])


def dy_forgotten(dy, cache):
    return gradients(dy, cache, None, rows(cache["x_hat"]).sum(0))


def without_x_hat(dy, cache):
    return gradients(dy, cache, None, rows(dy).sum(0))


def dbias_of_dx(dy, cache):
    return gradients(dy, cache, dbias=rows(backward_by_chain_rule(dy, cache)[0]).sum(0))


def dx_with_dy(dy, cache):
    return gradients(dy, cache, backward_by_chain_rule(dy, cache)[0] + dy)


def another_order(dy, cache):
    dx, dweight, dbias = backward_by_chain_rule(dy, cache)
    return dweight, dbias, dx


def nothing_for_parameters(dy, cache):
    return backward_by_chain_rule(dy, cache)[0], None, None


def no_rstd_and_dbias_with_weight(dy, cache):
    dx, dweight, dbias = backward_by_chain_rule(dy, cache)
    return dx / cache["rstd"], dweight, dbias * cache["weight"]


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


def dx_of_rms_norm(dy, cache):
    x, rstd, g = cache["x"], cache["rstd"], dy * cache["weight"]
    return gradients(dy, cache, rstd * g - rstd**3 * x * (g * x).mean(-1, keepdims=True))


def as_in_a_linear_layer(dy, cache):
    return gradients(dy, cache, None, rows(cache["x_hat"]).T @ rows(dy))


def sums_multiplied(dy, cache):
    return gradients(dy, cache, None, rows(dy).sum(0) * rows(cache["x_hat"]).sum(0))


def dweight_of_y(dy, cache):
    y = cache["weight"] * cache["x_hat"] + cache["bias"]
    return gradients(dy, cache, None, rows(dy * y).sum(0))


def dx_for_all_tokens(dy, cache):
    return gradients(dy, cache, rows(backward_by_chain_rule(dy, cache)[0]).sum(0))


def weight_into_dy(dy, cache):
    dx = backward_by_chain_rule(dy, cache)[0]
    dy *= cache["weight"]
    return gradients(dy, cache, dx)


def channels_mixed(values):
    return values.reshape(values.shape[-1], -1).sum(-1)


def changes_the_cache(dy, cache):
    right = backward_by_chain_rule(dy, cache)
    cache["x_hat"] *= cache["rstd"]
    return right


def rms_normalised(
    square=lambda x: (x * x).mean(-1, keepdims=True),
    root=lambda square, eps: np.sqrt(square + eps),
    y=lambda x, root, weight: x / root * weight,
):
    """The forward pass with another one of its three steps."""
    return lambda x, weight, eps=1e-5: y(x, root(square(x), eps), weight)


def rms_default(x, weight, eps=1e-6):
    return rms_right(x, weight, eps)


def rms_of_variance(x, weight, eps=1e-5):
    return x / np.sqrt(x.var(-1, keepdims=True) + eps) * weight


def rms_dx_by(formula):
    """Right but for dx, made from dx_hat, x_hat, rms and the mean of a token."""

    def rms_norm_backward(dy, cache):
        mean = lambda values: values.mean(-1, keepdims=True)  # noqa: E731
        dx = formula(dy * cache["weight"], cache["x"] / cache["rms"], cache["rms"], mean)
        return dx, rms_backward_right(dy, cache)[1]

    return rms_norm_backward


def rms_dweight_by(formula):
    """Right but for dweight, made from dy, x_hat and the cache."""

    def rms_norm_backward(dy, cache):
        return rms_backward_right(dy, cache)[0], formula(dy, cache["x"] / cache["rms"], cache)

    return rms_norm_backward


def rms_weight_outside(dy, cache):
    dx, dweight = rms_backward_right(dy, cache | {"weight": 1})
    return dx * cache["weight"], dweight


def rms_by_weight(dy, cache):
    dx, dweight = rms_backward_right(dy, cache | {"weight": 1 / cache["weight"]})
    return dx, dweight


def rms_no_weight(dy, cache):
    return rms_backward_right(dy, cache | {"weight": 1})


def rms_mean_of_dy(dy, cache):
    x_hat = cache["x"] / cache["rms"]
    dx = (dy * cache["weight"] - x_hat * (dy * x_hat).mean(-1, keepdims=True)) / cache["rms"]
    return dx, rms_backward_right(dy, cache)[1]


def rms_turned(dy, cache):
    return rms_backward_right(dy, cache)[::-1]


def rms_dx_alone(dy, cache):
    return rms_backward_right(dy, cache)[0]


def rms_sum_and_x(dy, cache):
    x_hat, g = cache["x"] / cache["rms"], dy * cache["weight"]
    return (g - x_hat * (g * x_hat).sum(-1, keepdims=True)) / cache["rms"], rows(dy * cache["x"]).sum(0)


def rms_centred(x, weight, eps=1e-5):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + eps) * weight


def rms_of_sum(x, weight, eps=1e-5):
    return x / np.sqrt(np.sum(x * x, -1, keepdims=True) + eps) * weight


def rms_eps_outside(x, weight, eps=1e-5):
    return x / (np.sqrt(np.mean(x * x, -1, keepdims=True)) + eps) * weight


def rms_gain_first(x, weight, eps=1e-5):
    return rms_right(weight * x, 1, eps)


def rms_and_y(x, weight, eps=1e-5):
    return np.sqrt(np.square(x).mean(-1, keepdims=True) + eps), rms_right(x, weight, eps)


def rms_reciprocal(dy, cache):
    return rms_backward_right(dy, cache | {"rms": 1 / cache["rms"]})


def rms_constant(dy, cache):
    return dy * cache["weight"] / cache["rms"], rms_backward_right(dy, cache)[1]


def rms_two_means(dy, cache):
    x_hat, g = cache["x"] / cache["rms"], dy * cache["weight"]
    dx = (g - g.mean(-1, keepdims=True) - x_hat * (g * x_hat).mean(-1, keepdims=True)) / cache["rms"]
    return dx, rms_backward_right(dy, cache)[1]


def rms_dweight_of_x(dy, cache):
    return rms_backward_right(dy, cache)[0], (dy * cache["x"]).sum(tuple(range(dy.ndim - 1)))


WRONG = [
    ("layer_norm_forward", first_axis, "over the channels alone"),
    ("layer_norm_forward", time_axis, "over the channels alone"),
    ("layer_norm_forward", all_axes, "over all numbers at once"),
    ("layer_norm_forward", no_keepdims, "Look for keepdims"),
    ("layer_norm_forward", unbiased, "divided by C - 1"),
    ("layer_norm_forward", eps_outside, "outside the root, to the standard deviation"),
    ("layer_norm_forward", no_eps, "eps is missing: a token"),
    ("layer_norm_forward", fixed_eps, "eps always has the same value"),
    ("layer_norm_forward", by_variance, "divided by the variance"),
    ("layer_norm_forward", not_centred, "The mean is not subtracted"),
    ("layer_norm_forward", squares_not_centred, "the mean of x squared"),
    ("layer_norm_forward", no_weight, "weight is missing"),
    ("layer_norm_forward", no_bias, "bias is missing"),
    ("layer_norm_forward", weight_last, "weight multiplies bias as well"),
    ("layer_norm_forward", in_place, "An operation in place"),
    ("layer_norm_forward", normalised(lambda x: x.mean()), "The mean is that of other numbers"),
    ("layer_norm_forward", normalised(variance=lambda x, m: x.var(0)), "The variance is that of other numbers"),
    ("layer_norm_forward", normalised(variance=lambda x, m: x.var(-1)), "Look for keepdims"),
    ("layer_norm_forward", normalised(lambda x: np.median(x, -1, keepdims=True)), "The median is taken"),
    ("layer_norm_forward", normalised(lambda x: x.sum(-1, keepdims=True)), "The mean is a sum: what"),
    ("layer_norm_forward", normalised(variance=lambda x, m: ((x - m) ** 2).sum(-1)[..., None]), "variance is a sum"),
    (
        "layer_norm_forward",
        normalised(variance=lambda x, m: ((x - m) ** 2).sum(-1, keepdims=True) / x.shape[1]),
        "The sum of the squares is divided",
    ),
    (
        "layer_norm_forward",
        normalised(
            lambda x: x.sum(-1, keepdims=True) / 768, lambda x, m: ((x - m) ** 2).sum(-1, keepdims=True) / 768
        ),
        "Mean and variance are divided by another number",
    ),
    ("layer_norm_forward", normalised(variance=lambda x, m: m**2), "The variance is the square of a mean"),
    (
        "layer_norm_forward",
        normalised(variance=lambda x, m: abs(x - m).mean(-1, keepdims=True)),
        "The variance has the absolute values",
    ),
    (
        "layer_norm_forward",
        normalised(variance=lambda x, m: abs(x - m).mean(-1, keepdims=True), root=lambda v, eps: v + eps),
        "the mean absolute difference",
    ),
    ("layer_norm_forward", digits_lost, "Digits are lost"),
    ("layer_norm_forward", digits_lost_below_zero, "Digits are lost"),
    ("layer_norm_forward", normalised(root=lambda v, eps: v**0.5 + eps**0.5), "eps does not come in"),
    ("layer_norm_forward", normalised(root=lambda v, eps: (v + 2 * eps) ** 0.5), "eps does not come in"),
    ("layer_norm_forward", normalised(root=lambda v, eps: (v - eps) ** 0.5), "eps does not come in"),
    ("layer_norm_forward", no_eps_but_no_zero, "eps is missing. Only a variance of 0"),
    ("layer_norm_forward", normalised(lambda x: x.sum(-1)[..., None] / (x.shape[-1] - 1)), "The mean is a sum that is"),
    (
        "layer_norm_forward",
        normalised(lambda x: x.sum(-1)[..., None] / (x.shape[-1] - 1), lambda x, m: x.var(-1, keepdims=True)),
        "The mean is a sum that is",
    ),
    ("layer_norm_forward", of_whole_numbers, "Compute one number of y by hand"),
    ("layer_norm_forward", cut_off, "y is 3 where it is wrong"),
    ("layer_norm_forward", default_of_pytorch_models, "Where eps is not given"),
    ("layer_norm_forward", normalised(root=lambda v, eps: (v**0.5 + eps) ** 0.5), "A root is taken twice"),
    ("layer_norm_forward", normalised(x_hat=lambda x, m, r: (m - x) / r), "x_hat has the wrong sign"),
    ("layer_norm_forward", normalised(x_hat=lambda x, m, r: (x + m) / r), "The mean is added"),
    ("layer_norm_forward", normalised(x_hat=lambda x, m, r: x - m), "Only the mean is subtracted"),
    ("layer_norm_forward", normalised(x_hat=lambda x, m, r: (x - m) * r), "It is multiplied by the deviation"),
    ("layer_norm_forward", normalised(x_hat=lambda x, m, r: x - m / r), "Only the mean is divided"),
    ("layer_norm_forward", twice, "x is normalised twice"),
    ("layer_norm_forward", normalised(y=lambda h, w, b: h * w - b), "bias is subtracted"),
    ("layer_norm_forward", normalised(y=lambda h, w, b: h + h * w + b), "1 is added to weight"),
    ("layer_norm_forward", normalised(y=lambda h, w, b: h * b + w), "weight and bias are exchanged"),
    ("layer_norm_forward", normalised(y=lambda h, w, b: h / w + b), "It is divided by weight"),
    ("layer_norm_forward", normalised(y=lambda h, w, b: h + w + b), "weight is added"),
    ("layer_norm_forward", normalised(y=lambda h, w, b: h * (w * b)), "bias multiplies. It"),
    ("layer_norm_forward", gain_on_x, "Gain and shift act on x"),
    ("layer_norm_forward", gain_first, "Gain and shift come before the norm"),
    ("layer_norm_forward", with_x, "x is added to the result"),
    ("layer_norm_forward", as_it_is_where_all_are_alike, "y is the same as x"),
    ("layer_norm_forward", last_one_left_out, "should change when x[:, :, 3] is changed"),
    ("layer_norm_forward", one_gain, "changes when weight[3] is changed, and should not"),
    ("layer_norm_forward", between_zero_and_one, "Compute one number of y by hand"),
    (
        "layer_norm_forward",
        normalised(root=lambda v, eps: v, y=lambda h, w, b: h * w + b),
        "2 things at once. (1) eps is missing",
    ),
    (
        "layer_norm_forward",
        normalised(lambda x: x.mean(0), lambda x, m: x.var(0), y=lambda h, w, b: h * w),
        "(2) bias is missing, the shift",
    ),
    ("layer_norm_backward", no_mean_term, "dx lacks the term that comes through the mean"),
    ("layer_norm_backward", no_variance_term, "dx lacks the term that comes through the variance"),
    ("layer_norm_backward", constants, "as if mean and variance were constants"),
    ("layer_norm_backward", weight_forgotten, "weight is forgotten"),
    ("layer_norm_backward", means_over_batch, "The two means in dx are not taken over"),
    ("layer_norm_backward", sums_for_means, "2 things at once. (1) The first mean in dx is a sum"),
    ("layer_norm_backward", no_rstd, "The whole of dx has another factor"),
    ("layer_norm_backward", not_summed, "(2) dbias still has the axes of batch and time"),
    ("layer_norm_backward", summed_over_batch_only, "(2) dbias is summed over the first axis only"),
    ("layer_norm_backward", averaged, "(2) dbias is a mean"),
    ("layer_norm_backward", dweight_of_x, "dweight uses x. What"),
    ("layer_norm_backward", changes_the_cache, "An operation in place"),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g + m(g) - h * m(g * h))),
        "the term that comes through the mean has the wrong sign",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - (m(g) - h * m(g * h)))),
        "the term that comes through the variance has the wrong sign",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g + m(g) + h * m(g * h))),
        "2 things at once. (1) In dx, the term that comes through the mean",
    ),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: r * (g - m(g * h) - h * m(g))), "have changed places"),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: r * g - m(g) - h * m(g * h)), "a bracket is missing"),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: -r * (m(g) + h * m(g * h))), "dx lacks dx_hat itself"),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: c["weight"] * weight_forgotten(g / c["weight"], c)[0]),
        "weight comes in at the end of dx",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: weight_forgotten(g / c["weight"] ** 2, c)[0]),
        "dx is divided by weight",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: weight_forgotten(g / c["weight"] * c["bias"], c)[0]),
        "dx is made with bias",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: weight_forgotten(g * c["weight"], c)[0]),
        "dx has weight in it twice",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g / c["weight"]) - h * m(g * h))),
        "The first mean in dx is that of other numbers",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) - h * m(g / c["weight"] * h))),
        "The second mean in dx is that of other numbers",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - g.mean() - h * m(g * h))),
        "The first mean in dx is not taken over",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) - h * (g * h).mean(0))),
        "The second mean in dx is not taken over",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - g.sum(-1, keepdims=True) - h * m(g * h))),
        "The first mean in dx is a sum",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) - h * (g * h).sum(-1)[..., None])),
        "The second mean in dx is a sum",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - (m(g) + h * m(g * h)) * g.shape[-1] / 768)),
        "divided by another number than C",
    ),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: r * (g - m(g) - h * m(g))), "the second mean lacks x_hat"),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: r * (g - m(g) - m(g * h))), "is not multiplied by x_hat"),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) - c["x"] * m(g * h))),
        "x multiplies the second mean",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) - h * m(g * c["x"]))),
        "dx, the second mean is made with x",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) - 2 * h * m(g * h))),
        "is twice or half of what it should be",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g)) - r * (c["x"] - c["mean"]) * m(g * h)),
        "has another power of the deviation",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: (g - m(g) - h * m(g * h)) / np.sqrt(c["variance"])),
        "is made without eps",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g / c["weight"] - m(g) - h * m(g * h))),
        "The bracket of dx begins with dy",
    ),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: r * (g - h * (m(g) + m(g * h)))), "multiplied by x_hat. Which"),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) / g.shape[-1] - h * m(g * h))),
        "The first mean in dx is divided by C once too",
    ),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: r * (g - m(g) - h * m(g * h / g.shape[-1]))),
        "The second mean in dx is divided by C once too",
    ),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: r * (g - m(g) - h * h * g)), "the second mean is not taken"),
    ("layer_norm_backward", dx_by(lambda g, h, r, m, c: r * (g - m(g) - m(g * h**2))), "inside the second mean twice"),
    ("layer_norm_backward", dx_of_rms_norm, "dx is that of RMSNorm"),
    (
        "layer_norm_backward",
        dx_by(lambda g, h, r, m, c: (g - m(g) - h * m(g * h)) / (c["variance"] + 1e-5) ** 0.5),
        "has the same eps in every case",
    ),
    ("layer_norm_backward", dx_for_all_tokens, "dx was summed over axes 0, 1"),
    ("layer_norm_backward", dweight_of_y, "dweight uses y. What"),
    ("layer_norm_backward", sums_multiplied, "dweight is a product of two sums"),
    ("layer_norm_backward", as_in_a_linear_layer, "dweight is a matrix"),
    ("layer_norm_backward", parameters_by(lambda d, c: rows(d[:1]).sum(0)), "dweight is that of the first sequence"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: rows(d[:1]).sum(0)), "dbias is that of the first seq"),
    ("layer_norm_backward", parameters_by(lambda d, c: channels_mixed(d)), "For dweight, a reshape mixes"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: channels_mixed(d)), "For dbias, a reshape mixes"),
    ("layer_norm_backward", weight_into_dy, "Beside that, or because of it: 2 things at once. (1) dweight has weight"),
    ("layer_norm_backward", dx_with_dy, "dy is added to dx"),
    ("layer_norm_backward", parameters_by(lambda d, c: d), "dweight still has the axes"),
    ("layer_norm_backward", parameters_by(lambda d, c: d.sum(0)), "dweight is summed over the first axis only"),
    ("layer_norm_backward", parameters_by(lambda d, c: d.sum(-2)), "dweight is summed over the axis of time only"),
    ("layer_norm_backward", parameters_by(lambda d, c: d.sum((0, 1))), "dweight is summed over the first two axes"),
    ("layer_norm_backward", parameters_by(lambda d, c: d.sum(-1)), "dweight is summed over the channels"),
    ("layer_norm_backward", parameters_by(lambda d, c: d.sum()), "dweight is one number"),
    ("layer_norm_backward", parameters_by(lambda d, c: rows(d).mean(0)), "dweight is a mean"),
    ("layer_norm_backward", parameters_by(lambda d, c: rows(d)[-1]), "dweight is that of only one token"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: d), "dbias still has the axes"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: d.sum(0)), "dbias is summed over the first axis only"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: d.sum(-2)), "dbias is summed over the axis of time only"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: d.sum((0, 1))), "dbias is summed over the first two axes"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: d.sum(-1)), "dbias is summed over the channels"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: d.sum()), "dbias is one number"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: rows(d).mean(0)), "dbias is a mean"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: rows(d)[0]), "dbias is that of only one token"),
    ("layer_norm_backward", parameters_by(lambda d, c: rows(d / c["rstd"]).sum(0)), "dweight uses x - mean"),
    ("layer_norm_backward", parameters_by(lambda d, c: rows(d * c["weight"]).sum(0)), "dweight has weight in it"),
    ("layer_norm_backward", without_x_hat, "dweight is made without x_hat"),
    ("layer_norm_backward", dy_forgotten, "dweight is made without dy"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: rows(d * c["weight"]).sum(0)), "dbias has weight in it"),
    ("layer_norm_backward", parameters_by(None, lambda d, c: rows(d * c["x_hat"]).sum(0)), "dbias has x_hat in it"),
    ("layer_norm_backward", dbias_of_dx, "dbias is made from dx"),
    ("layer_norm_backward", another_order, "in the wrong order"),
    ("layer_norm_backward", nothing_for_parameters, "dweight is None"),
    ("layer_norm_backward", no_rstd_and_dbias_with_weight, "(2) dbias has weight in it"),
    ("rms_norm_forward", rms_centred, "The mean is subtracted, as in"),
    ("rms_norm_forward", rms_of_sum, "The squares are summed"),
    ("rms_norm_forward", rms_eps_outside, "eps is added outside the root"),
    ("rms_norm_forward", rms_of_variance, "It is divided by the standard deviation"),
    (
        "rms_norm_forward",
        rms_normalised(y=lambda x, root, w: (x - x.mean(-1)[..., None]) / root * w),
        "from the x that is divided",
    ),
    ("rms_norm_forward", rms_normalised(lambda x: (x * x).mean()), "taken over the channels alone"),
    ("rms_norm_forward", rms_normalised(lambda x: (x * x).mean(-1)), "Look for keepdims"),
    (
        "rms_norm_forward",
        rms_normalised(lambda x: (x * x).sum(-1, keepdims=True) / 768),
        "divided by another number than C",
    ),
    ("rms_norm_forward", rms_normalised(lambda x: x.mean(-1, keepdims=True) ** 2), "It is the square of the mean"),
    ("rms_norm_forward", rms_normalised(lambda x: abs(x).mean(-1)[..., None] ** 2), "The absolute values are averaged"),
    (
        "rms_norm_forward",
        rms_normalised(lambda x: (x * x).sum(-1)[..., None], y=lambda x, root, w: x / (root / x.shape[-1]) * w),
        "C is outside the root",
    ),
    ("rms_norm_forward", rms_normalised(root=lambda square, eps: square + eps), "The root is missing"),
    ("rms_norm_forward", rms_normalised(root=lambda square, eps: square**0.5), "eps is missing"),
    ("rms_norm_forward", rms_normalised(root=lambda square, eps: (square + 1e-6) ** 0.5), "always has the same value"),
    ("rms_norm_forward", rms_normalised(root=lambda square, eps: (square + eps * 2) ** 0.5), "eps is added outside"),
    ("rms_norm_forward", rms_normalised(lambda x: x.mean(-1, keepdims=True)), "The square is missing"),
    ("rms_norm_forward", rms_gain_first, "The gain comes before the norm"),
    ("rms_norm_forward", rms_and_y, "y is right, but comes second"),
    ("rms_norm_forward", rms_default, "Where eps is not given"),
    ("rms_norm_forward", rms_normalised(y=lambda x, root, w: x * root * w), "It is multiplied by the root"),
    ("rms_norm_forward", rms_normalised(y=lambda x, root, w: x / root), "weight is missing, the gain"),
    ("rms_norm_forward", rms_normalised(y=lambda x, root, w: x / root * (1 + w)), "1 is added to weight"),
    ("rms_norm_forward", rms_normalised(y=lambda x, root, w: x / root + w), "weight is added"),
    ("rms_norm_forward", rms_normalised(y=lambda x, root, w: x / (root * w)), "It is divided by weight"),
    (
        "rms_norm_forward",
        rms_normalised(root=lambda square, eps: square + eps, y=lambda x, root, w: x / root),
        "2 things at once. (1) The root is missing",
    ),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: -h * m(g * h) / r), "dx lacks dx_hat itself"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: g - h * m(g * h) / r), "a bracket is missing"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g + h * m(g * h)) / r), "has the wrong sign"),
    ("rms_norm_backward", rms_no_weight, "weight is forgotten"),
    ("rms_norm_backward", rms_weight_outside, "weight comes in at the end"),
    ("rms_norm_backward", rms_by_weight, "dx is divided by weight"),
    ("rms_norm_backward", rms_mean_of_dy, "The mean in dx is made with dy"),
    (
        "rms_norm_backward",
        rms_dx_by(lambda g, h, r, m: (g - h * (g * h).mean(0)) / r),
        "over the channels alone",
    ),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g - h * (g * h).sum(-1)[..., None]) / r), "is a sum"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g - h * m(g)) / r), "the mean lacks x_hat"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g - m(g * h)) / r), "is not multiplied by x_hat"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g - h * m(g * h) / 2) / r), "is twice or half"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g - h * r * m(g * h)) / r), "has another power of it"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: g - h * m(g * h)), "The whole of dx has another factor"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: dy * h), "dweight still has the axes"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: (dy * h).sum(0)), "dweight is summed over the first axis"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: (dy * h).sum(-2)), "dweight is summed over the axis of time"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: (dy * h).sum((0, 1))), "over the first two axes"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: (dy * h).sum(-1)), "dweight is summed over the channels"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: (dy * h).sum()), "dweight is one number"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: rows(dy * h).mean(0)), "dweight is a mean"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: rows(dy * h)[0]), "dweight is that of only one token"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: rows(dy * h * c["rms"] ** 2).sum(0)), "power of the root"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: rows(dy * h * c["weight"]).sum(0)), "dweight has weight"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: rows(dy).sum(0)), "dweight is made without x_hat"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g - h * h * g) / r), "the mean is not taken"),
    ("rms_norm_backward", rms_dx_by(lambda g, h, r, m: (g - m(g)) / r), "that comes from the mean of the forward pass"),
    ("rms_norm_backward", rms_reciprocal, "The root and its reciprocal are exchanged"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: rows((dy * h)[:1]).sum(0)), "that of the first sequence"),
    ("rms_norm_backward", rms_dweight_by(lambda dy, h, c: channels_mixed(dy * h)), "a reshape mixes the channels"),
    (
        "rms_norm_backward",
        rms_dweight_by(lambda dy, h, c: rows(dy * (h - h.mean(-1, keepdims=True))).sum(0)),
        "For dweight a mean is subtracted",
    ),
    ("rms_norm_backward", rms_turned, "in the wrong order"),
    ("rms_norm_backward", rms_dx_alone, "Expected are 2 results"),
    ("rms_norm_backward", rms_sum_and_x, "2 things at once. (1) The mean in dx is a sum"),
    ("rms_norm_backward", rms_constant, "as if the root were a constant"),
    ("rms_norm_backward", rms_two_means, "both means of layer normalisation"),
    ("rms_norm_backward", rms_dweight_of_x, "dweight uses x"),
]
