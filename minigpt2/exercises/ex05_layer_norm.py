"""Exercise 5, layer normalisation: the formula of the paper, and its gradient with the two means."""

import numpy as np

from minigpt2.exercises.task import Case, Mistake, Task
from minigpt2.exercises.trees import cast

NOTEBOOK = "2_5_5_residual_and_layer_norm"


def layer_norm_forward(x, weight, bias, eps=1e-5):
    """Normalise the last dimension."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    deviation = np.sqrt(variance + eps)
    x_hat = (x - mean) / deviation
    y = x_hat * weight + bias
    cache = {"x": x, "x_hat": x_hat, "rstd": 1 / deviation, "mean": mean, "variance": variance}
    return y, cache | {"weight": weight, "bias": bias, "eps": eps}


def layer_norm_backward(dy, cache):
    """Gradients of ``layer_norm_forward``."""
    x_hat, rstd, weight = cache["x_hat"], cache["rstd"], cache["weight"]
    tokens = tuple(range(dy.ndim - 1))
    dx_hat = dy * weight
    mean = dx_hat.mean(axis=-1, keepdims=True)
    along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = rstd * (dx_hat - mean - x_hat * along)
    dweight = (dy * x_hat).sum(axis=tokens)
    dbias = dy.sum(axis=tokens)
    return dx, dweight, dbias


def _inputs(rng, *shape, scale=1.0, offset=0.0, **eps):
    """Arguments of ``layer_norm_forward``. x has a mean and a variance that are not 0 and 1."""
    C = shape[-1]
    return {
        "x": offset + scale * (0.5 + 2 * rng.standard_normal(shape)),
        "weight": 1 + 0.5 * rng.standard_normal(C),
        "bias": rng.standard_normal(C),
        **eps,
    }


def _cases(rng):
    cases = [
        Case("two sequences of three tokens, four channels", _inputs(rng, 2, 3, 4, eps=1e-5)),
        Case("two axes, as many tokens as channels", _inputs(rng, 5, 5, eps=1e-5)),
        Case("one token, seven channels", _inputs(rng, 1, 1, 7, eps=1e-5)),
        Case("five axes", _inputs(rng, 2, 1, 3, 2, 5, eps=1e-5)),
        Case("a variance so small that eps counts", _inputs(rng, 2, 3, 4, scale=1e-3, eps=1e-5)),
        Case("a large eps", _inputs(rng, 2, 3, 4, eps=0.5)),
        Case("a mean that is far from zero", _inputs(rng, 2, 3, 4, offset=100.0, eps=1e-5)),
        Case("a token whose channels are all alike", _inputs(rng, 2, 3, 4, eps=1e-5)),
    ]
    cases[-1].inputs["x"][0, 1] = 1.5
    return cases


def _forward_cases(rng):
    return [
        *_cases(rng),
        Case(
            "a mean that is far from zero, in float32",
            cast(_inputs(rng, 2, 3, 32, offset=1000.0, eps=1e-5), np.float32),
        ),
        Case("eps is not given", _inputs(rng, 2, 3, 4, scale=1e-3)),
    ]


OTHER_AXIS = (
    "Mean and variance are not taken over the channels alone. Each token is normalised separately: along which axis "
    "are its numbers?"
)
LOST_AXIS = (
    "An axis is lost: mean and variance of shape (..., 1) are needed, and where there are as many tokens as channels "
    "NumPy silently broadcasts (...) along the wrong axis. Look for keepdims."
)
EPS = "eps does not come in as it does in the formula: what is it added to, and what does the root cover?"

FORWARD = Task(
    name="layer_norm_forward",
    outputs=("y",),
    reference=layer_norm_forward,
    has_cache=True,
    cases=_forward_cases,
    notebook=NOTEBOOK,
    mistakes=(
        # The mean and the variance.
        *(
            Mistake(OTHER_AXIS, (("x.mean(axis=-1", f"x.mean(axis={axis}"), (").mean(axis=-1", f").mean(axis={axis}")))
            for axis in ("0", "1", "-2", "(1, 2)", "tuple(range(1, x.ndim))", "tuple(range(x.ndim - 1))")
        ),
        Mistake(
            "Mean and variance are taken over all numbers at once. Each token is normalised separately: along which "
            "axis are its numbers?",
            (("x.mean(axis=-1, keepdims=True)", "x.mean()"), (").mean(axis=-1, keepdims=True)", ").mean()")),
        ),
        *(
            Mistake(
                "The mean is that of other numbers than the variance. Each token has its own of both.",
                (("x.mean(axis=-1", f"x.mean(axis={axis}"), ("((x - mean) ** 2).mean", spread)),
            )
            for axis in ("None", "0", "-2")
            for spread in ("((x - mean) ** 2).mean", "x.var")
        ),
        *(
            Mistake(
                "The variance is that of other numbers than the mean. Each token has its own of both.",
                (("((x - mean) ** 2).mean(axis=-1", f"{spread}(axis={axis}"),),
            )
            for axis in ("None", "0", "-2")
            for spread in ("((x - mean) ** 2).mean", "x.var")
        ),
        *(
            Mistake(LOST_AXIS, changes)
            for changes in (
                (("x.mean(axis=-1, keepdims=True)", "x.mean(axis=-1)"),),
                ((").mean(axis=-1, keepdims=True)", ").mean(axis=-1)"),),
                (
                    ("x.mean(axis=-1, keepdims=True)", "x.mean(axis=-1)"),
                    ("((x - mean) ** 2).mean(axis=-1, keepdims=True)", "x.var(axis=-1)"),
                ),
                (
                    ("x.mean(axis=-1, keepdims=True)", "x.mean(axis=-1)"),
                    ("((x - mean) ** 2).mean(axis=-1, keepdims=True)", "((x - mean) ** 2).mean(axis=-1)"),
                ),
                (
                    ("x.mean(axis=-1, keepdims=True)", "x.mean(axis=-1)"),
                    ("((x - mean) ** 2).mean(axis=-1, keepdims=True)", "x.var(axis=-1, keepdims=True)"),
                ),
            )
        ),
        Mistake(
            "The median is taken in place of the mean.",
            (("x.mean(axis=-1, keepdims=True)", "np.median(x, axis=-1, keepdims=True)"),),
        ),
        Mistake("The mean is a sum: what is it divided by?", (("x.mean(", "x.sum("),)),
        Mistake("The variance is a sum: what is it divided by?", ((").mean(", ").sum("),)),
        Mistake(
            "The variance is divided by C - 1, as statisticians do for a sample (ddof=1). Look at the formula of the "
            "variance: what is the sum divided by?",
            ((").mean(axis=-1, keepdims=True)", ").sum(axis=-1, keepdims=True) / (x.shape[-1] - 1)"),),
        ),
        *(
            Mistake(
                "The sum of the squares is divided by another number than C. Is it the length of the last axis, in "
                "every case?",
                ((").mean(axis=-1, keepdims=True)", f").sum(axis=-1, keepdims=True) / {count}"),),
            )
            for count in ("len(x)", "x.shape[1]", "768")
        ),
        *(
            Mistake(
                "Mean and variance are divided by another number than C. Is it the length of the last axis, in every "
                "case?",
                (
                    ("x.mean(axis=-1, keepdims=True)", f"x.sum(axis=-1, keepdims=True) / {count}"),
                    (").mean(axis=-1, keepdims=True)", f").sum(axis=-1, keepdims=True) / {count}"),
                ),
            )
            for count in ("len(x)", "x.shape[1]", "768")
        ),
        *(
            Mistake(
                "The mean is a sum that is divided by another number than C. Is it the length of the last axis, in "
                "every case?",
                (("x.mean(axis=-1, keepdims=True)", f"x.sum(axis=-1, keepdims=True) / {count}"), *spread),
            )
            for count in ("len(x)", "x.shape[1]", "768", "(x.shape[-1] - 1)")
            for spread in ((), (("((x - mean) ** 2).mean", "x.var"),))
        ),
        Mistake("The variance is the mean of x squared. What is squared in the formula?", (("(x - mean) **", "x **"),)),
        Mistake(
            "Digits are lost where the mean is large: the variance is a small difference of two large numbers. Look at "
            "the formula: what is subtracted before the square?",
            (("((x - mean) ** 2).mean(axis=-1, keepdims=True)", "(x**2).mean(axis=-1, keepdims=True) - mean**2"),),
        ),
        Mistake(
            "The variance is the square of a mean. Which comes first?",
            (("((x - mean) ** 2).mean(axis=-1, keepdims=True)", "x.mean(axis=-1, keepdims=True) ** 2"),),
        ),
        Mistake(
            "The variance has the absolute values of the differences. What is done to them in the formula?",
            (("((x - mean) ** 2)", "abs(x - mean)"),),
        ),
        *(
            Mistake("It is divided by the mean absolute difference, which is not the standard deviation.", changes)
            for changes in (
                (("((x - mean) ** 2)", "abs(x - mean)"), ("np.sqrt(", "(")),
                (("((x - mean) ** 2)", "abs(x - mean)"), ("variance + eps", "variance**2 + eps")),
            )
        ),
        # eps and the root.
        Mistake(
            "eps is added outside the root, to the standard deviation. Look at the formula: what does the root cover?",
            (("np.sqrt(variance + eps)", "(np.sqrt(variance) + eps)"),),
        ),
        Mistake(
            "eps is missing: a token whose channels are all alike is divided by zero, and one with a small variance by "
            "too little.",
            (("variance + eps", "variance"),),
        ),
        Mistake(
            "eps is missing. Only a variance of 0 is taken care of; a small one is divided by too little.",
            (("variance + eps", "np.where(variance == 0, 1, variance)"),),
        ),
        *(
            Mistake(EPS, (("np.sqrt(variance + eps)", root),))
            for root in (
                "np.sqrt(variance) + np.sqrt(eps)",
                "np.sqrt(variance + eps**2)",
                "np.sqrt(variance + 2 * eps)",
                "np.sqrt(variance - eps)",
                "np.sqrt(abs(variance - eps))",
                "np.sqrt(np.maximum(variance, eps))",
            )
        ),
        *(
            Mistake(
                "eps always has the same value. It is an argument: use the one that you are given.",
                (("variance + eps", f"variance + {eps}"),),
            )
            for eps in ("1e-5", "1e-6", "1e-8")
        ),
        *(
            Mistake(
                "Where eps is not given, it has another value than in the skeleton: compare the first line.",
                (("1e-5", eps),),
            )
            for eps in ("1e-6", "1e-8", "1e-12", "1e-3")
        ),
        Mistake(
            "It is divided by the variance, which has the square of x's unit. Look at the denominator of x_hat.",
            (("np.sqrt(", "("),),
        ),
        *(
            Mistake("A root is taken twice.", (("np.sqrt(variance + eps)", root),))
            for root in ("np.sqrt(np.sqrt(variance) + eps)", "np.sqrt(np.sqrt(variance + eps))")
        ),
        # x_hat.
        Mistake(
            "The mean is not subtracted: x itself is divided by the standard deviation.",
            (("(x - mean) / deviation", "x / deviation"),),
        ),
        Mistake("x_hat has the wrong sign: what is subtracted from what?", (("(x - mean) / dev", "(mean - x) / dev"),)),
        Mistake("The mean is added.", (("(x - mean) / deviation", "(x + mean) / deviation"),)),
        Mistake(
            "Only the mean is subtracted. What else makes x_hat?",
            (("(x - mean) / deviation", "(x - mean)"),),
        ),
        Mistake("It is multiplied by the deviation.", (("(x - mean) / dev", "(x - mean) * dev"),)),
        Mistake(
            "Only the mean is divided by the deviation: is a bracket missing?",
            (("(x - mean) / ", "x - mean / "),),
        ),
        Mistake(
            "x is normalised twice, once more than it should be.",
            (
                (
                    "x_hat * weight",
                    "(x_hat - x_hat.mean(-1, keepdims=True)) / np.sqrt(x_hat.var(-1, keepdims=True) + eps) * weight",
                ),
            ),
        ),
        # The gain and the shift.
        Mistake("weight is missing, the gain of each channel.", (("x_hat * weight", "x_hat"),)),
        Mistake("bias is missing, the shift of each channel.", ((" + bias", ""),)),
        Mistake("bias is subtracted.", ((" + bias", " - bias"),)),
        Mistake(
            "weight multiplies bias as well. In which order do gain and shift come?",
            (("x_hat * weight + bias", "(x_hat + bias) * weight"),),
        ),
        Mistake("1 is added to weight. The gain is weight itself.", (("x_hat * weight", "x_hat * (1 + weight)"),)),
        Mistake("weight and bias are exchanged.", (("x_hat * weight + bias", "x_hat * bias + weight"),)),
        Mistake("It is divided by weight.", (("x_hat * weight", "x_hat / weight"),)),
        Mistake("weight is added. It is a gain.", (("x_hat * weight", "x_hat + weight"),)),
        Mistake("bias multiplies. It is a shift.", (("weight + bias", "weight * bias"),)),
        Mistake("Gain and shift act on x, not on x_hat.", (("x_hat * weight", "x * weight"),)),
        Mistake(
            "Gain and shift come before the norm, which takes them away again. In which order are they in the formula?",
            (("mean = x.mean(", "x = x * weight + bias; mean = x.mean("), ("x_hat * weight + bias", "x_hat")),
        ),
        Mistake(
            "x is added to the result. The block does that, outside this function.",
            (("return y", "return x + y"),),
        ),
    ),
)


def _of_a_parameter(name, each):
    """The known mistakes in the gradient of weight or bias.

    each: its part for each token, in our source
    """
    sums = f"{each}.sum(axis=tokens)"
    shared = f"{name} has one number for each channel, and acts on every token"
    return (
        Mistake(f"d{name} still has the axes of batch and time. {shared}.", ((sums, each),)),
        Mistake(
            f"d{name} is summed over the first axis only. {shared}: which axes are left out?",
            ((sums, f"{each}.sum(axis=0)"),),
        ),
        Mistake(
            f"d{name} is summed over the axis of time only. {shared}: which axes are left out?",
            ((sums, f"{each}.sum(axis=-2)"),),
        ),
        Mistake(
            f"d{name} is summed over the first two axes, which are all but the last only where there are three.",
            ((sums, f"{each}.sum(axis=(0, 1))"),),
        ),
        Mistake(f"d{name} is summed over the channels. Which axis has to be left?", ((sums, f"{each}.sum(axis=-1)"),)),
        Mistake(f"d{name} is one number, the sum over all axes. {shared}.", ((sums, f"{each}.sum()"),)),
        *(
            Mistake(
                f"d{name} is a mean. Each token adds its part to the loss; is there a 1/N in the forward pass?",
                ((sums, mean),),
            )
            for mean in (f"{each}.mean(axis=tokens)", f"{sums} / len(dy)", f"{sums} / dy.shape[-1]")
        ),
        *(
            Mistake(
                f"d{name} is that of only one token, the first or the last. Does something overwrite the others?",
                ((sums, f"{each}.reshape(-1, dy.shape[-1])[{n}]"),),
            )
            for n in (0, -1)
        ),
        Mistake(
            f"d{name} is that of the first sequence alone. What about the others?",
            ((sums, f"{each}[0].reshape(-1, dy.shape[-1]).sum(axis=0)"),),
        ),
        Mistake(
            f"For d{name}, a reshape mixes the channels. Which axis must stay the last one?",
            ((sums, f"{each}.reshape(dy.shape[-1], -1).sum(axis=1)"),),
        ),
    )


MEANS_AXIS = "The two means in dx are not taken over the channels alone."
POWER = (
    "The whole of dx has another factor than it should, the same for all channels of a token. How fast does x_hat "
    "change with x, if mean and deviation stay?"
)
VARIANCE_POWER = (
    "In dx, the term that comes through the variance has another power of the deviation in it than it should. Is an x "
    "or an x - mean in the place of an x_hat, or a bracket missing? Is the root differentiated rightly?"
)

BACKWARD = Task(
    name="layer_norm_backward",
    outputs=("dx", "dweight", "dbias"),
    reference=layer_norm_backward,
    forward=layer_norm_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "dx lacks the term that comes through the mean: x also acts on y through mean(x). The entries of each "
            "token's dx must sum to zero; do yours?",
            ((" - mean", ""),),
        ),
        Mistake(
            "dx lacks the term that comes through the variance, or it is zero: x also acts on y through rstd. Each "
            "token's dx must be at a right angle to its x_hat, but for eps; is yours?",
            ((" - x_hat * along", ""),),
        ),
        Mistake(
            "dx is as if mean and variance were constants. They are made from x, so x acts on y through them too: two "
            "terms are missing.",
            (("(dx_hat - mean - x_hat * along)", "dx_hat"),),
        ),
        Mistake("In dx, the term that comes through the mean has the wrong sign.", ((" - mean", " + mean"),)),
        Mistake(
            "In dx, the term that comes through the variance has the wrong sign.",
            (("- x_hat * along", "+ x_hat * along"),),
        ),
        Mistake(
            "The two means in dx have changed places: which of them is multiplied by x_hat?",
            (("mean - x_hat * along", "along - x_hat * mean"),),
        ),
        Mistake(
            "In dx a bracket is missing: what does rstd multiply?",
            (("rstd * (dx_hat - mean - x_hat * along)", "rstd * dx_hat - mean - x_hat * along"),),
        ),
        Mistake(
            "The bracket of dx begins with dy. What is the gradient of x_hat, one step before y?",
            (("(dx_hat - mean", "(dy - mean"),),
        ),
        Mistake(
            "The first mean in dx is multiplied by x_hat. Which of the two is?",
            (("dx_hat - mean", "dx_hat - x_hat * mean"),),
        ),
        Mistake(
            "dx lacks dx_hat itself: x acts on y directly too, not only through mean and variance.",
            (("(dx_hat - mean", "(-mean"),),
        ),
        Mistake(
            "dx begins with dy, and weight is forgotten. What is the gradient of x_hat, one step before y?",
            (("dy * weight", "dy"),),
        ),
        Mistake(
            "weight comes in at the end of dx, outside the bracket. Are the two means those of the same numbers then?",
            (("dy * weight", "dy"), ("rstd * (", "weight * rstd * (")),
        ),
        Mistake("dx is divided by weight. y has it as a factor.", (("dy * weight", "dy / weight"),)),
        Mistake("dx is made with bias in the place of weight.", (("dy * weight", 'dy * cache["bias"]'),)),
        *(
            Mistake("dx has weight in it twice.", (change,))
            for change in (("dy * weight", "dy * weight**2"), ("rstd * (", "weight * rstd * ("))
        ),
        Mistake(
            "The first mean in dx is that of other numbers: is it dy, or dx_hat?",
            (("dx_hat.mean(", "dy.mean("),),
        ),
        Mistake(
            "The second mean in dx is that of other numbers: is it made with dy, or with dx_hat?",
            (("(dx_hat * x_hat)", "(x_hat * dy)"),),
        ),
        *(
            Mistake(MEANS_AXIS, (("dx_hat.mean(axis=-1", f"dx_hat.mean({axis}"), (").mean(axis=-1", f").mean({axis}")))
            for axis in ("axis=0", "axis=-2", "axis=1", "axis=None", "axis=tokens")
        ),
        *(
            Mistake(
                "The first mean in dx is not taken over the channels alone.",
                (("dx_hat.mean(axis=-1", f"dx_hat.mean(axis={axis}"),),
            )
            for axis in ("0", "-2", "None")
        ),
        *(
            Mistake(
                "The second mean in dx is not taken over the channels alone.",
                ((").mean(axis=-1", f").mean(axis={axis}"),),
            )
            for axis in ("0", "-2", "None")
        ),
        Mistake("The first mean in dx is a sum: what is it divided by?", (("dx_hat.mean(", "dx_hat.sum("),)),
        Mistake("The second mean in dx is a sum: what is it divided by?", ((").mean(", ").sum("),)),
        *(
            Mistake(f"The {which} mean in dx is divided by C once too often.", ((mean, f"{mean} / dy.shape[-1]"),))
            for which, mean in (("first", "- mean"), ("second", "* along"))
        ),
        *(
            Mistake(
                "The two means in dx are sums that are divided by another number than C. Is it the length of the last "
                "axis, in every case?",
                (
                    ("dx_hat.mean(axis=-1, keepdims=True)", f"dx_hat.sum(axis=-1, keepdims=True) / {count}"),
                    (").mean(axis=-1, keepdims=True)", f").sum(axis=-1, keepdims=True) / {count}"),
                ),
            )
            for count in ("768", "len(dy)", "dy.shape[1]", "dy.size", "(dy.size / dy.shape[-1])", "(dy.shape[-1] - 1)")
        ),
        Mistake(
            "In dx, the second mean lacks x_hat: it is the mean of a product.",
            (("(dx_hat * x_hat)", "dx_hat"),),
        ),
        Mistake(
            "In dx, the second mean is not taken: the product is that of single channels.",
            (("(dx_hat * x_hat).mean(axis=-1, keepdims=True)", "(dx_hat * x_hat)"),),
        ),
        Mistake(
            "In dx, x_hat is inside the second mean twice. What is it the mean of?",
            (("(dx_hat * x_hat)", "(dx_hat * x_hat * x_hat)"), ("x_hat * along", "along")),
        ),
        Mistake(
            "dx is that of RMSNorm. Here the forward pass subtracts a mean as well.",
            (
                ("(dx_hat * x_hat)", '(dx_hat * cache["x"] * rstd)'),
                ("dx_hat - mean - x_hat * along", 'dx_hat - cache["x"] * rstd * along'),
            ),
        ),
        Mistake(
            "In dx, the second mean is not multiplied by x_hat again.",
            (("x_hat * along", "along"),),
        ),
        *(
            Mistake("In dx, x multiplies the second mean in the place of x_hat.", (change,))
            for change in (("x_hat * along", 'cache["x"] * along'), ("x_hat * along", 'cache["x"] * rstd * along'))
        ),
        Mistake(
            "In dx, the second mean is made with x in the place of x_hat.",
            (("(dx_hat * x_hat)", '(dx_hat * cache["x"])'),),
        ),
        *(
            Mistake(
                "In dx, the term that comes through the variance is twice or half of what it should be. What becomes "
                "of the 2 of the square, and of the root?",
                (("x_hat * along", factor),),
            )
            for factor in ("2 * x_hat * along", "0.5 * x_hat * along")
        ),
        *(
            Mistake(VARIANCE_POWER, (("x_hat * along", f"x_hat * along {power}"),))
            for power in ("/ rstd", "/ rstd**2", "* rstd", "* rstd**2")
        ),
        *(
            Mistake(POWER, (("rstd * (", f"{factor}("),))
            for factor in ("", "rstd**2 * ", "rstd**3 * ", "1 / rstd * ", '1 / cache["variance"] * ')
        ),
        Mistake(
            "The deviation in dx is made without eps. It should be what the forward pass divided by.",
            (("rstd * (", 'cache["variance"] ** -0.5 * ('),),
        ),
        Mistake(
            "The deviation in dx has the same eps in every case. It should be what the forward pass divided by.",
            (("rstd * (", '(cache["variance"] + 1e-5) ** -0.5 * ('),),
        ),
        Mistake(
            "dy is added to dx. That is the way around the norm, which belongs to the block.",
            (("dx, dweight", "dx + dy, dweight"),),
        ),
        *_of_a_parameter("weight", "(dy * x_hat)"),
        *_of_a_parameter("bias", "dy"),
        Mistake(
            "dweight uses x. What does weight multiply in the forward pass?",
            (("(dy * x_hat)", '(dy * cache["x"])'),),
        ),
        Mistake(
            "dweight uses y. What does weight multiply in the forward pass?",
            (("(dy * x_hat)", '(dy * (x_hat * weight + cache["bias"]))'),),
        ),
        Mistake(
            "dweight is a product of two sums. In which order are sum and product in the formula?",
            (("(dy * x_hat).sum(axis=tokens)", "dy.sum(axis=tokens) * x_hat.sum(axis=tokens)"),),
        ),
        Mistake(
            "dweight is a matrix, as in a linear layer. Here each channel has its own factor.",
            (
                (
                    "(dy * x_hat).sum(axis=tokens)",
                    "x_hat.reshape(-1, dy.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])",
                ),
            ),
        ),
        Mistake(
            "dweight uses x - mean. What does weight multiply in the forward pass?",
            (("(dy * x_hat)", "(dy * x_hat / rstd)"),),
        ),
        Mistake(
            "dweight has weight in it. By how much does y change with one number of weight?",
            (("(dy * x_hat)", "(x_hat * dx_hat)"),),
        ),
        *(
            Mistake("dweight is made without x_hat. What does weight multiply?", (("(dy * x_hat)", part),))
            for part in ("(1 * dy)", "dx_hat")
        ),
        Mistake("dweight is made without dy: the chain rule begins with it.", (("(dy * x_hat)", "x_hat"),)),
        Mistake("dbias has weight in it. Does weight multiply bias?", (("dy.sum(", "dx_hat.sum("),)),
        Mistake("dbias has x_hat in it. Does x_hat multiply bias?", (("dbias = dy.", "dbias = (x_hat * dy)."),)),
        Mistake("dbias is made from dx. bias comes after the norm.", (("dbias = dy.", "dbias = dx."),)),
        *(
            Mistake(
                "The gradients are in the wrong order: it is that of the forward pass's arguments.",
                (("dx, dweight, dbias", order),),
            )
            for order in ("dx, dbias, dweight", "dweight, dbias, dx", "dbias, dweight, dx")
        ),
    ),
)


# The harder part: RMSNorm.


def rms_norm_forward(x, weight, eps=1e-5):
    """Divide by the root of the mean square.

    Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", eq. 4.
    """
    square = (x * x).mean(axis=-1, keepdims=True)
    rms = np.sqrt(square + eps)
    y = x / rms * weight
    return y, {"x": x, "rms": rms, "weight": weight, "eps": eps}


def rms_norm_backward(dy, cache):
    """Gradients of ``rms_norm_forward``."""
    x, rms, weight = cache["x"], cache["rms"], cache["weight"]
    tokens = tuple(range(dy.ndim - 1))
    x_hat = x / rms
    dx_hat = dy * weight
    along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = (dx_hat - x_hat * along) / rms
    dweight = (dy * x_hat).sum(axis=tokens)
    return dx, dweight


def _rms_cases(rng):
    """Those of the layer norm, without a bias; a large mean says nothing here."""
    given = [case for case in _forward_cases(rng) if "far from zero" not in case.title]
    return [Case(case.title, {name: value for name, value in case.inputs.items() if name != "bias"}) for case in given]


RMS_FORWARD = Task(
    name="rms_norm_forward",
    outputs=("y",),
    reference=rms_norm_forward,
    has_cache=True,
    cases=_rms_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The mean is subtracted, as in layer normalisation. RMSNorm does not subtract it.",
            (
                ("(x * x)", "((x - x.mean(-1, keepdims=True)) ** 2)"),
                ("x / rms", "(x - x.mean(-1, keepdims=True)) / rms"),
            ),
        ),
        Mistake(
            "The mean is subtracted from the x that is divided. RMSNorm has no mean.",
            (("x / rms", "(x - x.mean(-1, keepdims=True)) / rms"),),
        ),
        Mistake(
            "It is divided by the standard deviation: a mean is subtracted before the square. RMSNorm has no mean.",
            (("(x * x)", "((x - x.mean(-1, keepdims=True)) ** 2)"),),
        ),
        *(
            Mistake("The mean square is not taken over the channels alone.", (("mean(axis=-1", new),))
            for new in ("mean(axis=0", "mean(axis=1", "mean(axis=-2", "mean(axis=None", "mean(axis=(1, 2)")
        ),
        Mistake(
            "An axis is lost: a mean square of shape (..., 1) is needed. Look for keepdims.",
            ((", keepdims=True", ""),),
        ),
        Mistake("The squares are summed; the formula has their mean.", ((".mean(axis=-1", ".sum(axis=-1"),)),
        *(
            Mistake(
                "The sum of the squares is divided by another number than C. Is it the length of the last axis, in "
                "every case?",
                ((".mean(axis=-1, keepdims=True)", f".sum(axis=-1, keepdims=True) / {count}"),),
            )
            for count in ("len(x)", "x.shape[1]", "x.size", "768", "(x.shape[-1] - 1)")
        ),
        *(
            Mistake(hint, (("(x * x).mean(", f"{part}.mean("), ("(square +", "(square**2 +")))
            for hint, part in (
                ("It is the square of the mean. Which comes first?", "x"),
                ("The absolute values are averaged, not the squares.", "abs(x)"),
            )
        ),
        Mistake(
            "C is outside the root. What does the root cover in the formula?",
            ((".mean(axis=-1", ".sum(axis=-1"), ("np.sqrt(square + eps)", "np.sqrt(square + eps) / x.shape[-1]")),
        ),
        Mistake("The square is missing: a mean of x is under the root.", (("(x * x)", "x"),)),
        Mistake("The root is missing.", (("np.sqrt(", "("),)),
        Mistake("eps is missing.", (("square + eps", "square"),)),
        *(
            Mistake(
                "eps is added outside the root, or does not come in as it does in the formula.",
                (("np.sqrt(square + eps)", root),),
            )
            for root in (
                "np.sqrt(square) + eps",
                "np.sqrt(square) + np.sqrt(eps)",
                "np.sqrt(np.maximum(square, eps))",
                "np.sqrt(square + eps**2)",
                "np.sqrt(square + 2 * eps)",
            )
        ),
        *(
            Mistake(
                "eps always has the same value. It is an argument: use the one that you are given.",
                (("square + eps", f"square + {eps}"),),
            )
            for eps in ("1e-5", "1e-6", "1e-8")
        ),
        *(
            Mistake(
                "Where eps is not given, it has another value than in the skeleton: compare the first line.",
                (("1e-5", eps),),
            )
            for eps in ("1e-6", "1e-8", "1e-12", "1e-3")
        ),
        Mistake("It is multiplied by the root.", (("x / rms", "x * rms"),)),
        Mistake("weight is missing, the gain of each channel.", ((" * weight", ""),)),
        Mistake("1 is added to weight. The gain is weight itself.", ((" * weight", " * (1 + weight)"),)),
        Mistake("weight is added. It is a gain.", ((" * weight", " + weight"),)),
        Mistake("It is divided by weight.", ((" * weight", " / weight"),)),
        Mistake(
            "The gain comes before the norm. In which order are they in the formula?",
            ((" * weight", ""), ("square = ", "x = x * weight; square = ")),
        ),
    ),
)

RMS_BACKWARD = Task(
    name="rms_norm_backward",
    outputs=("dx", "dweight"),
    reference=rms_norm_backward,
    forward=rms_norm_forward,
    cases=_rms_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "dx is as if the root were a constant. It is made from x, so a term is missing.",
            ((" - x_hat * along", ""),),
        ),
        Mistake(
            "dx lacks dx_hat itself: x acts on y directly too, not only through the root.",
            (("(dx_hat - ", "(-"),),
        ),
        Mistake(
            "dx has both means of layer normalisation. Without a mean in the forward pass, what is left?",
            (("(dx_hat - ", "(dx_hat - dx_hat.mean(axis=-1, keepdims=True) - "),),
        ),
        Mistake(
            "In dx a bracket is missing: what is divided by the root?",
            (("(dx_hat - x_hat * along) / rms", "dx_hat - x_hat * along / rms"),),
        ),
        Mistake("In dx, the term that comes through the root has the wrong sign.", (("dx_hat - x", "dx_hat + x"),)),
        Mistake(
            "dx begins with dy, and weight is forgotten. What is the gradient of x_hat, one step before y?",
            (("dy * weight", "dy"),),
        ),
        Mistake(
            "weight comes in at the end of dx, outside the bracket. Is the mean that of the same numbers then?",
            (("dy * weight", "dy"), (") / rms", ") / rms * weight")),
        ),
        Mistake("dx is divided by weight. y has it as a factor.", (("dy * weight", "dy / weight"),)),
        Mistake("The mean in dx is made with dy. Which gradient is needed?", (("(dx_hat * x_hat)", "(x_hat * dy)"),)),
        *(
            Mistake("The mean in dx is not taken over the channels alone.", (("mean(axis=-1", new),))
            for new in ("mean(axis=0", "mean(axis=1", "mean(axis=-2", "mean(axis=None")
        ),
        Mistake("The mean in dx is a sum: what is it divided by?", ((").mean(", ").sum("),)),
        Mistake("In dx, the mean lacks x_hat: it is the mean of a product.", (("(dx_hat * x_hat)", "dx_hat"),)),
        Mistake("In dx, the mean is not multiplied by x_hat again.", (("x_hat * along", "along"),)),
        Mistake(
            "In dx, the mean is not taken: the product is that of single channels.",
            (("(dx_hat * x_hat).mean(axis=-1, keepdims=True)", "(dx_hat * x_hat)"),),
        ),
        Mistake(
            "The mean in dx is the one that comes from the mean of the forward pass. Is there one here?",
            (("(dx_hat * x_hat)", "dx_hat"), ("x_hat * along", "along")),
        ),
        Mistake(
            "The root and its reciprocal are exchanged. What does the forward pass divide by?",
            (("x / rms", "x * rms"), (") / rms", ") * rms")),
        ),
        *(
            Mistake(
                "In dx, the term that comes through the root is twice or half of what it should be. What becomes of "
                "the 2 of the square, and of the root?",
                (("x_hat * along", factor),),
            )
            for factor in ("2 * x_hat * along", "0.5 * x_hat * along")
        ),
        *(
            Mistake(
                "In dx, the term that comes through the root has another power of it than it should. Is an x in the "
                "place of an x_hat, is a bracket missing, or is the root not differentiated rightly?",
                (("x_hat * along", f"x_hat * along {power}"),),
            )
            for power in ("* rms", "* rms**2", "/ rms", "/ rms**2")
        ),
        *(
            Mistake(
                "The whole of dx has another factor than it should, the same for all channels of a token. How fast "
                "does x_hat change with x, if the root stays?",
                ((") / rms", factor),),
            )
            for factor in (")", ") * rms", ") / rms**2", ") / rms**3")
        ),
        *_of_a_parameter("weight", "(dy * x_hat)"),
        Mistake("dweight uses x. What does weight multiply in the forward pass?", (("(dy * x_hat)", "(dy * x)"),)),
        Mistake(
            "For dweight a mean is subtracted, as in layer normalisation. RMSNorm has no mean.",
            (("(dy * x_hat)", "(dy * (x - x.mean(axis=-1, keepdims=True)) / rms)"),),
        ),
        Mistake(
            "dweight has another power of the root than it should. What does weight multiply in the forward pass?",
            (("(dy * x_hat)", "(dy * x * rms)"),),
        ),
        Mistake(
            "dweight has weight in it. By how much does y change with one number of weight?",
            (("(dy * x_hat)", "(weight * dy * x_hat)"),),
        ),
        Mistake("dweight is made without x_hat. What does weight multiply?", (("(dy * x_hat)", "dy"),)),
        Mistake(
            "The gradients are in the wrong order: it is that of the forward pass's arguments.",
            (("dx, dweight", "dweight, dx"),),
        ),
    ),
)

TASKS = (FORWARD, BACKWARD, RMS_FORWARD, RMS_BACKWARD)
