"""Fine-tuning (section 3.3): frozen parts, low-rank adapters, early stopping, what is forgotten."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from assertions import assert_close
from test_training import TEXT as GENERAL
from test_training import interrupt

from minigpt2 import GPT2, AdamW, GPT2Config, flatten, gradient_check
from minigpt2.evaluation import evaluate
from minigpt2.fine_tuning import LoRA, trainable
from minigpt2.model import gpt2_backward, gpt2_forward
from minigpt2.run_folder import read_metrics
from minigpt2.settings import TrainingSettings
from minigpt2.training import Trainer

DOMAIN = "".join(f"verse {n}: the moon, the rain, the bamboo and the {n}th cup of wine.\n" for n in range(60))
CONFIG = GPT2Config(vocab_size=11, n_positions=8, n_embd=6, n_layer=2, n_head=2, initializer_range=0.5)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A trained model, and a text of the general corpus and one of the domain."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "general.txt").write_bytes(GENERAL.encode())
    (folder / "domain.txt").write_bytes(DOMAIN.encode())
    settings = TrainingSettings(
        data=(str(folder / "general.txt"),), vocab_size=290, n_layer=2, n_head=2, n_embd=16, block_size=16,
        batch_size=8, steps=60, warmup_steps=2, eval_every=20, lr=1e-2, dropout=0.0,
    )  # fmt: skip
    Trainer(settings, folder / "run").run()
    return folder


@pytest.fixture
def settings(base):
    return TrainingSettings(
        data=(f"{base}/domain.txt:1", f"{base}/general.txt:0"), init_from=str(base / "run"), block_size=256,
        batch_size=8, steps=40, warmup_steps=2, eval_every=10, lr=1e-2, dropout=0.0,
    )  # fmt: skip


def parameters(model):
    return {name: parameter.copy() for name, parameter in flatten(model.params).items()}


# Which parameters change.


def test_frozen_parts_are_left_out():
    params = GPT2(CONFIG).params
    names = set(flatten(params))
    assert set(trainable(params, ())) == names
    left = trainable(params, ("wte", "h.0", "h.1.attn", "ln_f.bias"))
    gone = {n for n in names if n.startswith(("wte.", "h.0.", "h.1.attn.")) or n == "ln_f.bias"}
    assert set(left) == names - gone
    assert all(left[name] is flatten(params)[name] for name in left)
    config = dataclasses.replace(CONFIG, n_layer=11)
    assert "h.10.ln_1.weight" in trainable(GPT2(config).params, ("h.1",)), "h.1 is not h.10"
    with pytest.raises(ValueError, match=r"no 'h\.2'; its parts are wte, wpe, h.0, h.1, ln_f"):
        trainable(params, ("h.2",))
    with pytest.raises(ValueError, match="nothing to train"):
        trainable(params, ("wte", "wpe", "h", "ln_f"))


def test_frozen_parts_do_not_change_and_the_others_do(settings, tmp_path):
    run = Trainer(dataclasses.replace(settings, freeze=("wte", "wpe", "h.0"), steps=5), tmp_path / "run")
    before = parameters(run.model)
    run.run()
    for name, parameter in parameters(run.model).items():
        assert (parameter == before[name]).all() == name.startswith(("wte.", "wpe.", "h.0.")), name


def test_clipping_looks_at_the_trained_parameters_only(settings, tmp_path):
    run = Trainer(dataclasses.replace(settings, freeze=("wte", "wpe", "h")), tmp_path / "run")
    model, rng = GPT2.from_pretrained(settings.init_from), np.random.default_rng(settings.seed)
    ids, targets = run.mixture.windows(8, 16, rng)
    grads = flatten(model.loss_and_grads(ids, targets)[1])
    norm = np.sqrt(sum((grads[f"ln_f.{name}"].astype(float) ** 2).sum() for name in ("weight", "bias")))
    assert run._train_step()[1] == pytest.approx(norm, rel=1e-6)


# Low-rank adapters.


def lora_model(seed=1):
    model = GPT2(CONFIG, seed=seed, dtype="float64")
    lora = LoRA(model, rank=2, alpha=3.0, seed=5)
    rng = np.random.default_rng(0)
    for name, adapter in flatten(lora.params).items():
        if name.endswith(".b"):
            adapter[...] = rng.normal(size=adapter.shape)
    lora.merge()
    return model, lora


def test_adapters_change_nothing_at_first_and_little_is_trained():
    model = GPT2(CONFIG, seed=1, dtype="float64")
    before = parameters(model)
    lora = LoRA(model, rank=2, alpha=3.0)
    assert all((parameter == before[name]).all() for name, parameter in parameters(model).items())
    C = CONFIG.n_embd
    size = sum(adapter.size for adapter in flatten(lora.params).values())
    assert size == CONFIG.n_layer * 2 * (C + 3 * C + C + C)  # rank 2; c_attn (C, 3C) and c_proj (C, C)
    assert {name.rpartition(".")[0] for name in flatten(lora.params)} == {
        f"h.{i}.attn.{target}" for i in range(2) for target in ("c_attn", "c_proj")
    }


def test_gradients_of_the_adapters_are_the_differences():
    """Through the whole model: f(adapters) = logits of the merged model."""
    model, lora = lora_model()
    ids = np.array([[1, 2, 3, 1], [0, 10, 2, 2]])

    def forward(adapters):
        lora.params = adapters
        lora.merge()
        return gpt2_forward(ids, model.params, CONFIG)

    report = gradient_check(
        forward, lambda dlogits, cache: lora.grads(gpt2_backward(dlogits, cache)[1]), {"adapters": lora.params}
    )
    assert report, report


def test_adapters_agree_with_torch_in_the_usual_form():
    """torch computes x W + b + (alpha / r) (x A) B, as LoRA is usually drawn, and never merges."""
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("transformers", reason="needs transformers")
    from transformers import GPT2Config as TheirConfig
    from transformers import GPT2LMHeadModel

    model, lora = lora_model()
    theirs = GPT2LMHeadModel(TheirConfig(**CONFIG.to_dict(), attn_implementation="eager")).double().eval()
    tensors, state = {}, {}
    for name, parameter in flatten(model.params).items():
        frozen = lora.frozen.get(name.removesuffix(".weight"), parameter)
        state[f"transformer.{name}"] = torch.from_numpy(frozen.copy())
    theirs.load_state_dict(state | {"lm_head.weight": state["transformer.wte.weight"]})
    for name, adapter in flatten(lora.params).items():
        tensors[name] = torch.from_numpy(adapter.copy()).requires_grad_()

    def add(name):
        a, b = tensors[f"{name}.a"], tensors[f"{name}.b"]
        return lambda module, inputs, output: output + 3.0 / 2 * (inputs[0] @ a) @ b

    for name in lora.frozen:
        theirs.get_submodule(f"transformer.{name}").register_forward_hook(add(name))
    ids, targets = np.array([[1, 2, 3, 1], [0, 10, 2, 2]]), np.array([[2, 3, -100, 4], [10, 2, 2, 1]])
    logits = theirs(torch.from_numpy(ids)).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten())
    loss.backward()

    ours, grads = model.loss_and_grads(ids, targets)
    assert ours == pytest.approx(loss.item(), rel=1e-12)
    assert_close(flatten(lora.grads(grads)), {name: t.grad.numpy() for name, t in tensors.items()}, 1e-10)


def test_lora_steps_equal_the_formula_and_keep_the_frozen_weights():
    model, lora = lora_model()
    optimizer, frozen = AdamW(lora.params, lr=0.1), {name: w.copy() for name, w in lora.frozen.items()}
    ids, targets = np.array([[1, 2, 3]]), np.array([[2, 3, 4]])
    others = {n: p for n, p in parameters(model).items() if n.removesuffix(".weight") not in frozen}
    first = model.loss(ids, targets)
    for _ in range(20):
        optimizer.step(lora.grads(model.loss_and_grads(ids, targets)[1]))
        lora.merge()
    assert model.loss(ids, targets) < 0.5 * first
    adapters, merged = flatten(lora.params), flatten(model.params)
    for name, weight in frozen.items():
        assert (lora.frozen[name] == weight).all()
        expected = weight + 3.0 / 2 * adapters[f"{name}.a"] @ adapters[f"{name}.b"]
        np.testing.assert_allclose(merged[f"{name}.weight"], expected, rtol=1e-13)
        rank = np.linalg.matrix_rank(merged[f"{name}.weight"] - weight, tol=1e-9)
        assert rank == 2
    assert all((merged[name] == parameter).all() for name, parameter in others.items())


def test_ranks_out_of_range_are_refused():
    for rank in (0, 6):
        with pytest.raises(ValueError, match=r"rank must be 1 \.\.\. 5"):
            LoRA(GPT2(CONFIG), rank, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [5, 15])
def test_a_resumed_lora_run_ends_in_the_same_bits(settings, tmp_path, stop):
    settings = dataclasses.replace(settings, lora_rank=2)
    whole = Trainer(settings, tmp_path / "whole")
    assert whole.optimizer.m.size == 2 * 2 * (16 + 48 + 16 + 16)
    whole.run()
    interrupt(Trainer(settings, tmp_path / "cut"), stop)
    assert Trainer.resume(tmp_path / "cut").run() == whole.best_loss
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    (_, before, after), _ = whole.changes()
    assert after < before


# Two stages, and what they cost.


def test_losses_before_and_after_show_what_is_learned_and_forgotten(settings, base, tmp_path):
    run = Trainer(settings, tmp_path / "run")
    assert run.settings.block_size == 16, "no longer than the model's windows"
    best = run.run()
    (domain, before, after), (general, before_general, after_general) = run.changes()
    assert (domain, general) == (f"{base}/domain.txt", f"{base}/general.txt")
    assert after == best < before, "the domain is learned"
    assert after_general > before_general, "and the general corpus forgotten"
    first = Trainer(dataclasses.replace(settings, steps=1), tmp_path / "again")
    text = GENERAL[len(GENERAL) * 9 // 10 :]
    expected = evaluate(first.model, first.tokenizer, text).loss_per_character
    assert before_general == pytest.approx(expected, rel=1e-12)


def test_training_stops_when_the_loss_no_longer_falls(settings, tmp_path):
    run = Trainer(dataclasses.replace(settings, lr=0.0, min_lr=0.0, weight_decay=0.0, patience=2), tmp_path / "run")
    run.run()
    assert run.step == 20 and run.stale == 2, "the evaluation before the first step was as good as any"
    assert Trainer.resume(tmp_path / "run").run() == run.best_loss
    steps = [line["step"] for line in read_metrics(tmp_path / "run") if "val_loss" in line]
    assert steps == [0, 10, 20]


def test_a_run_goes_on_while_the_loss_falls(settings, tmp_path):
    run = Trainer(dataclasses.replace(settings, patience=1), tmp_path / "run")
    run.run()
    losses = [line["val_loss"] for line in read_metrics(tmp_path / "run") if "val_loss" in line]
    falls = [b < a for a, b in pairwise(losses)]
    assert all(falls[:-1]) and (run.step == 40 or not falls[-1])
