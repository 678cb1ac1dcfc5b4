"""Files that are either whole or absent, and are checked when read: anyone may have written them.

Writing: beside the target, flush, rename. Reading: only regular files (a pipe would wait for ever, a device never
end), or links to them, as in the Hugging Face cache; and texts only up to a size, since Python's objects take many
times the memory of the JSON that they come from.
"""

import codecs
import errno
import json
import math
import os
import re
import reprlib
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl

    Held = BlockingIOError
except ImportError:  # Windows
    fcntl, Held = None, PermissionError
    import msvcrt

MAX_TEXT = 100_000_000  # bytes in a vocabulary, a merge list or a data set in JSON
MAX_CONFIG = 10_000_000  # bytes in a configuration or an index; the index of GPT-2 xl has 50,000

# A repository that was cloned without Git LFS has a few lines that begin like this in place of each large file.
POINTER = b"version https://git-lfs.github.com/spec/"

# Seconds between tries: on Windows a virus scanner, an indexer or a synchronised folder may hold a file for a moment.
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
HELD = 1.0  # seconds between looks at a lock that is held elsewhere, where the system cannot wait for it

ENCODINGS = {  # of text, by the byte order mark; the longer first: that of UTF-16 begins like that of UTF-32
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # JSON can spell half a character, which has no UTF-8 form
# Two halves, 12 characters; one without the other, 6; any other escape, 2.
ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..|\\.", re.DOTALL)


@contextmanager
def atomic_write(path, mode="wb"):
    """Open a temporary file beside ``path`` that takes its place only if the block ends without an error.

    The file is flushed to the disk before the rename and the folder after it, so that after a
    crash ``path`` holds either the old contents or the new, never a part. On any error the temporary
    file is removed and ``path`` is left unchanged.

    mode: "wb", or "w" for UTF-8 text with newlines written as given.
    raises: OSError (disk full, read-only folder, ...) as the system reports it, naming a file; also as
        ``check_replaceable``.
    """
    path = Path(path)
    check_replaceable(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    descriptor, temporary = _make(tempfile.mkstemp, path)
    try:
        with naming(path), open(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 would lock other users out
        replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _make(make, path):
    """Make a temporary file or folder beside ``path``, which an OSError names."""
    try:
        return make(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        error.filename = str(path)
        raise


def check_replaceable(path):
    """Raise OSError where a file may not take the place of ``path``: it is a folder, a pipe or a device.

    The rename of root's process would put a file in the place of /dev/null, for every program.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    stream = os.path.islink(path) and os.readlink(path).startswith("/proc/")  # /dev/stdout, also into a file
    if stream or not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise OSError(f"{path} is {kind}, and nothing takes its place: give the name of a file")


@contextmanager
def atomic_folder(path):
    """Make a temporary folder beside ``path`` that takes its place only if the block ends without an error.

    path: what is there, if anything, must be an empty folder; its parents are made
    raises: OSError as the system reports it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _make(tempfile.mkdtemp, path)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o777 & ~_umask())
        if path.is_dir():
            path.rmdir()  # Windows cannot rename onto a folder, even an empty one
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


@contextmanager
def naming(path):
    """Name ``path`` in an OSError of the block that names no file: a full disk's does not say which one did not fit."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def replace(source, target):
    """Rename ``source`` to ``target``, in place of what has that name, as ``os.replace`` does."""
    _patiently(os.replace, source, target)


def delete(path):
    """Remove a file, or a folder with all that is in it."""
    _patiently(shutil.rmtree if Path(path).is_dir() else os.unlink, path)


def _patiently(change, *paths):
    """Call ``change(*paths)``, and again while the system refuses it because another program has a file open."""
    for pause in (*PAUSES, None):
        try:
            return change(*paths)
        except OSError as error:  # not empty: a file that was removed stays until the other program has closed it
            if pause is None or not (isinstance(error, PermissionError) or error.errno == errno.ENOTEMPTY):
                raise
        time.sleep(pause)


def lock_file(path, wait=False):
    """Open ``path`` and lock it, until the file is closed or this process ends, however it ends.

    wait: True waits until it is free
    returns the open file, or None when the lock is held elsewhere.
    raises: OSError when the file cannot be made, or its file system does not support locks.
    """
    file = open(path, "a+b", buffering=0)  # noqa: SIM115  it stays open as long as it is locked
    try:
        while not _lock(file, wait):
            if not wait:
                file.close()
                return None
            time.sleep(HELD)
    except BaseException:
        file.close()
        raise
    return file


def _lock(file, wait):
    """Lock an open file; returns whether that was possible. Windows never waits: there it would give up after 10 s."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        else:
            file.seek(1 << 30)  # a byte beyond the end: on Windows locked bytes cannot be read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except Held:
        return False
    return True


def why_unwritable(folder):
    """Why no file can be written into a folder, which need not exist yet, in words; None where one can.

    Trying it leaves nothing behind.
    """
    folder = Path(folder).absolute()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(prefix=".", suffix=".tmp", dir=place):
            return None
    except OSError as error:
        return f"{place} is a file" if place.is_file() else f"{place}: {error.strerror}"


def sync_folder(folder):
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    if os.name == "nt":  # Windows cannot open a folder; its renames are journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def made_folder(path):
    """The folder ``path`` as a Path, made if it is not there.

    raises: TypeError for what is no path, ValueError for an empty one (not the current folder, which is "."),
        FileExistsError where a file is in the way, or another OSError.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"expected the path of a folder to write into, got {path!r}")
    if not os.fspath(path):
        raise ValueError("the path of the folder to write into is empty; the current folder is '.'")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise FileExistsError(f"{error.filename} is a file, not a folder to write into: give another path") from None
    return folder


def check_file(path, limit=math.inf):
    """The size in bytes of ``path``, which is a regular file or a link to one.

    limit: the most bytes that it may have
    raises: FileNotFoundError, or another OSError when it cannot be examined (no permission, circular links);
        ValueError, naming it, when it is a folder, a pipe, a device, larger, or only a pointer of Git LFS to the file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if not os.path.islink(path):
            raise
        raise FileNotFoundError(
            f"{path} is a link to {os.readlink(path)}, which is missing: fetch it again"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise ValueError(f"{path} is {kind}, expected a file")
    if status.st_size > limit:
        raise ValueError(f"{path} has {status.st_size:,} bytes, more than {limit:,}: that is not a file of this kind")
    if len(POINTER) < status.st_size < 1000:
        with open(path, "rb") as file:
            if file.read(len(POINTER)) == POINTER:
                raise ValueError(f"{path} is only a pointer of Git LFS to the file: fetch it with git lfs pull")
    return status.st_size


def read_text(path, limit=MAX_TEXT):
    """The text of the UTF-8 file ``path``, with \\n for every kind of line end; errors as in ``read_json``.

    A byte order mark, with which Windows programs begin a file, is not part of the text.
    """
    check_file(path, limit)
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        with open(path, "rb") as file:
            if encoding := marked_encoding(file.read(4)):
                raise ValueError(f"{path} is {encoding} text: save it as UTF-8") from None
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None


def marked_encoding(head):
    """The encoding other than UTF-8 whose byte order mark begins a file, from its first bytes; None without a mark."""
    return next((name for mark, name in ENCODINGS.items() if head.startswith(mark)), None)


def read_json(path, limit=MAX_TEXT):
    """The object that the JSON file ``path`` holds.

    limit: the most bytes that it may have; the object takes up to 36 times as many
    raises: FileNotFoundError when it is missing; ValueError, naming the file, when it is too large, not a regular
        file or not accepted by ``parse_json``.
    """
    return parse_json(read_text(path, limit), path)


def parse_json(text, source):
    """The object that a JSON text holds.

    text: str; source: its origin, for the message
    raises: ValueError, naming the source, when it is not JSON with an object at its top, or has something that not all
        readers understand alike: a key twice, NaN, infinity, a number beyond float64, half a character.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
        if HALF_CHARACTER.search(text):
            _check_halves(value, text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{source}: expected a JSON object {{...}}, got {type(value).__name__}")
    return value


def write_json(path, value):
    """Write ``value`` as readable UTF-8 JSON, atomically; numbers as ``finite`` has them."""
    with atomic_write(path, "w") as file:
        json.dump(finite(value), file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def finite(value):
    """A value for JSON, which has no NaN and no infinity: None stands for each number in it that is not finite."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def line_and_column(text, position):
    """The line and the column of a place in a text, both counted from 1."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _check_halves(value, text):
    """Raise ValueError where the value of a JSON text has half a character."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        half = next(escape for escape in ESCAPE.finditer(text) if len(escape[0]) == 6)
        line, column = line_and_column(text, half.start())
        place = f"line {line}, column {column}" if "\n" in text.strip() else f"column {column}"
        raise ValueError(f"{half[0]} in {place} is half a character (a lone surrogate)") from None


def _object(pairs):
    values = dict(pairs)
    if len(values) < len(pairs):
        new = set(values)
        for key, _ in pairs:
            if key not in new:
                raise ValueError(f"the key {reprlib.repr(key)} occurs twice")
            new.remove(key)
    return values


def _float(text):
    if math.isinf(number := float(text)):
        raise ValueError(f"the number {reprlib.repr(text)} is too large")
    return number


def _constant(text):
    raise ValueError(f"{text} is not a JSON number")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
