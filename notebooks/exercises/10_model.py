# %% [markdown]
# # Exercise 10: block and model
#
# *Notebook 2.5, 框架. About 75 minutes, 10 points.*
#
# All the parts are made; now they become a GPT-2. You will put them in order, first a block and then the model, run the
# block backward, and then teach a model of your own something that nobody has told it: to sort. It sees six digits and
# writes the same six in ascending order.
#
#     2 0 1 1 0 2   ->   0 0 1 1 2 2
#
# There is no `if a > b` anywhere. It learns from examples, in a few seconds.
#
# Notebook 2.5, `notebooks/en/2_5_framework.ipynb` in the repository of minigpt2, explains how the parts are put
# together, and why.
#
# Shapes: `B` batch, `T` time (tokens), `C` channels, `V` vocabulary (how many different tokens there are). A gradient
# of `x` is called `dx`.

# %%
import itertools

import numpy as np

from minigpt2 import GPT2, AdamW, GPT2Config
from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.embedding import embedding_backward, unembedding_backward
from minigpt2.components.feed_forward import feed_forward_backward, feed_forward_forward
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.position import position_backward
from minigpt2.exercises import check

# %% [markdown]
# These are the library's parts, which work like those of the earlier exercises; section 8 puts yours in their places.
# You will need:
#
#     y, cache = layer_norm_forward(x, weight, bias)
#     y, cache = attention_forward(x, params, n_head)
#     y, cache = feed_forward_forward(x, params)              # linear, GELU, linear
#
#     dx, dweight, dbias = layer_norm_backward(dy, cache)
#     dx, grads = attention_backward(dy, cache)
#     dx, grads = feed_forward_backward(dy, cache)
#
# Here `params` is a dict of parameters, and `grads` a dict of the same form with the gradient of each.
#
# ## 1. A block
#
# *★★☆ · about 15 minutes*
#
# A GPT-2 is a tower of blocks, all built alike. The **residual stream** runs through the tower, an array of one vector
# for each token. A block has two **sub-layers**, attention and the feed-forward network. Neither replaces the stream:
# each reads a normalized copy of it, and *adds* its result to it.
#
#     x ──┬──────────────────────────── + ──┬───────────────────────────── + ── y
#         └── norm ── attention ────────┘   └── norm ── feed-forward ──────┘
#
# $$x \leftarrow x + \operatorname{attention}(\operatorname{norm}_1(x)) \qquad
#   x \leftarrow x + \operatorname{feed\_forward}(\operatorname{norm}_2(x))$$
#
# In `params` there are `"ln_1"` and `"ln_2"`, the norms with their `"weight"` and `"bias"`, and `"attn"` and `"mlp"`
# (multi-layer perceptron, another name for the feed-forward network), which you can pass on as they are. You can omit
# the argument `eps` of the norms.
#
# Return `y` and a dict of the parts' caches, under the same four names; the check runs our backward pass with it. Add
# with `x = x + ...` and not with `x += ...`, which would change the caller's array.
#
# <details><summary>A hint</summary>
#
# Five names are enough: the stream before (`x`), in the middle (`mid`), and at the end; a normalized copy; the result
# of the sub-layer. Which of them does each line need?
#
# </details>


# %% tags=["answer", "id:block_forward"]
def block_forward(x, params, n_head):
    """One block.

    x: (B, T, C); params: {"ln_1", "attn", "ln_2", "mlp"}; n_head: number of heads
    returns y (B, T, C) and a dict for the backward pass, with the keys of params.
    """
    ### BEGIN SOLUTION
    normed, ln_1 = layer_norm_forward(x, params["ln_1"]["weight"], params["ln_1"]["bias"])
    branch, attn = attention_forward(normed, params["attn"], n_head)
    mid = x + branch
    normed, ln_2 = layer_norm_forward(mid, params["ln_2"]["weight"], params["ln_2"]["bias"])
    branch, mlp = feed_forward_forward(normed, params["mlp"])
    return mid + branch, {"ln_1": ln_1, "attn": attn, "ln_2": ln_2, "mlp": mlp}
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_block_forward", "points:1"]
report = check("block_forward", block_forward)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# ## 2. The block, in reverse order
#
# *★★★ · about 20 minutes*
#
# Now go through the picture from right to left. Each part has its own backward pass; only the sums and the forks are
# new:
#
# - at a **sum** $z = x + y$ both get all of the gradient: $dx = dz$ and $dy = dz$;
# - at a **fork**, where the stream continues and a branch leaves it, two gradients come back, and they are *added*.
#
# A small example: with $y = x + 3x$ the gradient is $dy + 3\,dy$. Forget the residual connection and you get $3\,dy$,
# forget the branch and you get $dy$.
#
# `cache` has the four caches of the parts as in section 1, and also `x`, `resid_mid` (the stream in the middle),
# `params` and `n_head`. Return `dx`, and `grads` with the same names as `params`:
#
#     {"ln_1": {"weight": ..., "bias": ...}, "attn": ..., "ln_2": {"weight": ..., "bias": ...}, "mlp": ...}
#
# <details><summary>A hint</summary>
#
# Begin with the part that touched `y` last. When you have finished one branch, you have two gradients of the stream in
# the middle. The other half is the same again.
#
# </details>


# %% tags=["answer", "id:block_backward"]
def block_backward(dy, cache):
    """Gradients of ``block_forward``.

    dy: (B, T, C)
    returns dx (B, T, C) and grads, a dict of the form of params.
    """
    ### BEGIN SOLUTION
    dbranch, mlp = feed_forward_backward(dy, cache["mlp"])
    dbranch, dweight_2, dbias_2 = layer_norm_backward(dbranch, cache["ln_2"])
    dmid = dy + dbranch
    dbranch, attn = attention_backward(dmid, cache["attn"])
    dbranch, dweight_1, dbias_1 = layer_norm_backward(dbranch, cache["ln_1"])
    dx = dmid + dbranch
    return dx, {
        "ln_1": {"weight": dweight_1, "bias": dbias_1},
        "attn": attn,
        "ln_2": {"weight": dweight_2, "bias": dbias_2},
        "mlp": mlp,
    }
    ### END SOLUTION


# %% tags=["check", "id:check_block_backward", "points:2"]
report = check("block_backward", block_backward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 3. The model
#
# *★★☆ · about 15 minutes*
#
# From token ids to **logits**, a score for each token of the vocabulary to be the next one:
#
# 1. The stream begins as the vector of each token plus the vector of its position: $x_{bt} = W_e[\text{ids}_{bt}] +
#    W_p[t]$. $W_e$ is `params["wte"]["weight"]` of shape `(V, C)`; $W_p$ is `params["wpe"]["weight"]`, with a row for
#    each position that the model knows, which may be more than `T`.
# 2. It goes through the blocks, `params["h"]`, a list.
# 3. There is one more norm at the end, `params["ln_f"]`.
# 4. The score of token $v$ is the dot product of the result with the vector of $v$, row $v$ of $W_e$. So GPT-2 has no
#    separate matrix for the output: the output is **tied** to the embedding.
#
# Return the logits of all positions. A cache is up to you: `return logits` is enough, and so is `return logits, cache`.
#
# <details><summary>A hint</summary>
#
# Write the shapes beside each line. The last product has `(B, T, C)` on its left and must give `(B, T, V)`.
#
# </details>


# %% tags=["answer", "id:gpt2_forward"]
def gpt2_forward(ids, params, n_head):
    """The whole model.

    ids: (B, T) integers; params: {"wte", "wpe", "h", "ln_f"}; n_head: number of heads
    returns logits (B, T, V).
    """
    ### BEGIN SOLUTION
    wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
    x = wte[ids] + wpe[: ids.shape[1]]
    for block in params["h"]:
        x, _ = block_forward(x, block, n_head)
    x, _ = layer_norm_forward(x, params["ln_f"]["weight"], params["ln_f"]["bias"])
    return x @ wte.T
    ### END SOLUTION


# %% tags=["check", "id:check_gpt2_forward", "points:2"]
report = check("gpt2_forward", gpt2_forward)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# That is GPT-2. With the right numbers in `params` it is the one that OpenAI released. Here we take the numbers of a
# small model that comes with this package and was trained on Shakespeare, and print the tokens that your function ranks
# highest after a few words:

# %%
if report:
    from minigpt2 import Tokenizer

    shakespeare, tokenizer = GPT2.from_pretrained("shakespeare"), Tokenizer.from_pretrained("shakespeare")
    logits = gpt2_forward(np.array([tokenizer.encode("My noble")]), shakespeare.params, shakespeare.config.n_head)
    logits = logits[0] if isinstance(logits, tuple) else logits
    print("My noble ...", [tokenizer.decode([token]) for token in logits[0, -1].argsort()[::-1][:6]])

# %% [markdown]
# ## 4. Something to learn
#
# *★☆☆ · about 10 minutes*
#
# A language model can only do one thing, predict the next token. So the task is put as a text: the digits, and after
# them the same digits sorted. For `2 0 1`:
#
#     text      2     0     1     0     1     2
#     ids       2     0     1     0     1             the model reads these: all but the last
#     target    -100  -100  0     1     2             these come next: all but the first
#
# Position $t$ reads the tokens up to `ids[t]` and has to predict the token after it. The first digits follow no rule,
# so there is nothing to learn from them: where the next token is another of the random digits, the target is **-100**,
# which the loss ignores. Where the last digit is read, the first sorted one has to be predicted, and from there on all
# targets count. With $n$ digits, ids and targets have $2n-1$ numbers.
#
# Write a function that makes ids and targets for a whole batch of digits, and one that counts how many texts are right.
#
# <details><summary>A hint</summary>
#
# `np.concatenate([...], axis=1)` puts two arrays side by side, and `np.sort(a, axis=1)` sorts each row into a new
# array. A slice of an array is the same memory under another name: a number written to one is in the other as well.
#
# </details>


# %% tags=["answer", "id:sorting_batch"]
def sorting_batch(digits):
    """The ids that the model reads, and the targets that it should predict.

    digits: (B, n) integers
    returns ids (B, 2n - 1), targets (B, 2n - 1).
    """
    ### BEGIN SOLUTION
    n = digits.shape[1]
    texts = np.concatenate([digits, np.sort(digits, axis=1)], axis=1)
    ids, targets = texts[:, :-1], texts[:, 1:].copy()
    targets[:, : n - 1] = -100
    return ids, targets
    ### END SOLUTION


def count_sorted(ids):
    """How many texts have, as their second half, their first half sorted.

    ids: (N, 2n) integers; returns an int.
    """
    ### BEGIN SOLUTION
    n = ids.shape[1] // 2
    right = ids[:, n:] == np.sort(ids[:, :n], axis=1)
    return int(right.all(axis=1).sum())
    ### END SOLUTION


# %% tags=["check", "id:check_sorting_batch", "points:1"]
reports = check("sorting_batch", sorting_batch), check("count_sorted", count_sorted)
print(*reports, sep="\n\n")
round(sum(report.score for report in reports) / 2, 2)

# %% [markdown]
# ## 5. Training
#
# *★★☆ · about 15 minutes*
#
# A small GPT-2: three tokens (the digits 0, 1, 2), eleven positions, two blocks of 32 channels.

# %%
SORTER = GPT2Config(vocab_size=3, n_positions=11, n_embd=32, n_layer=2, n_head=2)

# %% [markdown]
# A step of training is: draw a batch of random digits, find the loss and the gradient of every parameter, and let the
# optimizer move the parameters. The library has what you need:
#
#     model = GPT2(config, seed)                                    # a new model with random parameters
#     optimizer = AdamW(model.params, lr=...)                       # will change model.params in place
#     rng = np.random.default_rng(seed)                             # a source of random numbers
#     digits = rng.integers(0, 3, (64, 6))                          # 64 sequences of six digits
#     loss, grads = model.loss_and_grads(ids, targets)              # forward, loss, backward
#     optimizer.step(grads, max_norm=1.0)                           # one step; long gradients are shortened
#     optimizer.lr = ...                                            # may be changed on the way
#
# (`loss_and_grads` works like your functions. Section 7 puts yours in its place.)
#
# You write the loop and choose a **learning rate**, the size of the steps. 1e-5 goes nowhere in the time that you have;
# 1 throws the model about. Try values in between. Letting it fall towards the end helps to get the last few right. A
# guess has the loss $\ln 3 = 1.10$; print the loss every hundred steps and watch it fall below 0.01. A few hundred
# steps are enough, which take about three seconds.
#
# There are only $3^6 = 729$ inputs. The check lets your model sort each of them, taking the likeliest token each time,
# and says how many come out right. All of them should.
#
# <details><summary>A hint</summary>
#
# If most of them are right and some are not, the model has understood, and only has to become surer: take twice as many
# steps, or a learning rate that falls to zero, `lr * (1 - step / steps)`. If nearly none are right, look at the loss:
# does it fall?
#
# </details>


# %% tags=["answer", "id:train_sorter"]
def train_sorter(config, seed=0):
    """Train a new model until it sorts.

    config: of the model; seed: of its first parameters and of the digits
    returns its parameters, model.params.
    """
    ### BEGIN SOLUTION
    model = GPT2(config, seed)
    optimizer = AdamW(model.params)
    rng = np.random.default_rng(seed)
    steps, lr = 400, 3e-3
    for step in range(steps):
        optimizer.lr = lr * (1 - step / steps)
        ids, targets = sorting_batch(rng.integers(0, 3, (64, 6)))
        loss, grads = model.loss_and_grads(ids, targets)
        optimizer.step(grads, max_norm=1.0)
        if step % 100 == 0:
            print(f"step {step:4}  loss {loss:.3f}")
    return model.params
    ### END SOLUTION


# %% [markdown]
# This trains your model once, so give it a few seconds; after two minutes of the processor's time it is stopped.

# %% tags=["check", "id:check_train_sorter", "points:1"]
report = check("train_sorter", train_sorter)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# Now everything is yours: the parameters that you trained, in the model that you assembled.

# %%
if report and check("gpt2_forward", gpt2_forward) and check("count_sorted", count_sorted):
    params = train_sorter(SORTER)
    digits = np.array(list(itertools.product(range(3), repeat=6)))
    texts = digits
    for _ in range(6):
        logits = gpt2_forward(texts, params, SORTER.n_head)
        logits = logits[0] if isinstance(logits, tuple) else logits
        texts = np.concatenate([texts, logits[:, -1].argmax(axis=-1)[:, None]], axis=1)
    for text in texts[::150]:
        print(*text[:6], "  ->  ", *text[6:])
    print(f"{count_sorted(texts)} of {len(texts)} come out sorted")

# %% [markdown]
# ## 6. Your teacher's tests
#
# If this notebook is graded, more tests run in these cells: other numbers, other shapes, and functions together. You
# need not do anything.

# %% tags=["check", "id:hidden_block", "points:1"]
# Tests of block_forward and block_backward together, 1 point.
### BEGIN HIDDEN TESTS
for name, function in (("block_forward", block_forward), ("block_backward", block_backward)):
    report = check(name, function, seed=101)
    assert report.passed, report.hint
report = check("block_backward", block_backward, forward=block_forward, seed=102)
assert report.passed, report.hint
block = GPT2(GPT2Config(vocab_size=3, n_positions=4, n_embd=6, n_layer=1, n_head=2), 103).params["h"][0]
for part in (block["attn"]["c_proj"], block["mlp"]["c_proj"]):
    part["weight"][...] = 0  # both sub-layers add nothing: what goes in comes out, and so does its gradient
x = np.random.default_rng(103).standard_normal((2, 4, 6)).astype("float32")
y, cache = block_forward(x, block, 2)
assert np.array_equal(y, x) and np.array_equal(block_backward(x, cache)[0], x)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_gpt2_forward", "points:1"]
# Tests of gpt2_forward, 1 point.
### BEGIN HIDDEN TESTS
report = check("gpt2_forward", gpt2_forward, seed=104)
assert report.passed, report.hint
whole = GPT2(GPT2Config(vocab_size=11, n_positions=9, n_embd=12, n_layer=3, n_head=3), 105, "float64")
tokens = np.random.default_rng(105).integers(0, 11, (4, 9))
logits = gpt2_forward(tokens, whole.params, 3)
logits = logits[0] if isinstance(logits, tuple) else logits
assert np.allclose(logits, whole.forward(tokens)[0], rtol=0, atol=1e-12)
tokens[:, 5:] = 0  # what comes later changes nothing before
changed = gpt2_forward(tokens, whole.params, 3)
changed = changed[0] if isinstance(changed, tuple) else changed
assert np.allclose(changed[:, :5], logits[:, :5], rtol=0, atol=1e-12)
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_sorting", "points:1"]
# Tests of sorting_batch and count_sorted together, 1 point.
### BEGIN HIDDEN TESTS
for name, function in (("sorting_batch", sorting_batch), ("count_sorted", count_sorted)):
    report = check(name, function, seed=106)
    assert report.passed, report.hint
numbers = np.random.default_rng(107).integers(0, 50, (30, 9))
ids, targets = map(np.asarray, sorting_batch(numbers))
assert (targets == -100).sum() == 30 * 8 and np.array_equal(ids[:, 9:], targets[:, 8:-1])
complete = np.concatenate([ids, targets[:, -1:]], axis=1)
assert count_sorted(complete) == 30
complete[3:5, -1] += 1
assert count_sorted(complete) == 28
### END HIDDEN TESTS

# %% [markdown]
# ## 7. Harder, if you like: the whole model, in reverse order
#
# *★★★ · about 25 minutes more*
#
# `model.loss_and_grads` did the backward pass for you. Write it. On the way down you need two more of the library's
# parts for the ends:
#
#     dx, dweight = unembedding_backward(dlogits, cache)      # of the output layer
#     dx, dweight = position_backward(dy, cache)
#     dweight = embedding_backward(dy, cache)
#
# `cache` has `lm_head` (of the output layer), `ln_f`, `h` (a list with the cache of each block, as in section 2), `wpe`
# and `wte`. Return `grads` with the names of `params`: `wte`, `wpe` and `ln_f` with the arrays inside, `h` a list.
# Careful: $W_e$ is used twice, at the bottom and at the top. There are no points for this, but a check.


# %% tags=["answer", "id:gpt2_backward"]
def gpt2_backward(dlogits, cache):
    """Gradients of the whole model.

    dlogits: (B, T, V)
    returns grads, a dict of the form of params.
    """
    ### BEGIN SOLUTION
    dx, dwte_output = unembedding_backward(dlogits, cache["lm_head"])
    dx, dweight, dbias = layer_norm_backward(dx, cache["ln_f"])
    blocks = []
    for block in reversed(cache["h"]):
        dx, grads = block_backward(dx, block)
        blocks.insert(0, grads)
    dx, dwpe = position_backward(dx, cache["wpe"])
    return {
        "wte": {"weight": dwte_output + embedding_backward(dx, cache["wte"])},
        "wpe": {"weight": dwpe},
        "h": blocks,
        "ln_f": {"weight": dweight, "bias": dbias},
    }
    ### END SOLUTION


# %% tags=["check", "id:check_gpt2_backward", "points:0"]
print(check("gpt2_backward", gpt2_backward))

# %% [markdown]
# To train with nothing but your own functions, let `gpt2_forward` return such a cache as well (the parts' forward
# functions give you theirs; `embedding_forward`, `position_forward` and `unembedding_forward` are beside the backward
# ones), and write in `train_sorter`, in place of `loss_and_grads`,
#
#     logits, cache = gpt2_forward(ids, model.params, config.n_head)
#     loss, loss_cache = cross_entropy_forward(logits, targets)             # exercise 8
#     grads = gpt2_backward(cross_entropy_backward(1.0, loss_cache), cache)
#
# ## 8. With your own parts, if you like
#
# *★☆☆ · about 10 minutes more*
#
# The parts in this notebook are the library's; yours are in the notebooks of exercises 2 to 9. If those lie in the same
# folder as this one, and all of them are saved, this one as well, then these two lines in a new cell join them:
#
#     from minigpt2.exercises import whole
#     print(whole.check_notebooks("."))
#
# Your functions stay as they are: your `block_forward` gets your own norm, which passes what your own backward pass
# needs. Every tensor is held against the library's, forward, backward, and in twenty steps of training with your own
# optimizer. Where the two differ for the first time, the part is named. Whatever you have not written is ours, and the
# report says what that is. There are no points for this.
#
# ## 9. What do you have now?
#
# A GPT-2, forward and backward, and a model that learned to sort. Compare with the library's own: it has the same
# order, with dropout added, which is used only in training.
#
#     import inspect
#     from minigpt2 import model
#     print(inspect.getsource(model.block_forward))
#
# Next: [exercise 11](11_generation.ipynb), in which it writes, without reading everything again for each word.
