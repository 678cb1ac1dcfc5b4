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


def test_numpy_is_told_of_features_that_it_has(benchmark):
    kernels = benchmark("kernels")
    assert kernels.settings(["X86_V4", "AVX512_ICL"])["NPY_DISABLE_CPU_FEATURES"] == "X86_V4 AVX512_ICL"
    assert kernels.settings([]) == kernels.AVX2
    found = kernels.ask()
    core = importlib.import_module("numpy._core._multiarray_umath")
    for feature in found["newer features"]:
        assert feature in core.__cpu_dispatch__ and core.__cpu_features__[feature]
        assert feature not in core.__cpu_baseline__ and feature not in ("X86_V3", "AVX2")


LOGS = """MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture \
Intel(R) Advanced Vector Extensions 2 (Intel(R) AVX2) enabled processors, Lnx 2.10GHz lp64 gnu_thread
onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:2
onednn_verbose,v1,info,cpu,isa:Intel AVX2
"""


def test_instructions_are_read_from_the_logs_of_mkl_and_onednn(benchmark):
    kernels = benchmark("kernels")
    assert kernels.read_logs(LOGS) == {"MKL": "AVX2", "oneDNN": "Intel AVX2"}
    newer = LOGS.replace("Extensions 2 (Intel(R) AVX2)", "Extensions 512 (Intel(R) AVX-512) with (limited) INT8")
    assert kernels.read_logs(newer)["MKL"] == "AVX-512"
    assert kernels.read_logs("nothing") == {"MKL": None, "oneDNN": None}


OBEYS = {"OpenBLAS": "Haswell", "NumPy": "X86_V2 X86_V3", "torch": "AVX2", "MKL": "AVX2", "oneDNN": "Intel AVX2"}


@pytest.mark.parametrize("library, runs", [
    ("OpenBLAS", "SkylakeX"), ("NumPy", "X86_V2 X86_V3 AVX512_SPR"), ("torch", "AVX512"), ("MKL", "AVX-512"),
    ("oneDNN", "Intel AVX10.1"), ("OpenBLAS", "Nehalem"),
])  # fmt: skip
def test_a_library_that_disobeys_is_refused(benchmark, library, runs):
    kernels = benchmark("kernels")
    kernels.check({"runs": OBEYS, "intel": True})
    kernels.check({"runs": OBEYS | {"MKL": None}, "intel": True})  # what cannot be read
    with pytest.raises(RuntimeError, match=f"held to AVX2, but {library} runs {runs}"):
        kernels.check({"runs": OBEYS | {library: runs}, "intel": True})


def test_the_head_says_what_runs(benchmark):
    kernels = benchmark("kernels")
    assert kernels.line("auto", OBEYS, True).endswith("That is AVX2 already: --kernels avx2 would run the same.")
    assert "already" not in kernels.line("auto", OBEYS | {"torch": "AVX512"}, True)
    assert kernels.line("avx2", OBEYS | {"oneDNN": None}, True) == (
        "avx2: OpenBLAS Haswell; NumPy X86_V2 X86_V3; torch AVX2; MKL AVX2; oneDNN does not tell."
    )
    amd = {"runs": OBEYS | {"MKL": "AVX-512"}, "intel": False}
    kernels.check(amd)
    assert "MKL ignores" in kernels.line("avx2", amd["runs"], False)


def test_holding_replaces_what_was_set(benchmark, monkeypatch):
    kernels = benchmark("kernels")
    monkeypatch.setattr(kernels.os, "environ", dict(kernels.os.environ, OPENBLAS_CORETYPE="Nehalem", MKL_CBWR="SSE2"))
    answers = [{"machine": "", "intel": True, "newer features": ["X86_V4"], "runs": OBEYS | {"NumPy": "X86_V4"}},
               {"machine": "", "intel": True, "newer features": [], "runs": OBEYS}]  # fmt: skip
    asked_with = []

    def ask():
        asked_with.append({pin: kernels.os.environ[pin] for pin in kernels.PINS if pin in kernels.os.environ})
        return answers[len(asked_with) - 1]

    monkeypatch.setattr(kernels, "ask", ask)
    assert kernels.hold("avx2")["level"] == "avx2"
    assert asked_with == [{}, kernels.AVX2 | {"NPY_DISABLE_CPU_FEATURES": "X86_V4"}]
    answers[1]["runs"] = OBEYS | {"torch": "AVX512"}
    asked_with.clear()
    with pytest.raises(RuntimeError, match="torch runs AVX512"):
        kernels.hold("avx2")


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
