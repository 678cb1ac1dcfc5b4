"""The command line: ``minigpt2`` generate, train, eval, report, data, tokenize, trace, verify, compare or convert.

Each command has a file, which holds its flags and, below them, what it does. Exit code 0 on success, 1 on a user's
error with one line on standard error (and where ``compare`` or ``verify`` finds a difference), 130 on Ctrl-C.
"""

import os
import sys

from minigpt2.cli import compare, convert, data, eval, generate, report, tokenize, trace, train, verify
from minigpt2.cli.common import Parser
from minigpt2.version import __version__

COMMANDS = generate, train, eval, report, data, tokenize, trace, verify, compare, convert


def main(arguments=None):
    """Run one command; ``arguments`` are those after the program's name. Returns the exit code."""
    try:
        options = make_parser().parse_args(arguments)
        code = options.run(options)
        sys.stdout.flush()
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader, e.g. `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print("minigpt2: error:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("minigpt2: stopped", file=sys.stderr)
        return 130
    return code or 0


def make_parser():
    """The parser of the whole command line; what it parses has ``run``, the command's function, and its ``parser``."""
    parser = Parser(
        prog="minigpt2",
        description="GPT-2 in plain NumPy: generate text, train, evaluate, look at tokens, verify.",
        epilog='example:\n  minigpt2 generate --prompt "ROMEO:"',
    )
    parser.add_argument("--version", action="version", version=f"minigpt2 {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
