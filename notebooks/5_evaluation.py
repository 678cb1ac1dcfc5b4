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
#
# **Exercise:** none of its own; the nearest is [8, cross-entropy](../exercises/student/08_cross_entropy.ipynb), the
# loss behind the bits.

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
model = minigpt2.GPT2.from_pretrained("shakespeare", dtype="float64")  # the same samples on every processor
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document has no chapter 5. Its section 4.2 announces one:
# 「第5章介绍了GPT-2模型在几种领域生成效果的评估，验证了模型的有效性」, an evaluation of what GPT-2 generates in several
# domains, which confirms that the model works. Then the text ends. Its introduction says what the chapter would have
# contained: 「可以生成具有高质量、连贯性、多样性的文本」, the generated texts are of high quality, coherent and varied;
# 「在适当调节参数的条件下，也能取得很好的效果」, with suitable settings the result is very good. There is no number for
# any of it. So we wrote the chapter.
#
# This is known of GPT-2 as released:
#
# - **Tasks.** Section 3 of its paper (Radford et al. 2019) has figures without training for the task (notebook 3.4).
# - **Copies.** Its section 8.2 asks whether the samples were learned by heart, and counts: most of them have less than
#   1 % of their 8-grams (runs of eight words) in common with the training text, while the median of human text of the
#   same kind is 2.6 % (figure 5). We ask the same of our model below.
# - **What people think of them.** For the release of the largest model people were asked how credible its texts
#   are: 6.91 of 10 points, 6.72 for the next smaller size, 6.07 for the one before ("GPT-2: 1.5B release", OpenAI,
#   November 2019).
# - **What its makers think of them.** They "contain coherent paragraphs of text" (the paper's abstract), and are "often
#   incoherent or inaccurate in subtle ways, which takes more than a quick read for a human to notice" (README of the
#   repository openai/gpt-2). The model card says that GPT-2 does not distinguish fact from fiction.
#
# Keep the last point in mind below: **none of the numbers here sees whether a text is true.**

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
# Two ways of judging are missing in the table. One is to *ask people*, which is the last word, and slow, and depends on
# whom one asks: in Clark et al. 2021, "All That's 'Human' Is Not Gold", untrained readers told stories by GPT-3 from
# those by people no better than a coin would. The other compares the *distributions* of many texts by model and human
# in the vectors of a large model, as MAUVE does (Pillutla et al. 2021). It needs thousands of texts and a second,
# larger model, and so it is not for this notebook.
#
# Both kinds of numbers are needed, because a model is one thing and the way to draw from it another. The same logits
# (the model's scores, notebook 4.1) give a timid text or a wild one, depending on the **temperature** $\tau$:

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

# %% [markdown] tags=["en", "alt"]
# Three bar charts of the eight likeliest tokens after "I am" at temperatures 0.5, 1 and 1.6. At 0.5 the longest bars
# are longer and little is left for all other tokens; at 1.6 the bars are short and nearly all is left for the others.

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
# **Self-BLEU** asks how much of a text could be copied from the others. An n-gram $g$ occurs $C(g)$ times in the text,
# and at most $R(g)$ times in one of the others, the one that has it most often. More than that is not credited, it is
# *clipped*:
#
# $$p_n = \frac{\sum_g \min\big(C(g),\, R(g)\big)}{\sum_g C(g)} .$$
#
# Without clipping, "the the the the the" could be copied as a whole from a text with one "the". With the text's length
# $c$, and $r$ that of the other text closest in length,
#
# $$\text{BLEU} = 100\,\min(1, e^{1-r/c})\,(p_1 p_2 p_3 p_4)^{1/4}, \qquad
#   \text{self-BLEU} = \text{its mean over the texts} .$$
#
# If there is no common n-gram, 0.1 stands for the 0 in the count, or the product would vanish. (BLEU is from Papineni
# et al. 2002, clipping in section 2.1; self-BLEU from Zhu et al. 2018.)

# %% [markdown] tags=["en"]
# ## 4. The code
#
# The measures, and the function that section 6 calls for all of them at once:

# %%
style.show_source(distinct_n, repeated_n_grams, self_bleu, evaluation_report)

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

pair = ["the the the the the", "the cat sat down here"]
clipped, first = (100 * (p_1 * 0.1 / 4 * 0.1 / 3 * 0.1 / 2) ** (1 / 4) for p_1 in (1 / 5, 1))
print(f"{pair}: self-BLEU {self_bleu(pair):.2f}, by hand {clipped:.2f}, not clipped {(first + clipped) / 2:.2f}")

# %% [markdown] tags=["en"]
# There are four different words out of six, and four different pairs out of five, as `to be` comes twice. Neither of
# the twins repeats a word, and yet three of their eight words are said twice: this is the difference between the two
# measures. Each twin has four words, three pairs, two triples and one quadruple; the other has 3, 2, 1 and none of
# them. Of the last pair each text has $p_1 = \frac15$: the first has five "the", of which one is credited.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# We can test the unit, the bit, from outside: with a program that compresses. Here are four speeches from plays that
# are not among those that the model was trained on: *As You Like It*, *Henry V*, *The Merchant of Venice* and
# *Macbeth*. The text is called `DRAMA`.

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

# %%
drama = evaluate(model, tokenizer, DRAMA, stride=model.config.n_positions // 2)
size = len(DRAMA.encode())
new = minigpt2.GPT2(model.config, seed=0)
blank = evaluate(new, tokenizer, DRAMA, stride=model.config.n_positions // 2)
print(f"characters                      {len(DRAMA):,}, tokens {drama.tokens:,}")
print(f"plain file                      {8 * size / len(DRAMA):.1f} bits per character")
print(f"zlib                            {8 * len(zlib.compress(DRAMA.encode(), 9)) / len(DRAMA):.1f}")
share = drama.tokens / drama.characters
print(f"all tokens alike                {math.log2(len(tokenizer)) * share:.1f}")
print(f"model, before training          {blank.bits_per_character:.1f}")
print(f"model, trained                  {drama.bits_per_character:.1f}")
print(f"perplexity {drama.perplexity:.1f} per token; log2(perplexity) x tokens / characters = "
      f"{math.log2(drama.perplexity) * share:.1f}")  # fmt: skip

# %% [markdown] tags=["en"]
# The unit is right: the untrained model needs what counting gives for a guess among 1,024 tokens alike, 10 bits for
# each of the 1,239; and the formula of section 3 gives the same from the perplexity. zlib is a general compressor. The
# comparison with it is deliberately unfair. zlib knows nothing when it begins and has to learn from the text itself,
# while the trained model brings along the knowledge of a megabyte of Shakespeare. (Why does the untrained one not need
# 8 bits? Because its vocabulary was made from Shakespeare, too: its tokens are his frequent pieces, and 10 bits name
# two or three characters.)

# %% [markdown] tags=["en"]
# ## 6. Experiments
#
# ### Which temperature writes like a human?
#
# `evaluation_report` cuts the speeches into 12 parts, takes the first 16 tokens of a line in each as a prompt, and lets
# the model continue for 64 tokens, at several temperatures. Beside it is the poet's own text after the same prompts.
# Twelve texts are few, so we also ask what chance does: around the interesting place, three more draws of twelve.

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
lengths = (np.mean([len(text.split()) for text in row["continuations"]]) for row in report["texts"])
print(f"{'words in a text':22}" + " ".join(f"{words:8.0f}" for words in lengths))

prompt_ids = np.array([tokenizer.encode(prompt) for prompt in human["prompts"]])
draws = {}
for temperature in (0.7, 1.0, 1.3):
    ids = model.generate(np.tile(prompt_ids, (3, 1)), 64, temperature=temperature, seed=1)
    written = [tokenizer.decode(row[prompt_ids.shape[1] :]) for row in ids]
    groups = [machine[temperatures.index(temperature)]["continuations"], *(written[i : i + 12] for i in (0, 12, 24))]
    draws[temperature] = {
        "distinct_1": [distinct_n(group, 1) for group in groups],
        "distinct_2": [distinct_n(group, 2) for group in groups], "self_bleu": [self_bleu(group) for group in groups],
    }  # fmt: skip
print("\nlowest and highest of four draws")
for key in draws[1.0]:
    ranges = (f"{min(draws[t][key]):.2f} ... {max(draws[t][key]):.2f}" for t in draws)
    print(f"{measures[key]:22}{human[key]:8.2f}", *(f"   {t}: {r}" for t, r in zip(draws, ranges, strict=True)))

# %%

figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.7))
for axis, (key, name) in zip(axes, measures.items(), strict=True):
    axis.plot(temperatures, [row[key] for row in machine], marker="o", markersize=4, label="model")
    for temperature, found in draws.items():
        if key in found:
            axis.plot([temperature] * 2, [min(found[key]), max(found[key])], color="0.3", ls="-", lw=3, alpha=0.5,
                      label="four draws" if temperature == 1 else None)  # fmt: skip
    axis.axhline(human[key], color=style.ORANGE, ls="--", label="human")
    axis.set(xlabel="temperature", title=name, ylim=(-0.03, 1.05) if key != "self_bleu" else (-2, 60))
axes[1].legend(loc="lower right")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Four panels over temperature: repeated 4-grams, distinct-1, distinct-2 and self-BLEU of the model, each with a dashed
# line for the human. At 0 the model is far from all four lines; it meets that of the 4-grams at 0.4 and the others
# between 0.7 and 1.3. Short grey bars show how much four draws differ.

# %% [markdown] tags=["en"]
# Greedy writing is a disaster: a quarter of its runs of four words occurred before in the same text, and the texts
# resemble each other. A little temperature changes that quickly, and from 0.7 on repeated 4-grams tell nothing any
# more: neither the model nor the human has any.
#
# Where are the other three about those of the human? By both kinds of distinct-n the human lies within the four draws
# at **temperature 1**, above those at 0.7, and at or below the lowest at 1.3. By self-BLEU he lies within those at 0.7
# and just above those at 1. So the answer is "1, or a little less", and twelve texts cannot say more. (Are the texts
# of equal length? In tokens, yes; in words, nearly, from 0.7 on. Cut after 26 words, they give the same answer.) Nobody
# asked the model for that in so many words; but the loss that it was trained with is lowest when its probabilities are
# those of the writer, and temperature 1 leaves them as they are. At 1.6 it is more varied than the poet. Is it better
# then? Read:

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
print(f"bits per character from up to {model.config.n_positions} tokens   {loss['bits_per_character']:.2f}")
print(f"bits per character from the last 8 tokens     {loss['near_bits_per_character']:.2f}")
print(f"saved by the far context                      {loss['far_context_bits']:.2f}")

# %% [markdown] tags=["en"]
# It is next to nothing. (Eight tokens are about half a line of verse.) This small model writes line after line in the
# right tone and does not know what the speech is about. That is the number behind the feeling of reading it: every line
# sounds right, and none leads anywhere.
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


def train(tokenizer, T, steps=100, B=8):
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
    "manual, characters": train(characters, T=80),
    "manual, 512 pieces": train(pieces, T=38),
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
# Look at the first two rows. **By perplexity the model of characters is many times better; in bits per character it is
# the worse one.** It hesitates between sixteen *characters* or so, the other between more than ten times as many
# *pieces*, and a piece is two characters long on average. To compare perplexities across vocabularies is to compare
# lengths of tokens.
#
# The third row shows that quality belongs to a pair, a model *and* a domain. The built-in model is the best in its own
# domain and by far the worst in the other.
#
# ### Does it copy?
#
# A model that recites its training text would pass all these tests: it is fluent, coherent and varied. So one has to
# ask whether the samples are new. As in figure 5 of GPT-2's paper we count, in each sample, the share of its runs of
# eight words that stand in the training text. Here is the counter on two texts for which we know the answer:

# %%
print(f"from the training text {overlap([training_text], [training_text[1000:5000]]):.0%}")
print(f"withheld               {overlap([training_text], [MANUAL]):.0%}")

# %% [markdown] tags=["en"]
# The built-in model's training text, a megabyte of Shakespeare, is no part of this package. So the count was made
# beforehand (`notebooks/experiments/copies.py`): 100 prompts from the tenth of the plays that the model has not read,
# continued with 240 tokens, about a hundred words, in four ways. Beside them is what Shakespeare wrote after the same
# prompts, and as a control 100 pieces of the training text itself. The same with runs of four words:

# %%
copies = json.loads(Path("../experiments/copies.json").read_text(encoding="utf-8"))
print(f"{'':26} {'4-grams':>8} {'8-grams':>8}   samples with a copied 8-gram")
for writer, shares in copies.items():
    with_one = sum(share > 0 for share in shares["8"])
    print(f"{writer:26} {np.mean(shares['4']):8.1%} {np.mean(shares['8']):8.1%} {with_one:8} of {len(shares['8'])}")

# %% [markdown] tags=["en"]
# None of the four ways copies a run of eight words, though the model read its text about thirty times (4,000 steps of
# 12 windows of 256 tokens). The counter would have noticed: see the first row. (What it lacks to 100 % are runs with
# the first or the last word of a piece, which the cutting has damaged.) Shakespeare himself repeats none, either; web
# pages do, and so GPT-2's human texts had 2.6 %.
#
# Runs of four words are another matter. At temperature 1 the model has fewer of Shakespeare's than Shakespeare, greedy
# it has many more: its favourite phrases are his.
#
# What this does not show: that such models never recite. A mean over samples hides rare cases, and larger models have
# room for more. Carlini et al. 2021, "Extracting Training Data from Large Language Models", searched for such cases in
# what the largest GPT-2 writes and found some 600 passages of its training text.
#
# ### Three domains
#
# So what does "applicable in different domains" amount to? An experiment that takes longer than a notebook may was run
# beforehand; its figures are kept beside this book (`notebooks/experiments/domains.json`, made by `domains.py`; means
# and standard deviations of two seeds). All share one vocabulary of 2,048 tokens; for each of three domains a
# *general* model is trained on the other two, 500 steps, and then meets the third: as it is (zero-shot), or trained
# further on it, 150 steps, in three ways ([3.3](3_3_fine_tuning.ipynb) explains them). A model *from scratch* has had
# 150 steps on that domain and nothing else. The step at which a model is taken and the learning rate of each way (the
# best of three on drama) were chosen on one text; the losses here are those on *another* one, which no choice has seen.
# And as always a figure needs something to be compared with: what does the plain file need, and what a guess that gives
# each of the 2,048 tokens the same probability?

# %%
result = json.loads(Path("../experiments/domains.json").read_text(encoding="utf-8"))
bits, forgotten = result["bits per character"], result["forgotten, bits per character"]
free = result["wte free, bits per character"], result["wte free, forgotten, bits per character"]
domains = {"drama": "English drama", "verse": "Chinese verse", "technical": "technical English"}
titles = ("On the new domain", "Lost on the two others")
faces = {"zero-shot": "0.6", "scratch": style.GREY, "fine-tuned": style.BLUE, "half-frozen": style.GREEN,
         "LoRA": style.ORANGE}  # fmt: skip
markers = dict(zip(faces, "vsoD^", strict=True))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
line = "    {:40} {}".format
print(f"{'Without a model, bits per character':44}", *(f"{name:>18}" for name in domains.values()))
for name in ("uniform over the vocabulary, bits per character", "plain file, bits per character"):
    row = (result["without a model"][key][name] for key in domains)
    print(line(name.split(",")[0], " ".join(f"{b:11.2f}       " for b in row)).rstrip())
row = (result["without a model"][key]["share of tokens never read"] for key in domains)
print(line("tokens that the general model never read", " ".join(f"{share:11.0%}       " for share in row)).rstrip())
for axis, title, figures, controls in zip(axes, titles, (bits, forgotten), free, strict=True):
    print(f"{title + ', bits per character':44}", *(f"{name:>18}" for name in domains.values()))
    for k, (way, rows) in enumerate(figures.items()):
        means = [np.mean(rows[key]) for key in domains]
        errors = [np.std(rows[key], ddof=1) for key in domains]
        print(line(way, " ".join(f"{m:11.2f} ± {e:4.2f}" for m, e in zip(means, errors, strict=True))))
        places = np.arange(3) + (k - (len(figures) - 1) / 2) * 0.13
        axis.errorbar(places, means, errors, color=faces[way], marker=markers[way], ls="", capsize=2, label=way)
    for way, rows in controls.items():
        pairs = ((np.mean(rows[key]), np.std(rows[key], ddof=1)) for key in domains)
        print(line(way, " ".join(f"{m:11.2f} ± {e:4.2f}" for m, e in pairs)))
    axis.set_xticks(range(3), [name.replace(" ", "\n") for name in domains.values()])
    axis.grid(axis="x", visible=False)
    axis.set(xlim=(-0.5, 2.5), ylabel="bits per character", title=f"{title}: lower is better")
axes[0].set_yscale("log")
axes[0].set_yticks([2, 3, 5, 10, 20, 30], [2, 3, 5, 10, 20, 30])
axes[0].minorticks_off()
axes[0].set(ylabel="bits per character (logarithmic axis)")
axes[1].set_ylim(bottom=0)
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two panels with dots and error bars, for English drama, Chinese verse and technical English. On the left, bits per
# character after each way of training: verse is far above the two kinds of English in all of them, and highest
# zero-shot. On the right, what was lost on the two other domains: most by full fine-tuning, in each of the three.

# %% [markdown] tags=["en"]
# - **A first training can help.** On drama and on the technical text, the general model that is fine-tuned beats the
#   one from scratch. It had read the other kind of English; it has also had more than four times as many steps. That
#   English helped English, this table does not show: with `wte` free the general model is ahead in verse, too.
# - **Chinese verse: worse than a guess.** The vocabulary has tokens for Chinese characters, and so a model that knew
#   nothing, and said so, would need the bits of the row "uniform". The general model needs more. It is not ignorant, it
#   is sure of things that are not so: most tokens of the verse do not occur in anything that it read, and all that it
#   ever learned of them is that they do not come. (The technical text has such tokens, too, and the same happens there
#   on a smaller scale.)
# - **Frozen rows are of no use.** Half-frozen and LoRA freeze `wte`, the table that is the output layer, too. For verse
#   that means that the vectors of tokens which were never read stay as they are, and the column shows that they cannot
#   be used, and nothing about low rank or low blocks. The rows "wte free" are the control: the same with that table
#   trained. [3.3](3_3_fine_tuning.ipynb), section 6, has more of it.
# - **Nothing is free.** Full fine-tuning is a good way to a new kind of English, and loses much of the old knowledge.
#   If the table is among the frozen parts, less is lost, and less is learned. With the table free as much is learned as
#   by full fine-tuning, and in verse more; LoRA then still loses less than that in all three domains, half-frozen not
#   in technical English, and the two seeds differ much.
#
# So there is a number for each word, and a sober sentence in place of a promise: a small model writes in the right tone
# where it was trained, at temperature 1 about as variedly as people, copies no run of eight words in 400 samples, and
# does not know what it is talking about.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which of the numbers of this notebook can be computed without the model, from a printed page alone?
#    *Hint: the table of section 2.*
#
#    <details><summary>Answer</summary>
#
#    Those of the second kind: repeated n-grams, distinct-n and self-BLEU (for several pages); and the share of copied
#    8-grams, if one has the training text as well. Bits per character, and what the far context saves of them, need the
#    model's probabilities.
#
#    </details>
#
# 2. A model has a loss of 2 nats per token, and a token has 4 characters on average. How many bits per character is
#    that? *Hint: one division by $\ln 2$, one by 4.*
#
#    <details><summary>Answer</summary>
#
#    $2 / \ln 2 = 2.885$ bits per token, and $2.885 / 4 = 0.72$ bits per character.
#
#    </details>
#
# 3. Write five texts with distinct-1 equal to 1 that nobody would call diverse. What would a better measure have to
#    know? *Hint: the measures see words, not meanings.*
#
#    <details><summary>Answer</summary>
#
#    "a big house", "the large building", "some huge home", "one enormous dwelling", "that vast residence": fifteen
#    words, none twice, and so distinct-1 is 1; self-BLEU is as low as it can be. A better measure would have to know
#    that *big* and *large* mean the same, for instance by comparing vectors of a language model in place of words.
#
#    </details>
#
# 4. Predict how repeated 4-grams and self-BLEU at temperature 1 change with `top_k=5`. Then pass it to
#    `evaluation_report`. *Hint: which tokens can still be drawn? Look at temperature 0.4.*
#
#    <details><summary>Answer</summary>
#
#    Only the five likeliest tokens are left, so the texts become like those of a lower temperature: self-BLEU rises
#    from about 2 to about 12, distinct-1 falls from 0.61 to 0.40, both close to temperature 0.4 (8 and 0.37). Repeated
#    4-grams stay near 0: four words in a row are seldom drawn twice as long as there is a draw at all.
#
#    </details>
#
# 5. Distinct-n falls as texts get longer. Show it with `length=32` and the human text alone. Why must one compare texts
#    of equal length only? *Hint: how many different words does English have, and how often does "the" come back?*
#
#    <details><summary>Answer</summary>
#
#    `evaluation_report(..., temperatures=(0,), samples=12, length=32)["texts"][0]["distinct_1"]` is 0.72, with
#    `length=16` it is 0.78, with `length=64` 0.64. The author is the same. Frequent words come back in every sentence
#    and are counted as different only once, while new words become rarer. So a shorter text looks more varied, and a
#    model that stops early would win.
#
#    </details>
#
# Numbers say how good a model is. They do not say whether it computes what you meant. **Next:**
# [6, find the bug](6_find_the_bug.ipynb)
