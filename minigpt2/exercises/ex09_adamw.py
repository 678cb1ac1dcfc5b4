"""Exercise 9, the optimizer: one step of AdamW, clipping by the global norm, and the learning rate."""

import math

import numpy as np

from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_9_optimizer"

# 1. The step.


def adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """One step of ``minigpt2.AdamW`` on a parameter that decays, with new arrays."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    step = m_hat / (np.sqrt(v_hat) + eps)
    w = w - lr * weight_decay * w - lr * step
    return w, m, v


def _inputs(rng, *shape, t=3, lr=0.1, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.3, scale=1.0):
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


M, V = "beta1 * m + (1 - beta1) * g\n", "beta2 * v + (1 - beta2) * g**2"
M_HAT, V_HAT, ROOT = "m / (1 - beta1**t)", "v / (1 - beta2**t)", "np.sqrt(v_hat) + eps"
STEP_BY = f"m_hat / ({ROOT})"
DECAY, MOVE, RETURNED = " - lr * weight_decay * w", " - lr * step", "return w, m, v"


def _in_either(hint, first, second):
    """A mistake that people make with m, with v, or with both."""
    return [Mistake(hint, changes) for changes in ((first, second), (first,), (second,))]


STEP = Task(
    name="adamw_step",
    outputs=("w", "m", "v"),
    reference=adamw_step,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The weight decay is put into the gradient, as in Adam with L2 regularization. Then it is divided by the "
            "root of v with all the rest. The W in AdamW says that it is kept separate: look at where w is in the "
            "formulas.",
            (("m = beta1", "g = g + weight_decay * w; m = beta1"), (DECAY, "")),
        ),
        Mistake(
            "There are two weight decays, one in the gradient and one in the last line. Which of them is in the "
            "formulas?",
            (("m = beta1", "g = g + weight_decay * w; m = beta1"),),
        ),
        Mistake(
            "The weight decay is divided by the root of v together with the gradient. Look at where w is in the "
            "formulas.",
            ((DECAY, ""), (STEP_BY, f"(m_hat + weight_decay * w) / ({ROOT})")),
        ),
        Mistake(
            "The weight decay is not multiplied by the learning rate, so it continues at full strength when the "
            "schedule lowers the rate.",
            ((DECAY, " - weight_decay * w"),),
        ),
        Mistake(
            "The weight decay takes its share from the new w, after the step. Which w is meant in the formula?",
            ((DECAY + MOVE, " - lr * step; w = w - lr * weight_decay * w"),),
        ),
        Mistake("There is no weight decay.", ((DECAY, ""),)),
        Mistake(
            "The weights grow by the weight decay. To decay means to become smaller: look at its sign.",
            ((DECAY, " + lr * weight_decay * w"),),
        ),
        Mistake(
            "The weight decay takes the same number from each weight. It takes a share of it.",
            ((DECAY, " - lr * weight_decay"),),
        ),
        Mistake(
            "The weights decay by lr, and weight_decay is not used.",
            ((DECAY, " - lr * w"),),
        ),
        Mistake(
            "The weight decay is multiplied by lr twice.",
            ((DECAY, " - lr * lr * weight_decay * w"),),
        ),
        Mistake(
            "Only matrices decay here. Which parameters decay is not the business of this function.",
            ((DECAY, " - lr * weight_decay * w * (w.ndim > 1)"),),
        ),
        Mistake(
            "It goes uphill. The gradient says where the loss grows: which way do we want to go?",
            ((MOVE, " + lr * step"),),
        ),
        Mistake("lr is missing before the quotient.", ((MOVE, " - step"),)),
        Mistake(
            "eps is added to w itself. It belongs to the divisor: where are brackets needed?",
            ((STEP_BY, "m_hat / np.sqrt(v_hat)"), (MOVE, " - lr * step + eps")),
        ),
        Mistake(
            "The weights move by the sign of the gradient. It is so in the first step, where the moments hold nothing "
            "else; and later?",
            ((STEP_BY, "np.sign(g)"),),
        ),
        *(
            Mistake("It is only the change of w that comes back as w.", (("w = w" + DECAY + MOVE, change),))
            for change in ("w = -lr * weight_decay * w - lr * step", "w = lr * weight_decay * w + lr * step")
        ),
        Mistake(
            "Neither moment is corrected. Both begin at zero and are too small in the first steps: by how much?",
            ((M_HAT, "m"), (V_HAT, "v")),
        ),
        Mistake("m is not corrected, only v is.", ((M_HAT, "m"),)),
        Mistake("v is not corrected, only m is.", ((V_HAT, "v"),)),
        *_in_either(
            "The corrections count the steps from 0, so the first step divides by zero. t is 1 in the first step; is "
            "something subtracted from it?",
            ("beta1**t", "beta1 ** (t - 1)"), ("beta2**t", "beta2 ** (t - 1)"),
        ),
        *_in_either(
            "The corrections are one step ahead. t is already 1 in the first step; is something added to it?",
            ("beta1**t", "beta1 ** (t + 1)"), ("beta2**t", "beta2 ** (t + 1)"),
        ),
        *_in_either(
            "The corrections use beta and not beta to the power of t, as if every step were the first one.",
            ("beta1**t", "beta1"), ("beta2**t", "beta2"),
        ),
        *_in_either(
            "The corrections multiply beta by t. Which operation has the formula?",
            ("beta1**t", "beta1 * t"), ("beta2**t", "beta2 * t"),
        ),
        *_in_either(
            "In the corrections 1 - beta is raised to the power of t. Of what is it the power in the formula?",
            ("1 - beta1**t", "(1 - beta1) ** t"), ("1 - beta2**t", "(1 - beta2) ** t"),
        ),
        *_in_either(
            "A correction multiplies where it should divide. The moments are too small at first: should it make them "
            "larger or smaller?",
            (M_HAT, "m * (1 - beta1**t)"), (V_HAT, "v * (1 - beta2**t)"),
        ),
        *_in_either(
            "A correction divides by beta to the power of t, the share that the zero of the beginning still has. Which "
            "share have the gradients?",
            (M_HAT, "m / beta1**t"), (V_HAT, "v / beta2**t"),
        ),
        *_in_either(
            "In a correction the power is subtracted at the end. What is the divisor: where are brackets needed?",
            (M_HAT, "m / 1 - beta1**t"), (V_HAT, "v / 1 - beta2**t"),
        ),
        *_in_either(
            "A correction has the beta of the other moment.",
            ("beta1**t", "beta2**t"), ("v / (1 - beta2**t)", "v / (1 - beta1**t)"),
        ),
        Mistake(
            "v is corrected after its root was taken. Which comes first in the formulas?",
            ((ROOT, "np.sqrt(v) / (1 - beta2**t) + eps"),),
        ),
        *(
            Mistake(
                "eps is under the root. What does the root cover in the formula? (Where gradients are small, this "
                "makes eps as large as its root.)",
                ((ROOT, root),),
            )
            for root in ("np.sqrt(v_hat + eps)", "np.sqrt((v + eps) / (1 - beta2**t))")
        ),
        Mistake(
            "eps is corrected as well: it was added to the root of v before v was divided by its correction.",
            ((STEP_BY, "m_hat * np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)"),),
        ),
        Mistake(
            "eps is added to the quotient. It belongs to the divisor: where are brackets needed?",
            ((STEP_BY, "m_hat / np.sqrt(v_hat) + eps"),),
        ),
        Mistake(
            "eps is missing: a parameter whose gradient has always been zero is divided by zero.",
            ((ROOT, "np.sqrt(v_hat)"),),
        ),
        Mistake(
            "The root is missing. v is a mean of squares, and has the square of the gradient's unit.",
            ((ROOT, "v_hat + eps"),),
        ),
        Mistake(
            "It multiplies by the root of v. A parameter with large gradients should move less for each unit of them.",
            ((STEP_BY, f"m_hat * ({ROOT})"),),
        ),
        Mistake(
            "w moves along m without regard to the usual size of the gradient. v is computed, but not used.",
            ((STEP_BY, "m_hat"),),
        ),
        Mistake(
            "w moves along the gradient, as in plain gradient descent. The moments are computed, but not used.",
            ((STEP_BY, "g"),),
        ),
        Mistake(
            "w moves along the gradient itself, divided by its usual size. m is computed, but not used.",
            ((STEP_BY, f"g / ({ROOT})"),),
        ),
        Mistake(
            "w moves by the moments from before this step. Which comes first?",
            (("m = beta1", "old_m, old_v = m, v; m = beta1"), (M_HAT, "old_m / (1 - beta1**t)"),
             (V_HAT, "old_v / (1 - beta2**t)")),
        ),
        Mistake(
            "The same number is added to v for every weight: the squares of the whole array, summed. Each has its own.",
            ((V, "beta2 * v + (1 - beta2) * (g**2).sum()"),),
        ),
        Mistake("v is a mean of the gradients, not of their squares.", ((V, "beta2 * v + (1 - beta2) * g"),)),
        Mistake(
            "v is made with the absolute value of g; the formula has its square.",
            ((V, "beta2 * v + (1 - beta2) * np.abs(g)"),),
        ),
        Mistake(
            "v has one square too many: 1 - beta2 is squared together with g.",
            ((V, "beta2 * v + ((1 - beta2) * g) ** 2"),),
        ),
        Mistake(
            "v is a mean of the squares of m. Of what is it in the formula?",
            ((V, "beta2 * v + (1 - beta2) * m**2"),),
        ),
        *_in_either(
            "All of g is added to m, or all of its square to v. In a running mean the two shares sum to 1.",
            (M, "beta1 * m + g\n"), (V, "beta2 * v + g**2"),
        ),
        *_in_either(
            "All of the old mean is kept. In a running mean the two shares sum to 1.",
            (M, "m + (1 - beta1) * g\n"), (V, "v + (1 - beta2) * g**2"),
        ),
        *_in_either(
            "The old mean is forgotten. A running mean has two parts, an old and a new one.",
            (M, "(1 - beta1) * g\n"), (V, "(1 - beta2) * g**2"),
        ),
        *_in_either(
            "In a running mean, the new part is added. Look at the sign.",
            (M, "beta1 * m - (1 - beta1) * g\n"), (V, "beta2 * v - (1 - beta2) * g**2"),
        ),
        *_in_either(
            "beta and 1 - beta have changed places: nearly all of the old mean is thrown away in each step.",
            (M, "(1 - beta1) * m + beta1 * g\n"), (V, "(1 - beta2) * v + beta2 * g**2"),
        ),
        Mistake(
            "beta1 and beta2 are exchanged. Which of the two belongs to m?",
            (("beta1, beta2, eps", "beta2, beta1, eps"),),
        ),
        *_in_either(
            "A moment is made with the beta of the other one.",
            (M, "beta2 * m + (1 - beta2) * g\n"), (V, "beta1 * v + (1 - beta1) * g**2"),
        ),
        Mistake(
            "m and v are exchanged. In which order are the three returned?",
            ((RETURNED, "return w, v, m"),),
        ),
        Mistake("w comes last. In which order are the three returned?", ((RETURNED, "return m, v, w"),)),
        Mistake(
            "v is returned as its root. The next step begins with v itself.",
            ((RETURNED, "return w, m, np.sqrt(v)"),),
        ),
        Mistake(
            "The moments are returned as they came. What does the next step begin with?",
            (("m = beta1", "old = m, v; m = beta1"), (RETURNED, "return w, *old")),
        ),
        *(
            Mistake(
                "A corrected moment is returned. They are only for this step's quotient; m and v themselves are kept, "
                "or they would be corrected again in the next step.",
                (("    w = w", f"    {kept}; w = w"),),
            )
            for kept in ("m, v = m_hat, v_hat", "m = m_hat", "v = v_hat")
        ),
    ),
)


# 2. Clipping.


def clip_by_norm(grads, max_norm):
    """The gradients, scaled down together if their global norm is above max_norm, and that norm."""
    squares = [(g * g).sum() for g in grads.values()]
    norm = np.sqrt(sum(squares))
    factor = min(1.0, float(max_norm / (norm + 1e-6)))
    clipped = {name: g * factor for name, g in grads.items()}
    return clipped, norm


def _clip_cases(rng):
    def case(title, max_norm, scale=1.0, **shapes):
        grads = {name: scale * rng.standard_normal(shape) for name, shape in shapes.items()}
        return Case(title, {"grads": grads, "max_norm": max_norm})

    def near(title, share, **shapes):
        """A limit near the norm."""
        grads = case(title, 0.0, scale=3.0, **shapes).inputs["grads"]
        return Case(title, {"grads": grads, "max_norm": share * float(clip_by_norm(grads, 1.0)[1])})

    zero = {"weight": np.zeros((2, 3)), "bias": np.zeros(3)}
    uneven = {"wte": 0.01 * rng.standard_normal((4, 2)), "bias": 5 + rng.random(3), "wpe": rng.standard_normal((3, 2))}
    return [
        case("two arrays, above the limit", 0.7, scale=3.0, weight=(2, 3), bias=(3,)),
        case("below the limit", 20.0, weight=(2, 3), bias=(3,)),
        near("a little below the limit", 1.2, weight=(2, 3), bias=(3,)),
        near("a little above the limit", 0.8, bias=(3,), weight=(2, 3), gain=(3,)),
        case("a single array", 1.0, scale=3.0, weight=(3, 3)),
        case("a single number", 1.0, scale=100.0, weight=(1,)),
        case("a gradient that is small, and a smaller limit", 1e-5, scale=1e-4, weight=(2, 3), bias=(3,)),
        Case("arrays of very different sizes", {"grads": uneven, "max_norm": 1.5}),
        Case("all gradients are zero", {"grads": zero, "max_norm": 1.0}),
        case("a gradient that has exploded", 1.0, scale=1e6, weight=(2, 3), bias=(3,), gain=(3,)),
    ]


SMALL_NUMBER = (
    "It is right except for the 1e-6 that the formula adds to the norm. Without it a gradient of zeros is divided by "
    "zero."
)
SUM, NORM, FACTOR = "np.sqrt(sum(squares))", "(g * g).sum()", "min(1.0, float(max_norm / (norm + 1e-6)))"

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
            (("g * factor", "g * min(1.0, float(max_norm / (np.sqrt((g * g).sum()) + 1e-6)))"),),
        ),
        Mistake(
            "The factor of each array comes from the arrays up to this one. Can it be known before the last of them "
            "was seen?",
            ((
                "{name: g * factor for name, g in grads.items()}",
                "{name: g * min(1.0, float(max_norm / (np.sqrt(sum(squares[: i + 1])) + 1e-6))) "
                "for i, (name, g) in enumerate(grads.items())}",
            ),),
        ),
        Mistake(
            "Each number is cut off at max_norm. That turns the gradient into another direction; it should only become "
            "shorter.",
            (("g * factor", "np.clip(g, -max_norm, max_norm)"),),
        ),
        Mistake(
            "A gradient that is short enough is made longer. When is there nothing to do?",
            ((FACTOR, "float(max_norm / (norm + 1e-6))"),),
        ),
        *(
            Mistake("The clipped gradient has the norm 1, whatever max_norm is.", ((FACTOR, factor),))
            for factor in ("1 / (norm + 1e-6) if norm > max_norm else 1.0", "min(1.0, float(1 / (norm + 1e-6)))",
                           "1 / (norm + 1e-6)")
        ),
        Mistake(
            "Long gradients stay as they are, and short ones become longer. Is the larger of two numbers taken, or is "
            "a comparison the wrong way round?",
            ((FACTOR, "max(1.0, float(max_norm / (norm + 1e-6)))"),),
        ),
        *(
            Mistake("The factor is upside down. Is it above or below 1 for a long gradient?", ((FACTOR, factor),))
            for factor in ("min(1.0, float((norm + 1e-6) / max_norm))", "float((norm + 1e-6) / max_norm)",
                           "(norm + 1e-6) / max_norm if norm > max_norm else 1.0")
        ),
        *(
            Mistake(SMALL_NUMBER, ((FACTOR, factor),))
            for factor in ("min(1.0, max_norm / norm)", "min(1.0, max_norm / float(norm))",
                           "max_norm / norm if norm > max_norm else 1.0", "min(norm, max_norm) / norm")
        ),
        *(
            Mistake("Another number than in the formula is added to the norm.", (("norm + 1e-6", f"norm + {eps}"),))
            for eps in (1e6, 1, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-7, 1e-8, 1e-10, 1e-12)
        ),
        Mistake(
            "The 1e-6 is not in the divisor: where are brackets needed?",
            ((FACTOR, "min(1.0, float(max_norm / norm + 1e-6))"),),
        ),
        Mistake(
            "The sum of the squares is compared with max_norm. Whose root is the norm?",
            ((FACTOR, "float(max_norm / (norm + 1e-6)) if norm**2 > max_norm else 1.0"),),
        ),
        Mistake(
            "The norm is compared with 1, and not with max_norm.",
            ((FACTOR, "float(max_norm / (norm + 1e-6)) if norm > 1 else 1.0"),),
        ),
        *(
            Mistake(
                "The returned norm is the one after clipping. One wants to see how long the gradient really was.",
                (("return clipped, norm", f"return clipped, {after}"),),
            )
            for after in ("norm * factor", "np.sqrt(sum((g * g).sum() for g in clipped.values()))",
                          "min(norm, max_norm)")
        ),
        *(
            Mistake("The factor comes back in place of the norm.", (("return clipped, norm", f"return clipped, {it}"),))
            for it in ("factor", "factor if factor < 1 else 1")
        ),
        Mistake(
            "Gradients that are too long come back unchanged. Is a new array made and then not kept?",
            (("g * factor", "g"),),
        ),
        Mistake(
            "The norm is a sum of the norms of the arrays. Lengths at right angles do not add up; their squares do.",
            ((SUM, "sum(np.sqrt(squares))"),),
        ),
        Mistake("The norm is the sum of the squares: the root is missing.", ((SUM, "sum(squares)"),)),
        Mistake(
            "The norm is the sum of the absolute values of all numbers. The length of a vector has squares in it, and "
            "a root.",
            ((SUM, "sum(np.abs(g).sum() for g in grads.values())"),),
        ),
        Mistake(
            "The norm is the largest of all numbers. The length of a vector has squares in it, and a root.",
            ((SUM, "max(np.abs(g).max() for g in grads.values())"),),
        ),
        Mistake(
            "The norm is the largest of the arrays' norms. All arrays together have one.",
            ((SUM, "np.sqrt(max(squares))"),),
        ),
        *(
            Mistake("The squares are averaged. The length of a vector has their sum.", ((SUM, f"np.sqrt({mean})"),))
            for mean in ("sum(squares) / sum(g.size for g in grads.values())", "sum(squares) / len(squares)",
                         "sum((g * g).mean() for g in grads.values())")
        ),
        Mistake(
            "The norm is that of the last array only. Is the sum of the others overwritten?",
            ((SUM, "np.sqrt(squares[-1])"),),
        ),
        Mistake(
            "The norm is that of the first array only. Does the loop end too early?",
            ((SUM, "np.sqrt(squares[0])"),),
        ),
    ),
)


# The harder part: warm-up and cosine.


def learning_rate(step, max_lr, min_lr, warmup_steps, decay_steps):
    """``minigpt2.components.optimizer.learning_rate``."""
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    if step >= decay_steps:
        return min_lr
    r = (step - warmup_steps) / (decay_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * r)) / 2


def _rate_cases(rng):
    max_lr = float(rng.uniform(0.5, 2.0))
    min_lr = float(rng.uniform(0.05, 0.2))

    def case(title, step, warmup_steps=10, decay_steps=110, min_lr=min_lr):
        return Case(title, {
            "step": step, "max_lr": max_lr, "min_lr": min_lr, "warmup_steps": warmup_steps, "decay_steps": decay_steps,
        })  # fmt: skip

    return [
        case("in the middle of the warm-up", 4),
        case("the first step", 0),
        case("a decay that ends with the warm-up", 4, decay_steps=10),
        case("the last step of the warm-up", 9),
        case("the first step after the warm-up", 10),
        case("the second step after the warm-up", 11),
        case("a third of the way down", 43),
        case("two thirds of the way down", 77),
        case("the last step of the decay", 109),
        case("the decay is over", 110),
        case("soon after", 115),
        case("long after", 150),
        case("no warm-up", 0, warmup_steps=0),
        case("no warm-up, later", 30, warmup_steps=0),
        case("a long warm-up", 12, warmup_steps=25, decay_steps=60),
        case("a short training", 12, warmup_steps=3, decay_steps=20),
        case("a warm-up that begins below min_lr", 1, min_lr=max_lr / 2),
        case("down to zero", 81, min_lr=0.0),
    ]


RISE, WARM_UP, AFTER = "max_lr * (step + 1) / (warmup_steps + 1)", "step < warmup_steps", "step >= decay_steps"
R, CURVE = "(step - warmup_steps) / (decay_steps - warmup_steps)", "(1 + math.cos(math.pi * r)) / 2"
RANGE = "min_lr + (max_lr - min_lr) *"

RATE = Task(
    name="learning_rate",
    outputs=("lr",),
    reference=learning_rate,
    cases=_rate_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The warm-up begins at 0, so the first step does nothing.",
            ((RISE, "max_lr * step / warmup_steps"),),
        ),
        Mistake(
            "The warm-up reaches max_lr one step too early. What is it divided by in the formula?",
            ((RISE, "max_lr * (step + 1) / warmup_steps"),),
        ),
        Mistake(
            "The warm-up is one step behind, and the first step does nothing. What is the rate of step 0 in the "
            "formula?",
            ((RISE, "max_lr * step / (warmup_steps + 1)"),),
        ),
        *(Mistake("There is no warm-up.", (change,)) for change in ((RISE, "max_lr"), (WARM_UP, "False"))),
        Mistake(
            "The rate is 0 in the warm-up. Is it multiplied by 0, or rounded down, as `//` does?",
            ((RISE, "max_lr * ((step + 1) // (warmup_steps + 1))"),),
        ),
        *(
            Mistake("Brackets are missing in the warm-up. What is divided by what?", ((RISE, rise),))
            for rise in ("max_lr * step + 1 / (warmup_steps + 1)", "max_lr * step + 1 / warmup_steps + 1",
                         "max_lr * (step + 1) / warmup_steps + 1")
        ),
        *(
            Mistake(
                "Everything is shifted by one step. From which number does step count?",
                (("    if step < warmup_steps", f"    step = {other}\n    if step < warmup_steps"),),
            )
            for other in ("step + 1", "step - 1", "range(step)[-1]")
        ),
        Mistake(
            "The warm-up comes at the end, in place of the beginning. Look at the comparison of step and warmup_steps.",
            ((WARM_UP, "step > warmup_steps"),),
        ),
        Mistake(
            "The warm-up rises from min_lr. Is min_lr in its formula?",
            ((RISE, "min_lr + (max_lr - min_lr) * (step + 1) / (warmup_steps + 1)"),),
        ),
        Mistake(
            "The warm-up is never below min_lr. Is there such a limit in its formula?",
            ((RISE, f"max(min_lr, {RISE})"),),
        ),
        *(
            Mistake("The warm-up ends at another step than in the formula.", ((WARM_UP, end),))
            for end in ("step <= warmup_steps + 1", "step < warmup_steps - 1")
        ),
        Mistake("It falls along a straight line, not along a cosine.", ((CURVE, "(1 - r)"),)),
        Mistake(
            "r counts from the beginning of training. It is the share of the way since the end of the warm-up.",
            ((R, "step / decay_steps"),),
        ),
        Mistake(
            "The warm-up is not subtracted from step in r. It is the share of the way since the end of the warm-up.",
            ((R, "step / (decay_steps - warmup_steps)"),),
        ),
        Mistake(
            "r is divided by decay_steps. How many steps lie between the end of the warm-up and the end of the decay?",
            ((R, "(step - warmup_steps) / decay_steps"),),
        ),
        Mistake(
            "r is one step ahead: at the first step after the warm-up it is 0.",
            ((R, "(step + 1 - warmup_steps) / (decay_steps - warmup_steps)"),),
        ),
        *(
            Mistake("In r it is not the difference that is divided. Where are brackets needed?", ((R, r),))
            for r in ("step - warmup_steps / (decay_steps - warmup_steps)",
                      "step - warmup_steps / decay_steps - warmup_steps")
        ),
        Mistake(
            "The rate stays at max_lr until the decay is over. Is r ever between 0 and 1? (`//` rounds down.)",
            ((R, "(step - warmup_steps) // (decay_steps - warmup_steps)"),),
        ),
        Mistake(
            "r is upside down. Is a share of the way above or below 1?",
            ((R, "(decay_steps - warmup_steps) / (step - warmup_steps)"),),
        ),
        *(
            Mistake(
                "The divisor in r is off by one. r is 1 when step has arrived at decay_steps.",
                ((R, f"(step - warmup_steps) / (decay_steps - warmup_steps {one})"),),
            )
            for one in ("- 1", "+ 1")
        ),
        Mistake(
            "It goes down along a whole wave and comes up again. Half of it is wanted.",
            ((CURVE, "(1 + math.cos(2 * math.pi * r)) / 2"),),
        ),
        Mistake(
            "It goes down along a quarter of a wave. Half a wave is wanted, from its top to its bottom.",
            ((CURVE, "math.cos(math.pi * r / 2)"),),
        ),
        Mistake(
            "The cosine itself goes from 1 to -1. The factor should go from 1 to 0.",
            ((CURVE, "math.cos(math.pi * r)"),),
        ),
        Mistake("The rate rises after the warm-up, from min_lr to max_lr. Look at the sign of the cosine.",
                ((CURVE, "(1 - math.cos(math.pi * r)) / 2"),)),
        Mistake("The factor goes from 2 to 0, so the rate exceeds max_lr. What is missing?",
                ((CURVE, "(1 + math.cos(math.pi * r))"),)),
        Mistake("Only the cosine is halved. Where are brackets needed?", ((CURVE, "(1 + math.cos(math.pi * r) / 2)"),)),
        Mistake("r is outside of the cosine, which is the same at every step. Of what is it taken in the formula?",
                ((CURVE, "(1 + math.cos(math.pi) * r) / 2"),)),
        Mistake("The angle is not in radians: `cos` counts half a turn as pi.",
                ((CURVE, "(1 + math.cos(180 * r)) / 2"),)),
        Mistake("pi is missing in the angle: `cos` counts half a turn as pi.", ((CURVE, "(1 + math.cos(r)) / 2"),)),
        Mistake(
            "When the decay is over the rate rises again with the cosine. How does the curve in the picture go on?",
            ((AFTER, "False"),),
        ),
        Mistake(
            "The decay ends too late. decay_steps counts from the beginning of training, as step does.",
            ((AFTER, "step >= warmup_steps + decay_steps"),),
        ),
        *(
            Mistake("The decay ends too early. At which step does it end in the formula?", ((AFTER, end),))
            for end in ("step >= decay_steps - warmup_steps", "step >= decay_steps - 1")
        ),
        Mistake(
            "When the decay is over the rate is 0. Where does the curve in the picture end?",
            (("return min_lr\n", "return 0.0\n"),),
        ),
        Mistake(
            "When the decay is over the rate is max_lr again. Where does the curve in the picture end?",
            (("return min_lr\n", "return max_lr\n"),),
        ),
        Mistake("min_lr is not added: the cosine falls to 0.", ((RANGE, "max_lr *"),)),
        Mistake(
            "The cosine falls to 0 and is cut off at min_lr. In the formula it arrives there at the very end.",
            ((f"{RANGE} {CURVE}", f"max(min_lr, max_lr * {CURVE})"),),
        ),
        Mistake(
            "min_lr is added to a cosine that starts at max_lr, so together they exceed max_lr.",
            ((RANGE, "min_lr + max_lr *"),),
        ),
        Mistake(
            "min_lr is not added: the cosine falls from the difference of the two rates to 0.",
            ((RANGE, "(max_lr - min_lr) *"),),
        ),
        Mistake(
            "The cosine is added to max_lr, so the rate exceeds it. To which of the two rates is it added?",
            ((RANGE, "max_lr + (max_lr - min_lr) *"),),
        ),
        Mistake(
            "The difference of the two rates has the wrong sign.",
            ((RANGE, "min_lr + (min_lr - max_lr) *"),),
        ),
        Mistake(
            "max_lr and min_lr are exchanged.",
            (("max_lr, min_lr, warmup_steps", "min_lr, max_lr, warmup_steps"),),
        ),
    ),
)

TASKS = (STEP, CLIP, RATE)
