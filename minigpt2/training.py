"""Training: random windows, accumulated gradients, AdamW, evaluations, and a run that can be resumed.

From scratch or from a trained model, to predict the next token or masked ones, on one corpus or a mixture. The
files on the disk are the subject of ``run_folder``.
"""

import dataclasses
import errno
import math
import os
import signal
import threading
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from minigpt2.backend import array_module, module_of
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.components.loss import IGNORED
from minigpt2.components.optimizer import AdamW, learning_rate
from minigpt2.config import GPT2Config
from minigpt2.data import pipe
from minigpt2.data.batches import MASK, mask_tokens
from minigpt2.data.mixture import Mixture, in_place_of, read_corpora, too_short
from minigpt2.data.token_file import vocabulary_hash
from minigpt2.evaluation import masked_loss, total_nats
from minigpt2.fine_tuning import LoRA, check_rank, trainable
from minigpt2.loss_curve import plot_metrics
from minigpt2.model import GPT2
from minigpt2.parameters import flatten
from minigpt2.progress import progress_bar, write_line
from minigpt2.run_folder import RunFolder, read_metrics
from minigpt2.shell import option, shell_line
from minigpt2.storage import hub
from minigpt2.storage.files import naming
from minigpt2.storage.run_checkpoints import newest_whole, step_of
from minigpt2.tokenizer import Tokenizer
from minigpt2.vocabulary import END_OF_TEXT

REMEDY = "try a lower lr, or other weights to start from"  # where losses are not finite


class Trainer:
    """One run: model, optimizer, data and random state, all of which a checkpoint restores.

    ``Trainer(settings, folder)`` starts a run, ``Trainer.resume(folder)`` resumes one.
    """

    def run(self):
        """Train to the last step, or until patience runs out.

        Ctrl-C, or the signal SIGTERM, lets the current step finish and saves it; a second one stops at once.

        returns the lowest validation loss: in nats per character, or per hidden token with objective "mlm".
            Infinity when no evaluation gave a finite loss.
        raises: KeyboardInterrupt after Ctrl-C; OSError, saying how to resume, when something cannot be written;
            ValueError when gradients or weights are no longer finite. In each case everything saved before is whole,
            and ``Trainer.resume`` continues from there.
        """
        settings, overflowed = self.settings, False
        # Numbers that overflow are found where they matter, in the loss, the gradient and the weights.
        quiet = warnings.catch_warnings(action="ignore", category=RuntimeWarning)
        with quiet, self._to_the_end(), _signals() as asked_to_stop, self._bar() as bar:
            if settings.init_from and not self.step:
                self._evaluate()  # what the model knows before it is trained
            while self.step < settings.steps and not self.out_of_patience and not asked_to_stop:
                loss, norm = self._train_step()
                self.step += 1
                if not (math.isfinite(loss) or overflowed):
                    write_line(f"step {self.step}: the training loss is not finite ({loss}); {REMEDY}")
                    overflowed = True
                rate = bar.format_dict["rate"]  # None before the second step
                speed = f", {rate * settings.tokens_per_step:,.0f} tokens/s" if rate else ""
                bar.set_postfix_str(f"loss {loss:.3f}{speed}")
                bar.update()
                if self.step % 10 == 0 or self.step == 1:
                    self.run_folder.log(step=self.step, loss=loss, lr=self.optimizer.lr, norm=norm)
                if self.step % settings.eval_every == 0 or self.step in (settings.steps, settings.decay_end):
                    self._evaluate()
                    self._save()
            if asked_to_stop:
                if self.saved != self.step:
                    self._save()
                raise KeyboardInterrupt
        return self.best_loss

    def _train_step(self):
        """One optimizer step; returns the mean loss in nats per token and the gradient's norm before clipping."""
        settings = self.settings
        self.optimizer.lr = learning_rate(
            self.step, settings.lr, settings.min_lr, settings.warmup_steps, settings.decay_end
        )
        losses, counts, grads = [], [], None
        for _ in range(settings.grad_accumulation):
            ids, targets = self.mixture.windows(settings.batch_size, settings.block_size, self.rng)
            if settings.objective == "mlm":
                ids, targets = mask_tokens(ids, self._mask_id, self.rng)
            loss, new = self.model.loss_and_grads(ids, targets, rng=self.rng, causal=settings.objective == "causal")
            losses.append(loss)
            # A batch weighs as many tokens as it predicts: causal ones all the same, masked ones those that are hidden.
            counts.append(int((targets != IGNORED).sum()) if settings.objective == "mlm" else 1)
            if settings.grad_accumulation > 1 and settings.objective == "mlm":
                _scale(new, counts[-1])
            grads = new if grads is None else _add(grads, new)
        if settings.grad_accumulation > 1:
            _scale(grads, 1.0 / sum(counts))
        loss = 0.0
        for each, count in zip(losses, counts, strict=True):
            loss += each * count / sum(counts)
        return loss, self._update(grads)

    def _update(self, grads):
        """Change what is trained, given the gradient of every parameter; returns the norm before clipping."""
        settings, trained = self.settings, grads
        if self.lora:
            trained = self.lora.grads(grads)
        elif settings.freeze:
            trained = {name: gradient for name, gradient in flatten(grads).items() if name in self.optimizer.params}
        norm = self.optimizer.step(trained, max_norm=settings.max_norm)
        if self.lora:
            self.lora.merge()
        return norm

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
            + (f"token, {_criterion(line):.4f} per character" if len(line) > 2 else "hidden token")
            + "".join(f"; {name} {loss:.4f}" for name, loss in losses.items() if len(losses) > 1)
            + ("" if math.isfinite(line["val_loss"]) else f": not finite, so this model is not kept; {REMEDY}")
        )
        self.stale += 1
        if _criterion(line) < self.best_loss:
            self.best_loss, self.stale = _criterion(line), 0
            self.model.save_pretrained(self.folder)
        self._draw()

    def _save(self):
        """Write a checkpoint; ValueError when there is nothing to go on from."""
        for weight in flatten(self.model.params).values():
            if not array_module(weight).isfinite(weight).all():
                raise ValueError(f"the weights have become NaN or infinite; {REMEDY}")
        self.run_folder.save(self)

    def _draw(self):
        """Draw loss.png. A run does not end for a picture that cannot be drawn or replaced, unless the disk is full."""
        try:
            plot_metrics(self.folder)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            warnings.warn(f"{self.folder / 'loss.png'} is not up to date: {error}; is it open elsewhere?", stacklevel=2)
        except Exception as error:  # matplotlib's own, such as of a notebook's MPLBACKEND that is not installed here
            warnings.warn(f"{self.folder / 'loss.png'} cannot be drawn: {error}", stacklevel=2)

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
        best = min((line for line in lines if _criterion(line) is not None), key=_criterion, default=lines[0])
        names = [corpus.name for corpus in self.mixture.corpora]  # they may have had others before the data moved
        pairs = zip(names, lines[0]["corpora"].values(), best["corpora"].values(), strict=True)
        return [(name, *(math.nan if loss is None else loss for loss in losses)) for name, *losses in pairs]

    # Starting a run, and resuming one.

    def __init__(self, settings, folder):
        """A new run in ``folder``, which must not hold one already, and is locked from now until ``run`` ends.

        If a process was killed before the folder held a run, the same call starts again.

        settings: TrainingSettings; folder: path
        raises: FileExistsError when it holds one; BlockingIOError when another process is training there; OSError
            when it cannot be written; ValueError when the data do not fit the settings, or there is no such device.
            Whatever can be known to fail before a vocabulary is learned is found before.
        """
        module_of(settings.device)  # it may be missing: say so before any long work
        with naming("the current folder"):  # it may have been removed
            self.run_folder, self.started_in = RunFolder(folder), os.getcwd()
        self.run_folder.refuse_a_second_run()
        self.run_folder.check_writable()
        sources = read_corpora(settings.data)
        origin = hub.locate(settings.init_from) if settings.init_from else None
        if origin:
            settings = _with_sizes_of(GPT2Config.from_pretrained(origin), settings)
        self.settings, self.tokenizer = settings, _existing_tokenizer(settings)
        _check(settings, sources, _first_config(settings, self.tokenizer, origin), self.tokenizer)
        if self.tokenizer is None:
            self.tokenizer = _learned_tokenizer(settings, sources)
        self.mixture = Mixture(sources, self.tokenizer, settings.block_size)
        self.model = self._first_model(origin).to(settings.device)
        self._start()
        self.run_folder.begin(self)

    @classmethod
    def resume(cls, folder, device=None, data=None, steps=None):
        """The run in ``folder`` at its latest whole checkpoint; damaged ones are named on standard error.

        Relative paths of its data begin in the folder in which it was started, or else in the current one. The folder
        is locked from now until ``run`` ends.

        device: where to continue; by default as in the settings
        data: where the same corpora lie now, in the same order, as in the settings; weights stay as they are
        steps: to train up to this step; the learning rate follows the same cosine, and then stays at its end
        raises: FileNotFoundError when it holds no run, or the data are not there; BlockingIOError when another process
            is training there; ValueError when no checkpoint is whole, settings, tokenizer or data have changed, or
            ``steps`` have been taken already.
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
            recorded, run.started_in = run.run_folder.read_settings()
            settings = _changed(recorded, run.started_in, data, steps)
            if steps is not None and steps <= step_of(checkpoint):
                raise ValueError(f"steps: {folder} has taken {step_of(checkpoint)}; give more than that, got {steps}")
            run.settings = dataclasses.replace(settings, device=device or settings.device)
            run.tokenizer = Tokenizer.from_pretrained(folder)
            run.mixture = Mixture(run._corpora(data), run.tokenizer, settings.block_size)
            run.model = GPT2.from_pretrained(checkpoint).to(run.settings.device)
            try:
                run._start()
            except ValueError as error:  # something that the settings ask for
                raise ValueError(f"{folder / 'settings.json'}: {error}") from None
            run.run_folder.restore(run, checkpoint)
            if steps is not None and run.out_of_patience:
                again = shell_line("minigpt2", "train", *option("--init-from", folder))
                raise ValueError(
                    f"steps: {folder} ended at step {run.step} because its loss no longer fell (patience "
                    f"{settings.patience}); train its best model further with: {again} --out NEW"
                )
            if settings != recorded:
                run.run_folder.write_settings(settings, run.started_in)
        return run

    def _corpora(self, data):
        """The run's corpora; unless ``data`` names their place, FileNotFoundError says how to do so."""
        try:
            return read_corpora(self.settings.data, self.started_in)
        except (FileNotFoundError, pipe.Empty) as error:
            if data is not None:
                raise
            again = shell_line("minigpt2", "train", *option("--resume", self.folder))
            raise FileNotFoundError(
                f"{error}; the run was started in {self.started_in}: if its data lie elsewhere now, say where: "
                f"{again} --data FILE"
            ) from None

    @property
    def folder(self):
        """The path of the run's folder."""
        return self.run_folder.path

    def _first_model(self, origin=None):
        """The model before the first step; ``origin``: the folder of the one that it starts from, if any."""
        settings = self.settings
        config = _first_config(settings, self.tokenizer, origin)
        if not origin:
            return GPT2(config, settings.seed)
        model = GPT2.from_pretrained(origin)
        model = model.with_head(settings.head_layers, settings.seed) if settings.head_layers else model
        model.config = config
        return model

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
            again = shell_line("minigpt2", "train", *option("--resume", self.folder))
            raise OSError(
                error.errno,
                f"stopped at step {self.step}: {error}; step {self.saved} is saved: remove the cause (if the disk "
                f"is full, make room) and resume with: {again}",
            ) from error
        except ValueError as error:  # gradients or weights that are not finite, a damaged token file
            raise ValueError(
                f"stopped at step {self.step}: {error}; step {self.saved} is saved in {self.folder}"
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


def _changed(settings, started_in, data, steps):
    """The settings of a run with its data elsewhere and another number of steps, where these are not None."""
    if data is not None:
        settings = dataclasses.replace(settings, data=in_place_of(settings.data, data, started_in))
    if steps is not None:
        end = settings.decay_end
        settings = dataclasses.replace(settings, steps=steps, decay_steps=0 if end == steps else end)
    return settings


def _existing_tokenizer(settings):
    """The tokenizer that a run takes from elsewhere, or None if it learns one."""
    return None if settings.tokenizer in ("bpe", "char") else Tokenizer.from_pretrained(settings.tokenizer)


def _learned_tokenizer(settings, sources):
    """A new tokenizer, one for the languages of all corpora."""
    if settings.tokenizer == "char":  # its vocabulary is all characters of the text, validation included, as in nanoGPT
        return CharTokenizer.train([text for source in sources for text in source.texts()])
    texts = [text for source in sources if source.weight != 0 for text in source.train_texts()]
    special = (END_OF_TEXT, MASK) if settings.objective == "mlm" else (END_OF_TEXT,)
    return Tokenizer.train(texts, settings.vocab_size, special)


def _first_config(settings, tokenizer, origin):
    """The configuration of the model before the first step.

    tokenizer: None if it is not known yet, when the size of the vocabulary is not right; origin: as in ``_first_model``
    """
    dropout = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), settings.dropout)
    if origin:
        config = dataclasses.replace(GPT2Config.from_pretrained(origin), **dropout)
        head = {"head_layers": settings.head_layers, "tie_word_embeddings": False} if settings.head_layers else {}
        return dataclasses.replace(config, **head).with_ends(tokenizer.eos_ids if tokenizer else ())
    eos = None if tokenizer is None else tokenizer.eos_id
    return GPT2Config(
        vocab_size=settings.vocab_size if tokenizer is None else len(tokenizer), n_positions=settings.block_size,
        n_embd=settings.n_embd, n_layer=settings.n_layer, n_head=settings.n_head, bos_token_id=eos, eos_token_id=eos,
        **dropout,
    )  # fmt: skip


def _check(settings, sources, config, tokenizer):
    """Raise ValueError for what is known to fail before a vocabulary is learned, which may take long.

    config: from ``_first_config``; tokenizer: None if it is to be learned
    """
    if settings.freeze:
        trainable(config.parameter_shapes(), settings.freeze)
    if settings.lora_rank:
        check_rank(settings.lora_rank, config.n_embd)
    if settings.objective == "mlm" and settings.tokenizer != "bpe":
        _mask_id(tokenizer)
    if tokenizer is not None and max(tokenizer.known_ids) >= config.vocab_size:
        raise ValueError(
            f"training: the tokenizer of {settings.tokenizer} has the id {max(tokenizer.known_ids)}, but the model has "
            f"only {config.vocab_size:,} tokens"
        )
    for source in sources:
        # A token spells a byte or more, and so has a text of more characters than a window enough bytes.
        texts = [] if source.documents is None or source.weight == 0 else source.train_texts()
        if texts and sum(map(len, texts)) <= settings.block_size:
            most = sum(len(text if settings.tokenizer == "char" else text.encode()) for text in texts) + len(texts) - 1
            if most <= settings.block_size:
                raise too_short(source.name, f"at most {most}", settings.block_size)


def _criterion(line):
    """The loss that decides which model is best: per character if there is one, independent of the vocabulary."""
    return line.get("val_loss_per_character", line["val_loss"])


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


def _scale(grads, factor):
    for gradient in flatten(grads).values():
        gradient *= factor
