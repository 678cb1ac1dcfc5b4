"""The benchmarks run, compare what contestants come to, and draw conclusions that follow from the times."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a file of the benchmarks."""
    for package in ("torch", "transformers", "matplotlib", "threadpoolctl"):
        pytest.importorskip(package, reason="it comes with the extras [reference,notebooks,benchmark]")
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def turns(**seconds):
    return {name: [{"seconds": s, "value": 1.0} for s in values] for name, values in seconds.items()}


def test_ratios_are_taken_turn_by_turn(benchmark):
    race, report = benchmark("race"), benchmark("report")
    work = race.Workload("work", None, ("minigpt2", "other"), 1, "turns", bars={"other": 3.0})
    found = turns(minigpt2=[1.0, 2.0, 4.0], other=[4.0, 6.0, 4.0])  # 4, 3 and 1 times as long
    assert race.ratios(found, "other") == [4.0, 3.0, 1.0]
    assert report.ratio(work, found, "other") == "3.00 (1.00 to 4.00), bar 3: ok"
    assert "BELOW" in report.ratio(work, turns(minigpt2=[1.0], other=[2.99]), "other")


def test_contestants_that_come_to_something_else_are_disqualified(benchmark):
    race = benchmark("race")
    work = race.Workload("work", None, ("minigpt2", "other"), 1, "turns")
    found = turns(minigpt2=[1.0], other=[1.0])
    race._compare_values(work, found)
    found["other"][0]["value"] = 1.01
    with pytest.raises(RuntimeError, match=r"work: minigpt2 came to 1.0, other to 1.01"):
        race._compare_values(work, found)


def test_exponent_of_a_power_law(benchmark):
    assert benchmark("report").exponent([(n, 3 * n**1.5) for n in (1, 2, 8, 64)]) == pytest.approx(1.5)


def test_limits_count_the_operations_of_the_model(benchmark):
    models = benchmark("models")
    config = models.GPT2_SMALL
    assert models.matrix_parameters(config) == 12 * 12 * 768**2
    one = models.forward_operations(config, 1, 1, 1)
    assert one == 2 * (12 * 12 * 768**2 + 768 * 50257) + 4 * 12 * 768
    step_by_step = sum(models.forward_operations(config, 1, 1, 1, start) for start in range(5))
    assert models.forward_operations(config, 1, 5, 5) == step_by_step


def test_the_published_logic_gives_the_same_ids(benchmark, gpt2_vocab):
    texts = benchmark("texts")
    text = texts.english()[:20_000]
    encoders = [texts.encoder(name, None) for name in ("minigpt2", "encoder.py")]
    assert encoders[0](text) == encoders[1](text)


@pytest.mark.slow
def test_a_race_from_the_command_line(benchmark, gpt2_vocab, tmp_path):
    command = [sys.executable, FOLDER, "train-small", "import", "--repeats", "1", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| training step, nanoGPT's CPU setting | nanoGPT |" in done.stdout
    assert "openblas" in done.stdout.lower() and "GFLOP/s" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md", "speed.png"}
