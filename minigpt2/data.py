"""Text in, batches out: reading files, splitting them, and cutting random windows.

Shapes: B batch, T time (tokens).
"""

import json
from pathlib import Path

import numpy as np
import regex

MAX_LINE = 10_000_000  # bytes; a line above is a broken or binary file, and would not fit into memory thrice
WORDS = regex.compile(r"\p{Han}|[[\p{L}\p{M}\p{N}]--\p{Han}]+", regex.V1)


def load_text(sources):
    """The text of several sources, one after another.

    sources: paths of UTF-8 text files; "shakespeare" stands for tiny Shakespeare, downloaded once
    returns one str; line ends are kept as they are in the file.
    raises: FileNotFoundError or ValueError, naming file and line, as ``read_lines``.
    """
    return "".join("".join(read_lines(source)) for source in sources)


def read_lines(source):
    """Yield the lines of a UTF-8 text file with their line ends.

    source: path; "shakespeare" stands for tiny Shakespeare, downloaded once
    raises: FileNotFoundError when it is missing; ValueError, naming file and line, when it is empty, not UTF-8,
        or has a line above MAX_LINE bytes.
    """
    path = locate(source)
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise ValueError(
                    f"{path}, line {number}: longer than {MAX_LINE:,} bytes; is it text? If so, break its lines"
                )
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: not UTF-8 text (byte {error.start}: {error.reason})"
                ) from None
    if not number:
        raise ValueError(f"{path}: the file is empty")


def read_jsonl(source, fields):
    """Yield (line number, dict) of a file that holds a JSON object per line; blank lines are passed over.

    fields: names that each object must have
    raises: as ``read_lines``, and ValueError, naming file and line, where a line is no JSON object or lacks a field.
    """
    for number, line in enumerate(read_lines(source), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{source}, line {number}: not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise ValueError(f"{source}, line {number}: expected a JSON object {{...}}, got {type(value).__name__}")
        if missing := [field for field in fields if field not in value]:
            raise ValueError(
                f"{source}, line {number}: there is no field {missing[0]!r}, only {', '.join(map(repr, value))}"
            )
        yield number, value


def locate(source):
    """The path of a source of text; "shakespeare" is downloaded once.

    raises: FileNotFoundError when there is no such file.
    """
    path = Path(source)
    if str(source) == "shakespeare" and not path.exists():
        from minigpt2 import hub  # imports requests, which only a download needs

        path = hub.corpus("shakespeare")
    if not path.is_file():
        raise FileNotFoundError(f"{source}: no such text file; give a path, or 'shakespeare' for a download")
    return path


def words(text):
    """The lower-cased words of a text, without punctuation; a Chinese character counts as a word.

    returns list of str. Source: Radford et al. 2019, section 4, who compare texts in this form.
    """
    return WORDS.findall(text.lower())


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
