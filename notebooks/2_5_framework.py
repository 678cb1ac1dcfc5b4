# %% [markdown] tags=["en"]
# # 2.5 框架 · Framework
#
# This is the map of the book. The document lists nine components; here you see where each of them lies on the way from
# a text to a loss and back, follow one sentence through all of them, and count every parameter of GPT-2. Each component
# then has a notebook of its own, 2.5.1 to 2.5.9, which takes it apart.
#
# You need Python, NumPy and the chain rule from school. These words come up everywhere:
#
# - A **token** is a piece of text that has a number, its *id* (2.4). The model reads $B$ texts of $T$ tokens at once,
#   an array of integers of shape `(B, T)`.
# - A **vector** here is a row of $C$ numbers, called *channels*. Inside the model every token is a vector.
# - A **parameter** is a number that is learned. An **activation** is a number that is computed on the way, from the
#   parameters and the text.
# - The **forward pass** computes the activations, up to one number, the **loss**, that says how badly the model
#   predicted the text. The **backward pass** finds, for any number $z$ in the model, parameter or activation, the
#   derivative of the loss with respect to it. This is the **gradient**, and $dz$ is short for it (2.0).
# - A **logit** is the score that the model gives to a token as the next one. The loss is the mean of $-\ln$ of the
#   probability that the right token got; its unit is the *nat*, from the natural logarithm.
#
# **Exercise:** [10, the model](../exercises/student/10_model.ipynb)

# %%
import copy
import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

sys.path.insert(0, "..")  # style.py and graphs.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.embedding import unembedding_backward, unembedding_forward
from minigpt2.components.layer_norm import layer_norm_forward
from minigpt2.components.loss import IGNORED, cross_entropy_forward
from minigpt2.model import block_backward, block_forward, gpt2_backward, gpt2_forward
from minigpt2.reference import (
    CASES,
    LABEL_SMOOTHING,
    LEARNING_RATES,
    MAX_NORM,
    TINY,
    TRAINING,
    recorded,
    relative_error,
)
from minigpt2.verification.verify import model_of

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document gives this section a list of nine parts, a sentence for each: "GPT-2的框架由以下几个组件构成", GPT-2's
# framework consists of the following components. The list is a good one. It leaves open how the parts are put together;
# that is the subject of this notebook. And compared with GPT-2 as released (Radford et al. 2019, "Language Models are
# Unsupervised Multitask Learners", which in its section 2.3 builds on the model of Radford et al. 2018) it needs three
# remarks:
#
# - **Not all nine are in the model.** Five have parameters and take part whenever a text is read. The other four belong
#   to training: the model's output does not depend on them once it is trained.
# - **Not all nine are in GPT-2.** 标签平滑, label smoothing (7), is mentioned in neither paper. The library has it, and
#   it is off unless you ask for it.
# - **Some are described too loosely.** 嵌入向量的数量一般比字典的大小小, the number of embedding vectors is usually
#   smaller than the dictionary: there is one for *every* entry of the vocabulary; only their dimension is smaller
#   (2.5.1). 位置编码, positional encoding: positions are *learned* vectors (2.5.2). 残差连接和归一化层, residual
#   connections and layer normalization: the norms come *before* attention and before the feed-forward network (2.5.5).
#   And something is missing from the list, the *output layer* that turns vectors into logits: it is component 1 a
#   second time, transposed.
#
# The first remark can be seen in the names of the parameters. Here are those of the small model that comes with this
# package, sorted into the nine drawers:

# %%
COMPONENTS = {
    1: "embedding",
    2: "position",
    3: "attention",
    4: "feed-forward",
    5: "residual and norm",
    6: "dropout",
    7: "label smoothing",
    8: "loss",
    9: "optimizer",
}
PART_OF_A_NAME = {"wte": 1, "wpe": 2, "attn": 3, "mlp": 4, "ln_": 5}


def component_of(name):
    """The number of the component that a parameter belongs to."""
    return next(number for part, number in PART_OF_A_NAME.items() if part in name)


model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
names = {number: [] for number in COMPONENTS}
for name in minigpt2.flatten(model.params):
    names[component_of(name)].append(name)
for number, title in COMPONENTS.items():
    mine = names[number]
    print(f"{number} {title:18} {len(mine):3} arrays", f" such as {mine[0]}" if mine else "")

# %% [markdown] tags=["en"]
# And components 6 to 9 do nothing unless they are called. Dropout, which sets activations to 0 at random (2.5.6), needs
# a random number generator; label smoothing, which promises a little probability to the wrong tokens too (2.5.7), needs
# a number; the loss needs the right tokens, the *targets*; the optimizer is a separate object. Without them the model
# computes the same logits each time; with dropout it does not, and with smoothing the loss is different.

# %%
sentence = "To be, or not to be, that is the question"
ids = np.array([tokenizer.encode(sentence)])
x, y = ids[:, :-1], ids[:, 1:]  # the target of each token is the one after it
logits, _ = model.forward(x)
again, _ = model.forward(x)
dropped, _ = model.forward(x, rng=np.random.default_rng(0))
print("twice the same logits:              ", np.array_equal(logits, again))
print("the same with dropout:              ", np.array_equal(logits, dropped))
print(f"loss, and with label smoothing 0.1:   {model.loss(x, y):.2f}  {model.loss(x, y, label_smoothing=0.1):.2f}")

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **A stack of small functions, each of which can be run backward.** Every component is a pair: `forward` computes its
# result and keeps in a `cache` the values that will be needed again; `backward` takes the gradient of the result, and
# the cache, and returns the gradients of the inputs. So the whole model is run backward by running its parts backward
# in reverse order. No part knows any other.
#
# The picture is the map. Read it from the bottom to the top. The numbers are the document's; the file names are those
# in `minigpt2/components/`; on the right is the shape of the output. First its content, then the drawing:

# %%
STEPS = [  # y, what is computed, components, file, shape
    (0.0, "wte[ids]", "1", "embedding.py", "(B, T, C)"),
    (1.0, "+ wpe[0 ... T-1]", "2 6", "position.py", "(B, T, C)"),
    (2.5, "layer norm", "5", "layer_norm.py", "(B, T, C)"),
    (3.5, "attention", "3 6", "attention.py", "(B, T, C)"),
    (4.15, "+", "5", "residual.py", "(B, T, C)"),
    (5.0, "layer norm", "5", "layer_norm.py", "(B, T, C)"),
    (6.0, "feed-forward", "4 6", "feed_forward.py", "(B, T, C)"),
    (6.75, "+", "5", "residual.py", "(B, T, C)"),
    (7.6, "layer norm", "5", "layer_norm.py", "(B, T, C)"),
    (8.6, "times wte, transposed", "1", "embedding.py", "(B, T, V)"),
    (9.6, "cross-entropy", "8 7", "loss.py", "one number"),
]

# %%
figure, axes = plt.subplots(figsize=(8.4, 6.6))
axes.set(xlim=(-4.0, 11.3), ylim=(-1.0, 10.2))
axes.axis("off")
axes.fill_between([-2.0, 10.9], 1.75, 7.05, color="0.95", zorder=0)
axes.text(10.8, 1.95, "block, n_layer times", ha="right", va="center", color="0.35", fontsize=8)
edge = {"fc": "white", "ec": style.BLUE}
for height, what, numbers, file, shape in STEPS:
    if what == "+":
        place, box, font = 0.2, {"boxstyle": "circle,pad=0.15", **edge}, 10
    else:
        place, box, font, what = 2.6, {"boxstyle": "round,pad=0.4", **edge}, 8, f"{what:^23}"
    axes.text(place, height, what, ha="center", va="center", bbox=box, zorder=3, family="monospace", fontsize=font)
    for i, number in enumerate(numbers.split()):
        dashed = number in "67"
        circle = {"boxstyle": "circle,pad=0.2", **edge} | ({"ls": "--"} if dashed else {"fc": style.BLUE})
        colour = style.BLUE if dashed else "white"
        axes.text(5.3 + 0.62 * i, height, number, ha="center", va="center", color=colour, bbox=circle, fontsize=8)
    axes.text(6.7, height, file, va="center", fontsize=8, family="monospace")
    axes.text(10.8, height, shape, ha="right", va="center", fontsize=8, color="0.35")
thin, thick = {"color": style.BLUE, "lw": 1.2, "ls": "-", "zorder": 1}, {"lw": 4, "color": style.BLUE, "ls": "-"}
axes.text(2.6, -0.85, "ids (B, T)", ha="center", va="center")
axes.plot([2.6, 2.6, 0.2], [-0.6, 1.5, 1.5], **thin)
axes.plot([0.2, 0.2], [1.45, 7.25], zorder=1, **thick)  # the residual stream
for leaves, returns in ((1.95, 4.15), (4.55, 6.75)):
    axes.plot([0.2, 2.6, 2.6, 0.2], [leaves, leaves, returns, returns], **thin)
    axes.plot([0.2], [leaves], marker="o", ms=9, mfc="white", mec=style.ORANGE, mew=1.6, zorder=3)
    axes.text(-0.15, leaves, "gradients add", ha="right", va="center", color=style.ORANGE_TEXT, fontsize=8)
    axes.text(-0.15, returns, "gradient copied", ha="right", va="center", color=style.ORANGE_TEXT, fontsize=8)
axes.plot([0.2, 2.6, 2.6], [7.2, 7.2, 9.5], **thin)
for place, ends, text, colour in ((-2.6, (-0.5, 9.9), "forward", style.BLUE), (-3.4, (9.9, -0.5), "backward", None)):
    arrow = {"arrowstyle": "->", "color": colour or style.ORANGE, "lw": 1.8, "ls": "-" if colour else "--"}
    axes.annotate("", (place, ends[1]), (place, ends[0]), arrowprops=arrow)
    axes.text(place - 0.12, 4.7, text, rotation=90, ha="right", va="center", color=colour or style.ORANGE_TEXT)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The map of GPT-2, from the ids at the bottom to the loss at the top: wte[ids], plus wpe, then a block that is repeated
# (layer norm, attention, plus, layer norm, feed-forward, plus), layer norm, times wte transposed, cross-entropy. A
# thick line, the residual stream, runs through the block; each sub-layer branches off it and comes back to it at a
# plus. Orange marks show where, backward, the gradient is copied (at each plus) and where two gradients add (where a
# sub-layer branches off). Beside each step stand its component's number, its file and the shape of its output.

# %% [markdown] tags=["en"]
# The grey part is a **block**, of which a GPT-2 has a whole stack; attention and the feed-forward network are its
# **sub-layers**. Dashed circles are components that GPT-2 has only while it is trained (6) or not at all (7). The thick
# line is the **residual stream**: one vector per token that runs from the bottom to the top, and to which each
# sub-layer *adds* something (2.5.5). Component 9 is not on the way at all. When the backward pass is done, it looks at
# all gradients and moves all parameters a little.
#
# Backward, one walks from the top to the bottom. At a plus the gradient goes on unchanged both ways, into the sub-layer
# and down the thick line. Where the sub-layer had branched off, the two meet again and are added. And one parameter is
# in the picture twice: `wte`, at the bottom and at the top. Its two gradients are added as well.

# %% [markdown] tags=["en"]
# ### One sentence, tensor by tensor
#
# `minigpt2.trace` runs a model and returns every activation under a fixed name. Follow the shapes: a row of integers
# becomes vectors of 256 channels, whose shape stays the same all the way through four blocks, and at the end there is a
# score, a **logit**, for each of the 1,024 tokens of this model's vocabulary. The columns on the right show the first
# three of the numbers that belong to the last token.

# %%
activations = minigpt2.trace(model, x, y, weights=False)
config = model.config
B, T = x.shape
print(*(repr(tokenizer.decode([i])) for i in x[0]))
print(f"B = {B}, T = {T}, C = {config.n_embd}, H = {config.n_head}, V = {config.vocab_size}\n")
for name, array in activations.items():
    if name.startswith("h.") and not name.startswith("h.0."):
        if name.endswith("resid_post"):
            print(f"{name[:3]} ...               like h.0")
        continue
    last = array[..., -1, :] if array.ndim > 2 else array[..., -1:] if array.ndim else array
    values = [str(v) if array.dtype.kind == "i" else f"{v:6.2f}" for v in last.ravel()[:3]]
    print(f"{name:18} {array.shape!s:18}", *values)

# %% [markdown] tags=["en"]
# Attention works with $H$ = 4 heads side by side, each with $D$ = 64 of the 256 channels; the table shows the first
# head. The row of `probs` says how the last token divides its attention among the tokens: the three numbers are the
# shares of the first three.
#
# ### Which tokens influence which?
#
# One property of the map deserves a look right away. We change one token of the sentence, the sixth, and ask at which
# positions each activation changes:

# %%
changed = x.copy()
changed[0, 5] = tokenizer.encode(" king")[0]
other = minigpt2.trace(model, changed, y, weights=False)
for name in ("embd", "h.0.ln_1", "h.0.attn.q", "h.0.attn.out", "h.0.resid_mid", "h.0.mlp.out", "h.3.mlp.out", "logits"):
    a, b = activations[name], other[name]
    if a.ndim == 4:  # (B, H, T, D): the heads side by side
        a, b = (array.swapaxes(1, 2).reshape(B, T, -1) for array in (a, b))
    differs = np.abs(a - b).max(axis=-1)[0] > 0
    print(f"{name:14}", "".join(".X"[int(d)] for d in differs))

# %% [markdown] tags=["en"]
# Every component treats each token separately, except one: **attention is the only place where tokens learn of each
# other**, and only of those before them. The change spreads to the right and never to the left. This is why one forward
# pass can be asked $T$ questions at once, "what comes after this token?", without giving the answers away.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### Forward
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $\mathrm{ids}$ | `ids` | `(B, T)` | integers below $V$ |
# | $W$ | `wte.weight` | `(V, C)` | a row per token of the vocabulary |
# | $\mathrm{wpe}$ | `wpe.weight` | `(P, C)` | a row per position; $P$ is `n_positions` |
# | $x$ | `embd`, `resid_mid`, `resid_post` | `(B, T, C)` | the residual stream |
# | $\mathrm{LN}$ | `layer_norm_forward` | `(B, T, C)` to the same shape | normalizes each vector, 2.5.5 |
# | $\mathrm{Attn}$, $\mathrm{FFN}$ | `attention_forward`, `feed_forward_forward` | the same | sub-layers 2.5.3, 2.5.4 |
# | $u$ | `ln_f` | `(B, T, C)` | the output of the last norm |
# | $\mathrm{logits}$ | `logits` | `(B, T, V)` | scores of the next token |
# | $\mathrm{probs}$ | | `(B, T, V)` | $e^{\mathrm{logits}}$, divided so that each row sums to 1 |
# | $\mathrm{targets}$ | `targets` | `(B, T)` | the tokens that actually came next |
#
# $$\begin{aligned}
# x_{bt} &= W_{\mathrm{ids}_{bt}} + \mathrm{wpe}_t && \text{components 1 and 2}\\
# \text{in each block:}\quad x &\leftarrow x + \mathrm{Attn}(\mathrm{LN}_1(x)) && \text{3 and 5}\\
# x &\leftarrow x + \mathrm{FFN}(\mathrm{LN}_2(x)) && \text{4 and 5}\\
# \mathrm{logits} &= u\,W^\top, \quad u = \mathrm{LN}_f(x) && \text{5 and 1 again}\\
# \mathrm{loss} &= -\frac1N \sum_{b,t} \ln \mathrm{probs}_{bt,\,\mathrm{targets}_{bt}} && \text{8}
# \end{aligned}$$
#
# All vectors are rows. $N$ is the number of targets that count. (Radford et al. 2018, eq. 2, with the norms where
# Radford et al. 2019, section 2.3, put them.)
#
# ### How many parameters?
#
# Write $L$ for the number of blocks. A **linear map** from $I$ to $O$ channels is a matrix and a bias, $IO + O$
# numbers. Attention has two: from $C$ to $3C$ and from $C$ to $C$. The feed-forward network has two, from $C$ to $4C$
# and back. A norm has a weight and a bias per channel; there are two norms in each block and one at the end:
#
# $$\underbrace{VC}_{1} + \underbrace{PC}_{2}
# + L\bigl(\underbrace{4C^2 + 4C}_{3} + \underbrace{8C^2 + 5C}_{4} + \underbrace{4C}_{5}\bigr) + \underbrace{2C}_{5}
# \;=\; (V + P)\,C + L\,(12\,C^2 + 13\,C) + 2C.$$
#
# We check that against the shapes that the library makes, for the smallest GPT-2, "the 124M model". (Making a list of
# shapes needs no weights.)

# %%
def count_by_component(config):
    """{component: number of its parameters}, from the shapes."""
    counts = dict.fromkeys(PART_OF_A_NAME.values(), 0)
    for name, shape in config.parameter_shapes().items():
        counts[component_of(name)] += int(np.prod(shape))
    return counts


gpt2 = minigpt2.GPT2Config.preset("gpt2")
V, P, C, L = gpt2.vocab_size, gpt2.n_positions, gpt2.n_embd, gpt2.n_layer
formula = {1: V * C, 2: P * C, 3: L * (4 * C**2 + 4 * C), 4: L * (8 * C**2 + 5 * C), 5: L * 4 * C + 2 * C}
counted = count_by_component(gpt2)
print(f"V = {V:,}, P = {P:,}, C = {C}, L = {L}\n")
for number, count in counted.items():
    share = count / sum(counted.values())
    print(f"{number} {COMPONENTS[number]:18} {count:>12,}  {share:7.2%}   formula {formula[number]:>12,}")
print(f"  {'all':18} {sum(counted.values()):>12,}")
print(f"\nsum of the formula   {(V + P) * C + L * (12 * C**2 + 13 * C) + 2 * C:>12,}")

# %% [markdown] tags=["en"]
# That is how many numbers the released file holds. (The paper's table 2 says 117M. The authors corrected it in the
# README of the released code: the count in the paper was wrong.) And here is where the parameters are, in all sizes:

# %%
sizes = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
figure, axes = plt.subplots(figsize=(7.4, 2.9))
looks = zip((style.BLUE, "0.35", style.ORANGE, style.GREEN, "black"), ("", "", "//", "..", ""), strict=True)
totals = [sum(count_by_component(minigpt2.GPT2Config.preset(size)).values()) for size in sizes]
left = np.zeros(len(sizes))
for number, (colour, hatch) in zip(counted, looks, strict=True):
    width = [count_by_component(minigpt2.GPT2Config.preset(size))[number] for size in sizes]
    width = np.array(width) / totals
    label = f"{number} {COMPONENTS[number]}"
    axes.barh(range(len(sizes)), width, left=left, color=colour, hatch=hatch, ec="white", lw=0.5, label=label)
    left += width
axes.set_yticks(range(len(sizes)), [f"{s}\n{t / 1e6:,.0f} million" for s, t in zip(sizes, totals, strict=True)])
axes.invert_yaxis()
axes.grid(axis="y", visible=False)
axes.set(xlabel="share of all parameters", xlim=(0, 1), title="Parameters by component")
axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
plt.show()

# %% [markdown] tags=["en", "alt"]
# One bar for each released size, divided into the shares of the five components. The share of the embedding shrinks
# from 31 % in gpt2 to 5 % in gpt2-xl; the feed-forward network always has twice the share of attention; positions and
# norms are hardly visible.

# %% [markdown] tags=["en"]
# Blocks grow with $C^2$ and with $L$, the vocabulary only with $C$. Within a block the feed-forward network has twice
# as many parameters as attention, at every size: $8C^2$ against $4C^2$. Positions and norms are hardly visible.
#
# ### Backward
#
# The seven rules of 2.0 are enough for the whole model; for putting the parts together it takes the chain rule and one
# of them, R6.
#
# **The chain.** Let one step turn the numbers $x_i$ into the numbers $y_j$, and suppose that $dy_j$ is known. Then
#
# $$dx_i = \sum_j dy_j\,\frac{\partial y_j}{\partial x_i} .$$
#
# The derivatives on the right are the *Jacobian* of the step, the sum is a *vector-Jacobian product* (2.0). It needs
# $dy$ and derivatives of this one step, nothing else. So we may start with $d\,\mathrm{loss} = 1$ at the top and go
# down step by step. That is why it is called the *backward* pass, and why a component need not know its neighbours.
#
# **Used twice: add** (R6). If a number $z$ is used in two places, and $dz'$ and $dz''$ are the gradients that come back
# from them, then $dz = dz' + dz''$.
#
# Now walk through the forward equations from the last to the first.
#
# **Loss (8).** Notebook 2.5.8 derives it. With $\delta_{v,\mathrm{target}}$ for 1 where $v$ is the target and 0
# elsewhere, each counted position has
#
# $$d\,\mathrm{logits}_v = \frac{1}{N}\bigl(\mathrm{probs}_v - \delta_{v,\mathrm{target}}\bigr).$$
#
# Predicted minus wanted.
#
# **Output layer (1).** Let $n$ count the $B\cdot T$ tokens, so that $\mathrm{logits}_{nv} = \sum_c u_{nc}\,W_{vc}$. It
# is a product (R2), and each of the two factors gets the other one:
#
# $$du_{nc} = \sum_v d\,\mathrm{logits}_{nv}\,W_{vc}, \qquad
#   dW'_{vc} = \sum_n d\,\mathrm{logits}_{nv}\,u_{nc}.$$
#
# **Last norm (5).** $dx = \mathrm{LN}_f^{\leftarrow}(du)$, where the arrow means "backward through". Notebook 2.5.5
# derives it (R7).
#
# **Block, from its output $y$ to its input $x$.** Forward, with a name for the middle: $m = x +
# \mathrm{Attn}(\mathrm{LN}_1(x))$ and $y = m + \mathrm{FFN}(\mathrm{LN}_2(m))$. Both $x$ and $m$ are used twice, on the
# thick line and inside the sub-layer. So by R6, with the chain inside:
#
# $$\begin{aligned}
# dm &= dy + \mathrm{LN}_2^{\leftarrow}\bigl(\mathrm{FFN}^{\leftarrow}(dy)\bigr),\\
# dx &= dm + \mathrm{LN}_1^{\leftarrow}\bigl(\mathrm{Attn}^{\leftarrow}(dm)\bigr).
# \end{aligned}$$
#
# On the way each arrow also gives the gradients of its own parameters. Repeat for all blocks, the last one first.
#
# **Bottom (2 and 1).** $x_{bt} = W_{\mathrm{ids}_{bt}} + \mathrm{wpe}_t$ is a sum, whose derivatives are 1. Row $t$ of
# $\mathrm{wpe}$ is used by every text of the batch (R1), row $v$ of $W$ wherever token $v$ occurs (R5):
#
# $$d\,\mathrm{wpe}_{tc} = \sum_b dx_{btc}, \qquad dW''_{vc} = \sum_{(b,t)\,:\;\mathrm{ids}_{bt} = v} dx_{btc}.$$
#
# **And $W$ itself** was used at the bottom and at the top: $dW = dW' + dW''$ (R6). (Dropout, where it is on, multiplies
# by the mask that forward drew, in both directions: R3.)
#
# That is the whole of it. It costs about twice a forward pass: for each product of two arrays forward there are two
# backward, one for each factor. And it needs most of the activations: the `cache` is there to keep them.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2 (`minigpt2/plain.py`, 220 lines:
# print it). The four functions below are the whole map up to the logits. Read each `backward` beside its `forward`,
# line by line from the bottom to the top. `named` gives the two gradients of a layer norm their names.

# %%
style.show_plain("block", "gpt2")

# %% [markdown] tags=["en"]
# Now the library's own code, fetched while the notebook was built. It is the same map, with dropout on the way, and
# with a cache of names instead of tuples, in which you can look at everything. For a first reading three arguments of
# `gpt2_forward` matter, `ids`, `params` and `config`. `rng` is for dropout. The others serve speed: `out` and `dcache`
# are places to write into, and `past` (2.5.3), `positions` and `keep` save work and memory where no backward pass
# follows. `output_forward` is the product with $W^\top$ (or, in notebook 3.1, another output layer).

# %%
style.show_source(gpt2_forward, gpt2_backward, block_forward, block_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# The smallest GPT-2 that does everything: a vocabulary of two tokens, two channels, one block, one head, and parameters
# that make it easy. The rows of $W$ are $(1, 0)$ and $(0, 1)$; positions add nothing. Queries and keys are 0, so
# attention is shared equally among the tokens that may be seen, and the token's normalized vector itself is passed on.
# The feed-forward network is 0 except for its last bias, $(0, 1)$. The text is `0 1`, and its targets are `1 0`: each
# time the other token.

# %%
smallest = minigpt2.GPT2Config(vocab_size=2, n_positions=2, n_embd=2, n_layer=1, n_head=1, layer_norm_epsilon=1e-12)
toy = minigpt2.GPT2(smallest, dtype="float64")
for name, parameter in minigpt2.flatten(toy.params).items():
    parameter[...] = 1 if ".ln_" in f".{name}" and name.endswith("weight") else 0
block = toy.params["h"][0]
toy.params["wte"]["weight"][...] = np.eye(2)
block["attn"]["c_attn"]["weight"][:, 4:] = np.eye(2)  # columns: two for q, two for k, two for v
block["attn"]["c_proj"]["weight"][...] = np.eye(2)
block["mlp"]["c_proj"]["bias"][...] = 0, 1

result = minigpt2.trace(toy, [[0, 1]], [[1, 0]], backward=True)


def show(name):
    """Print the values of a trace for the two tokens, side by side."""
    rows = result[name].reshape(-1, 2)
    print(f"{name:20}", "   ".join("(" + ", ".join(f"{v + 0.0:6.3f}" for v in row.round(6)) + ")" for row in rows))


for name in ("embd", "h.0.ln_1", "h.0.attn.probs", "h.0.attn.out", "h.0.resid_mid", "h.0.mlp.out", "h.0.resid_post"):
    show(name)
show("ln_f")
show("logits")
print(f"loss                 {float(result['loss']):6.3f}\n")
for name in ("grad.logits", "grad.ln_f", "grad.wte.weight", "grad.h.0.resid_post"):
    show(name)

# %% [markdown] tags=["en"]
# Take a pencil. A norm of two channels is easy: the larger one becomes 1 and the smaller $-1$. The second token sees
# $(1,-1)$ and $(-1,1)$ with equal weight, so attention adds $(0, 0)$ to it. At the top each token scores itself 1 and
# the other $-1$; the probability of the *other* one, which is right, is $e^{-1}/(e^{1}+e^{-1})$, and the loss is
# $\ln(1+e^2)$. Backward, $d\,\mathrm{logits}$ of the first token is $\tfrac12(\mathrm{probs} - (0, 1))$, and the first
# row of $dW$ is $d\,\mathrm{logits}_{00}\,u_0 + d\,\mathrm{logits}_{10}\,u_1$. Descending, against the gradient, makes
# $W$ less like $(1, 0), (0, 1)$: the model should stop repeating itself.

# %%
p = np.exp(-1) / (np.exp(1) + np.exp(-1))
print(f"probability of the other token  {p:.3f}")
print(f"loss = ln(1 + e^2)              {np.log(1 + np.exp(2)):.3f}")
print(f"dlogits of the first token      ({(1 - p - 0) / 2:.3f}, {(p - 1) / 2:.3f})")
print(f"first row of dW                 ({2 * (1 - p) / 2:.3f}, {-2 * (1 - p) / 2:.3f})")

# %% [markdown] tags=["en"]
# The same as a graph, from the top of the block to the loss. Blue numbers, above an edge, are values; orange ones,
# below it, are gradients; a row is a token (or a row of $W$).

# %%
values = {name: result[name][0] for name in ("h.0.resid_post", "ln_f", "logits")}
grads = {name: result[f"grad.{name}"][0].round(9) for name in values}
W, dW = toy.params["wte"]["weight"], result["grad.wte.weight"]
graphs.draw(
    {"block": (0, 0), "LN_f": (1, 0), "W": (1, 1), "· Wᵀ": (2, 0), "cross-entropy": (3, 0), "loss": (4, 0)},
    [
        ("block", "LN_f", values["h.0.resid_post"], grads["h.0.resid_post"], "x"),
        ("LN_f", "· Wᵀ", values["ln_f"], grads["ln_f"], "u"),
        ("W", "· Wᵀ", W, dW, "W"),
        ("· Wᵀ", "cross-entropy", values["logits"], grads["logits"], "logits"),
        ("cross-entropy", "loss", result["loss"], np.ones(())),
    ],
)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The graph from the block's output x through the last norm and the product with W transposed to the loss, 2.13. Below
# the edges the gradients: 1 for the loss, plus and minus 0.44 for the logits and for u, plus and minus 0.881 for W, and
# 0 in every place for x.

# %% [markdown] tags=["en"]
# At $x$ the gradient is 0 in every place. With two channels a norm can only say which one is larger, and a tiny change
# does not change that: no gradient gets through. This is why $dW$ has its share from the top and nothing from the
# bottom here. Real models have more channels.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# The library answers this question in the same words everywhere. A gradient check says *passed* or *FAILED*, and of
# each gradient *ok* or *WRONG*; a comparison says *agrees* or *DIFFERS*. Capitals are always the bad case.
#
# **Against the definition of a derivative.** `gradient_check` (2.0) takes every parameter of a whole GPT-2, a tiny one
# of 2 blocks, and compares the gradients of a random mixture of the logits with difference quotients.

# %%
tiny = minigpt2.GPT2Config(**TINY)
reference = recorded("gpt2")
inputs = {"ids": reference["inputs"]["ids"], "params": reference["inputs"]["params"]}


def forward(ids, params):
    return gpt2_forward(ids, params, tiny)


def backward(dlogits, cache):
    return gpt2_backward(dlogits, cache)[1]


def show_check(report):
    """Print a gradient check of the whole model, a line per component, and the wrong gradients by name."""
    print(f"gradient check: {'passed' if report else 'FAILED'}")
    for number in counted:
        checks = [check for check in report.checks if component_of(check.name) == number]
        size = sum(int(np.prod(check.shape)) for check in checks)
        wrong = [check for check in checks if not check.error < report.tolerance]
        verdict = ", ".join(f"WRONG: {c.name}, error {c.error:.2g}" for c in wrong) or "ok"
        print(f"  {number} {COMPONENTS[number]:18} {size:4} parameters  {verdict}")


show_check(minigpt2.gradient_check(forward, backward, inputs))

# %% [markdown] tags=["en"]
# A mistake that is easily made is to forget that $W$ is used twice. The following backward pass omits the output
# layer's contribution, $dW'$. Everything else stays right, and a model trained like that might even learn something.

# %%
def forgetful_backward(dlogits, cache):
    """A backward pass without the output layer's share of the gradient of W."""
    grads = gpt2_backward(dlogits, cache)[1]
    _, dweight = unembedding_backward(dlogits, cache["lm_head"])
    grads["wte"]["weight"] = grads["wte"]["weight"] - dweight
    return grads


show_check(minigpt2.gradient_check(forward, forgetful_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation.** That backward fits forward does not make it GPT-2. So the package carries values
# that Hugging Face's own GPT-2 computed with PyTorch, recorded once in 64-bit floating point. The error is the largest
# difference, relative to the largest value of the array. All nine components take part: the third and fourth lines have
# dropout, the next two a smoothed loss, and the last one is about five whole steps of training.

# %%
for name in ("gpt2", "gpt2_dropout"):
    reference = recorded(name)
    options = CASES[name].options
    rng = np.random.default_rng(options["seed"]) if "seed" in options else None
    reference_config = minigpt2.GPT2Config(**options["config"])
    logits, cache = gpt2_forward(**reference["inputs"], config=reference_config, rng=rng)
    _, grads = gpt2_backward(reference["dy"], cache)
    style.show_agreement(f"{name}: logits", relative_error(logits, reference["y"])[0])
    error, _ = relative_error({"params": grads}, reference["gradients"])
    style.show_agreement(f"{name}: gradients of {len(minigpt2.flatten(grads))} arrays", error)

reference = recorded("trace")
inputs = reference["inputs"]
found = minigpt2.trace(
    model_of(TINY, inputs["params"]), inputs["ids"], inputs["targets"], backward=True, label_smoothing=LABEL_SMOOTHING
)
expected = minigpt2.flatten(reference["activations"])
error, _ = relative_error({name: found[name] for name in expected}, expected)
style.show_agreement(f"trace: {len(expected)} activations", error)
kinds = reference["gradients"]
expected = {f"grad.{name}": g for kind in kinds.values() for name, g in minigpt2.flatten(kind).items()}
error, _ = relative_error({name: found[name] for name in expected}, expected)
style.show_agreement(f"trace: {len(expected)} gradients", error)

reference = recorded("training_adamw")
inputs = reference["inputs"]
student = model_of(TINY, inputs["params"])
optimizer = minigpt2.AdamW(student.params, **TRAINING["training_adamw"])
for step_ids, step_targets, lr in zip(inputs["ids"], inputs["targets"], LEARNING_RATES, strict=True):
    _, grads = student.loss_and_grads(step_ids, step_targets, LABEL_SMOOTHING)
    optimizer.lr = lr
    optimizer.step(grads, MAX_NORM)
error, _ = relative_error(student.params, reference["params"])
style.show_agreement("training: parameters after five steps", error, tolerance=1e-10)

# %% [markdown] tags=["en"]
# `minigpt2 verify` makes these comparisons and many more, component by component, on your machine.

# %% [markdown] tags=["en"]
# ## 6. What does each part contribute?
#
# The map says where the parts are; experiments say what they are good for. First, we look at the gradient of a whole
# model. Then we take the model apart.
#
# ### Where does the gradient go?
#
# `trace(..., backward=True)` keeps the gradients too. We take the sentence of section 2 again and measure, at every
# height of the residual stream and for every token, the length of the gradient (the root of the sum of its squares).
# Once for the loss of all targets; then for a loss of **one target alone**: the eighth token, a comma, has the target
# *that*, and all others are ignored (`IGNORED`, $-100$). Heights are listed from the top down, as backward goes.

# %%
exact = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
heights = ["embd"] + [f"h.{i}.resid_{half}" for i in range(config.n_layer) for half in ("mid", "post")]
place = 7
one_target = np.full_like(y, IGNORED)
one_target[0, place] = y[0, place]
traces = {"all": minigpt2.trace(exact, x, y, backward=True), "one": minigpt2.trace(exact, x, one_target, backward=True)}
lengths = {
    which: np.array([np.linalg.norm(t[f"grad.{name}"][0], axis=-1) for name in heights]) for which, t in traces.items()
}
lengths["all"] *= x.size  # of the sum of the losses instead of their mean

size = np.array([np.linalg.norm(traces["all"][name][0], axis=-1) for name in heights])
own = lengths["one"][:, place] ** 2 / (lengths["one"] ** 2).sum(axis=1)
print("                all targets, medians over tokens         one target")
print("               |gradient|   |stream|   product    share at its own place")
for i in reversed(range(len(heights))):
    medians = [np.median(values) for values in (lengths["all"][i], size[i], lengths["all"][i] * size[i])]
    print(f"{heights[i]:14} {medians[0]:8.2f} {medians[1]:11.1f} {medians[2]:10.1f} {own[i]:16.0%}")
print("one target, gradient to its right:", lengths["one"][:, place + 1 :].max())

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.6), sharey=True)
words = [tokenizer.decode([i]) for i in x[0]]
for axis, (which, title) in zip(axes, {"all": "all targets", "one": "one target"}.items(), strict=True):
    shown = np.ma.masked_equal(lengths[which], 0.0)
    axis.set_facecolor("0.85")
    image = axis.imshow(shown, norm=LogNorm(0.01, 10), origin="lower", aspect="auto", interpolation="nearest")
    axis.set_xticks(range(len(words)), words, rotation=60)
    axis.set_yticks(range(len(heights)), heights)
    axis.set_title(title)
    axis.grid(False)
    axis.tick_params(length=0)
axes[1].plot([place], [len(heights) - 1], marker="v", ms=7, color=style.ORANGE)
figure.colorbar(image, ax=axes, label="length of the gradient", extend="max", shrink=0.9)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two heat maps of the length of the gradient, heights of the residual stream from the embedding at the bottom to
# h.3.resid_post at the top, thirteen tokens from left to right, logarithmic colours. Left, for all targets: even from
# the top down to h.0.resid_post, and about ten times as long in the two rows below. Right, for one target: at the top
# only the token of the target has a gradient, two rows lower all tokens to its left have some, more and more of it
# further down; everything to its right is grey, exactly 0, at every height.

# %% [markdown] tags=["en"]
# **One target** (the triangle marks its token) shows the mask of attention, read backward. At the top only the token
# that made the prediction has a gradient. Then each attention layer, between a `resid_mid` and the `resid_post` below
# it, hands a part of it to earlier tokens, whose keys and values were used. At `h.0.resid_post`, three attention layers
# further down, the token's own place still holds 60 % of the squared length, at the bottom 18 %. Tokens to the right
# get exactly 0, at every height: they were not looked at. Forward, a change spreads to the right (section 2); backward,
# a gradient spreads to the left.
#
# **All targets**: from the top down to `h.0.resid_post` the gradient has about the same length everywhere; nothing
# vanishes or explodes. The thick line, which copies it, makes one expect that (2.5.5 takes the line away and looks
# again). And then there is a step. Below the feed-forward network of block 0 the gradient is twelve times as long. The
# column beside it shows why: there the stream is thirteen times as *short*. A norm divides by the size of its input, so
# its gradient is divided by it as well (2.5.5): where the stream is short, a change of the same length turns it
# further. The *product* of the two, the gradient with respect to a relative change, makes no such step. It falls slowly
# from the top to the bottom.
#
# ### Height by height, part by part
#
# The text is now one that the built-in model has not seen: it was trained on one megabyte of Shakespeare's plays, which
# does not include *Hamlet*.
#
# **Height by height.** The output layer reads the residual stream at the top. Nothing keeps us from reading it earlier:
# at each height we apply the last norm and $W$ and see the loss that the model would have if it stopped there. (The
# idea is known as the *logit lens*; nostalgebraist 2020.) And since the stream begins with the token's own row of $W$,
# we ask what becomes of that: how long is the part of the stream that points along this row, how long is the part
# along any row of $W$, this way or the other, and how long is the stream?
#
# **Part by part.** Then we take one part away at a time, by setting the last matrix and bias of a sub-layer (`c_proj`)
# to 0, so that it adds nothing to the stream, or all position vectors to 0. How much does the loss grow?

# %%
text = """HAMLET:
To be, or not to be, that is the question:
Whether 'tis nobler in the mind to suffer
The slings and arrows of outrageous fortune,
Or to take arms against a sea of troubles
And by opposing end them. To die: to sleep;
No more; and by a sleep to say we end
The heart-ache and the thousand natural shocks
That flesh is heir to, 'tis a consummation
Devoutly to be wish'd. To die, to sleep;
To sleep: perchance to dream: ay, there's the rub;
For in that sleep of death what dreams may come
When we have shuffled off this mortal coil,
Must give us pause: there's the respect
That makes calamity of so long life;
For who would bear the whips and scorns of time,
The oppressor's wrong, the proud man's contumely,
The pangs of despised love, the law's delay,
The insolence of office and the spurns
That patient merit of the unworthy takes,
When he himself might his quietus make
With a bare bodkin?
"""
encoded = np.array(tokenizer.encode(text))
T = 96
count = (len(encoded) - 1) // T
x, y = encoded[: count * T].reshape(count, T), encoded[1 : count * T + 1].reshape(count, T)
print(f"{x.size} predictions in {count} windows of {T} tokens")


def repeats(logits):
    """How often the most likely next token is the very token that was read last."""
    return float((logits.argmax(axis=-1) == x).mean())


# %%
activations = minigpt2.trace(model, x, y)
table = model.params["wte"]["weight"]
directions = table / np.linalg.norm(table, axis=1, keepdims=True)
rows = directions[x]
print(f"read from each height; ln V is {np.log(config.vocab_size):.1f} nats")
print("                        predicts the    median length of the stream along")
print("                 loss   token itself    its own row     any row     in all")
losses = []
for name in heights:
    stream = activations[name]
    normed, _ = layer_norm_forward(stream, **model.params["ln_f"], eps=config.layer_norm_epsilon)
    logits, _ = unembedding_forward(normed, model.params["wte"]["weight"])
    losses.append(float(cross_entropy_forward(logits, y)[0]))
    along, length = np.median((stream * rows).sum(axis=-1)), np.median(np.linalg.norm(stream, axis=-1))
    any_row = np.median(np.abs(stream @ directions.T))
    print(f"{name:14} {losses[-1]:6.1f} {repeats(logits):10.0%} {along:15.1f} {any_row:13.1f} {length:10.1f}")

# %%
def without(parts):
    """The model with parts ("position", or such as "attention 0") that add nothing."""
    other = copy.copy(model)
    other.params = copy.deepcopy(model.params)
    for part in parts:
        kind, _, i = part.partition(" ")
        if kind == "position":
            arrays = other.params["wpe"]
        else:
            arrays = other.params["h"][int(i)]["attn" if kind == "attention" else "mlp"]["c_proj"]
        for array in arrays.values():
            array[...] = 0
    return other


whole = model.loss(x, y)
kinds = [f"{kind} {i}" for i in range(config.n_layer) for kind in ("attention", "feed-forward")]
trials = {"position": ["position"]} | {part: [part] for part in kinds}
for kind in ("attention", "feed-forward"):
    trials[f"all {kind}"] = [part for part in kinds if part.startswith(kind)]
rise = {name: without(parts).loss(x, y) - whole for name, parts in trials.items()}
print(f"loss {whole:.1f}, and without a part higher by")
for name, more in rise.items():
    print(f"  {name:16} {more:5.2f}")
singles = sum(rise[f"attention {i}"] for i in range(config.n_layer))
print(f"\nsum of the four single attention layers {singles:.2f}")
logits, _ = without(["feed-forward 0"]).forward(x)
print(f"without feed-forward 0 it predicts the token itself: {repeats(logits):.0%}")
blind = without(["position", *trials["all attention"]]).loss(x, y) - whole
print(f"without all attention and the positions: {blind:.2f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.5))
left.plot(losses, range(len(heights)), marker="o")
left.axvline(np.log(config.vocab_size), color="0.5", lw=1, ls=":")
left.text(np.log(config.vocab_size) + 0.3, 7.7, "ln V", color="0.4")
left.set_yticks(range(len(heights)), heights)
left.set(xlabel="loss, if read here (nats per token)", title="Height by height", xlim=(0, None))
for i, (name, more) in enumerate(rise.items()):
    colour, marker = (style.BLUE, "o") if "att" in name else (style.ORANGE, "s")
    colour, marker = (style.GREY, "^") if name == "position" else (colour, marker)
    right.plot([more], [i], color=colour, marker=marker, ms=7)
right.set_yticks(range(len(rise)), list(rise))
right.set_xscale("log")
right.set_xticks([0.1, 1], ["0.1", "1"])
right.set(xlabel="rise of the loss without it (nats, log)", title="Part by part")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left, the loss when the stream is read at each of nine heights: 17.9 at the embedding, 15.2 after the first attention,
# both right of the line ln V at 6.9, then 4.4 after the first feed-forward network and slowly down to 3.6 at the top.
# Right, on a logarithmic axis, how much the loss rises without a part: feed-forward 0 and all feed-forward together 4,
# all attention 0.5, position 0.4, each other sub-layer about 0.1 or less.

# %% [markdown] tags=["en"]
# **Height by height** there is a surprise at the bottom. Read from the embedding, the loss is far worse than that of a
# uniform guess, $\ln V$: it predicts, with great confidence, the very token that it has just read. That is no wonder.
# The stream is then the token's own row of $W$ (plus a position), and a logit is the product of the normalized stream
# with a row of $W$, which is largest with the vector itself. That is the price of using $W$ twice.
#
# The feed-forward network of block 0 ends this at a stroke. How? One would guess that it *subtracts* the token's row.
# The columns on the right say no: the part along the row is a little longer after it than before (1.2 against 0.9). But
# the network adds so much in other directions that the stream is ten times as long, and the next norm brings all of it
# to one size. And along just *any* row the stream now has a part of nearly that length (0.9), where it had almost none:
# the token's own row no longer stands out. What the token itself was is **drowned, not erased**: it is still in the
# stream, at an eighth of its former share. To erase it, a sub-layer would have to write its negative. From there on the
# loss falls in small steps, and every block contributes.
#
# **Part by part** that same network is the one that cannot be spared, and the reason is not only that its absence lets
# the token repeat itself: the percentage below the list shows that the later blocks mostly prevent that. They were
# trained to read a stream that block 0 has rewritten, and now find a different one. All other sub-layers may be missing
# *one at a time* at little cost, about 0.1 nats at most. All attention layers together are worth more than twice the
# sum of the four: it seems that when one is missing, the others partly stand in for it. Without any of them no token
# learns anything of the tokens before it, and the model can only guess from the last token and its position. That
# position is then nearly worthless, as the last number shows: positions act through attention.
#
# The experiment is limited: it is one text of a few hundred tokens and one small model. And to remove a part *after*
# training is different from never having had it, as the others had come to rely on it. Notebook 2.5.5 trains models
# that lack a part from the beginning.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Cover the right half of the map. For each of the nine components say which array goes in, which array comes out,
#    and which parameters it has. *Hint: four of them have none.*
#
#    <details><summary>Answer</summary>
#
#    | | in | out | parameters |
#    |---|---|---|---|
#    | 1 embedding | ids `(B, T)`; at the top `ln_f` `(B, T, C)` | `(B, T, C)`; logits | `wte` `(V, C)`, for both |
#    | 2 position | `(B, T, C)` | the same | `wpe` `(P, C)` |
#    | 3 attention | `(B, T, C)` | the same | `c_attn` and `c_proj`, weight and bias each |
#    | 4 feed-forward | `(B, T, C)` | the same | `c_fc` and `c_proj`, weight and bias each |
#    | 5 residual, norm | `(B, T, C)` (the sum: two of them) | the same | of each norm weight and bias |
#    | 6 dropout | any activation | the same shape | none |
#    | 7 label smoothing | targets and a number | part of the loss | none |
#    | 8 loss | logits `(B, T, V)`, targets `(B, T)` | one number | none |
#    | 9 optimizer | parameters and their gradients | new parameters | none (it keeps means of gradients) |
#
#    </details>
#
# 2. How many parameters would a GPT-2 have that is as small as "gpt2" but has a separate matrix for the output layer?
#    *Hint: `tie_word_embeddings=False`; which term of the sum is counted twice?*
#
#    <details><summary>Answer</summary>
#
#    $VC = 50257 \cdot 768 = 38{,}597{,}376$ is counted twice: $124{,}439{,}808 + 38{,}597{,}376 = 163{,}037{,}184$.
#
#    </details>
#
# 3. Show with the chain rule that the gradient of the key's bias in attention must be 0. *Hint: adding the same number
#    to all scores of a row does not change the softmax. Look at the middle third of
#    `minigpt2.flatten(grads)["h.0.attn.c_attn.bias"]` at the end of section 5.*
#
#    <details><summary>Answer</summary>
#
#    The score of query $i$ and key $j$ is $s_{ij} = q_i \cdot k_j / \sqrt D$. The bias $\beta$ is part of every key:
#    $k_j = \dots + \beta$. If $\beta$ changes by $\varepsilon$, then $s_{ij}$ changes by $q_i \cdot \varepsilon / \sqrt
#    D$, which does not depend on $j$: the whole row $i$ of scores moves by one number $a_i$. Its softmax is
#    $e^{s_{ij} + a_i} / \sum_k e^{s_{ik} + a_i}$; the factor $e^{a_i}$ cancels, so the shares are what they were, and
#    so are all numbers after them and the loss. A loss that does not change whatever $\varepsilon$ is has the
#    derivative 0. (The mask does not matter: it only decides which $j$ take part.) In 64-bit numbers the middle third
#    is below $10^{-16}$, rounding; its two neighbours, the query's and the value's, are not.
#
#    </details>
#
# 4. In the toy of section 4, turn the text into `0 0` with targets `1 1`. Predict $dW$ before you run it. *Hint: both
#    tokens now do what the first one did.*
#
#    <details><summary>Answer</summary>
#
#    Attention adds $(1, -1)$ to both tokens, as both see only vectors of token 0. So both have $u = (1, -1)$, logits
#    $(1, -1)$ and $d\,\mathrm{logits} = (0.440, -0.440)$. With $dW_v = \sum_n d\,\mathrm{logits}_{nv}\,u_n$ the first
#    row is $2 \cdot 0.440\,(1, -1) = (0.881, -0.881)$, and the second its negative, $(-0.881, 0.881)$. It is the same
#    $dW$ as before: there the second token had both signs turned, in $d\,\mathrm{logits}$ and in $u$. From the bottom
#    nothing comes, for the same reason as before.
#
#    </details>
#
# 5. Is the rise that two parts cause together the sum of the two rises? Predict it for the attention layers of blocks 1
#    and 2, then for a pair of your choice. *Hint: add a line to `trials`. What might make it larger, and what smaller?*
#
#    <details><summary>Answer</summary>
#
#    Attention 1 and 2: $0.04 + 0.05$, together 0.10, a little more than the sum. Feed-forward 1 and 2: $0.09 + 0.05$,
#    together 0.23. It is *more* than the sum where one part can do a bit of the other's work: the first loss is small
#    because the second part stands in. It is *less* where both do the same damage, which cannot be done twice:
#    feed-forward 0 and the positions cost $4.06 + 0.37$, together 4.17, as little is left that a position could
#    improve.
#
#    </details>
#
# 6. In the table of "Where does the gradient go?", multiply the gradient and the stream of the top row channel by
#    channel and sum up, instead of multiplying their lengths. You get 0. Show that it must be so, if one neglects the
#    `eps` of the norm. *Hint: what does the last norm make of a stream that is 1 % longer?*
#
#    <details><summary>Answer</summary>
#
#    A norm subtracts the mean and divides by the standard deviation. If $x$ becomes $(1 + \varepsilon)\,x$, mean and
#    standard deviation are multiplied by the same factor, which cancels; the output, the logits and the loss stay as
#    they are. The change of the loss is also $\sum_c dx_c \cdot \varepsilon\, x_c$ to first order. As it is 0, $\sum_c
#    dx_c\,x_c = 0$: the gradient is perpendicular to the stream. (Printed it is about $10^{-7}$ because of `eps`.)
#    Lower down it does not hold, as the stream itself goes past the norms.
#
#    </details>
#
# The first component, the table at both ends: **Next:** [2.5.1, embedding](2_5_1_embedding.ipynb)
