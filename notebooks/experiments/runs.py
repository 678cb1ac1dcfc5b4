"""Training runs that belong together: each a command that anybody can repeat, mostly ``minigpt2 train``.

No figure is taken from a text that something was chosen on: see ``split.py``.
"""

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from minigpt2.run_folder import read_metrics


class Runs:
    """Commands in the order in which they depend on each other, and their results."""

    def __init__(self, folder, jobs=None):
        self.folder, self.commands = Path(folder), {}
        self.jobs = jobs or os.cpu_count()
        self.preparation = []  # lines of a shell to be run first

    def add(self, name, program=("minigpt2", "train"), **flags):
        """A run in ``folder/name`` with the flags of ``minigpt2 train``; lists become several words.

        program: another program with the same flags, a script of this folder: ("python", its path)
        """
        words = [*program, "--out", str(self.folder / name)]
        for flag, value in flags.items():
            values = value if isinstance(value, list) else [value]
            words += [f"--{flag.replace('_', '-')}", *map(str, values)]
        self.commands[name] = words

    def run(self, *names):
        """Run what has not been run, one command on each core: the results then do not depend on the machine's load."""
        left = [name for name in names if not self._finished(name)]
        bar = tqdm(total=len(left), unit="run", disable=None)

        def one(name):
            folder, command = self.folder / name, self.commands[name]
            if (folder / "settings.json").exists():  # it was interrupted
                start = command.index("--out")
                command = [*command[:start], "--resume", str(folder)]
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
            if command[0] == "python":  # a script of this folder
                words = [str(Path(__file__).with_name(Path(command[1]).name)), *command[2:]]
            else:
                words = ["-m", *command]
            result = subprocess.run(
                [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
            )
            if result.returncode:
                raise RuntimeError(f"{shlex.join(command)}: {result.stderr.strip().splitlines()[-1]}")
            (folder / "finished").write_text(shlex.join(self.commands[name]))
            bar.update()

        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(one, left))
        bar.close()

    def _finished(self, name):
        """Whether a run is already there; ValueError when another command made it."""
        path = self.folder / name / "finished"
        if path.exists() and path.read_text() != shlex.join(self.commands[name]):
            raise ValueError(f"{path.parent} was made by another command; remove it, or choose another --out")
        return path.exists()

    def evaluations(self, name):
        """The lines of a run's metrics that hold a validation loss."""
        return [line for line in read_metrics(self.folder / name) if "val_loss" in line]

    def best(self, name):
        """The line of a run's metrics that has the lowest loss per character on the selection text."""
        return min(self.evaluations(name), key=lambda line: line["val_loss_per_character"])

    def shell(self):
        """Every command as a line for a shell, after the number of threads, on which the last digits depend."""
        lines = [shlex.join(words) for words in self.commands.values()]
        return "\n".join(["export OPENBLAS_NUM_THREADS=1", *self.preparation, *lines])

