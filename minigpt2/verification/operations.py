"""GPT-2 one operation at a time: every tensor of a trace from the tensors that it is computed from.

A trace of another GPT-2 is checked with it operation by operation: each of *their* tensors is recomputed from *their*
inputs, so that a mistake shows in the operation that makes it, and nothing after it is blamed.

An operation is a function of ``t``, the tensors of one block: in block 3, ``t["attn.q"]`` is h.3.attn.q, ``t["x"]`` is
what the block reads, h.2.resid_post, and ``t["grad.x"]`` is its gradient. A result that is a sum comes as a dict from
what a share is to the share. Everything is computed in float64, with the functions of ``components/`` where they fit.
Shape letters: B batch, T time, C channels, H heads, D head size, V vocabulary, N = B T.
"""

import math
import re

import numpy as np

from minigpt2.components.feed_forward import gelu_backward, gelu_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.verification.names import BLOCK, is_parameter, place

# ------------------------------------------------------------------------------------------------- the forward pass


def embedding(t):
    """The rows of wte and wpe for the ids (B, T): (B, T, C)"""
    tokens = t["wte.weight"][t["ids"]]
    positions = np.broadcast_to(t["wpe.weight"][: tokens.shape[1]], tokens.shape)
    return {"the token embedding": tokens, "the position embedding": positions}


def layer_norm(t, x, name):
    """The layer norm ``name`` of the tensor called x."""
    x_hat, _ = normalised(t[x], t.eps)
    return x_hat * t[f"{name}.weight"] + t[f"{name}.bias"]


def normalised(x, eps):
    """x_hat and 1 / sqrt(variance + eps), for the last dimension."""
    centred = x - x.mean(-1, keepdims=True)
    rstd = 1.0 / np.sqrt((centred * centred).mean(-1, keepdims=True) + eps)
    return centred * rstd, rstd


def affine(t, x, layer):
    """x W + b"""
    y = t[x] @ t[f"{layer}.weight"]
    return {"the product with the weight": y, "the bias": np.broadcast_to(t[f"{layer}.bias"], y.shape)}


def project(t, part):
    """Part 0, 1 or 2 (q, k, v) of c_attn's output, cut into heads: (B, T, C) -> (B, H, T, D)."""
    C = t["ln_1"].shape[-1]
    columns = slice(part * C, (part + 1) * C)
    y = split_heads(t["ln_1"] @ t["attn.c_attn.weight"][:, columns], t.n_head)
    bias = split_heads(t["attn.c_attn.bias"][columns].reshape(1, 1, C), t.n_head)
    return {"the product with the weight": y, "the bias": np.broadcast_to(bias, y.shape)}


def split_heads(x, n_head):
    """(B, T, C) -> (B, H, T, D)"""
    return x.reshape(*x.shape[:2], n_head, -1).swapaxes(1, 2)


def merge_heads(x):
    """(B, H, T, D) -> (B, T, C)"""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def scores(t):
    """q k^T / sqrt(D), without the mask: (B, H, T, T)"""
    return t["attn.q"] @ t["attn.k"].swapaxes(-1, -2) / math.sqrt(t["attn.q"].shape[-1])


def probs(t):
    """The attention weights (B, H, T, T)"""
    return masked_softmax(t["attn.scores"])


def masked_softmax(scores, ahead=0):
    """Softmax over the keys that a token sees: those up to ``ahead`` after itself."""
    future = np.triu(np.ones(scores.shape[-2:], bool), 1 + ahead)
    return softmax_forward(np.where(future, -np.inf, scores))  # NaN in a row that sees nothing


def heads(t):
    """probs v, the heads side by side: (B, T, C)"""
    return merge_heads(t["attn.probs"] @ t["attn.v"])


def logits(t):
    """ln_f wte^T (B, T, V), or with the matrix of an output layer of its own"""
    return t["ln_f"] @ t[t.head].T


def loss(t):
    """The mean cross-entropy ()"""
    return np.asarray(cross_entropy_forward(t["logits"], t["targets"], t.label_smoothing)[0])


# ------------------------------------------------------------------------------------------------ the backward pass


def d_logits(t):
    """(B, T, V)"""
    _, cache = cross_entropy_forward(t["logits"], t["targets"], t.label_smoothing)
    return cross_entropy_backward(1.0, cache) * t["grad.loss"]


def d_ln_f(t):
    """(B, T, C)"""
    return t["grad.logits"] @ t[t.head]


def d_layer_norm(t, x, name):
    """The three shares of the gradient of a layer norm's input."""
    x_hat, rstd = normalised(t[x], t.eps)
    dx_hat = t[f"grad.{name}"] * t[f"{name}.weight"]
    return {
        f"{name}'s term dx_hat": rstd * dx_hat,
        f"{name}'s term mean(dx_hat)": np.broadcast_to(-rstd * dx_hat.mean(-1, keepdims=True), dx_hat.shape),
        f"{name}'s term x_hat mean(dx_hat x_hat)": -rstd * x_hat * (dx_hat * x_hat).mean(-1, keepdims=True),
    }


def d_gain(t, x, name):
    """The gradient (C,) of a layer norm's gain, x the name of its input"""
    return (t[f"grad.{name}"] * normalised(t[x], t.eps)[0]).sum((0, 1))


def d_shift(t, name):
    """The gradient (C,) of a layer norm's shift"""
    return t[f"grad.{name}"].sum((0, 1))


def d_input(t, dy, layer):
    """dy W^T"""
    return t[dy] @ t[f"{layer}.weight"].T


def d_weight(t, x, dy):
    """x^T dy"""
    return rows(t[x]).T @ rows(t[dy])


def d_bias(t, dy):
    """The sum (C,) of dy over B and T"""
    return t[dy].sum((0, 1))


def rows(x):
    """(B, T, C) -> (N, C)"""
    return x.reshape(-1, x.shape[-1])


def d_gelu(t):
    """(B, T, 4C)"""
    _, cache = gelu_forward(t["mlp.fc"])
    return gelu_backward(t["grad.mlp.gelu"], cache)


def d_heads(t):
    """(B, T, C)"""
    return t["grad.attn.out"] @ t["attn.c_proj.weight"].T


def d_probs(t):
    """dheads v^T (B, H, T, T)"""
    return split_heads(t["grad.attn.heads"], t.n_head) @ t["attn.v"].swapaxes(-1, -2)


def d_v(t):
    """probs^T dheads (B, H, T, D)"""
    return t["attn.probs"].swapaxes(-1, -2) @ split_heads(t["grad.attn.heads"], t.n_head)


def d_scores(t):
    """(B, H, T, T)"""
    return softmax_backward(t["grad.attn.probs"], t["attn.probs"])


def d_q(t):
    """dscores k / sqrt(D): (B, H, T, D)"""
    return t["grad.attn.scores"] @ t["attn.k"] / math.sqrt(t["attn.k"].shape[-1])


def d_k(t):
    """dscores^T q / sqrt(D): (B, H, T, D)"""
    return t["grad.attn.scores"].swapaxes(-1, -2) @ t["attn.q"] / math.sqrt(t["attn.q"].shape[-1])


def d_ln_1(t):
    """The shares (B, T, C) of q, k and v, each times its third of W_attn^T"""
    C = t["attn.c_attn.weight"].shape[0]
    weights = np.split(t["attn.c_attn.weight"], [C, 2 * C], -1)
    return {
        f"the share of {name}": merge_heads(t[f"grad.attn.{name}"]) @ weight.T
        for name, weight in zip("qkv", weights, strict=True)
    }


def d_qkv(t):
    """(B, T, 3C)"""
    return np.concatenate([merge_heads(t[f"grad.attn.{name}"]) for name in "qkv"], -1)


def d_c_attn(t):
    """ln_1^T (dq, dk, dv): (C, 3C)"""
    return rows(t["ln_1"]).T @ rows(d_qkv(t))


def d_c_attn_bias(t):
    """(3C,)"""
    return d_qkv(t).sum((0, 1))


def d_resid_mid(t):
    """The residual branch, and what comes back through ln_2: (B, T, C)"""
    return {"the residual branch": t["grad.resid_post"], **d_layer_norm(t, "resid_mid", "ln_2")}


def d_stream(t):
    """The gradient (B, T, C) of a block's input"""
    return {"the residual branch": t["grad.resid_mid"], **d_layer_norm(t, "x", "ln_1")}


def d_head(t):
    """dlogits^T ln_f, the gradient of the output layer's matrix."""
    return rows(t["grad.logits"]).T @ rows(t["ln_f"])


def d_tokens(t):
    """The embedding's share of the gradient of wte: each row is the sum over the places where its token stands."""
    dwte = np.zeros(t["wte.weight"].shape)
    np.add.at(dwte, t["ids"], t["grad.embd"])
    return dwte


def d_wte(t):
    """The shares (V, C) of the output layer, if it is tied, and of the embedding"""
    embedding = {"the embedding's share": d_tokens(t)}
    return embedding if t.head != "wte.weight" else {"the output layer's share": d_head(t)} | embedding


def d_wpe(t):
    """The sum of dembd over B, 0 in rows that are not used: (P, C)"""
    dwpe = np.zeros(t["wpe.weight"].shape)
    dwpe[: t["grad.embd"].shape[1]] = t["grad.embd"].sum(0)
    return dwpe


def of(operation, *arguments):
    """The operation with these arguments after ``t``."""
    return lambda t: operation(t, *arguments)


# From what a tensor is, its name without the number of the block, to its operation and the formula in words. "grad.x"
# is the gradient of what a block reads: grad.embd, or grad.h.{i}.resid_post of the block before.
OPERATIONS = {
    "embd": (embedding, "wte[ids] + wpe[0 ... T-1]"),
    "ln_1": (of(layer_norm, "x", "ln_1"), "layer_norm(x)"),
    "attn.q": (of(project, 0), "first third of ln_1 W_attn + b_attn, cut into heads"),
    "attn.k": (of(project, 1), "second third of ln_1 W_attn + b_attn, cut into heads"),
    "attn.v": (of(project, 2), "last third of ln_1 W_attn + b_attn, cut into heads"),
    "attn.scores": (scores, "q k^T / sqrt(D)"),
    "attn.probs": (probs, "softmax(scores), masked where the key comes after the query"),
    "attn.heads": (heads, "probs v, the heads side by side"),
    "attn.out": (of(affine, "attn.heads", "attn.c_proj"), "heads W_proj + b_proj"),
    "resid_mid": (lambda t: {"the residual branch": t["x"], "attention's output": t["attn.out"]}, "x + attn.out"),
    "ln_2": (of(layer_norm, "resid_mid", "ln_2"), "layer_norm(resid_mid)"),
    "mlp.fc": (of(affine, "ln_2", "mlp.c_fc"), "ln_2 W_fc + b_fc"),
    "mlp.gelu": (lambda t: gelu_forward(t["mlp.fc"])[0], "gelu(fc), tanh form"),
    "mlp.out": (of(affine, "mlp.gelu", "mlp.c_proj"), "gelu W_proj + b_proj"),
    "resid_post": (
        lambda t: {"the residual branch": t["resid_mid"], "the feed-forward network's output": t["mlp.out"]},
        "resid_mid + mlp.out",
    ),
    "ln_f": (of(layer_norm, "last", "ln_f"), "layer_norm(the last resid_post)"),
    "logits": (logits, "ln_f wte^T"),
    "loss": (loss, "mean over the targets that count of -log softmax(logits)[target]"),
    "grad.loss": (lambda t: np.ones(()), "1"),
    "grad.logits": (d_logits, "(softmax(logits) - one_hot(target)) / number of targets that count"),
    "grad.ln_f": (d_ln_f, "dlogits wte"),
    "grad.last": (of(d_layer_norm, "last", "ln_f"), "layer_norm_backward(dln_f)"),
    "grad.x": (d_stream, "dresid_mid + layer_norm_backward(dln_1)"),
    "grad.mlp.out": (lambda t: t["grad.resid_post"], "dresid_post"),
    "grad.mlp.gelu": (of(d_input, "grad.mlp.out", "mlp.c_proj"), "dout W_proj^T"),
    "grad.mlp.fc": (d_gelu, "gelu_backward(dgelu)"),
    "grad.ln_2": (of(d_input, "grad.mlp.fc", "mlp.c_fc"), "dfc W_fc^T"),
    "grad.resid_mid": (d_resid_mid, "dresid_post + layer_norm_backward(dln_2)"),
    "grad.attn.out": (lambda t: t["grad.resid_mid"], "dresid_mid"),
    "grad.attn.heads": (d_heads, "dout W_proj^T"),
    "grad.attn.probs": (d_probs, "dheads v^T"),
    "grad.attn.v": (d_v, "probs^T dheads"),
    "grad.attn.scores": (d_scores, "probs (dprobs - sum(dprobs probs))"),
    "grad.attn.q": (d_q, "dscores k / sqrt(D)"),
    "grad.attn.k": (d_k, "dscores^T q / sqrt(D)"),
    "grad.ln_1": (d_ln_1, "(dq, dk, dv) W_attn^T"),
    "grad.attn.c_attn.weight": (d_c_attn, "ln_1^T (dq, dk, dv)"),
    "grad.attn.c_attn.bias": (d_c_attn_bias, "sum over B and T of (dq, dk, dv)"),
    "grad.attn.c_proj.weight": (of(d_weight, "attn.heads", "grad.attn.out"), "heads^T dout"),
    "grad.attn.c_proj.bias": (of(d_bias, "grad.attn.out"), "sum over B and T of dout"),
    "grad.mlp.c_fc.weight": (of(d_weight, "ln_2", "grad.mlp.fc"), "ln_2^T dfc"),
    "grad.mlp.c_fc.bias": (of(d_bias, "grad.mlp.fc"), "sum over B and T of dfc"),
    "grad.mlp.c_proj.weight": (of(d_weight, "mlp.gelu", "grad.mlp.out"), "gelu^T dout"),
    "grad.mlp.c_proj.bias": (of(d_bias, "grad.mlp.out"), "sum over B and T of dout"),
    "grad.ln_1.weight": (of(d_gain, "x", "ln_1"), "sum over B and T of dln_1 x_hat"),
    "grad.ln_1.bias": (of(d_shift, "ln_1"), "sum over B and T of dln_1"),
    "grad.ln_2.weight": (of(d_gain, "resid_mid", "ln_2"), "sum over B and T of dln_2 x_hat"),
    "grad.ln_2.bias": (of(d_shift, "ln_2"), "sum over B and T of dln_2"),
    "grad.ln_f.weight": (of(d_gain, "last", "ln_f"), "sum over B and T of dln_f x_hat"),
    "grad.ln_f.bias": (of(d_shift, "ln_f"), "sum over B and T of dln_f"),
    "grad.lm_head.weight": (d_head, "dlogits^T ln_f"),
    "grad.wte.weight": (d_wte, "dlogits^T ln_f + the sum of dembd over the places of each token"),
    "grad.wpe.weight": (d_wpe, "sum over B of dembd"),
}


# ------------------------------------------------------------------------------------- all tensors, recomputed at need


class Tensors:
    """Their tensors; what is not recorded, or is asked for with ``compute``, is computed from the others.

    ours:    a trace with its weights, from which come ids, targets and the weights that theirs lacks
    theirs:  dict from our name to array, in the shape of ours
    eps, label_smoothing: of our model
    changes: dict from what a tensor is, a key of OPERATIONS, or a pair of this and the number of a block, to the
        function that replaces its operation
    base:    Tensors of the same, from which everything is taken that is not in ``only``, a set of names
    """

    def __init__(self, ours, theirs, eps, label_smoothing=0.0, changes=None, base=None, only=()):
        self.ours, self.theirs, self.eps, self.label_smoothing = ours, theirs, eps, label_smoothing
        self.changes, self.base, self.only = changes or {}, base, only
        self.n_head = ours["h.0.attn.q"].shape[1] if "h.0.attn.q" in ours else 1
        self.n_layer = sum(re.fullmatch(r"h\.\d+\.resid_post", name) is not None for name in ours)
        self.head = "lm_head.weight" if "lm_head.weight" in ours else "wte.weight"
        self.values, self.computed, self.read = {}, {}, {}
        self._reading = []

    def trial(self, changes, only):
        """The same with other operations for the names in ``only``."""
        return Tensors(self.ours, self.theirs, self.eps, self.label_smoothing, changes, self, only)

    def without(self, names):
        """The same as if ``names`` were not recorded."""
        theirs = {name: x for name, x in self.theirs.items() if name not in names}
        only = self.after(set(names)) | set(names)
        return Tensors(self.ours, theirs, self.eps, self.label_smoothing, self.changes, self, only)

    def changed(self, changes):
        """The same with operations replaced."""
        seeds = {name for name in self.ours if self.what(name)[0] in changes or self.what(name) in changes}
        only = self.after({name for name in seeds if name not in self.theirs}) | seeds
        return Tensors(self.ours, self.theirs, self.eps, self.label_smoothing, self.changes | changes, self, only)

    def after(self, names):
        """What is computed from tensors with these names, directly or through others that are not recorded."""
        found, values = set(), set(names)
        for name in sorted(self.ours, key=place):
            try:
                reads = self.reads(name)
            except KeyError:
                continue
            if not values.isdisjoint(reads):
                found.add(name)
                if name not in self.theirs:
                    values.add(name)
        return found

    def __getitem__(self, name):
        """The tensor that later ones are computed from: theirs, or, if it is not recorded, computed.

        raises: KeyError when it is neither recorded nor can be computed.
        """
        if self._reading:
            self.read.setdefault(self._reading[-1], {})[name] = True
        if name in self.values:
            return self.values[name]
        if name in ("ids", "targets"):
            value = self.ours[name]
        elif self.base is not None and name not in self.only:
            return self.base[name]
        elif name in self.theirs:
            value = self.theirs[name].astype(np.float64)
            if name.endswith("attn.scores") and not name.startswith("grad."):
                value = self._with_future(name, value)
        elif is_parameter(name):
            value = self.ours[name].astype(np.float64)
        else:
            value = self.compute(name)
        self.values[name] = value
        return value

    def _with_future(self, name, recorded):
        """Scores as far as they count, and q k^T in the same proportion where a mask may have been added."""
        try:
            full = self.compute(name)
        except KeyError:
            return recorded
        seen = np.tri(*full.shape[-2:], dtype=bool) & np.isfinite(recorded)
        inside, right = np.where(seen, recorded, 0), np.where(seen, full, 0)
        size = np.vdot(right, right)
        factor = np.vdot(right, inside) / size if size else 1.0
        return np.where(seen, recorded, factor * full)

    def compute(self, name):
        """The tensor as the operations make it from the others, whether it is recorded or not."""
        if self.base is not None and name not in self.only:
            return self.base.compute(name)
        if name not in self.computed:
            result = self.shares(name)
            self.computed[name] = sum(result.values()) if isinstance(result, dict) else result
        return self.computed[name]

    def shares(self, name):
        """The same as its operation returns it: an array, or a dict of shares."""
        if self.base is not None and name not in self.only:
            return self.base.shares(name)
        what, block = self.what(name)
        if what not in OPERATIONS:
            raise KeyError(name)
        if name in self._reading:  # a changed operation may need what is computed from its own result
            raise KeyError(name)
        operation = self.changes.get((what, block)) or self.changes.get(what) or OPERATIONS[what][0]
        self._reading.append(name)
        try:
            return operation(Block(self, block))
        finally:
            self._reading.pop()

    def what(self, name):
        """What a tensor is, a key of OPERATIONS, and the number of its block, None outside the blocks."""
        if name == "grad.embd":
            return "grad.x" if self.n_layer else "grad.last", 0 if self.n_layer else None
        if match := re.fullmatch(r"grad\.h\.(\d+)\.resid_post", name):
            after = int(match[1]) + 1
            return ("grad.x", after) if after < self.n_layer else ("grad.last", None)
        if match := re.fullmatch(r"(grad\.)?h\.(\d+)\.(.+)", name):
            return (match[1] or "") + match[3], int(match[2])
        return name, None

    def sources(self, name):
        """What ``compute(name)`` is computed from: names of recorded tensors, and of those between, in order of use."""
        recorded, between, todo = {}, {}, list(self.reads(name))
        while todo:
            each = todo.pop(0)
            if each in recorded or each in between:
                continue
            if each in self.theirs or each in ("ids", "targets") or (each in self.ours and is_parameter(each)):
                recorded[each] = True
            else:
                between[each] = True
                todo += self.reads(each)
        return list(recorded), list(between)

    def known(self):
        """All tensors that are recorded or have been computed: dict from name to array."""
        values = {} if self.base is None else self.base.known()
        return values | {name: x for name, x in self.theirs.items() if name not in values} | self.values

    def reads(self, name):
        """What the operation of a tensor reads; KeyError if it cannot be computed."""
        if self.base is not None and name not in self.only:
            return self.base.reads(name)
        self.compute(name)
        return self.read.get(name, ())


class Block:
    """The tensors of one block, for an operation."""

    def __init__(self, tensors, number):
        self.tensors, self.number = tensors, number
        self.eps, self.n_head, self.head = tensors.eps, tensors.n_head, tensors.head
        self.label_smoothing, self.n_layer = tensors.label_smoothing, tensors.n_layer

    def __getitem__(self, name):
        return self.tensors[self.full(name)]

    def full(self, name):
        """The name in a trace."""
        grad, plain = ("grad.", name[5:]) if name.startswith("grad.") else ("", name)
        if plain == "last":
            plain = f"h.{self.n_layer - 1}.resid_post" if self.n_layer else "embd"
        elif plain == "x":
            plain = f"h.{self.number - 1}.resid_post" if self.number else "embd"
        elif plain in BLOCK and self.number is not None:
            plain = f"h.{self.number}.{plain}"
        return grad + plain

    def same(self, full):
        """The function (another block) -> the name of what is to it as ``full`` is to this one.

        The block's input is "x", whatever it is called: embd for the first block, h.2.resid_post for block 3.
        """
        grad, plain = ("grad.", full[5:]) if full.startswith("grad.") else ("", full)
        if self.number is None:
            return lambda other: full
        if full == self.full(f"{grad}x"):
            return lambda other: other.full(f"{grad}x")

        def moved(other):
            return grad + re.sub(r"^h\.(\d+)", lambda m: f"h.{int(m[1]) + other.number - self.number}", plain)

        return moved

    def of(self, number):
        """Another block."""
        return Block(self.tensors, number)
