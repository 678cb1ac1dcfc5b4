"""What was recorded of some optimizer steps, as rows of numbers, and every one of them computed anew from the rest."""

import re

import numpy as np

from minigpt2.verification.step_rules import (
    ROUNDING,
    Kinds,
    Rule,
    State,
    Value,
    moments_of,
    move,
    rounded,
    scales,
)  # fmt: skip

KINDS = "grad", "clipped", "m", "v", "w"
SAMPLE = 64  # numbers of each tensor with which a hypothesis is tried before all are
NAME = re.compile(r"step\.(\d{1,6})\.(?:(grad|clipped|m|v)\.)?(.+)")


def split(name):
    """(step, kind, parameter) of a name in a trace, or None; the kind of a parameter is "w", of a number its name."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    step, kind, rest = int(match[1]), match[2], match[3]
    return (step, rest, "") if kind is None and rest in ("loss", "lr", "norm") else (step, kind or "w", rest)


def precision(*arrays):
    """The dtype in which numbers were kept, as far as they show: the widest of the arrays, or a coarser one for all."""
    stored = min((array.dtype.name for array in arrays), key=lambda name: ROUNDING.get(name, 1.0))
    numbers = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(0)
    numbers = numbers[np.isfinite(numbers)].astype(np.float64)
    if stored in ("float32", "float64") and numbers.any():
        for dtype in "bfloat16", "float16":
            some = numbers[:1000]  # which most often tell
            if np.array_equal(rounded(some, dtype), some) and np.array_equal(rounded(numbers, dtype), numbers):
                return dtype
    return stored


class Recording:
    """Some steps of an optimizer, as they were recorded; numbers that were not are NaN.

    names, shapes: of the parameters, in the order of the row; slices: where each is in it
    steps: 1 ... K; given: (step, kind) -> row, with the weights before the first step as (0, "w")
    numbers: (step, "lr" or "norm") -> float; fresh: step -> Value, the gradient that belongs to their weights
    dtype: the coarsest of what was recorded; u: its rounding; rtol: what a result may be off by beside its rounding;
        off: the same of gradients and of the loss that are computed from the weights
    """

    def __init__(self, theirs, start, dtype, rtol):
        """theirs: their tensors by our names, in our shapes; start: our weights before the first step, by name."""
        self.names = list(start)
        self.shapes = {name: start[name].shape for name in start}
        sizes = [start[name].size for name in start]
        ends = np.cumsum(sizes)
        self.slices = {name: slice(end - size, end) for name, size, end in zip(start, sizes, ends, strict=True)}
        self.starts, self.size = ends - sizes, int(ends[-1])
        self.rtol, self.off, self.dtype, self.u = rtol, rtol, dtype, ROUNDING[dtype]
        self.given, self.numbers, self.fresh, self.cache = {}, {}, {}, {}
        self.assumed = set()  # steps whose gradient is that of our weights, as theirs were not recorded
        self.moments_rounded = 0.0  # share by which recorded moments may be off, where only the record is coarse
        self.given[0, "w"] = self.row({name: theirs.get(name, start[name]) for name in start})
        found = {}
        for name, tensor in theirs.items():
            parts = split(name)
            if parts and parts[1] in ("lr", "norm") and np.isfinite(tensor).all():
                self.numbers[parts[:2]] = float(np.asarray(tensor).reshape(()))
            elif parts and parts[2] in self.slices and parts[1] in KINDS:
                found.setdefault(parts[:2], {})[parts[2]] = tensor
        for key, tensors in found.items():
            self.given[key] = self.row(tensors)
        self.steps = range(1, max((key[0] for key in (*found, *self.numbers)), default=0) + 1)
        parts = [np.arange(part.start, part.stop, -(-size // SAMPLE)) for part, size in zip(
            self.slices.values(), sizes, strict=True)]  # fmt: skip
        self.some = np.concatenate(parts)
        self.at = slice(None)
        self.tensor = np.repeat(np.arange(len(sizes)), sizes)
        self._kinds = self._masks()

    def row(self, tensors):
        """Tensors by name, side by side; NaN for what is missing or not finite."""
        row = np.full(self.size, np.nan)
        for name, tensor in tensors.items():
            if np.shape(tensor) == self.shapes[name]:
                row[self.slices[name]] = np.asarray(tensor, np.float64).ravel()
        row[~np.isfinite(row)] = np.nan
        return row

    def _masks(self):
        def where(holds):
            return np.repeat([holds(name) for name in self.names], [int(np.prod(self.shapes[n])) for n in self.names])

        return Kinds(
            where(lambda name: len(self.shapes[name]) >= 2), where(lambda name: name == "wte.weight"),
            where(lambda name: name == "wpe.weight"), where(lambda name: name.endswith(".bias")),
        )  # fmt: skip

    @property
    def kinds(self):
        """The masks, of the numbers in use."""
        return Kinds(*(mask[self.at] for mask in self._kinds))

    def norms(self, row):
        """The norm of each tensor in a full row."""
        return np.sqrt(np.add.reduceat(row * row, self.starts))

    def per_number(self, per_tensor):
        """One number per tensor, repeated for each of its numbers in use."""
        return per_tensor[self.tensor[self.at]]


def simulate(rule: Rule, rec: Recording, sampled=False, hidden=()):
    """Every recorded number of every step, computed from those before it: theirs where recorded, else as computed here.

    sampled: with some numbers of each tensor only; hidden: kinds that are taken as not recorded
    returns (step, kind) -> (row, tolerance), NaN where something is missing to compute it; (step, "lr" or "norm") ->
        (number, tolerance).
    """
    at = rec.some if sampled else slice(None)
    rec.at = at
    kinds, u, rtol, out = rec.kinds, rec.u, rec.rtol, {}

    def given(step, kind):
        row = rec.given.get((step, kind))
        return None if row is None or kind in hidden else row[at]

    zero = np.zeros(rec.size)[at]
    state = State(Value(rec.given[0, "w"][at], 0.0), Value(zero), Value(zero), zero)
    for step in rec.steps:
        seen = _gradient(rule, rec, step, out, at, hidden)
        lr = rule.lr_of(step)
        out[step, "lr"] = lr, max(rtol, 4 * u) * abs(lr)
        lr = rec.numbers.get((step, "lr"), lr)
        context = rule, rec, seen, lr, given(step, "m"), given(step, "v"), u
        before = state
        if rule.repeat == 2:
            t1, t2 = (2 * step - 1, 2 * step) if rule.counts else (step, step)
            middle, _ = _updated((rule, rec, seen, lr, None, None, u), kinds, before, t1)
            state, result = _updated(context, kinds, middle, t2)
        else:
            state, result = _updated(context, kinds, before, step)
        if rule.twice:
            if "apart" in rule.twice:
                again, result2 = _updated(context, kinds, state, step, move_only=before.m)
            else:
                t1, t2 = (2 * step - 1, 2 * step) if rule.counts else (step, step)
                middle, _ = _updated((rule, rec, seen, lr, None, None, u), kinds, before, t1)
                again, result2 = _updated(context, kinds, middle, t2)
            state = _merged(kinds.wte, again, state)
            result = {k: tuple(np.where(kinds.wte, a, b) for a, b in zip(result2[k], result[k], strict=True))
                      for k in result}  # fmt: skip
        out |= {(step, kind): value for kind, value in result.items()}
        w = given(step, "w")
        if w is not None:
            state = state._replace(w=_known(w, state.w))
    return out


def _part(off, at):
    return off[at] if isinstance(off, np.ndarray) else off


def _known(row, value):
    """The recorded numbers, and those computed where none were."""
    missing = np.isnan(row)
    return Value(np.where(missing, value.x, row), np.where(missing, value.off, 0.0) if missing.any() else 0.0)


def _whole_gradient(rule, rec, step, hidden):
    """Of all numbers: the gradient as the rule has it, the one in use (theirs where recorded), and its norms."""
    key = step, rule.gradient, rule.factor, rule.seen, hidden
    if "clipped" in rule.gradient:
        key += rule.clip, rule.max_norm
    if key in rec.cache:
        return rec.cache[key]
    fresh = rec.fresh.get(step, Value(np.full(rec.size, np.nan)))
    g = Value(rule.factor * fresh.x, abs(rule.factor) * fresh.off)
    if rule.gradient != "fresh" and step > 1:
        _, left, norms = _whole_gradient(rule, rec, step - 1, hidden)
        if "clipped" in rule.gradient:
            left = _clipped(rule, rec, step - 1, left, norms, slice(None), hidden)
        g = Value(g.x + left.x, g.off + left.off)
    recorded = None if "grad" in hidden or rule.seen == "clipped" else rec.given.get((step, "grad"))
    used = g if recorded is None else _known(recorded, g)
    rec.cache[key] = g, used, rec.norms(used.x)
    return rec.cache[key]


def _clipped(rule, rec, step, g, norms, at, hidden):
    """The clipped gradient in use."""
    norm = float(np.sqrt((norms**2).sum()))
    if np.isnan(norm):
        norm = rec.numbers.get((step, "norm"), norm)
    if rule.clip == "value" and rule.max_norm is not None:
        clipped = Value(np.clip(g.x[at], -rule.max_norm, rule.max_norm), _part(g.off, at))
    else:
        rec.at, before = at, rec.at
        scale = rec.per_number(scales(rule, norm, norms))
        rec.at = before
        clipped = Value(scale * g.x[at], scale * _part(g.off, at))
    if rule.seen == "clipped" and "grad" not in hidden and (step, "grad") in rec.given:
        clipped = _known(rec.given[step, "grad"][at], clipped)
    return clipped


def _gradient(rule, rec, step, out, at, hidden):
    """The gradient that the moments see, of the numbers in use."""
    g, used, norms = _whole_gradient(rule, rec, step, hidden)
    norm = float(np.sqrt((norms**2).sum()))
    out[step, "norm"] = norm, 2 * (rec.rtol if (step, "grad") in rec.given else rec.off) * norm
    raw = Value(used.x[at], _part(used.off, at))
    clipped = _clipped(rule, rec, step, used, norms, at, hidden)
    out[step, "clipped"] = clipped.x, clipped.off + rec.rtol * np.abs(clipped.x)
    out[step, "grad"] = g.x[at], _part(g.off, at) + rec.rtol * np.abs(g.x[at])
    if rule.seen == "clipped":
        bare = _clipped(rule, rec, step, used, norms, at, ("grad",))
        out[step, "grad"] = bare.x, bare.off + rec.rtol * np.abs(bare.x)
    recorded = rec.given.get((step, "clipped"))
    if recorded is not None and "clipped" not in hidden:
        clipped = _known(recorded[at], clipped)
    return raw if rule.clip == "moments" else clipped


def _updated(context, kinds, state, step, move_only=None):
    """The state after one update, and kind -> (row, tolerance) of its moments and weights.

    move_only: None, or m before this update: then the moments stay, and only the weights move
    """
    rule, rec, g, lr, given_m, given_v, u = context
    result = {}
    if move_only is None:
        used, m, v = moments_of(rule, kinds, step, g, state, u)
        coarse = 2 * ROUNDING[rule.moments.partition(",")[0]] if rule.moments else 0.0
        tiny = 2.0**-24 if rule.moments.startswith("float16") else 0.0  # its smallest number
        raw = np.abs(g.x) + np.abs(used.x - g.x)  # what may have cancelled in a gradient with coupled decay
        parts = (1.0 - rule.beta1) * raw, (1.0 - rule.beta2) * raw * raw
        for kind, new, before, part in zip(("m", "v"), (m, v), (state.m, state.v), parts, strict=True):
            size = np.abs(new.x)
            result[kind] = new.x, new.off + rec.rtol * (size + 0.1 * np.abs(before.x) + part) + coarse * size + tiny
        before = state.m
        m = m if given_m is None else _known(given_m, m)
        v = v if given_v is None else _known(given_v, v)
        if rec.moments_rounded:
            m, v = (Value(x.x, x.off + rec.moments_rounded * np.abs(x.x)) for x in (m, v))
        state = state._replace(m=m, v=v)
    else:
        used, before = g, move_only
        result = {"m": (state.m.x, state.m.off), "v": (state.v.x, state.v.off)}
    w, top, size = move(rule, kinds, step, used, before, state, lr, u)
    coarse = 2 * ROUNDING[rule.weights.partition(",")[0]] * np.abs(w.x) if rule.weights else 0.0
    result["w"] = w.x, w.off + rec.rtol * size + coarse
    return state._replace(w=w, top=top), result


def _merged(mask, some, others):
    """The state with ``some`` where the mask holds and ``others`` elsewhere."""

    def merged(a, b):
        if isinstance(a, Value):
            return Value(merged(a.x, b.x), merged(a.off, b.off))
        return np.where(mask, a, b)

    return State(*(merged(a, b) for a, b in zip(some, others, strict=True)))
