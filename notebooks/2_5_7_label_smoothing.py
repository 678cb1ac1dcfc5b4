# %% [markdown] tags=["en"]
# # 2.5.7 标签平滑 · Label smoothing
#
# A model that is trained on the token that really came next is told, each time, to be *certain* of it. Label smoothing
# asks for a little less: leave a small share of your belief to everything else. It takes a few lines of code. This
# notebook derives exactly how they change the model, and then lets you watch it happen, for better and for worse.
#
# You need Python, NumPy, logarithms and the chain rule. Notebook 2.5.8, on the loss function, is the natural first half
# of this one; here are its terms again:
#
# - At each position the model gives every token of its vocabulary, of size $V$, a score, the **logit** $z_v$. The
#   **softmax** turns them into probabilities, $p_v = e^{z_v} / \sum_u e^{z_u}$.
# - The **target** is the token that really came. As a distribution it is *one-hot*: 1 for the target, 0 for the others.
# - The **loss** is the **cross-entropy** $-\sum_v q_v\ln p_v$ between the target distribution $q$ and the prediction
#   $p$, in *nats*. With a one-hot $q$ it is $-\ln p_{\mathrm{target}}$, the surprise.
# - For any number $z$ in the model, $dz$ is short for its **gradient**, the derivative of the loss with respect to it;
#   training moves every parameter a little against its gradient. (R1, R2 ... are the rules of backward passes from the
#   [toolbox, 2.0](2_0_toolbox.ipynb).)
#
# **Exercise:** [8, the loss](../exercises/student/08_cross_entropy.ipynb), of which smoothing is a part

# %%
import dataclasses
import math
import sys
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py and graphs.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The seventh component of GPT-2 in the document:
# 标签平滑（Label Smoothing）是一种正则化方法，降低模型对目标值的过度依赖。
# "Label smoothing is a regularization method; it reduces the model's excessive reliance on its target values."
# (*Regularization* is anything that keeps a model from learning its training data too literally.) As a description of
# the technique that is fair. It comes from image recognition (Szegedy et al. 2016, "Rethinking the Inception
# Architecture for Computer Vision", section 7), and the Transformer of 2017 was trained with it, with $e = 0.1$
# (Vaswani et al. 2017, section 5.4).
#
# **But no source says that GPT-2 was.** Its predecessor's paper lists the regularization that was used, dropout and a
# form of weight decay, and smoothing is not on the list (Radford et al. 2018, section 4.1). The paper on GPT-2 names
# the changes since then, and smoothing is not among them either (Radford et al. 2019, section 2.3). The code of the
# training was never published. That is silence, not proof. But a model carries the traces of its training, and at its
# end section 6 looks for those of smoothing in GPT-2 itself.
#
# In this package smoothing is a parameter of the loss, 0 unless you ask for something else.
#
# ## 2. The idea
#
# **Take a share $e$ off the target and spread it evenly over the whole vocabulary.** The left picture shows the
# distribution that the model is asked for, with $V = 8$ and $e = 0.2$.
#
# **Then it is possible to be too sure.** In the right picture the target's logit is raised above all others, which are
# equal; its height above them is the **margin**. With a one-hot target more margin is always better, and there is no
# end to it. With a smoothed one there is a best margin, and beyond it the loss rises again.

# %%
V, e = 8, 0.2
figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3))
q = np.full(V, e / V)
q[5] += 1 - e
left.bar(np.arange(V) - 0.2, np.eye(V)[5], 0.4, label="one-hot", color="white", edgecolor=style.BLUE)
left.bar(np.arange(V) + 0.2, q, 0.4, label="smoothed, e = 0.2", color=style.ORANGE)
left.set(xlabel="token v", ylabel="q", title="Target distribution", xticks=range(V), ylim=(0, 1.25))
left.legend(loc="upper left")
left.grid(axis="x", visible=False)

margins, best = np.linspace(0, 9, 91), []
for e, color, dash in ((0.0, style.BLUE, "-"), (0.2, style.ORANGE, "--"), (0.05, style.GREEN, "-.")):
    z = np.zeros((len(margins), V))
    z[:, 5] = margins
    losses = [float(cross_entropy_forward(row[None], np.array([5]), e)[0]) for row in z]
    right.plot(margins, losses, color=color, ls=dash, label=f"e = {e:g}")
    if e:
        best.append((margins[np.argmin(losses)], min(losses)))
right.plot(*zip(*best, strict=True), "o", color="black", ls="", ms=5, label="smallest loss")
right.set(xlabel="margin of the target's logit", ylabel="loss (nats)", title="Loss, V = 8", ylim=(0, 2.2))
right.legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left: bars of the target distribution over eight tokens. The one-hot one is 1 at token 5 and 0 elsewhere; the smoothed
# one is 0.825 there and 0.025 at each of the others. Right: the loss against the margin. For e = 0 it falls towards 0
# all the way. For e = 0.05 and e = 0.2 it falls to a lowest point, at a margin of 5.0 and 3.5, and then rises.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### The smoothed target and its loss
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $z$ | `logits`, `rows` | `(..., V)`; `(N, V)` | scores, at $N$ positions |
# | $N_c$ | `counted.sum()` | one number | positions that count: those whose target is not $-100$ |
# | $p$ | `p` | `(N, V)` | softmax of the scores |
# | $e$ | `label_smoothing` | one number in 0 to 1 | the share that is spread |
# | $q$ | not made | `(N, V)` | the target distribution |
# | $\ln\sum_u e^{z_u}$ | `log_sum_exp` | `(N,)` | so that $\ln p_v = z_v - \ln\sum_u e^{z_u}$ |
# | $z_{\mathrm{target}}$ | `target_logit` | `(N,)` | |
#
# (The letter $e$ with an exponent is Euler's number, as always; $e$ alone is the smoothing. The exercise calls it
# $\varepsilon$.) At one position, with $\delta_{v,\mathrm{target}}$ for 1 if $v$ is the target and 0 otherwise,
#
# $$q_v = (1-e)\,\delta_{v,\mathrm{target}} + \frac eV .$$
#
# The target keeps $1 - e + e/V$, every other token gets $e/V$; together that is 1. Put it into the cross-entropy:
#
# $$-\sum_v q_v\ln p_v = -\sum_v q_v\Bigl(z_v - \ln\sum_u e^{z_u}\Bigr)
#   = \ln\sum_u e^{z_u} - (1-e)\,z_{\mathrm{target}} - e\cdot\underbrace{\frac1V\sum_v z_v}_{\text{mean logit}} .$$
#
# This is what the code computes: the usual loss, with $1-e$ before the target's logit, minus $e$ times the mean
# logit. No array $q$ is needed. One may also group the terms the other way. With $H(q, p)$ for the cross-entropy, and
# $1/V$ for each token in the uniform distribution, the loss is
# $(1-e)\,H(\text{one-hot}, p) + e\,H(\text{uniform}, p)$ (Szegedy et al. 2016, section 7): a small part of the training
# asks for equal probabilities.
#
# ### Backward
#
# Notebook [2.5.8](2_5_8_loss_function.ipynb) derives
#
# $$dz_v = d\mathrm{loss}\cdot\frac{p_v - q_v}{N_c}$$
#
# for *every* target distribution $q$: all it needs is that the $q_v$ add up to 1, and they do,
# $(1-e) + V\cdot\frac eV = 1$. So only the $q$ is new. In the form that the code computes one sees where its parts
# come from. A logit is used three times, and what comes back is added (R6): $p_v$ through the logarithm of the sum;
# $-(1-e)$ through the target's logit, only at the target (R5); $-\frac eV$ through the mean, the same for all (R1). The
# picture in section 4 shows the three.
#
# **Which way does it push?** Training moves $z_v$ against $dz_v$. Without smoothing every token but the target is
# pushed *down*, by $p_v$, always and without end. With smoothing it is pushed down if $p_v > e/V$ and *up* if
# $p_v < e/V$. The share $e/V$ is a **floor**.
#
# ### The best margin
#
# The gradient vanishes where $p = q$, and there the cross-entropy is smallest (2.5.8 proves it). What logits does that
# take? Let $o$ be any token other than the target. In a difference of logits the sum over $u$ cancels:
#
# $$z_{\mathrm{target}} - z_o = \ln p_{\mathrm{target}} - \ln p_o = \ln\frac{q_{\mathrm{target}}}{q_o}
#   = \ln\frac{1-e+e/V}{e/V} = \ln\Bigl(1 + \frac{V(1-e)}{e}\Bigr).$$
#
# A finite number! For $e \to 0$ it grows beyond all bounds: a one-hot target can never be reached by a softmax, only
# approached, by logits that drift apart for ever. Smoothing puts the goal at a finite place. All other logits should be
# *equal*, by the way, whether their tokens were nearly right or absurd. And the smallest possible loss is no longer 0
# but $-\sum_v q_v\ln q_v$, the entropy of $q$:

# %%
print("     V      e   best margin   smallest loss")
for V in (8, 1024, 50257):
    for e in (0.01, 0.1):
        target, other = 1 - e + e / V, e / V
        entropy = -target * math.log(target) - (V - 1) * other * math.log(other)
        print(f"{V:6} {e:6}{math.log(target / other):14.2f}{entropy:16.2f}")

# %% [markdown] tags=["en"]
# So two losses with different smoothing cannot be compared. Compare models by the loss *without* it.
#
# ### Uncertain next tokens
#
# In real text the same beginning has several continuations. Say that token $v$ follows with the true probability $P_v$.
# The loss is linear in $q$, so on average the model sees the target
#
# $$\bar q_v = (1-e)\,P_v + \frac eV,$$
#
# and the best prediction is $p = \bar q$: **not the truth, but a mixture of the truth and the uniform distribution.**
# No token gets less than the floor, $e/V$, even if it never comes, and none more than $1 - e + e/V$.
#
# That is the price. What does it cost? Measure without smoothing. A model that says $P$ itself has the smallest loss
# that there is, the entropy of the text, $-\sum_v P_v\ln P_v$. One that says $\bar q$ has the loss
# $-\sum_v P_v\ln\bar q_v$. The difference is what it loses by not saying the truth:
#
# $$-\sum_v P_v\ln\bar q_v - \Bigl(-\sum_v P_v\ln P_v\Bigr) = \sum_v P_v\ln\frac{P_v}{\bar q_v} \ge 0 .$$
#
# It is called the **relative entropy** of $P$ and $\bar q$, or Kullback-Leibler divergence. It is 0 only if the two are
# the same. (A token with $P_v = 0$ adds nothing to the sum.) Section 6 measures it in trained models.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# One pair of functions serves notebooks 2.5.7 and 2.5.8. First as bare formulas, from the page of the package that has
# the whole of GPT-2. There $q$ is an array, and the two lines that make it are all there is to smoothing:

# %%
style.show_plain("cross_entropy")

# %% [markdown] tags=["en"]
# Now the library's own code. It never makes $q$, which has a row of $V$ numbers for each token. Smoothing is the line
# after `if label_smoothing:`, the line with `e / V`, and the factors `1.0 - label_smoothing` and `1.0 - e`.
# (`masked_mean(losses, counted)` is `losses[counted].mean()`; `in_parallel` calls a function for a few rows at a time,
# on all cores.)

# %%
style.show_source(cross_entropy_forward, cross_entropy_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take four tokens and $e = 2/5$; the target, token 2, keeps $3/5 + 1/10 = 7/10$, the others get $1/10$ each. First
# position: logits $\ln 1, \ln 1, \ln 2, \ln 4$, whose exponentials have the sum 8. Second position:
# $\ln 1, \ln 1, \ln 7, \ln 1$.


# %%
def show(name, array):
    """Print an array as fractions, a row on a line."""
    for row in np.atleast_2d(array):
        print(f"{name:8}", *(f"{Fraction(float(v)).limit_denominator(100)!s:>6}" for v in row))
        name = ""


logits, target = np.log([[1.0, 1, 2, 4], [1, 1, 7, 1]]), np.array([2])
for z in logits:
    loss, cache = cross_entropy_forward(z[None], target, label_smoothing=0.4)
    show("p", np.exp(z - cache["log_sum_exp"]))
    show("dlogits", cross_entropy_backward(1.0, cache))
    print(f"loss     {loss:.4f}\n")
print(f"smallest loss  {-0.7 * math.log(0.7) - 3 * 0.1 * math.log(0.1):.4f}")
print(f"best margin    {math.log(0.7 / 0.1):.4f}")

# %% [markdown] tags=["en"]
# First position: $p - q$ is $\tfrac18-\tfrac1{10} = \tfrac1{40}$, again $\tfrac1{40}$,
# $\tfrac14-\tfrac7{10} = -\tfrac9{20}$ and $\tfrac12-\tfrac1{10} = \tfrac25$. Second position: $p = q$. The margin is
# $\ln 7$, the gradient is 0, and the loss is as small as it can be. With a one-hot target,
# $p_{\mathrm{target}} = 7/10$ would still have been pushed.
#
# The first position as a graph, for the formula $\ln\sum_u e^{z_u} - (1-e)\,z_{\mathrm{target}} - e\cdot$ mean logit.
# The three gradients that come back to the dot are $p$, $-\tfrac35$ at the target, and $-\tfrac1{10}$ for each; their
# sum is the `dlogits` above ($0.025 = \frac1{40}$).

# %%
z, e = np.log([1.0, 1, 2, 4]), 0.4
p, one_hot = np.array([1, 1, 2, 4]) / 8, np.eye(4)[2]
log_sum, at_target, mean = math.log(8), z[2], z.mean()
q = (1 - e) * one_hot + e / 4
graphs.draw(
    {
        "logits": (0, 1), "•": (1, 1), "ln Σ exp": (2, 0), "at target": (2, 1), "mean": (2, 2),
        "× (1 − e)": (3, 1), "× e": (3, 2), "−": (4, 1), "loss": (5, 1),
    },
    [
        ("logits", "•", z, p - q, "z"),
        ("•", "ln Σ exp", None, p),
        ("•", "at target", None, -(1 - e) * one_hot),
        ("•", "mean", None, np.full(4, -e / 4)),
        ("ln Σ exp", "−", log_sum, 1),
        ("at target", "× (1 − e)", at_target, -(1 - e)),
        ("mean", "× e", mean, -e),
        ("× (1 − e)", "−", (1 - e) * at_target, -1),
        ("× e", "−", e * mean, -1),
        ("−", "loss", log_sum - (1 - e) * at_target - e * mean, 1),
    ],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# The smoothed loss of the first position as a graph. The logits go three ways, through the logarithm of the sum, the
# target's logit times 1 - e, and the mean times e, to a difference, the loss 1.46. The gradients that come back along
# the three ways are p, -3/5 at the target, and -1/10 everywhere, and add up to 1/40, 1/40, -9/20, 2/5.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative.** `gradient_check` (2.0) compares the backward pass with differences of the
# loss, here with smoothing and with targets that do not count.

# %%
rng = np.random.default_rng(0)
targets = rng.integers(0, 7, (2, 6))
targets.flat[::3] = -100
inputs = {"logits": rng.normal(size=(2, 6, 7)), "targets": targets, "label_smoothing": 0.1}
style.show_check(minigpt2.gradient_check(cross_entropy_forward, cross_entropy_backward, inputs))

# %% [markdown] tags=["en"]
# It catches a typical mistake: taking the share $e$ off the target and forgetting to give it to the others. The target
# distribution then has the sum $1 - e$, and every logit is pushed down a little too far. In training one might
# overlook it, because the same number on all logits of a position changes no probability.


# %%
def unspread_backward(dloss, cache):
    """Wrong: the share e is taken off the target and not spread."""
    dlogits, e, counted = cross_entropy_backward(dloss, cache), cache["label_smoothing"], cache["counted"]
    share = (counted * dloss / counted.sum()).reshape(dlogits.shape[:-1])
    return dlogits + share[..., None] * e / dlogits.shape[-1]


style.show_check(minigpt2.gradient_check(cross_entropy_forward, unspread_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation.** The package carries the results of PyTorch's `cross_entropy` and its autograd, in
# 64-bit floating point. There is a second definition of smoothing that one meets at times: spread $e$ over the $V-1$
# *other* tokens, so that the target keeps $1-e$. That is the same as ours with $e\,V/(V-1)$ in place of $e$. Which of
# the two is PyTorch's?

# %%
reference = recorded("cross_entropy_smoothed")
options = CASES["cross_entropy_smoothed"].options
V = reference["inputs"]["logits"].shape[-1]
share = options["label_smoothing"]
for what, e in (("spread over V", share), ("spread over V - 1", share * V / (V - 1))):
    loss, cache = cross_entropy_forward(**reference["inputs"], label_smoothing=e)
    dlogits = cross_entropy_backward(reference["dy"], cache)
    expected = {"y": reference["y"], "logits": reference["gradients"]["logits"]}
    style.show_agreement(f"{what}: loss and dlogits", relative_error({"y": loss, "logits": dlogits}, expected)[0])

# %% [markdown] tags=["en"]
# ## 6. What does it do to a model?
#
# ### Does the margin stop where it should?
#
# A task with one right answer: the Fibonacci numbers modulo 10, where every digit is the last digit of the sum of the
# two before it, as in 2 5 7 2 9 1 0 1 1. Four small GPT-2s see the same digits, with four values of $e$, and we watch
# the margin: how far the target's logit is above the mean of the others.


# %%
def fibonacci(rng, B=16, T=16):
    """ids, targets (B, T): Fibonacci numbers modulo 10; the second digit of a row cannot be known: -100."""
    digits = np.empty((B, T + 1), int)
    digits[:, :2] = rng.integers(0, 10, (B, 2))
    for t in range(2, T + 1):
        digits[:, t] = (digits[:, t - 1] + digits[:, t - 2]) % 10
    targets = digits[:, 1:].copy()
    targets[:, 0] = -100
    return digits[:, :-1], targets


def margin(model, ids, targets):
    """Mean over the counted positions of: target's logit minus mean of the other logits."""
    logits = model.forward(ids)[0][targets >= 0].astype(np.float64)
    target_logit = logits[np.arange(len(logits)), targets[targets >= 0]]
    return float((target_logit - (logits.sum(axis=1) - target_logit) / (logits.shape[1] - 1)).mean())


V, smoothings = 10, (0.0, 0.05, 0.1, 0.3)
config = minigpt2.GPT2Config(vocab_size=V, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=32**-0.5)
figure, axes = plt.subplots(figsize=(6.8, 3.4))
print("   e   best margin   margin after 400 steps")
for e, dash in zip(smoothings, ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1))), strict=True):
    small = minigpt2.GPT2(config, seed=0)
    optimizer = minigpt2.AdamW(small.params, lr=3e-3, weight_decay=0.0)
    rng, others, curve = np.random.default_rng(0), fibonacci(np.random.default_rng(1)), []
    for step in range(401):
        if step % 20 == 0:
            curve.append(margin(small, *others))
        optimizer.step(small.loss_and_grads(*fibonacci(rng), label_smoothing=e)[1], max_norm=1.0)
    axes.plot(range(0, 401, 20), curve, ls=dash, label=f"e = {e:g}")
    best = math.log((1 - e + e / V) / (e / V)) if e else math.inf
    if e:
        axes.hlines(best, 0, 430, color="black", lw=0.7, ls="-", label="best margin" if e == smoothings[-1] else None)
    print(f"{e:4}{best:12.1f}{curve[-1]:17.1f}")
axes.set(xlabel="steps of training", ylabel="margin of the target's logit", xlim=(0, 430), ylim=(0, 12))
axes.legend(loc="upper left", ncols=2)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The margin against the steps of training, four curves. Those with e = 0.05, 0.1 and 0.3 rise for about 150 steps, the
# first two a little above the thin line of their best margin, and end on it, at 5.4, 4.6 and 3.2. The one with e = 0
# rises all the time, to 9.9 at step 400.

# %% [markdown] tags=["en"]
# Each smoothed model comes to rest close to its own thin line, the best margin that section 3 derived. The one without
# smoothing reaches a margin of 8 soon after half the steps. There the nine other digits together have 0.3 %
# ($9\,e^{-8}$), and its logits still drift apart: there is always a little to be gained.
#
# ### What does it cost, and when does it pay?
#
# Now a task in which the next token is uncertain, *and we know how uncertain*. We invent a language in which each token
# of ten has a fixed probability of following each other one. These 100 probabilities, $P$, are drawn once; with a
# natural language nobody knows them.
#
# We train in two situations. **Plenty**: every batch is new text. **Scarce**: the same 256 short lines over and over
# again, until the model begins to learn them by heart.

# %%
# P[a, b]: the probability that b comes after a. A draw of `dirichlet` is V positive numbers with the sum 1.
P = np.random.default_rng(1).dirichlet(np.full(V, 0.5), V)


def lines(rng, B, T=17):
    """B lines of T tokens each in our language, (B, T)."""
    ids = np.empty((B, T), int)
    ids[:, 0] = rng.integers(0, V, B)
    for t in range(1, T):  # the next token is the number of cumulative sums that a uniform random number exceeds
        ids[:, t] = (rng.random((B, 1)) > P[ids[:, t - 1]].cumsum(axis=1)[:, :-1]).sum(axis=1)
    return ids


def train(e, data=None, steps=300, seed=0, unused=0):
    """A new model, trained on lines (N, T) or, without them, on new lines in each step.

    unused: tokens that are in its vocabulary and never occur
    """
    small = minigpt2.GPT2(dataclasses.replace(config, vocab_size=V + unused), seed=seed)
    optimizer = minigpt2.AdamW(small.params, weight_decay=0.0)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        ids = lines(rng, 16) if data is None else data[rng.integers(0, len(data), 16)]
        optimizer.lr = 3e-3 * (1 - step / steps)
        optimizer.step(small.loss_and_grads(ids[:, :-1], ids[:, 1:], label_smoothing=e)[1], max_norm=1.0)
    return small


new_lines, scarce_lines = lines(np.random.default_rng(2), 256), lines(np.random.default_rng(3), 256)
smoothings = (0.0, 0.1, 0.2, 0.4, 0.6)
plenty = {e: train(e) for e in smoothings}
scarce = {e: train(e, scarce_lines) for e in smoothings}

# %% [markdown] tags=["en"]
# **How far from the truth is a model?** On lines that it has not seen we know at every place both distributions: its
# own, $p$, and the true one, $P$. So the relative entropy of section 3 (with $p$ in the place of $\bar q$) can be
# computed there exactly, without even looking at what came next. Its mean over all places is our measure. It is the
# part of the loss that a better model could save: 0 for a perfect one.
#
# A model that does exactly what its smoothed targets ask has $p = (1-e)P + e/V$. Put in, that gives the column
# *derived*.


# %%
def probabilities(model, lines):
    """A model's probabilities of the next token, after each token of some lines but the last, (B, T - 1, V)."""
    logits = model.forward(lines[:, :-1])[0].astype(np.float64)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def relative_entropy(p):
    """Mean over the new lines of sum_v P_v ln(P_v / p_v)."""
    return float((truth * np.log(truth / p)).sum(axis=-1).mean())


def loss(model, lines):
    """The loss without smoothing."""
    return cross_entropy_forward(model.forward(lines[:, :-1])[0], lines[:, 1:])[0]


truth = P[new_lines[:, :-1]]  # (B, T - 1, V): the true probabilities after each token
derived = {e: relative_entropy((1 - e) * truth + e / V) for e in smoothings}
answers = {name: {e: probabilities(models[e], new_lines) for e in smoothings}
           for name, models in (("plenty", plenty), ("scarce", scarce))}  # fmt: skip

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4))
for e, marker, colour in ((0.0, "o", style.BLUE), (0.4, "^", style.ORANGE)):
    said = np.array([answers["plenty"][e][new_lines[:, :-1] == a].mean(axis=0) for a in range(V)])
    left.plot(P.ravel(), said.ravel(), marker, ms=3.5, color=colour, ls="", label=f"e = {e:g}")
    left.plot([0, 0.8], [e / V, (1 - e) * 0.8 + e / V], color=colour, lw=0.9, ls="-", label="$(1-e)P + e/V$")
left.set(xlabel="true probability P", ylabel="mean of the model's p", title="Plenty: p against P")
left.legend()
for name, look in (("scarce", {"marker": "o"}), ("plenty", {"marker": "^"})):
    right.plot(smoothings, [relative_entropy(p) for p in answers[name].values()], label=name, **look)
right.plot(smoothings, [derived[e] for e in smoothings], label="plenty, derived", color="black", ls=":")
right.set(xlabel="smoothing e", ylabel="relative entropy (nats)", title="Distance from the truth", ylim=(0, None))
right.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left: what models trained on plenty of text say against the true probability, a point for each pair of tokens. Those
# of e = 0 lie about the diagonal, those of e = 0.4 about a flatter line that begins at 0.04, as derived. Right:
# relative entropy against e. Plenty: it rises from 0.01 to 0.27, just above the derived curve. Scarce: it begins at
# 0.29, falls to 0.22 between e = 0.2 and 0.4 and rises again to 0.29.

# %%
print("        plenty                                     scarce")
print("        relative                                   relative")
print("   e    entropy  derived  confidence  accuracy     entropy  confidence  accuracy  own lines  new lines")
for e in smoothings:
    cells = []
    for name in ("plenty", "scarce"):
        p = answers[name][e]
        accuracy = np.take_along_axis(truth, p.argmax(axis=-1)[..., None], axis=-1).mean()
        cells.append((relative_entropy(p), p.max(axis=-1).mean(), accuracy))
    (a, b, c), (f, g, h) = cells
    print(f"{e:4} {a:10.2f} {derived[e]:8.2f} {b:11.2f} {c:9.2f} {f:11.2f} {g:11.2f} {h:9.2f}", end="")
    print(f"{loss(scarce[e], scarce_lines):11.2f} {loss(scarce[e], new_lines):10.2f}")
print(f"entropy of the language {-(truth * np.log(truth)).sum(axis=-1).mean():.2f} nats")

# %% [markdown] tags=["en"]
# *Confidence* is the mean probability that a model gives to its favourite; *accuracy* is the mean true probability that
# this favourite comes. A model is **calibrated** if its predictions come true as often as it says: of the things that
# it calls 70 % probable, 70 % happen. Then the two means must be equal, so where they differ, it is not.
#
# - **With plenty of text smoothing only costs.** Without it the points lie about the diagonal, and confidence and
#   accuracy agree to 0.01. With it they lie about the flatter line that was derived: rare tokens get too much, common
#   ones too little. The distance from the truth grows with $e$ as the dotted curve says. The accuracy stays:
#   $(1-e)P + e/V$ flattens the probabilities and keeps their order.
# - **With scarce text a model without smoothing is far too sure of itself:** it claims 0.51 where 0.36 comes true. It
#   has begun to learn lines by heart: on its own lines its loss is far below the entropy of the language, which cannot
#   be had without knowing the lines, and on new ones far above. Smoothing takes certainty away, and the distance from
#   the truth falls, down to a best value of $e$, and then rises: two errors work against each other. What it mends is
#   the confidence. The accuracy hardly moves, and for all $e$ up to 0.4 the loss on its own lines is still below the
#   entropy.
#
# One model per point is little. With `seed=1` and `seed=2`, and other scarce lines, the curve has the same form: from
# 0.30 without smoothing down to 0.22 at $e = 0.4$ and up to 0.28, and from 0.39 down to 0.25 and up to 0.31.
#
# This fits the decisions that were made, although GPT-2's authors do not speak of smoothing. The Transformer of 2017
# learned to translate from a limited collection of sentence pairs; smoothing "hurts" the perplexity, its authors
# report, and makes the translations better (section 5.4 there). GPT-2 was trained on so much text that it still
# *underfits* it (Radford et al. 2019, abstract), and many of its results are perplexities.
#
# The experiment does not show whether smoothing is the best remedy where text is scarce. Stopping earlier, dropout
# (2.5.6) and more text are others, and question 4 lets you try one.
#
# ### Was GPT-2 trained with it?
#
# The floor of section 3 is a test. Take a token that never comes in the training text. With smoothing its logit is
# pushed up wherever it has less than $e/V$; without, it is pushed down at every place, for ever. First the control, on
# models of which we know. We train some with a vocabulary of $V = 12$, in which the last two tokens never occur. Below
# are the probabilities of these two on the new lines, as a share of $0.1/V$, the floor for $e = 0.1$.

# %%
UNUSED = 2
print("                share of the floor")
print("text       e    lowest   median   highest")
for name, data in (("plenty", None), ("scarce", scarce_lines)):
    for e in (0.0, 0.1):
        p = probabilities(train(e, data, unused=UNUSED), new_lines)
        shares = p[..., V:] / (0.1 / (V + UNUSED))
        print(f"{name} {e:5} {shares.min():9.2f} {np.median(shares):8.2f} {shares.max():9.1f}")

# %% [markdown] tags=["en"]
# Trained with smoothing, such tokens stand at their floor: the median of the shares is close to 1. Without smoothing
# it has fallen to a fifteenth or a seventh, in 300 steps. Where lines were learned by heart the spread is wide, and a
# token that never came may get a high probability by mistake, with and without smoothing. So a high probability shows
# nothing. A low one does: with smoothing none of these thousands of probabilities is below a sixth of the floor.
#
# **And GPT-2?** Its vocabulary has tokens that it has hardly seen in training, if at all. Land and Bartolo (2024,
# "Fishing for Magikarp", arXiv:2405.05417) look for them in released models. They give the model three prompts that ask
# it to repeat the token and record the highest probability that the token gets in answer. The next cell has ten
# of these numbers, those of the ten least trained tokens by their indicator, from their report on the smallest GPT-2
# (`cohere-ai/magikarp`, commit 0d466b2, `results/reports/openai_community_gpt2.md`). If the released weights are on
# your machine, it also shows what these tokens get anywhere in a plain sentence.

# %%
RECORDED = {
    40241: 8.6e-9, 30905: 1.4e-7, 39752: 9.1e-9, 40240: 9.1e-8, 30898: 1.0e-7,
    45544: 1.4e-7, 36173: 1.5e-7, 30212: 1.7e-7, 42089: 8.5e-9, 30897: 3.3e-8,
}  # fmt: skip
words, released = style.released_tokenizer(), style.released_model()
V_gpt2 = minigpt2.GPT2Config.preset("gpt2").vocab_size
floor = 0.1 / V_gpt2
if released:
    sentence = np.array([[*words.encode("My lord, I thank you for your love to me."), 0]])
    highest = probabilities(released, sentence)[0].max(axis=0)
print(f"floor for e = 0.1: {floor:.1e}")
print("token                     highest p   share of the floor")
for token, p in RECORDED.items():
    here = f"   here {highest[token]:.1e}" if released else ""
    print(f"{words.decode([token])!r:25} {p:9.1e} {p / floor:12.3f}{here}")
print(f"lowest p times V:  {min(RECORDED.values()) * V_gpt2:.1e}")

# %% [markdown] tags=["en"]
# Although the model was asked for them, all ten are far below the floor for $e = 0.1$, by a factor of 12 to 230, and
# below anything in the smoothed models of the control. With that smoothing they would have been pushed *up* at every
# place of the training text. (In the report on the next larger model, `gpt2-medium`, the same ten have
# $2.4\cdot10^{-7}$ to $4.4\cdot10^{-7}$, an eighth to a fifth of the floor.) So if large models behave as the small
# ones do here, the smallest GPT-2 was not trained with the usual label smoothing.
#
# What these numbers cannot tell: whether there was a very small smoothing. The floor is $e/V$, so $e$ must be below
# $pV$, the last line of the output, to have its floor below all of them. Nor do they tell *why* it was left out.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What is $q$ for $e = 1$, and what does a model learn from it? *Hint: the best margin.*
#
#    <details><summary>Answer</summary>
#
#    $q_v = \frac1V$ for every token, whatever came. The best margin is $\ln(1 + 0) = 0$: all logits equal. The target
#    has gone from the loss, so there is nothing to learn but to say $\frac1V$ everywhere. `train(1.0)` does: after 300
#    steps all its probabilities on the new lines are between 0.092 and 0.108, where $\frac1V = 0.1$.
#
#    </details>
#
# 2. Show that the gradient still adds up to 0 over the vocabulary at every position. *Hint: the sums of $p$ and $q$.*
#
#    <details><summary>Answer</summary>
#
#    $\sum_v p_v = \sum_v e^{z_v}/\sum_u e^{z_u} = 1$, and
#    $\sum_v q_v = (1-e)\sum_v\delta_{v,\mathrm{target}} + \sum_v\frac eV = (1-e)\cdot1 + V\cdot\frac eV = 1$. So
#    $\sum_v dz_v = \frac{d\mathrm{loss}}{N_c}\bigl(\sum_v p_v - \sum_v q_v\bigr)
#    = \frac{d\mathrm{loss}}{N_c}(1-1) = 0$.
#    At a position that does not count every $dz_v$ is 0. (The backward pass that forgets to spread $e$ has the sum
#    $\frac{d\mathrm{loss}}{N_c}\,e$ instead: a check that needs no differences.)
#
#    </details>
#
# 3. GPT-2 has $V = 50257$. Which $e$ would give the same margin as $V = 10$ and $e = 0.1$? Is that a sensible amount of
#    smoothing? *Hint: in the formula of the best margin, $V(1-e)/e$ must stay the same.*
#
#    <details><summary>Answer</summary>
#
#    $10\cdot0.9/0.1 = 90$, so $V(1-e) = 90\,e$ and $e = V/(V + 90) = 50257/50347 = 0.9982$. No: the target would keep
#    $1 - e + e/V = 0.0018$, and the rest of the vocabulary would have all but that. The same *margin* means the same
#    ratio, 91, of the target's probability to that of one other token, and there are 50,256 others. In a large
#    vocabulary the margin must be large for the target to have any share at all; $e = 0.1$ asks for 13.0, as the table
#    in section 3 says.
#
#    </details>
#
# 4. In the scarce situation, train for 100 steps instead of 300, without smoothing. Predict whether it beats the best
#    smoothed model, then try. *Hint: `train(0.0, scarce_lines, steps=100)`.*
#
#    <details><summary>Answer</summary>
#
#    It does, clearly: its relative entropy is 0.10, that of the best smoothed model 0.22. It has stopped before it
#    learned many lines by heart. (50 steps: 0.16, 150 steps: 0.12.) So in this experiment stopping at the right moment
#    is the better remedy; but who does not know $P$ needs held-out text to find the moment (2.2).
#
#    </details>
#
# 5. A model was trained with smoothing $e$ and plenty of text. Can you recover the true probabilities from its answers?
#    What goes wrong with a probability that it puts below $e/V$? *Hint: solve $\bar q = (1-e)P + e/V$ for $P$, and
#    apply it to `answers["plenty"][0.4]`.*
#
#    <details><summary>Answer</summary>
#
#    $P = (\bar q - e/V)/(1-e)$, if the model has reached $\bar q$. For $e = 0.4$ the mean distance of a probability
#    from the true one falls from 0.039 to 0.012. But the model is not exact, and a probability below the floor
#    $e/V = 0.04$ becomes negative; that happens to 7 % of them. They can only be replaced by 0, or by a small number so
#    that no surprise is infinite. With at least 0.001, and a division by the new sum, the relative entropy falls from
#    0.15 to 0.02. What is lost is the difference between tokens that are all near the floor: there an error of the
#    model counts $1/(1-e)$ times, and a true probability of 0.001 stands only 0.0006 above it.
#
#    </details>
#
# Next comes the loss itself, with the proof that $p = q$ is best and the derivation of $p - q$.
# **Next:** [2.5.8, loss function](2_5_8_loss_function.ipynb).
