"""Reading text: its lines, its documents, its words."""

import codecs
import glob
import json
import re
import warnings
from itertools import groupby, islice
from pathlib import Path

import regex

from minigpt2.data import pipe
from minigpt2.shell import shell_line
from minigpt2.storage.files import marked_encoding, parse_json
from minigpt2.vocabulary import END_OF_TEXT

PIECE = 2**20  # bytes of a line that are read at a time: text8 is one line of 100 MB
MAX_LINE = 100_000_000  # bytes, where a line is needed as a whole
JSON_LINES = (".jsonl", ".ndjson", ".json")  # endings that leave no doubt; otherwise the first line decides
# Lewis Carroll, "Alice's Adventures in Wonderland", 1865 (Project Gutenberg's book 11, edition 2.9); a paragraph is
# a line. The author died in 1898: it is in the public domain everywhere.
ALICE = Path(__file__).with_name("alice.txt")
WORDS = regex.compile(r"\p{Han}|[[\p{L}\p{M}\p{N}]--\p{Han}]+", regex.V1)

# What may have begun at the end of a piece: <|endoftext|> and the line end behind it, a line end, a character.
BEGUN = re.compile(
    rb"(?:%b|\r|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
    % b"|".join([rb"%b\r?" % re.escape(END_OF_TEXT.encode())] + [
        re.escape(END_OF_TEXT[:n].encode()) for n in range(1, len(END_OF_TEXT))
    ])
)  # fmt: skip
LONGEST_BEGUN = len(END_OF_TEXT) + 1  # bytes

PACKED = {
    b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z",
    b"Rar!\x1a\x07": "rar", **{b"BZh%d1AY&SY" % level: "bzip2" for level in range(1, 10)},
}  # fmt: skip
TOKENS = b"minigpt2 tokens\n"  # with which a token file begins
CONTROL = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # characters that no text has, but numbers read as text
LIKE_JSON = re.compile(r"""\s*\[?\s*\{\s*["'][^"'\n]*["']\s*:""")  # an object, alone or the first of an array


def load_text(sources):
    """The text of several sources, one after another.

    sources: paths of UTF-8 text files, "-" for standard input, or the name of a text: "alice" (in
        this package), or one that is downloaded once, such as "shakespeare"
    returns one str; line ends are kept as they are in the file.
    raises: FileNotFoundError or ValueError, naming file and line, as ``read_pieces``.
    """
    return "".join("".join(read_pieces(source)) for source in sources)


def read_pieces(source):
    """Yield the text of a UTF-8 file in pieces: its lines with their line ends, those above PIECE bytes in parts.

    No character, no line end and no <|endoftext|> is cut in two. A byte order mark is left out.

    source: path of a file or a pipe, "-" for standard input, or the name of a text, as in ``load_text``
    raises: FileNotFoundError when it is missing; ValueError, naming file and line, when it is empty or not UTF-8.
    """
    with open(locate(source), "rb") as file:
        _check_beginning(file, source)
        number, start = 1, 0  # the line of a piece, and the byte in the line at which it begins
        for piece in _cut(file):
            try:
                yield piece.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{source}, line {number}: not UTF-8 text (byte {start + error.start}: {error.reason}); if it is "
                    "text, save it as UTF-8"
                ) from None
            number, start = (number + 1, 0) if piece.endswith(b"\n") else (number, start + len(piece))
        if (number, start) == (1, 0):
            raise ValueError(f"{source}: the file is empty")


def _check_beginning(file, source):
    """Skip a byte order mark; ValueError where the first bytes say that a file is something other than UTF-8 text."""
    head = file.read(1024)
    if head.startswith(TOKENS):
        raise ValueError(
            f"{source} is a token file, which only train reads, expected text: give the text that it was made from"
        )
    packing = next((name for mark, name in PACKED.items() if head.startswith(mark)), None)
    if packing or head[257:262] == b"ustar":
        raise ValueError(f"{source} is packed ({packing or 'tar'}), expected UTF-8 text: unpack it first")
    if encoding := _other_encoding(head):
        raise ValueError(
            f"{source} seems to be {encoding} text, expected UTF-8: save it as UTF-8, or convert it with: "
            f"{shell_line('iconv', '-f', encoding, '-t', 'UTF-8', source)} > NEW"
        )
    if 4 * head.count(0) > len(head):
        raise ValueError(
            f"{source} holds numbers and no text (of its first {len(head)} bytes {head.count(0)} are 0): give the "
            "text, not the tokens that a program has made of it"
        )
    file.seek(len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0)


def _other_encoding(head):
    """UTF-16 or UTF-32 where the first bytes of a file look like it, else None."""
    if marked := marked_encoding(head):
        return marked
    for name, zeros in (("UTF-16LE", head[1::2]), ("UTF-16BE", head[::2])):  # of Latin letters every other byte is 0
        if 2 * zeros.count(0) > len(zeros) and not CONTROL.search(head.decode(name, "ignore")):
            return name
    return None


def _cut(file):
    """The content of an open file as ``read_pieces`` cuts it, in bytes."""
    held = b""
    while piece := file.readline(PIECE):
        piece = held + piece
        begun = BEGUN.search(piece, max(len(piece) - LONGEST_BEGUN, 0))
        end = begun.start() if begun else len(piece)
        held = piece[end:]
        if end:
            yield piece[:end]
    if held:
        yield held


def read_lines(source):
    """Yield the lines of a UTF-8 text file with their line ends, each as a whole.

    source, raises: as in ``read_pieces``, and ValueError, naming file and line, for a line above MAX_LINE bytes.
    """
    number, held, size = 1, [], 0
    for piece in read_pieces(source):
        held.append(piece)
        size += len(piece.encode())
        if size > MAX_LINE:
            raise ValueError(
                f"{source}, line {number}: longer than {MAX_LINE:,} bytes; is it text? If so, break its lines"
            )
        if piece.endswith("\n"):
            yield "".join(held)
            number, held, size = number + 1, [], 0
    if held:
        yield "".join(held)


def read_jsonl(source, fields):
    """Yield (line number, dict) of a file that holds a JSON object per line; blank lines are skipped.

    fields: names that each object must have
    raises: as ``read_lines``, and ValueError, naming file and line, when a line is not a JSON object or lacks a field.
    """
    first = True
    for number, line in enumerate(read_lines(source), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line, f"{source}, line {number}")
        except ValueError as error:
            # An array, or an object over several lines, is what the beginning of a file can be taken for.
            selection = {"[": "'.[]'", "{": "."}.get(line.lstrip()[0]) if first else None
            hint = f", as jq -c {selection} FILE makes them" if selection else ""
            names = " and ".join(f'"{field}"' for field in fields)
            raise ValueError(f"{error}; expected an object with {names} on each line{hint}") from None
        if missing := [field for field in fields if field not in value]:
            raise ValueError(
                f"{source}, line {number}: there is no field {missing[0]!r}, only {', '.join(map(repr, value))}"
            )
        first = False
        yield number, value


def has_json_lines(source):
    """Whether a file holds a JSON object per line: by its ending (JSON_LINES), or by a first line with a "text".

    A file that begins like any other JSON is taken for text, with a warning.
    """
    if locate(source).suffix.lower() in JSON_LINES:
        return True
    first = next((piece for piece in read_pieces(source) if piece.strip()), "")
    value = _first_value(source) if first.lstrip().startswith("{") else None
    if isinstance(value, dict):
        if "text" in value:
            return True
        names = ", ".join(map(repr, value)) or "nothing"
        reason = f'its first line is a JSON object without "text", but with {names}'
    elif LIKE_JSON.match("".join(islice(read_pieces(source), 3))):  # an array, over several lines, as Python writes it
        reason = 'it begins like JSON, but not every line is an object with "text"'
    else:
        return False
    warnings.warn(f"{source} is read as text, since {reason}", stacklevel=2)
    return False


def _first_value(source):
    """What the first line of a file that is not blank means as JSON; None if it is something else."""
    try:
        return json.loads(next(line for line in read_lines(source) if line.strip()))
    except (ValueError, RecursionError):
        return None


def documents(source):
    """Yield the documents of a source, each a str.

    A file of JSON lines (see ``has_json_lines``) holds one per line, in the field "text". Any other text file is cut
    at the text <|endoftext|>; a line end right before or after this marker is removed with it. A file without the
    marker is one document, unchanged. Empty documents are skipped.

    source: as in ``read_pieces``
    raises: as ``read_pieces`` and ``read_jsonl``; ValueError, naming file and line, when "text" is not a text, and
        naming the file when all documents are empty.
    """
    for parts in document_parts(source):
        yield "".join(parts)


def document_parts(source):
    """Yield each document of a source as an iterator over its pieces, for documents that do not fit into memory.

    As with ``itertools.groupby``, asking for the next document ends the one before; the rest is as in ``documents``.
    """
    found = False
    pieces = _pieces_of_jsonl(source) if has_json_lines(source) else _pieces_of_text(source)
    for is_end, parts in groupby((piece for piece in pieces if piece != ""), lambda piece: piece is None):
        if not is_end:
            found = True
            yield parts
    if not found:
        raise ValueError(f"{source}: all documents in it are empty")


def _pieces_of_jsonl(source):
    """The documents of a file of JSON lines, with None after each."""
    for number, value in read_jsonl(source, ["text"]):
        text = value["text"]
        if not isinstance(text, str):
            raise ValueError(f'{source}, line {number}: "text" must be a string, got {type(text).__name__}')
        yield text
        yield None


def _pieces_of_text(source):
    """The pieces of a text file without markers and the line ends next to them, with None for each marker."""
    last = ""  # held back until it is clear whether a marker follows its line end
    for piece in read_pieces(source):
        first, *others = piece.split(END_OF_TEXT)
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
    """The path of a regular file with a source of text: itself, a copy of a pipe's content, or a text with a name.

    raises: FileNotFoundError when there is no such file; ValueError when nothing comes through a pipe; as
        ``minigpt2.storage.hub.corpus``.
    """
    if path := pipe.kept(source):
        return path
    path, name = Path(source), str(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise FileNotFoundError(f"{source} is a folder: give the text files in it")
    if path.exists():
        raise FileNotFoundError(f"{source} is a device, expected a text file or a pipe")
    if name.startswith(("/dev/fd/", "/proc/")):
        raise FileNotFoundError(
            f"{source}: no such pipe; it ended with the command it was made for, so give the same data again, for a "
            "run with: minigpt2 train --resume RUN --data FILE"
        )
    if re.search(r"[*?[]", name):
        matching = "give the files that match it" if glob.glob(name) else "no file matches it"
        raise FileNotFoundError(f"{source} is a pattern, expected a text file: {matching}")
    if name == "alice":
        return ALICE
    from minigpt2.storage import hub  # imports requests, which only a download needs

    if name in hub.CORPORA:
        return hub.corpus(name)
    raise FileNotFoundError(
        f"{source}: no such text file; give a path, 'alice' (built in), or a name for a download: "
        f"{', '.join(hub.CORPORA)}"
    )


def words(text):
    """The lower-cased words of a text, without punctuation; a Chinese character counts as a word.

    returns list of str. Source: Radford et al. 2019, section 4, who compare texts in this form.
    """
    return WORDS.findall(text.lower())
