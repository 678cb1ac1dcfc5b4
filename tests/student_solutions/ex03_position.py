"""Exercise 3 as students write it: right in several styles, and wrong in the ways that are known."""

import math

import numpy as np


def by_slice(x, weight, start=0):
    T = x.shape[1]
    return x + weight[start : start + T], {"start": start, "P": len(weight)}


def by_index(x, weight, start=0):
    positions = np.arange(x.shape[1]) + start
    return x + weight[positions][None], {}


def in_loops(x, weight, start=0):
    y = x.copy()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            y[b, t] += weight[start + t]
    return y


def by_one_hot(x, weight, start=0):
    one_hot = np.eye(len(weight), dtype=x.dtype)[start : start + x.shape[1]]
    return x + np.einsum("tp,pc->tc", one_hot, weight), {}


def backward_by_slice(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["start"] : cache["start"] + dy.shape[1]] = dy.sum(axis=0)
    return dy, dweight


def backward_in_loops(dy, cache):
    dweight = np.zeros(cache["weight"].shape)
    for b in range(len(dy)):
        for t in range(dy.shape[1]):
            dweight[cache["start"] + t] += dy[b, t]
    return dy.copy(), dweight


def backward_by_padding(dy, cache):
    start, (_, T, _) = cache["start"], dy.shape
    below = len(cache["weight"]) - start - T
    return 1.0 * dy, np.pad(np.einsum("btc->tc", dy), ((start, below), (0, 0)))


def backward_by_add_at(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    np.add.at(dweight, np.tile(cache["positions"], (len(dy), 1)), dy)
    return dy, dweight


def clocks(P, C):
    even = np.arange(0, C, 2)
    angles = np.arange(P)[:, None] / 10000 ** (even / C)
    table = np.zeros((P, C))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : C // 2])
    return table


def clocks_in_loops(P, C):
    def number(p, c):
        angle = p / 10000 ** (2 * (c // 2) / C)
        return math.cos(angle) if c % 2 else math.sin(angle)

    return np.array([[number(p, c) for c in range(C)] for p in range(P)])


def clocks_by_exp(P, C):
    speeds = np.exp(-math.log(10000.0) * np.arange(0, C, 2) / C)
    angles = np.outer(np.arange(P), speeds)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(P, -1)[:, :C]


def clocks_by_complex_numbers(P, C):
    hands = np.exp(1j * np.arange(P)[:, None] * 10000.0 ** (-np.arange(0, C, 2) / C))
    table = np.empty((P, C))
    for c in range(C):
        table[:, c] = hands[:, c // 2].real if c % 2 else hands[:, c // 2].imag
    return table


def clocks_by_shifted_sine(P, C):
    c = np.arange(C)
    return np.sin(np.arange(P)[:, None] * 10000.0 ** (-(c - c % 2) / C) + c % 2 * np.pi / 2)


def shift(k, C):
    M = np.zeros((C, C))
    for i in range(0, C, 2):
        angle = k / 10000 ** (i / C)
        M[i : i + 2, i : i + 2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return M


def shift_by_power(k, C):
    """One step, k times."""
    return np.linalg.matrix_power(shift(1, C) if k >= 0 else shift(1, C).T, abs(k))


def shift_clock_by_clock(k, C):
    """Two rows of a clock's own table say how it turns."""
    M = np.zeros((C, C))
    for i in range(0, C, 2):
        speed = 10000 ** (-i / C)
        quarter = np.pi / 2
        M[i] = np.eye(C)[i] * math.sin(quarter + k * speed) + np.eye(C)[i + 1] * math.cos(quarter + k * speed)
        M[i + 1] = np.eye(C)[i] * math.sin(k * speed) + np.eye(C)[i + 1] * math.cos(k * speed)
    return M


RIGHT = [
    ("position_forward", by_slice),
    ("position_forward", by_index),
    ("position_forward", in_loops),
    ("position_forward", by_one_hot),
    ("position_backward", backward_by_slice),
    ("position_backward", backward_in_loops),
    ("position_backward", backward_by_padding),
    ("position_backward", backward_by_add_at),
    ("sinusoidal_positions", clocks),
    ("sinusoidal_positions", clocks_in_loops),
    ("sinusoidal_positions", clocks_by_exp),
    ("sinusoidal_positions", clocks_by_complex_numbers),
    ("sinusoidal_positions", clocks_by_shifted_sine),
    ("shift_matrix", shift),
    ("shift_matrix", shift_by_power),
    ("shift_matrix", shift_clock_by_clock),
]


def along_the_batch(x, weight, start=0):
    B = x.shape[0]
    return x + weight[start : start + B].reshape(-1, 1, x.shape[-1]), {}


def axis_in_the_middle(x, weight, start=0):
    T = x.shape[1]
    return x + weight[start : start + T, None, :], {}


def without_start(x, weight, start=0):
    return x + weight[: x.shape[1]], {}


def end_from_zero(x, weight, start=0):
    return x + weight[start : x.shape[1]], {}


def from_one(x, weight, start=0):
    positions = np.arange(1, x.shape[1] + 1) + start
    return x + weight[positions[0] : positions[-1] + 1], {}


def first_row(x, weight, start=0):
    return x + weight[start], {}


def whole_table(x, weight, start=0):
    return x + weight, {}


def multiplied(x, weight, start=0):
    return x * weight[start : start + x.shape[1]], {}


def side_by_side(x, weight, start=0):
    B, T, _ = x.shape
    return np.concatenate([x, np.tile(weight[start : start + T], (B, 1, 1))], axis=2), {}


def scaled(x, weight, start=0):
    return x * x.shape[2] ** 0.5 + weight[start : start + x.shape[1]], {}


def rows_alone(x, weight, start=0):
    return np.zeros_like(x) + weight[start : start + x.shape[1]], {}


def in_place(x, weight, start=0):
    x += weight[start : start + x.shape[1]]
    return x, {}


def back(dy, cache, rows, start=None):
    """The given rows in a table of zeros."""
    start = cache["start"] if start is None else start
    dweight = np.zeros_like(cache["weight"])
    dweight[start : start + len(rows)] = rows
    return dy, dweight


def a_table_for_each(dy, cache):
    dweight = np.zeros((len(dy), *cache["weight"].shape), dy.dtype)
    dweight[:, cache["start"] : cache["start"] + dy.shape[1]] = dy
    return dy, dweight


def dy_twice(dy, cache):
    return dy, dy


def used_rows(dy, cache):
    return dy, dy.sum(axis=0)


def mean_over_batch(dy, cache):
    return back(dy, cache, np.mean(dy, axis=0))


def last_sequence(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for sequence in dy:
        dweight[cache["start"] : cache["start"] + len(sequence)] = sequence
    return dy, dweight


def first_sequence(dy, cache):
    return back(dy, cache, dy[0])


def rows_from_zero(dy, cache):
    return back(dy, cache, dy.sum(axis=0), start=0)


def table_below(dy, cache):
    dweight = cache["weight"].copy()
    dweight[cache["positions"]] = dy.sum(axis=0)
    return dy, dweight


def added_to_table(dy, cache):
    dweight = cache["weight"].copy()
    dweight[cache["positions"]] += dy.sum(axis=0)
    return dy, dweight


def all_into_every_row(dy, cache):
    return dy, np.tile(dy.sum(axis=(0, 1)), (len(cache["weight"]), 1))


def sum_over_time(dy, cache):
    dweight, rows = np.zeros_like(cache["weight"]), dy.sum(axis=1)
    dweight[cache["start"] : cache["start"] + len(rows)] = rows
    return dy, dweight


def dx_summed(dy, cache):
    return dy.sum(axis=0), backward_by_slice(dy, cache)[1]


def table_in_dx(dy, cache):
    return dy + cache["weight"][cache["positions"]], backward_by_slice(dy, cache)[1]


def sum_in_place(dy, cache):
    rows = dy[0]
    for sequence in dy[1:]:
        rows += sequence
    return back(dy, cache, rows)


def sine_and_cosine_exchanged(P, C):
    return np.where(_even(C), np.cos(_angle(P, C)), np.sin(_angle(P, C)))


def _angle(P, C):
    return np.array([[p / 10000 ** (c // 2 * 2 / C) for c in range(C)] for p in range(P)])


def _even(C):
    return 1 - np.arange(C) % 2


def in_halves(P, C):
    angles = np.arange(P)[:, None] / 10000 ** (np.arange(0, C, 2) / C)
    table = np.zeros((P, C))
    table[:, : (C + 1) // 2] = np.sin(angles)
    table[:, (C + 1) // 2 :] = np.cos(angles)[:, : C // 2]
    return table


def even_only(P, C):
    angles = np.arange(P)[:, None] / 10000 ** (np.arange(0, C, 2) / C)
    table = np.zeros((P, C))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table


def pairs_only(P, C):
    angles = np.arange(P)[:, None] / 10000 ** (2 * np.arange(C // 2) / C)
    table = np.zeros((P, C))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table


def with_exponent(exponent):
    def table(P, C):
        y = np.zeros((P, C))
        for p in range(P):
            for c in range(C):
                y[p, c] = (np.cos if c % 2 else np.sin)(p / 10000 ** exponent(c, C))
        return y

    return table


half = with_exponent(lambda c, C: c // 2 / C)
double = with_exponent(lambda c, C: 2 * (c - c % 2) / C)
each_its_own = with_exponent(lambda c, C: c / C)
faster = with_exponent(lambda c, C: -(c - c % 2) / C)
a_zero_less = with_exponent(lambda c, C: 0.75 * (c - c % 2) / C)  # 10000^0.75 = 1000


def degrees(P, C):
    angles = np.radians(_angle(P, C))
    return np.where(_even(C), np.sin(angles), np.cos(angles))


def counted_from_one(P, C):
    return clocks(P + 1, C)[1:]


def sines(P, C):
    return np.sin(_angle(P, C))


def without_cosines(P, C):
    table = np.zeros((P, C))
    table[:, 0::2] = np.sin(_angle(P, C)[:, 0::2])
    return table


def columns_for_positions(P, C):
    return clocks(P, C).T


def turned_back(k, C):
    return shift(-k, C)


def shift_in_halves(k, C):
    M, n = np.zeros((C, C)), C // 2
    for i in range(n):
        angle = k / 10000 ** (2 * i / C)
        M[i, i] = M[i + n, i + n] = math.cos(angle)
        M[i, i + n], M[i + n, i] = -math.sin(angle), math.sin(angle)
    return M


def one_speed(k, C):
    return np.kron(np.eye(C // 2), [[math.cos(k), -math.sin(k)], [math.sin(k), math.cos(k)]])


def one_step(k, C):
    return shift(1, C)


def cosines_alone(k, C):
    return np.diag([math.cos(k / 10000 ** (c // 2 * 2 / C)) for c in range(C)])


WRONG = [
    ("position_forward", along_the_batch, "The rows run along the batch"),
    ("position_forward", axis_in_the_middle, "a new axis in the wrong place"),
    ("position_forward", without_start, "start is ignored"),
    ("position_forward", end_from_zero, "The slice ends at row T"),
    ("position_forward", from_one, "the row after the right one"),
    ("position_forward", first_row, "the row of the first one"),
    ("position_forward", whole_table, "The whole table is added"),
    ("position_forward", multiplied, "multiplied by those of the positions"),
    ("position_forward", side_by_side, "side by side"),
    ("position_forward", scaled, "multiplied by sqrt(C)"),
    ("position_forward", rows_alone, "The rows are there, and x is not"),
    ("position_forward", in_place, "An operation in place"),
    ("position_backward", a_table_for_each, "a table for each sequence"),
    ("position_backward", dy_twice, "a row for each token of each sequence"),
    ("position_backward", used_rows, "only the rows that were used"),
    ("position_backward", mean_over_batch, "a mean over the batch"),
    ("position_backward", last_sequence, "that of the last sequence"),
    ("position_backward", first_sequence, "that of the first sequence"),
    ("position_backward", rows_from_zero, "start is ignored"),
    ("position_backward", table_below, "hold the table itself"),
    ("position_backward", added_to_table, "weight plus its gradient"),
    ("position_backward", all_into_every_row, "Every row gets the gradients of all tokens"),
    ("position_backward", sum_over_time, "The sum runs over time"),
    ("position_backward", dx_summed, "dx is summed over the batch"),
    ("position_backward", table_in_dx, "The rows of the table are in dx"),
    ("position_backward", sum_in_place, "An operation in place"),
    ("sinusoidal_positions", sine_and_cosine_exchanged, "Sine and cosine are exchanged"),
    ("sinusoidal_positions", in_halves, "in the first half"),
    ("sinusoidal_positions", even_only, "one cosine fewer"),
    ("sinusoidal_positions", pairs_only, "one cosine fewer"),
    ("sinusoidal_positions", half, "half of what it should be"),
    ("sinusoidal_positions", double, "twice what it should be"),
    ("sinusoidal_positions", each_its_own, "Every channel has its own speed"),
    ("sinusoidal_positions", faster, "The clocks get faster"),
    ("sinusoidal_positions", a_zero_less, "Count the zeros"),
    ("sinusoidal_positions", degrees, "treated as degrees"),
    ("sinusoidal_positions", counted_from_one, "The positions begin with 1"),
    ("sinusoidal_positions", sines, "There are only sines"),
    ("sinusoidal_positions", without_cosines, "The odd channels are zero"),
    ("sinusoidal_positions", columns_for_positions, "weight is right, but transposed"),
    ("shift_matrix", turned_back, "It turns the clocks back"),
    ("shift_matrix", shift_in_halves, "a table with all sines first"),
    ("shift_matrix", one_speed, "turned by the same angle"),
    ("shift_matrix", one_step, "It moves by one position"),
    ("shift_matrix", cosines_alone, "Only the cosines are there"),
]
