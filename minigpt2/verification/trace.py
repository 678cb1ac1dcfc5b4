"""Every activation and every gradient of one pass, under fixed names, for comparison with another GPT-2.

Nothing is computed twice for it: forward returns its activations in ``cache``, backward leaves their gradients
in ``dcache``, and a trace is the two, flattened.
"""

import json
import math
import re
from pathlib import Path

import numpy as np

from minigpt2.backend import array_module, to_host
from minigpt2.components.embedding import token_array
from minigpt2.components.loss import IGNORED, check_targets, cross_entropy_backward, cross_entropy_forward
from minigpt2.components.softmax import softmax_backward
from minigpt2.model import GPT2, gpt2_backward
from minigpt2.parallel import without_false_alarms
from minigpt2.parameters import flatten
from minigpt2.storage.checkpoint import read_tensors, write_tensors
from minigpt2.storage.files import check_file
from minigpt2.verification import llm_c_state
from minigpt2.verification.dump import MAGIC, read_dump
from minigpt2.verification.npz import read_npz
from minigpt2.version import __version__

# In the order of computation; {i} counts the blocks from 0. Shapes: B batch, T time (tokens), C channels
# (n_embd), H heads, D = C / H head size, F inner channels (4 C in GPT-2), V vocabulary.
NAMES = {
    "ids": ("(B, T)", "input tokens"),
    "targets": ("(B, T)", "the token that should follow each, -100 where none counts"),
    "embd": ("(B, T, C)", "token embedding plus position embedding"),
    "h.{i}.ln_1": ("(B, T, C)", "layer norm before attention: its output"),
    "h.{i}.attn.q": ("(B, H, T, D)", "queries"),
    "h.{i}.attn.k": ("(B, H, T, D)", "keys"),
    "h.{i}.attn.v": ("(B, H, T, D)", "values"),
    "h.{i}.attn.scores": ("(B, H, T, T)", "q k^T / sqrt(D), before the mask"),
    "h.{i}.attn.probs": ("(B, H, T, T)", "softmax of the masked scores, the attention map"),
    "h.{i}.attn.heads": ("(B, T, C)", "probs v of all heads side by side, before c_proj"),
    "h.{i}.attn.out": ("(B, T, C)", "what attention adds to the residual stream"),
    "h.{i}.resid_mid": ("(B, T, C)", "residual stream after attention"),
    "h.{i}.ln_2": ("(B, T, C)", "layer norm before the feed-forward network: its output"),
    "h.{i}.mlp.fc": ("(B, T, F)", "before the GELU"),
    "h.{i}.mlp.gelu": ("(B, T, F)", "after the GELU"),
    "h.{i}.mlp.out": ("(B, T, C)", "what the feed-forward network adds to the residual stream"),
    "h.{i}.resid_post": ("(B, T, C)", "residual stream after the block"),
    "ln_f": ("(B, T, C)", "layer norm after the last block: its output"),
    "logits": ("(B, T, V)", "score of every token of the vocabulary"),
    "loss": ("()", "mean cross-entropy in nats per counted target"),
    "grad.{activation}": ("like the activation", "gradient of the loss, for every name from embd to loss"),
    "grad.{parameter}": ("like the parameter", "the same for every parameter; weights are (in, out)"),
    "{parameter}": ("like the parameter", "the weights themselves, with which each tensor can be recomputed"),
}

SAVEZ = 'save the arrays by name, numpy.savez("theirs.npz", **{name: array, ...})'
SAVE_FILE = 'save tensors by name, safetensors.torch.save_file({name: tensor, ...}, "theirs.safetensors")'
PICKLE = "a pickle, as torch.save and pickle.dump write it"
OTHER_FILES = (  # their first bytes, what they are, and what to write instead
    (rb"\x80[\x02-\x05]", PICKLE, SAVE_FILE),
    (rb"\((dp|lp)\d+\n|[}\]]q\0[(X.]", PICKLE, SAVE_FILE),  # protocols 0 and 1
    (rb"PK.{28}([^\0]*/)?(data\.pkl|version|byteorder|\.format_version)", PICKLE, SAVE_FILE),  # torch's, since 1.6
    (rb"\x93NUMPY", "a single array of NumPy's, without a name", SAVEZ),
    (rb"\x89HDF", "an HDF5 file", SAVEZ),
    (rb"GGUF", "a GGUF file, as llama.cpp reads it", SAVEZ),
    (rb"\x08[\x01-\x14](\x12[\x01-\x40][ -~]|:[^\0]{,4}\n)", "an ONNX file", SAVEZ),
    (rb"([\x81-\x8f]|\xde..)([\xa1-\xbf]|\xd9.)[ -~]", "a msgpack file, as flax.serialization writes it", SAVEZ),
    (rb"\x0c\xdb\x3a\x2a", "a checkpoint of Orbax", SAVEZ),
    (rb"\x1f\x8b", "packed with gzip", "unpack it first"),
    (rb'\s*\{.*"weight_map"', "an index of several files", "give one of the files that it names"),
    (rb"\s*[\[{]\s*[\]}\"\d\[-]", "JSON text", SAVEZ),
)

def trace(
    model: GPT2, ids: np.ndarray | list, targets: np.ndarray | list | None = None, backward: bool = False,
    label_smoothing: float = 0.0, weights: bool = True,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Run a model without dropout and return every tensor on the way, under the names in ``NAMES``.

    ids:      (B, T) tokens, or (T,) for one sequence; the arrays are (B, ...) in both cases
    targets:  like ids, -100 where none counts; by default the ids shifted by one, and -100 at the end, or none for
        a single token, whose trace then ends with the logits
    backward: also the gradients of the loss: of the activations from last to first, then of the parameters
    label_smoothing: as in ``cross_entropy_forward``
    weights:  also the parameters, a copy of each: with them ``compare`` can recompute each tensor from its inputs
    returns dict from name to NumPy array, in the order of computation, in the dtype of the model; the gradients of
        attention's scores and probs are full matrices: grad.h.0.attn.probs is dheads v^T behind the mask too.
    raises: TypeError or ValueError for ids or targets of the wrong kind, shape or range, and for the gradients of
        a single token without a target.
    """
    if not isinstance(model, GPT2):
        raise TypeError(f"trace: model must be a GPT2, got {type(model).__name__}; GPT2.from_pretrained loads one")
    ids = _sequences(token_array(ids, "ids"))
    logits, cache = model.forward(ids)
    activations = flatten({
        "embd": cache["embd"],
        "h": [_block_activations(block) for block in cache["h"]],
        "ln_f": cache["head" if "head" in cache else "lm_head"]["x"],
        "logits": logits,
    })  # fmt: skip
    tensors = {"ids": ids.astype("int64")}
    if targets is None and ids.shape[1] == 1:
        if backward:
            raise ValueError("trace: after a single token there is none to predict; give targets for the gradients")
    else:
        targets = _next(ids) if targets is None else _sequences(token_array(targets, "targets"))
        beside = model.array_of_ids(targets, "targets", check_targets)  # where the logits are
        loss, loss_cache = cross_entropy_forward(logits, beside, label_smoothing)
        tensors["targets"] = targets.astype("int64")
        activations["loss"] = array_module(logits).asarray(loss)
    tensors |= activations
    if backward:
        tensors |= _gradients(cache, loss_cache, activations)
    tensors = {name: to_host(tensor) for name, tensor in tensors.items()}
    if weights:
        tensors |= {name: np.array(to_host(parameter)) for name, parameter in flatten(model.params).items()}
    return tensors


def write_trace(path, tensors, metadata):
    """Write a trace as a safetensors file, atomically.

    tensors:  a dict from ``trace``
    metadata: str -> str or anything that JSON can hold: the configuration, the model's name, a seed, ...; the
        version of minigpt2 and the dtype are added
    raises: OSError as the system reports it.
    """
    metadata = {"minigpt2": __version__, "dtype": tensors["logits"].dtype.name} | metadata
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    write_tensors(path, tensors, texts)


def read_trace(path, ours=None):
    """Read a trace from a file.

    path: a safetensors file, one that numpy.savez wrote, see ``read_npz``, one that a program in C wrote, see
        ``read_dump``, or a debug state of llm.c; the first bytes tell them apart
    ours: our trace, by whose sizes a debug state is read, if this is theirs
    returns dict from name to array, and the metadata: str -> str, none but in safetensors.
    raises: FileNotFoundError; ValueError, naming the file, when it is damaged or of another kind, with the line that
        writes one of these from what it seems to hold.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a file of tensors: {SAVEZ}")
    if not check_file(path):
        raise ValueError(f"{path} is empty: was it closed, or written at all?")
    with open(path, "rb") as file:
        start = file.read(256)
    if start[4:9] == b"\0\0\0\0{":  # safetensors: the length of a header, 8 bytes, and the header
        return read_tensors(path)
    if start.startswith(MAGIC):
        return read_dump(path), {}
    if start[:4] == llm_c_state.MAGIC.to_bytes(4, "little"):
        if ours is None:
            raise ValueError(f"{path} is a debug state of llm.c, which comes second: it does not say how large it is")
        return llm_c_state.debug_state_as_trace(path, ours), {}
    for magic, kind, advice in OTHER_FILES:
        if re.match(magic, start, re.DOTALL):
            raise ValueError(f"{path} is {kind}, which is not read here: {advice}")
    if start.startswith(b"PK") or path.suffix == ".npz":
        return read_npz(path), {}
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} is neither safetensors nor .npz nor a dump of named arrays: {SAVEZ}")
    return read_tensors(path)


def layer_norm_epsilon(metadata):
    """eps of the model that made a trace, from the file's metadata; 1e-5 if they do not say."""
    try:
        eps = float(json.loads(metadata["config"])["layer_norm_epsilon"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return 1e-5
    return eps if 0 < eps < math.inf else 1e-5


def _gradients(cache, loss_cache, activations):
    """The gradients of the activations from last to first, then of the parameters."""
    dcache = {"loss": array_module(activations["loss"]).ones_like(activations["loss"])}
    dlogits = cross_entropy_backward(1.0, loss_cache)
    _, grads = gpt2_backward(dlogits, cache, dcache=dcache)
    dcache["h"] = [_block_gradients(*pair) for pair in zip(dcache["h"], cache["h"], strict=True)]
    gradients, grads = flatten(dcache), flatten(grads)
    gradients = {f"grad.{name}": gradients[name] for name in reversed(activations)}
    return gradients | {f"grad.{name}": grads[name] for name in reversed(grads)}


def _sequences(ids):
    return ids[None] if ids.ndim == 1 else ids


def _next(ids):
    """The token after each of ids (B, T), and -100 after the last."""
    targets = np.roll(ids, -1, axis=1).astype("int64")
    targets[:, -1] = IGNORED
    return targets


@without_false_alarms
def _block_activations(cache):
    """The activations of a block; the output of a layer is found as the input of the next."""
    attn, mlp = cache["attn"], cache["mlp"]
    q, k = attn["q"], attn["k"]
    scores = q @ k.swapaxes(-1, -2)  # the only activation that forward does not keep
    scores *= 1.0 / math.sqrt(q.shape[-1])
    return {
        "ln_1": attn["c_attn"]["x"],
        "attn": {
            "q": q, "k": k, "v": attn["v"], "scores": scores, "probs": attn["probs"],
            "heads": attn["heads"], "out": attn["out"],
        },
        "resid_mid": cache["resid_mid"],
        "ln_2": mlp["c_fc"]["x"],
        "mlp": {"fc": mlp["gelu"]["x"], "gelu": mlp["c_proj"]["x"], "out": mlp["out"]},
        "resid_post": cache["resid_post"],
    }  # fmt: skip


@without_false_alarms
def _block_gradients(dcache, cache):
    """The gradients of the same; backward does not keep those of scores and probs, so they are computed here."""
    v, probs = cache["attn"]["v"], cache["attn"]["probs"]
    B, H, T, D = v.shape
    dheads = dcache["attn"]["heads"].reshape(B, T, H, D).swapaxes(1, 2)
    dprobs = dheads @ v.swapaxes(-1, -2)
    return dcache | {"attn": dcache["attn"] | {"scores": softmax_backward(dprobs, probs), "probs": dprobs}}
