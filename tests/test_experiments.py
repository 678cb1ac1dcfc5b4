"""The experiments of notebooks/experiments run from end to end, in sizes that take seconds."""

import importlib
import json
import shlex
from pathlib import Path

import pytest
from test_training import TEXT

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
    call = ["--data", str(tmp_path / "text.txt"), "--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    module.main(call)
    results = json.loads((tmp_path / "masked_then_causal.json").read_text())
    losses = results["nats per character"]
    assert losses.keys() == module.WAYS.keys() and all(len(both) == 2 for both in losses.values())
    assert f"{losses['converted'][1]:.4f}" in capsys.readouterr().out
    assert (tmp_path / "masked_then_causal.png").read_bytes().startswith(b"\x89PNG")
    # The command that is reported gives the figure that is reported.
    command = next(shlex.split(line) for line in results["commands"] if "runs/same-head-2" in line)
    from minigpt2.cli import main

    again = [word.replace("runs/same-head-2", "again") for word in command[1:]]
    assert main(again) == 0
    assert f"best validation loss: {losses['same-head'][1]:.4f} nats per character" in capsys.readouterr().out
    module.main(call)  # nothing is run twice
    assert json.loads((tmp_path / "masked_then_causal.json").read_text()) == results


@pytest.mark.slow
def test_domains(experiment, monkeypatch, tmp_path):
    module = experiment("domains")
    small = {"SEEDS": (1, 2), "GENERAL_STEPS": 2, "DOMAIN_STEPS": 2, "SIZES": TINY, "COMMON": COMMON}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "topics", {"assert": TEXT.upper()})
    monkeypatch.setattr(module, "WAYS", {"scratch": {}, "LoRA": {"lora_rank": 2}})
    (tmp_path / "verse.txt").write_text("床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n" * 20)
    call = ["--drama", str(tmp_path / "text.txt"), "--verse", str(tmp_path / "verse.txt")]
    module.main([*call, "--out", str(tmp_path / "runs"), "--results", str(tmp_path)])
    results = json.loads((tmp_path / "domains.json").read_text())
    losses = results["bits per character"]
    assert losses.keys() == {"zero-shot", "scratch", "LoRA"}
    assert losses["LoRA"]["verse"][0] <= losses["zero-shot"]["verse"][0], "the best model is at least the one before"
    assert "LoRA" in results["forgotten, bits per character"]
    assert (tmp_path / "domains.png").read_bytes().startswith(b"\x89PNG")
