"""Checkpoints in the Hugging Face layout: a folder with ``config.json`` and ``model.safetensors``.

A safetensors file is 8 bytes with the length of a header, the header (JSON: every tensor's dtype, shape and
place), and then the tensors' bytes, one after the other. Nothing in it can be executed, unlike the pickles of
``pytorch_model.bin``. The ``safetensors`` library checks that a file is whole and its header consistent;
NumPy then reads a tensor when it is copied to where it belongs, and not before.

Source: https://huggingface.co/docs/safetensors
"""

import json
import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from minigpt2.files import atomic_write, read_json, write_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # large models: names the file ("shard") that holds each tensor

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


# ---------------------------------------------------------------------------- the model's folder, in


def read_config(folder):
    """The object in ``folder``'s ``config.json``.

    raises: FileNotFoundError when there is none; ValueError when it is not a JSON object.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"no {CONFIG} in {folder}: expected a folder in Hugging Face layout, with {CONFIG} and {WEIGHTS}"
        )
    return read_json(path)


def read_parameters(folder, out):
    """Fill ``out`` with the weights in ``folder``, tensor by tensor.

    The weights are in ``model.safetensors`` or in the shards that ``model.safetensors.index.json`` names, as
    float64, float32, float16 or bfloat16. Names may carry the prefix ``transformer.``; the mask buffers of
    early checkpoints are ignored, and so is a ``lm_head.weight`` that repeats ``wte.weight`` when the model
    ties the two.

    out: dotted name -> preallocated float array of the expected shape, e.g. ``h.0.attn.c_attn.bias`` (3C,);
        with ``lm_head.weight`` (V, C) when the output layer is not tied.
    raises: FileNotFoundError when there are no weights; ValueError when a file is damaged, when tensors are
        missing, extra, misshapen or not floating-point (all of them are named, and ``out`` is as it was),
        or when one holds NaN or infinity.
    """
    tensors, faults = {}, []
    for file in _weight_files(Path(folder)):
        for name, tensor in _stored_tensors(file)[0].items():
            name = name.removeprefix("transformer.")
            if MASK_BUFFER.fullmatch(name):
                continue
            if name in tensors:
                faults.append(f"{name} is there twice")
            tensors[name] = tensor

    tied_head = None if "lm_head.weight" in out else tensors.pop("lm_head.weight", None)
    faults += [f"{name} is missing" for name in out if name not in tensors]
    for name, tensor in tensors.items():
        if name not in out:
            faults.append(f"{name} is not expected")
        elif tensor.shape != out[name].shape:
            faults.append(f"{name} has shape {tensor.shape}, expected {out[name].shape}")
        elif tensor.dtype.kind != "f" and tensor.dtype != BFLOAT16:
            faults.append(f"{name} has dtype {tensor.dtype}, expected floating-point numbers")
    if faults:
        raise ValueError(f"the weights in {folder} do not fit the model of its {CONFIG}: {'; '.join(faults)}")
    if tied_head is not None and not np.array_equal(tied_head.read(), tensors["wte.weight"].read()):
        raise ValueError(
            f"the weights in {folder} hold a lm_head.weight of their own, but the model takes wte.weight for "
            f'it: set "tie_word_embeddings": false in {CONFIG}'
        )

    for name, tensor in tensors.items():
        with np.errstate(over="ignore", invalid="ignore"):  # what it ignores, the next line finds
            out[name][...] = tensor.read()
        if not np.isfinite(out[name]).all():
            raise ValueError(f"{name} in {folder} holds NaN or infinity: the weights are of no use")


def _weight_files(folder):
    """The safetensors files that make up the model in ``folder``: one, or the shards of an index."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        if any(folder.glob("pytorch_model*.bin*")):
            raise ValueError(
                f"{folder} holds its weights as a pickle (pytorch_model.bin), which can run any code when it "
                f"is opened and is therefore never read: convert it with transformers, "
                f"GPT2LMHeadModel.from_pretrained(folder).save_pretrained(new_folder)"
            )
        raise FileNotFoundError(f"no weights in {folder}: expected {WEIGHTS}, or shards and {INDEX}")
    shards = read_json(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f'{folder / INDEX}: expected "weight_map": {{tensor name: file name, ...}}')
    for shard in shards.values():  # a name and no path: an index must not reach out of its folder
        if not isinstance(shard, str) or not re.fullmatch(r"\w[\w.-]*\.safetensors", shard):
            raise ValueError(f"{folder / INDEX}: expected the name of a .safetensors file, got {shard!r}")
        if not (folder / shard).is_file():
            raise FileNotFoundError(f"{folder / INDEX} names {shard}, which is not there: fetch it again")
    return [folder / shard for shard in sorted(set(shards.values()))]


# --------------------------------------------------------------------------- the model's folder, out


def write_checkpoint(folder, config, parameters, dtype="float32"):
    """Write ``config.json`` and ``model.safetensors`` so that transformers' GPT2LMHeadModel opens them.

    config: what goes into ``config.json``, in Hugging Face's key names.
    parameters: dotted name -> float array, as in ``read_parameters``.
    dtype: how weights are stored: "float32", "float16" or "bfloat16", rounded to the nearest, ties to even.
    raises: ValueError, and nothing is written, for another dtype or for weights that are NaN or infinite or
        too large for it; OSError when a file cannot be written.
    """
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ValueError(f'dtype: expected "float32", "float16" or "bfloat16", got {dtype!r}')
    tensors, faults = {}, []
    for name, values in parameters.items():
        with np.errstate(over="ignore", invalid="ignore"):  # what it ignores, the next test finds
            tensor = _to_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype, copy=False)
        if not (np.isfinite(values).all() and np.isfinite(_decode(tensor)).all()):
            faults.append(f"{name} (largest: {np.abs(values).max():.3g})")
        tensors[name if name.startswith(("lm_head.", "head.")) else f"transformer.{name}"] = tensor
    if faults:
        raise ValueError(f"weights that are NaN, infinite or too large for {dtype}: {', '.join(faults)}")

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})  # transformers refuses files without "format"
    write_json(folder / CONFIG, config)


# ------------------------------------------------------------------------------- one safetensors file


def read_tensors(path):
    """Every tensor in a safetensors file, and its metadata.

    path: the file. bfloat16 comes as float32, all else as it is stored.
    returns: (name -> array, metadata: str -> str).
    raises: FileNotFoundError; ValueError, naming the file, when it is cut short or damaged.
    """
    tensors, metadata = _stored_tensors(path)
    return {name: tensor.read() for name, tensor in tensors.items()}, metadata


def write_tensors(path, tensors, metadata=None):
    """Write a safetensors file, atomically.

    tensors: name -> array of floating-point numbers, integers or booleans, in any memory layout.
    metadata: str -> str, kept in the header.
    raises: TypeError for metadata that is not text; ValueError for an array of another dtype; OSError as the
        system reports it.
    """
    if not all(isinstance(text, str) for pair in (metadata or {}).items() for text in pair):
        raise TypeError(f"metadata: expected a dict of str to str, got {metadata!r}")
    little_endian = {name: np.asarray(t, t.dtype.newbyteorder("<")) for name, t in tensors.items()}
    header, end = {"__metadata__": metadata} if metadata else {}, 0
    # Wide numbers first: then each tensor starts at a multiple of its numbers' size, and maps aligned.
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
    """Where a tensor lies in a file. Nothing is open or in memory until it is read."""

    path: Path
    dtype: np.dtype
    shape: tuple
    offset: int  # bytes from the beginning of the file

    def read(self):
        """The tensor as a new array; bfloat16 as float32."""
        numbers = np.fromfile(self.path, self.dtype, math.prod(self.shape), offset=self.offset)
        return _decode(numbers.reshape(self.shape))


def _stored_tensors(path):
    """(name -> _StoredTensor, metadata) of a safetensors file; errors as ``read_tensors``."""
    try:
        with safe_open(path, framework="numpy"):  # it checks the header, against the file's size too
            pass
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short, damaged or no safetensors file ({error}): fetch it again"
        ) from None
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    unknown = [f"{name} ({entry['dtype']})" for name, entry in header.items() if entry["dtype"] not in DTYPES]
    if unknown:
        raise ValueError(f"{path} holds tensors of dtypes that are not supported: {', '.join(unknown)}")
    tensors = {}
    for name, entry in header.items():
        offset = 8 + length + entry["data_offsets"][0]
        tensors[name] = _StoredTensor(path, DTYPES[entry["dtype"]], tuple(entry["shape"]), offset)
    return tensors, metadata


def _decode(tensor):
    """``tensor`` as NumPy can compute with it: bfloat16 words become float32, all else stays as it is."""
    if tensor.dtype != BFLOAT16:
        return tensor
    bits = tensor["bfloat16"].astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def _to_bfloat16(values):
    """Round finite numbers to the nearest bfloat16, ties to even.

    Adding 0x7FFF carries into the upper half when the lower one is more than its middle, 0x8000; at the
    middle, the upper half's last bit, 1 when it is odd, decides.
    """
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype("<u2").view(BFLOAT16)
