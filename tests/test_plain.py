"""The page that explains, plain.py: it computes what the components compute, and what PyTorch does."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from assertions import assert_close
from test_sort_gpt import DIGITS, FOLDER

from minigpt2 import GPT2, flatten, gradient_check, plain
from minigpt2.reference import CASES, LABEL_SMOOTHING, LEARNING_RATES, MAX_NORM, TINY, TRAINING, recorded
from minigpt2.verification.pairs import run_case

NOT_ON_THE_PAGE = {  # what GPT-2 as released does not have
    "head": "the deep output layer of section 3.1",
    "lora": "adapters",
    "masked_lm": "BERT's objective",
    "gpt2_dropout": "dropout within the model; its pair is on the page",
}
ON_THE_PAGE = [name for name in CASES if name not in NOT_ON_THE_PAGE]


def run_plain(name, inputs, dy):
    """The page's y and gradients of a case, as ``run_case`` gives the library's."""
    options = dict(CASES[name].options)
    if name == "softmax":
        y = cache = plain.softmax_forward(**inputs)
    elif name.startswith("gpt2"):
        config = options["config"]
        y, cache = plain.gpt2_forward(**inputs, n_head=config["n_head"], eps=config.get("layer_norm_epsilon", 1e-5))
    else:
        if name == "dropout":
            options["rng"] = np.random.default_rng(options.pop("seed"))
        y, cache = of(name, "forward")(**inputs, **options)
    gradients = of(name, "backward")(dy, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    if name.startswith("gpt2"):
        gradients = gradients[1:]  # ids have none
    floats = [key for key in inputs if key not in ("ids", "targets")]
    return y, dict(zip(floats, gradients, strict=True))


def of(name, direction):
    """The page's function for a case, whose name may end in a variant."""
    names = [key.removesuffix(f"_{direction}") for key in vars(plain) if key.endswith(f"_{direction}")]
    return getattr(plain, f"{max((n for n in names if name.startswith(n)), key=len)}_{direction}")


@pytest.mark.parametrize("name", ON_THE_PAGE)
def test_it_computes_what_the_components_compute(name):
    reference = recorded(name)
    inputs, dy = reference["inputs"], reference["dy"]
    y, gradients = run_plain(name, inputs, dy)
    expected, _, expected_gradients = run_case(name, inputs, dy)
    # Largest differences measured: y 5e-16, gradients 1.1e-15.
    assert_close(y, expected, 1e-12)
    assert_close(gradients, expected_gradients, 1e-12)


@pytest.mark.parametrize("name", ON_THE_PAGE)
def test_it_computes_what_torch_computes(name):
    reference = recorded(name)
    y, gradients = run_plain(name, reference["inputs"], reference["dy"])
    # Largest differences measured: y 1e-15, gradients 1.8e-15.
    assert_close(y, reference["y"], 1e-10)
    assert_close(gradients, reference["gradients"], 1e-10)


@pytest.mark.parametrize("name", [name for name in ON_THE_PAGE if "long" not in name and not name.startswith("gpt2")])
def test_its_gradients_are_the_differences(name):
    def forward(**inputs):
        options = dict(CASES[name].options)
        if name == "dropout":
            options["rng"] = np.random.default_rng(options.pop("seed"))
        y = of(name, "forward")(**inputs, **options)
        return (y, y) if name == "softmax" else y

    report = gradient_check(forward, of(name, "backward"), recorded(name)["inputs"])
    assert report, report


@pytest.mark.parametrize("untied", [False, True])
def test_gradients_of_the_model_are_the_differences(untied):
    inputs = recorded("gpt2_untied" if untied else "gpt2")["inputs"]
    ids, targets = inputs["ids"], np.roll(inputs["ids"], -1, axis=1)

    def loss(params):
        value, grads = plain.loss_and_grads(ids, targets, params, TINY["n_head"])
        return value, grads

    report = gradient_check(loss, lambda dy, grads: scaled(grads, dy), {"params": inputs["params"]})
    assert report, report


def scaled(tree, factor):
    if isinstance(tree, np.ndarray):
        return tree * factor
    if isinstance(tree, dict):
        return {name: scaled(branch, factor) for name, branch in tree.items()}
    return [scaled(branch, factor) for branch in tree]


@pytest.mark.parametrize("name", ON_THE_PAGE)
def test_dtype_follows_the_input(name):
    reference = recorded(name)

    def single(tree):
        if isinstance(tree, np.ndarray):
            return tree.astype("float32") if tree.dtype.kind == "f" else tree
        if isinstance(tree, dict):
            return {key: single(branch) for key, branch in tree.items()}
        return [single(branch) for branch in tree]

    y, gradients = run_plain(name, single(reference["inputs"]), np.float32(reference["dy"]))
    assert {leaf.dtype for leaf in flatten({"y": y, "gradients": gradients}).values()} == {np.dtype("float32")}


def test_five_steps_of_adamw_are_those_of_torch():
    reference = recorded("training_adamw")
    inputs, options = reference["inputs"], TRAINING["training_adamw"]
    params = copied(inputs["params"])
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in plain.leaves(params)]
    norms, losses = [], []
    for t, (ids, targets, lr) in enumerate(zip(inputs["ids"], inputs["targets"], LEARNING_RATES, strict=True), 1):
        logits, cache = plain.gpt2_forward(ids, params, TINY["n_head"])
        loss, loss_cache = plain.cross_entropy_forward(logits, targets, LABEL_SMOOTHING)
        _, grads = plain.gpt2_backward(plain.cross_entropy_backward(1.0, loss_cache), cache)
        losses.append(loss)
        norms.append(plain.adamw(params, grads, moments, t, lr, **options, max_norm=MAX_NORM))
    assert_close(np.array(losses), reference["losses"], 1e-10)
    assert_close(np.array(norms), reference["norms"], 1e-10)
    assert_close(params, reference["params"], 1e-8)


def copied(tree):
    return scaled(tree, 1)


@pytest.mark.slow
def test_it_trains_and_generates_as_the_library_does():
    model = GPT2.from_pretrained("shakespeare", dtype="float64")
    n_head, ids = model.config.n_head, np.array([[10, 20, 30, 40, 50], [1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(plain.generate(ids, model.params, n_head, 20), model.generate(ids, 20))
    loss, grads = plain.loss_and_grads(ids[:, :-1], ids[:, 1:], model.params, n_head)
    expected, expected_grads = model.loss_and_grads(ids[:, :-1], ids[:, 1:])
    assert loss == pytest.approx(expected, rel=1e-12)
    assert_close(grads, expected_grads, 1e-12)
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in plain.leaves(model.params)]
    losses = [plain.train_step(ids[:, :-1], ids[:, 1:], model.params, n_head, moments, t, lr=1e-3) for t in range(1, 4)]
    assert losses[0] == loss and losses[2] < losses[1] < losses[0]


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the sorting model is not in {FOLDER}")
def test_it_sorts_with_the_sorting_model():
    model = GPT2.from_pretrained(FOLDER)
    inputs = np.array(np.meshgrid(*[range(3)] * DIGITS)).reshape(DIGITS, -1).T
    ids = plain.generate(inputs, model.params, model.config.n_head, DIGITS)
    np.testing.assert_array_equal(ids[:, DIGITS:], np.sort(inputs, axis=1))


def test_it_is_one_page_and_needs_numpy_alone():
    source = Path(plain.__file__).read_text()
    assert len(source.splitlines()) <= 220
    page = ast.parse(source).body[:-1]  # all but what runs it as a script
    imports = [node for node in page if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]


def test_the_readme_shows_it_word_for_word():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for function in (plain.attention_forward, plain.attention_backward):
        assert inspect.getsource(function) in readme


def test_it_has_every_pair_of_its_components():
    for name in vars(plain):
        if name.endswith("_forward"):
            assert hasattr(plain, f"{name.removesuffix('_forward')}_backward"), name


@pytest.mark.slow
def test_as_a_script_it_prints_a_text_and_the_loss_of_a_step():
    run = subprocess.run([sys.executable, "-m", "minigpt2.plain", "JULIET:"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("JULIET:\n") and "nats per token; after a training step" in run.stdout
