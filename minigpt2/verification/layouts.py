"""How another implementation stores a tensor: every known layout of a name, and which of them theirs is in.

A layout is a line of axes, "B T HD": an axis of several letters is several axes in one. Theirs is in a layout if its
shape is that layout's, axes of size 1 apart. Where several fit, as (B, T, H, D) does for (B, H, T, D) when H = T, the
values decide, but for all layers together: a tensor that is wrong alone is not read in a way of its own.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from minigpt2.components.loss import IGNORED
from minigpt2.verification.names import place

# B batch, T time, S time of the keys, H heads, D head size, K the three of q, k and v, I inputs and O outputs of a
# linear layer, V vocabulary, P positions, E any other width. The first layout of a line is ours.
HEADS = ("BH T D", "B T H D", "B T HD", "BT H D", "BT HD", "T B H D", "T B HD", "T BH D", "H B T D")
LAYOUTS = {
    r"attn\.[qv]": ("B H T D", *HEADS, "BHTD", "BTHD"),
    r"attn\.k": ("B H T D", *HEADS, "BHTD", "BTHD", "B H D T", "BH D T", "BHDT"),
    r"attn\.(scores|probs)": ("B H T S", "BH T S", "H B T S", "BHTS"),
    r"attn\.heads": ("B T HD", "BT HD", "B T H D", "BT H D", "B H T D", *HEADS, "BTHD", "BHTD"),
    r"attn\.c_attn\.weight": (
        "I KHD", "KHD I", "K I HD", "K HD I", "K I H D", "K H I D", "K H D I", "I K HD", "I K H D", "IKHD", "KHDI",
    ),
    r"attn\.c_attn\.bias": ("KHD", "K HD", "K H D"),
    r"attn\.c_proj\.weight": ("HD O", "O HD", "H D O", "H O D", "O H D", "HDO", "OHD"),
    r"(wte|lm_head)\.weight": ("V E", "E V", "VE"),
    r"wpe\.weight": ("P E", "E P", "PE"),
    r"ln_\w\.weight|.*\.bias": ("E",),
    r".*\.weight": ("I O", "O I", "IO", "OI"),
    r"loss|lr|norm": ("",),
    r"logits": ("B T V", "BT V", "T B V", "BTV"),
    r"ids|targets": ("B T", "BT"),
    r".*": ("B T E", "BT E", "T B E", "BTE"),
}  # fmt: skip
PREFIX = r"^(step\.\d+\.)?((grad|clipped|m|v)\.)?(h\.\d+\.)?"
LINEAR = {"I KHD": "KHD", "HD O": "O", "I O": "O"}  # layouts of a linear layer's weight, and the letters of outputs
SPOKEN = {"K": "3", "S": "T", "E": "C", "I": "in", "O": "out"}
EXPLAINS = 0.1  # a reading whose error is larger, relative to ours, explains nothing
FOLLOWS = 1000  # times a reading's error: what is off by more was not computed from the tensor as it was read


@dataclass(frozen=True)
class Aligned:
    """One tensor of theirs, as ours is stored.

    note:    how theirs is stored, "" if like ours
    tensor:  theirs in the shape of ``ours``; None if there is no known way to read it
    problem: the sentence that says so, or None
    ours:    ours, or the part of it that theirs has
    """

    note: str
    tensor: np.ndarray | None
    problem: str | None
    ours: np.ndarray


@dataclass(frozen=True)
class _Reading:
    """A way to read a tensor: as in Aligned, and whether it takes a linear weight as (out, in)."""

    note: str
    tensor: np.ndarray
    ours: np.ndarray
    turned: bool | None = None


def align(ours, theirs):
    """Read the tensors of theirs in the shapes of ours, however they are stored.

    Linear weights have one orientation, (in, out) or (out, in), in all of theirs: that of most of those whose shape
    tells; if none does, the one that is closer for all together. Among other layouts of one shape the closest for
    all layers is taken; but if the shape is ours and what follows contradicts, theirs is taken as it is.

    ours:   dict from name to array, as ``minigpt2.trace`` returns it
    theirs: dict from our name to array of real numbers
    returns dict from each name that both have to Aligned.
    """
    common = sorted(ours.keys() & theirs.keys(), key=place)
    n_head = next((x.shape[1] for name, x in ours.items() if name.endswith("attn.q") and x.ndim == 4), 1)
    counted = ours["targets"] != IGNORED if "targets" in ours else np.zeros(0, bool)
    readings = {name: _readings(name, ours[name], theirs[name], n_head, counted) for name in common}
    _orient(readings)
    groups = {}
    for name in common:
        if readings[name]:
            kind = re.sub(r"\bh\.\d+\.", "", name)
            groups.setdefault((kind, ours[name].shape, theirs[name].shape), []).append(name)
    taken = {name: _closest([readings[name] for name in group]) for group in groups.values() for name in group}
    chosen = {name: readings[name][number] for name, number in taken.items()}
    for group in groups.values():
        if taken[group[0]] and not readings[group[0]][0].note and _contradicted(group, chosen, common):
            chosen |= {name: readings[name][0] for name in group}
    return {name: _aligned(ours[name], theirs[name], chosen.get(name)) for name in common}


def _aligned(ours, theirs, reading):
    if reading is not None:
        return Aligned(reading.note, reading.tensor, None, reading.ours)
    problem = f"ours has shape {ours.shape}, theirs {theirs.shape}, which is no known way to store it"
    return Aligned("", None, problem, ours)


# What fits by its shape.


def _readings(name, ours, theirs, n_head, counted):
    """The ways to read theirs by its shape, ours first."""
    kind = re.sub(PREFIX, "", name)
    if not theirs.size and ours.size:
        return []
    if kind == "targets" and (theirs < 0).any():
        theirs = np.where(theirs < 0, IGNORED, theirs)  # nanoGPT has -1 where none counts
    if kind == "loss" and not ours.ndim and theirs.size > 1:
        return _losses(name, ours, theirs, counted)
    layouts = next(layouts for pattern, layouts in LAYOUTS.items() if re.fullmatch(pattern, kind))
    axes = layouts[0].split()
    if len(axes) != ours.ndim or not ours.size:
        same = _without_ones(theirs.shape) == _without_ones(ours.shape)
        note = "" if theirs.ndim == ours.ndim else str(theirs.shape)
        return [_Reading(note, theirs.reshape(ours.shape), ours)] if same else []
    sizes = _letters(axes, ours.shape, n_head)
    whole = _fitting(layouts, sizes, {}, ours, theirs)
    parts = [] if whole else _parts(kind, sizes, theirs.shape)
    return whole + [way for part in parts for way in _fitting(layouts, sizes, part, ours, theirs)]


def _letters(axes, shape, n_head):
    """Dict from letter to size, of our layout; if the heads are not known there is one."""
    sizes = {}
    for axis, size in zip(axes, shape, strict=True):
        if len(axis) > 1:
            sizes["K"] = 3 if "K" in axis else 1
            sizes["H"] = 1 if size % (sizes["K"] * n_head) else n_head
            sizes["D"] = size // (sizes["K"] * sizes["H"])
        else:
            sizes[axis] = size
    return sizes


def _parts(kind, sizes, shape):
    """Dicts from letter to the slice of that axis of ours that theirs may have, or that goes beyond ours."""
    if kind == "logits":
        wide = [{}] + [{"V": slice(0, size)} for size in dict.fromkeys(shape) if size > sizes["V"]]
        short = [{}, {"T": slice(0, sizes["T"] - 1)}, {"T": slice(-1, None)}]
        return [vocabulary | time for vocabulary in wide for time in short]
    if kind in ("wte.weight", "lm_head.weight"):
        return [{"V": slice(0, size)} for size in dict.fromkeys(shape) if size > sizes["V"]]
    if kind == "wpe.weight":
        return [{"P": slice(0, size)} for size in dict.fromkeys(shape)]
    return [{"B": slice(0, 1)}] if kind == "embd" else []


def _fitting(layouts, sizes, part, ours, theirs):
    """The readings of theirs where it has this part of ours."""
    canonical, found, seen = layouts[0].replace(" ", ""), [], set()
    sizes = sizes | {letter: 1 if cut.stop is None else cut.stop for letter, cut in part.items()}
    cuts = tuple(part.get(axis, slice(None)) for axis in layouts[0].split())
    ours = ours[cuts]
    for layout in layouts:
        shape = [math.prod(sizes[letter] for letter in axis) for axis in layout.split()]
        letters = layout.replace(" ", "")
        order = "".join(letter for letter in letters if sizes[letter] != 1)
        if _without_ones(shape) != _without_ones(theirs.shape) or order in seen:
            continue
        seen.add(order)
        tensor = theirs.reshape([sizes[letter] for letter in letters])
        tensor = tensor.transpose([letters.index(letter) for letter in canonical])
        shape = [math.prod(sizes[letter] for letter in axis) for axis in layouts[0].split()]
        tensor = tensor.reshape(shape)[tuple(slice(size) for size in ours.shape)]
        as_ours = layout == layouts[0] and theirs.ndim == ours.ndim
        notes = ["" if as_ours else _spoken(layout, sizes, theirs), *_cut_notes(part, sizes, ours)]
        outputs = LINEAR.get(layouts[0])
        turned = None if not outputs or not order else order[-1] not in outputs
        found.append(_Reading(", ".join(note for note in notes if note), tensor, ours, turned))
    return found


def _losses(name, ours, theirs, counted):
    """A loss per position: their mean, of the counted ones; and its gradient, which is their sum."""
    if theirs.size not in (counted.size, counted.sum()):
        return []
    if name.startswith("grad."):
        return [_Reading("sum of the positions", theirs.sum(dtype=np.float64), ours)]
    losses = theirs.ravel()[counted.ravel()] if theirs.size == counted.size else theirs
    return [_Reading("mean of the positions", losses.mean(dtype=np.float64), ours)]


def _spoken(layout, sizes, theirs):
    """A layout as a note: "transposed", "(B*T, C)", or the shape where further axes have size 1."""
    if layout in ("O I", "KHD I", "O HD", "E V", "E P"):
        return "transposed"
    every = layout.split()
    for axes in every, [axis for axis in every if any(sizes[letter] != 1 for letter in axis)]:
        if len(axes) == theirs.ndim:
            words = ["*".join(SPOKEN.get(letter, letter) for letter in axis.replace("HD", "C")) for axis in axes]
            return f"({', '.join(words)}{',' if len(words) == 1 else ''})"
    return str(theirs.shape)


def _cut_notes(part, sizes, ours):
    for letter, cut in part.items():
        if letter == "V":
            yield "padded"
        elif letter == "B":
            yield "the first sequence"
        elif cut.start:
            yield "the last position"
        else:
            yield f"the first {min(sizes[letter], ours.shape[-2])} {'positions' if letter == 'T' else 'rows'}"


def _without_ones(shape):
    return [size for size in shape if size != 1]


# Which of several it is.


def _orient(readings):
    """Leave the linear weights in one orientation, where their shapes do not say."""
    linear = [ways for ways in readings.values() if ways and ways[0].turned is not None]
    told = [ways[0].turned for ways in linear if len({way.turned for way in ways}) == 1]
    open_ways = [ways for ways in linear if len({way.turned for way in ways}) == 2]
    turned = sum(told) > len(told) / 2
    if open_ways and 2 * sum(told) == len(told):  # as when there are none
        sides = False, True
        errors = [[min(_error(way) for way in ways if way.turned is side) for side in sides] for ways in open_ways]
        turned = bool(_best(errors))
    for ways in open_ways:
        ways[:] = [way for way in ways if way.turned is turned]


def _closest(group):
    """The number of the reading that explains a group of tensors best."""
    return _best([[_error(way) for way in ways] for ways in group]) if len(group[0]) > 1 else 0


def _best(errors):
    """The number of the reading that explains most tensors, the first of equals unless another is far closer.

    errors: (N, R), of R readings of N tensors
    """
    errors = np.array(errors)
    explained = ((errors < EXPLAINS) & (errors <= FOLLOWS * errors.min(axis=1, keepdims=True) + 1e-6)).sum(axis=0)
    total = np.where(explained == explained.max(), errors.sum(axis=0), np.inf)
    first, best = int(explained.argmax()), int(total.argmin())
    return best if total[best] < total[first] / FOLLOWS else first


def _contradicted(group, chosen, common):
    """Whether what was computed from a tensor is off by more than a factor, though the tensor as read is right."""
    for name in group:
        error, later = _error(chosen[name]), common[common.index(name) + 1 :]
        after = next((other for other in later if other in chosen and _follows(other, name)), None)
        if error < EXPLAINS and after:
            return _error(chosen[after], after.endswith("attn.scores"), scaled=True) > FOLLOWS * error + 1e-6
    return False


def _follows(other, name):
    """Whether a tensor that comes later is computed from this one: no weight, nor q, k and v from each other."""
    grad = name.startswith("grad.")
    if other.startswith("grad.") != grad or (not grad and other.endswith((".weight", ".bias"))):
        return False
    if not name.endswith(("attn.q", "attn.k", "attn.v")):
        return True
    beside = ("attn.q", "attn.k", "attn.v") + (("attn.scores", "attn.probs") if name.endswith("attn.v") else ())
    return not other.endswith(beside)


def _error(way, masked=False, scaled=False):
    """How far a reading, or its best multiple, is from ours, relative to ours: 1 for all as wrong as zeros."""
    ours, theirs = way.ours.astype(np.float64), way.tensor.astype(np.float64)
    if masked:  # scores: anything may stand above the diagonal
        ours, theirs = np.tril(ours), np.tril(theirs)
    ours, theirs = ours.ravel(), theirs.ravel()
    with np.errstate(invalid="ignore", over="ignore"):
        if scaled and theirs @ theirs:
            theirs = theirs * ((ours @ theirs) / (theirs @ theirs))
        size, off = np.linalg.norm(ours), np.linalg.norm(theirs - ours)
    return float(off / size) if off < size else float(off > 0)
