# %% [markdown]
# # Exercise 4: linear layer and GELU
#
# *Notebook 2.5.4, 前馈神经网络. About 60 minutes, 10 points.*
#
# Nearly all the numbers that GPT-2 has learned are in *linear layers*: matrices by which vectors are multiplied. But
# two linear layers in a row are no more than one. Between them there must be a function with a bend, an *activation
# function*. GPT-2 has the GELU, a rounded relative of $\max(x, 0)$. You will write both, forward and backward, and
# then, if you like, combine them into the feed-forward network, which holds two thirds of the numbers of every block.
#
# Notebook 2.5.4, `notebooks/en/2_5_4_feed_forward.ipynb` in the repository of minigpt2, explains why it is made in
# this way; you need nothing but NumPy here.
#
# Shapes: `...` any leading dimensions (usually `B` batch and `T` time), `I` inputs, `O` outputs. `N` is the number of
# tokens, the product of the leading dimensions. The *gradient* of the loss with respect to `x` is called `dx`; it has
# the shape of `x`.

# %%
import math

import numpy as np

from minigpt2.exercises import check

# %% [markdown]
# ## 1. Linear layer, forward
#
# *★☆☆ · about 10 minutes*
#
# For each token $n$, and for each output $o$:
#
# $$y_{no} = \sum_i x_{ni}\,W_{io} + b_o$$
#
# $W$ is called `weight`, $b$ is called `bias`; all tokens share them. For one token with two inputs, and three outputs:
#
#     x = [1, 2]      weight = [[1, 0, 3],      bias = [10, 20, 30]      y = [11, 22, 39]
#                               [0, 1, 3]]
#
# GPT-2's released weights are stored input first, `(I, O)`, as here. PyTorch's `nn.Linear` stores `(O, I)`: mixing them
# up gives an error if $I \ne O$, and silently gives wrong numbers if $I = O$.
#
# Return `y` and a *cache* with everything that your backward pass will need. What is in it is up to you: a dict, say.
# Make new arrays: your caller still needs `x`.


# %% tags=["answer", "id:linear_forward"]
def linear_forward(x, weight, bias):
    """Affine map of the last dimension.

    x: (..., I), with one leading axis or more; weight: (I, O); bias: (O,)
    returns y (..., O) and a cache for the backward pass.
    """
    ### BEGIN SOLUTION
    return x @ weight + bias, {"x": x, "weight": weight}
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_linear_forward", "points:1"]
report = check("linear_forward", linear_forward)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ## 2. Linear layer, backward
#
# *★★☆ · about 20 minutes*
#
# Given $dy$, the gradient of the loss with respect to $y$, find the gradients with respect to $x$, $W$ and $b$. Ask
# about each: *what in $y$ moves if this one number grows by a little, and by how much?* The chain rule adds up over
# everything that moves.
#
# | if this grows | then this moves | by this much | so the gradient is |
# |---|---|---|---|
# | $x_{ni}$ | $y_{no}$ for every $o$ | $W_{io}$ | $dx_{ni} = \sum_o dy_{no}\,W_{io}$ |
# | $W_{io}$ | ? | ? | ? |
# | $b_o$ | ? | ? | ? |
#
# Fill in the last two lines on paper. Then write all three as products of matrices and sums. The check hands your
# function a `cache` that was filled by *our* forward pass, with `x`, `weight`, `bias` and `y`. If you prefer to use
# your own, add `forward=linear_forward` to the call of `check`.
#
# <details><summary>A hint</summary>
#
# A sum over $n$ runs over all tokens, however many axes they are spread over. `x.reshape(-1, I)` makes one long list of
# them. To exchange rows and columns use `.T`; `reshape` does something else.
#
# </details>


# %% tags=["answer", "id:linear_backward"]
def linear_backward(dy, cache):
    """Gradients of ``linear_forward``.

    dy: (..., O)
    returns dx (..., I), dweight (I, O), dbias (O,).
    """
    ### BEGIN SOLUTION
    x, weight = cache["x"], cache["weight"]
    I, O = weight.shape
    rows = dy.reshape(-1, O)
    return dy @ weight.T, x.reshape(-1, I).T @ rows, rows.sum(axis=0)
    ### END SOLUTION


# %% tags=["check", "id:check_linear_backward", "points:2"]
report = check("linear_backward", linear_backward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 3. GELU, forward
#
# *★☆☆ · about 10 minutes*
#
# The *Gaussian error linear unit* multiplies each number by a gate between 0 and 1 that opens as the number grows
# (Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", section 2). In the form with which GPT-2 was trained:
#
# $$u = \sqrt{\tfrac2\pi}\,\bigl(x + 0.044715\,x^3\bigr) \qquad y = x\cdot\tfrac12\,(1+\tanh u)$$
#
#     x       -3        -1        0        1        3
#     gate    0.0012    0.1588    0.5      0.8412   0.9988
#     y      -0.0036   -0.1588    0        0.8412   2.9964
#
# The gate is close to the probability that a normally distributed random number lies below $x$. With that probability
# itself one has the *erf form*, which PyTorch uses by default. It differs in the fourth digit: too little to see in a
# text, but enough to make all your comparisons with GPT-2 fail.
#
# A word about dtypes: `np.sqrt(2 / np.pi)` is a NumPy number of float64, and turns an array of float32 into one of
# float64, with twice the memory. `math.sqrt` gives a Python number, which adapts.


# %% tags=["answer", "id:gelu_forward"]
def gelu_forward(x):
    """GELU in its tanh form.

    x: any shape
    returns y, shaped like x, and a cache for the backward pass.
    """
    ### BEGIN SOLUTION
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    tanh = np.tanh(u)
    return 0.5 * x * (1 + tanh), {"x": x, "tanh": tanh}
    ### END SOLUTION


# %% tags=["check", "id:check_gelu_forward", "points:2"]
report = check("gelu_forward", gelu_forward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 4. GELU, backward
#
# *★★☆ · about 20 minutes*
#
# Each number is treated separately, so there is one derivative to find, $dy/dx$, and the gradient is
# $dx = dy \cdot dy/dx$ (the first $dy$ is the array that you are given). In three steps:
#
# 1. What is $du/dx$?
# 2. The derivative of $\tanh u$ with respect to $u$ is $1-\tanh^2 u$. What is it with respect to $x$?
# 3. $y$ is a product of two things that both depend on $x$. Apply the product rule.
#
# Test your formula at $x = 0$ first: there $u = 0$, and the slope has to be $\frac12$. For large $x$ it has to be 1,
# for very negative ones 0. The `cache` has `x`, `u`, `tanh` and `y`.
#
# <details><summary>A hint</summary>
#
# The product rule has two terms: the gate, and the effect of $x$ on the gate. The second one is small, so a model even
# learns without it, only worse. At $x = 1$ it is 0.2418.
#
# </details>


# %% tags=["answer", "id:gelu_backward"]
def gelu_backward(dy, cache):
    """Gradient of ``gelu_forward``.

    dy: shaped like x
    returns dx, shaped like x.
    """
    ### BEGIN SOLUTION
    x, tanh = cache["x"], cache["tanh"]
    du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return dy * 0.5 * (1 + tanh + x * (1 - tanh**2) * du)
    ### END SOLUTION


# %% tags=["check", "id:check_gelu_backward", "points:2"]
report = check("gelu_backward", gelu_backward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 5. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and your functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_linear", "points:1"]
# Tests of linear_forward and linear_backward, 1 point.
### BEGIN HIDDEN TESTS
report = check("linear_forward", linear_forward, seed=41)
assert report.passed, report.hint
report = check("linear_backward", linear_backward, forward=linear_forward, seed=42)
assert report.passed, report.hint
rng = np.random.default_rng(41)
x, weight, dy = rng.standard_normal((3, 5, 6)), rng.standard_normal((6, 6)), rng.standard_normal((3, 5, 6))
y, cache = linear_forward(x, weight, np.zeros(6))
dx, dweight, dbias = linear_backward(dy, cache)
assert np.allclose((dy * y).sum(), (dx * x).sum()) and np.allclose((dy * y).sum(), (dweight * weight).sum())
assert np.allclose(dbias, dy.reshape(-1, 6).sum(axis=0))
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_gelu", "points:2"]
# Tests of gelu_forward and gelu_backward, 2 points.
### BEGIN HIDDEN TESTS
report = check("gelu_forward", gelu_forward, seed=43)
assert report.passed, report.hint
report = check("gelu_backward", gelu_backward, forward=gelu_forward, seed=44)
assert report.passed, report.hint
x = np.linspace(-6, 6, 41)
(y, cache), (mirrored, mirrored_cache) = gelu_forward(x), gelu_forward(-x)
assert np.allclose(y - mirrored, x) and abs(y[:20]).max() < 0.171
slope, mirrored_slope = gelu_backward(np.ones(41), cache), gelu_backward(np.ones(41), mirrored_cache)
assert np.allclose(slope + mirrored_slope, 1) and np.allclose(slope[[0, 20, 40]], [0, 0.5, 1], atol=1e-6)
h, linear_cache = linear_forward(np.eye(3)[None], np.eye(3), -np.ones(3))
assert np.allclose(gelu_forward(h)[0][0], gelu_forward(np.eye(3) - 1)[0])
### END HIDDEN TESTS

# %% [markdown]
# ## 6. Harder, if you like: the feed-forward network
#
# *★★☆ · about 20 minutes more*
#
# Combine your functions. With $F$ inner channels ($F = 4C$ in GPT-2):
#
# $$h = x\,W_\mathrm{fc} + b_\mathrm{fc} \qquad g = \mathrm{gelu}(h) \qquad y = g\,W_\mathrm{proj} + b_\mathrm{proj}$$
#
# The parameters come as a dict of dicts, with the names of the released model:
#
#     params = {"c_fc":   {"weight": (C, F), "bias": (F,)},
#               "c_proj": {"weight": (F, C), "bias": (C,)}}
#
# and their gradients are returned in another dict of the same structure. Call your functions from above, and keep their
# caches. Backward, go through them in reverse order. There are no points for this, but a check; here your backward pass
# gets the cache of your own forward pass.


# %% tags=["answer", "id:feed_forward"]
def feed_forward_forward(x, params):
    """x: (B, T, C); params: {"c_fc", "c_proj"}; returns y (B, T, C) and a cache for the backward pass."""
    ### BEGIN SOLUTION
    h, c_fc = linear_forward(x, **params["c_fc"])
    g, gelu = gelu_forward(h)
    y, c_proj = linear_forward(g, **params["c_proj"])
    return y, {"c_fc": c_fc, "gelu": gelu, "c_proj": c_proj}
    ### END SOLUTION


def feed_forward_backward(dy, cache):
    """dy: (B, T, C); returns dx (B, T, C) and grads, structured like params."""
    ### BEGIN SOLUTION
    dg, dproj_weight, dproj_bias = linear_backward(dy, cache["c_proj"])
    dh = gelu_backward(dg, cache["gelu"])
    dx, dfc_weight, dfc_bias = linear_backward(dh, cache["c_fc"])
    return dx, {
        "c_fc": {"weight": dfc_weight, "bias": dfc_bias},
        "c_proj": {"weight": dproj_weight, "bias": dproj_bias},
    }
    ### END SOLUTION


# %% tags=["check", "id:check_feed_forward", "points:0"]
print(check("feed_forward_forward", feed_forward_forward))
print()
print(check("feed_forward_backward", feed_forward_backward, forward=feed_forward_forward))

# %% [markdown]
# ## 7. What do you have now?
#
# The layer that GPT-2 uses 48 times (in the small model: four in each of its 12 blocks), and the bend that makes depth
# worth while. Compare with the library's own, which computes the same with fewer passes over memory:
#
#     import inspect
#     from minigpt2.components import feed_forward, linear
#     print(inspect.getsource(linear), inspect.getsource(feed_forward))
#
# Next: [exercise 5](05_layer_norm.ipynb), layer normalization.
