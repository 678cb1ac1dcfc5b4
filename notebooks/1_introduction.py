# %% [markdown] tags=["en"]
# # 1. 简介 · Introduction
#
# In five minutes: a language model writes a few lines, and you look inside while it does. Nothing needs to be
# downloaded; the model comes with this package and runs on any computer. Everything that is only touched upon here has
# its own notebook, whose number is given.
#
# You need Python and a little NumPy. Run the cells from the top with Shift+Enter.

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2

style.use()

# %% [markdown] tags=["en"]
# ## In the document
#
# The document opens with a promise. Models that generate language have become good because of deep learning; most of
# them are *transformers*, an architecture that relates the pieces of a text to one another; GPT-2 is one of them, and
# it writes text that is fluent, coherent and varied. That is right, and you are about to see it on a small scale.
#
# In three places the opening departs from GPT-2 as released (Radford et al. 2019, "Language Models are Unsupervised
# Multitask Learners"):
#
# - It says that the model was tried on data sets in several dozen languages. Its data were English on purpose: pages in
#   other languages were filtered out (section 3.7 there); see notebooks 2.4 and 3.2.
# - It speaks of generating text of several modalities. GPT-2 reads and writes nothing but text. Below you see the only
#   thing it takes: integers.
# - It calls the parameters fit for production. The model card that OpenAI published with them says that they do not
#   tell fact from fiction, and that uses which need the text to be true are not supported; see notebook 5.

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
# Notebook 2.3 explains `temperature` and `top_k`. Change `seed`, and it writes something else.)

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
axes.set(xlabel="probability", title=f"What comes after {prompt.splitlines()[-1]!r}?")
plt.show()

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
print("\nthe same tokens as generate:", mine == model.generate(ids, max_new_tokens=20).tolist())

# %% [markdown] tags=["en"]
# ## What does it look at?
#
# How does the last token know what came before? By **attention** (2.5.3): every token looks back at the tokens before
# it and at itself, and takes in a weighted mean of what it finds there. The weights are positive and add up to 1, and
# they can be read with the naked eye. The model does this several times on the way from the integers to the logits, in
# layers called *blocks*, and in every block there are several such views side by side, its *heads*.
#
# The weights are in the `cache`, the second thing that `forward` returned above, under the name `probs`: a matrix for
# each head. Read it row by row: the token on the left looks at the tokens named below, the darker, the more. Blocks and
# heads are counted from 0.

# %%
labels = [tokenizer.decode([i]).replace("\n", "\\n").replace(" ", "_") for i in ids]
maps = {
    (block, head): probs
    for block, block_cache in enumerate(cache["h"])
    for head, probs in enumerate(block_cache["attn"]["probs"][0])
}
rows = np.arange(1, len(ids))
previous = {place: float(probs[rows, rows - 1].mean()) for place, probs in maps.items()}
lookback, broad = max(previous, key=previous.get), min(maps, key=lambda place: maps[place].max(axis=-1)[1:].mean())
for place, what in ((lookback, "attends most to the token just before"), (broad, "spreads its attention most")):
    print(f"block {place[0]}, head {place[1]} {what}")

figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.8), sharey=True)
for axis, place in zip(axes, (lookback, broad), strict=True):
    image = axis.imshow(maps[place], vmin=0, vmax=1)
    axis.grid(visible=False)
    axis.set_xticks(range(len(ids)), labels, rotation=90, family="monospace")
    axis.set_yticks(range(len(ids)), labels, family="monospace")
    axis.set(xlabel="looked at (_ is a space)", title=f"block {place[0]}, head {place[1]}")
axes[0].set_ylabel("token that looks")
figure.colorbar(image, ax=axes, label="attention", shrink=0.8)
plt.show()

# %% [markdown] tags=["en"]
# The upper right is empty in both: no token sees a later one. Otherwise a model that has to guess the next token could
# look it up. The head on the left looks one token back, above all inside a word that was cut into pieces: find the dark
# squares in the rows of `f`, `t` and `ght`. The one on the right gathers a little from everywhere. Nobody assigned
# these tasks; they were learned. The two were not picked by eye: the cell above finds them by a rule.

# %% [markdown] tags=["en"]
# ## How did it learn?
#
# By making mistakes. The **loss** says how surprised the model is by a text: the mean of $-\ln$ of the probability that
# it gave to each token that really came next. A model that knows nothing gives each of the $V$ tokens the chance $1/V$,
# and its loss is $\ln V$. The *backward pass* then says for each of the millions of parameters in which direction it
# must move for the model to be less surprised: that is its *gradient*, a derivative. The *optimizer* then moves it, a
# little (2.5.8 and 2.5.9). Here are ten such steps on one line of the play:

# %%
line = tokenizer.encode("But soft, what light through yonder window breaks?")
x, y = np.array([line[:-1]]), np.array([line[1:]])  # each token, and the one that should follow
new = minigpt2.GPT2(model.config, seed=0)
print(f"ln V                      {np.log(model.config.vocab_size):.2f}")
print(f"a new model               {new.loss(x, y):.2f}")
print(f"the trained one           {model.loss(x, y):.2f}")

optimizer = minigpt2.AdamW(model.params, lr=1e-4)
for _ in range(10):
    loss, grads = model.loss_and_grads(x, y)
    optimizer.step(grads)
print(f"after ten steps on this   {model.loss(x, y):.2f}")

# %% [markdown] tags=["en"]
# You have now used everything: tokens, logits, attention, loss, gradients. The rest of the book takes them apart, one
# after the other, until there is no number in GPT-2 that you could not compute yourself. The map is notebook 2.5.
#
# ## Questions
#
# 1. What does the model take in, and what does it give out? Say the shapes. *Hint: the cell that prints `logits`.*
# 2. Why is the upper right of an attention map empty? What would go wrong in training if it were not?
#    *Hint: which token is each row asked to guess?*
# 3. Set `temperature` to 0.2 and to 2 in the first example. Predict what each text looks like, then run it.
#    *Hint: logits are divided by the temperature before the softmax.*
# 4. The last cell trained on one line. Predict what the model now writes after "But soft, what", and whether its loss
#    on other lines has changed. Try it. *Hint: `model.generate` as above; this is called overfitting, see notebook
#    2.2.*
