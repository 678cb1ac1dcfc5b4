"""Work on every core: one mechanism for products, rows of numbers, attention's heads and an optimizer's chunks.

A call is cut into parts, and each core takes the next part when it has finished one. Meanwhile BLAS, which NumPy calls
for its products, is limited to one thread for each of ours. Our threads sleep when there is nothing to do, while BLAS's
own keep looking for work for up to 25 milliseconds after a product, on cores that others could use. And ours also run
the operations that are not products: GELU, softmax, layer norm.

How a call is cut depends on shapes alone, never on the number of threads: the bits are the same on one core as on many.
"""

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
from threadpoolctl import ThreadpoolController

from minigpt2.backend import array_module, on_host

CHUNK = 1 << 17  # elements of an array processed at a time: they stay in a core's cache
FEW_ROWS = 16  # fewer are multiplied by a weight in the time it takes to read the weight
SMALL_PRODUCT = 1 << 23  # multiplications: a tenth of a millisecond; waking a thread takes a third of that
BLOCK = 512, 1024  # rows and columns of a large product computed by one thread
ALIGNED = 64  # blocks are cut at multiples of this, which every kernel's width divides


@functools.cache
def has_false_alarms():
    """Whether NumPy warns of products that are right, since it was built with Apple's Accelerate.

    That leaves the processor's flags for overflow, division by zero and invalid values set by what is no part of a
    product. What is truly not finite comes to light in a gradient's norm and in the scores of generation.
    """
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return "accelerate" in blas.get("name", "").lower()


def without_false_alarms(function):
    """Decorator for what multiplies matrices: where there are false alarms, NumPy gives none of its warnings there."""
    if not has_false_alarms():
        return function
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")(function)


def in_parallel(work, parts, xp=np):
    """Call ``work(part)`` for every part, on as many threads as BLAS may use, this one included.

    A call of ``in_parallel`` from within ``work`` stays on its thread.

    parts: sequence; no part may write where another one reads
    xp:    the module that does the work; on a device parts run one after another, since it is parallel itself
    raises: whatever ``work`` raises; no further part is started then.
    """
    if xp is not np:
        for part in parts:
            work(part)
        return
    with blas_at_one_thread() as threads:
        remaining = iter(parts)

        @without_false_alarms
        def share():
            try:
                for part in remaining:  # one iterator for all threads: a free thread takes the next part
                    work(part)
            finally:
                for _ in remaining:  # after an error nothing more is started
                    pass

        helpers = [_pool().submit(share) for _ in range(min(threads, len(parts)) - 1)]
        try:
            share()
        finally:
            for helper in helpers:
                if not helper.cancel():  # it is already awake
                    helper.result()


@without_false_alarms
def matmul(x, y, out=None, plus=None):
    """The product x y, or x y + plus.

    x: (N, I); y: (I, O); plus: (O,), added to every row; out: (N, O) array to write to, a new one by default
    """
    xp, (N, I), O = array_module(x), x.shape, y.shape[1]
    if xp is not np or N < FEW_ROWS:  # for a few rows, BLAS's own threads read the weight: they wake sooner
        out = xp.matmul(x, y, out=out)
        if plus is not None:
            out += plus
        return out
    out = np.empty((N, O), np.result_type(x, y)) if out is None else out

    def block(rows, columns):
        np.matmul(x[rows], y[:, columns], out=out[rows, columns])
        if plus is not None:
            out[rows, columns] += plus[columns]

    if not _blas() or N * I * O < SMALL_PRODUCT:
        blocks = [(slice(None), slice(None))]
    else:
        blocks = _blocks(N, O)
    in_parallel(lambda part: block(*part), blocks)
    return out


@without_false_alarms
def by_rows(formula, *arrays):
    """``formula(*arrays)``, a few rows at a time, for a formula that treats each row separately.

    The rows of a part stay in the cache from the first operation to the last.

    arrays: (..., C) each, equal in all but the last dimension
    formula: returns an array, or a tuple of arrays, with one row for each row given
    returns what the formula returns.
    """
    x = arrays[0]
    if not on_host(x) or x.size <= CHUNK:  # fits into the cache whole: a second thread would wake too late
        return formula(*arrays)
    tables = [array.reshape(-1, array.shape[-1]) for array in arrays]
    N, parts = len(tables[0]), 2 * -(-x.size // (2 * CHUNK))  # an even number, for two cores
    results, first = [], threading.Lock()

    def work(rows):
        made = formula(*(table[rows] for table in tables))
        made = made if isinstance(made, tuple) else (made,)
        with first:
            if not results:
                results.extend(np.empty((N, *part.shape[1:]), part.dtype) for part in made)
        for whole, part in zip(results, made, strict=True):
            whole[rows] = part

    in_parallel(work, _cuts(N, parts, 1))
    results = [whole.reshape(*x.shape[:-1], *whole.shape[1:]) for whole in results]
    return tuple(results) if len(results) > 1 else results[0]


def _blocks(N, O):
    """Pairs of slices that cover an (N, O) product: an even number of blocks, each of about BLOCK.

    A thread packs both factors again for each block: the smaller the block, the higher the cost.
    """
    down, across = -(-N // BLOCK[0]), -(-O // BLOCK[1])
    if down * across % 2:
        down, across = (down, 2 * across) if O >= N else (2 * down, across)
    return [(rows, columns) for rows in _cuts(N, down) for columns in _cuts(O, across)]


def _cuts(length, parts, aligned=ALIGNED):
    """Slices of about equal length that cover ``length`` rows or columns, all but the last multiples of ``aligned``."""
    bounds = [min(length, -(-length * i // parts // aligned) * aligned) for i in range(parts)] + [length]
    return [slice(start, stop) for start, stop in pairwise(bounds) if start < stop]


@contextmanager
def blas_at_one_thread():
    """Limit BLAS to one thread; yields the number it had, which is 1 if it was limited already."""
    threads = _threads()
    held = [(library, library.get_num_threads()) for library in _blas()] if threads > 1 else []
    for library, _ in held:
        library.set_num_threads(1)
    try:
        yield threads
    finally:
        for library, before in held:
            library.set_num_threads(before)


def _threads():
    """As many as BLAS may use: a limit on the one is meant for the other too."""
    return _blas()[0].get_num_threads() if _blas() else _cores()


@functools.cache
def _blas():
    """The BLAS libraries whose threads can be set; none if NumPy came with one unknown to threadpoolctl."""
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool():
    return ThreadPoolExecutor(_cores(), thread_name_prefix="minigpt2")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
