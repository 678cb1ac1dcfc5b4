"""Exercise 5, layer normalisation: the formula of the paper, and its gradient with the two means."""

import numpy as np

from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_5_residual_and_layer_norm"


def _inputs(rng, *shape, scale=1.0, offset=0.0, eps=1e-5):
    """Arguments of ``layer_norm_forward``. x has a mean and a variance that are not 0 and 1."""
    C = shape[-1]
    return {
        "x": offset + scale * (0.5 + 2 * rng.standard_normal(shape)),
        "weight": 1 + 0.5 * rng.standard_normal(C),
        "bias": rng.standard_normal(C),
        "eps": eps,
    }


def _cases(rng):
    return [
        Case("two sequences of three tokens, four channels", _inputs(rng, 2, 3, 4)),
        Case("as many tokens as channels", _inputs(rng, 5, 5)),
        Case("one token, seven channels", _inputs(rng, 1, 1, 7)),
        Case("five axes", _inputs(rng, 2, 1, 3, 2, 5)),
        Case("a variance so small that eps counts", _inputs(rng, 2, 3, 4, scale=1e-3)),
        Case("a large eps", _inputs(rng, 2, 3, 4, eps=0.5)),
        Case("a mean that is far from zero", _inputs(rng, 2, 3, 4, offset=100.0)),
    ]


def _forward(x, weight, bias, eps):
    """Our forward pass, with everything that a backward pass may want in the cache."""
    y, cache = layer_norm_forward(x, weight, bias, eps)
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return y, cache | {"x": x, "bias": bias, "eps": eps, "mean": mean, "variance": variance}


def _normalised(x, weight, bias, eps, axis=-1, ddof=0, root=None):
    root = root or (lambda variance: np.sqrt(variance + eps))
    deviation = x - x.mean(axis, keepdims=True)
    return deviation / root(x.var(axis, keepdims=True, ddof=ddof)) * weight + bias


def _without_keepdims(x, weight, bias, eps):
    return (x - x.mean(-1)) / np.sqrt(x.var(-1) + eps) * weight + bias


FORWARD = Task(
    name="layer_norm_forward",
    outputs=("y",),
    reference=layer_norm_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The variance is divided by C - 1, as statisticians do for a sample (ddof=1). Look at the formula of the "
            "variance: what is the sum divided by?",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, eps, ddof=1),
        ),
        Mistake(
            "eps is added outside the root, to the standard deviation. Look at the formula: what does the root cover?",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, eps, root=lambda v: np.sqrt(v) + eps),
        ),
        Mistake(
            "eps is missing: a token whose channels are all alike is divided by zero, and one with a small variance by "
            "too little.",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, eps, root=np.sqrt),
        ),
        Mistake(
            "eps always has the same value. It is an argument: use the one that you are given.",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, 1e-5),
        ),
        Mistake(
            "It is divided by the variance, which has the square of x's unit. Look at the denominator of x_hat.",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, eps, root=lambda v: v + eps),
        ),
        Mistake(
            "Mean and variance are taken over another axis than the channels. Each token is normalised separately: "
            "along which axis are its numbers?",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, eps, axis=0),
        ),
        Mistake(
            "Mean and variance are taken over another axis than the channels. Each token is normalised separately: "
            "along which axis are its numbers?",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, eps, axis=-2),
        ),
        Mistake(
            "Mean and variance are taken over all numbers at once. Each token is normalised separately: along which "
            "axis are its numbers?",
            lambda x, weight, bias, eps: _normalised(x, weight, bias, eps, axis=None),
        ),
        Mistake(
            "An axis is lost: mean and variance of shape (..., 1) are needed, and where there are as many tokens as "
            "channels NumPy silently broadcasts (...) along the wrong axis. Look for keepdims.",
            _without_keepdims,
        ),
        Mistake(
            "The mean is not subtracted: x itself is divided by the standard deviation.",
            lambda x, weight, bias, eps: x / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias,
        ),
        Mistake(
            "The variance is the mean of x squared. What is squared in the formula?",
            lambda x, weight, bias, eps: (
                (x - x.mean(-1, keepdims=True)) / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias
            ),
        ),
        Mistake(
            "weight is missing, the gain of each channel.",
            lambda x, weight, bias, eps: _normalised(x, 1.0, bias, eps),
        ),
        Mistake(
            "bias is missing, the shift of each channel.",
            lambda x, weight, bias, eps: _normalised(x, weight, 0.0, eps),
        ),
        Mistake(
            "weight multiplies bias as well. In which order do gain and shift come?",
            lambda x, weight, bias, eps: (_normalised(x, 1.0, bias, eps)) * weight,
        ),
    ),
)


def _gradients(dy, cache, dx=None, over=None):
    """The right gradients, or with another dx, or with dweight and dbias made by ``over``."""
    right = layer_norm_backward(dy, cache)
    x_hat = cache["x_hat"]
    sums = (right[1], right[2]) if over is None else (over(dy * x_hat), over(dy))
    return (right[0] if dx is None else dx, *sums)


def _dx(dy, cache, mean=True, along=True, weight=True, axis=-1):
    """dx without some of its terms."""
    x_hat = cache["x_hat"]
    dx_hat = dy * cache["weight"] if weight else dy
    dx = dx_hat
    if mean:
        dx = dx - dx_hat.mean(axis, keepdims=True)
    if along:
        dx = dx - x_hat * (dx_hat * x_hat).mean(axis, keepdims=True)
    return cache["rstd"] * dx


BACKWARD = Task(
    name="layer_norm_backward",
    outputs=("dx", "dweight", "dbias"),
    reference=layer_norm_backward,
    forward=_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "dx lacks the term that comes through the mean: x also acts on y through mean(x). The entries of each "
            "token's dx must sum to zero; do yours?",
            lambda dy, cache: _gradients(dy, cache, _dx(dy, cache, mean=False)),
        ),
        Mistake(
            "dx lacks the term that comes through the variance: x also acts on y through rstd. Each token's dx must be "
            "at a right angle to its x_hat; is yours?",
            lambda dy, cache: _gradients(dy, cache, _dx(dy, cache, along=False)),
        ),
        Mistake(
            "dx is as if mean and variance were constants. They are made from x, so x acts on y through them too: two "
            "terms are missing.",
            lambda dy, cache: _gradients(dy, cache, _dx(dy, cache, mean=False, along=False)),
        ),
        Mistake(
            "dx begins with dy, and weight is forgotten. What is the gradient of x_hat, one step before y?",
            lambda dy, cache: _gradients(dy, cache, _dx(dy, cache, weight=False)),
        ),
        Mistake(
            "The two means in dx are taken over another axis than the channels.",
            lambda dy, cache: _gradients(dy, cache, _dx(dy, cache, axis=0)),
        ),
        Mistake(
            "The two means in dx are sums: what are they divided by?",
            lambda dy, cache: _gradients(
                dy, cache, _dx(dy, cache, mean=False, along=False) + dy.shape[-1] * (
                    _dx(dy, cache) - _dx(dy, cache, mean=False, along=False)
                )
            ),
        ),
        Mistake(
            "dx is not multiplied by rstd: y changes with x as fast as x_hat does, which is 1 over the deviation.",
            lambda dy, cache: _gradients(dy, cache, _dx(dy, cache) / cache["rstd"]),
        ),
        Mistake(
            "dweight and dbias still have the axes of batch and time. weight and bias act on every token, so their "
            "gradients are sums over all tokens.",
            lambda dy, cache: _gradients(dy, cache, over=lambda values: values),
        ),
        Mistake(
            "dweight and dbias are summed over the first axis only. weight and bias act on every token: sum over all "
            "axes except the last.",
            lambda dy, cache: _gradients(dy, cache, over=lambda values: values.sum(0)),
        ),
        Mistake(
            "dweight and dbias are means. Each token adds its part to the loss; is there a 1/N in the forward pass?",
            lambda dy, cache: _gradients(
                dy, cache, over=lambda values: values.reshape(-1, values.shape[-1]).mean(0)
            ),
        ),
        Mistake(
            "dweight uses x. What does weight multiply in the forward pass?",
            lambda dy, cache: (
                layer_norm_backward(dy, cache)[0],
                (dy * cache["x"]).reshape(-1, dy.shape[-1]).sum(0),
                layer_norm_backward(dy, cache)[2],
            ),
        ),
    ),
)


# The harder part: RMSNorm.


def rms_norm_forward(x, weight, eps):
    """y = x / sqrt(mean_c x_c^2 + eps) * weight.

    Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", eq. 4.
    """
    rms = np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return x / rms * weight, {"x": x, "rms": rms, "weight": weight, "eps": eps}


def rms_norm_backward(dy, cache):
    """dx = (dx_hat - x_hat mean_c(dx_hat x_hat)) / rms with dx_hat = dy weight; dweight = sum_n dy_n x_hat_n."""
    x_hat = cache["x"] / cache["rms"]
    dx_hat = dy * cache["weight"]
    dx = (dx_hat - x_hat * (dx_hat * x_hat).mean(-1, keepdims=True)) / cache["rms"]
    return dx, (dy * x_hat).reshape(-1, dy.shape[-1]).sum(0)


def _rms_cases(rng):
    return [
        Case(case.title, {name: value for name, value in case.inputs.items() if name != "bias"})
        for case in _cases(rng)[:-1]
    ]


RMS_FORWARD = Task(
    name="rms_norm_forward",
    outputs=("y",),
    reference=rms_norm_forward,
    has_cache=True,
    cases=_rms_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The mean is subtracted, as in layer normalisation. RMSNorm does not subtract it.",
            lambda x, weight, eps: _normalised(x, weight, 0.0, eps),
        ),
        Mistake(
            "The squares are summed; the formula has their mean.",
            lambda x, weight, eps: x / np.sqrt((x * x).sum(-1, keepdims=True) + eps) * weight,
        ),
        Mistake(
            "eps is added outside the root.",
            lambda x, weight, eps: x / (np.sqrt((x * x).mean(-1, keepdims=True)) + eps) * weight,
        ),
    ),
)

RMS_BACKWARD = Task(
    name="rms_norm_backward",
    outputs=("dx", "dweight"),
    reference=rms_norm_backward,
    forward=rms_norm_forward,
    cases=_rms_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "dx is as if the root were a constant. It is made from x, so a term is missing.",
            lambda dy, cache: (dy * cache["weight"] / cache["rms"], rms_norm_backward(dy, cache)[1]),
        ),
        Mistake(
            "dx has both means of layer normalisation. Without a mean in the forward pass, what is left?",
            lambda dy, cache: (
                _dx(dy, cache | {"x_hat": cache["x"] / cache["rms"], "rstd": 1 / cache["rms"]}),
                rms_norm_backward(dy, cache)[1],
            ),
        ),
        Mistake(
            "dweight uses x. What does weight multiply in the forward pass?",
            lambda dy, cache: (
                rms_norm_backward(dy, cache)[0], (dy * cache["x"]).reshape(-1, dy.shape[-1]).sum(0)
            ),
        ),
    ),
)

TASKS = (FORWARD, BACKWARD, RMS_FORWARD, RMS_BACKWARD)
