"""How fast is minigpt2? It races PyTorch, transformers and tiktoken on this machine.

    python tests/benchmarks                        # everything, about a quarter of an hour
    python tests/benchmarks decode train-4x64      # some of it
    python tests/benchmarks --list

Needs the extras [reference,test,notebooks,benchmark]. Every figure is a ratio of times in the same minute: contestants
take their turns one after the other, in processes of their own, after a warm-up, each with all cores; the median of
the turns counts. The machine's limit, a large product and a large read, is measured in the same turns.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

# Some systems pin OpenBLAS to an older processor's kernels. Users do not, and it reads these when NumPy is imported.
for pinned in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(pinned, None)
os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}

import machine  # noqa: E402
from race import Workload, race, take_turns  # noqa: E402
from tqdm import tqdm  # noqa: E402


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="names from --list (default: all)")
    parser.add_argument("--list", action="store_true", help="show the names")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns of each contestant (default 5)")
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
    if unknown := set(options.workloads) - set(workloads):
        parser.error(f"no such workload: {', '.join(sorted(unknown))} (see --list)")
    run([name for name in workloads if name in options.workloads or not options.workloads], workloads, options)


MACHINE = Workload("the machine's limit", machine.setup, ("machine",), 1, "", tolerance=None)


def all_workloads():
    import long_inputs
    import models
    import scoring
    import texts

    return models.WORKLOADS | scoring.WORKLOADS | texts.WORKLOADS | long_inputs.WORKLOADS


def run(names, workloads, options):
    """Race, write down and show what came out."""
    import report

    results = {}
    total = sum((options.repeats + 1) * (1 + len(workloads[name].contestants)) for name in names)
    with tempfile.TemporaryDirectory() as folder, tqdm(total=total, unit="turn", disable=None) as bar:
        for name in names:

            def on_turn(contestant, name=name):
                bar.set_postfix_str(f"{name}: {contestant}")
                bar.update()

            results[name] = race(name, workloads[name], MACHINE, Path(folder), options.repeats, on_turn)
            tqdm.write(report.row(workloads[name], results[name]), file=sys.stderr)
    options.out.mkdir(parents=True, exist_ok=True)
    for answers in results.values():  # what came out has been compared; it is long
        for turns in (answers[name] for name in answers if name != "machine"):
            for turn in turns:
                del turn["value"]
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = report.markdown(workloads, results, options.repeats)
    (options.out / "results.md").write_text(text)
    report.chart(workloads, results, options.out / "speed.png")
    report.scaling_chart(workloads, results, options.out / "scaling.png")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
