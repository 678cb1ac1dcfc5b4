"""``minigpt2 compare``: find the first tensor in which another implementation differs, and why."""

from pathlib import Path

from minigpt2.cli.common import add_command
from minigpt2.verification.compare import compare
from minigpt2.verification.names import MAPS, read_map
from minigpt2.verification.trace import layer_norm_epsilon, read_trace


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "compare", run, "find the first tensor in which another implementation differs, and why",
        "minigpt2 compare ours.safetensors theirs.npz --map transformers",
    )  # fmt: skip
    add = parser.add_argument
    add("ours", help="a file that `minigpt2 trace` wrote")
    add("theirs", help="the other implementation's tensors, .safetensors or .npz, or llm.c's debug state")
    add("--rtol", type=float, metavar="X",
        help="largest difference allowed, relative to a tensor's size (default: 5e-5, float64 1e-10)")  # fmt: skip
    add("--atol", type=float, metavar="X", help="smaller differences are ignored (default rtol * 1e-6)")
    add("--map", metavar="NAMES",
        help="what their names stand for: transformers, nanogpt (also minGPT), llm.c, or a JSON file with "
        '{"their.{i}.name": "h.{i}.our.name", ...}')  # fmt: skip


def run(options):
    """Print where the other implementation first differs from ours, and why if it is a classic mistake.

    returns exit code 1 if there is a difference.
    """
    names = options.map
    if names is not None and names not in MAPS:
        if not Path(names).exists():
            raise ValueError(f"--map: {names} is no file; give {', '.join(MAPS)}, or a JSON file of names")
        names = read_map(names)
    ours, metadata = read_trace(options.ours)
    theirs, _ = read_trace(options.theirs, ours)
    report = compare(ours, theirs, options.rtol, options.atol, names, layer_norm_epsilon(metadata))
    print(report)
    return 0 if report else 1
