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
#
# The rules of backward passes, R1 to R7, and `gradient_check` are derived in [2.0](2_0_toolbox.ipynb).
#
# **Exercise:** [5, layer normalization](../exercises/student/05_layer_norm.ipynb)

# %%
import sys
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # graphs.py and style.py lie beside the sources of the notebooks
import graphs
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
from minigpt2.model import gpt2_forward
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document gives this subject one entry in its list of components: "残差连接和归一化层（Residual Connections and
# Layer Normalization）是两种技术，用来帮助模型拟合更深层的模型。" (Residual connections and normalization layers are
# two techniques that help the model to fit deeper models.) Section 6 bears out the first half, for one task: without
# residual connections a deep stack does not learn there. The document does not say *where* in a block the two
# belong, and there are two possibilities:
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
# Names do not reveal the order. The numbers inside give a second piece of evidence. If the sum were normalized, then
# the vectors that leave a block would have the size that the parameters of its last norm, `ln_2`, give them, and all
# tokens about the same. If only a *copy* of them is normalized, on its way into the sub-layer, they may grow freely. We
# let the model read a line and measure the size of its vectors, the square root of the mean of their squared channels,
# called *root mean square*: the mean over the tokens, the smallest and the largest. Beside them stands the size that
# the norm would give, $\sqrt{\mathrm{mean}(\mathrm{weight}^2+\mathrm{bias}^2)}$.

# %%
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("What light through yonder window breaks?")])
activations = minigpt2.trace(model, ids)


def root_mean_square(x):
    """Of each token's vector (the last axis)."""
    return np.sqrt((x * x).mean(axis=-1))


stream = ["embd"] + [f"h.{i}.resid_post" for i in range(model.config.n_layer)]
last_norms = [None] + [block["ln_2"] for block in model.params["h"]] + [model.params["ln_f"]]
print("leaves            mean  smallest  largest   the norm would give")
for name, norm in zip([*stream, "ln_f"], last_norms, strict=True):
    sizes = root_mean_square(activations[name])
    given = f"{np.sqrt((norm['weight'] ** 2 + norm['bias'] ** 2).mean()):12.2f}" if norm else ""
    print(f"{name:15} {sizes.mean():6.2f} {sizes.min():9.2f} {sizes.max():8.2f} {given}")

# %% [markdown] tags=["en"]
# The vectors grow from block to block, soon further than `ln_2` would let them, and the largest is about twice the
# smallest: nothing normalizes the sum. Only `ln_f` brings them to one size, the one that the output layer was trained
# to expect. In section 5, a third piece of evidence settles the matter: pre-norm gives the numbers that an independent
# GPT-2 gave, and post-norm does not.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **A residual connection lets a sub-layer add to its input instead of replacing it.** Think of a manuscript that
# travels through an office. Without residual connections every clerk writes a new version and throws the old one away;
# after thirty clerks little is left of the text. With them every clerk writes *remarks* on the same sheet. A clerk who
# has nothing to say adds nothing, and what was there stays, unless somebody writes its negative. The sheet is called
# the **residual stream**.
#
# Does what was there stay? Take the vector that a token begins with, and ask how much of it is in the stream further
# up: the stream's component in that direction, divided by the vector's length. It is 1 at the start, and would stay 1
# if all that is added stood at right angles to it. The last column is for comparison: the same with the vectors that
# the *other* tokens begin with, as a root mean square.

# %%
start = activations["embd"][0].astype(np.float64)
print("token    ", *(f"{tokenizer.decode([t]).strip() or '_':>5}" for t in ids[0]), "  others")
for name in stream:
    shares = activations[name][0] @ start.T / (start * start).sum(axis=-1)  # (T, T): of the start of each token
    others = np.sqrt((shares[~np.eye(len(start), dtype=bool)] ** 2).mean())
    print(f"{name[:9]:9}", *(f"{v:5.1f}" for v in np.diag(shares)), f"{others:8.1f}")

# %% [markdown] tags=["en"]
# It does not. The component grows for most tokens, and in the end it is negative for five of the 16. But nobody need
# have meant to add to it or to wipe it out: along the vectors of *other* tokens the stream has components of the same
# size, and in the end larger ones. What the sub-layers add is more than ten times as large as what was there, does not
# keep clear of it, and soon drowns it. A residual connection makes it *easy* to keep something: nothing need be done.
# It forbids nothing. (Notebook [2.5](2_5_framework.ipynb) switches the sub-layers of this model off, one after the
# other.)
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

# %% [markdown] tags=["en", "alt"]
# Two columns of boxes, a block each, around a thick line that rises from x. Left, pre-norm: a thin line leaves the
# thick one, passes a norm and a sub-layer, and comes back at a plus; on the thick line there are only the two pluses.
# Right, post-norm: the thin line passes the sub-layer alone, and on the thick line a norm stands above each plus.

# %% [markdown] tags=["en"]
# On the left the thick line runs through additions only. On the right it has to pass through every norm. That is the
# whole difference, and section 6 shows its cost.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# As everywhere in this book, $dx$ is short for the gradient $\partial\,\mathrm{loss} / \partial x$, an array of the
# shape of $x$, and so for every other letter.
#
# ### Residual connection
#
# | symbol | shape | meaning |
# |---|---|---|
# | $x$ | `(B, T, C)` | the residual stream |
# | $y = f(x)$ | `(B, T, C)` | the output of the sub-layer |
# | $z = x + y$ | `(B, T, C)` | the stream afterwards |
#
# **Backward.** If one element of $x$ grows by a tiny $\varepsilon$, the same element of $z$ grows by $\varepsilon$, so
# $\partial z / \partial x = 1$ and likewise $\partial z / \partial y = 1$. The chain rule multiplies by 1, twice:
#
# $$dx = dz, \qquad dy = dz.$$
#
# Then $dy$ goes backward through the sub-layer, and since $x$ was used in two places, once directly and once inside
# $f$, the two gradients are added (R6). For a single number, with $f'$ the derivative of $f$:
#
# $$dx_{\text{total}} = dz + f'(x)\,dz = (1 + f'(x))\,dz.$$
#
# The 1 is the point of it all. Take three sub-layers on top of each other, whose derivatives are $a$, $b$ and $c$:
#
# $$\underbrace{a\,b\,c}_{\text{without}} \qquad\text{against}\qquad
# \underbrace{(1+a)(1+b)(1+c) = 1 + a + b + c + ab + ac + bc + abc}_{\text{with residual connections}}$$
#
# A product of many small factors is tiny: with 0.1 in place of each letter it is already $0.1^3 = 0.001$. The sum on
# the right has 1 among its terms, however many layers there are: this is the way past all of them. (For vectors $a$,
# $b$, $c$ are Jacobians, the matrices of all derivatives, and the 1 is the identity; the algebra is the same. He et al.
# 2016, "Identity Mappings in Deep Residual Networks", eq. 5.)
#
# That the 1 is there does not say that the sum is near 1. Here are both products for the 48 sub-layers of 24 blocks,
# with every derivative the same, and then with random ones, normal with standard deviation 0.1:

# %%
print("derivative of each        without    with residual connections")
for a in (0.1, -0.1, -1.0):
    print(f"{a:18.1f} {a**48:14.0e} {(1 + a) ** 48:12.3f}")
draws = 0.1 * np.random.default_rng(0).normal(size=(4000, 48))
for name, a in (("random", draws), ("random / sqrt(48)", draws / np.sqrt(48))):
    sizes = [np.sqrt((np.prod(factors, axis=1) ** 2).mean()) for factors in (a, 1 + a)]
    print(f"{name:18} {sizes[0]:14.0e} {sizes[1]:12.2f}   (root mean square)")

# %% [markdown] tags=["en"]
# If all derivatives have one sign, residual connections do not save the gradient: it explodes ($1.1^{48} = 97$), dies
# slowly, or, at $-1$, is wiped out by the first layer. They help because the derivatives of a fresh network have *no*
# common sign. For independent ones with mean 0 and variance $s^2$ the mean of $(1+a)^2$ is $1 + s^2$, so the square of
# the whole product is $(1+s^2)^{48}$ in the mean: with $s = 0.1$ it is $1.61$, whose root is $1.27$. (Without residual
# connections the same argument gives $s^{48} = 10^{-48}$. The table has far less: that mean is made up of products so
# rare that 4,000 draws have none of them.)
#
# ### How large does the stream get?
#
# The same sum goes up. Say that the stream begins with variance $v_0$, and that each of the $2L$ sub-layers of $L$
# blocks adds something with mean 0 and variance $s^2$, independent of what is there. The variances of independent
# numbers add up:
#
# $$\mathrm{variance\ at\ the\ top} = v_0 + 2L\,s^2 .$$
#
# It grows with the depth. Divide what each sub-layer adds by $\sqrt{2L}$, and each variance is divided by $2L$:
#
# $$v_0 + 2L\cdot\frac{s^2}{2L} = v_0 + s^2, \qquad\text{and for the gradient}\qquad
#   \Bigl(1+\frac{s^2}{2L}\Bigr)^{2L} \le e^{s^2} ,$$
#
# whatever the depth. Since the last step of a sub-layer is a product with a matrix (`c_proj`; its bias is 0 at the
# start), it is enough to divide that matrix. GPT-2 does so: "We scale the weights of residual layers at initialization
# by a factor of $1/\sqrt N$ where $N$ is the number of residual layers" (Radford et al. 2019, section 2.3). The paper
# does not say whether a *residual layer* is a block or a sub-layer. That $N = 2L$ is how later authors read it, nanoGPT
# and Hugging Face among them; the derivation speaks for them. Section 6 measures both variances.
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
# | $\mathtt{eps}$ | `eps` | one number | 0.00001 in GPT-2 |
# | $y$ | `y` | `(B, T, C)` | output |
#
# $$\mathrm{mean} = \frac1C\sum_c x_c, \qquad
#   \mathrm{variance} = \frac1C\sum_c (x_c-\mathrm{mean})^2, \qquad
#   \mathrm{rstd} = \frac{1}{\sqrt{\mathrm{variance}+\mathtt{eps}}},$$
#
# $$\hat x_c = (x_c-\mathrm{mean})\cdot\mathrm{rstd}, \qquad
#   y_c = \hat x_c\cdot\mathrm{weight}_c + \mathrm{bias}_c.$$
#
# (Ba, Kiros & Hinton 2016, eq. 4.) The number `eps` keeps us from dividing by zero when all channels are equal. The
# weight and the bias give each channel the size and the offset that suit the sub-layer, the same for all tokens. They
# cannot undo the normalization: how large a token's vector was, and what its mean, is lost.
#
# ### Layer normalization, backward
#
# We are given $dy$ and want $d\mathrm{bias}$, $d\mathrm{weight}$ and $dx$. We go through the formulas from the last to
# the first; 2.0 has the result as R7, here is its derivation.
#
# **Step 1: $y_c = \hat x_c\cdot\mathrm{weight}_c + \mathrm{bias}_c$.** An elementwise product and a sum (R3). All
# $N = B\cdot T$ tokens share the parameters, so their contributions add up (R1); $n$ counts the tokens:
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
# **Step 4: rstd.** It is $(\mathrm{variance}+\mathtt{eps})^{-1/2}$, whose derivative is
# $-\tfrac12(\mathrm{variance}+\mathtt{eps})^{-3/2} = -\tfrac12\,\mathrm{rstd}^3$. With step 3, and
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
# These $C\times C$ numbers are the Jacobian of the normalization.
#
# **Step 6: the chain rule.** $x_j$ acts on the loss through every $\hat x_c$, so we sum over $c$. A sum of this kind is
# called a vector-Jacobian product, and the code computes it without ever making the Jacobian:
#
# $$dx_j = \sum_c d\hat x_c\,\frac{\partial\hat x_c}{\partial x_j}
#   = \mathrm{rstd}\,\Bigl(d\hat x_j - \frac1C\sum_c d\hat x_c - \hat x_j\,\frac1C\sum_c d\hat x_c\,\hat x_c\Bigr).$$
#
# That is all. In words: **scale the gradient by rstd, after taking away its mean and its part along $\hat x$.** (The
# part along $\hat x$ is taken away exactly when `eps` is 0, for then the mean of $\hat x_c^2$ is 1.) There is a
# reason. Adding the same number to all channels does not change $y$, so the gradient has no component that way. And,
# apart from `eps`, neither does stretching the vector about its mean.

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
        print(f"{name:14}", *(f"{Fraction(float(v)).limit_denominator(100)!s:>6}" for v in np.ravel(array)))


show(x=x, mean=x.mean(), variance=x.var(), rstd=cache["rstd"], x_hat=cache["x_hat"], y=y)
print()
show(dy=dy, dx_hat=dy * weight, dx=dx, dweight=dweight, dbias=dbias)
print()
show(sum_dx=dx.sum(), dx_times_x_hat=dx @ cache["x_hat"])

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
#
# Here is the same as a graph, in the small steps that steps 2 to 5 put together. A dot is a value that is used more
# than once; there the gradients that come back are added (R6).

# %%
centred, dx_hat, rstd = x - x.mean(), dy * weight, cache["rstd"].item()
drstd = dx_hat @ centred  # R2
dvariance = -0.5 * rstd**3 * drstd  # R3
dcentred = dx_hat * rstd + dvariance * 2 / 4 * centred  # R3, R1; R6
dmean = -dcentred.sum()  # R1
assert np.allclose(dx, dcentred + dmean / 4)  # R1, R6
ways = {
    "x": (0, 1), "•": (1, 1), "mean": (2, 2), "−": (3, 1), "•#2": (4, 1), "1/√variance": (5, 2),
    "×": (6, 1), "× weight\n+ bias": (7, 1), "y": (8, 1),
}  # fmt: skip
edges = [
    ("x", "•", x, dx),
    ("•", "mean", x, dmean / 4 * np.ones(4)),
    ("•", "−", x, dcentred),
    ("mean", "−", x.mean(), dmean),
    ("−", "•#2", centred, dcentred),
    ("•#2", "1/√variance", centred, dvariance * 2 / 4 * centred),
    ("•#2", "×", centred, dx_hat * rstd),
    ("1/√variance", "×", rstd, drstd),
    ("×", "× weight\n+ bias", cache["x_hat"], dx_hat),
    ("× weight\n+ bias", "y", y, dy),
]
upright = [(start, end, *(np.reshape(a, (-1, 1)) for a in numbers)) for start, end, *numbers in edges]
graphs.draw(ways, upright)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The layer norm of the example as a graph from x to y. The vector x goes to the mean and to a minus; the difference,
# -5, 1, 1, 3, goes directly to a product and, through the reciprocal root of the variance, 1/3, a second time. Below
# the edges run the gradients, from dy = 0, 6, 0, 0 back to dx = -2/9, 13/9, -5/9, -2/3.

# %% [markdown] tags=["en"]
# And two residual connections on top of each other. The sub-layer is $f(x) = x^2/4$, with $f'(x) = x/2$. From 2 the
# stream goes to $2 + 1 = 3$ and to $3 + \tfrac94$. Backward the upper one makes $1 + \tfrac32 = \tfrac52$ of 1, and
# the lower one $(1 + 1)\cdot\tfrac52 = 5$. On the direct edge the gradient is handed through as it came.

# %%
ways = {"x": (0, 0), "•#1": (1, 0), "f#1": (2, 1), "+#1": (3, 0)}
ways |= {"•#2": (4, 0), "f#2": (5, 1), "+#2": (6, 0), "z": (7, 0)}
graphs.draw(
    ways,
    [
        ("x", "•#1", 2, 5),
        ("•#1", "+#1", 2, 5 / 2),
        ("•#1", "f#1", 2, 5 / 2),
        ("f#1", "+#1", 1, 5 / 2),
        ("+#1", "•#2", 3, 5 / 2),
        ("•#2", "+#2", 3, 1),
        ("•#2", "f#2", 3, 3 / 2),
        ("f#2", "+#2", 9 / 4, 1),
        ("+#2", "z", 21 / 4, 1),
    ],
)
plt.show()

# %% [markdown] tags=["en", "alt"]
# A chain from x = 2 to z = 21/4 through two residual connections, each with a direct edge and a way through f. The
# gradient is 1 at z, 5/2 between the two and 5 at x; at each dot the gradients of the two ways add up.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative**, with the `gradient_check` of 2.0, for random inputs and a random gradient
# of the output:

# %%
rng = np.random.default_rng(0)
inputs = {"x": rng.normal(size=(2, 3, 8)), "weight": rng.normal(size=8), "bias": rng.normal(size=8)}
style.show_check(minigpt2.gradient_check(layer_norm_forward, layer_norm_backward, inputs))
streams = {"x": rng.normal(size=(2, 3, 8)), "y": rng.normal(size=(2, 3, 8))}
style.show_check(minigpt2.gradient_check(residual_forward, residual_backward, streams))

# %% [markdown] tags=["en"]
# The check must be able to fail. A common mistake is to forget that the mean and rstd depend on $x$ too, and
# to write $dx = \mathrm{rstd}\cdot d\hat x$. The parameters' gradients are then still right, and $dx$ is not:


# %%
def forgetful_backward(dy, cache):
    """Layer norm's backward pass, wrong: mean and rstd taken for constants."""
    _, dweight, dbias = layer_norm_backward(dy, cache)
    return dy * cache["weight"] * cache["rstd"], dweight, dbias


style.show_check(minigpt2.gradient_check(layer_norm_forward, forgetful_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation.** The gradient check shows that backward fits forward, not that forward is layer
# normalization. So here are values that PyTorch computed, recorded once in 64-bit floating point.

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
# orders (and, for the experiments below, in two more), with an embedding below and `ln_f` and the output layer above.
# Then we run the whole with the recorded parameters of a tiny GPT-2 and compare with the recorded logits (the scores of
# all tokens that may come next). These were computed by Hugging Face's own GPT-2.


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


def logits_forward(params, ids, n_head, wiring):
    """A whole GPT-2 whose blocks are wired as ``wiring`` says; logits (B, T, V) and a list of caches."""
    x, wte = embedding_forward(ids, params["wte"]["weight"])
    x, wpe = position_forward(x, params["wpe"]["weight"])
    x, blocks = stack_forward(x, params["h"], n_head, wiring)
    x, ln_f = layer_norm_forward(x, **params["ln_f"])
    logits, head = unembedding_forward(x, params["wte"]["weight"])
    return logits, [wte, wpe, blocks, ln_f, head]


reference = recorded("gpt2")
ids, params = reference["inputs"]["ids"], reference["inputs"]["params"]
config = minigpt2.GPT2Config(**CASES["gpt2"].options["config"])
logits, _ = gpt2_forward(ids, params, config)
style.show_agreement("gpt2_forward of the package", relative_error(logits, reference["y"])[0])
for wiring in ("pre-norm", "post-norm"):
    logits, _ = logits_forward(params, ids, config.n_head, wiring)
    style.show_agreement(wiring, relative_error(logits, reference["y"])[0])

# %% [markdown] tags=["en"]
# The same parameters in the order of 2017 give something quite different.

# %% [markdown] tags=["en"]
# ## 6. What breaks without them?
#
# ### At the start of training
#
# We stack 24 blocks with random parameters in four ways: pre-norm, post-norm, norms without residual connections, and
# neither. The parameters are drawn as GPT-2 draws them: normal random numbers, here with standard deviation
# $1/\sqrt C$, and the last matrix of each sub-layer (`c_proj`) divided by $\sqrt{2\cdot 24}$, for the reason that
# section 3 gave. Where nothing is added this division has no purpose, so *neither* gets a second try without it.
#
# First the backward passes of the wirings of section 5. They are R6 and the chain rule, in the opposite order.


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


# %% [markdown] tags=["en"]
# Then we send a gradient down from the top and measure its size (the square root of the sum of its squares, its
# *norm*) below every block. And on the way up we ask how much the tokens still differ, by the *cosine* of the angle
# between the vectors of two of them: 0 if they are at right angles, 1 if they point the same way.


# %%
C, n_head = 32, 4


def new_params(n_layer, divided=True, seed=0):
    """The parameters of a new GPT-2 for ten symbols; divided: each c_proj by the root of 2 n_layer."""
    config = minigpt2.GPT2Config(
        vocab_size=10, n_positions=16, n_embd=C, n_layer=n_layer, n_head=n_head, initializer_range=C**-0.5
    )
    params = minigpt2.GPT2(config, seed=seed, dtype="float64").params
    for p in params["h"]:
        for sub_layer in ("attn", "mlp"):
            p[sub_layer]["c_proj"]["weight"] *= 1 if divided else np.sqrt(2 * n_layer)
    return params


def cosine_between_tokens(x):
    """Mean cosine of the angle between the vectors of two different tokens of a text; x: (B, T, C)."""
    direction = x / np.linalg.norm(x, axis=-1, keepdims=True)
    cosines = direction @ direction.swapaxes(1, 2)
    return float(cosines[:, ~np.eye(x.shape[1], dtype=bool)].mean())


rng = np.random.default_rng(0)
x, dy = rng.normal(size=(4, 16, C)), rng.normal(size=(4, 16, C))
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3))
looks = {"pre-norm": {"lw": 4, "color": "#9dbfe3"}, "neither, not divided": {"color": "black", "ls": (0, (1, 3))}}
for label in ("pre-norm", "post-norm", "no residual", "neither", "neither, not divided"):
    wiring = label.partition(",")[0]
    y, caches = stack_forward(x, new_params(24, divided=label == wiring)["h"], n_head, wiring)
    _, _, below = stack_backward(dy, caches, wiring)
    sizes = [np.linalg.norm(d) / np.linalg.norm(dy) for d in below]
    left.semilogy(range(1, 25), sizes, label=label, **looks.get(label, {}))
    text = f"{label:20} gradient below block 1, over that at the top: {sizes[0]:7.0e}"
    if wiring != "neither":
        cosines = [cosine_between_tokens(stream) for stream, _, _ in caches]
        right.plot(range(1, 25), cosines, label=wiring, **looks.get(label, {}))
        text += f"   cosine at the top: {cosines[-1]:.2f}"
    print(text)
left.set(xlabel="block, 1 is the lowest", ylabel="norm / norm at the top", title="Gradient of the stream")
left.set_ylim(1e-14, 1e6)
left.legend(loc="lower left", fontsize=8)
right.set(xlabel="block, 1 is the lowest", ylabel="mean cosine", title="Cosine between two tokens", ylim=(-0.05, 1.05))
right.legend(loc="center right", fontsize=8)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two panels over the 24 blocks. Left, the norm of the stream's gradient on a logarithmic scale: pre-norm, post-norm and
# no residual stay between 0.4 and about 20, neither falls out of the picture between blocks 17 and 16, and neither
# without the division rises to some thousands at block 1. Right, the mean cosine between tokens: without residual
# connections it goes to 1 within seven blocks, with pre-norm and post-norm it stays below 0.2.

# %% [markdown] tags=["en"]
# Read it from the worst to the best.
#
# - With **neither** norms nor residual connections everything depends on the size of the weights, as the product
#   $a\,b\,c\cdots$ promised. The smaller ones make the gradient die on its way down (where the line leaves the picture,
#   it continues to fall), the larger ones make it explode: the dotted black line climbs towards the lowest block.
#   Between the two there is a narrow ridge to balance on, and the higher the stack, the narrower it is.
# - With norms but **no residual** connections the gradient survives: rstd divides by the size of the vector, and so a
#   vector that the sub-layers have shrunk is stretched again. But look at the right-hand side. After a few blocks all
#   tokens point the same way, because attention averages over tokens and nothing brings their differences back. (With
#   the feed-forward networks alone the cosine stays below 0.8, with attention alone it goes to 1 as fast.) A model
#   that cannot tell its tokens apart cannot predict which comes next. (Dong, Cordonnier & Loukas 2021, "Attention is
#   not all you need: pure attention loses rank doubly exponentially with depth".)
# - **Pre-norm and post-norm** keep both the gradient and the differences between the tokens. In this picture there is
#   nothing to choose between them.
#
# ### The size of the stream, derived and measured
#
# Section 3 derived $v_0 + 2L\,s^2$ without the division and $v_0 + s^2$ with it. Here $v_0$ is 1. The last column
# solves the first formula for $s^2$, which should not depend on the depth.

# %%
print("blocks   variance at the top: divided   not divided   added by each sub-layer, not divided")
for n_layer in (2, 8, 24):
    tops = [stack_forward(x, new_params(n_layer, d)["h"], n_head, "pre-norm")[0].var() for d in (True, False)]
    print(f"{n_layer:6} {tops[0]:29.1f} {tops[1]:13.1f} {(tops[1] - x.var()) / (2 * n_layer):22.1f}")

# %% [markdown] tags=["en"]
# It hardly does: a sub-layer adds a variance of about 1. With the division the variance at the top is 2 at every depth,
# without it it grows in proportion to the depth.
#
# ### The gradients of the parameters
#
# Training changes parameters, and so far we have looked at the gradients of the stream. Now we put the stack into a
# whole model, with an embedding below, `ln_f` and a loss above, and take the norm of the gradient of all parameters of
# attention and feed-forward network, block by block. The task is one that you can do in your head, the Fibonacci
# numbers modulo 10: every digit is the last digit of the sum of the two before it, as in 2 5 7 2 9 1 0 1 1. The first
# two digits are random.


# %%
def batch(rng, B=16, T=8):
    """ids, targets (B, T): Fibonacci numbers modulo 10; the second digit of a row cannot be known: -100."""
    digits = np.empty((B, T + 1), int)
    digits[:, :2] = rng.integers(0, 10, (B, 2))
    for t in range(2, T + 1):
        digits[:, t] = (digits[:, t - 1] + digits[:, t - 2]) % 10
    targets = digits[:, 1:].copy()
    targets[:, 0] = -100
    return digits[:, :-1], targets


def loss_and_grads(params, ids, targets, wiring):
    """The loss of a GPT-2 whose blocks are wired as ``wiring`` says, and the gradients of its parameters."""
    logits, (wte, wpe, caches, ln_f, head) = logits_forward(params, ids, n_head, wiring)
    loss, loss_cache = cross_entropy_forward(logits, targets)

    dx, dhead = unembedding_backward(cross_entropy_backward(1.0, loss_cache), head)
    dx, *dln_f = layer_norm_backward(dx, ln_f)
    dx, dblocks, _ = stack_backward(dx, caches, wiring)
    dx, dwpe = position_backward(dx, wpe)
    return float(loss), {
        "wte": {"weight": dhead + embedding_backward(dx, wte)},  # used at the bottom and at the top: R6
        "wpe": {"weight": dwpe},
        "h": dblocks,
        "ln_f": dict(zip(("weight", "bias"), dln_f, strict=True)),
    }


# %%
def block_norms(wiring, divided, models=4):
    """Norm of the gradient of each block's attention and mlp, for a few new models; (models, 24)."""
    norms = np.zeros((models, 24))
    for seed in range(models):
        ids, targets = batch(np.random.default_rng(seed))
        _, grads = loss_and_grads(new_params(24, divided, seed), ids, targets, wiring)
        for i, block in enumerate(grads["h"]):
            arrays = minigpt2.flatten({"attn": block["attn"], "mlp": block["mlp"]}).values()
            norms[seed, i] = np.sqrt(sum(float((a * a).sum()) for a in arrays))
    return norms


figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.3), sharey=True)
print("smallest and largest of four models   block 1            block 24")
for axis, divided in zip(axes, (True, False), strict=True):
    title = "c_proj divided" if divided else "c_proj not divided"
    for wiring in ("pre-norm", "post-norm", "no residual", "neither"):
        norms = block_norms(wiring, divided)
        (line,) = axis.semilogy(range(1, 25), np.exp(np.log(norms).mean(axis=0)), label=wiring)
        if wiring in ("pre-norm", "post-norm"):
            band = norms.min(axis=0), norms.max(axis=0)
            axis.fill_between(range(1, 25), *band, color=line.get_color(), alpha=0.2, lw=0)
        ends = (f"{norms[:, i].min():9.0e}{norms[:, i].max():9.0e}" for i in (0, 23))
        print(f"{title:18} {wiring:11}", *ends)
    axis.set(xlabel="block, 1 is the lowest", title=title, ylim=(1e-2, 1e2))
axes[0].set_ylabel("norm of the parameters' gradient")
axes[1].legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two panels, the norm of the parameters' gradient over the 24 blocks, on a logarithmic scale. Left, with the division:
# pre-norm lies a little above post-norm and meets it at the top, no residual is above both, neither falls out of the
# picture just below the top. Right, without it: pre-norm falls with the height of the block, post-norm lies clearly
# above it near the top, and its band of four models is widest at the bottom.

# %% [markdown] tags=["en"]
# Lines are geometric means over four new models, bands go from the smallest to the largest.
#
# On the left, with the division, the gradient dies in the stack with neither and is large in the one without residual
# connections. (It dies because the stream does: it leaves that stack with a size of $10^{-41}$, far too small for
# `ln_f`, whose `eps` stands in the way, to bring it back to size. On the right, where the stream does not shrink,
# neither has gradients of much the same size in all blocks.) Pre-norm and post-norm are within a factor of about four
# of each other, and near the top they are alike. On the right, without the division, they differ. **Near the top the
# parameters of post-norm have gradients several times as large as those of pre-norm**: the smallest of four is larger
# than the largest. One reason has just been derived: without the division the stream of pre-norm grows with the depth,
# `ln_f` divides by its size, and so it divides the gradient that comes down. And with post-norm, how much arrives at
# the bottom differs widely from model to model: there is a factor of more than ten between the four. Xiong et al. 2020,
# "On Layer Normalization in the Transformer Architecture", derive it for weights drawn without such a division: with
# post-norm the gradients near the top are large at the start, with pre-norm they get smaller with the depth.
#
# ### During training
#
# Let us train. A model that gives each of the ten digits the same chance has a loss of $\ln 10 = 2.30$ nats (units of
# the natural logarithm), a model that has learned the rule a loss of 0. All models see the same batches, with the same
# learning rate from the first step to the last.


# %%
def train(n_layer, wiring, divided=True, warm_up=0, steps=120, lr=5e-3, seed=0):
    """Train a new model; the mean loss of its last 20 steps. warm_up: steps in which the learning rate rises to lr."""
    params = new_params(n_layer, divided, seed)
    optimizer = minigpt2.AdamW(params, lr=lr)
    rng, losses = np.random.default_rng(0), []
    for step in range(steps):
        optimizer.lr = lr * min(1.0, (step + 1) / warm_up) if warm_up else lr
        loss, grads = loss_and_grads(params, *batch(rng), wiring)
        optimizer.step(grads, max_norm=1.0)
        losses.append(loss)
    return np.mean(losses[-20:])


depths = {"pre-norm": (1, 3, 6), "post-norm": (1, 3, 6), "no residual": (1, 3)}
final = {wiring: [train(n_layer, wiring) for n_layer in numbers] for wiring, numbers in depths.items()}
print("blocks      ", *(f"{n:>5}" for n in depths["pre-norm"]))
for wiring, losses in final.items():
    print(f"{wiring:12}", *(f"{loss:5.1f}" for loss in losses))

figure, axes = plt.subplots(figsize=(6.5, 3.2))
for (wiring, losses), marker in zip(final.items(), "os^", strict=True):
    axes.plot(depths[wiring], losses, marker=marker, label=wiring)
axes.axhline(np.log(10), color="0.6", lw=1, ls=":", label="ln 10")
axes.set(xlabel="blocks", ylabel="loss after 120 steps (nats)", title="Depth and loss", xticks=depths["pre-norm"])
axes.set(xlim=(0.8, 6.2), ylim=(0, 2.6))
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown] tags=["en", "alt"]
# The loss after 120 steps over one, three and six blocks. Pre-norm is lowest with three and six, 0.2 and 0.6. Post-norm
# is at 1.3, 1.6 and 2.1; no residual begins at 0.1 and is at 2.0 with three, not far below the dotted line, ln 10.

# %% [markdown] tags=["en"]
# A single block gets by without residual connections. Three of them have learned little: their loss is near that of
# equal chances. With pre-norm three blocks learn as fast as one, and six not much more slowly. Post-norm is behind it
# everywhere, and six blocks have hardly begun, *at this learning rate*.
#
# Can the gradients of the parameters be the reason? Here they cannot be the whole of it: these models have the
# division, and with it the two wirings had much the same gradients. So let us train post-norm without it too. And let
# us try the remedy with which the Transformer of 2017 was trained (section 5.3 of its paper): begin with tiny steps and
# lengthen them slowly, which is called **warm-up**.

# %%
print("6 blocks                 constant   warm-up over 90 steps")
for divided in (True, False):
    constant = final["post-norm"][-1] if divided else train(6, "post-norm", divided)
    title = f"post-norm, {'' if divided else 'not '}divided"
    print(f"{title:24}{constant:9.1f} {train(6, 'post-norm', divided, warm_up=90):14.1f}")

# %% [markdown] tags=["en"]
# Warm-up helps post-norm, with and without the division, though it stays behind pre-norm. (The same four numbers with
# `seed=1`: 1.8 and 1.6, 2.1 and 1.5; with `seed=2`: 2.3 and 1.7, 2.2 and 1.2.) Pre-norm is at 0.6 without any: this is
# the advice of Xiong et al., that warm-up can be omitted with pre-norm, and a practical advantage of GPT-2's order.
# (Its authors give no reason for it; they refer to He et al. 2016, quoted in section 3.)
#
# Their explanation, the large gradients near the top, is visible above where nothing is divided. It cannot be the whole
# of it here: with the division there are none, and post-norm fares badly and needs the warm-up all the same. Question 4
# tries shorter steps.
#
# The experiment is limited: one small task, one learning rate, and few seeds.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What gradient does `residual_backward` return for `x`, and what for `y`? Why must nobody change one of them in
#    place? *Hint: its docstring.*
#
#    <details><summary>Answer</summary>
#
#    For both it returns `dz` itself, not copies. They are one array with two names: whoever writes
#    `dy *= 2` has also doubled `dx`, and the `dz` that the layer above may still need.
#
#    </details>
#
# 2. In the example by hand, `dx` adds up to 0. Show from step 6 that it does so for every input.
#    *Hint: sum over $j$; what is the sum of $\hat x_j$?*
#
#    <details><summary>Answer</summary>
#
#    Write $m = \frac1C\sum_c d\hat x_c$ and $k = \frac1C\sum_c d\hat x_c\,\hat x_c$. Neither depends on $j$, so
#    $\sum_j dx_j = \mathrm{rstd}\,\bigl(\sum_j d\hat x_j - C\,m - k\sum_j \hat x_j\bigr)$.
#    The first two terms cancel, because $C\,m$ is the sum of all $d\hat x_c$. And
#    $\sum_j\hat x_j = \mathrm{rstd}\sum_j (x_j - \mathrm{mean}) = 0$, because deviations from a mean add up to 0. So
#    nothing is left, for any `eps`.
#
#    </details>
#
# 3. Multiply `x` by 10 before `layer_norm_forward`. What happens to `y`, and what happens to `dx`? Predict first, then
#    try. *Hint: which of the two still contains rstd?*
#
#    <details><summary>Answer</summary>
#
#    The mean and the deviations become ten times as large, rstd a tenth (but for `eps`), so $\hat x$ and $y$ stay the
#    same. In $dx = \mathrm{rstd}\cdot(\dots)$ the bracket stays the same and rstd is a tenth, so $dx$ is a tenth. With
#    `eps` $=10^{-5}$ and inputs of size 1 this holds to about one part in $10^5$.
#
#    </details>
#
# 4. Predict the last picture for another seed of the model, then for `lr=5e-4`, and for `lr=5e-4, steps=480`. Then run
#    it. *Hint: does post-norm fail because of the number of blocks, or because of the steps?*
#
#    <details><summary>Answer</summary>
#
#    Losses for one, three and six blocks, in this order; the last two rows for three and six:
#
#    | | pre-norm | post-norm | no residual |
#    |---|---|---|---|
#    | `seed=1` | 0.13, 0.11, 0.64 | 0.64, 1.47, 1.81 | 0.12, 1.87 |
#    | `seed=2` | 0.20, 0.14, 0.49 | 1.08, 1.62, 2.30 | 0.25, 1.83 |
#    | `lr=5e-4` | 1.44, 1.00 | 2.19, 1.95 | |
#    | `lr=5e-4, steps=480` | 0.02, 0.01 | 0.20, 0.05 | |
#
#    Another seed changes little in the picture. With steps of a tenth, and four times as many, post-norm learns the
#    rule with six blocks as well: the wiring can learn it, but not with such long steps. (And with short steps more
#    blocks are *better*.)
#
#    </details>
#
# 5. Without `ln_f` the logits of the built-in model would be computed from the stream as it is. Would its most likely
#    next token change? *Hint: `minigpt2.trace` has both `h.3.resid_post` and `ln_f`; the weights of `ln_f` differ from
#    channel to channel, and it has a bias.*
#
#    <details><summary>Answer</summary>
#
#    For 6 of the 16 tokens of our line it changes. The normalization itself is not the cause: it divides all logits of
#    a token by the same number, and the mean, which it subtracts, makes no difference to the favourite for any of the
#    16. Nor are the weights (1.26 to 1.73): with them, but without the bias, the same number of favourites differ from
#    the model's own. It is the bias ($-0.29$ to $0.32$): with it, but without the weights, a single one does. The
#    *probabilities* change for all tokens, since the size of the vector decides how sure the softmax is.
#
#    </details>
#
# Sub-layers that add to one stream, and norms that read it: that is the frame. What follows is about training it.
#
# **Next:** [2.5.6, dropout](2_5_6_dropout.ipynb)
