"""Shared by the commands: the parser, common flags, and the reading of models, texts and numbers."""

import argparse
import difflib
import glob
import os
import re
import sys
from pathlib import Path

from minigpt2 import GPT2, Tokenizer
from minigpt2.data import documents, split_documents
from minigpt2.shell import option, shell_line
from minigpt2.storage.files import read_json, why_unwritable

NOT_TEXT = re.compile("[\ud800-\udfff]")  # what Python makes of a byte on the command line that is not text
# Metavars of options that name a file, a folder or a model, none of which is called "": a shell variable was empty.
NAMES = "FILE", "FOLDER", "RUN", "MODEL", "[NAME=]MODEL", "NAME", "FOLDER|FILE"
SYNONYMS = {  # what nanoGPT and transformers call them
    "--learning-rate": "--lr", "--max-iters": "--steps", "--max-steps": "--steps", "--eval-interval": "--eval-every",
    "--gradient-accumulation-steps": "--grad-accumulation", "--grad-clip": "--max-norm", "--dataset": "--data",
    "--out-dir": "--out", "--output-dir": "--out", "--n-positions": "--block-size", "--start": "--prompt",
    "--max-length": "--max-new-tokens", "--length": "--max-new-tokens", "--num-beams": "--beams",
    "--num-return-sequences": "--num-samples", "--model-name-or-path": "--model",
}  # fmt: skip


class UsageError(ValueError):
    """The call itself is wrong: an unknown command or option, a missing argument, a value that is no choice."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong call as one line, like every other error of the user's, and names the nearest word there is."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message):
        """Raise UsageError, where argparse would print the usage and exit."""
        raise UsageError(f"{message} (see `{self.prog} --help`)")

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's, of the whole command line and then of the command's own part; nothing unknown is left over."""
        commands = self._subparsers._group_actions[0].choices if self._subparsers else {}
        args = sys.argv[1:] if args is None else args
        for word in filter(NOT_TEXT.search, args):
            encoding = sys.getfilesystemencoding()
            self.error(f"{word!r} is not {encoding}: terminal and locale must agree on UTF-8; rename such a file")
        for before, word in zip(["", *args], args, strict=False):
            if word == "--" or word in commands:  # what follows is not an option, or the command's own
                break
            if commands and not word.startswith("-"):
                self.error(f"unknown command {word!r}{_nearest(word, commands)}")
            self._check_option(word, before)
        namespace, left_over = super().parse_known_args(args, namespace)
        if left_over := [word for word in left_over if word != "--"]:
            self.error(f"unexpected argument {left_over[0]!r}{self._place_of(left_over[0])}")
        for action in self._actions:
            value = getattr(namespace, action.dest, None)
            if action.metavar in NAMES and "" in (value if isinstance(value, list) else [value]):
                flag = "/".join(action.option_strings) or action.metavar
                self.error(f"argument {flag}: {action.metavar} must not be empty")
        return namespace, left_over

    def _check_option(self, word, before):
        """Report a word that argparse takes for an option which there is not; ``before``: the word in front of it."""
        known, name = self._option_string_actions, word.partition("=")[0]
        if not re.match("-.", word) or " " in word or name in known or self._negative_number_matcher.match(word):
            return
        if not word.startswith("--"):
            if word[:2] in known:  # -oFILE is the option -o
                return
            if before in known and known[before].nargs != 0:
                self.error(f"a value that begins with - is written after an equals sign: {before}={word}")
        if not re.match("-[0-9.]", word):
            wanted = "--" + name.lstrip("-").replace("_", "-")
            options = [each for each in known if each.startswith("--")]
            synonym = SYNONYMS.get(wanted)
            self.error(f"unknown option {name}{_nearest(synonym if synonym in options else wanted, options)}")

    def _place_of(self, word):
        """"; ..." that says where a word belongs that is no option's value, "" if nobody can know."""
        if "--data" in self._option_string_actions and Path(word).is_file():
            return f"; did you mean --data {word}?"
        takes_one = any(action.option_strings == [] and action.nargs == "?" for action in self._actions)
        return "; a text of several words stands in quotes" if takes_one else ""


def _nearest(word, known):
    """"; did you mean ...?" with the known word that begins like this one or is most like it, "" if none is."""
    known = list(known)
    near = [name for name in known if name.startswith(word)] or difflib.get_close_matches(word.lower(), known)
    return f"; did you mean {near[0]}?" if near else ""


class Files(argparse.Action):
    """A flag for one file or more: given again it adds to them, and a pattern that no shell has expanded is expanded.

    (Windows' shells leave *.txt to the program.)
    """

    def __call__(self, parser, namespace, values, option_string=None):
        names = list(getattr(namespace, self.dest, None) or ())
        for name in values:
            found = [] if os.path.exists(name) else sorted(filter(os.path.isfile, glob.glob(name, recursive=True)))
            names += found or [name]
        setattr(namespace, self.dest, names)


def add_command(commands, name, run, description, *examples):
    """Add a command to the parser of all.

    run: (options) -> exit code, or None for 0; description: a line; examples: lines, each a call
    returns the command's own parser, to which it adds its flags.
    """
    epilog = "\n  ".join(["example:", *examples])
    parser = commands.add_parser(name, help=description, description=description, epilog=epilog)
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_model(parser):
    """Add the flag --model."""
    parser.add_argument(
        "--model", default="shakespeare", metavar="MODEL",
        help="'shakespeare' (built in, default), a folder, a name (gpt2, gpt2-medium, gpt2-large, gpt2-xl, "
        "distilgpt2), or OWNER/NAME of a GPT-2 on Hugging Face's hub",
    )  # fmt: skip


def add_device(parser):
    """Add the flag --device."""
    parser.add_argument(
        "--device", choices=["numpy", "cupy"], default="numpy",
        help="where to compute: numpy, the processor (default), or cupy, a CUDA device (pip install "
        "-e '.[cupy]'); the last digits may differ",
    )  # fmt: skip


def load(name, device):
    """A model that predicts the next token, and its tokenizer; ValueError for one that predicts masked tokens."""
    settings = Path(name) / "settings.json"
    if settings.is_file() and read_json(settings).get("objective") == "mlm":
        convert = shell_line("minigpt2", "train", *option("--init-from", name), "--objective", "causal")
        raise ValueError(
            f"{name} was trained to guess masked tokens, not the next one; convert it with: {convert} "
            "--head-layers 4 --out NEW"
        )
    return GPT2.from_pretrained(name).to(device), Tokenizer.from_pretrained(name)


def documents_of(source, part):
    """The documents of a source: "all" of them, or the part on which ``train`` trains, or the one for "validation"."""
    texts = list(documents(source))
    return texts if part == "all" else split_documents(texts)[part == "validation"]


def by_name(pairs, flag, advice):
    """A dict of (name, value) pairs; ValueError, with ``advice``, where a name is empty or occurs twice."""
    named = {}
    for name, value in pairs:
        if not name or name in named:
            raise ValueError(f"{flag}: {f'two are called {name!r}' if name else f'{value!r} has no name'}; {advice}")
        named[name] = value
    return named


def check_folder(path, content):
    """Raise ValueError where --out cannot be made or written; ``content`` is a word for what goes into it."""
    if reason := why_unwritable(path):
        raise ValueError(f"--out: nothing can be written to {path} ({reason}); give another folder for the {content}")


# Names in a folder with a model, a run or a vocabulary, all of which depend on the vocabulary that is there.
DEPENDENT = (
    "config.json", "settings.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model.bin", "checkpoint-*",
    "vocab.json", "merges.txt", "encoder.json", "vocab.bpe", "tokenizer*.json", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip


def check_new_vocabulary(path):
    """Raise ValueError as ``check_folder``, and where --out already holds what a new vocabulary would spoil."""
    check_folder(path, "vocabulary")
    if found := next((name for pattern in DEPENDENT for name in sorted(Path(path).glob(pattern))), None):
        raise ValueError(
            f"--out: {path} already holds a model or a vocabulary ({found.name}), which a new vocabulary would spoil; "
            f"choose a new folder, or use the vocabulary that is there with --model {path}"
        )


def flag_of(name):
    """The flag of an option that Python code calls ``name``."""
    return f"--{name.replace('_', '-')}"


def numbers(text, flag="--ids"):
    """The whole numbers in a text, which commas or spaces separate; ValueError for anything else."""
    try:
        return [int(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"{flag} takes whole numbers such as 15496,11,616; got {text!r}") from None
