"""Mistakes in attention: q, k and v and their heads, the scale, the mask, the softmax, the way back to channels."""

import math

import numpy as np

from minigpt2.components.softmax import softmax_forward
from minigpt2.verification import operations
from minigpt2.verification.mistakes.hypothesis import Hypothesis, of_result, relative
from minigpt2.verification.operations import masked_softmax, merge_heads, split_heads


def heads_split(o):
    """How c_attn's output becomes q, k and v."""
    def cut(make):
        def part(n):
            def changed(t):
                qkv = _qkv(t)
                return make(qkv, t.n_head)[n]
            return changed
        return {f"attn.{name}": part(n) for n, name in enumerate("qkv")}

    def at_once(qkv, H):
        B, T, C3 = qkv.shape
        return [x.reshape(B, H, T, C3 // 3 // H) for x in np.split(qkv, 3, -1)]

    def interleaved(qkv, H):
        B, T, C3 = qkv.shape
        return [x.reshape(B, T, C3 // 3 // H, H).transpose(0, 3, 1, 2) for x in np.split(qkv, 3, -1)]

    def per_head(qkv, H):
        B, T, C3 = qkv.shape
        return np.split(qkv.reshape(B, T, H, C3 // H).swapaxes(1, 2), 3, -1)

    def per_channel(qkv, H):
        B, T, C3 = qkv.shape
        return [split_heads(x, H) for x in np.moveaxis(qkv.reshape(B, T, C3 // 3, 3), -1, 0)]

    for words, make in (
        ("(B, T, C) is reshaped to (B, H, T, D) at once, which mixes up tokens and heads; reshape to (B, T, H, D), "
         "then exchange T and H", at_once),
        ("a head takes every H-th channel, C is split as (D, H); it should take D neighbours, (H, D)", interleaved),
        ("the output of c_attn is split head by head, (H, 3, D); in GPT-2 all of q comes first, then k, then v: "
         "(3, H, D)", per_head),
        ("the output of c_attn is split channel by channel, (C, 3); in GPT-2 all of q comes first, then k, then v",
         per_channel),
    ):  # fmt: skip
        changes = cut(make)
        yield Hypothesis(f"heads: {words}", changes)
        if o.what in changes:
            yield Hypothesis(f"heads: in {o.what[-1]} alone, {words}", {o.what: changes[o.what]}, 1)
    for order in ("qvk", "kqv", "kvq", "vqk", "vkq"):
        # The first third of c_attn's output, our q, gets the first name in their order.
        which = {name: order.index(name) for name in "qkv"}
        yield Hypothesis(
            f"attention: the output of c_attn is split as {', '.join(order)}; in GPT-2 the order is q, k, v",
            {f"attn.{name}": operations.of(operations.project, n) for name, n in which.items()},
        )
    for words, matrix in (
        ("is read transposed, by a reshape: (3C, C) in memory was taken for (C, 3C)", lambda w: w.T.reshape(w.shape)),
        ("is reshaped from (C, 3C) to (3C, C), it should be transposed", lambda w: w.reshape(w.shape[::-1]).T),
        ("is transposed in each of its thirds", lambda w: np.concatenate([p.T for p in np.split(w, 3, -1)], -1)),
    ):
        def thirds(t, matrix=matrix):
            return t["ln_1"] @ matrix(t["attn.c_attn.weight"]) + t["attn.c_attn.bias"]

        yield Hypothesis(
            f"attention: the weight of c_attn {words}",
            {f"attn.{name}": (lambda t, n=n, thirds=thirds: split_heads(np.split(thirds(t), 3, -1)[n], t.n_head))
             for n, name in enumerate("qkv")},
        )  # fmt: skip
    for words, matrix in (
        ("is reshaped to (H, D, C) and transposed, it should be cut into (C, H, D)", _heads_of),
        ("is read as (C, D, H), it should be (C, H, D)", _interleaved),
    ):
        parts = {f"attn.{name}": (lambda t, n=n, m=matrix: _with_matrix(t, n, m)) for n, name in enumerate("qkv")}
        yield Hypothesis(f"attention: the weight of q, k and v {words}", parts)
        if o.what in parts:
            yield Hypothesis(f"attention: the weight of {o.what[-1]} alone {words}", {o.what: parts[o.what]}, 1)


def changed_projections(o):
    """q, k and v that are right but for what is done to them, or for their bias."""
    def after(function, names):
        return {f"attn.{name}": of_result(f"attn.{name}", function) for name in names}

    for words, function, names in (
        ("q and k are divided by their length", _unit, "qk"),
        ("q and k are normalised, as by a layer norm", lambda x: operations.normalised(x, 1e-5)[0], "qk"),
        ("q and k are divided by their root mean square",
         lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6), "qk"),
        ("q is divided by sqrt(D) before it is recorded, and the scores once more",
         lambda x: x / math.sqrt(x.shape[-1]), "q"),
    ):
        yield Hypothesis(f"attention: {words}", after(function, names))
    for order in ("qvk", "kqv", "kvq", "vqk", "vkq"):
        parts = {}
        for n, name in enumerate("qkv"):
            part = order.index(name)

            def changed(t, n=n, part=part):
                C, b = t["ln_1"].shape[-1], t["attn.c_attn.bias"]
                y = t["ln_1"] @ t["attn.c_attn.weight"][:, n * C : (n + 1) * C] + b[part * C : (part + 1) * C]
                return split_heads(y, t.n_head)

            parts[f"attn.{name}"] = changed
        yield Hypothesis(
            f"attention: the bias of c_attn is split as {', '.join(order)}, its weight as q, k, v; in GPT-2 both are "
            "q, k, v", parts,
        )


def _heads_of(w, H):
    """A third of c_attn's weight (C, C), each head's (C, D) taken from memory as (D, C)."""
    C = len(w)
    per_head = w.reshape(C, H, -1).transpose(1, 0, 2)  # (H, C, D)
    wrong = per_head.reshape(H, per_head.shape[2], C).swapaxes(1, 2)
    return wrong.transpose(1, 0, 2).reshape(C, -1)


def _interleaved(w, H):
    """A third of c_attn's weight (C, C) with the columns of (D, H) in place of (H, D)."""
    return w.reshape(len(w), -1, H).swapaxes(1, 2).reshape(w.shape)


def _with_matrix(t, part, matrix):
    """Part 0, 1 or 2 of c_attn's output, with matrix(its third of the weight, H) in that one's place."""
    C = t["ln_1"].shape[-1]
    columns = slice(part * C, (part + 1) * C)
    w = matrix(t["attn.c_attn.weight"][:, columns], t.n_head)
    return split_heads(t["ln_1"] @ w + t["attn.c_attn.bias"][columns], t.n_head)


def _qkv(t):
    """c_attn's output (B, T, 3C), from their q, k, v as far as they are right."""
    return t["ln_1"] @ t["attn.c_attn.weight"] + t["attn.c_attn.bias"]


def scale(o):
    """The factor of the scores."""
    C, D = o.t["wte.weight"].shape[1], o.t["wte.weight"].shape[1] // o.t.n_head
    root = math.sqrt(D)
    every = (
        (f"the scores are not divided by sqrt(D) = {root:.4g}", "scale=1", lambda t: root),
        (f"the scores are divided by sqrt(D) twice, that is by {D}", "scale=1/D", lambda t: 1 / root),
        (f"the scores are multiplied by sqrt(D) = {root:.4g}, they should be divided by it", None, lambda t: D),
        ("the scores are divided by sqrt(C), they should be by sqrt(D)", "scale=1/sqrt(C)",
         lambda t: root / math.sqrt(C)),
        ("the scores are divided by C, they should be by sqrt(D)", None, lambda t: root / C),
        ("the scores are divided by sqrt(H), they should be by sqrt(D)", None, lambda t: root / math.sqrt(t.n_head)),
        ("the scores are divided by sqrt(T), they should be by sqrt(D)", None,
         lambda t: root / math.sqrt(t["ids"].shape[1])),
        ("the scores are divided by sqrt(3C), they should be by sqrt(D)", None, lambda t: root / math.sqrt(3 * C)),
        ("the scores are also divided by the index of the block + 1 (scale_attn_by_inverse_layer_idx)", None,
         lambda t: 1 / (t.number + 1)),
        ("the scores are divided by D / 2", None, lambda t: 2 / root),
        ("the scores have the wrong sign", None, lambda t: -1.0),
    )  # fmt: skip
    for words, key, factor in every:
        if (o.t.n_head == 1 and "sqrt(H)" in words) or (o.t["ids"].shape[1] == 1 and "sqrt(T)" in words):
            continue
        changes = {"attn.scores": lambda t, f=factor: operations.scores(t) * f(t)}
        for what, operation in (("grad.attn.q", operations.d_q), ("grad.attn.k", operations.d_k)):
            changes[what] = lambda t, f=factor, d=operation: d(t) * f(t)
        if len({factor(o.t.of(i)) for i in range(2)}) > 1 or factor(o.t) != 1.0:
            of_all = "index of the block" in words
            yield Hypothesis(f"attention: {words}", changes, int(of_all), key, rule=of_all)
    for words, function in (
        ("the scores are k q^T, transposed; they should be q k^T", lambda t: operations.scores(t).swapaxes(-1, -2)),
        ("the scores are q q^T", lambda t: t["attn.q"] @ t["attn.q"].swapaxes(-1, -2) / root),
        ("the scores are k k^T", lambda t: t["attn.k"] @ t["attn.k"].swapaxes(-1, -2) / root),
        ("the scores are cosines, q and k have length 1",
         lambda t: _unit(t["attn.q"]) @ _unit(t["attn.k"]).swapaxes(-1, -2)),
    ):
        yield Hypothesis(f"attention: {words}", {"attn.scores": function})


def changed_scores(o):
    """Scores of q and k that were turned by their position, or scores that are cut off."""
    def rotated(x, halves):
        D, T = x.shape[-1], x.shape[-2]
        angle = np.arange(T)[:, None] * 10000.0 ** (-np.arange(0, D, 2) / D)
        a, b = (x[..., : D // 2], x[..., D // 2 :]) if halves else (x[..., ::2], x[..., 1::2])
        u, v = a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)
        return np.concatenate([u, v], -1) if halves else np.stack([u, v], -1).reshape(x.shape)

    if o.t["attn.q"].shape[-1] % 2 == 0:
        for words, halves in (("halves", True), ("neighbours", False)):
            def scores(t, halves=halves):
                q, k = rotated(t["attn.q"], halves), rotated(t["attn.k"], halves)
                return q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])

            yield Hypothesis(
                f"attention: q and k are rotated by their position (RoPE, {words} paired); GPT-2 adds wpe instead",
                {"attn.scores": scores},
            )
    if o.actual is not None and np.isfinite(o.actual).all():
        limit = float(np.abs(o.actual).max())
        if (np.abs(np.abs(o.actual) - limit) < 1e-6 * limit).mean() > 0.01:
            yield Hypothesis(
                f"attention: the scores are cut off at {limit:.4g}",
                {"attn.scores": lambda t: np.clip(operations.scores(t), -limit, limit)}, 1,
            )  # fmt: skip


def _unit(x):
    """x divided by its length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def roles(o):
    """q, k and v were cut rightly, but are used for one another."""
    for order in ("qvk", "kqv", "kvq", "vqk", "vkq"):
        q, k, v = (f"attn.{'qkv'[order.index(name)]}" for name in "qkv")

        def made(t, q=q, k=k):
            return t[q] @ t[k].swapaxes(-1, -2) / math.sqrt(t[q].shape[-1])

        changes = {"attn.scores": made, "attn.heads": lambda t, v=v: merge_heads(t["attn.probs"] @ t[v])}
        if order == "kqv":  # the heads are right
            del changes["attn.heads"]
        yield Hypothesis(
            f"attention: the output of c_attn is split as {', '.join(order)}; in GPT-2 the order is q, k, v", changes
        )


def masks(o):
    """What a token sees, and how the mask is applied."""
    def soft(function):
        return {"attn.probs": lambda t: function(t["attn.scores"], ~np.tri(t["ids"].shape[1], dtype=bool))}

    def fill(value, then=None):
        return lambda s, future: softmax_forward(np.where(future, value, s))

    def window(width):
        def changed(s, future):
            T = s.shape[-1]
            far = np.tri(T, T, -width, dtype=bool)
            return softmax_forward(np.where(future | far, -np.inf, s))
        return changed

    T = o.t["ids"].shape[1]
    for words, key, changes in (
        ("off by one, a token sees the one after it", None,
         {"attn.probs": lambda t: masked_softmax(t["attn.scores"], 1)}),
        ("off by one, a token cannot see itself", None, {"attn.probs": lambda t: masked_softmax(t["attn.scores"], -1)}),
        ("off by two, a token sees the two after it", None,
         {"attn.probs": lambda t: masked_softmax(t["attn.scores"], 2)}),
        ("there is none, a token sees all those after it", "mask=none", soft(lambda s, f: softmax_forward(s.copy()))),
        ("masked scores become 0, they should be -inf", None, soft(fill(0.0))),
        ("masked scores become -1, they should be -inf", None, soft(fill(-1.0))),
        ("masked scores become 1, they should be -inf", None, soft(fill(1.0))),
        ("masked scores become -10, they should be -inf", None, soft(fill(-10.0))),
        ("masked scores become 1e-9 (or another small positive number), they should be -inf", None, soft(fill(1e-9))),
        ("1 is subtracted from masked scores, they should be -inf", None,
         soft(lambda s, f: softmax_forward(np.where(f, s - 1.0, s)))),
        ("1 is added to masked scores, they should be -inf", None,
         soft(lambda s, f: softmax_forward(np.where(f, s + 1.0, s)))),
        ("-10 is added to masked scores, they should be -inf", None,
         soft(lambda s, f: softmax_forward(np.where(f, s - 10.0, s)))),
        ("1 is added to the scores that are not masked, nothing is masked", None,
         soft(lambda s, f: softmax_forward(np.where(f, s, s + 1.0)))),
        ("applied after the softmax, whose rows then do not sum to 1; it belongs before it", None,
         soft(lambda s, f: np.where(f, 0.0, softmax_forward(s.copy())))),
        ("transposed, a token sees itself and those after it", None,
         soft(lambda s, f: softmax_forward(np.where(f.T, -np.inf, s)))),
        ("inverted, a token sees only those after it", None,
         soft(lambda s, f: softmax_forward(np.where(f, s, -np.inf)))),
    ):  # fmt: skip
        yield Hypothesis(f"causal mask: {words}", changes, 0, key)
    for b in range(len(o.t["ids"])) if len(o.t["ids"]) > 1 and o.actual is None else ():
        def only(t, b=b):
            p = operations.probs(t)
            others = [n for n in range(len(p)) if n != b]
            p[others] = softmax_forward(t["attn.scores"].copy())[others]
            return p

        yield Hypothesis(f"causal mask: only sequence {b} of the batch has it", {"attn.probs": only}, 1)
    if o.actual is not None and np.isfinite(o.actual).all() and len(o.actual) > 1:
        free = softmax_forward(o.t["attn.scores"].copy())
        unmasked = [b for b in range(len(free)) if relative(o.actual[b], free[b]) < relative(o.actual[b], o.right[b])]
        if 0 < len(unmasked) < len(free):
            def some(t):
                p = operations.probs(t)
                p[unmasked] = softmax_forward(t["attn.scores"].copy())[unmasked]
                return p

            yield Hypothesis(f"causal mask: it is missing in sequence {', '.join(map(str, unmasked))} of the batch",
                             {"attn.probs": some}, 1)  # fmt: skip
    for width in (*range(1, min(T, 9)), T // 2):
        yield Hypothesis(
            f"causal mask: a token sees only the last {width}, itself included (a window)", soft(window(width)), 1,
        )  # fmt: skip


def masked_scores(o):
    """The scores as they are after a mask that hides too much, which probs must confirm."""
    T = o.t["ids"].shape[1]

    def hidden(which):
        return lambda t: np.where(which, np.nan, operations.scores(t))

    def shown(scores):
        return np.where(np.isnan(scores), 0, scores)

    for words, ahead in (("a token cannot see itself", -1), ("a token sees neither itself nor the one before it", -2)):
        unseen = np.triu(np.ones((T, T), bool), 1 + ahead)
        yield Hypothesis(
            f"causal mask: off by {'one' if ahead == -1 else 'two'}, {words}",
            {"attn.scores": hidden(unseen & np.tri(T, dtype=bool)),
             "attn.probs": lambda t, a=ahead: masked_softmax(shown(t["attn.scores"]), a)},
        )  # fmt: skip
    for width in range(1, min(T, 9)):
        far = np.tri(T, T, -width, dtype=bool)

        def windowed(t, far=far):
            return softmax_forward(np.where(far | ~np.tri(T, dtype=bool), -np.inf, t["attn.scores"]))

        yield Hypothesis(
            f"causal mask: a token sees only the last {width}, itself included (a window)",
            {"attn.scores": hidden(far), "attn.probs": windowed}, 1,
        )  # fmt: skip


def softmaxes(o):
    """Other ways to turn scores into weights, under the right mask."""
    def hidden(s):
        return np.where(~np.tri(s.shape[-1], dtype=bool), -np.inf, s)

    def axis(which):
        def changed(t):
            e = np.exp(hidden(t["attn.scores"]) - t["attn.scores"].max())
            return e / e.sum(which, keepdims=True)
        return changed

    def one_more(t):
        e = np.exp(hidden(t["attn.scores"]))
        return e / (1 + e.sum(-1, keepdims=True))

    def one_more_shifted(t):
        s = hidden(t["attn.scores"])
        e = np.exp(s - s.max(-1, keepdims=True))
        return e / (1 + e.sum(-1, keepdims=True))

    for words, function in (
        ("over the queries (axis -2), it should be over the keys (axis -1)", axis(-2)),
        ("over the heads, it should be over the keys (axis -1)", axis(1)),
        ("over the batch, it should be over the keys (axis -1)", axis(0)),
        ("over queries and keys together", axis((-2, -1))),
        ("taken twice", lambda t: masked_softmax(operations.probs(t))),
        ("taken twice, the second time without the mask", lambda t: softmax_forward(operations.probs(t))),
        ("missing, the masked scores are the weights", lambda t: np.tril(t["attn.scores"])),
        ("not divided by the sum", lambda t: np.exp(hidden(t["attn.scores"]))),
        ("not divided by the sum, after the largest score was subtracted",
         lambda t: np.exp(hidden(t["attn.scores"]) - hidden(t["attn.scores"]).max(-1, keepdims=True))),
        ("with 1 added to the sum", one_more),
        ("with 1 added to the sum, after the largest score was subtracted", one_more_shifted),
        ("a sigmoid in its place", lambda t: 1 / (1 + np.exp(-hidden(t["attn.scores"])))),
        ("with the base 2, it should be e", lambda t: masked_softmax(t["attn.scores"] * math.log(2))),
        ("its logarithm (log_softmax)",
         lambda t: np.where(np.tri(t["ids"].shape[1], dtype=bool), np.log(operations.probs(t)), np.nan)),
        ("all keys weigh the same", lambda t: masked_softmax(0 * t["attn.scores"])),
        ("of scores divided by sqrt(D) once more",
         lambda t: masked_softmax(t["attn.scores"] / math.sqrt(t["attn.q"].shape[-1]))),
        ("of scores not divided by sqrt(D)",
         lambda t: masked_softmax(t["attn.scores"] * math.sqrt(t["attn.q"].shape[-1]))),
    ):  # fmt: skip
        yield Hypothesis(f"attention's softmax: {words}", {"attn.probs": function})


def heads_merged(o):
    """How the heads' outputs come together."""
    def unmoved(t):
        y = t["attn.probs"] @ t["attn.v"]
        return y.reshape(y.shape[0], y.shape[2], -1)

    def interleaved(t):
        y = t["attn.probs"] @ t["attn.v"]  # (B, H, T, D)
        return y.transpose(0, 2, 3, 1).reshape(y.shape[0], y.shape[2], -1)

    def reordered(function):
        return lambda t: merge_heads(function(t["attn.probs"] @ t["attn.v"]))

    for words, function in (
        ("(B, H, T, D) is reshaped to (B, T, C) at once, which mixes up tokens and heads; exchange H and T first",
         unmoved),
        ("the channels of all heads are interleaved, (D, H); in GPT-2 head after head, (H, D)", interleaved),
        ("in reverse order", reordered(lambda y: y[:, ::-1])),
        ("moved on by one", reordered(lambda y: np.roll(y, 1, 1))),
        ("moved back by one", reordered(lambda y: np.roll(y, -1, 1))),
        ("each is replaced by their mean", reordered(lambda y: np.broadcast_to(y.mean(1, keepdims=True), y.shape))),
        ("each is replaced by their sum", reordered(lambda y: np.broadcast_to(y.sum(1, keepdims=True), y.shape))),
        ("all are the first one", reordered(lambda y: np.broadcast_to(y[:, :1], y.shape))),
        ("the values are multiplied by probs^T, it should be by probs",
         lambda t: merge_heads(t["attn.probs"].swapaxes(-1, -2) @ t["attn.v"])),
        ("the values themselves, without the attention weights", lambda t: merge_heads(t["attn.v"])),
    ):  # fmt: skip
        yield Hypothesis(f"heads: {words}", {"attn.heads": function})

    def attend(q, k, v, causal=True):
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
        return (masked_softmax(scores) if causal else softmax_forward(scores)) @ v

    for words, causal in (("", True), (", without a mask", False)):
        def over_batch(t, causal=causal):
            q, k, v = (t[f"attn.{n}"].transpose(2, 1, 0, 3) for n in "qkv")  # (T, H, B, D)
            return merge_heads(attend(q, k, v, causal).transpose(2, 1, 0, 3))

        yield Hypothesis(
            f"attention: over the sequences of the batch, it should be over the tokens{words}",
            {"attn.heads": over_batch},
        )  # fmt: skip
    C = o.t["wte.weight"].shape[1]
    for number in [n for n in range(1, min(C, 65)) if C % n == 0 and n != o.t.n_head]:
        def recut(t, number=number):
            q, k, v = (split_heads(merge_heads(t[f"attn.{n}"]), number) for n in "qkv")
            return merge_heads(attend(q, k, v))

        H = o.t.n_head
        yield Hypothesis(f"attention: {number} heads of {C // number} channels, it should be {H} of {C // H}",
                         {"attn.heads": recut}, 1)  # fmt: skip
    for h in range(o.t.n_head):
        yield Hypothesis(
            f"heads: head {h} is missing, zeros stand in its place",
            {"attn.heads": reordered(lambda y, h=h: y * (np.arange(y.shape[1]) != h)[:, None, None])}, 1,
            zeros=True,
        )  # fmt: skip


def transposed_projection(o):
    """c_proj is square, so its transpose fits silently."""
    yield Hypothesis(
        "attention: the weight of attn.c_proj is transposed; released checkpoints store (in, out), PyTorch's "
        "nn.Linear (out, in)",
        {"attn.out": lambda t: t["attn.heads"] @ t["attn.c_proj.weight"].T + t["attn.c_proj.bias"]},
    )
