"""Exercise 6 as students write it: right in several styles, and wrong in the ways that are known."""

import math

import numpy as np


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


RIGHT = [
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
    ("attention_forward", attention),
    ("attention_forward", attention_without_a_cache),
    ("attention_forward", attention_in_loops),
    ("attention_forward", attention_by_einsum),
    ("attention_forward", attention_with_a_head_size_of_its_own),
    ("attention_by_blocks", blocks_normalised_at_the_end),
    ("attention_by_blocks", blocks_merged_by_logarithms),
]


# The softmax, wrong.


def softmax_of_columns(scores):
    axis = max(scores.ndim - 2, 0)
    e = np.exp(scores - scores.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_of_batch(scores):
    e = np.exp(scores - scores.max(0, keepdims=True))
    return e / e.sum(0, keepdims=True)


def softmax_of_all(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def softmax_no_maximum(scores):
    return np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


def softmax_no_sum(scores):
    return np.exp(scores - scores.max(-1, keepdims=True))


def softmax_bare(scores):
    return np.exp(scores)


def softmax_one_maximum(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum(-1, keepdims=True)


def softmax_no_exp(scores):
    return scores / np.sum(scores, -1, keepdims=True)


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


SCORES = [
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


def hundred_is_enough(q, k):
    return mask(no_mask(q, k), value=-100.0)


def one_is_subtracted(q, k):
    return no_mask(q, k) - np.triu(np.ones((q.shape[2], q.shape[2])), 1)


def one_head(x, params, n_head):
    return attention(x, params, 1)


def head_size_given(x, params, n_head):
    return attention(x, params, x.shape[-1] // n_head)


def third_within_each_head(x, params, n_head):
    B, T, C = x.shape
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
    qkv = qkv.reshape(B, T, n_head, 3 * C // n_head).transpose(0, 2, 1, 3)
    q, k, v = np.split(qkv, 3, axis=-1)
    return merge(softmax(scores(q, k)) @ v) @ params["c_proj"]["weight"] + params["c_proj"]["bias"]


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


def blocks(q, k, v, size, rescale=(True, True), most=np.maximum, root=True, drop=False, divide=True, result=None):
    T, D = q.shape
    m = np.full((T, 1), -np.inf)
    if most is None:
        m[:] = 0
    total, head = np.zeros((T, 1)), np.zeros((T, D))
    for start in range(0, len(k) - size + 1 if drop else len(k), size):
        s = q @ k[start : start + size].T
        if root:
            s = s / np.sqrt(D)
        new = m if most is None else most(m, s.max(1, keepdims=True))
        factor = np.exp(m - new)
        e = np.exp(s - new)
        total = (total * factor if rescale[0] else total) + e.sum(1, keepdims=True)
        head = (head * factor if rescale[1] else head) + e @ v[start : start + size]
        m = new
    log_sums = m + np.log(total) if result is None else result(m, total)
    return (head / total if divide else head), log_sums[:, 0]


def blocks_with(name, **parts):
    def forward(q, k, v, size):
        return blocks(q, k, v, size, **parts)

    forward.__name__ = name
    return forward


def blocks_averaged(q, k, v, size):
    starts = range(0, len(k), size)
    s = q @ k.T / np.sqrt(q.shape[1])
    heads = [softmax(s[:, i : i + size]) @ v[i : i + size] for i in starts]
    return sum(heads) / len(heads), np.log(np.exp(s - s.max(1, keepdims=True)).sum(1)) + s.max(1)


WRONG = [
    ("softmax_forward", softmax_of_columns, "down the columns"),
    ("softmax_forward", softmax_of_batch, "counts the examples of the batch"),
    ("softmax_forward", softmax_of_all, "over all numbers at once"),
    ("softmax_forward", softmax_no_maximum, "which one makes exp safe"),
    ("softmax_forward", softmax_no_sum, "not divided by their sum"),
    ("softmax_forward", softmax_bare, "not divided by their sum"),
    ("softmax_forward", softmax_one_maximum, "One maximum, that of the whole array"),
    ("softmax_forward", softmax_no_exp, "where is exp?"),
    ("softmax_forward", softmax_no_keepdims, "Is one of them transposed"),
    ("softmax_forward", softmax_in_place, "An operation in place"),
    ("split_heads", split_by_reshape, "runs of whole tokens"),
    ("split_heads", split_interleaved, "dealt out like cards"),
    ("split_heads", split_not_moved, "still in the order (B, T, H, D)"),
    ("split_heads", split_all_moved, "(B, H, D, T)"),
    ("split_heads", split_by_size, "used as the size of a head"),
    ("split_heads", split_heads_first, "before the batch"),
    ("merge_heads", merge_by_reshape, "a token is filled with"),
    ("merge_heads", merge_interleaved, "shuffled into each other"),
    ("merge_heads", merge_not_joined, "are still two"),
    ("merge_heads", merge_in_time, "one after the other in time"),
    ("merge_heads", merge_sum, "added up, or averaged"),
    *(("causal_scores", function, words) for function, words in SCORES),
    ("causal_scores", keys_ask, "Rows and columns are exchanged"),
    ("causal_scores", minus_a_billion, "but not the lowest"),
    ("causal_scores", minus_ten_thousand_added, "but not the lowest"),
    *(("attention_forward", attention_with(scores=function), words) for function, words in SCORES),
    ("attention_forward", attention_with(scores=no_mask, late=keep_lower), "no longer sums to 1"),
    ("attention_forward", attention_with(scores=no_mask, late=keep_lower_and_divide), "divided by their sums again"),
    ("attention_forward", attention_with(softmax=softmax_of_columns), "down the columns"),
    ("attention_forward", attention_with(softmax=softmax_of_batch), "counts the examples of the batch"),
    ("attention_forward", attention_with(softmax=softmax_of_all), "over all numbers at once"),
    ("attention_forward", attention_with(softmax=softmax_no_maximum), "which one makes exp safe"),
    ("attention_forward", attention_with(softmax=softmax_no_sum), "not divided by their sum"),
    ("attention_forward", attention_with(softmax=softmax_of_heads), "over the heads"),
    ("attention_forward", no_softmax, "There is no softmax"),
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
    ("attention_forward", third_within_each_head, "within each: (H, 3, D)"),
    ("attention_forward", attention_with(merge=merge_by_reshape), "by a reshape alone"),
    ("attention_forward", attention_with(flip=True), "probs is transposed"),
    ("attention_forward", no_c_proj, "c_proj is missing, the map"),
    ("attention_forward", no_c_attn_bias, "The bias of c_attn is missing"),
    ("attention_forward", no_c_proj_bias, "The bias of c_proj is missing"),
    ("attention_forward", no_biases, "Both biases are missing"),
    ("attention_forward", c_proj_turned, "The weight of c_proj is transposed"),
    ("attention_forward", with_residual, "the residual connection"),
    ("attention_forward", writes_into_x, "An operation in place"),
    ("attention_forward", adds_bias_in_place, "An operation in place"),
    ("attention_by_blocks", blocks_with("sum_stays", rescale=(False, True)), "the sum so far is not changed"),
    ("attention_by_blocks", blocks_with("head_stays", rescale=(True, False)), "the weighted values so far are"),
    ("attention_by_blocks", blocks_with("both_stay", rescale=(False, False)), "the numbers made with the old"),
    ("attention_by_blocks", blocks_with("no_maximum", most=None), "No maximum is subtracted"),
    ("attention_by_blocks", blocks_with("not_divided", divide=False), "are not divided by the sum of their weights"),
    ("attention_by_blocks", blocks_with("no_root", root=False), "are not divided by the root of D"),
    ("attention_by_blocks", blocks_with("last_dropped", drop=True), "The last block is missing"),
    ("attention_by_blocks", blocks_averaged, "its own softmax"),
    ("attention_by_blocks", blocks_with("no_m", result=lambda m, s: np.log(s)), "lacks the maximum"),
    ("attention_by_blocks", blocks_with("no_log", result=lambda m, s: s), "take the logarithm"),
]
