"""How fast is minigpt2? It races PyTorch, transformers and tiktoken on this machine.

    python tests/benchmarks                        # everything: half an hour or more
    python tests/benchmarks decode train-4x64      # some of it
    python tests/benchmarks --list
    python tests/benchmarks --kernels avx2         # every library held to AVX2, to compare with such a processor
    python tests/benchmarks --join FOLDER FOLDER   # two runs with different kernels in one table and one picture

Needs the extras [reference,test,notebooks]. Every figure is a ratio of times in the same minute: contestants
take their turns one after the other, in processes of their own, after a warm-up, each with all cores; the median of
the turns counts. The machine's limit, a large product and a large read, is measured in the same turns. Where a
contestant's lowest and highest time differ by more than a factor 1.5, turns of all are repeated, at most as many again.
Some races are run again beside a process that keeps one core busy; a small training is run alone and two at once.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import kernels
import machine
from race import Workload, race, take_turns
from tqdm import tqdm

os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="names from --list (default: all)")
    parser.add_argument("--list", action="store_true", help="show the names")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns of each contestant (default 5)")
    parser.add_argument("--kernels", choices=("auto", "avx2"), default="auto",
                        help="auto: what the machine has (default); avx2: no library uses anything newer")  # fmt: skip
    parser.add_argument("--join", nargs=2, type=Path, metavar="FOLDER",
                        help="race nothing; put the results.json of two runs side by side")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), metavar="FOLDER",
                        help="for results.json, results.md and the pictures (default build/benchmarks)")  # fmt: skip
    parser.add_argument("--turns-of", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    workloads = all_workloads()
    if options.turns_of:
        workload, name, folder = options.turns_of
        return take_turns((workloads | {"machine": MACHINE})[workload], name, folder)
    if options.list:
        return print(*(f"{name:16} {workload.title}" for name, workload in workloads.items()), sep="\n")
    if options.join:
        runs = [json.loads((folder / "results.json").read_text()) for folder in options.join]
        return show(workloads, runs, options.out)
    if unknown := set(options.workloads) - set(workloads):
        parser.error(f"no such workload: {', '.join(sorted(unknown))} (see --list)")
    try:
        run([name for name in workloads if name in options.workloads or not options.workloads], workloads, options)
    except RuntimeError as error:
        sys.exit(f"{parser.prog}: {error}")


MACHINE = Workload("the machine's limit", machine.setup, ("machine",), 1, "", tolerance=None)


def all_workloads():
    import long_inputs
    import models
    import page
    import scoring
    import texts

    return models.WORKLOADS | scoring.WORKLOADS | texts.WORKLOADS | long_inputs.WORKLOADS | page.WORKLOADS


def run(names, workloads, options):
    """Race, write down and show what came out."""
    import report

    found = kernels.hold(options.kernels) | {"repeats": options.repeats, "races": {}}
    print(f"Kernels, {found['line']}", file=sys.stderr)
    total = sum((options.repeats + 1) * (1 + len(workloads[name].contestants)) for name in names)
    with tempfile.TemporaryDirectory() as folder, tqdm(total=total, unit="turn", disable=None) as bar:
        for name in names:
            workload = workloads[name]

            def on_turn(contestant, name=name):
                bar.set_postfix_str(f"{name}: {contestant}")
                bar.update()

            found["races"][name] = race(name, workload, MACHINE, Path(folder), options.repeats, on_turn)
            bar.total += found["races"][name]["repeated"] * (1 + len(workload.contestants))
            tqdm.write(report.row(name, workload, found["races"][name], found["level"]), file=sys.stderr)
    for its_race in found["races"].values():  # what came out has been compared; it is long
        for turns in (turns for name, turns in its_race["turns"].items() if name != "machine"):
            for turn in turns:
                del turn["value"]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    show(workloads, [found], options.out)
    report.scaling_chart(workloads, found, options.out / "scaling.png")


def show(workloads, runs, out):
    """Print and write the table and the picture of one run, or of two side by side."""
    import report

    out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(workloads, runs)
    (out / "results.md").write_text(text)
    report.chart(workloads, runs, out / "speed.png")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
