"""The download, against a small server of our own that redirects like the hub and fails on request."""

import errno
import hashlib
import http.server
import io
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from minigpt2 import hub

WEIGHTS = bytes(range(256)) * 2000  # 512,000 bytes: several chunks
SMALL = {"config.json": b'{"n_layer": 1}\n', "vocab.json": b'{"a": 0}\n', "merges.txt": b"#version: 0.2\n"}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """Serves ``files``: small ones at once, model.safetensors by a redirect to /storage, with ranges.

    requests: what was asked for, as (path, Range header or None).
    faults: taken from the front, one per request for a file's bytes: a status to answer with, a number of
        bytes after which to drop the line (negative), or None for a right answer.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {**SMALL, "model.safetensors": WEIGHTS}
        self.promised = {}  # file -> content that the headers describe, where it is not what is sent
        self.linked, self.ranges = True, True  # say checksums; answer to Range (-1: with the wrong part)
        self.lengths = True  # say Content-Length
        self.requests, self.faults = [], []

    def asked(self, name):
        """The ranges of ``name`` that were asked for behind the redirect."""
        return [byte_range for path, byte_range in self.requests if path == f"/storage/{name}"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.rsplit("/", 1)[-1]
        byte_range = self.headers.get("Range")
        server.requests.append((self.path, byte_range))
        if name not in server.files:
            return self.answer(404, b"Entry not found")
        promised = server.promised.get(name, server.files[name])
        if name == "model.safetensors" and "/resolve/main/" in self.path:
            headers = {"Location": f"/storage/{name}"}
            if server.linked:
                headers |= {"X-Linked-Etag": f'"{sha256(promised)}"', "X-Linked-Size": str(len(promised))}
            return self.answer(302, b"", headers)
        headers = {"ETag": f'"{git_sha1(promised)}"', "X-Repo-Commit": "0" * 40} if server.linked else {}
        fault = server.faults.pop(0) if server.faults else None
        if fault and fault > 0:
            return self.answer(fault, b"")
        content, status = server.files[name], 200
        if byte_range and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", byte_range)[1])
            if start >= len(content):
                return self.answer(416, b"")
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
            if server.ranges == -1:
                headers["Content-Range"] = f"bytes 0-{len(content) - 1}/{len(content)}"
        self.answer(status, content, headers, fault)

    def answer(self, status, content, headers=None, fault=None):
        self.send_response(status)
        length = {"Content-Length": str(len(content))} if self.server.lengths else {}
        for key, value in (length | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content[: -fault if fault else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    monkeypatch.setenv("MINIGPT2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(hub, "WAITS", (0, 0, 0))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    """Download model.safetensors into a folder of its own."""

    def fetch(**options):
        url = f"{server.url}/some/model/resolve/main/model.safetensors"
        return hub.download(url, tmp_path / "files" / "model.safetensors", **options)

    return fetch


def files_in(folder):
    """The names of all files there but the locks."""
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock")


# ---------------------------------------------------------------------------------------- what is found


def test_a_released_model_is_fetched_once_from_the_endpoint(server):
    folder = hub.locate("gpt2-medium")
    assert {name: (folder / name).read_bytes() for name in files_in(folder)} == server.files
    asked = {path for path, _ in server.requests if "/resolve/" in path}
    assert asked == {f"/openai-community/gpt2-medium/resolve/main/{name}" for name in server.files}
    server.requests.clear()
    assert hub.locate("gpt2-medium") == folder
    assert server.requests == []


def test_the_tokenizer_needs_no_weights(server):
    assert files_in(hub.locate("distilgpt2", files="tokenizer")) == ["merges.txt", "vocab.json"]
    assert server.requests[0][0] == "/distilbert/distilgpt2/resolve/main/vocab.json"


def test_a_folder_is_taken_as_it_is(tmp_path, monkeypatch):
    assert hub.locate(tmp_path) == tmp_path
    assert hub.locate(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("USERPROFILE", str(tmp_path.parent))
    assert hub.locate(f"~/{tmp_path.name}") == tmp_path


def test_the_built_in_model_needs_no_download(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shakespeare").mkdir()  # such a folder of the user's is ./shakespeare
    assert hub.locate("./shakespeare") == Path("shakespeare")
    assert hub.locate("shakespeare") == Path(hub.__file__).parent / "pretrained" / "shakespeare"


@pytest.mark.parametrize(
    "name, message",
    [
        ("gpt2-meduim", "unknown model 'gpt2-meduim' (did you mean 'gpt2-medium'?): expected one of sha"),
        ("llama", "unknown model 'llama': expected one of shakespeare, gpt2, gpt2-medium"),
        ("./gpt2", "there is no folder gpt2"),
        (Path("gpt2"), "there is no folder gpt2"),
        ("runs/best", "there is no folder runs"),
        (__file__, "is a file: give the folder that holds it"),
    ],
)
def test_an_unknown_model_gets_one_clear_error(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        hub.locate(name)


def test_an_endpoint_without_a_scheme_is_refused(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "hf-mirror.example")
    with pytest.raises(ValueError, match="HF_ENDPOINT: expected an address that starts with https://"):
        hub.locate("gpt2")


def test_the_cache_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("MINIGPT2_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for platform, folder in {
        "linux": ".cache/minigpt2",
        "darwin": "Library/Caches/minigpt2",
        "win32": "AppData/Local/minigpt2/Cache",
    }.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert hub.cache_folder() == tmp_path / folder
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert hub.cache_folder() == tmp_path / "local" / "minigpt2" / "Cache"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub.cache_folder() == tmp_path / "xdg" / "minigpt2"
    monkeypatch.setenv("MINIGPT2_CACHE", str(tmp_path / "mine"))
    assert hub.cache_folder() == tmp_path / "mine"


def test_a_corpus_is_fetched_once_and_checked(server, monkeypatch):
    text = b"First Citizen:\nBefore we proceed any further, hear me speak.\n" * 100
    server.files["input.txt"] = text
    entry = {"url": f"{server.url}/master/input.txt", "size": len(text), "sha256": sha256(text)}
    monkeypatch.setitem(hub.CORPORA, "shakespeare", entry)
    assert hub.corpus("shakespeare").read_bytes() == text
    assert hub.corpus("shakespeare").is_relative_to(hub.cache_folder())
    assert len(server.requests) == 1
    with pytest.raises(ValueError, match="unknown corpus 'goethe': expected one of shakespeare"):
        hub.corpus("goethe")


# ------------------------------------------------------------------------------------- how it is fetched


def test_what_has_arrived_is_not_asked_for_again(server, fetch):
    server.faults = [-200_000]
    assert fetch().read_bytes() == WEIGHTS
    assert files_in(fetch().parent) == ["model.safetensors"]
    first, second = server.asked("model.safetensors")
    assert first is None
    start = int(re.fullmatch(r"bytes=(\d+)-", second)[1])
    assert 200_000 - hub.CHUNK <= start < 200_000


def test_an_interrupted_download_is_taken_up_by_the_next_call(server, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "WAITS", ())
    server.faults = [-300_000]
    with pytest.raises(hub.DownloadError, match="broke off"):
        fetch()
    (part,) = (tmp_path / "files").glob("*.part")
    assert part.name == f"model.safetensors.{sha256(WEIGHTS)}.part"
    arrived = part.stat().st_size
    assert arrived > 100_000
    assert fetch().read_bytes() == WEIGHTS
    assert server.asked("model.safetensors")[-1] == f"bytes={arrived - 1}-"


def test_a_complete_part_is_only_checked(server, fetch, tmp_path):
    """The power went between the last byte and the renaming."""
    part = tmp_path / "files" / f"model.safetensors.{sha256(WEIGHTS)}.part"
    part.parent.mkdir()
    part.write_bytes(WEIGHTS)
    assert fetch().read_bytes() == WEIGHTS
    assert server.asked("model.safetensors") == [f"bytes={len(WEIGHTS) - 1}-"]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "name, content",
    [
        ("its own", b"not the beginning of the file" * 100),
        ("its own", WEIGHTS + b"too long"),
        ("its own", b""),
        ("another version's", WEIGHTS[:100_000]),
        ("another version's", WEIGHTS * 2),
        ("unchecked", WEIGHTS[:100_000]),
    ],
)
def test_a_bad_part_is_replaced(server, fetch, tmp_path, ranges, name, content):
    server.ranges = ranges
    digest = {"its own": sha256(WEIGHTS), "another version's": "f" * 64}.get(name, name)
    part = tmp_path / "files" / f"model.safetensors.{digest}.part"
    part.parent.mkdir()
    part.write_bytes(content)
    assert fetch().read_bytes() == WEIGHTS
    assert files_in(tmp_path / "files") == ["model.safetensors"]


@pytest.mark.parametrize("ranges, requests", [(False, 2), (-1, 3)])
def test_a_server_that_knows_no_ranges_starts_from_the_front(server, fetch, ranges, requests):
    server.faults, server.ranges = [-200_000], ranges
    assert fetch().read_bytes() == WEIGHTS
    assert len(server.asked("model.safetensors")) == requests


def test_a_part_survives_an_answer_that_is_no_file(server, fetch):
    server.faults = [-200_000, 503, 503]
    assert fetch().read_bytes() == WEIGHTS
    assert server.asked("model.safetensors")[-1] is not None


def test_a_passing_failure_is_tried_again(server, fetch):
    server.faults = [503, 429, 500]
    assert fetch().read_bytes() == WEIGHTS


def test_a_lasting_failure_is_an_error(server, fetch, tmp_path):
    server.faults = [503] * 4
    with pytest.raises(hub.DownloadError, match=r"cannot download .*HTTP status 503\); try again later"):
        fetch()
    assert len(server.asked("model.safetensors")) == 4
    assert files_in(tmp_path) == []


def test_without_a_checksum_the_length_is_checked_and_nothing_is_resumed(server, fetch):
    server.linked, server.faults = False, [-200_000]
    assert fetch().read_bytes() == WEIGHTS
    assert server.asked("model.safetensors") == [None, None]


@pytest.mark.parametrize("wrong, message", [(-1, r"what came is not the file"), (1, "broke off after")])
def test_the_length_is_checked_even_if_it_is_all_that_is_known(server, fetch, tmp_path, wrong, message):
    server.linked = server.lengths = False
    with pytest.raises(hub.DownloadError, match=message):
        fetch(size=len(WEIGHTS) + wrong)
    assert files_in(tmp_path) == []
    assert fetch(size=len(WEIGHTS)).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "options",
    [{"size": len(WEIGHTS) + 1}, {"size": len(WEIGHTS) - 1}, {"sha256": "0" * 64}, {"sha256": sha256(b"")}],
)
def test_another_file_than_expected_is_refused(server, fetch, tmp_path, options):
    with pytest.raises(hub.DownloadError, match=r"cannot download http://.*(expected|what came is not)"):
        fetch(**options)
    assert files_in(tmp_path) == []
    assert len(server.asked("model.safetensors")) == 1, "trying again would not help"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("change", [lambda content: content[:-1] + b"?", lambda content: content + b"?"])
def test_a_file_that_is_not_what_the_hub_promised_is_refused(server, name, change):
    server.promised[name] = change(server.files[name])
    with pytest.raises(hub.DownloadError, match=name):
        hub.locate("gpt2")
    assert name not in files_in(hub.cache_folder())
    assert not list(hub.cache_folder().rglob("*.part"))


def test_a_file_that_is_not_there(server):
    del server.files["merges.txt"]
    with pytest.raises(hub.DownloadError, match=r"/merges.txt: there is no such file .*set HF_ENDPOINT"):
        hub.locate("gpt2")
    assert len([path for path, _ in server.requests if path.endswith("merges.txt")]) == 1


def test_no_network(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(hub.DownloadError, match=r"no connection to 127.0.0.1.*set HF_ENDPOINT to"):
        hub.locate("gpt2")
    assert files_in(hub.cache_folder()) == []


def test_a_silent_server_is_not_waited_for_forever(server, fetch, monkeypatch):
    monkeypatch.setattr(hub, "TIMEOUT", (0.2, 0.2))
    monkeypatch.setattr(hub, "WAITS", ())
    release = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda handler: release.wait(10))
    start = time.monotonic()
    try:
        with pytest.raises(hub.DownloadError, match=r"no connection to 127.0.0.1"):
            fetch()
        assert time.monotonic() - start < 5
    finally:
        release.set()


# ------------------------------------------------------------------------------------- where it is kept


def test_a_cache_that_cannot_be_made(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MINIGPT2_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot write to .*or set MINIGPT2_CACHE to another folder"):
        hub.locate("gpt2")
    assert server.requests == []


def test_a_read_only_cache(server, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(hub, "open", refuse, raising=False)  # root, whom no permission stops, runs tests too
    with pytest.raises(PermissionError, match=r"cannot write to .*get permission.*MINIGPT2_CACHE"):
        hub.locate("gpt2")
    assert server.requests == []


@pytest.mark.parametrize("where", ["write", "fsync", "rename"])
def test_a_full_disk(server, fetch, tmp_path, monkeypatch, where):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class FullFile(io.FileIO):
        def write(self, data):
            return full() if self.tell() > 100_000 else super().write(data)

    if where == "write":
        monkeypatch.setattr(hub, "open", lambda path, mode: FullFile(path, "ab"), raising=False)
    else:
        monkeypatch.setattr(os, {"fsync": "fsync", "rename": "replace"}[where], full)
    with pytest.raises(OSError, match=r"No space left.* make room .* or set MINIGPT2_CACHE") as caught:
        fetch()
    assert caught.value.errno == errno.ENOSPC
    assert files_in(tmp_path) == []
    monkeypatch.undo()
    assert fetch().read_bytes() == WEIGHTS


def test_an_interrupt_leaves_no_bad_file(server, fetch, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert files_in(tmp_path) == [f"model.safetensors.{sha256(WEIGHTS)}.part"]
    assert fetch().read_bytes() == WEIGHTS


def test_several_at_once_agree(server, tmp_path):
    """As when a class of students starts on a shared home folder."""
    folders, errors = [], []

    def student():
        try:
            folders.append(hub.locate("gpt2"))
        except Exception as error:  # pytest would not see a thread's exception
            errors.append(error)

    server.faults = [None, 503, None, None, -100_000]
    threads = [threading.Thread(target=student) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {name: (folders[0] / name).read_bytes() for name in files_in(folders[0])} == server.files
    assert len(server.asked("model.safetensors")) <= 2, "fetched once, and once more after the broken line"


def test_progress_shows_on_a_terminal_only(server, fetch, monkeypatch, capfd):
    fetch()
    assert capfd.readouterr() == ("", "")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    hub.download(f"{server.url}/config.json", hub.cache_folder() / "config.json", description="the config")
    assert "the config: 100%" in terminal.getvalue()


# ------------------------------------------------------------------------------------ the real addresses

internet = pytest.mark.skipif(os.environ.get("MINIGPT2_NETWORK") != "1", reason="needs MINIGPT2_NETWORK=1")


@internet
@pytest.mark.network
def test_the_real_corpus(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT2_CACHE", str(tmp_path))
    assert hub.corpus("shakespeare").read_text(encoding="ascii").startswith("First Citizen:\n")


@internet
@pytest.mark.network
def test_the_real_hub_gives_checksums(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT2_CACHE", str(tmp_path))
    assert files_in(hub.locate("gpt2", files="tokenizer")) == ["merges.txt", "vocab.json"]
    url = "https://huggingface.co/openai-community/gpt2/resolve/main/"
    for file, digits in {"merges.txt": 40, "model.safetensors": 64}.items():
        with requests.get(url + file, stream=True, timeout=30) as response:
            assert len(hub._linked(response)[1]) == digits
