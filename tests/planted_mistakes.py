"""Mistakes for the GPT-2 of ``planted``: name -> (first tensor that is wrong, words that must be said, steps replaced).

Those of the forward pass are made in every block unless the table says otherwise.
"""

import math
import re

import numpy as np
from planted import (
    Var,
    add,
    attention,
    block,
    cut,
    d_add,
    d_attn,
    d_k,
    d_linear,
    d_norm,
    d_q,
    d_softmax,
    d_wte,
    each,
    embed,
    exp,
    feed_forward,
    head,
    joined,
    linear,
    loss,
    mask,
    mix,
    norm,
    normalised,
    qkv,
    score,
    softmax,
    split,
    token_losses,
    where,
)  # fmt: skip

ROOT = math.sqrt(2 / math.pi)
ORDERS = ("qvk", "kqv", "kvq", "vqk", "vkq")


def only(block, wrong, right):
    """A step that is wrong in one block; among its arguments are the number of the block, or a name that has it."""
    def step(m, *inputs):
        here = any(x == block or (isinstance(x, str) and x.startswith(f"h.{block}.")) for x in inputs
                   if not isinstance(x, Var))
        return (wrong if here else right)(m, *inputs)

    return step


# ------------------------------------------------------------------------------------------------------- embedding


def _positions(rows):
    def step(m):
        B, T = m.ids.shape
        return m.p["wte.weight"][m.ids] + m.p["wpe.weight"][rows(m, B, T, len(m.p["wpe.weight"].value))]

    return {"embed": step}


def _tokens(which):
    def step(m):
        ids = which(m.ids, len(m.p["wte.weight"].value))
        return m.p["wte.weight"][ids] + m.p["wpe.weight"][np.arange(ids.shape[1])]

    return {"embed": step}


def _sinusoidal(m):
    T, C = m.ids.shape[1], m.p["wte.weight"].shape[1]
    angle = np.arange(T)[:, None] / 10000 ** (2 * np.arange(C // 2) / C)
    return m.p["wte.weight"][m.ids] + np.stack([np.sin(angle), np.cos(angle)], -1).reshape(T, C)


def _scaled_tokens(m):
    w = m.p["wte.weight"]
    return w[m.ids] * math.sqrt(w.shape[1]) + m.p["wpe.weight"][np.arange(m.ids.shape[1])]


EMBEDDING = {
    "positions+1": ("embd", "position embedding: off by one, the first token gets row 1",
                    _positions(lambda m, B, T, P: np.arange(T) + 1)),
    "positions+2": ("embd", "position embedding: off by two", _positions(lambda m, B, T, P: np.arange(T) + 2)),
    "positions+5": ("embd", "position embedding: the positions start at 5",
                    _positions(lambda m, B, T, P: np.arange(T) + 5)),
    "positions-1": ("embd", "position embedding: .*last row", _positions(lambda m, B, T, P: np.arange(T) - 1)),
    "positions-1, cut": ("embd", "position embedding: .*first two tokens get row 0",
                         _positions(lambda m, B, T, P: np.maximum(np.arange(T) - 1, 0))),
    "positions 0": ("embd", "position embedding: every token gets row 0",
                    _positions(lambda m, B, T, P: np.zeros(T, int))),
    "positions reversed": ("embd", "position embedding: in reverse", _positions(lambda m, B, T, P: np.arange(T)[::-1])),
    "positions of the batch": ("embd", "position embedding: .*number of the sequence",
                               _positions(lambda m, B, T, P: np.arange(B)[:, None])),
    "positions of ids": ("embd", "position embedding: .*token's id",
                         _positions(lambda m, B, T, P: np.minimum(m.ids, P - 1))),
    "positions from the end": ("embd", "position embedding: .*from the end",
                               _positions(lambda m, B, T, P: np.arange(P - T, P))),
    "positions on through the batch": ("embd", "position embedding: counted on",
                                       _positions(lambda m, B, T, P: np.arange(B * T).reshape(B, T) % P)),
    "sinusoidal": ("embd", "position embedding: sinusoidal", {"embed": _sinusoidal}),
    "no positions": ("embd", "position embedding is missing", {"embed": lambda m: m.p["wte.weight"][m.ids]}),
    "no tokens": ("embd", "token embedding is missing",
                  {"embed": lambda m: m.p["wpe.weight"][np.zeros_like(m.ids) + np.arange(m.ids.shape[1])]}),
    "tokens * sqrt(C)": ("embd", r"token embedding is multiplied by [\d.]+ = sqrt\(C\)",
                         {"embed": _scaled_tokens}),
    "ids+1": ("embd", "id of a token is off by one", _tokens(lambda ids, V: np.minimum(ids + 1, V - 1))),
    "ids-1": ("embd", "id of a token is off by one", _tokens(lambda ids, V: np.maximum(ids - 1, 0))),
    "ids of the next": ("embd", "each position gets the token after", _tokens(lambda ids, V: np.roll(ids, -1, 1))),
    "ids of the first sequence": ("embd", "all sequences get the first",
                                  _tokens(lambda ids, V: np.broadcast_to(ids[:1], ids.shape))),
    "BOS": ("embd", "a token was put in front",
            _tokens(lambda ids, V: np.pad(ids[:, :-1], ((0, 0), (1, 0)), constant_values=V - 1))),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------- layer norm


def _var(x, axis=-1, unbiased=False):
    centred = x - x.mean(axis)
    n = np.prod([x.shape[a] for a in np.atleast_1d(axis)])
    return (centred * centred).mean(axis) * (n / (n - 1) if unbiased else 1.0)


def _sqrt(x):
    return each(np.sqrt, x)


def _norm(form):
    """form(x, gain, shift, eps)"""
    return {"norm": lambda m, x, name: form(x, m.p[f"{name}.weight"], m.p[f"{name}.bias"], m.eps)}


def _hat(x, eps, axis=-1):
    return (x - x.mean(axis)) / _sqrt(_var(x, axis) + eps)


def _centred(x):
    return x - x.mean()


LN = {
    "unbiased": ("variance is divided by C - 1", lambda x, g, b,
                 eps: _centred(x) / _sqrt(_var(x, -1, True) + eps) * g + b),
    "eps outside": ("eps is added to the standard deviation", lambda x, g, b,
                    eps: _centred(x) / (_sqrt(_var(x)) + eps) * g + b),
    "unbiased, eps 1e-6 outside": (r"C - 1, and eps \(1e-6\) is added to the standard deviation",
                                   lambda x, g, b, eps: _centred(x) / (_sqrt(_var(x, -1, True)) + 1e-6) * g + b),
    "unbiased, eps outside": ("C - 1, and eps is added to the standard deviation",
                              lambda x, g, b, eps: _centred(x) / (_sqrt(_var(x, -1, True)) + eps) * g + b),
    "no gain": ("layer norm: the gain is missing", lambda x, g, b, eps: _hat(x, eps) + b),
    "no shift": ("layer norm: the shift is missing", lambda x, g, b, eps: _hat(x, eps) * g),
    "no gain, no shift": ("gain and shift are missing", lambda x, g, b, eps: _hat(x, eps)),
    "shift first": ("shift is added before the gain", lambda x, g, b, eps: (_hat(x, eps) + b) * g),
    "1 + gain": (r"gain is 1 \+ weight", lambda x, g, b, eps: _hat(x, eps) * (g + 1.0) + b),
    "exchanged": ("gain and shift are exchanged", lambda x, g, b, eps: _hat(x, eps) * b + g),
    "RMS": ("RMSNorm", lambda x, g, b, eps: x / _sqrt((x * x).mean() + eps) * g + b),
    "not centred": ("mean is not subtracted from x, only in the variance", lambda x, g, b,
                    eps: x / _sqrt(_var(x) + eps) * g + b),
    "no root": ("divides by the variance", lambda x, g, b, eps: _centred(x) / (_var(x) + eps) * g + b),
    "not divided": ("does not divide by the standard deviation", lambda x, g, b, eps: _centred(x) * g + b),
    "multiplied": ("multiplies by the standard deviation", lambda x, g, b,
                   eps: _centred(x) * _sqrt(_var(x) + eps) * g + b),
    "skipped": ("(it|ln_1) is skipped", lambda x, g, b, eps: x * 1.0),
    "only gain and shift": ("only gain and shift are applied", lambda x, g, b, eps: x * g + b),
    "over T": (r"over the tokens \(axis T\)", lambda x, g, b, eps: _hat(x, eps, 1) * g + b),
    "over B": (r"over the batch \(axis B\)", lambda x, g, b, eps: _hat(x, eps, 0) * g + b),
    "over B T": ("as batch norm does", lambda x, g, b, eps: _hat(x, eps, (0, 1)) * g + b),
    "over T C": ("over tokens and channels together", lambda x, g, b, eps: _hat(x, eps, (1, 2)) * g + b),
    "over all": ("over the whole tensor", lambda x, g, b, eps: _hat(x, eps, (0, 1, 2)) * g + b),
    "twice": ("it is applied twice", lambda x, g, b, eps: _hat(_hat(x, eps) * g + b, eps) * g + b),
    **{f"eps {eps:g}": (rf"eps is {eps:g}, it should be 1e-05", lambda x, g, b, _, e=eps: _hat(x, e) * g + b)
       for eps in (1e-3, 1e-6, 1e-8, 3e-4)},  # 3e-4 is none of the usual ones
    "eps 0": ("eps is (0|at most)", lambda x, g, b, eps: _hat(x, 0.0) * g + b),
    "eps 1e-12": ("eps is (1e-12|at most)", lambda x, g, b, eps: _hat(x, 1e-12) * g + b),
}  # fmt: skip


def _post_norm(m, x, i):
    x = x + attention(m, x, i)
    x = m.keep(f"h.{i}.resid_mid", m.keep(f"h.{i}.ln_1", m.norm(m, x, f"h.{i}.ln_1")))
    x = x + feed_forward(m, x, i)
    return m.keep(f"h.{i}.resid_post", m.keep(f"h.{i}.ln_2", m.norm(m, x, f"h.{i}.ln_2")))


def _between(m, x, i):
    """The layer norm sits between the sub-layer and the sum."""
    x = m.keep(f"h.{i}.resid_mid", x + m.keep(f"h.{i}.ln_1", m.norm(m, attention(m, x, i), f"h.{i}.ln_1")))
    return m.keep(f"h.{i}.resid_post", x + m.keep(f"h.{i}.ln_2", m.norm(m, feed_forward(m, x, i), f"h.{i}.ln_2")))


def _per_group(m, x, name):
    """Each head's channels have a mean and a variance of their own."""
    groups = x.reshape(*x.shape[:2], m.n_head, -1)
    return _hat(groups, m.eps).reshape(*x.shape) * m.p[f"{name}.weight"] + m.p[f"{name}.bias"]


LAYER_NORM = {name: ("h.0.ln_1", words, _norm(form)) for name, (words, form) in LN.items()} | {
    "norm between": ("h.0.ln_1", "sits between the sub-layer and the residual sum", {"block": _between}),
    "gain of ln_2": ("h.0.ln_1", "ln_1 takes gain and shift of ln_2",
                     {"norm": lambda m, x, name: norm(m, x, name.replace("ln_1", "ln_2"))}),
    "per head": ("h.0.ln_1", "of each head's channels", {"norm": _per_group}),
    "post-norm": ("h.0.ln_1", "post-norm", {"block": _post_norm}),
    "eps in ln_f": ("ln_f", "eps is 0.001, it",
                    {"norm": lambda m, x,
                     name: _norm(LN["eps 0.001"][1])["norm"](m, x, name) if name == "ln_f" else norm(m, x, name)}),
    "unbiased in block 1": ("h.1.ln_1", "divided by C - 1", {"norm": only(1, _norm(LN["unbiased"][1])["norm"], norm)}),
}  # fmt: skip


# -------------------------------------------------------------------------------------------------------- attention


def _cut(make):
    """make(y (B, T, 3C), H) -> q, k, v"""
    def step(m, x, i):
        y = x @ m.w(i, "attn.c_attn.weight") + m.w(i, "attn.c_attn.bias")
        return make(y, m.n_head)

    return {"qkv": step}


def _thirds(y):
    C = y.shape[-1] // 3
    return [y[..., n * C : (n + 1) * C] for n in range(3)]


def _at_once(x, H):
    B, T, C = x.shape
    return x.reshape(B, H, T, C // H)


def _interleaved(x, H):
    return x.reshape(*x.shape[:2], -1, H).transpose(0, 3, 1, 2)


def _per_head(y, H):
    y = y.reshape(*y.shape[:2], H, 3, -1).transpose(3, 0, 2, 1, 4)
    return [y[n] for n in range(3)]


def _per_channel(y, H):
    y = y.reshape(*y.shape[:2], -1, 3)
    parts = [y[..., n] for n in range(3)]
    return [x.reshape(*x.shape[:2], H, -1).swap(1, 2) for x in parts]


def _one(which, make):
    """q, k or v alone is cut otherwise."""
    def step(m, x, i):
        y = x @ m.w(i, "attn.c_attn.weight") + m.w(i, "attn.c_attn.bias")
        return [make(part, m.n_head) if n == which else split(m, part) for n, part in enumerate(_thirds(y))]

    return {"qkv": step}


def _ordered(order):
    def step(m, x, i):
        parts = dict(zip(order, qkv(m, x, i), strict=True))
        return [parts[n] for n in "qkv"]

    return {"qkv": step}


def _weight(change):
    """c_attn's weight (C, 3C) is taken for change(weight, H)."""
    def step(m, x, i):
        w = change(m.w(i, "attn.c_attn.weight"), m.n_head)
        return [split(m, part) for part in _thirds(x @ w + m.w(i, "attn.c_attn.bias"))]

    return {"qkv": step}


def _of_thirds(change):
    return lambda w, H: joined([change(part, H) for part in _thirds(w)])


def _heads_as_dc(w, H):
    C = w.shape[0]
    return w.reshape(C, H, -1).transpose(1, 0, 2).reshape(H, -1, C).swap().transpose(1, 0, 2).reshape(C, C)


def _heads_as_dh(w, H):
    C = w.shape[0]
    return w.reshape(C, -1, H).swap(1, 2).reshape(C, C)


def _no_bias(part=None):
    def step(m, x, i):
        w, b = m.w(i, "attn.c_attn.weight"), m.w(i, "attn.c_attn.bias")
        keep = np.arange(len(b.value)) // (len(b.value) // 3)
        return [split(m, y) for y in _thirds(x @ w + b * (keep != part if part is not None else 0.0 * keep))]

    return {"qkv": step}


def _bias_ordered(order):
    def step(m, x, i):
        biases = dict(zip(order, _thirds(m.w(i, "attn.c_attn.bias").reshape(1, 1, -1)), strict=True))
        y = _thirds(x @ m.w(i, "attn.c_attn.weight"))
        return [split(m, part + biases[n]) for n, part in zip("qkv", y, strict=True)]

    return {"qkv": step}


def _of_q_and_k(change):
    """q and k are changed before they are recorded."""
    def step(m, x, i):
        q, k, v = qkv(m, x, i)
        return [change(q), change(k), v]

    return {"qkv": step}


def _rope(halves):
    """q and k turned by their position, the pairs of channels as in GPT-NeoX (halves) or in GPT-J (neighbours)."""
    def turned(x):
        T, D = x.shape[-2:]
        angle = np.arange(T)[:, None] / 10000 ** (2 * np.arange(D // 2) / D)
        first, second = (np.arange(D // 2), np.arange(D // 2) + D // 2) if halves else (np.arange(0, D, 2),
                                                                                        np.arange(1, D, 2))
        a, b = x[..., first], x[..., second]
        y = joined([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)])
        return y[..., np.argsort(np.concatenate([first, second]))]

    return {"score": lambda m, q, k, i: score(m, turned(q), turned(k), i)}


SPLIT = {
    "at once": ("h.0.attn.q", r"\(B, T, C\) is reshaped to \(B, H, T, D\) at once",
                _cut(lambda y, H: [_at_once(x, H) for x in _thirds(y)])),
    "interleaved": ("h.0.attn.q", "every H-th channel", _cut(lambda y, H: [_interleaved(x, H) for x in _thirds(y)])),
    "per head": ("h.0.attn.q", r"\(H, 3, D\)", _cut(_per_head)),
    "per channel": ("h.0.attn.q", r"\(C, 3\)", _cut(_per_channel)),
    **{f"{name} alone at once": (f"h.0.attn.{name}", f"in {name} alone, .*reshaped", _one(n, _at_once)) for n,
       name in enumerate("qkv")},
    "k alone interleaved": ("h.0.attn.k", "in k alone, .*every H-th", _one(1, _interleaved)),
    **{f"order {order}": ("h.0.attn.k" if order == "qvk" else "h.0.attn.q", f"split as {', '.join(order)};",
                          _ordered(order)) for order in ORDERS},
    **{f"bias in order {order}": ("h.0.attn.k" if order == "qvk" else "h.0.attn.q",
                                  f"bias of c_attn is split as {', '.join(order)},", _bias_ordered(order))
       for order in ORDERS},
    "q and k of length 1": ("h.0.attn.q", "q and k are divided by their length", _of_q_and_k(lambda x: _length(x))),
    "q and k normalised": ("h.0.attn.q", "q and k are normalised", _of_q_and_k(lambda x: _hat(x, 1e-5))),
    "q and k by their RMS": ("h.0.attn.q", "divided by their root mean square",
                             _of_q_and_k(lambda x: x / _sqrt((x * x).mean() + 1e-6))),
    "scaled before and after": ("h.0.attn.q",
                                r"q is divided by sqrt\(D\) before it is recorded|divided by sqrt\(D\) twice",
                                {"qkv": lambda m, x,
                                 i: [x / math.sqrt(x.shape[-1]) if n == 0 else x for n, x in enumerate(qkv(m, x, i))]}),
    "c_attn read transposed": ("h.0.attn.q", "weight of c_attn is read transposed",
                               _weight(lambda w, H: w.swap().reshape(*w.shape))),
    "c_attn reshaped": ("h.0.attn.q", "weight of c_attn is reshaped",
                        _weight(lambda w, H: w.reshape(*w.shape[::-1]).swap())),
    "thirds transposed": ("h.0.attn.q", "transposed in each of its thirds", _weight(_of_thirds(lambda w, H: w.swap()))),
    "heads (H, D, C)": ("h.0.attn.q", r"weight of q, k and v is reshaped to \(H, D, C\)",
                        _weight(_of_thirds(_heads_as_dc))),
    "heads (C, D, H)": ("h.0.attn.q", r"weight of q, k and v is read as \(C, D, H\)",
                        _weight(_of_thirds(_heads_as_dh))),
    "q (H, D, C)": ("h.0.attn.q", r"weight of q alone is reshaped to \(H, D, C\)",
                    _weight(lambda w, H: joined([_heads_as_dc(_thirds(w)[0], H), *_thirds(w)[1:]]))),
    "v (C, D, H)": ("h.0.attn.v", r"weight of v alone is read as \(C, D, H\)",
                    _weight(lambda w, H: joined([*_thirds(w)[:2], _heads_as_dh(_thirds(w)[2], H)]))),
    "no bias of q": ("h.0.attn.q", "attn.q: the bias is missing", _no_bias(0)),
    "no bias of v": ("h.0.attn.v", "attn.v: the bias is missing", _no_bias(2)),
    "heads of q turned": ("h.0.attn.q", "heads are in the order 2, 0, 1",
                          {"qkv": lambda m, x,
                           i: [part[:, np.array([2, 0, 1])] if n == 0 else part for n,
                               part in enumerate(qkv(m, x, i))]}),
    "q of a token late": ("h.0.attn.q", "shifted by one token",
                          {"qkv": lambda m, x,
                           i: [part[:, :, np.arange(-1, part.shape[2] - 1)] if n == 0 else part for n,
                               part in enumerate(qkv(m, x, i))]}),
    "q in block 1": ("h.1.attn.q", "in q alone, .*reshaped", {"qkv": only(1, _one(0, _at_once)["qkv"], qkv)}),
}  # fmt: skip


def _times(factor):
    """factor(m, D, i)"""
    return {"score": lambda m, q, k, i: score(m, q, k, i) * factor(m, q.shape[-1], i)}


def _length(x):
    return x / _sqrt((x * x).sum())


def _roles(order):
    """The parts are recorded rightly, but used for one another."""
    def scores(m, q, k, i):
        v = m.v
        parts = dict(zip(order, (q, k, v), strict=True))
        return score(m, parts["q"], parts["k"], i)

    def cut_and_kept(m, x, i):
        m.parts = qkv(m, x, i)
        m.v = m.parts[2]
        return m.parts

    def heads(m, probs, v, i):
        return mix(m, probs, dict(zip(order, m.parts, strict=True))["v"], i)

    return {"qkv": cut_and_kept, "score": scores, "mix": heads}


SCALE = {
    "none": ("h.0.attn.scores", r"not divided by sqrt\(D\)", _times(lambda m, D, i: math.sqrt(D))),
    "twice": ("h.0.attn.scores", r"divided by sqrt\(D\) twice", _times(lambda m, D, i: 1 / math.sqrt(D))),
    "multiplied": ("h.0.attn.scores", r"multiplied by sqrt\(D\)", _times(lambda m, D, i: D)),
    "sqrt(C)": ("h.0.attn.scores", r"divided by sqrt\(C\)", _times(lambda m, D, i: 1 / math.sqrt(m.n_head))),
    "C": ("h.0.attn.scores", "divided by C,", _times(lambda m, D, i: math.sqrt(D) / (D * m.n_head))),
    "sqrt(H)": ("h.0.attn.scores", r"divided by sqrt\(H\)", _times(lambda m, D, i: math.sqrt(D / m.n_head))),
    "sqrt(T)": ("h.0.attn.scores", r"divided by sqrt\(T\)", _times(lambda m, D, i: math.sqrt(D / m.ids.shape[1]))),
    "sqrt(3C)": ("h.0.attn.scores", r"divided by sqrt\(3C\)", _times(lambda m, D, i: math.sqrt(1 / (3 * m.n_head)))),
    "by the block": ("h.1.attn.scores", "by the index of the block", _times(lambda m, D, i: 1 / (i + 1))),
    "D / 2": ("h.0.attn.scores", "divided by D / 2", _times(lambda m, D, i: 2 / math.sqrt(D))),
    "RoPE, halves": ("h.0.attn.scores", "RoPE, halves", _rope(True)),
    "RoPE, neighbours": ("h.0.attn.scores", "RoPE, neighbours", _rope(False)),
    "sign": ("h.0.attn.scores", "wrong sign", _times(lambda m, D, i: -1)),
    "doubled": ("h.0.attn.scores", "multiplied by 2", _times(lambda m, D, i: 2)),
    "k q^T": ("h.0.attn.scores", r"k q\^T, transposed", {"score": lambda m, q, k, i: score(m, k, q, i)}),
    "q q^T": ("h.0.attn.scores", r"q q\^T", {"score": lambda m, q, k, i: score(m, q, q, i)}),
    "k k^T": ("h.0.attn.scores", r"k k\^T", {"score": lambda m, q, k, i: score(m, k, k, i)}),
    "cosines": ("h.0.attn.scores", "cosines", {"score": lambda m, q, k, i: _length(q) @ _length(k).swap()}),
    "none in block 1": ("h.1.attn.scores", r"not divided by sqrt\(D\)",
                        _times(lambda m, D, i: math.sqrt(D) if i == 1 else 1)),
    **{f"roles {order}": ("h.0.attn.scores", f"split as {', '.join(order)};", _roles(order)) for order in ORDERS},
}  # fmt: skip


def _future(s, ahead=0):
    return np.triu(np.ones(s.shape[-2:], bool), 1 + ahead)


def _masked(hidden, value=-1e30):
    """hidden(T) -> what is not seen"""
    return {"mask": lambda m, s, i: where(~hidden(s), s, value)}


def _recorded_masked(hidden):
    """The scores are recorded as the softmax gets them."""
    return {"score": lambda m, q, k, i: where(~hidden(x := score(m, q, k, i)), x, -1e30), "mask": lambda m, s, i: s}


def _added(values):
    """values(future) is added to the scores in place of a mask"""
    return {"mask": lambda m, s, i: s + values(_future(s))}


def _after(m, s, i):
    e = exp(s - s.value.max(-1, keepdims=True))
    return e / e.sum() * ~_future(s)


def _window(width):
    return _masked(lambda s: _future(s) | np.tri(*s.shape[-2:], -width, dtype=bool))


MASK = {
    "ahead": ("h.0.attn.probs", "mask.* sees the one after it", _masked(lambda s: _future(s, 1))),
    "not itself": ("h.0.attn.probs", "mask.* cannot see itself", _masked(lambda s: _future(s, -1))),
    "two ahead": ("h.0.attn.probs", "mask.* sees the two after it", _masked(lambda s: _future(s, 2))),
    "none": ("h.0.attn.probs", "mask: there is none", {"mask": lambda m, s, i: s}),
    **{f"value {value:g}": ("h.0.attn.probs", f"masked scores become {words}", _masked(_future, value))
       for value, words in ((0.0, "0,"), (-1.0, "-1,"), (1.0, "1,"), (-10.0, "-10,"), (1e-9, "(1e-9|0,)"))},
    "minus 1": ("h.0.attn.probs", "1 is subtracted from masked scores", _added(lambda f: -1.0 * f)),
    "plus 1": ("h.0.attn.probs", "1 is added to (masked scores|the scores that are not)", _added(lambda f: 1.0 * f)),
    "minus 10": ("h.0.attn.probs", "-10 is added to masked", _added(lambda f: -10.0 * f)),
    "plus the mask": ("h.0.attn.probs", "1 is (added to the scores that are not|subtracted from) masked",
                      _added(lambda f: 1.0 * ~f)),
    "after the softmax": ("h.0.attn.probs", "after the softmax", {"mask": lambda m, s, i: s, "softmax": _after}),
    "transposed": ("h.0.attn.probs", "mask: transposed", _masked(lambda s: _future(s).T)),
    "inverted": ("h.0.attn.probs", "mask: inverted", _masked(lambda s: ~_future(s))),
    "recorded, not itself": ("h.0.attn.scores", "mask.* cannot see itself", _recorded_masked(lambda s: _future(s, -1))),
    "recorded, two behind": ("h.0.attn.scores", "mask: off by two, a token sees neither",
                             _recorded_masked(lambda s: _future(s, -2))),
    "recorded, window 4": ("h.0.attn.scores", "only the last 4,",
                           _recorded_masked(lambda s: _future(s) | np.tri(*s.shape[-2:], -4, dtype=bool))),
    "of sequence 0": ("h.0.attn.probs",
                      "missing in sequence 1, 2, 3 of the batch|only sequence 0 of the batch has it",
                      {"mask": lambda m, s,
                       i: where((np.arange(len(s.value)) > 0)[:, None, None, None] | ~_future(s), s, -1e30)}),
    "window 3": ("h.0.attn.probs", "only the last 3,", _window(3)),
    "window 1": ("h.0.attn.probs", "only the last 1,|the values themselves", _window(1)),
    "none in block 1": ("h.1.attn.probs", "mask: there is none", {"mask": only(1, lambda m, s, i: s, mask)}),
}  # fmt: skip


def _softmax(function):
    """function(scores, as masked)"""
    return {"softmax": lambda m, s, i: function(s)}


def _over(axis):
    def function(s):
        e = exp(s)
        return e / e.sum(axis)

    return _softmax(function)


def _weights(s):
    return softmax(None, s, 0)


def _seen(x):
    return where(np.tri(x.shape[-1], dtype=bool), x, 0.0)


SOFTMAX = {
    "over queries": (r"axis -2", _over(-2)),
    "over heads": ("over the heads", _over(1)),
    "over the batch": ("over the batch", _over(0)),
    "over both": ("queries and keys together", _over((-2, -1))),
    "twice": ("taken twice$", _softmax(lambda s: _weights(where(np.tri(s.shape[-1], dtype=bool), _weights(s),
                                                                -np.inf)))),
    "twice, unmasked": ("taken twice, the second time without the mask", _softmax(lambda s: _weights(_weights(s)))),
    "missing": ("softmax: missing", _softmax(_seen)),
    "not divided": ("not divided by the sum", _softmax(exp)),
    "not divided, shifted": ("not divided by the sum, after the largest",
                             _softmax(lambda s: exp(s - s.value.max(-1, keepdims=True)))),
    "one more": ("with 1 added to the sum", _softmax(lambda s: exp(s) / (exp(s).sum() + 1.0))),
    "sigmoid": ("a sigmoid in its place", _softmax(lambda s: 1.0 / (exp(-s) + 1.0))),
    "base 2": ("base 2", _softmax(lambda s: _weights(s * math.log(2)))),
    "log": ("logarithm", _softmax(lambda s: _seen(each(np.log, _weights(s) + 1e-300)))),
    "flat": ("all keys weigh the same",
             _softmax(lambda s: _weights(where(np.tri(s.shape[-1], dtype=bool), _seen(s) * 0.0, -np.inf)))),
    "scaled": (r"divided by sqrt\(D\) (once more|twice)",
               {"softmax": lambda m, s, i: _weights(s / math.sqrt(m.p["wte.weight"].shape[1] // m.n_head))}),
    "unscaled": (r"not divided by sqrt\(D\)",
                 {"softmax": lambda m, s, i: _weights(s * math.sqrt(m.p["wte.weight"].shape[1] // m.n_head))}),
}  # fmt: skip
SOFTMAX = {name: ("h.0.attn.probs", words, steps) for name, (words, steps) in SOFTMAX.items()}


def _merged(change):
    """change(probs v), (B, H, T, D)"""
    def step(m, probs, v, i):
        y = change(probs @ v).swap(1, 2)
        return y.reshape(*y.shape[:2], -1)

    return {"mix": step}


def _rows(x, T):
    return x.reshape(x.shape[0], T, -1)


def _transposed_mix(m, probs, v, i):
    return mix(m, probs.swap(), v, i)


def _kept_parts(m, x, i):
    return m.__dict__.setdefault("parts", {}).setdefault(i, qkv(m, x, i))


def _over_sequences(masked):
    """As nn.MultiheadAttention does without batch_first."""
    def step(m, probs, v, i):
        q, k, v = (x.transpose(2, 1, 0, 3) for x in m.parts[i])  # (T, H, B, D)
        s = score(m, q, k, i)
        return mix(m, softmax(m, mask(m, s, i) if masked else s, i), v, i).transpose(1, 0, 2)

    return {"qkv": _kept_parts, "mix": step}


def _merge(x):
    return x.swap(1, 2).reshape(x.shape[0], x.shape[2], -1)


def _one_head(m, probs, v, i):
    q, k, v = (_merge(x) for x in m.parts[i])
    return softmax(m, mask(m, score(m, q, k, i), i), i) @ v


HEADS = {
    "unmoved": (r"\(B, H, T, D\) is reshaped to \(B, T, C\) at once",
                {"mix": lambda m, p, v, i: _rows(p @ v, v.shape[2])}),
    "interleaved": ("heads are interleaved",
                    {"mix": lambda m, p, v, i: _rows((p @ v).transpose(0, 2, 3, 1), v.shape[2])}),
    "reversed": ("heads: in reverse order", _merged(lambda y: y[:, np.array([2, 1, 0])])),
    "on by one": ("heads: moved on by one", _merged(lambda y: y[:, np.array([2, 0, 1])])),
    "back by one": ("heads: moved back by one", _merged(lambda y: y[:, np.array([1, 2, 0])])),
    "mean": ("replaced by their mean", _merged(lambda y: y * 0.0 + y.mean(1))),
    "sum": ("replaced by their sum", _merged(lambda y: y * 0.0 + y.sum(1))),
    "first": ("all are the first one", _merged(lambda y: y[:, np.array([0, 0, 0])])),
    "probs^T": (r"multiplied by probs\^T|the transpose of h.0.attn.probs", {"mix": _transposed_mix}),
    "values": ("values themselves|only the last 1,", {"mix": lambda m, p, v, i: _rows(v.swap(1, 2), v.shape[2])}),
    "head 1 missing": ("head 1 is missing", _merged(lambda y: y * np.array([1.0, 0.0, 1.0])[:, None, None])),
    "over sequences": ("over the sequences of the batch, it should be over the tokens($|[^,])", _over_sequences(True)),
    "over sequences, no mask": ("over the sequences of the batch, .*without a mask", _over_sequences(False)),
    "one head": ("1 heads? of 18 channels", {"qkv": _kept_parts, "mix": _one_head}),
    "of q": (r"computed from (h.\d.)?attn.q, it should be from (h.\d.)?attn.v",
             {"qkv": lambda m, x, i: m.__dict__.setdefault("parts", {}).setdefault(i, qkv(m, x, i)), "mix": lambda m,
              p, v, i: mix(m, p, m.parts[i][0], i)}),
}  # fmt: skip
HEADS = {name: ("h.0.attn.heads", words, steps) for name, (words, steps) in HEADS.items()}


# ------------------------------------------------------------------------------------- layers, residual sums, blocks


def _layer(name, wrong):
    return {"linear": lambda m, x, i, layer: (wrong if layer == name else linear)(m, x, i, layer)}


def _with_weight(change):
    return lambda m, x, i, layer: x @ change(m.w(i, f"{layer}.weight")) + m.w(i, f"{layer}.bias")


def _without_bias(m, x, i, layer):
    return x @ m.w(i, f"{layer}.weight")


def _sum(end, wrong):
    return {"add": lambda m, x, y, name: (wrong if name.endswith(end) else add)(m, x, y, name)}


def _normal_stream(m, x, i):
    """The residual stream starts again from what was normalised."""
    y = m.keep(f"h.{i}.ln_1", m.norm(m, x, f"h.{i}.ln_1"))
    x = m.keep(f"h.{i}.resid_mid", y + attention(m, y, i))
    y = m.keep(f"h.{i}.ln_2", m.norm(m, x, f"h.{i}.ln_2"))
    return m.keep(f"h.{i}.resid_post", x + feed_forward(m, y, i))


def _parallel(m, x, i):
    """Both branches read the block's input, as in GPT-J."""
    a = attention(m, m.keep(f"h.{i}.ln_1", m.norm(m, x, f"h.{i}.ln_1")), i)
    mid = m.keep(f"h.{i}.resid_mid", x + a)
    f = feed_forward(m, m.keep(f"h.{i}.ln_2", m.norm(m, x, f"h.{i}.ln_2")), i)
    return m.keep(f"h.{i}.resid_post", mid + f)


def _stale(m, x, i):
    """The second sum adds the block's input."""
    a = attention(m, m.keep(f"h.{i}.ln_1", m.norm(m, x, f"h.{i}.ln_1")), i)
    mid = m.keep(f"h.{i}.resid_mid", x + a)
    f = feed_forward(m, m.keep(f"h.{i}.ln_2", m.norm(m, mid, f"h.{i}.ln_2")), i)
    return m.keep(f"h.{i}.resid_post", x + f)


def _after(layer, function):
    return _layer(layer, lambda m, x, i, layer: each(function, linear(m, x, i, layer)))


def _again(what):
    """Something of the embedding is added again at the start of each later block."""
    def step(m, x, i):
        if i:
            more = m.p["wpe.weight"][np.arange(m.ids.shape[1])]
            x = x + (more if what == "wpe" else m.p["wte.weight"][m.ids] + more)
        return block(m, x, i)

    return {"block": step}


def _left_out(m, x, i):
    """Block 1 computes, but block 2 starts from block 0's output."""
    m.before = {**getattr(m, "before", {}), i: x}
    return block(m, m.before[1] if i == 2 else x, i)


def _reads_mid(m, x, i):
    """Block 1 reads block 0's stream before its feed-forward network."""
    y = m.keep(f"h.{i}.ln_1", m.norm(m, m.mid if i == 1 else x, f"h.{i}.ln_1"))
    mid = m.mid = m.keep(f"h.{i}.resid_mid", x + attention(m, y, i))
    y = m.keep(f"h.{i}.ln_2", m.norm(m, mid, f"h.{i}.ln_2"))
    return m.keep(f"h.{i}.resid_post", mid + feed_forward(m, y, i))


def _sums(end, factor):
    return {"add": lambda m, x, y, name: x + y * factor(m.n_layer) if name.endswith(end) else x + y}


BLOCKS = {
    "c_proj transposed": ("h.0.attn.out", "c_proj is transposed",
                          _layer("attn.c_proj", _with_weight(lambda w: w.swap()))),
    "c_fc reshaped": ("h.0.mlp.fc", "mlp.c_fc is reshaped",
                      _layer("mlp.c_fc", _with_weight(lambda w: w.swap().reshape(*w.shape)))),
    "mlp.c_proj reshaped": ("h.0.mlp.out", "mlp.c_proj is reshaped",
                            _layer("mlp.c_proj", _with_weight(lambda w: w.swap().reshape(*w.shape)))),
    **{f"no bias of {layer}": (f"h.0.{name}", f"{name}: the bias is missing", _layer(layer, _without_bias))
       for layer, name in (("attn.c_proj", "attn.out"), ("mlp.c_fc", "mlp.fc"), ("mlp.c_proj", "mlp.out"))},
    "bias of c_fc twice": ("h.0.mlp.fc", "bias is counted twice",
                           _layer("mlp.c_fc", lambda m, x, i, layer: linear(m, x, i, layer) + m.w(i, f"{layer}.bias"))),
    "no residual, attention": ("h.0.resid_mid", "(residual branch|x) is missing",
                               _sum("resid_mid", lambda m, x, y, name: y * 1.0)),
    "no residual, mlp": ("h.0.resid_post", "(residual branch|x) is missing",
                         _sum("resid_post", lambda m, x, y, name: y * 1.0)),
    "no attention": ("h.0.resid_mid", "(attention's output|the branch) is missing",
                     _sum("resid_mid", lambda m, x, y, name: x * 1.0)),
    "no mlp": ("h.0.resid_post", "(feed-forward network's output|the branch) is missing",
               _sum("resid_post", lambda m, x, y, name: x * 1.0)),
    "residual twice": ("h.0.resid_mid", "(residual branch|x) is (counted twice|added twice)",
                       _sum("resid_mid", lambda m, x, y, name: x + x + y)),
    "subtracted": ("h.0.resid_post", "output has the wrong sign|branch is subtracted",
                   _sum("resid_post", lambda m, x, y, name: x - y)),
    "divided by sqrt(2)": ("h.0.resid_mid", r"1/sqrt\(2\)",
                           _sum("resid_mid", lambda m, x, y, name: (x + y) / math.sqrt(2))),
    **{f"branches * {words}, {place}": (f"h.0.{first}",
                                        rf"branches are multiplied by {re.escape(words)}.*, in {place}",
                                        _sums(end, factor))
       for words, factor in (("1/sqrt(2 layers)", lambda n: (2 * n) ** -0.5), ("1/sqrt(layers)", lambda n: n**-0.5),
                             ("1/2", lambda n: 0.5))
       for end, first, place in (("", "resid_mid", "both sums"), ("resid_mid", "resid_mid", "resid_mid"),
                                 ("resid_post", "resid_post", "resid_post"))},
    "both halved": ("h.0.resid_mid", "both terms are multiplied by 1/2, in both sums",
                    _sum("", lambda m, x, y, name: (x + y) / 2)),
    "both halved in resid_post": ("h.0.resid_post", "both terms are multiplied by 1/2, in resid_post",
                                  _sum("resid_post", lambda m, x, y, name: (x + y) / 2)),
    "GELU after attn.out": ("h.0.attn.out", "attn.out: a GELU is applied",
                            _after("attn.c_proj", lambda x: _tanh_gelu(x))),
    "ReLU before the GELU": ("h.0.mlp.fc", "mlp.fc: a ReLU is applied",
                             _after("mlp.c_fc", lambda x: np.where(x > 0, x, 0))),
    "ReLU after attn.out": ("h.0.attn.out", "attn.out: a ReLU is applied",
                            _after("attn.c_proj", lambda x: np.where(x > 0, x, 0))),
    "wpe again": ("h.1.ln_1", "the position embedding is added again", _again("wpe")),
    "embedding again": ("h.1.ln_1", "residual: the embedding is added again", _again("embd")),
    "block 1 left out": ("h.2.ln_1",
                         "ln_1 reads .*resid_post, it should read .*resid_post; "
                         "is block 1 left out|starts from .*resid_post",
                         {"block": _left_out}),
    "reads resid_mid": ("h.1.ln_1",
                        "ln_1:? (reads|computed from) h.0.resid_mid, it should (read|be from) h.0.resid_post",
                        {"block": _reads_mid}),
    "normalised stream": ("h.0.resid_mid", r"residual: the sum resid_mid starts from (h.\d.)?ln_1",
                          {"block": _normal_stream}),
    "parallel": ("h.0.ln_2", "ln_2:? (reads|computed from) .* it should (be from|read) (h..*.)?resid_mid",
                 {"block": _parallel}),
    "stale": ("h.0.resid_post", "residual: the sum resid_post starts from", {"block": _stale}),
    "reversed": ("h.0.ln_1", "blocks: the weights are taken in reverse", {"which": lambda i: 2 - i}),
    "first shared": ("h.1.ln_1", "weights are taken of the (first block, in all|block before)", {"which": lambda i: 0}),
    "last shared": ("h.0.ln_1", "weights are taken of the last block, in all", {"which": lambda i: 2}),
    "the block before": ("h.1.ln_1", "weights are taken of the block before", {"which": lambda i: max(i - 1, 0)}),
    "the block after": ("h.0.ln_1", "weights are taken of the block after", {"which": lambda i: min(i + 1, 2)}),
    "one block's weights": ("h.2.mlp.fc", "mlp.fc of block 2 uses the weights of block 0",
                            _layer("mlp.c_fc", lambda m, x, i, layer: linear(m, x, 0 if i == 2 else i, layer))),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- the GELU


def _tanh_gelu(x, root=ROOT, cubic=0.044715, power=3):
    return 0.5 * x * (1 + np.tanh(root * (x + cubic * x**power)))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _erf(x):
    return np.array([math.erf(v) for v in x.ravel()]).reshape(x.shape).astype(x.dtype)


def _softplus(x):
    return np.log(1 + np.exp(x))


GELU = {
    "quick": ("the quick form", lambda x: x * _sigmoid(1.702 * x)),
    "ReLU": ("GELU: a ReLU", lambda x: np.where(x > 0, x, 0)),
    "SiLU": ("a SiLU", lambda x: x * _sigmoid(x)),
    "no 1/2": ("the factor 1/2 is missing", lambda x: 2 * _tanh_gelu(x)),
    **{f"{cubic} for 0.044715": (f"{cubic} in place of 0.044715", lambda x, c=cubic: _tanh_gelu(x, cubic=c))
       for cubic in (0.44715, 0.0044715, 0.04715, 0.044175, 0.0447, 0.045)},
    "0.79788": ("0.79788 in place", lambda x: _tanh_gelu(x, 0.79788)),
    "0.8": ("0.8 in place", lambda x: _tanh_gelu(x, 0.8)),
    "square": (r"x\^2 in place of x\^3", lambda x: _tanh_gelu(x, power=2)),
    "no cube": (r"the term x\^3 is missing", lambda x: _tanh_gelu(x, cubic=0.0)),
    "cube subtracted": ("cubic term is subtracted", lambda x: _tanh_gelu(x, cubic=-0.044715)),
    "no sqrt(2/pi)": (r"the factor sqrt\(2/pi\) is missing", lambda x: _tanh_gelu(x, 1.0)),
    "2/pi": ("2/pi without the root", lambda x: _tanh_gelu(x, 2 / math.pi)),
    "sqrt(2 pi)": (r"sqrt\(2 pi\) in place", lambda x: _tanh_gelu(x, math.sqrt(2 * math.pi))),
    "sqrt(pi/2)": (r"sqrt\(pi/2\) in place", lambda x: _tanh_gelu(x, math.sqrt(math.pi / 2))),
    "1/sqrt(2)": (r"1/sqrt\(2\) in place", lambda x: _tanh_gelu(x, math.sqrt(0.5))),
    "x alone": (r"multiplies x alone", lambda x: 0.5 * x * (1 + np.tanh(ROOT * x + 0.044715 * x**3))),
    "no 1": ("the 1 is missing", lambda x: 0.5 * x * np.tanh(ROOT * (x + 0.044715 * x**3))),
    "1 - tanh": (r"1 - tanh in place of 1 \+ tanh", lambda x: 0.5 * x * (1 - np.tanh(ROOT * (x + 0.044715 * x**3)))),
    "0.7 and 0.05": ("0.7 in place of .* and 0.05 in place", lambda x: _tanh_gelu(x, 0.7, 0.05)),
    "no x": ("the factor x is missing", lambda x: 0.5 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))),
    "leaky": ("a leaky ReLU", lambda x: np.where(x > 0, x, 0.01 * x)),
    "squared ReLU": ("a squared ReLU", lambda x: np.where(x > 0, x * x, 0)),
    "ELU": ("an ELU", lambda x: np.where(x > 0, x, np.exp(x) - 1)),
    "softplus": ("a softplus", _softplus),
    "sigmoid": ("a sigmoid", _sigmoid),
    "tanh": ("a tanh", np.tanh),
    "mish": ("a mish", lambda x: x * np.tanh(_softplus(x))),
    "twice": ("applied twice", lambda x: _tanh_gelu(_tanh_gelu(x))),
    "missing": ("it is missing", lambda x: x * 1.0),
}  # fmt: skip


def _erf_gelu(x):
    return each(
        lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2, x,
        lambda x: (1 + _erf(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    )  # fmt: skip


def _erf_without_root(x):
    return each(lambda x: x * (1 + _erf(x)) / 2, x,
                lambda x: (1 + _erf(x)) / 2 + x * np.exp(-x * x) / math.sqrt(math.pi))


GELUS = {name: ("h.0.mlp.gelu", words, {"act": lambda m, x, i, f=f: each(f, x)}) for name,
         (words, f) in GELU.items()} | {
    "erf": ("h.0.mlp.gelu", "the erf form", {"act": lambda m, x, i: _erf_gelu(x)}),
    "erf without sqrt(2)": ("h.0.mlp.gelu", r"erf form without sqrt\(2\)",
                            {"act": lambda m, x, i: _erf_without_root(x)}),
}  # fmt: skip


# ------------------------------------------------------------------------------------------ output layer, loss, targets


def _logits(change):
    return {"head": lambda m, x: change(head(m, x))}


def _log_sum(y):
    return each(np.log, exp(y).sum())


def _cap(size):
    return _logits(lambda y: each(np.tanh, y / size) * size)


def _random(shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape)


OUTPUT = {
    "centred": ("their mean is subtracted", _logits(lambda y: y - y.mean())),
    "log-probabilities": ("log-probabilities", _logits(lambda y: y - _log_sum(y))),
    "probabilities": (r"probabilities \(softmax\)", _logits(lambda y: exp(y - _log_sum(y)))),
    "largest": ("their largest is subtracted", _logits(lambda y: y - y.value.max(-1, keepdims=True))),
    "no ln_f": ("ln_f is skipped",
                {"norm": lambda m, x, name: m.__dict__.update(last=x) or norm(m, x, name), "head": lambda m,
                 x: head(m, m.last)}),
    "1/sqrt(C)": (r"1/sqrt\(C\)", {"head": lambda m, x: head(m, x) / math.sqrt(x.shape[-1])}),
    "sqrt(C)": (r"by sqrt\(C\)", {"head": lambda m, x: head(m, x) * math.sqrt(x.shape[-1])}),
    "softmax over T": ("softmax over the tokens", _logits(lambda y: exp(y) / exp(y).sum(1))),
    "cap 30": ("caps them at 30", _cap(30.0)),
    "cap 15": ("caps them at 15", _cap(15.0)),
    "constant": ("a constant is added, 0.7", _logits(lambda y: y + 0.7)),
    "bias": ("output layer: a bias", _logits(lambda y: y + _random(y.shape[-1]))),
    "per position": ("number of its own is added at each position", _logits(lambda y: y + _random((*y.shape[:2], 1)))),
    "another matrix": ("not tied",
                       _logits(lambda y: y) | {"head": lambda m, x: x @ Var(_random(m.p["wte.weight"].shape)).swap()}),
    "negated": ("logits: multiplied by -1", _logits(lambda y: y * -1.0)),
}  # fmt: skip
OUTPUT = {name: ("logits", words, steps) for name, (words, steps) in OUTPUT.items()}


def _with_targets(change):
    """change(ids, targets) -> the targets that the loss takes"""
    def step(m, logits):
        losses, counted = token_losses(m, logits, change(m.ids, m.targets))
        return losses.sum((0, 1)).reshape(()) / float(counted.sum())

    return {"loss": step}


def _set(targets, where, value=-100):
    targets = targets.copy()
    targets[where] = value
    return targets


TARGETS = {
    "no shift": ("not shifted", _with_targets(lambda ids, t: ids)),
    "no shift, ignored": ("not shifted", _with_targets(lambda ids, t: np.where(t == -100, t, ids))),
    "shifted twice": ("shifted twice",
                      _with_targets(lambda ids, t: np.pad(t[:, 1:], ((0, 0), (0, 1)), constant_values=-100))),
    "wrong way": ("shifted the wrong way", _with_targets(lambda ids, t: np.roll(ids, 1, 1))),
    "last ignored": ("last token of each sequence is not counted", _with_targets(lambda ids, t: _set(t, np.s_[:, -1]))),
    "first ignored": ("first token of each sequence is not counted",
                      _with_targets(lambda ids, t: _set(t, np.s_[:, 0]))),
    "ignored are 0": ("count as token 0", _with_targets(lambda ids, t: np.where(t == -100, 0, t))),
    "rolled": ("ids are rolled", _with_targets(lambda ids, t: np.where(t == -100, np.roll(ids, -1, 1), t))),
    "of another sequence": ("those of the next sequence", _with_targets(lambda ids, t: np.roll(t, -1, 0))),
}  # fmt: skip
TARGETS = {name: ("loss", words, steps) for name, (words, steps) in TARGETS.items()}


def _count(count):
    """count(B, T, V, counted): the number that the sum of the losses is divided by."""
    def step(m, logits):
        counted = (m.targets != -100).sum()
        return loss(m, logits) * float(counted / count(*m.targets.shape, logits.shape[-1], counted))

    return {"loss": step}


COUNT = {
    "summed": ("summed, not averaged", _count(lambda B, T, V, n: 1)),
    "B T": (r"averaged over all \d+ positions", _count(lambda B, T, V, n: B * T)),
    "B": ("divided by the number of sequences, ", _count(lambda B, T, V, n: B)),
    "T": ("divided by the number of tokens in a sequence, ", _count(lambda B, T, V, n: T)),
    "n n": ("divided twice", _count(lambda B, T, V, n: n * n)),
    "n B": ("averaged, and divided by the number of sequences", _count(lambda B, T, V, n: n * B)),
    "n T": ("averaged, and divided by the number of tokens", _count(lambda B, T, V, n: n * T)),
    "n V": ("averaged over the vocabulary", _count(lambda B, T, V, n: n * V)),
    "n / 2": ("counted twice", _count(lambda B, T, V, n: n / 2)),
    "2 n": ("halved", _count(lambda B, T, V, n: n * 2)),
    "n / 4": ("multiplied by 4", _count(lambda B, T, V, n: n / 4)),
    "4 n": ("divided by 4|number of sequences", _count(lambda B, T, V, n: n * 4)),
    "n / 8": ("multiplied by 8", _count(lambda B, T, V, n: n / 8)),
    "B (T - 1)": (r"divided by B \(T - 1\)", _count(lambda B, T, V, n: B * (T - 1))),
    "bits": ("in bits", _count(lambda B, T, V, n: n * math.log(2))),
    "sign": ("of the wrong sign", _count(lambda B, T, V, n: -n)),
}  # fmt: skip
COUNT = {name: ("loss", words, steps) for name, (words, steps) in COUNT.items()} | {
    "scaled": ("grad.loss", "loss was multiplied by 1.7 before the backward pass", {"scaled": lambda loss: loss * 1.7}),
}  # fmt: skip


def _mean(losses, counted):
    return losses.sum((0, 1)).reshape(()) / float(counted.sum())


def _loss_of(change):
    """change(logits) are the logits that the loss takes"""
    return {"loss": lambda m, logits: _mean(*token_losses(m, change(logits), m.targets))}


def _over_tokens(m, logits):
    log_p = logits - each(np.log, exp(logits).sum(1))
    at = (*np.indices(m.targets.shape), np.maximum(m.targets, 0))
    counted = m.targets != -100
    return _mean(-log_p[at] * counted, counted)


def _per_sequence(m, logits):
    losses, counted = token_losses(m, logits, m.targets)
    return (losses.sum(1) / counted.sum(1, keepdims=True)).sum(0).reshape(()) / float(len(counted))


def _some(where):
    """Only these positions count."""
    def step(m, logits):
        targets = np.full_like(m.targets, -100)
        targets[where] = m.targets[where]
        return _mean(*token_losses(m, logits, targets))

    return {"loss": step}


def _smoothed(e):
    def step(m, logits):
        losses, counted = token_losses(m, logits, m.targets)
        flat = (each(np.log, exp(logits).sum()) - logits.mean())[..., 0] * counted
        return _mean(losses * (1 - e) + flat * e, counted)

    return {"loss": step}


def _more_rows(rows):
    """The vocabulary goes on with rows(C) of padding, whose logits are not recorded."""
    def step(m, logits):
        B, T, V = logits.shape
        more = rows(B, T, V)
        return _mean(*token_losses(m, joined([logits, more if isinstance(more, Var) else Var(more)]), m.targets))

    return {"loss": step}


def _decayed(m, logits):
    squares = [(p * p).reshape(-1).sum(0).reshape(()) for p in m.p.values()]
    return loss(m, logits) + sum(squares[1:], squares[0]) * 1e-3


LOSS = {
    "softmax twice": ("softmax is taken twice", _loss_of(lambda y: exp(y - _log_sum(y)))),
    "over T": (r"over the tokens \(axis T\)", {"loss": _over_tokens}),
    "padded": ("vocabulary padded with zeros|rows of padding count as well",
               _more_rows(lambda B, T, V: np.zeros((B, T, 64 - V)))),
    "padded, random": ("rows of padding count as well", _more_rows(lambda B, T, V: _random((B, T, 64 - V)))),
    "decay": ("sum of the squares of all parameters", {"loss": _decayed}),
    "per sequence": ("mean of each sequence first", {"loss": _per_sequence}),
    "perplexity": ("perplexity", {"loss": lambda m, logits: exp(loss(m, logits))}),
    "first sequence": ("single sequence, the first", _some(np.s_[:1])),
    "last sequence": ("single sequence, the last", _some(np.s_[-1:])),
    "last position": ("of the last position only", _some(np.s_[:, -1:])),
    **{f"smoothing {e}": (f"label smoothing of {e}", _smoothed(e)) for e in (0.1, 0.05)},
}  # fmt: skip
LOSS = {name: ("loss", words, steps) for name, (words, steps) in LOSS.items()}


# ------------------------------------------------------------------------------------------------ bits, dropout, stored


def rounded(x, bits):
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)


def _through(change, x):
    """The numbers are changed, the gradient passes."""
    return Var(change(x.value).astype(x.value.dtype), (x, lambda g: g))


def _in_half(what):
    return {"stored": lambda name, x: _through(lambda v: v.astype("float16"), x) if name.endswith(what) else x}


def _in_bf16(what):
    return {"stored": lambda name, x: _through(lambda v: rounded(v, 8), x) if name.endswith(what) else x}


def _tf32(m, x, i, layer):
    x, w = (_through(lambda v: rounded(v, 11), y) for y in (x, m.w(i, f"{layer}.weight")))
    return x @ w + m.w(i, f"{layer}.bias")


def _dropped(x, p, seed):
    kept = np.random.default_rng(seed).random(x.shape) >= p
    return x * (kept / (1 - p)).astype(x.value.dtype)


STORED = {
    "float16": ("h.0.mlp.out", "mlp.out: in float16", _in_half("mlp.out")),
    "bfloat16": ("h.0.attn.v", "attn.v: in bfloat16", _in_bf16("attn.v")),
    "TF32": ("h.0.mlp.fc", "mlp.fc: its operands are rounded to TF32", _layer("mlp.c_fc", _tf32)),
    "dropout of embd": ("embd", "dropout is on, with p = 0.2", {"embed": lambda m: _dropped(embed(m), 0.2, 0)}),
    "dropout of attn.out": ("h.0.attn.out", "dropout is on, with p = 0.1",
                            _layer("attn.c_proj", lambda m, x, i, layer: _dropped(linear(m, x, i, layer), 0.1, i))),
    "dropout of probs": ("h.0.attn.probs", "dropout is on, with p = 0.2",
                         {"softmax": lambda m, s, i: _dropped(softmax(m, s, i), 0.2, i)}),
}  # fmt: skip

FORWARD = {
    "embedding": EMBEDDING, "layer norm": LAYER_NORM, "split": SPLIT, "scale": SCALE, "mask": MASK, "softmax": SOFTMAX,
    "heads": HEADS, "blocks": BLOCKS, "gelu": GELUS, "output": OUTPUT, "targets": TARGETS, "count": COUNT, "loss": LOSS,
    "stored": STORED,
}  # fmt: skip


# ------------------------------------------------------------------------------------------ a backward pass by hand


def _d_gelu(inner=lambda x: ROOT * (1 + 3 * 0.044715 * x**2), outer=lambda t: 1 - t**2, first=lambda t: 0.5 * (1 + t),
            second=0.5,
            factor=lambda x: x):  # fmt: skip
    def step(m, dy, x, y):
        t = np.tanh(ROOT * (x + 0.044715 * x**3))
        return dy * (first(t) + second * factor(x) * outer(t) * inner(x))

    return {"d_act": step}


def _d_of(function):
    """dy times the derivative of another function, by a complex step."""
    return {"d_act": lambda m, dy, x, y: dy * function(x + 1e-30j).imag / 1e-30}


def _d_at_output(m, dy, x, y):
    return _d_gelu()["d_act"](m, dy, y, None)


D_GELU = {
    "no 3": ("the factor 3 of the cubic", _d_gelu(lambda x: ROOT * (1 + 0.044715 * x**2))),
    "no sqrt(2/pi)": (r"the factor sqrt\(2/pi\) is missing", _d_gelu(lambda x: 1 + 3 * 0.044715 * x**2)),
    "no cubic term": ("the cubic term is missing", _d_gelu(lambda x: ROOT)),
    "3 x": ("is 3 x, it", _d_gelu(lambda x: ROOT * (1 + 3 * 0.044715 * x))),
    "x^3": (r"has x\^3", _d_gelu(lambda x: ROOT * (1 + 3 * 0.044715 * x**3))),
    "2 for 3": ("2 in place of 3", _d_gelu(lambda x: ROOT * (1 + 2 * 0.044715 * x**2))),
    "0.44715": ("0.44715", _d_gelu(lambda x: ROOT * (1 + 3 * 0.44715 * x**2))),
    "1 - tanh": (r"1 - tanh in place of 1 - tanh\^2", _d_gelu(outer=lambda t: 1 - t)),
    "1 + tanh^2": (r"1 \+ tanh\^2 in place", _d_gelu(outer=lambda t: 1 + t**2)),
    "tanh^2": (r": tanh\^2 in place", _d_gelu(outer=lambda t: t**2)),
    "tanh": ("tanh in place of its derivative", _d_gelu(outer=lambda t: t)),
    "1": (r": 1 in place of 1 - tanh\^2", _d_gelu(outer=lambda t: 1.0)),
    "no inner": ("its inner derivative is missing", _d_gelu(lambda x: 1.0)),
    "first term only": ("the second term, .* is missing", _d_gelu(second=0.0)),
    "second term only": ("the first term, .* is missing", _d_gelu(first=lambda t: 0.0)),
    "no x": ("factor x of the second term", _d_gelu(factor=lambda x: 1.0)),
    "no 1/2 of the first": ("1/2 of the first", _d_gelu(first=lambda t: 1 + t)),
    "no 1/2 of the second": ("1/2 of the second", _d_gelu(second=1.0)),
    "no 1/2": ("the factor 1/2 is missing|multiplied by 2", _d_gelu(first=lambda t: 1 + t, second=1.0)),
    "sign of the second": ("second term has the wrong sign", _d_gelu(second=-0.5)),
    "1 - tanh in the first": (r"1 - tanh in place of 1 \+ tanh in the first", _d_gelu(first=lambda t: 0.5 * (1 - t))),
    "unchanged": ("passes unchanged, as if there were no GELU", {"d_act": lambda m, dy, x, y: dy}),
    "itself": ("GELU itself in place of its derivative", {"d_act": lambda m, dy, x, y: dy * y}),
    "at the output": ("taken at the GELU's output", {"d_act": _d_at_output}),
    "erf": ("that of the erf form", {"d_act": lambda m, dy, x, y: dy * (
        (1 + _erf(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))}),
    "quick": ("that of x sigmoid", _d_of(lambda x: x * _sigmoid(1.702 * x))),
    "ReLU": ("that of a ReLU", _d_of(lambda x: np.where(x.real > 0, x, 0))),
    "SiLU": ("that of a SiLU", _d_of(lambda x: x * _sigmoid(x))),
}  # fmt: skip
D_GELU = {name: ("grad.h.0.mlp.fc", words, steps) for name, (words, steps) in D_GELU.items()}


def _avg(x):
    return x.mean(-1, keepdims=True)


def _d_norm(form, which="ln_f"):
    """form(dy, gain, x_hat, rstd), in the layer norms whose names end so."""
    def step(m, dy, x, name):
        if not name.endswith(which):
            return d_norm(m, dy, x, name)
        return form(dy, m.p[f"{name}.weight"], *normalised(m, x))

    return {"d_norm": step}


def _terms(d, h):
    return d - _avg(d) - h * _avg(d * h)


D_NORM = {
    "no rstd": ("rstd is missing", lambda dy, g, h, r: _terms(dy * g, h)),
    "times std": ("multiplied by the standard deviation", lambda dy, g, h, r: _terms(dy * g, h) / r),
    "rstd twice": ("divided by the standard deviation twice", lambda dy, g, h, r: _terms(dy * g, h) * r**2),
    "no gain": ("the gain is missing", lambda dy, g, h, r: r * _terms(dy, h)),
    "gain after": ("gain is applied after the means", lambda dy, g, h, r: r * g * _terms(dy, h)),
    "gain twice": ("gain is applied twice", lambda dy, g, h, r: r * _terms(dy * g * g, h)),
    "unchanged": ("passes unchanged, as if there were no layer norm", lambda dy, g, h, r: dy),
    "no mean terms": (r"mean and x_hat terms are missing|mean\(dx_hat\) is missing and", lambda dy, g, h,
                      r: r * g * dy),
    "no mean": (r"term mean\(dx_hat\) is missing", lambda dy, g, h, r: r * (dy * g - h * _avg(dy * g * h))),
    "no x_hat term": (r"term x_hat mean\(dx_hat x_hat\) is missing", lambda dy, g, h, r: r * (dy * g - _avg(dy * g))),
    "no dx_hat": ("term dx_hat is missing", lambda dy, g, h, r: -r * (_avg(dy * g) + h * _avg(dy * g * h))),
    "sums": ("sums stand in place of both|both means|multiplied by 18", lambda dy, g, h,
             r: r * (dy * g - 18 * _avg(dy * g) - 18 * h * _avg(dy * g * h))),
    "sum of dx_hat": (r"sum stands in place of mean\(dx_hat\)|mean\(dx_hat\) is multiplied by 18", lambda dy, g, h,
                      r: r * (dy * g - 18 * _avg(dy * g) - h * _avg(dy * g * h))),
    "sum of dx_hat x_hat": (r"sum stands in place of mean\(dx_hat x_hat\)|mean\(dx_hat x_hat\) is multiplied by 18",
                            lambda dy, g, h, r: r * (dy * g - _avg(dy * g) - 18 * h * _avg(dy * g * h))),
    "no factor x_hat": ("factor x_hat of the last term", lambda dy, g, h,
                        r: r * (dy * g - _avg(dy * g) - _avg(dy * g * h))),
    "the other mean": (r"mean\(dx_hat\) stands in place of mean\(dx_hat x_hat\)", lambda dy, g, h,
                       r: r * (dy * g - _avg(dy * g) - h * _avg(dy * g))),
    "over T": (r"over the tokens \(axis T\)", lambda dy, g, h,
               r: r * (dy * g - (dy * g).mean(1, keepdims=True) - h * (dy * g * h).mean(1, keepdims=True))),
    "over all": ("over the whole tensor", lambda dy, g, h, r: r * (dy * g - (dy * g).mean() - h * (dy * g * h).mean())),
    "signs": ("mean terms have the wrong sign|wrong sign and", lambda dy, g, h,
              r: r * (dy * g + _avg(dy * g) + h * _avg(dy * g * h))),
    "C - 1": ("divided by C - 1", lambda dy, g, h, r: r * (dy * g - _avg(dy * g) - h * _avg(dy * g * h) * 18 / 17)),
}  # fmt: skip
D_NORM = {
    f"{name}, {which}": (first, words, _d_norm(form, which))
    for name, (words, form) in D_NORM.items() for which, first in (
        ("ln_f", "grad.h.0.resid_post"), ("ln_2", "grad.h.0.resid_mid"), ("ln_1", "grad.embd"))
}  # fmt: skip

D_SOFTMAX = {
    "no sum": ("sum over the keys is missing", lambda d, p: p * d),
    "no probs": ("factor probs is missing", lambda d, p: d - (d * p).sum(-1, keepdims=True)),
    "sum of dprobs": ("sum is of dprobs alone", lambda d, p: p * (d - d.sum(-1, keepdims=True))),
    "mean": ("mean of dprobs probs in place", lambda d, p: p * (d - _avg(d * p))),
    "mean of dprobs": ("mean of dprobs in place", lambda d, p: p * (d - _avg(d))),
    "diagonal": ("diagonal of the Jacobian alone", lambda d, p: p * (1 - p) * d),
    "over queries": (r"axis -2", lambda d, p: p * (d - (d * p).sum(-2, keepdims=True))),
    "over heads": ("over the heads", lambda d, p: p * (d - (d * p).sum(1, keepdims=True))),
    "added": ("sum is added", lambda d, p: p * (d + (d * p).sum(-1, keepdims=True))),
    "p twice": ("probs is multiplied once more", lambda d, p: p * p * (d - (d * p).sum(-1, keepdims=True))),
    "outside": ("lacks the factor probs outside", lambda d, p: p * d - (d * p).sum(-1, keepdims=True)),
    "unchanged": ("passes unchanged|softmax's gradient is left out", lambda d, p: d),
}  # fmt: skip


def _behind_0(d):
    return d * np.tri(d.shape[-1], dtype=bool)  # as whoever sums over all keys has it


def _zero(m, dy, x, other):
    """No gradient, in the shape of q, k and v."""
    return np.zeros_like(m.a["h.0.attn.q"])


D_ATTENTION = {
    f"softmax: {name}": ("grad.h.0.attn.scores", words, {"d_softmax": lambda m, d, p, f=f: f(_behind_0(d), p)})
    for name, (words, f) in D_SOFTMAX.items()
} | {
    "no scale": ("grad.h.0.attn.k", r"scale 1/sqrt\(D\) = 1/[\d.]+ is missing, in dq and in dk",
                 {"d_q": lambda m, s, q, k: s @ k, "d_k": lambda m, s, q, k: s.swapaxes(-1, -2) @ q}),
    "scale twice": ("grad.h.0.attn.k", "applied twice, in dq and in dk",
                    {"d_q": lambda m, s, q, k: s @ k / k.shape[-1], "d_k": lambda m, s, q,
                     k: s.swapaxes(-1, -2) @ q / k.shape[-1]}),
    "no scale in dq": ("grad.h.0.attn.q", r"scale 1/sqrt\(D\).* is missing, in dq($|[^a])",
                       {"d_q": lambda m, s, q, k: s @ k}),
    "no scale in dk": ("grad.h.0.attn.k", r"scale 1/sqrt\(D\).* is missing, in dk",
                       {"d_k": lambda m, s, q, k: s.swapaxes(-1, -2) @ q}),
    "scale multiplied in dq": ("grad.h.0.attn.q", r"multiplied by sqrt\(D\), .* in dq",
                               {"d_q": lambda m, s, q, k: d_q(m, s, q, k) * k.shape[-1]}),
    "no scale in dscores": ("grad.h.0.attn.scores", r"scale 1/sqrt\(D\).* is missing|multiplied by .* = sqrt\(D\)",
                            {"d_softmax": lambda m, d, p: d_softmax(m, d, p) * math.sqrt(6)}),
    "dq of q": ("grad.h.0.attn.q", "dq is computed with q", {"d_q": lambda m, s, q, k: d_q(m, s, q, q)}),
    "dk of k": ("grad.h.0.attn.k", "dk is computed with k", {"d_k": lambda m, s, q, k: d_k(m, s, k, k)}),
    "dk not transposed": ("grad.h.0.attn.k", "not transposed in dk",
                          {"d_k": lambda m, s, q, k: d_k(m, s.swapaxes(-1, -2), q, k)}),
    "dq transposed": ("grad.h.0.attn.q", "transposed in dq",
                      {"d_q": lambda m, s, q, k: d_q(m, s.swapaxes(-1, -2), q, k)}),
    "dq and dk": ("grad.h.0.attn.k", "dq and dk are exchanged", {"d_q": d_k, "d_k": d_q}),
    "dv: p": ("grad.h.0.attn.v", "dv: probs is not transposed", {"d_v": lambda m, d, p, i: p @ cut(m, d)}),
    "dv: no p": ("grad.h.0.attn.v", "dv: it is dheads itself", {"d_v": lambda m, d, p, i: cut(m, d)}),
    "dv: scores": ("grad.h.0.attn.v", "dv: it is computed with the scores",
                   {"d_v": lambda m, d, p, i: np.tril(m.a[f"h.{i}.attn.scores"]).swapaxes(-1, -2) @ cut(m, d)}),
    "dv: no mask": ("grad.h.0.attn.v", "dv: it is computed without the mask",
                    {"d_v": lambda m, d, p,
                     i: softmax(None, Var(m.a[f"h.{i}.attn.scores"]), i).value.swapaxes(-1, -2) @ cut(m, d)}),
    **{f"no d{n}": (f"grad.h.0.attn.{n}", f"none reaches {n}|all zeros", {f"d_{n}": _zero}) for n in "qkv"},
    "dprobs of k": ("grad.h.0.attn.probs", "dprobs: it is computed with k",
                    {"d_probs": lambda m, d, v, i: cut(m, d) @ m.a[f"h.{i}.attn.k"].swapaxes(-1, -2)}),
    "dheads at once": ("grad.h.0.attn.probs", "dheads is reshaped", {
        "d_probs": lambda m, d, v, i: d.reshape(v.shape) @ v.swapaxes(-1, -2),
        "d_v": lambda m, d, p, i: p.swapaxes(-1, -2) @ d.reshape(p.shape[0], p.shape[1], p.shape[2], -1)}),
    **{f"ln_1 lacks {n}": ("grad.h.0.ln_1", f"share of {n} is missing", {
        "d_attn": lambda m, parts, x, name, n=n: (
            d_attn(m, [0 * d if k == n else d for k, d in zip("qkv", parts, strict=True)], x, name)[0],
            *d_attn(m, parts, x, name)[1:])})
       for n in "qkv"},
}  # fmt: skip


def _when(name, step, right):
    """The step in the layers whose names end so."""
    return lambda m, *inputs: (step if inputs[-1].endswith(name) else right)(m, *inputs)


def _layer_gradient(layer, change):
    """change(dx, dweight, dbias, x, dy)"""
    def step(m, dy, x, name):
        return change(*d_linear(m, dy, x, name), x, dy)

    return {"d_linear": _when(layer, step, d_linear)}


SHARES = {
    "stream dropped, mlp": ("grad.h.0.resid_mid", "the residual branch is missing",
                            {"d_add": _when("resid_mid", lambda m, x, y, name: y, d_add)}),
    "branch dropped, mlp": ("grad.h.0.resid_mid", "branch through ln_2 is missing",
                            {"d_add": _when("resid_mid", lambda m, x, y, name: x, d_add)}),
    "stream dropped, attention": ("grad.embd", "the residual branch is missing",
                                  {"d_add": _when(("resid_post", "embd"), lambda m, x, y, name: y, d_add)}),
    "branch dropped, attention": ("grad.embd", "branch through ln_1 is missing",
                                  {"d_add": _when(("resid_post", "embd"), lambda m, x, y, name: x, d_add)}),
    "stream twice": ("grad.h.0.resid_mid", "the residual branch is counted twice",
                     {"d_add": _when("resid_mid", lambda m, x, y, name: 2 * x + y, d_add)}),
}  # fmt: skip


def _per_row(dembd, ids, V, add):
    """One place after the other: add(dwte, b, t)."""
    dwte = np.zeros((V, dembd.shape[-1]))
    for b, t in np.ndindex(ids.shape):
        add(dwte, b, t)
    return dwte


def _last(m, d, share):
    dwte = np.zeros_like(share)
    for b, t in np.ndindex(m.a["ids"].shape):
        dwte[m.a["ids"][b, t]] = d[b, t]
    return share + dwte


def _overwritten(m, d, share):
    dwte = share.copy()
    for b, t in np.ndindex(m.a["ids"].shape):
        dwte[m.a["ids"][b, t]] = d[b, t]
    return dwte


def _overwritten_by_sum(m, d, share):
    total = d_wte(m, d, 0 * share)
    return np.where(np.isin(np.arange(len(share)), m.a["ids"])[:, None], total, share)


def _once_per(axis):
    """dwte[ids] += d for one sequence or one position after the other, which adds once for each token in it."""
    def step(m, d, share):
        dwte = share.copy()
        for ids, g in zip(np.moveaxis(m.a["ids"], axis, 0), np.moveaxis(d, axis, 0), strict=True):
            dwte[ids] += g
        return dwte

    return step


def _first(m, d, share):
    return _last(_Reversed(m), d[::-1, ::-1], share)


class _Reversed:
    def __init__(self, m):
        self.a = {"ids": m.a["ids"][::-1, ::-1]}


def _averaged(m, d, share):
    count = np.bincount(m.a["ids"].ravel(), minlength=len(share))
    return share + d_wte(m, d, 0 * share) / np.maximum(count, 1)[:, None]


def _wpe(function):
    def step(m, d):
        dwpe = np.zeros_like(m.p["wpe.weight"])
        part = function(d)
        dwpe[: len(part)] = part
        return dwpe

    return {"d_wpe": step}


def _parameters(change):
    """change(gradient) of every parameter; the activations' are right."""
    return {"kept": lambda name, g: change(g) if name.endswith((".weight", ".bias")) else g}


def _part(layer, where):
    """A layer's weight and bias from some of the tokens."""
    return _layer_gradient(layer, lambda dx, dw, db, x, dy: (
        dx, x[where].reshape(-1, x.shape[-1]).T @ dy[where].reshape(-1, dy.shape[-1]), db))  # fmt: skip


PARAMETERS = {
    "wte: =": ("grad.wte.weight", "only its last place counts", {"d_wte": _last}),
    "wte: first place": ("grad.wte.weight", "only its first place counts", {"d_wte": _first}),
    "wte: once per sequence": ("grad.wte.weight", "in a sequence, only its last place there counts",
                               {"d_wte": _once_per(0)}),
    "wte: once per position": ("grad.wte.weight", "at one position, only the last sequence counts",
                               {"d_wte": _once_per(1)}),
    "wte: overwritten": ("grad.wte.weight", "overwrites the output layer's, and .* only its last place",
                         {"d_wte": _overwritten}),
    "wte: overwritten by the sum": ("grad.wte.weight", "overwrites the output layer's in the rows",
                                    {"d_wte": _overwritten_by_sum}),
    "wte: mean": ("grad.wte.weight", "the mean of its places", {"d_wte": _averaged}),
    "wte: no embedding": ("grad.wte.weight", "lacks the embedding's share", {"d_wte": lambda m, d, share: share}),
    "wte: no output layer": ("grad.wte.weight", "lacks the output layer's share",
                             {"d_wte": lambda m, d, share: d_wte(m, d, 0 * share)}),
    "wpe: mean": ("grad.wpe.weight", "wpe: the mean over the batch|multiplied by 0.25", _wpe(lambda d: d.mean(0))),
    "wpe: last": ("grad.wpe.weight", "wpe: only the last sequence", _wpe(lambda d: d[-1])),
    "wpe: first": ("grad.wpe.weight", "wpe: only the first sequence", _wpe(lambda d: d[0])),
    "wpe: off by one": ("grad.wpe.weight", "wpe: off by one row",
                        _wpe(lambda d: np.pad(d.sum(0)[:-1], ((1, 0), (0, 0))))),
    "wpe: row 0": ("grad.wpe.weight", "all in row 0", _wpe(lambda d: d.sum((0, 1))[None])),
    "wpe: all positions": ("grad.wpe.weight", "sum over all positions", _wpe(lambda d: d.sum((0, 1)) + 0 * d[0])),
    "gain: no x_hat": ("grad.ln_f.weight", "gain: x_hat is missing", {"d_gain": lambda m, dy, x, name: dy.sum((0, 1))}),
    "gain: x": ("grad.ln_f.weight", "gain: it is computed with x,",
                {"d_gain": lambda m, dy, x, name: (dy * x).sum((0, 1))}),
    "gain: y": ("grad.ln_f.weight", "gain: it is computed with the output",
                {"d_gain": lambda m, dy, x, name: (dy * m.a[name]).sum((0, 1))}),
    "gain: no rstd": ("grad.ln_f.weight", "gain: it is computed with x - mean",
                      {"d_gain": lambda m, dy, x, name: (dy * (x - _avg(x))).sum((0, 1))}),
    "gain: times gain": ("grad.ln_f.weight", "gain: it is multiplied by the gain",
                         {"d_gain": lambda m, dy, x,
                          name: (dy * normalised(m, x)[0]).sum((0, 1)) * m.p[f"{name}.weight"]}),
    "shift: times gain": ("grad.ln_f.bias", "shift: it is multiplied by the gain",
                          {"d_shift": lambda m, dy, name: dy.sum((0, 1)) * m.p[f"{name}.weight"]}),
    "shift: last sequence": ("grad.ln_f.bias", "only the last sequence counts",
                             {"d_shift": lambda m, dy, name: dy[-1].sum(0)}),
    "bias twice": ("grad.h.0.mlp.c_fc.bias", "c_fc.bias: multiplied by 2",
                   _layer_gradient("mlp.c_fc", lambda dx, dw, db, x, dy: (dx, dw, 2 * db))),
    "bias in the inner loop": ("grad.h.0.mlp.c_proj.bias", "innermost loop", {
        "d_linear": lambda m, dy, x, name: (*d_linear(m, dy, x, name)[:2], d_linear(m, dy, x, name)[2] * x.shape[-1])}),
    "one bias of 72 inputs": ("grad.h.0.mlp.c_proj.bias", "c_proj.bias: 72 times",
                              _layer_gradient("mlp.c_proj", lambda dx, dw, db, x, dy: (dx, dw, db * x.shape[-1]))),
    "one bias in the inner loop": ("grad.h.0.attn.c_proj.bias", "c_proj.bias: 18 times",
                                   _layer_gradient("attn.c_proj", lambda dx, dw, db, x,
                                                   dy: (dx, dw, db * x.shape[-1]))),
    "weight: last sequence": ("grad.h.0.mlp.c_fc.weight", "only the last sequence counts",
                              _part("mlp.c_fc", np.s_[-1:])),
    "weight: first sequence": ("grad.h.0.mlp.c_fc.weight", "only the first sequence counts",
                               _part("mlp.c_fc", np.s_[:1])),
    "weight: all but the last sequence": ("grad.h.0.mlp.c_fc.weight", "the last sequence does not",
                                          _part("mlp.c_fc", np.s_[:-1])),
    "weight: all but the first sequence": ("grad.h.0.mlp.c_fc.weight", "the first sequence does not",
                                           _part("mlp.c_fc", np.s_[1:])),
    "weight: first position": ("grad.h.0.mlp.c_fc.weight", "only the first position counts",
                               _part("mlp.c_fc", np.s_[:, :1])),
    "weight: all but the first position": ("grad.h.0.mlp.c_fc.weight", "the first position does not",
                                           _part("mlp.c_fc", np.s_[:, 1:])),
    "weight: last position": ("grad.h.0.mlp.c_fc.weight", "only the last position counts",
                              _part("mlp.c_fc", np.s_[:, -1:])),
    "weight: all but the last position": ("grad.h.0.mlp.c_fc.weight", "the last position does not",
                                          _part("mlp.c_fc", np.s_[:, :-1])),
    "weight: last token": ("grad.h.0.mlp.c_fc.weight", "only the last token of the last",
                           _part("mlp.c_fc", np.s_[-1:, -1:])),
    "weight: first token": ("grad.h.0.mlp.c_fc.weight", "only the first token of the first",
                            _part("mlp.c_fc", np.s_[:1, :1])),
    "weight: zeros": ("grad.h.0.mlp.c_fc.weight", "all zeros",
                      _layer_gradient("mlp.c_fc", lambda dx, dw, db, x, dy: (dx, 0 * dw, db))),
    "decay": ("grad.ln_f.bias", "0.01 times the parameter of every parameter is added", {"decay": 0.01}),
    "not zeroed": ("grad.ln_f.bias", "twice what they should be", _parameters(lambda g: 2 * g)),
    "three passes": ("grad.ln_f.bias", "three times", _parameters(lambda g: 3 * g)),
    "four passes": ("grad.ln_f.bias", "four times", _parameters(lambda g: 4 * g)),
    "half": ("grad.ln_f.bias", "half of what", _parameters(lambda g: g / 2)),
}  # fmt: skip


def _d_logits(function):
    """function(p, one_hot, counted, how many)"""
    def step(m, y):
        p = np.exp(y)
        p /= p.sum(-1, keepdims=True)
        counted = (m.a["targets"] != -100)[..., None]
        one_hot = (m.a["targets"][..., None] == np.arange(y.shape[-1])) * 1.0
        return function(p, one_hot, counted, counted.sum())

    return {"d_logits": step}


D_LOGITS = {
    "no 1": ("1 is not subtracted", _d_logits(lambda p, q, c, n: p * c / n)),
    "target only": ("only the target's entry", _d_logits(lambda p, q, c, n: (p - q) * q / n)),
    "ignored": (r"ignored \(-100\) get a gradient", _d_logits(lambda p, q, c, n: (p - q) / n)),
    "sign": ("wrong sign", _d_logits(lambda p, q, c, n: (q - p) * c / n)),
    "of the probabilities": ("of the probabilities, -1/p", _d_logits(lambda p, q, c, n: -q / p * c / n)),
    "plus": ("1 is added at the target", _d_logits(lambda p, q, c, n: (p + q) * c / n)),
    "summed": ("summed, not averaged|= counted targets", _d_logits(lambda p, q, c, n: (p - q) * c)),
    "over B T": (r"over all \d+ positions|multiplied by .* = .counted targets./B T",
                 _d_logits(lambda p, q, c, n: (p - q) * c / c.size)),
    "next id": (r"token after the target \(its id \+ 1\)",
                _d_logits(lambda p, q, c, n: (p - np.roll(q, 1, -1)) * c / n)),
    "id before": (r"token before the target \(its id - 1\)",
                  _d_logits(lambda p, q, c, n: (p - np.roll(q, -1, -1)) * c / n)),
    "twice": ("counted twice|multiplied by 2", _d_logits(lambda p, q, c, n: (p - q) * c / n * 2)),
}  # fmt: skip
D_LOGITS = {name: ("grad.logits", words, steps) for name, (words, steps) in D_LOGITS.items()}

BACKWARD = {
    "logits": D_LOGITS, "GELU": D_GELU, "norm": D_NORM, "attention": D_ATTENTION, "shares": SHARES,
    "parameters": PARAMETERS,
}  # fmt: skip
