"""One token per character: the smallest tokenizer there is, and nanoGPT's setting for tiny Shakespeare."""

import os
import reprlib
from collections.abc import Iterable
from pathlib import Path

from minigpt2.storage import files
from minigpt2.vocabulary import check_text, look_up


class CharTokenizer:
    """A vocabulary of characters, with the interface of ``Tokenizer`` and no special tokens.

    characters: str or list of characters, no two alike; the position of each is its id
    raises: ValueError when it is empty, names a character twice, or an entry is not one character.

    ``len(tokenizer)`` is the vocabulary size.
    """

    eos_id = bos_id = None
    eos_ids = special_tokens = added_tokens = ()

    def __init__(self, characters: Iterable[str]):
        self._characters = dict(enumerate(characters))  # id -> character
        for i, character in self._characters.items():
            check_text(character)
            if len(character) != 1:
                raise ValueError(f"expected single characters, got {reprlib.repr(character)} with id {i}")
        self.vocab = {character: i for i, character in self._characters.items()}
        if not self.vocab or len(self.vocab) < len(self._characters):
            raise ValueError(f"expected one or more characters, no two alike, got {reprlib.repr(list(characters))}")

    def __len__(self):
        return len(self._characters)

    def __repr__(self):
        return f"CharTokenizer({len(self):,} characters: {reprlib.repr(''.join(self.vocab))})"

    @property
    def known_ids(self) -> list[int]:
        """The ids that have a character, in order."""
        return list(self._characters)

    def encode(self, text: str, allow_special: bool = False, continues: bool = False) -> list[int]:
        """The ids of the characters of ``text``.

        text: str
        allow_special, continues: no effect, as there are no special tokens and nothing is put before a text
        returns list of ids, one per character.
        raises: TypeError when ``text`` is not a str; ValueError for a character that has no id.
        """
        check_text(text)
        try:
            return [self.vocab[character] for character in text]
        except KeyError as error:
            (character,) = error.args
            position = text.index(character)
            raise ValueError(
                f"character {character!r} (U+{ord(character):04X}) at position {position} is not one of the "
                f"{len(self)} of this vocabulary; train on a text that has it, or use Tokenizer"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``.

        ids: integers, as a list, an array, a generator, ...
        raises: TypeError when an id is not an integer; ValueError when no character has it.
        """
        return "".join(look_up(ids, self._characters))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The text of ``ids`` in UTF-8."""
        return self.decode(ids).encode()

    @classmethod
    def train(cls, text: str | Iterable[str]) -> "CharTokenizer":
        """Take every character that occurs, in the order of code points.

        text: str, or an iterable of str
        raises: TypeError for what is not text; ValueError when there is none.
        """
        characters = set()
        for part in [text] if isinstance(text, str) else text:
            check_text(part)
            characters.update(part)
        if not characters:
            raise ValueError("cannot train a character tokenizer on an empty text")
        return cls(sorted(characters))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> "CharTokenizer":
        """Read the files that ``save_pretrained`` wrote.

        raises: FileNotFoundError when vocab.json is missing; ValueError, naming it, when it is malformed.
        """
        path = Path(folder) / "vocab.json"
        vocab = files.read_json(path)
        if list(vocab.values()) != list(range(len(vocab))) or not all(type(i) is int for i in vocab.values()):
            raise ValueError(f"{path}: expected the ids 0, 1, 2, ... in order")
        try:
            return cls(vocab)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write vocab.json and tokenizer_config.json, which ``Tokenizer.from_pretrained`` can read too.

        folder: made if it is not there
        """
        folder = files.made_folder(folder)
        files.write_json(folder / "vocab.json", self.vocab)
        files.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CharTokenizer"})
