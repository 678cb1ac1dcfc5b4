"""``minigpt2 trace``: write every activation, and on request every gradient, of one pass to a file."""

import dataclasses
import math
from pathlib import Path

from minigpt2 import GPT2, Tokenizer, trace
from minigpt2.cli.common import add_command, add_device, add_model, check_folder, flag_of, numbers
from minigpt2.settings import LARGEST
from minigpt2.storage.files import check_replaceable
from minigpt2.verification.llm_c_state import write_debug_state
from minigpt2.verification.step_rules import Settings
from minigpt2.verification.steps import trace_steps
from minigpt2.verification.trace import write_trace

DEFAULTS = Settings()
STEP_FLAGS = (  # named as in ``train``, but for a rate that stays
    ("lr", float, DEFAULTS.lr, "RATE", "highest learning rate"),
    ("beta1", float, DEFAULTS.beta1, "BETA", "AdamW: decay rate of the first moment"),
    ("beta2", float, DEFAULTS.beta2, "BETA", "AdamW: decay rate of the second moment"),
    ("eps", float, DEFAULTS.eps, "X", "AdamW: added to the root"),
    ("weight_decay", float, DEFAULTS.weight_decay, "SHARE", "AdamW: share of a weight, times lr, taken off"),
    ("momentum", float, DEFAULTS.momentum, "MOMENTUM", "SGD's"),
    ("max_norm", float, 0.0, "NORM", "global norm to which the gradient is clipped, 0: never"),
    ("warmup_steps", int, DEFAULTS.warmup_steps, "N", "steps of linear warm-up"),
    ("decay_steps", int, DEFAULTS.decay_steps, "N", "steps until a cosine reaches min_lr, 0: the rate stays"),
    ("min_lr", float, DEFAULTS.min_lr, "RATE", "learning rate at the end of the cosine"),
)


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "trace", run, "write every activation and gradient of one pass to a safetensors file",
        'minigpt2 trace --text "To be, or not to be" --backward -o ours.safetensors',
        "minigpt2 trace --ids 1,2,3 --ids 4,5,6 --steps 3 --lr 1e-3 --max-norm 1 -o ours.safetensors",
    )  # fmt: skip
    add_model(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="TEXT", help="text to run the model on")
    what.add_argument("--ids", metavar="IDS", action="append",
        help="token ids to run the model on, e.g. 15496,11,616; given again: another sequence, of the same length")
    add = parser.add_argument
    add("--targets", metavar="IDS", action="append",
        help="ids of the tokens to predict, -100 where none counts: --targets=-100,7,8, for each --ids "
        "(default: the next token at each position)")  # fmt: skip
    add("--backward", action="store_true", help="write the gradients of all activations and parameters too")
    add("--dtype", choices=["float32", "float64"], default="float32",
        help="precision to compute in (default float32)")  # fmt: skip
    add("--no-weights", action="store_true",
        help="leave out the weights: a smaller file, with which `compare` can name fewer mistakes")  # fmt: skip
    add("--label-smoothing", type=float, default=0.0, metavar="E", help="label smoothing of the loss (default 0)")
    steps = parser.add_argument_group(
        "steps of an optimizer", "written beside the pass, each on the same tokens; the model stays as it is"
    )
    add_to = steps.add_argument
    add_to("--steps", type=int, default=0, metavar="N", help="how many (default none)")
    for name, kind, default, metavar, meaning in STEP_FLAGS:
        add_to(flag_of(name), type=kind, default=default, metavar=metavar, help=f"{meaning} (default {default})")
    add_to("--optimizer", choices=["adamw", "sgd"], default="adamw", help="default adamw")
    add("-o", "--out", required=True, metavar="FILE",
        help="the file to write; .bin: llm.c's debug state, for its test_gpt2.c, with --backward")  # fmt: skip
    add_device(parser)


def run(options):
    """Write the trace, and print how large it is and the loss."""
    path = Path(options.out)
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--out: there is no folder {path.parent} to write {path.name} to")
    check_folder(path.parent, "trace")
    check_replaceable(path)
    if options.ids is not None:
        ids = _sequences(options.ids, "--ids")
    else:
        ids = [Tokenizer.from_pretrained(options.model).encode(options.text)]
    if not ids[0]:
        raise ValueError(f"{'--ids' if options.text is None else '--text'}: there is no token in it; give one or more")
    targets = None if options.targets is None else _sequences(options.targets, "--targets")
    settings = _step_settings(options)
    if options.steps and options.no_weights:
        raise ValueError("--no-weights: the steps of an optimizer begin with the weights; give one of the two")
    model = GPT2.from_pretrained(options.model, options.dtype).to(options.device)
    weights = not options.no_weights and not options.steps  # those of trace_steps are the same
    tensors = trace(model, ids, targets, options.backward, options.label_smoothing, weights)
    metadata = {
        "model": options.model, "config": model.config.to_dict(), "label_smoothing": options.label_smoothing,
    }  # fmt: skip
    if options.steps:
        batch = tensors["ids"], tensors.get("targets")
        if batch[1] is None:
            raise ValueError("--steps: after a single token there is none to predict; give --targets")
        metadata["steps"] = dataclasses.asdict(settings) | {"steps": options.steps}
        tensors |= trace_steps(model, [batch] * options.steps, options.label_smoothing, **dataclasses.asdict(settings))
    if path.suffix == ".bin":
        write_debug_state(path, tensors)
    else:
        write_trace(path, tensors, metadata)
    print(f"{path}: {len(tensors):,} tensors of {tensors['ids'].size} tokens, {options.dtype}, "
          f"{path.stat().st_size / 1e6:,.1f} MB")  # fmt: skip
    if "loss" in tensors:
        print(f"loss {tensors['loss']:.6f} nats per target")
    for step in range(1, options.steps + 1):
        loss, lr, norm = (tensors[f"step.{step}.{name}"] for name in ("loss", "lr", "norm"))
        print(f"step {step}: loss {loss:.6f}, lr {lr:.4g}, norm of the gradient {norm:.6g}")


def _sequences(texts, flag):
    """A list of ids for each text; ValueError where they are not of one length."""
    sequences = [numbers(text, flag) for text in texts]
    if len({len(sequence) for sequence in sequences}) > 1:
        lengths = ", ".join(str(len(sequence)) for sequence in sequences)
        raise ValueError(f"{flag}: sequences side by side have one length, got {lengths}")
    return sequences


def _step_settings(options):
    """The Settings of the flags; ValueError for what ``train`` would refuse as well."""
    if not 0 <= options.steps <= LARGEST:
        raise ValueError(f"--steps must be 0 or more, got {options.steps}")
    values = {name: getattr(options, name) for name, *_ in STEP_FLAGS}
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{flag_of(name)} must be 0 or more and finite, got {value}")
    for name in "beta1", "beta2", "momentum":
        if not values[name] < 1:
            raise ValueError(f"{flag_of(name)} must be below 1, got {values[name]}")
    return Settings(optimizer=options.optimizer, **values | {"max_norm": values["max_norm"] or None})
