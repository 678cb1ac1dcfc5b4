"""Files that are either whole or not there: write beside the target, flush, rename."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path, mode="wb"):
    """Open a temporary file beside ``path`` that takes its place only if the block ends well.

    The file is flushed to the disk before the rename and the folder after it, so that after a
    crash ``path`` holds the old content or the new one, never a part. On any error the temporary
    file is removed and ``path`` is left as it was.

    mode: "wb", or "w" for UTF-8 text with newlines written as given.
    raises: OSError (disk full, read-only folder, ...) as the system reports it.
    """
    path = Path(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with open(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 would lock other users out
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder):
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    if os.name == "nt":  # Windows cannot open a folder; its renames are journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path):
    """The object that the JSON file ``path`` holds.

    raises: FileNotFoundError when it is missing; ValueError, naming the file, when it is not UTF-8
        JSON with an object at its top.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object {{...}}, got {type(value).__name__}")
    return value


def write_json(path, value):
    """Write ``value`` as readable UTF-8 JSON, atomically."""
    with atomic_write(path, "w") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
