"""A mistake as a hypothesis, and the operation of another GPT-2 that it is tried on."""

from dataclasses import dataclass, field

import numpy as np

from minigpt2.components.loss import IGNORED
from minigpt2.verification import operations
from minigpt2.verification.operations import OPERATIONS


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
        (V, C), H, L = self.t["wte.weight"].shape, self.t.n_head, self.t.n_layer
        counted = int((self.t["targets"] != IGNORED).sum()) if "targets" in self.t.tensors.ours else B * T
        sizes = {
            "B": B, "T": T, "B T": B * T, "C": C, "4 C": 4 * C, "H": H, "D": C // H, "V": V,
            "layers": L, "2 layers": 2 * L,
        }  # fmt: skip
        return sizes if counted == B * T else sizes | {"counted targets": counted}


# The gradients of all parameters.
PARAMETERS = [what for what in OPERATIONS if what.startswith("grad.") and what.endswith((".weight", ".bias"))]


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


def rounded(x, bits):
    """x with that many significant bits."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)


def label(what):
    """The name of an operation in a sentence."""
    named = {
        "embd": "embedding",
        "grad.x": "the gradient of a block's input",
        "grad.last": "the gradient of the last block's output",
    }
    return named.get(what) or (f"the gradient of {what[5:]}" if what.startswith("grad.") else what)
