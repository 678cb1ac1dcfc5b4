"""Imports go down only. The floors stand here, from the roof to the ground; with ``-s`` pytest draws the house."""

import ast
import textwrap
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minigpt2"

# Each floor uses those below it. A name stands for a module, or for a package with all that is in it.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("exercises", "report", "training", "verification.verify"),
    ("verification.published",),
    ("tasks", "loss_curve"),
    ("verification.pairs", "verification.compare", "run_folder"),
    ("verification.steps",),
    ("verification.step_mistakes",),
    ("verification.diagnosis",),
    ("verification.search", "verification.in_words"),
    ("verification.mistakes",),
    ("verification.operations",),
    ("verification.check", "reference", "evaluation", "fine_tuning", "measures"),
    ("plain", "__init__"),
    ("verification.trace", "verification.layouts", "verification.rows", "verification.function_recorder"),
    ("verification.__init__", "verification.recorder", "verification.torch_hooks"),
    (
        "model", "gradcheck", "storage.conversion", "data",
        "verification.names", "verification.npz", "verification.dump", "verification.llm_c_state",
        "verification.step_rules", "verification.step_record",
    ),
    ("generation", "config", "tokenizer", "settings"),
    ("sampling", "char_tokenizer", "tokenizer_files", "components"),
    ("vocabulary", "parameters", "parallel", "storage", "verification.maps"),
    ("backend", "progress", "shell", "version", "verification.figures", "verification.other_maps"),
)


def modules():
    """Dict from dotted name within the package to path."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports_of(source, known):
    """The modules of the package that a source imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, name = name.partition(".")
            if package == "minigpt2":
                # minigpt2.data.text.words, minigpt2.data.text, minigpt2.data: the longest that is a module
                while name and name not in known and f"{name}.__init__" not in known:
                    name = name.rpartition(".")[0]
                found.add(name if name in known else f"{name}.__init__".lstrip("."))
    return found


def floor_of(module):
    """The number of a module's floor, 0 on the ground: that of the longest name in FLOORS that it is or belongs to."""
    fitting = [
        (len(name), number)
        for number, names in enumerate(reversed(FLOORS))
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    assert fitting, f"{module} stands on no floor: give it one in FLOORS"
    return max(fitting)[1]


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {module: imports_of(path.read_text(encoding="utf-8"), known) for module, path in known.items()}


def test_imports_go_down_only(graph):
    for number in reversed(range(len(FLOORS))):
        here = [module for module in graph if floor_of(module) == number]
        below = {floor_of(used) for module in here for used in graph[module]} - {number}
        print(f"\n{number:2} -> {', '.join(map(str, sorted(below, reverse=True))) or 'the ground'}")
        print(textwrap.fill(", ".join(here), 110, initial_indent="     ", subsequent_indent="     "))
    up = [
        f"minigpt2/{module.replace('.', '/')}.py imports {used}, which stands on a floor above it"
        for module, names in graph.items()
        for used in sorted(names)
        if floor_of(used) > floor_of(module)
    ]
    assert not up


def test_no_two_modules_import_each_other(graph):
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")
    assert len(order) == len(graph) and order[-1] in ("__main__", "plain")


def test_components_know_only_what_they_are_made_of(graph):
    """A component uses the backend, the cores, the parameter tree and components that it contains."""
    allowed = {
        "attention": {"dropout", "linear", "softmax"},
        "feed_forward": {"linear"},
        "deep_head": {"feed_forward", "linear"},
        "output": {"deep_head", "embedding"},
        "optimizer": {"parameters"},
    }
    components = [module for module in graph if module.startswith("components.")]
    assert len(components) > 15
    for module in components:
        used = {name.removeprefix("components.") for name in graph[module]}
        assert used <= {"backend", "parallel"} | allowed.get(module.removeprefix("components."), set()), module


def test_every_name_on_a_floor_is_there(graph):
    for names in FLOORS:
        for name in names:
            assert any(module == name or module.startswith(f"{name}.") for module in graph), name


def test_imports_are_found_wherever_they_stand():
    known = {"a": 0, "b.__init__": 0, "b.c": 0, "__init__": 0}
    source = "import minigpt2\ndef f():\n    from minigpt2.b import c, d\n    import minigpt2.a as x\nimport numpy"
    assert imports_of(source, known) == {"__init__", "b.c", "b.__init__", "a"}
