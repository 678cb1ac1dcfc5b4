"""``minigpt2 train``: train a model in a run folder, or resume a run."""

import argparse
import dataclasses
import sys

from minigpt2.cli.common import add_command
from minigpt2.cli.reproduce import command_line
from minigpt2.settings import RUNS, TrainingSettings

SETTINGS = {field.name: field for field in dataclasses.fields(TrainingSettings)}
LISTS = {"data": "FILE", "freeze": "PART"}  # settings of one value or more
SIZES = "n_layer", "n_head", "n_embd", "tokenizer", "vocab_size"  # which a trained model brings along


def add_parser(commands):
    """Add the command and its flags, one for each field of ``TrainingSettings``."""
    parser = add_command(
        commands, "train", run, "train a model on a text",
        "minigpt2 train --preset nanogpt-cpu --out runs/nano",
        "minigpt2 train --data my.txt --steps 500",
        "minigpt2 train --resume runs/nano",
        "minigpt2 train --data a.txt:0.7 b.txt:0.3 --out runs/mixed",
        "minigpt2 train --init-from runs/mixed --data a.txt:1 b.txt:0 --freeze wte h.0 --patience 3",
        "minigpt2 train --init-from shakespeare --data my.txt --lora-rank 8 --out runs/lora",
        "minigpt2 train --objective mlm --out runs/mlm",
        "minigpt2 train --init-from runs/mlm --head-layers 4 --out runs/converted",
    )  # fmt: skip
    parser.add_argument(
        "--preset", choices=RUNS, help="settings to start from (default shakespeare, those of the built-in model)"
    )
    parser.add_argument("--out", metavar="RUN", help="new folder for the run (default runs/PRESET)")
    parser.add_argument("--resume", metavar="RUN", help="resume the run in this folder")
    group = parser.add_argument_group(
        "settings", "each replaces the preset's; the values in parentheses are those of 'shakespeare'"
    )
    for name, field in SETTINGS.items():
        kind = {"nargs": "+", "metavar": LISTS[name]} if name in LISTS else {"type": field.type, "metavar": "X"}
        value = " ".join(field.default) if name in LISTS else field.default
        text = f"{field.metadata['help']} ({'none' if value == '' else value})"
        group.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=text, **kind)


def run(options):
    """Train, and print the loss, what it did to each corpus, and what to do next."""
    trainer = _begin(options)
    folder = trainer.folder
    print(
        f"{trainer.model.num_parameters:,} parameters, {trainer.mixture.train_tokens:,} training tokens; "
        f"everything goes to {folder}",
        file=sys.stderr,
    )
    try:
        best = trainer.run()
    except KeyboardInterrupt:
        print(f"\nstep {trainer.saved} is saved; resume with: minigpt2 train --resume {folder}", file=sys.stderr)
        raise
    if trainer.out_of_patience:
        print(f"stopped at step {trainer.step}: evaluations in a row without a lower loss: {trainer.stale}")
    print(f"best validation loss: {best:.4f} {trainer.unit}")
    for corpus, before, after in trainer.changes() if trainer.settings.init_from else ():
        print(f"  {corpus}: {before:.4f} before, {after:.4f} after ({after - before:+.4f})")
    if trainer.settings.objective == "mlm":
        print(f"continue with: minigpt2 train --init-from {folder} --objective causal --head-layers 4 --out NEW")
    else:
        print(f"try it: minigpt2 generate --model {folder} --prompt 'The '")
    print("reproduce:", command_line(options, {"out": folder} | _differences(trainer.settings)))


def _begin(options):
    """The Trainer of a new run, or of the one that --resume names."""
    from minigpt2.training import Trainer  # imports requests, for which no --help should wait

    given = {name: value for name, value in vars(options).items() if name in SETTINGS}
    if options.resume:
        device = given.pop("device", None)
        if given or options.preset or options.out:
            raise ValueError("--resume keeps the run's own settings; give no others but --device")
        return Trainer.resume(options.resume, device)
    preset = options.preset or "shakespeare"
    given = {name: tuple(value) if name in LISTS else value for name, value in given.items()}
    settings = dataclasses.replace(RUNS[preset], **given)
    sizes = [name for name in SIZES if name in given]
    if settings.init_from and sizes:
        raise ValueError(f"--init-from brings its own sizes and tokenizer; omit --{sizes[0].replace('_', '-')}")
    return Trainer(settings, options.out or f"runs/{preset}")


def _differences(settings):
    """The settings that are not the default, without sizes that come from another model: dict from name to value.

    They make the run again; the last digits may differ with another number of BLAS threads.
    """
    values = {name: getattr(settings, name) for name in SETTINGS if not (settings.init_from and name in SIZES)}
    return {name: value for name, value in values.items() if value != SETTINGS[name].default}
