"""Models as llm.c reads them: a header of 256 int32, then one kind of tensor after another, each for all blocks."""

import numpy as np

from minigpt2.storage.checkpoint import LLM_C
from minigpt2.storage.files import atomic_write

MULTIPLE = 128  # the rows of wte are padded with zeros to such a number


def names_in_order(shapes):
    """The names of all parameters in the order of llm.c's files; shapes: dict from name to shape, of a tied model."""
    kinds = [name.removeprefix("h.0.") for name in shapes if name.startswith("h.0.")]
    layers = 1 + max((int(name.split(".")[1]) for name in shapes if name.startswith("h.")), default=-1)
    blocks = [f"h.{layer}.{kind}" for kind in kinds for layer in range(layers)]
    return ["wte.weight", "wpe.weight", *blocks, "ln_f.weight", "ln_f.bias"]


def stored(name, tensor):
    """A parameter, or its gradient, as llm.c has it: weights of blocks (out, in), wte with rows of zeros at the end."""
    if name.startswith("h."):
        return tensor.T
    return np.pad(tensor, ((0, -len(tensor) % MULTIPLE), (0, 0))) if name == "wte.weight" else tensor


def write_llm_c(path, config, parameters):
    """Write a model as the float32 file, version 3, that llm.c's train_gpt2.c reads and its train_gpt2.py writes.

    config: GPT2Config; parameters: dotted name -> array
    raises: ValueError, and nothing is written, for a model that llm.c has no room for; OSError as the system reports.
    """
    C, V = config.n_embd, config.vocab_size
    names, shapes = names_in_order(config.parameter_shapes()), config.parameter_shapes()
    if shapes.keys() != set(names) or shapes.get("h.0.mlp.c_fc.weight") != (C, 4 * C):
        raise ValueError("llm.c knows only models with a tied output layer and 4 n_embd inner channels")
    if config.layer_norm_epsilon != 1e-5:
        raise ValueError(f"llm.c's layer norms have an eps of 1e-5, those of the model {config.layer_norm_epsilon:g}")
    padded = V + -V % MULTIPLE
    header = np.zeros(256, "<i4")
    header[:8] = LLM_C, 3, config.n_positions, V, config.n_layer, config.n_head, C, padded
    with atomic_write(path) as file:
        file.write(header.tobytes())
        for name in names:
            file.write(np.ascontiguousarray(stored(name, parameters[name]), "<f4").tobytes())
