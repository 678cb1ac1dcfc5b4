"""What the commands share: their parser, common options, loading a model, and the line that reproduces a result."""

import argparse
import shlex
from pathlib import Path


class Parser(argparse.ArgumentParser):
    """Reports a wrong call as one line and exit code 1, like every other error of the user's."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message):
        raise ValueError(f"{message} (see `{self.prog} --help`)")


def add_command(commands, name, function, description, *examples):
    """A parser for ``minigpt2 name``, which calls function(options); examples are shown at the end of its help."""
    examples = "".join(f"\n  {example}" for example in examples)
    sub = commands.add_parser(name, help=description, description=description, epilog=f"example:{examples}")
    sub.set_defaults(command=function, parser=sub)
    return sub


def add_model(sub):
    """The option that names a model."""
    sub.add_argument(
        "--model", default="shakespeare", metavar="M",
        help="'shakespeare' (built in, default), a folder, or gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2",
    )  # fmt: skip


def add_device(sub):
    """The option that says where to compute."""
    sub.add_argument(
        "--device", choices=["numpy", "cupy"], default="numpy",
        help="where to compute: numpy, the processor (default), or cupy, a CUDA device (needs pip install -e "
        "'.[cupy]'); the last digits may differ",
    )  # fmt: skip


def load(name, device):
    """A model that predicts the next token, and its tokenizer; ValueError for one that guesses masked tokens."""
    from minigpt2 import GPT2, Tokenizer
    from minigpt2.storage.files import read_json

    settings = Path(name) / "settings.json"
    if settings.is_file() and read_json(settings).get("objective") == "mlm":
        raise ValueError(
            f"{name} was trained to guess masked tokens, not the next one; convert it with: minigpt2 train "
            f"--init-from {name} --objective causal --head-layers 4 --out NEW"
        )
    return GPT2.from_pretrained(name).to(device), Tokenizer.from_pretrained(name)


def documents_of(source, part):
    """The documents of a source: "all" of them, or the part on which ``train`` trains or validates."""
    from minigpt2.data import documents, split_documents

    texts = list(documents(source))
    return texts if part == "all" else split_documents(texts)[part == "validation"]


def named(pairs, option, advice):
    """Dict of pairs (name, value); ValueError, with advice, where a name is missing or given twice."""
    values = {}
    for name, value in pairs:
        if not name or name in values:
            raise ValueError(f"{option}: {f'two are called {name!r}' if name else f'{value!r} has no name'}; {advice}")
        values[name] = value
    return values


def integers(text, option):
    """The numbers in a text such as 15496,11,616."""
    try:
        return [int(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"{option} takes whole numbers such as 15496,11,616; got {text!r}") from None


def reproduce(options, **used):
    """The command that gives the same result again, made from the parser's own flags.

    options: as parsed; used: values in the place of those, for example of defaults that the model decided
    returns str. An option without a value, a flag that is not set and the default device are omitted.
    """
    words = ["minigpt2", options.parser.prog.split()[-1]]
    for action in options.parser._actions:  # which argparse offers nowhere in public
        value = used.get(action.dest, getattr(options, action.dest, None))
        if value is None or (action.dest, value) == ("device", "numpy"):
            continue
        values = [str(each) for each in (value if isinstance(value, list | tuple) else [value])]
        if not action.option_strings:
            words += values
        elif isinstance(value, bool):
            negative = isinstance(action, argparse.BooleanOptionalAction) and not value
            if negative or action.const is value or isinstance(action, argparse.BooleanOptionalAction):
                words.append(action.option_strings[-1 if negative else 0])
        elif isinstance(action, argparse._AppendAction):
            words += [word for each in values for word in (action.option_strings[0], each)]
        elif values:
            words += [action.option_strings[0], *values]
    return shlex.join(words)
