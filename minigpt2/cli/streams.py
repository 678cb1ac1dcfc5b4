"""The streams of the process: what is printed never stops a command, be it hours of training."""

import os
import sys
import warnings
from contextlib import contextmanager, suppress

from minigpt2.progress import write_line


def open_streams():
    """Make standard output and standard error take any text; a stream that was closed from outside takes it nowhere.

    A file or another program gets UTF-8, whatever the system's own encoding is, unless PYTHONIOENCODING names one; a
    terminal keeps its encoding. A character without a code in it is written as an escape, such as \\u4f60.
    """
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):  # in order: each opens its own descriptor
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in sys.stdout, sys.stderr:
        if not hasattr(stream, "reconfigure"):  # not a stream of the system, such as a notebook's
            continue
        keep = stream.isatty() or os.environ.get("PYTHONIOENCODING")
        strict = stream.errors in ("strict", "surrogateescape")
        stream.reconfigure(
            encoding=stream.encoding if keep else "utf-8", errors="backslashreplace" if strict else stream.errors
        )


def close_streams():
    """Write what is still to be written; drop what cannot be, or Python would report it when it ends."""
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(text):
    """Print a line on standard error, if it can be written there."""
    with suppress(OSError, ValueError):
        write_line(f"minigpt2: {' '.join(text.split())}")


@contextmanager
def warnings_in_one_line():
    """Within the block a warning is one line, without the line of the source that gave it."""

    def show(message, *_):
        complain(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
