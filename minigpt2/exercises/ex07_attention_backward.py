"""Exercise 7, attention backward: through the softmax, through the heads, and through all of it.

As in exercise 6, the steps are written in the same words where they come alone and where they come together.
"""

import itertools
import math

import numpy as np

from minigpt2.components.attention import attention_forward
from minigpt2.exercises.ex06_attention_forward import (
    LOOP_MISTAKES,
    MANY,
    attention_by_blocks,
    attention_cases,
    block_cases,
    block_inputs,
    causal_scores,
    peak_memory,
    replaced,
    softmax_cases,
    softmax_forward,
    too_much_memory,
)
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_3_attention"

# 1. The softmax.


def _softmax_forward(scores):
    """Our forward pass; the backward pass needs only the probabilities."""
    probs = softmax_forward(scores)
    return probs, probs


def softmax_backward(dprobs, probs):
    """Gradient of the softmax: dprobs without its mean, weighted with the shares, and times the shares."""
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))


def _softmax_cases(rng):
    return softmax_cases(rng)[:-1]  # in the thousands every gradient is rounding


MEAN = "(dprobs * probs).sum(axis=-1, keepdims=True)"
INNER = f"(dprobs - {MEAN})"
DSCORES = f"probs * {INNER}"
ROWS_OF_SHARES = "The shares that must sum to 1 are those of one row, one query."

# Mistakes in the softmax's gradient, here and in the attention.
SOFTMAX_MISTAKES = (
    *replaced(
        "The sum over the row is missing in dscores. Every score acts on all shares of its row, because they must sum "
        "to 1. What do your rows of dscores sum to? They should sum to 0.",
        f" - {MEAN}", "",
    ),
    *replaced(
        "p (1 - p) is only the diagonal of the softmax's Jacobian: how a share changes with its own score. Each score "
        "changes the other shares as well.",
        MEAN, "dprobs * probs",
    ),
    *replaced(f"The sum in dscores runs down the columns. {ROWS_OF_SHARES}", "sum(axis=-1", "sum(axis=-2"),
    *replaced(f"The sum in dscores runs over the first axis, the batch. {ROWS_OF_SHARES}", "sum(axis=-1", "sum(axis=0"),
    *replaced("The sum in dscores is one number for all rows. Each row, each query, has its own.", MEAN,
              "(dprobs * probs).sum()"),
    *replaced(
        "The first factor of dscores is missing: a place without a share gets no gradient, and so the mask takes care "
        "of itself. Do your masked places get one?",
        DSCORES, INNER,
    ),
    *replaced(
        "probs multiplies dprobs, but not the sum. Mind the brackets in the formula.",
        DSCORES, f"(probs * dprobs - {MEAN})",
    ),
    *replaced(
        "probs multiplies the sum, but not dprobs. Mind the brackets in the formula.",
        DSCORES, f"(dprobs - probs * {MEAN})",
    ),
    *replaced(
        "Only the last term of the sum in dscores is there. Is each added to those before it?",
        MEAN, "(dprobs * probs)[..., -1:]",
    ),
    *replaced(
        "The sum in dscores is the plain sum of dprobs. It should be a weighted mean: what are its weights?",
        MEAN, "dprobs.sum(axis=-1, keepdims=True)",
    ),
    *replaced(
        "The plain mean of dprobs is subtracted in dscores. It should be a weighted mean: what are its weights?",
        MEAN, "dprobs.mean(axis=-1, keepdims=True)",
    ),
    *replaced(
        "The sum in dscores is divided by the number of shares. With weights that sum to 1 it is a mean already.",
        MEAN, "(dprobs * probs).mean(axis=-1, keepdims=True)",
    ),
    *replaced(
        "The sum in dscores is weighted with the squares of the shares. How often does a share come in?",
        MEAN, "(dprobs * probs * probs).sum(axis=-1, keepdims=True)",
    ),
    *replaced(
        "The two terms of dscores are added. Look at the sign of p_j in the derivative of a share.",
        "(dprobs -", "(dprobs +",
    ),
    *replaced("dscores has the wrong sign.", DSCORES, f"-{DSCORES}"),
    *replaced(
        "A share's derivative with respect to its own score is not complete in dscores. Which term of the sum over all "
        "shares is left out, that of s = j?",
        MEAN, f"({MEAN} - dprobs * probs)",
    ),
    *replaced(
        "That is the gradient of the logarithm of the softmax. Here the loss depends on the shares themselves.",
        DSCORES, "(dprobs - probs * dprobs.sum(axis=-1, keepdims=True))",
    ),
    *replaced(
        "In dscores the gradient and the shares have changed places: which of them is the outer factor?",
        DSCORES, f"dprobs * (probs - {MEAN})",
    ),
    *replaced(
        "All numbers of dscores are 0, up to rounding: dprobs was taken out of the sum, and the rest sums to 0. On "
        "which index does it depend, the one of the sum or the other?",
        MEAN, "dprobs * probs.sum(axis=-1, keepdims=True)",
    ),
    *replaced(
        "The weights were taken out of the sum in dscores. Which share has the index of the sum, and which does not?",
        MEAN, "probs * dprobs.sum(axis=-1, keepdims=True)",
    ),
    *replaced(
        "The softmax is taken once more, of the shares: they are what came out of it.",
        DSCORES, f"(probs := softmax_forward(probs)) * {INNER}",
    ),
    *replaced(
        "The softmax itself is taken of dprobs. A gradient goes through its derivative, which is linear in dprobs.",
        DSCORES, "softmax_forward(dprobs)",
    ),
)  # fmt: skip

SOFTMAX = Task(
    name="softmax_backward",
    outputs=("dscores",),
    reference=softmax_backward,
    forward=_softmax_forward,
    cases=_softmax_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *SOFTMAX_MISTAKES,
        *replaced(
            "The Jacobian comes back, a matrix for each row. How does the chain rule use it, and where is dprobs?",
            DSCORES, "probs[..., :, None] * (np.eye(probs.shape[-1]) - probs[..., None, :])",
        ),
        *replaced(
            "The sum in dscores runs over axis 1. That is the last axis of an array that has two, and here there may "
            "be any number of them.",
            "sum(axis=-1", "sum(axis=1",
        ),
        *replaced(
            "That is the short cut for softmax and cross-entropy together, shares minus target. Here any gradient of "
            "the shares may come in.",
            DSCORES, "(probs - dprobs)", "(dprobs - probs)",
        ),
        *replaced(
            "The rows of dscores are divided by a number that grows with their length. Where does it come from?",
            DSCORES, f"{DSCORES} / probs.shape[-1]", f"{DSCORES} / math.sqrt(probs.shape[-1])",
        ),
        *replaced(
            "There is a mask. A place that was masked has no share, and needs nothing more; and not every softmax is "
            "masked.",
            DSCORES, f"np.tril({DSCORES})", f"np.tril({DSCORES}) if probs.ndim > 1 else {DSCORES}",
        ),
    ),
)  # fmt: skip


# 2. The heads.


def dot_product_attention_forward(q, k, v):
    """heads = softmax(q k^T / sqrt(D)) v with the causal mask, each (B, H, T, D), and everything on the way."""
    scores = causal_scores(q, k)
    probs = softmax_forward(scores)
    heads = probs @ v
    return heads, {"q": q, "k": k, "v": v, "scores": scores, "probs": probs, "heads": heads}


def dot_product_attention_backward(dheads, cache):
    """Gradients of ``dot_product_attention_forward``: dq, dk, dv (B, H, T, D)."""
    q, k, v, probs = cache["q"], cache["k"], cache["v"], cache["probs"]
    D = q.shape[-1]
    dv = probs.swapaxes(-1, -2) @ dheads
    dprobs = dheads @ v.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = dscores @ k / math.sqrt(D)
    dk = dscores.swapaxes(-1, -2) @ q / math.sqrt(D)
    return dq, dk, dv


DV = "probs.swapaxes(-1, -2) @ dheads"
DPROBS = "dheads @ v.swapaxes(-1, -2)"
LAST = "[..., -1:, :].swapaxes(-1, -2) @"  # the last query alone
LAST_DV = (DV, f"probs{LAST} dheads[..., -1:, :]")
LAST_DK = ("dscores.swapaxes(-1, -2) @ q", f"dscores{LAST} q[..., -1:, :]")
UNMASKED = 'softmax_forward(cache["q"] @ cache["k"].swapaxes(-1, -2) / math.sqrt(cache["q"].shape[-1]))'

BY_D = "dq and dk are divided by D. The scores were divided by its root, once: is the root forgotten, or taken twice?"


def _roots(hint, divided):
    """Mistakes: ``divided`` in place of the division by the root, in dq and dk alike."""
    return Mistake(hint, (("k / math.sqrt(D)", f"k {divided}"), ("q / math.sqrt(D)", f"q {divided}")))


# Mistakes in the gradients of q, k and v, here and in the attention.
HEADS_MISTAKES = (
    *SOFTMAX_MISTAKES,
    *replaced("The softmax is skipped: dprobs is used as if it were dscores.", DSCORES, "dprobs",
              "np.tril(dprobs)"),
    _roots("Neither dq nor dk is divided by the root of D. The scores were divided, and so their gradients are.", ""),
    _roots(BY_D, "/ D"),
    _roots("dq and dk are divided by the root of T. By what were the scores divided?", "/ math.sqrt(k.shape[-2])"),
    _roots("dq and dk are divided by the root of C. By what were the scores divided?", "/ math.sqrt(k.shape[1] * D)"),
    _roots("dq and dk are divided by the root of H. By what were the scores divided?", "/ math.sqrt(k.shape[1])"),
    _roots("dq and dk are divided by 8, the root of 64 channels. That is the D of GPT-2, and here it is another.",
           "/ 8"),
    _roots("dq and dk are divided by half of D: that is not its root. (`D**0.5` has two stars.)", "/ (D / 2)"),
    _roots("dq and dk are multiplied by the root of D. What happens to the scores in the forward pass?",
           "* math.sqrt(D)"),
    *replaced("dq is not divided by the root of D, and dk is.", "k / math.sqrt(D)", "k"),
    *replaced("dk is not divided by the root of D, and dq is.", "q / math.sqrt(D)", "q"),
    *replaced(
        "dv is divided by the root of D as well. Do the values go through the scores?",
        DV, f"{DV} / math.sqrt(D)",
    ),
    *replaced(
        "dk adds up the queries with the wrong shares: dscores is not transposed. Each key is met by a column of "
        "dscores.",
        "dscores.swapaxes(-1, -2) @", "dscores @",
    ),
    *replaced(
        "dq adds up the keys with the wrong shares: dscores is transposed. Each query has a row of dscores.",
        "dq = dscores @", "dq = dscores.swapaxes(-1, -2) @",
    ),
    Mistake(
        "dq is made from the queries and dk from the keys. What is a score's derivative with respect to q: what is q "
        "multiplied by?",
        (("k / math.sqrt(D)", "cache['q'] / math.sqrt(D)"), ("q / math.sqrt(D)", "cache['k'] / math.sqrt(D)")),
    ),
    *replaced("dq is made from the queries. What is q multiplied by in the scores?", "k / math", "q * 1 / math"),
    *replaced("dk is made from the keys. What is k multiplied by in the scores?", "q / math", "k * 1 / math"),
    *replaced("dk is made from dq. What is k multiplied by in the scores?", "q / math", "dq / math"),
    *replaced(
        "In dv, probs is not transposed. Each value is used by all later queries: its shares are in a column.",
        "probs.swapaxes(-1, -2)", "probs",
    ),
    *replaced(
        "dv is made with the scores. What are the values multiplied by in the forward pass?",
        "probs.swapaxes(-1, -2)", 'cache["scores"].swapaxes(-1, -2)',
    ),
    *replaced(
        "dprobs is made with the keys. What are the shares multiplied by in the forward pass?",
        DPROBS, "dheads @ k.swapaxes(-1, -2)",
    ),
    *replaced(
        "dprobs is made with the queries. What are the shares multiplied by in the forward pass?",
        DPROBS, "dheads @ q.swapaxes(-1, -2)",
    ),
    *replaced(
        "dprobs is made with the heads, the result of the product. What are the shares multiplied by there?",
        DPROBS, "dheads @ (probs @ v).swapaxes(-1, -2)",
    ),
    *replaced(
        "The sum in dscores is made of dheads and v, for each query with the value at its own place. A query sees more "
        "values than that one.",
        MEAN, "(dheads * v).sum(axis=-1, keepdims=True)",
    ),
    *(
        Mistake(
            f"{names} a part of one query alone. Each key and each value meets many queries: are their parts added?",
            changes,
        )
        for names, changes in (
            ("dk has", (LAST_DK,)), ("dv has", (LAST_DV,)), ("dk and dv have", (LAST_DK, LAST_DV))
        )
    ),
    *replaced(
        "dprobs is transposed. Its rows belong to the queries, like those of probs and of dheads.",
        DPROBS, "v @ dheads.swapaxes(-1, -2)",
    ),
    *replaced(
        "An array has the shape of v's transpose by a reshape, which tears the values apart.",
        DPROBS, "dheads @ v.reshape(*v.shape[:2], v.shape[3], v.shape[2])",
    ),
    *replaced(
        "Keys in the future get a gradient: the shares are those of a softmax that has seen no mask.",
        'cache["probs"]', UNMASKED,
    ),
    *replaced(
        "Keys in the future get a gradient: the shares are those of a softmax that has seen no mask.",
        DSCORES, f"softmax_backward(dprobs, {UNMASKED})",
    ),
    *replaced(
        "The softmax's gradient is made with the scores, which are -inf in places. Which of the two is in its formula, "
        "what goes into the softmax or what comes out?",
        DSCORES, 'softmax_backward(dprobs, cache["scores"])',
    ),
    *replaced(
        "-inf is put into a gradient. It makes a score harmless, since exp(-inf) is 0; in a gradient it spreads. What "
        "gradient does a place have that acts on nothing?",
        DSCORES,
        f'np.where(np.isinf(cache["scores"]), -math.inf, {DSCORES})', f"np.where(probs == 0, -math.inf, {DSCORES})",
        "softmax_backward(np.where(probs == 0, -math.inf, dprobs), probs)",
        'softmax_backward(np.where(np.isinf(cache["scores"]), -math.inf, dprobs), probs)',
    ),
    *replaced(
        "The mask has the wrong half of dscores: the past has lost its gradient. Does dscores need a mask at all?",
        DSCORES, f"np.triu({DSCORES})",
    ),
    *replaced(
        "The diagonal of dscores is lost. Besides the past, which key does a query see?",
        DSCORES, f"np.tril({DSCORES}, -1)",
    ),
    *(
        Mistake(
            "`.T` reverses all axes, of which there are four here. Only the last two should change places.",
            ((f"{name}.swapaxes(-1, -2)", f"{name}.T"),),
        )
        for name in ("probs", "v", "dscores")
    ),
    Mistake(
        "reshape stands in place of the transposes. It changes nothing in an array of T times T numbers, and tears the "
        "rows of any other apart.",
        (
            ("probs.swapaxes(-1, -2)", "probs"),
            ("v.swapaxes(-1, -2)", "v.reshape(*v.shape[:2], v.shape[3], v.shape[2])"),
            ("dscores.swapaxes(-1, -2)", "dscores"),
        ),
    ),
)  # fmt: skip


def _qkv(rng, *shape, scale=1.0):
    q, k, v = (rng.standard_normal(shape) for _ in range(3))
    return {"q": scale * q, "k": scale * k, "v": v}


def _heads_cases(rng):
    return [
        Case("two sequences, two heads, four tokens, three channels", _qkv(rng, 2, 2, 4, 3)),
        Case("one token", _qkv(rng, 2, 3, 1, 4)),
        Case("heads of one channel", _qkv(rng, 1, 4, 5, 1)),
        Case("as many tokens as heads and as channels of a head", _qkv(rng, 3, 3, 3, 3)),
        Case("more tokens than channels", _qkv(rng, 1, 2, 17, 5)),
        Case("scores in the thousands", _qkv(rng, 1, 2, 4, 8, scale=60.0)),
    ]


# In which the results may come back, before and after another mistake.
OTHER_ORDERS = tuple(
    Mistake(
        f"The order is not as expected: {', '.join(order)} come back, as dq, dk, dv.",
        (("return dq, dk, dv", f"return {', '.join(order)}"),),
    )
    for order in itertools.permutations(("dq", "dk", "dv"))
    if order != ("dq", "dk", "dv")
)

HEADS = Task(
    name="dot_product_attention_backward",
    outputs=("dq", "dk", "dv"),
    reference=dot_product_attention_backward,
    forward=dot_product_attention_forward,
    cases=_heads_cases,
    notebook=NOTEBOOK,
    mistakes=(*HEADS_MISTAKES, *OTHER_ORDERS),
)


# 3. All of it.


def full_forward(x, params, n_head):
    """``attention_forward`` with everything that a backward pass may want in the cache.

    returns y and the library's cache with x, params, n_head, qkv (B, T, 3C) and scores (B, H, T, T) as well.
    """
    y, cache = attention_forward(x, params, n_head)
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
    scores = causal_scores(cache["q"], cache["k"])
    return y, cache | {"x": x, "params": params, "n_head": n_head, "qkv": qkv, "scores": scores}


def attention_backward(dy, cache):
    """Gradients of ``attention_forward``: dx and grads, nested like the parameters."""
    q, k, v, probs = cache["q"], cache["k"], cache["v"], cache["probs"]
    x, heads, n_head = cache["x"], cache["heads"], cache["n_head"]
    W_attn, W_proj = (cache["params"][name]["weight"] for name in ("c_attn", "c_proj"))
    B, T, C = x.shape
    D = C // n_head
    dmerged = dy @ W_proj.T
    dheads = dmerged.reshape(B, T, n_head, D).transpose(0, 2, 1, 3)
    dv = probs.swapaxes(-1, -2) @ dheads
    dprobs = dheads @ v.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = dscores @ k / math.sqrt(D)
    dk = dscores.swapaxes(-1, -2) @ q / math.sqrt(D)
    dqkv = np.concatenate([part.transpose(0, 2, 1, 3).reshape(B, T, C) for part in (dq, dk, dv)], axis=-1)
    dx = dqkv @ W_attn.T
    c_attn = {"weight": x.reshape(-1, C).T @ dqkv.reshape(-1, 3 * C), "bias": dqkv.sum(axis=(0, 1))}
    c_proj = {"weight": heads.reshape(-1, C).T @ dy.reshape(-1, C), "bias": dy.sum(axis=(0, 1))}
    return dx, {"c_attn": c_attn, "c_proj": c_proj}


CUT = "dmerged.reshape(B, T, n_head, D).transpose(0, 2, 1, 3)"
PART = "part.transpose(0, 2, 1, 3).reshape(B, T, C)"
JOINED = f"np.concatenate([{PART} for part in (dq, dk, dv)], axis=-1)"
DX = "dqkv @ W_attn.T"
DWEIGHTS = "x.reshape(-1, C).T @ dqkv.reshape(-1, 3 * C)", "heads.reshape(-1, C).T @ dy.reshape(-1, C)"
DBIASES = "dqkv.sum(axis=(0, 1))", "dy.sum(axis=(0, 1))"
FROM_DMERGED = (
    (DWEIGHTS[1], "heads.reshape(-1, C).T @ dmerged.reshape(-1, C)"),
    (DBIASES[1], "dmerged.sum(axis=(0, 1))"),
)


def _in_both(hint, olds, *texts):
    """Mistakes in the gradients of both layers: pairs of texts in place of ``olds``, in one of them or in both."""
    for one, other in texts:
        changes = (olds[0], one), (olds[1], other)
        yield Mistake(f"{hint.format('c_attn and c_proj')}", changes)
        yield Mistake(f"{hint.format('c_attn')}", changes[:1])
        yield Mistake(f"{hint.format('c_proj')}", changes[1:])


ATTENTION = Task(
    name="attention_backward",
    outputs=("dx", "grads"),
    reference=attention_backward,
    forward=full_forward,
    cases=attention_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *HEADS_MISTAKES,
        *replaced(
            "The gradients of q, k and v are put together in a different order from the one in which qkv was cut.",
            "(dq, dk, dv)", "(dq, dv, dk)", "(dk, dq, dv)", "(dk, dv, dq)", "(dv, dq, dk)", "(dv, dk, dq)",
        ),
        *replaced(
            "dq, dk and dv are side by side within each head. In the 3C columns of qkv all queries come first, then "
            "all keys, then all values.",
            JOINED, "np.stack([dq, dk, dv], axis=3).swapaxes(1, 2).reshape(B, T, 3 * C)",
        ),
        *replaced(
            "The channels of dq, dk and dv take turns. In the 3C columns of qkv all queries come first, then all keys, "
            "then all values.",
            JOINED, f"np.stack([{PART} for part in (dq, dk, dv)], axis=-1).reshape(B, T, 3 * C)",
        ),
        *replaced(
            "dq, dk and dv are not put side by side in the columns. Along which axis was qkv cut?",
            JOINED,
            f"np.concatenate([{PART} for part in (dq, dk, dv)], axis=1)",
            f"sum({PART} for part in (dq, dk, dv))",
        ),
        *replaced(
            "dq, dk and dv are brought from (B, H, T, D) to (B, T, C) by a reshape alone, which mixes up tokens and "
            "heads. How does merge_heads do it?",
            PART, "part.reshape(B, T, C)",
        ),
        *replaced(
            "dq, dk and dv are merged so that the heads are shuffled into each other. How does merge_heads do it?",
            PART, "part.transpose(0, 2, 3, 1).reshape(B, T, C)",
        ),
        *replaced(
            "The gradient of the merged heads is cut into heads by a reshape alone, which mixes up tokens and heads. "
            "How does split_heads do it?",
            CUT, "dmerged.reshape(B, n_head, T, D)",
        ),
        *replaced(
            "The channels of the merged heads' gradient are dealt out like cards. How does split_heads do it?",
            CUT, "dmerged.reshape(B, T, D, n_head).transpose(0, 3, 1, 2)",
        ),
        *replaced(
            "dy goes into the heads unchanged. There is a linear layer between the heads and y.",
            "dy @ W_proj.T", "dy",
        ),
        *replaced(
            "On the way back through c_proj its weight is not transposed. It is square, so NumPy does not complain. "
            "Which axis of it holds the outputs?",
            "dy @ W_proj.T", "dy @ W_proj",
        ),
        *replaced(
            "The gradient of c_proj's weight is made with x. What does this weight multiply in the forward pass?",
            "heads.reshape(-1, C)", "x.reshape(-1, C)",
        ),
        *replaced(
            "The gradient of c_proj's weight is made with y, its output. It needs the layer's input.",
            "heads.reshape(-1, C)", "cache['out'].reshape(-1, C)",
        ),
        *replaced(
            "The gradient of c_proj's weight is made with the values. What does this weight multiply in the forward "
            "pass?",
            "heads.reshape(-1, C)", "v.transpose(0, 2, 1, 3).reshape(-1, C)",
        ),
        *replaced(
            "The gradient of c_proj's weight is made with heads that a reshape has put together. In the cache they are "
            "merged already.",
            "heads.reshape(-1, C)", "(probs @ v).reshape(-1, C)",
        ),
        *(
            Mistake(
                "The gradients of c_proj's parameters are made with dmerged, the gradient of its input. What do weight "
                "and bias act on directly?",
                changes,
            )
            for changes in (FROM_DMERGED, FROM_DMERGED[:1], FROM_DMERGED[1:])
        ),
        *replaced(
            "The gradient of c_attn's weight is made with the heads. What does this weight multiply in the forward "
            "pass?",
            "x.reshape(-1, C)", "cache['heads'].reshape(-1, C)",
        ),
        *replaced(
            "The gradient of c_attn's weight is made with dx. It needs the layer's input and the gradient of its "
            "output.",
            "x.reshape(-1, C)", "dx.reshape(-1, C)",
        ),
        *_in_both(
            "The biases' gradients ({}) are means. A bias is added to every token; is there a 1/N in the forward pass?",
            DBIASES,
            ("dqkv.mean(axis=(0, 1))", "dy.mean(axis=(0, 1))"),
            ("dqkv.sum(axis=(0, 1)) / B", "dy.sum(axis=(0, 1)) / B"),
        ),
        *_in_both(
            "The weights' gradients ({}) are means. Each token adds its part to the loss; is there a 1/N in the "
            "forward pass?",
            DWEIGHTS,
            *((f"{DWEIGHTS[0]} / {number}", f"{DWEIGHTS[1]} / {number}") for number in ("(B * T)", "B")),
        ),
        *_in_both(
            "The biases' gradients ({}) still have the axes of batch and time. One bias is added to all tokens.",
            DBIASES,
            ("dqkv", "dy"),
        ),
        *_in_both(
            "The biases' gradients ({}) are summed over batch or over time only. One bias is added to all tokens.",
            DBIASES,
            ("dqkv.sum(axis=0)", "dy.sum(axis=0)"),
            ("dqkv.sum(axis=1)", "dy.sum(axis=1)"),
        ),
        *_in_both(
            "The biases' gradients ({}) are summed over the channels. Each channel has a bias of its own.",
            DBIASES,
            ("dqkv.sum(axis=-1)", "dy.sum(axis=-1)"),
        ),
        *_in_both(
            "The weights' gradients ({}) are made with a reshape to (C, B T), which tears the tokens apart.",
            DWEIGHTS,
            ("x.reshape(C, -1) @ dqkv.reshape(-1, 3 * C)", "heads.reshape(C, -1) @ dy.reshape(-1, C)"),
        ),
        *_in_both(
            "The weights' gradients ({}) still have the axis of the batch. All sequences share one weight.",
            DWEIGHTS,
            ("x.swapaxes(-1, -2) @ dqkv", "heads.swapaxes(-1, -2) @ dy"),
        ),
        *_in_both(
            "The weights' gradients ({}) are transposed. They have the shape of the weights, (in, out).",
            DWEIGHTS,
            ("dqkv.reshape(-1, 3 * C).T @ x.reshape(-1, C)", "dy.reshape(-1, C).T @ heads.reshape(-1, C)"),
        ),
        *replaced(
            "dx has only one of its three parts. x is used for the queries, for the keys and for the values: what "
            "happens to the gradients of something that is used several times?",
            DX, *(f"dqkv[..., {part}] @ W_attn[:, {part}].T" for part in (":C", "C : 2 * C", "2 * C :")),
        ),
        *replaced(
            "dqkv comes back as dx. What made qkv from x?",
            DX, "dqkv",
        ),
        *replaced(
            "dx is the mean of three parts. x is used for the queries, for the keys and for the values: what happens "
            "to the gradients of something that is used several times?",
            DX, f"{DX} / 3",
        ),
        *replaced(
            "The weight of c_attn was given the shape of its transpose by a reshape, which tears its rows apart.",
            DX, "dqkv @ W_attn.reshape(3 * C, C)",
        ),
        *replaced(
            "dy is added to dx. That is the residual connection's gradient, which belongs to the block.",
            DX, f"dy + {DX}",
        ),
    ),
)  # fmt: skip


# The harder part: without the probabilities.


def _blocks_forward(q, k, v, size):
    """Our forward pass, whose cache has no array of T times S numbers."""
    head, log_sums = attention_by_blocks(q, k, v, size)
    return head, {"q": q, "k": k, "v": v, "size": size, "head": head, "log_sums": log_sums}


def attention_by_blocks_backward(dhead, cache):
    """Gradients of ``attention_by_blocks``' head, from the logarithms of the sums.

        probs = exp(scores - log_sums)      dscores = probs * (dprobs - sum_d(dhead * head))

    Source: Dao et al. 2022, "FlashAttention", algorithm 4.
    """
    q, k, v, size = cache["q"], cache["k"], cache["v"], cache["size"]
    D = q.shape[1]
    log_sums = cache["log_sums"][:, None]
    weighted = (dhead * cache["head"]).sum(axis=1, keepdims=True)
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for start in range(0, len(k), size):
        block = slice(start, start + size)
        scores = q @ k[block].T / math.sqrt(D)
        p = np.exp(scores - log_sums)
        dprobs = dhead @ v[block].T
        dscores = p * (dprobs - weighted)
        dq += dscores @ k[block] / math.sqrt(D)
        dk[block] = dscores.T @ q / math.sqrt(D)
        dv[block] = p.T @ dhead
    return dq, dk, dv


def _blocks_cases(rng):
    return [*block_cases(rng), Case("scores in the thousands", block_inputs(rng, 3, 7, 4, 2, scale=60.0))]


def _by_blocks_alone(function):
    rng = np.random.default_rng(0)
    head, cache = _blocks_forward(**block_inputs(rng, **MANY))
    return too_much_memory(peak_memory(function, (rng.standard_normal(head.shape), cache)))


P = "np.exp(scores - log_sums)"
WEIGHTED = '(dhead * cache["head"]).sum(axis=1, keepdims=True)'
BLOCK_DQ = "k[block] / math.sqrt(D)"
BLOCK_DK = "q / math.sqrt(D)"

BLOCKS = Task(
    name="attention_by_blocks_backward",
    outputs=("dq", "dk", "dv"),
    reference=attention_by_blocks_backward,
    forward=_blocks_forward,
    cases=_blocks_cases,
    notebook=NOTEBOOK,
    limit=("it never has all probabilities at once", _by_blocks_alone),
    mistakes=(
        *replaced(
            "The sum in dscores runs over the keys of one block. It must be that of the whole row, which you can "
            "compute before you have seen all its shares: look at the formula with dhead and head.",
            "(dprobs - weighted)", "(dprobs - (dprobs * p).sum(axis=1, keepdims=True))",
        ),
        *replaced(
            "Nothing is subtracted from dprobs: the softmax's gradient has two terms.",
            "(dprobs - weighted)", "dprobs",
        ),
        *replaced("The two terms of dscores are added. Look at their signs.", "dprobs - weighted", "dprobs + weighted"),
        *replaced(
            "The sum of dhead times head is one number for all queries. Each of them has its own.",
            WEIGHTED, '(dhead * cache["head"]).sum()',
        ),
        *replaced(
            "The sum of dhead times head is divided by D. Which sums does the formula exchange, and is one a mean?",
            WEIGHTED, '(dhead * cache["head"]).mean(axis=1, keepdims=True)',
        ),
        *replaced(
            "The sum beside dprobs is made without dhead: every term must have a gradient in it.",
            WEIGHTED, '(cache["head"] ** 2).sum(axis=1, keepdims=True)', 'cache["head"].sum(axis=1, keepdims=True)',
        ),
        *replaced(
            "The sum beside dprobs is made of dhead alone. What is multiplied by it in the formula?",
            WEIGHTED, "dhead.sum(axis=1, keepdims=True)",
        ),
        *replaced(
            "The sum beside dprobs is made with the queries. What is multiplied by dhead in the formula?",
            WEIGHTED, "(dhead * q).sum(axis=1, keepdims=True)",
        ),
        *replaced(
            "The shares multiply dprobs, but not what is subtracted from it. Mind the brackets in the formula.",
            "p * (dprobs - weighted)", "(p * dprobs - weighted)",
        ),
        *replaced(
            "The first factor of dscores, the shares, is missing.",
            "p * (dprobs - weighted)", "(dprobs - weighted)",
        ),
        *replaced(
            "The shares of each block sum to 1 by themselves. Those of all blocks together must: divide by the sum of "
            "the whole row, which log_sums knows.",
            P, "softmax_forward(scores)",
        ),
        *replaced("The exponentials are not divided by the sum of the row.", P, "np.exp(scores)"),
        *replaced(
            "The exponentials are divided by log_sums, which are logarithms.",
            P, "np.exp(scores) / log_sums",
        ),
        *replaced(
            "exp of a large score overflows before it is divided by the sum. Subtract the logarithm first.",
            P, "np.exp(scores) / np.exp(log_sums)",
        ),
        *replaced(
            "A maximum is subtracted from the scores as well as log_sums. Which of the two keeps exp from overflowing "
            "here, and what does the other do to the shares?",
            P, "np.exp(scores - scores.max(axis=1, keepdims=True) - log_sums)",
        ),
        *replaced("The sign in the exponent is turned round.", P, "np.exp(log_sums - scores)"),
        *replaced("log_sums are added in the exponent. Where is a sum, in a fraction?", P, "np.exp(scores + log_sums)"),
        *replaced("The shares are powers of another base than e.", P, "np.exp2(scores - log_sums)"),
        *replaced(
            "There is a mask, and here each query sees all keys.",
            P, f"np.where(np.arange(len(q))[:, None] >= np.arange(len(k))[block], {P}, 0)",
        ),
        *replaced(
            "The scores are computed again without the root of D, and so they are others than in the forward pass.",
            "k[block].T / math.sqrt(D)", "k[block].T",
        ),
        *replaced("dq is that of the last block. Every query meets the keys of all blocks.", "dq +=", "dq ="),
        *replaced(
            "dprobs is made with the keys. What are the shares multiplied by in the forward pass?",
            "dhead @ v[block].T", "dhead @ k[block].T",
        ),
        *replaced("dk is made from dhead. What is k multiplied by in the scores?", "q / math", "dhead / math"),
        *replaced("dq is made from the values. What is q multiplied by in the scores?", "dscores @ k[block]",
                  "dscores @ v[block]"),
        Mistake("Neither dq nor dk is divided by the root of D.", ((BLOCK_DQ, "k[block]"), (BLOCK_DK, "q"))),
        Mistake(BY_D, ((BLOCK_DQ, "k[block] / D"), (BLOCK_DK, "q / D"))),
        *replaced("dq is not divided by the root of D, and dk is.", BLOCK_DQ, "k[block]"),
        *replaced("dk is not divided by the root of D, and dq is.", BLOCK_DK, "q"),
        *LOOP_MISTAKES,
        *replaced(
            "The blocks overlap, by a key that belongs to two of them. Where does a block end?",
            "slice(start, start + size)", "slice(start, start + size + 1)",
        ),
        *replaced(
            "The last key of each block is missing. Is the end of a slice in it?",
            "slice(start, start + size)", "slice(start, start + size - 1)",
        ),
        *OTHER_ORDERS,
    ),
)  # fmt: skip

TASKS = (SOFTMAX, HEADS, ATTENTION, BLOCKS)
