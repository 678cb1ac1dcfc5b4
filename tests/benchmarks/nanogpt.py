"""A GPT in PyTorch in nanoGPT's shape: fused qkv, flash attention, logits of the last position only, no cache."""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention and feed-forward network, each on a normalised copy of the residual stream."""

    def __init__(self, C, n_head, bias):
        super().__init__()
        self.n_head = n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(C, bias=bias), nn.LayerNorm(C, bias=bias)
        self.c_attn, self.attn_proj = nn.Linear(C, 3 * C, bias=bias), nn.Linear(C, C, bias=bias)
        self.c_fc, self.mlp_proj = nn.Linear(C, 4 * C, bias=bias), nn.Linear(4 * C, C, bias=bias)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            for part in self.c_attn(self.ln_1(x)).split(C, dim=2)
        )
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_proj(heads.transpose(1, 2).reshape(B, T, C))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class NanoGPT(nn.Module):
    """The whole model; ``params`` is a minigpt2.GPT2's nested dict, whose values it starts from."""

    def __init__(self, config, params, bias=True):
        super().__init__()
        C = config.n_embd
        self.wte, self.wpe = nn.Embedding(config.vocab_size, C), nn.Embedding(config.n_positions, C)
        self.h = nn.ModuleList(Block(C, config.n_head, bias) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(C, bias=bias)
        self._load(params)

    def _load(self, params):
        def copy(module, values):
            linear = isinstance(module, nn.Linear)  # PyTorch stores (out, in)
            module.weight.copy_(torch.from_numpy(values["weight"].T if linear else values["weight"]))
            if getattr(module, "bias", None) is not None:
                module.bias.copy_(torch.from_numpy(values["bias"]))

        with torch.no_grad():
            for name in ("wte", "wpe", "ln_f"):
                copy(getattr(self, name), params[name])
            for block, values in zip(self.h, params["h"], strict=True):
                copy(block.ln_1, values["ln_1"])
                copy(block.ln_2, values["ln_2"])
                copy(block.c_attn, values["attn"]["c_attn"])
                copy(block.attn_proj, values["attn"]["c_proj"])
                copy(block.c_fc, values["mlp"]["c_fc"])
                copy(block.mlp_proj, values["mlp"]["c_proj"])

    def forward(self, ids, targets=None):
        """The mean loss where targets are given, else the logits (B, 1, V) of the last position."""
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        if targets is None:
            return self.ln_f(x[:, [-1]]) @ self.wte.weight.T
        logits = self.ln_f(x) @ self.wte.weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def parameter_groups(model, weight_decay):
    """Matrices decay, vectors do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
