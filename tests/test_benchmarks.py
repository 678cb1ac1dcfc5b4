"""The benchmarks run, compare what contestants come to, and draw conclusions that follow from the times."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a file of the benchmarks."""
    for package in ("torch", "transformers", "matplotlib", "threadpoolctl"):
        pytest.importorskip(package, reason="it comes with the extras [reference,notebooks]")
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def turns(**seconds):
    return {name: [{"seconds": s, "value": 1.0} for s in values] for name, values in seconds.items()}


def rounds(**seconds):
    """The same times round by round."""
    found = turns(**seconds)
    return [dict(zip(found, answers, strict=True)) for answers in zip(*found.values(), strict=True)]


@pytest.mark.slow
def test_ratios_are_taken_turn_by_turn(benchmark):
    race, report = benchmark("race"), benchmark("report")
    found = turns(minigpt2=[1.0, 2.0, 4.0], other=[4.0, 6.0, 4.0])  # 4, 3 and 1 times as long
    assert race.ratios(found, "other") == [4.0, 3.0, 1.0]
    assert report.ratio(found, "other") == "3.00 (1.00 to 4.00)"
    assert report.ratio(found, "other", 3.0) == "3.00 (1.00 to 4.00), bar 3: ok"
    assert "BELOW" in report.ratio(turns(minigpt2=[1.0], other=[2.99]), "other", 3.0)


def test_two_at_once_are_measured_against_one_alone(benchmark):
    race, report = benchmark("race"), benchmark("report")
    found = turns(minigpt2=[9.0, 9.0], other=[1.0, 2.0]) | {race.twice("other"): [{"seconds": 2.0}, {"seconds": 6.0}]}
    assert report.at_once(found, "other") == "2.50 (2.00 to 3.00)"
    assert report.at_once(found, "other", 2.5).endswith("at most 2.5: ok")
    assert report.at_once(found, "other", 2.4).endswith("at most 2.4: ABOVE")


def test_two_at_once_begin_before_either_has_ended(benchmark, monkeypatch, tmp_path):
    race = benchmark("race")
    calls = []

    class Contestant:
        def __init__(self, key, _workload, name, _folder):
            self.name = f"{name} {sum(call[0] == 'new' for call in calls)}"
            calls.append(("new", self.name))

        def begin(self):
            calls.append(("begin", self.name))

        def end(self):
            calls.append(("end", self.name))
            return {"seconds": 2.0 if self.name == "minigpt2 1" else 2.5, "value": 1.0}

        def take_turn(self):
            calls.append(("alone", self.name))
            return {"seconds": 1.0, "value": 1.0}

        def stop(self):
            calls.append(("stop", self.name))

    monkeypatch.setattr(race, "Contestant", Contestant)
    work = race.Workload("work", None, ("minigpt2",), 1, "turns", at_once=2)
    machine = race.Workload("limit", None, ("machine",), 1, "")
    found = race.race("work", work, machine, tmp_path, 1, lambda _: None)["turns"]
    first, second = "minigpt2 1", "minigpt2 2"
    assert calls[3:9] == [("alone", "machine 0"), ("alone", first), ("begin", first), ("begin", second),
                          ("end", first), ("end", second)]  # fmt: skip
    assert sorted(calls[9:]) == [("stop", "machine 0"), ("stop", first), ("stop", second)]
    assert [turn["seconds"] for turn in found[race.twice("minigpt2")]] == [2.5]  # until both are done


def quiet_rounds(race, repeats, **seconds):
    """What comes of these times, and how many rounds were run."""
    ahead = iter(rounds(**seconds))
    kept, repeated = race.quiet_rounds(lambda: next(ahead), repeats)
    return [answers["other"]["seconds"] for answers in kept], repeated, len(seconds["other"]) - len(list(ahead))


def test_noisy_rounds_are_repeated_and_the_noisiest_is_dropped(benchmark):
    race = benchmark("race")
    quiet = {"minigpt2": [1.0] * 6, "machine": [1.0, 9.0] * 3}  # the machine's limit takes no part
    assert quiet_rounds(race, 3, **quiet, other=[2.0, 3.0, 2.5, 0, 0, 0]) == ([2.0, 3.0, 2.5], 0, 3)  # just 1.5
    assert quiet_rounds(race, 3, **quiet, other=[2.0, 3.1, 2.1, 2.2, 0, 0]) == ([2.0, 2.1, 2.2], 1, 4)
    assert quiet_rounds(race, 3, **quiet, other=[2.0, 0.9, 2.1, 2.2, 0, 0]) == ([2.0, 2.1, 2.2], 1, 4)
    never_ends = quiet_rounds(race, 3, **quiet, other=[1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    assert never_ends[1:] == (3, 6)  # as many again, no more
    assert quiet_rounds(race, 2, minigpt2=[1.0, 5.0, 1.1], other=[1.0, 1.0, 1.2]) == ([1.0, 1.2], 1, 3)  # a whole round


def test_the_table_says_how_many_rounds_were_repeated(benchmark):
    report = benchmark("report")
    race = {"turns": turns(machine=[1.0, 9.0], minigpt2=[1.0, 1.0], other=[1.0, 1.4]), "repeated": 2}
    assert report.repeated(None, race, "other") == "2"
    race["turns"]["other"][0]["seconds"] = 0.9
    assert report.repeated(None, race, "other") == "2, still noisy"


def test_bars_depend_on_the_kernels_that_run(benchmark):
    bars, kernels = benchmark("bars"), benchmark("kernels")
    for name in ("Haswell", "Zen", "AVX2", "X86_V2 X86_V3", "Intel AVX2 with Intel DL Boost"):
        assert kernels.level(name) == "avx2", name
    for name in ("SkylakeX", "Cooperlake", "Sapphirerapids", "AVX-512", "X86_V3 X86_V4", "Intel AVX10.1", "AVX512_SKX"):
        assert kernels.level(name) == "avx512", name
    assert kernels.level("Nehalem") == kernels.level("neoversen1") == kernels.level("SSE4.2") == ""
    assert [bars.bar("decode", "transformers", level) for level in ("avx2", "avx512", "")] == [1.7, 2.1, None]
    assert bars.bar("decode", "nanoGPT", "avx2") is None
    assert bars.bar("long-letter", "ordinary text", "avx512") == pytest.approx(1 / 3)


def test_every_bar_is_of_a_contestant(benchmark, gpt2_vocab):
    workloads = {}
    for module in ("models", "scoring", "texts", "long_inputs"):
        workloads |= benchmark(module).WORKLOADS
    for workload, against in benchmark("bars").BARS:
        assert any(against in workloads[name].contestants for name in (workloads if workload == "any" else [workload]))


@pytest.mark.slow
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


@pytest.mark.parametrize("fails", [False, True])
def test_the_busy_process_runs_for_one_race_only(benchmark, monkeypatch, tmp_path, fails):
    race = benchmark("race")
    started, states = [], []
    popen = subprocess.Popen
    monkeypatch.setattr(race.subprocess, "Popen", lambda *args, **kw: started.append(popen(*args, **kw)) or started[-1])

    class Contestant:
        def __init__(self, _key, _workload, name, _folder):
            self.name = name

        def take_turn(self):
            states.append(started[0].poll())
            if fails:
                raise RuntimeError("it failed")
            return {"seconds": 1.0, "value": 1.0}

        def stop(self):
            pass

    monkeypatch.setattr(race, "Contestant", Contestant)
    work = race.Workload("work", None, ("minigpt2", "other"), 1, "turns", busy=True)
    machine = race.Workload("limit", None, ("machine",), 1, "")
    if fails:
        with pytest.raises(RuntimeError, match="it failed"):
            race.race("work", work, machine, tmp_path, 2, lambda _: None)
    else:
        race.race("work", work, machine, tmp_path, 2, lambda _: None)
    assert len(started) == 1 and states and set(states) == {None}  # it ran during every turn
    assert started[0].poll() is not None


def test_a_busy_process_that_stops_is_noticed(benchmark):
    race = benchmark("race")
    with pytest.raises(RuntimeError, match="the busy process stopped"), race.busy_process() as process:
        process.kill()
        process.wait()


def test_two_runs_side_by_side(benchmark, tmp_path):
    race, report = benchmark("race"), benchmark("report")
    works = {"work": race.Workload("some work", None, ("minigpt2", "nanoGPT"), 1, "turns", lambda *limit: 0.5),
             "twins": race.Workload("twins", None, ("minigpt2", "nanoGPT"), 1, "turns", at_once=2)}  # fmt: skip

    def a_run(level, theirs, names):
        found = turns(machine=[1.0], minigpt2=[1.0], nanoGPT=[theirs])
        found |= {race.twice(name): [{"seconds": 2.0}] for name in ("minigpt2", "nanoGPT")}
        found["machine"][0]["value"] = [1e9, 1e9]
        for name in ("minigpt2", "nanoGPT"):
            found[name][0]["memory"] = 1
        races = {name: {"turns": found, "repeated": 0} for name in names}
        return {"machine": "a machine", "level": level, "line": f"{level}.", "repeats": 1, "races": races}

    runs = [a_run("avx2", 2.0, ["work", "twins"]), a_run("avx512", 4.0, ["work"])]
    text = report.markdown(works, runs)
    assert "| workload | against | AVX2: time | AVX-512: time | repeated | memory | share of limit |" in text
    assert "| some work | nanoGPT | 2.00 (2.00 to 2.00) | 4.00 (4.00 to 4.00) | 0 | 1.00 | 50% |" in text
    assert "| twins | minigpt2 | 2.00 (2.00 to 2.00), at most 2.5: ok |  | 0 |" in text
    assert "| some work | nanoGPT | 2.00 (2.00 to 2.00) | 0 | 1.00 | 50% |" in report.markdown(works, runs[:1])
    report.chart(works, runs, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size


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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system's count begins with that process's")
def test_memory_of_the_process_that_started_it_does_not_count(benchmark):
    benchmark("race")
    large = np.ones(50_000_000)
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import race; print(race.peak_memory())"
    small = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(small) < large.nbytes / 2


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
@pytest.mark.parametrize("kernels", ["auto", "avx2"])
def test_a_race_from_the_command_line(benchmark, gpt2_vocab, tmp_path, kernels):
    if kernels == "avx2" and benchmark("kernels").ask()["runs"]["torch"] not in ("AVX2", "AVX512"):
        pytest.skip("this processor has no AVX2")
    command = [sys.executable, FOLDER, "train-small", "import", "--repeats", "1", "--out", tmp_path / "out"]
    done = subprocess.run([*command, "--kernels", kernels], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| training step, nanoGPT's CPU setting | nanoGPT |" in done.stdout
    assert "openblas" in done.stdout.lower() and "GFLOP/s" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "results.md", "speed.png"}
    if kernels == "avx2":
        assert "Kernels, avx2: OpenBLAS Haswell; " in done.stdout and "AVX-512" not in done.stdout
    joined = [sys.executable, FOLDER, "--join", tmp_path / "out", tmp_path / "out", "--out", tmp_path / "joined"]
    done = subprocess.run(joined, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "joined").iterdir()} == {"results.md", "speed.png"}
