"""Exercise 10, block and model assembly: the parts in their order, their gradients, and a model that learns to sort."""

import itertools
import math

import numpy as np

from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.embedding import embedding_backward, unembedding_backward, unembedding_forward
from minigpt2.components.feed_forward import feed_forward_backward, feed_forward_forward
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.position import position_backward
from minigpt2.components.softmax import softmax_forward
from minigpt2.config import GPT2Config
from minigpt2.exercises.ex02_embedding import BACKWARD as EMBEDDING
from minigpt2.exercises.ex03_position import BACKWARD as POSITION
from minigpt2.exercises.ex04_linear_and_gelu import FEED_FORWARD_BACKWARD as FEED_FORWARD
from minigpt2.exercises.ex05_layer_norm import BACKWARD as LAYER_NORM
from minigpt2.exercises.ex07_attention_backward import ATTENTION
from minigpt2.exercises.task import Case, Mistake, Task
from minigpt2.model import GPT2
from minigpt2.parameters import flatten

NOTEBOOK = "2_5_framework"
SORTER = GPT2Config(vocab_size=3, n_positions=11, n_embd=32, n_layer=2, n_head=2)  # learns to sort in two seconds


# 1. A block.


def norm_params(rng, C):
    return {"weight": 1 + 0.5 * rng.standard_normal(C), "bias": rng.standard_normal(C)}


def linear_params(rng, inputs, outputs):
    return {
        "weight": rng.standard_normal((inputs, outputs)) / math.sqrt(inputs),
        "bias": 0.5 * rng.standard_normal(outputs),
    }


def block_params(rng, C):
    return {
        "ln_1": norm_params(rng, C),
        "attn": {"c_attn": linear_params(rng, C, 3 * C), "c_proj": linear_params(rng, C, C)},
        "ln_2": norm_params(rng, C),
        "mlp": {"c_fc": linear_params(rng, C, 4 * C), "c_proj": linear_params(rng, 4 * C, C)},
    }


def model_params(rng, V, P, C, n_layer):
    return {
        "wte": {"weight": rng.standard_normal((V, C))},
        "wpe": {"weight": rng.standard_normal((P, C))},
        "h": [block_params(rng, C) for _ in range(n_layer)],
        "ln_f": norm_params(rng, C),
    }


def _block_cases(rng):
    def inputs(B, T, C, n_head, scale=1.0):
        x = scale * (0.5 + 2 * rng.standard_normal((B, T, C)))
        return {"x": x, "params": block_params(rng, C), "n_head": n_head}

    return [
        Case("two sequences of three tokens, four channels, two heads", inputs(2, 3, 4, 2)),
        Case("as many sequences as tokens and channels", inputs(6, 6, 6, 3)),
        Case("one token", inputs(1, 1, 6, 2)),
        Case("one long sequence, one head", inputs(1, 9, 5, 1)),
        Case("a stream that is much larger than the additions", inputs(2, 4, 6, 2, scale=100.0)),
    ]


def block_forward(x, block, n_head):
    """One block, for inference: y (B, T, C) and the four caches of its parts."""
    normed_1, ln_1 = layer_norm_forward(x, **block["ln_1"])
    added_1, attn = attention_forward(normed_1, block["attn"], n_head)
    mid = x + added_1
    normed_2, ln_2 = layer_norm_forward(mid, **block["ln_2"])
    added_2, mlp = feed_forward_forward(normed_2, block["mlp"])
    y = mid + added_2
    return y, {"ln_1": ln_1, "attn": attn, "ln_2": ln_2, "mlp": mlp}


def block_backward(dy, cache):
    """Gradients of ``block_forward``: dx (B, T, C), and grads of the form of params."""
    dnormed_2, mlp = feed_forward_backward(dy, cache["mlp"])
    dbranch_2, dweight_2, dbias_2 = layer_norm_backward(dnormed_2, cache["ln_2"])
    dmid = dy + dbranch_2
    dnormed_1, attn = attention_backward(dmid, cache["attn"])
    dbranch_1, dweight_1, dbias_1 = layer_norm_backward(dnormed_1, cache["ln_1"])
    dx = dmid + dbranch_1
    ln_1 = {"weight": dweight_1, "bias": dbias_1}
    ln_2 = {"weight": dweight_2, "bias": dbias_2}
    return dx, {"ln_1": ln_1, "attn": attn, "ln_2": ln_2, "mlp": mlp}


def _block_gradients(dy, cache):
    """``block_backward``, or None with the caches of somebody's own parts, of which nothing is known."""
    x = np.zeros((1, 1, 1))
    _, ours = block_forward(x, block_params(np.random.default_rng(0), 1), 1)
    known = [set(part) for part in ours.values()]
    own = [part for part in map(cache.get, ours) if not isinstance(part, dict) or (part and set(part) not in known)]
    return None if own and None not in own else block_backward(dy, cache)


NO_NORMS_BEFORE = (
    ('(normed_1, block["attn"]', '(x, block["attn"]'),
    ("feed_forward_forward(normed_2", "feed_forward_forward(mid"),
)
POST_NORM = (
    *NO_NORMS_BEFORE,
    ("mid = x + added_1", 'mid, _ = layer_norm_forward(x + added_1, **block["ln_1"])'),
    ("y = mid + added_2", 'y, _ = layer_norm_forward(mid + added_2, **block["ln_2"])'),
)
NORM_OF_BRANCHES = (
    *NO_NORMS_BEFORE,
    ("mid = x + added_1", 'mid = x + layer_norm_forward(added_1, **block["ln_1"])[0]'),
    ("y = mid + added_2", 'y = mid + layer_norm_forward(added_2, **block["ln_2"])[0]'),
)
ATTENTION_SECOND = (
    ('attention_forward(normed_1, block["attn"], n_head)', 'feed_forward_forward(normed_1, block["mlp"])'),
    ('feed_forward_forward(normed_2, block["mlp"])', 'attention_forward(normed_2, block["attn"], n_head)'),
)
NORMS_EXCHANGED = (
    ('(x, **block["ln_1"])', '(x, **block["ln_2"])'),
    ('(mid, **block["ln_2"])', '(mid, **block["ln_1"])'),
)
ORDER = (
    "The sub-layers come in the wrong order: the feed-forward network first. Look at the two lines of the formula: "
    "tokens first gather from each other, and then each one thinks about it."
)
ONE_NORM = "One layer norm is used for both sub-layers. Each has its own: look at the keys of params."

BLOCK_FORWARD = Task(
    name="block_forward",
    outputs=("y",),
    reference=block_forward,
    has_cache=True,
    serves=_block_gradients,
    cases=_block_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "This is post-norm, the order of the first Transformer: each norm is applied to the sum. In GPT-2 the "
            "stream itself is never normalised inside a block. What does each norm read?",
            POST_NORM,
        ),
        Mistake(
            "The norms are applied to the outputs of the sub-layers. In GPT-2 a norm comes before its sub-layer, at "
            "the entrance of the branch.",
            NORM_OF_BRANCHES,
        ),
        Mistake(
            "The first layer norm is missing. What does attention read?",
            (('(normed_1, block["attn"]', '(x, block["attn"]'),),
        ),
        Mistake(
            "The second layer norm is missing. What does the feed-forward network read?",
            (("feed_forward_forward(normed_2", "feed_forward_forward(mid"),),
        ),
        Mistake(
            "In the first half, the normalised copy takes the place of the stream: attention's result is added to it. "
            "Is x still the stream where you add?",
            (("mid = x +", "mid = normed_1 +"),),
        ),
        Mistake(
            "In the second half, the normalised copy takes the place of the stream: the feed-forward network's result "
            "is added to it. Is it still the stream to which you add?",
            (("y = mid +", "y = normed_2 +"),),
        ),
        Mistake(
            "The first residual connection is lost: after attention, the earlier content of the stream is gone.",
            (("mid = x +", "mid ="),),
        ),
        Mistake(
            "The second residual connection is lost: after the feed-forward network, the stream is gone.",
            (("y = mid +", "y ="),),
        ),
        Mistake("The two layer norms are exchanged. Which one belongs to attention?", NORMS_EXCHANGED),
        Mistake(ONE_NORM, NORMS_EXCHANGED[:1]),
        Mistake(ONE_NORM, NORMS_EXCHANGED[1:]),
        Mistake(ORDER, ATTENTION_SECOND),
        Mistake(ORDER, ATTENTION_SECOND + NORMS_EXCHANGED),
        Mistake(
            "The feed-forward network reads the stream from before attention, so the sub-layers are side by side. It "
            "should read the sum.",
            (("layer_norm_forward(mid", "layer_norm_forward(x"),),
        ),
        Mistake(
            "The feed-forward network reads only the output of attention. It should read the stream, to which that "
            "output was added.",
            (("layer_norm_forward(mid", "layer_norm_forward(added_1"),),
        ),
        Mistake(
            "The second norm reads the normalised copy of the first. Which array does the second line of the formula "
            "begin with?",
            (("layer_norm_forward(mid", "layer_norm_forward(normed_1"),),
        ),
        Mistake(
            "The feed-forward network reads the copy that was made for attention.",
            (("feed_forward_forward(normed_2", "feed_forward_forward(normed_1"),),
        ),
        Mistake(
            "At the end the input x is added, and attention's addition to it is lost. What is the stream after the "
            "first sub-layer?",
            (("y = mid +", "y = x +"),),
        ),
        Mistake(
            "The input x is in the result twice: the stream already holds it when the second sub-layer adds to it.",
            (("y = mid +", "y = x + mid +"),),
        ),
        Mistake(
            "Attention's result is in the stream twice.",
            (("y = mid +", "y = mid + added_1 +"),),
        ),
        Mistake(
            "Attention adds nothing to the stream. Is its result used?",
            (("mid = x + added_1", "mid = x"),),
        ),
        Mistake(
            "The feed-forward network adds nothing to the stream. Is its result used?",
            (("y = mid + added_2", "y = mid"),),
        ),
        Mistake(
            "All channels are one head. The number of heads is an argument: does attention get it?",
            (('block["attn"], n_head)', 'block["attn"], 1)'),),
        ),
    ),
)


def _block_with_cache(x, params, n_head):
    """Our forward pass, with everything that a backward pass may want in the cache, and in those of the parts too."""
    normed, ln_1 = _norm_with_cache(x, params["ln_1"])
    added, attn = ATTENTION.forward(normed, params["attn"], n_head)
    mid = x + added
    normed, ln_2 = _norm_with_cache(mid, params["ln_2"])
    added, mlp = FEED_FORWARD.forward(normed, params["mlp"])
    parts = {"ln_1": ln_1, "attn": attn, "ln_2": ln_2, "mlp": mlp}
    return mid + added, parts | {"x": x, "resid_mid": mid, "params": params, "n_head": n_head}


def _norm_with_cache(x, params):
    return LAYER_NORM.forward(x, params["weight"], params["bias"], 1e-5)


def _attention_first(dy, cache):
    dnormed, attn = attention_backward(dy, cache["attn"])
    dbranch, *ln_1 = layer_norm_backward(dnormed, cache["ln_1"])
    dmid = dy + dbranch
    dnormed, mlp = feed_forward_backward(dmid, cache["mlp"])
    dbranch, *ln_2 = layer_norm_backward(dnormed, cache["ln_2"])
    norms = {"ln_1": ln_1, "ln_2": ln_2}
    grads = {name: dict(zip(("weight", "bias"), of_norm, strict=True)) for name, of_norm in norms.items()}
    return dmid + dbranch, grads | {"attn": attn, "mlp": mlp}


HALVED = "At a sum the gradient is divided between its two branches. What is dz/dx for z = x + y?"
SKIPPED = (
    "The gradient goes around a layer norm: a sub-layer's backward pass returns the gradient of its input, which is "
    "the output of a norm. What comes before it?"
)
WEIGHT_AND_BIAS = (
    "The gradients of weight and bias are exchanged in a norm. In which order does layer_norm_backward return them?"
)
BIAS_FIRST_1 = ("_1, dweight_1, dbias_1", "_1, dbias_1, dweight_1")
BIAS_FIRST_2 = ("_2, dweight_2, dbias_2", "_2, dbias_2, dweight_2")

BLOCK_BACKWARD = Task(
    name="block_backward",
    outputs=("dx", "grads"),
    reference=block_backward,
    forward=_block_with_cache,
    cases=_block_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The gradient of the second residual connection is not added: besides the branch, the stream itself leads "
            "back from y to the middle.",
            (("dmid = dy +", "dmid ="),),
        ),
        Mistake(
            "The gradient of the first residual connection is not added: dx is only the part that came through "
            "attention.",
            (("dx = dmid +", "dx ="),),
        ),
        Mistake(
            "What comes back through the feed-forward network is not added to the gradient of the stream in the "
            "middle.",
            (("dmid = dy + dbranch_2", "dmid = dy"),),
        ),
        Mistake(
            "What comes back through attention is not added: dx is only the part of the first residual connection.",
            (("dx = dmid + dbranch_1", "dx = dmid"),),
        ),
        Mistake(HALVED, (("dmid = dy + dbranch_2", "dmid = 0.5 * (dy + dbranch_2)"),)),
        Mistake(HALVED, (("dx = dmid + dbranch_1", "dx = 0.5 * (dmid + dbranch_1)"),)),
        Mistake(
            HALVED,
            (
                ("feed_forward_backward(dy,", "feed_forward_backward(0.5 * dy,"),
                ("dmid = dy + dbranch_2", "dmid = 0.5 * (0.5 * dy + dbranch_2)"),
            ),
        ),
        Mistake(
            "Attention gets dy, the gradient at the end of the block. The feed-forward network lies in between: what "
            "gradient does the stream in the middle have?",
            (("attention_backward(dmid", "attention_backward(dy"),),
        ),
        Mistake(
            "Attention gets only what came back through the feed-forward network. What gradient does the stream in the "
            "middle have?",
            (("attention_backward(dmid", "attention_backward(dbranch_2"),),
        ),
        Mistake(
            "At the last sum, dy is added. The gradient that reaches the first residual connection is that of the "
            "stream in the middle.",
            (("dx = dmid +", "dx = dy +"),),
        ),
        Mistake(
            "dy is in dx twice: the gradient of the stream in the middle already contains it.",
            (("dx = dmid +", "dx = dy + dmid +"),),
        ),
        Mistake(
            "The parts are run in the order of the forward pass. Which one touched y last? Backward begins with it.",
            _attention_first,
        ),
        Mistake(SKIPPED, (("dmid = dy + dbranch_2", "dmid = dy + dnormed_2"), ("+ dbranch_1", "+ dnormed_1"))),
        Mistake(SKIPPED, (("dmid = dy + dbranch_2", "dmid = dy + dnormed_2"),)),
        Mistake(SKIPPED, (("dx = dmid + dbranch_1", "dx = dmid + dnormed_1"),)),
        Mistake(
            "The gradients are right, but the two norms' names are exchanged. Which norm comes before attention?",
            (('"ln_1": ln_1', '"ln_1": ln_2'), ('"ln_2": ln_2', '"ln_2": ln_1')),
        ),
        Mistake(
            "The caches of the two norms are exchanged. Which norm comes before which sub-layer?",
            (
                ('(dnormed_2, cache["ln_2"])', '(dnormed_2, cache["ln_1"])'),
                ('(dnormed_1, cache["ln_1"])', '(dnormed_1, cache["ln_2"])'),
            ),
        ),
        Mistake(
            "The second norm's backward pass gets the cache of the first.",
            (('(dnormed_2, cache["ln_2"])', '(dnormed_2, cache["ln_1"])'),),
        ),
        Mistake(
            "The first norm's backward pass gets the cache of the second.",
            (('(dnormed_1, cache["ln_1"])', '(dnormed_1, cache["ln_2"])'),),
        ),
        Mistake(WEIGHT_AND_BIAS, (BIAS_FIRST_1,)),
        Mistake(WEIGHT_AND_BIAS, (BIAS_FIRST_2,)),
        Mistake(WEIGHT_AND_BIAS, (BIAS_FIRST_1, BIAS_FIRST_2)),
    ),
)


# 2. The model.


def _model_cases(rng):
    def inputs(B, T, V, P, C, n_head, n_layer):
        ids = rng.integers(0, V, (B, T))
        return {"ids": ids, "params": model_params(rng, V, P, C, n_layer), "n_head": n_head}

    return [
        Case("two sequences of three tokens, two blocks", inputs(2, 3, 5, 4, 4, 2, 2)),
        Case("as many tokens in the vocabulary as channels", inputs(2, 5, 6, 8, 6, 3, 2)),
        Case("as many sequences as tokens", inputs(4, 4, 9, 8, 6, 2, 1)),
        Case("one token, one block", inputs(1, 1, 7, 3, 4, 1, 1)),
        Case("all positions in use, three blocks, tokens that repeat", inputs(3, 7, 3, 7, 4, 2, 3)),
    ]


def gpt2_forward(ids, params, n_head):
    """The whole model, from ids (B, T) to logits (B, T, V)."""
    wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
    x = wte[ids] + wpe[: ids.shape[1]]
    for block in params["h"]:
        x, _ = block_forward(x, block, n_head)
    x, _ = layer_norm_forward(x, **params["ln_f"])
    return x @ wte.T


POSITIONS = "wpe[: ids.shape[1]]"
NO_POSITIONS = (f" + {POSITIONS}", "")
LN_F = '    x, _ = layer_norm_forward(x, **params["ln_f"])\n'
BEFORE_EACH_BLOCK = ("block_forward(x,", f"block_forward(x + {POSITIONS},")
FROM_ONE = "Positions are counted from 1. The first token has position 0."
AGAIN = "The position vectors are added before every block. Once, at the bottom, is enough: the stream carries them."
LAST_ONLY = "Only the last token's logits are returned. Training looks at every position: (B, T, V) is wanted."
SAME_BLOCK = "The same block is run each time. There are len(params['h']) of them, each with its own parameters."

MODEL_FORWARD = Task(
    name="gpt2_forward",
    outputs=("logits",),
    reference=gpt2_forward,
    has_cache=True,
    cases=_model_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The final layer norm, ln_f, is forgotten. It comes between the last block and the output layer.",
            ((LN_F, ""),),
        ),
        Mistake(
            "ln_f comes before the blocks. It is the final norm: what is it there to normalise?",
            ((LN_F, ""), ("    for block", f"{LN_F}    for block")),
        ),
        Mistake(
            "ln_f comes after every block. It is the final norm, and there is only one.",
            ((LN_F, f"    {LN_F}"),),
        ),
        Mistake(
            "The position embedding is forgotten: the model cannot tell which of two tokens came first.",
            (NO_POSITIONS,),
        ),
        Mistake(
            "The position vectors go along the batch: each sequence gets one, the same for all of its tokens. Which "
            "axis of x counts positions?",
            ((POSITIONS, "wpe[: len(ids), None]"),),
        ),
        Mistake("The rows of wpe are looked up by token id. By what should they be?", ((POSITIONS, "wpe[ids]"),)),
        Mistake(
            "Every token gets the same position vector. Each position has its own row of wpe.",
            ((POSITIONS, "wpe[0]"),),
        ),
        Mistake(
            "All rows of wpe are added. There may be more of them than tokens: how many are needed?",
            ((POSITIONS, "wpe"),),
        ),
        Mistake(FROM_ONE, ((POSITIONS, "wpe[1 : ids.shape[1] + 1]"),)),
        Mistake(FROM_ONE, ((POSITIONS, "np.roll(wpe, -1, axis=0)[: ids.shape[1]]"),)),
        Mistake(
            "The positions are counted from the end: the last token gets row 0.",
            ((POSITIONS, "wpe[: ids.shape[1]][::-1]"),),
        ),
        Mistake(
            "The last rows of wpe are taken. The first token has position 0.",
            ((POSITIONS, "wpe[-ids.shape[1] :]"),),
        ),
        Mistake(
            "The rows of wpe are taken backwards, from its end on. The first token has position 0.",
            ((POSITIONS, "wpe[::-1][: ids.shape[1]]"),),
        ),
        Mistake(AGAIN, (NO_POSITIONS, BEFORE_EACH_BLOCK)),
        Mistake(AGAIN, (BEFORE_EACH_BLOCK,)),
        Mistake(
            "The token vectors are multiplied by sqrt(C), as the first Transformer does. GPT-2 does not.",
            (("wte[ids]", "math.sqrt(wte.shape[1]) * wte[ids]"),),
        ),
        Mistake(
            "The matrix of the output layer is transposed. Its rows are the tokens' vectors: the score of a token is "
            "the dot product with its row.",
            (("wte.T", "wte"),),
        ),
        Mistake(
            "There is no matrix of that name. GPT-2 has no separate one for the output layer, which is tied to the "
            "token embedding.",
            (("x @ wte.T", 'x @ params["lm_head"]'),),
        ),
        Mistake(
            "The scores are divided by sqrt(C), which belongs in attention.",
            (("wte.T", "wte.T / math.sqrt(len(wte.T))"),),
        ),
        Mistake("The blocks are run from the last to the first.", (('params["h"]:', 'params["h"][::-1]:'),)),
        Mistake(SAME_BLOCK, (("(x, block, n_head)", '(x, params["h"][0], n_head)'),)),
        Mistake(SAME_BLOCK, (("(x, block, n_head)", '(x, params["h"][-1], n_head)'),)),
        Mistake(
            "Only the first block is run. Is there a return inside the loop?",
            (('params["h"]:', 'params["h"][:1]:'),),
        ),
        Mistake("The last block is left out.", (('params["h"]:', 'params["h"][:-1]:'),)),
        Mistake("The blocks change nothing: is their result used?", (('params["h"]:', 'params["h"][:0]:'),)),
        Mistake(
            "Only the last block counts: each block reads the embeddings in place of the output of the one before.",
            (('params["h"]:', 'params["h"][-1:]:'),),
        ),
        Mistake(
            "A block returns y and its cache. Both together were taken for the stream.",
            (("x, _ = block_forward", "x = block_forward"),),
        ),
        Mistake(
            "In the blocks, all channels are one head. Does each block get n_head?",
            (("block, n_head)", "block, 1)"),),
        ),
        Mistake(
            "These are probabilities. Logits are the scores before the softmax, which belongs to the loss.",
            (("x @ wte.T", "softmax_forward(x @ wte.T)"),),
        ),
        Mistake(LAST_ONLY, (("x @ wte.T", "(x @ wte.T)[:, -1]"),)),
        Mistake(LAST_ONLY, (("x @ wte.T", "(x @ wte.T)[:, -1:]"),)),
    ),
)


# 3. The training texts, and how the model is judged.


def sorting_batch(digits):
    """The digits and their sorted order as one text; each token should be predicted from those before it.

    digits: (B, n) integers
    returns ids (B, 2n - 1), the text without its last token; targets (B, 2n - 1), the text without its first one, with
        -100 where it is another of the digits that nobody can predict.
    """
    n = digits.shape[1]
    answers = np.sort(digits, axis=1)
    texts = np.concatenate([digits, answers], axis=1)
    ids, targets = texts[:, :-1], texts[:, 1:].copy()
    targets[:, : n - 1] = -100
    return ids, targets


def _digit_cases(rng):
    return [
        Case("two sequences of three digits", {"digits": np.array([[2, 0, 1], [1, 0, 0]])}),
        Case("as many sequences as digits", {"digits": rng.integers(0, 3, (6, 6))}),
        Case("one sequence, digits up to nine", {"digits": rng.integers(0, 10, (1, 8))}),
        Case("digits that are all alike", {"digits": np.full((3, 4), 2)}),
        Case("one digit each", {"digits": rng.integers(0, 3, (4, 1))}),
    ]


NOT_SHIFTED = (
    "The targets are not shifted: each position has to predict the token that it reads. Its target is the token after "
    "it."
)
ONE_MORE = "One target too many is ignored. The last of the digits is where the first sorted digit is predicted."
OTHER_NUMBER = "Which number makes the loss ignore a target? It is another one that stands at those places."
SORT = "np.sort(digits, axis=1)"

BATCH = Task(
    name="sorting_batch",
    outputs=("ids", "targets"),
    reference=sorting_batch,
    cases=_digit_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(NOT_SHIFTED, (("texts[:, 1:]", "texts[:, :-1]"),)),
        Mistake(NOT_SHIFTED, (("texts[:, 1:]", "texts[:, :-1]"), (": n - 1]", ": n]"))),
        Mistake(
            "The last target is the first token of the text, as np.roll moves in a circle. Which token comes after the "
            "last one that is read?",
            (("texts[:, 1:].copy()", "np.roll(texts[:, :-1], -1, axis=1)"),),
        ),
        Mistake(
            "No target is ignored. The first half is random, and nobody can predict it.",
            (("targets[:, : n - 1] = -100", "pass"),),
        ),
        Mistake(OTHER_NUMBER, (("= -100", "= 0"),)),
        Mistake(OTHER_NUMBER, (("= -100", "= -1"),)),
        Mistake(OTHER_NUMBER, (("= -100", "= 100"),)),
        Mistake(ONE_MORE, ((": n - 1]", ": n]"),)),
        Mistake(
            "One target too few is ignored. The last digit but one would have to predict a random digit.",
            ((": n - 1]", ": max(n - 2, 0)]"),),
        ),
        Mistake(
            "-100 is in the wrong half: the random digits have to be predicted, and the sorted ones are ignored.",
            ((": n - 1]", "n - 1 :]"),),
        ),
        Mistake(
            "The last target is ignored as well. All the sorted digits count.",
            (("= -100", "= targets[:, -1:] = -100"),),
        ),
        Mistake(
            "-100 came into ids as well: a slice such as texts[:, 1:] is the same memory as texts. Which of the two "
            "arrays do you write to, and who else reads it?",
            ((".copy()", ""),),
        ),
        Mistake(
            "It is sorted along the batch: each column. Along which axis are the digits of one sequence?",
            ((SORT, "np.sort(digits, axis=0)"),),
        ),
        Mistake(
            "All digits of the batch are sorted together. Each sequence is sorted on its own.",
            ((SORT, "np.sort(digits, axis=None).reshape(digits.shape)"),),
        ),
        Mistake("The largest digit comes first. Sorted here means ascending.", ((SORT, f"{SORT}[:, ::-1]"),)),
        Mistake("The second half is not sorted: it is the digits again.", ((SORT, "digits"),)),
        Mistake(
            "The second half has places in place of digits: np.argsort says where each one stood.",
            ((SORT, "np.argsort(digits, axis=1)"),),
        ),
        Mistake(
            "The sorted digits come first in the text. The model reads the random ones first.",
            (("[digits, answers]", "[answers, digits]"),),
        ),
        Mistake(
            "ids has one token too many: there is nothing to predict after the last one, and the model has only 2n - 1 "
            "positions.",
            (("texts[:, :-1]", "texts"),),
        ),
        Mistake(
            "targets is the whole text. Which of its tokens is never the next one?",
            (("texts[:, 1:]", "texts"),),
        ),
        Mistake("ids and targets are exchanged.", (("return ids, targets", "return targets, ids"),)),
        Mistake("Only the first sequence comes back.", (("return ids, targets", "return ids[:1], targets[:1]"),)),
    ),
)


def count_sorted(ids):
    """The number of rows whose second half is the first half, sorted.

    ids: (N, 2n) integers; returns int.
    """
    n = ids.shape[1] // 2
    right = ids[:, n:] == np.sort(ids[:, :n], axis=1)
    return int(right.all(axis=1).sum())


# Three digits and an answer, by what is the matter with it.
ANSWERS = {
    "right": [2, 0, 1, 0, 1, 2],
    "right, a digit twice": [1, 0, 1, 0, 1, 1],
    "its digits in another order": [2, 1, 1, 1, 2, 1],
    "copied": [1, 0, 2, 1, 0, 2],
    "ascending, of the same set": [2, 0, 0, 0, 2, 2],
    "ascending, of the same sum": [1, 1, 0, 0, 0, 2],
    "ascending, with the same ends": [2, 0, 1, 0, 0, 2],
    "ascending, one digit wrong": [2, 0, 1, 0, 1, 1],
    "ascending": [2, 2, 1, 0, 1, 1],
    "descending, of digits in order": [0, 1, 2, 2, 1, 0],
    "wrong at every place": [1, 2, 1, 0, 0, 0],
}


def _answer_cases(rng):
    def texts(zeros, *counts):
        """So many rows of each kind, shuffled, with more zeros before the digits and before the answer."""
        rows = np.repeat(list(ANSWERS.values()), counts, axis=0)
        small = np.zeros((len(rows), zeros), int)
        return {"ids": rng.permutation(np.concatenate([small, rows[:, :3], small, rows[:, 3:]], axis=1))}

    return [
        Case("three digits, three rows are right", texts(0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
        Case("six digits, four rows are right", texts(3, 1, 3, 2, 1, 3, 5, 4, 8, 7, 3, 6)),
        Case("none is right", texts(1, 0, 0, 1, 2, 3, 2, 1, 4, 1, 2, 2)),
        Case("all are right", texts(1, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
        Case("one row", texts(3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    ]


def _alike(same, ascending):
    """Counts the rows whose halves are the same in something, and whose second half must be ascending or not."""

    def count(ids):
        n = ids.shape[1] // 2
        rows = [(row[:n], row[n:]) for row in ids.tolist() if not ascending or row[n:] == sorted(row[n:])]
        return sum(same(first) == same(second) for first, second in rows)

    return count


FIXED = "It is right for one number of digits only. There can be more of them or fewer: where does ids say how many?"
SAME_SET = "2 0 0 and 0 2 2 hold the same digits as sets, and are not the same. How often does each digit occur?"
SAME_SUM = "1 1 0 and 0 0 2 have the same sum, and are not the same. Compare the digits themselves."

COUNT = Task(
    name="count_sorted",
    outputs=("count",),
    reference=count_sorted,
    cases=_answer_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "Right digits are counted. A row counts only if all of its digits are right.",
            ((".all(axis=1).sum()", ".sum()"),),
        ),
        Mistake("A row counts as soon as any of its digits is right.", ((".all(", ".any("),)),
        Mistake(
            "The share of the rows is returned. Their number is wanted.",
            (("int(right.all(axis=1).sum())", "float(right.all(axis=1).mean())"),),
        ),
        Mistake(
            "The rows are not looked at one by one: whether all of them are right is one question for each row.",
            (("right.all(axis=1).sum()", "right.all()"),),
        ),
        Mistake("All rows are counted, right or wrong.", (("right.all(axis=1).sum()", "len(right)"),)),
        Mistake(
            "Rows are counted that are wrong.",
            (("right.all(axis=1).sum()", "len(right) - right.all(axis=1).sum()"),),
        ),
        Mistake(
            "The wrong half is judged: the answer is sorted, and compared with the digits. Which half did the model "
            "write?",
            (("ids[:, n:]", "ids[:, :n]"), ("ids[:, :n], axis", "ids[:, n:], axis")),
        ),
        Mistake(
            "An answer counts if it is ascending, whatever its digits are. 0 0 0 would be right each time: which "
            "digits should it hold?",
            (("ids[:, :n], axis", "ids[:, n:], axis"),),
        ),
        Mistake(
            "The answer is compared with the digits as they are, which nobody has sorted.",
            (("np.sort(ids[:, :n], axis=1)", "ids[:, :n]"),),
        ),
        Mistake(
            "An answer with the right digits counts in any order. It is the order that the model should learn.",
            (("ids[:, n:] ==", "np.sort(ids[:, n:], axis=1) =="),),
        ),
        Mistake(
            "It is sorted along the batch: each column. Along which axis are the digits of one row?",
            (("ids[:, :n], axis=1)", "ids[:, :n], axis=0)"),),
        ),
        Mistake(
            "The largest digit is expected first. Sorted here means ascending.",
            (("ids[:, :n], axis=1)", "ids[:, :n], axis=1)[:, ::-1]"),),
        ),
        Mistake(FIXED, (("ids.shape[1] // 2", "3"),)),
        Mistake(FIXED, (("ids.shape[1] // 2", "3"), ("ids[:, n:]", "ids[:, 3:6]"))),
        Mistake(FIXED, (("ids.shape[1] // 2", "6"),)),
        Mistake(FIXED, lambda ids: count_sorted(ids) if ids.shape[1] == 12 else 0),
        Mistake(
            "Each digit is expected only once. What does a set forget?",
            lambda ids: sum(sorted(set(row[: len(row) // 2])) == row[len(row) // 2 :] for row in ids.tolist()),
        ),
        Mistake(SAME_SET, _alike(set, ascending=True)),
        Mistake(SAME_SET, _alike(set, ascending=False)),
        Mistake(SAME_SUM, _alike(sum, ascending=True)),
        Mistake(SAME_SUM, _alike(sum, ascending=False)),
    ),
)


# 4. Training.


def _judged(inputs, params):
    """What is wrong with trained parameters, in a sentence, or None if they sort everything."""
    config, seed = inputs["config"], inputs["seed"]
    leaves = flatten(params) if isinstance(params, dict) else {}
    if {name: np.shape(leaf) for name, leaf in leaves.items()} != config.parameter_shapes():
        return "The result is not the nested dict of all trained parameters: return model.params."
    if not all(np.isfinite(leaf).all() for leaf in leaves.values()):
        return "There is NaN or infinity in the parameters: try a lower learning rate."
    first = flatten(GPT2(config, seed).params)
    if all(np.array_equal(leaves[name], first[name]) for name in first):
        return (
            "No parameter has moved since GPT2(config, seed): is the optimizer's step called in the loop, with a "
            "learning rate above 0, and are these the parameters that it moves?"
        )
    n = (config.n_positions + 1) // 2
    digits = np.array(list(itertools.product(range(config.vocab_size), repeat=n)))
    texts = _decoded(digits, params, config)
    count = count_sorted(texts)
    if count == len(texts):
        return None
    return f"{count} of {len(texts)} inputs come out sorted. {_diagnosis(texts, digits, params, config)}"


def _decoded(ids, params, config):
    """The digits and what the model writes after them, the likeliest token each time."""
    for _ in range(ids.shape[1]):
        best = gpt2_forward(ids, params, config.n_head)[:, -1].argmax(axis=-1)
        ids = np.concatenate([ids, best[:, None]], axis=1)
    return ids


def _diagnosis(texts, digits, params, config):
    """Why not everything comes out sorted, judged by the model's predictions after right digits."""
    n = digits.shape[1]
    answers = np.sort(digits, axis=1)
    read = np.concatenate([digits, answers], axis=1)[:, :-1]
    probs = softmax_forward(gpt2_forward(read, params, config.n_head)[:, n - 1 :].astype(np.float64))
    right = (probs.argmax(axis=-1) == answers).mean(axis=0)  # the share of each place
    log_probs = np.log(np.maximum(probs, 1e-300))
    loss = -np.take_along_axis(log_probs, answers[..., None], axis=-1).mean()
    doubt = -(probs * log_probs).sum(axis=-1).mean()  # the loss that the model itself expects
    guess = math.log(config.vocab_size)
    if np.take_along_axis(probs, read[:, n - 1 :, None], axis=-1).mean() > 0.8:
        return (
            "Each position predicts the very token that it reads: the targets are not shifted. Its target is the next "
            "token."
        )
    if (texts[:, n:] == answers[:, ::-1]).all(axis=1).mean() > 0.9:
        return "They come out in descending order, the largest digit first."
    if right[0] < 0.6 and right[1:].min() > 0.95:
        return (
            "Only the first sorted digit is wrong. It is predicted at the last of the digits: is one target too many "
            "ignored?"
        )
    if right[-1] < 0.6 and right[:-1].min() > 0.95:
        return "Only the last sorted digit is wrong: is its target ignored, or is it another digit?"
    if loss > 1.5 * guess:
        return (
            f"It writes something else with certainty (loss {loss:.1f} nats; a guess has {guess:.2f}): is the learning "
            "rate far too high, or do the targets hold something other than sorted digits?"
        )
    if loss > 0.95 * guess:
        return (
            f"It knows nothing about the sorted digits (loss {loss:.2f} nats; a guess has {guess:.2f}). Are their "
            "targets the ones that count, and is -100 at the others? Is the learning rate neither tiny nor huge?"
        )
    if loss > 3 * doubt:
        return (
            f"It is surer than it may be (loss {loss:.3f} nats, and by its own probabilities {doubt:.3f}), as if it "
            "had seen the same few sequences again and again: is a new batch drawn in each step?"
        )
    return (
        f"It is on its way (loss {loss:.3f} nats; a guess has {guess:.2f}). Does the loss still fall when the training "
        "ends? Look at the number of steps, the size of the batch, whether each batch is a new one, and the learning "
        "rate, also towards the end."
    )


TRAIN = Task(
    name="train_sorter",
    outputs=("params",),
    reference=None,
    accept=_judged,
    cases=lambda rng: [Case("all 729 inputs come out sorted", {"config": SORTER, "seed": 0})],
    seconds=120.0,
    notebook=NOTEBOOK,
)


# The harder part: backward through the whole model.


def _model_with_cache(ids, params, n_head):
    """Our forward pass, with everything that a backward pass may want in the caches of the parts."""
    wte = params["wte"]["weight"]
    x, embedding = EMBEDDING.forward(ids, wte)
    x, position = POSITION.forward(x, params["wpe"]["weight"], 0)
    blocks = []
    for block in params["h"]:
        x, cache = _block_with_cache(x, block, n_head)
        blocks.append(cache)
    x, ln_f = _norm_with_cache(x, params["ln_f"])
    logits, output = unembedding_forward(x, wte)
    return logits, {"wte": embedding, "wpe": position, "h": blocks, "ln_f": ln_f, "lm_head": output}


def gpt2_backward(dlogits, cache):
    """Gradients of the whole model: grads of the form of params."""
    dnormed, dwte_above = unembedding_backward(dlogits, cache["lm_head"])
    dx, dweight, dbias = layer_norm_backward(dnormed, cache["ln_f"])
    h = []
    for block in reversed(cache["h"]):
        dx, grads = block_backward(dx, block)
        h.insert(0, grads)
    dx, dwpe = position_backward(dx, cache["wpe"])
    dwte_below = embedding_backward(dx, cache["wte"])
    dwte = dwte_above + dwte_below
    ln_f = {"weight": dweight, "bias": dbias}
    return {"wte": {"weight": dwte}, "wpe": {"weight": dwpe}, "h": h, "ln_f": ln_f}


def _repeated_ids(dx, ids, V):
    """The gradient of an embedding in which a token that occurs twice gets only one of its shares."""
    dweight = np.zeros((V, dx.shape[-1]), dx.dtype)
    dweight[ids] += dx
    return dweight


BOTH_USES = "The two uses of wte both add to its gradient. What is the gradient where something is used twice?"
WRONG_ORDER = (
    "The gradients of the blocks are right but in the wrong order: the last block's come first in the list."
)

MODEL_BACKWARD = Task(
    name="gpt2_backward",
    outputs=("grads",),
    reference=gpt2_backward,
    forward=_model_with_cache,
    cases=_model_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "wte has only its gradient as the embedding. It is used a second time: where?",
            (("dwte = dwte_above + dwte_below", "dwte = dwte_below"),),
        ),
        Mistake(
            "wte has only its gradient as the output layer. It is used a second time: where?",
            (("dwte = dwte_above + dwte_below", "dwte = dwte_above"),),
        ),
        Mistake(BOTH_USES, (("dwte_above + dwte_below", "0.5 * (dwte_above + dwte_below)"),)),
        Mistake(BOTH_USES, (("dwte_above + dwte_below", "dwte_above * dwte_below"),)),
        Mistake(
            "A token that occurs twice gets the gradient of only one place. `dW[ids] += dx` writes each row once: look "
            "at exercise 2.",
            (('embedding_backward(dx, cache["wte"])', '_repeated_ids(dx, cache["wte"]["ids"], len(dwte_above))'),),
        ),
        Mistake(
            "The gradient goes around ln_f on its way down. What did the output layer read?",
            (('cache["ln_f"])\n', 'cache["ln_f"])\n    dx = dnormed\n'),),
        ),
        Mistake(
            "The blocks are run backward from the first to the last. Which one is nearest to the loss?",
            (('reversed(cache["h"])', 'cache["h"]'), ("h.insert(0, grads)", "h.append(grads)")),
        ),
        Mistake(
            "The blocks are run backward from the first to the last, and their gradients are in the reverse order. "
            "Which one is nearest to the loss?",
            (('reversed(cache["h"])', 'cache["h"]'),),
        ),
        Mistake(WRONG_ORDER, (("h.insert(0, grads)", "h.append(grads)"),)),
        Mistake(
            "Each block gets the gradient that came out of the norm at the end. Which block lies between the norm and "
            "the last block but one?",
            (("dx, grads = block_backward(dx, block)", "_, grads = block_backward(dx, block)"),),
        ),
        Mistake(
            "The embeddings get the gradient of ln_f's input, as if there were no blocks.",
            (
                ("    h = []", "    h, above = [], dx"),
                ("    dx, dwpe = position_backward(dx,", "    dx, dwpe = position_backward(above,"),
            ),
        ),
        Mistake(
            "The gradient of wpe is a mean over the batch. Each sequence adds its share.",
            (("    dwte_below", "    dwpe = dwpe / len(dx)\n    dwte_below"),),
        ),
        Mistake(
            "All blocks are run backward with the cache of the last one.",
            (("block_backward(dx, block)", 'block_backward(dx, cache["h"][-1])'),),
        ),
        Mistake(
            "The gradients of ln_f's weight and bias are exchanged. In which order does layer_norm_backward return "
            "them?",
            (("dx, dweight, dbias", "dx, dbias, dweight"),),
        ),
    ),
)

TASKS = (BLOCK_FORWARD, BLOCK_BACKWARD, MODEL_FORWARD, BATCH, COUNT, TRAIN, MODEL_BACKWARD)
