# %% [markdown] tags=["en"]
# # 2.5.1 嵌入层 · Embedding layer
#
# A computer reads a text as numbers: each piece of it, each **token**, has a number in a list, the *vocabulary*. But
# these numbers are only names. Token 500 is not "more" than token 499, and not twice as much as token 250. Before a
# network can calculate with tokens, each needs a description in numbers that mean something. This is the embedding
# layer: a table with a row of numbers for every token. At the far end of GPT-2 the very same table turns numbers
# back into tokens.
#
# You need Python, NumPy and the chain rule from school, and these words:
#
# - A **vector** is a row of $C$ numbers, called *channels*. The **dot product** of two vectors multiplies them
#   channel by channel and adds up; it is large when they point the same way.
# - The **vocabulary** has $V$ tokens, numbered $0 \ldots V-1$. The number of a token is called its **id**.
# - The model works on $B$ texts of $T$ tokens at once: on ids of shape `(B, T)`, on vectors of shape `(B, T, C)`.
# - A **logit** is the score that the model gives to a token as the next one. There is one for each: `(B, T, V)`.
# - The **loss** is one number that says how bad the scores are. Its derivative with respect to some number in the
#   model is called the **gradient** there, and training moves every parameter a little against it.

# %%
import math
import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import ConnectionPatch

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
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
# In the document this is the first component: the layer that turns a sequence of integers into vectors of a fixed
# dimension, the embedding vectors. So it is. Then it adds that the *number* of these vectors is usually smaller than
# the dictionary. That is a slip. There is exactly one vector for every entry of the vocabulary. Only their *dimension*,
# the number of channels, is smaller. Here is the table of the small model that comes with this package, and the sizes
# of the four released ones (Radford et al. 2019, table 2; the vocabulary is in section 2.3):

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
# It could not be otherwise. Suppose that two tokens shared one vector. From there on the model could not tell them
# apart. It would continue "yes" and "no" in the same way. And what if an id has no vector? Then the library must refuse
# it, and it does, with a word of advice:

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
# parameters show it. A model that is not tied would have one called `lm_head`:

# %%
untied = minigpt2.GPT2Config(tie_word_embeddings=False)
for title, config in {"as released": minigpt2.GPT2Config.preset("gpt2"), "untied": untied}.items():
    shapes = config.parameter_shapes()
    total = sum(math.prod(shape) for shape in shapes.values())
    print(f"{title:12} {total:12,} parameters, first {next(iter(shapes))}, last {list(shapes)[-1]}")

# %% [markdown] tags=["en"]
# The first number is given everywhere as the size of the small GPT-2: 124 million. It is right only if the table is
# counted once.

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
# The picture has a vocabulary of five tokens and four channels. Dark is a large number.

# %%
words = ["to", "be", "or", "not", "."]
weight = np.random.default_rng(3).normal(size=(5, 4))
weight /= np.linalg.norm(weight, axis=1, keepdims=True)  # rows of the same length, so that only direction counts
sentence = np.array([[0, 1, 2, 3, 0, 1]])
y, _ = embedding_forward(sentence, weight)
x = np.array([weight[4] + [0.2, -0.2, 0.2, 0.1]])  # a possible output of the blocks: close to the card of "."
logits, _ = unembedding_forward(x, weight)

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.6, 2.9), width_ratios=[1, 1, 1.1])
figure.get_layout_engine().set(wspace=0.18)
for axis, rows, labels, title in (
    (left, y[0], [words[i] for i in sentence[0]], "vectors y of a text"),
    (middle, weight, words, "the table W"),
):
    axis.imshow(rows, vmin=-1.2, vmax=1.2, aspect="auto")
    axis.set(yticks=range(len(labels)), yticklabels=labels, xticks=[], xlabel="channel", title=title)
    axis.grid(False)
    axis.tick_params(length=0)
for t, i in enumerate(sentence[0]):
    arrow = ConnectionPatch((-1.2, i), (3.6, t), "data", "data", axesA=middle, axesB=left, arrowstyle="->")
    arrow.set(annotation_clip=False, color=style.ORANGE)
    figure.add_artist(arrow)
right.barh(range(5), logits[0], color=[style.GREY] * 4 + [style.BLUE], height=0.6)
right.set(
    ylim=(4.5, -0.5), yticks=range(5), yticklabels=words, xlabel="dot product with x", title="logits of a vector x"
)
plt.show()

# %% [markdown] tags=["en"]
# Read it from the middle. To the left, rows of the table are copied to where their tokens stand: the two "to" get the
# same vector. To the right, some vector $x$ is compared with each of the five rows. It was made to resemble the row of
# the full stop, and so the full stop wins.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# One convention for the whole book: for any number $v$ in the model, $dv$ is short for the gradient
# $\partial\,\mathrm{loss} / \partial v$. An array and its gradient have the same shape. The backward pass of a
# function is handed the gradient of its output and has to find the gradients of its inputs.
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
# spares us the zeros. Now the backward pass is two steps of school calculus.
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
# The library calls it *unembedding*. Let $n$ count the tokens of all texts, $N = B\cdot T$ in all:
#
# $$\mathrm{logits}_{nv} = \sum_c x_{nc}\,W_{vc}, \qquad\text{or}\qquad \mathrm{logits} = x\,W^T .$$
#
# **Step 1.** For one logit, the derivative with respect to either factor is the other factor:
#
# $$\frac{\partial\,\mathrm{logits}_{nv}}{\partial x_{nc}} = W_{vc}, \qquad
#   \frac{\partial\,\mathrm{logits}_{nv}}{\partial W_{vc}} = x_{nc} .$$
#
# **Step 2: the chain rule.** $x_{nc}$ acts through the logits of all $V$ tokens of the vocabulary, $W_{vc}$ through
# those at all $N$ places:
#
# $$dx_{nc} = \sum_v d\mathrm{logits}_{nv}\,W_{vc}, \qquad dW_{vc} = \sum_n d\mathrm{logits}_{nv}\,x_{nc},$$
#
# or $dx = d\mathrm{logits}\;W$ and $dW = d\mathrm{logits}^T x$.
#
# ### Both uses of one table
#
# Pretend for a moment that there are two tables, $W^{\mathrm{in}}$ and $W^{\mathrm{out}}$, and that we have both
# gradients. Tying sets $W^{\mathrm{in}} = W$ and $W^{\mathrm{out}} = W$. Nudge an element of $W$, and both are nudged
# by as much. So
#
# $$dW = \frac{\partial\,\mathrm{loss}}{\partial W^{\mathrm{in}}}\cdot 1
#      + \frac{\partial\,\mathrm{loss}}{\partial W^{\mathrm{out}}}\cdot 1
#      = dW^{\mathrm{in}} + dW^{\mathrm{out}} .$$
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
# $10^{-12}$), and it can do more. `xp` is NumPy (or CuPy, for arrays on a graphics card), and
# `add_rows(table, ids, rows)` does what `table[ids] += rows` looks like. Section 5 shows why that line is not there.
# (`np.add.at`, on the page above, does the same and is eight times slower.) `matmul(x, y)` is `x @ y`, with the columns
# shared among the processor's cores. `check_ids` refuses numbers that are not tokens: NumPy would silently read row
# $-1$ from the end of the table. `out` is a place to write the gradient to. `add_to` serves tying: the output layer has
# written its share into an array, and `embedding_backward` adds to it.

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
# ## 5. Is it right?
#
# **Against the definition of a derivative.** `gradient_check` nudges every input up and down by a tiny step, looks at
# how the output changes, and compares that with what the backward pass claims. First each of the two functions alone,
# then both in sequence, with one table for both:

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
# A check that cannot fail is worth nothing. Here are two mistakes that people make. One is the line that looks so
# natural in NumPy, `dweight[ids] += dy`. NumPy reads all the rows, adds, and writes them back. If an id occurs twice,
# the second result overwrites the first. The other is to forget that a tied table has two shares.


# %%
def overwriting_backward(dy, cache):
    """The embedding's backward pass by someone who trusts +=."""
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
# **Against another implementation.** The gradient check proves that backward fits forward, not that forward is what
# GPT-2 does. So the package carries values that PyTorch computed, recorded once, in 64-bit floating point, where
# rounding errors are about $10^{-16}$. The error is the largest difference, relative to the largest value.

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
# The neighbours of a kinsman are kinsmen, with few exceptions. Auxiliary verbs lie near auxiliary verbs, speakers near
# speakers, and punctuation that ends a sentence near its like. Here are four such families in one picture. Each cell is
# the cosine between the token of its row and that of its column.

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
figure.colorbar(image, shrink=0.7, label="cosine")
plt.show()

family = np.repeat(np.arange(4), 7)
same = family[:, None] == family
other = ~np.eye(len(chosen), dtype=bool)
print(f"mean cosine within a family {cosine[same & other].mean():.2f}, between families {cosine[~same].mean():.2f}")

# %% [markdown] tags=["en"]
# Each block on the diagonal is a family. The network has found parts of speech, and something of their meaning, only
# from seeing which token follows which: tokens that can stand in for each other get similar vectors.
#
# Is that a lot? Two random vectors of $C$ channels have a cosine of 0 on average, and it strays from there by about
# $1/\sqrt C$, which for 256 channels is 0.06. So families that have nothing to do with each other are about as far
# apart as chance would put them, and members of the same family are much nearer.
#
# ### Which tokens were never seen?
#
# Now look at all rows, and at the simplest property of a vector, its length (the square root of the sum of its squares,
# its *norm*).

# %%
norm = np.linalg.norm(wte, axis=1)
loud = norm > 1.6
figure, axes = plt.subplots(figsize=(6.5, 2.7))
bins = np.arange(0.6, 2.05, 0.05)
axes.hist([norm[~loud], norm[loud]], bins, stacked=True, color=["0.75", style.BLUE])
axes.set(xlabel="norm of a token's vector", ylabel="tokens", title="Two camps, and nobody between them")
plt.show()
print(f"{loud.sum()} of {len(norm)} tokens are in the camp on the right")
cosine = direction[loud] @ direction[loud].T
print(f"smallest cosine between two of them {cosine.min():.2f}")

# %% [markdown] tags=["en"]
# The tokens on the right all have nearly the same vector. Which tokens are they? First the characters that one can
# type:

# %%
typed = [chr(code) for code in range(32, 127)]
camp = {c: loud[tokenizer.encode(c)[0]] for c in typed}
print("left camp: ", "".join(c for c in typed if not camp[c]))
print("right camp:", "".join(c for c in typed if camp[c]))
pieces = [tokenizer.decode([i]) for i in np.flatnonzero(loud).tolist()]
print("longer ones in the right camp:", *(piece for piece in pieces if len(piece) > 1))

# %% [markdown] tags=["en"]
# The characters on the left are those that occur in the training text, which has 3 as its only digit. (It is the text
# called "tiny Shakespeare"; nanoGPT's `data/shakespeare_char/prepare.py` counts 65 different characters in it,
# including the newline.) On the right are signs that it does not contain. The odd one out is q. It does occur, but
# never alone: the tokenizer always takes it together with the u that follows. The longer ones are pieces that the
# tokenizer made on its way to longer words, such as IOLAN on the way to CORIOLANUS, and that then no longer occur by
# themselves. The rest of the camp are bytes that no English text contains. In short: **the right camp consists of the
# tokens that were never seen in training.**
#
# (This notebook downloads nothing, so it guesses from what it sees. With the training text you can count:
# `text = minigpt2.data.load_text(["shakespeare"])` (after `import minigpt2.data`) and
# `np.bincount(tokenizer.encode(text[: len(text) * 9 // 10]), minlength=1024)`. The tokens with a count of zero are
# exactly this camp.)
#
# And yet they have all ended up at the same place, far out. How, if the row of a token collects nothing when the token
# does not occur?
#
# Because the table is tied. The output layer's share goes to every row. In notebook 2.5.8 we shall find that
# $d\mathrm{logits}_{nv} = (p_{nv} - \mathrm{target}_{nv})/N$, where $p_{nv}$ is the probability that the model gives to
# token $v$ at place $n$, and $\mathrm{target}_{nv}$ is 1 for the token that really came, 0 for the others. With step 2
# of section 3:
#
# $$dW^{\mathrm{out}}_{v} = \frac1N\sum_n p_{nv}\,x_n \;-\; \frac1N\sum_{n\,:\,\mathrm{next\ token\ is\ }v} x_n .$$
#
# Training goes against the gradient. So it moves the row of a token *towards* the vectors $x$ after which it came, and
# *away* from all others. A token that never comes has only the first sum. It is pushed away from wherever the model is,
# always in about the same direction, and so are all its fellows. We can watch it happen: one line of text, both shares,
# and the rows of the right camp.

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


step = -output_share[loud]
step /= np.linalg.norm(step, axis=1, keepdims=True)
print(f"different tokens in the text             {len(set(ids[0, :-1].tolist()))}")
print(f"rows with a gradient from the lookup     {rows_with_gradient(input_share)}")
print(f"rows with a gradient from the output     {rows_with_gradient(output_share)}")
print("in the right camp:")
print(f"  rows with a gradient from the lookup   {rows_with_gradient(input_share[loud])}")
print(f"  cosine between two steps               {np.mean(step @ step.T):.2f}")
print(f"  cosine between a step and its own row  {np.mean((step * direction[loud]).sum(axis=1)):.2f}")
print(f"mean logit, left camp                    {logits[..., ~loud].mean():.1f}")
print(f"mean logit, right camp                   {logits[..., loud].mean():.1f}")

# %% [markdown] tags=["en"]
# All is as the formula says. The lookup reaches the tokens of the text, the output layer every row. The steps of the
# unseen tokens are all but parallel, and they still point partly in the direction in which their rows already lie:
# outwards. (Weight decay holds them back, see notebook 2.5.9.) The model has spent these rows on one piece of
# knowledge, *never say this*, which shows in their logits.
#
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
# In the small GPT-2 nearly a third of all parameters are the table, and a second one would make the model larger by as
# much. In the largest it hardly matters any more: the table grows with $C$, the blocks with $C^2$.
#
# Second: does it cost anything? We train a small model with one block, tied and untied, and untied again with fewer
# channels, so that it has about as many parameters as the tied model. The text is one that the built-in model writes
# for us (so nothing has to be downloaded), part of which we keep for validation: the models do not train on it. The
# loss on that part is in nats, the unit of a loss that uses the natural logarithm; a model that knows nothing has
# $\ln V$.

# %%
newline = tokenizer.encode("\n")
texts = model.generate(np.tile(newline, (32, 1)), max_new_tokens=250, temperature=1.0, seed=0)
validation, training = texts[:8].ravel(), texts[8:].ravel()


def train(tied, C, steps=400, T=32):
    """A new model's number of parameters, and its validation loss every 25 steps."""
    config = minigpt2.GPT2Config(
        vocab_size=len(tokenizer), n_positions=T, n_embd=C, n_layer=1, n_head=2, tie_word_embeddings=tied
    )
    new = minigpt2.GPT2(config, seed=0)
    optimizer = minigpt2.AdamW(new.params, lr=2e-3)
    rng, losses = np.random.default_rng(0), []
    for step in range(steps + 1):
        if step % 25 == 0:
            losses.append(total_nats(new, validation) / (len(validation) - 1))
        starts = rng.integers(0, len(training) - T, 12)
        windows = training[starts[:, None] + np.arange(T + 1)]
        _, grads = new.loss_and_grads(windows[:, :-1], windows[:, 1:])
        optimizer.step(grads, max_norm=1.0)
    return new.num_parameters, losses


figure, axes = plt.subplots(figsize=(6.5, 3.2))
for tied, C in ((True, 48), (False, 48), (False, 32)):
    parameters, losses = train(tied, C)
    title = f"{'tied' if tied else 'untied'}, {C} channels"
    axes.plot(25 * np.arange(len(losses)), losses, label=title)
    print(f"{title:20} {parameters:7,} parameters, lowest loss {min(losses):.1f}, last {losses[-1]:.1f}")
axes.set(xlabel="steps", ylabel="validation loss (nats per token)", title="Two tables learn faster, not better")
axes.legend()
plt.show()

# %% [markdown] tags=["en"]
# With two tables of 48 channels the model has over half as many parameters again. It learns in fewer steps, and it is
# also the first to learn its little text by heart, whereupon the validation loss rises. Its best loss is hardly lower
# than that of the tied model. And the comparison at equal parameters is a draw: two narrow tables do as well as a wider
# one. So here tying is a matter of thrift, nothing more. Press & Wolf found that it also lowers the loss of the
# language models of their time (their abstract), which were recurrent networks with larger vocabularies on larger
# texts. Our experiment is limited: one small text, one learning rate and one seed.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. How many embedding vectors does GPT-2 have, and of what dimension? *Hint: section 1.*
# 2. In the example by hand, let the text be 2 2 2 and `dy` all ones. Write down `dweight` before you run it, and what
#    `dweight[ids] += dy` would give. *Hint: how often is each row written?*
# 3. In a tied model without any block, as in section 5, the token whose own logit is largest tends to be the token
#    itself. Why? *Hint: what is the dot product of a vector with itself?* What must the blocks do about it?
# 4. Suppose that the built-in model had been trained *untied*. Where would the rows of its unseen tokens lie in the
#    lookup table, and where in that of the output layer? *Hint: which share does each get? Mind weight decay, too.* You
#    can try it with `train`, if you let it return the model: the text written by the built-in model has no digits but 3
#    either.
# 5. The left camp has two humps, one on each side of a norm of 0.9. Which tokens make up the one, and which the other?
#    *Hint: print `repr(tokenizer.decode([i]))` of some tokens of each, and look at their first character.*
# 6. The picture of the families was drawn with `wte`, which serves at both ends. Which of the two do you think taught
#    it that " will" and " shall" are alike? *Hint: think of an untied model, and look at both of its tables.*
