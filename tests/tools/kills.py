"""Does training that is killed end in the same bits? Kill it at random moments, resume it, compare every file.

Run by hand, and with twenty kills by test_resume.py:

    python tests/tools/kills.py --kills 100 --seed 0

A run trains in a process that is forked from this one. It counts what it asks of the system (write, flush, rename,
remove, ...) and kills itself with SIGKILL at one of these moments, in a write when half is written; every fifth is
killed from outside, by the clock. Then the run is resumed, at times killed again, and in the end its folder
must hold the very files of a run that was never killed: no more, no less, byte for byte.
"""

import argparse
import itertools
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy reads it

from contextlib import suppress

from tqdm import tqdm, trange

from minigpt2 import run_folder
from minigpt2.settings import TrainingSettings
from minigpt2.storage import files
from minigpt2.training import Trainer

with suppress(ImportError):
    import matplotlib.figure  # noqa: F401  once, and not in every child

TEXTS = {
    "bottles.txt": "".join(f"{n} little green bottles hanging on the wall, {n} little\n" for n in range(60)),
    "verses.txt": "".join(f"verse {n}: the moon, the rain, the bamboo and the {n}th cup of wine.\n" for n in range(60)),
}
BY_THE_CLOCK = "at some time, by the clock"
KILLED = -signal.SIGKILL


def settings_of(folder):
    """A run of a second that draws from everything random: two corpora, windows, dropout."""
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return TrainingSettings(
        data=(f"{folder / 'bottles.txt'}:0.7", f"{folder / 'verses.txt'}:0.3"), vocab_size=270, n_layer=1, n_head=2,
        n_embd=16, block_size=16, batch_size=4, grad_accumulation=2, steps=12, warmup_steps=2, eval_every=4, lr=1e-2,
        dropout=0.1,
    )  # fmt: skip


class Reference:
    """A run that was never killed: the moments that it passed, its time in seconds, and its files."""

    def __init__(self, settings, folder):
        start = time.monotonic()
        code, self.moments = train_in_a_child(settings, folder)
        if code:
            raise RuntimeError(beside(folder, "err").read_text())
        self.seconds, self.files = time.monotonic() - start, files_of(folder)


def kill_and_compare(settings, folder, reference, rng):
    """Train in ``folder``, be killed at least once, and end the run.

    rng: random.Random, which chooses the moments
    returns (names of the moments at which it was killed, names of the files that are not the reference's).
    """
    kills = []
    while not kills:
        shutil.rmtree(folder, ignore_errors=True)  # if the clock came too late
        if rng.random() < 0.2:
            code, _ = train_in_a_child(settings, folder, seconds=rng.uniform(0, reference.seconds))
            kills += [BY_THE_CLOCK] if code == KILLED else []
            continue
        kind = rng.choice(sorted(set(reference.moments)))  # be there one of it or a thousand
        place = rng.choice([place for place, name in enumerate(reference.moments) if name == kind])
        code, moments = train_in_a_child(settings, folder, place)
        if code != KILLED or moments != reference.moments[: place + 1]:
            raise RuntimeError(f"the run did not come to {kind!r} as the reference did: {beside(folder, 'err')}")
        kills.append(kind)
    after_the_beginning = len(reference.moments) - reference.moments.index("rename to settings.json")
    while rng.random() < 0.4:
        code, moments = train_in_a_child(settings, folder, rng.randrange(after_the_beginning))
        kills += [moments[-1]] if code == KILLED else []
    code, _ = train_in_a_child(settings, folder)
    if code:
        return kills, [beside(folder, "err").read_text()]
    files = files_of(folder)
    return kills, sorted(name for name in files | reference.files if files.get(name) != reference.files.get(name))


def files_of(folder):
    """Dict from name to bytes of all files in a run folder but the lock's, which holds a process's number."""
    paths = [path for path in sorted(folder.rglob("*")) if path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def train_in_a_child(settings, folder, place=None, seconds=None):
    """Do in a process of its own what a user does: begin the run, or resume it.

    place: the number of the moment at which it kills itself; seconds: after which it is killed; None: never
    returns its exit code, KILLED if it was, and the names of the moments that it came to.
    """
    log = beside(folder, "moments")
    log.write_bytes(b"")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(beside(folder, "err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            watch(folder, os.open(log, os.O_WRONLY | os.O_APPEND), place)
            begun = (folder / "settings.json").exists()
            (Trainer.resume(folder) if begun else Trainer(settings, folder)).run()
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, log.read_text().splitlines()


def watch(folder, log, place):
    """Write each moment's name to ``log``, a descriptor, and die at number ``place``."""
    numbers, paths = itertools.count(), {}

    def moment(name):
        os.write(log, f"{name}\n".encode())
        if next(numbers) == place:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(module, function, what):
        """Replace a function by one that passes a moment first; ``what`` makes its name of the arguments."""
        original = getattr(module, function)

        def replacement(*arguments, **options):
            if name := what(*arguments):
                moment(name)
            result = original(*arguments, **options)
            if function == "open":
                paths[result] = arguments[0]
            return result

        setattr(module, function, replacement)

    def short(path):
        """A path without what differs from run to run and from step to step."""
        name = os.path.relpath(os.fspath(path), folder) if os.path.isabs(path) else os.fspath(path)
        return re.sub(r"checkpoint-\d+", "checkpoint", re.sub(r"\.[a-z0-9_]{8}\.tmp$", ".tmp", name))

    def creation(path, flags, *_):
        return f"create {short(path)}" if flags & os.O_CREAT else None

    watched(os, "open", creation)
    watched(os, "mkdir", lambda path, *_: f"make folder {short(path)}")
    watched(os, "fsync", lambda descriptor: f"flush {short(paths.get(descriptor, ''))}")
    watched(os, "replace", lambda old, new: f"rename to {short(new)}")
    watched(os, "unlink", lambda path: f"remove {short(path)}")
    watched(os, "rmdir", lambda path: f"remove {short(path)}")

    class File:
        """A file that may die in the middle of a write."""

        def __init__(self, path, *arguments, **options):
            self.file = open(path, *arguments, **options)  # noqa: SIM115  closed as the file that it stands for
            self.name = short(paths.get(path, path) if isinstance(path, int) else path)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, content):
            half = len(content) // 2
            self.file.write(content[:half])
            if half:
                self.file.flush()
            moment(f"half of a write to {self.name}")
            return half + self.file.write(content[half:])

        def writelines(self, lines):
            self.write("".join(lines))

    files.open = run_folder.open = File


def beside(folder, suffix):
    return folder.with_name(f"{folder.name}.{suffix}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example:\n  python tests/tools/kills.py --kills 100 --seed 0",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="runs to kill, some of them twice (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    options = parser.parse_args()
    tqdm.monitor_interval = 0  # its monitor is a thread, and a process with threads should not be forked
    rng, moments, bad = random.Random(options.seed), Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(Path(folder))
        reference = Reference(settings, Path(folder) / "whole")
        for number in trange(options.kills, desc="killing", unit="run", disable=None, leave=False):
            kills, different = kill_and_compare(settings, Path(folder) / f"run-{number}", reference, rng)
            moments.update(kills)
            shutil.rmtree(Path(folder) / f"run-{number}")
            if different:
                bad += 1
                tqdm.write(f"killed at {', then '.join(kills)}: not the same: {', '.join(different)}", file=sys.stderr)
    for name, count in sorted(moments.items()):
        print(f"{count:4}  {name}")
    print(f"{moments.total()} kills, {options.kills} runs, {options.kills - bad} runs ended in the same bits")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
