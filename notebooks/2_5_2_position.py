# %% [markdown] tags=["en"]
# # 2.5.2 位置编码 · Positional encoding
#
# "The dog bites the man" and "the man bites the dog" are made of the same words. Only their order tells us who needs a
# bandage. You would think that a machine that reads a text from left to right cannot miss the order. But GPT-2 does not
# read from left to right. It looks at all tokens at once, by attention, and attention sees a *set*, in which it can
# count but cannot tell which token comes first. This notebook shows that, shows the remedy, which is a single addition,
# and then asks what a trained model has made of it.
#
# You need Python, NumPy, sine and cosine from school, and these words:
#
# - A **token** is a piece of text. Inside the model it is represented by a **vector** of $C$ numbers, its *channels*.
#   The model works on $B$ texts of $T$ tokens at once, on arrays of shape `(B, T, C)`. Notebook 2.5.1 explains where
#   the first vectors come from.
# - The **position** of a token is its number in the text, counted from 0. A model has room for $P$ positions.
# - **Attention** (notebook 2.5.3) gives each token a weighted mean of the vectors of the tokens that it may see; the
#   weights depend on the vectors. In GPT-2 a token sees itself and those before it. This rule is called the *causal
#   mask*.
# - A **block** is one attention layer and some calculation on each vector by itself. A GPT-2 is a stack of blocks.
# - The **loss** says how bad the predictions of the next token are, in *nats* (natural logarithm). Its derivative
#   with respect to some number in the model is the **gradient** there.

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.components.attention import attention_forward
from minigpt2.components.loss import cross_entropy_forward
from minigpt2.components.position import position_backward, position_forward, sinusoidal_positions
from minigpt2.fine_tuning import trainable
from minigpt2.model import gpt2_backward, gpt2_forward
from minigpt2.reference import CASES, TINY, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document's entry says that positional encoding is a way to encode the embedding vectors by their position. It does
# not say which way, and there are two famous ones:
#
# | name | origin of a position's vector | source |
# |---|---|---|
# | sinusoidal | computed, from sines and cosines | Vaswani et al. 2017, section 3.5 |
# | learned | a table of parameters, trained like all others | **GPT-2**: Radford et al. 2018, section 4.1 and eq. 2 |
#
# In both cases the vector is *added* to the token's. (The source for GPT-2 is the paper on GPT-1; the paper of 2019
# says that the model largely follows GPT-1.) The parameters of the small model that comes with this package show the
# table. It is called `wpe`, for *word position embedding*:

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
wpe = model.params["wpe"]["weight"]
P, C = wpe.shape
print(f"wpe: {P} positions, {C} channels")
computed = sinusoidal_positions(P, C, "float64")
for name, table in {"learned": wpe, "sinusoidal": computed}.items():
    sizes = np.linalg.norm(table, axis=1)
    print(f"{name:10} vectors are between {sizes.min():5.2f} and {sizes.max():5.2f} long")

# %% [markdown] tags=["en"]
# Had somebody filled the table with sines and cosines, all its vectors would be of the same length. (You can prove it:
# $\sin^2+\cos^2=1$.) These differ widely. They were learned.
#
# A learned table has an end. For a token past the last row there is nothing to add, and the model says so:

# %%
try:
    model.forward(np.zeros((1, P + 1), int))
except ValueError as error:
    print(error)

# %% [markdown] tags=["en"]
# ### Without positions
#
# Is it true that attention sees a set? We take an attention layer with random parameters and no mask, and give it six
# random vectors, then the same vectors in another order.

# %%
rng = np.random.default_rng(0)
params = {
    "c_attn": {"weight": rng.normal(size=(8, 24)), "bias": rng.normal(size=24)},
    "c_proj": {"weight": rng.normal(size=(8, 8)), "bias": rng.normal(size=8)},
}
x, order = rng.normal(size=(1, 6, 8)), rng.permutation(6)
y, _ = attention_forward(x, params, n_head=2, causal=False)
y_shuffled, _ = attention_forward(x[:, order], params, n_head=2, causal=False)
print("order", order)
style.show_agreement("shuffled input gives shuffled output", relative_error(y_shuffled, y[:, order])[0])

# %% [markdown] tags=["en"]
# Every vector gets the same answer as before, wherever it stands. Nothing else in a block mixes tokens, so a whole
# stack of such blocks has the same blindness.
#
# With the causal mask it is a little better, and this little is worth understanding. We let the built-in model read two
# lines that have the same tokens in a different order and end with the same token. Then we compare the vector of this
# last token after each block: first with the positions, then with a table of zeros in their place.

# %%
lines = [" my lord doth love the king, and", " the king doth love my lord, and"]
ids = np.array([tokenizer.encode(line) for line in lines])
print("same tokens:", sorted(ids[0, :-1]) == sorted(ids[1, :-1]), "   same last token:", ids[0, -1] == ids[1, -1])


def differences(model, ids):
    """How far apart the last token's vectors of two texts are after each block, relative to their size."""
    activations = minigpt2.trace(model, ids)
    last = [activations[f"h.{i}.resid_post"][:, -1] for i in range(model.config.n_layer)]
    return [np.linalg.norm(one - two) / np.linalg.norm(one) for one, two in last]


blind = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
blind.params["wpe"]["weight"][...] = 0
print("difference after block ", *(f"{i:5}" for i in range(1, 5)))
print("with positions         ", *(f"{d:5.2f}" for d in differences(model, ids)))
print("without                ", *(f"{d:5.2f}" for d in differences(blind, ids)))

# %% [markdown] tags=["en"]
# Without positions, one block cannot tell the two lines apart: the last token sees the same set of vectors, and takes
# the same mean. The *second* block can. In the first one every token looked back, and what it found there depends on
# the tokens before it. " love" after " my lord" and " love" after " the king" have become different vectors, and so the
# last token now sees a different set. The mask itself lets some order leak in. (Haviv et al. 2022, "Transformer
# Language Models without Positional Encodings Still Learn Positional Information", train models that live on that
# alone.) Section 6 asks whether it is enough. (It is no merit that the lower numbers become larger than the upper ones.
# The built-in model was trained with positions, and without them it is not itself.)

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **Stamp each token with its place.** Before the first block, every position adds its own vector to that of the token
# there. From then on "dog, as word 1" and "dog, as word 4" are different vectors, and attention can tell them apart.
#
# What should the stamp look like? The numbers 0, 1, 2, ... would grow without limit. The sinusoidal answer is a **row
# of clocks**. Each has one hand; the first goes fast, and each one after it slower. A single fast clock cannot tell
# position 3 from position 9, when its hand has come round to nearly the same place. All of them together can, as hours,
# minutes and seconds do. The sine and the cosine of a hand's angle are two channels.

# %%
shown = [0, 1, 2, 3, 6, 9, 20, 50, 100, 200]
channels = 8
stamps = sinusoidal_positions(201, channels)
figure, axes = plt.subplots(figsize=(7, 2.9))
for row in range(channels // 2):
    for column, p in enumerate(shown):
        axes.add_patch(plt.Circle((column, -row), 0.38, fc="white", ec="0.6"))
        sine, cosine = stamps[p, 2 * row : 2 * row + 2]
        axes.plot([column, column + 0.33 * sine], [-row, -row + 0.33 * cosine], color=style.BLUE, lw=2, ls="-")
axes.set(aspect="equal", xlim=(-0.5, len(shown) - 0.5), ylim=(-3.5, 0.5), xlabel="position")
axes.set(
    xticks=range(len(shown)), xticklabels=shown, yticks=[0, -1, -2, -3], title="A position is the state of four clocks"
)
axes.set_yticklabels(["channels 0, 1", "channels 2, 3", "channels 4, 5", "channels 6, 7"])
axes.grid(False)
axes.tick_params(length=0)
axes.spines[:].set_visible(False)
plt.show()

# %% [markdown] tags=["en"]
# Read a column from top to bottom: that is the stamp of its position. The upper clock distinguishes neighbours, the
# lower ones distant places. The *learned* answer is simpler still: begin with random vectors, and let training find the
# right ones. Section 6 looks at the result.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# One convention for the whole book: for any number $v$ in the model, $dv$ is short for the gradient
# $\partial\,\mathrm{loss} / \partial v$. An array and its gradient have the same shape.
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `x` | `(B, T, C)` | the tokens' vectors |
# | $W$ | `weight` | `(P, C)` | a row for each position |
# | $\mathrm{start}$ | `start` | one number | the position of the first token: 0, unless earlier ones are remembered |
# | $y$ | `y` | `(B, T, C)` | input of the first block |
#
# ### Forward
#
# $$y_{btc} = x_{btc} + W_{\mathrm{start}+t,\,c}$$
#
# There is no $b$ on the right-hand $W$: all texts use the same rows.
#
# ### Backward
#
# **Step 1: $dx$.** If $x_{btc}$ grows by a tiny $h$, so does $y_{btc}$. The derivative is 1, and $dx = dy$.
#
# **Step 2: $dW$.** If $W_{pc}$ grows by $h$, then $y_{btc}$ grows by $h$ in *every* text $b$, at the place with
# $\mathrm{start}+t = p$. The chain rule adds up over everything that it acts on:
#
# $$dW_{\mathrm{start}+t,\,c} = \sum_b dy_{btc}, \qquad dW_{pc} = 0 \text{ for the positions that were not used.}$$
#
# Compare that with the embedding of tokens: there a row collects wherever its token occurs, here wherever its position
# occurs, and that is once in each text. An important consequence: **the rows past the length of the training texts
# never learn anything.**
#
# ### The sinusoidal table
#
# It has nothing to learn, and so no backward pass. For the pair of channels $2i$ and $2i+1$ (a clock), with the speed
# $\omega_i = 10000^{-2i/C}$:
#
# $$W_{p,2i} = \sin(p\,\omega_i), \qquad W_{p,2i+1} = \cos(p\,\omega_i) .$$
#
# The speeds fall from $1$ to about $1/10000$, each lower than the one before by the same factor. Why sines *and*
# cosines? For two reasons, both from the addition theorems learned at school.
#
# **Steps are rotations.** A step of $k$ positions turns every hand by a fixed angle $k\,\omega_i$, wherever it stands:
#
# $$\begin{pmatrix}\sin((p+k)\,\omega_i)\\ \cos((p+k)\,\omega_i)\end{pmatrix}
#   = \begin{pmatrix}\cos k\omega_i & \sin k\omega_i\\ -\sin k\omega_i & \cos k\omega_i\end{pmatrix}
#     \begin{pmatrix}\sin p\,\omega_i\\ \cos p\,\omega_i\end{pmatrix}.$$
#
# The matrix does not contain $p$. So "the token three places back" is the same linear map everywhere, and attention
# learns linear maps. (That is the reason given by Vaswani et al., section 3.5.)
#
# **Similarity depends on distance only.** The dot product of two positions' vectors, with
# $\sin a\sin b + \cos a\cos b = \cos(a-b)$, is
#
# $$W_p\cdot W_q = \sum_i \bigl(\sin p\omega_i \sin q\omega_i + \cos p\omega_i\cos q\omega_i\bigr)
#   = \sum_i \cos\bigl((p-q)\,\omega_i\bigr).$$
#
# It is $C/2$ for $p = q$, which proves that all vectors are of length $\sqrt{C/2}$, and smaller for any other $q$.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formula and its gradient, from the page of the package that has the whole of GPT-2:

# %%
style.show_plain("position")

# %% [markdown] tags=["en"]
# Now the library's own code, fetched while the notebook was built. It does the same, and refuses a text that is longer
# than the table, where the page above would fail with a message about shapes. It can write the gradient into an
# existing array (`out`), so that all gradients of a model lie in one stretch of memory, which suits the optimizer. When
# prompts of unequal length are continued at once, `padding` counts what fills the short ones up at the left, and
# positions begin behind it. `xp` is NumPy (or CuPy, for arrays on a graphics card).

# %%
style.show_source(position_forward, position_backward, sinusoidal_positions)

# %% [markdown] tags=["en"]
# ### By hand
#
# Two texts of two tokens, two channels, and a table with four rows. We begin at position 1, as if one token were
# remembered already.

# %%
weight = np.array([[9.0, 9], [10, 20], [30, 40], [9, 9]])
x = np.array([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]])
y, cache = position_forward(x, weight, start=1)
dy = np.array([[[1.0, 0], [0, 2]], [[100, 0], [0, 300]]])
dx, dweight = position_backward(dy, cache)
print("y of the first text\n", y[0], "\ny of the second\n", y[1], "\ndweight\n", dweight, sep="")

# %% [markdown] tags=["en"]
# Both texts got rows 1 and 2. Row 1 of `dweight` is $(1, 0) + (100, 0)$, row 2 is $(0, 2) + (0, 300)$, and rows 0 and 3
# were not used.
#
# And the clocks, with four channels, so that $\omega_0 = 1$ and $\omega_1 = 10000^{-1/2} = 1/100$. From position 2 to
# position 5 the hands turn by $3$ and by $0.03$. We turn them with the matrix above, and look up position 5 for
# comparison:

# %%
table = sinusoidal_positions(6, 4, "float64")
k, speeds = 3, np.array([1, 1 / 100])
turned = []
for (sine, cosine), angle in zip(table[2].reshape(2, 2), k * speeds, strict=True):
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned += [*(turn @ [sine, cosine])]
print("position 2   ", *(f"{v:7.4f}" for v in table[2]))
print("turned       ", *(f"{v:7.4f}" for v in turned))
print("position 5   ", *(f"{v:7.4f}" for v in table[5]))
print(f"dot product of 2 and 5: {table[2] @ table[5]:.4f}, and cos 3 + cos 0.03 = {np.cos(3) + np.cos(0.03):.4f}")

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative.** `gradient_check` nudges every input up and down by a tiny step, looks at
# how the output changes, and compares that with what the backward pass claims.

# %%
rng = np.random.default_rng(0)
inputs = {"x": rng.normal(size=(2, 3, 4)), "weight": rng.normal(size=(6, 4)), "start": 2}
style.show_check(minigpt2.gradient_check(position_forward, position_backward, inputs))

# %% [markdown] tags=["en"]
# A check that cannot fail is worth nothing. An easy mistake is to forget `start`, since in training it is always 0.
# Then the right numbers end up in the wrong rows:


# %%
def forgetful_backward(dy, cache):
    """The backward pass by someone who believes that every text begins at position 0."""
    return position_backward(dy, cache | {"start": 0})


style.show_check(minigpt2.gradient_check(position_forward, forgetful_backward, inputs))
style.show_check(minigpt2.gradient_check(position_forward, forgetful_backward, inputs | {"start": 0}))

# %% [markdown] tags=["en"]
# The second check passes: it begins at 0. A check finds only what its inputs let it see.
#
# **Against another implementation.** The package carries values that PyTorch computed, recorded once, in 64-bit
# floating point, where rounding errors are about $10^{-16}$. The error is the largest difference, relative to the
# largest value. And does a GPT-2 do *this*? The recorded case `gpt2` comes from Hugging Face's own class; we look at
# the gradient of its position table.

# %%
reference = recorded("position")
y, cache = position_forward(**reference["inputs"], **CASES["position"].options)
gradients = dict(zip(reference["gradients"], position_backward(reference["dy"], cache), strict=True))
error, _ = relative_error({"y": y, **gradients}, {"y": reference["y"], **reference["gradients"]})
style.show_agreement("position: y, and gradients of x, weight", error)

reference = recorded("gpt2")
ids = reference["inputs"]["ids"]
logits, cache = gpt2_forward(ids, reference["inputs"]["params"], minigpt2.GPT2Config(**TINY))
_, grads = gpt2_backward(reference["dy"], cache)
expected = reference["gradients"]["params"]["wpe"]["weight"]
style.show_agreement("GPT-2: gradient of wpe", relative_error(grads["wpe"]["weight"], expected)[0])
taught = int((expected != 0).any(axis=1).sum())
print(f"tokens in a text: {ids.shape[1]}; rows of wpe with a gradient: {taught} of {len(expected)}")

# %% [markdown] tags=["en"]
# A text of five tokens has taught five of the eight rows, in Hugging Face's model as in ours.

# %% [markdown] tags=["en"]
# ## 6. What do learned positions look like?
#
# ### At first sight
#
# Above are the two tables themselves; each channel is shown without its mean over the positions, only with its ups and
# downs. Below is the similarity of the positions to each other, by the *cosine* of the angle between their vectors: 1
# if they point the same way, 0 or less if they have nothing in common.

# %%
tables = {"sinusoidal": computed, "learned, built-in model": wpe}
levels = plt.get_cmap("Blues", 10)  # few shades: the picture is read by its stripes and bands
figure, axes = plt.subplots(2, 2, figsize=(7, 5.6))
for (title, table), column in zip(tables.items(), axes.T, strict=True):
    varying = table - table.mean(axis=0)
    limit = 2 * varying.std()
    image = column[0].imshow(varying, cmap=levels, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    column[0].set(title=title, xlabel="channel", ylabel="position")
    figure.colorbar(image, ax=column[0], shrink=0.8, label="value")
    direction = table / np.linalg.norm(table, axis=1, keepdims=True)
    cosines = direction @ direction.T
    image = column[1].imshow(cosines, cmap=levels, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    column[1].set(xlabel="position", ylabel="position")
    figure.colorbar(image, ax=column[1], shrink=0.8, label="cosine")
for axis in axes.flat:
    axis.grid(False)
plt.show()

direction = wpe / np.linalg.norm(wpe, axis=1, keepdims=True)
cosine = direction @ direction.T
print("distance             ", *(f"{k:5}" for k in (1, 4, 16, 64, 128)))
print("mean cosine, learned ", *(f"{np.diag(cosine, k).mean():5.2f}" for k in (1, 4, 16, 64, 128)))

# %% [markdown] tags=["en"]
# Nobody told the model that position 7 lies between 6 and 8. Its table began as random numbers, in which all positions
# are equally unlike each other. And yet the picture at the lower right shows it: a broad band along the diagonal.
# Neighbours have become similar, distant positions dissimilar. Order has been *found* in the text.
#
# Two differences from the sinusoidal table strike the eye. The sinusoidal band is the same everywhere, as the
# mathematics promised, and sharp at the diagonal. The learned band varies in width, and it is blurred: a position is
# almost as similar to the one sixteen places away as to its nearest neighbour (see the numbers). Only the thin dark
# line says that each row has something that belongs to it alone.
#
# ### Are they waves?
#
# The learned table looks like noise at first, with something slow behind it. Two tools bring it out.
#
# - *Principal components*: the few directions in which the rows differ most. We look for them with `np.linalg.svd` and
#   plot how far each position lies along the first three.
# - *Frequencies*: we take each channel as a curve over the positions, and ask what share of its ups and downs are waves
#   that fit once, twice, three times, ... into the 256 positions (`np.fft.rfft`). For comparison we do the same with
#   the table of a new, untrained model.

# %%
ups_and_downs = wpe - wpe.mean(axis=0)
along, strength, directions = np.linalg.svd(ups_and_downs, full_matrices=False)
along *= np.sign(directions.sum(axis=1))  # a component may point either way: choose one
share = strength**2 / (strength**2).sum()


def share_of_waves(table):
    """Share of the variance over positions by the number of waves, 1 ... P / 2; table (P, C)."""
    power = (np.abs(np.fft.rfft(table - table.mean(axis=0), axis=0)) ** 2).sum(axis=1)[1:]
    return power / power.sum()


untrained = minigpt2.GPT2(model.config, seed=0).params["wpe"]["weight"]
waves = {"learned": share_of_waves(wpe), "sinusoidal": share_of_waves(computed), "untrained": share_of_waves(untrained)}

figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.1))
for i in range(3):
    left.plot(along[:, i] * strength[i], label=f"component {i + 1}: {share[i]:.0%}")
left.set(xlabel="position", ylabel="distance along the component", title="Learned positions, main directions")
left.set_ylim(top=1.9 * (along[:, :3] * strength[:3]).max())
left.legend(loc="upper center")
for name, shares in waves.items():
    right.loglog(range(1, len(shares) + 1), shares, label=name)
right.set(xlabel="waves in 256 positions", ylabel="share of the variance", title="Frequencies")
right.legend()
plt.show()
for name, shares in waves.items():
    print(f"{name:10} share of the four slowest waves {shares[:4].sum():.2f}, of all above 16 {shares[16:].sum():.2f}")

# %% [markdown] tags=["en"]
# On the left, the first component is almost a straight line: *how far along am I?* It alone makes up more than half of
# all differences. The second is a bow, high at both ends: *how near to the edge?* The third stands for the first few
# positions, where a text has little to look back on. Nobody asked for these. (The very last row steps out of line. It
# is the only one that no later token ever looks back at. The picture cannot tell whether that is the reason.)
#
# On the right, the learned table is dominated by slow waves, as the sinusoidal one is, while all frequencies are
# equally strong in the table that it began with. The fastest clock of the sinusoidal table makes $256/2\pi\approx 41$
# waves, and there the curve ends. The learned table has kept an even layer of the fastest possible ups and downs, the
# grain in the picture above. So, are they waves? *Slow curves, with grain on them* is the better answer. Nor is it a
# law that learned positions are smooth: another model, trained on another text or for a shorter time, may have others.

# %% [markdown] tags=["en"]
# ### Does the model use them?
#
# Let us take them away. The built-in model reads a sonnet (Shakespeare's eighteenth, which is not from a play and so is
# new to the model), each time with another table in place of its own. The last four lines move the text: its first
# token is at position 1, 8, 32 or 55, and every distance between tokens stays the same.

# %%
SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee."""
ids = np.array([tokenizer.encode(SONNET)[:201]])
original, T = wpe.copy(), 200
shuffled = np.random.default_rng(0).permutation(T)
variants = {
    "as learned": original[:T],
    "all zero": np.zeros((T, C)),
    "everywhere the mean": np.tile(original.mean(axis=0), (T, 1)),
    "in random order": original[shuffled],
    "backwards": original[:T][::-1],
} | {f"moved by {k}": original[k : k + T] for k in (1, 8, 32, 55)}
for name, rows in variants.items():
    wpe[:T] = rows
    print(f"{name:20} {model.loss(ids[:, :-1], ids[:, 1:]):5.2f} nats per token")
wpe[...] = original

# %% [markdown] tags=["en"]
# Without a table the loss rises a good deal, and if the text runs backwards for the model, it rises still more. So the
# model does use its positions. But moving the whole text costs little. The model has mostly learned about *distance*,
# though nothing in the formula forces it to. The data do: in training, windows of text begin anywhere, so no place is
# special, except that the first ones have little to look back on.
#
# ### Learned, sinusoidal, or none?
#
# A small task that is all about order: *name the digit that stood three places ago*. The text is random digits, so
# nothing else can help. Models with one block see 16 digits at a time. One model has learned positions, one has
# sinusoidal ones, one has none, and we add a model without positions that has two blocks.
#
# How well can a model do if it sees only a *set*? It knows which digits came before and how often, but not in what
# order. The best that it can do is to guess in proportion: if 7 makes up a quarter of them, say 7 with probability a
# quarter. The thin black line is the loss of that guess.


# %%
def batch(rng, B=32, T=16):
    """ids, targets (B, T): random digits, and for each the one three places earlier; -100 where there is none."""
    digits = rng.integers(0, 10, (B, T))
    targets = np.full((B, T), -100)
    targets[:, 3:] = digits[:, :-3]
    return digits, targets


def train(positions, n_layer, steps=600, C=32):
    """A new model, and its loss at each step."""
    config = minigpt2.GPT2Config(
        vocab_size=10, n_positions=32, n_embd=C, n_layer=n_layer, n_head=4, initializer_range=C**-0.5
    )
    new = minigpt2.GPT2(config, seed=0)
    params = minigpt2.flatten(new.params)
    if positions != "learned":  # then the table is a constant that the optimizer does not get
        params["wpe.weight"][...] = sinusoidal_positions(32, C) if positions == "sinusoidal" else 0
        params = trainable(new.params, ["wpe"])
    optimizer = minigpt2.AdamW(params, lr=3e-3)
    rng, losses = np.random.default_rng(0), []
    for _ in range(steps):
        loss, grads = new.loss_and_grads(*batch(rng))
        grads = minigpt2.flatten(grads)
        optimizer.step({name: grads[name] for name in params}, max_norm=1.0)
        losses.append(loss)
    return new, losses


def loss_of_a_set(t, samples=4000):
    """The mean loss at place t of the guess in proportion to the digits before it."""
    digits = np.random.default_rng(0).integers(0, 10, (samples, t))
    proportion = np.stack([(digits == digit).mean(axis=1) for digit in range(10)])
    return -np.mean(np.sum(proportion * np.log(np.maximum(proportion, 1e-9)), axis=0))


floor = np.mean([loss_of_a_set(t) for t in range(3, 16)])
runs = {
    ("learned", 1): "learned",
    ("sinusoidal", 1): "sinusoidal",
    ("none", 1): "none",
    ("none", 2): "none, two blocks",
}
trained = {name: train(*setting) for setting, name in runs.items()}

digits, targets = batch(np.random.default_rng(1), B=256, T=32)
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.2))
for name, (new, losses) in trained.items():
    left.plot(np.arange(10, 601, 20), np.reshape(losses, (30, 20)).mean(axis=1), label=name)
    logits, _ = new.forward(digits)
    places = [float(cross_entropy_forward(logits[:, t : t + 1], targets[:, t : t + 1])[0]) for t in range(3, 32)]
    right.plot(range(3, 32), places, label=name)
    print(f"{name:17} last 20 steps {np.mean(losses[-20:]):4.1f}   positions 3 to 15 {np.mean(places[:13]):4.1f}")
print(f"{'the best of a set':17}               {floor:18.1f}")
left.axhline(floor, color="black", lw=0.8, ls="-", label="the best of a set")
left.legend(loc="lower right", bbox_to_anchor=(1, 0.06))
left.set(xlabel="steps", ylabel="loss (nats)", title="Training on 16 positions", ylim=(0, 2.6))
right.axvspan(15.5, 31.5, color="0.95", zorder=0)
right.set(xlabel="position", ylabel="loss (nats)", title="Afterwards, by position")
right.text(23.5, 0.2, "never trained on", color="0.4", ha="center")
plt.show()

# %% [markdown] tags=["en"]
# On the left: with either kind of positions one block learns the task in a few hundred steps. Without them, it stays
# above the line of the best guess from a set, for ever: it is blind to order. The two blocks without positions pass
# below that line. That is the leak of the causal mask from section 1 at work. It is slow, and a poor substitute.
#
# On the right, the same models read texts twice as long. Up to position 15 all is well with the two that have learned
# the task. From 16 on, **both fail**, and are soon worse than a model that knows nothing, which has
# $\ln 10 \approx 2.3$. The learned table is bound to fail: these rows of it were never used, and are as random as at
# the beginning. But the sinusoidal one has a correct vector for every position. Still, the network has never seen those
# vectors, and what it does with them is anybody's guess. Vaswani et al. hoped that the sinusoidal table might cope with
# longer texts (section 3.5). Here it goes wrong within a few places, the learned table at once.
#
# The experiment is limited: it is one small task, one learning rate and one seed, and 16 positions are few.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which positions does a text of 10 tokens have, and which rows of `wpe` get a gradient from it? *Hint: section 3,
#    step 2.*
# 2. Why are the texts of a batch summed in $dW$ and not averaged? Where in the model is the mean taken?
#    *Hint: notebook 2.5.8, or the docstring of `cross_entropy_forward`.*
# 3. Show that the clocks' cosine similarity, $\frac{2}{C}\sum_i\cos(k\omega_i)$, is 1 for $k = 0$ only. Then look at
#    the stripes in the picture of the sinusoidal similarities: what are they? *Hint: when does a fast clock come
#    round?*
# 4. Replace the task by the Fibonacci numbers modulo 10 of notebook 2.5.5. Can one block without positions learn it?
#    Predict first, then try. *Hint: the order of the digits of such a text is not random. What does the set of them
#    tell you, if you also know the last one?*
# 5. The training of the built-in model began with seed 1337. So `minigpt2.GPT2(model.config, seed=1337)` is the model
#    before its first step. How much of that `wpe` is still in the trained one? *Hint: `np.corrcoef` of the two tables,
#    and of one of them with a table of another seed.*
