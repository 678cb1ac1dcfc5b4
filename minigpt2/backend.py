"""Where arrays live: NumPy on the host, CuPy on a GPU. A component takes the module from its input."""

import ctypes
import sys

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


def keep_freed_memory():
    """Ask glibc to keep freed memory for the next array instead of returning it to the system.

    By default every array above 32 MiB is mapped afresh and each of its 4 KiB pages costs a page
    fault on first touch; a training step of pure functions that return fresh arrays spends up to a
    third of its time there. Both settings are needed: the first lets arrays up to 1 GiB come from the
    heap, the second keeps the heap from shrinking. Has no effect where there is no glibc.
    """
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
