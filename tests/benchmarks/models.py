"""The work of a model: decode, prefill, train; minigpt2 against transformers and nanoGPT's shape in PyTorch.

All contestants start from the same random weights. Shapes: B batch, T time (tokens), C channels, V vocabulary.
"""

import dataclasses
from functools import cache

import numpy as np
from race import Workload

from minigpt2 import GPT2, AdamW, GPT2Config
from minigpt2.data import random_windows

GPT2_SMALL = GPT2Config(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)  # 124 million parameters
NANOGPT_CPU = dataclasses.replace(GPT2_SMALL, vocab_size=65, n_positions=64, n_layer=4, n_head=4, n_embd=128)
ADAMW = {"lr": 1e-4, "betas": (0.9, 0.95), "weight_decay": 0.1}
MAX_NORM = 1.0

# ------------------------------------------------------------------------------------------------ contestants


def checkpoint(config, folder):
    """The folder with random weights of this shape, in Hugging Face's layout."""
    return folder / f"weights-{config.n_layer}-{config.n_embd}-{config.vocab_size}"


def make_checkpoint(folder, config=GPT2_SMALL, **_):
    path = checkpoint(config, folder)
    if not path.exists():
        path.mkdir()
        GPT2(config, seed=0).save_pretrained(path)


def model(contestant, config, folder):
    """The contestant's model with these weights; PyTorch's are on the CPU, in float32, with all its cores."""
    path = checkpoint(config, folder)
    if contestant == "minigpt2":
        return GPT2.from_pretrained(path)
    if contestant.startswith("transformers"):
        from transformers import GPT2LMHeadModel

        return GPT2LMHeadModel.from_pretrained(path, dtype="float32")
    from nanogpt import NanoGPT

    return NanoGPT(config, GPT2.from_pretrained(path).params, bias=config is not NANOGPT_CPU)


def tokens(config, B, T, seed=0):
    return np.random.default_rng(seed).integers(0, config.vocab_size, (B, T))


def decode(contestant, folder, B, T, n, config=GPT2_SMALL):
    """Continue B prompts of T tokens by n, always with the likeliest token. Comes to all tokens."""
    net, ids = model(contestant, config, folder), tokens(config, B, T)
    if contestant == "minigpt2":
        return lambda: net.generate(ids, max_new_tokens=n).tolist()
    import torch

    net.eval()
    prompt = torch.from_numpy(ids)

    @torch.inference_mode()
    def generate():
        options = {"max_new_tokens": n, "min_new_tokens": n, "do_sample": False, "pad_token_id": 0}
        return net.generate(prompt, attention_mask=torch.ones_like(prompt), **options).tolist()

    @torch.inference_mode()
    def cached_loop():
        new, past, rows = prompt, None, [prompt]
        for _ in range(n):
            out = net(new, past_key_values=past, use_cache=True, logits_to_keep=1)
            new, past = out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values
            rows.append(new)
        return torch.cat(rows, 1).tolist()

    @torch.inference_mode()
    def without_cache():
        rows = prompt
        for _ in range(n):
            rows = torch.cat([rows, net(rows)[:, -1].argmax(-1, keepdim=True)], 1)
        return rows.tolist()

    return {"transformers": cached_loop, "transformers generate": generate, "nanoGPT": without_cache}[contestant]


def prefill(contestant, folder, T, config=GPT2_SMALL, B=1):
    """Read T tokens; comes to the largest logit of the last position."""
    net, ids = model(contestant, config, folder), tokens(config, B, T)
    if contestant == "minigpt2":
        return lambda: float(net.forward(ids, positions=slice(-1, None), keep=False)[0].max())
    import torch

    net.eval()
    prompt = torch.from_numpy(ids)

    @torch.inference_mode()
    def turn():
        if contestant == "transformers":
            return float(net(prompt, use_cache=False, logits_to_keep=1).logits.max())
        return float(net(prompt).max())

    return turn


def train(contestant, folder, B, T, steps, config=GPT2_SMALL):
    """Optimizer steps on random windows of a fixed sequence. Comes to the loss of the first of this turn."""
    net, rng = model(contestant, config, folder), np.random.default_rng(0)
    sequence = tokens(config, 1, 64 * T)[0]
    if contestant == "minigpt2":
        optimizer = AdamW(net.params, **ADAMW)

        def step(ids, targets):
            loss, grads = net.loss_and_grads(ids, targets)
            optimizer.step(grads, max_norm=MAX_NORM)
            return loss

    else:
        import torch
        from nanogpt import parameter_groups

        net.train()
        groups = parameter_groups(net, ADAMW["weight_decay"])
        fused = True if contestant.endswith("fused AdamW") else None  # None: PyTorch decides, as in nanoGPT on a CPU
        optimizer = torch.optim.AdamW(groups, lr=ADAMW["lr"], betas=ADAMW["betas"], fused=fused)

        def step(ids, targets):
            ids, targets = torch.from_numpy(ids), torch.from_numpy(targets)
            if contestant.startswith("transformers"):
                logits = net(ids, use_cache=False).logits
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            else:
                loss = net(ids, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), MAX_NORM)
            optimizer.step()
            return loss.item()

    def turn():
        first, *_ = [step(*random_windows(sequence, B, T, rng)) for _ in range(steps)]
        return first

    return turn


# ------------------------------------------------------------------------------------------ the machine's limit


@cache
def matrix_parameters(config):
    """Numbers in the weights of all blocks: each is multiplied and added once per token."""
    shapes = config.parameter_shapes()
    return sum(int(np.prod(shape)) for name, shape in shapes.items() if name.startswith("h.") and len(shape) == 2)


def forward_operations(config, B, T, positions, start=0):
    """Floating-point operations of B sequences of T tokens after ``start`` others, with so many positions' logits."""
    L, C, V = config.n_layer, config.n_embd, config.vocab_size
    keys = T * start + T * (T + 1) / 2  # pairs of a query and a key that it may see
    return B * (2 * T * matrix_parameters(config) + 4 * L * C * keys + 2 * positions * C * V)


def forward_bytes(config, B, S):
    """Bytes that the last of S tokens has to read: every weight, and the keys and values before it."""
    weights = matrix_parameters(config) + config.n_embd * config.vocab_size
    return 4 * (weights + 2 * B * config.n_layer * config.n_embd * S)


def decode_limit(config, B, T, n):
    def seconds(operations, bandwidth):
        prompt = forward_operations(config, B, T, 1) / operations
        return prompt + sum(
            max(forward_operations(config, B, 1, 1, S) / operations, forward_bytes(config, B, S) / bandwidth)
            for S in range(T, T + n - 1)
        )

    return seconds


def prefill_limit(config, T):
    return lambda operations, _: forward_operations(config, 1, T, 1) / operations


def train_limit(config, B, T, steps):
    """Twice the forward pass again for the backward pass. AdamW reads w, g, m, v, writes w, m, v; clipping reads g."""
    size = sum(int(np.prod(shape)) for shape in config.parameter_shapes().values())

    def seconds(operations, bandwidth):
        return steps * (3 * forward_operations(config, B, T, T) / operations + 8 * 4 * size / bandwidth)

    return seconds


# ---------------------------------------------------------------------------------------------------- workloads

PEERS = "minigpt2", "transformers", "nanoGPT"


def decode_workload(title, contestants, B, T, n):
    return Workload(
        title, decode, contestants, B * n, "tokens", decode_limit(GPT2_SMALL, B, T, n), {"B": B, "T": T, "n": n},
        prepare=make_checkpoint,
    )  # fmt: skip


def prefill_workload(T):
    return Workload(
        f"prefill {T:,}, last logits", prefill, PEERS, T, "tokens", prefill_limit(GPT2_SMALL, T), {"T": T},
        prepare=make_checkpoint,
    )  # fmt: skip


def train_workload(title, B, T, steps, config=GPT2_SMALL):
    return Workload(
        title, train, (*PEERS, "transformers, fused AdamW"), steps, "steps", train_limit(config, B, T, steps),
        {"B": B, "T": T, "steps": steps, "config": config}, prepare=make_checkpoint, warm_up=3,
    )  # fmt: skip


def beside_a_busy_process(workload):
    return dataclasses.replace(workload, title=f"{workload.title}, beside a busy process", busy=True)


WORKLOADS = {
    "decode": decode_workload(
        "decode, 64 + 128 tokens", ("minigpt2", "transformers", "transformers generate"), 1, 64, 128
    ),
    "decode-uncached": decode_workload("decode, 64 + 32 tokens", ("minigpt2", "nanoGPT"), 1, 64, 32),
    "decode-8": decode_workload(
        "decode, 8 at a time, 64 + 128", ("minigpt2", "transformers", "transformers generate"), 8, 64, 128
    ),
    "prefill-512": prefill_workload(512),
    "prefill-1024": prefill_workload(1024),
    "train-4x64": train_workload("training step, 4 x 64", 4, 64, 1),
    "train-1x512": train_workload("training step, 1 x 512", 1, 512, 1),
    "train-small": train_workload("training step, nanoGPT's CPU setting", 12, 64, 20, NANOGPT_CPU),
}
WORKLOADS |= {f"{name}-busy": beside_a_busy_process(WORKLOADS[name]) for name in ("prefill-512", "train-4x64")}
WORKLOADS["two-trainings"] = dataclasses.replace(  # few steps: PyTorch's threads get badly in each other's way
    train_workload("two small trainings at once", 12, 64, 5, NANOGPT_CPU), contestants=PEERS, at_once=2
)

# The cost against the size. Operations per token grow little with T; bytes per token are proportional to the layers.
LENGTHS = 64, 128, 256, 512, 1024
LAYERS = 1, 2, 4, 8, 12, 24, 48


def layers_workload(n_layer):
    config = dataclasses.replace(GPT2_SMALL, n_layer=n_layer)
    return Workload(
        f"decode, {n_layer} layers", decode, ("minigpt2", "transformers"), 16, "tokens",
        decode_limit(config, 1, 16, 16), {"B": 1, "T": 16, "n": 16, "config": config}, prepare=make_checkpoint,
        series="parameters", size=sum(int(np.prod(shape)) for shape in config.parameter_shapes().values()),
    )  # fmt: skip


WORKLOADS |= {
    f"scaling-T{T}": dataclasses.replace(prefill_workload(T), series="tokens in the prompt", size=T,
                                         contestants=("minigpt2", "transformers"))
    for T in LENGTHS
}  # fmt: skip
WORKLOADS |= {f"scaling-L{n_layer}": layers_workload(n_layer) for n_layer in LAYERS}
