"""Notebook 3.3, low-rank adaptation (LoRA): fine-tuning that changes a weight by a product of two thin matrices.

Shapes: I inputs and O outputs of the weight, r rank, much smaller than both.
"""


def lora_forward(weight, a, b, alpha):
    """Merge an adapter into its frozen weight.

        W' = W + (alpha / r) A B        so that   x W' = x W + (alpha / r) (x A) B

    The right-hand side is how LoRA is usually drawn; the two are the same. A model with merged weights is an
    ordinary GPT-2, which trains, evaluates and generates with the code of any other.

    weight: (I, O) pre-trained, left unchanged
    a, b:   (I, r) and (r, O); b starts as zeros, so that W' starts as W
    alpha:  scale of the change; acts much like a factor on the learning rate
    returns W' (I, O) and the cache for ``lora_backward``.
    raises: ValueError when the shapes do not fit together.
    Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1, eq. 3, where
        B A is our A B, since weights are stored (in, out) here.

    >>> lora_forward(np.eye(2), a=np.array([[1.0], [0]]), b=np.array([[0.0, 1]]), alpha=3)[0]
    array([[1., 3.],
           [0., 1.]])
    """
    if a.shape[1:] != b.shape[:1] or (a.shape[0], b.shape[1]) != weight.shape:
        raise ValueError(f"lora: a (I, r) and b (r, O) must give weight {weight.shape}, got {a.shape} and {b.shape}")
    scale = alpha / a.shape[1]
    return weight + scale * (a @ b), {"a": a, "b": b, "scale": scale}  # (I, O) + (I, r) @ (r, O)


def lora_backward(dmerged, cache):
    """Gradients of ``lora_forward``.

        dW = dW'     dA = (alpha / r) dW' B^T     dB = (alpha / r) A^T dW'

    dmerged: (I, O) gradient of the merged weight, as the layer's backward pass gives it
    returns dweight (I, O), da (I, r), db (r, O). The first is not needed while the weight is frozen.
    """
    da = cache["scale"] * (dmerged @ cache["b"].T)  # (I, O) @ (O, r) -> (I, r)
    db = cache["scale"] * (cache["a"].T @ dmerged)  # (r, I) @ (I, O) -> (r, O)
    return dmerged, da, db
