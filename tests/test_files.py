"""Files of other systems: byte order marks, and what Windows refuses for a moment."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import minigpt2
from minigpt2 import GPT2, Tokenizer
from minigpt2.storage import files
from minigpt2.storage.hub import BUILT_IN

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def no_pauses(monkeypatch):
    """The pauses that were made, which take no time."""
    pauses = []
    monkeypatch.setattr(files.time, "sleep", pauses.append)
    return pauses


def refusing(function, error, times):
    """``function``, which raises ``error`` so many times before it does what it does."""
    left = [error] * times

    def refuse(*arguments, **options):
        if left:
            raise left.pop()
        return function(*arguments, **options)

    return refuse


# ------------------------------------------------------------------------------------------ byte order marks


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_byte_order_mark_is_no_part_of_a_file(name, tmp_path):
    folder = shutil.copytree(BUILT_IN["shakespeare"], tmp_path / "model")
    content = (folder / name).read_bytes() if (folder / name).exists() else b"{}"
    (folder / name).write_bytes(BOM + content)
    expected, tokenizer = Tokenizer.from_pretrained("shakespeare"), Tokenizer.from_pretrained(folder)
    assert (tokenizer.vocab, tokenizer.merges) == (expected.vocab, expected.merges)
    assert GPT2.from_pretrained(folder).config == GPT2.from_pretrained("shakespeare").config


def test_only_the_first_mark_is_one(tmp_path):
    (tmp_path / "x").write_bytes(BOM + BOM + "a\ufeffb\r\n".encode())
    assert files.read_text(tmp_path / "x") == "\ufeffa\ufeffb\n"
    (tmp_path / "x").write_bytes(BOM)
    assert files.read_text(tmp_path / "x") == ""


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_text_of_powershell_is_named(encoding, tmp_path):
    (tmp_path / "x.json").write_bytes("\ufeff{}".encode(encoding))
    with pytest.raises(ValueError, match=r"x\.json is UTF-16 text: save it as UTF-8"):
        files.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"{}\xff\xfe")
    with pytest.raises(ValueError, match=r"x\.json is not UTF-8 text: .*position 2"):
        files.read_json(tmp_path / "x.json")


# ----------------------------------------------------------------------------------- refused for a moment


REFUSED = PermissionError(errno.EACCES, "Access is denied")


def test_a_rename_that_is_refused_is_tried_again(tmp_path, no_pauses, monkeypatch):
    monkeypatch.setattr(os, "replace", refusing(os.replace, REFUSED, 3))
    files.write_json(tmp_path / "x.json", {"a": 1})
    assert files.read_json(tmp_path / "x.json") == {"a": 1} and len(no_pauses) == 3
    assert no_pauses == sorted(set(no_pauses)), "longer each time"


def test_a_rename_that_stays_refused_changes_nothing(tmp_path, no_pauses, monkeypatch):
    files.write_json(tmp_path / "x.json", {"a": 1})
    monkeypatch.setattr(os, "replace", refusing(os.replace, REFUSED, 99))
    with pytest.raises(PermissionError):
        files.write_json(tmp_path / "x.json", {"a": 2})
    assert 2 <= sum(no_pauses) <= 3, "seconds"
    assert os.listdir(tmp_path) == ["x.json"] and files.read_json(tmp_path / "x.json") == {"a": 1}


def test_another_error_is_not_tried_again(tmp_path, no_pauses, monkeypatch):
    monkeypatch.setattr(os, "replace", refusing(os.replace, OSError(errno.ENOSPC, "full"), 1))
    with pytest.raises(OSError, match="full"):
        files.write_json(tmp_path / "x.json", {})
    assert no_pauses == []


@pytest.mark.parametrize("error", [REFUSED, OSError(errno.ENOTEMPTY, "Directory not empty")])
def test_a_removal_that_is_refused_is_tried_again(error, tmp_path, no_pauses, monkeypatch):
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/inner/file").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr(os, "unlink", refusing(os.unlink, error, 1))
    files.delete(tmp_path / "file")
    monkeypatch.setattr(os, "rmdir", refusing(os.rmdir, error, 1))
    files.delete(tmp_path / "folder")
    assert os.listdir(tmp_path) == [] and len(no_pauses) == 2


def test_all_modules_rename_remove_and_show_progress_in_one_way():
    package = Path(minigpt2.__file__).parent
    texts = {path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert {name for name, text in texts.items() if "os.replace" in text} == {"storage/files.py"}
    assert {name for name, text in texts.items() if "tqdm import" in text} == {"progress.py"}


# --------------------------------------------------------------------------------------------------- locks


def test_waiting_for_a_lock(tmp_path):
    first = files.lock_file(tmp_path / ".lock")
    assert files.lock_file(tmp_path / ".lock") is None
    threading.Timer(0.3, first.close).start()
    start = time.monotonic()
    files.lock_file(tmp_path / ".lock", wait=True).close()
    assert time.monotonic() - start > 0.2


# Windows as it is documented: LK_LOCK tries ten times, a second apart, and gives up; LK_NBLCK tries once.
WINDOWS = """
import errno, subprocess, sys, time, types  # subprocess looks for msvcrt when it is imported
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_LOCK, msvcrt.LK_NBLCK, free_at = 1, 2, time.monotonic() + 30
def locking(descriptor, mode, n):
    if time.monotonic() < free_at:
        if mode == msvcrt.LK_NBLCK:
            raise PermissionError(errno.EACCES, "Permission denied")
        time.monotonic = lambda now=time.monotonic() + 10: now
        raise OSError(errno.EDEADLK, "Resource deadlock avoided")
msvcrt.locking = locking
sys.modules.update(msvcrt=msvcrt, fcntl=None)
now = time.monotonic()
time.monotonic = lambda: now
def sleep(seconds):
    global now
    now += seconds
time.sleep = sleep
from pathlib import Path
from minigpt2.storage import download, files
path = Path(sys.argv[1])
assert files.lock_file(path / ".lock") is None
with download._alone(path / "weights"):
    print("alone after", round(now - free_at + 30) // 10 * 10, "seconds")
"""


def test_windows_waits_as_long_as_a_download_takes(tmp_path):
    done = subprocess.run([sys.executable, "-c", WINDOWS, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "alone after 30 seconds\n", done.stderr
    assert done.stderr == f"waiting for another download into {tmp_path}\n"


# ------------------------------------------------------------------------------------ what is no file


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes")
@pytest.mark.parametrize("kind", ["a pipe or a device", "a folder"])
def test_nothing_takes_the_place_of_what_is_no_file(kind, tmp_path):
    """Not even if the system would let it: root can rename a file to /dev/null."""
    path, linked = tmp_path / "x", tmp_path / "linked"
    os.mkfifo(path) if "pipe" in kind else path.mkdir()
    linked.symlink_to(path)
    for target in path, linked:
        with pytest.raises(OSError, match=f"{target} is {kind}, .* name of a file"), files.atomic_write(target):
            pytest.fail("the file is written")
    assert sorted(place.name for place in tmp_path.iterdir()) == ["linked", "x"]
    assert path.is_dir() if kind == "a folder" else path.is_fifo()


def test_a_link_to_a_stream_of_the_process_is_no_file(tmp_path):
    """What /dev/stdout is, also when it goes to a file."""
    (tmp_path / "x").symlink_to("/proc/self/exe")
    if not (tmp_path / "x").is_file():
        pytest.skip("this system has no /proc")
    with pytest.raises(OSError, match="x is a pipe or a device"), files.atomic_write(tmp_path / "x"):
        pytest.fail("the file is written")
