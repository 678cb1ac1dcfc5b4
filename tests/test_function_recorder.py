"""Plain functions: recorded without touching them, and recognised."""

import types

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, flatten
from minigpt2.verification.compare import compare
from minigpt2.verification.function_recorder import record_functions
from minigpt2.verification.names import translate
from minigpt2.verification.trace import read_trace, trace

B, T, C, H, D, V, P, L = 1, 7, 8, 2, 4, 13, 9, 2
SOURCE = """
import numpy as np

def double(x):
    return 2 * x

def add(x, *more):
    x += more[0]
    return x

def block(x, n, weight=None):
    return {"y": double(double(x)) + n, "parts": [x, "text", None]}

def model(x, n_layer):
    for n in range(n_layer):
        x = block(x, n, weight=x)["y"]
    return add(x, x)

def fails(x):
    double(x)
    raise KeyError("no")
"""


@pytest.fixture
def module():
    module = types.ModuleType("theirs")
    exec(SOURCE, vars(module))
    return module


def test_results_and_arguments_are_named_by_the_calls_that_led_to_them(module, tmp_path):
    before, x = dict(vars(module)), np.ones(2)
    with record_functions(module) as theirs:
        module.model(x, 2)
    assert {name: array.tolist() for name, array in theirs.tensors.items()} == {
        "model.0.x": [1, 1],
        "model.0.block.0.double.0": [2, 2],
        "model.0.block.0.double.1": [4, 4],
        "model.0.block.0.y": [4, 4],
        "model.0.block.1.double.0": [8, 8],
        "model.0.block.1.double.1": [16, 16],
        "model.0.block.1.y": [17, 17],
        "model.0.add.0": [34, 34],  # what was changed in place is another array
    }
    assert dict(vars(module)) == before
    theirs.tap("loss", 0.5)
    theirs.save(tmp_path / "theirs.safetensors")
    assert read_trace(tmp_path / "theirs.safetensors")[0]["loss"] == 0.5


def test_the_module_is_as_before_after_an_error(module):
    before = dict(vars(module))
    with pytest.raises(KeyError, match="no"), record_functions(module) as theirs:
        module.fails(np.ones(2))
    assert dict(vars(module)) == before and list(theirs.tensors) == ["fails.0.x", "fails.0.double.0"]


def test_what_is_no_array_yet_is_left_out(module):
    """A tracer of JAX's has a shape, but no numbers."""

    class Tracer:
        shape = (2,)

        def __array__(self, *_, **__):
            raise TypeError("no numbers")

        def __rmul__(self, _):
            return self

    with record_functions(module) as theirs:
        module.double(Tracer())
        module.double(np.ones(2))
    assert list(theirs.tensors) == ["double.1.x", "double.1"]


def test_a_module_without_functions_is_refused():
    with pytest.raises(TypeError, match="has no functions of its own"), record_functions(types.ModuleType("empty")):
        pass


# Names.


@pytest.fixture(scope="module")
def ours():
    model = GPT2(GPT2Config(vocab_size=V, n_positions=P, n_embd=C, n_layer=L, n_head=H), dtype="float64")
    rng = np.random.default_rng(0)
    for name, p in flatten(model.params).items():
        p[...] = (".ln_" in f".{name}" and name.endswith("weight")) + 0.4 * rng.standard_normal(p.shape)
    ids = rng.integers(0, V, (B, T))
    return trace(model, ids, np.roll(ids, 1), backward=True) | flatten(model.params)


def of_parameters(ours, rename):
    """Their parameters and gradients: ``rename`` gives pairs (name, array) for one of ours."""
    theirs = {}
    for name in ours:
        if name.endswith((".weight", ".bias")):
            lead = "grad." if name.startswith("grad.") else ""
            theirs |= {lead + their: array for their, array in rename(name.removeprefix("grad."), ours[name])}
    return theirs


def assert_all_agree(ours, theirs, lineage, compared):
    found = translate(theirs, "auto", ours)
    assert found.unknown == []
    assert any(lineage in sentence for sentence in found.assumed), found.assumed
    report = compare(ours, found.tensors)
    assert report, report
    assert {row.name for row in report.rows} == compared


PARAMETERS = {"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"} | {
    f"h.{i}.{layer}.{kind}"
    for i in range(L) for kind in ("weight", "bias")
    for layer in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
}  # fmt: skip
PARAMETERS |= {f"grad.{name}" for name in PARAMETERS}


def pico(name, array):
    letter = {"bias": "b", "weight": "g" if "ln_" in name else "w"}[name.rsplit(".", 1)[1]]
    stem = name.rsplit(".", 1)[0]
    yield stem if stem in ("wte", "wpe") else f"{stem.replace('h.', 'blocks.', 1)}.{letter}", array


def side_by_side(ours, i):
    return np.concatenate([ours[f"h.{i}.attn.{name}"][0].swapaxes(0, 1).reshape(T, C) for name in "qkv"], axis=-1)


def test_picogpt(ours):
    """Its functions do not know a batch; attention is of one head."""
    theirs = of_parameters(ours, pico)
    theirs |= {"gpt2.0.transformer_block.0.x": ours["embd"][0], "gpt2.0.layer_norm.0": ours["ln_f"][0],
               "gpt2.0": ours["logits"][0], "loss": ours["loss"]}  # fmt: skip
    names = {
        "layer_norm.0": "ln_1", "mha.0.linear.1.x": "attn.heads", "mha.0.linear.1": "attn.out",
        "layer_norm.1.x": "resid_mid", "layer_norm.1": "ln_2", "ffn.0.linear.0": "mlp.fc", "ffn.0.gelu.0": "mlp.gelu",
        "ffn.0.linear.1": "mlp.out",
    }  # fmt: skip
    for i in range(L):
        block = f"gpt2.0.transformer_block.{i}"
        theirs |= {f"{block}.{their}": ours[f"h.{i}.{our}"][0] for their, our in names.items()}
        theirs |= {block: ours[f"h.{i}.resid_post"][0], f"{block}.mha.0.linear.0": side_by_side(ours, i)}
        for j in range(H):
            head = f"{block}.mha.0.attention.{j}"
            theirs |= {f"{head}.{name}": ours[f"h.{i}.attn.{name}"][0, j] for name in "qkv"}
            theirs |= {f"{head}.softmax.0.x": np.where(np.tri(T), ours[f"h.{i}.attn.scores"][0, j], -1e10),
                       f"{head}.softmax.0": ours[f"h.{i}.attn.probs"][0, j],
                       f"{head}": ours[f"h.{i}.attn.heads"].reshape(T, H, D)[:, j]}  # fmt: skip
            theirs[f"{head}.mask"] = -1e10 * (1 - np.tri(T))
    activations = {name for name in ours if not name.startswith("grad.")} - {"ids", "targets"}
    assert_all_agree(ours, theirs, "picogpt", PARAMETERS | activations)


def openai(name, array):
    letter = {"bias": "b", "weight": "g" if "ln_" in name else "w"}[name.rsplit(".", 1)[1]]
    stem = name.rsplit(".", 1)[0]
    path = stem.replace("h.", "h", 1).replace(".", "/")
    weight = array[None] if letter == "w" and "ln_" not in name and stem not in ("wte", "wpe") else array
    yield f"model/{path}:0" if stem in ("wte", "wpe") else f"model/{path}/{letter}:0", weight


def test_openai(ours):
    theirs = of_parameters(ours, openai)
    theirs |= {"model.0.block.0.x": ours["embd"], "model.0.norm.0": ours["ln_f"], "model.0.logits": ours["logits"]}
    names = {
        "norm.0": "ln_1", "attn.0.softmax.0": "attn.probs", "attn.0.merge_states.0": "attn.heads",
        "attn.0.conv1d.1": "attn.out", "norm.1.x": "resid_mid", "norm.1": "ln_2", "mlp.0.conv1d.0": "mlp.fc",
        "mlp.0.gelu.0": "mlp.gelu", "mlp.0.conv1d.1": "mlp.out", "0": "resid_post",
    }  # fmt: skip
    for i in range(L):
        block = f"model.0.block.{i}"
        theirs |= {f"{block}.{their}": ours[f"h.{i}.{our}"] for their, our in names.items()}
        theirs |= {f"{block}.attn.0.conv1d.0": side_by_side(ours, i)[None], f"{block}.1": np.zeros((B, 2, H, T, D)),
                   f"{block}.attn.0.softmax.0.x": np.where(np.tri(T), ours[f"h.{i}.attn.scores"], -1e10),
                   f"{block}.attn.0.split_states.1": np.zeros((B, T, H, D))}  # fmt: skip
    activations = {name for name in ours if not name.startswith("grad.")} - {"ids", "targets", "loss"}
    assert_all_agree(ours, theirs, "openai", PARAMETERS | activations)


def flax(block, separate):
    """Parameters of Flax's modules; of its MultiHeadDotProductAttention if separate."""
    def rename(name, array):
        name = f"params.{name.replace('h.', block, 1) if name.startswith('h.') else name}"
        stem, kind = name.rsplit(".", 1)
        if "attn.c_" in stem and separate:
            attn, layer = stem.rsplit(".", 1)
            attn = attn.replace("attn", "MultiHeadDotProductAttention_0")
            weight, kind = kind == "weight", kind.replace("weight", "kernel")
            if layer == "c_proj":
                yield f"{attn}.out.{kind}", array.reshape((H, D, C) if weight else C)
            else:
                for part, x in zip(("query", "key", "value"), np.split(array, 3, axis=-1), strict=True):
                    yield f"{attn}.{part}.{kind}", x.reshape((C, H, D) if weight else (H, D))
        else:
            kernel = "embedding" if stem.endswith(("wte", "wpe")) else "scale" if "ln_" in stem else "kernel"
            yield f"{stem}.{kind.replace('weight', kernel)}", array
    return rename


@pytest.mark.parametrize("block", ["h_", "", "transformer.h.", "Block_"])
@pytest.mark.parametrize("separate", [False, True])
def test_flax(ours, block, separate):
    """Parameters, gradients, and what capture_intermediates keeps."""
    theirs = of_parameters(ours, flax(block, separate))
    seen = {"Dropout_0": "embd", "ln_f": "ln_f", "": "logits"}
    for i in range(L):
        attn = "MultiHeadDotProductAttention_0" if separate else "attn"
        names = {"ln_1": "ln_1", attn: "attn.out", "ln_2": "ln_2", "mlp.c_fc": "mlp.fc", "mlp": "mlp.out"}
        seen |= {f"{block}{i}.{their}": f"h.{i}.{our}" for their, our in names.items()}
        seen[f"{block}{i}"] = f"h.{i}.resid_post"
    calls = {f"intermediates.{their}.__call__.0".replace("..", "."): ours[our] for their, our in seen.items()}
    assert_all_agree(ours, theirs | calls | {"ids": ours["ids"]}, "flax", PARAMETERS | {*seen.values(), "ids"})
