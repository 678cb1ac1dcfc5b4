"""Work that is shared among threads is done once, and gives the bits that one thread gives."""

import dataclasses
import os
import threading

import numpy as np
import pytest

from minigpt2 import GPT2, AdamW, GPT2Config, flatten, parallel
from minigpt2.components import optimizer

pytestmark = pytest.mark.skipif(not parallel._blas(), reason="threadpoolctl does not know this NumPy's BLAS")


def blas_threads():
    return [library.get_num_threads() for library in parallel._blas()]


@pytest.fixture
def threads():
    """A function that says how many threads BLAS may use, and so how many there are; three to begin with."""

    def limit(n):
        for library in parallel._blas():
            library.set_num_threads(n)

    before = blas_threads()
    limit(3)
    yield limit
    for library, n in zip(parallel._blas(), before, strict=True):
        library.set_num_threads(n)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 100])
def test_every_part_once(threads, n):
    done, who = [], set()

    def work(part):
        done.append(part)
        who.add(threading.get_ident())

    parallel.in_parallel(work, list(range(n)))
    assert sorted(done) == list(range(n))
    assert len(who) <= min(n, 3)


def test_all_threads_work_at_once(threads):
    meeting = threading.Barrier(3, timeout=20)  # nobody leaves before three have come
    parallel.in_parallel(lambda _: meeting.wait(), range(3))


def test_whoever_is_free_takes_the_next_part(threads):
    threads(2)
    rest_is_done, done = threading.Event(), []

    def work(part):
        if part == 0:
            assert rest_is_done.wait(20)
        done.append(part)
        if len(done) == 9:
            rest_is_done.set()

    parallel.in_parallel(work, range(10))
    assert done[-1] == 0


def test_blas_has_one_thread_meanwhile_and_as_many_as_before_afterwards(threads):
    seen = []
    parallel.in_parallel(lambda _: seen.append(blas_threads()), range(5))
    assert all(n == 1 for found in seen for n in found)
    assert set(blas_threads()) == {3}
    with pytest.raises(ZeroDivisionError):
        parallel.in_parallel(lambda part: 1 // part, [0])
    assert set(blas_threads()) == {3}


def test_one_thread_where_blas_has_one(threads):
    threads(1)
    who = set()
    parallel.in_parallel(lambda part: who.add(threading.get_ident()), range(5))
    assert who == {threading.get_ident()}


def test_work_within_work_stays_on_its_thread(threads):
    def work(_):
        who = set()
        parallel.in_parallel(lambda _: who.add(threading.get_ident()), range(5))
        assert who == {threading.get_ident()}

    parallel.in_parallel(work, range(4))


def test_no_threads_for_a_device(threads):
    who = set()
    parallel.in_parallel(lambda part: who.add(threading.get_ident()), range(5), xp=object())
    assert who == {threading.get_ident()}


def test_an_error_comes_to_light_and_ends_the_work(threads):
    done = []

    def work(part):
        if part == 2:
            raise ZeroDivisionError
        done.append(part)
        threading.Event().wait(0.01)

    with pytest.raises(ZeroDivisionError):
        parallel.in_parallel(work, range(1000))
    assert len(done) < 900


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(threads):
    parts = np.zeros(6)
    parallel.in_parallel(lambda i: parts.__setitem__(i, 1), range(6))
    child = os.fork()
    if child == 0:
        parallel.in_parallel(lambda i: parts.__setitem__(i, 2), range(6))
        os._exit(0 if (parts == 2).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_blas_that_nobody_knows_is_left_alone(monkeypatch):
    x, y = np.random.default_rng(0).normal(size=(2, 300, 300))
    expected = x @ y
    monkeypatch.setattr(parallel, "_blas", lambda: [])
    assert np.allclose(parallel.matmul(x, y), expected, rtol=0, atol=1e-12)
    done = []
    parallel.in_parallel(done.append, range(7))
    assert sorted(done) == list(range(7))


# ---------------------------------------------------------------------------------------------- what is shared out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "N, I, O", [(1, 5, 3), (15, 700, 900), (16, 40, 8), (300, 64, 70), (520, 130, 1100), (1100, 130, 90)]
)
def test_matmul(threads, monkeypatch, N, I, O, transposed, dtype):
    monkeypatch.setattr(parallel, "SMALL_PRODUCT", 0)
    rng = np.random.default_rng(0)
    x, y, plus = (rng.normal(size=shape).astype(dtype) for shape in ((N, I), (O, I) if transposed else (I, O), O))
    y = y.T if transposed else y
    out = np.full((N, O), np.nan, dtype)
    assert parallel.matmul(x, y, out=out) is out
    exact = x.astype("float64") @ y.astype("float64")
    close = {"rtol": 0, "atol": 1e-3 if dtype == "float32" else 1e-11}
    np.testing.assert_allclose(out, exact, **close)
    with_bias = parallel.matmul(x, y, plus=plus)
    assert with_bias.dtype == dtype
    np.testing.assert_allclose(with_bias, exact + plus, **close)


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (511, 3072), (512, 768), (768, 3072), (1025, 50257), (4096, 100)])
def test_blocks_cover_a_product_once_and_are_even_in_number(shape):
    covered = np.zeros(shape, int)
    blocks = parallel._blocks(*shape)
    for rows, columns in blocks:
        covered[rows, columns] += 1
    assert (covered == 1).all()
    if max(shape) > 2 * parallel.ALIGNED:
        assert len(blocks) % 2 == 0


@pytest.mark.parametrize("leading", [(7,), (3, 5), (2, 3, 4)])
def test_by_rows(threads, monkeypatch, leading):
    monkeypatch.setattr(parallel, "CHUNK", 10)
    x, y = np.random.default_rng(0).normal(size=(2, *leading, 6))
    seen = []

    def formula(x, y):
        seen.append(len(x))
        return x * y, (x + y).sum(axis=-1, keepdims=True)

    product, total = parallel.by_rows(formula, x, y)
    assert np.array_equal(product, x * y)
    assert np.array_equal(total, (x + y).sum(axis=-1, keepdims=True))
    assert sum(seen) == np.prod(leading) and max(seen) <= 2
    assert np.array_equal(parallel.by_rows(lambda x: x + 1, x), x + 1)


# --------------------------------------------------------------- the same bits with any number of threads


def test_the_optimizer_gives_the_same_bits(threads, monkeypatch):
    monkeypatch.setattr(optimizer, "CHUNK", 10)
    rng, ends = np.random.default_rng(0), []
    start, gradient = ({"w": rng.normal(size=(9, 7)), "b": rng.normal(size=23)} for _ in range(2))
    for n in (1, 2, 3):
        threads(n)
        params = {name: x.copy() for name, x in start.items()}
        for _ in range(3):
            AdamW(params).step(gradient, max_norm=1.0)
        ends.append(params)
    for end in ends[1:]:
        assert all(np.array_equal(end[name], ends[0][name]) for name in end)
    assert not np.array_equal(ends[0]["w"], start["w"])


@pytest.mark.parametrize("T", [40, 300])
def test_training_gives_the_same_bits(threads, T):
    """Two steps of a model whose products, rows and heads are all shared out, dropout included."""
    config = GPT2Config(vocab_size=1100, n_positions=300, n_embd=192, n_layer=2, n_head=3)
    config = dataclasses.replace(config, embd_pdrop=0.1, attn_pdrop=0.1, resid_pdrop=0.1)
    ids = np.random.default_rng(0).integers(0, 1100, (600 // T, T + 1))
    ends = []
    for n in (1, 2, 3):
        threads(n)
        model = GPT2(config, seed=0)
        optimizer, rng = AdamW(model.params), np.random.default_rng(1)
        losses = []
        for _ in range(2):
            loss, grads = model.loss_and_grads(ids[:, :-1], ids[:, 1:], rng=rng)
            losses.append((loss, optimizer.step(grads, max_norm=1.0)))
        ends.append((losses, flatten(model.params)))
    for losses, params in ends[1:]:
        assert losses == ends[0][0]
        assert all(np.array_equal(params[name], ends[0][1][name]) for name in params)
