"""minigpt2 convert: what other programs have saved computes the same here, or is refused and leaves nothing."""

import dataclasses
import json
import re
import shlex
import sys
import types
import warnings

import numpy as np
import pytest
import safetensors.numpy
from llm_c_model import write_llm_c

from minigpt2 import GPT2, GPT2Config, Tokenizer, flatten
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.cli import main
from minigpt2.storage.checkpoint import write_tensors
from minigpt2.storage.conversion import convert

CONFIG = GPT2Config(n_layer=2, n_head=3, n_embd=12, n_positions=8, vocab_size=37)
IDS = np.random.default_rng(3).integers(0, 37, (2, 8))


def random_model(**changes):
    """A model whose biases and gains are not those of a new one, so that one that is lost shows."""
    model = GPT2(dataclasses.replace(CONFIG, **changes), seed=1)
    rng = np.random.default_rng(2)
    for parameter in flatten(model.params).values():
        parameter += 0.3 * rng.standard_normal(parameter.shape, dtype=np.float32)
    return model


def transposed(model, prefix=""):
    """The parameters as nn.Linear would hold them, under nanoGPT's names."""
    names = {name: name if name.startswith("lm_head") else f"transformer.{name}" for name in flatten(model.params)}
    return {
        prefix + names[name]: p.T.copy() if name.startswith("h.") and p.ndim == 2 else p
        for name, p in flatten(model.params).items()
    }


def tensors_of(arrays):
    torch = pytest.importorskip("torch", reason="writes and reads checkpoints of PyTorch")
    return {name: torch.tensor(array) for name, array in arrays.items()}


def save(content, path):
    pytest.importorskip("torch", reason="writes and reads checkpoints of PyTorch").save(content, path)
    return path


def logits(folder):
    return GPT2.from_pretrained(folder, dtype="float64").forward(IDS)[0]


def logits_of(model):
    again = GPT2(model.config, dtype="float64")
    for name, parameter in flatten(again.params).items():
        parameter[...] = flatten(model.params)[name]
    return again.forward(IDS)[0]


def advice(folder, new):
    """The arguments of the command that from_pretrained gives where it refuses a folder."""
    with pytest.raises(ValueError, match="convert it with") as caught:
        GPT2.from_pretrained(folder)
    return shlex.split(re.search("`minigpt2 (.*)`", str(caught.value))[1].replace("NEW", str(new)))


def linear_gpt(bias=True, tied=True, masks=False, approximate="tanh", padded=37):
    """A GPT-2 of nn.Linear layers and with the names of nanoGPT's and minGPT's, with random parameters."""
    torch = pytest.importorskip("torch", reason="it is written in PyTorch")
    from torch import nn

    C, H, P, L = CONFIG.n_embd, CONFIG.n_head, CONFIG.n_positions, CONFIG.n_layer

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_attn, self.c_proj = nn.Linear(C, 3 * C, bias=bias), nn.Linear(C, C, bias=bias)
            if masks:
                self.register_buffer("bias", torch.ones(P, P).tril()[None, None])

        def forward(self, x):
            B, T, _ = x.shape
            q, k, v = (part.reshape(B, T, H, -1).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.c_proj(y.transpose(1, 2).reshape(B, T, C))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(C, bias=bias), nn.LayerNorm(C, bias=bias)
            self.attn = Attention()
            self.mlp = nn.ModuleDict(
                {"c_fc": nn.Linear(C, 4 * C, bias=bias), "c_proj": nn.Linear(4 * C, C, bias=bias)}
            )

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            hidden = nn.functional.gelu(self.mlp.c_fc(self.ln_2(x)), approximate=approximate)
            return x + self.mlp.c_proj(hidden)

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            blocks = nn.ModuleList([Block() for _ in range(L)])
            self.transformer = nn.ModuleDict({
                "wte": nn.Embedding(padded, C), "wpe": nn.Embedding(P, C), "h": blocks,
                "ln_f": nn.LayerNorm(C, bias=bias),
            })  # fmt: skip
            self.lm_head = nn.Linear(C, padded, bias=False)
            if tied:
                self.transformer.wte.weight = self.lm_head.weight

        def forward(self, ids):
            x = self.transformer.wte(ids) + self.transformer.wpe.weight[: ids.shape[1]]
            for block in self.transformer.h:
                x = block(x)
            return self.lm_head(self.transformer.ln_f(x))

    torch.manual_seed(0)
    model = GPT()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        expected = model.double()(torch.from_numpy(IDS)).numpy()
    return model.float(), expected


# ------------------------------------------------------------------------------------------ what is converted


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_a_checkpoint_of_nanogpt(tmp_path, bias, prefix):
    model, expected = linear_gpt(bias=bias, padded=64)
    args = {"n_layer": 2, "n_head": 3, "n_embd": 12, "block_size": 8, "bias": bias, "vocab_size": 64, "dropout": 0.2}
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    content = {"model": state, "optimizer": {"state": {0: {"n_head": 9}}}, "model_args": args, "iter_num": 3,
               "config": {"n_head": 12, "dataset": "x"}}  # fmt: skip
    done = dict(convert(save(content, tmp_path / "ckpt.pt"), tmp_path / "new"))
    np.testing.assert_allclose(logits(tmp_path / "new"), expected, rtol=0, atol=1e-10)
    config = GPT2Config.from_pretrained(tmp_path / "new")
    assert (config.vocab_size, config.n_head, config.attn_pdrop, config.tie_word_embeddings) == (64, 3, 0.2, True)
    assert done["read"].endswith("nanoGPT, by torch.load(weights_only=True), which executes nothing in it")
    assert "transposed" in done["matrices"] and "erf form" in done["note"]
    assert ("biases" in done) == (not bias) and ("names" in done) == bool(prefix)
    assert "none in the checkpoint's folder" in done["tokenizer"]


def test_the_erf_form_of_gelu_is_told_and_makes_a_small_difference(tmp_path):
    model, expected = linear_gpt(approximate="none")
    path = save({"model": model.state_dict(), "model_args": {"n_head": 3}}, tmp_path / "ckpt.pt")
    assert "each activation differs by up to 0.0005" in dict(convert(path, tmp_path / "new"))["note"]
    difference = np.abs(logits(tmp_path / "new") - expected).max()
    assert 1e-6 < difference < 0.02
    torch = pytest.importorskip("torch")
    x = torch.linspace(-5, 5, 10001, dtype=torch.float64)
    gelu = torch.nn.functional.gelu
    assert 0.0004 < (gelu(x) - gelu(x, approximate="tanh")).abs().max() < 0.0005


@pytest.mark.parametrize("size", [{"n_head": 3}, {"n_head": None, "model_type": "gpt-nano"}])
def test_a_checkpoint_of_mingpt(tmp_path, size):
    """A bare state dict with mask buffers and an output layer of its own; its config.json is not Hugging Face's."""
    model, expected = linear_gpt(tied=False, masks=True)
    save(model.state_dict(), tmp_path / "model.pt")
    values = {"system": {"seed": 1}, "model": {"n_layer": None, "vocab_size": None, "attn_pdrop": 0.3} | size}
    (tmp_path / "config.json").write_text(json.dumps(values))
    done = dict(convert(tmp_path, tmp_path / "new"))
    np.testing.assert_allclose(logits(tmp_path / "new"), expected, rtol=0, atol=1e-10)
    assert GPT2Config.from_pretrained(tmp_path / "new").attn_pdrop == 0.3
    assert done["output"] == "its layer is a matrix of its own" and "note" not in done


@pytest.mark.parametrize("nested", [
    lambda state: {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}, "epoch": 3,
                   "hyper_parameters": {"n_head": 3}},
    lambda state: {"epoch": 1, "weights": state, "config": {"model": {"n_head": 3}}},
    lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    lambda state: {"model_state_dict": state, "ema": dict(state), "num_attention_heads": 3},
], ids=["Lightning", "one of any name", "DDP", "the model's beside another"])  # fmt: skip
def test_state_dicts_wherever_they_stand(tmp_path, nested):
    model = random_model()
    path = save(nested(tensors_of(flatten(model.params))), tmp_path / "epoch=3.ckpt")
    convert(path, tmp_path / "new", n_head=3)
    np.testing.assert_array_equal(logits(tmp_path / "new"), logits_of(model))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("tied", [True, False])
def test_pickles_of_hugging_face(tmp_path, dtype, shards, tied):
    torch = pytest.importorskip("torch", reason="writes and reads checkpoints of PyTorch")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    values = {"n_layer": 2, "n_head": 3, "n_embd": 12, "n_positions": 8, "vocab_size": 37, "n_inner": 20}
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**values, tie_word_embeddings=tied))
    theirs = theirs.to(getattr(torch, dtype))
    theirs.config.save_pretrained(tmp_path)
    state = theirs.state_dict()
    if shards == 1:
        save(state, tmp_path / "pytorch_model.bin")
    else:
        names = {name: f"pytorch_model-{n % shards + 1:05}-of-{shards:05}.bin" for n, name in enumerate(state)}
        for shard in set(names.values()):
            save({name: tensor for name, tensor in state.items() if names[name] == shard}, tmp_path / shard)
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    save({"step": 3}, tmp_path / "training_args.bin")
    assert main(advice(tmp_path, tmp_path / "new")) == 0
    with torch.no_grad():
        expected = theirs.double().eval()(torch.from_numpy(IDS)).logits.numpy()
    np.testing.assert_allclose(logits(tmp_path / "new"), expected, rtol=0, atol=1e-10)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "new").double().eval()
    with torch.no_grad():
        np.testing.assert_allclose(again(torch.from_numpy(IDS)).logits.numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("version", [3, 5])
def test_a_model_of_llm_c(tmp_path, version):
    """Of version 5, bfloat16, the numbers are those of float32 without their lower half."""
    model = random_model()
    if version == 5:
        for parameter in flatten(model.params).values():
            parameter.view("u4")[...] &= 0xFFFF0000
    path = write_llm_c(tmp_path / "model_00010.bin", model, version=version)
    with pytest.raises(ValueError, match=r"is a model of llm\.c: convert it with `minigpt2 convert .*\.bin --out NEW`"):
        GPT2.from_pretrained(path)
    done = dict(convert(path, tmp_path / "new"))
    np.testing.assert_array_equal(logits(tmp_path / "new"), logits_of(model))
    assert done["read"].endswith("a model of llm.c, by minigpt2") and "37 tokens" in done["model"]


@pytest.mark.parametrize("changes, message", [
    ({"version": 1}, "not of version 3"), ({"L": 3}, "its header asks for"), ({"padded": 65}, "its header asks for"),
    ({"C": -12}, "sizes below 1"), ({"V": 65}, "fewer rows than tokens"), ({"L": 2**31 - 1}, "its header asks for"),
    ({"H": 5}, "n_embd=12 must be a multiple of n_head=5"), ({"magic": 20240328}, "no checkpoint of PyTorch"),
])  # fmt: skip
def test_a_model_of_llm_c_that_is_damaged(tmp_path, changes, message):
    if "magic" in changes:
        pytest.importorskip("torch", reason="asks torch what it may be")
    path = write_llm_c(tmp_path / "model.bin", random_model(), **changes)
    with pytest.raises(ValueError, match=message):
        convert(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def stand_in(monkeypatch, checkpoints):
    """A module that reads checkpoints as TensorFlow does, which is too large to be installed for a test."""

    def load_checkpoint(prefix):
        if prefix not in checkpoints:
            raise RuntimeError("Unsuccessful TensorSliceReader constructor")
        stored = checkpoints[prefix]
        return types.SimpleNamespace(
            get_variable_to_shape_map=lambda: {name: list(array.shape) for name, array in stored.items()},
            get_tensor=stored.__getitem__,
        )

    module = types.SimpleNamespace(train=types.SimpleNamespace(load_checkpoint=load_checkpoint))
    monkeypatch.setitem(sys.modules, "tensorflow", module)


def of_tensorflow(model):
    """The variables of OpenAI's code: model/h0/attn/c_attn/w (1, C, 3C), model/ln_f/g, model/wte."""
    variables = {}
    for name, parameter in flatten(model.params).items():
        *path, kind = re.sub(r"h\.(\d+)", r"h\1", name).split(".")
        if path[-1] not in ("wte", "wpe"):
            path.append("b" if kind == "bias" else "g" if "ln_" in name else "w")
        variables["/".join(["model", *path])] = parameter[None] if path[-1] == "w" else parameter
    return variables


def gpt_2_simple(folder, model):
    """A folder of gpt-2-simple, after two thousand steps; what TensorFlow would read is given to the stand-in."""
    for step in 1000, 2000:
        for ending in "index", "meta", "data-00000-of-00001":
            (folder / f"model-{step}.{ending}").write_bytes(b"")
    latest = 'model_checkpoint_path: "model-2000"\nall_model_checkpoint_paths: "model-1000"\n'
    (folder / "checkpoint").write_text(latest)
    (folder / "counter").write_text("2001\n")
    (folder / "hparams.json").write_text(json.dumps({
        "n_vocab": model.config.vocab_size, "n_ctx": 8, "n_embd": 12, "n_head": 3, "n_layer": 2,
    }))  # fmt: skip


def test_a_folder_of_gpt_2_simple(tmp_path, monkeypatch):
    folder = tmp_path / "run 1"
    folder.mkdir()
    tokenizer = Tokenizer.train("aab aab aab", 259)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    (folder / "tokenizer_config.json").unlink()
    model = random_model(vocab_size=259)
    gpt_2_simple(folder, model)
    with pytest.raises(ValueError, match=r"belongs to a TensorFlow .*`minigpt2 convert '.*/run 1' --out NEW`"):
        GPT2.from_pretrained(folder)
    slots = {"model/wte/Adam": np.zeros((259, 12)), "beta1_power": np.float32(0.9), "global_step": np.int64(3)}
    other = {name: array + 1 for name, array in of_tensorflow(model).items()}
    stand_in(monkeypatch, {str(folder / "model-2000"): of_tensorflow(model) | slots, str(folder / "model-1000"): other})
    convert(folder, tmp_path / "new")
    np.testing.assert_array_equal(logits(tmp_path / "new"), logits_of(model))
    assert Tokenizer.from_pretrained(tmp_path / "new").vocab == tokenizer.vocab
    assert GPT2Config.from_pretrained(tmp_path / "new").eos_token_id == tokenizer.eos_id == 258
    for source in "model-1000", "model-1000.index", "model-1000.meta":
        convert(folder / source, tmp_path / source)
        assert not np.array_equal(logits(tmp_path / source), logits_of(model))
    (folder / "checkpoint").unlink()
    with pytest.raises(ValueError, match="holds several checkpoints of TensorFlow: give one, such as"):
        convert(folder, tmp_path / "none")
    (folder / "model-1000.index").unlink()
    stand_in(monkeypatch, {})
    with pytest.raises(ValueError, match=r"model-2000 is damaged or incomplete, says TensorFlow: Unsuccessful"):
        convert(folder, tmp_path / "none")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ValueError, match=r"which only TensorFlow can read: pip install tensorflow"):
        convert(folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_safetensors_with_transposed_matrices(tmp_path):
    """The advice that from_pretrained gives, followed."""
    model = random_model()
    model.save_pretrained(tmp_path / "old folder")
    safetensors.numpy.save_file(transposed(model, "net."), tmp_path / "old folder/model.safetensors")
    assert main(advice(tmp_path / "old folder", tmp_path / "new")) == 0
    np.testing.assert_array_equal(logits(tmp_path / "new"), logits_of(model))


def test_the_command_tells_what_it_did(tmp_path, capsys):
    model = random_model(vocab_size=320)
    write_tensors(tmp_path / "weights.safetensors", transposed(model, "_orig_mod."))
    tokenizer = Tokenizer.train("to be or not to be " * 9, 262)
    tokenizer.save_pretrained(tmp_path / "tokens")
    command = ["convert", str(tmp_path / "weights.safetensors"), "--out", str(tmp_path / "a/new"), "--n-head", "3"]
    assert main([*command, "--tokenizer", str(tmp_path / "tokens")]) == 0
    out, err = capsys.readouterr()
    assert err == "" and re.fullmatch(
        r"read      .*: a safetensors file, by minigpt2\n"
        r"model     2 layers, 3 heads, 12 channels, 8 positions, 320 tokens: 7,728 parameters\n"
        r"names     _orig_mod\.transformer\. taken off\n"
        r"matrices  transposed: .*\n"
        r"output    its layer is the token embedding\n"
        r"(note .*\n)?"
        r"tokenizer 262 tokens; the other 58 ids have none\n"
        r"written   (.*new); try it: minigpt2 generate --model \2\n", out
    ), out  # fmt: skip
    assert GPT2Config.from_pretrained(tmp_path / "a/new").eos_token_id == tokenizer.eos_id
    assert Tokenizer.from_pretrained(tmp_path / "a/new").encode("to be") == tokenizer.encode("to be")
    assert main([*command, "--tokenizer", str(tmp_path / "tokens")]) == 1
    assert "new is not empty: give a new folder" in capsys.readouterr().err


def test_an_empty_folder_may_be_there_and_characters_are_a_tokenizer_too(tmp_path):
    write_tensors(tmp_path / "x.safetensors", flatten(random_model().params))
    (tmp_path / "new").mkdir()
    tokenizer = CharTokenizer.train("to be or not to be")
    convert(tmp_path / "x.safetensors", tmp_path / "new", 3, tokenizer)
    assert Tokenizer.from_pretrained(tmp_path / "new").vocab == tokenizer.vocab
    assert GPT2Config.from_pretrained(tmp_path / "new").eos_token_id is None
    (tmp_path / "like any other").mkdir()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "like any other").stat().st_mode


# -------------------------------------------------------------------------------------------- what is refused


def refused(tmp_path, tensors, message, **options):
    """Convert tensors from a safetensors file: refused, with nothing left."""
    write_tensors(tmp_path / "x.safetensors", tensors)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "x.safetensors", tmp_path / "new", **{"n_head": 3} | options)
    assert sorted(tmp_path.rglob("*")) == before


def test_all_end_tokens_are_kept(tmp_path):
    """Those of generation_config.json too, and the token that begins a text."""
    model, tokenizer = random_model(vocab_size=259), Tokenizer.train("aab aab", 259, ("</s>", "<s>"))
    save(tensors_of(flatten(model.params)), tmp_path / "model.pt")
    roles = {"bos_token": "<s>", "eos_token": "</s>"}
    Tokenizer(tokenizer.vocab, tokenizer.merges, roles.values(), roles=roles).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 5]}')
    convert(tmp_path / "model.pt", tmp_path / "new", 3)
    config, end = GPT2Config.from_pretrained(tmp_path / "new"), tokenizer.vocab["</s>"]
    assert config.eos_token_id == (end, 7, 5) and config.bos_token_id == tokenizer.vocab["<s>"]
    assert Tokenizer.from_pretrained(tmp_path / "new").eos_ids == (end, 7, 5)


def test_files_under_other_names_and_beside_others(tmp_path):
    model = random_model()
    state = tensors_of(flatten(model.params))
    (tmp_path / "deepspeed").mkdir()
    save({"module": state}, tmp_path / "deepspeed/mp_rank_00_model_states.pt")
    save({"x": state}, tmp_path / "deepspeed/zero_pp_rank_0_mp_rank_00_optim_states.pt")
    (tmp_path / "llm.c").mkdir()
    write_llm_c(tmp_path / "llm.c/model_00000010.bin", model)
    (tmp_path / "llm.c/state_00000010_00000.bin").write_bytes(b"")
    sources = [
        save({"model_state_dict": state}, tmp_path / "checkpoint.tar"),  # as in PyTorch's tutorial
        save(state, tmp_path / "weights"),
        save(state | {"epoch": 3}, tmp_path / "numbers.pt"),
        tmp_path / "deepspeed", tmp_path / "llm.c",
    ]  # fmt: skip
    for number, source in enumerate(sources):
        convert(source, tmp_path / f"new{number}", np.int64(3))
        np.testing.assert_allclose(logits(tmp_path / f"new{number}"), logits_of(model), rtol=0, atol=1e-10)


def test_tensors_that_are_not_a_gpt2(tmp_path):
    good = flatten(random_model().params)
    less = {name: array for name, array in good.items() if name != "h.1.attn.c_attn.bias"}
    refused(tmp_path, less, r"no GPT-2 that can be converted: h\.1\.attn\.c_attn\.bias is missing\. The names")
    refused(tmp_path, good | {"h.0.attn.rotary.inv_freq": np.ones(3)}, r"rotary\.inv_freq is not expected")
    refused(tmp_path, good | {"lm_head.bias": np.ones(37)}, r"lm_head\.bias is not expected")
    refused(tmp_path, good | {"transformer.wte.weight": np.ones((37, 12))}, r"wte\.weight occurs twice")
    refused(tmp_path, good | {"h.1.mlp.c_fc.weight": np.ones((12, 20))}, r"c_fc\.weight has shape \(12, 20\)")
    turned = transposed(random_model()) | {"transformer.h.1.mlp.c_fc.weight": good["h.1.mlp.c_fc.weight"]}
    refused(tmp_path, turned, r"h\.1\.mlp\.c_fc\.weight has shape \(48, 12\), expected \(12, 48\)")
    refused(tmp_path, good | {"h.999999.x": np.ones(3)}, r"h\.2\.ln_1\.weight is missing; .*and more")
    refused(tmp_path, good | {"ln_f.bias": np.ones(12, int)}, r"ln_f\.bias has dtype int64")
    refused(tmp_path, good | {"ln_f.bias": np.full(12, np.nan)}, "weights that are NaN")
    refused(tmp_path, good | {"wte.weight": np.ones(12)}, "no GPT-2 that can be converted")
    refused(tmp_path, good | {"wpe.weight": np.ones((0, 12))}, "n_positions must be at least 1, got 0")
    llama = {f"model.layers.{n}.self_attn.q_proj.weight": np.ones((2, 2)) for n in range(9)}
    refused(tmp_path, llama, r"wte\.weight is missing; .* The names there are model\.layers\.0.* and 4 more")
    no_qkv = {name: array for name, array in good.items() if "attn.c_attn.bias" not in name}
    refused(tmp_path, no_qkv, r"h\.0\.attn\.c_attn\.bias is missing; h\.1\.attn\.c_attn\.bias is missing")


def test_numbers_that_contradict_one_another(tmp_path):
    good = flatten(random_model().params)
    refused(tmp_path, good, "give --n-head N", n_head=None)
    refused(tmp_path, good, "n_embd=12 must be a multiple of n_head=5", n_head=5)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"n_head": 4}))
    refused(tmp_path, good, "n_head is 3 by --n-head, 4 by the file beside it; correct what is wrong")
    path.write_text(json.dumps({"n_head": 3, "n_ctx": 9, "n_positions": 8, "vocab_size": 64}))
    refused(tmp_path, good, "vocab_size is 37 by the weights, 64 by the file beside it")
    path.write_text(json.dumps({"n_head": 3, "activation_function": "gelu"}))
    refused(tmp_path, good, "activation_function='gelu', but GPT-2 as released has 'gelu_new'")
    path.write_text(json.dumps({"n_head": 3, "model_type": "gpt_neo"}))
    refused(tmp_path, good, "model_type is 'gpt_neo', expected 'gpt2'")
    path.write_text(json.dumps({"n_head": 3, "model_type": "gpt2"}))
    refused(tmp_path, good | {"lm_head.weight": np.ones((37, 12))}, 'set "tie_word_embeddings": false there')
    path.write_text(json.dumps({"n_head": 3, "model_type": "gpt2", "tie_word_embeddings": False}))
    refused(tmp_path, good, r"lm_head\.weight is missing")
    path.unlink()
    refused(tmp_path, good, r"the tokenizer has ids up to 257, but the model has 37 tokens",
            tokenizer=Tokenizer.train("aab aab", 258))  # fmt: skip


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path):
    torch = pytest.importorskip("torch", reason="writes and reads checkpoints of PyTorch")

    class Config:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    state = tensors_of(flatten(random_model().params))
    save({"model": state, "config": Config()}, tmp_path / "ckpt.pt")
    with pytest.raises(ValueError, match=r"ckpt\.pt holds more than tensors and plain values, [\w.]*open, which"):
        convert(tmp_path / "ckpt.pt", tmp_path / "new", 3)
    (tmp_path / "old.pt").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(ValueError, match=r"old\.pt (holds more than tensors|is damaged)"):
        convert(tmp_path / "old.pt", tmp_path / "new", 3)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(ValueError, match=r"values, torch\.nn\.modules\.linear\.Linear, .*save the tensors alone"):
        convert(tmp_path / "module.pt", tmp_path / "new", 3)
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "script.pt")
    with pytest.raises(ValueError, match=r"script\.pt holds more .* a program of TorchScript"):
        convert(tmp_path / "script.pt", tmp_path / "new", 3)
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "new").exists()


def test_files_that_are_no_checkpoints(tmp_path):
    torch = pytest.importorskip("torch", reason="writes and reads checkpoints of PyTorch")
    for content in b"", b"PK\3\4", b"<html>Sorry</html>", b"\x80\x02}q\x00.", bytes(2000):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.pt (is damaged or no checkpoint|holds)"):
            convert(tmp_path / "x.pt", tmp_path / "new", 3)
    whole = save(tensors_of(flatten(random_model().params)), tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.pt is damaged or no checkpoint of PyTorch"):
        convert(tmp_path / "x.pt", tmp_path / "new", 3)
    for content, message in (
        ({"epoch": 3}, "holds 'epoch', and none of these is a state dict"),
        (torch.ones(3), "holds Tensor, expected a state dict"),
        ({"a": {"x": torch.ones(1)}, "b": {"x": torch.ones(1)}}, "several of these are state dicts"),
        ({"x": torch.ones(2).to_sparse()}, "'x' cannot be read as an array"),
    ):
        save(content, tmp_path / "x.pt")
        with pytest.raises(ValueError, match=message):
            convert(tmp_path / "x.pt", tmp_path / "new", 3)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"wte.weight": "../x.bin"}}))
    with pytest.raises(ValueError, match=r"expected the name of a \.bin file, got '\.\./x\.bin'"):
        convert(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_source_that_is_not_there_or_not_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere\.pt"):
        convert(tmp_path / "nowhere.pt", tmp_path / "new")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        convert(tmp_path, tmp_path / "new")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"a\.txt is in a format that cannot be read: expected a folder, or a file"):
        convert(tmp_path / "a.txt", tmp_path / "new")
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="there is an adapter of PEFT"):
        convert(tmp_path, tmp_path / "new")
    for name in "optimizer.pt", "meta.pkl", "a.pt", "b.pt":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds a\.pt, b\.pt: give the path of one of them"):
        convert(tmp_path, tmp_path / "new")


def test_torch_is_asked_for_when_it_is_needed(tmp_path, monkeypatch):
    (tmp_path / "x.pt").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.5.1+cpu"))
    with pytest.raises(ValueError, match=r"torch 2\.5\.1\+cpu can be made to execute one .*torch>=2\.6"):
        convert(tmp_path / "x.pt", tmp_path / "new")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"torch can read without executing it: pip install -e '\.\[reference\]'"):
        convert(tmp_path / "x.pt", tmp_path / "new")


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CharTokenizer, "save_pretrained", full)
    write_tensors(tmp_path / "x.safetensors", flatten(random_model().params))
    with pytest.raises(OSError, match="No space left"):
        convert(tmp_path / "x.safetensors", tmp_path / "new", 3, CharTokenizer.train("abc"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
