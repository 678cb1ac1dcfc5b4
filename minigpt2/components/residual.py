"""Notebook 2.5.5, residual connection: a sub-layer adds to its input instead of replacing it.

Shapes: x and y have the same, usually (B, T, C).
"""


def residual_forward(x, y):
    """Add a sub-layer's output to its input.

        z = x + y

    x: (B, T, C) the residual stream; y: (B, T, C) the sub-layer's output
    returns z (B, T, C) and the (empty) cache for ``residual_backward``.
    raises: ValueError when the shapes differ (NumPy would silently broadcast them).
    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", eq. 1.

    >>> residual_forward(np.array([1, 2]), np.array([10, 20]))
    (array([11, 22]), {})
    """
    if x.shape != y.shape:
        raise ValueError(f"residual: the sub-layer turned {x.shape} into {y.shape}; they must have the same shape")
    return x + y, {}


def residual_backward(dz, cache):
    """Gradients of ``residual_forward``: both branches receive the whole of it.

        dx = dz     dy = dz

    This is the path on which the gradient reaches the first block undiminished.

    dz: (B, T, C) gradient of the sum
    returns dx, dy, both (B, T, C) and both ``dz`` itself: do not change one in place.
    """
    return dz, dz
