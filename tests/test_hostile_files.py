"""Whatever is in a file: a reader gives the right object or a ValueError that names the file, and no more than that.

``tools/fuzz.py`` has the small valid files, what is done to them and the sandbox in which they are read.
"""

import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import fuzz
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minigpt2
from minigpt2 import Tokenizer
from minigpt2.cli import main
from minigpt2.config import GPT2Config
from minigpt2.data.token_file import FIELDS, open_tokens
from minigpt2.model import GPT2
from minigpt2.storage import checkpoint
from minigpt2.storage.files import MAX_CONFIG, parse_json, read_json
from minigpt2.verification.maps import read_map
from minigpt2.verification.names import translate
from minigpt2.verification.trace import read_trace

MODEL = GPT2Config(vocab_size=11, n_positions=6, n_embd=8, n_layer=2, n_head=2)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    return fuzz.Sandbox(tmp_path_factory.mktemp("sandbox"))


def raw(header, data=b""):
    """A safetensors file."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


# ------------------------------------------------------------------------------------- random changes


@pytest.mark.parametrize("name", fuzz.kinds())
def test_a_valid_file_is_read(sandbox, name):
    for file in fuzz.kinds()[name].changed:
        outcome = sandbox.run(name, file, fuzz.kinds()[name].files[file])
        assert outcome.verdict == "read", outcome.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz.kinds())
@pytest.mark.filterwarnings("ignore:.* is damaged .* is taken instead")
def test_random_changes_are_read_or_refused(sandbox, name):
    @settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(fuzz.kinds()[name].changed), st.randoms(use_true_random=False))
    def check(file, rng):
        outcome = sandbox.run(name, file, fuzz.mutate(fuzz.kinds()[name].files[file], file, rng))
        assert outcome.verdict != "wrong", outcome.reason

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from([2**31, 2**63, 10**30]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
SIZE = st.integers(-1, 9) | st.sampled_from([2**31, 2**40, 2**63, 2**64])
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from([*checkpoint.DTYPES, "F4", "F8_E4M3", "f32", ""]) | JSON,
        "shape": st.lists(SIZE, max_size=4) | JSON,
        "data_offsets": st.lists(SIZE, min_size=2, max_size=2) | JSON,
        "more": JSON,
    },
)
NAME = st.sampled_from(["wte.weight", "transformer.wte.weight", "h.0.attn.bias", "__metadata__", "../a", "\x00"])
HEADER = st.dictionaries(NAME | st.text(), ENTRY | JSON, max_size=4)


@pytest.mark.slow
@settings(deadline=None, max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(HEADER, st.integers(0, 40))
def test_any_header_is_read_as_the_library_reads_it_or_refused(sandbox, header, size):
    safetensors = pytest.importorskip("safetensors.numpy", reason="compares with the library")
    path = sandbox.folder("trace") / "trace.safetensors"
    content = raw(json.dumps(header).encode(), bytes(range(size)))
    outcome = sandbox.run("trace", path.name, content)
    assert outcome.verdict in ("read", "ValueError"), outcome.reason
    if outcome.verdict == "read":
        path.write_bytes(content)
        ours, _ = checkpoint.read_tensors(path)
        for name, theirs in safetensors.load(content).items():
            np.testing.assert_array_equal(ours[name], theirs, strict=ours[name].dtype == theirs.dtype)


# -------------------------------------------------------------------------------------- named attacks

DEEP = '{"a": ' * 10_000
NOT_JSON = {
    "deep objects": (DEEP, "not valid JSON"),
    "deep lists": ('{"a": ' + "[" * 50_000, "not valid JSON"),
    "a key twice": ('{"n_layer": 2, "n_layer": 3}', "not valid JSON: the key 'n_layer' occurs twice"),
    "a key twice within": ('{"a": [{"b": 1, "b": 1}]}', "the key 'b' occurs twice"),
    "NaN": ('{"layer_norm_epsilon": NaN}', "NaN is not a JSON number"),
    "infinity": ('{"layer_norm_epsilon": -Infinity}', "-Infinity is not a JSON number"),
    "beyond float64": ('{"layer_norm_epsilon": 1e999}', "'1e999' is too large"),
    "5,000 digits": ('{"n_layer": ' + "9" * 5000 + "}", "4300 digits"),
    "half a character": ('{"model_type": "\\ud800"}', r"\\ud800 in column 17 is half a character"),
    "two byte order marks": ("\ufeff\ufeff{}", "Unexpected UTF-8 BOM"),
    "a NUL": ('{"a": "\0"}', "Invalid control character"),
    "a NUL at the end": ("{}\0", "Extra data"),
    "no object": ("[1, 2]", r"expected a JSON object \{...\}, got list"),
    "nothing": ("", "Expecting value"),
    "not UTF-8": (b"{\xff}", "is not UTF-8 text"),
    "UTF-16": (b"\xff\xfe{\x00}\x00", "is UTF-16 text: save it as UTF-8"),
}


@pytest.mark.parametrize("content, words", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("name, file", [
    ("model", "config.json"), ("shards", "model.safetensors.index.json"), ("tokenizer", "vocab.json"),
    ("tokenizer", "tokenizer_config.json"), ("tokenizer in one file", "tokenizer.json"),
    ("tokenizer of old", "special_tokens_map.json"), ("tokenizer of old", "added_tokens.json"),
    ("characters", "vocab.json"), ("map", "map.json"),
    ("run", "settings.json"), ("run, checksums made to fit", "checkpoint-000002/config.json"),
])  # fmt: skip
def test_what_is_no_json_is_refused(sandbox, name, file, content, words):
    outcome = sandbox.run(name, file, content if isinstance(content, bytes) else content.encode())
    assert outcome.verdict == "ValueError"
    assert re.search(rf"{Path(file).name}[ :].*{words}", outcome.reason)


CONFIGS = {
    "a thousand million layers": ({"n_layer": 10**9}, "h.2.ln_1.weight is missing.*and more"),
    "a thousand million layers in the head": ({"head_layers": 10**9}, "head.0.weight is missing.*and more"),
    "10^12 parameters": ({"n_embd": 10**6, "n_head": 1}, r"has shape \(11, 8\), expected \(11, 1000000\)"),
    "a huge vocabulary": ({"vocab_size": 2**31 - 1}, r"wte.weight has shape \(11, 8\), expected \(2147483647, 8\)"),
    "a huge context": ({"n_positions": 2**31 - 1}, r"wpe.weight has shape"),
    "beyond 32 bits": ({"vocab_size": 10**18}, "vocab_size must be at most 2,147,483,647"),
    "4,000 digits": ({"n_embd": 10**4000}, "n_embd must be at most"),
    "no layers": ({"n_layer": 0}, "n_layer must be at least 1"),
    "a negative width": ({"n_embd": -8}, "n_embd must be at least 1"),
    "a fraction": ({"n_layer": 2.0}, "n_layer must be an integer, got 2.0"),
    "a boolean": ({"n_head": True}, "n_head must be an integer, got True"),
    "a text": ({"n_layer": "2"}, "n_layer must be an integer, got '2'"),
    "null": ({"n_layer": None}, "n_layer must be an integer, got None"),
    "a list": ({"n_layer": [2] * 999}, r"n_layer must be an integer, got \[2, 2, 2, 2, 2, 2, \.\.\.\]"),
    "heads that do not divide": ({"n_head": 3}, "must be a multiple of n_head=3"),
    "eps of 0": ({"layer_norm_epsilon": 0}, "layer_norm_epsilon must be above 0"),
    "a negative eps": ({"layer_norm_epsilon": -1e-5}, "layer_norm_epsilon must be above 0"),
    "an eps that no float has": ({"layer_norm_epsilon": 10**400}, "layer_norm_epsilon must be finite"),
    "an eps of text": ({"layer_norm_epsilon": "1e-5"}, "layer_norm_epsilon must be a number, got '1e-5'"),
    "an eps of true": ({"layer_norm_epsilon": True}, "layer_norm_epsilon must be a number, got True"),
    "a probability of 1": ({"attn_pdrop": 1}, r"attn_pdrop must be in \[0, 1\)"),
    "a probability of a list": ({"embd_pdrop": [0.1]}, "embd_pdrop must be a number"),
    "tied by a text": ({"tie_word_embeddings": "false"}, "tie_word_embeddings must be true or false"),
    "an end of text that is none": ({"eos_token_id": [[]]}, "eos_token_id must be an integer or None"),
    "another model": ({"model_type": ["x" * 999] * 999}, "model_type is .{,300}, expected 'gpt2'"),
    "another activation": ({"activation_function": {"a": {}}}, "but GPT-2 as released has 'gelu_new'"),
}


@pytest.mark.parametrize("changes, words", CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_asks_for_something_else_is_refused(sandbox, changes, words):
    config = json.dumps(MODEL.to_dict() | changes)
    outcome = sandbox.run("model", "config.json", config.encode())
    assert outcome.verdict == "ValueError" and "config.json" in outcome.reason
    assert re.search(words, outcome.reason)


X = tensor()
TWICE = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
HEADERS = {  # with the words of our message, or of safetensors': those of 0.8, and after the bar those of 0.4.3
    "a length beyond the file": (b"\xff" * 8 + b"{}", "its header would have 18,446,744,073,709,551,615 bytes"),
    "a length of 2^63": ((2**63).to_bytes(8, "little") + b"{}", "its header would have"),
    "a length that is cut off": (b"\x02\0\0", "cut short"),
    "not UTF-8": (raw(b'{"\xff": 1}'), r"invalid UTF-8|InvalidHeader\b"),
    "deep": (raw(DEEP.encode()), "cut short, damaged"),
    "a tensor twice": (raw(TWICE.encode(), bytes(8)), "the key 'a' occurs twice"),
    "a field twice": (raw(TWICE.replace('},"a":{', ",").encode(), bytes(8)), "duplicate field|InvalidHeaderDes"),
    "overlapping": (raw({"a": X, "b": tensor(offsets=(4, 12))}, bytes(12)), "invalid offset|InvalidOffset"),
    "one upon the other": (raw({"a": X, "b": X}, bytes(8)), "invalid offset|InvalidOffset"),
    "a gap": (raw({"a": X, "b": tensor(offsets=(12, 20))}, bytes(20)), "invalid offset|InvalidOffset"),
    "bytes left over": (raw({"a": X}, bytes(9)), "not fully covered|MetadataIncomplete"),
    "offsets beyond the file": (raw({"a": tensor(shape=(2**40,), offsets=(0, 2**42))}, bytes(8)), "cut short"),
    "offsets of 2^64": (raw({"a": tensor(offsets=(0, 2**64))}, bytes(8)), "cut short"),
    "offsets backwards": (raw({"a": tensor(offsets=(8, 0))}, bytes(8)), "cut short"),
    "a negative offset": (raw({"a": tensor(offsets=(-8, 0))}, bytes(8)), "cut short"),
    "a product that overflows": (raw({"a": tensor(shape=(2**40, 2**40), offsets=(0, 0))}), "overflow|Overflow"),
    "a negative dimension": (raw({"a": tensor(shape=(-2,))}, bytes(8)), "cut short"),
    "a fraction as dimension": (raw({"a": tensor(shape=(2.0,))}, bytes(8)), "cut short"),
    "nothing, 2^63 times": (raw({"a": tensor(shape=(0, 2**63), offsets=(0, 0))}), "beyond NumPy's"),
    "33 dimensions": (raw({"a": tensor(shape=(1,) * 33, offsets=(0, 4))}, bytes(4)), "beyond NumPy's"),
    "another size than the dtype's": (raw({"a": tensor("F64")}, bytes(8)), "cut short"),
    "a dtype of half bytes": (
        raw({"a": tensor("F4", offsets=(0, 1))}, bytes(1)), "unsupported dtype, F4|InvalidHeaderDes"
    ),
    "an unknown dtype": (raw({"a": tensor("F31")}, bytes(8)), "unknown variant|InvalidHeaderDes"),
    "entries as lists": (raw({"a": ["F32", [2], [0, 8]]}, bytes(8)), "not a JSON object of objects"),
    "metadata that is no text": (raw({"a": X, "__metadata__": {"a": 1}}, bytes(8)), "a string|InvalidHeaderDes"),
    "half a character": (raw(b'{"\\ud800":' + json.dumps(X).encode() + b"}", bytes(8)), "cut short"),
}  # fmt: skip


@pytest.mark.parametrize("content, words", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("name, file", [
    ("trace", "trace.safetensors"), ("model", "model.safetensors"), ("shards", "model-1.safetensors"),
])  # fmt: skip
def test_a_hostile_safetensors_header_is_refused(sandbox, name, file, content, words):
    outcome = sandbox.run(name, file, content)
    assert outcome.verdict == "ValueError" and file in outcome.reason
    assert re.search(words, outcome.reason)


def test_a_header_of_control_characters_does_not_reach_the_terminal(sandbox):
    content = raw({"\x1b[31m\n": X, "x" * 5000: tensor(offsets=(8, 16))}, bytes(16))
    outcome = sandbox.run("model", "model.safetensors", content)
    assert outcome.verdict == "ValueError" and outcome.reason.isprintable() and len(outcome.reason) < 1000


@pytest.mark.parametrize("name", ["NaN", "infinity"])
def test_weights_that_are_no_numbers_are_refused(sandbox, name):
    content = fuzz.kinds()["model"].files["model.safetensors"]
    value = np.float32(np.nan if name == "NaN" else -np.inf).tobytes()
    outcome = sandbox.run("model", "model.safetensors", content[:-4] + value)
    assert outcome.verdict == "ValueError" and "holds NaN or infinity" in outcome.reason


def vocabulary(**changes):
    return json.dumps(json.loads(fuzz.kinds()["tokenizer"].files["vocab.json"]) | changes).encode()


def special(**contents):
    """A tokenizer_config.json with special tokens: id -> content."""
    added = {i: {"content": content, "special": True} for i, content in contents.items()}
    return json.dumps({"added_tokens_decoder": added}).encode()


MERGES = fuzz.kinds()["tokenizer"].files["merges.txt"]
TOKENIZERS = {
    "an id of 2^63": ("vocab.json", vocabulary(a=2**63), "the id of 'a' must be below"),
    "a negative id": ("vocab.json", vocabulary(a=-1), "the id of 'a' must be an integer, 0 or more, got -1"),
    "an id that is a fraction": ("vocab.json", vocabulary(a=5.0), "must be an integer"),
    "an id that is true": ("vocab.json", vocabulary(a=True), "must be an integer"),
    "an id that is null": ("vocab.json", vocabulary(a=None), "must be an integer"),
    "an id twice": ("vocab.json", vocabulary(a=5), "is given twice"),
    "a token that is no bytes": ("vocab.json", vocabulary(**{"水": 9999}), "neither a special nor an added token"),
    "a token without end": ("vocab.json", vocabulary(**{"水" * 10**6: 9999}), "neither a special nor an added token"),
    "an empty token": ("vocab.json", vocabulary(**{"": 9999}), "neither a special nor an added token"),
    "no bytes": ("vocab.json", b"{}", "has the id 269, expected 0"),
    "one word in a line": ("merges.txt", MERGES + b"a\n", "expected two tokens with a space between, got 'a'"),
    "three words in a line": ("merges.txt", MERGES + b"a b c\n", "expected two tokens"),
    "an endless line": ("merges.txt", MERGES + b"x " * 10**6, "expected two tokens"),
    "an empty line": ("merges.txt", MERGES + b"\n\na b\n", "expected two tokens"),
    "the same merge again": ("merges.txt", MERGES + MERGES.split(b"\n")[1], "the same pair as merge 1"),
    "NUL bytes": ("merges.txt", MERGES + b"\0 \0", "is not an ordinary token"),
    "merges that are not UTF-8": ("merges.txt", b"\xff \xfe", "is not UTF-8 text"),
    "a special token's id as a word": ("tokenizer_config.json", special(x="a"), "expected"),
    "a special token's negative id": ("tokenizer_config.json", special(**{"-1": "<x>"}), "is '-1', expected an id"),
    "a special token without text": ("tokenizer_config.json", special(**{"9": []}), "expected"),
    "a special token that is a number": ("tokenizer_config.json", special(**{"9": 5}), "expected a text"),
    "special tokens in a list": ("tokenizer_config.json", b'{"added_tokens_decoder": [[]]}', "expected"),
    "special tokens, null": ("tokenizer_config.json", b'{"added_tokens_decoder": null}', "expected"),
}  # fmt: skip


@pytest.mark.parametrize("file, content, words", TOKENIZERS.values(), ids=TOKENIZERS)
def test_a_hostile_tokenizer_is_refused(sandbox, file, content, words):
    outcome = sandbox.run("tokenizer", file, content)
    assert outcome.verdict == "ValueError" and words in outcome.reason and len(outcome.reason) < 1000


WHOLE = json.loads(fuzz.kinds()["tokenizer in one file"].files["tokenizer.json"])


def whole(*path, value):
    """A tokenizer.json in which one field has another value."""
    changed = inner = json.loads(json.dumps(WHOLE))
    for field in path[:-1]:
        inner = inner[field]
    inner[path[-1]] = value
    return json.dumps(changed)


VOCAB = WHOLE["model"]["vocab"]
LAST = max(VOCAB.values())
WHOLES = {
    "a deep vocabulary": ('{"model": ' + '{"a": ' * 10_000, "not valid JSON"),
    "no model": (whole("model", value=None), '"model" is None, expected an object'),
    "a model in a list": (whole("model", value=[WHOLE["model"]]), '"model" is [{'),
    "a vocabulary in a list": (whole("model", "vocab", value=[["a", 0]]), '"model.vocab" is [['),
    "a vocabulary of lists": (whole("model", "vocab", value=VOCAB | {"a": [1]}), "must be an integer"),
    "an id twice": (whole("model", "vocab", value=VOCAB | {"a": 5}), "is given twice"),
    "a huge id": (whole("model", "vocab", value=VOCAB | {"a": 10**30}), "must be below 2**63"),
    "no merges": (whole("model", "merges", value=None), '"model.merges" is None, expected a list'),
    "merges of numbers": (whole("model", "merges", value=[1, 2]), '"model.merges" is 1, expected two tokens'),
    "merges of three": (whole("model", "merges", value=["a b c"]), "expected two tokens as merge 1"),
    "merges of lists of lists": (whole("model", "merges", value=[[["a"], "b"]]), "expected two tokens"),
    "added tokens in an object": (whole("added_tokens", value={"a": 1}), '"added_tokens" is {'),
    "added tokens that are numbers": (whole("added_tokens", value=[5]), "expected an id, 0 or more"),
    "an added token without an id": (whole("added_tokens", value=[{"content": "<x>"}]), "expected an id"),
    "an added token's huge id": (whole("added_tokens", value=[{"content": "<x>", "id": 10**30}]), "expected"),
    "an added token's negative id": (whole("added_tokens", value=[{"content": "<x>", "id": -1}]), "expected an id"),
    "an added token that is a list": (whole("added_tokens", value=[{"content": ["<x>"], "id": LAST + 1}]), "a text"),
    "an added token twice": (
        whole("added_tokens", value=[{"content": "<x>", "id": LAST + n} for n in (1, 2)]), "has the id"
    ),
    "a flag that is a text": (
        whole("added_tokens", value=[{"content": "<x>", "id": LAST + 1, "special": "yes"}]), "expected true or false"
    ),
    "a template that is a text": (
        whole("post_processor", value={"type": "TemplateProcessing", "single": "$A"}), "single\" is '$A'"
    ),
    "a template of numbers": (
        whole("post_processor", value={"type": "TemplateProcessing", "single": [1]}), '"post_processor.single"'
    ),
    "a pre-tokenizer that is a text": (whole("pre_tokenizer", value="ByteLevel"), '"pre_tokenizer" is \'ByteLevel\''),
}  # fmt: skip


@pytest.mark.parametrize("content, words", WHOLES.values(), ids=WHOLES)
def test_a_hostile_tokenizer_in_one_file_is_refused(sandbox, content, words):
    outcome = sandbox.run("tokenizer in one file", "tokenizer.json", content.encode())
    assert outcome.verdict == "ValueError" and words in outcome.reason and len(outcome.reason) < 1000


@pytest.mark.parametrize("file, content, words", [
    ("added_tokens.json", {"<user>": -1}, "expected an id"),
    ("added_tokens.json", {"<user>": "x"}, "expected an id"),
    ("added_tokens.json", {"<user>": 10**30}, "expected 270, the next"),
    ("added_tokens.json", {"": 271}, "expected a text"),
    ("special_tokens_map.json", {"eos_token": 5}, '"eos_token" is 5'),
    ("special_tokens_map.json", {"eos_token": {"content": []}}, '"eos_token" is {'),
    ("special_tokens_map.json", {"additional_special_tokens": "<x>"}, '"additional_special_tokens" is'),
    ("special_tokens_map.json", {"additional_special_tokens": [[]]}, '"additional_special_tokens" is []'),
    ("config.json", {"eos_token_id": [[]]}, '"eos_token_id" is []'),
    ("config.json", {"eos_token_id": "5"}, '"eos_token_id" is \'5\''),
    ("config.json", {"tokenizer_class": ["x"] * 999}, '"tokenizer_class" is ['),
])  # fmt: skip
def test_hostile_files_beside_a_vocabulary_are_refused(sandbox, file, content, words):
    outcome = sandbox.run("tokenizer of old", file, json.dumps(content).encode())
    assert outcome.verdict == "ValueError" and file in outcome.reason and words in outcome.reason
    assert len(outcome.reason) < 1000


@pytest.mark.parametrize("content, words", [
    (b'{"a": 0, "bc": 1}', "expected single characters, got 'bc'"),
    (b'{"a": 0, "b": 2}', "expected the ids 0, 1, 2, ... in order"),
    (b'{"a": 0, "b": 1.0}', "expected the ids 0, 1, 2, ... in order"),
    (b'{"a": false, "b": true}', "expected the ids 0, 1, 2, ... in order"),
    (b'{"a": 0, "b": 0}', "expected the ids 0, 1, 2, ... in order"),
    (b'{"a": 0, "b": 1000000000000000000}', "expected the ids 0, 1, 2, ... in order"),
    (b"{}", "expected one or more characters"),
])  # fmt: skip
def test_a_hostile_character_vocabulary_is_refused(sandbox, content, words):
    outcome = sandbox.run("characters", "vocab.json", content)
    assert outcome.verdict == "ValueError" and f"vocab.json: {words}" in outcome.reason


def tokens(ids=None, **changes):
    """A token file with other fields in its header, and the checksum that fits."""
    content = fuzz.kinds()["tokens"].files["corpus.tokens"]
    names = ("magic", "version", "width", "tokens", "documents", "bytes", "characters", "vocabulary", "hash")
    fields = dict(zip(names, FIELDS.unpack(content[: FIELDS.size]), strict=True)) | changes
    header = FIELDS.pack(*fields.values())
    return header + hashlib.sha256(header).digest() + (content[FIELDS.size + 32 :] if ids is None else ids)


TOKENS = {
    "no tokens": (tokens(b"", tokens=0), "contradict each other"),
    "no documents": (tokens(documents=0), "contradict each other"),
    "no characters": (tokens(characters=0), "contradict each other"),
    "more documents than tokens": (tokens(documents=2**40), "contradict each other"),
    "more characters than bytes": (tokens(characters=2**40), "contradict each other"),
    "more bytes than characters have": (tokens(bytes=2**63), "contradict each other"),
    "8 bytes an id": (tokens(width=8), "contradict each other"),
    "3 bytes an id": (tokens(width=3), "contradict each other"),
    "0 bytes an id": (tokens(width=0), "contradict each other"),
    "another number of tokens": (tokens(tokens=2**64 - 1), "is cut off or damaged"),
    "another version": (tokens(version=2), "has version 2 of the format"),
    "another vocabulary": (tokens(hash=bytes(32)), "another tokenizer"),
    "a header alone": (tokens()[:100], "is cut off"),
    "nothing": (b"", "is not a token file"),
    "ids beyond the vocabulary": (tokens(b"\xff" * (len(tokens()) - 128)), "corpus.tokens is damaged: id 65535"),
}  # fmt: skip


@pytest.mark.parametrize("content, words", TOKENS.values(), ids=TOKENS)
def test_a_hostile_token_file_is_refused(sandbox, content, words):
    outcome = sandbox.run("tokens", "corpus.tokens", content)
    assert outcome.verdict == "ValueError" and "corpus.tokens" in outcome.reason
    assert words in outcome.reason


def test_an_id_beyond_the_vocabulary_is_noticed_when_it_is_trained_on(sandbox):
    """Opening the file would not read it; the part for validation, its end, is good."""
    content = tokens()
    middle = len(content) // 2
    content = content[:128] + b"\xff" * (middle - 128) + content[middle:]
    outcome = sandbox.run("tokens", "corpus.tokens", content)
    assert outcome.verdict == "ValueError" and "corpus.tokens is damaged: it holds the id 65535" in outcome.reason


def npz(*members, packing=zipfile.ZIP_STORED):
    """A .npz file of pairs of name and content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", packing) as archive:
        for name, array in members:
            archive.writestr(name, array)
    return content.getvalue()


def npy(descr="'<f4'", shape="(2,)", data=bytes(8), order="False", version=(1, 0)):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + header + data


def pickled():
    content = io.BytesIO()
    np.save(content, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return content.getvalue()


GOOD = ("a.npy", npy())
ARCHIVES = {
    "an object": (npz(("a.npy", pickled())), "allow_pickle"),
    "an object's dtype alone": (npz(("a.npy", npy("'|O'"))), "allow_pickle"),
    "a structure": (npz(("a.npy", npy("[('a', '<f4')]"))), "instead of plain numbers"),
    "texts": (npz(("a.npy", npy("'<U1'"))), "instead of plain numbers"),
    "nothing, 10^18 times": (npz(("a.npy", npy("'V0'", "(1000000000000000000,)", b""))), "instead of plain numbers"),
    "a huge shape": (npz(("a.npy", npy(shape="(1000000000000,)"))), "claims the shape"),
    "a shape that overflows": (npz(("a.npy", npy(shape="(4294967296, 4294967296)"))), "claims the shape"),
    "a negative shape": (npz(("a.npy", npy(shape="(-2,)"))), "claims the shape"),
    "two negative dimensions": (npz(("a.npy", npy(shape="(-1, -2)"))), "claims the shape"),
    "no number, 2^62 times": (npz(("a.npy", npy(shape="(0, 4611686018427387904)", data=b""))), "too"),
    "40 dimensions": (npz(("a.npy", npy(shape="(" + "1, " * 40 + ")", data=bytes(4)))), "claims the shape"),
    "a fraction as dimension": (npz(("a.npy", npy(shape="(2.0,)"))), "shape is not valid"),
    "bytes left over": (npz(("a.npy", npy(data=bytes(9)))), "claims the shape"),
    "bytes missing": (npz(("a.npy", npy(data=bytes(7)))), "claims the shape"),
    "brackets without end": (npz(("a.npy", npy(shape="(" * 4000))), "header that NumPy does not write"),
    "signs without end": (npz(("a.npy", npy(shape="-" * 9000 + "1"))), "header that NumPy does not write"),
    "a header without end": (npz(("a.npy", npy(shape=" " * 60_000))), "header that NumPy does not write"),
    "a header of 4 GB": (npz(("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}")), "header that NumPy does not write"),
    "no header": (npz(("a.npy", b"")), "magic"),
    "a text": (npz(("a.txt", b"hello")), "magic"),
    "a name that leads out": (npz(GOOD, ("../../a.npy", npy())), "is a path, not the name"),
    "a name from the root": (npz(GOOD, ("/tmp/a.npy", npy())), "is a path, not the name"),
    "a name from a drive": (npz(GOOD, ("C:\\a.npy", npy())), "is a path, not the name"),
    "a name that leads out in the middle": (npz(GOOD, ("a\\..\\b.npy", npy())), "is a path, not the name"),
    "a name twice": (npz(GOOD, ("a", npy())), "'a' occurs twice"),
    "packed by bzip2": (npz(GOOD, packing=zipfile.ZIP_BZIP2), "compressed in a way"),
    "packed by LZMA": (npz(GOOD, packing=zipfile.ZIP_LZMA), "compressed in a way"),
    "no archive": (b"PK\3\4 and so on", "not a zip file"),
    "a directory of 4 GB": (b"PK\5\6" + bytes(4) + b"\1\0\1\0" + b"\xf0\xff\xff\xff" + bytes(6), "npz"),
}  # fmt: skip


@pytest.mark.parametrize("content, words", ARCHIVES.values(), ids=ARCHIVES)
def test_a_hostile_archive_is_refused(sandbox, content, words):
    outcome = sandbox.run("npz", "trace.npz", content)
    assert outcome.verdict == "ValueError" and "trace.npz is damaged, or not an .npz file" in outcome.reason
    assert words in outcome.reason


def test_an_encrypted_archive_is_refused(sandbox):
    content = bytearray(npz(GOOD))
    content[content.index(b"PK\1\2") + 8] |= 1
    outcome = sandbox.run("npz", "trace.npz", bytes(content))
    assert outcome.verdict == "ValueError" and "is encrypted" in outcome.reason


@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 5])
def test_a_bomb_of_zeros_is_refused(sandbox, copies):
    """A third of a gigabyte in 330 KB; or in a fifth of it, as five names for the same bytes."""
    size = 320_000_000 // copies
    with io.BytesIO() as content:
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("a.npy", "w") as member:
                member.write(npy(shape=f"({size // 4},)", data=b""))
                for _ in range(size // 10**6):
                    member.write(bytes(10**6))
            for number in range(1, copies):
                again = zipfile.ZipInfo("a.npy")
                for slot in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                    setattr(again, slot, getattr(archive.filelist[0], slot))
                again.filename = again.orig_filename = f"{number}.npy"
                archive.filelist.append(again)
        packed = content.getvalue()
    assert len(packed) < 400_000
    outcome = sandbox.run("npz", "trace.npz", packed)
    assert outcome.verdict == "ValueError"
    assert re.search(r"its arrays would have 320,000,\d+ bytes, .*; write it with numpy\.savez", outcome.reason)
    assert outcome.memory < fuzz.SLACK


@pytest.mark.parametrize("names, words", [
    ({"a": 5}, "must stand for our name or a list of our names, got 5"),
    ({"a": [[]]}, "must stand for our name"),
    ({"a.{x|y": "b"}, "has a brace without its other half"),
    ({"{x|x}" * 30: "b"}, "has a brace without its other half, or too many"),
    ({"a": ["b", None]}, "must stand for our name"),
    ({"a.{i}.{i}": "b.{i}"}, "must have one {i}"),
    ({"a.{i}": "b"}, "must have one {i}"),
    ({"x" * 100_000: "b"}, "has 100,"),
])  # fmt: skip
def test_a_hostile_map_is_refused(sandbox, names, words):
    outcome = sandbox.run("map", "map.json", json.dumps(names).encode())
    assert outcome.verdict == "ValueError" and "map.json" in outcome.reason and words in outcome.reason


def test_a_map_over_an_empty_giant_is_refused(tmp_path):
    (tmp_path / "map.json").write_text('{"attentions": "h.{i}.attn.probs"}')
    translation = translate({"attentions": np.empty((2**40, 0))}, read_map(tmp_path / "map.json"))
    assert not translation.tensors and translation.unknown == ["attentions"]


def test_the_command_line_says_which_file_it_was(tmp_path, capsys):
    (tmp_path / "map.json").write_text('{"a": 5}')
    assert main(["compare", "a.npz", "b.npz", "--map", str(tmp_path / "map.json")]) == 2
    assert re.fullmatch(r"[^\n]*map\.json: names: 'a' must stand for[^\n]*\n", capsys.readouterr().err)
    for name in "ab":
        (tmp_path / f"{name}.npz").write_bytes(npz(("../x.npy", npy())))
    assert main(["compare", str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]) == 2
    assert re.fullmatch(r"[^\n]*a\.npz is damaged[^\n]*\n", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz", "map.json"]


# ------------------------------------------------------------------ what is no regular file, links, sizes

READERS = {
    "config.json": checkpoint.read_config,
    "model.safetensors": lambda folder: checkpoint.read_parameters(folder, {}),
    "model.safetensors.index.json": lambda folder: checkpoint.read_parameters(folder, {}),
    "vocab.json": Tokenizer.from_pretrained,
    "merges.txt": Tokenizer.from_pretrained,
    "tokenizer_config.json": Tokenizer.from_pretrained,
    "x.tokens": lambda folder: open_tokens(folder / "x.tokens"),
    "x.safetensors": lambda folder: read_trace(folder / "x.safetensors"),
    "x.npz": lambda folder: read_trace(folder / "x.npz"),
    "x.json": lambda folder: read_map(folder / "x.json"),
}


@pytest.fixture
def tokenizer_folder(tmp_path):
    """With all that the readers above look at before the file in question."""
    for file, content in fuzz.kinds()["tokenizer"].files.items():
        (tmp_path / file).write_bytes(content)
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("file", READERS)
def test_a_pipe_is_refused_and_not_waited_for(tokenizer_folder, file):
    (tokenizer_folder / file).unlink(missing_ok=True)
    os.mkfifo(tokenizer_folder / file)
    with fuzz.expired_after(5), pytest.raises(ValueError, match=rf"{file} is a pipe, a socket or a device, expected"):
        READERS[file](tokenizer_folder)


@pytest.mark.parametrize("file", READERS)
def test_a_folder_in_place_of_a_file_is_refused(tokenizer_folder, file):
    (tokenizer_folder / file).unlink(missing_ok=True)
    (tokenizer_folder / file).mkdir()
    with pytest.raises(ValueError, match=rf"{file} is a folder, expected a file"):
        READERS[file](tokenizer_folder)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize("file", READERS)
def test_a_link_to_a_device_is_refused(tokenizer_folder, file):
    (tokenizer_folder / file).unlink(missing_ok=True)
    (tokenizer_folder / file).symlink_to("/dev/zero")
    with fuzz.expired_after(5), pytest.raises(ValueError, match=rf"{file} is a pipe, a socket or a device"):
        READERS[file](tokenizer_folder)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("file", READERS)
def test_links_in_a_circle_are_an_error_of_the_system(tokenizer_folder, file):
    (tokenizer_folder / file).unlink(missing_ok=True)
    (tokenizer_folder / file).symlink_to("b")
    (tokenizer_folder / "b").symlink_to(file)
    with pytest.raises(OSError, match=rf"Too many levels of symbolic links: '.*{file}'"):
        READERS[file](tokenizer_folder)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_as_in_the_hub_cache_are_followed(tmp_path):
    """snapshots/<commit>/model.safetensors -> ../../blobs/<checksum>: out of the folder, and all right."""
    snapshot, blobs = tmp_path / "snapshots" / "0123", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for kind in "shards", "tokenizer":
        for number, (file, content) in enumerate(fuzz.kinds()[kind].files.items()):
            (blobs / f"{kind}{number}").write_bytes(content)
            (snapshot / file).symlink_to(f"../../blobs/{kind}{number}")
    assert GPT2.from_pretrained(snapshot).config == MODEL
    tokenizer = Tokenizer.from_pretrained(snapshot)
    assert tokenizer.decode(tokenizer.encode("the dog")) == "the dog"


@pytest.mark.parametrize("file, size", [
    ("config.json", 2**30), ("model.safetensors.index.json", 2**30), ("x.json", 2**30), ("vocab.json", 2**32),
    ("merges.txt", 2**32), ("tokenizer_config.json", 2**30),
])  # fmt: skip
def test_a_giant_text_is_refused_unread(tokenizer_folder, file, size):
    """A sparse file of so many NUL bytes."""
    with open(tokenizer_folder / file, "wb") as giant:
        giant.truncate(size)
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"{file} has {size:,} bytes, more than 1[0,]+:"):
        READERS[file](tokenizer_folder)
    assert tracemalloc.get_traced_memory()[1] < fuzz.SLACK
    tracemalloc.stop()


def test_a_giant_header_is_refused_unread(tmp_path):
    with open(tmp_path / "x.safetensors", "wb") as giant:
        giant.write((2**30).to_bytes(8, "little") + b"{")
        giant.truncate(2**31)
    with pytest.raises(ValueError, match=r"x\.safetensors .*its header would have 1,073,741,824 bytes"):
        read_trace(tmp_path / "x.safetensors")


def test_a_directory_that_would_fill_the_memory_is_refused_unread(tmp_path):
    """The last record of an archive says how long its directory is: here 1 GB of a sparse file."""
    with open(tmp_path / "x.npz", "wb") as giant:
        giant.truncate(2**30)
        giant.seek(2**30)
        giant.write(b"PK\5\6" + bytes(4) + b"\1\0\1\0" + (2**30).to_bytes(4, "little") + bytes(6))
    with pytest.raises(ValueError, match=r"x\.npz is damaged, .*: its directory would have 1,073,741,824 bytes"):
        read_trace(tmp_path / "x.npz")


# ----------------------------------------------------------------------------------------------- memory


def peak(read, *arguments):
    tracemalloc.start()
    try:
        result = read(*arguments)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype, factor", [("float32", 1), ("float16", 2), ("bfloat16", 2)])
def test_a_model_takes_its_size_in_float32_and_no_copy(tmp_path, dtype, factor):
    """Almost all of it in one tensor, the worst case for a copy."""
    model = GPT2(GPT2Config(vocab_size=1_000_000, n_positions=2, n_embd=16, n_layer=1, n_head=1))
    model.save_pretrained(tmp_path, dtype)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    GPT2.from_pretrained("shakespeare")  # what is made once
    memory, again = peak(GPT2.from_pretrained, tmp_path)
    assert memory < factor * size + 2 * fuzz.SLACK
    memory, (tensors, _) = peak(checkpoint.read_tensors, tmp_path / "model.safetensors")
    assert memory < (2 if dtype == "bfloat16" else 1) * size + 2 * fuzz.SLACK
    assert again.config == model.config and len(tensors) == len(minigpt2.flatten(model.params))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_takes_the_size_of_its_arrays(tmp_path, save):
    arrays = {name: np.random.default_rng(0).standard_normal((1000, 1000)) for name in "abc"}
    save(tmp_path / "x.npz", **arrays, order=np.asfortranarray(arrays["a"]))
    memory, (again, _) = peak(read_trace, tmp_path / "x.npz")
    assert memory < 2 * (tmp_path / "x.npz").stat().st_size
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
    np.testing.assert_array_equal(again["order"], arrays["a"])


@pytest.mark.parametrize("text", [
    '{"": {}}', "{}", "[]", "[0]", '{"": 0}', '"ab"', "0", "1e0", '{"a": 1, "b": 2, "c": 3}', '"\\u00e9\\ud83d\\ude00"',
])  # fmt: skip
def test_objects_take_at_most_36_times_the_room_of_their_json(tmp_path, text):
    (tmp_path / "x.json").write_text('{"a": [' + ",".join([text] * 50_000) + "]}")
    memory, _ = peak(read_json, tmp_path / "x.json")
    assert memory < 36 * (tmp_path / "x.json").stat().st_size


def test_a_configuration_of_the_largest_size_is_read(tmp_path):
    text = '{"model_type": "gpt2", "x": "'
    (tmp_path / "config.json").write_text(text + "x" * (MAX_CONFIG - len(text) - 2) + '"}')
    assert checkpoint.read_config(tmp_path)["model_type"] == "gpt2"
    with open(tmp_path / "config.json", "a") as file:
        file.write(" ")
    with pytest.raises(ValueError, match=r"config\.json has 10,000,001 bytes, more than 10,000,000"):
        checkpoint.read_config(tmp_path)


# ---------------------------------------------------------------------------------- formats never read


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "ckpt.pth", "epoch=3.ckpt", "weights.pkl"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path, file, config):
    (tmp_path / file).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    if config:
        (tmp_path / "config.json").write_text(json.dumps(MODEL.to_dict()))
    for given_path in tmp_path, tmp_path / file, str(tmp_path / file):
        with pytest.raises(ValueError, match=rf"{file} is a pickle.*never read here: .* convert .*{file} --out NEW"):
            GPT2.from_pretrained(given_path)
    assert not Path("pwned").exists() and not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["model.ckpt", "model-1000"])
@pytest.mark.parametrize("config", [True, False])
def test_a_checkpoint_of_tensorflow_is_refused_with_the_way_to_convert_it(tmp_path, config, name):
    """OpenAI's release has model.ckpt.*, often given as model.ckpt, which is no file; gpt-2-simple has model-1000.*."""
    files = ["checkpoint", "hparams.json", *(f"{name}.{ending}" for ending in ("data-00000-of-00001", "index", "meta"))]
    for file in files:
        (tmp_path / file).write_bytes(b"{}")
    if config:
        (tmp_path / "config.json").write_text(json.dumps(MODEL.to_dict()))
    for path in tmp_path, tmp_path / name, tmp_path / f"{name}.index", tmp_path / f"{name}.meta":
        with pytest.raises(ValueError, match=rf"TensorFlow .* gpt2, .*`minigpt2 convert {tmp_path} --out NEW`"):
            GPT2.from_pretrained(path)


def test_safetensors_beside_a_pickle_are_read(tmp_path):
    for file, content in fuzz.kinds()["model"].files.items():
        (tmp_path / file).write_bytes(content)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert GPT2.from_pretrained(tmp_path).config == MODEL


# ----------------------------------------------------------------------------------- as it was before


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read(tmp_path, end):
    for file, content in fuzz.kinds()["tokenizer"].files.items():
        (tmp_path / file).write_bytes(content.replace(b"\n", end.encode()))
    assert Tokenizer.from_pretrained(tmp_path).merges[0] == tuple(MERGES.decode().split("\n")[1].split(" "))


def test_json_that_everybody_reads_alike_is_read():
    text = ' {"a": [1, -2.5e3, true, null, "\\ud83d\\ude00", "\\\\ud800"], "b": {"a": {}}, "c": 12345678901234567890} '
    assert parse_json(text, "x") == json.loads(text)


@pytest.mark.slow
def test_the_script_repeats_and_finds_the_same(tmp_path):
    """The table, and a kept case that is read once more."""
    script = Path(__file__).parent / "tools" / "fuzz.py"
    command = [sys.executable, str(script), "map", "--cases", "40", "--seed", "3"]
    runs = [subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60) for _ in range(2)]
    counts = [re.findall(r"^(map +40 .*?) +\d+ KB", run.stdout, flags=re.M) for run in runs]
    assert counts[0] == counts[1] and len(counts[0]) == 1
    assert [run.returncode for run in runs] == [0, 0] and not list(tmp_path.iterdir())
    case = tmp_path / "map--map.json--0"
    case.write_text("{")
    command = [sys.executable, str(script), "--repeat", str(case)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and "map.json is not valid JSON" in run.stdout


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such clock")
def test_what_goes_wrong_is_noticed(sandbox, monkeypatch):
    """The sandbox itself: another error, a hang, too much memory, a file that is written, a nameless message."""
    file = sandbox.folder("map") / "map.json"

    def run(read):
        kind = fuzz.Kind({"map.json": b"{}"}, ("map.json",), read)
        monkeypatch.setattr(fuzz, "kinds", lambda: {"map": kind})
        return sandbox.run("map", "map.json", b"{}")

    def nameless(_):
        raise ValueError("bad")

    def hang(_):
        while True:
            pass

    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    for read, reason in (
        (lambda folder: {}["a"], "KeyError"), (nameless, "does not name the file"), (hang, "more than 0.2 seconds"),
        (lambda folder: bytes(2 * fuzz.SLACK), "bytes of memory"),
        (lambda folder: (folder / "new").write_text(""), "changed the disk"),
    ):  # fmt: skip
        outcome = run(read)
        assert outcome.verdict == "wrong" and reason in outcome.reason
        (sandbox.folder("map") / "new").unlink(missing_ok=True)
    assert run(lambda folder: None).verdict == "read" and file.exists()


def test_changes_are_the_same_for_the_same_seed():
    for name, kind in fuzz.kinds().items():
        for file in kind.changed:
            first, again = (fuzz.mutate(kind.files[file], file, random.Random(name)) for _ in range(2))
            assert first == again
