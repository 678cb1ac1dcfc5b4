"""The affine map y = x W + b that attention and the feed-forward network share.

Shapes: ... any leading dimensions, I inputs, O outputs. N is the product of the leading dimensions.
"""

from minigpt2.parallel import matmul


def linear_forward(x, weight, bias):
    """Affine map of the last dimension.

        y = x W + b

    x:      (..., I) input
    weight: (I, O), stored input-first as in the released checkpoints (OpenAI's "conv1d")
    bias:   (O,)
    returns y (..., O) and the cache for ``linear_backward``.
    raises: ValueError when x's last dimension is not I.

    >>> linear_forward(np.array([1.0, 2]), weight=np.array([[1.0, 0, 2], [0, 1, 3]]), bias=np.array([0.5, 0, 0]))[0]
    array([1.5, 2. , 8. ])
    """
    if x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"linear: x has {x.shape[-1]} channels but weight {weight.shape} takes {weight.shape[0]}; "
            "weights are stored (in, out): transpose a PyTorch nn.Linear weight"
        )
    y = matmul(x.reshape(-1, x.shape[-1]), weight, plus=bias)  # (N, I) @ (I, O) + (O,): one product, not B of them
    return y.reshape(*x.shape[:-1], -1), {"x": x, "weight": weight}


def linear_backward(dy, cache, *, out=None):
    """Gradients of ``linear_forward``.

        in the forward pass:  y_no = sum_i x_ni W_io + b_o
        dx = dy W^T     dW = x^T dy     db = sum_n dy_n

    dy: (..., O) gradient of the output
    returns dx (..., I), dweight (I, O), dbias (O,).

    Not for a first reading: out is {"weight", "bias"}, arrays to write the parameters' gradients into.
    """
    x, weight = cache["x"], cache["weight"]
    out = out or {"weight": None, "bias": None}
    dy = dy.reshape(-1, weight.shape[1])
    dx = matmul(dy, weight.T).reshape(x.shape)  # (N, O) @ (O, I) -> (N, I)
    dweight = matmul(x.reshape(-1, weight.shape[0]).T, dy, out=out["weight"])  # (I, N) @ (N, O) -> (I, O)
    dbias = dy.sum(axis=0, out=out["bias"])
    return dx, dweight, dbias
