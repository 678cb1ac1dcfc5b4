"""Checkpoints: what is written comes back; what is damaged or does not fit is refused and changes nothing."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import minigpt2
from minigpt2.storage import checkpoint

C, V = 4, 11
SHAPES = {
    "wte.weight": (V, C),
    "wpe.weight": (8, C),
    "h.0.ln_1.weight": (C,),
    "h.0.attn.c_attn.weight": (C, 3 * C),
    "h.0.attn.c_attn.bias": (3 * C,),
    "h.0.attn.c_proj.bias": (C,),
    "ln_f.bias": (C,),
}
MASKS = {  # what early checkpoints carry along
    "h.0.attn.bias": np.tril(np.ones((1, 1, 8, 8), np.uint8)),
    "h.0.attn.masked_bias": np.array(-1e4, np.float32),
}


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}


def empty(dtype=np.float32, **more):
    """What ``read_parameters`` is to fill; the sevens show what it has changed."""
    return {name: np.full(shape, 7, dtype) for name, shape in (SHAPES | more).items()}


def store(folder, tensors, name="model.safetensors"):
    safetensors.numpy.save_file(tensors, folder / name, metadata={"format": "pt"})


def store_shards(folder, tensors):
    """Every tensor in a file of its own, and the index of them."""
    names = {tensor: f"model-{i:05}-of-{len(tensors):05}.safetensors" for i, tensor in enumerate(tensors, 1)}
    for tensor, name in names.items():
        store(folder, {tensor: tensors[tensor]}, name)
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


def assert_untouched(out):
    assert all((array == 7).all() for array in out.values())


# ---------------------------------------------------------------------------------------- out and in again


@pytest.mark.parametrize("memory", [np.float32, np.float64])
def test_float32_comes_back_bit_by_bit(tmp_path, weights, memory):
    checkpoint.write_checkpoint(tmp_path / "new" / "folder", {"n_layer": 1}, weights)
    out = empty(memory)
    checkpoint.read_parameters(tmp_path / "new" / "folder", out)
    assert_equal(out, weights)
    assert {array.dtype for array in out.values()} == {np.dtype(memory)}
    assert checkpoint.read_config(tmp_path / "new" / "folder") == {"n_layer": 1}
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("dtype, half_step", [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_half_precision_is_the_nearest(tmp_path, weights, dtype, half_step):
    checkpoint.write_checkpoint(tmp_path, {}, weights, dtype)
    out = empty()
    checkpoint.read_parameters(tmp_path, out)
    for name, array in weights.items():
        np.testing.assert_allclose(out[name], array, rtol=half_step, atol=2.0**-25)
    assert not np.array_equal(out["wte.weight"], weights["wte.weight"])
    checkpoint.write_checkpoint(tmp_path, {}, out, dtype)
    again = empty()
    checkpoint.read_parameters(tmp_path, again)
    assert_equal(again, out)


def test_bfloat16_rounds_ties_to_even():
    rounded = {
        0x3F800000: 0x3F80,  # exact
        0x3F808000: 0x3F80,  # a tie, to the even word below
        0x3F818000: 0x3F82,  # a tie, to the even word above
        0xBF818000: 0xBF82,  # the same, negative
        0x3F808001: 0x3F81,  # just above a tie
        0x3F817FFF: 0x3F81,  # just below one
        0x7F7F7FFF: 0x7F7F,  # the largest float32 that does not become infinite
    }
    words = checkpoint._to_bfloat16(np.array(list(rounded), np.uint32).view(np.float32))
    assert [hex(word) for word in words["bfloat16"]] == [hex(word) for word in rounded.values()]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_bfloat16_is_torchs(bits):
    torch = pytest.importorskip("torch", reason="compares with torch's bfloat16")
    values = np.array(bits, np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    words = checkpoint._to_bfloat16(values)
    reference = torch.from_numpy(values).to(torch.bfloat16)
    np.testing.assert_array_equal(words["bfloat16"].view(np.int16), reference.view(torch.int16).numpy())
    np.testing.assert_array_equal(checkpoint.decode(words), reference.float().numpy())


def test_the_file_is_one_that_the_library_reads(tmp_path, weights):
    checkpoint.write_checkpoint(tmp_path, {}, weights | {"lm_head.weight": weights["wte.weight"] + 1})
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
        names = {f"transformer.{name}" for name in weights} | {"lm_head.weight"}
        assert set(file.keys()) == names
        for name, array in weights.items():
            np.testing.assert_array_equal(file.get_tensor(f"transformer.{name}"), array)


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("masks", [{}, MASKS])
@pytest.mark.parametrize("disk", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("put", [store, store_shards])
def test_every_layout_of_the_hub_is_read(tmp_path, weights, prefix, masks, disk, put):
    """In particular the bias of c_attn, whose name ends like a mask buffer's."""
    on_disk = {name: array.astype(disk) for name, array in weights.items()}
    put(tmp_path, {prefix + name: array for name, array in (on_disk | masks).items()})
    out = empty()
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, on_disk)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_head_that_repeats_the_embedding_is_tied(tmp_path, weights, dtype):
    on_disk = {name: array.astype(dtype) for name, array in weights.items()}
    store(tmp_path, on_disk | {"lm_head.weight": on_disk["wte.weight"].copy()})
    out = empty()
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, on_disk)


def test_a_head_of_its_own_needs_an_untied_model(tmp_path, weights):
    head = weights["wte.weight"] + 1
    store(tmp_path, weights | {"lm_head.weight": head})
    out = empty()
    with pytest.raises(ValueError, match=r'a separate lm_head.weight.*"tie_word_embeddings": false'):
        checkpoint.read_parameters(tmp_path, out)
    assert_untouched(out)
    out = empty(**{"lm_head.weight": (V, C)})
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, weights | {"lm_head.weight": head})


PREFIXES = [
    "_orig_mod.", "module.", "_orig_mod.module.", "model.", "gpt2.", "net.", "module.transformer.", "state_dict.model.",
    "_fsdp_wrapped_module.transformer.", "base_model.model.transformer.", "a.b.c.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("put", [store, store_shards])
def test_what_wrappers_put_before_the_names_is_taken_off(tmp_path, weights, prefix, put):
    put(tmp_path, {prefix + name: array for name, array in (weights | MASKS).items()})
    out = empty()
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, weights)


@pytest.mark.parametrize("head", ["lm_head.weight", "model.lm_head.weight", "model.gpt.lm_head.weight"])
def test_an_output_layer_may_be_further_out(tmp_path, weights, head):
    names = {name: f"model.gpt.transformer.{name}" for name in weights}
    store(tmp_path, {names[name]: array for name, array in weights.items()} | {head: weights["wte.weight"] + 1})
    out = empty(**{"lm_head.weight": (V, C)})
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, weights | {"lm_head.weight": weights["wte.weight"] + 1})


def test_wrappers_within_a_name_are_taken_out(tmp_path, weights):
    """As when blocks have been compiled, or wrapped for FSDP, one by one."""
    inside = {name.replace("h.0.", "h.0._fsdp_wrapped_module._orig_mod."): array for name, array in weights.items()}
    store(tmp_path, inside)
    out = empty()
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, weights)


def test_two_models_in_a_file_are_not_mistaken_for_one(tmp_path, weights):
    store(tmp_path, {f"{side}.{name}": array for name, array in weights.items() for side in ("student", "teacher")})
    with pytest.raises(ValueError, match=r"wte\.weight is missing.*names there are student\.h\.0\..* and 9 more$"):
        checkpoint.read_parameters(tmp_path, empty())


def test_names_of_another_model_are_shown(tmp_path):
    store(tmp_path, {f"bert.layer.{n}.weight": np.zeros(C, np.float32) for n in range(40)})
    with pytest.raises(ValueError, match=r"is missing; and more\. The names there are bert\.layer\.0\."):
        checkpoint.read_parameters(tmp_path, {f"h.{n}.ln_1.bias": np.ones(C) for n in range(30)} | empty())


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "model."])
def test_one_matrix_of_a_tied_pair_is_enough(tmp_path, weights, prefix):
    under_other_name = {name.replace("wte.weight", "lm_head.weight"): array for name, array in weights.items()}
    store(tmp_path, {prefix + name: array for name, array in under_other_name.items()})
    out = empty()
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, weights)
    with pytest.raises(ValueError, match=r"wte\.weight is missing"):
        checkpoint.read_parameters(tmp_path, empty(**{"lm_head.weight": (V, C)}))


@pytest.mark.parametrize("rows", [V - 1, V + 53])
def test_rows_of_another_vocabulary_are_told_in_numbers(tmp_path, weights, rows):
    store(tmp_path, weights | {"wte.weight": np.ones((rows, C), np.float32)})
    fault = rf": wte\.weight has shape [^;]*config\.json says vocab_size {V} and the weights have {rows} rows[^;]*$"
    with pytest.raises(ValueError, match=fault):
        checkpoint.read_parameters(tmp_path, empty())


def test_matrices_that_are_all_transposed_are_told_in_one_sentence(tmp_path):
    """The square one of attention's projection cannot tell; those of the embeddings are never transposed."""
    model = minigpt2.GPT2(minigpt2.GPT2Config(n_layer=9, n_head=1, n_embd=4, n_positions=8, vocab_size=11))
    model.save_pretrained(tmp_path)
    right, _ = checkpoint.read_tensors(tmp_path / "model.safetensors")
    turned = {name: array.T.copy() if ".h." in name else array for name, array in right.items()}
    store(tmp_path, turned)
    with pytest.raises(ValueError, match=r"matrices of the blocks transposed.*`minigpt2 convert .* --out NEW`$"):
        minigpt2.GPT2.from_pretrained(tmp_path)
    name = "transformer.h.3.mlp.c_fc.weight"
    store(tmp_path, turned | {name: right[name]})
    with pytest.raises(ValueError, match=r"h\.0\.attn\.c_attn\.weight has shape \(12, 4\), expected \(4, 12\); "):
        minigpt2.GPT2.from_pretrained(tmp_path)


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_any_tensors_and_metadata_come_back(tmp_path_factory, data):
    """As in a training checkpoint: odd shapes, integers, scalars, empty arrays, any text for a name."""
    path = tmp_path_factory.mktemp("any") / "tensors.safetensors"
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda t: t != "__metadata__")
    shape = st.lists(st.integers(0, 5), max_size=3)
    dtype = st.sampled_from("?bBhHiIqQefd")
    drawn = data.draw(st.dictionaries(text, st.tuples(shape, dtype), max_size=6))
    tensors = {name: rng.integers(0, 99, shape).astype(dtype) for name, (shape, dtype) in drawn.items()}
    metadata = data.draw(st.dictionaries(text, text, max_size=3))
    checkpoint.write_tensors(path, tensors, metadata)
    for read in checkpoint.read_tensors, lambda path: (safetensors.numpy.load_file(path), metadata):
        again, again_metadata = read(path)
        assert again_metadata == metadata
        assert_equal(again, tensors)
        assert all(again[name].dtype == tensors[name].dtype for name in tensors)


def test_any_memory_layout_is_written(tmp_path):
    grid = np.arange(24, dtype=np.float32).reshape(4, 6)
    tensors = {"transposed": grid.T, "strided": grid[::2, ::-3], "big-endian": grid.astype(">f4")}
    checkpoint.write_tensors(tmp_path / "t.safetensors", tensors)
    again, metadata = checkpoint.read_tensors(tmp_path / "t.safetensors")
    assert_equal(again, tensors)
    assert metadata == {}
    again["strided"][...] = 0  # its own memory, not the file's
    assert_equal(checkpoint.read_tensors(tmp_path / "t.safetensors")[0], tensors)


# -------------------------------------------------------------------------------------- what does not fit


def test_every_tensor_that_does_not_fit_is_named(tmp_path, weights):
    del weights["ln_f.bias"], weights["h.0.attn.c_attn.bias"]
    weights["wpe.weight"] = weights["wpe.weight"].T.copy()
    weights["h.0.ln_1.weight"] = weights["h.0.ln_1.weight"].astype(np.int32)
    weights |= {"h.1.ln_1.weight": weights["wte.weight"], "transformer.wte.weight": weights["wte.weight"]}
    store(tmp_path, weights | MASKS)
    out = empty()
    with pytest.raises(ValueError) as caught:
        checkpoint.read_parameters(tmp_path, out)
    faults, _, there = str(caught.value).partition("its config.json: ")[2].partition(". The names there are ")
    assert re.fullmatch(r"(\S+, ){4}\S+ and 4 more", there)
    faults = faults.split("; ")
    assert sorted(faults) == [
        "h.0.attn.c_attn.bias is missing",
        "h.0.ln_1.weight has dtype int32, expected floating-point numbers",
        "h.1.ln_1.weight is not expected",
        "ln_f.bias is missing",
        "wpe.weight has shape (4, 8), expected (8, 4)",
        "wte.weight occurs twice",
    ]
    assert_untouched(out)


def test_an_untied_model_needs_its_head(tmp_path, weights):
    store(tmp_path, weights)
    with pytest.raises(ValueError, match=r"lm_head\.weight is missing"):
        checkpoint.read_parameters(tmp_path, empty(**{"lm_head.weight": (V, C)}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, weights, value):
    checkpoint.write_checkpoint(tmp_path / "good", {}, weights)
    weights["wpe.weight"][1, 2] = value
    store(tmp_path, weights)
    with pytest.raises(ValueError, match=r"wpe\.weight in .* holds NaN or infinity"):
        checkpoint.read_parameters(tmp_path, empty())
    for dtype in ("float32", "float16", "bfloat16"):
        with pytest.raises(ValueError, match=r"NaN, infinite or too large for \w+: wpe\.weight \(largest"):
            checkpoint.write_checkpoint(tmp_path / "good", {"new": True}, weights, dtype)
    assert checkpoint.read_config(tmp_path / "good") == {}, "a refused model overwrites nothing"


def test_every_nan_is_noticed_by_bfloat16(tmp_path):
    """Rounding carries the NaN with all bits set over into a zero."""
    nan = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    with pytest.raises(ValueError, match=r"NaN, infinite or too large for bfloat16: wte\.weight"):
        checkpoint.write_checkpoint(tmp_path / "new", {}, {"wte.weight": nan}, "bfloat16")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dtype, value", [("float16", 65520.0), ("bfloat16", 3.4e38), ("float32", 1e39)])
def test_weights_too_large_for_the_dtype_are_refused(tmp_path, weights, dtype, value):
    weights["wte.weight"] = weights["wte.weight"].astype(np.float64)
    weights["wte.weight"][0, 0] = -value
    with pytest.raises(ValueError, match=rf"too large for {dtype}: wte\.weight \(largest: [0-9.e+]+\)"):
        checkpoint.write_checkpoint(tmp_path / "new", {}, weights, dtype)
    assert not (tmp_path / "new").exists()


def test_a_float64_beyond_float32_is_refused(tmp_path, weights):
    store(tmp_path, weights | {"ln_f.bias": np.full(C, 1e300)})
    with pytest.raises(ValueError, match=r"ln_f\.bias .* holds NaN or infinity"):
        checkpoint.read_parameters(tmp_path, empty())


def test_a_configuration_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, weights):
    with pytest.raises(TypeError, match="int64"):
        checkpoint.write_checkpoint(tmp_path / "new", {"vocab_size": np.int64(3)}, weights)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dtype", ["float64", "int8", None, np.float32])
def test_other_dtypes_are_not_written(tmp_path, weights, dtype):
    with pytest.raises(ValueError, match='expected "float32", "float16" or "bfloat16", got'):
        checkpoint.write_checkpoint(tmp_path / "new", {}, weights, dtype)


def test_what_a_tensor_file_cannot_hold_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(ValueError, match="x has dtype complex64, which a safetensors file cannot hold"):
        checkpoint.write_tensors(path, {"x": np.zeros(1, np.complex64)})
    with pytest.raises(TypeError, match="metadata: expected a dict of str to str"):
        checkpoint.write_tensors(path, {}, {"step": 3})
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------- damaged folders


def test_a_folder_without_config(tmp_path):
    for folder in tmp_path, tmp_path / "missing":
        with pytest.raises(FileNotFoundError, match=r"no config\.json in .*Hugging Face layout"):
            checkpoint.read_config(folder)
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"config\.json: expected a JSON object"):
        checkpoint.read_config(tmp_path)


def test_what_is_filled_must_be_contiguous(tmp_path, weights):
    checkpoint.write_checkpoint(tmp_path, {}, weights)
    out = empty() | {"wte.weight": np.empty((C, V), np.float32).T}
    with pytest.raises(ValueError, match=r"out: wte\.weight is not contiguous"):
        checkpoint.read_parameters(tmp_path, out)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights in .*expected model\.safetensors"):
        checkpoint.read_parameters(tmp_path, empty())


@pytest.mark.parametrize("there, hint", [
    (["tf_model.h5"], r"; what is there is tf_model\.h5$"),
    (list("abcdefg"), r"; what is there is a, b, c, d, e and 2 more$"),
    (["adapter_config.json", "adapter_model.safetensors"], "; there is an adapter of PEFT, .*merge the two"),
    (["step-900/pytorch_model.bin", "step-1000/model.safetensors", "x/y"], r"; give a folder in it, such as .*p-1000$"),
])  # fmt: skip
def test_what_lies_in_a_folder_without_weights_is_told(tmp_path, there, hint):
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=rf"no config\.json in .*{hint}"):
        checkpoint.read_config(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=rf"no weights in .*{hint}"):
        checkpoint.read_parameters(tmp_path, empty())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pointer_of_git_lfs_is_told(tmp_path, weights, name):
    checkpoint.write_checkpoint(tmp_path, {}, weights)
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 548105171\n")
    with pytest.raises(ValueError, match=rf"{name} is only a pointer of Git LFS to the file: fetch it with git lfs"):
        checkpoint.read_config(tmp_path)
        checkpoint.read_parameters(tmp_path, empty())


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_pickle_is_never_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    message = rf"{name} (is|belongs to) a pickle.* never read here: convert it with `minigpt2 convert "
    with pytest.raises(ValueError, match=message):
        checkpoint.read_parameters(tmp_path, empty())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02",
        b"<html>Sorry</html>" * 10,
        (2).to_bytes(8, "little") + b"{",
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is cut short, damaged or not a safetensors file"):
        checkpoint.read_parameters(tmp_path, empty())


def test_an_unknown_dtype_is_named(tmp_path):
    header = b'{"wte.weight":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match=r"wte\.weight has an unsupported dtype, F8_E4M3"):
        checkpoint.read_parameters(tmp_path, empty())


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damage_is_a_clear_error_or_none(tmp_path_factory, data):
    """However a file is cut or its header changed: it is read in full, or refused before anything changes."""
    folder = tmp_path_factory.mktemp("damaged")
    rng = np.random.default_rng(0)
    store(folder, {name: rng.random(shape, np.float32) for name, shape in SHAPES.items()})
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    header_end = 8 + int.from_bytes(content[:8], "little")
    if data.draw(st.booleans(), "cut"):
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1), "length")])
    else:
        for _ in range(data.draw(st.integers(1, 3), "flips")):
            content[data.draw(st.integers(0, header_end - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
    out = empty()
    try:
        checkpoint.read_parameters(folder, out)
    except ValueError as error:
        assert str(folder) in str(error)
        if "holds NaN or infinity" not in str(error):  # a flip can turn "F32" into "F16" and so on
            assert_untouched(out)
    else:
        assert not any((array == 7).any() for array in out.values())


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}, {"weight_map": "a"}])
def test_an_index_without_a_map_is_refused(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r'index\.json: expected "weight_map": \{tensor name: file name'):
        checkpoint.read_parameters(tmp_path, empty())


@pytest.mark.parametrize(
    "shard",
    [
        "../outside.safetensors",
        "sub/inside.safetensors",
        "sub\\inside.safetensors",
        "/etc/passwd",
        "C:x.safetensors",
        "..",
        "",
        "model.bin",
        "a.safetensors\n",
        7,
        None,
    ],
)
def test_an_index_cannot_reach_out_of_its_folder(tmp_path, weights, shard):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in tmp_path / "outside.safetensors", folder / "sub" / "inside.safetensors":
        store(place.parent, weights, place.name)
    index = {"weight_map": dict.fromkeys(weights, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    out = empty()
    with pytest.raises(ValueError, match=r"expected the name of a \.safetensors file, got"):
        checkpoint.read_parameters(folder, out)
    assert_untouched(out)


def test_a_missing_shard_is_named(tmp_path, weights):
    store_shards(tmp_path, weights)
    (tmp_path / "model-00003-of-00007.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"names model-00003-of-00007\.safetensors, which is"):
        checkpoint.read_parameters(tmp_path, empty())


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, weights, monkeypatch):
    checkpoint.write_checkpoint(tmp_path, {"version": 1}, weights)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    other = {name: array + 1 for name, array in weights.items()}
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_checkpoint(tmp_path, {"version": 2}, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    out = empty()
    checkpoint.read_parameters(tmp_path, out)
    assert_equal(out, weights)
    assert checkpoint.read_config(tmp_path) == {"version": 1}


# -------------------------------------------------------------------------------------- whole models


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request):
    config = minigpt2.GPT2Config(
        n_layer=2, n_head=2, n_embd=16, n_positions=12, vocab_size=37, tie_word_embeddings=request.param
    )
    model = minigpt2.GPT2(config, seed=1)
    rng = np.random.default_rng(2)
    for parameter in minigpt2.flatten(model.params).values():
        # A new model's biases are zero: one that is lost would not show.
        parameter += 0.1 * rng.standard_normal(parameter.shape, dtype=np.float32)
    return model


IDS = np.random.default_rng(3).integers(0, 37, (2, 12))


def logits_of(torch_model):
    torch = pytest.importorskip("torch", reason="compares with transformers")
    with torch.no_grad():
        return torch_model.eval()(torch.from_numpy(IDS)).logits.numpy()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_comes_back(tmp_path, model, dtype):
    model.save_pretrained(tmp_path, dtype=dtype)
    again = minigpt2.GPT2.from_pretrained(tmp_path)
    assert again.config == model.config
    logits, expected = again.forward(IDS)[0], model.forward(IDS)[0]
    assert logits.dtype == np.float32
    if dtype == "float32":
        np.testing.assert_array_equal(logits, expected)
    else:
        again.save_pretrained(tmp_path, dtype=dtype)  # what is rounded already comes back bit by bit
        np.testing.assert_array_equal(minigpt2.GPT2.from_pretrained(tmp_path).forward(IDS)[0], logits)
        assert 0 < np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_transformers_opens_what_we_save(tmp_path, model, dtype):
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    model.save_pretrained(tmp_path, dtype=dtype)
    reference, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    ours = minigpt2.GPT2.from_pretrained(tmp_path, dtype="float64").forward(IDS)[0]
    np.testing.assert_allclose(logits_of(reference.double()), ours, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_we_open_what_transformers_saves(tmp_path, dtype, shards, tied):
    torch = pytest.importorskip("torch", reason="compares with transformers")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=16, n_positions=12, vocab_size=37, tie_word_embeddings=tied
    )
    torch.manual_seed(0)
    reference = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    reference = reference.to(getattr(torch, dtype))
    reference.save_pretrained(tmp_path, max_shard_size=3000 if shards else "1GB")
    assert (tmp_path / "model.safetensors").exists() != shards
    model = minigpt2.GPT2.from_pretrained(tmp_path, dtype="float64")
    assert model.config.tie_word_embeddings == tied
    np.testing.assert_allclose(model.forward(IDS)[0], logits_of(reference.double()), rtol=0, atol=1e-10)


def test_a_file_of_many_tensors_needs_few_open_files(tmp_path):
    resource = pytest.importorskip("resource", reason="this system does not limit open files")
    tensors = {f"t{n}": np.full((2, 3), n, np.float32) for n in range(300)} | {"none": np.empty((0, 4), np.float32)}
    checkpoint.write_tensors(tmp_path / "many.safetensors", tensors)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        found, _ = checkpoint.read_tensors(tmp_path / "many.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
