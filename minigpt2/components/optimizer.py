"""Notebook 2.5.9, optimizer: AdamW with gradient clipping, warm-up and cosine decay; SGD as the baseline.

Both walk flat buffers (see parameters.py) in chunks that fit into the processor's cache: one step reads
and writes each number once, instead of once for every term of the formula. The chunks are shared among the cores.
"""

import math
from numbers import Real

from minigpt2.backend import array_module, at_a_time
from minigpt2.parallel import in_parallel
from minigpt2.parameters import arrays_of, check_writable, flat_view, flatten, layout, shapes_of, unpack

CHUNK = 1 << 17  # elements of a buffer updated at a time


class AdamW:
    """Adam with decoupled weight decay.

        g  = gradient, clipped
        m <- beta1 m + (1 - beta1) g            m_hat = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2          v_hat = v / (1 - beta2^t)
        w <- w - lr weight_decay w - lr m_hat / (sqrt(v_hat) + eps)

    Only parameters of two or more dimensions decay: biases and the gains of layer norms do not.
    Sources: Kingma & Ba 2015, "Adam", algorithm 1; Loshchilov & Hutter 2019, "Decoupled Weight Decay
    Regularization", algorithm 2, except that lr multiplies the decay too, as in PyTorch.
    """

    def __init__(
        self, params: dict, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):  # fmt: skip
        """An optimizer for ``params``, a nested dict of arrays that ``step`` changes in place.

        Pickled or copied together with its model, as in ``copy.deepcopy((model, optimizer))``, it goes on with that
        copy of the model; alone, with a copy of the parameters.

        lr: learning rate, may be changed between steps (``optimizer.lr = ...``)
        betas: decay rates of the two moments, each in [0, 1); eps: keeps the quotient finite
        weight_decay: each step takes the share lr * weight_decay off a weight
        raises: ValueError when a number is out of its range; TypeError for what is no number, or no array.
        """
        numbers = {"lr": lr, "eps": eps, "weight_decay": weight_decay}
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"AdamW: betas must be two numbers, such as (0.9, 0.999), got {betas!r}")
        _check_numbers("AdamW", **numbers, **{"betas[0]": betas[0], "betas[1]": betas[1]})
        if not (min(numbers.values()) >= 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(
                f"AdamW: lr, eps and weight_decay must be >= 0 and betas in [0, 1), "
                f"got lr={lr}, eps={eps}, weight_decay={weight_decay}, betas={betas}"
            )
        self.params, self.lr, self.betas, self.eps, self.weight_decay = params, lr, betas, eps, weight_decay
        flat, _ = flat_view(arrays_of(params, "AdamW: params", "f"))
        xp = array_module(flat)
        self.m, self.v = xp.zeros_like(flat), xp.zeros_like(flat)
        self.t = 0  # steps taken

    def __repr__(self):
        return (
            f"AdamW({self.m.size:,} parameters, step {self.t}, lr={self.lr}, betas={self.betas}, eps={self.eps}, "
            f"weight_decay={self.weight_decay})"
        )

    def step(self, grads: dict, max_norm: float | None = None) -> float:
        """Update the parameters in place from ``grads``, nested like them and left unchanged.

        max_norm: the gradient is scaled down to this global norm if it is longer; None: never
        returns the global norm before clipping.
        raises: ValueError when names or shapes differ from the parameters', a parameter is read-only, the norm is not
            finite, or max_norm is not above 0; TypeError for what is no array of numbers; nothing has changed then.
        """
        leaves = flatten(self.params)
        check_writable(leaves | {"its moment m": self.m, "its moment v": self.v}, "AdamW")
        w, shared = flat_view(leaves)
        g, norm, scale = norm_and_scale(grads, leaves, max_norm)
        self.t += 1
        _, matrix_end, _ = layout(shapes_of(leaves))

        def update(chunk):
            adamw_chunk(
                w[chunk], g[chunk], self.m[chunk], self.v[chunk], t=self.t, scale=scale, lr=self.lr, betas=self.betas,
                eps=self.eps, weight_decay=self.weight_decay if chunk.start < matrix_end else 0.0,
            )  # fmt: skip

        in_parallel(update, _chunks(w, matrix_end), array_module(w))
        if not shared:
            unpack(w, leaves)
        return norm


def adamw_chunk(w, g, m, v, *, t, scale, lr, betas, eps, weight_decay):
    """The formula of ``AdamW`` on one chunk; ``scale`` multiplies the gradient.

    In place, one operation a line: an expression per line of the formula would add 7 to 9 % to a training step.

    >>> w, g, m, v = np.array([[1.0, 2.0], [0.5, -3.0], [0, 0], [0, 0]])
    >>> adamw_chunk(w, g, m, v, t=1, scale=1.0, lr=0.1, betas=(0.9, 0.99), eps=0.0, weight_decay=0.5)
    >>> w  # each lost 5 %, then moved by 0.1 against the sign of its gradient
    array([0.85, 2.  ])
    """
    xp, (beta1, beta2) = array_module(w), betas
    term = (1.0 - beta1) * scale * g
    m *= beta1
    m += term
    xp.multiply(g, g, out=term)
    term *= (1.0 - beta2) * scale**2
    v *= beta2
    v += term
    xp.sqrt(v, out=term)
    term *= 1.0 / math.sqrt(1.0 - beta2**t)
    term += eps  # sqrt(v_hat) + eps
    xp.divide(m, term, out=term)
    term *= lr / (1.0 - beta1**t)  # lr m_hat / (sqrt(v_hat) + eps)
    w *= 1.0 - lr * weight_decay
    w -= term


class SGD:
    """Stochastic gradient descent with momentum, the baseline that Adam improves on.

        b <- momentum b + g        w <- w - lr b

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
    """

    def __init__(self, params: dict, lr: float = 0.1, momentum: float = 0.0):
        """An optimizer for ``params``, a nested dict of arrays; lr as in AdamW, momentum in [0, 1)."""
        _check_numbers("SGD", lr=lr, momentum=momentum)
        if not (lr >= 0 and 0 <= momentum < 1):
            raise ValueError(f"SGD: lr must be >= 0 and momentum in [0, 1), got lr={lr}, momentum={momentum}")
        self.params, self.lr, self.momentum = params, lr, momentum
        flat, _ = flat_view(arrays_of(params, "SGD: params", "f"))
        self.b = array_module(flat).zeros_like(flat)

    def __repr__(self):
        return f"SGD({self.b.size:,} parameters, lr={self.lr}, momentum={self.momentum})"

    def step(self, grads: dict, max_norm: float | None = None) -> float:
        """Update the parameters in place; arguments, result and errors as in ``AdamW.step``."""
        leaves = flatten(self.params)
        check_writable(leaves | {"its momentum b": self.b}, "SGD")
        w, shared = flat_view(leaves)
        g, norm, scale = norm_and_scale(grads, leaves, max_norm)

        def update(chunk):
            self.b[chunk] = self.momentum * self.b[chunk] + scale * g[chunk]
            w[chunk] -= self.lr * self.b[chunk]

        in_parallel(update, _chunks(w, w.size), array_module(w))
        if not shared:
            unpack(w, leaves)
        return norm


def learning_rate(step, max_lr, min_lr, warmup_steps, decay_steps):
    """Linear warm-up, then half a cosine down to ``min_lr``.

        step < warmup_steps:   max_lr (step + 1) / (warmup_steps + 1)
        step >= decay_steps:   min_lr
        between:               min_lr + (max_lr - min_lr) (1 + cos(pi r)) / 2,
                               r = (step - warmup_steps) / (decay_steps - warmup_steps)

    step: number of steps already taken, from 0; all lengths in steps
    Source: Loshchilov & Hutter 2017, "SGDR", eq. 5; Radford et al. 2018, section 4.1, for the warm-up.

    >>> [learning_rate(step, max_lr=1.0, min_lr=0.0, warmup_steps=1, decay_steps=3) for step in range(4)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    if step >= decay_steps:
        return min_lr
    r = (step - warmup_steps) / (decay_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * 0.5 * (1.0 + math.cos(math.pi * r))


def norm_and_scale(grads, leaves, max_norm):
    """The flat gradient, its global norm, and the factor that clips it to ``max_norm``.

        norm = sqrt(sum of all squares)      factor = min(1, max_norm / (norm + 1e-6))

    Source: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", algorithm 1.
    """
    if max_norm is not None and (not isinstance(max_norm, Real) or isinstance(max_norm, bool) or not max_norm > 0):
        raise ValueError(f"optimizer: max_norm must be above 0, or None for no clipping, got {max_norm!r}")
    grads = arrays_of(grads, "optimizer: grads")
    if shapes_of(grads) != shapes_of(leaves):
        odd = sorted(set(shapes_of(grads).items()) ^ set(shapes_of(leaves).items()))
        raise ValueError(f"optimizer: grads must have the parameters' names and shapes; these differ: {odd[:4]}")
    g, _ = flat_view({name: grads[name] for name in leaves})
    xp = array_module(g)
    # By chunks, whose sums are added in float64: a single float32 sum over 124 million squares would be inexact.
    chunks = _chunks(g, g.size)
    squares = xp.empty(len(chunks), xp.float64)

    def square(i):
        squares[i] = xp.vdot(g[chunks[i]], g[chunks[i]])

    in_parallel(square, range(len(chunks)), xp)
    norm = math.sqrt(float(squares.sum()))
    if not math.isfinite(norm):
        raise ValueError("optimizer: the gradient holds NaN or infinity; try a lower learning rate")
    return g, norm, 1.0 if max_norm is None else min(1.0, max_norm / (norm + 1e-6))


def _check_numbers(optimizer, **numbers):
    """Raise TypeError for what is no number, ValueError for an infinite one."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{optimizer}: {name} must be a number, got {value!r}")
        if math.isinf(value):
            raise ValueError(f"{optimizer}: {name} must be finite, got {value}")


def _chunks(flat, boundary):
    """Slices that cover a flat buffer, on the host of at most ``CHUNK`` elements; none straddles ``boundary``."""
    length = at_a_time(flat, CHUNK)
    return [
        slice(begin, min(begin + length, stop))
        for start, stop in ((0, boundary), (boundary, flat.size))
        for begin in range(start, stop, length)
    ]
