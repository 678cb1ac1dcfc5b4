"""Exercise 7 as students write it: right in several styles, and wrong in the ways that are known."""

import itertools
import math

import numpy as np

from minigpt2.components.attention import attention_backward as library_attention
from minigpt2.components.softmax import softmax_backward as library_softmax

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


def blocks(dhead, cache):
    q, k, v, head, log_sums = (cache[name] for name in ("q", "k", "v", "head", "log_sums"))
    size, D = cache["size"], q.shape[1]
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    delta = (dhead * head).sum(axis=1, keepdims=True)
    for start in range(0, len(k), size):
        stop = start + size
        p = np.exp(q @ k[start:stop].T / np.sqrt(D) - log_sums[:, None])
        dv[start:stop] = p.T @ dhead
        ds = p * (dhead @ v[start:stop].T - delta) / np.sqrt(D)
        dq = dq + ds @ k[start:stop]
        dk[start:stop] = ds.T @ q
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
    ("softmax_backward", library_softmax),
    ("softmax_backward", softmax_in_one_line),
    ("softmax_backward", softmax_by_two_terms),
    ("softmax_backward", softmax_by_jacobian),
    ("softmax_backward", softmax_in_loops),
    ("dot_product_attention_backward", heads_step_by_step),
    ("dot_product_attention_backward", heads_by_einsum),
    ("dot_product_attention_backward", heads_in_loops),
    ("dot_product_attention_backward", heads_with_the_result),
    ("attention_backward", library_attention),
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


def sum_over(axis):
    def backward(dprobs, probs):
        return probs * (dprobs - np.sum(dprobs * probs, axis=axis, keepdims=True))

    backward.__name__ = f"sum_over_{axis}"
    return backward


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


def mean_of_products(dprobs, probs):
    return probs * (dprobs - np.mean(dprobs * probs, axis=-1, keepdims=True))


def squares(dprobs, probs):
    weighted = probs * dprobs
    return weighted - probs * np.sum(probs * weighted, axis=-1, keepdims=True)


def terms_added(dprobs, probs):
    return probs * (dprobs + np.sum(dprobs * probs, axis=-1, keepdims=True))


def sign_turned(dprobs, probs):
    return probs * (np.sum(dprobs * probs, axis=-1, keepdims=True) - dprobs)


def own_term_incomplete(dprobs, probs):
    weighted = dprobs * probs
    return weighted - probs * (weighted.sum(-1, keepdims=True) - weighted)


def of_the_logarithm(dprobs, probs):
    return dprobs - probs * dprobs.sum(-1, keepdims=True)


def exchanged(dprobs, probs):
    return dprobs * (probs - np.sum(dprobs * probs, axis=-1, keepdims=True))


def wrong_index(dprobs, probs):
    jacobian = probs[..., :, None] * (np.eye(probs.shape[-1]) - probs[..., None, :])
    return jacobian.sum(-1) * dprobs


def weights_outside(dprobs, probs):
    return probs * dprobs - probs**2 * np.sum(dprobs, axis=-1, keepdims=True)


def softmax_of(scores):
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def shares_again(dprobs, probs):
    return softmax_in_one_line(dprobs, softmax_of(probs))


def forward_again(dprobs, probs):
    return softmax_of(dprobs)


def without_axis_and_factor(dprobs, probs):
    return dprobs - np.sum(dprobs * probs, axis=0, keepdims=True)


def jacobians(dprobs, probs):
    each = [np.diag(row) - np.outer(row, row) for row in probs.reshape(-1, probs.shape[-1])]
    return np.array(each).reshape(probs.shape + probs.shape[-1:])


def two_in_the_softmax(dprobs, probs):
    return probs * (dprobs + np.mean(dprobs, axis=-1, keepdims=True))


def short_cut(dprobs, probs):
    return probs - dprobs


def divided_by_the_number(dprobs, probs):
    return softmax_in_one_line(dprobs, probs) / probs.shape[-1]


def masked(dprobs, probs):
    return np.tril(softmax_in_one_line(dprobs, probs))


def kept(dprobs, probs, store={}):  # noqa: B006
    return store.setdefault(dprobs.shape, softmax_in_one_line(dprobs, probs))


def sum_alone_weighted(dprobs, probs):
    return dprobs - probs * np.einsum("...s,...s->...", dprobs, probs)[..., None]


def last_term(dprobs, probs):
    inner = np.zeros_like(dprobs)
    for s in range(probs.shape[-1]):
        inner[..., :] = (dprobs[..., s] * probs[..., s])[..., None]  # where += belongs
    return probs * (dprobs - inner)


SOFTMAX = [
    (sum_alone_weighted, "multiplies the sum, but not dprobs"),
    (last_term, "Only the last term of the sum"),
    (mean_of_products, "divided by the number of shares"),
    (squares, "the squares of the shares"),
    (terms_added, "The two terms of dscores are added"),
    (sign_turned, "dscores has the wrong sign"),
    (own_term_incomplete, "is not complete in dscores"),
    (of_the_logarithm, "the gradient of the logarithm of the softmax"),
    (exchanged, "have changed places"),
    (wrong_index, "dprobs was taken out of the sum"),
    (weights_outside, "The weights were taken out of the sum"),
    (shares_again, "The softmax is taken once more"),
    (forward_again, "The softmax itself is taken of dprobs"),
    (two_in_the_softmax, "2 things at once"),
    (without_axis_and_factor, "2 things at once"),
    (no_sum, "The sum over the row is missing"),
    (diagonal, "the diagonal of the softmax's Jacobian"),
    (sum_over(-2), "runs down the columns"),
    (sum_over(0), "runs over the first axis"),
    (sum_of_all, "one number for all rows"),
    (no_factor, "The first factor of dscores is missing"),
    (brackets, "probs multiplies dprobs, but not the sum"),
    (sum_not_weighted, "the plain sum of dprobs"),
    (plain_mean, "The plain mean of dprobs"),
]


# The heads, wrong.


def heads(
    dheads, cache, softmax=softmax_in_one_line, values="v", roots=(0.5, 0.5), probs=None, late=None, turn_dprobs=False,
    divisor=None, dv_root=0, meets=("k", "q"),
):  # fmt: skip
    """Somebody's gradients, wrong in one of their parts."""
    D = cache["q"].shape[-1]
    probs = cache["probs"] if probs is None else probs
    dprobs = dheads @ turn(cache[values])
    dscores = softmax(turn(dprobs) if turn_dprobs else dprobs, probs)
    if late:
        dscores = late(dscores)
    by_q, by_k = (divisor(cache["q"]),) * 2 if divisor else (D ** roots[0], D ** roots[1])
    q, k = cache[meets[1]], cache[meets[0]]
    return dscores @ k / by_q, turn(dscores) @ q / by_k, turn(probs) @ dheads / D**dv_root


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


def dk_of_dq(dheads, cache):
    dq, _, dv = heads(dheads, cache)
    return dq, turn(dscores_of(dheads, cache)) @ dq, dv


def values_by_reshape(dheads, cache):
    v = cache["v"]
    return heads(dheads, cache | {"v": turn(v.reshape(*v.shape[:2], v.shape[3], v.shape[2]))})


def all_by_reshape(dheads, cache):
    q, k, v, probs = (cache[name] for name in ("q", "k", "v", "probs"))
    B, H, T, D = q.shape
    dv = probs.reshape(B, H, T, T) @ dheads
    dscores = softmax_in_one_line(dheads @ v.reshape(B, H, D, T), probs) / math.sqrt(D)
    return dscores @ k, dscores.reshape(B, H, T, T) @ q, dv


def all_axes_turned(dheads, cache):
    return *heads(dheads, cache)[:2], cache["probs"].T @ dheads


def softmax_of_the_scores(dheads, cache):
    return heads(dheads, cache, softmax=lambda dprobs, _: softmax_in_one_line(dprobs, cache["scores"]))


def infinite_where_no_share(dheads, cache):
    def softmax(dprobs, probs):
        dscores = softmax_in_one_line(dprobs, probs)
        dscores[probs == 0] = -np.inf
        return dscores

    return heads(dheads, cache, softmax=softmax)


def only_the_past(dscores):
    return np.where(np.tri(dscores.shape[-1], k=-1, dtype=bool), dscores, 0)


def dprobs_of_the_heads(dheads, cache):
    dq, dk, _ = heads(dheads, cache | {"v": cache["probs"] @ cache["v"]})
    return dq, dk, heads(dheads, cache)[2]


def sum_with_own_value(dheads, cache):
    row = np.einsum("bhtd,bhtd->bht", dheads, cache["v"])[..., None]
    return heads(dheads, cache, softmax=lambda dprobs, probs: probs * dprobs - probs * row)


def each_query_overwrites(names):
    def backward(dheads, cache):
        gradients = dict(zip(("dq", "dk", "dv"), heads(dheads, cache), strict=True))
        dscores = dscores_of(dheads, cache)
        for i in range(dheads.shape[2]):
            for j in range(i + 1):
                if "dk" in names:
                    gradients["dk"][:, :, j] = dscores[:, :, i, j, None] * cache["q"][:, :, i]
                if "dv" in names:
                    gradients["dv"][:, :, j] = cache["probs"][:, :, i, j, None] * dheads[:, :, i]
        return tuple(gradients.values())

    backward.__name__ = f"overwrites_{'_'.join(names)}"
    return backward


def future_kept(dscores):
    return np.where(np.tri(dscores.shape[-1], k=-1, dtype=bool), 0, dscores)


def two_not_turned(dheads, cache):
    return dk_not_turned(dheads, cache)[:2] + dv_not_turned(dheads, cache)[2:]


def stacked(dheads, cache):
    return np.stack(heads(dheads, cache))


def in_order(names, function):
    """The gradients of a function in another order."""

    def backward(dheads, cache):
        gradients = dict(zip(("dq", "dk", "dv"), function(dheads, cache), strict=True))
        return tuple(gradients[name] for name in names)

    backward.__name__ = "_".join(names)
    return backward


ORDERS = list(itertools.permutations(("dq", "dk", "dv")))[1:]


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
    (q_for_k, "dq is made from the queries and dk from the keys"),
    (dv_not_turned, "In dv, probs is not transposed"),
    (dv_of_scores, "dv is made with the scores"),
    (heads_with("dprobs_of_k", values="k"), "dprobs is made with the keys"),
    (heads_with("dprobs_of_q", values="q"), "dprobs is made with the queries"),
    (mask_forgotten, "has seen no mask"),
    (mask_forgotten_in_the_softmax, "has seen no mask"),
    (heads_with("minus_infinity", late=minus_infinity), "-inf is put into a gradient"),
    (heads_with("by_root_of_T", divisor=lambda q: q.shape[2] ** 0.5), "divided by the root of T"),
    (heads_with("by_root_of_C", divisor=lambda q: (q.shape[1] * q.shape[3]) ** 0.5), "divided by the root of C"),
    (heads_with("by_half_of_D", divisor=lambda q: q.shape[3] * 0.5), "divided by half of D"),
    (heads_with("times_root", roots=(-0.5, -0.5)), "multiplied by the root of D"),
    (heads_with("dv_divided", dv_root=0.5), "dv is divided by the root of D"),
    (heads_with("dq_of_q", meets=("q", "q")), "dq is made from the queries."),
    (heads_with("dk_of_k", meets=("k", "k")), "dk is made from the keys."),
    (heads_with("dprobs_turned", turn_dprobs=True), "dprobs is transposed"),
    (heads_with("wrong_half", late=future_kept), "The mask has the wrong half of dscores"),
    (dk_of_dq, "dk is made from dq"),
    (values_by_reshape, "the shape of v's transpose by a reshape"),
    (all_by_reshape, "reshape stands in place of the transposes"),
    (all_axes_turned, "`.T` reverses all axes"),
    (softmax_of_the_scores, "is made with the scores, which are -inf"),
    (infinite_where_no_share, "-inf is put into a gradient"),
    (heads_with("only_the_past", late=only_the_past), "The diagonal of dscores is lost"),
    (dprobs_of_the_heads, "dprobs is made with the heads"),
    (sum_with_own_value, "the value at its own place"),
    (heads_with("by_root_of_H", divisor=lambda q: q.shape[1] ** 0.5), "divided by the root of H"),
    (heads_with("by_8", divisor=lambda q: 8), "That is the D of GPT-2"),
    (each_query_overwrites(["dk"]), "dk has a part of one query"),
    (each_query_overwrites(["dv"]), "dv has a part of one query"),
    (each_query_overwrites(["dk", "dv"]), "dk and dv have a part of one query"),
    (two_not_turned, "2 things at once"),
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


def gradients_with(name, layers, part, make):
    """The gradient of a weight or a bias made in another way, in some of the layers."""

    def backward(dy, cache):
        dx, grads = attention(dy, cache)
        dmerged = dy @ cache["params"]["c_proj"]["weight"].T
        parts = heads_step_by_step(split(dmerged, cache["n_head"]), cache)
        dqkv = np.concatenate([merge(part) for part in parts], axis=-1)
        arrays = {"c_attn": (cache["x"], dqkv), "c_proj": (cache["heads"], dy)}
        for layer in layers:
            grads[layer][part] = make(grads[layer][part], *arrays[layer])
        return dx, grads

    backward.__name__ = f"{name}_{'_'.join(layers)}"
    return backward


LAYERS = ("c_attn",), ("c_proj",), ("c_attn", "c_proj")
GRADIENTS = [
    ("averaged", "bias", lambda grad, x, dy: dy.mean((0, 1)), "The biases' gradients ({}) are means"),
    ("not_summed", "bias", lambda grad, x, dy: dy, "The biases' gradients ({}) still have the axes"),
    ("over_batch", "bias", lambda grad, x, dy: dy.sum(0), "The biases' gradients ({}) are summed over batch or"),
    ("over_time", "bias", lambda grad, x, dy: dy.sum(1), "The biases' gradients ({}) are summed over batch or"),
    ("over_channels", "bias", lambda grad, x, dy: dy.sum(-1), "The biases' gradients ({}) are summed over the chan"),
    (
        "by_reshape",
        "weight",
        lambda grad, x, dy: x.reshape(x.shape[-1], -1) @ dy.reshape(-1, dy.shape[-1]),
        "The weights' gradients ({}) are made with a reshape",
    ),
    ("by_batch", "weight", lambda grad, x, dy: grad / len(dy), "The weights' gradients ({}) are means"),
    ("not_summed", "weight", lambda grad, x, dy: turn(x) @ dy, "The weights' gradients ({}) still have the axis"),
    ("turned", "weight", lambda grad, x, dy: grad.T, "The weights' gradients ({}) are transposed"),
]


def all_averaged(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return dx, {name: value / (dy.shape[0] * dy.shape[1]) for name, value in grads.items()}


def c_proj_of_y(dy, cache):
    return attention(dy, cache)[0], attention(dy, cache | {"heads": cache["out"]})[1]


def c_proj_of_values(dy, cache):
    dx, grads = attention(dy, cache)
    grads["c_proj"]["weight"] = np.einsum("btc,btd->cd", merge(cache["v"]), dy)
    return dx, grads


def c_proj_by_reshape(dy, cache):
    dx, grads = attention(dy, cache)
    rows = merge_by_reshape(split(cache["heads"], cache["n_head"])).reshape(-1, dy.shape[-1])
    grads["c_proj"]["weight"] = rows.T @ dy.reshape(rows.shape)
    return dx, grads


def c_proj_of_dmerged(dy, cache):
    dx, grads = attention(dy, cache)
    dmerged = dy @ cache["params"]["c_proj"]["weight"].T
    return dx, grads | {"c_proj": linear(dmerged, cache["heads"], cache["params"]["c_proj"]["weight"])[1]}


def stops_at_dqkv(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return (dx if dy.shape == x.shape else dy), grads


def c_attn_of_heads(dy, cache):
    return attention(dy, cache)[0], attention(dy, cache | {"x": cache["heads"]})[1]


def c_attn_of_dx(dy, cache):
    dx, _ = attention(dy, cache)
    return dx, attention(dy, cache | {"x": dx})[1]


def joined(how):
    """dq, dk and dv (B, T, C) put together in another way."""

    def backward(dy, cache):
        params = cache["params"]
        dmerged, c_proj = linear(dy, cache["heads"], params["c_proj"]["weight"])
        dqkv = how([merge(part) for part in heads_step_by_step(split(dmerged, cache["n_head"]), cache)])
        dx, c_attn = linear(dqkv, cache["x"], params["c_attn"]["weight"])
        return dx, {"c_attn": c_attn, "c_proj": c_proj}

    backward.__name__ = how.__name__
    return backward


def in_turns(parts):
    return np.stack(parts, axis=-1).reshape(*parts[0].shape[:2], -1)


def in_time(parts):
    return np.concatenate(parts, axis=1)


def added(parts):
    return parts[0] + parts[1] + parts[2]


def merge_interleaved(heads):
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 3, 1).reshape(B, T, D * H)


def split_interleaved(x, n_head):
    return np.stack([x[:, :, h::n_head] for h in range(n_head)], axis=1)


def dx_averaged(dy, cache):
    dx, grads = attention(dy, cache)
    return dx / 3, grads


def weight_by_reshape(dy, x, weight):
    dx, grads = linear(dy, x, weight)
    return (dx if weight.shape[0] == weight.shape[1] else dy @ weight.reshape(weight.shape[::-1])), grads


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


def blocks_wrong(
    dhead, cache, rows=lambda dhead, head, dp, p: (dhead * head).sum(1, keepdims=True),
    probs=lambda s, l: np.exp(s - l), roots=(0.5, 0.5, 0.5), starts=lambda q, k, size: range(0, len(k), size),
    longer=0, keep=True, mask=False, factor=True, values="v", meets=("k", "q"),
):  # fmt: skip
    """Somebody's gradients by blocks, wrong in one of their parts."""
    q, k, v, size = cache["q"], cache["k"], cache["v"], cache["size"]
    D = q.shape[1]
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for start in starts(q, k, size):
        part = slice(start, start + size + longer)
        p = probs(q @ k[part].T / D ** roots[0], cache["log_sums"][:, None])
        if mask:
            p = np.where(np.arange(len(q))[:, None] < np.arange(len(k))[part], 0, p)
        dp = dhead @ cache[values][part].T
        ds = dp - rows(dhead, cache["head"], dp, p)
        ds = p * ds if factor else ds
        dq = (dq if keep else 0) + ds @ cache[meets[0]][part] / D ** roots[1]
        dk[part] = ds.T @ (dhead if meets[1] == "dhead" else cache[meets[1]]) / D ** roots[2]
        dv[part] = p.T @ dhead
    return dq, dk, dv


def blocks_with(name, **parts):
    def backward(dhead, cache):
        return blocks_wrong(dhead, cache, **parts)

    backward.__name__ = name
    return backward


def blocks_not_at_all(dhead, cache):
    return blocks_wrong(dhead, cache | {"size": len(cache["k"])})


def with_maximum(scores, log_sums):
    largest = np.max(scores, axis=1)[:, None]
    return np.exp(scores - largest - log_sums)


def brackets_in_blocks(dhead, cache):
    q, k, v, head, log_sums = (cache[name] for name in ("q", "k", "v", "head", "log_sums"))
    p = np.exp(q @ k.T / q.shape[1] ** 0.5 - log_sums[:, None])
    ds = (p * (dhead @ v.T) - np.sum(dhead * head, 1)[:, None]) / q.shape[1] ** 0.5
    return ds @ k, ds.T @ q, p.T @ dhead


def with_queries(dhead, cache):
    dq, dk, _ = blocks(dhead, cache | {"head": cache["q"]})
    return dq, dk, blocks(dhead, cache)[2]


def own_softmax(scores, log_sums):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


BLOCKS = [
    ("block_sum", {"rows": lambda dhead, head, dp, p: (dp * p).sum(1, keepdims=True)}, "over the keys of one block"),
    ("no_sum", {"rows": lambda dhead, head, dp, p: 0}, "Nothing is subtracted from dprobs"),
    ("plus", {"rows": lambda dhead, head, dp, p: -(dhead * head).sum(1, keepdims=True)}, "Look at their signs"),
    ("one_sum", {"rows": lambda dhead, head, dp, p: (dhead * head).sum()}, "one number for all queries"),
    ("mean", {"rows": lambda dhead, head, dp, p: (dhead * head).mean(1, keepdims=True)}, "and is one a mean"),
    ("no_dhead", {"rows": lambda dhead, head, dp, p: (head**2).sum(1, keepdims=True)}, "is made without dhead"),
    ("dhead_alone", {"rows": lambda dhead, head, dp, p: dhead.sum(1, keepdims=True)}, "is made of dhead alone"),
    ("no_factor", {"factor": False}, "The first factor of dscores, the shares"),
    ("own_softmax", {"probs": own_softmax}, "sum to 1 by themselves"),
    ("not_divided", {"probs": lambda s, l: np.exp(s)}, "not divided by the sum of the row"),
    ("logarithms", {"probs": lambda s, l: np.exp(s) / l}, "which are logarithms"),
    ("overflow", {"probs": lambda s, l: np.exp(s) / np.exp(l)}, "Subtract the logarithm first"),
    ("maximum", {"probs": with_maximum}, "A maximum is subtracted"),
    ("sign", {"probs": lambda s, l: np.exp(l - s)}, "The sign in the exponent"),
    ("log_sums_added", {"probs": lambda s, l: np.exp(s + l)}, "log_sums are added in the exponent"),
    ("base_2", {"probs": lambda s, l: 2 ** (s - l)}, "powers of another base"),
    ("mask", {"mask": True}, "There is a mask"),
    ("no_root_in_scores", {"roots": (0, 0.5, 0.5)}, "without the root of D, and so they are others"),
    ("last_dq", {"keep": False}, "dq is that of the last block"),
    ("dprobs_of_k", {"values": "k"}, "dprobs is made with the keys"),
    ("dk_of_dhead", {"meets": ("k", "dhead")}, "dk is made from dhead"),
    ("dq_of_v", {"meets": ("v", "q")}, "dq is made from the values"),
    ("no_roots", {"roots": (0.5, 0, 0)}, "Neither dq nor dk"),
    ("two_roots", {"roots": (0.5, 1, 1)}, "dq and dk are divided by D"),
    ("no_root_in_dq", {"roots": (0.5, 0, 0.5)}, "dq is not divided by the root"),
    ("no_root_in_dk", {"roots": (0.5, 0.5, 0)}, "dk is not divided by the root"),
    ("last_dropped", {"starts": lambda q, k, size: range(0, len(k) - size + 1, size)}, "The last block is missing"),
    ("first_dropped", {"starts": lambda q, k, size: range(size, len(k), size)}, "The first block is missing"),
    ("first_alone", {"starts": lambda q, k, size: [0]}, "Only the first block is used"),
    ("as_many_as_queries", {"starts": lambda q, k, size: range(0, len(q), size)}, "as many keys as there are queries"),
    ("at_every_key", {"starts": lambda q, k, size: range(len(k))}, "A block begins at every key"),
    ("overlap", {"longer": 1}, "belongs to two of them"),
    ("too_short", {"longer": -1}, "The last key of each block is missing"),
    ("last_dq_no_sum", {"keep": False, "rows": lambda dhead, head, dp, p: 0}, "2 things at once"),
]


WRONG = [
    *(("softmax_backward", function, words) for function, words in SOFTMAX),
    ("softmax_backward", sum_over(1), "runs over axis 1"),
    ("softmax_backward", jacobians, "The Jacobian comes back"),
    ("softmax_backward", short_cut, "That is the short cut"),
    ("softmax_backward", divided_by_the_number, "a number that grows with their length"),
    ("softmax_backward", masked, "not every softmax is masked"),
    ("softmax_backward", kept, "a result kept from an earlier call"),
    ("softmax_backward", no_keepdims, "Is one of them transposed"),
    ("softmax_backward", in_place, "An operation in place"),
    *(("dot_product_attention_backward", function, words) for function, words in HEADS),
    *(
        ("dot_product_attention_backward", in_order(names, heads), f"not as expected: {', '.join(names)} come back")
        for names in ORDERS
    ),
    ("dot_product_attention_backward", in_order(ORDERS[0], heads_with("D", roots=(1, 1))), "2 things at once"),
    ("dot_product_attention_backward", stacked, "a single result came back"),
    ("dot_product_attention_backward", scales_q_in_place, "An operation in place"),
    *(("attention_backward", attention_with(f.__name__, heads=f), words) for f, words in HEADS),
    ("attention_backward", attention_with("order_kqv", order=(1, 0, 2)), "a different order from the one"),
    ("attention_backward", attention_with("order_vqk", order=(2, 0, 1)), "a different order from the one"),
    ("attention_backward", within_each_head, "side by side within each head"),
    *(("attention_backward", joined(how), "not put side by side in the columns") for how in (in_time, added)),
    ("attention_backward", joined(in_turns), "The channels of dq, dk and dv take turns"),
    ("attention_backward", attention_with("merge_by_reshape", merge=merge_by_reshape), "(B, T, C) by a reshape alone"),
    ("attention_backward", attention_with("merge_cards", merge=merge_interleaved), "shuffled into each other"),
    ("attention_backward", attention_with("split_by_reshape", split=split_by_reshape), "heads by a reshape alone"),
    ("attention_backward", attention_with("split_cards", split=split_interleaved), "dealt out like cards"),
    (
        "attention_backward",
        attention_with("both_by_reshape", split=split_by_reshape, merge=merge_by_reshape),
        "2 things at once",
    ),
    ("attention_backward", attention_with("past_c_proj", linear=past_c_proj), "dy goes into the heads unchanged"),
    ("attention_backward", attention_with("not_turned", linear=c_proj_not_turned), "its weight is not transposed"),
    ("attention_backward", c_proj_of_x, "is made with x."),
    ("attention_backward", c_proj_of_y, "is made with y"),
    ("attention_backward", c_proj_of_values, "is made with the values"),
    ("attention_backward", c_proj_by_reshape, "is made with heads that a reshape"),
    ("attention_backward", c_proj_of_dmerged, "are made with dmerged"),
    ("attention_backward", attention_with("stops_at_dqkv", linear=stops_at_dqkv), "dqkv comes back as dx"),
    ("attention_backward", c_attn_of_heads, "c_attn's weight is made with the heads"),
    ("attention_backward", c_attn_of_dx, "is made with dx"),
    *(
        ("attention_backward", gradients_with(name, layers, part, make), words.format(" and ".join(layers)))
        for name, part, make, words in GRADIENTS
        for layers in LAYERS
    ),
    ("attention_backward", attention_with("all_averaged", linear=all_averaged), "2 things at once"),
    ("attention_backward", dx_overwritten, "only one of its three parts"),
    ("attention_backward", dx_averaged, "dx is the mean of three parts"),
    ("attention_backward", attention_with("weight_by_reshape", linear=weight_by_reshape), "tears its rows apart"),
    ("attention_backward", with_residual, "dy is added to dx"),
    ("attention_backward", grads_first, "In this order: `dx, grads`"),
    ("attention_backward", changes_dy, "An operation in place"),
    *(("attention_by_blocks_backward", blocks_with(name, **part), words) for name, part, words in BLOCKS),
    *(
        ("attention_by_blocks_backward", in_order(names, blocks), f"not as expected: {', '.join(names)} come back")
        for names in ORDERS
    ),
    ("attention_by_blocks_backward", brackets_in_blocks, "The shares multiply dprobs, but not"),
    ("attention_by_blocks_backward", with_queries, "is made with the queries"),
    ("attention_by_blocks_backward", blocks_not_at_all, "an array of all scores has 524 KB"),
]
