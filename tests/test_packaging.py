"""What surrounds the code keeps its promises: dependencies, README, package data."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def name_of(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower()


def test_run_time_needs_five_packages_and_no_more():
    assert {name_of(r) for r in PROJECT["dependencies"]} == {"numpy", "regex", "requests", "safetensors", "tqdm"}


def test_environment_yml_asks_for_what_pyproject_asks_for():
    yaml = pytest.importorskip("yaml", reason="pyyaml is in the extra 'test'")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    listed = {entry for entry in environment["dependencies"] if isinstance(entry, str)} | set(pip)
    wanted = set(PROJECT["dependencies"]).union(*(EXTRAS[extra] for extra in ("test", "notebooks", "evaluation")))
    assert listed == wanted | {"python" + PROJECT["requires-python"], "pip", "-e ."}
    assert environment["channels"] == ["conda-forge"]


def test_readme_begins_with_the_main_job_and_the_tests():
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    main_job, tests = blocks[:2]
    assert main_job.count("\n") == tests.count("\n") == 1, "one command line each"
    assert "minigpt2 generate" in main_job and "venv" in main_job
    assert "pytest" in tests and "[test]" in tests


def test_top_level_holds_only_what_the_design_names():
    allowed = {
        "notebooks", "minigpt2", "tests", "environment.yml", "README.md", "pyproject.toml", "LICENSE",
        ".gitignore", ".gitattributes", ".ci", ".git",
    }  # fmt: skip
    ignored = {line.strip("/\n") for line in (ROOT / ".gitignore").read_text().splitlines()}
    found = {path.name for path in ROOT.iterdir()}
    assert {name for name in found - allowed - ignored if not name.endswith(".egg-info")} == set()


def test_nothing_is_ever_unpickled():
    for path in (ROOT / "minigpt2").rglob("*.py"):
        code = re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.S)
        assert not re.search(r"^\s*(import|from) (pickle|dill|joblib|marshal|shelve)", code, flags=re.M), path
        assert "allow_pickle=True" not in code, path


def test_components_know_only_what_they_are_made_of():
    """Imports go down: a component uses the backend, the parameter tree and components that it contains."""
    allowed = {
        "attention": {"dropout", "linear"},
        "feed_forward": {"linear"},
        "head": {"feed_forward", "linear"},
        "optimizer": {"parameters"},
    }
    for path in (ROOT / "minigpt2/components").glob("*.py"):
        modules = re.findall(r"from minigpt2\.(?:components\.)?(\w+) import", path.read_text())
        assert set(modules) <= {"backend"} | allowed.get(path.stem, set()), path


def test_the_built_in_model_is_small_and_complete():
    folder = ROOT / "minigpt2/pretrained/shakespeare"
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "vocab.json", "merges.txt", "README.md"} <= set(files)
    assert sum(files.values()) <= 8_000_000


def test_the_component_in_the_readme_is_the_component():
    readme = (ROOT / "README.md").read_text()
    snippet = re.search(r"## A component\n.*?```python\n(.*?)```", readme, flags=re.S)[1]
    source = (ROOT / "minigpt2/components/layer_norm.py").read_text()
    source = {line.partition("  #")[0].strip() for line in source.splitlines()}
    assert {line.strip() for line in snippet.splitlines() if line} <= source
