"""The output layer: from the last activation to a score for every token of the vocabulary.

In GPT-2 it is the token embedding, used a second time ("tied"); a model may also have a separate matrix or a deep head.
Shapes: B batch, T time (tokens), C channels (n_embd), V vocabulary.
"""

from minigpt2.components.deep_head import head_backward, head_forward
from minigpt2.components.embedding import unembedding_backward, unembedding_forward


def output_forward(x, params):
    """Score the vocabulary with the model's output layer.

        logits = x W^T

    with W the matrix lm_head if there is one, else wte; a deep head scores as ``head_forward`` does.

    x:      (B, T, C) activation after the last layer normalisation
    params: the model's; the output layer is "head" (see ``head_forward``) or "lm_head" if there is one, else "wte"
    returns logits (B, T, V) and the cache for ``output_backward``.
    """
    if "head" in params:
        logits, cache = head_forward(x, params["head"])
        return logits, {"output": "head", "head": cache}
    name = "lm_head" if "lm_head" in params else "wte"
    logits, cache = unembedding_forward(x, params[name]["weight"])
    return logits, {"output": name, "lm_head": cache}


def output_backward(dlogits, cache, *, out=None):
    """Gradients of ``output_forward``.

    dlogits: (B, T, V) gradient of the logits
    returns dx (B, T, C) and grads, {name: gradients} of the one layer that was used: wte, lm_head or head.

    Not for a first reading: out is a dict like ``params`` to write the parameters' gradients into.
    """
    name, out = cache["output"], out or {}
    if name == "head":
        dx, grads = head_backward(dlogits, cache["head"], out=out.get(name))
        return dx, {name: grads}
    dx, dweight = unembedding_backward(dlogits, cache["lm_head"], out=out.get(name))
    return dx, {name: {"weight": dweight}}
