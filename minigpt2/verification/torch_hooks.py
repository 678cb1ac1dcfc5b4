"""What happens inside a PyTorch module: hooks on its submodules, and on the functions called within them.

PyTorch is never imported here: whoever has a module has imported it.
"""

import contextlib
import inspect
import re
import sys
import weakref

import numpy as np

from minigpt2.components.loss import IGNORED
from minigpt2.storage.checkpoint import BFLOAT16
from minigpt2.verification.names import BLOCK, is_ours

# Functions whose output and inputs are recorded, with the names of those inputs.
PRODUCTS = {"matmul", "__matmul__", "bmm", "baddbmm"}  # where both factors have three axes or more: q k^T and probs v
FUNCTIONS = {
    "softmax": ("input",), "log_softmax": ("input",), "scaled_dot_product_attention": ("query", "key", "value"),
    "gelu": ("input",), "relu": ("input",), "silu": ("input",), "layer_norm": ("input",), "linear": ("input",),
    "cross_entropy": ("input", "target"), "nll_loss": ("input", "target"), "matmul": ("input", "other"),
}  # fmt: skip
WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
TARGETS = {"targets", "target", "tgt", "labels", "label", "y", "yb"}  # arguments of a model's forward
NO_IDS = re.compile(r"mask|pos|type|past|cache|len|label|target")


def is_torch(tensor):
    """Whether it is a tensor of PyTorch's."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(tensor, torch.Tensor)


def torch_to_numpy(tensor):
    """A copy of a tensor as a NumPy array; bfloat16 as 16-bit words of the dtype BFLOAT16."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.view(sys.modules["torch"].int16).numpy().view("<u2").astype("<u2").view(BFLOAT16)
    return np.array(tensor.numpy())


def on_gradient(tensor, add):
    """Call ``add(gradient)`` when backward reaches a tensor; what changes it in place later does not matter."""
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: add(gradient) if gradient is not None else None)


class TorchHooks:
    """The hooks of ``minigpt2.verification.record``, which write into a Recorder.

    module: wrappers are taken off; arrays: dict that is filled; add: (name, gradient) -> None; note: (sentence) -> None
    """

    def __init__(self, torch, module, arrays, add, note):
        self.torch, self.module = torch, unwrapped(torch, module)
        self.arrays, self.add, self.note = arrays, add, note
        self.names = {}  # module -> its names: a module that stands in several places has several
        for name, part in self.module.named_modules(remove_duplicate=False):
            self.names.setdefault(part, []).append(name)
        self.stack = []  # (module, its name in this call) of the modules that are running
        self.passes = self.graded_passes = 0  # calls of the whole module
        self.keeping = True  # whether the current pass is recorded
        self.graded = False  # whether the recorded pass keeps gradients
        self.open = False
        self.stepped = False  # whether the optimizer has moved the weights: then the recording of the pass is over
        self.versions = None  # of the parameters that were copied
        self.ignored = IGNORED
        self.by_hand, self.before = set(), set()  # names tapped in this pass, and before the first
        self._forget()

    def _forget(self):
        """Begin a pass: only what was tapped before the first one, and the parameters, stays."""
        for name in list(self.arrays):
            if name.removeprefix("grad.") not in self.before and name not in getattr(self, "parameters", ()):
                del self.arrays[name]
        self.by_hand = set(self.before)
        self.calls = {}  # name -> how often it was given in this pass
        self.seen = {}  # id of a tensor -> (weak reference, version, array, its names): one copy of each
        self.scalars = []  # names of single numbers among the outputs of the whole module

    # ------------------------------------------------------------------------------------------- the block

    @contextlib.contextmanager
    def watching(self):
        """Put up all hooks, and take them down in any case."""
        torch, handles = self.torch, []
        self.parameters = {}
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: [handle.remove() for handle in handles])
            if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
                stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code has no modules left
            for module in self.names:
                handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
                handles.append(module.register_forward_hook(self._leave, with_kwargs=True))
            for name, parameter in self.module.named_parameters():
                if parameter.requires_grad and hasattr(parameter, "register_post_accumulate_grad_hook"):
                    handles.append(parameter.register_post_accumulate_grad_hook(self._parameter_gradient(name)))
            stack.enter_context(function_mode(torch, self._called))
            self.open = True
            try:
                yield
                self._finish()
            finally:
                self.open = False

    def _finish(self):
        """What is known only at the end of the block."""
        if not self.passes:
            self._copy_parameters()
            if self.keeping and not self.seen:
                self.note("record: the module did not run inside the block")
        elif self.graded_passes > 1:
            self.note(
                f"record: the module ran {self.graded_passes} times with gradients inside the block; the activations "
                "are those of the last time, and the gradients of the parameters are summed over all"
            )
        elif not self.graded and self.passes > 1:
            self.note(f"record: the module ran {self.passes} times inside the block; the last time is recorded")
        for name in [*self.scalars, "backward.input", "cross_entropy", "nll_loss"]:
            if "loss" not in self.arrays and name in self.arrays and not self.arrays[name].ndim:
                for lead in "", "grad.":
                    if lead + name in self.arrays:
                        self.arrays[f"{lead}loss"] = self.arrays[lead + name]
        for name in "backward.input", "grad.backward.input":
            self.arrays.pop(name, None)
        self._targets()

    def _targets(self):
        """targets, of the loss if the module had none, and ours where they ignore another number than -100."""
        ids, flat = self.arrays.get("ids"), self.arrays.get("cross_entropy.target", self.arrays.get("nll_loss.target"))
        if "targets" not in self.arrays and ids is not None and flat is not None and flat.ndim < 3:
            rows, width = flat.size // max(1, ids.size // ids.shape[-1]), ids.shape[-1]
            if flat.size * width == rows * ids.size and rows in (width, width - 1):
                targets = flat.reshape(*ids.shape[:-1], rows)
                last = np.full_like(targets[..., :1], IGNORED)  # the logits of the last position were left out
                self.arrays["targets"] = targets if rows == width else np.concatenate([targets, last], -1)
        if "targets" in self.arrays and self.ignored != IGNORED:
            targets = self.arrays["targets"]
            self.arrays["targets"] = np.where(targets == self.ignored, IGNORED, targets)

    # --------------------------------------------------------------------------------------- the modules

    def _enter(self, module, arguments, keywords):
        if self._in_backward():
            return
        if module is self.module:
            self._begin(module, arguments, keywords)
        names = self.names[module]
        number = self.calls[module] = self.calls.get(module, 0) + 1
        name = names[number - 1] if number <= len(names) else f"{names[-1]}@{number - len(names) + 1}"
        self.stack.append((module, name))
        if name:
            inputs = (x for x in [*arguments, *keywords.values()] if self._is_float(x))
            self._record(f"{name}.input", next(inputs, None))

    def _leave(self, module, arguments, keywords, output):
        if self._in_backward() or not any(module is running for running, _ in self.stack):
            return
        while self.stack.pop()[0] is not module:
            pass  # left by an exception that was caught within
        name = self._name_of_call(module)
        if isinstance(output, dict):
            tensors = {key if not name else f"{name}.{key}": value for key, value in output.items()}
        elif isinstance(output, list | tuple):
            tensors = {f"{name}.output.{n}".lstrip("."): value for n, value in enumerate(output)}
            first = next((key for key, value in tensors.items() if self._is_float(value)), None)
            if name and first:  # the first one has the name of the module
                tensors = {name if key == first else key: value for key, value in tensors.items()}
        else:
            tensors = {name or "output": output}
        for key, value in tensors.items():
            if isinstance(value, list | tuple):
                for n, part in enumerate(value):
                    self._record(f"{key}.{n}", part)
            else:
                self._record(key, value)
                if not name and self._is_float(value) and not value.ndim:
                    self.scalars.append(key)

    def _name_of_call(self, module):
        names, number = self.names[module], self.calls[module]
        return names[number - 1] if number <= len(names) else f"{names[-1]}@{number - len(names) + 1}"

    def _begin(self, module, arguments, keywords):
        """The whole module is called: another pass."""
        self.stack.clear()
        if self.stepped:
            self.keeping = False
            return
        self.passes += 1
        graded = self.torch.is_grad_enabled()
        self.graded_passes += graded
        self.keeping = graded or not self.graded
        if not self.keeping:
            return
        if self.passes == 1:
            self.before = set(self.by_hand)
        self.graded = graded
        self._forget()
        self._copy_parameters()
        self._inputs(module, arguments, keywords)

    def _inputs(self, module, arguments, keywords):
        """ids and targets, by the names of the arguments."""
        try:
            given = inspect.signature(module.forward).bind(*arguments, **keywords).arguments
        except (TypeError, ValueError):
            given = {str(n): value for n, value in enumerate(arguments)} | keywords
        given = {**given, **given.get("kwargs", {})} if isinstance(given.get("kwargs"), dict) else given
        numbers = {name: x for name, x in given.items() if self._is_integer(x) and 0 < x.ndim < 3}
        ids = next((x for name, x in numbers.items() if not NO_IDS.search(name) and name not in TARGETS), None)
        name, targets = next(((name, x) for name, x in numbers.items() if name in TARGETS), (None, None))
        if ids is not None and "ids" not in self.by_hand:
            self.arrays["ids"] = torch_to_numpy(ids).astype("int64")
        if targets is not None and "targets" not in self.by_hand:
            targets = torch_to_numpy(targets).astype("int64")
            if name == "labels" and ids is not None and targets.shape == ids.shape:
                same = (targets == self.arrays["ids"]) | (targets == IGNORED)
                if same.all():  # as transformers takes them: the model shifts them itself
                    targets = np.concatenate([targets[..., 1:], np.full_like(targets[..., :1], IGNORED)], -1)
            self.arrays["targets"] = targets

    def _copy_parameters(self):
        """The parameters as they are now, before this pass changes anything."""
        parameters = dict(self.module.named_parameters())
        versions = [(id(p), None if p.is_inference() else p._version) for p in parameters.values()]
        if versions != self.versions:
            self.versions, self.parameters = versions, parameters
            for name, parameter in parameters.items():
                self._store(name, parameter)

    def _parameter_gradient(self, name):
        """A hook that keeps the gradient as soon as it is there: clipping and zero_grad may follow in the block."""

        def keep(parameter):
            if self.stepped:
                return
            self._store(f"grad.{name}", parameter.grad)

        return keep

    # ------------------------------------------------------------------------------------- the functions

    def _called(self, function, arguments, keywords, run):
        """A function of PyTorch's is called, by the module or outside it."""
        name = getattr(function, "__name__", "")
        if name == "backward":
            self._before_backward(arguments)
            return run()
        name = "matmul" if name in PRODUCTS else name
        if name not in FUNCTIONS or self._in_backward() or (self.stack and self._is_leaf(self.stack[-1][0])):
            return run()
        given = dict(zip(FUNCTIONS[name], arguments[1:] if function is self.torch.baddbmm else arguments, strict=False))
        given |= {key: keywords[key] for key in FUNCTIONS[name] if key in keywords}
        if name == "matmul" and not all(is_torch(x) and x.ndim > 2 for x in given.values()):
            return run()
        if name in ("cross_entropy", "nll_loss"):
            self.ignored = keywords.get("ignore_index", IGNORED)
        scope = self._numbered(f"{self.stack[-1][1]}.{name}".lstrip(".") if self.stack else name)
        for key, tensor in given.items():
            self._record(f"{scope}.{key}", tensor, key == "target")
        output = run()
        self._record(scope, output)
        return output

    def _before_backward(self, arguments):
        loss = arguments[0] if arguments else None
        if self.stepped:
            return
        if self.graded_passes < 2 and any(parameter.grad is not None for parameter in self.module.parameters()):
            self.note(
                "record: the parameters had gradients already when backward ran, so what is recorded is the sum; "
                "zero_grad() comes first"
            )
        if self._is_float(loss):
            self.arrays.pop("grad.backward.input", None)
            self._record("backward.input", loss)

    def _numbered(self, name):
        number = self.calls[name] = self.calls.get(name, 0) + 1
        return name if number == 1 else f"{name}@{number}"

    # ------------------------------------------------------------------------------------- the recording

    def claim(self, name):
        """The full name of what is tapped now, or None in a pass that is not kept; ValueError if it was there."""
        if not self.keeping:
            return None
        plain = name.removeprefix("grad.")
        where = self.stack[-1][1] if self.stack else ""
        layer = re.search(r"(?:^|\.)(\d+)(?:\.|@|$)", where)
        if layer and plain in BLOCK:
            name = name.replace(plain, f"h.{layer[1]}.{plain}")
        elif where and not is_ours(name):
            name = f"{where}.{name}"
        if name in self.by_hand:
            raise ValueError(f"tap: {name} was tapped already in this pass of the module; give each its own name")
        self.by_hand.add(name)
        return name

    def gradient_of_tap(self, name):
        """(gradient) -> None for a tapped tensor."""
        return self._adding([name])

    def _record(self, name, tensor, integers=False):
        """A tensor of the pass, under one more name; anything else is passed over."""
        if not (self.keeping or name == "backward.input") or name in self.by_hand:
            return
        if not self._is_float(tensor) and not (integers and self._is_integer(tensor)):
            return
        version = None if tensor.is_inference() else tensor._version
        reference, seen, array, names = self.seen.get(id(tensor), (None, None, None, None))
        if reference is not None and reference() is tensor and seen == version is not None:
            self.arrays[name] = array
            names.append(name)
        elif self._store(name, tensor):
            names = [name]
            self.seen[id(tensor)] = weakref.ref(tensor), version, self.arrays[name], names
            on_gradient(tensor, self._adding(names))

    def _adding(self, names):
        number = self.passes

        def add(gradient):
            if not self.open:
                self.note("record: backward ran after the block, so its gradients are not recorded; put it inside")
            elif number == self.passes or not self.keeping or names == ["backward.input"]:
                for name in names:
                    self.add(f"grad.{name}", gradient)

        return add

    def _store(self, name, tensor):
        """Copy a tensor; returns whether that was possible."""
        try:
            self.arrays[name] = torch_to_numpy(tensor)
        except Exception as error:  # of tensors without numbers: meta, fake, sparse, sharded, under vmap
            self.note(f"record: {name} could not be copied ({type(error).__name__}: {str(error)[:100]})")
            return False
        return True

    def _in_backward(self):
        """Whether backward is running, where activation checkpointing runs modules again."""
        return self.torch._C._current_graph_task_id() != -1

    def _is_leaf(self, module):
        """A module of PyTorch's own, whose function has the output of the module."""
        return type(module).__module__.startswith("torch.nn.") and not any(module.children())

    def _is_float(self, x):
        return is_torch(x) and x.is_floating_point()

    def _is_integer(self, x):
        return is_torch(x) and not x.is_floating_point() and not x.is_complex() and x.dtype != self.torch.bool


def function_mode(torch, called):
    """A TorchFunctionMode that hands every call to ``called(function, arguments, keywords, run)``."""

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):
            keywords = keywords or {}
            return called(function, arguments, keywords, lambda: function(*arguments, **keywords))

    return Mode()


def unwrapped(torch, module):
    """The module within the wrappers that compile it or spread it over devices.

    raises: ValueError for what cannot be watched from one place.
    """
    while (kind := type(module).__name__) in WRAPPERS:
        if kind == "DataParallel" and len(module.device_ids) > 1:
            raise ValueError("record: DataParallel splits the batch over several devices; record and call its .module")
        if kind == "OptimizedModule" and not hasattr(torch.compiler, "set_stance"):
            raise ValueError("record: the module is compiled; record and call its ._orig_mod")
        module = getattr(module, WRAPPERS[kind])
    if isinstance(module, torch.jit.ScriptModule) or kind == "FullyShardedDataParallel":
        raise ValueError(f"record: the parts of a {kind} cannot be watched; record the module that it was made from")
    return module
