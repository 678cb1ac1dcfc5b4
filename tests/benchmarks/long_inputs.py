"""The work of a tokenizer on 10 MB that are no ordinary text, against as many bytes of ordinary text.

Ordinary text is the English of ``pydoc_data.topics`` and then the standard library's sources, with the new words that
10 MB of them bring. The bar: no input takes more than three times as long, so that ordinary text takes at least a
third of its time. Texts of which every word is new miss it; they are here to show by how much.
"""

import random
import string

from race import Workload
from texts import encoder, english, source_code

SIZE = 10_000_000  # bytes in UTF-8
UNITS = {  # what is said again and again
    "letter": "a", "accent": "é", "chinese": "好", "emoji": "😀", "space": " ", "newline": "\n", "tab": "\t",
    "separator": "\x1c", "combining": "\u0301", "digit": "7", "dot": ".", "word": "antidisestablishmentarianism",
    "space-newline": " \n", "end-of-text": "<|endoftext|>",
}  # fmt: skip
ALPHABETS = {  # what is drawn from at random
    "one-new-word": string.ascii_lowercase, "digits": string.digits, "punctuation": string.punctuation,
    "white-space": " \t\n\r\u00a0\u2003", "latin-1": "".join(map(chr, range(256))),
}  # fmt: skip


def text_of(kind):
    """A text of about SIZE bytes, the same each time."""
    rng = random.Random(0)
    if kind == "ordinary text":
        return (english() + source_code(SIZE))[:SIZE]
    if kind in UNITS:
        return UNITS[kind] * (SIZE // len(UNITS[kind].encode()))
    if kind in ALPHABETS:
        bytes_each = len(ALPHABETS[kind].encode()) / len(ALPHABETS[kind])
        return "".join(rng.choices(ALPHABETS[kind], k=int(SIZE / bytes_each)))
    if kind == "new-words":
        return "".join(rng.choices(string.ascii_lowercase + "    ", k=SIZE))
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    return "".join(rng.choices(characters, k=SIZE // 4))


def encode(contestant, folder, kind):
    """Encode 10 MB with nothing remembered; comes to the number of tokens."""
    text = text_of(kind if contestant == "minigpt2" else contestant)

    def turn():
        return len(turn.encode(text))

    def reset():
        turn.encode = encoder("minigpt2", folder)

    turn.reset = reset
    return turn


WORKLOADS = {
    f"long-{kind}": Workload(
        f"encode 10 MB: {kind}", encode, ("minigpt2", "ordinary text"), SIZE / 1e6, "MB",
        options={"kind": kind}, tolerance=None,
    )
    for kind in (*UNITS, *ALPHABETS, "new-words", "code-points")
}  # fmt: skip
