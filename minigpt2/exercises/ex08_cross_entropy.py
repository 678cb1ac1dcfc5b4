"""Exercise 8, the loss: cross-entropy with label smoothing and ignored targets, and its gradient."""

import numpy as np

from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_8_loss_function"
IGNORED = -100


def _inputs(rng, *shape, smoothing=0.0, ignore_index=IGNORED, ignored=(), scale=1.5):
    """Arguments of ``cross_entropy_forward``; ignored: the places, counted along all axes, that do not count.

    As many different tokens as possible are targets, so that the first and the last are among them.
    """
    tokens = np.setdiff1d(np.arange(shape[-1]), ignore_index)
    targets = tokens[(rng.permutation(np.prod(shape[:-1], dtype=int)) + rng.integers(len(tokens))) % len(tokens)]
    targets[list(ignored)] = ignore_index
    return {
        "logits": scale * rng.standard_normal(shape),
        "targets": targets.reshape(shape[:-1]),
        "label_smoothing": smoothing,
        "ignore_index": ignore_index,
    }


def _cases(rng):
    low, high, unlikely = (_inputs(rng, 2, 3, 5) for _ in range(3))
    low["logits"] = low["logits"] - 1000
    high["logits"] = high["logits"] + 1000 * np.arange(1, 7).reshape(2, 3, 1)
    rows = unlikely["logits"].reshape(-1, 5)
    rows[[1, 4], unlikely["targets"].ravel()[[1, 4]]] = -40, -900
    above = _inputs(rng, 1, 2, 60, scale=0.1)
    above["logits"] -= 725 * (np.arange(60) != np.array([[[7], [30]]]))  # exp(-725) is above 0, exp(725) is infinite
    default = _inputs(rng, 2, 3, 5, ignored=(1,))
    del default["label_smoothing"], default["ignore_index"]
    return [
        Case("two sequences of three tokens, five in the vocabulary", _inputs(rng, 2, 3, 5)),
        Case("label smoothing", _inputs(rng, 2, 3, 5, smoothing=0.1)),
        Case("targets that do not count", _inputs(rng, 2, 4, 5, ignored=(1, 4, 5, 6))),
        Case("both", _inputs(rng, 3, 2, 6, smoothing=0.2, ignored=(0, 5))),
        Case("an ignore_index that is a token", _inputs(rng, 2, 3, 5, ignore_index=2, ignored=(2, 3))),
        Case("an ignore_index of -1", _inputs(rng, 2, 3, 5, smoothing=0.2, ignore_index=-1, ignored=(1, 4))),
        Case("label_smoothing and ignore_index are left out", default),
        Case("one token", _inputs(rng, 1, 1, 7)),
        Case("B = T = V", _inputs(rng, 4, 4, 4, smoothing=0.3)),
        Case("a single axis of positions", _inputs(rng, 6, 3, smoothing=0.5, ignored=(4,))),
        Case("equal logits: the model knows nothing", _inputs(rng, 2, 3, 5, scale=0.0)),
        Case("logits far below zero", low),
        Case("logits in the thousands, different in each row", high),
        Case("targets that the model considers all but impossible", unlikely),
        Case("one logit far above many others", above),
    ]


# 1. Forward.


def cross_entropy_forward(logits, targets, label_smoothing=0.0, ignore_index=-100):
    """``minigpt2.components.loss.cross_entropy_forward``, with all that a backward pass may want in the cache."""
    V, e = logits.shape[-1], label_smoothing
    rows, flat = logits.reshape(-1, V), targets.reshape(-1)
    counted = flat != ignore_index
    highest = rows.max(axis=-1, keepdims=True)
    exps = np.exp(rows - highest)
    sums = exps.sum(axis=-1, keepdims=True)
    log_p = rows - highest - np.log(sums)
    q = np.full(log_p.shape, e / V, log_p.dtype)
    q[counted, flat[counted]] += 1 - e
    q[~counted] = 0
    losses = -(q * log_p).sum(axis=-1)
    loss = losses.sum() / int(counted.sum())
    cache = {"logits": logits, "targets": flat, "counted": counted, "label_smoothing": label_smoothing}
    cache |= {"probs": np.exp(log_p), "log_sum_exp": rows[:, 0] - log_p[:, 0], "ignore_index": ignore_index}
    return loss, cache


LOG_OF_ZERO = (
    "A logarithm of a probability that was rounded to 0. The model is right to say nearly never, and -ln of that is a "
    "large number, but not an infinite one. Can you get ln p without computing p first?"
)
HELPED = (
    "A small number is added to the probability, or put in its place, so that its logarithm exists. That changes the "
    "loss where p is small. Can you get ln p without computing p first?"
)
CUT = (
    "The logits are cut off at a limit, so that exp neither overflows nor gives 0. That makes other logits of them. "
    "Which change of the logits of a row leaves its probabilities as they are?"
)
THREE_AXES = "It takes for granted that logits have three axes. (...) stands for any number of them before the last."
OVERFLOW = (
    "exp of a large logit overflows, or exp of very negative ones gives nothing but zeros. Which change of all logits "
    "of a row leaves its probabilities as they are, and makes exp harmless?"
)
NOT_THE_MAXIMUM = (
    "What is subtracted before exp is not the largest logit of the row, so that exp can still overflow where one logit "
    "is far above the others."
)
ONE_MAXIMUM = (
    "The same number, the largest of all logits, is subtracted everywhere. Where rows are far from each other, exp "
    "rounds whole rows to 0. Each row needs its own."
)
POSITIONS = "The softmax runs over the positions, so that they compete. Which axis holds the vocabulary?"
SHIFTED = (
    "The targets are shifted against the logits. They already are the next tokens: logits and targets of one position "
    "belong together."
)
COUNTED = (
    "Targets that are ignore_index count like the others. -100 is not a token, and where it happens to be one, or "
    "Python counts from the end, there is not even an error. Omit these positions."
)
ANY_TOKEN = (
    "Ignored targets are replaced by a token, and then count like the others. That a token stands there is good for "
    "an index; but what do such positions add to the sum, and to the number of positions?"
)
UNUSED = "label_smoothing is not used."
OVERWRITTEN = (
    "The target lacks its own part of e, which is shared among all V tokens: its 1 - e is there instead of that part, "
    "not on top of it. What do the q of a position sum to?"
)
WHOLE_SHARE = "The target keeps its whole share, and the smoothing comes on top. What must q sum to?"
NO_LOGARITHM = "The logarithm is missing: it is the probability of the target itself."
DEFAULTS = (
    "It is right as long as all arguments are given. What are label_smoothing and ignore_index where they are left "
    "out? Compare your first line with that of the skeleton."
)

ROWS, ROW_MAXIMUM, LOG_P = "logits.reshape(-1, V)", "rows.max(axis=-1, keepdims=True)", "rows - highest - np.log(sums)"
FLAT, MINE, PRODUCT = "targets.reshape(-1)", "q[counted, flat[counted]] += 1 - e", "-(q * log_p)"
LOSS, COUNT = "losses.sum() / int(counted.sum())", " / int(counted.sum())"
ALL_COUNT = ("flat != ignore_index", "flat == flat")
# 0 times infinity: a one-hot q multiplies the other tokens by it, picking the target's avoids it, and a mean over the
# vocabulary times e = 0 has it for the target as well.
ZEROS = (), ((PRODUCT, "-np.where(q, q * log_p, 0)"),), ((PRODUCT, "-(q * log_p + 0 * log_p)"),)
# A softmax over other axes than the last, and its logarithm.
BY_AXIS = "(logits - np.logaddexp.reduce(logits, axis={}, keepdims=True)).reshape(-1, V)"

FORWARD = Task(
    name="cross_entropy_forward",
    outputs=("loss",),
    reference=cross_entropy_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The sign is turned round. A probability is below 1: of which sign is its logarithm, and of which "
            "a surprise?",
            ((PRODUCT, "(q * log_p)"),),
        ),
        *(
            Mistake(hint, (change, *zeros))
            for hint, change in (
                (LOG_OF_ZERO, (LOG_P, "np.log(exps / sums)")),
                (ONE_MAXIMUM, (ROW_MAXIMUM, "rows.max()")),
                (OVERFLOW, (ROW_MAXIMUM, "0 * rows[:, :1]")),
                (NOT_THE_MAXIMUM, (ROW_MAXIMUM, "rows.mean(axis=-1, keepdims=True)")),
                (NOT_THE_MAXIMUM, (ROW_MAXIMUM, "rows.min(axis=-1, keepdims=True)")),
            )
            for zeros in ZEROS
        ),
        Mistake(
            "What is subtracted before exp must be subtracted everywhere, or added again: ln p has a logit in it and "
            "the logarithm of a sum, and these two no longer fit.",
            ((LOG_P, "rows - np.log(sums)"),),
        ),
        Mistake(
            "The logarithm of the sum is missing. The exp of what you use as ln p must sum to 1 in each row.",
            ((LOG_P, "rows - highest"),),
        ),
        Mistake(
            "The logits are used as if they were log-probabilities. What must be subtracted, so that their exp sums "
            "to 1?",
            ((LOG_P, "rows"),),
        ),
        Mistake(
            "The logarithm of the sum is to base 2. Which one fits to exp?",
            ((LOG_P, "rows - highest - np.log2(sums)"),),
        ),
        *(Mistake(POSITIONS, ((LOG_P, BY_AXIS.format(axis)),)) for axis in (-2, 0)),
        Mistake(POSITIONS, ((LOG_P, "rows - np.logaddexp.reduce(rows, axis=0)"),)),
        Mistake(
            "All exponentials are summed, those of all positions. Each position has a distribution of its own.",
            ((LOG_P, "rows - np.logaddexp.reduce(rows, axis=None)"),),
        ),
        Mistake(
            "It is the sum over the positions. Then long texts would have large losses: what is it divided by?",
            ((COUNT, ""),),
        ),
        Mistake(
            "The sum is divided only by the number of sequences. How many predictions does it contain?",
            ((COUNT, " / len(logits)"),),
        ),
        Mistake(
            "The sum is divided only by the length of a sequence. How many predictions does it contain?",
            ((COUNT, " / logits.shape[-2]"),),
        ),
        Mistake(
            "The sum is divided by the number of all positions, including those that do not count.",
            ((COUNT, " / counted.size"),),
        ),
        Mistake(
            "It is a mean over sequences of means over their positions. Where one sequence has fewer targets that "
            "count, each of its tokens weighs more.",
            ((
                LOSS,
                "losses.reshape(shape := (targets if targets.ndim > 1 else targets[None]).shape).sum(-1); "
                "loss = (loss / counted.reshape(shape).sum(-1)).mean()",
            ),),
        ),
        Mistake(THREE_AXES, (("V, e = logits.shape[-1],", "(B, T, V), e = logits.shape,"),)),
        Mistake(
            "It is a mean over the vocabulary too. -q ln p must be summed over v.",
            (("return loss,", "return loss / V,"),),
        ),
        Mistake("It always ignores -100, whatever ignore_index is.", (("flat != ignore_index", "flat != -100"),)),
        Mistake(
            "It ignores all negative targets, whatever ignore_index is.",
            (("flat != ignore_index", "flat >= 0"),),
        ),
        Mistake(
            "Token 0 is ignored, although it is a token like the others. Which targets do not count?",
            (("flat != ignore_index", "(flat != ignore_index) & (flat > 0)"),),
        ),
        Mistake(COUNTED, (ALL_COUNT,)),
        Mistake(ANY_TOKEN, (ALL_COUNT, (FLAT, "np.where(targets == ignore_index, 0, targets).reshape(-1)"))),
        Mistake(
            "Targets that do not count have no part in the sum, but their label smoothing has.",
            (("q[~counted] = 0", ""),),
        ),
        Mistake(
            "The smoothing's part of the loss is a mean over all positions, including those that do not count.",
            (("e / V,", "0.0,"), ("loss = losses.sum()", "loss = -e * log_p.mean() + losses.sum()")),
        ),
        Mistake(UNUSED, (("e = logits.shape[-1], label_smoothing", "e = logits.shape[-1], 0.0"),)),
        Mistake(
            "The smoothing is spread over the other V - 1 tokens. Here the target gets its part of e as well: what do "
            "the q of a position sum to, and how many of them have a part of e?",
            (("e / V,", "e / (V - 1),"), (MINE, "q[counted, flat[counted]] = 1 - e")),
        ),
        Mistake(OVERWRITTEN, ((MINE, "q[counted, flat[counted]] = 1 - e"),)),
        Mistake(WHOLE_SHARE, ((MINE, "q[counted, flat[counted]] += 1"),)),
        Mistake("Every token gets all of e. It must be shared among them.", (("e / V,", "e,"),)),
        Mistake("The target gives up its share e, but nobody receives it. What must q sum to?", (("e / V,", "0.0,"),)),
        Mistake(
            "e and 1 - e have changed places: the target is left with the small share.",
            (("e / V,", "(1 - e) / V,"), (MINE, "q[counted, flat[counted]] += e")),
        ),
        Mistake(
            "The predicted probabilities are smoothed. It is the wanted distribution that is made a little less sure.",
            (("e / V,", "0.0,"), (MINE, "q[counted, flat[counted]] = 1"),
             (PRODUCT, "-np.where(q, np.log((1 - e) * np.exp(log_p) + e / V), 0)")),
        ),
        Mistake(
            "The probability of the likeliest token is taken, whatever the target is.",
            ((MINE, "q[counted, log_p.argmax(axis=-1)[counted]] += 1 - e"),),
        ),
        Mistake(
            "Each position is compared with the targets of all positions. `a[:, indices]` takes all these columns from "
            "every row: print the shape of what you pick.",
            ((PRODUCT, "-(q[counted].mean(axis=0) * counted[:, None] * log_p)"),),
        ),
        Mistake(
            "The logarithm is to base 2, so the loss is in bits. Here the natural one is wanted, and nats.",
            (("return loss,", "return loss / np.log(2),"),),
        ),
        Mistake(
            "The logarithm is to base 10. Here the natural one is wanted.",
            (("return loss,", "return loss / np.log(10),"),),
        ),
        Mistake(NO_LOGARITHM, ((PRODUCT, "-(q * np.exp(log_p))"),)),
        Mistake(NO_LOGARITHM, ((PRODUCT, "counted - (q * np.exp(log_p))"),)),
        Mistake(
            "It is the squared difference of p and q. Look at the formula: what function of p is in it?",
            ((PRODUCT, "((q - np.exp(log_p)) ** 2 * counted[:, None])"),),
        ),
        Mistake("It is the perplexity, exp of the loss.", (("return loss,", "return np.exp(loss),"),)),
        Mistake(
            "It is the logarithm of a mean of probabilities. Each position has a surprise, and the mean is over these.",
            (("return loss,", "return -np.log((q * np.exp(log_p)).sum() / counted.sum()),"),),
        ),
        *(
            Mistake(SHIFTED, ((ROWS, logits), (FLAT, targets)))
            for logits, targets in (
                ("logits[..., :-1, :].reshape(-1, V)", "targets[..., 1:].reshape(-1)"),
                ("logits.reshape(-1, V)[:-1]", "targets.reshape(-1)[1:]"),
                (ROWS, "np.roll(targets.reshape(-1), -1)"),
                (ROWS, "np.roll(targets, -1, axis=-1).reshape(-1)"),
            )
        ),
        *(Mistake(DEFAULTS, (("label_smoothing=0.0", f"label_smoothing={e}"),)) for e in (0.1, 0.2)),
        *(Mistake(DEFAULTS, (("ignore_index=-100", f"ignore_index={other}"),)) for other in (-1, 0, None)),
        *(
            Mistake(HELPED, ((LOG_P, f"np.log({p})".format(eps)),))
            for eps in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-20, 1e-300)
            for p in ("exps / sums + {}", "np.maximum(exps / sums, {})")
        ),
        *(Mistake(CUT, ((ROWS, f"np.clip({ROWS}, -{limit}, {limit})"),)) for limit in (50, 100, 500, 700)),
    ),
)


# 2. Backward.


def cross_entropy_backward(dloss, cache):
    """``minigpt2.components.loss.cross_entropy_backward``."""
    logits, probs, targets, counted = (cache[name] for name in ("logits", "probs", "targets", "counted"))
    V, e, N = logits.shape[-1], cache["label_smoothing"], int(counted.sum())
    q = np.full(probs.shape, e / V, probs.dtype)
    q[counted, targets[counted]] += 1 - e
    dlogits = (probs - q) * counted[:, None]
    return (dloss * dlogits / N).reshape(logits.shape)


UNMASKED = (
    "Where a target is ignored the gradient is 0, since such a position adds nothing to the loss. Which rows does "
    "`counted` choose?"
)
INDEXED = (
    "Ignored targets are used as an index like the others. -100 is an error there, and the ignore_index of another "
    "call may be a token. Which rows does `counted` choose?"
)
TARGETS, DIFFERENCE, MASKED = "q[counted, targets[counted]] += 1 - e", "(probs - q)", " * counted[:, None]"

BACKWARD = Task(
    name="cross_entropy_backward",
    outputs=("dlogits",),
    reference=cross_entropy_backward,
    forward=cross_entropy_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "These are only the probabilities. The wanted distribution must be subtracted.",
            ((DIFFERENCE, "probs"),),
        ),
        Mistake(
            "The wanted distribution is there, but the probabilities are missing. That is the gradient of ln p; how "
            "does ln p depend on the logits?",
            ((DIFFERENCE, "(-q)"),),
        ),
        Mistake(
            "The sign is turned round. Which of the two distributions is subtracted from the other?",
            ((DIFFERENCE, "(q - probs)"),),
        ),
        Mistake(
            "Logarithms of the probabilities are there in place of the probabilities.",
            ((DIFFERENCE, "(np.log(probs) - q)"),),
        ),
        Mistake(
            "The logits are there in place of the probabilities.",
            ((DIFFERENCE, "(logits.reshape(-1, V) - q)"),),
        ),
        Mistake(
            "The target distribution is not smoothed here, though it is in the forward pass.",
            (('cache["label_smoothing"]', "0.0"),),
        ),
        Mistake(
            "The smoothing is spread over the other V - 1 tokens here. Which q does the forward pass have?",
            (("e / V,", "e / (V - 1),"), (TARGETS, "q[counted, targets[counted]] = 1 - e")),
        ),
        Mistake(
            "The target keeps its whole share here, and the smoothing comes on top. Do your rows of dlogits sum to 0?",
            ((TARGETS, "q[counted, targets[counted]] += 1"),),
        ),
        Mistake(
            "Every token gets all of e here. It must be shared among them. Do your rows of dlogits sum to 0?",
            (("e / V,", "e,"),),
        ),
        Mistake(
            "The target gives up its share e, and nobody receives it. Do your rows of dlogits sum to 0?",
            (("e / V,", "0.0,"),),
        ),
        Mistake(OVERWRITTEN, ((TARGETS, "q[counted, targets[counted]] = 1 - e"),)),
        Mistake(
            "dloss is ignored. The loss may be a part of something larger: the gradient that comes from there is a "
            "factor.",
            (("dloss * dlogits", "dlogits"),),
        ),
        Mistake("It is divided by dloss. With twice the dloss, how large is dlogits?",
                (("dloss * dlogits", "dlogits / dloss"),)),
        Mistake("dloss is added. With twice the dloss, how large is dlogits?",
                (("(dloss * dlogits / N)", "(dloss + dlogits / N)"),)),
        Mistake(
            "It is not divided by the number of positions. The loss is a mean: what is each position's share in it?",
            ((" / N", ""),),
        ),
        Mistake(
            "It is divided only by the number of sequences. The loss is a mean over which positions?",
            ((" / N", " / len(logits)"),),
        ),
        Mistake(
            "It is divided only by the length of a sequence. The loss is a mean over which positions?",
            ((" / N", " / logits.shape[-2]"),),
        ),
        Mistake(
            "It is divided by the number of all positions, including those that do not count.",
            ((" / N", " / counted.size"),),
        ),
        Mistake(
            "It is also divided by V. The loss is a sum over the vocabulary and a mean over positions.",
            (("reshape(logits.shape)", "reshape(logits.shape) / V"),),
        ),
        Mistake(THREE_AXES, (("V, e, N = logits.shape[-1],", "(B, T, V), e, N = logits.shape,"),)),
        Mistake(UNMASKED, ((MASKED, ""),)),
        Mistake(UNMASKED, ((DIFFERENCE + MASKED, "probs - q * counted[:, None]"),)),
        Mistake(
            "Ignored targets are replaced by a token, which is good for an index; but that token then has a gradient. "
            "Where a target is ignored it is 0.",
            ((TARGETS, "q[np.arange(len(q)), np.where(counted, targets, 0)] += 1 - e"), (MASKED, "")),
        ),
        Mistake(INDEXED, ((TARGETS, "q[np.arange(len(q)), targets] += 1 - e"),)),
        Mistake(
            "It goes through the softmax once too often. p - q already is the gradient of the logits, softmax "
            "included.",
            (("dloss * dlogits", "dloss * probs * (dlogits - (dlogits * probs).sum(axis=-1, keepdims=True))"),),
        ),
        Mistake(
            "It is the gradient of the probabilities, -q / p. One step is missing: how do the probabilities depend on "
            "the logits?",
            ((DIFFERENCE, "(-q / probs)"),),
        ),
        Mistake(
            "Only the target's logit has a gradient. All logits of a row act on the loss, through the sum in the "
            "softmax.",
            ((DIFFERENCE, "(probs - q) * (targets[:, None] == np.arange(V))"),),
        ),
    ),
)


# The harder part: the z-loss.


def z_loss_forward(logits, weight=1e-4):
    """loss = weight * mean over positions of (log sum_v exp(logits_v))^2.

    Source: Chowdhery et al. 2022, "PaLM: Scaling Language Modeling with Pathways", section 5.
    """
    highest = logits.max(axis=-1, keepdims=True)
    exps = np.exp(logits - highest)
    sums = exps.sum(axis=-1, keepdims=True)
    log_z = (highest + np.log(sums))[..., 0]
    return weight * (log_z**2).mean(), {"logits": logits, "weight": weight, "log_z": log_z, "probs": exps / sums}


def z_loss_backward(dloss, cache):
    """dlogits = dloss weight 2 log_z p / N."""
    log_z, probs = cache["log_z"], cache["probs"]
    return dloss * cache["weight"] * 2 * log_z[..., None] * probs / log_z.size


def _z_cases(rng):
    def case(title, *shape, scale=1.5, offset=0.0, **weight):
        return Case(title, {"logits": offset + scale * rng.standard_normal(shape)} | weight)

    far = 1000.0 * np.arange(1, 7).reshape(2, 3, 1) + 2000.0 * (np.arange(5) == 3)  # and no mean is near the maximum
    return [
        case("two sequences of three tokens, five in the vocabulary", 2, 3, 5, weight=0.01),
        case("another weight", 3, 2, 4, weight=0.5),
        case("no weight is given", 3, 2, 4, offset=5.0),
        case("one token", 1, 1, 7, weight=0.01),
        case("B = T = V", 4, 4, 4, weight=0.01),
        case("a single axis of positions", 6, 3, offset=-2.0, weight=0.01),
        case("equal logits", 2, 3, 5, scale=0.0, weight=0.01),
        case("logits far below zero", 2, 3, 5, offset=-1000.0, weight=0.01),
        case("logits in the thousands, different in each row", 2, 3, 5, offset=far, weight=0.01),
    ]


Z_FORWARD = Task(
    name="z_loss_forward",
    outputs=("loss",),
    reference=z_loss_forward,
    has_cache=True,
    cases=_z_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(ONE_MAXIMUM, (("logits.max(axis=-1, keepdims=True)", "logits.max()[None, None]"),)),
        Mistake(OVERFLOW, (("logits.max(axis=-1, keepdims=True)", "0 * logits[..., :1]"),)),
        Mistake("It is the mean of log Z, without the square.", (("(log_z**2)", "log_z"),)),
        Mistake(
            "It is the square of the mean. A position with log Z = 5 and one with -5 would make up for each other.",
            (("(log_z**2).mean()", "log_z.mean() ** 2"),),
        ),
        Mistake("The squares are summed; the formula has their mean.", (("(log_z**2).mean", "(log_z**2).sum"),)),
        Mistake("weight is missing.", (("weight * (log_z", "(log_z"),)),
        Mistake(
            "The number subtracted before exp was not added back: this is the logarithm of another sum.",
            (("(highest + np.log(sums))", "np.log(sums)"),),
        ),
        Mistake(
            "The logarithm is missing: it is Z itself.",
            (("(highest + np.log(sums))", "np.exp(highest + np.log(sums))"),),
        ),
        Mistake(POSITIONS, (("(highest + np.log(sums))[..., 0]", "np.logaddexp.reduce(logits, axis=-2)"),)),
    ),
)

Z_BACKWARD = Task(
    name="z_loss_backward",
    outputs=("dlogits",),
    reference=z_loss_backward,
    forward=z_loss_forward,
    cases=_z_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake("A factor 2 is missing: what is the derivative of a square?", ((" * 2", ""),)),
        Mistake(
            "All logits of a row have the same gradient. How much does log Z change with each of them?",
            ((" * probs", " * np.ones_like(probs)"),),
        ),
        Mistake(
            "log Z itself is missing: the further it is from 0, the harder it is pulled.",
            ((" * log_z[..., None]", ""),),
        ),
        Mistake(
            "It is not divided by the number of positions.",
            ((" / log_z.size", ""),),
        ),
        Mistake(
            "It is divided only by the length of one axis. How many positions are there?",
            (("log_z.size", "len(log_z)"),),
        ),
        Mistake("It is also divided by V. The mean is only over the positions.", (("log_z.size", "probs.size"),)),
        Mistake("dloss is ignored.", (("dloss * ", ""),)),
        Mistake("weight is missing.", ((' * cache["weight"]', ""),)),
    ),
)

TASKS = (FORWARD, BACKWARD, Z_FORWARD, Z_BACKWARD)
