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

# %%
import copy
import sys
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.key_value_cache import KeyValueCache, KeyValueCaches
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document's entry is short: the component is multi-head self-attention, and it lets the model attend to several
# positions at the same time. That is true. It leaves out the half that makes GPT-2 a GPT: *which* positions. In GPT-2 a
# token attends to itself and to the tokens **before** it, never to a later one. This is called **causal** attention
# (Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 3.1, take the *decoder*
# of the Transformer, whose attention is masked in this way: Vaswani et al. 2017, section 3.2.3). BERT, which the
# document names in the same breath as GPT-2, has the same attention without that restriction.
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
# Think of a meeting. Everybody at the table holds three cards, and writes all three from their own knowledge:
#
# - the **query**, a question to the others: *is there a noun in the plural?*
# - the **key**, a subject to be asked about: *I am a noun in the plural.*
# - the **value**, the answer if asked: *I am about kings.*
#
# A query and a key are vectors of the same length, and how well they fit is their *dot product*: the sum of the
# products of their channels, large where they point the same way. So everyone compares their query with all the keys,
# gets a number from each, a **score**, and turns the scores into shares that add up to 1, by the **softmax**. Everyone
# takes home the mean of all the values, weighted with these shares.
#
# That is all. Nobody decides who listens to whom: it follows from the cards, and the thing that is learned is *how to
# write cards*. Because the questions come from the same tokens as the answers, it is called **self**-attention.
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
axes.text(-0.6, 2.45, "share = softmax of query · key\nresult = sum of share · value", va="center", color="0.3")
plt.show()

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# One convention for the whole book: for any number $v$ in the model, $dv$ is short for the gradient
# $\partial\,\mathrm{loss} / \partial v$. An array and its gradient have the same shape. The backward pass of a
# function is handed the gradient of its output and has to find the gradients of its inputs.
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `x` | `(B, T, C)` | input, a normalized copy of the tokens' vectors (see 2.5.5) |
# | $H$, $D$ | `n_head`, `D` | | number of heads, and channels of each: $D = C / H$ |
# | $W_\mathrm{attn}$, $b_\mathrm{attn}$ | `c_attn` | `(C, 3C)`, `(3C,)` | parameters that write the three cards |
# | $q$, $k$, $v$ | `q`, `k`, `v` | `(B, H, T, D)` | queries, keys, values |
# | $\mathrm{scores}$ | `scores`, later overwritten | `(B, H, T, T)` | a row for each query, a column for each key |
# | $\mathrm{probs}$ | `probs` | `(B, H, T, T)` | the shares; each row adds up to 1 |
# | $\mathrm{heads}$ | `heads` | `(B, T, C)` | the results of all heads, side by side |
# | $W_\mathrm{proj}$, $b_\mathrm{proj}$ | `c_proj` | `(C, C)`, `(C,)` | parameters that mix the heads |
# | $y$ | `y` | `(B, T, C)` | output |
#
# ### Forward
#
# **Step 1: the cards.** One matrix product makes all three at once, and its $3C$ columns are cut in three:
#
# $$[\,q \;\; k \;\; v\,] = x\,W_\mathrm{attn} + b_\mathrm{attn}.$$
#
# Each of them has $C$ channels, which are cut again, into $H$ heads of $D$ channels. From here to step 5 the heads know
# nothing of each other; so let us take one head of one text, where $q$, $k$ and $v$ are $T\times D$.
#
# **Step 2: the scores.** For the query of token $i$ and the key of token $j$,
#
# $$\mathrm{scores}_{ij} = \frac{1}{\sqrt D}\sum_d q_{id}\,k_{jd}, \qquad\text{or}\quad
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
# $q_d k_d$ then has mean 0 and variance 1 as well (the mean of $q_d^2 k_d^2$ is the product of the means, $1\cdot 1$),
# and since variances of independent numbers add up,
#
# $$\operatorname{variance}\Bigl(\sum_{d=1}^{D} q_d k_d\Bigr) = D .$$
#
# The more channels, the larger the scores, by a factor of $\sqrt D$. In every released GPT-2 a head has 64 channels
# ($768/12 = 1024/16 = 1280/20 = 1600/25$), and scores of $\pm 8$ would be ordinary. The softmax exponentiates them, and
# $e^{8}$ is about 3000: the best key gets almost everything. Dividing by $\sqrt D$ brings the variance back to 1,
# whatever $D$ is (Vaswani et al. 2017, footnote 4). Section 6 measures what that buys.
#
# ### Backward: the matrix product
#
# Steps 2 and 5 are products of matrices, so we derive their gradient once and for all. Let $z = a\,b$, that is
# $z_{ij} = \sum_m a_{im}\,b_{mj}$. If the element $a_{im}$ grows by a tiny $h$, then $z_{ij}$ grows by $h\,b_{mj}$, for
# every $j$, and no other row of $z$ changes. The chain rule sums over everything that changes:
#
# $$da_{im} = \sum_j dz_{ij}\,b_{mj} = (dz\;b^\top)_{im}, \qquad\text{and likewise}\qquad
#   db_{mj} = \sum_i a_{im}\,dz_{ij} = (a^\top dz)_{mj} .$$
#
# Nobody has to remember that: $da$ must have the shape of $a$, and if the matrices are not square, there is only one
# way to multiply $dz$ and $b$ that gives it.
#
# ### Backward: the softmax
#
# Take one row, omit its index, and call its shares $p$: $p_s = e^{\mathrm{scores}_s} / Z$ with
# $Z = \sum_s e^{\mathrm{scores}_s}$. The score $j$ acts on $p_s$ twice, in the numerator if $s = j$, and always in $Z$,
# whose derivative is $\partial Z/\partial\,\mathrm{scores}_j = e^{\mathrm{scores}_j}$. Write $\delta_{sj}$ for 1 if
# $s = j$ and 0 otherwise. The quotient rule gives
#
# $$\frac{\partial p_s}{\partial\,\mathrm{scores}_j}
#   = \frac{\delta_{sj}\,e^{\mathrm{scores}_s}}{Z} - \frac{e^{\mathrm{scores}_s}}{Z}\cdot\frac{e^{\mathrm{scores}_j}}{Z}
#   = p_s\,(\delta_{sj} - p_j) .$$
#
# Every score acts on every share, because they have to add up to 1. So the chain rule sums over all of them:
#
# $$d\mathrm{scores}_j = \sum_s dp_s\;p_s\,(\delta_{sj} - p_j) = p_j\,\Bigl(dp_j - \sum_s dp_s\,p_s\Bigr) .$$
#
# In words: **a score should change as far as its key does better or worse than the mean of the row, and in proportion
# to its share.** Two things follow. A key without a share gets no gradient, so the mask takes care of itself on the way
# back. And the row adds up to zero: $\sum_j d\mathrm{scores}_j = \sum_j p_j dp_j - \bigl(\sum_j p_j\bigr)\sum_s dp_s
# p_s = 0$. It could not be otherwise, since raising all scores of a row alike changes nothing.
#
# ### Backward: all of it
#
# We are given $dy$ and go from the last step to the first. Step 1 and the end of step 5 are of the form $y = x\,W + b$,
# which is called a *linear layer*. From the rule above, $dx = dy\;W^\top$ and $dW = x^\top dy$; and $db$ is the sum of
# $dy$ over all tokens, because each of them has $b$ added to it. (Notebook 2.5.4 writes it out.)
#
# - $y = \mathrm{heads}\,W_\mathrm{proj} + b_\mathrm{proj}$, a linear layer:
#   $\;d\mathrm{heads} = dy\,W_\mathrm{proj}^\top .$
# - The heads stand side by side: cut $d\mathrm{heads}$ in the same places. Nothing is computed.
# - $\mathrm{head} = \mathrm{probs}\;v$, a product:
#   $\;d\mathrm{probs} = d\mathrm{head}\;v^\top$ and $dv = \mathrm{probs}^\top\,d\mathrm{head} .$
# - $\mathrm{probs} = \mathrm{softmax}(\mathrm{scores})$:
#   $\;d\mathrm{scores}$ from $d\mathrm{probs}$ and $\mathrm{probs}$, row by row, as just derived.
# - $\mathrm{scores} = q\,k^\top/\sqrt D$, a product:
#   $\;dq = d\mathrm{scores}\;k/\sqrt D$ and $dk = d\mathrm{scores}^\top\,q/\sqrt D .$
# - $[\,q\;k\;v\,] = x\,W_\mathrm{attn} + b_\mathrm{attn}$, a linear layer:
#   $\;dx = [\,dq\;dk\;dv\,]\,W_\mathrm{attn}^\top .$
#
# In the last line $x$ is used three times, for the query, the key and the value, and so its three gradients have to be
# added. The matrix product does that by itself: it sums over all $3C$ columns.
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
# `keys` and `pairs`, the places of a block, as "all", and `S`, the number of keys, as `T`. `unseen` is the mask: zeros
# on and below the diagonal, $-\infty$ above. Two arguments are explained later: `dropout`, to which the variable `mask`
# belongs, in notebook 2.5.6, and `past` at the end of this one; without `keep` the probabilities are not kept, and
# `padding` hides what fills up the shorter of several prompts. `xp` is NumPy (or CuPy, for arrays on a graphics card).
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


show(probs=cache["probs"][0, 0], y=y.ravel())
print()
probs = cache["probs"][0, 0, 2]
dprobs = cache["v"].ravel()  # dhead v^T with dhead = 1
show(dprobs=dprobs, dscores=softmax_backward(dprobs, probs), dk=dcache["k"].ravel(), dv=dcache["v"].ravel())
print()
show(dbias_of_key=grads["c_attn"]["bias"][1])

# %% [markdown] tags=["en"]
# The scores are $0$, $\ln 2$ and $0$; their exponentials are 1, 2 and 1. The first token sees only itself. The second
# sees 1 and 2, so its shares are $1/3$ and $2/3$. The third sees all of them, with shares $1/4$, $2/4$, $1/4$, and
# takes home $\tfrac14\cdot 0 + \tfrac12\cdot 1 + \tfrac14\cdot 0 = \tfrac12$.
#
# Backward: $d\mathrm{probs} = v = (0, 1, 0)$, and its mean, weighted with the shares, is $1/2$. The second key did
# better than that by $1/2$ and has the share $1/2$, so $d\mathrm{scores}_2 = 1/4$. The others did worse by $1/2$
# and have the share $1/4$, so they get $-1/8$ each. The three add up to zero, and with $q = 1$ they are $dk$ as well:
# the bias of the key gets nothing.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative.** `gradient_check` nudges every input up and down by a tiny step, looks at
# how the output changes, and compares that with what the backward pass claims. Two texts of five tokens, six channels,
# two heads:

# %%
reference = recorded("attention")
inputs = {name: reference["inputs"][name] for name in ("x", "params")}
forward = partial(attention_forward, n_head=2)
style.show_check(minigpt2.gradient_check(forward, attention_backward, inputs))

# %% [markdown] tags=["en"]
# A check that cannot fail is worth nothing. A common mistake is to differentiate the softmax as if each share depended
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
# attention. So the package carries values that PyTorch computed, recorded once, in 64-bit floating point, where
# rounding errors are about $10^{-16}$. The error is the largest difference, relative to the largest value. The second
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
# (In 32-bit floating point the gradient is not zero but rounding noise, and an optimizer such as Adam (2.5.9), which
# divides by the size of the gradient, makes ordinary steps from that noise. So two training runs that agree in
# everything else may be far apart in this part, and that is no mistake.)

# %% [markdown] tags=["en"]
# ## 6. What is it all for?
#
# ### What if a token could see the next one?
#
# Here is a text that nobody can predict: random digits. A model that knows nothing gives each of the ten the chance
# $1/10$, its loss is $\ln 10$, and nobody can do better. We train two small models, one with the mask and one without.

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


print("ln 10         ", f"{np.log(10):.2f}")
print("ln 10 / 16    ", f"{np.log(10) / T:.2f}")
figure, axes = plt.subplots(figsize=(6.5, 2.8))
for causal, label in ((True, "with the mask"), (False, "without the mask")):
    losses = losses_of(random_digits, steps, causal)
    axes.plot(range(1, steps + 1), losses, label=label)
    print(f"{label:17} loss of the last 20 steps: {np.mean(losses[-20:]):.2f}")
axes.axhline(np.log(10), color="0.6", lw=1, ls=":")
axes.text(steps, np.log(10) - 0.08, "the best possible", color="0.4", ha="right", va="top")
axes.set(xlabel="step", ylabel="loss (nats)", ylim=(0, 3.4), title="Predicting random digits")
axes.legend(loc="center right")
plt.show()

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
# First with random numbers, as in section 3: 64 keys, and heads with more and more channels. We ask three questions
# about the softmax. How evenly does it spread its attention? That is measured by its **entropy**,
# $-\sum_s p_s \ln p_s$, which is 0 when one key has everything, and $\ln 64$ when all have the same share. How large is
# the gradient that comes through it, in the median case? And how many keys are left with a share, and so with a
# gradient, of practically nothing?

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

# %% [markdown] tags=["en"]
# With the division hardly anything depends on $D$ any more. Without it, at $D = 64$, nine keys in ten are cut off: they
# have no share worth mentioning, hence hardly a gradient, hence hardly a way to get a share. Before the model has
# learned anything, it has settled on the keys that chance made best. The gradient as a whole shrinks later: at $D = 16$
# it is still no smaller, at $D = 64$ it is half as large in the median case, at 1024 it is gone. (Vaswani et al. 2017,
# section 3.2.1, suspect exactly this: a softmax that is pushed into a region where its gradients are extremely small.)
#
# Does it matter in training? Here is a task for attention: eight random digits, and then the same eight again. After
# the first half a model can know every digit: it is the one eight places before. Only there does the loss count. We
# train models with a single head of 64 channels in each of their two blocks, from three seeds, with the square root and
# with 1 in its place:


# %%
def copied_digits(rng):
    """ids, targets (32, 16): eight random digits, twice, then the first again; -100 where none can be known."""
    digits = rng.integers(0, 10, (32, 8))
    digits = np.concatenate([digits, digits, digits[:, :1]], axis=1)
    targets = digits[:, 1:].copy()
    targets[:, :7] = -100
    return digits[:, :-1], targets


steps = 60
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.0))
for scaled, label, color, dash, marker in (
    (True, "divided", style.BLUE, "-", "o"),
    (False, "not divided", style.ORANGE, "--", "s"),
):
    left.semilogx(widths, [rows[scaled, D][1] for D in widths], marker=marker, label=label, base=2)
    # In place of the module math, of which attention uses the square root only:
    square_root = SimpleNamespace(sqrt=lambda D, scaled=scaled: float(np.sqrt(D)) if scaled else 1.0)
    with mock.patch("minigpt2.components.attention.math", square_root):
        curves = [losses_of(copied_digits, steps, n_embd=64, n_head=1, lr=1e-3, seed=seed) for seed in (0, 1, 2)]
    for losses in curves:
        right.plot(range(1, steps + 1), losses, color=color, ls=dash, lw=1.2)
    print(f"{label:12} loss of the last 10 steps, three seeds:", *(f"{np.mean(losses[-10:]):.1f}" for losses in curves))
left.set(xlabel="channels of a head, D", ylabel=r"entropy / $\ln\,64$", ylim=(0, 1), title="Random numbers: evenness")
left.legend(title=r"by $\sqrt{D}$:", alignment="left")
right.set(xlabel="step", ylabel="loss (nats)", ylim=(0, 3.0), title="In training: copying, D = 64")
plt.show()

# %% [markdown] tags=["en"]
# With the square root all three have learned the task after forty steps; without it none of them has after sixty. This
# does not show that it could not be learned in the end. Set `steps` to 300, and see. And the damage depends on how
# large the parameters are at the start. Here they give queries and keys of variance 1, as in our calculation. GPT-2
# begins with weights of standard deviation 0.02, which in the smallest model, with 768 channels, gives queries of
# standard deviation $0.02\,\sqrt{768} \approx 0.55$, and so it begins in a milder place.
#
# ### What do the heads look at?
#
# Attention is one of the few things in a neural network that can be read directly: `probs` says who looked at whom.
# The built-in model has 4 blocks of 4 heads, and it reads the scene from section 5. For every head we ask how much
# of its attention, in the mean over the tokens from the 21st on, goes to
#
# - the token *itself*, and the *previous* one;
# - tokens of its own *line*;
# - the place *after an earlier copy*: if the text reads ... `A B` ... `A`, that is the `B`. A head that looks there can
#   guess that `B` comes again. It is called an *induction head* (Elhage et al. 2021, "A Mathematical Framework for
#   Transformer Circuits"; Olsson et al. 2022, "In-context Learning and Induction Heads"). The mean is over the tokens
#   that have an earlier copy.
#
# A head that looks at all tokens alike would also get something in every column. So the first row shows such a head.

# %%
ids, names = np.array([tokenizer.encode(play)]), ["itself", "previous", "own line", "after a copy"]
T = ids.shape[1]
i, j = np.arange(T)[:, None], np.arange(T)
ends_line = np.array([tokenizer.decode([token]).endswith("\n") for token in ids[0].tolist()])
line = np.concatenate([[0], np.cumsum(ends_line)[:-1]])
before = np.concatenate([[-1], ids[0, :-1]])  # the token before each
relations = [i == j, i - 1 == j, line[:, None] == line, (before == ids[0][:, None]) & (j <= i)]
late = np.arange(T) >= 20


def looks(probs):
    """The share of attention (T, T) that goes to each of the relations."""
    return [(probs * r).sum(axis=1)[late & r.any(axis=1)].mean() for r in relations]


activations = minigpt2.trace(model, ids)
even = np.tril(np.ones((T, T))) / np.arange(1, T + 1)[:, None]
heads = [(block, head) for block in range(4) for head in range(4)]
table = np.array([looks(even)] + [looks(activations[f"h.{b}.attn.probs"][0, h]) for b, h in heads])

print(f"{'':16}", *(f"{name:>14}" for name in names))
for label, row in zip(["all alike", *(f"block {b}, head {h}" for b, h in heads)], table, strict=True):
    print(f"{label:16}", *(f"{share:14.2f}" for share in row))
print()
chosen = {}
for column in (1, 3):
    best = int(table[1:, column].argmax())
    chosen[names[column]] = heads[best]
    b, h = heads[best]
    ratio = table[1 + best, column] / table[0, column]
    print(f"{names[column]:12} most in block {b}, head {h}: {ratio:.0f} times as much as all alike")

# %% [markdown] tags=["en"]
# Every head keeps to its own line far more than an even spread would, those of block 1 the least. But look also at what
# is *not* there: no head gives most of its attention to the previous token, or to the place after a copy. In other
# models such pure heads have been found (the papers above show some). This one is small, was trained on one megabyte,
# and its heads do a little of everything. Here are the two with the strongest leaning, on a sentence:

# %%
sentence = "The king is kind, my lord; I say the king is old."
short = np.array([tokenizer.encode(sentence)])
labels = [tokenizer.decode([token]).replace(" ", "_") for token in short[0].tolist()]
activations = minigpt2.trace(model, short)
figure, axes = plt.subplots(1, 2, figsize=(7.6, 4.0), sharey=True)
for axis, (name, (b, h)) in zip(axes, chosen.items(), strict=True):
    image = axis.imshow(activations[f"h.{b}.attn.probs"][0, h], vmin=0, vmax=1)
    axis.grid(visible=False)
    axis.set_xticks(range(len(labels)), labels, rotation=90, family="monospace")
    axis.set_yticks(range(len(labels)), labels, family="monospace")
    axis.set(xlabel="looked at (_ is a space)", title=f"{name}: block {b}, head {h}")
axes[0].set_ylabel("token that looks")
figure.colorbar(image, ax=axes, label="attention", shrink=0.8)
plt.show()

# %% [markdown] tags=["en"]
# On the left, the squares below the diagonal are the previous token: `_lord` looks at `_my`. But just as often a token
# looks at the one before that, or at the first of all. On the right, find `_the` in the second half: it looks back at
# `_king`, which came after the first `The`, and `_king` will come again. (It is not a copy in the strict sense of the
# table: to the model `The` and `_the` are two tokens.)
#
# **Do they matter?** A head may look somewhere without anything being done with the result. So we take heads out, by
# setting the rows of $W_\mathrm{proj}$ that read them to zero, and see how much the loss on the scene rises.

# %%
D = C // model.config.n_head


def rise(*removed):
    """How much the loss rises when the heads in ``removed``, pairs (block, head), are taken out."""
    maimed = copy.deepcopy(model)
    for b, h in removed:
        maimed.params["h"][b]["attn"]["c_proj"]["weight"][h * D : (h + 1) * D] = 0
    return round(maimed.loss(x, targets) - loss, 2) + 0.0  # and not -0.0


print(f"loss of the whole model: {loss:.2f}\n\nrise without   head 0  head 1  head 2  head 3   all four")
for b in range(4):
    block = [(b, h) for h in range(4)]
    print(f"block {b}       ", *(f"{rise(place):7.2f}" for place in block), f"{rise(*block):10.2f}")
print(f"\nwithout attention in any block: {rise(*heads):.2f}")

# %% [markdown] tags=["en"]
# Hardly any single head is missed, and an apparent gain is within the range of chance for a scene of so few tokens.
# Even a whole block's attention can be spared at a small price. Only without any attention at all, when every token is
# alone with itself and its position, is the model clearly worse: the heads stand in for each other. (This measures what
# the model loses on one scene, not how well it could be trained without attention.)
#
# ### Why does generation not read everything again?
#
# When a text is generated token by token, the mask has a second use. No token ever sees a later one, and so, when a
# token is added, *nothing changes for the ones before*: their keys and values stay the same. The new token needs them,
# and nothing else. So each layer keeps them, in a **key/value cache**, and only one token has to be computed per step.
# That is `past`, in the source above.

# %%
style.show_source(KeyValueCache, KeyValueCaches)

# %% [markdown] tags=["en"]
# No approximation is involved. We give the scene to the model one token at a time and compare with reading it whole:

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
# 2. Someone sets the masked entries to 0 *after* the softmax, and not to $-\infty$ before it. Is the model still
#    causal? What is wrong nevertheless? *Hint: add up a row. And which keys contribute to $Z$?*
# 3. The bias of the key idles. What does the bias of the *value* do? Show that it could be moved into $b_\mathrm{proj}$
#    without changing the model. *Hint: the shares of a row add up to 1.*
# 4. Take out the position vectors (`model.params["wpe"]["weight"][...] = 0`) and exchange the first two tokens of a
#    text. Do the logits after its last token change with `causal=False`? And with `causal=True`? Predict, then try.
#    *Hint: does a weighted mean depend on the order of its terms? And which tokens do the first two see?*
# 5. What is the loss of the model that was trained without the mask, if it is then *used* with it? Predict: above
#    $\ln 10$, below it, or equal? Let `losses_of` return the model as well, and measure it. *Hint: how sure is it of
#    what it says?*
