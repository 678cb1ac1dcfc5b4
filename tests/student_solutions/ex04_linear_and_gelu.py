"""Exercise 4 as students write it: right in several styles, and wrong in the ways that are known."""

import math
import sys

import numpy as np

from minigpt2.components.feed_forward import (
    feed_forward_backward,
    feed_forward_forward,
    gelu_backward,
    gelu_forward,
)
from minigpt2.components.linear import linear_backward, linear_forward

A = math.sqrt(2 / math.pi)


def plain(x, weight, bias):
    return x @ weight + bias, {"x": x, "weight": weight}


def without_a_cache(x, weight, bias):
    return np.dot(x, weight) + bias


def by_einsum(x, weight, bias):
    return np.einsum("...i,io->...o", x, weight) + bias, {}


def with_a_column_of_ones(x, weight, bias):
    ones = np.ones((*x.shape[:-1], 1), x.dtype)
    return np.concatenate([x, ones], axis=-1) @ np.vstack([weight, bias]), {}


class Kept:
    """A cache as an object."""

    def __init__(self, *arrays):
        self.arrays = arrays


def with_an_object(x, weight, bias):
    return np.tensordot(x, weight, axes=1) + bias, Kept(x, weight)


def with_a_tuple(x, weight, bias):
    return (x[..., None] * weight).sum(axis=-2) + bias, (x, weight)


def printed(x, weight, bias):
    print("shapes", x.shape, weight.shape, file=sys.stderr)
    return np.add(x @ weight, bias), None


def in_loops(x, weight, bias):
    y = np.zeros((*x.shape[:-1], len(bias)))
    for index in np.ndindex(y.shape):
        y[index] = sum(x[index[:-1]][i] * weight[i, index[-1]] for i in range(len(weight))) + bias[index[-1]]
    return y, {}


def backward_flat(dy, cache):
    x, weight = cache["x"], cache["weight"]
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ weight.T, rows.T @ drows, drows.sum(axis=0)


def backward_by_einsum(dy, cache):
    x, weight = cache["x"], cache["weight"]
    rows, drows = x.reshape(-1, len(weight)), dy.reshape(-1, weight.shape[1])
    return np.einsum("...o,io->...i", dy, weight), np.einsum("ni,no->io", rows, drows), np.einsum("no->o", drows)


def backward_token_by_token(dy, cache):
    x, weight = cache["x"], cache["weight"]
    dx, dweight, dbias = np.zeros_like(x), np.zeros_like(weight), np.zeros(weight.shape[1])
    for n in np.ndindex(x.shape[:-1]):
        dx[n] = weight @ dy[n]
        dweight += np.outer(x[n], dy[n])
        dbias += dy[n]
    return dx, dweight, dbias


def backward_by_tensordot(dy, cache):
    tokens = tuple(range(dy.ndim - 1))
    dweight = np.tensordot(cache["x"], dy, (tokens, tokens))
    return np.tensordot(dy, cache["weight"], (-1, 1)), dweight, dy.sum(axis=tokens)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(A * (x + 0.044715 * x**3))), {"x": x}


def gelu_of_numpy_numbers(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * np.power(x, 3))))


def gelu_by_sigmoid(x):
    """(1 + tanh u) / 2 is the sigmoid of 2 u; exp may overflow, and 1 / inf is 0."""
    return x / (1 + np.exp(-2 * A * (x + 0.044715 * x * x * x)))


def gelu_in_loops(x):
    y = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        v = float(x[index])
        y[index] = v * (1 + math.tanh(A * (v + 0.044715 * v**3))) / 2
    return y, {}


def gelu_back(dy, cache):
    x = cache["x"]
    tanh = np.tanh(A * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh**2) * A * (1 + 3 * 0.044715 * x**2))


def gelu_back_by_cosh(dy, cache):
    x, u = cache["x"], cache["u"]
    return 0.5 * dy * (1 + np.tanh(u) + x / np.cosh(u) ** 2 * A * (1 + 0.134145 * x * x))


def gelu_back_by_sigmoid(dy, cache):
    x = cache["x"]
    s = 1 / (1 + np.exp(-2 * cache["u"]))
    return dy * (s + x * s * (1 - s) * 2 * A * (1 + 0.134145 * x * x))


def gelu_back_in_loops(dy, cache):
    dx = np.zeros_like(dy)
    for index in np.ndindex(dy.shape):
        v, t = float(cache["x"][index]), float(cache["tanh"][index])
        dx[index] = dy[index] * ((1 + t) + v * (1 - t * t) * A * (1 + 3 * 0.044715 * v * v)) / 2
    return dx


def network(x, params):
    h, c_fc = plain(x, **params["c_fc"])
    g, act = gelu(h)
    y, c_proj = plain(g, **params["c_proj"])
    return y, {"c_fc": c_fc, "gelu": act, "c_proj": c_proj}


def network_neuron_by_neuron(x, params):
    fc, proj = params["c_fc"], params["c_proj"]
    y = np.zeros_like(x) + proj["bias"]
    for f in range(len(fc["bias"])):
        fires = gelu(x @ fc["weight"][:, f] + fc["bias"][f])[0]
        y = y + fires[..., None] * proj["weight"][f]
    return y


def network_back(dy, cache):
    dg, dproj_weight, dproj_bias = backward_flat(dy, cache["c_proj"])
    dh = gelu_back(dg, cache["gelu"])
    dx, dfc_weight, dfc_bias = backward_flat(dh, cache["c_fc"])
    grads = {
        "c_proj": {"weight": dproj_weight, "bias": dproj_bias},
        "c_fc": {"weight": dfc_weight, "bias": dfc_bias},
    }
    return dx, grads


def network_back_by_einsum(dy, cache):
    params, tokens = cache["params"], tuple(range(dy.ndim - 1))
    dg = np.einsum("btc,fc->btf", dy, params["c_proj"]["weight"])
    dh = gelu_back(dg, {"x": cache["h"]})
    return np.einsum("btf,cf->btc", dh, params["c_fc"]["weight"]), {
        "c_fc": {"weight": np.einsum("btc,btf->cf", cache["x"], dh), "bias": dh.sum(tokens)},
        "c_proj": {"weight": np.einsum("btf,btc->fc", cache["g"], dy), "bias": dy.sum(tokens)},
    }


RIGHT = [
    ("linear_forward", linear_forward),
    ("linear_forward", with_an_object),
    ("linear_forward", with_a_tuple),
    ("linear_forward", printed),
    ("linear_forward", plain),
    ("linear_forward", without_a_cache),
    ("linear_forward", by_einsum),
    ("linear_forward", with_a_column_of_ones),
    ("linear_forward", in_loops),
    ("linear_backward", linear_backward),
    ("linear_backward", backward_flat),
    ("linear_backward", backward_by_einsum),
    ("linear_backward", backward_token_by_token),
    ("linear_backward", backward_by_tensordot),
    ("gelu_forward", gelu_forward),
    ("gelu_forward", gelu),
    ("gelu_forward", gelu_of_numpy_numbers),
    ("gelu_forward", gelu_by_sigmoid),
    ("gelu_forward", gelu_in_loops),
    ("gelu_backward", gelu_backward),
    ("gelu_backward", gelu_back),
    ("gelu_backward", gelu_back_by_cosh),
    ("gelu_backward", gelu_back_by_sigmoid),
    ("gelu_backward", gelu_back_in_loops),
    ("feed_forward_forward", feed_forward_forward),
    ("feed_forward_forward", network),
    ("feed_forward_forward", network_neuron_by_neuron),
    ("feed_forward_backward", feed_forward_backward),
    ("feed_forward_backward", network_back),
    ("feed_forward_backward", network_back_by_einsum),
]


def as_in_pytorch(x, weight, bias):
    return x @ weight.T + bias, {}


def reshaped(x, weight, bias):
    I, O = weight.shape
    return x @ weight.reshape(O, I).transpose() + bias, {}


def no_bias(x, weight, bias):
    return np.matmul(x, weight), {}


def minus_bias(x, weight, bias):
    return x @ weight - bias, {}


def bias_first(x, weight, bias):
    return (x + bias) @ weight, {}


def bias_of_tokens(x, weight, bias):
    return x @ weight + bias.reshape(-1, 1), {}


def factors_turned(x, weight, bias):
    return weight @ x + bias, {}


def number_by_number(x, weight, bias):
    return x * weight + bias, {}


def bias_twice(x, weight, bias):
    return plain(x, weight, bias)[0] + bias, {}


def bias_as_gain(x, weight, bias):
    return (x @ weight) * bias, {}


def bias_summed(x, weight, bias):
    return x @ weight + np.sum(bias), {}


def x_added(x, weight, bias):
    return x + (x @ weight + bias), {}


def transposed_without_bias(x, weight, bias):
    return np.matmul(x, np.swapaxes(weight, 0, 1)), {}


def three_axes_only(x, weight, bias):
    return np.einsum("bti,io->bto", x, weight) + bias, {}


def with_relu(x, weight, bias):
    return np.maximum(0, x @ weight + bias), {}


def with_gelu(x, weight, bias):
    return gelu(x @ weight + bias)


def gradients(dy, cache, dx=None, dweight=None, dbias=None):
    """Right but for what is given."""
    right = backward_flat(dy, cache)
    return tuple(r if g is None else g for r, g in zip(right, (dx, dweight, dbias), strict=True))


def weight_as_it_is(dy, cache):
    return gradients(dy, cache, dx=dy @ cache["weight"])


def dweight_transposed(dy, cache):
    return gradients(dy, cache, dweight=backward_flat(dy, cache)[1].T)


def dweight_reshaped(dy, cache):
    I, O = cache["weight"].shape
    return gradients(dy, cache, dweight=cache["x"].reshape(I, -1) @ dy.reshape(-1, O))


def not_summed(dy, cache):
    dweight = np.einsum("...ti,...to->...io", cache["x"], dy)
    return gradients(dy, cache, dweight=dweight, dbias=np.sum(dy, axis=-2))


def last_sequence(dy, cache):
    for x_b, dy_b in zip(cache["x"], dy, strict=True):
        _, dweight, _ = backward_flat(dy_b, {"x": x_b, "weight": cache["weight"]})
    return gradients(dy, cache, dweight=dweight)


def first_sequence(dy, cache):
    return gradients(dy, cache, dweight=backward_flat(dy[0], cache | {"x": cache["x"][0]})[1])


def averaged(dy, cache):
    N = dy.size // dy.shape[-1]
    _, dweight, dbias = backward_flat(dy, cache)
    return gradients(dy, cache, None, dweight / N, dbias / N)


def dbias_averaged(dy, cache):
    return gradients(dy, cache, dbias=dy.mean(axis=tuple(range(dy.ndim - 1))))


def dbias_is_dy(dy, cache):
    return gradients(dy, cache, dbias=dy)


def dbias_over_batch(dy, cache):
    return gradients(dy, cache, dbias=np.sum(dy, axis=0))


def dbias_one_number(dy, cache):
    return gradients(dy, cache, dbias=np.sum(dy))


def dbias_over_outputs(dy, cache):
    return gradients(dy, cache, dbias=dy.sum(axis=-1).ravel())


def dx_reshaped(dy, cache):
    O = dy.shape[-1]
    return gradients(dy, cache, dx=dy @ cache["weight"].reshape(O, -1))


def dx_with_bias(dy, cache):
    return gradients(dy, cache, dx=backward_flat(dy, cache)[0] + cache["bias"].sum())


def dweight_not_summed(dy, cache):
    return gradients(dy, cache, dweight=np.einsum("...ti,...to->...io", cache["x"], dy))


def dweight_over_batch(dy, cache):
    return gradients(dy, cache, dweight=np.einsum("...ti,...to->...io", cache["x"], dy).sum(0))


def dweight_of_last_token(dy, cache):
    for n in np.ndindex(dy.shape[:-1]):
        dweight = cache["x"][n][:, None] * dy[n]
    return gradients(dy, cache, dweight=dweight)


def dweight_per_sequence(dy, cache):
    return gradients(dy, cache, dweight=backward_flat(dy, cache)[1] / dy.shape[0])


def dweight_of_y(dy, cache):
    return gradients(dy, cache, dweight=backward_flat(dy, cache | {"x": cache["y"]})[1])


def dbias_over_time(dy, cache):
    return gradients(dy, cache, dbias=dy.sum(axis=-2))


def dbias_over_two_axes(dy, cache):
    return gradients(dy, cache, dbias=np.sum(dy, (0, 1)))


def dbias_of_first_sequence(dy, cache):
    return gradients(dy, cache, dbias=backward_flat(dy[0], cache | {"x": cache["x"][0]})[2])


def dbias_of_first_token(dy, cache):
    return gradients(dy, cache, dbias=dy.reshape(-1, dy.shape[-1])[0])


def dbias_of_dx(dy, cache):
    dx = backward_flat(dy, cache)[0]
    return gradients(dy, cache, dbias=dx.sum(axis=tuple(range(dx.ndim - 1))))


def dbias_times_bias(dy, cache):
    return gradients(dy, cache, dbias=backward_flat(dy, cache)[2] * cache["bias"])


def dx_and_dweight_wrong(dy, cache):
    return gradients(dy, cache, dy @ cache["weight"], backward_flat(dy, cache)[1] / dy[..., 0].size)


def only_two(dy, cache):
    return backward_flat(dy, cache)[:2]


def another_order(dy, cache):
    dx, dweight, dbias = backward_flat(dy, cache)
    return dx, dbias, dweight


def dweight_with_weight(dy, cache):
    return gradients(dy, cache, dweight=cache["weight"] * backward_flat(dy, cache)[1])


def sum_in_place(dy, cache):
    dx, dweight, _ = backward_flat(dy, cache)
    rows = dy.reshape(-1, dy.shape[-1])
    dbias = rows[0]
    for row in rows[1:]:
        dbias += row
    return dx, dweight, dbias


def gated(x, u):
    return x * (1 + np.tanh(u)) / 2, {}


def erf_form(x):
    y = [v * 0.5 * (1 + math.erf(v / 2**0.5)) for v in x.ravel().tolist()]
    return np.array(y, x.dtype).reshape(x.shape), {}


def sigmoid_form(x):
    return x * (1 / (1 + np.exp(-1.702 * x))), {}


def silu(x):
    return x * (1 / (1 + np.exp(-x))), {}


def relu(x):
    return x * (x > 0), {}


def squared(x):
    return gated(x, A * (x + 0.044715 * x**2))


def no_cubic_term(x):
    return gated(x, A * x)


def bracket_too_early(x):
    return gated(x, A * x + 0.044715 * x**3)


def no_root(x):
    return gated(x, 2 / math.pi * (x + 0.044715 * x**3))


def root_of_two(x):
    return gated(x, math.sqrt(2) / math.pi * (x + 0.044715 * x**3))


def root_of_two_pi(x):
    return gated(x, (2 * math.pi) ** 0.5 * (x + 0.044715 * x**3))


def no_factor(x):
    return gated(x, x + 0.044715 * x**3)


def digit_lost(x):
    return gated(x, A * (x + 0.44715 * x**3))


def no_half(x):
    return x * (1 + np.tanh(A * (x + 0.044715 * x**3))), {}


def no_one(x):
    return 0.5 * x * np.tanh(A * (x + 0.044715 * x**3)), {}


def gate_alone(x):
    return 0.5 * (1 + np.tanh(A * (x + 0.044715 * x**3))), {}


def erf_without_root(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x)), {}


def sigmoid_of_u(x):
    return 0.5 * x * (1 + 1 / (1 + np.exp(-A * (x + 0.044715 * x**3)))), {}


def cube_alone(x):
    return gated(x, A * (x + x * x * x))


def minus_cube(x):
    return gated(x, A * (x - 0.044715 * x**3))


def three_times(x):
    return gated(x, A * (x + 0.044715 * x * 3))


def constant_cubed(x):
    return gated(x, A * (x + np.power(0.044715 * x, 3)))


def bracket_cubed(x):
    return gated(x, A * np.power(x + 0.044715 * x, 3))


def root_of_pi(x):
    return gated(x, 2 / math.pi**0.5 * (x + 0.044715 * x**3))


def upside_down(x):
    return gated(x, (math.pi / 2) ** 0.5 * (x + 0.044715 * x**3))


def two_halves(x):
    return gelu(x)[0] / 2, {}


def closing(x):
    return gated(x, -A * (x + 0.044715 * x**3))


def bracket_lost(x):
    return x / 2 + np.tanh(A * (x + 0.044715 * x**3)), {}


def gate_added(x):
    return x + gate_alone(x)[0], {}


def gate_of_u(x):
    u = A * (x + 0.044715 * x**3)
    return gated(u, u)


def caret(x):
    return 0.5 * x * (1 + np.tanh(A * (x + 0.044715 * x ^ 3))), {}


def rounded(x):
    return gated(x, 0.8 * (x + 0.0447 * x**3))


def erf_without_half(x):
    return 2 * erf_form(x)[0], {}


def squared_without_root(x):
    return gated(x, 2 / math.pi * (x + 0.044715 * x**2))


def by_exp(x):
    u = A * (x + 0.044715 * x**3)
    plus, minus = np.exp(u), np.exp(-u)
    return 0.5 * x * (1 + (plus - minus) / (plus + minus)), {}


def by_exp_of_minus(x):
    e = np.exp(-2 * A * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + (1 - e) / (1 + e)), {}


def by_exp_of_plus(x):
    e = np.exp(2 * A * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + (e - 1) / (e + 1)), {}


def gated_in_place(x):
    gate = 0.5 * (1 + np.tanh(A * (x + 0.044715 * x**3)))
    x *= gate
    return x, {}


def slope(cache, du, dtanh=None):
    t = cache["tanh"]
    dtanh = 1 - t**2 if dtanh is None else dtanh
    return 0.5 * (1 + t) + 0.5 * cache["x"] * dtanh * du


def right_du(cache):
    return A * (1 + 3 * 0.044715 * cache["x"] ** 2)


def gate_is_constant(dy, cache):
    return dy * 0.5 * (1 + cache["tanh"])


def second_term_alone(dy, cache):
    return dy * 0.5 * cache["x"] * (1 - cache["tanh"] ** 2) * right_du(cache)


def no_inner_derivative(dy, cache):
    return dy * slope(cache, 1)


def no_sech(dy, cache):
    return dy * slope(cache, right_du(cache), 1)


def sech_not_squared(dy, cache):
    return dy * slope(cache, right_du(cache), 1 - cache["tanh"])


def no_three(dy, cache):
    return dy * slope(cache, A * (1 + 0.044715 * cache["x"] ** 2))


def still_cubed(dy, cache):
    return dy * slope(cache, A * (1 + 3 * 0.044715 * cache["x"] ** 3))


def power_one(dy, cache):
    return dy * slope(cache, A * (1 + 3 * 0.044715 * cache["x"]))


def du_without_root(dy, cache):
    return dy * slope(cache, 1 + 3 * 0.044715 * cache["x"] ** 2)


def no_x(dy, cache):
    return dy * 0.5 * (1 + cache["tanh"] + (1 - cache["tanh"] ** 2) * right_du(cache))


def half_of_the_first(dy, cache):
    return dy * (0.5 * (1 + cache["tanh"]) + cache["x"] * (1 - cache["tanh"] ** 2) * right_du(cache))


def slope_twice(dy, cache):
    return dy * (1 + cache["tanh"] + cache["x"] * (1 - cache["tanh"] ** 2) * right_du(cache))


def slope_alone(dy, cache):
    return slope(cache, right_du(cache))


def terms_multiplied(dy, cache):
    return dy * 0.5 * (1 + cache["tanh"]) * cache["x"] * (1 - cache["tanh"] ** 2) * right_du(cache)


def terms_subtracted(dy, cache):
    return dy * slope(cache, -right_du(cache))


def sech_of_u(dy, cache):
    return dy * slope(cache, right_du(cache), 1 - cache["u"] ** 2)


def sech_with_plus(dy, cache):
    return dy * slope(cache, right_du(cache), 1 + cache["tanh"] ** 2)


def tanh_twice(dy, cache):
    return gelu_back_of(dy, cache, np.tanh(cache["tanh"]))


def u_for_tanh(dy, cache):
    return gelu_back_of(dy, cache, cache["u"])


def tanh_of_x(dy, cache):
    return gelu_back_of(dy, cache, np.tanh(cache["x"]))


def gelu_back_of(dy, cache, tanh):
    return dy * slope(cache | {"tanh": tanh}, right_du(cache))


def du_of_x_alone(dy, cache):
    return dy * slope(cache, A)


def du_of_cube_alone(dy, cache):
    return dy * slope(cache, A * 3 * 0.044715 * cache["x"] ** 2)


def du_with_x(dy, cache):
    return dy * slope(cache, A * (cache["x"] + 3 * 0.044715 * cache["x"] ** 2))


def u_for_du(dy, cache):
    return dy * slope(cache, cache["u"])


def du_digit_lost(dy, cache):
    return dy * slope(cache, A * (1 + 3 * 0.44715 * cache["x"] ** 2))


def du_root_of_two(dy, cache):
    return dy * slope(cache, 2**0.5 / math.pi * (1 + 3 * 0.044715 * cache["x"] ** 2))


def du_bracket_too_early(dy, cache):
    return dy * slope(cache, A + 3 * 0.044715 * cache["x"] ** 2)


def y_for_x(dy, cache):
    return dy * (0.5 * (1 + cache["tanh"]) + 0.5 * cache["y"] * (1 - cache["tanh"] ** 2) * right_du(cache))


def gate_without_one(dy, cache):
    return dy * (slope(cache, right_du(cache)) - 0.5)


def dy_added(dy, cache):
    return dy + slope(cache, right_du(cache))


def gelu_for_slope(dy, cache):
    return cache["y"] * dy


def subtracted_without_three(dy, cache):
    return dy * slope(cache, -A * (1 + 0.044715 * cache["x"] ** 2))


def pair_returned(dy, cache):
    return gelu_back(dy, cache), cache


def erf_slope(dy, cache):
    x = cache["x"]
    Phi = np.array([0.5 * (1 + math.erf(v / 2**0.5)) for v in x.ravel().tolist()], x.dtype).reshape(x.shape)
    return dy * (Phi + x * np.exp(-x * x / 2) / (2 * math.pi) ** 0.5)


def relu_slope(dy, cache):
    return np.where(cache["x"] > 0, dy, 0)


def dy_in_place(dy, cache):
    dy *= slope(cache, right_du(cache))
    return dy


def two_layers(x, params, between=lambda h: gelu(h)[0]):
    h = between(x @ params["c_fc"]["weight"] + params["c_fc"]["bias"])
    return h @ params["c_proj"]["weight"] + params["c_proj"]["bias"]


def nothing_between(x, params):
    return two_layers(x, params, lambda h: h), {}


def relu_between(x, params):
    return two_layers(x, params, lambda h: np.where(h > 0, h, 0)), {}


def gelu_twice(x, params):
    return gelu(two_layers(x, params))


def gelu_first(x, params):
    return two_layers(gelu(x)[0], params, lambda h: h), {}


def residual(x, params):
    return x + two_layers(x, params), {}


def gelu_on_gelu(x, params):
    return two_layers(x, params, lambda h: gelu(gelu(h)[0])[0]), {}


def gelu_at_both_ends(x, params):
    return two_layers(gelu(x)[0], params), {}


def no_first_bias(x, params):
    return two_layers(x, {"c_fc": {**params["c_fc"], "bias": 0}, "c_proj": params["c_proj"]}), {}


def no_last_bias(x, params):
    return two_layers(x, params) - params["c_proj"]["bias"], {}


def gelu_only_at_the_end(x, params):
    return gelu(two_layers(x, params, lambda h: h))


def gelu_taken_whole(x, params):
    h, _ = plain(x, **params["c_fc"])
    return gelu(h), {}


def network_gradients(dy, cache, dh, g):
    dg, dproj_weight, dproj_bias = backward_flat(dy, {"x": g, "weight": cache["params"]["c_proj"]["weight"]})
    dx, dfc_weight, dfc_bias = backward_flat(dh(dg), cache["c_fc"])
    return dx, {
        "c_fc": {"weight": dfc_weight, "bias": dfc_bias},
        "c_proj": {"weight": dproj_weight, "bias": dproj_bias},
    }


def gelu_skipped(dy, cache):
    return network_gradients(dy, cache, lambda dg: dg, cache["g"])


def slope_at_g(dy, cache):
    return network_gradients(dy, cache, lambda dg: gelu_back(dg, {"x": cache["g"]}), cache["g"])


def h_for_g(dy, cache):
    return network_gradients(dy, cache, lambda dg: gelu_back(dg, {"x": cache["h"]}), cache["h"])


def gelu_as_slope(dy, cache):
    return network_gradients(dy, cache, lambda dg: dg * cache["g"], cache["g"])


def layers_exchanged(dy, cache):
    dx, grads = network_back(dy, cache)
    return dx, dict(zip(grads, reversed(grads.values()), strict=True))


def pairs_for_dicts(dy, cache):
    dx, grads = network_back(dy, cache)
    return dx, {name: (layer["weight"], layer["bias"]) for name, layer in grads.items()}


def residual_back(dy, cache):
    dx, grads = network_back(dy, cache)
    return dx + dy, grads


WRONG = [
    ("linear_forward", as_in_pytorch, "as PyTorch stores it"),
    ("linear_forward", reshaped, "A reshape is not a transpose"),
    ("linear_forward", no_bias, "bias is missing"),
    ("linear_forward", minus_bias, "bias is subtracted"),
    ("linear_forward", bias_first, "added to x, before the product"),
    ("linear_forward", bias_of_tokens, "bias runs along the tokens"),
    ("linear_forward", factors_turned, "weight comes first in the product"),
    ("linear_forward", number_by_number, "multiplies number by number"),
    ("linear_forward", bias_twice, "bias is added twice"),
    ("linear_forward", bias_as_gain, "bias multiplies. It is a shift"),
    ("linear_forward", bias_summed, "bias is made one number"),
    ("linear_forward", x_added, "x is added to the result"),
    ("linear_forward", transposed_without_bias, "2 things at once. (1) weight is transposed"),
    ("linear_forward", three_axes_only, "The letters of einsum"),
    ("linear_forward", with_relu, "Negative outputs are cut off"),
    ("linear_forward", with_gelu, "An activation function is already there"),
    ("linear_backward", weight_as_it_is, "as the forward pass does"),
    ("linear_backward", dweight_transposed, "dweight is transposed"),
    ("linear_backward", dweight_reshaped, "a reshape in place of a transpose"),
    ("linear_backward", not_summed, "2 things at once. (1) dweight still has the axes"),
    ("linear_backward", dweight_not_summed, "dweight still has the axes of the batch"),
    ("linear_backward", dweight_over_batch, "dweight is summed over the first axis only"),
    ("linear_backward", dweight_of_last_token, "dweight is that of only one token"),
    ("linear_backward", dweight_per_sequence, "dweight is a mean over the tokens"),
    ("linear_backward", dweight_of_y, "dweight is made with y"),
    ("linear_backward", dx_reshaped, "dx has been made with a reshape"),
    ("linear_backward", dx_with_bias, "bias is added to dx"),
    ("linear_backward", dbias_over_time, "over the tokens of each sequence only"),
    ("linear_backward", dbias_over_two_axes, "over the first two axes"),
    ("linear_backward", dbias_of_first_sequence, "dbias is that of only one sequence"),
    ("linear_backward", dbias_of_first_token, "dbias is that of only one token"),
    ("linear_backward", dbias_of_dx, "dbias is made from dx"),
    ("linear_backward", dbias_times_bias, "dbias is multiplied by bias"),
    ("linear_backward", dx_and_dweight_wrong, "2 things at once. (1) dx uses weight"),
    ("linear_backward", only_two, "Expected are 3 results"),
    ("linear_backward", last_sequence, "dweight is that of only one sequence"),
    ("linear_backward", first_sequence, "dweight is that of only one sequence"),
    ("linear_backward", averaged, "(2) dbias is a mean over the tokens"),
    ("linear_backward", dbias_averaged, "dbias is a mean over the tokens"),
    ("linear_backward", dbias_is_dy, "dbias is dy itself"),
    ("linear_backward", dbias_over_batch, "dbias is summed over the first axis only"),
    ("linear_backward", dbias_one_number, "dbias is one number"),
    ("linear_backward", dbias_over_outputs, "summed over the outputs"),
    ("linear_backward", another_order, "in the wrong order"),
    ("linear_backward", dweight_with_weight, "dweight is multiplied by weight"),
    ("linear_backward", sum_in_place, "An operation in place"),
    ("gelu_forward", erf_form, "This is the erf form"),
    ("gelu_forward", sigmoid_form, "the approximation with a sigmoid"),
    ("gelu_forward", silu, "SiLU or swish"),
    ("gelu_forward", relu, "This is the ReLU"),
    ("gelu_forward", squared, "x is not cubed in u"),
    ("gelu_forward", no_cubic_term, "The cubic term in u is missing"),
    ("gelu_forward", bracket_too_early, "multiplies only x"),
    ("gelu_forward", no_root, "no root over 2/pi"),
    ("gelu_forward", root_of_two, "The root covers only 2"),
    ("gelu_forward", root_of_two_pi, "on the wrong side of the fraction"),
    ("gelu_forward", no_factor, "The factor before u is missing"),
    ("gelu_forward", digit_lost, "begins with two zeros"),
    ("gelu_forward", no_half, "It is twice as large as it should be"),
    ("gelu_forward", no_one, "The 1 is missing"),
    ("gelu_forward", gate_alone, "It is only the gate"),
    ("gelu_forward", erf_without_root, "The gate has erf of x itself"),
    ("gelu_forward", sigmoid_of_u, "a sigmoid of u in place of its tanh"),
    ("gelu_forward", cube_alone, "The cubic term in u has no constant"),
    ("gelu_forward", minus_cube, "The cubic term in u is subtracted"),
    ("gelu_forward", three_times, "x is not cubed in u"),
    ("gelu_forward", constant_cubed, "The power covers too much"),
    ("gelu_forward", bracket_cubed, "The power covers too much"),
    ("gelu_forward", root_of_pi, "The root covers only pi"),
    ("gelu_forward", upside_down, "on the wrong side of the fraction"),
    ("gelu_forward", two_halves, "There is one 1/2 too many"),
    ("gelu_forward", closing, "The gate opens the wrong way"),
    ("gelu_forward", bracket_lost, "A bracket is missing"),
    ("gelu_forward", gate_added, "The gate is added to x"),
    ("gelu_forward", gate_of_u, "The gate multiplies u"),
    ("gelu_forward", caret, "`^` is not a power"),
    ("gelu_forward", rounded, "y is nearly right, off by"),
    ("gelu_forward", erf_without_half, "2 things at once. (1) This is the erf form"),
    ("gelu_forward", squared_without_root, "2 things at once. (1) x is not cubed"),
    ("gelu_forward", by_exp, "exp overflows"),
    ("gelu_forward", by_exp_of_minus, "exp overflows"),
    ("gelu_forward", by_exp_of_plus, "exp overflows"),
    ("gelu_forward", gated_in_place, "An operation in place"),
    ("gelu_backward", gate_is_constant, "The gate is treated as a constant"),
    ("gelu_backward", second_term_alone, "The gate itself is missing"),
    ("gelu_backward", no_inner_derivative, "The chain rule stops at u"),
    ("gelu_backward", no_sech, "The derivative of tanh is missing"),
    ("gelu_backward", sech_not_squared, "something in it is squared"),
    ("gelu_backward", no_three, "a factor of the cubic term is missing"),
    ("gelu_backward", still_cubed, "a wrong power of x"),
    ("gelu_backward", power_one, "a wrong power of x"),
    ("gelu_backward", du_without_root, "the number before the bracket is missing"),
    ("gelu_backward", no_x, "lacks the factor x"),
    ("gelu_backward", half_of_the_first, "belongs to both terms"),
    ("gelu_backward", slope_twice, "dx is twice as large as it should be"),
    ("gelu_backward", slope_alone, "dy does not occur"),
    ("gelu_backward", terms_multiplied, "The two terms of the product rule are multiplied"),
    ("gelu_backward", terms_subtracted, "The second term is subtracted"),
    ("gelu_backward", sech_of_u, "is made with another number than tanh u"),
    ("gelu_backward", sech_with_plus, "a plus in place of the minus"),
    ("gelu_backward", tanh_twice, "tanh has been taken twice"),
    ("gelu_backward", u_for_tanh, "u stands in the place of tanh u"),
    ("gelu_backward", tanh_of_x, "tanh is taken of x"),
    ("gelu_backward", du_of_x_alone, "the cubic term is missing, or is zero"),
    ("gelu_backward", du_of_cube_alone, "there is only the cubic term's"),
    ("gelu_backward", du_with_x, "one x is still there"),
    ("gelu_backward", u_for_du, "stands u itself"),
    ("gelu_backward", du_digit_lost, "has one digit too few"),
    ("gelu_backward", du_root_of_two, "the number before the bracket is another one"),
    ("gelu_backward", du_bracket_too_early, "multiplies only the first term"),
    ("gelu_backward", y_for_x, "stands y in place of x"),
    ("gelu_backward", gate_without_one, "The gate lacks its 1"),
    ("gelu_backward", dy_added, "dy is added. What"),
    ("gelu_backward", gelu_for_slope, "It is multiplied by the GELU itself"),
    ("gelu_backward", subtracted_without_three, "2 things at once. (1) The second term is subtracted"),
    ("gelu_backward", pair_returned, "A tuple of 2 came back"),
    ("gelu_backward", erf_slope, "the derivative of the erf form"),
    ("gelu_backward", relu_slope, "the derivative of the ReLU"),
    ("gelu_backward", dy_in_place, "An operation in place"),
    ("feed_forward_forward", nothing_between, "nothing between the two linear layers"),
    ("feed_forward_forward", relu_between, "a ReLU between the two layers"),
    ("feed_forward_forward", gelu_twice, "a GELU after the second layer"),
    ("feed_forward_forward", gelu_first, "2 things at once. (1) There is nothing between"),
    ("feed_forward_forward", gelu_on_gelu, "The GELU comes twice"),
    ("feed_forward_forward", gelu_at_both_ends, "a GELU before the first layer"),
    ("feed_forward_forward", no_first_bias, "The bias of the first layer"),
    ("feed_forward_forward", no_last_bias, "The bias of the second layer"),
    ("feed_forward_forward", gelu_only_at_the_end, "(2) There is a GELU after the second layer"),
    ("feed_forward_forward", gelu_taken_whole, "y is itself a tuple"),
    ("feed_forward_forward", residual, "x is added to the result"),
    ("feed_forward_backward", gelu_skipped, "as if it were not there"),
    ("feed_forward_backward", slope_at_g, "taken after it, at g"),
    ("feed_forward_backward", h_for_g, "is made with h"),
    ("feed_forward_backward", gelu_as_slope, "multiplied by the GELU itself on its way back"),
    ("feed_forward_backward", layers_exchanged, "The gradients of the two layers are exchanged"),
    ("feed_forward_backward", pairs_for_dicts, "The names in grads are not as expected"),
    ("feed_forward_backward", residual_back, "dy is added to dx"),
]
