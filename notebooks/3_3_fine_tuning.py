# %% [markdown] tags=["en"]
# # 3.3 对GPT-2模型进行微调 · Fine-tuning
#
# A model that has read plays is now to read manuals. Must it start again? No: one continues to train it, on the new
# texts. That is fine-tuning, and it works well. It also has a price, which the document leaves out. After this notebook
# you will know which parts can be trained and which can be kept, you can derive the gradients of *low-rank adaptation*,
# and you will have measured how much a model learns and how much it forgets.
#
# You need Python, NumPy and the chain rule from school. The words:
#
# - A model's **parameters** are the numbers that training changes; most of them sit in matrices, the **weights**.
# - The **loss** is how surprised the model is by the next token, $-\ln p$, averaged. Here we give it in **bits per
#   character** of the text, the sum of $-\log_2 p$ divided by the characters. The model could compress each character
#   to that many bits (Shannon 1948).
# - For any number $z$ in the model, $dz$ is short for the **gradient** $\partial\,\mathrm{loss}/\partial z$ (notebook
#   2.0). A step of training moves every parameter a little against its gradient.
# - A **block** is one floor of the model's tower. The built-in model has four of them, called `h.0` to `h.3`. Below
#   them are the tables `wte` (a vector for each token) and `wpe` (one for each position). `wte` is used twice: it is
#   the output layer as well. The two weights of attention are called `c_attn` (it makes queries, keys and values) and
#   `c_proj` (its output).
#
# **Exercise:** none of its own; the nearest is [9, the optimizer](../exercises/student/09_adamw.ipynb).

# %%
import json
import sys
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.lora import lora_backward, lora_forward
from minigpt2.data import random_windows
from minigpt2.data.cleaning import deduplicate
from minigpt2.evaluation import evaluate
from minigpt2.fine_tuning import TARGETS, LoRA, trainable
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document describes two stages: “第一阶段，先使用BERT模型微调预训练参数。第二阶段，再进行GPT-2模型微调”, first the
# pre-trained parameters are fine-tuned with BERT, another model; then GPT-2 is fine-tuned. Afterwards it has
# “更高的准确率”, higher accuracy than before, and “在目标领域表现优秀”, it does excellently in the target domain.
#
# - **GPT-2 as released was not fine-tuned at all.** It was trained once, from scratch, on one large collection of web
#   pages, and then tried on other tasks *as it was*. That was the point of the paper (Radford et al. 2019, abstract and
#   section 3). There is no BERT in it either; notebook 3.1 shows why it would not fit.
# - **Two stages are nevertheless the usual way to use a GPT-2.** First comes a general model, then a domain or a task.
#   The model of 2018, now called GPT-1, was made like that (Radford et al. 2018, sections 3.1 and 3.2). The first stage
#   is done once, by somebody with many computers, the second often, by anyone.
# - **"More accurate" is half of the truth.** More accurate where?
#
# We can run an experiment on the last point. Stage one is done: the built-in model has read Shakespeare's plays. Our
# domain is technical English, the help texts of Python, which come with every Python as `pydoc_data.topics` (without
# copies, notebook 3.2). For judging we set some of them aside, and we write down speeches from plays that are *not*
# among those that the model has read:

# %%
PLAYS = """JAQUES:
All the world's a stage,
And all the men and women merely players:
They have their exits and their entrances;
And one man in his time plays many parts,
His acts being seven ages. At first the infant,
Mewling and puking in the nurse's arms.
And then the whining school-boy, with his satchel
And shining morning face, creeping like snail
Unwillingly to school.

PORTIA:
The quality of mercy is not strain'd,
It droppeth as the gentle rain from heaven
Upon the place beneath: it is twice blest;
It blesseth him that gives and him that takes:
'Tis mightiest in the mightiest: it becomes
The throned monarch better than his crown.

ANTONY:
Friends, Romans, countrymen, lend me your ears;
I come to bury Caesar, not to praise him.
The evil that men do lives after them;
The good is oft interred with their bones;
So let it be with Caesar. The noble Brutus
Hath told you Caesar was ambitious:
If it were so, it was a grievous fault,
And grievously hath Caesar answer'd it.

KING HENRY V:
Once more unto the breach, dear friends, once more;
Or close the wall up with our English dead.
In peace there's nothing so becomes a man
As modest stillness and humility:
But when the blast of war blows in our ears,
Then imitate the action of the tiger.
"""
manuals = "\n".join(deduplicate(list(topics.values()))[0])
MANUALS, UNSEEN_MANUALS = manuals[:300_000], manuals[300_000:303_000]  # for learning, for judging

tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
model = minigpt2.GPT2.from_pretrained("shakespeare")


def bits(model):
    """Bits per character on (unseen manuals, unseen plays)."""
    return tuple(evaluate(model, tokenizer, text).bits_per_character for text in (UNSEEN_MANUALS, PLAYS))


print("bits per character: manuals {:.2f}, plays {:.2f}".format(*bits(model)))
for name, text in {"manuals": UNSEEN_MANUALS, "plays": PLAYS}.items():
    guess = len(tokenizer.encode(text)) / len(text) * np.log2(len(tokenizer))
    print(f"uniform guess over the vocabulary, {name}: {guess:.2f}")

# %% [markdown] tags=["en"]
# *Uniform guess* is the cost of finding all 1,024 tokens equally likely: 10 bits for each token. It differs between the
# texts, because the vocabulary was learned from plays and cuts manuals, with their indentation, into shorter pieces.
# The model is at home in the plays. In the manuals it does no better than a guess. Section 6 lets it move.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# Fine-tuning is training, with one change: the parameters do not begin as random numbers but where a first training
# left them. Think of a cook who learns a second cuisine. Knives and heat are the same as before; some habits change.
# The question is *which parts* may change:
#
# - **Everything.** This gives the most freedom, and nothing protects the old knowledge.
# - **Some parts.** The lower blocks, or the tables, are *frozen*: they stay as they are. Low layers tend to hold the
#   features that all texts have in common (Yosinski et al. 2014, "How transferable are features in deep neural
#   networks?", for images).
# - **A thin addition.** All weights are frozen, and a product of two thin matrices, an *adapter*, is put beside some of
#   them. Only adapters are trained. This is **LoRA**, low-rank adaptation (Hu et al. 2022).
#
# The picture shows the last way. A matrix with $I$ rows and $O$ columns has $I\cdot O$ numbers; a change of it that is
# the product of a thin matrix and a flat one is described by $r\,(I+O)$ numbers.

# %%
figure, axes = plt.subplots(figsize=(8, 2.9))
axes.set(xlim=(0, 24), ylim=(-0.7, 6.3), aspect="equal")
axes.axis("off")
boxes = (  # left, bottom, width, height, name, colours, rows, columns
    (1, 0, 5, 5, "$W'$", style.BLUE, "#dbe6f3", "I", "O"),
    (8, 0, 5, 5, "$W$", style.GREY, "0.93", "I", "O"),
    (16.2, 0, 0.7, 5, "$A$", style.ORANGE, "#f6dcc3", "I", "r"),
    (17.9, 2.15, 5, 0.7, "$B$", style.ORANGE, "#f6dcc3", "r", "O"),
)
for x, y, width, height, name, edge, face, rows, columns in boxes:
    axes.add_patch(plt.Rectangle((x, y), width, height, ec=edge, fc=face, lw=1.5))
    axes.text(x + width / 2, y + height / 2, name, ha="center", va="center", fontsize=11)
    math = {"color": "0.3", "math_fontfamily": "cm", "fontsize": 11}
    axes.text(x - 0.15, y + height / 2, f"${rows}$", ha="right", va="center", **math)
    axes.text(x + width / 2, y + height + 0.1, f"${columns}$", ha="center", va="bottom", **math)
axes.text(6.7, 2.5, "=", ha="center", va="center", fontsize=15)
axes.text(14.3, 2.5, r"$+\;\frac{\alpha}{r}$", ha="center", va="center", fontsize=14)
for x, words in ((3.5, "in use"), (10.5, "frozen"), (19, "trained")):
    axes.text(x, -0.25, words, ha="center", va="top", color="0.3")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Rectangles as an equation: the weight in use W', I rows and O columns, is the frozen weight W of the same size plus
# alpha over r times the product of a thin upright matrix A, I rows and r columns, and a flat matrix B, r rows and O
# columns, which are trained.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### Frozen parts
#
# Take a layer $y = x\,W$. Its backward pass has two results (rule R2 of notebook 2.0):
#
# $$dW = x^{\mathsf T} dy, \qquad dx = dy\,W^{\mathsf T}.$$
#
# To freeze $W$ is to throw $dW$ away. It is *not* to stop at this layer: $dx$ is still needed by everything below that
# is trained. Only if everything below is frozen too may one stop, and that is one reason to freeze from the bottom
# upward.
#
# ### LoRA, forward
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $W$ | `weight` | `(I, O)` | pre-trained weight, frozen |
# | $A$, $B$ | `a`, `b` | `(I, r)`, `(r, O)` | the adapter; its *rank* $r$ is much smaller than $I$ and $O$ |
# | $\alpha$ | `alpha` | one number | weight of the adapter |
# | $s = \alpha/r$ | `scale` | one number | |
# | $W'$ | `merged` | `(I, O)` | the weight that the model uses |
#
# $$W' = W + s\,A\,B \qquad\text{(Hu et al. 2022, eq. 3).}$$
#
# (The paper writes $B\,A$, because it stores weights the other way round. And it gives query, key and value an adapter
# each (section 4.2); GPT-2 has the three side by side in one weight, `c_attn`, and here one adapter serves all three,
# so that they share $A$.) The paper draws the adapter as a second way beside the weight. Products may be regrouped, so
# the two are the same: $x\,W' = x\,W + s\,(x A)\,B$. The left-hand side has an advantage: a model with merged weights
# is an ordinary GPT-2.
#
# ### LoRA, backward
#
# Attention's backward pass gives us $dW'$, `(I, O)`. We want $dA$ and $dB$. $W'$ is a sum, so its gradient goes
# unchanged to both terms, and the number $s$ multiplies what comes back. The rest is a product of two matrices, rule R2
# with $A$ in the place of $x$ and $B$ in that of $W$:
#
# $$dA = s\;dW'\,B^{\mathsf T}, \quad (I\times O)(O\times r) = (I\times r);
#   \qquad dB = s\;A^{\mathsf T}\,dW', \quad (r\times I)(I\times O) = (r\times O).$$
#
# $dW = dW'$ as well. Nobody needs it, since $W$ is frozen.
#
# **How should one begin?** The first step should start from the unchanged model, so $A\,B$ must be 0. Should both be 0?
# Then $dA$, a product with $B$, is 0, and $dB$, a product with $A$, is 0 as well: nothing would ever move. So $A$ is
# random and $B$ is 0. In the first step only $B$ moves; from then on both do.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# This is the library's own source. `trainable` picks the parameters that an optimizer gets; the other two are the
# formulas above.

# %%
style.show_source(lora_forward, lora_backward, trainable)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take $I = 2$, $O = 3$, rank 1 and $\alpha = 2$, and so $s = 2$.

# %%
weight = np.array([[1.0, 0, 0], [0, 1, 0]])
a, b = np.array([[1.0], [2.0]]), np.array([[0.0, 1.0, -1.0]])
merged, cache = lora_forward(weight, a, b, alpha=2.0)
dmerged = np.array([[1.0, 0, 0], [0, 0, 1]])
_, da, db = lora_backward(dmerged, cache)
graphs.draw(
    {"$A$": (0, 1), "$B$": (0, 2), "matmul": (1, 1), "× s": (2, 1), "$W$": (2, 0), "+": (3, 1), "$W'$": (4, 1)},
    [("$A$", "matmul", a, da), ("$B$", "matmul", b, db), ("matmul", "× s", a @ b, 2 * dmerged),
     ("× s", "+", 2 * a @ b, dmerged), ("$W$", "+", weight, dmerged), ("+", "$W'$", merged, dmerged)],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# A graph: A, a column (1, 2), times B, a row (0, 1, -1), is a matrix of rank 1; twice that and W are added to W'. The
# gradient of W', with a 1 in two corners, goes unchanged to W, doubled to the product, and becomes (0, -2) for A and
# (2, 0, 4) for B.

# %% [markdown] tags=["en"]
# $A\,B$ has the rows $(0, 1, -1)$ and $(0, 2, -2)$, one a multiple of the other: that is what rank 1 means. Twice that
# is added to $W$. Backward: $dW'B^{\mathsf T}$ is, row by row, $1\cdot 0 = 0$ and $1\cdot(-1) = -1$, doubled; and
# $A^{\mathsf T}dW' = (1\cdot1,\; 0,\; 2\cdot1)$, doubled.
#
# ### How much is trained?
#
# The library puts adapters beside the two weights of attention in every block. AdamW keeps two more numbers for each
# trained parameter, so memory is saved as well:

# %%
ways = {"everything": (), "half-frozen": ("wte", "wpe", "h.0", "h.1")}
for name, freeze in ways.items():
    print(f"{name:12} {sum(p.size for p in trainable(model.params, freeze).values()):>9,} parameters are trained")
lora = LoRA(minigpt2.GPT2.from_pretrained("shakespeare"), rank=8, alpha=16.0)
adapters = sum(adapter.size for adapter in minigpt2.flatten(lora.params).values())
print(f"{'LoRA, r = 8':12} {adapters:>9,} parameters are trained, beside {' and '.join(TARGETS)}")

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative** (`gradient_check`, notebook 2.0):

# %%
rng = np.random.default_rng(0)
inputs = {"weight": rng.normal(size=(4, 6)), "a": rng.normal(size=(4, 2)), "b": rng.normal(size=(2, 6)), "alpha": 3.0}
style.show_check(minigpt2.gradient_check(lora_forward, lora_backward, inputs))

# %% [markdown] tags=["en"]
# A mistake that no error message would reveal is to forget the scale in one place. AdamW divides each gradient by its
# own size (notebook 2.5.9), so training would go on almost as before, and nobody would know:


# %%
def unscaled_backward(dmerged, cache):
    """LoRA's backward pass by someone who forgets s."""
    return dmerged, dmerged @ cache["b"].T, cache["a"].T @ dmerged


style.show_check(minigpt2.gradient_check(lora_forward, unscaled_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation**, the values that PyTorch computed in 64-bit floating point (`recorded` loads them,
# `CASES` holds the options they were made with, here $\alpha$):

# %%
reference = recorded("lora")
merged, cache = lora_forward(**reference["inputs"], **CASES["lora"].options)
gradients = dict(zip(("weight", "a", "b"), lora_backward(reference["dy"], cache), strict=True))
error, _ = relative_error({"y": merged, **gradients}, {"y": reference["y"], **reference["gradients"]})
style.show_agreement("lora: W', and gradients of W, A, B", error)

# %% [markdown] tags=["en"]
# **Does it begin in the right place?** With $B = 0$ the adapted model must be the old one, and the
# first gradient of every $A$ must be 0:

# %%
ids, targets = random_windows(np.array(tokenizer.encode(UNSEEN_MANUALS)), 2, 32, np.random.default_rng(0))
adapted = minigpt2.GPT2.from_pretrained("shakespeare")
lora = LoRA(adapted, rank=8, alpha=16.0)
print("same logits:", np.array_equal(adapted.forward(ids)[0], model.forward(ids)[0]))
adapters = minigpt2.flatten(lora.grads(adapted.loss_and_grads(ids, targets)[1]))
print("all dA are 0:", all(not g.any() for name, g in adapters.items() if name.endswith(".a")))
print("any dB is 0: ", any(not g.any() for name, g in adapters.items() if name.endswith(".b")))

# %% [markdown] tags=["en"]
# ## 6. What is learned, and what is forgotten?
#
# ### Live: from plays to manuals
#
# We take the same 16 steps in five ways, on the same pieces of the manuals. *LoRA, wte free* trains the table `wte`
# beside the adapters. *From scratch* is a model of the same size that begins with random numbers: it shows the value of
# the first stage. To compare ways at a single learning rate would be unfair, since adapters that begin at 0 may want
# another one than weights that are in place; so each way gets three. Afterwards we measure on both texts.
# (`minigpt2 train --init-from shakespeare` runs the same loop, with more comfort.)

# %%
tokens = np.array(tokenizer.encode(MANUALS))
B, T = 4, 32
RATES = (3e-4, 1e-3, 3e-3)


def fine_tune(way, lr, steps=16):
    """Train a copy of the built-in model; returns it and (bits on manuals, bits on plays)."""
    tuned = minigpt2.GPT2.from_pretrained("shakespeare")
    if way == "from scratch":
        tuned = minigpt2.GPT2(tuned.config, seed=0)
    lora = LoRA(tuned, rank=8, alpha=16.0) if way.startswith("LoRA") else None
    trained = minigpt2.flatten(lora.params) if lora else trainable(tuned.params, ways.get(way, ()))
    if way == "LoRA, wte free":
        trained = trained | {"wte.weight": tuned.params["wte"]["weight"]}
    optimizer, rng = minigpt2.AdamW(trained, lr=lr), np.random.default_rng(0)
    for _ in range(steps):
        _, grads = tuned.loss_and_grads(*random_windows(tokens, B, T, rng))
        found = minigpt2.flatten(grads) | (minigpt2.flatten(lora.grads(grads)) if lora else {})
        optimizer.step({name: found[name] for name in trained}, max_norm=1.0)
        if lora:
            lora.merge()
    return tuned, bits(tuned)


names = ("everything", "half-frozen", "LoRA", "LoRA, wte free", "from scratch")
results = {way: {lr: fine_tune(way, lr) for lr in RATES} for way in names}
print(f"{'bits per character':18}{'manuals':>16}{'plays':>24}")
print(f"{'learning rate':18}", *2 * [f"{lr:7g}" for lr in RATES])
print(f"{'before':18}", *(f"{number:7.1f}" + 16 * " " for number in bits(model)))
for way, by_rate in results.items():
    print(f"{way:18}", *(f"{by_rate[lr][1][which]:7.1f}" for which in (0, 1) for lr in RATES))

# %%
figure, axes = plt.subplots(figsize=(7, 3.6))
looks = zip(names[:4], ((style.BLUE, "-"), (style.ORANGE, "--"), (style.GREEN, "-."), (style.GREEN, ":")), "os^v",
            strict=True)  # fmt: skip
for way, (colour, dash), marker in looks:
    manual_bits, play_bits = zip(*(result for _, result in results[way].values()), strict=True)
    axes.plot(manual_bits, play_bits, marker=marker, color=colour, ls=dash, ms=5, label=way)
axes.plot(*bits(model), "x", color="0.2", ms=7, label="before")
best = min(result[0] for _, result in results["from scratch"].values())
axes.axvline(best, color="0.3", ls=":", label="from scratch, best")
axes.set(xlabel="held-out loss on manuals (bits per character)", ylabel="loss on plays (bits per character)")
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Loss on plays over loss on manuals, a line of three learning rates for each of four ways, and a cross far right and
# low for the model before. The lines go left and up: better on manuals, worse on plays. Everything and half-frozen lie
# furthest left; the largest rate throws everything far up and to the right. LoRA ends at the dotted line, a new model;
# LoRA with wte free goes on along the same curve.

# %% [markdown] tags=["en"]
# Each mark is a learning rate, from the smallest, near "before", to the largest. Left is better for manuals, low is
# better for plays.
#
# - **The document is right about the domain.** Manuals written in English share much with plays written in English: in
#   16 steps a model that knows the plays, and may change enough of itself, gets well below what a model that knows
#   nothing reaches, each at the best of its three rates. (LoRA gets no further than the new model.)
# - **It does not mention the price.** Every way that learns forgets: nothing in the loss speaks of plays any more. This
#   is called **catastrophic forgetting** (McCloskey & Cohen 1989). By and large it grows with the learning rate; at the
#   largest one, fine-tuning everything is worse on manuals than a new model and worse on plays than a uniform guess
#   (4.1).
# - **LoRA, with between one and two parameters in a hundred, is not better at this exchange here.** At its best it
#   reaches a loss on manuals that fine-tuning everything passes with its smallest rate, and there the plays have
#   suffered hardly more (2.4). It forgets little because it learns little.
# - **Two things hold it back.** With `wte` free the same adapters get much further. And half-frozen, whose `wte` is
#   frozen too but whose upper blocks are free in full, gets as far as that. (Presumably the frequencies of tokens
#   matter much here, indentation and backquotes for names and commas, and either the output layer or freely trained
#   blocks can set them.)
#
# ### Is the change really of low rank?
#
# LoRA rests on a guess: the change that fine-tuning makes to a weight is *nearly* of low rank (Hu et al. 2022, section
# 1). We have a model in which everything was free, so let us look at its change $W'-W$. Every matrix is a sum of
# matrices of rank 1, each with a size, its **singular value**; we sort them, largest first. Their squares add up to the
# sum of the squares of all elements, so one can speak of shares.

# %%
name = "h.3.attn.c_attn.weight"
before = minigpt2.flatten(model.params)[name]
figure, axes = plt.subplots(figsize=(6.4, 3))
for way, marker in {"everything": "o", "LoRA": "^"}.items():
    change = minigpt2.flatten(results[way][1e-3][0].params)[name] - before
    sizes = np.linalg.svd(change.astype("float64"), compute_uv=False)
    share = (sizes[:8] ** 2).sum() / (sizes**2).sum()
    print(f"{way:12} the first 8 of {len(sizes)} hold {share:.2f} of the sum of all squares")
    axes.semilogy(range(1, 41), np.maximum(sizes[:40] / sizes[0], 1e-9), marker=marker, ms=4, label=way)
random = np.linalg.svd(np.random.default_rng(0).normal(size=before.shape), compute_uv=False) ** 2
print(f"{'random':12} the first 8 of {len(random)} hold {random[:8].sum() / random.sum():.2f}")
axes.set(xlabel="number of the singular value", ylabel="singular value / the largest", ylim=(3e-3, 1.5))
axes.set_title(f"The change of {name}")
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two curves of singular values over their number, on a logarithmic scale. That of LoRA falls out of the picture after
# eight values; that of the free change falls slowly and goes on for all forty that are shown.

# %% [markdown] tags=["en"]
# LoRA's change ends after eight values, as it must. The free change does not end: eight directions of 256 hold a little
# more than half of it, and a long tail holds the rest. In a matrix of random numbers eight directions hold 7 %, so the
# change is far from random. For this weight, after these few steps, the guess is neither exact nor absurd.
#
# ### Recorded: three domains
#
# One model and one pair of domains may be luck. So here is a larger experiment that was run once;
# `notebooks/experiments/domains.py` repeats it. There are three domains: English drama, Chinese verse and technical
# English. For each of them a general model is first trained on the *other two*, 500 steps. Then it is fine-tuned on the
# domain, 150 steps, in five ways, or a new model is trained on the domain from scratch, 150 steps as well. The first
# row, *zero-shot*, is the general model before any step on the domain. *Forgotten elsewhere* is the growth of its loss
# on the other two.
#
# A test on which one has chosen is no test (notebook 2.2). So two parts of each text were set aside: on one the
# learning rate of each way (out of three, for drama) and the step at which a model is taken were chosen; the table
# shows the loss on the other. Below it stands what needs no training: the cost of a uniform guess over the vocabulary,
# the size of the plain file, and the share of the tokens of that text which occur nowhere in what the general model has
# read.

# %%
path = Path("../experiments/domains.json")
data = json.loads(path.read_text(encoding="utf-8"))
losses = data["bits per character"] | data["wte free, bits per character"]
forgotten = data["forgotten, bits per character"] | data["wte free, forgotten, bits per character"]
domains = {"drama": "English drama", "verse": "Chinese verse", "technical": "technical English"}


def mean_and_spread(numbers):
    return f"{np.mean(numbers):8.2f} ± {np.std(numbers, ddof=1):.2f}"


print(f"{len(losses['scratch']['drama'])} seeds")
print(f"{'loss on the domain':24}", *(f"{title:>18}" for title in domains.values()))
for way, by_domain in losses.items():
    print(f"{way:24}", *(f"{mean_and_spread(by_domain[domain]):>18}" for domain in domains))
for row, form in {"uniform over the vocabulary, bits per character": "11.2f", "plain file, bits per character": "11.2f",
                  "share of tokens never read": "11.0%"}.items():  # fmt: skip
    print(f"{row.partition(',')[0]:24}", *(f"{data['without a model'][d][row]:{form}}" + 7 * " " for d in domains))
print(f"\n{'forgotten elsewhere':24}")
for way, by_domain in forgotten.items():
    print(f"{way:24}", *(f"{mean_and_spread(by_domain[domain]):>18}" for domain in domains))

# %%
figure, panels = plt.subplots(1, 3, figsize=(8.8, 3.6), sharey=True)
marks = ("o", style.BLUE), ("s", style.ORANGE), ("^", style.GREEN), ("s", "white"), ("^", "white")
looks = dict(zip(forgotten, marks, strict=True))
for axes, (domain, title) in zip(panels, domains.items(), strict=True):
    for way, (marker, colour) in looks.items():
        edge = colour if colour != "white" else looks[way.partition(",")[0]][1]
        axes.plot(losses[way][domain], forgotten[way][domain], marker, color=colour, mec=edge, ls="", label=way)
    axes.axvline(np.mean(losses["scratch"][domain]), color="0.3", ls=":", lw=1.5, label="from scratch")
    axes.set(title=title, xlabel="loss on it (bits/char.)", ylim=(0, None))
    axes.margins(x=0.12)
panels[0].set_ylabel("forgotten elsewhere (bits/char.)")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Three panels, one for each domain, of the loss on the domain and what is forgotten elsewhere. In all of them
# half-frozen and LoRA lie to the right of the dotted line, a new model. Everything and the two ways with wte free, in
# white, lie to the left of it in the two English domains; in verse everything lies to the right, the white ones to the
# left.

# %% [markdown] tags=["en"]
# Each dot is one seed; left is better for the domain, low is better for the old knowledge. The dotted line is a new
# model, which has nothing to forget. In the white marks `wte` is free.
#
# - **Fine-tuning everything beats a new model in both English domains**, and by far more than the seeds differ. Much of
#   the general model's knowledge could be used.
# - **In Chinese verse the first training did harm.** Before any step on it, the general model needs 23.6 bits for a
#   character, which is more than the plain file, and 7.6 more than a uniform guess. It is worse than knowing nothing:
#   it is sure of things that are not so (2.5.8). So it is, by a little, in technical English. After 150 steps it is
#   still behind a new model. (The rates were chosen on drama. With the best of the three on verse the distance is
#   smaller, 10.0 against 9.7 with seed 1 on the text that they are chosen on, and the order is the same.)
# - **Half-frozen models and LoRA are behind a new model in all three domains. The frozen table is the reason**, not the
#   low rank, and not the frozen block. `wte` is the output layer too. Of the tokens of the verse, 88 % occur nowhere in
#   what the general model has read: their vectors began as random numbers, were only ever pushed away from where other
#   tokens were right, and are then frozen. In English it is 8 % and 31 %. With `wte` free, the same adapters are as
#   good as fine-tuning everything in English, and in verse better than that *and* better than a new model.
# - **LoRA forgets less than fine-tuning everything does**, with `wte` free or not, in all three domains and with both
#   seeds; and with `wte` free the two are equally good on the English domains. Here it has an advantage that it had not
#   in the live run. (Each way has the rate that is best for the domain; a smaller one for everything, as in question 4,
#   was not measured here. Half-frozen with `wte` free forgets more in technical English.)
#
# Why is fine-tuning everything worse than a new model in verse? Either the blocks have habits that do not fit, or it is
# those vectors again, that have to come back from where they were pushed. The control: take the general model, give
# only the tokens that it never read new random vectors, and fine-tune everything as before.

# %%
new = data["new vectors for tokens never read, verse"]
print(f"{'Chinese verse':34} {'zero-shot':>15} {'fine-tuned':>15}")
print(f"{'as it was trained':34}", *(f"{mean_and_spread(losses[way]['verse']):>15}" for way in new))
print(f"{'new vectors for unread tokens':34}", *(f"{mean_and_spread(numbers):>15}" for numbers in new.values()))

# %% [markdown] tags=["en"]
# Already before any step on verse the loss falls to nearly that of the uniform guess. So what was worse than knowing
# nothing was in the vectors of the unread tokens. Fine-tuned from there, the model is as good as a new one: the harm is
# gone. What the blocks have learned from English is not in the way of Chinese verse. It may even be of use for it: the
# two ways with `wte` free, which leave the blocks as they are in whole or in part, did better than a new model, though
# from the old vectors. (Or it helps, in 150 steps, to change little; these runs do not tell.)
#
# The experiment is limited: 150 steps are few, two seeds are few, the models are small, and the learning rates were
# chosen on drama alone. In large ones a rank of 8 goes much further: Hu et al. 2022 report that it matches full
# fine-tuning on GPT-3 (section 5.5), whose vocabulary had been read almost in full. The largest of the three learning
# rates was the best on drama for every way that begins with a trained model, so a still larger one might be better.
#
# ### Before and after, in words
#
# Numbers aside, what do the models write? Here is the first seed after the prompt `ROMEO:`, at temperature 0.7. The
# general model has read verse and manuals.

# %%
for way in ("zero-shot", "scratch", "fine-tuned", "LoRA", "LoRA, wte free"):
    lines = [line for line in data["samples"]["drama"][way].splitlines() if line.strip()]
    print(f"{way}:", *lines[:5], sep="\n    ")

# %% [markdown] tags=["en"]
# The general model writes something like a manual after the name of a hero. A new model has learned a few words and
# that lines are short. Fine-tuned, there are names in capitals, a colon, and sentences in the old tone. LoRA has not
# arrived at plays: it still mixes in words of the manuals and pieces of characters. With `wte` free it has. None of
# them makes sense: these are tiny models after 150 steps.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Freeze only `ln_f`. Which gradients still have to be computed? And which ones if `wte`, `wpe` and all blocks are
#    frozen? *Hint: section 3, and remember that `wte` is also the output layer.*
#
#    <details><summary>Answer</summary>
#
#    With only `ln_f` frozen, all but two: everything below it is trained, so the gradient has to pass through it, and
#    only the gradients of its own gain and bias are left out. If `wte`, `wpe` and all blocks are frozen, only `ln_f` is
#    trained. Then the gradient of the logits goes down through the output layer, as $d\mathrm{logits}\,W$ with $W$ =
#    `wte`, to `ln_f`, whose gain and bias get their gradients, and stops there. `wte` itself needs none, neither as
#    output layer nor as table.
#
#    </details>
#
# 2. Begin with $A = 0$ and $B$ random instead. Which of the two moves first? Is it an equally good start? *Hint: the
#    formulas of $dA$ and $dB$.*
#
#    <details><summary>Answer</summary>
#
#    $dA = s\,dW'B^{\mathsf T}$ is not 0, $dB = s\,A^{\mathsf T}dW'$ is: now $A$ moves first. The product is 0 as
#    before, so the model begins unchanged. By symmetry it is as good a start in principle. It is not the same one: $B$
#    random fixes in the first steps in which directions of the *output* the weight can change, $A$ random which
#    directions of the *input* are looked at.
#
#    </details>
#
# 3. How many numbers does an adapter of rank $r$ have for a weight with $I = O = 768$? From what rank on is it no
#    longer smaller than the weight? *Hint: compare $r(I+O)$ with $I\cdot O$.*
#
#    <details><summary>Answer</summary>
#
#    $r\,(768+768) = 1{,}536\,r$, against $768^2 = 589{,}824$. They are equal at $r = 384$, half of 768. With $r = 8$ it
#    is 12,288, 2.1 %.
#
#    </details>
#
# 4. In the picture of the live run, take LoRA and "everything" at settings with which they are equally good on manuals.
#    Which of them forgets less? Add `lr=1e-2` for LoRA and `lr=1e-4` for everything with `fine_tune`. *Hint: that is
#    the fair way to compare them.*
#
#    <details><summary>Answer</summary>
#
#    With `lr=3e-3` LoRA is at 3.8 bits on manuals and 2.4 on plays. "Everything" with `lr=1e-4` is at 3.7 and 2.3: a
#    little better on *both*. (LoRA with `lr=1e-2` gets no further on manuals and loses the plays, 2.8.) So in this
#    comparison full fine-tuning with a small learning rate forgets no more than LoRA. The first impression, that LoRA
#    protects the old knowledge, came from comparing a way that had learned little with one that had learned much.
#
#    </details>
#
# 5. How could one keep the plays while learning the manuals? *Hint: notebook 3.2 mixes texts.*
#
#    <details><summary>Answer</summary>
#
#    Mix plays into the lessons: with the weights 0.9 and 0.1 every tenth window is an old one, and the loss again
#    speaks of plays. (It needs the old text, which one does not always have.) Others: a smaller learning rate or fewer
#    steps, as the picture shows; adapters, which can be taken off again, so that the old model is still there; a term
#    in the loss that holds the parameters near their old values.
#
#    </details>
#
# What if one does not train at all? **Next:** [3.4, zero-shot](3_4_zero_shot.ipynb)
