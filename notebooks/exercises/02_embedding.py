# %% [markdown]
# # Exercise 2: the embedding
#
# *Notebook 2.5.1, 嵌入层. About 45 minutes, 10 points.*
#
# The tokenizer turned a text into numbers, its *ids*. But an id is only a name: token 500 is not twice token 250. So
# GPT-2 keeps a table with one row of numbers for each token of its vocabulary, and begins by looking the rows up. At
# its other end it uses the very same table again, to score which token comes next. You will write both ends, forward
# and backward. Forward they are a line each; backward there is a trap that nearly everyone falls into once.
#
# More about it is in notebook 2.5.1, `notebooks/en/2_5_1_embedding.ipynb` in the repository of minigpt2; you need
# nothing but NumPy here.
#
# Shapes: `B` batch (sequences at once), `T` time (tokens in a sequence), `C` channels (numbers in a vector), `V`
# vocabulary (how many different tokens there are). The *gradient* of the loss with respect to `x` is called `dx`; it
# has the shape of `x`.

# %%
import numpy as np

from minigpt2.exercises import check

# %% [markdown]
# ## 1. Look up
#
# *★☆☆ · about 10 minutes*
#
# $$y_{bt} = W_{\mathrm{ids}_{bt}} \qquad\text{(a row of } C \text{ numbers)}$$
#
# In words: at every place, take the row of the table $W$ (`weight`) that belongs to the token there. With four tokens
# in the vocabulary and two channels:
#
#     weight = [[0, 1],      ids = [[2, 0, 2]]      y = [[[4, 5],
#               [2, 3],                                   [0, 1],
#               [4, 5],                                   [4, 5]]]
#               [6, 7]]
#
# One could also write each id as a row of zeros with a single 1 in it (*one-hot*), and multiply: `one_hot @ weight`.
# That is the same, and a good way to think of it. But the real GPT-2 has $V=50257$, so a text of 1024 tokens would need
# 51 million numbers, nearly all of them zero, to say the same as 1024 integers.
#
# Return `y` and a *cache*: whatever your backward pass will need, in a dict or as you like. This check looks at `y`
# only; your teacher's tests hand your cache to your own backward pass. Change neither `ids` nor `weight`: the caller
# still needs them.
#
# <details><summary>A hint</summary>
#
# NumPy can index an array with an array of integers. Try `np.array([10, 20, 30])[np.array([[2, 0], [1, 1]])]`. What do
# you get when the indexed array has two axes?
#
# </details>


# %% tags=["answer", "id:embedding_forward"]
def embedding_forward(ids, weight):
    """Look up the vector of each token.

    ids: (B, T) integers from 0 to V-1; weight: (V, C)
    returns y (B, T, C) and a cache for the backward pass.
    """
    ### BEGIN SOLUTION
    return weight[ids], {"ids": ids, "weight": weight}
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_embedding_forward", "points:1"]
report = check("embedding_forward", embedding_forward)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# What if there is no such token? NumPy complains about an id that is too large, but silently counts a negative one from
# the end of the table:

# %%
print(np.arange(8).reshape(4, 2)[np.array([[-1]])])

# %% [markdown]
# A token that stands for nothing is often written as -1, so this happens. The library's function looks at all ids and
# raises a `ValueError`. Yours may do so too; the check asks only for ids that are in the table.
#
# ## 2. Backward
#
# *★★☆ · about 15 minutes*
#
# Given $dy$, the gradient of the loss with respect to $y$, find the gradient with respect to the table. (Integers have
# no gradient.) If row $v$ grows by a little, then $y$ grows by as much at *every* place where token $v$ occurs. The
# chain rule adds up over all of them:
#
# $$dW_v = \sum_{(b,t)\,:\,\mathrm{ids}_{bt}=v} dy_{bt}$$
#
# A token that does not occur has the gradient zero. In the example above, where token 2 occurs at two places:
#
#     ids = [[2, 0, 2]]      dy = [[[1, 0],        dweight = [[ 0, 1],
#                                   [0, 1],                   [ 0, 0],
#                                   [7, 0]]]                  [ 8, 0],
#                                                             [ 0, 0]]
#
# The check hands your function a `cache` that was filled by *our* forward pass, a dict with `ids`, `weight`, and
# `one_hot` (B, T, V). To try it with your own cache, add `forward=embedding_forward` to the call of `check`: it must
# contain what your function takes from it.
#
# <details><summary>A hint</summary>
#
# Two loops, over `b` and `t`, are a fine solution. If you want a single line: try `a = np.zeros(3)`, then
# `a[[1, 1]] += 1`. What did you expect?
#
# </details>
#
# <details><summary>Another</summary>
#
# NumPy has a function for just this: `np.add.at`.
#
# </details>


# %% tags=["answer", "id:embedding_backward"]
def embedding_backward(dy, cache):
    """Gradient of ``embedding_forward``.

    dy: (B, T, C)
    returns dweight (V, C).
    """
    ### BEGIN SOLUTION
    dweight = np.zeros_like(cache["weight"])
    np.add.at(dweight, cache["ids"], dy)
    return dweight
    ### END SOLUTION


# %% tags=["check", "id:check_embedding_backward", "points:3"]
report = check("embedding_backward", embedding_backward)
print(report)
round(3 * report.score, 2)

# %% [markdown]
# ## 3. The other end: score every token
#
# *★★☆ · about 20 minutes*
#
# After its last layer GPT-2 has a vector $x$ at every place, and asks: which token comes next? It compares $x$ with the
# row of every token, by the dot product, which is large where two vectors point the same way:
#
# $$\mathrm{logits}_{nv} = \sum_c x_{nc}\,W_{vc}$$
#
# ($n$ counts the places; it stands for $b, t$ or any number of leading axes.) A *logit* is such a score; a later
# exercise turns it into a probability. With the table above, $x = (1, -1)$ gives the logits $(-1, -1, -1, -1)$, and
# $x = (0, 2)$ gives $(2, 6, 10, 14)$. The library calls this `unembedding`.


# %% tags=["answer", "id:unembedding_forward"]
def unembedding_forward(x, weight):
    """Score every token of the vocabulary.

    x: (..., C), with one leading axis or more; weight: (V, C)
    returns logits (..., V) and a cache for the backward pass.
    """
    ### BEGIN SOLUTION
    return x @ weight.T, {"x": x, "weight": weight}
    ### END SOLUTION


# %% tags=["check", "id:check_unembedding_forward", "points:1"]
report = check("unembedding_forward", unembedding_forward)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# Now backward. Ask about a single number first: which logits move if $x_{nc}$ grows by a little, and by how much? Which
# ones move if $W_{vc}$ does? Then add up, and write the sums as products of matrices. The shapes tell you which one
# must be transposed, except where $V = C$: then only your formula does.
#
# The `cache` of our forward pass is a dict with `x` and `weight`; yours must contain what your function takes from it.
# The gradient that you are given is called `dlogits`.
#
# <details><summary>A hint</summary>
#
# $W_{vc}$ acts at every place $n$, so its gradient is a sum over all places, however many axes they are spread over.
# `x.reshape(-1, C)` makes one long list of the places.
#
# </details>


# %% tags=["answer", "id:unembedding_backward"]
def unembedding_backward(dlogits, cache):
    """Gradients of ``unembedding_forward``.

    dlogits: (..., V)
    returns dx (..., C), dweight (V, C).
    """
    ### BEGIN SOLUTION
    x, weight = cache["x"], cache["weight"]
    V, C = weight.shape
    return dlogits @ weight, dlogits.reshape(-1, V).T @ x.reshape(-1, C)
    ### END SOLUTION


# %% tags=["check", "id:check_unembedding_backward", "points:2"]
report = check("unembedding_backward", unembedding_backward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 4. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and your functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_embedding", "points:2"]
# Tests of embedding_forward and embedding_backward, 2 points.
### BEGIN HIDDEN TESTS
report = check("embedding_forward", embedding_forward, seed=21)
assert report.passed, report.hint
report = check("embedding_backward", embedding_backward, forward=embedding_forward, seed=22)
assert report.passed, report.hint
rng = np.random.default_rng(21)
ids, weight, dy = rng.integers(0, 9, (4, 25)), rng.standard_normal((12, 3)), rng.standard_normal((4, 25, 3))
y, cache = embedding_forward(ids, weight)
dweight = embedding_backward(dy, cache)
assert np.allclose((dy * y).sum(), (dweight * weight).sum()) and np.allclose(dweight.sum(0), dy.sum((0, 1)))
assert not dweight[9:].any()
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_unembedding", "points:1"]
# Tests of unembedding_forward and unembedding_backward, 1 point.
### BEGIN HIDDEN TESTS
report = check("unembedding_forward", unembedding_forward, seed=23)
assert report.passed, report.hint
report = check("unembedding_backward", unembedding_backward, forward=unembedding_forward, seed=24)
assert report.passed, report.hint
rng = np.random.default_rng(23)
x, weight, dlogits = rng.standard_normal((2, 7, 5)), rng.standard_normal((5, 5)), rng.standard_normal((2, 7, 5))
logits, cache = unembedding_forward(x, weight)
dx, dweight = unembedding_backward(dlogits, cache)
assert np.allclose((dlogits * logits).sum(), (dx * x).sum())
assert np.allclose((dlogits * logits).sum(), (dweight * weight).sum())
### END HIDDEN TESTS

# %% [markdown]
# ## 5. Harder, if you like: one table at both ends
#
# *★★☆ · about 15 minutes more*
#
# In GPT-2 the two tables are *tied*: they are the same array. The small GPT-2 has 124 million numbers to learn; with a
# second table they would be 163 million. Omit everything between the two ends, and you have the smallest of all
# language models, which looks at one token and scores the next:
#
# $$x_{bt} = W_{\mathrm{ids}_{bt}} \qquad \mathrm{logits}_{btv} = \sum_c x_{btc}\,W_{vc}$$
#
# Write it, and its gradient. $W$ now acts on the logits in two ways. You have everything that you need: call your
# functions from above. There are no points for this, but a check; here your backward pass gets the cache of your own
# forward pass.


# %% tags=["answer", "id:tied_embedding"]
def tied_embedding_forward(ids, weight):
    """ids: (B, T); weight: (V, C); returns logits (B, T, V) and a cache for the backward pass."""
    ### BEGIN SOLUTION
    x, lookup = embedding_forward(ids, weight)
    logits, output = unembedding_forward(x, weight)
    return logits, {"lookup": lookup, "output": output}
    ### END SOLUTION


def tied_embedding_backward(dlogits, cache):
    """dlogits: (B, T, V); returns dweight (V, C)."""
    ### BEGIN SOLUTION
    dx, dweight = unembedding_backward(dlogits, cache["output"])
    return dweight + embedding_backward(dx, cache["lookup"])
    ### END SOLUTION


# %% tags=["check", "id:check_tied_embedding", "points:0"]
print(check("tied_embedding_forward", tied_embedding_forward))
print()
print(check("tied_embedding_backward", tied_embedding_backward, forward=tied_embedding_forward))

# %% [markdown]
# ## 6. What do you have now?
#
# Both ends of GPT-2: the way from ids to vectors, and the way from vectors to scores. Compare with the library's own:
#
#     import inspect
#     from minigpt2.components import embedding
#     print(inspect.getsource(embedding))
#
# A question to take with you: exchange two tokens of a text. What happens to the rows of `y`? Does any row say where
# its token was?
#
# Next: [exercise 3](03_position.ipynb), positions.
