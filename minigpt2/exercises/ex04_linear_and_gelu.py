"""Exercise 4, linear layer and GELU: the parts of the feed-forward network."""

import functools
import math

import numpy as np

from minigpt2.components.feed_forward import (
    CUBIC,
    SQRT_2_OVER_PI,
    feed_forward_backward,
    feed_forward_forward,
    gelu_backward,
    gelu_forward,
)
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_4_feed_forward"


def _affine(rng, I, O):
    return {"weight": rng.standard_normal((I, O)), "bias": 1 + rng.standard_normal(O)}


def _inputs(rng, O, *shape):
    return {"x": rng.standard_normal(shape), **_affine(rng, shape[-1], O)}


def _cases(rng):
    return [
        Case("two sequences of three tokens, four inputs, five outputs", _inputs(rng, 5, 2, 3, 4)),
        Case("as many outputs as inputs", _inputs(rng, 4, 2, 3, 4)),
        Case("one token, one output", _inputs(rng, 1, 1, 1, 6)),
        Case("one input", _inputs(rng, 3, 2, 4, 1)),
        Case("B = T = I = O", _inputs(rng, 3, 3, 3, 3)),
        Case("no axis of time", _inputs(rng, 2, 5, 3)),
        Case("four axes", _inputs(rng, 3, 2, 1, 4, 2)),
    ]


LINEAR_FORWARD = Task(
    name="linear_forward",
    outputs=("y",),
    reference=linear_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "weight is transposed, as PyTorch stores it. Here it is (I, O): where I = O NumPy does not complain, and "
            "the numbers are wrong.",
            lambda x, weight, bias: x @ weight.T + bias,
        ),
        Mistake(
            "A reshape is not a transpose: it reads the numbers in the same order and only breaks the lines elsewhere. "
            "And is a transpose needed?",
            lambda x, weight, bias: x @ weight.reshape(weight.shape[::-1]).T + bias,
        ),
        Mistake(
            "bias is missing.",
            lambda x, weight, bias: x @ weight,
        ),
        Mistake(
            "bias is subtracted.",
            lambda x, weight, bias: x @ weight - bias,
        ),
        Mistake(
            "bias is added to x, before the product. It belongs to the outputs.",
            lambda x, weight, bias: (x + bias) @ weight,
        ),
        Mistake(
            "bias runs along the tokens. There is one number for each output, and all tokens share it.",
            lambda x, weight, bias: x @ weight + bias[:, None],
        ),
        Mistake(
            "Negative outputs are cut off: there is one activation function too many. A linear layer has none.",
            lambda x, weight, bias: np.maximum(x @ weight + bias, 0),
        ),
        Mistake(
            "An activation function is already there. It comes later, as a separate function.",
            lambda x, weight, bias: gelu_forward(x @ weight + bias)[0],
        ),
    ),
)


def _linear(x, weight, bias):
    """Our forward pass, with everything that a backward pass may want in the cache."""
    y, cache = linear_forward(x, weight, bias)
    return y, cache | {"bias": bias, "y": y}


def _rows(array):
    return array.reshape(-1, array.shape[-1])


def _gradients(dy, cache, dx=None, dweight=None, dbias=None):
    """The right gradients, except for those that are given."""
    right = linear_backward(dy, cache)
    return tuple(r if g is None else g for r, g in zip(right, (dx, dweight, dbias), strict=True))


LINEAR_BACKWARD = Task(
    name="linear_backward",
    outputs=("dx", "dweight", "dbias"),
    reference=linear_backward,
    forward=_linear,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "dx uses weight as the forward pass does. On the way back O numbers become I: which sum is that? Where I = "
            "O NumPy does not complain.",
            lambda dy, cache: _gradients(dy, cache, dx=dy @ cache["weight"]),
        ),
        Mistake(
            "dweight is transposed. A gradient has the shape of its array; where I = O only the numbers tell.",
            lambda dy, cache: _gradients(dy, cache, dweight=_rows(dy).T @ _rows(cache["x"])),
        ),
        Mistake(
            "dweight has been made with a reshape in place of a transpose: numbers of different tokens and "
            "inputs get mixed.",
            lambda dy, cache: _gradients(
                dy, cache, dweight=cache["x"].reshape(cache["x"].shape[-1], -1) @ _rows(dy)
            ),
        ),
        Mistake(
            "dweight and dbias still have the axes of the batch. The whole batch shares weight and bias, so their "
            "gradients are sums over it.",
            lambda dy, cache: _gradients(
                dy, cache, dweight=np.swapaxes(cache["x"], -1, -2) @ dy, dbias=dy.sum(-2)
            ),
        ),
        Mistake(
            "dweight is that of only one sequence, the first or the last. Does something overwrite the others?",
            lambda dy, cache: _gradients(dy, cache, dweight=_rows(cache["x"][-1]).T @ _rows(dy[-1])),
        ),
        Mistake(
            "dweight is that of only one sequence, the first or the last. Does something overwrite the others?",
            lambda dy, cache: _gradients(dy, cache, dweight=_rows(cache["x"][0]).T @ _rows(dy[0])),
        ),
        Mistake(
            "dweight and dbias are means over the tokens. If there is a 1/N in the loss, then dy has it already.",
            lambda dy, cache: _gradients(
                dy, cache, None, linear_backward(dy, cache)[1] / len(_rows(dy)), _rows(dy).mean(0)
            ),
        ),
        Mistake(
            "dbias is dy itself. bias acts on every token: what does the chain rule do when a number acts in many "
            "ways?",
            lambda dy, cache: _gradients(dy, cache, dbias=dy),
        ),
        Mistake(
            "dbias is summed over the first axis only. Over which axes of y is bias shared?",
            lambda dy, cache: _gradients(dy, cache, dbias=dy.sum(0)),
        ),
        Mistake(
            "dbias is one number, the sum over all axes. Each output has its own bias.",
            lambda dy, cache: _gradients(dy, cache, dbias=dy.sum()),
        ),
        Mistake(
            "dbias is summed over the outputs. Which axis has to be left?",
            lambda dy, cache: _gradients(dy, cache, dbias=_rows(dy).sum(1)),
        ),
        Mistake(
            "The gradients are in the wrong order: it is x, weight, bias, as in the forward pass.",
            lambda dy, cache: tuple(linear_backward(dy, cache)[i] for i in (0, 2, 1)),
        ),
        Mistake(
            "dweight is multiplied by weight, or made with it. By how much does y change with one number of weight?",
            lambda dy, cache: _gradients(dy, cache, dweight=linear_backward(dy, cache)[1] * cache["weight"]),
        ),
    ),
)


def _gelu_cases(rng):
    return [
        Case("two sequences of three tokens, four channels", {"x": 2 * rng.standard_normal((2, 3, 4))}),
        Case("from -4 to 4, where it bends", {"x": np.linspace(-4, 4, 33)}),
        Case("zero and numbers near it", {"x": np.array([[0.0, 1e-3, -1e-3, 1e-9, -1e-9]])}),
        Case("negative numbers only", {"x": -0.1 - np.abs(rng.standard_normal((3, 4)))}),
        Case("large numbers of either sign", {"x": np.array([[-1000.0, -30.0, -10.0], [10.0, 30.0, 1000.0]])}),
        Case("four axes", {"x": rng.standard_normal((2, 1, 3, 2))}),
    ]


def _u(x, inner=SQRT_2_OVER_PI, cubic=CUBIC, power=3):
    return inner * (x + cubic * x**power)


def _gated(x, u):
    return 0.5 * x * (1 + np.tanh(u))


def _tanh_by_exp(u):
    return (np.exp(u) - np.exp(-u)) / (np.exp(u) + np.exp(-u))


def _tanh_by_exp_of_minus(u):
    return (1 - np.exp(-2 * u)) / (1 + np.exp(-2 * u))


def _tanh_by_exp_of_plus(u):
    return (np.exp(2 * u) - 1) / (np.exp(2 * u) + 1)


def _phi(x):
    """The normal distribution's probability below x."""
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _overflowing(tanh):
    return Mistake(
        "exp overflows for large numbers, and infinity divided by infinity is NaN. NumPy has the function that you "
        "build here, and avoids that.",
        lambda x: 0.5 * x * (1 + tanh(_u(x))),
    )


GELU_FORWARD = Task(
    name="gelu_forward",
    outputs=("y",),
    reference=gelu_forward,
    has_cache=True,
    cases=_gelu_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "This is the erf form. GPT-2 was trained with the tanh form, which differs from it in the fourth digit.",
            lambda x: x * _phi(x),
        ),
        Mistake(
            "This is the approximation with a sigmoid, x sigmoid(1.702 x). GPT-2 was trained with the tanh form.",
            lambda x: x / (1 + np.exp(-1.702 * x)),
        ),
        Mistake(
            "This is x sigmoid(x), which is called SiLU or swish. The GELU's gate has another formula.",
            lambda x: x / (1 + np.exp(-x)),
        ),
        Mistake(
            "This is the ReLU. The GELU is its rounded relative.",
            lambda x: np.maximum(x, 0),
        ),
        Mistake(
            "x is squared in u, not cubed. With a square the gate would not be the same for both signs.",
            lambda x: _gated(x, _u(x, power=2)),
        ),
        Mistake(
            "The cubic term in u is missing, or is zero.",
            lambda x: _gated(x, _u(x, cubic=0)),
        ),
        Mistake(
            "The root of 2/pi multiplies only x. What does the bracket in u hold?",
            lambda x: _gated(x, SQRT_2_OVER_PI * x + CUBIC * x**3),
        ),
        Mistake(
            "There is no root over 2/pi.",
            lambda x: _gated(x, _u(x, 2 / math.pi)),
        ),
        Mistake(
            "The root covers only 2 and not pi. Count the brackets.",
            lambda x: _gated(x, _u(x, math.sqrt(2) / math.pi)),
        ),
        Mistake(
            "pi is under the root, but on the wrong side of the fraction.",
            lambda x: _gated(x, _u(x, math.sqrt(2 * math.pi))),
        ),
        Mistake(
            "The factor before u is missing.",
            lambda x: _gated(x, _u(x, 1)),
        ),
        Mistake(
            "The constant of the cubic term has one digit too few: 0.044715 begins with two zeros.",
            lambda x: _gated(x, _u(x, cubic=0.44715)),
        ),
        Mistake(
            "It is twice as large as it should be: a gate lies between 0 and 1, and 1 + tanh u between 0 and 2.",
            lambda x: x * (1 + np.tanh(_u(x))),
        ),
        Mistake(
            "The 1 is missing: tanh u lies between -1 and 1, so a negative x comes out positive.",
            lambda x: 0.5 * x * np.tanh(_u(x)),
        ),
        Mistake(
            "It is only the gate. What does it multiply?",
            lambda x: 0.5 * (1 + np.tanh(_u(x))),
        ),
        _overflowing(_tanh_by_exp),
        _overflowing(_tanh_by_exp_of_minus),
        _overflowing(_tanh_by_exp_of_plus),
    ),
)


def _gelu(x):
    """Our forward pass, with everything that a backward pass may want in the cache."""
    y, cache = gelu_forward(x)
    return y, cache | {"u": _u(x), "y": y}


def _slope(cache, du=None, dtanh=None, gate=1.0):
    """dy/dx = gate (1 + tanh u) / 2 + x dtanh du / 2, or with other factors."""
    x, tanh = cache["x"], cache["tanh"]
    du = SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x) if du is None else du
    dtanh = 1 - tanh * tanh if dtanh is None else dtanh
    return 0.5 * (gate * (1 + tanh) + x * dtanh * du)


GELU_BACKWARD = Task(
    name="gelu_backward",
    outputs=("dx",),
    reference=gelu_backward,
    forward=_gelu,
    cases=_gelu_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The gate is treated as a constant. x moves it as well: the product rule has a second term.",
            lambda dy, cache: dy * _slope(cache, du=0),
        ),
        Mistake(
            "The gate itself is missing. The product rule has two terms, and this is the second one.",
            lambda dy, cache: dy * _slope(cache, gate=0),
        ),
        Mistake(
            "The chain rule stops at u, which is a function of x too: multiply by its derivative.",
            lambda dy, cache: dy * _slope(cache, du=1),
        ),
        Mistake(
            "The derivative of tanh is missing in the second term.",
            lambda dy, cache: dy * _slope(cache, dtanh=1),
        ),
        Mistake(
            "The derivative of tanh is not 1 - tanh: something in it is squared.",
            lambda dy, cache: dy * _slope(cache, dtanh=1 - cache["tanh"]),
        ),
        Mistake(
            "In the derivative of u there is no 3. What is the derivative of x^3?",
            lambda dy, cache: dy * _slope(cache, SQRT_2_OVER_PI * (1 + CUBIC * cache["x"] ** 2)),
        ),
        Mistake(
            "In the derivative of u there is still an x^3, or an x. Which power is in the derivative of x^3?",
            lambda dy, cache: dy * _slope(cache, SQRT_2_OVER_PI * (1 + 3 * CUBIC * cache["x"] ** 3)),
        ),
        Mistake(
            "In the derivative of u there is still an x^3, or an x. Which power is in the derivative of x^3?",
            lambda dy, cache: dy * _slope(cache, SQRT_2_OVER_PI * (1 + 3 * CUBIC * cache["x"])),
        ),
        Mistake(
            "In the derivative of u the factor sqrt(2/pi) is missing.",
            lambda dy, cache: dy * _slope(cache, 1 + 3 * CUBIC * cache["x"] ** 2),
        ),
        Mistake(
            "The second term lacks the factor x: the product rule leaves it unchanged where the gate is "
            "differentiated.",
            lambda dy, cache: dy * (0.5 * (1 + cache["tanh"]) + _second_term(cache) / 2),
        ),
        Mistake(
            "The 1/2 belongs to both terms of the product rule.",
            lambda dy, cache: dy * (0.5 * (1 + cache["tanh"]) + cache["x"] * _second_term(cache)),
        ),
        Mistake(
            "dx is twice as large as it should be: there is a 1/2 in the forward pass.",
            lambda dy, cache: 2 * dy * _slope(cache),
        ),
        Mistake(
            "dy does not occur. This is the slope of the GELU; the chain rule continues from there.",
            lambda dy, cache: _slope(cache),
        ),
        Mistake(
            "This is the derivative of the erf form. Yours must be that of the forward pass, the tanh form.",
            lambda dy, cache: dy * (
                _phi(cache["x"]) + cache["x"] * np.exp(-(cache["x"] ** 2) / 2) / math.sqrt(2 * math.pi)
            ),
        ),
        Mistake(
            "This is the derivative of the ReLU.",
            lambda dy, cache: dy * (cache["x"] > 0),
        ),
    ),
)


def _second_term(cache):
    """The derivative of tanh u with respect to x."""
    return (1 - cache["tanh"] ** 2) * SQRT_2_OVER_PI * (1 + 3 * CUBIC * cache["x"] ** 2)


# The harder part: both together.


def _network(rng, F, *shape):
    C = shape[-1]
    return {
        "x": rng.standard_normal(shape),
        "params": {"c_fc": _affine(rng, C, F), "c_proj": _affine(rng, F, C)},
    }


def _network_cases(rng):
    return [
        Case("two sequences of three tokens, four channels, seven inner ones", _network(rng, 7, 2, 3, 4)),
        Case("B = T = C = F", _network(rng, 3, 3, 3, 3)),
        Case("one token", _network(rng, 8, 1, 1, 2)),
        Case("one inner channel", _network(rng, 1, 2, 2, 3)),
    ]


def _apply(x, params):
    return x @ params["weight"] + params["bias"]


def _network_without(x, params, first=lambda h: gelu_forward(h)[0], last=lambda y: y):
    """The network with another function after its first or its last layer."""
    return last(_apply(first(_apply(x, params["c_fc"])), params["c_proj"]))


FEED_FORWARD_FORWARD = Task(
    name="feed_forward_forward",
    outputs=("y",),
    reference=feed_forward_forward,
    has_cache=True,
    cases=_network_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "There is nothing between the two linear layers: two of them in a row are no more than one.",
            functools.partial(_network_without, first=lambda h: h),
        ),
        Mistake(
            "There is a ReLU between the two layers. Use your GELU.",
            functools.partial(_network_without, first=lambda h: np.maximum(h, 0)),
        ),
        Mistake(
            "There is also a GELU after the second layer.",
            functools.partial(_network_without, last=lambda y: gelu_forward(y)[0]),
        ),
        Mistake(
            "The GELU comes before the first layer, not after it.",
            lambda x, params: _network_without(gelu_forward(x)[0], params, lambda h: h),
        ),
        Mistake(
            "x is added to the result. The block does that, outside this function.",
            lambda x, params: x + _network_without(x, params),
        ),
    ),
)


def _feed_forward(x, params):
    """Our forward pass, with everything that a backward pass may want in the cache."""
    h, c_fc = _linear(x, **params["c_fc"])
    g, gelu = _gelu(h)
    y, c_proj = _linear(g, **params["c_proj"])
    return y, {"c_fc": c_fc, "gelu": gelu, "c_proj": c_proj, "out": y, "x": x, "params": params, "h": h, "g": g}


def _network_gradients(dy, cache, slope=lambda dg, cache: gelu_backward(dg, cache["gelu"]), inner="g"):
    """The gradients with another way through the GELU, or with other inputs of the second layer."""
    dg, *c_proj = linear_backward(dy, cache["c_proj"] | {"x": cache[inner]})
    dx, *c_fc = linear_backward(slope(dg, cache), cache["c_fc"])
    return dx, {
        "c_fc": dict(zip(("weight", "bias"), c_fc, strict=True)),
        "c_proj": dict(zip(("weight", "bias"), c_proj, strict=True)),
    }


def _with_dx(gradients, dx):
    return dx, gradients[1]


FEED_FORWARD_BACKWARD = Task(
    name="feed_forward_backward",
    outputs=("dx", "grads"),
    reference=feed_forward_backward,
    forward=_feed_forward,
    cases=_network_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The gradient passes the GELU as if it were not there.",
            lambda dy, cache: _network_gradients(dy, cache, lambda dg, cache: dg),
        ),
        Mistake(
            "The slope of the GELU is taken after it, at g. It is a function of h.",
            lambda dy, cache: _network_gradients(dy, cache, lambda dg, cache: gelu_backward(dg, _gelu(cache["g"])[1])),
        ),
        Mistake(
            "The gradient of c_proj's weight is made with h. What was the input of the second layer in the forward "
            "pass?",
            lambda dy, cache: _network_gradients(dy, cache, inner="h"),
        ),
        Mistake(
            "dy is added to dx. That is the way around this network, which belongs to the block.",
            lambda dy, cache: _with_dx(_network_gradients(dy, cache), _network_gradients(dy, cache)[0] + dy),
        ),
    ),
)

TASKS = (
    LINEAR_FORWARD,
    LINEAR_BACKWARD,
    GELU_FORWARD,
    GELU_BACKWARD,
    FEED_FORWARD_FORWARD,
    FEED_FORWARD_BACKWARD,
)
