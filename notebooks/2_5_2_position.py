# %% [markdown] tags=["en"]
# # 2.5.2 位置编码 · Positional encoding
#
# "The dog bites the man" and "the man bites the dog" are made of the same words. Only their order tells us who needs a
# bandage. You would think that a machine that reads a text from left to right cannot miss the order. But GPT-2 does not
# read from left to right. It looks at all tokens at once, by attention, and attention takes *means*. A mean knows what
# it was made of, and in what proportion, but neither the order nor the number. This notebook shows that, shows the
# remedy, which is a single addition, and then asks what a trained model has made of it.
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
#
# **Exercise:** [3, positions](../exercises/student/03_position.ipynb)

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import graphs
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
# > 位置编码是一种根据位置信息对嵌入向量进行编码的方案。
#
# "Positional encoding is a scheme that encodes the embedding vectors according to positional information." That is
# true. It does not say which scheme, and there are two famous ones:
#
# | name | origin of a position's vector | source |
# |---|---|---|
# | sinusoidal | computed, from sines and cosines | Vaswani et al. 2017, section 3.5 |
# | learned | a table of parameters, trained like all others | **GPT-2**: Radford et al. 2018, section 4.1 and eq. 2 |
#
# In both cases the vector is *added* to the token's. (The source for GPT-2 is the paper on GPT-1; the paper of 2019
# says that the model largely follows GPT-1.) It is added once, before the first block. (Section 2.3 of the document
# puts it into every block; notebook 2.3 checks that.) The parameters of the small model that comes with this package
# show the table. It is called `wpe`, for *word position embedding*:

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
# $\sin^2+\cos^2=1$.) These differ widely: they are no sines and cosines.
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
# Is it true that attention knows proportions only? We take an attention layer with random parameters and no mask, and
# give it six random vectors, then the same vectors in another order, and then each of them twice.

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
style.show_agreement("another order: output in that order", relative_error(y_shuffled, y[:, order])[0])
y_twice, _ = attention_forward(x.repeat(2, axis=1), params, n_head=2, causal=False)
style.show_agreement("each twice: output, each twice", relative_error(y_twice, y.repeat(2, axis=1))[0])

# %% [markdown] tags=["en"]
# Every vector gets the same answer as before, wherever it stands, and however often the whole company is repeated.
# Nothing else in a block mixes tokens, so a whole stack of such blocks has the same blindness.
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
# Without positions, one block cannot tell the two lines apart: the last token sees the same vectors, and takes the same
# mean. The *second* block can. In the first one every token looked back, and what it found there depends on the tokens
# before it. " love" after " my lord" and " love" after " the king" have become different vectors, and so the last token
# now sees different vectors. The mask itself lets some order leak in. (Haviv et al. 2022, "Transformer Language Models
# without Positional Encodings Still Learn Positional Information", train models that live on that alone.) Section 6
# asks whether it is enough. (It is no merit that the lower numbers become larger than the upper ones. The built-in
# model was trained with positions, and without them it is not itself.)

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
    xticks=range(len(shown)), xticklabels=shown, yticks=[0, -1, -2, -3], title="sinusoidal position vectors, 8 channels"
)
axes.set_yticklabels(["channels 0, 1", "channels 2, 3", "channels 4, 5", "channels 6, 7"])
axes.grid(False)
axes.tick_params(length=0)
axes.spines[:].set_visible(False)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Four rows of clocks, one for each pair of channels, at the positions 0, 1, 2, 3, 6, 9, 20, 50, 100 and 200. All hands
# begin upright. In the top row the hand turns by about 57 degrees at every position, in each lower row ten times as
# slowly; in the bottom row it has hardly moved at position 200.

# %% [markdown] tags=["en"]
# Read a column from top to bottom: that is the stamp of its position. The upper clock distinguishes neighbours, the
# lower ones distant places. The *learned* answer is simpler still: begin with random vectors, and let training find the
# right ones. Section 6 looks at the result.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# For any number $z$ in the model, $dz$ is short for $\partial\,\mathrm{loss} / \partial z$. R1 and R5 are rules from
# the toolbox, notebook [2.0](2_0_toolbox.ipynb).
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
# **Step 1: $dx$.** If $x_{btc}$ grows by a tiny $\varepsilon$, so does $y_{btc}$. The derivative is 1, and $dx = dy$.
#
# **Step 2: $dW$.** If $W_{pc}$ grows by $\varepsilon$, then $y_{btc}$ grows by $\varepsilon$ in *every* text $b$, at
# the place with $\mathrm{start}+t = p$. The chain rule adds up over everything that it acts on. In the words of the
# toolbox: rows were picked from a table, so their gradients go back into the same rows (R5), and each row was copied to
# all texts, so the gradients of the copies are added (R1):
#
# $$dW_{\mathrm{start}+t,\,c} = \sum_b dy_{btc}, \qquad dW_{pc} = 0 \text{ for the positions that were not used.}$$
#
# Compare that with the embedding of tokens: there a row collects wherever its token occurs, here wherever its position
# occurs, and that is once in each text. An important consequence: **the rows past the length of the training texts
# never get a gradient.**
#
# ### The sinusoidal table
#
# It has nothing to learn, and so no backward pass. For the pair of channels $2i$ and $2i+1$ (a clock), with the speed
# $\omega_i = 10000^{-2i/C}$:
#
# $$W_{p,2i} = \sin(p\,\omega_i), \qquad W_{p,2i+1} = \cos(p\,\omega_i) .$$
#
# The speeds fall from $1$ towards $1/10000$, each lower than the one before by the same factor; the more channels, the
# nearer the last one comes to it (with the 8 of the picture it is $1/1000$). Why sines *and* cosines? For two reasons,
# both from the addition theorems learned at school.
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
# It is $C/2$ for $p = q$, which proves that all vectors are of length $\sqrt{C/2}$, and smaller for any other $q$
# (question 3).

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
# Two texts of two tokens, one channel, and a table with four rows. We begin at position 1, as if one token were
# remembered already.

# %%
weight = np.array([[9.0], [10], [30], [9]])
x = np.array([[1.0, 3], [5, 7]])[:, :, None]
y, cache = position_forward(x, weight, start=1)
dy = np.array([[1.0, 2], [100, 300]])[:, :, None]
dx, dweight = position_backward(dy, cache)
print("y, a row for each text\n", y[:, :, 0], "\ndweight\n", dweight, sep="")

# %%
rows, drows = weight[1:3].T, dweight[1:3].T  # of positions 1 and 2
graphs.draw(
    {"x": (0, 0), "W": (0, 1), "rows 1, 2": (1, 1), "copy": (2, 1), "+": (3, 0), "y": (4, 0)},
    [
        ("x", "+", x[:, :, 0], dx[:, :, 0]),
        ("W", "rows 1, 2", weight.T, dweight.T),
        ("rows 1, 2", "copy", rows, drows),
        ("copy", "+", np.tile(rows, (2, 1)), dy[:, :, 0]),
        ("+", "y", y[:, :, 0], dy[:, :, 0]),
    ],
)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The example as a graph. Forward, rows 1 and 2 of the table W, 10 and 30, are copied to both texts and added to x.
# Backward, the gradient of y arrives unchanged at x and at the copies; the copies' gradients are summed over the texts,
# to 101 and 302; and these stand in rows 1 and 2 of the gradient of W, between zeros.

# %% [markdown] tags=["en"]
# In the picture a row is a text and a column a position. Both texts got rows 1 and 2 of the table, $10$ and $30$. Row 1
# of `dweight` is $1 + 100$, row 2 is $2 + 300$, and rows 0 and 3 were not used.
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
# **Against the definition of a derivative.** `gradient_check`, which notebook [2.0](2_0_toolbox.ipynb) derives,
# compares the backward pass with difference quotients of the forward pass; here for texts that begin at position 2.

# %%
rng = np.random.default_rng(0)
inputs = {"x": rng.normal(size=(2, 3, 4)), "weight": rng.normal(size=(6, 4)), "start": 2}
style.show_check(minigpt2.gradient_check(position_forward, position_backward, inputs))

# %% [markdown] tags=["en"]
# An easy mistake is to forget `start`, since in training it is always 0. Then the right numbers end up in the wrong
# rows:


# %%
def forgetful_backward(dy, cache):
    """The backward pass by someone who believes that every text begins at position 0."""
    return position_backward(dy, cache | {"start": 0})


style.show_check(minigpt2.gradient_check(position_forward, forgetful_backward, inputs))
style.show_check(minigpt2.gradient_check(position_forward, forgetful_backward, inputs | {"start": 0}))

# %% [markdown] tags=["en"]
# The second check passes: it begins at 0. A check finds only what its inputs let it see.
#
# **Against another implementation**: PyTorch's values, recorded in 64-bit floating point (2.0 says how the error is
# measured). And does a GPT-2 do *this*? The recorded case `gpt2` comes from Hugging Face's own class; we look at the
# gradient of its position table.

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
# Above are the two tables themselves, 64 of the 256 channels of each, without their means over the positions: only the
# ups and downs. So that the eye has something to follow, the channels are put in order: first the sines and then the
# cosines, from fast to slow; the learned ones by their correlation with the position, from falling to rising. Below is
# the similarity of the positions to each other, by the *cosine* of the angle between their vectors: 1 if they point the
# same way, 0 if they are at right angles, below 0 if they point apart.

# %%
rising = np.argsort([np.corrcoef(channel, np.arange(P))[0, 1] for channel in wpe.T])
shown = {
    "sinusoidal": (computed, np.r_[0:C:8, 1:C:8], "32 sines, 32 cosines"),
    "learned": (wpe, rising[::4], "64 channels, falling to rising"),
}
colours = LinearSegmentedColormap.from_list("", [style.ORANGE, "white", style.BLUE], 11)
figure, axes = plt.subplots(2, 2, figsize=(7, 5.8))
for (title, (table, chosen, label)), (above, below) in zip(shown.items(), axes.T, strict=True):
    varying = (table - table.mean(axis=0))[:, chosen]
    limit = 2 * varying.std()
    image = above.imshow(varying, cmap=colours, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    above.set(title=title, xlabel=label, ylabel="position")
    figure.colorbar(image, ax=above, shrink=0.8, label="value", extend="both")
    direction = table / np.linalg.norm(table, axis=1, keepdims=True)
    image = below.imshow(direction @ direction.T, cmap=colours, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    below.set(xlabel="position", ylabel="position")
    figure.colorbar(image, ax=below, shrink=0.8, label="cosine")
for axis in axes.flat:
    axis.grid(False)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Four maps. Above, the values of the tables: the sinusoidal one has stripes, narrow for the fast channels and wide for
# the slow ones, once for sines and once for cosines; the learned one goes slowly from one sign to the other down each
# channel, with fine noise on it. Below, the cosines between positions: the sinusoidal table has the same band along
# the diagonal everywhere; the learned one has a broad, blurred band, a thin dark diagonal, and negative cosines between
# the first and the last positions.

# %%
def mean_cosines(table, distances=(1, 4, 16, 64, 128)):
    """The mean cosine between positions, by their distance."""
    direction = table / np.linalg.norm(table, axis=1, keepdims=True)
    return [np.diag(direction @ direction.T, k).mean() for k in distances]


untrained = minigpt2.GPT2(model.config, seed=0).params["wpe"]["weight"]
print("distance                ", *(f"{k:5}" for k in (1, 4, 16, 64, 128)))
for name, table in {"learned": wpe, "sinusoidal": computed, "a new, untrained model": untrained}.items():
    print(f"{name:24}", *(f"{round(cosine, 2) + 0.0:5.2f}" for cosine in mean_cosines(table)))

# %% [markdown] tags=["en"]
# Nobody told the model that position 7 lies between 6 and 8. Its table began as random numbers, like those of the last
# row, in which all positions are equally unlike each other. And yet there is a broad band along the diagonal.
# Neighbours have become similar, distant positions dissimilar. Order has been *found* in the text.
#
# Two differences from the sinusoidal table strike the eye. The sinusoidal band is the same everywhere, as the
# mathematics promised, and sharp at the diagonal. The learned band varies in width, and it is blurred: a position is
# almost as similar to the one sixteen places away as to its nearest neighbour. Only the thin dark line says that each
# row has something that belongs to it alone.
#
# ### Is there a pattern behind it?
#
# A table with 256 channels is hard to look at. *Principal components* are the usual remedy. They are the few directions
# in the space of the channels in which the rows differ most: the first one is the direction along which they are spread
# widest, the second the next widest at right angles to it, and so on (`np.linalg.svd` finds them). The picture shows
# how far each position lies along the first three, with their shares of the table's variance.
#
# Such curves are seductive, so a control stands beside them: the same for a **random walk**, a table that has learned
# nothing, in which each row is the one before plus random numbers.


# %%
def components(table):
    """The rows' coordinates along the principal components, and the components' shares of the variance."""
    along, strength, directions = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    along *= np.sign(directions.sum(axis=1))  # a component may point either way: choose one
    return along * strength, strength**2 / (strength**2).sum()


walk = np.cumsum(np.random.default_rng(1).normal(size=(P, C)), axis=0)
figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.1))
for axis, (name, table) in zip(axes, {"learned": wpe, "random walk": walk}.items(), strict=True):
    coordinates, share = components(table)
    for i in range(3):
        axis.plot(coordinates[:, i], label=f"component {i + 1}: {share[i]:.0%}")
    axis.set(xlabel="position", ylabel="coordinate along the component", title=name)
    axis.set_ylim(top=1.9 * coordinates[:, :3].max())
    axis.legend(loc="upper center")
plt.show()
print(f"share of the first component, untrained model: {components(untrained)[1][0]:.1%}")

# %% [markdown] tags=["en", "alt"]
# Two panels of three curves over the position. Learned table: the first component, 62 % of the variance, rises almost
# in a straight line; the second, 13 %, is a bow, high at both ends; the third, 3 %, has a peak at position 0 and is
# nearly flat after it. Random walk: the first component, with about the same share, also goes from one side to the
# other, and the second is also a bow; the third is a wave.

# %% [markdown] tags=["en"]
# On the left, the first component is almost a straight line: *how far along am I?* It alone makes up more than half of
# all differences. The second is a bow: *how near to the edge?* It is tempting to say that the model has invented these
# two questions. But the random walk has both, with about the same shares, and asks nothing. They come out of a table of
# which nothing is known but that each row resembles the one before; and an untrained table, which is not of that kind,
# has nothing like them. So the two curves say again that neighbours are alike, and no more.
#
# The third curve is another matter. The random walk has a wave there. In the learned table the third component stands
# for position 0, the only one that has nothing to look back on. (The very last row steps out of line. It is the
# only one that no later token ever looks back at. The picture cannot tell whether that is the reason.)

# %% [markdown] tags=["en"]
# ### Does the model use them?
#
# Let us take them away. The built-in model reads a sonnet (Shakespeare's eighteenth, which is not from a play and so is
# new to the model), each time with other rows in place of its own.

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


def losses_with(rows):
    """The loss on the sonnet, on its first 50 tokens and on the others, if the first T rows of the table are these."""
    wpe[:T] = rows
    logits, targets = model.forward(ids[:, :-1])[0], ids[:, 1:]
    wpe[...] = original
    parts = slice(None), slice(50), slice(50, None)
    return np.array([float(cross_entropy_forward(logits[:, part], targets[:, part])[0]) for part in parts])


variants = {
    "as learned": original[:T],
    "all zero": np.zeros((T, C)),
    "everywhere the mean": np.tile(original.mean(axis=0), (T, 1)),
    "in random order": original[np.random.default_rng(0).permutation(T)],
    "backwards": original[:T][::-1],
}
for name, rows in variants.items():
    print(f"{name:20} {losses_with(rows)[0]:5.2f} nats per token")

# %% [markdown] tags=["en"]
# Without a table the loss rises a good deal, and if the text runs backwards for the model, it rises still more. So the
# model does use its positions. What does it take from them: the *place* of a token, or its *distance* from another?
# We move the whole text by $k$ places: every place changes, and every distance stays. Three other changes, by up to $k$
# places, spoil the distances: half of the tokens, chosen at random, move by $k$ places and the others stay; the tokens
# trade places at random within blocks of $k$; and every row becomes the mean of its block of $k$ rows, so that within a
# block all places are one. We look at the first fifty tokens and at the rest of the sonnet apart.


# %%
def half_moved(k, rng):
    """Half of the tokens, chosen at random, k places further on."""
    return original[np.arange(T) + k * rng.integers(0, 2, T)]


def shuffled(k, rng):
    """The tokens' places in random order within blocks of k."""
    return original[np.concatenate([start + rng.permutation(min(k, T - start)) for start in range(0, T, k)])]


def averaged(k):
    """Each row the mean of its block of k rows."""
    return np.concatenate([np.tile(original[i : i + k].mean(axis=0), (k, 1)) for i in range(0, P, k)])[:T]


learned = losses_with(original[:T])
rises = {}
for k in (2, 8, 32, 55):
    rngs = [np.random.default_rng(seed) for seed in range(10)]
    chance = [[losses_with(change(k, rng)) for rng in rngs] for change in (half_moved, shuffled)]
    moved, coarse = ([losses_with(rows)] for rows in (original[k : k + T], averaged(k)))
    rises[k] = [np.array(some) - learned for some in (moved, *chance, coarse)]
for part, name in enumerate(("all tokens", "tokens 0 to 49", "tokens 50 to 199")):
    print(f"rise of the loss, {name}\n k   all moved      half moved   shuffled in blocks   averaged in blocks")
    for k, some in rises.items():
        moved, half, blocks, coarse = (rise[:, part] for rise in some)
        half, blocks = (f"{round(rise.mean(), 2) + 0.0:.2f} ± {rise.std():.2f}" for rise in (half, blocks))
        print(f"{k:2}   {round(moved.mean(), 2) + 0.0:9.2f}   {half:>13}   {blocks:>18}   {coarse.mean():18.2f}")

# %% [markdown] tags=["en"]
# (The two columns in the middle are means over ten random choices, and the standard deviation of a single one.)
#
# In the mean over all tokens one sees no difference: up to $k = 32$ it costs as much to keep the distances as to spoil
# them. But two things are mixed in it. **At the beginning** every change is dear, and to move is the dearest: the first
# tokens lose the rows that stand apart in the table, and their distances are no help. There the model goes by the
# *place*. **From the fiftieth token on** moving costs nothing at all, even by 55 places. There it goes by the
# *distance*, but only roughly: to mix up eight places costs nothing either, 32 a little, and 55 not quite 0.1, where
# no positions at all cost 0.45. The table is coarse, which agrees with the blurred band in the picture. And it is the
# finding for one small model and one sonnet, not a law about learned positions.
#
# ### Learned, sinusoidal, or none?
#
# A small task that is all about order: *name the digit that stood three places ago*. The text is random digits, so
# nothing else can help. Models with one block see 16 digits at a time. One model has learned positions, one has
# sinusoidal ones, one has none, and we add a model without positions that has two blocks.
#
# How well can one block do without positions? Its attention takes a mean over the digits so far, and the rest of the
# block sees this mean and the digit at hand. So its answer depends on which digits came before and in what proportion,
# and not on their order. The wanted digit is one of those $t$ digits, and all orders of them are equally likely: it is
# a 7 with a probability that is the share of sevens among them. No guess has a smaller loss than the true probabilities
# (2.5.8), so the best guess is in proportion, and its mean loss is a **floor** for such a model, however long it is
# trained: the thin black line.


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


# %%
def loss_in_proportion(t, samples=4000):
    """The mean loss at place t of the guess in proportion to the t digits before it."""
    digits = np.random.default_rng(0).integers(0, 10, (samples, t))
    proportion = np.stack([(digits == digit).mean(axis=1) for digit in range(10)])
    return -np.mean(np.sum(proportion * np.log(np.maximum(proportion, 1e-9)), axis=0))


floor = np.mean([loss_in_proportion(t) for t in range(3, 16)])
runs = {"learned": ("learned", 1), "sinusoidal": ("sinusoidal", 1), "none": ("none", 1), "none, 2 blocks": ("none", 2)}
trained = {name: train(*setting) for name, setting in runs.items()}
digits, targets = batch(np.random.default_rng(1), B=256, T=32)
places = {}
for name, (new, losses) in trained.items():
    logits, _ = new.forward(digits)
    places[name] = [float(cross_entropy_forward(logits[:, t : t + 1], targets[:, t : t + 1])[0]) for t in range(3, 32)]
    print(f"{name:15} last 20 steps {np.mean(losses[-20:]):3.1f}   positions 3 to 15 {np.mean(places[name][:13]):3.1f}")
print(f"{'floor':15}                   positions 3 to 15 {floor:3.1f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.2))
for name, (_, losses) in trained.items():
    left.plot(np.arange(10, 601, 20), np.reshape(losses, (30, 20)).mean(axis=1), label=name)
    right.plot(range(3, 32), places[name])
left.axhline(floor, color="black", lw=0.8, ls="-", label="floor")
left.set(xlabel="step", ylabel="loss (nats)", title="training, 16 positions", ylim=(0, 2.6))
right.axvspan(15.5, 31.5, color="0.95", zorder=0)
right.set(xlabel="position", ylabel="loss (nats)", title="after training")
right.text(23.5, 0.2, "beyond training length", color="0.35", ha="center")
figure.legend(loc="outside lower center", ncols=5)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left, the loss over 600 steps of training: with learned positions it is near zero after about 70 steps, with
# sinusoidal ones after about 140; without positions one block stays just above the floor of 1.6, and two blocks sink
# below it, to 1.3. Right, the loss by position after training: with either kind of positions it is zero up to position
# 15 and rises beyond, with learned ones at once, with sinusoidal ones within three places, to between 4 and 7, where
# the models without positions stay near 2.

# %% [markdown] tags=["en"]
# On the left: with either kind of positions one block learns the task within 150 steps. Without them it stays above the
# floor, as it must. The two blocks without positions pass below that line. That is the leak of the causal mask from
# section 1 at work. It is slow, and a poor substitute. (With ten times as many steps their loss is 0.7.)
#
# On the right, the same models read texts twice as long. Up to position 15 all is well with the two that have learned
# the task. From 16 on, **both fail**, and are soon worse than a model that gives every digit the same chance, whose
# loss is $\ln 10 \approx 2.3$. The learned table is bound to fail: these rows of it never got a gradient, and are,
# apart from a little weight decay, the random numbers of the beginning. But the sinusoidal one has a correct vector for
# every position. Still, the network has never seen those vectors, and what it does with them is anybody's guess.
# Vaswani et al. hoped that the sinusoidal table might cope with longer texts (section 3.5). Here it goes wrong at the
# first new place, if less steeply than the learned table.
#
# The experiment is limited: it is one small task, one learning rate and one seed, and 16 positions are few.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which positions does a text of 10 tokens have, and which rows of `wpe` get a gradient from it? *Hint: section 3,
#    step 2.*
#
#    <details><summary>Answer</summary>
#
#    Positions 0 to 9, and rows 0 to 9, each from the one token that stands there. The other rows get zero. (The target
#    of the last token, an eleventh token, is not part of the input and needs no position.)
#
#    </details>
#
# 2. Why are the texts of a batch summed in $dW$ and not averaged? Where in the model is the mean taken?
#    *Hint: notebook 2.5.8, or the docstring of `cross_entropy_forward`.*
#
#    <details><summary>Answer</summary>
#
#    A row acts on the loss through every text, and the chain rule adds all the ways in which it acts (R1). The mean is
#    taken once, in the loss, which divides the sum over all counted tokens by their number $N$. So the factor $1/N$ is
#    in $dy$ already; to average again in $dW$ would divide twice.
#
#    </details>
#
# 3. Show that the clocks' cosine similarity, $\frac{2}{C}\sum_i\cos(k\omega_i)$, is 1 for $k = 0$ only. Then look at
#    the stripes in the picture of the sinusoidal similarities: what are they? *Hint: when does a fast clock come
#    round?*
#
#    <details><summary>Answer</summary>
#
#    It is the mean of $C/2$ cosines, each at most 1. The mean is 1 only if *every* cosine is 1, that is, if $k\omega_i$
#    is a multiple of $2\pi$ for every $i$. For the first clock $\omega_0 = 1$, so $k = 2\pi m$ with an integer $m$. If
#    $m \ne 0$, then $\pi = k/2m$ would be a fraction, and $\pi$ is irrational. So $m = 0$ and $k = 0$.
#
#    The stripes run along the diagonal, about 6 places apart (with 256 channels the similarity has peaks at the
#    distances 25, 31, 37, 43, 49, 56, ...): the fastest clock comes round after $2\pi \approx 6.3$ positions, and
#    agrees with itself again. The clocks after it come round later, one by one, so no stripe is as dark as the
#    diagonal.
#
#    </details>
#
# 4. Take another task: the first two digits of a text are random, each further one is the last digit of the sum of the
#    two before it (2, 9, 1, 0, 1, 1, ...), and the model has to name the next. Can one block without positions learn
#    it? Predict first, then try: write such a `batch`, and call `train("none", 1)`. *Hint: the order of the digits of
#    such a text is not random. What does the set of them tell you, if you also know the last one?*
#
#    <details><summary>Answer</summary>
#
#    Almost. The next digit needs the last one, which the block has at hand, and the one before it. If you know the last
#    digit and how often each digit has occurred, then of the 100 possible beginnings hardly any two are left to choose
#    from: counted over all of them, the best possible loss is at most 0.07 nats at every place, with one exception.
#    From three digits $a$, $b$, $a+b$ nobody can tell which of the first two was the second, and this costs $0.9\ln 2 =
#    0.62$ (if $a = b$, nothing).
#
#    The model does nearly that. After 600 steps its loss is 0.9 at the third digit and below 0.3 at the others, at most
#    of them near 0.1, where a blind guess has 2.3. A model with learned positions has less than 0.01 everywhere.
#    Another lesson of it: a task that *looks* as if it were all about order need not be.
#
#    </details>
#
# 5. The training of the built-in model began with seed 1337. So `minigpt2.GPT2(model.config, seed=1337)` is the model
#    before its first step. How much of that `wpe` is still in the trained one? *Hint: `np.corrcoef` of the two tables,
#    and of one of them with a table of another seed.*
#
#    <details><summary>Answer</summary>
#
#    A little: the correlation is 0.11, where a table of another seed gives 0.00. The straight line that fits best has
#    the slope 0.12, so about 12 % of each initial number is left. It is part of the fine grain in the picture: if
#    you first take the mean of nine neighbouring rows off each row, in both tables, the correlation is 0.16.
#
#    </details>

# %% [markdown] tags=["en"]
# The next notebook is about the layer that reads what was stamped here. **Next:**
# [2.5.3, attention](2_5_3_attention.ipynb)
