"""Mistakes in layer norms: other variances, other eps, other axes, another place."""

import numpy as np

from minigpt2.verification.mistakes.hypothesis import Hypothesis, relative
from minigpt2.verification.operations import normalised

INPUTS = {"ln_1": "x", "ln_2": "resid_mid", "ln_f": "last"}  # what each layer norm reads


def layer_norms(o):
    """Other ways to normalise, all with the right weights and input."""
    _, name = _norm(o.what)
    for words, key, form in LAYER_NORMS:
        changes = {what: _layer_norm_of(what, form) for what in INPUTS}
        if key is not None:
            changes |= _layer_norm_backward(key)
        words = words.replace("it is skipped", f"{name} is skipped") if "skipped" in words else words
        yield Hypothesis(f"layer norm: {words}", changes, 0, key)


def other_norms(o):
    """The gain and shift of another layer norm, another stream, or something added to its input."""
    x, name = _norm(o.what)
    for other in ("ln_1", "ln_2", "ln_f"):
        if other != name and (other == "ln_f" or o.t.number is not None):
            yield Hypothesis(
                f"layer norm: {name} takes gain and shift of {other}",
                {name: lambda t, other=other: normalised(t[x], t.eps)[0] * t[f"{other}.weight"] + t[f"{other}.bias"]},
                spoils=rf"grad\.({name}|{other})\.(weight|bias)",
            )  # fmt: skip
    groups = o.t.n_head

    def grouped(x, g, b, eps):
        return _over(x.reshape(*x.shape[:-1], groups, -1), -1, eps).reshape(x.shape) * g + b

    yield Hypothesis(
        f"layer norm: mean and variance are of each head's channels alone, {groups} groups of C / {groups}",
        {what: _layer_norm_of(what, grouped) for what in INPUTS},
    )
    for words, added in (
        ("the position embedding is added again", lambda t: t["wpe.weight"][: t["ids"].shape[1]]),
        ("the embedding is added again", lambda t: t["embd"]),
    ):
        if name == "ln_1" and o.t.number:
            yield Hypothesis(
                f"residual: {words} at the start of a block",
                {"ln_1": lambda t, a=added: normalised(t["x"] + a(t), t.eps)[0] * t["ln_1.weight"] + t["ln_1.bias"],
                 "resid_mid": lambda t, a=added: t["x"] + a(t) + t["attn.out"]},
                spoils=r"grad\..*",
            )  # fmt: skip
    if name == "ln_2":
        yield Hypothesis(
            "layer norm: ln_2 reads what the block reads, x; it should read resid_mid, x + attention's output",
            {"ln_2": lambda t: normalised(t["x"], t.eps)[0] * t["ln_2.weight"] + t["ln_2.bias"]}, spoils=r"grad\..*",
        )  # fmt: skip
    streams = ["embd", *(f"h.{i}.{name}" for name in ("resid_post", "resid_mid") for i in range(o.t.n_layer))]
    right = o.t.full(x)
    for stream in streams:
        if stream != right and stream in o.t.tensors.theirs:
            missing = right.split(".")[1] if right.startswith("h.") else ""
            skipped = f"; is block {missing} left out?" if name != "ln_2" and "resid_mid" not in stream else ""
            yield Hypothesis(
                f"layer norm: {name} reads {stream}, it should read {right}{skipped}",
                {name: _reading(name, stream, o.t.number)}, int(not skipped), spoils=r"grad\..*",
            )  # fmt: skip


def _reading(name, stream, number):
    """The layer norm of another stream, in one block only."""
    def changed(t):
        x = t.tensors[stream] if t.number == number else t[_norm(name)[0]]
        return normalised(x, t.eps)[0] * t[f"{name}.weight"] + t[f"{name}.bias"]
    return changed


def _norm(what):
    """The names of a layer norm's input and of its parameters."""
    return INPUTS[what], what


def _layer_norm_of(what, form):
    """The operation that makes y = form(x, gain, shift, eps) of a layer norm's input."""
    x, name = _norm(what)
    return lambda t: form(t[x], t[f"{name}.weight"], t[f"{name}.bias"], t.eps)


def _scaled(x, variance, eps, outside=False):
    """x without its mean, divided by the root of a variance (..., 1), with eps inside the root or outside."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / (np.sqrt(variance) + eps if outside else np.sqrt(variance + eps))


def _var(x, ddof=0):
    """The variance (..., 1) of the last axis, its sum divided by C - ddof."""
    return x.var(-1, keepdims=True, ddof=ddof) if x.shape[-1] > ddof else np.full((*x.shape[:-1], 1), np.nan)


def _over(x, axis, eps):
    """x normalised over any axis or axes."""
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


LAYER_NORMS = (
    ("the variance is divided by C - 1, it should be by C (the biased one)", "variance=unbiased",
     lambda x, g, b, eps: _scaled(x, _var(x, 1), eps) * g + b),
    ("eps is added to the standard deviation, it should be added to the variance, inside the root", "eps=outside",
     lambda x, g, b, eps: _scaled(x, _var(x), eps, True) * g + b),
    ("the variance is divided by C - 1, and eps (1e-6) is added to the standard deviation; in GPT-2 it is divided by "
     "C, and eps = 1e-5 is inside the root", None, lambda x, g, b, eps: _scaled(x, _var(x, 1), 1e-6, True) * g + b),
    ("the variance is divided by C - 1, and eps is added to the standard deviation", None,
     lambda x, g, b, eps: _scaled(x, _var(x, 1), eps, True) * g + b),
    ("the gain is missing", None, lambda x, g, b, eps: _over(x, -1, eps) + b),
    ("the shift is missing", None, lambda x, g, b, eps: _over(x, -1, eps) * g),
    ("gain and shift are missing", None, lambda x, g, b, eps: _over(x, -1, eps)),
    ("the shift is added before the gain multiplies", None, lambda x, g, b, eps: (_over(x, -1, eps) + b) * g),
    ("the gain is 1 + weight", None, lambda x, g, b, eps: _over(x, -1, eps) * (1 + g) + b),
    ("gain and shift are exchanged", None, lambda x, g, b, eps: _over(x, -1, eps) * b + g),
    ("the mean is not subtracted (as in RMSNorm)", None,
     lambda x, g, b, eps: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g + b),
    ("the mean is not subtracted from x, only in the variance", None,
     lambda x, g, b, eps: x / np.sqrt(_var(x) + eps) * g + b),
    ("the root is missing, it divides by the variance", None,
     lambda x, g, b, eps: _scaled(x, (_var(x) + eps) ** 2, 0.0) * g + b),
    ("it does not divide by the standard deviation", None,
     lambda x, g, b, eps: (x - x.mean(-1, keepdims=True)) * g + b),
    ("it multiplies by the standard deviation", None,
     lambda x, g, b, eps: (x - x.mean(-1, keepdims=True)) * np.sqrt(_var(x) + eps) * g + b),
    ("it is skipped, its output is its input", None, lambda x, g, b, eps: x),
    ("only gain and shift are applied, nothing is normalised", None, lambda x, g, b, eps: x * g + b),
    ("it normalises over the tokens (axis T), it should be over the channels", None,
     lambda x, g, b, eps: _over(x, 1, eps) * g + b),
    ("it normalises over the batch (axis B), it should be over the channels", None,
     lambda x, g, b, eps: _over(x, 0, eps) * g + b),
    ("it normalises over batch and tokens, as batch norm does; it should be over the channels", None,
     lambda x, g, b, eps: _over(x, (0, 1), eps) * g + b),
    ("it normalises over tokens and channels together", None, lambda x, g, b, eps: _over(x, (1, 2), eps) * g + b),
    ("it normalises over the whole tensor", None, lambda x, g, b, eps: _over(x, (0, 1, 2), eps) * g + b),
    ("it is applied twice", None, lambda x, g, b, eps: _over(_over(x, -1, eps) * g + b, -1, eps) * g + b),
)  # fmt: skip


def _layer_norm_backward(key):
    """The operations of the backward pass that belong to another variance, or to eps outside of the root.

        y = centred r(v),  v the mean of centred^2:   dx = centre(dy r) + centred 2/C r'(v) sum(dy centred)
    """
    number = float(key.removeprefix("eps=")) if key.startswith("eps=") and key != "eps=outside" else None

    def parts(x, eps):
        centred = x - x.mean(-1, keepdims=True)
        C, v = x.shape[-1], (centred * centred).mean(-1, keepdims=True)
        if key == "eps=outside":
            r = 1 / (np.sqrt(v) + eps)
            return centred, r, -(r**2) / (2 * np.sqrt(v))
        k = C / (C - 1) if key == "variance=unbiased" else 1.0
        r = 1 / np.sqrt(k * v + (eps if number is None else number))
        return centred, r, -k / 2 * r**3

    def shares(t, x, name):
        centred, r, slope = parts(t[x], t.eps)
        dx_hat = t[f"grad.{name}"] * t[f"{name}.weight"]
        direct = dx_hat * r
        return {
            "direct": direct - direct.mean(-1, keepdims=True),
            "through the variance": centred * slope * 2 * (dx_hat * centred).mean(-1, keepdims=True),
        }

    def gain(t, x, name):
        centred, r, _ = parts(t[x], t.eps)
        return (t[f"grad.{name}"] * centred * r).sum((0, 1))

    return {
        "grad.x": lambda t: {"the residual branch": t["grad.resid_mid"], **shares(t, "x", "ln_1")},
        "grad.resid_mid": lambda t: {"the residual branch": t["grad.resid_post"], **shares(t, "resid_mid", "ln_2")},
        "grad.last": lambda t: shares(t, "last", "ln_f"),
        **{f"grad.{name}.weight": (lambda t, x=x, name=name: gain(t, x, name))
           for name, x in INPUTS.items()},
    }  # fmt: skip


def eps_hypothesis(eps):
    """Layer norms with another eps."""
    changes = {what: _layer_norm_of(what, lambda x, g, b, _: _over(x, -1, eps) * g + b) for what in INPUTS}
    return Hypothesis("", changes | _layer_norm_backward(f"eps={eps!r}"), 1, f"eps={eps:g}")


EPS = 0.0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1


def layer_norm_eps(o):
    """Another eps: the usual ones are tried, and the one that fits best if none of them does."""
    x, name = _norm(o.what)
    x, g, b, eps = o.t[x], o.t[f"{name}.weight"], o.t[f"{name}.bias"], o.t.eps
    right = f"it should be {eps:g}"
    if o.actual is None:
        for usual in EPS:
            if usual != eps:
                h = eps_hypothesis(usual)
                yield Hypothesis(f"layer norm: eps is {usual:g}, {right}", h.changes, 1, h.key)
        return
    scaled, variance = (x - x.mean(-1, keepdims=True)) * g, _var(x)[..., 0]
    rstd = ((o.actual - b) * scaled).sum(-1) / (scaled * scaled).sum(-1)
    weight = 1 / (variance + eps) ** 2  # rows with a small variance say the most about eps
    fitted = max(((1 / rstd**2 - variance) * weight).sum() / weight.sum(), 0.0)
    sizes = {usual: relative(o.actual, scaled / np.sqrt(variance + usual)[..., None] + b) for usual in (*EPS, fitted)}
    near = [usual for usual in EPS if sizes[usual] <= max(2 * sizes[fitted], o.floor / 4)]
    if eps in near:
        return
    if not near:
        h = eps_hypothesis(float(fitted))
        yield Hypothesis(f"layer norm: eps is {fitted:.2g}, {right}", h.changes, 1, h.key)
    elif len(near) == 1:
        h = eps_hypothesis(near[0])
        yield Hypothesis(f"layer norm: eps is {near[0]:g}, {right}", h.changes, 1, h.key)
    else:
        h = eps_hypothesis(near[0])
        words = f"at most {near[-1]:g}, perhaps 1e-12 or 0" if near[0] == 0 else f"{near[0]:g} ... {near[-1]:g}"
        yield Hypothesis(f"layer norm: eps is {words}, {right}", h.changes, 1, h.key)


def post_norm(o):
    """x = layer_norm(x + sub_layer(x)), the order of the 2017 Transformer."""
    if o.what == "ln_f":
        return
    source, branch = ("x", "attn.out") if o.what == "ln_1" else ("resid_mid", "mlp.out")

    def changed(t):
        x_hat, _ = normalised(t[source] + t[branch], t.eps)
        return x_hat * t[f"{o.what}.weight"] + t[f"{o.what}.bias"]

    full = o.t.full(branch)
    if full in o.t.tensors.theirs:
        def between(t):
            x_hat, _ = normalised(t[branch], t.eps)
            return x_hat * t[f"{o.what}.weight"] + t[f"{o.what}.bias"]

        yield Hypothesis(
            "the layer norm sits between the sub-layer and the residual sum, x + layer_norm(sub_layer(x)); in GPT-2 it "
            "is x + sub_layer(layer_norm(x))", {o.what: between}, spoils=".*",
        )  # fmt: skip
        yield Hypothesis(
            "post-norm: the layer norm comes after the sub-layer and the residual sum; in GPT-2 it comes before "
            "the sub-layer, x + sub_layer(layer_norm(x))",
            {o.what: changed}, spoils=".*",
        )  # fmt: skip
