"""Exercise 11, generation with a key/value cache: each token is read once, and the next one is chosen or drawn."""

import math

import numpy as np

from minigpt2.components.feed_forward import feed_forward_forward
from minigpt2.components.layer_norm import layer_norm_forward
from minigpt2.components.linear import linear_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.config import GPT2Config
from minigpt2.exercises.ex10_model import BLOCK_FORWARD, linear_params, model_params
from minigpt2.exercises.guard import call
from minigpt2.exercises.recognition import changed
from minigpt2.exercises.task import Case, Mistake, Task
from minigpt2.model import GPT2

ATTENTION = "2_5_3_attention"
GENERATION = "2_3_text_generation"


# 1. Attention of new tokens to all tokens.


def _step_cases(rng):
    def inputs(B, T, past, C, n_head, scale=1.0):
        past_k, past_v = scale * rng.standard_normal((2, B, n_head, past, C // n_head))
        return {
            "x": scale * rng.standard_normal((B, T, C)),
            "params": {"c_attn": linear_params(rng, C, 3 * C), "c_proj": linear_params(rng, C, C)},
            "n_head": n_head,
            "past_k": past_k,
            "past_v": past_v,
        }

    far = inputs(2, 2, 0, 4, 2, scale=200.0)
    c_attn = far["params"]["c_attn"]
    c_attn["weight"][:, 4:8] = -c_attn["weight"][:, :4]  # each key is the opposite of its token's query
    return [
        Case("three new tokens after two old ones, two heads", inputs(2, 3, 2, 4, 2)),
        Case("one new token after four old ones", inputs(2, 1, 4, 6, 3)),
        Case("three tokens, and nothing before them", inputs(2, 3, 0, 6, 2)),
        Case("as many new tokens as old ones, one sequence, one head", inputs(1, 3, 3, 4, 1)),
        Case("one token after another", inputs(1, 1, 1, 4, 2)),
        Case("as many sequences as heads and as tokens", inputs(3, 3, 2, 6, 3)),
        Case("large scores", inputs(2, 2, 5, 8, 2, scale=20.0)),
        Case("scores far below zero", far),
    ]


def attention_step(x, params, n_head, past_k, past_v):
    """Attention of the new tokens x (B, T, C) to all: y (B, T, C), and the keys and values of all, (B, H, S, D)."""
    B, T, C = x.shape
    qkv, _ = linear_forward(x, **params["c_attn"])
    parts = np.split(qkv, 3, axis=-1)
    q, new_k, new_v = (part.reshape(B, T, n_head, -1).transpose(0, 2, 1, 3) for part in parts)
    k = np.concatenate([past_k, new_k], axis=2)
    v = np.concatenate([past_v, new_v], axis=2)
    S = k.shape[2]
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    visible = np.tri(T, S, S - T, dtype=bool)
    probs = softmax_forward(np.where(visible, scores, -np.inf))
    heads = (probs @ v).transpose(0, 2, 1, 3).reshape(B, T, C)
    y, _ = linear_forward(heads, **params["c_proj"])
    return y, k, v


def _softmax(scores, axis=-1):
    return _normalised(np.exp(scores - scores.max(axis=axis, keepdims=True)), axis)


def _normalised(weights, axis=-1):
    return weights / weights.sum(axis=axis, keepdims=True)


def _weights(scores):
    return np.exp(scores - scores.max(axis=-1, keepdims=True))


JOIN_K, JOIN_V = "np.concatenate([past_k, new_k], axis=2)", "np.concatenate([past_v, new_v], axis=2)"
NEW_KEYS_FIRST = ("[past_k, new_k]", "[new_k, past_k]")
NEW_VALUES_FIRST = ("[past_v, new_v]", "[new_v, past_v]")
HEADS = "part.reshape(B, T, n_head, -1).transpose(0, 2, 1, 3)"
PARTS = "np.split(qkv, 3, axis=-1)"
MASK = "np.tri(T, S, S - T, dtype=bool)"
MASKED = "np.where(visible, scores, -np.inf)"
PROBS = f"softmax_forward({MASKED})"
WRONG_AXIS = (
    "Old and new keys are joined along the wrong axis, not along time. They are (B, H, T, D): which axis counts tokens?"
)
THIRDS = "Queries, keys and values are taken from the wrong thirds. In which order do they come in c_attn's result?"
SQUARE_MASK = "The mask has no columns for the old keys: it is (T, T), and the scores are (T, S)."
TURNED = "The mask is turned round: what a token sees and what it does not see are exchanged."
NOT_ONE = "The shares of a query do not sum to 1."
MERGED = (
    "The heads are put side by side in a wrong way: (B, H, T, D) becomes (B, T, C), each head's channels together. "
    "Which axes must change places first?"
)

STEP = Task(
    name="attention_step",
    outputs=("y", "k", "v"),
    reference=attention_step,
    cases=_step_cases,
    notebook=ATTENTION,
    mistakes=(
        *(
            Mistake(
                WRONG_AXIS,
                ((JOIN_K, JOIN_K.replace("=2", f"={axis}")), (JOIN_V, JOIN_V.replace("=2", f"={axis}"))),
            )
            for axis in (1, 0, -1)
        ),
        Mistake(
            WRONG_AXIS,
            (
                (JOIN_K, JOIN_K.replace("=2", "=0")),
                (JOIN_V, JOIN_V.replace("=2", "=0")),
                ("reshape(B, T, C)", "reshape(-1, T, C)"),  # which has room for twice as many sequences
            ),
        ),
        Mistake(
            "The new keys and values come before the old ones. The cache is in the order of the text.",
            (NEW_KEYS_FIRST, NEW_VALUES_FIRST),
        ),
        Mistake("The new keys come before the old ones. The cache is in the order of the text.", (NEW_KEYS_FIRST,)),
        Mistake("The new values come before the old ones. The cache is in the order of the text.", (NEW_VALUES_FIRST,)),
        Mistake(
            "The new tokens look only at each other. Their queries meet all keys, including those in the cache.",
            (("q @ k.", "q @ new_k."), ("S = k.", "S = new_k."), ("probs @ v", "probs @ new_v")),
        ),
        Mistake(
            "Only the new keys and values come back. The caller needs all of them, since the next call gets them as "
            "its past.",
            (("return y, k, v", "return y, new_k, new_v"),),
        ),
        Mistake(
            "Only the old keys and values come back. The next call needs those of the new tokens as well.",
            (("return y, k, v", "return y, past_k, past_v"),),
        ),
        Mistake(
            "The old keys and the old values are exchanged.",
            (("[past_k, new_k]", "[past_v, new_k]"), ("[past_v, new_v]", "[past_k, new_v]")),
        ),
        Mistake(
            "The past plays no part: new tokens look only at each other, and only their keys and values come back.",
            (("[past_k, new_k]", "[new_k]"), ("[past_v, new_v]", "[new_v]")),
        ),
        Mistake(
            "The mask is as if there were no past: the first new token sees only the first key of all. Which rows of a "
            "mask of the whole text are those of the new tokens?",
            ((MASK, "np.tri(T, S, dtype=bool)"),),
        ),
        Mistake(SQUARE_MASK, ((MASK, "np.tri(T, dtype=bool)"),)),
        Mistake(SQUARE_MASK, ((MASKED, "scores + np.where(np.tri(T), 0, -np.inf)"),)),
        Mistake(
            "There is a mask only where there is no past. With several new tokens, the first must not see the second, "
            "whatever came before.",
            ((MASK, f"{MASK} | (S > T)"),),
        ),
        Mistake(
            "There is no mask. A single new token needs none, but if there are several, the first must not see the "
            "second.",
            ((MASK, "True"),),
        ),
        Mistake("The mask is off by one: each token sees the one after it.", (("S - T, ", "S - T + 1, "),)),
        Mistake("The mask is off by one: a token does not see itself.", (("S - T, ", "S - T - 1, "),)),
        Mistake(
            "0 times infinity is NaN: the mask is multiplied by infinity, and it has zeros. How can a number be chosen "
            "by a condition, without a product?",
            ((MASKED, "scores + (1 - visible) * -np.inf"),),
        ),
        Mistake(TURNED, (("visible, scores, -np.inf", "visible, -np.inf, scores"),)),
        Mistake(TURNED, ((MASK, "~np.tri(T, S, S - T - 1, dtype=bool)"),)),
        *(
            Mistake(
                f"The masked scores are {score:g}, which is a score like any other. Which one gets no share?",
                (("scores, -np.inf", f"scores, {score}"),),
            )
            for score in (0.0, -1.0)
        ),
        Mistake(
            "The masked scores are a large negative number, and other scores can be still lower. Which one gets no "
            "share for certain?",
            (("scores, -np.inf", "scores, -1e4"),),
        ),
        Mistake(
            "The keys that must not be seen are removed after the softmax, and so the shares of the others do not sum "
            "to 1.",
            ((PROBS, "softmax_forward(scores) * visible"),),
        ),
        Mistake(
            "The keys that must not be seen are removed after the softmax. Where one of them had by far the largest "
            "score, nothing is left for the others.",
            ((PROBS, "_normalised(softmax_forward(scores) * visible)"),),
        ),
        Mistake("The scores are not divided by the root of D.", ((" / math.sqrt(q.shape[-1])", ""),)),
        *(
            Mistake(
                f"The scores are divided by the root of {letter}. Of how many terms is each dot product the sum?",
                (("math.sqrt(q.shape[-1])", f"math.sqrt({letter})"),),
            )
            for letter in "CST"
        ),
        Mistake(
            "The scores are divided by 8, as if every head were 64 wide. Which number tells the width here?",
            (("math.sqrt(q.shape[-1])", "8"),),
        ),
        Mistake("The scores are divided by D, not by its root.", (("math.sqrt(q.shape[-1])", "q.shape[-1]"),)),
        Mistake(
            "The scores are multiplied by the root of D.",
            (("/ math.sqrt(q.shape[-1])", "* math.sqrt(q.shape[-1])"),),
        ),
        Mistake(
            "The softmax is taken along the queries. Each query divides its attention among the keys.",
            ((PROBS, f"_softmax({MASKED}, axis=-2)"),),
        ),
        Mistake(
            "The weights are divided by their sum along the queries. Each query divides its attention among the keys.",
            ((PROBS, f"_normalised(_weights({MASKED}), axis=-2)"),),
        ),
        Mistake(
            "The softmax is taken across the heads. Each query divides its attention among the keys.",
            ((PROBS, f"_softmax({MASKED}, axis=1)"),),
        ),
        Mistake("There is no softmax: scores are not shares.", ((PROBS, "np.where(visible, scores, 0)"),)),
        Mistake(NOT_ONE, ((PROBS, f"np.exp({MASKED})"),)),
        Mistake(NOT_ONE, ((PROBS, f"_weights({MASKED})"),)),
        Mistake(
            "The keys are reshaped to (B, H, D, S) for the product, which mixes their numbers. What exchanges axes?",
            (("k.swapaxes(-1, -2)", "k.reshape(B, n_head, -1, S)"),),
        ),
        Mistake(
            "The new values are put after the old keys. There are two caches, one for each.",
            (("[past_v, new_v]", "[past_k, new_v]"),),
        ),
        Mistake("The shares weigh the keys. What should they weigh?", (("probs @ v", "probs @ k"),)),
        *(
            Mistake(THIRDS, (("q, new_k, new_v =", f"{order} ="),))
            for order in (
                "new_k, q, new_v", "q, new_v, new_k", "new_v, new_k, q", "new_k, new_v, q", "new_v, q, new_k",
            )
        ),
        Mistake(
            "Every third number of c_attn's result is taken. The queries, the keys and the values are each together, "
            "one after the other.",
            ((PARTS, "[qkv[..., i::3] for i in range(3)]"),),
        ),
        Mistake(
            "c_attn's result is cut into heads first, and then each of them into query, key and value. Which of the "
            "two comes first?",
            ((PARTS, "np.split(qkv.reshape(B, T, n_head, -1), 3, axis=-1)"),),
        ),
        Mistake(
            "The heads are cut without exchanging the axes: a reshape to (B, H, T, D) at once mixes tokens.",
            ((HEADS, "part.reshape(B, n_head, T, -1)"),),
        ),
        Mistake(
            "The heads take turns in the channels. Head 0 has the first D of them, all together.",
            ((HEADS, "part.reshape(B, T, -1, n_head).transpose(0, 3, 1, 2)"),),
        ),
        Mistake(MERGED, (("(probs @ v).transpose(0, 2, 1, 3)", "(probs @ v)"),)),
        Mistake(MERGED, (("(probs @ v).transpose(0, 2, 1, 3)", "(probs @ v).transpose(0, 2, 3, 1)"),)),
        Mistake(
            "The last linear layer, c_proj, is missing.",
            (('y, _ = linear_forward(heads, **params["c_proj"])', "y = heads"),),
        ),
        Mistake(
            "c_proj's weight is transposed. It is (in, out), with the input on its left.",
            (('(heads, **params["c_proj"])', '(heads, params["c_proj"]["weight"].T, params["c_proj"]["bias"])'),),
        ),
        Mistake(
            "Only the last new token's y comes back. Those of all new tokens are wanted.",
            (("return y,", "return y[:, -1:],"),),
        ),
    ),
)


# 2. The model on new tokens only.


def _model_cases(rng):
    def inputs(B, T, past, V, P, C, n_head, n_layer):
        kept = [
            dict(zip("kv", rng.standard_normal((2, B, n_head, past, C // n_head)), strict=True)) for _ in range(n_layer)
        ]
        return {
            "ids": (rng.permutation(V)[:T] + np.arange(B)[:, None]) % V,  # no two texts alike
            "params": model_params(rng, V, P, C, n_layer),
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
    """GPT-2 on new tokens: logits (B, T, V), and the past for the next call."""
    B, T = ids.shape
    wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
    if past is None:
        nothing = np.zeros((B, n_head, 0, wte.shape[1] // n_head), wte.dtype)
        past = [{"k": nothing, "v": nothing}] * len(params["h"])
    start = past[0]["k"].shape[2]
    x = wte[ids] + wpe[start : start + T]
    new_past = []
    for block, old in zip(params["h"], past, strict=True):
        normed_1, _ = layer_norm_forward(x, **block["ln_1"])
        added_1, k, v = attention_step(normed_1, block["attn"], n_head, old["k"], old["v"])
        mid = x + added_1
        normed_2, _ = layer_norm_forward(mid, **block["ln_2"])
        added_2, _ = feed_forward_forward(normed_2, block["mlp"])
        y = mid + added_2
        new_past.append({"k": k, "v": v})
        x = y
    x, _ = layer_norm_forward(x, **params["ln_f"])
    return x @ wte.T, new_past


POSITIONS = "wpe[start : start + T]"
TOO_HIGH = (
    "The positions are off by one, too high. How many tokens come before the first new one, and where does counting "
    "begin?"
)
TOO_LOW = "The positions are off by one, too low: the first new token gets the position of the last old one."
BY_ID = "The rows of wpe are looked up by token id. By what should they be?"
OLD_COUNT = "The number of old tokens is wrong. A past is (B, H, S - T, D): which axis counts tokens?"
LAST_ONLY = "Only the last token's logits are returned. Those of all new tokens are wanted here, (B, T, V)."

MODEL_STEP = Task(
    name="gpt2_step",
    outputs=("logits", "past"),
    reference=gpt2_step,
    cases=_model_cases,
    notebook=ATTENTION,
    mistakes=(
        Mistake(
            "The past is not used at all: it is as if the new tokens were the first ones.",
            (("if past is None:", "if True:"),),
        ),
        Mistake(
            "New tokens get the positions from 0 on. They are not the first ones: how many come before them?",
            ((POSITIONS, "wpe[:T]"),),
        ),
        Mistake(TOO_HIGH, ((POSITIONS, "wpe[start + 1 : start + 1 + T]"),)),
        Mistake(TOO_HIGH, ((POSITIONS, "wpe[np.arange(start + 1, start + 1 + T)]"),)),
        Mistake(TOO_LOW, ((POSITIONS, "wpe[np.maximum(np.arange(start - 1, start - 1 + T), 0)]"),)),
        Mistake(TOO_LOW, ((POSITIONS, "wpe[max(start - 1, 0) : max(start - 1, 0) + T]"),)),
        *(
            Mistake(OLD_COUNT, (("start = ", f"start = {other} if {when} else 0 * "),))
            for other in ('past[0]["k"].shape[1]', 'past[0]["k"].shape[3]', "len(past)")
            for when in ("True", 'past[0]["k"].size')
        ),
        *(
            Mistake("All new tokens get the same position. Each has its own.", ((POSITIONS, position),))
            for position in ("wpe[start]", "(wpe[start] if start else wpe[:T])", "wpe[start + T - 1]")
        ),
        Mistake("The new tokens' positions go backwards.", ((POSITIONS, f"{POSITIONS}[::-1]"),)),
        Mistake(
            "The position embedding is forgotten: the model cannot tell which of two tokens came first.",
            ((f" + {POSITIONS}", ""),),
        ),
        Mistake(
            "The token embedding is multiplied by the root of C, as in the first Transformer. GPT-2 adds it as it is.",
            (("wte[ids]", "math.sqrt(wte.shape[1]) * wte[ids]"),),
        ),
        Mistake(BY_ID, ((POSITIONS, "wpe[ids]"),)),
        Mistake(BY_ID, ((POSITIONS, "wpe[ids % len(wpe)]"),)),
        *(each for each in BLOCK_FORWARD.mistakes if not callable(each.wrong) and changed(gpt2_step, each.wrong)),
        Mistake(
            "Every block gets the past of the first one. Each block has its own keys and values.",
            (('old["k"], old["v"]', 'past[0]["k"], past[0]["v"]'),),
        ),
        Mistake(
            "Each block gets the past of the block before it. Each has its own keys and values.",
            (("(params[\"h\"], past, strict=True)", "(params[\"h\"], past[-1:] + past[:-1], strict=True)"),),
        ),
        Mistake(
            "The past of the first call is not empty: it has one token, of zeros, to which all others look.",
            (("n_head, 0, wte", "n_head, 1, wte"),),
        ),
        Mistake(
            "The blocks are run from the last to the first.",
            (("(params[\"h\"], past, strict=True)", "(params[\"h\"][::-1], past, strict=True)"),),
        ),
        Mistake(
            "The old past is returned, without the new tokens: the next call would not know of them.",
            (("wte.T, new_past", "wte.T, past"),),
        ),
        Mistake(
            "The old keys and values are in the returned past twice. Does the result of attention_step contain them?",
            (('{"k": k, "v": v}', '{n: np.concatenate([old[n], new], axis=2) for n, new in (("k", k), ("v", v))}'),),
        ),
        Mistake(
            "The returned past has only the new tokens' keys and values. The next call needs all of them.",
            (('{"k": k, "v": v}', '{"k": k[:, :, start:], "v": v[:, :, start:]}'),),
        ),
        Mistake("Keys and values are exchanged in the returned past.", (('{"k": k, "v": v}', '{"k": v, "v": k}'),)),
        Mistake(
            "The returned past has the last block's keys and values for all blocks: is it one dict, again and again?",
            (("wte.T, new_past", "wte.T, new_past[-1:] * len(new_past)"),),
        ),
        Mistake(
            "The final layer norm, ln_f, is forgotten.",
            (('x, _ = layer_norm_forward(x, **params["ln_f"])', "pass"),),
        ),
        Mistake(
            "The final layer norm uses the parameters of another norm. There are some for it alone.",
            (('(x, **params["ln_f"])', '(x, **params["h"][0]["ln_1"])'),),
        ),
        Mistake(
            "The matrix of the output layer is transposed. Its rows are the tokens' vectors: the score of a token is "
            "the dot product with its row.",
            (("wte.T", "wte"),),
        ),
        Mistake(
            "There is no matrix of that name. The output layer is tied to the token embedding.",
            (("x @ wte.T", 'x @ params["lm_head"]'),),
        ),
        Mistake(
            "These are probabilities. Logits are the scores before the softmax.",
            (("x @ wte.T", "softmax_forward(x @ wte.T)"),),
        ),
        Mistake("The output layer is missing. Logits are scores of all tokens there are.", (("x @ wte.T", "x"),)),
        Mistake(
            "Tokens came back in place of logits, which are scores: the choice is left to the caller.",
            (("x @ wte.T", "(x @ wte.T).argmax(axis=-1)"),),
        ),
        Mistake(LAST_ONLY, (("x @ wte.T", "(x @ wte.T)[:, -1]"),)),
        Mistake(LAST_ONLY, (("x @ wte.T", "(x @ wte.T)[:, -1:]"),)),
    ),
)


# 3. Greedy generation, judged by its tokens and by the tokens that it gave the model to read.


class CountingModel:
    """A small random model of 17 tokens, called as ``step(ids, past)``, that remembers what it was given.

    mixing: (V, V), what is made of the logits: with the token embedding as output layer, a model that was never
        trained says the same token again and again
    counts: whether it matters how many tokens it is given
    copied: the latest copy, the one that somebody's function got: every call gets copies of its arguments
    """

    def __init__(self, params, mixing, counts=False):
        self.params, self.mixing, self.counts = params, mixing, counts
        self.n_positions = len(params["wpe"]["weight"])
        self.given = []  # of each call: the number of tokens in the past, the new ones (B, T), the best next ones (B,)
        self.copied = self

    def __call__(self, ids, past):
        ids = np.asarray(ids)
        if ids.ndim != 2 or not ids.size:
            raise ValueError(f"step: ids must be (B, T), at least one token each, got shape {ids.shape}")
        if past is not None and not past:
            raise ValueError("step: past is empty; it must be None, or what the last call returned")
        old = past[0]["k"].shape[2] if past is not None else 0
        if old + ids.shape[1] > self.n_positions:
            raise ValueError(f"step: {old + ids.shape[1]} tokens, but the model has {self.n_positions} positions")
        logits, new_past = gpt2_step(ids, self.params, 2, past)
        logits = logits @ self.mixing
        self.given.append((old, ids.copy(), logits[:, -1].argmax(axis=-1)))
        return logits, new_past

    def __deepcopy__(self, memo):
        self.copied = CountingModel(self.params, self.mixing, self.counts)
        return self.copied

    def __repr__(self):
        return f"a model of {self.n_positions} positions"


def _generate_cases(rng):
    def inputs(B, T, n, n_positions, counts=False):
        config = GPT2Config(17, n_positions, n_embd=12, n_layer=2, n_head=2, initializer_range=1.0)
        params = GPT2(config, int(rng.integers(1 << 30)), "float64").params
        mixing = rng.standard_normal((17, 17))
        mixing[:, 0] = 0  # token 0 is nearly never the best
        return {
            "step": CountingModel(params, mixing, counts),
            "ids": rng.integers(1, 17, (B, T)),
            "max_new_tokens": n,
            "n_positions": n_positions,
        }

    zero = inputs(1, 3, 5, 32)
    best, mixing = generate_greedy(**zero)[0, 3], zero["step"].mixing
    mixing[:, [0, best]] = mixing[:, [best, 0]]  # the first new token is 0
    return [
        Case("two prompts of three tokens, five new ones", inputs(2, 3, 5, 32)),
        Case("one prompt, one new token", inputs(1, 4, 1, 32)),
        Case("a prompt of one token", inputs(3, 1, 6, 32)),
        Case("token 0 is a token like any other, one prompt", zero),
        Case("up to the last position", inputs(2, 4, 5, 8)),
        Case("beyond the last position", inputs(2, 3, 9, 6)),
        Case("a prompt longer than the positions", inputs(2, 7, 3, 5)),
        Case("each token is read only once", inputs(2, 3, 6, 32, counts=True)),
        Case("beyond the last position, no token is read more often than needed", inputs(2, 3, 9, 6, counts=True)),
    ]


def generate_greedy(step, ids, max_new_tokens, n_positions):
    """The prompts and the new tokens, (B, T + n): the best one each time."""
    new, past = ids[:, -n_positions:], None
    for _ in range(max_new_tokens):
        logits, past = step(new, past)
        new = logits[:, -1].argmax(axis=-1)[:, None]
        ids = np.concatenate([ids, new], axis=1)
        if ids.shape[1] > n_positions:
            new, past = ids[:, -n_positions:], None
    return ids


def _judged(inputs, result):
    """The mistake in a generated text, or in the use of the model, in a sentence; None if there is none."""
    step, ids, n, P = inputs.values()
    (B, T), given = ids.shape, step.copied.given
    if result is None:
        return "None came back: is there a return, and is it reached?"
    if isinstance(result, tuple):
        return f"A tuple of {len(result)} came back. Expected is `ids` alone."
    text = np.asarray(result)
    if text.ndim != 2 or text.dtype.kind not in "iu":
        return f"The result is {text.dtype} of shape {text.shape}. Expected are integers of shape {(B, T + n)}."
    model = step.__deepcopy__({})
    expected = generate_greedy(model, ids, n, P)
    right = np.array_equal(text, expected)
    if right and not (step.counts and _tokens(given, B) > _tokens(model.given, B)):
        return None
    return (
        _known(inputs, text, given)
        or (_waste(given, model.given, B) if right else "")
        or (_of_shape(text, expected, T, P) if text.shape != expected.shape else "")
        or _of_choice(text[:, T:], given)
        or _of_reading(given, model.given)
        or _of_place(text, expected, P)
    )


def _known(inputs, text, given):
    """The hint of the known mistake that gives the same text by the same calls of the model."""
    for mistake in GENERATE.mistakes:
        model = inputs["step"].__deepcopy__({})
        outcome = call(changed(generate_greedy, mistake.wrong), [model, *list(inputs.values())[1:]], GENERATE.seconds)
        if outcome.ended and np.array_equal(outcome.value, text) and _same_calls(model.given, given):
            return mistake.hint
    return ""


def _same_calls(one, other):
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in pairs)


def _tokens(given, B):
    """How many tokens of each text a model was given to read."""
    return sum(ids.size for _, ids, _ in given) / B


def _waste(given, needed, B):
    """The tokens that were read more often than needed, though all results are right."""
    count, least = _tokens(given, B), _tokens(needed, B)
    return (
        f"The tokens are right, but the model was given {count:g} of each text to read, where {least:g} are enough. "
        "Which tokens are read again, although they are in the past? Only when the text has outgrown n_positions must "
        "it be read from the beginning of the window."
    )


def _of_shape(text, expected, T, P):
    """Texts of another shape than (B, T + n)."""
    n = expected.shape[1] - T
    if text.shape == expected[:, T:].shape:
        return "Only the new tokens come back. The prompt belongs before them."
    wanted = f"The result has the shape {text.shape} in place of {expected.shape}, {T} + {n} tokens for each text. "
    if np.array_equal(text.T, expected):
        return wanted + "It is right, but transposed."
    if text.shape[1] == expected.shape[1] and len(text) < len(expected):
        return wanted + f"Only {len(text)} of {len(expected)} texts came back."
    common = min(text.shape[1], expected.shape[1])
    if len(text) == len(expected) and np.array_equal(text[:, :common], expected[:, :common]):
        return wanted + "It is right as far as it goes. What ends the loop?"
    if len(text) == len(expected) and np.array_equal(text[:, -common:], expected[:, -common:]):
        unseen = "The beginning is missing: what the model can no longer see still belongs to the text."
        return wanted + (unseen if expected.shape[1] > P else "The beginning is missing.")
    return wanted + "What is put together, and how often?"


def _of_choice(new, given):
    """A token that is not the best one of the logits that the model gave for it, where it was called once for each."""
    if len(given) != new.shape[1] or any(len(best) != len(new) for *_, best in given):
        return ""
    for i, (*_, best) in enumerate(given):
        if (new[:, i] != best).any():
            row = int(np.flatnonzero(new[:, i] != best)[0])
            return (
                f"New token {i + 1} of text {row} is {new[row, i]}, where the logits of the last position, which the "
                f"model gave to your function, are largest for {best[row]}. How is it chosen from the logits?"
            )
    return ""


def _of_reading(given, needed):
    """The first call in which the model was not given what it should be."""
    if len(given) != len(needed):
        return ""
    for i, ((past, ids, _), (old, new, _)) in enumerate(zip(given, needed, strict=True)):
        if past != old or ids.shape != new.shape:
            return (
                f"In call {i + 1} the model was given {ids.shape[1]} of the tokens of each text to read, after {past} "
                f"in the past; {new.shape[1]} after {old} would be right. Which tokens does it see then, and which has "
                "it seen before?"
            )
        if not np.array_equal(ids, new):
            return (
                f"In call {i + 1} the model was given the right number of tokens, but others than it should be. Which "
                "ones has it not read, and which can it see?"
            )
    return ""


def _of_place(text, expected, P):
    """Where a text goes wrong."""
    row, place = map(int, np.argwhere(text != expected)[0])
    return (
        f"The token at [{row}, {place}] is {text[row, place]}, and should be {expected[row, place]}: which tokens "
        "had the model read before it was chosen?"
    ) + (" By then the text had outgrown n_positions." if place > P else "")


BEST = "logits[:, -1].argmax(axis=-1)"
APPEND = "np.concatenate([ids, new], axis=1)"
BEGIN = "new, past = ids[:, -n_positions:], None\n    for"
SLIDE = "            new, past = ids[:, -n_positions:], None\n"
THEN = "        if ids.shape[1]"  # after a token was appended
OUTGROWN = (
    "The text outgrows the model's positions: it cannot look at more than n_positions tokens. What becomes of the "
    "positions of all others when the window moves on by one?"
)
FED_AGAIN = "Tokens that are already in the past were given to the model again. What is new since the last call?"
ONE_FOR_ALL = "All texts get the same token. Each has its own best one."
WINDOW = "The window is too small. The model can look at n_positions tokens."

GENERATE = Task(
    name="generate_greedy",
    outputs=("ids",),
    reference=generate_greedy,
    accept=_judged,
    cases=_generate_cases,
    notebook=GENERATION,
    mistakes=(
        Mistake(
            "The least likely token is taken each time. Which end of the scores is the best?",
            ((BEST, "logits[:, -1].argmin(axis=-1)"),),
        ),
        Mistake(
            "The next token is chosen by the logits of the first position. Which position has read everything?",
            ((BEST, "logits[:, 0].argmax(axis=-1)"),),
        ),
        Mistake(
            "The next token is chosen by the logits of all positions together. Which position has read everything?",
            ((BEST, "logits.mean(axis=1).argmax(axis=-1)"),),
        ),
        Mistake(
            "The token with the largest logit without its sign is taken. A low logit is a low score.",
            ((BEST, "np.abs(logits[:, -1]).argmax(axis=-1)"),),
        ),
        Mistake("Each token is one too high. Where does counting begin?", ((BEST, f"({BEST} + 1)"),)),
        Mistake(ONE_FOR_ALL, ((BEST, "np.full(len(ids), logits[0, -1].argmax())"),)),
        Mistake(ONE_FOR_ALL, ((BEST, "np.full(len(ids), logits[:, -1].argmax() % logits.shape[-1])"),)),
        Mistake(ONE_FOR_ALL, ((BEST, "np.full(len(ids), logits[:, -1].sum(axis=0).argmax())"),)),
        *(
            Mistake(
                "Writing ends with token 0. Here it is a token like any other.",
                ((line, "        if (new == 0).any():\n            break\n" + line),),
            )
            for line in (THEN, f"        ids = {APPEND}")
        ),
        Mistake(
            "The model gets the newest token without a past, as if it were the first one. What came back from the call "
            "before?",
            ((THEN, "        past = None\n" + THEN),),
        ),
        Mistake(
            "The same past is given each time, that of the first call. What does each call return?",
            (("logits, past = step(new, past)", "logits, newer = step(new, past)\n        past = past or newer"),),
        ),
        Mistake(FED_AGAIN, ((THEN, "        new = ids\n" + THEN),)),
        Mistake(FED_AGAIN, ((THEN, "        new = ids[:, -2:]\n" + THEN),)),
        Mistake(
            "The last token of the prompt is given to the model again and again, in place of the one that was chosen.",
            (("    for", "    last = ids[:, -1:]\n    for"), (THEN, "        new = last\n" + THEN)),
        ),
        Mistake(
            "It never gets a past, and so it reads the whole text again for each token. What is new each time?",
            ((THEN, "        new, past = ids[:, -n_positions:], None\n" + THEN),),
        ),
        Mistake(
            "The model is called once more at the end: who asks what would follow the last token?",
            (("    return ids", "    step(new, past)\n    return ids"),),
        ),
        Mistake(
            "max_new_tokens is taken for the length of the whole text. It counts only the tokens after the prompt.",
            (("range(max_new_tokens)", "range(max_new_tokens - ids.shape[1])"),),
        ),
        Mistake(
            "The prompt can be longer than n_positions already. What can the model see of it?",
            ((BEGIN, "new, past = ids, None\n    for"),),
        ),
        *(
            Mistake(
                "The window has the first n_positions tokens of the text. Which can the next token not do without?",
                tuple((at, at.replace("-n_positions:", ":n_positions")) for at in where),
            )
            for where in ((SLIDE, BEGIN), (SLIDE,), (BEGIN,))
        ),
        Mistake(OUTGROWN, ((SLIDE, "            pass\n"),)),
        Mistake(OUTGROWN, ((SLIDE, "            pass\n"), (BEGIN, "new, past = ids, None\n    for"))),
        Mistake(
            "When the text has outgrown n_positions, only its last token is read, without a past. The model should "
            "still see the others in the window.",
            ((SLIDE, "            past = None\n"),),
        ),
        Mistake(
            "The oldest keys and values are dropped and the others kept. They were computed at positions that their "
            "tokens no longer have.",
            (
                (
                    SLIDE,
                    "            past = [{n: a[:, :, 1 - n_positions :] for n, a in each.items()} for each in past]\n",
                ),
            ),
        ),
        Mistake(
            "The window begins to slide one token too early: as long as there are positions, nothing has to be read "
            "again.",
            (("ids.shape[1] > n_positions", "ids.shape[1] >= n_positions"),),
        ),
        Mistake(
            "When the window moves, it is read together with the old past. All of it is read anew: what stands before "
            "its first token?",
            ((SLIDE, "            new = ids[:, -n_positions:]\n"),),
        ),
        Mistake(
            "At the beginning the model gets an empty list as its past. What does the text name for it?",
            ((BEGIN, BEGIN.replace("None", "[]")),),
        ),
        Mistake(
            "The window begins to slide one token too late: how many tokens has the model read when it is called?",
            (("ids.shape[1] > n_positions", "ids.shape[1] > n_positions + 1"),),
        ),
        Mistake(WINDOW, ((SLIDE, SLIDE.replace("-n_positions:", "-n_positions // 2 :")),)),
        Mistake(WINDOW, ((SLIDE, SLIDE.replace("-n_positions:", "1 - n_positions :")),)),
        Mistake(
            "It stops when the text has n_positions tokens. The window can move on.",
            ((SLIDE, "            break\n"),),
        ),
        Mistake(
            "The new token is put before the text.",
            ((APPEND, "np.concatenate([new, ids], axis=1)"),),
        ),
    ),
)


# 4. Sampling.


def _probs_cases(rng):
    def inputs(logits, *options):
        return dict(zip(("logits", "temperature", "top_k"), (np.array(logits, np.float64), *options), strict=False))

    unequal = rng.standard_normal((4, 6)) * np.array([[0.1], [1.0], [5.0], [0.5]])
    ties = [[1.0, 3.0, 2.0, 2.0, -1.0, 2.0], [0.0, 0.5, 0.5, 0.0, 0.5, -3.0]]
    masked = rng.standard_normal((2, 5))
    masked[0, 1] = masked[1, 3] = -np.inf
    return [
        Case("two rows of five logits, the best three", inputs(rng.standard_normal((2, 5)), 0.7, 3)),
        Case("all tokens, a low temperature", inputs(2 * rng.standard_normal((2, 7)), 0.25, None)),
        Case("all tokens, a high temperature", inputs(2 * rng.standard_normal((3, 4)), 3.0, None)),
        Case("rows that are far from each other", inputs(unequal + np.array([[0], [3], [-2], [9]]), 1.5, 2)),
        Case("as many rows as tokens", inputs(rng.standard_normal((4, 4)), 1.0, 3)),
        Case("equal logits at the border", inputs(ties, 1.25, 2)),
        Case("only the best", inputs(rng.standard_normal((2, 5)), 0.5, 1)),
        Case("only the best, where two are equal", inputs([[1.0, 3.0, 3.0, 2.0], [0.5, 0.0, -1.0, 0.5]], 0.5, 1)),
        Case("top_k is more than there are tokens", inputs(rng.standard_normal((2, 4)), 2.0, 9)),
        Case("logits in the thousands", inputs(3000 + 40 * rng.standard_normal((2, 5)), 0.8, 4)),
        Case("logits that are far apart", inputs(1000 * rng.standard_normal((3, 4)) + [[-900, 900, 900.5, 0]], 1.1, 3)),
        Case("a row that is far below the others", inputs(unequal + np.array([[0], [3000], [-20000], [9]]), 1.5, 2)),
        Case("-inf for tokens that are not allowed", inputs(masked, 1.6, 4)),
        Case("temperature and top_k are left out", inputs(rng.standard_normal((2, 60)))),
        Case("top_k is left out", inputs(rng.standard_normal((2, 5)), 0.6)),
    ]


def next_token_probs(logits, temperature=1.0, top_k=None):
    """The distribution from which the next token is drawn, (B, V)."""
    logits = logits / temperature
    if top_k is not None:
        k = min(top_k, logits.shape[-1])
        kth = np.sort(logits, axis=-1)[:, -k, None]
        logits = np.where(logits >= kth, logits, -np.inf)
    return softmax_forward(logits)


def _without_renormalising(logits, temperature=1.0, top_k=None):
    probs = softmax_forward(logits / temperature)
    return probs if top_k is None else np.where(next_token_probs(logits, temperature, top_k) > 0, probs, 0)


def _plain_softmax(logits):
    return _normalised(np.exp(logits))


TEMPERED, SOFTMAX = "logits / temperature", "softmax_forward(logits)"
KTH = "np.sort(logits, axis=-1)[:, -k, None]"
ONE_DISTRIBUTION = "Each row is a separate distribution, over the tokens. Along which axis is the softmax taken?"
FROM_BELOW = "The k-th is counted from the small end. In which direction does np.sort sort?"
OTHERS = "The others get {}, which is a score like any other, and so has a probability. Which score has none?"
TIES = (
    "Some of the equal logits at the border are kept and some are not. They are equally good, and there can be more of "
    "them than k."
)
BY_SUM = "The logits are divided by their sum, which gives no probabilities: logits can be negative."
OVERFLOW = (
    "exp of a large logit overflows, and infinity divided by infinity is not a number. What can be subtracted from a "
    "row without a change of its probabilities?"
)
ONE_MAXIMUM = (
    "One maximum is subtracted from all rows. In a row far below it, each exp is 0, and 0 / 0 is not a number."
)
BEST_ONLY = "Only the best token has a probability, or it comes back itself. Wanted are the probabilities of all."
ONE_TOO_FEW = "One token too few is kept: the k-th largest is itself one of the best k."
LARGEST = "np.where(logits >= kth, logits, -np.inf)"
TOO_LARGE_K = "top_k may be larger than the number of tokens. How many can be kept then?"

PROBS = Task(
    name="next_token_probs",
    outputs=("probs",),
    reference=next_token_probs,
    cases=_probs_cases,
    notebook=GENERATION,
    mistakes=(
        Mistake(
            "The logits are multiplied by the temperature. A high temperature should make the distribution flatter.",
            ((TEMPERED, "logits * temperature"),),
        ),
        Mistake(
            "The probabilities are divided by the temperature, and no longer sum to 1. Does it belong before the "
            "softmax or after it?",
            ((TEMPERED, "logits"), (SOFTMAX, f"{SOFTMAX} / temperature")),
        ),
        Mistake(
            "The temperature has no effect. Is it used, and does it change how different the logits are?",
            ((TEMPERED, "logits"),),
        ),
        Mistake(
            "It is divided by the square of the temperature: once is enough.",
            ((TEMPERED, f"{TEMPERED} / temperature"),),
        ),
        Mistake(
            "The logits are divided by the root of the temperature.",
            ((TEMPERED, "logits / math.sqrt(temperature)"),),
        ),
        Mistake("It is divided without a remainder: `//` gives whole numbers.", ((TEMPERED, "logits // temperature"),)),
        Mistake(
            "A temperature above 1 is not used. It may have any value above 0.",
            ((TEMPERED, "logits / min(temperature, 1.0)"),),
        ),
        Mistake("top_k has no effect: every token keeps a probability.", (("logits >= kth", "logits >= -np.inf"),)),
        Mistake(
            "One token too many is kept, k + 1 of them. Which index does the k-th largest have in a sorted row?",
            (("min(top_k,", "min(top_k + 1,"),),
        ),
        Mistake(ONE_TOO_FEW, ((">= kth", "> kth"),)),
        Mistake(ONE_TOO_FEW, (("logits >= kth", "(logits > kth) | (k == logits.shape[-1])"),)),
        Mistake(ONE_TOO_FEW, (("[:, -k, None]", "[:, -max(k - 1, 1), None]"),)),
        Mistake(
            "After the others are removed, the probabilities of the best k do not sum to 1.",
            _without_renormalising,
        ),
        Mistake(OTHERS.format(0), (("logits, -np.inf", "logits, 0.0"),)),
        Mistake(OTHERS.format(0), ((LARGEST, "logits * (logits >= kth)"),)),
        Mistake(OTHERS.format(-1), (("logits, -np.inf", "logits, -1.0"),)),
        Mistake(
            "The others get a large negative number, and other logits can be still lower. Which score has the "
            "probability 0 for certain?",
            (("logits, -np.inf", "logits, -1e4"),),
        ),
        Mistake(
            "The k smallest are kept. In which direction does np.sort sort?",
            ((KTH, "np.sort(logits, axis=-1)[:, k - 1, None]"), (">= kth", "<= kth")),
        ),
        Mistake(FROM_BELOW, ((KTH, "np.sort(logits, axis=-1)[:, k - 1, None]"),)),
        Mistake(FROM_BELOW, ((KTH, "np.sort(logits, axis=-1)[:, min(k, logits.shape[-1] - 1), None]"),)),
        Mistake(
            "All rows share one threshold. Each text has its own best k.",
            ((KTH, "np.sort(logits, axis=None)[-k]"),),
        ),
        Mistake(
            "The best k of the whole batch are kept. Each text has its own best k.",
            ((KTH, "np.sort(logits, axis=None)[-min(top_k, logits.size)]"),),
        ),
        Mistake(
            "The threshold of the first row is used for all. Each text has its own best k.",
            (("[:, -k, None]", "[0, -k]"),),
        ),
        Mistake(
            "The best tokens of the first row are kept in all rows. Each text has its own best k.",
            (("logits >= kth", "(logits >= kth)[:1]"),),
        ),
        Mistake(TIES, (("logits >= kth", "np.argsort(np.argsort(-logits, axis=-1, kind='stable'), axis=-1) < k"),)),
        Mistake(TIES, (("logits >= kth", "np.argsort(np.argsort(logits, axis=-1), axis=-1) >= logits.shape[-1] - k"),)),
        Mistake(
            "Equal logits count as one: more than the best k are kept. Which one is the k-th when two are equal?",
            ((KTH, "np.array([[np.unique(row)[-min(k, len(np.unique(row)))]] for row in logits])"),),
        ),
        Mistake(TOO_LARGE_K, (("min(top_k, logits.shape[-1])", "top_k"),)),
        Mistake(
            TOO_LARGE_K,
            (("min(top_k, logits.shape[-1])", "top_k"), (KTH, "np.partition(logits, -k, axis=-1)[:, -k, None]")),
        ),
        Mistake(ONE_DISTRIBUTION, ((SOFTMAX, "_softmax(logits, axis=0)"),)),
        Mistake(ONE_DISTRIBUTION, ((SOFTMAX, "_softmax(logits, axis=None)"),)),
        Mistake(OVERFLOW, ((SOFTMAX, "_plain_softmax(logits)"),)),
        Mistake(ONE_MAXIMUM, ((SOFTMAX, "_plain_softmax(logits - logits.max())"),)),
        Mistake("The rows do not sum to 1.", ((SOFTMAX, "_weights(logits)"),)),
        Mistake("There is no softmax: logits are not probabilities.", ((SOFTMAX, "logits"),)),
        Mistake(BY_SUM, ((SOFTMAX, "_normalised(logits)"),)),
        Mistake(BY_SUM, ((SOFTMAX, "_normalised(np.where(logits == -np.inf, 0, logits))"),)),
        Mistake(
            BEST_ONLY,
            ((SOFTMAX, "(logits == logits.max(axis=-1, keepdims=True)).astype(logits.dtype)"),),
        ),
        Mistake(BEST_ONLY, ((SOFTMAX, "np.eye(logits.shape[-1])[logits.argmax(axis=-1)]"),)),
        Mistake(BEST_ONLY, ((SOFTMAX, "logits.argmax(axis=-1)"),)),
        Mistake(
            "The probabilities came back in the order of their size. Column v must be token v as before.",
            ((SOFTMAX, f"-np.sort(-{SOFTMAX}, axis=-1)"),),
        ),
        Mistake(
            "None is taken for 1. What does the text say of top_k=None?",
            (("if top_k is not None:", "top_k = top_k or 1\n    if True:"),),
        ),
        Mistake("The powers are not those of e.", ((SOFTMAX, "_softmax(math.log(2) * logits)"),)),
        Mistake("These are logarithms of probabilities.", ((SOFTMAX, f"np.log({SOFTMAX})"),)),
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
        Case("p = 1: nothing is removed", {"logits": rng.standard_normal((1, 5)), "p": 1.0}),
        Case("one token of seven is enough in no row", {"logits": 0.1 * rng.standard_normal((3, 7)), "p": 0.5}),
        Case("logits in the thousands", {"logits": 3000 + rng.standard_normal((2, 5)), "p": 0.7}),
        Case("a row that is far below the others", {"logits": rng.standard_normal((2, 4)) - [[0], [2000]], "p": 0.7}),
    ]


def keep_top_p(logits, p):
    """The logits (B, V) with -inf outside the nucleus: the fewest tokens that have a probability of p together."""
    order = np.argsort(-logits, axis=-1, kind="stable")
    probs = np.take_along_axis(softmax_forward(logits), order, axis=-1)
    total = probs.cumsum(axis=-1)
    stays = total - probs < p
    kept = np.zeros(logits.shape, bool)
    np.put_along_axis(kept, order, stays, axis=-1)
    return np.where(kept, logits, -np.inf)


def _not_put_back(logits, p):
    return -np.sort(-keep_top_p(logits, p), axis=-1)


IS_BEST = "(np.arange(probs.shape[-1]) == 0)"
PUT_BACK = "np.put_along_axis(kept, order, stays, axis=-1)"
ORDER, STAYS = 'np.argsort(-logits, axis=-1, kind="stable")', "total - probs < p"
KEPT = "np.where(kept, logits, -np.inf)"
CROSSING = "The token with which the sum reaches p is removed. Without it, those that stay have less than p together."
BEST_SPARED = "The token with which the sum reaches p is removed, and only the best of all is spared."
SAME_NUMBER = "The same number of tokens stays in all rows. How many are needed differs from row to row."
FIXED_NUMBER = "A fixed number of tokens stays, a part of them all. How many are needed differs from row to row."
OUTSIDE = "What stands outside the nucleus is a score like any other. Which score has the probability 0?"

NUCLEUS = Task(
    name="keep_top_p",
    outputs=("logits",),
    reference=keep_top_p,
    cases=_nucleus_cases,
    notebook=GENERATION,
    mistakes=(
        Mistake(CROSSING, ((STAYS, "total < p - 1e-9"),)),
        Mistake(CROSSING, ((STAYS, "total < p + 1e-9"),)),  # with p = 1, rounding decides between the two
        Mistake(
            BEST_SPARED,
            ((STAYS, f"(total < p - 1e-9) | {IS_BEST}"),),
        ),
        Mistake(
            BEST_SPARED,
            ((STAYS, f"(total < p + 1e-9) | {IS_BEST}"),),
        ),
        Mistake(
            "One token too many stays: the sum of those before it is already p.",
            ((STAYS, f"np.roll({STAYS}, 1, axis=-1) | {IS_BEST}"),),
        ),
        Mistake(
            "The tokens are summed up in the order of their ids. The best come first.",
            ((ORDER, "np.broadcast_to(np.arange(logits.shape[-1]), logits.shape)"),),
        ),
        Mistake(
            "The worst tokens come first in the sum. In which direction does NumPy sort?",
            (("(-logits, axis", "(logits, axis"),),
        ),
        Mistake(
            "p is compared with the probability of each single token. What does the definition of the nucleus compare "
            "with it?",
            ((STAYS, "probs >= p"),),
        ),
        Mistake(
            "The probability of each token is compared with a part of the best one's. What does the definition of the "
            "nucleus compare with p?",
            ((STAYS, "probs >= p * probs[:, :1]"),),
        ),
        Mistake(
            "1 - p is compared with the probabilities one by one. What does the definition of the nucleus compare "
            "with p?",
            ((STAYS, f"(probs >= 1 - p) | {IS_BEST}"),),
        ),
        Mistake(FIXED_NUMBER, ((STAYS, "np.arange(probs.shape[-1]) < max(1, int(p * probs.shape[-1]))"),)),
        Mistake(FIXED_NUMBER, ((STAYS, "np.arange(probs.shape[-1]) < p * probs.shape[-1]"),)),
        Mistake(SAME_NUMBER, ((STAYS, f"({STAYS}).any(axis=0, keepdims=True)"),)),
        Mistake(SAME_NUMBER, ((STAYS, f"({STAYS})[:1]"),)),
        Mistake("Only the best token stays, however large p is.", ((STAYS, "total == probs"),)),
        Mistake("p and 1 - p are exchanged. Which of them is the part to keep?", ((STAYS, "total - probs < 1 - p"),)),
        Mistake("Nothing is removed: every token stays.", ((STAYS, "total > 0"),)),
        Mistake(
            "What is outside the nucleus stays, and what is inside is removed.",
            (("(kept, logits, -np.inf)", "(kept, -np.inf, logits)"),),
        ),
        Mistake(
            "The logits came back in the order from best to worst. Column v must be token v as before.",
            _not_put_back,
        ),
        Mistake(
            "The order of the first row is used for all. Each row has its own best tokens.",
            ((ORDER, f"np.broadcast_to({ORDER}[:1], logits.shape)"),),
        ),
        Mistake(
            "The nucleus of the first row is used for all. Each row has its own best tokens.",
            (("(kept, logits,", "(kept[:1], logits,"),),
        ),
        Mistake(
            "What stays is marked in the order from best to worst, and the marks are not put back to their tokens.",
            ((PUT_BACK, "kept = stays"),),
        ),
        Mistake(
            "The marks are moved by the order that sorted the tokens once more. Which one undoes it?",
            ((PUT_BACK, "kept = np.take_along_axis(stays, order, axis=-1)"),),
        ),
        Mistake(
            "The sum goes along the wrong axis, from text to text.",
            (("probs.cumsum(axis=-1)", "probs.cumsum(axis=0)"),),
        ),
        Mistake(
            "The sum goes on from one row into the next. Each row has its own.",
            (("probs.cumsum(axis=-1)", "probs.cumsum().reshape(probs.shape)"),),
        ),
        Mistake(
            "The probabilities are those of the whole batch together. Each row is a separate distribution.",
            ((SOFTMAX, "_softmax(logits, axis=None)"),),
        ),
        Mistake(ONE_DISTRIBUTION, ((SOFTMAX, "_softmax(logits, axis=0)"),)),
        *(
            Mistake(hint, ((SOFTMAX, softmax), (STAYS, stays)))
            for hint, softmax in (
                (OVERFLOW, "_plain_softmax(logits)"),
                (ONE_MAXIMUM, "_plain_softmax(logits - logits.max())"),
            )
            for stays in (STAYS, "~(total - probs >= p)", f"({STAYS}) | {IS_BEST}")  # different where probs is NaN
        ),
        Mistake("exp alone is no softmax: the sum of a whole row is not 1.", ((SOFTMAX, "np.exp(logits)"),)),
        Mistake(
            "The logits themselves are summed up. Logits are no probabilities.",
            ((SOFTMAX, "logits"),),
        ),
        Mistake(BY_SUM, ((SOFTMAX, "_normalised(logits)"),)),
        *(
            Mistake("Probabilities came back. The logits are wanted.", ((KEPT, probs),))
            for probs in (
                "np.where(kept, np.take_along_axis(probs, np.argsort(order, axis=-1), axis=-1), -np.inf)",
                f"np.where(kept, {SOFTMAX}, -np.inf)", f"np.where(kept, {SOFTMAX}, 0.0)", f"softmax_forward({KEPT})",
            )
        ),
        Mistake(
            "Logarithms of probabilities came back. Tokens that stay keep their logits.",
            (("(kept, logits,", "(kept, np.log(softmax_forward(logits)),"),),
        ),
        Mistake(OUTSIDE, (("logits, -np.inf", "logits, 0.0"),)),
        Mistake(OUTSIDE, (("logits, -np.inf", "logits, -1e9"),)),
        Mistake(OUTSIDE, (("logits, -np.inf", "logits, -1e4"),)),
    ),
)

TASKS = (STEP, MODEL_STEP, GENERATE, PROBS, NUCLEUS)
