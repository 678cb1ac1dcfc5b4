# %% [markdown] tags=["en"]
# # 5. 评估 · Evaluation
#
# How good is a text that a machine has written? "Fluent, coherent, varied" is easily said. This notebook turns the
# three words into numbers, finds out what each of them sees and what it misses, and ends with three domains, one of
# which goes badly.
#
# You need Python and the logarithm. A **token** is a piece of text with a number, and all the tokens together make up
# the **vocabulary**. A language model gives each of them a probability of coming next, given the tokens before it. (One
# of the measures is computed by sacrebleu: `pip install -e '.[notebooks,evaluation]'`.)

# %%
import json
import math
import sys
import zlib
from fractions import Fraction
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.data.cleaning import deduplicate, overlap
from minigpt2.evaluation import evaluate
from minigpt2.measures import distinct_n, repeated_n_grams, self_bleu
from minigpt2.report import evaluation_report
from minigpt2.sampling import next_token_probs

style.use()
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document has no chapter 5. Its section 4.2 announces one, on how well GPT-2 generates in several domains, and then
# the text ends. Its introduction says what the chapter would have contained: the generated texts are of high quality,
# coherent and diverse; in many cases the result is good if parameters are set suitably; the model can be applied in
# different domains. There is no number for any of it. So we wrote the chapter.
#
# This is known of GPT-2 as released (Radford et al. 2019): section 3 of the paper has figures on tasks, without
# training for them (notebook 3.4), and its samples were looked at, not measured. Its model card, which OpenAI published
# with it, says that it does not tell fact from fiction. Keep that in mind below: **none of the numbers here sees
# whether a text is true.**

# %% [markdown] tags=["en"]
# ## 2. The idea: three words, three kinds of numbers
#
# | word | question | number | better |
# |---|---|---|---|
# | quality | Does the model expect what people write? | bits per character of a text that it has not seen | lower |
# | coherence | Does it use what came long before? | bits per character that the far context saves | higher |
# | | Does it go round in circles? | share of repeated 4-grams in its own text | like a human's |
# | diversity | Does it say different things? | distinct-n; self-BLEU of several of its texts | like a human's |
#
# The first two need a text by a human and never let the model write. The others need nothing but its own texts. For
# those the goal is not "as high as possible", since dice are more diverse than any poet. The goal is the number that
# human text has in the same place.
#
# Both kinds are needed, because a model is one thing and the way to draw from it another. The same logits (the model's
# scores, notebook 4.1) give a timid text or a wild one, depending on the **temperature** $\tau$:

# %%
start = "ROMEO:\nI am"
logits, _ = model.forward([tokenizer.encode(start)])
temperatures = (0.5, 1.0, 1.6)
best = np.argsort(-logits[0, -1])[:8]
figure, axes = plt.subplots(1, 3, figsize=(8, 2.7), sharey=True)
for axis, temperature in zip(axes, temperatures, strict=True):
    p = next_token_probs(logits[:, -1], temperature)[0]
    axis.barh([repr(tokenizer.decode([i])) for i in best], p[best], color=style.BLUE)
    axis.grid(axis="y", visible=False)
    axis.set(xlim=(0, 0.6), xlabel="probability", title=f"temperature {temperature}")
    axis.text(0.58, 7, f"all others: {1 - p[best].sum():.2f}", ha="right", va="center")
axes[0].invert_yaxis()
figure.suptitle(f"What comes after {start.splitlines()[-1]!r}?", fontsize=10)
plt.show()

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# **Bits per character.** The model gives a text of $N$ tokens $x_1 \ldots x_N$ the probability
# $p(\text{text}) = \prod_t p(x_t \mid x_{<t})$. (The first token, which nothing predicts, is given.) Then
#
# $$\text{bits per character} = \frac{-\log_2 p(\text{text})}{\text{number of characters}}
#   = \frac{1}{\ln 2}\cdot\frac{N}{\text{characters}}\cdot\text{loss},
#   \qquad \text{loss} = -\frac1N\sum_t \ln p(x_t \mid x_{<t}) .$$
#
# The loss and its exponential, the **perplexity**, are per *token*, and the vocabulary decides what a token is: one
# long token is harder to guess than one letter, and there are fewer of them. $N/\text{characters}$ makes up for it. The
# numerator is the probability of the *text*, and the text is the same for all. (Strictly, a text can be cut into tokens
# in many ways; we count only the tokenizer's way, and so the true figure is at most ours.)
#
# Shannon 1948 gives the unit its meaning: with a model of $b$ bits per character a text can be compressed to $b$ bits
# per character, and to no less on average if the model is true.
#
# **Temperature.** The logits are divided by $\tau$ before the softmax, $p_v \propto e^{\mathrm{logits}_v/\tau}$. For
# two tokens $v$ and $w$
#
# $$\frac{p_v^{(\tau)}}{p_w^{(\tau)}} = e^{(\mathrm{logits}_v-\mathrm{logits}_w)/\tau}
#   = \left(\frac{p_v}{p_w}\right)^{1/\tau} .$$
#
# At $\tau = \tfrac12$ all odds are squared: likely tokens become almost certain. At $\tau = 2$ the odds become their
# square roots. Towards $\tau = 0$ only the best token is left, which is called *greedy*.
#
# **Repetition and diversity.** An *n-gram* is a run of $n$ words. With the list of all n-grams of a text, and the set
# of the different ones,
#
# $$\text{distinct-}n = \frac{|\text{set}|}{|\text{list}|}, \qquad
#   \text{repeated } n\text{-grams} = 1 - \frac{|\text{set}|}{|\text{list}|} .$$
#
# They look like the same number. They are not: for the first there is one list of all texts together, so that it
# notices when ten texts are alike; for the second each text has its own list, and the mean is taken, so that it notices
# a text that goes in circles. (The first is from Li et al. 2016, the second from Welleck et al. 2020.)
#
# **Self-BLEU** asks how much of a text could be copied from the others. $p_n$ is the share of its n-grams that occur in
# one of them, $c$ its length, $r$ that of the other text closest in length:
#
# $$\text{BLEU} = 100\,\min(1, e^{1-r/c})\,(p_1 p_2 p_3 p_4)^{1/4}, \qquad
#   \text{self-BLEU} = \text{its mean over the texts} .$$
#
# If there is no common n-gram, 0.1 stands for the 0 in the count, or the product would vanish (Zhu et al. 2018).

# %% [markdown] tags=["en"]
# ## 4. The code

# %%
style.show_source(distinct_n, repeated_n_grams, self_bleu)

# %% [markdown] tags=["en"]
# ### By hand
#
# Count along; upper and lower case and punctuation do not matter.

# %%
question = "To be, or not to be"
for n in (1, 2, 3):
    print(f"{question!r}: distinct-{n} {Fraction(distinct_n([question], n)).limit_denominator(100)}")
print("repeated 2-grams:", Fraction(repeated_n_grams([question], 2)).limit_denominator(100))

twins = ["the king is dead", "the king is here"]
print(f"{twins}: distinct-1 {Fraction(distinct_n(twins, 1)).limit_denominator(100)}, "
      f"repeated 1-grams {repeated_n_grams(twins, 1):.0f}")  # fmt: skip
by_hand = 100 * (3 / 4 * 2 / 3 * 1 / 2 * 0.1 / 1) ** (1 / 4)
print(f"self-BLEU {self_bleu(twins):.2f}, by hand {by_hand:.2f}")

# %% [markdown] tags=["en"]
# There are four different words out of six, and four different pairs out of five, as `to be` comes twice. Neither of
# the twins repeats a word, and yet three of their eight words are said twice: this is the difference between the two
# measures. Each twin has four words, three pairs, two triples and one quadruple; the other has 3, 2, 1 and none of
# them.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# We can test the unit, the bit, from outside: with a program that compresses. Here are four speeches from plays that
# are not among those that the model was trained on: *As You Like It*, *Henry V*, *The Merchant of Venice* and
# *Macbeth*.

# %%
DRAMA = """\
JAQUES:
All the world's a stage,
And all the men and women merely players:
They have their exits and their entrances;
And one man in his time plays many parts,
His acts being seven ages. At first the infant,
Mewling and puking in the nurse's arms.
And then the whining school-boy, with his satchel
And shining morning face, creeping like snail
Unwillingly to school. And then the lover,
Sighing like furnace, with a woeful ballad
Made to his mistress' eyebrow. Then a soldier,
Full of strange oaths and bearded like the pard,
Jealous in honour, sudden and quick in quarrel,
Seeking the bubble reputation
Even in the cannon's mouth. And then the justice,
In fair round belly with good capon lined,
With eyes severe and beard of formal cut,
Full of wise saws and modern instances;
And so he plays his part. The sixth age shifts
Into the lean and slipper'd pantaloon,
With spectacles on nose and pouch on side,
His youthful hose, well saved, a world too wide
For his shrunk shank; and his big manly voice,
Turning again toward childish treble, pipes
And whistles in his sound. Last scene of all,
That ends this strange eventful history,
Is second childishness and mere oblivion,
Sans teeth, sans eyes, sans taste, sans everything.

KING HENRY V:
Once more unto the breach, dear friends, once more;
Or close the wall up with our English dead.
In peace there's nothing so becomes a man
As modest stillness and humility:
But when the blast of war blows in our ears,
Then imitate the action of the tiger;
Stiffen the sinews, summon up the blood,
Disguise fair nature with hard-favour'd rage;
Then lend the eye a terrible aspect;
Let pry through the portage of the head
Like the brass cannon; let the brow o'erwhelm it
As fearfully as doth a galled rock
O'erhang and jutty his confounded base,
Swill'd with the wild and wasteful ocean.
Now set the teeth and stretch the nostril wide,
Hold hard the breath and bend up every spirit
To his full height. On, on, you noblest English,
Whose blood is fet from fathers of war-proof!

PORTIA:
The quality of mercy is not strain'd,
It droppeth as the gentle rain from heaven
Upon the place beneath: it is twice blest;
It blesseth him that gives and him that takes:
'Tis mightiest in the mightiest: it becomes
The throned monarch better than his crown;
His sceptre shows the force of temporal power,
The attribute to awe and majesty,
Wherein doth sit the dread and fear of kings;
But mercy is above this sceptred sway;
It is enthroned in the hearts of kings,
It is an attribute to God himself;
And earthly power doth then show likest God's
When mercy seasons justice.

MACBETH:
Is this a dagger which I see before me,
The handle toward my hand? Come, let me clutch thee.
I have thee not, and yet I see thee still.
Art thou not, fatal vision, sensible
To feeling as to sight? or art thou but
A dagger of the mind, a false creation,
Proceeding from the heat-oppressed brain?
I see thee yet, in form as palpable
As this which now I draw.
"""
drama = evaluate(model, tokenizer, DRAMA, stride=model.config.n_positions // 2)
size = len(DRAMA.encode())
new = minigpt2.GPT2(model.config, seed=0)
blank = evaluate(new, tokenizer, DRAMA, stride=model.config.n_positions // 2)
print(f"characters                      {len(DRAMA):,}, tokens {drama.tokens:,}")
print(f"plain, 8 bits for each          {8 * size / len(DRAMA):.1f} bits per character")
print(f"zlib, a general compressor      {8 * len(zlib.compress(DRAMA.encode(), 9)) / len(DRAMA):.1f}")
print(f"the model before its training   {blank.bits_per_character:.1f}")
print(f"the built-in model              {drama.bits_per_character:.1f}")
share = drama.tokens / drama.characters
print(f"perplexity {drama.perplexity:.1f} per token; log2(perplexity) x tokens / characters = "
      f"{math.log2(drama.perplexity) * share:.1f}")  # fmt: skip

# %% [markdown] tags=["en"]
# The unit is right: the formula of section 3 gives the same from the perplexity, and both ends of the list are where
# they should be. The comparison with zlib is deliberately unfair. zlib knows nothing when it begins and has to learn
# from the text itself, while the trained model brings along the knowledge of a megabyte of Shakespeare. (Why does the
# untrained one not need 8 bits? Because its vocabulary was made from Shakespeare, too: its tokens are his frequent
# pieces, and naming one of 1,024 costs 10 bits for two or three characters.)

# %% [markdown] tags=["en"]
# ## 6. Experiments
#
# ### Which temperature writes like a human?
#
# `evaluation_report` does all of it at once. It cuts the speeches into 12 parts, takes the first 16 tokens of a line in
# each as a prompt, and lets the model continue for 64 tokens, at several temperatures. Beside it is the poet's own text
# after the same prompts.

# %%
temperatures = (0, 0.4, 0.7, 1.0, 1.3, 1.6)
report = evaluation_report(
    {"shakespeare": (model, tokenizer)}, {"drama": DRAMA}, temperatures=temperatures, samples=12, length=64
)
measures = {
    "repeated_4_grams": "repeated 4-grams", "distinct_1": "distinct-1", "distinct_2": "distinct-2",
    "self_bleu": "self-BLEU (0 to 100)",
}  # fmt: skip
human, *machine = report["texts"]
print(f"{'temperature':22}{'human':>8}", *(f"{row['temperature']:8.1f}" for row in machine))
for key, name in measures.items():
    print(f"{name:22}{human[key]:8.2f}", *(f"{row[key]:8.2f}" for row in machine))

figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.7))
for axis, (key, name) in zip(axes, measures.items(), strict=True):
    axis.plot(temperatures, [row[key] for row in machine], marker="o", markersize=4, label="model")
    axis.axhline(human[key], color=style.ORANGE, ls="--", label="human")
    axis.set(xlabel="temperature", title=name, ylim=(-0.03, 1.05) if key != "self_bleu" else (-2, 60))
axes[0].legend()
plt.show()

# %% [markdown] tags=["en"]
# Greedy writing is a disaster: a quarter of its runs of four words occurred before in the same text, and the texts
# resemble each other. A little temperature changes that quickly. **Around 1, where the model draws as it predicts, all
# four numbers are about those of the human.** Nobody asked it for that in so many words; but the loss that it was
# trained with is lowest when its probabilities are those of the writer. (Twelve texts are few: they cannot say whether
# 0.9 or 1.1 is closest.) Above 1 it is more diverse than the poet. Is it better then? Read:

# %%
for row in (machine[0], machine[3], machine[5]):
    print(f"--- temperature {row['temperature']:g}\n{row['prompts'][0]}|{row['continuations'][0]}\n")

# %% [markdown] tags=["en"]
# At the bar the machine takes over. No measure of diversity sees that the last text is full of words that do not exist.
# And none sees that the text in the middle, whose numbers are human, means nothing.
#
# Does coherence see it? The report has one more number: how many bits per character the model saves when it may look at
# everything before, instead of only the last 8 tokens.

# %%
(loss,) = report["losses"]
print(f"bits per character from up to {model.config.n_positions} tokens:       {loss['bits_per_character']:.2f}")
print(f"bits per character from the last 8 tokens:      {loss['near_bits_per_character']:.2f}")
print(f"saved by the far context:                       {loss['far_context_bits']:.2f}")

# %% [markdown] tags=["en"]
# It is next to nothing. This small model writes line after line in the right tone and does not know what the speech is
# about. That is the number behind the feeling of reading it: every line sounds right, and none leads anywhere.
#
# ### Between vocabularies
#
# Here are two small models of the same width and depth, both trained here, for the same number of steps, on the manual
# that comes with every Python. One reads characters, the other has a vocabulary of 512 pieces, learned from the same
# text; their windows are chosen so that both see about the same number of characters in a step. The end of the manual
# was withheld from both. (The manual says many things twice, so copies are removed first, see notebook 3.2; the first
# line of the output checks it.) We test all three models, these two and the built-in one, on both texts. (The manual
# differs a little from one version of Python to the next, and with it the figures.)

# %%
kept, _ = deduplicate(topics[name] for name in sorted(topics))
manual = "".join(c for c in "".join(kept) if c.isascii())
training_text, MANUAL = manual[:200_000], manual[-4000:]
print(f"8-grams of the end that were in the training text: {overlap([training_text], [MANUAL]):.0%}\n")


def train(tokenizer, T, steps=150, B=8):
    """A new small model, trained on windows of T tokens of the manual."""
    config = minigpt2.GPT2Config(vocab_size=len(tokenizer), n_positions=T, n_embd=64, n_layer=2, n_head=4)
    model = minigpt2.GPT2(config, seed=0, dtype="float64")  # the same figures on every processor
    ids = np.array(tokenizer.encode(training_text))
    optimizer, rng = minigpt2.AdamW(model.params, lr=4e-3), np.random.default_rng(0)
    for _ in range(steps):
        seen = rng.integers(0, len(ids) - T, (B, 1)) + np.arange(T)
        _, grads = model.loss_and_grads(ids[seen], ids[seen + 1])
        optimizer.step(grads, max_norm=1.0)
    return model, tokenizer


characters = CharTokenizer(sorted(set(manual + DRAMA)))
pieces = minigpt2.Tokenizer.train(training_text, vocab_size=512)
models = {
    "manual, characters": train(characters, T=100),
    "manual, 512 pieces": train(pieces, T=48),
    "Shakespeare, built in": (model, tokenizer),
}
table = {}
print(f"{'':22} vocabulary  perplexity of the manual  bits per character: manual, drama")
for name, (reader, its_tokenizer) in models.items():
    on_manual, on_drama = (
        evaluate(reader, its_tokenizer, text, stride=reader.config.n_positions // 2) for text in (MANUAL, DRAMA)
    )
    table[name] = on_manual.bits_per_character, on_drama.bits_per_character
    print(f"{name:22} {len(its_tokenizer):10,} {on_manual.perplexity:21.1f} "
          f"{table[name][0]:29.1f} {table[name][1]:6.1f}")  # fmt: skip

# %% [markdown] tags=["en"]
# Look at the first two lines. **By perplexity the model of characters is many times better; in bits per character it is
# the worse one.** It hesitates between sixteen *characters* or so, the other between ten times as many *pieces*, and a
# piece is two characters long on average. To compare perplexities across vocabularies is to compare lengths of tokens.
#
# The third line shows that quality belongs to a pair, a model *and* a domain. The built-in model is the best in its own
# domain and by far the worst in the other.
#
# ### Three domains
#
# So what does "applicable in different domains" amount to? An experiment that takes longer than a notebook may was run
# beforehand; its figures are kept beside this book (`notebooks/experiments/domains.json`, made by `domains.py`; means
# and standard deviations of three seeds). All share one vocabulary; for each of three domains a *general* model is
# trained on the other two and then meets the third: as it is (zero-shot), or trained further on it in three ways
# (notebook 3.3 explains them). A model *from scratch* has seen that domain only.

# %%
result = json.loads(Path("../experiments/domains.json").read_text(encoding="utf-8"))
bits, forgotten = result["bits per character"], result["forgotten, bits per character"]
domains = {"drama": "English drama", "verse": "Chinese verse", "technical": "technical English"}
titles = ("On the new domain", "Lost on the two others")
faces = {"zero-shot": "0.6", "scratch": style.GREY, "fine-tuned": style.BLUE, "half-frozen": style.GREEN,
         "LoRA": style.ORANGE}  # fmt: skip
markers = dict(zip(faces, "vsoD^", strict=True))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for axis, title, figures in zip(axes, titles, (bits, forgotten), strict=True):
    print(f"{title + ', bits per character':44}", *(f"{name:>18}" for name in domains.values()))
    for k, (way, rows) in enumerate(figures.items()):
        means = [np.mean(rows[key]) for key in domains]
        errors = [np.std(rows[key], ddof=1) for key in domains]
        print(f"    {way:40}", *(f"{m:11.2f} ± {e:4.2f}" for m, e in zip(means, errors, strict=True)))
        places = np.arange(3) + (k - (len(figures) - 1) / 2) * 0.13
        axis.errorbar(places, means, errors, color=faces[way], marker=markers[way], ls="", capsize=2, label=way)
    axis.set_xticks(range(3), [name.replace(" ", "\n") for name in domains.values()])
    axis.grid(axis="x", visible=False)
    axis.set(xlim=(-0.5, 2.5), ylabel="bits per character", title=f"{title}: lower is better")
axes[0].set_yscale("log")
axes[0].set_yticks([2, 3, 5, 10, 20, 30], [2, 3, 5, 10, 20, 30])
axes[0].minorticks_off()
axes[0].legend(fontsize=8)
axes[1].set_ylim(bottom=0)
plt.show()

# %% [markdown] tags=["en"]
# - **English helps English.** On drama and on the technical text, the general model that is fine-tuned beats the one
#   from scratch. The general model had seen the other kind of English.
# - **Chinese verse goes badly.** Zero-shot it needs about as many bits as the plain file (a Chinese character is 24
#   bits in UTF-8), that is, the model knows nothing. And here fine-tuning is *worse* than starting from scratch. Habits
#   that do not carry over get in the way.
# - **Nothing is free.** Full fine-tuning is the best way to a new kind of English, and loses much of the old knowledge.
#   Freezing half of the blocks, or training only small additions (LoRA), loses less of it and learns less, less even
#   than a new model in the same number of steps. After Chinese verse, LoRA does not even lose less.
#
# So there is a number for each word, and a sober sentence in place of a promise: a small model writes in the right tone
# where it was trained, at temperature 1 as variedly as people, and does not know what it is talking about.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which of the numbers of this notebook can be computed without the model, from a printed page alone?
#    *Hint: the table of section 2.*
# 2. A model has a loss of 2 nats per token, and a token has 4 characters on average. How many bits per character is
#    that? *Hint: one division by $\ln 2$, one by 4.*
# 3. Write five texts with distinct-1 equal to 1 that nobody would call diverse. What would a better measure have to
#    know? *Hint: the measures see words, not meanings.*
# 4. Predict how repeated 4-grams and self-BLEU at temperature 1 change with `top_k=5`. Then pass it to
#    `evaluation_report`. *Hint: which tokens can still be drawn? Look at temperature 0.4.*
# 5. Distinct-n falls as texts get longer. Show it with `length=32` and the human text alone. Why must one compare texts
#    of equal length only? *Hint: how many different words does English have, and how often does "the" come back?*
