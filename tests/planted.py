"""A GPT-2 in NumPy in which any step can be replaced, to plant mistakes; nothing of it comes from minigpt2.

``forward`` computes with ``Var``, arrays that remember how they were made: gradients are those of what was computed,
as a framework derives them. ``backward`` is the backward pass written by hand, from recorded activations.
Names of tensors are those of ``minigpt2.trace``. B batch, T time, C channels, H heads, D head size.
"""

import itertools
import math
from types import SimpleNamespace

import numpy as np

# ------------------------------------------------------------------------------------ arrays that can be differentiated


class Var:
    """An array, and for each array that it was made of the function that takes its gradient there."""

    __array_ufunc__ = None  # an ndarray on the left leaves + and @ to the Var
    numbers = itertools.count()

    def __init__(self, value, *sources):
        self.value, self.sources, self.grad = np.asarray(value), sources, None
        self.number = next(self.numbers)

    @property
    def shape(self):
        return self.value.shape

    def __add__(self, other):
        return _pair(np.add, self, other, lambda g, x, y: g, lambda g, x, y: g)

    def __mul__(self, other):
        return _pair(np.multiply, self, other, lambda g, x, y: g * y, lambda g, x, y: g * x)

    def __truediv__(self, other):
        return _pair(np.divide, self, other, lambda g, x, y: g / y, lambda g, x, y: -g * x / (y * y))

    def __matmul__(self, other):
        return _pair(np.matmul, self, other, lambda g, x, y: g @ _t(y), lambda g, x, y: _t(x) @ g)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + other * -1.0

    def __rsub__(self, other):
        return self * -1.0 + other

    def __rtruediv__(self, other):
        return Var(np.asarray(other, self.value.dtype)) / self

    def __getitem__(self, index):
        def back(g):
            whole = np.zeros_like(self.value)
            np.add.at(whole, index, g)
            return whole

        return Var(self.value[index], (self, back))

    def reshape(self, *shape):
        return Var(self.value.reshape(*shape), (self, lambda g: g.reshape(self.shape)))

    def transpose(self, *axes):
        return Var(self.value.transpose(axes), (self, lambda g: g.transpose(np.argsort(axes))))

    def swap(self, a=-1, b=-2):
        return Var(self.value.swapaxes(a, b), (self, lambda g: g.swapaxes(a, b)))

    def sum(self, axis=-1):
        return Var(self.value.sum(axis, keepdims=True), (self, lambda g: np.broadcast_to(g, self.shape)))

    def mean(self, axis=-1):
        total = self.sum(axis)
        return total * (total.value.size / self.value.size)

    def backpropagate(self):
        """Leaves the gradient of this number in ``grad`` of everything that it was made of."""
        order, todo = {}, [self]
        while todo:
            if (node := todo.pop()).number not in order:
                order[node.number] = node
                todo += [source for source, _ in node.sources]
        self.grad = np.ones_like(self.value)
        for _, node in sorted(order.items(), reverse=True):
            for source, back in node.sources:
                gradient = _unbroadcast(back(node.grad), source.shape)
                source.grad = gradient if source.grad is None else source.grad + gradient


def _t(x):
    return x.swapaxes(-1, -2)


def _pair(function, a, b, back_a, back_b):
    if not isinstance(b, Var):
        b = Var(np.asarray(b, a.value.dtype))
    x, y = a.value, b.value
    return Var(function(x, y), (a, lambda g: back_a(g, x, y)), (b, lambda g: back_b(g, x, y)))


def _unbroadcast(g, shape):
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(n for n, size in enumerate(shape) if size == 1), keepdims=True).reshape(shape)


def each(function, x, derivative=None):
    """A function of each number; its derivative by a complex step if it is not given."""
    def back(g):
        if derivative is not None:
            return g * derivative(x.value)
        return g * (function(x.value + 1e-30j).imag / 1e-30).astype(x.value.dtype)

    return Var(function(x.value), (x, back))


def exp(x):
    return each(np.exp, x, np.exp)


def where(condition, x, other):
    """x where the condition holds, elsewhere a number."""
    return Var(np.where(condition, x.value, other), (x, lambda g: np.where(condition, g, 0)))


def joined(parts, axis=-1):
    """The parts side by side."""
    ends = np.cumsum([part.shape[axis] for part in parts])[:-1]
    return Var(
        np.concatenate([part.value for part in parts], axis),
        *((part, lambda g, n=n: np.split(g, ends, axis)[n]) for n, part in enumerate(parts)),
    )


# ----------------------------------------------------------------------------------------------------- the forward pass


def embed(m):
    return m.p["wte.weight"][m.ids] + m.p["wpe.weight"][np.arange(m.ids.shape[1])]


def norm(m, x, name):
    centred = x - x.mean()
    return centred / each(np.sqrt, (centred * centred).mean() + m.eps) * m.p[f"{name}.weight"] + m.p[f"{name}.bias"]


def qkv(m, x, i):
    """(B, T, C) -> three times (B, H, T, D)"""
    C = x.shape[-1]
    y = x @ m.w(i, "attn.c_attn.weight") + m.w(i, "attn.c_attn.bias")
    return [split(m, y[..., n * C : (n + 1) * C]) for n in range(3)]


def split(m, x):
    return x.reshape(*x.shape[:2], m.n_head, -1).swap(1, 2)


def score(m, q, k, i):
    return q @ k.swap() / math.sqrt(q.shape[-1])


def mask(m, s, i):
    return where(np.tri(s.shape[-1], dtype=bool), s, -np.inf)


def softmax(m, s, i):
    e = exp(s - s.value.max(-1, keepdims=True))
    return e / e.sum()


def mix(m, probs, v, i):
    """The heads side by side, (B, T, C)."""
    y = (probs @ v).swap(1, 2)
    return y.reshape(*y.shape[:2], -1)


def linear(m, x, i, layer):
    """attn.c_proj, mlp.c_fc or mlp.c_proj."""
    return x @ m.w(i, f"{layer}.weight") + m.w(i, f"{layer}.bias")


def act(m, x, i):
    return each(lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), x)


def add(m, x, y, name):
    """The residual sum ``name``."""
    return x + y


def attention(m, x, i):
    name = f"h.{i}.attn"
    q, k, v = (m.keep(f"{name}.{n}", x) for n, x in zip("qkv", m.qkv(m, x, i), strict=True))
    s = m.keep(f"{name}.scores", m.score(m, q, k, i))
    probs = m.keep(f"{name}.probs", m.softmax(m, m.mask(m, s, i), i))
    y = m.keep(f"{name}.heads", m.mix(m, probs, v, i))
    return m.keep(f"{name}.out", m.linear(m, y, i, "attn.c_proj"))


def feed_forward(m, x, i):
    y = m.keep(f"h.{i}.mlp.fc", m.linear(m, x, i, "mlp.c_fc"))
    y = m.keep(f"h.{i}.mlp.gelu", m.act(m, y, i))
    return m.keep(f"h.{i}.mlp.out", m.linear(m, y, i, "mlp.c_proj"))


def block(m, x, i):
    y = attention(m, m.keep(f"h.{i}.ln_1", m.norm(m, x, f"h.{m.which(i)}.ln_1")), i)
    x = m.keep(f"h.{i}.resid_mid", m.add(m, x, y, f"h.{i}.resid_mid"))
    y = feed_forward(m, m.keep(f"h.{i}.ln_2", m.norm(m, x, f"h.{m.which(i)}.ln_2")), i)
    return m.keep(f"h.{i}.resid_post", m.add(m, x, y, f"h.{i}.resid_post"))


def head(m, x):
    return x @ m.p.get("lm_head.weight", m.p["wte.weight"]).swap()


def token_losses(m, logits, targets):
    """The loss of each position, (B, T), and which count."""
    counted = targets != -100
    top = logits.value.max(-1, keepdims=True)
    log_sum = each(np.log, exp(logits - top).sum()) + top
    at = (*np.indices(targets.shape), np.where(counted, targets, 0))
    return (log_sum[..., 0] - logits[at]) * counted, counted


def loss(m, logits):
    losses, counted = token_losses(m, logits, m.targets)
    return losses.sum((0, 1)).reshape(()) / float(counted.sum())


STEPS = {f.__name__: f for f in (embed, norm, qkv, score, mask, softmax, mix, linear, act, add, block, head, loss)} | {
    "which": lambda i: i,  # whose weights a block has
    "stored": lambda name, x: x,  # every tensor on its way into the next step
    "scaled": lambda loss: loss,  # what is differentiated
}  # fmt: skip


def forward(params, ids, targets, n_head, eps=1e-5, **steps):
    """Every activation and parameter and their gradients, as a dict from name to array.

    params: dict from name to array, weights (in, out); steps: functions in place of those in STEPS
    """
    m = SimpleNamespace(**STEPS | steps, ids=ids, targets=targets, n_head=n_head, eps=eps)
    m.p = {name: Var(p) for name, p in params.items()}
    m.w = lambda i, name: m.p[f"h.{m.which(i)}.{name}"]
    m.n_layer = len({name.split(".")[1] for name in params if name.startswith("h.")})
    kept = {}

    def keep(name, x):
        kept[name] = m.stored(name, x)
        return kept[name]

    m.keep = keep
    x = keep("embd", m.embed(m))
    for i in range(m.n_layer):
        x = m.block(m, x, i)
    y = keep("ln_f", m.norm(m, x, "ln_f"))
    result = keep("loss", m.loss(m, keep("logits", m.head(m, y))))
    m.scaled(result).backpropagate()
    every = kept | m.p
    gradients = {f"grad.{name}": x.grad for name, x in every.items() if x.grad is not None}
    return {"ids": ids, "targets": targets} | {name: x.value for name, x in every.items()} | gradients


# ------------------------------------------------------------------------------------------ the backward pass, by hand


def d_logits(m, logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    counted = m.a["targets"] != -100
    one_hot = (m.a["targets"][..., None] == np.arange(p.shape[-1])).astype(p.dtype)
    return (p - one_hot) * counted[..., None] / counted.sum()


def normalised(m, x):
    centred = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + m.eps)
    return centred * rstd, rstd


def d_norm(m, dy, x, name):
    x_hat, rstd = normalised(m, x)
    d = dy * m.p[f"{name}.weight"]
    return rstd * (d - d.mean(-1, keepdims=True) - x_hat * (d * x_hat).mean(-1, keepdims=True))


def d_gain(m, dy, x, name):
    return (dy * normalised(m, x)[0]).sum((0, 1))


def d_shift(m, dy, name):
    return dy.sum((0, 1))


def d_linear(m, dy, x, name):
    """dx, dweight, dbias"""
    flat = dy.reshape(-1, dy.shape[-1])
    return dy @ m.p[f"{name}.weight"].T, x.reshape(-1, x.shape[-1]).T @ flat, flat.sum(0)


def d_act(m, dy, x, y):
    root = math.sqrt(2 / math.pi)
    tanh = np.tanh(root * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh**2) * root * (1 + 3 * 0.044715 * x**2))


def cut(m, x):
    return x.reshape(*x.shape[:2], m.n_head, -1).swapaxes(1, 2)


def merged(x):
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def d_probs(m, dheads, v, i):
    return cut(m, dheads) @ _t(v)


def d_v(m, dheads, probs, i):
    return _t(probs) @ cut(m, dheads)


def d_softmax(m, dprobs, probs):
    return probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))


def d_q(m, dscores, q, k):
    return dscores @ k / math.sqrt(k.shape[-1])


def d_k(m, dscores, q, k):
    return _t(dscores) @ q / math.sqrt(q.shape[-1])


def d_attn(m, parts, x, name):
    """dx, dweight, dbias of c_attn from dq, dk, dv."""
    return m.d_linear(m, np.concatenate([merged(part) for part in parts], -1), x, name)


def d_add(m, stream, branch, name):
    """The gradient of what a residual sum's stream and branch both read."""
    return stream + branch


def d_head(m, dlogits, x):
    """The gradients of ln_f and of the output layer's matrix."""
    C, V = x.shape[-1], dlogits.shape[-1]
    return dlogits @ m.p["wte.weight"], dlogits.reshape(-1, V).T @ x.reshape(-1, C)


def d_wte(m, dembd, dhead):
    dwte = dhead.copy()
    np.add.at(dwte, m.a["ids"], dembd)
    return dwte


def d_wpe(m, dembd):
    dwpe = np.zeros_like(m.p["wpe.weight"])
    dwpe[: dembd.shape[1]] = dembd.sum(0)
    return dwpe


BACKWARD_STEPS = {f.__name__: f for f in (
    d_logits, d_norm, d_gain, d_shift, d_linear, d_act, d_probs, d_v, d_softmax, d_q, d_k, d_attn, d_add, d_head,
    d_wte, d_wpe,
)} | {"kept": lambda name, x: x, "decay": 0.0}  # fmt: skip


def backward(activations, params, n_head, eps=1e-5, **steps):
    """The gradients, "grad.NAME", of the activations and parameters; steps as in ``forward``."""
    m = SimpleNamespace(**BACKWARD_STEPS | steps, a=activations, p=params, n_head=n_head, eps=eps)
    a, g = activations, {}

    def keep(name, x):
        g[f"grad.{name}"] = m.kept(name, x) + (m.decay * params[name] if name in params else 0)
        return g[f"grad.{name}"]

    def linear_back(dy, x, name, function=m.d_linear):
        dx, dweight, dbias = function(m, dy, a[x], name)
        keep(f"{name}.weight", dweight), keep(f"{name}.bias", dbias)
        return dx

    def norm_back(dy, x, name):
        keep(f"{name}.weight", m.d_gain(m, dy, a[x], name)), keep(f"{name}.bias", m.d_shift(m, dy, name))
        return m.d_norm(m, dy, a[x], name)

    keep("loss", np.ones(()))
    d, dhead = m.d_head(m, keep("logits", m.d_logits(m, a["logits"])), a["ln_f"])
    layers = range(len({name.split(".")[1] for name in params if name.startswith("h.")}))
    read = [f"h.{i - 1}.resid_post" if i else "embd" for i in (*layers, len(layers))]
    d = keep(read[-1], norm_back(keep("ln_f", d), read[-1], "ln_f"))
    for i in reversed(layers):
        h, attn, mlp = f"h.{i}", f"h.{i}.attn", f"h.{i}.mlp"
        y = keep(f"{mlp}.gelu", linear_back(keep(f"{mlp}.out", d), f"{mlp}.gelu", f"{mlp}.c_proj"))
        y = keep(f"{mlp}.fc", m.d_act(m, y, a[f"{mlp}.fc"], a[f"{mlp}.gelu"]))
        y = norm_back(keep(f"{h}.ln_2", linear_back(y, f"{h}.ln_2", f"{mlp}.c_fc")), f"{h}.resid_mid", f"{h}.ln_2")
        d = keep(f"{h}.resid_mid", m.d_add(m, d, y, f"{h}.resid_mid"))
        y = keep(f"{attn}.heads", linear_back(keep(f"{attn}.out", d), f"{attn}.heads", f"{attn}.c_proj"))
        q, k, v, probs = (a[f"{attn}.{n}"] for n in ("q", "k", "v", "probs"))
        dprobs, dv = keep(f"{attn}.probs", m.d_probs(m, y, v, i)), keep(f"{attn}.v", m.d_v(m, y, probs, i))
        s = keep(f"{attn}.scores", m.d_softmax(m, dprobs, probs))
        parts = [keep(f"{attn}.q", m.d_q(m, s, q, k)), keep(f"{attn}.k", m.d_k(m, s, q, k)), dv]
        y = keep(f"{h}.ln_1", linear_back(parts, f"{h}.ln_1", f"{attn}.c_attn", m.d_attn))
        d = keep(read[i], m.d_add(m, d, norm_back(y, read[i], f"{h}.ln_1"), read[i]))
    keep("wte.weight", m.d_wte(m, d, dhead)), keep("wpe.weight", m.d_wpe(m, d))
    return g
