"""Exercise 8, the loss: cross-entropy with label smoothing and ignored targets, and its gradient."""

import numpy as np

from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_8_loss_function"
IGNORED = -100


def _inputs(rng, *shape, smoothing=0.0, ignore_index=IGNORED, ignored=(), scale=1.5):
    """Arguments of ``cross_entropy_forward``; ignored: the places, counted along all axes, that do not count."""
    V = shape[-1]
    targets = rng.integers(1, V, shape[:-1])  # never 0, so that 0 can be the ignored one
    targets.ravel()[list(ignored)] = ignore_index
    return {
        "logits": scale * rng.standard_normal(shape),
        "targets": targets,
        "label_smoothing": smoothing,
        "ignore_index": ignore_index,
    }


def _cases(rng):
    low, high, unlikely = (_inputs(rng, 2, 3, 5) for _ in range(3))
    low["logits"] = low["logits"] - 1000
    high["logits"] = high["logits"] + 1000 * np.arange(1, 7).reshape(2, 3, 1)
    rows = unlikely["logits"].reshape(-1, 5)
    rows[[1, 4], unlikely["targets"].ravel()[[1, 4]]] = -40, -900
    return [
        Case("two sequences of three tokens, five in the vocabulary", _inputs(rng, 2, 3, 5)),
        Case("label smoothing", _inputs(rng, 2, 3, 5, smoothing=0.1)),
        Case("targets that do not count", _inputs(rng, 2, 4, 5, ignored=(1, 4, 5, 6))),
        Case("both", _inputs(rng, 3, 2, 6, smoothing=0.2, ignored=(0, 5))),
        Case("an ignore_index that is a token", _inputs(rng, 2, 3, 5, ignore_index=0, ignored=(2, 3))),
        Case("one token", _inputs(rng, 1, 1, 7)),
        Case("B = T = V", _inputs(rng, 4, 4, 4, smoothing=0.3)),
        Case("a single axis of positions", _inputs(rng, 6, 3, smoothing=0.5, ignored=(4,))),
        Case("equal logits: the model knows nothing", _inputs(rng, 2, 3, 5, scale=0.0)),
        Case("logits far below zero", low),
        Case("logits in the thousands, different in each row", high),
        Case("targets that the model considers all but impossible", unlikely),
    ]


# 1. Forward.


def _forward(logits, targets, label_smoothing, ignore_index):
    """Our forward pass, with everything that a backward pass may want in the cache."""
    loss, cache = cross_entropy_forward(logits, targets, label_smoothing, ignore_index)
    probs = np.exp(_log_probs(logits.reshape(-1, logits.shape[-1])))
    return loss, cache | {"probs": probs, "ignore_index": ignore_index}


def _log_probs(rows):
    rows = rows - rows.max(-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(-1, keepdims=True))


def _log_of_softmax(highest, inside=lambda p: p):
    """(rows) -> the logarithms of probabilities that were computed first; highest: (rows) -> the number subtracted."""

    def log_probs(rows):
        e = np.exp(rows - highest(rows))
        return np.log(inside(e / e.sum(-1, keepdims=True)))

    return log_probs


def _log_sum_exp(highest):
    """(rows) -> log-probabilities; highest: (rows) -> the number subtracted."""

    def log_probs(rows):
        rows = rows - highest(rows)
        return rows - np.log(np.exp(rows).sum(-1, keepdims=True))

    return log_probs


def _row_max(rows):
    return rows.max(-1, keepdims=True)


def _no_max(rows):
    return 0.0


def _one_hot(targets, V):
    """(N, V); rows whose target is not a token are zero."""
    return (targets[:, None] == np.arange(V)) * 1.0


def _smoothed(one_hot, e, V):
    return (1 - e) * one_hot + e / V


OVERWRITTEN = (
    "The target lacks its own part of e, which is shared among all V tokens: its 1 - e is there instead of that part, "
    "not on top of it. What do the q of a position sum to?"
)


def _overwritten(one_hot, e, V):
    return np.where(one_hot == 1, 1 - e, e / V)


def _loss(*inputs, log_probs=_log_probs, smooth=_smoothed, mean=lambda losses, counted, shape: losses[counted].mean()):
    """The loss, right except for the given parts.

    log_probs: (rows) -> log-probabilities
    smooth:    (one_hot, e, V) -> target distribution
    mean:      (losses, counted, shape of the targets) -> loss; losses are 0 where they do not count
    """
    logits, targets, e, ignore_index = inputs
    V, flat = logits.shape[-1], targets.ravel()
    counted = flat != ignore_index
    q = smooth(_one_hot(flat, V), e, V)
    log_p = log_probs(logits.reshape(-1, V))
    losses = np.where(counted, -np.where(q == 0, 0, q * log_p).sum(-1), 0)
    return mean(losses, counted, targets.shape)


def _all_counted(logits, targets, e, ignore_index):
    """No target is ignored: an error if it is not a token, else it counts like the others."""
    V = logits.shape[-1]
    log_p = _log_probs(logits.reshape(-1, V))
    picked = log_p[np.arange(len(log_p)), targets.ravel()]
    return -((1 - e) * picked + e * log_p.mean(-1)).mean()


def _all_counted_by_axes(logits, targets, e, ignore_index):
    """The same, but the error names the last of three axes."""
    picked = np.take_along_axis(_log_probs(logits), targets[..., None], -1)[..., 0]
    return -((1 - e) * picked + e * _log_probs(logits).mean(-1)).mean()


def _all_counted_by_rows(logits, targets, e, ignore_index):
    """The same, but the error names the first axis, the axis of an identity matrix."""
    q = _smoothed(np.eye(logits.shape[-1])[targets], e, logits.shape[-1])
    return -(q * _log_probs(logits)).sum(-1).mean()


def _fixed_index(logits, targets, e, ignore_index):
    return _loss(logits, targets, e, IGNORED)


def _all_smoothed(logits, targets, e, ignore_index):
    """The share of the smoothing is a mean over all positions, including those that do not count."""
    nll = _loss(logits, targets, 0.0, ignore_index)
    return (1 - e) * nll - e * _log_probs(logits).mean()


def _over_time(*inputs):
    """The softmax over the axis before the last."""
    logits = inputs[0]
    turned = np.swapaxes(logits, -1, -2)
    log_p = np.swapaxes(_log_probs(turned), -1, -2)
    return _loss(*inputs, log_probs=lambda rows: log_p.reshape(rows.shape))


def _shifted(logits, targets, e, ignore_index):
    """Targets moved on by one, although they already are."""
    return _loss(logits[..., :-1, :], targets[..., 1:], e, ignore_index)


def _mean_of_means(losses, counted, shape):
    shape = shape if len(shape) > 1 else (1, -1)
    return (losses.reshape(shape).sum(-1) / counted.reshape(shape).sum(-1)).mean()


def _of_probs(*inputs, cost):
    """cost: (p, q) -> a loss for each position, in place of the logarithm."""
    logits, targets, e, ignore_index = inputs
    V, flat = logits.shape[-1], targets.ravel()
    p, q = np.exp(_log_probs(logits.reshape(-1, V))), _smoothed(_one_hot(flat, V), e, V)
    return cost(p, q)[flat != ignore_index].mean()


LOG_OF_ZERO = (
    "A logarithm of a probability that was rounded to 0. The model is right to say nearly never, and -ln of that is a "
    "large number, but not an infinite one. Can you get ln p without computing p first?"
)
HELPED = (
    "A small number is added to the probability, or put in its place, so that its logarithm exists. That changes the "
    "loss where p is small. Can you get ln p without computing p first?"
)
OVERFLOW = (
    "exp of a large logit overflows, or exp of very negative ones gives nothing but zeros. Subtract something from all "
    "logits of a row before exp; the probabilities do not change."
)
ONE_MAXIMUM = (
    "The same number, the largest of all logits, is subtracted everywhere. Where rows are far from each other, exp "
    "rounds whole rows to 0. Each row needs its own."
)
COUNTED = (
    "Targets that are ignore_index count like the others. -100 is not a token, and where it happens to be one, or "
    "Python counts from the end, there is not even an error. Omit these positions."
)

FORWARD = Task(
    name="cross_entropy_forward",
    outputs=("loss",),
    reference=cross_entropy_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(LOG_OF_ZERO, lambda *inputs: _loss(*inputs, log_probs=_log_of_softmax(_row_max))),
        *(
            Mistake(ONE_MAXIMUM, lambda *inputs, kind=kind: _loss(*inputs, log_probs=kind(np.max)))
            for kind in (_log_of_softmax, _log_sum_exp)
        ),
        *(
            Mistake(OVERFLOW, lambda *inputs, kind=kind: _loss(*inputs, log_probs=kind(_no_max)))
            for kind in (_log_of_softmax, _log_sum_exp)
        ),
        *(
            Mistake(HELPED, lambda *inputs, inside=inside: _loss(*inputs, log_probs=_log_of_softmax(_row_max, inside)))
            for eps in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-20, 1e-30, 1e-300)
            for inside in (lambda p, eps=eps: p + eps, lambda p, eps=eps: np.maximum(p, eps))
        ),
        Mistake(
            "It is the sum over the positions. Then long texts would have large losses: what is it divided by?",
            lambda *inputs: _loss(*inputs, mean=lambda losses, counted, shape: losses.sum()),
        ),
        Mistake(
            "The sum is divided only by the number of sequences. How many predictions does it contain?",
            lambda *inputs: _loss(*inputs, mean=lambda losses, counted, shape: losses.sum() / shape[0]),
        ),
        Mistake(
            "The sum is divided by the number of all positions, including those that do not count.",
            lambda *inputs: _loss(*inputs, mean=lambda losses, counted, shape: losses.mean()),
        ),
        Mistake(
            "It is a mean over sequences of means over their positions. Where one sequence has fewer targets that "
            "count, each of its tokens weighs more.",
            lambda *inputs: _loss(*inputs, mean=_mean_of_means),
        ),
        Mistake("It always ignores -100, whatever ignore_index is.", _fixed_index),
        Mistake(COUNTED, _all_counted),
        Mistake(COUNTED, _all_counted_by_axes),
        Mistake(COUNTED, _all_counted_by_rows),
        Mistake(
            "label_smoothing is not used.",
            lambda *inputs: _loss(*inputs, smooth=lambda one_hot, e, V: one_hot),
        ),
        Mistake(
            "The smoothing is spread over the other V - 1 tokens. Here the target gets its part of e as well: what do "
            "the q of a position sum to, and how many of them have a part of e?",
            lambda *inputs: _loss(
                *inputs, smooth=lambda one_hot, e, V: (1 - e) * one_hot + e / (V - 1) * (1 - one_hot)
            ),
        ),
        Mistake(
            "The target keeps its whole share, and the smoothing comes on top. What must q sum to?",
            lambda *inputs: _loss(*inputs, smooth=lambda one_hot, e, V: one_hot + e / V),
        ),
        Mistake(
            "Every token gets all of e. It must be shared among them.",
            lambda *inputs: _loss(*inputs, smooth=lambda one_hot, e, V: (1 - e) * one_hot + e),
        ),
        Mistake(
            "The target gives up its share e, but nobody receives it. What must q sum to?",
            lambda *inputs: _loss(*inputs, smooth=lambda one_hot, e, V: (1 - e) * one_hot),
        ),
        Mistake(
            "e and 1 - e have changed places: the target is left with the small share.",
            lambda *inputs: _loss(*inputs, smooth=lambda one_hot, e, V: e * one_hot + (1 - e) / V),
        ),
        Mistake(
            "The smoothing's part of the loss is a mean over all positions, including those that do not count.",
            _all_smoothed,
        ),
        Mistake(
            "The logarithm is to base 2, so the loss is in bits. Here the natural one is wanted, and nats.",
            lambda *inputs: _loss(*inputs) / np.log(2),
        ),
        Mistake(
            "The logarithm is to base 10. Here the natural one is wanted.",
            lambda *inputs: _loss(*inputs) / np.log(10),
        ),
        Mistake(
            "The logarithm is missing: it is the probability of the target itself.",
            lambda *inputs: _of_probs(*inputs, cost=lambda p, q: -(p * q).sum(-1)),
        ),
        Mistake(
            "The logarithm is missing: it is the probability of the target itself.",
            lambda *inputs: _of_probs(*inputs, cost=lambda p, q: 1 - (p * q).sum(-1)),
        ),
        Mistake(
            "It is the squared difference of p and q. Look at the formula: what function of p is in it?",
            lambda *inputs: _of_probs(*inputs, cost=lambda p, q: ((p - q) ** 2).sum(-1)),
        ),
        Mistake(
            "The logits are used as if they were log-probabilities. What must be subtracted, so that their exp sums "
            "to 1?",
            lambda *inputs: _loss(*inputs, log_probs=lambda rows: rows),
        ),
        Mistake(
            "It is the perplexity, exp of the loss.",
            lambda *inputs: np.exp(_loss(*inputs)),
        ),
        Mistake(
            "The softmax runs over time, so the positions compete. Which axis holds the vocabulary?",
            _over_time,
        ),
        Mistake(
            "The targets are moved on by one. They already are the next tokens: logits and targets of one position "
            "belong together.",
            _shifted,
        ),
        Mistake(OVERWRITTEN, lambda *inputs: _loss(*inputs, smooth=_overwritten)),
        Mistake(
            "It is a mean over the vocabulary too. -q ln p must be summed over v.",
            lambda *inputs: _loss(*inputs) / inputs[0].shape[-1],
        ),
    ),
)


# 2. Backward.


def _gradient(dloss, cache, q=_smoothed, share=lambda cache: 1 / cache["counted"].sum(), p=1.0, masked=True):
    """dlogits, right except for the given parts.

    q:      (one_hot, e, V) -> target distribution
    share:  (cache) -> what each position counts in the loss
    p:      how often the probabilities are in it
    masked: whether positions that do not count are set to 0
    """
    V = cache["probs"].shape[-1]
    difference = p * cache["probs"] - q(_one_hot(cache["targets"], V), cache["label_smoothing"], V)
    dlogits = dloss * share(cache) * difference
    if masked:
        dlogits = dlogits * cache["counted"][:, None]
    return dlogits.reshape(cache["logits"].shape)


def _first_token(dloss, cache):
    """Ignored targets treated as token 0, and then never set to 0."""
    targets = np.where(cache["counted"], cache["targets"], 0)
    return _gradient(dloss, cache | {"targets": targets}, masked=False)


def _index_error(dloss, cache):
    """Or used as an index, unchanged."""
    V, n = cache["probs"].shape[-1], cache["counted"].sum()
    dlogits = cache["probs"] - cache["label_smoothing"] / V
    dlogits[np.arange(len(dlogits)), cache["targets"]] -= 1 - cache["label_smoothing"]
    return (dloss * dlogits / n).reshape(cache["logits"].shape)


def _index_error_by_rows(dloss, cache):
    V, n = cache["probs"].shape[-1], cache["counted"].sum()
    q = _smoothed(np.eye(V)[cache["targets"]], cache["label_smoothing"], V)
    return (dloss * (cache["probs"] - q) / n).reshape(cache["logits"].shape)


def _through_softmax(dloss, cache):
    d, p = _gradient(dloss, cache), cache["probs"].reshape(cache["logits"].shape)
    return p * (d - (d * p).sum(-1, keepdims=True))


def _of_probabilities(dloss, cache):
    p = cache["probs"].reshape(cache["logits"].shape)
    return _gradient(dloss, cache, p=0.0) / p


def _target_alone(dloss, cache):
    one_hot = _one_hot(cache["targets"], cache["probs"].shape[-1])
    return _gradient(dloss, cache) * one_hot.reshape(cache["logits"].shape)


UNMASKED = (
    "Ignored targets are still in `targets`: as an index, -100 is an error or another token. And where a target is "
    "ignored the gradient is 0, since such a position adds nothing to the loss. Which rows does `counted` choose?"
)

BACKWARD = Task(
    name="cross_entropy_backward",
    outputs=("dlogits",),
    reference=cross_entropy_backward,
    forward=_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "These are only the probabilities. The wanted distribution must be subtracted.",
            lambda dloss, cache: _gradient(dloss, cache, lambda one_hot, e, V: 0),
        ),
        Mistake(
            "The wanted distribution is there, but the probabilities are missing. That is the gradient of ln p; how "
            "does ln p depend on the logits?",
            lambda dloss, cache: _gradient(dloss, cache, p=0.0),
        ),
        Mistake(
            "The target distribution is not smoothed here, though it is in the forward pass.",
            lambda dloss, cache: _gradient(dloss, cache, lambda one_hot, e, V: one_hot),
        ),
        Mistake(
            "The smoothing is spread over the other V - 1 tokens here. Which q does the forward pass have?",
            lambda dloss, cache: _gradient(
                dloss, cache, lambda one_hot, e, V: (1 - e) * one_hot + e / (V - 1) * (1 - one_hot)
            ),
        ),
        Mistake(
            "The target keeps its whole share here, and the smoothing comes on top. Do your rows of dlogits sum to 0?",
            lambda dloss, cache: _gradient(dloss, cache, lambda one_hot, e, V: one_hot + e / V),
        ),
        Mistake(
            "The target gives up its share e, and nobody receives it. Do your rows of dlogits sum to 0?",
            lambda dloss, cache: _gradient(dloss, cache, lambda one_hot, e, V: (1 - e) * one_hot),
        ),
        Mistake(OVERWRITTEN, lambda dloss, cache: _gradient(dloss, cache, _overwritten)),
        Mistake(
            "dloss is ignored. The loss may be a part of something larger: the gradient that comes from there is a "
            "factor.",
            lambda dloss, cache: _gradient(1.0, cache),
        ),
        Mistake(
            "It is not divided by the number of positions. The loss is a mean: what is each position's share in it?",
            lambda dloss, cache: _gradient(dloss, cache, share=lambda cache: 1),
        ),
        Mistake(
            "It is divided only by the number of sequences. The loss is a mean over which positions?",
            lambda dloss, cache: _gradient(dloss, cache, share=lambda cache: 1 / len(cache["logits"])),
        ),
        Mistake(
            "It is divided by the number of all positions, including those that do not count.",
            lambda dloss, cache: _gradient(dloss, cache, share=lambda cache: 1 / len(cache["targets"])),
        ),
        Mistake(
            "It is also divided by V. The loss is a sum over the vocabulary and a mean over positions.",
            lambda dloss, cache: _gradient(dloss, cache) / cache["probs"].shape[-1],
        ),
        Mistake(UNMASKED, lambda dloss, cache: _gradient(dloss, cache, masked=False)),
        Mistake(UNMASKED, _first_token),
        Mistake(UNMASKED, _index_error),
        Mistake(UNMASKED, _index_error_by_rows),
        Mistake(
            "It goes through the softmax once too often. p - q already is the gradient of the logits, softmax "
            "included.",
            _through_softmax,
        ),
        Mistake(
            "It is the gradient of the probabilities, -q / p. One step is missing: how do the probabilities depend on "
            "the logits?",
            _of_probabilities,
        ),
        Mistake(
            "Only the target's logit has a gradient. All logits of a row act on the loss, through the sum in the "
            "softmax.",
            _target_alone,
        ),
    ),
)


# The harder part: the z-loss.


def z_loss_forward(logits, weight):
    """loss = weight * mean over positions of (log sum_v exp(logits_v))^2.

    Source: Chowdhery et al. 2022, "PaLM: Scaling Language Modeling with Pathways", section 5.
    """
    highest = logits.max(-1, keepdims=True)
    e = np.exp(logits - highest)
    total = e.sum(-1, keepdims=True)
    log_z = (np.log(total) + highest)[..., 0]
    return weight * (log_z**2).mean(), {"logits": logits, "weight": weight, "log_z": log_z, "probs": e / total}


def z_loss_backward(dloss, cache):
    """dlogits = dloss weight 2 log_z p / N."""
    log_z, probs = cache["log_z"], cache["probs"]
    return dloss * cache["weight"] * 2 * log_z[..., None] * probs / log_z.size


def _z_cases(rng):
    def case(title, *shape, weight=0.01, scale=1.5, offset=0.0):
        return Case(title, {"logits": offset + scale * rng.standard_normal(shape), "weight": weight})

    return [
        case("two sequences of three tokens, five in the vocabulary", 2, 3, 5),
        case("another weight", 3, 2, 4, weight=0.5),
        case("one token", 1, 1, 7),
        case("B = T = V", 4, 4, 4),
        case("a single axis of positions", 6, 3, offset=-2.0),
        case("equal logits", 2, 3, 5, scale=0.0),
        case("logits far below zero", 2, 3, 5, offset=-1000.0),
        case("logits in the thousands, different in each "
             "row", 2, 3, 5, offset=1000.0 * np.arange(1, 7).reshape(2, 3, 1)),
    ]


def _log_z(logits, highest=_row_max):
    top = highest(logits)
    return (np.log(np.exp(logits - top).sum(-1, keepdims=True)) + top)[..., 0]


Z_FORWARD = Task(
    name="z_loss_forward",
    outputs=("loss",),
    reference=z_loss_forward,
    has_cache=True,
    cases=_z_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(ONE_MAXIMUM, lambda logits, weight: weight * (_log_z(logits, np.max) ** 2).mean()),
        Mistake(OVERFLOW, lambda logits, weight: weight * (_log_z(logits, _no_max) ** 2).mean()),
        Mistake(
            "It is the mean of log Z, without the square.",
            lambda logits, weight: weight * _log_z(logits).mean(),
        ),
        Mistake(
            "It is the square of the mean. A position with log Z = 5 and one with -5 would make up for each other.",
            lambda logits, weight: weight * _log_z(logits).mean() ** 2,
        ),
        Mistake(
            "The squares are summed; the formula has their mean.",
            lambda logits, weight: weight * (_log_z(logits) ** 2).sum(),
        ),
        Mistake("weight is missing.", lambda logits, weight: (_log_z(logits) ** 2).mean()),
        Mistake(
            "The number subtracted before exp was not added back: this is the logarithm of another sum.",
            lambda logits, weight: weight * (_log_z(logits - logits.max(-1, keepdims=True)) ** 2).mean(),
        ),
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
        Mistake(
            "A factor 2 is missing: what is the derivative of a square?",
            lambda dloss, cache: z_loss_backward(dloss, cache) / 2,
        ),
        Mistake(
            "All logits of a row have the same gradient. How much does log Z change with each of them?",
            lambda dloss, cache: (
                dloss * cache["weight"] * 2 * cache["log_z"][..., None] / cache["log_z"].size
                * np.ones_like(cache["probs"])
            ),
        ),
        Mistake(
            "log Z itself is missing: the further it is from 0, the harder it is pulled.",
            lambda dloss, cache: dloss * cache["weight"] * 2 * cache["probs"] / cache["log_z"].size,
        ),
        Mistake(
            "It is not divided by the number of positions.",
            lambda dloss, cache: z_loss_backward(dloss, cache) * cache["log_z"].size,
        ),
        Mistake("dloss is ignored.", lambda dloss, cache: z_loss_backward(1.0, cache)),
        Mistake("weight is missing.", lambda dloss, cache: z_loss_backward(dloss, cache) / cache["weight"]),
    ),
)

TASKS = (FORWARD, BACKWARD, Z_FORWARD, Z_BACKWARD)
