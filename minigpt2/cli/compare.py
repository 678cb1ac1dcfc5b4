"""``minigpt2 compare``: where another implementation parts from ours, and why if it is a classic mistake."""

from minigpt2.cli.common import add_command


def add_parser(commands):
    """The flags of ``minigpt2 compare``."""
    sub = add_command(
        commands, "compare", compare, "find the first tensor in which another implementation differs, and why",
        "minigpt2 compare ours.safetensors theirs.npz --map transformers",
    )  # fmt: skip
    sub.add_argument("ours", help="a file that `minigpt2 trace` wrote")
    sub.add_argument("theirs", help="the other implementation's tensors, .safetensors or .npz")
    sub.add_argument("--rtol", type=float, metavar="X",
                     help="largest difference relative to a tensor's size (default: 5e-5, float64 1e-10)")  # fmt: skip
    sub.add_argument("--atol", type=float, metavar="X", help="differences below are none (default rtol * 1e-6)")
    sub.add_argument("--map", metavar="NAMES",
                     help="what their names stand for: transformers, nanogpt (also minGPT), llm.c, or a JSON file with "
                     '{"their.{i}.name": "h.{i}.our.name", ...}')  # fmt: skip


def compare(options):
    """Print where another implementation parts from ours, and why if it is a classic mistake."""
    from minigpt2.verification.compare import compare
    from minigpt2.verification.names import MAPS, read_map
    from minigpt2.verification.trace import layer_norm_epsilon, read_trace

    names = options.map if options.map is None or options.map in MAPS else read_map(options.map)
    ours, metadata = read_trace(options.ours)
    theirs, _ = read_trace(options.theirs)
    report = compare(ours, theirs, options.rtol, options.atol, names, layer_norm_epsilon(metadata))
    print(report)
    return 0 if report else 1
