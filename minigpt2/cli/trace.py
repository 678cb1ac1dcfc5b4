"""``minigpt2 trace``: write every activation, and on request every gradient, of one pass to a file."""

from pathlib import Path

from minigpt2.cli.common import add_command, add_device, add_model, integers


def add_parser(commands):
    """The flags of ``minigpt2 trace``."""
    sub = add_command(
        commands, "trace", trace, "write every activation and gradient of one pass to a safetensors file",
        'minigpt2 trace --text "To be, or not to be" --backward -o ours.safetensors',
    )  # fmt: skip
    add_model(sub)
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="text to run the model on")
    what.add_argument("--ids", help="the same as token ids, e.g. 15496,11,616")
    sub.add_argument("--targets", metavar="IDS",
                     help="tokens that should follow, -100 where none counts: --targets=-100,7,8 "
                     "(default: the next)")  # fmt: skip
    sub.add_argument("--backward", action="store_true", help="the gradients of all activations and parameters too")
    sub.add_argument("--dtype", choices=["float32", "float64"], default="float32",
                     help="precision to compute in (default float32)")  # fmt: skip
    sub.add_argument("--label-smoothing", type=float, default=0.0, metavar="E", help="of the loss (default 0)")
    sub.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    add_device(sub)


def trace(options):
    """Write every activation, and on request every gradient, of one pass to a file."""
    from minigpt2 import GPT2, Tokenizer, trace
    from minigpt2.verification.trace import write_trace

    path = Path(options.output)
    if not path.absolute().parent.is_dir():
        raise ValueError(f"-o: there is no folder {path.parent} to write {path.name} to")
    if options.ids is not None:
        ids = integers(options.ids, "--ids")
    else:
        ids = Tokenizer.from_pretrained(options.model).encode(options.text)
    targets = None if options.targets is None else integers(options.targets, "--targets")
    model = GPT2.from_pretrained(options.model, options.dtype).to(options.device)
    tensors = trace(model, ids, targets, options.backward, options.label_smoothing)
    write_trace(path, tensors, {
        "model": options.model, "config": model.config.to_dict(), "label_smoothing": options.label_smoothing,
    })  # fmt: skip
    print(f"{path}: {len(tensors)} tensors of {tensors['ids'].size} tokens, {options.dtype}, "
          f"{path.stat().st_size / 1e6:,.1f} MB")  # fmt: skip
    print(f"loss {tensors['loss']:.6f} nats per target")
