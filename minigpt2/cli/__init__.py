"""The command line: ``minigpt2`` generate, train, eval, report, data, tokenize, trace, verify, compare or convert.

Each command has a file, which holds its flags and, below them, what it does. Exit code 0 on success, also of a bare
``minigpt2``, which shows the help; 2 when the call itself is wrong, such as an unknown option, and 1 on any other error
of the user's, each with one line on standard error; 1 also where ``compare`` or ``verify`` finds a difference; 130 on
Ctrl-C.
"""

import sys

from minigpt2.cli import compare, convert, data, eval, generate, report, tokenize, trace, train, verify
from minigpt2.cli.common import Parser, UsageError
from minigpt2.cli.streams import close_streams, complain, open_streams, warnings_in_one_line
from minigpt2.version import __version__

COMMANDS = generate, train, eval, report, data, tokenize, trace, verify, compare, convert


def main(arguments=None):
    """Run one command; ``arguments`` are those after the program's name. Returns the exit code."""
    open_streams()
    try:
        options = None
        with warnings_in_one_line():
            options = make_parser().parse_args((sys.argv[1:] if arguments is None else arguments) or ["--help"])
            code = options.run(options)
        sys.stdout.flush()
        return code or 0
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        return 0
    except (ValueError, OSError, MemoryError, Warning) as error:  # a warning if PYTHONWARNINGS makes it an error
        complain(f"error: {_in_words(error)}")
        return 2 if isinstance(error, UsageError) else getattr(options, "error_code", 1)
    except KeyboardInterrupt:
        complain("stopped")
        return 130
    finally:
        close_streams()


def _in_words(error):
    """The message of an error; that of the system as "FILE: reason", without its number."""
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str) and not error.filename2:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def make_parser():
    """The parser of the whole command line; what it parses has ``run``, the command's function, and its ``parser``."""
    parser = Parser(
        prog="minigpt2",
        description="GPT-2 in plain NumPy: generate text, train, evaluate, look at tokens, verify.",
        epilog='example:\n  minigpt2 generate --prompt "ROMEO:"\n\nthe options of a command: minigpt2 COMMAND --help',
    )
    parser.add_argument("--version", action="version", version=f"minigpt2 {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
