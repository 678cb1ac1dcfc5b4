"""A deep output layer in the place of GPT-2's own (section 3.1): what it keeps, and the whole model with it."""

import dataclasses

import numpy as np
import pytest
from assertions import assert_close

from minigpt2 import GPT2, GPT2Config, flatten, gradient_check, trace, unflatten
from minigpt2.model import gpt2_backward, gpt2_forward

CONFIG = GPT2Config(vocab_size=11, n_positions=8, n_embd=6, n_layer=2, n_head=2, initializer_range=0.5)


def deep(layers=4):
    return GPT2(CONFIG, seed=1, dtype="float64").with_head(layers, seed=2)


def test_a_new_head_replaces_the_output_layer_and_keeps_the_rest():
    old, new = GPT2(CONFIG, seed=1, dtype="float64"), deep()
    before, after = flatten(old.params), flatten(new.params)
    for name, parameter in before.items():
        assert (after.pop(name) == parameter).all() and parameter is not flatten(new.params)[name], name
    C, V = CONFIG.n_embd, CONFIG.vocab_size
    shapes = {f"head.{i}.weight": (C, C) for i in range(3)} | {"head.3.weight": (C, V)}
    shapes |= {f"head.{i}.bias": (C,) for i in range(3)} | {"head.3.bias": (V,)}
    assert {name: a.shape for name, a in after.items()} == shapes
    # The first activations agree, the logits do not.
    ids = np.array([[1, 2, 3]])
    ours, theirs = new.forward(ids)[1], old.forward(ids)[1]
    assert (ours["h"][1]["resid_post"] == theirs["h"][1]["resid_post"]).all()
    one = GPT2(CONFIG, dtype="float64").with_head(1)
    assert one.params["lm_head"]["weight"].shape == (V, C) and "head" not in one.params
    assert deep().with_head(2).config.head_layers == 2
    again, default = (flatten(old.with_head(2, **seed).params) for seed in ({"seed": 0}, {}))
    assert all((again[name] == parameter).all() for name, parameter in default.items())


@pytest.mark.parametrize("layers, kind", [(1, "gpt2"), (2, "minigpt2"), (4, "minigpt2")])
def test_only_transformers_own_model_is_called_so(layers, kind):
    """A model that transformers does not have must not be opened by it, with its head left out."""
    values = dataclasses.replace(CONFIG, head_layers=layers).to_dict()
    assert values["model_type"] == kind and ("head_layers" in values) == (layers > 1)
    assert GPT2Config.from_dict(values).head_layers == layers


def test_hidden_layers_of_a_new_head_keep_the_scale():
    config = dataclasses.replace(CONFIG, n_embd=512, initializer_range=0.02)
    params = flatten(GPT2(config).with_head(4, seed=0).params)
    assert params["head.0.weight"].std() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert params["head.3.weight"].std() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("layers", [2, 4, 5])
def test_gradients_of_a_model_with_a_deep_head_are_the_differences(layers):
    model, ids = deep(layers), np.array([[1, 2, 3, 1], [0, 10, 2, 2]])
    assert len(model.params["head"]) == layers
    report = gradient_check(
        lambda params: gpt2_forward(ids, params, model.config),
        lambda dlogits, cache: gpt2_backward(dlogits, cache)[1],
        {"params": model.params},
    )
    assert report, report


def test_a_deep_head_agrees_with_torch():
    """transformers' GPT-2 up to ln_f, and torch's own layers after it."""
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("transformers", reason="needs transformers")
    from minigpt2.reference import transformers_gpt2

    model, ids = deep(), np.array([[1, 2, 3, 1], [0, 10, 2, 2]])
    targets = np.array([[2, 3, -100, 4], [10, 2, 2, 1]])
    tensors = {n: torch.from_numpy(p.copy()).requires_grad_() for n, p in flatten(model.params).items()}
    tree = unflatten({n: t for n, t in tensors.items() if not n.startswith("head.")})
    seen = {}
    transformers_gpt2(torch.from_numpy(ids), tree, CONFIG.to_dict(), seen=seen)
    x = seen["ln_f"]
    for i in range(4):
        x = x @ tensors[f"head.{i}.weight"] + tensors[f"head.{i}.bias"]
        x = torch.nn.functional.gelu(x, approximate="tanh") if i < 3 else x
    loss = torch.nn.functional.cross_entropy(x.flatten(0, 1), torch.from_numpy(targets).flatten())
    loss.backward()
    ours, grads = model.loss_and_grads(ids, targets)
    assert ours == pytest.approx(loss.item(), rel=1e-12)
    assert_close(flatten(grads), {name: t.grad.numpy() for name, t in tensors.items()}, 1e-10)


def test_a_deep_head_is_saved_traced_and_generates(tmp_path):
    model = deep()
    model.save_pretrained(tmp_path)
    again = GPT2.from_pretrained(tmp_path, dtype="float32")
    assert again.config == model.config
    ids = [1, 2, 3]
    assert again.generate(ids, 4).tolist() == again.generate(ids, 4, use_cache=False).tolist()
    tensors = trace(model, ids, backward=True)
    assert tensors["ln_f"].shape == (1, 3, 6) and tensors["grad.head.3.weight"].shape == (6, 11)
