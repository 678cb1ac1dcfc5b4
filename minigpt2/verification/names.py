"""The names of tensors: their order of computation, and their names in other implementations."""

import re
import reprlib

import numpy as np

from minigpt2.storage.files import read_json

MAX_MAP = 100_000  # bytes in a map of names; LLM_C has 2,000
MAX_LAYERS = 10_000  # in one array
# The order of computation: a parameter comes before its output. Gradients come in reverse order.
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
# Names in other implementations. "{i}" is the number of a layer; if only our name has it, theirs is one array
# for all layers, (L, ...); several names of ours share the last axis. Gradients have the same names after "grad.".
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


def rename(tensors, names):
    """Translate names, and split an array that stands for several of our names.

    tensors: dict from their name to array; a name not in the map is kept
    names:   None, a key of MAPS, or a dict from their name or pattern to our name or list of names, see MAPS
    raises: ValueError when the map is not such a dict, two tensors get the same name or a tensor cannot be split.
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
    """Pairs (pattern of their names, list of ours) of a map; ValueError when it is not a map."""
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


def _translate(name, tensor, patterns):
    """Pairs (our name, array) for one array of theirs."""
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


def is_ours(name):
    """Whether a name, or what follows ``grad.`` in it, is one that a trace has."""
    return place(name)[0] < 2


def place(name):
    """Sort key for the order of computation; unknown names come last."""
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
