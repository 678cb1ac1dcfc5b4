"""Models, gradients and optimizers that are pickled, copied, sent to a process or memory-mapped train on as before."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

from minigpt2 import GPT2, SGD, AdamW, GPT2Config, flatten
from minigpt2.fine_tuning import LoRA, trainable
from minigpt2.parameters import flat_view

IDS, TARGETS = [[1, 2, 3, 4], [4, 3, 2, 1]], [[2, 3, 4, 5], [3, 2, 1, 0]]


def pickled(protocol):
    return lambda value, folder: pickle.loads(pickle.dumps(value, protocol))


def out_of_band(value, folder):
    """Arrays beside the pickle, as dask and ray send them, in memory that may be written to."""
    buffers = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytearray(buffer) for buffer in buffers])


def dumped(mmap_mode):
    def trip(value, folder):
        joblib = pytest.importorskip("joblib", reason="memory maps of pickles need joblib")
        joblib.dump(value, folder / "value.joblib")
        return joblib.load(folder / "value.joblib", mmap_mode=mmap_mode)

    return trip


TRIPS = {f"pickle {protocol}": pickled(protocol) for protocol in (2, 3, 4, 5)} | {
    "out of band": out_of_band,
    "deepcopy": lambda value, folder: copy.deepcopy(value),
    "twice": lambda value, folder: copy.deepcopy(pickle.loads(pickle.dumps(value))),
    **{f"joblib {mode}": dumped(mode) for mode in (None, "c", "r+")},
}


@pytest.fixture(params=TRIPS)
def trip(request, tmp_path):
    return lambda value: TRIPS[request.param](value, tmp_path)


def new_model():
    return GPT2(GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=2, n_head=2), seed=1)


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.step(model.loss_and_grads(IDS, TARGETS)[1], max_norm=1.0)


def assert_same_bits(actual, expected):
    for name, leaf in flatten(expected.params).items():
        np.testing.assert_array_equal(flatten(actual.params)[name], leaf, err_msg=name)


OPTIMIZERS = {
    "adamw": lambda model: AdamW(model.params, lr=0.05),
    "sgd": lambda model: SGD(model.params, lr=0.05, momentum=0.9),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_model_and_its_optimizer_train_on(trip, kind):
    """Together they stay together: the optimizer updates the very arrays from which the model computes."""
    model = new_model()
    optimizer = OPTIMIZERS[kind](model)
    train(model, optimizer, 2)
    model_2, optimizer_2 = trip((model, optimizer))
    assert_same_bits(model_2, model)
    for pair in (model, optimizer), (model_2, optimizer_2):
        train(*pair, 3)
    assert_same_bits(model_2, model)
    assert model_2.loss(IDS, TARGETS) == model.loss(IDS, TARGETS) < 0.9 * new_model().loss(IDS, TARGETS)


def test_a_model_alone_gets_a_new_optimizer(trip):
    model = new_model()
    other = trip(model)
    for each in model, other:
        train(each, AdamW(each.params, lr=0.05), 3)
    assert_same_bits(other, model)


def test_an_optimizer_alone_takes_its_parameters_along(trip):
    model, reference = new_model(), new_model()
    optimizer = trip(AdamW(model.params, lr=0.05))
    optimizer.step(model.loss_and_grads(IDS, TARGETS)[1])
    train(reference, AdamW(reference.params, lr=0.05), 0)
    assert_same_bits(model, reference)
    AdamW(reference.params, lr=0.05).step(model.loss_and_grads(IDS, TARGETS)[1])
    assert_same_bits(optimizer, reference)


def test_gradients_from_elsewhere_are_taken(trip):
    model, other = new_model(), new_model()
    for each, send in (model, lambda value: value), (other, trip):
        AdamW(each.params, lr=0.05).step(send(each.loss_and_grads(IDS, TARGETS)[1]))
    assert_same_bits(other, model)


def test_adapters_travel_with_their_model(trip):
    model = new_model()
    lora = LoRA(model, rank=2, alpha=4)
    optimizer = AdamW(lora.params, lr=0.05)
    copies = trip((model, lora, optimizer))
    for some_model, some_lora, some_optimizer in (model, lora, optimizer), copies:
        for _ in range(3):
            some_optimizer.step(some_lora.grads(some_model.loss_and_grads(IDS, TARGETS)[1]))
            some_lora.merge()
    assert_same_bits(copies[0], model)
    assert model.loss(IDS, TARGETS) < new_model().loss(IDS, TARGETS)


@pytest.mark.parametrize("name", [name for name in TRIPS if "joblib" not in name])  # it copies a shared array twice
def test_an_optimizer_of_some_parameters_stays_with_its_model(name, tmp_path):
    model = new_model()
    optimizer = AdamW(trainable(model.params, ["wte", "h.0"]), lr=0.05)
    model_2, optimizer_2 = TRIPS[name]((model, optimizer), tmp_path)
    left = set(optimizer.params)
    for some_model, some_optimizer in (model, optimizer), (model_2, optimizer_2):
        grads = flatten(some_model.loss_and_grads(IDS, TARGETS)[1])
        some_optimizer.step({name: grads[name] for name in left})
    assert_same_bits(model_2, model)
    assert not np.array_equal(model_2.params["ln_f"]["weight"], new_model().params["ln_f"]["weight"])


def test_a_device_and_a_head_take_a_model_that_travelled(trip):
    model = new_model()
    other = trip(model).to("numpy")
    assert_same_bits(other.with_head(2), model.with_head(2))
    assert flat_view(flatten(other.with_head(2).params))[1]


def _train_elsewhere(model, optimizer, results):
    train(model, optimizer, 2)
    results.put((model, optimizer, model.loss_and_grads(IDS, TARGETS)[1]))


def test_a_spawned_process_trains_and_sends_back():
    model = new_model()
    optimizer = AdamW(model.params, lr=0.05)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_train_elsewhere, args=(model, optimizer, results))
    process.start()
    model_2, optimizer_2, grads = results.get(timeout=120)
    process.join()
    train(model, optimizer, 2)
    assert_same_bits(model_2, model)
    optimizer_2.step(grads, max_norm=1.0)
    train(model, optimizer, 1)
    assert_same_bits(model_2, model)


# Read-only arrays.


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_read_only_parameters_change_nothing(kind):
    model = new_model()
    optimizer = OPTIMIZERS[kind](model)
    train(model, optimizer, 1)
    before, state = copy.deepcopy(model), copy.deepcopy(vars(optimizer))
    model.params["h"][1]["ln_2"]["bias"].flags.writeable = False
    with pytest.raises(ValueError, match=r"^(AdamW|SGD): h\.1\.ln_2\.bias is read-only"):
        train(model, optimizer, 1)
    assert_same_bits(model, before)
    assert all(np.array_equal(vars(optimizer)[name], state[name]) for name in ("m", "v", "t", "b") if name in state)
    train(copy.deepcopy(model), OPTIMIZERS[kind](copy.deepcopy(model)), 1)  # as the message says


def test_a_model_mapped_for_reading_is_refused_and_its_copy_trains(tmp_path):
    model, reference = dumped("r")(new_model(), tmp_path), new_model()
    assert model.loss(IDS, TARGETS) == reference.loss(IDS, TARGETS)
    with pytest.raises(ValueError, match=r"^AdamW: wte\.weight is read-only.*mode 'c'"):
        train(model, AdamW(model.params), 1)
    with pytest.raises(ValueError, match=r"^LoRA: h\.0\.attn\.c_attn is read-only"):
        LoRA(model, rank=2, alpha=4)
    assert_same_bits(model, reference)
    model = copy.deepcopy(model)
    for each in model, reference:
        train(each, AdamW(each.params), 1)
    assert_same_bits(model, reference)


def test_moments_that_are_read_only_are_refused():
    model = new_model()
    optimizer = AdamW(model.params)
    optimizer.v.flags.writeable = False
    with pytest.raises(ValueError, match=r"^AdamW: its moment v is read-only"):
        train(model, optimizer, 1)
    assert optimizer.t == 0 and not optimizer.m.any()
    assert_same_bits(model, new_model())
