"""Exercise 11, generation with a key/value cache: each token is read once, and the next one is chosen or drawn."""

import math

import numpy as np

from minigpt2.components.attention import attention_forward
from minigpt2.components.feed_forward import feed_forward_forward
from minigpt2.components.key_value_cache import KeyValueCache, KeyValueCaches
from minigpt2.components.layer_norm import layer_norm_forward
from minigpt2.components.linear import linear_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.config import GPT2Config
from minigpt2.exercises.task import Case, Mistake, Task
from minigpt2.model import GPT2, gpt2_forward
from minigpt2.sampling import keep_top_p, next_token_probs

ATTENTION = "2_5_3_attention"
GENERATION = "2_3_text_generation"


# 1. Attention of new tokens to all tokens.


def _linear(rng, inputs, outputs):
    return {
        "weight": rng.standard_normal((inputs, outputs)) / math.sqrt(inputs),
        "bias": 0.5 * rng.standard_normal(outputs),
    }


def _step_cases(rng):
    def inputs(B, T, past, C, n_head, scale=1.0):
        past_k, past_v = scale * rng.standard_normal((2, B, n_head, past, C // n_head))
        return {
            "x": scale * rng.standard_normal((B, T, C)),
            "params": {"c_attn": _linear(rng, C, 3 * C), "c_proj": _linear(rng, C, C)},
            "n_head": n_head,
            "past_k": past_k,
            "past_v": past_v,
        }

    return [
        Case("three new tokens after two old ones, two heads", inputs(2, 3, 2, 4, 2)),
        Case("one new token after four old ones", inputs(2, 1, 4, 6, 3)),
        Case("three tokens, and nothing before them", inputs(2, 3, 0, 6, 2)),
        Case("as many new tokens as old ones, one sequence, one head", inputs(1, 3, 3, 4, 1)),
        Case("one token after another", inputs(1, 1, 1, 4, 2)),
        Case("as many sequences as heads and as tokens", inputs(3, 3, 2, 6, 3)),
        Case("large scores", inputs(2, 2, 5, 8, 2, scale=20.0)),
    ]


def attention_step(x, params, n_head, past_k, past_v):
    """Our attention with a cache that holds ``past_k`` and ``past_v``: returns y, and all keys and values."""
    B, _, S, D = past_k.shape
    past = KeyValueCache(B, n_head, S + x.shape[1], D, x.dtype, np)
    past.append(past_k, past_v)
    y, cache = attention_forward(x, params, n_head, past=past)
    return y, cache["k"], cache["v"]


def _heads(x, params, n_head):
    """q, k and v of the new tokens."""
    B, T, C = x.shape
    qkv = linear_forward(x, **params["c_attn"])[0]
    return qkv.reshape(B, T, 3, n_head, C // n_head).transpose(2, 0, 3, 1, 4)


def _causal(T, S, more=0):
    return np.tri(T, S, S - T + more, dtype=bool)


def _seen(q, k, v, params, visible=_causal, scale=None, merge=True, project=True):
    """The results of the queries from the keys and values, with another mask, scale or end."""
    B, _, T, D = q.shape
    scores = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(D) if scale is None else scale)
    heads = softmax_forward(np.where(visible(T, k.shape[2]), scores, -np.inf)) @ v
    heads = (heads.swapaxes(1, 2) if merge else heads).reshape(B, T, -1)
    return linear_forward(heads, **params["c_proj"])[0] if project else heads


def _step(join=None, order=(0, 1, 2), **changes):
    """A wrong ``attention_step``: (*inputs) -> y, k, v.

    join: (past, new) -> all; changes: of ``_seen``
    """
    join = join or (lambda past, new: np.concatenate([past, new], axis=2))

    def step(x, params, n_head, past_k, past_v):
        parts = _heads(x, params, n_head)
        q, k, v = (parts[i] for i in order)
        k, v = join(past_k, k), join(past_v, v)
        options = {name: value(x, past_k) if name == "scale" else value for name, value in changes.items()}
        return _seen(q, k, v, params, **options), k, v

    return step


def _returns_the_new_ones(x, params, n_head, past_k, past_v):
    _, k, v = _heads(x, params, n_head)
    return attention_step(x, params, n_head, past_k, past_v)[0], k, v


def _sees_the_new_ones(x, params, n_head, past_k, past_v):
    q, k, v = _heads(x, params, n_head)
    return _seen(q, k, v, params), *attention_step(x, params, n_head, past_k, past_v)[1:]


def _keys_for_values(x, params, n_head, past_k, past_v):
    q, k, v = _heads(x, params, n_head)
    k, v = np.concatenate([past_k, k], axis=2), np.concatenate([past_k, v], axis=2)
    return _seen(q, k, v, params), k, v


WRONG_AXIS = (
    "Old and new keys are joined along the wrong axis, not along time. They are (B, H, T, D): which axis counts tokens?"
)
THIRDS = "Queries, keys and values are taken from the wrong thirds. In which order do they come in c_attn's result?"

STEP = Task(
    name="attention_step",
    outputs=("y", "k", "v"),
    reference=attention_step,
    cases=_step_cases,
    notebook=ATTENTION,
    mistakes=(
        Mistake(WRONG_AXIS, _step(lambda past, new: np.concatenate([past, new], axis=1))),
        Mistake(WRONG_AXIS, _step(lambda past, new: np.concatenate([past, new], axis=0))),
        Mistake(WRONG_AXIS, _step(lambda past, new: np.concatenate([past, new], axis=-1))),
        Mistake(
            "The new keys and values come before the old ones. The cache is in the order of the text.",
            _step(lambda past, new: np.concatenate([new, past], axis=2)),
        ),
        Mistake(
            "The new tokens look only at each other. Their queries meet all keys, including those in the cache.",
            _sees_the_new_ones,
        ),
        Mistake(
            "Only the new keys and values come back. The caller needs all of them, since the next call gets them as "
            "its past.",
            _returns_the_new_ones,
        ),
        Mistake(
            "The past plays no part: new tokens look only at each other, and only their keys and values come back.",
            _step(lambda past, new: new),
        ),
        Mistake(
            "The mask is as if there were no past: the first new token sees only the first key of all. Row t of the "
            "mask is the token at place S - T + t of the text, when S counts all keys and T the new tokens.",
            _step(visible=lambda T, S: np.tri(T, S, dtype=bool)),
        ),
        Mistake(
            "There is no mask. A single new token needs none, but if there are several, the first must not see the "
            "second.",
            _step(visible=lambda T, S: np.ones((T, S), bool)),
        ),
        Mistake(
            "The mask is off by one: each token sees the one after it.",
            _step(visible=lambda T, S: _causal(T, S, 1)),
        ),
        Mistake(
            "The mask is off by one: a token does not see itself.",
            _step(visible=lambda T, S: _causal(T, S, -1)),
        ),
        Mistake(
            "The scores are not divided by the root of D.",
            _step(scale=lambda x, past_k: 1.0),
        ),
        Mistake(
            "The scores are divided by the root of C. Each dot product has only D terms, those of one head.",
            _step(scale=lambda x, past_k: 1 / math.sqrt(x.shape[-1])),
        ),
        Mistake(
            "The new values are put after the old keys. There are two caches, one for each.",
            _keys_for_values,
        ),
        Mistake(THIRDS, _step(order=(1, 0, 2))),
        Mistake(THIRDS, _step(order=(0, 2, 1))),
        Mistake(
            "The heads are merged without exchanging the axes of heads and time first: (B, H, T, D) reshaped to "
            "(B, T, C) mixes tokens.",
            _step(merge=False),
        ),
        Mistake("The last linear layer, c_proj, is missing.", _step(project=False)),
    ),
)


# 2. The model on new tokens only.


def _model_params(rng, V, P, C, n_layer):
    def norm():
        return {"weight": 1 + 0.5 * rng.standard_normal(C), "bias": rng.standard_normal(C)}

    def block():
        return {
            "ln_1": norm(),
            "attn": {"c_attn": _linear(rng, C, 3 * C), "c_proj": _linear(rng, C, C)},
            "ln_2": norm(),
            "mlp": {"c_fc": _linear(rng, C, 4 * C), "c_proj": _linear(rng, 4 * C, C)},
        }

    return {
        "wte": {"weight": rng.standard_normal((V, C))},
        "wpe": {"weight": rng.standard_normal((P, C))},
        "h": [block() for _ in range(n_layer)],
        "ln_f": norm(),
    }


def _model_cases(rng):
    def inputs(B, T, past, V, P, C, n_head, n_layer):
        kept = [
            dict(zip("kv", rng.standard_normal((2, B, n_head, past, C // n_head)), strict=True)) for _ in range(n_layer)
        ]
        return {
            "ids": rng.integers(0, V, (B, T)),
            "params": _model_params(rng, V, P, C, n_layer),
            "n_head": n_head,
            "past": kept if past else None,
        }

    return [
        Case("two new tokens after three old ones, two blocks", inputs(2, 2, 3, 5, 9, 4, 2, 2)),
        Case("one new token after four old ones", inputs(2, 1, 4, 7, 9, 6, 3, 2)),
        Case("the first three tokens", inputs(2, 3, 0, 7, 9, 6, 3, 2)),
        Case("up to the last position", inputs(3, 2, 4, 5, 6, 4, 1, 3)),
        Case("as many new tokens as old ones, one sequence", inputs(1, 3, 3, 5, 8, 4, 1, 1)),
    ]


def gpt2_step(ids, params, n_head, past):
    """Our model on new tokens: logits (B, T, V), and a dict of all keys "k" and values "v" for each block.

    past: such a list, which is not changed; None before the first token
    """
    (B, T), C = ids.shape, params["wte"]["weight"].shape[1]
    caches = []
    for layer in range(len(params["h"])):
        start = past[layer]["k"].shape[2] if past else 0
        cache = KeyValueCache(B, n_head, start + T, C // n_head, params["wte"]["weight"].dtype, np)
        if past:
            cache.append(past[layer]["k"], past[layer]["v"])
        caches.append(cache)
    logits, _ = gpt2_forward(ids, params, GPT2Config(n_embd=n_head, n_head=n_head), past=KeyValueCaches(caches))
    return logits, [{"k": cache.keys, "v": cache.values} for cache in caches]


def _positions_after(start, T):
    return np.arange(start, start + T)


def _model_step(positions=_positions_after, layer=lambda i: i, keep=lambda old, new: new, ln_f=True, last=False):
    """A wrong ``gpt2_step``.

    positions: (number of old tokens, of new tokens) -> rows of wpe
    layer:     which block's past each block gets
    keep:      (a block's past, the result of its attention) -> the past that is returned
    """

    def step(ids, params, n_head, past):
        B, T = ids.shape
        wte = params["wte"]["weight"]
        nothing = np.zeros((B, n_head, 0, wte.shape[1] // n_head), wte.dtype)
        past = past or [{"k": nothing, "v": nothing}] * len(params["h"])
        x = wte[ids] + params["wpe"]["weight"][positions(past[0]["k"].shape[2], T)]
        kept = []
        for i, block in enumerate(params["h"]):
            old = past[layer(i)]
            normed, _ = layer_norm_forward(x, **block["ln_1"])
            y, k, v = attention_step(normed, block["attn"], n_head, old["k"], old["v"])
            x = x + y
            normed, _ = layer_norm_forward(x, **block["ln_2"])
            x = x + feed_forward_forward(normed, block["mlp"])[0]
            kept.append(keep(old, {"k": k, "v": v}))
        x = layer_norm_forward(x, **params["ln_f"])[0] if ln_f else x
        logits = x @ wte.T
        return logits[:, -1] if last else logits, kept

    return step


def _past_forgotten(ids, params, n_head, past):
    return gpt2_step(ids, params, n_head, None)


MODEL_STEP = Task(
    name="gpt2_step",
    outputs=("logits", "past"),
    reference=gpt2_step,
    cases=_model_cases,
    notebook=ATTENTION,
    mistakes=(
        Mistake(
            "The past is not used at all: it is as if the new tokens were the first ones.",
            _past_forgotten,
        ),
        Mistake(
            "New tokens get the positions from 0 on. They are not the first ones: how many come before them?",
            _model_step(lambda start, T: np.arange(T)),
        ),
        Mistake(
            "The positions are off by one, too high. The first new token is at place S of the text, counted from 0, if "
            "there are S old ones.",
            _model_step(lambda start, T: np.arange(start + 1, start + 1 + T)),
        ),
        Mistake(
            "The positions are off by one, too low: the first new token gets the position of the last old one.",
            _model_step(lambda start, T: np.maximum(np.arange(start - 1, start - 1 + T), 0)),
        ),
        Mistake(
            "All new tokens get the same position, that of the first one. Each has its own.",
            _model_step(lambda start, T: np.full(T, start)),
        ),
        Mistake(
            "Every block gets the past of the first one. Each block has its own keys and values.",
            _model_step(layer=lambda i: 0),
        ),
        Mistake(
            "The old past is returned, without the new tokens: the next call would not know of them.",
            _model_step(keep=lambda old, new: old),
        ),
        Mistake(
            "The old keys and values are in the returned past twice. The result of attention_step already contains "
            "them.",
            _model_step(keep=lambda old, new: {name: np.concatenate([old[name], new[name]], axis=2) for name in "kv"}),
        ),
        Mistake(
            "The returned past has only the new tokens' keys and values. The next call needs all of them.",
            _model_step(keep=lambda old, new: {name: new[name][:, :, old[name].shape[2] :] for name in "kv"}),
        ),
        Mistake(
            "The final layer norm, ln_f, is forgotten.",
            _model_step(ln_f=False),
        ),
        Mistake(
            "Only the last token's logits are returned. Those of all new tokens are wanted here, (B, T, V).",
            _model_step(last=True),
        ),
    ),
)


# 3. Greedy generation, judged by its tokens and by the tokens that it gave the model to read.


class CountingModel:
    """A small random model, called as ``step(ids, past)``, that remembers what it was given."""

    def __init__(self, rng, n_positions):
        config = GPT2Config(
            vocab_size=17, n_positions=n_positions, n_embd=12, n_layer=2, n_head=2, initializer_range=0.5,
            tie_word_embeddings=False,  # a tied one would say the same token again and again
        )  # fmt: skip
        self.params = GPT2(config, int(rng.integers(1 << 30)), "float64").params
        self.n_positions = n_positions
        self.given = []  # of each call: how many tokens were in the past, and the new ones (B, T)

    def __call__(self, ids, past):
        ids = np.asarray(ids)
        if ids.ndim != 2 or not ids.size:
            raise ValueError(f"step: ids must be (B, T), at least one token each, got shape {ids.shape}")
        self.given.append((past[0]["k"].shape[2] if past else 0, ids.copy()))
        return gpt2_step(ids, self.params, 2, past)

    def write(self, ids, n, choose):
        """The prompt and n new tokens, each chosen by ``choose`` from the logits of the new tokens, (B, T, V)."""
        past, new = None, ids[:, -self.n_positions :]
        for _ in range(n):
            logits, past = gpt2_step(new, self.params, 2, past)
            new = choose(logits)[:, None]
            ids = np.concatenate([ids, new], axis=1)
            if ids.shape[1] > self.n_positions:
                past, new = None, ids[:, -self.n_positions :]
        return ids

    def __deepcopy__(self, memo):
        return self  # its ``given`` must include the calls of a copy

    def __repr__(self):
        return f"a model of {self.n_positions} positions"


def _generate_cases(rng):
    def inputs(B, T, n, n_positions):
        return {
            "step": CountingModel(rng, n_positions),
            "ids": rng.integers(0, 17, (B, T)),
            "max_new_tokens": n,
            "n_positions": n_positions,
        }

    return [
        Case("two prompts of three tokens, five new ones", inputs(2, 3, 5, 32)),
        Case("one prompt, one new token", inputs(1, 4, 1, 32)),
        Case("a prompt of one token", inputs(3, 1, 6, 32)),
        Case("up to the last position", inputs(2, 4, 5, 8)),
        Case("beyond the last position", inputs(2, 3, 9, 6)),
        Case("a prompt longer than the positions", inputs(2, 7, 3, 5)),
    ]


def _best(logits):
    return logits[:, -1].argmax(axis=-1)


def _judged(inputs, result):
    """The mistake in a generated text, or in the use of the model, in a sentence; None if there is none."""
    step, ids, n, P = inputs.values()
    B, T = ids.shape
    text = np.asarray(result)
    if text.shape == (B, n) and text.shape != (B, T + n):
        return "Only the new tokens come back. The prompt belongs before them."
    if text.shape != (B, T + n) or text.dtype.kind not in "iu":
        return f"The result is not the prompt and {n} new tokens, an array of integers of shape {(B, T + n)}."
    expected = step.write(ids, n, _best)
    if np.array_equal(text, expected):
        return _waste(step.given, T, n, P)
    if np.array_equal(text, step.write(ids, n, lambda logits: logits[:, -1].argmin(axis=-1))):
        return "The least likely token is taken each time. Which end of the scores is the best?"
    if np.array_equal(text, step.write(ids, n, lambda logits: logits[:, 0].argmax(axis=-1))):
        return "The next token is chosen by the logits of the first position. Which position has read everything?"
    return _misuse(step.given, text, P) or _first_difference(text, expected)


def _calls(T, n, P):
    """(length of the past, number of new tokens) of each call, as few as there can be."""
    lengths = range(T, T + n)
    return [(0, min(L, P)) if L == T or L > P else (L - 1, 1) for L in lengths]


def _waste(given, T, n, P):
    """The tokens that were read more often than needed, though all results are right."""
    calls, needed = [(past, ids.shape[1]) for past, ids in given], _calls(T, n, P)
    count, least = sum(new for _, new in calls), sum(new for _, new in needed)
    if count <= least:
        return None
    start = f"The tokens are right, but the model was given {count} of them to read, where {least} are enough. "
    if calls[: len(needed)] == needed:
        return start + "It was called once more at the end: nobody asks what would follow the last token."
    if T + n - 1 > P:
        return start + (
            "The text must be read again only when it has outgrown n_positions; until then, each token is new only "
            "once."
        )
    if all(past == 0 for past, _ in calls):
        return start + (
            "It never gets a past: the whole text is read again for each token. Give it the past that it returned, and "
            "only the new token."
        )
    return start + "After the prompt, each call needs only the token that was chosen last."


def _misuse(given, text, P):
    """The wrong use of the cache, judged by the calls."""
    for i, (past, ids) in enumerate(given):
        new = ids.shape[1]
        before = given[i - 1][0] + given[i - 1][1].shape[1] if i else 0  # tokens in the past that came back
        if i and past == 0 and new == 1 and before >= 1:
            return (
                "The model gets the newest token without a past, as if it were the first one: pass on the past that "
                "the call before returned."
            )
        if i and 0 < past < min(before, P - 1) and past == given[max(i - 1, 1)][0]:
            return (
                "The same past is given each time, that of the first call. Each call returns a new past, with one more "
                "token in it."
            )
        if past and new > 1:
            return (
                "The prompt is fed again: tokens that are already in the past were given to the model again. What is "
                "new since the last call?"
            )
        if past and past + new < text.shape[1] and not np.array_equal(ids, text[:, past : past + new]) and past < P - 1:
            return (
                f"In call {i + 1} the model was not given the token that comes next in the text, after the "
                f"{past} in its past."
            )
    return ""


def _first_difference(text, expected):
    place = int(np.flatnonzero((text != expected).any(axis=0))[0])
    row = int(np.flatnonzero(text[:, place] != expected[:, place])[0])
    return (
        f"The token at [{row}, {place}] is {text[row, place]}, and should be {expected[row, place]}: which tokens "
        "had the model read before it was chosen? Beyond n_positions they are the last n_positions tokens, each at a "
        "new position, so the old keys and values are no longer valid."
    )


def _never_slides(step, ids, max_new_tokens, n_positions):
    past, new = None, ids
    for _ in range(max_new_tokens):
        logits, past = step(new, past)
        new = _best(logits)[:, None]
        ids = np.concatenate([ids, new], axis=1)
    return ids


def _slides_with_the_past(step, ids, max_new_tokens, n_positions):
    past = None
    for _ in range(max_new_tokens):
        logits, past = step(ids[:, -n_positions:] if past is None else ids[:, -n_positions:][:, -1:], past)
        ids = np.concatenate([ids, _best(logits)[:, None]], axis=1)
    return ids


OUTGROWN = (
    "The text outgrows the model's positions. From there on the last n_positions tokens are read again at each step, "
    "with no past: as the window moves, every token gets a new position."
)

GENERATE = Task(
    name="generate_greedy",
    outputs=("ids",),
    reference=None,
    accept=_judged,
    cases=_generate_cases,
    notebook=GENERATION,
    mistakes=(Mistake(OUTGROWN, _never_slides), Mistake(OUTGROWN, _slides_with_the_past)),
)


# 4. Sampling.


def _probs_cases(rng):
    def inputs(logits, temperature, top_k):
        return {"logits": np.array(logits, np.float64), "temperature": temperature, "top_k": top_k}

    unequal = rng.standard_normal((4, 6)) * np.array([[0.1], [1.0], [5.0], [0.5]]) + np.array([[0], [3], [-2], [9]])
    ties = [[1.0, 3.0, 2.0, 2.0, -1.0, 2.0], [0.0, 0.5, 0.5, 0.0, 0.5, -3.0]]
    masked = rng.standard_normal((2, 5))
    masked[0, 1] = masked[1, 3] = -np.inf
    return [
        Case("two rows of five logits, the best three", inputs(rng.standard_normal((2, 5)), 0.7, 3)),
        Case("all tokens, a low temperature", inputs(2 * rng.standard_normal((2, 7)), 0.25, None)),
        Case("all tokens, a high temperature", inputs(2 * rng.standard_normal((3, 4)), 3.0, None)),
        Case("rows that are far from each other", inputs(unequal, 1.5, 2)),
        Case("as many rows as tokens", inputs(rng.standard_normal((4, 4)), 1.0, 3)),
        Case("equal logits at the border", inputs(ties, 1.25, 2)),
        Case("only the best", inputs(rng.standard_normal((2, 5)), 0.5, 1)),
        Case("top_k is more than there are tokens", inputs(rng.standard_normal((2, 4)), 2.0, 9)),
        Case("logits in the thousands", inputs(3000 + 40 * rng.standard_normal((2, 5)), 0.8, 4)),
        Case("-inf for tokens that are not allowed", inputs(masked, 1.6, 4)),
    ]


def _probs(logits, temperature, top_k):
    return next_token_probs(logits, temperature, top_k).astype(logits.dtype)  # which come back in float64


def _kth(logits, k):
    """The k-th largest of each row, (B, 1)."""
    V = logits.shape[-1]
    return np.sort(logits, axis=-1)[:, V - min(k, V), None]


def _sampled(logits, temperature, top_k, keep=None, rest=-np.inf, axis=-1):
    """The distribution with another choice of tokens, (logits, k) -> bool, or another value for the others."""
    logits = logits / temperature
    if top_k is not None:
        kept = keep(logits, top_k) if keep else logits >= _kth(logits, top_k)
        logits = np.where(kept, logits, rest)
    e = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _exactly_k(logits, k):
    order = np.argsort(-logits, axis=-1, kind="stable")
    return np.argsort(order, axis=-1) < k


def _exactly_k_from_the_end(logits, k):
    order = np.argsort(logits, axis=-1)[:, -k:]
    kept = np.zeros(logits.shape, bool)
    np.put_along_axis(kept, order, True, axis=-1)
    return kept


def _without_renormalising(logits, temperature, top_k):
    probs = _probs(logits, temperature, None)
    return probs if top_k is None else np.where(probs >= _kth(probs, top_k), probs, 0)


def _divided_probs(logits, temperature, top_k):
    return _probs(logits, 1.0, top_k) / temperature


def _beyond_the_end(logits, temperature, top_k):
    return np.sort(logits, axis=-1)[:, -top_k]


def _partitioned_beyond_the_end(logits, temperature, top_k):
    return np.partition(logits, -top_k, axis=-1)


def _without_maximum(logits, temperature, top_k):
    e = np.exp(logits / temperature)
    if top_k is not None:
        e = np.where(logits >= _kth(logits, top_k), e, 0)
    return e / e.sum(axis=-1, keepdims=True)


TIES = (
    "Some of the equal logits at the border are kept and some are not. They are equally good: keep all that are at "
    "least as large as the k-th largest."
)
TOO_LARGE_K = "top_k may be larger than the number of tokens. Then all of them are kept."

PROBS = Task(
    name="next_token_probs",
    outputs=("probs",),
    reference=_probs,
    cases=_probs_cases,
    notebook=GENERATION,
    mistakes=(
        Mistake(
            "The logits are multiplied by the temperature. A high temperature should make the distribution flatter.",
            lambda logits, temperature, top_k: _probs(logits, 1 / temperature, top_k),
        ),
        Mistake(
            "The probabilities are divided by the temperature, and no longer sum to 1. It belongs before the softmax.",
            _divided_probs,
        ),
        Mistake(
            "The temperature is not used.",
            lambda logits, temperature, top_k: _probs(logits, 1.0, top_k),
        ),
        Mistake(
            "top_k is not used: every token keeps a probability.",
            lambda logits, temperature, top_k: _probs(logits, temperature, None),
        ),
        Mistake(
            "One token too many is kept, k + 1 of them. Which index does the k-th largest have in a sorted row?",
            lambda logits, temperature, top_k: _probs(logits, temperature, top_k and top_k + 1),
        ),
        Mistake(
            "One token too few is kept: the k-th largest is itself one of the best k.",
            lambda logits, temperature, top_k: _sampled(
                logits, temperature, top_k, lambda logits, k: logits > _kth(logits, k)
            ),
        ),
        Mistake(
            "After the others are removed, the probabilities of the best k do not sum to 1: normalise them, or remove "
            "the others before the softmax.",
            _without_renormalising,
        ),
        Mistake(
            "The others get the logit 0, which is a score like any other, and so has a probability. Which score has "
            "the probability 0?",
            lambda logits, temperature, top_k: _sampled(logits, temperature, top_k, rest=0),
        ),
        Mistake(
            "The k smallest are kept. In which direction does np.sort sort?",
            lambda logits, temperature, top_k: _sampled(
                logits, temperature, top_k, lambda logits, k: logits <= -_kth(-logits, k)
            ),
        ),
        Mistake(
            "All rows share one threshold. Each text has its own best k.",
            lambda logits, temperature, top_k: _sampled(
                logits, temperature, top_k, lambda logits, k: logits >= np.sort(logits, axis=None)[-min(k, logits.size)]
            ),
        ),
        Mistake(TIES, lambda logits, temperature, top_k: _sampled(logits, temperature, top_k, _exactly_k)),
        Mistake(TIES, lambda logits, temperature, top_k: _sampled(logits, temperature, top_k, _exactly_k_from_the_end)),
        Mistake(TOO_LARGE_K, _beyond_the_end),
        Mistake(TOO_LARGE_K, _partitioned_beyond_the_end),
        Mistake(
            "The softmax is taken over the batch. Each row is a separate distribution.",
            lambda logits, temperature, top_k: _sampled(logits, temperature, top_k, axis=0),
        ),
        Mistake(
            "exp of a large logit overflows, and infinity divided by infinity is not a number. Subtract the largest of "
            "each row first, which changes no probability.",
            _without_maximum,
        ),
    ),
)


# The harder part: the nucleus.


def _nucleus_cases(rng):
    few = rng.standard_normal((2, 5))
    few[1, 3] += 6  # nearly certain
    return [
        Case("two rows of five logits, p = 0.8", {"logits": few, "p": 0.8}),
        Case("as many rows as tokens", {"logits": 2 * rng.standard_normal((6, 6)), "p": 0.6}),
        Case("p so small that only the best stays", {"logits": rng.standard_normal((3, 5)), "p": 0.01}),
        Case("p = 1: nothing is removed", {"logits": rng.standard_normal((2, 5)), "p": 1.0}),
        Case("one token of seven is enough in no row", {"logits": 0.1 * rng.standard_normal((3, 7)), "p": 0.5}),
    ]


def _nucleus(logits, p, order=None, drop=None):
    """The filter with another order of the tokens, or with another rule for removing them.

    drop: (probabilities in order, their running sum, p) -> bool
    """
    order = np.argsort(-logits, axis=-1, kind="stable") if order is None else order
    probs = np.take_along_axis(softmax_forward(logits), order, axis=-1)
    total = probs.cumsum(axis=-1)
    dropped = drop(probs, total, p) if drop else total - probs >= p
    out = np.zeros(logits.shape, bool)
    np.put_along_axis(out, order, dropped, axis=-1)
    return np.where(out, -np.inf, logits)


def _not_put_back(logits, p):
    ordered = -np.sort(-logits, axis=-1)
    probs = softmax_forward(ordered)
    return np.where(probs.cumsum(axis=-1) - probs >= p, -np.inf, ordered)


NUCLEUS = Task(
    name="keep_top_p",
    outputs=("logits",),
    reference=keep_top_p,
    cases=_nucleus_cases,
    notebook=GENERATION,
    mistakes=(
        Mistake(
            "The token with which the sum reaches p is removed. Without it, those that stay have less than p together.",
            lambda logits, p: _nucleus(logits, p, drop=lambda probs, total, p: total > p),
        ),
        Mistake(
            "The token with which the sum reaches p is removed, and only the best of all is spared.",
            lambda logits, p: _nucleus(
                logits, p, drop=lambda probs, total, p: (total > p) & (np.arange(probs.shape[-1]) > 0)
            ),
        ),
        Mistake(
            "One token too many stays: the sum of those before it is already p.",
            lambda logits, p: _nucleus(
                logits,
                p,
                drop=lambda probs, total, p: np.roll(total - probs >= p, 1, axis=-1) & (np.arange(probs.shape[-1]) > 0),
            ),
        ),
        Mistake(
            "The tokens are summed up in the order of their ids. The best come first.",
            lambda logits, p: _nucleus(logits, p, np.broadcast_to(np.arange(logits.shape[-1]), logits.shape)),
        ),
        Mistake(
            "The worst tokens come first in the sum. In which direction does argsort sort?",
            lambda logits, p: _nucleus(logits, p, np.argsort(logits, axis=-1)),
        ),
        Mistake(
            "p is compared with the probability of each single token. The sum of the best must reach p.",
            lambda logits, p: np.where(softmax_forward(logits) >= p, logits, -np.inf),
        ),
        Mistake(
            "The logits came back in the order from best to worst. Column v must be token v as before.",
            _not_put_back,
        ),
    ),
)

TASKS = (STEP, MODEL_STEP, GENERATE, PROBS, NUCLEUS)
