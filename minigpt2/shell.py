"""Commands as they are printed for the reader: whatever a file is called, they can be pasted into a shell."""

import os
import shlex
import subprocess


def shell_line(*words, windows=os.name == "nt"):
    """The words of a command as one line, quoted for the shell: cmd on Windows, bash and its like elsewhere."""
    words = [str(word) for word in words]
    return subprocess.list2cmdline(words) if windows else shlex.join(words)


def option(flag, value):
    """The words that give a flag its value; after "=" a value may begin with "-", which otherwise begins a flag."""
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]
