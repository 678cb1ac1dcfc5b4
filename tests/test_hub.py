"""The download, against a small server of our own that redirects like the hub and fails on request."""

import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from hostile_server import HostileServer, answer, chunked, drip, silence

from minigpt2 import GPT2, Tokenizer
from minigpt2.data import documents
from minigpt2.storage import download, hub, hub_cache, model_names
from minigpt2.tasks import TASKS, lambada

WEIGHTS = bytes(range(256)) * 2000  # 512,000 bytes: several chunks
FILES_OF_GPT2 = ("config.json", "vocab.json", "merges.txt", "model.safetensors")
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
    monkeypatch.setattr(download, "WAITS", (0, 0, 0))
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
    assert hub.locate("shakespeare") == Path(hub.__file__).parents[1] / "pretrained" / "shakespeare"


@pytest.mark.parametrize(
    "name, message",
    [
        ("gpt2-meduim", "unknown model 'gpt2-meduim' (did you mean 'gpt2-medium'?): expected one of sha"),
        ("llama", "unknown model 'llama': expected one of shakespeare, gpt2, gpt2-medium"),
        ("./gpt2", "there is no folder gpt2 (did you mean 'gpt2'?)"),
        ("gpt2/", "there is no folder gpt2 (did you mean 'gpt2'?)"),
        (Path("gpt2"), "there is no folder gpt2"),
        ("runs/best", "there is no folder runs"),
        ("https://huggingface.co/some/one", "got an address: give some/one"),
        ("https://huggingface.co/openai-community/gpt2/tree/main", "got an address: give openai-community/gpt2"),
        (__file__, "is a file: give the folder that holds it"),
    ],
)
def test_an_unknown_model_gets_one_clear_error(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        hub.locate(name)


def test_an_endpoint_with_plain_http_is_told_what_to_write(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://hf-mirror.example/hub/")
    with pytest.raises(ValueError, match=r"plain http, to hf-mirror.*; write https://hf-mirror.example/hub$"):
        hub.locate("gpt2")


@pytest.mark.parametrize("address", ["hf-mirror.example", "hf-mirror.example:8080/hub"])
def test_an_endpoint_without_a_scheme_is_refused(server, monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(ValueError, match=f"starts with https://, got one with no scheme; write https://{address}$"):
        hub.locate("gpt2")


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        ("GPT2 gpt-2 gpt_2 Gpt2 gpt2-small gpt2_small GPT2-124M gpt2-117m gpt2-base openai/gpt2 gpt2.", "gpt2"),
        ("gpt2_medium gpt2medium gpt2-meduim GPT-2-Medium gpt2-355M gpt2-345m", "gpt2-medium"),
        ("gpt2-Large gpt2-lage gpt2-774m gpt-2-large gpt2_762M", "gpt2-large"),
        ("gpt2xl gpt2-XL gpt2-1.5b GPT2_1558M", "gpt2-xl"),
        ("distil-gpt2 distillgpt2 DistilGPT2", "distilgpt2"),
        ("Shakespeare shakespear shakespere", "shakespeare"),
        ("llama gpt3 gpt-j-6b bert gpt4 opt-125m gpt-neo-125m gpt2-tiny mistral t5 gpt-1 42 - é", None),
    ],
)
def test_a_mistyped_name_is_guessed_right_or_not_at_all(names, meant):
    expected = f" (did you mean {meant!r}?)" if meant else ""
    assert {name: model_names.did_you_mean(name) for name in names.split()} == dict.fromkeys(names.split(), expected)


# ------------------------------------------------------------------------------ models of anyone's on the hub

TOKENIZER = {"tokenizer.json": b'{"model": {}}', "tokenizer_config.json": b"{}"}


@pytest.fixture
def anyones(server):
    """Serve a GPT-2 with a tokenizer.json and without all that a model may lack."""
    server.files = {"config.json": b'{"model_type": "gpt2"}', **TOKENIZER, "model.safetensors": WEIGHTS}
    return server


def asked_for(server):
    """The files that were asked for, in order, without what comes behind a redirect."""
    return [path.partition("/resolve/main/")[2] for path, _ in server.requests if "/resolve/main/" in path]


def test_any_gpt2_on_the_hub_is_fetched_once(anyones):
    folder = hub.locate("some-one/Tiny_GPT2.v1")
    assert folder == hub.cache_folder() / "models" / "some-one--Tiny_GPT2.v1"
    assert {name: (folder / name).read_bytes() for name in files_in(folder)} == anyones.files
    assert asked_for(anyones)[0] == "config.json", "what kind of model it is decides on the rest"
    assert asked_for(anyones)[-1] == "model.safetensors"
    assert all(path.startswith(("/some-one/Tiny_GPT2.v1/resolve/main/", "/storage/")) for path, _ in anyones.requests)
    anyones.requests.clear()
    assert hub.locate("some-one/Tiny_GPT2.v1", files="tokenizer") == hub.locate("some-one/Tiny_GPT2.v1") == folder
    assert anyones.requests == []


def test_the_tokenizer_of_any_gpt2_needs_no_weights(anyones):
    assert files_in(hub.locate("some/one", files="tokenizer")) == ["config.json", *TOKENIZER]
    assert "model.safetensors" not in asked_for(anyones)
    for name in TOKENIZER:
        del anyones.files[name]
    with pytest.raises(ValueError, match=r"some/other has no tokenizer: neither tokenizer\.json nor vocab\.json"):
        hub.locate("some/other", files="tokenizer")
    assert "model.safetensors" in files_in(hub.locate("some/other")), "ids in, ids out"


def test_a_model_of_anyones_writes_as_its_folder_does(server):
    built_in = hub.BUILT_IN["shakespeare"]
    server.files = {name: (built_in / name).read_bytes() for name in FILES_OF_GPT2}
    model, tokenizer = GPT2.from_pretrained("some/one"), Tokenizer.from_pretrained("some/one")
    ids = tokenizer.encode("ROMEO:")
    assert (model.generate([ids], 5) == GPT2.from_pretrained("shakespeare").generate([ids], 5)).all()
    assert set(asked_for(server)) == {*FILES_OF_GPT2, *hub.OTHER_TOKENIZER_FILES}


def test_a_model_in_shards(anyones):
    index = {"weight_map": {"wte.weight": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}}
    shards = {name: name.encode() for name in index["weight_map"].values()}
    del anyones.files["model.safetensors"]
    anyones.files |= {"model.safetensors.index.json": json.dumps(index).encode(), **shards}
    folder = hub.locate("some/one")
    assert {name: (folder / name).read_bytes() for name in files_in(folder)} == anyones.files
    index["weight_map"]["b"] = "../../config.safetensors"
    anyones.files["model.safetensors.index.json"] = json.dumps(index).encode()
    with pytest.raises(ValueError, match=r"expected the name of a .safetensors file, got '../../config.safetensors'"):
        hub.locate("some/other")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b'{"model_type": "llama"}', "some/one is no GPT-2: its config.json says that model_type is 'llama'"),
        (b'{"model_type": ["gpt2"]}', "some/one is no GPT-2"),
        (b"<html>", "config.json is not valid JSON"),
        (b"[]", "expected a JSON object"),
    ],
)
def test_what_is_no_gpt2_is_refused_before_its_weights(anyones, config, message):
    anyones.files["config.json"] = config
    for _ in range(2):
        with pytest.raises(ValueError, match=re.escape(message)):
            hub.locate("some/one")
    assert set(asked_for(anyones)) == {"config.json"}


def test_without_safetensors_the_next_step_is_said(anyones):
    anyones.files["pytorch_model.bin"] = anyones.files.pop("model.safetensors")
    with pytest.raises(ValueError, match=r"some/one has no weights as safetensors.* minigpt2 convert FOLDER --out NEW"):
        hub.locate("some/one")
    assert "pytorch_model.bin" not in asked_for(anyones)


def test_small_files_of_strangers_are_small(anyones, monkeypatch):
    monkeypatch.setattr(hub, "MAX_CONFIG", 10)
    with pytest.raises(hub.DownloadError, match="has 22 bytes, more than the 10 of any such file"):
        hub.locate("some/one")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_model_that_is_not_there(server, status, monkeypatch):
    """The hub answers 401 for a model that does not exist, as for one that is not public."""
    monkeypatch.setattr(Handler, "do_GET", lambda handler: handler.answer(status, b""))
    message = rf"no folder openai/gpt-2, and {server.url} has no public model openai/gpt-2 .*\(did you mean 'gpt2'\?\)"
    with pytest.raises(hub.DownloadError, match=message + f".*HTTP status {status}") as error:
        hub.locate("openai/gpt-2")
    fetch_it = "fetch it with Hugging Face's own program, `hf download openai/gpt-2`"
    assert (fetch_it in str(error.value)) == (status != 404)
    assert files_in(hub.cache_folder()) == []


@pytest.mark.parametrize(
    "name",
    ["runs/nano", "models/gpt2", "mine/gone", "a/b/c", "some/one/", "/some/one", "./some/one", "~/one", "../one",
     "some/..", "some/a..b", "some--one/x", "some/one two", "some\\one", "some/öne", "some/model.safetensors",
     "some/model.pt", "some/" + "x" * 97, "some/one?x=1", "some/one#x", "some/one\n", "-some/one", "some/.one",
     Path("some/one"), "@me/one", "some:one/x", "some/one%2e", "http://x/y"],
)  # fmt: skip
def test_a_path_is_never_asked_for_on_the_network(anyones, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match=r"there is no folder|unknown model"):
        hub.locate(name)
    assert anyones.requests == []


def test_the_full_name_of_a_released_model_is_that_model(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai-community").mkdir()
    folder = hub.locate("openai-community/gpt2", files="tokenizer")
    assert folder == hub.locate("gpt2", files="tokenizer") == hub.cache_folder() / "models" / "gpt2"
    assert asked_for(server) == ["vocab.json", "merges.txt"]


# ------------------------------------------------------------------------- what Hugging Face's libraries have fetched


def hugging_face_cache(root, repository="openai-community/gpt2", commit="abc123", names=FILES_OF_GPT2, links=True):
    """Make the cache of Hugging Face's libraries with one model; returns the folder of its files."""
    folder = root / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for place in (snapshot, folder / "blobs", folder / "refs"):
        place.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    for name in names:
        (folder / "blobs" / name).write_bytes(b"{}")
        if links and os.name != "nt":
            (snapshot / name).symlink_to(Path("../../blobs") / name)
        else:  # as on Windows, where links need a privilege
            shutil.move(folder / "blobs" / name, snapshot / name)
    return snapshot


@pytest.fixture
def home(server, tmp_path, monkeypatch):
    """A home folder, and no variable that names a cache."""
    for variable, _ in hub_cache.PLACES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("offline", [{}, {"HF_HUB_OFFLINE": "1"}, {"TRANSFORMERS_OFFLINE": "true"}])
@pytest.mark.parametrize("name", ["gpt2", "openai-community/gpt2"])
def test_the_cache_of_hugging_face_is_looked_into_first(server, home, monkeypatch, name, offline, links):
    for variable, value in offline.items():
        monkeypatch.setenv(variable, value)
    snapshot = hugging_face_cache(home / ".cache/huggingface/hub", links=links)
    assert hub.locate(name) == hub.locate(name, files="tokenizer") == hub.cached(name) == snapshot
    assert server.requests == [] and not hub.cache_folder().exists()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"HF_HUB_CACHE": "a", "HF_HOME": "b"}, "a"),
        ({"HUGGINGFACE_HUB_CACHE": "a", "HF_HOME": "b"}, "a"),
        ({"TRANSFORMERS_CACHE": "a", "HF_HOME": "b"}, "a"),
        ({"HF_HOME": "b", "XDG_CACHE_HOME": "c"}, "b/hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": "c"}, "c/huggingface/hub"),
    ],
)
def test_where_the_cache_of_hugging_face_is(server, home, tmp_path, monkeypatch, variables, place):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value and str(tmp_path / value))
    assert hub_cache.hub_cache() == tmp_path / place
    snapshot = hugging_face_cache(tmp_path / place, "some/one")
    assert hub.locate("some/one") == snapshot and server.requests == []


def test_the_newest_name_of_a_model_and_the_commit_of_main(home):
    root = home / ".cache/huggingface/hub"
    old = hugging_face_cache(root, "gpt2")  # from the days before models had owners
    assert hub.locate("gpt2") == old
    new = hugging_face_cache(root, commit="def456")
    assert hub.locate("gpt2") == new
    hugging_face_cache(root, commit="newer")
    (root / "models--openai-community--gpt2/refs/main").write_text("def456\n")
    assert hub.locate("gpt2") == new
    (root / "models--openai-community--gpt2/refs/main").write_text("../../../models--gpt2/snapshots/abc123")
    os.utime(new, (2e9, 2e9))
    assert hub.locate("gpt2") == new, "a commit is no path; without one the newest is taken"


def test_what_lacks_there_is_downloaded(server, home):
    hugging_face_cache(home / ".cache/huggingface/hub", names=("config.json", "model.safetensors", "vocab.json"))
    assert hub.locate("gpt2").name == "abc123" and server.requests == []
    assert hub.locate("gpt2", files="tokenizer") == hub.cache_folder() / "models" / "gpt2"
    hugging_face_cache(home / ".cache/huggingface/hub", "distilbert/distilgpt2", names=("config.json",))
    assert files_in(hub.locate("distilgpt2")) == sorted(server.files), "an old one, with a pickle perhaps"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_to_nothing_is_no_file(server, home):
    """Someone has made room in the cache."""
    snapshot = hugging_face_cache(home / ".cache/huggingface/hub")
    (snapshot / "model.safetensors").resolve().unlink()
    assert hub.locate("gpt2") == hub.cache_folder() / "models" / "gpt2"
    assert hub.locate("gpt2", files="tokenizer") == hub.locate("gpt2")


def test_shards_in_that_cache_must_all_be_there(anyones, home):
    names = ("config.json", "model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors")
    snapshot = hugging_face_cache(home / ".cache/huggingface/hub", "some/one", names=names)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / names[1]).write_text(json.dumps(index))
    assert hub.locate("some/one") == snapshot and anyones.requests == []
    (snapshot / "model-2.safetensors").unlink()
    assert hub.locate("some/one") == hub.cache_folder() / "models" / "some--one"


@pytest.mark.parametrize("below", ["", "snapshots/abc123"])
def test_a_folder_of_that_cache_can_be_given(tmp_path, below):
    snapshot = hugging_face_cache(tmp_path, "some/one")
    assert hub.locate(tmp_path / "models--some--one" / below) == snapshot


@pytest.mark.parametrize("value", ["1", "true", "YES", "On"])
@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_asks_nothing_and_says_so(server, home, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    message = f"^some/one is neither in .*some--one nor in .*hub, and {variable}={value} says not to ask the network"
    with pytest.raises(hub.DownloadError, match=message):
        hub.locate("some/one")
    with pytest.raises(hub.DownloadError, match=f"{variable}={value} says not to ask the network; unset it, or put it"):
        hub.corpus("lambada")
    assert server.requests == [] and files_in(home.parent) == []
    names = ("config.json", "pytorch_model.bin")
    pickled = hugging_face_cache(home / ".cache/huggingface/hub", "some/one", names=names)
    assert hub.locate("some/one") == pickled, "whoever reads it says what it lacks"
    monkeypatch.setenv(variable, "0")
    assert "vocab.json" in files_in(hub.locate("gpt2"))


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
    with pytest.raises(ValueError, match="unknown corpus 'goethe': expected one of shakespeare, lambada"):
        hub.corpus("goethe")


def test_a_corpus_that_cannot_be_fetched_can_be_given(server, monkeypatch):
    monkeypatch.setitem(hub.CORPORA, "lambada", {"url": f"{server.url}/gone", "size": 1, "sha256": "0" * 64})
    with pytest.raises(hub.DownloadError, match=r"status 404\)\. Or fetch it .*, and give its path for 'lambada'$"):
        hub.corpus("lambada")


def test_another_file_in_the_place_of_a_corpus_is_not_taken_for_it(server, monkeypatch):
    monkeypatch.setitem(hub.CORPORA, "lambada", {"url": f"{server.url}/x", "size": 4, "sha256": sha256(b"true")})
    path = hub.corpus_path("lambada")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"fake")
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is not the text 'lambada': .*remove it .*or give"):
        hub.corpus("lambada")
    path.write_bytes(b"true")
    assert hub.corpus("lambada") == path and not server.requests


def test_every_corpus_has_an_address_a_length_and_a_checksum(server):
    """The data of tasks are called like the task, and keep the ending by which they are read."""
    assert hub.CORPORA.keys() - TASKS.keys() == {"shakespeare"}
    for entry in hub.CORPORA.values():
        assert download.objection_to(entry["url"]) is None and entry["url"].startswith("https:")
        assert 0 < entry["size"] < 10**7 and re.fullmatch("[0-9a-f]{64}", entry["sha256"])
    assert hub.corpus_path("shakespeare").name == "shakespeare.txt"
    assert hub.corpus_path("lambada").name == "lambada.jsonl" and hub.corpus_path("coqa").name == "coqa.json"


def test_the_data_of_a_task_are_downloaded_by_its_name(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = b'{"text": "The king is in the castle"}\n'
    server.files["lambada_test.jsonl"] = content
    entry = {"url": f"{server.url}/lambada_test.jsonl", "size": len(content), "sha256": sha256(content)}
    monkeypatch.setitem(hub.CORPORA, "lambada", entry)
    assert list(documents("lambada")) == ["The king is in the castle"]
    assert list(lambada.load(["lambada"])) == [("\nThe king is in the", " castle")]
    assert len(server.requests) == 1
    (tmp_path / "lambada").write_text("a file of mine")
    assert list(documents("lambada")) == ["a file of mine"]


# ------------------------------------------------------------------------------------- how it is fetched


def test_what_has_arrived_is_not_asked_for_again(server, fetch):
    server.faults = [-200_000]
    assert fetch().read_bytes() == WEIGHTS
    assert files_in(fetch().parent) == ["model.safetensors"]
    first, second = server.asked("model.safetensors")
    assert first is None
    start = int(re.fullmatch(r"bytes=(\d+)-", second)[1])
    assert 200_000 - download.CHUNK <= start < 200_000


def test_an_interrupted_download_is_taken_up_by_the_next_call(server, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "WAITS", ())
    server.faults = [-300_000]
    with pytest.raises(hub.DownloadError, match="was lost"):
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


@pytest.mark.parametrize("wrong, message", [(-1, r"the download is not the file"), (1, "was lost after")])
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
    with pytest.raises(hub.DownloadError, match=r"cannot download http://.*(expected|the download is not)"):
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
    monkeypatch.setattr(download, "TIMEOUT", (0.2, 0.2))
    monkeypatch.setattr(download, "WAITS", ())
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
    message = rf"cannot write to .*or set MINIGPT2_CACHE to another folder than {re.escape(str(tmp_path / 'file'))}$"
    with pytest.raises(OSError, match=message):
        hub.locate("gpt2")
    assert server.requests == []


def test_a_read_only_cache(server, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(download, "lock_file", refuse)  # root, whom no permission stops, runs tests too
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
        monkeypatch.setattr(download, "open", lambda path, mode: FullFile(path, "ab"), raising=False)
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


def test_progress_shows_on_a_terminal_and_nowhere_else_if_it_is_quick(server, fetch, monkeypatch, capfd):
    monkeypatch.delenv("TQDM_DISABLE")
    fetch()
    assert capfd.readouterr() == ("", "")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    hub.download(f"{server.url}/config.json", hub.cache_folder() / "config.json", description="the config")
    assert "the config: 100%" in terminal.getvalue()


# ------------------------------------------------------------------------------------- a hostile network

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes: five chunks
N = len(CONTENT)
HALF = CONTENT[: N // 2]
PACKED = gzip.compress(CONTENT)
PORTAL = b"<html>Please log in</html>" + b" " * (N - 26)
OTHER = CONTENT[:-1] + b"?"  # as long, but another file
TOMORROW = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)

# What the server answers before it answers right, and what comes of it: the right file, or an error like this. The
# first outcome is that of a file whose length and checksum are known, the second, if another, where nothing is known.
RIGHT = None
LASTING = 9  # more often than anyone asks
FAULTS = {
    "dropped before the answer": ([b""], RIGHT),
    "dropped in the headers": ([b"HTTP/1.1 200 OK\r\nContent-Le"], RIGHT, "nothing can be checked"),
    "dropped in the body": ([answer(200, HALF, Content_Length=N)], RIGHT),
    "dropped in the body, for ever": ([answer(200, HALF, Content_Length=N)] * LASTING, "was lost"),
    "no body": ([answer(200, b"", Content_Length=N)], RIGHT),
    "an empty file": ([answer(200, b"")] * LASTING, "0 bytes, expected 307200", "accepted"),
    "no HTTP": ([b"SSH-2.0-OpenSSH_9.6\r\n"] * LASTING, "no connection to 127.0.0.1, or it was lost"),
    "random bytes": ([random.Random(0).randbytes(5000)] * LASTING, "no connection to 127.0.0.1"),
    "never an answer": ([silence()] * LASTING, "no connection to 127.0.0.1"),
    "silent once": ([silence()], RIGHT),
    "silent in the body": ([silence(answer(200, HALF, Content_Length=N))], RIGHT),
    "silent in the body, for ever": ([silence(answer(200, HALF, Content_Length=N))] * LASTING,
                                     "no connection|too slow"),
    "a status line byte by byte": ([drip(b"HTTP/1.1 200 ")] * LASTING, "too slow"),
    "headers byte by byte": ([drip(b"HTTP/1.1 200 OK\r\nX: ")] * LASTING, "too slow"),
    "a body byte by byte": ([drip(answer(200, HALF, Content_Length=N))] * LASTING, "too slow"),
    "a chunk's length byte by byte": ([drip(chunked(200, HALF) + b"5;")] * LASTING, "too slow",
                                     "nothing can be checked"),
    "huge headers": ([answer(200, **{f"X{i}": "x" * 60_000 for i in range(200)})] * LASTING, "no connection"),
    "an endless header line": ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000] * LASTING, "no connection"),
    "longer than said": ([answer(200, CONTENT + b"more", Content_Length=N)], RIGHT),
    "a longer file": ([answer(200, CONTENT + b"more")], "307204 bytes, expected 307200", "accepted"),
    "a shorter file": ([answer(200, HALF)], "153600 bytes, expected 307200", "accepted"),
    "another file": ([answer(200, OTHER)], "the download is not the file", "accepted"),
    "a web page of the right length": ([answer(200, PORTAL, Content_Type="text/html; charset=utf-8")],
                                       "the download is not the file", "a web page .* log in"),
    "no length": ([answer(200, CONTENT, Content_Length=None)], RIGHT, "nothing can be checked"),
    "no length, cut off": ([answer(200, HALF, Content_Length=None)], RIGHT, "nothing can be checked"),
    "a negative length": ([answer(200, CONTENT, Content_Length=-5)], RIGHT, "nothing can be checked"),
    "a length that is no number": ([answer(200, CONTENT, Content_Length="many")], RIGHT, "nothing can be checked"),
    "an absurd length": ([answer(200, HALF, Content_Length="9" * 3000)], RIGHT, "nothing can be checked"),
    "two lengths": ([answer(200, CONTENT, content_length=5)] * LASTING, "."),
    "chunks": ([chunked(200, HALF, CONTENT[len(HALF):]) + b"0\r\n\r\n"], RIGHT, "nothing can be checked"),
    "chunks, cut off": ([chunked(200, HALF)], RIGHT, "nothing can be checked"),
    "chunks without an end": ([chunked(200, *[CONTENT] * 5)] * LASTING, "download is not", "nothing can be checked"),
    "a bad chunk": ([chunked(200, HALF) + b"zzz\r\n"], RIGHT, "nothing can be checked"),
    "packed": ([answer(200, PACKED, Content_Encoding="gzip")], r"compressed \(gzip\)"),
    "packed badly": ([answer(200, HALF, Content_Encoding="gzip")], r"compressed \(gzip\)"),
    "a part that was not asked for": ([answer(206, HALF, Content_Range=f"bytes 5-{N // 2}/{N}")], RIGHT),
    "a part without its range": ([answer(206, HALF)], RIGHT),
    "a part of what range": ([answer(206, HALF, Content_Range="bytes */*")], RIGHT),
    "a part with a range in words": ([answer(206, HALF, Content_Range="the rest")], RIGHT),
    "no such part": ([answer(416)], RIGHT),
    "no such part, for ever": ([answer(416)] * LASTING, "does not continue"),
    "204": ([answer(204)], "refuses .*204"),
    "304": ([answer(304)], "refuses .*304"),
    "401": ([answer(401, WWW_Authenticate="Basic")], "refuses .*401"),
    "403": ([answer(403)], "refuses .*403"),
    "404": ([answer(404)], "no such file .*404"),
    "418, with a body without an end": ([drip(answer(418, b"x", Content_Length=10**9))], "refuses .*418"),
    "429": ([answer(429)], RIGHT),
    "429 for ever": ([answer(429)] * LASTING, "429.*try again later"),
    "429 for a second": ([answer(429, Retry_After=1)], RIGHT),
    "429 for a date in the past": ([answer(429, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT")], RIGHT),
    "429 for a date": ([answer(429, Retry_After=TOMORROW)], "429.*try again in (1 day|2[34]:)"),
    "429 for an hour": ([answer(429, Retry_After=3600)], r"429\); try again in 1:00:00"),
    "429 for an age": ([answer(429, Retry_After="9" * 5000)], "429.*try again in .* days"),
    "429 for nonsense": ([answer(429, Retry_After="soon")], RIGHT),
    "429 for a negative time": ([answer(429, Retry_After=-5)], RIGHT),
    "500": ([answer(500)], RIGHT),
    "500 for ever": ([answer(500)] * LASTING, "500.*try again later"),
    "503 for an hour": ([answer(503, Retry_After=3600)], "503.*try again in 1:00:00"),
    "redirect to itself": ([answer(302, Location="/file.bin")] * 99, "more than 10 redirects"),
    "redirect to ever new places": ([answer(307, Location=f"/{i}") for i in range(99)], "more than 10 redirects"),
    "redirect that is fine": ([answer(301, Location="elsewhere?a=b#c")], RIGHT),
    "redirect without an end": ([drip(answer(302, b"x", Location="/elsewhere", Content_Length=10**9))], RIGHT),
    "redirect to nowhere": ([answer(302)], "refuses .*302"),
    "redirect to plain http": ([answer(302, Location="http://example.com/file.bin")], "plain http, to example.com"),
    "redirect to //": ([answer(302, Location="//example.com/file.bin")], "plain http, to example.com"),
    "redirect to almost here": ([answer(302, Location="http://127.0.0.1.example.com/")], "plain http, to 127.0.0.1.ex"),
    "redirect to two hosts": ([answer(302, Location="http://example.com\\@127.0.0.1/")], "plain http|user name"),
    "redirect to a number": ([answer(302, Location="http://2130706434/")], "plain http"),
    "redirect to file": ([answer(302, Location="file:///etc/passwd")], "the scheme 'file'"),
    "redirect to ftp": ([answer(302, Location="ftp://127.0.0.1/file.bin")], "the scheme 'ftp'"),
    "redirect to data": ([answer(302, Location="data:text/plain,hello")], "the scheme 'data'"),
    "redirect to no address": ([answer(302, Location="http://[::1")], "not an address|no host"),
    "redirect with a password": ([answer(302, Location="https://me:secret@example.com/")], "a user name or password"),
    "a name and a path": ([answer(200, CONTENT, Content_Disposition='attachment; filename="../../evil"')], RIGHT),
    "a cookie": ([answer(302, Location="/a", Set_Cookie="a=b"), answer(200, CONTENT)], RIGHT),
}  # fmt: skip


@pytest.fixture
def hostile(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "WAITS", (0,))
    monkeypatch.setattr(download, "TIMEOUT", (0.2, 0.15))
    monkeypatch.setattr(download, "PATIENCE", 0.25)
    with HostileServer(CONTENT) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_server_does(hostile, tmp_path, monkeypatch, fault, known):
    """In the end the right file or a clear error, soon, and nothing that would spoil the next try."""
    naps = []
    monkeypatch.setattr(download.time, "sleep", naps.append)
    hostile.faults, *outcomes = list(FAULTS[fault][0]), *FAULTS[fault][1:]
    outcome = outcomes[0 if known else -1]
    path = tmp_path / "cache" / "file.bin"
    options = {"size": N, "sha256": sha256(CONTENT)} if known else {}
    begun = time.monotonic()
    if outcome is RIGHT:
        assert hub.download(hostile.url, path, **options) == path
        assert path.read_bytes() == CONTENT and files_in(tmp_path) == ["file.bin"]
    elif outcome == "accepted":  # nothing is known of the file, and it came as the server said
        assert len(hub.download(hostile.url, path).read_bytes()) in (0, N // 2, N, N + 4)
    else:
        with pytest.raises(hub.DownloadError, match=f"^cannot download http://127.*: .*({outcome})") as error:
            hub.download(hostile.url, path, **options)
        assert len(str(error.value)) < 400 and "secret" not in str(error.value)
        assert not path.exists()
        hostile.faults.clear()
        assert hub.download(hostile.url, path, **options).read_bytes() == CONTENT
        assert files_in(tmp_path) == ["file.bin"]
    assert time.monotonic() - begun < 5
    assert max(naps, default=0) <= download.LONGEST_WAIT


@pytest.mark.parametrize(
    "answer_to_range",
    [
        answer(206, CONTENT[5:], Content_Range=f"bytes 5-{N - 1}/{N}"),
        answer(206, CONTENT[N // 2 :]),
        answer(206, CONTENT[N // 2 :], Content_Range=f"bytes {N // 2 - 1}-{N - 1}/{N + 7}"),
        answer(206, OTHER[N // 2 - 1 :], Content_Range=f"bytes {N // 2 - 1}-{N - 1}/{N}"),
        answer(206, CONTENT[N // 2 - 1 : -9], Content_Range=f"bytes {N // 2 - 1}-{N - 10}/{N}"),
        answer(206, gzip.compress(HALF), Content_Range=f"bytes {N // 2 - 1}-{N - 1}/{N}", Content_Encoding="gzip"),
        answer(200, CONTENT),
        answer(200, HALF, Content_Length=N),
        answer(200, OTHER),
        answer(416),
        answer(416, Content_Range="bytes */5"),
        answer(503),
        b"",
    ],
)
def test_whatever_the_answer_to_a_range(hostile, tmp_path, answer_to_range):
    path = tmp_path / "file.bin"
    path.with_name(f"file.bin.{sha256(CONTENT)}.part").write_bytes(HALF)
    hostile.faults = [answer_to_range]
    with suppress(hub.DownloadError):
        hub.download(hostile.url, path, N, sha256(CONTENT))
    assert b"Range: bytes=153599-\r\n" in hostile.requests[0]
    assert hub.download(hostile.url, path, N, sha256(CONTENT)).read_bytes() == CONTENT
    assert files_in(tmp_path) == ["file.bin"]


def test_no_credentials_and_no_proxy(hostile, tmp_path, monkeypatch):
    """What is in ~/.netrc is for others, and a proxy would carry plain http off this machine."""
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    hostile.faults = [answer(302, Location="/there")]
    assert hub.download(hostile.url, tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(hostile.requests) == 2 and not re.search(rb"(?i)authorization|cookie", b"".join(hostile.requests))


@pytest.mark.parametrize(
    "address, objection",
    [
        ("http://localhost:5/x", None),
        ("http://127.9.9.9/x", None),
        ("http://[::1]:80/x", None),
        ("HTTPS://example.com/x", None),
        ("http://example.com", "plain http, to example.com"),
        ("http://localhost.example.com", "plain http"),
        ("http://0.0.0.0", "plain http"),
        ("http://[::2]", "plain http"),
        ("https://me:secret@example.com", "a user name or password"),
        ("http://127.0.0.1@example.com", "a user name or password"),
        ("https://", "no host"),
        ("file:///etc/passwd", "the scheme 'file'"),
        ("example.com/x", "no scheme"),
    ],
)
def test_addresses(address, objection, monkeypatch, tmp_path):
    found = download.objection_to(address)
    assert found is None if objection is None else found.startswith(objection)
    if objection:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("MINIGPT2_CACHE", str(tmp_path))
        with pytest.raises(ValueError, match="HF_ENDPOINT: expected an address that starts with https://") as error:
            hub.locate("gpt2")
        assert "secret" not in str(error.value)
        with pytest.raises(hub.DownloadError, match=re.escape(objection)):
            hub.download(address, tmp_path / "file.bin")


@pytest.fixture
def https(tmp_path, hostile):
    """Turn the hostile server into one that speaks TLS, with a certificate of its own making; give that file."""
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes a certificate, is not here")
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hostile.socket = context.wrap_socket(hostile.socket, server_side=True)
    hostile.url = hostile.url.replace("http:", "https:")
    return certificate


def test_a_certificate_that_nobody_trusts(https, hostile, tmp_path, monkeypatch):
    path = tmp_path / "cache" / "file.bin"
    with pytest.raises(hub.DownloadError, match=r"127.0.0.1 cannot prove that it is.*CERTIFICATE_VERIFY_FAILED"):
        hub.download(hostile.url, path)
    assert hostile.requests == [] and files_in(path.parent) == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", __file__)
    with pytest.raises(hub.DownloadError, match=r"REQUESTS_CA_BUNDLE names .*, which holds no certificates"):
        hub.download(hostile.url, path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", https)
    assert hub.download(hostile.url, path).read_bytes() == CONTENT


def test_no_redirect_leads_away_from_https(https, hostile, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", https)
    with HostileServer(CONTENT) as plain:
        hostile.faults = [answer(302, Location=plain.url)]
        with pytest.raises(hub.DownloadError, match="a redirect leads away from https"):
            hub.download(hostile.url, tmp_path / "file.bin")
        assert plain.requests == []


def test_no_tls_where_it_is_expected(hostile, tmp_path):
    with pytest.raises(hub.DownloadError, match=r"no connection to 127.0.0.1.*SSL"):
        hub.download(hostile.url.replace("http:", "https:"), tmp_path / "file.bin")


def test_a_host_without_an_address(hostile, tmp_path, no_proxy):
    with pytest.raises(hub.DownloadError, match=r"no connection to nowhere.invalid, or it was lost \(.*resol"):
        hub.download("https://nowhere.invalid/x", tmp_path / "file.bin")


@pytest.fixture
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variable", "proxy", "message"),
    [
        ("HTTPS_PROXY", "http://127.0.0.1:9", "the proxy http://127.0.0.1:9, which HTTPS_PROXY names, gives no connec"),
        ("https_proxy", "127.0.0.1:9", "the proxy 127.0.0.1:9, which https_proxy names, gives no connection"),
        ("ALL_PROXY", "http://nowhere.invalid:9", "which ALL_PROXY names, gives no connection"),
        ("HTTPS_PROXY", "http://", "HTTPS_PROXY names http://, which is no address of a proxy such as http://127"),
        ("HTTPS_PROXY", "http://127.0.0.1:port", "which is no address of a proxy"),
        ("HTTPS_PROXY", "http://[::1", "which is no address of a proxy"),
        ("HTTPS_PROXY", "foo://127.0.0.1:9", "which is no address of a proxy"),
        ("HTTPS_PROXY", "http://me:secret@127.0.0.1:9", "the proxy http://127.0.0.1:9, which"),
        ("HTTPS_PROXY", "me:secret@127.0.0.1:9", "HTTPS_PROXY names 127.0.0.1:9, which is no address of a proxy"),
    ],
)
def test_a_proxy_that_does_not_work_is_named(server, no_proxy, monkeypatch, variable, proxy, message):
    monkeypatch.setenv("HF_ENDPOINT", "https://nowhere.invalid")
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(hub.DownloadError, match=re.escape(message)) as error:
        hub.locate("gpt2")
    assert f"correct or unset {variable}" in str(error.value) or "correct or unset it" in str(error.value)
    assert "secret" not in str(error.value) and "HF_ENDPOINT" not in str(error.value)


def test_a_proxy_that_needs_a_package(server, no_proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "https://nowhere.invalid")
    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", SOCKS_WITHOUT_ITS_PACKAGE)
    with pytest.raises(hub.DownloadError, match=r"needs one more package: pip install 'requests\[socks\]'$"):
        hub.locate("gpt2")


def SOCKS_WITHOUT_ITS_PACKAGE(*_, **__):
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_named(server, no_proxy, monkeypatch, variable):
    monkeypatch.setenv("HF_ENDPOINT", "https://nowhere.invalid")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, "/nowhere.pem")
    with pytest.raises(hub.DownloadError, match=f"{variable} names /nowhere.pem, which does not exist: correct or uns"):
        hub.locate("gpt2")


def test_a_file_without_an_end_does_not_fill_the_disk(hostile, tmp_path, monkeypatch):
    """Its checksum is known, but not its length."""
    monkeypatch.setattr(download, "LARGEST", 100_000)
    hostile.faults = [chunked(200, *[CONTENT] * 20)]
    with pytest.raises(hub.DownloadError, match="the download is not the file"):
        hub.download(hostile.url, tmp_path / "file.bin", sha256=sha256(CONTENT))
    assert files_in(tmp_path) == []


LINK = pytest.param(
    "link to nothing", marks=pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
)


@pytest.mark.parametrize("kind", ["folder", LINK, "folder named like the part"])
def test_something_else_stands_where_the_file_belongs(hostile, tmp_path, kind):
    path = tmp_path / "cache" / "file.bin"
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
    else:
        path.with_name(f"file.bin.{sha256(CONTENT)}.part").mkdir()
    if kind == "link to nothing":
        assert hub.download(hostile.url, path).read_bytes() == CONTENT
        assert not path.is_symlink() and not (tmp_path / "nothing").exists()
    else:
        with pytest.raises(OSError, match=r"cannot write to .*MINIGPT2_CACHE"):
            hub.download(hostile.url, path, N, sha256(CONTENT))
        assert not path.is_file()


DOWNLOAD = "import sys; from minigpt2.storage import hub; hub.download(*sys.argv[1:3], int(sys.argv[3]), sys.argv[4])"


def process(server, path):
    return subprocess.Popen([sys.executable, "-c", DOWNLOAD, server.url, path, str(N), sha256(CONTENT)])


@pytest.mark.slow
def test_several_processes_at_once_ask_a_slow_server_once(hostile, tmp_path):
    def slow(connection, server):
        connection.sendall(answer(200, HALF, Content_Length=N))
        server.closing.wait(1)
        connection.sendall(CONTENT[N // 2 :])

    hostile.faults = [slow]
    processes = [process(hostile, tmp_path / "file.bin") for _ in range(6)]
    assert [process.wait(30) for process in processes] == [0] * 6
    assert (tmp_path / "file.bin").read_bytes() == CONTENT and files_in(tmp_path) == ["file.bin"]
    assert len(hostile.requests) == 1 or download.fcntl is None


def test_a_killed_process_is_taken_up_by_the_next(hostile, tmp_path):
    """It leaves its lock file and what has arrived; the lock itself dies with it."""
    hostile.faults = [silence(answer(200, CONTENT[: N // 2], Content_Length=N))]
    path = tmp_path / "file.bin"
    part = path.with_name(f"file.bin.{sha256(CONTENT)}.part")
    killed = process(hostile, path)
    while killed.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    arrived = part.stat().st_size
    assert 0 < arrived <= N // 2 and not path.exists()
    assert hub.download(hostile.url, path, N, sha256(CONTENT)).read_bytes() == CONTENT
    assert f"Range: bytes={arrived - 1}-".encode() in hostile.requests[1]


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
            assert len(download._linked(response)[1]) == digits


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("gpt2-m", "gpt2-medium"), ("gpt2l", "gpt2-large"), ("gpt2-xlarge", "gpt2-xl"), ("gpt2-med", "gpt2-medium"),
        ("gtp2", "gpt2"), ("124M", "gpt2"), ("models/355M", "gpt2-medium"), ("gpt2-lrage", "gpt2-large"),
        ("distilgpt", "distilgpt2"), ("Shakespere", "shakespeare"),
    ],
)  # fmt: skip
def test_guesses_at_mistyped_names(typed, meant):
    with pytest.raises(ValueError, match=rf"\(did you mean '{meant}'\?\)"):
        hub.locate(typed)


@pytest.mark.parametrize("typed", ["gpt3", "gpt-4", "gpt-j", "openai-gpt", "bert", "llama2", "gpt2-tiny", "runs/small"])
def test_no_guess_where_another_model_is_meant(typed):
    with pytest.raises(ValueError, match=r"^(?!.*did you mean)"):
        hub.locate(typed)


@pytest.mark.parametrize(
    "address, name",
    [
        ("https://huggingface.co/gpt2", "gpt2"),
        ("hf.co/gpt2-xl", "gpt2-xl"),
        ("huggingface.co/openai-community/gpt2/tree/main", "openai-community/gpt2"),
        ("https://hub.example/some/gpt", "some/gpt"),
    ],
)
def test_an_address_is_answered_with_the_name_in_it(address, name):
    with pytest.raises(ValueError, match=rf"got an address: give {name}$"):
        hub.locate(address)


def test_a_link_to_a_file_that_is_gone_is_named(tmp_path, monkeypatch):
    shutil.copytree(hub.locate("shakespeare"), tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    weights = tmp_path / "model" / "model.safetensors"
    try:
        weights.symlink_to("../../blobs/1234")  # as in Hugging Face's cache, where files that nobody needs are removed
    except OSError:
        pytest.skip("needs a system that allows links")
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is a link to .*1234, which is missing: fetch it"):
        GPT2.from_pretrained(tmp_path / "model")
