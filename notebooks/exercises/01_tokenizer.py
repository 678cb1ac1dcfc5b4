# %% [markdown]
# # Exercise 1: the tokenizer
#
# *Notebook 2.4, 数据集. About 60 minutes, 10 points.*
#
# A model computes with numbers, and a text is not made of numbers. The *tokenizer* stands between them: it turns a text
# into a list of integers, the *ids*, and back. Each id stands for a piece of text, a *token*.
#
# Which pieces? With letters every text becomes long, and the model spends its effort on spelling. With words the list
# is never complete: tomorrow there will be one that nobody has thought of. GPT-2 uses neither. It begins with the 256
# bytes, of which every text in every language is made, and lets a large text decide which of them belong together: the
# pair that occurs most often becomes a token, then the next one, and so on, 50,000 times. A frequent word ends up as
# one token, and a rare one falls apart into a few. This is *byte-pair encoding*, BPE. You will write all of it.
#
# More about it is in notebook 2.4, `notebooks/en/2_4_datasets.ipynb` in the repository of minigpt2; you need nothing
# but Python here, not even NumPy. Below a heading, stars say how hard the part is, and minutes about how long it takes.

# %%
from minigpt2.exercises import check

# %% [markdown]
# A text becomes bytes with `encode`, a method that every Python string has. *UTF-8* is the standard that says which
# bytes stand for a character: a letter of the English alphabet takes one, others take up to four. Bytes are integers
# from 0 to 255, and they are the first 256 ids.

# %%
for text in "abracadabra", "é", "€":
    print(text, list(text.encode("utf-8")))

# %% [markdown]
# ## 1. Count the pairs
#
# *★☆☆ · about 10 minutes*
#
# A *pair* is two neighbours in the list, the left one first. Count how often each of them occurs. In "abracadabra":
#
#     ab 2    br 2    ra 2    ac 1    ca 1    ad 1    da 1
#
# Every place counts, even where pairs overlap: in `[7, 7, 7]` the pair `(7, 7)` occurs twice.
#
# <details><summary>A hint</summary>
#
# How many pairs do n ids have? `zip(ids, ids[1:])` walks along a list with two fingers. What does it give for a list
# with a single id, or none?
#
# </details>


# %% tags=["answer", "id:pair_counts"]
def pair_counts(ids):
    """Count the pairs of neighbours.

    ids: list of integers
    returns a dict {(left, right): how often}.
    """
    ### BEGIN SOLUTION
    counts = {}
    for i in range(len(ids) - 1):
        pair = ids[i], ids[i + 1]
        counts[pair] = counts.get(pair, 0) + 1
    return counts
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_pair_counts", "points:1"]
report = check("pair_counts", pair_counts)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ## 2. Merge a pair
#
# *★★☆ · about 10 minutes*
#
# Replace every occurrence of a pair by one new id, from left to right. Ids that have been merged are used up: with the
# pair `(7, 7)` and the new id 256,
#
#     [7, 7, 7]           ->  [256, 7]
#     [5, 7, 7, 7, 7, 5]  ->  [5, 256, 256, 5]
#
# Return a new list, and leave the old one unchanged. (If you take elements out of a list while a loop walks over it,
# the loop loses its place anyway.)
#
# <details><summary>A hint</summary>
#
# A `while` loop with an index `i` that moves on by 1 or by 2. What is different at the last id?
#
# </details>


# %% tags=["answer", "id:merge"]
def merge(ids, pair, new_id):
    """Replace a pair by one id.

    ids: list of integers; pair: tuple (left, right); new_id: integer
    returns a new list.
    """
    ### BEGIN SOLUTION
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged
    ### END SOLUTION


# %% tags=["check", "id:check_merge", "points:1"]
report = check("merge", merge)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ## 3. Train
#
# *★★☆ · about 15 minutes*
#
# "Training" a tokenizer is nothing but counting. Repeat:
#
# 1. Count the pairs of the list as it is now.
# 2. Take the most frequent one. If several are equally frequent, take the one with the lowest ids: the lowest left id,
#    and among those the lowest right id. (Without such a rule two people would get two tokenizers from one text.)
# 3. If it occurs only once, stop: it would shorten nothing but this very text.
# 4. Merge it into a new id. The first merge makes the id 256, the next 257, and so on.
#
# Stop after `num_merges` merges. The result is the list of the pairs in the order in which they were found. It is the
# whole tokenizer: the place of a pair in the list, counted from 0, is called its *rank*, and 256 + rank is the id that
# it makes. By hand, with letters for bytes:
#
#     a b r a c a d a b r a    ab, br and ra occur twice; ab has the lowest ids       ab = 256
#     256 r a c a d 256 r a    (256, r) and ra occur twice; r is 114, less than 256   ra = 257
#     256 257 c a d 256 257    (256, 257) occurs twice                                abra = 258
#     258 c a d 258            no pair occurs twice: the end
#
#     merges = [(97, 98), (114, 97), (256, 257)]
#
# (In the report of the check, pairs in a list look like lists, `[97, 98]`. Let yours be tuples.)
#
# <details><summary>A hint</summary>
#
# Tuples are compared left to right: `(1, 9) < (2, 0)` is True. So `min` and `max` work on pairs, and also on a tuple of
# a number and a pair. Which `key` makes `min` choose the most frequent?
#
# </details>


# %% tags=["answer", "id:bpe_train"]
def bpe_train(ids, num_merges):
    """Learn which pairs to merge.

    ids: list of integers from 0 to 255; num_merges: how many merges at most
    returns merges, a list of pairs (left, right); the n-th, counted from 0, makes the id 256 + n.
    """
    ### BEGIN SOLUTION
    merges = []
    while len(merges) < num_merges:
        counts = pair_counts(ids)
        pair = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if pair is None or counts[pair] < 2:
            break
        ids = merge(ids, pair, 256 + len(merges))
        merges.append(pair)
    return merges
    ### END SOLUTION


# %% tags=["check", "id:check_bpe_train", "points:2"]
report = check("bpe_train", bpe_train)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 4. Encode
#
# *★★★ · about 15 minutes*
#
# Now there is another text, and the merges are given. Nothing is counted any more; the merges are carried out in the
# order in which they were learned. As long as there are neighbours that form a pair in the list of merges, merge the
# pair with the lowest rank, everywhere.
#
# The order matters. With the merges above, "abracadabra" has no choice. But take `merges = [(b, c), (a, b)]` and the
# text "abc": `(b, c)` has the lower rank, and so the result is a, bc. Someone who reads from left to right and takes
# the first pair that fits gets ab, c. A model that was trained on the one would not understand the other.
#
# <details><summary>A hint</summary>
#
# A dict from pair to rank saves searching the list. And can a merge make a pair whose rank is lower than its own? If
# you are sure of the answer, a single loop is enough.
#
# </details>


# %% tags=["answer", "id:bpe_encode"]
def bpe_encode(ids, merges):
    """Carry out the merges on another text.

    ids: list of integers from 0 to 255; merges: list of pairs, as from ``bpe_train``
    returns list of ids.
    """
    ### BEGIN SOLUTION
    rank = {pair: n for n, pair in enumerate(merges)}
    while True:
        known = [pair for pair in pair_counts(ids) if pair in rank]
        if not known:
            return ids
        pair = min(known, key=rank.get)
        ids = merge(ids, pair, 256 + rank[pair])
    ### END SOLUTION


# %% tags=["check", "id:check_bpe_encode", "points:2"]
report = check("bpe_encode", bpe_encode)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 5. Decode
#
# *★★☆ · about 10 minutes*
#
# And back: each id stands for bytes, and the bytes for characters. An id below 256 is a byte itself; every other one
# is two ids, which may be merges themselves.
#
# There is one trap. A token can end in the middle of a character: € has three bytes, and nothing keeps the first two of
# them from becoming a token. A model can also write tokens in any order, so that their bytes are not valid UTF-8. That
# must not be an error: Python puts the character � (U+FFFD) where bytes make no sense, if you ask it to. Look at
# `help(bytes.decode)`.
#
# <details><summary>A hint</summary>
#
# Make a table from id to bytes first: `{0: b"\x00", ..., 255: b"\xff"}`; `bytes([i])` helps with that. Then go through
# the merges in their order: when a merge comes, both of its parts are already in the table.
#
# </details>


# %% tags=["answer", "id:bpe_decode"]
def bpe_decode(ids, merges):
    """The text that ids stand for.

    ids: list of ids; merges: list of pairs, as from ``bpe_train``
    returns str, with U+FFFD for bytes that are not UTF-8.
    """
    ### BEGIN SOLUTION
    table = {i: bytes([i]) for i in range(256)}
    for n, (left, right) in enumerate(merges):
        table[256 + n] = table[left] + table[right]
    return b"".join(table[i] for i in ids).decode("utf-8", errors="replace")
    ### END SOLUTION


# %% tags=["check", "id:check_bpe_decode", "points:1"]
report = check("bpe_decode", bpe_decode)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ### What does it find?
#
# When all five are right, this cell trains your tokenizer on a file of this package: the program text of the library's
# own tokenizer. Here are its first hundred tokens, in the order in which they were found. Which of them do you
# recognise? Then try another text in its place.

# %%
if all(check(each.__name__, each) for each in (pair_counts, merge, bpe_train, bpe_encode, bpe_decode)):
    import inspect

    import minigpt2.tokenizer

    text = inspect.getsource(minigpt2.tokenizer)
    ids = list(text.encode("utf-8"))
    merges = bpe_train(ids, 100)
    print(*(repr(bpe_decode([256 + n], merges)) for n in range(len(merges))))
    print(f"\n{len(ids)} bytes became {len(bpe_encode(ids, merges))} tokens.")

# %% [markdown]
# ## 6. Your teacher's tests
#
# If this notebook is graded, more tests run in these two cells: other lists, longer ones, and your functions together.
# You need not do anything.

# %% tags=["check", "id:hidden_bpe_train", "points:1"]
# Tests of pair_counts, merge and bpe_train, 1 point.
### BEGIN HIDDEN TESTS
for name, function in (("pair_counts", pair_counts), ("merge", merge), ("bpe_train", bpe_train)):
    report = check(name, function, seed=11)
    assert report.passed, report.hint


def learned_by_the_library(word, n):
    from minigpt2 import Tokenizer

    library = Tokenizer.train(word, vocab_size=256 + 1 + n, progress=False)
    pairs = [(library.vocab[left], library.vocab[right]) for left, right in library.merges]
    return [tuple(i + 33 if i < 256 else i for i in pair) for pair in pairs]  # its first byte is "!", 33


word = "".join("abcdeeeehhhnnnrst"[n**3 % 101 % 17] for n in range(500))  # one word: no space cuts a pair
assert list(map(tuple, bpe_train(list(word.encode()), 40))) == learned_by_the_library(word, 40)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_bpe_encode", "points:2"]
# Tests of bpe_encode and bpe_decode, 2 points.
### BEGIN HIDDEN TESTS
for name, function in (("bpe_encode", bpe_encode), ("bpe_decode", bpe_decode)):
    report = check(name, function, seed=12)
    assert report.passed, report.hint


def encoded_by_both(word):
    from minigpt2.tokenizer import Tokenizer
    from minigpt2.vocabulary import PRINTABLE

    library = Tokenizer.from_pretrained("shakespeare")
    merges = [(library.vocab[left], library.vocab[right]) for left, right in library.merges]
    ids = [library.vocab[PRINTABLE[byte]] for byte in word.encode()]
    return list(bpe_encode(ids, merges)), library.encode(word)


for word in " wherefore", " Prosperous", "unaccountably", " honorificabilitudinitatibus":
    mine, wanted = encoded_by_both(word)
    assert mine == wanted, word
text = "Ein Bär, ein Bär! Ça va? 3 € für 3 Bären. 日本の熊は三ユーロ。" * 3
ids = list(text.encode())
merges = bpe_train(ids, 30)
assert bpe_decode(bpe_encode(ids, merges), merges) == text
assert bpe_decode(bpe_encode(list("🐻 für Ça".encode()), merges), merges) == "🐻 für Ça"
### END HIDDEN TESTS

# %% [markdown]
# ## 7. Harder, if you like: GPT-2's tokenizer
#
# *★★★ · about 30 minutes more*
#
# Your tokenizer lacks two things that GPT-2's has.
#
# **Bytes that can be seen.** GPT-2's vocabulary is a text file with a token on each line. There a space would be
# invisible, and a line break would break the line. So each byte has a character that can be printed. In three ranges a
# byte stands for the character with the same number, which `chr` gives: from "!" to "~", from "¡" to "¬" and from "®"
# to "ÿ". (Byte 173, between the last two, is the soft hyphen, which most programs do not show.) The other 68 bytes, in
# their order, take the characters 256, 257, 258 and so on. The 33rd of them is the space, and so it becomes `chr(288)`,
# which is "Ġ": that is why GPT-2's tokens look like `Ġthe`.
#
# Let your dict list the visible bytes first and then the others, both in ascending order. In GPT-2 the *place* of a
# byte in this dict is its id: "!" is 0, and not 33.
#
# **Words.** Your tokenizer may make a token "e t", across the end of a word. GPT-2 cuts the text into words first, each
# with the space before it, and no token reaches from one word into the next. That is faster too: a word that occurs a
# thousand times is kept once, with its count. So train on a dict of words and counts. A pair counts as often as the
# words that contain it; everything else is as in `bpe_train`, except that the ids of the bytes are those of GPT-2.
#
# There are no points for this, but a check.
#
# <details><summary>A hint</summary>
#
# Keep a list of (ids of the word, count). In each round, add up all the counts in one dict, choose a pair, and merge it
# in each word separately.
#
# </details>


# %% tags=["answer", "id:learn_merges"]
def printable_bytes():
    """Returns {byte: the character that stands for it}, 256 entries in GPT-2's order."""
    ### BEGIN SOLUTION
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in visible}
    for byte in range(256):
        if byte not in visible:
            table[byte] = chr(256 + len(table) - len(visible))
    return table
    ### END SOLUTION


def learn_merges(counts, n_merges):
    """Learn which pairs to merge within words.

    counts: {word: how often it occurs}, words as str; n_merges: how many merges at most
    returns merges, a list of pairs of ids; a byte's id is its place in ``printable_bytes()``.
    """
    ### BEGIN SOLUTION
    id_of = {byte: n for n, byte in enumerate(printable_bytes())}
    words = [([id_of[byte] for byte in word.encode("utf-8")], count) for word, count in counts.items()]
    merges = []
    while len(merges) < n_merges:
        totals = {}
        for ids, count in words:
            for pair, times in pair_counts(ids).items():
                totals[pair] = totals.get(pair, 0) + times * count
        pair = min(totals, key=lambda pair: (-totals[pair], pair), default=None)
        if pair is None or totals[pair] < 2:
            break
        words = [(merge(ids, pair, 256 + len(merges)), count) for ids, count in words]
        merges.append(pair)
    return merges
    ### END SOLUTION


# %% tags=["check", "id:check_learn_merges", "points:0"]
print(check("printable_bytes", printable_bytes))
print()
print(check("learn_merges", learn_merges))

# %% [markdown]
# ## 8. What do you have now?
#
# A tokenizer that can write every text in the world. The library's own takes the same steps, but saves time: in
# training it corrects the counts only around the places that a merge has changed, and in encoding the pairs wait in a
# heap. It also shows its work:
#
#     import minigpt2
#     tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
#     for piece in tokenizer.explain("wherefore art thou Romeo"):
#         print(piece)
#
# A question to take with you: both "the" and " the" become tokens, with ids that have nothing to do with each other.
# How could a model find out that they mean the same?
#
# Next: [exercise 2](02_embedding.ipynb), the embedding.
