"""Where arrays live: NumPy on the host, CuPy on a GPU. A component takes the module from its input."""

import ctypes
import functools
import importlib
import os
import sys

import numpy as np

DEVICE_CHUNK = 1 << 26  # elements; 256 MiB of float32


def array_module(x):
    """The module whose functions work on ``x``: cupy for a CuPy array, numpy for everything else.

    Components begin with ``xp = array_module(x)``, so that both kinds live in one process.
    """
    if type(x).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"]
    return np


def on_host(x):
    """Whether NumPy computes with ``x``."""
    return array_module(x) is np


def module_of(device):
    """The module whose arrays live on a device.

    device: "numpy", the host, or "cupy", the current CUDA device
    raises: ValueError for any other name, and when CuPy or a CUDA device is missing.
    """
    if device == "numpy":
        return np
    if device != "cupy":
        raise ValueError(f"device must be 'numpy' or 'cupy', got {device!r}")
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise ValueError(
            f"device 'cupy' needs CuPy, which cannot be imported ({error}): pip install -e '.[cupy]'"
        ) from None
    if not cupy.is_available():
        raise ValueError("device 'cupy' needs a CUDA device and its driver, and CuPy finds none; use 'numpy'")
    return cupy


def to_host(x):
    """``x`` as a NumPy array: a copy if it is on the device, ``x`` itself if not."""
    return x if on_host(x) else x.get()


def generator(seed):
    """A numpy.random.Generator from a seed: an integer, 0 or more, or whatever else NumPy takes for one.

    raises: TypeError or ValueError for what is no seed, truth values among it.
    """
    try:
        if isinstance(seed, bool):
            raise TypeError
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"seed must be an integer, 0 or more, or a numpy.random.Generator, got {seed!r}"
        ) from None


def device_generator(rng, xp):
    """A random generator that draws where the arrays of ``xp`` live.

    For NumPy that is ``rng`` itself. For CuPy it is a new generator, seeded with a number drawn from ``rng``: the
    state of ``rng`` is enough to repeat every draw on the device.

    rng: numpy.random.Generator, or None, which stays None
    """
    if rng is None or xp is np:
        return rng
    return xp.random.Generator(xp.random.Philox4x3210(int(rng.integers(1 << 63))))  # Philox is quick to seed


def address(x):
    """The memory address of an array's first element, on the host or on the device."""
    return x.ctypes.data if on_host(x) else x.data.ptr


def at_a_time(x, cached):
    """How many elements of x to process at a time: on the host ``cached``, a number that fits into its cache.

    On a device many more, since a call there costs the same for few as for many.
    """
    return cached if on_host(x) else max(cached, DEVICE_CHUNK)


def add_rows(table, ids, rows):
    """``table[ids] += rows`` in place, except that an id that occurs twice counts twice.

    On a device the rows are added in no fixed order, so the last digits differ from one call to the next.

    table: (V, C); ids: (N,) integers; rows: (N, C)
    """
    if on_host(table):
        for i, row in zip(ids.tolist(), rows, strict=True):  # np.add.at does the same, but more slowly
            table[i] += row
    else:
        array_module(table).add.at(table, ids, rows)


def masked_mean(x, mask):
    """The mean of the elements of x (N,) where mask (N,) holds."""
    if on_host(x):
        return x[mask].mean()
    total = array_module(x).where(mask, x, 0).sum()  # x[mask] would have to wait until its size is known
    return total / mask.sum().astype(x.dtype)


@functools.cache
def keep_freed_memory():
    """Ask glibc, once, to keep freed memory for the next array instead of returning it to the system.

    By default every array above 32 MiB is mapped afresh and each of its 4 KiB pages costs a page
    fault on first touch; a training step of pure functions that return fresh arrays spends up to a
    third of its time there. All three settings are needed: the first lets arrays up to 1 GiB come from
    the heap, the second keeps the heap from shrinking, the third lets threads share it. The first model calls
    this, unless the environment says MINIGPT2_MALLOPT=0. Without glibc it has no effect.
    """
    if os.environ.get("MINIGPT2_MALLOPT") == "0":
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_ARENA_MAX, 1)
