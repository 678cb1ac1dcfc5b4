"""Mistakes in the feed-forward network, chiefly in its GELU, and in the residual sums."""

import math

import numpy as np

from minigpt2.verification.mistakes.hypothesis import Hypothesis, label, of_result

ROOT = math.sqrt(2 / math.pi)


def erf(x):
    """The error function."""
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float64)


def _tanh_gelu(x, root=ROOT, cubic=0.044715, power=3):
    """0.5 x (1 + tanh(root (x + cubic x^power)))"""
    return 0.5 * x * (1 + np.tanh(root * (x + cubic * x**power)))


def _sigmoid(x):
    """1 / (1 + exp(-x))"""
    return 1 / (1 + np.exp(-x))


GELUS = (  # words, key, the function and its derivative
    ("the erf form; GPT-2 was trained with the tanh form (in PyTorch: approximate='tanh')", "gelu=erf",
     lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
     lambda x: (1 + erf(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    ("x sigmoid(1.702 x), the quick form; GPT-2 was trained with the tanh form", "gelu=quick",
     lambda x: x * _sigmoid(1.702 * x),
     lambda x: _sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - _sigmoid(1.702 * x)))),
    ("a ReLU in its place", "gelu=relu", lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    ("a SiLU (swish) in its place", "gelu=silu", lambda x: x * _sigmoid(x),
     lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
    ("the factor 1/2 is missing", None, lambda x: 2 * _tanh_gelu(x), None),
    ("0.44715 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.44715), None),
    ("0.0044715 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.0044715), None),
    ("0.04715 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.04715), None),
    ("0.044175 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.044175), None),
    ("0.0447 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.0447), None),
    ("0.045 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.045), None),
    ("0.79788 in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=0.79788), None),
    ("0.8 in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=0.8), None),
    ("x^2 in place of x^3", None, lambda x: _tanh_gelu(x, power=2), None),
    ("the term x^3 is missing", None, lambda x: _tanh_gelu(x, cubic=0.0), None),
    ("the cubic term is subtracted", None, lambda x: _tanh_gelu(x, cubic=-0.044715), None),
    ("the factor sqrt(2/pi) is missing", None, lambda x: _tanh_gelu(x, root=1.0), None),
    ("2/pi without the root", None, lambda x: _tanh_gelu(x, root=2 / math.pi), None),
    ("sqrt(2 pi) in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=math.sqrt(2 * math.pi)), None),
    ("sqrt(pi/2) in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=math.sqrt(math.pi / 2)), None),
    ("1/sqrt(2) in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=math.sqrt(0.5)), None),
    ("sqrt(2/pi) multiplies x alone, it should multiply x + 0.044715 x^3", None,
     lambda x: 0.5 * x * (1 + np.tanh(ROOT * x + 0.044715 * x**3)), None),
    ("the 1 is missing, x tanh(u) / 2", None, lambda x: _tanh_gelu(x) - 0.5 * x, None),
    ("1 - tanh in place of 1 + tanh", None, lambda x: x - _tanh_gelu(x), None),
    ("the factor x is missing, (1 + tanh u) / 2", None,
     lambda x: 0.5 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3))), None),
    ("the erf form without sqrt(2), x (1 + erf(x)) / 2", None, lambda x: x * (1 + erf(x)) / 2, None),
    ("a leaky ReLU in its place", None, lambda x: np.where(x > 0, x, 0.01 * x), None),
    ("a squared ReLU in its place", None, lambda x: np.maximum(x, 0) ** 2, None),
    ("an ELU in its place", None, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), None),
    ("a softplus in its place", None, lambda x: np.logaddexp(0, x), None),
    ("a sigmoid in its place", None, _sigmoid, None),
    ("a tanh in its place", None, np.tanh, None),
    ("a mish in its place", None, lambda x: x * np.tanh(np.logaddexp(0, x)), None),
    ("it is applied twice", None, lambda x: _tanh_gelu(_tanh_gelu(x)), None),
    ("it is missing, its output is its input", None, lambda x: x, None),
    ("inputs beyond 10 are cut off (gelu_10)", None, lambda x: np.clip(_tanh_gelu(x), -10, 10), None),
)  # fmt: skip


def gelus(o):
    """Other forms of the GELU, and other functions in its place."""
    for words, key, function, derivative in GELUS:
        changes = {"mlp.gelu": lambda t, f=function: f(t["mlp.fc"])}
        if derivative is not None:
            changes["grad.mlp.fc"] = lambda t, d=derivative: d(t["mlp.fc"]) * t["grad.mlp.gelu"]
        yield Hypothesis(f"GELU: {words}", changes, 0, key)
    if o.actual is not None and np.isfinite(o.actual).all():
        yield from _gelu_constants(o)


def _gelu_constants(o):
    """The two constants of the tanh form, fitted: arctanh(2 y / x - 1) = root x + root cubic x^3."""
    x = o.t["mlp.fc"].ravel()
    tanh = 2 * o.actual.ravel() / np.where(x == 0, 1, x) - 1
    good = (np.abs(tanh) < 0.999) & (np.abs(x) > 0.2)
    if good.sum() < 20:
        return
    x, u = x[good], np.arctanh(tanh[good])
    (root, both), *_ = np.linalg.lstsq(np.stack([x, x**3], 1), u, rcond=None)
    if root <= 0 or abs(both) < 1e-6:
        return
    for name, value in (("sqrt(2)/pi", math.sqrt(2) / math.pi), ("sqrt(2)/sqrt(pi)", ROOT), ("pi/2", math.pi / 2),
                        ("2/pi", 2 / math.pi), ("sqrt(2)", math.sqrt(2)), ("1/sqrt(pi)", math.pi**-0.5)):  # fmt: skip
        if abs(root / value - 1) < 1e-4:
            root, both = value, both / root * value
            words = f"{name} in place of sqrt(2/pi)" if value != ROOT else ""
            break
    else:
        words = f"{root:.6g} in place of sqrt(2/pi) = {ROOT:.6g}"
    cubic = 0.044715 if abs(both / root / 0.044715 - 1) < 1e-3 else float(f"{both / root:.4g}")
    if cubic != 0.044715:
        words = " and ".join(filter(None, [words, f"{cubic:.6g} in place of 0.044715"]))
    if words:
        yield Hypothesis(f"GELU: {words}", {"mlp.gelu": lambda t: _tanh_gelu(t["mlp.fc"], root=root, cubic=cubic)}, 2)


def activation_after(o):
    """A layer's output goes through an activation that does not belong there."""
    for words, function in (
        ("a GELU", _tanh_gelu), ("a ReLU", lambda x: np.maximum(x, 0)), ("a tanh", np.tanh), ("a sigmoid", _sigmoid),
    ):  # fmt: skip
        yield Hypothesis(
            f"{label(o.what)}: {words} is applied to it, there is none here", {o.what: of_result(o.what, function)},
            zeros=True,
        )  # fmt: skip


def residual_sums(o):
    """The two residual sums with another factor, or without one of their terms."""
    L = o.t.n_layer
    for words, stream, branch in (
        ("the branches are multiplied by 1/sqrt(2 layers), which is meant for their initialisation",
         1, (2 * L) ** -0.5),
        ("the branches are multiplied by 1/sqrt(layers)", 1, L**-0.5),
        ("the branches are multiplied by 1/2", 1, 0.5), ("the branches are multiplied by 2", 1, 2),
        ("both terms are multiplied by 1/sqrt(2)", 0.5**0.5, 0.5**0.5), ("both terms are multiplied by 1/2", 0.5, 0.5),
        ("the branch is subtracted", 1, -1), ("x is missing, only the branch is there", 0, 1),
        ("the branch is missing", 1, 0),
    ):  # fmt: skip
        sums = {
            "resid_mid": lambda t, a=stream, b=branch: a * t["x"] + b * t["attn.out"],
            "resid_post": lambda t, a=stream, b=branch: a * t["resid_mid"] + b * t["mlp.out"],
        }
        yield Hypothesis(f"residual: {words}, in both sums of a block", sums)
        yield Hypothesis(f"residual: {words}, in {o.what}", {o.what: sums[o.what]}, 1)


def reshaped_weight(o):
    """A weight that is reshaped where it should be transposed."""
    x, layer = {"mlp.fc": ("ln_2", "mlp.c_fc"), "mlp.out": ("mlp.gelu", "mlp.c_proj")}[o.what]
    yield Hypothesis(
        f"the weight of {layer} is reshaped from (out, in) to (in, out), it should be transposed",
        {o.what: lambda t: t[x] @ t[f"{layer}.weight"].T.reshape(t[f"{layer}.weight"].shape) + t[f"{layer}.bias"]},
    )
