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
#
# **Exercise:** none of its own; the nearest is [10, block and model](../exercises/student/10_model.ipynb)

# %%
import sys
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import style

import minigpt2
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.components.softmax import softmax_forward
from minigpt2.reference import DOCUMENT_IDS, DOCUMENT_LOGITS, recorded, relative_error
from minigpt2.verification import figures

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document's example uses the library *transformers* of Hugging Face, which runs on PyTorch. It loads the released
# GPT-2 and its tokenizer, encodes "Hello, my dog is cute", gives the model the sentence together with a copy of it as
# *labels*, takes loss and logits from the result, and prints some logits. Two sentences explain it:
# 上面这个示例使用GPT-2模型来生成“Hello, my dog is cute”一段话，并打印了第一个时间步的预测结果, the example uses GPT-2
# to generate the passage "Hello, my dog is cute" and prints the prediction for the first time step; and
# 模型输出的值是一个logits向量，它的每一项对应于字典中每一个词的概率, the output is a vector of logits, each entry of
# which corresponds to the probability of a word of the dictionary.
#
# Here is every line, and below it its counterpart in minigpt2 (the upper part is only shown; this notebook does not
# need transformers):
#
#     1  import torch
#     2  from transformers import GPT2Tokenizer, GPT2LMHeadModel
#     3  tokenizer = GPT2Tokenizer.from_pretrained('gpt2')
#     4  model = GPT2LMHeadModel.from_pretrained('gpt2', pad_token_id=tokenizer.eos_token_id)
#     5  input_ids = tokenizer.encode("Hello, my dog is cute", return_tensors='pt')
#     6  labels = input_ids.clone().detach()
#     7  outputs = model(input_ids, labels=labels)[0]
#     8  loss, logits = outputs[:2]
#     9  print(logits[0])
#
#     1  import numpy as np
#     2  import minigpt2
#     3  tokenizer = minigpt2.Tokenizer.from_pretrained(NAME)
#     4  model = minigpt2.GPT2.from_pretrained(NAME)
#     5  input_ids = np.array([tokenizer.encode(TEXT)])
#     6  targets = np.append(input_ids[:, 1:], [[-100]], axis=1)
#     7  loss = model.loss(input_ids, targets)
#     8  logits, cache = model.forward(input_ids)
#     9  print(logits[0, 0])
#
# In line 4, `pad_token_id` names the token that fills up short texts of a batch where `generate` makes several at once.
# GPT-2 has no token for that, so the one for the end of a text, `<|endoftext|>`, is taken. One text alone, and no
# generation, needs neither, and minigpt2 has no such setting.
#
# Four things in code and explanation are wrong:
#
# - **Lines 7 and 8 do not run.** The `[0]` at the end of line 7 already takes the loss out. Line 8 tries to cut the
#   first two elements out of a single number.
# - **Line 9 does not print the first time step.** It prints all time steps of the first text.
# - **Logits are not probabilities**, although the explanation calls them so.
# - **Nothing is generated.** The model is shown the whole sentence and says, for each place in it, which token it
#   expects next. Generation is a loop around that (notebook 2.3).
#
# Now we run the lower part, on the small model that comes with this package. For the released one change the
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
# **The first mistake.** This is what the document's own lines do, tried once with transformers 5.24.0 and PyTorch
# 2.13.0 on a `GPT2LMHeadModel` with random weights (which numbers it holds does not matter here):
#
#     >>> outputs = model(input_ids, labels=labels)[0]
#     >>> outputs.shape
#     torch.Size([])
#     >>> loss, logits = outputs[:2]
#     IndexError: slice() cannot be applied to a 0-dim tensor.
#
# transformers returns loss and logits as something that behaves like a tuple. To see the same without transformers, we
# put our own into a tuple and do to it what lines 7 and 8 do:

# %%
returned = (np.float32(loss), logits)  # the result of model(input_ids, labels=labels) behaves like this

outputs = returned[0]  # line 7: the [0] takes the loss
try:
    loss_, logits_ = outputs[:2]  # line 8
except (IndexError, TypeError) as error:
    print(f"{type(error).__name__}: {error}")

outputs = returned  # line 7 without [0]
loss_, logits_ = outputs[:2]
print("corrected:", f"loss {loss_:.2f},", "logits", logits_.shape)

# %% [markdown] tags=["en"]
# Either the `[0]` or line 8 has to go. minigpt2 asks two questions in two calls: `loss` returns one number, and
# `forward` the logits and the cache, two things whatever it is given.
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
# This shift is the difference between the two versions of line 6. In transformers `labels` is an unshifted copy, and
# the model shifts it inside. In minigpt2 `targets` are the tokens that should be predicted, and you see the shift where
# it is made.
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
for height, name, color, words, dash in (
    (surprise.mean(), "loss", style.ORANGE, style.ORANGE_TEXT, "--"),
    (np.log(len(tokenizer)), "uniform guess, ln V", "0.4", "0.4", ":"),
):
    axes.axhline(height, color=color, ls=dash)
    axes.text(T + 0.4, height + 0.1, name, color=words, ha="right", va="bottom")
axes.set_xticks(range(T - 1), [f"{a}\n↓\n{b}" for a, b in pairwise(pieces)], family="monospace")
axes.grid(axis="x", visible=False)
axes.set(xlim=(-0.6, T + 0.4), ylabel="surprise (nats)", xlabel="token read and token that should follow; _ is a space")
plt.show()
print(f"mean {surprise.mean():.2f}, loss {loss:.2f}")

# %% [markdown] tags=["en", "alt"]
# Ten bars, one for each pair of a token and the next. The highest, 10 nats, is that of "H" and "ell", the lowest, 1
# nat, that of "o" and the comma. A dashed line at 5.1 is the loss, a dotted one at 6.9 a uniform guess; two bars are
# above it.

# %% [markdown] tags=["en"]
# The built-in model knows Shakespeare and nothing else. It expected a comma after the greeting. The second piece of
# `Hello` and the beginning of `dog` surprise it more than a uniform guess among all tokens would: it expected something
# else, above all "HENRY" after "H" and "lord" after "my". (The loss is the mean of the bars.)

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# What is a logit? For one place, with $v$ and $u$ counting the vocabulary, the **softmax** turns scores into
# probabilities:
#
# $$p_v = \frac{e^{\mathrm{logits}_v}}{\sum_u e^{\mathrm{logits}_u}}, \qquad
#   \ln p_v = \mathrm{logits}_v - \underbrace{\ln\sum_u e^{\mathrm{logits}_u}}_{\text{the same for all } v} .$$
#
# The second form gives the answer: **the logarithm of a probability, up to a constant** that we are not told. Add 100
# to every logit, and numerator and denominator of the first form both grow by the factor $e^{100}$: no probability
# changes. So a single logit means nothing. A *difference* of two does:
#
# $$\mathrm{logits}_v - \mathrm{logits}_w = \ln p_v - \ln p_w = \ln\frac{p_v}{p_w} .$$
#
# The loss is the mean surprise over the $N$ places that have an answer, here $T-1$; $y$ are the targets:
#
# $$\mathrm{loss} = -\frac1N\sum_{t:\,y_t\ne-100} \ln p_{t,\,y_t}, \qquad y_t = x_{t+1} .$$
#
# Its gradient, predicted minus wanted, the code of both and the checks of both are the subject of notebook
# [2.5.8](2_5_8_loss_function.ipynb), where each step of the derivation stands.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# `model.loss` is a forward pass and that loss:

# %%
style.show_source(minigpt2.GPT2.loss)

# %% [markdown] tags=["en"]
# ### Logits are not probabilities
#
# Here is the last row of the example, once as logits, once as probabilities:

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
left.set(xlabel="rank of the token, 1 is the best", ylabel="logit", title="logits")
right.semilogx(ranks, np.sort(row_probs)[::-1])
right.set(xlabel="rank of the token, 1 is the best", ylabel="probability", title="probabilities")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two panels over the rank of the token, on a logarithmic scale. Left: the logits fall from 7 to about -6, crossing 0
# near rank 200, and drop to -15 near the end. Right: the probabilities fall from 0.19 and are near 0 from rank 100 on.

# %% [markdown] tags=["en"]
# The order is the same on both sides, which is why the most likely token can be read from the logits. A probability
# cannot: anyone who takes the numbers on the left for probabilities finds negative ones. (The drop at the end of the
# left curve is made of tokens that the model had no occasion to expect: 216 of the 217 do not occur in the text that it
# was trained on, the last one once. Most, as the count shows, are single bytes, nearly all of characters that the text
# does not have. The others, such as `GLO`, are pieces of longer tokens, which have taken their place.)
#
# ### The released GPT-2
#
# And the real one? There *all* logits near the top may be negative. The tests of *Bumblebee* (commit df16dcc,
# `test/bumblebee/text/gpt2_test.exs`) state some logits of the smallest released GPT-2 for exactly this sentence: nine
# numbers, those of the tokens 1, 2 and 3, which are `"`, `#` and `$`, at the places 1, 2 and 3. The tests of
# *rust-bert* (commit 6db859e, `tests/gpt2.rs`) state the largest logit after "One two three four". The package carries
# both.

# %%
released = style.released_tokenizer()
_, slice_of_logits = figures.BUMBLEBEE_SLICES["logits"]
print(f"{'after':16}", *(f"{released.decode([i])!r:>10}" for i in (1, 2, 3)), "   p of the first / of the second")
for place, three in zip((1, 2, 3), slice_of_logits, strict=True):
    numbers = (*(f"{z:10.4f}" for z in three), f"{np.exp(three[0] - three[1]):10.1f}")
    print(f"{released.decode(DOCUMENT_IDS[: place + 1])!r:16}", *numbers)
text, best, logit, _ = figures.BEST_TOKENS["gpt2"]
print(f"{text!r}: the largest logit is {logit}, of {best!r}")

# %% [markdown] tags=["en"]
# A probability of -114.58 makes no sense, and after "One two three four" even the *best* of 50,257 logits is -69.49.
# What the logits say is in their differences: after "Hello," GPT-2 holds a quotation mark for
# $e^{-114.5832+116.5725} = e^{1.9893} = 7.3$ times as likely as `#`, after "Hello, my dog" for 93 times. How likely
# each of them is we cannot tell from these numbers; for that we need all the logits of a row.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **The document's example, against transformers.** The package carries the example's token ids in GPT-2's own
# vocabulary, and the values that transformers computed from them, recorded once. The trained weights are too large to
# carry, so both sides used a *new* GPT-2 of the smallest released size, with the random weights that `seed=0` gives.
# Its loss should be about that of a uniform guess, $\ln 50257$. (Every 997th logit was kept. `recorded` reads such a
# recording; with `keep=False` the model does not keep what only a backward pass would need.)

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
# variance, on average: here 0.15 of the 0.16.) Question 3 is about that.
#
# **What does the released model answer?** If its weights are on this machine, the next cell shows it: whether the nine
# published logits are ours too, the loss of the sentence, and after each token the five that it holds for most likely.

# %%
if gpt2 := style.released_model():
    answers, _ = gpt2.forward(document_ids, keep=False)
    error = np.abs(answers[0, 1:4, 1:4] - slice_of_logits) / (1 + np.abs(slice_of_logits))
    style.show_agreement("the nine logits, as published", error.max(), tolerance=1e-4)
    print(f"loss {gpt2.loss(document_ids, document_targets):.2f}")
    for place, p in enumerate(softmax_forward(answers[0].astype(np.float64))):
        five = "  ".join(f"{released.decode([i])!r} {p[i]:.2f}" for i in np.argsort(-p)[:5])
        print(f"{released.decode(DOCUMENT_IDS[: place + 1])!r:24} {five}")

# %% [markdown] tags=["en"]
# Without them, here is what others have recorded of it. TransformerLens (`test_hooked_transformer.py`) states the loss
# of a greeting, "Hello world!" after `<|endoftext|>`. lm-evaluation-harness 0.3.0 (`tests/test_models.py`) states the
# log-probability of " World" after "Hello". And three projects publish texts that the model goes on with, each time
# with the most likely token: this is what *generating* would look like.

# %%
print(f"loss of 'Hello world!': {figures.TRANSFORMER_LENS_LOSS:.2f} nats per token")
context, continuation, log_p = figures.LOG_LIKELIHOODS[-1]
print(f"{continuation!r} after {context!r}: p = {np.exp(log_p):.5f}")
for source, (prompt, continuation) in figures.CONTINUATIONS.items():
    print(f"\n{source}:\n  {prompt!r}\n  {continuation!r}")
prompt, continuation, _ = figures.STOPPED
print(f"\n{figures.HARNESS}:\n  {prompt!r}\n  {continuation!r}")

# %% [markdown] tags=["en"]
# The greeting costs 5.3 nats per token, half of what a uniform guess costs (10.8). And the continuations are fluent
# English, not always sensible: the lazy fox falls to the ground. All these figures are repeated by `minigpt2 verify
# --model gpt2`, where the weights are.

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
    rng, model, losses = np.random.default_rng(1), minigpt2.GPT2(small, seed=0, dtype="float64"), []
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
print(f"reads               {sentence!r}, a uniform guess has a loss of {np.log(len(letters)):.1f}")
for shift in (0, 1, 2):
    trained, losses = train(shift)
    axes.plot(losses, label=f"shift {shift}")
    answers, _ = trained.forward([letters.encode(sentence)])
    written = letters.decode(trained.generate(letters.encode("Hello"), max_new_tokens=4))
    print(f"\nshift {shift}: answers    {letters.decode(answers[0].argmax(axis=-1).tolist())!r}")
    print(f"         continues  {written!r}")
    print(f"         loss       {np.mean(losses[-20:]):.1f} for its own targets")
    print(f"                    {trained.loss(ids[seen], ids[seen + 1]):.1f} for the next letter")
axes.set(xlabel="training step", ylabel="loss for its own targets (nats)", ylim=(0, 3.4))
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# The loss over 200 training steps, a line for each shift. Shift 0 begins at 2.5 and is near 0 after 40 steps. Shift 1
# and shift 2 begin at 3.1, fall more slowly and stay above 0: shift 1 at 0.2, shift 2 at 0.3.

# %% [markdown] tags=["en"]
# **The wrong one looks best.** Shift 1 is the right one. With shift 0 the answer is in front of the model's eyes; it
# copies, its loss falls to nothing, and it writes the last letter over and over. With shift 2 the curve looks like the
# right one, a little higher: in these sentences the letter after the next can mostly be foreseen as well. Its answers
# are two places ahead, and it does not write English. Both have a high loss for the *next* letter, higher than
# guessing, because they are sure of something else. So look at the text before you believe a loss, and be suspicious of
# a very good one.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Which row of `logits` do you need to continue the sentence, and why is `logits[0, 0]` useless for that? *Hint:
#    which tokens has the model read at that place?*
#
#    <details><summary>Answer</summary>
#
#    The last one, `logits[0, -1]`: there the model has read all of the sentence. At place 0 it has read the first token
#    only, so that row says what might follow it, and the sentence has answered that already. (No row looks to the right
#    of its place: section 1 has shown that the rows stay the same when what follows is cut off.)
#
#    </details>
#
# 2. In the document's example, `labels` equals `input_ids`. Which of its tokens is never an answer?
#    *Hint: where does transformers shift?*
#
#    <details><summary>Answer</summary>
#
#    The first one, `Hello` (15496). transformers compares the logits of the places 0 to $T-2$ with the labels 1 to
#    $T-1$, so label 0 is not used: nothing stands before the first token from which it could be predicted.
#
#    </details>
#
# 3. Multiply `document_logits` by 0 and by 2 before the loss is computed. Predict both losses roughly.
#    *Hint: keep the array; `minigpt2.components.loss.cross_entropy_forward`; with 0 all probabilities are equal.*
#
#    <details><summary>Answer</summary>
#
#    With 0 the loss is exactly $\ln 50257 = 10.82$. With 2 the variance of the logits is four times as large, 1.2, so
#    one expects half of that above it, about 11.4. It is 11.45: the mean excess holds for many targets, and here are
#    five.
#
#    </details>
#
# 4. Somebody takes the mean of the logits of the right answers for the log-likelihood. Which step is missing, and could
#    a model be trained to make that number large? *Hint: what could the model do to all logits?*
#
#    <details><summary>Answer</summary>
#
#    The subtraction of $\ln\sum_u e^{\mathrm{logits}_u}$. Without it the number can be made as large as one likes: add
#    the same constant to all logits, and it grows by the constant, while no probability changes. Training would do that
#    (or raise every logit that is ever an answer) and learn nothing about which token follows when.
#
#    </details>
#
# 5. Predict the text of a model that was trained with `shift=-1`, that is, to name the letter before. Change `train` so
#    that this is possible, and try. *Hint: what is the greedy continuation of `dog`?*
#
#    <details><summary>Answer</summary>
#
#    Begin the windows at 1: `rng.integers(1, len(ids) - 34, (B, 1))`. The model learns to name the letter before the
#    last one. It appends that, the last two letters have changed places, and it goes on in the same way: `dog` becomes
#    `dogogogogog`. Its loss is near 0 except at the first place of a window, where the letter before is out of sight.
#
#    </details>
#
# The example is one call. What the document says about its own chapters, and which of its sentences hold, comes next.
#
# **Next:** [4.2, the explanation](4_2_explanation.ipynb)
