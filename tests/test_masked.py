"""Masked language modelling and the conversion to a causal model (section 3.1)."""

import dataclasses

import numpy as np
import pytest
from assertions import assert_close
from test_training import TEXT, interrupt

from minigpt2 import GPT2, GPT2Config, Tokenizer, flatten, gradient_check
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.data import mask_tokens
from minigpt2.data.batches import MASK
from minigpt2.evaluation import masked_loss
from minigpt2.model import gpt2_backward, gpt2_forward
from minigpt2.run_folder import read_metrics
from minigpt2.settings import TrainingSettings
from minigpt2.training import Trainer

CONFIG = GPT2Config(vocab_size=11, n_positions=8, n_embd=6, n_layer=2, n_head=2, initializer_range=0.5)


def test_tokens_are_masked_as_in_bert():
    """15 % are chosen; of these 80 % become the mask, 10 % a random token, 10 % stay."""
    ids = np.random.default_rng(0).integers(0, 1000, (200, 500))
    inputs, targets = mask_tokens(ids, 1000, np.random.default_rng(1))
    chosen = targets != -100
    assert (targets[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all(), "what is not guessed is shown"
    n = chosen.sum()

    def is_about(count, total, share):  # four standard deviations
        assert abs(count - total * share) < 4 * (total * share * (1 - share)) ** 0.5

    is_about(n, ids.size, 0.15)
    is_about((inputs[chosen] == 1000).sum(), n, 0.8)
    is_about((inputs[chosen] == ids[chosen]).sum(), n, 0.1 + 0.1 / 1000)
    others = inputs[chosen & (inputs != 1000) & (inputs != ids)]
    is_about(len(others), n, 0.1 * 999 / 1000)
    assert others.min() < 10 and others.max() > 989 and others.max() < 1000


def test_at_least_one_token_is_chosen_and_the_seed_decides():
    for seed in range(30):
        _, targets = mask_tokens(np.zeros((1, 1), int), 5, np.random.default_rng(seed))
        assert targets.tolist() == [[0]]
    ids = np.arange(100)[None].astype(np.uint16)
    first, second, other = (mask_tokens(ids, 100, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first[0] == second[0]).all() and (first[1] == second[1]).all() and (first[1] != other[1]).any()
    assert ids.tolist() == [list(range(100))]


def test_gradients_of_the_masked_loss_are_the_differences():
    model = GPT2(CONFIG, seed=1, dtype="float64")
    ids, targets = mask_tokens(np.random.default_rng(0).integers(0, 10, (2, 7)), 10, np.random.default_rng(3), 0.4)

    def forward(params):
        logits, cache = gpt2_forward(ids, params, CONFIG, causal=False)
        loss, loss_cache = cross_entropy_forward(logits, targets)
        return np.asarray(loss), (cache, loss_cache)

    def backward(dloss, caches):
        return gpt2_backward(cross_entropy_backward(float(dloss), caches[1]), caches[0])[1]

    report = gradient_check(forward, backward, {"params": model.params})
    assert report, report
    loss, grads = model.loss_and_grads(ids, targets, causal=False)
    assert loss == float(forward(model.params)[0])
    assert_close(grads, backward(1.0, forward(model.params)[1]), 1e-14)


def test_masked_loss_is_the_mean_over_hidden_tokens():
    model, T = GPT2(CONFIG, seed=1, dtype="float64"), CONFIG.n_positions
    ids = np.random.default_rng(0).integers(0, 10, 3 * T + 2)
    rng, losses = np.random.default_rng(5), []
    inputs, targets = mask_tokens(ids[: 3 * T].reshape(3, T), 10, rng)
    for row, wanted in zip(inputs, targets, strict=True):
        logits, _ = model.forward(row[None], causal=False)
        log_p = logits[0] - np.log(np.exp(logits[0]).sum(-1, keepdims=True))
        losses += [-log_p[t, wanted[t]] for t in range(T) if wanted[t] != -100]
    assert masked_loss(model, ids, 10, seed=5) == pytest.approx(np.mean(losses), rel=1e-12)
    with pytest.raises(ValueError, match="no tokens"):
        masked_loss(model, [], 10)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "bottles.txt").write_text(TEXT)
    return TrainingSettings(
        data=(str(tmp_path / "bottles.txt"),), objective="mlm", vocab_size=290, n_layer=1, n_head=2, n_embd=16,
        block_size=16, batch_size=8, steps=60, warmup_steps=2, eval_every=20, lr=1e-2, dropout=0.0,
    )  # fmt: skip


@pytest.mark.slow
def test_a_masked_model_learns_and_is_converted(settings, tmp_path):
    run = Trainer(settings, tmp_path / "mlm")
    assert run.tokenizer.vocab[MASK] == len(run.tokenizer) - 1 and run.tokenizer.eos_id == len(run.tokenizer) - 2
    best = run.run()
    assert best < 0.75 * np.log(len(run.tokenizer)), "it guesses better than at random"
    losses = [line for line in read_metrics(tmp_path / "mlm") if "val_loss" in line]
    assert best == min(line["val_loss"] for line in losses) and "val_loss_per_character" not in losses[0]

    converted = dataclasses.replace(settings, objective="causal", init_from=str(tmp_path / "mlm"), head_layers=4)
    second = Trainer(converted, tmp_path / "causal")
    kept, new = flatten(GPT2.from_pretrained(tmp_path / "mlm").params), flatten(second.model.params)
    assert all((new[name] == parameter).all() for name, parameter in kept.items())
    assert second.model.config.head_layers == 4 and second.unit == "nats per character"
    second.run()
    before, after = second.changes()[0][1:]
    assert after < before
    assert GPT2.from_pretrained(tmp_path / "causal").config.head_layers == 4
    # Going on from there keeps the head that it has.
    again = dataclasses.replace(converted, init_from=str(tmp_path / "causal"), head_layers=0)
    third = Trainer(again, tmp_path / "third")
    new = Trainer(dataclasses.replace(again, head_layers=4), tmp_path / "new").model.params["head"]
    assert (new[0]["weight"] != third.model.params["head"][0]["weight"]).any(), "four new layers for the four old ones"
    best_params = flatten(GPT2.from_pretrained(tmp_path / "causal").params)
    assert all((parameter == best_params[name]).all() for name, parameter in flatten(third.model.params).items())


def test_masked_training_sees_both_sides_and_causal_training_does_not(settings, tmp_path):
    run = Trainer(settings, tmp_path / "mlm")
    seen = []
    loss_and_grads = run.model.loss_and_grads
    run.model.loss_and_grads = lambda *a, **options: seen.append((a, options)) or loss_and_grads(*a, **options)
    run._train_step()
    (ids, targets), options = seen[0]
    assert options["causal"] is False and (ids == run.tokenizer.vocab[MASK]).any() and (targets == -100).any()


def test_accumulated_batches_weigh_as_many_tokens_as_they_hide(settings, tmp_path):
    """A step of five small batches is the step of all their windows at once, though each hides another number."""
    settings = dataclasses.replace(settings, batch_size=1, block_size=8, grad_accumulation=5)
    run, before, seen, stepped = Trainer(settings, tmp_path / "mlm"), None, [], []
    loss_and_grads, step = run.model.loss_and_grads, run.optimizer.step
    run.model.loss_and_grads = lambda *a, **options: seen.append(a) or loss_and_grads(*a, **options)
    run.optimizer.step = lambda grads, max_norm: stepped.append(flatten(grads)) or step(grads, max_norm)
    before = GPT2(run.model.config)
    for name, parameter in flatten(before.params).items():
        parameter[...] = flatten(run.model.params)[name]
    loss, _ = run._train_step()
    ids, targets = (np.concatenate(arrays) for arrays in zip(*seen, strict=True))
    hidden = [(one != -100).sum() for _, one in seen]
    assert len(seen) == 5 and len(set(hidden)) > 1, "else every weighting would be right"
    expected_loss, expected = before.loss_and_grads(ids, targets, causal=False)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_close(stepped[0], flatten(expected), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [5, 30])
def test_a_resumed_masked_run_ends_in_the_same_bits(settings, tmp_path, stop):
    whole = Trainer(settings, tmp_path / "whole")
    whole.run()
    interrupt(Trainer(settings, tmp_path / "cut"), stop)
    assert Trainer.resume(tmp_path / "cut").run() == whole.best_loss
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_the_tokenizer_of_a_masked_run_can_be_used_again(settings, tmp_path):
    Trainer(settings, tmp_path / "mlm")
    scratch = dataclasses.replace(settings, objective="causal", tokenizer=str(tmp_path / "mlm"))
    run = Trainer(scratch, tmp_path / "causal")
    assert run.tokenizer.vocab == Tokenizer.from_pretrained(tmp_path / "mlm").vocab
