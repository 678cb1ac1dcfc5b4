"""Training runs: they learn, they leave what they promise, and they can be resumed."""

import dataclasses
import json

import numpy as np
import pytest

from minigpt2 import GPT2, Tokenizer, flatten
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.run_folder import read_metrics
from minigpt2.settings import RUNS, TrainingSettings
from minigpt2.storage.files import write_json
from minigpt2.training import Trainer

TEXT = "".join(f"{n} little green bottles hanging on the wall, {n} little\n" for n in range(60))


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "bottles.txt"
    path.write_bytes(TEXT.encode())
    return TrainingSettings(
        data=(str(path),), tokenizer="char", n_layer=1, n_head=2, n_embd=16, block_size=16, batch_size=4,
        steps=12, warmup_steps=2, eval_every=4, lr=1e-2, dropout=0.1,
    )  # fmt: skip


def parameters(run):
    return {name: parameter.copy() for name, parameter in flatten(run.model.params).items()}


def test_a_run_learns_and_leaves_what_it_promises(settings, tmp_path):
    folder = tmp_path / "run"
    best = Trainer(dataclasses.replace(settings, steps=60, eval_every=20), folder).run()
    metrics = read_metrics(folder)
    validation = [line["val_loss_per_character"] for line in metrics if "val_loss" in line]
    training = [line["loss"] for line in metrics if "loss" in line]
    assert len(validation) == 3 and best == min(validation)
    # From guessing (log of the number of characters) to well below the entropy of single characters.
    assert training[0] == pytest.approx(np.log(len(set(TEXT))), rel=0.05)
    counts = np.array([TEXT.count(c) for c in set(TEXT)]) / len(TEXT)
    assert best < -(counts * np.log(counts)).sum()
    assert [path.name for path in sorted(folder.glob("*checkpoint*"))] == ["checkpoint-000040", "checkpoint-000060"]
    assert isinstance(Tokenizer.from_pretrained(folder), CharTokenizer)
    assert GPT2.from_pretrained(folder).config.n_positions == 16


def test_bpe_is_trained_on_the_training_split_only(settings, tmp_path):
    run = Trainer(dataclasses.replace(settings, tokenizer="bpe", vocab_size=280), tmp_path / "run")
    train_text = TEXT[: int(0.9 * len(TEXT))]
    assert run.tokenizer.encode("green bottles") == Tokenizer.train(train_text, 280).encode("green bottles")
    assert run.model.config.eos_token_id == run.tokenizer.eos_id == len(run.tokenizer) - 1
    assert run.tokenizer.decode(run.mixture.corpora[0].train_ids) == train_text


def interrupt(run, step):
    """Make a run stop at once, as if by two Ctrl-C, when it begins the step after ``step``."""
    train_step = run._train_step

    def stop():
        if run.step == step:
            raise KeyboardInterrupt
        return train_step()

    run._train_step = stop
    with pytest.raises(KeyboardInterrupt):
        run.run()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 4, 10])
def test_a_resumed_run_ends_in_the_same_bits(settings, tmp_path, stop):
    whole = Trainer(settings, tmp_path / "whole")
    whole.run()
    interrupt(Trainer(settings, tmp_path / "cut"), stop)
    resumed = Trainer.resume(tmp_path / "cut")
    assert resumed.step == stop // 4 * 4  # the latest checkpoint
    assert resumed.run() == whole.best_loss
    for name, parameter in parameters(whole).items():
        assert (parameter == parameters(resumed)[name]).all(), name
    assert (whole.optimizer.m == resumed.optimizer.m).all() and (whole.optimizer.v == resumed.optimizer.v).all()
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_a_checkpoint_that_fails_half_way_leaves_the_one_before(settings, tmp_path, monkeypatch):
    run = Trainer(settings, tmp_path / "run")
    interrupt(run, 5)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minigpt2.run_folder.write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        Trainer.resume(tmp_path / "run").run()
    monkeypatch.undo()
    resumed = Trainer.resume(tmp_path / "run")
    assert resumed.step == 4
    resumed.run()
    left = [path.name for path in sorted((tmp_path / "run").glob("*checkpoint*"))]
    assert left == ["checkpoint-000008", "checkpoint-000012"]


def test_a_cut_off_metrics_line_is_dropped(settings, tmp_path):
    interrupt(Trainer(settings, tmp_path / "run"), 6)
    with open(tmp_path / "run/metrics.jsonl", "a") as file:
        file.write('{"step": 6, "lo')
    Trainer.resume(tmp_path / "run").run()
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps[-1] == 12


def test_accumulated_batches_make_the_gradient_of_one_large_batch(settings, tmp_path):
    settings = dataclasses.replace(settings, dropout=0.0, grad_accumulation=3)
    run = Trainer(settings, tmp_path / "run")
    seen = []
    step = run.optimizer.step
    run.optimizer.step = lambda grads, max_norm: seen.append(flatten(grads)) or step(grads, max_norm)
    before = run._first_model()
    loss, _ = run._train_step()

    rng = np.random.default_rng(settings.seed)
    train_ids = run.mixture.corpora[0].train_ids
    starts = np.concatenate([rng.integers(0, len(train_ids) - 16, 4) for _ in range(3)])
    windows = train_ids[starts[:, None] + np.arange(17)]
    expected_loss, expected = before.loss_and_grads(windows[:, :-1], windows[:, 1:])
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    for name, gradient in flatten(expected).items():
        # float32 sums in another order; the worst measured is 3e-7 of the largest gradient
        assert np.abs(seen[0][name] - gradient).max() < 2e-6 * np.abs(gradient).max() + 1e-8, name


def test_loss_curve_is_drawn(settings, tmp_path):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib (extra 'notebooks')")
    Trainer(settings, tmp_path / "run").run()
    assert (tmp_path / "run/loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_holds_a_run_is_not_overwritten(settings, tmp_path):
    Trainer(settings, tmp_path / "run")
    with pytest.raises(FileExistsError, match="--resume"):
        Trainer(settings, tmp_path / "run")


WHOLE = [field.name for field in dataclasses.fields(TrainingSettings) if type(field.default) is int]
REAL = [field.name for field in dataclasses.fields(TrainingSettings) if type(field.default) is float]


def test_settings_take_the_numbers_of_numpy():
    ours = TrainingSettings(steps=np.int64(10), lr=np.float64(0.5), seed=np.array(3))
    assert ours == TrainingSettings(steps=10, lr=0.5, seed=3)
    json.dumps(dataclasses.asdict(ours))


def test_bad_settings(settings, tmp_path):
    for change, message in (
        ({"objective": "next"}, "'causal' or 'mlm'"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"lora_alpha": 0.0}, "lora_alpha must be above 0"),
        ({"lora_alpha": float("nan")}, "lora_alpha must be above 0"),
        ({"head_layers": 4}, "give init_from"),
        ({"init_from": "shakespeare", "lora_rank": 4, "freeze": ("wte",)}, "give no freeze"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"max_norm": 0.0}, "max_norm must be above 0"),
        ({"lr": 1e-5}, "min_lr must be at most lr, which is 1e-05, got 0.0001"),
        ({"data": ()}, "data must be given"),
        ({"tokenizer": ""}, "tokenizer must be given"),
        ({"device": "cuda"}, "device must be 'numpy' or 'cupy', got 'cuda'"),
        *(({name: -1}, f"{name} must be (at least|above|in)") for name in (*WHOLE, *REAL)),
        *(({name: 1.0}, rf"{name} must be in \[0, 1\)") for name in ("beta1", "beta2", "dropout")),
        *(({name: 2**31}, f"{name} must be at most 2,147,483,647") for name in WHOLE if name != "seed"),
        *(({name: float(x)}, f"{name} must be") for name in REAL for x in ("nan", "inf", "-inf")),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(settings, **change)
    for change, message in (
        ({"block_size": 5000}, "shorter text|smaller block size"),
        ({"n_head": 3}, "multiple of n_head"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
        ({"tokenizer": "./nowhere"}, "no folder"),
        ({"objective": "mlm"}, r"needs a tokenizer with the token <\|mask\|>"),
        ({"init_from": "shakespeare", "freeze": ("h.9",)}, "no 'h.9'; its parts are wte, wpe, h.0"),
        ({"init_from": "shakespeare", "freeze": ("wte", "wpe", "h", "ln_f")}, "nothing to train"),
        ({"init_from": "shakespeare", "lora_rank": 256}, "rank must be 1 ... 255"),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(dataclasses.replace(settings, **change), tmp_path / "run")
        assert not (tmp_path / "run").exists(), "nothing is written before the settings are known to fit"
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Trainer.resume(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file"):
        Trainer(settings, tmp_path / "file")
    Trainer(settings, tmp_path / "run")
    values = json.loads((tmp_path / "run/settings.json").read_text()) | {"sead": 3}
    (tmp_path / "run/settings.json").write_bytes(json.dumps(values).encode())
    with pytest.raises(ValueError, match=r"settings\.json: there is no setting 'sead'"):
        Trainer.resume(tmp_path / "run")


@pytest.fixture
def no_vocabulary(monkeypatch):
    """Learning a vocabulary, which may take hours, fails."""

    def learn(*_):
        pytest.fail("a vocabulary is learned, though the settings are wrong")

    monkeypatch.setattr("minigpt2.training._learned_tokenizer", learn)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_head": 3}, "multiple of n_head"),
        ({"freeze": ("h.1",)}, r"no 'h\.1'; its parts are wte, wpe, h.0, ln_f"),
        ({"freeze": ("wte", "wpe", "h", "ln_f")}, "nothing to train"),
        ({"lora_rank": 16}, r"rank must be 1 \.\.\. 15"),
        ({"block_size": len(TEXT)}, r"bottles\.txt: at most \d+ tokens are left .*smaller block"),
        ({"tokenizer": "char", "objective": "mlm"}, r"needs a tokenizer with the token <\|mask\|>"),
        ({"data": ("nowhere.txt",)}, "nowhere.txt"),
        ({"init_from": "./nowhere"}, "no folder"),
    ],
)
def test_what_is_wrong_is_found_before_the_vocabulary_is_learned(settings, tmp_path, no_vocabulary, change, message):
    settings = dataclasses.replace(settings, tokenizer="bpe", vocab_size=280)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Trainer(dataclasses.replace(settings, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_vocabulary_is_learned(
    settings, tmp_path, no_vocabulary, monkeypatch
):
    with pytest.raises(OSError, match=r"bottles\.txt is a file\): choose another --out"):
        Trainer(settings, tmp_path / "bottles.txt/runs/run")

    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(OSError, match=rf"written to .*run \({tmp_path}: Permission denied\): choose another"):
        Trainer(settings, tmp_path / "deep/run")
    assert [path.name for path in tmp_path.iterdir()] == ["bottles.txt"]


# Numbers that are not finite.


def strictly(folder):
    """The lines of metrics.jsonl, read by a parser that knows JSON and nothing else."""

    def refuse(constant):
        pytest.fail(f"{constant} is not JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_json_gets_null_for_what_it_cannot_say(tmp_path):
    value = {"loss": np.nan, "rows": [{"perplexity": np.inf}, (1.5, -np.inf)], "name": "nan", "steps": 3, "tied": True}
    write_json(tmp_path / "x.json", value)
    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=lambda constant: pytest.fail(constant))
    expected = {"loss": None, "rows": [{"perplexity": None}, [1.5, None]], "name": "nan", "steps": 3, "tied": True}
    assert found == expected


def test_a_validation_loss_that_is_not_finite_is_told_and_does_not_end_the_run(settings, tmp_path, monkeypatch, capsys):
    losses = iter([np.inf, 500.0, np.nan, 400.0, 300.0])
    monkeypatch.setattr("minigpt2.training.total_nats", lambda *_, **__: next(losses))
    folder = tmp_path / "run"
    run = Trainer(dataclasses.replace(settings, steps=10, eval_every=2), folder)
    best = run.run()
    lines = [line for line in strictly(folder) if "val_loss" in line]
    assert [line["val_loss"] is None for line in lines] == [True, False, True, False, False]
    assert lines[0]["corpora"] == {settings.data[0]: None}
    assert best == lines[-1]["val_loss_per_character"] == run.changes()[0][2] and np.isnan(run.changes()[0][1])
    told = [line for line in capsys.readouterr().err.splitlines() if "not finite" in line]
    assert [line.split(":")[0] for line in told] == ["step 2", "step 6"] and all("lower lr" in line for line in told)


def test_a_run_without_a_finite_loss_ends_without_a_best_model(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("minigpt2.training.total_nats", lambda *_, **__: np.nan)
    folder = tmp_path / "run"
    run = Trainer(dataclasses.replace(settings, patience=2), folder)
    assert run.run() == np.inf and run.step == 8 and not (folder / "config.json").exists()
    assert Trainer.resume(folder).run() == np.inf
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib (extra 'notebooks')")
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_training_loss_that_is_not_finite_is_told_once(settings, tmp_path, capsys):
    run = Trainer(settings, tmp_path / "run")
    loss_and_grads = run.model.loss_and_grads
    run.model.loss_and_grads = lambda *a, **options: (np.inf, loss_and_grads(*a, **options)[1])
    run.run()
    assert [line["loss"] for line in strictly(tmp_path / "run") if "loss" in line] == [None, None]
    assert capsys.readouterr().err.count("training loss is not finite (inf); try a lower lr") == 1


@pytest.mark.parametrize(("lr", "eval_every", "what"), [(1e30, 4, "gradient"), (1e39, 1, "weights")])
def test_a_rate_far_too_high_ends_the_run_with_one_line(settings, tmp_path, lr, eval_every, what, recwarn):
    folder = tmp_path / "run"
    run = Trainer(dataclasses.replace(settings, lr=lr, warmup_steps=0, eval_every=eval_every), folder)
    with pytest.raises(ValueError, match=rf"stopped at step \d: .*{what}.* lower .*; step 0 is saved in") as error:
        run.run()
    assert len(str(error.value)) < 300 and not recwarn.list
    strictly(folder)
    assert Trainer.resume(folder).step == 0


# The picture, and a run that was stopped early.


def test_a_picture_that_cannot_be_replaced_is_a_warning(settings, tmp_path):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib (extra 'notebooks')")
    run = Trainer(settings, tmp_path / "run")
    (tmp_path / "run/loss.png").mkdir()  # no file can take its place
    with pytest.warns(UserWarning, match=r"loss\.png is not up to date: .* is it open elsewhere") as warnings:
        run.run()
    assert run.step == 12 and len(warnings) == 3
    assert not list((tmp_path / "run").glob("*.tmp"))


def test_a_picture_that_cannot_be_drawn_is_a_warning(settings, tmp_path, monkeypatch):
    """Such as where a notebook's MPLBACKEND is inherited, and this environment has no such backend."""

    def refuse(_):
        raise ValueError("'module://matplotlib_inline.backend_inline' is not a valid value for backend")

    monkeypatch.setattr("minigpt2.training.plot_metrics", refuse)
    run = Trainer(settings, tmp_path / "run")
    with pytest.warns(UserWarning, match=r"loss\.png cannot be drawn: 'module.* is not a valid value for backend"):
        run.run()
    assert run.step == 12 and (tmp_path / "run/model.safetensors").exists()


def test_a_run_stopped_before_its_first_evaluation_is_a_model(settings, tmp_path):
    folder = tmp_path / "run"
    settings = dataclasses.replace(settings, eval_every=100)
    run = Trainer(settings, folder)
    interrupt(run, 3)
    run.run_folder.save(run)
    with pytest.warns(UserWarning, match=f"{folder} has no best model yet; checkpoint-000003 is taken"):
        model, tokenizer = GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    assert all((parameter == parameters(run)[name]).all() for name, parameter in flatten(model.params).items())
    assert tokenizer.vocab == run.tokenizer.vocab
    assert Tokenizer.from_pretrained(folder / "checkpoint-000003").vocab == tokenizer.vocab
    with pytest.warns(UserWarning, match="checkpoint-000003 is taken"):
        second = Trainer(dataclasses.replace(settings, init_from=str(folder)), tmp_path / "second")
    assert all((parameter == parameters(run)[name]).all() for name, parameter in parameters(second).items())
    Trainer.resume(folder).run()
    best = flatten(GPT2.from_pretrained(folder).params)  # no warning: now it has one
    assert any((parameter != parameters(run)[name]).any() for name, parameter in best.items())


def test_nanogpt_preset_is_nanogpts_setting():
    preset = RUNS["nanogpt-cpu"]
    assert (preset.n_layer, preset.n_head, preset.n_embd, preset.block_size, preset.batch_size) == (4, 4, 128, 64, 12)
    assert (preset.steps, preset.lr, preset.min_lr, preset.warmup_steps) == (2000, 1e-3, 1e-4, 100)
    assert (preset.beta1, preset.beta2, preset.weight_decay, preset.max_norm) == (0.9, 0.99, 0.1, 1.0)
    assert (preset.dropout, preset.tokenizer) == (0.0, "char")
