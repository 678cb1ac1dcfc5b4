# %% [markdown]
# # Exercise 9: the optimizer
#
# *Notebook 2.5.9, 优化器. About 45 minutes, 10 points.*
#
# The backward pass says of each parameter whether the loss grows or shrinks with it. The optimizer decides what to do
# about it. The plainest one takes a step against the gradient, longer the steeper it is. But one parameter may have a
# gradient of 100 and another a gradient of 0.01, and no single step size suits both: too long for the first is still
# too short for the second.
#
# **Adam** distrusts the steepness. It divides each parameter's gradient by its own usual size, so that all of them move
# by about the same amount in each step. **AdamW** adds weight decay in the right place: all weights are drawn a little
# towards zero. Nearly every large language model is trained with it, and it takes five lines. You will write it, and
# the clipping that protects it from a gradient that has gone wild.
#
# Notebook 2.5.9, `notebooks/en/2_5_9_optimizer.ipynb` in the repository of minigpt2, gives the reasons; you need
# nothing but NumPy here.
#
# Words: the *parameters* or weights `w` are the numbers that training changes; `g` is the gradient of the loss with
# respect to them, and has their shape. Everything in part 1 happens to each number separately.

# %%
import math

import numpy as np

from minigpt2.exercises import check

# %% [markdown]
# ## 1. A step of AdamW
#
# *★★☆ · about 30 minutes*
#
# Two running means are kept for each parameter, the *moments*: $m$ of the gradient, and $v$ of its square, so that
# $\sqrt v$ is its usual size. "Running" means that a share $\beta$ of the old mean stays, and the rest is new:
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\,g \qquad v \leftarrow \beta_2 v + (1-\beta_2)\,g^2$$
#
# Both begin at zero, so they are too small at first. After $t$ steps, the first of which is $t=1$, the shares of all
# gradients so far sum only to $1-\beta^t$. So the moments are divided by that, for this step's use:
#
# $$\hat m = \frac{m}{1-\beta_1^{\,t}} \qquad \hat v = \frac{v}{1-\beta_2^{\,t}}$$
#
# Then the weights move, by the *learning rate* `lr` times the quotient. `eps` keeps it from being 0/0. At the same time
# the weights lose a share of themselves, `weight_decay` times `lr`. In the formula the $w$ on the right is the old one,
# both times:
#
# $$w \leftarrow w - \mathrm{lr}\cdot\mathrm{weight\_decay}\cdot w
#   - \mathrm{lr}\,\frac{\hat m}{\sqrt{\hat v}+\mathrm{eps}}$$
#
# By hand, the first step of a single weight: $w=1$, $g=0.5$, lr 0.1, $\beta_1=0.9$, $\beta_2=0.95$, weight decay 0.1.
#
#     m = 0.1 * 0.5   = 0.05       m_hat = 0.05 / 0.1    = 0.5
#     v = 0.05 * 0.25 = 0.0125     v_hat = 0.0125 / 0.05 = 0.25       quotient = 0.5 / 0.5 = 1
#     w = 1 - 0.1 * 0.1 * 1 - 0.1 * 1 = 0.89
#
# Now take $g=500$ instead, and compute again. What has changed in the last line?
#
# Return the new `w`, `m` and `v` as new arrays. (Real optimizers write into the old ones, to save memory. Here your
# caller still needs them.)
#
# <details><summary>A hint</summary>
#
# Write one line for each formula, in their order, with the names of the formulas. $\beta^t$ is `beta1**t`. The next
# step begins with the `m` and `v` that you return: are they with or without a hat?
#
# </details>


# %% tags=["answer", "id:adamw_step"]
def adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """One step of AdamW.

    w, g, m, v: arrays of one shape, the weights, their gradient and the two moments
    t: number of this step, the first is 1; the others are numbers
    returns w, m, v after the step.
    """
    ### BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * weight_decay * w - lr * m_hat / (np.sqrt(v_hat) + eps)
    return w, m, v
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_adamw_step", "points:4"]
report = check("adamw_step", adamw_step)
print(report)
round(4 * report.score, 2)

# %% [markdown]
# ## 2. Clipping
#
# *★☆☆ · about 15 minutes*
#
# Now and then a batch has a monstrous gradient, and a single step along it can undo hours of training. So the gradient
# is made shorter when it is too long, without changing its direction. Its length is the *global norm*, over all numbers
# of all arrays together, and one factor applies to all of them:
#
# $$\mathrm{norm} = \sqrt{\sum_i g_i^2} \qquad
#   g \leftarrow g\cdot\min\Bigl(1,\ \frac{\mathrm{max\_norm}}{\mathrm{norm}+10^{-6}}\Bigr)$$
#
# The $10^{-6}$ is there for a gradient of zeros; PyTorch has it too. By hand: `{"a": [3], "b": [0, 4]}` has the norm 5.
# With `max_norm=1` all numbers are multiplied by nearly 0.2, and with `max_norm=10` nothing happens.
#
# Return the gradients in a new dict, and the norm *before* clipping: one watches it during training.
#
# <details><summary>A hint</summary>
#
# First one number from all arrays, then one factor from this number, and then a new dict. Two loops, one after the
# other.
#
# </details>


# %% tags=["answer", "id:clip_by_norm"]
def clip_by_norm(grads, max_norm):
    """Scale gradients down to a global norm, if theirs is larger.

    grads: dict of arrays, name -> gradient; max_norm: a number above 0
    returns grads, a new dict with the same names, and norm, their norm before clipping.
    """
    ### BEGIN SOLUTION
    norm = np.sqrt(sum((g * g).sum() for g in grads.values()))
    factor = min(1.0, float(max_norm / (norm + 1e-6)))
    return {name: g * factor for name, g in grads.items()}, norm
    ### END SOLUTION


# %% tags=["check", "id:check_clip_by_norm", "points:3"]
report = check("clip_by_norm", clip_by_norm)
print(report)
round(3 * report.score, 2)

# %% [markdown]
# ### Your optimizer at work
#
# This package contains a small GPT-2 that has read Shakespeare. When both functions are right, this cell teaches it one
# modern line, with the model's gradients and your steps, and then lets it continue from the first word. Weight decay is
# only for matrices; biases and the gains of layer norms are left in peace. Change `lr` to 0.1 and see what happens.

# %%
line = "My tailor is rich and my computer is slow."
lr = 0.001

if check("adamw_step", adamw_step) and check("clip_by_norm", clip_by_norm):
    import minigpt2

    model, tokenizer = (each.from_pretrained("shakespeare") for each in (minigpt2.GPT2, minigpt2.Tokenizer))
    ids = np.array([tokenizer.encode(line)])
    params = minigpt2.flatten(model.params)
    m, v = ({name: np.zeros_like(w) for name, w in params.items()} for _ in range(2))
    for t in range(1, 11):
        loss, grads = model.loss_and_grads(ids[:, :-1], ids[:, 1:])
        grads, norm = clip_by_norm(minigpt2.flatten(grads), 1.0)
        for name, w in params.items():
            decay = 0.1 if w.ndim > 1 else 0.0
            w[...], m[name], v[name] = adamw_step(w, grads[name], m[name], v[name], t, lr, 0.9, 0.95, 1e-8, decay)
        print(f"step {t:2}   loss {loss:6.3f}   norm of the gradient {norm:6.2f}")
    print(tokenizer.decode(model.generate(ids[:, :1], max_new_tokens=ids.size - 1)[0]))

# %% [markdown]
# ## 3. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other numbers, other shapes, and both functions
# together. You need not do anything.

# %% tags=["check", "id:hidden_adamw_step", "points:1"]
# Tests of adamw_step, 1 point.
### BEGIN HIDDEN TESTS
report = check("adamw_step", adamw_step, seed=91)
assert report.passed, report.hint
rng = np.random.default_rng(91)
w, g = rng.standard_normal((2, 5, 4))
m = v = np.zeros((5, 4))
first = adamw_step(w, g, m, v, 1, 0.01, 0.9, 0.95, 0.0, 0.0)[0]
assert np.allclose(first, w - 0.01 * np.sign(g), rtol=0, atol=1e-12)
first = adamw_step(w, 1000 * g, m, v, 1, 0.01, 0.9, 0.95, 0.0, 0.0)[0]
assert np.allclose(first, w - 0.01 * np.sign(g), rtol=0, atol=1e-12)
decayed = adamw_step(w, 0 * g, m, v, 1, 0.01, 0.9, 0.95, 1e-8, 0.5)[0]
assert np.allclose(decayed, 0.995 * w, rtol=1e-12, atol=0)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_adamw_training", "points:2"]
# Tests of both functions together, over many steps, 2 points.
### BEGIN HIDDEN TESTS
report = check("clip_by_norm", clip_by_norm, seed=92)
assert report.passed, report.hint


def trained_by_both(steps, max_norm, lr, betas, eps, weight_decay):
    from minigpt2 import AdamW

    rng = np.random.default_rng(92)
    theirs = {name: rng.standard_normal(shape) for name, shape in (("wte", (6, 3)), ("weight", (3, 4)))}
    mine = {name: w.copy() for name, w in theirs.items()}
    m, v = ({name: np.zeros_like(w) for name, w in mine.items()} for _ in range(2))
    optimizer = AdamW(theirs, lr, betas, eps, weight_decay)
    norms = []
    for t in range(1, steps + 1):
        grads = {name: 10 ** rng.uniform(-2, 1) * rng.standard_normal(w.shape) for name, w in theirs.items()}
        norms.append(optimizer.step(grads, max_norm=max_norm))
        clipped, norm = clip_by_norm(grads, max_norm)
        norms[-1] -= norm
        for name in mine:
            mine[name], m[name], v[name] = adamw_step(
                mine[name], clipped[name], m[name], v[name], t, lr, *betas, eps, weight_decay
            )
    return mine, theirs, norms


mine, theirs, norms = trained_by_both(40, 3.0, 0.05, (0.9, 0.98), 1e-6, 0.3)
assert np.allclose(norms, 0, atol=1e-10)
assert all(np.allclose(mine[name], theirs[name], rtol=0, atol=1e-10) for name in theirs)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Harder, if you like: warm-up and cosine
#
# *★★☆ · about 15 minutes more*
#
# The learning rate is not the same all the time. In the first steps the moments rest on a handful of gradients and
# cannot be trusted, so the rate rises from nothing (the *warm-up*). At the end the steps should become small, so that
# contradictions between one batch and the next average out. In between, GPT and its successors follow half a wave of a
# cosine (Loshchilov & Hutter 2017, "SGDR", eq. 5; Radford et al. 2018, section 4.1):
#
#     max_lr |        ______
#            |      /        ``--_
#            |    /                `-_
#            |  /                      `-.._
#     min_lr | /                              ``---------------
#            +--------------------------------------------------> step
#              0     warmup_steps            decay_steps
#
# With `step` for the number of steps already taken, counted from 0:
#
# $$\mathrm{lr} = \begin{cases}
#   \mathrm{max\_lr}\cdot\dfrac{\mathrm{step}+1}{\mathrm{warmup\_steps}+1} & \mathrm{step} <
#   \mathrm{warmup\_steps}\\[2ex] \mathrm{min\_lr} + (\mathrm{max\_lr}-\mathrm{min\_lr})\,\dfrac{1+\cos\pi r}{2} &
#   \text{then, with } r =
#   \dfrac{\mathrm{step}-\mathrm{warmup\_steps}}{\mathrm{decay\_steps}-\mathrm{warmup\_steps}}\\[2ex] \mathrm{min\_lr} &
#   \mathrm{step} \ge \mathrm{decay\_steps} \end{cases}$$
#
# There are no points for this, but a check.


# %% tags=["answer", "id:learning_rate"]
def learning_rate(step, max_lr, min_lr, warmup_steps, decay_steps):
    """The learning rate of a step.

    step: number of steps already taken; max_lr, min_lr: rates; warmup_steps, decay_steps: numbers of steps
    returns lr, a number.
    """
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    if step >= decay_steps:
        return min_lr
    r = (step - warmup_steps) / (decay_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * r)) / 2
    ### END SOLUTION


# %% tags=["check", "id:check_learning_rate", "points:0"]
print(check("learning_rate", learning_rate))

# %% [markdown]
# ## 5. What do you have now?
#
# Everything that turns gradients into learning. Compare with the library's own. It computes the same in place, on all
# parameters in one long row, a piece of that row at a time, so that memory is read and written once for each step:
#
#     import inspect
#     from minigpt2.components import optimizer
#     print(inspect.getsource(optimizer))
#
# A question to take with you: a token of the vocabulary occurs once in a thousand batches. Its gradient is zero in all
# others. How far does its vector move in the step after it has occurred, and how far in the steps after that?
#
# Next: [exercise 10](10_model.ipynb), block and model.
