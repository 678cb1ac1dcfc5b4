"""Text in, batches out: reading files, splitting them, and cutting random windows.

Shapes: B batch, T time (tokens).
"""

from pathlib import Path

import numpy as np


def load_text(sources):
    """The text of several sources, one after another.

    sources: paths of UTF-8 text files; "shakespeare" stands for tiny Shakespeare, downloaded once
    returns one str; line ends are kept as they are in the file.
    raises: FileNotFoundError or ValueError, naming the source, when it is missing, empty or not UTF-8.
    """
    return "".join(_read(source) for source in sources)


def _read(source):
    path = Path(source)
    if str(source) == "shakespeare" and not path.exists():
        from minigpt2 import hub  # imports requests, which only a download needs

        path = hub.corpus("shakespeare")
    if not path.is_file():
        raise FileNotFoundError(f"{source}: no such text file; give a path, or 'shakespeare' for a download")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start}: {error.reason})") from None
    if not text:
        raise ValueError(f"{path}: the file is empty")
    return text


def split(text, train_share=0.9):
    """The first 90 % of the characters to train on, the last 10 % to validate on (nanoGPT's split)."""
    boundary = int(train_share * len(text))
    return text[:boundary], text[boundary:]


def random_windows(tokens, B, T, rng):
    """A batch of B runs of T tokens from random places, and the tokens that follow each of theirs.

    tokens: (N,) integer array; rng: numpy.random.Generator
    returns ids (B, T) and targets (B, T): ids moved on by one.
    raises: ValueError when there are not T + 1 tokens.
    """
    if len(tokens) < T + 1:
        raise ValueError(
            f"the text has {len(tokens)} tokens, but a window of {T} and the one after it need {T + 1}; "
            "use a longer text or a smaller block size"
        )
    starts = rng.integers(0, len(tokens) - T, B)
    windows = tokens[starts[:, None] + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]
