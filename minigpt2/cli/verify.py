"""``minigpt2 verify``: check the library against its references, a line per check."""

import json
import sys

from minigpt2.cli.common import add_command
from minigpt2.version import __version__


def add_parser(commands):
    """The flags of ``minigpt2 verify``."""
    sub = add_command(
        commands, "verify", verify, "check minigpt2 against differences, PyTorch and published answers",
        "minigpt2 verify",
        "minigpt2 verify --model gpt2 --json",
    )  # fmt: skip
    sub.add_argument("--model", metavar="M",
                     help="weights to verify too: a folder, or gpt2, ... "
                     "(default: gpt2 if it has been downloaded)")  # fmt: skip
    sub.add_argument("--debug-state", metavar="FILE",
                     help="llm.c's gpt2_124M_debug_state.bin, with --model gpt2: logits, loss, gradients")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def verify(options):
    """Check the library against its references; exit code 1 if any check fails."""
    from tqdm import tqdm

    from minigpt2.verification.verify import verify

    results = []
    for result in verify(options.model, options.debug_state):
        results.append(result)
        if not options.json:
            tqdm.write(str(result), file=sys.stdout)
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
