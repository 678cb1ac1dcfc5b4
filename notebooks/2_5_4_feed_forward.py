# %% [markdown] tags=["en"]
# # 2.5.4 前馈神经网络 · Feed-forward network
#
# Attention (2.5.3) lets tokens talk. Afterwards each one has to think, and the feed-forward network does this thinking.
# It is the plainest part of a GPT-2, a neural network of the kind found in every textbook, and it holds most of what a
# block has to learn. After this notebook you can derive it on paper, backward pass included, and you will have seen
# what single neurons of a trained model are good for.
#
# You need Python, NumPy and the chain rule from school. R1, R2 ... are the rules of backward passes from the
# [toolbox, 2.0](2_0_toolbox.ipynb). The words of the trade are few:
#
# - A **token** is a piece of text, and inside the model it is a **vector** of $C$ numbers, its *channels*. The model
#   works on $B$ texts of $T$ tokens at once, on arrays of shape `(B, T, C)`.
# - A **block** is one attention layer and one feed-forward network. A GPT-2 is a stack of blocks.
# - The model gives every candidate for the next token a score, its **logit**; the higher, the likelier.
# - The **loss** is one number that says how bad these predictions are: the mean of $-\ln$ of the probability that the
#   right token got, in *nats* (the unit that goes with the natural logarithm). Its derivative with respect to some
#   number in the model is called the **gradient** there, and training moves every parameter a little against it.
#
# **Exercise:** [4, linear layer and GELU](../exercises/student/04_linear_and_gelu.ipynb)

# %%
import copy
import math
import sys
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py and graphs.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.attention import attention_forward
from minigpt2.components.feed_forward import (
    feed_forward_backward,
    feed_forward_forward,
    gelu_backward,
    gelu_forward,
)
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.model import gpt2_forward
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document's entry is one sentence: 前馈神经网络（Feed Forward Network）是一种多层的神经网络, "the feed-forward
# network is a neural network of several layers". That is true, but it leaves open everything that one has to know to
# build it. In GPT-2 as released there are
#
# - exactly **two** layers, and between them $F = 4C$ numbers;
# - a **GELU** between them, a function that is applied to each of these numbers, and in a particular form;
# - and **no connection between tokens**: the same network is applied to each of them separately.
#
# (Vaswani et al. 2017, "Attention Is All You Need", section 3.3, who say *position-wise*; Radford et al. 2018,
# "Improving Language Understanding by Generative Pre-Training", section 4.1, for the GELU and $F = 4C$.)
#
# The first point can be read off the names and shapes of the parameters, here those of the small model that comes with
# this package. For the last one we change the vector of the fourth token of eight, and see whose output changes:

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
C, F = model.config.n_embd, 4 * model.config.n_embd
block = model.params["h"][0]
for name, parameter in minigpt2.flatten(block["mlp"]).items():
    print(f"h.0.mlp.{name:14} {parameter.shape}")

x = np.random.default_rng(0).normal(size=(1, 8, C))
other = x.copy()
other[0, 3] += 1
print("\nchanged input: token 3; changed outputs")
for name, f in {
    "feed-forward": lambda x: feed_forward_forward(x, block["mlp"])[0],
    "attention": lambda x: attention_forward(x, block["attn"], model.config.n_head)[0],
}.items():
    changes = np.abs(f(other) - f(x))[0].max(axis=-1) > 1e-12
    print(f"{name:14}", np.flatnonzero(changes))

# %% [markdown] tags=["en"]
# That leaves the form of the GELU. It is checked in section 5, and is the subject of the first experiment of section 6.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **The network is a set of $F$ little rules: *if* you see this, *then* add that.** Each rule is a **neuron**.
#
# - The *if* is a column of the first layer's matrix, a pattern of $C$ numbers. Its dot product with the token's vector
#   (the sum of the products of their channels) is large where the vector looks like the pattern. A bias is added, one
#   number that says how much likeness is enough.
# - A function then decides how strongly the neuron *fires*: not at all where the result is negative, and in proportion
#   to it where it is positive. It is called an *activation function*.
# - The *then* is a row of the second layer's matrix, again $C$ numbers, which is added to the output in proportion to
#   how strongly the neuron fires.
#
# The output is the sum of all these rows. (Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value Memories",
# read the network in this way; section 6 tests it.)
#
# Without the function in the middle there would be no rules. The two layers together would be one:
# $(x\,W_1 + b_1)\,W_2 + b_2 = x\,(W_1 W_2) + (b_1 W_2 + b_2)$, which says *the more of this, the more of that*, and
# nothing else. The bend in the function makes an *if*.
#
# The simplest function with a bend is the *ReLU*, $\max(x, 0)$. GPT-2 has a rounded one, the **Gaussian error linear
# unit** or GELU. It has a slope nearly everywhere, so that even a neuron that is just below its threshold can learn.

# %%
h = np.linspace(-4, 4, 401)
y, cache = gelu_forward(h)
slope = gelu_backward(np.ones_like(h), cache)

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.8, 3.2), width_ratios=(1.2, 1, 1))
left.set(xlim=(-0.5, 2.5), ylim=(-1.4, 7.4), title="One token, C = 3, F = 7")
left.axis("off")
layers = [(0, np.linspace(1.5, 4.5, 3)), (1, np.linspace(0, 6, 7)), (2, np.linspace(1.5, 4.5, 3))]
for (x0, ys), (x1, others) in (layers[:2], layers[1:]):
    for a in ys:
        for b in others:
            rule = (b if x0 == 0 else a) == 4  # of the neuron at this height
            color, width = (style.ORANGE, 1.6) if rule else ("0.82", 0.7)
            left.plot([x0, x1], [a, b], color=color, ls="-", lw=width, zorder=1 + rule)
for x0, ys in layers:
    colors = [style.ORANGE if x0 == 1 and a == 4 else "white" for a in ys]
    left.scatter([x0] * len(ys), ys, s=90, c=colors, edgecolors=style.BLUE, zorder=3)
for x0, label in enumerate(("x", "GELU", "y")):
    left.text(x0, -0.75, label, ha="center", va="center")
middle.plot(h, y, label="GELU")
middle.plot(h, np.maximum(h, 0), label="ReLU")
middle.set(xlabel="before", ylabel="after", title="The function")
middle.legend()
right.plot(h, slope)
right.plot(h, np.where(h > 0, 1.0, 0.0))
right.set(xlabel="before", ylabel="slope", title="Its derivative")
for curve, label in zip(right.lines, ("GELU", "ReLU"), strict=True):
    curve.set_label(label)
right.legend(loc="lower right")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left: a network with three inputs, seven hidden units labelled GELU and three outputs, everything connected; the lines
# into and out of one hidden unit are orange. Middle: GELU and ReLU from -4 to 4; the GELU dips to -0.17 left of 0,
# stays a little below the ReLU right of 0, and meets it further out on both sides. Right: their slopes, a step at 0 for
# the ReLU and a smooth rise for the GELU, with a small overshoot on either side.

# %% [markdown] tags=["en"]
# The orange lines on the left are one rule: three numbers that go in are its *if*, three that go out its *then*.

#
# ## 3. The mathematics
#
# For any number $z$ in the model, $dz$ is short for its gradient $\partial\,\mathrm{loss} / \partial z$, and the
# backward pass of a function turns the gradient of its output into those of its inputs (2.0).
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `x` | `(B, T, C)` | input, a normalized copy of the tokens' vectors (see 2.5.5) |
# | $W_\mathrm{fc}$, $b_\mathrm{fc}$ | `c_fc` | `(C, F)`, `(F,)` | parameters: $F$ patterns, $F$ thresholds |
# | $h$ | `h`, in the trace `mlp.fc` | `(B, T, F)` | before the GELU |
# | $g = \mathrm{gelu}(h)$ | `h` again, in the trace `mlp.gelu` | `(B, T, F)` | how strongly each neuron fires |
# | $W_\mathrm{proj}$, $b_\mathrm{proj}$ | `c_proj` | `(F, C)`, `(C,)` | parameters: the row that each neuron adds |
# | $y$ | `y` | `(B, T, C)` | output |
#
# (The *trace* is the result of `minigpt2.trace`: every activation of a model, by name.)
#
# $$h = x\,W_\mathrm{fc} + b_\mathrm{fc}, \qquad g = \mathrm{gelu}(h), \qquad
#   y = g\,W_\mathrm{proj} + b_\mathrm{proj} .$$
#
# ### The linear layer, backward
#
# Attention uses it too, so it gets its own letters: $I$ inputs, $O$ outputs, and all $N = B\cdot T$ tokens in one list,
# counted by $n$ (a reshape, R4). Then $x$ is $N\times I$, $W$ is $I\times O$, $b$ is $O$ numbers, and
#
# $$y_{no} = \sum_i x_{ni}\,W_{io} + b_o .$$
#
# The sum over $i$ is a product of matrices, R2. The bias is copied to all tokens, so it gets the sum of their
# gradients, R1:
#
# $$dx = dy\;W^\top, \qquad dW = x^\top dy, \qquad db = \sum_n dy_n .$$
#
# In words: the gradient of the input is a sum over the outputs that it acted on, along the same weights. A weight gets
# from every token the product of what went in, $x_{ni}$, and the gradient of what came out, $dy_{no}$.
#
# ### The GELU, forward
#
# The idea (Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", section 2) is a soft gate: multiply $x$ by a number
# between 0 and 1 that rises with $x$. As the gate they take the probability that a random number from the standard
# normal distribution, the bell curve, lies below $x$. It is called $\Phi(x)$, and it is an integral that has no
# elementary formula; apart from some constants it is the *error function* of the mathematicians, which every library
# has:
#
# $$\mathrm{gelu}(x) = x\,\Phi(x) = x\cdot\tfrac12\Bigl(1 + \operatorname{erf}\frac{x}{\sqrt2}\Bigr)
#   \qquad\text{the erf form.}$$
#
# In the same place they give an approximation that needs only a hyperbolic tangent. **GPT-2 was trained with this one**
# (`src/model.py` of OpenAI's release; Hugging Face calls it `gelu_new`):
#
# $$u = \sqrt{\tfrac2\pi}\,\bigl(x + 0.044715\,x^3\bigr), \qquad
#   y = \mathrm{gelu}(x) = \tfrac12\,x\,(1 + \tanh u)
#   \qquad\text{the tanh form.}$$
#
# **Where do the constants come from?** The gate $\frac12(1+\tanh u)$ should be like $\Phi(x)$. Both are $\frac12$ at 0.
# The slope of $\Phi$ there is the height of the bell curve, $1/\sqrt{2\pi}$. The slope of the gate is half that of $u$
# (since $\tanh u \approx u$ for small $u$), and $\frac12\sqrt{2/\pi}$ is the same number: this explains the first
# constant. For the second, compare the terms in $x^3$. With $a = \sqrt{2/\pi}$ for short and $\kappa$ for the
# unknown constant, $\tanh u \approx u - u^3/3$, and the bell curve is $e^{-x^2/2} \approx 1 - x^2/2$ times its height:
#
# $$\tfrac12(1+\tanh u) \approx \tfrac12 + \tfrac a2\Bigl(x + \bigl(\kappa - \tfrac{a^2}{3}\bigr)x^3\Bigr), \qquad
#   \Phi(x) \approx \tfrac12 + \tfrac a2\Bigl(x - \tfrac{x^3}{6}\Bigr) .$$
#
# They agree if $\kappa = a^2/3 - 1/6 = 2/(3\pi) - 1/6 \approx 0.0455$. That is the best constant near 0. The one in use
# is a little smaller, and the next cell shows the gain: it makes the *largest* error of the gate as small as it can be.

# %%
erf = np.vectorize(math.erf)  # for arrays; NumPy has none
grid = np.linspace(-6, 6, 12001)
normal = (1 + erf(grid / math.sqrt(2))) / 2  # the normal distribution, on the grid


def gate_error(kappa):
    """The largest distance between the gate with this constant and the normal distribution."""
    gate = (1 + np.tanh(math.sqrt(2 / math.pi) * (grid + kappa * grid**3))) / 2
    return np.abs(gate - normal).max()


for kappa, name in ((0, "no cubic term"), (2 / (3 * math.pi) - 1 / 6, "best near 0"), (0.044715, "GPT-2")):
    print(f"{kappa:.6f}  {name:14} largest error of the gate {gate_error(kappa):.6f}")
best = min(np.arange(0.040, 0.050, 0.0001), key=gate_error)
print(f"{best:.4f}    least of all in steps of 0.0001")

# %% [markdown] tags=["en"]
# ### The GELU, backward
#
# It treats each number alone, so R3 applies: its Jacobian is a diagonal, and there is one derivative to find, $dy/dx$.
#
# **Step 1: the inner function.** $u = \sqrt{2/\pi}\,(x + 0.044715\,x^3)$ gives
#
# $$\frac{du}{dx} = \sqrt{\tfrac2\pi}\,\bigl(1 + 3\cdot 0.044715\,x^2\bigr) .$$
#
# **Step 2: the hyperbolic tangent.** It is $\tanh u = s/r$ with $s = e^u - e^{-u}$ and $r = e^u + e^{-u}$. The
# derivative of $s$ is $r$, that of $r$ is $s$, and the quotient rule gives
#
# $$\frac{d\tanh u}{du} = \frac{r\cdot r - s\cdot s}{r^2} = 1 - \tanh^2 u .$$
#
# **Step 3: the product rule** for $y = \tfrac12\,x\cdot(1+\tanh u)$. The first factor has the derivative 1; the second
# one, by the chain rule, that of step 2 times that of step 1:
#
# $$\frac{dy}{dx} = \tfrac12\Bigl((1 + \tanh u) + x\,(1 - \tanh^2 u)\,\frac{du}{dx}\Bigr) .$$
#
# The gradient of the input is that, times the gradient of the output. In words: **the gradient passes through the gate,
# as the number itself did, and since $x$ moves the gate too, a little is added above 0 and taken away below.** The
# derivative is the curve on the right of the picture above. For large $x$ it is 1, for very negative $x$ it is 0, and
# at 0 it is $\frac12$.
#
# ### All of it, backward
#
# In reverse order, and with nothing new:
#
# $$dg = dy\;W_\mathrm{proj}^\top \;\;(\text{R2}), \qquad dh = dg\cdot\mathrm{gelu}'(h) \;\;(\text{R3}), \qquad
#   dx = dh\;W_\mathrm{fc}^\top \;\;(\text{R2});$$
#
# the gradients of the parameters are $g^\top dy$ and $x^\top dh$ (R2), and the sums of $dy$ and of $dh$ over the tokens
# (R1). Each line is a vector-Jacobian product (2.0), and no Jacobian is built.
# Look at a single neuron $f$ here: row $f$ of $dW_\mathrm{proj}$ is proportional to how strongly it fired, and column
# $f$ of $dW_\mathrm{fc}$ to the slope of the GELU. A neuron that is far below its threshold for a token learns nothing
# from it.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2. They are those of section 3, line
# by line; `rows(x)` puts all tokens' vectors below each other, as one matrix, and `named` gives the two gradients of a
# linear layer their names.

# %%
style.show_plain("linear", "gelu", "feed_forward")

# %% [markdown] tags=["en"]
# Now the library's own code, fetched while the notebook was built. The formulas are the same. The rest makes them
# quick: all tokens are put into one matrix (`reshape`), a cube is written as a product, which is fifty times faster
# than a power, and the gradient of the GELU is built in place. Read its lines beside the page's: the array is called
# `dx` from the beginning, but it is $x^2$ first, $du/dx$ after two more lines, $x\,(1-\tanh^2 u)\,du/dx$ after the next
# two; then come the other term of step 3, the $\frac12$, and $dy$. The processor's cores share the work:
# `matmul(x, weight, plus=bias)` is `x @ weight + bias`, and `by_rows(gelu, x)` is `gelu(x)`, a few rows at a time,
# which stay in the cache from the first operation to the last. `xp` is NumPy (or CuPy, for arrays on a graphics card).
#
# What does the difference buy? On two cores of an Intel Xeon, at GPT-2's sizes, the page's GELU takes 13 times as long,
# nearly all of it for the powers, and its whole feed-forward network 2.2 times (`python tests/benchmarks page-gelu
# page-feed_forward`).

# %%
style.show_source(
    linear_forward, linear_backward, gelu_forward, gelu_backward, feed_forward_forward, feed_forward_backward
)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take one token with two channels, and three neurons. Far from zero the GELU equals the ReLU to the last digit, and at
# 0 it is 0 with the slope $\frac12$. So if $h$ is 10, $-10$ and 0, no calculator is needed. Only the first output
# matters to the loss, $dy = (1, 0)$. Take a pencil: first all numbers above the edges, from left to right, then those
# below, from right to left.

# %%
x, dy = np.array([[1.0, 2]]), np.array([[1.0, 0]])
params = {
    "c_fc": {"weight": np.array([[2.0, -4, 2], [4, -3, -1]]), "bias": np.zeros(3)},
    "c_proj": {"weight": np.array([[1.0, -1], [5, 2], [3, 4]]), "bias": np.array([0.0, 1])},
}
y, cache = feed_forward_forward(x, params)
dcache = {}
dx, grads = feed_forward_backward(dy, cache, dcache=dcache)

nodes = {"x": (0, 0), "W_fc": (0, 1), "b_fc": (0, -1), "linear": (1, 0), "GELU": (2, 0), "W_proj": (2, 1),
         "b_proj": (2, -1), "linear#2": (3, 0), "y": (4, 0)}  # fmt: skip
edges = [("x", "linear", x, dx), ("linear", "GELU", cache["gelu"]["x"], dcache["fc"], "h"),
         ("GELU", "linear#2", cache["c_proj"]["x"], dcache["gelu"], "g"), ("linear#2", "y", y, dy)]  # fmt: skip
for end, name in (("linear", "fc"), ("linear#2", "proj")):
    for letter, kind in (("W", "weight"), ("b", "bias")):
        edges.append((f"{letter}_{name}", end, params[f"c_{name}"][kind], grads[f"c_{name}"][kind]))
graphs.draw(nodes, edges)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The example as a graph: x, W and b enter a linear node; h = (10, -10, 0) goes through GELU to g = (10, 0, 0), and a
# second linear node gives y = (10, -9). Below the edges, from the right: dy = (1, 0), dg = (1, 5, 3), dh = (1, 0, 3/2),
# dx = (5, 5/2); dW_fc has zeros in its second column, dW_proj only a 10 in its first row.

# %% [markdown] tags=["en"]
# Forward: $h_1 = 1\cdot2 + 2\cdot4 = 10$. Only the first neuron fires, so $y$ is 10 times the first row of
# $W_\mathrm{proj}$, plus the bias.
#
# Backward: $dg$ is the first column of $W_\mathrm{proj}$, since only the first output matters. The slopes of the GELU
# are 1, 0 and $\frac12$, which makes $dh = (1, 0, \tfrac32)$, and
# $dx_1 = 2\cdot1 - 4\cdot0 + 2\cdot\tfrac32 = 5$.
#
# Which neurons learn? The first learns both its pattern and the row that it adds. The second would matter most to the
# loss, $dg = 5$, but it is silent and flat, and learns nothing. The third does not fire, so the row that it *adds* is
# not changed; but its pattern is. With a ReLU, whose slope at 0 is taken as 0, it would be as dead as the second.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative.** `gradient_check` compares every gradient with a difference quotient (2.0).

# %%
functions = {
    "linear": (linear_forward, linear_backward),
    "gelu": (gelu_forward, gelu_backward),
    "feed_forward": (feed_forward_forward, feed_forward_backward),
}
for name, (forward, backward) in functions.items():
    print(name)
    style.show_check(minigpt2.gradient_check(forward, backward, recorded(name)["inputs"]))

# %% [markdown] tags=["en"]
# Would it find a mistake? A common one is to let the gradient pass through the gate and to forget that the gate itself
# depends on $x$, which is the second part of step 3. The sign is still right wherever $x$ is above $-0.75$, so a model
# might even learn with it. The check finds it:


# %%
def forgetful_gelu_backward(dy, cache):
    """The GELU's backward pass by someone who thinks that the gate is a constant."""
    return dy * (1 + cache["tanh"]) / 2


style.show_check(minigpt2.gradient_check(gelu_forward, forgetful_gelu_backward, recorded("gelu")["inputs"]))

# %% [markdown] tags=["en"]
# **Against another implementation**: values that PyTorch computed in float64, recorded once. A whole small model was
# recorded as well, whose logits Hugging Face's own GPT-2 computed. It settles which form of the GELU is the right one:
# we put the other in its place.


# %%
def erf_gelu_forward(x):
    """The GELU in the form that GPT-2 does not have."""
    return x * (1 + erf(x / math.sqrt(2))) / 2, {"x": x}


for name, (forward, backward) in functions.items():
    reference = recorded(name)
    y, cache = forward(**reference["inputs"])
    gradients = backward(reference["dy"], cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    gradients = dict(zip(reference["gradients"], gradients, strict=True))
    error, _ = relative_error({"y": y, **gradients}, {"y": reference["y"], **reference["gradients"]})
    style.show_agreement(f"{name}: y, and all gradients", error)

reference = recorded("gpt2")
config = minigpt2.GPT2Config(**CASES["gpt2"].options["config"])
for name, function in {"tanh": gelu_forward, "erf": erf_gelu_forward}.items():
    with mock.patch("minigpt2.components.feed_forward.gelu_forward", function):
        logits, _ = gpt2_forward(**reference["inputs"], config=config)
    style.show_agreement(f"logits of a GPT-2, {name} form", relative_error(logits, reference["y"])[0])

# %% [markdown] tags=["en"]
# ## 6. What do the neurons do?
#
# ### Tanh or erf: does it matter?
#
# The two forms differ by less than a thousandth. What becomes of that in a whole model, whose four blocks pass the
# difference on to each other? The built-in model reads a scene that it has never seen, once with each form. For
# comparison there are two functions that differ more, the ReLU and no function at all, and the rounding of ordinary
# 32-bit floating point.

# %%
play = """HAMLET:
To sleep, and never more to wake at all?
The night is long; the night has many hours,
And every hour is heavy on my heart.
Good friend, go to the king, and tell the king
That I am sick, and will not come to him.

HORATIO:
My lord, the king will come to you himself;
The king is kind, my lord, and he is old.

HAMLET:
So old is he that he forgets the dead,
And so forgets my father, and his love.
Let me be gone, Horatio; let me go
Where no man speaks, and where no bell is heard.

HORATIO:
My lord, be patient. In the morning light
The world is young again, and so are we.

HAMLET:
I'll not be patient. Is it thou that said
The dead are blest? I'll be a man again.
"""
ids = np.array([tokenizer.encode(play)])
x, targets = ids[:, :-1], ids[:, 1:]
whole = model.loss(x, targets)
print(f"tokens {x.size}, loss {whole:.2f}, of a uniform guess {math.log(model.config.vocab_size):.2f}")

# %%
logits, _ = model.forward(x)
others = {
    "tanh form, 32-bit": None,
    "erf form": erf_gelu_forward,
    "ReLU": lambda h: (np.maximum(h, 0), {}),
    "identity": lambda h: (h, {}),
}
print("                     largest change     most likely next    loss")
print("                     of a logit         token the same")
for name, function in others.items():
    if function is None:
        single = minigpt2.GPT2.from_pretrained("shakespeare")
        there, loss = single.forward(x)[0], single.loss(x, targets)
    else:
        with mock.patch("minigpt2.components.feed_forward.gelu_forward", function):
            there, loss = model.forward(x)[0], model.loss(x, targets)
    change = np.abs(there - logits).max()
    same = (there.argmax(-1) == logits.argmax(-1)).mean()
    print(f"{name:21}{'below 0.0001' if change < 1e-4 else f'{change:.4f}':14} {same:19.0%}   {loss:8.2f}")

# %%
difference = gelu_forward(grid)[0] - erf_gelu_forward(grid)[0]
worst = np.abs(difference).argmax()
print(f"largest difference {abs(difference[worst]):.6f}, at x = {abs(grid[worst]):.2f} and its negative")
figure, axes = plt.subplots(figsize=(6.5, 2.6))
axes.plot(grid, difference * 1e4)
axes.set(xlabel="x", ylabel=r"tanh form $-$ erf form, in $10^{-4}$", title="Two forms of the GELU")
plt.show()

# %% [markdown] tags=["en", "alt"]
# The difference between the two forms from -6 to 6, in ten-thousandths: a symmetric curve, 0 in the middle and at the
# ends, with dips to -2.3 near 1.4 and -1.4 and peaks of 4.7 at 2.7 and -2.7.

# %% [markdown] tags=["en"]
# On this text nobody would notice the erf form: the most likely next token is the same everywhere, and the loss does
# not move in the digits shown. Yet the logits are wrong by far more than rounding can explain. So someone who rebuilds
# GPT-2 and compares with a generous tolerance may keep the wrong function for ever. (`minigpt2 compare` knows this
# mistake by name.) With a ReLU, with which it was not trained, the model is clearly worse; and without any function
# (the identity) it is worse than a uniform guess, which gives each of the 1024 tokens the same chance.
#
# ### How many neurons does a token need?
#
# A block has $F$ neurons, and most of them are silent for any one token. How few neurons do most of the work? In every
# block and for every token we keep the $m$ neurons that fire most strongly, in either direction, and set the others to
# 0. Then we do so in the lowest block alone, and in the other three:

# %%
activations = minigpt2.trace(model, x)
for i in range(model.config.n_layer):
    h = activations[f"h.{i}.mlp.fc"]
    print(f"block {i}: above threshold, in the mean over the tokens: {(h > 0).mean():.0%} of {F} neurons")


def strongest(m):
    """A GELU that keeps only the m numbers of every token that are furthest from 0."""

    def forward(h):
        g, cache = gelu_forward(h)
        threshold = np.partition(np.abs(g), F - m, axis=-1)[..., F - m : F - m + 1] if m else np.inf
        return np.where(np.abs(g) >= threshold, g, 0), cache

    return forward


def loss_with(function, blocks):
    """The loss with this function in place of the GELU in some of the blocks."""
    functions = iter([function if i in blocks else gelu_forward for i in range(model.config.n_layer)])
    with mock.patch("minigpt2.components.feed_forward.gelu_forward", lambda h: next(functions)(h)):
        return model.loss(x, targets)


where = {"all blocks": (0, 1, 2, 3), "block 0": (0,), "blocks 1 to 3": (1, 2, 3)}
kept = [0, 1, 4, 16, 64, 256, 1024]
losses = {name: [loss_with(strongest(m), blocks) for m in kept] for name, blocks in where.items()}
print("\nneurons kept      ", *(f"{m:5}" for m in kept))
for name, some in losses.items():
    print(f"loss, {name:13}", *(f"{loss:5.2f}" for loss in some))

figure, axes = plt.subplots(figsize=(6.5, 2.8))
for (name, some), marker in zip(losses.items(), "os^", strict=True):
    axes.plot(kept, some, marker=marker, label=name)
axes.legend()
axes.axhline(whole, color="0.6", lw=1, ls=":")
axes.set_xscale("symlog", base=4, linthresh=1)
axes.set_xticks(kept, kept)
axes.set(xlabel="neurons kept, for each token (logarithmic from 1 on)", ylabel="loss (nats)")
axes.set(ylim=(3, 7.5), xlim=(-0.1, 1300), title="Loss with the strongest neurons alone")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Loss against the number of neurons kept, three falling curves down to the dotted line of all 1024. In all blocks: 7.1
# with none, 5.8 with 4, 3.9 with 16, 3.7 with 64, and on the line at 256. In block 0 alone: from 6.7 to the line at 16.
# In blocks 1 to 3: from 4.0 only, to 3.6 at 4 and to the line at 256.

# %% [markdown] tags=["en"]
# Sixteen neurons of a thousand bring nine tenths of the way from the loss with none to the loss with all; a quarter of
# the thousand can hardly be told from all of them. Most of the way is that of block 0. There to keep none costs more
# than 3 nats, and sixteen neurons do as well as all; in the other blocks together to keep none costs 0.5, and sixteen
# win back four fifths of it.
#
# But are they other ones for every token, or sixteen that are always busy? Two controls. First, the same $m$ neurons
# for *all* tokens, those that fire most strongly in the mean. Second, we count how many of their sixteen neurons two
# tokens have in common: two different tokens, and the same token at two places.


# %%
def fixed(m):
    """A GELU that keeps the same m numbers for all tokens, those furthest from 0 in the mean."""

    def forward(h):
        g, cache = gelu_forward(h)
        keep = np.argsort(-np.abs(g).mean(axis=(0, 1)))[:m]
        return np.where(np.isin(np.arange(F), keep), g, 0), cache

    return forward


print("the same for all tokens", *(f"{m:5}" for m in (16, 64, 256)))
for name, blocks in where.items():
    print(f"loss, {name:17}", *(f"{loss_with(fixed(m), blocks):5.2f}" for m in (16, 64, 256)))

same = x[0] == x[0][:, None]
print("\nneurons in common, of 16    other token   same token, other place")
for i in range(model.config.n_layer):
    g = np.abs(activations[f"h.{i}.mlp.gelu"][0])
    chosen = g >= np.partition(g, F - 16, axis=-1)[:, F - 16, None]  # (T, F)
    common = chosen.astype(int) @ chosen.T.astype(int)
    places = same & ~np.eye(len(g), dtype=bool)
    print(f"block {i} {common[~same].mean():29.1f} {common[places].mean():15.1f}")
print(f"by chance {16 * 16 / F:27.2f}")

# %% [markdown] tags=["en"]
# So they are other ones: two different tokens share 0.4 to 0.8 of their sixteen neurons (by chance a quarter of one),
# the same token at two places six to ten. In block 0 a fixed choice of sixteen is worth next to nothing (6.62; without
# any it is 6.73), and even 256 fixed ones do less than sixteen chosen for the token. In the blocks above the choice
# matters less: the same sixteen for all tokens bring half as much as sixteen for each, 256 more. So there is something
# to the reading as a set of rules, in the lowest block above all: at any moment few of them apply, and which ones
# depends on the token, though not on the token alone.
#
# ### What do single neurons fire on?
#
# To find out we need more text than one scene. The model writes it itself, in twelve pieces. For every neuron we take
# the ten tokens in them on which it fired most strongly. Are all ten the same token? Two controls: the same count after
# the tokens of the text have been shuffled, so that they have nothing to do with the firing; and, with the tokens as
# they are, for neurons that have learned nothing, with random numbers for their patterns (1024 of them, five times).

# %%
start = np.array([tokenizer.encode("ROMEO:\n")])
text = model.generate(start, max_new_tokens=180, temperature=0.8, top_k=50, seed=0, num_samples=12)
fired = minigpt2.trace(model, text)
shuffled = np.random.default_rng(0).permutation(text.ravel())
rng = np.random.default_rng(0)
detectors = []  # (block, neuron, token), in every block the one that fires most strongly first


def pure(g, tokens):
    """The token of every neuron's strongest place, and whether it stands at all of its ten strongest places."""
    top = tokens[np.argsort(-g, axis=0)[:10]]  # (10, F)
    return top[0], (top == top[0]).all(axis=0)


print(f"neurons of {F} with one token in all their ten")
for i in range(model.config.n_layer):
    g = fired[f"h.{i}.mlp.gelu"].reshape(-1, F)
    tokens, good = pure(g, text.ravel())
    found = np.flatnonzero(good)
    found = found[np.argsort(-g[:, found].max(axis=0))]
    detectors += [(i, int(neuron), int(tokens[neuron])) for neuron in found]
    inputs = fired[f"h.{i}.ln_2"].reshape(-1, C)
    chance = [pure(inputs @ rng.normal(size=(C, F)), text.ravel())[1].sum() for _ in range(5)]
    print(f"block {i}: {len(found)}, after shuffling {pure(g, shuffled)[1].sum()}", end=", ")
    print(f"random patterns {min(chance)} to {max(chance)}")

# %% [markdown] tags=["en"]
# That is a few in a hundred. (The others fire on several tokens, or on something that is not a single token. Nobody
# should expect to find a word for each of them.) After shuffling it is none, but random patterns have such tokens too:
# a vector is first of all that of its token, and whatever one looks for, the best ten places are often ten times the
# same token. In blocks 0 and 1 the trained neurons have two to five times as many of them, in block 2 somewhat more, in
# block 3 hardly more. So an *if* that is a single token is no proof of learning. Let us look at the strongest of these
# simple neurons, those for tokens with a letter in them, and then at their *then*.
#
# Do they keep their promise on a text that was not used to choose them? We measure how strongly they fire on the scene
# above, on their token and elsewhere. And what do they *add*? Their row of $W_\mathrm{proj}$ is a vector of $C$
# numbers, like a token's, so it can be sent through the last layers of the model, which turn such vectors into logits.
# That is the contribution of this rule, as far as it reaches the end untouched. (Everything there is linear, except for
# the division by the size of the vector. Geva et al. 2022, "Transformer Feed-Forward Layers Build Predictions by
# Promoting Concepts in the Vocabulary Space".)

# %%
scene = minigpt2.trace(model, ids)
spelled = [tokenizer.decode([token]) for token in range(model.config.vocab_size)]


def raised(i, neuron, count=5):
    """The tokens whose logits a neuron raises most."""
    row = model.params["h"][i]["mlp"]["c_proj"]["weight"][neuron]
    effect = ((row - row.mean()) * model.params["ln_f"]["weight"]) @ model.params["wte"]["weight"].T
    return np.argsort(-effect)[:count].tolist()


def words(i, ids):
    """(neuron, token) of the detectors of block i whose token has a letter and occurs in ids."""
    return [
        (neuron, token)
        for block, neuron, token in detectors
        if block == i and token in ids and any(character.isalpha() for character in spelled[token])
    ]


print("                          fires on the scene")
print("block neuron  token     there  elsewhere   raises")
for i in range(model.config.n_layer):
    for neuron, token in words(i, ids)[:4]:
        g, there = scene[f"h.{i}.mlp.gelu"][0, :, neuron], ids[0] == token
        raises = " ".join(repr(spelled[t]) for t in raised(i, neuron))
        elsewhere = round(g[~there].mean(), 1) + 0.0  # and not -0.0
        print(f"{i:5} {neuron:6}  {spelled[token]!r:8} {g[there].mean():6.1f}  {elsewhere:9.1f}   {raises}")

# %% [markdown] tags=["en"]
# Here are the rules, in plain sight: *if this token, then raise those.* Put a token and one that its neuron raises
# together: is it a usual continuation? Some look like it, but an eye that looks for words finds them. So we count, in
# the twelve pieces: how often is the token of a detector followed by one of the five that it raises? And how often by
# one of the five that *another* detector of the block raises, with another token?

# %%
print("        detectors    own five   another's five")
for i in range(model.config.n_layer):
    some = [(n, t) for block, n, t in detectors if block == i and any(c.isalpha() for c in spelled[t])]
    fives = np.array([raised(i, neuron) for neuron, _ in some])
    own, others_five = [], []
    for k, (_, token) in enumerate(some):
        following = text[:, 1:][text[:, :-1] == token]
        hits = (following[:, None, None] == fives).any(axis=-1)  # (places, detectors)
        own.append(hits[:, k])
        others_five.append(hits[:, [t != token for _, t in some]].mean(axis=1))
    own, others_five = np.concatenate(own), np.concatenate(others_five)
    print(f"block {i} {len(some):9} {own.mean():12.0%} {others_five.mean():16.1%}")

# %% [markdown] tags=["en"]
# One of the five comes next in 6 to 12 cases of a hundred, several times as often as one of the five of another neuron
# (at most 2.3). Two detectors may have the same token; each is counted. So these are rules about what comes next, weak
# ones, one of many that work together. Nobody wrote them. They were found by gradient descent, to make the next token a
# little less surprising.
#
# The picture shows two such neurons of every block while the model reads the last two lines of the scene. They are not
# clean switches: some of them stir on related tokens as well.

# %%
begin = len(tokenizer.encode(play[: play.index("I'll not be")]))
window = ids[0, begin:]
labels = [spelled[token].replace(" ", "_").replace("\n", "\\n") for token in window]
rows = [(i, *found) for i in range(model.config.n_layer) for found in words(i, window)[:2]]
strip = np.array([scene[f"h.{i}.mlp.gelu"][0, begin:, neuron] for i, neuron, _ in rows])

figure, axes = plt.subplots(figsize=(7.6, 3.3))
image = axes.imshow(strip, aspect="auto", vmin=0)
axes.grid(visible=False)
axes.set_xticks(range(len(labels)), labels, rotation=90, family="monospace")
axes.set_yticks(range(len(rows)), [f"block {i}, neuron {neuron}: {spelled[token]!r}" for i, neuron, token in rows])
axes.set(xlabel="token that is read (_ is a space)", title="Two neurons of every block")
figure.colorbar(image, ax=axes, label="after the GELU")
plt.show()

# %% [markdown] tags=["en", "alt"]
# A heat map of eight neurons (rows) over the tokens of the last two lines (columns). Each row is nearly white but for a
# few dark cells, most of them at its own token: the neuron for "not" at "not", the one for "I" at each "I" and, paler,
# after it.

# %% [markdown] tags=["en"]
# ### Where are the parameters?
#
# A block has four matrices. Attention's two have $3C^2$ and $C^2$ elements, those of the feed-forward network
# $C\cdot 4C$ each, so they have $8C^2$ of $12C^2$: two thirds, in a model of any size. The whole model also has the
# embeddings, the tables at its bottom (2.5.1 and 2.5.2). Among the released models their share is larger the smaller
# the model is; the built-in one is smaller still, but has a vocabulary of only 1024 tokens:

# %%
models = {"built-in": model.config}
for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
    models[name] = minigpt2.GPT2Config.preset(name)
print("                parameters   embeddings   attention   feed-forward   norms")
for name, config in models.items():
    sizes = {"wte": 0, "wpe": 0, ".attn": 0, ".mlp": 0, "ln_": 0}
    for parameter, shape in config.parameter_shapes().items():
        (kind,) = (kind for kind in sizes if kind in parameter)
        sizes[kind] += math.prod(shape)
    total = sum(sizes.values())
    parts = (sizes["wte"] + sizes["wpe"], sizes[".attn"], sizes[".mlp"], sizes["ln_"])
    shares = (f"{part / total:{width}.1%}" for part, width in zip(parts, (12, 11, 14, 7), strict=True))
    print(f"{name:12} {total:13,}", *shares)

# %% [markdown] tags=["en"]
# Is a part with so many parameters also important? One last measurement, to be read with care. We silence the
# feed-forward network of one block and leave the rest of the model alone. Zeros in $W_\mathrm{proj}$ are not enough for
# that: the bias $b_\mathrm{proj}$ would still be added, the same for every token. So both columns are shown; the second
# one, with the bias gone too, is what 2.5 does (on another text).

# %%
print("rise of the loss   W_proj = 0   and b_proj = 0")
for i in range(model.config.n_layer):
    silenced, rises = copy.deepcopy(model), []
    for array in ("weight", "bias"):
        silenced.params["h"][i]["mlp"]["c_proj"][array][...] = 0
        rises.append(silenced.loss(x, targets) - whole)
    print(f"block {i} {rises[0]:22.2f} {rises[1] + 0.0:14.2f}")

# %% [markdown] tags=["en"]
# The lowest block's is indispensable, and its bias is a part of it: without both, the loss is above that of a uniform
# guess. Each of the others could be spared at a small price, one of them at none that this text shows. That does not
# mean that a model of one such network would do as well. It is about *this* model, which has never had to do without
# the first one in training, and whose other blocks read what it has written.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. How many multiplications does the network make for one token, in terms of $C$? And attention's two linear layers?
#    *Hint: one for every element of a matrix.*
#
#    <details><summary>Answer</summary>
#
#    $C\cdot 4C + 4C\cdot C = 8C^2$, against $C\cdot 3C + C\cdot C = 4C^2$. For $C = 768$ that is 4,718,592 and
#    2,359,296. (Attention's scores and mixture come on top, and grow with the number of tokens.)
#
#    </details>
#
# 2. Show that the slope of the GELU at 0 is $\frac12$, and that the slopes at $x$ and at $-x$ add up to 1.
#    *Hint: how does $\tanh u$ change when $x$ changes its sign? Or begin with
#    $\mathrm{gelu}(x) - \mathrm{gelu}(-x) = x$.*
#
#    <details><summary>Answer</summary>
#
#    At $x = 0$ we have $u = 0$ and $\tanh u = 0$, so $\frac{dy}{dx} = \frac12(1 + 0 + 0) = \frac12$.
#
#    $u$ has only odd powers of $x$, so it changes its sign with $x$, and so does $\tanh u$. With $t = \tanh u(x)$:
#    $\mathrm{gelu}(x) - \mathrm{gelu}(-x) = \frac12x(1+t) - \frac12(-x)(1-t) = \frac12x(1+t) + \frac12x(1-t) = x$.
#    Differentiate both sides. By the chain rule the derivative of $-\mathrm{gelu}(-x)$ is $+\mathrm{gelu}'(-x)$, so
#    $\mathrm{gelu}'(x) + \mathrm{gelu}'(-x) = 1$. (At 0 both are the same number, which is $\frac12$ again.)
#
#    </details>
#
# 3. In the example by hand, change one number in the bias of `c_fc` so that the second neuron learns as well. Predict
#    the new `dh`, then run it. *Hint: it needs a slope.*
#
#    <details><summary>Answer</summary>
#
#    A bias of 10 makes $h_2 = 0$, where the slope is $\frac12$: $dh = (1, \frac52, \frac32)$. Nothing changes forward,
#    as $\mathrm{gelu}(0) = 0$. The second column of $dW_\mathrm{fc}$ becomes $(\frac52, 5)$, and
#    $dx = (2 - 4\cdot\frac52 + 3,\; 4 - 3\cdot\frac52 - \frac32) = (-5, -5)$. With a bias of 20 the neuron fires:
#    $h_2 = 10$, $dh_2 = 5$, $y = (60, 11)$, and the second row of $dW_\mathrm{proj}$ becomes $(10, 0)$.
#
#    </details>
#
# 4. The GELU is negative between $-\infty$ and 0, and its slope is negative below about $-0.75$. What does a neuron in
#    that region do to the output, and which way does it learn? *Hint: the picture in section 2.*
#
#    <details><summary>Answer</summary>
#
#    It *subtracts* a little of its row, at most 0.17 times (the lowest value of the GELU is $-0.170$, at $-0.752$).
#    Training moves $h$ against $dh = dg\cdot\mathrm{gelu}'(h)$. If the loss wants more of the row, $dg < 0$, then below
#    $-0.75$ the product is positive and $h$ moves *down*: the neuron gets nearer to 0 by falling silent, not by firing.
#    If the loss wants less of it, $h$ moves up, towards the lowest point at $-0.75$, and stops there, since the slope
#    beyond has the other sign. So with small steps, and as far as this token goes, a neuron does not cross that valley
#    from the left.
#
#    </details>
#
# 5. Take out one of the rules above: set its row of $W_\mathrm{proj}$ to zero, let the model read a line that ends with
#    the rule's token, and compare the probabilities of the tokens that it raises. Are they lower? By how much, and why
#    do they not fall to nothing? *Hint: the residual stream (2.5.5) leads past every neuron.*
#
#    <details><summary>Answer</summary>
#
#    Most are lower, by a little. Neuron 883 of block 0 (" my") and "HORATIO:\nThe king, my": " lord" falls from 0.306
#    to 0.282, the five together from 0.348 to 0.323. Neuron 801 of block 1 (" s") and "HAMLET:\nI will not s": "erv"
#    falls from 0.047 to 0.031, "orrow" from 0.051 to 0.037, the five together from 0.116 to 0.082. Not every one falls:
#    without neuron 103 of block 0 ("'ll"), "HORATIO:\nMy lord, I'll" gives " be" 0.050 instead of 0.061, but " have"
#    0.050 instead of 0.047. They do not fall to nothing, because the token's own vector still stands in the stream, and
#    other neurons, attention and the blocks above read it and raise the same tokens.
#
#    </details>
#
# What went in comes back out: all the network computes is added to the stream. How, and why it is normalized before, is
# the next subject.
# **Next:** [2.5.5, residual connections and layer normalization](2_5_5_residual_and_layer_norm.ipynb).
