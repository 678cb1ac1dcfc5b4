# %% [markdown]
# # Exercise 11: generation with a key/value cache
#
# *Notebook 2.3, 文本生成. About 60 minutes, 10 points.*
#
# A language model predicts one token. To make it write, you append that token and ask again. The simple way reads the
# whole text each time: for 100 tokens after a prompt of 20 that is $20 + 21 + \dots + 119 = 6950$ tokens to compute.
# But no token ever sees a later one. When a token is added, nothing changes for those before it, and the only things
# that attention needs from them, their keys and values, stay the same. If you keep these, each token is read once:
# $20 + 99 = 119$.
#
# So the **key/value cache** makes chat programs bearable. You will build it into attention and into the model, generate
# with it, and then draw tokens at random in a way that writes better than always taking the best.
#
# Notebook 2.5.3 explains why it works, and notebook 2.3 how tokens are chosen: `notebooks/en/2_5_3_attention.ipynb` and
# `notebooks/en/2_3_text_generation.ipynb` in the repository of minigpt2.
#
# Shapes: `B` batch (texts), `T` *new* tokens, `S` all tokens so far, old and new, `C` channels, `H` heads, `D` $= C/H$
# channels of a head, `V` vocabulary.

# %%
import time

import numpy as np

from minigpt2 import GPT2, Tokenizer
from minigpt2.components.feed_forward import feed_forward_forward
from minigpt2.components.layer_norm import layer_norm_forward
from minigpt2.components.linear import linear_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.exercises import check

# %% [markdown]
# These are the library's parts. `softmax_forward(scores)` returns the shares along the last axis, where a score of
# $-\infty$ gets none; the others return `(y, cache)`, and you need only `y`. Your own from earlier exercises will do as
# well.
#
# ## 1. Attention of new tokens
#
# *★★★ · about 20 minutes*
#
# `x` holds only the `T` new tokens. The keys and values of the old ones come as `past_k` and `past_v`, both
# `(B, H, S - T, D)`; at the very beginning they have length 0 along that axis.
#
# 1. `linear_forward(x, weight, bias)` with `params["c_attn"]` gives `(B, T, 3C)`: first the queries, then the keys,
#    then the values. Cut each into heads, `(B, H, T, D)`: channels $0 \dots D-1$ are head 0, the next ones head 1.
# 2. Put the new keys after the old ones, and the new values after the old ones: $k, v$ are `(B, H, S, D)`.
# 3. $\text{scores} = q\,k^T / \sqrt D$, `(B, H, T, S)`, with $-\infty$ wherever the key comes *after* the query in the
#    text. Row $t$ is the new token at place $S - T + t$. For two new tokens after three old ones:
#
#         key       0  1  2  3  4
#         new 0     x  x  x  x  -        it is token 3
#         new 1     x  x  x  x  x        it is token 4
#
# 4. Softmax, times $v$, heads side by side again, `(B, T, C)`, and through `params["c_proj"]`.
#
# Return `y`, and `k` and `v` of *all* tokens: the next call will get them as its past.
#
# <details><summary>A hint</summary>
#
# `a.reshape(B, T, H, D)` cuts the channels into heads, and `.transpose(0, 2, 1, 3)` puts the axis of the heads before
# the time axis. Look up the argument `k` of `np.tri(T, S, k)`, and print the result for `T = 2`, `S = 5`.
#
# </details>


# %% tags=["answer", "id:attention_step"]
def attention_step(x, params, n_head, past_k, past_v):
    """Attention of new tokens to all tokens so far.

    x: (B, T, C) the new ones; params: {"c_attn", "c_proj"}, each with "weight" and "bias"
    past_k, past_v: (B, H, S - T, D) keys and values of the old ones
    returns y (B, T, C), k (B, H, S, D), v (B, H, S, D).
    """
    ### BEGIN SOLUTION
    B, T, C = x.shape
    qkv, _ = linear_forward(x, params["c_attn"]["weight"], params["c_attn"]["bias"])
    q, k, v = (part.reshape(B, T, n_head, -1).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, axis=-1))
    k = np.concatenate([past_k, k], axis=2)
    v = np.concatenate([past_v, v], axis=2)
    S = k.shape[2]
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]).astype(x.dtype)
    scores = np.where(np.tri(T, S, S - T, dtype=bool), scores, -np.inf)
    heads = (softmax_forward(scores) @ v).transpose(0, 2, 1, 3).reshape(B, T, C)
    y, _ = linear_forward(heads, params["c_proj"]["weight"], params["c_proj"]["bias"])
    return y, k, v
    ### END SOLUTION


# %% [markdown]
# Run the next cell as often as you like. It says what is right, what is not, and what kind of mistake it looks like.
# The number under it is your points so far. A NameError means that your own cell, above it, was not run.

# %% tags=["check", "id:check_attention_step", "points:2"]
report = check("attention_step", attention_step)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 2. The model on new tokens
#
# *★★☆ · about 15 minutes*
#
# Now run the whole GPT-2, on new tokens only. `past` is a list with a dict `{"k": ..., "v": ...}` for each block, or
# `None` when there is nothing before the new tokens. Return the logits and the new past, a list of the same form.
#
# 1. $x = W_e[\text{ids}] + W_p[\text{positions}]$ with `params["wte"]["weight"]` and `params["wpe"]["weight"]`. A
#    token's position is its place *in the text*: the first new one comes after all old ones.
# 2. For each block in `params["h"]`, with its own past:
#
#         x = x + attention_step(norm 1 of x)            params of the norm: block["ln_1"], of attention: block["attn"]
#         x = x + feed-forward of (norm 2 of x)          block["ln_2"], block["mlp"]
#
# 3. One more norm, `params["ln_f"]`, and then the scores: $\text{logits} = x\,W_e^T$.
#
# `layer_norm_forward(x, weight, bias)` and `feed_forward_forward(x, params)` are imported above.
#
# <details><summary>A hint</summary>
#
# How many old tokens are there? The shape of any block's past tells you. For `past=None` make your own past of length 0
# at the start, with `np.zeros((..., 0, ...))`, and the rest of the function needs no further case. It should have the
# dtype of the parameters.
#
# </details>


# %% tags=["answer", "id:gpt2_step"]
def gpt2_step(ids, params, n_head, past):
    """GPT-2 on new tokens.

    ids: (B, T) the new ones; params: {"wte", "wpe", "h", "ln_f"}
    past: list of {"k", "v"}, one for each block, of the old ones; None if there are none
    returns logits (B, T, V), and the past for the next call.
    """
    ### BEGIN SOLUTION
    B, T = ids.shape
    wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
    if past is None:
        nothing = np.zeros((B, n_head, 0, wte.shape[1] // n_head), wte.dtype)
        past = [{"k": nothing, "v": nothing} for _ in params["h"]]
    start = past[0]["k"].shape[2]
    x = wte[ids] + wpe[start : start + T]
    new_past = []
    for block, old in zip(params["h"], past, strict=True):
        normed, _ = layer_norm_forward(x, block["ln_1"]["weight"], block["ln_1"]["bias"])
        y, k, v = attention_step(normed, block["attn"], n_head, old["k"], old["v"])
        x = x + y
        normed, _ = layer_norm_forward(x, block["ln_2"]["weight"], block["ln_2"]["bias"])
        x = x + feed_forward_forward(normed, block["mlp"])[0]
        new_past.append({"k": k, "v": v})
    x, _ = layer_norm_forward(x, params["ln_f"]["weight"], params["ln_f"]["bias"])
    return x @ wte.T, new_past
    ### END SOLUTION


# %% tags=["check", "id:check_gpt2_step", "points:2"]
report = check("gpt2_step", gpt2_step)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# ## 3. Writing
#
# *★★☆ · about 15 minutes*
#
# **Greedy** generation takes the best token each time. Your function gets a model as `step(ids, past)`, which works
# like `gpt2_step` and returns the logits and the new past. (The parameters are inside.)
#
# - The logits of the *last* position score the token that comes next.
# - Give the model each token once. With a prompt of `T` tokens and `n` new ones it should read $T + n - 1$ tokens in
#   all: nobody asks what comes after the last. The check counts.
# - The model has only `n_positions` positions. When the text is longer than that, it can see the last `n_positions`
#   tokens and no more, and the window moves by one at each step. So every token in it gets a new position, its old keys
#   and values are worthless, and the window has to be read from its beginning, with no past.
#
# With `n_positions = 4`, for a prompt `a b c` and the new tokens `d e f`:
#
#     text            the model reads     past        tokens read
#     a b c           a b c               none        3
#     a b c d         d                   a b c       1
#     a b c d e       b c d e             none        4
#
# <details><summary>A hint</summary>
#
# Keep two variables beside the text: the past, and the tokens to be read next. Only the values that you give them at
# the end of each step depend on the length of the text. The prompt may already be too long.
#
# </details>


# %% tags=["answer", "id:generate_greedy"]
def generate_greedy(step, ids, max_new_tokens, n_positions):
    """Continue texts, with the best token each time.

    step: (ids (B, T), past) -> logits (B, T, V), past
    ids: (B, T) the prompts; max_new_tokens: n, at least 1; n_positions: the most tokens that step can look at
    returns prompts and new tokens, (B, T + n).
    """
    ### BEGIN SOLUTION
    new, past = ids[:, -n_positions:], None
    for _ in range(max_new_tokens):
        logits, past = step(new, past)
        new = logits[:, -1].argmax(axis=-1)[:, None]
        ids = np.concatenate([ids, new], axis=1)
        if ids.shape[1] > n_positions:
            new, past = ids[:, -n_positions:], None
    return ids
    ### END SOLUTION


# %% tags=["check", "id:check_generate_greedy", "points:2"]
report = check("generate_greedy", generate_greedy)
print(report)
round(2 * report.score, 2)

# %% [markdown]
# Now let it write. A small model that was trained on Shakespeare comes with this package; the functions are yours.
# Below is the time with your cache, and without it: then `step` is told each time that there is no past, and has to
# read everything.

# %%
if report and check("gpt2_step", gpt2_step):
    shakespeare, tokenizer = GPT2.from_pretrained("shakespeare"), Tokenizer.from_pretrained("shakespeare")
    config = shakespeare.config
    prompt = np.array([tokenizer.encode("ROMEO:\nBut soft")])

    def shakespeare_step(ids, past):
        return gpt2_step(ids, shakespeare.params, config.n_head, past)

    start = time.perf_counter()
    text = generate_greedy(shakespeare_step, prompt, 100, config.n_positions)
    print(tokenizer.decode([int(token) for token in text[0]]))
    print(f"\n{time.perf_counter() - start:.2f} seconds with the cache")

    start, plain = time.perf_counter(), prompt
    for _ in range(100):
        logits, _ = shakespeare_step(plain, None)
        plain = np.concatenate([plain, logits[:, -1].argmax(axis=-1)[:, None]], axis=1)
    print(f"{time.perf_counter() - start:.2f} seconds without; the same text: {np.array_equal(text, plain)}")

# %% [markdown]
# ## 4. Drawing tokens
#
# *★★☆ · about 10 minutes*
#
# Greedy texts are dull, and often go round in circles. It is better to *draw* the next token from a distribution $p$,
# which is made from the logits in two steps:
#
# 1. **Temperature** $\tau > 0$: divide the logits by it. Below 1 the best get even more, above 1 all become more alike.
# 2. **Top-k**: keep the $k$ best logits of each row, and give all others $-\infty$. Those that *equal* the $k$-th best
#    are kept too, for they are just as good. `top_k` may be `None`, and then nothing is removed, or larger than `V`.
#
# Then the softmax turns them into probabilities. By hand, with the logits $(\ln 4,\ \ln 1,\ \ln 2)$ and $\tau = 1$: the
# shares are $(\frac47, \frac17, \frac27)$; with $k = 2$ they are $(\frac46, 0, \frac26)$; and with $\tau = \frac12$,
# which squares the 4, the 1 and the 2, $(\frac{16}{20}, 0, \frac{4}{20})$.
#
# <details><summary>A hint</summary>
#
# Find the $k$-th best of each row first, as an array `(B, 1)`, and compare. `np.sort` sorts from the smallest to the
# largest. And what if one of the logits is 3000?
#
# </details>


# %% tags=["answer", "id:next_token_probs"]
def next_token_probs(logits, temperature=1.0, top_k=None):
    """The distribution from which the next token is drawn.

    logits: (B, V); temperature: above 0; top_k: at least 1, or None for all
    returns probs (B, V), each row sums to 1.
    """
    ### BEGIN SOLUTION
    logits = logits / temperature
    if top_k is not None:
        k = min(top_k, logits.shape[-1])
        kth = np.sort(logits, axis=-1)[:, -k, None]
        logits = np.where(logits >= kth, logits, -np.inf)
    return softmax_forward(logits)
    ### END SOLUTION


# %% tags=["check", "id:check_next_token_probs", "points:1"]
report = check("next_token_probs", next_token_probs)
print(report)
round(1 * report.score, 2)

# %% [markdown]
# Here is the same prompt, drawn at two temperatures from the best 40. Run the cell again with other seeds.

# %%
if report and check("gpt2_step", gpt2_step):
    shakespeare, tokenizer = GPT2.from_pretrained("shakespeare"), Tokenizer.from_pretrained("shakespeare")
    for temperature in (0.7, 1.3):
        rng = np.random.default_rng(1)
        text, past = tokenizer.encode("ROMEO:\nBut soft"), None
        new = text
        for _ in range(60):
            logits, past = gpt2_step(np.array([new]), shakespeare.params, shakespeare.config.n_head, past)
            probs = next_token_probs(logits[:, -1].astype("float64"), temperature, top_k=40)[0]
            new = [int(rng.choice(len(probs), p=probs))]
            text = text + new
        print(f"--- temperature {temperature}\n{tokenizer.decode(text)}\n")

# %% [markdown]
# ## 5. Your teacher's tests
#
# If this notebook is graded, more tests run in these cells: other numbers, other shapes, and functions together. You
# need not do anything.

# %% tags=["check", "id:hidden_step", "points:1"]
# Tests of attention_step and gpt2_step together, 1 point.
### BEGIN HIDDEN TESTS
for name, function in (("attention_step", attention_step), ("gpt2_step", gpt2_step)):
    report = check(name, function, seed=111)
    assert report.passed, report.hint
whole = GPT2.from_pretrained("shakespeare", dtype="float64")
tokens = np.random.default_rng(112).integers(0, whole.config.vocab_size, (2, 12))
wanted, _ = whole.forward(tokens)
for cuts in ((12,), (5, 6, 12), (1, 4, 8, 12)):
    past, parts, begin = None, [], 0
    for end in cuts:
        logits, past = gpt2_step(tokens[:, begin:end], whole.params, whole.config.n_head, past)
        parts.append(logits)
        begin = end
    assert np.allclose(np.concatenate(parts, axis=1), wanted, rtol=0, atol=1e-9), f"in pieces, up to {cuts}"
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_generate", "points:1"]
# Tests of generate_greedy, 1 point.
### BEGIN HIDDEN TESTS
for seed in (113, 114):
    report = check("generate_greedy", generate_greedy, seed=seed)
    assert report.passed, report.hint


def counting_step(ids, past):
    """A model that says, at the last place, how many tokens it has seen."""
    seen = (past or 0) + ids.shape[1]
    assert seen <= 7, "more tokens than there are positions"
    logits = np.zeros((*ids.shape, 30))
    logits[:, -1, seen] = 1
    return logits, seen


written = np.asarray(generate_greedy(counting_step, np.array([[20, 21, 22]]), 6, 7))
assert written.tolist() == [[20, 21, 22, 3, 4, 5, 6, 7, 7]]
### END HIDDEN TESTS

# %% tags=["check", "id:hidden_probs", "points:1"]
# Tests of next_token_probs, 1 point.
### BEGIN HIDDEN TESTS
report = check("next_token_probs", next_token_probs, seed=115)
assert report.passed, report.hint
scores = np.random.default_rng(116).standard_normal((4, 40))
shares = next_token_probs(scores, 0.9, 8)
assert ((shares > 0).sum(axis=-1) == 8).all() and np.allclose(shares.sum(axis=-1), 1, atol=1e-12)
assert (shares.argmax(axis=-1) == scores.argmax(axis=-1)).all()
assert np.allclose(next_token_probs(scores, 1e4, None), 1 / 40, atol=1e-4)
assert np.allclose(next_token_probs(scores, 1e-3, None).max(axis=-1), 1, atol=1e-4)
### END HIDDEN TESTS

# %% [markdown]
# ## 6. Harder, if you like: the nucleus
#
# *★★☆ · about 15 minutes more*
#
# How many tokens are good candidates? After "my noble" there are dozens, after "to be or not to" hardly more than one.
# Top-k keeps the same number in both cases. **Top-p**, also called nucleus sampling, keeps the fewest tokens, best
# first, that together have a probability of at least $p$ (Holtzman et al. 2020, "The Curious Case of Neural Text
# Degeneration", section 3.1).
#
# With the probabilities $(0.1,\ 0.5,\ 0.15,\ 0.25)$ and $p = 0.7$: the best has 0.5, the best two have 0.75, and that
# is enough, so tokens 1 and 3 stay. In other words: a token stays if those *better* than it sum to less than $p$. The
# best one always does.
#
# Return unchanged logits for tokens that stay, and $-\infty$ for the others. There are no points for this, but a check.


# %% tags=["answer", "id:keep_top_p"]
def keep_top_p(logits, p):
    """Keep the nucleus.

    logits: (B, V); p: in (0, 1]
    returns logits (B, V), -inf for tokens outside the nucleus.
    """
    ### BEGIN SOLUTION
    order = np.argsort(-logits, axis=-1)
    probs = np.take_along_axis(softmax_forward(logits), order, axis=-1)
    stays = probs.cumsum(axis=-1) - probs < p
    kept = np.zeros(logits.shape, bool)
    np.put_along_axis(kept, order, stays, axis=-1)
    return np.where(kept, logits, -np.inf)
    ### END SOLUTION


# %% tags=["check", "id:check_keep_top_p", "points:0"]
print(check("keep_top_p", keep_top_p))

# %% [markdown]
# ## 7. What do you have now?
#
# All of it: from bytes to tokens, from tokens to vectors, attention and its gradient, the loss and the optimizer, a
# model that learned to sort, and one that writes. Compare with the library's own: its cache makes room for all tokens
# at the start and fills it in place, where `np.concatenate` copies everything at each step.
#
#     import inspect
#     from minigpt2 import sampling
#     from minigpt2.components.key_value_cache import KeyValueCache
#     print(inspect.getsource(KeyValueCache))
#     print(inspect.getsource(sampling.next_token_probs))
#
# What comes next: the real weights. `GPT2.from_pretrained("gpt2")` downloads the 124 million parameters that OpenAI
# released, and `gpt2_step` runs on them as it is, with the tokenizer `Tokenizer.from_pretrained("gpt2")`.
