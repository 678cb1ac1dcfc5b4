"""Where does another GPT-2 go wrong? Compare its activations and gradients with ours, in the order of computation.

What comes after the first wrong tensor is wrong as a consequence, so the first one is what matters:
``compare`` finds it, and ``minigpt2.mistakes`` may know why.
"""

import contextlib
import io
import json
import math
import os
import re
import reprlib
import struct
import textwrap
import tokenize
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy
from tqdm import tqdm

from minigpt2.checkpoint import MAX_DIMENSIONS, read_tensors
from minigpt2.files import MAX_CONFIG, check_file, read_json
from minigpt2.mistakes import IGNORED, diagnose

# How far apart two right answers may be, relative to the size of ours. Worst cases measured against PyTorch, among
# all activations and gradients of 12 layers with 256 and 768 channels and sharp attention: 1.3e-14 in float64 and
# 7.8e-6 in float32, both at gradients of q and k. The coarser dtype of the two decides.
RTOL = {"float64": 1e-10, "float32": 5e-5, "float16": 2e-2}
MAX_MAP = 100_000  # bytes of a map of names; LLM_C has 2,000
MAX_LAYERS = 10_000  # in one array
MAX_NPY_HEADER = 10_000  # bytes, as in NumPy
MAX_UNPACKED = 2**28  # bytes of the arrays of a compressed .npz: a wrong trace may be zeros, and small on the disk
NPZ_ERRORS = (  # of zipfile and NumPy; OSError: where an offset leads before the file's beginning
    ValueError, TypeError, AttributeError, EOFError, NotImplementedError, OverflowError, OSError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
ATOL_PER_RTOL = 1e-6  # below rtol * 1e-6 a number counts as zero, e.g. the gradient of q where there is one token

# The order of computation: a parameter comes before what it makes. Gradients come in the reverse order.
START = ("ids", "wte.weight", "wpe.weight", "embd")
BLOCK = (
    "ln_1.weight", "ln_1.bias", "ln_1",
    "attn.c_attn.weight", "attn.c_attn.bias", "attn.q", "attn.k", "attn.v",
    "attn.scores", "attn.probs", "attn.heads", "attn.c_proj.weight", "attn.c_proj.bias", "attn.out", "resid_mid",
    "ln_2.weight", "ln_2.bias", "ln_2",
    "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.fc", "mlp.gelu",
    "mlp.c_proj.weight", "mlp.c_proj.bias", "mlp.out", "resid_post",
)  # fmt: skip
END = ("ln_f.weight", "ln_f.bias", "ln_f", "lm_head.weight", "logits", "targets", "loss")

# Names of other implementations. "{i}" is the number of a layer; where only our name has it, theirs is one array
# for all layers, (L, ...); several names of ours share the last axis. Gradients: the same after "grad.".
HUGGING_FACE = {
    "transformer.drop": "embd",
    **{f"transformer.{name}": name for name in ("wte.weight", "wpe.weight", "ln_f", "ln_f.weight", "ln_f.bias")},
    **{f"transformer.h.{{i}}.{name}": f"h.{{i}}.{name}" for name in BLOCK},
    "transformer.h.{i}": "h.{i}.resid_post",
    "transformer.h.{i}.attn.c_attn": ["h.{i}.attn.q", "h.{i}.attn.k", "h.{i}.attn.v"],
    "transformer.h.{i}.attn.c_proj": "h.{i}.attn.out",
    "transformer.h.{i}.mlp.c_fc": "h.{i}.mlp.fc",
    "transformer.h.{i}.mlp.act": "h.{i}.mlp.gelu",
    "transformer.h.{i}.mlp.c_proj": "h.{i}.mlp.out",
    "lm_head": "logits",
    "attentions": "h.{i}.attn.probs",
}
LLM_C = {
    "wte": "wte.weight", "wpe": "wpe.weight", "ln1w": "h.{i}.ln_1.weight", "ln1b": "h.{i}.ln_1.bias",
    "qkvw": "h.{i}.attn.c_attn.weight", "qkvb": "h.{i}.attn.c_attn.bias",
    "attprojw": "h.{i}.attn.c_proj.weight", "attprojb": "h.{i}.attn.c_proj.bias",
    "ln2w": "h.{i}.ln_2.weight", "ln2b": "h.{i}.ln_2.bias",
    "fcw": "h.{i}.mlp.c_fc.weight", "fcb": "h.{i}.mlp.c_fc.bias",
    "fcprojw": "h.{i}.mlp.c_proj.weight", "fcprojb": "h.{i}.mlp.c_proj.bias",
    "lnfw": "ln_f.weight", "lnfb": "ln_f.bias",
    "encoded": "embd", "ln1": "h.{i}.ln_1", "qkv": ["h.{i}.attn.q", "h.{i}.attn.k", "h.{i}.attn.v"],
    "preatt": "h.{i}.attn.scores", "att": "h.{i}.attn.probs", "atty": "h.{i}.attn.heads",
    "attproj": "h.{i}.attn.out", "residual2": "h.{i}.resid_mid", "ln2": "h.{i}.ln_2", "fch": "h.{i}.mlp.fc",
    "fch_gelu": "h.{i}.mlp.gelu", "fcproj": "h.{i}.mlp.out", "residual3": "h.{i}.resid_post",
    "lnf": "ln_f", "losses": "loss",
}  # fmt: skip
MAPS = {
    "transformers": HUGGING_FACE,
    "nanogpt": HUGGING_FACE | {"transformer.h.{i}.mlp.gelu": "h.{i}.mlp.gelu"},  # and minGPT
    "llm.c": LLM_C,
}


@dataclass(frozen=True)
class Row:
    """One tensor that both have.

    absolute: largest |theirs - ours|
    relative: the same against the largest |ours|, or norm against norm if that is more: the first sees one wrong
        number in a large tensor, the second a small error everywhere beside one outlier
    cosine:   of the angle between the two; verdict: "ok", "differs" or "NaN"
    note:     how theirs is stored, if not as ours
    """

    name: str
    shape: tuple
    absolute: float
    relative: float
    cosine: float
    verdict: str
    note: str


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found: true in a condition when all tensors agree, a table when printed.

    rows: in the order of computation; only_ours, only_theirs: names that the other does not have
    first: the Row of the first divergence, or None; where: what stands there, in a sentence
    diagnosis: a sentence about the mistake, or None when none fits
    """

    rows: list
    only_ours: list
    only_theirs: list
    where: str | None
    diagnosis: str | None

    @property
    def first(self):
        return next((row for row in self.rows if row.verdict != "ok"), None)

    @property
    def passed(self):
        return self.first is None

    def __bool__(self):
        return self.passed

    def __str__(self):
        width, first = max(len(row.name) for row in self.rows), self.first
        lines = [f"{'tensor':{width}}  {'shape':>18}  {'absolute':>8}  {'relative':>8}  {'cosine':>11}  verdict"]
        for row in self.rows:
            marks = (row.verdict, row.note and f"({row.note})", "<-- first divergence" if row is first else "")
            lines.append(
                f"{row.name:{width}}  {row.shape!s:>18}  {row.absolute:8.1e}  {row.relative:8.1e}"
                f"  {row.cosine:11.8f}  {' '.join(mark for mark in marks if mark)}"
            )
        for whose, names in ("ours", self.only_ours), ("theirs", self.only_theirs):
            if names:
                lines += ["", *textwrap.wrap(f"only in {whose}: {', '.join(_summary(names))}", 110)]
        different = sum(row.verdict != "ok" for row in self.rows)
        if self.passed:
            lines += ["", f"All {len(self.rows)} tensors agree."]
        else:
            lines += ["", f"{different} of {len(self.rows)} tensors differ, the first is {self.where}."]
        if self.diagnosis:
            lines.append(f"Diagnosis: {self.diagnosis}.")
        return "\n".join(lines)


def compare(ours, theirs, rtol=None, atol=None, names=None, eps=1e-5):
    """Compare two traces, tensor by tensor, in the order of computation.

        a tensor agrees when   max |theirs - ours| <= rtol * max |ours|   and   |theirs - ours| <= rtol * |ours|,
        with |x| the root of the sum of squares; or when   max |theirs - ours| <= atol

    Known ways to store the same tensor are understood: Linear weights as (out, in); q, k, v as (B, T, H, D) or
    (B, T, C); a vocabulary with padding; B and T in one axis; a loss per position. Scores, and the gradients of
    scores and probs, are compared where the key does not come after the query: elsewhere nothing depends on them.

    ours:   dict from name to array, as ``minigpt2.trace.trace`` returns it: the reference
    theirs: dict from name to array
    rtol:   5e-5 in float32, 1e-10 in float64 by default; atol: rtol * 1e-6 by default
    names:  their names: "transformers", "nanogpt", "llm.c", or a dict such as MAPS has
    eps:    of our layer norms
    returns Comparison.
    raises: ValueError, naming the tensor, when the ids differ, a shape does not fit, one of ours holds NaN or
        infinity or one of theirs no numbers, when there is nothing to compare, or a tolerance is negative.
    """
    for option, value in ("rtol", rtol), ("atol", atol):
        if value is not None and not value >= 0:
            raise ValueError(f"{option} must be 0 or more, got {value}")
    ours = {name: np.asarray(tensor) for name, tensor in ours.items()}
    theirs = rename({name: np.asarray(tensor) for name, tensor in theirs.items()}, names)
    for tensor_name, tensor in (ours | theirs).items():
        if tensor.dtype.kind not in "fiu":
            raise ValueError(f"{tensor_name}: expected an array of real numbers, got {tensor.dtype}")
    common = sorted(ours.keys() & theirs.keys(), key=_place)
    if not set(common) - {"ids", "targets"}:
        raise ValueError(
            f"nothing to compare, the traces have no tensor in common: ours has {_few(ours)}; theirs has "
            f"{_few(theirs)}; names are translated with --map"
        )

    aligned, rows, where = {}, [], None
    for name in tqdm(common, "comparing", delay=2, disable=None, leave=False):
        note, aligned[name] = _align(name, ours, theirs[name])
        if re.fullmatch(r"(grad\.)?h\.\d+\.attn\.scores|grad\.h\.\d+\.attn\.probs", name):
            ours[name], aligned[name] = np.tril(ours[name]), np.tril(aligned[name])
        tolerance = _tolerance(ours[name], theirs[name], rtol, atol)
        rows.append(_row(name, ours[name], aligned[name], note, tolerance))
        if where is None and rows[-1].verdict != "ok":
            where = _where(rows[-1], ours[name], aligned[name], tolerance)

    def agrees(name, expected, actual):
        return _agree(_measure(expected, actual), *_tolerance(ours[name], theirs[name], rtol, atol))

    first = next((row.name for row in rows if row.verdict != "ok"), None)
    diagnosis = first and diagnose(ours | {"eps": eps}, aligned, first, agrees)
    only_ours, only_theirs = (sorted(a.keys() - b.keys(), key=_place) for a, b in ((ours, theirs), (theirs, ours)))
    return Comparison(rows, only_ours, only_theirs, where, diagnosis)


def read_trace(path):
    """Read a trace from a file.

    path: a safetensors file, or one of NumPy's if its name ends in .npz: arrays of plain numbers, as numpy.savez or
        savez_compressed writes them; unpacked, all together have MAX_UNPACKED bytes at most, or 4 times the file's
    returns dict from name to array, and the metadata: str -> str, none in .npz.
    raises: FileNotFoundError; ValueError, naming the file, when it is damaged or something else.
    """
    if not str(path).endswith(".npz"):
        return read_tensors(path)
    size = check_file(path)
    with _Limited(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_arrays(archive, max(MAX_UNPACKED, 4 * size)), {}
        except NPZ_ERRORS as error:
            raise ValueError(f"{path} is damaged, or no .npz file of plain arrays: {str(error)[:200]}") from None


def read_map(path):
    """Read a map of names, see MAPS, from a JSON file.

    raises: FileNotFoundError; ValueError, naming the file, when it is not such a map.
    """
    names = read_json(path, MAX_MAP)
    try:
        _patterns(names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return names


def layer_norm_epsilon(metadata):
    """eps of the model that made a trace, from the file's metadata; 1e-5 if it does not say."""
    try:
        eps = float(json.loads(metadata["config"])["layer_norm_epsilon"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return 1e-5
    return eps if 0 < eps < math.inf else 1e-5


def rename(tensors, names):
    """Translate names, and unstack what is one array for several of our names.

    tensors: dict from their name to array; a name that is not in the map stays as it is
    names:   None, a key of MAPS, or a dict from their name or pattern to our name or list of names, see MAPS
    raises: ValueError when the map is not such a dict, two tensors get one name or a tensor cannot be split.
    """
    if names is None:
        return tensors
    if isinstance(names, str):
        if names not in MAPS:
            raise ValueError(f"names: expected {', '.join(MAPS)} or a dict, got {names!r}")
        names = MAPS[names]
    patterns = _patterns(names)
    renamed, sources = {}, {}
    for name, tensor in tensors.items():
        for our_name, part in _translate(name, tensor, patterns):
            if our_name in renamed:
                raise ValueError(f"names: {sources[our_name]} and {name} both stand for {our_name}")
            renamed[our_name], sources[our_name] = part, name
    return renamed


def _patterns(names):
    """Pairs (pattern of their names, list of ours) of a map; ValueError when it is no map."""
    patterns = []
    for pattern, ours in names.items():
        ours = [ours] if isinstance(ours, str) else ours
        shown = reprlib.repr(ours)
        if not isinstance(ours, list) or not ours or not all(isinstance(name, str) for name in ours):
            raise ValueError(
                f"names: {reprlib.repr(pattern)} must stand for our name or a list of our names, got {shown}"
            )
        if pattern.count("{i}") > 1 or ("{i}" in pattern and not all("{i}" in name for name in ours)):
            raise ValueError(f"names: {reprlib.repr(pattern)} must have one {{i}}, and so must {shown}")
        patterns.append((re.compile(re.escape(pattern).replace(r"\{i\}", r"(\d+)")), ours))
    return patterns


class _Limited(io.FileIO):
    """A file of which nobody can read much at a time: the directory of a .npz, whose length it claims itself."""

    def read(self, size=-1):
        left = os.fstat(self.fileno()).st_size - self.tell()
        if (size := left if size < 0 else size) > MAX_CONFIG:
            raise ValueError(f"its directory would have {size:,} bytes")
        return super().read(size)


def _read_arrays(archive, limit):
    """The arrays of a .npz file, of at most ``limit`` bytes together; one of NPZ_ERRORS when there is anything else."""
    arrays, members = {}, archive.infolist()
    if (total := sum(member.file_size for member in members)) > limit:
        raise ValueError(f"its arrays would have {total:,} bytes, more than {limit:,}; write it with numpy.savez")
    for member in members:
        name = member.filename.removesuffix(".npy")
        shown = reprlib.repr(name)
        if name in arrays:
            raise ValueError(f"{shown} is there twice")
        if ".." in re.split(r"[/\\]", name) or re.match(r"([A-Za-z]:)?[/\\]", name):
            raise ValueError(f"{shown} is a path and no name of an array")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise ValueError(f"{shown} is encrypted, or compressed in a way that NumPy does not use")
        with archive.open(member) as file:
            shape, dtype = _read_npy_header(file, shown)
            if dtype.kind not in "biufc":
                raise ValueError(f"{shown} holds no plain numbers but {dtype}, as with allow_pickle")
            expected = math.prod(shape) * dtype.itemsize
            if file.tell() + expected != member.file_size or min(shape, default=0) < 0 or len(shape) > MAX_DIMENSIONS:
                raise ValueError(f"{shown} claims the shape {reprlib.repr(shape)}, which its bytes do not fill")
            file.seek(0)
            arrays[name] = npy.read_array(file, allow_pickle=False)
    return arrays


def _read_npy_header(file, shown):
    """Shape and dtype that the .npy file ``file`` claims."""
    version = npy.read_magic(file)
    lengths, read_header = (2, npy.read_array_header_1_0) if version == (1, 0) else (4, npy.read_array_header_2_0)
    if int.from_bytes(file.peek(lengths)[:lengths], "little") <= MAX_NPY_HEADER:
        with contextlib.suppress(SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
            # Which Python's parser raises where brackets or signs are nested too deep.
            shape, _, dtype = read_header(file)
            return shape, dtype
    raise ValueError(f"{shown} has a header that NumPy does not write")


def _translate(name, tensor, patterns):
    """Pairs of our name and array for one array of theirs."""
    grad = "grad." if name.startswith("grad.") else ""
    for pattern, ours in patterns:
        match = pattern.fullmatch(name.removeprefix("grad."))
        if match is None:
            continue
        if match.groups():
            layers = {match[1]: tensor}
        elif "{i}" in ours[0]:
            if not tensor.ndim:
                raise ValueError(f"{name}: expected one array for all layers, (L, ...), got a single number")
            if len(tensor) > MAX_LAYERS:
                raise ValueError(f"{name}: expected one array for all layers, (L, ...), got shape {tensor.shape}")
            layers = dict(enumerate(tensor))
        else:
            layers = {"": tensor}
        for i, part in layers.items():
            pieces = [part]
            if len(ours) > 1:
                if not part.ndim or part.shape[-1] % len(ours):
                    raise ValueError(f"{name}: expected {len(ours)} equal parts on the last axis, got {tensor.shape}")
                pieces = np.split(part, len(ours), axis=-1)
            for our_name, piece in zip(ours, pieces, strict=True):
                yield grad + our_name.replace("{i}", str(i)), piece
        return
    yield name, tensor


def _place(name):
    """Sort key of the order of computation; unknown names come last."""
    plain = name.removeprefix("grad.")
    block = re.fullmatch(r"h\.(\d{1,9})\.(.+)", plain)
    if plain in START:
        place = 0, 0, START.index(plain)
    elif plain in END:
        place = 2, 0, END.index(plain)
    elif block and block[2] in BLOCK:
        place = 1, int(block[1]), BLOCK.index(block[2])
    else:
        return 2, (), name
    if plain == name:
        return 0, place, name
    return 1, tuple(-number for number in place), name


def _align(name, ours, theirs):
    """Theirs in the shape of ours, and how it was stored; of several ways to read it the closest."""
    shape = ours[name].shape
    if name in ("ids", "targets"):
        if theirs.shape != shape or (name == "ids" and (theirs != ours[name]).any()):
            raise ValueError(
                f"{name} differ, ours {_head(ours[name])} and theirs {_head(theirs)}: run both on the same tokens"
            )
        return "", theirs
    readings = [(note, tensor) for note, tensor in _readings(name, theirs, ours) if tensor.shape == shape]
    if not readings:
        raise ValueError(f"{name}: ours has shape {shape}, theirs {theirs.shape}, which is no known way to store it")
    if len(readings) == 1:
        return readings[0]

    def distance(reading):
        difference = np.linalg.norm((reading[1] - ours[name]).ravel())
        return np.inf if np.isnan(difference) else difference

    return min(readings, key=distance)


def _readings(name, theirs, ours):
    """Pairs (note, tensor): the ways in which theirs may be meant, whatever their shapes."""
    shape, plain = ours[name].shape, name.removeprefix("grad.")
    yield "", theirs
    if plain.endswith(".weight") and theirs.ndim == 2:
        yield "transposed", theirs.T
    if plain.endswith(("attn.q", "attn.k", "attn.v")) and len(shape) == 4:
        B, H, T, D = shape
        if theirs.shape in ((B, T, H, D), (B, T, H * D)):
            yield "(B, T, H, D)" if theirs.ndim == 4 else "(B, T, C)", theirs.reshape(B, T, H, D).swapaxes(1, 2)
    if plain.endswith("attn.heads") and len(shape) == 3 and theirs.ndim == 4 and theirs.size == np.prod(shape):
        yield "(B, T, H, D)", theirs.reshape(shape)
        yield "(B, H, T, D)", theirs.swapaxes(1, 2).reshape(shape)
    if plain == "logits" and theirs.ndim == len(shape) and theirs.shape[-1] > shape[-1]:
        yield "padded", theirs[..., : shape[-1]]
    if plain in ("wte.weight", "lm_head.weight") and theirs.ndim == 2 and len(theirs) > shape[0]:
        yield "padded", theirs[: shape[0]]
    if name == "loss" and theirs.ndim and "targets" in ours and theirs.size == ours["targets"].size:
        counted = ours["targets"].ravel() != IGNORED
        yield "mean of the positions", theirs.ravel()[counted].mean(dtype=np.float64).reshape(shape)
    if theirs.shape != shape and theirs.size == np.prod(shape):
        joined = (int(np.prod(shape[:2])), *shape[2:])  # B and T in one axis
        if theirs.shape == joined or _without_ones(theirs.shape) == _without_ones(shape):
            yield str(theirs.shape), theirs.reshape(shape)


def _without_ones(shape):
    return [size for size in shape if size != 1]


def _tolerance(ours, theirs, rtol, atol):
    """rtol and atol: those given, or else by the coarser dtype of the two."""
    floats = [x.dtype for x in (ours, theirs) if x.dtype.kind == "f"]
    if not floats:
        return 0.0, 0.0  # integers are equal or not
    if rtol is None:
        rtol = max(RTOL.get(dtype.name, RTOL["float64"]) for dtype in floats)
    return rtol, rtol * ATOL_PER_RTOL if atol is None else atol


def _agree(measures, rtol, atol):
    """Whether two arrays are equal within the tolerance; NaN is not."""
    absolute, relative, _ = measures
    return bool(relative <= rtol or absolute <= atol)


def _measure(ours, theirs):
    """Largest absolute and relative difference, and cosine."""
    x, y = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    if not np.isfinite(y).all():
        return np.nan, np.nan, np.nan
    size, norm, product = np.abs(x).max(initial=0), np.linalg.norm(x), x @ y
    other = np.linalg.norm(y)
    cosine = product / (norm * other) if norm * other else float(norm == other)
    y -= x
    absolute, off = np.abs(y).max(initial=0), np.linalg.norm(y)
    if not size:
        return absolute, np.inf if absolute else 0.0, cosine
    return absolute, max(absolute / size, off / norm), cosine


def _row(name, ours, theirs, note, tolerance):
    if not np.isfinite(ours).all():
        raise ValueError(f"{name}: ours holds NaN or infinity, at {_at(~np.isfinite(ours))}: no reference")
    measures = _measure(ours, theirs)
    verdict = "ok" if _agree(measures, *tolerance) else "NaN" if np.isnan(measures[0]) else "differs"
    return Row(name, ours.shape, *map(float, measures), verdict, note)


def _where(row, ours, theirs, tolerance):
    """The sentence about the first divergence."""
    if row.verdict == "NaN":
        return f"{row.name}, where theirs holds NaN or infinity at {_at(~np.isfinite(theirs))}"
    difference = np.abs(theirs.astype(np.float64) - ours)
    at = np.unravel_index(np.argmax(difference), ours.shape)
    return (
        f"{row.name}, off by {row.relative:.1e} of its size (tolerance {tolerance[0]:.0e}); most at "
        f"{[int(i) for i in at]}, where ours is {ours[at]:.7g} and theirs {theirs[at]:.7g}"
    )


def _at(wrong):
    return [int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape)]


def _head(x):
    """Shape and first numbers of integer ids."""
    return f"{x.shape} {x.ravel()[:6].tolist()}{' ...' if x.size > 6 else ''}"


def _few(names, most=4):
    return ", ".join(list(names)[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _summary(names):
    """Names, those of several layers in one: "h.*.attn.out (12 layers)"."""
    layers = {}
    for name in names:
        layers.setdefault(re.sub(r"\bh\.\d+\.", "h.*.", name, count=1), []).append(name)
    return [same[0] if len(same) == 1 else f"{name} ({len(same)} layers)" for name, same in layers.items()]
