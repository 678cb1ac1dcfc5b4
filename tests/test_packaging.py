"""What surrounds the code keeps its promises: dependencies, README, package data."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minigpt2
import minigpt2.version
from minigpt2.reference import CASES

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, TOOL = PYPROJECT["project"], PYPROJECT["tool"]
EXTRAS = PROJECT["optional-dependencies"]


def name_of(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower()


def test_run_time_needs_six_packages_and_no_more():
    packages = {"numpy", "regex", "requests", "safetensors", "threadpoolctl", "tqdm"}
    assert {name_of(r) for r in PROJECT["dependencies"]} == packages


def test_environment_yml_asks_for_what_pyproject_asks_for():
    yaml = pytest.importorskip("yaml", reason="pyyaml is in the extra 'test'")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    listed = {entry for entry in environment["dependencies"] if isinstance(entry, str)} | set(pip)
    wanted = set(PROJECT["dependencies"]).union(*(EXTRAS[extra] for extra in ("test", "notebooks", "evaluation")))
    assert listed == wanted | {"python" + PROJECT["requires-python"], "pip", "-e ."}
    assert environment["channels"] == ["conda-forge"]


def test_the_version_stands_in_one_place():
    yaml = pytest.importorskip("yaml", reason="pyyaml is in the extra 'test'")
    assert TOOL["setuptools"]["dynamic"] == {"version": {"attr": "minigpt2.version.__version__"}}
    assert "version" not in PROJECT and PROJECT["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == minigpt2.__version__ == minigpt2.version.__version__
    assert citation["license"] == PROJECT["license"]
    assert f"\n## {minigpt2.__version__}" in (ROOT / "notebooks/site/changelog.md").read_text(encoding="utf-8")


def test_readme_begins_with_the_main_job_and_the_tests():
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    main_job, tests = blocks[:2]
    assert main_job.count("\n") == tests.count("\n") == 1, "one command line each"
    assert "minigpt2 generate" in main_job and "venv" in main_job
    assert "pytest" in tests and "[test]" in tests


def test_quick_tests_hold_every_component_and_the_model_against_differences_and_pytorch():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", "quick"]
    files = [f"tests/test_{name}.py" for name in ("components", "model", "long_inputs")]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=True)
    quick = set(done.stdout.splitlines())
    for name in CASES:
        assert f"tests/test_components.py::test_agrees_with_torch_in_float64[{name}]" in quick
        small = not name.startswith("gpt2") and not name.endswith("_long")
        assert (f"tests/test_components.py::test_gradients_are_the_differences[{name}]" in quick) == small
    assert any("test_model.py::test_gradient_of_every_parameter_is_the_difference[" in test for test in quick)
    assert any("test_long_inputs.py::test_encoding_is_linear[" in test for test in quick)
    assert not any("test_long_inputs.py::test_training_is_linear" in test for test in quick), "it is slow"


def test_the_workflow_runs_everything_once_and_the_quick_tests_on_each_system_and_python():
    yaml = pytest.importorskip("yaml", reason="pyyaml is in the extra 'test'")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    everything, quick = workflow["jobs"]["everything"], workflow["jobs"]["quick"]
    lines = [[step["run"] for step in job["steps"] if "run" in step] for job in (everything, quick)]
    assert lines[0] == [".ci/run"] and everything["timeout-minutes"] == 90
    assert lines[1][-2].count("pip install -e '.[test]'") == lines[1][-1].count("python -m pytest -m quick") == 1
    matrix, language = quick["strategy"]["matrix"], "Programming Language :: Python :: "
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    named = [line.removeprefix(language) for line in PROJECT["classifiers"] if line.startswith(language)]
    assert matrix["python"] == named and PROJECT["requires-python"] == f">={named[0]}"


def test_ci_tests_the_lowest_versions_that_pyproject_allows():
    command = [sys.executable, ROOT / ".ci/lower_bounds.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [requirement.replace(">=", "==") for requirement in PROJECT["dependencies"]]
    assert ".ci/lower_bounds.py" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_top_level_holds_only_what_the_design_names():
    allowed = {
        "notebooks", "minigpt2", "tests", "environment.yml", "README.md", "pyproject.toml", "LICENSE",
        "CITATION.cff", ".gitignore", ".gitattributes", ".ci", ".github", ".git",
    }  # fmt: skip
    ignored = {line.strip("/\n") for line in (ROOT / ".gitignore").read_text().splitlines()}
    found = {path.name for path in ROOT.iterdir()}
    assert {name for name in found - allowed - ignored if not name.endswith(".egg-info")} == set()


def runs_what_it_reads(source):
    """The places in a source text that execute or unpickle what they are given."""
    modules = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "pickletools"}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [name for name in names if name.split(".")[0] in modules]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if (
                name in ("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec")
                or name.endswith((".read_pickle", ".unsafe_load", "yaml.load", "yaml.full_load", "yaml.load_all"))
                or (re.search(r"\btorch\.load$", name) and options.get("weights_only") != "True")
                or options.get("allow_pickle", "False") != "False"  # which is NumPy's default
                or (re.search(r"\b(np|numpy)\.load$", name) and len(node.args) > 2)
                or (None in options and re.search(r"\b(load|read_array)$", name))  # **options could hold anything
            ):
                found.append(ast.unparse(node))
    return found


# Students' answers are there to be run.
RUN_ANSWERS = {
    ROOT / "minigpt2/exercises/recognition.py", ROOT / "minigpt2/exercises/whole.py",
    ROOT / "notebooks/exercises/grading/cells.py",
}  # fmt: skip


def test_nothing_is_ever_unpickled():
    """Neither in the package nor in notebooks; tests run code of their own and copy a tokenizer with pickle."""
    for path in [*(ROOT / "minigpt2").rglob("*.py"), *(ROOT / "notebooks").rglob("*.py")]:
        found = runs_what_it_reads(path.read_text(encoding="utf-8"))
        assert [place for place in found if path not in RUN_ANSWERS or "compile(" not in place] == [], path
    allowed = re.compile(r"(exec|eval|compile|__import__)\(|pickle$|np\.save\(.*allow_pickle=True\)")
    for path in (ROOT / "tests").rglob("*.py"):
        found = runs_what_it_reads(path.read_text(encoding="utf-8"))
        assert [place for place in found if not allowed.match(place)] == [], path


@pytest.mark.parametrize("source", [
    "import pickle", "from pickle import loads", "import os, joblib", "import dill.source", "eval(text)", "exec(code)",
    "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=flag)", "np.load(path, None, True)",
    "numpy.lib.format.read_array(file, allow_pickle=1)", "np.load(path, **options)", "torch.load(path)",
    "torch.load(path, weights_only=False)", "pandas.read_pickle(path)", "yaml.load(text)", "yaml.unsafe_load(text)",
])  # fmt: skip
def test_what_could_unpickle_is_noticed(source):
    assert runs_what_it_reads(source)


def test_what_reads_plain_data_is_not_taken_for_it():
    source = "json.load(f); np.load(p); np.load(p, allow_pickle=False); torch.load(p, weights_only=True); model.eval()"
    assert not runs_what_it_reads(source + "; yaml.safe_load(t); re.compile(x); npy.read_array(f, allow_pickle=False)")


def test_the_built_in_model_is_small_and_complete():
    folder = ROOT / "minigpt2/pretrained/shakespeare"
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "vocab.json", "merges.txt", "README.md"} <= set(files)
    assert sum(files.values()) <= 8_000_000


def test_public_names_have_types_and_say_what_they_are():
    """For help(), for completion and for a type checker, which needs the file py.typed to believe them."""
    assert (ROOT / "minigpt2/py.typed").exists()
    functions = [minigpt2.trace, minigpt2.flatten, minigpt2.unflatten, minigpt2.gradient_check]
    for public in (minigpt2.GPT2, minigpt2.GPT2Config, minigpt2.Tokenizer, minigpt2.AdamW, minigpt2.SGD):
        functions += [
            member for name, member in inspect.getmembers(public, callable)
            if getattr(member, "__module__", None) == public.__module__ and inspect.isroutine(member)
            and (not name.startswith("_") or name == "__init__")
        ]  # fmt: skip
    assert len(functions) > 25
    for function in functions:
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            known = parameter.annotation is not parameter.empty or parameter.name in ("self", "changes")
            assert known, (function.__qualname__, parameter.name)


def test_objects_say_what_they_are():
    model, tokenizer = (each.from_pretrained("shakespeare") for each in (minigpt2.GPT2, minigpt2.Tokenizer))
    assert "3,487,232 parameters" in repr(model) and "n_layer=4" in repr(model) and "float32" in repr(model)
    assert "1,024 tokens" in repr(tokenizer)
    optimizer = minigpt2.AdamW(model.params, lr=0.5)
    assert "3,487,232" in repr(optimizer) and "lr=0.5" in repr(optimizer) and "step 0" in repr(optimizer)
    assert "momentum=0.9" in repr(minigpt2.SGD(model.params, momentum=0.9))


def test_importing_changes_nothing_in_the_process():
    """Neither the C library's memory, nor BLAS, nor signals; and nothing slow is imported. The first model asks."""
    code = """
import ctypes, signal, sys, threading
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
opened, real = [], ctypes.CDLL
ctypes.CDLL = lambda *names, **options: opened.append(names) or real(*names, **options)
import numpy
opened.clear()
import minigpt2
assert not opened and threading.active_count() == 1 and "requests" not in sys.modules, (opened, threading.enumerate())
assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
minigpt2.Tokenizer.from_pretrained
assert minigpt2.backend.keep_freed_memory.cache_info().misses == 0
minigpt2.GPT2(minigpt2.GPT2Config(n_layer=1, n_head=1, n_embd=4, n_positions=4, vocab_size=4))
assert minigpt2.backend.keep_freed_memory.cache_info().misses == 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
