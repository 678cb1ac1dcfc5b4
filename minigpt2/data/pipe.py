"""Pipes: what comes through one can be read only once, so it is kept in a temporary file as long as the process lives.

``cat a.txt | minigpt2 data -``, ``minigpt2 eval --data <(zcat a.gz)``, and pipes with a name (``mkfifo``).
"""

import os
import select
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from minigpt2.storage.files import naming

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0")
PATIENCE = 5  # seconds in which someone has to open a pipe with a name for writing
CHUNK = 1 << 20  # bytes

_kept = {}  # what identifies a pipe -> the path of the file with its content
_folder = None  # holds these files; removed when the process ends


class Empty(ValueError):
    """Nothing comes through a pipe."""


def kept(source):
    """The path of a file with all that comes through a pipe, or None if ``source`` is none.

    source: path, or "-" for standard input
    raises: Empty, naming it, when nothing comes through.
    """
    name = str(source)
    if name == "-" or (name in STANDARD_INPUT and not Path(name).is_file()):
        return _keep("standard input", name, _read_standard_input)
    try:
        status = os.stat(source)
    except (OSError, ValueError):
        return None
    if not stat.S_ISFIFO(status.st_mode):
        return None
    return _keep((name, status.st_dev, status.st_ino), name, _read_pipe)


def _keep(key, name, read):
    """The path of the file for a pipe, which is filled at the first call; read: (name, open file) -> None."""
    global _folder
    if key not in _kept:
        _folder = _folder or tempfile.TemporaryDirectory(prefix="minigpt2-")
        path = Path(_folder.name) / f"{len(_kept)}-{'stdin' if name == '-' else Path(name).name}"
        with naming(path), open(path, "wb") as file:
            read(name, file)
            if not file.tell():
                raise Empty(f"{name}: nothing came through this pipe; start the command that writes to it first")
        _kept[key] = path
    return _kept[key]


def announce(name):
    """Say on standard error that standard input, called ``name``, is waited for, if someone has to type it."""
    if sys.stdin.isatty():
        print(f"reading {name} from the terminal, up to Ctrl-D (on Windows Ctrl-Z and Enter)", file=sys.stderr)


def _read_standard_input(name, file):
    if sys.stdin is None:
        raise Empty(f"{name}: standard input is closed; pipe a text into this command")
    announce(name)
    shutil.copyfileobj(sys.stdin.buffer, file, CHUNK)


def _read_pipe(name, file):
    """Copy what is written to a pipe, for whose writer nothing waits longer than PATIENCE."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)  # or opening it would wait for a writer without end
    with open(descriptor, "rb", buffering=0) as pipe:
        first = pipe.read(CHUNK)  # None: there is a writer, which has written nothing yet; b"": there is none
        if first == b"":
            select.select([pipe], [], [], PATIENCE)
        file.write(first or b"")
        os.set_blocking(descriptor, True)
        shutil.copyfileobj(pipe, file, CHUNK)
