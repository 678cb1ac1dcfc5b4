"""Exercise 10 as students write it: right in several styles, and wrong in the ways that are known."""

import functools

import numpy as np

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
def trained(config, seed, batch=batch_in_loops, steps=700, lr=3e-3, again=0):
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
    ("block_forward", by_hand),
    ("block_forward", with_components),
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


def no_norms(x, p, n_head):
    x = x + attn(x, p["attn"], n_head)
    return x + mlp(x, p["mlp"])


def x_overwritten(x, p, n_head):
    x = norm(x, p["ln_1"])
    x = x + attn(x, p["attn"], n_head)
    x = norm(x, p["ln_2"])
    return x + mlp(x, p["mlp"])


def no_residuals(x, p, n_head):
    x = attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return mlp(norm(x, p["ln_2"]), p["mlp"])


def no_first_residual(x, p, n_head):
    x = attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return x + mlp(norm(x, p["ln_2"]), p["mlp"])


def no_second_residual(x, p, n_head):
    x = x + attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return mlp(norm(x, p["ln_2"]), p["mlp"])


def norms_exchanged(x, p, n_head):
    x = x + attn(norm(x, p["ln_2"]), p["attn"], n_head)
    return x + mlp(norm(x, p["ln_1"]), p["mlp"])


def one_norm(x, p, n_head):
    x = x + attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return x + mlp(norm(x, p["ln_1"]), p["mlp"])


def mlp_first(x, p, n_head):
    x = x + mlp(norm(x, p["ln_2"]), p["mlp"])
    return x + attn(norm(x, p["ln_1"]), p["attn"], n_head)


def mlp_first_with_ln_1(x, p, n_head):
    x = x + mlp(norm(x, p["ln_1"]), p["mlp"])
    return x + attn(norm(x, p["ln_2"]), p["attn"], n_head)


def parallel(x, p, n_head):
    a = attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return x + a + mlp(norm(x, p["ln_2"]), p["mlp"])


def adds_x(x, p, n_head):
    y = x + attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return x + mlp(norm(y, p["ln_2"]), p["mlp"])


def mlp_of_branch(x, p, n_head):
    a = attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return x + a + mlp(norm(a, p["ln_2"]), p["mlp"])


def one_head(x, p, n_head):
    x = x + attn(norm(x, p["ln_1"]), p["attn"], 1)
    return x + mlp(norm(x, p["ln_2"]), p["mlp"])


def stream_in_place(x, p, n_head):
    x += attn(norm(x, p["ln_1"]), p["attn"], n_head)
    return x + mlp(norm(x, p["ln_2"]), p["mlp"])


def backward_with(first=True, second=True, share=1.0, attention_gets=None, last_adds=None, norms=True):
    def backward(dy, cache):
        dy = share * dy
        d, mlp_grads = feed_forward_backward(dy, cache["mlp"])
        d2, *ln_2 = layer_norm_backward(d, cache["ln_2"])
        middle = share * ((dy if second else 0) + (d2 if norms else d))
        d, attn_grads = attention_backward(dy if attention_gets == "dy" else middle, cache["attn"])
        d1, *ln_1 = layer_norm_backward(d, cache["ln_1"])
        dx = (d1 if norms else d) + ((dy if last_adds == "dy" else middle) if first else 0)
        return dx, {
            "ln_1": {"weight": ln_1[0], "bias": ln_1[1]}, "attn": attn_grads,
            "ln_2": {"weight": ln_2[0], "bias": ln_2[1]}, "mlp": mlp_grads,
        }  # fmt: skip

    return backward


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


def names_of_torch(dy, cache):
    return block_backward(
        dy, cache, lambda dx, g: (dx, {"norm1": g["ln_1"], "norm2": g["ln_2"], "attn": g["attn"], "mlp": g["mlp"]})
    )


def gradient_in_place(dy, cache):
    d, _ = feed_forward_backward(dy, cache["mlp"])
    dx, grads = block_backward(dy, cache)
    dy += layer_norm_backward(d, cache["ln_2"])[0]
    return dx, grads


def model_with(blocks=lambda h: h, start=0, scale=None, final=True, positions="time"):
    def forward(ids, params, n_head):
        wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
        B, T = ids.shape
        x = wte[ids] * (scale(wte) if scale else 1)
        if positions == "time":
            x = x + wpe[np.arange(start, start + T)]
        elif positions == "batch":
            x = x + wpe[np.arange(B)][:, None, :]
        elif positions == "ids":
            x = x + wpe[ids]
        for block in blocks(params["h"]):
            if positions == "blocks":
                x = x + wpe[:T]
            x = by_hand(x, block, n_head)
        return (norm(x, params["ln_f"]) if final else x) @ wte.T

    return forward


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


def batch_with(ignored=None, first=1, axis=1, falling=False, ids_stop=-1):
    def batch(digits):
        n = digits.shape[1]
        answer = np.sort(digits, axis=axis)
        if falling:
            answer = answer[:, ::-1]
        text = np.hstack([digits, answer])
        targets = text[:, first : first + 2 * n - 1].copy()
        targets[:, ignored(n) if ignored else slice(n - 1)] = -100
        return text[:, :ids_stop], targets

    return batch


not_shifted = batch_with(first=0)
not_shifted_all_digits_ignored = batch_with(first=0, ignored=lambda n: slice(n))
nothing_ignored = batch_with(ignored=lambda n: slice(0))
one_too_many_ignored = batch_with(ignored=lambda n: slice(n))
one_too_few_ignored = batch_with(ignored=lambda n: slice(max(n - 2, 0)))
answers_ignored = batch_with(ignored=lambda n: slice(n - 1, None))
last_ignored = batch_with(ignored=lambda n: [*range(n - 1), 2 * n - 2])
by_columns = batch_with(axis=0)
falling = batch_with(falling=True)
whole_text = batch_with(ids_stop=None)


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


def counts_digits(ids):
    n = ids.shape[1] // 2
    return (np.sort(ids[:, :n]) == ids[:, n:]).sum()


def counts_any(ids):
    n = ids.shape[1] // 2
    return sum(any(a == b for a, b in zip(sorted(row[:n]), row[n:], strict=True)) for row in ids.tolist())


def share_of_rows(ids):
    return count_in_a_loop(ids) / len(ids)


def wrong_half(ids):
    n = ids.shape[1] // 2
    return sum(sorted(row[n:]) == row[:n] for row in ids.tolist())


def only_rising(ids):
    n = ids.shape[1] // 2
    return sum(sorted(row[n:]) == row[n:] for row in ids.tolist())


def same_as_digits(ids):
    n = ids.shape[1] // 2
    return sum(row[:n] == row[n:] for row in ids.tolist())


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
    ("block_forward", no_norms, "Both layer norms are missing"),
    ("block_forward", x_overwritten, "takes the place of the stream"),
    ("block_forward", no_residuals, "Both residual connections are lost"),
    ("block_forward", no_first_residual, "The first residual connection is lost"),
    ("block_forward", no_second_residual, "The second residual connection is lost"),
    ("block_forward", norms_exchanged, "The two layer norms are exchanged"),
    ("block_forward", one_norm, "One layer norm is used for both"),
    ("block_forward", mlp_first, "sub-layers come in the wrong order"),
    ("block_forward", mlp_first_with_ln_1, "sub-layers come in the wrong order"),
    ("block_forward", parallel, "are side by side"),
    ("block_forward", adds_x, "At the end the input x is added"),
    ("block_forward", mlp_of_branch, "reads only the output of attention"),
    ("block_forward", one_head, "All channels are one head"),
    ("block_forward", stream_in_place, "An operation in place"),
    ("block_backward", backward_with(first=False, second=False), "jumps over both sums"),
    ("block_backward", backward_with(second=False), "of the second residual connection is not added"),
    ("block_backward", backward_with(first=False), "of the first residual connection is not added"),
    ("block_backward", backward_with(share=0.5), "divided between its two branches"),
    ("block_backward", backward_with(attention_gets="dy"), "Attention gets dy"),
    ("block_backward", backward_with(last_adds="dy"), "At the last sum, dy is added"),
    ("block_backward", in_forward_order, "in the order of the forward pass"),
    ("block_backward", backward_with(norms=False), "goes around the layer norms"),
    ("block_backward", names_exchanged, "two norms' names are exchanged"),
    ("block_backward", bias_first, "gradients of weight and bias are exchanged"),
    ("block_backward", names_of_torch, "Not known here: grads.norm1.weight"),
    ("block_backward", gradient_in_place, "An operation in place"),
    ("gpt2_forward", model_with(final=False), "ln_f, is forgotten"),
    ("gpt2_forward", final_norm_first, "ln_f comes before the blocks"),
    ("gpt2_forward", model_with(positions=None), "The position embedding is forgotten"),
    ("gpt2_forward", model_with(positions="batch"), "go along the batch"),
    ("gpt2_forward", model_with(positions="ids"), "looked up by token id"),
    ("gpt2_forward", model_with(start=1), "Positions are counted from 1"),
    ("gpt2_forward", model_with(positions="blocks"), "again before every block"),
    ("gpt2_forward", model_with(scale=lambda wte: wte.shape[1] ** 0.5), "multiplied by sqrt(C)"),
    ("gpt2_forward", not_transposed, "output layer is transposed"),
    ("gpt2_forward", untied, "tied to the token embedding"),
    ("gpt2_forward", model_with(blocks=reversed), "from the last to the first"),
    ("gpt2_forward", model_with(blocks=first_block_each_time), "The same block is run each time"),
    ("gpt2_forward", model_with(blocks=lambda h: h[-1:]), "Only the last block counts"),
    ("gpt2_forward", probabilities, "These are probabilities"),
    ("gpt2_forward", last_position, "Only the last token's logits"),
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
    ("sorting_batch", sorts_in_place, "An operation in place"),
    ("count_sorted", counts_digits, "Right digits are counted"),
    ("count_sorted", counts_any, "as soon as any of its digits"),
    ("count_sorted", share_of_rows, "The share of the rows"),
    ("count_sorted", wrong_half, "The wrong half is judged"),
    ("count_sorted", only_rising, "counts if it is ascending"),
    ("count_sorted", same_as_digits, "compared with the unsorted digits"),
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
    ("gpt2_backward", blocks_not_reversed, "from the first to the last"),
    ("gpt2_backward", blocks_appended, "in the wrong order: the last block"),
    ("gpt2_backward", positions_averaged, "a mean over the batch"),
]
