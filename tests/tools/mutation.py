"""How strong are the tests? Change one operator, constant or axis at a time and see whether they notice.

Run by hand, it is no part of the suite:

    python tests/tools/mutation.py                         # every mutant, half an hour on two cores
    python tests/tools/mutation.py --sample 100 --seed 0   # a random hundred of them
    python tests/tools/mutation.py loss.py --list          # the mutants of one file, without running them

Each mutant runs the fast tests of components, model and optimizer in a process forked from this one, in which
NumPy and PyTorch are imported already. It is killed when a test fails, or when it takes far too long. Survivors and
those that took too long are printed with their line; what cannot be killed stands in EQUIVALENT with the reason.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [
    *(f"components/{name}.py" for name in (
        "linear", "embedding", "position", "layer_norm", "residual", "dropout", "feed_forward", "softmax", "attention",
        "key_value_cache", "loss", "optimizer", "deep_head", "output", "lora",
    )),
    "model.py", "config.py", "parallel.py",
]  # fmt: skip
TESTS = [
    "test_components.py", "test_model.py", "test_optimizer.py", "test_gradcheck.py", "test_head.py", "test_device.py",
    "test_parallel.py",
]  # fmt: skip
TIMEOUT = 180  # seconds; without a change the tests take a sixth of it

# Mutants that no test can kill, because they compute the same: file, how the line begins, what becomes of a part of
# it (None: whatever does), and why.
SPEED = "changes how many numbers are worked on at a time, and no result"
LAST = "in an array of that many dimensions this is the same axis"
EQUIVALENT = [
    ("attention.py", "QUERY_BLOCK =", None, SPEED),
    ("attention.py", "size = QUERY_BLOCK", None, SPEED),
    ("loss.py", "CHUNK =", None, SPEED),
    ("attention.py", "heads = max(1, CHUNK", None, SPEED),
    ("attention.py", "if heads >= H", None, SPEED),
    ("attention.py", "if xp is not np or heads", None, SPEED),
    ("loss.py", "size = max(1, at_a_time", None, SPEED),
    ("optimizer.py", "CHUNK =", None, SPEED),
    ("attention.py", "p = scaled_q", "2", LAST),
    ("attention.py", "if causal and p.shape[2] > 1", "p.shape[2] >= 1", "to a single query nothing is future"),
    ("attention.py", "if causal and p.shape[2] > 1", "3", "to a single query nothing is future"),
    ("attention.py", "@functools.lru_cache", None, SPEED),
    ("attention.py", "dv[some][:, :, keys] +=", "2", LAST),
    ("attention.py", "dprobs = dheads", "2", LAST),
    ("attention.py", "dk[some][:, :, keys] +=", "2", LAST),
    ("loss.py", "highest = rows[some].max", "1", LAST),
    ("loss.py", "log_sum_exp[some] =", "1", LAST),
    ("loss.py", "losses -= label_smoothing", "1", LAST),
    ("loss.py", "target_logit =", "1", "where the target is ignored, any logit will do"),
    ("loss.py", "p[xp.arange(len(p))", "1", "where the target is ignored, the whole row becomes zero"),
    ("deep_head.py", "for layer, gelu, its_out", "False", "the lists are equally long"),
    ("model.py", 'wanted = "finite"', "1", "what is too large to be finite is above 1 as well"),
    ("model.py", "logits, _ = self.forward(ids, causal=causal, keep", "True", "needs more memory, and that is all"),
    ("dropout.py", "mask = (rng.random", "rng.random(x.shape, dtype=xp.float32) > p", "equal once in 16 million times"),
]


def equivalent(mutant):
    file, _, _, line, after = mutant
    return any(
        file.endswith(its_file) and line.startswith(beginning) and its_after in (None, after)
        for its_file, beginning, its_after, _ in EQUIVALENT
    )


SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def mutations(node):
    """Changed copies of one node of a syntax tree."""
    if hasattr(node, "same"):
        return
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        yield changed(node, op=SWAPS[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield changed(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield changed(node, value=not node.value)
        elif isinstance(node.value, int):  # an axis, a dimension, a corner
            yield changed(node, value=node.value + 1)
        elif isinstance(node.value, float):
            yield changed(node, value=node.value * 1.01 if node.value else 1.0)


def changed(node, **fields):
    node = copy.copy(node)
    for name, value in fields.items():
        setattr(node, name, value)
    return node


class Site(ast.NodeTransformer):
    """Visits every place that can be mutated; replaces the one whose number is ``wanted``."""

    def __init__(self, wanted=None):
        self.wanted, self.count, self.line, self.after = wanted, 0, None, None

    def visit(self, node):
        if isinstance(node, ast.Raise):  # what an error says is no arithmetic
            return node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
            for argument in node.args:  # NumPy reads every negative length as "the rest": -2 is -1
                if isinstance(argument, ast.UnaryOp):
                    argument.operand.same = True
        for new in mutations(node):
            self.count += 1
            if self.count - 1 == self.wanted:
                self.line, self.after = node.lineno, ast.unparse(new)
                return ast.copy_location(new, node)
        return self.generic_visit(node)


class Mutated(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Imports one module from a changed syntax tree instead of its file."""

    def __init__(self, name, path, tree):
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None

    def exec_module(self, module):
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def all_mutants(files):
    """(file, number, line number, line, what becomes of it) of every mutant."""
    found = []
    for file in files:
        source = (ROOT / "minigpt2" / file).read_text()
        total = Site()
        total.visit(ast.parse(source))
        for number in range(total.count):
            site = Site(number)
            site.visit(ast.parse(source))
            found.append((file, number, site.line, source.splitlines()[site.line - 1].strip(), site.after))
    return found


def results(mutants, workers):
    """Yield (mutant, "killed", "survived" or "timed out"), with so many forked processes at a time.

    One thread does it all: a process that is forked while another thread holds a lock waits for it for ever.
    """
    waiting, running = list(reversed(mutants)), {}
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            child = os.fork()
            if child == 0:
                run_tests(mutant)
            running[child] = mutant, time.monotonic() + TIMEOUT
        time.sleep(0.02)
        for child, (mutant, deadline) in list(running.items()):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                yield mutant, "killed" if os.waitstatus_to_exitcode(status) else "survived"
            elif time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                yield mutant, "timed out"
            else:
                continue
            del running[child]


def run_tests(mutant):
    import pytest

    file, number = mutant[:2]
    path = ROOT / "minigpt2" / file
    tree = ast.fix_missing_locations(Site(number).visit(ast.parse(path.read_text())))
    name = "minigpt2." + file.removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, Mutated(name, path, tree))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.chdir(ROOT)
    tests = sorted(TESTS, key=lambda test: Path(file).stem not in test)  # those of the file first
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--hypothesis-seed=0"]
    os._exit(int(pytest.main([*options, *(f"tests/{test}" for test in tests)])))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="only files whose path ends like this, e.g. loss.py")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    options = parser.parse_args()
    files = [file for file in FILES if not options.files or file.endswith(tuple(options.files))]
    mutants = all_mutants(files)
    if options.sample:
        mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
    if options.list:
        for file, _, line_number, line, after in mutants:
            print(f"{file}:{line_number}: {line}   ->   {after}")
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import hypothesis  # noqa: F401  imported here once, not in every child
    import numpy  # noqa: F401
    import torch  # noqa: F401
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # its monitor is a thread
    survivors, same = [], 0
    for mutant, result in tqdm(results(mutants, os.cpu_count()), total=len(mutants)):
        if result == "survived" and equivalent(mutant):
            same += 1
            continue
        if result == "survived":
            survivors.append(mutant)
        if result != "killed":
            file, _, line_number, line, after = mutant
            tqdm.write(f"{result}: {file}:{line_number}: {line}   ->   {after}")
    counted = len(mutants) - same
    killed = counted - len(survivors)
    print(f"{len(mutants)} mutants, {same} equivalent; killed {killed} of {counted}, {killed / counted:.1%}")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
