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
# - The **gradient** of a number is the derivative of the loss with respect to it; training moves every parameter a
#   little against its gradient. As everywhere in this book, $dz$ is short for that of $z$.
#
# **Exercise:** [8, cross-entropy](../exercises/student/08_cross_entropy.ipynb); label smoothing is a part of it

# %%
import inspect
import math
import sys
import textwrap
from dataclasses import fields
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # graphs.py and style.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.reference import CASES, recorded, relative_error
from minigpt2.settings import TrainingSettings
from minigpt2.verification.figures import TOKEN_LOG_PROBS

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document lists label smoothing as the seventh component of GPT-2: "标签平滑（Label Smoothing）是一种正则化方法，
# 降低模型对目标值的过度依赖。" (Label smoothing is a method of regularization; it lowers the model's excessive
# dependence on its target values.) *Regularization* is anything that keeps a model from learning its training data too
# literally. As a description of the technique that is fair. It comes from image recognition (Szegedy et al. 2016,
# "Rethinking the Inception Architecture for Computer Vision", section 7), and the Transformer of 2017 was trained with
# it (Vaswani et al. 2017, section 5.4).
#
# **But none of GPT-2's sources has it.** Its predecessor's paper lists the regularization that was used, dropout and a
# form of weight decay, and smoothing is not on the list (Radford et al. 2018, section 4.1). The paper on GPT-2 names
# the changes since then, and smoothing is not among them either (Radford et al. 2019, section 2.3). OpenAI's code for
# training was not published, so this is evidence from silence. This package follows it: smoothing is a parameter of the
# loss, 0 unless you ask for something else, and among the settings of its training there is none for it:

# %%
print("default:", inspect.signature(cross_entropy_forward).parameters["label_smoothing"].default)
print(textwrap.fill("settings: " + " ".join(field.name for field in fields(TrainingSettings)), 100))

# %% [markdown] tags=["en"]
# ### Can one see it in a trained model?
#
# Section 3 shows that with a share $e$ of smoothing a model does best if it gives *no* token less than $e/V$, and none
# more than $1-e+e/V$. So look at a model's smallest and largest probabilities, for the usual $e = 0.1$. The cell asks
# the built-in model, of which we know that it was trained without; and GPT-2 as released, if its weights are on the
# machine that runs it.


# %%
def traces(name, model, tokenizer, e=0.1):
    """Print how far a model's probabilities leave the range that smoothing e would have taught it."""
    logits, _ = model.forward([tokenizer.encode("My lord, I thank you for your love to me.")])
    logits = logits[0].astype(np.float64)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    limit = e / model.config.vocab_size
    print(f"{name:12} p < e/V: {(p < limit).mean():.2f}   p < e/V/100: {(p < limit / 100).mean():.2f}")


traces("shakespeare", minigpt2.GPT2.from_pretrained("shakespeare"), minigpt2.Tokenizer.from_pretrained("shakespeare"))
released = style.released_model()
if released:
    traces("gpt2", released, style.released_tokenizer())

# %% [markdown] tags=["en"]
# Most of the built-in model's probabilities are below the share that a smoothed target would have taught it to leave,
# and many are below a hundredth of it. Section 6 has the control: models trained
# *with* smoothing have next to none even below half of it.
#
# What can be said of GPT-2 itself without its weights? Others have published its log-probabilities for a few tokens.
# Here are the largest and the smallest of seventeen, those of one sentence (EleutherAI's lm-evaluation-harness,
# `tests/test_models.py`), beside the two limits:

# %%
published = np.exp(TOKEN_LOG_PROBS[1024])
print(f"largest  {published.max():.4f}   1 - e + e/V = {0.9 + 0.1 / 50257:.4f}")
print(f"smallest {published.min():.1e}  e/V = {0.1 / 50257:.1e}")

# %% [markdown] tags=["en"]
# The largest is above its limit, but by so little that it decides nothing: a model does not end exactly at its optimum.
# The smallest is the probability of a token that really came, and so it says nothing about the unlikely ones, which
# are the ones to look at. These numbers leave the question open, and for a small $e$ even more so. The cell above
# can decide it for $e = 0.1$, once the weights are there.
#
# ## 2. The idea
#
# **Take a share $e$ off the target and spread it evenly over the whole vocabulary.** The left picture shows the
# distribution that the model is asked for, with $V = 8$ and $e = 0.2$.
#
# **Then it is possible to be too sure.** In the right picture the target's logit is raised above all others, which are
# equal; its height above them is the *margin*. With a one-hot target more margin is always better, and there is no end
# to it. With a smoothed one there is a best margin, and beyond it the loss rises again.

# %%
V, e = 8, 0.2
figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3))
q = np.full(V, e / V)
q[5] += 1 - e
left.bar(np.arange(V) - 0.2, np.eye(V)[5], 0.4, label="one-hot", color="white", edgecolor=style.BLUE)
left.bar(np.arange(V) + 0.2, q, 0.4, label="smoothed", color=style.ORANGE)
left.set(xlabel="token v", ylabel="q", title="The target distribution", xticks=range(V))
left.legend(loc="upper left")
left.grid(axis="x", visible=False)

margins = np.linspace(0, 9, 91)
for e in (0.0, 0.05, 0.2):
    z = np.zeros((len(margins), V))
    z[:, 5] = margins
    losses = [float(cross_entropy_forward(row[None], np.array([5]), e)[0]) for row in z]
    (line,) = right.plot(margins, losses, label=f"e = {e:g}")
    if e:
        best = int(np.argmin(losses))
        right.plot(margins[best], losses[best], "o", color=line.get_color())
right.set(xlabel="margin of the target's logit", ylabel="loss (nats)", title="Loss against margin", ylim=(0, 2.2))
right.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left, bars for eight tokens: the one-hot target has a single bar of height 1 at token 5; the smoothed one has 0.825
# there and 0.025 at each other token. Right, the loss over the margin of the target's logit: without smoothing it
# falls on and on; with e = 0.05 and 0.2 it has a lowest point, marked with a dot, and rises beyond it.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### The smoothed target and its loss
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $z$ | `logits`, `rows` | `(..., V)`; `(N, V)` | scores, at $N$ positions |
# | $p$ | `p` | `(N, V)` | their softmax |
# | $e$ | `label_smoothing` | one number in 0 to 1 | the share that is spread |
# | $q$ | not made | `(N, V)` | the target distribution |
# | $\ln\sum_u e^{z_u}$ | `log_sum_exp` | `(N,)` | so that $\ln p_v = z_v - \ln\sum_u e^{z_u}$ |
# | $z_{\mathrm{target}}$ | `target_logit` | `(N,)` | |
#
# (The letter $e$ with an exponent is Euler's number, as always; $e$ alone is the smoothing.) At one position, with
# $\delta_{v,\mathrm{target}}$ for 1 if $v$ is the target and 0 otherwise,
#
# $$q_v = (1-e)\,\delta_{v,\mathrm{target}} + \frac eV .$$
#
# The target keeps $1 - e + e/V$, every other token gets $e/V$; together that is 1. Put it into the cross-entropy:
#
# $$-\sum_v q_v\ln p_v = -\sum_v q_v\Bigl(z_v - \ln\sum_u e^{z_u}\Bigr)
#   = \ln\sum_u e^{z_u} - (1-e)\,z_{\mathrm{target}} - e\cdot\underbrace{\frac1V\sum_v z_v}_{\text{mean logit}} .$$
#
# This is what the code computes: the usual loss, with $1-e$ before the target's logit, minus $e$ times the mean
# logit. No array $q$ is needed. One may also group the terms the other way. With $H$ for the cross-entropy, and $1/V$
# for each token in the uniform distribution, the loss is $(1-e)\,H(\text{one-hot}, p) + e\,H(\text{uniform}, p)$
# (Szegedy et al. 2016, section 7): a little of the training asks for the uniform distribution.
#
# ### Backward
#
# Notebook [2.5.8](2_5_8_loss_function.ipynb) derives that the gradient of $-\ln p_u$, the loss with the one-hot target
# $u$, is $p_v - \delta_{uv}$. Our loss is $\sum_u q_u\,(-\ln p_u)$, the mean of such losses with the weights $q_u$, and
# so its gradient is the mean of their gradients. The $q_u$ add up to 1:
#
# $$\sum_u q_u\,(p_v - \delta_{uv}) = p_v - q_v, \qquad\text{so that}\qquad
#   dz_v = d\mathrm{loss}\cdot\frac{p_v - q_v}{N},$$
#
# since the loss is the mean over the $N$ positions, and $d\mathrm{loss}$ is the gradient that comes from above.
# (Positions whose target is $-100$ do not count: $N$ is then the number of the others.)
#
# ### The best margin
#
# The gradient vanishes where $p = q$, and there the cross-entropy is smallest (notebook 2.5.8 proves it). What logits
# does that take? Let $o$ be any token other than the target. In a difference of logits the sum over $u$ cancels:
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
# That is the price. Measured by the loss without smoothing, a model that says $\bar q$ is above the entropy of the
# text by
#
# $$-\sum_v P_v\ln\bar q_v + \sum_v P_v\ln P_v = \sum_v P_v\ln\frac{P_v}{\bar q_v} \ge 0,$$
#
# the **relative entropy** of the two, or Kullback-Leibler divergence. It is the part of a loss that a better model
# could do without; the entropy is the part that it could not. Section 6 measures it in trained models and compares it
# with this formula.

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
print(f"smallest possible loss  {-0.7 * math.log(0.7) - 3 * 0.1 * math.log(0.1):.4f}")
print(f"best margin             {math.log(0.7 / 0.1):.4f} = ln 7")

# %% [markdown] tags=["en"]
# First position: $p - q$ is $\tfrac18-\tfrac1{10} = \tfrac1{40}$, again $\tfrac1{40}$,
# $\tfrac14-\tfrac7{10} = -\tfrac9{20}$ and $\tfrac12-\tfrac1{10} = \tfrac25$. Second position: $p = q$. The margin is
# $\ln 7$, the gradient is 0, and the loss is as small as it can be. With a one-hot target,
# $p_{\mathrm{target}} = 7/10$ would still have been pushed.
#
# The same for the first position as a graph of what the code computes, $a - \tfrac35 b - \tfrac25 c$, with the
# log-sum-exp $a$, the target's logit $b$ and the mean logit $c$. At the dot three gradients are added (R6 of
# [2.0](2_0_toolbox.ipynb)): $p$ from above, and, from the two others, $-q$.

# %%
z, p = np.log([1.0, 1, 2, 4]), np.array([1, 1, 2, 4]) / 8
to_target, to_mean = np.array([0, 0, -3 / 5, 0]), np.full(4, -1 / 10)
result = "a − 3/5 b\n− 2/5 c"
total = math.log(8) - 3 / 5 * z[2] - 2 / 5 * z.mean()
ways = {"logits": (0, 1), "•": (1, 1), "log-sum-exp": (2, 0), "target": (2, 1), "mean": (2, 2)}
graphs.draw(
    ways | {result: (3, 1), "loss": (4, 1)},
    [
        ("logits", "•", z, p + to_target + to_mean),
        ("•", "log-sum-exp", z, p),
        ("•", "target", z, to_target),
        ("•", "mean", z, to_mean),
        ("log-sum-exp", result, math.log(8), 1, "a"),
        ("target", result, z[2], -3 / 5, "b"),
        ("mean", result, z.mean(), -2 / 5, "c"),
        (result, "loss", total, 1),
    ],
)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The logits 0, 0, 0.69, 1.39 split at a dot into three ways: log-sum-exp, 2.08, target, 0.69, and mean, 0.52, which
# join in the loss 1.46. Backward the three ways bring p = 1/8, 1/8, 1/4, 1/2, then -3/5 at the target, then -1/10
# everywhere, and together 1/40, 1/40, -9/20, 2/5.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative**, with the `gradient_check` of 2.0:

# %%
rng = np.random.default_rng(0)
targets = rng.integers(0, 7, (2, 6))
targets.flat[::3] = -100
inputs = {"logits": rng.normal(size=(2, 6, 7)), "targets": targets, "label_smoothing": 0.1}
style.show_check(minigpt2.gradient_check(cross_entropy_forward, cross_entropy_backward, inputs))

# %% [markdown] tags=["en"]
# It catches a typical mistake, taking the share $e$ off the target and forgetting to give it to the others. The target
# distribution then has the sum $1 - e$, and every logit is pushed down a little too far. Training might not even show
# it, because the same number on all logits changes no probability.


# %%
def stingy_backward(dloss, cache):
    """Wrong: the share that was taken off the target is not spread."""
    dlogits, e, counted = cross_entropy_backward(dloss, cache), cache["label_smoothing"], cache["counted"]
    share = (counted * dloss / counted.sum()).reshape(dlogits.shape[:-1])
    return dlogits + share[..., None] * e / dlogits.shape[-1]


style.show_check(minigpt2.gradient_check(cross_entropy_forward, stingy_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation:** the recorded results of PyTorch's `cross_entropy`. There is a second definition
# of smoothing that one meets at times: spread $e$ over the $V-1$ *other* tokens, so that the target keeps $1-e$. That
# is the same as ours with $e\,V/(V-1)$ in place of $e$. Which of the two is PyTorch's?

# %%
reference = recorded("cross_entropy_smoothed")
options = CASES["cross_entropy_smoothed"].options
V = reference["inputs"]["logits"].shape[-1]
share = options["label_smoothing"]
for what, e in (("spread over all V", share), ("spread over the others", share * V / (V - 1))):
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
looks = ((style.BLUE, style.BLUE, "-"), (style.ORANGE, style.ORANGE_TEXT, "--"), (style.GREEN, style.GREEN_TEXT, "-."))
looks += (("black", "black", (0, (5, 1, 1, 1, 1, 1))),)
figure, axes = plt.subplots(figsize=(6.8, 3.4))
print("   e   best margin   margin after 400 steps")
for e, (color, text_color, dashes) in zip(smoothings, looks, strict=True):
    small = minigpt2.GPT2(config, seed=0)
    optimizer = minigpt2.AdamW(small.params, lr=3e-3, weight_decay=0.0)
    rng, others, curve = np.random.default_rng(0), fibonacci(np.random.default_rng(1)), []
    for step in range(401):
        if step % 20 == 0:
            curve.append(margin(small, *others))
        optimizer.step(small.loss_and_grads(*fibonacci(rng), label_smoothing=e)[1], max_norm=1.0)
    axes.plot(range(0, 401, 20), curve, color=color, ls=dashes)
    best = math.log((1 - e + e / V) / (e / V)) if e else math.inf
    axes.text(406, curve[-1], f"e = {e:g}", color=text_color, va="center")
    if e:
        axes.hlines(best, 0, 400, color=color, lw=0.8, ls=":", zorder=0)
    print(f"{e:4}{best:12.1f}{curve[-1]:17.1f}")
axes.set(xlabel="steps of training", ylabel="target's logit minus mean of the others", xlim=(0, 460), ylim=(0, 12))
axes.set_title("Margin (thin dotted: best margin)")
plt.show()

# %% [markdown] tags=["en", "alt"]
# The margin over 400 steps for four values of e. With e = 0 it rises to about 10 and still rises; with 0.05, 0.1 and
# 0.3 it levels off at 5.4, 4.6 and 3.2, each close to a thin dotted line of its own colour, the best margin.

# %% [markdown] tags=["en"]
# Each smoothed model comes to rest close to its own dotted line, as derived in section 3. The one without smoothing
# learned the rule long ago, and its logits still drift apart: there is always a little to be gained.
#
# ### What does it cost, and when does it pay?
#
# Now a task in which the next token is uncertain, *and we know how uncertain*. We invent a language of ten tokens, in
# which each token has a fixed probability of following each other one. These 100 probabilities are drawn once. A model
# that predicted them exactly would be perfect, and its loss would be the entropy of the language; with a natural
# language nobody knows these numbers.
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


def train(e, data=None, steps=300):
    """A new model, trained on lines (N, T) or, without them, on new lines in each step."""
    small = minigpt2.GPT2(config, seed=0)
    optimizer = minigpt2.AdamW(small.params, weight_decay=0.0)
    rng = np.random.default_rng(0)
    for step in range(steps):
        ids = lines(rng, 16) if data is None else data[rng.integers(0, len(data), 16)]
        optimizer.lr = 3e-3 * (1 - step / steps)
        optimizer.step(small.loss_and_grads(ids[:, :-1], ids[:, 1:], label_smoothing=e)[1], max_norm=1.0)
    return small


test = lines(np.random.default_rng(2), 256)[:, :-1]
truth = P[test]  # (B, T, V): the true probabilities of the next token, after each token of new lines


def probabilities(model):
    """A model's probabilities of the next token, after each token of the new lines, (B, T, V)."""
    logits = model.forward(test)[0].astype(np.float64)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


scarce_lines = lines(np.random.default_rng(3), 256)
smoothings = (0.0, 0.1, 0.2, 0.4, 0.6)
plenty = {e: probabilities(train(e)) for e in smoothings}
scarce = {e: probabilities(train(e, scarce_lines)) for e in smoothings}

# %% [markdown] tags=["en"]
# With plenty of text the theory can be checked point by point: a model trained with smoothing should say $(1-e)P + e/V$
# where the truth is $P$. Each point below is one of the 100 pairs of tokens, and its height is the mean of the model's
# answers.

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.4))
for e, marker, colour in ((0.0, "o", style.BLUE), (0.4, "^", style.ORANGE)):
    said = np.array([plenty[e][test == a].mean(axis=0) for a in range(V)])
    axes.plot(P.ravel(), said.ravel(), marker, ms=3.5, color=colour, ls="", label=f"e = {e:g}")
    axes.plot([0, 0.8], [e / V, (1 - e) * 0.8 + e / V], color=colour, lw=0.9, ls="-")
axes.set(xlabel="true probability P", ylabel="the model's probability", title="Plenty of text; lines: $(1-e)P + e/V$")
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Points of the model's probability against the true one, for 100 pairs of tokens. Without smoothing they lie along the
# diagonal. With e = 0.4 they lie along a flatter line, which begins at 0.04 and is at 0.5 where the diagonal is at 0.8.

# %% [markdown] tags=["en"]
# Now the distance from the truth, as the *relative entropy* of section 3: the sum $\sum_v P_v\ln(P_v/p_v)$, averaged
# over all positions. It is 0 for a perfect model. The table has two more numbers. *Confidence* is the mean probability
# that a model gives to its favourite token, and *accuracy* the true probability that this favourite comes, which we can
# look up in $P$. A model is **calibrated** if its predictions come true as often as it says: of the things that it
# calls 70 % probable, 70 % happen. Here it is enough to compare the two means.


# %%
def relative_entropy(p):
    """Of the true probabilities with respect to p, nats, mean over the positions."""
    return float((truth * np.log(truth / p)).sum(axis=-1).mean())


def confidence_and_accuracy(p):
    """Mean probability that p gives to its favourite, and mean true probability of that favourite."""
    favourite = p.argmax(axis=-1)[..., None]
    return p.max(axis=-1).mean(), np.take_along_axis(truth, favourite, axis=-1).mean()


derived = {e: relative_entropy((1 - e) * truth + e / V) for e in smoothings}
print("           e   relative entropy (derived)   confidence   accuracy")
for name, models in (("plenty", plenty), ("scarce", scarce)):
    for e, p in models.items():
        theory = f"({derived[e]:.2f})" if models is plenty else ""
        confidence, accuracy = confidence_and_accuracy(p)
        print(f"{name} {e:5} {relative_entropy(p):16.2f} {theory:>9} {confidence:14.2f} {accuracy:10.2f}")

# %%
figure, axes = plt.subplots(figsize=(5.6, 3.2))
for name, values, look in (
    ("scarce", {e: relative_entropy(p) for e, p in scarce.items()}, {"marker": "o"}),
    ("plenty", {e: relative_entropy(p) for e, p in plenty.items()}, {"marker": "^"}),
    ("plenty, derived", derived, {"color": "black", "ls": ":"}),
):
    axes.plot(smoothings, list(values.values()), label=name, **look)
axes.set(xlabel="smoothing e", ylabel="relative entropy (nats)", title="Relative entropy", ylim=(0, None))
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Relative entropy over the smoothing e. With plenty of text it rises from 0.01 to 0.27, just above the dotted derived
# curve. With scarce text it falls from 0.29 to 0.22 at e = 0.2, stays there until 0.4 and rises to 0.29 again.

# %% [markdown] tags=["en"]
# - **With plenty of text smoothing only costs.** Without it the points lie near the diagonal, and confidence is nearly
#   accuracy. With it they lie on the flatter line that was derived: rare tokens get too much, common ones too little.
#   The distance from the truth grows with $e$ as the dotted curve says. The accuracy of the favourite is the same:
#   smoothing flattens the probabilities and keeps their order.
# - **With scarce text a model without smoothing is far too sure of itself:** it claims much more than comes true,
#   because it has begun to learn lines by heart. Smoothing takes some of that certainty away, and the distance from the
#   truth falls, down to a best value of $e$ and then up again. Here two errors work against each other: at the largest
#   $e$ the model claims *less* than comes true.
#
# And here is the control that section 1 promised: how many of the probabilities of the models with plenty of text are
# below $e/V$, and below half of it? For the model without smoothing we take the limit of $e = 0.1$.

# %%
for e, p in plenty.items():
    limit = (e or 0.1) / V
    print(f"e = {e:3}   p < e/V: {(p < limit).mean():.2f}   p < e/V/2: {(p < limit / 2).mean():.2f}")

# %% [markdown] tags=["en"]
# Smoothed models are not exactly at their optimum, and so some of their probabilities are a little below the limit, but
# next to none below half of it. Without smoothing 7 % are: this language has rare pairs, and the model says so.
#
# This fits the decisions that were made, although GPT-2's authors do not say why there is no smoothing. The
# Transformer of 2017 learned to translate from a limited collection of sentence pairs; smoothing "hurts" the
# perplexity, its authors report, and makes the translations better (section 5.4 there). GPT-2 was trained on so much
# text that it still *underfits* it (Radford et al. 2019, abstract), and many of its results are perplexities.
#
# The experiment does not show whether smoothing is the best remedy where text is scarce. Stopping earlier, dropout
# (2.5.6) and more text are others, and question 4 lets you try one.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What is $q$ for $e = 1$, and what does a model learn from it? *Hint: the best margin.*
#
#    <details><summary>Answer</summary>
#
#    $q_v = 1/V$ for all tokens: the target has dropped out of it. The best margin is $\ln(1 + 0) = 0$. The model learns
#    to answer with the uniform distribution, whatever it reads.
#
#    </details>
#
# 2. Show that the gradient still adds up to 0 over the vocabulary at every position. *Hint: the sums of $p$ and $q$.*
#
#    <details><summary>Answer</summary>
#
#    $\sum_v dz_v = \frac{d\mathrm{loss}}{N}\bigl(\sum_v p_v - \sum_v q_v\bigr)$. The softmax divides by the sum, so
#    $\sum_v p_v = 1$. And $\sum_v q_v = (1-e)\sum_v\delta_{v,\mathrm{target}} + V\cdot\frac eV = (1-e) + e = 1$. The
#    difference is 0.
#
#    </details>
#
# 3. GPT-2 has $V = 50257$. Which $e$ would give the same margin as $V = 10$ and $e = 0.1$? Is that a sensible amount of
#    smoothing? *Hint: in the formula of the best margin, $V(1-e)/e$ must stay the same.*
#
#    <details><summary>Answer</summary>
#
#    For $V = 10$ and $e = 0.1$ it is $10\cdot0.9/0.1 = 90$. From $50257\,(1-e)/e = 90$ follows
#    $e = 50257/(50257+90) = 0.9982$. That is not sensible: the target would keep $1 - e + e/V = 0.0018$. The same
#    margin over 50,256 other tokens is much less certainty than over nine.
#
#    </details>
#
# 4. In the scarce situation, train for 100 steps instead of 300, without smoothing. Predict whether it beats the best
#    smoothed model, then try. *Hint: `train(0.0, scarce_lines, steps=100)`.*
#
#    <details><summary>Answer</summary>
#
#    It does, clearly: its relative entropy is 0.10, against 0.22 for the best smoothed model after 300 steps, with a
#    confidence of 0.43 and an accuracy of 0.39. Here stopping earlier is the better remedy.
#
#    </details>
#
# 5. A model was trained with smoothing $e$ and plenty of text. Can you recover the true probabilities from its answers?
#    What goes wrong with a probability that it puts below $e/V$? *Hint: solve $\bar q = (1-e)P + e/V$ for $P$, and
#    apply it to `plenty[0.4]`.*
#
#    <details><summary>Answer</summary>
#
#    $P = (\bar q - e/V)/(1-e)$. For `plenty[0.4]` the mean distance from the true probabilities falls from 0.039 to
#    0.012, nearly that of the model without smoothing (0.010). But a probability below $e/V$ becomes negative: here
#    7 % of them, the lowest $-0.02$. One has to cut them off at a small positive number and divide by the sum.
#
#    </details>
#
# The loss itself, the $p - \delta$ that this notebook took from the next one, is derived there.
#
# **Next:** [2.5.8, the loss function](2_5_8_loss_function.ipynb)
