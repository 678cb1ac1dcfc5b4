"""GPT-2: the components in order, and in reverse order for the gradients.

Shapes: B batch, T time (tokens), C channels (n_embd), H heads, V vocabulary, P positions (n_positions).
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable

import numpy as np

from minigpt2 import generation
from minigpt2.backend import array_module, device_generator, generator, module_of, on_host
from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.dropout import dropout_backward, dropout_forward
from minigpt2.components.embedding import (
    check_ids,
    embedding_backward,
    embedding_forward,
    token_array,
)
from minigpt2.components.feed_forward import feed_forward_backward, feed_forward_forward
from minigpt2.components.key_value_cache import KeyValueCache, KeyValueCaches
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.loss import check_targets, cross_entropy_backward, cross_entropy_forward
from minigpt2.components.output import output_backward, output_forward
from minigpt2.components.position import position_backward, position_forward
from minigpt2.components.residual import residual_backward, residual_forward
from minigpt2.config import GPT2Config
from minigpt2.parameters import allocate, allocate_like, flatten, moved
from minigpt2.storage import checkpoint


def block_forward(x, params, config, causal=True, rng=None, *, past=None, keep=True, padding=None):
    """One block: each sub-layer reads a normalised copy of the residual stream and adds to the stream.

        x <- x + dropout(attention(layer_norm(x)))
        x <- x + dropout(feed_forward(layer_norm(x)))

    x:      (B, T, C) the residual stream
    params: {"ln_1", "attn", "ln_2", "mlp"}
    config: GPT2Config
    causal: False lets every token see all others, as in BERT
    rng:    numpy.random.Generator for dropout while training; None: no dropout
    returns y (B, T, C) and the cache for ``block_backward``, in which resid_mid and resid_post (B, T, C) are
        the residual stream after each sub-layer.
    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.

    Not for a first reading: past, keep and padding are those of ``attention_forward``.
    """
    H, eps = config.n_head, config.layer_norm_epsilon
    y, ln_1 = layer_norm_forward(x, **params["ln_1"], eps=eps)  # (B, T, C), like everything below
    y, attn = attention_forward(
        y, params["attn"], H, causal, config.attn_pdrop, rng, past=past, keep=keep, padding=padding
    )
    y, attn_dropout = dropout_forward(y, config.resid_pdrop, rng)
    mid, _ = residual_forward(x, y)

    y, ln_2 = layer_norm_forward(mid, **params["ln_2"], eps=eps)
    y, mlp = feed_forward_forward(y, params["mlp"])
    y, mlp_dropout = dropout_forward(y, config.resid_pdrop, rng)
    post, _ = residual_forward(mid, y)
    return post, {
        "ln_1": ln_1, "attn": attn, "attn_dropout": attn_dropout, "resid_mid": mid,
        "ln_2": ln_2, "mlp": mlp, "mlp_dropout": mlp_dropout, "resid_post": post,
    }  # fmt: skip


def block_backward(dy, cache, *, out=None, dcache=None):
    """Gradients of ``block_forward``, in reverse order.

    Stream and branch both read x, so their gradients add.

    dy: (B, T, C) gradient of the output
    returns dx (B, T, C) and grads, nested like ``params``.

    Not for a first reading: out is a nested dict like ``params`` to write the parameters' gradients into; dcache is
    a dict that receives the gradients of ln_1, attn, resid_mid, ln_2, mlp and resid_post.
    """
    out = out or {"ln_1": None, "attn": None, "ln_2": None, "mlp": None}
    attn_dcache, mlp_dcache = (None, None) if dcache is None else ({}, {})
    dmid, dbranch = residual_backward(dy, {})
    dbranch = dropout_backward(dbranch, cache["mlp_dropout"])
    dln_2, mlp = feed_forward_backward(dbranch, cache["mlp"], out=out["mlp"], dcache=mlp_dcache)
    dbranch, dweight, dbias = layer_norm_backward(dln_2, cache["ln_2"], out=out["ln_2"])
    ln_2 = {"weight": dweight, "bias": dbias}
    dmid = dmid + dbranch

    dx, dbranch = residual_backward(dmid, {})
    dbranch = dropout_backward(dbranch, cache["attn_dropout"])
    dln_1, attn = attention_backward(dbranch, cache["attn"], out=out["attn"], dcache=attn_dcache)
    dbranch, dweight, dbias = layer_norm_backward(dln_1, cache["ln_1"], out=out["ln_1"])
    ln_1 = {"weight": dweight, "bias": dbias}
    dx = dx + dbranch
    if dcache is not None:
        dcache |= {
            "ln_1": dln_1, "attn": attn_dcache, "resid_mid": dmid, "ln_2": dln_2, "mlp": mlp_dcache, "resid_post": dy,
        }  # fmt: skip
    return dx, {"ln_1": ln_1, "attn": attn, "ln_2": ln_2, "mlp": mlp}


def gpt2_forward(
    ids, params, config, causal=True, rng=None, *, past=None, positions=slice(None), keep=True, padding=None
):
    """The whole model: from token ids to a score for every token of the vocabulary.

        x = dropout(wte[ids] + wpe[0 ... T-1])
        x = block(x)                for each of n_layer blocks
        logits = layer_norm(x) wte^T        or the model's own output layer, if it has one

    ids:    (B, T) integers
    params: nested dict with the names of the released checkpoints
    config, causal, rng: as in ``block_forward``
    returns logits (B, T, V) and the cache for ``gpt2_backward``; ``cache["h"][3]["attn"]["probs"]``
        are the attention maps (B, H, T, S) of block 3, counted from 0.
    raises: ValueError when ids are not (B, T), or empty; and as the components.
    Source: Radford et al. 2018, eq. 2; Radford et al. 2019, section 2.3.

    Not for a first reading: past is the KeyValueCaches of the tokens that ids continue; positions is a slice:
    logits are computed for these of the T positions only; keep=False drops each block's cache at once, for when no
    backward pass follows. padding (B,) is the number of tokens at the start of each sequence, those of ``past``
    included, that only fill it up to the length of the others; every other token gets the logits that it would get
    without them.
    """
    if ids.ndim != 2 or 0 in ids.shape:
        advice = "; one sequence is [ids]" if ids.ndim == 1 and ids.size else ""
        raise ValueError(f"ids must be (B, T), at least one token each, got shape {ids.shape}{advice}")
    x, wte = embedding_forward(ids, params["wte"]["weight"])  # (B, T) -> (B, T, C)
    x, wpe = position_forward(x, params["wpe"]["weight"], start=past.length if past else 0, padding=padding)
    x, embd_dropout = dropout_forward(x, config.embd_pdrop, rng)
    cache = {"wte": wte, "wpe": wpe, "embd_dropout": embd_dropout, "embd": x, "h": []}
    for layer, block in enumerate(params["h"]):
        x, block_cache = block_forward(
            x, block, config, causal, rng, past=past[layer] if past else None, keep=keep, padding=padding
        )
        cache["h"].append(block_cache if keep else None)
    x, cache["ln_f"] = layer_norm_forward(x[:, positions], **params["ln_f"], eps=config.layer_norm_epsilon)
    logits, output = output_forward(x, params)  # (B, T, C) -> (B, T, V)
    return logits, cache | output


def gpt2_backward(dlogits, cache, *, out=None, dcache=None):
    """Gradients of ``gpt2_forward`` (with ``keep`` and all positions, no ``past`` or ``padding``), in reverse order.

    If the output layer is the token embedding, its matrix collects the gradients of both uses.

    dlogits: (B, T, V) gradient of the logits
    returns dx (B, T, C), the gradient of the sum of the embeddings, and grads, nested like ``params``.

    Not for a first reading: out is a nested dict like ``params`` to write the gradients into; dcache is a dict that
    receives the gradients of the activations: embd, h (one dict per block), ln_f, logits.
    """
    n_layer = len(cache["h"])
    out = out or {"wte": None, "wpe": None, "h": [None] * n_layer, "ln_f": None}
    h, dblocks = [None] * n_layer, [None if dcache is None else {} for _ in range(n_layer)]

    dln_f, output = output_backward(dlogits, cache, out=out)
    dx, dweight, dbias = layer_norm_backward(dln_f, cache["ln_f"], out=out["ln_f"])
    ln_f = {"weight": dweight, "bias": dbias}
    for i in reversed(range(n_layer)):
        dx, h[i] = block_backward(dx, cache["h"][i], out=out["h"][i], dcache=dblocks[i])
    if dcache is not None:
        dcache |= {"embd": dx, "h": dblocks, "ln_f": dln_f, "logits": dlogits}
    dx = dropout_backward(dx, cache["embd_dropout"])
    dx, dweight = position_backward(dx, cache["wpe"], out=out["wpe"])
    wpe = {"weight": dweight}
    tied = "wte" in output  # then this array already holds the output layer's share
    share = output["wte"]["weight"] if tied else None
    wte = {"weight": embedding_backward(dx, cache["wte"], out=out["wte"], add_to=share)}
    return dx, {"wte": wte, "wpe": wpe, "h": h, "ln_f": ln_f} | ({} if tied else output)


class GPT2:
    """A GPT-2 with its parameters: ``model.config`` and ``model.params``, the nested dict of arrays."""

    def __init__(self, config: GPT2Config, seed: int = 0, dtype: str = "float32"):
        """A new model, initialised as in section 2.3 of the paper.

            weights ~ normal(0, 0.02); the last of each residual branch (c_proj) is divided by sqrt(2 n_layer)
            biases 0, gains of layer norms 1

        This is what transformers does; OpenAI's code starts wpe at normal(0, 0.01). Hidden layers of a deep head, which
        no residual connection bypasses, are normal(0, sqrt(2 / C)).

        config: GPT2Config; seed: for the random weights; dtype: "float32" or "float64"
        Sources: Radford et al. 2019, section 2.3, for the scaling of residual layers; He et al. 2015, "Delving
            Deep into Rectifiers", eq. 10, for the head.
        """
        if not isinstance(config, GPT2Config):
            raise TypeError(f"config must be a GPT2Config, got {config!r}; GPT2.from_pretrained loads a trained model")
        self.config = config
        rng = generator(seed)
        self.params = allocate(config.parameter_shapes(), _float_dtype(dtype), np)
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
    def from_pretrained(cls, name_or_path: str | os.PathLike, dtype: str = "float32") -> "GPT2":
        """Load trained weights.

        name_or_path: a folder in Hugging Face's layout (config.json, model.safetensors); "shakespeare",
            the small model inside this package; or a released model, downloaded once into a cache:
            "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2", or "owner/name" of another GPT-2 on the hub
        dtype: "float32" or "float64", to compute in; files may hold float16 or bfloat16 as well
        raises: ValueError when the name is unknown, a file is damaged or the files do not match, naming the tensors;
            FileNotFoundError. No memory is allocated for config.json before the weights are known to fit it.
        """
        from minigpt2.storage import hub  # imports requests, which takes longer than everything else together

        folder = hub.locate(name_or_path)
        model = cls.__new__(cls)
        model.config = GPT2Config.from_pretrained(folder)
        checkpoint.check_parameters(folder, model.config.iter_shapes())
        model.params = allocate(model.config.parameter_shapes(), _float_dtype(dtype), np)
        checkpoint.read_parameters(folder, flatten(model.params))
        return model

    @property
    def device(self) -> str:
        """Where the parameters are: "numpy", the host, or "cupy", a CUDA device."""
        return "numpy" if on_host(self.params["wte"]["weight"]) else "cupy"

    def to(self, device: str) -> "GPT2":
        """Move the parameters to a device, in place and in one transfer.

        An optimizer or adapters made for the old arrays must be created again.

        device: "numpy", the host, or "cupy", the current CUDA device
        returns the model itself.
        raises: ValueError for any other name, and when CuPy or a CUDA device is missing.
        """
        self.params = moved(self.params, module_of(device))
        return self

    def with_head(self, layers: int, seed: int = 0) -> "GPT2":
        """A copy of this model whose output layer is replaced by ``layers`` new ones; everything else is kept.

        With four, this is the conversion from a masked to a causal model that the document describes in section 3.1.

        layers: fully-connected layers with GELUs between them, see ``head_forward``; 1 for a new matrix (V, C)
        seed:   for their random weights
        """
        config = dataclasses.replace(self.config, head_layers=layers, tie_word_embeddings=False)
        model = GPT2(config, seed, self.params["wte"]["weight"].dtype).to(self.device)
        kept = {name: p for name, p in flatten(self.params).items() if not name.startswith(("head.", "lm_head."))}
        for name, parameter in flatten(model.params).items():
            if name in kept:
                parameter[...] = kept[name]
        return model

    def save_pretrained(self, folder: str | os.PathLike, dtype: str = "float32") -> None:
        """Write config.json and model.safetensors, which transformers' GPT2LMHeadModel can open too (unless there is
        a deep head).

        dtype: on disk: "float32", "float16" or "bfloat16"
        """
        parameters = flatten(moved(self.params, np))
        checkpoint.write_checkpoint(folder, self.config.to_dict(), parameters, dtype)

    def __repr__(self):
        c = self.config
        return (
            f"GPT2({self.num_parameters:,} parameters: n_layer={c.n_layer}, n_head={c.n_head}, n_embd={c.n_embd}, "
            f"n_positions={c.n_positions}, vocab_size={c.vocab_size}; "
            f"{self.params['wte']['weight'].dtype}, {self.device})"
        )

    @property
    def num_parameters(self) -> int:
        """The number of trainable parameters; 124,439,808 for "gpt2"."""
        return sum(parameter.size for parameter in flatten(self.params).values())

    def forward(
        self, ids: np.ndarray | list, rng: np.random.Generator | None = None, causal: bool = True, *,
        past: KeyValueCaches | None = None, positions: slice = slice(None), keep: bool = True,
        padding: np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict]:  # fmt: skip
        """Score every token of the vocabulary as the one that follows each token.

        ids:    (B, T) integers; lists are welcome
        rng:    numpy.random.Generator, switches the config's dropout on; on a device it gives the seed of the masks
        causal: False lets every token see all others, as in BERT
        returns logits (B, T, V), where logits[b, t] scores every candidate for the token *after* ids[b, t], and the
            cache of ``gpt2_forward``.
        raises: TypeError or ValueError when ids are not (B, T) tokens of the vocabulary.

        Not for a first reading: past, positions, keep and padding are those of ``gpt2_forward``.
        """
        if not isinstance(rng, np.random.Generator | None):
            raise TypeError(
                f"rng must be a numpy.random.Generator such as numpy.random.default_rng(0), or None, got {rng!r}"
            )
        config = self.config
        drops = config.embd_pdrop or config.attn_pdrop or config.resid_pdrop
        rng = device_generator(rng, array_module(self.params["wte"]["weight"])) if drops else None
        ids = self.array_of_ids(ids, "ids", check_ids)
        padding = None if padding is None else array_module(ids).asarray(padding)
        return gpt2_forward(
            ids, self.params, config, causal, rng, past=past, positions=positions, keep=keep, padding=padding
        )

    def loss(
        self, ids: np.ndarray | list, targets: np.ndarray | list, label_smoothing: float = 0.0, causal: bool = True
    ) -> float:  # fmt: skip
        """Mean cross-entropy in nats per counted target, without gradients; arguments as in ``loss_and_grads``."""
        targets = self.array_of_ids(targets, "targets", check_targets)
        logits, _ = self.forward(ids, causal=causal, keep=False)
        return float(cross_entropy_forward(logits, targets, label_smoothing)[0])

    def loss_and_grads(
        self, ids: np.ndarray | list, targets: np.ndarray | list, label_smoothing: float = 0.0,
        rng: np.random.Generator | None = None, causal: bool = True,
    ) -> tuple[float, dict]:  # fmt: skip
        """Mean cross-entropy and its gradient with respect to every parameter.

        ids:     (B, T) tokens
        targets: (B, T) the token that should follow each, i.e. ids shifted by one; -100 where none counts
        label_smoothing: see ``cross_entropy_forward``
        rng:     numpy.random.Generator, switches the config's dropout on; on a device it seeds the masks
        causal:  False for masked language modelling
        returns loss, a float in nats per counted target, and grads, nested like ``model.params``.
        """
        targets = self.array_of_ids(targets, "targets", check_targets)
        logits, cache = self.forward(ids, causal=causal, rng=rng)
        loss, loss_cache = cross_entropy_forward(logits, targets, label_smoothing)
        dlogits = cross_entropy_backward(1.0, loss_cache, out=logits)  # the logits are no longer needed
        _, grads = gpt2_backward(dlogits, cache, out=allocate_like(self.params))
        return float(loss), grads

    def generate(
        self, ids: np.ndarray | list, max_new_tokens: int = 20, temperature: float = 0.0, top_k: int | None = None,
        top_p: float | None = None, seed: int | np.random.Generator | list = 0, *, repetition_penalty: float = 1.0,
        stop: int | Iterable[int] | None = None, num_samples: int = 1, beams: int = 1, use_cache: bool = True,
        allowed: Iterable[int] | None = None,
    ) -> np.ndarray | list[np.ndarray]:  # fmt: skip
        """Continue token ids; see ``minigpt2.sampling.Sampling`` for more about the options.

        ids:            (T,) or (B, T) integers, one prompt or B prompts; lists are welcome, and lengths may differ
        max_new_tokens: how many tokens to add at most
        temperature:    0 takes the best token each time (greedy); above 0 draws one, 1 as the model predicts
        top_k, top_p:   draw from the k best tokens, from the fewest that have a probability of p together
        seed:           integer; the same seed draws the same tokens. Prompts of equal length draw in turn; those of
                        unequal length draw what each would alone
        repetition_penalty: above 1 makes tokens that occurred before less likely
        stop:           a token id, or several, that end a sequence
        num_samples:    continuations of each prompt
        beams:          above 1 looks for the likeliest continuation by beam search
        use_cache:      False reads everything again at each step: the same tokens, only slower
        allowed:        ids of the tokens that may be chosen, such as ``tokenizer.known_ids``; None: all
        returns the prompt and its n new tokens, (T + n,) or (B num_samples, T + n), int64; for prompts of unequal
            length a list of B num_samples arrays, each up to its own stop token.
        raises: TypeError or ValueError for arguments of the wrong kind or out of range.
        """
        return generation.generate(
            self, ids, max_new_tokens, stop=stop, use_cache=use_cache, temperature=temperature, top_k=top_k,
            top_p=top_p, seed=seed, repetition_penalty=repetition_penalty, num_samples=num_samples, beams=beams,
            allowed=allowed,
        )  # fmt: skip

    def key_value_cache(self, B: int, max_tokens: int | None = None) -> KeyValueCaches:
        """An empty key/value cache for B sequences, to pass to ``forward(ids, past=...)``.

        max_tokens: capacity for each sequence, n_positions by default
        """
        config, weight = self.config, self.params["wte"]["weight"]
        size = (B, config.n_head, max_tokens or config.n_positions, config.n_embd // config.n_head)
        xp = array_module(weight)
        return KeyValueCaches([KeyValueCache(*size, weight.dtype, xp) for _ in range(config.n_layer)])

    def array_of_ids(self, values: np.ndarray | list, name: str, check: Callable) -> np.ndarray:
        """Token ids as an integer array on the parameters' device; lists are welcome.

        check: the check of the component that takes them; it can read values on the host only
        """
        array, xp = token_array(values, name), array_module(self.params["wte"]["weight"])
        if xp is np:
            return array
        check(array, self.config.vocab_size)
        return xp.asarray(array) if on_host(values) else values


def _float_dtype(dtype):
    try:
        right = dtype is not None and np.dtype(dtype) in (np.float32, np.float64)  # NumPy takes None for float64
    except TypeError:
        right = False
    if not right:
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    return np.dtype(dtype)
