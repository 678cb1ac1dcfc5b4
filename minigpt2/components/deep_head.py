"""Notebook 3.1, a deep output layer: the document puts it in place of a pre-trained model's last layers.

GPT-2 as released has a single output layer, the token embedding; this one is for the experiment.

Shapes: B batch, T time (tokens), C channels (n_embd), V vocabulary, L layers (four in the document).
"""

from minigpt2.components.feed_forward import gelu_backward, gelu_forward
from minigpt2.components.linear import linear_backward, linear_forward


def head_forward(x, params):
    """Fully-connected layers with a GELU between them; the last one scores the vocabulary.

        h_0 = x      h_l = gelu(h_{l-1} W_l + b_l)  for l = 1 ... L-1      logits = h_{L-1} W_L + b_L

    x:      (B, T, C) activation after the last layer normalisation
    params: list of L {"weight", "bias"}: (C, C) and (C,), the last one (C, V) and (V,)
    returns logits (B, T, V) and the cache for ``head_backward``, in which x is the input.
    Source: section 3.1 of the document. (BERT's released code has L = 2, with a layer norm after the GELU.)
    """
    cache = {"x": x, "layers": [], "gelus": []}
    *hidden, last = params
    for layer in hidden:
        x, linear = linear_forward(x, **layer)
        x, gelu = gelu_forward(x)
        cache["layers"].append(linear)
        cache["gelus"].append(gelu)
    logits, linear = linear_forward(x, **last)
    cache["layers"].append(linear)
    return logits, cache


def head_backward(dlogits, cache, *, out=None):
    """Gradients of ``head_forward``, in reverse order.

    dlogits: (B, T, V) gradient of the logits
    returns dx (B, T, C) and grads, a list like ``params``.

    Not for a first reading: out is a list like ``params`` to write the parameters' gradients into.
    """
    layers, grads = cache["layers"], []
    out = out or [None] * len(layers)
    dx, dweight, dbias = linear_backward(dlogits, layers[-1], out=out[-1])
    grads.append({"weight": dweight, "bias": dbias})
    for layer, gelu, its_out in zip(layers[-2::-1], cache["gelus"][::-1], out[-2::-1], strict=True):
        dx, dweight, dbias = linear_backward(gelu_backward(dx, gelu), layer, out=its_out)
        grads.append({"weight": dweight, "bias": dbias})
    return dx, grads[::-1]
