"""A race: contestants do the same work in turns, each in a process of its own.

In turns, because the speed of a shared machine drifts: what is compared ran a second apart. In processes of their
own, because the threads of one library would wait for work beside those of the other, and so that the peak memory
of each can be read. A pause before each turn lets the threads of the one before fall asleep.

A round is one turn of each. What is compared is of one round, so that a noisy turn costs its whole round.
"""

import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PAUSE = 0.3  # seconds
NOISY = 1.5  # the highest over the lowest of a contestant's times, above which a round is repeated


@dataclass(frozen=True)
class Workload:
    """Work that several contestants can do.

    title: for the table
    setup: (contestant, folder, **options) -> turn, called in the contestant's own process. ``turn()`` does the work
        once and returns what came out (a number or a list of them), which must agree between contestants;
        ``turn.reset()``, where there is one, is called before each turn, outside the timing.
    prepare: (folder, **options), called once before: files for all contestants, whose memory counts for none of them
    contestants: names that ``setup`` knows; "minigpt2" is the first
    amount, unit: what one turn does, e.g. 128 "tokens"
    limit: (operations per second, bytes per second) -> seconds that one turn takes at the machine's limit
    options: passed on to ``setup``
    tolerance: relative, for what came out; None where it is not compared
    warm_up: turns that do not count
    busy: whether one more process keeps a core busy meanwhile
    at_once: 2 for work that each contestant does alone and then in two processes at once; ``twice`` names the latter
    series, size: a name that several workloads share and what they differ in, for the cost against the size
    """

    title: str
    setup: Callable
    contestants: tuple
    amount: float
    unit: str
    limit: Callable | None = None
    options: dict = field(default_factory=dict)
    tolerance: float | None = 1e-3
    series: str = ""
    size: float = 0.0
    prepare: Callable | None = None
    warm_up: int = 1
    busy: bool = False
    at_once: int = 1


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
        self.begin()
        return self.end()

    def begin(self):
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def end(self):
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} stopped with exit code {self.process.wait()}; its error is above")
        return json.loads(answer)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def busy_process():
    """Keep one core busy, in a process that ends with the block, or when this process is gone."""
    loop = f"import os\nwhile os.getppid() == {os.getpid()}:\n    sum(range(100_000))"
    process = subprocess.Popen([sys.executable, "-c", loop])
    try:
        yield process
        if process.poll() is not None:
            raise RuntimeError(f"the busy process stopped with exit code {process.returncode}")
    finally:
        process.kill()
        process.wait()


def race(key, workload, machine, folder, repeats, on_turn):
    """Let the contestants of one workload and the machine's limit take ``repeats`` turns each, in turns.

    key: by which a contestant's process finds the workload
    on_turn: called with a contestant's name before each turn
    returns {"turns": {contestant: [answer of each turn]}, "repeated": how many rounds were run again}.
    raises: RuntimeError when a contestant fails, or what came out differs.
    """
    if workload.prepare:
        workload.prepare(folder, **workload.options)
    with ExitStack() as stack:
        if workload.busy:
            stack.enter_context(busy_process())
        contestants = {}
        for its_key, its_workload in (("machine", machine), (key, workload)):
            for name in its_workload.contestants:
                on_turn(name)
                contestants[name] = []
                for _ in range(its_workload.at_once):
                    contestants[name].append(Contestant(its_key, its_workload, name, folder))
                    stack.callback(contestants[name][-1].stop)

        def take_round():
            answers = {}
            for name, (first, *others) in contestants.items():
                on_turn(name)
                answers[name] = first.take_turn()
                if others:
                    answers[twice(name)] = take_turns_at_once([first, *others])
            return answers

        rounds, repeated = quiet_rounds(take_round, repeats)
    turns = {name: [answers[name] for answers in rounds] for name in rounds[0]}
    _compare_values(workload, turns)
    return {"turns": turns, "repeated": repeated}


def twice(name):
    """The name of a contestant's turns in two processes at once."""
    return f"{name}, two at once"


def take_turns_at_once(contestants):
    """The answer of the one that takes longest: by then all the work is done."""
    time.sleep(PAUSE)
    for contestant in contestants:
        contestant.begin()
    return max((contestant.end() for contestant in contestants), key=lambda answer: answer["seconds"])


def quiet_rounds(take_round, repeats):
    """``repeats`` rounds, [{contestant: answer}], and how many more were run, at most as many again.

    While a contestant's times differ too much, one more round is run, and the noisiest of all is dropped.
    """
    rounds, repeated = [take_round() for _ in range(repeats)], 0
    while is_noisy(rounds) and repeated < repeats:
        rounds.append(take_round())
        del rounds[noisiest(rounds)]
        repeated += 1
    return rounds, repeated


def _times(rounds):
    """{contestant: its seconds in each round}; those of the machine's limit are nobody's."""
    return {name: [answers[name]["seconds"] for answers in rounds] for name in rounds[0] if name != "machine"}


def is_noisy(rounds):
    return any(max(times) > NOISY * min(times) for times in _times(rounds).values())


def noisiest(rounds):
    """The index of the round with the turn that is farthest, as a factor, from the median of its contestant."""

    def distance(i):
        return max(abs(math.log(times[i] / statistics.median(times))) for times in _times(rounds).values())

    return max(range(len(rounds)), key=distance)


def _compare_values(workload, turns):
    if workload.tolerance is None:
        return
    ours = turns["minigpt2"][0]["value"]
    for name in workload.contestants:
        theirs = turns[name][0]["value"]
        alike = abs(ours - theirs) <= workload.tolerance * abs(ours) if isinstance(ours, float) else ours == theirs
        if not alike:
            raise RuntimeError(f"{workload.title}: minigpt2 came to {ours}, {name} to {theirs}")


def ratios(turns, name, over="minigpt2"):
    """How many times as long as minigpt2, or another, a contestant took, turn by turn."""
    return [theirs["seconds"] / ours["seconds"] for ours, theirs in zip(turns[over], turns[name], strict=True)]


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
        print(json.dumps({"seconds": seconds, "value": value, "memory": peak_memory()}), file=answers, flush=True)


def peak_memory():
    """Bytes, the most that this process or one of its children has had at a time."""
    children = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    try:  # ru_maxrss of this process begins with the peak of the one that started it
        status = Path("/proc/self/status").read_text()
    except OSError:
        return max(children, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return max(children, 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]))
