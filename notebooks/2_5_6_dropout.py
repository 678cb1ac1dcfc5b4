# %% [markdown] tags=["en"]
# # 2.5.6 丢弃法 · Dropout
#
# A network with more parameters than its text has letters can learn that text by heart. It then does splendidly on the
# text it has read, and badly on everything else. This is called *overfitting*. Dropout is a remedy of almost insolent
# simplicity: while the network learns, switch off a part of it at random, a different part at every step. It takes
# three lines of code. This notebook derives them, finds the places where GPT-2 has them, and measures their cost and
# their benefit.
#
# You need Python, NumPy, and a little probability: the **expectation** $\mathrm E[v]$ of a random number $v$ is its
# mean over many draws, and its **variance** $\mathrm E[(v - \mathrm E[v])^2]$ says how far the draws stray from it. And
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

# %%
import itertools
import sys
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
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
# The document calls dropout a method of regularization that prevents overfitting. (*Regularization* is the common name
# for every technique that keeps a model from fitting its training text too closely.) That is right, except for the word
# "prevents", as we shall see. The document does not say where in GPT-2 it happens, nor how, nor how much.
#
# It happens in three places:
#
# | place | dropped values | name of the probability | its value |
# |---|---|---|---|
# | the bottom | token plus position vectors | `embd_pdrop` | 0.1 |
# | inside attention | the weights with which a token looks at others | `attn_pdrop` | 0.1 |
# | the end of each sub-layer | its contribution to the residual stream | `resid_pdrop` | 0.1 |
#
# (A *sub-layer* is an attention layer, notebook 2.5.3, or a feed-forward network, 2.5.4; the *residual stream*, 2.5.5,
# is the sum to which they add.) The places and the value are from the paper on GPT-1: Radford et al. 2018, section 4.1.
# The paper on GPT-2 does not mention dropout; it says that the model largely follows GPT-1. The published configuration
# of GPT-2 has the three values of the table. The small model that comes with this package has seen little text, and was
# trained with more dropout:

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
for name, config in {"gpt2": minigpt2.GPT2Config.preset("gpt2"), "shakespeare": model.config}.items():
    print(f"{name:12}", {key: getattr(config, key) for key in ("embd_pdrop", "attn_pdrop", "resid_pdrop")})

# %% [markdown] tags=["en"]
# Do these places exist in the code? The model drops when it is given a random number generator, `rng`, and keeps the
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
# About 30 % are dropped in each place, and the rest are made larger, by $1/0.7$. Section 3 explains why.
#
# Better evidence, from another implementation of GPT-2, comes in section 5.

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

# %% [markdown] tags=["en"]
# Every step trains a different thinned network, and all of them share their parameters. After training, all units work
# together, and act much like an average of all these networks. (Srivastava et al. 2014, "Dropout: A Simple Way to
# Prevent Neural Networks from Overfitting", section 2, has sexual reproduction in place of the team.)

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# One convention for the whole book: for any number $v$ in the model, $dv$ is short for the gradient
# $\partial\,\mathrm{loss} / \partial v$. An array and its gradient have the same shape.
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
# Each $y_i$ depends only on its own $x_i$, through the factor $\mathrm{mask}_i$, and the mask does not depend on $x$ at
# all: it was drawn. So $\partial y_i / \partial x_i = \mathrm{mask}_i$, and
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
# measures how good it is.

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
print("dy  ", dy, "\ndx  ", dropout_backward(dy, cache))

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
# **Against the definition of a derivative.** `gradient_check` nudges every input up and down by a tiny step, looks at
# how the output changes, and compares that with what the backward pass claims. The function must be the same each time,
# so we seed the generator inside it.

# %%
inputs = {"x": np.random.default_rng(0).normal(size=(2, 3, 8))}


def seeded_forward(x):
    """Dropout that draws the same mask each time."""
    return dropout_forward(x, 0.3, np.random.default_rng(7))


style.show_check(minigpt2.gradient_check(seeded_forward, dropout_backward, inputs))

# %% [markdown] tags=["en"]
# A check that cannot fail is worth nothing. Here are two mistakes: to forget the factor, and to draw a new mask in the
# backward pass.


# %%
def unscaled_backward(dy, cache):
    """By someone who remembers which numbers were dropped, but not that the rest were scaled."""
    return dy * (cache["mask"] > 0)


def redrawing_backward(dy, cache):
    """By someone who asks the generator again."""
    return dy * dropout_mask(dy, 0.3, np.random.default_rng(8))


style.show_check(minigpt2.gradient_check(seeded_forward, unscaled_backward, inputs))
style.show_check(minigpt2.gradient_check(seeded_forward, redrawing_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation.** The package carries values that PyTorch computed, recorded once, in 64-bit
# floating point, where rounding errors are about $10^{-16}$. (Its generator draws different masks from NumPy's, so it
# was given NumPy's.) The error is the largest difference, relative to the largest value.

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
print("the very same array:", dropout_forward(x, 0.3, rng=None)[0] is x)

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
draws = np.array([probabilities(rng) for _ in range(32)])
members = 2 ** np.arange(6)
committee = [-np.log(draws.reshape(-1, n, draws.shape[1]).mean(axis=1)).mean() for n in members]
off = -np.log(probabilities()).mean()
figure, axes = plt.subplots(figsize=(6.2, 2.9))
axes.plot(members, committee, marker="o", label="committee of thinned networks")
axes.axhline(off, color=style.ORANGE, ls="--", label="one network, dropout off")
axes.set(xscale="log", xticks=members, yticks=np.arange(3.75, 4.0, 0.05))
axes.set(xlabel="networks in the committee", ylabel="loss (nats per token)")
axes.set_xticklabels(members)
axes.minorticks_off()
axes.set_title("Thinned networks, one or many, against the whole one")
axes.legend()
plt.show()
best = (-np.log(draws)).mean(axis=1).min()
print(f"one thinned network {committee[0]:.2f} (mean of 32; the best of them {best:.2f})")
print(f"all 32 together {committee[-1]:.2f}, dropout off {off:.2f}")

# %% [markdown] tags=["en"]
# The whole network is better than each of the 32 thinned ones by itself, and costs the same. A committee of four beats
# it, at four times the cost; with more members it continues to improve, ever more slowly. So the average over all
# thinned networks and the whole network are *not* the same thing, as the square in section 3 warned us. The whole
# network is a cheap and good stand-in.

# %% [markdown] tags=["en"]
# ## 6. What does it cost, and what does it buy?
#
# Two identical models, one with dropout ($p = 0.2$ in all three places), one without, learn from a *little* text. Then
# two more learn from a text four times as long. The built-in model writes both texts, as well as the one for
# validation, so nothing has to be downloaded, and we know something that one never knows about real texts: the
# *author's own loss* on its text. On average no reader can do better than that on a new text by the same author. The
# little models read single characters, so all losses are in nats per character.

# %%
written = model.generate(np.tile(tokenizer.encode("\n"), (25, 1)), max_new_tokens=250, temperature=1.0, seed=0)
pages = [tokenizer.decode(page[1:]) for page in written]
author = model.loss(written[:, :-1], written[:, 1:]) * written[:, 1:].size / sum(map(len, pages))

characters = CharTokenizer.train(["\n".join(pages)])
validation = np.array(characters.encode("\n".join(pages[:5])))
little = np.array(characters.encode("\n".join(pages[5:10])))
more = np.array(characters.encode("\n".join(pages[5:])))
print(f"to learn from: {len(little) / 1000:.1f} and {len(more) / 1000:.1f} thousand characters")
print(f"the author's loss: {author:.1f} nats per character")


def loss_on(small_model, text):
    """Nats per character, without dropout."""
    return total_nats(small_model, text) / (len(text) - 1)


def train(text, p, steps, T=32):
    """[step, loss on the training text (its first 4,000 characters), on the validation text] every 50 steps."""
    config = minigpt2.GPT2Config(
        vocab_size=len(characters),
        n_positions=T,
        n_embd=48,
        n_layer=2,
        n_head=2,
        embd_pdrop=p,
        attn_pdrop=p,
        resid_pdrop=p,
    )
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


figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.4), sharey=True)
for axis, name, text, steps in zip(
    axes, ("little text", "four times as much"), (little, more), (550, 350), strict=True
):
    for p, color, marker in ((0.0, style.ORANGE, "o"), (0.2, style.BLUE, "s")):
        curve = train(text, p, steps)
        title = f"p = {p}" if p else "no dropout"
        axis.plot(curve[:, 0], curve[:, 2], color=color, ls="-", marker=marker, ms=4, label=f"{title}, validation")
        axis.plot(curve[:, 0], curve[:, 1], color=color, ls="--", label=f"{title}, training")
        best = curve[:, 2].argmin()
        print(
            f"{name:18} {title:10} training {curve[-1, 1]:4.1f}   validation {curve[-1, 2]:4.1f},"
            f" lowest {curve[best, 2]:4.1f}"
        )
    axis.axhline(author, color="black", lw=0.8, ls="-")
    axis.set(xlabel="steps", title=f"{len(text):,} characters to learn from")
axes[0].text(axes[0].get_xlim()[0] + 15, author + 0.03, "the author", va="bottom")
axes[0].set(ylabel="loss (nats per character)")
axes[1].legend(loc="lower right", bbox_to_anchor=(1, 0.1))
plt.show()

# %% [markdown] tags=["en"]
# **Little text, on the left.** Without dropout the training loss (dashed) falls and falls towards the author's own.
# After three thousand characters nobody can write like the author; these characters are simply known by heart. The
# validation loss (solid) gives it away: it is lowest early on, and then rises. With dropout both effects are much
# weaker. The model still fits its training text better than the rest, so overfitting is not *prevented*. But it is
# slowed down so much that the validation loss is at its lowest when the picture ends.
#
# What has it bought? Compare the lowest points of the two solid lines: there is little between them. If you stop
# training at the right moment, you get nearly as good a model without dropout, and sooner. With dropout you need not
# know the right moment.
#
# **More text, on the right.** Here there is nothing to buy. Training and validation loss go down together, and neither
# model has had the time to learn the text by heart. Dropout has only its cost: noise in every step, so that after the
# same number of steps both of its losses are higher.
#
# This is the rule of thumb: *the less text for the parameters, the more dropout*. The built-in model, 3.5 million
# parameters and a million characters (says its model card), had 0.3. GPT-2 had 0.1. Models that see so much text that
# they hardly meet any of it twice are often trained without dropout (for instance PaLM, Chowdhery et al. 2022, section
# 5).
#
# The experiment is limited: one kind of text, one probability and one seed. The questions invite you to change them.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What does `dropout_forward` return for $p = 0$, and what without `rng`? Why not a copy? *Hint: section 4, the first
#    lines of `dropout_mask`.*
# 2. The weights with which a token looks at others add up to 1. Do they still do so after dropout? And on average?
#    *Hint: section 3, the expectation of a sum.*
# 3. Give `gradient_check` a forward pass that draws from one generator without seeding it again. Predict what it
#    reports, then try. *Hint: how often does it call forward, and what must stay the same between the calls?*
# 4. Train on the little text with $p = 0.5$, and then with $p = 0.2$ for three times as many steps. Does the validation
#    loss rise in the end? How low does it get? *Hint: change the arguments of `train`.*
# 5. The training loss that `loss_and_grads` reports while dropout is on is higher than the dashed line, which is
#    measured afterwards on the same text. Could a model have a *validation* loss below its reported training loss?
#    *Hint: which of the two is measured with one hand tied behind the back?*
