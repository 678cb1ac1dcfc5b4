"""Write down what another GPT-2 computes, so that ``minigpt2 compare`` can read it.

    with minigpt2.verification.record(module) as theirs:          # PyTorch, and nothing else to write
        logits, loss = module(ids, targets)
        loss.backward()
    theirs.save("theirs.safetensors")

    theirs = minigpt2.verification.Recorder()                     # NumPy, JAX, tinygrad, MLX, ...
    theirs.tap("h.0.attn.probs", probs)                           # wherever there is something to write down
    theirs.save("theirs.safetensors")

The names in the file are those of the module; ``minigpt2.verification.names`` knows what they stand for.
"""

import json
import sys
import warnings
from contextlib import contextmanager

import numpy as np

from minigpt2.backend import to_host
from minigpt2.storage.checkpoint import BFLOAT16, decode, write_tensors
from minigpt2.verification.torch_hooks import TorchHooks, is_torch, on_gradient, torch_to_numpy
from minigpt2.version import __version__


class Recorder:
    """Named arrays of one pass, and their gradients where PyTorch computes them.

    notes: sentences about what could not be recorded as one would expect; they stand in the file as well
    """

    def __init__(self):
        self.notes = []
        self._arrays, self._steps = {}, 0
        self._hooks = None  # while ``record`` watches a module

    @property
    def tensors(self):
        """Dict from name to NumPy array; bfloat16 as float32."""
        return {name: decode(array) for name, array in self._arrays.items()}

    def tap(self, name, tensor):
        """Record a tensor under a name, and its gradient too if PyTorch computes one later.

        name:   one of ours, as ``h.0.attn.probs``, or any other that a map translates; inside a module of ``record``
            the block's number may be left out, ``attn.probs``, and a name that is not ours gets the module's in front
        tensor: anything that converts to NumPy, without its history; of a dict or a list every element is recorded,
            ``name.key`` and ``name.0``
        returns tensor, so that the call can stand within an expression.
        raises: TypeError when it does not convert; ValueError when the name was there already in this pass.
        """
        if isinstance(tensor, dict) or (isinstance(tensor, list | tuple) and not _is_numbers(tensor)):
            for key, part in tensor.items() if isinstance(tensor, dict) else enumerate(tensor):
                self.tap(f"{name}.{key}" if name else str(key), part)
            return tensor
        array = to_numpy(name, tensor)
        if self._hooks is not None:
            name = self._hooks.claim(name)
            if name is None:  # a validation pass beside the one that is recorded
                return tensor
        elif name in self._arrays:
            raise ValueError(f"tap: {name} was tapped already; a Recorder holds one pass, take a new one for the next")
        self._arrays[name] = array
        if is_torch(tensor):
            add = self._hooks.gradient_of_tap(name) if self._hooks else lambda g: self._add(f"grad.{name}", g)
            on_gradient(tensor, add)
        return tensor

    def step(self, optimizer, parameters=None):
        """Record what a PyTorch optimizer has just done, between ``optimizer.step()`` and ``zero_grad()``.

        The learning rates, the gradients as they stand there, which may be clipped, the moments of Adam or the momentum
        of SGD, and the parameters. After the first step the passes of a module are no longer recorded: the pass in the
        file is the one with which training began.

        optimizer: has ``state`` and ``param_groups``
        parameters: pairs of name and parameter; by default those of the module of ``record``
        raises: ValueError when there are neither.
        """
        if parameters is None:
            if self._hooks is None:
                raise ValueError("step: call it within `with record(module)`, or give model.named_parameters()")
            parameters = self._hooks.module.named_parameters()
        if self._hooks is not None:
            self._hooks.stepped, self._hooks.keeping = True, False
        self._steps += 1
        lead = f"step.{self._steps}."
        rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameter in parameters:
            if id(parameter) not in rates:
                continue  # frozen, or another optimizer's
            state = optimizer.state.get(parameter, {})
            self._arrays[f"{lead}lr"] = np.array(float(rates[id(parameter)]))
            for kind, tensor in (
                ("grad.", parameter.grad), ("m.", state.get("exp_avg", state.get("momentum_buffer"))),
                ("v.", state.get("exp_avg_sq")), ("", parameter),
            ):  # fmt: skip
                if tensor is not None:
                    self._arrays[f"{lead}{kind}{name}"] = to_numpy(name, tensor)

    def save(self, path):
        """Write all that was recorded as a safetensors file, atomically.

        raises: ValueError when nothing was recorded; OSError as the system reports it.
        """
        if not self._arrays:
            raise ValueError("save: nothing was recorded; run the module inside the block, or tap something")
        metadata = {"minigpt2": __version__, "recorded": "theirs"}
        write_tensors(path, self._arrays, metadata | ({"notes": json.dumps(self.notes)} if self.notes else {}))

    def _add(self, name, gradient):
        """A gradient; what backward adds in a second call is added here too."""
        array = torch_to_numpy(gradient)
        before = self._arrays.get(name)
        self._arrays[name] = array if before is None else decode(before) + decode(array)

    def _note(self, sentence):
        if sentence not in self.notes:
            self.notes.append(sentence)
            warnings.warn(sentence, stacklevel=2)


@contextmanager
def record(module):
    """Record what a PyTorch module computes within the block, to be used as ``with record(module) as theirs:``.

    Recorded are ``ids``, ``targets`` and ``loss`` where they can be told; the output ``{module}`` and the first input
    ``{module}.input`` of every submodule; functions called within one, ``{module}.softmax``, and their inputs; the
    parameters, as they were before the pass; and the gradients of all these, ``grad.{name}``, when backward runs in
    the block. Of several passes the last one is kept, but a pass without gradients never replaces one with them, and
    none does after ``theirs.step(optimizer)``.

    module: torch.nn.Module, also compiled or wrapped; it computes the same as ever, and keeps no hooks after the block
    returns Recorder, complete at the end of the block.
    raises: TypeError when it is no module.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"record: expected a torch.nn.Module, got {type(module).__name__}; Recorder().tap(name, array) takes arrays"
        )
    recorder = Recorder()
    recorder._hooks = TorchHooks(torch, module, recorder._arrays, recorder._add, recorder._note)
    try:
        with recorder._hooks.watching():
            yield recorder
    finally:
        recorder._hooks = None


def to_numpy(name, tensor):
    """A copy of an array of any library, as NumPy's; bfloat16 as 16-bit words of the dtype BFLOAT16.

    raises: TypeError, naming it, when it does not convert, or not to real numbers.
    """
    try:
        if is_torch(tensor):
            return torch_to_numpy(tensor)
        if callable(getattr(tensor, "numpy", None)) and not hasattr(tensor, "__array__"):
            tensor = tensor.numpy()  # tinygrad
        elif hasattr(tensor, "__dlpack__") and not hasattr(tensor, "__array__"):
            tensor = np.from_dlpack(tensor)
        array = np.array(to_host(tensor))
    except Exception as error:  # whatever another library raises
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}"
        raise TypeError(f"{name}: {type(tensor).__name__} does not convert to a NumPy array here ({reason})") from None
    if array.dtype.name == "bfloat16":  # of the package ml_dtypes, which JAX brings
        return array.view(np.uint16).astype("<u2").view(BFLOAT16)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected an array of real numbers, got {array.dtype}")
    return array


def _is_numbers(values):
    return bool(values) and all(isinstance(value, int | float) for value in values)
