"""``minigpt2 compare``: find the first tensor in which another implementation differs, and why."""

import contextlib
import io
import json
from pathlib import Path

from minigpt2.cli.common import add_command
from minigpt2.verification.compare import compare
from minigpt2.verification.maps import MAPS, read_map
from minigpt2.verification.step_rules import Settings
from minigpt2.verification.trace import layer_norm_epsilon, read_trace
from minigpt2.version import __version__


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "compare", run, "find the first tensor in which another implementation differs, and why",
        "minigpt2 compare ours.safetensors theirs.safetensors",
        "minigpt2 compare ours.safetensors theirs.npz --accept gelu=erf --explain",
        "minigpt2 compare ours.safetensors theirs.dump --map names.json --first",
    )  # fmt: skip
    parser.description += "; exits with 0 if they agree, 1 if they differ or too little was compared, 2 on an error"
    parser.set_defaults(error_code=2)
    add = parser.add_argument
    add("ours", help="a file that `minigpt2 trace` wrote")
    add("theirs", help="the other implementation's tensors: .safetensors, .npz, a dump of arrays that a program in C "
        "wrote, or llm.c's debug state")  # fmt: skip
    add("--rtol", type=float, metavar="X",
        help="largest difference allowed, relative to a tensor's size (default: 5e-5, float64 1e-10)")  # fmt: skip
    add("--atol", type=float, metavar="X", help="smaller differences are ignored (default rtol * 1e-6)")
    add("--map", action="append", metavar="NAMES",
        help=f"what their names stand for: auto (default) recognises them; {', '.join(MAPS)}; or a JSON file with "
        '{"their.{i}.name": "h.{i}.our.name", ...}; given again, it adds to what is known')  # fmt: skip
    add("--accept", action="append", default=[], metavar="CHOICE",
        help="what differs on purpose, gelu=erf, eps=1e-6, head=untied, ...: the rest is judged from it")  # fmt: skip
    add("--explain", action="store_true", help="show for each mistake the recomputation from their own inputs")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--first", action="store_true", help="no table, only the first difference and what is wrong")
    output.add_argument("--quiet", action="store_true", help="print nothing, the exit code tells")
    output.add_argument("--json", action="store_true", help="print one JSON object")


def run(options):
    """Print where the other implementation first differs from ours, and why.

    returns exit code 1 if there is a difference, or if too little was compared.
    """
    names = [_names(name) for name in options.map or ["auto"]]
    ours, metadata = read_trace(options.ours)
    theirs, others = read_trace(options.theirs, ours)
    if metadata.get("recorded") == "theirs" or ("config" in others and "config" not in metadata):
        raise ValueError(f"{options.ours} is not what `minigpt2 trace` wrote: give that file first, and then theirs")
    with contextlib.redirect_stderr(io.StringIO()) if options.quiet else contextlib.nullcontext():  # no progress
        report = compare(
            ours, theirs, options.rtol, options.atol, names, layer_norm_epsilon(metadata), _smoothing(metadata),
            options.accept, Settings.from_metadata(metadata),
        )  # fmt: skip
    if options.json:
        print(json.dumps({"minigpt2": __version__} | report.to_dict(), indent=2, allow_nan=False))
    elif not options.quiet:
        print(report.summary() if options.first else report)
        if options.explain and report.findings:
            print(f"\n{report.explanation()}")
    return 0 if report else 1


def _names(name):
    """A map of names, or the name of one that is built in."""
    if name == "auto" or name in MAPS:
        return name
    if not Path(name).exists():
        raise ValueError(f"--map: {name} is no file; give auto, {', '.join(MAPS)}, or a JSON file of names")
    return read_map(name)


def _smoothing(metadata):
    """The label smoothing of the trace's loss, from the file's metadata; 0 if they do not say."""
    try:
        return min(max(float(metadata["label_smoothing"]), 0.0), 1.0)
    except (KeyError, ValueError, OverflowError):
        return 0.0
