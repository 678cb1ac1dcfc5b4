# %% [markdown]
# # Exercise 3: positions
#
# *Notebook 2.5.2, 位置编码. About 45 minutes, 10 points.*
#
# "The dog bites the man" and "the man bites the dog" are made of the same words. The table of exercise 2 gives each
# word the same vector wherever it occurs, and attention, which comes later, looks at all of them at once and does not
# see an order either. So the order has to be in the vectors themselves. The remedy is one addition: every position has
# its own vector, a stamp, which is added to that of the token there.
#
# Where do the stamps come from? GPT-2 learns them, like everything else. The first Transformer, in 2017, computed them,
# with a row of clocks. You will write both.
#
# More about it is in notebook 2.5.2, `notebooks/en/2_5_2_position.ipynb` in the repository of minigpt2; you need
# nothing but NumPy here.
#
# Shapes: `B` batch (sequences at once), `T` time (tokens in a sequence), `C` channels (numbers in a vector), `P`
# positions (how many the model knows). The *gradient* of the loss with respect to `x` is called `dx`; it has the shape
# of `x`.

# %%
import numpy as np

from minigpt2.exercises import check

# %% [markdown]
# ## 1. Forward
#
# *★☆☆ · about 10 minutes*
#
# $$y_{btc} = x_{btc} + W_{\mathrm{start}+t,\,c}$$
#
# $W$ is the table (`weight`), with a row for each position, and `start` is the position of the first token. In training
# it is 0. When a model writes a text token by token it may remember the earlier tokens, and is given only the new one:
# then `start` is the number of tokens before it. An example with two sequences of two tokens, and `start` 1:
#
#     x = [[[10, 10],       weight = [[0, 1],       y = [[[12, 13],
#           [20, 20]],                [2, 3],             [24, 25]],
#          [[30, 30],                 [4, 5],            [[32, 33],
#           [40, 40]]]                [6, 7]]             [44, 45]]]
#
# Note that there is no $b$ on the right-hand $W$: all sequences get the same stamps.
#
# Return `y` and a cache: whatever your backward pass will need, in a dict or as you like. This check looks at `y` only;
# your teacher's tests hand your cache to your own backward pass. Make new arrays: your caller still needs `x`.
#
# <details><summary>A hint</summary>
#
# NumPy lines shapes up from the right: `(B, T, C) + (T, C)` adds the same rows to each of the `B` sequences. What would
# `(B, T, C) + (T, 1, C)` do, if `B` happened to be equal to `T`?
#
# </details>


# %% tags=["answer", "id:position_forward"]
def position_forward(x, weight, start=0):
    """Add the vector of each token's position.

    x: (B, T, C); weight: (P, C); start: position of the first token, so that start + T <= P
    returns y (B, T, C) and a cache for the backward pass.
    """
    ### BEGIN SOLUTION
    T = x.shape[1]
    return x + weight[start : start + T], {"weight": weight, "start": start}
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_position_forward", "points:2"]
report = check("position_forward", position_forward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 2. Backward
#
# *★★☆ · about 15 minutes*
#
# Given $dy$, the gradient of the loss with respect to $y$, find the gradients with respect to $x$ and to the table. Ask
# about a single number: what in $y$ moves if it grows by a little, and by how much?
#
# - $x_{btc}$ moves one number of $y$.
# - $W_{pc}$ moves one number in *each sequence*, if $p$ is among the positions that the text takes up, and nothing at
#   all if it is not. The chain rule adds up over everything that moves.
#
# Write down the two formulas before you write code. Each gradient has the shape of its array: `dweight` has a row for
# every position, used or not.
#
# The check hands your function a `cache` that was filled by *our* forward pass, a dict with `x`, `weight`, `start` and
# `positions` (the `T` rows that were used). To try it with your own cache, add `forward=position_forward` to the call
# of `check`: it must contain what your function takes from it.
#
# <details><summary>A hint</summary>
#
# In the example above, if every number of `dy` is 1: which rows of `dweight` are zero, and what is in the others?
#
# </details>


# %% tags=["answer", "id:position_backward"]
def position_backward(dy, cache):
    """Gradients of ``position_forward``.

    dy: (B, T, C)
    returns dx (B, T, C), dweight (P, C).
    """
    ### BEGIN SOLUTION
    start, T = cache["start"], dy.shape[1]
    dweight = np.zeros_like(cache["weight"])
    dweight[start : start + T] = dy.sum(axis=0)
    return dy, dweight
    ### END SOLUTION


# %% tags=["check", "id:check_position_backward", "points:3"]
report = check("position_backward", position_backward)
print(report)
round(3 * report.score, 2)

# %% [markdown]
# ## 3. A row of clocks
#
# *★★☆ · about 20 minutes*
#
# The Transformer of 2017 (Vaswani et al., "Attention Is All You Need", section 3.5) has nothing to learn here. Its
# stamp is a row of clocks, each with one hand. The first clock is fast, and each one after it slower. The sine and the
# cosine of a hand's angle are two channels, side by side. Clock $i$ gives at position $p$
#
# $$W_{p,\,2i} = \sin\frac{p}{10000^{2i/C}} \qquad W_{p,\,2i+1} = \cos\frac{p}{10000^{2i/C}} \qquad i = 0, 1, 2, \dots$$
#
# A fast clock tells neighbours apart but soon comes round again. A slow one can hardly tell neighbours apart but knows
# the hour. With four channels there are two clocks, and $10000^{2/4} = 100$:
#
#     position    sin(p)    cos(p)   sin(p/100)  cos(p/100)
#        0        0.0000    1.0000     0.0000      1.00000
#        1        0.8415    0.5403     0.0100      0.99995
#        2        0.9093   -0.4161     0.0200      0.99980
#
# If `C` is odd, the last clock has only its sine. Leave the numbers as NumPy makes them, in float64.
#
# <details><summary>A hint</summary>
#
# `table[:, 0::2]` are the even columns of a table, and `table[:, 1::2]` the odd ones; you can assign to both. How many
# columns does each have, if `C` is 5?
#
# </details>


# %% tags=["answer", "id:sinusoidal_positions"]
def sinusoidal_positions(P, C):
    """The position vectors of the 2017 Transformer.

    P: how many positions; C: how many channels, even or odd
    returns weight (P, C).
    """
    ### BEGIN SOLUTION
    angles = np.arange(P)[:, None] / 10000 ** (np.arange(0, C, 2) / C)
    weight = np.empty((P, C))
    weight[:, 0::2] = np.sin(angles)
    weight[:, 1::2] = np.cos(angles[:, : C // 2])
    return weight
    ### END SOLUTION


# %% tags=["check", "id:check_sinusoidal_positions", "points:2"]
report = check("sinusoidal_positions", sinusoidal_positions)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 4. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and your functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_position", "points:2"]
# Tests of position_forward and position_backward, 2 points.
### BEGIN HIDDEN TESTS
report = check("position_forward", position_forward, seed=31)
assert report.passed, report.hint
report = check("position_backward", position_backward, forward=position_forward, seed=32)
assert report.passed, report.hint
rng = np.random.default_rng(31)
x, weight = rng.standard_normal((3, 8, 5)), rng.standard_normal((11, 5))
whole, cache = position_forward(x, weight)
parts = [position_forward(x[:, t : t + 1], weight, start=t)[0] for t in range(8)]
assert np.allclose(whole, np.concatenate(parts, axis=1))
dx, dweight = position_backward(np.ones((3, 8, 5)), cache)
assert np.array_equal(dx, np.ones((3, 8, 5)))
assert np.array_equal(dweight, np.repeat([3.0, 0.0], [8, 3])[:, None] * np.ones(5))
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_sinusoidal_positions", "points:1"]
# Tests of sinusoidal_positions, 1 point.
### BEGIN HIDDEN TESTS
report = check("sinusoidal_positions", sinusoidal_positions)
assert report.passed, report.hint
table = sinusoidal_positions(300, 12)
assert np.allclose((table**2).sum(axis=1), 6)
products = table @ table.T
assert np.allclose(np.diagonal(products, 7), products[0, 7]), "a dot product must depend on the distance alone"
assert sinusoidal_positions(2, 33).shape == (2, 33)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. Harder, if you like: three positions ahead
#
# *★★★ · about 25 minutes more*
#
# Why clocks? The authors hoped that a model would easily learn to look "three tokens back", because of a property that
# only clocks have: **to go $k$ positions ahead, turn each hand by a fixed angle, the same at every position.** A turn
# is a multiplication by a matrix. So there is a matrix $M$ that depends on $k$ and not on $p$, with
#
# $$W_{p+k} = W_p\,M \qquad\text{for all } p.$$
#
# Find it, for even $C$. You need $\sin(a+b) = \sin a\cos b + \cos a\sin b$ and
# $\cos(a+b) = \cos a\cos b - \sin a\sin b$. Note that $W_p$ is a *row* and is to the left of $M$. There are no points
# for this, but a check.
#
# <details><summary>A hint</summary>
#
# Take a single clock first. The row $(\sin a, \cos a)$ must become $(\sin(a+b), \cos(a+b))$: what is the first column
# of a 2 x 2 matrix that does this? Then: clocks do not mix.
#
# </details>


# %% tags=["answer", "id:shift_matrix"]
def shift_matrix(k, C):
    """k: any integer; C: even; returns M (C, C), which moves a row of the table k positions ahead."""
    ### BEGIN SOLUTION
    M = np.zeros((C, C))
    for i in range(0, C, 2):
        angle = k / 10000 ** (i / C)
        M[i : i + 2, i : i + 2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return M
    ### END SOLUTION


# %% tags=["check", "id:check_shift_matrix", "points:0"]
print(check("shift_matrix", shift_matrix))

# %% [markdown]
# Many models after GPT-2 make more of this: they rotate the vectors inside attention by such a matrix and need no table
# (Su et al. 2021, "RoFormer", rotary position embedding).
#
# ## 6. What do you have now?
#
# The input of GPT-2's first block: tokens and their places. Compare with the library's own:
#
#     import inspect
#     from minigpt2.components import position
#     print(inspect.getsource(position))
#
# A question to take with you: a model was trained on texts of 16 tokens, with a learned table of 32 rows. What do rows
# 16 to 31 contain?
#
# Next: [exercise 4](04_linear_and_gelu.ipynb), the linear layer and the GELU.
