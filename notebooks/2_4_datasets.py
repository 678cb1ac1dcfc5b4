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
#
# **Exercise:** [1, the tokenizer](../exercises/student/01_tokenizer.ipynb). It asks you to write the algorithm of
# section 4, so do it before you read that.

# %%
import argparse
import inspect
import json
import re
import statistics
import sys
import textwrap
import typing
from collections import Counter
from itertools import pairwise
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np
import regex

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.components.optimizer import learning_rate
from minigpt2.data import random_windows, words
from minigpt2.data.cleaning import deduplicate, describe, ngram_hashes, overlap, word_hashes
from minigpt2.data.token_file import encode_documents
from minigpt2.evaluation import evaluate
from minigpt2.tokenizer import PIECES, learn_merges
from minigpt2.vocabulary import PRINTABLE

style.use()
shakespeare = minigpt2.Tokenizer.from_pretrained("shakespeare")  # of the built-in model
gpt2 = style.released_tokenizer()  # the released one

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# In this section the document says what GPT-2 was trained on, and then describes three steps of training. The data are
# known: the paper (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; "GPT-2 paper" below)
# describes them and calls them **WebText**. The training set itself was never released. (250,000 documents of the
# *test* set were, for research on how to recognize generated text: the repository `openai/gpt-2-output-dataset`.) Side
# by side:
#
# 1. 几百万条文本, several million texts. The paper: slightly over 8 million, from 45 million links (section 2.1).
# 2. 总长度超过十亿字, more than a billion characters. The paper: 40 GB of text (section 2.1).
# 3. 微博、新闻、论文、聊天记录、维基百科等, microblogs, news, papers, chat logs, Wikipedia and others. The paper: pages
#    that were linked to on Reddit with 3 karma or more; Wikipedia was **removed** (section 2.1).
# 4. 几十种语言, dozens of languages (section 1); 英文、西班牙文、德文、法文、俄文和中文等, English, Spanish, German,
#    French, Russian, Chinese and others (section 3.2). The paper: **English**; other pages were filtered out (section
#    3.7).
# 5. 在训练过程中收集了大量的数据, collected large amounts of data while it was trained. The paper: the corpus was
#    complete before, with links up to December 2017 (section 2.1).
# 6. 要估计出每个单词的可能性, the language model estimates the probability of each word. The paper: the same (section
#    2, equation 1).
# 7. 开源的……BERT模型，其中有34亿个参数, the first model is an open BERT with 3.4 billion parameters. The paper:
#    **none**; the model began with random numbers (section 2.3).
# 8. 在已有的语料库基础上生成更多数据。这一步称为 fine-tuning, makes more data from a corpus, called fine-tuning. The
#    paper: not done. The word means gradient steps on other data (3.3).
# 9. 继续生成新的数据，称为 zero-shot 生成, goes on and generates new data, called zero-shot. The paper: a task done
#    **without a gradient step** (sections 1 and 3). Notebook 3.4 compares the parameters before and after.
#
# ("Karma" counts how many people liked a post; it stands for a human's judgement that the page is worth reading.)
#
# The first two hold as far as they go, and so does the sixth. The fourth, fifth, seventh, eighth and ninth do
# not. The third is five claims in one, and each has its own answer. OpenAI published a list of the 1,000 domains
# that occur most often in WebText (`domains.txt` in the repository `openai/gpt-2`, named in its `model_card.md`):
#
# | the document | in `domains.txt` (domain, number of pages) | verdict |
# |---|---|---|
# | 微博, microblogs | weibo 5,182, place 937; twitter is not in it | **open** |
# | 新闻, news | nytimes 333,160; washingtonpost 315,368; bbc 311,917 | **right** |
# | 论文, papers | nih 139,965; nature 27,349; sciencedirect 25,050; arxiv 12,771 | **right** |
# | 聊天记录, chat logs | Omegle 5,594, a chat with strangers whose logs could be shared | **open** |
# | 维基百科, Wikipedia | not in it; wikiwand, which mirrors it, 9,389 | **wrong**: it was removed |
#
# The list has to be read with care. Its numbers add up to 21.8 million pages, and the corpus has 8 million documents;
# and lemonde and taobao are in it, whose pages are mostly not English. So it seems to have been made before some of the
# cleaning, and then says what was collected, not what was kept. Hence "open", twice.
#
# Three of the claims can be computed here:
#
# **How many words are 40 GB?** It depends on the length of an English word. We measure it on a text that comes with
# every Python, the topics of its built-in help, with and without its indentation and blank lines. (Another version of
# Python has a slightly different text, and all figures derived from it here differ slightly too.)

# %%
text = "\n".join(topics.values())
lines = "\n".join(line.strip() for line in text.splitlines() if line.strip())
for title, t in {"as it is": text, "without indentation": lines}.items():
    bytes_per_word = len(t.encode()) / len(words(t))
    print(f"{title:20} {bytes_per_word:.1f} bytes per word, so 40 GB are {40 / bytes_per_word:.1f} billion words")

# %% [markdown] tags=["en"]
# About six billion words, then, and 40 billion characters, as an English character is one byte. The document's "more
# than a billion" is true and many times too small.
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
# **Is the corpus English?** A vocabulary is learned from a corpus, and keeps traces of it: what was frequent became a
# token. GPT-2's vocabulary is released. We sort its tokens by the script of their letters:

# %%
SCRIPTS = ("Latin", "Cyrillic", "Han", "Hiragana", "Katakana", "Arabic", "Devanagari")
found = Counter()
for i in gpt2.known_ids:
    letters = regex.sub(r"\P{L}", "", gpt2.decode([i]))  # half a character decodes to a sign that is no letter
    script = next((s for s in SCRIPTS if regex.search(rf"\p{{{s}}}", letters)), "another script" if letters else "none")
    found["Latin, a ... z only" if script == "Latin" and letters.isascii() else script] += 1
for script, number in found.most_common():
    print(f"{script:20} {number:6,}")

# %% [markdown] tags=["en"]
# ("None" are digits, punctuation, white space and parts of characters.) Of 50,257 tokens 51 have a Chinese character
# (some of them spell Japanese names), 18 a Cyrillic letter, and 105 a Latin letter beyond a ... z, such as é. In a
# corpus of which a sixth was Chinese or Russian, there would be many more. The vocabulary was learned from English text
# with a little of everything else in it. Section 4 measures what that costs the others.

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

# %% [markdown] tags=["en", "alt"]
# Five boxes in a row, joined by arrows: links (45 million, from Reddit, 3 karma or more), text (taken out of the
# pages), cleaning (duplicates and Wikipedia go; 8 million documents, 40 GB), tokens (byte-level BPE, 50,257 of them),
# windows (1,024 ids at a time, 512 windows for each step). The last three are shaded.

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
#
# It takes two steps. First a fixed pattern, written by hand, cuts a text into **pieces**, roughly words. Then the bytes
# of each piece are merged, by rules that were learned. No token reaches from one piece into the next.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# There is nothing to differentiate here; a data set has no backward pass. But there is something to count.
#
# **Making the vocabulary** (Sennrich, Haddow & Birch 2016, algorithm 1). Begin with the bytes of every piece. Let $n(a,
# b)$ be how often symbol $b$ follows symbol $a$ within a piece, over the whole corpus. Then repeat:
#
# $$(a, b)^{*} = \arg\max_{(a, b)} n(a, b), \qquad \text{replace every } a\,b \text{ by one new symbol } ab .$$
#
# The pairs in the order in which they were found are the **merges**; the place of a pair in that order is its *rank*.
# To encode a text later, no counting is needed: merge the pair of the lowest rank, again and again.
#
# **Loss per token and per character.** Let a text of $M$ characters have $N$ tokens. A model's loss is $S/N$, where $S$
# is the sum of $-\ln p$ over the tokens. Another vocabulary gives another $N$, and so another loss for an equally good
# model. $S$ itself is comparable: it is $-\ln$ of the probability of the whole text, cut as the tokenizer cuts it. So
# we shall divide it by a number that does not depend on the vocabulary,
#
# $$\text{loss per character} = \frac{S}{M} = \frac{N}{M}\cdot\frac{S}{N}.$$
#
# **Zipf's law** (Zipf 1949). Sort the words of a corpus by how often they occur. Let $f(r)$ be the number of times that
# the word in place $r$ occurs. Then, roughly,
#
# $$f(r) = \frac{c}{r^{s}}, \qquad s \approx 1 .$$
#
# Take logarithms on both sides: $\ln f = \ln c - s \ln r$. On logarithmic axes this is a straight line that falls with
# slope $-s$, and `np.polyfit` finds the line that fits best.
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
# ### Where may a text be cut?
#
# This is the pattern, a *regular expression*, as the library has it; OpenAI's `src/encoder.py` has the same. It lists
# six kinds of pieces, separated by `|`. At every place of a text the first alternative that fits takes as much as it
# can, and the next piece begins behind it.

# %%
alternatives = re.split(r"\|(?![^(]*\))", PIECES.pattern)  # at each | outside of brackets
for number, alternative in enumerate(alternatives, 1):
    print(number, alternative)

numbered = regex.compile("|".join(f"({alternative})" for alternative in alternatives))
print()
for match in numbered.finditer("I'll pay 1,000 dollars:\n\n    no, 2 词 more!!"):
    print(match.lastindex, repr(match[0]))

# %% [markdown] tags=["en"]
# 1. The endings of English contractions: `'ll`, `'s`, `'t`. They come first, so that the apostrophe does not go to the
#    fourth alternative. Only in lower case: `DON'T` becomes `DON`, `'`, `T`.
# 2. **Letters**: `\p{L}` is any letter of any script, `+` means one or more. The space and question mark before it mean
#    "a space, if there is one". So a word takes the *one* space before it along, and `pay` at the beginning of a text
#    is another piece than `pay` after a space.
# 3. **Numerals**, `\p{N}`, in the same way. `1,000` is three pieces.
# 4. **All that is neither white space nor letter nor numeral**: punctuation, symbols, and also what Unicode calls
#    marks, such as the vowel signs of Hindi.
# 5. **White space**, `\s+`, but only as far as no other character follows: `(?!\S)` says so. Of the newlines and the
#    four spaces before `no` it takes all but the last space, which is then left for the word.
# 6. White space that is left, such as a single newline before a word.
#
# Why a pattern at all? The paper (section 2.2) gives the reason: plain BPE finds that `dog` is often followed by a full
# stop, an exclamation mark or a question mark, and makes `dog.`, `dog!` and `dog?` into tokens. These are many versions
# of one word, and each takes an entry of the vocabulary and learns its vector alone. So it forbids merges across
# character categories; with one exception, the space before a word, because without it the text would have many more
# tokens.
#
# Both reasons can be tested. We learn 767 merges from half of Python's help topics (duplicates removed, see section 5)
# with three patterns: GPT-2's; one that cuts at white space only; and GPT-2's without the optional space. How many new
# tokens mix letters or numerals with something else, and how many bytes has a token, on these topics and on the others?
# First, though, the algorithm. It takes twenty lines.
#
# ### Merges in twenty lines
#
# A piece is a list of ids, first of its bytes. GPT-2 numbers the bytes in an order of its own; `PRINTABLE` has it.

# %%
BYTE_IDS = {byte: i for i, byte in enumerate(PRINTABLE)}


def merge_everywhere(ids, pair, new):
    """Replace each occurrence of a pair by one new id."""
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new]
        i += 1


def learn(counts, n_merges):
    """The merges of a corpus, {piece: number of times that it occurs}: count all pairs, merge the best, repeat."""
    pieces = {piece: [BYTE_IDS[byte] for byte in piece.encode()] for piece in counts}
    merges = []
    for new in range(256, 256 + n_merges):
        pairs = Counter()
        for piece, ids in pieces.items():
            for pair in pairwise(ids):
                pairs[pair] += counts[piece]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))  # of equally frequent ones that with the lower ids
        merges.append(best)
        for ids in pieces.values():
            merge_everywhere(ids, best, new)
    return merges


def encode(piece, ranks):
    """The ids of a piece: merge the pair of the lowest rank until none is left; ranks is {pair: its rank}."""
    ids = [BYTE_IDS[byte] for byte in piece.encode()]
    while pairs := [pair for pair in pairwise(ids) if pair in ranks]:
        best = min(pairs, key=ranks.get)
        merge_everywhere(ids, best, 256 + ranks[best])
    return ids


# %% [markdown] tags=["en"]
# `Tokenizer.train` and `Tokenizer.encode` of the library must agree with it. We try that with a part of the topics:

# %%
part = list(topics.values())[:15]
counts = Counter(piece for document in part for piece in PIECES.findall(document))
merges = learn(counts, 60)
ranks = {pair: rank for rank, pair in enumerate(merges)}
library = minigpt2.Tokenizer.train(part, vocab_size=256 + 60 + 1, progress=False)
print(f"{len(counts):,} different pieces, {len(merges)} merges")
print("the same merges:", merges == list(learn_merges(counts, 60)))
print("the same ids:   ", all(encode(piece, ranks) == library.encode(piece) for piece in counts))

# %% [markdown] tags=["en"]
# Now the three patterns. (`learn_merges` is the library's, which gives the same merges and does not count everything
# again for each of them.)

# %%
PATTERNS = {
    "GPT-2's": PIECES,
    "white space only": regex.compile(r" ?\S+|\s+(?!\S)|\s+"),
    "no space before": regex.compile("|".join(alternative.removeprefix(" ?") for alternative in alternatives)),
}
kept, removed = deduplicate(topics.values())
learned, other = kept[0::2], kept[1::2]


def bytes_per_token(documents, pattern, ranks):
    """How many bytes of the documents a token has on average."""
    counts = Counter(piece for document in documents for piece in pattern.findall(document))
    tokens = sum(count * len(encode(piece, ranks)) for piece, count in counts.items())
    return sum(len(document.encode()) for document in documents) / tokens


print("                              bytes per token")
print("pattern           mixed       learned from   others")
for name, pattern in PATTERNS.items():
    counts = Counter(piece for document in learned for piece in pattern.findall(document))
    merges = list(learn_merges(counts, 767))
    ranks, tokens = {pair: rank for rank, pair in enumerate(merges)}, [bytes([byte]) for byte in PRINTABLE]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    new = [token.decode(errors="replace").strip() for token in tokens[256:]]
    mixed = [token for token in new if regex.search(r"[\p{L}\p{N}]", token) and regex.search(r"[^\p{L}\p{N}]", token)]
    sizes = [bytes_per_token(documents, pattern, ranks) for documents in (learned, other)]
    print(f"{name:16} {len(mixed):3} of {len(new)} {sizes[0]:13.2f} {sizes[1]:12.2f}")
    if mixed:
        print("                 ", *mixed[:12])

# %% [markdown] tags=["en"]
# **The space** matters much: without it a token of unseen text is 0.6 bytes shorter, because each space costs a
# token of its own. **The categories** do what they are meant to do: of the tokens learned without them one in
# eighteen is a mixture such as `s.` or `__(self` (or holds an underscore, which is no letter). But the length of the
# tokens hardly changes, on either half of the topics. (With 3,000 merges the tokens of unseen text are even a little
# longer *without* the categories, 3.64 bytes against 3.57.) So this experiment bears out the paper's *observation*,
# that plain BPE spends entries on versions of words, and shows no gain in length. What the paper wants is another gain,
# entries that are not spent on one word twice, and lengths cannot show that: one would have to train a model with each
# vocabulary. In the released vocabulary the rule holds without exception:

# %%
tokens = [gpt2.decode([i]) for i in gpt2.known_ids]
mixed = [t for t in tokens if regex.search(r"\p{L}", t) and regex.search(r"[^\p{L}\s\ufffd]", t)]
print("GPT-2's tokens with letters and something else:", *mixed)
print(f"GPT-2's tokens that begin with a space: {sum(t[:1] == ' ' for t in tokens):,} of {len(tokens):,}")
for word in ("dog", " dog", "Dog", " Dog", "dog.", " dogs"):
    print(f"  {word!r:8}", [gpt2.decode([i]) for i in gpt2.encode(word)])

# %% [markdown] tags=["en"]
# The contractions of the first alternative, and the one special token. (A special token is added by hand, not learned.)
# `dog.` is two tokens, `dog` and the full stop. Upper and lower case, and with or without the space, are versions that
# the rule does not prevent: `dog` has four.

# %% [markdown] tags=["en"]
# ### The library's code
#
# Now the library's own source, fetched while the notebook was built: how merges are learned in a reasonable time, and
# how a batch is cut from the ids. The first keeps all pieces in one long chain and corrects counts only where something
# changed. The formula is in the lines `heapq.heappop` (the most frequent pair) and `yield pair`.

# %%
style.show_source(learn_merges, random_windows)

# %% [markdown] tags=["en"]
# ### By hand
#
# A corpus of four words. The pattern gives each the space before it. Count the pairs with a pencil, then look:

# %%
corpus = "low low lower lowest"
pieces = PIECES.findall(corpus)
print(pieces)
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
# token is a byte. Here is the same with GPT-2's own vocabulary, on a word and a Chinese character:

# %%
for piece in gpt2.explain("But 海"):
    print(piece)

# %% [markdown] tags=["en"]
# The character 海 (sea) is three bytes in UTF-8. GPT-2 has met enough text with Chinese or Japanese characters to
# join a space to `e6`, the first byte of 4,096 of them, but this character got no token: it costs three, while the
# word `But` is a single one.
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
# The first six are English and the languages that the document claims for WebText. Take one sentence, the vocabulary of
# the built-in model, which was learned from Shakespeare, and GPT-2's own. How many bytes is the sentence, and how many
# tokens?

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
numbers = {}  # language: characters, bytes, tokens of the built-in vocabulary, tokens of GPT-2's
for language, sentence in SENTENCES.items():
    tokens = [len(tokenizer.encode(sentence)) for tokenizer in (shakespeare, gpt2)]
    numbers[language] = len(sentence), len(sentence.encode()), *tokens
print("                             tokens               GPT-2's tokens")
print("           chars   bytes   built-in   GPT-2   per char   per byte")
for language, (characters, size, ours, theirs) in numbers.items():
    per = f"{theirs / characters:10.2f} {theirs / size:10.2f}"
    print(f"{language:10} {characters:5} {size:7} {ours:10} {theirs:7} {per}")

# %%
figure, axes = plt.subplots(figsize=(6.6, 3.6))
places = np.arange(len(numbers))
bars = (("bytes", "0.82", ""), ("tokens, built-in", style.ORANGE, "//"), ("tokens, GPT-2", style.BLUE, ""))
for i, (label, colour, hatch) in enumerate(bars):
    values = [row[1 + i] for row in numbers.values()]
    axes.barh(places + 0.27 * (i - 1), values, height=0.26, color=colour, hatch=hatch, ec="white", lw=0, label=label)
axes.set_yticks(places, list(numbers))
axes.invert_yaxis()
axes.grid(axis="y", visible=False)
axes.set(xlabel="number for the same sentence", title="One sentence in eight languages")
axes.legend(loc="upper right")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Horizontal bars for eight languages: bytes, tokens of the built-in vocabulary and tokens of GPT-2's vocabulary. In
# English 59 bytes are 24 and 13 tokens. From Russian on the built-in vocabulary has as many tokens as bytes; GPT-2 has
# 54 tokens for 93 bytes of Russian, 29 for 42 of Chinese, 81 for 134 of Hindi.

# %% [markdown] tags=["en"]
# Every token takes one of the model's positions, one step of generation and one step of every computation, so the same
# window holds only a fraction of the text.
#
# - The jump comes where the letters are others, so it seems to be the **script** that decides. Kinship does not:
#   German, the nearest relative of English here, costs per byte as much as Spanish and French, in either vocabulary.
# - In the vocabulary made from Shakespeare every byte of the last four is a token of its own: it does nothing for them
#   at all. GPT-2's has seen a little of everything, and spends 0.6 to 0.7 tokens on a byte there, against 0.4 for the
#   other languages in Latin letters and 0.2 for English.
# - Per *character* Chinese comes out worst, with two tokens for one. Per *sentence* it does not: Chinese needs few
#   characters, and its 29 tokens are hardly more than German's 26. Hindi pays most, with six times the tokens of
#   English.
#
# Is it the script, or are the words of these languages merely rare? Keep the words and change the letters: the last
# four sentences once more, as one can write them with a ... z.

# %%
IN_LATIN_LETTERS = {
    "Russian": "Rebyonok otkryl okno, posmotrel na more i zasmeyalsya.",
    "Chinese": "Haizi dakai chuanghu, wangzhe dahai xiao le.",
    "Arabic": "Fataha attiflu annafidhata wanadhara ila albahri wadahika.",
    "Hindi": "Bachche ne khirki kholi, samudra ki or dekha aur hans para.",
}
print("           built-in         GPT-2")
for language, sentence in IN_LATIN_LETTERS.items():
    ours, theirs = (len(tokenizer.encode(sentence)) for tokenizer in (shakespeare, gpt2))
    print(f"{language:10} {numbers[language][2]:3} -> {ours:2} {numbers[language][3]:8} -> {theirs:2}")

# %% [markdown] tags=["en"]
# It is the script. In Latin letters all four cost GPT-2 about as much as Spanish, French or German: their words are
# then cut into pieces that English words have too. (One sentence for each language is a small sample, and how well a
# model *knows* a language is another question.)
#
# That GPT-2 could translate a little into and out of French although French pages had been filtered out surprised its
# authors; they found 10 MB of French left in the 40 GB (section 3.7).

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
axes.text(len(ordered), 0.52, "above: removed", color=style.ORANGE_TEXT, ha="right", va="bottom")
axes.grid(axis="x", visible=False)
axes.set(xlabel="topics, sorted", ylabel="share of 8-grams", title="8-grams that occurred in earlier topics")
plt.show()

# %% [markdown] tags=["en", "alt"]
# 79 bars, sorted, the share of a topic's 8-grams that occurred in an earlier topic. About a dozen bars reach 1 or
# exceed the dashed line at one half, the others fall quickly to 0.

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
# vocabularies, in the topics that were kept. The slope is fitted to places 10 to 200. Beside it stand the share of the
# text that the 100 most frequent make up, and the shares of the entries that occur once and fewer than ten times (of
# all words, or of all tokens that were learned, those included that no longer occur).

# %%
counts = {"words": Counter(word for document in kept for word in words(document))}
entries = {"words": list(counts["words"])}
for size in (2048, 512):
    tokenizer = minigpt2.Tokenizer.train(kept, vocab_size=size, progress=False)
    counts[f"{size:,} tokens"] = Counter(encode_documents(tokenizer, kept))
    entries[f"{size:,} tokens"] = range(256, size - 1)  # what was learned: neither the bytes nor <|endoftext|>


def slope(f, first, last):
    """The exponent s of the line that fits places first to last."""
    r = np.arange(first, last + 1)
    return -np.polyfit(np.log(r), np.log(f[first - 1 : last]), 1)[0]



figure, axes = plt.subplots(figsize=(5.2, 3.3))
print("                             first 100            once        below 10")
for name, counter in counts.items():
    f = np.array(sorted(counter.values(), reverse=True))
    r = np.arange(1, len(f) + 1)
    axes.loglog(r, f, label=name)
    learned_counts = np.array([counter[entry] for entry in entries[name]])
    shares = [f[:100].sum() / f.sum(), (learned_counts == 1).mean(), (learned_counts < 10).mean()]
    print(f"{name:13} s = {slope(f, 10, 200):.2f} " + "".join(f"{share:16.0%}" for share in shares))
    if name == "words":
        print(f"  place 200 to 1,000: s = {slope(f, 200, 1000):.2f}")
axes.loglog([1, 3000], [6000, 2], color="0.7", lw=1, ls="-", label="slope $-1$")
axes.set(xlabel="place r", ylabel="occurrences f(r)", title="Zipf's law", ylim=(0.7, None))
axes.legend(fontsize=8, loc="lower left")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Occurrences against place, both logarithmic. The words keep near a grey line of slope minus one, flatter than it down
# to place 200 or so and steeper from there to a single occurrence. The tokens of both vocabularies run parallel to the
# words and then drop steeply: at place 300 for 512 tokens, at 1,700 for 2,048.

# %% [markdown] tags=["en"]
# **Words** keep near the line, flatter for the first two hundred places and steeper after. A hundred words make up half
# of the text, a third of all different words occur only once, and three quarters fewer than ten times. A vocabulary of
# whole words would be full of entries about which a model can learn next to nothing: to pull a token's vector (its row
# of the *embedding*, 2.5.1) in the direction that makes it likely, the token has to occur.
#
# **Tokens** have a much shorter tail. A word that is rare falls apart into pieces that are not, so that most of what
# was learned is met often: all but one in six of the larger vocabulary, and nearly all of the smaller one. The smaller
# the vocabulary, the further to the left the line drops. The entries at the drop are rare bytes, and tokens that were a
# step on the way to a longer one, such as `thod`. And the logarithmic picture cannot show the zeros: of the 256 bytes
# about 150 never occur in such a text at all.
#
# And what does a larger vocabulary buy? We learn four of them from every second topic and measure the bytes per token,
# there and on the topics between:

# %%
vocabulary_sizes, fits = (257, 512, 1024, 2048), {"learned from": [], "not seen": []}
for size in vocabulary_sizes:
    tokenizer = minigpt2.Tokenizer.train(learned, vocab_size=size, progress=False)
    for name, documents in zip(fits, (learned, other), strict=True):
        fits[name].append(describe(name, documents, tokenizer).bytes_per_token)
figure, axes = plt.subplots(figsize=(5.2, 3.0))
for (name, values), marker in zip(fits.items(), "os", strict=True):
    axes.plot(vocabulary_sizes, values, marker=marker, label=f"topics {name}")
    print(f"bytes per token, topics {name:13}", *(f"{v:4.1f}" for v in values))
axes.set_xscale("log", base=2)
axes.set_xticks(vocabulary_sizes, [f"{v:,}" for v in vocabulary_sizes])
axes.minorticks_off()
axes.set(xlabel="vocabulary", ylabel="bytes per token", title="Bytes per token", ylim=(0, None))
axes.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Bytes per token against the size of the vocabulary, 257 to 2,048. Both lines rise from 1, that of the topics learned
# from to 3.8, that of the unseen topics to 3.3; each doubling adds less, and the gap grows.

# %% [markdown] tags=["en"]
# The merges that come first are the most frequent ones, so each doubling gains less in proportion than the one before.
# And the two lines part: a large vocabulary also learns the peculiarities of its corpus. In the model it costs a row of
# $C$ parameters per token. GPT-2 settled for 50,257.

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


# %% [markdown] tags=["en"]
# `train` gives a model and its held-out loss at four moments. The sizes grow from 4,000 characters to all there are:

# %%
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

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.2))
for (name, curve), marker in zip(curves.items(), "os^", strict=True):
    axes.plot(data_sizes, curve, marker=marker, label=name)
axes.set_xscale("log")
axes.set_xticks(data_sizes, [f"{size // 1000}k" for size in data_sizes])
axes.minorticks_off()
axes.set(xlabel="characters to train on", ylabel="loss (nats per character)", ylim=(0, None))
axes.set_title("Loss against the size of the training text")
axes.legend(fontsize=8)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Loss per character against the characters to train on, logarithmic. The loss on the training text rises from 0.2 to
# 1.9, the held-out loss at the end falls from 4.0 to 2.0, at its best from 2.7 to 2.0; the three lines meet at the
# largest size.

# %% [markdown] tags=["en"]
# Read it from left to right.
#
# - With **little data** the model reads the same few pages over and over and ends up knowing them by heart: its loss on
#   them goes towards 0, and on held-out topics it ends up worse than at its best moment: *overfitting* (2.2). It helps
#   to stop early, and it helps even more to have more text.
# - With **more data** the two losses meet. Where the text is read about once, hardly anything is learned by heart, and
#   the model does nearly as well on other text as on the text it was trained on.
# - Between the last two sizes there is more than five times as much text, and the held-out loss gains little from it.
#   Data are no longer scarce: a larger model and longer training remain to be tried.
#
# (The best of four moments was chosen by the loss on the held-out topics themselves. A test on which one has chosen is
# no longer a test, 2.2: "at its best" is a little too good. The last moment was not chosen.)
#
# That is the situation of GPT-2: even its largest size still *underfitted* WebText, as the paper puts it (section 3),
# and would have gone on getting better with more training. How loss falls with data, parameters and steps together was
# then measured over many orders of magnitude (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", equations
# 1.1 to 1.3; Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models"). Ours is one seed, one small
# model, four sizes and nine held-out topics, one of them two thirds of their text: enough to see the shape, not enough
# to fit a law.
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

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which of the claims in section 1 can be computed or tried, and for which does one have to read the paper?
#    *Hint: which of them does a cell of this notebook say something about?*
#
#    <details><summary>Answer</summary>
#
#    Computed here: how many words and characters 40 GB are, the number of BERT's parameters, and that the vocabulary
#    was learned from English. Tried in other notebooks: what a language model estimates (2.5.8), what fine-tuning does
#    (3.3) and that zero-shot changes no parameter (3.4). One has to read, in the paper or in OpenAI's files, where the
#    pages come from, how many there are, that Wikipedia was removed and that the model began with random numbers: these
#    are facts about what somebody did, and no computation on this machine can find them.
#
#    </details>
#
# 2. Learn five merges by hand from `"ten net tent tent net ten"`. Check yourself with `Tokenizer.train`. *Hint: a space
#    belongs to the word after it, and among equally frequent pairs the one with the lower ids wins.*
#
#    <details><summary>Answer</summary>
#
#    The pieces are `ten`, ` net` twice, ` tent` twice, ` ten`. Pairs: `t e` 4, `e n` 4, ` t` 3, `n e` 2, `e t` 2, `n t`
#    2, ` n` 2. The letter e comes before t, so (1) `e n`, 4 times. Then `t en` 4 and (2) `ten`; then ` ten` (3), 3
#    times. Now four pairs are left with two occurrences each: ` n`, `n e`, `e t` in ` net` and ` ten t` in ` tent`. In
#    GPT-2's order of bytes the printable ASCII characters come before the space, and e before n, so (4) `e t`; then `n
#    et` (5) for the same reason. `minigpt2.Tokenizer.train("ten net tent tent net ten", vocab_size=262).merges` says
#    the same.
#
#    </details>
#
# 3. The Hindi sentence has about as many characters as the Russian one and many more tokens, in both vocabularies. Why?
#    *Hint: compare `len("ह".encode())` with `len("ж".encode())`, and look at `PIECES.findall` of the sentence.*
#
#    <details><summary>Answer</summary>
#
#    A Devanagari character is three bytes of UTF-8, a Cyrillic one two: 134 bytes against 93. In the built-in
#    vocabulary a token is a byte for both, and that is all. GPT-2's vocabulary has 18 tokens with a Cyrillic letter and
#    one with a Devanagari sign. And the pattern cuts Hindi *inside* its words: vowel signs are marks for Unicode,
#    neither letters nor numerals, so `बच्चे` is four pieces, of the second and the fourth alternative in turn. No token
#    can reach over these cuts, however frequent the word is.
#
#    </details>
#
# 4. Learn a vocabulary of 512 from the eight sentences, repeated ten times, and draw the picture of section 4 again.
#    Which language gained most? Is that fair? *Hint: what was it learned from, and what is it judged on?*
#
#    <details><summary>Answer</summary>
#
#    English 17 tokens, Spanish 17, German 15, French 15, Russian 21, Chinese 10, Arabic 14, Hindi 36. Those for which
#    the old vocabulary did nothing gained most: Arabic needs a fifth of its former tokens, Chinese and Russian less
#    than a quarter. Now only Hindi stands out, because the pattern still cuts it at its vowel signs; all others have
#    the same share of the corpus and similar costs. But it is judged on the very text that it was learned from. Another
#    sentence would show how much of that is of use elsewhere.
#
#    </details>
#
# 5. Set `threshold` to 0.3 in `deduplicate`. Predict from the picture of section 5 how many topics go, then run it.
#    When would you want it low? *Hint: what is lost when a document is removed wrongly?*
#
#    <details><summary>Answer</summary>
#
#    14 instead of 12: `identifiers` and `continue` go as well. One wants it low where repetition does harm and text is
#    plentiful, as on the web, where a wrongly removed page is replaced by a million others; above all for texts on
#    which a model will be judged. One wants it high where text is scarce. (A low threshold does not always remove more:
#    at 0.1 only 10 topics go. A chapter is then removed because it shares a little with an earlier topic, and its
#    sections, which come later, are no longer copies of anything that was kept.)
#
#    </details>
#
# 6. Shakespeare's plays have lines such as `I'll go, you'll stay`. Into which pieces is this cut, and by which
#    alternatives? What becomes of `YOU'LL`? *Hint: the first alternative is written in lower case.*
#
#    <details><summary>Answer</summary>
#
#    `I` (2), `'ll` (1), ` go` (2), `,` (4), ` you` (2), `'ll` (1), ` stay` (2). In capitals the first alternative does
#    not fit: `YOU` (2), `'` (4), `LL` (2). So the ending of a contraction has a token in lower case and is torn apart
#    in capitals, in headings for instance. OpenAI's `encoder.py` regrets in a comment that case was not ignored there.
#
#    </details>
#
# What the ids go through, from the table at the bottom to the loss at the top:
# **Next:** [2.5, framework](2_5_framework.ipynb)
