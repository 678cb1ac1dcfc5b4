"""Exercise 3, positions: a row of a table for each token, its gradient, and the table of sines and cosines."""

import numpy as np

from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_2_position"


def _inputs(rng, B, T, C, P, **start):
    return {"x": rng.standard_normal((B, T, C)), "weight": rng.standard_normal((P, C)), **start}


def _cases(rng):
    return [
        Case("two sequences of three tokens, six positions", _inputs(rng, 2, 3, 4, 6, start=0)),
        Case("the first token at position 2", _inputs(rng, 2, 3, 4, 6, start=2)),
        Case("as many sequences as tokens and channels", _inputs(rng, 3, 3, 3, 5, start=1)),
        Case("as many tokens as positions", _inputs(rng, 2, 4, 3, 4, start=0)),
        Case("one token, at the last position", _inputs(rng, 3, 1, 2, 5, start=4)),
        Case("one sequence", _inputs(rng, 1, 3, 5, 7, start=1)),
        Case("one channel", _inputs(rng, 4, 2, 1, 6, start=3)),
        Case("called without start", _inputs(rng, 2, 2, 3, 5)),
    ]


def position_forward(x, weight, start=0):
    """The sum of each token and its row, and a cache with everything that a backward pass may want."""
    T = x.shape[1]
    rows = weight[start : start + T]
    y = x + rows
    return y, {"x": x, "weight": weight, "start": start, "positions": np.arange(start, start + T)}


ROWS = "weight[start : start + T]"
START_IGNORED = "start is ignored: the first token gets the same row, whatever start is."
ALONG_BATCH = (
    "The rows run along the batch: each sequence gets its own row, the same for all of its tokens. Which axis of x is "
    "time?"
)
TOO_FEW_ROWS = "There are fewer rows than tokens. Where does the slice end, and where should it?"
OTHER_LENGTH = "There are as many rows as there are sequences, or channels. Which axis of x is time?"
TOO_MANY_ROWS = "There are more rows than tokens. Where does the slice end, and where should it?"
BESIDE = "It is the row beside the right one: positions count from 0."
RUNS_ON = "The positions run on from one sequence into the next. Each sequence begins at start."
ROWS_ALONE = "The rows are there, and x is not."
ONE_SEQUENCE = "Only one sequence gets its stamps. What about the others?"

FORWARD = Task(
    name="position_forward",
    outputs=("y",),
    reference=position_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(ALONG_BATCH, ((ROWS, "weight[start : start + len(x), None]"),)),
        Mistake(ALONG_BATCH, ((ROWS, "weight[(start + np.arange(len(x))) % len(weight), None]"),)),
        Mistake(
            "The rows got a new axis in the wrong place. Where batch and time have the same length NumPy silently adds "
            "along the batch. Write the two shapes below each other, from the right.",
            ((ROWS, "weight[start : start + T, None]"),),
        ),
        Mistake(START_IGNORED, ((ROWS, "weight[:T]"),)),
        Mistake(START_IGNORED, ((ROWS, "weight[1 : 1 + T]"),)),
        Mistake(START_IGNORED, ((ROWS, "weight[1 + np.arange(T)]"),)),
        Mistake(
            "start is added to the numbers. It only says which row is the first.",
            ((ROWS, "weight[:T]"), ("x + rows", "x + rows + start")),
        ),
        Mistake(
            "Called without start, it does not begin at position 0. Compare its first line with the skeleton's.",
            (("start=0", "start=1"),),
        ),
        Mistake(
            "The slice ends at row T. Its end counts from row 0 as well, not from its beginning.",
            ((ROWS, "weight[start:T]"),),
        ),
        Mistake(TOO_FEW_ROWS, ((ROWS, "weight[start : start + T - 1]"),)),
        Mistake(TOO_FEW_ROWS, ((ROWS, "weight[start : start + 2]"),)),
        Mistake(OTHER_LENGTH, (("x.shape[1]", "x.shape[0]"),)),
        Mistake(OTHER_LENGTH, (("x.shape[1]", "x.shape[2]"),)),
        Mistake(TOO_MANY_ROWS, ((ROWS, "weight[start : start + T + 1]"),)),
        Mistake(TOO_MANY_ROWS, ((ROWS, "weight[start:]"),)),
        Mistake(BESIDE, ((ROWS, "weight[start + 1 : start + 1 + T]"),)),
        Mistake(BESIDE, ((ROWS, "weight[start - 1 : start - 1 + T]"),)),
        Mistake(BESIDE, ((ROWS, "weight[np.arange(T) + start + 1]"),)),
        Mistake(BESIDE, ((ROWS, "weight[np.arange(T) + start - 1]"),)),
        Mistake(BESIDE, ((ROWS, "np.roll(weight, -start - 1, axis=0)[:T]"),)),
        Mistake(
            "All tokens get the row of the first one.",
            ((ROWS, "weight[start]"),),
        ),
        Mistake(
            "The whole table is added. A text has only some of the P positions: which rows are theirs?",
            ((ROWS, "weight"),),
        ),
        Mistake(
            "The rows are the last ones of the table, wherever the text begins.",
            ((ROWS, "weight[-T:]"),),
        ),
        Mistake(
            "The rows are in the opposite order.",
            ((ROWS, "weight[start : start + T][::-1]"),),
        ),
        Mistake(
            "The table is moved the wrong way: larger positions should get later rows.",
            ((ROWS, "np.roll(weight, start, axis=0)[:T]"),),
        ),
        Mistake(
            "start counts twice: the first token gets row 2 start.",
            ((ROWS, "np.roll(weight, -2 * start, axis=0)[:T]"),),
        ),
        Mistake(
            "The loop over the tokens begins at start. t counts the tokens of x, which begin with 0; positions are "
            "something else.",
            ((ROWS, "np.where(np.arange(T)[:, None] < start, 0, weight[:T])"),),
        ),
        Mistake(
            "Columns of weight are taken. A position is a row: which axis has length P?",
            ((ROWS, "weight[:, start : start + T].T"),),
        ),
        Mistake(
            "The numbers of the positions are added. Where does weight come in?",
            ((ROWS, "np.arange(start, start + T)[:, None]"),),
        ),
        Mistake(
            "The sines and cosines are added. Here the stamps are in weight.",
            ((ROWS, "sinusoidal_positions(start + T, x.shape[2])[start:]"),),
        ),
        Mistake(
            "All channels of a token get the same number. A stamp has C of them, one for each channel.",
            ((ROWS, "weight[start : start + T].sum(1, keepdims=True)"),),
        ),
        Mistake(RUNS_ON, ((ROWS, "weight[(start + np.arange(x.shape[0] * T)) % len(weight)].reshape(x.shape)"),)),
        Mistake(RUNS_ON, ((ROWS, "weight[start + np.arange(x.shape[0] * T)].reshape(x.shape)"),)),
        Mistake(
            "The vectors of the positions are subtracted.",
            (("x + rows", "x - rows"),),
        ),
        Mistake(
            "The vectors of the positions are added twice.",
            (("x + rows", "x + 2 * rows"),),
        ),
        Mistake(
            "The tokens' vectors are multiplied by those of the positions. GPT-2 adds them.",
            (("x + rows", "x * rows"),),
        ),
        Mistake(
            "The two vectors are put side by side, with 2 C channels. GPT-2 adds them.",
            (("x + rows", "np.concatenate([x, np.broadcast_to(rows, x.shape)], axis=2)"),),
        ),
        Mistake(
            "x is multiplied by sqrt(C) first. The Transformer of 2017 does so; GPT-2 does not.",
            (("T = x.shape[1]", "T, x = x.shape[1], x * np.sqrt(x.shape[2])"),),
        ),
        Mistake(ROWS_ALONE, (("x + rows", "0 * x + rows"),)),
        Mistake(ROWS_ALONE, (("x + rows", "rows"),)),
        Mistake(
            "Tokens are dropped: start is a place in the table, and not one in x.",
            (("x + rows", "x[:, start:] + weight[start:T]"),),
        ),
        Mistake(ONE_SEQUENCE, (("x + rows", "np.concatenate([x[:1] + rows, x[1:]])"),)),
        Mistake(ONE_SEQUENCE, (("return y", "return y[0]"),)),
        Mistake(
            "x and weight are exchanged: compare its first line with the skeleton's.",
            (("(x, weight", "(weight, x"),),
        ),
        Mistake(
            "Batch and time are exchanged: y must have the axes of x, in their order.",
            (("return y", "return y.swapaxes(0, 1)"),),
        ),
    ),
)


def position_backward(dy, cache):
    """The gradient of x, and that of the table with its unused rows."""
    weight, start, T = cache["weight"], cache["start"], dy.shape[1]
    dx = dy
    rows = dy.sum(axis=0)
    dweight = np.zeros_like(weight)
    dweight[start : start + T] = rows
    return dx, dweight


WRITE = "dweight[start : start + T] = rows"
ANY_ROW = "Every row gets the gradients of all tokens. A row acts only on the tokens at its own position."
NOT_SUMMED = "dy still has the axis of the batch where the rows of dweight are written. What do sequences share?"
OVER_TIME = (
    "The sum runs over time, and the rows are those of sequences. Which axis do the tokens at one position share?"
)
CHANNELS_SUMMED = "The gradients of all channels are added up. Which numbers of y does one number of weight act on?"
BESIDE_BACK = "The gradients are in the row beside the right one: positions count from 0."
RUNS_ON_BACK = "In dweight the positions run on from one sequence into the next. Each sequence begins at start."
DX_SUMMED = "dx is summed over the batch. Every sequence has its own x."

def _one_by_one(dy):
    return dy.reshape(-1, dy.shape[2])


BACKWARD = Task(
    name="position_backward",
    outputs=("dx", "dweight"),
    reference=position_backward,
    forward=position_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        # dx:
        Mistake(DX_SUMMED, (("dx = dy", "dx = dy.sum(axis=0)"),)),
        Mistake(DX_SUMMED, (("dx = dy", "dx = 0 * dy + dy.sum(axis=0)"),)),
        Mistake(
            "The rows of the table are in dx. By how much does y change when x changes by a little?",
            (("dx = dy", "dx = dy + weight[start : start + T]"),),
        ),
        Mistake(
            "dx is multiplied by the rows of the table, as if they multiplied x in the forward pass.",
            (("dx = dy", "dx = dy * weight[start : start + T]"),),
        ),
        Mistake(
            "The sign of dx is wrong.",
            (("dx = dy", "dx = -dy"),),
        ),
        Mistake(
            "dx is 1 everywhere. That says how y moves with x; how does the loss move with y?",
            (("dx = dy", "dx = np.ones_like(dy)"),),
        ),
        Mistake(
            "dx has a row for each position. A gradient has the shape of its array: how many tokens are in x?",
            (("dx = dy", "dx = np.pad(dy, ((0, 0), (start, len(weight) - start - T), (0, 0)))"),),
        ),
        # The numbers in dweight:
        Mistake(
            "The sign of dweight is wrong.",
            (("return dx, dweight", "return dx, -dweight"),),
        ),
        Mistake(
            "dweight is a mean over the batch. Each sequence adds its part to the loss: is there a mean in the "
            "forward pass?",
            (("rows = dy.sum(axis=0)", "rows = dy.mean(axis=0)"),),
        ),
        Mistake(
            "dweight is that of the last sequence: each one overwrites the ones before it.",
            (("rows = dy.sum(axis=0)", "rows = dy[-1]"),),
        ),
        Mistake(
            "dweight is that of the first sequence. What about the others?",
            (("rows = dy.sum(axis=0)", "rows = dy[0]"),),
        ),
        Mistake(
            "dweight is made from two sequences, as in the example. There may be any number of them.",
            (("rows = dy.sum(axis=0)", "rows = dy[0] + dy[1 % len(dy)]"),),
        ),
        Mistake(
            "dweight has the largest of the gradients at a position. They all count.",
            (("rows = dy.sum(axis=0)", "rows = dy.max(axis=0)"),),
        ),
        Mistake(
            "dweight is multiplied by x, as if the table multiplied x in the forward pass.",
            (("rows = dy.sum(axis=0)", 'rows = (dy * cache["x"]).sum(axis=0)'),),
        ),
        Mistake(
            "dweight counts how often a row was used. That says how y moves with it; how does the loss move with y?",
            (("rows = dy.sum(axis=0)", "rows = np.ones_like(dy).sum(axis=0)"),),
        ),
        Mistake(
            "A reshape mixes the tokens of different positions before they are added up.",
            (("rows = dy.sum(axis=0)", "rows = dy.reshape(T, len(dy), -1).sum(axis=1)"),),
        ),
        Mistake(NOT_SUMMED, (("rows = dy.sum(axis=0)", "rows = dy"),)),
        Mistake(NOT_SUMMED, (("rows = dy.sum(axis=0)", "rows = dy"), (WRITE, "dweight[start : start + T] += rows"))),
        Mistake(OVER_TIME, (("rows = dy.sum(axis=0)", "rows = dy.sum(axis=1)"),)),
        Mistake(
            OVER_TIME,
            (("rows = dy.sum(axis=0)", "rows = dy.sum(axis=1)"), (WRITE, "dweight[start : start + len(rows)] = rows")),
        ),
        Mistake(
            OVER_TIME,
            (
                ("rows = dy.sum(axis=0)", "rows = dy.sum(axis=1)[: len(weight) - start]"),
                (WRITE, "dweight[start : start + len(rows)] = rows"),
            ),
        ),
        Mistake(
            OVER_TIME,
            (("rows = dy.sum(axis=0)", "rows = dy.sum(axis=1)"), (WRITE, "dweight[start + np.arange(T)] = rows")),
        ),
        Mistake(CHANNELS_SUMMED, (("rows = dy.sum(axis=0)", "rows = dy.sum(axis=(0, 2))[:, None]"),)),
        Mistake(CHANNELS_SUMMED, (("rows = dy.sum(axis=0)", "rows = dy.sum()"),)),
        Mistake(ANY_ROW, (("rows = dy.sum(axis=0)", "rows = dy.sum(axis=(0, 1))"),)),
        Mistake(ANY_ROW, ((WRITE, "dweight[:] = rows.sum(axis=0)"),)),
        # Their places:
        Mistake(
            "start is ignored in dweight: its first rows are filled, whichever rows the forward pass used.",
            ((WRITE, "dweight[:T] = rows"),),
        ),
        Mistake(
            "The slice of dweight ends at row T. Its end counts from row 0 as well, not from its beginning.",
            ((WRITE, "dweight[start:T] = rows"),),
        ),
        Mistake(
            "The loop over the tokens begins at start. t counts the tokens of dy, which begin with 0; positions are "
            "something else.",
            ((WRITE, "dweight[start:T] = rows[start:]"),),
        ),
        Mistake(
            "All gradients are in the row of the first token. At which positions are the others?",
            ((WRITE, "dweight[start] = rows.sum(axis=0)"),),
        ),
        Mistake(BESIDE_BACK, ((WRITE, "dweight[np.arange(T) + start - 1] = rows"),)),
        Mistake(BESIDE_BACK, ((WRITE, "dweight[np.arange(T) + start + 1] = rows"),)),
        Mistake(BESIDE_BACK, ((WRITE, "dweight[start + 1 : start + 1 + T] = rows"),)),
        Mistake(
            RUNS_ON_BACK,
            ((WRITE, "np.add.at(dweight, np.arange(start, start + len(dy) * T) % len(weight), _one_by_one(dy))"),),
        ),
        Mistake(
            RUNS_ON_BACK,
            ((WRITE, "np.add.at(dweight, np.arange(start, start + len(dy) * T), _one_by_one(dy))"),),
        ),
        Mistake(
            "The rows that were not used hold the table itself. They had no effect on the loss; what is their "
            "gradient?",
            (("np.zeros_like(weight)", "weight.copy()"),),
        ),
        Mistake(
            "The gradient is added to the table itself: that is weight plus its gradient.",
            (("np.zeros_like(weight)", "weight.copy()"), (WRITE, "dweight[start : start + T] += rows")),
        ),
        Mistake(
            "dweight ends with the last row that was used. The table goes on.",
            (("np.zeros_like(weight)", "np.zeros((start + T, dy.shape[2]))"),),
        ),
        Mistake(
            "There is a table for each sequence. They all use the same one, so its gradient is a sum over the batch.",
            (
                ("np.zeros_like(weight)", "np.zeros((len(dy), *weight.shape))"),
                (WRITE, "dweight[:, start : start + T] = dy"),
            ),
        ),
        Mistake(
            "dweight has only the rows that were used. A gradient has the shape of its array: what is the gradient of "
            "a row that was not used?",
            (("return dx, dweight", "return dx, rows"),),
        ),
        Mistake(
            "There is a row for each token of each sequence. The table has one for each position; what do sequences "
            "share?",
            (("return dx, dweight", "return dx, dy"),),
        ),
        Mistake(
            "The two gradients are in the wrong order: first that of x, then that of weight.",
            (("return dx, dweight", "return dweight, dx"),),
        ),
    ),
)


def sinusoidal_positions(P, C):
    """The table of the 2017 Transformer, all channels at once."""
    channel = np.arange(C)
    exponent = (channel - channel % 2) / C
    angles = np.arange(P)[:, None] / 10000.0**exponent
    return np.where(channel % 2 == 0, np.sin(angles), np.cos(angles))


def _clock_cases(_):
    return [
        Case("six positions, four channels", {"P": 6, "C": 4}),
        Case("an odd number of channels", {"P": 4, "C": 5}),
        Case("as many positions as channels", {"P": 6, "C": 6}),
        Case("one position", {"P": 1, "C": 8}),
        Case("one channel", {"P": 3, "C": 1}),
        Case("two thousand positions", {"P": 2000, "C": 6}),  # of as many channels as before: a table kept is short
    ]


ODD = (
    "With an odd number of channels there is one cosine fewer than there are sines. How many even and how many odd "
    "numbers are there below C?"
)
TOO_SLOWLY = (
    "Each clock differs too little from the one before: the exponent is half of what it should be, or the base is 100. "
    "Is i the number of a clock, or of a channel?"
)
TOO_FAST = (
    "Each clock differs too much from the one before: the exponent is twice what it should be. What is doubled, or "
    "halved below the line, once too often?"
)
OWN_SPEED = "Every channel has its own speed. The sine and the cosine of a pair belong to the same clock."
BASE = "The base of the power is not 10000. Count the zeros."
MULTIPLIED = "The clocks get faster from pair to pair. Does the power divide or multiply?"
FOUR_CHANNELS = "Its clocks slow down by 100 from one to the next. That is right for four channels; what about others?"
DEGREES = "The angles are treated as degrees. The formula is in radians, and so are NumPy's sine and cosine."
REVERSED = "The clocks are in the opposite order: the fast one comes first."

SINUSOIDAL = Task(
    name="sinusoidal_positions",
    outputs=("weight",),
    reference=sinusoidal_positions,
    cases=_clock_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "P and C are exchanged: a row for each position, a column for each channel.",
            (("(P, C)", "(C, P)"),),
        ),
        Mistake(
            "Sine and cosine are exchanged. What does position 0 look like, where all hands are at the angle 0?",
            (("== 0", "== 1"),),
        ),
        Mistake(
            "There are only sines. One number cannot tell where a hand points: it passes each height twice.",
            (("np.cos(angles)", "np.sin(angles)"),),
        ),
        Mistake(
            "There are only cosines. One number cannot tell where a hand points: it passes each height twice.",
            (("np.sin(angles)", "np.cos(angles)"),),
        ),
        Mistake(
            "The odd channels are zero: are the cosines ever written to them?",
            (("np.cos(angles)", "0"),),
        ),
        Mistake(
            "The angles are there, and their sines and cosines are not.",
            (("np.where(channel % 2 == 0, np.sin(angles), np.cos(angles))", "angles"),),
        ),
        Mistake(
            "There are sines in the even rows and cosines in the odd ones. What is even or odd in the formula?",
            (("channel % 2 == 0", "np.arange(P)[:, None] % 2 == 0"),),
        ),
        Mistake(
            "The sines have the wrong sign.",
            (("np.sin(angles)", "-np.sin(angles)"),),
        ),
        Mistake(
            "The cosines have the wrong sign.",
            (("np.cos(angles)", "-np.cos(angles)"),),
        ),
        Mistake(
            "All sines are in the first half and all cosines in the second. In the paper a clock's two numbers are "
            "neighbours.",
            (("channel = np.arange(C)", "channel = np.concatenate([np.arange(0, C, 2), np.arange(1, C, 2)])"),),
        ),
        Mistake(ODD, (("return", "np.empty((P, C))[:, 1::2] = angles[:, 0::2]\n    return"),)),
        Mistake(ODD, (("return", "np.empty((P, C))[:, 0::2] = angles[:, 1::2]\n    return"),)),
        Mistake(ODD, (("return", "np.empty((P, C))[:, channel[0::2] + 1]\n    return"),)),
        Mistake(
            "With an odd number of channels the last one stays 0. What does the text say of the last clock then?",
            (("np.cos(angles))", "np.cos(angles)) * (channel < C - C % 2)"),),
        ),
        Mistake(TOO_SLOWLY, (("(channel - channel % 2) / C", "channel // 2 / C"),)),
        Mistake(TOO_FAST, (("(channel - channel % 2) / C", "2 * (channel - channel % 2) / C"),)),
        Mistake(OWN_SPEED, (("(channel - channel % 2) / C", "channel / C"),)),
        Mistake(OWN_SPEED, (("(channel - channel % 2) / C", "2 * channel / C"),)),
        Mistake(
            "The clocks slow down too quickly: the last one is slower than the first by 10000. By how much is it by "
            "the formula?",
            (("(channel - channel % 2) / C", "(channel - channel % 2) / max(1, C - 2)"),),
        ),
        *(
            Mistake(
                "With an odd number of channels, the exponent is divided by another number than C.",
                (("(channel - channel % 2) / C", f"(channel - channel % 2) / ({number})"),),
            )
            for number in ("C + C % 2", "C - C % 2", "C - C % 2 or 1")
        ),
        Mistake(
            "The first clock is too slow, and so are all others. Where does i begin?",
            (("(channel - channel % 2) / C", "(channel - channel % 2 + 2) / C"),),
        ),
        Mistake(
            "All clocks run alike. Is the exponent 0 everywhere, or rounded to an integer?",
            (("(channel - channel % 2) / C", "(channel - channel % 2) // C"),),
        ),
        Mistake(FOUR_CHANNELS, (("(channel - channel % 2) / C", "channel // 2 / 2"),)),
        Mistake(REVERSED, (("(channel - channel % 2) / C", "((C + 1) // 2 - 1 - channel // 2) * 2 / C"),)),
        Mistake(BASE, (("10000.0", "1000.0"),)),
        Mistake(BASE, (("10000.0", "100000.0"),)),
        Mistake("The base of the power is e. What is it in the formula?", (("10000.0", "np.e"),)),
        Mistake(MULTIPLIED, (("/ 10000.0", "* 10000.0"),)),
        Mistake(
            "Brackets are missing: Python computes ** first, then * and / from left to right.",
            (("10000.0**exponent", "10000.0**2 * (channel // 2) / C"),),
        ),
        Mistake(
            "The position is raised to a power as well. Which number has the exponent in the formula?",
            (("np.arange(P)[:, None] / 10000.0**exponent", "(np.arange(P)[:, None] / 10000.0) ** exponent"),),
        ),
        Mistake(
            "The exponent is multiplied by 10000. What is done with the two in the formula?",
            (("10000.0**exponent", "(10000.0 * exponent)"),),
        ),
        Mistake(
            "The power divides the sine and the cosine. In the formula it divides the position, before the sine is "
            "taken.",
            (("/ 10000.0**exponent", "+ 0 * exponent"), ("np.cos(angles))", "np.cos(angles)) / 10000.0**exponent")),
        ),
        Mistake(DEGREES, (("angles = ", "angles = np.pi / 180 * "),)),
        Mistake(
            "The angles are multiplied by 2 pi. Is there one in the formula?",
            (("angles = ", "angles = 2 * np.pi * "),),
        ),
        Mistake(
            "The positions begin with 1. They count from 0, as everywhere.",
            (("np.arange(P)", "np.arange(1, P + 1)"),),
        ),
        Mistake(
            "Position 0 is missing: there are P - 1 rows, from position 1 on.",
            (("np.arange(P)", "np.arange(1, P)"),),
        ),
        Mistake(
            "The steps between the positions are not 1: they run evenly from 0 to P.",
            (("np.arange(P)", "np.linspace(0, P, P)"),),
        ),
        Mistake(
            "The positions are divided by how many there are. The stamp of position 3 should not depend on P.",
            (("np.arange(P)", "(np.arange(P) / P)"),),
        ),
    ),
)


# The harder part: a matrix that moves all positions by k.


def shift_matrix(k, C):
    """The matrix that turns each clock by k steps, in blocks of 2 x 2 along the diagonal."""
    even = np.arange(0, C, 2)
    angles = k / 10000.0 ** (even / C)
    first, second = even, even + 1
    M = np.zeros((C, C))
    M[first, first] = np.cos(angles)
    M[first, second] = -np.sin(angles)
    M[second, first] = np.sin(angles)
    M[second, second] = np.cos(angles)
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


BLOCK = (  # where the four numbers of a block are written
    "M[first, first] = np.cos(angles)",
    "M[first, second] = -np.sin(angles)",
    "M[second, first] = np.sin(angles)",
    "M[second, second] = np.cos(angles)",
)


def _block(*values):
    """The changes that write other numbers into a block, row by row."""
    return tuple((old, f"{old.partition('=')[0]}= {value}") for old, value in zip(BLOCK, values, strict=True))


EXCHANGED = "Sine and cosine are exchanged. What should M be for k = 0?"
ONE_CLOCK = "Only the first clock is turned. There are C/2 of them."
SAME_K = "It moves by the same number of positions, whatever k is."
ELEMENTWISE = "Each number of a matrix is raised to the power k. Is that the same as k steps one after the other?"
MOVED_CHANNELS = "It moves the channels by k places. The positions should move, and those are the rows of the table."
BESIDE_K = "It moves by one position too many or too few."

SHIFT = Task(
    name="shift_matrix",
    outputs=("M",),
    reference=shift_matrix,
    cases=_shift_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "It turns the clocks back: rows times this matrix go k positions back. Here rows are to the left of "
            "the matrix, not columns to its right.",
            (("return M", "return M.T"),),
        ),
        Mistake(
            "It fits a table with all sines first. Here the two numbers of a clock are neighbours: which rows and "
            "columns belong to one clock?",
            (("first, second = even, even + 1", "first, second = even // 2, (even + C) // 2"),),
        ),
        Mistake(
            "The blocks are there, but one behind the other. One matrix is wanted, which moves all clocks at once. "
            "Clocks do not mix: where is it 0?",
            (("return M", "return np.stack([M[i : i + 2, i : i + 2] for i in even])"),),
        ),
        Mistake(
            "Both sines have the same sign. A turn there and back must give the matrix of no turn at all.",
            _block("np.cos(angles)", "np.sin(angles)", "np.sin(angles)", "np.cos(angles)"),
        ),
        Mistake(
            "Both sines have the same sign. A turn there and back must give the matrix of no turn at all.",
            _block("np.cos(angles)", "-np.sin(angles)", "-np.sin(angles)", "np.cos(angles)"),
        ),
        Mistake(
            "The blocks mirror the hands. What should M be for k = 0?",
            _block("np.cos(angles)", "np.sin(angles)", "np.sin(angles)", "-np.cos(angles)"),
        ),
        Mistake(EXCHANGED, _block("np.sin(angles)", "np.cos(angles)", "np.cos(angles)", "-np.sin(angles)")),
        Mistake(EXCHANGED, _block("np.sin(angles)", "-np.cos(angles)", "np.cos(angles)", "np.sin(angles)")),
        Mistake(
            "Only the cosines are there. To turn a hand, its two numbers have to be mixed.",
            _block("np.cos(angles)", "0", "0", "np.cos(angles)"),
        ),
        Mistake(ONE_CLOCK, (("np.arange(0, C, 2)", "np.arange(0, 2, 2)"),)),
        Mistake(ONE_CLOCK, (("np.arange(0, C, 2)", "np.arange(0, 2, 2)"), ("np.zeros((C, C))", "np.eye(C)"))),
        Mistake(
            "The last clock is missing. How many are there?",
            (("np.arange(0, C, 2)", "np.arange(0, C - 2, 2)"),),
        ),
        Mistake(
            "All clocks are turned by the same angle. The slow ones turn less in k steps.",
            (("10000.0 ** (even / C)", "10000.0 ** (0 * even)"),),
        ),
        Mistake(TOO_SLOWLY, (("(even / C)", "(even // 2 / C)"),)),
        Mistake(TOO_FAST, (("(even / C)", "(2 * even / C)"),)),
        Mistake(FOUR_CHANNELS, (("(even / C)", "(even / 4)"),)),
        Mistake(REVERSED, (("(even / C)", "(even[::-1] / C)"),)),
        Mistake(BASE, (("10000.0", "1000.0"),)),
        Mistake(MULTIPLIED, (("k / 10000.0", "k * 10000.0"),)),
        Mistake(DEGREES, (("angles = ", "angles = np.pi / 180 * "),)),
        Mistake(SAME_K, (("angles = k", "angles = 1"),)),
        Mistake(SAME_K, (("angles = k", "angles = 3"),)),
        Mistake(ELEMENTWISE, (("angles = k", "angles = 1"), ("return M", "return M**k"))),
        Mistake(ELEMENTWISE, (("angles = k", "angles = 1"), ("return M", "return M ** abs(k)"))),
        Mistake(
            "It is k times the matrix of one step. k steps one after the other are something else: try k = 0.",
            (("angles = k", "angles = 1"), ("return M", "return k * M")),
        ),
        Mistake(BESIDE_K, (("angles = k", "angles = (k + 1)"),)),
        Mistake(BESIDE_K, (("angles = k", "angles = (k - 1)"),)),
        Mistake(
            "Its sign is lost: k = -2 moves ahead like k = 2.",
            (("angles = k", "angles = abs(k)"),),
        ),
        Mistake(
            "A negative k moves nothing. How often does a loop over range(k) run then?",
            (("angles = k", "angles = max(k, 0)"),),
        ),
        Mistake(
            "It moves nothing: that is the matrix for k = 0.",
            (("return M", "return np.eye(C)"),),
        ),
        Mistake(MOVED_CHANNELS, (("return M", "return np.eye(C, k=k)"),)),
        Mistake(MOVED_CHANNELS, (("return M", "return np.roll(np.eye(C), k, axis=1)"),)),
    ),
)

TASKS = (FORWARD, BACKWARD, SINUSOIDAL, SHIFT)
