# %% [markdown] tags=["en"]
# # 2.5.1 嵌入层 · Embedding layer
#
# A computer reads a text as numbers: each piece of it, each **token**, has a number in a list, the *vocabulary*. But
# these numbers are only names. Token 500 is not "more" than token 499, and not twice as much as token 250. Before a
# network can calculate with tokens, each needs a description in numbers that mean something. This is the embedding
# layer: a table with a row of numbers for every token. At the far end of GPT-2 the very same table turns numbers back
# into tokens.
#
# You need Python, NumPy and the chain rule from school, and these words:
#
# - A **vector** is a row of $C$ numbers, called *channels*. The **dot product** of two vectors multiplies them channel
#   by channel and adds up; it is large when they point the same way.
# - The **vocabulary** has $V$ tokens, numbered $0 \ldots V-1$. The number of a token is called its **id**.
# - The model works on $B$ texts of $T$ tokens at once: on ids of shape `(B, T)`, on vectors of shape `(B, T, C)`.
# - A **logit** is the score that the model gives to a token as the next one. There is one for each: `(B, T, V)`.
# - The **loss** is one number that says how bad the scores are. Its derivative with respect to some number in the model
#   is called the **gradient** there, and training moves every parameter a little against it.
#
# **Exercise:** [2, the embedding](../exercises/student/02_embedding.ipynb)

# %%
import math
import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import ConnectionPatch

sys.path.insert(0, "..")  # style.py and graphs.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.embedding import (
    embedding_backward,
    embedding_forward,
    unembedding_backward,
    unembedding_forward,
)
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.evaluation import total_nats
from minigpt2.model import gpt2_backward, gpt2_forward
from minigpt2.reference import CASES, TINY, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# In the document this is the first component: 将输入的整数序列转化为固定维度的向量，称为嵌入向量, it turns a sequence
# of integers into vectors of a fixed dimension, called embedding vectors. So it does. Then:
# 嵌入向量的数量一般比字典的大小小, the *number* of these vectors is usually smaller than the dictionary. That is a
# slip. There is exactly one vector for every entry of the vocabulary. Only their *dimension*, the number of channels,
# is smaller. Here is the table of the small model that comes with this package, and the sizes of the four released ones
# (Radford et al. 2019, table 2; the vocabulary is in section 2.3):

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
wte = model.params["wte"]["weight"]

print(f"{'model':12} {'tokens':>7} {'vectors':>8} {'channels':>9}")
print(f"{'shakespeare':12} {len(tokenizer):7} {wte.shape[0]:8} {wte.shape[1]:9}")
for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
    config = minigpt2.GPT2Config.preset(name)
    rows, channels = config.parameter_shapes()["wte.weight"]
    print(f"{name:12} {config.vocab_size:7} {rows:8} {channels:9}")

# %% [markdown] tags=["en"]
# Suppose that two tokens shared one vector. From there on the model could not tell them apart. It would continue "yes"
# and "no" in the same way. (There are models that share *parts* of vectors, by hashing or by splitting the table into
# two factors, so that a small number of parameters makes a vector for each of many tokens. The vectors themselves
# differ there too.) And what if an id has no vector? Then the library must refuse it, and it does, with a word of
# advice:

# %%
try:
    model.forward([[5, 1024]])
except ValueError as error:
    print(error)

# %% [markdown] tags=["en"]
# The document does not speak of the other end of the model. GPT-2 as released has no table of its own for the output;
# it uses the first one again. This is called **tying**, and it goes back to Press & Wolf 2017, "Using the Output
# Embedding to Improve Language Models", and to Inan et al. 2017, "Tying Word Vectors and Word Classifiers". (GPT-1 did
# so too: see $W_e$ at the beginning and $W_e^T$ at the end of eq. 2 in Radford et al. 2018.) The names of the
# parameters show it. A model that is not tied would have one called `lm_head`. (Section 6 counts what tying saves.)

# %%
for title, tied in {"tied": True, "untied": False}.items():
    shapes = minigpt2.GPT2Config(tie_word_embeddings=tied).parameter_shapes()
    print(f"{title:7} first {next(iter(shapes))}, last {list(shapes)[-1]}")

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **At the bottom: look up.** Think of a card index. Every token has a card with $C$ numbers on it. To embed a text is
# to pull out the cards of its tokens, in order. If a token occurs twice, its card is copied twice. Nobody writes the
# cards by hand. They begin as random numbers, and training corrects them.
#
# **At the top: compare.** In between are the *blocks*, in which the model does its thinking (2.5.3 to 2.5.5). After the
# last one it holds, for each token, a vector of $C$ numbers that describes what should come next. Compare it with every
# card, by the dot product. The card that fits best names the token that the model finds most likely.
#
# The picture has a vocabulary of five tokens and four channels.

# %%
words = ["to", "be", "or", "not", "."]
weight = np.random.default_rng(3).normal(size=(5, 4))
weight /= np.linalg.norm(weight, axis=1, keepdims=True)  # rows of the same length
sentence = np.array([[0, 1, 2, 3, 0, 1]])
y, _ = embedding_forward(sentence, weight)
x = np.array([weight[4] + [0.2, -0.2, 0.2, 0.1]])  # a possible output of the blocks: close to the card of "."
logits, _ = unembedding_forward(x, weight)

# %%
figure, axes = plt.subplot_mosaic([["y", "W", "x"], ["y", "W", "logits"]], figsize=(8.6, 3.2), height_ratios=[1, 3.6])
figure.get_layout_engine().set(wspace=0.12)
pictures = {
    "y": (y[0], [words[i] for i in sentence[0]], "vectors y of a text"),
    "W": (weight, words, "the table W"),
    "x": (x, ["x"], "a vector x"),
}
for name, (rows, labels, title) in pictures.items():
    axis = axes[name]
    image = axis.imshow(rows, vmin=-1.2, vmax=1.2, aspect="auto", cmap="PRGn")
    axis.set(yticks=range(len(labels)), yticklabels=labels, xticks=range(4), title=title)
    axis.grid(False)
    axis.tick_params(length=0)
axes["W"].yaxis.tick_right()
axes["y"].set_xlabel("channel")
axes["W"].set_xlabel("channel")
for t, i in enumerate(sentence[0]):
    arrow = ConnectionPatch((-0.55, i), (3.55, t), "data", "data", axesA=axes["W"], axesB=axes["y"], arrowstyle="->")
    arrow.set(annotation_clip=False, color=style.ORANGE)
    figure.add_artist(arrow)
axes["logits"].barh(range(5), logits[0], color=[style.GREY] * 4 + [style.BLUE], height=0.6)
axes["logits"].set(ylim=(4.5, -0.5), yticks=range(5), yticklabels=words)
axes["logits"].set(xlabel="dot product with x", title="logits of x")
figure.colorbar(image, ax=list(axes.values()), shrink=0.9, aspect=30, label="value")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Three parts. In the middle the table W, five rows of four channels. Orange arrows lead from its rows to the left, to
# the vectors of the text "to be or not to be": the rows of "to" and "be" have two arrows each, and the vectors are
# copies. On the right a vector x, whose colours are nearly those of the row of the full stop, and below it bars, its
# dot products with the five rows; that with the full stop is the largest, 1.3, the next one is 0.8.

# %% [markdown] tags=["en"]
# Read it from the middle. To the left, rows of the table are copied to where their tokens stand: the two "to" get the
# same vector. To the right, some vector $x$ is compared with each of the five rows. It was made to resemble the row of
# the full stop, and so the full stop wins.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# As everywhere, $dz$ is short for the gradient of a number $z$, and an array and its gradient have the same shape
# (2.0).
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $\mathrm{ids}$ | `ids` | `(B, T)` | integers $0 \ldots V-1$ |
# | $W$ | `weight` | `(V, C)` | the table; `wte` in GPT-2, for *word token embedding* |
# | $y$ | `y` | `(B, T, C)` | the tokens' vectors |
# | $x$ | `x` | `(B, T, C)` | the vectors after the last block, brought to a common size (2.5.5) |
# | $\mathrm{logits}$ | `logits` | `(B, T, V)` | a score for every token |
#
# ### Embedding
#
# $$y_{btc} = W_{\mathrm{ids}_{bt},\,c}$$
#
# How do we differentiate an index? We write it as a product. Let $\mathrm{onehot}_{btv}$ be 1 where
# $\mathrm{ids}_{bt}=v$ and 0 everywhere else. A sum over all tokens then picks out a single row:
#
# $$y_{btc} = \sum_v \mathrm{onehot}_{btv}\,W_{vc} .$$
#
# So the embedding layer is a matrix product with a matrix that is almost all zeros. The lookup gives the same and
# spares us the zeros. Now the backward pass is two steps of school calculus; it is rule R5 of 2.0, *gather and
# scatter-add*.
#
# **Step 1.** One element $W_{vc}$ of the table acts on $y_{btc}$, through the factor in front of it, and on no other
# channel:
#
# $$\frac{\partial y_{btc}}{\partial W_{vc}} = \mathrm{onehot}_{btv} .$$
#
# **Step 2: the chain rule.** It acts on the loss through the $y$ of every text $b$ and every place $t$, so we sum:
#
# $$dW_{vc} = \sum_{b,t} dy_{btc}\,\mathrm{onehot}_{btv} = \sum_{(b,t)\,:\,\mathrm{ids}_{bt}=v} dy_{btc} .$$
#
# In words: **the row of a token collects the gradients of all its occurrences.** A token that occurs twice collects
# two, a token that does not occur gets zero. And the ids? They are integers. One cannot change them by a little, so
# they have no gradient. Here the backward pass ends.
#
# ### Output layer
#
# The library calls it *unembedding*. Let $n$ count the tokens of all texts, $B\cdot T$ in all:
#
# $$\mathrm{logits}_{nv} = \sum_c x_{nc}\,W_{vc}, \qquad\text{or}\qquad \mathrm{logits} = x\,W^\top .$$
#
# This is a product of two matrices, and by rule R2 the gradient of each factor is a product with the other one:
#
# $$dx_{nc} = \sum_v d\,\mathrm{logits}_{nv}\,W_{vc}, \qquad dW_{vc} = \sum_n d\,\mathrm{logits}_{nv}\,x_{nc},$$
#
# or $dx = d\,\mathrm{logits}\;W$ and $dW = d\,\mathrm{logits}^\top x$. (The first is the vector-Jacobian product of
# 2.0: $W$ is the Jacobian of the logits of one place with respect to its $x$.)
#
# ### Both uses of one table
#
# Pretend for a moment that there are two tables, $W^{\mathrm{in}}$ and $W^{\mathrm{out}}$, and that we have both
# gradients. Tying sets $W^{\mathrm{in}} = W$ and $W^{\mathrm{out}} = W$. By rule R6, used twice: add,
#
# $$dW = dW^{\mathrm{in}} + dW^{\mathrm{out}} .$$
#
# **The shares add up.** They are of very different kinds. $dW^{\mathrm{in}}$ is zero except for the few tokens in the
# texts. $dW^{\mathrm{out}}$ is zero in no row: every token has a logit at every place, and it is a little too high even
# for a token that nobody mentioned. Keep that in mind; we shall meet it again in section 6.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2 without checks and without tricks.
# Your derivation ends in exactly these lines. A `forward` returns its result and a *cache*, the values that `backward`
# will need; `rows(x)` puts all vectors of `x` below each other, as one matrix.

# %%
style.show_plain("embedding", "unembedding")

# %% [markdown] tags=["en"]
# Now the library's own code, fetched while the notebook was built. It computes the same (a test holds the two equal, to
# $10^{-12}$), and it can do more. `xp` is NumPy (or CuPy, for arrays on a graphics card), and `add_rows(table, ids,
# rows)` does what `table[ids] += rows` looks like. Section 5 shows why that line is not there. (`np.add.at`, on the
# page above, does the same and is slower.) `matmul(x, y)` is `x @ y`, with the columns shared among the processor's
# cores. `check_ids` refuses numbers that are not tokens: NumPy would silently read row $-1$ from the end of the table.
# `out` is a place to write the gradient to. `add_to` serves tying: the output layer has written its share into an
# array, and `embedding_backward` adds to it.

# %%
style.show_source(embedding_forward, embedding_backward, unembedding_forward, unembedding_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# Four tokens, two channels, and a text in which token 2 occurs twice.

# %%
weight = np.array([[1.0, 0], [0, 1], [2, 1], [1, 3]])
ids = np.array([[2, 0, 2]])
y, cache = embedding_forward(ids, weight)
dy = np.array([[[1.0, 0], [0, 2], [10, 4]]])
dweight = embedding_backward(dy, cache)

print("y\n", y[0], "\ndweight\n", dweight, sep="")
onehot = np.eye(4)[ids]
print("the same as products with onehot:", np.array_equal(y, onehot @ weight), end=" ")
print(np.array_equal(dweight, onehot[0].T @ dy[0]))

# %% [markdown] tags=["en"]
# Row 2 of `dweight` is $(1, 0) + (10, 4) = (11, 4)$: it was used at the first place and at the third. Row 0 has the
# gradient of the second place. Rows 1 and 3 were not used, and stay zero.
#
# Now both ends, with nothing between them: $x = y$. As our loss we choose a single logit, that of token 3 at the first
# place, so that its gradient is 1 there and 0 elsewhere. That place has token 2, so the loss is the dot product of rows
# 2 and 3, $W_{20}W_{30} + W_{21}W_{31} = 2\cdot1 + 1\cdot3 = 5$. From this formula you can read the gradient: for row 2
# it is row 3, and the other way round. The two functions, one after the other, find that too:

# %%
logits, head = unembedding_forward(y, weight)
dlogits = np.zeros_like(logits)
dlogits[0, 0, 3] = 1.0
dx, dweight_out = unembedding_backward(dlogits, head)
print("loss", logits[0, 0, 3])
print("share of the output layer\n", dweight_out, sep="")
total = embedding_backward(dx, cache, add_to=dweight_out.copy())
print("both shares\n", total, sep="")

# %% [markdown] tags=["en"]
# As a graph. Above each edge stands the value, in blue, below it the gradient, in orange. The table goes to two places:
# at the dot on the left the shares that come back from them are added.

# %%
lookup_share = embedding_backward(dx, cache)
graphs.draw(
    {"W": (0, 1), "•": (1, 1), "lookup": (2, 0), "· Wᵀ": (3, 1), "logits": (4, 1)},
    [
        ("W", "•", weight, total, "W"),
        ("•", "lookup", weight, lookup_share),
        ("•", "· Wᵀ", weight, dweight_out),
        ("lookup", "· Wᵀ", y[0], dx[0], "x"),
        ("· Wᵀ", "logits", logits[0], dlogits[0]),
    ],
)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The graph: the table W goes through a dot to the lookup, which gives the vectors x of the three places, and to the
# product with W transposed, which gives the logits of three places and four tokens. Below the edges: dlogits has a
# single 1; the share of the output layer has (2, 1) in row 3; dx has (1, 3) at the first place; the share of the lookup
# has (1, 3) in row 2; dW is their sum.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative** (`gradient_check`, 2.0). First each of the two functions alone, then both
# in sequence, with one table for both:

# %%
rng = np.random.default_rng(0)
ids = np.array([[2, 0, 2, 3], [1, 2, 3, 3]])
table = {"ids": ids, "weight": rng.normal(size=(5, 3))}
style.show_check(minigpt2.gradient_check(embedding_forward, embedding_backward, table))
vectors = {"x": rng.normal(size=(2, 4, 3)), "weight": rng.normal(size=(5, 3))}
style.show_check(minigpt2.gradient_check(unembedding_forward, unembedding_backward, vectors))


def tied_forward(weight):
    """Embed, and score at once: the smallest tied model, with nothing in between."""
    y, bottom = embedding_forward(ids, weight)
    logits, top = unembedding_forward(y, weight)
    return logits, (bottom, top)


def tied_backward(dlogits, caches):
    """dweight, the sum of both shares."""
    bottom, top = caches
    dx, dweight = unembedding_backward(dlogits, top)
    return embedding_backward(dx, bottom, add_to=dweight)


style.show_check(minigpt2.gradient_check(tied_forward, tied_backward, {"weight": table["weight"]}))

# %% [markdown] tags=["en"]
# Here are two mistakes that people make. One is the line that looks so natural in NumPy, `dweight[ids] += dy`. NumPy
# reads all the rows, adds, and writes them back. If an id occurs twice, the second result overwrites the first. The
# other is to forget that a tied table has two shares.

# %%
def overwriting_backward(dy, cache):
    """The embedding's backward pass with +=."""
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["ids"]] += dy
    return dweight


def half_backward(dlogits, caches):
    """The tied table's gradient without the share of the lookup."""
    _, dweight = unembedding_backward(dlogits, caches[1])
    return dweight


style.show_check(minigpt2.gradient_check(embedding_forward, overwriting_backward, table))
style.show_check(minigpt2.gradient_check(tied_forward, half_backward, {"weight": table["weight"]}))

# %% [markdown] tags=["en"]
# **Against PyTorch**, whose values were recorded once in 64-bit floating point. The error is the largest difference,
# relative to the largest value.

# %%
components = {
    "embedding": (embedding_forward, embedding_backward),
    "unembedding": (unembedding_forward, unembedding_backward),
}
for name, (forward, backward) in components.items():
    reference = recorded(name)
    y, cache = forward(**reference["inputs"], **CASES[name].options)
    gradients = backward(reference["dy"], cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    gradients = dict(zip(reference["gradients"], gradients, strict=True))
    error, _ = relative_error({"y": y, **gradients}, {"y": reference["y"], **reference["gradients"]})
    style.show_agreement(f"{name}: y, and gradients of {', '.join(gradients)}", error)

# %% [markdown] tags=["en"]
# And is GPT-2 tied? The recorded case `gpt2` comes from a small model of Hugging Face's own GPT-2 class. We put the
# same parameters into ours and compare the gradient of the table, once with both shares and once with the output
# layer's share alone:

# %%
reference = recorded("gpt2")
logits, cache = gpt2_forward(**reference["inputs"], config=minigpt2.GPT2Config(**TINY))
_, grads = gpt2_backward(reference["dy"], cache)
_, output_share = unembedding_backward(reference["dy"], cache["lm_head"])
expected = reference["gradients"]["params"]["wte"]["weight"]
style.show_agreement("logits", relative_error(logits, reference["y"])[0])
style.show_agreement("gradient of wte, both shares", relative_error(grads["wte"]["weight"], expected)[0])
style.show_agreement("gradient of wte, output layer's share only", relative_error(output_share, expected)[0])

# %% [markdown] tags=["en"]
# ## 6. What is in the table?
#
# ### Which tokens lie near each other?
#
# Nobody told the built-in model what a word means, or that there are kinds of words. It has read plays by Shakespeare
# and predicted the next token, for four thousand steps (`minigpt2/pretrained/shakespeare/README.md`). Let us see
# whether its cards know something. We measure nearness by the *cosine* of the angle between two vectors: 1 if they
# point the same way, 0 if they are at right angles, -1 if they are opposed. (A space at the beginning belongs to the
# token.)

# %%
direction = wte / np.linalg.norm(wte, axis=1, keepdims=True)
for word in (" king", " brother", " will", " my", "ROMEO", "!"):
    (i,) = tokenizer.encode(word)
    cosine = direction @ direction[i]
    near = np.argsort(-cosine)[1:6]
    print(f"{word!r:11}", *(f"{tokenizer.decode([j])!r:>13} {cosine[j]:.2f}" for j in near.tolist()))

# %% [markdown] tags=["en"]
# The neighbours of a relative are mostly relatives; crown, grace and life are not. Auxiliary verbs lie near auxiliary
# verbs, speakers near speakers (`TIO` ends names such as MERCUTIO), and punctuation that ends a sentence near its like.
# Here are four such families in one picture, chosen by hand. Each cell is the cosine between the token of its row and
# that of its column.

# %%
families = {
    "relatives": [" father", " mother", " brother", " son", " wife", " queen", " king"],
    "auxiliaries": [" will", " shall", " would", " should", " must", " may", " can"],
    "determiners": [" my", " thy", " your", " his", " our", " the", " this"],
    "speakers": ["ROMEO", "JULIET", "GLOUCESTER", "CORIOLANUS", "MENENIUS", "LADY", "QUEEN"],
}
chosen = [word for family in families.values() for word in family]
vectors = direction[[tokenizer.encode(word)[0] for word in chosen]]
cosine = vectors @ vectors.T

figure, axes = plt.subplots(figsize=(6.2, 5.2))
image = axes.imshow(np.where(np.eye(len(chosen)), np.nan, cosine), vmin=0, vmax=0.7)
axes.set(
    xticks=[3, 10, 17, 24], xticklabels=families, yticks=range(len(chosen)), title="Cosine between tokens' vectors"
)
axes.set_yticklabels([word.strip() for word in chosen], fontsize=8)
axes.tick_params(length=0)
axes.grid(False)
for edge in (6.5, 13.5, 20.5):
    axes.axhline(edge, color="0.6", lw=0.8, ls="-")
    axes.axvline(edge, color="0.6", lw=0.8, ls="-")
figure.colorbar(image, shrink=0.7, label="cosine", extend="min")
plt.show()

family = np.repeat(np.arange(4), 7)
same = family[:, None] == family
other = ~np.eye(len(chosen), dtype=bool)
for title, values in {"within a family": cosine[same & other], "between families": cosine[~same]}.items():
    print(f"cosine {title:17} mean {values.mean():5.2f}, standard deviation {values.std():.2f}")

# %% [markdown] tags=["en", "alt"]
# A map of 28 by 28 cosines, four families of seven tokens along both sides: relatives, auxiliaries, determiners,
# speakers. The four blocks on the diagonal are dark, around 0.5; nearly everything outside of them is white.

# %% [markdown] tags=["en"]
# Each block on the diagonal is a family. The network has found parts of speech, and something of their meaning, only
# from seeing which token follows which: tokens that can stand in for each other get similar vectors.
#
# Is that a lot? Two random vectors of $C$ channels have a cosine of 0 on average, and it strays from there by about
# $1/\sqrt C$, which for 256 channels is 0.06. Members of different families have the same mean, 0, and stray a little
# further, 0.10; members of the same family are five times that away from 0.
#
# ### Which tokens were never seen?
#
# Now look at all rows, and at the simplest property of a vector, its length (the square root of the sum of its squares,
# its *norm*).

# %%
norm = np.linalg.norm(wte, axis=1)
long = norm > 1.6
figure, axes = plt.subplots(figsize=(6.5, 2.7))
bins = np.arange(0.6, 2.05, 0.05)
axes.hist([norm[~long], norm[long]], bins, stacked=True, color=["0.75", style.BLUE], label=["short", "long"])
axes.set(xlabel="norm of a row of the table", ylabel="tokens", title="Norms of the rows")
axes.legend()
plt.show()
print(f"long: {long.sum()} of {len(norm)} rows")
cosine = direction[long] @ direction[long].T
print(f"smallest cosine between two long rows {cosine.min():.2f}")

# %% [markdown] tags=["en", "alt"]
# A histogram of the norms of the 1,024 rows. The grey, short ones lie between 0.6 and 1.5 and have two humps, at 0.8
# and 1.0. The blue, long ones stand alone, in two bars around 1.9. Between 1.5 and 1.8 there is none.

# %% [markdown] tags=["en"]
# Two camps, and nobody between them. The long rows also have nearly the same direction. Which tokens are they? First
# the characters that one can type:

# %%
typed = [chr(code) for code in range(32, 127)]
is_long = {character: long[tokenizer.encode(character)[0]] for character in typed}
print("short rows:", "".join(character for character in typed if not is_long[character]))
print("long rows: ", "".join(character for character in typed if is_long[character]))
pieces = [tokenizer.decode([i]) for i in np.flatnonzero(long).tolist()]
print("long rows, tokens of several characters:", *(piece for piece in pieces if len(piece) > 1))

# %% [markdown] tags=["en"]
# The characters with short rows are those that occur in the training text, which has 3 as its only digit. (It is the
# text called "tiny Shakespeare"; nanoGPT's `data/shakespeare_char/prepare.py` counts 65 different characters in it,
# including the newline.) The long rows are of signs that it does not contain. The odd one out is q. It does occur, but
# never alone: the tokenizer always takes it together with the u that follows. The longer ones are pieces that the
# tokenizer made on its way to longer words, such as IOLAN on the way to CORIOLANUS, and that then no longer occur by
# themselves. The rest are `<|endoftext|>` and bytes that this text does not contain. In short: **the long rows are
# those of the tokens that were never seen in training.**
#
# (This notebook downloads nothing, so it guesses from what it sees. With the training text you can count:
# `text = minigpt2.data.load_text(["shakespeare"])` (after `import minigpt2.data`) and
# `np.bincount(tokenizer.encode(text[: len(text) * 9 // 10]), minlength=1024)`. The tokens with a count of zero are
# exactly the 216 long rows.)
#
# And yet they have all ended up at the same place, far out. How, if the row of a token collects nothing when the token
# does not occur? This has two halves, the *direction* and the *length*.
#
# **The direction** comes from tying. The output layer's share goes to every row. Notebook 2.5.8 derives
# $d\,\mathrm{logits}_{nv} = (p_{nv} - \mathrm{target}_{nv})/N$, where $N$ is the number of targets, $p_{nv}$ is the
# probability that the model gives to token $v$ at place $n$, and $\mathrm{target}_{nv}$ is 1 for the token that really
# came, 0 for the others. With the formula of section 3:
#
# $$dW^{\mathrm{out}}_{v} = \frac1N\sum_n p_{nv}\,x_n \;-\; \frac1N\sum_{n\,:\,\mathrm{next\ token\ is\ }v} x_n .$$
#
# Training goes against the gradient. So it moves the row of a token *towards* the vectors $x$ after which it came, and
# *away* from all others. A token that never comes has only the first sum. It is pushed away from wherever the model is,
# always in about the same direction, and so are all its fellows. Here are the two shares for one line of text:

# %%
ids = np.array([tokenizer.encode("What light through yonder window breaks?\nIt is the east, and Juliet is the sun.")])
logits, cache = model.forward(ids[:, :-1])
loss, loss_cache = cross_entropy_forward(logits, ids[:, 1:])
dlogits = cross_entropy_backward(1.0, loss_cache)
dx, _ = gpt2_backward(dlogits, cache)  # dx at the bottom, where the vectors come from the table
input_share = embedding_backward(dx, cache["wte"])
_, output_share = unembedding_backward(dlogits, cache["lm_head"])


def rows_with_gradient(dweight):
    """How many rows of a gradient (V, C) are not zero."""
    return int((dweight != 0).any(axis=1).sum())


lengths = np.linalg.norm(output_share, axis=1)
step = -output_share[long] / lengths[long, None]
print(f"different tokens in the text              {len(set(ids[0, :-1].tolist()))}")
print(f"rows with a gradient from the lookup      {rows_with_gradient(input_share)}")
print(f"rows with a gradient from the output      {rows_with_gradient(output_share)}")
print(f"median length of it, targets of the text  {np.median(lengths[np.unique(ids[0, 1:])]):.2f}")
print(f"median length of it, long rows            {np.median(lengths[long]):.0e}")
print("in the long rows:")
print(f"  rows with a gradient from the lookup    {rows_with_gradient(input_share[long])}")
print(f"  cosine between two steps                {np.mean(step @ step.T):.2f}")
print(f"  cosine between a step and its own row   {np.mean((step * direction[long]).sum(axis=1)):.2f}")
print(f"mean logit, short rows                    {logits[..., ~long].mean():.1f}")
print(f"mean logit, long rows                     {logits[..., long].mean():.1f}")

# %% [markdown] tags=["en"]
# The direction is as the formula says. The lookup reaches the tokens of the text, the output layer every row. The steps
# of the unseen tokens are all but parallel, and they still point partly in the direction in which their rows already
# lie: outwards. The model has spent these rows on one piece of knowledge, *never say this*, which shows in their
# logits.
#
# **The length** is another matter. The gradients of these rows are *tiny*, a hundred million times shorter than those
# of tokens that occur. How can they have moved the furthest? It is the optimizer's doing. AdamW (2.5.9) divides a
# gradient by the size that it usually has in this place, so a small one that always points the same way makes
# *full-sized* steps. Plain gradient descent does not. We train one small model with each, as far as the same loss, on a
# text that the built-in model writes for us (so nothing has to be downloaded), and look at the rows of the tokens that
# occur in it and of those that do not. In the beginning all have a length of about 0.14, so that the ratio is 1.
# Between the two, as a control, stands AdamW with an `eps` of 1, which divides by hardly more than 1: all else is
# AdamW's, only the division is gone. (One decimal is all that can be had: descent in steps of this size multiplies
# rounding errors, and another processor's sums in another order end at slightly other numbers.)

# %%
newline = tokenizer.encode("\n")
texts = model.generate(np.tile(newline, (32, 1)), max_new_tokens=250, temperature=1.0, seed=0)
validation, training = texts[:8].ravel(), texts[8:].ravel()


def small_model(tied, C, dtype="float32"):
    """A new model with one block and windows of 32 tokens."""
    return minigpt2.GPT2(
        minigpt2.GPT2Config(
            vocab_size=len(tokenizer), n_positions=32, n_embd=C, n_layer=1, n_head=2, tie_word_embeddings=tied
        ),
        seed=0,
        dtype=dtype,
    )


def batches(steps, T=32):
    """Yield random windows of the training text, ids and targets."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        starts = rng.integers(0, len(training) - T, 12)
        windows = training[starts[:, None] + np.arange(T + 1)]
        yield windows[:, :-1], windows[:, 1:]


# %%
seen = np.bincount(training, minlength=len(tokenizer)) > 0
print(f"{seen.sum()} tokens occur, {(~seen).sum()} do not")
print("            steps   loss   median norm, do not occur / occur")
for name, make, steps in (
    ("AdamW", lambda params: minigpt2.AdamW(params, lr=2e-3, weight_decay=0.0), 160),
    ("eps = 1", lambda params: minigpt2.AdamW(params, lr=1.0, weight_decay=0.0, eps=1.0), 220),
    ("plain", lambda params: minigpt2.SGD(params, lr=1.0), 450),
):
    new, losses = small_model(tied=True, C=48, dtype="float64"), []  # the same figures on every processor
    optimizer = make(new.params)
    for windows, targets in batches(steps):
        loss, grads = new.loss_and_grads(windows, targets)
        losses.append(float(loss))
        optimizer.step(grads, max_norm=1.0)
    norms = np.linalg.norm(new.params["wte"]["weight"], axis=1)
    print(f"{name:10} {steps:6} {np.mean(losses[-20:]):6.1f} {np.median(norms[~seen]) / np.median(norms[seen]):18.1f}")

# %% [markdown] tags=["en"]
# With AdamW the rows that do not occur are the longest. With plain descent they are shorter than the others, and so
# they are with AdamW as soon as it does not divide, at about the same loss and on the same text. So tying gives these
# rows their common direction, and Adam's division makes them the longest of all.
#
# A little arithmetic shows how it can have gone in the built-in model. In the beginning every token gets about the
# probability $1/V$, and the push is far above Adam's `eps` of $10^{-8}$. A full-sized step moves each of 256 channels
# by the learning rate, $10^{-3}$, so the row by $\sqrt{256}\cdot 10^{-3} = 0.016$: a norm of 1.9 takes about 120 of
# them, of 4,000. Then the push dies, as it is proportional to $p$ and $p$ goes to nothing. Today it is $7\cdot10^{-9}$
# in 256 channels, some $4\cdot10^{-10}$ in each, and `eps` is now by far the larger part of what Adam divides by: a
# step is about 4 % of a full one. (Weight decay pulls the rows back, but only by a fifth in the whole training: 4,000
# steps of a learning rate of 0.00055 on average, times 0.1, are $e^{-0.22} = 0.80$.)

# %% [markdown] tags=["en"]
# ### How much does tying save?
#
# First, parameters. How many would each of the released models have without tying?

# %%
sizes = {"shakespeare": model.config} | {
    name: minigpt2.GPT2Config.preset(name) for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
}
print(f"{'model':12} {'tied':>14} {'untied':>14}   the table is")
for name, config in sizes.items():
    tied = sum(math.prod(shape) for shape in config.parameter_shapes().values())
    rows = config.vocab_size * config.n_embd
    print(f"{name:12} {tied:14,} {tied + rows:14,} {rows / tied:8.0%} of the tied model")

# %% [markdown] tags=["en"]
# 124 million, the figure that is given everywhere as the size of the small GPT-2, is right only if the table is counted
# once. There nearly a third of all parameters are the table, and a second one would make the model larger by as much.
# In the largest it hardly matters any more: the table grows with $C$, the blocks with $C^2$.
#
# Second: does it cost anything? We train the small model tied and untied, and untied again with fewer channels, so that
# it has about as many parameters as the tied model, and keep a part of the text for validation: the models do not train
# on it.

# %%
def train(tied, C, steps=400):
    """A new model's number of parameters, and its validation loss every 25 steps."""
    new, losses = small_model(tied, C), []
    optimizer = minigpt2.AdamW(new.params, lr=2e-3)
    for step, (windows, targets) in enumerate(batches(steps + 1)):
        if step % 25 == 0:
            losses.append(total_nats(new, validation) / (len(validation) - 1))
        _, grads = new.loss_and_grads(windows, targets)
        optimizer.step(grads, max_norm=1.0)
    return new.num_parameters, losses


figure, axes = plt.subplots(figsize=(6.5, 3.2))
for tied, C in ((True, 48), (False, 48), (False, 32)):
    parameters, losses = train(tied, C)
    title = f"{'tied' if tied else 'untied'}, {C} channels"
    axes.plot(25 * np.arange(len(losses)), losses, label=title)
    print(f"{title:20} {parameters:7,} parameters, lowest loss {min(losses):.1f}, last {losses[-1]:.1f}")
axes.set(xlabel="steps", ylabel="validation loss (nats per token)", title="Tied and untied")
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# The validation loss of three models over 400 steps, all from 6.9. Untied with 48 channels falls fastest, reaches 4.8
# first and rises to 5.1; tied with 48 and untied with 32 channels fall more slowly to the same 4.8 and end at 4.9.

# %% [markdown] tags=["en"]
# With two tables of 48 channels the model has over half as many parameters again. It learns in fewer steps, and it is
# also the first to learn its little text by heart, whereupon the validation loss rises. Its best loss is hardly lower
# than that of the tied model. And the comparison at equal parameters is a draw: two narrow tables do as well as a wider
# one. So here tying is a matter of thrift, nothing more. Press & Wolf found that it also lowers the loss of the
# language models of their time (their abstract), which were recurrent networks with larger vocabularies on larger
# texts. Our experiment is limited: one small text, one learning rate and one seed, and the lowest of 17 losses is
# chosen on the validation text itself, for all three alike.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. How many embedding vectors does GPT-2 have, and of what dimension? *Hint: section 1.*
#
#    <details><summary>Answer</summary>
#
#    50,257 vectors of 768 channels in the smallest, of 1,024, 1,280 and 1,600 in the larger ones. (With the 1,024
#    position vectors of 2.5.2 it is another table.)
#
#    </details>
#
# 2. In the example by hand, let the text be 2 2 2 and `dy` all ones. Write down `dweight` before you run it, and what
#    `dweight[ids] += dy` would give. *Hint: how often is each row written?*
#
#    <details><summary>Answer</summary>
#
#    Row 2 collects three gradients of $(1, 1)$: `dweight` is $(3, 3)$ in row 2 and 0 elsewhere. `dweight[ids] += dy`
#    reads row 2 three times, as $(0, 0)$, adds $(1, 1)$ to each copy and writes row 2 three times: $(1, 1)$.
#
#    </details>
#
# 3. In a tied model without any block, as in section 5, the token whose own logit is largest tends to be the token
#    itself. Why? *Hint: what is the dot product of a vector with itself?* What must the blocks do about it?
#
#    <details><summary>Answer</summary>
#
#    The logit of token $v$ after token $u$ is the dot product of rows $u$ and $v$, $|W_u|\,|W_v|\cos$. For $v = u$ the
#    cosine is 1, for other tokens it is mostly near 0. If the norms do not differ too much, the token itself wins. The
#    blocks must bring the stream to another direction. In the built-in model the first feed-forward network does it,
#    not by subtracting the row but by adding so much else that it is drowned (2.5, section 6).
#
#    </details>
#
# 4. Suppose that the built-in model had been trained *untied*. Where would the rows of its unseen tokens lie in the
#    lookup table, and where in that of the output layer? *Hint: which share does each get? Mind weight decay, too.* You
#    can try it with `train`, if you let it return the model: the text written by the built-in model has no digits but 3
#    either.
#
#    <details><summary>Answer</summary>
#
#    In the lookup table they would have a gradient of exactly 0 in every step, so they would lie where the random
#    numbers of the beginning had put them, in all directions, only pulled towards 0 by weight decay. In the output
#    layer they would get the same push as now and end far out and all but parallel. A small untied model bears it out
#    (48 channels, 3,000 steps on the training text of the built-in one): norms of 0.137 at the beginning, 0.129 in the
#    lookup and 1.29 in the output layer at the end, and there a mean cosine of 0.99 between two of them.
#
#    </details>
#
# 5. The short rows have two humps, one on each side of a norm of 0.9. Which tokens make up the one, and which the
#    other? *Hint: print `repr(tokenizer.decode([i]))` of some tokens of each, and look at their first character.*
#
#    <details><summary>Answer</summary>
#
#    Tokens that begin with a space are shorter: 341 of them, with a median of 0.80, and 88 % are below 0.9. The 467
#    others have a median of 1.04, and 91 % are above 0.9: the rests of words, and capitals at the beginning of a line.
#    Why, is another question, which this notebook does not answer.
#
#    </details>
#
# 6. The picture of the families was drawn with `wte`, which serves at both ends. Which of the two do you think taught
#    it that " will" and " shall" are alike? *Hint: think of an untied model, and look at both of its tables.*
#
#    <details><summary>Answer</summary>
#
#    Both can. Read, " will" and " shall" are followed by the same words, so the lookup is pushed to similar rows;
#    written, they come after the same words, so the output layer is too. In the untied model of question 4, after 3,000
#    steps, the mean cosine within a family is 0.57 in the lookup table and 0.78 in the output layer (between families
#    $-0.02$ and $-0.01$; in the tied one 0.74 and $-0.04$). So each end finds the families alone, and the output layer
#    finds them more clearly. That is one small model and one seed.
#
#    </details>
#
# The model must know not only which tokens there are but where: **Next:** [2.5.2, position](2_5_2_position.ipynb)
