"""GPT-2: the components in order, and the same upside-down for the gradients.

Shapes: B batch, T time (tokens), C channels (n_embd), H heads, V vocabulary, P positions (n_positions).
"""

import dataclasses
import math
import reprlib
import sys
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from minigpt2 import checkpoint
from minigpt2.backend import array_module, device_generator, module_of, on_host, to_host
from minigpt2.components.attention import KeyValueCache, attention_backward, attention_forward
from minigpt2.components.dropout import dropout_backward, dropout_forward
from minigpt2.components.embedding import (
    check_ids,
    embedding_backward,
    embedding_forward,
    unembedding_backward,
    unembedding_forward,
)
from minigpt2.components.feed_forward import feed_forward_backward, feed_forward_forward
from minigpt2.components.head import head_backward, head_forward
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.loss import check_targets, cross_entropy_backward, cross_entropy_forward
from minigpt2.components.position import position_backward, position_forward
from minigpt2.components.residual import residual_backward, residual_forward
from minigpt2.parameters import allocate, allocate_like, flatten, moved

PRESETS = {  # the four released sizes, under their names on the hub
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}

# Variations that Hugging Face's configuration can describe but that GPT-2 as released does not have.
FIXED_BY_GPT2 = {
    "activation_function": "gelu_new",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


MAX_SIZE = 2**31 - 1  # of anything: what is above is no size, but a fault in a file


@dataclass(frozen=True)
class GPT2Config:
    """The numbers that make one GPT-2 differ from another, under Hugging Face's names.

    vocab_size: V; n_positions: P, the most tokens it can look at; n_embd: C; n_layer: number of blocks;
    n_head: H, a divisor of C; n_inner: F, width of the feed-forward network, 4 C when None;
    embd_pdrop, attn_pdrop, resid_pdrop: dropout probabilities while training, in [0, 1);
    layer_norm_epsilon: eps of every layer norm; initializer_range: standard deviation of new weights;
    tie_word_embeddings: whether the output layer is the token embedding;
    head_layers: L, above 1 for an output layer of L fully-connected ones, which GPT-2 as released does not have;
    bos_token_id, eos_token_id: the token <|endoftext|>, which begins and ends a document, if there is one.
    raises: TypeError or ValueError when a number is of the wrong kind or out of range.
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    resid_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    head_layers: int = 1
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self):
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "head_layers"):
            value = getattr(self, name)
            if name == "n_inner" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"GPT2Config: {name} must be an integer, got {reprlib.repr(value)}")
            if value < 1:
                raise ValueError(f"GPT2Config: {name} must be at least 1, got {reprlib.repr(value)}")
            if value > MAX_SIZE:
                raise ValueError(f"GPT2Config: {name} must be at most {MAX_SIZE:,}, got {reprlib.repr(value)}")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"GPT2Config: n_embd={self.n_embd} must be a multiple of n_head={self.n_head}, "
                "because every head gets an equal share of the channels"
            )
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop", "layer_norm_epsilon", "initializer_range"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), Real):
                raise TypeError(f"GPT2Config: {name} must be a number, got {reprlib.repr(getattr(self, name))}")
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"GPT2Config: {name} must be in [0, 1), got {reprlib.repr(getattr(self, name))}")
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            if not 0 < value <= sys.float_info.max:
                wanted = "finite" if value > 0 else "above 0"
                raise ValueError(f"GPT2Config: {name} must be {wanted}, got {reprlib.repr(value)}")
        if not isinstance(self.tie_word_embeddings, bool):
            raise TypeError(
                f"GPT2Config: tie_word_embeddings must be true or false, got {reprlib.repr(self.tie_word_embeddings)}"
            )
        for name in ("bos_token_id", "eos_token_id"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
                raise TypeError(f"GPT2Config: {name} must be an integer or None, got {reprlib.repr(value)}")

    @classmethod
    def preset(cls, name, **changes):
        """The configuration of a released size: "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl"."""
        if name not in PRESETS:
            raise ValueError(f"GPT2Config.preset: expected one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**PRESETS[name] | {"bos_token_id": 50256, "eos_token_id": 50256} | changes)

    @classmethod
    def from_dict(cls, values):
        """Read the content of a Hugging Face config.json; keys that do not change the model are passed over.

        raises: ValueError when a value is of the wrong kind or out of range, or asks for what GPT-2 does not have.
        """
        for name, wanted in FIXED_BY_GPT2.items():
            if values.get(name, wanted) != wanted:
                raise ValueError(
                    f"config: {name}={reprlib.repr(values[name])}, but GPT-2 as released has {wanted!r}"
                )
        if values.get("model_type", "gpt2") not in ("gpt2", "minigpt2"):
            raise ValueError(f"config: model_type is {reprlib.repr(values['model_type'])}, expected 'gpt2'")
        names = {field.name for field in dataclasses.fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in names})
        except TypeError as error:  # a fault of the file, not of the code
            raise ValueError(str(error)) from None

    @classmethod
    def from_pretrained(cls, folder):
        """Read a folder's config.json; errors as ``from_dict``, naming the file, and FileNotFoundError."""
        values = checkpoint.read_config(folder)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{Path(folder) / checkpoint.CONFIG}: {error}") from None

    def to_dict(self):
        """The content of a config.json that Hugging Face's transformers understands.

        Unless head_layers is above 1: that model is not one of theirs, and is not called so.
        """
        values = {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "activation_function": "gelu_new",
            **dataclasses.asdict(self),
        }
        if self.head_layers > 1:
            return values | {"architectures": ["GPT2"], "model_type": "minigpt2"}
        del values["head_layers"]
        return values

    def parameter_shapes(self):
        """Dict from the dotted name of each parameter to its shape, in the order of computation."""
        return dict(self.iter_shapes())

    def iter_shapes(self):
        """Yield the pairs of ``parameter_shapes`` one by one, of which a hostile config.json can ask for any number."""
        V, P, C, F = self.vocab_size, self.n_positions, self.n_embd, self.n_inner or 4 * self.n_embd
        yield "wte.weight", (V, C)
        yield "wpe.weight", (P, C)
        for layer in range(self.n_layer):
            for name, *shape in (
                ("ln_1", C), ("attn.c_attn", C, 3 * C), ("attn.c_proj", C, C),
                ("ln_2", C), ("mlp.c_fc", C, F), ("mlp.c_proj", F, C),
            ):  # fmt: skip
                yield f"h.{layer}.{name}.weight", tuple(shape)
                yield f"h.{layer}.{name}.bias", (shape[-1],)
        yield "ln_f.weight", (C,)
        yield "ln_f.bias", (C,)
        if self.head_layers > 1:
            for layer in range(self.head_layers):
                outputs = V if layer == self.head_layers - 1 else C
                yield f"head.{layer}.weight", (C, outputs)
                yield f"head.{layer}.bias", (outputs,)
        elif not self.tie_word_embeddings:
            yield "lm_head.weight", (V, C)


def block_forward(
    x, params, n_head, eps=1e-5, causal=True, attn_pdrop=0.0, resid_pdrop=0.0, rng=None, past=None, keep=True
):
    """One block: each sub-layer reads a normalised copy of the residual stream and adds to the stream.

        x <- x + dropout(attention(layer_norm(x)))
        x <- x + dropout(feed_forward(layer_norm(x)))

    x:      (B, T, C) the residual stream
    params: {"ln_1", "attn", "ln_2", "mlp"}
    n_head, causal, past, keep: as in ``attention_forward``; eps: of both layer norms
    attn_pdrop, resid_pdrop: dropout probabilities, used if ``rng`` is given
    returns y (B, T, C) and the cache for ``block_backward``; in it resid_mid and resid_post (B, T, C) are
        the residual stream after each sub-layer.
    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
    """
    y, ln_1 = layer_norm_forward(x, **params["ln_1"], eps=eps)
    y, attn = attention_forward(y, params["attn"], n_head, causal, attn_pdrop, rng, past, keep)
    y, attn_dropout = dropout_forward(y, resid_pdrop, rng)
    mid, _ = residual_forward(x, y)

    y, ln_2 = layer_norm_forward(mid, **params["ln_2"], eps=eps)
    y, mlp = feed_forward_forward(y, params["mlp"])
    y, mlp_dropout = dropout_forward(y, resid_pdrop, rng)
    post, _ = residual_forward(mid, y)
    return post, {
        "ln_1": ln_1, "attn": attn, "attn_dropout": attn_dropout, "resid_mid": mid,
        "ln_2": ln_2, "mlp": mlp, "mlp_dropout": mlp_dropout, "resid_post": post,
    }  # fmt: skip


def block_backward(dy, cache, out=None, dcache=None):
    """Gradients of ``block_forward``, which run through it upside-down.

    Where a branch left the stream, its gradient comes back and is added.

    dy:  (B, T, C) gradient of the output
    out: nested dict like ``params`` to write the parameters' gradients into; new arrays by default
    dcache: dict that receives the gradients of ln_1, attn, resid_mid, ln_2, mlp and resid_post
    returns dx (B, T, C) and grads, nested like ``params``.
    """
    out = out or {"ln_1": None, "attn": None, "ln_2": None, "mlp": None}
    dattn, dmlp = (None, None) if dcache is None else ({}, {})
    dmid, dbranch = residual_backward(dy, {})
    dbranch = dropout_backward(dbranch, cache["mlp_dropout"])
    dln_2, mlp = feed_forward_backward(dbranch, cache["mlp"], out["mlp"], dmlp)
    dbranch, *ln_2 = layer_norm_backward(dln_2, cache["ln_2"], out["ln_2"])
    dmid = dmid + dbranch

    dx, dbranch = residual_backward(dmid, {})
    dbranch = dropout_backward(dbranch, cache["attn_dropout"])
    dln_1, attn = attention_backward(dbranch, cache["attn"], out["attn"], dattn)
    dbranch, *ln_1 = layer_norm_backward(dln_1, cache["ln_1"], out["ln_1"])
    dx = dx + dbranch
    if dcache is not None:
        dcache |= {
            "ln_1": dln_1, "attn": dattn, "resid_mid": dmid, "ln_2": dln_2, "mlp": dmlp, "resid_post": dy,
        }  # fmt: skip
    return dx, {
        "ln_1": {"weight": ln_1[0], "bias": ln_1[1]},
        "attn": attn,
        "ln_2": {"weight": ln_2[0], "bias": ln_2[1]},
        "mlp": mlp,
    }


def gpt2_forward(ids, params, config, causal=True, rng=None, past=None, positions=slice(None), keep=True):
    """The whole model: from token ids to a score for every token of the vocabulary.

        x = dropout(wte[ids] + wpe[0 ... T-1])
        x = block(x)                for each of n_layer blocks
        logits = layer_norm(x) wte^T

    ids:       (B, T) integers
    params:    nested dict with the names of the released checkpoints
    config:    GPT2Config
    causal:    False lets every token see all others, as in BERT
    rng:       numpy.random.Generator for dropout while training; None: no dropout
    past:      list of a KeyValueCache per block: ids continue the tokens in there
    positions: slice of the T positions whose logits are wanted
    keep:      False lets go of each block's cache at once, where no backward pass follows
    returns logits (B, T or fewer, V) and the cache for ``gpt2_backward``; ``cache["h"][3]["attn"]["probs"]``
        is the attention map of block 3.
    Source: Radford et al. 2018, eq. 2; Radford et al. 2019, section 2.3.
    """
    if ids.ndim != 2 or 0 in ids.shape:
        raise ValueError(f"ids must be (B, T), at least one token each, got shape {ids.shape}")
    x, wte = embedding_forward(ids, params["wte"]["weight"])
    x, wpe = position_forward(x, params["wpe"]["weight"], start=past[0].length if past else 0)
    x, embd_dropout = dropout_forward(x, config.embd_pdrop, rng)
    cache = {"wte": wte, "wpe": wpe, "embd_dropout": embd_dropout, "embd": x, "h": []}
    for layer, block in enumerate(params["h"]):
        x, block_cache = block_forward(
            x, block, config.n_head, config.layer_norm_epsilon, causal,
            config.attn_pdrop, config.resid_pdrop, rng, past[layer] if past else None, keep,
        )  # fmt: skip
        cache["h"].append(block_cache if keep else None)
    x, cache["ln_f"] = layer_norm_forward(x[:, positions], **params["ln_f"], eps=config.layer_norm_epsilon)
    if "head" in params:
        logits, cache["head"] = head_forward(x, params["head"])
    else:
        logits, cache["lm_head"] = unembedding_forward(x, params.get("lm_head", params["wte"])["weight"])
    return logits, cache


def gpt2_backward(dlogits, cache, out=None, dcache=None):
    """Gradients of ``gpt2_forward`` (without ``past``, with ``keep`` and all positions), upside-down.

    Where the output layer is the token embedding, its matrix collects the gradient of both uses.

    dlogits: (B, T, V) gradient of the logits
    out:     nested dict like ``params`` to write the gradients into; new arrays by default
    dcache:  dict that receives the gradients of the activations: embd, h (one dict per block), ln_f, logits
    returns dx (B, T, C), the gradient of the sum of the embeddings, and grads, nested like ``params``.
    """
    deep = "head" in cache
    tied = not deep and cache["lm_head"]["weight"] is cache["wte"]["weight"]
    output = "head" if deep else "wte" if tied else "lm_head"
    grads = dict.fromkeys(["wte", "wpe", "h", "ln_f", output])
    out = out or grads | {"h": [None] * len(cache["h"])}

    if deep:
        dln_f, grads["head"] = head_backward(dlogits, cache["head"], out["head"])
    else:
        dln_f, dhead = unembedding_backward(dlogits, cache["lm_head"], out[output])
    dx, *ln_f = layer_norm_backward(dln_f, cache["ln_f"], out["ln_f"])
    grads["ln_f"] = {"weight": ln_f[0], "bias": ln_f[1]}
    grads["h"] = []
    dblocks = [None if dcache is None else {} for _ in cache["h"]]
    for i in reversed(range(len(cache["h"]))):
        dx, block_grads = block_backward(dx, cache["h"][i], out["h"][i], dblocks[i])
        grads["h"].insert(0, block_grads)
    if dcache is not None:
        dcache |= {"embd": dx, "h": dblocks, "ln_f": dln_f, "logits": dlogits}
    dx = dropout_backward(dx, cache["embd_dropout"])
    dx, dwpe = position_backward(dx, cache["wpe"], out["wpe"])
    grads["wpe"] = {"weight": dwpe}
    if tied:
        grads["wte"] = {"weight": embedding_backward(dx, cache["wte"], {"weight": dhead})}
    else:
        if not deep:
            grads["lm_head"] = {"weight": dhead}
        if out["wte"]:
            out["wte"]["weight"][...] = 0  # embedding_backward adds
        grads["wte"] = {"weight": embedding_backward(dx, cache["wte"], out["wte"])}
    return dx, grads


class GPT2:
    """A GPT-2 with its parameters: ``model.config`` and ``model.params``, the nested dict of arrays."""

    def __init__(self, config, seed=0, dtype="float32"):
        """A new model, initialised as GPT-2 was.

            weights ~ normal(0, 0.02), those that end a residual branch (c_proj) / sqrt(2 n_layer)
            biases 0, gains of layer norms 1

        Hidden layers of a deep head, around which no residual stream leads, are normal(0, sqrt(2 / C)).

        config: GPT2Config; seed: of the random weights; dtype: "float32" or "float64"
        Sources: Radford et al. 2019, section 2.3, for the scaling of residual layers; He et al. 2015, "Delving
            Deep into Rectifiers", eq. 10, for the head.
        """
        self.config = config
        self.params = allocate(config.parameter_shapes(), _float_dtype(dtype), np)
        rng = np.random.default_rng(seed)
        for name, parameter in flatten(self.params).items():
            if parameter.ndim == 1:
                parameter[...] = 1.0 if ".ln_" in f".{name}" and name.endswith(".weight") else 0.0
                continue
            rng.standard_normal(dtype=parameter.dtype, out=parameter)
            hidden = name.startswith("head.") and name != f"head.{config.head_layers - 1}.weight"
            parameter *= math.sqrt(2 / config.n_embd) if hidden else config.initializer_range
            if name.endswith("c_proj.weight"):
                parameter *= 1.0 / math.sqrt(2 * config.n_layer)

    @classmethod
    def from_pretrained(cls, name_or_path, dtype="float32"):
        """Load trained weights.

        name_or_path: a folder in Hugging Face's layout (config.json, model.safetensors); "shakespeare",
            the small model inside this package; or a released one, downloaded once into a cache:
            "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2"
        dtype: "float32" or "float64", to compute in; files may hold float16 or bfloat16 as well
        raises: ValueError when the name is unknown, a file is damaged or they do not fit, naming the tensors;
            FileNotFoundError. Nothing that config.json asks for gets memory before the weights are there.
        """
        from minigpt2 import hub  # imports requests, which takes longer than the rest together

        folder = hub.locate(name_or_path)
        model = cls.__new__(cls)
        model.config = GPT2Config.from_pretrained(folder)
        checkpoint.check_parameters(folder, model.config.iter_shapes())
        model.params = allocate(model.config.parameter_shapes(), _float_dtype(dtype), np)
        checkpoint.read_parameters(folder, flatten(model.params))
        return model

    @property
    def device(self):
        """Where the parameters are: "numpy", the host, or "cupy", a CUDA device."""
        return "numpy" if on_host(self.params["wte"]["weight"]) else "cupy"

    def to(self, device):
        """Move the parameters to a device, in place and in one transfer.

        What was made for the parameters as they were, an optimizer or adapters, is to be made anew.

        device: "numpy", the host, or "cupy", the current CUDA device
        returns the model itself.
        raises: ValueError for another name, and where CuPy or a CUDA device is missing.
        """
        self.params = moved(self.params, module_of(device))
        return self

    def with_head(self, layers, seed=0):
        """A copy of this model whose output layer is replaced by ``layers`` new ones; everything else is kept.

        The conversion that the document describes in section 3.1, with four, from a masked to a causal model.

        layers: fully-connected layers with a GELU between, see ``head_forward``; 1 for a new matrix (V, C)
        seed:   of their random weights
        """
        config = dataclasses.replace(self.config, head_layers=layers, tie_word_embeddings=False)
        model = GPT2(config, seed, self.params["wte"]["weight"].dtype).to(self.device)
        kept = {name: p for name, p in flatten(self.params).items() if not name.startswith(("head.", "lm_head."))}
        for name, parameter in flatten(model.params).items():
            if name in kept:
                parameter[...] = kept[name]
        return model

    def save_pretrained(self, folder, dtype="float32"):
        """Write config.json and model.safetensors, which transformers' GPT2LMHeadModel opens as well (without a
        deep head).

        dtype: "float32", "float16" or "bfloat16", on disk
        """
        parameters = flatten(moved(self.params, np))
        checkpoint.write_checkpoint(folder, self.config.to_dict(), parameters, dtype)

    @property
    def num_parameters(self):
        """How many numbers there are to learn; 124,439,808 for "gpt2"."""
        return sum(parameter.size for parameter in flatten(self.params).values())

    def forward(self, ids, rng=None, **options):
        """Logits (B, T, V) of token ids (B, T), and the cache; see ``gpt2_forward`` for the options.

        logits[b, t] scores every candidate for the token *after* ids[b, t].
        """
        config = self.config
        drops = config.embd_pdrop or config.attn_pdrop or config.resid_pdrop
        rng = device_generator(rng, array_module(self.params["wte"]["weight"])) if drops else None
        return gpt2_forward(self._array(ids, "ids", check_ids), self.params, config, rng=rng, **options)

    def loss(self, ids, targets, label_smoothing=0.0, causal=True):
        """Mean cross-entropy in nats per counted target, without gradients; arguments as ``loss_and_grads``."""
        targets = self._array(targets, "targets", check_targets)
        logits, _ = self.forward(ids, causal=causal, keep=False)
        return float(cross_entropy_forward(logits, targets, label_smoothing)[0])

    def loss_and_grads(self, ids, targets, label_smoothing=0.0, rng=None, causal=True):
        """Mean cross-entropy and its gradient with respect to every parameter.

        ids:     (B, T) tokens
        targets: (B, T) the token that should follow each, i.e. ids moved by one; -100 where none counts
        label_smoothing: see ``cross_entropy_forward``
        rng:     numpy.random.Generator, switches the config's dropout on; on a device it gives the seed of the masks
        causal:  False for masked language modelling
        returns loss, a float in nats per counted target, and grads, nested like ``model.params``.
        """
        targets = self._array(targets, "targets", check_targets)
        logits, cache = self.forward(ids, causal=causal, rng=rng)
        loss, loss_cache = cross_entropy_forward(logits, targets, label_smoothing)
        dlogits = cross_entropy_backward(1.0, loss_cache, out=logits)  # nobody needs the logits any more
        _, grads = gpt2_backward(dlogits, cache, out=allocate_like(self.params))
        return float(loss), grads

    def generate(self, ids, max_new_tokens=20, temperature=0.0, top_k=None, top_p=None, seed=0, **options):
        """Continue token ids; see ``minigpt2.generation.stream`` for the arguments.

        ids: (T,) or (B, T); returns them with the new tokens, (T + n,) or (B, T + n), int64.
        """
        from minigpt2 import generation  # which is built on this module

        return generation.generate(
            self, ids, max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, **options
        )

    def key_value_cache(self, B, max_tokens=None):
        """An empty key/value cache for B sequences: what ``forward(ids, past=...)`` continues.

        max_tokens: room to make, n_positions by default
        """
        config, weight = self.config, self.params["wte"]["weight"]
        size = (B, config.n_head, max_tokens or config.n_positions, config.n_embd // config.n_head)
        return [KeyValueCache(*size, weight.dtype, array_module(weight)) for _ in self.params["h"]]

    def _array(self, values, name, check):
        """Token ids as an integer array beside the parameters; lists are welcome.

        check: of the component that takes them, which can look at them on the host only
        """
        array, xp = token_array(values, name), array_module(self.params["wte"]["weight"])
        if xp is np:
            return array
        check(array, self.config.vocab_size)
        return xp.asarray(array) if on_host(values) else values


def token_array(values, name):
    """Token ids as an integer array on the host; lists are welcome."""
    try:
        array = np.asarray(to_host(values))
    except ValueError:
        raise ValueError(f"{name} must be (B, T) with rows of equal length") from None
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}; encode text with a Tokenizer")
    return array


def _float_dtype(dtype):
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    return np.dtype(dtype)
