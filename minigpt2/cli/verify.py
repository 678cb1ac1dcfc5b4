"""``minigpt2 verify``: check the library against its references."""

import json
import sys

from minigpt2.cli.common import add_command
from minigpt2.progress import write_line
from minigpt2.version import __version__


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "verify", run, "check minigpt2 against numerical differences, PyTorch and published results",
        "minigpt2 verify", "minigpt2 verify --model gpt2 --json",
    )  # fmt: skip
    add = parser.add_argument
    add("--model", metavar="MODEL",
        help="weights to verify too: a folder, or gpt2, ... (default: gpt2 if it has been downloaded)")  # fmt: skip
    add("--debug-state", metavar="FILE",
        help="llm.c's gpt2_124M_debug_state.bin, with --model gpt2: logits, loss, gradients")  # fmt: skip
    add("--benchmarks", metavar="FOLDER",
        help="folder with wiki.test.raw and lambada_test.jsonl, for published perplexities "
        "(with --model gpt2 takes minutes)")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object instead of lines")


def run(options):
    """Check the library against its references and print a line per check; returns exit code 1 if any fails."""
    from minigpt2.verification.verify import verify  # imports requests, for which no --help should wait

    results = []
    for result in verify(options.model, options.debug_state, options.benchmarks):
        results.append(result)
        if not options.json:
            write_line(str(result), sys.stdout)
            sys.stdout.flush()
    failed = [result.name for result in results if result.verdict == "FAILED"]
    skipped = sum(result.verdict == "skipped" for result in results)
    if options.json:
        checks = [result.to_dict() for result in results]
        print(json.dumps({"minigpt2": __version__, "passed": not failed, "checks": checks}, indent=2))
    else:
        ok = len(results) - skipped - len(failed)
        print(f"{len(results)} checks: {ok} ok, {len(failed)} failed, {skipped} skipped")
    return int(bool(failed))
