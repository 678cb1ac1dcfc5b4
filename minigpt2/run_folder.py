"""The folder of a training run: one process at a time, whole checkpoints, and the origin of the run.

A run folder holds
    settings.json       the TrainingSettings; written last: a folder holds a run as soon as it holds this file
    metrics.jsonl       a line per logged step and per evaluation
    loss.png            the same as a picture (if matplotlib is installed)
    model.safetensors, config.json and the tokenizer's files: the best model so far, in Hugging Face's layout
    checkpoint-000500/  everything needed to resume after step 500; the one before it is kept as well
    .lock               locked while a process trains here; holds its process id

A checkpoint gets its name when all of it is on the disk, and loses it before any of it is removed, so a process that
is killed leaves no part of one under that name. It is the last thing written for its step: whatever a killed process
wrote after it is written again, the same to the last bit.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import reprlib
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from minigpt2.backend import array_module
from minigpt2.settings import TrainingSettings
from minigpt2.storage.checkpoint import read_tensors, write_tensors
from minigpt2.storage.files import (
    atomic_write,
    delete,
    lock_file,
    naming,
    parse_json,
    read_json,
    replace,
    sync_folder,
    write_json,
)

KEPT = 2  # checkpoints: the last one, and the one before it in case the last is damaged
STATE = "training_state.safetensors"  # in a checkpoint: moments, adapters, random state, counters
CHECKSUMS = "checksums.json"
# Temporary names that a killed process may leave; the eight characters come from ``files.atomic_write``.
LEFT_OVER = re.compile(
    r"\.(checkpoint-\d+|(settings\.json|metrics\.jsonl|loss\.png|model\.safetensors|config\.json|vocab\.json|merges\.txt"
    r"|tokenizer_config\.json)\.[a-z0-9_]{8})\.tmp"
)


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
            write_json(self.path / "settings.json", dataclasses.asdict(run.settings))

    def read_settings(self, device=None):
        """The TrainingSettings of the run, with ``device`` in place of their own if one is given.

        raises: FileNotFoundError when the folder holds no run; ValueError, naming the file, when it is malformed.
        """
        path = self.path / "settings.json"
        values = read_json(path)
        if unknown := values.keys() - {field.name for field in dataclasses.fields(TrainingSettings)}:
            raise ValueError(f"{path}: there is no setting {sorted(unknown)[0]!r}")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        if device:
            values["device"] = device
        try:
            return TrainingSettings(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    def log(self, **values):
        """Add a line to metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        with naming(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False) + "\n")

    # One process at a time.

    def refuse_a_second_run(self):
        """Raise FileExistsError if the folder holds a run, or a checkpoint of one that has taken steps."""
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file: choose another --out, a folder for the run")
        if (self.path / "settings.json").exists() or any(map(step_of, checkpoints(self.path))):
            with self.locked():
                self.unlock()
            raise FileExistsError(
                f"{self.path} already holds a run: resume it with --resume {self.path} or choose another --out"
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
            origin = state["origin"]
            pieces = origin["settings"].items(), origin["vocabulary"], origin["corpora"].items()
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{path} is not the state of a run with these settings: {error!r:.200}") from None
        self._compare_origin(run.origin, *pieces)
        with atomic_write(self.path / "metrics.jsonl") as file:
            file.write((checkpoint / "metrics.jsonl").read_bytes())
        tidy_up(self.path, run.saved)

    def _compare_origin(self, now, settings, vocabulary, corpora):
        """Raise ValueError if anything the run started with, and no checkpoint holds, has changed since."""
        now = json.loads(json.dumps(now))
        undo = f"undo that, or start a new run with --init-from {self.path}"
        for name, value in settings:
            if name not in now["settings"] or now["settings"][name] != value:
                present = reprlib.repr(now["settings"].get(name))
                raise ValueError(
                    f"{self.path / 'settings.json'}: {name:.50} was {reprlib.repr(value)} when the run started and is "
                    f"now {present}; {undo}"
                )
        if now["vocabulary"] != vocabulary:
            raise ValueError(f"the tokenizer in {self.path} is not the one that the run started with; {undo}")
        for name, checksum in corpora:
            if now["corpora"].get(name) != checksum:
                raise ValueError(f"{self.path}: {name:.200} has changed since the run started; {undo}")


# The checkpoints, each a folder inside the run folder.


def checkpoints(folder):
    """The checkpoints in a run folder, oldest first."""
    return sorted((path for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal()), key=step_of)


def step_of(checkpoint):
    """The number of steps taken before a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def write_checkpoint_folder(folder, step, write):
    """Make ``checkpoint-<step>`` in a run folder; one of that name is replaced.

    write: (folder) -> None, makes the folder and writes the files into it
    raises: OSError when something cannot be written; nothing of it is left then.
    """
    target = folder / f"checkpoint-{step:06d}"
    temporary = _temporary(target)
    if target.exists():  # damaged, or left by a process that was killed before the run began
        remove(target)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        write(temporary)
        write_json(temporary / CHECKSUMS, checksums(temporary))
        replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder)


def newest_whole(folder):
    """The newest whole checkpoint; newer ones that are damaged are named on standard error.

    raises: ValueError when there is none.
    """
    faults = []
    for checkpoint in reversed(checkpoints(folder)):
        try:
            expected, found = read_json(checkpoint / CHECKSUMS), checksums(checkpoint)
            if wrong := sorted(name for name in expected | found if expected.get(name) != found.get(name)):
                raise ValueError(f"{wrong[0]} is missing or has changed")
        except (OSError, ValueError) as error:
            faults.append(f"{checkpoint} is damaged ({error})")
            continue
        for fault in faults:
            print(f"warning: {fault}; resuming from {checkpoint.name} instead", file=sys.stderr)
        return checkpoint
    raise ValueError(
        f"{folder} holds no whole checkpoint: {'; '.join(faults) or 'there is none at all'}; nothing has been "
        "changed; start a new run with another --out"
    )


def checksums(checkpoint):
    """The SHA-256 of each file in a checkpoint except checksums.json itself: dict from name to hexadecimal digits."""
    digests = {}
    for path in sorted(checkpoint.iterdir()):
        if path.name != CHECKSUMS:
            with open(path, "rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def tidy_up(folder, step):
    """Remove the leftovers of killed processes, and all checkpoints but the last ``KEPT`` up to ``step``."""
    found = checkpoints(folder)
    usable = [checkpoint for checkpoint in found if step_of(checkpoint) <= step]
    for checkpoint in found:
        if checkpoint not in usable[-KEPT:]:
            remove(checkpoint)
    for path in folder.glob(".*.tmp"):
        if LEFT_OVER.fullmatch(path.name):
            delete(path)


def remove(checkpoint):
    """Remove a checkpoint so that a killed process leaves no part of it under its name."""
    temporary = _temporary(checkpoint)
    shutil.rmtree(temporary, ignore_errors=True)
    replace(checkpoint, temporary)
    delete(temporary)


def _temporary(checkpoint):
    """The name of a checkpoint before it is whole, and once it is no longer needed."""
    return checkpoint.with_name(f".{checkpoint.name}.tmp")


def read_metrics(folder):
    """The lines of a run's metrics.jsonl as dicts, up to the first malformed one, such as a last line cut off."""
    path = Path(folder) / "metrics.jsonl"
    lines = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            lines.append(parse_json(line.decode(), path))
        except ValueError:
            break
    return lines
