"""Training: random windows, accumulated gradients, AdamW, evaluations, and a run that can be resumed.

From scratch or from a trained model, to predict the next token or masked ones, on one corpus or a mixture. The
files on the disk are the subject of ``run_folder``.
"""

import dataclasses
import math
import os
import signal
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from minigpt2.backend import module_of
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.components.optimizer import AdamW, learning_rate
from minigpt2.config import GPT2Config
from minigpt2.data.batches import MASK, mask_tokens
from minigpt2.data.mixture import Mixture, read_corpora
from minigpt2.data.token_file import vocabulary_hash
from minigpt2.evaluation import masked_loss, total_nats
from minigpt2.fine_tuning import LoRA, trainable
from minigpt2.loss_curve import plot_metrics
from minigpt2.model import GPT2
from minigpt2.parameters import flatten
from minigpt2.progress import progress_bar, write_line
from minigpt2.run_folder import RunFolder, newest_whole, read_metrics
from minigpt2.storage import hub
from minigpt2.tokenizer import Tokenizer
from minigpt2.vocabulary import END_OF_TEXT


class Trainer:
    """One run: model, optimizer, data and random state, all of which a checkpoint restores.

    ``Trainer(settings, folder)`` starts a run, ``Trainer.resume(folder)`` resumes one.
    """

    def run(self):
        """Train to the last step, or until patience runs out.

        Ctrl-C, or the signal SIGTERM, lets the current step finish and saves it; a second one stops at once.

        returns the lowest validation loss: in nats per character, or per hidden token with objective "mlm".
        raises: KeyboardInterrupt after Ctrl-C; OSError, saying how to resume, when something cannot be written. Either
            way everything saved before is whole, and ``Trainer.resume`` continues from there.
        """
        settings = self.settings
        with self._to_the_end(), _signals() as asked_to_stop, self._bar() as bar:
            if settings.init_from and not self.step:
                self._evaluate()  # what the model knows before it is trained
            while self.step < settings.steps and not self.out_of_patience and not asked_to_stop:
                loss, norm = self._train_step()
                self.step += 1
                rate = bar.format_dict["rate"] or 0
                bar.set_postfix_str(f"loss {loss:.3f}, {rate * settings.tokens_per_step:,.0f} tokens/s")
                bar.update()
                if self.step % 10 == 0 or self.step == 1:
                    self.run_folder.log(step=self.step, loss=loss, lr=self.optimizer.lr, norm=norm)
                if self.step % settings.eval_every == 0 or self.step == settings.steps:
                    self._evaluate()
                    self.run_folder.save(self)
            if asked_to_stop:
                if self.saved != self.step:
                    self.run_folder.save(self)
                raise KeyboardInterrupt
        return self.best_loss

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
        """Measure the loss on each corpus's validation split; save the model to the run folder if it is the best."""
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
        self.run_folder.log(**line, corpora=losses)
        write_line(
            f"step {self.step}: validation loss {line['val_loss']:.4f} nats per "
            + (f"token, {self._criterion(line):.4f} per character" if len(line) > 2 else "hidden token")
            + "".join(f"; {name} {loss:.4f}" for name, loss in losses.items() if len(losses) > 1)
        )
        self.stale += 1
        if self._criterion(line) < self.best_loss:
            self.best_loss, self.stale = self._criterion(line), 0
            self.model.save_pretrained(self.folder)
        plot_metrics(self.folder)

    @staticmethod
    def _criterion(line):
        """The loss that decides which model is best: per character if there is one, independent of the vocabulary."""
        return line.get("val_loss_per_character", line["val_loss"])

    @property
    def out_of_patience(self):
        """Whether ``patience`` evaluations in a row brought no lower loss, so that the run stops."""
        return bool(self.settings.patience) and self.stale >= self.settings.patience

    @property
    def unit(self):
        """The unit of the validation loss."""
        return "nats per hidden token" if self.settings.objective == "mlm" else "nats per character"

    def changes(self):
        """A list of (corpus, its loss before the first step or at the first evaluation, its loss in the best model).

        Losses as ``run`` returns them. If a corpus of weight 0 got worse, the model has forgotten some of it.
        """
        lines = [line for line in read_metrics(self.folder) if "val_loss" in line]
        first, best = lines[0], min(lines, key=self._criterion)
        return [(name, first["corpora"][name], best["corpora"][name]) for name in first["corpora"]]

    # Starting a run, and resuming one.

    def __init__(self, settings, folder):
        """A new run in ``folder``, which must not hold one already, and is locked from now until ``run`` ends.

        If a process was killed before the folder held a run, the same call starts again.

        settings: TrainingSettings; folder: path
        raises: FileExistsError when it holds one; BlockingIOError when another process is training there; ValueError
            when the data do not fit the settings, or there is no such device.
        """
        module_of(settings.device)  # it may be missing: say so before any long work
        self.run_folder = RunFolder(folder)
        self.run_folder.refuse_a_second_run()
        sources = read_corpora(settings.data)
        if settings.init_from:
            config = GPT2Config.from_pretrained(hub.locate(settings.init_from))
            settings = _with_sizes_of(config, settings)
        self.settings, self.tokenizer = settings, _tokenizer(settings, sources)
        self.mixture = Mixture(sources, self.tokenizer, settings.block_size)
        self.model = self._first_model().to(settings.device)
        self._start()
        self.run_folder.begin(self)

    @classmethod
    def resume(cls, folder, device=None):
        """The run in ``folder`` at its latest whole checkpoint; damaged ones are named on standard error.

        The folder is locked from now until ``run`` ends.

        device: where to continue; by default as in the settings
        raises: FileNotFoundError when it holds no run; BlockingIOError when another process is training there;
            ValueError when no checkpoint is whole, or settings, tokenizer or data have changed.
        """
        run = cls.__new__(cls)
        run.run_folder, folder = RunFolder(folder), Path(folder)
        if not (folder / "settings.json").exists():
            raise FileNotFoundError(
                f"{folder} holds no run (settings.json is missing); if it was stopped while it started, repeat "
                "the command that started it"
            )
        with run.run_folder.locked():
            checkpoint = newest_whole(folder)
            run.settings = run.run_folder.read_settings(device)
            run.tokenizer = Tokenizer.from_pretrained(folder)
            run.mixture = Mixture(read_corpora(run.settings.data), run.tokenizer, run.settings.block_size)
            run.model = GPT2.from_pretrained(checkpoint).to(run.settings.device)
            try:
                run._start()
            except ValueError as error:  # something that the settings ask for
                raise ValueError(f"{folder / 'settings.json'}: {error}") from None
            run.run_folder.restore(run, checkpoint)
        return run

    @property
    def folder(self):
        """The path of the run's folder."""
        return self.run_folder.path

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
        """Optimizer, random state and counters before the first step."""
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
        self.step, self.saved, self.best_loss, self.stale = 0, 0, math.inf, 0
        self.origin = {
            "settings": {name: value for name, value in dataclasses.asdict(settings).items() if name != "device"},
            "vocabulary": vocabulary_hash(self.tokenizer),
            "corpora": {corpus.name: corpus.checksum() for corpus in self.mixture.corpora},
        }

    def _bar(self):
        return progress_bar(desc="training", total=self.settings.steps, initial=self.step, unit="step", leave=True)

    @contextmanager
    def _to_the_end(self):
        """Hold the folder's lock to the end of the block, and add to an OSError how to resume."""
        if not self.run_folder.is_locked:
            raise ValueError(f"this run has ended or was stopped; resume it with: Trainer.resume({str(self.folder)!r})")
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"stopped at step {self.step}: {error}; step {self.saved} is saved: remove the cause (if the disk "
                f"is full, make room) and resume with: minigpt2 train --resume {self.folder}",
            ) from error
        finally:
            self.run_folder.unlock()


@contextmanager
def _signals():
    """Within the block Ctrl-C and SIGTERM only add to the yielded list; a second one raises KeyboardInterrupt."""
    asked_to_stop, before = [], {}

    def ask(number, _):
        if asked_to_stop:
            raise KeyboardInterrupt
        asked_to_stop.append(number)
        with suppress(OSError):  # not print, which the signal may have interrupted
            os.write(2, b"\nthis step will be saved; a second Ctrl-C stops at once, without saving\n")

    if threading.current_thread() is threading.main_thread():  # no other thread may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: a handler not set by Python
                before[number] = signal.signal(number, ask)
    try:
        yield asked_to_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tokenizer(settings, sources):
    """A new tokenizer, one for the languages of all corpora, or an existing one."""
    if settings.tokenizer not in ("bpe", "char"):
        return Tokenizer.from_pretrained(settings.tokenizer)
    if settings.tokenizer == "char":  # its vocabulary is all characters of the text, validation included, as in nanoGPT
        return CharTokenizer.train([text for source in sources for text in source.texts()])
    texts = [text for source in sources if source.weight != 0 for text in source.train_texts()]
    special = (END_OF_TEXT, MASK) if settings.objective == "mlm" else (END_OF_TEXT,)
    return Tokenizer.train(texts, settings.vocab_size, special)


def _mask_id(tokenizer):
    """The id of <|mask|>. Random tokens are drawn from those with lower ids: it is made last, so from all others."""
    if MASK not in getattr(tokenizer, "special_tokens", ()):
        raise ValueError(f"training: objective 'mlm' needs a tokenizer with the token {MASK}, such as a new 'bpe'")
    return tokenizer.vocab[MASK]


def _with_sizes_of(config, settings):
    """The settings with the sizes of a trained model in place of a new one's."""
    return dataclasses.replace(
        settings, n_layer=config.n_layer, n_head=config.n_head, n_embd=config.n_embd, vocab_size=config.vocab_size,
        block_size=min(settings.block_size, config.n_positions), tokenizer=settings.init_from,
    )  # fmt: skip


def _add(grads, more):
    for total, gradient in zip(flatten(grads).values(), flatten(more).values(), strict=True):
        total += gradient
    return grads
