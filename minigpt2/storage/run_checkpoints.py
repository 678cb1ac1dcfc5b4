"""The checkpoints of a training run, each a folder inside the run's: found, written whole, removed.

A checkpoint gets its name when all of it is on the disk, and loses it before any of it is removed, so a process that
is killed leaves no part of one under that name. It is the last thing written for its step: whatever a killed process
wrote after it is written again, the same to the last bit.
"""

import hashlib
import re
import shutil
import warnings

from minigpt2.storage.checkpoint import printable
from minigpt2.storage.files import delete, read_json, replace, sync_folder, write_json

KEPT = 2  # checkpoints: the last one, and the one before it in case the last is damaged
CHECKSUMS = "checksums.json"
# Temporary names that a killed process may leave; the eight characters come from ``files.atomic_write``.
LEFT_OVER = re.compile(
    r"\.(checkpoint-\d+|(settings\.json|metrics\.jsonl|loss\.png|model\.safetensors|config\.json|vocab\.json|merges\.txt"
    r"|tokenizer_config\.json)\.[a-z0-9_]{8})\.tmp"
)


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
    """The newest whole checkpoint; a warning names newer ones that are damaged.

    raises: ValueError when there is none.
    """
    faults = []
    for checkpoint in reversed(checkpoints(folder)):
        try:
            expected, found = read_json(checkpoint / CHECKSUMS), checksums(checkpoint)
            if wrong := sorted(name for name in expected | found if expected.get(name) != found.get(name)):
                raise ValueError(f"{printable(wrong[0])} is missing or has changed")
        except (OSError, ValueError) as error:
            faults.append(f"{checkpoint} is damaged ({error})")
            continue
        for fault in faults:
            warnings.warn(f"{fault}; {checkpoint.name} is taken instead", stacklevel=2)
        return checkpoint
    raise ValueError(
        f"{folder} holds no whole checkpoint: {'; '.join(faults) or 'there is none at all'}; nothing has been "
        "changed; start a new run with another --out"
    )


def in_run(folder, files):
    """The folder with a run's model or tokenizer: the run's own, except where only a checkpoint has a model.

    A run that was stopped before its first evaluation has no best model: its newest checkpoint is taken.

    folder: of a run or of one of its checkpoints; any other is returned as it is
    files: "model" or "tokenizer", as in ``hub.locate``
    raises: ValueError when the run has no whole checkpoint.
    """
    if files == "tokenizer" and (folder / CHECKSUMS).is_file() and (folder.parent / "settings.json").is_file():
        return folder.parent
    if files == "tokenizer" or (folder / "config.json").exists() or not (folder / "settings.json").is_file():
        return folder
    checkpoint = newest_whole(folder)
    warnings.warn(f"{folder} has no best model yet; {checkpoint.name} is taken", stacklevel=2)
    return checkpoint


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
