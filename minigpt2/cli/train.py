"""``minigpt2 train``: train a model in a run folder, or resume a run."""

import argparse
import dataclasses
import sys

from minigpt2.cli.common import add_command, reproduce
from minigpt2.settings import RUNS, TrainingSettings

SIZES = "n_layer", "n_head", "n_embd", "tokenizer", "vocab_size"  # which a trained model brings along
SETTINGS = {field.name: field for field in dataclasses.fields(TrainingSettings)}


def add_parser(commands):
    """The flags of ``minigpt2 train``."""
    sub = add_command(
        commands, "train", train, "train a model on a text",
        "minigpt2 train --preset nanogpt-cpu --out runs/nano",
        "minigpt2 train --data my.txt --steps 500",
        "minigpt2 train --resume runs/nano",
        "minigpt2 train --data a.txt:0.7 b.txt:0.3 --out runs/mixed",
        "minigpt2 train --init-from runs/mixed --data a.txt:1 b.txt:0 --freeze wte h.0 --patience 3",
        "minigpt2 train --init-from shakespeare --data my.txt --lora-rank 8 --out runs/lora",
        "minigpt2 train --objective mlm --out runs/mlm",
        "minigpt2 train --init-from runs/mlm --head-layers 4 --out runs/converted",
    )  # fmt: skip
    sub.add_argument("--preset", choices=RUNS, help="settings to start from (default shakespeare, the built-in's)")
    sub.add_argument("--out", metavar="RUN", help="new folder for the run (default runs/PRESET)")
    sub.add_argument("--resume", metavar="RUN", help="resume the run in this folder")
    settings = sub.add_argument_group("settings", "they change the preset's; shown are those of 'shakespeare'")
    for name, field in SETTINGS.items():
        lists = {"data": "FILE", "freeze": "PART"}
        kind = {"nargs": "+", "metavar": lists[name]} if name in lists else {"type": field.type, "metavar": "X"}
        shown = " ".join(field.default) if name in lists else field.default
        shown = "none" if shown == "" else shown
        settings.add_argument(
            f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=f"{field.metadata['help']} ({shown})", **kind
        )


def train(options):
    """Train a model in a run folder, or resume a run."""
    from minigpt2.training import Trainer

    given = {name: value for name, value in vars(options).items() if name in SETTINGS}
    if options.resume:
        device = given.pop("device", None)
        if given or options.preset or options.out:
            raise ValueError("--resume continues with the run's own settings; give no others but --device")
        run = Trainer.resume(options.resume, device)
    else:
        preset = options.preset or "shakespeare"
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        settings = dataclasses.replace(RUNS[preset], **given)
        sizes = [name for name in SIZES if name in given]
        if settings.init_from and sizes:
            flag = sizes[0].replace("_", "-")
            raise ValueError(f"--init-from brings its own sizes and tokenizer; omit --{flag}")
        run = Trainer(settings, options.out or f"runs/{preset}")
    print(
        f"{run.model.num_parameters:,} parameters, {run.mixture.train_tokens:,} training tokens; "
        f"everything goes to {run.folder}",
        file=sys.stderr,
    )
    try:
        best = run.run()
    except KeyboardInterrupt:
        print(f"\nstep {run.saved} is saved; resume with: minigpt2 train --resume {run.folder}", file=sys.stderr)
        raise
    if run.out_of_patience:
        print(f"stopped at step {run.step}: {run.stale} evaluations without a lower loss")
    print(f"best validation loss: {best:.4f} {run.unit}")
    for corpus, before, after in run.changes() if run.settings.init_from else ():
        print(f"  {corpus}: {before:.4f} before, {after:.4f} after ({after - before:+.4f})")
    if run.settings.objective == "mlm":
        print(f"continue with: minigpt2 train --init-from {run.folder} --objective causal --head-layers 4 --out NEW")
    else:
        print(f"try it: minigpt2 generate --model {run.folder} --prompt 'The '")
    print("reproduce:", reproduce(options, **_used(run)))


def _used(run):
    """The options that make a run again: its folder, and the settings that are not the defaults."""
    settings = {
        name: getattr(run.settings, name)
        for name, field in SETTINGS.items()
        if getattr(run.settings, name) != field.default and not (run.settings.init_from and name in SIZES)
    }
    return dict.fromkeys(SETTINGS) | settings | {"out": run.folder, "preset": None, "resume": None}
