"""Mistakes in the forward pass of a GPT-2, each as the operation that replaces the right one.

A mistake is tried where an operation of theirs fails: its result is recomputed with the mistake, from *their* inputs, and
if that is what they have, the mistake has a name. ``anywhere`` lists what can go wrong with any operation: a share of a
sum that is missing, a constant factor, another tensor or another block's weights in place of the right ones. The others
belong to one operation; those of the backward pass stand in ``backward_mistakes``.

Each is a generator ``mistake(o)`` of hypotheses for an ``Observed`` operation. Shape letters as in ``operations``.
"""

import math
import re
from dataclasses import dataclass, field

import numpy as np

from minigpt2.components.loss import IGNORED, cross_entropy_backward, cross_entropy_forward
from minigpt2.components.position import sinusoidal_positions
from minigpt2.components.softmax import softmax_forward
from minigpt2.verification import operations
from minigpt2.verification.names import is_parameter
from minigpt2.verification.operations import OPERATIONS, masked_softmax, merge_heads, normalised, split_heads


@dataclass(frozen=True)
class Hypothesis:
    """A mistake that may explain what theirs has.

    sentence: what it is; changes: from what a tensor is to the operation that replaces its own
    fitted:   how many numbers were fitted to what theirs has
    key:      what ``--accept`` calls it, if it can be a choice: "gelu=erf"
    spoils:   a pattern of what cannot be judged after it, in the same blocks or in the backward pass
    rule:     whether it speaks of all blocks, so that one block can refute it
    zeros:    whether zeros of theirs are evidence for it
    harmless: whether it is no mistake, but a way to record
    """

    sentence: str
    changes: dict = field(compare=False)
    fitted: int = 0
    key: str | None = None
    spoils: str = ""
    rule: bool = False
    zeros: bool = False
    harmless: bool = False


@dataclass(frozen=True)
class Observed:
    """An operation whose result, or what follows from it, theirs has wrong.

    what: a key of OPERATIONS; t: the tensors of its block; name: of its result, in a trace
    right: the result that it should have; actual: theirs, None if it is not recorded
    floor: the rounding to be expected, relative to a tensor's size
    """

    what: str
    t: operations.Block
    name: str
    right: np.ndarray
    actual: np.ndarray | None
    floor: float

    @property
    def sizes(self):
        """Numbers that a factor may be, by name."""
        B, T = self.t["ids"].shape
        C, (V, H) = self.t["wte.weight"].shape[1], (self.t["wte.weight"].shape[0], self.t.n_head)
        counted = int((self.t["targets"] != IGNORED).sum()) if "targets" in self.t.tensors.ours else B * T
        sizes = {"B": B, "T": T, "B T": B * T, "C": C, "4 C": 4 * C, "H": H, "D": C // H, "V": V, "layers": self.t.n_layer, "2 layers": 2 * self.t.n_layer}
        return sizes if counted == B * T else sizes | {"counted targets": counted}


def of_result(what, function):
    """The operation of ``what``, with its result changed by ``function``."""
    operation = OPERATIONS[what][0]

    def changed(t):
        result = operation(t)
        return function(sum(result.values()) if isinstance(result, dict) else result)

    return changed


def relative(actual, expected):
    """Norm of the difference, relative to that of what is expected."""
    return np.linalg.norm((actual - expected).ravel()) / max(np.linalg.norm(expected.ravel()), 1e-300)


# --------------------------------------------------------------------------------------- what can go wrong anywhere


def constant_factor(o):
    """The result is right up to a factor, which has a name."""
    if o.actual is None or not np.isfinite(o.actual).all() or not o.right.any():
        return
    factor = np.vdot(o.right, o.actual) / np.vdot(o.right, o.right)
    if words := factor_words(factor, o):
        yield Hypothesis(f"{label(o.what)}: {words}", {o.what: of_result(o.what, lambda y: factor * y)}, 1, zeros=True)


def factor_words(factor, o):
    """ "multiplied by 2 (twice)" for a factor that is some number of the model's; None for any other, and for 1."""
    if abs(factor) <= o.floor:
        return "all zeros, it is never written, or its gradient is stopped"
    names = []
    for sign, size in ((1, factor), (-1, -factor)):
        for name, value in _numbers(o.sizes).items():
            if abs(size - value) <= 1e-4 * value:
                names.append(name if sign > 0 else f"-{name}")
    if not names or names[0] == "1":
        return None
    return f"multiplied by {factor:.6g}" + "".join(f" = {name}" for name in names if name != f"{factor:.6g}")


def _numbers(sizes):
    """Numbers by which something may be off, by name; the simplest first."""
    numbers = {str(n): float(n) for n in (1, 2, 3, 4, 8, 16)}
    numbers |= {f"1/{n}": 1.0 / n for n in (2, 3, 4, 8)} | {"sqrt(2)": math.sqrt(2), "1/sqrt(2)": math.sqrt(0.5)}
    for name, size in sizes.items():
        if size > 1:
            numbers |= {
                name: size, f"1/({name})" if " " in name else f"1/{name}": 1 / size,
                f"sqrt({name})": math.sqrt(size), f"1/sqrt({name})": 1 / math.sqrt(size),
            }  # fmt: skip
    if sizes.get("counted targets"):
        n = sizes["counted targets"]
        numbers |= {f"{name}/(counted targets)": sizes[name] / n for name in ("B T", "B", "T")}
        numbers |= {f"(counted targets)/{name}": n / sizes[name] for name in ("B T", "B", "T")}
    return numbers


def missing_share(o):
    """One or more shares of a sum are missing, counted twice, or multiplied by something."""
    shares = o.t.tensors.shares(o.name)
    if o.actual is None or not isinstance(shares, dict) or not np.isfinite(o.actual).all():
        return
    names, columns = list(shares), np.stack([np.ascontiguousarray(share).ravel() for share in shares.values()])
    sizes = np.linalg.norm(columns, axis=1)
    if not sizes.all():
        return
    unit = columns / sizes[:, None]
    if np.linalg.cond(unit @ unit.T) > 1e6:  # shares that look alike cannot be told apart
        return
    factors = np.linalg.solve(unit @ unit.T, unit @ o.actual.ravel()) / sizes
    words, nice = [], []
    for name, factor in zip(names, factors, strict=True):
        near = [value for value in (0.0, 1.0, 2.0, -1.0, 0.5) if abs(factor - value) < 1e-3]
        nice.append(near[0] if near else factor)
        if near and near[0] != 1.0:
            words.append({0.0: f"{name} is missing", 2.0: f"{name} is counted twice",
                          -1.0: f"{name} has the wrong sign", 0.5: f"{name} is counted half"}[near[0]])  # fmt: skip
        elif not near:
            if not (number := factor_words(factor, o)):
                return
            words.append(f"{name} is {number}")
    if not words or len(words) == len(names) and len(set(nice)) == 1:  # a constant factor
        return

    def changed(t):
        return {name: share * f for (name, share), f in zip(OPERATIONS[o.what][0](t).items(), nice, strict=True)}

    norm = [name for name in names if name.startswith("ln_")]
    if len(norm) == 3 and all(f"{name} is missing" in words for name in norm):
        words = [w for w in words if not any(w.startswith(name) for name in norm)]
        words.append(f"the branch through {norm[0].split(chr(39))[0]} is missing")
    yield Hypothesis(f"{label(o.what)}: {' and '.join(words)}", {o.what: changed}, zeros=True)


def another_input(o):
    """The operation reads another tensor in place of one of its inputs, or that one transposed."""
    tensors = o.t.tensors
    later = tensors.after({o.name}) | {o.name}
    for name in list(tensors.reads(o.name)):
        if name in ("ids", "targets"):
            continue
        right = tensors[name]
        if right.ndim >= 2 and right.shape[-1] == right.shape[-2]:
            words = f"{label(o.what)}: computed from the transpose of {name}"
            yield Hypothesis(words, {o.what: _replacing(o, name, name, transposed=True)})
        for other, tensor in tensors.known().items():
            if other in later or not _could_be_taken(name, other, o.t) or tensor.shape != right.shape:
                continue
            words = f"{label(o.what)}: computed from {other}, it should be from {name}"
            if o.what in ("resid_mid", "resid_post") and not name.endswith("out"):
                words = f"residual: the sum {o.what} starts from {other}{_said(other)}, it should start from {name}"
            yield Hypothesis(words, {o.what: _replacing(o, name, other)})


def _said(name):
    """What a tensor in a residual sum is, where its name does not say it."""
    return ", which is normalised," if re.search(r"ln_[12f]$", name) else ""


def _could_be_taken(name, other, t):
    """Whether a tensor may stand where another should: in the same block, or in its place in another one."""
    if other == name or other in ("ids", "targets") or is_parameter(other) != is_parameter(name):
        return False
    if is_parameter(other.removeprefix("grad.")) != is_parameter(name.removeprefix("grad.")):
        return False
    block, role = re.search(r"h\.(\d+)\.(.+)", other), re.sub(r".*h\.\d+\.", "", name)
    same_block = block is None or t.number is None or int(block[1]) == t.number
    return same_block or block[2] == role or block[2] in ("resid_post", "resid_mid")


def _replacing(o, name, other, transposed=False):
    """The operation with another tensor for the one called name; in another block, with the numbers of blocks moved."""
    operation, number = OPERATIONS[o.what][0], o.t.number

    def moved(full, t):
        if number is None or t.number is None:
            return full
        return re.sub(r"h\.(\d+)\.", lambda m: f"h.{int(m[1]) + t.number - number}.", full)

    class Swapped(operations.Block):
        def __getitem__(self, wanted):
            full = self.full(wanted)
            same = full == moved(name, self) or {full, name} == {"embd", moved(name, self)} or (
                number == 0 and name == "embd" and wanted == "x"
            )
            if not same:
                return super().__getitem__(wanted)
            taken = full if transposed else moved(other, self)
            value = self.tensors[taken]
            return value.swapaxes(-1, -2) if transposed else value

    return lambda t: operation(Swapped(t.tensors, t.number))


def another_blocks_weights(o):
    """The weights of another block: the blocks are reversed or shared, or the index is off by one."""
    L, i = o.t.n_layer, o.t.number
    if i is None or L < 2 or o.what.startswith("grad."):
        return
    kinds = [what for what in ("ln_1", "attn.q", "attn.k", "attn.v", "attn.out", "ln_2", "mlp.fc", "mlp.out")]
    if o.what not in kinds:
        return
    for words, which in (
        ("in reverse order", lambda i: L - 1 - i),
        ("of the first block, in all blocks", lambda i: 0),
        ("of the last block, in all blocks", lambda i: L - 1),
        ("of the block before", lambda i: max(i - 1, 0)),
        ("of the block after", lambda i: min(i + 1, L - 1)),
    ):
        if which(i) == i:
            continue
        yield Hypothesis(
            f"blocks: the weights are taken {words}",
            {what: _with_weights(OPERATIONS[what][0], which) for what in kinds}, rule=True,
        )  # fmt: skip
    for j in range(L):
        if j != i:
            yield Hypothesis(
                f"blocks: {label(o.what)} of block {i} uses the weights of block {j}",
                {o.what: _with_weights(OPERATIONS[o.what][0], lambda i, j=j: j)}, 1,
            )  # fmt: skip


def _with_weights(operation, which):
    class WithWeights(operations.Block):
        def __getitem__(self, name):
            parameter = is_parameter(name)
            if parameter and self.number is not None and name in operations.BLOCK:
                return self.tensors[f"h.{which(self.number)}.{name}"]
            return super().__getitem__(name)

    return lambda t: operation(WithWeights(t.tensors, t.number))


def permuted(o):
    """The right numbers in another order: heads, tokens or sequences."""
    if o.actual is None or not np.isfinite(o.actual).all():
        return
    if o.right.ndim == 2 and o.right.shape[0] == o.right.shape[1]:
        words = "x^T dy is transposed, it is dy^T x" if o.what.startswith("grad.") else "transposed"
        yield Hypothesis(f"{label(o.what)}: {words}", {o.what: of_result(o.what, np.transpose)})
    heads = o.right.ndim == 4
    for axis, words in ((1, "heads"),) if heads else ():
        order = order_along(axis, o.right, o.actual)
        if order is not None:
            yield Hypothesis(
                f"{label(o.what)}: the {words} are in the order {', '.join(map(str, order))}",
                {o.what: of_result(o.what, lambda y, order=order, axis=axis: np.take(y, order, axis))}, 1,
            )  # fmt: skip
    token = 2 if heads else 1
    if o.right.ndim > token and o.right.shape[token] > 2 and not o.what.startswith("grad.attn.c"):
        for words, function in (
            ("shifted by one token, each position has what belongs to the one before",
             lambda y: _shifted(y, 1, token)),
            ("shifted by one token, each position has what belongs to the one after", lambda y: _shifted(y, -1, token)),
            ("the tokens are in reverse order", lambda y: np.flip(y, token)),
        ):  # fmt: skip
            yield Hypothesis(f"{label(o.what)}: {words}", {o.what: of_result(o.what, function)})


def order_along(axis, right, actual):
    """The order in which the slices of right make up actual along an axis, if that is not their own order."""
    x, y = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (right, actual))
    if len(x) < 2 or not np.isfinite(x).all():
        return None
    order = np.argmin(((y[:, None] - x[None]) ** 2).sum(-1), 1)
    return order.tolist() if sorted(order) == list(range(len(x))) and order.tolist() != sorted(order) else None


def _shifted(y, by, axis):
    """Moved along an axis; NaN, any value, where nothing is known."""
    moved = np.roll(y, by, axis)
    edge = [slice(None)] * y.ndim
    edge[axis] = slice(0, by) if by > 0 else slice(by, None)
    moved[tuple(edge)] = np.nan
    return moved


def coarser(o):
    """Computed or stored with fewer bits: in half precision, bfloat16, TF32, or with such weights."""
    if o.actual is None or not np.isfinite(o.actual).all() or o.actual.size < 8:
        return
    for words, bits in (("float16", 11), ("bfloat16", 8)):
        if o.floor < 2.0**-bits / 8 and np.array_equal(rounded(o.actual, bits), o.actual):
            yield Hypothesis(
                f"{label(o.what)}: in {words}, its numbers have no more than {bits} significant bits",
                {what: _near(what, bits) for what in OPERATIONS},
            )
    for words, bits in (("TF32 or float16", 11), ("bfloat16", 8)):
        if o.floor < 2.0**-bits / 8:
            for whose, which in (("weights are", True), ("operands are", False)):
                yield Hypothesis(
                    f"precision: {whose} rounded to {words}, {bits} significant bits",
                    {what: _rounded_inputs(OPERATIONS[what][0], bits, which) for what in OPERATIONS},
                )


def _near(what, bits):
    """Theirs itself where it has so few bits and is the right result but for rounding; else the right result."""

    def changed(t):
        right = of_result(what, lambda y: y)(t)
        actual = t.tensors.theirs.get(t.full(what))
        if actual is None or actual.shape != right.shape:
            return right
        size, actual = np.abs(right).max(initial=0), actual.astype(np.float64)
        few = np.array_equal(rounded(actual, bits), actual) and np.abs(actual - right).max() <= 2.0**-bits * 4 * size
        return actual if few else right

    return changed


def rounded(x, bits):
    """x with that many significant bits."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)


def _rounded_inputs(operation, bits, only_weights):
    class Rounded(operations.Block):
        def __getitem__(self, name):
            value = super().__getitem__(name)
            if value.dtype.kind != "f" or not value.ndim or (only_weights and not is_parameter(name)):
                return value
            return rounded(value, bits)

    return lambda t: operation(Rounded(t.tensors, t.number))


DROPPED = "embd", "attn.probs", "attn.out", "mlp.out"


def dropout_left_on(o):
    """Each number is either 0 or 1 / (1 - p) times the right one; or, at evaluation, 1 - p times it."""
    if o.actual is None or o.what not in (*DROPPED, "mlp.gelu", "ln_1", "ln_f") or not np.isfinite(o.actual).all():
        return
    factor, zeros = _kept(o.actual, o.right)
    if factor is None:
        return
    if zeros:
        words = (
            f"dropout is on, with p = {1 - 1 / factor:.2g}: some numbers are 0, the others {factor:.4g} times what they "
            "should be; call eval() before you record"
        )
    elif 0.4 < factor < 1:
        words = f"dropout at evaluation multiplies by 1 - p = {factor:.4g}, though it did not divide in training"
    else:
        return

    def dropping(what):
        def changed(t):
            right = of_result(what, lambda y: y)(t)
            actual = t.tensors.theirs.get(t.full(what))
            if actual is None or actual.shape != right.shape:
                return right
            one, some = _kept(actual, right)
            if one is None or some != zeros or abs(one - factor) > 0.05 * factor:
                return right
            return np.where(np.abs(actual) > 1e-2 * np.abs(right), one * right, 0.0) if some else one * right

        return changed

    whats = {*DROPPED, o.what}
    yield Hypothesis(f"{label(o.what)}: {words}", {what: dropping(what) for what in whats}, 1, zeros=True)


def _kept(actual, right):
    """The factor by which the numbers that are not 0 are off, None if it is not one; and whether some are 0."""
    big = np.abs(right) > 1e-3 * np.abs(right).max(initial=0)
    if big.sum() < 20:
        return None, False
    ratio = actual[big] / right[big]
    kept = ratio[np.abs(ratio) > 1e-6]
    if not len(kept):
        return None, False
    factor, some = float(np.median(kept)), len(kept) < len(ratio)
    exact = np.abs(kept - factor).max() <= 1e-2 * factor
    return (factor if exact and abs(factor - 1) > 1e-3 and (factor > 1 or not some) else None), some


# ------------------------------------------------------------------------------------------------------- embedding


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
        ("the row of wpe is the number of the sequence in the batch", lambda t, w, B, T, C: w[: min(B, len(w))][:, None]),
        ("the row of wpe is the token's id", lambda t, w, B, T, C: w[np.minimum(t["ids"], len(w) - 1)]),
        ("the positions are counted from the end of wpe", lambda t, w, B, T, C: w[len(w) - T :]),
        ("sinusoidal, as in the 2017 Transformer; GPT-2 learns them", lambda t, w, B, T, C: sinusoidal_positions(T, C)),
        ("counted on through the batch, over B and T", lambda t, w, B, T, C: w[np.arange(B * T).reshape(B, T) % len(w)]),
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

    yield Hypothesis("ids: a token was put in front (a BOS token?), each position has the token before it", {"embd": begun})


# ------------------------------------------------------------------------------------------------------ layer norm


def layer_norms(o):
    """Other ways to normalise, all with the right weights and input."""
    _, name = _norm(o.what)
    for words, key, form in LAYER_NORMS:
        changes = {what: _layer_norm_of(what, form) for what in ("ln_1", "ln_2", "ln_f")}
        if key is not None:
            changes |= _layer_norm_backward(key)
        words = words.replace("it is skipped", f"{name} is skipped") if "skipped" in words else words
        yield Hypothesis(f"layer norm: {words}", changes, 0, key)


def other_norms(o):
    """The gain and shift of another layer norm, another stream, or something added to its input."""
    x, name = _norm(o.what)
    for other in ("ln_1", "ln_2", "ln_f"):
        if other != name and (other == "ln_f" or o.t.number is not None):
            yield Hypothesis(
                f"layer norm: {name} takes gain and shift of {other}",
                {name: lambda t, other=other: normalised(t[x], t.eps)[0] * t[f"{other}.weight"] + t[f"{other}.bias"]},
                spoils=rf"grad\.({name}|{other})\.(weight|bias)",
            )  # fmt: skip
    groups = o.t.n_head
    yield Hypothesis(
        f"layer norm: mean and variance are of each head's channels alone, {groups} groups of C / {groups}",
        {what: _layer_norm_of(what, lambda x, g, b, eps: _over(
            x.reshape(*x.shape[:-1], groups, -1), -1, eps).reshape(x.shape) * g + b) for what in ("ln_1", "ln_2", "ln_f")},
    )  # fmt: skip
    for words, added in (
        ("the position embedding is added again", lambda t: t["wpe.weight"][: t["ids"].shape[1]]),
        ("the embedding is added again", lambda t: t["embd"]),
    ):
        if name == "ln_1" and o.t.number:
            yield Hypothesis(
                f"residual: {words} at the start of a block",
                {"ln_1": lambda t, a=added: normalised(t["x"] + a(t), t.eps)[0] * t["ln_1.weight"] + t["ln_1.bias"],
                 "resid_mid": lambda t, a=added: t["x"] + a(t) + t["attn.out"]},
                spoils=r"grad\..*",
            )  # fmt: skip
    streams = ["embd", *(f"h.{i}.resid_post" for i in range(o.t.n_layer)), *(f"h.{i}.resid_mid" for i in range(o.t.n_layer))]
    right = o.t.full(x)
    for stream in streams:
        if stream != right and stream in o.t.tensors.theirs:
            missing = right.split(".")[1] if right.startswith("h.") else ""
            skipped = f"; is block {missing} left out?" if name != "ln_2" and "resid_mid" not in stream else ""
            yield Hypothesis(
                f"layer norm: {name} reads {stream}, it should read {right}{skipped}",
                {name: _reading(name, stream, o.t.number)}, 1, spoils=r"grad\..*",
            )  # fmt: skip


def _reading(name, stream, number):
    """The layer norm of another stream, in one block only."""
    def changed(t):
        x = t.tensors[stream] if t.number == number else t[_norm(name)[0]]
        return normalised(x, t.eps)[0] * t[f"{name}.weight"] + t[f"{name}.bias"]
    return changed


def _norm(what):
    return {"ln_1": "x", "ln_2": "resid_mid", "ln_f": "last"}[what], what


def _layer_norm_of(what, form):
    x, name = _norm(what)
    return lambda t: form(t[x], t[f"{name}.weight"], t[f"{name}.bias"], t.eps)


def _scaled(x, variance, eps, outside=False):
    centred = x - x.mean(-1, keepdims=True)
    return centred / (np.sqrt(variance) + eps if outside else np.sqrt(variance + eps))


def _var(x, ddof=0):
    return x.var(-1, keepdims=True, ddof=ddof) if x.shape[-1] > ddof else np.full((*x.shape[:-1], 1), np.nan)


def _over(x, axis, eps):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


LAYER_NORMS = (
    ("the variance is divided by C - 1, it should be by C (the biased one)", "variance=unbiased",
     lambda x, g, b, eps: _scaled(x, _var(x, 1), eps) * g + b),
    ("eps is added to the standard deviation, it should be added to the variance, inside the root", "eps=outside",
     lambda x, g, b, eps: _scaled(x, _var(x), eps, True) * g + b),
    ("the variance is divided by C - 1, and eps (1e-6) is added to the standard deviation; in GPT-2 it is divided by C, "
     "and eps = 1e-5 is inside the root", None, lambda x, g, b, eps: _scaled(x, _var(x, 1), 1e-6, True) * g + b),
    ("the variance is divided by C - 1, and eps is added to the standard deviation", None,
     lambda x, g, b, eps: _scaled(x, _var(x, 1), eps, True) * g + b),
    ("the gain is missing", None, lambda x, g, b, eps: _over(x, -1, eps) + b),
    ("the shift is missing", None, lambda x, g, b, eps: _over(x, -1, eps) * g),
    ("gain and shift are missing", None, lambda x, g, b, eps: _over(x, -1, eps)),
    ("the shift is added before the gain multiplies", None, lambda x, g, b, eps: (_over(x, -1, eps) + b) * g),
    ("the gain is 1 + weight", None, lambda x, g, b, eps: _over(x, -1, eps) * (1 + g) + b),
    ("gain and shift are exchanged", None, lambda x, g, b, eps: _over(x, -1, eps) * b + g),
    ("the mean is not subtracted (as in RMSNorm)", None,
     lambda x, g, b, eps: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g + b),
    ("the mean is not subtracted from x, only in the variance", None,
     lambda x, g, b, eps: x / np.sqrt(_var(x) + eps) * g + b),
    ("the root is missing, it divides by the variance", None,
     lambda x, g, b, eps: _scaled(x, (_var(x) + eps) ** 2, 0.0) * g + b),
    ("it does not divide by the standard deviation", None,
     lambda x, g, b, eps: (x - x.mean(-1, keepdims=True)) * g + b),
    ("it multiplies by the standard deviation", None,
     lambda x, g, b, eps: (x - x.mean(-1, keepdims=True)) * np.sqrt(_var(x) + eps) * g + b),
    ("it is skipped, its output is its input", None, lambda x, g, b, eps: x),
    ("only gain and shift are applied, nothing is normalised", None, lambda x, g, b, eps: x * g + b),
    ("it normalises over the tokens (axis T), it should be over the channels", None,
     lambda x, g, b, eps: _over(x, 1, eps) * g + b),
    ("it normalises over the batch (axis B), it should be over the channels", None,
     lambda x, g, b, eps: _over(x, 0, eps) * g + b),
    ("it normalises over batch and tokens, as batch norm does; it should be over the channels", None,
     lambda x, g, b, eps: _over(x, (0, 1), eps) * g + b),
    ("it normalises over tokens and channels together", None, lambda x, g, b, eps: _over(x, (1, 2), eps) * g + b),
    ("it normalises over the whole tensor", None, lambda x, g, b, eps: _over(x, (0, 1, 2), eps) * g + b),
    ("it is applied twice", None, lambda x, g, b, eps: _over(_over(x, -1, eps) * g + b, -1, eps) * g + b),
)  # fmt: skip


def _layer_norm_backward(key):
    """The operations of the backward pass that belong to another variance, or to eps outside of the root.

        y = centred r(v),  v the mean of centred^2:   dx = centre(dy r) + centred 2/C r'(v) sum(dy centred)
    """
    number = float(key.removeprefix("eps=")) if key.startswith("eps=") and key != "eps=outside" else None

    def parts(x, eps):
        centred = x - x.mean(-1, keepdims=True)
        C, v = x.shape[-1], (centred * centred).mean(-1, keepdims=True)
        if key == "eps=outside":
            r = 1 / (np.sqrt(v) + eps)
            return centred, r, -(r**2) / (2 * np.sqrt(v))
        k = C / (C - 1) if key == "variance=unbiased" else 1.0
        r = 1 / np.sqrt(k * v + (eps if number is None else number))
        return centred, r, -k / 2 * r**3

    def shares(t, x, name):
        centred, r, slope = parts(t[x], t.eps)
        dx_hat = t[f"grad.{name}"] * t[f"{name}.weight"]
        direct = dx_hat * r
        return {
            "direct": direct - direct.mean(-1, keepdims=True),
            "through the variance": centred * slope * 2 * (dx_hat * centred).mean(-1, keepdims=True),
        }

    def gain(t, x, name):
        centred, r, _ = parts(t[x], t.eps)
        return (t[f"grad.{name}"] * centred * r).sum((0, 1))

    return {
        "grad.x": lambda t: {"the residual branch": t["grad.resid_mid"], **shares(t, "x", "ln_1")},
        "grad.resid_mid": lambda t: {"the residual branch": t["grad.resid_post"], **shares(t, "resid_mid", "ln_2")},
        "grad.last": lambda t: shares(t, "last", "ln_f"),
        **{f"grad.{name}.weight": (lambda t, x=x, name=name: gain(t, x, name))
           for name, x in (("ln_1", "x"), ("ln_2", "resid_mid"), ("ln_f", "last"))},
    }  # fmt: skip


def eps_hypothesis(eps):
    """Layer norms with another eps."""
    changes = {what: _layer_norm_of(what, lambda x, g, b, _: _over(x, -1, eps) * g + b) for what in ("ln_1", "ln_2", "ln_f")}
    return Hypothesis("", changes | _layer_norm_backward(f"eps={eps!r}"), 1, f"eps={eps:g}")


EPS = 0.0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1


def layer_norm_eps(o):
    """Another eps: the usual ones are tried, and the one that fits best if none of them does."""
    x, name = _norm(o.what)
    x, g, b, eps = o.t[x], o.t[f"{name}.weight"], o.t[f"{name}.bias"], o.t.eps
    right = f"it should be {eps:g}"
    if o.actual is None:
        for usual in EPS:
            if usual != eps:
                h = eps_hypothesis(usual)
                yield Hypothesis(f"layer norm: eps is {usual:g}, {right}", h.changes, 1, h.key)
        return
    scaled, variance = (x - x.mean(-1, keepdims=True)) * g, _var(x)[..., 0]
    rstd = ((o.actual - b) * scaled).sum(-1) / (scaled * scaled).sum(-1)
    weight = 1 / (variance + eps) ** 2  # rows with a small variance say the most about eps
    fitted = max(((1 / rstd**2 - variance) * weight).sum() / weight.sum(), 0.0)
    sizes = {usual: relative(o.actual, scaled / np.sqrt(variance + usual)[..., None] + b) for usual in (*EPS, fitted)}
    near = [usual for usual in EPS if sizes[usual] <= max(2 * sizes[fitted], o.floor / 4)]
    if eps in near:
        return
    if not near:
        h = eps_hypothesis(float(fitted))
        yield Hypothesis(f"layer norm: eps is {fitted:.2g}, {right}", h.changes, 1, h.key)
    elif len(near) == 1:
        h = eps_hypothesis(near[0])
        yield Hypothesis(f"layer norm: eps is {near[0]:g}, {right}", h.changes, 1, h.key)
    else:
        h = eps_hypothesis(near[0])
        words = f"at most {near[-1]:g}, perhaps 1e-12 or 0" if near[0] == 0 else f"{near[0]:g} ... {near[-1]:g}"
        yield Hypothesis(f"layer norm: eps is {words}, {right}", h.changes, 1, h.key)


def post_norm(o):
    """x = layer_norm(x + sub_layer(x)), the order of the 2017 Transformer."""
    if o.what == "ln_f":
        return
    source, branch = ("x", "attn.out") if o.what == "ln_1" else ("resid_mid", "mlp.out")

    def changed(t):
        x_hat, _ = normalised(t[source] + t[branch], t.eps)
        return x_hat * t[f"{o.what}.weight"] + t[f"{o.what}.bias"]

    full = o.t.full(branch)
    if full in o.t.tensors.theirs:
        def between(t):
            x_hat, _ = normalised(t[branch], t.eps)
            return x_hat * t[f"{o.what}.weight"] + t[f"{o.what}.bias"]

        yield Hypothesis(
            "the layer norm sits between the sub-layer and the residual sum, x + layer_norm(sub_layer(x)); in GPT-2 it is "
            "x + sub_layer(layer_norm(x))", {o.what: between}, spoils=".*",
        )  # fmt: skip
        yield Hypothesis(
            "post-norm: the layer norm comes after the sub-layer and the residual sum; in GPT-2 it comes before "
            "the sub-layer, x + sub_layer(layer_norm(x))",
            {o.what: changed}, spoils=".*",
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- attention


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
        ("(B, T, C) is reshaped to (B, H, T, D) at once, which mixes up tokens and heads; reshape to (B, T, H, D), then "
         "exchange T and H", at_once),
        ("a head takes every H-th channel, C is split as (D, H); it should take D neighbours, (H, D)", interleaved),
        ("the output of c_attn is split head by head, (H, 3, D); in GPT-2 all of q comes first, then k, then v: "
         "(3, H, D)", per_head),
        ("the output of c_attn is split channel by channel, (C, 3); in GPT-2 all of q comes first, then k, then v", per_channel),
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
        ("q and k are normalised, as by a layer norm", lambda x: _over(x, -1, 1e-5), "qk"),
        ("q and k are divided by their root mean square", lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6), "qk"),
        ("q is divided by sqrt(D) before it is recorded, and the scores once more", lambda x: x / math.sqrt(x.shape[-1]), "q"),
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
            f"attention: the bias of c_attn is split as {', '.join(order)}, its weight as q, k, v; in GPT-2 both are q, k, v",
            parts,
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
        ("the scores are divided by sqrt(C), they should be by sqrt(D)", "scale=1/sqrt(C)", lambda t: root / math.sqrt(C)),
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
        changes |= {
            f"grad.attn.{n}": lambda t, f=factor, d=d: d(t) * f(t) for n, d in (("q", operations.d_q), ("k", operations.d_k))
        }
        if len({factor(o.t.of(i)) for i in range(2)}) > 1 or factor(o.t) != 1.0:
            of_all = "index of the block" in words
            yield Hypothesis(f"attention: {words}", changes, int(of_all), key, rule=of_all)
    for words, function in (
        ("the scores are k q^T, transposed; they should be q k^T", lambda t: operations.scores(t).swapaxes(-1, -2)),
        ("the scores are q q^T", lambda t: t["attn.q"] @ t["attn.q"].swapaxes(-1, -2) / root),
        ("the scores are k k^T", lambda t: t["attn.k"] @ t["attn.k"].swapaxes(-1, -2) / root),
        ("the scores are cosines, q and k have length 1", lambda t: _unit(t["attn.q"]) @ _unit(t["attn.k"]).swapaxes(-1, -2)),
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
        ("off by one, a token sees the one after it", None, {"attn.probs": lambda t: masked_softmax(t["attn.scores"], 1)}),
        ("off by one, a token cannot see itself", None, {"attn.probs": lambda t: masked_softmax(t["attn.scores"], -1)}),
        ("off by two, a token sees the two after it", None, {"attn.probs": lambda t: masked_softmax(t["attn.scores"], 2)}),
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
        ("inverted, a token sees only those after it", None, soft(lambda s, f: _soft(np.where(f, s, -np.inf)))),
        ):  # fmt: skip
        yield Hypothesis(f"causal mask: {words}", changes, 0, key)
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
        yield Hypothesis(f"causal mask: a token sees only the last {width}, itself included (a window)", soft(window(width)), 1)


def masked_scores(o):
    """The scores as they are after a mask that hides too much, which probs must confirm."""
    T = o.t["ids"].shape[1]

    def hidden(which):
        return lambda t: np.where(which, np.nan, operations.scores(t))

    for words, ahead in (("a token cannot see itself", -1), ("a token sees neither itself nor the one before it", -2)):
        unseen = np.triu(np.ones((T, T), bool), 1 + ahead)
        yield Hypothesis(
            f"causal mask: off by {'one' if ahead == -1 else 'two'}, {words}",
            {"attn.scores": hidden(unseen & np.tri(T, dtype=bool)),
             "attn.probs": lambda t, a=ahead: masked_softmax(np.where(np.isnan(t["attn.scores"]), 0, t["attn.scores"]), a)},
        )  # fmt: skip
    for width in range(1, min(T, 9)):
        far = np.tri(T, T, -width, dtype=bool)

        def windowed(t, far=far):
            return softmax_forward(np.where(far | ~np.tri(T, dtype=bool), -np.inf, t["attn.scores"]))

        yield Hypothesis(
            f"causal mask: a token sees only the last {width}, itself included (a window)",
            {"attn.scores": hidden(far), "attn.probs": windowed}, 1,
        )  # fmt: skip


def _soft(s):
    return softmax_forward(s)


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
        ("of scores divided by sqrt(D) once more", lambda t: masked_softmax(t["attn.scores"] / math.sqrt(t["attn.q"].shape[-1]))),
        ("of scores not divided by sqrt(D)", lambda t: masked_softmax(t["attn.scores"] * math.sqrt(t["attn.q"].shape[-1]))),
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
        ("(B, H, T, D) is reshaped to (B, T, C) at once, which mixes up tokens and heads; exchange H and T first", unmoved),
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

        yield Hypothesis(f"attention: over the sequences of the batch, it should be over the tokens{words}", {"attn.heads": over_batch})
    C = o.t["wte.weight"].shape[1]
    for number in [n for n in range(1, min(C, 65)) if C % n == 0 and n != o.t.n_head]:
        def recut(t, number=number):
            q, k, v = (split_heads(merge_heads(t[f"attn.{n}"]), number) for n in "qkv")
            return merge_heads(attend(q, k, v))

        yield Hypothesis(f"attention: {number} heads of {C // number} channels, it should be {o.t.n_head} of {C // o.t.n_head}",
                         {"attn.heads": recut}, 1)  # fmt: skip
    for h in range(o.t.n_head):
        yield Hypothesis(
            f"heads: head {h} is missing, zeros stand in its place",
            {"attn.heads": reordered(lambda y, h=h: y * (np.arange(y.shape[1]) != h)[:, None, None])}, 1,
        )  # fmt: skip


def transposed_projection(o):
    """c_proj is square, so its transpose fits silently."""
    yield Hypothesis(
        "attention: the weight of attn.c_proj is transposed; released checkpoints store (in, out), PyTorch's "
        "nn.Linear (out, in)",
        {"attn.out": lambda t: t["attn.heads"] @ t["attn.c_proj.weight"].T + t["attn.c_proj.bias"]},
    )


def reshaped_weight(o):
    """A weight that is reshaped where it should be transposed."""
    x, layer = {"mlp.fc": ("ln_2", "mlp.c_fc"), "mlp.out": ("mlp.gelu", "mlp.c_proj")}[o.what]
    yield Hypothesis(
        f"the weight of {layer} is reshaped from (out, in) to (in, out), it should be transposed",
        {o.what: lambda t: t[x] @ t[f"{layer}.weight"].T.reshape(t[f"{layer}.weight"].shape) + t[f"{layer}.bias"]},
    )


# -------------------------------------------------------------------------------------------- feed-forward network

ROOT = math.sqrt(2 / math.pi)


def erf(x):
    """The error function."""
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float64)


def _tanh_gelu(x, root=ROOT, cubic=0.044715, power=3):
    return 0.5 * x * (1 + np.tanh(root * (x + cubic * x**power)))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _d_tanh_gelu(x, root=ROOT, cubic=0.044715):
    tanh = np.tanh(root * (x + cubic * x**3))
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh**2) * root * (1 + 3 * cubic * x**2)


GELUS = (  # words, key, the function and its derivative
    ("the erf form; GPT-2 was trained with the tanh form (in PyTorch: approximate='tanh')", "gelu=erf",
     lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
     lambda x: (1 + erf(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    ("x sigmoid(1.702 x), the quick form; GPT-2 was trained with the tanh form", "gelu=quick",
     lambda x: x * _sigmoid(1.702 * x),
     lambda x: _sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - _sigmoid(1.702 * x)))),
    ("a ReLU in its place", "gelu=relu", lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    ("a SiLU (swish) in its place", "gelu=silu", lambda x: x * _sigmoid(x),
     lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
    ("the factor 1/2 is missing", None, lambda x: 2 * _tanh_gelu(x), None),
    ("0.44715 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.44715), None),
    ("0.0044715 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.0044715), None),
    ("0.04715 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.04715), None),
    ("0.044175 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.044175), None),
    ("0.0447 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.0447), None),
    ("0.045 in place of 0.044715", None, lambda x: _tanh_gelu(x, cubic=0.045), None),
    ("0.79788 in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=0.79788), None),
    ("0.8 in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=0.8), None),
    ("x^2 in place of x^3", None, lambda x: _tanh_gelu(x, power=2), None),
    ("the term x^3 is missing", None, lambda x: _tanh_gelu(x, cubic=0.0), None),
    ("the cubic term is subtracted", None, lambda x: _tanh_gelu(x, cubic=-0.044715), None),
    ("the factor sqrt(2/pi) is missing", None, lambda x: _tanh_gelu(x, root=1.0), None),
    ("2/pi without the root", None, lambda x: _tanh_gelu(x, root=2 / math.pi), None),
    ("sqrt(2 pi) in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=math.sqrt(2 * math.pi)), None),
    ("sqrt(pi/2) in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=math.sqrt(math.pi / 2)), None),
    ("1/sqrt(2) in place of sqrt(2/pi)", None, lambda x: _tanh_gelu(x, root=math.sqrt(0.5)), None),
    ("sqrt(2/pi) multiplies x alone, it should multiply x + 0.044715 x^3", None,
     lambda x: 0.5 * x * (1 + np.tanh(ROOT * x + 0.044715 * x**3)), None),
    ("the 1 is missing, x tanh(u) / 2", None, lambda x: _tanh_gelu(x) - 0.5 * x, None),
    ("1 - tanh in place of 1 + tanh", None, lambda x: x - _tanh_gelu(x), None),
    ("the factor x is missing, (1 + tanh u) / 2", None,
     lambda x: 0.5 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3))), None),
    ("the erf form without sqrt(2), x (1 + erf(x)) / 2", None, lambda x: x * (1 + erf(x)) / 2, None),
    ("a leaky ReLU in its place", None, lambda x: np.where(x > 0, x, 0.01 * x), None),
    ("a squared ReLU in its place", None, lambda x: np.maximum(x, 0) ** 2, None),
    ("an ELU in its place", None, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), None),
    ("a softplus in its place", None, lambda x: np.logaddexp(0, x), None),
    ("a sigmoid in its place", None, _sigmoid, None),
    ("a tanh in its place", None, np.tanh, None),
    ("a mish in its place", None, lambda x: x * np.tanh(np.logaddexp(0, x)), None),
    ("it is applied twice", None, lambda x: _tanh_gelu(_tanh_gelu(x)), None),
    ("it is missing, its output is its input", None, lambda x: x, None),
    ("inputs beyond 10 are cut off (gelu_10)", None, lambda x: np.clip(_tanh_gelu(x), -10, 10), None),
)  # fmt: skip


def gelus(o):
    """Other forms of the GELU, and other functions in its place."""
    for words, key, function, derivative in GELUS:
        changes = {"mlp.gelu": lambda t, f=function: f(t["mlp.fc"])}
        if derivative is not None:
            changes["grad.mlp.fc"] = lambda t, d=derivative: d(t["mlp.fc"]) * t["grad.mlp.gelu"]
        yield Hypothesis(f"GELU: {words}", changes, 0, key)
    if o.actual is not None and np.isfinite(o.actual).all():
        yield from _gelu_constants(o)


def _gelu_constants(o):
    """The two constants of the tanh form, fitted: arctanh(2 y / x - 1) = root x + root cubic x^3."""
    x = o.t["mlp.fc"].ravel()
    tanh = 2 * o.actual.ravel() / np.where(x == 0, 1, x) - 1
    good = (np.abs(tanh) < 0.999) & (np.abs(x) > 0.2)
    if good.sum() < 20:
        return
    x, u = x[good], np.arctanh(tanh[good])
    (root, both), *_ = np.linalg.lstsq(np.stack([x, x**3], 1), u, rcond=None)
    if root <= 0 or abs(both) < 1e-6:
        return
    for name, value in (("sqrt(2)/pi", math.sqrt(2) / math.pi), ("sqrt(2)/sqrt(pi)", ROOT), ("pi/2", math.pi / 2),
                        ("2/pi", 2 / math.pi), ("sqrt(2)", math.sqrt(2)), ("1/sqrt(pi)", math.pi**-0.5)):  # fmt: skip
        if abs(root / value - 1) < 1e-4:
            root, both = value, both / root * value
            words = f"{name} in place of sqrt(2/pi)" if value != ROOT else ""
            break
    else:
        words = f"{root:.6g} in place of sqrt(2/pi) = {ROOT:.6g}"
    cubic = 0.044715 if abs(both / root / 0.044715 - 1) < 1e-3 else float(f"{both / root:.4g}")
    if cubic != 0.044715:
        words = " and ".join(filter(None, [words, f"{cubic:.6g} in place of 0.044715"]))
    if words:
        yield Hypothesis(f"GELU: {words}", {"mlp.gelu": lambda t: _tanh_gelu(t["mlp.fc"], root=root, cubic=cubic)}, 2)


def activation_after(o):
    """A layer's output goes through an activation that does not belong there."""
    for words, function in (
        ("a GELU", _tanh_gelu), ("a ReLU", lambda x: np.maximum(x, 0)), ("a tanh", np.tanh), ("a sigmoid", _sigmoid),
    ):  # fmt: skip
        yield Hypothesis(f"{label(o.what)}: {words} is applied to it, there is none here", {o.what: of_result(o.what, function)})


# ---------------------------------------------------------------------------------------- output layer, loss, targets


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
        yield Hypothesis("output layer: a bias is added to the logits; GPT-2 has none", after(lambda y: y + bias), len(bias))
        shift = np.median(difference, 1).reshape(*o.right.shape[:-1], 1)
        yield Hypothesis("logits: a number of its own is added at each position, the same for all tokens", after(lambda y: y + shift), N)
    if (N >= C + 8 or N >= 2 * C) and np.linalg.matrix_rank(x) == C:  # with fewer rows some matrix could make any logits
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
        ("targets: shifted twice, every token has to predict the second after it (does the model shift them too?)", moved),
        ("targets: shifted the wrong way, every token has to predict the one before it", np.roll(ids, 1, 1)),
        ("targets: the last token of each sequence is not counted (labels that the model shifts itself have none for it)",
         last),
        ("targets: the first token of each sequence is not counted", first),
        ("targets: those to be ignored (-100) count as token 0", np.where(targets == IGNORED, 0, targets)),
        ("targets: the last position has to predict the first token (the ids are rolled)",
         np.where(targets == IGNORED, np.roll(ids, -1, 1), targets)),
        ("targets: in another order, those of the next sequence in the batch", np.roll(targets, -1, 0)),
    )  # fmt: skip
    return [(words, wrong) for words, wrong in choices if (wrong != IGNORED).any() and not np.array_equal(wrong, targets)]


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
        *((counted / 2**n, f"multiplied by {2**n} (a loss scaled for half precision, not unscaled?)") for n in range(4, 17)),
        (B * max(T - 1, 1), f"divided by B (T - 1) = {B * (T - 1)}"),
        (counted * math.log(2), "in bits, divided by ln 2; GPT-2's loss is in nats"),
        (-counted, "of the wrong sign"),
    ):
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
        losses = [cross_entropy_forward(y, x)[0] for y, x in zip(t["logits"], t["targets"], strict=True) if (x != IGNORED).any()]
        return np.asarray(np.mean(losses))

    for words, function in (
        ("of softmax(logits), softmax is taken twice; the loss takes the logits themselves",
         of_logits(lambda y: np.exp(y - _log_sum(y)))),
        ("the softmax is over the tokens (axis T), it should be over the vocabulary",
         lambda t: _loss_over(t, 1)),
        ("the softmax is over a vocabulary padded with zeros", lambda t: _padded_loss(t)),
        ("the mean of each sequence first, then of those; GPT-2's is over all targets at once", per_sequence),
        ("the perplexity, exp(loss)", of_result("loss", np.exp)),
        ("the loss of a single sequence, the first", lambda t: np.asarray(cross_entropy_forward(t["logits"][:1], t["targets"][:1])[0])),
        ("the loss of a single sequence, the last", lambda t: np.asarray(cross_entropy_forward(t["logits"][-1:], t["targets"][-1:])[0])),
        ("of the last position only", lambda t: np.asarray(cross_entropy_forward(t["logits"][:, -1], t["targets"][:, -1])[0])),
    ):  # fmt: skip
        yield Hypothesis(f"loss: {words}", {"loss": function})
    if o.what in ("loss", "grad.logits") and "grad.logits" in o.t.tensors.theirs:
        more = _more_classes(o.t)
        if more is not None:
            extra, loss_of, gradient_of = more
            yield Hypothesis(
                f"loss: beyond the {o.t['logits'].shape[-1]} tokens of the vocabulary, rows of padding count as well and get "
                f"{extra:.1%} of the probability; cut the logits off before the loss",
                {"loss": loss_of, "grad.logits": gradient_of}, 1, spoils=r"grad\.(ln_f|wte\.weight)",
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
    y, targets = t["logits"], t["targets"]
    top = y.max(axis, keepdims=True)
    log_p = y - top - np.log(np.exp(y - top).sum(axis, keepdims=True))
    seen = targets != IGNORED
    picked = np.take_along_axis(log_p, np.where(seen, targets, 0)[..., None], -1)[..., 0]
    return np.asarray(-(picked * seen).sum() / seen.sum())


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


# ------------------------------------------------------------------------------------------------- all of the forward


def label(what):
    """The name of an operation in a sentence."""
    return {"embd": "embedding", "grad.x": "the gradient of a block's input", "grad.last": "the gradient of the last block's output"}.get(
        what, f"the gradient of {what[5:]}" if what.startswith("grad.") else what)  # fmt: skip


ANYWHERE = (missing_share, constant_factor, another_blocks_weights, permuted, dropout_left_on, coarser, another_input)

FORWARD = {
    "embd": (positions, tokens),
    **dict.fromkeys(("ln_1", "ln_2", "ln_f"), (layer_norms, layer_norm_eps, post_norm, other_norms)),
    **dict.fromkeys(("attn.q", "attn.k", "attn.v"), (heads_split, changed_projections)),
    "attn.scores": (scale, changed_scores, roles, masked_scores),
    "attn.probs": (masks, softmaxes),
    "attn.heads": (heads_merged,),
    "attn.out": (transposed_projection, activation_after),
    "mlp.fc": (reshaped_weight, activation_after),
    "mlp.gelu": (gelus,),
    "mlp.out": (reshaped_weight, activation_after),
    "logits": (output_layer,),
    "loss": (wrong_targets, wrong_mean, loss_forms),
}


def untied(head):
    """The operations of a model whose output layer has a matrix of its own (V, C)."""
    return {
        "logits": lambda t: t["ln_f"] @ head.T,
        "grad.ln_f": lambda t: t["grad.logits"] @ head,
        "grad.wte.weight": operations.d_tokens,
    }


def accepted(keys, ours, theirs, eps):
    """The changes, see ``operations.Tensors``, that keys such as "gelu=erf" stand for.

    raises: ValueError when nothing is called so.
    """
    known, changes = {}, {}
    if keys:
        tensors = operations.Tensors(ours, {}, eps)
        for what, table in FORWARD.items():
            observed = Observed(what, operations.Block(tensors, 0), "", np.zeros(0), None, 0.0)
            for mistake in table:
                try:
                    known |= {h.key: h.changes for h in mistake(observed) if h.key}
                except (KeyError, IndexError):
                    continue
        if "lm_head.weight" in theirs:
            known["head=untied"] = untied(theirs["lm_head.weight"].astype(np.float64))
    for key in keys:
        if re.fullmatch(r"eps=[\d.e-]+", key):
            changes |= eps_hypothesis(float(key.removeprefix("eps="))).changes
        elif key in known:
            changes |= known[key]
        else:
            raise ValueError(f"accept: nothing is called {key!r}; known are {', '.join(sorted(known))} and eps=NUMBER")
    return changes
