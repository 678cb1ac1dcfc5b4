"""Exercise 3 as students write it: right in several styles, and wrong in the ways that are known."""

import math
import sys
from types import SimpleNamespace

import numpy as np

from minigpt2.components import position


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


def token_by_token(x, weight, start=0):
    columns = [x[:, t] + weight[start + t] for t in range(x.shape[1])]
    print("start", start, file=sys.stderr)
    return np.stack(columns, axis=1), (start, weight.shape)


def by_moving_the_table(x, weight, start=0):
    rows = np.delete(weight, range(start), axis=0)[: x.shape[1]]
    return np.broadcast_to(rows, x.shape) + x, SimpleNamespace(start=start, P=len(weight))


def without_cache(x, weight, start=0):
    return np.array([sequence + weight[start:][: len(sequence)] for sequence in x]), None


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


def shift_by_turning_two_rows(k, C):
    """The first two rows of a clock's table, turned, tell its block."""
    M, even = np.zeros((C, C)), np.arange(0, C, 2)
    for i, angle in zip(even, k * 10000.0 ** (-even / C), strict=True):
        M[i : i + 2, i : i + 2] = np.array([[0.0, -1.0], [1.0, 0.0]]) * math.sin(angle) + np.eye(2) * math.cos(angle)
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


def clocks_of_the_library(P, C):
    return position.sinusoidal_positions(P, C, "float64")


RIGHT = [
    ("position_forward", position.position_forward),
    ("position_forward", by_slice),
    ("position_forward", token_by_token),
    ("position_forward", by_moving_the_table),
    ("position_forward", without_cache),
    ("position_forward", by_index),
    ("position_forward", in_loops),
    ("position_forward", by_one_hot),
    ("position_backward", position.position_backward),
    ("position_backward", backward_by_slice),
    ("position_backward", backward_in_loops),
    ("position_backward", backward_by_padding),
    ("position_backward", backward_by_add_at),
    ("sinusoidal_positions", clocks_of_the_library),
    ("sinusoidal_positions", clocks),
    ("sinusoidal_positions", clocks_in_loops),
    ("sinusoidal_positions", clocks_by_exp),
    ("sinusoidal_positions", clocks_by_complex_numbers),
    ("sinusoidal_positions", clocks_by_shifted_sine),
    ("shift_matrix", shift),
    ("shift_matrix", shift_by_turning_two_rows),
    ("shift_matrix", shift_by_power),
    ("shift_matrix", shift_clock_by_clock),
]


def along_the_batch(x, weight, start=0):
    B = x.shape[0]
    return x + weight[start : start + B].reshape(-1, 1, x.shape[-1]), {}


def axis_in_the_middle(x, weight, start=0):
    T = x.shape[1]
    return x + weight[start : start + T, None, :], {}


def start_as_a_number(x, weight, start=0):
    return x + weight[: x.shape[1]] + start, {}


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


def begins_at_one(x, weight, start=1):
    return by_index(x, weight, start)


def always_from_one(x, weight, start=0):
    return by_index(x, weight, 1)


def needs_start(x, weight, start):
    return by_index(x, weight, start)


def to_the_end_of_the_table(x, weight, start=0):
    return x + weight[start:], {}


def one_row_too_many(x, weight, start=0):
    end = start + x.shape[1]
    return x + weight[start : end + 1], {}


def row_before(x, weight, start=0):
    return x + weight[[start + t - 1 for t in range(x.shape[1])]], {}


def row_before_by_slice(x, weight, start=0):
    first = start - 1
    return x + weight[first : first + x.shape[1]], {}


def row_after_by_index(x, weight, start=0):
    return x + weight[[start + t + 1 for t in range(x.shape[1])]], {}


def end_of_the_table(x, weight, start=0):
    return x + weight[len(weight) - x.shape[1] :], {}


def backwards(x, weight, start=0):
    rows = weight[start : start + x.shape[1]]
    return x + np.flip(rows, axis=0), {}


def moved_the_wrong_way(x, weight, start=0):
    return x + np.roll(weight, start, axis=0)[: x.shape[1]], {}


def start_twice(x, weight, start=0):
    rest = np.concatenate([weight[start:], weight[:start]])
    return x + np.concatenate([rest[start:], rest[:start]])[: x.shape[1]], {}


def loop_from_start(x, weight, start=0):
    y = np.array(x)
    for t in range(start, x.shape[1]):
        y[:, t] = x[:, t] + weight[t]
    return y, {}


def columns_turned(x, weight, start=0):
    return x + weight[:, start : start + x.shape[1]].T, {}


def numbers_of_positions(x, weight, start=0):
    return np.array([[token + start + t for t, token in enumerate(sequence)] for sequence in x]), {}


def with_clocks(x, weight, start=0):
    return x + clocks(start + x.shape[1], x.shape[2])[start:], {}


def one_number_each(x, weight, start=0):
    return x + np.sum(weight[start : start + x.shape[1]], axis=1)[:, None], {}


def counting_on(x, weight, start=0):
    y = x.copy()
    for n, (b, t) in enumerate(np.ndindex(x.shape[:2])):
        y[b, t] += weight[(start + n) % len(weight)]
    return y, {}


def counting_on_beyond(x, weight, start=0):
    B, T, _ = x.shape
    return x + weight[np.arange(B * T).reshape(B, T) + start], {}


def subtracted(x, weight, start=0):
    return x - by_slice(0 * x, weight, start)[0], {}


def added_twice(x, weight, start=0):
    return by_slice(by_slice(x, weight, start)[0], weight, start)


def first_tokens_dropped(x, weight, start=0):
    return x[:, start:] + weight[start : x.shape[1]], {}


def only_the_first_stamped(x, weight, start=0):
    y = x.copy()
    y[0] += weight[start : start + x.shape[1]]
    return y, {}


def only_the_first(x, weight, start=0):
    return by_slice(x, weight, start)[0][0], {}


def time_first(x, weight, start=0):
    return np.array([x[:, t] + weight[start + t] for t in range(x.shape[1])]), {}


def multiplied_from_zero(x, weight, start=0):
    return x * weight[: x.shape[1]], {}


def scaled_and_subtracted(x, weight, start=0):
    return x * math.sqrt(x.shape[2]) - weight[start : start + x.shape[1]], {}


def counting_calls(x, weight, start=0, seen=[0]):  # noqa: B006
    seen[0] += 1
    return x + seen[0] * weight[start : start + x.shape[1]], {}


def one_row_too_few(x, weight, start=0):
    rows = weight[start : start + x.shape[1] - 1]
    return x + rows


def two_rows(x, weight, start=0):
    return x + weight[start : start + 2]  # as in the example


def a_row_for_each_sequence(x, weight, start=0):
    return x + weight[start : start + len(x)], {}


def a_row_for_each_channel(x, weight, start=0):
    T = x.shape[2]
    return x + weight[start : start + T], {}


def table_first(weight, x, start=0):
    return by_slice(x, weight, start)


def sequence_by_sequence(x, weight, start=0):
    y = x.copy()
    for b in range(len(x)):
        y[b] += weight[(start + b) % len(weight)]
    return y, {}


def row_after_around(x, weight, start=0):
    positions = (np.arange(1, x.shape[1] + 1) + start) % len(weight)
    return x + weight[positions], {}


def rows_of_the_table(x, weight, start=0):
    return weight[start : start + x.shape[1]], {}


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


def dx_summed_everywhere(dy, cache):
    return np.repeat(dy.sum(axis=0)[None], len(dy), axis=0), backward_by_slice(dy, cache)[1]


def dx_negative(dy, cache):
    return 0 - dy, backward_by_slice(dy, cache)[1]


def dweight_negative(dy, cache):
    return dy, 0 - backward_by_slice(dy, cache)[1]


def dx_times_table(dy, cache):
    return dy * cache["weight"][cache["positions"]], backward_by_slice(dy, cache)[1]


def dx_of_ones(dy, cache):
    return np.full(dy.shape, 1.0), backward_by_slice(dy, cache)[1]


def dx_for_every_position(dy, cache):
    dx = np.zeros((len(dy), *cache["weight"].shape))
    dx[:, cache["positions"]] = dy
    return dx, backward_by_slice(dy, cache)[1]


def two_sequences(dy, cache):
    return back(dy, cache, dy[0] + dy[1] if len(dy) > 1 else 2 * dy[0])


def largest(dy, cache):
    return back(dy, cache, np.max(dy, axis=0))


def dweight_times_x(dy, cache):
    return back(dy, cache, np.einsum("btc,btc->tc", dy, cache["x"]))


def times_used(dy, cache):
    return back(dy, cache, np.full(dy.shape[1:], float(len(dy))))


def mixed_by_a_reshape(dy, cache):
    B, T, C = dy.shape
    return back(dy, cache, dy.reshape(T, B, C).sum(axis=1))


def not_summed(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["start"] : cache["start"] + dy.shape[1]] += dy
    return dy, dweight


def not_summed_either(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["start"] : cache["start"] + dy.shape[1]] = dy
    return dy, dweight


def sum_over_time_alone(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["start"] : cache["start"] + dy.shape[1]] = np.sum(dy, axis=1)
    return dy, dweight


def one_sum_for_all(dy, cache):
    return back(dy, cache, np.tile(np.einsum("btc->c", dy), (dy.shape[1], 1)))


def end_from_zero_back(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["start"] : dy.shape[1]] = dy.sum(axis=0)
    return dy, dweight


def row_before_back(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for t in range(dy.shape[1]):
        dweight[cache["start"] + t - 1] = dy[:, t].sum(axis=0)
    return dy, dweight


def row_after_back(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["positions"] + 1] = dy.sum(axis=0)
    return dy, dweight


def counting_on_back(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for n, row in enumerate(np.concatenate(list(dy))):
        dweight[(cache["start"] + n) % len(dweight)] += row
    return dy, dweight


def counting_on_beyond_back(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    np.add.at(dweight, cache["start"] + np.arange(dy[:, :, 0].size), np.concatenate(list(dy)))
    return dy, dweight


def up_to_the_last_used(dy, cache):
    dx, dweight = backward_by_slice(dy, cache)
    return dx, dweight[: cache["start"] + dy.shape[1]]


def exchanged(dy, cache):
    return backward_by_slice(dy, cache)[::-1]


def exchanged_and_averaged(dy, cache):
    return mean_over_batch(dy, cache)[::-1]


def as_if_multiplied(dy, cache):
    return dx_times_table(dy, cache)[0], dweight_times_x(dy, cache)[1]


def sum_over_time_by_index(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["positions"]] = dy.sum(axis=1)
    return dy, dweight


def channels_summed(dy, cache):
    return back(dy, cache, np.repeat(dy.sum(axis=(0, 2))[:, None], dy.shape[2], axis=1))


def everything_summed(dy, cache):
    return back(dy, cache, np.full(dy.shape[1:], dy.sum()))


def loop_from_start_back(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for t in range(cache["start"], dy.shape[1]):
        dweight[t] = dy[:, t].sum(axis=0)
    return dy, dweight


def into_the_first_row(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for sequence in dy:
        for gradient in sequence:
            dweight[cache["start"]] += gradient
    return dy, dweight


def ones_below(dy, cache):
    dweight = np.ones(cache["weight"].shape, dy.dtype)
    dweight[cache["positions"]] = dy.sum(axis=0)
    return dy, dweight


def without_signs(dy, cache):
    return back(dy, cache, np.sqrt(dy.sum(axis=0) ** 2))


def keys_for_arrays(dy, cache):
    _, weight, start, _ = cache
    dweight = np.zeros_like(weight)
    dweight[start : start + dy.shape[1]] = dy.sum(axis=0)
    return dy, dweight


def dx_negative_and_first_sequence(dy, cache):
    return -dy, first_sequence(dy, cache)[1]


def added_up_between_calls(dy, cache, store={}):  # noqa: B006
    dweight = store.setdefault(cache["weight"].shape, np.zeros(cache["weight"].shape))
    dweight += backward_by_slice(dy, cache)[1]
    return dy, dweight


def dweight_alone(dy, cache):
    return backward_by_slice(dy, cache)[1]


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


twice_its_own = with_exponent(lambda c, C: 2 * c / C)
up_to_the_base = with_exponent(lambda c, C: 2 * (c // 2) / max(C - 2, 1))
of_one_channel_more = with_exponent(lambda c, C: 2 * (c // 2) / (C + C % 2))
of_one_channel_less = with_exponent(lambda c, C: 2 * (c // 2) / (C - C % 2 if C > 1 else 1))


def with_angles(angles):
    return lambda P, C: np.where(_even(C), np.sin(angles(P, C)), np.cos(angles(P, C)))


of_base_e = with_angles(lambda P, C: np.outer(np.arange(P), np.exp(-(np.arange(C) // 2) * 2 / C)))
position_in_the_power = with_angles(lambda P, C: (np.arange(P)[:, None] / 10000) ** (np.arange(C) // 2 * 2 / C))
without_power = with_angles(lambda P, C: np.arange(P)[:, None] / (10000 * (np.arange(C) // 2 * 2 / C)))
up_to_the_last = with_angles(lambda P, C: _angle(P, C) * (P / max(P - 1, 1)))


def angles_alone(P, C):
    return _angle(P, C)


def by_rows(P, C):
    table = np.cos(_angle(P, C))
    table[0::2] = np.sin(_angle(P, C))[0::2]
    return table


def integer_power(P, C):
    return np.arange(P)[:, None] * 10000 ** -np.arange(C)


def kept_for_these_channels(P, C, tables={}):  # noqa: B006
    if C not in tables:
        tables[C] = clocks(P, C)
    return tables[C][:P]


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


def cosines(P, C):
    return np.cos(_angle(P, C))


def sines_negative(P, C):
    return np.where(_even(C), -np.sin(_angle(P, C)), np.cos(_angle(P, C)))


def cosines_negative(P, C):
    return np.where(_even(C), np.sin(_angle(P, C)), -np.cos(_angle(P, C)))


def exchanged_arguments(P, C):
    return clocks(C, P)


def in_pairs(P, C):
    table = np.zeros((P, C))
    for i in range(0, C, 2):
        angles = np.arange(P) / 10000 ** (i / C)
        table[:, i] = np.sin(angles)
        table[:, i + 1] = np.cos(angles)
    return table


def in_whole_pairs(P, C):
    table = np.zeros((P, C))
    for i in range(C // 2):
        angles = np.arange(P) / 10000 ** (2 * i / C)
        table[:, 2 * i], table[:, 2 * i + 1] = np.sin(angles), np.cos(angles)
    return table


def needs_even(P, C):
    if C % 2:
        raise ValueError("C must be even")
    return clocks(P, C)


begins_slow = with_exponent(lambda c, C: 2 * (c // 2 + 1) / C)
rounded_exponent = with_exponent(lambda c, C: 2 * (c // 2) // C)
of_four_channels = with_exponent(lambda c, C: c // 2 / 2)
slow_first = with_exponent(lambda c, C: 2 * ((C - 1) // 2 - c // 2) / C)
a_zero_more = with_exponent(lambda c, C: 1.25 * (c - c % 2) / C)  # 10000^1.25 = 100000


def without_brackets(P, C):
    i = np.arange(C) // 2
    angles = np.arange(P)[:, None] / 10000**2 * i / C
    return np.where(_even(C), np.sin(angles), np.cos(angles))


def divided_outside(P, C):
    positions, power = np.arange(P)[:, None], 10000 ** (np.arange(C) // 2 * 2 / C)
    return np.where(_even(C), np.sin(positions), np.cos(positions)) / power


def whole_turns(P, C):
    angles = 2 * np.pi * _angle(P, C)
    return np.where(_even(C), np.sin(angles), np.cos(angles))


def one_row_less(P, C):
    return clocks(P, C)[1:]


def in_parts_of_the_text(P, C):
    angles = _angle(P, C) / P
    return np.where(_even(C), np.sin(angles), np.cos(angles))


def exchanged_and_from_one(P, C):
    return sine_and_cosine_exchanged(P + 1, C)[1:]


def halves_and_half(P, C):
    table = half(P, C)
    return np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)


def single_precision(P, C):
    return clocks(P, C).astype("float32")


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


def turned(angles, block=lambda c, s: [[c, -s], [s, c]]):
    """Blocks of 2 x 2 along the diagonal."""
    M = np.zeros((2 * len(angles), 2 * len(angles)))
    for i, angle in enumerate(angles):
        M[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block(math.cos(angle), math.sin(angle))
    return M


def turns(k, C, base=10000.0):
    return k / base ** (np.arange(0, C, 2) / C)


def with_block(block):
    return lambda k, C: turned(turns(k, C), block)


sines_alike = with_block(lambda c, s: [[c, s], [s, c]])
sines_both_negative = with_block(lambda c, s: [[c, -s], [-s, c]])
mirrored = with_block(lambda c, s: [[c, s], [s, -c]])
exchanged_in_blocks = with_block(lambda c, s: [[s, c], [c, -s]])
exchanged_by_column = with_block(lambda c, s: [[s, -c], [c, s]])


def list_of_blocks(k, C):
    return np.array([turned(turns(k, C)[i : i + 1]) for i in range(C // 2)])


def first_clock(k, C):
    return np.pad(turned([float(k)]), (0, C - 2))


def first_clock_alone_moves(k, C):
    M = np.identity(C)
    M[:2, :2] = turned([float(k)])
    return M


def three_steps(k, C):
    return shift(3, C)


def elementwise(k, C):
    return shift(1, C) ** k


def elementwise_without_sign(k, C):
    return np.power(shift(1, C), abs(k))


def all_but_the_last(k, C):
    return np.pad(turned(turns(k, C)[:-1]), (0, 2))


def clock_for_channel(k, C):
    return turned(k / 10000 ** (np.arange(C // 2) / C))


def doubled_again(k, C):
    return turned(k / 10000 ** (2 * np.arange(0, C, 2) / C))


def hundredfold(k, C):
    return turned(k / 100.0 ** np.arange(C // 2))


def slow_clock_first(k, C):
    return turned(turns(k, C)[::-1])


def shift_with_a_zero_less(k, C):
    return turned(turns(k, C, base=1000.0))


def ever_faster(k, C):
    return turned(k * 10000.0 ** (np.arange(0, C, 2) / C))


def turned_by_degrees(k, C):
    return turned(np.deg2rad(turns(k, C)))


def steps_added(k, C):
    return k * shift(1, C)


def one_step_further(k, C):
    return shift(k + 1, C)


def without_sign(k, C):
    return shift(abs(k), C)


def in_a_loop(k, C):
    M = np.identity(C)
    for _ in range(k):
        M = M @ shift(1, C)
    return M


def nothing_moves(k, C):
    return np.identity(C)


def channels_moved(k, C):
    return np.array([[float(j == i + k) for j in range(C)] for i in range(C)])


def channels_rolled(k, C):
    return np.array([[float(j == (i + k) % C) for j in range(C)] for i in range(C)])


def turned_back_and_halves(k, C):
    return shift_in_halves(-k, C)


def turned_back_without_sign(k, C):
    return shift(abs(k), C).T


WRONG = [
    ("position_forward", along_the_batch, "The rows run along the batch"),
    ("position_forward", axis_in_the_middle, "a new axis in the wrong place"),
    ("position_forward", start_as_a_number, "start is added to the numbers"),
    ("position_forward", without_start, "start is ignored"),
    ("position_forward", end_from_zero, "The slice ends at row T"),
    ("position_forward", from_one, "the row beside the right one"),
    ("position_forward", first_row, "the row of the first one"),
    ("position_forward", whole_table, "The whole table is added"),
    ("position_forward", multiplied, "multiplied by those of the positions"),
    ("position_forward", side_by_side, "side by side"),
    ("position_forward", scaled, "multiplied by sqrt(C)"),
    ("position_forward", rows_alone, "The rows are there, and x is not"),
    ("position_forward", begins_at_one, "Called without start"),
    ("position_forward", needs_start, "an argument with a default may be left out"),
    ("position_forward", always_from_one, "start is ignored"),
    ("position_forward", to_the_end_of_the_table, "more rows than tokens"),
    ("position_forward", one_row_too_many, "more rows than tokens"),
    ("position_forward", row_before, "the row beside the right one"),
    ("position_forward", row_before_by_slice, "the row beside the right one"),
    ("position_forward", row_after_by_index, "the row beside the right one"),
    ("position_forward", end_of_the_table, "the last ones of the table"),
    ("position_forward", backwards, "in the opposite order"),
    ("position_forward", moved_the_wrong_way, "moved the wrong way"),
    ("position_forward", start_twice, "start counts twice"),
    ("position_forward", loop_from_start, "The loop over the tokens begins at start"),
    ("position_forward", columns_turned, "Columns of weight are taken"),
    ("position_forward", numbers_of_positions, "The numbers of the positions are added"),
    ("position_forward", with_clocks, "The sines and cosines are added"),
    ("position_forward", one_number_each, "All channels of a token get the same number"),
    ("position_forward", counting_on, "run on from one sequence"),
    ("position_forward", counting_on_beyond, "run on from one sequence"),
    ("position_forward", subtracted, "positions are subtracted"),
    ("position_forward", added_twice, "are added twice"),
    ("position_forward", first_tokens_dropped, "Tokens are dropped"),
    ("position_forward", only_the_first_stamped, "Only one sequence gets its stamps"),
    ("position_forward", only_the_first, "Only one sequence gets its stamps"),
    ("position_forward", time_first, "Batch and time are exchanged"),
    ("position_forward", multiplied_from_zero, "2 things at once. (1) start is ignored"),
    ("position_forward", scaled_and_subtracted, "(2) x is multiplied by sqrt(C)"),
    ("position_forward", one_row_too_few, "fewer rows than tokens"),
    ("position_forward", two_rows, "fewer rows than tokens"),
    ("position_forward", a_row_for_each_sequence, "as many rows as there are sequences"),
    ("position_forward", a_row_for_each_channel, "as many rows as there are sequences"),
    ("position_forward", table_first, "x and weight are exchanged"),
    ("position_forward", sequence_by_sequence, "The rows run along the batch"),
    ("position_forward", row_after_around, "the row beside the right one"),
    ("position_forward", rows_of_the_table, "The rows are there, and x is not"),
    ("position_forward", counting_calls, "Called twice with equal arguments"),
    ("position_forward", in_place, "An operation in place"),
    ("position_backward", a_table_for_each, "a table for each sequence"),
    ("position_backward", dy_twice, "a row for each token of each sequence"),
    ("position_backward", used_rows, "only the rows that were used"),
    ("position_backward", mean_over_batch, "a mean over the batch"),
    ("position_backward", last_sequence, "that of the last sequence"),
    ("position_backward", first_sequence, "that of the first sequence"),
    ("position_backward", rows_from_zero, "start is ignored in dweight"),
    ("position_backward", table_below, "hold the table itself"),
    ("position_backward", added_to_table, "weight plus its gradient"),
    ("position_backward", all_into_every_row, "Every row gets the gradients of all tokens"),
    ("position_backward", sum_over_time, "The sum runs over time"),
    ("position_backward", dx_summed, "dx is summed over the batch"),
    ("position_backward", table_in_dx, "The rows of the table are in dx"),
    ("position_backward", dx_summed_everywhere, "dx is summed over the batch"),
    ("position_backward", dx_negative, "The sign of dx is wrong"),
    ("position_backward", dweight_negative, "The sign of dweight is wrong"),
    ("position_backward", dx_times_table, "dx is multiplied by the rows"),
    ("position_backward", dx_of_ones, "dx is 1 everywhere"),
    ("position_backward", dx_for_every_position, "dx has a row for each position"),
    ("position_backward", two_sequences, "made from two sequences"),
    ("position_backward", largest, "the largest of the gradients"),
    ("position_backward", dweight_times_x, "dweight is multiplied by x"),
    ("position_backward", times_used, "counts how often a row was used"),
    ("position_backward", mixed_by_a_reshape, "A reshape mixes the tokens"),
    ("position_backward", not_summed, "still has the axis of the batch"),
    ("position_backward", not_summed_either, "still has the axis of the batch"),
    ("position_backward", sum_over_time_alone, "The sum runs over time"),
    ("position_backward", sum_over_time_by_index, "The sum runs over time"),
    ("position_backward", channels_summed, "The gradients of all channels"),
    ("position_backward", everything_summed, "The gradients of all channels"),
    ("position_backward", loop_from_start_back, "The loop over the tokens begins at start"),
    ("position_backward", into_the_first_row, "in the row of the first token"),
    ("position_backward", ones_below, "dweight is 1 where it is wrong, in 12 of 24 numbers"),
    ("position_backward", without_signs, "right except for the sign of some numbers"),
    ("position_backward", keys_for_arrays, "A text stands where an array is needed"),
    ("position_backward", one_sum_for_all, "Every row gets the gradients of all tokens"),
    ("position_backward", end_from_zero_back, "The slice of dweight ends at row T"),
    ("position_backward", row_before_back, "in the row beside the right one"),
    ("position_backward", row_after_back, "in the row beside the right one"),
    ("position_backward", counting_on_back, "In dweight the positions run on"),
    ("position_backward", counting_on_beyond_back, "In dweight the positions run on"),
    ("position_backward", up_to_the_last_used, "ends with the last row that was used"),
    ("position_backward", exchanged, "in the wrong order"),
    ("position_backward", exchanged_and_averaged, "2 things at once. (1) dweight is a mean"),
    ("position_backward", as_if_multiplied, "2 things at once. (1) dx is multiplied by the rows"),
    ("position_backward", dx_negative_and_first_sequence, "2 things at once. (1) The sign of dx"),
    ("position_backward", added_up_between_calls, "Called twice with equal arguments"),
    ("position_backward", dweight_alone, "a single result came back"),
    ("position_backward", sum_in_place, "An operation in place"),
    ("sinusoidal_positions", sine_and_cosine_exchanged, "Sine and cosine are exchanged"),
    ("sinusoidal_positions", in_halves, "in the first half"),
    ("sinusoidal_positions", even_only, "one cosine fewer"),
    ("sinusoidal_positions", pairs_only, "one cosine fewer"),
    ("sinusoidal_positions", half, "the exponent is half"),
    ("sinusoidal_positions", double, "the exponent is twice"),
    ("sinusoidal_positions", each_its_own, "Every channel has its own speed"),
    ("sinusoidal_positions", faster, "The clocks get faster"),
    ("sinusoidal_positions", a_zero_less, "Count the zeros"),
    ("sinusoidal_positions", degrees, "treated as degrees"),
    ("sinusoidal_positions", counted_from_one, "The positions begin with 1"),
    ("sinusoidal_positions", sines, "There are only sines"),
    ("sinusoidal_positions", without_cosines, "The odd channels are zero"),
    ("sinusoidal_positions", cosines, "There are only cosines"),
    ("sinusoidal_positions", sines_negative, "The sines have the wrong sign"),
    ("sinusoidal_positions", cosines_negative, "The cosines have the wrong sign"),
    ("sinusoidal_positions", exchanged_arguments, "P and C are exchanged"),
    ("sinusoidal_positions", in_pairs, "one cosine fewer"),
    ("sinusoidal_positions", in_whole_pairs, "the last one stays 0"),
    ("sinusoidal_positions", needs_even, "itself refuses these arguments"),
    ("sinusoidal_positions", begins_slow, "The first clock is too slow"),
    ("sinusoidal_positions", rounded_exponent, "All clocks run alike"),
    ("sinusoidal_positions", of_four_channels, "right for four channels"),
    ("sinusoidal_positions", slow_first, "in the opposite order"),
    ("sinusoidal_positions", a_zero_more, "Count the zeros"),
    ("sinusoidal_positions", without_brackets, "Brackets are missing"),
    ("sinusoidal_positions", divided_outside, "The power divides the sine"),
    ("sinusoidal_positions", whole_turns, "multiplied by 2 pi"),
    ("sinusoidal_positions", one_row_less, "Position 0 is missing"),
    ("sinusoidal_positions", in_parts_of_the_text, "divided by how many there are"),
    ("sinusoidal_positions", twice_its_own, "Every channel has its own speed"),
    ("sinusoidal_positions", up_to_the_base, "The clocks slow down too quickly"),
    ("sinusoidal_positions", of_one_channel_more, "With an odd number of channels, the exponent"),
    ("sinusoidal_positions", of_one_channel_less, "With an odd number of channels, the exponent"),
    ("sinusoidal_positions", of_base_e, "The base of the power is e"),
    ("sinusoidal_positions", position_in_the_power, "The position is raised to a power"),
    ("sinusoidal_positions", without_power, "The exponent is multiplied by 10000"),
    ("sinusoidal_positions", up_to_the_last, "The steps between the positions are not 1"),
    ("sinusoidal_positions", angles_alone, "The angles are there"),
    ("sinusoidal_positions", by_rows, "sines in the even rows"),
    ("sinusoidal_positions", integer_power, "an integer cannot be raised to a negative one"),
    ("sinusoidal_positions", kept_for_these_channels, "it has the shape (6, 6) instead of (2000, 6)"),
    ("sinusoidal_positions", exchanged_and_from_one, "(2) The positions begin with 1"),
    ("sinusoidal_positions", halves_and_half, "2 things at once. (1) All sines are in the first half"),
    ("sinusoidal_positions", single_precision, "only the digits of float32"),
    ("sinusoidal_positions", columns_for_positions, "weight is right, but transposed"),
    ("shift_matrix", turned_back, "It turns the clocks back"),
    ("shift_matrix", shift_in_halves, "a table with all sines first"),
    ("shift_matrix", one_speed, "turned by the same angle"),
    ("shift_matrix", one_step, "the same number of positions, whatever k is"),
    ("shift_matrix", three_steps, "the same number of positions, whatever k is"),
    ("shift_matrix", elementwise, "Each number of a matrix is raised"),
    ("shift_matrix", elementwise_without_sign, "Each number of a matrix is raised"),
    ("shift_matrix", cosines_alone, "Only the cosines are there"),
    ("shift_matrix", sines_alike, "Both sines have the same sign"),
    ("shift_matrix", sines_both_negative, "Both sines have the same sign"),
    ("shift_matrix", mirrored, "The blocks mirror the hands"),
    ("shift_matrix", exchanged_in_blocks, "Sine and cosine are exchanged"),
    ("shift_matrix", exchanged_by_column, "Sine and cosine are exchanged"),
    ("shift_matrix", list_of_blocks, "one behind the other"),
    ("shift_matrix", first_clock, "Only the first clock is turned"),
    ("shift_matrix", first_clock_alone_moves, "Only the first clock is turned"),
    ("shift_matrix", all_but_the_last, "The last clock is missing"),
    ("shift_matrix", clock_for_channel, "the exponent is half"),
    ("shift_matrix", doubled_again, "the exponent is twice"),
    ("shift_matrix", hundredfold, "right for four channels"),
    ("shift_matrix", slow_clock_first, "in the opposite order"),
    ("shift_matrix", shift_with_a_zero_less, "Count the zeros"),
    ("shift_matrix", ever_faster, "The clocks get faster"),
    ("shift_matrix", turned_by_degrees, "treated as degrees"),
    ("shift_matrix", steps_added, "k times the matrix of one step"),
    ("shift_matrix", one_step_further, "one position too many or too few"),
    ("shift_matrix", without_sign, "Its sign is lost"),
    ("shift_matrix", in_a_loop, "A negative k moves nothing"),
    ("shift_matrix", nothing_moves, "the matrix for k = 0"),
    ("shift_matrix", channels_moved, "moves the channels by k places"),
    ("shift_matrix", channels_rolled, "moves the channels by k places"),
    ("shift_matrix", turned_back_and_halves, "2 things at once. (1) It turns the clocks back"),
    ("shift_matrix", turned_back_without_sign, "(2) Its sign is lost"),
]
