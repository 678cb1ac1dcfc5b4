"""``minigpt2 convert``: a GPT-2 that another program has saved becomes a folder in Hugging Face's layout.

What differs between the programs is only how the same numbers are stored: names with something in front, matrices
(out, in) instead of (in, out), one matrix for two tied ones, no biases where they are zero. Every parameter must be
found once, with its shape, and nothing may be left over; then the new model computes what the old one did.
"""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np

from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.config import GPT2Config
from minigpt2.shell import option, shell_line
from minigpt2.storage import checkpoint
from minigpt2.storage.files import atomic_folder
from minigpt2.storage.foreign import Foreign, read_foreign
from minigpt2.tokenizer import Tokenizer

USUAL_NAMES = {  # of the numbers in a configuration, where nanoGPT, minGPT and OpenAI have others
    "block_size": "n_positions", "n_ctx": "n_positions", "max_position_embeddings": "n_positions",
    "n_vocab": "vocab_size", "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
}  # fmt: skip
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer")  # which the weights themselves tell
ERF = (
    "nanoGPT has computed GELU in its erf form since May 2023, GPT-2 and the new model compute it in the tanh form: "
    "each activation differs by up to 0.0005, and the logits accordingly"
)


def convert(
    source: str | os.PathLike, out: str | os.PathLike, n_head: int | None = None,
    tokenizer: Tokenizer | CharTokenizer | None = None,
) -> list[tuple[str, str]]:  # fmt: skip
    """Write the model in a checkpoint of PyTorch, llm.c or TensorFlow as config.json and model.safetensors.

    source: a file, the prefix of a TensorFlow checkpoint's files, or a folder that holds one checkpoint
    out: the new folder; it may exist, but must be empty
    n_head: attention heads, where neither the checkpoint nor a config.json beside it tells: the weights do not
    tokenizer: to save beside the model; by default the one in the checkpoint's folder, if there is one
    returns what was done, as pairs of a heading and a sentence.
    raises: ValueError, and nothing is written, when a tensor is missing, left over or misshapen, when numbers
        contradict one another, or when ``out`` is not empty; and as ``read_foreign``.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty: give a new folder for the converted model")
    found = read_foreign(source)
    parameters, done = _parameters(found, source)
    config = _config(found, parameters, n_head, source)
    if faults := checkpoint.misfits(parameters, config.iter_shapes())[0]:
        _refuse(source, found, faults)
    own_tokenizer, words = _tokenizer(found.folder, tokenizer, config)
    if own_tokenizer and config.eos_token_id is None:
        end = own_tokenizer.eos_id
        config = dataclasses.replace(config, bos_token_id=end, eos_token_id=end)

    with atomic_folder(out) as folder:
        order = config.parameter_shapes()
        try:
            checkpoint.write_checkpoint(folder, config.to_dict(), {name: parameters[name] for name in order})
        except ValueError as error:  # of numbers that are not finite
            raise ValueError(f"{source}: {error}") from None
        if own_tokenizer:
            own_tokenizer.save_pretrained(folder)
    count = sum(parameters[name].size for name in order)
    try_it = f"; try it: {shell_line('minigpt2', 'generate', *option('--model', out))}"
    head = "the token embedding" if config.tie_word_embeddings else "a matrix of its own"
    return [
        ("read", f"{source}: {found.kind}, by {found.reader}"),
        ("model", f"{config.n_layer} layers, {config.n_head} heads, {config.n_embd:,} channels, "
                  f"{config.n_positions:,} positions, {config.vocab_size:,} tokens: {count:,} parameters"),
        *done,
        ("output", f"its layer is {head}"),
        *_note(found, done, config),
        ("tokenizer", words),
        ("written", str(out) + (try_it if own_tokenizer else "")),
    ]  # fmt: skip


def _parameters(found: Foreign, source):
    """Own name -> array, with all matrices (in, out), and what was done for it, as in ``convert``."""
    own = checkpoint.own_names(found.tensors)
    tensors, twice = checkpoint.named_as_ours(list(found.tensors.items()))
    wte, c_attn = tensors.get("wte.weight"), tensors.get("h.0.attn.c_attn.weight")
    if twice or wte is None or wte.ndim != 2 or c_attn is None:
        missing = [name for name in ("wte.weight", "h.0.attn.c_attn.weight") if name not in tensors]
        _refuse(source, found, twice + [f"{name} is missing" for name in missing])
    done = []
    taken = {name.removesuffix(own[name]) for name in found.tensors if name.endswith(own[name])} - {""}
    if taken - {"transformer."}:  # which is Hugging Face's own
        done.append(("names", f"{' and '.join(map(checkpoint.printable, sorted(taken)))} taken off"))

    C = wte.shape[1]
    if c_attn.shape == (3 * C, C):
        turn = {name for name in tensors if re.fullmatch(r"h\.\d+\..*\.weight", name) and tensors[name].ndim == 2}
        tensors = {name: tensor.T if name in turn else tensor for name, tensor in tensors.items()}
        done.append(("matrices", "transposed: (out, in) in the checkpoint, as in PyTorch's nn.Linear"))
    if not any(name.endswith(".bias") for name in tensors):
        weights = [n for n in tensors if n == "ln_f.weight" or (n.startswith("h.") and n.endswith(".weight"))]
        zeros = {f"{n.removesuffix('weight')}bias": np.zeros(tensors[n].shape[-1:], np.float32) for n in weights}
        tensors |= zeros
        done.append(("biases", f"none in the checkpoint: {len(zeros)} of zeros, which change nothing"))
    return tensors, done


def _config(found: Foreign, parameters, n_head, source):
    """The configuration: sizes as the weights have them, everything else as the checkpoint or a file beside it says."""
    values, beside = _usual(found.values), _usual(found.beside)
    values.pop("model_type", None)
    sizes = _sizes(parameters)
    for name in ("n_head", *SIZES):
        said = {"--n-head": n_head} if name == "n_head" else {"the weights": sizes[name]}
        said |= {"the checkpoint": values.get(name), "the file beside it": beside.get(name)}
        said = {who: number for who, number in said.items() if number is not None}
        if len(set(map(repr, said.values()))) > 1:
            contradiction = ", ".join(f"{number!r} by {who}" for who, number in said.items())
            raise ValueError(f"{source}: {name} is {contradiction}; correct what is wrong")
        if not said:
            raise ValueError(
                f"{source}: neither the weights nor a config.json beside them tell how many attention heads there are; "
                f"give --n-head N"
            )
        sizes[name] = next(iter(said.values()))
    tied = _tied(parameters, beside, source)
    try:
        return GPT2Config.from_dict(beside | values | sizes | {"tie_word_embeddings": tied})
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _note(found, done, config):
    """The one difference that no weights show: which GELU the model was trained with."""
    if found.kind.endswith("nanoGPT"):
        return [("note", ERF)]
    # As nanoGPT's state dict alone would be; minGPT's, with the tanh form, has an output layer of its own.
    like_nanogpt = "matrices" in dict(done) and config.tie_word_embeddings and "PyTorch" in found.kind
    return [("note", f"in case nanoGPT saved it: {ERF}")] if like_nanogpt else []


def _usual(values):
    """What a checkpoint or a file says, under the names of GPT2Config; what is not known does not count."""
    values = {name: value for name, value in values.items() if value is not None}
    usual = {name: value for name, value in values.items() if name not in USUAL_NAMES}
    for name in values.keys() & USUAL_NAMES.keys():
        usual.setdefault(USUAL_NAMES[name], values[name])
    dropout = usual.get("dropout")
    return ({f"{place}_pdrop": dropout for place in ("embd", "attn", "resid")} if dropout is not None else {}) | usual


def _sizes(parameters):
    """The sizes that the weights have, with 0 for one that cannot be told."""

    def size(name, axis):
        shape = getattr(parameters.get(name), "shape", ())
        return int(shape[axis]) if len(shape) == 2 else 0

    layers = {int(match[1]) for name in parameters if (match := re.match(r"h\.(\d{1,6})\.", name))}
    inner = size("h.0.mlp.c_fc.weight", 1)
    return {
        "vocab_size": size("wte.weight", 0), "n_positions": size("wpe.weight", 0), "n_embd": size("wte.weight", 1),
        "n_layer": max(layers) + 1, "n_inner": None if inner in (0, 4 * size("wte.weight", 1)) else inner,
    }  # fmt: skip


def _tied(parameters, beside, source):
    """Whether the output layer is the token embedding."""
    head, wte = parameters.get("lm_head.weight"), parameters["wte.weight"]
    same = head is None or np.array_equal(head, wte)
    # transformers ties the two unless config.json says that it does not, and then ignores lm_head.weight.
    says = beside.get("tie_word_embeddings", True if beside.get("model_type") == "gpt2" else same)
    if says and not same:
        raise ValueError(
            f"{source} holds an lm_head.weight that is not wte.weight, but by the {checkpoint.CONFIG} beside it they "
            'are one: set "tie_word_embeddings": false there if the model has an output layer of its own'
        )
    return bool(says)


def _tokenizer(folder, given, config):
    """The tokenizer to save, or None, and a sentence about it."""
    V = config.vocab_size
    try:
        tokenizer = given or Tokenizer.from_pretrained(folder)
    except FileNotFoundError:
        return None, (
            "none in the checkpoint's folder: save the model's own into the new one, Tokenizer.from_pretrained('gpt2') "
            "or, for characters, CharTokenizer.train(text), with .save_pretrained(folder); nanoGPT's meta.pkl is a "
            "pickle and never read"
        )
    if len(tokenizer) > V:
        raise ValueError(
            f"the tokenizer{'' if given else f' in {folder}'} has ids up to {len(tokenizer) - 1:,}, but the model has "
            f"{V:,} tokens: the two do not belong together"
        )
    known = len(tokenizer.known_ids)
    return tokenizer, f"{known:,} tokens" + (f"; the other {V - known:,} ids have none" if known < V else "")


def _refuse(source, found, faults):
    """Raise ValueError with what keeps the tensors from being those of a GPT-2."""
    names = checkpoint.names_there(list(found.tensors))
    raise ValueError(f"{source} holds no GPT-2 that can be converted: {checkpoint.listed(faults)}{names}")
