r"""Named arrays in the simplest file that a program in C can write, without a library.

The file begins with the line ``minigpt2 dump``. Then, for each array, one line

    NAME DTYPE SIZE SIZE ...

with single spaces between, in UTF-8: a name without spaces; ``float32``, ``float64``, ``int32`` or ``int64``; and
the size of each axis, none for a single number. After that line's ``\n`` come the numbers, little-endian, the last
axis fastest, with nothing before, between or after them; then the line of the next array.

    minigpt2 dump
    embd float32 2 24 48
    (9216 bytes)
    loss float32
    (4 bytes)
"""

import math
import re
import reprlib

import numpy as np

from minigpt2.storage.checkpoint import MAX_DIMENSIONS, printable
from minigpt2.storage.files import check_file

MAGIC = b"minigpt2 dump\n"
DTYPES = {"float32": "<f4", "float64": "<f8", "int32": "<i4", "int64": "<i8"}
MAX_LINE = 1000  # bytes; a name of ours and its shape have 60


def read_dump(path):
    """Read a file of named arrays in the format above.

    returns dict from name to array.
    raises: FileNotFoundError; ValueError, naming the file, when it is no such file, is cut short or damaged.
    """
    size, arrays = check_file(path), {}
    with open(path, "rb") as file:
        if file.readline(MAX_LINE) != MAGIC:
            raise ValueError(f"{path} is no dump of arrays: it should begin with the line {MAGIC.decode().strip()!r}")
        while file.tell() < size:
            name, dtype, shape = _read_line(file, path)
            if name in arrays:
                raise ValueError(f"{path}: {printable(name)} occurs twice: write one pass into one file")
            needed = math.prod(shape) * dtype.itemsize
            if needed > size - file.tell():
                raise ValueError(
                    f"{path} is cut short: {printable(name)} {reprlib.repr(shape)} needs {needed:,} bytes, "
                    f"and {size - file.tell():,} follow"
                )
            arrays[name] = np.fromfile(file, dtype, math.prod(shape)).reshape(shape)
    return arrays


def _read_line(file, path):
    """Name, dtype and shape of the next array."""
    start, line = file.tell(), file.readline(MAX_LINE)
    match = re.fullmatch(rf"(\S+) ({'|'.join(DTYPES)})((?: [0-9]{{1,10}}){{0,{MAX_DIMENSIONS}}})\n", _text(line))
    if match is None:
        raise ValueError(
            f"{path}: at byte {start:,} expected a line like 'embd float32 2 24 48', got "
            f"{reprlib.repr(line)}: an array before it has more or fewer numbers than its line says"
        )
    shape = tuple(int(number) for number in match[3].split())
    if math.prod(filter(None, shape)) > 2**60:
        raise ValueError(f"{path}: {printable(match[1])} has a shape beyond NumPy's, {reprlib.repr(shape)}")
    return match[1], np.dtype(DTYPES[match[2]]), shape


def _text(line):
    try:
        return line.decode()
    except UnicodeDecodeError:
        return ""
