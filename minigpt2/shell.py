"""Commands as they are printed for the reader: whatever a file is called, they can be pasted into a shell."""

import os
import re
import shlex
import subprocess

WINDOWS = os.name == "nt"

PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)  # what no shell takes for anything but text


def shell_line(*words, windows=WINDOWS):
    """The words of a command as one line, quoted for the shell: cmd on Windows, bash and its like elsewhere."""
    words = [str(word) for word in words]
    return " ".join(map(_quoted_for_cmd, words)) if windows else shlex.join(words)


def option(flag, value):
    """The words that give a flag its value; after "=" a value may begin with "-", which otherwise begins a flag."""
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def _quoted_for_cmd(word):
    """A word as programs on Windows take it apart, in quotes also where cmd would see a command in it, such as a&b."""
    quoted = subprocess.list2cmdline([word])
    if PLAIN.fullmatch(word) or quoted.startswith('"'):
        return quoted
    end = word[len(word.rstrip("\\")) :]  # backslashes count twice before a quote
    return f'"{quoted}{end}"'
