"""``minigpt2 train``: train a model in a run folder, or resume a run."""

import argparse
import dataclasses
import math
import re
import sys
from itertools import dropwhile, takewhile
from pathlib import Path

from minigpt2.cli.common import Files, add_command, flag_of
from minigpt2.cli.reproduce import command_line
from minigpt2.data.mixture import name_and_weight
from minigpt2.settings import RUNS, TrainingSettings
from minigpt2.shell import option, shell_line

DEFAULT = "alice"  # the preset
SETTINGS = {field.name: field for field in dataclasses.fields(TrainingSettings)}
LISTS = {"data": Files, "freeze": "extend"}  # settings of one value or more
SIZES = "n_layer", "n_head", "n_embd", "tokenizer", "vocab_size"  # which a trained model brings along
FOLLOWS = {"min_lr": "lr", "warmup_steps": "steps"}  # settings that keep their share of another
CHANGEABLE = "device", "data", "steps"  # what --resume may change
WORD = re.compile(r"[^\W_][^\W_]*")  # letters and digits
PROMPT = 20  # characters at most


def add_parser(commands):
    """Add the command and its flags, one for each field of ``TrainingSettings``."""
    parser = add_command(
        commands, "train", run, "train a model on a text",
        "minigpt2 train",
        "minigpt2 train --preset nanogpt-cpu --out runs/nano",
        "minigpt2 train --data my.txt --steps 500 --out runs/mine",
        "minigpt2 train --resume runs/nano",
        "minigpt2 train --resume runs/nano --steps 3000",
        "minigpt2 train --data a.txt:0.7 b.txt:0.3 --out runs/mixed",
        "minigpt2 train --init-from runs/mixed --data a.txt:1 b.txt:0 --freeze wte h.0 --patience 3 --out runs/a",
        "minigpt2 train --init-from shakespeare --data my.txt --lora-rank 8 --out runs/lora",
        "minigpt2 train --objective mlm --out runs/mlm",
        "minigpt2 train --init-from runs/mlm --head-layers 4 --out runs/converted",
    )  # fmt: skip
    parser.add_argument(
        "--preset", choices=RUNS,
        help="settings to start from: alice (default), a small model and a text that are there at once; shakespeare, "
        "those of the built-in model; nanogpt-cpu, nanoGPT's for a laptop",
    )  # fmt: skip
    parser.add_argument("--out", metavar="RUN", help="new folder for the run (default runs/PRESET)")
    parser.add_argument(
        "--resume", metavar="RUN",
        help="resume the run in this folder; --data says where its data lie now, --steps trains it further",
    )  # fmt: skip
    group = parser.add_argument_group(
        "settings",
        f"each replaces the preset's; the values in parentheses are those of {DEFAULT!r}.\n"
        "--lr alone changes --min-lr in proportion, and --steps alone --warmup-steps",
    )
    for name, field in SETTINGS.items():
        value = getattr(RUNS[DEFAULT], name)
        shown = (" ".join(value) if name in LISTS else value) if value not in ("", ()) else "none"
        kind = {"nargs": "+", "action": LISTS[name]} if name in LISTS else {"type": field.type}
        group.add_argument(
            flag_of(name), default=argparse.SUPPRESS, metavar=field.metadata["metavar"],
            choices=field.metadata["choices"], help=f"{_with_flags(field.metadata['help'])} ({shown})", **kind,
        )  # fmt: skip


def run(options):
    """Train, and print the loss, what it did to each corpus, and what to do next."""
    trainer, notes = _begin(options)
    folder = trainer.folder
    for line in [*_description(options, trainer), *notes]:
        print(line, file=sys.stderr)
    try:
        best = trainer.run()
    except KeyboardInterrupt:
        again = shell_line("minigpt2", "train", *option("--resume", folder))
        print(f"\nstep {trainer.saved} is saved; resume with: {again}", file=sys.stderr)
        raise
    if trainer.out_of_patience:
        print(f"stopped at step {trainer.step}: evaluations in a row without a lower loss: {trainer.stale}")
    if math.isinf(best):
        print(f"no evaluation gave a finite loss, so {folder} has no best model; see the lines above", file=sys.stderr)
    else:
        print(f"best validation loss: {best:.4f} {trainer.unit}")
        for corpus, before, after in trainer.changes() if trainer.settings.init_from else ():
            print(f"  {corpus}: {before:.4f} before, {after:.4f} after ({after - before:+.4f})")
        print(_next_step(trainer))
    print("reproduce:", _again(options, trainer))
    return int(math.isinf(best))


def _begin(options):
    """The Trainer of a new run, or of the one that --resume names; and a line for each value that goes with another."""
    from minigpt2.training import Trainer  # imports requests, for which no --help should wait

    given = {name: value for name, value in vars(options).items() if name in SETTINGS}
    given = {name: tuple(value) if name in LISTS else value for name, value in given.items()}
    if options.resume:
        if given.keys() - set(CHANGEABLE) or options.preset or options.out:
            raise ValueError("--resume keeps the run's own settings; give no others but --device, --data and --steps")
        return Trainer.resume(options.resume, **given), []
    preset = options.preset or DEFAULT
    scaled = _scaled(given, RUNS[preset])
    try:
        settings = dataclasses.replace(RUNS[preset], **given | scaled)
    except ValueError as error:
        raise ValueError(_with_flags(str(error))) from None
    if settings.lora_rank and not settings.init_from:
        raise ValueError("--lora-rank adapts a trained model: give --init-from")
    if settings.tokenizer != "bpe" and "vocab_size" in given:
        raise ValueError(f"--vocab-size belongs to --tokenizer bpe; that of {settings.tokenizer} has a size of its own")
    sizes = [name for name in SIZES if name in given]
    if settings.init_from and sizes:
        raise ValueError(f"--init-from brings its own sizes and tokenizer; omit {flag_of(sizes[0])}")
    notes = [
        f"{flag_of(name)} is {value:g}, in proportion to --{FOLLOWS[name]}; give it for another value"
        for name, value in scaled.items()
    ]
    return Trainer(settings, options.out or f"runs/{preset}"), notes


def _with_flags(message):
    """A message or a help of ``TrainingSettings`` with the flags in place of the settings of the same names."""

    def flag(word):
        return flag_of(word[0]) if word[0] in SETTINGS else word[0]

    return re.sub(r"^\w+(?= must )|\b([a-z]+_[a-z_]+|beta\d)\b", flag, message.removeprefix("training: "))


def _scaled(given, preset):
    """The settings that follow others: where ``given`` has only the other one, the preset's ratio of the two stays."""
    scaled = {}
    for name, other in FOLLOWS.items():
        if other in given and name not in given and given[other] != getattr(preset, other):
            share = getattr(preset, name) / getattr(preset, other) * given[other]
            scaled[name] = round(share) if SETTINGS[name].type is int else float(f"{share:.12g}")
    return scaled


def _description(options, trainer):
    """Lines that say what will happen: the preset, the sizes, and how the learning rate goes."""
    settings, config = trainer.settings, trainer.model.config
    if options.resume:
        origin = f"resuming at step {trainer.step} of {settings.steps:,}"
    else:
        origin = f"preset {options.preset or DEFAULT}" + (f", from {settings.init_from}" if settings.init_from else "")
    warm_up = f"{_number(settings.warmup_steps, 'step')} of warm-up to " if settings.warmup_steps else ""
    rate = f"learning rate: {warm_up}{settings.lr:g}, then a cosine"
    rate += f" to {settings.min_lr:g} at step {settings.decay_end:,}"
    if settings.decay_end < settings.steps:
        rate += f", where it stays until step {settings.steps:,}"
    if settings.warmup_steps >= settings.steps:
        rate += f"; but the run ends at step {settings.steps:,}, within the warm-up"
    return [
        f"{origin}: {_number(config.n_layer, 'block')}, {_number(config.n_head, 'head')}, {config.n_embd} channels, "
        f"{config.vocab_size:,} tokens in the vocabulary; {_number(settings.steps, 'step')} of "
        f"{_number(settings.batch_size * settings.grad_accumulation, 'window')} of {settings.block_size} tokens, "
        f"dropout {settings.dropout:g}, seed {settings.seed}",
        rate,
        f"{trainer.model.num_parameters:,} parameters, {trainer.mixture.train_tokens:,} training tokens from "
        f"{', '.join(settings.data)}; everything goes to {trainer.folder}",
    ]


def _number(n, what):
    return f"{n:,} {what}{'s' * (n != 1)}"


def _next_step(trainer):
    """A line with the command that shows what the run has made."""
    from minigpt2.storage.hub import BUILT_IN  # imports requests

    folder = str(trainer.folder)
    folder = f"./{folder}" if folder in BUILT_IN else folder  # else the model in the package is meant
    if trainer.settings.objective == "mlm":
        words = ["minigpt2", "train", *option("--init-from", folder), "--objective", "causal"]
        return f"continue with: {shell_line(*words, '--head-layers', 4, '--out', 'NEW')}"
    words = ["minigpt2", "generate", *option("--model", folder), *option("--prompt", _prompt(trainer))]
    return f"try it: {shell_line(*words)}"


def _prompt(trainer):
    """A word of the text that was trained on: any tokenizer of the run has the tokens for it."""
    ids = max(trainer.mixture.corpora, key=lambda corpus: corpus.weight).train_ids[:1000].tolist()
    eos = trainer.tokenizer.eos_id
    document = takewhile(lambda i: i != eos, dropwhile(lambda i: i == eos, ids))
    text = trainer.tokenizer.decode(document).replace("\ufffd", "")
    words = WORD.findall(text) or text.split() or [text]
    printable = [word for word in words if word.isprintable()]
    return (printable or words)[0][:PROMPT]


def _differences(settings):
    """The settings that the command must give: dict from name to value, without sizes that come from another model.

    They make the run again; the last digits may differ with another number of BLAS threads.
    """
    values = {name: getattr(settings, name) for name in SETTINGS if not (settings.init_from and name in SIZES)}
    default = RUNS[DEFAULT]
    follow = {name for name, other in FOLLOWS.items() if values[other] != getattr(default, other)}
    if values["decay_steps"] == values["steps"]:
        values["decay_steps"] = 0  # the same
    return {name: value for name, value in values.items() if name in follow or value != getattr(default, name)}


def _again(options, trainer):
    """The command that makes the run again, after a change of folder where its paths begin in another one."""
    settings, start, out = trainer.settings, Path(trainer.started_in), trainer.folder
    names = [name_and_weight(source, start)[0] for source in settings.data] + [settings.init_from, settings.tokenizer]
    relative = [name for name in names if name and not Path(name).is_absolute() and (start / name).exists()]
    change = ""
    if relative and start != Path.cwd():
        change, out = f"{shell_line('cd', start)} && ", out.absolute()
    # The preset is named: the default may be another one in a later version.
    return change + command_line(options, {"preset": DEFAULT, "out": out} | _differences(settings))
