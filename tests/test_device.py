"""The package on a device gives what it gives on the host, and moves no more than it has to.

The device is ``strict_cupy``, a stand-in that needs no GPU; with MINIGPT2_DEVICE_TESTS=cupy in the environment it is
CuPy itself, which counts no transfers.
"""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import strict_cupy
from assertions import assert_close
from strict_cupy import TO_DEVICE, TO_HOST

import minigpt2
from minigpt2 import GPT2, AdamW, GPT2Config, backend, flatten, trace, unflatten
from minigpt2.backend import add_rows, array_module, device_generator
from minigpt2.cli import main
from minigpt2.components import loss, optimizer
from minigpt2.components.dropout import dropout_backward, dropout_forward
from minigpt2.components.optimizer import SGD
from minigpt2.evaluation import masked_loss, total_nats
from minigpt2.fine_tuning import LoRA, trainable
from minigpt2.generation import generate, stream
from minigpt2.parameters import allocate_like, flat_view
from minigpt2.reference import CASES, recorded, relative_error
from minigpt2.settings import TrainingSettings
from minigpt2.storage.checkpoint import read_tensors
from minigpt2.tasks.likelihood import continuation_log_probs, shared_prefix_log_probs
from minigpt2.training import Trainer
from minigpt2.verification.pairs import run_case

REAL = os.environ.get("MINIGPT2_DEVICE_TESTS") == "cupy"
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
V, P = 50, 16
CONFIG = GPT2Config(
    vocab_size=V, n_positions=P, n_embd=24, n_layer=2, n_head=3, initializer_range=0.3,
    embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
)  # fmt: skip
DROPOUT = dataclasses.replace(CONFIG, embd_pdrop=0.1, attn_pdrop=0.2, resid_pdrop=0.3)
PROMPTS = [[7, 3, 42, 3], [0, 49, 1, 1], [8, 8, 30, 2]]


@pytest.fixture
def cupy(monkeypatch):
    if REAL:
        return importlib.import_module("cupy")  # whoever asks for it must have it
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    strict_cupy.transfers.clear()
    return strict_cupy


@pytest.fixture
def strict(cupy):
    """For tests of what the stand-in counts and refuses beyond CuPy."""
    if REAL:
        pytest.skip("CuPy counts no transfers")
    return cupy


def on_device(tree, cupy, dtype=None):
    """A copy of a tree of arrays on the device, floats in another dtype if one is given."""
    leaves = {name: np.array(leaf) for name, leaf in flatten({"": tree}).items()}
    leaves = {name: a.astype(dtype) if dtype and a.dtype.kind == "f" else a for name, a in leaves.items()}
    return unflatten({name: cupy.asarray(a) for name, a in leaves.items()})[""]


def on_host(tree, cupy):
    """A copy on the host of a tree in which every array is on the device."""
    leaves = flatten({"": tree})
    for name, leaf in leaves.items():
        assert type(leaf) is cupy.ndarray, f"{name} is {type(leaf)}"
    return unflatten({name: cupy.asnumpy(leaf) for name, leaf in leaves.items()})[""]


def crossed(strict):
    """(direction, bytes) of all transfers since this was asked last, in order."""
    found = [(transfer.direction, transfer.bytes) for transfer in strict.transfers]
    strict.transfers.clear()
    return found


def batch(rng=0, B=3, T=7):
    ids, targets = np.random.default_rng(rng).integers(0, V, (2, B, T))
    targets[0, :3] = -100
    return ids, targets


# The stand-in is strict.


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, host: x + host,
        lambda x, host: host + x,
        lambda x, host: x @ host,
        lambda x, host: host @ x,
        lambda x, host: x < host,
        lambda x, host: host == x,
        lambda x, host: x.__iadd__(host),
        lambda x, host: host.__iadd__(x),
        lambda x, host: np.asarray(x),
        lambda x, host: np.array([x, x]),
        lambda x, host: np.sum(x, where=host > 0),
        lambda x, host: np.add(host, x),
        lambda x, host: np.add(host, host, out=x),
        lambda x, host: np.concatenate([host, x]),
        lambda x, host: host.__setitem__(0, x[0]),
        lambda x, host: host.__setitem__(slice(None), x),
        lambda x, host: host[x.astype("int64")],
        lambda x, host: x.__setitem__(0, host),
        lambda x, host: x.__setitem__(slice(0, 2), host[:2]),
        lambda x, host: array_module(x).exp(host),
        lambda x, host: array_module(x).matmul(x, host),
        lambda x, host: array_module(x).where(x > 0, x, host),
        lambda x, host: array_module(x).concatenate([x, host]),
        lambda x, host: array_module(x).add.at(x, host.astype("int64"), host) if not REAL else x + host,
        lambda x, host: array_module(x).einsum("ij,ij->j", x, x, out=x[0]),
        lambda x, host: list(range(x[0, 0])),
        lambda x, host: [1, 2, 3][x[0, 0].astype("int64")],
        lambda x, host: len(x[0, 0]),
    ],
)
def test_arrays_of_host_and_device_do_not_mix(cupy, wrong):
    host = np.ones((3, 3))
    with pytest.raises((TypeError, ValueError)) as raised:
        wrong(cupy.asarray(host), host)
    assert REAL or raised.type is TypeError


@pytest.mark.parametrize("function", [np.exp, np.sqrt, np.sum, np.copy, np.argmax, np.isfinite])
def test_functions_of_numpy_are_refused(strict, function):
    with pytest.raises(TypeError, match="take the module from the array"):
        function(strict.ones(3))


def test_numbers_of_numpy_mix_as_python_s_do(cupy):
    x = cupy.ones(2, "float32")
    for two in (2, 2.0, np.float32(2)):
        for y in (x + two, two + x, two * x, x / (1 / two), two - -x):
            assert type(y) is cupy.ndarray and y.dtype == "float32" and cupy.asnumpy(y).tolist() in ([3, 3], [2, 2])


@pytest.mark.parametrize("index", [np.array([0, 1]), [0, 1], [True, False, True], (slice(None), [0, 1])], ids=str)
def test_an_index_stays_where_its_array_is(strict, index):
    x = strict.zeros((3, 3))
    with pytest.raises(TypeError, match="index on the host"):
        x[index]
    with pytest.raises(TypeError, match="index on the host"):
        x[index] = 1.0


def test_what_a_device_leaves_open_is_an_error(strict):
    x, twice = strict.zeros(3), strict.asarray([1, 1])
    x[twice] = strict.asarray([2.0, 2.0])
    with pytest.raises(RuntimeError, match="assigned twice"):
        x[twice] = strict.asarray([2.0, 3.0])
    with pytest.raises(IndexError):
        x[strict.asarray([3])]
    assert np.isnan(strict.empty(3).get()).all() and (strict.empty(3, "int64").get() < 0).all()


def test_every_transfer_is_counted_with_its_place(strict):
    x = strict.asarray(np.zeros((2, 3), "float32"))
    assert strict.asarray(x) is x and not strict.zeros(3).get().any()
    line = inspect.currentframe().f_lineno
    float(x.sum()), int(x[0, 0]), bool(x[0, 0] > 0), x.get(), strict.asnumpy(x), x[x > 0].size
    x[strict.asarray([0])] = 5.0
    places = [transfer.where for transfer in strict.transfers[2:]]
    assert places == [f"test_device.py:{line + 1}"] * 6 + [f"test_device.py:{line + 2}"] * 2
    assert crossed(strict) == [
        (TO_DEVICE, 24), (TO_HOST, 24), (TO_HOST, 4), (TO_HOST, 4), (TO_HOST, 1), (TO_HOST, 24), (TO_HOST, 24),
        (TO_HOST, 4), (TO_DEVICE, 8), (TO_DEVICE, 4),
    ]  # fmt: skip


def test_views_share_memory_and_know_their_base(cupy):
    flat = cupy.zeros(12, "float32")
    view = flat[2:8].reshape(2, 3)
    view[1] = 5.0
    view.T[0, 0] += 2.0
    assert view.base is flat and view[0].base is flat and flat.base is None and flat.copy().base is None
    assert view.data.ptr == flat.data.ptr + 8
    np.testing.assert_array_equal(flat.get(), [0, 0, 2, 0, 0, 5, 5, 5, 0, 0, 0, 0])


def test_the_stand_in_promises_no_more_than_cupy():
    """Names and arguments. CuPy can be asked for them where it is installed, with or without a GPU."""
    cupy = pytest.importorskip("cupy", reason="CuPy is in the extra 'cupy'", exc_type=ImportError)
    checked = 0
    for name, ours in vars(strict_cupy).items():
        if inspect.isfunction(ours) and ours.__module__ == "strict_cupy" and not name.startswith("_"):
            theirs = inspect.signature(getattr(cupy, name)).parameters
            takes_any = any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in theirs.values())
            names = list(inspect.signature(ours).parameters)
            assert takes_any or [n for n in theirs if n in names] == names or name == "ix_", f"{name}{tuple(theirs)}"
        elif isinstance(ours, strict_cupy.ufunc):
            assert type(getattr(cupy, name)) is type(cupy.exp), name
        else:
            continue
        checked += 1
    members = [name for name in vars(strict_cupy.ndarray) if name[0] != "_" or name.strip("_") in strict_operators()]
    assert [name for name in members if not hasattr(cupy.ndarray, name)] == []
    assert hasattr(cupy.add, "at") and cupy.float32 is np.float32 and cupy.inf == math.inf
    for name in ("Philox4x3210", "Generator"):
        assert getattr(cupy.random, name)
    assert hasattr(cupy.random.Generator, "random") and checked > 30 and len(members) > 50


def strict_operators():
    names = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"]
    return [p + n for p in ("", "r", "i") for n in names] + ["lt", "le", "gt", "ge", "eq", "ne", "matmul", "neg", "len"]


def test_the_stand_in_has_all_that_the_package_asks_for():
    asked = set()
    for path in Path(minigpt2.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "xp":
                asked.add(node.attr)
    assert len(asked) > 25 and [name for name in sorted(asked) if not hasattr(strict_cupy, name)] == []


# Components.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in CASES if "dropout" not in name])
def test_a_component_gives_the_same_on_the_device(name, dtype, cupy):
    reference = recorded(name)
    inputs, dy = on_device(reference["inputs"], cupy, dtype), on_device(reference["dy"], cupy, dtype)
    if not REAL:
        cupy.transfers.clear()
    y, cache, gradients = run_case(name, inputs, dy)
    assert REAL or not cupy.transfers, cupy.transfers
    y, gradients = on_host(y, cupy), on_host(gradients, cupy)
    assert_close(y, reference["y"], TOLERANCE[dtype])
    assert_close(gradients, reference["gradients"], TOLERANCE[dtype])
    arrays = [leaf for leaf in flatten({"": cache}).values() if hasattr(leaf, "dtype")]
    assert {type(leaf) for leaf in arrays} <= {cupy.ndarray}
    floats = [leaf for leaf in [*arrays, y, *flatten(gradients).values()] if leaf.dtype.kind == "f"]
    assert {leaf.dtype.name for leaf in floats} == {dtype}


@pytest.mark.parametrize("name", ["linear", "layer_norm", "attention", "block", "gpt2", "embedding"])
def test_gradients_are_written_where_asked(name, cupy):
    reference = recorded(name)
    inputs, dy = on_device(reference["inputs"], cupy), on_device(reference["dy"], cupy)
    *_, expected = run_case(name, inputs, dy)
    out = allocate_like(expected.get("params") or {key: g for key, g in expected.items() if key != "x"})
    for array in flatten(out).values():
        array.fill(0 if name == "embedding" else math.nan)  # which adds
    *_, gradients = run_case(name, inputs, dy, out=out)
    assert {id(a) for a in flatten(out).values()} <= {id(a) for a in flatten({"": gradients}).values()}
    assert_close(on_host(gradients, cupy), reference["gradients"], 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_draws_on_the_device(cupy, dtype):
    x = cupy.ones((200, 100), dtype)

    def dropped(seed):
        return dropout_forward(x, 0.3, device_generator(np.random.default_rng(seed), cupy))

    y, cache = dropped(1)
    found = cupy.asnumpy(y)
    assert found.dtype == dtype and type(y) is type(cache["mask"]) is cupy.ndarray
    assert set(np.unique(found).tolist()) == {0.0, np.ones(1, dtype)[0] * (1.0 / 0.7)}
    assert abs((found == 0).mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / found.size)
    np.testing.assert_array_equal(found, cupy.asnumpy(dropped(1)[0]))
    assert (found != cupy.asnumpy(dropped(2)[0])).mean() > 0.3
    np.testing.assert_array_equal(cupy.asnumpy(dropout_backward(x, cache)), found)


def test_rows_that_occur_twice_are_added_twice(cupy):
    table = cupy.zeros((3, 2))
    add_rows(table, cupy.asarray([1, 1, 0]), cupy.asarray([[1.0, 2], [3, 4], [5, 6]]))
    np.testing.assert_array_equal(cupy.asnumpy(table), [[5, 6], [4, 6], [0, 0]])


# The model.


def test_a_model_moves_in_place_in_one_transfer(strict):
    model = GPT2(CONFIG)
    before = {name: p.copy() for name, p in flatten(model.params).items()}
    assert model.device == "numpy" and model.to("numpy") is model and crossed(strict) == []
    assert model.to("cupy") is model and model.device == "cupy"
    size = 4 * model.num_parameters
    assert crossed(strict) == [(TO_DEVICE, size)]
    flat, shared = flat_view(flatten(model.params))
    assert shared and flat.size == model.num_parameters
    assert model.to("cupy") is model and crossed(strict) == []
    assert model.to("numpy").device == "numpy" and crossed(strict) == [(TO_HOST, size)]
    assert flat_view(flatten(model.params))[1]
    for name, parameter in flatten(model.params).items():
        np.testing.assert_array_equal(parameter, before[name], err_msg=name)


def test_a_device_that_is_missing_is_one_clear_error(monkeypatch, capsys):
    model = GPT2(CONFIG)
    with pytest.raises(ValueError, match="device must be 'numpy' or 'cupy', got 'cuda'"):
        model.to("cuda")
    monkeypatch.setitem(sys.modules, "cupy", None)  # an import finds nothing
    with pytest.raises(ValueError, match=r"pip install -e '\.\[cupy\]'"):
        model.to("cupy")
    assert main(["generate", "--device", "cupy"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy)
    monkeypatch.setattr(strict_cupy, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a CUDA device"):
        model.to("cupy")
    assert model.device == "numpy"


@pytest.mark.parametrize(
    "changes", [{}, {"tie_word_embeddings": False}, {"head_layers": 2, "tie_word_embeddings": False}], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loss_and_gradients_are_the_same(cupy, changes, dtype):
    host, ours = (GPT2(dataclasses.replace(CONFIG, **changes), seed=1, dtype=dtype) for _ in range(2))
    ours.to("cupy")
    loss, grads = host.loss_and_grads(*batch(), label_smoothing=0.1)
    found, its_grads = ours.loss_and_grads(*batch(), label_smoothing=0.1)
    assert type(found) is float and found == pytest.approx(loss, rel=TOLERANCE[dtype])
    assert_close(on_host(its_grads, cupy), grads, TOLERANCE[dtype])
    assert ours.loss(*batch()) == pytest.approx(host.loss(*batch()), rel=TOLERANCE[dtype])


@pytest.mark.parametrize("config", [CONFIG, DROPOUT], ids=["plain", "dropout"])
def test_a_training_step_sends_two_batches_up_and_two_numbers_down(strict, config):
    model = GPT2(config).to("cupy")
    optimizer, rng = AdamW(model.params), np.random.default_rng(0)
    ids, targets = batch(T=9)
    for _ in range(2):
        strict.transfers.clear()
        _, grads = model.loss_and_grads(ids, targets, rng=rng)
        optimizer.step(grads, max_norm=1.0)
        up, down = [(TO_DEVICE, targets.nbytes), (TO_DEVICE, ids.nbytes)], [(TO_HOST, 4), (TO_HOST, 8)]
        assert crossed(strict) == up + down


def test_dropout_follows_the_generator_of_the_host(cupy):
    model = GPT2(DROPOUT).to("cupy")
    losses = [model.loss_and_grads(*batch(), rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and abs(losses[0] - losses[2]) > 1e-4
    rng = np.random.default_rng(1)
    model.loss_and_grads(*batch(), rng=rng)
    state = rng.bit_generator.state
    GPT2(CONFIG).to("cupy").loss_and_grads(*batch(), rng=rng)  # which drops nothing, so that nothing is drawn
    assert rng.bit_generator.state == state


@pytest.mark.parametrize(
    "ids, targets, error, message",
    [
        ([[0, V]], [[1, 2]], ValueError, "ids must lie in 0"),
        ([[-1, 0]], [[1, 2]], ValueError, "ids must lie in 0"),
        ([[0.5, 1]], [[1, 2]], TypeError, "ids must be integers"),
        ([[0, 1], [2]], [[1, 2]], ValueError, "rows of equal length"),
        ([[0, 1]], [[1, V]], ValueError, "targets must lie in 0"),
        ([[0, 1]], [[-100, -100]], ValueError, "nothing to predict"),
        ([[0, 1]], [[1, 2, 3]], ValueError, "targets must be"),
    ],
)
def test_errors_are_those_of_the_host(cupy, ids, targets, error, message):
    model = GPT2(CONFIG).to("cupy")
    for _ in range(2):
        with pytest.raises(error, match=message):
            model.loss_and_grads(ids, targets)
        model.to("numpy")


def test_ids_that_are_on_the_device_are_welcome_and_checked(cupy):
    model, (ids, targets) = GPT2(CONFIG).to("cupy"), batch()
    there = cupy.asarray(ids), cupy.asarray(targets)
    assert model.loss(*there) == model.loss(ids, targets)
    np.testing.assert_array_equal(generate(model, there[0], 4), generate(model, ids, 4))
    with pytest.raises(ValueError, match="ids must lie in"):
        model.forward(there[0] + V)


@pytest.fixture(params=["in chunks", "whole"])
def chunks(request, monkeypatch):
    """Work is cut into pieces, as it is for large arrays, or not, as for those of a test."""
    if request.param == "in chunks":
        monkeypatch.setattr(backend, "DEVICE_CHUNK", 1)
        monkeypatch.setattr(optimizer, "CHUNK", 1000)
        monkeypatch.setattr(loss, "CHUNK", 3 * V)


@pytest.mark.parametrize("optimizer_of", [AdamW, SGD])
@pytest.mark.parametrize("freeze", [[], ["wte", "h.0.attn"]], ids=["all", "frozen"])
def test_optimizers_take_the_same_steps(cupy, chunks, optimizer_of, freeze):
    models = GPT2(CONFIG, 1, "float64"), GPT2(CONFIG, 1, "float64").to("cupy")
    found = []
    for model in models:
        params = trainable(model.params, freeze)
        its = optimizer_of(params)
        norms = []
        for step in range(4):
            _, grads = model.loss_and_grads(*batch(step))
            grads = {name: gradient for name, gradient in flatten(grads).items() if name in params}
            norms.append(its.step(grads, max_norm=1.0))
        found.append(norms)
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert_close(on_host(models[1].params, cupy), models[0].params, 1e-8)
    with pytest.raises(ValueError, match="NaN or infinity"):
        its.step({name: gradient * math.nan for name, gradient in grads.items()})


def test_low_rank_adapters_take_the_same_steps(cupy):
    models = GPT2(CONFIG, 1, "float64"), GPT2(CONFIG, 1, "float64").to("cupy")
    adapters = [LoRA(model, 2, 8.0) for model in models]
    for model, lora in zip(models, adapters, strict=True):
        optimizer = AdamW(lora.params)
        for step in range(3):
            _, grads = model.loss_and_grads(*batch(step))
            optimizer.step(lora.grads(grads))
            lora.merge()
    assert_close(on_host(adapters[1].params, cupy), adapters[0].params, 1e-8)
    assert_close(on_host(models[1].params, cupy), models[0].params, 1e-8)
    again = LoRA(GPT2(CONFIG, 2, "float64").to("cupy"), 2, 8.0)
    again.restore({name: cupy.asnumpy(array) for name, array in adapters[1].state().items()})
    assert_close(on_host(again.params, cupy), adapters[0].params, 1e-8)


def test_a_model_is_saved_from_the_device_in_one_transfer(cupy, tmp_path):
    model = GPT2(CONFIG, seed=3)
    model.save_pretrained(tmp_path / "host")
    model.to("cupy")
    if not REAL:
        cupy.transfers.clear()
    model.save_pretrained(tmp_path / "device")
    assert REAL or crossed(cupy) == [(TO_HOST, 4 * model.num_parameters)]
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "device" / name).read_bytes() == (tmp_path / "host" / name).read_bytes()
    assert GPT2.from_pretrained(tmp_path / "device").to("cupy").device == "cupy"
    head = model.with_head(2, seed=1)
    assert head.device == "cupy"
    assert_close(on_host(head.params, cupy), GPT2(CONFIG, seed=3).with_head(2, seed=1).params, 0)


# Generation.

MODES = {
    "greedy": {},
    "temperature": {"temperature": 1.3, "seed": 5},
    "top_k": {"temperature": 0.9, "top_k": 10},
    "top_p": {"temperature": 0.9, "top_p": 0.8},
    "all filters": {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.3},
    "greedy with penalty": {"repetition_penalty": 1.4},
    "samples": {"temperature": 1.0, "num_samples": 3},
    "stop": {"stop": [5, 11, 20, 30, 40]},
    "beams": {"beams": 3},
    "beams with stop": {"beams": 3, "stop": [5, 11], "repetition_penalty": 1.2},
    "no cache": {"use_cache": False},
    "allowed": {"temperature": 1.3, "allowed": range(0, V, 3), "repetition_penalty": 1.3},
    "allowed beams": {"beams": 3, "allowed": range(0, V, 3)},
}


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_writes_the_same_tokens(cupy, mode):
    host, ours = GPT2(CONFIG, 1, "float64"), GPT2(CONFIG, 1, "float64").to("cupy")
    for prompts in (PROMPTS, PROMPTS[0], np.arange(2 * P + 3) % V):
        found, expected = generate(ours, prompts, 20, **MODES[mode]), generate(host, prompts, 20, **MODES[mode])
        assert type(found) is np.ndarray and found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", MODES)
def test_prompts_of_unequal_length_are_continued_alike(cupy, mode):
    host, ours = GPT2(CONFIG, 1, "float64"), GPT2(CONFIG, 1, "float64").to("cupy")
    prompts = [PROMPTS[0], [1], np.arange(P + 3) % V]
    found, expected = generate(ours, prompts, 12, **MODES[mode]), generate(host, prompts, 12, **MODES[mode])
    assert [row.tolist() for row in found] == [row.tolist() for row in expected]


@pytest.mark.parametrize(
    "options, up, down",
    [
        ({}, [8], [8]),  # the token before; the new one
        ({"temperature": 1.0}, [8, 8], [8]),  # and a uniform number
        ({"temperature": 1.0, "top_k": 5, "top_p": 0.9}, [8, 8], [8]),
        ({"repetition_penalty": 1.5}, [8, "ids", 1], [8]),  # and all tokens so far, and a True
        ({"stop": 3}, [8], [8]),
    ],
    ids=["greedy", "drawn", "filtered", "penalty", "stop"],
)
def test_transfers_of_a_generated_token(strict, options, up, down):
    model = GPT2(CONFIG).to("cupy")
    strict.transfers.clear()
    for n, _ in enumerate(stream(model, PROMPTS[0], 8, **options)):
        found = crossed(strict)
        if n:  # at first all of the prompt goes up
            expected = [8 * (len(PROMPTS[0]) + n) if size == "ids" else size for size in up]
            assert [size for direction, size in found if direction == TO_DEVICE] == expected
            assert [size for direction, size in found if direction == TO_HOST] == down
    assert n > 2


def test_transfers_of_a_step_of_beam_search(strict):
    """Up: tokens, sums and parents of the beams; down: sums and places of the best candidates."""
    model, found = GPT2(CONFIG).to("cupy"), []
    for n in (4, 5):
        strict.transfers.clear()
        generate(model, PROMPTS[0], n, beams=2)
        found.append([direction for direction, _ in crossed(strict)])
    added = [found[1].count(direction) - found[0].count(direction) for direction in (TO_DEVICE, TO_HOST)]
    assert added == [3, 2]


def test_weights_that_are_not_numbers(cupy):
    model = GPT2(CONFIG)
    model.params["ln_f"]["bias"][0] = math.nan
    model.to("cupy")
    for options in ({}, {"temperature": 1.0, "top_k": 3, "top_p": 0.5}, {"beams": 2}):
        with pytest.raises(ValueError, match="not finite"):
            generate(model, PROMPTS, **options)


# Evaluation, tasks, traces.


def test_evaluation_is_the_same_and_brings_a_number_per_batch_down(cupy):
    host, ours = GPT2(CONFIG, 1, "float64"), GPT2(CONFIG, 1, "float64").to("cupy")
    ids = np.random.default_rng(0).integers(0, V, 300)
    if not REAL:
        cupy.transfers.clear()
    assert total_nats(ours, ids, stride=5) == pytest.approx(total_nats(host, ids, stride=5), rel=1e-10)
    if not REAL:
        found = crossed(cupy)
        assert [size for direction, size in found if direction == TO_HOST] == [8] and len(found) == 3
    assert masked_loss(ours, ids, V - 1) == pytest.approx(masked_loss(host, ids, V - 1), rel=1e-10)


@pytest.mark.parametrize("excluded", [(), (3, 8, 30)])
def test_likelihoods_are_the_same(cupy, excluded):
    host, ours = GPT2(CONFIG, 1, "float64"), GPT2(CONFIG, 1, "float64").to("cupy")
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, V, n) for n in (5, 16, 30, 9, 2)]
    pairs = [
        (function(ours, *arguments), function(host, *arguments))
        for function, *arguments in (
            (continuation_log_probs, sequences, [1, 12, 20, 3, 1], excluded),
            (shared_prefix_log_probs, rng.integers(0, V, 8), [[1, 2, 3], [4], [5, 6]]),
        )
    ]
    for found, expected in pairs:
        for (log_probs, greedy), (its_log_probs, its_greedy) in zip(found, expected, strict=True):
            assert type(log_probs) is type(greedy) is np.ndarray
            np.testing.assert_allclose(log_probs, its_log_probs, rtol=1e-10)
            np.testing.assert_array_equal(greedy, its_greedy)
    ours.params["ln_f"]["bias"][0] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        continuation_log_probs(ours, sequences[:1], [1])


def test_transfers_of_a_batch_that_is_scored(strict):
    model = GPT2(CONFIG).to("cupy")
    strict.transfers.clear()
    continuation_log_probs(model, [[1, 2, 3, 4], [5, 6, 7]], [2, 1])
    # Up: ids, the places of what is scored and what is there. Down: log p and the greedy choice.
    assert crossed(strict) == [(TO_DEVICE, 48), (TO_DEVICE, 32), (TO_DEVICE, 32), (TO_HOST, 32), (TO_HOST, 32)]


def test_a_trace_comes_back_to_the_host(cupy):
    host, ours = GPT2(DROPOUT, 1, "float64"), GPT2(DROPOUT, 1, "float64").to("cupy")
    for targets in (None, batch()[1]):
        found, expected = (trace(model, batch()[0], targets, backward=True) for model in (ours, host))
        assert list(found) == list(expected) and {type(array) for array in found.values()} == {np.ndarray}
        assert_close(found, expected, 1e-10)


# Training runs and the command line.


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "bottles.txt"
    path.write_text("".join(f"{n} little green bottles hanging on the wall, {n} little\n" for n in range(60)))
    return TrainingSettings(
        data=(str(path),), tokenizer="char", n_layer=1, n_head=2, n_embd=16, block_size=16, batch_size=4,
        steps=8, warmup_steps=2, eval_every=4, lr=1e-2, dropout=0.0, device="cupy",
    )  # fmt: skip


def interrupted(run, step):
    train_step = run._train_step

    def stop():
        if run.step == step:
            raise KeyboardInterrupt
        return train_step()

    run._train_step = stop
    with pytest.raises(KeyboardInterrupt):
        run.run()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"dropout": 0.2}, {"lora_rank": 2, "init_from": "first"}, {"freeze": ("wte",)}, {"objective": "mlm"}],
    ids=str,
)
def test_a_run_on_the_device_learns_and_resumes(cupy, settings, tmp_path, changes):
    if "init_from" in changes:
        changes = changes | {"init_from": str(tmp_path / "first")}
        Trainer(dataclasses.replace(settings, steps=1), tmp_path / "first").run()
    if "objective" in changes:
        changes = changes | {"tokenizer": "bpe", "vocab_size": 280}
    settings = dataclasses.replace(settings, **changes)
    whole = Trainer(settings, tmp_path / "whole")
    best = whole.run()
    assert whole.model.device == "cupy" and math.isfinite(best)
    interrupted(Trainer(settings, tmp_path / "cut"), 6)
    resumed = Trainer.resume(tmp_path / "cut")
    assert resumed.step == 4 and resumed.model.device == "cupy"
    assert resumed.run() == pytest.approx(best, rel=1e-3 if REAL else 0)
    params = [on_host(run.model.params, cupy) for run in (resumed, whole)]
    assert REAL or relative_error(*params)[0] == 0  # a GPU adds in any order, and Adam makes steps of what remains


@pytest.mark.parametrize("devices", [("cupy", "numpy"), ("numpy", "cupy")], ids=str)
def test_a_run_goes_on_on_another_device(cupy, settings, tmp_path, devices):
    settings = dataclasses.replace(settings, device=devices[0])
    whole = Trainer(settings, tmp_path / "whole")
    whole.run()
    interrupted(Trainer(settings, tmp_path / "cut"), 6)
    resumed = Trainer.resume(tmp_path / "cut", device=devices[1])
    assert resumed.model.device == devices[1] and resumed.settings.device == devices[1]
    assert resumed.run() == pytest.approx(whole.best_loss, rel=1e-3)
    state = [read_tensors(tmp_path / run / "checkpoint-000008/training_state.safetensors") for run in ("cut", "whole")]
    assert state[0][1]["state"].split('"rng"')[1] == state[1][1]["state"].split('"rng"')[1]
    if not REAL:
        assert_close(resumed.model.to("numpy").params, whole.model.to("numpy").params, 1e-3)
        assert_close(state[0][0], state[1][0], 1e-2)


def test_settings_refuse_a_device_that_is_none(settings):
    with pytest.raises(ValueError, match="device must be 'numpy' or 'cupy', got 'tpu'"):
        dataclasses.replace(settings, device="tpu")


def test_every_command_that_computes_takes_a_device(cupy, settings, tmp_path, capsys):
    run, text = tmp_path / "run", settings.data[0]

    def printed(*arguments):
        if not REAL:
            cupy.transfers.clear()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        if not REAL:
            assert bool(cupy.transfers) == ("cupy" in arguments)
        return out

    small = ["--tokenizer", "char", "--n-layer", 1, "--n-embd", 16, "--block-size", 16, "--steps", 2, "--batch-size", 2]
    assert "--device cupy" in printed("train", "--data", text, "--out", run, *small, "--device", "cupy")
    printed("train", "--resume", run, "--device", "numpy")
    for command in (
        ["generate", "--model", run, "--prompt", "9 little", "--max-new-tokens", 12, "--seed", 3],
        ["eval", "--model", run, "--data", text],
        ["trace", "--model", run, "--text", "bottles", "--backward", "-o", tmp_path / "trace.safetensors"],
    ):
        host, ours = printed(*command), printed(*command, "--device", "cupy")
        assert (REAL or ours.split("reproduce")[0] == host.split("reproduce")[0]) and len(host) > 10
        assert ("reproduce" not in host) or "--device cupy" in ours
    pytest.importorskip("sacrebleu", reason="it comes with the extra [evaluation]")
    command = ["report", "--model", run, "--data", text, "--samples", 2, "--length", 5, "--temperatures", 0.9]
    assert "--device cupy" in printed(*command, "--out", tmp_path / "report", "--device", "cupy")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed here")
def test_the_script_for_a_gpu_says_that_there_is_none():
    script = Path(__file__).parent / "tools/gpu.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "pip install -e '.[cupy]'" in done.stderr
