"""Reading .npz files from strangers: plain arrays whose size is known beforehand, or one clear error."""

import contextlib
import io
import math
import os
import re
import reprlib
import struct
import tokenize
import zipfile
import zlib

from numpy.lib import format as npy

from minigpt2.storage.checkpoint import MAX_DIMENSIONS
from minigpt2.storage.files import MAX_CONFIG, check_file

MAX_NPY_HEADER = 10_000  # bytes, as in NumPy
MAX_UNPACKED = 2**28  # bytes in the arrays of a compressed .npz: a wrong trace may be all zeros, and small on the disk
NPZ_ERRORS = (  # from zipfile and NumPy; OSError: an offset points before the start of the file
    ValueError, TypeError, AttributeError, EOFError, NotImplementedError, OverflowError, OSError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_npz(path):
    """Read a file of plain arrays written by numpy.savez or savez_compressed.

    path: its arrays, unpacked, may have MAX_UNPACKED bytes together, or 4 times those of the file if that is more
    returns dict from name to array.
    raises: FileNotFoundError; ValueError, naming the file, when it is damaged or not such a file.
    """
    size = check_file(path)
    with _Limited(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_arrays(archive, max(MAX_UNPACKED, 4 * size))
        except NPZ_ERRORS as error:
            raise ValueError(f"{path} is damaged, or not an .npz file of plain arrays: {str(error)[:200]}") from None


class _Limited(io.FileIO):
    """A file that refuses to read much at a time: the length of an .npz's directory is only the file's own claim."""

    def read(self, size=-1):
        left = os.fstat(self.fileno()).st_size - self.tell()
        if (size := left if size < 0 else size) > MAX_CONFIG:
            raise ValueError(f"its directory would have {size:,} bytes")
        return super().read(size)


def _read_arrays(archive, limit):
    """The arrays of an .npz file, of at most ``limit`` bytes together; one of NPZ_ERRORS for anything else."""
    arrays, members = {}, archive.infolist()
    if (total := sum(member.file_size for member in members)) > limit:
        raise ValueError(f"its arrays would have {total:,} bytes, more than {limit:,}; write it with numpy.savez")
    for member in members:
        name = member.filename.removesuffix(".npy")
        shown = reprlib.repr(name)
        if name in arrays:
            raise ValueError(f"{shown} occurs twice")
        if ".." in re.split(r"[/\\]", name) or re.match(r"([A-Za-z]:)?[/\\]", name):
            raise ValueError(f"{shown} is a path, not the name of an array")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise ValueError(f"{shown} is encrypted, or compressed in a way that NumPy does not use")
        with archive.open(member) as file:
            shape, dtype = _read_npy_header(file, shown)
            if dtype.kind not in "biufc":
                raise ValueError(f"{shown} holds {dtype} instead of plain numbers, as with allow_pickle")
            expected = math.prod(shape) * dtype.itemsize
            if file.tell() + expected != member.file_size or min(shape, default=0) < 0 or len(shape) > MAX_DIMENSIONS:
                raise ValueError(f"{shown} claims the shape {reprlib.repr(shape)}, which its bytes do not fill")
            file.seek(0)
            arrays[name] = npy.read_array(file, allow_pickle=False)
    return arrays


def _read_npy_header(file, shown):
    """The shape and dtype that the .npy file ``file`` claims to have."""
    version = npy.read_magic(file)
    lengths, read_header = (2, npy.read_array_header_1_0) if version == (1, 0) else (4, npy.read_array_header_2_0)
    if int.from_bytes(file.peek(lengths)[:lengths], "little") <= MAX_NPY_HEADER:
        with contextlib.suppress(SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
            # Python's parser raises these when brackets or signs are nested too deep.
            shape, _, dtype = read_header(file)
            return shape, dtype
    raise ValueError(f"{shown} has a header that NumPy does not write")
