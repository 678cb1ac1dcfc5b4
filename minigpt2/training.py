"""Training: random windows, accumulated gradients, AdamW, and a run folder that can be resumed.

From scratch or from a trained model, to predict the next token or masked ones, on one corpus or a mixture.

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

from minigpt2 import hub
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.checkpoint import read_config, read_tensors, write_tensors
from minigpt2.components.optimizer import AdamW, learning_rate
from minigpt2.data import mask_tokens
from minigpt2.evaluation import masked_loss, total_nats
from minigpt2.files import atomic_write, read_json, sync_folder, write_json
from minigpt2.fine_tuning import LoRA, trainable
from minigpt2.mixture import Mixture, read_corpora
from minigpt2.model import GPT2, GPT2Config
from minigpt2.parameters import flatten
from minigpt2.tokenizer import END_OF_TEXT, Tokenizer

MASK = "<|mask|>"  # the special token of masked language modelling


def _setting(default, meaning):
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides how a run ends; the command line's flags are made from these fields.

    raises: ValueError when a number or name is out of its range.
    """

    data: tuple[str, ...] = _setting(
        ("shakespeare",), "corpora: text, .jsonl or .tokens files, or 'shakespeare' for a download; FILE:0.7 gives a "
        "weight in the mixture, FILE:0 only evaluates"
    )  # fmt: skip
    objective: str = _setting("causal", "'causal', predict the next token, or 'mlm', guess masked ones as BERT does")
    init_from: str = _setting("", "a trained model to begin with, a run or a name; it brings its sizes and tokenizer")
    head_layers: int = _setting(0, "with init_from: so many new layers in place of the output layer; 0: keep it")
    freeze: tuple[str, ...] = _setting((), "parts that are not trained: wte, wpe, h.0, h.1.attn, ln_f, ...")
    lora_rank: int = _setting(0, "train only adapters of this rank beside attention's weights; 0: no adapters")
    lora_alpha: float = _setting(16.0, "scale of the adapters, alpha / rank")
    patience: int = _setting(0, "stop after so many evaluations without a lower loss; 0: never")
    tokenizer: str = _setting(
        "bpe", "'bpe', trained on the training split; 'char', one token a character; or a folder, or a model's name"
    )
    vocab_size: int = _setting(1024, "tokens in the bpe vocabulary")
    n_layer: int = _setting(4, "blocks")
    n_head: int = _setting(4, "attention heads, a divisor of n_embd")
    n_embd: int = _setting(256, "channels")
    block_size: int = _setting(256, "tokens in a window: n_positions of a new model, at most those of a trained one")
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
        if self.objective not in ("causal", "mlm"):
            raise ValueError(f"training: objective must be 'causal' or 'mlm', got {self.objective!r}")
        for name in ("block_size", "batch_size", "grad_accumulation", "steps", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"training: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("head_layers", "lora_rank", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"training: {name} must be at least 0, got {getattr(self, name)}")
        if not self.max_norm > 0:
            raise ValueError(f"training: max_norm must be above 0, got {self.max_norm}")
        if self.seed < 0:
            raise ValueError(f"training: seed must be at least 0, got {self.seed}")
        if not 0 < self.lora_alpha < math.inf:
            raise ValueError(f"training: lora_alpha must be above 0 and finite, got {self.lora_alpha}")
        if self.head_layers and not self.init_from:
            raise ValueError("training: head_layers replaces the output layer of a trained model; give init_from")
        if self.lora_rank and (self.freeze or self.head_layers):
            raise ValueError("training: lora_rank trains the adapters and nothing else; give no freeze or head_layers")


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
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"{folder} is a file: choose another --out, a folder for the run")
        if (self.folder / "settings.json").exists():
            raise FileExistsError(f"{folder} already holds a run: go on with --resume {folder} or choose another --out")
        sources = read_corpora(settings.data)
        if settings.init_from:
            config = GPT2Config.from_dict(read_config(hub.locate(settings.init_from)))
            settings = _with_sizes_of(config, settings)
        self.settings, self.tokenizer = settings, _tokenizer(settings, sources)
        self.mixture = Mixture(sources, self.tokenizer, settings.block_size)
        self.model = self._first_model()
        self._start()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(self.folder)
        write_json(self.folder / "settings.json", dataclasses.asdict(settings))

    @classmethod
    def resume(cls, folder):
        """The run in ``folder`` at its latest checkpoint; before the first one it begins anew.

        raises: FileNotFoundError when there is none.
        """
        folder = Path(folder)
        if not (folder / "settings.json").exists():
            raise FileNotFoundError(f"{folder} holds no run (settings.json is missing)")
        values = read_json(folder / "settings.json")
        if unknown := values.keys() - {field.name for field in dataclasses.fields(TrainingSettings)}:
            raise ValueError(f"{folder / 'settings.json'}: there is no setting {sorted(unknown)[0]!r}")
        settings = TrainingSettings(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        run = cls.__new__(cls)
        run.settings, run.folder, run.tokenizer = settings, folder, Tokenizer.from_pretrained(folder)
        run.mixture = Mixture(read_corpora(settings.data), run.tokenizer, settings.block_size)
        checkpoints = sorted(folder.glob("checkpoint-*"))
        run.model = GPT2.from_pretrained(checkpoints[-1]) if checkpoints else run._first_model()
        run._start()
        if checkpoints:
            run._restore(checkpoints[-1])
        return run

    def run(self):
        """Train to the last step, or until patience is at an end.

        returns the lowest validation loss: in nats per character, or with masks per hidden token.
        """
        settings = self.settings
        self._trim_metrics()
        if settings.init_from and not self.step:
            self._evaluate()  # what the model knew before
        tokens_per_step = settings.batch_size * settings.grad_accumulation * settings.block_size
        with tqdm(total=settings.steps, initial=self.step, unit="step", disable=None) as bar:
            while self.step < settings.steps and not (settings.patience and self.stale >= settings.patience):
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

    def changes(self):
        """(corpus, its loss before the first step or at the first evaluation, its loss in the best model) of each.

        Losses as ``run`` returns them. A corpus of weight 0 that got worse is what was forgotten.
        """
        lines = [line for line in read_metrics(self.folder) if "val_loss" in line]
        first, best = lines[0], min(lines, key=self._criterion)
        return [(name, first["corpora"][name], best["corpora"][name]) for name in first["corpora"]]

    @property
    def unit(self):
        """What the validation loss is measured in."""
        return "nats per hidden token" if self.settings.objective == "mlm" else "nats per character"

    def _train_step(self):
        """One optimizer step; returns the mean loss in nats per token and the gradient's norm before clipping."""
        settings = self.settings
        self.optimizer.lr = learning_rate(
            self.step, settings.lr, settings.min_lr, settings.warmup_steps, settings.steps
        )
        total, grads = 0.0, None
        for _ in range(settings.grad_accumulation):
            ids, targets = self.mixture.windows(settings.batch_size, settings.block_size, self.rng)
            if settings.objective == "mlm":
                ids, targets = mask_tokens(ids, self._mask_id, self.rng)
            loss, new = self.model.loss_and_grads(ids, targets, rng=self.rng, causal=settings.objective == "causal")
            total += loss / settings.grad_accumulation
            grads = new if grads is None else _add(grads, new)
        if settings.grad_accumulation > 1:
            for gradient in flatten(grads).values():
                gradient *= 1.0 / settings.grad_accumulation
        if self.lora:
            norm = self.optimizer.step(self.lora.grads(grads), max_norm=settings.max_norm)
            self.lora.merge()
            return total, norm
        if settings.freeze:
            grads = {name: gradient for name, gradient in flatten(grads).items() if name in self.optimizer.params}
        return total, self.optimizer.step(grads, max_norm=settings.max_norm)

    def _evaluate(self):
        """The loss on the validation split of each corpus; the best model so far is kept in the run folder."""
        settings, per_token, losses = self.settings, {}, {}
        for corpus in self.mixture.corpora:
            if settings.objective == "mlm":
                loss = masked_loss(self.model, corpus.validation_ids, self._mask_id, settings.seed, progress=True)
                per_token[corpus.name] = losses[corpus.name] = loss
                continue
            nats = total_nats(self.model, corpus.validation_ids, progress=True)
            per_token[corpus.name] = nats / (len(corpus.validation_ids) - 1)
            losses[corpus.name] = nats / corpus.validation_characters
        line = {"step": self.step, "val_loss": self.mixture.mean(per_token)}
        if settings.objective == "causal":
            line["val_loss_per_character"] = self.mixture.mean(losses)
        self._log(**line, corpora=losses)
        tqdm.write(
            f"step {self.step}: validation loss {line['val_loss']:.4f} nats per "
            + (f"token, {self._criterion(line):.4f} per character" if len(line) > 2 else "hidden token")
            + "".join(f"; {name} {loss:.4f}" for name, loss in losses.items() if len(losses) > 1),
            file=sys.stderr,
        )
        self.stale += 1
        if self._criterion(line) < self.best_loss:
            self.best_loss, self.stale = self._criterion(line), 0
            self.model.save_pretrained(self.folder)
        plot_metrics(self.folder)

    @staticmethod
    def _criterion(line):
        """What decides which model is the best: the loss per character, which does not depend on the vocabulary."""
        return line.get("val_loss_per_character", line["val_loss"])

    def _save_checkpoint(self):
        """Write everything that is needed to go on, under a temporary name first; then drop the one before."""
        target = self.folder / f"checkpoint-{self.step:06d}"
        temporary = self.folder / f".{target.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        self.model.save_pretrained(temporary)
        state = {
            "step": self.step, "best_loss": self.best_loss, "stale": self.stale, "t": self.optimizer.t,
            "rng": self.rng.bit_generator.state,
        }  # fmt: skip
        adapters = self.lora.state() if self.lora else {}
        write_tensors(
            temporary / "training_state.safetensors",
            {"m": self.optimizer.m, "v": self.optimizer.v} | adapters,
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
        if self.lora:
            self.lora.restore(tensors)
        self.optimizer.m[...], self.optimizer.v[...] = tensors["m"], tensors["v"]
        self.optimizer.t, self.step, self.best_loss = state["t"], state["step"], state["best_loss"]
        self.stale = state.get("stale", 0)  # which runs of an earlier version do not have
        self.rng.bit_generator.state = state["rng"]

    def _first_model(self):
        """The model before the first step."""
        settings, eos = self.settings, self.tokenizer.eos_id
        dropout = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), settings.dropout)
        if not settings.init_from:
            config = GPT2Config(
                vocab_size=len(self.tokenizer), n_positions=settings.block_size, n_embd=settings.n_embd,
                n_layer=settings.n_layer, n_head=settings.n_head, bos_token_id=eos, eos_token_id=eos, **dropout,
            )  # fmt: skip
            return GPT2(config, settings.seed)
        model = GPT2.from_pretrained(settings.init_from)
        model.config = dataclasses.replace(model.config, **dropout)
        return model.with_head(settings.head_layers, settings.seed) if settings.head_layers else model

    def _start(self):
        settings = self.settings
        if settings.objective == "mlm":
            self._mask_id = _mask_id(self.tokenizer)
        self.lora, params = None, self.model.params
        if settings.lora_rank:
            self.lora = LoRA(self.model, settings.lora_rank, settings.lora_alpha, settings.seed)
            params = self.lora.params
        elif settings.freeze:
            params = trainable(params, settings.freeze)
        self.optimizer = AdamW(
            params, settings.lr, (settings.beta1, settings.beta2), weight_decay=settings.weight_decay
        )
        self.rng = np.random.default_rng(settings.seed)
        self.step, self.best_loss, self.stale = 0, math.inf, 0

    def _log(self, **values):
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False) + "\n")

    def _trim_metrics(self):
        """Forget what was logged after the checkpoint from which the run goes on."""
        lines = [line for line in read_metrics(self.folder) if line["step"] <= self.step and self.step]
        with atomic_write(self.folder / "metrics.jsonl", "w") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _tokenizer(settings, sources):
    """A new tokenizer, one for all languages of the corpora, or one that is there already."""
    if settings.tokenizer not in ("bpe", "char"):
        return Tokenizer.from_pretrained(settings.tokenizer)
    if settings.tokenizer == "char":  # characters are counted on all of the text, as nanoGPT does
        return CharTokenizer.train([text for source in sources for text in source.texts()])
    texts = [text for source in sources if source.weight != 0 for text in source.train_texts()]
    special = (END_OF_TEXT, MASK) if settings.objective == "mlm" else (END_OF_TEXT,)
    return Tokenizer.train(texts, settings.vocab_size, special)


def _mask_id(tokenizer):
    """The id of <|mask|>. Random tokens are drawn from those with lower ids: as it is made last, from all others."""
    if MASK not in getattr(tokenizer, "special_tokens", ()):
        raise ValueError(f"training: objective 'mlm' needs a tokenizer with the token {MASK}, such as a new 'bpe'")
    return tokenizer.vocab[MASK]


def _with_sizes_of(config, settings):
    """The settings with a trained model's sizes in the place of those of a new one."""
    return dataclasses.replace(
        settings, n_layer=config.n_layer, n_head=config.n_head, n_embd=config.n_embd, vocab_size=config.vocab_size,
        block_size=min(settings.block_size, config.n_positions), tokenizer=settings.init_from,
    )  # fmt: skip


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
    corpora = [(line["step"], line["corpora"]) for line in metrics if "corpora" in line]
    several = bool(corpora) and len(corpora[0][1]) > 1
    figure = Figure(figsize=(12 if several else 7, 4), dpi=100, layout="constrained")
    axes, *rest = np.atleast_1d(figure.subplots(1, 2 if several else 1))
    axes.plot(*zip(*training, strict=True), color="0.7", linewidth=0.8, label="training (one batch)")
    axes.plot(*zip(*validation, strict=True), color="#0b559f", marker="o", markersize=3, label="validation (all of it)")
    best = min(validation, key=lambda point: point[1])
    axes.annotate(
        f"best {best[1]:.3f} at step {best[0]}", best, xytext=(0, 12), textcoords="offset points", ha="right"
    )
    axes.set(xlabel="optimizer steps", ylabel="loss in nats per token", title="Training and validation loss")
    for its_axes in rest:
        for name in corpora[0][1]:
            losses = [(step, losses[name]) for step, losses in corpora]
            its_axes.plot(*zip(*losses, strict=True), marker="o", markersize=3, label=Path(name).name)
        its_axes.set(
            xlabel="optimizer steps", ylabel="nats per character (or hidden token)", title="Validation loss by corpus"
        )
    for each in (axes, *rest):
        each.spines[["top", "right"]].set_visible(False)
        each.legend(frameon=False)
    path = Path(folder) / "loss.png"
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    return path


def _add(grads, more):
    for total, gradient in zip(flatten(grads).values(), flatten(more).values(), strict=True):
        total += gradient
    return grads
