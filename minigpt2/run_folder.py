"""The folder of a training run: one process at a time, whole checkpoints, and the origin of the run.

A run folder holds
    settings.json       the TrainingSettings, and "started_in", the folder in which their relative paths begin; written
                        last: a folder holds a run as soon as it holds this file
    metrics.jsonl       a line per logged step and per evaluation
    loss.png            the same as a picture (if matplotlib is installed)
    model.safetensors, config.json and the tokenizer's files: the best model so far, in Hugging Face's layout
    checkpoint-000500/  everything needed to resume after step 500; the one before it is kept as well
    .lock               locked while a process trains here; holds its process id
"""

import dataclasses
import json
import math
import os
import reprlib
from contextlib import contextmanager
from pathlib import Path

from minigpt2.backend import array_module
from minigpt2.data.mixture import name_and_weight
from minigpt2.settings import TrainingSettings
from minigpt2.shell import option, shell_line
from minigpt2.storage.checkpoint import read_tensors, write_tensors
from minigpt2.storage.files import (
    atomic_write,
    finite,
    lock_file,
    naming,
    parse_json,
    read_json,
    sync_folder,
    why_unwritable,
    write_json,
)
from minigpt2.storage.run_checkpoints import checkpoints, step_of, tidy_up, write_checkpoint_folder

STATE = "training_state.safetensors"  # in a checkpoint: moments, adapters, random state, counters


class RunFolder:
    """A folder in which one run is trained, by one process at a time.

    path: the folder's, which need not exist yet
    """

    def __init__(self, path):
        self.path = Path(path)
        self._lock = None

    def begin(self, run):
        """Make the folder of a new run, with its first checkpoint, and keep it locked.

        run: Trainer
        raises: FileExistsError when it holds a run; BlockingIOError when another process is training there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        sync_folder(self.path.parent)
        self.refuse_a_second_run()  # one may have started in the meantime
        with self.locked():
            tidy_up(self.path, run.saved)
            run.tokenizer.save_pretrained(self.path)
            with atomic_write(self.path / "metrics.jsonl"):
                pass
            self.save(run)
            self.write_settings(run.settings, run.started_in)

    def check_writable(self):
        """Raise OSError unless the folder can be made and written."""
        if reason := why_unwritable(self.path):
            raise OSError(f"nothing can be written to {self.path} ({reason}): choose another --out")

    def write_settings(self, settings, started_in):
        """Write settings.json; arguments as ``read_settings`` returns them."""
        write_json(self.path / "settings.json", dataclasses.asdict(settings) | {"started_in": started_in})

    def read_settings(self):
        """The TrainingSettings of the run, and the folder in which their relative paths begin.

        raises: FileNotFoundError when the folder holds no run; ValueError, naming the file, when it is malformed.
        """
        path = self.path / "settings.json"
        values = read_json(path)
        started_in = values.pop("started_in", os.getcwd())  # older runs have none
        if not isinstance(started_in, str) or "\0" in started_in:
            raise ValueError(f"{path}: started_in must be the path of a folder, got {reprlib.repr(started_in)}")
        if unknown := values.keys() - {field.name for field in dataclasses.fields(TrainingSettings)}:
            raise ValueError(f"{path}: there is no setting {sorted(unknown)[0]!r}")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        try:
            return TrainingSettings(**values), started_in
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    def log(self, **values):
        """Add a line to metrics.jsonl; a number that is not finite, which JSON does not have, becomes null."""
        path = self.path / "metrics.jsonl"
        line = json.dumps(finite(values), ensure_ascii=False, allow_nan=False)
        with naming(path), open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    # One process at a time.

    def refuse_a_second_run(self):
        """Raise FileExistsError if the folder holds a run, or a checkpoint of one that has taken steps."""
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file: choose another --out, a folder for the run")
        if (self.path / "settings.json").exists() or any(map(step_of, checkpoints(self.path))):
            with self.locked():
                self.unlock()
            raise FileExistsError(
                f"{self.path} already holds a run: resume it with {_option('--resume', self.path)} or choose another "
                "--out"
            )

    @contextmanager
    def locked(self):
        """Take the folder's lock, and keep it unless the block fails; BlockingIOError when another process has it."""
        path = self.path / ".lock"
        self._lock = lock_file(path)
        if self._lock is None:
            raise BlockingIOError(
                f"another process (pid {path.read_text() or 'unknown'}) is training in {self.path}: wait until it "
                "ends, or stop it"
            )
        try:
            with naming(path):
                self._lock.truncate(0)
                self._lock.write(b"%d" % os.getpid())
            yield
        except BaseException:
            self.unlock()
            raise

    @property
    def is_locked(self):
        """Whether this process holds the lock."""
        return self._lock is not None and not self._lock.closed

    def unlock(self):
        """Let another process train here."""
        self._lock.close()

    # Saving the state of a run, and restoring it.

    def save(self, run):
        """Write a checkpoint with everything needed to resume; then remove those that are too old."""
        state = {
            "step": run.step, "best_loss": run.best_loss if run.best_loss < math.inf else None, "stale": run.stale,
            "t": run.optimizer.t, "rng": run.rng.bit_generator.state, "origin": run.origin,
        }  # fmt: skip
        adapters = run.lora.state() if run.lora else {}

        def write(folder):
            run.model.save_pretrained(folder)
            tensors = {"m": run.optimizer.m, "v": run.optimizer.v} | adapters
            write_tensors(folder / STATE, tensors, {"state": json.dumps(state)})
            with atomic_write(folder / "metrics.jsonl") as file:
                file.write((self.path / "metrics.jsonl").read_bytes())

        write_checkpoint_folder(self.path, run.step, write)
        run.saved = run.step
        tidy_up(self.path, run.saved)

    def restore(self, run, checkpoint):
        """Put a newly made run into the state of a checkpoint, and drop the lines that were logged after it.

        raises: ValueError when the state is damaged, or settings, tokenizer or data have changed.
        """
        path = checkpoint / STATE
        tensors, metadata = read_tensors(path)
        state = parse_json(metadata.get("state", ""), path)
        try:
            counts = state["step"], state["stale"], state["t"]
            if not all(type(count) is int and 0 <= count < 2**63 for count in counts):
                raise ValueError(f"step, stale and t must be counts, got {counts}")
            run.step, run.stale, run.optimizer.t = counts
            run.saved = run.step
            run.best_loss = math.inf if state["best_loss"] is None else float(state["best_loss"])
            xp = array_module(run.optimizer.m)
            run.optimizer.m[...], run.optimizer.v[...] = xp.asarray(tensors["m"]), xp.asarray(tensors["v"])
            if run.lora:
                run.lora.restore(tensors)
            run.rng.bit_generator.state = state["rng"]
            origin = {name: state["origin"][name] for name in ("settings", "vocabulary", "corpora")}
            weights, checksums = _comparable(origin["settings"], run.started_in)["data"], origin["corpora"]
            if len(weights) != len(checksums.keys()):
                raise ValueError(f"{len(checksums)} checksums for {len(weights)} corpora")
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{path} is not the state of a run with these settings: {error!r:.200}") from None
        self._compare_origin(run, origin)
        with atomic_write(self.path / "metrics.jsonl") as file:
            file.write((checkpoint / "metrics.jsonl").read_bytes())
        tidy_up(self.path, run.saved)

    def _compare_origin(self, run, before):
        """Raise ValueError if anything the run started with, and no checkpoint holds, has changed since.

        Where the data lie may change, and the number of steps, as long as the learning rate's schedule does not.
        """
        now = json.loads(json.dumps(run.origin))
        undo = f"undo that, or start a new run with {_option('--init-from', self.path)}"
        values = _comparable(now["settings"], run.started_in)
        for name, value in _comparable(before["settings"], run.started_in).items():
            if name not in values or values[name] != value:
                old, new = (reprlib.repr(origin["settings"].get(name)) for origin in (before, now))
                how = "give --steps with --resume for more of them" if name == "steps" else undo
                raise ValueError(
                    f"{self.path / 'settings.json'}: {name:.50} was {old} when the run started and is now {new}; {how}"
                )
        if now["vocabulary"] != before["vocabulary"]:
            raise ValueError(f"the tokenizer in {self.path} is not the one that the run started with; {undo}")
        pairs = zip(before["corpora"].items(), now["corpora"].items(), strict=True)
        for (old, checksum), (new, found) in pairs:
            if found != checksum and found in before["corpora"].values():
                order = ", ".join(before["corpora"])
                raise ValueError(f"{self.path}: the order of the run's data is {order:.500}; give --data in this order")
            if found != checksum:
                what = "has changed since" if new == old else f"does not hold what {old:.200} held when"
                how = undo if new == old else undo.replace("undo that", "give that")
                raise ValueError(f"{self.path}: {new:.200} {what} the run started; {how}")


def _comparable(settings, folder):
    """The settings as they are compared: of the data only the weights, and of the steps where the cosine ends."""
    weights = [name_and_weight(source, folder)[1] for source in settings["data"]]
    decay = settings.get("decay_steps") or settings["steps"]  # older runs have no decay_steps
    return settings | {"data": weights, "steps": decay, "decay_steps": decay}


def _option(flag, value):
    return shell_line(*option(flag, value))


def read_metrics(folder):
    """The lines of a run's metrics.jsonl as dicts, up to the first malformed one, such as a last line cut off.

    A loss that was not finite is None.
    """
    path = Path(folder) / "metrics.jsonl"
    lines = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            lines.append(parse_json(line.decode(), path))
        except ValueError:
            break
    return lines
