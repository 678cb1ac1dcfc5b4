"""Work that is shared among threads is done once, and gives the bits that one thread gives."""

import os
import threading
from itertools import pairwise

import numpy as np
import pytest

from minigpt2 import AdamW, backend
from minigpt2.components import optimizer


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    backend._pool.cache_clear()
    yield
    backend._pool.cache_clear()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 100])
def test_every_part_once_in_runs_of_neighbours(three_threads, n):
    done = {}
    backend.in_parallel(lambda part: done.setdefault(threading.get_ident(), []).append(part), list(range(n)))
    runs = sorted(done.values())
    assert [part for run in runs for part in run] == list(range(n))
    assert len(runs) <= min(n, 3)
    assert all(b == a + 1 for run in runs for a, b in pairwise(run))


def test_one_thread_where_blas_has_one(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    threads = set()
    backend.in_parallel(lambda part: threads.add(threading.get_ident()), range(5))
    assert threads == {threading.get_ident()}


def test_no_threads_for_a_device(three_threads):
    threads = set()
    backend.in_parallel(lambda part: threads.add(threading.get_ident()), range(5), xp=object())
    assert threads == {threading.get_ident()}


def test_an_error_in_a_thread_comes_to_light(three_threads):
    with pytest.raises(ZeroDivisionError):
        backend.in_parallel(lambda part: 1 // part, [1, 2, 0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(three_threads):
    parts = np.zeros(6)
    backend.in_parallel(lambda i: parts.__setitem__(i, 1), range(6))
    child = os.fork()
    if child == 0:
        backend.in_parallel(lambda i: parts.__setitem__(i, 2), range(6))
        os._exit(0 if (parts == 2).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_optimizer_gives_the_same_bits_with_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(optimizer, "CHUNK", 10)
    rng, ends = np.random.default_rng(0), []
    start, gradient = ({"w": rng.normal(size=(9, 7)), "b": rng.normal(size=23)} for _ in range(2))
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
        backend._pool.cache_clear()
        params = {name: x.copy() for name, x in start.items()}
        for _ in range(3):
            AdamW(params).step(gradient, max_norm=1.0)
        ends.append(params)
    backend._pool.cache_clear()
    for end in ends[1:]:
        assert all(np.array_equal(end[name], ends[0][name]) for name in end)
    assert not np.array_equal(ends[0]["w"], start["w"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (300, 70)])
def test_sum_rows(shape, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    out = np.empty(shape[1], dtype)
    total = backend.sum_rows(x, out=out)
    assert total is out and total.dtype == x.dtype
    np.testing.assert_allclose(total, x.astype("float64").sum(axis=0), atol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sum_row_products(dtype):
    x, y = np.random.default_rng(0).normal(size=(2, 300, 70)).astype(dtype)
    out = np.empty(70, dtype)
    total = backend.sum_row_products(x, y, out=out)
    assert total is out and backend.sum_row_products(x, y).dtype == dtype
    exact = (x.astype("float64") * y).sum(axis=0)
    np.testing.assert_allclose(total, exact, atol=1e-4 if dtype == "float32" else 1e-12)


def test_masked_mean():
    mean = backend.masked_mean(np.array([1, 2, np.inf, 4], "float32"), np.array([True, True, False, True]))
    assert mean == np.float32(7 / 3) and mean.dtype == "float32"
