"""A race: contestants do the same work in turns, each in a process of its own.

In turns, because the speed of a shared machine drifts: what is compared ran a second apart. In processes of their
own, because the threads of one library would wait for work beside those of the other, and so that the peak memory
of each can be read. A pause before each turn lets the threads of the one before fall asleep.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PAUSE = 0.3  # seconds


@dataclass(frozen=True)
class Workload:
    """Work that several contestants can do.

    title: for the table
    setup: (contestant, folder, **options) -> turn, called in the contestant's own process. ``turn()`` does the work
        once and returns what came out (a number or a list of them), which must agree between contestants;
        ``turn.reset()``, where there is one, is called before each turn, outside the timing.
    contestants: names that ``setup`` knows; "minigpt2" is the first
    amount, unit: what one turn does, e.g. 128 "tokens"
    limit: (operations per second, bytes per second) -> seconds that one turn takes at the machine's limit
    bars: {contestant: how many times as long as ours its turn should at least take}
    options: passed on to ``setup``
    tolerance: relative, for what came out; None where it is not compared
    warm_up: turns that do not count
    series, size: a name that several workloads share and what they differ in, for the cost against the size
    """

    title: str
    setup: Callable
    contestants: tuple
    amount: float
    unit: str
    limit: Callable | None = None
    bars: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    tolerance: float | None = 1e-3
    series: str = ""
    size: float = 0.0
    warm_up: int = 1


class Contestant:
    """The parent's side of a process that waits for its turns."""

    def __init__(self, key, workload, name, folder):
        command = [sys.executable, str(Path(__file__).parent), "--turns-of", key, name, str(folder)]
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workload.warm_up):
            self.take_turn()

    def take_turn(self):
        """{"seconds", "value", "memory"} of one turn."""
        time.sleep(PAUSE)
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} stopped with exit code {self.process.wait()}; its error is above")
        return json.loads(answer)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def race(key, workload, machine, folder, repeats, on_turn):
    """Let the contestants of one workload and the machine's limit take ``repeats`` turns each, in turns.

    key: by which a contestant's process finds the workload
    on_turn: called with a contestant's name before each turn
    returns {contestant: [answer of each turn]}.
    raises: RuntimeError when a contestant fails, or what came out differs.
    """
    contestants = []
    turns = {}
    try:
        for its_key, its_workload in (("machine", machine), (key, workload)):
            for name in its_workload.contestants:
                on_turn(name)
                contestants.append(Contestant(its_key, its_workload, name, folder))
                turns[name] = []
        for _ in range(repeats):
            for contestant in contestants:
                on_turn(contestant.name)
                turns[contestant.name].append(contestant.take_turn())
    finally:
        for contestant in contestants:
            contestant.stop()
    _compare_values(workload, turns)
    return turns


def _compare_values(workload, turns):
    if workload.tolerance is None:
        return
    ours = turns["minigpt2"][0]["value"]
    for name in workload.contestants:
        theirs = turns[name][0]["value"]
        alike = abs(ours - theirs) <= workload.tolerance * abs(ours) if isinstance(ours, float) else ours == theirs
        if not alike:
            raise RuntimeError(f"{workload.title}: minigpt2 came to {ours}, {name} to {theirs}")


def ratios(turns, name):
    """How many times as long as minigpt2 a contestant took, turn by turn."""
    return [
        theirs["seconds"] / ours["seconds"] for ours, theirs in zip(turns["minigpt2"], turns[name], strict=True)
    ]


def median_seconds(turns, name):
    """Of a contestant's turns."""
    return statistics.median(turn["seconds"] for turn in turns[name])


def take_turns(workload, name, folder):
    """The child's side: answer every line of standard input with one of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    turn = workload.setup(name, Path(folder), **workload.options)
    for _ in sys.stdin:
        if hasattr(turn, "reset"):
            turn.reset()
        start = time.perf_counter()
        value = turn()
        seconds = time.perf_counter() - start
        kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({"seconds": seconds, "value": value, "memory": kilobytes * 1024}), file=answers, flush=True)
