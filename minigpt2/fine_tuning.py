"""Fine-tuning (notebook 3.3): the parameters of a trained model that change: all, some, or low-rank adapters.

Shapes: I inputs and O outputs of a weight, r rank.
"""

import math

import numpy as np

from minigpt2.backend import array_module
from minigpt2.components.lora import lora_backward, lora_forward
from minigpt2.parameters import allocate, allocate_like, check_writable, flatten, moved

TARGETS = ("attn.c_attn", "attn.c_proj")  # the weights that get an adapter, in every block


def trainable(params, freeze):
    """The parameters left to train when some are frozen.

    params: nested dict of arrays, or of anything else
    freeze: names of parameters, or of parts with everything in them: "wte", "h.0", "h.1.attn", "ln_f.bias"
    returns dict from dotted name to the array itself, for an optimizer.
    raises: ValueError for a name that matches nothing, and when nothing is left.
    """
    leaves = flatten(params)
    left = dict(leaves)
    for part in freeze:
        names = [name for name in leaves if f"{name}.".startswith(f"{part}.")]
        if not names:
            parts = dict.fromkeys(".".join(name.split(".")[: 2 if name.startswith("h.") else 1]) for name in leaves)
            raise ValueError(f"freeze: the model has no {part!r}; its parts are {', '.join(parts)}")
        for name in names:
            left.pop(name, None)
    if not left:
        raise ValueError("freeze: every parameter is frozen, so there is nothing to train")
    return left


def check_rank(rank, C):
    """Raise ValueError unless the rank of adapters is below the number of channels."""
    if not 1 <= rank < C:
        raise ValueError(f"LoRA: rank must be 1 ... {C - 1}, below the number of channels, got {rank}")


class LoRA:
    """Low-rank adapters beside the weights of attention; nothing else is trained.

    ``lora.params`` are the adapters, a nested dict; ``model.params`` always hold the merged weights.
    Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.
    """

    def __init__(self, model, rank, alpha, seed=0):
        """Adapters that change nothing yet.

            A ~ normal(0, 1 / sqrt(I)),  B = 0

        model: GPT2, whose current weights are frozen; rank: r, 1 or more; alpha: see ``lora_forward``
        seed:  for A
        raises: ValueError when the rank is not below the number of channels.
        """
        check_rank(rank, model.config.n_embd)
        leaves = flatten(model.params)
        names = [f"h.{layer}.{target}" for layer in range(model.config.n_layer) for target in TARGETS]
        self._model_params = model.params
        self.frozen = {name: leaves[f"{name}.weight"].copy() for name in names}
        self.alpha = alpha
        shapes = {}
        for name, (I, O) in ((name, weight.shape) for name, weight in self.frozen.items()):
            shapes |= {f"{name}.a": (I, rank), f"{name}.b": (rank, O)}
        adapters = allocate(shapes, leaves["wte.weight"].dtype, np)
        rng = np.random.default_rng(seed)
        for name, adapter in flatten(adapters).items():
            if name.endswith(".a"):
                rng.standard_normal(dtype=adapter.dtype, out=adapter)
                adapter *= 1.0 / math.sqrt(len(adapter))
            else:
                adapter[...] = 0.0
        self.params = moved(adapters, array_module(leaves["wte.weight"]))
        self.merge()

    def merge(self):
        """Write W + (alpha / r) A B into the model; needed after each change of the adapters."""
        self._caches = {}
        adapters, merged = flatten(self.params), flatten(self._model_params)
        check_writable({name: merged[f"{name}.weight"] for name in self.frozen}, "LoRA")
        for name, weight in self.frozen.items():
            pair = adapters[f"{name}.a"], adapters[f"{name}.b"]
            merged[f"{name}.weight"][...], self._caches[name] = lora_forward(weight, *pair, self.alpha)

    def state(self):
        """The arrays that ``restore`` needs, a dict by name: frozen weights and adapters."""
        frozen = {f"frozen.{name}": weight for name, weight in self.frozen.items()}
        return frozen | {f"adapter.{name}": adapter for name, adapter in flatten(self.params).items()}

    def restore(self, tensors):
        """Restore the frozen weights and adapters that ``state`` returned, and merge them."""
        for name, array in self.state().items():
            array[...] = array_module(array).asarray(tensors[name])
        self.merge()

    def grads(self, grads):
        """The adapters' gradients, nested like ``params``, from those of the merged model's parameters."""
        leaves = flatten(grads)
        adapters = allocate_like(self.params)
        out = flatten(adapters)
        for name, cache in self._caches.items():
            _, out[f"{name}.a"][...], out[f"{name}.b"][...] = lora_backward(leaves[f"{name}.weight"], cache)
        return adapters
