"""The checks find what is wrong, name it, and leave out what cannot be made here."""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

import minigpt2.verification.verify as module
from minigpt2 import GPT2, GPT2Config, Tokenizer, flatten
from minigpt2.cli import main
from minigpt2.components import attention, feed_forward, optimizer
from minigpt2.reference import CASES, FOLDER, RECORDS, TINY, recorded, relative_error, transformers_trace
from minigpt2.verification.check import Check, Skipped
from minigpt2.verification.figures import CONTINUATIONS
from minigpt2.verification.llm_c_state import read_debug_state
from minigpt2.verification.pairs import PAIRS
from minigpt2.verification.published import continuation_error, greeting_error, shakespeare, training_loss_error
from minigpt2.verification.verify import debug_state_checks, verify

SIZES = {"vocab_size": 270, "n_positions": 64, "n_embd": 8, "n_layer": 2, "n_head": 2}


# As tiny Shakespeare begins, and then something else of the same form.
TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\n" + "All:\nWe will not, we cannot.\n\n" * 40


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No weights that happen to be on this machine take part; of corpora there is the one above."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MINIGPT2_CACHE", str(cache))
    (cache / "corpora").mkdir()
    (cache / "corpora/shakespeare.txt").write_text(TEXT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    Tokenizer.train(TEXT, SIZES["vocab_size"]).save_pretrained(folder)
    model = GPT2(GPT2Config(**SIZES), seed=5)
    for parameter in flatten(model.params).values():
        parameter += 0.1 * np.random.default_rng(0).standard_normal(parameter.shape).astype("float32")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def without_new_weights(monkeypatch):
    """Without the check that makes 124 million of them; it has a test of its own."""
    checks = module.recorded_checks
    monkeypatch.setattr(module, "recorded_checks", lambda: [c for c in checks() if "124 million" not in c.name])


@pytest.fixture
def without_slow_checks(without_new_weights, monkeypatch):
    """Also without the differences of whole models, and as if torch were not here: its import takes seconds."""
    gradient_checks = module.gradient_checks
    monkeypatch.setattr(module, "gradient_checks", lambda: [c for c in gradient_checks() if "gpt2" not in c.name])
    find_spec = importlib.util.find_spec
    absent = ("torch", "transformers")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find_spec(name))


def verdicts(results):
    return {result.name: result.verdict for result in results}


# All is well.


@pytest.mark.slow
def test_everything_is_as_its_reference_says(without_new_weights):
    results = {result.name: result for result in verify()}
    assert {name for name, result in results.items() if result.verdict == "FAILED"} == set()
    for name in CASES:
        assert results[f"recorded: {name}"].verdict == "ok"
        assert name.endswith("_long") or results[f"gradients: {name}"].verdict == "ok"
    assert {f"recorded: {name}" for name in ("training_adamw", "training_sgd", "trace")} <= results.keys()
    published = [result for name, result in results.items() if name.startswith("published")]
    assert len(published) == 25 and {result.verdict for result in published} == {"skipped"}
    assert all("gpt2 downloads it" in result.note for result in published)
    for result in results.values():
        assert result.verdict == "skipped" or 0 <= result.figure <= 0.2 * result.tolerance, result


@pytest.mark.slow
def test_124_million_new_weights_are_as_transformers_says():
    (check,) = [check for check in module.recorded_checks() if "124 million" in check.name]
    assert check.run().verdict == "ok"


def test_without_torch_the_recorded_values_stand_in(without_slow_checks, monkeypatch):
    results = {result.name: result for result in verify()}
    assert results["live: components, training, trace"].verdict == "skipped"
    assert "torch, transformers" in results["live: components, training, trace"].note
    assert sum(result.verdict == "ok" for result in results.values()) > 30


def test_nothing_of_torch_is_imported_for_it():
    """In a process of its own, in which torch, transformers and tiktoken do not exist."""
    code = """if True:
        import sys
        absent = ("torch", "transformers", "tiktoken")
        sys.modules |= dict.fromkeys(absent)  # an import of them fails
        import importlib.util
        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name in absent else find_spec(name)
        from minigpt2.verification import verify
        checks = [*verify.recorded_checks()][:-1] + [*verify.live_checks(None)]
        results = [check.run() for check in checks]
        assert not any(r.verdict == "FAILED" for r in results), results
        print(sum(r.verdict == "ok" for r in results), sum(r.verdict == "skipped" for r in results))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(RECORDS) - 1), "3"]  # without the last, the 124 million


def test_recorded_values_are_small_and_complete():
    assert {path.stem for path in FOLDER.glob("*.npz")} == set(RECORDS)
    assert sum(path.stat().st_size for path in FOLDER.glob("*.npz")) < 500_000
    globs = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    shipped = {path for glob in globs["minigpt2"] for path in FOLDER.parent.glob(glob)}
    assert {path for path in FOLDER.iterdir() if path.suffix not in (".py", "")} <= shipped
    params = flatten(recorded("trace")["inputs"]["params"])
    biases = [value for name, value in params.items() if name.endswith("bias")]
    assert len(biases) == 6 * TINY["n_layer"] + 1 and all((bias != 0).all() for bias in biases)
    assert {value.dtype.name for value in params.values()} == {"float64"}


# Something is wrong.


def without_decay(adamw):
    return lambda *arrays, **numbers: adamw(*arrays, **numbers | {"weight_decay": 0.0})


def without_mask(future):
    return lambda *arguments: np.zeros_like(future(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name", "change", "failing"),
    [
        (feed_forward, "CUBIC", lambda cubic: cubic * (1 + 1e-6), {"gelu", "feed_forward", "gpt2", "trace"}),
        (feed_forward, "SQRT_2_OVER_PI", lambda root: root * (1 - 1e-6), {"gelu", "block", "training_sgd"}),
        (attention, "_future", without_mask, {"attention", "attention_long", "gpt2_dropout", "trace"}),
        (attention, "QUERY_BLOCK", lambda size: size + 0.5, {"attention_long", "attention_bidirectional_long"}),
        (optimizer, "adamw_chunk", without_decay, {"training_adamw"}),
    ],
)
def test_a_mistake_in_a_forward_pass_is_found(where, name, change, failing, without_slow_checks, monkeypatch):
    """Its backward pass may still be its derivative: the recorded values tell, by name."""
    monkeypatch.setattr(where, name, change(getattr(where, name)))
    found = {name for name, verdict in verdicts(verify()).items() if verdict == "FAILED"}
    assert {f"recorded: {name}" for name in failing} <= found
    assert not found & {"recorded: linear", "recorded: residual", "recorded: cross_entropy"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PAIRS) - {"gpt2"}))
def test_a_backward_pass_that_is_off_is_found_both_ways(name, without_slow_checks, monkeypatch):
    forward, backward = PAIRS[name]

    def off(dy, cache, **out):
        gradients = backward(dy, cache, **out)
        first, *rest = gradients if isinstance(gradients, tuple) else (gradients,)
        return first * (1 + 2e-6), *rest

    monkeypatch.setitem(PAIRS, name, (forward, off))
    found = {name for name, verdict in verdicts(verify()).items() if verdict == "FAILED"}
    assert {f"gradients: {name}", f"recorded: {name}"} <= found


@pytest.mark.parametrize("figure", [1.0, math.nan, math.inf])
def test_a_figure_above_the_tolerance_fails(figure):
    result = Check("name", "source", 0.5, lambda: (figure, "h.0.attn.q")).run()
    assert result.verdict == "FAILED" and "h.0.attn.q" in str(result)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["figure"] == (1.0 if figure == 1 else None)


def test_a_check_that_breaks_fails_and_one_that_cannot_be_made_is_skipped():
    def broken():
        raise KeyError("c_attn")

    def impossible():
        raise Skipped("no weights here")

    result = Check("name", "source", 0.5, broken).run()
    assert (result.verdict, result.figure) == ("FAILED", None) and "KeyError: 'c_attn'" in str(result)
    result = Check("name", "source", 0.5, impossible).run()
    assert result.verdict == "skipped" and str(result).endswith("no weights here")


@pytest.mark.parametrize(
    ("actual", "expected", "error", "where"),
    [
        ({"a": {"b": np.array([1.0, 2.0])}, "c": 3.0}, {"a": {"b": np.array([1.0, 4.0])}, "c": 3.3}, 0.5, "a.b"),
        (np.array([1.0, 2.0]), np.array([2.0, 1.0]), 0.5, ""),
        ({"a": 1e-9, "b": 1.0}, {"a": 0.0, "b": 1.5}, math.inf, "a"),
        ({"a": 0.0, "b": 1.0}, {"a": 0.0, "b": 1.0}, 0.0, "b"),
        ({"a": math.nan, "b": 9.0}, {"a": 1.0, "b": 1.0}, math.nan, "a"),
    ],
)
def test_relative_error_is_the_worst(actual, expected, error, where):
    found = relative_error(actual, expected)
    assert found[0] == pytest.approx(error, nan_ok=True) and found[1] == where


@pytest.mark.parametrize("expected", [{"a": np.ones(3)}, {"b": np.ones(2)}, {"a": np.ones(2), "c": 1.0}, np.ones(2)])
def test_relative_error_refuses_other_names_and_shapes(expected):
    with pytest.raises(ValueError, match=r"names and shapes differ: \[\('(a|b|c|)', "):
        relative_error({"a": np.ones(2)}, expected)


# Published answers: the weights are not here, but what is done with them is.


@pytest.fixture(scope="module")
def loaded(folder):
    return GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)


def test_a_continuation_is_compared_character_by_character(loaded):
    model, tokenizer = loaded
    ids = tokenizer.encode("First Citizen")
    text = tokenizer.decode(model.generate(ids, max_new_tokens=6)[len(ids) :])
    assert continuation_error(model, tokenizer, "First Citizen", text)[0] == 0
    assert continuation_error(model, tokenizer, "First Citizen", text[:2] + "~~~")[0] == 3
    assert continuation_error(model, tokenizer, "First Citizen", "~" + text)[0] == len(text) + 1
    for prompt, expected in CONTINUATIONS.values():
        assert continuation_error(model, tokenizer, prompt, expected)[0] > 0


def test_the_greeting_begins_with_end_of_text(loaded):
    model, tokenizer = loaded
    ids = [tokenizer.eos_id, *tokenizer.encode("Hello world!")]
    loss = model.loss([ids[:-1]], [ids[1:]])
    assert greeting_error(model, tokenizer, loss)[0] == 0
    assert greeting_error(model, tokenizer, 2 * loss)[0] == pytest.approx(0.5)


def test_training_losses_are_those_of_torch(folder):
    """Four steps, with torch's AdamW, which decays biases and gains as well. Largest error measured: 2e-6."""
    torch = pytest.importorskip("torch", reason="needs torch")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder, attn_implementation="eager").eval()
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, weight_decay=0.01)
    model, tokenizer = GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    text = "<|endoftext|>" + shakespeare().replace("\n\n", "\n\n<|endoftext|>")
    ids = torch.tensor(tokenizer.encode(text, allow_special=True)[:257])
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        logits = theirs(ids[:-1].reshape(4, 64)).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1] + 0.001
    assert training_loss_error(model, tokenizer, losses)[0] < 1e-5
    losses[3] *= 1.01
    assert training_loss_error(GPT2.from_pretrained(folder), tokenizer, losses) == (pytest.approx(0.01, rel=0.05), "4")


def test_the_batch_is_llm_cs(gpt2_vocab):
    """Its validation file begins so: each speech is a document, and begins with <|endoftext|>."""
    text = "<|endoftext|>" + shakespeare().replace("\n\n", "\n\n<|endoftext|>")
    ids = Tokenizer.from_pretrained(gpt2_vocab).encode(text, allow_special=True)
    assert ids[:16] == [50256, 5962, 22307, 25, 198, 8421, 356, 5120, 597, 2252, 11, 3285, 502, 2740, 13, 628]
    assert len(ids) >= 257


def test_without_tiny_shakespeare_its_check_is_skipped(folder):
    module.hub.corpus_path("shakespeare").unlink()
    with pytest.raises(Skipped, match="minigpt2 eval --data shakespeare"):
        training_loss_error(GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder), [1.0])


def test_another_model_has_no_published_answers(folder, without_slow_checks):
    results = {result.name: result for result in verify(folder)}
    for name, result in results.items():
        if name.startswith("published"):
            wanted = "distilgpt2" if "distilgpt2" in name else "gpt2"
            assert result.verdict == "skipped" and f"another model; --model {wanted} checks it" in result.note


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_weights_in_the_cache_are_found_and_nothing_is_downloaded(folder, monkeypatch, without_slow_checks):
    cache = module.hub.cache_folder() / "models" / "gpt2"
    cache.parent.mkdir(parents=True)
    monkeypatch.setattr(module.hub, "download", lambda *_: pytest.fail("a download"))
    assert "not in the cache" in next(r for r in verify() if r.name.startswith("published")).note
    cache.symlink_to(folder)
    assert "another model" in next(r for r in verify() if r.name.startswith("published")).note


def test_the_given_model_is_held_against_transformers(folder, monkeypatch):
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("transformers", reason="needs transformers")
    (check,) = [c for c in module.live_checks(folder) if c.name == "live: the model's trace"]
    assert check.run().verdict == "ok"
    monkeypatch.setattr(feed_forward, "CUBIC", 0.0447)
    assert check.run().verdict == "FAILED"


# llm.c's debug state.


@pytest.fixture(scope="module")
def state(folder, tmp_path_factory):
    """A state file as llm.c's train_gpt2.py writes it, by way of transformers."""
    pytest.importorskip("torch", reason="a state file is made with torch")
    pytest.importorskip("transformers", reason="a state file is made with transformers")
    model, rng = GPT2.from_pretrained(folder), np.random.default_rng(2)
    ids, targets = rng.integers(0, SIZES["vocab_size"], (2, 3, 7))
    found = transformers_trace(ids, targets, model.params, model.config.to_dict())
    grads = found["gradients"]["params"]
    path = tmp_path_factory.mktemp("state") / "gpt2_debug_state.bin"
    header = np.zeros(256, "<i4")
    header[:4] = 20240327, 2, 3, 7
    arrays = [header, ids.astype("<i4"), targets.astype("<i4"), found["activations"]["logits"]]
    arrays += [found["activations"]["loss"], np.pad(grads["wte.weight"], ((0, 384 - 270), (0, 0))), grads["wpe.weight"]]
    for layer in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"):
        for kind in "weight", "bias":
            arrays += [grads[f"h.{i}.{layer}.{kind}"].T for i in range(2)]  # nn.Linear: (out, in)
    arrays += [grads["ln_f.weight"], grads["ln_f.bias"]]
    path.write_bytes(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    return path


def test_a_debug_state_is_held_against_ours(folder, state, monkeypatch):
    config = GPT2Config(**SIZES)
    for check in debug_state_checks(folder, config, state):
        result = check.run()
        assert result.verdict == "ok" and result.figure < 5e-6, result  # measured: 4e-7, 1e-6
    monkeypatch.setattr(feed_forward, "CUBIC", 0.05)
    assert [check.run().verdict for check in debug_state_checks(folder, config, state)] == ["FAILED"] * 2


def test_every_gradient_in_a_debug_state_counts(folder, state, tmp_path):
    """Change one number of each, in the file: the check finds it."""
    config, content = GPT2Config(**SIZES), state.read_bytes()
    gradients = read_debug_state(state, config)["gradients"]
    assert gradients.keys() == config.parameter_shapes().keys()
    path = tmp_path / "state.bin"
    for name, gradient in gradients.items():
        value = np.float32(np.abs(gradient).max()).tobytes()
        negative = np.float32(-np.abs(gradient).max()).tobytes()
        place = max(content.rfind(value), content.rfind(negative))
        assert place > 0, name
        path.write_bytes(content[:place] + np.float32(99).tobytes() + content[place + 4 :])
        _, check = debug_state_checks(folder, config, path)
        result = check.run()
        assert result.verdict == "FAILED" and result.note == name


def header(*numbers):
    return np.array([*numbers, *[0] * (256 - len(numbers))], "<i4").tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a debug state of llm.c: it should begin with the number 20240327"),
        (b"PK" * 600, "is not a debug state"),
        (header(20240326, 3, 64), "is not a debug state"),  # llm.c's weights
        (header(20240327, 1, 3, 7), "is a debug state of version 1, expected 2"),
        (header(20240327, 2, 3, 999), r"B=3, T=999; the model takes 1 \.\.\. 64 tokens"),
        (header(20240327, 2, -1, 7), "B=-1, T=7"),
        (header(20240327, 2, 2**31 - 1, 64), "it is cut short, or was made with other weights"),
        (header(20240327, 2, 3, 7), r"has 1,024 bytes, but a state of B=3, T=7 for this model has"),
    ],
)
def test_a_file_that_is_no_debug_state_is_refused(content, message, tmp_path):
    path = tmp_path / "state.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_debug_state(path, GPT2Config(**SIZES))


def test_a_debug_state_that_is_cut_short_or_of_another_model_is_refused(state, tmp_path):
    cut = tmp_path / "cut.bin"
    cut.write_bytes(state.read_bytes()[:-4])
    with pytest.raises(ValueError, match="cut short"):
        read_debug_state(cut, GPT2Config(**SIZES))
    with pytest.raises(ValueError, match="other weights"):
        read_debug_state(state, GPT2Config(**SIZES | {"n_layer": 3}))


# The command.


def test_command_prints_a_line_per_check(without_slow_checks, capsys):
    assert main(["verify"]) == 0
    out, err = capsys.readouterr()
    *lines, summary = out.splitlines()
    assert all(line.split()[0] in ("ok", "skipped") for line in lines) and err == ""
    assert any(line.split()[:3] == ["ok", "gradients:", "gelu"] for line in lines)
    assert summary.startswith(f"{len(lines)} checks: ") and ", 0 failed, " in summary


@pytest.mark.slow
def test_command_prints_json_and_fails_when_a_check_does(without_slow_checks, capsys, monkeypatch):
    assert main(["verify", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True and {"name", "source", "tolerance", "verdict", "figure", "note"} == set(
        report["checks"][0]
    )
    monkeypatch.setattr(feed_forward, "CUBIC", 0.05)
    assert main(["verify", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    failed = [check["name"] for check in report["checks"] if check["verdict"] == "FAILED"]
    assert report["passed"] is False and "recorded: gelu" in failed
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert f"{len(failed)} failed" in out and "FAILED   recorded: gelu" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "./nowhere"], "no folder"),
        (["--model", "gpt-2"], "did you mean 'gpt2'"),
        (["--model", "."], "no config.json"),
        (["--debug-state", "state.bin"], "needs the weights it was made with"),
        (["--benchmarks", "nowhere"], "nowhere: no such folder; it should hold wiki.test.raw"),
        (["--model", "MODEL", "--debug-state", "nowhere.bin"], "nowhere.bin"),
        (["--model", "MODEL", "--debug-state", "."], "is not a debug state|directory"),
    ],
)
def test_a_users_error_is_one_line(folder, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *[str(folder) if part == "MODEL" else part for part in arguments]]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert re.search(message, err), err
