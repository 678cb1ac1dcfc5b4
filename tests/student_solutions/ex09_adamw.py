"""Exercise 9 as students write it: right in several styles, and wrong in the ways that are known."""

import functools
import math

import numpy as np

from minigpt2 import AdamW
from minigpt2.components.optimizer import SGD, learning_rate

# The step.


def in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * weight_decay * w - lr * m_hat / (np.sqrt(v_hat) + eps)
    return w, m, v


def by_the_library(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """The class AdamW itself, in the middle of its way. Parameters with one axis do not decay there, so w gets two."""
    optimizer = AdamW({"w": w.reshape(1, -1).copy()}, lr, (beta1, beta2), eps, weight_decay)
    optimizer.m[:], optimizer.v[:], optimizer.t = m.ravel(), v.ravel(), t - 1
    optimizer.step({"w": g.reshape(1, -1)})
    new = optimizer.params["w"], optimizer.m, optimizer.v
    return tuple(array.reshape(w.shape) for array in new)


def in_loops(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    new_w, new_m, new_v = np.zeros(w.shape), np.zeros(w.shape), np.zeros(w.shape)
    for i in np.ndindex(w.shape):
        new_m[i] = beta1 * float(m[i]) + (1 - beta1) * float(g[i])
        new_v[i] = beta2 * float(v[i]) + (1 - beta2) * float(g[i]) ** 2
        root = math.sqrt(new_v[i] / (1 - beta2**t))
        new_w[i] = float(w[i]) * (1 - lr * weight_decay) - lr * new_m[i] / (1 - beta1**t) / (root + eps)
    return new_w, new_m, new_v


def decay_first(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """Steps on copies, as PyTorch does it."""
    w, m, v = w.copy(), m.copy(), v.copy()
    w *= 1 - lr * weight_decay
    m += (1 - beta1) * (g - m)
    v *= beta2
    v += (1 - beta2) * g * g
    denominator = np.sqrt(v) / math.sqrt(1 - beta2**t) + eps
    w -= lr / (1 - beta1**t) * (m / denominator)
    return w, m, v


def by_einsum(*inputs):
    """Both moments in one array, a list in place of a tuple."""
    w, g, m, v, t, lr, beta1, beta2, eps, weight_decay = inputs
    betas = np.array([beta1, beta2]).astype(w.dtype)
    shares = np.stack([betas, 1 - betas])
    both = np.einsum("si,si...->i...", shares, np.stack([np.stack([m, v]), np.stack([g, g * g])]))
    (m, v), (first, second) = both, (both.T / (1 - betas**t)).T
    return [w - lr * (weight_decay * w + first / (second**0.5 + eps)), m, v]


def one_at_a_time(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """A list of numbers, and arrays again at the end."""
    triples = []
    for each in zip(*(array.ravel().tolist() for array in (w, g, m, v)), strict=True):
        triples.append(in_the_order_of_the_formulas(*each, t, lr, beta1, beta2, eps, weight_decay))
    return tuple(np.array(column).reshape(w.shape) for column in zip(*triples, strict=True))


# Clipping.


def clip(grads, max_norm):
    norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
    factor = min(1.0, float(max_norm / (norm + 1e-6)))
    return {name: factor * g for name, g in grads.items()}, norm


def clip_by_concatenation(grads, max_norm):
    everything = np.concatenate([g.ravel() for g in grads.values()]).astype(np.float64)
    norm = float(np.linalg.norm(everything))
    if norm + 1e-6 > max_norm:
        return {name: g * (max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm
    return {name: g.copy() for name, g in grads.items()}, norm


def clip_in_loops(grads, max_norm):
    total = 0.0
    for g in grads.values():
        for value in g.flat:
            total += float(value) ** 2
    norm, clipped = math.sqrt(total), {}
    for name in grads:
        clipped[name] = grads[name] * min(max_norm / (norm + 1e-6), 1)
    return clipped, norm


def clip_by_the_library(grads, max_norm):
    """A step of length 1 from zero arrives at the clipped gradient, upside down."""
    optimizer = SGD({name: np.zeros_like(g) for name, g in grads.items()}, lr=1.0)
    norm = optimizer.step(grads, max_norm)
    return {name: -w for name, w in optimizer.params.items()}, norm


def clip_by_square_root_of_dot(grads, max_norm):
    """With an early return, and hypot in place of a sum of squares."""
    norm = math.hypot(*(float(value) for g in grads.values() for value in g.flat))
    if norm + 1e-6 <= max_norm:
        return dict(grads), norm
    clipped = {}
    for name, g in grads.items():
        clipped[name] = np.multiply(g, max_norm / (norm + 1e-6))
    return clipped, norm


# The learning rate.


def rate(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    r = min(1, (step - warmup_steps) / (decay_steps - warmup_steps))
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * r)) / 2


def rate_by_interpolation(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step >= warmup_steps:
        angle = np.interp(step, [warmup_steps, decay_steps], [0, np.pi])
        return (max_lr + min_lr) / 2 + (max_lr - min_lr) / 2 * np.cos(angle)
    return np.linspace(0, max_lr, warmup_steps + 2)[step + 1]


def rate_by_half_angle(step, max_lr, min_lr, warmup_steps, decay_steps):
    rise = (step + 1) / (warmup_steps + 1)
    if rise < 1:
        return rise * max_lr
    r = np.clip((step - warmup_steps) / (decay_steps - warmup_steps), 0, 1)
    return np.float64(max_lr - (max_lr - min_lr) * math.sin(math.pi / 2 * r) ** 2)


RIGHT = [
    ("adamw_step", in_the_order_of_the_formulas),
    ("adamw_step", by_the_library),
    ("adamw_step", in_loops),
    ("adamw_step", decay_first),
    ("adamw_step", by_einsum),
    ("adamw_step", one_at_a_time),
    ("clip_by_norm", clip),
    ("clip_by_norm", clip_by_concatenation),
    ("clip_by_norm", clip_in_loops),
    ("clip_by_norm", clip_by_the_library),
    ("clip_by_norm", clip_by_square_root_of_dot),
    ("learning_rate", learning_rate),
    ("learning_rate", rate),
    ("learning_rate", rate_by_interpolation),
    ("learning_rate", rate_by_half_angle),
]


# The step, wrong.


def one_v_for_all(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.vdot(g, g)
    step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w - lr * (step + weight_decay * w), m, v


def coupled(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    g = g + weight_decay * w
    return in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, 0)


def moments(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2


def adam(g, m, v, t, beta1, beta2, eps):
    """The quotient, and the new moments."""
    m, v = moments(g, m, v, beta1, beta2)
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def decay_without_lr(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step, m, v = adam(g, m, v, t, beta1, beta2, eps)
    return w - lr * step - weight_decay * w, m, v


def decay_of_new_w(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step, m, v = adam(g, m, v, t, beta1, beta2, eps)
    w = w - lr * step
    w = w - lr * weight_decay * w
    return w, m, v


def no_decay(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step, m, v = adam(g, m, v, t, beta1, beta2, eps)
    return w - lr * step, m, v


def growth(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step, m, v = adam(g, m, v, t, beta1, beta2, eps)
    return w - lr * (step - weight_decay * w), m, v


def uphill(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step, m, v = adam(g, m, v, t, beta1, beta2, eps)
    return w - lr * weight_decay * w + lr * step, m, v


def no_lr(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step, m, v = adam(g, m, v, t, beta1, beta2, eps)
    return w - lr * weight_decay * w - step, m, v


def with_quotient(quotient):
    """A step with somebody's own quotient, (g, m, v, t, beta1, beta2, eps) -> array, of the new moments."""

    @functools.wraps(quotient)
    def step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
        m, v = moments(g, m, v, beta1, beta2)
        return w * (1 - lr * weight_decay) - lr * quotient(g, m, v, t, beta1, beta2, eps), m, v

    del step.__wrapped__
    return step


@with_quotient
def no_correction(g, m, v, t, beta1, beta2, eps):
    return m / (np.sqrt(v) + eps)


@with_quotient
def only_v_corrected(g, m, v, t, beta1, beta2, eps):
    return m / (np.sqrt(v / (1 - beta2**t)) + eps)


@with_quotient
def only_m_corrected(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) / (np.sqrt(v) + eps)


@with_quotient
def from_zero(g, m, v, t, beta1, beta2, eps):
    t = t - 1
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@with_quotient
def one_ahead(g, m, v, t, beta1, beta2, eps):
    t = t + 1
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@with_quotient
def no_power(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1) / (np.sqrt(v / (1 - beta2)) + eps)


@with_quotient
def eps_inside(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps)


@with_quotient
def eps_corrected(g, m, v, t, beta1, beta2, eps):
    return math.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps)


@with_quotient
def no_eps(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t))


@with_quotient
def no_root(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) / (v / (1 - beta2**t) + eps)


@with_quotient
def multiplied(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) * (np.sqrt(v / (1 - beta2**t)) + eps)


@with_quotient
def gradient_itself(g, m, v, t, beta1, beta2, eps):
    return g / (np.sqrt(v / (1 - beta2**t)) + eps)


def w_first(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w - lr * (weight_decay * w + step), *moments(g, m, v, beta1, beta2)


def with_moments(make):
    """A step with somebody's own moments, (g, m, v, beta1, beta2) -> m, v."""

    def step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
        m, v = make(g, m, v, beta1, beta2)
        w = w - lr * weight_decay * w - lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)) ** 0.5 + eps)
        return w, m, v

    step.__name__ = make.__name__
    return step


@with_moments
def g_not_squared(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g


@with_moments
def size_of_g(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * abs(g)


@with_moments
def share_squared_too(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + ((1 - beta2) * g) ** 2


@with_moments
def all_of_g(g, m, v, beta1, beta2):
    return beta1 * m + g, beta2 * v + g**2


@with_moments
def all_of_g_to_m(g, m, v, beta1, beta2):
    return beta1 * m + g, beta2 * v + (1 - beta2) * g**2


@with_moments
def shares_exchanged(g, m, v, beta1, beta2):
    return (1 - beta1) * m + beta1 * g, (1 - beta2) * v + beta2 * g**2


def betas_exchanged(w, g, m, v, t, lr, beta2, beta1, eps, weight_decay):
    return in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)


def moments_exchanged(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return w, v, m


def corrected_kept(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(g, m, v, beta1, beta2)
    m = m / (1 - beta1**t)
    v = v / (1 - beta2**t)
    return w - lr * weight_decay * w - lr * m / (np.sqrt(v) + eps), m, v


def in_place(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g**2
    w -= lr * weight_decay * w
    w -= lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w, m, v


def returns_w(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)[0]


def with_decay(decay):
    """A step with somebody's own decay, (w, lr, weight_decay) -> what is taken from w."""

    def step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
        step, m, v = adam(g, m, v, t, beta1, beta2, eps)
        return w - decay(w, lr, weight_decay) - lr * step, m, v

    step.__name__ = decay.__name__
    return step


@with_decay
def decay_of_a_number(w, lr, weight_decay):
    return lr * weight_decay


@with_decay
def decay_by_lr(w, lr, weight_decay):
    return lr * w


@with_decay
def decay_by_lr_twice(w, lr, weight_decay):
    return lr * (lr * (weight_decay * w))


@with_decay
def decay_of_matrices(w, lr, weight_decay):
    return lr * weight_decay * w if w.ndim >= 2 else 0


def two_decays(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return in_the_order_of_the_formulas(w, g + weight_decay * w, m, v, t, lr, beta1, beta2, eps, weight_decay)


def decay_in_the_quotient(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(g, m, v, beta1, beta2)
    root = np.sqrt(v / (1 - beta2**t)) + eps
    return w - lr * (m / (1 - beta1**t) + weight_decay * w) / root, m, v


def change_alone(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    new_w, m, v = in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return new_w - w, m, v


@with_quotient
def times_t(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1 * t) / (np.sqrt(v / (1 - beta2 * t)) + eps)


@with_quotient
def power_of_the_difference(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1) ** t / (np.sqrt(v / (1 - beta2) ** t) + eps)


@with_quotient
def correction_multiplies(g, m, v, t, beta1, beta2, eps):
    return m * (1 - beta1**t) / (np.sqrt(v * (1 - beta2**t)) + eps)


@with_quotient
def one_correction_for_both(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta1**t)) + eps)


@with_quotient
def root_before_correction(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) / (np.sqrt(v) / (1 - beta2**t) + eps)


@with_quotient
def eps_outside(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t)) + eps


@with_quotient
def momentum(g, m, v, t, beta1, beta2, eps):
    return m / (1 - beta1**t)


@with_quotient
def plain_descent(g, m, v, t, beta1, beta2, eps):
    return g


@with_moments
def square_of_m(g, m, v, beta1, beta2):
    m = beta1 * m + (1 - beta1) * g
    return m, beta2 * v + (1 - beta2) * m * m


@with_moments
def never_forgets(g, m, v, beta1, beta2):
    return m + (1 - beta1) * g, v + (1 - beta2) * g * g


@with_moments
def forgets(g, m, v, beta1, beta2):
    return (1 - beta1) * g, (1 - beta2) * g * g


@with_moments
def subtracts(g, m, v, beta1, beta2):
    return beta1 * m - (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g


@with_moments
def one_beta_for_both(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta1 * v + (1 - beta1) * g * g


@with_moments
def all_of_g_unsquared(g, m, v, beta1, beta2):
    return beta1 * m + g, beta2 * v + (1 - beta2) * g


def w_last(*inputs):
    w, m, v = in_the_order_of_the_formulas(*inputs)
    return m, v, w


def moments_not_kept(w, g, m, v, *numbers):
    return in_the_order_of_the_formulas(w, g, m, v, *numbers)[0], m, v


def second_corrected_kept(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return w, m, v / (1 - beta2**t)


def betas_of_the_paper(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return in_the_order_of_the_formulas(w, g, m, v, t, lr, 0.9, 0.999, eps, weight_decay)


def nothing_returned(*inputs):
    in_the_order_of_the_formulas(*inputs)


def uphill_without_decay(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step, m, v = adam(g, m, v, t, beta1, beta2, eps)
    return w + lr * step, m, v


def eps_inside_decay_without_lr(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(g, m, v, beta1, beta2)
    return w * (1 - weight_decay) - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


@with_quotient
def divided_by_power(g, m, v, t, beta1, beta2, eps):
    return (m / beta1**t) / (np.sqrt(v / beta2**t) + eps)


@with_quotient
def no_brackets(g, m, v, t, beta1, beta2, eps):
    m_hat = m / 1 - beta1**t
    v_hat = v / 1 - beta2**t
    return m_hat / (np.sqrt(v_hat) + eps)


@with_quotient
def sign_of_g(g, m, v, t, beta1, beta2, eps):
    return np.where(g > 0, 1.0, np.where(g < 0, -1.0, 0.0))


def eps_to_w(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    w = w - lr * weight_decay * w - lr * m_hat / np.sqrt(v_hat) + eps
    return w, m, v


def root_kept(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return w, m, v**0.5


def corrected_and_exchanged(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = in_the_order_of_the_formulas(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return w, v / (1 - beta2**t), m / (1 - beta1**t)


def g_not_squared_without_sign(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """A root of a negative number was seen, and taken away."""
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g
    root = np.sqrt(np.abs(v / (1 - beta2**t)))
    return w - lr * weight_decay * w - lr * m / (1 - beta1**t) / (root + eps), m, v


def g_cut_off(w, g, *others):
    return in_the_order_of_the_formulas(w, np.clip(g, -0.3, 0.3), *others)


# Clipping, wrong.


def norm_of(grads):
    return np.sqrt(sum((g**2).sum() for g in grads.values()))


def each_by_itself(grads, max_norm):
    clipped = {}
    for name, g in grads.items():
        clipped[name] = g * min(1, max_norm / (np.linalg.norm(g) + 1e-6))
    return clipped, norm_of(grads)


def each_number(grads, max_norm):
    return {name: np.clip(g, -max_norm, max_norm) for name, g in grads.items()}, norm_of(grads)


def with_norm(norm):
    def clip(grads, max_norm):
        length = norm(grads)
        return {name: g * min(1, max_norm / (length + 1e-6)) for name, g in grads.items()}, length

    clip.__name__ = f"norm_{norm.__name__}"
    return clip


def always(grads, max_norm):
    norm = norm_of(grads)
    return {name: g * max_norm / (norm + 1e-6) for name, g in grads.items()}, norm


def opposite(grads, max_norm):
    norm = norm_of(grads)
    factor = max(1, max_norm / (norm + 1e-6))
    return {name: g * factor for name, g in grads.items()}, norm


def to_length_1(grads, max_norm):
    norm = norm_of(grads)
    return ({name: g / (norm + 1e-6) for name, g in grads.items()} if norm > max_norm else dict(grads)), norm


def no_small_number(grads, max_norm):
    norm = norm_of(grads)
    return {name: g * min(1, max_norm / norm) for name, g in grads.items()}, norm


def no_small_number_with_if(grads, max_norm):
    norm = norm_of(grads)
    if norm > max_norm:
        return {name: g / norm * max_norm for name, g in grads.items()}, norm
    return {name: g * 1 for name, g in grads.items()}, norm


def norm_after(grads, max_norm):
    grads, _ = clip(grads, max_norm)
    return grads, norm_of(grads)


def untouched(grads, max_norm):
    norm = norm_of(grads)
    for g in grads.values():
        if norm > max_norm:
            g = g * max_norm / (norm + 1e-6)
    return grads, norm


@with_norm
def of_norms(grads):
    return sum(np.linalg.norm(g) for g in grads.values())


@with_norm
def of_squares(grads):
    return sum(np.sum(g * g) for g in grads.values())


@with_norm
def of_sizes(grads):
    return sum(np.sum(np.abs(g)) for g in grads.values())


@with_norm
def of_largest(grads):
    return max(abs(value) for g in grads.values() for value in g.ravel())


@with_norm
def of_mean(grads):
    return np.sqrt(np.mean(np.concatenate([g.ravel() for g in grads.values()]) ** 2))


@with_norm
def of_last(grads):
    for g in grads.values():
        total = np.sum(g**2)
    return np.sqrt(total)


@with_norm
def of_first(grads):
    for g in grads.values():
        return np.linalg.norm(g)


@with_norm
def of_longest(grads):
    return max(np.linalg.norm(g) for g in grads.values())


def with_factor(make):
    """Clipping with somebody's own factor, (norm, max_norm) -> number."""

    def clip(grads, max_norm):
        norm = norm_of(grads)
        return {name: g * make(norm, max_norm) for name, g in grads.items()}, norm

    clip.__name__ = f"factor_{make.__name__}"
    return clip


@with_factor
def upside_down(norm, max_norm):
    return min(1, (norm + 1e-6) / max_norm)


@with_factor
def another_small_number(norm, max_norm):
    return min(1, max_norm / (norm + 1e-8))


@with_factor
def small_number_outside(norm, max_norm):
    return min(1, max_norm / norm + 1e-6)


@with_factor
def squares_compared(norm, max_norm):
    return max_norm / (norm + 1e-6) if norm**2 > max_norm else 1


def in_one_loop(grads, max_norm):
    total, clipped = 0.0, {}
    for name, g in grads.items():
        total += np.sum(g**2)
        clipped[name] = g * min(1, max_norm / (np.sqrt(total) + 1e-6))
    return clipped, np.sqrt(total)


def returns_factor(grads, max_norm):
    factor = min(1.0, float(max_norm / (norm_of(grads) + 1e-6)))
    return {name: g * factor for name, g in grads.items()}, factor


def norm_first(grads, max_norm):
    return clip(grads, max_norm)[::-1]


def joined_as_they_are(grads, max_norm):
    norm = np.linalg.norm(np.concatenate(list(grads.values())))
    return {name: g * min(1, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


def one_dict_for_all_calls(grads, max_norm, clipped={}):  # noqa: B006
    clipped.update(clip(grads, max_norm)[0])
    return clipped, norm_of(grads)


def sizes_and_norm_after(grads, max_norm):
    size = sum(np.sum(abs(g)) for g in grads.values())
    factor = min(1, max_norm / (size + 1e-6))
    return {name: g * factor for name, g in grads.items()}, size * factor


def clip_in_place(grads, max_norm):
    norm = norm_of(grads)
    for name in grads:
        grads[name] *= min(1, max_norm / (norm + 1e-6))
    return grads, norm


def compared_with_1(grads, max_norm):
    norm = norm_of(grads)
    if norm > 1.0:
        return {name: g * (max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm
    return {name: g * 1 for name, g in grads.items()}, norm


def norm_at_most(grads, max_norm):
    clipped, norm = clip(grads, max_norm)
    return clipped, (max_norm if norm > max_norm else norm)


def each_number_and_norm_after(grads, max_norm):
    clipped = {name: np.clip(g, -max_norm, max_norm) for name, g in grads.items()}
    return clipped, norm_of(clipped)


def into_the_same_dict(grads, max_norm):
    norm = norm_of(grads)
    factor = min(1, max_norm / (norm + 1e-6))
    for name in grads:
        grads[name] = factor * grads[name]
    return grads, norm


def as_whole_number(grads, max_norm):
    norm = norm_of(grads)
    return {name: g * min(1, max_norm // (norm + 1e-6)) for name, g in grads.items()}, norm


@with_norm
def of_signed_sum(grads):
    return np.sqrt(abs(sum(g.sum() for g in grads.values())))


SUMS = []


def sum_of_all_calls(grads, max_norm):
    """The list of squares was made in another cell."""
    SUMS.extend((g**2).sum() for g in grads.values())
    norm = np.sqrt(sum(SUMS))
    return {name: g * min(1, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


# The learning rate, wrong.


def cosine(r, max_lr, min_lr):
    return min_lr + (max_lr - min_lr) * 0.5 * (1 + np.cos(np.pi * r))


def rate_with(name, rise=lambda step, w: (step + 1) / (w + 1), r=lambda step, w, d: (step - w) / (d - w), fall=cosine):
    def learning_rate(step, max_lr, min_lr, warmup_steps, decay_steps):
        if step < warmup_steps:
            return max_lr * rise(step, warmup_steps)
        if step >= decay_steps:
            return min_lr
        return fall(r(step, warmup_steps, decay_steps), max_lr, min_lr)

    learning_rate.__name__ = name
    return learning_rate


def rate_from_min(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step < warmup_steps:
        return min_lr + (max_lr - min_lr) * (step + 1) / (warmup_steps + 1)
    return rate(step, max_lr, min_lr, warmup_steps, decay_steps)


def rate_without_end(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    return cosine((step - warmup_steps) / (decay_steps - warmup_steps), max_lr, min_lr)


def rate_zero_after(step, max_lr, min_lr, warmup_steps, decay_steps):
    return rate(step, max_lr, min_lr, warmup_steps, decay_steps) if step < decay_steps else 0.0


def rate_over_the_top(step, max_lr, min_lr, warmup_steps, decay_steps):
    return rate(step, max_lr, min_lr, warmup_steps, decay_steps) if step < decay_steps else max_lr


def rate_above_min(step, max_lr, min_lr, warmup_steps, decay_steps):
    return max(min_lr, rate(step, max_lr, min_lr, warmup_steps, decay_steps))


def rate_long_warmup(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step <= warmup_steps + 1:
        return max_lr * (step + 1) / (warmup_steps + 1)
    return rate(step, max_lr, min_lr, warmup_steps, decay_steps)


def rate_late_end(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    if step > warmup_steps + decay_steps:
        return min_lr
    return cosine((step - warmup_steps) / (decay_steps - warmup_steps), max_lr, min_lr)


def rate_length_of_decay(step, max_lr, min_lr, warmup_steps, decay_steps):
    """As if decay_steps began to count after the warm-up."""
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    if step >= warmup_steps + decay_steps:
        return min_lr
    return cosine((step - warmup_steps) / decay_steps, max_lr, min_lr)


def rate_exchanged(step, min_lr, max_lr, warmup_steps, decay_steps):
    return rate(step, max_lr, min_lr, warmup_steps, decay_steps)


def rate_warm_at_the_end(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step > warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    if step >= decay_steps:
        return min_lr
    return cosine((step - warmup_steps) / (decay_steps - warmup_steps), max_lr, min_lr)


def rate_early_end(step, max_lr, min_lr, warmup_steps, decay_steps):
    if warmup_steps <= step and step >= decay_steps - warmup_steps:
        return min_lr
    return rate(step, max_lr, min_lr, warmup_steps, decay_steps)


def rate_without_brackets(step, max_lr, min_lr, warmup_steps, decay_steps):
    if step < warmup_steps:
        return max_lr * step + 1 / (warmup_steps + 1)
    return rate(step, max_lr, min_lr, warmup_steps, decay_steps)


def rate_counted_from_1(step, *others):
    return rate(step + 1, *others)


WRONG = [
    ("adamw_step", one_v_for_all, "the squares of the whole array"),
    ("adamw_step", coupled, "put into the gradient"),
    ("adamw_step", decay_without_lr, "not multiplied by the learning rate"),
    ("adamw_step", decay_of_new_w, "from the new w"),
    ("adamw_step", no_decay, "There is no weight decay"),
    ("adamw_step", growth, "The weights grow"),
    ("adamw_step", uphill, "It goes uphill"),
    ("adamw_step", no_lr, "lr is missing"),
    ("adamw_step", no_correction, "Neither moment is corrected"),
    ("adamw_step", only_v_corrected, "m is not corrected"),
    ("adamw_step", only_m_corrected, "v is not corrected"),
    ("adamw_step", from_zero, "count the steps from 0"),
    ("adamw_step", one_ahead, "one step ahead"),
    ("adamw_step", no_power, "as if every step were the first"),
    ("adamw_step", eps_inside, "eps is under the root"),
    ("adamw_step", eps_corrected, "eps is corrected as well"),
    ("adamw_step", no_eps, "eps is missing"),
    ("adamw_step", no_root, "The root is missing"),
    ("adamw_step", multiplied, "It multiplies by the root"),
    ("adamw_step", gradient_itself, "along the gradient itself"),
    ("adamw_step", w_first, "from before this step"),
    ("adamw_step", g_not_squared, "a mean of the gradients"),
    ("adamw_step", size_of_g, "the absolute value of g"),
    ("adamw_step", share_squared_too, "squared together with g"),
    ("adamw_step", all_of_g, "All of g is added to m"),
    ("adamw_step", all_of_g_to_m, "All of g is added to m"),
    ("adamw_step", shares_exchanged, "have changed places"),
    ("adamw_step", betas_exchanged, "beta1 and beta2 are exchanged"),
    ("adamw_step", moments_exchanged, "m and v are exchanged"),
    ("adamw_step", corrected_kept, "A corrected moment is returned"),
    ("adamw_step", in_place, "An operation in place"),
    ("adamw_step", returns_w, "a single result came back"),
    ("adamw_step", two_decays, "There are two weight decays"),
    ("adamw_step", decay_in_the_quotient, "by the root of v together with the gradient"),
    ("adamw_step", decay_of_a_number, "the same number from each weight"),
    ("adamw_step", decay_by_lr, "weight_decay is not used"),
    ("adamw_step", decay_by_lr_twice, "multiplied by lr twice"),
    ("adamw_step", decay_of_matrices, "Only matrices decay here"),
    ("adamw_step", change_alone, "only the change of w"),
    ("adamw_step", times_t, "multiply beta by t"),
    ("adamw_step", power_of_the_difference, "1 - beta is raised to the power"),
    ("adamw_step", correction_multiplies, "multiplies where it should divide"),
    ("adamw_step", one_correction_for_both, "A correction has the beta of the other"),
    ("adamw_step", root_before_correction, "corrected after its root"),
    ("adamw_step", eps_outside, "eps is added to the quotient"),
    ("adamw_step", momentum, "without regard to the usual size"),
    ("adamw_step", plain_descent, "as in plain gradient descent"),
    ("adamw_step", square_of_m, "a mean of the squares of m"),
    ("adamw_step", never_forgets, "All of the old mean is kept"),
    ("adamw_step", forgets, "The old mean is forgotten"),
    ("adamw_step", subtracts, "the new part is added"),
    ("adamw_step", one_beta_for_both, "made with the beta of the other one"),
    ("adamw_step", w_last, "w comes last"),
    ("adamw_step", moments_not_kept, "are returned as they came"),
    ("adamw_step", second_corrected_kept, "A corrected moment is returned"),
    ("adamw_step", betas_of_the_paper, "w stays the same when beta1 is changed"),
    ("adamw_step", nothing_returned, "None came back"),
    ("adamw_step", all_of_g_unsquared, "(2) All of g is added to m"),
    ("adamw_step", all_of_g_unsquared, "(1) v is a mean of the gradients"),
    ("adamw_step", uphill_without_decay, "2 things at once. (1) There is no weight decay"),
    ("adamw_step", uphill_without_decay, "(2) It goes uphill"),
    ("adamw_step", eps_inside_decay_without_lr, "(1) The weight decay is not multiplied by the learning rate"),
    ("adamw_step", eps_inside_decay_without_lr, "(2) eps is under the root"),
    ("adamw_step", divided_by_power, "divides by beta to the power of t"),
    ("adamw_step", no_brackets, "the power is subtracted at the end"),
    ("adamw_step", sign_of_g, "by the sign of the gradient"),
    ("adamw_step", eps_to_w, "eps is added to w itself"),
    ("adamw_step", root_kept, "v is returned as its root"),
    ("adamw_step", corrected_and_exchanged, "(1) m and v are exchanged"),
    ("adamw_step", corrected_and_exchanged, "(2) A corrected moment is returned"),
    ("adamw_step", g_not_squared_without_sign, "That explains v, but not all that is wrong with w."),
    ("adamw_step", g_cut_off, "Look at m, v alone: w would be right if m, v were."),
    ("clip_by_norm", compared_with_1, "is compared with 1,"),
    ("clip_by_norm", norm_at_most, "the one after clipping"),
    ("clip_by_norm", each_number_and_norm_after, "(1) Each number is cut off"),
    ("clip_by_norm", each_number_and_norm_after, "(2) The returned norm is the one after clipping"),
    ("clip_by_norm", into_the_same_dict, "puts another one into the caller's dict"),
    ("clip_by_norm", as_whole_number, "grads.weight is zero everywhere"),
    ("clip_by_norm", of_signed_sum, "Look at norm alone: grads.weight, grads.bias would be right if norm were."),
    ("clip_by_norm", sum_of_all_calls, "Called twice with equal arguments"),
    ("clip_by_norm", of_first, "the first array only"),
    ("clip_by_norm", of_longest, "the largest of the arrays' norms"),
    ("clip_by_norm", upside_down, "The factor is upside down"),
    ("clip_by_norm", another_small_number, "Another number than in the formula"),
    ("clip_by_norm", small_number_outside, "is not in the divisor"),
    ("clip_by_norm", squares_compared, "is compared with max_norm"),
    ("clip_by_norm", in_one_loop, "from the arrays up to this one"),
    ("clip_by_norm", returns_factor, "in place of the norm"),
    ("clip_by_norm", norm_first, "it is of type float64. In this order: `grads, norm`"),
    ("clip_by_norm", joined_as_they_are, "Arrays are joined whose shapes do not fit"),
    ("clip_by_norm", one_dict_for_all_calls, "The names in grads are not as expected. Missing: none"),
    ("clip_by_norm", sizes_and_norm_after, "2 things at once. (1) The returned norm is the one after"),
    ("clip_by_norm", each_by_itself, "Each array is clipped separately"),
    ("clip_by_norm", each_number, "Each number is cut off"),
    ("clip_by_norm", always, "is made longer"),
    ("clip_by_norm", opposite, "a comparison the wrong way round"),
    ("clip_by_norm", to_length_1, "has the norm 1"),
    ("clip_by_norm", no_small_number, "except for the 1e-6"),
    ("clip_by_norm", no_small_number_with_if, "except for the 1e-6"),
    ("clip_by_norm", norm_after, "the one after clipping"),
    ("clip_by_norm", untouched, "come back unchanged"),
    ("clip_by_norm", of_norms, "a sum of the norms"),
    ("clip_by_norm", of_squares, "the sum of the squares"),
    ("clip_by_norm", of_sizes, "the sum of the absolute values"),
    ("clip_by_norm", of_largest, "the largest of all numbers"),
    ("clip_by_norm", of_mean, "The squares are averaged"),
    ("clip_by_norm", of_last, "the last array only"),
    ("clip_by_norm", clip_in_place, "An operation in place"),
    ("learning_rate", rate_with("starts_at_0", rise=lambda step, w: step / w), "begins at 0"),
    ("learning_rate", rate_with("too_early", rise=lambda step, w: (step + 1) / w), "one step too early"),
    ("learning_rate", rate_with("behind", rise=lambda step, w: step / (w + 1)), "one step behind"),
    ("learning_rate", rate_with("no_warmup", rise=lambda step, w: 1), "There is no warm-up"),
    ("learning_rate", rate_from_min, "rises from min_lr"),
    ("learning_rate", rate_with("line", fall=lambda r, top, low: top + r * (low - top)), "along a straight line"),
    ("learning_rate", rate_with("whole_way", r=lambda step, w, d: step / d), "r counts from the beginning"),
    ("learning_rate", rate_with("by_decay_steps", r=lambda step, w, d: (step - w) / d), "r is divided by decay_steps"),
    ("learning_rate", rate_with("ahead", r=lambda step, w, d: (step + 1 - w) / (d - w)), "r is one step ahead"),
    ("learning_rate", rate_with("wave", fall=lambda r, *ends: cosine(2 * r, *ends)), "along a whole wave"),
    (
        "learning_rate",
        rate_with("quarter", fall=lambda r, top, low: low + (top - low) * math.cos(r * math.pi / 2)),
        "a quarter of a wave",
    ),
    (
        "learning_rate",
        rate_with("plain_cosine", fall=lambda r, top, low: low + (top - low) * math.cos(r * math.pi)),
        "goes from 1 to -1",
    ),
    ("learning_rate", rate_without_end, "rises again with the cosine"),
    ("learning_rate", rate_zero_after, "the rate is 0"),
    ("learning_rate", rate_with("to_zero", fall=lambda r, top, low: cosine(r, top, 0)), "cosine falls to 0."),
    ("learning_rate", rate_with("too_high", fall=lambda r, top, low: low + cosine(r, top, 0)), "they exceed max_lr"),
    ("learning_rate", rate_above_min, "never below min_lr"),
    ("learning_rate", rate_long_warmup, "ends at another step"),
    ("learning_rate", rate_with("not_subtracted", r=lambda step, w, d: step / (d - w)), "not subtracted from step"),
    ("learning_rate", rate_with("one_less", r=lambda step, w, d: (step - w) / (d - w - 1)), "is off by one"),
    ("learning_rate", rate_with("rises", fall=lambda r, *ends: cosine(1 - r, *ends)), "The rate rises after"),
    ("learning_rate", rate_with("twice", fall=lambda r, top, low: cosine(r, 2 * top - low, low)), "goes from 2 to 0"),
    (
        "learning_rate",
        rate_with("halved", fall=lambda r, top, low: low + (top - low) * (1 + math.cos(math.pi * r) / 2)),
        "Only the cosine is halved",
    ),
    ("learning_rate", rate_with("degrees", fall=lambda r, *ends: cosine(180 * r / math.pi, *ends)), "not in radians"),
    ("learning_rate", rate_with("no_pi", fall=lambda r, *ends: cosine(r / math.pi, *ends)), "pi is missing"),
    ("learning_rate", rate_late_end, "The decay ends too late"),
    ("learning_rate", rate_over_the_top, "the rate is max_lr again"),
    (
        "learning_rate",
        rate_with("cut_off", fall=lambda r, top, low: max(low, cosine(r, top, 0))),
        "is cut off at min_lr",
    ),
    (
        "learning_rate",
        rate_with("difference", fall=lambda r, top, low: cosine(r, top - low, 0)),
        "from the difference of the two rates",
    ),
    ("learning_rate", rate_without_brackets, "Brackets are missing in the warm-up"),
    ("learning_rate", rate_with("floor", rise=lambda step, w: (step + 1) // (w + 1)), "The rate is 0 in the warm-up"),
    ("learning_rate", rate_warm_at_the_end, "The warm-up comes at the end"),
    ("learning_rate", rate_counted_from_1, "Everything is shifted by one step"),
    ("learning_rate", rate_early_end, "The decay ends too early"),
    ("learning_rate", rate_with("no_brackets_in_r", r=lambda step, w, d: step - w / (d - w)), "not the difference"),
    ("learning_rate", rate_with("floor_of_r", r=lambda step, w, d: (step - w) // (d - w)), "The rate stays at max_lr"),
    ("learning_rate", rate_with("constant", fall=lambda r, top, low: top), "The rate stays at max_lr"),
    ("learning_rate", rate_with("r_upside_down", r=lambda step, w, d: (d - w) / (step - w)), "r is upside down"),
    (
        "learning_rate",
        rate_with("r_outside", fall=lambda r, top, low: low + (top - low) * (1 + math.cos(math.pi) * r) / 2),
        "r is outside of the cosine",
    ),
    ("learning_rate", rate_with("above", fall=lambda r, top, low: top - low + cosine(r, top, low)), "added to max_lr"),
    (
        "learning_rate",
        rate_with("difference_turned", fall=lambda r, top, low: low - cosine(r, top - low, 0)),
        "difference of the two rates has the wrong sign",
    ),
    ("learning_rate", rate_exchanged, "max_lr and min_lr are exchanged"),
    ("learning_rate", rate_length_of_decay, "2 things at once. (1) r is divided by decay_steps"),
    ("learning_rate", rate_length_of_decay, "(2) The decay ends too late"),
]
