"""Values across the border between two processes, one of which runs code that nobody has read.

A message is a JSON text and, behind it, the bytes of the arrays in it: numbers, texts, lists, tuples, dicts and arrays
arrive as what they were, and nothing that arrives is ever executed or unpickled. Everything else stays on its side; the
other side gets a ``Remote`` that stands for it, can be handed back, and can be called.
"""

import copy
import json
import math
import re
from dataclasses import asdict

import numpy as np

from minigpt2 import GPT2Config

MOST_TEXT = 32 << 20  # bytes of JSON in a message
MOST_BYTES = 1 << 30  # bytes of arrays in a message
MOST_KEPT = 20_000  # objects that stay on their side; the oldest are forgotten
DTYPE = re.compile(r"[<>|=]?[biufcSU]\d+")  # numbers and texts


class Broken(ValueError):
    """A message that is none."""


class Remote:
    """Stands for an object of the other side."""

    def __init__(self, number, call):
        self.number, self.call = number, call

    def __call__(self, *arguments, **named):
        return self.call(self.number, arguments, named)

    def __deepcopy__(self, memo):
        return self


class RemoteDict(dict):
    """The contents of a dict of a class of its own, such as defaultdict; handed back, it is that object again."""


class RemoteList(list):
    """As ``RemoteDict``, of a list."""


class RemoteTuple(tuple):
    """As ``RemoteDict``, of a tuple, such as a namedtuple."""


KINDS = {"dict": (dict, RemoteDict), "list": (list, RemoteList), "tuple": (tuple, RemoteTuple)}


class Border:
    """One side's end: turns values into messages and back, and holds what stays here.

    call: (number, arguments, named) -> the result of the other side's object with that number
    """

    def __init__(self, call):
        self._call, self._kept, self._count = call, {}, 0

    def pack(self, value):
        """The message of a value, bytes; raises RecursionError where it is nested too deeply."""
        parts = []
        text = json.dumps(self._tree(value, parts, {})).encode("ascii")
        return b"".join([len(text).to_bytes(8, "little"), text, *parts])

    def unpack(self, message):
        """The value of a message; raises Broken."""
        end = 8 + int.from_bytes(message[:8], "little")
        body = memoryview(message)[end:]

        def take(size):
            nonlocal body
            if not 0 <= size <= len(body):
                raise ValueError("bytes are missing")
            taken, body = body[:size], body[size:]
            return taken

        try:
            value = self._value(json.loads(message[8:end]), take, [])
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
            raise Broken(f"{type(error).__name__}: {error}") from None
        if body:
            raise Broken("bytes that belong to nothing")
        return value

    def kept(self, number):
        """This side's object with that number; raises KeyError."""
        return self._kept[number]

    def _keep(self, value):
        self._count += 1
        self._kept[self._count] = value
        self._kept.pop(self._count - MOST_KEPT, None)
        return self._count

    def _tree(self, value, parts, seen):
        """The JSON of a value; its bytes are added to ``parts``.

        seen: id -> (number, value) of the arrays, lists and dicts so far: one array stays one array
        """
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, Remote | RemoteDict | RemoteList | RemoteTuple) and hasattr(value, "number"):
            return {"yours": value.number}
        if type(value) is GPT2Config:
            return {"config": asdict(value)}
        if id(value) in seen:
            return {"same": seen[id(value)][0]}
        if type(value) is bytes:
            parts.append(value)
            return {"bytes": len(value)}
        if isinstance(value, np.ndarray | np.generic) and DTYPE.fullmatch(value.dtype.str):
            parts.append(value.tobytes())
            if isinstance(value, np.generic):
                return {"number": value.dtype.str}
            seen[id(value)] = len(seen), value
            return {"array": value.dtype.str, "shape": value.shape}
        for name, (kind, _) in KINDS.items():  # a RemoteTuple without a number was made of another one, in a check
            if isinstance(value, kind):
                own = {} if type(value) in KINDS[name] else {"kept": self._keep(value)}
                if kind is not tuple:
                    seen[id(value)] = len(seen), value
                items = (item for pair in value.items() for item in pair) if kind is dict else value
                return {name: [self._tree(item, parts, seen) for item in items], **own}
        return {"mine": self._keep(value)}

    def _value(self, tree, take, seen):
        """The value of a JSON tree.

        take: (size) -> so many of the bytes behind the JSON; seen: the arrays, lists and dicts so far
        """
        if not isinstance(tree, dict | list):
            return tree
        if "same" in tree:
            return seen[tree["same"]]
        if "yours" in tree:
            value = self.kept(tree["yours"])
            return value if callable(value) else _copy(value)
        if "mine" in tree:
            return Remote(int(tree["mine"]), self._call)
        if "config" in tree:
            return GPT2Config(**tree["config"])
        if "bytes" in tree:
            return bytes(take(tree["bytes"]))
        if "number" in tree:
            return _array(tree["number"], (), take)[()]
        if "array" in tree:
            seen.append(_array(tree["array"], tree["shape"], take))
            return seen[-1]
        name = next((name for name in KINDS if name in tree), None)
        made = KINDS[name]["kept" in tree]
        if name == "tuple":
            value = made([self._value(each, take, seen) for each in tree[name]])
        else:
            value = made()
            seen.append(value)
            items = [self._value(each, take, seen) for each in tree[name]]
            value.extend(items) if name == "list" else value.update(zip(items[::2], items[1::2], strict=True))
        if "kept" in tree:
            value.number = int(tree["kept"])
        return value


def _array(name, shape, take):
    if not DTYPE.fullmatch(name):
        raise ValueError(f"no dtype of numbers or texts: {name[:20]!r}")
    dtype, shape = np.dtype(name), tuple(map(int, shape))
    count = math.prod(shape)
    taken = take(count * dtype.itemsize)
    return np.frombuffer(taken, dtype, count).reshape(shape).copy() if taken else np.zeros(shape, dtype)


def _copy(value):
    """A copy, as the checks make one of each argument; of what cannot be copied, the object itself."""
    try:
        return copy.deepcopy(value)
    except Exception:  # somebody's own class
        return value


def write(file, message):
    """Write a message; raises OSError when the other side is gone, Broken when it is too large."""
    if len(message) > MOST_BYTES + MOST_TEXT:
        raise Broken(f"{len(message):,} bytes are too many to hand over")
    file.write(len(message).to_bytes(8, "little"))
    file.write(message)
    file.flush()


def read(file):
    """The next message; raises EOFError when the other side is gone, Broken for what is none."""
    size = int.from_bytes(_exactly(file, 8), "little")
    if not 8 <= size <= MOST_BYTES + MOST_TEXT:
        raise Broken(f"a message of {size:,} bytes")
    message = _exactly(file, size)
    if int.from_bytes(message[:8], "little") > min(MOST_TEXT, size - 8):
        raise Broken("a message whose text is too long")
    return message


def _exactly(file, size):
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data
