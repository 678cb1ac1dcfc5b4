# %% [markdown]
# # Exercise 7: attention, backward
#
# *Notebook 2.5.3, 注意力机制. About 75 minutes, 10 points.*
#
# The forward pass lets tokens speak to each other; the backward pass tells each of them how it should have spoken. This
# is the longest gradient in GPT-2, and people are proud when they have written it once. You will take it in three
# steps: through the softmax, through one set of heads, through all of it. Each step is checked against finite
# differences of the forward pass, so you always know where you stand.
#
# All of it is derived in section 3 of notebook 2.5.3, `notebooks/en/2_5_3_attention.ipynb` in the repository of
# minigpt2. Try paper first. The forward pass is [exercise 6](06_attention_forward.ipynb), but nothing of your code from
# there is needed here.
#
# Shapes: `B` batch, `T` time, `C` channels, `H` heads, `D` $= C/H$ channels of a head, `S` scores of a row. For any
# number $z$ of the forward pass, $dz$ is the gradient of the loss with respect to it, and has the shape of $z$.
#
# One rule is used again and again. If $z = a\,b$ is a product of two matrices, then
#
# $$da = dz\;b^\top \qquad\qquad db = a^\top\,dz$$
#
# You need not remember the order and the transposes: unless the matrices are square, there is only one way in which the
# shapes fit.

# %%
import numpy as np

from minigpt2.exercises import check
from minigpt2.exercises.ex07_attention_backward import full_forward  # our attention_forward, with a full cache

# %% [markdown]
# ## 1. The softmax
#
# *★★☆ · about 20 minutes*
#
# Take one row: $p_s = e^{\mathrm{scores}_s} / \sum_i e^{\mathrm{scores}_i}$. Each score acts on *all* shares of its
# row, because they must sum to 1: one share grows, and the others shrink.
#
# $$\frac{\partial p_s}{\partial\,\mathrm{scores}_j} = p_s\,(\delta_{sj} - p_j)
#   \qquad\text{with } \delta_{sj} = 1 \text{ if } s = j\text{, else } 0$$
#
# The chain rule sums over all the ways in which score $j$ acts on the loss:
#
# $$d\mathrm{scores}_j = \sum_s dp_s\;\frac{\partial p_s}{\partial\,\mathrm{scores}_j}$$
#
# Put the first into the second and simplify, until you need no matrix of $S$ times $S$ numbers: two terms remain.
#
# By hand: the shares $p = (\frac14, \frac12, \frac14)$ and the gradient $dp = (0, 4, 0)$, which says that the loss
# grows with the second share, must give $d\mathrm{scores} = (-\frac12, 1, -\frac12)$: training moves against it, so it
# lowers the second score and raises the others. Two things are true of every row: its sum is zero, since raising all
# scores alike changes nothing; and where the share is zero, so is the gradient.
#
# <details><summary>A hint</summary>
#
# The term with $\delta_{sj}$ leaves only the place $s = j$ of the sum. In the other one $p_j$ does not depend on $s$
# and can be taken out of the sum. The rest of the sum is a single number for the row: the mean of $dp$, weighted with
# the shares.
#
# </details>


# %% tags=["answer", "id:softmax_backward"]
def softmax_backward(dprobs, probs):
    """Gradient of the softmax along the last axis.

    dprobs, probs: (..., S)
    returns dscores (..., S).
    """
    ### BEGIN SOLUTION
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_softmax_backward", "points:2"]
report = check("softmax_backward", softmax_backward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 2. The heads
#
# *★★★ · about 25 minutes*
#
# This is the middle of attention, where the heads are already apart and all arrays have four axes (*scaled dot-product
# attention*, Vaswani et al. 2017, section 3.2.1):
#
# $$\mathrm{scores} = \frac{q\,k^\top}{\sqrt D}\text{, and } -\infty \text{ in the future} \qquad
#   \mathrm{probs} = \operatorname{softmax}(\mathrm{scores}) \qquad \mathrm{heads} = \mathrm{probs}\;v$$
#
# You are given the gradient of `heads`. Go from the last step to the first: two products, with a softmax between them.
# Each step gets the gradient of its output, and finds those of its inputs.
#
# The `cache` has `q`, `k`, `v` and `heads` `(B, H, T, D)`, `scores` and `probs` `(B, H, T, T)`. You will not need all
# of them.
#
# What about the mask? A masked place has the share 0. Look again at what your softmax does there.
#
# <details><summary>A hint</summary>
#
# The product at the end gives two gradients, `dv` and `dprobs`. From `dprobs` and `probs` comes `dscores`. The product
# at the beginning again gives two, `dq` and `dk`. In which of them does $1/\sqrt D$ occur? Write the shapes of every
# product beside it, and transpose with `swapaxes(-1, -2)`.
#
# </details>
# <details><summary>A hint: T and T</summary>
#
# The shapes do not tell `probs` from its transpose, as both are `(T, T)`. But you know what it means. Row $i$ of
# `probs` belongs to query $i$. Value $j$ is used by all queries $i \geq j$, with the shares in *column* $j$.
#
# </details>


# %% tags=["answer", "id:dot_product_attention_backward"]
def dot_product_attention_backward(dheads, cache):
    """Gradients of queries, keys and values.

    dheads: (B, H, T, D)
    returns dq, dk, dv (B, H, T, D).
    """
    ### BEGIN SOLUTION
    q, k, v, probs = cache["q"], cache["k"], cache["v"], cache["probs"]
    root = q.shape[-1] ** 0.5
    dv = probs.swapaxes(-1, -2) @ dheads
    dprobs = dheads @ v.swapaxes(-1, -2)
    dscores = softmax_backward(dprobs, probs)
    dq = dscores @ k / root
    dk = dscores.swapaxes(-1, -2) @ q / root
    return dq, dk, dv
    ### END SOLUTION


# %% tags=["check", "id:check_dot_product_attention_backward", "points:2"]
report = check("dot_product_attention_backward", dot_product_attention_backward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 3. Attention
#
# *★★★ · about 30 minutes*
#
# The two ends remain, linear layers $y = x\,W + b$, and the cutting and merging of heads:
#
# $$\underbrace{x\,W_\mathrm{attn} + b_\mathrm{attn}}_{\text{qkv}} \;\to\;
#   \text{cut in three, cut into heads} \;\to\; \text{step 2} \;\to\; \text{merge the heads} \;\to\;
#   y = \mathrm{heads}\;W_\mathrm{proj} + b_\mathrm{proj}$$
#
# Two things to think about:
#
# - Where the forward pass only moves numbers, the backward pass only moves them back. Cut where it merged, and merge
#   where it cut, in the same places and in the same order.
# - `weight` and `bias` act on every token of every text. The rule for $db$ of a product therefore wants all tokens of
#   the batch as the rows of *one* matrix.
#
# The gradients of the parameters come in dicts, like the parameters: `grads["c_attn"]["weight"]` and so on.
#
# The `cache` is filled by *our* forward pass. Its arrays are printed below; `params` and `n_head` are in it as well.
# (So are `c_attn` and `c_proj`, which are for the library's own functions.) If you prefer your own forward pass from
# exercise 6, copy it here and add `forward=attention_forward` to the call of `check`: then `cache` is the dict that it
# returns.

# %%
B, T, C, H = 2, 4, 6, 2
rng = np.random.default_rng(0)
x = rng.standard_normal((B, T, C))
params = {
    "c_attn": {"weight": rng.standard_normal((C, 3 * C)), "bias": rng.standard_normal(3 * C)},
    "c_proj": {"weight": rng.standard_normal((C, C)), "bias": rng.standard_normal(C)},
}
y, cache = full_forward(x, params, H)
for name in ("x", "qkv", "q", "k", "v", "scores", "probs", "heads"):
    print(f'cache["{name}"]'.ljust(16), cache[name].shape)

# %% [markdown]
# Note that `heads` are already merged here, in the form that meets $W_\mathrm{proj}$.
#
# <details><summary>A hint: the route</summary>
#
# Five lines: `dmerged` from `dy`; its heads; `dq, dk, dv`; `dqkv` `(B, T, 3C)`; `dx`. And four gradients of parameters
# on the way, two at each end.
#
# </details>
# <details><summary>A hint: the parameters</summary>
#
# `array.reshape(-1, array.shape[-1])` turns all tokens into rows. A weight's gradient is made from the layer's *input*
# and the gradient of its *output*. Which array went into `c_proj`?
#
# </details>


# %% tags=["answer", "id:attention_backward"]
def attention_backward(dy, cache):
    """Gradients of attention_forward(x, params, n_head).

    dy: (B, T, C)
    returns dx (B, T, C) and grads, nested like params.
    """
    ### BEGIN SOLUTION
    x, params, n_head = cache["x"], cache["params"], cache["n_head"]
    B, T, C = x.shape

    def rows(array):
        return array.reshape(-1, array.shape[-1])

    dmerged = dy @ params["c_proj"]["weight"].T
    dheads = dmerged.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)
    gradients = dot_product_attention_backward(dheads, cache)
    dqkv = np.concatenate([part.transpose(0, 2, 1, 3).reshape(B, T, C) for part in gradients], axis=-1)
    dx = dqkv @ params["c_attn"]["weight"].T
    return dx, {
        "c_attn": {"weight": rows(x).T @ rows(dqkv), "bias": rows(dqkv).sum(axis=0)},
        "c_proj": {"weight": rows(cache["heads"]).T @ rows(dy), "bias": rows(dy).sum(axis=0)},
    }
    ### END SOLUTION


# %% tags=["check", "id:check_attention_backward", "points:3"]
report = check("attention_backward", attention_backward)
print(report)
round(3 * report.score, 2)

# %% [markdown]
# ### What does your gradient know?
#
# Two things follow from the formulas, and you can see them in the numbers. The loss in this cell looks only at the
# *third* token's output. Which tokens does its gradient reach? And one third of `c_attn`'s bias never learns anything:
# which, and why? (The answer is at the end of section 3 of notebook 2.5.3.)

# %%
if report:
    dy = np.zeros((B, T, C))
    dy[:, 2] = rng.standard_normal((B, C))
    dx, grads = attention_backward(dy, cache)
    for t in range(T):
        print(f"largest |dx| at token {t}: {np.abs(dx[:, t]).max():.4f}")
    for name, part in zip(("queries", "keys", "values"), np.split(grads["c_attn"]["bias"], 3), strict=True):
        print(f"largest gradient of the bias of {name:8} {np.abs(part).max():.4f}")
else:
    print("Not yet: first let the check above pass.")

# %% [markdown]
# ## 4. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and all functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_parts_of_attention_backward", "points:1"]
# Tests of softmax_backward and dot_product_attention_backward, 1 point.
### BEGIN HIDDEN TESTS
for name, function in (
    ("softmax_backward", softmax_backward),
    ("dot_product_attention_backward", dot_product_attention_backward),
):
    report = check(name, function, seed=71)
    assert report.passed, report.hint
rng = np.random.default_rng(71)
q, k, v, dheads = rng.standard_normal((4, 2, 3, 7, 5))
scores = np.where(np.tri(7, dtype=bool), q @ k.swapaxes(-1, -2) / 5**0.5, -np.inf)
probs = np.exp(scores - scores.max(-1, keepdims=True))
probs = probs / probs.sum(-1, keepdims=True)
dscores = softmax_backward(rng.standard_normal(probs.shape), probs)
assert np.allclose(dscores.sum(-1), 0, atol=1e-12) and not np.triu(dscores, 1).any()
cache = {"q": q, "k": k, "v": v, "scores": scores, "probs": probs, "heads": probs @ v}
dq, dk, dv = dot_product_attention_backward(dheads, cache)
assert np.allclose(dk.sum(2), 0, atol=1e-10) and np.allclose(dv.sum(2), dheads.sum(2), atol=1e-10)
assert np.isclose((dq * q).sum(), (dk * k).sum(), rtol=1e-9)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_attention_backward", "points:2"]
# Tests of attention_backward, 2 points.
### BEGIN HIDDEN TESTS
report = check("attention_backward", attention_backward, seed=72)
assert report.passed, report.hint
rng = np.random.default_rng(72)
x = rng.standard_normal((3, 10, 12))
params = {
    "c_attn": {"weight": rng.standard_normal((12, 36)), "bias": rng.standard_normal(36)},
    "c_proj": {"weight": rng.standard_normal((12, 12)), "bias": rng.standard_normal(12)},
}
_, cache = full_forward(x, params, 4)
dy = rng.standard_normal(x.shape)
dx, grads = attention_backward(dy, cache)
assert np.allclose(grads["c_attn"]["bias"][12:24], 0, atol=1e-9)  # the bias of the keys
assert np.allclose(grads["c_proj"]["bias"], dy.sum((0, 1)), atol=1e-10)
doubled, _ = attention_backward(2 * dy, cache)
assert np.allclose(doubled, 2 * dx, atol=1e-9)
dy[:, 5:] = 0  # what comes later has no part in it
early, _ = attention_backward(dy, cache)
assert np.allclose(early[:, 5:], 0, atol=1e-12) and (np.abs(early[:, :5]).max((0, 2)) > 1e-6).all()
step = 1e-5 * rng.standard_normal(x.shape)
rise = sum((dy * (sign * full_forward(x + sign * step, params, 4)[0])).sum() for sign in (1, -1)) / 2
assert np.isclose(rise, (early * step).sum(), rtol=1e-4)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. Harder, if you like: without the probabilities
#
# *★★★ · about 45 minutes more*
#
# The forward pass by blocks, at the end of exercise 6, never had all the probabilities, and so it could not put them
# into its cache. It kept only `head` $(T, D)$ and one number for each query,
#
# $$\mathrm{log\_sums}_i = \ln\sum_j e^{\mathrm{scores}_{ij}} \qquad\text{so that}\qquad
#   \mathrm{probs}_{ij} = e^{\mathrm{scores}_{ij} - \mathrm{log\_sums}_i}.$$
#
# From this the probabilities of any block can be computed again, whenever they are needed. To compute again is cheaper
# than to fetch a large array from memory: that is the surprise of *FlashAttention* (Dao et al. 2022, algorithm 4).
#
# One thing is still in the way. The softmax's gradient has a sum over the whole row, $\sum_j dp_j\,p_j$, and you see
# only a block of the row at a time. But it can be computed beforehand, from $d\mathrm{head}$ and $\mathrm{head}$ alone.
# Insert the formula for $dp_j$, and exchange the two sums:
#
# $$\sum_j dp_j\,p_j = \sum_j \Bigl(\sum_d d\mathrm{head}_d\,v_{jd}\Bigr)\,p_j = \;?$$
#
# Then go through the keys in blocks of `size`, the last of which may be shorter. There is one head of one text, and no
# mask. The `cache` has `q` `(T, D)`, `k` and `v` `(S, D)`, `head`, `log_sums` `(T,)` and `size`. There are no points
# for this, but a check, which also looks at the memory that your function needs.
#
# <details><summary>A hint</summary>
#
# $\sum_j p_j\,v_{jd}$ is something that you have in the cache. Of the three gradients, those of the keys and values of
# a block are finished when the block is. Which one collects something from every block?
#
# </details>


# %% tags=["answer", "id:attention_by_blocks_backward"]
def attention_by_blocks_backward(dhead, cache):
    """Gradients of attention_by_blocks, from q, k, v, head and log_sums.

    dhead: (T, D)
    returns dq (T, D), dk (S, D), dv (S, D).
    """
    ### BEGIN SOLUTION
    q, k, v, size = cache["q"], cache["k"], cache["v"], cache["size"]
    root = q.shape[1] ** 0.5
    weighted = (dhead * cache["head"]).sum(axis=1, keepdims=True)
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for start in range(0, len(k), size):
        block = slice(start, start + size)
        p = np.exp(q @ k[block].T / root - cache["log_sums"][:, None])
        dscores = p * (dhead @ v[block].T - weighted)
        dq += dscores @ k[block] / root
        dk[block] = dscores.T @ q / root
        dv[block] = p.T @ dhead
    return dq, dk, dv
    ### END SOLUTION


# %% tags=["check", "id:check_attention_by_blocks_backward", "points:0"]
print(check("attention_by_blocks_backward", attention_by_blocks_backward))

# %% [markdown]
# ## 6. What do you have now?
#
# The hardest gradient of GPT-2. Everything that follows is shorter. Compare with the library's own: `dq`, `dk` and `dv`
# are written directly into `dqkv`, block by block, so nothing has to be merged at the end.
#
#     import inspect
#     from minigpt2.components import attention
#     print(inspect.getsource(attention.attention_backward))
#
# Next: [exercise 8](08_cross_entropy.ipynb), the loss.
