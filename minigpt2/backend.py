"""Where arrays live: NumPy on the host, CuPy on a GPU. A component takes the module from its input."""

import ctypes
import functools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np


def array_module(x):
    """The module whose functions work on ``x``: cupy for a CuPy array, numpy for everything else.

    Components begin with ``xp = array_module(x)``, so that both kinds live in one process.
    """
    if type(x).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"]
    return np


def address(x):
    """The memory address of an array's first element, on the host or on the device."""
    return x.ctypes.data if array_module(x) is np else x.data.ptr


def add_rows(table, ids, rows):
    """``table[ids] += rows`` in place, except that an id that occurs twice counts twice.

    table: (V, C); ids: (N,) integers; rows: (N, C)
    """
    if array_module(table) is np:
        for i, row in zip(ids.tolist(), rows, strict=True):  # np.add.at does the same, eight times slower
            table[i] += row
    else:
        array_module(table).add.at(table, ids, rows)


def sum_rows(x, out=None):
    """The sum of the rows of x (N, C) as a product with ones: BLAS is faster than ``x.sum(axis=0)``."""
    xp = array_module(x)
    return xp.matmul(xp.ones(len(x), x.dtype), x, out=out)


def in_parallel(work, parts):
    """Call ``work(part)`` for every part, on a thread for each core.

    NumPy lets other threads run while it computes. That pays for long rows of numbers such as an optimizer's.
    It does not for one layer's activations: after a matrix product BLAS's own threads go on looking for work,
    for up to 25 milliseconds, on the cores that ours would need.

    parts: sequence; each thread takes a run of neighbours. No part may write to what another one reads.
    """
    threads = min(_threads(), len(parts))
    if threads < 2:
        for part in parts:
            work(part)
        return
    bounds = [len(parts) * i // threads for i in range(threads + 1)]
    runs = [parts[start:stop] for start, stop in pairwise(bounds)]
    list(_pool().map(lambda run: [work(part) for part in run], runs))  # a list, so that errors come to light


def _threads():
    """As many as BLAS may use: a user who limits the one means the other too."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable, "").isdigit():
            return int(os.environ[variable])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool():
    return ThreadPoolExecutor(_threads(), thread_name_prefix="minigpt2")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def keep_freed_memory():
    """Ask glibc to keep freed memory for the next array instead of returning it to the system.

    By default every array above 32 MiB is mapped afresh and each of its 4 KiB pages costs a page
    fault on first touch; a training step of pure functions that return fresh arrays spends up to a
    third of its time there. All three settings are needed: the first lets arrays up to 1 GiB come from
    the heap, the second keeps the heap from shrinking, the third lets threads share it. Importing minigpt2 calls
    this, unless the environment says MINIGPT2_MALLOPT=0. Has no effect where there is no glibc.
    """
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_ARENA_MAX, 1)
