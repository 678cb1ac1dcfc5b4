"""The step after the gradient: our own steps as a trace, and those of another optimizer held against the formula.

Every tensor of theirs is computed anew from *their* tensors before it: the clipped gradient from their gradient, m and
v from that and the last m and v, the parameters from these. So a difference stays where it arises, and the gradient of
the key bias, which is zero but for rounding, and which Adam makes as large as any other, raises no alarm.
"""

from dataclasses import replace

import numpy as np

from minigpt2.backend import to_host
from minigpt2.components.optimizer import SGD, AdamW, norm_and_scale
from minigpt2.config import GPT2Config
from minigpt2.model import GPT2
from minigpt2.parameters import flatten, layout
from minigpt2.verification.diagnosis import Finding
from minigpt2.verification.rows import RTOL, Row, half_of, halves, where_it_differs
from minigpt2.verification.step_mistakes import diagnose_steps
from minigpt2.verification.step_record import KINDS, Recording, precision, simulate, split
from minigpt2.verification.step_rules import ROUNDING, Rule, Settings, Value, rounded

ROUNDINGS = 10.0  # two right float32 gradients differ by less than this many times what ours differs from float64


def trace_steps(model: GPT2, batches, label_smoothing: float = 0.0, **settings) -> dict[str, np.ndarray]:
    """Take optimizer steps on a copy of a model, and return everything in them.

    model:    stays as it is
    batches:  list of (ids, targets), each (B, T): one for each step
    settings: see ``Settings``
    returns dict from name to NumPy array: the parameters under their own names, and for steps k = 1, 2, ...
        step.{k}.loss, step.{k}.lr, step.{k}.norm  numbers; the norm is that before clipping
        step.{k}.grad.{parameter}                  gradient;  step.{k}.clipped.{parameter}  the same after clipping
        step.{k}.m.{parameter}                     first moment, or SGD's momentum
        step.{k}.v.{parameter}                     second moment, not with SGD
        step.{k}.{parameter}                       the parameter after the step
        and step.{k}.ids, step.{k}.targets where batches differ
    raises: ValueError or TypeError for settings and batches that are none.
    """
    settings = Settings(**settings)
    params = {name: to_host(array).copy() for name, array in flatten(model.params).items()}
    model = model_with(model.config, params)
    if settings.optimizer not in ("adamw", "sgd"):
        raise ValueError(f'steps: optimizer must be "adamw" or "sgd", got {settings.optimizer!r}')
    if settings.optimizer == "sgd":
        optimizer = SGD(model.params, settings.lr, settings.momentum)
    else:
        betas = settings.beta1, settings.beta2
        optimizer = AdamW(model.params, settings.lr, betas, settings.eps, settings.weight_decay)
    leaves, tensors = flatten(model.params), dict(params)
    moments = {"m": optimizer.b} if settings.optimizer == "sgd" else {"m": optimizer.m, "v": optimizer.v}
    same = all(np.array_equal(a, b) for batch in batches for a, b in zip(batch, batches[0], strict=True))
    for step, (ids, targets) in enumerate(batches, 1):
        loss, grads = model.loss_and_grads(ids, targets, label_smoothing)
        optimizer.lr = settings.rate(step)
        _, norm, scale = norm_and_scale(grads, leaves, settings.max_norm)
        optimizer.step(grads, settings.max_norm)
        dtype = next(iter(leaves.values())).dtype
        numbers = {"loss": loss, "lr": optimizer.lr, "norm": norm}
        tensors |= {f"step.{step}.{name}": np.asarray(number, dtype) for name, number in numbers.items()}
        if not same:
            tensors |= {f"step.{step}.ids": np.array(ids, "int64"), f"step.{step}.targets": np.array(targets, "int64")}
        grads = flatten(grads)
        tensors |= {f"step.{step}.grad.{name}": grads[name].copy() for name in leaves}
        tensors |= {f"step.{step}.clipped.{name}": (scale * grads[name]).astype(dtype) for name in leaves}
        for kind, flat in moments.items():
            views = _views(flat, leaves)
            tensors |= {f"step.{step}.{kind}.{name}": views[name].copy() for name in leaves}
        tensors |= {f"step.{step}.{name}": leaf.copy() for name, leaf in leaves.items()}
    return tensors


def _views(flat, leaves):
    """The parts of an optimizer's flat buffer, by name."""
    slices = layout({name: leaf.shape for name, leaf in leaves.items()})[0]
    return {name: flat[slices[name]].reshape(leaf.shape) for name, leaf in leaves.items()}


def model_with(config, params, dtype=None):
    """A GPT2 with copies of these parameters, by name, in their dtype or another."""
    model = GPT2(config, dtype=dtype or next(iter(params.values())).dtype.name)
    for name, leaf in flatten(model.params).items():
        leaf[...] = params[name]
    return model


# ------------------------------------------------------------------------------------------------- comparison


def compare_steps(ours, theirs, settings, eps=1e-5, label_smoothing=0.0, rtol=None, atol=None, fresh=True):
    """Hold their optimizer steps against the formula.

    ours:     a trace with steps; theirs: their tensors under our names, in our shapes, as many as there are
    settings: the ``Settings`` of the steps in ours; eps: of our layer norms; label_smoothing: of our loss
    rtol:     what a gradient may be off by, see ``rows``; atol: what counts as none
    fresh:    whether their gradients are computed anew from their parameters: not where another mistake is known
    returns (list of Row in the order of computation, list of Finding, sentence about the first row that is not right or
        None), empty where theirs has no step.
    """
    rule = Rule(**vars(settings) | ({"weight_decay": 0.0} if settings.optimizer == "sgd" else {}))  # ours has no decay
    start = {name.partition(".m.")[2]: None for name in ours if name.startswith("step.1.m.")}
    start = {name: ours[name] for name in start if name in ours}
    names = [name for name in ours if name in theirs and split(name)]
    if not start or not names:
        return [], [], None
    floats = [theirs[name] for name in names if np.ndim(theirs[name])]
    dtypes = [half_of(floats)] if half_of(floats) else ["float64", *(x.dtype.name for x in floats)]
    dtype = max(dtypes, key=lambda name: ROUNDING.get(name, 0))
    coarse = max(dtype, ours[next(iter(start))].dtype.name, key=lambda name: ROUNDING.get(name, 0))
    rtol = RTOL.get(dtype, 1e-10) if rtol is None else rtol
    rec = Recording({name: theirs[name] for name in (*names, *(n for n in start if n in theirs))}, start, dtype, rtol)
    config = _config(ours, start, eps)
    near = max(rtol, RTOL.get(coarse, 0.0))
    rec.off = max(near, RTOL.get(halves(theirs)["grad"], 0.0))  # under autocast only the gradients are in a half
    losses = _fresh(rec, ours, config, label_smoothing, near) if fresh else {}
    rule = _recorded_as(rule, rec)
    notes, findings = _coarse(rule, rec, floats, names, theirs)
    rows, where = _rows(rule, rec, ours, theirs, names, losses, notes, atol)
    findings += diagnose_steps(rule, rec, {row.name: row.verdict for row in rows})
    return rows, findings, where


def _config(ours, start, eps):
    """The GPT2Config of a trace, or None if it does not show; start: its parameters."""
    q, blocks = ours.get("h.0.attn.q"), {name.split(".")[1] for name in start if name.startswith("h.")}
    if q is None or not {"wte.weight", "wpe.weight", "h.0.mlp.c_fc.weight"} <= start.keys():
        return None
    (V, C), (P, _) = start["wte.weight"].shape, start["wpe.weight"].shape
    config = GPT2Config(
        vocab_size=V, n_positions=P, n_embd=C, n_layer=len(blocks), n_head=q.shape[1], layer_norm_epsilon=eps,
        n_inner=start["h.0.mlp.c_fc.weight"].shape[1], tie_word_embeddings="lm_head.weight" not in start,
    )  # fmt: skip
    shapes = {name: tensor.shape for name, tensor in start.items()}
    return config if config.parameter_shapes() == shapes else None


def _fresh(rec, ours, config, smoothing, rtol):
    """Find the gradient at their weights of every step; returns step -> loss there."""
    losses = {}
    for step in rec.steps:
        mine = {name: ours.get(name if step == 1 else f"step.{step - 1}.{name}") for name in rec.names}
        row = rec.given.get((step - 1, "w"), np.full(rec.size, np.nan))
        near = all(tensor is not None for tensor in mine.values())
        near = near and all(_near(name, row[rec.slices[name]], tensor, rtol) for name, tensor in mine.items())
        single = {}
        batch = [ours.get(f"step.{step}.{kind}", ours.get(kind)) for kind in ("ids", "targets")]
        grads = {name: ours.get(f"step.{step}.grad.{name}") for name in rec.names}
        if near and np.isnan(row).any():  # where they recorded no weights, these should be as ours
            rec.assumed.add(step)
            row = np.where(np.isnan(row), rec.row(mine), row)
        if config is not None and not np.isnan(row).any() and all(tokens is not None for tokens in batch):
            params = {name: row[rec.slices[name]].reshape(rec.shapes[name]) for name in rec.names}
            losses[step], grads = model_with(config, params).loss_and_grads(*batch, smoothing)
            grads = flatten(grads)
            if rec.dtype == "float32":  # what rounding does to this model, also to one that a mistake has blown up
                single = {name: tensor.astype("float32") for name, tensor in params.items()}
                single = flatten(model_with(config, single).loss_and_grads(*batch, smoothing)[1])
        elif not near or any(gradient is None for gradient in grads.values()):
            continue
        off = {name: _noise(gradient, rec.off) for name, gradient in grads.items()}
        for name, gradient in single.items():
            rounding = ROUNDINGS * np.abs(gradient - grads[name]).max(initial=0)
            off[name] = np.maximum(off[name], rounding * (off[name] > 0))
        rec.fresh[step] = Value(rec.row(grads), rec.row(off))
    return losses


def _near(name, row, tensor, rtol):
    """Whether the recorded numbers of a tensor are ours; the key bias, which changes nothing, need not be."""
    off = np.abs(row - tensor.ravel())
    if name.endswith("attn.c_attn.bias"):
        off = np.delete(off, slice(len(off) // 3, 2 * len(off) // 3))
    return not (off > rtol * np.abs(tensor).max(initial=0)).any()


def _noise(gradient, rtol):
    """By how much each number of a gradient may be off: a share of the largest; rows that are all zero are exact.

    Exact are the positions after the last. The key bias has no gradient but rounding noise; here it is as uncertain as
    the largest number beside it, so that whatever Adam makes of it is right.
    """
    rows = gradient.reshape(len(gradient), -1) if gradient.ndim > 1 else gradient.reshape(1, -1)
    used = np.broadcast_to(rows.any(-1, keepdims=True), rows.shape).reshape(gradient.shape)
    return rtol * np.abs(gradient).max(initial=0) * used


def _ratio(row, expected):
    """How many tolerances the worst number is off, over those known on both sides; 0 if there is none."""
    x, tolerance = expected
    with np.errstate(all="ignore"):
        off = np.abs(row - x) / np.where(tolerance > 0, tolerance, 1e-300)
    known = np.isfinite(row) & np.isfinite(x)
    return float(np.nan_to_num(off[known], nan=0.0).max(initial=0))


def _recorded_as(rule, rec):
    """The rule with ``seen``: whether their gradient was recorded before or after it was clipped."""
    first = next((step for step in rec.steps if (step, "grad") in rec.given), None)  # later ones may not be zeroed
    if rule.max_norm is None or first is None:
        return rule
    after = replace(rule, seen="clipped")
    worst = []
    for each in rule, after:
        expected = simulate(each, rec, sampled=True)[first, "grad"]
        worst.append(_ratio(rec.given[first, "grad"][rec.some], expected))
    return after if worst[0] > 1 >= worst[1] else rule


def _coarse(rule, rec, floats, names, theirs):
    """Notes per kind, and a Finding, for moments or weights that hold fewer digits than their dtype has."""
    notes, findings = {}, []
    for kinds, word in (("m", "v"), "moments"), (("w",), "parameters"):
        arrays = [np.asarray(theirs[name]) for name in names if split(name)[1] in kinds]
        if not arrays or not all(np.isfinite(array).all() for array in arrays):
            continue
        dtype = precision(*arrays)
        if dtype not in ("float16", "bfloat16"):
            continue
        notes |= dict.fromkeys(kinds, dtype)
        kept = _kept(rule, rec, kinds, dtype)
        if word == "moments" and not kept:
            rec.moments_rounded = ROUNDING[dtype]
        first = min((name for name in names if split(name)[1] in kinds), key=lambda name: split(name)[0])
        how = "are kept in" if kept else "are kept, or were recorded, in"
        sentence = f"optimizer: the {word} {how} {dtype}"
        findings.append(Finding(first, "mistake" if kept else "recording", sentence))
    return notes, findings


def _kept(rule, rec, kinds, dtype):
    """Whether later numbers follow from the rounded ones, and not from those before rounding."""
    field = "moments" if "m" in kinds else "weights"
    loose = replace(rule, **{field: dtype})
    if field == "weights":
        later = [step for step in rec.steps if step > 1 and (step, "w") in rec.given]
        if not later:
            return False
        kept, apart = 0, 0
        chain = simulate(loose, rec, hidden=("w",))
        local = simulate(loose, rec)
        for step in later:
            given = rec.given[step, "w"]
            kept += int((np.abs(given - local[step, "w"][0]) > 0).sum())
            plain = simulate(rule, rec, hidden=("w",))[step, "w"][0]
            apart += int((rounded(plain, dtype) != given).sum())
        return bool(chain) and apart > 10 * max(kept, 1)
    out = simulate(rule, rec)
    hidden = simulate(rule, rec, hidden=("m", "v"))
    steps = [step for step in rec.steps if (step, "w") in rec.given]
    with_rounded = max((_ratio(rec.given[step, "w"], out[step, "w"]) for step in steps), default=0.0)
    without = max((_ratio(rec.given[step, "w"], hidden[step, "w"]) for step in steps), default=0.0)
    return bool(steps) and with_rounded <= 1 < without


def _rows(rule, rec, ours, theirs, names, losses, notes, atol):
    """The rows of all step tensors that both have, and a sentence about the first that is not right, or None."""
    out = simulate(rule, rec)
    order = {kind: place for place, kind in enumerate(("loss", "lr", *KINDS[:1], "norm", *KINDS[1:]))}
    rows, where = [], None
    for name in sorted(names, key=lambda name: (split(name)[0], order.get(split(name)[1], 99))):
        step, kind, parameter = split(name)
        if parameter in ("ids", "targets"):
            continue
        mine, other = np.asarray(ours[name], np.float64), np.asarray(theirs[name], np.float64)
        if kind == "loss":
            expected = losses.get(step, float(mine) if step == 1 else np.nan)
            value, tolerance = np.asarray(expected), np.asarray(rec.off * abs(expected))
        elif kind in ("lr", "norm"):
            value, tolerance = (np.asarray(number) for number in out[step, kind])
            if kind == "norm" and not np.isnan(value) and (step, "grad") in rec.given and step in rec.fresh:
                # Recorded before or after clipping: it may belong to either gradient.
                whole = float(np.sqrt((rec.fresh[step].x ** 2).sum()))
                value = value if abs(other - value) <= abs(other - whole) else np.asarray(whole)
        else:
            place = rec.slices[parameter]
            value, tolerance = (part[place].reshape(mine.shape) for part in out[step, kind])
            coarse = ROUNDING.get(notes.get(kind, ""), 0.0)
            tolerance = tolerance + coarse * np.abs(value)
            if kind == "grad" and step in rec.fresh:
                tolerance = np.maximum(tolerance, rec.rtol * np.abs(value).max(initial=0))
        row, sentence = _row(name, other, value, tolerance, mine, rec.rtol, atol, notes.get(kind, ""))
        rows.append(row)
        where = where or sentence
    return rows, where


def _row(name, other, value, tolerance, mine, rtol, atol, note):
    """The Row of one tensor, and a sentence if it is not right."""
    unknown = np.nan, np.nan, np.nan
    if other.shape != mine.shape:
        row = Row(name, mine.shape, *unknown, "shape", f"theirs {other.shape}")
        return row, f"{name}, which cannot be compared: its shape is {other.shape}, and ours {mine.shape}"
    if np.isnan(value).any():  # what it is made of was not recorded
        value, note = mine, ", ".join(filter(None, ("against ours", note)))
        tolerance = np.full(mine.shape, 4 * rtol * np.abs(mine).max(initial=0))
    if not np.isfinite(other).all():
        row = Row(name, mine.shape, *unknown, "NaN", note)
        return row, where_it_differs(row, value, other)
    off = np.abs(other - value)
    size, norm = np.abs(value).max(initial=0), np.linalg.norm(value) * np.linalg.norm(other)
    absolute = float(off.max(initial=0))
    right = bool((off <= np.maximum(tolerance, atol or 0.0)).all())
    relative = absolute / size if size else (np.inf if absolute else 0.0)
    cosine = float((value * other).sum() / norm) if norm else float(not other.any() and not value.any())
    row = Row(name, mine.shape, absolute, float(relative), cosine, "ok" if right else "differs", note)
    return row, None if right else where_it_differs(row, value, other)
