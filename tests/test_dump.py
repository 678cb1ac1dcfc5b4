"""The file that a program in C writes, and what other files are called that are given in its place."""

import gzip
import io
import pickle
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minigpt2.cli import main
from minigpt2.storage.checkpoint import write_tensors
from minigpt2.verification.dump import DTYPES, MAGIC, read_dump
from minigpt2.verification.trace import read_trace

PAGE = Path(__file__).parents[1] / "notebooks/site/verify.md"


def dumped(**arrays):
    """A dump, as the page's program in C writes it."""
    content = MAGIC
    for name, array in arrays.items():
        content += " ".join([name, array.dtype.name, *map(str, array.shape)]).encode() + b"\n"
        content += array.astype(array.dtype.newbyteorder("<")).tobytes()
    return content


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back(tmp_path, dtype):
    rng = np.random.default_rng(0)
    arrays = {
        f"a.{i}": (100 * rng.standard_normal(shape)).astype(dtype)
        for i, shape in enumerate([(), (1,), (2, 3, 4), (0,), (3, 0), (5, 1, 1, 1)])
    }
    (tmp_path / "theirs").write_bytes(dumped(**arrays))
    back, metadata = read_trace(tmp_path / "theirs")
    assert list(back) == list(arrays) and metadata == {}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_a_dump_without_arrays_is_empty(tmp_path):
    (tmp_path / "theirs").write_bytes(MAGIC)
    assert read_dump(tmp_path / "theirs") == {}


GOOD = dumped(embd=np.arange(6, dtype="float32").reshape(2, 3))


def test_a_program_in_c_writes_it(tmp_path):
    """The program in the page, with what stands in for a model."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs gcc or clang")
    code = re.search(r"^```c\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)[1]
    assert len(code.splitlines()) <= 30
    body = """
        int main(void) {
            float embd[2][3] = {{0, 1, 2}, {3, 4, 5.5f}}, loss = 0.25f;
            dump("embd", &embd[0][0], 3, (int[]){1, 2, 3});
            dump("loss", &loss, 0, NULL);
            return 0;
        }
    """
    (tmp_path / "theirs.c").write_text(code + body)
    command = [compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "theirs.c", "-o", "theirs"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "theirs"], cwd=tmp_path, check=True)
    theirs, _ = read_trace(tmp_path / "theirs.dump")
    np.testing.assert_array_equal(theirs["embd"], np.float32([[[0, 1, 2], [3, 4, 5.5]]]), strict=True)
    np.testing.assert_array_equal(theirs["loss"], np.float32(0.25), strict=True)


DAMAGED = {
    "cut short": (GOOD[:-1], r"is cut short: embd \(2, 3\) needs 24 bytes, and 23 follow"),
    "cut short within a line": (MAGIC + b"embd float32 2", "at byte 14 expected a line like"),
    "more numbers than the line says": (GOOD + bytes(4), "at byte 55 .*an array before it has more or fewer numbers"),
    "fewer numbers than the line says": (GOOD + GOOD[14:-4] + GOOD[14:], "twice"),
    "a name twice": (GOOD + GOOD[14:], "embd occurs twice: write one pass into one file"),
    "a huge shape": (MAGIC + b"a float32 9999999999 9999999999\n", "beyond NumPy's"),
    "a huge shape of nothing": (MAGIC + b"a float32 0 9999999999 9999999999 9999999999\n", "beyond NumPy's"),
    "a long array": (MAGIC + b"a float32 1000000000\n", "needs 4,000,000,000 bytes, and 0 follow"),
    "a long number": (MAGIC + b"a float32 " + b"9" * 500 + b"\n", "expected a line like"),
    "a negative size": (MAGIC + b"a float32 -1\n", "expected a line like"),
    "other digits": (MAGIC + "a float32 ٣\n".encode() + bytes(12), "expected a line like"),
    "33 axes": (MAGIC + b"a float32" + 33 * b" 1" + b"\n" + bytes(4), "expected a line like"),
    "another dtype": (MAGIC + b"a object 1\n" + bytes(8), "expected a line like"),
    "no name": (MAGIC + b" float32 1\n" + bytes(4), "expected a line like"),
    "a name of two words": (MAGIC + b"my embd float32 1\n" + bytes(4), "expected a line like"),
    "a line without end": (MAGIC + b"a" * 10**6, "expected a line like"),
    "no UTF-8": (MAGIC + b"\xff float32 1\n" + bytes(4), "expected a line like"),
    "CRLF": (MAGIC + b"a float32 1\r\n" + bytes(4), "expected a line like"),
    "a name that writes on the terminal": (MAGIC + b"\x1b[31m float32 9\n", r"'\\x1b\[31m' \(9,\) needs 36 bytes"),
    "a long name": (MAGIC + b"n" * 900 + b" float32 9\n", r"'nnn.{,40}nnn' \(9,\) needs"),
}  # fmt: skip


@pytest.mark.parametrize("content, words", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_dump_is_refused(tmp_path, content, words):
    path = tmp_path / "theirs.dump"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_trace(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < len(str(path)) + 300
    assert str(caught.value).isprintable()


# Files of other kinds.


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"0")
    return content.getvalue()


def saved(save, *arguments, **options):
    content = io.BytesIO()
    save(content, *arguments, **options)
    return content.getvalue()


OTHER = {
    "theirs.pt": (zipped("archive/data.pkl", "archive/version"), r"a pickle, .*safetensors\.torch\.save_file"),
    "bare.pt": (zipped("data.pkl", "version"), r"a pickle, .*safetensors\.torch\.save_file"),
    "later.pt": (zipped("theirs/version", "theirs/data.pkl"), r"a pickle, .*safetensors\.torch\.save_file"),
    "old.pt": (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2), "a pickle, "),
    "theirs.pkl": (pickle.dumps({"logits": [1.0]}), "a pickle, "),
    "text.pkl": (pickle.dumps({"logits": [1.0]}, 0), "a pickle, "),
    "binary.pkl": (pickle.dumps({"logits": [1.0]}, 1), "a pickle, "),
    "theirs.npy": (saved(np.save, np.ones(3)), "a single array .*savez"),
    "objects.npz": (saved(np.savez, a=np.array([{}], dtype=object)), "object instead of plain numbers"),
    "text.npz": (zipped("a.txt"), "damaged, or not an .npz file"),
    "theirs.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file, .*savez"),
    "theirs.gguf": (b"GGUF\x03\0\0\0" + bytes(100), "a GGUF file, .*savez"),
    "theirs.onnx": (b"\x08\x08\x12\x07pytorch\x1a\x055.1.0" + bytes(100), "an ONNX file, .*savez"),
    "made.onnx": (b"\x08\x0a:\x10\n\x01x\x12\x01y" + bytes(100), "an ONNX file, .*savez"),
    "theirs.msgpack": (b"\x81\xa6params\x82\xa3wte\x81" + bytes(100), "a msgpack file, .*savez"),
    "flax_model.msgpack": (b"\x81\xabtransformer\x84\xa1h" + bytes(100), "a msgpack file, .*savez"),
    "manifest.ocdbt": (b"\x0c\xdb\x3a\x2a" + bytes(100), "a checkpoint of Orbax, .*savez"),
    "theirs.npz.gz": (gzip.compress(b"PK" + bytes(100)), "packed with gzip, .*unpack it first"),
    "model.safetensors.index.json": (
        b'{"metadata": {"total_size": 9}, "weight_map": {"a": "b"}}', "an index of several files, .*one of the files"),
    "theirs.json": (b'{"logits": [1.0]}', "JSON text, .*savez"),
    "empty.safetensors": (b"", "is empty"),
    "empty.npz": (b"", "is empty"),
    "theirs.bin": (np.arange(100, dtype="<f4").tobytes(), "neither safetensors nor .npz nor a dump .*savez"),
    "numbers.txt": (b"0.1 0.2 0.3\n", "neither safetensors nor .npz nor a dump .*savez"),
}  # fmt: skip


@pytest.mark.parametrize("name, content, words", [(name, *rest) for name, rest in OTHER.items()], ids=OTHER)
def test_another_file_is_named_in_one_line_with_what_to_do(tmp_path, capsys, name, content, words):
    write_tensors(tmp_path / "ours.safetensors", {"embd": np.ones((1, 1, 2))})
    (tmp_path / name).write_bytes(content)
    assert main(["compare", str(tmp_path / "ours.safetensors"), str(tmp_path / name)]) not in (0, None)
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and name in error
    assert re.search(words, error), error


def test_a_folder_is_named_with_what_to_do(tmp_path):
    """As Orbax writes a checkpoint."""
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(ValueError, match=r"checkpoint is a folder, .*savez"):
        read_trace(tmp_path / "checkpoint")


def test_a_file_of_torch_is_named(tmp_path):
    torch = pytest.importorskip("torch", reason="writes files with torch")
    for options in {}, {"_use_new_zipfile_serialization": False}:
        torch.save({"logits": torch.ones(2)}, tmp_path / "theirs.pt", **options)
        with pytest.raises(ValueError, match=r"a pickle, .*safetensors\.torch\.save_file"):
            read_trace(tmp_path / "theirs.pt")
