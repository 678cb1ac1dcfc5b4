# %% [markdown] tags=["en"]
# # 2.0 工具箱 · The toolbox
#
# A GPT-2 has a dozen kinds of parts, and each needs its gradient. They are all put together from **seven rules**. This
# notebook derives the seven once, so that the others can say "by R2" and go on. Then it takes apart the instrument that
# tests every backward pass in this book, `gradient_check`.
#
# You need Python, NumPy and the chain rule from school. The words:
#
# - The **loss** is one number that says how bad a model's predictions are. Its **parameters** are the numbers that
#   training changes.
# - The **forward pass** computes the loss from the parameters and the data, step by step. The **backward pass** walks
#   the same steps from the end to the beginning, and finds how the loss depends on each number on the way.
# - One convention for the whole book: **for any number $z$ in the model, $dz$ is short for the derivative of the loss
#   with respect to it**, $\partial\,\mathrm{loss} / \partial z$, in the code `dz`. It is called the **gradient** of
#   $z$. (So $dz$ is no tiny piece of $z$; a tiny number is called $\varepsilon$.) For an array it is an array **of the
#   same shape**.
# - Vectors are **rows**: `x` has shape `(N, I)` for $N$ vectors of $I$ numbers. $\delta_{ij}$ is 1 if $i = j$, else 0.
#
# **Exercise:** [4, linear layer and GELU](../exercises/student/04_linear_and_gelu.ipynb) is the first one that wants a
# backward pass from you.

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py and graphs.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2 import gradcheck
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.reference import relative_error

style.use()
rng = np.random.default_rng(0)

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document has no such section. It says of the training (2.2) 通过迭代更新模型参数，以最小化损失函数的方法, "by
# updating the parameters of the model again and again, in order to minimize the loss function", and of GPT-2 (1)
# GPT-2模型的设计灵活、模块化、可微, "the design of GPT-2 is flexible, modular and differentiable". It does not say how
# one knows in which direction to update, nor what *modular* and *differentiable* have to do with each other.
#
# Both words are right, and they belong together. Differentiable: each step of the forward pass has a derivative with
# respect to each of its numbers (except the token ids, which are integers). Modular: the derivative of the whole is put
# together from those of the steps, and no step needs to know what its neighbours are. Section 2 shows how.
#
# ## 2. The idea
#
# Here is a small computation in which all of this happens, $y = (x + w)\cdot x$ at $x = 2$, $w = 1$. Above each
# edge stands the number that travels along it, from left to right. The numbers below the edges are found from right to
# left: **how much does $y$ grow, per unit, if the number above grows?**

# %%
x, w = 2.0, 1.0
s = x + w
y = s * x
ds, dx_factor = x, s  # of a product: each factor gets the other one
dw, dx_term = ds, ds  # of a sum: both terms get what the sum got
dx = dx_factor + dx_term  # used twice: add
graphs.draw(
    {"x": (0, 1), "w": (1, -1), "•": (1, 1), "+": (2, 0), "×": (3, 1), "y": (4, 1)},
    [
        ("x", "•", x, dx), ("w", "+", w, dw), ("•", "+", x, dx_term),
        ("+", "×", s, ds, "s"), ("•", "×", x, dx_factor), ("×", "y", y, 1),
    ],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# A graph: x = 2 splits at a dot; one copy and w = 1 enter a plus node with the result 3, which is multiplied by the
# other copy of x to y = 6. Gradients below the edges, from the right: y 1, the sum 2, the copies of x 3 and 2, w 2, and
# x itself 5.

# %% [markdown] tags=["en"]
# Read it from the right. $y$ grows with itself at the rate 1. In the product each factor grows the result at the rate
# of the *other* factor: 2 for $s$, 3 for $x$. The sum hands on what it got, 2, to both of its terms. And $x$ acts on
# two ways, so its gradient is $3 + 2 = 5$. School agrees: $y = x^2 + wx$ has the derivative $2x + w = 5$.
#
# **Every node does the same small thing**: it is handed the gradient of its output, the *upstream gradient*,
# multiplies it by its own derivative, and hands the result to its inputs. The rest of the graph is none of its
# business. One walk from right to left finds *all* gradients. To find them from left to right one would have to move
# each number in turn and compute everything again, once per parameter: the smallest GPT-2 has 124 million.
#
# ## 3. The mathematics
#
# ### Jacobian and vector-Jacobian product
#
# Let a step compute the numbers $y_j$ from the numbers $x_i$ (arrays, laid out in one row each). A tiny change
# $\varepsilon$ of $x_i$ changes $y_j$ by $\varepsilon\,\partial y_j/\partial x_i$, and each of these changes the loss
# at the rate $dy_j$. The changes add up. This is the **chain rule** of the backward pass, all of it:
#
# $$dx_i = \sum_j dy_j\,\frac{\partial y_j}{\partial x_i} = \sum_j dy_j\,J_{ji}, \qquad\text{or}\qquad dx = dy\;J .$$
#
# The matrix $J_{ji} = \partial y_j / \partial x_i$ is called the step's **Jacobian**, and $dy\,J$ a **vector-Jacobian
# product** (VJP). A backward pass is a function that computes this product. **It never builds the Jacobian**, for two
# reasons:
#
# - *It is huge and mostly empty.* The first linear layer of the smallest GPT-2's feed-forward network turns 1024
#   vectors of 768 numbers into 1024 of 3072. Its Jacobian has a number for each pair: see the next cell. Only one in
#   1024 of them is not zero, since a token acts only on itself.
# - *It is not needed.* For three steps $dx = dy\,J_3 J_2 J_1$. Computed from the left, each step is a vector times a
#   matrix; from the right, it would be a matrix times a matrix. The loss is *one* number, so from the left it is.

# %%
tokens, n_in, n_out = 1024, 768, 3072
jacobian = (tokens * n_in) * (tokens * n_out)
print(f"numbers in the Jacobian {jacobian:,}, in float32 {4 * jacobian / 1e12:.1f} TB; numbers in W {n_in * n_out:,}")
n = 1000
print(f"three Jacobians of 1000 x 1000: multiplications from the left {3 * n**2:,}, from the right {2 * n**3 + n**2:,}")

# %% [markdown] tags=["en"]
# ### A derivative by its definition
#
# To test the rules as we go, we need the left side of the chain rule without any rule. A derivative is how much the
# result changes per change of the input. So: move one number up and down by a small step, and divide. (How small, and
# why up *and* down, is the subject of section 5.) The output is an array, so we take the one number
# $\sum_j dy_j\,y_j$ with some given $dy$. Its derivative with respect to $x_i$ is $\sum_j dy_j J_{ji}$, just the
# vector-Jacobian product.


# %%
def differences(f, x, dy, step=1e-5):
    """The gradient of sum(dy * f(x)) for an array x, number by number."""
    dx = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        dx[i] = ((dy * f(up)).sum() - (dy * f(down)).sum()) / (2 * step)
    return dx


def test(name, dx, f, x, dy):
    """Print whether dx is the gradient of x, when y = f(x) and the upstream gradient is dy."""
    style.show_agreement(f"{name} {dx.shape}", relative_error(dx, differences(f, x, dy))[0], 1e-8)


# %% [markdown] tags=["en"]
# ### R1. Sum and broadcast
#
# **A sum hands its gradient to all its terms. What was copied to many places gets the sum of their gradients.**
#
# - Sum: $y_n = \sum_i x_{ni}$. Then $\partial y_m/\partial x_{ni} = \delta_{mn}$, so
#   $dx_{ni} = \sum_m dy_m\,\delta_{mn} = dy_n$: shape `(N,)` becomes `(N, I)` by copying. A mean over $I$ numbers has
#   $1/I$ in addition.
# - Broadcast, as a bias does: $y_{ni} = b_i$ for every $n$. Then $\partial y_{nj}/\partial b_i = \delta_{ij}$, and
#   $db_i = \sum_n dy_{ni}$: shape `(N, I)` becomes `(I,)` by summing.
#
# Each is the other's backward pass. So wherever NumPy has broadcast in the forward pass, sum over that axis in the
# backward pass; if you forget it, the shapes of $b$ and $db$ differ.

# %%
x, b, dy = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(4, 3))
test("sum over i", np.broadcast_to(dy[:, :1], x.shape), lambda x: x.sum(axis=1, keepdims=True), x, dy[:, :1])
test("broadcast over n", dy.sum(axis=0), lambda b: x + b, b, dy)

# %% [markdown] tags=["en"]
# ### R2. Matrix product
#
# **Each factor gets the upstream gradient times the other factor, transposed.** Shapes: $x$ is `(N, I)`, $W$ is
# `(I, O)`, $y$ is `(N, O)`.
#
# $$y_{no} = \sum_i x_{ni} W_{io}: \qquad \frac{\partial y_{mo}}{\partial x_{ni}} = \delta_{mn}\,W_{io}, \qquad
#   \frac{\partial y_{np}}{\partial W_{io}} = x_{ni}\,\delta_{op} .$$
#
# Put into the chain rule, the $\delta$ cancel one sum each and leave the other:
#
# $$dx_{ni} = \sum_o dy_{no}\,W_{io}, \quad dx = dy\;W^\top; \qquad
#   dW_{io} = \sum_n x_{ni}\,dy_{no}, \quad dW = x^\top dy .$$
#
# No need to learn it by heart: of the possible products of $dy$ and $W$, the shapes `(N, O)` and `(I, O)` allow only
# one that is `(N, I)`, if the three numbers differ. One product forward, two backward: a backward pass costs about
# twice the forward pass. With more axes in front (`(B, H, T, D)` in attention) the same holds for each $b$ and $h$; a
# factor that all of them share, as $W$ is shared by all tokens, gets the sum over them (R1).

# %%
x, W, dy = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=(4, 2))
test("left factor", dy @ W.T, lambda x: x @ W, x, dy)
test("right factor", x.T @ dy, lambda W: x @ W, W, dy)

# %% [markdown] tags=["en"]
# ### R3. Elementwise
#
# **Multiply by the slope, number by number.** $y_i = f(x_i)$ has $\partial y_j/\partial x_i = \delta_{ij} f'(x_i)$, a
# Jacobian with numbers on its diagonal only, and $dx_i = dy_i\,f'(x_i)$. So for a product of two arrays of the same
# shape, $y = a\cdot b$: $\;da = dy\cdot b$ and $db = dy\cdot a$. (If one of them was broadcast, R1 comes after it.)

# %%
a, b, dy = rng.normal(size=(3, 4, 2))
test("tanh", dy * (1 - np.tanh(a) ** 2), np.tanh, a, dy)
test("a in a * b", dy * b, lambda a: a * b, a, dy)

# %% [markdown] tags=["en"]
# ### R4. Reshape and transpose
#
# **Put every gradient back to where its number came from.** These steps compute nothing, they move numbers:
# $y_{\pi(i)} = x_i$ for a permutation $\pi$ of the places. So $\partial y_j/\partial x_i = \delta_{j\pi(i)}$ and
# $dx_i = dy_{\pi(i)}$: the inverse move. For `reshape` that is the reshape to the old shape, for `transpose(axes)` the
# transpose with the inverse order, `np.argsort(axes)`. Concatenating and splitting are each other's inverse too.
# (Attention's heads come and go in this way, 2.5.3.)

# %%
x, dy = rng.normal(size=(4, 6)), rng.normal(size=(2, 4, 3))
test("to heads", dy.transpose(1, 0, 2).reshape(4, 6), lambda x: x.reshape(4, 2, 3).transpose(1, 0, 2), x, dy)

# %% [markdown] tags=["en"]
# ### R5. Gather and scatter-add
#
# **What was fetched from a table is added back to its row.** $y_{nc} = E_{k_n c}$: the $n$-th output is row number
# $k_n$ of the table $E$. So $\partial y_{nc}/\partial E_{vc} = \delta_{v k_n}$, and
#
# $$dE_{vc} = \sum_n \delta_{v k_n}\,dy_{nc} = \sum_{n\,:\,k_n = v} dy_{nc} :$$
#
# a row that was fetched three times gets three gradients, added; one that was not fetched gets 0. In NumPy `np.add.at`
# does it. `dE[ids] += dy` does not: with a row number that occurs twice it keeps only the last one (2.5.1).

# %%
E, ids, dy = rng.normal(size=(5, 2)), np.array([3, 0, 3]), rng.normal(size=(3, 2))
dE, wrong = np.zeros_like(E), np.zeros_like(E)
np.add.at(dE, ids, dy)
wrong[ids] += dy
test("np.add.at", dE, lambda E: E[ids], E, dy)
test("dE[ids] += dy", wrong, lambda E: E[ids], E, dy)

# %% [markdown] tags=["en"]
# ### R6. Used twice: add
#
# **A number that acts on several ways gets the sum of what comes back on them.** Let $u = f(x)$ and $v = g(x)$ both go
# into the loss. All of their numbers together are the output, so the sum of the chain rule runs over both:
#
# $$dx_i = \sum_j du_j\,\frac{\partial u_j}{\partial x_i} + \sum_k dv_k\,\frac{\partial v_k}{\partial x_i} .$$
#
# It is R1 once more (a copy for each use). A residual connection $y = x + f(x)$ is the most important case (2.5.5): one
# of the two ways hands $dy$ on unchanged. The tied table, which is used at the bottom and at the top of the model, is
# another (2.5.1).

# %%
x, W, dy = rng.normal(size=(4, 3)), rng.normal(size=(3, 3)), rng.normal(size=(4, 3))
test("x + x W", dy + dy @ W.T, lambda x: x + x @ W, x, dy)

# %% [markdown] tags=["en"]
# ### R7. Normalization
#
# **Subtract a mean of the upstream gradient, then scale.** Softmax and layer normalization divide by something that is
# computed from the same numbers, so each input acts on all outputs.
#
# *Softmax*, $p_j = e^{z_j}/S$ with $S = \sum_i e^{z_i}$. Since $\partial S/\partial z_i = e^{z_i}$, the quotient rule
# gives
#
# $$J_{ji} = \frac{\partial p_j}{\partial z_i} = \frac{\delta_{ij}\,e^{z_j}\,S - e^{z_j}\,e^{z_i}}{S^2}
#   = p_j\,\delta_{ij} - p_j\,p_i, \qquad J = \operatorname{diag}(p) - p^\top p$$
#
# with the row $p$ (books with vectors as columns write $\operatorname{diag}(p) - p\,p^\top$). The product with $dp$ is
# short, and this is what the code computes:
#
# $$dz_i = \sum_j dp_j\,(p_j\,\delta_{ij} - p_j\,p_i) = p_i\,\Bigl(dp_i - \sum_j p_j\,dp_j\Bigr) :$$
#
# subtract the mean of $dp$, weighted with $p$; scale by $p$.
#
# *Layer normalization*, $\hat x_j = (x_j - \mu)/\sigma$ with the mean $\mu$ of $C$ numbers and
# $\sigma^2 = \frac1C\sum_j (x_j-\mu)^2$ (plus the constant `eps`). Here $\partial\mu/\partial x_i = \frac1C$ and
# $\partial\sigma/\partial x_i = \frac{x_i - \mu}{C\sigma} = \frac{\hat x_i}{C}$, so
#
# $$J_{ji} = \frac{\delta_{ij} - \frac1C}{\sigma} - \frac{x_j-\mu}{\sigma^2}\cdot\frac{\hat x_i}{C}
#   = \frac1\sigma\Bigl(\delta_{ij} - \frac1C - \frac{\hat x_i\,\hat x_j}{C}\Bigr), \qquad
#   dx_i = \frac1\sigma\Bigl(d\hat x_i - \overline{d\hat x} - \hat x_i\,\overline{d\hat x\cdot\hat x}\Bigr) ,$$
#
# where a bar is the mean over the channels. **Why a mean is subtracted**: softmax does not change if all $z$ grow by
# the same $\varepsilon$. A direction in which nothing changes has the derivative 0, so $\sum_i dz_i = 0$, and something
# has to make the sum vanish. Layer normalization ignores shift and scale: two directions, two means (its
# scale only if `eps` is 0; the formula holds with any).

# %%
z, dy = rng.normal(size=(2, 4)), rng.normal(size=(2, 4))
p = softmax_forward(z)
dz = p * (dy - (p * dy).sum(axis=-1, keepdims=True))
test("softmax", dz, softmax_forward, z, dy)

x_hat = layer_norm_forward(z, np.ones(4), np.zeros(4), eps=0)[0]
means = dy.mean(axis=-1, keepdims=True), (dy * x_hat).mean(axis=-1, keepdims=True)
dx = (dy - means[0] - x_hat * means[1]) / z.std(axis=-1, keepdims=True)
test("layer normalization", dx, lambda x: layer_norm_forward(x, np.ones(4), np.zeros(4), eps=0)[0], z, dy)
print("sums of dz and dx over a row are 0:", np.allclose(dz.sum(axis=-1), 0), np.allclose(dx.sum(axis=-1), 0))

# %% [markdown] tags=["en"]
# And is that the Jacobian, element for element? An upstream gradient that is 1 at output $j$ and 0 elsewhere picks out
# row $j$ of $J$. With $z = (0, \ln 2, 0)$, thus $p = (\frac14, \frac12, \frac14)$:

# %%
z = np.log([[1.0, 2, 1]])
p = softmax_forward(z)
J = np.array([differences(softmax_forward, z, unit[None])[0] for unit in np.eye(3)])
print("differences", *(" ".join(f"{graphs.number(round(v, 8)):>6}" for v in row) for row in J), sep="\n")
print("equal to diag(p) - p^T p:", np.allclose(J, np.diag(p[0]) - p.T @ p, atol=1e-9))
print("sums of its columns are 0:", np.allclose(J.sum(axis=0), 0, atol=1e-9))

# %% [markdown] tags=["en"]
# ### Who uses what
#
# | rule | forward | backward | met in |
# |---|---|---|---|
# | **R1** sum | $y_n = \sum_i x_{ni}$ | $dx_{ni} = dy_n$ | 2.5.8 mean loss |
# | **R1** broadcast | $y_{ni} = b_i$ | $db_i = \sum_n dy_{ni}$ | 2.5.4 biases, 2.5.2 positions |
# | **R2** product | $y = xW$ | $dx = dy\,W^\top$, $dW = x^\top dy$ | 2.5.4 linear, 2.5.3 scores and mixture, 3.3 LoRA |
# | **R3** elementwise | $y = f(x)$ | $dx = dy\cdot f'(x)$ | 2.5.4 GELU, 2.5.6 dropout, 2.5.5 scale |
# | **R4** reshape, transpose | move | move back | 2.5.3 heads |
# | **R5** gather, scatter-add | $y_n = E_{k_n}$ | $dE_v = \sum_{n:k_n=v} dy_n$ | 2.5.1 embedding, 2.5.8 $-\ln p_t$ |
# | **R6** used twice | $u = f(x)$, $v = g(x)$ | add | 2.5.5 residual, 2.5.1 tied table, 2.3 steps in time |
# | **R7** normalization | softmax, $\hat x$ | subtract a mean, scale | 2.5.3 and 2.5.8 softmax, 2.5.5 layer norm |

# %% [markdown] tags=["en"]
# ## 4. The code
#
# Here is the loop of the library's check, fetched while the notebook was built. `f` is $\sum dy\cdot y$ as a function
# of the array `x`, which is changed number by number and back again. `gradient_check` around it (in the same file)
# draws a random $dy$, calls the backward pass once, and does this for every array among the inputs.

# %%
style.show_source(gradcheck._check_input)

# %% [markdown] tags=["en"]
# ### By hand
#
# Four rules in one small network: two tokens fetch their rows from a table $E$ (both fetch row 1, counted from 0), a
# matrix $W$ is applied and a bias added, and a residual connection leads around it. Take a pencil, and go from right to
# left.

# %%
E, ids = np.array([[1.0, 0], [1, 2], [0, 3]]), np.array([1, 1])
W, b = np.array([[1.0, 0], [-1, 2]]), np.array([0.0, 1])
dy = np.array([[1.0, 0], [1, -1]])

x = E[ids]
h = x @ W
y = x + (h + b)

dh, db = dy, dy.sum(axis=0)  # R1
dx_branch, dW = dh @ W.T, x.T @ dh  # R2
dx = dy + dx_branch  # R6
dE = np.zeros_like(E)
np.add.at(dE, ids, dx)  # R5

graphs.draw(
    {"E": (0, 1), "E[1, 1]": (1, 1), "•": (2, 1), "matmul": (3, 0), "W": (2, -1), "+": (4, 0), "b": (3, -1),
     "+#2": (5, 1), "y": (6, 1)},
    [("E", "E[1, 1]", E, dE), ("E[1, 1]", "•", x, dx), ("•", "matmul", x, dx_branch), ("W", "matmul", W, dW),
     ("matmul", "+", h, dh), ("b", "+", b, db), ("+", "+#2", h + b, dy), ("•", "+#2", x, dy), ("+#2", "y", y, dy)],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# The graph of the small network. Below its edges, from the right: dy reaches both inputs of the last plus; the bias
# gets the sum of its rows, (2, −1); W gets x transposed times dy; the dot adds dy and the gradient of the branch to dx;
# the table gets the sum of both rows of dx in its middle row and zeros in the two others.

# %% [markdown] tags=["en"]
# The two rows of $dy$ reach the bias as their sum, $db = (2, -1)$ (R1). In $dW = x^\top dy$ both rows of $x$ are
# $(1, 2)$, so the rows of $dW$ are $(2, -1)$ and twice that (R2). At the dot the two ways are added (R6):
# $(1, 0) + (1, -1) = (2, -1)$ for the first token. And both tokens fetched row 1, so the table gets both gradients
# there, $(2, -1) + (2, -4) = (4, -5)$, and zeros elsewhere (R5).
#
# ## 5. Is it right?
#
# Here the check itself is what has to be right. We derive it.
#
# ### Up and down, not only up
#
# Taylor's series says what the quotient is off by. For a smooth $f$ and a small step $\varepsilon$
#
# $$f(x\pm\varepsilon) = f(x) \pm \varepsilon f'(x) + \tfrac12\varepsilon^2 f''(x) \pm \tfrac16\varepsilon^3 f'''(x)
#   + \dots$$
#
# $$\text{one-sided:}\quad \frac{f(x+\varepsilon) - f(x)}{\varepsilon} = f'(x) + \tfrac12\,\varepsilon\,f''(x) + \dots
#   \qquad
#   \text{central:}\quad \frac{f(x+\varepsilon) - f(x-\varepsilon)}{2\varepsilon}
#   = f'(x) + \tfrac16\,\varepsilon^2 f'''(x) + \dots$$
#
# In the central quotient all even terms cancel. Its **truncation error** falls with the *square* of the step: a step
# ten times smaller makes it a hundred times smaller.
#
# ### Not too small a step
#
# The computer does not know $f$ exactly. It rounds, by a share of at most about $u = 2^{-53} \approx 10^{-16}$ in
# float64, so each of the two values is off by about $u\,|f|$. The quotient divides that by the step: the **rounding
# error** is about $u\,|f|/\varepsilon$, and *grows* when the step shrinks. The sum of both errors,
#
# $$\tfrac16\,\varepsilon^2\,|f'''| + \frac{u\,|f|}{\varepsilon},$$
#
# is least where its derivative is 0, $\tfrac13\,\varepsilon\,|f'''| = u\,|f|/\varepsilon^2$, thus
# $\varepsilon = \sqrt[3]{3u\,|f|/|f'''|}$. If $f$ and $f'''$ are of about the same size, this is
# $7\cdot10^{-6}$. The library takes **$10^{-5}$**. (One-sided, the best step is about $\sqrt u = 10^{-8}$, and the
# error there about $10^{-8}$, against $10^{-11}$.) Let us see it, with $f(x) = 1/(1+x^2)$ at $x = 0.7$, whose
# derivatives are known:


# %%
def f(x):
    return 1 / (1 + x * x)


def errors_at(step, x):
    """How far the one-sided and the central quotient at x are from the derivative."""
    exact = -2 * x / (1 + x * x) ** 2
    return abs((f(x + step) - f(x)) / step - exact), abs((f(x + step) - f(x - step)) / (2 * step) - exact)


x = 0.7
third = 24 * x * (1 - x**2) / (1 + x**2) ** 4
print(f"best central step by the formula {(3 * 2.0**-53 * f(x) / third) ** (1 / 3):.1e}")
print("step    one-sided   central   central, float32")
for step in (1e-2, 1e-5, 1e-8):
    one, two = errors_at(step, x)
    print(f"{step:.0e}   {one:9.0e} {two:9.0e} {errors_at(np.float32(step), np.float32(x))[1]:18.0e}")

steps = np.logspace(-13, 0, 105)
one_sided, central = errors_at(steps, x)
_, single = errors_at(steps.astype(np.float32), np.float32(x))
figure, axes = plt.subplots(figsize=(6.8, 3.6))
axes.loglog(steps, central, label="central")
axes.loglog(steps, one_sided, label="one-sided")
axes.loglog(steps, single, label="central, float32")
axes.loglog(steps, steps**2 * third / 6, color="0.6", ls=":", lw=1)
axes.loglog(steps, 2.0**-53 * f(x) / steps, color="0.6", ls=":", lw=1)
axes.axvline(1e-5, color="0.4", ls="-", lw=0.8)
axes.text(1.3e-5, 2e-2, "step of gradient_check", color="0.3")
axes.text(4e-3, 2e-8, r"$\varepsilon^2 f''' / 6$", color="0.4")
axes.text(2e-11, 1e-9, r"$u f / \varepsilon$", color="0.4")
axes.set(xlabel=r"step $\varepsilon$", ylabel="error of the derivative", ylim=(1e-15, 10))
axes.legend(loc="lower left")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Error of the quotient against the step on logarithmic axes, three curves shaped like a V or U. The central one falls
# along the square of the step from the right to its lowest point, near 1e-11, at a step of about 1e-5, and rises with
# noise to the left, along u f / step. The one-sided one is lowest, between 1e-9 and 1e-8, at steps near 1e-8;
# float32 never gets below 1e-6; it comes nearest to it at steps between 1e-3 and 1e-2.

# %% [markdown] tags=["en"]
# Both dotted lines are the formulas above, and the curve follows the one, then the other. It also shows why
# `gradient_check` refuses float32: with $u = 6\cdot10^{-8}$ the best step is near $5\cdot10^{-3}$, and even there the
# error is above the tolerance of $10^{-6}$, but for a lucky step here and there.
#
# And with real components? The library's check, run with different steps. Its error is the largest difference between
# backward pass and quotient, relative to the largest gradient of that input (but to $10^{-3}$ at least, so that a
# gradient which *is* zero is not divided by zero).

# %%
def softmax_with_cache(z):
    """As gradient_check wants it: the result, and what the backward pass needs."""
    return (softmax_forward(z),) * 2


x, weight, bias = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=4)
cases = {
    "linear": (linear_forward, linear_backward, (x, rng.normal(size=(4, 4)), bias)),
    "softmax": (softmax_with_cache, softmax_backward, (x,)),
    "layer norm": (layer_norm_forward, layer_norm_backward, (x, weight, bias)),
}
steps = np.logspace(-12, 0, 25)
figure, axes = plt.subplots(figsize=(6.8, 3.2))
for name, (forward, backward, inputs) in cases.items():
    errors = [minigpt2.gradient_check(forward, backward, inputs, step=step).max_error for step in steps]
    axes.loglog(steps, errors, label=name)
    verdicts = [f"step {steps[i]:.0e} {'passed' if errors[i] < 1e-6 else 'FAILED'}" for i in (0, 14, 24)]
    print(f"{name:11}", *verdicts, sep="   ")
axes.axhline(1e-6, color="0.6", ls=":", lw=1)
axes.text(2e-2, 1.6e-6, "tolerance", color="0.3")
axes.axvline(1e-5, color="0.4", ls="-", lw=0.8)
axes.text(1.3e-5, 3e-2, "step", color="0.3")
axes.set(xlabel=r"step $\varepsilon$", ylabel="largest error", title="gradient_check", ylim=(1e-16, 10))
axes.legend(loc="lower left")
plt.show()

# %% [markdown] tags=["en", "alt"]
# The error that gradient_check reports for three correct components against the step, on logarithmic axes. Softmax and
# layer norm make a U with its lowest point between 1e-6 and 1e-4; linear only falls as the step grows. At the step 1e-5
# all are four decades below the tolerance 1e-6.

# %% [markdown] tags=["en"]
# At the library's step all three are far below its **tolerance, $10^{-6}$**: the noise of a correct backward pass and a
# mistake (0.5 and more for each that is planted in this notebook) are well apart, and there is room for a component
# whose $f'''$ is large. The linear layer has no right half of the U. It is linear in each of its inputs, so $f''' = 0$,
# and even the step 1 is right.
#
# ### Why a random upstream gradient?
#
# A derivative belongs to *one* number, and a component gives an array. So we check the number
# $\sum_j dy_j\,y_j$, and with it one projection of the Jacobian, $dy\,J$. Is that enough? Suppose that the backward
# pass computes $dy\,J'$ with a wrong $J' \ne J$. It goes unnoticed only if $dy\,(J' - J) = 0$, that is, if $dy$ lies in
# a certain plane (a line, a space of fewer dimensions than all). A *random* $dy$ lies there with probability 0.
#
# A *particular* one may. Take the one that comes to mind first, all ones: $\sum_j y_j$. The columns of softmax's
# Jacobian sum to 0, as we saw, which is no wonder: probabilities sum to 1, whatever the scores. So with ones the right
# gradient is 0, and a backward pass that returns zeros is perfect. And a backward pass that mixes up the tokens is not
# noticed either, if each of them is handed the same.


# %%
def zeros(dprobs, probs):
    return np.zeros_like(probs)


def tokens_reversed(dy, cache):
    return linear_backward(dy[::-1], cache)


def is_right(forward, backward, inputs, dy):
    """Does a backward pass agree with differences for this upstream gradient?"""
    numeric = [
        differences(lambda a, k=k: forward(*inputs[:k], a, *inputs[k + 1 :])[0], inputs[k], dy)
        for k in range(len(inputs))
    ]
    gradients = backward(dy, forward(*inputs)[1])
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return all(np.allclose(one, two, atol=1e-7) for one, two in zip(gradients, numeric, strict=True))


print("                          ones    random")
for name, backward, wrong in (("softmax", zeros, "zeros"), ("linear", tokens_reversed, "tokens reversed")):
    forward, right, inputs = cases[name]
    y = forward(*inputs)[0]
    for label, function in (("right", right), (wrong, backward)):
        found = [is_right(forward, function, inputs, dy) for dy in (np.ones_like(y), rng.normal(size=y.shape))]
        print(f"{name:9} {label:15}", *(f"{'passed' if good else 'FAILED':8}" for good in found))

# %% [markdown] tags=["en"]
# ### Does it find a mistake?
#
# A check that cannot fail is worth nothing. In each notebook a typical mistake is planted. Here is one for R7, by
# someone who takes $\sigma$ for a constant and forgets the second mean:


# %%
def forgetful_layer_norm_backward(dy, cache):
    dx_hat = dy * cache["weight"]
    dx = cache["rstd"] * (dx_hat - dx_hat.mean(axis=-1, keepdims=True))
    return dx, (dy * cache["x_hat"]).sum(axis=0), dy.sum(axis=0)


for backward in (layer_norm_backward, forgetful_layer_norm_backward):
    style.show_check(minigpt2.gradient_check(layer_norm_forward, backward, (x, weight, bias)))

# %% [markdown] tags=["en"]
# The two gradients that were not touched are still right: the check says *where* to look.
#
# **What it does not show.** It compares a backward pass with *its own* forward pass. If the forward pass is not that of
# GPT-2 (another GELU, a mask off by one), both agree with each other and are wrong together. So each notebook has a
# second comparison, with values that PyTorch computed and that were recorded once. And it looks at *one* point $x$: a
# mistake that shows only elsewhere, in a branch that was not taken, stays hidden.
#
# ## 6. A whole model
#
# Number by number, the check of a whole model is hopeless: two forward passes per parameter. But the trick with the
# random direction works on the *input* side as well. Move **all** parameters at once, by $\varepsilon$ times a random
# direction $r$. The chain rule says how fast the loss changes along it: at the rate $\sum_i g_i\,r_i$, where $g$ are
# the gradients from one backward pass. Two forward passes check them all at once. (A derivative along a direction is a
# *Jacobian-vector product*, the counterpart of the VJP.) The model is the small one that comes with the package.


# %%
model = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("ROMEO:\nBut soft, what light through yonder window breaks?\n")])
inputs, targets = ids[:, :-1], ids[:, 1:]
parameters = minigpt2.flatten(model.params)
grads = minigpt2.flatten(model.loss_and_grads(inputs, targets)[1])
direction = {name: rng.normal(size=parameter.shape) for name, parameter in parameters.items()}


def slope(step):
    """How fast the loss rises along the direction, by differences."""
    losses = []
    for move in (step, -2 * step):  # up, and from there down
        for name, parameter in parameters.items():
            parameter += move * direction[name]
        losses.append(model.loss(inputs, targets))
    for name, parameter in parameters.items():
        parameter += step * direction[name]
    return (losses[0] - losses[1]) / (2 * step)


promised = {name: (grads[name] * direction[name]).sum() for name in parameters}
found = slope(1e-6)
print(f"parameters {sum(p.size for p in parameters.values()):,} in {len(parameters)} arrays")
print(f"backward, sum of gradient x direction  {sum(promised.values()):.5f}")
print(f"differences                            {found:.5f}")
print(f"relative difference below 1e-8:        {abs(found / sum(promised.values()) - 1) < 1e-8}")

shares = {name: abs(promised[name] / found) for name in promised}
least = min(shares, key=shares.get)
single = np.concatenate([np.abs(grads[name] * direction[name]).ravel() for name in parameters])
print(f"\nsmallest share of an array in the sum  {shares[least]:.1e}  {least}")
print(f"single parameters with a share < 1e-8  {np.mean(single < 1e-8 * abs(found)):.0%}")

# %% [markdown] tags=["en"]
# The two numbers agree to eight digits. So the backward pass of the whole model, in which all seven rules work
# together, is the derivative of its forward pass, as far as one random direction can tell.
#
# How far is that? Forget the gradient of one whole array, and the sum is off by the array's share in it, with this
# direction. Even the smallest share is more than ten thousand times the disagreement: a forgotten array would be seen.
# A single forgotten number out of three million may not be, see the last line. That is why components are checked
# number by number, on small inputs, and the whole model in this way.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. GPT-2's last layer computes $y = x\,W^\top$ with $x$ of shape `(N, C)` and $W$ of shape `(V, C)`. Find $dx$ and
#    $dW$, with indices. *Hint: R2, with other letters. The shapes check you.*
#
#    <details><summary>Answer</summary>
#
#    $y_{nv} = \sum_c x_{nc} W_{vc}$. So $\partial y_{nv}/\partial x_{nc} = W_{vc}$ and
#    $dx_{nc} = \sum_v dy_{nv} W_{vc}$, that is $dx = dy\,W$, `(N, V) @ (V, C)`. And
#    $\partial y_{nv}/\partial W_{vc} = x_{nc}$ for every $n$, so $dW_{vc} = \sum_n dy_{nv}\,x_{nc}$, that is
#    $dW = dy^\top x$, `(V, N) @ (N, C)`. (Or: apply R2 to the factor $W^\top$, $d(W^\top) = x^\top dy$, and transpose
#    back by R4.)
#
#    </details>
#
# 2. A lookup $E_{k_n}$ can be written as a product $P\,E$ with a matrix $P$ that has a single 1 in each row. Show that
#    R2 then gives R5. Why does nobody compute it in this way? *Hint: $P_{nv} = \delta_{v k_n}$.*
#
#    <details><summary>Answer</summary>
#
#    $(PE)_{nc} = \sum_v \delta_{v k_n} E_{vc} = E_{k_n c}$, so it is the lookup. By R2
#    $dE = P^\top dy$, $\;dE_{vc} = \sum_n P_{nv}\,dy_{nc} = \sum_n \delta_{v k_n}\,dy_{nc}$, the sum of R5. But $P$ has
#    $V$ numbers per token, 50,257 in GPT-2, all but one of them 0: the product takes $V$ times as many multiplications
#    as a lookup takes copies.
#
#    </details>
#
# 3. Show for layer normalization with `eps` = 0 that the Jacobian maps two directions to 0: $J\,\mathbf 1^\top = 0$ and
#    $J\,\hat x^\top = 0$. What does it mean for $dx$? *Hint: $\sum_i \hat x_i = 0$ and $\sum_i \hat x_i^2 = C$.*
#
#    <details><summary>Answer</summary>
#
#    With $J_{ji} = \frac1\sigma(\delta_{ij} - \frac1C - \frac{\hat x_i \hat x_j}{C})$:
#    $\sum_i J_{ji} = \frac1\sigma(1 - \frac CC - \frac{\hat x_j}{C}\sum_i\hat x_i) = \frac1\sigma(1 - 1 - 0) = 0$. And
#    $\sum_i J_{ji}\,\hat x_i = \frac1\sigma(\hat x_j - \frac1C\sum_i \hat x_i - \frac{\hat x_j}{C}\sum_i\hat x_i^2)
#    = \frac1\sigma(\hat x_j - 0 - \hat x_j) = 0$. As $dx = d\hat x\,J$, it follows that $\sum_i dx_i = 0$ and
#    $\sum_i dx_i\,\hat x_i = 0$, for every upstream gradient: to shift or to stretch all channels of $x$ changes
#    nothing, so the gradient has no part in these two directions.
#
#    </details>
#
# 4. The ReLU is $\max(x, 0)$, and its backward pass takes the slope at 0 as 0. What does `gradient_check` say at
#    $x = 0$, and is the backward pass wrong? *Hint: put $f(\varepsilon)$ and $f(-\varepsilon)$ into the central
#    quotient.*
#
#    <details><summary>Answer</summary>
#
#    $(\max(\varepsilon, 0) - \max(-\varepsilon, 0))/(2\varepsilon) = \varepsilon/(2\varepsilon) = \frac12$ for every
#    step, so the check reports a mistake of $\frac12\,dy$. Neither is wrong: at 0 there is a kink and no derivative.
#    Every number from 0 to 1 is a fair choice there, and Taylor's series, on which the check rests, does not hold.
#    Check at points that are further from a kink than the step.
#
#    </details>
#
# 5. Derive the best step of the *one-sided* quotient, and the size of its error there. *Hint: the truncation error is
#    $\frac12\varepsilon|f''|$, and the rounding error about $2u|f|/\varepsilon$ at most.*
#
#    <details><summary>Answer</summary>
#
#    $E(\varepsilon) = \frac12\varepsilon|f''| + 2u|f|/\varepsilon$ has the derivative $\frac12|f''| -
#    2u|f|/\varepsilon^2$, which is 0 at $\varepsilon = 2\sqrt{u\,|f|/|f''|}$. There both terms are equal, and $E =
#    2\sqrt{u\,|f|\,|f''|}$. With $|f| = |f''| = 1$ and $u = 1.1\cdot10^{-16}$ the step is $2.1\cdot10^{-8}$, and so is
#    the error. The function of the picture has $|f| = 0.67$ and $|f''| = 0.28$ at $x = 0.7$, thus $3.2\cdot10^{-8}$ and
#    $0.9\cdot10^{-8}$. There the orange curve turns; it lies a little lower, since two rounding errors are seldom both
#    as large as they can be.
#
#    </details>
#
# 6. Could one draw $dy$ from the numbers 0 and 1, at random? And always use the same one, say $dy_j = j$? *Hint: which
#    mistakes does each of them miss?*
#
#    <details><summary>Answer</summary>
#
#    With zeros and ones a mistake hides with a probability that is not 0: an output with $dy_j = 0$ is not looked at,
#    and all ones may come up. A fixed $dy_j = j$ misses those mistakes for which $dy\,(J'-J) = 0$ with this $dy$; they
#    are rarer than for all ones, but a *structured* mistake meets a structured $dy$ more easily than a random one. For
#    instance, at $x = (1, 2, \dots, C)$ the upstream gradient $d\hat x = (1, 2, \dots, C)$ is a sum of multiples of
#    $\mathbf 1$ and $\hat x$, so with `eps` = 0 the right $dx$ of layer normalization is 0 there (question 3), and a
#    backward pass that returns zeros passes. Continuous random numbers miss a mistake with probability 0.
#
#    </details>
#
# The seven rules are enough to train a first network by hand.
# **Next:** [2.1, deep learning](2_1_deep_learning.ipynb).
