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

# %%
import sys
from dataclasses import fields
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2 import plain
from minigpt2.components.loss import cross_entropy_forward
from minigpt2.components.optimizer import SGD, AdamW, adamw_chunk, learning_rate, norm_and_scale
from minigpt2.reference import LABEL_SMOOTHING, LEARNING_RATES, MAX_NORM, TINY, TRAINING, recorded, relative_error
from minigpt2.settings import TrainingSettings

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document says of the optimizer that it updates the parameters of the model. So it does. It does not say which
# optimizer, and the paper on GPT-2 does not either: it tells us the size of a batch (512 texts, section 2.3) and that
# the learning rate was tuned by hand for each model (section 3), and the code for training was not published.
# Everything else is known from the papers before and after:
#
# | | GPT, 2018 (Radford et al., section 4.1) | GPT-3, 2020 (Brown et al., appendix B) |
# |---|---|---|
# | optimizer | Adam | Adam, with betas 0.9 and 0.95 |
# | weight decay | decoupled, 0.01, not for biases and gains | 0.1 |
# | clipping | not mentioned | to norm 1 |
# | learning rate | warm-up over 2,000 steps, then a cosine to 0 | warm-up, then a cosine to a tenth |
#
# After this notebook you will know what every word in this table means, and why it is there. The package does the same;
# these are the defaults of its training, with which the built-in model was made:

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
# its floor. The lowest point is in the middle, marked with a cross. All make 25 steps from the same place.


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
figure, axes = plt.subplots(2, 2, figsize=(7.6, 4), sharex=True, sharey=True)
x, y = np.meshgrid(np.linspace(-10, 4, 141), np.linspace(-2, 2, 81))
for axis, (name, make) in zip(axes.flat, walkers.items(), strict=True):
    path = walk(make)
    axis.contour(x, y, 0.5 * (x**2 + 25 * y**2), levels=[0.5, 2, 6, 13, 25, 45], colors="0.85", linewidths=0.8)
    axis.plot(*path.T, "-o", ms=2.5, lw=1.1, color=style.BLUE)
    axis.plot(0, 0, "x", color=style.ORANGE, ms=7, mew=2)
    axis.set_title(f"{name}: L = {height(path)[-1]:.2g}")
    axis.grid(visible=False)
for axis in axes[1]:
    axis.set_xlabel("x, along the floor")
for axis in axes[:, 0]:
    axis.set_ylabel("y, across")
plt.show()

# %% [markdown] tags=["en"]
# With a small learning rate gradient descent is at the bottom of the valley at once, and then crawls along the floor,
# where the slope is small. With a larger one it is faster there and bounces between the walls; with a little more
# still, it would be thrown out (section 3 says at which number). Momentum and Adam get further with the same number of
# steps.
#
# Is a language model such a valley? One sign of it is how much the gradients of its parameters differ. Here are the
# gradients of a new model for one line of text, and the change of the parameters in one step: for each the root mean
# square, that is, the square root of the mean of the squares. (The matrix `wte.weight` has a row for each token of the
# vocabulary and serves twice, for the token's vector at the bottom and for its score at the top, notebook 2.5.1. The
# other names begin with `h.` and the number of a block; `attn` is its attention, `mlp` its feed-forward network.)

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
# much. Adam's first step has the same size everywhere: its learning rate.

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
# | $\mathrm{eps}$ | `eps` | one number | against division by 0 |
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
#   w \leftarrow w - \mathrm{lr}\,\frac{\hat m}{\sqrt{\hat v}+\mathrm{eps}} .$$
#
# In the first step $\hat m = g$ and $\hat v = g^2$, so the step is $\mathrm{lr}\cdot g/|g| = \pm\,\mathrm{lr}$, as we
# saw in section 2. Without the correction it would be $(1-\beta_1)\,g / \sqrt{(1-\beta_2)\,g^2}$ in size, which for
# the betas 0.9 and 0.999 is $0.1/\sqrt{0.001} \approx 3.2$ times as long, just when the model knows least.
#
# Multiply all gradients by 1,000, and $m$ and $\sqrt v$ are both 1,000 times as large: the step is the same, except for
# eps. Adam does not care in what units a gradient comes. And where gradients contradict each other, $m$ is small
# compared with $\sqrt v$, and the step is short: a kind of caution.
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
# $$w \leftarrow w - \mathrm{lr}\;\mathrm{weight\_decay}\;w - \mathrm{lr}\,\frac{\hat m}{\sqrt{\hat v}+\mathrm{eps}} .$$
#
# (In that paper the decay is not multiplied by the learning rate, only by the schedule's factor. The product with lr,
# as here, is PyTorch's way.) Only matrices decay. Biases and the gains of layer norms are left out, as in GPT (see the
# table of section 1).
#
# ### Clipping
#
# Now and then a batch has a monstrous gradient. The *global norm* is the length of the gradient of all parameters
# together, $\mathrm{norm} = \sqrt{\sum_i g_i^2}$, and if it exceeds a limit, the whole gradient is shortened:
#
# $$g \leftarrow g\cdot\min\Bigl(1, \frac{\mathrm{max\_norm}}{\mathrm{norm}}\Bigr).$$
#
# The direction is kept (Pascanu et al. 2013, algorithm 1; the code adds $10^{-6}$ to the norm, as PyTorch does).
#
# ### Warm-up and cosine
#
# At the start $\hat v$ rests on a handful of gradients and cannot be trusted, so steps should be short (Liu et al.
# 2020, "On the Variance of the Adaptive Learning Rate and Beyond"); at the end the steps should become small, so that
# the randomness of the batches averages out. So the learning rate rises linearly during the **warm-up**, where step
# counts from 0,
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
figure, axes = plt.subplots(figsize=(6, 2.4))
axes.plot(steps, rates)
axes.set(xlabel="step", ylabel="learning rate", title="The training of the built-in model", ylim=(0, 1.1e-3))
plt.show()

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
# $\tfrac12$, betas $\tfrac12$ and $\tfrac34$, and eps = 0 you need no calculator.


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
# whatever $g$ is. (The parameter is a vector, so it does not decay.)
#
# **The numbers of section 3.** They are the limit of the learning rate in the valley; the effect of momentum on a
# steady gradient and on one that changes its sign; and the length of Adam's first step without bias correction, which
# we switch off by telling the optimizer that it has already taken a million steps.

# %%
for lr in (0.079, 0.081):
    path = walk(lambda params, lr=lr: SGD(params, lr), steps=300)
    print(f"valley, lr {lr}: L at first {height(path)[0]:.1f}, after 300 steps {height(path)[-1]:.0e}")
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
# clipping, the same parameters at the end.


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
# AdamW train the same small GPT-2 on two tasks, each with four learning rates, since comparing optimizers at a single
# learning rate would be unfair. All see the same batches, with the gradient clipped to norm 1 and without weight decay.
#
# - **Digits**: the Fibonacci numbers modulo 10; each digit is the last digit of the sum of the two before it, as in
#   2 5 7 2 9 1 0 1 1. The ten digits are about equally frequent.
# - **Dictionary**: 512 words, each with its translation, which the model has to give when it sees the word. The words
#   are as unevenly distributed as those of a real language: the second is half as frequent as the first, the third a
#   third as frequent, and so on. (This is *Zipf's law*.)

# %%
V = 512
frequency = 1 / np.arange(1, V + 1)
frequency /= frequency.sum()
translation = np.random.default_rng(7).permutation(V)


def digits(rng, B=16, T=16):
    """ids, targets (B, T): Fibonacci numbers modulo 10; the second digit of a row cannot be known: -100."""
    ids = np.empty((B, T + 1), int)
    ids[:, :2] = rng.integers(0, 10, (B, 2))
    for t in range(2, T + 1):
        ids[:, t] = (ids[:, t - 1] + ids[:, t - 2]) % 10
    targets = ids[:, 1:].copy()
    targets[:, 0] = -100
    return ids[:, :-1], targets


def dictionary(rng, B=16, T=16):
    """ids, targets (B, T): a word and its translation in turn; after a translation nothing is predicted: -100."""
    words = rng.choice(V, (B, T // 2), p=frequency)
    ids = np.stack([words, translation[words]], axis=-1).reshape(B, T)
    targets = np.where(np.arange(T) % 2 == 0, np.roll(ids, -1, axis=1), -100)
    return ids, targets


def train(batch, vocab_size, make, lr, steps):
    """A new model after some steps, and the mean loss of the last 20 of them."""
    config = minigpt2.GPT2Config(
        vocab_size=vocab_size, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=32**-0.5
    )
    small = minigpt2.GPT2(config, seed=0, dtype="float64")  # the same figures on every processor
    optimizer, rng, losses = make(small.params, lr), np.random.default_rng(0), []
    for _ in range(steps):
        loss, grads = small.loss_and_grads(*batch(rng))
        optimizer.step(grads, max_norm=1.0)
        losses.append(loss)
    return small, float(np.mean(losses[-20:]))


optimizers = {
    "SGD": (lambda params, lr: SGD(params, lr), (0.1, 0.3, 1.0, 3.0)),
    "SGD, momentum 0.9": (lambda params, lr: SGD(params, lr, momentum=0.9), (0.03, 0.1, 0.3, 1.0)),
    "AdamW": (lambda params, lr: AdamW(params, lr, weight_decay=0.0), (0.001, 0.003, 0.01, 0.03)),
}
tasks = {"Digits": (digits, 10, 160), "Dictionary": (dictionary, V, 150)}
runs = {
    (task, name): [train(batch, vocab_size, make, lr, steps) for lr in rates]
    for task, (batch, vocab_size, steps) in tasks.items()
    for name, (make, rates) in optimizers.items()
}
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.2))
for axis, (task, (_, vocab_size, steps)) in zip(axes, tasks.items(), strict=True):
    for (name, (_, rates)), marker in zip(optimizers.items(), "os^", strict=True):
        losses = [loss for _, loss in runs[task, name]]
        axis.plot(rates, losses, marker=marker, label=name)
        print(f"{task:10} {name:18} best loss {min(losses):.1f}")
    axis.axhline(np.log(vocab_size), color="0.6", lw=1, ls=":")
    axis.text(0.001, np.log(vocab_size) * 1.02, "knows nothing", color="0.4")
    axis.set(
        xscale="log", xlabel="learning rate", title=f"{task}, after {steps} steps", ylim=(0, np.log(vocab_size) * 1.15)
    )
axes[0].set_ylabel("loss (nats)")
axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, 0.88))
plt.show()

# %% [markdown] tags=["en"]
# Each optimizer has its own best learning rate; below it training is slow, above it training staggers. (A line that
# leaves the picture is worse than knowing nothing.) Compare the lowest points. **On the digits there is little to
# choose between the three.** **On the dictionary AdamW is clearly ahead.** Why? Let us ask the best model of each kind
# for *every* word, and sort the answers by how frequent the word is.

# %%
groups = {"1-8": slice(0, 8), "9-32": slice(8, 32), "33-128": slice(32, 128), "129-512": slice(128, 512)}
figure, axes = plt.subplots(figsize=(6.4, 3.2))
print(f"{'rank of the word':20}" + "".join(f"{group:>9}" for group in groups))
for (name, _), marker in zip(optimizers.items(), "os^", strict=True):
    best, _ = min(runs["Dictionary", name], key=lambda run: run[1])
    logits, _ = best.forward(np.arange(V)[:, None])  # each word as a text of its own, (V, 1, V)
    means = [float(cross_entropy_forward(logits[some], translation[some, None])[0]) for some in groups.values()]
    axes.plot(list(groups), means, marker=marker, label=name)
    print(f"{name:20}" + "".join(f"{mean:9.1f}" for mean in means))
axes.axhline(np.log(V), color="0.6", lw=1, ls=":")
axes.text(0, np.log(V) + 0.1, "knows nothing", color="0.4")
axes.set(xlabel="rank of the word, 1 is the most frequent", ylabel="loss (nats)", title="Are the rare words learned?")
axes.set_ylim(0, 7)
axes.legend(loc="center left")
plt.show()

# %% [markdown] tags=["en"]
# **They all know the frequent words. The rarer a word, the greater AdamW's lead.** A word that comes in one batch out
# of ten has, on average, a tenth of the gradient, and SGD moves its parameters in proportion. A larger learning rate is
# no way out: beyond the best one the loss rises, at the right-hand end of the curves above. Adam divides each
# parameter's gradient by its own usual size. If the gradient is $g$ in one batch out of ten and 0 in the others, the
# mean is $g/10$, but the usual size is $\sqrt{g^2/10} \approx 0.32\,g$, and the quotient is 0.32: a rare word's step is
# a third, not a tenth, of the step of a word that always comes. Real text has many rare words, and that is one reason
# why language models are trained with Adam. (Kunstner et al. 2024, "Heavy-Tailed Class Imbalance and Why Adam
# Outperforms Gradient Descent on Language Models", make this argument with larger models.)
#
# The experiment is limited: one small model, one seed, four learning rates, and a fixed number of steps, after which
# the rare words are not yet learned. Question 5 gives SGD more time.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which numbers besides the parameters does AdamW have to remember, and how many bytes are they for the smallest
#    GPT-2, with 124,439,808 parameters of four bytes? *Hint: `m` and `v`.*
# 2. In the valley, which learning rate makes gradient descent fastest *along the worse of the two directions*? Check
#    it with `walk`. *Hint: make $|1-\mathrm{lr}|$ and $|1-25\,\mathrm{lr}|$ equal.*
# 3. Multiply the loss by 100. What happens to a run with SGD, what happens to one with AdamW, and what does clipping
#    change about it? *Hint: what happens to $g$, to $m/\sqrt v$, and to the norm?*
# 4. Predict the last picture with `betas=(0.0, 0.999)`, that is, Adam without momentum; then run it. *Hint: which of
#    the two ideas helps the rare words?*
# 5. Give SGD ten times the steps on the dictionary, at its best learning rate. How far down the ranks does it get?
#    *Hint: `train(dictionary, V, ..., steps=1500)`; count how often a word of rank 300 is seen.*
