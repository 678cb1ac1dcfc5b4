"""A GPT-2 in PyTorch that can make each of the classic mistakes, and records what it computes.

It is what a user of ``minigpt2 compare`` has: a model written elsewhere, with activations and autograd's
gradients under the names of ``minigpt2.trace``.
"""

import math

import torch
from torch.nn.functional import cross_entropy, gelu, layer_norm

from minigpt2.parameters import flatten, unflatten

MISTAKES = (
    "erf_gelu", "eps", "unbiased_variance", "no_scale", "scale_twice", "sees_one_more", "cannot_see_itself",
    "post_norm", "heads_without_transpose", "heads_interleaved", "heads_merged_without_transpose", "k_q_v_order",
    "v_q_k_order", "q_v_k_order", "split_per_head", "untied_copy", "untied_random", "transposed_c_proj",
    "summed", "ignored_counted", "no_shift", "shift_twice",
)  # fmt: skip


def trace(model, ids, targets, mistake=None, dtype=torch.float64):
    """Every activation and every gradient, as a dict of NumPy arrays; ``model`` is a minigpt2.GPT2.

    mistake: one of MISTAKES; those of a block are made in the last one, so that the first is right
    """
    assert mistake is None or mistake in MISTAKES
    parameters = {name: torch.tensor(p, dtype=dtype) for name, p in flatten(model.params).items()}
    if mistake == "untied_copy":
        parameters["lm_head.weight"] = parameters["wte.weight"].clone()
    elif mistake == "untied_random":
        parameters["lm_head.weight"] = torch.flip(parameters["wte.weight"], (0,))
    elif mistake == "transposed_c_proj":
        name = f"h.{model.config.n_layer - 1}.attn.c_proj.weight"
        parameters[name] = parameters[name].T.clone()
    for parameter in parameters.values():
        parameter.requires_grad_()
    seen = forward(torch.tensor(ids), torch.tensor(targets), unflatten(parameters), model.config, mistake)
    seen["loss"].backward()
    with_gradient = {name: x for name, x in (seen | parameters).items() if x.is_leaf or x.retains_grad}
    gradients = {f"grad.{name}": x.grad for name, x in with_gradient.items() if x.grad is not None}
    return {name: x.detach().numpy().copy() for name, x in (seen | gradients).items()}


def forward(ids, targets, params, config, mistake):
    """Named activations in the order of computation, each of which keeps its gradient."""
    seen = {"ids": ids}

    def record(name, x):
        x.retain_grad()
        seen[name] = x
        return x

    def norm(name, x, p, broken):
        if broken == "unbiased_variance":
            y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt() * p["weight"] + p["bias"]
        else:
            y = layer_norm(x, x.shape[-1:], p["weight"], p["bias"], 1e-3 if broken == "eps" else 1e-5)
        return record(name, y)

    x = record("embd", params["wte"]["weight"][ids] + params["wpe"]["weight"][: ids.shape[1]])
    for i, p in enumerate(params["h"]):
        broken = mistake if i == config.n_layer - 1 else None
        name = f"h.{i}"
        y = x if broken == "post_norm" else norm(f"{name}.ln_1", x, p["ln_1"], broken)
        y = attention(y, p["attn"], config.n_head, broken, lambda n, x, name=name: record(f"{name}.attn.{n}", x))
        x = x + y
        if broken == "post_norm":
            x = norm(f"{name}.ln_1", x, p["ln_1"], broken)
        x = record(f"{name}.resid_mid", x)
        y = x if broken == "post_norm" else norm(f"{name}.ln_2", x, p["ln_2"], broken)
        y = record(f"{name}.mlp.fc", y @ p["mlp"]["c_fc"]["weight"] + p["mlp"]["c_fc"]["bias"])
        y = record(f"{name}.mlp.gelu", gelu(y, approximate="none" if broken == "erf_gelu" else "tanh"))
        y = record(f"{name}.mlp.out", y @ p["mlp"]["c_proj"]["weight"] + p["mlp"]["c_proj"]["bias"])
        x = x + y
        if broken == "post_norm":
            x = norm(f"{name}.ln_2", x, p["ln_2"], broken)
        x = record(f"{name}.resid_post", x)
    x = norm("ln_f", x, params["ln_f"], None)
    logits = record("logits", x @ params.get("lm_head", params["wte"])["weight"].T)

    predicted, wanted = logits, targets
    if mistake == "no_shift":
        wanted = ids
    elif mistake == "shift_twice":
        predicted, wanted = logits[:, :-1], targets[:, 1:]
    loss = cross_entropy(predicted.flatten(0, 1), wanted.flatten(), reduction="sum")
    counted = {"summed": 1, "ignored_counted": wanted.numel()}.get(mistake, (wanted != -100).sum())
    return seen | {"targets": targets, "loss": loss / counted}


def attention(x, params, n_head, mistake, record):
    """One block's attention; ``record(name, tensor)`` returns the tensor."""
    B, T, C = x.shape
    D = C // n_head
    qkv = x @ params["c_attn"]["weight"] + params["c_attn"]["bias"]
    parts = qkv.split(C, dim=-1)
    if mistake == "k_q_v_order":
        parts = parts[1], parts[0], parts[2]
    elif mistake == "v_q_k_order":
        parts = parts[2], parts[0], parts[1]
    elif mistake == "q_v_k_order":
        parts = parts[0], parts[2], parts[1]
    if mistake == "heads_without_transpose":
        parts = [part.reshape(B, n_head, T, D) for part in parts]
    elif mistake == "heads_interleaved":
        parts = [part.reshape(B, T, D, n_head).permute(0, 3, 1, 2) for part in parts]
    elif mistake == "split_per_head":
        parts = qkv.reshape(B, T, n_head, 3 * D).transpose(1, 2).split(D, dim=-1)
    else:
        parts = [part.reshape(B, T, n_head, D).transpose(1, 2) for part in parts]
    q, k, v = (record(name, part) for name, part in zip("qkv", parts, strict=True))

    scale = {"no_scale": 1.0, "scale_twice": 1 / D}.get(mistake, 1 / math.sqrt(D))
    scores = record("scores", q @ k.transpose(-1, -2) * scale)
    ahead = {"sees_one_more": 1, "cannot_see_itself": -1}.get(mistake, 0)
    future = torch.ones(T, T, dtype=torch.bool).triu(1 + ahead)
    probs = record("probs", scores.masked_fill(future, -1e9).softmax(-1))
    heads = probs @ v
    if mistake != "heads_merged_without_transpose":
        heads = heads.transpose(1, 2)
    heads = record("heads", heads.reshape(B, T, C))
    return record("out", heads @ params["c_proj"]["weight"] + params["c_proj"]["bias"])
