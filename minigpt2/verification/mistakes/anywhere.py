"""What can go wrong with any operation: a share of a sum that is missing, a constant factor, another tensor or another
block's weights in place of the right ones, another order, fewer bits, dropout.
"""

import math
import re

import numpy as np

from minigpt2.verification import operations
from minigpt2.verification.mistakes.hypothesis import Hypothesis, label, of_result, rounded
from minigpt2.verification.names import is_parameter
from minigpt2.verification.operations import OPERATIONS


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
    if not words or (len(words) == len(names) and len(set(nice)) == 1):  # a constant factor
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
            words = f"{label(o.what)}: computed from the transpose of {_within(name, o.t)}"
            yield Hypothesis(words, {o.what: _replacing(o, name, name, transposed=True)})
        for other, tensor in tensors.known().items():
            if other in later or not _could_be_taken(name, other, o.t) or tensor.shape != right.shape:
                continue
            wrong, wanted = _within(other, o.t), _within(name, o.t)
            words = f"{label(o.what)}: computed from {wrong}, it should be from {wanted}"
            if o.what in ("resid_mid", "resid_post") and not name.endswith("out"):
                words = f"residual: the sum {o.what} starts from {wrong}{_said(other)}, it should start from {wanted}"
            # In the backward pass what was read gets the gradient that was meant for the right tensor.
            spoils = "" if o.what.startswith("grad.") else re.escape(tensors.what(f"grad.{other}")[0])
            yield Hypothesis(words, {o.what: _replacing(o, name, other)}, spoils=spoils)


def _within(name, t):
    """The name of a tensor for the operation's block: without its number, "x" for what the block reads."""
    for x in ("x", "grad.x") if t.number is not None else ():
        if name == t.full(x):
            return x
    return name.replace(f"h.{t.number}.", "")


def _said(name):
    """What a tensor in a residual sum is, where its name does not say it."""
    return " (which is normalised)" if re.search(r"ln_[12f]$", name) else ""


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
    """The operation with another tensor for the one called name, and in other blocks what corresponds to the two."""
    operation, wanted, taken = OPERATIONS[o.what][0], o.t.same(name), o.t.same(other)

    class Swapped(operations.Block):
        def __getitem__(self, role):
            if self.full(role) != wanted(self):
                return super().__getitem__(role)
            value = self.tensors[taken(self)]
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
            {what: _with_weights(OPERATIONS[what][0], which) for what in kinds}, rule=True, spoils=r"grad\..*",
        )  # fmt: skip
    for j in range(L):
        if j != i:
            yield Hypothesis(
                f"blocks: {label(o.what)} of block {i} uses the weights of block {j}",
                {o.what: _with_weights(OPERATIONS[o.what][0], lambda i, j=j: j)}, 1, spoils=r"grad\..*",
            )  # fmt: skip


def _with_weights(operation, which):
    """The operation, with the parameters of block which(number) in block number."""
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
                yield Hypothesis(
                    f"{label(o.what)}: its {whose} rounded to {words}, {bits} significant bits",
                    {o.what: _rounded_inputs(OPERATIONS[o.what][0], bits, which)}, 1,
                )  # fmt: skip


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


def _rounded_inputs(operation, bits, only_weights):
    """The operation, with the operands of its product rounded, or its weights with their biases and gains."""
    class Rounded(operations.Block):
        def __getitem__(self, name):
            value = super().__getitem__(name)
            if value.dtype.kind != "f" or not (is_parameter(name) if only_weights else value.ndim > 1):
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
            f"dropout is on, with p = {1 - 1 / factor:.2g}: some numbers are 0, the others {factor:.4g} times what "
            "they should be; call eval() before you record"
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


ANYWHERE = (missing_share, constant_factor, another_blocks_weights, permuted, dropout_left_on, coarser, another_input)
