"""llm.c's debug state, read and written: logits, loss and gradients, as its PyTorch twin hands them to the C code."""

import math
import re
from pathlib import Path

import numpy as np

from minigpt2.storage.files import atomic_write
from minigpt2.storage.llm_c import MULTIPLE, names_in_order, stored
from minigpt2.verification.names import place

MAGIC, VERSION = 20240327, 2  # the numbers with which a file begins; version 2 has a padded vocabulary
PARAMETER = re.compile(r"(h\.\d+\..+|wte|wpe|ln_f|lm_head)\.(weight|bias)")


def read_debug_state(path, config):
    """The contents of a file that llm.c's train_gpt2.py wrote with ``write_state``.

    It holds a header of 256 int32 (magic number, version, B, T), then ids and targets, (B, T) int32 each;
    logits (B, T, V), the loss and the parameters' gradients as float32. The gradients come one kind after
    another, each for all blocks, with weights (out, in) and the rows of wte padded to a multiple of 128.

    config: the model's, since the header does not say its size
    returns {"ids", "targets", "outputs": {"logits", "loss"}, "gradients": dotted name -> array}.
    raises: FileNotFoundError; ValueError, naming the file, when it is not such a file, is cut short, or does
        not fit the model.
    """
    return _read(path, config.parameter_shapes())


def debug_state_as_trace(path, ours):
    """The same as a trace: ids, targets, logits, loss, and "grad." with the name of each parameter.

    ours: a trace that holds the parameters or their gradients: the file itself does not say how large the model is
    raises: as ``read_debug_state``; ValueError, too, when ours holds neither.
    """
    plain = {name.removeprefix("grad."): tensor.shape for name, tensor in ours.items()}
    if not {"wte.weight", "wpe.weight", "ln_f.bias"} <= plain.keys():
        raise ValueError(f"{path} is a debug state of llm.c: ours needs gradients, `minigpt2 trace --backward`")
    shapes = {name: shape for name, shape in plain.items() if PARAMETER.fullmatch(name)}
    state = _read(path, dict(sorted(shapes.items(), key=lambda item: place(item[0]))))
    gradients = {f"grad.{name}": gradient for name, gradient in state["gradients"].items()}
    tensors = {"ids": state["ids"], "targets": state["targets"], **state["outputs"], **gradients}
    return {name: np.array(tensor) for name, tensor in tensors.items()}


def write_debug_state(path, tensors):
    """Write a trace with gradients as llm.c's train_gpt2.py writes it, for llm.c's test_gpt2.c to compare with.

    tensors: as ``trace`` returns them; of a model whose output layer is the token embedding
    raises: ValueError, and nothing is written, when a tensor is missing or a target does not count, which llm.c does
        not know; OSError as the system reports it.
    """
    shapes = {name[5:]: tensor.shape for name, tensor in tensors.items() if name.startswith("grad.")}
    shapes = {name: shape for name, shape in shapes.items() if PARAMETER.fullmatch(name)}
    if not {"wte.weight", "wpe.weight"} <= shapes.keys() or "lm_head.weight" in shapes:
        raise ValueError(f"{path}: a debug state holds gradients (--backward) of a model with a tied output layer")
    ids, targets = tensors["ids"], tensors["targets"]
    if (targets < 0).any():
        raise ValueError(f"{path}: llm.c counts every target, and here some do not count; give --targets for all")
    header = np.zeros(256, "<i4")
    header[:4] = MAGIC, VERSION, *ids.shape
    names = names_in_order(dict(sorted(shapes.items(), key=lambda item: place(item[0]))))
    parts = [ids.astype("<i4"), targets.astype("<i4"), tensors["logits"], tensors["loss"]]
    parts += [stored(name, tensors[f"grad.{name}"]) for name in names]
    with atomic_write(path) as file:
        file.write(header.tobytes())
        for part in parts:
            file.write(np.ascontiguousarray(part, part.dtype if part.dtype.kind == "i" else "<f4").tobytes())


def _read(path, shapes):
    """``read_debug_state`` with the shapes of all parameters."""
    path = Path(path)
    size = path.stat().st_size
    header = np.fromfile(path, "<i4", 256)
    if len(header) < 256 or header[0] != MAGIC:
        raise ValueError(f"{path} is not a debug state of llm.c: it should begin with the number {MAGIC}")
    if header[1] != VERSION:
        raise ValueError(f"{path} is a debug state of version {header[1]}, expected 2 (with padded vocabulary)")
    B, T = (int(number) for number in header[2:4])
    if B < 1 or not 1 <= T <= shapes["wpe.weight"][0]:
        raise ValueError(f"{path} says B={B}, T={T}; the model takes 1 ... {shapes['wpe.weight'][0]} tokens")

    V, C = shapes["wte.weight"]
    shapes = shapes | {"wte.weight": (V + -V % MULTIPLE, C)}
    names, logits = names_in_order(shapes), B * T * V
    expected = 1024 + 8 * B * T + 4 * (logits + 1 + sum(math.prod(shapes[name]) for name in names))
    if size != expected:
        raise ValueError(
            f"{path} has {size:,} bytes, but a state of B={B}, T={T} for this model has {expected:,}: "
            "it is cut short, or was made with other weights"
        )

    ids, targets = np.fromfile(path, "<i4", 2 * B * T, offset=1024).reshape(2, B, T)
    numbers = np.memmap(path, "<f4", mode="r", offset=1024 + 8 * B * T)
    outputs = {"logits": numbers[:logits].reshape(B, T, -1), "loss": numbers[logits]}
    gradients, start = {}, logits + 1
    for name in names:
        shape, stop = shapes[name], start + math.prod(shapes[name])
        stored_transposed = name.startswith("h.") and len(shape) == 2
        values = numbers[start:stop].reshape(shape[::-1] if stored_transposed else shape)
        gradients[name] = values.T if stored_transposed else values
        start = stop
    gradients["wte.weight"] = gradients["wte.weight"][:V]
    return {"ids": ids, "targets": targets, "outputs": outputs, "gradients": gradients}
