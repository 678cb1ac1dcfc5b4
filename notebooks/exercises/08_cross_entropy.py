# %% [markdown]
# # Exercise 8: the loss
#
# *Notebooks 2.5.7 and 2.5.8, 标签平滑 and 损失函数. About 60 minutes, 10 points.*
#
# A model learns by being told how wrong it was, in one number, the *loss*. GPT-2's number is the **surprise**. At every
# place the model gives each token of the vocabulary a probability of coming next. Then the text shows which one came.
# If the model gave it $p = 1$, it is not surprised at all; if it gave it nearly nothing, it is very surprised. The
# measure of this is $-\ln p$. Training does nothing but make the mean surprise small.
#
# You will write the loss, so that no logit, however large, can break it, and then its gradient. Every backward pass
# begins with that gradient. It is of rare beauty: predicted minus wanted.
#
# The formulas are derived in notebooks 2.5.8 and 2.5.7, `notebooks/en/2_5_8_loss_function.ipynb` and
# `notebooks/en/2_5_7_label_smoothing.ipynb` in the repository of minigpt2; you need nothing but NumPy here.
#
# Shapes: `B` batch (texts), `T` time (tokens of a text), `V` vocabulary (how many different tokens there are), `...`
# any leading axes, usually `(B, T)`. `N` is the number of positions, that is $B\cdot T$. A gradient of `x` is called
# `dx`.

# %%
import numpy as np

from minigpt2.exercises import check

# %% [markdown]
# ## 1. Forward
#
# *★★☆ · about 35 minutes*
#
# At each position there are $V$ *logits* $z_v$, scores of any size and sign, and a *target*, the id of the token that
# came. `targets[b, t]` already is the token that follows position `t`: do not shift it. The softmax turns the logits
# into probabilities, and the loss of the position compares their logarithms with the wanted distribution $q$:
#
# $$p_v = \frac{e^{z_v}}{\sum_u e^{z_u}} \qquad
#   \mathrm{loss} = -\sum_v q_v \ln p_v \qquad
#   q_v = (1-\varepsilon)\,[v = \mathrm{target}] + \frac \varepsilon V$$
#
# ($[\ldots]$ is 1 if the statement in it is true, and 0 if not.) The $\varepsilon$ is `label_smoothing`. With
# $\varepsilon=0$, as in GPT-2, $q$ is 1 at the target and 0 elsewhere (it is *one-hot*), and the loss of the position
# is just $-\ln p_{\mathrm{target}}$. With $\varepsilon=0.1$ the model is told to be a little less sure: a tenth of the
# distribution is shared among *all* $V$ tokens, the target included.
#
# By hand: with the logits $(0, 0, \ln 2, 0)$ the exponentials are $(1, 1, 2, 1)$, and so
# $p = (\frac15, \frac15, \frac25, \frac15)$. If the target is token 2, the loss is $-\ln\frac25 = 0.916$. With
# $\varepsilon=0.2$ we have $q = (0.05, 0.05, 0.85, 0.05)$, and the loss is
# $-0.85\ln\frac25 - 3\cdot0.05\ln\frac15 = 1.020$.
#
# Two more things:
#
# - **Some targets do not count.** Where there is nothing to predict, as in the padding after a short text, the target
#   is `ignore_index`; at least one counts. The loss of the batch is the mean over the positions that do count, $N_c$ of
#   them: $\frac1{N_c}\sum_n \mathrm{loss}_n$.
# - **No overflow, and no $\ln 0$.** `np.exp(1000.0)` is `inf`, and `np.exp(-1000.0)` is 0. Both occur if you follow the
#   formula to the letter. There is an exact way around them. First: what happens to $p$ if the same number is added to
#   all logits of a position? And second: multiply out $\ln p_v = \ln\frac{e^{z_v}}{\sum_u e^{z_u}}$, and only the sum
#   still needs a logarithm.
#
# Begin with $\varepsilon=0$ and without ignored targets, run the check (about half of it passes then), and add the
# rest.
#
# Return the loss and a *cache*: whatever your backward pass will need, in a dict or as you like. This check looks at
# the loss only. Do not change `logits`: the caller still needs them.
#
# <details><summary>A hint for the logarithm</summary>
#
# $\ln p_v = z_v - \ln\sum_u e^{z_u}$. Subtract the largest $z$ of each position from all its logits first: then no
# exponent is above 0, one of them is 0, and the sum lies between 1 and $V$.
#
# </details>
#
# <details><summary>A hint for the indices</summary>
#
# Make one long list of positions: `logits.reshape(-1, V)` and `targets.reshape(-1)`. Then `rows[np.arange(N), targets]`
# picks one number from each row. Before that, keep only the rows that count; -100 is not an index.
#
# </details>


# %% tags=["answer", "id:cross_entropy_forward"]
def cross_entropy_forward(logits, targets, label_smoothing=0.0, ignore_index=-100):
    """Mean cross-entropy between targets and softmax(logits), in nats.

    logits: (..., V); targets: (...) integers, or ignore_index where there is nothing to predict
    label_smoothing: e, from 0 to 1
    returns loss, a number, and a cache for the backward pass.
    """
    ### BEGIN SOLUTION
    V, e = logits.shape[-1], label_smoothing
    rows, flat = logits.reshape(-1, V), targets.reshape(-1)
    counted = flat != ignore_index
    shifted = rows - rows.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    mine, wanted = log_p[counted], flat[counted]
    losses = -(1 - e) * mine[np.arange(len(mine)), wanted] - e * mine.mean(axis=-1)
    cache = {"logits": logits, "probs": np.exp(log_p), "targets": flat, "counted": counted, "label_smoothing": e}
    return losses.mean(), cache
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_cross_entropy_forward", "points:3"]
report = check("cross_entropy_forward", cross_entropy_forward)
print(report)
round(3 * report.score, 2)

# %% [markdown]
# ### The surprise of a trained model
#
# This package contains a small GPT-2 that has read Shakespeare. When your loss is right, this cell shows it a line, and
# prints how surprised it was by each token except the first. The *perplexity*, $e^{\mathrm{loss}}$, says it in another
# way: the model is as surprised as someone who must guess among that many equally likely tokens. (A word may be several
# tokens.) Try a line from the newspaper.

# %%
line = "Good night, good night! Parting is such sweet sorrow"

if report:
    import minigpt2

    model, tokenizer = (each.from_pretrained("shakespeare") for each in (minigpt2.GPT2, minigpt2.Tokenizer))
    ids = np.array([tokenizer.encode(line)])
    logits, targets = model.forward(ids[:, :-1])[0], ids[:, 1:]

    def loss_of(some):
        result = cross_entropy_forward(logits[:, some], targets[:, some])
        return float(result[0] if isinstance(result, tuple) else result)

    for t in range(targets.size):
        surprise = loss_of(slice(t, t + 1))
        print(f"{tokenizer.decode(targets[0, t : t + 1])!r:12} {surprise:5.2f} {'#' * min(40, round(4 * surprise))}")
    loss, V = loss_of(slice(None)), logits.shape[-1]
    print(f"\nloss {loss:.2f}, perplexity {np.exp(loss):.0f}; if it knew nothing: {np.log(V):.2f}, {V}")
else:
    print("Not yet: first let the check above pass.")

# %% [markdown]
# ## 2. Backward
#
# *★★★ · about 25 minutes*
#
# Given `dloss`, the gradient of the minimised quantity with respect to this loss (a single number, often just 1), find
# the gradient of the logits. Start from $\ln p_u = z_u - \ln\sum_w e^{z_w}$: how much does it change when $z_v$ grows
# by a little? (Two cases, $u=v$ and $u\ne v$.) Then sum over $u$ with the weights $-q_u$, and remember that the $q_u$
# sum to 1. The result is
#
# $$dz_{nv} = d\mathrm{loss}\cdot\frac{p_{nv}-q_{nv}}{N_c} \quad\text{where the target counts, and } 0
#   \text{ where it does not.}$$
#
# In the example above with $\varepsilon=0$: $p - q = (0.2,\ 0.2,\ -0.6,\ 0.2)$. A step against the gradient raises the
# target's logit and lowers the others, each by as much as it was believed, and the pushes sum to 0.
#
# The check hands your function a `cache` that was filled by *our* forward pass. It has the positions in one long list:
# `probs` (N, V), `log_sum_exp` (N,), `targets` (N,), with `ignore_index` where nothing counts, `counted` (N,), which is
# False there; and `logits` (..., V), `label_smoothing` and `ignore_index`. If you prefer to use your own, add
# `forward=cross_entropy_forward` to the call of `check`.
#
# <details><summary>A hint</summary>
#
# Print `dlogits.sum(axis=-1)`: it is 0 at every position. And `dlogits` has the shape of `logits`, while `probs` is a
# long list. If you change `probs` itself, you change the cache; start from a copy.
#
# </details>


# %% tags=["answer", "id:cross_entropy_backward"]
def cross_entropy_backward(dloss, cache):
    """Gradient of ``cross_entropy_forward``.

    dloss: a number
    returns dlogits (..., V).
    """
    ### BEGIN SOLUTION
    probs, targets, counted, e = (cache[name] for name in ("probs", "targets", "counted", "label_smoothing"))
    V = probs.shape[-1]
    q = (1 - e) * (targets[:, None] == np.arange(V)) + e / V
    dlogits = np.where(counted[:, None], probs - q, 0) * (dloss / counted.sum())
    return dlogits.reshape(cache["logits"].shape).astype(probs.dtype)
    ### END SOLUTION


# %% tags=["check", "id:check_cross_entropy_backward", "points:4"]
report = check("cross_entropy_backward", cross_entropy_backward)
print(report)
round(4 * report.score, 2)

# %% [markdown]
# ## 3. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and both functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_cross_entropy_forward", "points:1"]
# Tests of cross_entropy_forward, 1 point.
### BEGIN HIDDEN TESTS
report = check("cross_entropy_forward", cross_entropy_forward, seed=81)
assert report.passed, report.hint


def loss_alone(*inputs):
    result = cross_entropy_forward(*inputs)
    return result[0] if isinstance(result, tuple) else result


rng = np.random.default_rng(81)
logits, targets = rng.standard_normal((3, 20, 9)), rng.integers(0, 9, (3, 20))
assert np.isclose(loss_alone(np.full((2, 5, 9), 700.0), targets[:2, :5], 0.3, -100), np.log(9), rtol=1e-9, atol=0)
some = np.where(rng.random((3, 20)) < 0.4, -100, targets)
alone = loss_alone(logits[some != -100], some[some != -100], 0.2, -100)
assert np.isclose(loss_alone(logits, some, 0.2, -100), alone, rtol=1e-9, atol=0)
assert np.isclose(loss_alone(logits + 50 * rng.standard_normal((3, 20, 1)), some, 0.2, -100), alone, rtol=1e-9, atol=0)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_cross_entropy_backward", "points:2"]
# Tests of cross_entropy_backward with your own forward pass, 2 points.
### BEGIN HIDDEN TESTS
report = check("cross_entropy_backward", cross_entropy_backward, forward=cross_entropy_forward, seed=82)
assert report.passed, report.hint
rng = np.random.default_rng(82)
logits, targets = rng.standard_normal((2, 30, 7)), rng.integers(0, 7, (2, 30))
targets[:, ::3] = -100
loss, cache = cross_entropy_forward(logits, targets, 0.1, -100)
dlogits = cross_entropy_backward(1.0, cache)
assert dlogits.shape == logits.shape and np.allclose(dlogits.sum(-1), 0, atol=1e-12) and not dlogits[:, ::3].any()
assert cross_entropy_forward(logits - dlogits, targets, 0.1, -100)[0] < loss
best = np.log(np.full((1, 4, 7), 0.1 / 7) + 0.9 * (np.arange(7) == np.array([[[0], [6], [2], [2]]])))
_, cache = cross_entropy_forward(best, np.array([[0, 6, 2, 2]]), 0.1, -100)
assert np.allclose(cross_entropy_backward(1.0, cache), 0, atol=1e-12)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Harder, if you like: the z-loss
#
# *★★☆ · about 20 minutes more*
#
# Add 1000 to all logits of a position, and the loss does not change. So nothing in the loss keeps them near 0. In a
# long training run they may drift, and the larger numbers are, the more coarsely a computer rounds them, above all in
# the 16-bit formats in which large models are trained. Google's PaLM therefore had a second, small loss, which pulls
# the sum of the softmax towards 1 (Chowdhery et al. 2022, "PaLM: Scaling Language Modeling with Pathways", section 5,
# with the weight $10^{-4}$):
#
# $$Z_n = \sum_v e^{z_{nv}} \qquad \mathrm{loss} = \mathrm{weight}\cdot\frac1N\sum_n (\ln Z_n)^2$$
#
# Write it, and derive its gradient. In which direction does it pull the logits of a position whose $Z$ is above 1, and
# which of them most? The `cache` has `logits`, `weight`, `log_z` (...) and `probs` (..., V). There are no points for
# this, but a check.


# %% tags=["answer", "id:z_loss"]
def z_loss_forward(logits, weight=1e-4):
    """logits: (..., V); weight: a number; returns loss, a number, and a cache for the backward pass."""
    ### BEGIN SOLUTION
    highest = logits.max(axis=-1, keepdims=True)
    log_z = highest + np.log(np.exp(logits - highest).sum(axis=-1, keepdims=True))
    cache = {"weight": weight, "log_z": log_z[..., 0], "probs": np.exp(logits - log_z)}
    return weight * (log_z**2).mean(), cache
    ### END SOLUTION


def z_loss_backward(dloss, cache):
    """dloss: a number; returns dlogits (..., V)."""
    ### BEGIN SOLUTION
    log_z = cache["log_z"]
    return dloss * cache["weight"] * 2 / log_z.size * log_z[..., None] * cache["probs"]
    ### END SOLUTION


# %% tags=["check", "id:check_z_loss", "points:0"]
print(check("z_loss_forward", z_loss_forward))
print()
print(check("z_loss_backward", z_loss_backward))

# %% [markdown]
# ## 5. What do you have now?
#
# The number that training makes small, and the gradient with which everything else begins. Compare with the library's
# own: it never keeps the probabilities, which for GPT-2's 50,257 tokens are the largest array of all, but computes them
# again from the logits, a few rows at a time:
#
#     import inspect
#     from minigpt2.components import loss
#     print(inspect.getsource(loss))
#
# A question to take with you: a model with label smoothing $\varepsilon$ has learned all that there is to learn. What
# is its loss on a text without any uncertainty? Why is it not 0?
#
# Next: [exercise 9](09_adamw.ipynb), the optimizer.
