"""Exercise 6 as students write it: right in several styles, and wrong in the ways that are known."""

import math
import sys

import numpy as np

from minigpt2.components.attention import attention_forward as library_attention
from minigpt2.components.softmax import softmax_forward as library_softmax


def softmax(scores):
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def softmax_by_logarithm(scores):
    most = scores.max(-1)[..., None]
    return np.exp(scores - most - np.log(np.exp(scores - most).sum(-1))[..., None])


def softmax_in_loops(scores):
    probs = np.zeros(scores.shape)
    for index in np.ndindex(scores.shape[:-1]):
        row = [float(s) for s in scores[index]]
        e = [math.exp(s - max(row)) for s in row]
        for j in range(len(e)):
            probs[index][j] = e[j] / sum(e)
    return probs


def split(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def split_by_slices(x, n_head):
    D = x.shape[2] // n_head
    return np.stack([x[:, :, h * D : (h + 1) * D] for h in range(n_head)], axis=1)


def split_by_numpy(x, n_head):
    return np.array(np.split(x, n_head, axis=-1)).swapaxes(0, 1)


def merge(heads):
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)


def merge_by_concatenation(heads):
    return np.concatenate([heads[:, h] for h in range(heads.shape[1])], axis=-1)


def scores(q, k):
    T, D = q.shape[-2:]
    s = q @ k.transpose(0, 1, 3, 2) / np.sqrt(D)
    s[:, :, np.triu(np.ones((T, T), bool), k=1)] = -np.inf
    return s


def scores_by_einsum(q, k):
    T, D = q.shape[2:]
    s = np.einsum("bhid,bhjd->bhij", q, k) * D**-0.5
    return s + np.triu(np.full((T, T), -np.inf, s.dtype), 1)


def scores_in_loops(q, k):
    B, H, T, D = q.shape
    s = np.full((B, H, T, T), -np.inf)
    for b, h, i in np.ndindex(B, H, T):
        for j in range(i + 1):
            s[b, h, i, j] = sum(float(q[b, h, i, d]) * float(k[b, h, j, d]) for d in range(D)) / math.sqrt(D)
    return s


def attention(
    x, params, n_head, split=split, scores=scores, softmax=softmax, merge=merge, order=(0, 1, 2), late=None, flip=False
):
    C = x.shape[-1]
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
    parts = [qkv[..., :C], qkv[..., C : 2 * C], qkv[..., 2 * C :]]
    q, k, v = [split(parts[i], n_head) for i in order]
    probs = softmax(scores(q, k))
    if late:
        probs = late(probs)
    heads = (probs.transpose(0, 1, 3, 2) if flip else probs) @ v
    return merge(heads) @ params["c_proj"]["weight"] + params["c_proj"]["bias"], {}


def attention_without_a_cache(x, params, n_head):
    return attention(x, params, n_head)[0]


class Kept:
    """A cache of one's own kind."""

    def __init__(self, **parts):
        self.__dict__ |= parts


def attention_with_a_tuple_as_cache(x, params, n_head):
    return attention(x, params, n_head)[0], (x, params)


def attention_with_nothing_as_cache(x, params, n_head):
    return attention(x, params, n_head)[0], None


def attention_with_an_object_as_cache(x, params, n_head):
    return attention(x, params, n_head)[0], Kept(x=x, n_head=n_head)


def attention_that_tells_its_shapes(x, params, n_head):
    print("x", x.shape, file=sys.stderr)
    return attention(x, params, n_head)


def attention_in_loops(x, params, n_head):
    """Token by token and head by head: what is forbidden is never computed."""
    B, T, C = x.shape
    D = C // n_head
    W, b = params["c_attn"]["weight"].astype("float64"), params["c_attn"]["bias"]
    y = np.zeros((B, T, C))
    for n in range(B):
        for t in range(T):
            heads = []
            for h in range(n_head):
                cut = [slice(i * C + h * D, i * C + (h + 1) * D) for i in range(3)]
                q = x[n, t] @ W[:, cut[0]] + b[cut[0]]
                k = x[n, : t + 1] @ W[:, cut[1]] + b[cut[1]]
                v = x[n, : t + 1] @ W[:, cut[2]] + b[cut[2]]
                s = k @ q / math.sqrt(D)
                p = np.exp(s - s.max())
                heads.append(p @ v / p.sum())
            y[n, t] = np.concatenate(heads) @ params["c_proj"]["weight"] + params["c_proj"]["bias"]
    return y


def attention_by_einsum(x, params, n_head):
    T, C = x.shape[1:]
    W = params["c_attn"]["weight"].reshape(C, 3, n_head, C // n_head)
    bias = params["c_attn"]["bias"].reshape(3, 1, n_head, 1, C // n_head)
    q, k, v = np.einsum("btc,cnhd->nbhtd", x, W) + bias
    s = np.einsum("bhid,bhjd->bhij", q, k) / (C // n_head) ** 0.5
    s = np.where(np.arange(T)[:, None] >= np.arange(T), s, -1e9)  # low enough for all scores that occur
    out = params["c_proj"]["weight"].reshape(n_head, C // n_head, C)
    y = np.einsum("bhij,bhjd,hdc->bic", softmax(s), v, out) + params["c_proj"]["bias"]
    return y, {"probs": softmax(s)}


def attention_with_a_head_size_of_its_own(x, params, n_head):
    """qkv is cut at once, as the library does it."""
    B, T = x.shape[:2]
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
    q, k, v = qkv.reshape(B, T, 3, n_head, -1).transpose(2, 0, 3, 1, 4)
    heads = softmax(scores_by_einsum(q, k)) @ v
    return merge_by_concatenation(heads) @ params["c_proj"]["weight"] + params["c_proj"]["bias"], {"q": q}


def blocks_normalised_at_the_end(q, k, v, size):
    T, D = q.shape
    m = np.full(T, -np.inf, q.dtype)
    total = np.zeros(T, q.dtype)
    head = np.zeros((T, v.shape[1]), q.dtype)
    for start in range(0, len(k), size):
        s = q @ k[start : start + size].T / math.sqrt(D)
        new = np.maximum(m, s.max(axis=1))
        e = np.exp(s - new[:, None])
        old = np.exp(m - new)
        total = total * old + e.sum(axis=1)
        head = head * old[:, None] + e @ v[start : start + size]
        m = new
    return head / total[:, None], m + np.log(total)


def blocks_merged_by_logarithms(q, k, v, size):
    """Each block's own attention, and the mean of both weighted with their sums."""
    head, log_sums = np.zeros_like(q), np.full(len(q), -np.inf)
    for start in range(0, len(k), size):
        s = q @ k[start : start + size].T / len(q[0]) ** 0.5
        mine = s.max(1) + np.log(np.exp(s - s.max(1, keepdims=True)).sum(1))
        both = np.logaddexp(log_sums, mine)
        head = head * np.exp(log_sums - both)[:, None] + np.exp(mine - both)[:, None] * (
            softmax(s) @ v[start : start + size]
        )
        log_sums = both
    return head, log_sums


def blocks_key_by_key(q, k, v, size):
    """Each key is a block of its own."""
    m = q @ k[0] / math.sqrt(q.shape[1])
    total, head = np.ones_like(m), np.tile(v[0], (len(q), 1))
    for key, value in zip(k[1:], v[1:], strict=True):
        s = q @ key / math.sqrt(q.shape[1])
        new = np.where(s > m, s, m)
        total = total * np.exp(m - new) + np.exp(s - new)
        head = head * np.exp(m - new)[:, None] + np.outer(np.exp(s - new), value)
        m = new
    return head / total[:, None], np.log(total) + m


RIGHT = [
    ("softmax_forward", library_softmax),
    ("softmax_forward", softmax),
    ("softmax_forward", softmax_by_logarithm),
    ("softmax_forward", softmax_in_loops),
    ("split_heads", split),
    ("split_heads", split_by_slices),
    ("split_heads", split_by_numpy),
    ("merge_heads", merge),
    ("merge_heads", merge_by_concatenation),
    ("causal_scores", scores),
    ("causal_scores", scores_by_einsum),
    ("causal_scores", scores_in_loops),
    ("attention_forward", library_attention),
    ("attention_forward", attention),
    ("attention_forward", attention_with_a_tuple_as_cache),
    ("attention_forward", attention_with_nothing_as_cache),
    ("attention_forward", attention_with_an_object_as_cache),
    ("attention_forward", attention_that_tells_its_shapes),
    ("attention_forward", attention_without_a_cache),
    ("attention_forward", attention_in_loops),
    ("attention_forward", attention_by_einsum),
    ("attention_forward", attention_with_a_head_size_of_its_own),
    ("attention_by_blocks", blocks_normalised_at_the_end),
    ("attention_by_blocks", blocks_merged_by_logarithms),
    ("attention_by_blocks", blocks_key_by_key),
]


# The softmax, wrong.


def row_maximum(scores):
    return scores.max(-1, keepdims=True)


def softmax_with(name, shift=row_maximum, exp=np.exp, total=lambda e, scores: e.sum(-1, keepdims=True)):
    """Somebody's softmax, wrong in one of its parts."""

    def wrong(scores):
        e = exp(scores - shift(scores))
        return e / total(e, scores)

    wrong.__name__ = name
    return wrong


def softmax_over(axis):
    def shift(scores):
        return scores.max(axis, keepdims=True)

    return softmax_with(f"softmax_over_{axis}", shift, total=lambda e, scores: e.sum(axis, keepdims=True))


def softmax_turned(scores):
    e = np.exp(row_maximum(scores) - scores)
    return e / e.sum(-1, keepdims=True)


def softmax_bare(scores):
    return np.exp(scores)


def softmax_maximum_above(scores):
    return np.exp(scores - row_maximum(scores)) / np.exp(scores).sum(-1, keepdims=True)


def softmax_maximum_below(scores):
    return np.exp(scores) / np.exp(scores - row_maximum(scores)).sum(-1, keepdims=True)


def softmax_without_nan(scores):
    e = np.exp(scores)
    return np.nan_to_num(e / e.sum(-1, keepdims=True))


def softmax_logarithms(scores):
    s = scores - row_maximum(scores)
    return s - np.log(np.exp(s).sum(-1, keepdims=True))


def softmax_winner(scores):
    return (scores == row_maximum(scores)).astype(scores.dtype)


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def softmax_no_exp(scores):
    return scores / np.sum(scores, -1, keepdims=True)


def softmax_and_a_cache(scores):
    return softmax(scores), {}


SOFTMAX = [
    (softmax_over(-2), "down the columns"),
    (softmax_with("sum_of_columns", total=lambda e, scores: e.sum(-2, keepdims=True)), "down the columns"),
    (softmax_over(0), "counts the examples of the batch"),
    (softmax_over(None), "over all numbers at once"),
    (softmax_with("maximum_of_columns", lambda scores: scores.max(-2, keepdims=True)), "these do not cancel"),
    (softmax_with("no_maximum", lambda scores: 0), "which one makes exp safe"),
    (softmax_with("mean", lambda scores: scores.mean(-1, keepdims=True)), "How large may the largest exponent be"),
    (softmax_turned, "gets the smallest share"),
    (softmax_with("no_sum", total=lambda e, scores: 1), "not divided by their sum"),
]


def softmax_no_keepdims(scores):
    e = np.exp(scores - scores.max(-1))
    return e / e.sum(-1)


def softmax_in_place(scores):
    scores -= scores.max(-1, keepdims=True)
    e = np.exp(scores)
    return e / e.sum(-1, keepdims=True)


# The heads, wrong.


def split_by_reshape(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, n_head, T, C // n_head)


def split_interleaved(x, n_head):
    return np.stack([x[:, :, h::n_head] for h in range(n_head)], axis=1)


def split_not_moved(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head)


def split_all_moved(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 3, 1)


def split_by_size(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, C // n_head, n_head).transpose(0, 2, 1, 3)


def split_heads_first(x, n_head):
    return np.stack(np.split(x, n_head, axis=-1))


def split_always_in_two(x, n_head):
    return split(x, 2)


def split_turned(x, n_head):
    B, T, C = x.shape
    return x.swapaxes(1, 2).reshape(B, n_head, T, C // n_head)


def split_into_a_list(x, n_head):
    return np.split(x, n_head, axis=-1)


def merge_turned(heads):
    B, H, T, D = heads.shape
    return heads.transpose(0, 3, 1, 2).reshape(B, T, H * D)


def merge_batch(heads):
    return np.concatenate([example for example in heads], axis=-1)


def merge_backwards(heads):
    return np.concatenate([heads[:, h] for h in reversed(range(heads.shape[1]))], axis=-1)


def merge_by_reshape(heads):
    B, H, T, D = heads.shape
    return heads.reshape(B, T, H * D)


def merge_interleaved(heads):
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 3, 1).reshape(B, T, D * H)


def merge_not_joined(heads):
    return heads.transpose(0, 2, 1, 3)


def merge_in_time(heads):
    return np.concatenate([heads[:, h] for h in range(heads.shape[1])], axis=1)


def merge_sum(heads):
    return heads.sum(axis=1)


# The scores, wrong.


def raw(q, k):
    return np.einsum("bhid,bhjd->bhij", q, k)


def mask(s, offset=1, value=-np.inf):
    T = s.shape[-1]
    forbidden = np.arange(T)[None, :] >= np.arange(T)[:, None] + offset
    return np.where(forbidden, value, s)


def not_scaled(q, k):
    return mask(raw(q, k))


def by_D(q, k):
    return mask(raw(q, k) / q.shape[-1])


def by_root_of_C(q, k):
    C = q.shape[1] * q.shape[3]
    return mask(raw(q, k) / np.sqrt(C))


def by_root_of_T(q, k):
    return mask(raw(q, k) / np.sqrt(q.shape[2]))


def times_root(q, k):
    return mask(raw(q, k) * np.sqrt(q.shape[-1]))


def no_mask(q, k):
    return raw(q, k) / np.sqrt(q.shape[-1])


def blind_to_itself(q, k):
    return mask(no_mask(q, k), 0)


def sees_the_next(q, k):
    return mask(no_mask(q, k), 2)


def where_exchanged(q, k):
    scores = q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5
    return np.where(np.tril(np.ones(scores.shape[-2:], bool)), -np.inf, scores)


def sees_the_future(q, k):
    s = no_mask(q, k)
    return s + np.tril(np.full(s.shape[-2:], -np.inf), -1)


def times_zero(q, k):
    return no_mask(q, k) * np.tril(np.ones((q.shape[2], q.shape[2])))


def all_axes_turned(q, k):
    return mask(q @ k.T / np.sqrt(q.shape[-1]))


def not_turned(q, k):
    return mask(q @ k / np.sqrt(q.shape[-1]))


def turned_by_reshape(q, k):
    B, H, T, D = k.shape
    return mask(q @ k.reshape(B, H, D, T) / np.sqrt(D))


def keys_ask(q, k):
    return mask(no_mask(k, q))


def minus_a_billion(q, k):
    return mask(no_mask(q, k), value=-1e9)


def minus_ten_thousand_added(q, k):
    return no_mask(q, k) - 1e4 * np.triu(np.ones((q.shape[2], q.shape[2])), 1)


def by_root_of_B(q, k):
    return mask(raw(q, k) / np.sqrt(len(q)))


def by_root_of_H(q, k):
    return mask(raw(q, k) / np.sqrt(q.shape[1]))


def by_half_of_D(q, k):
    return mask(raw(q, k) / (q.shape[-1] * 0.5))


def whole_numbers(q, k):
    return mask(raw(q, k) // np.sqrt(q.shape[-1]))


def times_infinity(q, k):
    return no_mask(q, k) + (1 - np.tril(np.ones((q.shape[2], q.shape[2])))) * -np.inf


def plus_infinity(q, k):
    return mask(no_mask(q, k), value=np.inf)


def mask_alone(q, k):
    return mask(np.zeros_like(raw(q, k)))


def itself_alone(q, k):
    return np.where(np.eye(q.shape[2], dtype=bool), no_mask(q, k), -np.inf)


def queries_among_themselves(q, k):
    return mask(no_mask(q, q))


def keys_among_themselves(q, k):
    return mask(no_mask(k, k))


def not_scaled_and_no_mask(q, k):
    return raw(q, k)


SCORES = [
    (by_root_of_B, "the length of the first axis"),
    (by_root_of_H, "the number of heads"),
    (by_half_of_D, "divided by half of D"),
    (whole_numbers, "cut to whole numbers"),
    (times_infinity, "0 times infinity is NaN"),
    (plus_infinity, "have the score +infinity"),
    (mask_alone, "has taken the place of the scores"),
    (itself_alone, "sees itself alone"),
    (queries_among_themselves, "The queries meet each other"),
    (keys_among_themselves, "The keys meet each other"),
    (not_scaled_and_no_mask, "2 things at once"),
    (not_scaled, "The scores are not divided:"),
    (by_D, "The scores are divided by D"),
    (by_root_of_C, "by the root of C"),
    (by_root_of_T, "by the root of T"),
    (times_root, "multiplied by the root of D"),
    (no_mask, "There is no mask"),
    (blind_to_itself, "does not see itself"),
    (sees_the_next, "every token sees the next one"),
    (sees_the_future, "The wrong half is masked"),
    (where_exchanged, "The wrong half is masked"),
    (times_zero, "have the score 0"),
    (all_axes_turned, "reverses all four axes"),
    (not_turned, "k is not transposed"),
    (turned_by_reshape, "tears the keys apart"),
]


# The attention, wrong.


def attention_with(**parts):
    """Somebody's attention, wrong in one of its parts."""

    def forward(x, params, n_head):
        return attention(x, params, n_head, **parts)

    forward.__name__ = "_".join(f"{name}_{getattr(part, '__name__', part)}" for name, part in parts.items())
    return forward


def keep_lower(probs):
    return np.tril(probs)


def keep_lower_and_divide(probs):
    return np.tril(probs) / np.tril(probs).sum(-1, keepdims=True)


def softmax_of_heads(scores):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def no_softmax(x, params, n_head):
    """Linear attention, with nothing in place of the softmax."""
    return attention(x, params, n_head, scores=lambda q, k: mask(raw(q, k), value=0.0), softmax=lambda s: s)


def infinite_scores_as_shares(x, params, n_head):
    return attention(x, params, n_head, softmax=lambda s: s)


def softmax_twice(scores):
    return softmax(softmax(scores))


def ten_thousand_is_enough(q, k):
    return mask(no_mask(q, k), value=-1e4)


def hundred_is_enough(q, k):
    return mask(no_mask(q, k), value=-100.0)


def one_is_subtracted(q, k):
    return no_mask(q, k) - np.triu(np.ones((q.shape[2], q.shape[2])), 1)


def one_head(x, params, n_head):
    return attention(x, params, 1)


def head_size_given(x, params, n_head):
    return attention(x, params, x.shape[-1] // n_head)


def third(cut):
    """q, k and v cut out of qkv at once, (3, B, H, T, D)."""

    def forward(x, params, n_head):
        qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
        q, k, v = cut(qkv, *x.shape[:2], n_head, x.shape[2] // n_head)
        return merge(softmax(scores(q, k)) @ v) @ params["c_proj"]["weight"] + params["c_proj"]["bias"]

    forward.__name__ = cut.__name__
    return forward


def thirds_within_each_head(qkv, B, T, H, D):
    return qkv.reshape(B, T, H, 3, D).transpose(3, 0, 2, 1, 4)


def every_third_column(qkv, B, T, H, D):
    return [split(qkv[..., i::3], H) for i in range(3)]


def thirds_by_reshape(qkv, B, T, H, D):
    return qkv.reshape(3, B, H, T, D)


def keys_as_values(x, params, n_head):
    C = x.shape[-1]
    weight, bias = params["c_attn"]["weight"].copy(), params["c_attn"]["bias"].copy()
    weight[:, 2 * C :], bias[2 * C :] = weight[:, C : 2 * C], bias[C : 2 * C]
    return attention(x, params | {"c_attn": {"weight": weight, "bias": bias}}, n_head)


def no_c_proj_weight(x, params, n_head):
    return attention(x, changed(params, "c_proj", "weight", lambda w: np.eye(len(w), dtype=w.dtype)), n_head)


def order_and_no_bias(x, params, n_head):
    return attention(x, changed(params, "c_proj", "bias", np.zeros_like), n_head, order=(1, 0, 2))


def changed(params, name, part, value):
    return params | {name: params[name] | {part: value(params[name][part])}}


def no_c_proj(x, params, n_head):
    return attention(x, {**params, "c_proj": {"weight": np.eye(x.shape[-1], dtype=x.dtype), "bias": 0}}, n_head)


def no_c_attn_bias(x, params, n_head):
    return attention(x, changed(params, "c_attn", "bias", np.zeros_like), n_head)


def no_c_proj_bias(x, params, n_head):
    return attention(x, changed(params, "c_proj", "bias", np.zeros_like), n_head)


def no_biases(x, params, n_head):
    return no_c_attn_bias(x, changed(params, "c_proj", "bias", np.zeros_like), n_head)


def c_proj_turned(x, params, n_head):
    return attention(x, changed(params, "c_proj", "weight", np.transpose), n_head)


def with_residual(x, params, n_head):
    return x + attention(x, params, n_head)[0]


def writes_into_x(x, params, n_head):
    y, cache = attention(x, params, n_head)
    x += y
    return y, cache


def adds_bias_in_place(x, params, n_head):
    """The slice of a parameter is the parameter."""
    y, cache = attention(x, params, n_head)
    key_bias = params["c_attn"]["bias"][x.shape[-1] : 2 * x.shape[-1]]
    key_bias *= 0
    return y, cache


# The blocks, wrong.


def blocks(
    q, k, v, size, repair=(True, True), most=lambda m, s: np.maximum(m, s.max(1, keepdims=True)), begin=-np.inf,
    root=0.5, starts=lambda q, k, size: range(0, len(k), size), factor=lambda m, new: np.exp(m - new), late=False,
    mask=False, divide=True, log_sums=lambda m, total: m + np.log(total),
):  # fmt: skip
    """Somebody's attention by blocks, wrong in one of its parts."""
    T, D = q.shape
    m = np.full((T, 1), begin)
    total, head = np.zeros((T, 1)), np.zeros((T, D))
    for start in starts(q, k, size):
        s = q @ k[start : start + size].T / D**root
        if mask:
            s = np.where(np.arange(start, start + s.shape[1]) <= np.arange(T)[:, None], s, -np.inf)
        new = most(m, s)
        repair_sum, repair_head = (factor(m, new) if wanted else 1 for wanted in repair)
        e = np.exp(s - new)
        if late:
            total = (total + e.sum(1, keepdims=True)) * repair_sum
            head = (head + e @ v[start : start + size]) * repair_head
        else:
            total = total * repair_sum + e.sum(1, keepdims=True)
            head = head * repair_head + e @ v[start : start + size]
        m = new
    return (head / total if divide else head), log_sums(m, total)[:, 0]


def blocks_with(name, **parts):
    def forward(q, k, v, size):
        return blocks(q, k, v, size, **parts)

    forward.__name__ = name
    return forward


def head_and_log_sums(s, v):
    return softmax(s) @ v, np.log(np.exp(s - s.max(1, keepdims=True)).sum(1)) + s.max(1)


def blocks_not_at_all(q, k, v, size):
    return head_and_log_sums(q @ k.T / np.sqrt(q.shape[1]), v)


def blocks_that_are_kept(q, k, v, size):
    parts = [q @ k[start : start + size].T / np.sqrt(q.shape[1]) for start in range(0, len(k), size)]
    return head_and_log_sums(np.concatenate(parts, axis=1), v)


def blocks_averaged(q, k, v, size):
    starts = range(0, len(k), size)
    s = q @ k.T / np.sqrt(q.shape[1])
    heads = [softmax(s[:, i : i + size]) @ v[i : i + size] for i in starts]
    return sum(heads) / len(heads), np.log(np.exp(s - s.max(1, keepdims=True)).sum(1)) + s.max(1)


BLOCKS = [
    ("sum_stays", {"repair": (False, True)}, "the sum so far is not changed"),
    ("head_stays", {"repair": (True, False)}, "the weighted values so far are"),
    ("both_stay", {"repair": (False, False)}, "2 things at once"),
    ("factor_turned", {"factor": lambda m, new: np.exp(new - m)}, "The factor that repairs the sums is turned round"),
    ("repairs_late", {"late": True}, "The factor repairs the new block as well"),
    ("no_maximum", {"most": lambda m, s: np.zeros_like(m)}, "No maximum is subtracted"),
    ("begins_at_0", {"begin": 0.0}, "The largest score so far begins at 0"),
    ("of_the_block", {"most": lambda m, s: s.max(1, keepdims=True)}, "The maximum is that of the block alone"),
    ("of_all_queries", {"most": lambda m, s: np.maximum(m, s.max())}, "There is one maximum for all queries"),
    ("not_divided", {"divide": False}, "are not divided by the sum of their weights"),
    ("no_root", {"root": 0}, "are not divided by the root of D"),
    ("by_D", {"root": 1}, "divided by D, not by its root"),
    ("last_dropped", {"starts": lambda q, k, size: range(0, len(k) - size + 1, size)}, "The last block is missing"),
    ("first_dropped", {"starts": lambda q, k, size: range(size, len(k), size)}, "The first block is missing"),
    ("first_alone", {"starts": lambda q, k, size: [0]}, "Only the first block is used"),
    ("as_many_as_queries", {"starts": lambda q, k, size: range(0, len(q), size)}, "as many keys as there are queries"),
    ("at_every_key", {"starts": lambda q, k, size: range(len(k))}, "A block begins at every key"),
    ("mask", {"mask": True}, "There is a mask"),
    ("no_m", {"log_sums": lambda m, total: np.log(total)}, "lacks the maximum"),
    ("minus_m", {"log_sums": lambda m, total: np.log(total) - m}, "the wrong sign in log_sums"),
    ("no_log", {"log_sums": lambda m, total: total}, "log_sums has the sums themselves"),
    ("no_root_no_m", {"root": 0, "log_sums": lambda m, total: np.log(total)}, "2 things at once"),
]


WRONG = [
    *(("softmax_forward", function, words) for function, words in SOFTMAX),
    ("softmax_forward", softmax_over(1), "taken over axis 1"),
    ("softmax_forward", softmax_bare, "2 things at once"),
    ("softmax_forward", softmax_with("one_maximum", np.max), "One maximum, that of the whole array"),
    ("softmax_forward", softmax_with("absolute", lambda s: np.abs(s).max(-1, keepdims=True)), "without its sign"),
    ("softmax_forward", softmax_with("cut", np.zeros_like, lambda s: np.exp(np.clip(s, -700, 700))), "beyond a limit"),
    ("softmax_forward", softmax_with("base_2", exp=np.exp2), "powers of another base"),
    ("softmax_forward", softmax_with("mean_of_e", total=lambda e, s: e.mean(-1, keepdims=True)), "by another number"),
    ("softmax_forward", softmax_with("eps", total=lambda e, s: e.sum(-1, keepdims=True) + 1e-6), "A small number"),
    (
        "softmax_forward",
        softmax_with("eps_no_maximum", lambda s: 0, total=lambda e, s: e.sum(-1, keepdims=True) + 1e-9),
        "2 things at once",
    ),
    ("softmax_forward", softmax_maximum_above, "above the line of the fraction only"),
    ("softmax_forward", softmax_maximum_below, "below the line of the fraction only"),
    ("softmax_forward", softmax_without_nan, "NaN is replaced"),
    ("softmax_forward", softmax_logarithms, "the logarithms of the shares"),
    ("softmax_forward", softmax_winner, "The largest score gets everything"),
    ("softmax_forward", sigmoid, "squeezed between 0 and 1"),
    ("softmax_forward", softmax_no_exp, "where is exp?"),
    ("softmax_forward", softmax_no_keepdims, "Is one of them transposed"),
    ("softmax_forward", softmax_in_place, "An operation in place"),
    ("softmax_forward", softmax_and_a_cache, "A tuple of 2 came back"),
    ("split_heads", split_by_reshape, "runs of whole tokens"),
    ("split_heads", split_interleaved, "dealt out like cards"),
    ("split_heads", split_not_moved, "still in the order (B, T, H, D)"),
    ("split_heads", split_all_moved, "(B, H, D, T)"),
    ("split_heads", split_by_size, "used as the size of a head"),
    ("split_heads", split_heads_first, "before the batch"),
    ("split_heads", split_always_in_two, "There are always two heads"),
    ("split_heads", split_turned, "exchanged before the cut"),
    ("split_heads", split_into_a_list, "heads is a list of 2"),
    ("merge_heads", merge_by_reshape, "a token is filled with one head"),
    ("merge_heads", merge_interleaved, "shuffled into each other"),
    ("merge_heads", merge_not_joined, "are still two"),
    ("merge_heads", merge_in_time, "one after the other in time"),
    ("merge_heads", merge_turned, "exchanged before the reshape"),
    ("merge_heads", merge_batch, "The examples of the batch are put side by side"),
    ("merge_heads", merge_backwards, "the last one comes first"),
    ("merge_heads", merge_sum, "added up, or averaged"),
    *(("causal_scores", function, words) for function, words in SCORES),
    ("causal_scores", keys_ask, "Rows and columns are exchanged"),
    ("causal_scores", lambda q, k: softmax(scores(q, k)), "These are shares already"),
    ("causal_scores", minus_a_billion, "but not the lowest"),
    ("causal_scores", minus_ten_thousand_added, "but not the lowest"),
    *(("attention_forward", attention_with(scores=function), words) for function, words in SCORES),
    *(("attention_forward", attention_with(softmax=function), words) for function, words in SOFTMAX),
    ("attention_forward", attention_with(scores=no_mask, late=keep_lower), "no longer sums to 1"),
    ("attention_forward", attention_with(scores=no_mask, late=keep_lower_and_divide), "divided by their sums again"),
    ("attention_forward", attention_with(softmax=softmax_of_heads), "over the heads"),
    ("attention_forward", attention_with(softmax=softmax_twice), "The softmax is taken twice"),
    ("attention_forward", no_softmax, "2 things at once"),
    ("attention_forward", infinite_scores_as_shares, "There is no softmax"),
    ("attention_forward", attention_with(scores=ten_thousand_is_enough), "the future wins"),
    ("attention_forward", attention_with(scores=hundred_is_enough), "the future wins"),
    ("attention_forward", attention_with(scores=one_is_subtracted), "the future wins"),
    ("attention_forward", attention_with(split=split_by_reshape), "Look at your split_heads."),
    (
        "attention_forward",
        attention_with(split=split_by_reshape, merge=merge_by_reshape),
        "Look at your split_heads and merge_heads",
    ),
    ("attention_forward", attention_with(split=split_interleaved), "like cards"),
    ("attention_forward", attention_with(split=split_interleaved, merge=merge_interleaved), "like cards"),
    ("attention_forward", one_head, "one head as wide as C"),
    ("attention_forward", head_size_given, "used as the size of a head"),
    ("attention_forward", attention_with(order=(1, 0, 2)), "Queries and keys are exchanged"),
    ("attention_forward", attention_with(order=(0, 2, 1)), "not cut into q, k and v in this order"),
    ("attention_forward", attention_with(order=(2, 1, 0)), "not cut into q, k and v in this order"),
    ("attention_forward", third(thirds_within_each_head), "within each: (H, 3, D)"),
    ("attention_forward", third(every_third_column), "Every third column is taken"),
    ("attention_forward", third(thirds_by_reshape), "qkv is cut by a reshape alone"),
    ("attention_forward", attention_with(merge=merge_by_reshape), "The heads are put together by a reshape alone"),
    ("attention_forward", attention_with(merge=merge_interleaved), "shuffled into each other"),
    ("attention_forward", attention_with(flip=True), "probs is transposed"),
    ("attention_forward", keys_as_values, "The values are not used"),
    ("attention_forward", no_c_proj, "c_proj is missing, the map"),
    ("attention_forward", no_c_proj_weight, "The weight of c_proj is missing"),
    ("attention_forward", no_c_attn_bias, "The bias of c_attn is missing"),
    ("attention_forward", no_c_proj_bias, "The bias of c_proj is missing"),
    ("attention_forward", no_biases, "2 things at once"),
    ("attention_forward", order_and_no_bias, "2 things at once"),
    ("attention_forward", c_proj_turned, "The weight of c_proj is transposed"),
    ("attention_forward", with_residual, "the residual connection"),
    ("attention_forward", writes_into_x, "An operation in place"),
    ("attention_forward", adds_bias_in_place, "An operation in place"),
    *(("attention_by_blocks", blocks_with(name, **part), words) for name, part, words in BLOCKS),
    ("attention_by_blocks", blocks_averaged, "its own softmax"),
    ("attention_by_blocks", blocks_not_at_all, "an array of all scores has 524 KB"),
    ("attention_by_blocks", blocks_that_are_kept, "an array of all scores has 524 KB"),
]
