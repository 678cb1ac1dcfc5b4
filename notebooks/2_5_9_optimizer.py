# %% [markdown] tags=["en"]
# # 2.5.9 优化器 · Optimizer
#
# The backward pass says, for every parameter of the model, in which direction the loss grows. The optimizer decides
# what to do about it: how far to go, what to remember of earlier steps, and when to be careful. This notebook begins
# with the simplest answer, finds out where it fails, and mends it one step at a time, until we arrive at the optimizer
# that trains GPT-2.
#
# You need Python, NumPy and school calculus. The words:
#
# - The **parameters** or weights $w$ of a model are the numbers that training changes.
# - The **loss** $L$ is one number that says how bad the predictions are (notebook 2.5.8); the **gradient** $g$ holds
#   its derivative with respect to each parameter, and has the same shape as the parameters.
# - A **batch** is the handful of texts from which one gradient is computed. The next step takes a new batch, so
#   gradients are always a little random. That is the *stochastic* in "stochastic gradient descent".
# - The **learning rate**, `lr`, scales all steps.
#
# **Exercise:** [9, AdamW](../exercises/student/09_adamw.ipynb)

# %%
import sys
from dataclasses import fields
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py and graphs.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2 import plain
from minigpt2.components.loss import cross_entropy_forward
from minigpt2.components.optimizer import SGD, AdamW, adamw_chunk, learning_rate, norm_and_scale
from minigpt2.reference import LABEL_SMOOTHING, LEARNING_RATES, MAX_NORM, TINY, TRAINING, recorded, relative_error
from minigpt2.settings import TrainingSettings
from minigpt2.verification.figures import LLM_C_LOSSES

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document says 优化器（Optimizer）用于更新模型的参数, the optimizer updates the parameters of the model. So it
# does. The document does not say which optimizer, and the paper on GPT-2 does not either: it tells us the size of a
# batch (512 texts, section 2.3) and that the learning rate was tuned by hand for each model (section 3), and the code
# for training was not published. What comes closest are the papers before and after:
#
# | | GPT, 2018 (Radford et al., section 4.1) | GPT-3, 2020 (Brown et al., appendix B) |
# |---|---|---|
# | optimizer | Adam | Adam, with betas 0.9 and 0.95, `eps` $10^{-8}$ |
# | weight decay | decoupled, 0.01, not for biases and gains | 0.1 |
# | clipping | not mentioned | to norm 1 |
# | learning rate | warm-up over 2,000 steps, then a cosine to 0 | warm-up, then a cosine to a tenth |
#
# (A *gain* is the factor by which a layer norm multiplies a channel, its `weight`; notebook 2.5.5.) After this notebook
# you will know what every other word in this table means, and why it is there. The package does the same; these are the
# defaults of its training, with which the built-in model was made:

# %%
names = ("lr", "min_lr", "warmup_steps", "steps", "beta1", "beta2", "weight_decay", "max_norm")
for field in fields(TrainingSettings):
    if field.name in names:
        print(f"{field.name:13} {field.default:7}   {field.metadata['help']}")

# %% [markdown] tags=["en"]
# To see it at work takes a few lines. We show the built-in model one sentence, over and over:

# %%
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
model = minigpt2.GPT2.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("The frost hath come before, and come again.")])
optimizer = AdamW(model.params, lr=1e-4)
for step in range(6):
    loss, grads = model.loss_and_grads(ids[:, :-1], ids[:, 1:])
    print(f"step {step}: loss {loss:.1f}")
    optimizer.step(grads)

# %% [markdown] tags=["en"]
# The released GPT-2 can be trained in the same way. Karpathy's *llm.c* states in its test (`test_gpt2.c`) the losses of
# ten steps of AdamW, with the learning rate $10^{-4}$, that the smallest released model makes on one batch, four texts
# of 64 tokens from Shakespeare. The package carries these figures; `minigpt2 verify` computes them again where the
# weights are. The next cell prints them, and shows the real model our sentence, if it is on this machine.

# %%
print("llm.c:", *(f"{loss:.2f}" for loss in LLM_C_LOSSES))
if gpt2 := style.released_model():
    words = np.array([style.released_tokenizer().encode("The frost hath come before, and come again.")])
    optimizer = AdamW(gpt2.params, lr=1e-4)
    for step in range(6):
        loss, grads = gpt2.loss_and_grads(words[:, :-1], words[:, 1:])
        print(f"step {step}: loss {loss:.1f}")
        optimizer.step(grads)

# %% [markdown] tags=["en"]
# From 5.27 to 0.38 in nine steps: it learns these 256 tokens by heart. So the machine works, on a batch that comes
# again and again. The rest of this notebook asks why it is built as it is.
#
# ## 2. The idea
#
# You are in a landscape in thick fog and want to go down. All you can feel is the slope under your feet.
#
# - **Gradient descent**: take a step straight down the slope, longer the steeper it is.
# - **Momentum**: be a heavy ball. Keep most of your velocity, and let the slope only bend it.
# - **Adam**: distrust the steepness. A slope of 100 in one direction and of 0.01 in another may be due to the units
#   alone. Divide the slope in each direction by its own usual size; then take about the same step in each.
#
# The picture shows all three in a long valley, $L = \tfrac12(x^2 + 25\,y^2)$, whose walls are 25 times as curved as
# its floor. The lowest point is marked with a cross. All make 25 steps from the same place. Both axes have the same
# scale: each step of gradient descent is perpendicular to the contour, the line of equal loss, on which it begins.


# %%
def walk(make, steps=25):
    """The path of an optimizer in the valley, (steps + 1, 2); make: params -> optimizer."""
    params = {"w": np.array([-9.0, 1.5])}
    optimizer, path = make(params), [params["w"].copy()]
    for _ in range(steps):
        x, y = params["w"]
        optimizer.step({"w": np.array([x, 25 * y])})
        path.append(params["w"].copy())
    return np.array(path)


def height(path):
    return 0.5 * (path[:, 0] ** 2 + 25 * path[:, 1] ** 2)


walkers = {
    "gradient descent, lr 0.02": lambda params: SGD(params, lr=0.02),
    "gradient descent, lr 0.078": lambda params: SGD(params, lr=0.078),
    "momentum 0.8, lr 0.02": lambda params: SGD(params, lr=0.02, momentum=0.8),
    "Adam, betas 0.8 and 0.9, lr 1": lambda params: AdamW(params, lr=1.0, betas=(0.8, 0.9), weight_decay=0.0),
}
figure, axes = plt.subplots(2, 2, figsize=(6.2, 2.8), sharex=True, sharey=True)
x, y = np.meshgrid(np.linspace(-10, 4, 141), np.linspace(-2, 2, 81))
for axis, (name, make) in zip(axes.flat, walkers.items(), strict=True):
    path = walk(make)
    axis.contour(x, y, 0.5 * (x**2 + 25 * y**2), levels=[1, 8, 25, 50], colors="0.85", linewidths=0.8)
    axis.plot(*path.T, "-o", ms=2.5, lw=1.1, color=style.BLUE)
    axis.plot(0, 0, "x", color=style.ORANGE, ms=7, mew=2)
    axis.set_title(f"{name}: L = {height(path)[-1]:.2g}", fontsize=9)
    axis.set_aspect("equal")
    axis.grid(visible=False)
for axis in axes[1]:
    axis.set_xlabel("x (curvature 1)")
for axis in axes[:, 0]:
    axis.set_ylabel("y (curvature 25)")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Four paths from the left end of a long narrow valley, whose contours are ellipses five times as long as wide. Gradient
# descent with the small rate goes straight to the floor and gets two fifths of the way; with the larger rate it zigzags
# across the valley and ends near the lowest point, not at it. Momentum and Adam swing around the floor in a few waves
# and end close to the lowest point.

# %% [markdown] tags=["en"]
# With a small learning rate gradient descent is at the bottom of the valley at once, and then crawls along the floor,
# where the slope is small. With a larger one it is faster there and bounces between the walls; with a little more
# still, it would be thrown out (section 3 says at which number). Momentum and Adam get further with the same number of
# steps, further even than gradient descent with the best of all learning rates (question 2).
#
# Adam's idea has its reason in the units. In a network there is no unit that suits all parameters. Look at how much
# their gradients differ. Here are the gradients of a new model for one line of text, and the change of the parameters
# in one step: for each the root mean square, that is, the square root of the mean of the squares. (The matrix
# `wte.weight` has a row for each token of the vocabulary and serves twice, for the token's vector at the bottom and for
# its score at the top, notebook 2.5.1. The other names begin with `h.` and the number of a block; `attn` is its
# attention, `mlp` its feed-forward network.)

# %%
text = "Then must we weep, and make our tears the rain. But one, my lord, a little yellow thing."
ids = np.array([tokenizer.encode(text)])


def root_mean_square(array):
    return float(np.sqrt((array * array).mean()))


def first_steps(make):
    """Dotted name -> (gradient, change) of each parameter in the first step of a new model."""
    new = minigpt2.GPT2(model.config, seed=0)
    before = {name: array.copy() for name, array in minigpt2.flatten(new.params).items()}
    _, grads = new.loss_and_grads(ids[:, :-1], ids[:, 1:])
    make(new.params).step(grads)
    after = minigpt2.flatten(new.params)
    return {name: (g, after[name] - before[name]) for name, g in minigpt2.flatten(grads).items()}


sgd = first_steps(lambda params: SGD(params, lr=0.1))
adam = first_steps(lambda params: AdamW(params, lr=0.001, weight_decay=0.0))
parts = {
    "wte.weight, row of a token in the text": ("wte.weight", tokenizer.encode(" lord")[0]),
    "wte.weight, row of one that is not": ("wte.weight", tokenizer.encode(" king")[0]),
    "h.0.attn.c_proj.weight": ("h.0.attn.c_proj.weight", slice(None)),
    "h.3.attn.c_attn.weight": ("h.3.attn.c_attn.weight", slice(None)),
    "h.3.mlp.c_fc.bias": ("h.3.mlp.c_fc.bias", slice(None)),
}
print(f"{'':40}  gradient  SGD step  Adam step")
for what, (name, rows) in parts.items():
    (g, by_sgd), (_, by_adam) = sgd[name], adam[name]
    print(f"{what:40}", *(f"{root_mean_square(array[rows]):9.0e}" for array in (g, by_sgd, by_adam)))

# %% [markdown] tags=["en"]
# The gradients differ by more than a factor of ten, above all between tokens that occur and tokens that do not (those
# get a gradient too: they are pushed down as wrong answers). The steps of SGD, stochastic gradient descent, differ as
# much. Adam's first step has the same size everywhere: its learning rate. If the gradients differ because of units, or
# because some tokens are rare, one learning rate of SGD cannot suit all of these parameters, and one of Adam may. But
# sizes alone do not prove it, as they say nothing about *curvature*, which makes the valley: a round bowl has large
# gradients here and small ones there as well, and SGD is right to follow them. Section 6 tries which it is.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $w$ | `w` | `(P,)` | all $P$ parameters, in one long row |
# | $g$ | `g` | `(P,)` | the gradient of this step |
# | $t$ | `t` | one number | steps taken, the first is 1 |
# | $b$ | `b` | `(P,)` | SGD: velocity |
# | $m$, $v$ | `m`, `v` | `(P,)` | Adam: running means of $g$ and $g^2$, the *moments* |
# | $\beta_1, \beta_2$ | `betas` | two numbers below 1 | the share of the old means that is kept |
# | `eps` | `eps` | one number | against division by 0; $10^{-8}$ |
# | $\mathrm{lr}$ | `lr` | one number | learning rate |
#
# Except for the clipping, everything happens to each parameter on its own; read the formulas for one number.
#
# ### Gradient descent
#
# For a small change $\Delta$ of the parameters the loss changes by $\sum_i g_i\Delta_i$. Among all $\Delta$ of a given
# length, which makes this sum smallest? It is a scalar product, the product of the two lengths and the cosine of the
# angle between them, and so the answer is the one that points against $g$. Hence
#
# $$w \leftarrow w - \mathrm{lr}\; g .$$
#
# **How large may lr be?** Take one direction of the valley, $L = \tfrac12 k w^2$, where $k$ is the curvature. Then
# $g = k w$, and a step gives
#
# $$w \leftarrow w - \mathrm{lr}\,k\,w = (1-\mathrm{lr}\,k)\,w .$$
#
# This shrinks if $|1 - \mathrm{lr}\,k| < 1$, that is, if $\mathrm{lr} < 2/k$; beyond that it grows without end. The
# *steepest* direction sets the limit for all the others: in our valley $2/25 = 0.08$. And with such a learning rate the
# flattest direction, $k = 1$, only shrinks by the factor $1 - 0.08$ in each step. The ratio of the two curvatures, here
# 25, is called the *condition number*. The larger it is, the slower the way along the floor.
#
# ### Momentum
#
# $$b \leftarrow \mathrm{momentum}\cdot b + g, \qquad w \leftarrow w - \mathrm{lr}\; b .$$
#
# Write $\mu$ for the momentum and unroll: $b_t = g_t + \mu\,g_{t-1} + \mu^2 g_{t-2} + \dots$ Two cases show the effect.
# If the gradient stays the same, as along the floor of the valley,
#
# $$b \to g\,(1 + \mu + \mu^2 + \dots) = \frac{g}{1-\mu},$$
#
# which for $\mu = 0.9$ is ten times the step. If it changes its sign each time, as between the walls,
#
# $$b \to g\,(1 - \mu + \mu^2 - \dots) = \frac{g}{1+\mu},$$
#
# about half the step. Momentum is fast where the way is clear, careful where it is not. (Sutskever et al. 2013, section
# 2.)
#
# **How large may lr be now?** Larger than $2/k$. Write $w_t$ for $w$ after step $t$. A step says
# $w_{t+1} - w_t = -\mathrm{lr}\,b_{t+1}$ with $b_{t+1} = \mu\,b_t + k\,w_t$, and so
#
# $$w_{t+1} = w_t + \mu\,(w_t - w_{t-1}) - \mathrm{lr}\,k\,w_t = (1 + \mu - \mathrm{lr}\,k)\,w_t - \mu\,w_{t-1} .$$
#
# Try $w_t = r^t$: it is a solution if $P(r) = r^2 - (1 + \mu - \mathrm{lr}\,k)\,r + \mu = 0$, and every solution is a
# sum of two such, one for each root (of $r^t$ and $t\,r^t$ if there is only one). All of them shrink if both roots are
# smaller than 1 in size. The product of the roots is $\mu < 1$. If they are complex, they are conjugate, so both have
# the size $\sqrt\mu < 1$. If they are real, they have the same sign. Positive ones lie between $\mu$ and 1 for a tiny
# lr, and cannot reach 1 for a larger one, as $P(1) = \mathrm{lr}\,k$ is never 0. Negative ones pass $-1$ exactly where
# $P(-1) = 1 + (1 + \mu - \mathrm{lr}\,k) + \mu = 0$. Hence the limit
#
# $$\mathrm{lr} < \frac{2\,(1+\mu)}{k} .$$
#
# It fits the half steps above: at the limit $w$ jumps from one wall to the other, the gradient alternates, and
# $\mathrm{lr}\,b = \mathrm{lr}\,k\,w/(1+\mu) = 2\,w$. In our valley, with $\mu = 0.8$, the limit is
# $3.6/25 = 0.144$ in place of 0.08.
#
# ### Adam
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\,g, \qquad v \leftarrow \beta_2 v + (1-\beta_2)\,g^2 .$$
#
# Both are running means: $m$ of the gradient, a momentum; $v$ of its square, so that $\sqrt v$ is the usual size of the
# gradient. They begin at 0, and are therefore too small at first. **By how much?** Unroll $m$:
#
# $$m_t = (1-\beta_1)\sum_{s=1}^{t}\beta_1^{\,t-s}\,g_s .$$
#
# If the gradients are all drawn from the same distribution, with the mean $\bar g$, then the mean of $m_t$ is $\bar g$
# times the sum of the weights, a geometric series:
#
# $$(1-\beta_1)\,(1 + \beta_1 + \dots + \beta_1^{\,t-1}) = (1-\beta_1)\,\frac{1-\beta_1^{\,t}}{1-\beta_1}
#   = 1-\beta_1^{\,t} .$$
#
# So we divide by it, and do likewise for $v$. This is the **bias correction** (Kingma & Ba 2015, section 3):
#
# $$\hat m = \frac{m}{1-\beta_1^{\,t}}, \qquad \hat v = \frac{v}{1-\beta_2^{\,t}}, \qquad
#   w \leftarrow w - \mathrm{lr}\,\frac{\hat m}{\sqrt{\hat v}+\texttt{eps}} .$$
#
# In the first step $\hat m = g$ and $\hat v = g^2$, so (`eps` aside) the step is
# $\mathrm{lr}\cdot g/|g| = \pm\,\mathrm{lr}$, as we saw in section 2. Without the correction it would be
# $(1-\beta_1)\,g / \sqrt{(1-\beta_2)\,g^2}$ in size, which for the betas 0.9 and 0.999 is
# $0.1/\sqrt{0.001} \approx 3.2$ times as long, just when the model knows least.
#
# Multiply all gradients by 1,000, and $m$ and $\sqrt v$ are both 1,000 times as large: the step is the same, except for
# `eps`. Adam does not care in what units a gradient comes. And where gradients contradict each other, $m$ is small
# compared with $\sqrt v$, and the step is short: a kind of caution.
#
# `eps` is $10^{-8}$ (Kingma & Ba, algorithm 1), and so it matters only where gradients are not much larger than that. A
# steady gradient $g$ gives steps of $\mathrm{lr}\,|g|/(|g|+\texttt{eps})$: half an lr for $|g| = 10^{-8}$, a tenth of
# an lr or less below $10^{-9}$. That damps parameters whose gradient is nothing but rounding noise, such as the biases
# of the keys (notebook 2.5.3).
#
# ### Weight decay, and the W in AdamW
#
# Weights that are larger than necessary can make a model fit accidents of its training data. A classic remedy, called
# **L2 regularization**, adds $\tfrac\lambda2\sum w^2$ to the loss, and so $\lambda w$ to the gradient. With SGD this
# takes the share $\mathrm{lr}\,\lambda$ off every weight in each step:
#
# $$w \leftarrow w - \mathrm{lr}\,(g + \lambda w) = (1-\mathrm{lr}\,\lambda)\,w - \mathrm{lr}\;g .$$
#
# With Adam it does not. There $g + \lambda w$ is divided by $\sqrt{\hat v}$: a weight with large gradients hardly
# decays, one with small gradients decays fast, and nobody asked for that. **AdamW** takes the decay out of the gradient
# and applies it to the weight itself, *decoupled* (Loshchilov & Hutter 2019, algorithm 2):
#
# $$w \leftarrow w - \mathrm{lr}\;\mathrm{weight\_decay}\;w - \mathrm{lr}\,\frac{\hat m}{\sqrt{\hat v}+\texttt{eps}} .$$
#
# (In that paper the decay is not multiplied by the learning rate, only by the schedule's factor. The product with lr,
# as here, is PyTorch's way.) Only matrices decay. Biases and the gains of layer norms are left out, as in GPT (see the
# table of section 1).
#
# ### Clipping
#
# Now and then a batch may have a monstrous gradient (section 6 makes one). The *global norm* is the length of the
# gradient of all parameters together, $\mathrm{norm} = \sqrt{\sum_i g_i^2}$, and if it exceeds a limit, the whole
# gradient is shortened:
#
# $$g \leftarrow g\cdot\min\Bigl(1, \frac{\mathrm{max\_norm}}{\mathrm{norm}}\Bigr).$$
#
# The direction is kept (Pascanu et al. 2013, algorithm 1; the code adds $10^{-6}$ to the norm, as PyTorch does).
#
# ### Warm-up and cosine
#
# Two arguments are given for a learning rate that changes. At the start $\hat v$ rests on a handful of gradients and
# cannot be trusted, so steps should be short (Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and
# Beyond"). At the end steps should become small, so that the randomness of the batches averages out. (Section 6 tries
# both.) So the learning rate rises linearly during the **warm-up**, where step counts from 0,
#
# $$\mathrm{lr} = \mathrm{max\_lr}\cdot\frac{\mathrm{step}+1}{\mathrm{warmup\_steps}+1} ,$$
#
# and then falls along half a cosine. With $r$ for the share of the way after the warm-up, from 0 to 1,
#
# $$\mathrm{lr} = \mathrm{min\_lr} + (\mathrm{max\_lr}-\mathrm{min\_lr})\,\frac{1+\cos \pi r}{2} .$$

# %%
defaults = TrainingSettings()
steps = np.arange(0, defaults.steps + 1, 10)
rates = [learning_rate(step, defaults.lr, defaults.min_lr, defaults.warmup_steps, defaults.steps) for step in steps]
figure, axes = plt.subplots(figsize=(4.4, 1.9))
axes.plot(steps, rates)
axes.set(xlabel="step", ylabel="learning rate", title="training of the built-in model", ylim=(0, 1.1e-3))
plt.show()

# %% [markdown] tags=["en", "alt"]
# The learning rate over 4,000 steps: a steep rise to 0.001 within the first 100, then half a cosine, flat at first,
# steepest in the middle, flat again where it ends at 0.0001.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2: clipping, the two moments, the
# step. At the start `moments` are pairs of zeros, one pair for each parameter.

# %%
style.show_source(plain.adamw)

# %% [markdown] tags=["en"]
# Now the library's own source: the two optimizers, then the function that does Adam's work, and the clipping.
# `flat_view` gives all parameters as one long row. The row is worked on in chunks, some of them at the same time; this
# changes no number. `adamw_chunk` does the same as the page above, in place and a term at a time. Of all the tricks in
# the components this one buys the most: written with one expression for each line of the formula, a chunk takes half as
# long again, which is 7 to 9 percent of a training step of GPT-2. The page itself, which walks through whole arrays,
# takes five times as long (`python tests/benchmarks page-adamw`).

# %%
style.show_source(SGD, AdamW, adamw_chunk, learning_rate, norm_and_scale)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take one parameter, $w = 1$, and two gradients: 2 and then $-1$. With $\mathrm{lr} = \tfrac1{10}$, momentum
# $\tfrac12$, betas $\tfrac12$ and $\tfrac34$, and `eps` 0 you need no calculator.


# %%
def show(**numbers):
    """Print numbers as fractions."""
    print("  ".join(f"{name} {Fraction(float(v)).limit_denominator(1000)!s:>5}" for name, v in numbers.items()))


params = {"w": np.array([1.0])}
optimizer = SGD(params, lr=0.1, momentum=0.5)
for g in (2.0, -1.0):
    optimizer.step({"w": np.array([g])})
    show(g=g, b=optimizer.b[0], w=params["w"][0])
print()
params = {"w": np.array([1.0])}
optimizer = AdamW(params, lr=0.1, betas=(0.5, 0.75), eps=0.0)
for g in (2.0, -1.0):
    optimizer.step({"w": np.array([g])})
    m, v, t = optimizer.m[0], optimizer.v[0], optimizer.t
    show(g=g, m=m, v=v, m_hat=m / (1 - 0.5**t), v_hat=v / (1 - 0.75**t), w=params["w"][0])

# %% [markdown] tags=["en"]
# In the second step $b = \tfrac12\cdot2 - 1 = 0$, and $m = \tfrac12\cdot1 + \tfrac12\cdot(-1) = 0$: the two gradients
# cancel, and neither optimizer moves. A plain step would have gone back by $\tfrac1{10}$. Adam's first step is lr,
# whatever $g$ is. (The parameter is a vector, so it does not decay.) Adam's first step as a graph; there are no
# gradients below the edges, because nothing is derived here: the gradient $g$ is an input.

# %%
graphs.draw(
    {"g": (0, 0.5), "•": (1, 0.5), "running mean": (2, 0), "running mean\nof squares": (2, 1),
     "/ (1 − 1/2)": (3, 0), "/ (1 − 3/4)": (3, 1), "√": (4, 1), "÷": (5, 0.5), "× lr": (6, 0.5), "w": (6, 1.5),
     "−": (7, 0.5), "new w": (8, 0.5)},
    [("g", "•", 2.0, None, "g"), ("•", "running mean", None, None), ("•", "running mean\nof squares", None, None),
     ("running mean", "/ (1 − 1/2)", 1.0, None, "m"), ("running mean\nof squares", "/ (1 − 3/4)", 1.0, None, "v"),
     ("/ (1 − 1/2)", "÷", 2.0, None, r"\hat{m}"), ("/ (1 − 3/4)", "√", 4.0, None, r"\hat{v}"),
     ("√", "÷", 2.0, None), ("÷", "× lr", 1.0, None), ("× lr", "−", 0.1, None), ("w", "−", 1.0, None),
     ("−", "new w", 0.9, None)],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# A graph: the gradient 2 goes two ways, to its running mean m = 1, corrected to 2, and to the running mean of its
# square v = 1, corrected to 4, of which the root is 2. The quotient of the two is 1, times the learning rate 1/10, and
# the weight 1 becomes 9/10.

# %% [markdown] tags=["en"]
# **The numbers of section 3.** They are the limit of the learning rate in the valley, without and with momentum; the
# effect of momentum on a steady gradient and on one that changes its sign; the length of Adam's first step without bias
# correction, which we switch off by telling the optimizer that it has already taken a million steps; and the first step
# for very small gradients.

# %%
for momentum, rates in ((0.0, (0.079, 0.081)), (0.8, (0.143, 0.145))):
    print(f"momentum {momentum}: the limit is {2 * (1 + momentum) / 25:.3f}")
    for lr in rates:
        path = walk(lambda params, lr=lr, momentum=momentum: SGD(params, lr, momentum=momentum), steps=300)
        print(f"  lr {lr}: L at first {height(path)[0]:.1f}, after 300 steps {height(path)[-1]:.0e}")
for name, sign in (("steady", 1.0), ("alternating", -1.0)):
    optimizer = SGD({"w": np.zeros(1)}, momentum=0.9)
    for step in range(200):
        optimizer.step({"w": np.array([sign**step])})
    print(f"momentum 0.9, {name:11} gradient: the step is {abs(optimizer.b[0]):5.2f} times as long")
for name, steps_before in (("with", 0), ("without", 10**6)):
    params = {"w": np.zeros(1)}
    optimizer = AdamW(params, lr=1.0)
    optimizer.t = steps_before
    optimizer.step({"w": np.array([0.3])})
    print(f"Adam's first step, {name:7} bias correction: {-params['w'][0]:.2f} lr")
for g in (1e-3, 1e-8, 1e-9):
    params = {"w": np.zeros(1)}
    AdamW(params, lr=1.0).step({"w": np.array([g])})
    print(f"Adam's first step, gradient {g:.0e}: {-params['w'][0]:.2f} lr")

# %% [markdown] tags=["en"]
# **Decay by hand.** Take two weights, both 1. The gradient of the first is $+10$ and $-10$ in turn, that of the second
# $+0.1$ and $-0.1$. Such gradients say nothing about where to go; only the decay remains. We compare decoupled decay
# with L2 regularization, which adds $\lambda w$ to the gradient, with the same $\lambda$.

# %%
for name, decay, penalty in (("decoupled", 0.1, 0.0), ("L2", 0.0, 0.1)):
    params = {"w": np.array([[1.0, 1.0]])}  # a matrix, so that it decays
    optimizer = AdamW(params, lr=0.01, weight_decay=decay)
    for step in range(300):
        optimizer.step({"w": (-1) ** step * np.array([[10.0, 0.1]]) + penalty * params["w"]})
    print(f"{name:10} large gradients {params['w'][0, 0]:.2f}   small gradients {params['w'][0, 1]:.2f}")
print(f"(1 - lr weight_decay) ** 300 = {(1 - 0.01 * 0.1) ** 300:.2f}")

# %% [markdown] tags=["en"]
# With decoupled decay both weights shrink as announced, and both alike. (They lie a little below the last line because
# the first step, of a whole lr, goes down, and the next one, with most of $m$ cancelled, does not come back as far.)
# With L2 the weight with large gradients hardly decays, and little is left of the other.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# An optimizer has no backward pass, so there is nothing for `gradient_check` to check. But there is something to
# compare with. The package carries five steps of a tiny GPT-2 that Hugging Face's model, PyTorch's autograd and
# PyTorch's own optimizers made in 64-bit floating point, with clipping and with a learning rate that changes. From
# the same parameters and the same batches we must arrive at the same place: the same losses, the same norms before
# clipping, the same parameters at the end. (`recorded` reads such a recording. `TINY` is the shape of the model,
# `TRAINING` the options of each optimizer, `LEARNING_RATES` and `MAX_NORM` those of the five steps.)


# %%
def five_steps(name, make, max_norm=MAX_NORM, penalty=0.0):
    """The error of five steps against the recorded ones; make: (params, options) -> optimizer; penalty: of L2."""
    reference = recorded(name)
    inputs, losses, norms = reference["inputs"], [], []
    tiny = minigpt2.GPT2(minigpt2.GPT2Config(**TINY), dtype="float64")
    for key, array in minigpt2.flatten(inputs["params"]).items():
        minigpt2.flatten(tiny.params)[key][...] = array
    optimizer = make(tiny.params, TRAINING[name])
    for ids, targets, lr in zip(inputs["ids"], inputs["targets"], LEARNING_RATES, strict=True):
        loss, grads = tiny.loss_and_grads(ids, targets, label_smoothing=LABEL_SMOOTHING)
        for key, g in minigpt2.flatten(grads).items():
            if g.ndim >= 2:
                g += penalty * minigpt2.flatten(tiny.params)[key]
        optimizer.lr = lr
        losses.append(loss)
        norms.append(optimizer.step(grads, max_norm=max_norm))
    actual = {"losses": np.array(losses), "norms": np.array(norms), "params": tiny.params}
    return relative_error(actual, {key: reference[key] for key in actual})[0]


sgd_error = five_steps("training_sgd", lambda params, options: SGD(params, **options))
adamw_error = five_steps("training_adamw", lambda params, options: AdamW(params, **options))
style.show_agreement("SGD with momentum, five steps", sgd_error, tolerance=1e-10)
style.show_agreement("AdamW, five steps", adamw_error, tolerance=1e-10)

# %% [markdown] tags=["en"]
# And now with mistakes, to see that the comparison would notice (the bias correction is switched off as above):


# %%
def without_bias_correction(params, options):
    optimizer = AdamW(params, **options)
    optimizer.t = 10**6
    return optimizer


mistakes = {
    "no bias correction": {"make": without_bias_correction},
    "L2 in place of decoupled decay": {
        "make": lambda params, options: AdamW(params, **options | {"weight_decay": 0.0}),
        "penalty": TRAINING["training_adamw"]["weight_decay"],
    },
    "no clipping": {"make": lambda params, options: AdamW(params, **options), "max_norm": None},
}
for name, arguments in mistakes.items():
    style.show_agreement(name, five_steps("training_adamw", **arguments), tolerance=1e-10)

# %% [markdown] tags=["en"]
# ## 6. When does Adam win?
#
# "Adam is better than SGD" is said so often that one forgets to ask when. We let plain SGD, SGD with momentum 0.9 and
# AdamW train the same small GPT-2, each with three learning rates, since comparing optimizers at a single learning rate
# would be unfair. All see the same batches, with the gradient clipped to norm 1 and without weight decay. The task is a
# **dictionary** of 512 words, each with its translation, which the model has to give when it sees the word. (A batch is
# 8 texts of 16 words that have nothing to do with each other.) There are two versions of it, which differ in one thing
# only:
#
# - **equal**: all words are equally frequent;
# - **Zipf**: the words are as unevenly distributed as those of a real language. The second is half as frequent as the
#   first, the third a third as frequent, and so on. (This is *Zipf's law*.)

# %%
V = 512
translation = np.random.default_rng(7).permutation(V)
zipf = 1 / np.arange(1, V + 1)
frequencies = {"equal": np.full(V, 1 / V), "Zipf": zipf / zipf.sum()}


def batches(frequency, B=8, T=16, seed=0):
    """ids, targets (B, T), without end: words, and for each its translation."""
    rng = np.random.default_rng(seed)
    while True:
        words = rng.choice(V, (B, T), p=frequency)
        yield words, translation[words]


def new_model():
    """A small GPT-2; in float64, so that the figures are the same on every processor."""
    config = minigpt2.GPT2Config(
        vocab_size=V, n_positions=16, n_embd=32, n_layer=1, n_head=4, initializer_range=32**-0.5
    )
    return minigpt2.GPT2(config, seed=0, dtype="float64")


def train(frequency, make, steps=150, max_norm=1.0, broken=None):
    """A new model after some steps, and their losses; make: params -> optimizer.

    The gradient of the step ``broken`` is made 1,000 times too large. A loss of 99 ends the run.
    """
    small, losses = new_model(), []
    optimizer = make(small.params)
    for step, (ids, targets) in zip(range(steps), batches(frequency), strict=False):
        loss, grads = small.loss_and_grads(ids, targets)
        losses.append(min(float(loss), 99.0))
        if losses[-1] == 99:
            losses += [99.0] * (steps - len(losses))
            break
        if step == broken:
            for g in minigpt2.flatten(grads).values():
                g *= 1000
        optimizer.step(grads, max_norm=max_norm)
    return small, np.array(losses)


def at_the_end(run):
    """The mean loss of the last 20 steps."""
    return float(run[1][-20:].mean())


# %% [markdown] tags=["en"]
# The learning rates are a factor of 2 apart. (A coarse grid flatters whoever happens to be hit: with Zipf's frequencies
# plain SGD has a loss of 0.70, 0.40 and 3.6 at its three.)

# %%
optimizers = {
    "SGD": (lambda params, lr: SGD(params, lr), (1.0, 2.0, 4.0)),
    "SGD, momentum 0.9": (lambda params, lr: SGD(params, lr, momentum=0.9), (0.1, 0.2, 0.4)),
    "AdamW": (lambda params, lr: AdamW(params, lr, weight_decay=0.0), (0.01, 0.02, 0.04)),
}
runs = {
    (task, name): [train(frequency, lambda params, lr=lr, make=make: make(params, lr)) for lr in rates]
    for task, frequency in frequencies.items()
    for name, (make, rates) in optimizers.items()
}
figure, axes = plt.subplots(1, 2, figsize=(6.2, 2.5), sharey=True)
for axis, task in zip(axes, frequencies, strict=True):
    for (name, (_, rates)), marker in zip(optimizers.items(), "os^", strict=True):
        losses = [at_the_end(run) for run in runs[task, name]]
        axis.plot(rates, losses, marker=marker, label=name)
        print(f"{task:8} {name:18} best loss {min(losses):.2f}")
    axis.set(xscale="log", xlabel="learning rate", title=f"{task} frequencies", ylim=(0, 2))
axes[0].set_ylabel("loss (nats)")
axes[1].legend(fontsize=8, loc="upper left")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Loss after 150 steps over three learning rates, one panel for each dictionary, a curve for each optimizer. With equal
# frequencies the lowest points of momentum and AdamW are near 0, that of plain SGD is at 0.2. With Zipf's frequencies
# those of both kinds of SGD are between 0.4 and 0.5, that of AdamW is below 0.2.

# %% [markdown] tags=["en"]
# Each optimizer has its own best learning rate, a hundred times larger for plain SGD than for AdamW. (A uniform guess
# has the loss $\ln 512 = 6.24$.) Compare the lowest points. **With equal frequencies momentum does nearly as well as
# AdamW**, and plain SGD is not far behind. **With Zipf's all are worse, and AdamW is clearly ahead.** (At the same
# learning rates two other series of random batches gave 0.12 and 0.20 for plain SGD, 0.03 twice for momentum and 0.01
# twice for AdamW with equal frequencies; with Zipf's 0.37 and 0.35, 0.43 and 0.34, 0.15 and 0.11.) As nothing but the
# frequencies has changed, they must be the reason. Which words are it that SGD has not learned? We ask the best model
# of each kind for *every* word of the Zipf dictionary, and sort the answers by how frequent the word is.

# %%
groups = {"1-8": slice(0, 8), "9-32": slice(8, 32), "33-128": slice(32, 128), "129-512": slice(128, 512)}
figure, axes = plt.subplots(figsize=(5, 2.5))
print(f"{'rank of the word':20}" + "".join(f"{group:>9}" for group in groups))
for name, color, dash in zip(optimizers, (style.BLUE, style.ORANGE, style.GREEN), ("-", "--", "-."), strict=True):
    best, _ = min(runs["Zipf", name], key=at_the_end)
    logits, _ = best.forward(np.arange(V)[:, None])  # each word as a text of its own, (V, 1, V)
    means = [float(cross_entropy_forward(logits[some], translation[some, None])[0]) for some in groups.values()]
    for mean, some in zip(means, groups.values(), strict=True):
        label = name if some.start == 0 else None
        axes.plot([some.start + 1, some.stop], [mean, mean], dash, color=color, lw=2.5, label=label)
    print(f"{name:20}" + "".join(f"{mean:9.2f}" for mean in means))
axes.set(xscale="log", xlabel="rank of the word, 1 is the most frequent", ylabel="loss (nats), mean of a group")
axes.set_xticks([1, 8, 32, 128, 512], ["1", "8", "32", "128", "512"])
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# The mean loss of four groups of words, as level strokes over their ranks. Up to rank 32 all three optimizers are below
# 0.1, from 33 to 128 momentum is at 0.3 and the others at 0.1. From rank 129 to 512 plain SGD is at 1.8, momentum at
# 2.2, AdamW at 0.8.

# %% [markdown] tags=["en"]
# **They all know the frequent words; AdamW's lead is in the rare ones.** A word that comes in one batch out of ten has,
# on average, a tenth of the gradient, and SGD moves its parameters in proportion. A larger learning rate is no way out:
# beyond the best one its loss rises, as the curves above show. Adam divides each parameter's gradient
# by its own usual size. If the gradient is $g$ in one batch out of ten and 0 in the others, the mean is $g/10$, but the
# usual size is $\sqrt{g^2/10} \approx 0.32\,g$, and the quotient is 0.32: a rare word's step is a third, not a tenth,
# of the step of a word that always comes. Real text has many rare words, and that is one reason why language models are
# trained with Adam. (Kunstner et al. 2024, "Heavy-Tailed Class Imbalance and Why Adam Outperforms Gradient Descent on
# Language Models", make this argument with larger models.)
#
# ### The moments over time
#
# Does it happen so? We watch one run of AdamW and keep, for the rows of `wte.weight`, every gradient (after clipping)
# and every step. In the picture are two single numbers, the first channel of the most frequent word and that of word
# 41: the gradients as dots, and what Adam makes of them, $\hat m$ and $\sqrt{\hat v}$. (We compute them again, with the
# formulas of section 3.)


# %%
def rms_ratio(change, array):
    return float(np.sqrt((change * change).mean() / (array * array).mean()))


def watch(lr, steps=150):
    """A run of AdamW on the Zipf dictionary: clipped gradients and steps of wte (steps, V, C), ratios, losses."""
    small, gradients, changes, ratios, losses = new_model(), [], [], [], []
    optimizer, params = AdamW(small.params, lr, weight_decay=0.0), minigpt2.flatten(small.params)
    for _, (ids, targets) in zip(range(steps), batches(frequencies["Zipf"]), strict=False):
        before = {name: array.copy() for name, array in params.items()}
        loss, grads = small.loss_and_grads(ids, targets)
        norm = optimizer.step(grads, max_norm=1.0)
        gradients.append(grads["wte"]["weight"] * min(1, 1 / norm))
        changes.append(params["wte.weight"] - before["wte.weight"])
        matrices = (name for name in params if params[name].ndim == 2)
        ratios.append({name: rms_ratio(params[name] - before[name], before[name]) for name in matrices})
        losses.append(loss)
    return np.array(gradients), np.array(changes), ratios, losses


rates = (0.001, 0.01, 0.04)
watched = {lr: watch(lr) for lr in rates}
gradients, changes, _, _ = watched[0.01]

figure, axes = plt.subplots(1, 2, figsize=(6.2, 2.2))
for axis, word in zip(axes, (0, 40), strict=True):
    g, t = gradients[:, word, 0], np.arange(1, 151)
    weights = np.tril(np.ones((150, 150))) * (t[:, None] - t)  # how many steps ago, for each step
    m = (np.tril(0.1 * 0.9**weights) @ g) / (1 - 0.9**t)
    v = (np.tril(0.001 * 0.999**weights) @ g**2) / (1 - 0.999**t)
    axis.plot(t, g, ".", color=style.GREY, ms=4, label="g")
    axis.plot(t, m, color=style.BLUE, label=r"$\hat m$")
    axis.plot(t, np.sqrt(v), color=style.ORANGE, label=r"$\sqrt{\hat v}$")
    axis.set(xlabel="step", title=f"word {word + 1}")
axes[0].set_ylabel("first channel of wte.weight")
axes[1].legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two panels, 150 steps each. Word 1: gradients between -0.07 and 0.05, of either sign in turn, shrinking after step 50;
# the mean follows them with a delay, the root of the mean square falls slowly from 0.04. Word 41: gradients near 0
# except in single steps, where they reach 0.02; there the mean jumps and decays within some steps, while the root of
# the mean square stays near 0.004.

# %%
print(f"{'rank of the word':20}" + "".join(f"{group:>9}" for group in groups))
for name, array in (("mean |g|, SGD's step", gradients), ("mean |step| / lr", changes / 0.01)):
    print(f"{name:20}" + "".join(f"{np.abs(array[:15, some]).mean():9.4f}" for some in groups.values()))

# %% [markdown] tags=["en"]
# The memories differ in length: $\hat m$ forgets a gradient within some ten steps ($1/(1-\beta_1)$), $\sqrt{\hat v}$
# within a thousand. For the rare word this is the case of our calculation, nearly: long stretches of almost nothing
# (the small dots are the word's pushes as a wrong answer), then a jump. The step is the quotient of the two lines.
#
# The table has means over the first 15 steps and over all channels; in these only the most frequent words are learned,
# and not yet well. **The gradients of the most frequent words are more than eight times those of the rarest; Adam's
# steps are equally long.** SGD would move them in proportion to the first line.
#
# ### Is the learning rate right?
#
# A number to watch in every training: how large is a step compared with the weights that it changes? We take the root
# mean square of both, for each matrix, and draw the largest, the median and the smallest of these ratios.

# %%
figure, axes = plt.subplots(figsize=(5, 2.4))
for lr, color, dash in zip(rates, (style.BLUE, style.ORANGE, style.GREEN), ("-", "--", "-."), strict=True):
    _, _, ratios, losses = watched[lr]
    table = np.array([list(ratio.values()) for ratio in ratios])  # (steps, matrices)
    axes.fill_between(np.arange(150), table.min(axis=1), table.max(axis=1), color=color, alpha=0.15, lw=0)
    axes.plot(np.median(table, axis=1), dash, color=color, label=f"lr {lr}")
    median = np.median(table[50:])
    print(f"lr {lr:5}: update / weight {median:.0e} in the median after step 50, loss {np.mean(losses[-20:]):.2f}")
axes.set(yscale="log", xlabel="step", ylabel="update / weight (rms)")
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# The ratio of update to weight over 150 steps, on a logarithmic scale, as a line (median) in a band (all matrices) for
# each of three learning rates. All lines fall, quickly at first. Lr 0.001 ends near 0.002, lr 0.01 falls from 0.06 to
# about 0.008, lr 0.04 begins above 0.2 and stays near 0.02.

# %% [markdown] tags=["en"]
# The first step changes each number by one lr, so the ratio begins at lr over the size of the weights. It falls, since
# gradients begin to contradict each other, and Adam's steps are then shorter than lr. (The weights grow as well, but no
# matrix by more than half with lr 0.01.) All matrices of a model are within a factor of a few: one learning rate may
# suit them all. A rule of thumb says that the ratio should be around $10^{-3}$ (Karpathy, lecture "Building makemore,
# part 3"). Here, where 150 steps have to do, the best of the three has ten times that. What the picture and the losses
# show in any case: with a rate at which the first steps change the weights by a fifth, and with one whose ratio is
# several times lower than the best, we are worse off.
#
# ### Do warm-up, cosine and clipping help?
#
# Section 3 gave arguments. Here is a test. In a dictionary with *one* translation for each word the noise disappears as
# soon as the model knows it. So we take a smaller one, with 64 words, each with four translations, of the probabilities
# 0.4, 0.3, 0.2 and 0.1. No model can foresee which one comes. The loss has a floor, the entropy of these four, 1.28
# nats (notebook 2.5.8), and the part of it above the floor can be computed exactly. A GPT-2 of one block trains for 120
# steps, with three learning rates and four schedules: constant; with a warm-up of 20 steps; with a cosine down to a
# tenth; with both. Two seeds each.

# %%
W = 64
senses = np.random.default_rng(7).permuted(np.tile(np.arange(W), (W, 1)), axis=1)[:, :4]  # four of each word
chances = np.array([0.4, 0.3, 0.2, 0.1])
word_frequency = frequencies["Zipf"][:W] / frequencies["Zipf"][:W].sum()


def excess(small):
    """The exact loss minus its floor: the mean, over words, of sum_v q_v ln(q_v / p_v)."""
    logits = small.forward(np.arange(W)[:, None])[0][:, 0]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(word_frequency @ (chances * (np.log(chances) - np.take_along_axis(log_p, senses, axis=1))).sum(axis=1))


def scheduled(lr, warmup, cosine, seed, steps=120):
    """The excess after a run of AdamW."""
    config = minigpt2.GPT2Config(
        vocab_size=W, n_positions=1, n_embd=32, n_layer=1, n_head=4, initializer_range=32**-0.5
    )
    small, rng = minigpt2.GPT2(config, seed=seed, dtype="float64"), np.random.default_rng(seed)
    optimizer = AdamW(small.params, weight_decay=0.0)
    for step in range(steps):
        words = rng.choice(W, 32, p=word_frequency)
        _, grads = small.loss_and_grads(words[:, None], senses[words, rng.choice(4, 32, p=chances)][:, None])
        optimizer.lr = learning_rate(step, lr, lr / 10 if cosine else lr, warmup, steps)
        optimizer.step(grads, max_norm=1.0)
    return excess(small)


# %%
schedules = {"constant": (0, False), "warm-up": (20, False), "cosine": (0, True), "warm-up, cosine": (20, True)}
rates = (0.003, 0.008, 0.024)
figure, axes = plt.subplots(figsize=(5, 2.5))
print(f"{'excess of both seeds, lr':25}" + "".join(f"{lr:>14}" for lr in rates))
for (name, schedule), marker in zip(schedules.items(), "os^v", strict=True):
    found = np.array([[scheduled(lr, *schedule, seed) for seed in range(2)] for lr in rates])
    axes.plot(rates, found.mean(axis=1), marker=marker, label=name)
    print(f"{name:25}" + "".join(f"{one:8.2f}{two:6.2f}" for one, two in found))
axes.set(xscale="log", xlabel="highest learning rate", ylabel="loss above its floor (nats)", ylim=(0, 0.95))
axes.set_xticks(rates, [f"{lr}" for lr in rates])
axes.minorticks_off()
axes.legend(loc="lower right")
plt.show()

# %% [markdown] tags=["en", "alt"]
# The loss above its floor over three learning rates, a line for each schedule. Constant and warm-up alone lie together,
# lowest at 0.008 with about 0.62, and rise to 0.78 at 0.024. Both lines with a cosine begin higher, at 0.84 for 0.003,
# and are lower from 0.008 on; they fall to 0.55 and, with a warm-up, 0.52 at 0.024.

# %% [markdown] tags=["en"]
# **The cosine helps, if the highest rate is high enough**: at 0.008 and 0.024, with both seeds. Best rate against best
# rate it leaves a tenth less than the constant, 0.55 against 0.62. It allows large steps first and lets the noise
# average out afterwards. At 0.003 it is worse, as its rate is on average little more than half of that and the model
# does not get far enough. **The warm-up alone does not help here**; it makes no difference, or little. **Together with
# the cosine it helps a little**, most at the largest rate, where the first steps do most harm. (With 200 steps and four
# seeds the cosine left a quarter less, again best against best, and the warm-up helped it with each seed at 0.012,
# 0.024 and 0.048.) This is one small task: too little to say how much a warm-up is worth to a GPT-2, enough to see that
# each of the two has its own effect and that it can be measured.
#
# **Clipping.** Two questions: what does it do when nothing goes wrong, and what when something does? First we leave it
# out, for SGD at its best learning rate (2) and for AdamW (0.02). Then, with AdamW, the gradient of step 50 is made a
# thousand times as large, as a mistake in the data or an overflow might do. Losses above 99 are shown as 99.


# %%
cases = {
    "SGD": (lambda params: SGD(params, 2.0), None),
    "AdamW": (lambda params: AdamW(params, 0.02, weight_decay=0.0), None),
    "AdamW, step 50 x 1000": (lambda params: AdamW(params, 0.02, weight_decay=0.0), 50),
}
figure, axes = plt.subplots(1, 3, figsize=(6.6, 2), sharey=True)
for axis, (name, (make, broken)) in zip(axes, cases.items(), strict=True):
    for label, max_norm in (("norm 1", 1.0), ("no clipping", None)):
        if max_norm and broken is None:
            run = runs["Zipf", name][1]  # made above
        else:
            run = train(frequencies["Zipf"], make, max_norm=max_norm, broken=broken)
        axis.plot(run[1], label=label)
        print(f"{name:22} {label:12} loss of the last 20 steps {at_the_end(run):6.2f}")
    axis.set(title=name, xlabel="step", ylim=(0, 8))
axes[0].set_ylabel("loss (nats)")
axes[1].legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Three panels with the loss over 150 steps, with clipping and without. SGD: with clipping it falls to about 0.4,
# without it leaves the picture within the first ten steps. AdamW: the two lines nearly coincide. AdamW with one
# gradient a thousand times too large: with clipping nothing is seen of it, without the loss rises from 1 to above 3
# after step 50 and is still at about 1.6 at the end.

# %% [markdown] tags=["en"]
# SGD at this learning rate does not survive without clipping: a large gradient makes a large step, which leads to where
# gradients are larger still. (With half of it, it does.) AdamW hardly notices clipping while all goes well, since it
# divides by the size of the gradients anyway. One broken gradient, however, is remembered: it fills $m$ for some ten
# steps, which all go where this one gradient points, and $v$ for a thousand, so that all other gradients are divided by
# far too much. Clipping keeps it out of both. It is an insurance.
#
# **What this does not show.** All these are small models, few seeds and few steps, after which the rare words
# are not yet learned. Question 5 gives SGD more time.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which numbers besides the parameters does AdamW have to remember, and how many bytes are they for the smallest
#    GPT-2, with 124,439,808 parameters of four bytes? *Hint: `m` and `v`.*
#
#    <details><summary>Answer</summary>
#
#    $m$ and $v$, each as many numbers as there are parameters, and the count $t$. That is
#    $2 \cdot 124{,}439{,}808 \cdot 4 = 995{,}518{,}464$ bytes, about one gigabyte, twice the parameters themselves. SGD
#    with momentum needs half of it ($b$), plain SGD nothing. (Our `SGD` keeps $b$ in any case.)
#
#    </details>
#
# 2. In the valley, which learning rate makes gradient descent fastest *along the worse of the two directions*? Check
#    it with `walk`. *Hint: make $|1-\mathrm{lr}|$ and $|1-25\,\mathrm{lr}|$ equal.*
#
#    <details><summary>Answer</summary>
#
#    With growing lr the first factor, $1-\mathrm{lr}$, falls, and the second, $25\,\mathrm{lr}-1$ once
#    $25\,\mathrm{lr}$ is above 1, rises. The worse one is best where they meet: $1-\mathrm{lr} = 25\,\mathrm{lr}-1$, so
#    $\mathrm{lr} = 2/26 = 1/13 \approx 0.0769$, and both are $12/13 = 0.923$. After 25 steps both coordinates have
#    shrunk to $(12/13)^{25} = 0.135$, and $L$ from 68.6 to $68.6 \cdot 0.135^2 = 1.25$. `walk` says the same; with
#    0.078 it was 2.9, with 0.02 it was 15. (In general $\mathrm{lr} = 2/(k_1+k_2)$.)
#
#    </details>
#
# 3. Multiply the loss by 100. What happens to a run with SGD, what happens to one with AdamW, and what does clipping
#    change about it? *Hint: what happens to $g$, to $m/\sqrt v$, and to the norm?*
#
#    <details><summary>Answer</summary>
#
#    All gradients become 100 times as large. SGD makes steps 100 times as long, as with 100 times the learning rate,
#    and most likely diverges. AdamW makes the same steps as before: $m$ and $\sqrt v$ are both 100 times as large, and
#    only `eps` is now smaller in comparison. Clipping removes the factor for SGD as well, in those steps whose norm
#    exceeds max_norm with and without the factor: the clipped gradient has the norm max_norm in both cases. Steps that
#    were not clipped before may be now, so the runs are the same only if every step is clipped. That is true of AdamW
#    too: steps that were not clipped before now weigh as much as the others in $m$ and $v$.
#
#    </details>
#
# 4. Predict the picture of the ranks with `betas=(0.0, 0.999)`, that is, Adam without momentum; then run it. *Hint:
#    which of the two ideas helps the rare words?*
#
#    <details><summary>Answer</summary>
#
#    It is the division by $\sqrt{\hat v}$ that helps them, so the lead must remain. It does: with the learning rate
#    0.02 the losses of the four groups are 0.01, 0.02, 0.08 and 0.55, with $\beta_1 = 0.9$ they are 0.00, 0.02, 0.11
#    and 0.79. On this task Adam does not even need the momentum.
#
#    </details>
#
# 5. Give SGD ten times the steps on the Zipf dictionary, at its best learning rate. How far down the ranks does it get?
#    *Hint: `train(frequencies["Zipf"], ..., steps=1500)`; count how often a word of rank 300 is seen.*
#
#    <details><summary>Answer</summary>
#
#    All the way: with the learning rate 2 the losses of all four groups are below 0.005. The word of rank 300 has a
#    share of $\frac1{300}/\sum_{r\le512}\frac1r = 0.0033/6.82 = 0.00049$ of the words, and a batch has 128 words to
#    translate: it is seen 9 times in 150 steps and 94 times in 1,500. So the rare words are not out of SGD's reach; it
#    needs more visits to each of them.
#
#    </details>
#
# With the optimizer the nine components are complete. What they are trained on, and in which order, is the subject of
# chapter 3.
#
# **Next:** [3.1, pre-training](3_1_pretraining.ipynb)
