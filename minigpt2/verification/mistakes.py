"""The classic mistakes in a GPT-2, each recognised from the first tensor that it makes wrong.

Up to that tensor two traces agree, so the tensor that a mistake *would have produced* can be computed from our own.
If the other trace holds that one, the mistake has a name. No weights are needed: a trace has none.

Each mistake is a generator ``mistake(ours, theirs, first)`` of hypotheses: a sentence, and a dict from
names to predicted tensors, with NaN where any value is possible. The table ``MISTAKES`` at the end lists the first
wrong tensors for which it is tried. A ``KeyError`` means that a trace lacks a tensor the hypothesis needs.
Shape letters: B batch, T time, C channels, H heads, D head size, V vocabulary, N = B T.
"""

import math
import re

import numpy as np

from minigpt2.components.loss import IGNORED, cross_entropy_backward, cross_entropy_forward
from minigpt2.components.softmax import softmax_forward
from minigpt2.parallel import without_false_alarms


@without_false_alarms
def diagnose(ours, theirs, first, agrees):
    """The sentence of the mistake that explains the first wrong tensor, or None.

    ours, theirs: traces, with equal shapes and scores 0 after the diagonal; ours also has the "eps" of its layer norms
    first: name of the first tensor in which they differ
    agrees: (name, expected, actual) -> whether they are equal within the tolerance for that name
    returns the sentence whose predictions explain the most tensors, including the first wrong one.
    """
    best, most = None, 0
    for pattern, mistake in MISTAKES:
        if not re.fullmatch(pattern, first):
            continue
        try:
            with np.errstate(all="ignore"):  # a hypothesis may divide by 0: NaN predicts nothing
                for sentence, predicted in mistake(ours, theirs, first):
                    explained = _explained(predicted, ours, theirs, first, agrees)
                    if explained > most:
                        best, most = sentence, explained
        except KeyError:
            continue
    return best


def _explained(predicted, ours, theirs, first, agrees):
    """How many tensors are as predicted; 0 when the first wrong one is not.

    That one must be explained rather than merely touched: less than a tenth of its difference may remain. Otherwise
    differences that are noise would be blamed on a mistake that changes little.
    """
    count = 0
    for name in [first, *(name for name in predicted if name != first and name in theirs)]:
        known = ~np.isnan(predicted[name])
        expected, actual = predicted[name][known], _float(theirs, name)[known]
        if known.any() and agrees(name, expected, actual):
            count += 1
        elif name == first:
            return 0
        if name == first:
            left, before = actual - expected, actual - _float(ours, name)[known]
            if not np.linalg.norm(left) <= 0.1 * np.linalg.norm(before):
                return 0
    return count


def _float(trace, name):
    return trace[name].astype(np.float64)


# Layer norm.


def layer_norm_eps(ours, theirs, first):
    """eps: each row of the normalised vectors is longer or shorter, by sqrt(variance + eps)."""
    deviation, variance, gain, shift = _layer_norm(ours, first)
    scaled = deviation * gain
    rstd = ((_float(theirs, first) - shift) * scaled).sum(-1) / (scaled * scaled).sum(-1)
    weight = 1 / (variance + ours["eps"]) ** 2  # rows with a small variance say the most about eps
    fitted = ((1 / rstd**2 - variance) * weight).sum() / weight.sum()
    for eps in (float(f"{fitted:.0e}"), fitted, 0.0):
        if eps >= 0:
            predicted = scaled / np.sqrt(variance + eps)[..., None] + shift
            yield f"layer norm: eps is {eps:.2g}, it should be {ours['eps']:.2g}", {first: predicted}


def unbiased_variance(ours, theirs, first):
    """sum / (C - 1), the default of torch.var."""
    deviation, variance, gain, shift = _layer_norm(ours, first)
    C = deviation.shape[-1]
    predicted = deviation * gain / np.sqrt(variance * C / (C - 1) + ours["eps"])[..., None] + shift
    yield "layer norm: the variance is divided by C - 1, it should be by C (the biased one)", {first: predicted}


def post_norm(ours, theirs, first):
    """x = layer_norm(x + sub_layer(x)), the order of the 2017 Transformer."""
    *_, gain, shift = _layer_norm(ours, first)
    branch = "attn.out" if first.endswith("ln_1") else "mlp.out"
    x = _stream(ours, first) + _float(theirs, first[:-4] + branch)
    deviation = x - x.mean(-1, keepdims=True)
    predicted = deviation / np.sqrt(x.var(-1, keepdims=True) + ours["eps"]) * gain + shift
    yield (
        "post-norm: the layer norm comes after the sub-layer and the residual sum; in GPT-2 it comes before "
        "the sub-layer, x + sub_layer(layer_norm(x))",
        {first: predicted},
    )


def _stream(ours, name):
    """The residual stream that a layer norm reads."""
    if name.endswith("ln_2"):
        return _float(ours, name[:-4] + "resid_mid")
    if name == "ln_f":
        layer = sum(re.fullmatch(r"h\.\d+\.resid_post", other) is not None for other in ours)
    else:
        layer = int(name.split(".")[1])
    return _float(ours, f"h.{layer - 1}.resid_post" if layer else "embd")


def _layer_norm(ours, name):
    """x - mean and variance of one of our layer norms, and its gain and shift, regressed from its output."""
    x = _stream(ours, name)
    deviation, variance = x - x.mean(-1, keepdims=True), x.var(-1)
    x_hat = deviation / np.sqrt(variance + ours["eps"])[..., None]
    rows, y = x_hat.reshape(-1, x.shape[-1]), _float(ours, name).reshape(-1, x.shape[-1])
    centred = rows - rows.mean(0)
    gain = (centred * y).sum(0) / (centred * centred).sum(0)  # NaN if there is only one row
    return deviation, variance, gain, y.mean(0) - gain * rows.mean(0)


# Attention.


def scale(ours, theirs, first):
    h, q, k, v = _qkv(ours, first)
    D = q.shape[-1]
    yield (
        f"attention: the scores are not divided by sqrt(D) = {math.sqrt(D):.4g}",
        _attention(h, q, k, v, scale=1.0),
    )
    yield (
        f"attention: the scores are divided by sqrt(D) twice, that is by {D}",
        _attention(h, q, k, v, scale=1 / D),
    )


def mask(ours, theirs, first):
    h, *qkv = _qkv(ours, first)
    yield "causal mask: off by one, a token sees the one after it", _attention(h, *qkv, ahead=1)
    yield "causal mask: off by one, a token cannot see itself", _attention(h, *qkv, ahead=-1)


def heads_split(ours, theirs, first):
    h, *qkv = _qkv(ours, first)
    B, H, T, D = qkv[0].shape
    merged = [_merge(part) for part in qkv]
    yield (
        "heads: (B, T, C) is reshaped to (B, H, T, D) at once, which mixes up tokens and heads; reshape to "
        "(B, T, H, D), then exchange T and H",
        _attention(h, *(part.reshape(B, H, T, D) for part in merged)),
    )
    yield (
        "heads: a head takes every H-th channel, C is split as (D, H); it should take D neighbours, (H, D)",
        _attention(h, *(part.reshape(B, T, D, H).transpose(0, 3, 1, 2) for part in merged)),
    )
    per_head = np.concatenate(merged, -1).reshape(B, T, H, 3 * D).swapaxes(1, 2)
    yield (
        "heads: the output of c_attn is split head by head, (H, 3, D); in GPT-2 all of q comes first, then k, "
        "then v: (3, H, D)",
        _attention(h, *np.split(per_head, 3, -1)),
    )
    right = _attention(h, *qkv)
    unmoved = np.matmul(right[h + "probs"], qkv[2]).reshape(B, T, H * D)
    yield (
        "heads: (B, H, T, D) is reshaped to (B, T, C) at once, which mixes up tokens and heads; exchange H and T first",
        right | {h + "heads": unmoved},
    )


def qkv_order(ours, theirs, first):
    h, *qkv = _qkv(ours, first)
    for order in ("qvk", "kqv", "kvq", "vqk", "vkq"):
        yield (
            f"attention: the output of c_attn is split as {', '.join(order)}; in GPT-2 the order is q, k, v",
            # The first third of c_attn's output, our q, gets the first name in their order.
            _attention(h, *(qkv[order.index(name)] for name in "qkv")),
        )


def transposed_projection(ours, theirs, first):
    """c_proj is square, so its transpose fits silently.

    With X the heads' output and Y = X W, of N centred rows each: (Y X^T)^T = X Y^T = (X W^T) X^T. So the products of
    X W^T, the output of the transposed weight, with the rows of X are known, and W itself is not needed.
    """
    x = _centred(_float(ours, first.replace("attn.out", "attn.heads")))
    y, seen = _centred(_float(ours, first)), _centred(_float(theirs, first))
    if len(x) < 4:  # (Y X^T)^T would be Y X^T
        return
    correction = (x @ y.T - seen @ x.T) @ np.linalg.pinv(x, rcond=1e-6).T
    yield (
        "attention: the weight of attn.c_proj is transposed; released checkpoints store (in, out), PyTorch's "
        "nn.Linear (out, in)",
        {first: _float(theirs, first) + correction.reshape(theirs[first].shape)},
    )


def _centred(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows - rows.mean(0)


def _qkv(ours, first):
    """The prefix "h.3.attn." of the names, and our q, k, v (B, H, T, D)."""
    h = first[: first.index("attn.") + 5]
    return h, *(_float(ours, h + name) for name in "qkv")


def _merge(x):
    """(B, H, T, D) -> (B, T, C)"""
    B, H, T, D = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * D)


def _attention(h, q, k, v, scale=None, ahead=0):
    """All tensors of one attention up to the heads' output.

    scale: factor of the scores, 1 / sqrt(D) by default; ahead: how many tokens after itself a token sees
    """
    scores = q @ k.swapaxes(-1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    future = np.triu(np.ones(scores.shape[-2:], bool), 1 + ahead)
    probs = softmax_forward(np.where(future, -np.inf, scores))  # NaN in a row that sees nothing
    tensors = {
        "q": q, "k": k, "v": v, "scores": np.tril(scores), "probs": probs, "heads": _merge(probs @ v)
    }  # fmt: skip
    return {h + name: tensor for name, tensor in tensors.items()}


# Feed-forward network, output layer.


def erf_gelu(ours, theirs, first):
    """y = x (1 + erf(x / sqrt 2)) / 2, the exact form and PyTorch's default."""
    x = _float(ours, first.replace("gelu", "fc"))
    erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(np.float64)
    yield (
        "GELU: the erf form; GPT-2 was trained with the tanh form (in PyTorch: approximate='tanh')",
        {first: x * (1 + erf) / 2},
    )


def untied_head(ours, theirs, first):
    """Either the logits come from a matrix other than wte, or wte lacks one of the two shares of its gradient."""
    sentence = "output layer: not tied to the token embedding, "
    x = _float(ours, "ln_f")
    x = x.reshape(-1, x.shape[-1])
    if first == "logits":
        if len(x) >= 2 * x.shape[-1]:  # with fewer rows, some matrix could make any logits
            logits, tied = _float(theirs, "logits"), _float(ours, "logits")
            scaled = tied * (np.vdot(tied, logits) / np.vdot(tied, tied))
            if np.linalg.norm(logits - scaled) <= 1e-3 * np.linalg.norm(logits):
                return  # the right matrix, but a wrong factor
            head = np.linalg.lstsq(x, logits.reshape(len(x), -1))[0]
            yield sentence + "the logits are made by a matrix other than wte", {first: (x @ head).reshape(logits.shape)}
        return
    dlogits = _float(ours, "grad.logits")
    head = dlogits.reshape(-1, dlogits.shape[-1]).T @ x
    embedding = _float(ours, first) - head
    yield sentence + "the gradient of wte lacks the output layer's share", {first: embedding}
    yield sentence + "the gradient of wte lacks the embedding's share", {first: head}


# Loss.


def target_shift(ours, theirs, first):
    """The target of a token is the one after it."""
    ids, targets = ours["ids"], ours["targets"]
    counted = np.where(targets == IGNORED, IGNORED, ids)
    moved = np.pad(targets[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED)
    missing = "targets: not shifted, every token has to predict itself; the target of a token is the one after it"
    twice = "targets: shifted twice, every token has to predict the second after it (does the model shift them too?)"
    for wrong, sentence in ((ids, missing), (counted, missing), (moved, twice)):
        if (wrong == IGNORED).all():
            continue
        loss, cache = cross_entropy_forward(_float(ours, "logits"), wrong)
        predicted = {"targets": wrong, "loss": loss, "grad.logits": cross_entropy_backward(1.0, cache)}
        yield sentence, {name: np.asarray(value, np.float64) for name, value in predicted.items()}


def wrong_count(ours, theirs, first):
    """The mean is a sum divided by the number of targets that count; a wrong number scales every gradient."""
    targets = ours["targets"]
    (B, T), V = targets.shape, ours["logits"].shape[-1]
    counted = int((targets != IGNORED).sum())
    for count, what in (
        (1, "summed, not averaged"),
        (B * T, f"averaged over all {B * T} positions, including those that are ignored"),
        (B, f"divided by the number of sequences, {B}"),
        (T, f"divided by the number of tokens in a sequence, {T}"),
        (counted**2, f"divided twice by the number of targets that count, {counted}"),
        (counted * B, f"averaged, and divided by the number of sequences, {B}, again"),
        (counted * V, f"averaged over the vocabulary, {V}, as well"),
    ):
        factor = counted / count
        yield (
            f"{'loss' if first == 'loss' else 'gradients'}: {what}; GPT-2's loss is the mean over the {counted} "
            f"targets that count, so there is a factor of {factor:.6g}",
            {first: _float(ours, first) * factor},
        )


ATTENTION = r"h\.\d+\.attn\.(q|k|v|scores|probs|heads)"
LAYER_NORM = r"(h\.\d+\.)?ln_[12f]"

MISTAKES = (
    (LAYER_NORM, layer_norm_eps),
    (LAYER_NORM, unbiased_variance),
    (r"h\.\d+\.ln_[12]", post_norm),
    (ATTENTION, scale),
    (ATTENTION, mask),
    (ATTENTION, heads_split),
    (ATTENTION, qkv_order),
    (r"h\.\d+\.attn\.out", transposed_projection),
    (r"h\.\d+\.mlp\.gelu", erf_gelu),
    (r"logits|grad\.wte\.weight", untied_head),
    (r"targets|loss|grad\.logits", target_shift),
    (r"loss|grad\..+", wrong_count),
)
