"""llm.c's debug state: the file to which its PyTorch twin writes logits, loss and gradients."""

import math
from pathlib import Path

import numpy as np


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
    path = Path(path)
    size = path.stat().st_size
    header = np.fromfile(path, "<i4", 256)
    if len(header) < 256 or header[0] != 20240327:
        raise ValueError(f"{path} is not a debug state of llm.c: it should begin with the number 20240327")
    if header[1] != 2:
        raise ValueError(f"{path} is a debug state of version {header[1]}, expected 2 (with padded vocabulary)")
    B, T = (int(number) for number in header[2:4])
    if B < 1 or not 1 <= T <= config.n_positions:
        raise ValueError(f"{path} says B={B}, T={T}; the model takes 1 ... {config.n_positions} tokens")

    shapes = config.parameter_shapes()
    shapes["wte.weight"] = (-(-config.vocab_size // 128) * 128, config.n_embd)
    kinds = [name.removeprefix("h.0.") for name in shapes if name.startswith("h.0.")]
    names = ["wte.weight", "wpe.weight"]
    names += [f"h.{i}.{kind}" for kind in kinds for i in range(config.n_layer)]
    names += ["ln_f.weight", "ln_f.bias"]
    logits = B * T * config.vocab_size
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
    gradients["wte.weight"] = gradients["wte.weight"][: config.vocab_size]
    return {"ids": ids, "targets": targets, "outputs": outputs, "gradients": gradients}
