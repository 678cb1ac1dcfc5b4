"""Mistakes in the embeddings: which row of wte and wpe a token gets."""

import numpy as np

from minigpt2.components.position import sinusoidal_positions
from minigpt2.verification.mistakes.hypothesis import Hypothesis


def positions(o):
    """Which row of wpe is added to which token, or something else in its place."""
    def plus(rows):
        def changed(t):
            tokens = t["wte.weight"][t["ids"]]
            return tokens + rows(t, t["wpe.weight"], *tokens.shape)
        return changed

    for words, rows in (
        ("off by one, the first token gets row 1 of wpe", lambda t, w, B, T, C: np.roll(w, -1, 0)[:T]),
        ("off by two, the first token gets row 2 of wpe", lambda t, w, B, T, C: np.roll(w, -2, 0)[:T]),
        ("off by one, the first token gets the last row of wpe", lambda t, w, B, T, C: np.roll(w, 1, 0)[:T]),
        ("off by one, the first two tokens get row 0 of wpe", lambda t, w, B, T, C: w[np.maximum(np.arange(T) - 1, 0)]),
        ("every token gets row 0 of wpe", lambda t, w, B, T, C: w[:1]),
        ("in reverse order", lambda t, w, B, T, C: w[:T][::-1]),
        ("the row of wpe is the number of the sequence in the batch",
         lambda t, w, B, T, C: w[: min(B, len(w))][:, None]),
        ("the row of wpe is the token's id", lambda t, w, B, T, C: w[np.minimum(t["ids"], len(w) - 1)]),
        ("the positions are counted from the end of wpe", lambda t, w, B, T, C: w[len(w) - T :]),
        ("sinusoidal, as in the 2017 Transformer; GPT-2 learns them",
         lambda t, w, B, T, C: sinusoidal_positions(T, C, "float64")),
        ("sinusoidal, all sines before all cosines; GPT-2 learns them", lambda t, w, B, T, C: _sines_first(T, C)),
        ("counted on through the batch, over B and T",
         lambda t, w, B, T, C: w[np.arange(B * T).reshape(B, T) % len(w)]),
    ):  # fmt: skip
        yield Hypothesis(f"position embedding: {words}", {"embd": plus(rows)})
    if o.actual is not None and np.isfinite(o.actual).all():
        w = o.t["wpe.weight"]
        rest = (o.actual - o.t["wte.weight"][o.t["ids"]]).mean(0)
        first = int(((w - rest[0]) ** 2).sum(-1).argmin())
        yield Hypothesis(
            f"position embedding: the positions start at {first}, they should at 0",
            {"embd": plus(lambda t, w, B, T, C: w[(first + np.arange(T)) % len(w)])}, 1,
        )  # fmt: skip


def _sines_first(T, C):
    """Sinusoidal positions (T, C) in the layout of tensor2tensor."""
    table = sinusoidal_positions(T, C, "float64")
    return np.concatenate([table[:, ::2], table[:, 1::2]], -1)


def tokens(o):
    """Which row of wte a token gets."""
    def rows(which):
        def changed(t):
            ids, w = t["ids"], t["wte.weight"]
            return w[which(ids, len(w))] + t["wpe.weight"][: ids.shape[1]]
        return changed

    for words, which in (
        ("the id of a token is off by one", lambda ids, V: np.minimum(ids + 1, V - 1)),
        ("the id of a token is off by one", lambda ids, V: np.maximum(ids - 1, 0)),
        ("each position gets the token after it", lambda ids, V: np.roll(ids, -1, 1)),
        ("all sequences get the first one's tokens", lambda ids, V: np.broadcast_to(ids[:1], ids.shape)),
    ):  # fmt: skip
        yield Hypothesis(f"token embedding: {words}", {"embd": rows(which)})

    def begun(t):
        y = t["wte.weight"][np.roll(t["ids"], 1, 1)] + t["wpe.weight"][: t["ids"].shape[1]]
        y[:, 0] = np.nan
        return y

    yield Hypothesis(
        "ids: a token was put in front (a BOS token?), each position has the token before it", {"embd": begun},
    )  # fmt: skip
