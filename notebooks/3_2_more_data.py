# %% [markdown] tags=["en"]
# # 3.2 使用语言模型为GPT-2模型提供更多训练数据 · More training data
#
# A language model is made of what it has read. So what should it read, how much of each text, and how does one keep the
# reading list clean? After this notebook you can mix texts with weights and explain the weights, share one vocabulary
# between languages, find texts that occur twice, and measure whether a test was part of the lesson.
#
# You need Python and NumPy. The words:
#
# - A **corpus** is a collection of texts, its **documents**. A **token** is a piece of text with a number; a
#   **tokenizer** cuts text into tokens of its **vocabulary**.
# - A model is trained on **windows**, runs of $T$ tokens, of which a **batch** has $B$. Its **loss** is how surprised
#   it is by the next token, $-\ln p$, averaged. Here we give it in **bits per character**: the sum of $-\log_2 p$ over
#   all tokens, divided by the characters of the text, so that tokens of any length can be compared. The **gradient** of
#   the loss tells how to change the model's parameters; $dz$ is short for $\partial\,\mathrm{loss}/\partial z$
#   (notebook 2.0).
#
# **Exercise:** none of its own; the nearest is [1, the tokenizer](../exercises/student/01_tokenizer.ipynb).

# %%
import contextlib
import dataclasses
import difflib
import inspect
import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.optimizer import learning_rate
from minigpt2.data.cleaning import deduplicate, mark_duplicates, overlap
from minigpt2.data.mixture import Mixture, Source
from minigpt2.data.token_file import encode_documents, open_tokens, vocabulary_hash, write_tokens
from minigpt2.evaluation import total_nats
from minigpt2.reference import relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document: “GPT-2模型的训练数据既包括Bert的训练数据，又包括Gpt-2的训练数据”, GPT-2 learned from BERT's training
# data and from its own. Its own is from “开源的WebText数据集”, the open-source data set WebText, web pages
# “包含英文、西班牙文、德文、法文、俄文和中文等语言”, in English, Spanish, German, French, Russian, Chinese and other
# languages, which “覆盖了各种领域”, cover all kinds of fields.
#
# - **Many fields is right.** The makers published the thousand web sites of which WebText has most pages, with counts
#   (`domains.txt` in the repository `openai/gpt-2`): GitHub (414,695), the New York Times (333,160), the film
#   database IMDb (183,080), the National Institutes of Health (139,965), sports at ESPN (72,525), *Nature*
#   (27,349). (The counts add up to 21.8 million pages, and WebText has 8 million documents: they seem to be from before
#   the cleaning.)
# - **WebText is English.** Pages in other languages were removed on purpose. A language detector found 10 megabytes of
#   French in it afterwards (Radford et al. 2019, section 3.7), of 40 gigabytes in all (section 2.1).
# - **The training set was never released.** What one can download is a sample of 250,000 documents of WebText that were
#   kept for testing (repository `openai/gpt-2-output-dataset`). Others rebuilt the training set from its description, 8
#   million pages to which people had linked.
# - **It does not contain BERT's data.** BERT read books and Wikipedia (Devlin et al. 2019, section 3.1). Wikipedia was
#   taken *out* of WebText, because many tests are made from it (Radford et al. 2019, section 2.1).
#
# The last point is a first hint that the quality of data does not depend only on their quantity. The effect of an
# English vocabulary on other languages can be seen at once. Here is the same small story in the six languages of the
# document, in two parts, the first for learning and the second for judging. Two vocabularies cut it: that of the
# built-in model, 1,024 tokens learned from English plays, and GPT-2's own, 50,257 tokens learned from WebText.

# %%
STORY = {
    "English": (
        "In the morning the children go to school. They learn to read and to write, and they learn that the earth is "
        "round and that the sun is far away. In the evening they come home and tell their parents what they have "
        "learned. The parents are glad, because they did not know everything themselves.",
        "In winter the river is frozen, and the children walk across it to the other side. They read books about the "
        "sun and the sea, and write letters to their friends. When they come home in the evening, it is already dark, "
        "and the parents have made soup.",
    ),
    "Spanish": (
        "Por la mañana los niños van a la escuela. Aprenden a leer y a escribir, y aprenden que la tierra es redonda y "
        "que el sol está lejos. Por la tarde vuelven a casa y cuentan a sus padres lo que han aprendido. Los padres se "
        "alegran, porque ellos mismos no lo sabían todo.",
        "En invierno el río está helado, y los niños lo cruzan a pie hasta el otro lado. Leen libros sobre el sol y el "
        "mar, y escriben cartas a sus amigos. Cuando vuelven a casa por la tarde, ya es de noche, y los padres han "
        "hecho sopa.",
    ),
    "German": (
        "Am Morgen gehen die Kinder zur Schule. Sie lernen lesen und schreiben, und sie lernen, dass die Erde rund ist "
        "und dass die Sonne weit weg ist. Am Abend kommen sie nach Hause und erzählen ihren Eltern, was sie gelernt "
        "haben. Die Eltern freuen sich, weil sie selbst nicht alles wussten.",
        "Im Winter ist der Fluss gefroren, und die Kinder gehen über ihn auf die andere Seite. Sie lesen Bücher über "
        "die Sonne und das Meer und schreiben ihren Freunden Briefe. Wenn sie am Abend nach Hause kommen, ist es schon "
        "dunkel, und die Eltern haben Suppe gekocht.",
    ),
    "French": (
        "Le matin, les enfants vont à l'école. Ils apprennent à lire et à écrire, et ils apprennent que la terre est "
        "ronde et que le soleil est loin. Le soir, ils rentrent à la maison et racontent à leurs parents ce qu'ils ont "
        "appris. Les parents sont contents, parce qu'eux-mêmes ne savaient pas tout.",
        "En hiver, la rivière est gelée, et les enfants la traversent à pied jusqu'à l'autre rive. Ils lisent des "
        "livres sur le soleil et la mer, et écrivent des lettres à leurs amis. Quand ils rentrent à la maison le soir, "
        "il fait déjà nuit, et les parents ont préparé la soupe.",
    ),
    "Russian": (
        "Утром дети идут в школу. Они учатся читать и писать, и они узнают, что земля круглая и что солнце далеко. "
        "Вечером они приходят домой и рассказывают родителям, что они узнали. Родители рады, потому что сами они знали "
        "не всё.",
        "Зимой река замерзает, и дети переходят по льду на другую сторону. Они читают книги о солнце и о море и пишут "
        "письма друзьям. Когда они вечером приходят домой, уже темно, и родители сварили суп.",
    ),
    "Chinese": (
        "早上孩子们去学校。他们学习读书和写字，也学到地球是圆的，太阳离我们很远。"
        "晚上他们回到家，告诉父母他们学到了什么。父母很高兴，因为他们自己也不是什么都知道。",
        "冬天河水结冰，孩子们走过冰面到河的另一边。他们读关于太阳和大海的书，给朋友们写信。"
        "晚上他们回到家的时候，天已经黑了，父母已经做好了汤。",
    ),
}
english = minigpt2.Tokenizer.from_pretrained("shakespeare")
released = style.released_tokenizer()
print(f"{'':11}             built-in          GPT-2")
print(f"{'':11} {'characters':>10} {'bytes':>6} {'tokens':>7} {'tokens':>7} {'tokens per character':>21}")
for language, (_, text) in STORY.items():
    ours, theirs = (len(vocabulary.encode(text)) for vocabulary in (english, released))
    print(f"{language:11} {len(text):10} {len(text.encode()):6} {ours:7} {theirs:7} {theirs / len(text):21.2f}")

pieces = [released.decode([i]) for i in range(len(released))]
scripts = {"Cyrillic letters": ("а", "я"), "Chinese characters": ("一", "龥")}
for name, (first, last) in scripts.items():
    found = [sum(first <= character <= last for character in piece) for piece in pieces]
    print(f"tokens of GPT-2 with {name}: {np.count_nonzero(found)}; most in one token: {max(found)}")

# %% [markdown] tags=["en"]
# Nothing is lost: the tokenizer starts from bytes, and bytes spell everything (notebook 2.4). But an English vocabulary
# has few pieces for other languages. The small one falls back to single bytes for Russian and Chinese, two or three for
# one character. GPT-2's own is fifty times as large and does better, and the order is the same: English needs a token
# for four or five characters, Spanish, German and French half as many again to nearly twice as many tokens for the same
# story, Russian one token for each letter. Chinese needs two tokens for *one* character. The last two lines of the
# output give the reason: of 50,257 pieces, a few dozen hold a letter of the one script or a character of the other. The
# same story costs more tokens, and so more time and more of the model's limited view.

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# Three steps lie between a heap of texts and a training run, and the picture shows where.
#
# 1. **Clean.** A text that occurs twice is learned twice, at the cost of something else; and a text that occurs in the
#    test *and* in the lesson makes the test worthless. So copies are removed, and the overlap with test texts is
#    measured.
# 2. **Encode.** All corpora get *one* vocabulary, since there is one model. Between two documents there is a special
#    token, `<|endoftext|>`, so that the model can know that the text after it has nothing to do with the text before
#    it.
# 3. **Mix.** Each corpus supplies a share of the windows, its *weight*. Without weights a corpus counts by its size,
#    and a small one is drowned.

# %%
figure, axes = plt.subplots(figsize=(8.4, 2.7))
axes.set(xlim=(0, 20), ylim=(0, 6))
axes.axis("off")


def box(x, y, width, height, words, edge="0.4", face="white"):
    """A box around a point."""
    axes.add_patch(plt.Rectangle((x - width / 2, y - height / 2), width, height, ec=edge, fc=face, lw=1.3))
    axes.text(x, y, words, ha="center", va="center")


def arrow(start, end, colour):
    """An arrow from box to box."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0})


lines, words = (style.BLUE, style.ORANGE, style.GREEN), (style.BLUE, style.ORANGE_TEXT, style.GREEN_TEXT)
box(10.2, 3, 3, 5.6, "encode:\none\nvocabulary", face="0.95")
box(18.2, 3, 3.2, 3.4, "a batch of\n$B$ windows", face="#dbe6f3")
for name, y, weight, line, word in zip(("plays", "manuals", "verse"), (5, 3, 1), (0.6, 0.3, 0.1), lines, words,
                                       strict=True):  # fmt: skip
    box(1.6, y, 2.6, 1.2, name, line)
    box(6, y, 2.6, 1.2, "clean", line, "0.95")
    for start, end in ((2.9, 4.7), (7.3, 8.7)):
        arrow((start, y), (end, y), line)
    arrow((11.7, y), (16.6, 3 + 0.5 * (y - 3)), line)
    axes.text(13.3, 3 + 0.84 * (y - 3) + 0.4, f"weight {weight}", ha="center", va="center", color=word, weight="bold")
plt.show()

# %% [markdown] tags=["en", "alt"]
# A flow chart from left to right: plays, manuals and verse are cleaned each for itself, then pass through one common
# box, encode with one vocabulary, and flow with the weights 0.6, 0.3 and 0.1 into a batch of B windows.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### The meaning of the weights
#
# | symbol | meaning |
# |---|---|
# | $k = 1 \ldots K$ | counts the corpora |
# | $w_k$ | weight of corpus $k$; all are 0 or more, and they add up to 1 |
# | $N_k$ | tokens in it |
# | $\mathrm{loss}_k$ | the model's mean loss on windows of corpus $k$ |
# | $n_k$ | windows of corpus $k$ in a batch of $B$; random, $\sum_k n_k = B$ |
#
# For each window one first draws the corpus, $k$ with probability $w_k$, and then a place in it. The resulting numbers
# $n_k$ have a *multinomial* distribution. On average $n_k = w_k B$, and so the mean loss of a batch,
#
# $$\mathrm{loss} = \frac1B\sum_k n_k\,\mathrm{loss}_k, \qquad\text{is on average}\qquad \sum_k w_k\,\mathrm{loss}_k .$$
#
# The parameters $\theta$ are used once for each corpus, so what comes back from the corpora is added up (rule R6 of
# notebook 2.0), on average
#
# $$d\theta = \sum_k w_k\,d\theta_k, \qquad d\theta_k = \frac{\partial\,\mathrm{loss}_k}{\partial\theta}.$$
#
# So **the weights are the prices of the losses**: training takes each corpus as seriously as its weight says. If two
# corpora pull a parameter in opposite directions, the weights decide; if they pull the same way, they help each other.
#
# A second number goes with each weight: how often a token is seen. In $S$ steps, corpus $k$ gives $w_k\,S\,B\,T$
# tokens,
#
# $$\mathrm{epochs}_k = \frac{w_k\,S\,B\,T}{N_k}.$$
#
# A small corpus with a large weight is read again and again. Section 6 shows the consequences.
#
# ### Copies and overlap
#
# A document is turned into lower-cased words $v_1 \ldots v_m$. Its **8-grams** are the runs of eight words
# $g_i = (v_i, \ldots, v_{i+7})$; there are $N = m-7$ of them. Eight words in a row rarely agree by chance. With $G$ for
# the set of all 8-grams of a training corpus, the overlap of a test text with it is the share of the text's 8-grams
# that can be found there,
#
# $$\mathrm{overlap} = \frac{|\{i : g_i\in G\}|}{N} \qquad\text{(Radford et al. 2019, section 4).}$$
#
# The same number reveals near copies among the documents of one corpus: one by one they are compared with all that were
# kept before, and thrown out if more than half of their 8-grams are known. (GPT-2's makers do not say how they found
# copies; this rule is ours.)

# %% [markdown] tags=["en"]
# ## 4. The code
#
# This is the library's own source. A `Mixture` splits each corpus into a part for training and a part for judging, and
# draws batches.

# %%
style.show_source(Mixture, encode_documents, mark_duplicates, overlap)

# %% [markdown] tags=["en"]
# ### By hand: weights
#
# Take one parameter, $\theta = 1$, and two corpora that want different things of it: for plays 2 would be best, for
# manuals $-1$. Let the losses be $(\theta-2)^2$ and $(\theta+1)^2$, with the weights 0.75 and 0.25.

# %%
theta = np.array(1.0)
goals, weights = {"plays": 2.0, "manuals": -1.0}, {"plays": 0.75, "manuals": 0.25}
nodes = {"$\\theta$": (0, 1), "•": (1, 1), "+": (4, 1), "loss": (5, 1)}
edges = [("$\\theta$", "•", theta, sum(weights[k] * 2 * (theta - goals[k]) for k in goals))]
for row, k in ((0, "plays"), (2, "manuals")):
    loss, dtheta = (theta - goals[k]) ** 2, weights[k] * 2 * (theta - goals[k])
    nodes |= {k: (2, row), f"× {weights[k]}": (3, row)}
    edges += [("•", k, theta, dtheta), (k, f"× {weights[k]}", loss, weights[k]), (f"× {weights[k]}", "+",
              weights[k] * loss, 1)]  # fmt: skip
graphs.draw(nodes, [*edges, ("+", "loss", sum(weights[k] * (theta - goals[k]) ** 2 for k in goals), 1)])
plt.show()

# %% [markdown] tags=["en", "alt"]
# A graph: theta = 1 goes into the losses of plays, 1, and of manuals, 4, which are multiplied by 0.75 and 0.25 and
# added to 1.75. Backward, the gradient 1 becomes 0.75 and 0.25 before the losses, then -1.5 and 1, and their sum at
# theta is -0.5.

# %% [markdown] tags=["en"]
# The loss of manuals is four times as large, and manuals pull twice as hard for their part: $2(\theta+1) = 4$ against
# $2(\theta-2) = -2$. The weights turn that into $0.25\cdot4 = 1$ against $0.75\cdot(-2) = -1.5$. The sum is negative,
# so a step against it makes $\theta$ larger: plays win, since their price is higher.
#
# ### By hand: copies
#
# Five sentences, runs of three words, and a threshold of one half.

# %%
documents = [
    "The cat sat on the mat.",
    "The cat sat on the sofa.",
    "A dog sat on the mat.",
    "The cat sat on the mat.",
    "Good night.",
]
for document, kind in mark_duplicates(documents, n=3, threshold=0.5):
    print(f"{document:28} {kind or 'kept'}")
print("overlap of the third with the first:", overlap(documents[:1], documents[2:3], n=3))

# %% [markdown] tags=["en"]
# The first has the runs *the cat sat*, *cat sat on*, *sat on the*, *on the mat*. The second shares three of its four,
# more than half. The third shares two of four, *sat on the* and *on the mat*; that is not more than half. The fourth is
# an exact copy. The last has fewer than three words and therefore no run at all: it can only be an exact copy of
# something.
#
# ### By hand: documents and windows

# %%
ids = encode_documents(english, ["Good night.", "Good morning."])
print(ids)
print("|".join(english.decode([i]) for i in ids))

names = {"plays": 0.7, "manuals": 0.3}
sources = [Source(name, weight, [f"{name} " * 200]) for name, weight in names.items()]
mixture = Mixture(sources, english, block_size=8)
rng, counts = np.random.default_rng(0), []
for _ in range(1000):
    ids, targets = mixture.windows(10, 8, rng)
    counts.append(sum("pl" in english.decode(row) for row in ids))
print("plays among 10 windows:", *counts[:12], "...")
print(f"mean of a thousand batches: {np.mean(counts):.1f}")

# %% [markdown] tags=["en"]
# The number changes from batch to batch and is right on average.
#
# ### On the disk
#
# A real corpus does not fit into memory. It is encoded once and written to a file, two bytes for each token; later the
# computer reads only the places that are needed. Such a file is worthless with another vocabulary, and worse: no error
# would occur, the model would just read nonsense. So the file contains a fingerprint of the vocabulary.

# %%
other = minigpt2.Tokenizer.train(list(topics.values())[:20], 512, progress=False)
with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    file = write_tokens("story.tokens", english, [[text for pair in STORY.values() for text in pair]])
    print(f"{file.documents} documents, {file.bytes:,} bytes of text, {len(file.ids):,} tokens")
    print(f"size of the file: {Path('story.tokens').stat().st_size:,} = 128 + 2 * {len(file.ids):,}")
    for name, tokenizer in {"english": english, "other": other}.items():
        print(f"vocabulary {name:8} {vocabulary_hash(tokenizer)[:8]}...")
    try:
        open_tokens("story.tokens", other)
    except ValueError as error:
        print("ValueError:", error)
    del file  # lets go of the file before the folder is removed

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Does a mixed batch give the mixed gradient?** We compare three windows of one kind and one of another, in one batch,
# with the two kinds separately at the weights 3/4 and 1/4, in 64-bit floating point:

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")
tokens = np.array([english.encode(STORY[language][0])[:33] for language in ("English", "German", "French", "Russian")])
x, y = tokens[:, :-1], tokens[:, 1:]
_, mixed = model.loss_and_grads(x, y)
_, three = model.loss_and_grads(x[:3], y[:3])
_, one = model.loss_and_grads(x[3:], y[3:])
mixed, three, one = map(minigpt2.flatten, (mixed, three, one))
sum_of_both = {name: 0.75 * three[name] + 0.25 * one[name] for name in mixed}
style.show_agreement("gradients of every parameter", relative_error(sum_of_both, mixed)[0])

# %% [markdown] tags=["en"]
# **Does cleaning find anything in the wild?** The help texts of Python, `pydoc_data.topics`, come with every Python.
# They were written by people who surely did not mean to repeat themselves.

# %%
manuals = list(topics.values())
kept, removed = deduplicate(manuals)
print(f"{len(manuals)} documents")
print("exact copies:", ", ".join(list(topics)[i] for i in removed.exact) or "none")
print("near copies: ", ", ".join(list(topics)[i] for i in removed.near) or "none")

rows = {"as it is": manuals, "without copies": kept}
for name, corpus in rows.items():
    cut = len(corpus) * 4 // 5
    print(f"{name:15} overlap of the last fifth with the rest: {overlap(corpus[:cut], corpus[cut:]):4.0%}")

# %% [markdown] tags=["en"]
# Twelve help texts are copies of others, whole or in part: *else* says the same as *if*, because it is the same section
# of the manual. If you keep the last fifth as a test, without looking, you test on sentences that the model has read.
# For comparison: of the test texts in the GPT-2 paper, 3.2 % of the 8-grams were in WebText on average, and 5.9 % in
# those texts' *own* training parts (Radford et al. 2019, section 4, table 6). Notebook 2.4 counts what such copies do
# to a loss; from here on, and in the experiments of 3.3, the manuals are read without them.

# %% [markdown] tags=["en"]
# ## 6. Experiments
#
# ### One vocabulary for six languages
#
# We train two vocabularies of 448 tokens: one on the English help texts, one on the first parts of the story in all six
# languages. Then both cut the second parts.

# %%
vocabularies = {
    "learned from English": minigpt2.Tokenizer.train("\n".join(kept)[:200_000], 448, progress=False),
    "learned from all six": minigpt2.Tokenizer.train([first for first, _ in STORY.values()], 448, progress=False),
}
needed = {name: [len(tokenizer.encode(text)) for _, text in STORY.values()] for name, tokenizer in vocabularies.items()}
another = "\n".join(kept)[200_000:210_000]  # a help text that neither has seen
stories = [first for language, (first, _) in STORY.items() if language != "English"]
control = minigpt2.Tokenizer.train([kept[0][:300], *stories], 448, progress=False)  # a help text instead of the story
print("characters of another English text per token")
for name, tokenizer in (vocabularies | {"a help text and five stories": control}).items():
    print(f"  {name:28} {len(another) / len(tokenizer.encode(another)):.1f}")

figure, axes = plt.subplots(figsize=(7, 3))
for shift, (name, numbers), colour, hatch in zip(
    (-0.2, 0.2), needed.items(), (style.BLUE, "#f6dcc3"), (None, "///"), strict=True
):
    bars = axes.bar(np.arange(6) + shift, numbers, 0.4, label=name, color=colour, hatch=hatch, ec="white")
    axes.bar_label(bars, fontsize=8, color="0.3")
axes.set_xticks(range(6), STORY)
axes.set(ylabel="tokens", title="Vocabularies of 448 tokens")
axes.grid(axis="x", visible=False)
axes.legend(loc="upper left")
axes.margins(y=0.2)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Bars in pairs, the number of tokens of the story in six languages with two vocabularies. The one learned from all six
# needs as many in English and fewer in the five others; the difference is largest in Russian.

# %% [markdown] tags=["en"]
# The five other languages gain, Russian most: its letters are two bytes each, and the first thing to learn is to take
# them together. But the room in a vocabulary is shared, and English pays. It does not pay in this story, whose first
# part the second vocabulary knows, but in another English text, as the printed numbers show. (That text is a help text,
# like the text that the first vocabulary was learned from. This is not the reason: with a help text in the place of the
# English story, the third vocabulary does no better. But all these texts are tiny. The effect is real; its size is not
# that of a real corpus.)
#
# ### How large must a share be?
#
# We take two corpora: *prose*, the help texts of Python without copies, and *code*, the source of some modules of its
# library. Nine tenths of each are for training, the rest for judging. A small model reads both, with the weight of code
# going from 0 to 1. The number of tokens is the same each time, so the share of the one is taken from the other.

# %%
modules = (difflib, dataclasses, inspect, logging, shutil, statistics, subprocess)
texts = {"prose": "\n".join(kept)[:200_000], "code": "\n".join(map(inspect.getsource, modules))[:200_000]}
tokenizer = minigpt2.Tokenizer.train(list(texts.values()), 512, progress=False)
train_texts = {name: text[: len(text) * 9 // 10] for name, text in texts.items()}
unseen = {name: np.array(tokenizer.encode(text[len(text) * 9 // 10 :])[:4000]) for name, text in texts.items()}
T = 32


def bits_per_character(model):
    """The loss on unseen prose and unseen code."""
    characters = {name: len(tokenizer.decode(ids[1:])) for name, ids in unseen.items()}
    return {name: total_nats(model, ids) / characters[name] / np.log(2) for name, ids in unseen.items()}


def train(weights, train_texts=train_texts, steps=300, lr=5e-3, watch=None):
    """The losses of a new model trained on a mixture, every ``watch`` steps; by default only the last."""
    sources = [Source(name, weights[name], [text]) for name, text in train_texts.items()]
    mixture = Mixture(sources, tokenizer, T)
    config = minigpt2.GPT2Config(vocab_size=512, n_positions=T, n_embd=32, n_layer=1, n_head=4)
    model = minigpt2.GPT2(config, seed=1)
    optimizer, rng, curve = minigpt2.AdamW(model.params, lr=lr), np.random.default_rng(1), {}
    for step in range(1, steps + 1):
        optimizer.lr = learning_rate(step - 1, lr, lr / 10, 15, steps)
        ids, targets = mixture.windows(16, T, rng)
        _, grads = model.loss_and_grads(ids, targets)
        optimizer.step(grads, max_norm=1.0)
        if step % (watch or steps) == 0:
            curve[step] = bits_per_character(model)
    return curve


shares = (0, 0.1, 0.5, 0.9, 1)
losses = [train({"prose": 1 - share, "code": share})[300] for share in shares]
print("weight of code ", *(f"{share:5}" for share in shares))
for name in texts:
    print(f"{name:15}", *(f"{loss[name]:5.1f}" for loss in losses))

figure, axes = plt.subplots(figsize=(6.4, 3.1))
for name, marker in zip(texts, "os", strict=True):
    axes.plot(shares, [loss[name] for loss in losses], marker=marker, ms=5, label=f"unseen {name}")
axes.set(xlabel="weight of code in the mixture (prose has the rest)", ylabel="loss (bits per character)")
axes.set(title="Held-out loss of two corpora", xticks=shares)
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two curves over the weight of code, from 0 to 1. The loss on unseen code falls steeply up to a weight of 0.1 and
# little after it; the loss on unseen prose is lowest at 0.1 and highest at 1.

# %% [markdown] tags=["en"]
# Each of the two is predicted worst where it has no weight. A tenth of code removes a large part of the extra loss that
# no code at all would mean, and prose does not suffer. Why not? Two explanations come to mind, and this run does not
# tell them apart. The corpus is short, and with all the weight it is read about twice, as the next cell shows: code may
# only replace repetition. Or code with its comments teaches some English, too. Either way it is the case for mixing,
# and for giving small corpora more than their size. (It is one seed, and a difference below 0.1 may be chance. With
# seed 2, code at the weight 0.1 wins 0.4 of what weight 1 wins, and prose changes by −0.04.)

# %%
to_be_won = losses[0]["code"] - losses[-1]["code"]
won, prose = losses[0]["code"] - losses[1]["code"], losses[1]["prose"] - losses[0]["prose"]
print(f"weight 0.1 of code wins {won / to_be_won:.1f} of what weight 1 wins, and changes prose by {prose:+.1f}")
n_prose = 0.9 * len(tokenizer.encode(train_texts["prose"]))  # a Mixture keeps a tenth for itself
print(f"with weight 1, prose is read {300 * 16 * T / n_prose:.1f} times")

# %% [markdown] tags=["en"]
# ### A small corpus
#
# Now suppose that we want code, and that there are only a few pages of it. Does it help to read something else as well?
# We cut the code down to 6,000 characters, keep all prose, and watch the loss on unseen code during training. The last
# line is a shorter training on code alone.

# %%
few = train_texts | {"code": train_texts["code"][:6_000]}
n_code = 0.9 * len(tokenizer.encode(few["code"]))
curves = {}
for share in (1, 0.7, 0.3):
    curve = train({"prose": 1 - share, "code": share}, few, steps=240, watch=30)
    curves[share] = {step: loss["code"] for step, loss in curve.items()}
    epochs = share * 240 * 16 * T / n_code
    best, last = min(curves[share].values()), curves[share][240]
    print(f"weight of code {share:3}: read about {epochs:2.0f} times; loss at best {best:.2f}, at the end {last:.2f}")
short = train({"prose": 0, "code": 1}, few, steps=90)[90]["code"]
print(f"weight of code   1: read about {90 * 16 * T / n_code:2.0f} times, in 90 steps;   at the end {short:.2f}")

figure, axes = plt.subplots(figsize=(6.4, 3.1))
for (share, curve), marker in zip(curves.items(), "os^", strict=True):
    label = "only code" if share == 1 else f"{share:.0%} code, {1 - share:.0%} prose"
    axes.plot(list(curve), list(curve.values()), marker=marker, ms=4, label=label)
axes.set(xlabel="steps", ylabel="loss (bits per character)", title="Held-out loss on code", ylim=(2.9, 4.1))
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Three curves of the loss on unseen code over 240 steps. With code alone it falls until step 60 and then rises; with 30
# or 70 percent of prose in the mixture it falls on, lower, and is flat at the end.

# %% [markdown] tags=["en"]
# On code alone the model soon begins to learn the few pages by heart: the loss on *unseen* code goes up. That is
# overfitting (notebook 2.2). Prose in the mixture delays it: within these 240 steps the curves of the mixtures hardly
# turn. That is not only because they have read the few pages less often: code alone turns after about 11 readings, and
# with 30 % of prose the model has read them 32 times. And even against the best moment of the training on code alone,
# at which one could have stopped, the mixtures end lower. (At that moment the learning rate was still high. A training
# that is over after 90 steps, so that its rate has fallen as well, is hardly better, as the last line shows.)
# Presumably the lessons of English prose, spelling, spaces, the names of things, are useful in code. Here more data of
# another kind *is* more data.
#
# ### Three domains in one model
#
# In a larger experiment (described in notebook 3.3; `notebooks/experiments/domains.py` repeats it), one model read
# English drama, Chinese verse and technical English in equal shares for 500 steps. Others read only one of them, 150
# steps each. All have the same size and the same vocabulary. The step at which a model is taken was chosen on one text,
# and the loss is that on another (notebook 2.2 says why).

# %%
data = json.loads(Path("../experiments/domains.json").read_text(encoding="utf-8"))
alone, together = data["bits per character"]["scratch"], data["one model for all"]
print(f"{'bits per character':20} {'one for each':>18} {'one for all':>14}")
for domain, title in {"drama": "English drama", "verse": "Chinese verse", "technical": "technical English"}.items():
    spread = f"{np.mean(alone[domain]):.2f} ± {np.std(alone[domain], ddof=1):.2f}"
    print(f"{title:20} {spread:>18} {together[domain]:14.2f}")

# %% [markdown] tags=["en"]
# One model in 500 steps is better in *each* domain than three models in 450 steps together. It read each domain for a
# third of 500 steps, about as much as the specialists, and paid nothing for its versatility. This is an encouraging
# result with two reservations. The specialists have two seeds, this model has one. And a learning rate that falls
# over 500 steps is kinder than one that has to fall within 150.
#
# So the document's idea, more languages and more fields, is sound, although GPT-2 did not follow it. GPT-3 did, a
# little: five corpora were mixed with weights that differ from their sizes (Brown et al. 2020, table 2.2), and 7 % of
# its words were not English (section 3.3).

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Three corpora have 1,000 million, 10 million and 1 million tokens. What shares do they get without weights? And if
#    each weight is the square root of the size, scaled so that they add up to 1? *Hint: the second is a common
#    compromise between languages.*
#
#    <details><summary>Answer</summary>
#
#    Without weights: $1000/1011 = 98.9\,\%$, $1.0\,\%$ and $0.1\,\%$. Square roots of the sizes in millions: $31.62$,
#    $3.16$ and $1$, together $35.78$; so the shares are $88.4\,\%$, $8.8\,\%$ and $2.8\,\%$. The smallest corpus is
#    then read 28 times as often as before.
#
#    </details>
#
# 2. In the example by hand, the second sentence was thrown out. Do its runs count as known from then on? Find another
#    sentence whose fate depends on that. *Hint: where is `seen.grams.add` in the source?*
#
#    <details><summary>Answer</summary>
#
#    No: `seen.grams.add` stands in the branch of what is kept. Add "He sat on the sofa." at the end. Its runs are *he
#    sat on*, *sat on the*, *on the sofa*. Only *sat on the* is known, one of three, so it is kept. If the runs of the
#    second sentence counted, *on the sofa* would be known as well, two of three, and it would be thrown out.
#
#    </details>
#
# 3. What would a model learn at the border of two documents if there were no `<|endoftext|>`? And how could one use the
#    token to make a model *begin* a text? *Hint: what does it predict after it?*
#
#    <details><summary>Answer</summary>
#
#    That after the last words of one document come the first words of another, which have nothing to do with them: at
#    any full stop a little probability would go to a change of subject, and the model could not know when. After
#    `<|endoftext|>` it has learned to predict how documents begin. So the token alone, given as the prompt, makes it
#    begin one; and when it predicts the token itself, its text is finished.
#
#    </details>
#
# 4. Predict the picture of the loss on code for 3,000 and for 100,000 characters instead of 6,000, then run it. From
#    what size on does prose no longer help? *Hint: `epochs`.*
#
#    <details><summary>Answer</summary>
#
#    The loss at the best moment and, in brackets, at the end:
#
#    | characters | epochs of code alone | code alone | 30 % prose | 70 % prose |
#    |---|---|---|---|---|
#    | 3,000 | 88 | 3.68 (4.77) | 3.48 (3.48) | 3.27 (3.27) |
#    | 6,000 | 45 | 3.50 (3.82) | 3.27 (3.27) | 3.23 (3.23) |
#    | 12,000 | 23 | 3.40 (3.43) | 3.16 (3.16) | 3.19 (3.19) |
#    | 30,000 | 9 | 3.14 (3.14) | 3.09 (3.09) | 3.07 (3.07) |
#    | 100,000 | 2.8 | 2.89 (2.89) | 3.07 (3.07) | 3.09 (3.09) |
#
#    The fewer pages, the earlier and the stronger the overfitting of code alone. At 30,000 characters prose is worth
#    little any more, and at 100,000 it harms: there is enough code, and prose takes its place.
#
#    </details>
#
# 5. An overlap of 0 by 8-grams does not prove that a model has not seen a test. Name two ways in which it may have.
#    *Hint: translate, or paraphrase.*
#
#    <details><summary>Answer</summary>
#
#    It may have read the test in another language, or told in other words: no run of eight words is then the same, and
#    the answers are given away all the same. Also a copy with a misprint, or with other numbers, in every eighth word
#    has no 8-gram in common, and so has a copy in pieces of fewer than eight words, such as a table.
#
#    </details>
#
# The next notebook goes on from a general model to a special one. **Next:** [3.3, fine-tuning](3_3_fine_tuning.ipynb)
