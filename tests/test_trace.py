"""A trace against PyTorch's hooks, against its own documentation, and as a file."""

import json
import math
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from assertions import assert_close
from safetensors.numpy import load_file

import minigpt2
from minigpt2 import GPT2, GPT2Config, flatten, trace
from minigpt2.cli import main
from minigpt2.reference import DROPOUT, LABEL_SMOOTHING, TINY, UNTIED, recorded, transformers_trace
from minigpt2.storage.checkpoint import read_tensors, write_tensors
from minigpt2.verification.names import is_parameter
from minigpt2.verification.trace import NAMES, read_trace, write_trace
from minigpt2.verification.verify import model_of

B, T, V, C, H, D = 2, 5, 11, 6, 2, 3


@pytest.fixture(scope="module")
def reference():
    return recorded("trace")


@pytest.fixture
def model(reference):
    return model_of(TINY | DROPOUT, reference["inputs"]["params"])  # dropout, of which a trace knows nothing


@pytest.fixture
def full(model, reference):
    inputs = reference["inputs"]
    return trace(model, inputs["ids"], inputs["targets"], backward=True, label_smoothing=LABEL_SMOOTHING)


def assert_is(tensors, reference, tolerance):
    """A trace with gradients holds what ``transformers_trace`` found, and inputs besides."""
    gradients = reference["gradients"]
    expected = flatten(reference["activations"])
    for kind in "activations", "params":
        expected |= {f"grad.{name}": value for name, value in flatten(gradients[kind]).items()}
    given = {name: x for name, x in tensors.items() if name in ("ids", "targets") or is_parameter(name)}
    assert_close(tensors, expected | given, tolerance)


# Against PyTorch.


def test_equals_what_hooks_in_transformers_saw(full, reference):
    # Largest differences measured: activations 4e-16, their gradients 3e-15, those of parameters 1e-15.
    assert_is(full, reference, 1e-10)


@pytest.mark.parametrize("config", [TINY, UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize("T", [1, 2, 8])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_equals_what_hooks_in_transformers_see(config, T, smoothing):
    pytest.importorskip("torch", reason="needs torch; the recorded values stand in")
    pytest.importorskip("transformers", reason="needs transformers; the recorded values stand in")
    rng = np.random.default_rng(T)
    params = {
        name: (".ln_" in f".{name}" and name.endswith("weight")) + 0.5 * rng.standard_normal(shape)
        for name, shape in GPT2Config(**config).parameter_shapes().items()
    }
    model = model_of(config, params)
    ids, targets = rng.integers(0, V, (2, B, T))
    targets[0, -1] = -100
    expected = transformers_trace(ids, targets, model.params, config, smoothing)
    # Largest difference measured: 9e-15.
    assert_is(trace(model, ids, targets, True, smoothing), expected, 1e-10)


# Against its own documentation.


def names(n_layer, pattern):
    return [pattern.format(i=i) for i in range(n_layer)] if "{i}" in pattern else [pattern]


def test_names_shapes_and_order_are_those_of_the_table(full):
    sizes = {"B": B, "T": T, "C": C, "H": H, "D": D, "F": 4 * C, "V": V}
    activations = [name for name in NAMES if not name.startswith("grad.") and name != "{parameter}"]
    blocks = [name for name in activations if name.startswith("h.{i}.")]
    first = activations.index(blocks[0])
    expected = activations[:first] + [n.format(i=i) for i in range(2) for n in blocks]
    expected += activations[first + len(blocks) :]
    parameters = flatten(GPT2(GPT2Config(**TINY)).params)
    assert [name for name in full if not name.startswith("grad.")] == [*expected, *parameters]
    for pattern in activations:
        shape = tuple(sizes[letter] for letter in re.findall(r"\w", NAMES[pattern][0]))
        assert {full[name].shape for name in names(2, pattern)} == {shape}, pattern
    gradients = [name.removeprefix("grad.") for name in full if name.startswith("grad.")]
    computed = expected[2:]  # ids and targets have no gradient
    assert gradients[: len(computed)] == computed[::-1]
    assert gradients[len(computed) :] == [*parameters][::-1]
    for name in gradients:
        assert full[f"grad.{name}"].shape == (full[name] if name in full else parameters[name]).shape


def test_the_page_about_verifying_has_the_table():
    page = (Path(__file__).parents[1] / "notebooks/site/verify.md").read_text(encoding="utf-8")
    section = re.search(r"^## The names of a trace\n(.*?)^## ", page, flags=re.M | re.S)[1]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+) \|$", section, flags=re.M)
    assert {name: (shape.strip("`"), meaning) for name, shape, meaning in rows} == NAMES
    assert [name for name, *_ in rows] == [*NAMES]


# What holds in every trace.


def test_activations_fit_together(full):
    """Relations that are no lines of the code that fills the trace."""
    for i, stream in enumerate(["embd", "h.0.resid_post"]):
        t = {name.removeprefix(f"h.{i}."): value for name, value in full.items()}
        np.testing.assert_allclose(t["resid_mid"], full[stream] + t["attn.out"], rtol=0, atol=1e-15)
        np.testing.assert_allclose(t["resid_post"], t["resid_mid"] + t["mlp.out"], rtol=0, atol=1e-15)
        scores = t["attn.q"] @ t["attn.k"].transpose(0, 1, 3, 2) / math.sqrt(D)
        np.testing.assert_allclose(t["attn.scores"], scores, rtol=0, atol=1e-15)
        probs = np.exp(t["attn.scores"]) * np.tri(T)
        np.testing.assert_allclose(t["attn.probs"], probs / probs.sum(-1, keepdims=True), rtol=0, atol=1e-14)
        heads = (t["attn.probs"] @ t["attn.v"]).transpose(0, 2, 1, 3).reshape(B, T, C)
        np.testing.assert_allclose(t["attn.heads"], heads, rtol=0, atol=1e-14)
        behind = np.broadcast_to(np.tri(T) == 0, (B, H, T, T))
        assert (full[f"grad.h.{i}.attn.scores"][behind] == 0).all()
        assert (full[f"grad.h.{i}.attn.probs"][behind] != 0).mean() > 0.5  # not where no later target counts
    assert full["grad.loss"] == 1


def test_loss_and_gradients_are_those_of_the_model(model, full, reference):
    inputs = reference["inputs"]
    loss, grads = model.loss_and_grads(inputs["ids"], inputs["targets"], LABEL_SMOOTHING)
    assert float(full["loss"]) == loss
    assert_close({name: full[f"grad.{name}"] for name in flatten(grads)}, flatten(grads), 1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_the_models(dtype, reference):
    inputs = reference["inputs"]
    tensors = trace(model_of(TINY, inputs["params"], dtype), inputs["ids"], backward=True)
    assert tensors.pop("ids").dtype == tensors.pop("targets").dtype == np.int64
    assert {tensor.dtype.name for tensor in tensors.values()} == {dtype}
    assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())


def test_float32_is_as_good_as_float32_can_be(full, reference):
    inputs = reference["inputs"]
    model = model_of(TINY, inputs["params"], "float32")
    single = trace(model, inputs["ids"], inputs["targets"], True, LABEL_SMOOTHING)
    # Largest differences measured: activations 2e-7, gradients 5e-7.
    assert_is(single, reference, 2e-6)


def test_backward_only_adds_and_the_model_stays_as_it_is(model, full, reference):
    inputs = reference["inputs"]
    before = {name: parameter.copy() for name, parameter in flatten(model.params).items()}
    forward = trace(model, inputs["ids"], inputs["targets"], label_smoothing=LABEL_SMOOTHING)
    assert [*forward] == [name for name in full if not name.startswith("grad.")]
    for name, tensor in forward.items():
        np.testing.assert_array_equal(tensor, full[name])
    trace(model, inputs["ids"], backward=True)
    for name, parameter in flatten(model.params).items():
        np.testing.assert_array_equal(parameter, before[name])


@pytest.mark.parametrize("as_given", [list, lambda ids: [list(ids)], np.array, lambda ids: np.array([ids], "uint8")])
def test_one_sequence_is_a_batch_of_one_and_predicts_its_next_tokens(model, as_given):
    tensors = trace(model, as_given((3, 1, 4, 1)))
    np.testing.assert_array_equal(tensors["ids"], [[3, 1, 4, 1]])
    np.testing.assert_array_equal(tensors["targets"], [[1, 4, 1, -100]])
    assert tensors["logits"].shape == (1, 4, V)
    assert float(tensors["loss"]) == model.loss([[3, 1, 4, 1]], [[1, 4, 1, -100]])


@pytest.mark.parametrize(
    "ids, options, error, message",
    [
        ([3], {"backward": True}, ValueError, "after a single token there is none to predict; give targets"),
        ([], {}, ValueError, r"ids must be \(B, T\), at least one token each, got shape \(1, 0\)"),
        (3, {}, ValueError, r"ids must be \(B, T\), at least one token each, got shape \(\)"),
        ([[[1, 2]]], {}, ValueError, r"ids must be \(B, T\)"),
        ([[1, 2], [3]], {}, ValueError, "ids must be .* with rows of equal length"),
        ([0, V], {}, ValueError, rf"ids must lie in 0 \.\.\. {V - 1}, got 0 \.\.\. {V}"),
        ([0.5, 1.0], {}, TypeError, "ids must be integers, got float64"),
        ([1] * 9, {}, ValueError, "9 tokens, but the model has 8 positions"),
        ([1, 2], {"targets": [1]}, ValueError, r"targets must be \(1, 2\) like the logits, got \(1, 1\)"),
        ([1, 2], {"targets": [1, V]}, ValueError, rf"targets must lie in 0 \.\.\. {V - 1} or be -100"),
        ([1, 2], {"targets": [-100, -100]}, ValueError, "all 2 targets are -100, nothing to predict"),
        ([1, 2], {"targets": [1.0, 2.0]}, TypeError, "targets must be integers, got float64"),
        ([1, 2], {"label_smoothing": 2}, ValueError, r"label_smoothing must be in \[0, 1\], got 2"),
    ],
)
def test_bad_input_is_refused(model, ids, options, error, message):
    with pytest.raises(error, match=message):
        trace(model, ids, **options)


# As a file.


def test_file_holds_the_same_bits_and_says_where_they_are_from(full, tmp_path):
    path = tmp_path / "trace.safetensors"
    write_trace(path, full, {"config": TINY, "model": "tiny", "seed": 7})
    tensors, metadata = read_tensors(path)
    loaded = load_file(path)
    assert [*tensors] == [*full] and loaded.keys() == full.keys()  # the order of computation is kept
    for name, tensor in full.items():
        for read in tensors[name], loaded[name]:
            assert read.dtype == tensor.dtype
            np.testing.assert_array_equal(read, tensor)
    assert metadata.pop("minigpt2") == minigpt2.__version__
    assert json.loads(metadata.pop("config")) == TINY
    assert metadata == {"dtype": "float64", "model": "tiny", "seed": "7"}


def test_pytorch_opens_the_file(full, tmp_path):
    pytest.importorskip("torch", reason="needs torch; NumPy's reader stands in")
    from safetensors.torch import load_file as load_torch_file

    write_trace(tmp_path / "trace.safetensors", full, {})
    loaded = load_torch_file(tmp_path / "trace.safetensors")
    assert loaded.keys() == full.keys()
    for name, tensor in full.items():
        np.testing.assert_array_equal(loaded[name].numpy(), tensor)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = minigpt2.Tokenizer.train("to be or not to be, that is the question " * 9, 270)
    tokenizer.save_pretrained(folder)
    GPT2(GPT2Config(vocab_size=270, n_positions=16, n_embd=8, n_layer=1, n_head=2), 5).save_pretrained(folder)
    return folder


def test_command_writes_the_trace_of_a_text(folder, tmp_path, capsys):
    path = tmp_path / "ours.safetensors"
    call = ["trace", "--model", folder, "--text", "to be", "--dtype", "float64", "--label-smoothing", 0.1, "-o", path]
    assert main([str(part) for part in [*call, "--backward"]]) == 0
    out, err = capsys.readouterr()
    tensors, metadata = read_tensors(path)
    ids = minigpt2.Tokenizer.from_pretrained(folder).encode("to be")
    model = GPT2.from_pretrained(folder, "float64")
    expected = trace(model, ids, backward=True, label_smoothing=0.1)
    assert tensors.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(tensors[name], expected[name])
    assert metadata["label_smoothing"] == "0.1" and metadata["model"] == str(folder)
    assert GPT2Config.from_dict(json.loads(metadata["config"])) == model.config
    assert f"{len(tensors)} tensors of {len(ids)} tokens, float64" in out and err == ""
    assert f"loss {expected['loss']:.6f}" in out


def test_command_takes_ids_and_targets(folder, tmp_path):
    path = tmp_path / "ours.safetensors"
    assert main(["trace", "--model", str(folder), "--ids", "1,2,3", "--targets=-100,4,5", "-o", str(path)]) == 0
    tensors, _ = read_tensors(path)
    assert tensors["ids"].tolist() == [[1, 2, 3]] and tensors["targets"].tolist() == [[-100, 4, 5]]
    assert tensors["logits"].dtype == np.float32 and not any(name.startswith("grad.") for name in tensors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ids", "1,2"], "required: -o/--out"),
        (["-o", "x"], "--text --ids is required"),
        (["--ids", "1,2", "--text", "to", "-o", "x"], "not allowed with"),
        (["--ids", "1,two", "-o", "x"], "--ids takes whole numbers"),
        (["--ids", "1,2", "--targets", "1,two", "-o", "x"], "--targets takes whole numbers"),
        (["--ids", "1,2", "--targets", "1", "-o", "x"], r"targets must be \(1, 2\)"),
        (["--ids", "7", "--backward", "-o", "x"], "give targets"),
        (["--ids", "1,999", "-o", "x"], r"0 \.\.\. 269, got 1 \.\.\. 999"),
        (["--text", "", "-o", "x"], "--text: there is no token in it"),
        (["--text", "to be", "--dtype", "float16", "-o", "x"], "invalid choice"),
        (["--text", "to be", "--label-smoothing", "2", "-o", "x"], "label_smoothing must be in"),
        (["--text", "to be", "-o", "nowhere/x"], "no folder nowhere"),
    ],
)
def test_a_users_error_is_one_line_and_leaves_no_file(folder, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code = main(["trace", "--model", str(folder), *arguments])
    out, err = capsys.readouterr()
    assert code == (2 if "(see `minigpt2 trace --help`)" in err else 1)
    assert out == "" and err.count("\n") == 1 and re.search(message, err), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_trace_of_124m_parameters_fits_into_eight_gib(tmp_path):
    """Measured: 1.1 GiB in float32, 2.2 GiB in float64; the file has 0.6 and 1.2 GB."""
    pytest.importorskip("resource", reason="the system does not count a process's memory")
    code = f"""if True:
        import resource
        from minigpt2 import GPT2, GPT2Config, trace
        from minigpt2.verification.trace import write_trace
        model = GPT2(GPT2Config.preset("gpt2"), dtype="float64")
        write_trace({str(tmp_path / "x.safetensors")!r}, trace(model, list(range(64)), backward=True), {{}})
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert 1 * 2**30 < int(done.stdout) * unit < 8 * 2**30
    assert (tmp_path / "x.safetensors").stat().st_size > 1e9


def test_the_trace_of_one_token_ends_with_its_logits(model):
    tensors = trace(model, [3])
    whole = trace(model, [3], [1])
    assert list(tensors) == [name for name in whole if name not in ("targets", "loss")]
    assert all(np.array_equal(tensors[name], whole[name]) for name in tensors)
    assert "grad.embd" in trace(model, [3], [1], backward=True)


def test_the_command_traces_one_token(tmp_path, capsys):
    assert main(["trace", "--ids", "7", "--out", str(tmp_path / "one.safetensors")]) == 0
    assert "loss" not in capsys.readouterr().out
    tensors, _ = read_trace(tmp_path / "one.safetensors")
    assert tensors["logits"].shape == (1, 1, 1024) and "loss" not in tensors


# Files of other kinds.


def test_a_file_of_arrays_is_known_by_its_content(tmp_path):
    np.savez(tmp_path / "x.npz", logits=np.ones(3))
    (tmp_path / "x.npz").rename(tmp_path / "x.dat")
    tensors, _ = read_trace(tmp_path / "x.dat")
    np.testing.assert_array_equal(tensors["logits"], np.ones(3))


@pytest.mark.parametrize("length", range(0x200, 0x600, 8))
def test_no_header_of_a_safetensors_file_is_taken_for_something_else(tmp_path, length):
    """Its first bytes are the header's length, which may be those that begin a pickle."""
    write_tensors(tmp_path / "x", {"a": np.ones(1)}, {"filler": ""})
    filler = length - int.from_bytes((tmp_path / "x").read_bytes()[:8], "little")
    write_tensors(tmp_path / "x", {"a": np.ones(1)}, {"filler": "." * filler})
    assert int.from_bytes((tmp_path / "x").read_bytes()[:8], "little") == length
    assert read_trace(tmp_path / "x")[0]["a"] == 1


def _write_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def _write_zip_of_torch(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("theirs/data.pkl", b"")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_write_npy, "a single array of NumPy's, .*savez"),
        (_write_zip_of_torch, r"a pickle, .*safetensors\.torch\.save_file"),
        (lambda path: path.write_bytes(pickle.dumps({"logits": [1.0]})), r"a pickle, .*safetensors\.torch\.save_file"),
        (lambda path: path.write_bytes(pickle.dumps({"logits": [1.0]}, 2)), "a pickle"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "an HDF5 file, .*savez"),
        (lambda path: path.write_text('{"logits": [1.0]}'), "JSON text, .*savez"),
        (lambda path: path.write_text("[[1.0, 2.0]]"), "JSON text"),
    ],
)
def test_another_kind_of_file_is_named_with_what_to_write_instead(tmp_path, write, words):
    write(tmp_path / "theirs")
    with pytest.raises(ValueError, match=f"theirs is {words}"):
        read_trace(tmp_path / "theirs")
