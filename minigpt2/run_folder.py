"""The folder of a training run: its checkpoints, whole or not there, and its metrics.

A checkpoint is a folder ``checkpoint-000500``. It gets this name when all of it is on the disk, and loses it before
any of it is removed, so that a process that is killed leaves no part of one under its name.
"""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np

from minigpt2.storage.files import atomic_write, parse_json, read_json, sync_folder, write_json

KEPT = 2  # checkpoints: the last one, and the one before in case that the last is damaged
CHECKSUMS = "checksums.json"
# What a killed process may leave in a run folder; the eight characters are those of ``files.atomic_write``.
LEFT_OVER = re.compile(
    r"\.(checkpoint-\d+|(settings\.json|metrics\.jsonl|loss\.png|model\.safetensors|config\.json|vocab\.json|merges\.txt"
    r"|tokenizer_config\.json)\.[a-z0-9_]{8})\.tmp"
)


def checkpoints(folder):
    """The checkpoints in a run folder, oldest first."""
    return sorted((path for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal()), key=step_of)


def step_of(checkpoint):
    """How many steps had been taken."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def write_checkpoint_folder(folder, step, write):
    """Make ``checkpoint-<step>`` in a run folder; one of that name is replaced.

    write: (folder) -> None, writes the files into a folder that it makes
    raises: OSError when something cannot be written; then nothing of it is left.
    """
    target = folder / f"checkpoint-{step:06d}"
    temporary = _temporary(target)
    if target.exists():  # damaged, or left by a process that was killed before the run began
        remove(target)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        write(temporary)
        write_json(temporary / CHECKSUMS, checksums(temporary))
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder)


def newest_whole(folder):
    """The newest checkpoint that holds what was written; damaged ones after it are named on standard error.

    raises: ValueError when there is none.
    """
    faults = []
    for checkpoint in reversed(checkpoints(folder)):
        try:
            expected, found = read_json(checkpoint / CHECKSUMS), checksums(checkpoint)
            if wrong := sorted(name for name in expected | found if expected.get(name) != found.get(name)):
                raise ValueError(f"{wrong[0]} is missing or not what was written")
        except (OSError, ValueError) as error:
            faults.append(f"{checkpoint} is damaged ({error})")
            continue
        for fault in faults:
            print(f"warning: {fault}; going on from {checkpoint.name} instead", file=sys.stderr)
        return checkpoint
    raise ValueError(
        f"{folder} holds no checkpoint that is whole: {'; '.join(faults) or 'there is none at all'}; nothing has been "
        "changed; begin a new run with another --out"
    )


def checksums(checkpoint):
    """The SHA-256 of each file in a checkpoint, but for checksums.json itself: dict from name to hexadecimal digits."""
    digests = {}
    for path in sorted(checkpoint.iterdir()):
        if path.name != CHECKSUMS:
            with open(path, "rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def tidy_up(folder, step):
    """Remove what killed processes left, and all checkpoints but the last ones up to ``step``."""
    found = checkpoints(folder)
    usable = [checkpoint for checkpoint in found if step_of(checkpoint) <= step]
    for checkpoint in found:
        if checkpoint not in usable[-KEPT:]:
            remove(checkpoint)
    for path in folder.glob(".*.tmp"):
        if LEFT_OVER.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove(checkpoint):
    """Remove a checkpoint so that a killed process leaves no part of it under its name."""
    temporary = _temporary(checkpoint)
    shutil.rmtree(temporary, ignore_errors=True)
    os.replace(checkpoint, temporary)
    shutil.rmtree(temporary)


def _temporary(checkpoint):
    """The name that a checkpoint has before it is whole and after it is needed."""
    return checkpoint.with_name(f".{checkpoint.name}.tmp")


def read_metrics(folder):
    """The lines of a run's metrics.jsonl as dicts; a last line that was cut off is passed over."""
    path = Path(folder) / "metrics.jsonl"
    lines = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            lines.append(parse_json(line.decode(), path))
        except ValueError:
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
