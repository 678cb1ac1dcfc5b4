"""Exercise 8 as students write it: right in several styles, and wrong in the ways that are known."""

import math

import numpy as np

from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward

# Forward.


def log_softmax(logits):
    m = logits.max(axis=-1, keepdims=True)
    return logits - m - np.log(np.sum(np.exp(logits - m), axis=-1, keepdims=True))


def step_by_step(logits, targets, label_smoothing=0.0, ignore_index=-100):
    V = logits.shape[-1]
    log_p = log_softmax(logits).reshape(-1, V)
    targets = targets.reshape(-1)
    counted = np.nonzero(targets != ignore_index)[0]
    nll = -log_p[counted, targets[counted]]
    smooth = -log_p[counted].mean(axis=-1)
    loss = np.mean((1 - label_smoothing) * nll + label_smoothing * smooth)
    return loss, {"log_p": log_p}


def without_a_cache(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return step_by_step(logits, targets, label_smoothing, ignore_index)[0]


def in_loops(logits, targets, label_smoothing=0.0, ignore_index=-100):
    total, n, V = 0.0, 0, logits.shape[-1]
    for index in np.ndindex(targets.shape):
        if targets[index] == ignore_index:
            continue
        z = [float(value) for value in logits[index]]
        log_z = max(z) + math.log(sum(math.exp(value - max(z)) for value in z))
        for v in range(V):
            q = label_smoothing / V + (1 - label_smoothing) * (v == targets[index])
            total -= q * (z[v] - log_z)
        n += 1
    return total / n, {}


def by_logaddexp(logits, targets, label_smoothing=0.0, ignore_index=-100):
    V, mask = logits.shape[-1], targets != ignore_index
    log_z = np.logaddexp.reduce(logits, axis=-1)
    picked = np.take_along_axis(logits, np.where(mask, targets, 0)[..., None], -1).squeeze(-1)
    wanted = (1 - label_smoothing) * picked + label_smoothing / V * logits.sum(-1)
    return ((log_z - wanted) * mask).sum() / mask.sum(), {}


def by_one_hot(logits, targets, label_smoothing=0.0, ignore_index=-100):
    """All of q, and a sum over everything."""
    V = logits.shape[-1]
    mask = (targets != ignore_index)[..., None]
    q = np.eye(V)[np.where(targets == ignore_index, 0, targets)] * (1 - label_smoothing) + label_smoothing / V
    return -(q * mask * log_softmax(logits)).sum() / np.sum(mask)


class Cache:
    """Somebody who likes attributes better than keys."""

    def __init__(self, **values):
        self.__dict__ |= values


def with_an_object(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return without_a_cache(logits, targets, label_smoothing, ignore_index), Cache(logits=logits, targets=targets)


def with_a_tuple(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return in_loops(logits, targets, label_smoothing, ignore_index)[0], (logits, targets, label_smoothing)


def with_none(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return float(by_logaddexp(logits, targets, label_smoothing, ignore_index)[0]), None


def on_copies(logits, targets, label_smoothing=0.0, ignore_index=-100):
    """In place, on arrays of its own; a sum of two losses."""
    rows, kept = logits.reshape(-1, logits.shape[-1]).copy(), targets.ravel() != ignore_index
    rows -= rows.max(1)[:, None]
    rows -= np.log(np.exp(rows).sum(1))[:, None]
    hard = [-row[target] for row, target in zip(rows[kept], targets.ravel()[kept], strict=True)]
    return (1 - label_smoothing) * np.mean(hard) - label_smoothing * rows[kept].mean(), rows


# Backward.


def gradient(dloss, cache):
    probs, targets, counted, e = (cache[name] for name in ("probs", "targets", "counted", "label_smoothing"))
    N, V = probs.shape
    dlogits = probs - e / V
    dlogits[np.arange(N), np.where(counted, targets, 0)] -= 1 - e
    dlogits[~counted] = 0
    return (dlogits * (dloss / counted.sum())).reshape(cache["logits"].shape).astype(probs.dtype)


def gradient_by_one_hot(dloss, cache):
    logits, targets, counted, e = (cache[name] for name in ("logits", "targets", "counted", "label_smoothing"))
    V = logits.shape[-1]
    q = (targets[:, np.newaxis] == np.arange(V)) * (1 - e) + e / V
    p = np.exp(log_softmax(logits.reshape(-1, V)))
    return dloss * np.where(counted[:, None], p - q, 0).reshape(logits.shape) / np.count_nonzero(counted)


def gradient_in_loops(dloss, cache):
    logits = cache["logits"]
    rows, V = logits.reshape(-1, logits.shape[-1]), logits.shape[-1]
    out, n = np.zeros(rows.shape), sum(1 for target in cache["targets"] if target != cache["ignore_index"])
    for i, target in enumerate(cache["targets"]):
        if target == cache["ignore_index"]:
            continue
        for v in range(V):
            p = math.exp(float(rows[i, v]) - float(cache["log_sum_exp"][i]))
            q = cache["label_smoothing"] / V + (1 - cache["label_smoothing"]) * int(v == target)
            out[i, v] = float(dloss) * (p - q) / n
    return out.reshape(logits.shape)


def gradient_by_jacobian(dloss, cache):
    """Through the probabilities: -q / p, and then the Jacobian of the softmax; p of 0 is left out."""
    p, counted, e = cache["probs"], cache["counted"], cache["label_smoothing"]
    V = p.shape[1]
    out = np.zeros_like(p)
    for i in np.flatnonzero(counted):
        q = np.full(V, e / V)
        q[cache["targets"][i]] += 1 - e
        # (-q / p) @ (diag(p) - p p^T), with the division by p carried out first
        out[i] = -(q @ (np.eye(V) - np.ones((V, 1)) * p[i])) * dloss / counted.sum()
    return out.reshape(cache["logits"].shape)


# The z-loss.


def z_loss(logits, weight=1e-4):
    log_z = np.logaddexp.reduce(logits, axis=-1)
    return weight * np.mean(log_z * log_z)


def z_loss_with_maximum(logits, weight=1e-4):
    m = np.max(logits, axis=-1)
    log_z = m + np.log(np.exp(logits - m[..., None]).sum(-1))
    return weight * (log_z**2).sum() / log_z.size, {}


def z_gradient(dloss, cache):
    n = cache["log_z"].size
    return np.einsum("...,...v->...v", 2 * dloss * cache["weight"] / n * cache["log_z"], cache["probs"])


def z_gradient_anew(dloss, cache):
    logits = cache["logits"].astype("float64")
    log_z = np.logaddexp.reduce(logits, -1)[..., None]
    return dloss * cache["weight"] * 2 / log_z.size * log_z * np.exp(logits - log_z)


RIGHT = [
    ("cross_entropy_forward", cross_entropy_forward),
    ("cross_entropy_backward", cross_entropy_backward),
    ("cross_entropy_forward", step_by_step),
    ("cross_entropy_forward", without_a_cache),
    ("cross_entropy_forward", in_loops),
    ("cross_entropy_forward", by_logaddexp),
    ("cross_entropy_forward", by_one_hot),
    ("cross_entropy_forward", with_an_object),
    ("cross_entropy_forward", with_a_tuple),
    ("cross_entropy_forward", with_none),
    ("cross_entropy_forward", on_copies),
    ("cross_entropy_backward", gradient),
    ("cross_entropy_backward", gradient_by_one_hot),
    ("cross_entropy_backward", gradient_in_loops),
    ("cross_entropy_backward", gradient_by_jacobian),
    ("z_loss_forward", z_loss),
    ("z_loss_forward", z_loss_with_maximum),
    ("z_loss_backward", z_gradient),
    ("z_loss_backward", z_gradient_anew),
]


# Forward, wrong.


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def losses_of(log_p, targets, label_smoothing, ignore_index):
    """The loss at each position, 0 where it does not count, and which count."""
    counted = targets != ignore_index
    picked = np.take_along_axis(log_p, np.where(counted, targets, 0)[..., None], -1)[..., 0]
    if not label_smoothing:
        return np.where(counted, -picked, 0), counted
    return np.where(counted, -(1 - label_smoothing) * picked - label_smoothing * log_p.mean(-1), 0), counted


def mean_of(log_p, targets, label_smoothing, ignore_index):
    losses, counted = losses_of(log_p, targets, label_smoothing, ignore_index)
    return losses.sum() / counted.sum()


def no_max_softmax(logits, targets, label_smoothing=0.0, ignore_index=-100):
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return mean_of(np.log(p), targets, label_smoothing, ignore_index)


def no_max_log_sum_exp(logits, targets, label_smoothing=0.0, ignore_index=-100):
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return mean_of(log_p, targets, label_smoothing, ignore_index)


def one_max_softmax(logits, targets, label_smoothing=0.0, ignore_index=-100):
    e = np.exp(logits - logits.max())
    return mean_of(np.log(e / e.sum(axis=-1, keepdims=True)), targets, label_smoothing, ignore_index)


def one_max_log_sum_exp(logits, targets, label_smoothing=0.0, ignore_index=-100):
    z = logits - np.max(logits)
    return mean_of(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)), targets, label_smoothing, ignore_index)


def log_of_softmax(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(np.log(softmax(logits)), targets, label_smoothing, ignore_index)


def with_small_number(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(np.log(softmax(logits) + 1e-9), targets, label_smoothing, ignore_index)


def with_tiny_number(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(np.log(softmax(logits) + 1e-12), targets, label_smoothing, ignore_index)


def clipped(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(np.log(np.clip(softmax(logits), 1e-10, 1)), targets, label_smoothing, ignore_index)


def summed(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return losses_of(log_softmax(logits), targets, label_smoothing, ignore_index)[0].sum()


def over_batch(logits, targets, label_smoothing=0.0, ignore_index=-100):
    losses, _ = losses_of(log_softmax(logits), targets, label_smoothing, ignore_index)
    return losses.sum() / logits.shape[0]


def over_everything(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return np.mean(losses_of(log_softmax(logits), targets, label_smoothing, ignore_index)[0])


def mean_of_means(logits, targets, label_smoothing=0.0, ignore_index=-100):
    losses, counted = losses_of(log_softmax(logits), targets, label_smoothing, ignore_index)
    return np.mean(losses.sum(axis=-1) / counted.sum(axis=-1))


def not_ignored(logits, targets, label_smoothing=0.0, ignore_index=-100):
    V = logits.shape[-1]
    rows, flat = log_softmax(logits).reshape(-1, V), targets.reshape(-1)
    nll = -rows[np.arange(len(flat)), flat]
    return ((1 - label_smoothing) * nll - label_smoothing * rows.mean(-1)).mean()


def not_ignored_three_axes(logits, targets, label_smoothing=0.0, ignore_index=-100):
    B, T, _ = logits.shape
    log_p = log_softmax(logits)
    nll = -log_p[np.arange(B)[:, None], np.arange(T), targets]
    return ((1 - label_smoothing) * nll - label_smoothing * log_p.mean(-1)).mean()


def three_axes(logits, targets, label_smoothing=0.0, ignore_index=-100):
    B, T, V = logits.shape
    return without_a_cache(logits.reshape(B * T, V), targets.reshape(B * T), label_smoothing, ignore_index)


def not_ignored_eye(logits, targets, label_smoothing=0.0, ignore_index=-100):
    V = logits.shape[-1]
    q = (1 - label_smoothing) * np.eye(V)[targets] + label_smoothing / V
    return -(q * log_softmax(logits)).sum(-1).mean()


def always_minus_100(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(log_softmax(logits), targets, label_smoothing, -100)


def not_smoothed(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(log_softmax(logits), targets, 0.0, ignore_index)


def with_targets(make_q):
    """A forward pass with somebody's own target distribution: (one_hot, e, V) -> q."""

    def forward(logits, targets, label_smoothing=0.0, ignore_index=-100):
        V, counted = logits.shape[-1], targets != ignore_index
        q = make_q(np.eye(V)[np.where(counted, targets, 0)], label_smoothing, V)
        losses = -(q * log_softmax(logits)).sum(axis=-1)
        return losses[counted].mean()

    forward.__name__ = make_q.__name__
    return forward


@with_targets
def over_the_others(one_hot, e, V):
    return np.where(one_hot == 1, 1 - e, e / (V - 1))


@with_targets
def on_top(one_hot, e, V):
    return one_hot + e / V


@with_targets
def not_shared(one_hot, e, V):
    return one_hot * (1 - e) + e


@with_targets
def given_to_nobody(one_hot, e, V):
    return one_hot * (1 - e)


@with_targets
def changed_places(one_hot, e, V):
    return one_hot * e + (1 - e) / V


def smoothing_over_all(logits, targets, label_smoothing=0.0, ignore_index=-100):
    log_p = log_softmax(logits)
    nll = mean_of(log_p, targets, 0.0, ignore_index)
    return (1 - label_smoothing) * nll + label_smoothing * -log_p.mean()


def in_bits(logits, targets, label_smoothing=0.0, ignore_index=-100):
    z = logits - logits.max(-1, keepdims=True)
    log_p = z / math.log(2) - np.log2(np.exp(z).sum(-1, keepdims=True))
    return mean_of(log_p, targets, label_smoothing, ignore_index)


def in_decimals(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return without_a_cache(logits, targets, label_smoothing, ignore_index) * np.log10(np.e)


def probability(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(softmax(logits), targets, label_smoothing, ignore_index)


def one_minus_probability(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return 1 + mean_of(softmax(logits), targets, label_smoothing, ignore_index)


def squares(logits, targets, label_smoothing=0.0, ignore_index=-100):
    V, counted = logits.shape[-1], targets != ignore_index
    q = (1 - label_smoothing) * np.eye(V)[np.where(counted, targets, 0)] + label_smoothing / V
    return ((softmax(logits) - q) ** 2).sum(-1)[counted].mean()


def plain_logits(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(logits, targets, label_smoothing, ignore_index)


def perplexity(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return np.exp(without_a_cache(logits, targets, label_smoothing, ignore_index))


def over_time(logits, targets, label_smoothing=0.0, ignore_index=-100):
    z = logits - logits.max(axis=-2, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=-2, keepdims=True))
    return mean_of(log_p, targets, label_smoothing, ignore_index)


def moved_on(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return without_a_cache(logits[..., :-1, :], targets[..., 1:], label_smoothing, ignore_index)


def over_vocabulary(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return without_a_cache(logits, targets, label_smoothing, ignore_index) / logits.shape[-1]


def no_minus(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return -without_a_cache(logits, targets, label_smoothing, ignore_index)


def subtracts_in_place(logits, targets, label_smoothing=0.0, ignore_index=-100):
    logits -= logits.max(axis=-1, keepdims=True)
    return without_a_cache(logits, targets, label_smoothing, ignore_index)


def overwrites_targets(logits, targets, label_smoothing=0.0, ignore_index=-100):
    loss = without_a_cache(logits, targets, label_smoothing, ignore_index)
    targets[targets == ignore_index] = 0
    return loss


def mean_subtracted(logits, targets, label_smoothing=0.0, ignore_index=-100):
    z = logits - logits.mean(-1, keepdims=True)
    return mean_of(z - np.log(np.exp(z).sum(-1, keepdims=True)), targets, label_smoothing, ignore_index)


def by_default_smoothed(logits, targets, label_smoothing=0.1, ignore_index=-100):
    return without_a_cache(logits, targets, label_smoothing, ignore_index)


def by_default_ignores_minus_1(logits, targets, label_smoothing=0.0, ignore_index=-1):
    return without_a_cache(logits, targets, label_smoothing, ignore_index)


def cut_off(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return without_a_cache(np.clip(logits, -100, 100), targets, label_smoothing, ignore_index)


def maximum_once(logits, targets, label_smoothing=0.0, ignore_index=-100):
    log_z = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    return mean_of(logits - log_z, targets, label_smoothing, ignore_index)


def no_sum(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(logits - logits.max(-1, keepdims=True), targets, label_smoothing, ignore_index)


def sum_to_base_2(logits, targets, label_smoothing=0.0, ignore_index=-100):
    z = logits - logits.max(-1, keepdims=True)
    return mean_of(z - np.log2(np.exp(z).sum(-1, keepdims=True)), targets, label_smoothing, ignore_index)


def sum_of_all(logits, targets, label_smoothing=0.0, ignore_index=-100):
    z = logits - logits.max()
    return mean_of(z - np.log(np.exp(z).sum()), targets, label_smoothing, ignore_index)


def over_batch_axis(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(logits - np.logaddexp.reduce(logits, 0), targets, label_smoothing, ignore_index)


def by_sequence_length(logits, targets, label_smoothing=0.0, ignore_index=-100):
    losses, _ = losses_of(log_softmax(logits), targets, label_smoothing, ignore_index)
    return losses.sum() / logits.shape[-2]


def all_negative(logits, targets, label_smoothing=0.0, ignore_index=-100):
    counted = targets >= 0
    losses, _ = losses_of(log_softmax(logits), np.where(counted, targets, -100), label_smoothing, -100)
    return losses[counted].mean()


def without_token_0(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return without_a_cache(logits, np.where(targets == 0, ignore_index, targets), label_smoothing, ignore_index)


def ignored_as_token_0(logits, targets, label_smoothing=0.0, ignore_index=-100):
    wanted = targets.copy()
    wanted[wanted == ignore_index] = 0
    losses, _ = losses_of(log_softmax(logits), wanted, label_smoothing, -1)
    return losses.mean()


def smoothing_of_all_summed(logits, targets, label_smoothing=0.0, ignore_index=-100):
    """A one-hot array whose rows are zero where the target is ignored, and are smoothed all the same."""
    V = logits.shape[-1]
    one_hot = (targets[..., None] == np.arange(V)) & (targets != ignore_index)[..., None]
    q = (1 - label_smoothing) * one_hot + label_smoothing / V
    return -(q * log_softmax(logits)).sum() / (targets != ignore_index).sum()


def predictions_smoothed(logits, targets, label_smoothing=0.0, ignore_index=-100):
    p = (1 - label_smoothing) * softmax(logits) + label_smoothing / logits.shape[-1]
    return mean_of(np.log(p), targets, 0.0, ignore_index)


def likeliest(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return mean_of(
        log_softmax(logits), np.where(targets == ignore_index, -100, logits.argmax(-1)), label_smoothing, -100
    )


def every_target_for_every_row(logits, targets, label_smoothing=0.0, ignore_index=-100):
    kept = targets != ignore_index
    rows = log_softmax(logits)[kept]
    return -((1 - label_smoothing) * rows[:, targets[kept]] + label_smoothing * rows.mean()).mean()


def log_of_mean(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return -np.log(-probability(logits, targets, label_smoothing, ignore_index))


def of_each_position(logits, targets, label_smoothing=0.0, ignore_index=-100):
    return losses_of(log_softmax(logits), targets, label_smoothing, ignore_index)[0]


def nothing_but_the_target(logits, targets, label_smoothing=0.0, ignore_index=-100):
    """As far as the first sentence of the text goes."""
    rows, flat = log_softmax(logits).reshape(-1, logits.shape[-1]), targets.ravel()
    return -rows[np.arange(flat.size), flat].mean(), {}


def naive_softmax_of_one_hot(logits, targets, label_smoothing=0.0, ignore_index=-100):
    counted, V = targets != ignore_index, logits.shape[-1]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = (1 - label_smoothing) * np.eye(V)[targets[counted]] + label_smoothing / V
    return -(q * np.log(p)[counted]).sum() / counted.sum()


def on_top_over_everything(logits, targets, label_smoothing=0.0, ignore_index=-100):
    counted = targets != ignore_index
    log_p = log_softmax(logits)[counted]
    picked = np.take_along_axis(log_p, targets[counted][:, None], -1)[:, 0]
    return -(picked + label_smoothing * log_p.mean(-1)).sum() / targets.size


# Backward, wrong.


def gradient_of(dloss, cache, q=None, n=None, mask=True):
    probs, targets, counted, e = (cache[name] for name in ("probs", "targets", "counted", "label_smoothing"))
    N, V = probs.shape
    one_hot = np.zeros((N, V))
    one_hot[counted, targets[counted]] = 1
    d = probs - ((1 - e) * one_hot + e / V if q is None else q(one_hot, e, V))
    d = d * (dloss / (counted.sum() if n is None else n(cache)))
    return (d * counted[:, None] if mask else d).reshape(cache["logits"].shape)


def probs_alone(dloss, cache):
    return gradient_of(dloss, cache, lambda one_hot, e, V: np.zeros_like(one_hot))


def without_probs(dloss, cache):
    return gradient_of(dloss, cache | {"probs": np.zeros_like(cache["probs"])})


def one_hot_only(dloss, cache):
    return gradient_of(dloss, cache, lambda one_hot, e, V: one_hot)


def gradient_over_others(dloss, cache):
    return gradient_of(dloss, cache, lambda one_hot, e, V: np.where(one_hot == 1, 1 - e, e / (V - 1)))


def gradient_on_top(dloss, cache):
    return gradient_of(dloss, cache, lambda one_hot, e, V: one_hot + e / V)


def gradient_to_nobody(dloss, cache):
    return gradient_of(dloss, cache, lambda one_hot, e, V: one_hot * (1 - e))


def no_dloss(dloss, cache):
    return gradient(1.0, cache)


def not_divided(dloss, cache):
    return gradient_of(dloss, cache, n=lambda cache: 1)


def divided_by_batch(dloss, cache):
    return gradient_of(dloss, cache, n=lambda cache: cache["logits"].shape[0])


def divided_by_all(dloss, cache):
    return gradient_of(dloss, cache, n=lambda cache: cache["targets"].size)


def divided_by_vocabulary(dloss, cache):
    return gradient_of(dloss, cache, n=lambda cache: cache["counted"].sum() * cache["probs"].shape[1])


def not_masked(dloss, cache):
    return gradient_of(dloss, cache, mask=False)


def not_masked_token_0(dloss, cache):
    probs, counted, e = cache["probs"], cache["counted"], cache["label_smoothing"]
    d = probs - e / probs.shape[1]
    d[np.arange(len(d)), np.where(counted, cache["targets"], 0)] -= 1 - e
    return (dloss * d / counted.sum()).reshape(cache["logits"].shape)


def indexed(dloss, cache):
    d = cache["probs"] - cache["label_smoothing"] / cache["probs"].shape[1]
    d[np.arange(len(d)), cache["targets"]] -= 1 - cache["label_smoothing"]
    d[~cache["counted"]] = 0
    return (dloss * d / cache["counted"].sum()).reshape(cache["logits"].shape)


def indexed_by_minus_100(dloss, cache):
    d = cache["probs"] - cache["label_smoothing"] / cache["probs"].shape[1]
    d[np.arange(len(d)), cache["targets"]] -= 1 - cache["label_smoothing"]
    return (dloss * d / cache["counted"].sum()).reshape(cache["logits"].shape)


def indexed_eye_by_minus_100(dloss, cache):
    e, V = cache["label_smoothing"], cache["probs"].shape[1]
    q = (1 - e) * np.eye(V)[cache["targets"]] + e / V
    return (dloss * (cache["probs"] - q) / cache["counted"].sum()).reshape(cache["logits"].shape)


def softmax_twice(dloss, cache):
    p = cache["probs"].reshape(cache["logits"].shape)
    d = gradient(dloss, cache)
    return p * (d - np.sum(p * d, axis=-1, keepdims=True))


def of_probabilities(dloss, cache):
    p, counted, e = cache["probs"], cache["counted"], cache["label_smoothing"]
    N, V = p.shape
    q = np.full((N, V), e / V)
    q[counted, cache["targets"][counted]] += 1 - e
    return (-q / p * counted[:, None] * dloss / counted.sum()).reshape(cache["logits"].shape)


def target_only(dloss, cache):
    whole = gradient(dloss, cache).reshape(cache["probs"].shape)
    out, rows = np.zeros_like(whole), np.flatnonzero(cache["counted"])
    out[rows, cache["targets"][rows]] = whole[rows, cache["targets"][rows]]
    return out.reshape(cache["logits"].shape)


def flat(dloss, cache):
    return gradient(dloss, cache).reshape(-1, cache["logits"].shape[-1])


def uphill(dloss, cache):
    return -gradient(dloss, cache)


def writes_into_probs(dloss, cache):
    d, counted, e = cache["probs"], cache["counted"], cache["label_smoothing"]
    d -= e / d.shape[1]
    d[np.arange(len(d)), np.where(counted, cache["targets"], 0)] -= 1 - e
    return (d * counted[:, None] * dloss / counted.sum()).reshape(cache["logits"].shape)


def of_logarithms(dloss, cache):
    return gradient_of(dloss, cache | {"probs": np.log(cache["probs"])})


def of_logits(dloss, cache):
    return gradient_of(dloss, cache | {"probs": cache["logits"].reshape(cache["probs"].shape)})


def gradient_not_shared(dloss, cache):
    return gradient_of(dloss, cache, lambda one_hot, e, V: (1 - e) * one_hot + e)


def divides_by_dloss(dloss, cache):
    return gradient(1 / dloss, cache)


def adds_dloss(dloss, cache):
    return gradient(1.0, cache) + dloss


def divided_by_length(dloss, cache):
    return gradient_of(dloss, cache, n=lambda cache: cache["logits"].shape[-2])


def not_masked_no_smoothing_there(dloss, cache):
    counted = cache["counted"][:, None]
    return gradient_of(
        dloss, cache, lambda one_hot, e, V: counted * ((1 - e) * one_hot + e / V), mask=False
    )


def over_all_and_not_masked(dloss, cache):
    return gradient_of(dloss, cache, n=lambda cache: len(cache["targets"]), mask=False)


def uphill_without_dloss(dloss, cache):
    return -gradient(1.0, cache)


def indexed_and_not_masked(dloss, cache):
    out, e = cache["probs"] - cache["label_smoothing"] / cache["probs"].shape[1], cache["label_smoothing"]
    for n in range(len(out)):
        out[n, cache["targets"][n]] -= 1 - e
    return (dloss / cache["counted"].sum() * out).reshape(cache["logits"].shape)


def gradient_of_three_axes(dloss, cache):
    B, T, V = cache["logits"].shape
    return gradient(dloss, cache).reshape(B, T, V)


def with_a_cache(dloss, cache):
    return gradient(dloss, cache), cache


# The z-loss, wrong.


def z_no_logarithm(logits, weight=1e-4):
    return weight * (np.exp(logits).sum(-1) ** 2).mean()


def z_over_time(logits, weight=1e-4):
    return weight * (np.logaddexp.reduce(logits, -2) ** 2).mean()


def z_fixed_weight(logits, weight=1e-4):
    return z_loss(logits, 1e-4)


def z_divided_by_length(dloss, cache):
    return 2 * dloss * cache["weight"] * cache["log_z"][..., None] * cache["probs"] / len(cache["log_z"])


def z_divided_by_vocabulary(dloss, cache):
    return z_gradient(dloss, cache) / cache["probs"].shape[-1]


def z_one_maximum(logits, weight=1e-4):
    m = logits.max()
    return weight * ((m + np.log(np.exp(logits - m).sum(-1))) ** 2).mean()


def z_overflow(logits, weight=1e-4):
    return weight * (np.log(np.exp(logits).sum(-1)) ** 2).mean()


def z_not_squared(logits, weight=1e-4):
    return weight * np.logaddexp.reduce(logits, -1).mean()


def z_square_of_mean(logits, weight=1e-4):
    return weight * np.logaddexp.reduce(logits, -1).mean() ** 2


def z_summed(logits, weight=1e-4):
    return weight * (np.logaddexp.reduce(logits, -1) ** 2).sum()


def z_no_weight(logits, weight=1e-4):
    return (np.logaddexp.reduce(logits, -1) ** 2).mean()


def z_not_put_back(logits, weight=1e-4):
    m = logits.max(-1, keepdims=True)
    return weight * (np.log(np.exp(logits - m).sum(-1)) ** 2).mean()


def z_no_two(dloss, cache):
    return dloss * cache["weight"] * cache["log_z"][..., None] * cache["probs"] / cache["log_z"].size


def z_no_probs(dloss, cache):
    d = 2 * dloss * cache["weight"] * cache["log_z"][..., None] / cache["log_z"].size
    return np.broadcast_to(d, cache["logits"].shape)


def z_no_log_z(dloss, cache):
    return 2 * dloss * cache["weight"] * cache["probs"] / cache["log_z"].size


def z_not_divided(dloss, cache):
    return 2 * dloss * cache["weight"] * cache["log_z"][..., None] * cache["probs"]


def z_no_dloss(dloss, cache):
    return z_gradient(1.0, cache)


def z_gradient_no_weight(dloss, cache):
    return 2 * dloss * cache["log_z"][..., None] * cache["probs"] / cache["log_z"].size


def overwritten_share(logits, targets, label_smoothing=0.0, ignore_index=-100):
    V = logits.shape[-1]
    counted = targets != ignore_index
    log_p, wanted = log_softmax(logits)[counted], targets[counted]
    q = np.full(log_p.shape, label_smoothing / V)
    q[np.arange(len(q)), wanted] = 1 - label_smoothing
    return -(q * log_p).sum() / len(q)


def overwritten_share_backward(dloss, cache):
    probs, targets, counted, e = (cache[name] for name in ("probs", "targets", "counted", "label_smoothing"))
    q = np.full(probs.shape, e / probs.shape[-1])
    q[counted, targets[counted]] = 1 - e
    d = (probs - q) * counted[:, None] * dloss / counted.sum()
    return d.reshape(cache["logits"].shape)


WRONG = [
    ("cross_entropy_forward", overwritten_share, "lacks its own part"),
    ("cross_entropy_backward", overwritten_share_backward, "lacks its own part"),
    ("cross_entropy_forward", no_max_softmax, "exp of a large logit overflows"),
    ("cross_entropy_forward", no_max_log_sum_exp, "exp of a large logit overflows"),
    ("cross_entropy_forward", one_max_softmax, "Each row needs its own"),
    ("cross_entropy_forward", one_max_log_sum_exp, "Each row needs its own"),
    ("cross_entropy_forward", log_of_softmax, "rounded to 0. The model"),
    ("cross_entropy_forward", with_small_number, "A small number is added"),
    ("cross_entropy_forward", with_tiny_number, "A small number is added"),
    ("cross_entropy_forward", clipped, "A small number is added"),
    ("cross_entropy_forward", summed, "the sum over the positions"),
    ("cross_entropy_forward", over_batch, "only by the number of sequences"),
    ("cross_entropy_forward", over_everything, "the number of all positions"),
    ("cross_entropy_forward", mean_of_means, "a mean over sequences of means"),
    ("cross_entropy_forward", not_ignored, "Targets that are ignore_index count"),
    ("cross_entropy_forward", not_ignored_three_axes, "Targets that are ignore_index count"),
    ("cross_entropy_forward", three_axes, "takes for granted that logits"),
    ("cross_entropy_backward", gradient_of_three_axes, "takes for granted that logits"),
    ("cross_entropy_forward", not_ignored_eye, "Targets that are ignore_index count"),
    ("cross_entropy_forward", always_minus_100, "It always ignores -100"),
    ("cross_entropy_forward", not_smoothed, "label_smoothing is not used"),
    ("cross_entropy_forward", over_the_others, "over the other V - 1 tokens"),
    ("cross_entropy_forward", on_top, "comes on top"),
    ("cross_entropy_forward", not_shared, "gets all of e"),
    ("cross_entropy_forward", given_to_nobody, "nobody receives it"),
    ("cross_entropy_forward", changed_places, "have changed places"),
    ("cross_entropy_forward", smoothing_over_all, "The smoothing's part of the loss"),
    ("cross_entropy_forward", in_bits, "so the loss is in bits"),
    ("cross_entropy_forward", in_decimals, "to base 10"),
    ("cross_entropy_forward", probability, "The logarithm is missing"),
    ("cross_entropy_forward", one_minus_probability, "The logarithm is missing"),
    ("cross_entropy_forward", squares, "the squared difference"),
    ("cross_entropy_forward", plain_logits, "as if they were log-probabilities"),
    ("cross_entropy_forward", perplexity, "the perplexity"),
    ("cross_entropy_forward", over_time, "runs over the positions"),
    ("cross_entropy_forward", moved_on, "are shifted against the logits"),
    ("cross_entropy_forward", over_vocabulary, "a mean over the vocabulary too"),
    ("cross_entropy_forward", no_minus, "The sign is turned round"),
    ("cross_entropy_forward", mean_subtracted, "subtracted before exp is not the largest"),
    ("cross_entropy_forward", by_default_smoothed, "as long as all arguments are given"),
    ("cross_entropy_forward", by_default_ignores_minus_1, "as long as all arguments are given"),
    ("cross_entropy_forward", cut_off, "cut off at a limit"),
    ("cross_entropy_forward", maximum_once, "must be subtracted everywhere"),
    ("cross_entropy_forward", no_sum, "The logarithm of the sum is missing"),
    ("cross_entropy_forward", sum_to_base_2, "The logarithm of the sum is to base 2"),
    ("cross_entropy_forward", sum_of_all, "All exponentials are summed"),
    ("cross_entropy_forward", over_batch_axis, "runs over the positions"),
    ("cross_entropy_forward", by_sequence_length, "only by the length of a sequence"),
    ("cross_entropy_forward", all_negative, "It ignores all negative targets"),
    ("cross_entropy_forward", without_token_0, "Token 0 is ignored"),
    ("cross_entropy_forward", ignored_as_token_0, "are replaced by a token"),
    ("cross_entropy_forward", smoothing_of_all_summed, "but their label smoothing has"),
    ("cross_entropy_forward", predictions_smoothed, "The predicted probabilities are smoothed"),
    ("cross_entropy_forward", likeliest, "of the likeliest token"),
    ("cross_entropy_forward", every_target_for_every_row, "the targets of all positions"),
    ("cross_entropy_forward", log_of_mean, "the logarithm of a mean"),
    ("cross_entropy_forward", of_each_position, "should be a single number"),
    ("cross_entropy_forward", nothing_but_the_target, "2 things at once. (1) Targets that are ignore_index count"),
    ("cross_entropy_forward", nothing_but_the_target, "(2) label_smoothing is not used"),
    ("cross_entropy_forward", naive_softmax_of_one_hot, "2 things at once. (1) A logarithm of a probability"),
    ("cross_entropy_forward", naive_softmax_of_one_hot, "(2) exp of a large logit overflows"),
    ("cross_entropy_forward", on_top_over_everything, "(2) The target keeps its whole share"),
    ("cross_entropy_forward", subtracts_in_place, "An operation in place"),
    ("cross_entropy_forward", overwrites_targets, "An operation in place"),
    ("cross_entropy_backward", probs_alone, "only the probabilities"),
    ("cross_entropy_backward", without_probs, "the probabilities are missing"),
    ("cross_entropy_backward", one_hot_only, "is not smoothed here"),
    ("cross_entropy_backward", gradient_over_others, "over the other V - 1 tokens"),
    ("cross_entropy_backward", gradient_on_top, "comes on top"),
    ("cross_entropy_backward", gradient_to_nobody, "nobody receives it"),
    ("cross_entropy_backward", no_dloss, "dloss is ignored"),
    ("cross_entropy_backward", not_divided, "It is not divided"),
    ("cross_entropy_backward", divided_by_batch, "only by the number of sequences"),
    ("cross_entropy_backward", divided_by_all, "the number of all positions"),
    ("cross_entropy_backward", divided_by_vocabulary, "also divided by V"),
    ("cross_entropy_backward", not_masked, "Where a target is ignored the gradient"),
    ("cross_entropy_backward", not_masked_no_smoothing_there, "Where a target is ignored the gradient"),
    ("cross_entropy_backward", not_masked_token_0, "are replaced by a token"),
    ("cross_entropy_backward", indexed, "Ignored targets are used as an index"),
    ("cross_entropy_backward", indexed_by_minus_100, "2 things at once. (1) Where a target is ignored"),
    ("cross_entropy_backward", indexed_eye_by_minus_100, "(2) Ignored targets are used as an index"),
    ("cross_entropy_backward", indexed_and_not_masked, "(2) Ignored targets are used as an index"),
    ("cross_entropy_backward", of_logarithms, "Logarithms of the probabilities"),
    ("cross_entropy_backward", of_logits, "The logits are there in place"),
    ("cross_entropy_backward", gradient_not_shared, "Every token gets all of e"),
    ("cross_entropy_backward", divides_by_dloss, "It is divided by dloss"),
    ("cross_entropy_backward", adds_dloss, "dloss is added"),
    ("cross_entropy_backward", divided_by_length, "only by the length of a sequence"),
    ("cross_entropy_backward", over_all_and_not_masked, "2 things at once. (1) It is divided by the number of all"),
    ("cross_entropy_backward", uphill_without_dloss, "(2) dloss is ignored"),
    ("cross_entropy_backward", with_a_cache, "A tuple of 2 came back"),
    ("cross_entropy_backward", softmax_twice, "the softmax once too often"),
    ("cross_entropy_backward", of_probabilities, "the gradient of the probabilities"),
    ("cross_entropy_backward", target_only, "Only the target's logit"),
    ("cross_entropy_backward", flat, "its shape is not"),
    ("cross_entropy_backward", uphill, "The sign is turned round"),
    ("cross_entropy_backward", writes_into_probs, "An operation in place"),
    ("z_loss_forward", z_one_maximum, "Each row needs its own"),
    ("z_loss_forward", z_overflow, "exp of a large logit overflows"),
    ("z_loss_forward", z_not_squared, "without the square"),
    ("z_loss_forward", z_square_of_mean, "the square of the mean"),
    ("z_loss_forward", z_summed, "The squares are summed"),
    ("z_loss_forward", z_no_weight, "weight is missing"),
    ("z_loss_forward", z_not_put_back, "was not added back"),
    ("z_loss_forward", z_no_logarithm, "The logarithm is missing"),
    ("z_loss_forward", z_over_time, "runs over the positions"),
    ("z_loss_forward", z_fixed_weight, "loss stays the same when weight is changed"),
    ("z_loss_backward", z_divided_by_length, "only by the length of one axis"),
    ("z_loss_backward", z_divided_by_vocabulary, "also divided by V"),
    ("z_loss_backward", z_no_two, "A factor 2 is missing"),
    ("z_loss_backward", z_no_probs, "have the same gradient"),
    ("z_loss_backward", z_no_log_z, "log Z itself is missing"),
    ("z_loss_backward", z_not_divided, "It is not divided"),
    ("z_loss_backward", z_no_dloss, "dloss is ignored"),
    ("z_loss_backward", z_gradient_no_weight, "weight is missing"),
]
