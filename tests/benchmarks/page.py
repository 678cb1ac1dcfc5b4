"""What the library's components buy over the page that explains: plain.py, forward and backward, at GPT-2's sizes."""

import numpy as np
from race import Workload

from minigpt2 import AdamW, plain
from minigpt2.components import attention, feed_forward, layer_norm, loss

T, C, H, V = 512, 768, 12, 50257
MODULES = {"attention": attention, "gelu": feed_forward, "feed_forward": feed_forward, "layer_norm": layer_norm,
           "cross_entropy": loss}  # fmt: skip


def numbers(rng, *shape, scale=1.0):
    return scale * rng.standard_normal(shape, dtype="float32")


def affine(rng, I, O):
    return {"weight": numbers(rng, I, O, scale=0.02), "bias": numbers(rng, O, scale=0.02)}


def inputs(component):
    """Arguments of a component's forward function, and the gradient of its result."""
    rng = np.random.default_rng(0)
    x, dy = numbers(rng, 1, T, C), numbers(rng, 1, T, C)
    return {
        "attention": lambda: ((x, {"c_attn": affine(rng, C, 3 * C), "c_proj": affine(rng, C, C)}, H), dy),
        "gelu": lambda: ((numbers(rng, 1, T, 4 * C),), numbers(rng, 1, T, 4 * C)),
        "feed_forward": lambda: ((x, {"c_fc": affine(rng, C, 4 * C), "c_proj": affine(rng, 4 * C, C)}), dy),
        "layer_norm": lambda: ((x, numbers(rng, C), numbers(rng, C)), dy),
        "cross_entropy": lambda: ((numbers(rng, 1, T, V), rng.integers(0, V, (1, T))), 1.0),
    }[component]()


def pair(contestant, _folder, component):
    """A component forward and backward; comes to the sum of what forward returned."""
    module = plain if contestant == "plain.py" else MODULES[component]
    forward, backward = (getattr(module, f"{component}_{way}") for way in ("forward", "backward"))
    arguments, dy = inputs(component)

    def turn():
        y, cache = forward(*arguments)
        backward(dy, cache)
        return float(np.abs(y).sum())

    return turn


def adamw(contestant, _folder):
    """One step for 30 million parameters; comes to the norm of the gradient."""
    rng = np.random.default_rng(0)
    params, grads = ({"weight": numbers(rng, 10_000, 3_000)} for _ in range(2))
    if contestant == "minigpt2":
        optimizer = AdamW(params, lr=1e-5)
        return lambda: float(optimizer.step(grads, max_norm=1.0))
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in plain.leaves(params)]
    return lambda: float(plain.adamw(params, grads, moments, t=1, lr=1e-5, max_norm=1.0))


WORKLOADS = {
    f"page-{component}": Workload(f"{component} and its gradient", pair, ("minigpt2", "plain.py"), 1, "times",
                                  options={"component": component}, warm_up=2)
    for component in MODULES
} | {"page-adamw": Workload("AdamW's step", adamw, ("minigpt2", "plain.py"), 1, "times", warm_up=2)}  # fmt: skip
