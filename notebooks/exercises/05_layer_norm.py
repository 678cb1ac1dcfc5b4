# %% [markdown]
# # Exercise 5: layer normalization
#
# *Notebook 2.5.5, 归一化层. About 60 minutes, 10 points.*
#
# A deep model multiplies its numbers layer after layer, and without help they grow or vanish. Layer normalization is
# that help: before each sub-layer, every token's vector is given mean 0 and variance 1, and then a learned gain and
# shift for each channel. You will write the forward pass, and then the backward pass, which is the hardest single line
# of GPT-2.
#
# Notebook 2.5.5, `notebooks/en/2_5_5_residual_and_layer_norm.ipynb` in the repository of minigpt2, explains why it is
# there and derives the formulas; you need nothing but NumPy here.
#
# Shapes: `...` any leading dimensions (usually `B` batch and `T` time), `C` channels. A gradient of `x` is called `dx`.

# %%
import numpy as np

from minigpt2.exercises import check

# %% [markdown]
# ## 1. Forward
#
# *★★☆ · about 20 minutes*
#
# For each token, that is for each vector $x$ of $C$ numbers along the last axis:
#
# $$\mu = \frac1C\sum_c x_c \qquad \sigma^2 = \frac1C\sum_c (x_c-\mu)^2 \qquad
#   \hat x_c = \frac{x_c-\mu}{\sqrt{\sigma^2+\varepsilon}} \qquad y_c = w_c\,\hat x_c + b_c$$
#
# The gain $w$ (`weight`) and the shift $b$ (`bias`) have one number for each channel; all tokens share them.
#
# Return `y` and a *cache* with everything that your backward pass will need. What is in it is up to you: a dict, say.
# Make new arrays: your caller still needs `x`.
#
# <details><summary>A hint</summary>
#
# `x.mean(axis=...)` has one axis fewer than `x`. What must its shape be, so that `x - mean` subtracts from each token
# its own mean? Look at the argument `keepdims`.
#
# </details>


# %% tags=["answer", "id:layer_norm_forward"]
def layer_norm_forward(x, weight, bias, eps=1e-5):
    """Normalise the last dimension.

    x: (..., C); weight, bias: (C,); eps: keeps the root away from 0
    returns y (..., C) and a cache for the backward pass.
    """
    ### BEGIN SOLUTION
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt(variance + eps)
    x_hat = (x - mean) * rstd
    return x_hat * weight + bias, {"x_hat": x_hat, "rstd": rstd, "weight": weight}
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_layer_norm_forward", "points:3"]
report = check("layer_norm_forward", layer_norm_forward)
print(report)
round(3 * report.score, 2)

# %% [markdown]
# ## 2. Backward
#
# *★★★ · about 40 minutes*
#
# Now the other way: given $dy$, the gradient of the loss with respect to $y$, find the gradients with respect to $x$,
# $w$ and $b$. With $d\hat x = dy\, w$ (channel by channel):
#
# $$dx = \frac{1}{\sqrt{\sigma^2+\varepsilon}}
#   \Bigl(d\hat x - \operatorname{mean}_c(d\hat x) - \hat x\,\operatorname{mean}_c(d\hat x\,\hat x)\Bigr)$$
#
# $$dw = \sum_n dy_n\,\hat x_n \qquad db = \sum_n dy_n \qquad\text{over all tokens } n$$
#
# The two means are there because $x$ acts on $y$ directly, through $\mu$ and through $\sigma$. Try to derive it on
# paper before you look into the notebook.
#
# The check hands your function a `cache` that was filled by *our* forward pass, with `x`, `x_hat`, `rstd`
# $= 1/\sqrt{\sigma^2+\varepsilon}$, `mean`, `variance`, `weight`, `bias` and `eps`. If you prefer to use your own, add
# `forward=layer_norm_forward` to the call of `check`.
#
# <details><summary>A hint</summary>
#
# Two things must be true of each token's `dx`, whatever `dy` is: its entries sum to zero, and it is at a right angle to
# `x_hat`, but for the small $\varepsilon$. Print both sums.
#
# </details>


# %% tags=["answer", "id:layer_norm_backward"]
def layer_norm_backward(dy, cache):
    """Gradients of ``layer_norm_forward``.

    dy: (..., C)
    returns dx (..., C), dweight (C,), dbias (C,).
    """
    ### BEGIN SOLUTION
    x_hat, rstd, weight = cache["x_hat"], cache["rstd"], cache["weight"]
    tokens = tuple(range(dy.ndim - 1))
    dx_hat = dy * weight
    mean = dx_hat.mean(axis=-1, keepdims=True)
    along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = rstd * (dx_hat - mean - x_hat * along)
    return dx, (dy * x_hat).sum(axis=tokens), dy.sum(axis=tokens)
    ### END SOLUTION


# %% tags=["check", "id:check_layer_norm_backward", "points:4"]
report = check("layer_norm_backward", layer_norm_backward)
print(report)
round(4 * report.score, 2)

# %% [markdown]
# ## 3. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and both functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_layer_norm_forward", "points:1"]
# Tests of layer_norm_forward, 1 point.
### BEGIN HIDDEN TESTS
report = check("layer_norm_forward", layer_norm_forward, seed=71)
assert report.passed, report.hint
rng = np.random.default_rng(71)
y, _ = layer_norm_forward(rng.standard_normal((3, 50, 16)), np.ones(16), np.zeros(16))
assert np.allclose(y.mean(-1), 0, atol=1e-12) and np.allclose(y.var(-1), 1, atol=1e-3)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_layer_norm_backward", "points:2"]
# Tests of layer_norm_backward with your own forward pass, 2 points.
### BEGIN HIDDEN TESTS
report = check("layer_norm_backward", layer_norm_backward, forward=layer_norm_forward, seed=72)
assert report.passed, report.hint
rng = np.random.default_rng(72)
x = rng.standard_normal((2, 9, 8))
_, cache = layer_norm_forward(x, rng.standard_normal(8), np.zeros(8), 0.0)
dx = layer_norm_backward(rng.standard_normal(x.shape), cache)[0]
x_hat = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
assert np.allclose(dx.sum(-1), 0, atol=1e-12) and np.allclose((dx * x_hat).sum(-1), 0, atol=1e-12)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Harder, if you like: RMSNorm
#
# *★★☆ · about 20 minutes more*
#
# LLaMA and many models after it omit the mean and the shift (Zhang & Sennrich 2019, "Root Mean Square Layer
# Normalization", eq. 4):
#
# $$r = \sqrt{\frac1C\sum_c x_c^2+\varepsilon} \qquad y_c = w_c\,\frac{x_c}{r}$$
#
# Write it, and derive its gradient. Which of the two means is left in `dx`, and why? The `cache` has `x`, `weight`,
# `eps` and `rms` $= r$ (with the last axis of length 1). There are no points for this, but a check.


# %% tags=["answer", "id:rms_norm"]
def rms_norm_forward(x, weight, eps=1e-5):
    """x: (..., C); weight: (C,); returns y (..., C) and a cache for the backward pass."""
    ### BEGIN SOLUTION
    rms = np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return x / rms * weight, {"x": x, "rms": rms, "weight": weight}
    ### END SOLUTION


def rms_norm_backward(dy, cache):
    """dy: (..., C); returns dx (..., C), dweight (C,)."""
    ### BEGIN SOLUTION
    rms, weight = cache["rms"], cache["weight"]
    x_hat = cache["x"] / rms
    dx_hat = dy * weight
    dx = (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)) / rms
    return dx, (dy * x_hat).sum(axis=tuple(range(dy.ndim - 1)))
    ### END SOLUTION


# %% tags=["check", "id:check_rms_norm", "points:0"]
print(check("rms_norm_forward", rms_norm_forward))
print()
print(check("rms_norm_backward", rms_norm_backward))

# %% [markdown]
# ## 5. What do you have now?
#
# The norm that comes before each sub-layer of GPT-2, and again at its end. Compare with the library's own: it computes
# the same with fewer passes over memory.
#
#     import inspect
#     from minigpt2.components import layer_norm
#     print(inspect.getsource(layer_norm))
#
# Next: [exercise 6](06_attention_forward.ipynb), attention.
