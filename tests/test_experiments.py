"""The experiments of notebooks/experiments run from end to end, in sizes that take seconds."""

import importlib
import json
import shlex
import subprocess
import types
from pathlib import Path

import numpy as np
import pytest
from test_training import TEXT

import minigpt2
from minigpt2.cli import main

FOLDER = Path(__file__).parents[1] / "notebooks/experiments"
TINY = {"n_layer": 3, "n_head": 1, "n_embd": 8}
COMMON = {"block_size": 8, "batch_size": 2, "dropout": 0.0}


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    """A function that imports an experiment; runs go to a folder of the test's own."""
    pytest.importorskip("matplotlib", reason="the pictures need matplotlib (extra 'notebooks')")
    monkeypatch.syspath_prepend(FOLDER)
    (tmp_path / "text.txt").write_text(TEXT)
    return importlib.import_module


def test_a_run_of_another_command_is_no_result(experiment, tmp_path):
    runs = experiment("runs").Runs(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/finished").write_text(f"minigpt2 train --out {tmp_path}/x --steps 2")
    runs.add("x", steps=2)
    runs.run("x")  # which finds that nothing is to be done
    runs.add("x", steps=8)
    with pytest.raises(ValueError, match="made by another command"):
        runs.run("x")


@pytest.mark.slow
def test_masked_then_causal(experiment, monkeypatch, tmp_path, capsys):
    module = experiment("masked_then_causal")
    monkeypatch.setattr(module, "SEEDS", (1, 2))
    monkeypatch.setattr(module, "STEPS", 4)
    monkeypatch.setattr(module, "SIZES", TINY)
    monkeypatch.setattr(module, "COMMON", COMMON | {"eval_every": 2})
    monkeypatch.setattr(module, "SAMPLES", 10)
    monkeypatch.setattr(module, "WORDS", 3)
    call = ["--data", str(tmp_path / "text.txt"), "--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    module.main(call)
    results = json.loads((tmp_path / "masked_then_causal.json").read_text())
    losses, chosen = results["nats per character"], results["on the text that the step was chosen on"]
    assert losses.keys() == module.WAYS.keys() and all(len(both) == 2 for both in losses.values())
    assert losses["causal"] != chosen["causal"], "no figure is from the text that the step was chosen on"
    assert results["distinct pairs of words"].keys() == {*module.WAYS, "people"}
    assert f"{losses['converted'][1]:.4f}" in capsys.readouterr().out
    assert (tmp_path / "masked_then_causal.png").read_bytes().startswith(b"\x89PNG")
    # The command that is reported gives the figure that is reported.
    command = next(shlex.split(line) for line in results["commands"] if "runs/same-head-2" in line)
    again = [word.replace("runs/same-head-2", "again") for word in command[1:]]
    assert main(again) == 0
    assert f"best validation loss: {chosen['same-head'][1]:.4f} nats per character" in capsys.readouterr().out
    module.main(call)  # nothing is run twice
    assert json.loads((tmp_path / "masked_then_causal.json").read_text()) == results


@pytest.mark.slow
def test_copies(experiment, monkeypatch, tmp_path):
    module = experiment("copies")
    monkeypatch.setattr(module, "PROMPTS", 3)
    monkeypatch.setattr(module, "LENGTH", 30)
    monkeypatch.setattr(module, "SAMPLINGS", {"greedy": {"temperature": 0.0}})
    (tmp_path / "text.txt").write_text(TEXT + TEXT[::-1][: len(TEXT) // 9])  # backwards: in no line before
    module.main(["--data", str(tmp_path / "text.txt"), "--results", str(tmp_path)])
    shares = json.loads((tmp_path / "copies.json").read_text())
    assert shares.keys() == {"training text", "held-out text", "greedy"}
    assert all(by_n.keys() == {"4", "8"} and len(by_n["4"]) == 3 for by_n in shares.values())
    assert min(shares["training text"]["4"]) > 0.5, "a copy would not be seen"
    assert max(shares["held-out text"]["8"]) == 0, "what was never read counts as a copy"


@pytest.mark.slow
def test_domains(experiment, monkeypatch, tmp_path):
    module = experiment("domains")
    small = {"SEEDS": (1, 2), "GENERAL_STEPS": 2, "DOMAIN_STEPS": 2, "SIZES": TINY, "COMMON": COMMON}
    small["DOMAINS"] = {name: module.DOMAINS[name] for name in ("drama", "verse")}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "VOCABULARY", 300)
    monkeypatch.setattr(module, "RATES", (1e-3,))
    monkeypatch.setattr(module, "WAYS", {"scratch": {}, "fine-tuned": {}})
    controls = {"LoRA, wte free": module.CONTROLS["LoRA, wte free"] | {"lora_rank": 2}}
    monkeypatch.setattr(module, "CONTROLS", controls)
    (tmp_path / "verse.txt").write_text("床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n" * 20)

    def here(words, process=subprocess.run, **options):
        if words[1:3] == ["-m", "minigpt2"]:  # most of the time goes into starting Python
            return types.SimpleNamespace(returncode=main(words[3:]))
        return process(words, **options)

    monkeypatch.setattr(subprocess, "run", here)
    call = ["--drama", str(tmp_path / "text.txt"), "--verse", str(tmp_path / "verse.txt"), "--jobs", "1"]
    module.main([*call, "--out", str(tmp_path / "runs"), "--results", str(tmp_path)])
    results = json.loads((tmp_path / "domains.json").read_text())
    losses = results["bits per character"]
    assert losses.keys() == {"zero-shot", "scratch", "fine-tuned"}
    assert results["wte free, bits per character"].keys() == {"LoRA, wte free"}
    assert results["forgotten, bits per character"].keys() == {"fine-tuned"}
    assert results["without a model"]["verse"]["share of tokens never read"] > 0.5
    assert (tmp_path / "domains.png").read_bytes().startswith(b"\x89PNG")


def test_a_text_is_cut_into_one_to_learn_from_and_one_to_report_on(experiment, tmp_path):
    text = "".join(chr(97 + i % 26) for i in range(1000))
    (tmp_path / "text.txt").write_text(text)
    for most, learned, tested in ((None, text[:900], text[900:]), (200, text[:200], text[990:])):
        experiment("split").split(str(tmp_path / "text.txt"), tmp_path / "part", most)
        assert (tmp_path / "part.txt").read_text() == learned
        test = (tmp_path / "part-test.txt").read_text()
        assert test[len(test) * 9 // 10 :] == tested


def test_lora_trains_the_table_beside_the_adapters(experiment):
    model = minigpt2.GPT2(minigpt2.GPT2Config(vocab_size=7, n_positions=4, n_embd=4, n_layer=1, n_head=1), seed=0)
    lora = experiment("lora_and_wte").LoRAAndTable(model, 2, 4.0)
    optimizer = minigpt2.AdamW(lora.params)
    before = {name: array.copy() for name, array in minigpt2.flatten(model.params).items()}
    for _ in range(2):
        optimizer.step(lora.grads(model.loss_and_grads([[1, 2, 3]], [[2, 3, 4]])[1]))
        lora.merge()
    changed = {name for name, array in minigpt2.flatten(model.params).items() if (array != before[name]).any()}
    assert changed == {"wte.weight", "h.0.attn.c_attn.weight", "h.0.attn.c_proj.weight"}


def test_tokens_that_were_never_read_get_new_vectors(experiment, tmp_path):
    (tmp_path / "read.txt").write_text("abba " * 20)
    tokenizer = minigpt2.Tokenizer.train(TEXT, 300, progress=False)
    config = minigpt2.GPT2Config(vocab_size=len(tokenizer), n_positions=4, n_embd=4, n_layer=1, n_head=1)
    model = minigpt2.GPT2(config, seed=0)
    model.save_pretrained(tmp_path / "old")
    tokenizer.save_pretrained(tmp_path / "old")
    call = ["--model", str(tmp_path / "old"), "--data", str(tmp_path / "read.txt"), "--out", str(tmp_path / "new")]
    experiment("new_rows").main(call)
    table = minigpt2.GPT2.from_pretrained(tmp_path / "new").params["wte"]["weight"]
    same = (table == model.params["wte"]["weight"]).all(axis=1)
    assert set(np.flatnonzero(same)) == set(tokenizer.encode("abba " * 20))
