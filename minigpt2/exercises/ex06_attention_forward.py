"""Exercise 6, attention forward: softmax, heads, scores with a mask, and all of it together.

The steps are written in the same words where they come alone and where they come together, so that a mistake, which
changes such words, is the same in both.
"""

import functools
import math
import tracemalloc

import numpy as np

from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_3_attention"


def replaced(hint, old, *texts):
    """Mistakes with one hint, in each of which another text stands in place of ``old``."""
    return tuple(Mistake(hint, ((old, text),)) for text in texts)


# 1. The softmax.


def softmax_forward(scores):
    """Each row's exponentials, divided by their sum; without the row's maximum they would overflow."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_cases(rng):
    """The cases in which the softmax is tried."""
    masked = rng.standard_normal((2, 1, 5, 5))
    masked[..., np.triu_indices(5, 1)[0], np.triu_indices(5, 1)[1]] = -np.inf
    far = rng.standard_normal((4, 3)) + np.array([[-5000.0], [0.0], [3000.0], [-20.0]])
    return [
        Case("two times three rows of four scores", {"scores": 2 * rng.standard_normal((2, 3, 4))}),
        Case("as many rows as scores", {"scores": rng.standard_normal((5, 5))}),
        Case("a single row", {"scores": rng.standard_normal(7)}),
        Case("a single score in each row", {"scores": rng.standard_normal((3, 2, 1))}),
        Case("equal scores", {"scores": np.full((2, 6), 3.5)}),
        Case("-inf where nothing may be seen", {"scores": masked}),
        Case("rows that are far from each other", {"scores": far}),
        Case("scores in the thousands", {"scores": 3000 * rng.standard_normal((2, 3, 4))}),
    ]


MAXIMUM = "scores.max(axis=-1, keepdims=True)"
EXP = f"np.exp(scores - {MAXIMUM})"
SUM = "e.sum(axis=-1, keepdims=True)"
SHARES = f"e / {SUM}"
CUTS = 50, 80, 88, 100, 500, 700, 709  # what people take for the largest number that exp can have


def _over(axis, hint):
    """Mistakes: the softmax over another axis, with the maximum over the same one or over the right one."""
    wrong_sum = (SUM, f"e.sum(axis={axis}, keepdims=True)")
    wrong_maximum = (MAXIMUM, f"scores.max(axis={axis}, keepdims=True)")
    return Mistake(hint, (wrong_maximum, wrong_sum)), Mistake(hint, (wrong_sum,))


# Mistakes in the softmax, here and in the attention.
SOFTMAX_MISTAKES = (
    *_over(
        -2,
        "The softmax runs down the columns, so the shares that all queries give to one key sum to 1. Each row is a "
        "query that divides its attention: along which axis are its numbers?",
    ),
    *_over(
        0,
        "The softmax is taken over the first axis, which counts the examples of the batch. Along which axis are the "
        "scores of one row?",
    ),
    *_over(
        None,
        "The softmax is taken over all numbers at once, so all rows together sum to 1. Each row must sum to 1 by "
        "itself.",
    ),
    *replaced(
        "From the scores of one row different numbers are subtracted, and these do not cancel. Along which axis is the "
        "maximum taken?",
        "max(axis=-1",
        "max(axis=-2", "max(axis=0", "max(axis=1",
    ),
    *replaced(
        "exp of a large score overflows, or exp of all scores of a row is 0, and then inf / inf or 0 / 0 is NaN. "
        "Adding one number to all scores of a row changes nothing: which one makes exp safe?",
        EXP,
        "np.exp(scores)",
    ),
    *replaced(
        "What is subtracted from a row may lie far below its largest score, and then exp overflows. How large may the "
        "largest exponent be?",
        MAXIMUM,
        "scores.min(axis=-1, keepdims=True)", "scores.mean(axis=-1, keepdims=True)",
    ),
    *replaced(
        "The signs are turned round in the exponent: the largest score gets the smallest share.",
        EXP,
        f"np.exp({MAXIMUM} - scores)",
    ),
    *replaced("The exponentials are not divided by their sum: rows do not sum to 1.", SHARES, "e"),
)  # fmt: skip

SOFTMAX = Task(
    name="softmax_forward",
    outputs=("probs",),
    reference=softmax_forward,
    cases=softmax_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *SOFTMAX_MISTAKES,
        *replaced(
            "One maximum, that of the whole array, is subtracted everywhere. In a row far below it, exp of all scores "
            "is 0. What belongs to the row?",
            MAXIMUM,
            "scores.max()",
        ),
        *_over(
            1,
            "The softmax is taken over axis 1. That is the last axis of an array that has two, and here there may be "
            "any number of them.",
        ),
        *replaced(
            "What is subtracted is not the largest score, but the largest one without its sign. In a row far below 0, "
            "exp of all scores is 0.",
            "scores.max",
            "np.abs(scores).max",
        ),
        *replaced(
            "Scores beyond a limit are cut off before exp. That keeps it finite, but all scores beyond the limit "
            "become equal. What can be done to a row that changes none of its shares?",
            EXP,
            *(f"np.exp(np.clip(scores, -{limit}, {limit}))" for limit in CUTS),
            *(f"np.exp(np.minimum(scores, {limit}))" for limit in CUTS),
        ),
        *replaced(
            "The maximum is subtracted below the line of the fraction only, and so it does not cancel.",
            SHARES,
            f"np.exp(scores) / {SUM}",
        ),
        *replaced(
            "The maximum is subtracted above the line of the fraction only, and so it does not cancel.",
            SUM,
            "np.exp(scores).sum(axis=-1, keepdims=True)",
        ),
        *replaced("The shares are powers of another base than e.", EXP, f"np.exp2(scores - {MAXIMUM})"),
        *replaced(
            "The exponentials are divided by another number than their sum: rows do not sum to 1.",
            SUM,
            "e.mean(axis=-1, keepdims=True)", "scores.sum(axis=-1, keepdims=True)", "scores.shape[-1]",
        ),
        *replaced(
            "A small number is added to the sum, and the shares sum to a little less than 1. Could the sum be 0, once "
            "the exponents are safe?",
            SUM,
            *(f"({SUM} + {epsilon})" for epsilon in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)),
        ),
        Mistake(
            "NaN is replaced by a number afterwards, and the shares of that row are lost. Which number makes exp safe, "
            "so that there is no NaN?",
            ((EXP, "np.exp(scores)"), (SHARES, f"np.nan_to_num({SHARES})")),
        ),
        *replaced(
            "The scores themselves are divided by their sum: where is exp? Shares must be positive, and scores need "
            "not be.",
            EXP,
            "scores", f"(scores - {MAXIMUM})",
        ),
        *replaced(
            "These are the logarithms of the shares.",
            SHARES,
            f"np.log({SHARES})", f"scores - {MAXIMUM} - np.log({SUM})",
        ),
        *replaced(
            "The largest score gets everything. The others should have their shares, too, if small ones.",
            SHARES,
            f"(scores == {MAXIMUM}) * np.ones_like(scores)",
        ),
        Mistake(
            "Each score is squeezed between 0 and 1 by itself, and rows do not sum to 1. Where do the other scores of "
            "the row come in?",
            lambda scores: 1 / (1 + np.exp(-scores)),
        ),
    ),
)  # fmt: skip


# 2. The heads.


def split_heads(x, n_head):
    """(B, T, C) -> (B, H, T, D): the channels of each token are cut into H runs of D."""
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def merge_heads(heads):
    """(B, H, T, D) -> (B, T, C): the heads of each token are put side by side again."""
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)


def _split_cases(rng):
    counted = np.arange(48.0).reshape(2, 4, 6)
    return [
        Case("two sequences of four tokens, two heads of three channels", {"x": counted, "n_head": 2}),
        Case("one head", {"x": rng.standard_normal((2, 3, 4)), "n_head": 1}),
        Case("heads of one channel", {"x": rng.standard_normal((1, 2, 4)), "n_head": 4}),
        Case("one token", {"x": rng.standard_normal((3, 1, 8)), "n_head": 4}),
        Case("as many tokens as heads and as channels of a head", {"x": rng.standard_normal((3, 4, 16)), "n_head": 4}),
        Case("three heads of four channels", {"x": rng.standard_normal((2, 7, 12)), "n_head": 3}),
    ]


CUT = "x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)"

SPLIT = Task(
    name="split_heads",
    outputs=("heads",),
    reference=split_heads,
    cases=_split_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *replaced(
            "The shape is right and the numbers are in the wrong places: a reshape alone fills the heads with runs of "
            "whole tokens. First cut only the last axis; then move an axis.",
            CUT, "x.reshape(B, n_head, T, C // n_head)",
        ),
        *replaced(
            "The channels are dealt out like cards, every H-th one to the same head. A head has D neighbours: which of "
            "the two axes that C becomes comes first?",
            CUT, "x.reshape(B, T, C // n_head, n_head).transpose(0, 3, 1, 2)",
        ),
        *replaced(
            "The channels are cut correctly, but the axes are still in the order (B, T, H, D).",
            CUT, "x.reshape(B, T, n_head, C // n_head)",
        ),
        *replaced(
            "Time and channels of each head are exchanged: (B, H, D, T).",
            CUT, "x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 3, 1)",
        ),
        *replaced(
            "n_head is used as the size of a head. It is their number.",
            CUT, "x.reshape(B, T, C // n_head, n_head).transpose(0, 2, 1, 3)",
        ),
        *replaced(
            "The heads come before the batch: (H, B, T, D).",
            CUT, "x.reshape(B, T, n_head, C // n_head).transpose(2, 0, 1, 3)",
        ),
        *replaced(
            "There are always two heads. Where does n_head come in?",
            CUT, "x.reshape(B, T, 2, C // 2).transpose(0, 2, 1, 3)",
        ),
        *replaced(
            "The shape is right and the numbers are in the wrong places: time and channels were exchanged before the "
            "cut, and the reshape fills the rows of a head with one channel of several tokens.",
            CUT, "x.transpose(0, 2, 1).reshape(B, n_head, T, C // n_head)",
        ),
    ),
)


def _merge_cases(rng):
    counted = np.arange(48.0).reshape(2, 2, 4, 3)
    return [
        Case("two sequences of four tokens, two heads of three channels", {"heads": counted}),
        Case("one head", {"heads": rng.standard_normal((2, 1, 3, 5))}),
        Case("heads of one channel", {"heads": rng.standard_normal((1, 3, 2, 1))}),
        Case("one token", {"heads": rng.standard_normal((3, 4, 1, 2))}),
        Case("as many tokens as heads and as channels of a head", {"heads": rng.standard_normal((2, 3, 3, 3))}),
        Case("three heads of four channels", {"heads": rng.standard_normal((2, 3, 7, 4))}),
    ]


JOINED = "heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)"

MERGE = Task(
    name="merge_heads",
    outputs=("x",),
    reference=merge_heads,
    cases=_merge_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *replaced(
            "The shape is right and the numbers are in the wrong places: a token is filled with one head's numbers for "
            "several tokens. Before the reshape, H and D must be neighbours.",
            JOINED, "heads.reshape(B, T, H * D)",
        ),
        *replaced(
            "The heads are shuffled into each other, one channel of each in turn. They should be side by side: which "
            "of the last two axes comes first?",
            JOINED, "heads.transpose(0, 2, 3, 1).reshape(B, T, H * D)",
        ),
        *replaced(
            "The axes of time and channels are exchanged before the reshape, which fills a token with one channel of "
            "several tokens.",
            JOINED, "heads.transpose(0, 3, 1, 2).reshape(B, T, H * D)",
        ),
        *replaced(
            "The axes are in the right order, but H and D are still two axes.",
            JOINED, "heads.transpose(0, 2, 1, 3)",
        ),
        *replaced(
            "The heads are put one after the other in time. They belong side by side in the channels of each token.",
            JOINED, "heads.reshape(B, H * T, D)",
        ),
        *replaced(
            "The examples of the batch are put side by side, not the heads: which axis does a loop over the array run "
            "along?",
            JOINED, "np.concatenate(list(heads), axis=-1)",
        ),
        *replaced(
            "The heads are side by side, but the last one comes first.",
            JOINED,
            "heads[:, ::-1].transpose(0, 2, 1, 3).reshape(B, T, H * D)",
        ),
        *replaced(
            "The heads are added up, or averaged. Nothing is computed here: all numbers stay unchanged.",
            JOINED, "heads.sum(axis=1)", "heads.mean(axis=1)",
        ),
    ),
)


# 3. The scores.


def causal_scores(q, k):
    """q k^T / sqrt(D), and -inf where the key comes after the query."""
    T, D = q.shape[-2:]
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(D)
    return np.where(np.tri(T, dtype=bool), scores, -math.inf)


ROOT = "/ math.sqrt(D)"
ALLOWED = "np.tri(T, dtype=bool)"
MASKED = f"np.where({ALLOWED}, scores, -math.inf)"


def _too_high(*numbers):
    """Two ways to mask with ``-number``: in place of the score, and added to it."""
    return [
        change
        for number in numbers
        for change in (("scores, -math.inf", f"scores, -{number}"), (MASKED, f"scores - {number} * (1 - np.tri(T))"))
    ]


def _far_too_high(number):
    """A function, not a change: beside numbers as large as these, another mistake could not be told from rounding."""

    def wrong(q, k, added=0):
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
        return np.where(np.tri(q.shape[-2], dtype=bool), scores, added * scores - number)

    return wrong


# Mistakes in the scores, here and in the attention.
SCORE_MISTAKES = (
    *replaced(
        "The scores are not divided: a sum of D products grows with D, and so the softmax would see ever larger "
        "numbers. Look at the denominator.",
        ROOT, "",
    ),
    *replaced(
        "The scores are divided by D. Their variance grows like D; what is the unit of the scores themselves?",
        ROOT, "/ D",
    ),
    *replaced(
        "The scores are divided by the root of C, all channels. How many products are there in the sum of one head?",
        ROOT, "/ math.sqrt(q.shape[1] * D)",
    ),
    *replaced("The scores are divided by the root of T. Over which axis of q does q k^T sum?", ROOT, "/ math.sqrt(T)"),
    *replaced(
        "The scores are divided by the root of B, the length of the first axis. Over which axis of q does q k^T sum?",
        ROOT, "/ math.sqrt(len(q))",
    ),
    *replaced(
        "The scores are divided by the root of H, the number of heads. Over which axis of q does q k^T sum?",
        ROOT, "/ math.sqrt(q.shape[1])",
    ),
    *replaced("The scores are multiplied by the root of D, which makes them larger still.", ROOT, "* math.sqrt(D)"),
    *replaced(
        "The scores are divided by half of D: that is not its root. (`D**0.5` has two stars.)",
        ROOT, "/ (D / 2)",
    ),
    *replaced(
        "The scores are cut to whole numbers: `//` is a division without its remainder.",
        ROOT, "// math.sqrt(D)",
    ),
    *replaced("There is no mask: every token sees those that come after it.", MASKED, "scores"),
    *replaced(
        "The mask has taken the place of the scores: all allowed places have 0. What happens to the scores?",
        MASKED, f"np.where({ALLOWED}, 0.0, -math.inf)", f"np.where({ALLOWED}, 0.0 * scores, -math.inf)",
    ),
    *replaced(
        "0 times infinity is NaN: the mask is multiplied by infinity, and it has zeros. How can a number be chosen "
        "without a product?",
        MASKED,
        "scores + (1 - np.tri(T)) * -math.inf",
        "scores * np.tri(T) + (1 - np.tri(T)) * -math.inf",
        "scores + np.tri(T) * -math.inf",
        "scores + np.tri(T, k=-1).T * -math.inf",
    ),
    *replaced(
        "The mask is off by one: a token does not see itself, and the first one has nothing at all to look at. Is the "
        "diagonal allowed?",
        ALLOWED, "np.tri(T, k=-1, dtype=bool)",
    ),
    *replaced(
        "The mask is off by one: every token sees the next one, the very token that it should predict. Where does the "
        "forbidden part begin, on the diagonal or beside it?",
        ALLOWED, "np.tri(T, k=1, dtype=bool)",
    ),
    *replaced(
        "The wrong half is masked: tokens see the future and not the past. Rows are queries, columns are keys.",
        ALLOWED, "np.tri(T, dtype=bool).T", "~np.tri(T, dtype=bool)",
    ),
    *replaced("Every token sees itself alone. Those before it are allowed as well.", ALLOWED, "np.eye(T, dtype=bool)"),
    *replaced(
        "Forbidden places have the score 0. That is not a mask: 0 is a score like any other, and exp(0) = 1. Which "
        "score has an exp of 0?",
        "-math.inf", "0.0",
    ),
    *replaced(
        "Forbidden places have the score +infinity, and it should be the lowest of all. Look at its sign.",
        "-math.inf", "math.inf",
    ),
    *replaced(
        "`k.T` reverses all four axes. Only the last two should change places.",
        "q @ k.swapaxes(-1, -2)", "q @ k.T",
    ),
    *replaced(
        "k is not transposed: a score is the dot product of a row of q and a row of k.",
        "q @ k.swapaxes(-1, -2)", "q @ k",
    ),
    *replaced(
        "k has the shape of its transpose, (..., D, T), by a reshape. That keeps the numbers in their order and tears "
        "the keys apart.",
        "q @ k.swapaxes(-1, -2)", "q @ k.reshape(*k.shape[:2], D, T)",
    ),
    *replaced(
        "The queries meet each other. Whom should they meet?",
        "q @ k.swapaxes(-1, -2)", "q @ q.swapaxes(-1, -2)",
    ),
    *replaced(
        "The keys meet each other. Where do the queries come in?",
        "q @ k.swapaxes(-1, -2)", "k @ k.swapaxes(-1, -2)",
    ),
)


def _heads(rng, *shape, scale=1.0):
    return {"q": scale * rng.standard_normal(shape), "k": scale * rng.standard_normal(shape)}


def _score_cases(rng):
    return [
        Case("two sequences, two heads, four tokens, three channels", _heads(rng, 2, 2, 4, 3)),
        Case("one token", _heads(rng, 2, 3, 1, 4)),
        Case("heads of one channel", _heads(rng, 1, 4, 5, 1)),
        Case("as many tokens as heads and as channels of a head", _heads(rng, 3, 3, 3, 3)),
        Case("more tokens than channels", _heads(rng, 1, 2, 17, 5)),
        Case("scores in the thousands", _heads(rng, 1, 2, 4, 8, scale=60.0)),
    ]


SCORES = Task(
    name="causal_scores",
    outputs=("scores",),
    reference=causal_scores,
    cases=_score_cases,
    notebook=NOTEBOOK,
    mistakes=(
        *SCORE_MISTAKES,
        Mistake(
            "Rows and columns are exchanged: a row is a query, and the columns are the keys that it meets.",
            (("q @ k.swapaxes(-1, -2)", "k @ q.swapaxes(-1, -2)"),),
        ),
        Mistake(
            "These are shares already. The softmax is a step of its own, which comes later.",
            ((MASKED, f"softmax_forward({MASKED})"),),
        ),
        *(
            Mistake(
                "Forbidden places have a low number, but not the lowest. There may be scores that are lower still; "
                "what is below them all?",
                wrong,
            )
            for wrong in (
                *((change,) for change in _too_high(1.0, 1e1, 1e2, 1e3, 1e4, 1e5)),
                *map(_far_too_high, (1e6, 1e8, 1e9, 1e10, 1e12, 1e15, 1e20, 1e30)),
                *(functools.partial(_far_too_high(number), added=1) for number in (1e6, 1e8, 1e9, 1e10)),
                lambda q, k: _far_too_high(np.finfo(q.dtype).max)(q, k),
                _far_too_high(np.finfo(np.float32).max),
            )
        ),
    ),
)


# 4. All of it.


def attention_forward(x, params, n_head):
    """Causal multi-head self-attention, y (B, T, C)."""
    B, T, C = x.shape
    D = C // n_head
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
    q, k, v = (part.reshape(B, T, n_head, D).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, axis=-1))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(D)
    scores = np.where(np.tri(T, dtype=bool), scores, -math.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    heads = (probs @ v).transpose(0, 2, 1, 3).reshape(B, T, C)
    return heads @ params["c_proj"]["weight"] + params["c_proj"]["bias"]


def _inputs(rng, B, T, C, n_head, scale=1.0):
    """Arguments of ``attention_forward``; ``scale`` makes queries and keys, and so the scores, larger."""
    weight = rng.standard_normal((C, 3 * C)) / math.sqrt(C)
    weight[:, : 2 * C] *= scale
    return {
        "x": 0.3 + rng.standard_normal((B, T, C)),
        "params": {
            "c_attn": {"weight": weight, "bias": rng.standard_normal(3 * C)},
            "c_proj": {"weight": rng.standard_normal((C, C)) / math.sqrt(C), "bias": rng.standard_normal(C)},
        },
        "n_head": n_head,
    }


def attention_cases(rng):
    """The cases in which attention is tried, forward and backward."""
    alike = _inputs(rng, 2, 5, 4, 2)
    alike["x"] = np.ones_like(alike["x"])
    return [
        Case("two sequences of four tokens, two heads of three channels", _inputs(rng, 2, 4, 6, 2)),
        Case("one head, as many tokens as channels", _inputs(rng, 3, 5, 5, 1)),
        Case("one token", _inputs(rng, 2, 1, 6, 3)),
        Case("one sequence, heads of one channel", _inputs(rng, 1, 3, 4, 4)),
        Case("as many tokens as heads and as channels of a head", _inputs(rng, 3, 3, 9, 3)),
        Case("more tokens than channels", _inputs(rng, 1, 19, 8, 2)),
        Case("all tokens alike", alike),
        Case("scores in the thousands", _inputs(rng, 2, 4, 6, 2, scale=60.0)),
    ]


def _attention_cases(rng):
    opposed = _inputs(rng, 2, 4, 6, 2, scale=300.0)
    queries, keys = slice(0, 6), slice(6, 12)
    opposed["params"]["c_attn"]["weight"][:, keys] = -opposed["params"]["c_attn"]["weight"][:, queries]
    return [*attention_cases(rng), Case("scores far below zero", opposed)]


SIZES = "B, T, C ="
THIRDS = "(part.reshape(B, T, n_head, D).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, axis=-1))"
PART = "part.reshape(B, T, n_head, D).transpose(0, 2, 1, 3)"
WEIGHTED = "probs @ v"
MERGED = ".transpose(0, 2, 1, 3).reshape(B, T, C)"
PROJECTED = 'heads @ params["c_proj"]["weight"] + params["c_proj"]["bias"]'
ORDER = "The 3C columns are not cut into q, k and v in this order."
CARDS = "The channels are dealt out to the heads like cards. A head has D neighbours."
NO_SOFTMAX = "There is no softmax: the values are weighted with the scores."

ATTENTION = Task(
    name="attention_forward",
    outputs=("y",),
    reference=attention_forward,
    has_cache=True,
    cases=_attention_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The mask comes after the softmax: the forbidden shares are set to 0, and the rest of a row no longer sums "
            "to 1. The future has already taken its part of the sum. Which step must come first?",
            ((MASKED, "scores"), (SHARES, f"{SHARES} * np.tri(T)")),
        ),
        Mistake(
            "The mask comes after the softmax, and the rows are divided by their sums again. On paper that is equal, "
            "but the maximum is still that of the forbidden scores, and compared with it exp of the allowed ones can "
            "be 0.",
            ((MASKED, "scores"), (SHARES, "np.tri(T) * e / (np.tri(T) * e).sum(axis=-1, keepdims=True)")),
        ),
        *(
            Mistake(
                "The forbidden scores are low, but others may be lower still, and then the future wins. Which number "
                "is below all scores?",
                (change,),
            )
            for change in _too_high(1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
        ),
        *SCORE_MISTAKES,
        *SOFTMAX_MISTAKES,
        *_over(
            1,
            "The softmax is taken over the heads, the axis at place 1 of (B, H, T, T). Along which axis are the scores "
            "of one query?",
        ),
        Mistake(NO_SOFTMAX, ((MASKED, f"np.where({ALLOWED}, scores, 0.0)"), (WEIGHTED, "scores @ v"))),
        Mistake(NO_SOFTMAX, ((WEIGHTED, "scores @ v"),)),
        Mistake("The softmax is taken twice.", ((MASKED, f"softmax_forward({MASKED})"),)),
        *replaced(
            "The heads are cut by one reshape to (B, H, T, D), which fills them with runs of whole tokens. Look at "
            "your split_heads.",
            PART, "part.reshape(B, n_head, T, D)",
        ),
        *replaced(CARDS, PART, "part.reshape(B, T, D, n_head).transpose(0, 3, 1, 2)"),
        Mistake(
            "The heads are cut by one reshape to (B, H, T, D), which fills them with runs of whole tokens, and put "
            "together likewise. Look at your split_heads and merge_heads.",
            ((PART, "part.reshape(B, n_head, T, D)"), (MERGED, ".reshape(B, T, C)")),
        ),
        Mistake(
            CARDS,
            (
                (PART, "part.reshape(B, T, D, n_head).transpose(0, 3, 1, 2)"),
                (MERGED, ".transpose(0, 2, 3, 1).reshape(B, T, C)"),
            ),
        ),
        Mistake(
            "There is one head as wide as C. Where does n_head come in?",
            ((SIZES, "B, T, C, n_head = *x.shape, 1;"),),
        ),
        Mistake(
            "n_head is used as the size of a head: it is their number.",
            ((SIZES, "B, T, C, n_head = *x.shape, x.shape[-1] // n_head;"),),
        ),
        Mistake(
            "Queries and keys are exchanged. In which order do q, k and v come in the 3C columns?",
            (("q, k, v =", "k, q, v ="),),
        ),
        *(
            Mistake(ORDER, (("q, k, v =", order),))
            for order in ("q, v, k =", "v, q, k =", "k, v, q =", "v, k, q =")
        ),
        *replaced(
            "The 3C columns are cut into heads first and into q, k and v within each: (H, 3, D). In GPT-2 all queries "
            "come first, then all keys, then all values: which axis is the outer one?",
            THIRDS, "qkv.reshape(B, T, n_head, 3, D).transpose(3, 0, 2, 1, 4)",
        ),
        *replaced(
            "Every third column is taken for q, and so for k and v. Each of them is a run of neighbours.",
            THIRDS, "qkv.reshape(B, T, n_head, D, 3).transpose(4, 0, 2, 1, 3)",
        ),
        *replaced(
            "qkv is cut by a reshape alone, which fills q, k and v with whole tokens. Which axis must be cut, and "
            "which ones moved?",
            THIRDS, "qkv.reshape(3, B, n_head, T, D)",
        ),
        Mistake(
            "The heads are put together by a reshape alone, which mixes up tokens and heads. Look at your merge_heads.",
            ((MERGED, ".reshape(B, T, C)"),),
        ),
        Mistake(
            "The heads are shuffled into each other, one channel of each in turn. Look at your merge_heads.",
            ((MERGED, ".transpose(0, 2, 3, 1).reshape(B, T, C)"),),
        ),
        Mistake(
            "probs is transposed: a token's result is the mean of the values, weighted with its own row of probs.",
            ((WEIGHTED, "probs.swapaxes(-1, -2) @ v"),),
        ),
        *(
            Mistake(
                "The values are not used: the shares weight something else.", ((WEIGHTED, f"probs @ {other}"),)
            )
            for other in ("q", "k")
        ),
        Mistake("c_proj is missing, the map that mixes the heads at the end.", ((PROJECTED, "heads"),)),
        Mistake("The weight of c_proj is missing; its bias is there.", (('@ params["c_proj"]["weight"]', ""),)),
        Mistake("The bias of c_attn is missing.", ((' + params["c_attn"]["bias"]', ""),)),
        Mistake("The bias of c_proj is missing.", ((' + params["c_proj"]["bias"]', ""),)),
        Mistake(
            "The weight of c_proj is transposed. GPT-2 stores weights as (in, out): y = x W + b.",
            (('params["c_proj"]["weight"]', 'params["c_proj"]["weight"].T'),),
        ),
        Mistake(
            "x is added to the result. That is the residual connection, which belongs to the block and not to "
            "attention.",
            (("return heads", "return x + heads"),),
        ),
    ),
)


# The harder part: keys in blocks.


def attention_by_blocks(q, k, v, size):
    """One head, without a mask, and the logarithm of each row's sum; ``size`` does not change the result.

        head = softmax(q k^T / sqrt(D)) v        log_sums_i = ln sum_j exp(q_i k_j / sqrt(D))

    Source: Dao et al. 2022, "FlashAttention", algorithm 1.
    """
    T, D = q.shape
    largest = np.full((T, 1), -math.inf, q.dtype)
    total = np.zeros((T, 1), q.dtype)
    weighted = np.zeros_like(q)
    for start in range(0, len(k), size):
        scores = q @ k[start : start + size].T / math.sqrt(D)
        new = np.maximum(largest, scores.max(axis=1, keepdims=True))
        factor = np.exp(largest - new)
        e = np.exp(scores - new)
        total = total * factor + e.sum(axis=1, keepdims=True)
        weighted = weighted * factor + e @ v[start : start + size]
        largest = new
    return weighted / total, (largest + np.log(total))[:, 0]


def block_inputs(rng, T, S, D, size, scale=1.0):
    """Arguments of ``attention_by_blocks``: T queries, S keys and values."""
    q, k, v = (rng.standard_normal((rows, D)) for rows in (T, S, S))
    return {"q": scale * q, "k": scale * k, "v": v, "size": size}


def block_cases(rng):
    """The cases in which attention by blocks is tried, forward and backward."""
    return [
        Case("three queries, five keys in blocks of two", block_inputs(rng, 3, 5, 4, 2)),
        Case("one key in each block", block_inputs(rng, 4, 4, 3, 1)),
        Case("all keys in one block", block_inputs(rng, 2, 3, 5, 3)),
        Case("a block that is larger than the keys", block_inputs(rng, 2, 3, 1, 8)),
        Case("one query, as when generating", block_inputs(rng, 1, 23, 4, 5)),
    ]


def _block_cases(rng):
    rising = block_inputs(rng, 2, 6, 4, 2)
    rising["q"] = (np.abs(rising["q"]) + 0.5) * [[1.0], [1e-3]]  # the second row is far below the first
    rising["k"] = np.abs(rising["k"]) * 10.0 ** np.arange(-2, 4)[:, None]
    falling = rising | {"k": rising["k"][::-1].copy()}
    negative = rising | {"k": -rising["k"] - 3000}
    return [
        *block_cases(rng),
        Case("scores that rise from block to block into the thousands", rising),
        Case("scores that fall from block to block out of the thousands", falling),
        Case("scores far below zero", negative),
    ]


MANY = {"T": 32, "S": 2048, "D": 2, "size": 32}  # sizes at which the array of all scores is far larger than all others


def peak_memory(function, arguments):
    """Bytes that a call needs for arrays and Python's objects, at its peak."""
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        function(*arguments)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not was_tracing:
            tracemalloc.stop()


def too_much_memory(peak):
    """A sentence on a call at the sizes of ``MANY`` that needs more than half of the array of all scores, or None."""
    array = MANY["T"] * MANY["S"] * np.dtype(float).itemsize
    if peak <= array / 2:
        return None
    return (
        f"With {MANY['T']} queries and {MANY['S']} keys in blocks of {MANY['size']}, it needs {peak / 1000:.0f} KB at "
        f"once; an array of all scores has {array / 1000:.0f} KB. Is there an array with a row for each query and a "
        "column for each key, or is something kept of every block?"
    )


def _by_blocks_alone(function):
    inputs = block_inputs(np.random.default_rng(0), **MANY)
    return too_much_memory(peak_memory(function, list(inputs.values())))


def _mean_of_blocks(q, k, v, size):
    parts = [
        attention_by_blocks(q, k[start : start + size], v[start : start + size], size)[0]
        for start in range(0, len(k), size)
    ]
    return np.mean(parts, axis=0), attention_by_blocks(q, k, v, size)[1]


BLOCK_SCORES = "q @ k[start : start + size].T / math.sqrt(D)"
NEW = "np.maximum(largest, scores.max(axis=1, keepdims=True))"
LOG_SUMS = "largest + np.log(total)"

# Mistakes in the loop over the blocks, forward and backward.
LOOP_MISTAKES = (
    *replaced(
        "The last block is missing where it is not full. How far does your range run?",
        "range(0, len(k), size)", "range(0, len(k) // size * size, size)",
    ),
    *replaced("Only the first block is used.", "range(0, len(k), size)", "range(0, size, size)"),
    *replaced(
        "The blocks run over as many keys as there are queries. How many keys are there?",
        "range(0, len(k), size)", "range(0, len(q), size)",
    ),
    *replaced(
        "A block begins at every key, so that blocks overlap, and keys count more than once.",
        "range(0, len(k), size)", "range(len(k))",
    ),
    *replaced(
        "The first block is missing. Where does your range begin?",
        "range(0, len(k), size)", "range(size, len(k), size)",
    ),
)

BLOCKS = Task(
    name="attention_by_blocks",
    outputs=("head", "log_sums"),
    reference=attention_by_blocks,
    cases=_block_cases,
    notebook=NOTEBOOK,
    limit=("it never has all scores at once", _by_blocks_alone),
    mistakes=(
        Mistake(
            "When a block brings a larger maximum, the sum so far is not changed. It was made with the old maximum: "
            "what must it be multiplied by?",
            (("total * factor", "total"),),
        ),
        Mistake(
            "When a block brings a larger maximum, the weighted values so far are not changed. They were made with the "
            "old maximum, like the sum.",
            (("weighted * factor", "weighted"),),
        ),
        Mistake(
            "The factor that repairs the sums is turned round: it must make them smaller when the maximum grows.",
            (("largest - new", "new - largest"),),
        ),
        Mistake(
            "The factor repairs the new block as well, which was made with the new maximum already.",
            (
                ("total * factor + e.sum(axis=1, keepdims=True)", "(total + e.sum(axis=1, keepdims=True)) * factor"),
                ("weighted * factor", "(weighted"),
                ("e @ v[start : start + size]", "e @ v[start : start + size]) * factor"),
            ),
        ),
        Mistake(
            "No maximum is subtracted: in the thousands, exp overflows.",
            ((NEW, "np.zeros_like(largest)"),),
        ),
        Mistake(
            "The largest score so far begins at 0. Where all scores are far below 0, it stays there, and exp of all of "
            "them is 0. Below what must a maximum begin?",
            (("np.full((T, 1), -math.inf, q.dtype)", "np.zeros((T, 1), q.dtype)"),),
        ),
        Mistake(
            "The maximum is that of the block alone. Where the scores fall, the factor overflows: of which keys should "
            "it be the largest score?",
            ((NEW, "scores.max(axis=1, keepdims=True)"),),
        ),
        Mistake(
            "There is one maximum for all queries. Where another query has far higher scores, exp of all scores of a "
            "row is 0.",
            ((NEW, "np.maximum(largest, scores.max())"),),
        ),
        Mistake(
            "The weighted values are not divided by the sum of their weights at the end.",
            (("weighted / total", "weighted"),),
        ),
        Mistake("The scores are not divided by the root of D.", ((ROOT, ""),)),
        Mistake("The scores are divided by D, not by its root.", ((ROOT, "/ D"),)),
        *LOOP_MISTAKES,
        Mistake(
            "Each block has its own softmax, and the results are averaged. A block with high scores must count for "
            "more than one with low scores.",
            _mean_of_blocks,
        ),
        Mistake(
            "There is a mask, and here each query sees all keys.",
            (
                (
                    BLOCK_SCORES,
                    "np.where(np.arange(T)[:, None] >= np.arange(len(k))[start : start + size], "
                    f"{BLOCK_SCORES}, -math.inf)",
                ),
            ),
        ),
        Mistake(
            "log_sums lacks the maximum, by which every term of the sum had been divided.",
            ((LOG_SUMS, "np.log(total)"),),
        ),
        Mistake("The maximum has the wrong sign in log_sums.", ((LOG_SUMS, "np.log(total) - largest"),)),
        *(
            Mistake("log_sums has the sums themselves. What does its name say?", ((LOG_SUMS, sums),))
            for sums in ("np.exp(largest) * total", "total", "largest + total")
        ),
    ),
)

TASKS = (SOFTMAX, SPLIT, MERGE, SCORES, ATTENTION, BLOCKS)
