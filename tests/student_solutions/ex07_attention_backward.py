"""Exercise 7 as students write it: right in several styles, and wrong in the ways that are known."""

import math

import numpy as np

# The softmax.


def softmax_in_one_line(dprobs, probs):
    return probs * (dprobs - np.sum(dprobs * probs, axis=-1, keepdims=True))


def softmax_by_two_terms(dprobs, probs):
    weighted = probs * dprobs
    return weighted - probs * weighted.sum(-1)[..., None]


def softmax_by_jacobian(dprobs, probs):
    dscores = np.empty_like(dprobs)
    for index in np.ndindex(probs.shape[:-1]):
        p = probs[index]
        dscores[index] = (np.diag(p) - np.outer(p, p)) @ dprobs[index]
    return dscores


def softmax_in_loops(dprobs, probs):
    S = probs.shape[-1]
    dscores = np.zeros(probs.shape)
    for index in np.ndindex(probs.shape[:-1]):
        for j in range(S):
            for s in range(S):
                p, pj = float(probs[index][s]), float(probs[index][j])
                dscores[index][j] += float(dprobs[index][s]) * p * ((s == j) - pj)
    return dscores


# The heads.


def turn(array):
    return np.swapaxes(array, -2, -1)


def heads_step_by_step(dheads, cache):
    q, k, v, probs = cache["q"], cache["k"], cache["v"], cache["probs"]
    D = q.shape[-1]
    dv = probs.transpose(0, 1, 3, 2) @ dheads
    dprobs = dheads @ v.transpose(0, 1, 3, 2)
    dscores = softmax_in_one_line(dprobs, probs)
    dq = dscores @ k / np.sqrt(D)
    dk = dscores.transpose(0, 1, 3, 2) @ q / np.sqrt(D)
    return dq, dk, dv


def heads_by_einsum(dheads, cache):
    q, k, v, probs = (cache[name] for name in ("q", "k", "v", "probs"))
    root = q.shape[-1] ** -0.5
    dprobs = np.einsum("bhid,bhjd->bhij", dheads, v)
    dscores = probs * (dprobs - np.einsum("bhij,bhij->bhi", dprobs, probs)[..., None]) * root
    return (
        np.einsum("bhij,bhjd->bhid", dscores, k),
        np.einsum("bhij,bhid->bhjd", dscores, q),
        np.einsum("bhij,bhid->bhjd", probs, dheads),
    )


def heads_in_loops(dheads, cache):
    """Query by query; the keys in the future are never looked at."""
    q, k, v, probs = (cache[name] for name in ("q", "k", "v", "probs"))
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    B, H, T, D = q.shape
    for b, h, i in np.ndindex(B, H, T):
        seen = slice(0, i + 1)
        p = probs[b, h, i, seen]
        dv[b, h, seen] += np.outer(p, dheads[b, h, i])
        ds = softmax_in_one_line(v[b, h, seen] @ dheads[b, h, i], p) / math.sqrt(D)
        dq[b, h, i] = ds @ k[b, h, seen]
        dk[b, h, seen] += np.outer(ds, q[b, h, i])
    return dq, dk, dv


def heads_with_the_result(dheads, cache):
    """The sum over the row by the heads themselves, as FlashAttention has it."""
    q, k, probs = cache["q"], cache["k"], cache["probs"]
    dscores = probs * (dheads @ turn(cache["v"]) - (dheads * cache["heads"]).sum(-1, keepdims=True))
    dscores = np.where(np.isinf(cache["scores"]), 0, dscores) / math.sqrt(q.shape[-1])
    return dscores @ k, turn(dscores) @ q, turn(probs) @ dheads


# The attention.


def split(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def merge(heads):
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)


def linear(dy, x, weight):
    """dx, and the gradients of a linear layer."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ weight.T, {"weight": rows.T @ drows, "bias": drows.sum(0)}


def attention(dy, cache, heads=heads_step_by_step, split=split, merge=merge, order=(0, 1, 2), linear=linear):
    params = cache["params"]
    dmerged, c_proj = linear(dy, cache["heads"], params["c_proj"]["weight"])
    parts = heads(split(dmerged, cache["n_head"]), cache)
    dqkv = np.concatenate([merge(parts[i]) for i in order], axis=-1)
    dx, c_attn = linear(dqkv, cache["x"], params["c_attn"]["weight"])
    return dx, {"c_attn": c_attn, "c_proj": c_proj}


def attention_by_einsum(dy, cache):
    params, x, merged = cache["params"], cache["x"], cache["heads"]
    C = x.shape[-1]
    H, D = cache["n_head"], C // cache["n_head"]
    dheads = np.einsum("btc,hdc->bhtd", dy, params["c_proj"]["weight"].reshape(H, D, C))
    dqkv = np.stack(heads_by_einsum(dheads, cache))
    weight = params["c_attn"]["weight"].reshape(C, 3, H, D)
    return np.einsum("nbhtd,cnhd->btc", dqkv, weight), {
        "c_attn": {
            "weight": np.einsum("btc,nbhtd->cnhd", x, dqkv).reshape(C, -1),
            "bias": dqkv.sum(axis=(1, 3)).reshape(-1),
        },
        "c_proj": {"weight": np.einsum("btc,bte->ce", merged, dy), "bias": np.einsum("btc->c", dy)},
    }


def attention_in_three_parts(dy, cache):
    """x is used three times: three gradients, which are added."""
    x, params, H = cache["x"], cache["params"], cache["n_head"]
    C = x.shape[-1]
    weight = params["c_attn"]["weight"]
    dmerged = np.matmul(dy, params["c_proj"]["weight"].T)
    dx, dweight, dbias = np.zeros_like(x), np.zeros_like(weight), np.zeros_like(params["c_attn"]["bias"])
    for i, part in enumerate(heads_in_loops(split(dmerged, H), cache)):
        columns, part = slice(i * C, (i + 1) * C), merge(part)
        dx += part @ weight[:, columns].T
        dweight[:, columns] = np.tensordot(x, part, ((0, 1), (0, 1)))
        dbias[columns] = part.sum((0, 1))
    c_proj = {"weight": np.tensordot(cache["heads"], dy, ((0, 1), (0, 1))), "bias": dy.sum((0, 1))}
    return dx, {"c_proj": c_proj, "c_attn": {"bias": dbias, "weight": dweight}}


def attention_from_x_alone(dy, cache):
    """Nothing of the cache but what went in: everything is computed again, in float64."""
    x, params, H = cache["x"].astype("float64"), cache["params"], cache["n_head"]
    C, T = x.shape[-1], x.shape[1]
    q, k, v = (split(part, H) for part in np.split(x @ params["c_attn"]["weight"] + params["c_attn"]["bias"], 3, -1))
    scores = np.where(np.tri(T, dtype=bool), q @ turn(k) / (C // H) ** 0.5, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    probs = e / e.sum(-1, keepdims=True)
    again = cache | {"x": x, "q": q, "k": k, "v": v, "probs": probs, "heads": merge(probs @ v)}
    dx, grads = attention(dy, again)
    return dx.astype(dy.dtype), {
        name: {part: value.astype(dy.dtype) for part, value in both.items()} for name, both in grads.items()
    }


# The blocks.


def blocks(dhead, cache, rows=None, probs=None, roots=(1, 1), drop=False, keep=True):
    q, k, v, head, log_sums = (cache[name] for name in ("q", "k", "v", "head", "log_sums"))
    size, D = cache["size"], q.shape[1]
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    delta = (dhead * head).sum(axis=1, keepdims=True)
    for start in range(0, len(k) - size + 1 if drop else len(k), size):
        stop = start + size
        scores = q @ k[start:stop].T / np.sqrt(D)
        p = np.exp(scores - log_sums[:, None]) if probs is None else probs(scores, log_sums)
        dv[start:stop] = p.T @ dhead
        dp = dhead @ v[start:stop].T
        ds = p * (dp - (delta if rows is None else rows(dp, p)))
        part = ds @ k[start:stop] / D ** (0.5 * roots[0])
        dq = dq + part if keep else part
        dk[start:stop] = ds.T @ q / D ** (0.5 * roots[1])
    return dq, dk, dv


def blocks_key_by_key(dhead, cache):
    q, k, v, head, log_sums = (cache[name] for name in ("q", "k", "v", "head", "log_sums"))
    root = 1 / math.sqrt(q.shape[1])
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for j in range(len(k)):
        p = np.exp((q * root) @ k[j] - log_sums)
        ds = p * np.einsum("td,td->t", dhead, v[j] - head) * root
        dq += np.outer(ds, k[j])
        dk[j] = ds @ q
        dv[j] = p @ dhead
    return dq, dk, dv


RIGHT = [
    ("softmax_backward", softmax_in_one_line),
    ("softmax_backward", softmax_by_two_terms),
    ("softmax_backward", softmax_by_jacobian),
    ("softmax_backward", softmax_in_loops),
    ("dot_product_attention_backward", heads_step_by_step),
    ("dot_product_attention_backward", heads_by_einsum),
    ("dot_product_attention_backward", heads_in_loops),
    ("dot_product_attention_backward", heads_with_the_result),
    ("attention_backward", attention),
    ("attention_backward", attention_by_einsum),
    ("attention_backward", attention_in_three_parts),
    ("attention_backward", attention_from_x_alone),
    ("attention_by_blocks_backward", blocks),
    ("attention_by_blocks_backward", blocks_key_by_key),
]


# The softmax, wrong.


def no_sum(dprobs, probs):
    return dprobs * probs


def diagonal(dprobs, probs):
    return dprobs * (probs - probs**2)


def sum_of_columns(dprobs, probs):
    axis = max(probs.ndim - 2, 0)
    return probs * (dprobs - np.sum(dprobs * probs, axis=axis, keepdims=True))


def sum_of_all(dprobs, probs):
    return probs * (dprobs - np.vdot(dprobs, probs))


def no_factor(dprobs, probs):
    return dprobs - np.sum(dprobs * probs, axis=-1, keepdims=True)


def brackets(dprobs, probs):
    return probs * dprobs - np.sum(dprobs * probs, axis=-1, keepdims=True)


def sum_not_weighted(dprobs, probs):
    return probs * (dprobs - np.sum(dprobs, axis=-1, keepdims=True))


def plain_mean(dprobs, probs):
    return probs * (dprobs - np.mean(dprobs, axis=-1, keepdims=True))


def no_keepdims(dprobs, probs):
    return probs * (dprobs - np.sum(dprobs * probs, axis=-1))


def in_place(dprobs, probs):
    dprobs -= np.sum(dprobs * probs, axis=-1, keepdims=True)
    return dprobs * probs


SOFTMAX = [
    (no_sum, "The sum over the row is missing"),
    (diagonal, "the diagonal of the softmax's Jacobian"),
    (sum_of_columns, "runs down the columns"),
    (sum_of_all, "one number for all rows"),
    (no_factor, "The first factor of dscores is missing"),
    (brackets, "Mind the brackets"),
    (sum_not_weighted, "the plain sum of dprobs"),
    (plain_mean, "The plain mean of dprobs"),
]


# The heads, wrong.


def heads(dheads, cache, softmax=softmax_in_one_line, values="v", roots=(0.5, 0.5), probs=None, late=None):
    q, k, D = cache["q"], cache["k"], cache["q"].shape[-1]
    probs = cache["probs"] if probs is None else probs
    dscores = softmax(dheads @ turn(cache[values]), probs)
    if late:
        dscores = late(dscores)
    return dscores @ k / D ** roots[0], turn(dscores) @ q / D ** roots[1], turn(probs) @ dheads


def heads_with(name, **parts):
    def backward(dheads, cache):
        return heads(dheads, cache, **parts)

    backward.__name__ = name
    return backward


def dscores_of(dheads, cache):
    return softmax_in_one_line(dheads @ turn(cache["v"]), cache["probs"]) / math.sqrt(cache["q"].shape[-1])


def dk_not_turned(dheads, cache):
    dq, _, dv = heads(dheads, cache)
    return dq, dscores_of(dheads, cache) @ cache["q"], dv


def dq_turned(dheads, cache):
    _, dk, dv = heads(dheads, cache)
    return turn(dscores_of(dheads, cache)) @ cache["k"], dk, dv


def q_for_k(dheads, cache):
    dscores = dscores_of(dheads, cache)
    return dscores @ cache["q"], turn(dscores) @ cache["k"], heads(dheads, cache)[2]


def dv_not_turned(dheads, cache):
    return *heads(dheads, cache)[:2], cache["probs"] @ dheads


def dv_of_scores(dheads, cache):
    return *heads(dheads, cache)[:2], turn(cache["scores"]) @ dheads


def unmasked_probs(cache):
    scores = cache["q"] @ turn(cache["k"]) / math.sqrt(cache["q"].shape[-1])
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def mask_forgotten(dheads, cache):
    return heads(dheads, cache, probs=unmasked_probs(cache))


def mask_forgotten_in_the_softmax(dheads, cache):
    return heads(dheads, cache, softmax=lambda dprobs, _: softmax_in_one_line(dprobs, unmasked_probs(cache)))


def minus_infinity(dscores):
    dscores[..., np.triu(np.ones(dscores.shape[-2:], bool), 1)] = -np.inf
    return dscores


def scales_q_in_place(dheads, cache):
    dq, dk, dv = heads(dheads, cache)
    q = cache["q"]
    q /= math.sqrt(q.shape[-1])
    return dq, dk, dv


HEADS = [
    *((heads_with(function.__name__, softmax=function), words) for function, words in SOFTMAX),
    (heads_with("no_softmax", softmax=lambda dprobs, probs: dprobs), "The softmax is skipped"),
    (heads_with("no_roots", roots=(0, 0)), "Neither dq nor dk"),
    (heads_with("no_root_in_dq", roots=(0, 0.5)), "dq is not divided by the root"),
    (heads_with("no_root_in_dk", roots=(0.5, 0)), "dk is not divided by the root"),
    (heads_with("two_roots", roots=(1, 1)), "dq and dk are divided by D"),
    (dk_not_turned, "dk adds up the queries with the wrong shares"),
    (dq_turned, "dq adds up the keys with the wrong shares"),
    (q_for_k, "dq is made from the queries"),
    (dv_not_turned, "In dv, probs is not transposed"),
    (dv_of_scores, "dv is made with the scores"),
    (heads_with("dprobs_of_k", values="k"), "dprobs is made with the keys"),
    (heads_with("dprobs_of_q", values="q"), "dprobs is made with the queries"),
    (mask_forgotten, "has seen no mask"),
    (mask_forgotten_in_the_softmax, "has seen no mask"),
    (heads_with("minus_infinity", late=minus_infinity), "-inf is put into a gradient"),
]


# The attention, wrong.


def attention_with(name, **parts):
    def backward(dy, cache):
        return attention(dy, cache, **parts)

    backward.__name__ = name
    return backward


def split_by_reshape(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, n_head, T, C // n_head)


def merge_by_reshape(heads):
    B, H, T, D = heads.shape
    return heads.reshape(B, T, H * D)


def within_each_head(dy, cache):
    dx, grads = attention(dy, cache)
    B, T, C = dx.shape
    dmerged = dy @ cache["params"]["c_proj"]["weight"].T
    dqkv = np.concatenate(heads(split(dmerged, cache["n_head"]), cache), axis=-1)  # (B, H, T, 3D)
    dx, grads["c_attn"] = linear(
        dqkv.transpose(0, 2, 1, 3).reshape(B, T, 3 * C), cache["x"], cache["params"]["c_attn"]["weight"]
    )
    return dx, grads


def past_c_proj(dy, x, weight):
    return (dy if weight.shape[0] == weight.shape[1] else dy @ weight.T), linear(dy, x, weight)[1]


def c_proj_not_turned(dy, x, weight):
    return dy @ (weight if weight.shape[0] == weight.shape[1] else weight.T), linear(dy, x, weight)[1]


def c_proj_of_x(dy, cache):
    dx, grads = attention(dy, cache)
    grads["c_proj"]["weight"] = np.einsum("btc,btd->cd", cache["x"], dy)
    return dx, grads


def biases_averaged(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, grads | {"bias": dy.mean((0, 1))}


def all_averaged(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, {name: value / (dy.shape[0] * dy.shape[1]) for name, value in grads.items()}


def biases_not_summed(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, grads | {"bias": dy}


def biases_summed_over_batch(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, grads | {"bias": dy.sum(axis=0)}


def biases_summed_over_time(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, grads | {"bias": dy.sum(axis=1)}


def weights_not_summed(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, grads | {"weight": turn(x) @ dy}


def nothing_summed_over_batch(dy, x, weight):
    return dy @ weight.T, {"weight": turn(x) @ dy, "bias": dy.sum(axis=1)}


def weights_turned(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, grads | {"weight": grads["weight"].T}


def dx_overwritten(dy, cache):
    _, grads = attention(dy, cache)
    weight, C = cache["params"]["c_attn"]["weight"], dy.shape[-1]
    dmerged = dy @ cache["params"]["c_proj"]["weight"].T
    for i, part in enumerate(heads(split(dmerged, cache["n_head"]), cache)):
        dx = merge(part) @ weight[:, i * C : (i + 1) * C].T
    return dx, grads


def with_residual(dy, cache):
    dx, grads = attention(dy, cache)
    return dx + dy, grads


def grads_first(dy, cache):
    dx, grads = attention(dy, cache)
    return grads, dx


def changes_dy(dy, cache):
    result = attention(dy, cache)
    dy *= 0
    return result


def blocks_with(name, **parts):
    def backward(dhead, cache):
        return blocks(dhead, cache, **parts)

    backward.__name__ = name
    return backward


def own_softmax(scores, log_sums):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


WRONG = [
    *(("softmax_backward", function, words) for function, words in SOFTMAX),
    ("softmax_backward", no_keepdims, "Is one of them transposed"),
    ("softmax_backward", in_place, "An operation in place"),
    *(("dot_product_attention_backward", function, words) for function, words in HEADS),
    ("dot_product_attention_backward", scales_q_in_place, "An operation in place"),
    *(("attention_backward", attention_with(f.__name__, heads=f), words) for f, words in HEADS),
    ("attention_backward", attention_with("order_kqv", order=(1, 0, 2)), "a different order from the one"),
    ("attention_backward", attention_with("order_vqk", order=(2, 0, 1)), "a different order from the one"),
    ("attention_backward", within_each_head, "side by side within each head"),
    ("attention_backward", attention_with("merge_by_reshape", merge=merge_by_reshape), "How does merge_heads do it"),
    ("attention_backward", attention_with("split_by_reshape", split=split_by_reshape), "How does split_heads do it"),
    (
        "attention_backward",
        attention_with("both_by_reshape", split=split_by_reshape, merge=merge_by_reshape),
        "a reshape alone, both times",
    ),
    ("attention_backward", attention_with("past_c_proj", linear=past_c_proj), "dy goes into the heads unchanged"),
    ("attention_backward", attention_with("not_turned", linear=c_proj_not_turned), "its weight is not transposed"),
    ("attention_backward", c_proj_of_x, "is made with x"),
    ("attention_backward", attention_with("biases_averaged", linear=biases_averaged), "biases are means"),
    ("attention_backward", attention_with("all_averaged", linear=all_averaged), "All gradients of parameters"),
    ("attention_backward", attention_with("not_summed", linear=biases_not_summed), "have the axes of batch and time"),
    ("attention_backward", attention_with("over_batch", linear=biases_summed_over_batch), "batch or over time only"),
    ("attention_backward", attention_with("over_time", linear=biases_summed_over_time), "batch or over time only"),
    ("attention_backward", attention_with("weights", linear=weights_not_summed), "All sequences share one weight"),
    ("attention_backward", attention_with("nothing", linear=nothing_summed_over_batch), "weights and biases still"),
    ("attention_backward", attention_with("weights_turned", linear=weights_turned), "is right, but transposed"),
    ("attention_backward", dx_overwritten, "only one of its three parts"),
    ("attention_backward", with_residual, "dy is added to dx"),
    ("attention_backward", grads_first, "in this order: dx, grads"),
    ("attention_backward", changes_dy, "An operation in place"),
    (
        "attention_by_blocks_backward",
        blocks_with("block_sum", rows=lambda dp, p: (dp * p).sum(1, keepdims=True)),
        "runs over the keys of one block",
    ),
    ("attention_by_blocks_backward", blocks_with("no_sum", rows=lambda dp, p: 0), "Nothing is subtracted from dprobs"),
    ("attention_by_blocks_backward", blocks_with("own_softmax", probs=own_softmax), "sum to 1 by themselves"),
    (
        "attention_by_blocks_backward",
        blocks_with("not_divided", probs=lambda scores, log_sums: np.exp(scores)),
        "not divided by the sum of the row",
    ),
    (
        "attention_by_blocks_backward",
        blocks_with("logarithms", probs=lambda scores, log_sums: np.exp(scores) / log_sums[:, None]),
        "which are logarithms",
    ),
    (
        "attention_by_blocks_backward",
        blocks_with("overflow", probs=lambda scores, log_sums: np.exp(scores) / np.exp(log_sums)[:, None]),
        "Subtract the logarithm first",
    ),
    ("attention_by_blocks_backward", blocks_with("last_dq", keep=False), "dq is that of the last block"),
    ("attention_by_blocks_backward", blocks_with("no_roots", roots=(0, 0)), "Neither dq nor dk"),
    ("attention_by_blocks_backward", blocks_with("no_root_in_dq", roots=(0, 1)), "dq is not divided by the root"),
    ("attention_by_blocks_backward", blocks_with("no_root_in_dk", roots=(1, 0)), "dk is not divided by the root"),
    ("attention_by_blocks_backward", blocks_with("last_dropped", drop=True), "The last block is missing"),
]
