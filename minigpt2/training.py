"""Training: random windows, accumulated gradients, AdamW, and a run folder that can be resumed.

A run folder holds
    settings.json       what was asked for
    metrics.jsonl       a line per logged step and per evaluation
    loss.png            the same as a picture (needs matplotlib)
    model.safetensors, config.json and the tokenizer's files: the best model so far, in Hugging Face's layout
    checkpoint-000500/  everything that is needed to go on from step 500
"""

import dataclasses
import json
import math
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.checkpoint import read_tensors, write_tensors
from minigpt2.components.optimizer import AdamW, learning_rate
from minigpt2.data import load_text, random_windows, split
from minigpt2.evaluation import evaluate
from minigpt2.files import atomic_write, read_json, sync_folder, write_json
from minigpt2.model import GPT2, GPT2Config
from minigpt2.parameters import flatten
from minigpt2.tokenizer import Tokenizer


def _setting(default, meaning):
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides how a run ends; the command line's flags are made from these fields.

    raises: ValueError when a number or name is out of its range.
    """

    data: tuple[str, ...] = _setting(("shakespeare",), "text files, or 'shakespeare' for a download")
    tokenizer: str = _setting("bpe", "'bpe', trained on the training split, or 'char', one token a character")
    vocab_size: int = _setting(1024, "tokens in the bpe vocabulary")
    n_layer: int = _setting(4, "blocks")
    n_head: int = _setting(4, "attention heads, a divisor of n_embd")
    n_embd: int = _setting(256, "channels")
    block_size: int = _setting(256, "tokens in a window, and n_positions of the model")
    batch_size: int = _setting(12, "windows at a time")
    grad_accumulation: int = _setting(1, "batches whose gradients are averaged for one step")
    steps: int = _setting(4000, "optimizer steps")
    lr: float = _setting(1e-3, "highest learning rate, reached after the warm-up")
    min_lr: float = _setting(1e-4, "learning rate of the last step")
    warmup_steps: int = _setting(100, "steps of linear warm-up")
    beta1: float = _setting(0.9, "AdamW: decay rate of the first moment")
    beta2: float = _setting(0.99, "AdamW: decay rate of the second moment")
    weight_decay: float = _setting(0.1, "AdamW: share of a weight, times lr, taken off in each step")
    max_norm: float = _setting(1.0, "length to which the gradient is clipped")
    dropout: float = _setting(0.3, "probability of dropping an activation, in all three places")
    eval_every: int = _setting(250, "steps between evaluations, each followed by a checkpoint")
    seed: int = _setting(1337, "of the weights, the windows and the dropout")

    def __post_init__(self):
        if self.tokenizer not in ("bpe", "char"):
            raise ValueError(f"training: tokenizer must be 'bpe' or 'char', got {self.tokenizer!r}")
        for name in ("block_size", "batch_size", "grad_accumulation", "steps", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"training: {name} must be at least 1, got {getattr(self, name)}")
        if not self.max_norm > 0:
            raise ValueError(f"training: max_norm must be above 0, got {self.max_norm}")


PRESETS = {
    # The model that ships with the package.
    "shakespeare": TrainingSettings(),
    # nanoGPT's setting for a CPU, README.md and config/train_shakespeare_char.py; it reports a loss of 1.88.
    "nanogpt-cpu": TrainingSettings(
        tokenizer="char", n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12, steps=2000, dropout=0.0
    ),
}


class Trainer:
    """One run: model, optimizer, data and random state, all of which a checkpoint restores."""

    def __init__(self, settings, folder):
        """A new run in ``folder``, which must not hold one already.

        raises: FileExistsError when it does; ValueError when the data do not fit the settings.
        """
        self.settings, self.folder = settings, Path(folder)
        if (self.folder / "settings.json").exists():
            raise FileExistsError(f"{folder} already holds a run: go on with --resume {folder} or choose another --out")
        train_text, self.validation_text = split(load_text(settings.data))
        if settings.tokenizer == "char":  # characters are counted on all of the text, as nanoGPT does
            self.tokenizer = CharTokenizer.train(train_text + self.validation_text)
        else:
            self.tokenizer = Tokenizer.train(train_text, settings.vocab_size)
        self._encode(train_text)
        self.model = GPT2(self._config(), seed=settings.seed)
        self._start()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(self.folder)
        write_json(self.folder / "settings.json", dataclasses.asdict(settings))

    @classmethod
    def resume(cls, folder):
        """The run in ``folder`` at its latest checkpoint.

        raises: FileNotFoundError when there is none.
        """
        folder = Path(folder)
        if not (folder / "settings.json").exists():
            raise FileNotFoundError(f"{folder} holds no run (settings.json is missing)")
        run = cls.__new__(cls)
        run.folder = folder
        values = read_json(folder / "settings.json")
        run.settings = TrainingSettings(**values | {"data": tuple(values["data"])})
        run.tokenizer = Tokenizer.from_pretrained(folder)
        train_text, run.validation_text = split(load_text(run.settings.data))
        run._encode(train_text)
        checkpoints = sorted(folder.glob("checkpoint-*"))
        run.model = GPT2.from_pretrained(checkpoints[-1]) if checkpoints else GPT2(run._config(), run.settings.seed)
        run._start()
        if checkpoints:
            run._restore(checkpoints[-1])
        return run

    def run(self):
        """Train to the last step; returns the best validation loss per character, in nats."""
        settings = self.settings
        self._trim_metrics()
        tokens_per_step = settings.batch_size * settings.grad_accumulation * settings.block_size
        with tqdm(total=settings.steps, initial=self.step, unit="step", disable=None) as bar:
            while self.step < settings.steps:
                loss, norm = self._train_step()
                self.step += 1
                rate = bar.format_dict["rate"] or 0
                bar.set_postfix_str(f"loss {loss:.3f}, {rate * tokens_per_step:,.0f} tokens/s")
                bar.update()
                if self.step % 10 == 0 or self.step == 1:
                    self._log(step=self.step, loss=loss, lr=self.optimizer.lr, norm=norm)
                if self.step % settings.eval_every == 0 or self.step == settings.steps:
                    self._evaluate()
                    self._save_checkpoint()
        return self.best_loss

    def _train_step(self):
        """One optimizer step; returns the mean loss in nats per token and the gradient's norm before clipping."""
        settings = self.settings
        self.optimizer.lr = learning_rate(
            self.step, settings.lr, settings.min_lr, settings.warmup_steps, settings.steps
        )
        total, grads = 0.0, None
        for _ in range(settings.grad_accumulation):
            ids, targets = random_windows(self.train_ids, settings.batch_size, settings.block_size, self.rng)
            loss, new = self.model.loss_and_grads(ids, targets, rng=self.rng)
            total += loss / settings.grad_accumulation
            grads = new if grads is None else _add(grads, new)
        if settings.grad_accumulation > 1:
            for gradient in flatten(grads).values():
                gradient *= 1.0 / settings.grad_accumulation
        return total, self.optimizer.step(grads, max_norm=settings.max_norm)

    def _evaluate(self):
        """The loss on all of the validation split; the best model so far is kept in the run folder."""
        result = evaluate(self.model, self.tokenizer, self.validation_text, progress=True)
        self._log(step=self.step, val_loss=result.loss, val_loss_per_character=result.loss_per_character)
        tqdm.write(
            f"step {self.step}: validation loss {result.loss:.4f} nats per token, "
            f"{result.loss_per_character:.4f} per character",
            file=sys.stderr,
        )
        if result.loss_per_character < self.best_loss:
            self.best_loss = result.loss_per_character
            self.model.save_pretrained(self.folder)
        plot_metrics(self.folder)

    def _save_checkpoint(self):
        """Write everything that is needed to go on, under a temporary name first; then drop the one before."""
        target = self.folder / f"checkpoint-{self.step:06d}"
        temporary = self.folder / f".{target.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        self.model.save_pretrained(temporary)
        state = {
            "step": self.step, "best_loss": self.best_loss, "rng": self.rng.bit_generator.state, "t": self.optimizer.t,
        }  # fmt: skip
        write_tensors(
            temporary / "training_state.safetensors",
            {"m": self.optimizer.m, "v": self.optimizer.v},
            {"state": json.dumps(state)},
        )
        os.replace(temporary, target)
        sync_folder(self.folder)
        for old in self.folder.glob("checkpoint-*"):
            if old != target:
                shutil.rmtree(old)

    def _restore(self, checkpoint):
        tensors, metadata = read_tensors(checkpoint / "training_state.safetensors")
        state = json.loads(metadata["state"])
        self.optimizer.m[...], self.optimizer.v[...] = tensors["m"], tensors["v"]
        self.optimizer.t, self.step, self.best_loss = state["t"], state["step"], state["best_loss"]
        self.rng.bit_generator.state = state["rng"]

    def _encode(self, train_text):
        self.train_ids = np.asarray(self.tokenizer.encode(train_text), dtype=np.int32)
        random_windows(self.train_ids, 1, self.settings.block_size, np.random.default_rng())  # is it long enough?
        if len(self.tokenizer.encode(self.validation_text)) < 2:
            raise ValueError("training: the text is too short to keep a tenth of it for validation")

    def _config(self):
        settings, eos = self.settings, self.tokenizer.eos_id
        return GPT2Config(
            vocab_size=len(self.tokenizer), n_positions=settings.block_size, n_embd=settings.n_embd,
            n_layer=settings.n_layer, n_head=settings.n_head, embd_pdrop=settings.dropout,
            attn_pdrop=settings.dropout, resid_pdrop=settings.dropout, bos_token_id=eos, eos_token_id=eos,
        )  # fmt: skip

    def _start(self):
        settings = self.settings
        self.optimizer = AdamW(
            self.model.params, settings.lr, (settings.beta1, settings.beta2), weight_decay=settings.weight_decay
        )
        self.rng = np.random.default_rng(settings.seed)
        self.step, self.best_loss = 0, math.inf

    def _log(self, **values):
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def _trim_metrics(self):
        """Forget what was logged after the checkpoint from which the run goes on."""
        lines = [line for line in read_metrics(self.folder) if line["step"] <= self.step]
        with atomic_write(self.folder / "metrics.jsonl", "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def read_metrics(folder):
    """The lines of a run's metrics.jsonl as dicts; a last line that was cut off is passed over."""
    path = Path(folder) / "metrics.jsonl"
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def plot_metrics(folder):
    """Draw a run's losses into loss.png; returns its path, or None when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    metrics = read_metrics(folder)
    training = [(line["step"], line["loss"]) for line in metrics if "loss" in line]
    validation = [(line["step"], line["val_loss"]) for line in metrics if "val_loss" in line]
    figure = Figure(figsize=(7, 4), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*training, strict=True), color="0.7", linewidth=0.8, label="training (one batch)")
    axes.plot(*zip(*validation, strict=True), color="#0b559f", marker="o", markersize=3, label="validation (all of it)")
    best = min(validation, key=lambda point: point[1])
    axes.annotate(
        f"best {best[1]:.3f} at step {best[0]}", best, xytext=(0, 12), textcoords="offset points", ha="right"
    )
    axes.set(xlabel="optimizer steps", ylabel="loss in nats per token", title="Training and validation loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path = Path(folder) / "loss.png"
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    return path


def _add(grads, more):
    for total, gradient in zip(flatten(grads).values(), flatten(more).values(), strict=True):
        total += gradient
    return grads
