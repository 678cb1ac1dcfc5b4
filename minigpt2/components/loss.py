"""Notebooks 2.5.7 and 2.5.8, label smoothing and cross-entropy: how wrong the predictions are, in nats.

Shapes: N positions (usually B * T), V vocabulary. Smoothing only changes the target distribution, so one
pair of functions covers both.
"""

from numbers import Real

from minigpt2.backend import array_module, at_a_time, masked_mean, on_host
from minigpt2.parallel import in_parallel

IGNORED = -100  # marks a position without a target, as PyTorch's ignore_index does
CHUNK = 1 << 18  # elements of the logits processed at a time: they fit into the processor's cache


def cross_entropy_forward(logits, targets, label_smoothing=0.0, ignore_index=IGNORED):
    """Mean cross-entropy between the targets and softmax(logits).

        log p   = logits - log sum_v exp(logits_v)
        target distribution  q = (1 - e) one_hot(target) + e / V
        loss    = mean over positions of  - sum_v q_v log p_v

    logits:  (..., V), unnormalised log-probabilities
    targets: (...) integers in 0 ... V-1, or ``ignore_index`` where there is nothing to predict
    label_smoothing: e in 0 <= e <= 1; no source gives GPT-2 any
    returns loss, a scalar in nats (of the dtype of logits), and the cache for ``cross_entropy_backward``.
    raises: ValueError when shapes disagree or e is not in [0, 1], TypeError when it is no number; as ``check_targets``.
    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7, for the smoothing.

    >>> loss, cache = cross_entropy_forward(np.log([[0.25, 0.75]]), np.array([0]))
    >>> round(float(loss), 3)  # - ln 0.25
    1.386
    """
    xp = array_module(logits)
    V = logits.shape[-1]
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"cross_entropy: targets must be {logits.shape[:-1]} like the logits, got {targets.shape}")
    check_targets(targets, V, ignore_index)
    if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, Real):
        raise TypeError(f"cross_entropy: label_smoothing must be a number in [0, 1], got {label_smoothing!r}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    targets, rows = targets.ravel(), logits.reshape(-1, V)
    counted = targets != ignore_index

    log_sum_exp = xp.empty(len(rows), logits.dtype)

    def sum_up(chunk):
        highest = rows[chunk].max(axis=-1)  # subtracted so that exp cannot overflow
        log_sum_exp[chunk] = highest + xp.log(xp.exp(rows[chunk] - highest[:, None]).sum(axis=-1))

    in_parallel(sum_up, _chunks(rows), xp)
    target_logit = rows[xp.arange(len(rows)), xp.where(counted, targets, 0)]
    losses = log_sum_exp - (1.0 - label_smoothing) * target_logit
    if label_smoothing:
        losses -= label_smoothing * rows.mean(axis=-1)
    loss = masked_mean(losses, counted)
    cache = {"logits": logits, "log_sum_exp": log_sum_exp, "targets": targets, "counted": counted}
    return loss, cache | {"label_smoothing": label_smoothing}


def cross_entropy_backward(dloss, cache, *, out=None):
    """Gradient of ``cross_entropy_forward``: the predicted distribution minus the target distribution.

        dlogits = dloss (p - q) / (number of positions that count), 0 where the target is ignored

    dloss: scalar, gradient of the loss (1 when the loss is what is minimised)
    returns dlogits (..., V).
    raises: ValueError when out is not C-contiguous.

    Not for a first reading: out is a C-contiguous array to write dlogits into, ``cache["logits"]`` itself if they
    are not needed again.

    >>> loss, cache = cross_entropy_forward(np.log([[0.25, 0.75]]), np.array([0]))
    >>> cross_entropy_backward(1.0, cache)
    array([[-0.75,  0.75]])
    """
    logits, targets, counted = (cache[name] for name in ("logits", "targets", "counted"))
    xp = array_module(logits)
    V, e = logits.shape[-1], cache["label_smoothing"]
    dlogits = xp.empty(logits.shape, logits.dtype) if out is None else out
    if not dlogits.flags.c_contiguous:  # drows below would be a copy
        raise ValueError("cross_entropy: out must be C-contiguous; omit it for a new array")
    rows, drows = logits.reshape(-1, V), dlogits.reshape(-1, V)
    share = (counted * (dloss / counted.sum())).astype(logits.dtype)  # each position's share of the mean

    def differ(chunk):
        p_minus_q = xp.exp(rows[chunk] - cache["log_sum_exp"][chunk, None])  # p
        p_minus_q -= e / V
        p_minus_q[xp.arange(len(p_minus_q)), xp.where(counted[chunk], targets[chunk], 0)] -= 1.0 - e
        drows[chunk] = p_minus_q * share[chunk, None]

    in_parallel(differ, _chunks(rows), xp)
    return dlogits


def check_targets(targets, V, ignore_index=IGNORED):
    """Check that targets are tokens of a vocabulary of V or ignored, and that there is something to predict.

    On a device only their dtype is checked, as in ``check_ids``.

    raises: TypeError when targets are not integers; ValueError when one is out of range or all are ignored.
    """
    if targets.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets must be integers, got {targets.dtype}")
    if not on_host(targets):
        return
    used = targets[targets != ignore_index]
    if not used.size:
        raise ValueError(f"cross_entropy: all {targets.size} targets are {ignore_index}, nothing to predict")
    if int(used.min()) < 0 or int(used.max()) >= V:
        raise ValueError(
            f"cross_entropy: targets must lie in 0 ... {V - 1} or be {ignore_index}, "
            f"got {int(used.min())} ... {int(used.max())}"
        )


def _chunks(rows):
    """Slices of about ``CHUNK`` elements each that together cover the rows."""
    size = max(1, at_a_time(rows, CHUNK) // rows.shape[-1])
    return [slice(start, start + size) for start in range(0, len(rows), size)]
