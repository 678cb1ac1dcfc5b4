# %% [markdown] tags=["en"]
# # 2.4 数据集 · Data sets
#
# A language model is made of what it reads. This notebook follows a text from the web page to the integers that a model
# is trained on, and asks at every step what can go wrong: pages that occur twice, languages that cost too much, words
# that occur once, and simply too little text.
#
# You need Python, NumPy and school calculus. The words of the trade:
#
# - A **corpus** is a collection of texts; each of these is a **document**.
# - A **token** is a piece of text with a number, its *id*. The list of all tokens is the **vocabulary**, and the rule
#   that cuts texts into tokens is the **tokenizer**.
# - A **parameter** is a number in the model that is learned from the corpus. A **gradient step** changes all of them a
#   little, so that the model predicts some piece of text better.
# - The **loss** says how badly a model predicts a text: the mean of $-\ln p$, where $p$ is the probability that it gave
#   to the token that really came next. Its unit is the *nat*. Lower is better.
# - Text that serves to judge a model and was not used to train it is called **held-out**.

# %%
import argparse
import hashlib
import inspect
import json
import statistics
import sys
import textwrap
import typing
from collections import Counter
from itertools import pairwise
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.components.optimizer import learning_rate
from minigpt2.data import random_windows, words
from minigpt2.data.cleaning import deduplicate, describe, ngram_hashes, overlap, word_hashes
from minigpt2.data.token_file import encode_documents
from minigpt2.evaluation import evaluate
from minigpt2.tokenizer import learn_merges

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# In this section the document says what GPT-2 was trained on, and then describes three steps of training. The data are
# known: the paper (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; "GPT-2 paper" below)
# calls them **WebText**. They were never released, but they are described. Side by side:
#
# | | the document | the GPT-2 paper |
# |---|---|---|
# | number of texts | several million | slightly over 8 million, from 45 million links (section 2.1) |
# | amount | over a billion words or characters | 40 GB of text (section 2.1) |
# | source | microblogs, news, papers, chats and others | pages linked to on Reddit, 3 karma or more (section 2.1) |
# | Wikipedia | contained | **removed**: many evaluation texts come from it (section 2.1) |
# | languages | dozens (section 1), six (section 3.2) | **English**; others were filtered out (section 3.7) |
# | the first model | BERT, 3.4 billion parameters | **none**: it began with random numbers (section 2.3) |
# | "fine-tuning" | makes more data from a corpus | not done; the word means gradient steps on other data (see 3.3) |
# | "zero-shot" | generates data after fine-tuning | a task done **without a gradient step** (sections 1 and 3) |
#
# ("Karma" counts how many people liked a post; it stands for a human's judgement that the page is worth reading.)
#
# The first two lines of the document hold, as far as they go. The others do not. Three of them can be checked here:
#
# **How many words are 40 GB?** It depends on the length of an English word. We measure it on a text that comes with
# every Python, the topics of its built-in help. (Another version of Python has a slightly different text, and all
# figures derived from it here differ slightly too.)

# %%
text = "\n".join(topics.values())
bytes_per_word = len(text.encode()) / len(words(text))
print(f"bytes per word, with spaces and punctuation: {bytes_per_word:.1f}")
print(f"so 40 GB are about {40 / bytes_per_word:.0f} billion words")

# %% [markdown] tags=["en"]
# In truth rather more, as help texts are full of indentation and examples, which have many bytes and few words. The
# document's "over a billion" is true and several times too small.
#
# **How large is BERT?** BERT (Devlin et al. 2019) is another model, made to fill gaps in a text. Its larger version has
# 24 layers, 1,024 channels and 16 heads (section 3 there), a vocabulary of 30,522 in the released file, 512 positions,
# and two vectors that say to which of two sentences a token belongs (notebook 2.5 explains these words). A layer has
# the same matrices as a block of GPT-2, so the library's list of shapes does most of the counting. BERT has no norm at
# the end, but one of the same size after the embeddings, and one more linear map, the *pooler*, from $C$ to $C$
# channels.


# %%
def count(shapes):
    """The number of parameters of these shapes."""
    return sum(int(np.prod(shape)) for shape in shapes.values())


def bert_parameters(n_layer, C, n_head):
    """The number of parameters of a BERT."""
    like_gpt2 = minigpt2.GPT2Config(vocab_size=30522, n_positions=512, n_embd=C, n_layer=n_layer, n_head=n_head)
    segments, pooler = 2 * C, C * C + C
    return count(like_gpt2.parameter_shapes()) + segments + pooler


print(f"BERT-base    {bert_parameters(12, 768, 12):>13,}   (the paper says 110 million)")
print(f"BERT-large   {bert_parameters(24, 1024, 16):>13,}   (the paper says 340 million)")
print(f"GPT-2, xl    {count(minigpt2.GPT2Config.preset('gpt2-xl').parameter_shapes()):>13,}")

# %% [markdown] tags=["en"]
# The document's figure is ten times too large. Chinese counts large numbers in units of 亿, a hundred million: the true
# number is 3.4 亿, and the document has 34 亿. It looks as if a decimal point had been lost.
#
# **What does zero-shot mean?** That the model does something for which it was never trained, and learns nothing while
# doing it. We take the built-in model, let it judge a text and write one, and compare a fingerprint of its parameters.
# A single step of fine-tuning changes the fingerprint.

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
shakespeare = minigpt2.Tokenizer.from_pretrained("shakespeare")


def fingerprint():
    """The first digits of a hash of all parameters."""
    digest = hashlib.sha256()
    for parameter in minigpt2.flatten(model.params).values():
        digest.update(parameter.tobytes())
    return digest.hexdigest()[:8]


before = fingerprint()
evaluate(model, shakespeare, "The king is dead. Long live the king!")
model.generate(shakespeare.encode("The king"), max_new_tokens=20, temperature=1.0, seed=0)
print("changed by zero-shot use:          ", fingerprint() != before)

ids = np.array([shakespeare.encode("The king is dead. Long live the king!")])
_, grads = model.loss_and_grads(ids[:, :-1], ids[:, 1:])
minigpt2.AdamW(model.params, lr=1e-4).step(grads)
print("changed by one step of fine-tuning:", fingerprint() != before)

# %% [markdown] tags=["en"]
# And **languages**: section 4 measures how a tokenizer that was made for English deals with others.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# **A corpus is not found, it is made.** Someone decides what to collect, what to throw away, how to cut it into pieces,
# and in which order the model sees them. Here is WebText's recipe in one picture; the shaded boxes are in this package:

# %%
BOXES = [
    ("links", "45 million, from\nReddit, 3 karma\nor more", False),
    ("text", "taken out of\nthe pages", False),
    ("cleaning", "duplicates and\nWikipedia go:\n8 million\ndocuments, 40 GB", True),
    ("tokens", "byte-level BPE,\n50,257 of them", True),
    ("windows", "1,024 ids at a\ntime, 512 windows\nfor each step", True),
]
figure, axes = plt.subplots(figsize=(7.8, 1.5))
axes.set(xlim=(-0.55, 4.55), ylim=(-1.15, 0.45))
axes.axis("off")
for i, (title, what, ours) in enumerate(BOXES):
    box = {"boxstyle": "round,pad=0.5", "fc": "0.9" if ours else "white", "ec": style.BLUE}
    axes.text(i, 0.1, f"{title:^10}", ha="center", va="center", bbox=box, zorder=3, family="monospace")
    axes.text(i, -0.28, what, ha="center", va="top", fontsize=8)
    if i:
        axes.annotate("", (i - 0.42, 0.1), (i - 0.58, 0.1), arrowprops={"arrowstyle": "->", "color": style.BLUE})
plt.show()

# %% [markdown] tags=["en"]
# (Radford et al. 2019, sections 2.1 to 2.3.) The step in the middle decides more than one would think: duplicates make
# a model learn some sentences by heart (section 5), and if the model has read a text that it will be judged on, the
# judgement is worthless.
#
# The step after it has two requirements that seem to contradict each other. Every text must have tokens, even one in a
# script that nobody thought of; and common words should be *one* token, so that a window of 1,024 tokens holds much
# text. **Byte-pair encoding on bytes** (section 2.2 of the paper) meets both. Every text is a sequence of bytes, and
# there are only 256 bytes: that is the first part of the vocabulary. The rest are sequences of bytes that are frequent
# *in the corpus the vocabulary was made from*. A word that is frequent elsewhere, but not in that corpus, falls apart
# into many small tokens.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# There is nothing to differentiate here; a data set has no backward pass. But there is something to count.
#
# **Making the vocabulary** (Sennrich, Haddow & Birch 2016, algorithm 1). Begin with the bytes of every word. Let
# $n(a, b)$ be how often symbol $b$ follows symbol $a$ within a word, over the whole corpus. Then repeat:
#
# $$(a, b)^{*} = \arg\max_{(a, b)} n(a, b), \qquad \text{replace every } a\,b \text{ by one new symbol } ab .$$
#
# The pairs in the order in which they were found are the **merges**; the place of a pair in that order is its *rank*.
# To encode a text later, no counting is needed: merge the pair of the lowest rank, again and again.
#
# **Loss per token and per character.** Let a text of $M$ characters have $N$ tokens. A model's loss is $S/N$, where $S$
# is the sum of $-\ln p$ over the tokens. Another vocabulary gives another $N$, and so another loss for an equally good
# model. $S$ itself is comparable: it is $-\ln$ of the probability of the whole text. So we shall divide it by a number
# that does not depend on the vocabulary,
#
# $$\text{loss per character} = \frac{S}{M} = \frac{N}{M}\cdot\frac{S}{N}.$$
#
# **Zipf's law** (Zipf 1949). Sort the words of a corpus by how often they occur. Let $f(r)$ be the number of times that
# the word in place $r$ occurs. Then, roughly,
#
# $$f(r) = \frac{c}{r^{s}}, \qquad s \approx 1 .$$
#
# Take logarithms on both sides: $\ln f = \ln c - s \ln r$. On logarithmic axes this is a straight line that falls with
# slope $-s$. With $u = \ln r$ and $w = \ln f$, the line with the least sum of squared errors has the slope
#
# $$-s = \frac{\sum_r (u_r - \bar u)(w_r - \bar w)}{\sum_r (u_r - \bar u)^2},$$
#
# where a bar denotes the mean. (Set the derivatives of $\sum_r (w_r - \alpha - \beta u_r)^2$ with respect to $\alpha$
# and $\beta$ to 0: the first gives $\alpha = \bar w - \beta\bar u$, and with that the second gives $\beta$.)
#
# **Near duplicates.** An **n-gram** is a run of $n$ words. With $G$ for the set of the n-grams of all documents that
# were kept so far, a document with the n-grams $g_1 \ldots g_m$ is removed as a near duplicate if
#
# $$\frac{\bigl|\{i : g_i \in G\}\bigr|}{m} > \tfrac12 .$$
#
# With training texts in the role of $G$ and an evaluation text in that of the document, the same fraction is the
# **overlap**. The GPT-2 paper measures it with $n = 8$ (section 4).

# %% [markdown] tags=["en"]
# ## 4. The code
#
# This is the library's own source, fetched while the notebook was built: how merges are learned, and how a batch is cut
# from the ids. The first keeps all words in one long chain and corrects counts only where something changed; the
# formula is in the lines `heapq.heappop` (the most frequent pair) and `yield pair`.

# %%
style.show_source(learn_merges, random_windows)

# %% [markdown] tags=["en"]
# ### By hand
#
# A corpus of four words. A space belongs to the word after it. Count the pairs with a pencil, then look:

# %%
corpus = "low low lower lowest"
pieces = ["low", " low", " lower", " lowest"]
print(Counter("".join(pair) for piece in pieces for pair in pairwise(piece)).most_common())

small = minigpt2.Tokenizer.train(corpus, vocab_size=256 + 4 + 1, progress=False)  # 4 merges, <|endoftext|>
for rank, (left, right) in enumerate(small.merges):
    print(f"rank {rank}: {left} + {right}")

# %% [markdown] tags=["en"]
# `l o` and `o w` occur four times each. On a tie, the pair with the lower ids comes first, and so `lo` is made; then
# `lo w`, four times; then the space (which is written `Ġ`, so that it can be seen) with `low`, three times; then ` low`
# with `e`, twice. After that no pair occurs twice. Now a word that was not in the corpus:

# %%
for piece in small.explain("lower slow"):
    print(piece)

# %% [markdown] tags=["en"]
# `low` is recognized inside `slow`, although that word was never seen. And no text needs to be refused: at worst a
# token is a byte. Here is the same with the built-in model's vocabulary, learned from Shakespeare, on a word and a
# Chinese character:

# %%
for piece in shakespeare.explain("But 海"):
    print(piece)

# %% [markdown] tags=["en"]
# The character 海 (sea) is three bytes in UTF-8, and none of its pairs was frequent in Shakespeare: three tokens for
# one character, while the word `But` is a single one.
#
# From ids to the model's training data it is only a small step. The token `<|endoftext|>` is put between two documents,
# then a random window is cut out, and the targets are the same window moved on by one:

# %%
stream = np.array(encode_documents(small, ["low lower", "lowest"]))
print("ids     ", stream)
x, y = random_windows(stream, B=1, T=4, rng=np.random.default_rng(1))
print("input   ", [small.decode([i]) for i in x[0]])
print("targets ", [small.decode([i]) for i in y[0]])

# %% [markdown] tags=["en"]
# ### The same sentence in eight languages
#
# The first six are English and the languages that the document claims for WebText. Take one sentence and the vocabulary
# that was learned from English: how many bytes is it, and how many tokens?

# %%
SENTENCES = {
    "English": "The child opened the window, looked at the sea and laughed.",
    "Spanish": "El niño abrió la ventana, miró el mar y se rió.",
    "German": "Das Kind öffnete das Fenster, sah auf das Meer und lachte.",
    "French": "L'enfant ouvrit la fenêtre, regarda la mer et rit.",
    "Russian": "Ребёнок открыл окно, посмотрел на море и засмеялся.",
    "Chinese": "孩子打开窗户，望着大海笑了。",
    "Arabic": "فتح الطفل النافذة ونظر إلى البحر وضحك.",
    "Hindi": "बच्चे ने खिड़की खोली, समुद्र की ओर देखा और हँस पड़ा।",
}
costs = {}
print("           characters  bytes  tokens  tokens per character")
for language, sentence in SENTENCES.items():
    characters, size, cost = len(sentence), len(sentence.encode()), len(shakespeare.encode(sentence))
    costs[language] = size, cost
    print(f"{language:10} {characters:10} {size:6} {cost:7}  {cost / characters:20.2f}")

figure, axes = plt.subplots(figsize=(6.6, 3.0))
places = np.arange(len(costs))
sizes, tokens = np.array(list(costs.values())).T
axes.barh(places - 0.2, sizes, height=0.38, color="0.82", label="bytes")
axes.barh(places + 0.2, tokens, height=0.38, color=style.BLUE, label="tokens")
axes.set_yticks(places, list(costs))
axes.invert_yaxis()
axes.grid(axis="y", visible=False)
axes.set(xlabel="number for the same sentence", title="A vocabulary made for English makes others pay")
axes.legend(loc="upper right")
plt.show()

# %% [markdown] tags=["en"]
# The further a language is from English, the closer its tokens come to its bytes. In the four scripts below French they
# are equal: the vocabulary does nothing at all. Every token takes one of the model's positions, one step of generation
# and one step of every computation. The same window then holds only a fraction of the text. GPT-2's own vocabulary of
# 50,257 tokens was made for English text as well; `minigpt2.Tokenizer.from_pretrained("gpt2")`, which downloads it, in
# place of `shakespeare` above shows what it costs. That GPT-2 could translate a little into and out of French although
# French pages had been filtered out surprised its authors; they found 10 MB of French left in the 40 GB (section 3.7).

# %% [markdown] tags=["en"]
# ## 5. What is in a corpus?
#
# There is no reference to compare a data set with. But one can look. We take the topics of Python's help as documents,
# and as a second corpus the source code of some modules of the standard library. `describe` counts:

# %%
vocabulary = minigpt2.Tokenizer.train(topics.values(), vocab_size=1024, progress=False)
CORPORA = {
    "help topics": list(topics.values()),
    "source code": [inspect.getsource(module) for module in (argparse, json, statistics, textwrap, typing)],
}
print("corpus        MB   documents  bytes/token  exact  near duplicates")
for name, documents in CORPORA.items():
    report = describe(name, documents, vocabulary)
    print(
        f"{name:12} {report.bytes / 1e6:.2f} {report.documents:9} {report.bytes_per_token:12.2f}"
        f" {report.exact_duplicates:7} {report.near_duplicates:5}"
    )

# %% [markdown] tags=["en"]
# *Bytes per token* says how well a vocabulary fits a text. This one was learned from the topics, and source code costs
# it more tokens.
#
# And there are duplicates, in a text where one would not expect any. Which topics are they, and where do their 8-grams
# come from?

# %%
kept, removed = deduplicate(topics.values())
topic_names = list(topics)
runs = {name: ngram_hashes(word_hashes(document), 8).tolist() for name, document in topics.items()}
grams = {name: set(hashes) for name, hashes in runs.items()}
seen, share_seen = set(), {}
for name in topic_names:
    share_seen[name] = sum(g in seen for g in runs[name]) / max(len(runs[name]), 1)
    if share_seen[name] <= 0.5:  # kept
        seen |= grams[name]
print(f"{len(kept)} of {len(topic_names)} topics are kept\n")
print("exact:", *(topic_names[i] for i in removed.exact))
print("near:")
for i in removed.near:
    name = topic_names[i]
    inside = max((n for n in topic_names if n != name), key=lambda n: len(grams[n] & grams[name]))
    share = len(grams[inside] & grams[name]) / len(grams[name])
    print(f"  {name:18} {share_seen[name]:4.0%} seen before, {share:.0%} of it is in {inside}")

# %%
ordered = sorted(share_seen.values(), reverse=True)
figure, axes = plt.subplots(figsize=(6.4, 2.6))
axes.bar(range(1, len(ordered) + 1), ordered, color=style.BLUE, width=0.8)
axes.axhline(0.5, color=style.ORANGE, ls="--")
axes.text(len(ordered), 0.52, "above: removed", color=style.ORANGE, ha="right", va="bottom")
axes.grid(axis="x", visible=False)
axes.set(xlabel="topics, sorted", ylabel="share of 8-grams seen before", title="Most topics are new, some are copies")
plt.show()

# %% [markdown] tags=["en"]
# Python's help shows the same section of its manual under several names, alone and as a part of a chapter.
# (`specialnames` is such a chapter: its sections are also topics by themselves.) Most topics are either new or copies;
# the threshold hardly matters. The web is the same, only more so: mirrors, quotations, notices at the foot of every
# page. (Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better", found a single sentence of 61
# words more than 60,000 times in a corpus in wide use.)
#
# ### Zipf's law
#
# How often does the word in place $r$ occur? And what does the tokenizer make of it? We count words, and tokens of two
# vocabularies, in the topics that were kept. The slope is fitted to places 10 to 200.

# %%
counts = {"words": Counter(word for document in kept for word in words(document))}
for size in (2048, 512):
    tokenizer = minigpt2.Tokenizer.train(kept, vocab_size=size, progress=False)
    counts[f"{size:,} tokens"] = Counter(encode_documents(tokenizer, kept))

figure, (left, right) = plt.subplots(1, 2, figsize=(7.8, 3.3))
for name, counter in counts.items():
    f = np.array(sorted(counter.values(), reverse=True))
    r = np.arange(1, len(f) + 1)
    left.loglog(r, f, label=name)
    u, w = np.log(r[9:200]), np.log(f[9:200])
    s = -((u - u.mean()) @ (w - w.mean())) / ((u - u.mean()) @ (u - u.mean()))
    once, top = float((f == 1).mean()), f[:100].sum() / f.sum()
    print(f"{name:13} s = {s:.2f}   the first 100 make up {top:.0%} of the text; {once:.0%} occur once")
left.loglog([1, 3000], [6000, 2], color="0.7", lw=1, ls="-", label="slope $-1$")
left.set(xlabel="place r", ylabel="occurrences f(r)", title="Zipf's law", ylim=(0.7, None))
left.legend(fontsize=8, loc="lower left")

train_text, other_text = kept[0::2], kept[1::2]
vocabulary_sizes, fits = (257, 512, 1024, 2048), {"learned from": [], "not seen": []}
for size in vocabulary_sizes:
    tokenizer = minigpt2.Tokenizer.train(train_text, vocab_size=size, progress=False)
    for name, documents in zip(fits, (train_text, other_text), strict=True):
        fits[name].append(describe(name, documents, tokenizer).bytes_per_token)
for (name, values), marker in zip(fits.items(), "os", strict=True):
    right.plot(vocabulary_sizes, values, marker=marker, label=f"topics {name}")
    print(f"bytes per token, topics {name:13}", *(f"{v:4.1f}" for v in values))
right.set_xscale("log", base=2)
right.set_xticks(vocabulary_sizes, [f"{v:,}" for v in vocabulary_sizes])
right.minorticks_off()
right.set(xlabel="vocabulary", ylabel="bytes per token", title="Longer tokens, with less and less gain", ylim=(0, None))
right.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown] tags=["en"]
# **Words** keep to the line over two orders of magnitude, a little flatter than $s = 1$. So a hundred words make up
# half of the text, and a third of all different words occur only once. A vocabulary of whole words would be full of
# entries about which a model can learn next to nothing: to pull a token's vector (its row of the *embedding*, 2.5.1) in
# the direction that makes it likely, the token has to occur.
#
# **Tokens** have hardly any such tail. A word that is rare falls apart into pieces that are not, so that nearly every
# entry is met often enough to be learned. The smaller the vocabulary, the further to the left the line drops. The
# entries at the drop are rare bytes, and tokens that were a step on the way to a longer one.
#
# The right picture shows what a larger vocabulary buys. The merges that come first are the most frequent ones, so each
# doubling gains less in proportion than the one before. And the two lines part: a large vocabulary also learns the
# peculiarities of its corpus. In the model it costs a row of $C$ parameters per token. GPT-2 settled for 50,257.

# %% [markdown] tags=["en"]
# ## 6. How much is enough?
#
# The last question is the one that GPT-2 was an answer to. We train the same small model, with the same number of
# steps, on more and more of the topics, and look at three losses: on samples of its training text, on held-out topics
# at the end, and on the held-out topics at the best moment of the training. The vocabulary is the same for all.

# %%
rng = np.random.default_rng(0)
documents = [kept[i] for i in rng.permutation(len(kept))]
held_out, training = [], []
for document in documents:
    fits_in = sum(map(len, held_out)) + len(document) < 15_000
    (held_out if fits_in else training).append(document)
training_text = "\n".join(training)
print(f"8-grams of the held-out topics that are also in the others: {overlap(training, held_out):.1%}")

tokenizer = minigpt2.Tokenizer.train(training, vocab_size=512, progress=False)
steps, B, T = 320, 8, 64
config = minigpt2.GPT2Config(vocab_size=512, n_positions=T, n_embd=48, n_layer=1, n_head=4, initializer_range=0.1)


def train(text, lr=6e-3):
    """A model trained on a text, and its losses per character on the held-out topics, four times on the way."""
    model, losses = minigpt2.GPT2(config, seed=0), []
    optimizer = minigpt2.AdamW(model.params, betas=(0.9, 0.99), weight_decay=0.1)
    ids, rng = np.array(tokenizer.encode(text)), np.random.default_rng(0)
    for step in range(steps):
        _, grads = model.loss_and_grads(*random_windows(ids, B, T, rng))
        optimizer.lr = learning_rate(step, lr, lr / 10, warmup_steps=20, decay_steps=steps)
        optimizer.step(grads, max_norm=1.0)
        if step + 1 in (steps // 8, steps // 4, steps // 2, steps):
            losses.append(evaluate(model, tokenizer, held_out).loss_per_character)
    return model, losses


data_sizes = (4_000, 16_000, 64_000, len(training_text) // 1000 * 1000)
curves = {"trained on": [], "held-out, at the end": [], "held-out, at its best": []}
for size in data_sizes:
    student, losses = train(training_text[:size])
    samples = [training_text[start : start + 1000] for start in range(0, size, max(1000, size // 12))]
    seen_loss = evaluate(student, tokenizer, samples).loss_per_character
    for curve, loss in zip(curves.values(), (seen_loss, losses[-1], min(losses)), strict=True):
        curve.append(loss)

passes = [steps * B * T / len(tokenizer.encode(training_text[:size])) for size in data_sizes]
print("\ncharacters             ", *(f"{size / 1000:6.0f}k" for size in data_sizes))
print("times each is read     ", *(f"{n:7.1f}" for n in passes))
for name, curve in curves.items():
    print(f"{name:23}", *(f"{loss:7.1f}" for loss in curve))

figure, axes = plt.subplots(figsize=(6.4, 3.2))
for (name, curve), marker in zip(curves.items(), "os^", strict=True):
    axes.plot(data_sizes, curve, marker=marker, label=name)
axes.set_xscale("log")
axes.set_xticks(data_sizes, [f"{size // 1000}k" for size in data_sizes])
axes.minorticks_off()
axes.set(xlabel="characters to train on", ylabel="loss (nats per character)", ylim=(0, None))
axes.set_title("With little data a model learns it by heart")
axes.legend(fontsize=8)
plt.show()

# %% [markdown] tags=["en"]
# Read it from left to right.
#
# - With **little data** the model reads the same few pages over and over and ends up knowing them by heart: its loss on
#   them goes towards 0, and on held-out topics it ends up worse than at its best moment: *overfitting* (2.2). It helps
#   to stop early, and it helps even more to have more text.
# - With **more data** the two losses meet. Where the text is read about once, hardly anything is learned by heart, and
#   the model does as well on other text as on the text it was trained on.
# - Between the last two sizes there is more than five times as much text, and the held-out loss gains little from it.
#   Data are no longer scarce: a larger model and longer training remain to be tried.
#
# That is the situation of GPT-2: even its largest size still *underfitted* WebText, as the paper puts it (section 3),
# and would have gone on getting better with more training. How loss falls with data, parameters and steps together was
# then measured over many orders of magnitude (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", equations
# 1.1 to 1.3; Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models"). Ours is one seed, one small model
# and four sizes: enough to see the shape, not enough to fit a law.
#
# ### What if the exam leaks?
#
# Duplicates are not only a waste. We train two models on the same amount of text: one reads clean text, the other a
# text that contains the held-out topics. Both are then judged on those, and on a third text that neither has read.

# %%
half = "\n".join(training)[:16_000]
leaked = "\n".join(held_out) + "\n" + half
clean = training_text[: len(leaked)]
third = training_text[150_000:170_000]
print("loss per character     on the held-out topics   on a third text")
for name, text in (("clean", clean), ("leaked", leaked)):
    student, losses = train(text)
    print(f"trained on {name:12} {losses[-1]:12.1f} {evaluate(student, tokenizer, third).loss_per_character:20.1f}")

# %% [markdown] tags=["en"]
# By the held-out topics, the second model looks better. It is not: on a third text it has no advantage at all, and the
# first column alone would not have told us. This is why Wikipedia was removed from WebText, and why the GPT-2 paper
# reports the overlap of WebText with the texts that language models are usually judged by (section 4 and table 6: 1 to
# 6 % of the 8-grams, 3.2 % on average). `minigpt2 data --against` does it for your own texts.
#
# ## Questions
#
# 1. Which lines of the table in section 1 can be computed or tried, and for which does one have to read the paper?
#    *Hint: which of them does a cell of this notebook say something about?*
# 2. Learn five merges by hand from `"ten net tent tent net ten"`. Check yourself with `Tokenizer.train`. *Hint: a space
#    belongs to the word after it, and among equally frequent pairs the one with the lower ids wins.*
# 3. The Hindi sentence has about as many characters as the Russian one and many more tokens. Why?
#    *Hint: compare `len("ह".encode())` with `len("ж".encode())`.*
# 4. Learn a vocabulary from the eight sentences, repeated ten times, and draw the second picture again. Which language
#    gained most? Is that fair? *Hint: what was it learned from, and what is it judged on?*
# 5. Set `threshold` to 0.3 in `deduplicate`. Predict from the third picture how many topics go, then run it. When would
#    you want it low? *Hint: what is lost when a document is removed wrongly?*
