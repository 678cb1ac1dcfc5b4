"""Exercise 11 as students write it: right in several styles, and wrong in the ways that are known."""

import numpy as np
from student_solutions.steps import in_steps

from minigpt2.components.feed_forward import feed_forward_forward
from minigpt2.components.softmax import softmax_forward


def norm(x, p, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * p["weight"] + p["bias"]


def linear(x, p):
    return x @ p["weight"] + p["bias"]


def split(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def merge(x):
    B, H, T, D = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * D)


# 1. Attention of new tokens.


def softmax(scores, axis=-1):
    e = np.exp(scores - scores.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def step_with(**changes):
    steps = {
        "qkv": lambda s: linear(s.x, s.params["c_attn"]),
        "parts": lambda s: [split(part, s.n_head) for part in np.split(s.qkv, 3, axis=-1)],
        "k": lambda s: np.concatenate((s.past_k, s.parts[1]), axis=2),
        "v": lambda s: np.concatenate((s.past_v, s.parts[2]), axis=2),
        "seen": lambda s: (s.k, s.v),
        "S": lambda s: s.seen[0].shape[2],
        "T": lambda s: s.x.shape[1],
        "divisor": lambda s: np.sqrt(s.parts[0].shape[-1]),
        "scores": lambda s: s.parts[0] @ s.seen[0].transpose(0, 1, 3, 2) / s.divisor,
        "mask": lambda s: np.tri(s.T, s.S, s.S - s.T),
        "masked": lambda s: np.where(s.mask == 1, s.scores, -np.inf),
        "weights": lambda s: None,
        "shares": lambda s: softmax(s.masked),
        "heads": lambda s: merge(s.shares @ s.seen[1]),
        "y": lambda s: linear(s.heads, s.params["c_proj"]),
        "result": lambda s: (s.y, s.k, s.v),
    }
    return in_steps("x", "params", "n_head", "past_k", "past_v", **steps | changes)


attention_step = step_with()


def joined(axis=2, turned=False):
    """Other steps for k and v."""

    def join(past, new):
        return np.concatenate((new, past) if turned else (past, new), axis=axis)

    return {"k": lambda s: join(s.past_k, s.parts[1]), "v": lambda s: join(s.past_v, s.parts[2])}


def thirds(q, k, v):
    """The step that takes queries, keys and values from other thirds."""
    return lambda s: [split(np.split(s.qkv, 3, axis=-1)[i], s.n_head) for i in (q, k, v)]


def in_turns(s):
    return [split(s.qkv[..., i::3], s.n_head) for i in range(3)]


def heads_before_thirds(s):
    B, T, _ = s.qkv.shape
    cut = s.qkv.reshape(B, T, s.n_head, 3, -1)
    return [cut[..., i, :].transpose(0, 2, 1, 3) for i in range(3)]


def cut_at_once(s):
    B, T, C = s.x.shape
    return [part.reshape(B, s.n_head, T, C // s.n_head) for part in np.split(s.qkv, 3, axis=-1)]


def channels_in_turns(s):
    B, T, C = s.x.shape
    return [
        part.reshape(B, T, C // s.n_head, s.n_head).transpose(0, 3, 1, 2) for part in np.split(s.qkv, 3, axis=-1)
    ]


def reshaped_keys(s):
    B, H, S, D = s.k.shape
    return s.parts[0] @ s.k.reshape(B, H, D, S) / s.divisor


def additive_square_mask(s):
    return s.scores + np.where(np.tril(np.ones((s.T, s.T))) == 1, 0, -np.inf)


def by_einsum(x, params, n_head, past_k, past_v):
    B, T, C = x.shape
    D = C // n_head
    q, k, v = np.moveaxis(linear(x, params["c_attn"]).reshape(B, T, 3, n_head, D), 2, 0)
    k = np.append(past_k, np.einsum("bthd->bhtd", k), axis=-2)
    v = np.append(past_v, np.einsum("bthd->bhtd", v), axis=-2)
    scores = np.einsum("bthd,bhsd->bhts", q, k) * D**-0.5
    S = k.shape[2]
    scores[..., ~np.tri(T, S, k=past_k.shape[2], dtype=bool)] = -np.inf
    e = np.exp(scores - scores.max(-1, keepdims=True))
    heads = np.einsum("bhts,bhsd->bthd", e / e.sum(-1, keepdims=True), v).reshape(B, T, C)
    return linear(heads, params["c_proj"]), k, v


def token_by_token(x, params, n_head, past_k, past_v):
    """No mask: the new tokens one after the other, each when its turn comes."""
    rows = []
    for t in range(x.shape[1]):
        parts = np.split(linear(x[:, t : t + 1], params["c_attn"]), 3, axis=-1)
        q, k, v = (split(part, n_head) for part in parts)
        past_k, past_v = np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2)
        scores = q @ past_k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
        rows.append(linear(merge(softmax_forward(scores) @ past_v), params["c_proj"]))
    return np.concatenate(rows, axis=1), past_k, past_v


# 2. The model.


def model_with(positions=lambda start, T: np.arange(start, start + T), layer=lambda i: i, past_of=None, forget=False,
               rows=None, embedded=lambda rows: rows, first=0, length=lambda past: past[0]["k"].shape[2],
               blocks=lambda h: h, final="ln_f",
               end=lambda x, params: x @ params["wte"]["weight"].T, returns=lambda logits, new: (logits, new),
               **steps):  # fmt: skip
    """steps: other ones in the blocks"""
    block_steps = {
        "n1": lambda s: norm(s.x, s.block["ln_1"]),
        "a": lambda s: by_einsum(s.n1, s.block["attn"], s.n_head, s.old["k"], s.old["v"]),
        "mid": lambda s: s.x + s.a[0],
        "n2": lambda s: norm(s.mid, s.block["ln_2"]),
        "f": lambda s: feed_forward_forward(s.n2, s.block["mlp"])[0],
        "y": lambda s: s.mid + s.f,
        "result": lambda s: (s.y, {"k": s.a[1], "v": s.a[2]}),
    }
    run_block = in_steps("x", "block", "n_head", "old", **block_steps | steps)

    def gpt2_step(ids, params, n_head, past):
        wte, wpe = params["wte"]["weight"], params["wpe"]["weight"]
        B, T = ids.shape
        if past is None or forget:
            nothing = np.zeros((B, n_head, first, wte.shape[1] // n_head), wte.dtype)
            past = [{"k": nothing, "v": nothing} for _ in params["h"]]
        x = embedded(wte[ids]) + (rows(wpe, ids) if rows else wpe[positions(length(past), T)])
        new = []
        for i, block in enumerate(blocks(params["h"])):
            x, kept = run_block(x, block, n_head, past[layer(i)])
            new.append(past_of(past[i], kept) if past_of else kept)
        x = norm(x, params["h"][0][final] if final == "ln_1" else params[final]) if final else x
        return returns(end(x, params), new)

    return gpt2_step


gpt2_step = model_with()
AFTER_THE_SUM = {
    "n1": lambda s: s.x,
    "mid": lambda s: norm(s.x + s.a[0], s.block["ln_1"]),
    "n2": lambda s: s.mid,
    "y": lambda s: norm(s.mid + s.f, s.block["ln_2"]),
}


def appends_again(old, new):
    return {name: np.concatenate([old[name], new[name]], axis=2) for name in new}


def only_new(old, new):
    return {name: new[name][:, :, old[name].shape[2] :] for name in new}


def past_needed(ids, params, n_head, past):
    return gpt2_step(ids, params, n_head, [dict(each) for each in past])


def last_block_twice(ids, params, n_head, past):
    """The last block is left out, and the past is filled up."""
    shorter = params | {"h": params["h"][:-1] or params["h"]}
    logits, new = gpt2_step(ids, shorter, n_head, past and past[: len(shorter["h"])])
    return logits, new + new[-1:] * (len(params["h"]) - len(new))


def past_in_place(ids, params, n_head, past):
    logits, new = gpt2_step(ids, params, n_head, past)
    if past:
        for old, each in zip(past, new, strict=True):
            old.update(each)
    return logits, new


# 3. Greedy generation.


def generate_greedy(step, ids, max_new_tokens, n_positions):
    past, new = None, ids[:, -n_positions:]
    for _ in range(max_new_tokens):
        logits, past = step(new, past)
        chosen = logits[:, -1].argmax(axis=-1)[:, None]
        ids = np.concatenate([ids, chosen], axis=1)
        if ids.shape[1] > n_positions:
            past, new = None, ids[:, -n_positions:]
        else:
            new = chosen
    return ids


def generate_in_lists(step, ids, max_new_tokens, n_positions):
    text = [list(row) for row in ids.tolist()]
    past, read = None, 0
    while len(text[0]) < ids.shape[1] + max_new_tokens:
        if len(text[0]) > n_positions:
            past, read = None, len(text[0]) - n_positions
        logits, past = step(np.array([row[read:] for row in text]), past)
        read = len(text[0])
        for row, scores in zip(text, logits[:, -1, :], strict=True):
            row.append(int(np.argmax(scores)))
    return text


def prompt_token_by_token(step, ids, max_new_tokens, n_positions):
    """Not even the prompt is read at once; where the window slides, it is."""
    P = n_positions
    past = None
    if ids.shape[1] <= P:
        for t in range(ids.shape[1]):
            logits, past = step(ids[:, t : t + 1], past)
    else:
        logits, _ = step(ids[:, -P:], None)
    for left in range(max_new_tokens, 0, -1):
        ids = np.hstack([ids, logits[:, -1:].argmax(-1)])
        if left > 1:
            logits, past = step(ids[:, -1:], past) if ids.shape[1] <= P else step(ids[:, -P:], None)
    return ids


def generate_with(choose=lambda logits: logits[:, -1].argmax(-1), begin=lambda ids, P: ids[:, -P:], window=0,
                  then=lambda ids, new, past: (new, past), slide=lambda ids, new, past, P: (ids[:, -P:], None),
                  count=lambda ids, n: n, stop=lambda new: False, first=lambda: None,
                  join=lambda ids, new: np.hstack([ids, new]), end=lambda ids, T: ids):  # fmt: skip
    """begin, then, slide: what the model reads first, next, and when the text has outgrown P - window positions"""

    def generate(step, ids, max_new_tokens, n_positions):
        T, new, past = ids.shape[1], begin(ids, n_positions), first()
        for _ in range(count(ids, max_new_tokens)):
            logits, past = step(new, past)
            new = choose(logits)[:, None]
            ids = join(ids, new)
            if stop(new):
                break
            new, past = then(ids, new, past)
            if ids.shape[1] > n_positions - window:
                new, past = slide(ids, new, past, n_positions)
        return end(ids, T)

    return generate


def stops_before_zero(step, ids, max_new_tokens, n_positions):
    past, new = None, ids[:, -n_positions:]
    for _ in range(max_new_tokens):
        logits, past = step(new, past)
        new = logits[:, -1].argmax(-1)[:, None]
        if not new.any():
            break
        ids = np.hstack([ids, new])
        if ids.shape[1] > n_positions:
            past, new = None, ids[:, -n_positions:]
    return ids


def same_for_all(choose):
    return lambda logits: np.repeat(choose(logits), len(logits))


def first_past_each_time(step, ids, max_new_tokens, n_positions):
    first, new = None, ids[:, -n_positions:]
    for _ in range(max_new_tokens):
        logits, past = step(new, first)
        first = first or past
        new = logits[:, -1].argmax(-1)[:, None]
        ids = np.hstack([ids, new])
        if ids.shape[1] > n_positions:
            new, first = ids[:, -n_positions:], None
    return ids


def asks_once_more(step, ids, max_new_tokens, n_positions):
    new, past = ids[:, -n_positions:], None
    for i in range(max_new_tokens + 1):
        logits, past = step(new, past)
        if i < max_new_tokens:
            new = logits[:, -1].argmax(-1)[:, None]
            ids = np.hstack([ids, new])
            if ids.shape[1] > n_positions:
                new, past = ids[:, -n_positions:], None
    return ids


def text_by_text(step, ids, max_new_tokens, n_positions):
    """A loop over the texts, each of which has a past of its own."""
    return np.concatenate([generate_greedy(step, row[None], max_new_tokens, n_positions) for row in ids])


def stops_when_full(step, ids, max_new_tokens, n_positions):
    n = max(1, min(max_new_tokens, n_positions + 1 - ids.shape[1]))
    return generate_greedy(step, ids, n, n_positions)


def second_best(logits):
    return np.argsort(logits[:, -1], axis=-1)[:, -2]


def always_whole_window(step, ids, max_new_tokens, n_positions):
    for _ in range(max_new_tokens):
        logits, _ = step(ids[:, -n_positions:], None)
        ids = np.concatenate([ids, logits[:, -1].argmax(-1)[:, None]], axis=1)
    return ids


def cache_for_short_prompts_only(step, ids, max_new_tokens, n_positions):
    if ids.shape[1] + max_new_tokens > n_positions + 1:
        return always_whole_window(step, ids, max_new_tokens, n_positions)
    return generate_greedy(step, ids, max_new_tokens, n_positions)


def reads_two(step, ids, max_new_tokens, n_positions):
    """The last two tokens each time, with a past that lacks the first of them."""
    past = None
    for _ in range(max_new_tokens):
        L = ids.shape[1]
        if n_positions < L or past is None:
            logits, past = step(ids[:, -n_positions:], None)
        else:
            shorter = [{name: each[name][:, :, : L - 2] for name in each} for each in past]
            logits, past = step(ids[:, L - 2 :], shorter if L > 2 else None)
        ids = np.concatenate([ids, logits[:, -1].argmax(-1)[:, None]], axis=1)
    return ids


def stale_token(step, ids, max_new_tokens, n_positions):
    """The last token of the prompt again and again, in place of the one that was chosen."""
    past, new = None, ids[:, -n_positions:]
    last = ids[:, -1:]
    for _ in range(max_new_tokens):
        logits, past = step(new, past)
        ids = np.concatenate([ids, logits[:, -1].argmax(-1)[:, None]], axis=1)
        past, new = (None, ids[:, -n_positions:]) if ids.shape[1] > n_positions else (past, last)
    return ids


def drops_the_oldest(step, ids, max_new_tokens, n_positions):
    """Where the text outgrows the model, the cache forgets its first entry."""
    past, new = None, ids[:, -n_positions:]
    for _ in range(max_new_tokens):
        if past and past[0]["k"].shape[2] >= n_positions:
            past = [{name: each[name][:, :, 1:] for name in each} for each in past]
        logits, past = step(new, past)
        new = logits[:, -1].argmax(-1)[:, None]
        ids = np.concatenate([ids, new], axis=1)
    return ids


def cuts_the_prompt(step, ids, max_new_tokens, n_positions):
    return generate_greedy(step, ids[:, -n_positions:], max_new_tokens, n_positions)


# 4. Sampling.


def probs_right(logits, temperature=1.0, top_k=None):
    z = (logits - logits.max(-1, keepdims=True)) / temperature
    p = np.exp(z)
    if top_k is not None and top_k < logits.shape[-1]:
        border = np.sort(logits, axis=-1)[:, -top_k][:, None]
        p = p * (logits >= border)
    return p / p.sum(-1, keepdims=True)


def probs_in_loops(logits, temperature=1.0, top_k=None):
    rows = []
    for row in logits.tolist():
        border = sorted(row, reverse=True)[: top_k or len(row)][-1]
        weights = [np.exp((value - max(row)) / temperature) if value >= border else 0.0 for value in row]
        rows.append([weight / sum(weights) for weight in weights])
    return np.array(rows, logits.dtype)


def probs_with(**changes):
    steps = {
        "z": lambda s: s.logits / s.temperature,
        "k": lambda s: min(s.top_k, s.z.shape[-1]) if s.top_k is not None else s.z.shape[-1],
        "border": lambda s: np.sort(s.z, axis=-1)[:, ::-1][:, s.k - 1 : s.k],
        "kept": lambda s: s.z >= s.border,
        "rest": lambda s: -np.inf,
        "y": lambda s: np.where(s.kept, s.z, s.rest),
        "probs": lambda s: softmax(s.y),
    }
    run = in_steps("logits", "temperature", "top_k", **steps | changes)

    def next_token_probs(logits, temperature=1.0, top_k=None):
        return run(logits, temperature, top_k)

    return next_token_probs


def always_warm(logits, temperature=0.7, top_k=None):
    return probs_right(logits, temperature, top_k)


def always_forty(logits, temperature=1.0, top_k=40):
    return probs_right(logits, temperature, top_k)


def best_alone(logits, temperature=1.0, top_k=None):
    """The best one has a case of its own, in which a tie is forgotten."""
    if top_k == 1:
        return np.eye(logits.shape[-1])[logits.argmax(-1)].astype(logits.dtype)
    return probs_right(logits, temperature, top_k)


def less_the_minimum(logits, temperature=1.0, top_k=None):
    finite = np.where(np.isinf(logits), np.inf, logits)
    e = np.exp((logits - finite.min(-1, keepdims=True)) / temperature) * (probs_right(logits, temperature, top_k) > 0)
    return e / e.sum(-1, keepdims=True)


def top_k_needed(logits, temperature=1.0, top_k=None):
    return probs_right(logits, temperature, min(top_k, logits.shape[-1]))


def divided_by_sum(scores):
    return scores / scores.sum(-1, keepdims=True)


def distinct_values(s):
    return np.array([sorted(set(row), reverse=True)[: s.k][-1:] for row in s.z.tolist()])


def divides_the_probabilities(logits, temperature=1.0, top_k=None):
    return probs_right(logits, 1.0, top_k) / temperature


def not_renormalised(logits, temperature=1.0, top_k=None):
    p = softmax_forward(logits / temperature)
    if top_k is not None and top_k < p.shape[-1]:
        p[p < np.sort(p, axis=-1)[:, -top_k][:, None]] = 0
    return p


def first_k_of_argsort(logits, temperature=1.0, top_k=None):
    z = np.full_like(logits, -np.inf)
    for i, row in enumerate(logits):
        best = np.argsort(-row, kind="stable")[:top_k]
        z[i, best] = row[best] / temperature
    return softmax_forward(z)


def last_k_of_argsort(logits, temperature=1.0, top_k=None):
    z = np.full_like(logits, -np.inf)
    for i, row in enumerate(logits):
        best = np.argsort(row)[-top_k:] if top_k else np.arange(len(row))
        z[i, best] = row[best] / temperature
    return softmax_forward(z)


def index_beyond_the_end(logits, temperature=1.0, top_k=None):
    z = logits / temperature
    if top_k is not None:
        z = np.where(z >= np.sort(z, axis=-1)[:, -top_k][:, None], z, -np.inf)
    return softmax_forward(z)


def partition_beyond_the_end(logits, temperature=1.0, top_k=None):
    z = logits / temperature
    if top_k is not None:
        z = np.where(z >= np.partition(z, -top_k, axis=-1)[:, -top_k, None], z, -np.inf)
    return softmax_forward(z)


def overflows(logits, temperature=1.0, top_k=None):
    e = np.exp(logits / temperature)
    if top_k is not None:
        e[logits < np.sort(logits, axis=-1)[:, -min(top_k, logits.shape[-1])][:, None]] = 0
    return e / e.sum(-1, keepdims=True)


def logits_in_place(logits, temperature=1.0, top_k=None):
    right = probs_right(logits, temperature, top_k)
    logits /= temperature
    return right


# 5. The nucleus.


def nucleus_in_loops(logits, p):
    out = np.full_like(logits, -np.inf)
    for i, row in enumerate(softmax_forward(logits)):
        total = 0.0
        for v in sorted(range(len(row)), key=lambda v: -row[v]):
            out[i, v] = logits[i, v]
            total += row[v]
            if total >= p:
                break
    return out


def nucleus_by_masks(logits, p):
    """Of each token: how much probability the better ones have together."""
    probs = softmax_forward(logits)
    better = (probs[:, None, :] > probs[:, :, None]) @ probs[:, :, None]
    return np.where(better[..., 0] < p, logits, -np.inf)


def nucleus_with(stays, key=lambda row: lambda v: -row[v]):
    """stays: (sum before a token, its probability, the probability of the token before it, how many before it, p)"""

    def keep_top_p(logits, p):
        out = np.full_like(logits, -np.inf)
        for i, row in enumerate(softmax_forward(logits)):
            total, previous = 0.0, 0.0
            for count, v in enumerate(sorted(range(len(row)), key=key(row))):
                if stays(total, row[v], previous, count, p):
                    out[i, v] = logits[i, v]
                total, previous = total + row[v], row[v]
        return out

    return keep_top_p


def nucleus_in_steps(**changes):
    steps = {
        "probs": lambda s: softmax(s.logits),
        "order": lambda s: np.argsort(-s.logits, axis=-1),
        "best": lambda s: np.take_along_axis(s.probs, s.order, -1),
        "total": lambda s: np.cumsum(s.best, axis=-1),
        "stay": lambda s: s.total - s.best < s.p,
        "rank": lambda s: np.argsort(s.order, axis=-1),
        "kept": lambda s: np.take_along_axis(s.stay, s.rank, -1),
        "result": lambda s: np.where(s.kept, s.logits, -np.inf),
    }
    return in_steps("logits", "p", **steps | changes)


def nucleus_with_break(shifted):
    """shifted: row -> what exp is taken of"""

    def keep_top_p(logits, p):
        out = np.full_like(logits, -np.inf)
        for i, row in enumerate(logits):
            probs, total = divided_by_sum(np.exp(shifted(row))), 0.0
            for v in np.argsort(-row):
                out[i, v], total = row[v], total + probs[v]
                if total >= p:
                    break
        return out

    return keep_top_p


def same_number(of):
    """The step that lets as many tokens stay in all rows, made of how many each row would need."""
    return lambda s: np.arange(s.best.shape[1]) + 0 * s.best < of((s.total - s.best < s.p).sum(-1))


def by_probability(logits, p):
    return np.where(softmax_forward(logits) < p, -np.inf, logits)


def sorted_result(logits, p):
    return np.take_along_axis(nucleus_in_loops(logits, p), np.argsort(-logits, axis=-1), axis=-1)


RIGHT = [
    ("attention_step", attention_step),
    ("attention_step", by_einsum),
    ("attention_step", token_by_token),
    ("gpt2_step", gpt2_step),
    ("generate_greedy", generate_greedy),
    ("generate_greedy", generate_in_lists),
    ("generate_greedy", prompt_token_by_token),
    ("generate_greedy", text_by_text),
    ("next_token_probs", probs_right),
    ("next_token_probs", probs_in_loops),
    ("keep_top_p", nucleus_in_loops),
    ("keep_top_p", nucleus_by_masks),
]

WRONG = [
    (
        "generate_greedy",
        generate_with(begin=lambda ids, P: ids[:, :P], slide=lambda ids, new, past, P: (ids[:, :P], None)),
        "the first n_positions tokens",
    ),
    ("keep_top_p", nucleus_with(lambda total, one, previous, count, p: not count or one >= 1 - p), "1 - p is compared"),
    ("attention_step", step_with(**joined(axis=1)), "along the wrong axis, not along time"),
    ("attention_step", step_with(**joined(axis=0)), "along the wrong axis, not along time"),
    ("attention_step", step_with(**joined(axis=-1)), "along the wrong axis, not along time"),
    ("attention_step", step_with(**joined(turned=True)), "The new keys and values come before"),
    ("attention_step", step_with(k=joined(turned=True)["k"]), "The new keys come before"),
    ("attention_step", step_with(v=joined(turned=True)["v"]), "The new values come before"),
    (
        "attention_step",
        step_with(**joined(turned=True), y=lambda s: s.heads),
        "2 things at once. (1) The new keys and values",
    ),
    ("attention_step", step_with(k=lambda s: s.parts[1], v=lambda s: s.parts[2]), "The past plays no part"),
    ("attention_step", step_with(seen=lambda s: s.parts[1:]), "The new tokens look only at each other."),
    ("attention_step", step_with(result=lambda s: (s.y, *s.parts[1:])), "Only the new keys and values come back"),
    ("attention_step", step_with(mask=lambda s: np.tril(np.ones((s.T, s.S)))), "as if there were no past"),
    ("attention_step", step_with(mask=lambda s: np.tri(s.T)), "has no columns for the old keys"),
    ("attention_step", step_with(masked=additive_square_mask), "has no columns for the old keys"),
    (
        "attention_step",
        step_with(mask=lambda s: np.ones((s.T, s.S)) if s.S > s.T else np.tri(s.T)),
        "There is a mask only where there is no past",
    ),
    ("attention_step", step_with(mask=lambda s: np.ones((s.T, s.S))), "There is no mask"),
    ("attention_step", step_with(mask=lambda s: np.tri(s.T, s.S, s.S - s.T + 1)), "each token sees the one after it"),
    ("attention_step", step_with(mask=lambda s: np.tri(s.T, s.S, s.S - s.T - 1)), "a token does not see itself"),
    ("attention_step", step_with(mask=lambda s: 1 - np.tri(s.T, s.S, s.S - s.T)), "The mask is turned round"),
    ("attention_step", step_with(mask=lambda s: 1 - np.tri(s.T, s.S, s.S - s.T - 1)), "The mask is turned round"),
    ("attention_step", step_with(masked=lambda s: s.scores * s.mask), "The masked scores are 0"),
    (
        "attention_step",
        step_with(masked=lambda s: np.where(s.mask == 1, s.scores, -1e4)),
        "The masked scores are a large negative number",
    ),
    ("attention_step", step_with(shares=lambda s: softmax(s.scores) * s.mask), "the shares of the others do not sum"),
    (
        "attention_step",
        step_with(
            shares=lambda s: softmax(s.scores) * s.mask / (softmax(s.scores) * s.mask).sum(-1, keepdims=True)
        ),
        "nothing is left for the others",
    ),
    ("attention_step", step_with(divisor=lambda s: 1), "not divided by the root of D"),
    ("attention_step", step_with(divisor=lambda s: np.sqrt(s.x.shape[-1])), "divided by the root of C"),
    ("attention_step", step_with(divisor=lambda s: s.parts[0].shape[-1]), "divided by D, not by its root"),
    ("attention_step", step_with(divisor=lambda s: s.parts[0].shape[-1] ** -0.5), "multiplied by the root of D"),
    (
        "attention_step",
        step_with(mask=lambda s: np.ones((s.T, s.S)), divisor=lambda s: np.sqrt(s.x.shape[-1])),
        "2 things at once. (1) There is no mask",
    ),
    ("attention_step", step_with(shares=lambda s: softmax(s.masked, axis=-2)), "is taken along the queries"),
    ("attention_step", step_with(shares=lambda s: softmax(s.masked, axis=1)), "The softmax is taken across the heads"),
    ("attention_step", step_with(shares=lambda s: s.scores * s.mask), "There is no softmax"),
    ("attention_step", step_with(shares=lambda s: np.exp(s.masked)), "The shares of a query do not sum to 1"),
    (
        "attention_step",
        step_with(shares=lambda s: np.exp(s.masked - s.masked.max(-1, keepdims=True))),
        "The shares of a query do not sum to 1",
    ),
    ("attention_step", step_with(v=lambda s: np.concatenate((s.past_k, s.parts[2]), 2)), "put after the old keys"),
    (
        "attention_step",
        step_with(
            k=lambda s: np.concatenate((s.past_v, s.parts[1]), 2), v=lambda s: np.concatenate((s.past_k, s.parts[2]), 2)
        ),
        "The old keys and the old values are exchanged",
    ),
    ("attention_step", step_with(result=lambda s: (s.y, s.past_k, s.past_v)), "Only the old keys and values come back"),
    ("attention_step", step_with(scores=reshaped_keys), "The keys are reshaped"),
    ("attention_step", step_with(divisor=lambda s: s.S**0.5), "divided by the root of S"),
    ("attention_step", step_with(divisor=lambda s: s.T**0.5), "divided by the root of T"),
    ("attention_step", step_with(divisor=lambda s: 8), "as if every head were 64 wide"),
    ("attention_step", step_with(masked=lambda s: np.where(s.mask == 1, s.scores, -1)), "The masked scores are -1"),
    ("attention_step", step_with(masked=lambda s: s.scores - (1 - s.mask) * np.inf), "0 times infinity is NaN"),
    (
        "attention_step",
        step_with(
            weights=lambda s: np.exp(s.masked - s.masked.max(-1, keepdims=True)),
            shares=lambda s: s.weights / s.weights.sum(2, keepdims=True),
        ),
        "divided by their sum along the queries",
    ),
    ("attention_step", step_with(heads=lambda s: merge(s.shares @ s.k)), "The shares weigh the keys"),
    *(
        ("attention_step", step_with(parts=thirds(*order)), "from the wrong thirds")
        for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0))
    ),
    ("attention_step", step_with(parts=in_turns), "Every third number of c_attn's result"),
    ("attention_step", step_with(parts=heads_before_thirds), "is cut into heads first"),
    ("attention_step", step_with(parts=cut_at_once), "cut without exchanging the axes"),
    ("attention_step", step_with(parts=channels_in_turns), "The heads take turns"),
    (
        "attention_step",
        step_with(heads=lambda s: (s.shares @ s.v).reshape(s.x.shape)),
        "The heads are put side by side in a wrong way",
    ),
    (
        "attention_step",
        step_with(heads=lambda s: (s.shares @ s.v).transpose(0, 2, 3, 1).reshape(s.x.shape)),
        "The heads are put side by side in a wrong way",
    ),
    ("attention_step", step_with(y=lambda s: s.heads), "c_proj, is missing"),
    (
        "attention_step",
        step_with(y=lambda s: s.heads @ s.params["c_proj"]["weight"].T + s.params["c_proj"]["bias"]),
        "c_proj's weight is transposed",
    ),
    ("attention_step", step_with(result=lambda s: (s.y[:, -1:], s.k, s.v)), "Only the last new token's y"),
    ("gpt2_step", model_with(forget=True), "The past is not used at all"),
    ("gpt2_step", model_with(lambda start, T: np.arange(T)), "the positions from 0 on"),
    ("gpt2_step", model_with(lambda start, T: np.arange(T) + start + 1), "off by one, too high"),
    ("gpt2_step", model_with(lambda start, T: np.maximum(np.arange(T) + start - 1, 0)), "off by one, too low"),
    ("gpt2_step", model_with(lambda start, T: [start] * T), "get the same position"),
    ("gpt2_step", model_with(lambda start, T: [start + T - 1] * T), "get the same position"),
    ("gpt2_step", model_with(lambda start, T: [start] * T if start else np.arange(T)), "get the same position"),
    ("gpt2_step", model_with(embedded=lambda rows: rows * rows.shape[-1] ** 0.5), "is multiplied by the root of C"),
    ("gpt2_step", model_with(layer=lambda i: i - 1), "the past of the block before it"),
    ("gpt2_step", model_with(first=1), "The past of the first call is not empty"),
    ("gpt2_step", model_with(end=lambda x, p: x), "The output layer is missing"),
    (
        "gpt2_step",
        model_with(end=lambda x, p: (x @ p["wte"]["weight"].T).argmax(-1)),
        "Tokens came back in place of logits",
    ),
    ("gpt2_step", model_with(**AFTER_THE_SUM), "This is post-norm"),
    ("gpt2_step", model_with(**AFTER_THE_SUM, final=None), "2 things at once. (1) This is post-norm"),
    (
        "gpt2_step",
        model_with(
            n1=lambda s: s.x,
            mid=lambda s: s.x + norm(s.a[0], s.block["ln_1"]),
            n2=lambda s: s.mid,
            y=lambda s: s.mid + norm(s.f, s.block["ln_2"]),
        ),
        "The norms are applied to the outputs",
    ),
    ("gpt2_step", past_needed, "past may be None, and is in this case"),
    ("gpt2_step", model_with(returns=lambda logits, new: (new, logits)), "In this order: `logits, past`"),
    ("gpt2_step", last_block_twice, "past.0.k and past.1.k are one and the same array"),
    ("gpt2_step", model_with(layer=lambda i: 0), "gets the past of the first one"),
    ("gpt2_step", model_with(past_of=lambda old, new: old), "The old past is returned"),
    ("gpt2_step", model_with(past_of=appends_again), "in the returned past twice"),
    ("gpt2_step", model_with(past_of=only_new), "has only the new tokens' keys"),
    ("gpt2_step", model_with(final=None), "ln_f, is forgotten"),
    ("gpt2_step", model_with(end=lambda x, p: x[:, -1] @ p["wte"]["weight"].T), "Only the last token's logits"),
    ("gpt2_step", model_with(end=lambda x, p: x[:, -1:] @ p["wte"]["weight"].T), "Only the last token's logits"),
    ("gpt2_step", past_in_place, "past is the caller's own list"),
    ("gpt2_step", model_with(length=lambda past: past[0]["k"].shape[1]), "The number of old tokens is wrong"),
    ("gpt2_step", model_with(length=len), "The number of old tokens is wrong"),
    ("gpt2_step", model_with(lambda start, T: np.arange(start, start + T)[::-1]), "positions go backwards"),
    ("gpt2_step", model_with(rows=lambda wpe, ids: 0), "The position embedding is forgotten"),
    ("gpt2_step", model_with(rows=lambda wpe, ids: wpe[ids % len(wpe)]), "looked up by token id"),
    ("gpt2_step", model_with(n1=lambda s: s.x), "The first layer norm is missing"),
    ("gpt2_step", model_with(n2=lambda s: s.mid), "The second layer norm is missing"),
    ("gpt2_step", model_with(n1=lambda s: s.x, n2=lambda s: s.mid), "2 things at once. (1) The first layer norm"),
    ("gpt2_step", model_with(mid=lambda s: s.n1 + s.a[0]), "In the first half, the normalised copy"),
    ("gpt2_step", model_with(y=lambda s: s.n2 + s.f), "In the second half, the normalised copy"),
    ("gpt2_step", model_with(mid=lambda s: s.a[0]), "The first residual connection is lost"),
    ("gpt2_step", model_with(y=lambda s: s.f), "The second residual connection is lost"),
    (
        "gpt2_step",
        model_with(n1=lambda s: norm(s.x, s.block["ln_2"]), n2=lambda s: norm(s.mid, s.block["ln_1"])),
        "The two layer norms are exchanged",
    ),
    ("gpt2_step", model_with(n2=lambda s: norm(s.mid, s.block["ln_1"])), "One layer norm is used for both"),
    ("gpt2_step", model_with(n2=lambda s: norm(s.x, s.block["ln_2"])), "are side by side"),
    ("gpt2_step", model_with(n2=lambda s: norm(s.a[0], s.block["ln_2"])), "reads only the output of attention"),
    ("gpt2_step", model_with(n2=lambda s: norm(s.n1, s.block["ln_2"])), "The second norm reads the normalised copy"),
    (
        "gpt2_step",
        model_with(f=lambda s: feed_forward_forward(s.n1, s.block["mlp"])[0]),
        "the copy that was made for attention",
    ),
    ("gpt2_step", model_with(y=lambda s: s.x + s.f), "At the end the input x is added"),
    ("gpt2_step", model_with(y=lambda s: s.x + s.mid + s.f), "The input x is in the result twice"),
    ("gpt2_step", model_with(y=lambda s: s.mid + s.a[0] + s.f), "Attention's result is in the stream twice"),
    ("gpt2_step", model_with(mid=lambda s: s.x), "Attention adds nothing"),
    ("gpt2_step", model_with(y=lambda s: s.mid), "The feed-forward network adds nothing"),
    ("gpt2_step", model_with(blocks=lambda h: h[::-1]), "The blocks are run from the last"),
    (
        "gpt2_step",
        model_with(result=lambda s: (s.y, {"k": s.a[2], "v": s.a[1]})),
        "Keys and values are exchanged",
    ),
    ("gpt2_step", model_with(returns=lambda logits, new: (logits, [new[-1]] * len(new))), "is it one dict"),
    ("gpt2_step", model_with(returns=lambda logits, new: (logits, tuple(new))), "past should be a list"),
    ("gpt2_step", model_with(final="ln_1"), "uses the parameters of another norm"),
    ("gpt2_step", model_with(end=lambda x, p: x @ p["wte"]["weight"]), "output layer is transposed"),
    ("gpt2_step", model_with(end=lambda x, p: x @ p["lm_head"]), "There is no matrix of that name"),
    ("gpt2_step", model_with(end=lambda x, p: softmax(x @ p["wte"]["weight"].T)), "These are probabilities"),
    (
        "gpt2_step",
        model_with(n2=lambda s: s.mid, end=lambda x, p: (x @ p["wte"]["weight"].T)[:, -1]),
        "2 things at once. (1) The second layer norm is missing",
    ),
    ("generate_greedy", generate_with(choose=lambda logits: logits[:, -1].argmin(-1)), "The least likely token"),
    ("generate_greedy", generate_with(choose=lambda logits: logits[:, 0].argmax(-1)), "logits of the first position"),
    ("generate_greedy", generate_with(choose=lambda logits: logits.mean(1).argmax(-1)), "logits of all positions"),
    ("generate_greedy", generate_with(choose=lambda logits: abs(logits[:, -1]).argmax(-1)), "without its sign"),
    ("generate_greedy", generate_with(choose=lambda logits: logits[:, -1].argmax(-1) + 1), "token is one too high"),
    ("generate_greedy", generate_with(choose=same_for_all(lambda z: z[0, -1].argmax())), "All texts get the same"),
    (
        "generate_greedy",
        generate_with(choose=same_for_all(lambda z: z[:, -1].max(0).argmax())),
        "All texts get the same token",
    ),
    ("generate_greedy", generate_with(choose=second_best), "How is it chosen from the logits"),
    ("generate_greedy", generate_with(stop=lambda new: not new.all()), "Writing ends with token 0"),
    (
        "generate_greedy",
        generate_with(count=lambda ids, n: n - ids.shape[1]),
        "is taken for the length of the whole text",
    ),
    ("generate_greedy", generate_with(then=lambda ids, new, past: (ids, past)), "already in the past were given"),
    ("generate_greedy", generate_with(then=lambda ids, new, past: (ids[:, -2:], past)), "already in the past were"),
    ("generate_greedy", generate_with(then=lambda ids, new, past: (new, None)), "the newest token without a past"),
    ("generate_greedy", first_past_each_time, "The same past is given each time"),
    ("generate_greedy", stale_token, "The last token of the prompt is given"),
    ("generate_greedy", always_whole_window, "It never gets a past"),
    ("generate_greedy", cache_for_short_prompts_only, "It never gets a past"),
    ("generate_greedy", reads_two, "Which tokens are read again"),
    ("generate_greedy", asks_once_more, "The model is called once more at the end"),
    ("generate_greedy", generate_with(end=lambda ids, T: ids[:, T:]), "Only the new tokens come back"),
    ("generate_greedy", stops_before_zero, "Writing ends with token 0"),
    ("generate_greedy", generate_with(end=lambda ids, T: ids[:1]), "Only 1 of 2 texts came back"),
    ("generate_greedy", generate_with(end=lambda ids, T: ids.T), "It is right, but transposed"),
    ("generate_greedy", generate_with(end=lambda ids, T: ids[:, -1:]), "for each text. The beginning is missing."),
    ("generate_greedy", generate_with(end=lambda ids, T: ids[0]), "The result is int64 of shape (8,)"),
    ("generate_greedy", generate_with(end=lambda ids, T: np.vstack([ids, ids])), "What is put together"),
    ("generate_greedy", generate_with(slide=lambda ids, new, past, P: (ids[:, -P:], past)), "with the old past"),
    ("generate_greedy", generate_with(window=-1), "begins to slide one token too late"),
    ("generate_greedy", generate_with(first=lambda: []), "gets an empty list as its past"),
    ("generate_greedy", generate_with(end=lambda ids, T: None), "None came back"),
    ("generate_greedy", generate_with(end=lambda ids, T: (ids, T)), "A tuple of 2 came back"),
    ("generate_greedy", cuts_the_prompt, "The beginning is missing"),
    ("generate_greedy", generate_with(join=lambda ids, new: np.hstack([new, ids])), "The new token is put before"),
    ("generate_greedy", generate_with(begin=lambda ids, P: ids), "The prompt can be longer than n_positions already"),
    (
        "generate_greedy",
        generate_with(begin=lambda ids, P: ids, slide=lambda ids, new, past, P: (new, past)),
        "The text outgrows the model's positions",
    ),
    (
        "generate_greedy",
        generate_with(slide=lambda ids, new, past, P: (new, past)),
        "The text outgrows the model's positions",
    ),
    ("generate_greedy", generate_with(slide=lambda ids, new, past, P: (new, None)), "only its last token is read"),
    ("generate_greedy", drops_the_oldest, "The oldest keys and values are dropped"),
    ("generate_greedy", generate_with(window=1), "begins to slide one token too early"),
    ("generate_greedy", generate_with(slide=lambda ids, new, past, P: (ids[:, 1 - P :], None)), "The window is too"),
    (
        "generate_greedy",
        generate_with(slide=lambda ids, new, past, P: (ids[:, -(P - 2) :], None)),
        "Which tokens does it see then",
    ),
    ("generate_greedy", stops_when_full, "It stops when the text has n_positions tokens"),
    ("next_token_probs", probs_with(z=lambda s: s.logits * s.temperature), "multiplied by the temperature"),
    ("next_token_probs", divides_the_probabilities, "divided by the temperature, and no longer sum to 1"),
    ("next_token_probs", probs_with(z=lambda s: s.logits * 1), "The temperature has no effect"),
    ("next_token_probs", probs_with(z=lambda s: s.logits / s.temperature**2), "by the square of the temperature"),
    ("next_token_probs", probs_with(z=lambda s: s.logits - s.temperature), "The temperature has no effect"),
    ("next_token_probs", probs_with(z=lambda s: s.logits / s.temperature**0.5), "by the root of the temperature"),
    ("next_token_probs", probs_with(z=lambda s: s.logits // s.temperature), "divided without a remainder"),
    ("next_token_probs", probs_with(z=lambda s: s.logits / min(1, s.temperature)), "A temperature above 1 is not used"),
    ("next_token_probs", probs_with(kept=lambda s: True), "top_k has no effect"),
    (
        "next_token_probs",
        probs_with(k=lambda s: min((s.top_k or 99) + 1, s.z.shape[-1])),
        "One token too many is kept",
    ),
    (
        "next_token_probs",
        probs_with(kept=lambda s: (s.z > s.border) | (s.top_k is None)),
        "One token too few is kept",
    ),
    (
        "next_token_probs",
        probs_with(k=lambda s: max(min(s.top_k, s.z.shape[-1]) - 1, 1) if s.top_k else s.z.shape[-1]),
        "One token too few is kept",
    ),
    ("next_token_probs", probs_with(y=lambda s: s.z * s.kept), "The others get 0, which"),
    ("next_token_probs", probs_with(y=lambda s: np.maximum(s.z, s.border)), "probs should be 0 at [0, 2], and is not"),
    ("next_token_probs", best_alone, "probs is 0 at [0, 2], and should not be"),
    ("next_token_probs", less_the_minimum, "probs has NaN in it"),
    (
        "next_token_probs",
        probs_with(border=lambda s: np.sort(s.z, None)[0 if s.top_k is None else -min(s.top_k, s.z.size)]),
        "The best k of the whole batch",
    ),
    ("next_token_probs", probs_with(probs=lambda s: s.y), "There is no softmax"),
    ("next_token_probs", probs_with(probs=lambda s: s.y / s.y.sum(-1, keepdims=True)), "divided by their sum"),
    (
        "next_token_probs",
        probs_with(y=lambda s: np.where(s.kept, s.z, 0) * (s.z > -np.inf), probs=lambda s: divided_by_sum(s.y)),
        "divided by their sum",
    ),
    ("next_token_probs", top_k_needed, "top_k may be None, and is in this case"),
    ("next_token_probs", not_renormalised, "the probabilities of the best k do not sum to 1"),
    ("next_token_probs", probs_with(rest=lambda s: 0.0), "The others get 0, which"),
    ("next_token_probs", probs_with(rest=lambda s: -1.0), "The others get -1, which"),
    ("next_token_probs", probs_with(rest=lambda s: -1e4), "The others get a large negative number"),
    (
        "next_token_probs",
        probs_with(border=lambda s: np.sort(s.z)[:, s.k - 1, None], kept=lambda s: s.z <= s.border),
        "The k smallest are kept",
    ),
    (
        "next_token_probs",
        probs_with(border=lambda s: np.sort(s.z)[:, 0 if s.top_k is None else s.k - 1, None]),
        "is counted from the small end",
    ),
    (
        "next_token_probs",
        probs_with(border=lambda s: -np.inf if s.top_k is None else np.sort(s.z.ravel())[-s.k]),
        "rows share one threshold",
    ),
    (
        "next_token_probs",
        probs_with(border=lambda s: -np.inf if s.top_k is None else np.sort(s.z[0])[-s.k]),
        "The threshold of the first row",
    ),
    (
        "next_token_probs",
        probs_with(kept=lambda s: (s.z >= s.border)[0]),
        "The best tokens of the first row",
    ),
    ("next_token_probs", first_k_of_argsort, "Some of the equal logits at the border"),
    ("next_token_probs", last_k_of_argsort, "Some of the equal logits at the border"),
    ("next_token_probs", probs_with(border=distinct_values), "Equal logits count as one"),
    ("next_token_probs", index_beyond_the_end, "top_k may be larger"),
    ("next_token_probs", partition_beyond_the_end, "top_k may be larger"),
    ("next_token_probs", probs_with(probs=lambda s: softmax(s.y, axis=0)), "Each row is a separate distribution"),
    ("next_token_probs", probs_with(probs=lambda s: softmax(s.y, axis=None)), "Each row is a separate distribution"),
    ("next_token_probs", overflows, "exp of a large logit overflows"),
    (
        "next_token_probs",
        probs_with(z=lambda s: s.logits * s.temperature, probs=lambda s: np.exp(s.y) / np.exp(s.y).sum(-1)[:, None]),
        "2 things at once. (1) The logits are multiplied",
    ),
    (
        "next_token_probs",
        probs_with(probs=lambda s: np.exp(s.y - s.y.max()) / np.exp(s.y - s.y.max()).sum(-1, keepdims=True)),
        "One maximum is subtracted from all rows",
    ),
    (
        "next_token_probs",
        probs_with(probs=lambda s: np.exp(s.y - s.y.max(-1, keepdims=True))),
        "The rows do not sum to 1",
    ),
    ("next_token_probs", probs_with(probs=lambda s: np.eye(s.y.shape[-1])[s.y.argmax(-1)]), "Only the best token has"),
    ("next_token_probs", probs_with(probs=lambda s: s.y.argmax(-1)), "Only the best token has"),
    ("next_token_probs", probs_with(probs=lambda s: np.sort(softmax(s.y))[:, ::-1]), "in the order of their size"),
    ("next_token_probs", probs_with(k=lambda s: min(s.top_k or 1, s.z.shape[-1])), "None is taken for 1"),
    (
        "next_token_probs",
        probs_with(probs=lambda s: softmax(np.log(2) * s.y)),
        "The powers are not those of e",
    ),
    ("next_token_probs", probs_with(probs=lambda s: np.log(softmax(s.y))), "logarithms of probabilities"),
    ("next_token_probs", always_warm, "In this case temperature is left out, and so has its default, 0.7"),
    ("next_token_probs", always_forty, "In this case top_k is left out, and so has its default, 40"),
    ("next_token_probs", logits_in_place, "An operation in place"),
    ("keep_top_p", nucleus_with(lambda total, own, previous, count, p: total + own <= p), "have less than p together"),
    (
        "keep_top_p",
        nucleus_with(lambda total, own, previous, count, p: total + own <= p or count == 0),
        "only the best of all is spared",
    ),
    (
        "keep_top_p",
        nucleus_with(lambda total, own, previous, count, p: total - previous < p),
        "the sum of those before it is already p",
    ),
    (
        "keep_top_p",
        nucleus_with(lambda total, own, previous, count, p: total < p, key=lambda row: lambda v: v),
        "in the order of their ids",
    ),
    (
        "keep_top_p",
        nucleus_with(lambda total, own, previous, count, p: total < p, key=lambda row: lambda v: row[v]),
        "The worst tokens come first",
    ),
    ("keep_top_p", by_probability, "the probability of each single token"),
    ("keep_top_p", sorted_result, "The logits came back in the order"),
    ("keep_top_p", nucleus_in_steps(stay=lambda s: s.best >= s.p * s.best[:, :1]), "a part of the best one's"),
    (
        "keep_top_p",
        nucleus_in_steps(stay=lambda s: np.arange(s.best.shape[1]) + 0 * s.best < s.p * s.best.shape[1]),
        "A fixed number of tokens stays",
    ),
    ("keep_top_p", nucleus_in_steps(stay=lambda s: s.best >= 0), "Nothing is removed"),
    ("keep_top_p", nucleus_in_steps(stay=lambda s: s.best == s.best[:, :1]), "Only the best token stays"),
    ("keep_top_p", nucleus_in_steps(stay=lambda s: s.total - s.best < 1 - s.p), "p and 1 - p are exchanged"),
    ("keep_top_p", nucleus_in_steps(stay=same_number(np.max)), "The same number of tokens stays in all rows"),
    ("keep_top_p", nucleus_in_steps(stay=same_number(lambda n: n[0])), "The same number of tokens stays in all rows"),
    ("keep_top_p", nucleus_in_steps(kept=lambda s: s.stay), "the marks are not put back"),
    ("keep_top_p", nucleus_in_steps(rank=lambda s: s.order), "by the order that sorted the tokens once more"),
    ("keep_top_p", nucleus_in_steps(total=lambda s: np.cumsum(s.best, axis=0)), "The sum goes along the wrong axis"),
    ("keep_top_p", nucleus_in_steps(probs=lambda s: softmax(s.logits, axis=0)), "Along which axis is the softmax"),
    ("keep_top_p", nucleus_in_steps(probs=lambda s: np.exp(s.logits)), "exp alone is no"),
    ("keep_top_p", nucleus_in_steps(probs=lambda s: divided_by_sum(np.exp(s.logits))), "exp of a large logit"),
    ("keep_top_p", nucleus_with_break(lambda row: row), "exp of a large logit overflows"),
    (
        "keep_top_p",
        nucleus_in_steps(probs=lambda s: divided_by_sum(np.exp(s.logits - s.logits.max()))),
        "One maximum is subtracted from all rows",
    ),
    (
        "keep_top_p",
        nucleus_in_steps(result=lambda s: np.where(s.kept[0], s.logits, -np.inf)),
        "The nucleus of the first row",
    ),
    (
        "keep_top_p",
        nucleus_in_steps(stay=lambda s: s.total - s.best < s.p - 0.3),
        "logits has too many infinities: one at",
    ),
    (
        "keep_top_p",
        nucleus_in_steps(result=lambda s: np.where(s.kept, s.logits / s.p, -np.inf)),
        "The infinities of logits are where they should be. logits is what it should be times 1.25",
    ),
    ("keep_top_p", nucleus_in_steps(result=lambda s: np.where(s.kept, -np.inf, s.logits)), "what is inside is removed"),
    (
        "keep_top_p",
        nucleus_in_steps(order=lambda s: np.repeat(np.argsort(-s.logits[:1], -1), len(s.logits), 0)),
        "The order of the first row",
    ),
    (
        "keep_top_p",
        nucleus_in_steps(total=lambda s: np.cumsum(s.best).reshape(s.best.shape)),
        "goes on from one row into the next",
    ),
    ("keep_top_p", nucleus_in_steps(probs=lambda s: softmax(s.logits, axis=None)), "of the whole batch together"),
    ("keep_top_p", nucleus_in_steps(probs=lambda s: s.logits), "The logits themselves are summed up"),
    (
        "keep_top_p",
        nucleus_in_steps(probs=lambda s: s.logits / s.logits.sum(-1, keepdims=True)),
        "The logits are divided by their sum",
    ),
    ("keep_top_p", nucleus_in_steps(result=lambda s: np.where(s.kept, s.probs, -np.inf)), "Probabilities came back"),
    ("keep_top_p", nucleus_in_steps(result=lambda s: s.probs * s.kept), "Probabilities came back"),
    ("keep_top_p", nucleus_in_steps(result=lambda s: divided_by_sum(s.probs * s.kept)), "Probabilities came back"),
    (
        "keep_top_p",
        nucleus_in_steps(result=lambda s: np.where(s.kept, np.log(s.probs), -np.inf)),
        "Logarithms of probabilities came back",
    ),
    ("keep_top_p", nucleus_in_steps(result=lambda s: s.logits * s.kept), "stands outside the nucleus"),
    (
        "keep_top_p",
        nucleus_in_steps(result=lambda s: np.where(s.kept, s.logits, -1e9)),
        "stands outside the nucleus",
    ),
    ("keep_top_p", nucleus_in_steps(result=lambda s: s.kept), "its numbers were cut to integers, or compared"),
]
