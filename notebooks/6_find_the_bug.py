# %% [markdown] tags=["en"]
# # 6. 查错 · Find the bug in your GPT-2 in five minutes
#
# You have written GPT-2 in PyTorch. It runs, no shape is wrong, and the loss falls. Two of its lines are wrong all the
# same. This notebook finds both in one run: record what the model computes, compare it with minigpt2, and read which
# mistakes they are. Then the same for a backward pass written by hand in NumPy.
#
# You need to know the parts of GPT-2 (2.5). The document has no such section; it is what the others are good for.
#
# PyTorch need not be installed. Where it is, the cells below run the model, and you can put in mistakes of your own.
# Where it is not, they read what the model computed when this notebook was made, from `notebooks/recorded`; everything
# else is computed in both cases, and looks the same.
#
# **Exercise:** none of its own; the nearest is [7, attention
# backward](../exercises/student/07_attention_backward.ipynb), where the same comparison judges your code.

# %%
import math
import sys
import textwrap
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2 import plain
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.verification import Recorder, record
from minigpt2.verification.compare import compare
from minigpt2.verification.trace import read_trace

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:  # the classes below can still be read, but not run
    torch, nn, F = None, SimpleNamespace(Module=object), None

style.use()

# %% [markdown] tags=["en"]
# ## 1. A model with two mistakes
#
# It has the shape of nanoGPT, which many people start from: attention, a feed-forward network, a block of the two, and
# the model. Read it once, as you would read your own code, and look for the mistakes. Both are slips that happen, and
# neither makes Python complain.


# %%
class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        P, C = config.n_positions, config.n_embd
        self.n_head = config.n_head
        self.c_attn = nn.Linear(C, 3 * C)
        self.c_proj = nn.Linear(C, C)
        self.mask = torch.tril(torch.ones(P, P), diagonal=1)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.n_head, -1).transpose(1, 2) for y in self.c_attn(x).split(C, dim=-1))
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(self.mask[:T, :T] == 0, float("-inf"))
        y = F.softmax(scores, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


# %%
class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x):
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = MLP(config)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


# %%
class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight  # tied

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


# %% [markdown] tags=["en"]
# ## 2. Its loss falls
#
# The model is tiny, two blocks with eight channels, and learns to continue *Alice in Wonderland* letter by letter.
# Beside it the same sizes in minigpt2, trained from the same random weights on the same windows of the text. PyTorch's
# `nn.Linear` keeps a weight as (out, in), GPT-2 as (in, out): that is all there is to translate.

# %%
text = (Path(minigpt2.__file__).parent / "data/alice.txt").read_text(encoding="utf-8").lower()
text = " ".join("".join(c for c in text if c in "abcdefghijklmnopqrstuvwxyz ,.\n").split())[2000:22000]
letters = CharTokenizer(sorted(set(text)))
data = np.array(letters.encode(text))
T = 6
config = minigpt2.GPT2Config(vocab_size=len(letters), n_positions=T, n_embd=8, n_layer=2, n_head=2)


def batches(steps=100, B=16):
    """Windows of the text, and the letter that follows each of theirs."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        windows = data[rng.integers(0, len(data) - T, (B, 1)) + np.arange(T + 1)]
        yield windows[:, :-1], windows[:, 1:]


# %%
def train(model):
    """Train the model of PyTorch; a Recorder with its losses."""
    losses, optimizer = [], torch.optim.AdamW(model.parameters(), lr=1e-2)
    for ids, targets in batches():
        _, loss = model(torch.from_numpy(ids), torch.from_numpy(targets))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    theirs = Recorder()
    theirs.tap("losses", np.array(losses, "float32"))
    return theirs


def recorded(name, run):
    """What the Recorder that ``run`` returns holds; without PyTorch, what it held when this notebook was made."""
    path = Path("../recorded") / f"find_the_bug_{name}.safetensors"
    if torch is None:
        return read_trace(path)[0]
    theirs = run()
    if not path.exists():
        theirs.save(path)
    return theirs.tensors


def turned(name, weight):
    """A parameter of theirs as ours is stored, or of ours as theirs is."""
    return weight.T if ".c_" in name else weight


# %%
right = minigpt2.GPT2(config, dtype="float64")
if torch:
    model, start = GPT(config).double(), minigpt2.flatten(right.params)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(torch.from_numpy(turned(name, start[name])))
losses = recorded("training", lambda: train(model))["losses"]


def train_ours(model):
    """Train a model of minigpt2 on the same windows; its losses."""
    optimizer, found = minigpt2.AdamW(model.params, lr=1e-2), []
    for ids, targets in batches():
        loss, grads = model.loss_and_grads(ids, targets)
        optimizer.step(grads)
        found.append(float(loss))
    return found


right_losses = train_ours(right)

# %%
figure, axes = plt.subplots(figsize=(6.5, 2.8))
for values, label in ((right_losses, "minigpt2"), (losses, "PyTorch model")):
    axes.plot(np.convolve(values, np.full(10, 0.1), "valid"), label=label)
axes.axhline(np.log(len(letters)), color="0.6", lw=0.8)
axes.text(94, np.log(len(letters)), "uniform guess", ha="right", va="bottom", color="0.4")
axes.set(xlabel="training step", ylabel="loss, mean of ten steps", ylim=(0, 3.8))
axes.legend(loc="lower left")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two falling curves of the loss over a hundred training steps, below a line for a uniform guess. Both begin just
# below it; the PyTorch model's falls faster and ends far below minigpt2's.

# %% [markdown] tags=["en"]
# Somebody who has nothing to compare with would be delighted. A loss well below that of a right model is suspicious,
# but it does not say which line to look at. And could the loss show the second mistake? It is the form of the GELU: the
# one of `nn.GELU()` has the error function, erf, in it, and GPT-2's a tanh. We put the erf into minigpt2 and train
# that:


# %%
def erf_gelu_forward(x):
    """x times the normal distribution function."""
    erf = np.vectorize(math.erf)(x / math.sqrt(2))
    return x * (1 + erf) / 2, (x, erf)


def erf_gelu_backward(dy, cache):
    x, erf = cache
    return dy * ((1 + erf) / 2 + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))


where = "minigpt2.components.feed_forward.gelu_{}"
with mock.patch(where.format("forward"), erf_gelu_forward), mock.patch(where.format("backward"), erf_gelu_backward):
    erf_losses = train_ours(minigpt2.GPT2(config, dtype="float64"))
for name, values in (("PyTorch model", losses), ("minigpt2", right_losses), ("minigpt2, erf", erf_losses)):
    print(f"{name:14} mean loss of the last twenty steps {np.mean(values[-20:]):.2f}")
print(f"largest difference between the last two at any step {np.abs(np.subtract(right_losses, erf_losses)).max():.0e}")

# %% [markdown] tags=["en"]
# It could not. All along the training the two forms have the same loss, to much less than a hundredth. No curve of
# the loss shows this mistake.
#
# ## 3. Record
#
# Three lines around a pass of the model write down what each module gives and takes, the scores and probabilities
# inside of attention, and the gradient of everything. The model is not changed.

# %%
ids, targets = data[None, 2000 : 2000 + T], data[None, 2001 : 2001 + T]  # (1, T) each


def run(model):
    """One forward and one backward pass, recorded."""
    with record(model) as theirs:
        _, loss = model(torch.from_numpy(ids), torch.from_numpy(targets))
        loss.backward()
    return theirs


theirs = recorded("broken", lambda: run(model.float()))
print(f"{len(theirs)} tensors, such as")
for name in ("ids", "h.0.ln_1", "h.0.attn.softmax", "h.0.mlp.gelu", "lm_head", "grad.h.0.mlp.c_fc.weight"):
    print(f"  {name:26} {theirs[name].shape}")

# %% [markdown] tags=["en"]
# ## 4. Compare
#
# minigpt2 computes the same pass: the same letters, and the weights of the model, which stand in the recording. (For a
# checkpoint on the disk there is `minigpt2 convert`; if your model loads the released weights,
# `minigpt2.GPT2.from_pretrained("gpt2")` has them.)

# %%
ours = minigpt2.GPT2(config)
for name, parameter in minigpt2.flatten(ours.params).items():
    parameter[...] = turned(name, theirs[name])

reference = minigpt2.trace(ours, ids, targets, backward=True)
report = compare(reference, theirs)
table = str(report).splitlines()
print("\n".join([*table[:17], "..."]))

# %% [markdown] tags=["en"]
# The table goes through all tensors in the order of computation. Up to the scores of the first block everything agrees
# to six digits; `probs`, which follow from them, do not. From there on nothing that is computed agrees, as a
# consequence or for another reason, which is why the first one is marked. Nobody had to say what the modules' names
# mean, or how PyTorch stores a weight: what was assumed is part of the report.

# %%
print("\n".join(textwrap.wrap(report.assumed[0], 100)))

# %% [markdown] tags=["en"]
# Below the table stands what it comes to:


# %%
def show(report):
    """The end of a report, in lines that fit on the page."""
    for line in report.summary().splitlines():
        print(textwrap.fill(line, 110, subsequent_indent="    "))


show(report)

# %% [markdown] tags=["en"]
# **Both lines are found.** The mask lets each token see the one after it, which is the one that it has to guess: hence
# the beautiful loss. And the GELU is the other one of the two that go by that name. The second mistake lies behind the
# first, where nothing agrees any more; how can it be seen there? Each of the model's tensors is computed again *from
# its own inputs*, right or wrong as they are. What follows from them is a consequence. What does not is a mistake.
# `explanation()` shows the recomputation at the place where it is furthest off:

# %%
print(report.explanation())

# %% [markdown] tags=["en"]
# The numbers are the evidence: "with the mistake it gives" what the model has, to six digits. In a picture, a bar for
# each tensor that is computed, with its distance from ours (two agree exactly, and their bars have no height):


# %%
def part(name):
    """The block that a tensor belongs to, for the axis."""
    return name.removeprefix("grad.")[:3] if ".h." in f".{name.removeprefix('grad.')}" else ""


rows = [row for row in report.rows if row.name not in ("ids", "targets", *minigpt2.flatten(ours.params))]
own = {name for finding in report.findings for name in finding.tensors}
low, names = 2e-8, [row.name for row in rows]
figure, axes = plt.subplots(figsize=(8, 3.2))
for color, label, chosen in (
    (style.BLUE, "agrees", [x for x, row in enumerate(rows) if row.verdict == "ok"]),
    ("#e9b98d", "differs, as a consequence", [x for x, row in enumerate(rows) if row.verdict != "ok"]),
    ("#a33a00", "does not follow from its own inputs", [x for x, row in enumerate(rows) if row.name in own]),
):
    heights = [max(rows[x].relative - low, 0) for x in chosen]
    axes.bar(chosen, heights, 0.8, bottom=low, color=color, label=label)
axes.set_yscale("log")
axes.set(ylim=(low, 30), xlim=(-1, len(rows)), xticks=[], ylabel="difference / size of the tensor")
axes.grid(axis="x", visible=False)
x = 0
for group, members in groupby(names, lambda name: (name.startswith("grad."), part(name))):
    n = len([*members])
    axes.plot([x - 0.1, x + n - 0.9], [0.7 * low] * 2, color="0.6", ls="-", clip_on=False, solid_capstyle="butt")
    axes.text(x + n / 2 - 0.5, 0.55 * low, group[1], ha="center", va="top")
    x += n
loss = names.index("loss")
axes.text(loss / 2, 0.2 * low, "activations", ha="center", va="top")
axes.text((loss + len(names)) / 2, 0.2 * low, "gradients", ha="center", va="top")
axes.legend(loc="upper left", ncols=3)
plt.show()

# %% [markdown] tags=["en", "alt"]
# A bar for each computed tensor, on a logarithmic axis: five blue ones of about 1e-7 at the left, then bars between
# 0.07 and 1.5 for everything else. Six of these are dark: probs and gelu of both blocks among the activations, and the
# gradient before the GELU of both blocks.

# %% [markdown] tags=["en"]
# ## 5. Mend the two lines
#
# In your file you would now change them. Here the model is there already, so its two parts are replaced; the weights
# stay as they are, so that there is nothing new to trace.


# %%
def mend(model):
    """The lower triangle, with the diagonal and nothing above it; and GELU in the form that GPT-2 was trained with."""
    for block in model.h:
        block.attn.mask = torch.tril(torch.ones(T, T))  # was diagonal=1
        block.mlp.gelu = nn.GELU(approximate="tanh")  # was nn.GELU()
    model.zero_grad()
    return model


mended = compare(reference, recorded("mended", lambda: run(mend(model))))
show(mended)

# %% [markdown] tags=["en"]
# Every activation and every gradient, within $5 \cdot 10^{-5}$ of its size. Now you know that the model is GPT-2, and
# not only that it learns.
#
# Perhaps the erf form was on purpose, as you train from scratch. Then say `compare(..., accept=["gelu=erf"])`: what
# comes after is judged from its own inputs, and only the mask is left.

# %%
accepted = compare(reference, theirs, accept=["gelu=erf"])
print(*(finding.sentence for finding in accepted.findings), sep="\n")

# %% [markdown] tags=["en"]
# ## 6. A backward pass by hand
#
# PyTorch derives the gradients. If you write them yourself, which is what this book is about, there is more to get
# wrong. Here is the gradient of layer norm with its last term forgotten (2.5.5 derives all three). It takes the place
# of the right one in `plain.py`, which stands for your own GPT-2 in NumPy:


# %%
def layer_norm_backward(dy, cache):
    x_hat, rstd, weight = cache
    dx_hat = dy * weight
    dx = rstd * (dx_hat - dx_hat.mean(axis=-1, keepdims=True))
    return dx, plain.rows(dy * x_hat).sum(axis=0), plain.rows(dy).sum(axis=0)


with mock.patch.object(plain, "layer_norm_backward", layer_norm_backward):
    logits, cache = plain.gpt2_forward(ids, ours.params, config.n_head)
    loss, loss_cache = plain.cross_entropy_forward(logits, targets)
    _, grads = plain.gpt2_backward(plain.cross_entropy_backward(1.0, loss_cache), cache)

mine = Recorder()
mine.tap("logits", logits)
mine.tap("loss", loss)
mine.tap("grad", grads)  # a dict of dicts and lists: the names become grad.wte.weight, grad.h.0.ln_1.weight, ...
by_hand = compare(reference, mine.tensors)
show(by_hand)

# %% [markdown] tags=["en"]
# Only the logits, the loss and the gradients of the parameters were recorded, nothing in between. The report says so:
# how many tensors were compared, between which two the mistake must lie, and what it did not see there. Layer norm is
# used in five places, each of them is wrong, and all for the same reason: the forgotten term, which is named.
#
# A check against finite differences (2.0) also tells that this function is wrong:

# %%
rng = np.random.default_rng(0)
inputs = {"x": rng.normal(size=(2, 3, 8)), "weight": rng.normal(size=8), "bias": rng.normal(size=8)}
style.show_check(minigpt2.gradient_check(plain.layer_norm_forward, layer_norm_backward, inputs))

# %% [markdown] tags=["en"]
# It needs a function to call and says which gradient is wrong and by how much; the comparison needs nothing but the
# numbers of a run, in whatever language, and says which term is missing.

# %% [markdown] tags=["en"]
# ## 7. Without a notebook
#
# Write both runs into files, and give them to `compare`. `theirs.save("theirs.safetensors")` writes the recording, and
# the checkpoint of your model becomes one of ours first:
#
# ```sh
# minigpt2 convert ckpt.pt --n-head 2 --out my_model
# minigpt2 trace --model my_model --ids=5,7,0,21,17,17 --targets=7,0,21,17,17,16 --backward -o ours.safetensors
# minigpt2 compare ours.safetensors theirs.safetensors --explain
# ```
#
# If it loads the released weights, the last two lines are enough: `--model gpt2`, and `--text` in place of `--ids` to
# use its tokenizer. The exit code tells a script whether they agree: 0 if so, 1 if not, 2 for an error. C, Rust and JAX
# write files that `compare` reads, too; the page "Verify your own GPT-2" in the manual says how.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which element of the mask lets the loss of the first figure fall so low? *Hint: which letter does row $t$ have to
#    guess, and in which column does it stand?*
#
#    <details><summary>Answer</summary>
#
#    The element in row $t$, column $t + 1$, just above the diagonal. Row $t$ has to guess letter $t + 1$ of the window,
#    and with that element it may look at it. Only the last row has no such column and must really guess. (The loss does
#    not reach 0 in a hundred steps, as the model has to learn to copy first.)
#
#    </details>
#
# 2. The two GELUs differ by less than a thousandth. When does it matter which one a model has? *Hint: which weights
#    does it load?*
#
#    <details><summary>Answer</summary>
#
#    When the weights were trained with the other one: released GPT-2 weights expect the tanh form, and with the erf
#    form every activation after the first GELU is a little off, so that nothing can be compared digit by digit any
#    more. It does not matter for training from scratch: the cell of section 2 ends at the same loss with both.
#
#    </details>
#
# 3. In the picture, which bars of the gradients stand out, and why not those of the mask? *Hint: the derivative of the
#    erf form is another function; the derivative of softmax is computed from `probs`.*
#
#    <details><summary>Answer</summary>
#
#    The gradient before the GELU, `grad.h.1.mlp.fc` and `grad.h.0.mlp.fc`: it is $dy$ times the derivative of the erf
#    form, which is another number than that of the tanh form, even from their own `fc`. The gradient of softmax is
#    $p\,(dp - \sum p\,dp)$, computed from `probs`: given their (wrong) `probs` it is right. A place that the mask
#    should have hidden has $p > 0$ there and gets a gradient, as it must.
#
#    </details>
#
# 4. Divide `scores` by `C ** 0.5` in place of `q.shape[-1] ** 0.5`. Predict the first divergence, then run it (PyTorch
#    needed). *Hint: with two heads the factor is wrong by $\sqrt{2}$.*
#
#    <details><summary>Answer</summary>
#
#    `h.0.attn.scores`, by a factor $1/\sqrt 2 = 0.71$: 29 % of their size, with a cosine of 1, since all are too small
#    by the same factor. The report has three findings then: "the scores are divided by sqrt(C), they should be by
#    sqrt(D)", and the two of before.
#
#    </details>
#
# 5. Forget another term in `layer_norm_backward`, or divide by `rstd`. Is it named? *Hint: run it; NumPy suffices.*
#
#    <details><summary>Answer</summary>
#
#    Yes. Without the mean: "the term mean(dx_hat) is missing"; without both: "mean and x_hat terms are missing, mean
#    and standard deviation are taken for constants"; divided by `rstd`: "it is multiplied by the standard deviation, it
#    should be divided by it". In each case it is still 26 of 30 tensors that differ.
#
#    </details>
#
# This is the last notebook. What you have read you can now write: [the eleven exercises](../exercises/README.md) check
# each component, and `compare` the whole.
