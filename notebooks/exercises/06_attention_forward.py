# %% [markdown]
# # Exercise 6: attention
#
# *Notebook 2.5.3, 注意力机制. About 60 minutes, 10 points.*
#
# Everything else in GPT-2 treats each token alone. Attention is the one place where tokens exchange what they know. You
# will build it in five small steps, each with its own check, and at the end you will watch it at work in a trained
# model.
#
# The idea is that of a meeting. Every token writes three vectors. Its **query** is a question to the others, its
# **key** says what it can be asked about, and its **value** is the answer if asked. A query meets all keys, their dot
# products are **scores**, and a softmax turns them into shares that sum to 1. The token takes home the mean of all
# values, weighted with these shares. Several such meetings are held side by side, about different questions; each is
# called a **head**. And nobody may listen to the future: GPT-2 should predict the next token, not look at it.
#
# Notebook 2.5.3, `notebooks/en/2_5_3_attention.ipynb` in the repository of minigpt2, gives the reasons; you need
# nothing but NumPy here.
#
# Shapes: `B` batch (texts), `T` time (tokens of a text), `C` channels (numbers of a token), `H` heads, `D` $= C/H$
# channels of a head, `S` scores of a row (in part 6, `S` keys). In code, $H$ is called `n_head`.

# %%
import numpy as np

from minigpt2.exercises import check

# %% [markdown]
# ## 1. The softmax
#
# *★☆☆ · about 10 minutes*
#
# It turns any numbers into shares, which are positive and sum to 1. For each row $s$ of $S$ scores, along the last
# axis:
#
# $$p_j = \frac{e^{s_j}}{\sum_i e^{s_i}}$$
#
# By hand: the scores $(0,\ \ln 2,\ 0)$ have the exponentials $(1, 2, 1)$, and so the shares
# $(\frac14, \frac12, \frac14)$. A score of $-\infty$ gets the share 0, since $e^{-\infty} = 0$.
#
# Now try the scores $(1000,\ 1000)$. The shares are a half each, but `np.exp(1000.0)` is `inf`, and `inf / inf` is
# `nan`. So one step is missing in the formula. What happens to $p$ when the same number is added to all scores of a
# row? Use that.
#
# <details><summary>A hint</summary>
#
# $e^{s-m} = e^s\,e^{-m}$, and the factor $e^{-m}$ cancels, whichever $m$ you choose. Choose the $m$ that makes the
# largest exponent 0: one number for each row. `keepdims=True` keeps its axis, so that it fits the row again.
#
# </details>


# %% tags=["answer", "id:softmax_forward"]
def softmax_forward(scores):
    """Turn scores into shares, along the last axis.

    scores: (..., S), some of them may be -inf, never a whole row
    returns probs (..., S), each row sums to 1.
    """
    ### BEGIN SOLUTION
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_softmax_forward", "points:1"]
report = check("softmax_forward", softmax_forward)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ## 2. Heads
#
# *★★☆ · about 15 minutes*
#
# The $C$ channels of a token are cut into $H$ heads, each a run of $D = C/H$ neighbours. With $C = 6$ and $H = 2$:
#
#     token 0:  [ 0  1  2 |  3  4  5 ]
#     token 1:  [ 6  7  8 |  9 10 11 ]
#                 head 0     head 1
#
# Head 0 of the two tokens is `[[0, 1, 2], [6, 7, 8]]`, an array of $T$ rows and $D$ columns. The heads work on such
# arrays independently of each other, and so it is handy to have the axis of the heads next to that of the batch: matrix
# products then act on the last two axes, $T$ and $D$.
#
# `split_heads` turns `(B, T, C)` into `(B, H, T, D)`, and `merge_heads` goes back. No number is changed: both only move
# numbers. Be careful: several wrong ways give the right shape.
#
# <details><summary>A hint</summary>
#
# A reshape never changes the order in which the numbers lie in memory; it only cuts the line of numbers in other
# places. So it can turn one axis into two neighbouring ones and back. To bring axes into another order you need
# `transpose` or `swapaxes`. Each of the two functions needs one step of each kind: in which order?
#
# </details>


# %% tags=["answer", "id:split_heads"]
def split_heads(x, n_head):
    """Cut the channels into heads.

    x: (B, T, C); n_head: H, a divisor of C
    returns heads (B, H, T, D).
    """
    ### BEGIN SOLUTION
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)
    ### END SOLUTION


# %% tags=["check", "id:check_split_heads", "points:1"]
report = check("split_heads", split_heads)
print(report)
round(1 * report.score, 2)


# %% tags=["answer", "id:merge_heads"]
def merge_heads(heads):
    """Put the heads of each token side by side again.

    heads: (B, H, T, D)
    returns x (B, T, C).
    """
    ### BEGIN SOLUTION
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)
    ### END SOLUTION


# %% tags=["check", "id:check_merge_heads", "points:1"]
report = check("merge_heads", merge_heads)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ## 3. The scores, and the mask
#
# *★★☆ · about 15 minutes*
#
# In each head, the score of query $i$ and key $j$ is their dot product, divided by the root of its length:
#
# $$\mathrm{scores}_{ij} = \frac{1}{\sqrt D}\sum_d q_{id}\,k_{jd} \qquad\text{that is}\qquad \frac{q\,k^\top}{\sqrt D}$$
#
# Why the root: if the channels of $q$ and $k$ are random with variance 1, the sum of $D$ products has the variance $D$.
# In GPT-2 a head has 64 channels, so scores of $\pm 8$ would be ordinary, and $e^8 \approx 3000$ gives nearly
# everything to a single key. The root brings the variance back to 1.
#
# Then comes the **mask**: where the key comes after the query, the score is $-\infty$. With four tokens:
#
#     key      0     1     2     3
#     query 0  s   -inf  -inf  -inf
#     query 1  s     s   -inf  -inf
#     query 2  s     s     s   -inf
#     query 3  s     s     s     s
#
# Each token sees itself and those before it. The rows are queries, the columns keys.
#
# <details><summary>A hint: the product</summary>
#
# `@` multiplies the last two axes and runs over all others. Which two axes of `k` must change places, so that
# `(T, D) @ (D, T)` becomes `(T, T)`? `k.T` would reverse all four.
#
# </details>
# <details><summary>A hint: the mask</summary>
#
# `np.tri(T, dtype=bool)` is True on the diagonal and below it, and `np.where(condition, a, b)` chooses.
#
# </details>


# %% tags=["answer", "id:causal_scores"]
def causal_scores(q, k):
    """How well each query fits each key that it may see.

    q, k: (B, H, T, D)
    returns scores (B, H, T, T), -inf where the key comes after the query.
    """
    ### BEGIN SOLUTION
    T, D = q.shape[-2:]
    scores = q @ k.swapaxes(-1, -2) / D**0.5
    return np.where(np.tri(T, dtype=bool), scores, -np.inf)
    ### END SOLUTION


# %% tags=["check", "id:check_causal_scores", "points:1"]
report = check("causal_scores", causal_scores)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ## 4. Attention
#
# *★★★ · about 20 minutes*
#
# Now everything together:
#
# $$[\,q\;\;k\;\;v\,] = x\,W_\mathrm{attn} + b_\mathrm{attn} \qquad\text{all queries, then all keys, then all values:
#   three times } C \text{ columns}$$
#
# $$\text{in each head:}\qquad \mathrm{probs} = \operatorname{softmax}(\text{scores with the mask}) \qquad
#   \mathrm{head} = \mathrm{probs}\;v$$
#
# $$y = [\,\mathrm{head}_0 \cdots \mathrm{head}_{H-1}\,]\;W_\mathrm{proj} + b_\mathrm{proj}$$
#
# The parameters come as GPT-2 stores them, in a dict of dicts:
#
# | | shape |
# |---|---|
# | `params["c_attn"]["weight"]` | `(C, 3C)` |
# | `params["c_attn"]["bias"]` | `(3C,)` |
# | `params["c_proj"]["weight"]` | `(C, C)` |
# | `params["c_proj"]["bias"]` | `(C,)` |
#
# By hand: three tokens of one channel, $x = (0, 1, 0)$, and one head. Let everybody ask $q = 1$ (by a bias, all others
# are 0), let $k = x\ln 2$ and $v = x$, and let $W_\mathrm{proj} = 1$. The first token sees only itself: $y_0 = 0$. The
# second has the scores $(0, \ln 2)$, hence the shares $(\frac13, \frac23)$ and $y_1 = \frac23$. And the third has our
# old friends $(0, \ln 2, 0)$, so $y_2 = \frac12$. Without the mask the first one would be $\frac12$ as well.
#
# Return `y` and a cache, whatever a backward pass would need, in a dict or as you like; in exercise 7 you get ours, so
# an empty one will do.
#
# <details><summary>A hint</summary>
#
# It is all in the four functions above, apart from two maps of the form $x\,W + b$ and the cut into three.
# `np.split(qkv, 3, axis=-1)` cuts. Write the shape beside every line.
#
# </details>


# %% tags=["answer", "id:attention_forward"]
def attention_forward(x, params, n_head):
    """Causal multi-head self-attention.

    x: (B, T, C)
    params: {"c_attn": {"weight" (C, 3C), "bias" (3C,)}, "c_proj": {"weight" (C, C), "bias" (C,)}}
    n_head: H, a divisor of C
    returns y (B, T, C) and a cache.
    """
    ### BEGIN SOLUTION
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]  # (B, T, 3C)
    q, k, v = (split_heads(part, n_head) for part in np.split(qkv, 3, axis=-1))  # (B, H, T, D) each
    scores = causal_scores(q, k)  # (B, H, T, T)
    probs = softmax_forward(scores)
    heads = merge_heads(probs @ v)  # (B, T, C)
    y = heads @ params["c_proj"]["weight"] + params["c_proj"]["bias"]
    return y, {
        "x": x, "params": params, "n_head": n_head,
        "q": q, "k": k, "v": v, "scores": scores, "probs": probs, "heads": heads,
    }  # fmt: skip
    ### END SOLUTION


# %% tags=["check", "id:check_attention_forward", "points:3"]
report = check("attention_forward", attention_forward)
print(report)
round(3 * report.score, 2)

# %% [markdown]
# ### Your attention in a trained model
#
# This package contains a small GPT-2 that has read Shakespeare. The cell takes the input of attention in its last
# block, runs *your* functions on it, and prints which tokens the last one, here ` king`, listens to in each of the four
# heads; each column sums to 1. You need not understand the cell. Change the sentence, and run it again.

# %%
sentence = "The king is old and the king"

if report:
    import minigpt2

    model = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
    tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
    ids = np.array([tokenizer.encode(sentence)])
    layer, params, n_head = model.forward(ids)[1]["h"][3]["attn"], model.params["h"][3]["attn"], model.config.n_head
    x, c_attn = layer["c_attn"]["x"], params["c_attn"]
    y = attention_forward(x, params, n_head)
    y = y[0] if isinstance(y, tuple) else y
    print(f"largest difference from the model's own attention: {np.abs(y - layer['out']).max():.0e}\n")

    qkv = x @ c_attn["weight"] + c_attn["bias"]
    q, k, _ = (split_heads(part, n_head) for part in np.split(qkv, 3, axis=-1))
    probs = softmax_forward(causal_scores(q, k))
    print(" " * 10 + "  ".join(f"head {h}" for h in range(n_head)))
    for t, token in enumerate(ids[0].tolist()):
        print(f"{tokenizer.decode([token])!r:9}", "  ".join(f"{probs[0, h, -1, t]:6.2f}" for h in range(n_head)))
else:
    print("Not yet: first let the check above pass.")

# %% [markdown]
# ## 5. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and all functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_parts_of_attention", "points:1"]
# Tests of the four functions that attention is made of, 1 point.
### BEGIN HIDDEN TESTS
for name, function in (
    ("softmax_forward", softmax_forward),
    ("split_heads", split_heads),
    ("merge_heads", merge_heads),
    ("causal_scores", causal_scores),
):
    report = check(name, function, seed=61)
    assert report.passed, report.hint
rng = np.random.default_rng(61)
x = rng.standard_normal((3, 11, 20))
assert np.array_equal(merge_heads(split_heads(x, 5)), x)
q, k = rng.standard_normal((2, 3, 4, 11, 5))
probs = softmax_forward(causal_scores(q, k))
assert np.allclose(probs.sum(-1), 1, atol=1e-12) and not np.triu(probs, 1).any() and np.all(probs[..., 0, 0] == 1)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_attention_forward", "points:2"]
# Tests of attention_forward, 2 points.
### BEGIN HIDDEN TESTS
report = check("attention_forward", attention_forward, seed=62)
assert report.passed, report.hint


def attend(x, params, n_head):
    result = attention_forward(x, params, n_head)
    return result[0] if isinstance(result, tuple) else result


rng = np.random.default_rng(62)
x, C = rng.standard_normal((2, 9, 12)), 12
params = {
    "c_attn": {"weight": rng.standard_normal((C, 3 * C)), "bias": rng.standard_normal(3 * C)},
    "c_proj": {"weight": rng.standard_normal((C, C)), "bias": rng.standard_normal(C)},
}
y = attend(x, params, 4)
other = x.copy()
other[:, 6:] += 1
changed = np.abs(attend(other, params, 4) - y).max((0, 2))
assert (changed[:6] < 1e-12).all() and (changed[6:] > 1e-6).all()  # no token sees a later one
assert np.allclose(attend(x[:, :5], params, 4), y[:, :5], atol=1e-10)
assert np.allclose(attend(x[::-1], params, 4), y[::-1], atol=1e-10)  # nor another text
value = x[:, 0] @ params["c_attn"]["weight"][:, 2 * C :] + params["c_attn"]["bias"][2 * C :]
assert np.allclose(y[:, 0], value @ params["c_proj"]["weight"] + params["c_proj"]["bias"], atol=1e-10)
params["c_attn"]["bias"][C : 2 * C] += 3.0  # moves all scores of a row alike
assert np.allclose(attend(x, params, 4), y, atol=1e-9)
### END HIDDEN TESTS

# %% [markdown]
# ## 6. Harder, if you like: without the large array
#
# *★★★ · about 40 minutes more*
#
# `scores` and `probs` have $T$ times $T$ numbers for every head, and that makes long texts expensive: with 1024 tokens
# and 12 heads, as in the smallest GPT-2, there are 12 million numbers in each layer for each text. *FlashAttention*
# (Dao et al. 2022, algorithm 1) computes the same result and never has more than a block of them. Programs that run
# large models work in this way.
#
# Take one head of one text, without a mask: `q` `(T, D)`, and `k`, `v` `(S, D)`. Go through the keys in blocks of
# `size`; the last one may be shorter. For each query keep three things about the keys seen so far:
#
# - $m$, the largest score
# - $\ell = \sum_j e^{s_j - m}$, the sum of the exponentials
# - $o = \sum_j e^{s_j - m}\,v_j$, the values weighted with them.
#
# At the end $\mathrm{head} = o / \ell$. The trap: a new block may have a larger maximum $m'$, and then $\ell$ and $o$
# have been made with the wrong one. What factor repairs them?
#
# Return also `log_sums`, $\ln\sum_j e^{s_j}$ for each query. With this one number for each row, exercise 7 goes
# backward. There are no points for this, but a check, which also looks at the memory that your function needs.
#
# <details><summary>A hint</summary>
#
# $e^{s-m'} = e^{s-m}\,e^{m-m'}$, and the last factor is the same for all keys of a row. Begin with $m = -\infty$: then
# the factor is $e^{-\infty} = 0$, and there is nothing to repair yet. For the last: $\sum_j e^{s_j} = e^m\,\ell$.
#
# </details>


# %% tags=["answer", "id:attention_by_blocks"]
def attention_by_blocks(q, k, v, size):
    """softmax(q k^T / sqrt(D)) v, one block of keys after the other.

    q: (T, D); k, v: (S, D); size: keys in a block
    returns head (T, D), log_sums (T,).
    """
    ### BEGIN SOLUTION
    T, D = q.shape
    largest = np.full((T, 1), -np.inf, q.dtype)
    total = np.zeros((T, 1), q.dtype)
    weighted = np.zeros_like(q)
    for start in range(0, len(k), size):
        scores = q @ k[start : start + size].T / D**0.5
        new = np.maximum(largest, scores.max(axis=1, keepdims=True))
        factor = np.exp(largest - new)
        e = np.exp(scores - new)
        total = total * factor + e.sum(axis=1, keepdims=True)
        weighted = weighted * factor + e @ v[start : start + size]
        largest = new
    return weighted / total, (largest + np.log(total))[:, 0]
    ### END SOLUTION


# %% tags=["check", "id:check_attention_by_blocks", "points:0"]
print(check("attention_by_blocks", attention_by_blocks))

# %% [markdown]
# ## 7. What do you have now?
#
# The heart of every large language model, in some twenty lines. Compare with the library's own. It cuts `qkv` without
# copying anything, works through a long text in blocks of queries, and can remember keys and values while it generates:
#
#     import inspect
#     from minigpt2.components import attention
#     print(inspect.getsource(attention.attention_forward))
#
# Next: [exercise 7](07_attention_backward.ipynb), the same way back.
