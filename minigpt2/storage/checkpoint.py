"""Checkpoints in the Hugging Face layout: a folder with ``config.json`` and ``model.safetensors``.

A safetensors file is 8 bytes with the length of a header, the header (JSON: every tensor's dtype, shape and
offset), and then the tensors' bytes, one after another. Nothing in it can be executed, unlike the pickles of
``pytorch_model.bin``. The ``safetensors`` library checks that a file is whole and its header consistent;
NumPy then reads a tensor, block by block, only when it is copied to its destination.

A file's claims cost nothing: memory is allocated only for tensors whose bytes exist. Files may be links, as in Hugging
Face's cache, but the names in an index cannot point outside its folder.

Source: https://huggingface.co/docs/safetensors
"""

import json
import math
import os
import re
import reprlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from minigpt2.backend import to_host
from minigpt2.shell import shell_line
from minigpt2.storage.files import MAX_CONFIG, atomic_write, check_file, made_folder, parse_json, read_json, write_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # large models: names the file ("shard") that holds each tensor

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
# What lies beside weights: from transformers, DeepSpeed, llm.c, nanoGPT and PEFT.
BESIDE_WEIGHTS = re.compile(
    r"optimizer|scheduler|scaler|training_args|rng_state|.*optim_states|state_\d+_|meta\.pkl|adapter_model\."
)
OF_TENSORFLOW = re.compile(r"(.+)\.(index|meta|data-\d+-of-\d+)")  # the files of the checkpoint \1
LLM_C = 20240326  # the number with which a model of llm.c begins

BLOCK = 2**18  # numbers read at a time
MAX_HEADER = 10_000_000  # bytes; the header of GPT-2 xl has 60,000
MAX_DIMENSIONS, MAX_BYTES = 32, 2**62  # in a NumPy array, even one without numbers, (0, 2**40)
MAX_FAULTS = 20  # listed in a message
SHOWN_NAMES = 5

# NumPy has no bfloat16 (the upper half of a float32); its 16-bit words travel under a dtype of their own.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])

DTYPES = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": BFLOAT16,
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}  # fmt: skip
CODES = {dtype: code for code, dtype in DTYPES.items()}

# Early checkpoints store the causal mask beside the weights. The full name matters: "ends in attn.bias"
# would also catch the bias of attn.c_attn.
MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")

# Parts that a compiler, a wrapper or the model's own class puts into a name; none of GPT-2's own names has them.
WRAPPERS = {
    "transformer", "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_fpw_module",
    "_checkpoint_wrapped_module",
}  # fmt: skip
HEAD = re.compile(r"((?:.+\.)?)((?:lm_head|head\.\d+)\.\w+)")  # an output layer, and what stands before it
ROWS = {"wte.weight": "vocab_size", "lm_head.weight": "vocab_size", "wpe.weight": "n_positions"}


# ---------------------------------------------------------------------------- reading the model's folder


def read_config(folder):
    """The JSON object in ``folder``'s ``config.json``.

    raises: FileNotFoundError when there is none; ValueError when it is not a JSON object, or when the folder holds a
        model in a format that is never read.
    """
    path = Path(folder) / CONFIG
    try:
        return read_json(path, MAX_CONFIG)
    except (FileNotFoundError, NotADirectoryError):
        _refuse_other_formats(folder)
        raise FileNotFoundError(
            f"no {CONFIG} in {folder}: expected a folder in Hugging Face layout, with {CONFIG} and {WEIGHTS}"
            f"{instead(folder)}"
        ) from None


def check_parameters(folder, shapes):
    """Check the weights in ``folder`` against the shapes they should have, before any memory is allocated for them.

    shapes: pairs of dotted name and shape, as in ``read_parameters``; no more are taken once it is clear that
        they do not fit, so that a configuration with a thousand million layers takes no time
    raises: as ``read_parameters``.
    """
    _fitting_tensors(folder, shapes)


def read_parameters(folder, out):
    """Fill ``out`` with the weights in ``folder``, tensor by tensor.

    The weights are in ``model.safetensors`` or in the shards that ``model.safetensors.index.json`` names, as
    float64, float32, float16 or bfloat16. Names may carry what wrappers put in front, see ``own_names``; the mask
    buffers of early checkpoints are ignored. Where the model ties ``lm_head.weight`` to ``wte.weight``, one of the two
    is enough, and both must hold the same.

    out: dotted name -> preallocated contiguous float array of the expected shape, e.g. ``h.0.attn.c_attn.bias``
        (3C,); with ``lm_head.weight`` (V, C) when the output layer is not tied.
    raises: FileNotFoundError when there are no weights; ValueError when a file is damaged, when tensors are
        missing, extra, misshapen or not floating-point (the first twenty are named, and ``out`` is unchanged),
        or when one holds NaN or infinity.
    """
    tensors = _fitting_tensors(folder, ((name, array.shape) for name, array in out.items()))
    tied_head = None if "lm_head.weight" in out else tensors.get("lm_head.weight")
    if tied_head is not None and not _equal(tied_head, tensors["wte.weight"]):
        raise ValueError(
            f"the weights in {folder} hold a separate lm_head.weight, but the model uses wte.weight "
            f'instead: set "tie_word_embeddings": false in {CONFIG}'
        )
    for name, array in out.items():
        if not array.flags.c_contiguous:
            raise ValueError(f"out: {name} is not contiguous, but it has to be filled as one row of numbers")
        flat = array.reshape(-1)
        for part, numbers in tensors[name].blocks():
            with np.errstate(over="ignore", invalid="ignore"):  # the next line finds what this ignores
                flat[part] = numbers
            if not np.isfinite(flat[part]).all():
                raise ValueError(f"{name} in {folder} holds NaN or infinity: the weights are useless")


def own_names(names):
    """What GPT-2 calls each tensor of a file: its name there without what wrappers have put before it or into it.

    What stands before ``wpe.weight``, which every GPT-2 has once, stands before all of them; an output layer may be
    further out.

    names: those in the file
    returns dict from each name to the parameter's own; a name without the common prefix stays as it is.
    """
    short = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in names}
    prefixes = {name.removesuffix("wpe.weight") for name in short.values() if f".{name}".endswith(".wpe.weight")}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    own = {}
    for name, plain in short.items():
        head = HEAD.fullmatch(plain)
        if head and prefix.startswith(head[1]):
            own[name] = head[2]
        else:
            own[name] = plain.removeprefix(prefix)
    return own


def named_as_ours(tensors):
    """Tensors under GPT-2's own names, without mask buffers; one that stands for two tied ones under both names.

    tensors: pairs of the name in the file and anything
    returns dict from own name to the same thing, and a list with a fault for each name that occurs twice.
    """
    own = own_names(name for name, _ in tensors)
    ours, faults = {}, []
    for name, tensor in tensors:
        if MASK_BUFFER.fullmatch(own[name]):
            continue
        if own[name] in ours:
            faults.append(f"{printable(own[name])} occurs twice")
        ours[own[name]] = tensor
    if "wte.weight" not in ours and "lm_head.weight" in ours:
        ours["wte.weight"] = ours["lm_head.weight"]
    return ours, faults


def misfits(tensors, shapes):
    """What keeps tensors from being the parameters of a model.

    tensors: from ``named_as_ours``: own name -> something with a shape and a dtype
    shapes: pairs of dotted name and shape; no more are taken once it is clear that they do not fit
    returns a list of faults, each a text, and whether nothing is wrong but that all matrices of the blocks are
        transposed.
    """
    faults, turned, upright, expected = [], [], False, set()
    for name, shape in shapes:
        expected.add(name)
        tensor = tensors.get(name)
        if tensor is None or (name == "lm_head.weight" and tensor is tensors["wte.weight"]):
            faults.append(f"{'wte.weight' if tensor is not None else name} is missing")
        elif tensor.dtype.kind != "f" and tensor.dtype != BFLOAT16:
            faults.append(f"{name} has dtype {tensor.dtype}, expected floating-point numbers")
        elif tensor.shape == shape:
            upright = upright or (name.startswith("h.") and len(set(shape)) > 1)
        elif name.startswith("h.") and tensor.shape == shape[::-1]:
            turned.append(f"{name} has shape {tensor.shape}, expected {shape}")
        else:
            fault = f"{name} has shape {reprlib.repr(tensor.shape)}, expected {shape}"
            if name in ROWS and len(tensor.shape) == 2 and tensor.shape[1:] == shape[1:]:
                there = f"{CONFIG} says {ROWS[name]} {shape[0]:,} and the weights have {tensor.shape[0]:,} rows"
                fault += f" ({there}: if these are right, change the number in {CONFIG})"
            faults.append(fault)
        if len(faults) + len(turned) > MAX_FAULTS:
            break
    else:
        expected.add("lm_head.weight")  # it may be present in any case
        faults += [f"{printable(name)} is not expected" for name in tensors if name not in expected]
    if faults or upright:
        return faults + turned, False
    return [], bool(turned)


def listed(faults):
    """The first faults of a list as one text."""
    return "; ".join(faults[:MAX_FAULTS] + (["and more"] if len(faults) > MAX_FAULTS else []))


def names_there(names):
    """A sentence with a few of the names in a file, to compare with those that are missing."""
    more = f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
    return f". The names there are {', '.join(map(printable, names[:SHOWN_NAMES]))}{more}" if names else ""


def _fitting_tensors(folder, shapes):
    """name -> _StoredTensor for all of ``shapes``, which are pairs; errors as in ``read_parameters``."""
    stored = [pair for file in weight_files(Path(folder)) for pair in _stored_tensors(file)[0].items()]
    tensors, twice = named_as_ours(stored)
    faults, transposed = misfits(tensors, shapes)
    if faults := twice + faults:
        missing = any(fault.endswith(" is missing") for fault in faults)
        there = names_there([name for name, _ in stored]) if missing else ""
        raise ValueError(f"the weights in {folder} do not fit the model of its {CONFIG}: {listed(faults)}{there}")
    if transposed:
        raise ValueError(
            f"the weights in {folder} hold all matrices of the blocks transposed, (out, in) as in PyTorch's nn.Linear, "
            f"where GPT-2 has (in, out): {_convert(folder)}"
        )
    return tensors


def weight_files(folder):
    """The safetensors files that make up the model in ``folder``: one, or the shards of an index."""
    if os.path.lexists(folder / WEIGHTS):
        return [folder / WEIGHTS]
    if not os.path.lexists(folder / INDEX):
        _refuse_other_formats(folder)
        raise FileNotFoundError(f"no weights in {folder}: expected {WEIGHTS}, or shards and {INDEX}{instead(folder)}")
    names = shard_names(folder)
    for shard in names:
        if not os.path.lexists(folder / shard):
            raise FileNotFoundError(f"{folder / INDEX} names {shard}, which is missing: fetch it again")
    return [folder / shard for shard in names]


def shard_names(folder, index=INDEX, ending="safetensors"):
    """The names of the files in which the index in ``folder`` places the tensors; ValueError where it is malformed."""
    shards = read_json(folder / index, MAX_CONFIG).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f'{folder / index}: expected "weight_map": {{tensor name: file name, ...}}')
    for shard in shards.values():  # a name, not a path: an index must not reach outside its folder
        if not isinstance(shard, str) or not re.fullmatch(rf"\w[\w.-]{{,200}}\.{ending}", shard):
            raise ValueError(f"{folder / index}: expected the name of a .{ending} file, got {reprlib.repr(shard)}")
    return sorted(set(shards.values()))


# --------------------------------------------------------------------------- formats that are never read


def conversion(path):
    """How to convert a file that is never read: PyTorch's are pickles, and TensorFlow's need TensorFlow.

    path: a file, or the prefix of a TensorFlow checkpoint's files, such as model.ckpt
    returns a sentence, or None when there is no such file.
    """
    path = Path(path)
    if (OF_TENSORFLOW.fullmatch(path.name) and path.is_file()) or Path(f"{path}.index").is_file():
        return (
            f"{path} belongs to a TensorFlow checkpoint, which is never read here; the models that OpenAI released are "
            f"gpt2, gpt2-medium, gpt2-large and gpt2-xl, and others need TensorFlow once: {_convert(path.parent)}"
        )
    if is_llm_c(path):
        return f"{path} is a model of llm.c: {_convert(path)}"
    index = path.name.endswith(".bin.index.json")
    if path.is_file() and (index or path.suffix in PICKLES):
        shard = re.fullmatch(r".*-\d+-of-\d+\.bin", path.name)
        return (
            f"{path} {'belongs to' if index else 'is'} a pickle, which can run any code when it is opened and is "
            f"therefore never read here: {_convert(path.parent if shard or index else path)}"
        )
    return None


def is_llm_c(path):
    """Whether a file is a model of llm.c, by the number with which it begins."""
    path = Path(path)
    if path.suffix != ".bin" or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(4) == LLM_C.to_bytes(4, "little")


def other_formats(folder):
    """The files in a folder, those that Hugging Face's pickles are called first, a trainer's other pickles last."""

    def order(file):
        return not file.name.startswith("pytorch_model"), bool(BESIDE_WEIGHTS.match(file.name)), file.name

    return sorted(Path(folder).glob("*"), key=order)


def instead(folder):
    """The end of a message about a folder without a model: the folders in it that have one, or what lies there."""
    folder = Path(folder)
    if (folder / "adapter_config.json").is_file():
        return (
            "; there is an adapter of PEFT, which needs the model that it was trained for: merge the two there "
            "(merge_and_unload, then save_pretrained), and give the folder that this writes"
        )
    names = (WEIGHTS, INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json", "ckpt.pt")
    if inside := {path.parent for name in names for path in folder.glob(f"*/{name}")}:
        return f"; give a folder in it, such as {max(inside, key=lambda path: (len(path.name), path.name))}"
    files = sorted(path.name for path in folder.glob("*") if path.is_file() and path.name != CONFIG)
    more = f" and {len(files) - SHOWN_NAMES:,} more" if len(files) > SHOWN_NAMES else ""
    return f"; what is there is {', '.join(map(printable, files[:SHOWN_NAMES]))}{more}" if files else ""


def _refuse_other_formats(folder):
    """Raise ValueError if a folder without readable weights has others that can be converted."""
    files = other_formats(folder)
    if any(file.suffix == ".safetensors" for file in files):
        return  # something else is missing
    for file in files:
        if how := conversion(file):
            raise ValueError(how)


def _convert(path):
    return f"convert it with `{shell_line('minigpt2', 'convert', path)} --out NEW`"


# ---------------------------------------------------------------------------- writing the model's folder


def write_checkpoint(folder, config, parameters, dtype="float32"):
    """Write ``config.json`` and ``model.safetensors`` so that transformers' GPT2LMHeadModel opens them.

    config: the contents of ``config.json``, with Hugging Face's key names.
    parameters: dotted name -> float array, as in ``read_parameters``.
    dtype: how weights are stored: "float32", "float16" or "bfloat16", rounded to the nearest, ties to even.
    raises: ValueError, and nothing is written, for another dtype or for weights that are NaN or infinite or
        too large for it; TypeError, likewise, for a configuration that JSON cannot hold; OSError when a file cannot be
        written.
    """
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ValueError(f'dtype: expected "float32", "float16" or "bfloat16", got {dtype!r}')
    tensors, faults = {}, []
    for name, values in parameters.items():
        with np.errstate(over="ignore", invalid="ignore"):  # the next test finds what this ignores
            tensor = _to_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype, copy=False)
        if not (np.isfinite(values).all() and np.isfinite(decode(tensor)).all()):
            faults.append(f"{name} (largest: {np.abs(values).max():.3g})")
        tensors[name if name.startswith(("lm_head.", "head.")) else f"transformer.{name}"] = tensor
    if faults:
        raise ValueError(f"weights that are NaN, infinite or too large for {dtype}: {', '.join(faults)}")

    json.dumps(config)  # raises what ``write_json`` would raise when the weights have been written
    folder = made_folder(folder)
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})  # transformers refuses files without "format"
    write_json(folder / CONFIG, config)


# ------------------------------------------------------------------------------- one safetensors file


def read_tensors(path):
    """Every tensor in a safetensors file, and its metadata.

    path: the file. bfloat16 becomes float32, everything else keeps its dtype.
    returns: (name -> array, metadata: str -> str).
    raises: FileNotFoundError; ValueError, naming the file, when it is cut short or damaged.
    """
    tensors, metadata = _stored_tensors(path)
    return {name: tensor.read() for name, tensor in tensors.items()}, metadata


def write_tensors(path, tensors, metadata=None):
    """Write a safetensors file, atomically.

    tensors: name -> array of floating-point numbers, integers or booleans, in any memory layout, on any device.
    metadata: str -> str, kept in the header.
    raises: TypeError for metadata that is not text; ValueError for an array of another dtype; OSError as the
        system reports it.
    """
    if not all(isinstance(text, str) for pair in (metadata or {}).items() for text in pair):
        raise TypeError(f"metadata: expected a dict of str to str, got {metadata!r}")
    little_endian = {name: np.asarray(to_host(t), t.dtype.newbyteorder("<")) for name, t in tensors.items()}
    header, end = {"__metadata__": metadata} if metadata else {}, 0
    # Wide numbers first: then each tensor starts at a multiple of its numbers' size, and can be mapped aligned.
    ordered = sorted(little_endian.items(), key=lambda item: -item[1].dtype.itemsize)
    for name, tensor in ordered:
        if tensor.dtype not in CODES:
            raise ValueError(f"{name} has dtype {tensor.dtype}, which a safetensors file cannot hold")
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": CODES[tensor.dtype], "shape": tensor.shape, "data_offsets": [begin, end]}
    header = json.dumps(header, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with atomic_write(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for _, tensor in ordered:
            file.write(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8))


class _StoredTensor(NamedTuple):
    """The place of a tensor in a file. Nothing is open or in memory until it is read."""

    path: Path
    dtype: np.dtype
    shape: tuple
    offset: int  # bytes from the start of the file

    def read(self):
        """The tensor as a new array; bfloat16 as float32."""
        tensor = np.empty(self.shape, np.float32 if self.dtype == BFLOAT16 else self.dtype)
        flat = tensor.reshape(-1)
        for part, numbers in self.blocks():
            flat[part] = numbers
        return tensor

    def blocks(self):
        """Yield (slice, its numbers) of the flattened tensor, so that it is never in memory twice."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            size = math.prod(self.shape)
            for start in range(0, size, BLOCK):
                part = slice(start, min(start + BLOCK, size))
                numbers = np.fromfile(file, self.dtype, part.stop - start)
                if len(numbers) < part.stop - start:
                    raise ValueError(f"{self.path} was cut short while it was read")
                yield part, decode(numbers)


def _equal(a, b):
    """Whether two stored tensors hold the same numbers."""
    pairs = zip(a.blocks(), b.blocks(), strict=True)
    return a.shape == b.shape and all(np.array_equal(x, y) for (_, x), (_, y) in pairs)


def _stored_tensors(path):
    """(name -> _StoredTensor, metadata) of a safetensors file; errors as in ``read_tensors``."""
    size = check_file(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if length > min(size, MAX_HEADER):
                raise SafetensorError(f"its header would have {length:,} bytes")
            with safe_open(path, framework="numpy"):  # checks the header, also against the file's size
                pass
            header = file.read(length).decode()
        except (SafetensorError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is cut short, damaged or not a safetensors file ({str(error)[:200]}): fetch it again"
            ) from None
    header = parse_json(header, f"{path}: the header")
    metadata = header.pop("__metadata__", None) or {}
    if not all(isinstance(entry, dict) for entry in header.values()):
        raise ValueError(f"{path}: the header is not a JSON object of objects")
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{path}: {printable(name)} has an unsupported dtype, {entry['dtype']}")
        dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
        if len(shape) > MAX_DIMENSIONS or math.prod(filter(None, shape)) * dtype.itemsize > MAX_BYTES:
            raise ValueError(f"{path}: {printable(name)} has a shape beyond NumPy's, {reprlib.repr(shape)}")
        tensors[name] = _StoredTensor(path, dtype, shape, 8 + length + entry["data_offsets"][0])
    return tensors, metadata


def printable(name):
    """A name that stands in a file, as of a tensor, for a message: unchanged, unless it is long or not printable."""
    return name if name.isprintable() and len(name) <= 100 else reprlib.repr(name)


def decode(tensor):
    """``tensor`` in a dtype NumPy can compute with: bfloat16 words become float32, others are unchanged."""
    if tensor.dtype != BFLOAT16:
        return tensor
    bits = tensor["bfloat16"].astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def _to_bfloat16(values):
    """Round finite numbers to the nearest bfloat16, ties to even.

    Adding 0x7FFF carries into the upper half when the lower one is above its midpoint, 0x8000; at the
    midpoint, the upper half's last bit decides: 1 when it is odd.
    """
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype("<u2").view(BFLOAT16)
