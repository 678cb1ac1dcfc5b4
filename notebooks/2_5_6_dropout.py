# %% [markdown] tags=["en"]
# # 2.5.6 丢弃法 · Dropout
#
# (丢弃法 is the document's word; today one reads 暂退法 or 随机失活 more often.)
#
# A network with more parameters than its text has letters can learn that text by heart. It then does splendidly on the
# text it has read, and badly on everything else. This is called *overfitting*. Dropout is a remedy of almost insolent
# simplicity: while the network learns, switch off a part of it at random, a different part at every step. It takes
# three lines of code. This notebook derives them, finds the places where GPT-2 has them, and measures their cost and
# their benefit.
#
# You need Python, NumPy, and a little probability: the **expectation** $\mathrm E[z]$ of a random number $z$ is its
# mean over many draws, and its **variance** $\mathrm E[(z - \mathrm E[z])^2]$ says how far the draws stray from it. And
# these words:
#
# - An **activation** is a number that a network computes on its way. GPT-2 computes them in arrays of shape
#   `(B, T, C)`: $C$ numbers for each of the $T$ tokens (pieces of text) of each of $B$ texts.
# - The **loss** says how bad the predictions of the next token are, in *nats* (natural logarithm). Its derivative
#   with respect to some number in the model is the **gradient** there, and training moves every parameter a little
#   against it.
# - The **logits** are the scores that the model gives to all tokens that may come next, and the *softmax* turns them
#   into probabilities (2.5.8).
# - The model learns from the **training text**; the **validation text** is set aside, to see what the model has
#   understood.
#
# **Exercise:** none of its own; the nearest is [10, the whole model](../exercises/student/10_model.ipynb)

# %%
import itertools
import sys
from dataclasses import replace
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # graphs.py and style.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.components.dropout import dropout_backward, dropout_forward, dropout_mask
from minigpt2.components.softmax import softmax_forward
from minigpt2.evaluation import total_nats
from minigpt2.model import gpt2_forward
from minigpt2.reference import CASES, TINY, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document says: "丢弃法（Dropout Regularization）是一种正则化方法，防止过拟合。" (Dropout is a method of
# regularization; it prevents overfitting.) *Regularization* is the common name for every technique that keeps a model
# from fitting its training text too closely. The sentence is right, except for the word "prevents", as we shall see.
# The document does not say where in GPT-2 it happens, nor how, nor how much.
#
# In Hugging Face's GPT-2 it happens in three places:
#
# | place | dropped values | name of the probability | its value |
# |---|---|---|---|
# | the bottom | token plus position vectors | `embd_pdrop` | 0.1 |
# | inside attention | the weights with which a token looks at others | `attn_pdrop` | 0.1 |
# | the end of each sub-layer | its contribution to the residual stream | `resid_pdrop` | 0.1 |
#
# (A *sub-layer* is an attention layer, notebook 2.5.3, or a feed-forward network, 2.5.4; the *residual stream*, 2.5.5,
# is the sum to which they add.)
#
# **Did OpenAI's own GPT-2 have it?** That is not published. The paper on GPT-1 has it: "residual, embedding, and
# attention dropouts with a rate of 0.1" (Radford et al. 2018, section 4.1). The paper on GPT-2 does not mention
# dropout; it says that the model largely follows GPT-1. OpenAI released code that runs the model and does not train it
# (`openai/gpt-2`, `src/model.py`): its `default_hparams` are the sizes `n_vocab`, `n_ctx`, `n_embd`, `n_head` and
# `n_layer`, and no dropout occurs in it. The 0.1 of the table stands in Hugging Face's configuration, and is the
# same as GPT-1's.
#
# This package has Hugging Face's names and, unless one says otherwise, its values. The small model that comes with it
# has seen little text, and was trained with more dropout. The cell prints the settings of this package, which say
# nothing about how OpenAI trained:

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
for name, config in {"GPT2Config()": minigpt2.GPT2Config(), "shakespeare": model.config}.items():
    print(f"{name:14}", {key: getattr(config, key) for key in ("embd_pdrop", "attn_pdrop", "resid_pdrop")})

# %% [markdown] tags=["en"]
# Do these places exist in our code? The model drops when it is given a random number generator, `rng`, and keeps the
# masks that it multiplied its activations with. In these we can count the zeros.

# %%
line = "What light through yonder window breaks?"
ids = np.array([tokenizer.encode(line)])
_, cache = model.forward(ids, rng=np.random.default_rng(0))
block = cache["h"][0]
masks = {
    "embeddings": cache["embd_dropout"],
    "attention weights": block["attn"],
    "attention's output": block["attn_dropout"],
    "feed-forward's output": block["mlp_dropout"],
}
for name, place in masks.items():
    mask = place["mask"]
    print(f"{name:22} {mask.shape!s:16} dropped {np.mean(mask == 0):4.0%}   the others times {mask.max():.3f}")

# %% [markdown] tags=["en"]
# About 30 % are dropped in each place, and the rest are made larger, by $1/0.7$. Section 3 explains why. Here are two
# of these arrays as pictures, for the line above: the sum of token and position vectors, of which 64 of the 256
# channels are shown, and the weights with which one head of attention looks back.

# %%
attention = block["attn"]
without = cache["embd_dropout"]["mask"] == 0
embedded = np.where(without, np.nan, minigpt2.trace(model, ids)["embd"] * cache["embd_dropout"]["mask"])[0, :, :64]
weights, head_mask = attention["probs"][0, 0], attention["mask"][0, 0]
gone = np.where((head_mask == 0) & np.tri(len(weights), dtype=bool), 1.0, np.nan)
figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.9), width_ratios=(2.1, 1, 1))
limit = np.nanmax(np.abs(embedded))
pale, grey = plt.get_cmap("PRGn").with_extremes(bad="0.2"), plt.get_cmap("Greys")
axes[0].imshow(embedded, cmap=pale, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
axes[0].set(title="Embeddings times mask", xlabel="channel", ylabel="token")
for axis, shown, title in ((axes[1], weights, "Attention weights"), (axes[2], weights * head_mask, "Times mask")):
    axis.imshow(shown, vmin=0, vmax=head_mask.max(), interpolation="nearest")
    axis.set(title=title, xlabel="token looked at", ylabel="token", xticks=range(0, 16, 5), yticks=range(0, 16, 5))
axes[2].imshow(gone, cmap=grey, vmin=0, vmax=1.25, interpolation="nearest")
for axis in axes:
    axis.grid(visible=False)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Three arrays. Left, 16 tokens by 64 channels of the embeddings, purple below zero and green above, with about a third
# of the cells dark: these are dropped. Middle, the triangle of attention weights of one head, without gaps. Right, the
# same weights times the mask: dark cells are dropped, the others are bluer than before.

# %% [markdown] tags=["en"]
# Dark is what was dropped. There is no pattern in it: each number is dropped or kept by itself. In the right picture
# the rows no longer add up to 1 (question 2).
#
# That *Hugging Face's* GPT-2 has the same three places is shown in section 5.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **Think of a team in which some members are absent every day, and nobody knows in advance who they will be.** No one
# can rely on a particular colleague. Everyone has to do something that is useful by itself, and several people must
# know how to do important work. Such a team is slower to set up. But it does not have the kind of arrangement that
# works only in one particular case, "when Ann raises her hand and Bob coughs, the answer is 7", and that is exactly how
# one learns things by heart.
#
# The picture shows one small network at three steps of its training. White units are switched off, and all their
# connections with them.

# %%
rng = np.random.default_rng(5)
layers = [4, 5, 4]
figure, axes = plt.subplots(1, 3, figsize=(7.4, 2.5))
for step, axis in enumerate(axes):
    on = [rng.random(n) >= 0.4 for n in layers]
    place = [[(1.2 * column - 0.2, row - (n - 1) / 2) for row in range(n)] for column, n in enumerate(layers)]
    for column in range(2):
        for i, j in itertools.product(range(layers[column]), range(layers[column + 1])):
            if on[column][i] and on[column + 1][j]:
                axis.plot(
                    *zip(place[column][i], place[column + 1][j], strict=True), color="0.6", lw=1, ls="-", zorder=1
                )
    for column, n in enumerate(layers):
        for i in range(n):
            face = style.BLUE if on[column][i] else "white"
            axis.add_patch(plt.Circle(place[column][i], 0.2, fc=face, ec=style.BLUE, zorder=2))
    axis.set(aspect="equal", xlim=(-0.8, 2.8), ylim=(-2.4, 2.4), title=f"step {step + 1}")
    axis.axis("off")
plt.show()

# %% [markdown] tags=["en", "alt"]
# The same network of 4, 5 and 4 units three times, as steps 1 to 3. In each, other units are white, which is switched
# off, and have no connections; all the others are blue and connected with all blue units of the next column.

# %% [markdown] tags=["en"]
# Every step trains a different thinned network, and all of them share their parameters. After training, all units work
# together, and act much like an average of all these networks. (Srivastava et al. 2014, "Dropout: A Simple Way to
# Prevent Neural Networks from Overfitting", section 2, gives two such pictures. One is sexual reproduction, which mixes
# genes, so that none can rely on a large set of partners. The other is close to our team: ten small conspiracies of
# five people each are a better way to wreak havoc than one of fifty, in which everyone must play his part.)

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# As everywhere in this book, $dx$ is short for the gradient $\partial\,\mathrm{loss} / \partial x$, and so for every
# other letter.
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `x` | any | activations |
# | $p$ | `p` | one number | the probability of being dropped, $0 \le p < 1$ |
# | $\mathrm{mask}$ | `mask` | like $x$ | 0 with probability $p$, else $1/(1-p)$; drawn again at each step |
# | $y$ | `y` | like $x$ | $x\cdot\mathrm{mask}$, element by element |
#
# ### Forward: why $1/(1-p)$?
#
# Everything that comes after dropout adds up many of its outputs. If a third of them are missing, the sums become
# smaller by a third, and after training, when nothing is missing, they would suddenly be too large. So the remaining
# ones are scaled up, by a factor $s$ that leaves the expectation unchanged:
#
# $$\mathrm E[\mathrm{mask}] = p\cdot0 + (1-p)\cdot s = 1 \quad\Longrightarrow\quad s = \frac{1}{1-p},
#   \qquad\text{and then}\qquad \mathrm E[y] = x\;\mathrm E[\mathrm{mask}] = x .$$
#
# This is called *inverted* dropout. In the paper of 2014 the factor is applied after training, to the weights, as
# $1-p$; its section 10 mentions this way of doing it. It is the better one to live with: once training is over, dropout
# is simply **not there**.
#
# ### The noise
#
# The expectation is unchanged, but $y$ is random. The square of the mask is 0 or $1/(1-p)^2$, so
#
# $$\mathrm{Var}[\mathrm{mask}] = \mathrm E[\mathrm{mask}^2] - 1 = \frac{(1-p)}{(1-p)^2} - 1 = \frac{p}{1-p},
#   \qquad \mathrm{Var}[y] = \frac{p}{1-p}\,x^2 .$$
#
# With $p=0.1$ that is $x^2/9$, with $p=0.5$ it is $x^2$: noise as large as the signal. A network under dropout trains
# with noise in proportion to its activations. And a sum $z=\sum_c w_c\,y_c$, with independent masks, has
#
# $$\mathrm E[z] = \sum_c w_c\,x_c, \qquad \mathrm{Var}[z] = \frac{p}{1-p}\sum_c (w_c\,x_c)^2 .$$
#
# Here is the team in a formula. Let $z$ be 1 without dropout. If it comes from a single term, the sum of squares is 1.
# If it comes from $n$ equal terms of $1/n$ each, it is $n\cdot(1/n)^2 = 1/n$. **A network that spreads the work over
# many units has less noise.**
#
# ### Backward
#
# This is rule R3 of [2.0](2_0_toolbox.ipynb), an elementwise product. Each $y_i$ depends only on its own $x_i$, through
# the factor $\mathrm{mask}_i$, and the mask does not depend on $x$ at all: it was drawn. So
# $\partial y_i / \partial x_i = \mathrm{mask}_i$, and
#
# $$dx_i = dy_i\cdot\mathrm{mask}_i .$$
#
# It must be *the same* mask, which is why forward keeps it. A dropped number had no part in the result, and gets no
# gradient; one that was scaled up counts for that much more.
#
# ### One thing that the expectation does not promise
#
# The equation $\mathrm E[y] = x$ holds for $y$. It does not hold for what a network computes from $y$. Take the
# simplest function that is not linear, a square: $\mathrm E[y^2] = \mathrm{Var}[y] + (\mathrm E[y])^2 = x^2/(1-p)$,
# which is not $x^2$. So switching dropout off is an *approximation* to the average over all thinned networks. Section 5
# measures how good it is. And the gradient of a whole network under dropout is not, on average, the gradient without
# it. It is the gradient of another goal, the mean loss of all the thinned networks.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2:

# %%
style.show_plain("dropout")

# %% [markdown] tags=["en"]
# Now the library's own code, fetched while the notebook was built. It can be switched off: without `rng`, as in
# evaluation, or with $p = 0$, nothing is drawn and nothing is multiplied. The mask has its own function because
# attention uses it alone, on probabilities that it computes piece by piece. `xp` is NumPy (or CuPy, for arrays on a
# graphics card). Random numbers are drawn uniformly from 0 to 1; a fraction $p$ of them is below $p$.

# %%
style.show_source(dropout_forward, dropout_backward, dropout_mask)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take four numbers, and $p = 1/2$, so that the ones that stay are doubled.

# %%
x, dy = np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40])
y, cache = dropout_forward(x, 0.5, np.random.default_rng(1))
print("x   ", x, "\nmask", cache["mask"], "\ny   ", y)
dx = dropout_backward(dy, cache)
print("dy  ", dy, "\ndx  ", dx)

# %% [markdown] tags=["en"]
# As a graph, values above and gradients below each edge. The mask is drawn, not learned, and has no gradient.

# %%
graphs.draw(
    {"x": (0, 0), "mask": (0, 1), "×": (1, 0), "y": (2, 0)},
    [("x", "×", x, dx), ("mask", "×", cache["mask"], None), ("×", "y", y, dy)],
)
plt.show()

# %% [markdown] tags=["en", "alt"]
# A product of x = 1, 2, 3, 4 and the mask 0, 2, 2, 2, which gives y = 0, 4, 6, 8. Below, dy = 10, 20, 30, 40 comes
# back as dx = 0, 40, 60, 80; below the edge of the mask there is nothing.

# %% [markdown] tags=["en"]
# Is the expectation what we said? With four numbers there are only $2^4 = 16$ masks, all equally likely when $p = 1/2$.
# We need not draw them; we take them all, and average $y$ and its square, in fractions:

# %%
outcomes = [
    [2 * keep * int(v) for keep, v in zip(mask, x, strict=True)] for mask in itertools.product((0, 1), repeat=4)
]
print("mean of y    ", *(str(Fraction(sum(ys), 16)) for ys in zip(*outcomes, strict=True)))
print("mean of y * y", *(str(Fraction(sum(v * v for v in ys), 16)) for ys in zip(*outcomes, strict=True)))

# %% [markdown] tags=["en"]
# The mean of $y$ is $x$. The mean of $y^2$ is $2x^2$, that is $x^2/(1-p)$.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative**, with the `gradient_check` of 2.0. The function must be the same each time,
# so we seed the generator inside it.

# %%
inputs = {"x": np.random.default_rng(0).normal(size=(2, 3, 8))}


def seeded_forward(x):
    """Dropout that draws the same mask each time."""
    return dropout_forward(x, 0.3, np.random.default_rng(7))


style.show_check(minigpt2.gradient_check(seeded_forward, dropout_backward, inputs))

# %% [markdown] tags=["en"]
# The check must be able to fail. Here are two mistakes: to forget the factor, and to draw a new mask in the
# backward pass.


# %%
def unscaled_backward(dy, cache):
    """Wrong: the numbers that were kept are not scaled."""
    return dy * (cache["mask"] > 0)


def redrawing_backward(dy, cache):
    """Wrong: a new mask is drawn."""
    return dy * dropout_mask(dy, 0.3, np.random.default_rng(8))


style.show_check(minigpt2.gradient_check(seeded_forward, unscaled_backward, inputs))
style.show_check(minigpt2.gradient_check(seeded_forward, redrawing_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation:** values that PyTorch computed, recorded once in 64-bit floating point. (Its
# generator draws different masks from NumPy's, so it was given NumPy's.)

# %%
reference, options = recorded("dropout"), CASES["dropout"].options
y, cache = dropout_forward(reference["inputs"]["x"], options["p"], np.random.default_rng(options["seed"]))
gradients = {"x": dropout_backward(reference["dy"], cache)}
error, _ = relative_error({"y": y, **gradients}, {"y": reference["y"], **reference["gradients"]})
style.show_agreement("dropout: y, and gradient of x", error)

# %% [markdown] tags=["en"]
# **The three places.** The recorded case `gpt2_dropout` is Hugging Face's own GPT-2 in training, with a different
# probability for each place so that none can be mistaken for another. We run ours with the same masks; then with two
# probabilities exchanged; and then without dropout.

# %%
reference, options = recorded("gpt2_dropout"), CASES["gpt2_dropout"].options
right = {key: options["config"][key] for key in ("embd_pdrop", "attn_pdrop", "resid_pdrop")}
exchanged = right | {"attn_pdrop": right["resid_pdrop"], "resid_pdrop": right["attn_pdrop"]}
print(right)
for name, pdrop, seed in (
    ("as they are", right, options["seed"]),
    ("exchanged", exchanged, options["seed"]),
    ("off", right, None),
):
    rng = None if seed is None else np.random.default_rng(seed)
    logits, _ = gpt2_forward(**reference["inputs"], config=minigpt2.GPT2Config(**TINY | pdrop), rng=rng)
    style.show_agreement(f"logits with dropout {name}", relative_error(logits, reference["y"])[0])

# %% [markdown] tags=["en"]
# **Off when it counts.** Without a generator, nothing is dropped: `dropout_forward` returns the very array that it was
# given. This is how a model is evaluated, and how it writes. To forget it is a mistake that one does not see at once,
# because everything still works, only worse. Let the built-in model read Shakespeare's sonnet 116, which is in none of
# the plays that it knows, three times without dropout, and three times with it.

# %%
SONNET = """Let me not to the marriage of true minds
Admit impediments. Love is not love
Which alters when it alteration finds,
Or bends with the remover to remove:
O no! it is an ever-fixed mark
That looks on tempests and is never shaken;
It is the star to every wandering bark,
Whose worth's unknown, although his height be taken.
Love's not Time's fool, though rosy lips and cheeks
Within his bending sickle's compass come:
Love alters not with his brief hours and weeks,
But bears it out even to the edge of doom.
If this be error and upon me proved,
I never writ, nor no man ever loved."""
x = np.ones(3)
print("same array:", dropout_forward(x, 0.3, rng=None)[0] is x)

ids = np.array(tokenizer.encode(SONNET)[: model.config.n_positions])
places, following = np.arange(len(ids) - 1), ids[1:]
rng = np.random.default_rng(0)


def probabilities(rng=None):
    """The probability that the model gives to each token that really follows; with dropout if there is an rng."""
    logits, _ = model.forward([ids[:-1]], rng=rng)
    return softmax_forward(logits)[0, places, following]


print("off:", *(f"{-np.log(probabilities()).mean():.2f}" for _ in range(3)), "nats per token")
print("on: ", *(f"{-np.log(probabilities(rng)).mean():.2f}" for _ in range(3)), "nats per token")

# %% [markdown] tags=["en"]
# With dropout left on, the loss is larger, and different each time.
#
# How good is "off" as an approximation to the average of the thinned networks? That can be measured. We draw many
# masks, average the *probabilities* that the thinned networks give, and look at the loss of this committee.

# %%
draws = np.array([probabilities(rng) for _ in range(16)])
members = 2 ** np.arange(5)
committee = [-np.log(draws.reshape(-1, n, draws.shape[1]).mean(axis=1)).mean() for n in members]
off = -np.log(probabilities()).mean()
figure, axes = plt.subplots(figsize=(6.2, 2.9))
axes.plot(members, committee, marker="o", label="committee of thinned networks")
axes.axhline(off, color=style.ORANGE, ls="--", label="one network, dropout off")
axes.set(xscale="log", xticks=members, yticks=np.arange(3.75, 4.0, 0.05))
axes.set(xlabel="networks in the committee", ylabel="loss (nats per token)")
axes.set_xticklabels(members)
axes.minorticks_off()
axes.set_title("Loss of a committee")
axes.legend()
best = (-np.log(draws)).mean(axis=1).min()
plt.show()
print(f"one thinned network {committee[0]:.2f} (mean of 16; the best of them {best:.2f})")
print(f"all 16 together {committee[-1]:.2f}, dropout off {off:.2f}")

# %% [markdown] tags=["en", "alt"]
# The loss over the number of networks in the committee, 1 to 16. It falls from 3.97 to 3.80, ever more slowly, and
# crosses the level dashed line of one network without dropout, 3.85, between two and four.

# %% [markdown] tags=["en"]
# The whole network is better than each of the 16 thinned ones by itself, and costs the same. A committee of four beats
# it, at four times the cost; with more members it continues to improve, ever more slowly. So the average over all
# thinned networks and the whole network are *not* the same thing, as the square in section 3 warned us. The whole
# network is a cheap and good stand-in.

# %% [markdown] tags=["en"]
# ## 6. What does it cost, and what does it buy?
#
# ### Noise in the gradient
#
# Section 3 found that dropout with probability $p$ makes of an activation one with a standard deviation of
# $\sqrt{p/(1-p)}$ times its size. What becomes of that in the gradient of a whole model? We take the sonnet and the
# built-in model, compute the gradient of all its parameters three times with different masks, and measure how far these
# are from their mean: the root of the mean squared distance, divided by the norm of the gradient without dropout. All
# three places have the same $p$.


# %%
def gradient(p, rng=None):
    """All gradients for the sonnet as one vector, with dropout p in all places if there is an rng."""
    model.config = replace(model.config, embd_pdrop=p, attn_pdrop=p, resid_pdrop=p)
    _, grads = model.loss_and_grads([ids[:-1]], [following], rng=rng)
    return np.concatenate([array.ravel() for array in minigpt2.flatten(grads).values()])


trained_with = model.config
rates, exact, noise = (0.1, 0.3, 0.5, 0.7), gradient(0.0), []
size = np.linalg.norm(exact)
print("   p   noise   sqrt(p / (1 - p))   cosine with the gradient without dropout")
for p in rates:
    rng = np.random.default_rng(0)
    several = np.array([gradient(p, rng) for _ in range(3)])
    spread = np.linalg.norm(several - several.mean(axis=0), axis=1)
    noise.append(np.sqrt((spread**2).sum() / 2) / size)  # 2, since the mean was estimated from the same three
    cosine = (several @ exact / np.linalg.norm(several, axis=1) / size).mean()
    print(f"{p:4} {noise[-1]:7.2f} {np.sqrt(p / (1 - p)):12.2f} {cosine:19.2f}")
model.config = trained_with

figure, axes = plt.subplots(figsize=(5.6, 2.9))
axes.plot(rates, noise, marker="o", ls="", label="gradient, measured")
axis = np.linspace(0, 0.72, 200)
axes.plot(axis, np.sqrt(axis / (1 - axis)), color=style.ORANGE, ls="--", label=r"activation, $\sqrt{p/(1-p)}$")
axes.set(xlabel="p", ylabel="noise / size", title="Noise against p", ylim=(0, None))
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Noise divided by size over p from 0 to 0.7. The dots, measured in the gradient, and the dashed curve of a single
# activation rise in the same way, to 2 and 1.5; the dots lie above the curve everywhere.

# %% [markdown] tags=["en"]
# The noise of the gradient follows the formula of a single activation, at about 1.3 times its height. (The factor
# belongs to this model and this text.) At $p = 0.1$ a single step still goes nearly where it would go without dropout:
# the cosine is 0.9. At $p = 0.7$ it is 0.1, and only the mean of many steps has a direction. Nor is that mean the
# direction without dropout, as section 3 said: it belongs to the thinned networks.
#
# ### Little text and more
#
# Two identical models, one with dropout ($p = 0.2$ in all three places), one without, learn from a *little* text. Then
# two more learn from a text four times as long. The built-in model writes both texts, as well as the one for
# validation, so nothing has to be downloaded, and we know something that one never knows about real texts: the
# *author's own loss*, the surprise of the author at its own tokens. The author's tokens and the readers' characters are
# different units, so we add up its loss over all tokens and divide by the number of characters: `model.loss` is a mean
# per token, times the number of tokens, over the characters of all pages.

# %%
written = model.generate(np.tile(tokenizer.encode("\n"), (25, 1)), max_new_tokens=250, temperature=1.0, seed=0)
pages = [tokenizer.decode(page[1:]) for page in written]
nats = model.loss(written[:, :-1], written[:, 1:]) * written[:, 1:].size
author = nats / sum(len(page) for page in pages)

characters = CharTokenizer.train(["\n".join(pages)])
validation = np.array(characters.encode("\n".join(pages[:5])))
little = np.array(characters.encode("\n".join(pages[5:10])))
more = np.array(characters.encode("\n".join(pages[5:])))
print(f"to learn from: {len(little) / 1000:.1f} and {len(more) / 1000:.1f} thousand characters")
print(f"the author's loss: {author:.1f} nats per character")
same = sum(tokenizer.encode(page) == list(tokens[1:]) for page, tokens in zip(pages, written, strict=True))
print(f"pages that the tokenizer cuts as they were written: {same} of {len(pages)}")

# %% [markdown] tags=["en"]
# Can a reader do better than the author? On average nobody can predict the author's *tokens* better. A reader of
# characters, however, is judged by the text, and the same text can be written with several sequences of tokens. (The
# last line shows that this happens: some pages are not cut as the tokenizer would cut them.) The probability of the
# text is the sum over all of them, so the best possible loss per character is somewhat below the author's line. The
# line is an upper bound of it, and a mark that is hard to reach.


# %%
def loss_on(small_model, text):
    """Nats per character, without dropout."""
    return total_nats(small_model, text) / (len(text) - 1)


def train(text, p, steps, T=32):
    """[step, loss on the training text (its first 4,000 characters), on the validation text] every 50 steps."""
    config = minigpt2.GPT2Config(
        vocab_size=len(characters), n_positions=T, n_embd=64, n_layer=1, n_head=2,
        embd_pdrop=p, attn_pdrop=p, resid_pdrop=p,
    )  # fmt: skip
    small_model = minigpt2.GPT2(config, seed=0)
    optimizer = minigpt2.AdamW(small_model.params, lr=5e-3)
    rng, dropout_rng, curve = np.random.default_rng(0), np.random.default_rng(1), []
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(text) - T, 16)
        windows = text[starts[:, None] + np.arange(T + 1)]
        _, grads = small_model.loss_and_grads(windows[:, :-1], windows[:, 1:], rng=dropout_rng)
        optimizer.step(grads, max_norm=1.0)
        if step % 50 == 0:
            curve.append([step, loss_on(small_model, text[:4000]), loss_on(small_model, validation)])
    return np.array(curve)


curves = {(len(text), p): train(text, p, steps) for text, steps in ((little, 350), (more, 150)) for p in (0.0, 0.2)}
for (length, p), curve in curves.items():
    training, validated = curve[-1, 1:]
    lowest = curve[:, 2].min()
    print(f"{length:6} characters  p = {p}  training {training:.1f}  validation {validated:.1f}, lowest {lowest:.1f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.6), sharex=True, sharey=True)
for axis, text in zip(axes, (little, more), strict=True):
    for p, color, marker in ((0.0, style.ORANGE, "o"), (0.2, style.BLUE, "s")):
        steps, training, validated = curves[len(text), p].T
        axis.plot(steps, validated, color=color, ls="-", marker=marker, ms=4, label=f"p = {p:g}, validation")
        axis.plot(steps, training, color=color, ls="--", label=f"p = {p:g}, training")
    axis.axhline(author, color="black", lw=0.8, ls="-", label="the author")
    axis.set(xlabel="steps", title=f"{len(text):,} characters to learn from")
axes[0].set(ylabel="loss (nats per character)")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Losses over the steps, training text dashed and validation text solid, and the author's loss as a level line near
# 1.15. Left, little text: without dropout the training loss falls to 1.5 while the validation loss turns at 2.6 and
# rises to 2.8; with dropout the training loss is at 2.4 at the end and the validation loss still falls slowly, to 2.6.
# Right, more text, for 150 steps: all four curves fall together, and both with dropout are higher.

# %% [markdown] tags=["en"]
# **Little text, on the left.** Without dropout the training loss (dashed) falls and falls towards the author's own.
# After three thousand characters nobody can write like the author; these characters are simply known by heart. The
# validation loss (solid) gives it away: it is lowest early on, and then rises. With dropout both effects are much
# weaker. The model still fits its training text better than the rest, so overfitting is not *prevented*. But it is
# slowed down so much that the validation loss is at its lowest when the picture ends.
#
# What has it bought? Compare the lowest points of the two solid lines: that without dropout is even a little lower. If
# you stop training at the right moment, you get as good a model without dropout, and sooner. With dropout the right
# moment matters less. (Question 4 trains for longer.)
#
# **More text, on the right.** Here there is nothing to buy yet. Training and validation loss go down together, and
# neither model has had the time to learn the text by heart: at the end of the picture it has seen each part of it about
# six times, and of the little text 58 times. Dropout has only its cost: noise in every step, so that after the same
# number of steps both of its losses are higher.
#
# This is the rule of thumb: *the less text for the parameters, the more dropout*. The built-in model, 3.5 million
# parameters and a million characters (says its model card), had 0.3. GPT-1 had 0.1; GPT-2's own value is not published.
# Models that see so much text that they hardly meet any of it twice are often trained without dropout (for instance
# PaLM, Chowdhery et al. 2022, section 5).
#
# The experiment is limited: one kind of text, one probability and one seed. The questions invite you to change them.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What does `dropout_forward` return for $p = 0$, and what without `rng`? Why not a copy? *Hint: section 4, the first
#    lines of `dropout_mask`.*
#
#    <details><summary>Answer</summary>
#
#    In both cases `dropout_mask` returns `None`, and `dropout_forward` returns `x` itself and a cache whose mask is
#    `None`. A copy would have the same numbers and cost time and memory, in each place of each block, whenever the
#    model is evaluated or writes.
#
#    </details>
#
# 2. The weights with which a token looks at others add up to 1. Do they still do so after dropout? And on average?
#    *Hint: section 3, the expectation of a sum.*
#
#    <details><summary>Answer</summary>
#
#    No. After dropout the sum of a row is $\sum_j \mathrm{mask}_j\,w_j$, which is 1 only by accident: a first token
#    that looks at itself alone has weight 1 there, and afterwards 0 or $1/(1-p)$. On average, yes: the expectation of
#    a sum is the sum of the expectations, $\sum_j \mathrm E[\mathrm{mask}_j]\,w_j = \sum_j w_j = 1$.
#
#    </details>
#
# 3. Give `gradient_check` a forward pass that draws from one generator without seeding it again. Predict what it
#    reports, then try. *Hint: how often does it call forward, and what must stay the same between the calls?*
#
#    <details><summary>Answer</summary>
#
#    It reports WRONG, with an error that is not small at all. It compares the outputs for $x + \varepsilon$ and
#    $x - \varepsilon$, and divides their difference by $2\varepsilon$. If the two calls have different masks, the
#    outputs differ by whole activations, and divided by a tiny number this is huge. There is no function to
#    differentiate: the same $x$ gives another $y$ each time.
#
#    </details>
#
# 4. Train on the little text with $p = 0.5$, and then with $p = 0.2$ for three times as many steps. Does the validation
#    loss rise in the end? How low does it get? *Hint: change the arguments of `train`.*
#
#    <details><summary>Answer</summary>
#
#    With $p = 0.5$ it does not rise: after 350 steps it is at 2.78, its lowest, and still falling, but above the 2.64
#    of $p = 0.2$; the training loss is at 2.61. With $p = 0.2$ and 1,050 steps it hardly rises either: from step 400 on
#    it stays between 2.62 and 2.66, while the training loss falls from 2.38 to 2.28. Without dropout the same model was
#    lowest at step 200, 2.56. So there is no hurry to stop, and nothing gained over stopping in time.
#
#    </details>
#
# 5. The training loss that `loss_and_grads` reports while dropout is on is higher than the dashed line, which is
#    measured afterwards on the same text. Could a model have a *validation* loss below its reported training loss?
#    *Hint: which of the two is measured with one hand tied behind the back?*
#
#    <details><summary>Answer</summary>
#
#    Yes. The reported loss is that of a thinned network, the validation loss that of the whole one. For the sonnet the
#    thinning cost 0.12 nats (3.97 against 3.85 in section 5); where the validation text is harder by less than that,
#    its loss is below the reported one. In the right picture the model with dropout has, at the end, a validation loss
#    of 2.54 and a training loss, measured without dropout, of 2.48. The mean of the last 50 losses that
#    `loss_and_grads` reported is 2.54 as well.
#
#    </details>
#
# Dropout adds noise to what the model computes. The next technique changes what it is asked for.
#
# **Next:** [2.5.7, label smoothing](2_5_7_label_smoothing.ipynb)
