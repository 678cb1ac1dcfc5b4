"""Mistakes in the output layer, the targets and the loss."""

import math

import numpy as np

from minigpt2.components.loss import IGNORED, cross_entropy_backward, cross_entropy_forward
from minigpt2.verification import operations
from minigpt2.verification.mistakes.hypothesis import PARAMETERS, Hypothesis, of_result, relative
from minigpt2.verification.names import is_parameter


def output_layer(o):
    """What becomes of ln_f on the way to the logits."""
    def after(function):
        return {"logits": of_result("logits", function)}

    for words, harmless, changes in (
        ("their mean is subtracted (centred, as TransformerLens does on request)", None,
         after(lambda y: y - y.mean(-1, keepdims=True))),
        ("they are log-probabilities (log_softmax)", True, after(lambda y: y - _log_sum(y))),
        ("they are probabilities (softmax)", True, after(lambda y: np.exp(y - _log_sum(y)))),
        ("their largest is subtracted", None, after(lambda y: y - y.max(-1, keepdims=True))),
        ("ln_f is skipped", None, {"logits": lambda t: t["last"] @ t[t.head].T}),
        ("they are multiplied by 1/sqrt(C)", None, after(lambda y: y / math.sqrt(o.t["ln_f"].shape[-1]))),
        ("they are multiplied by sqrt(C)", None, after(lambda y: y * math.sqrt(o.t["ln_f"].shape[-1]))),
        ("a softmax over the tokens", None, after(lambda y: np.exp(y) / np.exp(y).sum(1, keepdims=True))),
        ("tanh caps them at 30", None, after(lambda y: 30 * np.tanh(y / 30))),
        ("tanh caps them at 15", None, after(lambda y: 15 * np.tanh(y / 15))),
    ):  # fmt: skip
        yield Hypothesis(f"logits: {words}", changes, harmless=bool(harmless))
    if o.actual is None or not np.isfinite(o.actual).all():
        return
    if not _embeddings_are_right(o.t.tensors):  # then wte itself is another one
        return
    x, difference = operations.rows(o.t["ln_f"]), operations.rows(o.actual - o.right)
    N, C = x.shape
    if relative(o.actual, np.vdot(o.right, o.actual) / np.vdot(o.right, o.right) * o.right) < 1e-3:
        return  # the right matrix, but a wrong factor
    constant = np.median(difference)
    if abs(constant) > 1e-6 * np.abs(o.right).max():
        yield Hypothesis(
            f"logits: a constant is added, {constant:.6g}", after(lambda y: y + constant), 1,
        )  # fmt: skip
    if N >= 4:
        bias = np.median(difference, 0)
        yield Hypothesis(
            "output layer: a bias is added to the logits; GPT-2 has none", after(lambda y: y + bias), len(bias),
        )  # fmt: skip
        shift = np.median(difference, 1).reshape(*o.right.shape[:-1], 1)
        yield Hypothesis(
            "logits: a number of its own is added at each position, the same for all tokens",
            after(lambda y: y + shift), N,
        )  # fmt: skip
    if (np.abs(difference).max(0) <= 1e-4 * np.abs(o.right).max()).mean() > 0.2:  # many tokens have the right matrix
        return
    # With fewer rows some matrix could make any logits.
    if (N >= C + 8 or N >= 2 * C) and np.linalg.matrix_rank(x) == C:
        head = np.linalg.lstsq(x, operations.rows(o.actual), rcond=None)[0]
        yield Hypothesis(
            "output layer: not tied to the token embedding, the logits are made by a matrix other than wte",
            {"logits": lambda t: t["ln_f"] @ head}, head.size,
        )  # fmt: skip
    theirs = o.t.tensors.theirs
    if C <= N < 2 * C and {"grad.logits", "grad.ln_f"} <= theirs.keys() and np.linalg.matrix_rank(x) == C:
        head = np.linalg.lstsq(x, operations.rows(o.actual), rcond=None)[0]  # the gradient tells whether it is one
        back = theirs["grad.logits"].astype(np.float64) @ head.T
        if relative(theirs["grad.ln_f"].astype(np.float64), back) < 1e-2:
            yield Hypothesis(
                "output layer: not tied to the token embedding, the logits are made by a matrix other than wte",
                {"logits": lambda t: t["ln_f"] @ head}, head.size,
            )  # fmt: skip
    if "lm_head.weight" in theirs and o.t.head == "wte.weight":
        own = theirs["lm_head.weight"].astype(np.float64)
        if own.shape == o.t["wte.weight"].shape:
            yield Hypothesis(
                "output layer: not tied to the token embedding, the logits are made by a matrix other than wte",
                untied(own), 0, "head=untied",
            )  # fmt: skip


def _embeddings_are_right(tensors):
    """Whether embd, if it is recorded, follows from wte and wpe."""
    embd = tensors.theirs.get("embd")
    return embd is None or relative(embd.astype(np.float64), tensors.compute("embd")) < 1e-4


def _log_sum(y):
    """log sum exp over the last axis, which stays with length 1."""
    top = y.max(-1, keepdims=True)
    return top + np.log(np.exp(y - top).sum(-1, keepdims=True))


def target_choices(ids, targets):
    """Pairs (words, targets): what is taken for the targets by mistake."""
    counted = np.where(targets == IGNORED, IGNORED, ids)
    moved = np.pad(targets[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED)
    last, first = targets.copy(), targets.copy()
    last[:, -1], first[:, 0] = IGNORED, IGNORED
    same = "targets: not shifted, every token has to predict itself; the target of a token is the one after it"
    choices = (
        (same, ids), (same, counted),
        ("targets: shifted twice, every token has to predict the second after it (does the model shift them too?)",
         moved),
        ("targets: shifted the wrong way, every token has to predict the one before it", np.roll(ids, 1, 1)),
        ("targets: the last token of each sequence is not counted (labels that the model shifts itself have none for "
         "it)",
         last),
        ("targets: the first token of each sequence is not counted", first),
        ("targets: those to be ignored (-100) count as token 0", np.where(targets == IGNORED, 0, targets)),
        ("targets: the last position has to predict the first token (the ids are rolled)",
         np.where(targets == IGNORED, np.roll(ids, -1, 1), targets)),
        ("targets: in another order, those of the next sequence in the batch", np.roll(targets, -1, 0)),
    )  # fmt: skip
    some = [(words, wrong) for words, wrong in choices if (wrong != IGNORED).any()]
    return [(words, wrong) for words, wrong in some if not np.array_equal(wrong, targets)]


def wrong_targets(o):
    """The target of a token is the one after it; another choice changes the loss and its gradient."""
    for words, wrong in target_choices(o.t["ids"], o.t["targets"]):
        yield Hypothesis(words, {
            "loss": lambda t, w=wrong: np.asarray(cross_entropy_forward(t["logits"], w, t.label_smoothing)[0]),
            "grad.logits": lambda t, w=wrong: cross_entropy_backward(
                1.0, cross_entropy_forward(t["logits"], w, t.label_smoothing)[1]) * t["grad.loss"],
        })  # fmt: skip


def wrong_mean(o):
    """The mean is a sum divided by the number of targets that count; a wrong number scales every gradient."""
    targets = o.t["targets"]
    (B, T), V = targets.shape, o.t["logits"].shape[-1]
    counted = int((targets != IGNORED).sum())
    subject = "loss" if o.what == "loss" else "gradients"
    for count, words in (
        (1, "summed, not averaged"),
        (B * T, f"averaged over all {B * T} positions, including those that are ignored"),
        (B, f"divided by the number of sequences, {B}"),
        (T, f"divided by the number of tokens in a sequence, {T}"),
        (counted**2, f"divided twice by the number of targets that count, {counted}"),
        (counted * B, f"averaged, and divided by the number of sequences, {B}, again"),
        (counted * T, f"averaged, and divided by the number of tokens in a sequence, {T}, again"),
        (counted * V, f"averaged over the vocabulary, {V}, as well"),
        (counted / 2, "counted twice (two backward passes, or gradients that are not zeroed between them)"),
        (counted * 2, "halved"),
        (counted / 4, "multiplied by 4 (as by four steps of accumulation without a division)"),
        (counted / 8, "multiplied by 8 (as by eight steps of accumulation without a division)"),
        (counted * 4, "divided by 4"),
        *((counted / 2**n, f"multiplied by {2**n} (a loss scaled for half precision, not unscaled?)")
          for n in range(4, 17)),
        (B * max(T - 1, 1), f"divided by B (T - 1) = {B * (T - 1)}"),
        (counted * math.log(2), "in bits, divided by ln 2; GPT-2's loss is in nats"),
        (-counted, "of the wrong sign"),
    ):  # fmt: skip
        factor = counted / count
        if factor == 1:
            continue
        harmless = "unscaled" in words and o.what != "loss"
        yield Hypothesis(
            f"{subject}: {words}; GPT-2's loss is the mean over the {counted} targets that count, so there is a factor "
            f"of {factor:.6g}",
            {"loss": of_result("loss", lambda y, f=factor: y * f),
             "grad.logits": of_result("grad.logits", lambda y, f=factor: y * f)}
            if o.what in ("loss", "grad.logits") else {o.what: of_result(o.what, lambda y, f=factor: y * f)},
            harmless=harmless,
        )  # fmt: skip


def loss_forms(o):
    """Other losses of the right logits and targets."""
    def of_logits(function):
        def value(t):
            return np.asarray(cross_entropy_forward(function(t["logits"]), t["targets"])[0])
        return value

    def per_sequence(t):
        pairs = [(y, x) for y, x in zip(t["logits"], t["targets"], strict=True) if (x != IGNORED).any()]
        return np.asarray(np.mean([cross_entropy_forward(y, x)[0] for y, x in pairs]))

    for words, function in (
        ("of softmax(logits), softmax is taken twice; the loss takes the logits themselves",
         of_logits(lambda y: np.exp(y - _log_sum(y)))),
        ("the softmax is over the tokens (axis T), it should be over the vocabulary",
         lambda t: _loss_over(t, 1)),
        ("the softmax is over a vocabulary padded with zeros", _padded_loss),
        ("the mean of each sequence first, then of those; GPT-2's is over all targets at once", per_sequence),
        ("the perplexity, exp(loss)", of_result("loss", np.exp)),
        ("the loss of a single sequence, the first",
         lambda t: np.asarray(cross_entropy_forward(t["logits"][:1], t["targets"][:1])[0])),
        ("the loss of a single sequence, the last",
         lambda t: np.asarray(cross_entropy_forward(t["logits"][-1:], t["targets"][-1:])[0])),
        ("of the last position only",
         lambda t: np.asarray(cross_entropy_forward(t["logits"][:, -1], t["targets"][:, -1])[0])),
    ):  # fmt: skip
        yield Hypothesis(f"loss: {words}", {"loss": function})
    if o.what in ("loss", "grad.logits") and "grad.logits" in o.t.tensors.theirs:
        more = _more_classes(o.t)
        if more is not None:
            extra, loss_of, gradient_of = more
            yield Hypothesis(
                f"loss: beyond the {o.t['logits'].shape[-1]} tokens of the vocabulary, rows of padding count as well "
                f"and get {extra:.1%} of the probability; cut the logits off before the loss",
                {"loss": loss_of, "grad.logits": gradient_of}, 1, spoils=r"grad\.(ln_f|wte\.weight)",
            )  # fmt: skip
    if o.what == "loss" and o.actual is not None:
        weights = [x.astype(np.float64) for name, x in o.t.tensors.ours.items() if is_parameter(name)]
        share = float((o.actual - o.right) / sum(np.vdot(w, w) for w in weights)) if weights else 0.0
        yield Hypothesis(
            f"loss: {share:.4g} times the sum of the squares of all parameters is part of it (weight decay, L2); in "
            "GPT-2 decay is the optimizer's", _decayed(share), 1,
        )  # fmt: skip
    for e in (0.1, 0.2, 0.05, 0.01, 0.3):
        def smooth(t, e=e):
            return cross_entropy_forward(t["logits"], t["targets"], e)

        yield Hypothesis(
            f"loss: label smoothing of {e}; GPT-2 uses none",
            {"loss": lambda t, s=smooth: np.asarray(s(t)[0]),
             "grad.logits": lambda t, s=smooth: cross_entropy_backward(1.0, s(t)[1]) * t["grad.loss"]}, 1,
        )  # fmt: skip


def _loss_over(t, axis):
    """The loss with a softmax over another axis of the logits (B, T, V)."""
    y, targets = t["logits"], t["targets"]
    top = y.max(axis, keepdims=True)
    log_p = y - top - np.log(np.exp(y - top).sum(axis, keepdims=True))
    seen = targets != IGNORED
    picked = np.take_along_axis(log_p, np.where(seen, targets, 0)[..., None], -1)[..., 0]
    return np.asarray(-(picked * seen).sum() / seen.sum())


def _decayed(share):
    """Loss and gradients with share times the sum of the squares of all parameters in the loss."""
    def decayed(what):
        add = of_result(what, lambda y: y)
        return lambda t: add(t) + 2 * share * t[what.removeprefix("grad.")]

    def value(t):
        squares = (x.astype(np.float64) for name, x in t.tensors.ours.items() if is_parameter(name))
        return operations.loss(t) + share * sum(np.vdot(w, w) for w in squares)

    return {"loss": value} | {what: decayed(what) for what in PARAMETERS}


def _more_classes(t):
    """What the gradient of the logits says of classes that the recorded logits lack: a factor below 1 in each row.

    returns their mean share, and the operations loss and grad.logits with them; None if nothing speaks for it.
    """
    actual, y, targets = t.tensors.theirs["grad.logits"].astype(np.float64), t["logits"], t["targets"]
    seen = targets != IGNORED
    p = np.exp(y - _log_sum(y))
    rest = actual * seen.sum()
    np.put_along_axis(rest, np.where(seen, targets, 0)[..., None], 0.0, -1)
    q = p.copy()
    np.put_along_axis(q, np.where(seen, targets, 0)[..., None], 0.0, -1)
    factor = (rest * q).sum(-1, keepdims=True) / (q * q).sum(-1, keepdims=True)
    counted = factor[seen]
    if not np.isfinite(counted).all() or not (counted > 0).all() or not (counted < 1).all() or counted.min() > 1 - 1e-4:
        return None
    one_hot = np.zeros_like(p)
    np.put_along_axis(one_hot, np.where(seen, targets, 0)[..., None], 1.0, -1)

    def loss_of(t):
        return np.asarray(cross_entropy_forward(t["logits"], t["targets"])[0] - np.log(factor[seen]).mean())

    def gradient_of(t):
        y = t["logits"]
        return (factor * np.exp(y - _log_sum(y)) - one_hot) * seen[..., None] / seen.sum() * t["grad.loss"]

    return 1 - float(counted.mean()), loss_of, gradient_of


def _padded_loss(t):
    """As if the vocabulary went on, to the next multiple of 64 or 128 or to 50,304, with rows of zeros in wte."""
    y, V = t["logits"], t["logits"].shape[-1]
    padded = 50304 if V == 50257 else -(-V // 64) * 64
    zeros = np.zeros((*y.shape[:-1], padded - V))
    return np.asarray(cross_entropy_forward(np.concatenate([y, zeros], -1), t["targets"])[0])


def untied(head):
    """The operations of a model whose output layer has a matrix of its own (V, C)."""
    return {
        "logits": lambda t: t["ln_f"] @ head.T,
        "grad.ln_f": lambda t: t["grad.logits"] @ head,
        "grad.wte.weight": operations.d_tokens,
    }
