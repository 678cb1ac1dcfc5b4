"""Exercise 10, block and model assembly: the parts in their order, their gradients, and a model that learns to sort."""

import functools
import itertools
import math

import numpy as np

from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.feed_forward import feed_forward_backward, feed_forward_forward
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.config import GPT2Config
from minigpt2.exercises.ex02_embedding import BACKWARD as EMBEDDING
from minigpt2.exercises.ex03_position import BACKWARD as POSITION
from minigpt2.exercises.ex04_linear_and_gelu import FEED_FORWARD_BACKWARD as FEED_FORWARD
from minigpt2.exercises.ex05_layer_norm import BACKWARD as LAYER_NORM
from minigpt2.exercises.ex07_attention_backward import ATTENTION
from minigpt2.exercises.task import Case, Mistake, Task
from minigpt2.model import GPT2, block_backward, block_forward, gpt2_backward, gpt2_forward
from minigpt2.parameters import flatten

NOTEBOOK = "2_5_framework"
SORTER = GPT2Config(vocab_size=3, n_positions=11, n_embd=32, n_layer=2, n_head=2)  # learns to sort in two seconds


# 1. A block.


def _norm(rng, C):
    return {"weight": 1 + 0.5 * rng.standard_normal(C), "bias": rng.standard_normal(C)}


def _linear(rng, inputs, outputs):
    return {
        "weight": rng.standard_normal((inputs, outputs)) / math.sqrt(inputs),
        "bias": 0.5 * rng.standard_normal(outputs),
    }


def _block_params(rng, C):
    return {
        "ln_1": _norm(rng, C),
        "attn": {"c_attn": _linear(rng, C, 3 * C), "c_proj": _linear(rng, C, C)},
        "ln_2": _norm(rng, C),
        "mlp": {"c_fc": _linear(rng, C, 4 * C), "c_proj": _linear(rng, 4 * C, C)},
    }


def _block_cases(rng):
    def inputs(B, T, C, n_head, scale=1.0):
        x = scale * (0.5 + 2 * rng.standard_normal((B, T, C)))
        return {"x": x, "params": _block_params(rng, C), "n_head": n_head}

    return [
        Case("two sequences of three tokens, four channels, two heads", inputs(2, 3, 4, 2)),
        Case("as many sequences as tokens and channels", inputs(6, 6, 6, 3)),
        Case("one token", inputs(1, 1, 6, 2)),
        Case("one long sequence, one head", inputs(1, 9, 5, 1)),
        Case("a stream that is much larger than the additions", inputs(2, 4, 6, 2, scale=100.0)),
    ]


def _ln(name, x, params):
    return layer_norm_forward(x, **params[name])[0]


def _attn(x, params, n_head):
    return attention_forward(x, params["attn"], n_head)[0]


def _mlp(x, params):
    return feed_forward_forward(x, params["mlp"])[0]


def _assembled(x, params, n_head, norms=("ln_1", "ln_2"), first=1, second=1):
    """The block with other norms, or with one of its residual connections cut."""
    mid = first * x + _attn(_ln(norms[0], x, params), params, n_head)
    return second * mid + _mlp(_ln(norms[1], mid, params), params)


def _post_norm(x, params, n_head):
    x = _ln("ln_1", x + _attn(x, params, n_head), params)
    return _ln("ln_2", x + _mlp(x, params), params)


def _norm_of_branches(x, params, n_head):
    x = x + _ln("ln_1", _attn(x, params, n_head), params)
    return x + _ln("ln_2", _mlp(x, params), params)


def _without_norms(x, params, n_head):
    x = x + _attn(x, params, n_head)
    return x + _mlp(x, params)


def _normalised_stream(x, params, n_head):
    x = _ln("ln_1", x, params)
    x = _ln("ln_2", x + _attn(x, params, n_head), params)
    return x + _mlp(x, params)


def _other_order(x, params, n_head, norms=("ln_2", "ln_1")):
    x = x + _mlp(_ln(norms[0], x, params), params)
    return x + _attn(_ln(norms[1], x, params), params, n_head)


def _side_by_side(x, params, n_head):
    return x + _attn(_ln("ln_1", x, params), params, n_head) + _mlp(_ln("ln_2", x, params), params)


def _past_the_sum(x, params, n_head):
    mid = x + _attn(_ln("ln_1", x, params), params, n_head)
    return x + _mlp(_ln("ln_2", mid, params), params)


def _reads_the_branch(x, params, n_head):
    branch = _attn(_ln("ln_1", x, params), params, n_head)
    return x + branch + _mlp(_ln("ln_2", branch, params), params)


ORDER = (
    "The sub-layers come in the wrong order: the feed-forward network first. Look at the two lines of the formula: "
    "tokens first gather from each other, and then each one thinks about it."
)

BLOCK_FORWARD = Task(
    name="block_forward",
    outputs=("y",),
    reference=lambda x, params, n_head: block_forward(x, params, _config(n_head))[0],
    has_cache=True,
    cases=_block_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "This is post-norm, the order of the first Transformer: each norm is applied to the sum. In GPT-2 the "
            "stream itself is never normalised inside a block. What does each norm read?",
            _post_norm,
        ),
        Mistake(
            "The norms are applied to the outputs of the sub-layers. In GPT-2 a norm comes before its sub-layer, at "
            "the entrance of the branch.",
            _norm_of_branches,
        ),
        Mistake("Both layer norms are missing. What do the sub-layers read?", _without_norms),
        Mistake(
            "The normalised copy takes the place of the stream: the sub-layer's result is added to it. Give the copy "
            "its own name, and add to the unchanged x.",
            _normalised_stream,
        ),
        Mistake(
            "Both residual connections are lost: each sub-layer replaces the stream. It should only add to it.",
            lambda x, params, n_head: _assembled(x, params, n_head, first=0, second=0),
        ),
        Mistake(
            "The first residual connection is lost: after attention, the earlier content of the stream is gone.",
            lambda x, params, n_head: _assembled(x, params, n_head, first=0),
        ),
        Mistake(
            "The second residual connection is lost: after the feed-forward network, the stream is gone.",
            lambda x, params, n_head: _assembled(x, params, n_head, second=0),
        ),
        Mistake(
            "The two layer norms are exchanged. Which one belongs to attention?",
            lambda x, params, n_head: _assembled(x, params, n_head, norms=("ln_2", "ln_1")),
        ),
        Mistake(
            "One layer norm is used for both sub-layers. Each has its own: look at the keys of params.",
            lambda x, params, n_head: _assembled(x, params, n_head, norms=("ln_1", "ln_1")),
        ),
        Mistake(ORDER, _other_order),
        Mistake(ORDER, lambda x, params, n_head: _other_order(x, params, n_head, norms=("ln_1", "ln_2"))),
        Mistake(
            "The feed-forward network reads the stream from before attention, so the sub-layers are side by side. It "
            "should read the sum.",
            _side_by_side,
        ),
        Mistake(
            "At the end the input x is added, and attention's addition to it is lost. What is the stream after the "
            "first sub-layer?",
            _past_the_sum,
        ),
        Mistake(
            "The feed-forward network reads only the output of attention. It should read the stream, to which that "
            "output was added.",
            _reads_the_branch,
        ),
        Mistake(
            "All channels are one head. The number of heads is an argument: does attention get it?",
            lambda x, params, n_head: _assembled(x, params, 1),
        ),
    ),
)


def _block_with_cache(x, params, n_head):
    """Our forward pass, with everything that a backward pass may want in the cache, in those of the parts too."""
    y, cache = block_forward(x, params, _config(n_head))
    normed, ln_1 = _norm_with_cache(x, params["ln_1"])
    _, attn = ATTENTION.forward(normed, params["attn"], n_head)
    normed, ln_2 = _norm_with_cache(cache["resid_mid"], params["ln_2"])
    _, mlp = FEED_FORWARD.forward(normed, params["mlp"])
    parts = {"ln_1": ln_1, "attn": attn, "ln_2": ln_2, "mlp": mlp}
    return y, cache | parts | {"x": x, "params": params, "n_head": n_head}


def _norm_with_cache(x, params):
    return LAYER_NORM.forward(x, params["weight"], params["bias"], 1e-5)


def _in_reverse(dy, cache, keep_mid=1, keep_x=1, share=1, past_sum=False, through_norms=True):
    """The gradients with a residual connection cut, or without the norms in the way.

    share:    of the gradient that each branch of a sum gets
    past_sum: whether attention gets dy in place of the gradient of the stream in the middle
    """
    dy = share * dy
    dln_2, mlp = feed_forward_backward(dy, cache["mlp"])
    dbranch, *ln_2 = layer_norm_backward(dln_2, cache["ln_2"])
    dmid = share * (keep_mid * dy + (dbranch if through_norms else dln_2))
    dln_1, attn = attention_backward(dy if past_sum else dmid, cache["attn"])
    dbranch, *ln_1 = layer_norm_backward(dln_1, cache["ln_1"])
    dx = keep_x * dmid + (dbranch if through_norms else dln_1)
    return dx, _block_grads(ln_1, attn, ln_2, mlp)


def _block_grads(ln_1, attn, ln_2, mlp):
    return {
        "ln_1": dict(zip(("weight", "bias"), ln_1, strict=True)),
        "attn": attn,
        "ln_2": dict(zip(("weight", "bias"), ln_2, strict=True)),
        "mlp": mlp,
    }


def _attention_first(dy, cache):
    dln_1, attn = attention_backward(dy, cache["attn"])
    dbranch, *ln_1 = layer_norm_backward(dln_1, cache["ln_1"])
    dmid = dy + dbranch
    dln_2, mlp = feed_forward_backward(dmid, cache["mlp"])
    dbranch, *ln_2 = layer_norm_backward(dln_2, cache["ln_2"])
    return dmid + dbranch, _block_grads(ln_1, attn, ln_2, mlp)


def _adds_dy_twice(dy, cache):
    """dx with dy in place of dmid on the first residual connection."""
    return _in_reverse(dy, cache, keep_x=0)[0] + dy, block_backward(dy, cache)[1]


def _renamed(dy, cache, names):
    dx, grads = block_backward(dy, cache)
    return dx, {name: grads[names.get(name, name)] for name in grads}


def _weight_for_bias(dy, cache):
    dx, grads = block_backward(dy, cache)
    norms = {name: {"weight": grads[name]["bias"], "bias": grads[name]["weight"]} for name in ("ln_1", "ln_2")}
    return dx, grads | norms


BLOCK_BACKWARD = Task(
    name="block_backward",
    outputs=("dx", "grads"),
    reference=block_backward,
    forward=_block_with_cache,
    cases=_block_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The gradient jumps over both sums: only the part that came through the sub-layers flows back. Where a "
            "branch leaves the stream, the stream continues; what comes back on it?",
            lambda dy, cache: _in_reverse(dy, cache, keep_mid=0, keep_x=0),
        ),
        Mistake(
            "The gradient of the second residual connection is not added: before attention's turn, dy itself should be "
            "added to the part that came through the feed-forward network.",
            lambda dy, cache: _in_reverse(dy, cache, keep_mid=0),
        ),
        Mistake(
            "The gradient of the first residual connection is not added: dx is only the part that came through "
            "attention.",
            lambda dy, cache: _in_reverse(dy, cache, keep_x=0),
        ),
        Mistake(
            "At each sum the gradient is divided between its two branches. What is dz/dx for z = x + y?",
            lambda dy, cache: _in_reverse(dy, cache, share=0.5),
        ),
        Mistake(
            "Attention gets dy, the gradient at the end of the block. The feed-forward network lies in between: what "
            "gradient does the stream in the middle have?",
            lambda dy, cache: _in_reverse(dy, cache, past_sum=True),
        ),
        Mistake(
            "At the last sum, dy is added. The gradient that reaches the first residual connection is that of the "
            "stream in the middle.",
            _adds_dy_twice,
        ),
        Mistake(
            "The parts are run in the order of the forward pass. Which one touched y last? Backward begins with it.",
            _attention_first,
        ),
        Mistake(
            "The gradient goes around the layer norms: a sub-layer returns the gradient of its input, which is the "
            "output of a norm. What comes before it?",
            lambda dy, cache: _in_reverse(dy, cache, through_norms=False),
        ),
        Mistake(
            "The gradients are right, but the two norms' names are exchanged. Which norm comes before attention?",
            lambda dy, cache: _renamed(dy, cache, {"ln_1": "ln_2", "ln_2": "ln_1"}),
        ),
        Mistake(
            "The gradients of weight and bias are exchanged in the norms. In which order does layer_norm_backward "
            "return them?",
            _weight_for_bias,
        ),
    ),
)


# 2. The model.


def _model_params(rng, V, P, C, n_layer):
    return {
        "wte": {"weight": rng.standard_normal((V, C))},
        "wpe": {"weight": rng.standard_normal((P, C))},
        "h": [_block_params(rng, C) for _ in range(n_layer)],
        "ln_f": _norm(rng, C),
    }


def _model_cases(rng):
    def inputs(B, T, V, P, C, n_head, n_layer):
        ids = rng.integers(0, V, (B, T))
        return {"ids": ids, "params": _model_params(rng, V, P, C, n_layer), "n_head": n_head}

    return [
        Case("two sequences of three tokens, two blocks", inputs(2, 3, 5, 4, 4, 2, 2)),
        Case("as many tokens in the vocabulary as channels", inputs(2, 5, 6, 8, 6, 3, 2)),
        Case("as many sequences as tokens", inputs(4, 4, 9, 8, 6, 2, 1)),
        Case("one token, one block", inputs(1, 1, 7, 3, 4, 1, 1)),
        Case("all positions in use, three blocks, tokens that repeat", inputs(3, 7, 3, 7, 4, 2, 3)),
    ]


def _config(n_head):
    return GPT2Config(n_embd=n_head, n_head=n_head)  # gpt2_forward looks only at its n_head and eps


def _model_with_cache(ids, params, n_head):
    """Our forward pass, with everything that a backward pass may want in the caches of the parts."""
    logits, cache = gpt2_forward(ids, params, _config(n_head))
    x, wte = EMBEDDING.forward(ids, params["wte"]["weight"])
    x, wpe = POSITION.forward(x, params["wpe"]["weight"], 0)
    blocks = []
    for block in params["h"]:
        x, block_cache = _block_with_cache(x, block, n_head)
        blocks.append(block_cache)
    _, ln_f = _norm_with_cache(x, params["ln_f"])
    return logits, cache | {"wte": wte, "wpe": wpe, "h": blocks, "ln_f": ln_f}


def _embedded(ids, params, start=0, scale=1.0):
    positions = params["wpe"]["weight"][start : start + ids.shape[1]]
    return scale * params["wte"]["weight"][ids] + positions


def _through(x, params, n_head, blocks=None, ln_f=True, each=0.0):
    """From the sum of the embeddings to the last activations."""
    for block in params["h"] if blocks is None else blocks:
        x, _ = block_forward(x + each, block, _config(n_head))
    return layer_norm_forward(x, **params["ln_f"])[0] if ln_f else x


def _scores(x, params):
    return x @ params["wte"]["weight"].T


def _logits(ids, params, n_head, **changes):
    return _scores(_through(_embedded(ids, params), params, n_head, **changes), params)


def _no_positions(ids, params, n_head):
    return _scores(_through(params["wte"]["weight"][ids], params, n_head), params)


def _positions_of_sequences(ids, params, n_head):
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][: len(ids), None]
    return _scores(_through(x, params, n_head), params)


def _positions_of_tokens(ids, params, n_head):
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][ids]
    return _scores(_through(x, params, n_head), params)


def _positions_in_each_block(ids, params, n_head):
    positions = params["wpe"]["weight"][: ids.shape[1]]
    return _scores(_through(params["wte"]["weight"][ids], params, n_head, each=positions), params)


def _norm_first(ids, params, n_head):
    x = layer_norm_forward(_embedded(ids, params), **params["ln_f"])[0]
    return _scores(_through(x, params, n_head, ln_f=False), params)


UNTIED = (
    "There is no matrix of that name. GPT-2 has no separate one for the output layer, which is tied to the token "
    "embedding."
)

MODEL_FORWARD = Task(
    name="gpt2_forward",
    outputs=("logits",),
    reference=lambda ids, params, n_head: gpt2_forward(ids, params, _config(n_head))[0],
    cases=_model_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The final layer norm, ln_f, is forgotten. It comes between the last block and the output layer.",
            lambda ids, params, n_head: _logits(ids, params, n_head, ln_f=False),
        ),
        Mistake(
            "ln_f comes before the blocks. It is the final norm: what is it there to normalise?",
            _norm_first,
        ),
        Mistake(
            "The position embedding is forgotten: the model cannot tell which of two tokens came first.",
            _no_positions,
        ),
        Mistake(
            "The position vectors go along the batch: each sequence gets one, the same for all of its tokens. Which "
            "axis of x counts positions?",
            _positions_of_sequences,
        ),
        Mistake("The rows of wpe are looked up by token id. By what should they be?", _positions_of_tokens),
        Mistake(
            "Positions are counted from 1. The first token has position 0.",
            lambda ids, params, n_head: _scores(_through(_embedded(ids, params, 1), params, n_head), params),
        ),
        Mistake(
            "The position vectors are added again before every block. Once, at the bottom, is enough: the stream "
            "carries them.",
            _positions_in_each_block,
        ),
        Mistake(
            "The token vectors are multiplied by sqrt(C), as the first Transformer does. GPT-2 does not.",
            lambda ids, params, n_head: _scores(
                _through(_embedded(ids, params, scale=math.sqrt(params["wte"]["weight"].shape[1])), params, n_head),
                params,
            ),
        ),
        Mistake(
            "The matrix of the output layer is transposed. Its rows are the tokens' vectors: the score of a token is "
            "the dot product with its row.",
            lambda ids, params, n_head: _through(_embedded(ids, params), params, n_head) @ params["wte"]["weight"],
        ),
        Mistake(UNTIED, lambda ids, params, n_head: params["lm_head"]),
        Mistake(
            "The blocks are run from the last to the first.",
            lambda ids, params, n_head: _logits(ids, params, n_head, blocks=params["h"][::-1]),
        ),
        Mistake(
            "The same block is run each time. There are len(params['h']) of them, each with its own parameters.",
            lambda ids, params, n_head: _logits(ids, params, n_head, blocks=[params["h"][0]] * len(params["h"])),
        ),
        Mistake(
            "Only the last block counts: each block reads the embeddings in place of the output of the one before.",
            lambda ids, params, n_head: _logits(ids, params, n_head, blocks=params["h"][-1:]),
        ),
        Mistake(
            "These are probabilities. Logits are the scores before the softmax, which belongs to the loss.",
            lambda ids, params, n_head: softmax_forward(_logits(ids, params, n_head)),
        ),
        Mistake(
            "Only the last token's logits are returned. Training looks at every position: (B, T, V) is wanted.",
            lambda ids, params, n_head: _logits(ids, params, n_head)[:, -1],
        ),
    ),
)


# 3. The training texts, and how the model is judged.


def sorting_batch(digits):
    """The digits and their sorted order as one text; each token should be predicted from those before it.

    digits: (B, n) integers
    returns ids (B, 2n - 1), the text without its last token; targets (B, 2n - 1), the text without its first one, with
        -100 where it is another of the digits that nobody can predict.
    """
    texts = np.concatenate([digits, np.sort(digits, axis=1)], axis=1)
    targets = texts[:, 1:].copy()
    targets[:, : digits.shape[1] - 1] = -100
    return texts[:, :-1], targets


def _digit_cases(rng):
    return [
        Case("two sequences of three digits", {"digits": np.array([[2, 0, 1], [1, 0, 0]])}),
        Case("as many sequences as digits", {"digits": rng.integers(0, 3, (6, 6))}),
        Case("one sequence, digits up to nine", {"digits": rng.integers(0, 10, (1, 8))}),
        Case("digits that are all alike", {"digits": np.full((3, 4), 2)}),
        Case("one digit each", {"digits": rng.integers(0, 3, (4, 1))}),
    ]


def _batch(digits, order=None, ignored=0, shift=1, ids=slice(-1)):
    """With another order, another number of ignored targets, or the text cut in another place."""
    n = digits.shape[1]
    texts = np.concatenate([digits, np.sort(digits, axis=1) if order is None else order], axis=1)
    targets = texts[:, shift : shift + 2 * n - 1].copy()
    targets[:, : max(n - 1 + ignored, 0)] = -100
    return texts[:, ids], targets


def _ignored_in_the_ids(digits):
    ids, targets = sorting_batch(digits)
    wrong = ids.copy()
    wrong[:, 1 : digits.shape[1]] = -100
    return wrong, targets


def _answers_ignored(digits):
    ids, targets = _batch(digits, ignored=-digits.shape[1])
    targets[:, digits.shape[1] - 1 :] = -100
    return ids, targets


BATCH = Task(
    name="sorting_batch",
    outputs=("ids", "targets"),
    reference=sorting_batch,
    cases=_digit_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The targets are not shifted: each position has to predict the token that it reads. Its target is the "
            "token after it.",
            lambda digits: _batch(digits, shift=0),
        ),
        Mistake(
            "The targets are not shifted: each position has to predict the token that it reads. Its target is the "
            "token after it.",
            lambda digits: _batch(digits, shift=0, ignored=1),
        ),
        Mistake(
            "No target is ignored. The first half is random, and nobody can predict it: put -100 there.",
            lambda digits: _batch(digits, ignored=-digits.shape[1]),
        ),
        Mistake(
            "One target too many is ignored. The last of the digits is where the first sorted digit is predicted.",
            lambda digits: _batch(digits, ignored=1),
        ),
        Mistake(
            "One target too few is ignored. The last digit but one would have to predict a random digit.",
            lambda digits: _batch(digits, ignored=-1),
        ),
        Mistake(
            "-100 is in the wrong half: the random digits have to be predicted, and the sorted ones are ignored.",
            _answers_ignored,
        ),
        Mistake(
            "-100 came into ids as well: a slice such as texts[:, 1:] is the same memory as texts. Make a copy before "
            "you write to it.",
            _ignored_in_the_ids,
        ),
        Mistake(
            "It is sorted along the batch: each column. Along which axis are the digits of one sequence?",
            lambda digits: _batch(digits, np.sort(digits, axis=0)),
        ),
        Mistake(
            "The largest digit comes first. Sorted here means ascending.",
            lambda digits: _batch(digits, -np.sort(-digits, axis=1)),
        ),
        Mistake(
            "ids has one token too many: there is nothing to predict after the last one, and the model has only 2n - 1 "
            "positions.",
            lambda digits: _batch(digits, ids=slice(None)),
        ),
    ),
)


def count_sorted(ids):
    """The number of rows whose second half is the first half, sorted.

    ids: (N, 2n) integers; returns int.
    """
    return int(_is_right(ids).all(axis=1).sum())


def _halves(ids):
    n = ids.shape[1] // 2
    return ids[:, :n], ids[:, n:]


def _is_right(ids):
    first, second = _halves(ids)
    return second == np.sort(first, axis=1)


def _rising(ids):
    second = _halves(ids)[1]
    return int((second == np.sort(second, axis=1)).all(axis=1).sum())


def _halves_exchanged(ids):
    first, second = _halves(ids)
    return int((first == np.sort(second, axis=1)).all(axis=1).sum())


def _second_equals_first(ids):
    first, second = _halves(ids)
    return int((first == second).all(axis=1).sum())


def _answer_cases(rng):
    def texts(N, n, right, kept=0):
        """N rows; ``right`` of them are right, and in ``kept`` others the digits are ascending from the start."""
        digits = rng.integers(0, 3, (N, n))
        digits[:, :2] = [2, 0]  # never in order by chance
        digits[N - kept :] = np.sort(digits[N - kept :], axis=1)
        answers = np.sort(digits, axis=1)
        rising = np.arange(n) * 2 // n  # 0 ... 0 1 ... 1, and right for none of them
        answers[right : N - kept : 2] = rising
        answers[right + 1 : N - kept : 2, -1] = 0
        answers[N - kept :, 0] = 2
        return {"ids": np.concatenate([digits, answers], axis=1)}

    few = [[2, 0, 1, 0, 1, 2], [1, 0, 0, 0, 0, 1], [0, 1, 2, 0, 1, 2], [2, 1, 0, 0, 0, 1], [0, 1, 2, 2, 1, 0]]
    return [
        Case("five rows, three of them right", {"ids": np.array(few)}),
        Case("eleven rows, four of them right", texts(11, 6, 4, 2)),
        Case("none is right", texts(5, 4, 0)),
        Case("all are right", texts(7, 4, 7)),
        Case("one row", texts(1, 6, 1)),
    ]


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
            lambda ids: int(_is_right(ids).sum()),
        ),
        Mistake(
            "A row counts as soon as any of its digits is right.",
            lambda ids: int(_is_right(ids).any(axis=1).sum()),
        ),
        Mistake(
            "The share of the rows is returned. Their number is wanted.",
            lambda ids: float(_is_right(ids).all(axis=1).mean()),
        ),
        Mistake(
            "The wrong half is judged: the answer is sorted, and compared with the digits. Which half did the model "
            "write?",
            _halves_exchanged,
        ),
        Mistake(
            "An answer counts if it is ascending, whatever its digits are. 0 0 0 would be right each time: compare "
            "with the sorted digits.",
            _rising,
        ),
        Mistake(
            "The answer is compared with the unsorted digits. They must be sorted first.",
            _second_equals_first,
        ),
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
            "learning rate above 0?"
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
        logits, _ = gpt2_forward(ids, params, config, positions=slice(-1, None), keep=False)
        ids = np.concatenate([ids, logits.argmax(axis=-1)], axis=1)
    return ids


def _diagnosis(texts, digits, params, config):
    """Why not everything comes out sorted, judged by the model's predictions after right digits."""
    n = digits.shape[1]
    answers = np.sort(digits, axis=1)
    read = np.concatenate([digits, answers], axis=1)[:, :-1]
    probs = softmax_forward(gpt2_forward(read, params, config, keep=False)[0][:, n - 1 :].astype(np.float64))
    best = probs.argmax(axis=-1)
    right = (best == answers).mean(axis=0)  # the share of each place
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
        f"It is on its way (loss {loss:.3f} nats; a guess has {guess:.2f}): more steps, or a higher learning rate that "
        "falls towards the end."
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


def _model_grads(dlogits, cache, change=None, around_norm=False, blocks=reversed):
    """The gradients with one thing changed, in them or on their way."""
    right = gpt2_backward(dlogits, cache)[1]
    dx = dlogits @ cache["lm_head"]["weight"]
    dx = dx if around_norm else layer_norm_backward(dx, cache["ln_f"])[0]
    grads = {}
    for i in blocks(range(len(cache["h"]))):
        dx, grads[i] = block_backward(dx, cache["h"][i])
    wte, wpe = cache["wte"]["weight"], np.zeros_like(cache["wpe"]["weight"])
    wpe[: dx.shape[1]] = dx.sum(axis=0)
    shares = {"output": np.einsum("btv,btc->vc", dlogits, cache["lm_head"]["x"]), "embedding": np.zeros_like(wte)}
    np.add.at(shares["embedding"], cache["wte"]["ids"], dx)
    made = right | {
        "wte": {"weight": shares["output"] + shares["embedding"]},
        "wpe": {"weight": wpe},
        "h": [grads[i] for i in range(len(grads))],
    }
    return made if change is None else made | change(made, shares, dx, cache)


def _repeated_ids(made, shares, dx, cache):
    lost = np.zeros_like(shares["embedding"])
    lost[cache["wte"]["ids"]] += dx
    return {"wte": {"weight": shares["output"] + lost}}


MODEL_BACKWARD = Task(
    name="gpt2_backward",
    outputs=("grads",),
    reference=lambda dlogits, cache: gpt2_backward(dlogits, cache)[1],
    forward=_model_with_cache,
    cases=_model_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "wte has only its gradient as the embedding. It is used a second time, at the output layer: both shares "
            "must be added.",
            functools.partial(_model_grads, change=lambda made, shares, *_: {"wte": {"weight": shares["embedding"]}}),
        ),
        Mistake(
            "wte has only its gradient as the output layer. It is used a second time, at the bottom: both shares must "
            "be added.",
            functools.partial(_model_grads, change=lambda made, shares, *_: {"wte": {"weight": shares["output"]}}),
        ),
        Mistake(
            "A token that occurs twice gets the gradient of only one place. `dW[ids] += dx` writes each row once: look "
            "at np.add.at, or at exercise 2.",
            functools.partial(_model_grads, change=_repeated_ids),
        ),
        Mistake(
            "The gradient goes around ln_f on its way down. What did the output layer read?",
            functools.partial(_model_grads, around_norm=True),
        ),
        Mistake(
            "The blocks are run backward from the first to the last. Which one is nearest to the loss?",
            functools.partial(_model_grads, blocks=iter),
        ),
        Mistake(
            "The gradients of the blocks are right but in the wrong order: the last block's come first in the list.",
            functools.partial(_model_grads, change=lambda made, *_: {"h": made["h"][::-1]}),
        ),
        Mistake(
            "The gradient of wpe is a mean over the batch. Each sequence adds its share.",
            functools.partial(
                _model_grads,
                change=lambda made, shares, dx, cache: {"wpe": {"weight": made["wpe"]["weight"] / len(dx)}},
            ),
        ),
    ),
)

TASKS = (BLOCK_FORWARD, BLOCK_BACKWARD, MODEL_FORWARD, BATCH, COUNT, TRAIN, MODEL_BACKWARD)
