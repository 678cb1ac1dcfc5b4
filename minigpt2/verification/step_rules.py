"""How an optimizer takes a step: our settings, and the rule by which a step is computed anew from what was recorded.

A ``Rule`` is the settings together with every way to get a step wrong that has a name; the default of each is right.
All parameters stand side by side in one row of numbers, so that a rule is tried with a few operations.
"""

import json
import math
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from minigpt2.components.optimizer import learning_rate

EMBEDDINGS = "wte.weight", "wpe.weight"
# An operation in this dtype is off by at most this share of its result; the names are NumPy's, and bfloat16.
ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


@dataclass(frozen=True)
class Settings:
    """What ``trace_steps`` is told: the optimizer and its numbers, named as in ``minigpt2 train``.

    optimizer: "adamw" or "sgd"; momentum: of SGD; max_norm: the norm to which gradients are clipped, None: never
    warmup_steps, decay_steps, min_lr: as in ``learning_rate``; with decay_steps 0 the rate stays after the warm-up
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.1
    momentum: float = 0.0
    max_norm: float | None = None
    warmup_steps: int = 0
    decay_steps: int = 0
    min_lr: float = 0.0

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        end = self.decay_steps or math.inf
        return learning_rate(step - 1, self.lr, self.min_lr, self.warmup_steps, end) if step > 0 else 0.0

    @classmethod
    def from_metadata(cls, metadata):
        """Those that ``minigpt2 trace --steps`` wrote into its file, or None if that has no steps.

        raises: ValueError when they are no settings.
        """
        if "steps" not in metadata:
            return None
        try:
            values = json.loads(metadata["steps"])
            values = {each.name: values[each.name] for each in fields(cls) if each.name in values}
            numbers = [value for name, value in values.items() if name != "optimizer" and value is not None]
            right = all(isinstance(number, int | float) and 0 <= number < math.inf for number in numbers)
        except (TypeError, ValueError, RecursionError):
            right, values = False, {}
        if not right or values.get("optimizer", "adamw") not in ("adamw", "sgd"):
            raise ValueError("the file's metadata do not say how its steps were taken: write it with `minigpt2 trace`")
        return cls(**values)


@dataclass(frozen=True)
class Rule(Settings):
    """The settings, and what may be wrong.

    gradient: "fresh", or "accumulated" over the steps; factor: of every gradient
    clip: "global", the norm of all; "tensor", of each; "value", every number; "always", to max_norm if shorter too;
        "moments", the moments see the gradient before clipping; "squared", a norm without its root
    decay: "decoupled", "coupled" (added to the gradient), "unscaled" (not multiplied by lr), "last" (of the moved
        weights), "peak" (multiplied by the highest lr)
    decays: "matrices", "all", "vectors", "no embeddings", "no wte", "no wpe", "no biases" (but gains)
    corrected: of both moments; eps_at: "outside" the root of the corrected v, "inside", or "before" the correction
    first: the t of the first step; repeat: updates in a step; twice: "wte": only of wte.weight, by one state, or
        "wte, apart" by two; counts: t counts the updates, not the steps
    variant: other forms of the two formulas, see ``_moments`` and ``_direction``
    moments, weights: the dtype in which they are kept, "bfloat16, twice" if rounded after each operation
    schedule: other forms of the learning rate, see ``lr_of``
    seen: no mistake: "clipped" if what was recorded as the gradient is the gradient after clipping, else "raw"
    """

    gradient: str = "fresh"
    factor: float = 1.0
    clip: str = "global"
    decay: str = "decoupled"
    decays: str = "matrices"
    corrected: tuple = (True, True)
    eps_at: str = "outside"
    amsgrad: bool = False
    first: int = 1
    repeat: int = 1
    twice: str = ""
    variant: str = ""
    counts: bool = True
    moments: str = ""
    weights: str = ""
    schedule: str = ""
    seen: str = "raw"

    def lr_of(self, step):
        """The learning rate of a step, in the form of ``schedule``."""
        shift = {"late": -1, "early": 1}.get(self.schedule)
        if shift is not None:
            return self.rate(step + shift)
        if self.schedule == "no warm-up":
            return replace(self, schedule="", warmup_steps=0).rate(step)
        if self.schedule == "constant":
            return self.lr
        if self.schedule == "no decay":
            return replace(self, schedule="", decay_steps=0).rate(step)
        if self.schedule == "to zero":
            return replace(self, schedule="", min_lr=0.0).rate(step)
        if self.schedule == "linear" and self.warmup_steps < step <= self.decay_steps:
            r = (step - 1 - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
            return self.lr + (self.min_lr - self.lr) * r
        if self.schedule in ("over warm-up", "over warm-up, from 0") and step <= self.warmup_steps:
            return self.lr * (step - ("0" in self.schedule)) / self.warmup_steps
        return self.rate(step)


class Value(NamedTuple):
    """Numbers, and by how much each may be off."""

    x: np.ndarray
    off: np.ndarray | float = 0.0


class State(NamedTuple):
    """Weights, both moments, and the largest second moment so far."""

    w: Value
    m: Value
    v: Value
    top: np.ndarray


class Kinds(NamedTuple):
    """Masks over the row of numbers: of matrices, wte, wpe and biases."""

    matrix: np.ndarray
    wte: np.ndarray
    wpe: np.ndarray
    bias: np.ndarray


def decayed(rule, kinds):
    """Where weights decay."""
    return {
        "matrices": kinds.matrix,
        "all": np.ones_like(kinds.matrix),
        "vectors": ~kinds.matrix,
        "no embeddings": kinds.matrix & ~kinds.wte & ~kinds.wpe,
        "no wte": kinds.matrix & ~kinds.wte,
        "no wpe": kinds.matrix & ~kinds.wpe,
        "no biases": ~kinds.bias,
    }[rule.decays]


def scales(rule, norm, norms):
    """The factor of each tensor's gradient that clips it; norm: of all, norms: of each."""
    if rule.max_norm is None or rule.clip == "value":
        return np.ones_like(norms)
    if rule.clip == "tensor":
        return np.minimum(1.0, rule.max_norm / (norms + 1e-6))
    share = rule.max_norm / ((norm**2 if rule.clip == "squared" else norm) + 1e-6)
    return np.full_like(norms, share if rule.clip == "always" else np.minimum(1.0, share))  # NaN stays


def moments_of(rule, kinds, step, g, state, u):
    """m and v after the last gradient of a step but before the weights move; g: clipped."""
    if rule.decay == "coupled":
        decay = rule.weight_decay * decayed(rule, kinds)
        g = Value(g.x + decay * state.w.x, g.off + decay * state.w.off + 2 * u * np.abs(decay * state.w.x))
    return g, *_moments(rule, g, state, u)


def _moments(rule, g, state, u):
    if rule.optimizer == "sgd":
        b = rule.momentum
        new = 1.0 - b if rule.variant == "dampened" and np.any(state.m.x) else 1.0
        m = Value(b * state.m.x + new * g.x, b * state.m.off + new * g.off + 4 * u * np.abs(b * state.m.x))
        return _rounded(rule, m), state.v
    b1, b2 = (rule.beta2, rule.beta2) if rule.optimizer == "lion" else (rule.beta1, rule.beta2)
    new1, new2 = 1.0 - b1, 1.0 - b2
    if rule.variant == "sum of m":
        new1 = 1.0
    if rule.variant in ("sum of v", "adagrad"):
        new2, b2 = 1.0, 1.0 if rule.variant == "adagrad" else b2
    square = np.abs(g.x) if rule.variant == "abs" else g.x * g.x
    slip = np.abs(g.off) if rule.variant == "abs" else g.off * (2 * np.abs(g.x) + g.off)
    if rule.variant == "v of m":
        m_x = b1 * state.m.x + new1 * g.x
        square, slip = m_x * m_x, 2 * np.abs(m_x) * g.off
    m = Value(b1 * state.m.x + new1 * g.x, b1 * state.m.off + new1 * g.off)
    m = Value(m.x, m.off + 4 * u * (np.abs(b1 * state.m.x) + np.abs(new1 * g.x)))
    old = b2 * state.v.x
    if "twice" in rule.moments:
        old = rounded(old, rule.moments.partition(",")[0])
    v = Value(old + new2 * square, b2 * state.v.off + new2 * slip)
    slack = 4 * u + (u / (1.0 - rule.beta2) if u > 1e-10 else 0.0)  # 1 - beta2 itself may be of that dtype
    return _rounded(rule, m), _rounded(rule, Value(v.x, v.off + slack * v.x))


def _rounded(rule, value):
    if not rule.moments:
        return value
    dtype = rule.moments.partition(",")[0]  # a number that may be off may be rounded to a neighbour
    return Value(rounded(value.x, dtype), value.off + ROUNDING[dtype] * np.abs(value.x) * (value.off > 0))


def rounded(x, dtype):
    """x in the precision of a dtype, as float64; infinities where it does not reach."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return x.astype(dtype).astype(np.float64)
    bits = x.astype(np.float32).view(np.uint32)
    even = (bits + (0x7FFF + (bits >> 16 & 1))) & np.uint32(0xFFFF0000)
    return even.view(np.float32).astype(np.float64)


def _direction(rule, g, before, m, v, top, t):
    """What lr multiplies, and the largest v; plain arrays."""
    if rule.optimizer == "sgd":
        return (g + rule.momentum * m if rule.variant == "nesterov" else m), top
    if rule.optimizer == "lion":
        return np.sign(rule.beta1 * before + (1 - rule.beta1) * g), top
    share1 = 1.0 - rule.beta1**t if rule.corrected[0] and t else 1.0 if not rule.corrected[0] else 0.0
    share2 = 1.0 - rule.beta2**t if rule.corrected[1] and t else 1.0 if not rule.corrected[1] else 0.0
    top = np.maximum(top, v)
    v = top if rule.amsgrad else v
    if rule.variant == "no root":
        return m / share1 / (v / share2 + rule.eps), top
    if rule.variant == "adagrad":
        return g / (np.sqrt(v) + rule.eps), top
    if rule.eps_at == "inside":
        return m / share1 / np.sqrt(v / share2 + rule.eps), top
    if rule.eps_at == "before":
        return m / share1 * math.sqrt(share2) / (np.sqrt(v) + rule.eps), top
    return m / share1 / (np.sqrt(v / share2) + rule.eps), top


def move(rule, kinds, step, g, before, state, lr, u):
    """The weights after one update, the largest v so far, and the size of the update.

    state: with the moments after the update; before: m before it
    """
    t = 1 if rule.variant == "stuck" else rule.first + (step - 1)

    def direction(m, v):
        with np.errstate(all="ignore"):
            return _direction(rule, g.x, before.x, m, np.maximum(v, 0.0), state.top, t)

    x, top = direction(state.m.x, state.v.x)
    off = 0.0
    if np.any(state.m.off) or np.any(state.v.off):
        (m, dm), (v, dv) = state.m, state.v
        off = sum(
            np.maximum(abs(direction(*low)[0] - x), abs(direction(*high)[0] - x))
            for low, high in (((m - dm, v), (m + dm, v)), ((m, v - dv), (m, v + dv)))
        )
    if rule.optimizer == "lion":
        b = rule.beta1
        off = 2.0 * (np.abs(b * before.x + (1 - b) * g.x) <= b * before.off + (1 - b) * g.off)
    where = decayed(rule, kinds) if rule.weight_decay else np.zeros_like(kinds.matrix)
    share = {"coupled": 0.0, "unscaled": 1.0, "peak": rule.lr}.get(rule.decay, lr) * rule.weight_decay * where
    w = state.w.x
    change = -lr * x
    lost = share * (w + change if rule.decay == "last" else w)
    new = w - lost
    if rule.weights:
        dtype, _, twice = rule.weights.partition(",")
        new = rounded((rounded(new, dtype) if twice else new) + change, dtype)
    else:
        new = new + change
    return Value(new, state.w.off + lr * off + 4 * u * np.abs(w)), top, np.abs(change) + np.abs(lost)
