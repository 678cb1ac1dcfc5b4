"""Reference values for every component and the whole model, from an independent implementation: PyTorch's autograd.

``CASES`` lists every comparison once: how inputs are drawn, and the torch expression of the forward pass; the
backward pass is autograd's. ``record.py`` writes the results of ``calculate`` to ``<case>.npz`` beside this file, and
``recorded`` reads them, so that the comparison can be made without torch as well: by ``minigpt2 verify``, and by the
tests.

Inputs are float64 numbers that float32 can represent: both precisions are checked against one reference.
Shape letters as everywhere: B batch, T time, C channels, H heads, V vocabulary.
"""

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np

from minigpt2.components.loss import IGNORED
from minigpt2.parameters import flatten, unflatten

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One forward pass.

    inputs:  (rng, B, T, C, H) -> dict of its array arguments
    forward: the same in torch: (**tensors, **options) -> y
    options: its other arguments
    sizes:   B, T, C, H of the recorded values
    """

    inputs: Callable
    forward: Callable
    options: dict = field(default_factory=dict)
    sizes: tuple = (2, 5, 6, 2)


def numbers(rng, *shape, scale=1.0, mean=0.0):
    """Normal random numbers in float64, rounded to float32."""
    return rng.normal(mean, scale, shape).astype(np.float32).astype(np.float64)


def _affine(rng, n_in, n_out):
    return {"weight": numbers(rng, n_in, n_out, scale=0.5), "bias": numbers(rng, n_out, scale=0.5)}


def _norm(rng, C):
    return {"weight": numbers(rng, C, scale=0.5, mean=1.0), "bias": numbers(rng, C, scale=0.5)}


def _attention_params(rng, C):
    return {"c_attn": _affine(rng, C, 3 * C), "c_proj": _affine(rng, C, C)}


def _feed_forward_params(rng, C):
    return {"c_fc": _affine(rng, C, 2 * C + 1), "c_proj": _affine(rng, 2 * C + 1, C)}


def _block_params(rng, C):
    return {
        "ln_1": _norm(rng, C),
        "attn": _attention_params(rng, C),
        "ln_2": _norm(rng, C),
        "mlp": _feed_forward_params(rng, C),
    }


def _ids(rng, V, *shape):
    return rng.integers(0, V, shape)


def _targets(rng, V, B, T):
    """Random targets, every third of them ignored."""
    targets = _ids(rng, V, B, T)
    targets.flat[1::3] = IGNORED
    return targets


def _linear(x, weight, bias):
    return _functional().linear(x, weight.T, bias)


def _layer_norm(x, weight, bias, eps):
    return _functional().layer_norm(x, weight.shape, weight, bias, eps)


def _gelu(x):
    return _functional().gelu(x, approximate="tanh")


def _feed_forward(x, params):
    return _linear(_gelu(_linear(x, **params["c_fc"])), **params["c_proj"])


def _attention(x, params, n_head, causal=True):
    qkv = _linear(x, **params["c_attn"]).chunk(3, -1)
    q, k, v = (part.unflatten(-1, (n_head, -1)).transpose(1, 2) for part in qkv)
    heads = _functional().scaled_dot_product_attention(q, k, v, is_causal=causal)
    return _linear(heads.transpose(1, 2).flatten(2), **params["c_proj"])


def _block(x, params, n_head, eps, causal=True):
    x = x + _attention(_layer_norm(x, **params["ln_1"], eps=eps), params["attn"], n_head, causal)
    return x + _feed_forward(_layer_norm(x, **params["ln_2"], eps=eps), params["mlp"])


def _head(x, params):
    *hidden, last = params
    for layer in hidden:
        x = _gelu(_linear(x, **layer))
    return _linear(x, **last)


def _lora(weight, a, b, alpha):
    return weight + alpha / a.shape[1] * (a @ b)


def _masked_lm(ids, targets, params, n_head, eps):
    """BERT's objective on GPT-2's blocks: every token sees all others, and some targets count."""
    x = _functional().embedding(ids, params["wte"]["weight"]) + params["wpe"]["weight"][: ids.shape[1]]
    for block in params["h"]:
        x = _block(x, block, n_head, eps, causal=False)
    return _cross_entropy(_layer_norm(x, **params["ln_f"], eps=eps) @ params["wte"]["weight"].T, targets)


def _cross_entropy(logits, targets, label_smoothing=0.0):
    return _functional().cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, label_smoothing=label_smoothing
    )


def _dropout(x, p, seed):
    return _drop(x, p, np.random.default_rng(seed))


def _drop(x, p, rng):
    """Apply a mask from NumPy's generator to x; torch's own would draw another."""
    import torch

    return x * torch.from_numpy(rng.random(x.shape, dtype=np.float32) >= p) / (1 - p)


def _functional():
    import torch

    return torch.nn.functional


def transformers_gpt2(ids, params, config, seed=None, seen=None):
    """Logits of Hugging Face's GPT2LMHeadModel.

    ids: (B, T) tensor; params: nested dict of tensors; config: dict with Hugging Face's names
    seed: apply dropout, with masks from NumPy's generator of this seed; None: no dropout
    seen: dict that receives the activations under the names of ``minigpt2.trace``, as tensors that keep
        their gradients
    """
    import torch

    def dropout(x, p=0.5, training=True, inplace=False):
        return _drop(x, p, rng) if training and p else x

    rng = np.random.default_rng(seed)
    model = _empty_transformers_gpt2(config).train(seed is not None)
    named = {f"transformer.{name}": parameter for name, parameter in flatten(params).items()}
    if "lm_head" in params:
        named["lm_head.weight"] = named.pop("transformer.lm_head.weight")
    with mock.patch("torch.nn.functional.dropout", dropout), _observed(model, seen):
        return torch.func.functional_call(model, named, (ids,), {"use_cache": False}).logits


def _empty_transformers_gpt2(config):
    import torch
    import transformers

    settings = {"bos_token_id": 0, "eos_token_id": 0, "attn_implementation": "eager"} | config
    with torch.device("meta"):  # shapes only: the weights are given with each call
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings))


@contextmanager
def _observed(model, seen):
    """Let a GPT2LMHeadModel put its activations into ``seen``, by hooks, while the block runs."""
    if seen is None:
        yield
        return
    import torch
    from transformers.models.gpt2 import modeling_gpt2

    def keep(name, tensor):
        tensor.retain_grad()
        seen[name] = tensor

    def output_of(module, name):
        module.register_forward_hook(lambda module, inputs, output: keep(name, output))

    def input_of(module, name):
        module.register_forward_pre_hook(lambda module, inputs: keep(name, inputs[0]))

    input_of(model.transformer.h[0], "embd")
    for i, block in enumerate(model.transformer.h):
        output_of(block.ln_1, f"h.{i}.ln_1")
        input_of(block.attn.c_proj, f"h.{i}.attn.heads")
        output_of(block.attn.c_proj, f"h.{i}.attn.out")
        input_of(block.ln_2, f"h.{i}.resid_mid")
        output_of(block.ln_2, f"h.{i}.ln_2")
        output_of(block.mlp.c_fc, f"h.{i}.mlp.fc")
        output_of(block.mlp.act, f"h.{i}.mlp.gelu")
        output_of(block.mlp.c_proj, f"h.{i}.mlp.out")
        output_of(block, f"h.{i}.resid_post")
    output_of(model.transformer.ln_f, "ln_f")
    output_of(model.lm_head, "logits")

    attention, matmul = modeling_gpt2.eager_attention_forward, torch.matmul  # functions: hooks are for modules only

    def observed_attention(module, query, key, value, mask, **options):
        name = f"h.{module.layer_idx}.attn"
        keep(f"{name}.q", query)
        keep(f"{name}.k", key)
        keep(f"{name}.v", value)

        def product(a, b):
            if a is not query:
                return matmul(a, b)
            scores = matmul(a, b) * module.scaling  # so the scaling that follows is set to 1
            keep(f"{name}.scores", scores)
            return scores

        with mock.patch("torch.matmul", product):
            output, probs = attention(module, query, key, value, mask, **options | {"scaling": 1.0})
        keep(f"{name}.probs", probs)
        return output, probs

    with mock.patch.object(modeling_gpt2, "eager_attention_forward", observed_attention):
        yield


def _head_inputs(rng, B, T, C, H):
    return {"x": numbers(rng, B, T, C), "params": [_affine(rng, C, C) for _ in range(3)] + [_affine(rng, C, C + 5)]}


def _masked_lm_inputs(rng, B, T, C, H, V=7):
    params = {
        "wte": {"weight": numbers(rng, V, C)},
        "wpe": {"weight": numbers(rng, T + 1, C)},
        "h": [_block_params(rng, C), _block_params(rng, C)],
        "ln_f": _norm(rng, C),
    }
    return {"ids": _ids(rng, V, B, T), "targets": _targets(rng, V, B, T), "params": params}


def _gpt2_inputs(config):
    def inputs(rng, B, T, C, H):
        params = {}
        for name, parameter in _empty_transformers_gpt2(config).named_parameters():
            embedding, gain = name.endswith("e.weight"), ".ln_" in name and name.endswith("weight")
            scale, mean = 1.0 if embedding else 0.2, 1.0 if gain else 0.0
            params[name.removeprefix("transformer.")] = numbers(rng, *parameter.shape, scale=scale, mean=mean)
        return {"ids": _ids(rng, config["vocab_size"], B, T), "params": unflatten(params)}

    return inputs


TINY = {"vocab_size": 11, "n_positions": 8, "n_embd": 6, "n_layer": 2, "n_head": 2}
DROPOUT = {"embd_pdrop": 0.1, "attn_pdrop": 0.2, "resid_pdrop": 0.3}  # all different, so that mixing them up shows
UNTIED = TINY | {"tie_word_embeddings": False, "n_inner": 10, "layer_norm_epsilon": 1e-3}

CASES = {
    "linear": Case(lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C), **_affine(rng, C, C + 1)}, _linear),
    "embedding": Case(
        lambda rng, B, T, C, H: {"ids": _ids(rng, 4, B, T), "weight": numbers(rng, 4, C)},
        lambda ids, weight: _functional().embedding(ids, weight),
    ),
    "unembedding": Case(
        lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C), "weight": numbers(rng, C + 1, C)},
        lambda x, weight: _functional().linear(x, weight),
    ),
    "position": Case(
        lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C), "weight": numbers(rng, T + 3, C)},
        lambda x, weight, start: x + weight[start : start + x.shape[1]],
        {"start": 2},
    ),
    "layer_norm": Case(
        lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C, mean=3.0), **_norm(rng, C)},
        _layer_norm,
        {"eps": 0.1},
    ),
    "residual": Case(
        lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C), "y": numbers(rng, B, T, C)}, lambda x, y: x + y
    ),
    "gelu": Case(lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C, scale=3.0)}, _gelu),
    "softmax": Case(
        lambda rng, B, T, C, H: {"scores": numbers(rng, B, T, C, scale=3.0)},
        lambda scores: scores.softmax(-1),
    ),
    "dropout": Case(lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C)}, _dropout, {"p": 0.3, "seed": 7}),
    "feed_forward": Case(
        lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C), "params": _feed_forward_params(rng, C)},
        _feed_forward,
    ),
    "head": Case(_head_inputs, _head),
    "lora": Case(
        lambda rng, I, r, O, H: {"weight": numbers(rng, I, O), "a": numbers(rng, I, r), "b": numbers(rng, r, O)},
        _lora,
        {"alpha": 3.0},
    ),
    "masked_lm": Case(_masked_lm_inputs, _masked_lm, {"n_head": 2, "eps": 0.1}),
    "block": Case(
        lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C), "params": _block_params(rng, C)},
        _block,
        {"n_head": 2, "eps": 0.1},
    ),
    "cross_entropy": Case(
        lambda rng, B, T, V, H: {"logits": numbers(rng, B, T, V, scale=3.0), "targets": _ids(rng, V, B, T)},
        _cross_entropy,
    ),
    "cross_entropy_smoothed": Case(
        lambda rng, B, T, V, H: {"logits": numbers(rng, B, T, V), "targets": _targets(rng, V, B, T)},
        _cross_entropy,
        {"label_smoothing": 0.1},
    ),
    "gpt2": Case(_gpt2_inputs(TINY), transformers_gpt2, {"config": TINY}),
    "gpt2_untied": Case(_gpt2_inputs(UNTIED), transformers_gpt2, {"config": UNTIED}),
    "gpt2_dropout": Case(_gpt2_inputs(TINY), transformers_gpt2, {"config": TINY | DROPOUT, "seed": 7}),
}
for suffix, causal in ("", True), ("_bidirectional", False):
    for length, sizes in ("", (2, 5, 6, 2)), ("_long", (1, 259, 2, 1)):  # long: in blocks of queries
        CASES[f"attention{suffix}{length}"] = Case(
            lambda rng, B, T, C, H: {"x": numbers(rng, B, T, C), "params": _attention_params(rng, C)},
            _attention,
            {"n_head": sizes[3], "causal": causal},
            sizes,
        )

TRAINING = {  # five steps from the loss to new parameters
    "training_adamw": {"betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.1},
    "training_sgd": {"momentum": 0.9},
}
LEARNING_RATES = (0.01, 0.03, 0.02, 0.02, 0.005)
MAX_NORM, LABEL_SMOOTHING = 4.5, 0.05  # the norm clips some of the steps

DOCUMENT_IDS = [15496, 11, 616, 3290, 318, 13779]  # "Hello, my dog is cute"
DOCUMENT_LOGITS = slice(None, None, 997)  # the recorded ones, of 50,257

RECORDS = [*CASES, *TRAINING, "trace", "document_example"]


def calculate(name, seed=0):
    """The results of torch, a nested dict: {"inputs", "dy", "y", "gradients"} for a case; dy is random.

    seed: for the inputs; those of seed 0 are recorded
    """
    import torch

    if name == "document_example":
        return _document_example()
    rng = np.random.default_rng(list(name.encode()) + [seed] * (seed > 0))
    if name in TRAINING:
        return _training(name, rng)
    if name == "trace":
        return _trace(rng)
    case = CASES[name]
    inputs = case.inputs(rng, *case.sizes)
    tensors = _tensors(inputs)
    y = case.forward(**tensors, **case.options)
    dy = numbers(rng, *y.shape)
    y.backward(torch.from_numpy(dy))
    return {"inputs": inputs, "dy": dy, "y": y.detach().numpy(), "gradients": _gradients(tensors)}


def recorded(name):
    """The result of ``calculate(name)`` when ``record.py`` ran."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return unflatten(dict(file))


def relative_error(actual, expected):
    """The largest difference between two trees of arrays, relative to the size of the reference.

        max |actual - expected| / max |expected|        for every array; the worst of them, NaN being worst

    returns (error, dotted name of the array that has it).
    raises: ValueError, naming the arrays, when names or shapes differ.
    """
    actual, expected = _leaves(actual), _leaves(expected)
    odd = {(n, np.shape(a)) for n, a in actual.items()} ^ {(n, np.shape(a)) for n, a in expected.items()}
    if odd:
        raise ValueError(f"names and shapes differ: {sorted(odd)[:4]}")
    errors = []
    for name in expected:
        difference = float(np.abs(actual[name] - expected[name]).max())
        size = float(np.abs(expected[name]).max())
        error = difference / size if size else math.inf if difference else 0.0
        errors.append((math.isnan(error), error, name))
    _, error, name = max(errors)
    return error, name


def _leaves(tree):
    """Dotted name -> leaf, also for a single array."""
    return {name.removeprefix("."): leaf for name, leaf in flatten({"": tree}).items()}


def _training(name, rng):
    """{"inputs", "losses", "norms", "gradients" of the first step, "params" after the last}."""
    import torch

    inputs = CASES["gpt2"].inputs(rng, 2, 5, 6, 2)
    V, steps = TINY["vocab_size"], len(LEARNING_RATES)
    inputs |= {
        "ids": _ids(rng, V, steps, 2, 5),
        "targets": np.stack([_targets(rng, V, 2, 5) for _ in range(steps)]),
    }
    tensors = _tensors(inputs)
    params = list(flatten(tensors["params"]).values())
    if name == "training_sgd":
        optimizer = torch.optim.SGD(params, **TRAINING[name])
    else:
        groups = [{"params": [p for p in params if p.ndim >= 2]}]
        groups.append({"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups, **TRAINING[name])
    losses, norms = [], []
    for ids, targets, lr in zip(tensors["ids"], tensors["targets"], LEARNING_RATES, strict=True):
        optimizer.zero_grad()
        loss = _cross_entropy(transformers_gpt2(ids, tensors["params"], TINY), targets, LABEL_SMOOTHING)
        loss.backward()
        if not losses:
            gradients = _map(lambda t: t.grad.numpy().copy(), tensors["params"])
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(params, MAX_NORM).item())
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    return {
        "inputs": inputs,
        "losses": np.array(losses),
        "norms": np.array(norms),
        "gradients": gradients,
        "params": _map(lambda t: t.detach().numpy(), tensors["params"]),
    }


def _trace(rng):
    """{"inputs", "activations", "gradients": {"activations", "params"}} of a smoothed loss."""
    inputs = CASES["gpt2"].inputs(rng, 2, 5, 6, 2)
    inputs["targets"] = _targets(rng, TINY["vocab_size"], 2, 5)
    return {"inputs": inputs} | transformers_trace(**inputs, config=TINY, label_smoothing=LABEL_SMOOTHING)


def transformers_trace(ids, targets, params, config, label_smoothing=0.0):
    """The tensors of ``minigpt2.trace``, from transformers and hooks on its modules.

    returns {"activations", "gradients": {"activations", "params"}}, each a dict by the names of our trace.
    """
    tensors, seen = _tensors({"ids": ids, "targets": targets, "params": params}), {}
    logits = transformers_gpt2(tensors["ids"], tensors["params"], config, seen=seen)
    seen["loss"] = _cross_entropy(logits, tensors["targets"], label_smoothing)
    seen["loss"].retain_grad()
    seen["loss"].backward()
    return {
        "activations": {name: t.detach().numpy() for name, t in seen.items()},
        "gradients": {
            "activations": {name: t.grad.numpy() for name, t in seen.items()},
            "params": flatten(_gradients(tensors["params"])),
        },
    }


def _document_example():
    """{"loss", "logits", "argmax"} computed by transformers in float32 from a new 124M GPT-2 of ours."""
    import torch

    import minigpt2

    config = minigpt2.GPT2Config.preset("gpt2")
    params = _map(torch.from_numpy, minigpt2.GPT2(config, seed=0).params)
    ids = torch.tensor([DOCUMENT_IDS])
    with torch.no_grad():
        logits = transformers_gpt2(ids, params, config.to_dict())
    loss = _cross_entropy(logits[:, :-1], ids[:, 1:])
    return {
        "loss": loss.numpy(),
        "logits": logits[..., DOCUMENT_LOGITS].numpy(),
        "argmax": logits.argmax(-1).numpy(),
    }


def _tensor(array):
    import torch

    tensor = torch.from_numpy(np.array(array))
    return tensor.requires_grad_(tensor.is_floating_point())


def _tensors(tree):
    return _map(_tensor, tree)


def _map(function, tree):
    return unflatten({name: function(leaf) for name, leaf in flatten(tree).items()})


def _gradients(tensors):
    return unflatten({name: t.grad.numpy() for name, t in flatten(tensors).items() if t.requires_grad})
