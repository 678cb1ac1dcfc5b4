"""Exercise 9, the optimizer: one step of AdamW, and clipping by the global norm."""

import math

import numpy as np

from minigpt2.components.optimizer import learning_rate
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_9_optimizer"

# 1. The step.


def adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """One step of ``minigpt2.AdamW`` on a parameter that decays, with new arrays.

    returns w, m, v.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - lr * weight_decay * w - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def _inputs(rng, *shape, t=3, lr=0.1, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.1, scale=1.0):
    """Arguments of ``adamw_step``: in the first step the moments are zero, later as they are after gradients like g."""
    w, m = 1.0 + rng.standard_normal(shape), scale * rng.standard_normal(shape)
    g = scale * (0.2 + rng.random(shape)) * (-1.0) ** np.arange(w.size).reshape(shape)  # of both signs
    v = scale**2 * (0.2 + rng.random(shape))
    if t == 1:
        m, v = 0 * m, 0 * v
    return {
        "w": w, "g": g, "m": m * (1 - betas[0] ** (t - 1)), "v": v * (1 - betas[1] ** (t - 1)), "t": t,
        "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay,
    }  # fmt: skip


def _cases(rng):
    still = _inputs(rng, 2, 3, t=1)
    still["g"] = np.where(np.arange(3) == 1, 0.0, still["g"])
    return [
        Case("the third step of two times three parameters", _inputs(rng, 2, 3)),
        Case("the first step: the moments are zero", _inputs(rng, 4, t=1)),
        Case("the first step, with Adam's usual betas", _inputs(rng, 3, 3, t=1, betas=(0.9, 0.999), eps=1e-8, lr=6e-4)),
        Case("after thousands of steps", _inputs(rng, 3, 4, t=5000)),
        Case("a single parameter", _inputs(rng, 1, t=2)),
        Case("three axes", _inputs(rng, 2, 1, 3, t=7)),
        Case("no weight decay", _inputs(rng, 2, 3, weight_decay=0.0)),
        Case("a strong weight decay", _inputs(rng, 2, 3, t=20, weight_decay=2.0)),
        Case("gradients so small that eps counts", _inputs(rng, 2, 3, t=20, eps=1e-8, scale=1e-7)),
        Case("a large eps", _inputs(rng, 2, 3, eps=0.5)),
        Case("parameters that have never had a gradient", still),
        Case("no memory: both betas are 0", _inputs(rng, 2, 3, betas=(0.0, 0.0))),
    ]


def _step(
    *inputs,
    gradient=lambda g, w, weight_decay: g,
    first=lambda m, g, beta: beta * m + (1 - beta) * g,
    second=lambda v, g, beta: beta * v + (1 - beta) * g * g,
    count=lambda t: (t, t),
    divide=lambda m, v, eps: m / (np.sqrt(v) + eps),
    update=lambda w, step, lr, weight_decay: w - lr * weight_decay * w - lr * step,
    old=False,
):
    """One step, right except for the given parts.

    count: (t) -> the steps that the two corrections count; infinity for none
    old:   whether w changes by the moments before the step
    """
    w, g, m, v, t, lr, beta1, beta2, eps, weight_decay = inputs
    g = gradient(g, w, weight_decay)
    new_m, new_v = first(m, g, beta1), second(v, g, beta2)
    if not old:
        m, v = new_m, new_v
    t1, t2 = count(t)
    m_hat, v_hat = m / np.float64(1 - beta1**t1), v / np.float64(1 - beta2**t2)
    return update(w, divide(m_hat, v_hat, eps), lr, weight_decay), new_m, new_v


def _mistake(hint, **parts):
    return Mistake(hint, lambda *inputs: _step(*inputs, **parts))


def _betas_exchanged(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw_step(w, g, m, v, t, lr, beta2, beta1, eps, weight_decay)


def _moments_exchanged(*inputs):
    w, m, v = adamw_step(*inputs)
    return w, v, m


def _corrected_moments_kept(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    new_w, m, v = adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return new_w, m / (1 - beta1**t), v / (1 - beta2**t)


def _eps_before_correction(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """eps is added to the root of v before v is corrected, so it is corrected too."""
    _, m, v = adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    step = m / (1 - beta1**t) * math.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
    return w - lr * weight_decay * w - lr * step, m, v


def _gradient_for_moment(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    _, m, v = adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return w - lr * weight_decay * w - lr * g / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


STEP = Task(
    name="adamw_step",
    outputs=("w", "m", "v"),
    reference=adamw_step,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        _mistake(
            "The weight decay is put into the gradient, as in Adam with L2 regularization. Then it is divided by the "
            "root of v with all the rest. The W in AdamW says that it is kept separate: look at where w is in the "
            "formulas.",
            gradient=lambda g, w, weight_decay: g + weight_decay * w,
            update=lambda w, step, lr, weight_decay: w - lr * step,
        ),
        _mistake(
            "The weight decay is not multiplied by the learning rate, so it continues at full strength when the "
            "schedule lowers the rate.",
            update=lambda w, step, lr, weight_decay: w - weight_decay * w - lr * step,
        ),
        _mistake(
            "The weight decay takes its share from the new w, after the step. Which w is meant in the formula?",
            update=lambda w, step, lr, weight_decay: (w - lr * step) * (1 - lr * weight_decay),
        ),
        _mistake(
            "There is no weight decay.",
            update=lambda w, step, lr, weight_decay: w - lr * step,
        ),
        _mistake(
            "The weights grow by the weight decay. To decay means to become smaller: look at its sign.",
            update=lambda w, step, lr, weight_decay: w + lr * weight_decay * w - lr * step,
        ),
        _mistake(
            "It goes uphill. The gradient says where the loss grows: which way do we want to go?",
            update=lambda w, step, lr, weight_decay: w - lr * weight_decay * w + lr * step,
        ),
        _mistake(
            "lr is missing before the quotient.",
            update=lambda w, step, lr, weight_decay: w - lr * weight_decay * w - step,
        ),
        _mistake(
            "Neither moment is corrected. Both begin at zero and are too small in the first steps: by how much?",
            count=lambda t: (math.inf, math.inf),
        ),
        _mistake("m is not corrected, only v is.", count=lambda t: (math.inf, t)),
        _mistake("v is not corrected, only m is.", count=lambda t: (t, math.inf)),
        _mistake(
            "The corrections count the steps from 0, so the first step divides by zero. t is 1 in the first step; is "
            "something subtracted from it?",
            count=lambda t: (t - 1, t - 1),
        ),
        _mistake(
            "The corrections are one step ahead. t is already 1 in the first step; is something added to it?",
            count=lambda t: (t + 1, t + 1),
        ),
        _mistake(
            "The corrections use beta and not beta to the power of t, as if every step were the first one.",
            count=lambda t: (1, 1),
        ),
        _mistake(
            "eps is under the root. What does the root cover in the formula? (Where gradients are small, this makes "
            "eps as large as its root.)",
            divide=lambda m, v, eps: m / np.sqrt(v + eps),
        ),
        Mistake(
            "eps is corrected as well: it was added to the root of v before v was divided by its correction.",
            _eps_before_correction,
        ),
        _mistake(
            "eps is missing: a parameter whose gradient has always been zero is divided by zero.",
            divide=lambda m, v, eps: m / np.sqrt(v),
        ),
        _mistake(
            "The root is missing. v is a mean of squares, and has the square of the gradient's unit.",
            divide=lambda m, v, eps: m / (v + eps),
        ),
        _mistake(
            "It multiplies by the root of v. A parameter with large gradients should move less for each unit of them.",
            divide=lambda m, v, eps: m * (np.sqrt(v) + eps),
        ),
        Mistake(
            "w moves along the gradient itself. m is computed, but not used.",
            _gradient_for_moment,
        ),
        _mistake(
            "w moves by the moments from before this step. Which comes first?",
            old=True,
        ),
        _mistake(
            "v is a mean of the gradients, not of their squares.",
            second=lambda v, g, beta: beta * v + (1 - beta) * g,
        ),
        _mistake(
            "v is made with the absolute value of g; the formula has its square.",
            second=lambda v, g, beta: beta * v + (1 - beta) * np.abs(g),
        ),
        _mistake(
            "v has one square too many: 1 - beta2 is squared together with g.",
            second=lambda v, g, beta: beta * v + ((1 - beta) * g) ** 2,
        ),
        _mistake(
            "All of g is added to m, and all of its square to v. In a running mean the two shares sum to 1.",
            first=lambda m, g, beta: beta * m + g,
            second=lambda v, g, beta: beta * v + g * g,
        ),
        _mistake(
            "All of g is added to m, as in SGD with momentum. In a running mean the two shares sum to 1.",
            first=lambda m, g, beta: beta * m + g,
        ),
        _mistake(
            "beta and 1 - beta have changed places: nearly all of the old mean is thrown away in each step.",
            first=lambda m, g, beta: (1 - beta) * m + beta * g,
            second=lambda v, g, beta: (1 - beta) * v + beta * g * g,
        ),
        Mistake("beta1 and beta2 are exchanged. Which of the two belongs to m?", _betas_exchanged),
        Mistake("m and v are right, and exchanged. In which order are the three returned?", _moments_exchanged),
        Mistake(
            "The corrected moments are returned. They are only for this step's quotient; m and v themselves are kept, "
            "or they would be corrected again in the next step.",
            _corrected_moments_kept,
        ),
    ),
)


# 2. Clipping.


def clip_by_norm(grads, max_norm):
    """The gradients, scaled down together if their global norm is above max_norm, and that norm.

    grads: dict of arrays
    returns grads, norm; grads are new arrays.
    """
    norm = _norm(grads)
    return _scaled(grads, min(1.0, max_norm / (float(norm) + 1e-6))), norm


def _norm(grads):
    """The root of the sum of all squares, in the dtype of the gradients."""
    return np.sqrt(sum((g * g).sum() for g in grads.values()))


def _scaled(grads, factor):
    return {name: g * factor for name, g in grads.items()}


def _clip_cases(rng):
    def case(title, max_norm, scale=1.0, **shapes):
        grads = {name: scale * rng.standard_normal(shape) for name, shape in shapes.items()}
        return Case(title, {"grads": grads, "max_norm": max_norm})

    zero = {"weight": np.zeros((2, 3)), "bias": np.zeros(3)}
    uneven = {"wte": 0.01 * rng.standard_normal((4, 2)), "bias": 5 + rng.random(3), "wpe": rng.standard_normal((3, 2))}
    return [
        case("two arrays, above the limit", 0.7, scale=3.0, weight=(2, 3), bias=(3,)),
        case("below the limit", 20.0, weight=(2, 3), bias=(3,)),
        case("a single array", 1.0, scale=3.0, weight=(3, 3)),
        case("a single number", 1.0, scale=100.0, weight=(1,)),
        case("a gradient that is small, and a smaller limit", 1e-5, scale=1e-4, weight=(2, 3), bias=(3,)),
        Case("arrays of very different sizes", {"grads": uneven, "max_norm": 1.5}),
        Case("all gradients are zero", {"grads": zero, "max_norm": 1.0}),
        case("a gradient that has exploded", 1.0, scale=1e6, weight=(2, 3), bias=(3,), gain=(3,)),
    ]


def _clip(grads, max_norm, factor=None, norm=_norm, returned=None):
    """Clipped, except for the given parts; factor: (norm, max_norm) -> the gradients' multiplier."""
    factor = factor or (lambda norm, max_norm: min(1.0, max_norm / (norm + 1e-6)))
    length = norm(grads)
    clipped = _scaled(grads, factor(length, max_norm))
    return clipped, length if returned is None else returned(clipped)


def _each_by_itself(grads, max_norm):
    return {name: _clip({name: g}, max_norm)[0][name] for name, g in grads.items()}, _norm(grads)


def _norms(grads):
    return sum(np.sqrt((g * g).sum()) for g in grads.values())


def _squares(grads):
    return sum((g * g).sum() for g in grads.values())


def _sizes(grads):
    return sum(np.abs(g).sum() for g in grads.values())


def _largest(grads):
    return max(np.abs(g).max() for g in grads.values())


def _root_mean_square(grads):
    return np.sqrt(_squares(grads) / sum(g.size for g in grads.values()))


CLIP = Task(
    name="clip_by_norm",
    outputs=("grads", "norm"),
    reference=clip_by_norm,
    cases=_clip_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "Each array is clipped separately, which turns the gradient as a whole into another direction. There is "
            "one norm, of all numbers together, and one factor.",
            _each_by_itself,
        ),
        Mistake(
            "Each number is cut off at max_norm. That turns the gradient into another direction; it should only become "
            "shorter.",
            lambda grads, max_norm: ({n: np.clip(g, -max_norm, max_norm) for n, g in grads.items()}, _norm(grads)),
        ),
        Mistake(
            "A gradient that is short enough is made longer. When is there nothing to do?",
            lambda grads, max_norm: _clip(grads, max_norm, lambda norm, max_norm: max_norm / (norm + 1e-6)),
        ),
        Mistake(
            "The clipped gradient has the norm 1, whatever max_norm is.",
            lambda grads, max_norm: _clip(
                grads, max_norm, lambda norm, max_norm: 1 / (norm + 1e-6) if norm > max_norm else 1.0
            ),
        ),
        Mistake(
            "It is right except for the 1e-6 that the formula adds to the norm. Without it a gradient of zeros is "
            "divided by zero.",
            lambda grads, max_norm: _clip(grads, max_norm, lambda norm, max_norm: min(1.0, max_norm / norm)),
        ),
        Mistake(
            "It is right except for the 1e-6 that the formula adds to the norm. Without it a gradient of zeros is "
            "divided by zero.",
            lambda grads, max_norm: _clip(
                grads, max_norm, lambda norm, max_norm: max_norm / norm if norm > max_norm else 1.0
            ),
        ),
        Mistake(
            "The returned norm is the one after clipping. One wants to see how long the gradient really was.",
            lambda grads, max_norm: _clip(grads, max_norm, returned=_norm),
        ),
        Mistake(
            "Gradients that are too long come back unchanged. Is a new array made and then not kept? Or is the larger "
            "of two factors used?",
            lambda grads, max_norm: (grads, _norm(grads)),
        ),
        Mistake(
            "The norm is a sum of the norms of the arrays. Lengths at right angles do not add up; their squares do.",
            lambda grads, max_norm: _clip(grads, max_norm, norm=_norms),
        ),
        Mistake(
            "The norm is the sum of the squares: the root is missing.",
            lambda grads, max_norm: _clip(grads, max_norm, norm=_squares),
        ),
        Mistake(
            "The norm is the sum of the absolute values of all numbers. The length of a vector has squares in it, and "
            "a root.",
            lambda grads, max_norm: _clip(grads, max_norm, norm=_sizes),
        ),
        Mistake(
            "The norm is the largest of all numbers. The length of a vector has squares in it, and a root.",
            lambda grads, max_norm: _clip(grads, max_norm, norm=_largest),
        ),
        Mistake(
            "The squares are averaged. The length of a vector has their sum.",
            lambda grads, max_norm: _clip(grads, max_norm, norm=_root_mean_square),
        ),
        Mistake(
            "The norm is that of the last array only. Is the sum of the others overwritten?",
            lambda grads, max_norm: _clip(grads, max_norm, norm=lambda grads: _norm(dict([list(grads.items())[-1]]))),
        ),
    ),
)


# The harder part: warm-up and cosine.


def _rate_cases(rng):
    max_lr = float(rng.uniform(0.5, 2.0))
    min_lr = float(rng.uniform(0.05, 0.2))

    def case(title, step, warmup_steps=10, decay_steps=110, **others):
        return Case(title, {
            "step": step, "max_lr": max_lr, "min_lr": min_lr, "warmup_steps": warmup_steps, "decay_steps": decay_steps,
        } | others)  # fmt: skip

    return [
        case("in the middle of the warm-up", 4),
        case("the first step", 0),
        case("the last step of the warm-up", 9),
        case("the first step after the warm-up", 10),
        case("a third of the way down", 43),
        case("two thirds of the way down", 77),
        case("the last step of the decay", 109),
        case("the decay is over", 110),
        case("long after", 150),
        case("no warm-up", 0, warmup_steps=0),
        case("no warm-up, later", 30, warmup_steps=0),
        case("down to zero", 81, min_lr=0.0),
    ]


def _rate(step, max_lr, min_lr, warmup_steps, decay_steps, rise=None, share=None, curve=None, after=None):
    """The rate, right except for the given parts.

    rise:  (step, warmup_steps) -> the share of max_lr in the warm-up
    share: (step, warmup_steps, decay_steps) -> r
    curve: (r) -> from 1 to 0
    after: (min_lr, max_lr) -> the rate when the decay is over; None continues as before
    """
    if step < warmup_steps:
        return max_lr * (rise(step, warmup_steps) if rise else (step + 1) / (warmup_steps + 1))
    if step >= decay_steps and after is not _go_on:
        return after(min_lr, max_lr) if after else min_lr
    r = share(step, warmup_steps, decay_steps) if share else (step - warmup_steps) / (decay_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * (curve(r) if curve else (1 + math.cos(math.pi * r)) / 2)


def _go_on(min_lr, max_lr):
    """Stands for a decay without an end."""


def _rate_mistake(hint, **parts):
    return Mistake(hint, lambda *inputs: _rate(*inputs, **parts))


RATE = Task(
    name="learning_rate",
    outputs=("lr",),
    reference=learning_rate,
    cases=_rate_cases,
    notebook=NOTEBOOK,
    mistakes=(
        _rate_mistake(
            "The warm-up begins at 0, so the first step does nothing.",
            rise=lambda step, warmup_steps: step / warmup_steps,
        ),
        _rate_mistake(
            "The warm-up reaches max_lr one step too early. What is it divided by in the formula?",
            rise=lambda step, warmup_steps: (step + 1) / warmup_steps,
        ),
        _rate_mistake(
            "The warm-up is one step behind: is step used where the formula has step + 1?",
            rise=lambda step, warmup_steps: step / (warmup_steps + 1),
        ),
        _rate_mistake(
            "There is no warm-up.",
            rise=lambda step, warmup_steps: 1.0,
        ),
        Mistake(
            "The warm-up rises from min_lr. It rises from zero.",
            lambda step, max_lr, min_lr, warmup_steps, decay_steps: (
                min_lr + (max_lr - min_lr) * (step + 1) / (warmup_steps + 1)
                if step < warmup_steps
                else learning_rate(step, max_lr, min_lr, warmup_steps, decay_steps)
            ),
        ),
        _rate_mistake(
            "It falls along a straight line, not along a cosine.",
            curve=lambda r: 1 - r,
        ),
        _rate_mistake(
            "r counts from the beginning of training. It is the share of the way since the end of the warm-up.",
            share=lambda step, warmup_steps, decay_steps: step / decay_steps,
        ),
        _rate_mistake(
            "r is divided by decay_steps. How many steps lie between the end of the warm-up and the end of the decay?",
            share=lambda step, warmup_steps, decay_steps: (step - warmup_steps) / decay_steps,
        ),
        _rate_mistake(
            "r is one step ahead: at the first step after the warm-up it is 0.",
            share=lambda step, warmup_steps, decay_steps: (step + 1 - warmup_steps) / (decay_steps - warmup_steps),
        ),
        _rate_mistake(
            "It goes down along a whole wave and comes up again. Half of it is wanted.",
            curve=lambda r: (1 + math.cos(2 * math.pi * r)) / 2,
        ),
        _rate_mistake(
            "It goes down along a quarter of a wave. Half a wave is wanted, from its top to its bottom.",
            curve=lambda r: math.cos(math.pi * r / 2),
        ),
        _rate_mistake(
            "The cosine itself goes from 1 to -1. The factor should go from 1 to 0.",
            curve=lambda r: math.cos(math.pi * r),
        ),
        _rate_mistake(
            "When the decay is over the rate rises again with the cosine. From there on it stays at min_lr.",
            after=_go_on,
        ),
        _rate_mistake(
            "When the decay is over the rate is 0. From there on it stays at min_lr.",
            after=lambda min_lr, max_lr: 0.0,
        ),
        Mistake(
            "min_lr is not added: the cosine falls to 0.",
            lambda step, max_lr, min_lr, warmup_steps, decay_steps: (
                _rate(step, max_lr, 0.0, warmup_steps, decay_steps, after=lambda *_: min_lr)
            ),
        ),
        Mistake(
            "min_lr is added to a cosine that starts at max_lr, so together they exceed max_lr.",
            lambda step, max_lr, min_lr, *steps: _rate(
                step, max_lr, min_lr, *steps, curve=lambda r: (1 + math.cos(math.pi * r)) / 2 / (1 - min_lr / max_lr)
            ),
        ),
    ),
)

TASKS = (STEP, CLIP, RATE)
