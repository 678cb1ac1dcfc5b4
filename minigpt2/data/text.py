"""Reading text: its lines, its documents, its words."""

import re
from itertools import groupby
from pathlib import Path

import regex

from minigpt2.storage.files import parse_json
from minigpt2.vocabulary import END_OF_TEXT

MAX_LINE = 10_000_000  # bytes; a longer line means a broken or binary file, and three copies might not fit in memory
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
    """Yield (line number, dict) of a file that holds a JSON object per line; blank lines are skipped.

    fields: names that each object must have
    raises: as ``read_lines``, and ValueError, naming file and line, when a line is not a JSON object or lacks a field.
    """
    for number, line in enumerate(read_lines(source), 1):
        if not line.strip():
            continue
        value = parse_json(line, f"{source}, line {number}")
        if missing := [field for field in fields if field not in value]:
            raise ValueError(
                f"{source}, line {number}: there is no field {missing[0]!r}, only {', '.join(map(repr, value))}"
            )
        yield number, value


def documents(source):
    """Yield the documents of a source, each a str.

    A file whose name ends in .jsonl holds one per line, in the field "text". Any other text file is cut at the text
    <|endoftext|>; a line end right before or after this marker is removed with it. A file without the marker is one
    document, unchanged. Empty documents are skipped.

    source: path; "shakespeare" stands for tiny Shakespeare, downloaded once
    raises: as ``read_lines`` and ``read_jsonl``; ValueError, naming file and line, when "text" is not a text, and
        naming the file when all documents are empty.
    """
    for parts in document_parts(source):
        yield "".join(parts)


def document_parts(source):
    """Yield each document of a source as an iterator over its lines, for documents that do not fit into memory.

    As with ``itertools.groupby``, asking for the next document ends the one before; the rest is as in ``documents``.
    """
    found = False
    lines = _lines_of_jsonl(source) if Path(source).suffix == ".jsonl" else _lines_of_text(source)
    for is_end, parts in groupby((line for line in lines if line != ""), lambda line: line is None):
        if not is_end:
            found = True
            yield parts
    if not found:
        raise ValueError(f"{source}: all documents in it are empty")


def _lines_of_jsonl(source):
    """The documents of a .jsonl file, with None after each."""
    for number, value in read_jsonl(source, ["text"]):
        text = value["text"]
        if not isinstance(text, str):
            raise ValueError(f'{source}, line {number}: "text" must be a string, got {type(text).__name__}')
        yield text
        yield None


def _lines_of_text(source):
    """The lines of a text file without markers and the line ends next to them, with None for each marker."""
    last = ""  # held back until it is clear whether a marker follows its line end
    for line in read_lines(source):
        first, *others = line.split(END_OF_TEXT)
        if others and not first:
            last = re.sub(r"\r?\n\Z", "", last)
        yield last
        last = first
        for text in others:
            yield last
            yield None
            last = "" if text in ("\n", "\r\n") else text
    yield last


def locate(source):
    """The path of a source of text; "shakespeare" is downloaded once.

    raises: FileNotFoundError when there is no such file.
    """
    path = Path(source)
    if str(source) == "shakespeare" and not path.exists():
        from minigpt2.storage import hub  # imports requests, which only a download needs

        path = hub.corpus("shakespeare")
    if not path.is_file():
        raise FileNotFoundError(f"{source}: no such text file; give a path, or 'shakespeare' for a download")
    return path


def words(text):
    """The lower-cased words of a text, without punctuation; a Chinese character counts as a word.

    returns list of str. Source: Radford et al. 2019, section 4, who compare texts in this form.
    """
    return WORDS.findall(text.lower())
