"""Where the tests beside this file find your functions: let each of these call yours, or write it here.

    import my_gpt2

    def gelu_forward(x):
        return my_gpt2.gelu(x)

Made by notebooks/exercises/make.py from the exercises' skeletons.
"""


def layer_norm_forward(x, weight, bias, eps=1e-05):
    """Normalise the last dimension.

    x: (..., C); weight, bias: (C,); eps: keeps the root away from 0
    returns y (..., C) and a dict for the backward pass.
    """
    raise NotImplementedError


def layer_norm_backward(dy, cache):
    """Gradients of ``layer_norm_forward``.

    dy: (..., C)
    returns dx (..., C), dweight (C,), dbias (C,).
    """
    raise NotImplementedError


def rms_norm_forward(x, weight, eps=1e-05):
    """x: (..., C); weight: (C,); returns y (..., C) and a dict for the backward pass."""
    raise NotImplementedError


def rms_norm_backward(dy, cache):
    """dy: (..., C); returns dx (..., C), dweight (C,)."""
    raise NotImplementedError
