"""record and Recorder: every tensor of GPT-2s written in different ways, and what can go wrong in the block."""

import gc
import math
import subprocess
import sys
import weakref

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, flatten, trace
from minigpt2.storage.checkpoint import read_tensors
from minigpt2.verification import Recorder, record
from minigpt2.verification.compare import compare
from minigpt2.verification.names import translate
from minigpt2.verification.trace import read_trace

B, T, C, H, D, V, L, P = 2, 7, 8, 2, 4, 13, 2, 9

# ------------------------------------------------------------------------------------------ without torch


def test_anything_that_converts_is_recorded(tmp_path):
    class Tinygrad:
        def numpy(self):
            return np.float32([1, 2])

    class Jax:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 3))

    class Mlx:
        def __dlpack__(self, **options):
            return np.arange(3).__dlpack__()

        def __dlpack_device__(self):
            return np.arange(3).__dlpack_device__()

    theirs = Recorder()
    x = Tinygrad()
    assert theirs.tap("a", x) is x
    theirs.tap("b", Jax())
    theirs.tap("c", Mlx())
    theirs.tap("d", 3.5)
    theirs.tap("ids", [4, 5])
    theirs.tap("grad", {"blocks": [{"w": np.ones(2)}, {"w": np.zeros(2)}]})
    expected = {"a": (2,), "b": (2, 3), "c": (3,), "d": (), "ids": (2,)}
    expected |= {"grad.blocks.0.w": (2,), "grad.blocks.1.w": (2,)}
    assert {name: array.shape for name, array in theirs.tensors.items()} == expected
    theirs.save(tmp_path / "theirs.safetensors")
    tensors, metadata = read_trace(tmp_path / "theirs.safetensors")
    assert {name: array.shape for name, array in tensors.items()} == expected and "notes" not in metadata
    assert tensors["a"].dtype == np.float32 and tensors["ids"].dtype == np.int64


def test_what_is_recorded_is_a_copy():
    theirs, x = Recorder(), np.zeros(3)
    theirs.tap("x", x)
    x += 1
    assert not theirs.tensors["x"].any()


def test_bfloat16_of_jax(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="JAX's bfloat16")
    theirs = Recorder()
    theirs.tap("x", np.array([1.0, -2.5], ml_dtypes.bfloat16))
    theirs.save(tmp_path / "x.safetensors")
    assert b'"BF16"' in (tmp_path / "x.safetensors").read_bytes()
    np.testing.assert_array_equal(read_tensors(tmp_path / "x.safetensors")[0]["x"], np.float32([1, -2.5]))


@pytest.mark.parametrize("value", ["text", object(), 1j, None])
def test_what_does_not_convert_is_named(value):
    with pytest.raises(TypeError, match=r"^x(\.0)?: .*(does not convert|expected an array of real numbers)"):
        Recorder().tap("x", [value] if value is None else value)


def test_a_name_twice_is_refused():
    theirs = Recorder()
    theirs.tap("h.0.ln_1", np.ones(2))
    with pytest.raises(ValueError, match=r"tap: h\.0\.ln_1 was tapped already; a Recorder holds one pass"):
        theirs.tap("h.0.ln_1", np.ones(2))


def test_nothing_to_save(tmp_path):
    with pytest.raises(ValueError, match="save: nothing was recorded"):
        Recorder().save(tmp_path / "x.safetensors")


@pytest.mark.parametrize("module", [None, 5, GPT2Config()])
def test_what_is_no_module(module):
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, got"), record(module):
        pass


def test_torch_is_not_imported():
    code = "import sys, minigpt2.verification as v; v.Recorder().tap('x', 1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------ GPT-2 in PyTorch, in several ways


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="record is for PyTorch's modules")


@pytest.fixture(scope="module")
def reference():
    """Our parameters and our trace of tokens x and targets y."""
    model = GPT2(GPT2Config(vocab_size=V, n_positions=P, n_embd=C, n_layer=L, n_head=H), dtype="float64")
    rng = np.random.default_rng(0)
    for name, parameter in flatten(model.params).items():
        parameter[...] = ("ln_" in name and name.endswith("weight")) + 0.3 * rng.standard_normal(parameter.shape)
    ids = rng.integers(0, V, (B, T + 1))
    parameters = flatten(model.params)
    return parameters, trace(model, ids[:, :-1], ids[:, 1:], backward=True) | parameters


def inputs(torch, ours):
    return torch.tensor(ours["ids"]), torch.tensor(ours["targets"])


def linear(torch, weight, bias):
    layer = torch.nn.Linear(*weight.shape, dtype=torch.float64)
    layer.weight, layer.bias = (torch.nn.Parameter(torch.tensor(x)) for x in (weight.T.copy(), bias))
    return layer


def norm(torch, weight, bias):
    layer = torch.nn.LayerNorm(C, dtype=torch.float64)
    layer.weight, layer.bias = (torch.nn.Parameter(torch.tensor(x)) for x in (weight, bias))
    return layer


def embedding(torch, weight):
    return torch.nn.Embedding.from_pretrained(torch.tensor(weight), freeze=False)


def split_heads(x):
    return x.view(*x.shape[:2], H, D).transpose(1, 2)


def causal(torch, scores):
    return scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)


def fused(torch, parameters, flash):
    """nanoGPT's layout, with or without scaled_dot_product_attention."""
    nn, functional = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self, layer):
            super().__init__()
            for name in "c_attn", "c_proj":
                weight, bias = (parameters[f"h.{layer}.attn.{name}.{kind}"] for kind in ("weight", "bias"))
                setattr(self, name, linear(torch, weight, bias))
            self.attn_dropout, self.resid_dropout = nn.Dropout(0.1), nn.Dropout(0.1)

        def forward(self, x):
            q, k, v = map(split_heads, self.c_attn(x).split(C, 2))
            if flash:
                y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = causal(torch, (q @ k.transpose(-2, -1)) / math.sqrt(D))
                y = self.attn_dropout(functional.softmax(scores, -1)) @ v
            return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(x.shape)))

    class Block(nn.Module):
        def __init__(self, layer):
            super().__init__()
            get = {name: parameters[name] for name in parameters}
            here = f"h.{layer}."
            self.ln_1 = norm(torch, get[here + "ln_1.weight"], get[here + "ln_1.bias"])
            self.attn = Attention(layer)
            self.ln_2 = norm(torch, get[here + "ln_2.weight"], get[here + "ln_2.bias"])
            self.mlp = nn.ModuleDict({
                "c_fc": linear(torch, get[here + "mlp.c_fc.weight"], get[here + "mlp.c_fc.bias"]),
                "act": nn.GELU("tanh"),
                "c_proj": linear(torch, get[here + "mlp.c_proj.weight"], get[here + "mlp.c_proj.bias"]),
                "dropout": nn.Dropout(0.1),
            })  # fmt: skip

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            m = self.mlp
            return x + m.dropout(m.c_proj(m.act(m.c_fc(self.ln_2(x)))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = nn.ModuleDict({
                "wte": embedding(torch, parameters["wte.weight"]), "wpe": embedding(torch, parameters["wpe.weight"]),
                "drop": nn.Dropout(0.1), "h": nn.ModuleList([Block(layer) for layer in range(L)]),
                "ln_f": norm(torch, parameters["ln_f.weight"], parameters["ln_f.bias"]),
            })  # fmt: skip
            self.lm_head = nn.Linear(C, V, bias=False)
            self.lm_head.weight = self.transformer.wte.weight

        def forward(self, idx, targets=None):
            x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(torch.arange(idx.shape[1])))
            for block in self.transformer.h:
                x = block(x)
            logits = self.lm_head(self.transformer.ln_f(x))
            loss = None if targets is None else functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            return logits, loss

    return GPT().eval()


def separate(torch, parameters):
    """Separate q, k, v, q scaled before the product, everything else as functions, a dict for an output."""
    nn, functional = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self, layer):
            super().__init__()
            weights, biases = (parameters[f"h.{layer}.attn.c_attn.{kind}"] for kind in ("weight", "bias"))
            for n, name in enumerate(("q_proj", "k_proj", "v_proj")):
                setattr(self, name, linear(torch, np.split(weights, 3, 1)[n], np.split(biases, 3)[n]))
            weight, bias = (parameters[f"h.{layer}.attn.c_proj.{kind}"] for kind in ("weight", "bias"))
            self.out_proj = linear(torch, weight, bias)

        def forward(self, x):
            q, k, v = map(split_heads, (self.q_proj(x), self.k_proj(x), self.v_proj(x)))
            scores = torch.matmul(q * D**-0.5, k.transpose(2, 3))
            scores.masked_fill_(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
            y = torch.matmul(torch.softmax(scores, -1), v)
            return self.out_proj(y.transpose(1, 2).reshape(x.shape)), None

    class Block(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.attention = Attention(layer)
            here = f"h.{layer}."
            for name, ours in ("fc1", "mlp.c_fc"), ("fc2", "mlp.c_proj"):
                setattr(self, name, linear(torch, parameters[f"{here}{ours}.weight"], parameters[f"{here}{ours}.bias"]))
            for n in 1, 2:
                for kind in "weight", "bias":
                    setattr(self, f"{kind}_{n}", nn.Parameter(torch.tensor(parameters[f"{here}ln_{n}.{kind}"])))

        def forward(self, x):
            x = x + self.attention(functional.layer_norm(x, (C,), self.weight_1, self.bias_1))[0]
            y = functional.layer_norm(x, (C,), self.weight_2, self.bias_2)
            return x + self.fc2(functional.gelu(self.fc1(y), approximate="tanh"))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token_embedding = embedding(torch, parameters["wte.weight"])
            self.position_embedding = embedding(torch, parameters["wpe.weight"])
            self.blocks = nn.Sequential(*(Block(layer) for layer in range(L)))
            self.final_norm = norm(torch, parameters["ln_f.weight"], parameters["ln_f.bias"])

        def forward(self, input_ids):
            x = self.token_embedding(input_ids) + self.position_embedding.weight[: input_ids.shape[1]]
            return {"logits": self.final_norm(self.blocks(x)) @ self.token_embedding.weight.T}

    return GPT()


def heads(torch, parameters):
    """A module for every head."""
    nn, functional = torch.nn, torch.nn.functional

    class Head(nn.Module):
        def __init__(self, layer, head):
            super().__init__()
            for n, name in enumerate(("query", "key", "value")):
                columns = slice(n * C + head * D, n * C + (head + 1) * D)
                weight, bias = (parameters[f"h.{layer}.attn.c_attn.{kind}"] for kind in ("weight", "bias"))
                setattr(self, name, linear(torch, weight[:, columns], bias[columns]))

        def forward(self, x):
            q, k, v = self.query(x), self.key(x), self.value(x)
            return functional.softmax(causal(torch, q @ k.transpose(-2, -1) * D**-0.5), dim=-1) @ v

    class Attention(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.heads = nn.ModuleList([Head(layer, head) for head in range(H)])
            weight, bias = (parameters[f"h.{layer}.attn.c_proj.{kind}"] for kind in ("weight", "bias"))
            self.proj = linear(torch, weight, bias)

        def forward(self, x):
            return self.proj(torch.cat([head(x) for head in self.heads], -1))

    class Block(nn.Module):
        def __init__(self, layer):
            super().__init__()
            here = f"h.{layer}."
            self.sa = Attention(layer)
            self.ffwd = nn.Sequential(
                linear(torch, parameters[here + "mlp.c_fc.weight"], parameters[here + "mlp.c_fc.bias"]),
                nn.GELU("tanh"),
                linear(torch, parameters[here + "mlp.c_proj.weight"], parameters[here + "mlp.c_proj.bias"]),
            )  # fmt: skip
            self.ln1, self.ln2 = (
                norm(torch, parameters[f"{here}ln_{n}.weight"], parameters[f"{here}ln_{n}.bias"]) for n in (1, 2)
            )

        def forward(self, x):
            x = x + self.sa(self.ln1(x))
            return x + self.ffwd(self.ln2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token_embedding_table = embedding(torch, parameters["wte.weight"])
            self.position_embedding_table = embedding(torch, parameters["wpe.weight"])
            self.blocks = nn.Sequential(*(Block(layer) for layer in range(L)))
            self.ln_f = norm(torch, parameters["ln_f.weight"], parameters["ln_f.bias"])
            self.lm_head = nn.Linear(C, V, bias=False)
            self.lm_head.weight = self.token_embedding_table.weight

        def forward(self, idx):
            x = self.token_embedding_table(idx) + self.position_embedding_table(torch.arange(T))
            return self.lm_head(self.ln_f(self.blocks(x)))

    return GPT()


def recorded(torch, module, ours):
    """A recording of one pass, as a user makes it."""
    x, y = inputs(torch, ours)
    with record(module) as theirs:
        output = module(x)
        logits = output["logits"] if isinstance(output, dict) else output[0] if isinstance(output, tuple) else output
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
    return theirs


def assert_agrees(theirs, ours, missing=()):
    """All of ours is there but what ends in ``missing``, and agrees; nothing of theirs was left over."""
    translation = translate(theirs.tensors, "auto", ours)
    report = compare(ours, translation.tensors)
    assert report, report
    lacking = [name for name in ours if name not in translation.tensors and not name.endswith(tuple(missing))]
    assert not lacking and not translation.unknown, (lacking, translation.unknown)
    return translation


def test_fused_and_written_out(torch, reference, tmp_path):
    parameters, ours = reference
    module = fused(torch, parameters, flash=False)
    x, y = inputs(torch, ours)
    with record(module) as theirs:
        _, loss = module(x, y)
        loss.backward()
    assert_agrees(theirs, ours)
    assert theirs.notes == [] and theirs.tensors["loss"] == loss.item() and theirs.tensors["grad.loss"] == 1
    theirs.save(tmp_path / "theirs.safetensors")
    tensors, _ = read_trace(tmp_path / "theirs.safetensors")
    assert tensors.keys() == theirs.tensors.keys() and compare(ours, translate(tensors, "auto", ours).tensors)


def test_what_flash_attention_hides_is_not_recorded(torch, reference):
    parameters, ours = reference
    translation = assert_agrees(recorded(torch, fused(torch, parameters, True), ours), ours, ("scores", "probs"))
    assert not any("scores" in name or "probs" in name for name in translation.tensors)
    assert translation.sources["h.0.attn.q"].endswith("scaled_dot_product_attention.query")


def test_separate_and_functional(torch, reference):
    parameters, ours = reference
    missing = [f"ln_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")]  # weight_1: nobody's names
    theirs = recorded(torch, separate(torch, parameters), ours)
    translation = translate(theirs.tensors, "auto", ours)
    report = compare(ours, translation.tensors)
    assert report, report
    assert {name for name in ours if name not in translation.tensors and not name.endswith(tuple(missing))} == set()
    assert any("before a factor of 0.5, is taken for h.{i}.attn.q" in sentence for sentence in translation.assumed)
    assert {name.rpartition(".")[2] for name in translation.unknown} == {"weight_1", "bias_1", "weight_2", "bias_2"}


def test_a_module_for_every_head(torch, reference):
    parameters, ours = reference
    translation = assert_agrees(recorded(torch, heads(torch, parameters), ours), ours)
    assert translation.sources["h.1.attn.probs"] == [f"blocks.1.sa.heads.{j}.matmul@2.input" for j in range(H)]


# ------------------------------------------------------------------------------------ what happens in a block


@pytest.fixture
def module(torch, reference):
    return fused(torch, reference[0], flash=False)


def test_no_hook_is_left(torch, reference, module):
    x, y = inputs(torch, reference[1])
    with pytest.raises(RuntimeError, match="mine"), record(module):
        module(x, y)
        raise RuntimeError("mine")
    with pytest.raises(IndexError), record(module):
        module(x + V, y)
    for part in module.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks
    assert not any(parameter._post_accumulate_grad_hooks for parameter in module.parameters())
    assert not torch.overrides._get_current_function_mode_stack()
    loss = module(x, y)[1]
    with record(module) as theirs:
        assert torch.equal(module(x, y)[1], loss)  # to the bit
    kept = weakref.ref(theirs._arrays["transformer.h.0"])
    del theirs
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "no backward"])
def test_without_gradients(mode, torch, reference, module):
    x, y = inputs(torch, reference[1])
    with record(module) as theirs:
        if mode == "no backward":
            module(x, y)
        else:
            with getattr(torch, mode)():
                module(x, y)
    ours = {name: tensor for name, tensor in reference[1].items() if not name.startswith("grad.")}
    assert_agrees(theirs, ours)
    assert not any(name.startswith("grad.") for name in theirs.tensors) and not theirs.notes


def test_a_whole_training_step(torch, reference, module):
    """Validation before and after, clipping, a step and zero_grad: recorded are this pass and its gradients."""
    x, y = inputs(torch, reference[1])
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    with record(module) as theirs:
        with torch.no_grad():
            module(y, x)
        loss = module(x, y)[1]
        with torch.no_grad():
            module(y, x)
            theirs.tap("embd", torch.zeros(1))  # of a pass that is not kept
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1e-3)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            module(y, x)
    assert_agrees(theirs, reference[1])
    assert not theirs.notes


def test_several_passes_are_told(torch, reference, module):
    x, y = inputs(torch, reference[1])
    with pytest.warns(UserWarning, match="ran 2 times with gradients") as warnings, record(module) as theirs:
        module(y, x)[1].backward()
        module(x, y)[1].backward()
    assert len(warnings) == len(theirs.notes) == 1
    translated = translate(theirs.tensors, "auto", reference[1]).tensors
    activations = {name: x for name, x in translated.items() if not name.endswith(("weight", "bias"))}
    assert len(activations) > 60 and compare(reference[1], activations).passed
    last = pytest.warns(UserWarning, match="ran 3 times inside the block; the last time is recorded")
    with last, torch.no_grad(), record(module) as theirs:
        for end in 1, 2, 3:
            module(x[:, :end])
    assert theirs.tensors["ids"].shape == (B, 3) and theirs.tensors["lm_head"].shape == (B, 3, V)


def test_gradients_from_before_are_told(torch, reference, module):
    x, y = inputs(torch, reference[1])
    module(x, y)[1].backward()
    with pytest.warns(UserWarning, match=r"had gradients already when backward ran.* zero_grad\(\)"), record(module):
        module(x, y)[1].backward()
    module.zero_grad()
    with record(module) as theirs:
        loss = module(x, y)[1]
    with pytest.warns(UserWarning, match="backward ran after the block"):
        loss.backward()
    assert not any(name.startswith("grad.") for name in theirs.tensors)
    with pytest.warns(UserWarning, match="did not run"), record(module):
        pass


@pytest.mark.parametrize("kind", ["DataParallel", "compiled", "compiled in place"])
def test_wrapped(kind, torch, reference, module):
    """Compiled code is run part by part, and so has all its modules; the names have no prefix."""
    x, y = inputs(torch, reference[1])
    if kind == "DataParallel":
        outer = torch.nn.DataParallel(module)
    else:
        pytest.importorskip("torch._dynamo")
        outer = torch.compile(module, backend="eager") if kind == "compiled" else module
        if outer is module:
            module.compile(backend="eager")
    with record(outer) as theirs:
        outer(x, y)[1].backward()
    assert "transformer.h.0.attn.softmax" in theirs.tensors
    assert_agrees(theirs, reference[1])


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_runs_nothing_twice(reentrant, torch, reference, module):
    from torch.utils.checkpoint import checkpoint

    x, y = inputs(torch, reference[1])
    for block in module.transformer.h:
        block.forward = lambda x, forward=block.forward: checkpoint(forward, x, use_reentrant=reentrant)
    with record(module) as theirs:
        module(x, y)[1].backward()
    assert not any("h.0@" in name for name in theirs.tensors)
    assert compare(reference[1], translate(theirs.tensors, "auto", reference[1]).tensors)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_recorded_as_it_is(dtype, torch, reference, module, tmp_path):
    x, y = inputs(torch, reference[1])
    module.to(getattr(torch, dtype))
    with record(module) as theirs:
        module(x, y)[1].backward()
    theirs.save(tmp_path / "theirs.safetensors")
    header = (tmp_path / "theirs.safetensors").read_bytes()
    assert (b'"BF16"' in header) == (dtype == "bfloat16") and (b'"F16"' in header) == (dtype == "float16")
    tensors, _ = read_trace(tmp_path / "theirs.safetensors")
    # Worst case measured: 0.05 of the size, in gradients of q and k in bfloat16.
    assert compare(reference[1], translate(tensors, "auto", reference[1]).tensors, rtol=0.1)
    if dtype == "bfloat16":
        words = tensors["transformer.h.0"].view(np.uint32)
        assert not (words & 0xFFFF).any()  # float32 that holds bfloat16


def test_in_place_operations_do_not_reach_what_was_recorded(torch):
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(3, 3)

        def forward(self, x):
            y = self.first(x)
            before.append(y.detach().clone())
            y *= 2
            y.add_(1)
            return y

    before, module = [], Module()
    with record(module) as theirs:
        module(torch.ones(2, 3)).sum().backward()
    np.testing.assert_array_equal(theirs.tensors["first"], before[0])
    np.testing.assert_array_equal(theirs.tensors["grad.first"], np.full((2, 3), 2))
    np.testing.assert_array_equal(theirs.tensors["grad.output"], np.ones((2, 3)))


def test_shared_modules(torch):
    """A block that stands in several places has the name of each; called once more than that, @2."""

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.h = torch.nn.ModuleList([torch.nn.Linear(2, 2)] * 2)

        def forward(self, x):
            for block in [*self.h, self.h[0]]:
                x = block(x)
            return x

    module = Module()
    with record(module) as theirs:
        module(torch.ones(1, 2))
    assert [name for name in theirs.tensors if name.startswith("h") and not name.endswith("input")] == [
        "h.0.weight", "h.0.bias", "h.0", "h.1", "h.1@2"]  # fmt: skip


def test_taps_inside_a_module(torch, reference):
    class Block(torch.nn.Module):
        def forward(self, x):
            q = theirs.tap("attn.q", x * 2)
            theirs.tap("mine", q.detach())
            return q * 3

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([Block(), Block()])

        def forward(self, x):
            for block in self.layers:
                x = block(x)
            return theirs.tap("logits", x)

    module, x = Module(), torch.ones(2, 3, requires_grad=True)
    with record(module) as theirs:
        theirs.tap("ids", [1, 2])
        with torch.no_grad():
            module(x)
        module(x).sum().backward()  # each pass has its own
        theirs.tap("loss", torch.zeros(()))
    tensors = theirs.tensors
    assert {"h.0.attn.q", "h.1.attn.q", "grad.h.0.attn.q", "layers.0.mine", "layers.1.mine", "logits"} <= tensors.keys()
    np.testing.assert_array_equal(tensors["grad.h.0.attn.q"], np.full((2, 3), 18))
    np.testing.assert_array_equal(tensors["ids"], [1, 2])
    assert tensors["loss"] == 0
    with pytest.raises(ValueError, match=r"tap: loss was tapped already in this pass"), record(module) as theirs:
        theirs.tap("loss", 1)
        theirs.tap("loss", 2)


@pytest.mark.parametrize("ignored", [-100, -1])
def test_targets_and_loss_are_told(ignored, torch, reference, module):
    x, _ = inputs(torch, reference[1])
    shifted = torch.cat([x[:, 1:], torch.full((B, 1), ignored)], 1)
    expected = np.where(shifted == ignored, -100, shifted)
    with record(module) as theirs:  # a loss outside, of T - 1 positions
        logits = module(x)[0][:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), ignore_index=ignored)
        (loss / 4).backward()
    np.testing.assert_array_equal(theirs.tensors["targets"], expected)
    assert theirs.tensors["loss"] == pytest.approx(loss.item() / 4) and theirs.tensors["grad.loss"] == 1
    with record(module) as theirs:
        logits = module(x)[0]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), shifted.flatten(), ignore_index=ignored)
    np.testing.assert_array_equal(theirs.tensors["targets"], expected)
    assert theirs.tensors["loss"] == loss.item()


def test_transformers(torch, reference):
    """labels are shifted by the model: ids for labels are the targets of the next tokens."""
    transformers = pytest.importorskip("transformers")
    parameters, ours = reference
    config = transformers.GPT2Config(vocab_size=V, n_positions=P, n_embd=C, n_layer=L, n_head=H, bos_token_id=0,
                                     eos_token_id=0, attn_implementation="eager")  # fmt: skip
    module = transformers.GPT2LMHeadModel(config).double().eval()
    weights = {f"transformer.{name}": torch.tensor(tensor) for name, tensor in parameters.items()}
    module.load_state_dict(weights, strict=False)
    assert_agrees(recorded(torch, module, ours), ours)
    x, _ = inputs(torch, ours)
    with record(module) as theirs:
        module(input_ids=x, labels=x, attention_mask=torch.ones_like(x))
    np.testing.assert_array_equal(theirs.tensors["targets"][:, :-1], ours["ids"][:, 1:])
    assert (theirs.tensors["targets"][:, -1] == -100).all() and theirs.tensors["loss"].shape == ()
