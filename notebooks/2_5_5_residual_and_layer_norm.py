# %% [markdown] tags=["en"]
# # 2.5.5 残差连接和归一化层 · Residual connections and layer normalization
#
# A GPT-2 is a tower: the same kind of floor, stacked 12 to 48 times. Two small ideas, a few lines of code each, hold
# it up. After this notebook you can derive both of them on paper, backward pass included, and you will have seen what
# happens without them.
#
# You need Python, NumPy and the chain rule from school. The words of the trade are few:
#
# - A **token** is a piece of text, and at every height of the tower it is represented by a **vector** of $C$
#   numbers, its *channels*. The model works on $B$ texts of $T$ tokens at once, on arrays of shape `(B, T, C)`.
# - A **sub-layer** is a function that takes such an array and returns another of the same shape. GPT-2 has two
#   kinds, *attention* (notebook 2.5.3) and the *feed-forward network* (2.5.4). One of each is a **block**, one
#   floor of the tower. What happens inside a sub-layer does not matter here.
# - The **loss** is one number that says how bad the model's predictions are. Its derivative with respect to some
#   number in the model is called the **gradient** there, and training moves every parameter a little against it.

# %%
import sys
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.embedding import (
    embedding_backward,
    embedding_forward,
    unembedding_backward,
    unembedding_forward,
)
from minigpt2.components.feed_forward import feed_forward_backward, feed_forward_forward
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.position import position_backward, position_forward
from minigpt2.components.residual import residual_backward, residual_forward
from minigpt2.model import block_forward
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document gives this subject one entry in its list of components. It names the two techniques, residual connections
# and normalization layers, and gives their purpose: they help to fit deeper models. That is true. It does not say
# *where* in a block they belong, and there are two possibilities:
#
# | name | the norm applies to | a sub-layer $f$ changes $x$ | source |
# |---|---|---|---|
# | post-norm | the sum | $x \leftarrow \mathrm{LN}(x + f(x))$ | Vaswani et al. 2017, section 3.1 |
# | pre-norm | the input | $x \leftarrow x + f(\mathrm{LN}(x))$ | **GPT-2**: Radford et al. 2019, section 2.3 |
#
# LN is layer normalization, and the arrow means "becomes".
#
# GPT-2 as released has the second, and one more layer norm after the last block. We need not take the paper's word for
# it. The names of the parameters of a GPT-2, here those of the small model that comes with this package, are the first
# piece of evidence: two norms in each block, and a last one, `ln_f`, that belongs to no block.

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
for name, parameter in minigpt2.flatten(model.params).items():
    if "ln_" in name:
        print(f"{name:16} {parameter.shape}")

# %% [markdown] tags=["en"]
# Names do not reveal the order. The numbers inside do. If the sum were normalized, then the vectors that leave a block
# would all be of about the same size, the size that the norm's parameters give them. If only a *copy* of them is
# normalized, on its way into the sub-layer, they may grow freely. We let the model read a line and measure the size of
# its vectors, the square root of the mean of their squared channels, called *root mean square*:

# %%
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("What light through yonder window breaks?")])
activations = minigpt2.trace(model, ids)


def root_mean_square(x):
    """Of each token's vector (the last axis); the mean over the tokens."""
    return float(np.sqrt((x * x).mean(axis=-1)).mean())


stream = ["embd"] + [f"h.{i}.resid_post" for i in range(model.config.n_layer)]
print("leaves               root mean square")
for name in [*stream, "ln_f"]:
    print(f"{name:20} {root_mean_square(activations[name]):8.2f}")

# %% [markdown] tags=["en"]
# The vectors grow from block to block: nothing normalizes the sum. Only `ln_f` brings them to the size that the output
# layer was trained to expect; that is its purpose. In section 5, a third piece of evidence settles the matter: pre-norm
# gives the numbers that an independent GPT-2 gave, and post-norm does not.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **A residual connection lets a sub-layer add to its input instead of replacing it.** Think of a manuscript that
# travels through an office. Without residual connections every clerk writes a new version and throws the old one away;
# after thirty clerks little is left of the text. With them every clerk writes *remarks* on the same sheet. Nothing that
# was there can be lost, and a clerk who has nothing to say adds nothing. The sheet is called the **residual stream**.
#
# **Layer normalization gives every clerk a copy in the same size of print.** Remarks pile up and the sheet's
# numbers grow, as you have just seen. So each sub-layer reads a copy of the vector that was shifted to mean 0 and
# scaled to variance 1, whatever happened below.
#
# The picture shows both ways of putting the two together. Follow the thick line from the bottom to the top.

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 4.3))
steps = {"pre-norm (GPT-2)": ["norm", "sub-layer", "+"], "post-norm (2017)": ["sub-layer", "+", "norm"]}
for axis, (title, parts) in zip(axes, steps.items(), strict=True):
    axis.set(xlim=(-1.2, 2.6), ylim=(-0.3, 7.7), title=title)
    axis.axis("off")
    axis.plot([0, 0], [0, 7.2], color=style.BLUE, lw=4, zorder=1, solid_capstyle="butt")
    axis.annotate("", (0, 7.7), (0, 7.0), arrowprops={"arrowstyle": "-|>", "color": style.BLUE, "lw": 2})
    axis.text(0, -0.1, "x", ha="center", va="top")
    for bottom in (0.4, 3.9):  # two sub-layers: a block
        join = bottom + 0.5 + 1.1 * parts.index("+")
        axis.plot([0, 1.5, 1.5], [bottom, bottom, join], color=style.GREY, lw=1, ls="-", zorder=0)
        axis.annotate("", (0, join), (1.5, join), arrowprops={"arrowstyle": "->", "color": style.GREY, "shrinkB": 9})
        for i, part in enumerate(parts):
            on_branch = i < parts.index("+")
            edge, face = (style.ORANGE, "#f6dcc3") if part == "norm" else (style.BLUE, "white")
            box = {"boxstyle": "circle" if part == "+" else "round,pad=0.4", "fc": face, "ec": edge}
            axis.text(1.5 * on_branch, bottom + 0.5 + 1.1 * i, part, ha="center", va="center", bbox=box, zorder=3)
plt.show()

# %% [markdown] tags=["en"]
# On the left the thick line runs through additions only. On the right it has to pass through every norm. That is the
# whole difference, and section 6 shows its cost.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# One convention for the whole book: for any number $v$ in the model, $dv$ is short for the gradient
# $\partial\,\mathrm{loss} / \partial v$. An array and its gradient have the same shape. The backward pass of a
# function is handed the gradient of its output and has to find the gradients of its inputs.
#
# ### Residual connection
#
# | symbol | shape | meaning |
# |---|---|---|
# | $x$ | `(B, T, C)` | the residual stream |
# | $y = f(x)$ | `(B, T, C)` | the output of the sub-layer |
# | $z = x + y$ | `(B, T, C)` | the stream afterwards |
#
# **Backward.** If one element of $x$ grows by a tiny $h$, the same element of $z$ grows by $h$, so
# $\partial z / \partial x = 1$ and likewise $\partial z / \partial y = 1$. The chain rule multiplies by 1, twice:
#
# $$dx = dz, \qquad dy = dz.$$
#
# Then $dy$ goes backward through the sub-layer, and since $x$ was used in two places, once directly and once inside
# $f$, the two gradients are added. For a single number, with $f'$ the derivative of $f$:
#
# $$dx_{\text{total}} = dz + f'(x)\,dz = (1 + f'(x))\,dz.$$
#
# The 1 is the point of it all. Take three sub-layers on top of each other, whose derivatives are $a$, $b$ and $c$:
#
# $$\underbrace{a\,b\,c}_{\text{without}} \qquad\text{against}\qquad
# \underbrace{(1+a)(1+b)(1+c) = 1 + a + b + c + ab + ac + bc + abc}_{\text{with residual connections}}$$
#
# A product of many small factors is tiny: with 0.1 in place of each letter it is already $0.1^3 = 0.001$. The sum on
# the right begins with 1, however many layers there are. The gradient always has a way past all of them. (For vectors
# $a$, $b$, $c$ are matrices and the 1 is the identity; the argument is the same. He et al. 2016, "Identity Mappings in
# Deep Residual Networks", eq. 5.)
#
# ### Layer normalization, forward
#
# It treats the vector of each token alone, so let us take one token; $c$ counts its channels.
#
# | symbol | in the code | shape for all tokens | meaning |
# |---|---|---|---|
# | $x$ | `x` | `(B, T, C)` | input |
# | $\mathrm{mean}$, $\mathrm{variance}$ | `_mean(x)`, `_mean(centred * centred)` | `(B, T, 1)` | of a token |
# | $\mathrm{rstd}$ | `rstd` | `(B, T, 1)` | reciprocal standard deviation |
# | $\hat x$ | `x_hat` | `(B, T, C)` | the normalized vector |
# | $\mathrm{weight}$, $\mathrm{bias}$ | `weight`, `bias` | `(C,)` | parameters, shared by all tokens |
# | $\mathrm{eps}$ | `eps` | one number | 0.00001 in GPT-2 |
# | $y$ | `y` | `(B, T, C)` | output |
#
# $$\mathrm{mean} = \frac1C\sum_c x_c, \qquad
#   \mathrm{variance} = \frac1C\sum_c (x_c-\mathrm{mean})^2, \qquad
#   \mathrm{rstd} = \frac{1}{\sqrt{\mathrm{variance}+\mathrm{eps}}},$$
#
# $$\hat x_c = (x_c-\mathrm{mean})\cdot\mathrm{rstd}, \qquad
#   y_c = \hat x_c\cdot\mathrm{weight}_c + \mathrm{bias}_c.$$
#
# (Ba, Kiros & Hinton 2016, eq. 4.) The number eps keeps us from dividing by zero when all channels are equal. The
# weight and the bias let the model undo the normalization, channel by channel, where it is better without.
#
# ### Layer normalization, backward
#
# We are given $dy$ and want $d\mathrm{bias}$, $d\mathrm{weight}$ and $dx$. We go through the formulas from the last to
# the first.
#
# **Step 1: $y_c = \hat x_c\cdot\mathrm{weight}_c + \mathrm{bias}_c$.** Each of the three needs only a single product or
# sum. All $N = B\cdot T$ tokens share the parameters, so their contributions add up; $n$ counts the tokens:
#
# $$d\mathrm{bias}_c = \sum_n dy_{nc}, \qquad d\mathrm{weight}_c = \sum_n dy_{nc}\,\hat x_{nc}, \qquad
#   d\hat x_c = dy_c\cdot\mathrm{weight}_c .$$
#
# **Step 2: the mean.** Each channel contributes one part in $C$:
#
# $$\frac{\partial\,\mathrm{mean}}{\partial x_j} = \frac1C .$$
#
# **Step 3: the variance.** $x_j$ acts directly, in the term $c = j$, and through the mean, in every term. Write
# $\delta_{cj}$ for 1 if $c = j$ and 0 otherwise. The square gives a factor 2:
#
# $$\frac{\partial\,\mathrm{variance}}{\partial x_j}
#   = \frac2C\sum_c (x_c-\mathrm{mean})\Bigl(\delta_{cj}-\frac1C\Bigr)
#   = \frac2C\,(x_j-\mathrm{mean}) - \frac{2}{C^2}\underbrace{\sum_c (x_c-\mathrm{mean})}_{=\,0}
#   = \frac2C\,(x_j-\mathrm{mean}).$$
#
# The deviations from a mean add up to zero, which spares us the second term.
#
# **Step 4: rstd.** It is $(\mathrm{variance}+\mathrm{eps})^{-1/2}$, whose derivative is
# $-\tfrac12(\mathrm{variance}+\mathrm{eps})^{-3/2} = -\tfrac12\,\mathrm{rstd}^3$. With step 3, and
# $(x_j-\mathrm{mean})\cdot\mathrm{rstd} = \hat x_j$ at the end:
#
# $$\frac{\partial\,\mathrm{rstd}}{\partial x_j}
#   = -\frac12\,\mathrm{rstd}^3\cdot\frac2C\,(x_j-\mathrm{mean})
#   = -\frac{\mathrm{rstd}^2}{C}\,\hat x_j .$$
#
# **Step 5: $\hat x_c = (x_c-\mathrm{mean})\cdot\mathrm{rstd}$.** The product rule, with steps 2 and 4:
#
# $$\frac{\partial\hat x_c}{\partial x_j}
#   = \Bigl(\delta_{cj}-\frac1C\Bigr)\mathrm{rstd} - (x_c-\mathrm{mean})\,\frac{\mathrm{rstd}^2}{C}\,\hat x_j
#   = \mathrm{rstd}\,\Bigl(\delta_{cj}-\frac1C-\frac{\hat x_c\,\hat x_j}{C}\Bigr).$$
#
# **Step 6: the chain rule.** $x_j$ acts on the loss through every $\hat x_c$, so we sum over $c$:
#
# $$dx_j = \sum_c d\hat x_c\,\frac{\partial\hat x_c}{\partial x_j}
#   = \mathrm{rstd}\,\Bigl(d\hat x_j - \frac1C\sum_c d\hat x_c - \hat x_j\,\frac1C\sum_c d\hat x_c\,\hat x_c\Bigr).$$
#
# That is all. In words: **scale the gradient by rstd, after taking away its mean and its part along $\hat x$.** It
# could not be otherwise. Adding the same number to all channels does not change $y$, so the gradient cannot point that
# way. And, apart from eps, neither does stretching the vector about its mean.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2. They are those of section 3, line
# by line; `rows(x)` puts all tokens' vectors below each other, as one matrix.

# %%
style.show_plain("residual", "layer_norm")

# %% [markdown] tags=["en"]
# Now the library's own code, fetched while the notebook was built. The formulas are the same; a mean is written as a
# product with a vector of $1/C$, because that is faster. `by_rows(formula, x)` is `formula(x)`, with the rows, which
# here are the tokens, shared among the processor's cores. A residual connection whose two sides differ in shape is
# refused, where NumPy would silently stretch one of them. What does the difference buy? On two cores of an Intel Xeon
# the page's layer norm takes 1.3 times as long, for 512 tokens of GPT-2 (`python tests/benchmarks page-layer_norm`).

# %%
style.show_source(layer_norm_forward, layer_norm_backward, residual_forward, residual_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# Here is one token with four channels. Take a pencil; with eps = 0 these numbers come out even.

# %%
x, weight, bias = np.array([0.0, 6, 6, 8]), np.array([1.0, 1, 3, 2]), np.array([0.0, 0, 0, 1])
y, cache = layer_norm_forward(x, weight, bias, eps=0.0)
dy = np.array([0.0, 6, 0, 0])  # only the second output matters to this loss
dx, dweight, dbias = layer_norm_backward(dy, cache)


def show(**arrays):
    """Print arrays as fractions."""
    for name, array in arrays.items():
        print(f"{name:8}", *(f"{Fraction(float(v)).limit_denominator(100)!s:>6}" for v in np.ravel(array)))


show(x=x, mean=x.mean(), variance=x.var(), rstd=cache["rstd"], x_hat=cache["x_hat"], y=y)
print()
show(dy=dy, dx_hat=dy * weight, dx=dx, dweight=dweight, dbias=dbias)
print()
show(sum_dx=dx.sum(), along=dx @ cache["x_hat"])

# %% [markdown] tags=["en"]
# The deviations from the mean are $-5, 1, 1, 3$; the mean of their squares is $(25+1+1+9)/4 = 9$; its root is 3, and so
# rstd is $1/3$. Backward, the mean of $d\hat x$ is $6/4 = 3/2$, and the mean of $d\hat x\,\hat x$ is
# $(6\cdot\tfrac13)/4 = 1/2$. For the first channel:
#
# $$dx_1 = \tfrac13\bigl(0 - \tfrac32 - (-\tfrac53)\cdot\tfrac12\bigr) = \tfrac13\cdot(-\tfrac23) = -\tfrac29 .$$
#
# Only one output matters to the loss, and yet every input has a gradient: they all share the mean and the variance. The
# last two lines keep the two promises made at the end of section 3: $dx$ has no part along $(1,1,1,1)$, and none along
# $\hat x$.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative.** `gradient_check` nudges every input up and down by a tiny step, looks at
# how the output changes, and compares that with what the backward pass claims.

# %%
rng = np.random.default_rng(0)
inputs = {"x": rng.normal(size=(2, 3, 8)), "weight": rng.normal(size=8), "bias": rng.normal(size=8)}
style.show_check(minigpt2.gradient_check(layer_norm_forward, layer_norm_backward, inputs))
streams = {"x": rng.normal(size=(2, 3, 8)), "y": rng.normal(size=(2, 3, 8))}
style.show_check(minigpt2.gradient_check(residual_forward, residual_backward, streams))

# %% [markdown] tags=["en"]
# A check that cannot fail is worth nothing. A common mistake is to forget that the mean and rstd depend on $x$ too, and
# to write $dx = \mathrm{rstd}\cdot d\hat x$. The parameters' gradients are then still right, and $dx$ is not:


# %%
def forgetful_backward(dy, cache):
    """Layer norm's backward pass by someone who thinks that mean and rstd are constants."""
    _, dweight, dbias = layer_norm_backward(dy, cache)
    return dy * cache["weight"] * cache["rstd"], dweight, dbias


style.show_check(minigpt2.gradient_check(layer_norm_forward, forgetful_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation.** The gradient check proves that backward fits forward, not that forward is layer
# normalization. So the package carries values that PyTorch computed, recorded once, in 64-bit floating point, where
# rounding errors are about $10^{-16}$. The error is the largest difference, relative to the largest value.

# %%
components = {
    "layer_norm": (layer_norm_forward, layer_norm_backward),
    "residual": (residual_forward, residual_backward),
}
for name, (forward, backward) in components.items():
    reference = recorded(name)
    y, cache = forward(**reference["inputs"], **CASES[name].options)
    gradients = dict(zip(reference["gradients"], backward(reference["dy"], cache), strict=True))
    error, _ = relative_error({"y": y, **gradients}, {"y": reference["y"], **reference["gradients"]})
    style.show_agreement(f"{name}: y, and gradients of {', '.join(reference['gradients'])}", error)

# %% [markdown] tags=["en"]
# **Pre-norm or post-norm?** Here is the third piece of evidence. We put the package's components together in both
# orders (and, for the experiments below, in two more) and run one block with the recorded parameters.


# %%
def sub_layer_forward(x, norm, f, wiring, eps=1e-5):
    """A sub-layer with its norm and its residual connection, or without them.

    x: (B, T, C); norm: {"weight", "bias"}; f: x -> (y, cache); returns the new x (B, T, C) and a cache.
    """
    if wiring == "post-norm":
        y, f_cache = f(x)
        z, _ = residual_forward(x, y)
        z, norm_cache = layer_norm_forward(z, **norm, eps=eps)
        return z, (f_cache, norm_cache)
    y, norm_cache = (x, None) if wiring == "neither" else layer_norm_forward(x, **norm, eps=eps)
    y, f_cache = f(y)
    z = residual_forward(x, y)[0] if wiring == "pre-norm" else y
    return z, (f_cache, norm_cache)


def stack_forward(x, blocks, n_head, wiring, eps=1e-5):
    """Blocks on top of each other; returns x after the last and a list of (x, attention cache, mlp cache)."""
    caches = []
    for p in blocks:
        x, attn = sub_layer_forward(x, p["ln_1"], lambda y, p=p: attention_forward(y, p["attn"], n_head), wiring, eps)
        x, mlp = sub_layer_forward(x, p["ln_2"], lambda y, p=p: feed_forward_forward(y, p["mlp"]), wiring, eps)
        caches.append((x, attn, mlp))
    return x, caches


reference = recorded("block")
x, params = reference["inputs"]["x"], reference["inputs"]["params"]
n_head, eps = (CASES["block"].options[name] for name in ("n_head", "eps"))
config = minigpt2.GPT2Config(n_embd=x.shape[-1], n_head=n_head, layer_norm_epsilon=eps)
y, _ = block_forward(x, params, config)
style.show_agreement("block_forward of the package", relative_error(y, reference["y"])[0])
for wiring in ("pre-norm", "post-norm"):
    y, _ = stack_forward(x, [params], n_head, wiring, eps)
    style.show_agreement(wiring, relative_error(y, reference["y"])[0])

# %% [markdown] tags=["en"]
# The same parameters in the order of 2017 give something quite different. (This recorded block was written out in
# PyTorch; the whole models in `minigpt2/reference/` come from Hugging Face's own GPT-2, and `minigpt2 verify` compares
# with those.)

# %% [markdown] tags=["en"]
# ## 6. What breaks without them?
#
# ### At the start of training
#
# We stack 24 blocks with random parameters in four ways: pre-norm, post-norm, norms without residual connections, and
# neither. The parameters are drawn as GPT-2 draws them: normal random numbers, here with standard deviation
# $1/\sqrt C$, and the last matrix of each sub-layer (`c_proj`) divided by $\sqrt{2\cdot 24}$, so that 48 additions do
# not swell the stream (Radford et al. 2019, section 2.3). Where nothing is added this division has no purpose, so
# *neither* gets a second try without it, called *neither, larger weights*. Then we send a gradient down from the top
# and measure its size (the square root of the sum of its squares, its *norm*) below every block. And on the way up we
# ask how much the tokens still differ, by the *cosine* of the angle between the vectors of two of them: 0 if they are
# at right angles, 1 if they point the same way.


# %%
def sub_layer_backward(dz, cache, f_backward, wiring):
    """Gradients of ``sub_layer_forward``: dx, {"weight", "bias"} of the norm, and those of f's parameters."""
    f_cache, norm_cache = cache
    norm = (None, None)
    if wiring == "post-norm":
        dz, *norm = layer_norm_backward(dz, norm_cache)
    dx, dy = residual_backward(dz, {})
    dy, grads = f_backward(dy, f_cache)
    if wiring in ("pre-norm", "no residual"):
        dy, *norm = layer_norm_backward(dy, norm_cache)
    dx = dx + dy if wiring in ("pre-norm", "post-norm") else dy
    return dx, dict(zip(("weight", "bias"), norm, strict=True)), grads


def stack_backward(dx, caches, wiring):
    """Gradients of ``stack_forward``: dx below the first block, a list of grads, a list of dx below each block."""
    grads, below = [], []
    for _, attn, mlp in reversed(caches):
        dx, ln_2, dmlp = sub_layer_backward(dx, mlp, feed_forward_backward, wiring)
        dx, ln_1, dattn = sub_layer_backward(dx, attn, attention_backward, wiring)
        grads.insert(0, {"ln_1": ln_1, "attn": dattn, "ln_2": ln_2, "mlp": dmlp})
        below.insert(0, dx)
    return dx, grads, below


def cosine_between_tokens(x):
    """Mean cosine of the angle between the vectors of two different tokens of a text; x: (B, T, C)."""
    direction = x / np.linalg.norm(x, axis=-1, keepdims=True)
    cosines = direction @ direction.swapaxes(1, 2)
    return float(cosines[:, ~np.eye(x.shape[1], dtype=bool)].mean())


C, n_head = 32, 4
deep = minigpt2.GPT2Config(
    vocab_size=10, n_positions=16, n_embd=C, n_layer=24, n_head=n_head, initializer_range=C**-0.5
)
blocks = minigpt2.GPT2(deep, seed=0, dtype="float64").params["h"]
larger = minigpt2.GPT2(deep, seed=0, dtype="float64").params["h"]
for p in larger:
    for sub_layer in ("attn", "mlp"):
        p[sub_layer]["c_proj"]["weight"] *= np.sqrt(2 * deep.n_layer)
rng = np.random.default_rng(0)
x, dy = rng.normal(size=(4, 16, C)), rng.normal(size=(4, 16, C))

figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3))
for label in ("pre-norm", "post-norm", "no residual", "neither", "neither, larger weights"):
    wiring = label.partition(",")[0]
    y, caches = stack_forward(x, larger if "larger" in label else blocks, n_head, wiring)
    _, _, below = stack_backward(dy, caches, wiring)
    sizes = [np.linalg.norm(d) / np.linalg.norm(dy) for d in below]
    look = {"color": "black", "ls": (0, (1, 3))} if label != wiring else {}
    left.semilogy(range(1, 25), sizes, label=label, **look)
    text = f"{label:24} gradient below block 1, over that at the top: {sizes[0]:7.0e}"
    if wiring != "neither":
        cosines = [cosine_between_tokens(stream) for stream, _, _ in caches]
        right.plot(range(1, 25), cosines, label=wiring)
        text += f"   cosine at the top: {cosines[-1]:.2f}"
    print(text)
left.set(xlabel="block, 1 is the lowest", ylabel="norm of the gradient / norm at the top", title="Going down")
left.set_ylim(1e-14, 1e6)
left.legend(loc="lower left", fontsize=8)
right.set(xlabel="block", ylabel="mean cosine between two tokens", title="Going up", ylim=(-0.05, 1.05))
plt.show()

# %% [markdown] tags=["en"]
# Read it from the worst to the best.
#
# - With **neither** norms nor residual connections everything depends on the size of the weights, as the product
#   $a\,b\,c\cdots$ promised. The smaller ones make the gradient die on its way down (where the line leaves the picture,
#   it continues to fall), the larger ones make it explode: the dotted black line climbs towards the lowest block.
#   Between the two there is a narrow ridge to balance on, and the higher the stack, the narrower it is.
# - With norms but **no residual** connections the gradient survives: rstd divides by the size of the vector, and so a
#   vector that the sub-layers have shrunk is stretched again. But look at the right-hand side. After a few blocks all
#   tokens point the same way, because attention averages over tokens and nothing brings their differences back. A model
#   that cannot tell its tokens apart cannot predict which comes next. (Dong, Cordonnier & Loukas 2021, "Attention is
#   not all you need: pure attention loses rank doubly exponentially with depth".)
# - **Pre-norm and post-norm** keep both the gradient and the differences between the tokens.
#
# ### During training
#
# So far pre-norm has no advantage. Let us train. The task is one that you can do in your head, the Fibonacci numbers
# modulo 10: every digit is the last digit of the sum of the two before it, as in 2 5 7 2 9 1 0 1 1. The first two
# digits are random. A model that gives each of the ten digits the same chance has a loss of $\ln 10$, a model that has
# learned the rule a loss of 0. Every model has a last layer norm below its output, as GPT-2 has, and sees the same
# batches, with the same learning rate from the first step to the last.


# %%
def batch(rng, B=16, T=16):
    """ids, targets (B, T): Fibonacci numbers modulo 10; the second digit of a row cannot be known: -100."""
    digits = np.empty((B, T + 1), int)
    digits[:, :2] = rng.integers(0, 10, (B, 2))
    for t in range(2, T + 1):
        digits[:, t] = (digits[:, t - 1] + digits[:, t - 2]) % 10
    targets = digits[:, 1:].copy()
    targets[:, 0] = -100
    return digits[:, :-1], targets


def train(n_layer, wiring, steps=200, lr=3e-3):
    """Train a new model; the mean loss of its last 20 steps."""
    config = minigpt2.GPT2Config(
        vocab_size=10, n_positions=16, n_embd=C, n_layer=n_layer, n_head=n_head, initializer_range=C**-0.5
    )
    params = minigpt2.GPT2(config, seed=0, dtype="float64").params
    optimizer = minigpt2.AdamW(params, lr=lr)
    rng, losses = np.random.default_rng(0), []
    for _ in range(steps):
        ids, targets = batch(rng)
        x, wte = embedding_forward(ids, params["wte"]["weight"])
        x, wpe = position_forward(x, params["wpe"]["weight"])
        x, caches = stack_forward(x, params["h"], n_head, wiring)
        x, ln_f = layer_norm_forward(x, **params["ln_f"])
        logits, head = unembedding_forward(x, params["wte"]["weight"])
        loss, loss_cache = cross_entropy_forward(logits, targets)

        dx, dhead = unembedding_backward(cross_entropy_backward(1.0, loss_cache), head)
        dx, *dln_f = layer_norm_backward(dx, ln_f)
        dx, dblocks, _ = stack_backward(dx, caches, wiring)
        dx, dwpe = position_backward(dx, wpe)
        grads = {
            "wte": {"weight": dhead + embedding_backward(dx, wte)},  # used twice: at the bottom and at the top
            "wpe": {"weight": dwpe},
            "h": dblocks,
            "ln_f": dict(zip(("weight", "bias"), dln_f, strict=True)),
        }
        optimizer.step(grads, max_norm=1.0)
        losses.append(float(loss))
    return np.mean(losses[-20:])


depths, wirings = (1, 2, 4, 8), ("pre-norm", "post-norm", "no residual")
final = {wiring: [train(n_layer, wiring) for n_layer in depths] for wiring in wirings}

print("blocks      ", *(f"{n:>5}" for n in depths))
for wiring, losses in final.items():
    print(f"{wiring:12}", *(f"{loss:5.1f}" for loss in losses))

figure, axes = plt.subplots(figsize=(6.5, 3.2))
for (wiring, losses), marker in zip(final.items(), "os^", strict=True):
    (line,) = axes.plot(depths, losses, marker=marker)
    axes.text(8.15, losses[-1] - 0.12 * (wiring == "no residual"), wiring, color=line.get_color(), va="center")
axes.axhline(np.log(10), color="0.6", lw=1, ls=":")
axes.text(1, np.log(10) + 0.05, "knows nothing", color="0.4")
axes.set(xlabel="blocks", ylabel="loss after 200 steps (nats)", title="Pre-norm learns at every depth")
axes.set(xticks=depths, xlim=(0.8, 9.7), ylim=(0, 2.6))
plt.show()

# %% [markdown] tags=["en"]
# (A *nat* is the unit of a loss that uses the natural logarithm.)
#
# A single block gets by without residual connections. Two learn more slowly, and from four on the model knows next to
# nothing at the end. With pre-norm the depth does no harm at all. Post-norm is behind it everywhere, and from two
# blocks on, the deeper the stack, the worse it fares *at this learning rate*. It can be trained: one begins with tiny
# steps and lengthens them slowly, which is called *warm-up*. The Transformer of 2017 was trained like that (section
# 5.3), and Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture", show why: with post-norm the
# gradients near the top are large at the start, with pre-norm they are not, and warm-up can be omitted. That is the
# practical advantage of GPT-2's order. (Its authors give no reason; they refer to He et al. 2016, quoted in section 3.)
#
# The experiment is limited: one small task, one learning rate, one seed, and initial weights that were chosen for
# pre-norm. Question 4 lets you find out how much of the picture depends on them.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What gradient does `residual_backward` return for `x`, and what for `y`? Why must nobody change one of them in
#    place? *Hint: its docstring.*
# 2. In the example by hand, `dx` adds up to 0. Show from step 6 that it does so for every input.
#    *Hint: sum over $j$; what is the sum of $\hat x_j$?*
# 3. Multiply `x` by 10 before `layer_norm_forward`. What happens to `y`, and what happens to `dx`? Predict first, then
#    try. *Hint: which of the two still contains rstd?*
# 4. Predict the last picture for `lr=3e-4`, and for another seed of the model. Then run it, with more steps for the
#    smaller learning rate. *Hint: what would warm-up do to post-norm?*
# 5. Without `ln_f` the logits of the built-in model would be computed from the stream as it is. Would its most likely
#    next token change? *Hint: `minigpt2.trace` has both `h.3.resid_post` and `ln_f`; the weights of `ln_f` differ from
#    channel to channel.*
