"""Checkpoints of other programs, read for ``minigpt2 convert``: tensors under the names that they have there.

    safetensors     by ourselves
    PyTorch         by torch.load(weights_only=True), which makes tensors and plain values and executes nothing
    llm.c           a header and the numbers, by NumPy
    TensorFlow      by tensorflow's own reader

Nothing is judged here but whether a file is what it seems to be; what its tensors mean is ``conversion``'s to find.
"""

import math
import os
import re
import reprlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minigpt2.storage import checkpoint, files

SIZES = "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "n_embd", "hidden_size", "block_size"
STATE_DICTS = ("model", "state_dict", "model_state_dict", "module")  # where a checkpoint usually has its parameters
HEADS_OF_MINGPT = {  # the sizes that minGPT knows by name
    "openai-gpt": 12, "gpt2": 12, "gpt2-medium": 16, "gpt2-large": 20, "gpt2-xl": 25, "gopher-44m": 16, "gpt-mini": 6,
    "gpt-micro": 4, "gpt-nano": 3,
}  # fmt: skip


@dataclass
class Foreign:
    """What a checkpoint holds.

    kind: what it is, in words; reader: what has read it, in words
    folder: where its configuration and tokenizer may be
    tensors: name in the file -> array
    values: what the checkpoint itself says about the model; beside: what config.json or hparams.json says, in the same
        folder; both under the names that they have there
    """

    kind: str
    reader: str
    folder: Path
    tensors: dict[str, np.ndarray]
    values: dict = field(default_factory=dict)
    beside: dict = field(default_factory=dict)


def read_foreign(source):
    """Read a checkpoint.

    source: a file, the prefix of a TensorFlow checkpoint's files, or a folder that holds one checkpoint
    returns Foreign.
    raises: FileNotFoundError; ValueError, naming the file, when it is damaged, holds more than tensors and plain values
        or is none of the formats, or when a folder holds several; ValueError, too, when torch or tensorflow is missing.
    """
    path = Path(source)
    if path.is_dir():
        path = _checkpoint_in(path)
    elif not path.exists() and not Path(f"{path}.index").is_file():
        raise FileNotFoundError(f"there is no {path}: give a checkpoint's file or folder")
    if path.suffix == ".safetensors" or path.name == checkpoint.INDEX:
        return _read_safetensors(path)
    if Path(f"{path}.index").is_file():
        return _read_tensorflow(path)
    if match := checkpoint.OF_TENSORFLOW.fullmatch(path.name):
        return _read_tensorflow(path.with_name(match[1]))
    if checkpoint.is_llm_c(path):
        return _read_llm_c(path)
    if path.suffix in checkpoint.PICKLES or path.name.endswith(".bin.index.json") or _is_of_torch(path):
        return _read_torch(path)
    raise ValueError(
        f"{path} is in a format that cannot be read: expected a folder, or a file that ends in .safetensors, "
        f"{', '.join(checkpoint.PICKLES)}; save the model as one of these with the program that wrote it"
    )


def _checkpoint_in(folder):
    """The one checkpoint in a folder: a file, or the prefix of TensorFlow's."""
    for name in (checkpoint.WEIGHTS, checkpoint.INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json"):
        if os.path.lexists(folder / name):
            return folder / name
    if prefixes := {path.with_suffix("") for path in folder.glob("*.index")}:
        return _latest(folder, prefixes)
    found = [
        path
        for path in checkpoint.other_formats(folder)
        if path.suffix in (".safetensors", *checkpoint.PICKLES) and not checkpoint.BESIDE_WEIGHTS.match(path.name)
    ]
    if len(found) > 1:
        raise ValueError(f"{folder} holds {', '.join(path.name for path in found[:9])}: give the path of one of them")
    if not found:
        hint = checkpoint.instead(folder) or "; give the folder or the file that has the weights"
        raise FileNotFoundError(f"{folder} holds no checkpoint of a kind that can be read{hint}")
    return found[0]


def _latest(folder, prefixes):
    """The newest of TensorFlow's checkpoints in a folder: the one that its file ``checkpoint`` names."""
    if len(prefixes) > 1 and (folder / "checkpoint").is_file():
        text = files.read_text(folder / "checkpoint", files.MAX_CONFIG)
        if match := re.search(r'^model_checkpoint_path: "(?:[^"]*[\\/])?([^"\\/]+)"', text, flags=re.M):
            prefixes = prefixes & {folder / match[1]}
    if len(prefixes) != 1:
        raise ValueError(f"{folder} holds several checkpoints of TensorFlow: give one, such as {folder / 'model-1000'}")
    return prefixes.pop()


def _read_safetensors(path):
    shards = checkpoint.weight_files(path.parent) if path.name == checkpoint.INDEX else [path]
    tensors = {}
    for shard in shards:
        tensors |= checkpoint.read_tensors(shard)[0]
    return Foreign("a safetensors file", "minigpt2", path.parent, tensors, {}, _configuration(path.parent))


# ------------------------------------------------------------------------------------------------ PyTorch


def _read_torch(path):
    torch = _torch(path)
    of_index = path.name.endswith(".index.json")
    content, shards = {}, checkpoint.shard_names(path.parent, path.name, "bin") if of_index else [path.name]
    for part in (path.with_name(name) for name in shards):
        files.check_file(part)
        loaded = _load(torch, part)
        if not isinstance(loaded, dict):
            raise ValueError(f"{part} holds {type(loaded).__name__}, expected a state dict: names and tensors")
        content |= loaded
    state = _state_dict(torch, content, path)
    values = {} if state is content else _values(content)
    kind = "a checkpoint of nanoGPT" if "model_args" in content else "a checkpoint of PyTorch"
    return Foreign(
        kind, "torch.load(weights_only=True), which executes nothing in it", path.parent,
        {name: _as_numpy(torch, name, tensor) for name, tensor in state.items()}, values, _configuration(path.parent),
    )  # fmt: skip


def _is_of_torch(path):
    """Whether a file, whatever its name (PyTorch's own tutorial has .tar), begins as torch.save begins it."""
    if files.check_file(path) < 4:
        return False
    with open(path, "rb") as file:
        begin = file.read(4)
    return begin == b"PK\x03\x04" or begin[:2] == b"\x80\x02"  # an archive, or a pickle as before PyTorch 1.6


def _torch(path):
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"{path} is a pickle, which torch can read without executing it: pip install -e '.[reference]'"
        ) from None
    if tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2]) < (2, 6):
        raise ValueError(
            f"{path} is a pickle, and torch {torch.__version__} can be made to execute one even with "
            "weights_only=True: pip install -U 'torch>=2.6'"
        )
    return torch


def _load(torch, path):
    try:
        with warnings.catch_warnings(action="ignore"):  # what torch warns of, it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: a damaged file can be wrong in any place
        if isinstance(error, OSError) and error.filename:
            raise
        message = " ".join(str(error).split())
        if found := re.search(r"GLOBAL ([\w.]+)|(TorchScript)", message):
            raise ValueError(
                f"{path} holds more than tensors and plain values, {found[1] or 'a program of TorchScript'}, which "
                "torch.load(weights_only=True) refuses as it could execute code: where the checkpoint comes from, save "
                "the tensors alone, torch.save(model.state_dict(), 'weights.pt'), and convert those"
            ) from None
        reason = re.sub(".*WeightsUnpickler error: |Check the documentation.*", "", message)[:200].strip()
        raise ValueError(
            f"{path} is damaged or no checkpoint of PyTorch ({type(error).__name__}: {reason or 'it ends there'})"
        ) from None


def _state_dict(torch, content, path):
    """The dict from names to tensors that a checkpoint is or holds."""

    def tensors(value):
        return isinstance(value, dict) and bool(value) and all(torch.is_tensor(v) for v in value.values())

    if tensors(content):
        return content
    own = {name: value for name, value in content.items() if torch.is_tensor(value)}
    if any(str(name).endswith("wpe.weight") for name in own):  # a state dict to which numbers were added
        return own
    found = {key: value for key, value in content.items() if tensors(value)}
    for key in (*STATE_DICTS, *(found if len(found) == 1 else ())):
        if key in found:
            return found[key]
    keys = ", ".join(reprlib.repr(key) for key in list(content)[:9])
    raise ValueError(
        f"{path} holds {keys}, and {'several of these are state dicts' if found else 'none of these is a state dict'}: "
        f"save the model's alone, torch.save(model.state_dict(), 'weights.pt'), and convert that"
    )


def _as_numpy(torch, name, tensor):
    try:
        return (tensor.detach().float() if tensor.is_floating_point() else tensor.detach()).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, quantised, without data, ...
        raise ValueError(f"{reprlib.repr(name)} cannot be read as an array: {error}") from None


def _values(content):
    """What a checkpoint says of its model: the first dict in it with a size, nanoGPT's model_args before all others."""
    inner = {key: value for key, value in content.items() if isinstance(value, dict) and "optim" not in str(key)}
    below = [value for values in inner.values() for value in values.values() if isinstance(value, dict)]
    for values in (inner.get("model_args", {}), *inner.values(), content, *below):
        if any(type(values.get(name)) is int for name in SIZES):
            return {name: value for name, value in values.items() if isinstance(name, str)}
    return {}


def _configuration(folder):
    """The contents of the config.json in a folder: Hugging Face's, or the part of minGPT's that is about the model."""
    path = folder / checkpoint.CONFIG
    if not path.is_file():
        return {}
    values = files.read_json(path, files.MAX_CONFIG)
    if "model_type" in values or not isinstance(values.get("model"), dict):
        return values
    values = dict(values["model"])
    if values.get("n_head") is None:
        values["n_head"] = HEADS_OF_MINGPT.get(str(values.get("model_type")))
    return {name: value for name, value in values.items() if name != "model_type" and value is not None}


# -------------------------------------------------------------------------------------------------- llm.c


def _read_llm_c(path):
    """The weights that llm.c's train_gpt2 writes: a header of 256 int32, then one kind of tensor after another.

    Matrices are (out, in); wte has more rows than there are tokens, which llm.c itself never reads.
    """
    header = np.fromfile(path, "<i4", 256)
    if len(header) < 256 or header[1] not in (3, 5):
        raise ValueError(f"{path} is a model of llm.c, but not of version 3 (float32) or 5 (bfloat16), with a padded "
                         "vocabulary: write it again with today's llm.c")  # fmt: skip
    P, V, L, H, C, padded = (int(number) for number in header[2:8])
    if min(P, V, L, H, C) < 1 or padded < V:
        raise ValueError(f"{path} is damaged: its header has sizes below 1, or fewer rows than tokens")
    shapes = [("wte.weight", (padded, C)), ("wpe.weight", (P, C))]
    for kind, *shape in (
        ("ln_1.weight", C), ("ln_1.bias", C), ("attn.c_attn.weight", 3 * C, C), ("attn.c_attn.bias", 3 * C),
        ("attn.c_proj.weight", C, C), ("attn.c_proj.bias", C), ("ln_2.weight", C), ("ln_2.bias", C),
        ("mlp.c_fc.weight", 4 * C, C), ("mlp.c_fc.bias", 4 * C), ("mlp.c_proj.weight", C, 4 * C),
        ("mlp.c_proj.bias", C),
    ):  # fmt: skip
        shapes.append((kind, (L, *shape)))
    shapes += [("ln_f.weight", (C,)), ("ln_f.bias", (C,))]

    dtype = np.dtype("<f4") if header[1] == 3 else checkpoint.BFLOAT16
    size, expected = path.stat().st_size, 1024 + dtype.itemsize * sum(math.prod(shape) for _, shape in shapes)
    if size != expected:
        raise ValueError(f"{path} has {size:,} bytes, but its header asks for {expected:,}: it is cut short or damaged")
    numbers = checkpoint.decode(np.memmap(path, dtype, mode="r", offset=1024))
    tensors, start = {}, 0
    for name, shape in shapes:
        stop = start + math.prod(shape)
        tensor, start = numbers[start:stop].reshape(shape), stop
        layers = {f"h.{layer}.{name}": part for layer, part in enumerate(tensor)}
        tensors |= {name: tensor} if name.startswith(("wte", "wpe", "ln_f")) else layers
    tensors["wte.weight"] = tensors["wte.weight"][:V]
    return Foreign("a model of llm.c", "minigpt2", path.parent, tensors, {"n_head": H, "vocab_size": V})


# --------------------------------------------------------------------------------------------- TensorFlow


def _read_tensorflow(prefix):
    """OpenAI's original format, also gpt-2-simple's: model/h0/attn/c_attn/w (1, C, 3C), with hparams.json beside it."""
    try:
        import tensorflow
    except ImportError:
        raise ValueError(
            f"{prefix} is a checkpoint of TensorFlow, which only TensorFlow can read: pip install tensorflow"
        ) from None
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        stored = {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    except Exception as error:  # TensorFlow's own kinds
        raise ValueError(f"{prefix} is damaged or incomplete, says TensorFlow: {str(error)[:200]}") from None
    tensors = {}
    for name, tensor in stored.items():
        if not re.search(r"/Adam(_1)?$|^beta\d_power$|^global_step$", name):  # an optimizer's
            tensors[_name_of_tensorflow(name)] = tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor
    path = prefix.with_name("hparams.json")
    values = files.read_json(path, files.MAX_CONFIG) if path.is_file() else {}
    return Foreign("a checkpoint of TensorFlow", "tensorflow", prefix.parent, tensors, {}, values)


def _name_of_tensorflow(name):
    """model/h0/attn/c_attn/w -> h.0.attn.c_attn.weight; a name of another kind stays as it is."""
    *path, last = name.removeprefix("model/").split("/")
    leaf = {"w": ["weight"], "g": ["weight"], "b": ["bias"], "wte": ["wte", "weight"], "wpe": ["wpe", "weight"]}
    if not name.startswith("model/") or last not in leaf:
        return name
    return ".".join([*(re.sub(r"^h(\d+)$", r"h.\1", part) for part in path), *leaf[last]])
