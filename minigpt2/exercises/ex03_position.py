"""Exercise 3, positions: a row of a table for each token, its gradient, and the table of sines and cosines."""

import math

import numpy as np

from minigpt2.components.position import position_backward, position_forward, sinusoidal_positions
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_2_position"


def _inputs(rng, B, T, C, P, start=0):
    return {"x": rng.standard_normal((B, T, C)), "weight": rng.standard_normal((P, C)), "start": start}


def _cases(rng):
    return [
        Case("two sequences of three tokens, six positions", _inputs(rng, 2, 3, 4, 6)),
        Case("the first token at position 2", _inputs(rng, 2, 3, 4, 6, start=2)),
        Case("as many sequences as tokens and channels", _inputs(rng, 3, 3, 3, 5, start=1)),
        Case("as many tokens as positions", _inputs(rng, 2, 4, 3, 4)),
        Case("one token, at the last position", _inputs(rng, 3, 1, 2, 5, start=4)),
        Case("one sequence", _inputs(rng, 1, 3, 5, 7, start=1)),
        Case("one channel", _inputs(rng, 4, 2, 1, 6, start=3)),
    ]


def _rows(x, weight, start):
    return weight[start : start + x.shape[1]]


FORWARD = Task(
    name="position_forward",
    outputs=("y",),
    reference=position_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The rows run along the batch: each sequence gets its own row, the same for all of its tokens. Which axis "
            "of x is time?",
            lambda x, weight, start: x + weight[start : start + len(x), None],
        ),
        Mistake(
            "The rows got a new axis in the wrong place. Where batch and time have the same length NumPy silently adds "
            "along the batch. Write the two shapes below each other, from the right.",
            lambda x, weight, start: x + _rows(x, weight, start)[:, None],
        ),
        Mistake(
            "start is ignored: the first token always gets row 0.",
            lambda x, weight, start: x + weight[: x.shape[1]],
        ),
        Mistake(
            "The slice ends at row T. Its end counts from row 0 as well, not from its beginning.",
            lambda x, weight, start: x + weight[start : x.shape[1]],
        ),
        Mistake(
            "It is the row after the right one: positions count from 0.",
            lambda x, weight, start: x + weight[start + 1 : start + 1 + x.shape[1]],
        ),
        Mistake(
            "All tokens get the row of the first one.",
            lambda x, weight, start: x + weight[start],
        ),
        Mistake(
            "The whole table is added. A text has only some of the P positions: which rows are theirs?",
            lambda x, weight, start: x + weight,
        ),
        Mistake(
            "The tokens' vectors are multiplied by those of the positions. GPT-2 adds them.",
            lambda x, weight, start: x * _rows(x, weight, start),
        ),
        Mistake(
            "The two vectors are put side by side, with 2 C channels. GPT-2 adds them.",
            lambda x, weight, start: np.concatenate(
                [x, np.broadcast_to(_rows(x, weight, start), x.shape)], axis=-1
            ),
        ),
        Mistake(
            "x is multiplied by sqrt(C) first. The Transformer of 2017 does so; GPT-2 does not.",
            lambda x, weight, start: x * math.sqrt(x.shape[-1]) + _rows(x, weight, start),
        ),
        Mistake(
            "The rows are there, and x is not.",
            lambda x, weight, start: np.broadcast_to(_rows(x, weight, start), x.shape),
        ),
    ),
)


def _forward(x, weight, start):
    """Our forward pass, with everything that a backward pass may want in the cache."""
    y, cache = position_forward(x, weight, start)
    return y, cache | {"x": x, "positions": np.arange(start, start + x.shape[1])}


def _table(dy, cache, rows, start=None, unused=0.0):
    """dx, and a table with the given rows in their places and ``unused`` in the others."""
    start = cache["start"] if start is None else start
    dweight = np.zeros_like(cache["weight"]) + unused
    dweight[start : start + len(rows)] = rows
    return dy, dweight


def _for_each_sequence(dy, cache):
    return np.stack([position_backward(dy[b : b + 1], cache)[1] for b in range(len(dy))])


BACKWARD = Task(
    name="position_backward",
    outputs=("dx", "dweight"),
    reference=position_backward,
    forward=_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "There is a table for each sequence. They all use the same one, so its gradient is a sum over the batch.",
            lambda dy, cache: (dy, _for_each_sequence(dy, cache)),
        ),
        Mistake(
            "There is a row for each token of each sequence. The table has one for each position; what do sequences "
            "share?",
            lambda dy, cache: (dy, dy),
        ),
        Mistake(
            "dweight has only the rows that were used. A gradient has the shape of its array: what is the gradient of "
            "a row that was not used?",
            lambda dy, cache: (dy, dy.sum(0)),
        ),
        Mistake(
            "dweight is a mean over the batch. Each sequence adds its part to the loss: is there a mean in the "
            "forward pass?",
            lambda dy, cache: _table(dy, cache, dy.mean(0)),
        ),
        Mistake(
            "dweight is that of the last sequence: each one overwrites the ones before it.",
            lambda dy, cache: _table(dy, cache, dy[-1]),
        ),
        Mistake(
            "dweight is that of the first sequence. What about the others?",
            lambda dy, cache: _table(dy, cache, dy[0]),
        ),
        Mistake(
            "start is ignored: the right numbers are in the first rows, whichever rows the forward pass used.",
            lambda dy, cache: _table(dy, cache, dy.sum(0), start=0),
        ),
        Mistake(
            "The rows that were not used hold the table itself. They had no effect on the loss; what is their "
            "gradient?",
            lambda dy, cache: _table(dy, cache, dy.sum(0), unused=cache["weight"]),
        ),
        Mistake(
            "The gradient is added to the table itself: that is weight plus its gradient.",
            lambda dy, cache: (dy, position_backward(dy, cache)[1] + cache["weight"]),
        ),
        Mistake(
            "Every row gets the gradients of all tokens. A row acts only on the tokens at its own position.",
            lambda dy, cache: _table(dy, cache, dy.sum((0, 1)), start=0, unused=dy.sum((0, 1))),
        ),
        Mistake(
            "The sum runs over time, and the rows are those of sequences. Which axis do the tokens at one position "
            "share?",
            lambda dy, cache: _table(dy, cache, dy.sum(1)),
        ),
        Mistake(
            "dx is summed over the batch. Every sequence has its own x.",
            lambda dy, cache: (dy.sum(0), position_backward(dy, cache)[1]),
        ),
        Mistake(
            "The rows of the table are in dx. By how much does y change when x changes by a little?",
            lambda dy, cache: (dy + _rows(dy, cache["weight"], cache["start"]), position_backward(dy, cache)[1]),
        ),
    ),
)


def _sinusoidal(P, C):
    return sinusoidal_positions(P, C, "float64")


def _clock_cases(_):
    return [
        Case("six positions, four channels", {"P": 6, "C": 4}),
        Case("an odd number of channels", {"P": 4, "C": 5}),
        Case("as many positions as channels", {"P": 6, "C": 6}),
        Case("one position", {"P": 1, "C": 8}),
        Case("one channel", {"P": 3, "C": 1}),
        Case("two thousand positions", {"P": 2000, "C": 10}),
    ]


def _angles(P, C, base=10000.0):
    """The angle of each channel's clock, (P, C)."""
    return np.arange(P)[:, None] / base ** (np.arange(C) // 2 * 2 / C)


def _table_of(angles, even=np.sin, odd=np.cos):
    """The even channels made by one function of the angles, the odd ones by another."""
    return np.where(np.arange(angles.shape[1]) % 2, odd(angles), even(angles))


def _halves(P, C):
    angles = _angles(P, C)[:, ::2]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :C]


def _one_cosine_too_many(P, C):
    table = np.zeros((P, C))
    table[:, 1::2] = np.cos(_angles(P, C)[:, ::2])
    return _sinusoidal(P, C)


def _one_sine_too_few(P, C):
    table = np.zeros((P, C))
    table[:, 0::2] = np.sin(_angles(P, C)[:, 1::2])
    return _sinusoidal(P, C)


SINUSOIDAL = Task(
    name="sinusoidal_positions",
    outputs=("weight",),
    reference=_sinusoidal,
    cases=_clock_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "Sine and cosine are exchanged. What does position 0 look like, where all hands are at the angle 0?",
            lambda P, C: _table_of(_angles(P, C), np.cos, np.sin),
        ),
        Mistake(
            "All sines are in the first half and all cosines in the second. In the paper a clock's two numbers are "
            "neighbours.",
            _halves,
        ),
        Mistake(
            "With an odd number of channels there is one cosine fewer than there are sines. How many even and how many "
            "odd numbers are there below C?",
            _one_cosine_too_many,
        ),
        Mistake(
            "With an odd number of channels there is one cosine fewer than there are sines. How many even and how many "
            "odd numbers are there below C?",
            _one_sine_too_few,
        ),
        Mistake(
            "The exponent is half of what it should be: is i the number of a clock, or of a channel?",
            lambda P, C: _table_of(np.arange(P)[:, None] / 10000.0 ** (np.arange(C) // 2 / C)),
        ),
        Mistake(
            "The exponent is twice what it should be: a number that goes in steps of two is doubled again.",
            lambda P, C: _table_of(np.arange(P)[:, None] / 10000.0 ** (np.arange(C) // 2 * 4 / C)),
        ),
        Mistake(
            "Every channel has its own speed. The sine and the cosine of a pair belong to the same clock.",
            lambda P, C: _table_of(np.arange(P)[:, None] / 10000.0 ** (np.arange(C) / C)),
        ),
        Mistake(
            "The clocks get faster from pair to pair. Is the position divided by the power or multiplied by it?",
            lambda P, C: _table_of(np.arange(P)[:, None] * 10000.0 ** (np.arange(C) // 2 * 2 / C)),
        ),
        Mistake(
            "The base of the power is 1000. Count the zeros.",
            lambda P, C: _table_of(_angles(P, C, 1000.0)),
        ),
        Mistake(
            "The angles are treated as degrees. The formula is in radians, and so are NumPy's sine and cosine.",
            lambda P, C: _table_of(np.radians(_angles(P, C))),
        ),
        Mistake(
            "The positions begin with 1. They count from 0, as everywhere.",
            lambda P, C: _sinusoidal(P + 1, C)[1:],
        ),
        Mistake(
            "There are only sines. One number cannot tell where a hand points: it passes each height twice.",
            lambda P, C: _table_of(_angles(P, C), np.sin, np.sin),
        ),
        Mistake(
            "The odd channels are zero: are the cosines ever written to them?",
            lambda P, C: _table_of(_angles(P, C), np.sin, np.zeros_like),
        ),
    ),
)


# The harder part: a matrix that moves all positions by k.


def shift_matrix(k, C):
    """The matrix M with W[p + k] = W[p] M for every row of the sinusoidal table: each clock is turned by k steps.

    With the angle a of clock i for k:  M[2i:2i+2, 2i:2i+2] = [[cos a, -sin a], [sin a, cos a]]

    k: any integer; C: even
    returns (C, C).
    Source: Vaswani et al. 2017, section 3.5, last paragraph but one.
    """
    return _turned(k / 10000.0 ** (np.arange(0, C, 2) / C))


def _turned(angles):
    """Clocks turned by angles (C/2,), as a matrix of blocks along the diagonal."""
    C = 2 * len(angles)
    even = np.arange(0, C, 2)
    M = np.zeros((C, C))
    M[even, even] = M[even + 1, even + 1] = np.cos(angles)
    M[even, even + 1], M[even + 1, even] = -np.sin(angles), np.sin(angles)
    return M


def _shift_cases(_):
    return [
        Case("three positions ahead, four channels", {"k": 3, "C": 4}),
        Case("one clock", {"k": 2, "C": 2}),
        Case("one position ahead", {"k": 1, "C": 6}),
        Case("two positions back", {"k": -2, "C": 4}),
        Case("no positions ahead", {"k": 0, "C": 8}),
        Case("a thousand positions ahead", {"k": 1000, "C": 8}),
    ]


def _shift_of_halves(k, C):
    cos, sin = (np.diag(f(k / 10000.0 ** (np.arange(0, C, 2) / C))) for f in (np.cos, np.sin))
    return np.block([[cos, -sin], [sin, cos]])


SHIFT = Task(
    name="shift_matrix",
    outputs=("M",),
    reference=shift_matrix,
    cases=_shift_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "It turns the clocks back: rows times this matrix come k positions too early. Here rows are to the left of "
            "the matrix, not columns to its right.",
            lambda k, C: shift_matrix(k, C).T,
        ),
        Mistake(
            "It fits a table with all sines first. Here the two numbers of a clock are neighbours, so the matrix has "
            "blocks of 2 x 2 along its diagonal.",
            _shift_of_halves,
        ),
        Mistake(
            "All clocks are turned by the same angle. The slow ones turn less in k steps.",
            lambda k, C: _turned(np.full(C // 2, float(k))),
        ),
        Mistake(
            "It moves by one position, whatever k is.",
            lambda k, C: shift_matrix(1, C),
        ),
        Mistake(
            "Only the cosines are there. To turn a hand, its two numbers have to be mixed.",
            lambda k, C: np.diag(np.diag(shift_matrix(k, C))),
        ),
    ),
)

TASKS = (FORWARD, BACKWARD, SINUSOIDAL, SHIFT)
