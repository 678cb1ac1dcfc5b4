"""Exercise 10 as students write it: right in several styles, and wrong in the ways that are known."""

import functools

import numpy as np
from student_solutions.steps import in_steps

from minigpt2 import GPT2, SGD, AdamW
from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.embedding import embedding_backward, unembedding_backward
from minigpt2.components.feed_forward import feed_forward_backward, feed_forward_forward
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.position import position_backward

# 1. A block.


def norm(x, p, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * p["weight"] + p["bias"]


def linear(x, p):
    return x @ p["weight"] + p["bias"]


def mlp(x, p):
    h = linear(x, p["c_fc"])
    return linear(0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))), p["c_proj"])


def attn(x, p, n_head):
    return attention_forward(x, p, n_head)[0]


def by_hand(x, params, n_head):
    """Nothing of the library, head by head."""
    T, C = x.shape[1:]
    D = C // n_head
    q, k, v = np.split(linear(norm(x, params["ln_1"]), params["attn"]["c_attn"]), 3, axis=-1)
    heads = np.empty_like(x)
    for h in range(n_head):
        s = slice(h * D, h * D + D)
        scores = np.einsum("btd,bsd->bts", q[..., s], k[..., s]) / D**0.5
        scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        heads[..., s] = e / e.sum(-1, keepdims=True) @ v[..., s]
    x = x + linear(heads, params["attn"]["c_proj"])
    return x + mlp(norm(x, params["ln_2"]), params["mlp"])


def with_components(x, params, n_head):
    normed, ln_1 = layer_norm_forward(x, **params["ln_1"])
    a, attention = attention_forward(normed, params["attn"], n_head)
    mid = np.add(x, a)
    normed, ln_2 = layer_norm_forward(mid, params["ln_2"]["weight"], params["ln_2"]["bias"])
    f, feed_forward = feed_forward_forward(normed, params["mlp"])
    return mid + f, {"ln_1": ln_1, "attn": attention, "ln_2": ln_2, "mlp": feed_forward}


def with_parts_of_its_own(x, params, n_head):
    """Parts whose caches are nobody else's."""
    n1, c1 = layer_norm_forward(x, **params["ln_1"])
    a, ca = attention_forward(n1, params["attn"], n_head)
    x = x + a
    n2, c2 = layer_norm_forward(x, **params["ln_2"])
    f, cf = feed_forward_forward(n2, params["mlp"])
    return x + f, {"ln_1": (n1, c1), "attn": {"mine": ca}, "ln_2": (n2, c2), "mlp": [cf]}


def block_backward(dy, cache, change=None):
    """Right, or with what ``change`` makes of (dx, grads)."""
    d, mlp_grads = feed_forward_backward(dy, cache["mlp"])
    d, w2, b2 = layer_norm_backward(d, cache["ln_2"])
    middle = dy + d
    d, attn_grads = attention_backward(middle, cache["attn"])
    d, w1, b1 = layer_norm_backward(d, cache["ln_1"])
    grads = {
        "mlp": mlp_grads,
        "attn": attn_grads,
        "ln_1": {"weight": w1, "bias": b1},
        "ln_2": {"weight": w2, "bias": b2},
    }
    return change(middle + d, grads) if change else (middle + d, grads)


def block_backward_in_one_array(dy, cache):
    dx = dy.copy()
    grads = {}
    for sub_layer, backward, ln in (("mlp", feed_forward_backward, "ln_2"), ("attn", attention_backward, "ln_1")):
        branch, grads[sub_layer] = backward(dx, cache[sub_layer])
        branch, *of_norm = layer_norm_backward(branch, cache[ln])
        grads[ln] = dict(zip(["weight", "bias"], of_norm, strict=True))
        dx += branch
    return dx, grads


# 2. The model.


def model_by_hand(ids, params, n_head):
    x = np.eye(len(params["wte"]["weight"]), dtype=params["wte"]["weight"].dtype)[ids] @ params["wte"]["weight"]
    x = x + params["wpe"]["weight"][np.arange(ids.shape[1])]
    for block in params["h"]:
        x = by_hand(x, block, n_head)
    return np.einsum("btc,vc->btv", norm(x, params["ln_f"]), params["wte"]["weight"])


def model_forward(ids, params, n_head):
    """With the cache of the library's names."""
    wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
    x, caches = wte[ids] + wpe[: ids.shape[1]], []
    for block in params["h"]:
        x, cache = with_components(x, block, n_head)
        caches.append(cache)
    x, ln_f = layer_norm_forward(x, **params["ln_f"])
    cache = {
        "wte": {"ids": ids, "weight": wte}, "wpe": {"weight": wpe, "start": 0}, "h": caches, "ln_f": ln_f,
        "lm_head": {"x": x, "weight": wte},
    }  # fmt: skip
    return x @ wte.T, cache


def model_backward(dlogits, cache, change=None):
    """Right, or with what ``change`` makes of (grads, share of the output layer, share of the embedding)."""
    d, of_output = unembedding_backward(dlogits, cache["lm_head"])
    d, weight, bias = layer_norm_backward(d, cache["ln_f"])
    blocks = []
    for block in cache["h"][::-1]:
        d, grads = block_backward(d, block)
        blocks = [grads, *blocks]
    d, of_positions = position_backward(d, cache["wpe"])
    of_embedding = embedding_backward(d, cache["wte"])
    grads = {
        "wte": {"weight": of_output + of_embedding}, "wpe": {"weight": of_positions}, "h": blocks,
        "ln_f": {"weight": weight, "bias": bias},
    }  # fmt: skip
    return change(grads, of_output, of_embedding, d) if change else grads


# 3. What it learns from.


def batch_in_loops(digits):
    ids, targets = [], []
    for row in digits.tolist():
        text = row + sorted(row)
        ids.append(text[:-1])
        targets.append([-100] * (len(row) - 1) + sorted(row))
    return np.array(ids), np.array(targets)


def batch_of_lists(digits):
    ids, targets = batch_in_loops(digits)
    return ids.tolist(), targets.tolist()


def count_in_a_loop(ids):
    n = ids.shape[1] // 2
    return sum(sorted(row[:n]) == row[n:] for row in ids.tolist())


def count_with_numpy(ids):
    first, second = np.split(ids, 2, axis=1)
    return np.sum(np.all(np.sort(first) == second, axis=-1))


# 4. Training. Each run is kept: it is looked at more than once.


@functools.cache
def trained(config, seed, batch=batch_in_loops, steps=400, lr=3e-3, again=0):
    model = GPT2(config, seed)
    optimizer = AdamW(model.params, lr)
    rng = np.random.default_rng(seed)
    same = rng.integers(0, 3, (again, 6))
    for step in range(steps):
        optimizer.lr = lr * (1 - step / steps)
        ids, targets = batch(same if again else rng.integers(0, 3, (64, 6)))
        optimizer.step(model.loss_and_grads(ids, targets)[1], max_norm=1.0)
    return model.params


def sorter(config, seed):
    return trained(config, seed)


def sorter_of_own_functions(config, seed):
    """Forward, loss and backward put together by hand, a constant learning rate, small batches."""
    params = GPT2(config, seed).params
    optimizer = AdamW(params, lr=2e-3, weight_decay=0.0)
    rng = np.random.default_rng(seed + 1)
    for _ in range(1000):
        ids, targets = batch_in_loops(rng.integers(0, 3, (48, 6)))
        logits, cache = model_forward(ids, params, config.n_head)
        _, loss_cache = cross_entropy_forward(logits, targets)
        optimizer.step(model_backward(cross_entropy_backward(1.0, loss_cache), cache), max_norm=1.0)
    return params


RIGHT = [
    ("block_forward", with_components),
    ("block_forward", with_parts_of_its_own),
    ("block_backward", block_backward),
    ("block_backward", block_backward_in_one_array),
    ("gpt2_forward", model_by_hand),
    ("gpt2_forward", model_forward),
    ("sorting_batch", batch_in_loops),
    ("sorting_batch", batch_of_lists),
    ("count_sorted", count_in_a_loop),
    ("count_sorted", count_with_numpy),
    ("train_sorter", sorter),
    ("train_sorter", sorter_of_own_functions),
    ("gpt2_backward", model_backward),
]


def post_norm(x, p, n_head):
    x = norm(x + attn(x, p["attn"], n_head), p["ln_1"])
    return norm(x + mlp(x, p["mlp"]), p["ln_2"])


def norm_after_sub_layer(x, p, n_head):
    x = x + norm(attn(x, p["attn"], n_head), p["ln_1"])
    return x + norm(mlp(x, p["mlp"]), p["ln_2"])


def block_with(**changes):
    """Nothing but y, with other steps."""
    steps = {
        "n1": lambda s: norm(s.x, s.p["ln_1"]),
        "a": lambda s: attn(s.n1, s.p["attn"], s.n_head),
        "mid": lambda s: s.x + s.a,
        "n2": lambda s: norm(s.mid, s.p["ln_2"]),
        "f": lambda s: mlp(s.n2, s.p["mlp"]),
        "y": lambda s: s.mid + s.f,
    }
    return in_steps("x", "p", "n_head", **steps | changes)


def caches_in_a_list(x, p, n_head):
    y, cache = with_components(x, p, n_head)
    return y, list(cache.values())


def caches_exchanged(x, p, n_head):
    y, cache = with_components(x, p, n_head)
    return y, cache | {"ln_1": cache["ln_2"], "ln_2": cache["ln_1"]}


def one_cache_missing(x, p, n_head):
    y, cache = with_components(x, p, n_head)
    return y, {name: cache[name] for name in ("ln_1", "attn", "mlp")}


def stream_in_place(x, p, n_head):
    x += attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return x + mlp(norm(x, p["ln_2"]), p["mlp"])


def backward_with(**changes):
    steps = {
        "mlp": lambda s: feed_forward_backward(s.dy, s.cache["mlp"]),
        "n2": lambda s: layer_norm_backward(s.mlp[0], s.cache["ln_2"]),
        "mid": lambda s: s.dy + s.n2[0],
        "attn": lambda s: attention_backward(s.mid, s.cache["attn"]),
        "n1": lambda s: layer_norm_backward(s.attn[0], s.cache["ln_1"]),
        "x": lambda s: s.mid + s.n1[0],
        "grads": lambda s: {
            "ln_1": {"weight": s.n1[1], "bias": s.n1[2]}, "attn": s.attn[1],
            "ln_2": {"weight": s.n2[1], "bias": s.n2[2]}, "mlp": s.mlp[1],
        },
        "result": lambda s: (s.x, s.grads),
    }  # fmt: skip
    return in_steps("dy", "cache", **steps | changes)


def in_forward_order(dy, cache):
    d, attn_grads = attention_backward(dy, cache["attn"])
    d, w1, b1 = layer_norm_backward(d, cache["ln_1"])
    dy = dy + d
    d, mlp_grads = feed_forward_backward(dy, cache["mlp"])
    d, w2, b2 = layer_norm_backward(d, cache["ln_2"])
    return dy + d, {
        "ln_1": {"weight": w1, "bias": b1}, "attn": attn_grads, "ln_2": {"weight": w2, "bias": b2}, "mlp": mlp_grads,
    }  # fmt: skip


def names_exchanged(dy, cache):
    return block_backward(dy, cache, lambda dx, g: (dx, g | {"ln_1": g["ln_2"], "ln_2": g["ln_1"]}))


def bias_first(dy, cache):
    def change(dx, g):
        return dx, g | {ln: {"weight": g[ln]["bias"], "bias": g[ln]["weight"]} for ln in ("ln_1", "ln_2")}

    return block_backward(dy, cache, change)


def bias_of_one_norm_first(dy, cache):
    return block_backward(
        dy, cache, lambda dx, g: (dx, g | {"ln_2": {"weight": g["ln_2"]["bias"], "bias": g["ln_2"]["weight"]}})
    )


def names_of_torch(dy, cache):
    return block_backward(
        dy, cache, lambda dx, g: (dx, {"norm1": g["ln_1"], "norm2": g["ln_2"], "attn": g["attn"], "mlp": g["mlp"]})
    )


def gradient_in_place(dy, cache):
    d, _ = feed_forward_backward(dy, cache["mlp"])
    dx, grads = block_backward(dy, cache)
    dy += layer_norm_backward(d, cache["ln_2"])[0]
    return dx, grads


def model_with(blocks=lambda h: h, scale=1.0, final=True, positions=lambda wpe, ids: wpe[: ids.shape[1]], each=None,
               end=lambda logits: logits, one_head=False, norm_each=False):  # fmt: skip
    def forward(ids, params, n_head):
        wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
        x = scale * wte[ids] + positions(wpe, ids)
        for block in blocks(params["h"]):
            x = by_hand(x + each(wpe, ids) if each else x, block, 1 if one_head else n_head)
            x = norm(x, params["ln_f"]) if norm_each else x
        return end((norm(x, params["ln_f"]) if final and not norm_each else x) @ wte.T)

    return forward


def first_rows(wpe, ids):
    return wpe[: ids.shape[1]]


def nothing(wpe, ids):
    return 0


def returns_in_the_loop(ids, params, n_head):
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][: ids.shape[1]]
    for block in params["h"]:
        x = by_hand(x, block, n_head)
        return norm(x, params["ln_f"]) @ params["wte"]["weight"].T


def pair_for_stream(ids, params, n_head):
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][: ids.shape[1]]
    for block in params["h"]:
        x = with_components(x, block, n_head)
    return layer_norm_forward(x, **params["ln_f"])[0] @ params["wte"]["weight"].T


def scaled_scores(ids, params, n_head):
    return model_by_hand(ids, params, n_head) / np.sqrt(params["wte"]["weight"].shape[1])


def scaled_tokens(ids, params, n_head):
    return model_with(scale=params["wte"]["weight"].shape[1] ** 0.5)(ids, params, n_head)


def final_norm_first(ids, params, n_head):
    x = norm(params["wte"]["weight"][ids] + params["wpe"]["weight"][: ids.shape[1]], params["ln_f"])
    for block in params["h"]:
        x = by_hand(x, block, n_head)
    return x @ params["wte"]["weight"].T


def not_transposed(ids, params, n_head):
    x = params["wte"]["weight"][ids] + params["wpe"]["weight"][: ids.shape[1]]
    for block in params["h"]:
        x = by_hand(x, block, n_head)
    return norm(x, params["ln_f"]) @ params["wte"]["weight"]


def untied(ids, params, n_head):
    x = params["wte"]["weight"][ids]
    return x @ params["lm_head"]["weight"].T


def first_block_each_time(h):
    return [h[0] for _ in h]


def probabilities(ids, params, n_head):
    e = np.exp(model_by_hand(ids, params, n_head))
    return e / e.sum(-1, keepdims=True)


def last_position(ids, params, n_head):
    return model_by_hand(ids, params, n_head)[:, -1, :]


def batch_with(ignored=lambda n: slice(n - 1), first=1, answer=lambda digits: np.sort(digits, axis=1), ids_stop=-1,
               number=-100, turned=False, returns=lambda ids, targets: (ids, targets)):  # fmt: skip
    def batch(digits):
        n = digits.shape[1]
        text = np.hstack([digits, answer(digits)][:: -1 if turned else 1])
        targets = text[:, first:][:, : 2 * n - 1 if first is not None else None].copy()
        targets[:, ignored(n)] = number
        return returns(text[:, :ids_stop], targets)

    return batch


not_shifted = batch_with(first=0)
not_shifted_all_digits_ignored = batch_with(first=0, ignored=lambda n: slice(n))
nothing_ignored = batch_with(ignored=lambda n: slice(0))
one_too_many_ignored = batch_with(ignored=lambda n: slice(n))
one_too_few_ignored = batch_with(ignored=lambda n: slice(max(n - 2, 0)))
answers_ignored = batch_with(ignored=lambda n: slice(n - 1, None))
last_ignored = batch_with(ignored=lambda n: [*range(n - 1), 2 * n - 2])
by_columns = batch_with(answer=lambda digits: np.sort(digits, axis=0))
falling = batch_with(answer=lambda digits: -np.sort(-digits, axis=1))
whole_text = batch_with(ids_stop=None)


def in_a_circle(digits):
    ids, targets = batch_in_loops(digits)
    return ids, np.where(targets == -100, -100, np.concatenate([ids[:, 1:], ids[:, :1]], axis=1))


def always_two(digits):
    ids, targets = batch_in_loops(digits)
    return ids, np.where(targets == -100, -100, 2)


def shared_memory(digits):
    text = np.concatenate([digits, np.sort(digits)], axis=1)
    ids, targets = text[:, :-1], text[:, 1:]
    targets[:, : digits.shape[1] - 1] = -100
    return ids, targets


def sorts_in_place(digits):
    before = digits.copy()
    digits.sort(axis=1)
    return batch_in_loops(before)


def counts(right):
    """How many rows are right: (their first half, their second half) -> bool or a number."""

    def count(ids):
        n = ids.shape[1] // 2
        return sum(int(right(row[:n], row[n:])) for row in ids.tolist())

    return count


def counts_digits(ids):
    n = ids.shape[1] // 2
    return (np.sort(ids[:, :n]) == ids[:, n:]).sum()


def share_of_rows(ids):
    return count_in_a_loop(ids) / len(ids)


def all_or_nothing(ids):
    return int(count_in_a_loop(ids) == len(ids))


def counts_wrong_rows(ids):
    return len(ids) - count_in_a_loop(ids)


def sorted_by_columns(ids):
    first, second = np.split(ids, 2, axis=1)
    return int((np.sort(first, axis=0) == second).all(1).sum())


def three_digits_only(ids):
    return sum(sorted(row[:3]) == row[3:6] for row in ids.tolist())


def trainer(**options):
    def train(config, seed):
        return trained(config, seed, **options)

    return train


def returns_the_model(config, seed):
    return GPT2(config, seed)


def never_steps(config, seed):
    model = GPT2(config, seed)
    model.loss_and_grads(*batch_in_loops(np.array([[2, 0, 1, 1, 2, 0]])))
    return model.params


def learning_rate_zero(config, seed):
    return trained(config, seed, steps=2, lr=0.0)


def sgd_far_too_slow(config, seed):
    model = GPT2(config, seed)
    optimizer = SGD(model.params, lr=1e-6)
    for _ in range(3):
        optimizer.step(model.loss_and_grads(*batch_in_loops(np.array([[2, 0, 1, 1, 2, 0]])))[1])
    return model.params


def infinite(config, seed):
    model = GPT2(config, seed)
    model.params["wte"]["weight"] *= np.inf
    return model.params


def embedding_only(dlogits, cache):
    return model_backward(dlogits, cache, lambda g, out, emb, d: g | {"wte": {"weight": emb}})


def output_only(dlogits, cache):
    return model_backward(dlogits, cache, lambda g, out, emb, d: g | {"wte": {"weight": out}})


def repeated_ids_lost(dlogits, cache):
    def change(g, out, emb, d):
        weight = out.copy()
        weight[cache["wte"]["ids"]] += d
        # += reads the old row for each place: of a token that repeats, only one place is added
        return g | {"wte": {"weight": weight}}

    return model_backward(dlogits, cache, change)


def around_ln_f(dlogits, cache):
    right = model_backward(dlogits, cache)
    d, of_output = unembedding_backward(dlogits, cache["lm_head"])
    blocks = []
    for block in reversed(cache["h"]):
        d, grads = block_backward(d, block)
        blocks.insert(0, grads)
    wte = of_output + embedding_backward(d, cache["wte"])
    return right | {"h": blocks, "wte": {"weight": wte}, "wpe": {"weight": position_backward(d, cache["wpe"])[1]}}


def blocks_not_reversed(dlogits, cache):
    right = model_backward(dlogits, cache)
    d, of_output = unembedding_backward(dlogits, cache["lm_head"])
    d = layer_norm_backward(d, cache["ln_f"])[0]
    blocks = []
    for block in cache["h"]:
        d, grads = block_backward(d, block)
        blocks.append(grads)
    wte = of_output + embedding_backward(d, cache["wte"])
    return right | {"h": blocks, "wte": {"weight": wte}, "wpe": {"weight": position_backward(d, cache["wpe"])[1]}}


def shares_averaged(dlogits, cache):
    return model_backward(dlogits, cache, lambda g, out, emb, d: g | {"wte": {"weight": (out + emb) / 2}})


def backward_with_blocks(run):
    """With another way of running the blocks backward: (gradient, caches) -> gradient, list of grads."""

    def backward(dlogits, cache):
        d, of_output = unembedding_backward(dlogits, cache["lm_head"])
        d, weight, bias = layer_norm_backward(d, cache["ln_f"])
        d, blocks = run(d, cache["h"])
        d, of_positions = position_backward(d, cache["wpe"])
        return {
            "wte": {"weight": of_output + embedding_backward(d, cache["wte"])}, "wpe": {"weight": of_positions},
            "h": blocks, "ln_f": {"weight": weight, "bias": bias},
        }  # fmt: skip

    return backward


def upwards_and_turned(d, caches):
    blocks = []
    for cache in caches:
        d, grads = block_backward(d, cache)
        blocks.insert(0, grads)
    return d, blocks


def each_from_the_norm(d, caches):
    blocks = [block_backward(d, cache) for cache in caches]
    return d, [grads for _, grads in blocks]


def past_the_blocks(d, caches):
    above, blocks = d, []
    for cache in caches[::-1]:
        d, grads = block_backward(d, cache)
        blocks.insert(0, grads)
    return above, blocks


def last_cache_each_time(d, caches):
    blocks = []
    for _ in caches:
        d, grads = block_backward(d, caches[-1])
        blocks.insert(0, grads)
    return d, blocks


def bias_of_ln_f_first(dlogits, cache):
    def change(g, *_):
        return g | {"ln_f": {"weight": g["ln_f"]["bias"], "bias": g["ln_f"]["weight"]}}

    return model_backward(dlogits, cache, change)


def blocks_appended(dlogits, cache):
    return model_backward(dlogits, cache, lambda g, out, emb, d: g | {"h": g["h"][::-1]})


def positions_averaged(dlogits, cache):
    def change(g, out, emb, d):
        weight = np.zeros_like(cache["wpe"]["weight"])
        weight[: d.shape[1]] = d.mean(0)
        return g | {"wpe": {"weight": weight}}

    return model_backward(dlogits, cache, change)


WRONG = [
    ("block_forward", post_norm, "This is post-norm"),
    ("block_forward", norm_after_sub_layer, "applied to the outputs of the sub-layers"),
    ("block_forward", block_with(a=lambda s: attn(s.x, s.p["attn"], s.n_head)), "The first layer norm is missing"),
    ("block_forward", block_with(f=lambda s: mlp(s.mid, s.p["mlp"])), "The second layer norm is missing"),
    ("block_forward", block_with(mid=lambda s: s.n1 + s.a), "In the first half, the normalised copy"),
    ("block_forward", block_with(y=lambda s: s.n2 + s.f), "In the second half, the normalised copy"),
    (
        "block_forward",
        block_with(mid=lambda s: s.n1 + s.a, y=lambda s: s.n2 + s.f),
        "2 things at once. (1) In the first",
    ),
    ("block_forward", block_with(mid=lambda s: s.a), "The first residual connection is lost"),
    ("block_forward", block_with(y=lambda s: s.f), "The second residual connection is lost"),
    (
        "block_forward",
        block_with(mid=lambda s: s.a, n2=lambda s: norm(s.mid, s.p["ln_1"])),
        "2 things at once. (1) The first residual",
    ),
    (
        "block_forward",
        block_with(n1=lambda s: norm(s.x, s.p["ln_2"]), n2=lambda s: norm(s.mid, s.p["ln_1"])),
        "The two layer norms are exchanged",
    ),
    ("block_forward", block_with(n2=lambda s: norm(s.mid, s.p["ln_1"])), "One layer norm is used for both"),
    ("block_forward", block_with(n1=lambda s: norm(s.x, s.p["ln_2"])), "One layer norm is used for both"),
    (
        "block_forward",
        block_with(a=lambda s: mlp(s.n1, s.p["mlp"]), f=lambda s: attn(s.n2, s.p["attn"], s.n_head)),
        "sub-layers come in the wrong order",
    ),
    ("block_forward", block_with(n2=lambda s: norm(s.x, s.p["ln_2"])), "are side by side"),
    ("block_forward", block_with(n2=lambda s: norm(s.a, s.p["ln_2"])), "reads only the output of attention"),
    ("block_forward", block_with(n2=lambda s: norm(s.n1, s.p["ln_2"])), "The second norm reads the normalised copy"),
    ("block_forward", block_with(f=lambda s: mlp(s.n1, s.p["mlp"])), "the copy that was made for attention"),
    ("block_forward", block_with(y=lambda s: s.x + s.f), "At the end the input x is added"),
    ("block_forward", block_with(y=lambda s: s.x + s.mid + s.f), "The input x is in the result twice"),
    ("block_forward", block_with(y=lambda s: s.mid + s.a + s.f), "Attention's result is in the stream twice"),
    ("block_forward", block_with(mid=lambda s: s.x), "Attention adds nothing"),
    ("block_forward", block_with(y=lambda s: s.mid), "The feed-forward network adds nothing"),
    ("block_forward", block_with(a=lambda s: attn(s.n1, s.p["attn"], 1)), "All channels are one head"),
    ("block_forward", by_hand, "cannot be computed from this cache"),
    ("block_forward", caches_in_a_list, "cannot be computed from this cache"),
    ("block_forward", caches_exchanged, "cannot be computed from this cache"),
    ("block_forward", one_cache_missing, "cannot be computed from this cache"),
    ("block_forward", stream_in_place, "An operation in place"),
    ("block_backward", backward_with(mid=lambda s: s.n2[0]), "of the second residual connection is not added"),
    ("block_backward", backward_with(x=lambda s: s.n1[0]), "of the first residual connection is not added"),
    (
        "block_backward",
        backward_with(mid=lambda s: s.n2[0], x=lambda s: s.n1[0]),
        "2 things at once. (1) The gradient of the second residual",
    ),
    ("block_backward", backward_with(mid=lambda s: s.dy), "through the feed-forward network is not added"),
    ("block_backward", backward_with(x=lambda s: s.mid), "What comes back through attention is not added"),
    ("block_backward", backward_with(mid=lambda s: (s.dy + s.n2[0]) / 2), "divided between its two branches"),
    ("block_backward", backward_with(x=lambda s: (s.mid + s.n1[0]) / 2), "divided between its two branches"),
    ("block_backward", backward_with(attn=lambda s: attention_backward(s.dy, s.cache["attn"])), "Attention gets dy"),
    (
        "block_backward",
        backward_with(attn=lambda s: attention_backward(s.n2[0], s.cache["attn"])),
        "Attention gets only what came back",
    ),
    ("block_backward", backward_with(x=lambda s: s.dy + s.n1[0]), "At the last sum, dy is added"),
    ("block_backward", backward_with(x=lambda s: s.dy + s.mid + s.n1[0]), "dy is in dx twice"),
    ("block_backward", in_forward_order, "in the order of the forward pass"),
    (
        "block_backward",
        backward_with(mid=lambda s: s.dy + s.mlp[0], x=lambda s: s.mid + s.attn[0]),
        "goes around a layer norm",
    ),
    ("block_backward", backward_with(x=lambda s: s.mid + s.attn[0]), "goes around a layer norm"),
    (
        "block_backward",
        backward_with(
            n2=lambda s: layer_norm_backward(s.mlp[0], s.cache["ln_1"]),
            n1=lambda s: layer_norm_backward(s.attn[0], s.cache["ln_2"]),
        ),
        "caches of the two norms are exchanged",
    ),
    (
        "block_backward",
        backward_with(n2=lambda s: layer_norm_backward(s.mlp[0], s.cache["ln_1"])),
        "The second norm's backward pass gets",
    ),
    (
        "block_backward",
        backward_with(n1=lambda s: layer_norm_backward(s.attn[0], s.cache["ln_2"])),
        "The first norm's backward pass gets",
    ),
    ("block_backward", bias_of_one_norm_first, "gradients of weight and bias are exchanged"),
    ("block_backward", names_exchanged, "two norms' names are exchanged"),
    ("block_backward", bias_first, "gradients of weight and bias are exchanged"),
    ("block_backward", names_of_torch, "Not known here: grads.norm1.weight"),
    ("block_backward", gradient_in_place, "An operation in place"),
    ("gpt2_forward", model_with(final=False), "ln_f, is forgotten"),
    ("gpt2_forward", final_norm_first, "ln_f comes before the blocks"),
    ("gpt2_forward", model_with(norm_each=True), "ln_f comes after every block"),
    ("gpt2_forward", model_with(positions=nothing), "The position embedding is forgotten"),
    (
        "gpt2_forward",
        model_with(positions=nothing, final=False),
        "2 things at once. (1) The final layer norm, ln_f, is forgotten",
    ),
    ("gpt2_forward", model_with(positions=lambda wpe, ids: wpe[: len(ids)][:, None]), "go along the batch"),
    ("gpt2_forward", model_with(positions=lambda wpe, ids: wpe[ids]), "looked up by token id"),
    ("gpt2_forward", model_with(positions=lambda wpe, ids: wpe[:1]), "Every token gets the same position vector"),
    ("gpt2_forward", model_with(positions=lambda wpe, ids: wpe), "All rows of wpe are added"),
    (
        "gpt2_forward",
        model_with(positions=lambda wpe, ids: wpe[np.arange(1, ids.shape[1] + 1)]),
        "Positions are counted from 1",
    ),
    (
        "gpt2_forward",
        model_with(positions=lambda wpe, ids: np.concatenate([wpe[1:], wpe[:1]])[: ids.shape[1]]),
        "Positions are counted from 1",
    ),
    ("gpt2_forward", model_with(positions=lambda wpe, ids: first_rows(wpe, ids)[::-1]), "the last token gets row 0"),
    ("gpt2_forward", model_with(positions=lambda wpe, ids: wpe[-ids.shape[1] :]), "The last rows of wpe are taken"),
    ("gpt2_forward", model_with(positions=lambda wpe, ids: wpe[::-1][: ids.shape[1]]), "are taken backwards"),
    ("gpt2_forward", model_with(positions=nothing, each=first_rows), "are added before every block"),
    ("gpt2_forward", model_with(each=first_rows), "are added before every block"),
    ("gpt2_forward", scaled_tokens, "multiplied by sqrt(C)"),
    ("gpt2_forward", not_transposed, "output layer is transposed"),
    ("gpt2_forward", untied, "tied to the token embedding"),
    ("gpt2_forward", model_with(blocks=reversed), "from the last to the first"),
    ("gpt2_forward", model_with(blocks=first_block_each_time), "The same block is run each time"),
    ("gpt2_forward", model_with(blocks=lambda h: h[-1:]), "Only the last block counts"),
    ("gpt2_forward", returns_in_the_loop, "Only the first block is run"),
    ("gpt2_forward", model_with(blocks=lambda h: h[:-1]), "The last block is left out"),
    ("gpt2_forward", model_with(blocks=lambda h: []), "The blocks change nothing"),
    ("gpt2_forward", pair_for_stream, "Both together were taken for the stream"),
    ("gpt2_forward", model_with(one_head=True), "In the blocks, all channels are one head"),
    ("gpt2_forward", scaled_scores, "The scores are divided by sqrt(C)"),
    ("gpt2_forward", probabilities, "These are probabilities"),
    ("gpt2_forward", last_position, "Only the last token's logits"),
    ("gpt2_forward", model_with(end=lambda logits: logits[:, -1:]), "Only the last token's logits"),
    ("sorting_batch", not_shifted, "The targets are not shifted"),
    ("sorting_batch", not_shifted_all_digits_ignored, "The targets are not shifted"),
    ("sorting_batch", nothing_ignored, "No target is ignored"),
    ("sorting_batch", one_too_many_ignored, "One target too many is ignored"),
    ("sorting_batch", one_too_few_ignored, "One target too few is ignored"),
    ("sorting_batch", answers_ignored, "is in the wrong half"),
    ("sorting_batch", shared_memory, "-100 came into ids as well"),
    ("sorting_batch", by_columns, "It is sorted along the batch"),
    ("sorting_batch", falling, "The largest digit comes first"),
    ("sorting_batch", whole_text, "ids has one token too many"),
    ("sorting_batch", in_a_circle, "The last target is the first token"),
    ("sorting_batch", batch_with(number=0), "Which number makes the loss ignore"),
    ("sorting_batch", batch_with(number=-1), "Which number makes the loss ignore"),
    ("sorting_batch", last_ignored, "The last target is ignored as well"),
    (
        "sorting_batch",
        batch_with(answer=lambda digits: np.sort(digits.ravel()).reshape(digits.shape)),
        "All digits of the batch are sorted together",
    ),
    ("sorting_batch", batch_with(answer=lambda digits: digits), "it is the digits again"),
    ("sorting_batch", batch_with(answer=lambda digits: digits.argsort(axis=1)), "has places in place of digits"),
    ("sorting_batch", batch_with(turned=True), "The sorted digits come first in the text"),
    ("sorting_batch", batch_with(first=None), "targets is the whole text"),
    ("sorting_batch", batch_with(first=None, ids_stop=None), "2 things at once. (1) ids has one token too many"),
    ("sorting_batch", batch_with(returns=lambda ids, targets: (targets, ids)), "ids and targets are exchanged"),
    ("sorting_batch", batch_with(returns=lambda ids, targets: ids), "Expected are 2 results"),
    ("sorting_batch", batch_with(returns=lambda ids, targets: (ids[:1], targets[:1])), "Only the first sequence"),
    ("sorting_batch", batch_with(returns=lambda ids, targets: (ids * 1.0, targets)), "list of float, and should"),
    ("sorting_batch", sorts_in_place, "An operation in place"),
    ("count_sorted", counts_digits, "Right digits are counted"),
    ("count_sorted", counts(lambda a, b: any(map(int.__eq__, sorted(a), b))), "as soon as any of its digits"),
    ("count_sorted", share_of_rows, "The share of the rows"),
    ("count_sorted", all_or_nothing, "is one question for each row"),
    ("count_sorted", len, "All rows are counted"),
    ("count_sorted", counts_wrong_rows, "Rows are counted that are wrong"),
    ("count_sorted", counts(lambda a, b: sorted(b) == a), "The wrong half is judged"),
    ("count_sorted", counts(lambda a, b: sorted(b) == b), "counts if it is ascending"),
    ("count_sorted", counts(lambda a, b: a == b), "which nobody has sorted"),
    ("count_sorted", counts(lambda a, b: sorted(a) == sorted(b)), "counts in any order"),
    ("count_sorted", sorted_by_columns, "It is sorted along the batch"),
    ("count_sorted", counts(lambda a, b: sorted(a, reverse=True) == b), "The largest digit is expected first"),
    ("count_sorted", three_digits_only, "right for one number of digits only"),
    ("count_sorted", counts(lambda a, b: set(a) == set(b) and sorted(b) == b), "hold the same digits as sets"),
    ("count_sorted", counts(lambda a, b: set(a) == set(b)), "hold the same digits as sets"),
    ("count_sorted", counts(lambda a, b: sum(a) == sum(b) and sorted(b) == b), "have the same sum"),
    ("count_sorted", counts(lambda a, b: sorted(set(a)) == b), "What does a set forget"),
    ("train_sorter", returns_the_model, "nested dict of all trained parameters"),
    ("train_sorter", infinite, "NaN or infinity in the parameters"),
    ("train_sorter", never_steps, "No parameter has moved"),
    ("train_sorter", learning_rate_zero, "No parameter has moved"),
    ("train_sorter", sgd_far_too_slow, "It is on its way"),
    ("train_sorter", trainer(batch=not_shifted, steps=80), "the targets are not shifted"),
    ("train_sorter", trainer(batch=answers_ignored, steps=60), "It knows nothing"),
    ("train_sorter", trainer(batch=one_too_many_ignored, steps=250), "Only the first sorted digit is wrong"),
    ("train_sorter", trainer(batch=last_ignored, steps=250), "Only the last sorted digit is wrong"),
    ("train_sorter", trainer(batch=falling, steps=250), "They come out in descending order"),
    ("train_sorter", trainer(again=12, steps=150), "is a new batch drawn in each step"),
    ("train_sorter", trainer(batch=always_two, steps=40), "something else with certainty"),
    ("train_sorter", trainer(steps=60, lr=1e-3), "It is on its way"),
    ("gpt2_backward", embedding_only, "only its gradient as the embedding"),
    ("gpt2_backward", output_only, "only its gradient as the output layer"),
    ("gpt2_backward", repeated_ids_lost, "gets the gradient of only one place"),
    ("gpt2_backward", around_ln_f, "The gradient goes around ln_f"),
    ("gpt2_backward", shares_averaged, "The two uses of wte both add"),
    ("gpt2_backward", blocks_not_reversed, "from the first to the last. Which"),
    ("gpt2_backward", backward_with_blocks(upwards_and_turned), "are in the reverse order"),
    ("gpt2_backward", backward_with_blocks(each_from_the_norm), "that came out of the norm at the end"),
    ("gpt2_backward", backward_with_blocks(past_the_blocks), "as if there were no blocks"),
    ("gpt2_backward", backward_with_blocks(last_cache_each_time), "with the cache of the last one"),
    ("gpt2_backward", bias_of_ln_f_first, "gradients of ln_f's weight and bias are exchanged"),
    ("gpt2_backward", blocks_appended, "in the wrong order: the last block"),
    ("gpt2_backward", positions_averaged, "a mean over the batch"),
]
