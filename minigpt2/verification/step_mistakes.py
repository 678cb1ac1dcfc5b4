"""Which mistake in an optimizer explains the numbers that were recorded?

A hypothesis is a ``Rule`` with one thing changed. It is believed where every recorded number of every step follows from
it, which the right rule does not explain, and nothing becomes wrong by it. The fewest fitted numbers win; of several
that are left, none is believed more than another.
"""

import itertools
import math
from dataclasses import replace

import numpy as np

from minigpt2.verification.diagnosis import Finding
from minigpt2.verification.step_record import KINDS, simulate, split

STAGES = "lr", "grad", "norm", "clipped", "m", "v", "w"  # in the order of computation
LEFT = 0.1  # of the difference that a mistake explains at most this share may remain, or else it only touches it
# Other optimizers, the first words of their sentences: they explain everything, or nothing.
WHOLE = "AdamW with PyTorch", "Adam with PyTorch", "SGD", "plain SGD", "Lion", "RMSprop", "Adagrad"
HELPFUL = 12  # mistakes, those that leave least unexplained, that are tried in pairs beside the most frequent ones
MOST = 3  # explanations that are worth telling apart


def diagnose_steps(rule, rec, rows):
    """The Findings that explain the rows that are not right.

    rule: the right one; rows: dict from the name of a tensor to its verdict, in the order of computation
    """
    findings, done, failed = [], set(), {name for name, verdict in rows.items() if verdict != "ok"}
    if not failed:
        return findings
    while True:
        base = _Fit(rule, rec, sampled=False)
        bad = [key for key, ratio in base.worst.items() if ratio > 1 and key[1] not in done]
        if not bad:
            break
        stage = min((kind for _, kind in bad), key=STAGES.index)
        first = _first(rule, rec, stage, base)
        found = _explanations(rule, rec, stage) or _pairs(rule, rec, stage)
        found = list({each[0]: each for each in reversed(found)}.values())[::-1]  # a sentence once
        found = [each for each in found if _explains(each[1], rec, stage, base, sampled=False)[0]]
        if found and len(found) <= MOST:
            sentences = [sentence for sentence, _ in found]
            sentence = sentences[0] if len(found) == 1 else f"either {', or '.join(sentences)}"
            worked = _worked(rule, found[0][1], rec, stage, first)
            findings.append(Finding(first, "mistake", f"optimizer: {sentence}", worked=worked))
            rule = found[0][1]
        else:
            worked = _worked(rule, None, rec, stage, first)
            findings.append(Finding(first, "unknown", _known(rule, rec, stage, first), worked=worked))
        done.add(stage)
    return findings or _rest(rec, failed, rows)


class _Fit:
    """How well a rule explains what was recorded.

    worst: (step, kind) -> the tolerances that the worst number is off; off: how much each is, tolerances: of each
    """

    def __init__(self, rule, rec, sampled=True):
        out, at = simulate(rule, rec, sampled), rec.some if sampled else slice(None)
        self.worst, self.off, self.tolerance = {}, {}, {}
        for key in itertools.product(rec.steps, STAGES):
            if key[1] in KINDS:
                row = rec.given.get(key)
                row = None if row is None else row[at]
            else:
                row = None if key[1] == "norm" and rule.seen == "clipped" else rec.numbers.get(key)
            if row is None or (key[0] in rec.assumed and key[1] in KINDS):
                continue
            x, tolerance = out[key]
            with np.errstate(all="ignore"):
                off = np.where(np.isfinite(row) & ~np.isnan(x), np.abs(row - x), 0.0)
                tolerance = np.maximum(tolerance, 1e-300)
                self.worst[key] = float(np.nan_to_num(off / tolerance, nan=0.0).max(initial=0))
            self.off[key], self.tolerance[key] = off, tolerance

    def left(self, stage, base):
        """The sum of squares of what is not explained, in the tolerances of ``base``."""
        total = 0.0
        for key, off in self.off.items():
            if key[1] == stage:
                tolerance = base.tolerance[key]  # 0 for what should not move at all
                tolerance = np.maximum(tolerance, 0.01 * np.mean(tolerance, where=np.isfinite(tolerance)))
                with np.errstate(all="ignore"):
                    share = np.minimum(np.nan_to_num(off / tolerance, nan=0.0), 1e6)
                total += float(np.sum(share * share))
        return total


def _explains(rule, rec, stage, base, sampled=True):
    """How many wrong tensors a rule explains, and what is left; 0 where not all of the stage; base: without it."""
    after = _Fit(rule, rec, sampled)
    left, before = after.left(stage, base), base.left(stage, base)
    wrong = any(after.worst.get(key, 0) > 1 for key in base.worst if key[1] == stage)
    worse = any(after.worst.get(key, 0) > 1 >= ratio for key, ratio in base.worst.items())
    if wrong or worse or left > LEFT**2 * before:
        return 0, left / before if before else 1.0
    return sum(ratio > 1 >= after.worst.get(key, 0) for key, ratio in base.worst.items()), left / before


def _explanations(rule, rec, stage):
    """The hypotheses that explain most, with the fewest fitted numbers: (sentence, rule)."""
    base = _Fit(rule, rec)
    for source in _hypotheses, _fits:
        found = [(*_explains(each[1], rec, stage, base), each) for each in source(rule, rec, stage)]
        bad = sum(ratio > 1 for ratio in base.worst.values())
        found = [each for each in found if each[0] == bad or not each[2][0].startswith(WHOLE)]
        most = max((count for count, *_ in found), default=0)
        if most:
            least = min(left for count, left, _ in found if count == most)
            return [each for count, left, each in found if count == most and left <= 10 * least + 1e-6]
    return []


def _pairs(rule, rec, stage):
    """Two mistakes at once, where neither explains it alone and a stage cannot be seen apart from another."""
    base = _Fit(rule, rec)
    often = [*_usual(rule), *(_decay(rule) if rule.optimizer == "adamw" else ())]
    rest = [(_explains(each[1], rec, stage, base)[1], each) for each in _hypotheses(rule, rec, stage)]
    rest = [each for _, each in sorted(rest, key=lambda pair: pair[0]) if each not in often]
    single = [*often, *rest[:HELPFUL]]
    found = []
    for (sentence, one), (sentence2, two) in itertools.combinations(single, 2):
        changed = [{f: getattr(r, f) for f in _fields(r) if getattr(r, f) != getattr(rule, f)} for r in (one, two)]
        if set(changed[0]) & set(changed[1]):
            continue
        both = replace(rule, **changed[0], **changed[1])
        if _explains(both, rec, stage, base)[0]:
            found.append((f"{sentence}; and {sentence2}", both))
    return found


def _usual(rule):
    """Another of the numbers that are often used: not fitted, so it is believed only beside a mistake."""
    if rule.optimizer != "adamw":
        return
    for field, values in (
        ("beta1", (0.8, 0.9, 0.95)), ("beta2", (0.95, 0.98, 0.99, 0.999)), ("eps", (1e-8, 1e-7, 1e-6, 1e-5)),
        ("weight_decay", (0.01, 0.1)),
    ):  # fmt: skip
        for value in values:
            if value != getattr(rule, field):
                yield _number(field, f"{field.replace('_', ' ')} is")(rule, value), replace(rule, **{field: value})


def _fields(rule):
    return rule.__dataclass_fields__


# -------------------------------------------------------------------------------------------------- hypotheses


def _hypotheses(rule, rec, stage):
    """Every mistake without a fitted number: (sentence, rule)."""
    yield from _gradients(rule)
    yield from _clipping(rule, rec)
    if rule.optimizer == "adamw":
        yield from _decay(rule)
        yield from _moments(rule)
        yield from _other_optimizers(rule)
        yield from _precision(rule)
    elif rule.optimizer == "sgd":
        for variant, sentence in (
            ("nesterov", "Nesterov's momentum; it should be the plain one"),
            ("dampened", "momentum is dampened, the gradient times 1 - momentum; it should not be"),
        ):
            yield sentence, replace(rule, variant=variant)
        yield f"no momentum; it should be {rule.momentum:g}", replace(rule, momentum=0.0)
        yield "AdamW; it should be SGD", replace(rule, optimizer="adamw", weight_decay=0.0)
    yield from _rates(rule)
    for counts in True, False:
        words = "each step is taken twice with one gradient"
        yield words, replace(rule, repeat=2, counts=counts)
        words = "wte.weight is updated twice in each step, as embedding and as output layer"
        yield words, replace(rule, twice="wte", counts=counts)
    yield words, replace(rule, twice="wte, apart")
    up = replace(rule, lr=-rule.lr, min_lr=-rule.min_lr)
    yield "the step goes up the gradient; it should go down", up


def _gradients(rule):
    for gradient in "accumulated", "accumulated, clipped":
        for seen in "raw", "clipped":
            yield (
                "gradients are not zeroed, those of earlier steps are in them",
                replace(rule, gradient=gradient, seen=seen),
            )  # fmt: skip


def _clipping(rule, rec):
    if rule.max_norm is None:
        return
    rows = [rec.given.get((step, "grad"), rec.fresh[step].x if step in rec.fresh else None) for step in rec.steps]
    largest = max((np.nanmax(np.abs(row), initial=0) for row in rows if row is not None), default=0.0)
    norm = f"the norm of all gradients to {rule.max_norm:g}"
    for clip, words in (
        ("tensor", "each tensor's gradient is clipped by its own norm"),
        ("value", f"each number of the gradient is clipped to {rule.max_norm:g}"),
        ("always", f"gradients shorter than {rule.max_norm:g} are scaled up to it"),
        ("moments", "the moments see the gradient before it is clipped"),
        ("squared", "the norm lacks its square root"),
    ):  # fmt: skip
        separate = any((step, "clipped") in rec.given for step in rec.steps)
        if (clip == "value" and not largest > rule.max_norm) or (clip == "moments" and not separate):
            continue  # the same as no clipping
        yield f"{words}; clip {norm}", replace(rule, clip=clip)
    words = f"gradients are not clipped, or only after the step; clip {norm} before it"
    if not any(key[1] in ("grad", "clipped", "m", "norm") for key in (*rec.given, *rec.numbers)):
        # Adam's step is the same for all gradients times a factor.
        words += ", or all gradients are too small by a factor, so that nothing is clipped"
    yield words, replace(rule, max_norm=None)


def _decay(rule):
    d = f"{rule.weight_decay:g}"
    if not rule.weight_decay:
        return
    right = f"w <- w - lr {d} w, for matrices only"
    forms = (
        ("coupled", "decay is added to the gradient (L2, Adam) and goes through the moments"),
        ("unscaled", "decay is not multiplied by lr"),
        ("peak", "decay is multiplied by the highest lr, not by that of the step"),
    )
    places = (
        ("all", "vectors decay too, biases and layer norms"),
        ("vectors", "vectors decay and matrices do not, the two groups are exchanged"),
        ("no embeddings", "wte and wpe do not decay"),
        ("no wte", "wte does not decay"),
        ("no wpe", "wpe does not decay"),
        ("no biases", "the gains of layer norms decay too"),
    )
    for decay, words in forms:
        yield f"{words}; it should be {right}", replace(rule, decay=decay)
    for decays, words in places:
        yield f"{words}; it should be {right}", replace(rule, decays=decays)
    for (decay, words), (decays, words2) in itertools.product(forms[:2], places[:1]):
        changed = replace(rule, decay=decay, decays=decays)
        yield f"{words}, and {words2}; it should be {right}", changed
    yield f"no weight decay; it should be {right}", replace(rule, weight_decay=0.0)
    up = replace(rule, weight_decay=-rule.weight_decay)
    yield f"decay makes weights larger; it should be {right}", up


def _moments(rule):
    for corrected, words in (((False, False), "m and v are"), ((False, True), "m is"), ((True, False), "v is")):
        yield (
            f"{words} not divided by 1 - beta^t (no bias correction)",
            replace(rule, corrected=corrected),
        )  # fmt: skip
    right = "it should be sqrt(v_hat) + eps"
    yield f"eps is added inside the root; {right}", replace(rule, eps_at="inside")
    words = f"eps is added to sqrt(v), before the bias correction; {right}"
    yield words, replace(rule, eps_at="before")
    yield "beta1 and beta2 are exchanged", replace(rule, beta1=rule.beta2, beta2=rule.beta1)
    yield "t stays 1 in the bias correction; it should count the steps", replace(rule, variant="stuck")
    yield "t starts at 2 in the bias correction; it should at 1", replace(rule, first=2)
    for variant, words in (
        ("sum of m", "m <- beta1 m + g; the gradient should be multiplied by 1 - beta1"),
        ("sum of v", "v <- beta2 v + g^2; the square should be multiplied by 1 - beta2"),
        ("abs", "v averages |g|; it should average g^2"),
        ("v of m", "v averages m^2; it should average g^2"),
        ("no root", "the step divides by v_hat; it should by its square root"),
    ):
        yield words, replace(rule, variant=variant)


def _other_optimizers(rule):
    words = "AMSGrad, which divides by the largest v so far; it should divide by v itself"
    yield words, replace(rule, amsgrad=True)
    bare = replace(rule, weight_decay=0.0)
    yield "Adagrad; it should be AdamW", replace(bare, variant="adagrad", eps=1e-10)
    for beta2 in {0.99, rule.beta2}:
        rmsprop = replace(bare, beta1=0.0, beta2=beta2, corrected=(False, False))
        yield f"RMSprop with {beta2:g}; it should be AdamW", rmsprop
    words = "betas 0.9 and 0.999, and weight decay 0.01 for every parameter"
    default = replace(rule, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, decays="all")
    yield f"AdamW with PyTorch's own defaults, {words}", default
    words = "betas 0.9 and 0.999, and no weight decay"
    default = replace(bare, beta1=0.9, beta2=0.999, eps=1e-8)
    yield f"Adam with PyTorch's own defaults, {words}; it should be AdamW", default
    for momentum in (0.0, rule.beta1):
        words = f"SGD with momentum {momentum:g}" if momentum else "plain SGD"
        yield f"{words}; it should be AdamW", replace(rule, optimizer="sgd", momentum=momentum)
    if rule.weight_decay:
        for momentum in (0.0, rule.beta1):
            words = f"SGD with momentum {momentum:g}" if momentum else "plain SGD"
            sgd = replace(rule, optimizer="sgd", momentum=momentum)
            yield f"{words}, without decay; it should be AdamW", replace(sgd, weight_decay=0.0)
            yield f"{words}, with L2; it should be AdamW", replace(sgd, decay="coupled", decays="all")
    for betas in {(rule.beta1, rule.beta2), (0.9, 0.99)}:
        lion = replace(rule, optimizer="lion", beta1=betas[0], beta2=betas[1])
        yield f"Lion with betas {betas[0]:g} and {betas[1]:g}; it should be AdamW", lion


def _precision(rule):
    for dtype in "float16", "bfloat16":
        for how in "", ", twice":
            yield f"the moments are kept in {dtype}", replace(rule, moments=dtype + how)
            yield f"the weights are kept in {dtype}", replace(rule, weights=dtype + how)


def _rates(rule):
    words = {
        "late": "the learning rate is that of the step before",
        "early": "the learning rate is that of the next step",
        "no warm-up": "no warm-up of the learning rate",
        "constant": "the learning rate stays at its highest",
        "no decay": "the learning rate does not fall after the warm-up",
        "to zero": "the learning rate falls to 0, not to its lowest",
        "linear": "the learning rate falls on a line, not on a cosine",
        "over warm-up": f"the warm-up divides by {rule.warmup_steps}; it should be lr step / {rule.warmup_steps + 1}",
        "over warm-up, from 0": "the warm-up is lr (step - 1) / warmup_steps, which is 0 at first",
    }
    if not rule.warmup_steps and not rule.decay_steps:
        words = {}
    steps = range(1, 50)
    seen = []
    for schedule, sentence in words.items():
        changed = replace(rule, schedule=schedule)
        rates = [changed.lr_of(step) for step in steps]
        if rates not in seen:
            seen.append(rates)
            yield sentence, changed


# -------------------------------------------------------------------------------------------------------- fits


def _fits(rule, rec, stage):
    """One number that is another than it should be, fitted and made a round one where that fits as well."""
    betas = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999)
    kinds = []
    if stage != "lr" and (stage == "grad" or not any((step, "grad") in rec.given for step in rec.steps)):
        kinds.append(("factor", (1 / 64, 1 / 16, 1 / 4, 1 / 2, 0.8, 1.3, 2, 4, 16, 64), _factor))
    if stage in ("clipped", "m", "v", "w"):
        kinds.append(("max_norm", (0.01, 0.1, 0.25, 0.5, 1, 2, 5, 10), _number("max_norm", "the norm is clipped to")))
    if rule.optimizer == "sgd":
        kinds.append(("momentum", betas, _number("momentum", "momentum is")))
    else:
        kinds.append(("beta1", betas, _number("beta1", "beta1 is")))
        kinds.append(("beta2", betas, _number("beta2", "beta2 is")))
        kinds.append(("eps", tuple(10.0**-n for n in range(3, 16)), _number("eps", "eps is")))
        decays = tuple(10.0**n for n in range(-5, 2))
        kinds.append(("weight_decay", decays, _number("weight_decay", "weight decay is")))
    grid = tuple(rule.lr * n for n in (0.001, 0.01, 0.1, 0.3, 0.7, 1.4, 3, 10, 100))
    kinds.append(("lr", grid, _number("lr", "every update is as with an lr of")))
    if rule.decay_steps:
        grid = tuple(rule.lr * n for n in (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0))
        kinds.append(("min_lr", grid, _number("min_lr", "the lowest learning rate is")))
    for field, grid, words in kinds:
        if getattr(rule, field) is None and field != "max_norm":
            continue
        yield from _fit(rule, rec, stage, field, grid, words)


def _number(field, words):
    def sentence(rule, value):
        should = getattr(rule, field)
        it = "there should be no clipping" if should is None else f"it should be {should:g}"
        return f"{words} {value:.6g}, {it}"

    return sentence


def _factor(rule, value):
    n = value if value > 1 else 1 / value
    whole = abs(n - round(n)) < 1e-3 * n and n < 1e5
    if value > 1:
        cause = f", such as a sum over {round(n)} batches that should be a mean" if whole else ""
    else:
        cause = f", such as a mean over {round(n)} batches taken twice" if whole else ""
    shown = f"1/{round(n)}" if whole and value < 1 else f"{value:.6g}"
    return f"every gradient is {shown} times what it should be{cause}"


def _fit(rule, rec, stage, field, grid, words):
    """The hypothesis with the number that fits best, if any does: along a grid, then by golden section."""
    of_beta, base = field in ("beta1", "beta2", "momentum"), _Fit(rule, rec)

    def changed(z):
        value = 1 - math.exp(z) if of_beta else math.exp(z)
        if field == "lr" and rule.lr:
            return replace(rule, lr=value, min_lr=rule.min_lr * value / rule.lr)
        return replace(rule, **{field: value})

    def misfit(z):
        return _Fit(changed(z), rec).left(stage, base)

    points = sorted(math.log(1 - x if of_beta else x) for x in grid)
    costs = [misfit(z) for z in points]
    best = int(np.argmin(costs))
    low, high = points[max(best - 1, 0)], points[min(best + 1, len(points) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    a, b = high - golden * (high - low), low + golden * (high - low)
    cost_a, cost_b = misfit(a), misfit(b)
    for turn in range(26):
        if turn == 8 and min(cost_a, cost_b) > 0.9 * base.left(stage, base):
            return  # it is another number
        if cost_a < cost_b:
            high, b, cost_b = b, a, cost_a
            a = high - golden * (high - low)
            cost_a = misfit(a)
        else:
            low, a, cost_a = a, b, cost_b
            b = low + golden * (high - low)
            cost_b = misfit(b)
    value = math.exp((low + high) / 2)
    nice = [float(f"{value:.{digits}e}") for digits in range(4)] + [value]
    if field == "factor":
        nice = [float(round(value)) if value > 1 else 1 / round(1 / value), *nice]
    for each in dict.fromkeys(nice):
        if each > 0 and _explains(changed(math.log(each)), rec, stage, base)[0]:
            fitted = changed(math.log(each))
            yield words(rule, getattr(fitted, field)), fitted
            return


# ------------------------------------------------------------------------------------------- what is known at least


def _first(rule, rec, stage, base):
    """The name of the first wrong tensor of a stage."""
    step = min(step for (step, kind), ratio in base.worst.items() if kind == stage and ratio > 1)
    if stage not in KINDS:
        return f"step.{step}.{stage}"
    wrong = _wrong(rule, rec, step, stage)
    prefix = f"step.{step}." if stage == "w" else f"step.{step}.{stage}."
    return prefix + next(name for name in rec.names if wrong[rec.slices[name]].any())


def _worked(rule, found, rec, stage, first):
    """What follows from their tensors before the first wrong one, where it is most off: as it should be, and with what
    was found."""
    step = int(first.split(".")[1])
    row = rec.given[step, stage] if stage in KINDS else np.array([rec.numbers[step, stage]])
    part = rec.slices[split(first)[2]] if stage in KINDS else slice(None)
    right, wrong = (
        None if each is None else np.atleast_1d(simulate(each, rec)[step, stage][0])[part] for each in (rule, found)
    )
    off = np.nan_to_num(np.abs(row[part] - right), nan=0.0)
    at = int(np.argmax(off))
    shape = rec.shapes[split(first)[2]] if stage in KINDS else ()
    place = f" at {[int(i) for i in np.unravel_index(at, shape)]}" if shape else ""
    lines = [
        f"{first}, computed from their tensors before it",
        f"  should be {right[at]:.7g}{place}, theirs is {row[part][at]:.7g}",
    ]
    return lines if wrong is None else [*lines, f"  with the mistake it is {wrong[at]:.7g}"]


def _wrong(rule, rec, step, stage):
    x, tolerance = simulate(rule, rec)[step, stage]
    row = rec.given[step, stage]
    with np.errstate(invalid="ignore"):
        return np.isfinite(row) & np.isfinite(x) & (np.abs(row - x) > tolerance)


def _known(rule, rec, stage, first):
    """The sentence where no mistake has a name: what is right up to where, and how it is wrong."""
    if stage not in KINDS:
        return f"optimizer: {first} is not what it should be, and no known mistake explains it"
    step = int(first.split(".")[1])
    wrong = _wrong(rule, rec, step, stage)
    names = [name for name in rec.names if wrong[rec.slices[name]].any()]
    words = {"grad": "gradient", "clipped": "clipped gradient", "m": "first moment", "v": "second moment"}
    words |= {"w": "weights"}
    said = [f"the {words[stage]} of step {step} {'do' if stage == 'w' else 'does'} not follow from what came before, "
            f"first {first}"]  # fmt: skip
    matrices = {name for name in rec.names if len(rec.shapes[name]) >= 2}
    embeddings = {name for name in names if name in ("wte.weight", "wpe.weight")}
    if len(names) == len(rec.names):
        said.append("in all tensors")
    elif set(names) == embeddings:
        said.append(f"only in {' and '.join(names)}")
    elif not set(names) & matrices:
        said.append("only in vectors")
    elif set(names) <= matrices:
        said.append("only in matrices")
    x, _ = simulate(rule, rec)[step, stage]
    row, before = rec.given[step, stage], rec.given.get((step - 1, "w")) if stage == "w" else 0.0
    if before is not None:
        theirs, expected = row - before, x - before
        known = np.isfinite(theirs) & np.isfinite(expected)
        theirs, expected = theirs[known], expected[known]
        square = float(expected @ expected)
        factor = float(theirs @ expected) / square if square else 0.0
        scaled = square and abs(factor - 1) > 0.005
        if scaled and np.linalg.norm(theirs - factor * expected) <= 1e-3 * np.linalg.norm(theirs):
            said.append(f"{'the update' if stage == 'w' else 'it'} is {factor:.4g} times what it should be")
    return f"optimizer: {'; '.join(said)}; no known mistake explains all of it"


def _rest(rec, failed, rows):
    """A Finding for what could not be computed anew: NaN, a wrong shape, or a tensor whose inputs are missing."""
    first = next(name for name in rows if name in failed)
    said = f"{first} is the first that differs"
    if rows[first] == "NaN":
        said = f"{first} is the first that holds NaN or infinity"
        if split(first)[1] == "w":
            said += ", as from a division by zero: by 1 - beta^t where t starts at 0, or by a root without eps"
    elif rec.assumed:
        said += "; it is held against ours, as their weights before it were not recorded"
    return [Finding(first, "unknown", f"optimizer: {said}")]
