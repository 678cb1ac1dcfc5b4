"""``minigpt2 trace``: write every activation, and on request every gradient, of one pass to a file."""

from pathlib import Path

from minigpt2 import GPT2, Tokenizer, trace
from minigpt2.cli.common import add_command, add_device, add_model, check_folder, numbers
from minigpt2.storage.files import check_replaceable
from minigpt2.verification.trace import write_trace


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "trace", run, "write every activation and gradient of one pass to a safetensors file",
        'minigpt2 trace --text "To be, or not to be" --backward -o ours.safetensors',
    )  # fmt: skip
    add_model(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="TEXT", help="text to run the model on")
    what.add_argument("--ids", metavar="IDS", help="token ids to run the model on, e.g. 15496,11,616")
    add = parser.add_argument
    add("--targets", metavar="IDS",
        help="ids of the tokens to predict, -100 where none counts: --targets=-100,7,8 "
        "(default: the next token at each position)")  # fmt: skip
    add("--backward", action="store_true", help="write the gradients of all activations and parameters too")
    add("--dtype", choices=["float32", "float64"], default="float32",
        help="precision to compute in (default float32)")  # fmt: skip
    add("--label-smoothing", type=float, default=0.0, metavar="E", help="label smoothing of the loss (default 0)")
    add("-o", "--out", required=True, metavar="FILE", help="the file to write")
    add_device(parser)


def run(options):
    """Write the trace, and print how large it is and the loss."""
    path = Path(options.out)
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--out: there is no folder {path.parent} to write {path.name} to")
    check_folder(path.parent, "trace")
    check_replaceable(path)
    if options.ids is not None:
        ids = numbers(options.ids)
    else:
        ids = Tokenizer.from_pretrained(options.model).encode(options.text)
    if not ids:
        raise ValueError(f"{'--ids' if options.text is None else '--text'}: there is no token in it; give one or more")
    targets = None if options.targets is None else numbers(options.targets, "--targets")
    model = GPT2.from_pretrained(options.model, options.dtype).to(options.device)
    tensors = trace(model, ids, targets, options.backward, options.label_smoothing)
    write_trace(path, tensors, {
        "model": options.model, "config": model.config.to_dict(), "label_smoothing": options.label_smoothing,
    })  # fmt: skip
    print(f"{path}: {len(tensors)} tensors of {tensors['ids'].size} tokens, {options.dtype}, "
          f"{path.stat().st_size / 1e6:,.1f} MB")  # fmt: skip
    if "loss" in tensors:
        print(f"loss {tensors['loss']:.6f} nats per target")
