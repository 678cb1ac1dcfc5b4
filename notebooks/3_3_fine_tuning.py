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
# - For any number $v$ in the model, $dv$ is short for the **gradient** $\partial\,\mathrm{loss}/\partial v$. A step of
#   training moves every parameter a little against its gradient.
# - A **block** is one floor of the model's tower. The built-in model has four of them, called `h.0` to `h.3`. Below
#   them are the tables `wte` (a vector for each token) and `wpe` (one for each position).

# %%
import json
import sys
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.components.lora import lora_backward, lora_forward
from minigpt2.data import random_windows
from minigpt2.data.cleaning import overlap
from minigpt2.evaluation import evaluate
from minigpt2.fine_tuning import TARGETS, LoRA, trainable
from minigpt2.reference import CASES, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document describes two stages. First the parameters of BERT, another model, are fine-tuned; then GPT-2 itself is
# fine-tuned, so that it understands its target domain. Afterwards it is more accurate than before, and does excellently
# in that domain.
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
# domain is technical English, the help texts of Python, which come with every Python as `pydoc_data.topics`. For
# judging we set some of them aside, and we write down speeches that are *not* from the plays that the model has read:

# %%
PLAYS = """HAMLET:
To be, or not to be: that is the question:
Whether 'tis nobler in the mind to suffer
The slings and arrows of outrageous fortune,
Or to take arms against a sea of troubles,
And by opposing end them? To die: to sleep;
No more; and by a sleep to say we end
The heart-ache and the thousand natural shocks
That flesh is heir to, 'tis a consummation
Devoutly to be wish'd. To die, to sleep;
To sleep: perchance to dream: ay, there's the rub;
For in that sleep of death what dreams may come
When we have shuffled off this mortal coil,
Must give us pause: there's the respect
That makes calamity of so long life.

JAQUES:
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

MACBETH:
To-morrow, and to-morrow, and to-morrow,
Creeps in this petty pace from day to day
To the last syllable of recorded time,
And all our yesterdays have lighted fools
The way to dusty death. Out, out, brief candle!
Life's but a walking shadow, a poor player
That struts and frets his hour upon the stage
And then is heard no more: it is a tale
Told by an idiot, full of sound and fury,
Signifying nothing.
"""
manuals = "\n".join(topics.values())
MANUALS, UNSEEN_MANUALS = manuals[:300_000], manuals[300_000:303_000]  # for learning, for judging

tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
model = minigpt2.GPT2.from_pretrained("shakespeare")


def bits(model):
    """Bits per character on (unseen manuals, unseen plays)."""
    return tuple(evaluate(model, tokenizer, text).bits_per_character for text in (UNSEEN_MANUALS, PLAYS))


print("bits per character: manuals {:.2f}, plays {:.2f}".format(*bits(model)))
print(f"any of 128 characters, equally likely: {np.log2(128):.0f}")

# %% [markdown] tags=["en"]
# The model is at home in the plays and lost in the manuals. Section 6 lets it move.

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
figure, axes = plt.subplots(figsize=(7.6, 2.8))
axes.set(xlim=(0, 22.4), ylim=(-1.3, 6.4), aspect="equal")
axes.axis("off")
boxes = (  # left, bottom, width, height, name, colours, rows, columns
    (1.2, 0, 5.4, 5, "$W'$", style.BLUE, "#dbe6f3", "I", "O"),
    (8.3, 0, 5.4, 5, "$W$\nfrozen", style.GREY, "0.93", "", "O"),
    (15.3, 0, 0.55, 5, "$A$", style.ORANGE, "#f6dcc3", "I", "r"),
    (16.7, 4.45, 5.4, 0.55, "$B$", style.ORANGE, "#f6dcc3", "r", "O"),
)
for x, y, width, height, name, edge, face, rows, columns in boxes:
    axes.add_patch(plt.Rectangle((x, y), width, height, ec=edge, fc=face, lw=1.5))
    axes.text(x + width / 2, y + height / 2, name, ha="center", va="center", fontsize=11)
    axes.text(x - 0.15, y + height / 2, rows, ha="right", va="center", color="0.4")
    axes.text(x + width / 2, y - 0.2, columns, ha="center", va="top", color="0.4")
axes.text(7.35, 2.5, "=", ha="center", va="center", fontsize=15)
axes.text(14.3, 2.5, r"$+\;\frac{\alpha}{r}$", ha="center", va="center", fontsize=13)
axes.text(0, 5.9, "the weight in use", color="0.3")
axes.text(15.2, 5.9, "the trained part", color="0.3")
plt.show()

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### Frozen parts
#
# Take a layer $y = x\,W$. Its backward pass has two results (derived in notebook 3.1, section 3):
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
# (The paper writes $B\,A$, because it stores weights the other way round.) It draws the adapter as a second way beside
# the weight. Products may be regrouped, so the two are the same: $x\,W' = x\,W + s\,(x A)\,B$. The left-hand side has
# an advantage: a model with merged weights is an ordinary GPT-2.
#
# ### LoRA, backward
#
# Attention's backward pass gives us $dW'$, `(I, O)`. We want $dA$ and $dB$. Write one element of the merged weight:
#
# $$W'_{io} = W_{io} + s\sum_{k=1}^{r} A_{ik}\,B_{ko}.$$
#
# **Step 1: $A$.** Which elements of $W'$ does $A_{jk}$ touch? Those in row $j$, in every column $o$, and there it is
# multiplied by $s\,B_{ko}$:
#
# $$\frac{\partial W'_{io}}{\partial A_{jk}} = s\,\delta_{ij}\,B_{ko}
#   \quad\Longrightarrow\quad
#   dA_{jk} = \sum_{i,o} dW'_{io}\; s\,\delta_{ij}\,B_{ko} = s\sum_o dW'_{jo}\,B_{ko}.$$
#
# ($\delta_{ij}$ is 1 if $i=j$, else 0.) A sum over the last index of both is a product with a transpose:
#
# $$dA = s\;dW'\,B^{\mathsf T}, \qquad (I\times O)(O\times r) = (I\times r).$$
#
# **Step 2: $B$.** $B_{kp}$ touches column $p$, in every row $i$, multiplied by $s\,A_{ik}$:
#
# $$dB_{kp} = s\sum_i A_{ik}\,dW'_{ip}
#   \quad\Longrightarrow\quad
#   dB = s\;A^{\mathsf T}\,dW', \qquad (r\times I)(I\times O) = (r\times O).$$
#
# **Step 3: $W$.** $\partial W'_{io}/\partial W_{io} = 1$, hence $dW = dW'$. Nobody needs it, since $W$ is frozen.
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
for name, array in {"W'": merged, "dA": da, "dB": db}.items():
    print(name, *(f"{'':3}" + " ".join(f"{value + 0.0:4.0f}" for value in row) for row in array), sep="\n")

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
# **Against the definition of a derivative**, by nudging every element:

# %%
rng = np.random.default_rng(0)
inputs = {"weight": rng.normal(size=(4, 6)), "a": rng.normal(size=(4, 2)), "b": rng.normal(size=(2, 6)), "alpha": 3.0}
style.show_check(minigpt2.gradient_check(lora_forward, lora_backward, inputs))

# %% [markdown] tags=["en"]
# A mistake that no error message would reveal is to forget the scale in one place. Training would still work, a little
# worse, and nobody would know:


# %%
def unscaled_backward(dmerged, cache):
    """LoRA's backward pass by someone who forgets s."""
    return dmerged, dmerged @ cache["b"].T, cache["a"].T @ dmerged


style.show_check(minigpt2.gradient_check(lora_forward, unscaled_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation**, the values that PyTorch computed in 64-bit floating point:

# %%
reference = recorded("lora")
merged, cache = lora_forward(**reference["inputs"], **CASES["lora"].options)
gradients = dict(zip(("weight", "a", "b"), lora_backward(reference["dy"], cache), strict=True))
error, _ = relative_error({"y": merged, **gradients}, {"y": reference["y"], **reference["gradients"]})
style.show_agreement("lora: W', and gradients of W, A, B", error)

# %% [markdown] tags=["en"]
# **Does it begin in the right place?** With $B = 0$ the adapted model must be the old one, to the last bit, and the
# first gradient of every $A$ must be 0:

# %%
ids, targets = random_windows(np.array(tokenizer.encode(UNSEEN_MANUALS)), 2, 32, np.random.default_rng(0))
adapted = minigpt2.GPT2.from_pretrained("shakespeare")
lora = LoRA(adapted, rank=8, alpha=16.0)
print("same logits:", bool((adapted.forward(ids)[0] == model.forward(ids)[0]).all()))
adapters = minigpt2.flatten(lora.grads(adapted.loss_and_grads(ids, targets)[1]))
print("all dA are 0:", all(not g.any() for name, g in adapters.items() if name.endswith(".a")))
print("any dB is 0: ", any(not g.any() for name, g in adapters.items() if name.endswith(".b")))

# %% [markdown] tags=["en"]
# ## 6. What is learned, and what is forgotten?
#
# ### Live: from plays to manuals
#
# We take the same 40 steps in four ways, on the same pieces of the manuals. *From scratch* is a model of the same size
# that begins with random numbers: it shows the value of the first stage. Every ten steps we measure on both texts.
# (`minigpt2 train --init-from shakespeare` runs the same loop, with more comfort.)

# %%
tokens = np.array(tokenizer.encode(MANUALS))
B, T = 4, 64


def fine_tune(way, steps=40, lr=1e-3):
    """Train a copy of the built-in model; returns it and {step: (bits on manuals, bits on plays)}."""
    tuned = minigpt2.GPT2.from_pretrained("shakespeare")
    if way == "from scratch":
        tuned = minigpt2.GPT2(tuned.config, seed=0)
    lora = LoRA(tuned, rank=8, alpha=16.0) if way == "LoRA" else None
    optimizer = minigpt2.AdamW(lora.params if lora else trainable(tuned.params, ways.get(way, ())), lr=lr)
    rng, curve = np.random.default_rng(0), {0: bits(tuned)}
    for step in range(1, steps + 1):
        ids, targets = random_windows(tokens, B, T, rng)
        _, grads = tuned.loss_and_grads(ids, targets)
        if lora:
            optimizer.step(lora.grads(grads), max_norm=1.0)
            lora.merge()
        else:
            kept = {name: g for name, g in minigpt2.flatten(grads).items() if name in optimizer.params}
            optimizer.step(kept, max_norm=1.0)
        if step % 10 == 0:
            curve[step] = bits(tuned)
    return tuned, curve


results = {way: fine_tune(way) for way in ("everything", "half-frozen", "LoRA", "from scratch")}
print("bits per character   manuals   plays")
print(f"{'before':18} {results['LoRA'][1][0][0]:9.2f} {results['LoRA'][1][0][1]:7.2f}")
for way, (_, curve) in results.items():
    print(f"{way:18} {curve[40][0]:9.2f} {curve[40][1]:7.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), sharex=True)
for (way, (_, curve)), marker in zip(results.items(), "os^x", strict=True):
    left.plot(list(curve), [manuals for manuals, _ in curve.values()], marker=marker, ms=5, label=way)
    if way != "from scratch":
        right.plot(list(curve), [plays for _, plays in curve.values()], marker=marker, ms=5, label=way)
left.set(xlabel="steps", ylabel="loss (bits per character)", title="Manuals: learned")
right.set(xlabel="steps", title="Plays: forgotten")
left.legend()
right.legend()
plt.show()

# %% [markdown] tags=["en"]
# The left picture shows what the document promises. Manuals written in English share much with plays written in
# English. In 40 steps a model that knows the plays and may change all or half of its parameters reaches a loss that a
# model that knows nothing does not come near. (LoRA gets no further than the new model in these few steps.)
#
# The right picture shows what the document does not mention. The more freely the parameters may move, the better the
# manuals, and the worse the plays: nothing in the loss speaks of plays any more. This is called **catastrophic
# forgetting** (McCloskey & Cohen 1989). LoRA, with between one and two parameters in a hundred, learns least of the
# three and forgets almost nothing.
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
    change = minigpt2.flatten(results[way][0].params)[name] - before
    sizes = np.linalg.svd(change.astype("float64"), compute_uv=False)
    share = (sizes[:8] ** 2).sum() / (sizes**2).sum()
    print(f"{way:12} the first 8 of {len(sizes)} hold {share:.1f} of the sum of all squares")
    axes.semilogy(range(1, 41), np.maximum(sizes[:40] / sizes[0], 1e-9), marker=marker, ms=4, label=way)
axes.set(xlabel="number of the singular value", ylabel="singular value / the largest", ylim=(3e-3, 1.5))
axes.set_title(f"The change of {name}")
axes.legend()
plt.show()

# %% [markdown] tags=["en"]
# LoRA's change ends after eight values, as it must. The free change does not end: eight directions of 256 hold about
# half of it, and a long tail holds the other half. For this weight, after these few steps, the guess is neither exact
# nor absurd.
#
# ### Three domains, three seeds
#
# One model and one pair of domains may be luck. So here is a larger experiment that was run once;
# `notebooks/experiments/domains.py` repeats it. There are three domains: English drama, Chinese verse and technical
# English. For each of them a general model is first trained on the *other two*, 1,000 steps. Then it is fine-tuned on
# the domain, 300 steps, in three ways, or a new model is trained on the domain from scratch, 300 steps as well. The
# first row, *zero-shot*, is the general model before any step on the domain. *Forgotten elsewhere* is the growth of its
# loss on the other two. Means and standard deviations are over three seeds.

# %%
path = Path("../experiments/domains.json")
data = json.loads(path.read_text(encoding="utf-8"))
losses, forgotten = data["bits per character"], data["forgotten, bits per character"]
domains = {"drama": "English drama", "verse": "Chinese verse", "technical": "technical English"}


def mean_and_spread(numbers):
    return f"{np.mean(numbers):8.2f} ± {np.std(numbers, ddof=1):.2f}"


print(f"{'loss on the domain':20}", *(f"{title:>18}" for title in domains.values()))
for way, by_domain in losses.items():
    print(f"{way:20}", *(f"{mean_and_spread(by_domain[domain]):>18}" for domain in domains))
print(f"\n{'forgotten elsewhere':20}")
for way, by_domain in forgotten.items():
    print(f"{way:20}", *(f"{mean_and_spread(by_domain[domain]):>18}" for domain in domains))

figure, panels = plt.subplots(1, 3, figsize=(8.4, 3.1), sharey=True)
for axes, (domain, title) in zip(panels, domains.items(), strict=True):
    for (way, by_domain), marker, colour in zip(
        forgotten.items(), "os^", (style.BLUE, style.ORANGE, style.GREEN), strict=True
    ):
        axes.plot(losses[way][domain], by_domain[domain], marker, color=colour, ls="", label=way)
    axes.axvline(np.mean(losses["scratch"][domain]), color="0.3", ls=":", lw=1.5, label="from scratch")
    axes.set(title=title, xlabel="loss on it (bits/char.)", ylim=(0, 4.6))
    axes.margins(x=0.12)
panels[0].set_ylabel("forgotten elsewhere (bits/char.)")
panels[0].legend(loc="upper right", fontsize=8)
plt.show()

# %% [markdown] tags=["en"]
# Each dot is one seed; left is better for the domain, low is better for the old knowledge. The dotted line is a new
# model, which has nothing to forget.
#
# - **Fine-tuning everything beats a new model in both English domains**, and by far more than the seeds differ. Much of
#   the general model's knowledge could be used.
# - **It does not in Chinese verse.** There it is *worse* than starting from scratch, with every seed. The general model
#   had read only English; perhaps its habits had to be unlearned first. The value of a first stage depends on what it
#   has in common with the second.
# - **Fine-tuning everything forgets most in the English domains**, about three bits per character of the others.
# - **Half-frozen models and LoRA forget less there, and learn less.** After 300 steps both are behind a new model, in
#   all three domains.
# - **A thin adapter is no guarantee.** In Chinese verse LoRA forgets more than half-freezing does, with every seed.
#
# The experiment is limited: 300 steps are few, and all ways had the same learning rate. LoRA, with few parameters that
# start from 0, may gain more than the others from more steps and from a larger learning rate (question 4). The models
# are small. In large ones a rank of 8 goes much further: Hu et al. 2022 report that it matches full fine-tuning on
# GPT-3 (section 5.5). And the manuals say some things twice (notebook 3.2), so the last tenth of them, on which the
# models were judged, is not quite new to a model that was trained on the rest. That flatters a new model and a
# fine-tuned one alike.

# %%
gain = {d: np.mean(losses["scratch"][d]) - np.mean(losses["fine-tuned"][d]) for d in domains}
cut = len(manuals) * 9 // 10
print(f"8-grams of the manuals' last tenth that occur before: {overlap([manuals[:cut]], [manuals[cut:]]):.0%}")
print("the value of the first stage, bits per character:", ", ".join(f"{d} {g:+.2f}" for d, g in gain.items()))

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Freeze only `ln_f`. Which gradients still have to be computed? And which ones if `wte`, `wpe` and all blocks are
#    frozen? *Hint: section 3, and remember that `wte` is also the output layer.*
# 2. Begin with $A = 0$ and $B$ random instead. Which of the two moves first? Is it an equally good start? *Hint: the
#    formulas of $dA$ and $dB$.*
# 3. How many numbers does an adapter of rank $r$ have for a weight with $I = O = 768$? From what rank on is it no
#    longer smaller than the weight? *Hint: compare $r(I+O)$ with $I\cdot O$.*
# 4. Predict the losses on both texts for LoRA with `lr=3e-3`, and for "everything" with `lr=1e-4`. Then call
#    `fine_tune("LoRA", lr=3e-3)`. Can you find settings with which the two are equally good on manuals? Which of them
#    then forgets less? *Hint: that is the fair way to compare them.*
# 5. How could one keep the plays while learning the manuals? *Hint: notebook 3.2 mixes texts.*
