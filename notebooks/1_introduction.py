# %% [markdown] tags=["en"]
# # 1. 简介 · Introduction
#
# In five minutes: a language model writes a few lines, and you look inside while it does. Nothing needs to be
# downloaded; the model comes with this package and runs on any computer. Everything that is only touched upon here has
# its own notebook, whose number is given.
#
# You need Python and a little NumPy. Run the cells from the top with Shift+Enter.
#
# **Exercise:** none of its own; [the eleven exercises](../exercises/README.md) are for the notebooks from 2.0 on.

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.verification import figures

style.use()

# %% [markdown] tags=["en"]
# ## In the document
#
# The document opens with a promise. Models that generate language have become good because of deep learning; most of
# them are *transformers*, an architecture that relates the pieces of a text to one another; GPT-2 is one of them, and
# "可以生成具有高质量、连贯性、多样性的文本", it can write text of high quality, coherent and varied. For GPT-2 that is
# right in part; a page further down you see sentences of the released model, and of the built-in one, which is 36 times
# smaller, and can judge for yourself.
#
# In five places the opening departs from GPT-2 as released (Radford et al. 2019, "Language Models are Unsupervised
# Multitask Learners"):
#
# - "本文尝试提出一种新的基于transformer的语言模型——GPT-2", this article proposes a new language model, GPT-2. It does
#   not: the model is that of the paper just named, which the document never mentions.
# - "本文选用了几十种语言的数据集进行了多轮实验", several dozen languages in many rounds of experiments. GPT-2's data
#   were English on purpose: pages in other languages were filtered out (section 3.7 of the paper); see notebooks 2.4
#   and 3.2.
# - "学习到不同语言的共同特征", it learns what different languages have in common. Nothing in its training asks for
#   that. What it saw of other languages is what the filter missed, such as 10 MB of French in 40 GB of text (section
#   3.7).
# - It wants to overcome limits at "生成多模态、多领域的文本数据", at text of several modalities and fields. GPT-2's
#   text is of many fields. But it does nothing about modalities: it is trained on text alone, and below you see the
#   only thing it takes, integers.
# - "可以直接用于生产环境", fit for production. The model card that OpenAI published with the parameters says that they
#   do not tell fact from fiction, and that uses which need the text to be true are not supported; see notebook 5.

# %% [markdown] tags=["en"]
# ## A model that writes
#
# There are only two objects. The **tokenizer** turns text into integers and back. The **model** is a function with many
# numbers inside, its *parameters*; it takes integers and says which integer it expects next.

# %%
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
model = minigpt2.GPT2.from_pretrained("shakespeare")
print(f"{model.num_parameters:,} parameters, {model.config.n_layer} blocks, {model.config.vocab_size:,} tokens")

# %% [markdown] tags=["en"]
# This one was trained by the code of this package on a megabyte of Shakespeare's plays. GPT-2 as released has the same
# parts and more of them:

# %%
for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
    config = minigpt2.GPT2Config.preset(name)
    parameters = sum(int(np.prod(shape)) for shape in config.parameter_shapes().values())
    print(f"{name:12} {parameters:>13,} parameters, {config.n_layer} blocks, {config.vocab_size:,} tokens")

# %% [markdown] tags=["en"]
# Give it a beginning, and it continues:

# %%
prompt = "ROMEO:\nBut soft, what light"
ids = tokenizer.encode(prompt)
print(tokenizer.decode(model.generate(ids, max_new_tokens=80, temperature=0.8, top_k=50, seed=3)))

# %% [markdown] tags=["en"]
# Nobody told it that a play has speakers whose names stand in capitals, that lines are of a certain length, or what an
# English word is. It found that out by guessing what comes next: 4,000 times for 12 pieces of 256 tokens each, which
# makes twelve million guesses. (The details are in its model card, `minigpt2/pretrained/shakespeare/README.md`.
# Notebook 2.3 explains `temperature` and `top_k`. Change `seed`, and it writes something else.) Read it once more for
# the sense: each line is English of a sort, but "I would not so it be so so" says nothing, and no thought goes on from
# one line to the next. Fluent, then, and varied; not coherent.
#
# ### And GPT-2 itself?
#
# The released model takes half a gigabyte, and this notebook needs no download. But other projects have published what
# it writes, and this package keeps some of that with its source, to be checked against. Here are four of its
# continuations, of the smallest size, always with the likeliest token, beside those of the built-in model.

# %%
recorded = {**figures.CONTINUATIONS, figures.HARNESS: figures.STOPPED[:2]}
for source, (beginning, text) in recorded.items():
    start = tokenizer.encode(beginning)
    ours = tokenizer.decode(model.generate(start, max_new_tokens=16)[len(start) :])
    print(f"{source}\n  prompt       {beginning!r}\n  gpt2         {text!r}\n  shakespeare  {ours!r}\n")

# %% [markdown] tags=["en"]
# GPT-2 stays with the subject, and its grammar is in order. What it says need not be true, nor make sense: San
# Francisco has fewer than 900,000 inhabitants, and who are "they both"? The small model was trained on plays: in three
# cases out of four it soon ends the sentence and lets somebody speak. If the released weights are on your machine, the
# next cell lets them write again:

# %%
released = style.released_model()
if released is not None:
    words = style.released_tokenizer()
    for source, (beginning, text) in recorded.items():
        start, length = words.encode(beginning), len(words.encode(text))
        found = words.decode(released.generate(start, max_new_tokens=length)[len(start) :])
        print(f"{source}: {found!r}, as recorded: {found == text}")

# %% [markdown] tags=["en"]
# ## From text to integers
#
# The model reads neither letters nor words but **tokens**, pieces that occur often. Each has a number:

# %%
for i in ids:
    print(f"{i:5}  {tokenizer.decode([i])!r}")

# %% [markdown] tags=["en"]
# Frequent words are one token, with the space before them; rarer ones are put together from several. No text is lost on
# the way, and none is refused, because at worst a token is a single byte:

# %%
text = "Even 莎士比亚 is text."
encoded = tokenizer.encode(text)
print(len(text), "characters,", len(encoded), "tokens, and back:", tokenizer.decode(encoded))

# %% [markdown] tags=["en"]
# ## One step of writing
#
# A model that generates does one thing over and over. It gives every token of the vocabulary a score, called a
# **logit**; the higher, the more likely that this token comes next. For $T$ tokens of input there are $T$ rows of
# scores, one for the continuation after each of them, and the last row is the one that counts now. With $V$ for the
# size of the vocabulary, the shape is `(1, T, V)`; the 1 is there because a model may read several texts at once.
#
# Logits are not probabilities: they may be negative and add up to anything. The **softmax** turns them into
# probabilities,
#
# $$\mathrm{probs}_v = \frac{e^{\mathrm{logits}_v}}{\sum_{u} e^{\mathrm{logits}_u}},$$
#
# where $u$ runs over all $V$ tokens. The exponential makes everything positive, the division makes the sum 1.

# %%
logits, cache = model.forward([ids])
print("logits:", logits.shape)
probs = np.exp(logits[0, -1].astype(np.float64))
probs /= probs.sum()
best = np.argsort(-probs)[:8]

figure, axes = plt.subplots(figsize=(6, 2.6))
axes.barh([repr(tokenizer.decode([i])) for i in best], probs[best], color=style.BLUE)
axes.invert_yaxis()
axes.grid(axis="y", visible=False)
axes.set(xlabel="probability", title=f"next token after {prompt.splitlines()[-1]!r}")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Horizontal bars with the probabilities of the eight likeliest next tokens after "But soft, what light". "s" leads with
# 0.15; a comma, " is", a question mark, "ly", an exclamation mark, "ness" and " in" follow, from 0.11 down to 0.02.

# %% [markdown] tags=["en"]
# Pick one of them, put it at the end of the text, and repeat: that is all there is to generation. Taking the most
# likely one each time is called *greedy*, and four lines are enough for it. The library's `generate` gives the same
# tokens, only faster, because it remembers what it has computed.

# %%
mine = list(ids)
for _ in range(20):
    logits, _ = model.forward([mine])
    mine.append(int(logits[0, -1].argmax()))

print(tokenizer.decode(mine))
print("\nequal to generate:", mine == model.generate(ids, max_new_tokens=20).tolist())

# %% [markdown] tags=["en"]
# ## What does it look at?
#
# How does the last token know what came before? By **attention** (2.5.3): every token looks back at the tokens before
# it and at itself, and takes in a weighted mean of what it finds there. The weights are positive and add up to 1, and
# they can be read with the naked eye. The model does this several times on the way from the integers to the logits, in
# layers called *blocks*, and in every block there are several such views side by side, its *heads*.
#
# The weights are in the `cache`, the second thing that `forward` returned above, under the name `probs`: a matrix for
# each head. Blocks and heads are counted from 0, and there are 4 times 4 of them. Two are worth a picture, and a rule
# picks them: the head that gives most attention to the token *just before*, in the mean over all tokens but the first,
# and the one whose strongest weight is smallest, in the same mean.

# %%
probs = np.array([block["attn"]["probs"][0] for block in cache["h"]])  # (blocks, heads, T, T)
rows = np.arange(1, len(ids))  # every token but the first
previous = probs[:, :, rows, rows - 1]  # (blocks, heads, T - 1): the weight of the token just before
lookback = np.unravel_index(previous.mean(axis=-1).argmax(), previous.shape[:2])
broad = np.unravel_index(probs[:, :, 1:].max(axis=-1).mean(axis=-1).argmin(), previous.shape[:2])
for block, head in (lookback, broad):
    print(f"block {block}, head {head}: mean weight of the previous token {previous[block, head].mean():.2f}")
print(f"evenly over all that can be seen: {np.mean(1 / (rows + 1)):.2f}")
print("block {}, head {}: tokens for which the previous one has the largest weight:".format(*lookback),
      f"{np.sum(probs[lookback][1:].argmax(axis=-1) == rows - 1)} of {len(rows)}")  # fmt: skip

# %% [markdown] tags=["en"]
# Read each picture row by row: the token on the left looks at the tokens named below, the darker, the more.

# %%
labels = [tokenizer.decode([i]).replace("\n", "\\n").replace(" ", "_") for i in ids]
figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.8), sharey=True)
for axis, (block, head) in zip(axes, (lookback, broad), strict=True):
    image = axis.imshow(probs[block, head], vmin=0, vmax=1)
    axis.grid(visible=False)
    axis.set_xticks(range(len(ids)), labels, rotation=90, family="monospace")
    axis.set_yticks(range(len(ids)), labels, family="monospace")
    axis.set(xlabel="attended token (_ is a space)", title=f"block {block}, head {head}")
axes[0].set_ylabel("attending token")
figure.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two square maps, a row and a column for each of the eleven tokens of the prompt, dark where the attention weight is
# large. Both are empty to the upper right of the diagonal. In the left one, block 0, head 2, the squares just left of
# the diagonal are darkest in the rows of "f", "t" and "ght"; in the right one, block 3, head 1, the weights are spread.

# %% [markdown] tags=["en"]
# The upper right is empty in both: no token sees a later one. Otherwise a model that has to guess the next token could
# look it up.
#
# The head on the left leans towards the token before: it gives it 0.38 on average, about twice an even share, and it
# is the favourite of half of the tokens. The dark squares are in the rows of `f`, `t` and `ght`, where a word was cut
# into pieces. The head on the right gathers a little from everywhere.
#
# Eleven tokens and three dark squares are little to go by. So here is a **control**: another text, longer, by the same
# poet but not from his plays. If what we saw is more than chance, the head must again look back inside a cut word more
# than elsewhere.

# %%
sonnet = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
"""
sonnet_ids = tokenizer.encode(sonnet)
_, sonnet_cache = model.forward([sonnet_ids])
pieces = [tokenizer.decode([i]) for i in sonnet_ids]
rows = np.arange(1, len(pieces))
inside = np.array([pieces[t].isalpha() and pieces[t - 1].strip(" ").isalpha() for t in rows])  # no space between
print(f"mean weight of the previous token; {inside.sum()} of {len(rows)} are inside a word")
for block, head in (lookback, (3, 0), broad):
    previous = sonnet_cache["h"][block]["attn"]["probs"][0, head, rows, rows - 1]
    means = previous[inside].mean(), previous[~inside].mean(), previous.mean()
    print(f"block {block}, head {head}   inside {means[0]:.2f}   others {means[1]:.2f}   all {means[2]:.2f}")
print(f"evenly            inside {np.mean(1 / (rows + 1)[inside]):.2f}"
      f"   others {np.mean(1 / (rows + 1)[~inside]):.2f}   all {np.mean(1 / (rows + 1)):.2f}")  # fmt: skip

# %% [markdown] tags=["en"]
# It does: inside a word the token before gets several times as much from it as elsewhere. The other two heads make less
# of that difference. (It is not the only one that does so: block 2, head 2 has 0.32 inside and 0.14 elsewhere.) What
# does *not* hold is "this head looks one token back": on average over the longer text the token before gets a fifth of
# its attention, and another head (block 3, head 0) gives it a little more. One picture of one sentence shows that
# something is there; what it is takes a control, and what the model uses it for takes another, see 2.3. Notebook 2.5.3
# goes on from here.
#
# Nobody told the heads where to look. They learned it.

# %% [markdown] tags=["en"]
# ## How did it learn?
#
# By making mistakes. The **loss** says how surprised the model is by a text: the mean of $-\ln$ of the probability that
# it gave to each token that really came next. A uniform guess gives each of the $V$ tokens the chance $1/V$,
# and its loss is $\ln V$. The *backward pass* then says for each of the millions of parameters in which direction it
# must move for the model to be less surprised: that is its *gradient*, a derivative. The *optimizer* then moves it, a
# little (2.5.8 and 2.5.9). Here are ten such steps on one line of the play:

# %%
line = tokenizer.encode("But soft, what light through yonder window breaks?")
x, y = np.array([line[:-1]]), np.array([line[1:]])  # each token, and the one that should follow
new = minigpt2.GPT2(model.config, seed=0)
print(f"uniform guess, ln V   {np.log(model.config.vocab_size):.2f}")
print(f"untrained model       {new.loss(x, y):.2f}")
print(f"built-in model        {model.loss(x, y):.2f}")

optimizer = minigpt2.AdamW(model.params, lr=1e-4)
for _ in range(10):
    loss, grads = model.loss_and_grads(x, y)
    optimizer.step(grads)
print(f"after ten steps       {model.loss(x, y):.2f}")

# %% [markdown] tags=["en"]
# You have now used the most important of it: tokens, logits, attention, loss, gradients. The rest of the book takes
# these apart, one after the other, and the parts that were passed over here (the feed-forward network holds most of a
# block's parameters), until there is no number in GPT-2 that you could not compute yourself. The map is notebook 2.5.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. What does the model take in, and what does it give out? Say the shapes. *Hint: the cell that prints `logits`.*
#
#    <details><summary>Answer</summary>
#
#    In: integers of shape $(B, T)$, that is $B$ texts of $T$ tokens; here $(1, 11)$. Out: logits of shape $(B, T, V)$,
#    a score for every token of the vocabulary after each of the tokens; here $(1, 11, 1024)$. (And the cache, which
#    holds what was computed on the way.)
#
#    </details>
# 2. Why is the upper right of an attention map empty? What would go wrong in training if it were not?
#    *Hint: which token is each row asked to guess?*
#
#    <details><summary>Answer</summary>
#
#    Row $t$ is asked for token $t+1$, and that stands in column $t+1$, to the right of the diagonal. If it could be
#    seen, the model would learn to copy it. The loss in training would go to 0, and nothing would be learned that is
#    of use for writing, where the next token is not there yet.
#
#    </details>
# 3. Set `temperature` to 0.2 and to 2 in the first example. Predict what each text looks like, then run it.
#    *Hint: logits are divided by the temperature before the softmax.*
#
#    <details><summary>Answer</summary>
#
#    Dividing by 0.2 makes differences between logits five times as large: nearly always the likeliest token is taken,
#    and the text runs in a circle ("I'll tell thee, I'll tell thee, I'll tell thee."). Dividing by 2 halves them: the
#    improbable becomes common, and the text falls apart, down to the words ("Hortues he that thou vio?").
#
#    </details>
# 4. The last cell trained on one line. Predict what the model now writes after "But soft, what", and whether its loss
#    on other lines has changed. Try it. *Hint: `model.generate` as above; this is called overfitting, see notebook
#    2.2.*
#
#    <details><summary>Answer</summary>
#
#    It writes " light through yonder window breaks?" and then the name of the next speaker: it has learned the line by
#    heart. On the first four lines of the sonnet above its loss has risen, from 3.91 to 4.02. Ten steps are enough to
#    do both.
#
#    </details>
#
# **Next:** what the derivations have in common, and how one checks them: [2.0, the toolbox](2_0_toolbox.ipynb)
