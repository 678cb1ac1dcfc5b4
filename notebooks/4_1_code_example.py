# %% [markdown] tags=["en"]
# # 4.1 代码实例 · Code example
#
# Nine lines of Python send one sentence through GPT-2, and two of the nine are wrong. This notebook does the same with
# minigpt2, line by line, corrects the two lines, and then takes its time over the output: which row belongs to which
# token, what a logit is, and which things the loss compares. All three are places where people who write their first
# language model go astray.
#
# You need Python, NumPy and the logarithm. A **token** is a piece of text with a number; there are $V$ of them. A
# model reads $B$ texts of $T$ tokens at once and gives a score to each of the $V$ tokens, for each place in each text.

# %%
import sys
from fractions import Fraction
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.reference import DOCUMENT_IDS, DOCUMENT_LOGITS, recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document's example uses the library *transformers* of Hugging Face, which runs on PyTorch. It loads the released
# GPT-2 and its tokenizer, encodes "Hello, my dog is cute", gives the model the sentence together with a copy of it as
# *labels*, takes loss and logits from the result, and prints some logits. Two sentences explain it. Here is every line
# with its counterpart in minigpt2 (the left side is only shown; this notebook does not need transformers):
#
# | | with transformers | with minigpt2 |
# |---|---|---|
# | 1 | `tokenizer = GPT2Tokenizer.from_pretrained('gpt2')` | `tokenizer = minigpt2.Tokenizer.from_pretrained(NAME)` |
# | 2 | `model = GPT2LMHeadModel.from_pretrained('gpt2', ...)` | `model = minigpt2.GPT2.from_pretrained(NAME)` |
# | 3 | `input_ids = tokenizer.encode(TEXT, return_tensors='pt')` | `input_ids = np.array([tokenizer.encode(TEXT)])` |
# | 4 | `labels = input_ids.clone().detach()` | `targets = np.append(input_ids[:, 1:], [[-100]], axis=1)` |
# | 5 | `outputs = model(input_ids, labels=labels)[0]` | `loss = model.loss(input_ids, targets)` |
# | 6 | `loss, logits = outputs[:2]` | `logits, cache = model.forward(input_ids)` |
# | 7 | `print(logits[0])` | `print(logits[0, 0])` |
#
# Four things in code and explanation are wrong:
#
# - **Lines 5 and 6 do not run.** The `[0]` at the end of line 5 already takes the loss out. Line 6 tries to cut the
#   first two elements out of a single number.
# - **Line 7 does not print the first time step.** It prints all time steps of the first text.
# - **Logits are not probabilities**, although the explanation calls them so.
# - **Nothing is generated.** The model is shown the whole sentence and says, for each place in it, which token it
#   expects next. Generation is a loop around that (notebook 2.3).
#
# Now we run the right-hand column, on the small model that comes with this package. For the released one change the
# first line to `NAME = "gpt2"`; it is downloaded once, half a gigabyte. All cells run with either; the text's remarks
# about numbers refer to the small one.

# %%
NAME = "shakespeare"  # or "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"
TEXT = "Hello, my dog is cute"

tokenizer = minigpt2.Tokenizer.from_pretrained(NAME)
model = minigpt2.GPT2.from_pretrained(NAME)
input_ids = np.array([tokenizer.encode(TEXT)])
targets = np.append(input_ids[:, 1:], [[-100]], axis=1)
loss = model.loss(input_ids, targets)
logits, cache = model.forward(input_ids)

print("input_ids", input_ids)
print("targets  ", targets)
print(f"loss       {loss:.2f}")
print("logits    ", logits.shape)

# %% [markdown] tags=["en"]
# **The first mistake.** transformers returns loss and logits as something that behaves like a tuple. Let us put them
# into one, and do the same to it as lines 5 and 6:

# %%
returned = (np.float32(loss), logits)  # the result of model(input_ids, labels=labels) behaves like this

outputs = returned[0]  # line 5: the [0] takes the loss
try:
    loss_, logits_ = outputs[:2]  # line 6
except (IndexError, TypeError) as error:
    print(f"{type(error).__name__}: {error}")

outputs = returned  # line 5 without [0]
loss_, logits_ = outputs[:2]
print("corrected:", f"loss {loss_:.2f},", "logits", logits_.shape)

# %% [markdown] tags=["en"]
# (PyTorch's message for a tensor without dimensions is "slice() cannot be applied to a 0-dim tensor".) Either the `[0]`
# or line 6 has to go. minigpt2 asks two questions in two calls, so there is nothing to unpack.
#
# **The second mistake.** `logits` has three axes, `(B, T, V)`. One index takes away the first, two take away two:

# %%
print(f"logits[0]      {logits[0].shape!s:12} all places of text 0")
print(f"logits[0, 0]   {logits[0, 0].shape!s:12} after the first token alone")
print(f"logits[0, -1]  {logits[0, -1].shape!s:12} after the whole sentence")

# %% [markdown] tags=["en"]
# Is row $t$ really the prediction after tokens $0 \ldots t$ and nothing else? If so, a model that is shown only the
# beginning of the sentence must give the same rows.

# %%
for length in (1, 4, 8):
    shorter, _ = model.forward(input_ids[:, :length])
    error, _ = relative_error(shorter, logits[:, :length])
    style.show_agreement(f"rows 0 ... {length - 1} from the first {length} tokens", error, tolerance=1e-4)

# %% [markdown] tags=["en"]
# So the expression that fits the explanation is `logits[0, 0]`: the scores after the first token, `H`. To continue the
# sentence, take the last row, `logits[0, -1]`.

# %% [markdown] tags=["en"]
# ## 2. The idea: every place is an exercise
#
# A sentence of $T$ tokens contains $T-1$ exercises: the first token is given, guess the second; the first two are
# given, guess the third; and so on. The model does all of them in one pass. To mark them we need the answers, and these
# are the same tokens, **shifted by one place**. Nothing follows the last token, so its answer is the number -100, which
# stands for "do not mark this one".
#
# This shift is the difference between the two columns in line 4. In transformers `labels` is an unshifted copy, and the
# model shifts it inside. In minigpt2 `targets` are the tokens that should be predicted, and you see the shift where it
# is made.
#
# Under each bar of the picture are the token that was read and the one that should follow. The height says how
# surprised the model was: $-\ln$ of the probability that it gave to the right one.

# %%
T = input_ids.shape[1]
probs = softmax_forward(logits[0].astype(np.float64))
surprise = -np.log(probs[np.arange(T - 1), targets[0, :-1]])
pieces = [tokenizer.decode([i]).replace(" ", "_") for i in input_ids[0]]

figure, axes = plt.subplots(figsize=(7, 3.2))
axes.bar(range(T - 1), surprise, color=style.BLUE, width=0.6)
for height, name, color, dash in (
    (surprise.mean(), "loss: their mean", style.ORANGE, "--"),
    (np.log(len(tokenizer)), "guessing: ln V", "0.4", ":"),
):
    axes.axhline(height, color=color, ls=dash)
    axes.text(T + 0.4, height + 0.1, name, color=color, ha="right", va="bottom")
axes.set_xticks(range(T - 1), [f"{a}\n↓\n{b}" for a, b in pairwise(pieces)], family="monospace")
axes.grid(axis="x", visible=False)
axes.set(xlim=(-0.6, T + 0.4), ylabel="surprise (nats)", xlabel="token read and token that should follow; _ is a space")
plt.show()
print(f"mean {surprise.mean():.2f}, loss {loss:.2f}")

# %% [markdown] tags=["en"]
# The built-in model knows Shakespeare and nothing else. It expected a comma after the greeting. The second piece of
# `Hello` and the beginning of `dog` surprise it more than they would surprise a blind guesser among all tokens: it was
# sure of something else.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `input_ids` | `(B, T)` | tokens |
# | $\mathrm{logits}$ | `logits` | `(B, T, V)` | scores, any numbers |
# | $p$ | `probs` (of text 0) | `(B, T, V)` | probabilities, positive, sum 1 over the last axis |
# | $y$ | `targets` | `(B, T)` | the right answers; -100 where there is none |
# | $N$ | `counted.sum()` | one number | number of answers, here $T-1$ |
#
# For one place, with $v$ and $u$ counting the vocabulary, the **softmax** turns scores into probabilities:
#
# $$p_v = \frac{e^{\mathrm{logits}_v}}{\sum_u e^{\mathrm{logits}_u}}, \qquad
#   \ln p_v = \mathrm{logits}_v - \underbrace{\ln\sum_u e^{\mathrm{logits}_u}}_{\text{the same for all } v} .$$
#
# The second form says what a logit is: **the logarithm of a probability, up to a constant** that we are not told. Add
# 100 to every logit, and numerator and denominator of the first form both grow by the factor $e^{100}$: no probability
# changes. So a single logit means nothing. A *difference* of two does:
#
# $$\mathrm{logits}_v - \mathrm{logits}_w = \ln p_v - \ln p_w = \ln\frac{p_v}{p_w} .$$
#
# The loss is the mean surprise over the $N$ places that have an answer:
#
# $$\mathrm{loss} = -\frac1N\sum_{t:\,y_t\ne-100} \ln p_{t,\,y_t}, \qquad y_t = x_{t+1} .$$
#
# **Backward.** Take a place $t$ with an answer. Its part of the loss is
# $\frac1N\bigl(\ln\sum_u e^{\mathrm{logits}_u} - \mathrm{logits}_{y}\bigr)$. The derivative of the logarithm of a sum
# is one over the sum, times the derivative of the sum:
#
# $$\frac{\partial}{\partial\,\mathrm{logits}_v}\ln\sum_u e^{\mathrm{logits}_u}
#   = \frac{e^{\mathrm{logits}_v}}{\sum_u e^{\mathrm{logits}_u}} = p_v ,$$
#
# and the second term gives $-1$ if $v = y$, else 0. Together, with $\delta_{vy}$ for 1 if $v = y$ and 0 otherwise,
#
# $$d\,\mathrm{logits}_{tv} = \frac{p_{tv} - \delta_{v y_t}}{N}, \qquad 0 \text{ where } y_t = -100 .$$
#
# Predicted minus wanted. (Notebook 2.5.8 has the same with all its details.)

# %% [markdown] tags=["en"]
# ## 4. The code
#
# These are the functions that `model.loss` calls once it has the logits. `xp` is NumPy (or its twin on a graphics
# card), and `label_smoothing`, the subject of notebook 2.5.7, is 0 here; `masked_mean(losses, counted)` is
# `losses[counted].mean()`, and `in_parallel` takes a few rows at a time, on all cores.

# %%
style.show_source(minigpt2.GPT2.loss, cross_entropy_forward, cross_entropy_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take a language of three tokens and a text of three places. The logits are logarithms of 1, 2 and 1 in some order, so
# that the probabilities come out as quarters.

# %%
tiny_logits = np.log([[1.0, 2, 1], [2, 1, 1], [1, 1, 2]])
tiny_targets = np.array([1, 1, -100])
tiny_loss, tiny_cache = cross_entropy_forward(tiny_logits, tiny_targets)
dlogits = cross_entropy_backward(1.0, tiny_cache)


def fractions(array):
    """Rows of an array as fractions."""
    return "\n".join("  ".join(f"{Fraction(float(v)).limit_denominator(64)!s:>5}" for v in row) for row in array)


print("probs\n" + fractions(softmax_forward(tiny_logits)))
print("dlogits\n" + fractions(dlogits))
print(f"loss {tiny_loss:.4f} = 3/2 ln 2 = {1.5 * np.log(2):.4f}")

# %% [markdown] tags=["en"]
# The first place gives its answer, token 1, the probability $\tfrac12$, the second gives it $\tfrac14$; the third has
# no answer. So $N = 2$ and $\mathrm{loss} = \tfrac12(\ln 2 + \ln 4) = \tfrac32\ln 2$. The gradient of the first row is
# $\tfrac12(\tfrac14,\ \tfrac12-1,\ \tfrac14)$. The last row is 0: training never hears of that place.
#
# ### Logits are not probabilities
#
# Here is the last row of the real example, once as logits, once as probabilities:

# %%
row, row_probs = logits[0, -1].astype(np.float64), probs[-1]
print(f"logits  smallest {row.min():6.1f}   largest {row.max():5.1f}   sum {row.sum():8.1f}")
print(f"probs   smallest {row_probs.min():6.0e}   largest {row_probs.max():5.2f}   sum {row_probs.sum():8.1f}")
style.show_agreement("probs of logits + 100", relative_error(softmax_forward(row + 100), row_probs)[0])
first, second = np.argsort(-row)[:2]
print(f"difference of the two best logits, as a factor: {np.exp(row[first] - row[second]):.2f}")
print(f"quotient of their probabilities:                {row_probs[first] / row_probs[second]:.2f}")
low = np.flatnonzero(row < -10)
single = sum(len(tokenizer.decode_bytes([i])) == 1 for i in low)
print(f"tokens with a logit below -10: {len(low)}, {single} of them single bytes")

figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
ranks = np.arange(1, len(row) + 1)
left.semilogx(ranks, np.sort(row)[::-1])
left.axhline(0, color="0.6", lw=0.8, ls="-")
left.set(xlabel="rank of the token, 1 is the best", ylabel="logit", title="Logits: any number")
right.semilogx(ranks, np.sort(row_probs)[::-1])
right.set(xlabel="rank of the token, 1 is the best", ylabel="probability", title="Probabilities: 0 to 1, sum 1")
plt.show()

# %% [markdown] tags=["en"]
# The order is the same on both sides, which is why the most likely token can be read from the logits. A probability
# cannot: anyone who takes the numbers on the left for probabilities finds negative ones. (The cliff at the end of the
# left curve is made of tokens that the model had no occasion to expect. Most, as the count shows, are single bytes,
# those of characters that Shakespeare did not use.)

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **The gradient**, against the definition of a derivative, and an easy mistake with -100: to divide by all places
# instead of by those that count.

# %%
rng = np.random.default_rng(0)
inputs = {"logits": rng.normal(size=(2, 4, 5)), "targets": np.array([[1, 4, 0, -100], [3, 3, 2, -100]])}
style.show_check(minigpt2.gradient_check(cross_entropy_forward, cross_entropy_backward, inputs))


def dividing_by_all_places(dloss, cache):
    """The backward pass of someone who divides by B T, though only B (T - 1) places have an answer."""
    counted = cache["counted"]
    return cross_entropy_backward(dloss, cache) * counted.sum() / counted.size


style.show_check(minigpt2.gradient_check(cross_entropy_forward, dividing_by_all_places, inputs))

# %% [markdown] tags=["en"]
# **The document's example, against transformers.** The package carries the example's token ids in GPT-2's own
# vocabulary, and the values that transformers computed from them, recorded once. The trained weights are too large to
# carry, so both sides used a *new* GPT-2 of the smallest released size, with the random weights that `seed=0` gives. A
# new model knows nothing: its loss should be about $\ln 50257$. (Every 997th logit was kept.)

# %%
config = minigpt2.GPT2Config.preset("gpt2")
new = minigpt2.GPT2(config, seed=0)
document_ids = np.array([DOCUMENT_IDS])
document_targets = np.append(document_ids[:, 1:], [[-100]], axis=1)
document_logits, _ = new.forward(document_ids, keep=False)
document_loss = new.loss(document_ids, document_targets)
reference = recorded("document_example")

print(f"{new.num_parameters:,} parameters, ids {DOCUMENT_IDS}, logits {document_logits.shape}")
print(f"loss {document_loss:.2f}, ln V {np.log(config.vocab_size):.2f}")
print(f"variance of the logits {document_logits.var():.2f}")
error, _ = relative_error(document_logits[..., DOCUMENT_LOGITS], reference["logits"])
style.show_agreement("logits", error, tolerance=1e-4)
style.show_agreement("loss", abs(document_loss / float(reference["loss"]) - 1), tolerance=1e-4)
print("most likely tokens equal:", np.array_equal(document_logits.argmax(axis=-1), reference["argmax"]))
del new, document_logits

# %% [markdown] tags=["en"]
# These are 32-bit numbers, of seven digits, summed in another order; hence the coarser tolerance.
#
# The loss lies above $\ln V$, and not by accident: the logits of a new model are random, not equal, and a preference
# that has nothing to do with the text makes a guess worse. (For normally distributed logits the excess is half their
# variance, on average.) Question 3 is about that.

# %% [markdown] tags=["en"]
# ## 6. What if the shift is wrong?
#
# The two libraries shift in different places, so two mistakes are easy to make. Give minigpt2 an unshifted copy as
# targets, as transformers wants it: shift 0. Give transformers labels that you have already shifted: it shifts them
# again, shift 2. Neither gives an error message. Do they show in the loss? Three tiny models learn sentences like the
# document's, letter by letter, with the targets 0, 1 and 2 places away.

# %%
rng = np.random.default_rng(0)
pets, words = ("dog", "cat", "pony", "mouse", "parrot"), ("cute", "small", "hungry", "asleep", "gone")
text = "".join(f"Hello, my {rng.choice(pets)} is {rng.choice(words)}.\n" for _ in range(400))
letters = CharTokenizer(sorted(set(text)))
ids = np.array(letters.encode(text))
small = minigpt2.GPT2Config(vocab_size=len(letters), n_positions=64, n_embd=48, n_layer=2, n_head=4)
windows = np.arange(32)


def train(shift, steps=200, B=16):
    """A new model that learned to name the letter ``shift`` places ahead, and its losses."""
    rng, model, losses = np.random.default_rng(1), minigpt2.GPT2(small, seed=0), []
    optimizer = minigpt2.AdamW(model.params, lr=3e-3)
    for _ in range(steps):
        seen = rng.integers(0, len(ids) - 34, (B, 1)) + windows
        loss, grads = model.loss_and_grads(ids[seen], ids[seen + shift])
        optimizer.step(grads, max_norm=1.0)
        losses.append(float(loss))
    return model, losses


seen = np.arange(0, 3200, 32)[:, None] + windows
sentence = "Hello, m"
figure, axes = plt.subplots(figsize=(6.5, 3))
print(f"reads               {sentence!r}, a blind guess has a loss of {np.log(len(letters)):.1f}")
for shift in (0, 1, 2):
    trained, losses = train(shift)
    axes.plot(losses, label=f"shift {shift}" + " (right)" * (shift == 1))
    answers, _ = trained.forward([letters.encode(sentence)])
    written = letters.decode(trained.generate(letters.encode("Hello"), max_new_tokens=4))
    print(f"\nshift {shift}: answers    {letters.decode(answers[0].argmax(axis=-1).tolist())!r}")
    print(f"         continues  {written!r}")
    print(f"         loss       {np.mean(losses[-20:]):.1f} for its own targets")
    print(f"                    {trained.loss(ids[seen], ids[seen + 1]):.1f} for the next letter")
axes.set(xlabel="training step", ylabel="loss it was trained on (nats)", ylim=(0, 3.4))
axes.legend()
plt.show()

# %% [markdown] tags=["en"]
# **The wrong one looks best.** With shift 0 the answer is in front of the model's eyes; it copies, its loss falls to
# nothing, and it writes the last letter over and over. With shift 2 the curve looks like the right one, a little
# higher: in these sentences the letter after the next can mostly be foreseen as well. Its answers are two places ahead,
# and it does not write English. Both have a high loss for the *next* letter, higher than guessing, because they are
# sure of something else. So look at the text before you believe a loss, and be suspicious of a very good one.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which row of `logits` do you need to continue the sentence, and why is `logits[0, 0]` useless for that? *Hint:
#    which tokens has the model read at that place?*
# 2. In the document's example, `labels` equals `input_ids`. Which of its tokens is never an answer?
#    *Hint: where does transformers shift?*
# 3. Multiply `document_logits` by 0 and by 2 before the loss is computed. Predict both losses roughly.
#    *Hint: keep the array; `cross_entropy_forward`; with 0 all probabilities are equal.*
# 4. Somebody takes the mean of the logits of the right answers for the log-likelihood. Which step is missing, and could
#    a model be trained to make that number large? *Hint: what could the model do to all logits?*
# 5. Predict the text of a model that was trained with `shift=-1`, that is, to name the letter before. Change `train` so
#    that this is possible, and try. *Hint: what is the greedy continuation of `dog`?*
