"""Mistakes in a hand-written backward pass.

The commonest, a share of a sum that is missing or counted twice, are found by ``missing_share``: the two branches of a
residual sum, the three terms of layer norm's gradient, q, k and v in the gradient of ln_1, the two uses of wte.
"""

import math

import numpy as np

from minigpt2.components.softmax import softmax_forward
from minigpt2.verification import operations
from minigpt2.verification.mistakes.feed_forward import GELUS, ROOT
from minigpt2.verification.mistakes.hypothesis import PARAMETERS, Hypothesis, label, of_result
from minigpt2.verification.mistakes.layer_norm import INPUTS
from minigpt2.verification.mistakes.output import loss_forms, wrong_mean, wrong_targets
from minigpt2.verification.operations import OPERATIONS, rows, split_heads


def logits_gradient(o):
    """The predicted distribution minus the target, divided by the number of targets that count."""
    def of_probs(function):
        def changed(t):
            y = t["logits"]
            p = np.exp(y - y.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            seen = (t["targets"] >= 0)[..., None]
            target = np.zeros_like(p)
            np.put_along_axis(target, np.where(seen, t["targets"][..., None], 0), 1.0, -1)
            return function(p, target * seen, seen, seen.sum()) * t["grad.loss"]
        return changed

    for words, function in (
        ("1 is not subtracted at the target", lambda p, q, seen, n: p * seen / n),
        ("only the target's entry is there", lambda p, q, seen, n: (p - q) * q / n),
        ("positions to be ignored (-100) get a gradient as well", lambda p, q, seen, n: (p - q) / n),
        ("target minus prediction, the wrong sign", lambda p, q, seen, n: (q - p) * seen / n),
        ("of the probabilities, -1/p at the target, not of the logits", lambda p, q, seen, n: -q / p / n),
        ("1 is added at the target", lambda p, q, seen, n: (p + q) * seen / n),
        ("1 is subtracted at the token after the target (its id + 1)",
         lambda p, q, seen, n: (p - np.roll(q, 1, -1)) * seen / n),
        ("1 is subtracted at the token before the target (its id - 1)",
         lambda p, q, seen, n: (p - np.roll(q, -1, -1)) * seen / n),
    ):  # fmt: skip
        yield Hypothesis(f"gradient of the logits: {words}", {"grad.logits": of_probs(function)}, zeros=True)


def gelu_derivatives(o):
    """Parts of GELU's derivative that are easily forgotten."""
    def of(function, at="mlp.fc"):
        def changed(t):
            x = t[at]
            tanh = np.tanh(ROOT * (x + 0.044715 * x**3))
            return function(x, tanh) * t["grad.mlp.gelu"]
        return {"grad.mlp.fc": changed}

    def d(inner=lambda x: ROOT * (1 + 3 * 0.044715 * x * x), outer=lambda tanh: 1 - tanh**2):
        return lambda x, tanh: 0.5 * (1 + tanh) + 0.5 * x * outer(tanh) * inner(x)

    for words, function in (
        ("the factor 3 of the cubic term's derivative is missing", d(lambda x: ROOT * (1 + 0.044715 * x * x))),
        ("the factor sqrt(2/pi) is missing", d(lambda x: 1 + 3 * 0.044715 * x * x)),
        ("the cubic term is missing", d(lambda x: ROOT)),
        ("the cubic term's derivative is 3 x, it should be 3 x^2", d(lambda x: ROOT * (1 + 3 * 0.044715 * x))),
        ("the cubic term's derivative has x^3, it should have x^2", d(lambda x: ROOT * (1 + 3 * 0.044715 * x**3))),
        ("2 in place of 3 in the cubic term's derivative", d(lambda x: ROOT * (1 + 2 * 0.044715 * x * x))),
        ("0.044715 stands once too often or is mistyped, 0.44715", d(lambda x: ROOT * (1 + 3 * 0.44715 * x * x))),
        ("1 - tanh in place of 1 - tanh^2", d(outer=lambda tanh: 1 - tanh)),
        ("1 + tanh^2 in place of 1 - tanh^2", d(outer=lambda tanh: 1 + tanh**2)),
        ("tanh^2 in place of 1 - tanh^2", d(outer=lambda tanh: tanh**2)),
        ("tanh in place of its derivative", d(outer=lambda tanh: tanh)),
        ("1 in place of 1 - tanh^2", d(outer=lambda tanh: 1.0)),
        ("its inner derivative is missing", d(lambda x: 1.0)),
        ("the second term, x times the derivative of tanh, is missing", lambda x, tanh: 0.5 * (1 + tanh)),
        ("the first term, (1 + tanh) / 2, is missing",
         lambda x, tanh: 0.5 * x * (1 - tanh**2) * ROOT * (1 + 3 * 0.044715 * x * x)),
        ("the factor x of the second term is missing",
         lambda x, tanh: 0.5 * (1 + tanh) + 0.5 * (1 - tanh**2) * ROOT * (1 + 3 * 0.044715 * x * x)),
        ("the factor 1/2 of the first term is missing",
         lambda x, tanh: (1 + tanh) + 0.5 * x * (1 - tanh**2) * ROOT * (1 + 3 * 0.044715 * x * x)),
        ("the factor 1/2 of the second term is missing",
         lambda x, tanh: 0.5 * (1 + tanh) + x * (1 - tanh**2) * ROOT * (1 + 3 * 0.044715 * x * x)),
        ("the factor 1/2 is missing",
         lambda x, tanh: (1 + tanh) + x * (1 - tanh**2) * ROOT * (1 + 3 * 0.044715 * x * x)),
        ("the second term has the wrong sign",
         lambda x, tanh: 0.5 * (1 + tanh) - 0.5 * x * (1 - tanh**2) * ROOT * (1 + 3 * 0.044715 * x * x)),
        ("1 - tanh in place of 1 + tanh in the first term",
         lambda x, tanh: 0.5 * (1 - tanh) + 0.5 * x * (1 - tanh**2) * ROOT * (1 + 3 * 0.044715 * x * x)),
        ("the gradient passes unchanged, as if there were no GELU", lambda x, tanh: 1.0),
        ("the GELU itself in place of its derivative", lambda x, tanh: 0.5 * x * (1 + tanh)),
    ):  # fmt: skip
        yield Hypothesis(f"GELU's derivative: {words}", of(function))
    for words, _, _, derivative in GELUS:
        if derivative is not None:
            yield Hypothesis(
                f"GELU's derivative: that of {words.split(';')[0].removesuffix(' in its place')}, while the forward "
                "pass has the tanh form", {"grad.mlp.fc": lambda t, d=derivative: d(t["mlp.fc"]) * t["grad.mlp.gelu"]},
            )  # fmt: skip
    yield Hypothesis(
        "GELU's derivative: taken at the GELU's output, it should be at its input",
        of(d(), at="mlp.gelu"),
    )


NORMS = {"grad.resid_mid": ("resid_mid", "ln_2", "grad.resid_post"), "grad.x": ("x", "ln_1", "grad.resid_mid"),
         "grad.last": ("last", "ln_f", None)}  # fmt: skip


def layer_norm_derivatives(o):
    """What is forgotten in layer norm's gradient, in all layer norms or in one."""
    def of(function, what):
        x, name, residual = NORMS[what]

        def changed(t):
            x_hat, rstd = operations.normalised(t[x], t.eps)
            dx = function(t[f"grad.{name}"], t[f"{name}.weight"], x_hat, rstd)
            return dx if residual is None else t[residual] + dx
        return changed

    def terms(dx_hat, x_hat):
        return dx_hat - _mean(dx_hat) - x_hat * _mean(dx_hat * x_hat)

    for words, function in (
        ("it is not divided by the standard deviation (rstd is missing)", lambda dy, g, h, r: terms(dy * g, h)),
        ("it is multiplied by the standard deviation, it should be divided by it",
         lambda dy, g, h, r: terms(dy * g, h) / r),
        ("it is divided by the standard deviation twice", lambda dy, g, h, r: terms(dy * g, h) * r * r),
        ("the gain is missing, dx_hat = dy weight", lambda dy, g, h, r: r * terms(dy, h)),
        ("the gain is applied after the means, it should be before", lambda dy, g, h, r: r * g * terms(dy, h)),
        ("the gain is applied twice", lambda dy, g, h, r: r * terms(dy * g * g, h)),
        ("the gradient passes unchanged, as if there were no layer norm", lambda dy, g, h, r: dy),
        ("mean and x_hat terms are missing, mean and standard deviation are taken for constants",
         lambda dy, g, h, r: r * g * dy),
        ("sums stand in place of both means", lambda dy, g, h, r: r * (dy * g - _sum(dy * g) - h * _sum(dy * g * h))),
        ("a sum stands in place of mean(dx_hat)",
         lambda dy, g, h, r: r * (dy * g - _sum(dy * g) - h * _mean(dy * g * h))),
        ("a sum stands in place of mean(dx_hat x_hat)",
         lambda dy, g, h, r: r * (dy * g - _mean(dy * g) - h * _sum(dy * g * h))),
        ("the factor x_hat of the last term is missing",
         lambda dy, g, h, r: r * (dy * g - _mean(dy * g) - _mean(dy * g * h))),
        ("the term mean(dx_hat) is missing", lambda dy, g, h, r: r * (dy * g - h * _mean(dy * g * h))),
        ("the term x_hat mean(dx_hat x_hat) is missing", lambda dy, g, h, r: r * (dy * g - _mean(dy * g))),
        ("mean(dx_hat) stands in place of mean(dx_hat x_hat)",
         lambda dy, g, h, r: r * (dy * g - _mean(dy * g) - h * _mean(dy * g))),
        ("the means are over the tokens (axis T), they should be over the channels",
         lambda dy, g, h, r: r * (dy * g - (dy * g).mean(1, keepdims=True) - h * (dy * g * h).mean(1, keepdims=True))),
        ("the means are over the whole tensor, they should be over the channels",
         lambda dy, g, h, r: r * (dy * g - (dy * g).mean() - h * (dy * g * h).mean())),
        ("the mean terms have the wrong sign",
         lambda dy, g, h, r: r * (dy * g + _mean(dy * g) + h * _mean(dy * g * h))),
        ("the variance is divided by C - 1 in it", lambda dy, g, h, r: r * (
            dy * g - _mean(dy * g) - h * _sum(dy * g * h) / (g.size - 1))),
    ):  # fmt: skip
        yield Hypothesis(f"layer norm's gradient: {words}", {what: of(function, what) for what in NORMS})
        yield Hypothesis(f"layer norm's gradient, in {NORMS[o.what][1]}: {words}", {o.what: of(function, o.what)}, 1)


def _mean(x):
    """The mean over the last axis, which stays with length 1."""
    return x.mean(-1, keepdims=True)


def _sum(x):
    """The sum over the last axis, which stays with length 1."""
    return x.sum(-1, keepdims=True)


def softmax_derivatives(o):
    """dscores = probs (dprobs - sum(dprobs probs))"""
    for words, function in (
        ("the sum over the keys is missing", lambda p, d: p * d),
        ("the factor probs is missing", lambda p, d: d - _sum(d * p)),
        ("the sum is of dprobs alone, it should be of dprobs probs", lambda p, d: p * (d - _sum(d))),
        ("the mean of dprobs probs in place of its sum", lambda p, d: p * (d - _mean(d * p))),
        ("the mean of dprobs in place of the sum of dprobs probs", lambda p, d: p * (d - _mean(d))),
        ("p (1 - p) dprobs, the diagonal of the Jacobian alone", lambda p, d: p * (1 - p) * d),
        ("the sum is over the queries (axis -2), it should be over the keys",
         lambda p, d: p * (d - (d * p).sum(-2, keepdims=True))),
        ("the sum is over the heads", lambda p, d: p * (d - (d * p).sum(1, keepdims=True))),
        ("the sum is added, it should be subtracted", lambda p, d: p * (d + _sum(d * p))),
        ("probs is multiplied once more", lambda p, d: p * p * (d - _sum(d * p))),
        ("the sum lacks the factor probs outside", lambda p, d: p * d - _sum(d * p)),
        ("it passes unchanged, as if there were no softmax", lambda p, d: d),
    ):  # fmt: skip
        def changed(t, f=function):
            return np.tril(f(t["attn.probs"], np.tril(t["grad.attn.probs"])))

        yield Hypothesis(f"softmax's gradient in attention: {words}", {"grad.attn.scores": changed})


def attention_derivatives(o):
    """The scale, and what is multiplied with what."""
    root = math.sqrt(o.t["wte.weight"].shape[1] // o.t.n_head)

    def product(n, transposed=False):
        """dscores or its transpose, times q or k."""
        def changed(t):
            d = t["grad.attn.scores"]
            return (d.swapaxes(-1, -2) if transposed else d) @ t[f"attn.{n}"] / root
        return changed

    both = {"grad.attn.q": operations.d_q, "grad.attn.k": operations.d_k}
    for words, factor in (
        (f"the scale 1/sqrt(D) = 1/{root:.4g} is missing", root),
        ("the scale 1/sqrt(D) is applied twice", 1 / root),
        ("multiplied by sqrt(D), it should be divided by it", root * root),
    ):
        every = {what: of_result(what, lambda y, f=factor: y * f) for what in both}
        yield Hypothesis(f"attention's gradient: {words}, in dq and in dk", every)
        for what in both:
            yield Hypothesis(f"attention's gradient: {words}, in d{what[-1]}", {what: every[what]}, 1)
    scores = {"grad.attn.scores": of_result("grad.attn.scores", lambda y: y * root)}
    yield Hypothesis("attention's gradient: the scale 1/sqrt(D) is missing", scores, 1)
    for words, changes in (
        ("dq is computed with q, it should be with k", {"grad.attn.q": product("q")}),
        ("dk is computed with k, it should be with q", {"grad.attn.k": product("k", transposed=True)}),
        ("dscores is not transposed in dk", {"grad.attn.k": product("q")}),
        ("dscores is transposed in dq", {"grad.attn.q": product("k", transposed=True)}),
        ("dq and dk are exchanged", {"grad.attn.q": operations.d_k, "grad.attn.k": operations.d_q}),
    ):
        yield Hypothesis(f"attention's gradient: {words}", changes)


def value_derivatives(o):
    """dv = probs^T dheads"""
    for words, function in (
        ("probs is not transposed", lambda p, s, d: p @ d),
        ("it is dheads itself, probs is missing", lambda p, s, d: d),
        ("it is computed with the scores, it should be with probs", lambda p, s, d: np.tril(s).swapaxes(-1, -2) @ d),
        ("it is computed without the mask", lambda p, s, d: softmax_forward(s.copy()).swapaxes(-1, -2) @ d),
    ):

        def changed(t, f=function):
            return f(t["attn.probs"], t["attn.scores"], split_heads(t["grad.attn.heads"], t.n_head))

        yield Hypothesis(f"attention's gradient, dv: {words}", {"grad.attn.v": changed})


def detached(o):
    """No gradient reaches q, k or v."""
    def without(operation, part):
        class Stopped(operations.Block):
            def __getitem__(self, name):
                value = super().__getitem__(name)
                return 0 * value if name == f"grad.attn.{part}" else value

        return lambda t: operation(Stopped(t.tensors, t.number))

    for part in "qkv":
        yield Hypothesis(
            f"attention's gradient: none reaches {part} (is it detached?)",
            {what: without(OPERATIONS[what][0], part)
             for what in ("grad.attn.c_attn.weight", "grad.attn.c_attn.bias", "grad.ln_1")}, zeros=True,
        )  # fmt: skip


def decay_in_loss(o):
    """A multiple of each parameter is added to its gradient."""
    if o.actual is None:
        return
    weight = o.t[o.what.removeprefix("grad.")]
    factor = np.vdot(weight, o.actual - o.right) / np.vdot(weight, weight)
    if abs(factor) > 1e-9:
        for words, whats in (("of every parameter", PARAMETERS), ("of this kind", [o.what])):
            yield Hypothesis(
                f"gradients: {factor:.4g} times the parameter {words} is added: weight decay (L2) in the loss; "
                "in GPT-2 it is the optimizer's",
                {what: _with_decay(what, factor) for what in whats}, 1 + (len(whats) == 1),
            )  # fmt: skip


def _with_decay(what, factor):
    """The operation of a parameter's gradient, with factor times the parameter added."""
    add = of_result(what, lambda y: y)
    return lambda t: add(t) + factor * t[what.removeprefix("grad.")]


def scaled_loss(o):
    """The gradient of the loss is not 1."""
    if o.actual is not None and o.actual.size == 1 and float(o.actual) not in (0.0, 1.0):
        yield Hypothesis(
            f"the loss was multiplied by {float(o.actual):.6g} before the backward pass (a GradScaler, "
            "or accumulation?)",
            {"grad.loss": of_result("grad.loss", lambda y: y * float(o.actual))}, 1, harmless=True,
        )  # fmt: skip


def probs_derivatives(o):
    """dprobs = dheads v^T"""
    yield Hypothesis(
        "attention's gradient, dprobs: it is computed with k, it should be with v",
        {"grad.attn.probs": lambda t: split_heads(t["grad.attn.heads"], t.n_head) @ t["attn.k"].swapaxes(-1, -2)},
    )
    yield Hypothesis(
        "attention's gradient, dscores: softmax's gradient is left out, it is dprobs",
        {"grad.attn.scores": lambda t: t["grad.attn.probs"]},
    )
    yield Hypothesis(
        "attention's gradient: dheads is reshaped to (B, H, T, D) at once; reshape to (B, T, H, D), then exchange T "
        "and H",
        {what: _with_unmoved_heads(OPERATIONS[what][0]) for what in ("grad.attn.probs", "grad.attn.v")},
    )


def _with_unmoved_heads(operation):
    """The operation, with dheads (B, T, C) reshaped to (B, H, T, D) at once."""
    class Unmoved(operations.Block):
        def __getitem__(self, name):
            x = super().__getitem__(name)
            if name != "grad.attn.heads":
                return x
            B, T, C = x.shape
            return operations.merge_heads(x.reshape(B, self.n_head, T, C // self.n_head))

    return lambda t: operation(Unmoved(t.tensors, t.number))


def embedding_gradient(o):
    """The embedding's share: `=` where `+=` belongs, a token's places added once."""
    def with_share(function):
        def changed(t):
            head = 0 if t.head != "wte.weight" else operations.d_head(t)
            return head + function(t)
        return {"grad.wte.weight": changed}

    def assigned(t):
        dwte = np.zeros(t["wte.weight"].shape)
        dwte[t["ids"]] = t["grad.embd"]
        return dwte

    def overwritten(t):
        dwte = operations.d_head(t)
        dwte[t["ids"]] = t["grad.embd"]
        return dwte

    def overwritten_by_sum(t):
        dwte, share = operations.d_head(t), operations.d_tokens(t)
        used = np.unique(t["ids"])
        dwte[used] = share[used]
        return dwte

    def averaged(t):
        count = np.bincount(t["ids"].ravel(), minlength=len(t["wte.weight"]))
        return operations.d_tokens(t) / np.maximum(count, 1)[:, None]

    def first(t):
        dwte = np.zeros(t["wte.weight"].shape)
        ids, d = t["ids"].ravel()[::-1], rows(t["grad.embd"])[::-1]
        dwte[ids] = d
        return dwte

    def rowwise(t):
        dwte = np.zeros(t["wte.weight"].shape)
        for ids, d in zip(t["ids"], t["grad.embd"], strict=True):
            dwte[ids] += d
        return dwte

    def stepwise(t):
        dwte = np.zeros(t["wte.weight"].shape)
        for n in range(t["ids"].shape[1]):
            dwte[t["ids"][:, n]] += t["grad.embd"][:, n]
        return dwte

    at = "where a token stands several times"
    for words, changes in (
        (f"= (or d[ids] += g, which adds once) in place of a sum: {at}, only its last place counts",
         with_share(assigned)),
        (f"{at}, only its first place counts", with_share(first)),
        (f"{at} in a sequence, only its last place there counts (d[ids] += g adds once)", with_share(rowwise)),
        (f"{at} in the batch at one position, only the last sequence counts (d[ids] += g adds once)",
         with_share(stepwise)),
        ("the embedding's share overwrites the output layer's in the rows of the tokens that occur; += for =",
         {"grad.wte.weight": overwritten_by_sum}),
        (f"the embedding's share overwrites the output layer's, and {at}, only its last place counts",
         {"grad.wte.weight": overwritten}),
        (f"{at}, the mean of its places in place of their sum", with_share(averaged)),
    ):
        yield Hypothesis(f"gradient of wte: {words}", changes)


def untied_head(o):
    """With the output layer tied to wte, its gradient has two shares."""
    if o.t.head != "wte.weight":
        return
    lacks = "the gradient of wte lacks the"
    yield Hypothesis(f"output layer: not tied to the token embedding, {lacks} output layer's share",
                     {"grad.wte.weight": operations.d_tokens})  # fmt: skip
    yield Hypothesis(f"output layer: not tied to the token embedding, or the embedding is frozen: {lacks} "
                     "embedding's share", {"grad.wte.weight": operations.d_head})  # fmt: skip


def parts_of_the_batch(o):
    """A parameter's gradient from a part of the tokens only, or a mean where a sum belongs."""
    B, T = o.t["ids"].shape
    operation = OPERATIONS[o.what][0]

    def of(sequences, positions):
        return {o.what: lambda t: operation(_Part(t, sequences, positions))}

    name = label(o.what)
    if B > 1:
        yield Hypothesis(
            f"{name}: only the last sequence counts (= for +=, or the sum over B is missing)",
            of(slice(-1, None), slice(None)),
        )  # fmt: skip
        yield Hypothesis(f"{name}: only the first sequence counts", of(slice(0, 1), slice(None)))
        if B > 2:
            yield Hypothesis(f"{name}: the last sequence does not count", of(slice(0, -1), slice(None)))
            yield Hypothesis(f"{name}: the first sequence does not count", of(slice(1, None), slice(None)))
    if T > 1:
        yield Hypothesis(f"{name}: only the last position counts", of(slice(None), slice(-1, None)))
        yield Hypothesis(f"{name}: only the first position counts", of(slice(None), slice(0, 1)))
        yield Hypothesis(f"{name}: the last position does not count", of(slice(None), slice(0, -1)))
        yield Hypothesis(f"{name}: the first position does not count", of(slice(None), slice(1, None)))
    if B > 1 and T > 1:
        yield Hypothesis(
            f"{name}: only the last token of the last sequence counts (= for +=)", of(slice(-1, None), slice(-1, None)),
        )  # fmt: skip
        yield Hypothesis(f"{name}: only the first token of the first sequence counts", of(slice(0, 1), slice(0, 1)))


class _Part(operations.Block):
    """Some sequences and positions of the activations; weights whole."""

    def __init__(self, t, sequences, positions):
        super().__init__(t.tensors, t.number)
        self._sequences, self._positions = sequences, positions

    def __getitem__(self, name):
        x = super().__getitem__(name)
        if name.endswith((".weight", ".bias")) or not x.ndim:
            return x
        x = x[self._sequences]
        return x[:, :, self._positions] if x.ndim == 4 else x[:, self._positions]


def inner_loop(o):
    """A bias is added up once for every input of its layer."""
    C = o.t["wte.weight"].shape[1]
    inputs = {"grad.attn.c_attn.bias": C, "grad.attn.c_proj.bias": C, "grad.mlp.c_fc.bias": C,
              "grad.mlp.c_proj.bias": o.t["mlp.c_proj.weight"].shape[0]}  # fmt: skip
    yield Hypothesis(
        "gradients of the biases: too large by the number of inputs of the layer, dbias is added up in the innermost "
        "loop",
        {what: of_result(what, lambda y, n=n: y * n) for what, n in inputs.items()},
    )
    n = inputs[o.what]
    yield Hypothesis(
        f"{label(o.what)}: {n} times what it should be, it is added up once for each of the layer's {n} inputs",
        {o.what: of_result(o.what, lambda y: y * n)}, 1,
    )  # fmt: skip


def position_gradient(o):
    """dwpe = the sum over the batch of dembd"""
    def changed(function):
        def operation(t):
            dwpe = np.zeros(t["wpe.weight"].shape)
            part = function(t["grad.embd"])
            dwpe[: len(part)] = part
            return dwpe
        return {"grad.wpe.weight": operation}

    for words, function in (
        ("the mean over the batch in place of the sum", lambda d: d.mean(0)),
        ("only the last sequence counts (= for +=)", lambda d: d[-1]),
        ("only the first sequence counts", lambda d: d[0]),
        ("off by one row", lambda d: np.concatenate([0 * d.sum(0)[:1], d.sum(0)[:-1]])),
        ("summed over the positions too, all in row 0", lambda d: d.sum((0, 1))[None]),
        ("each row has the sum over all positions", lambda d: np.broadcast_to(d.sum((0, 1)), d.shape[1:])),
    ):
        yield Hypothesis(f"gradient of wpe: {words}", changed(function))


def gain_gradient(o):
    """dweight = sum of dy x_hat, dbias = sum of dy"""
    name = o.what.removeprefix("grad.").removesuffix(".weight")
    x = INPUTS[name]
    for words, function in (
        ("x_hat is missing, it is the shift's gradient", lambda t: t[f"grad.{name}"].sum((0, 1))),
        ("it is computed with x, it should be with x_hat", lambda t: (t[f"grad.{name}"] * t[x]).sum((0, 1))),
        ("it is computed with the output y, it should be with x_hat",
         lambda t: (t[f"grad.{name}"] * t[name]).sum((0, 1))),
        ("it is computed with x - mean, rstd is missing",
         lambda t: (t[f"grad.{name}"] * (t[x] - _mean(t[x]))).sum((0, 1))),
        ("it is multiplied by the gain", lambda t: operations.d_gain(t, x, name) * t[f"{name}.weight"]),
    ):  # fmt: skip
        yield Hypothesis(f"gradient of {name}'s gain: {words}", {o.what: function})


def shift_gradient(o):
    """dbias = sum of dy, in layer norm."""
    name = o.what.removeprefix("grad.").removesuffix(".bias")
    yield Hypothesis(
        f"gradient of {name}'s shift: it is multiplied by the gain",
        {o.what: lambda t: t[f"grad.{name}"].sum((0, 1)) * t[f"{name}.weight"]},
    )


def accumulated(o):
    """All parameters' gradients are a multiple of what they should be: a second backward pass, or none zeroed."""
    for factor, times, why in (
        (2, "twice", ": added to those of a pass before (not zeroed)"),
        (3, "three times", ": added up over passes (not zeroed)"),
        (4, "four times", ": added up over passes (not zeroed)"),
        (0.5, "half of", ""),
    ):
        yield Hypothesis(
            f"gradients: the parameters' are {times} what they should be, though those of the activations are right"
            f"{why}",
            {what: of_result(what, lambda y, f=factor: y * f) for what in PARAMETERS},
        )


BACKWARD = {
    "grad.logits": (wrong_targets, wrong_mean, logits_gradient, loss_forms),
    "grad.loss": (scaled_loss, wrong_mean),
    "grad.ln_1": (detached,),
    "grad.mlp.fc": (gelu_derivatives,),
    **dict.fromkeys(NORMS, (layer_norm_derivatives,)),
    "grad.attn.scores": (softmax_derivatives,),
    **dict.fromkeys(("grad.attn.q", "grad.attn.k"), (attention_derivatives,)),
    "grad.attn.v": (value_derivatives,),
    "grad.attn.probs": (probs_derivatives,),
    **dict.fromkeys(PARAMETERS, (accumulated, decay_in_loss, parts_of_the_batch)),
    **{f"grad.{name}.bias": (accumulated, decay_in_loss, inner_loop, *([detached] if name == "attn.c_attn" else []),
       parts_of_the_batch) for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")},
    "grad.attn.c_attn.weight": (accumulated, decay_in_loss, detached, parts_of_the_batch),
    "grad.wte.weight": (untied_head, accumulated, decay_in_loss, embedding_gradient, parts_of_the_batch),
    "grad.wpe.weight": (accumulated, decay_in_loss, position_gradient),
    **dict.fromkeys(("grad.ln_1.weight", "grad.ln_2.weight", "grad.ln_f.weight"), (
        accumulated, decay_in_loss, gain_gradient, parts_of_the_batch)),
    **dict.fromkeys(("grad.ln_1.bias", "grad.ln_2.bias", "grad.ln_f.bias"), (
        accumulated, decay_in_loss, shift_gradient, parts_of_the_batch)),
}  # fmt: skip
