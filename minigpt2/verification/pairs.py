"""Our (forward, backward) pairs by the names of the reference cases, all callable in the same way."""

import numpy as np

from minigpt2.components.attention import attention_backward, attention_forward
from minigpt2.components.deep_head import head_backward, head_forward
from minigpt2.components.dropout import dropout_backward, dropout_forward
from minigpt2.components.embedding import (
    embedding_backward,
    embedding_forward,
    unembedding_backward,
    unembedding_forward,
)
from minigpt2.components.feed_forward import (
    feed_forward_backward,
    feed_forward_forward,
    gelu_backward,
    gelu_forward,
)
from minigpt2.components.layer_norm import layer_norm_backward, layer_norm_forward
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.components.lora import lora_backward, lora_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.position import position_backward, position_forward
from minigpt2.components.residual import residual_backward, residual_forward
from minigpt2.components.softmax import softmax_backward, softmax_forward
from minigpt2.config import GPT2Config
from minigpt2.model import block_backward, block_forward, gpt2_backward, gpt2_forward
from minigpt2.reference import CASES


def _softmax(scores):
    probs = softmax_forward(scores)
    return probs, probs  # the cache too: its backward needs nothing else


def _dropout(x, p, seed):
    return dropout_forward(x, p, np.random.default_rng(seed))


def _block(x, params, n_head, eps=1e-5, rng=None, **dropout):
    config = GPT2Config(n_embd=x.shape[-1], n_head=n_head, layer_norm_epsilon=eps, **dropout)
    return block_forward(x, params, config, rng=rng)


def _gpt2(ids, params, config, seed=None):
    rng = None if seed is None else np.random.default_rng(seed)
    return gpt2_forward(ids, params, GPT2Config(**config), rng=rng)


def _gpt2_grads(dlogits, cache, **out):
    return gpt2_backward(dlogits, cache, **out)[1]


def _masked_lm(ids, targets, params, n_head, eps):
    (V, C), P = params["wte"]["weight"].shape, len(params["wpe"]["weight"])
    config = GPT2Config(
        vocab_size=V, n_positions=P, n_embd=C, n_layer=len(params["h"]), n_head=n_head, layer_norm_epsilon=eps
    )
    logits, cache = gpt2_forward(ids, params, config, causal=False)
    loss, loss_cache = cross_entropy_forward(logits, targets)
    return loss, {"gpt2": cache, "loss": loss_cache}


def _masked_lm_grads(dloss, cache, **out):
    return gpt2_backward(cross_entropy_backward(dloss, cache["loss"]), cache["gpt2"], **out)[1]


PAIRS = {
    "linear": (linear_forward, linear_backward),
    "embedding": (embedding_forward, embedding_backward),
    "unembedding": (unembedding_forward, unembedding_backward),
    "position": (position_forward, position_backward),
    "layer_norm": (layer_norm_forward, layer_norm_backward),
    "residual": (residual_forward, residual_backward),
    "gelu": (gelu_forward, gelu_backward),
    "softmax": (_softmax, softmax_backward),
    "dropout": (_dropout, dropout_backward),
    "feed_forward": (feed_forward_forward, feed_forward_backward),
    "attention": (attention_forward, attention_backward),
    "head": (head_forward, head_backward),
    "lora": (lora_forward, lora_backward),
    "masked_lm": (_masked_lm, _masked_lm_grads),
    "block": (_block, block_backward),
    "cross_entropy": (cross_entropy_forward, cross_entropy_backward),
    "gpt2": (_gpt2, _gpt2_grads),
}


def pair(name):
    """Our (forward, backward) of a case; its name may end in a variant, e.g. attention_bidirectional."""
    return next(PAIRS[stem] for stem in sorted(PAIRS, key=len, reverse=True) if name.startswith(stem))


def run_case(name, inputs, dy, **out):
    """Our y, cache and gradients for a case; the gradients are a dict like the float inputs."""
    forward, backward = pair(name)
    y, cache = forward(**inputs, **CASES[name].options)
    gradients = backward(dy, cache, **out)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    floats = [key for key in inputs if key not in ("ids", "targets")]
    return y, cache, dict(zip(floats, gradients, strict=True))
