# %% [markdown] tags=["en"]
# # 2.5.3 注意力机制 · Attention mechanism
#
# Everything else in a GPT-2 treats each token alone. Attention is the one place where tokens exchange what they know.
# After this notebook you can derive it on paper, backward pass included. You will know why there is a mask, why there
# is a square root, which of its parameters never learns anything, and what the heads of a trained model look at.
#
# You need Python, NumPy and the chain rule from school. The words of the trade are few:
#
# - A **token** is a piece of text, and inside the model it is a **vector** of $C$ numbers, its *channels*. The model
#   works on $B$ texts of $T$ tokens at once, on arrays of shape `(B, T, C)`.
# - A **block** is one attention layer and some calculation on each token alone (2.5.4). A GPT-2 is a stack of blocks.
# - A model that *generates* says after every token which token comes next. Its scores for all the candidates are
#   called **logits**.
# - The **loss** is one number that says how bad these predictions are: the mean of $-\ln$ of the probability that the
#   right token got, in *nats* (the unit that goes with the natural logarithm). Its derivative with respect to some
#   number in the model is called the **gradient** there, and training moves every parameter a little against it.
#
# **Exercise:** [6, attention](../exercises/student/06_attention_forward.ipynb) and
# [7, attention, backward](../exercises/student/07_attention_backward.ipynb)

# %%
import copy
import sys
from fractions import Fraction
from functools import partial
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# > 多头自注意力机制（Multi-Head Attention Mechanism）是一种基于注意力机制的网络层。它允许模型同时注意到不同位置的信息。
#
# "Multi-head self-attention is a network layer based on the attention mechanism. It allows the model to attend to
# information at different positions at the same time." That is true. It leaves out the half that makes GPT-2 a GPT:
# *which* positions. In GPT-2 a token attends to itself and to the tokens **before** it, never to a later one. This is
# called **causal** attention (Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
# section 3.1, take the *decoder* of the Transformer, whose attention is masked in this way: Vaswani et al. 2017,
# section 3.2.3). BERT, which the document names in the same breath as GPT-2, has the same attention without that
# restriction.
#
# We need not take this on trust. If later tokens cannot be seen, then changing the last token of a text cannot change
# any logit before it. `causal=False` runs the same parameters with BERT's kind of attention:

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("The night is long, and every hour is heavy on my heart")])
changed = ids.copy()
changed[0, -1] = tokenizer.encode(" king")[0]
print("last token, before and after:", [tokenizer.decode(x[0, -1:].tolist()) for x in (ids, changed)])
for causal in (True, False):
    before, after = (model.forward(x, causal=causal)[0][0, :-1] for x in (ids, changed))
    effect = np.abs(after - before).max()
    print(f"causal={causal!s:5}  largest change of an earlier logit: {'none' if effect < 1e-12 else f'{effect:.1f}'}")

# %% [markdown] tags=["en"]
# With causal attention the earlier logits do not notice. The first experiment of section 6 shows what would go wrong
# without it.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# Every token should learn something from those before it. Three steps lead there, and each mends the one before it.
#
# **1. The mean.** Each token takes the mean of the vectors up to its own. As a matrix product that is $y = A\,x$, where
# row $i$ of $A$ has $1/i$ in the first $i$ places and zeros after them: a triangular matrix, whose rows add up to 1.
# This moves information, but everybody is heard alike.
#
# **2. A weighted mean, by similarity.** How well two vectors fit is measured by their *dot product*: the sum of the
# products of their channels, large where they point the same way. So let token $i$ compare its vector with all those up
# to its own, $x_i\cdot x_j$: it gets a number from each, a **score**. The **softmax** turns scores into shares that are
# positive and add up to 1, $e^{\mathrm{score}}$ divided by the sum of all of them. They are the new row of $A$. This
# chooses, but always in the same way: a token finds those that are like itself, and as a rule first of all itself.
#
# **3. Query, key and value.** What a token looks for is not what it is. An adjective looks for its noun. So each token
# gets three vectors instead of one, made from its own by three matrices of parameters: a **query**, which looks for
# something, a **key**, by which it is found, and a **value**, which is handed over. The score is query $\cdot$ key, and
# the mean is one of values. This is **attention**.
#
# Here are the three matrices $A$ for four words with three channels, *noun*, *verb* and *adjective*. For step 3 we
# write by hand what a model would have to learn: verbs and adjectives ask for nouns.

# %%
words = ["the", "king", "is", "old"]
x = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2]])  # noun, verb, adjective
W_query, W_key = np.array([[0.0, 0, 0], [1, 0, 0], [1, 0, 0]]), np.eye(3)
future = np.where(np.tri(4, dtype=bool), 0, -np.inf)
stages = {
    "1. mean": softmax_forward(future),
    "2. softmax of x · x": softmax_forward(x @ x.T + future),
    "3. softmax of query · key": softmax_forward((x @ W_query) @ (x @ W_key).T + future),
}
figure, axes = plt.subplots(1, 3, figsize=(7.4, 2.7), sharey=True)
for axis, (name, A) in zip(axes, stages.items(), strict=True):
    axis.imshow(A, vmin=0, vmax=1.3)
    for i, j in np.argwhere(np.tri(4)):
        axis.text(j, i, f"{A[i, j]:.2f}", ha="center", va="center", color="white" if A[i, j] > 0.7 else "black")
    axis.set(title=name, xticks=range(4), xticklabels=words, yticks=range(4), yticklabels=words)
    axis.grid(visible=False)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Three triangular matrices of shares for the words the, king, is, old; a row for each word that looks. 1: even shares,
# 1, 1/2, 1/3, 1/4. 2: king, is and old give nearly everything to themselves. 3: is and old give more than 0.94 to king.

# %% [markdown] tags=["en"]
# Think of a meeting at which everybody holds three cards and writes them from their own knowledge: a question to the
# others, a subject to be asked about, the answer if asked. Nobody decides who listens to whom: it follows from the
# cards, and what is learned is *how to write cards*. Because the questions come from the same tokens as the answers, it
# is called **self**-attention.
#
# One mean is a blurred picture, so the meeting is held several times in parallel, about different questions. Each of
# these is called a **head**. Now the document's sentence has its full meaning: one softmax is one weighting, and
# several heads let a token attend to several positions for several reasons at once.
#
# The picture shows one head and one query, that of the last token. The numbers are those of the model, for a block and
# a head that section 6 will choose. The thicker an arrow, the larger the share, which is written below its key.

# %%
BLOCK, HEAD = 3, 0
sentence = "The king is old and the king"
ids = np.array([tokenizer.encode(sentence)])
shares = minigpt2.trace(model, ids)[f"h.{BLOCK}.attn.probs"][0, HEAD, -1]
T = ids.shape[1]

figure, axes = plt.subplots(figsize=(7.4, 3.1))
axes.set(xlim=(-0.7, T - 0.1), ylim=(-1.4, 3.0))
axes.axis("off")
for i in range(T):
    axes.text(i, -1.1, repr(tokenizer.decode(ids[0, i : i + 1].tolist())), ha="center", family="monospace")
    for y, card, edge in ((-0.6, "value", style.GREEN), (0.35, "key", style.BLUE)):
        axes.text(i, y, card, ha="center", va="center", bbox={"boxstyle": "round,pad=0.3", "fc": "white", "ec": edge})
    axes.annotate(
        "",
        (i, 0.62),
        (T - 1, 2.3),
        arrowprops={"arrowstyle": "-|>", "color": style.BLUE, "lw": 0.5 + 9 * shares[i], "shrinkA": 8, "shrinkB": 1},
    )
    axes.text(i, -0.13, f"{shares[i]:.2f}", ha="center", va="center", color="0.3")
box = {"boxstyle": "round,pad=0.3", "fc": "#f6dcc3", "ec": style.ORANGE}
axes.text(T - 1, 2.35, "query", ha="center", va="bottom", bbox=box)
formulas = "share = softmax of query · key / $\\sqrt{D}$\nresult = sum of share · value"
axes.text(-0.6, 2.45, formulas, va="center", color="0.3")
plt.show()

# %% [markdown] tags=["en", "alt"]
# The query of the last token, king, and seven keys and values, one pair for each token of "The king is old and the
# king". An arrow leads from the query to every key. The thickest, with the share 0.32, goes to the token before it; the
# other shares lie between 0.03 and 0.18.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# For any number $z$ in the model, $dz$ is short for $\partial\,\mathrm{loss} / \partial z$. The backward pass of a
# function is handed the gradient of its output and has to find the gradients of its inputs. It is a chain of rules from
# the toolbox, notebook [2.0](2_0_toolbox.ipynb), here cited as R1 to R7.
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `x` | `(B, T, C)` | input, a normalized copy of the tokens' vectors (see 2.5.5) |
# | $H$, $D$ | `n_head`, `D` | | number of heads, and channels of each: $D = C / H$ |
# | $W_\mathrm{attn}$, $b_\mathrm{attn}$ | `c_attn` | `(C, 3C)`, `(3C,)` | parameters that make queries, keys, values |
# | $q$, $k$, $v$ | `q`, `k`, `v` | `(B, H, T, D)` | queries, keys, values |
# | $\mathrm{scores}$ | `scores`, later overwritten | `(B, H, T, T)` | a row for each query, a column for each key |
# | $\mathrm{probs}$ | `probs` | `(B, H, T, T)` | the shares; each row adds up to 1 |
# | $\mathrm{heads}$ | `heads` | `(B, T, C)` | the results of all heads, side by side |
# | $W_\mathrm{proj}$, $b_\mathrm{proj}$ | `c_proj` | `(C, C)`, `(C,)` | parameters that mix the heads |
# | $y$ | `y` | `(B, T, C)` | output |
#
# ### Forward
#
# **Step 1: query, key, value.** One matrix product makes all three at once, and its $3C$ columns are cut in three:
#
# $$[\,q \;\; k \;\; v\,] = x\,W_\mathrm{attn} + b_\mathrm{attn}.$$
#
# Each of them has $C$ channels, which are cut again, into $H$ heads of $D$ channels. From here to step 5 the heads know
# nothing of each other; so let us take one head of one text, where $q$, $k$ and $v$ are $T\times D$.
#
# **Step 2: the scores.** For the query of token $i$ and the key of token $j$,
#
# $$\mathrm{scores}_{ij} = \frac{1}{\sqrt D}\sum_m q_{im}\,k_{jm}, \qquad\text{or}\quad
#   \mathrm{scores} = \frac{q\,k^\top}{\sqrt D}.$$
#
# **Step 3: the mask.** Where the key comes after the query, $j > i$, the score becomes $-\infty$.
#
# **Step 4: the softmax**, row by row. Since $e^{-\infty} = 0$, a masked key gets exactly nothing:
#
# $$\mathrm{probs}_{ij} = \frac{e^{\mathrm{scores}_{ij}}}{\sum_s e^{\mathrm{scores}_{is}}}.$$
#
# (The code first subtracts the largest score of the row from all of them. The factor $e^{-\max}$ appears above and
# below the fraction bar and cancels, and no exponential can overflow.)
#
# **Step 5: the weighted mean, and the way out.** The results of the heads are put side by side again:
#
# $$\mathrm{head} = \mathrm{probs}\;v, \qquad
#   \mathrm{heads} = [\,\mathrm{head}_1 \;\cdots\; \mathrm{head}_H\,], \qquad
#   y = \mathrm{heads}\;W_\mathrm{proj} + b_\mathrm{proj}.$$
#
# (Vaswani et al. 2017, "Attention Is All You Need", eq. 1 and section 3.2.)
#
# ### Why the square root?
#
# Suppose the channels of a query and of a key are independent random numbers with mean 0 and variance 1. Each product
# $q_m k_m$ then has mean 0 and variance 1 as well (the mean of $q_m^2 k_m^2$ is the product of the means, $1\cdot 1$),
# and since variances of independent numbers add up,
#
# $$\operatorname{variance}\Bigl(\sum_{m=1}^{D} q_m k_m\Bigr) = D .$$
#
# The more channels, the larger the scores, by a factor of $\sqrt D$. In every released GPT-2 a head has 64 channels
# ($768/12 = 1024/16 = 1280/20 = 1600/25$), and scores of $\pm 8$ would be ordinary. The softmax exponentiates them, and
# $e^{8}$ is about 3000: the best key gets almost everything. Dividing by $\sqrt D$ brings the variance back to 1,
# whatever $D$ is (Vaswani et al. 2017, footnote 4). Section 6 measures what that buys.
#
# ### Backward: the softmax
#
# All steps but one are products of matrices (R2), sums (R1) and moves (R4). The one is the softmax. Take one row, omit
# its index, and call its shares $p$: $p_s = e^{\mathrm{scores}_s} / Z$ with $Z = \sum_s e^{\mathrm{scores}_s}$. The
# score $j$ acts on $p_s$ twice, in the numerator if $s = j$, and always in $Z$. With $\delta_{sj}$ for 1 if $s = j$ and
# 0 otherwise, the quotient rule gives
#
# $$\frac{\partial p_s}{\partial\,\mathrm{scores}_j}
#   = \frac{\delta_{sj}\,e^{\mathrm{scores}_s}}{Z} - \frac{e^{\mathrm{scores}_s}}{Z}\cdot\frac{e^{\mathrm{scores}_j}}{Z}
#   = p_s\,(\delta_{sj} - p_j) .$$
#
# That is the **Jacobian** of the softmax; other books write it $\operatorname{diag}(p) - p\,p^\top$. Every score acts
# on every share, because they have to add up to 1. So the chain rule sums over all of them, which multiplies the
# Jacobian by $dp$ from the left, a **vector-Jacobian product**. It needs no matrix (R7):
#
# $$d\mathrm{scores}_j = \sum_s dp_s\;p_s\,(\delta_{sj} - p_j) = p_j\,\Bigl(dp_j - \sum_s dp_s\,p_s\Bigr) .$$
#
# In words: **the gradient of a score is its share, times how far its $dp_j$ is above the mean of the row**, a mean
# weighted with the shares. Mind the sign. $dp_j$ is the gradient of the *loss*: where it is above the mean, a larger
# share would make the loss larger, so that training, which moves against the gradient, *lowers* this score; where it is
# below the mean, training raises it. Two things follow. A key without a share gets no gradient, so the mask takes care
# of itself on the way back. And the row adds up to zero: $\sum_j d\mathrm{scores}_j = \sum_j p_j dp_j - \bigl(\sum_j
# p_j\bigr)\sum_s dp_s p_s = 0$. It could not be otherwise, since raising all scores of a row alike changes nothing.
#
# ### Backward: all of it
#
# Once with all indices: $b$ for the text, $h$ for the head, $i$ for the query's token, $j$ for the key's, $m$ for a
# channel of the head, $c$ and $e$ for the channels of $x$ and of $qkv = [\,q\;k\;v\,]$. We are given $dy$ and go from
# the last step to the first.
#
# - $y = \mathrm{heads}\,W_\mathrm{proj} + b_\mathrm{proj}$ (R2, R1): $\;d\mathrm{heads} = dy\,W_\mathrm{proj}^\top$,
#   and the parameters' gradients as in the last line.
# - The heads stand side by side (R4): $\;d\mathrm{head}_{bhim} = d\mathrm{heads}_{b,\,i,\,hD+m}$. Nothing is computed.
# - $\mathrm{head} = \mathrm{probs}\;v$ (R2):
#   $$d\mathrm{probs}_{bhij} = \sum_m d\mathrm{head}_{bhim}\,v_{bhjm}, \qquad
#     dv_{bhjm} = \sum_i \mathrm{probs}_{bhij}\,d\mathrm{head}_{bhim} .$$
# - $\mathrm{probs} = \mathrm{softmax}(\mathrm{scores})$, row by row (R7):
#   $$d\mathrm{scores}_{bhij} = \mathrm{probs}_{bhij}\,
#     \Bigl(d\mathrm{probs}_{bhij} - \sum_s d\mathrm{probs}_{bhis}\,\mathrm{probs}_{bhis}\Bigr) .$$
# - $\mathrm{scores} = q\,k^\top/\sqrt D$ (R2):
#   $$dq_{bhim} = \frac{1}{\sqrt D}\sum_j d\mathrm{scores}_{bhij}\,k_{bhjm}, \qquad
#     dk_{bhjm} = \frac{1}{\sqrt D}\sum_i d\mathrm{scores}_{bhij}\,q_{bhim} .$$
# - $qkv$ was cut in three, and into heads (R4): put $dq$, $dk$ and $dv$ together in the same places. Its
#   shape is `(B, T, 3C)`.
# - $qkv = x\,W_\mathrm{attn} + b_\mathrm{attn}$ (R2, R1), with $W$ and $b$ for short:
#   $$dx_{bic} = \sum_e dqkv_{bie}\,W_{ce}, \qquad dW_{ce} = \sum_b\sum_i x_{bic}\,dqkv_{bie}, \qquad
#     db_e = \sum_b\sum_i dqkv_{bie} .$$
#
# (Heads and channels are counted from 0.) $W$ and $b$ serve every token of every text, and so their gradients are
# summed over both. Without the indices $b$ and $h$ the middle lines are matrix products: $d\mathrm{probs} =
# d\mathrm{head}\;v^\top$, $dv = \mathrm{probs}^\top d\mathrm{head}$, $dq = d\mathrm{scores}\;k/\sqrt D$, $dk =
# d\mathrm{scores}^\top q/\sqrt D$. In the last line $x$ is used three times, for query, key and value, so its three
# gradients have to be added (R6). The sum over all $3C$ channels $e$ does that by itself.
#
# ### A parameter that never learns
#
# Add the same vector $b$ to the key of every token: that is what the key's part of $b_\mathrm{attn}$ does. Token $i$
# then finds at every key the score
#
# $$\frac{q_i\cdot(k_j + b)}{\sqrt D} = \frac{q_i\cdot k_j}{\sqrt D} + \frac{q_i\cdot b}{\sqrt D},$$
#
# and the second term is the same for all $j$. All scores of the row shift by the same amount, and the softmax does not
# notice. So **the key's bias has no effect at all, and its gradient is zero.** The formulas agree: that gradient is the
# sum of $dk$ over the tokens, and $\sum_j dk_j = \sum_i\bigl(\sum_j d\mathrm{scores}_{ij}\bigr)\,q_i/\sqrt D$, where
# each bracket is the sum of a row, which is zero. GPT-2 has the parameter nevertheless; a third of `c_attn.bias` idles.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2. Compare them with section 3, line
# by line. `split_heads` turns (B, T, C) into (B, H, T, D), and `merge_heads` does the reverse; `named` gives the two
# gradients of a linear layer their names.

# %%
style.show_plain("softmax", "attention")

# %% [markdown] tags=["en"]
# Now the library's own code, fetched while the notebook was built. It computes the same, in pieces that fit into the
# processor's cache. A long text is worked through in blocks of 128 queries, so that no time is spent on keys that the
# mask would remove anyway, and `in_parallel` hands a few heads at a time to the processor's cores: read `queries`,
# `keys` and `pairs`, the places of a block, as "all", and `S`, the number of keys, as `T`. That is what `_some_heads`
# and `_blocks` do, which are not shown here: they cut the work up. `_blocks` also makes `unseen`, the causal mask:
# zeros on and below the diagonal, $-\infty$ above. Two arguments are explained later: `dropout`, to which the variable
# `mask` belongs, in notebook 2.5.6, and `past` at the end of this one; without `keep` the probabilities are not kept,
# and `padding` hides what fills up the shorter of several prompts. `xp` is NumPy (or CuPy, for arrays on a graphics
# card).
#
# What does the difference buy? On two cores of an Intel Xeon, for 512 tokens of GPT-2, forward and backward together,
# the page above takes 1.3 times as long (`python tests/benchmarks page-attention`).

# %%
style.show_source(attention_forward, attention_backward)

# %% [markdown] tags=["en"]
# The softmax has its own file. It may write over the scores (`out`), and it lets a matrix product do its sum.

# %%
style.show_source(softmax_forward, softmax_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take three tokens, one channel, one head. Then $D = 1$ and its root is 1. We choose the parameters so that everybody
# asks the same question, $q = 1$, the key is $k = x \ln 2$, and the value is $v = x$ itself. Only the third output
# matters to the loss, $dy = (0, 0, 1)$. Take a pencil.

# %%
x = np.array([0.0, 1, 0]).reshape(1, 3, 1)
params = {
    "c_attn": {"weight": np.array([[0.0, np.log(2), 1]]), "bias": np.array([1.0, 0, 0])},
    "c_proj": {"weight": np.array([[1.0]]), "bias": np.array([0.0])},
}
y, cache = attention_forward(x, params, n_head=1)
dcache = {}
_, grads = attention_backward(np.array([0.0, 0, 1]).reshape(1, 3, 1), cache, dcache=dcache)


def show(**arrays):
    """Print arrays as fractions, row by row."""
    for name, array in arrays.items():
        for row in np.atleast_2d(array):
            print(f"{name:8}", *(f"{Fraction(float(v)).limit_denominator(100)!s:>6}" for v in row))
            name = ""


q, k, v = (cache[name].ravel() for name in "qkv")
dq, dk, dv = (dcache[name].ravel() for name in "qkv")
probs = cache["probs"][0, 0]
dprobs = np.outer([0.0, 0, 1], v)  # dhead v^T
dscores = softmax_backward(dprobs, probs)
show(probs=probs, y=y.ravel())
print()
show(dprobs=dprobs[2], dscores=dscores[2], dk=dk, dv=dv)
print()
show(dbias_of_key=grads["c_attn"]["bias"][1])

# %% [markdown] tags=["en"]
# The scores are $0$, $\ln 2$ and $0$; their exponentials are 1, 2 and 1. The first token sees only itself. The second
# sees 1 and 2, so its shares are $1/3$ and $2/3$. The third sees all of them, with shares $1/4$, $2/4$, $1/4$, and
# takes home $\tfrac14\cdot 0 + \tfrac12\cdot 1 + \tfrac14\cdot 0 = \tfrac12$.
#
# Backward, for the third token: $d\mathrm{probs} = v = (0, 1, 0)$, and its mean, weighted with the shares, is $1/2$.
# The second key is above it by $1/2$ and has the share $1/2$, so $d\mathrm{scores}_2 = 1/4$: a larger score would make
# the loss larger, and training lowers it. The others are below the mean by $1/2$ and have the share $1/4$, so they get
# $-1/8$ each, and training raises them. The three add up to zero, and with $q = 1$ they are $dk$ as well: the bias of
# the key gets nothing. The query gets $dq = \sum_j d\mathrm{scores}_j k_j = \tfrac14\ln 2 = 0.173$. Here is the third
# token's way through attention, with all these numbers:

# %%
graphs.draw(
    {"q": (0, 0), "k": (0, 1), "v": (0, 2), "q kᵀ": (1, 0), "softmax": (2, 0), "probs v": (3, 0), "y": (4, 0)},
    [
        ("q", "q kᵀ", q[2], dq[2]),
        ("k", "q kᵀ", k, dk),
        ("v", "probs v", v, dv),
        ("q kᵀ", "softmax", k, dscores[2]),  # with q = 1 the scores are the keys
        ("softmax", "probs v", probs[2], dprobs[2]),
        ("probs v", "y", y[0, 2, 0], 1),
    ],
)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The third token's attention as a graph. Its query 1 and the keys 0, 0.693, 0 give the scores, the softmax makes the
# shares 1/4, 1/2, 1/4 of them, and with the values 0, 1, 0 the output is 1/2. Below the edges the gradients: 1 for the
# output, 0, 1, 0 for the shares, -1/8, 1/4, -1/8 for scores and keys, 0.173 for the query, 1/4, 1/2, 1/4 for the
# values.

# %% [markdown] tags=["en"]
# And all three tokens at once, with a row for each query (in $dk$ and $dv$: for each key), when the loss is the sum of
# the squares of all outputs, halved, so that $dy = y$. Grey is what the mask forbids.

# %%
y, cache = attention_forward(x, params, n_head=1)
attention_backward(y, cache, dcache=dcache)
hidden = np.where(np.tri(3, dtype=bool), 0, np.nan)
dprobs = np.outer(dcache["heads"], cache["v"])
arrays = {"probs": probs, "dprobs": dprobs, "dscores": softmax_backward(dprobs, probs)}
arrays = {name: array + hidden for name, array in arrays.items()}
graphs.maps(arrays | {f"d{name}": dcache[name][0, 0] for name in "qkv"}, limit=0.5)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Six heat maps for three tokens. Three triangles: the shares, all positive; their gradients, zero outside the second
# column; the scores' gradients, zero in the first row, with both signs in the others. Three columns: dq, zero for the
# first token and positive for the others; dk, of both signs, adding up to zero; dv, positive.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative**, with `gradient_check` from notebook [2.0](2_0_toolbox.ipynb): two texts of
# five tokens, six channels, two heads.

# %%
reference = recorded("attention")
inputs = {name: reference["inputs"][name] for name in ("x", "params")}
forward = partial(attention_forward, n_head=2)
style.show_check(minigpt2.gradient_check(forward, attention_backward, inputs))

# %% [markdown] tags=["en"]
# A common mistake is to differentiate the softmax as if each share depended
# on its own score only, $d\mathrm{scores}_j = p_j (1 - p_j)\,dp_j$. We put that in place of the right one:


# %%
def lonely_softmax_backward(dprobs, probs, out=None):
    """The softmax's backward pass by someone who forgets that the shares of a row add up to 1."""
    return dprobs * probs * (1 - probs)


with mock.patch("minigpt2.components.attention.softmax_backward", lonely_softmax_backward):
    style.show_check(minigpt2.gradient_check(forward, attention_backward, inputs))

# %% [markdown] tags=["en"]
# The gradients of $W_\mathrm{proj}$ and its bias are still right. They are found before the mistake comes into play.
#
# **Against another implementation.** The gradient check proves that backward fits forward, not that forward is GPT-2's
# attention. So we compare with PyTorch's values, recorded in 64-bit floating point. The second
# recording is BERT's kind of attention, and the last line tries to pass one off as the other:

# %%
for name in ("attention", "attention_bidirectional"):
    reference = recorded(name)
    y, cache = attention_forward(**reference["inputs"], **CASES[name].options)
    dx, grads = attention_backward(reference["dy"], cache)
    style.show_agreement(f"{name}: y", relative_error(y, reference["y"])[0])
    error, _ = relative_error({"x": dx, "params": grads}, reference["gradients"])
    style.show_agreement(f"{name}: all gradients", error)
reference = recorded("attention")
y, _ = attention_forward(**reference["inputs"], n_head=2, causal=False)
style.show_agreement("attention without its mask: y", relative_error(y, reference["y"])[0])

# %% [markdown] tags=["en"]
# **The parameter that never learns**, in the trained model. We compute the gradient of the loss on a few lines and
# look at the three parts of `c_attn.bias` in every block. Then we add 100 to the key's bias, in every channel.

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
"""
ids = np.array([tokenizer.encode(play)])
x, targets = ids[:, :-1], ids[:, 1:]
print(f"{ids.shape[1]} tokens\n")
loss, grads = model.loss_and_grads(x, targets)
C = model.config.n_embd
print("largest gradient of c_attn.bias    query      key    value")
for i, block in enumerate(grads["h"]):
    parts = np.abs(block["attn"]["c_attn"]["bias"]).reshape(3, C).max(axis=1)
    print(f"block {i}" + " " * 25, *("< 1e-12" if part < 1e-12 else f"{part:8.4f}" for part in parts))

shifted = copy.deepcopy(model)
for block in shifted.params["h"]:
    block["attn"]["c_attn"]["bias"][C : 2 * C] += 100
print()
style.show_agreement("loss with 100 added to the key's bias", abs(shifted.loss(x, targets) - loss), 1e-9)

# %% [markdown] tags=["en"]
# In 32-bit floating point, in which models are trained, the gradient is not exactly zero but rounding noise. Adam
# (2.5.9) divides a gradient by its own usual size, which would make full steps of noise, however small. What prevents
# it is the constant `eps` $= 10^{-8}$, which is added to that size. So how large is the noise, and how far has the
# key's bias come in the 4,000 steps in which the built-in model was trained? It began at zero, like all biases.

# %%
_, grads = minigpt2.GPT2.from_pretrained("shakespeare").loss_and_grads(x, targets)  # in 32-bit floating point
print("                  largest gradient    largest bias of")
print("                  of the key's bias   query     key   value")
for i, (block, gradient) in enumerate(zip(model.params["h"], grads["h"], strict=True)):
    noise = np.abs(gradient["attn"]["c_attn"]["bias"][C : 2 * C]).max()
    parts = np.abs(block["attn"]["c_attn"]["bias"]).reshape(3, C).max(axis=1)
    small = "below 1e-8" if noise < 1e-8 else f"{noise:10.1e}"
    print(f"block {i}           {small}       ", *(f"{part:7.3f}" for part in parts))

# %% [markdown] tags=["en"]
# The noise is smaller than `eps`. So the steps are small, and they point to and fro. After 4,000 of them the bias of
# the key is at most 0.001, where the query's has values of 0.2 to 0.5. Two training runs that agree in all else may
# still differ in this part, and that is no mistake; and with a smaller `eps` the steps would be larger.

# %% [markdown] tags=["en"]
# ## 6. What is it all for?
#
# ### What if a token could see the next one?
#
# Here is a text that nobody can predict: random digits. Whoever gives each of the ten the chance $1/10$ has the loss
# $\ln 10$, and nobody can do better. We train two small models, one with the mask and one without.

# %%
T, steps = 16, 120


def losses_of(training_batch, steps, causal=True, n_embd=32, n_head=2, lr=3e-3, seed=0):
    """The losses of a new model with two blocks, step by step; training_batch: rng -> ids, targets."""
    config = minigpt2.GPT2Config(
        vocab_size=10, n_positions=16, n_embd=n_embd, n_layer=2, n_head=n_head, initializer_range=n_embd**-0.5
    )
    new = minigpt2.GPT2(config, seed=seed, dtype="float64")
    optimizer, rng, losses = minigpt2.AdamW(new.params, lr=lr), np.random.default_rng(0), []
    for _ in range(steps):
        loss, grads = new.loss_and_grads(*training_batch(rng), causal=causal)
        optimizer.step(grads, max_norm=1.0)
        losses.append(loss)
    return losses


def random_digits(rng):
    """ids, targets (32, T): nothing to learn."""
    digits = rng.integers(0, 10, (32, T + 1))
    return digits[:, :-1], digits[:, 1:]


print(f"{'ln 10':13} {np.log(10):.2f}")
print(f"{'ln 10 / 16':13} {np.log(10) / T:.2f}")
figure, axes = plt.subplots(figsize=(6.5, 2.8))
for causal, label in ((True, "causal"), (False, "not causal")):
    losses = losses_of(random_digits, steps, causal)
    axes.plot(range(1, steps + 1), losses, label=label)
    print(f"{label:13} loss of the last 20 steps: {np.mean(losses[-20:]):.2f}")
axes.axhline(np.log(10), color="0.6", lw=1, ls=":")
axes.text(steps, np.log(10) - 0.08, "ln 10", color="0.4", ha="right", va="top")
axes.set(xlabel="step", ylabel="loss (nats)", ylim=(0, 3.4), title="random digits")
axes.legend(loc="center right")
plt.show()

# %% [markdown] tags=["en", "alt"]
# The loss over 120 steps. With causal attention it stays at ln 10, a dotted line at 2.3; without the mask it falls from
# step 20 on and is near 0.2 from step 60 on.

# %% [markdown] tags=["en"]
# Without the mask the model does the impossible. It has learned to *look up* the digit that it is asked for, at the
# next position. It has to guess only the last one, because the seventeenth digit is not part of its input: a sixteenth
# of $\ln 10$ remains, and the training is nearly there. That is no prediction, and it is useless where it counts: in
# generation, the next token is not there yet. So the mask is not a restriction that one might lift to see more. It
# makes the task a task. (BERT sees both sides, and therefore has to be trained on another task: to guess tokens that
# were blotted out. See notebook 3.1.)
#
# ### Why the square root? A measurement
#
# We take random numbers, as in section 3: 64 keys, and heads with more and more channels. We ask three questions about
# the softmax. How evenly does it spread its attention? That is measured by its **entropy**, $-\sum_s p_s \ln p_s$,
# which is 0 when one key has everything, and $\ln 64$ when all have the same share. How large is the gradient that
# comes through it, in the median case? And how many keys are left with a share of less than a thousandth, and so with
# hardly any gradient?

# %%
S, widths = 64, np.array([1, 4, 16, 64, 256, 1024])
rows = {}
for scaled in (True, False):
    for D in widths:
        rng = np.random.default_rng(D)
        q, k, dprobs = rng.normal(size=(400, 1, D)), rng.normal(size=(400, S, D)), rng.normal(size=(400, 1, S))
        scores = q @ k.swapaxes(1, 2) / (np.sqrt(D) if scaled else 1)
        probs = softmax_forward(scores)
        entropy = -(probs * np.log(probs + 1e-300)).sum(axis=-1).mean() / np.log(S)
        gradient = np.median(np.linalg.norm(softmax_backward(dprobs, probs), axis=-1))
        rows[scaled, D] = scores.std(), entropy, gradient, (probs < 1e-3).mean()

print("               D   std of scores   entropy / ln 64   median |dscores|   keys below 0.001")
for (scaled, D), (std, entropy, gradient, starved) in rows.items():
    name = "divided" if scaled else "not divided"
    print(f"{name:11} {D:4}   {std:13.1f}   {entropy:15.2f}   {gradient:16.4f}   {starved:16.0%}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(7.4, 2.8))
for axis, column, label in zip(axes, (1, 3), (r"entropy / $\ln\,64$", "keys with a share below 0.001"), strict=True):
    for scaled, name, marker in ((True, r"divided by $\sqrt{D}$", "o"), (False, "not divided", "s")):
        axis.semilogx(widths, [rows[scaled, D][column] for D in widths], marker=marker, label=name, base=2)
    axis.set(xlabel="channels of a head, D", ylabel=label, ylim=(-0.03, 1.03), xticks=widths)
    axis.set_xticks([], minor=True)
    axis.set_xticklabels(widths)
axes[0].legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two panels over the number of channels, 1 to 1024. Divided by the square root, the entropy stays at 0.9 of its maximum
# and hardly any key is below 0.001. Not divided, the entropy falls to 0.13 at 64 channels and 0.03 at 1024, while the
# share of such keys rises to 92 % and 98 %.

# %% [markdown] tags=["en"]
# With the division hardly anything depends on $D$ any more. Without it, at $D = 64$, nine keys in ten have a share
# below a thousandth, hence hardly a gradient, hence hardly a way to get a share. Before the model has learned anything,
# it has settled on the keys that chance made best. The gradient as a whole shrinks later: at $D = 16$ it is still no
# smaller, at $D = 64$ it is half as large in the median case, at 1024 it is gone. (Vaswani et al. 2017, section 3.2.1,
# suspect exactly this: a softmax that is pushed into a region where its gradients are extremely small.)
#
# Two limits of this measurement. It is about the start of training; question 6 asks what becomes of it. And the damage
# depends on how large the parameters are at the start. Here queries and keys have variance 1, as in our calculation.
# GPT-2 begins with weights of standard deviation 0.02, which in the smallest model, with 768 channels, gives queries of
# standard deviation $0.02\,\sqrt{768} \approx 0.55$, and so it begins in a milder place.
#
# ### What do the heads look at?
#
# Attention is one of the few things in a neural network that can be read directly: `probs` says who looked at whom.
# The built-in model has 4 blocks of 4 heads, and it reads the scene from section 5. For every head we ask how much
# of its attention, in the mean over the tokens from the 21st on, goes to the token *itself*, to the *previous* one, to
# the *first* one of the text, to punctuation *marks* and line breaks, and to tokens of its own *line*.
#
# A head that looks at all tokens alike would also get something in every column; the first row shows it. But that is
# not control enough. A line is a stretch of *recent* tokens, and whoever looks at recent tokens looks at the line. So a
# last column asks for an equally long stretch of recent tokens that is *not* the line: the lengths are dealt out among
# the tokens at random (the mean of twenty such deals).

# %%
ids, late = np.array([tokenizer.encode(play)]), slice(20, None)
T = ids.shape[1]
i, j = np.arange(T)[:, None], np.arange(T)
pieces = [tokenizer.decode([token]) for token in ids[0].tolist()]
line = np.concatenate([[0], np.cumsum([piece.endswith("\n") for piece in pieces])[:-1]])
mark = np.array([not any(c.isalnum() for c in piece) for piece in pieces])  # punctuation or a line break
same_line = line[:, None] == line
relations = {"itself": i == j, "previous": i - 1 == j, "first": j == 0, "marks": mark, "own line": same_line}
lengths = (same_line & (j <= i)).sum(axis=1)[late]  # tokens of its line that each token sees
rng = np.random.default_rng(0)
deals = [j > i[late] - rng.permutation(lengths)[:, None] for _ in range(20)]


def looks(probs):
    """The share of attention (T, T) that goes to each of the relations, and to as many recent tokens as in a line."""
    shares = [(probs * r)[late].sum(axis=1).mean() for r in relations.values()]
    return [*shares, np.mean([(probs[late] * deal).sum(axis=1).mean() for deal in deals])]


even = np.tril(np.ones((T, T))) / np.arange(1, T + 1)[:, None]
heads = [(block, head) for block in range(4) for head in range(4)]
activations = minigpt2.trace(model, ids)
table = np.array([looks(even)] + [looks(activations[f"h.{b}.attn.probs"][0, h]) for b, h in heads])
print(f"{'':16}", *(f"{name:>9}" for name in relations), "  as many recent")
for label, row in zip(["all alike", *(f"block {b}, head {h}" for b, h in heads)], table, strict=True):
    print(f"{label:16}", *(f"{share:9.2f}" for share in row[:-1]), f"{row[-1]:16.2f}")

# %% [markdown] tags=["en"]
# **Every head looks at recent tokens**, those of block 1 the least. Their own line gets two to six times what it would
# get from an even spread, and it would be easy to say that heads keep to the line. The last column refutes it: as many
# recent tokens, line or not, get as much. Only in block 3, head 0, the line is ahead by more than three hundredths
# (0.53 against 0.47), and in block 2, head 2, it is behind by as much. That one has another habit: it gives 0.46 to the
# marks, where all alike give 0.22 and the others 0.12 to 0.28.
#
# No head gives most of its attention to the previous token. And none gives much to the first one of the text. In large
# models many heads do: whoever finds nothing that fits must spend a share of 1 all the same, and the first token, which
# everybody sees, is where it goes. This is called an **attention sink** (Xiao et al. 2023, "Efficient Streaming
# Language Models with Attention Sinks"). Here the tokens from the 21st on give it 0.02 at most, in the mean. If the
# weights of GPT-2 are on this machine, the next cell asks the same of them:

# %%
released = style.released_model()
if released:
    probs = minigpt2.trace(released, np.array([style.released_tokenizer().encode(play)]))
    for b in range(released.config.n_layer):
        shares = probs[f"h.{b}.attn.probs"][0, :, 20:, 0].mean(axis=1)
        print(f"block {b:2}: share of the first token, by head", *(f"{share:5.2f}" for share in shares))

# %% [markdown] tags=["en"]
# **Does a head look for repetitions?** If a text reads ... `A B` ... `A`, then `B` may come again. A head that looks
# from the second `A` to the `B` after the first is called an *induction head* (Elhage et al. 2021, "A Mathematical
# Framework for Transformer Circuits"; Olsson et al. 2022, "In-context Learning and Induction Heads"). In real text it
# is hard to tell from other habits, as `B` may be looked at for its own sake. So one tests with nonsense: twenty random
# tokens, and the same twenty again. In the second half every token has its copy twenty places back, and an induction
# head would look nineteen places back, with most of its attention. The control is the neighbourhood, the places 17, 18
# and 21 back.

# %%
def after_the_copy(lists):
    """Print the share of the place after the copy, and of its neighbours, if each list (L tokens) is read twice."""
    L = lists.shape[1]
    activations = minigpt2.trace(model, np.tile(lists, 2))
    second = np.arange(L + 1, 2 * L)  # so that L + 1 places back is a place
    for b in range(4):
        probs = activations[f"h.{b}.attn.probs"].mean(axis=0)
        after = probs[:, second, second - L + 1].mean(axis=1)
        near = np.mean([probs[:, second, second - k].mean(axis=1) for k in (L - 3, L - 2, L + 1)], axis=0)
        print(f"block {b}:  ", "    ".join(f"{a:.3f} / {n:.3f}" for a, n in zip(after, near, strict=True)))


print("random tokens: share of the place after the copy / of its neighbours, heads 0 to 3")
after_the_copy(np.random.default_rng(0).integers(0, model.config.vocab_size, (100, 20)))
scene = np.array([ids[0, start : start + 20] for start in range(0, T - 20, 2)])
print("\npieces of the scene")
after_the_copy(scene)
print("\nthe same, each in random order")
after_the_copy(np.random.default_rng(0).permuted(scene, axis=1))

# %% [markdown] tags=["en"]
# With random tokens the place after the copy gets what its neighbours get, in every head. **This model has no induction
# heads.** With pieces of the scene, read twice, a few heads do prefer that place, most of all block 3, head 1 (0.046
# against 0.026). Had we tested with real text only, we would have been misled. If the same tokens stand in random
# order, hardly anything is left of the preference: whatever attracts these heads in real text, it is no rule for tokens
# of any kind. In other models, with two blocks or more, induction heads have been found (the papers above show them).
# This one was trained on one megabyte of text.
#
# Here are two heads on a sentence: the one with the largest share for the previous token, and the one that likes marks.

# %%
sentence = "The king is kind, my lord; I say the king is old."
short = np.array([tokenizer.encode(sentence)])
labels = [tokenizer.decode([token]).replace(" ", "_") for token in short[0].tolist()]
activations = minigpt2.trace(model, short)
figure, axes = plt.subplots(1, 2, figsize=(7.6, 4.0), sharey=True)
for axis, (b, h) in zip(axes, [(BLOCK, HEAD), (2, 2)], strict=True):
    image = axis.imshow(activations[f"h.{b}.attn.probs"][0, h], vmin=0, vmax=1)
    axis.grid(visible=False)
    axis.set_xticks(range(len(labels)), labels, rotation=90, family="monospace")
    axis.set_yticks(range(len(labels)), labels, family="monospace")
    axis.set(xlabel="key (_ is a space)", title=f"block {b}, head {h}")
axes[0].set_ylabel("query")
figure.colorbar(image, ax=axes, label="share", shrink=0.8)
plt.show()
first = minigpt2.trace(model, scene)[f"h.{BLOCK}.attn.probs"][:, HEAD, 1:7, 0].mean(axis=0)
print(f"block {BLOCK}, head {HEAD}: share of the first token, rows 2 to 7")
for name, some in {"this sentence": activations[f"h.{BLOCK}.attn.probs"][0, HEAD, 1:7, 0], "scene": first}.items():
    print(f"{name:15}", *(f"{share:5.2f}" for share in some))
print(f"{'even spread':15}", *(f"{1 / row:5.2f}" for row in range(2, 8)))

# %% [markdown] tags=["en", "alt"]
# Two triangular maps of shares for 16 tokens. Left, block 3, head 0: in the first seven rows the first token, The, has
# the largest share; further down the darkest squares lie at most four places before the diagonal. Right, block 2,
# head 2: the columns of the word is, of the comma and of the semicolon are dark below the diagonal.

# %% [markdown] tags=["en"]
# On the left, in the rows of the first seven tokens the *first* token has the largest share, about 0.4 or more, where
# an even spread would give a seventh in the seventh row. A small sink? The numbers below the picture say no: in pieces
# of the scene, with other tokens at the first place, it gets a little more than from an even spread in the first two
# rows, and less in the last ones. So it is a matter of this sentence. From `_lord` on, recent tokens have the largest
# share: `_lord` looks at `_my` and `_say` at `_I`, but `_king` looks at `_say`, two places back. So "the head for the
# previous token" would be too fine a name. On the right the columns of the comma (for two tokens) and the semicolon
# (for six) are dark: whoever comes after a mark looks back at it. Before there is a mark, the column of the first `_is`
# is as dark; but the table above, on another text, confirms the habit. Most heads have none that one can name. Whether
# they matter is asked in question 7.
#
# ### Why does generation not read everything again?
#
# When a text is generated token by token, the mask has a second use. No token ever sees a later one, and so, when a
# token is added, *nothing changes for the ones before*: their keys and values stay the same. The new token needs them,
# and nothing else. So each block keeps them, in a **key/value cache**, and only one token has to be computed per step.
# That is `past`, in the source above; [exercise 11](../exercises/student/11_generation.ipynb) builds one. No
# approximation is involved. We give the scene to the model one token at a time and compare with reading it whole:

# %%
whole, cache = model.forward(ids)
past = model.key_value_cache(B=1)
rows = [model.forward(ids[:, t : t + 1], past=past)[0] for t in range(T)]
style.show_agreement("logits, one token at a time", relative_error(np.concatenate(rows, axis=1), whole)[0])
keys = past[3].keys[:, :, :T], cache["h"][3]["attn"]["k"]
style.show_agreement("keys that block 3 remembers", relative_error(*keys)[0])
print(f"tokens computed, step by step: {T:,} with the cache, {T * (T + 1) // 2:,} without")

# %% [markdown] tags=["en"]
# With `causal=False` none of this would hold: every new token would change all the others.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What are the query, the key and the value of a token, in one sentence each? Which of them may have a different
#    length from the others? *Hint: which two meet in a dot product?*
#
#    <details><summary>Answer</summary>
#
#    The query is what the token looks for, the key is what it is found by, the value is what it hands over to those
#    that look at it. Query and key must have the same length, as their products are summed channel by channel. The
#    value may have any length; $W_\mathrm{proj}$ would then have another number of rows.
#
#    </details>
#
# 2. Someone sets the masked entries to 0 *after* the softmax, and not to $-\infty$ before it. Is the model still
#    causal? What else is wrong? *Hint: add up a row. And which keys contribute to $Z$?*
#
#    <details><summary>Answer</summary>
#
#    It is not causal. Future *values* are shut out, but $Z$ is still a sum over all keys, so a later token changes $Z$,
#    and with it every share before it. And a row no longer adds up to 1: what the future keys had is lost, so the
#    result is not a mean, and the first tokens get the least.
#
#    </details>
#
# 3. The bias of the key idles. What does the bias of the *value* do? Show that it could be moved into $b_\mathrm{proj}$
#    without changing the model. *Hint: the shares of a row add up to 1.*
#
#    <details><summary>Answer</summary>
#
#    Let every value of a head be $v_j + b$. Then
#    $\sum_j \mathrm{probs}_{ij}\,(v_j + b) = \sum_j \mathrm{probs}_{ij}\,v_j + b\,\sum_j \mathrm{probs}_{ij}$, and that
#    is $\mathrm{head}_i + b$: each head's result shifts by its own $b$, for every token alike. Side by side, these make
#    one vector $b_v$ with $C$ channels, and
#    $y = (\mathrm{heads} + b_v)\,W_\mathrm{proj} + b_\mathrm{proj}$, which is
#    $\mathrm{heads}\,W_\mathrm{proj} + (b_v\,W_\mathrm{proj} + b_\mathrm{proj})$. So set the bias of the value to zero
#    and $b_\mathrm{proj}$ to the bracket. (It does not hold with dropout on the shares, 2.5.6: then they no longer add
#    up to 1.)
#
#    </details>
#
# 4. Take out the position vectors (`model.params["wpe"]["weight"][...] = 0`) and exchange the first two tokens of a
#    text. Do the logits after its last token change with `causal=False`? And with `causal=True`? Predict, then try.
#    *Hint: does a weighted mean depend on the order of its terms? And which tokens do the first two see?*
#
#    <details><summary>Answer</summary>
#
#    With `causal=False` they do not: every token sees the same vectors as before, in another order, and means do not
#    depend on order. With `causal=True` they do. In block 0 the first token sees only itself and the second both, so
#    after the exchange both get other vectors, and from block 1 on the later tokens see these. On the sentence of
#    section 1 the largest change of a logit after the last token is 0.25.
#
#    </details>
#
# 5. What is the loss of the model that was trained without the mask, if it is then *used* with it? Predict: above
#    $\ln 10$, below it, or equal? Let `losses_of` return the model as well, and measure it. *Hint: how sure is it of
#    what it says?*
#
#    <details><summary>Answer</summary>
#
#    Far above: 5.1. The model has learned to be sure (its largest probability is 0.8 in the mean), because the answer
#    was always there. Now it is not, and it names a digit, with the same confidence, that is right one time in ten.
#
#    </details>
#
# 6. Does the square root matter in training? Make a task for attention: eight random digits, then the same eight again,
#    with targets in the second half only. Train with `losses_of(task, 300, n_embd=64, n_head=1, lr=1e-3, seed=seed)`
#    for three seeds, and again with 1 in place of $\sqrt D$: replace `math` in the attention module by an object whose
#    `sqrt` returns 1.0. *Hint: `mock.patch("minigpt2.components.attention.math", ...)`, and
#    `types.SimpleNamespace(sqrt=...)`.*
#
#    <details><summary>Answer</summary>
#
#    | loss at step (mean of ten steps) | 40 | 60 | 100 | 200 |
#    |---|---|---|---|---|
#    | divided by $\sqrt{64}$, three seeds | 0.08 to 0.23 | 0.01 | 0.00 | 0.00 |
#    | not divided | 1.5 to 2.0 | 0.8 to 1.0 | 0.01 to 0.3 | 0.00 |
#
#    (In the second row much depends on the seed, and on which places count: in other versions of the task it was 0.4 to
#    1.6 at step 60.) Without the square root the task is learned too, but it takes two to four times as long. So on
#    this task, with one learning rate, the division buys time; that it would make learning *possible* is not shown.
#
#    </details>
#
# 7. Do single heads matter? Take heads out of a copy of the model, by setting the rows of $W_\mathrm{proj}$ that read
#    them to zero (rows $hD$ to $hD + D - 1$ of `c_proj`), and see how much the loss on the scene rises: without one
#    head, without all four of a block, without all sixteen. *Hint: `copy.deepcopy(model)`.*
#
#    <details><summary>Answer</summary>
#
#    The loss is 3.46. Without a single head it changes by $-0.02$ to $+0.03$, without a whole block's by 0.06 to 0.09,
#    and without any attention it rises by 0.66. So the heads stand in for each other: what a single one sees is also
#    seen by others. (It measures what the model loses on one scene of 216 tokens, and not how well it could be trained
#    without those heads.)
#
#    </details>

# %% [markdown] tags=["en"]
# After the exchange between tokens, each of them thinks by itself. **Next:**
# [2.5.4, feed-forward network](2_5_4_feed_forward.ipynb)
