"""The process in which the answers run: it executes cells, and answers calls of the functions in them.

Started as a script by ``answers``. Whatever happens here, it only ends this process: the judge is another one.
"""

import functools
import io
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent

MEMORY = 4 << 30  # bytes of address space
FILE = 64 << 20  # bytes of any file that is written
PRINTED = 20_000  # characters kept of what a cell or a call prints
STEPS = 20_000  # function calls that are watched in the first call of each function: then it runs at full speed
PACKAGE = "minigpt2"
CELL = re.compile("<(?!frozen)")  # the name of a file that is none: of a cell, or of a text that was executed


def main(path):
    """Serve the judge until it goes away.

    path: folders of modules, added to those of a bare Python
    """
    sys.path += path
    sys.path.insert(0, str(HERE.parent))
    from grading import border, cells
    from minigpt2.exercises import guard

    sys.path.remove(str(HERE.parent))
    requests, replies = _take_over_the_pipes()
    _limit()
    Server(border, cells, guard, requests, replies).serve()


class Server:
    """Executes what the judge asks for, in the namespace of the answers."""

    def __init__(self, border, cells, guard, requests, replies):
        self.wire, self.cells, self.guard = border, cells, guard
        self.requests, self.replies = requests, replies
        self.border = border.Border(self._of_the_judge)
        self.namespace = {"__name__": "__main__", "display": print}  # the only name that a notebook has in addition
        self.watched = set()

    def serve(self):
        """Answer one request after another."""
        while True:
            message = self.wire.read(self.requests)
            request = self.border.unpack(message)
            printed = Printed()
            sys.stdout = sys.stderr = printed
            reply = self._cell(**request) if "source" in request else self._call(message, **request)
            reply["printed"] = printed.getvalue()
            self._answer(reply)

    def _answer(self, reply):
        try:
            message = self.border.pack(reply)
        except (RecursionError, ValueError, MemoryError) as error:
            text = f"what came back cannot be handed over: {error}"
            message = self.border.pack({"error": {"type": "ValueError", "text": text}, "printed": reply["printed"]})
        self.wire.write(self.replies, message)

    def _cell(self, source, name, seconds):
        owner = SimpleNamespace(__code__=SimpleNamespace(co_filename=f"<{name}>"))
        seconds /= self.guard.slowness()
        outcome = self.guard.call(self.cells.run, [source, self.namespace, name], seconds, owner=owner)
        fate = self._fate(outcome)
        return fate if outcome.place.startswith("line ") else {**fate, "place": ""}  # a line of Python's own files

    def _call(self, message, function, arguments, named, seconds):
        try:
            called = self.border.kept(function) if isinstance(function, int) else self.namespace[function]
        except KeyError:
            return {"error": {"type": "NameError", "text": f"name {function!r} is not defined"}, "undefined": True}
        found = set()
        work = called
        if isinstance(function, str) and function not in self.watched:
            self.watched.add(function)
            work = functools.partial(_watched, called, found)
            found |= _library_names(called)
        seconds /= self.guard.slowness()
        outcome = self.guard.call(functools.partial(work, **named), arguments, seconds, owner=called)
        reply = self._fate(outcome)
        if outcome.ended:
            reply["value"] = outcome.value
        if self._written(arguments) != self._written(self.border.unpack(message)["arguments"]):
            reply["changed"] = arguments
        reply["library"] = sorted(found)
        return reply

    def _written(self, value):
        """A value in bytes, the same for equal ones; nothing in it is kept for the judge."""
        return self.wire.Border(None).pack(value)

    def _fate(self, outcome):
        if outcome.late:
            return {"late": True, "place": outcome.place}
        return {"error": _described(outcome.error), "place": outcome.place} if outcome.error else {}

    def _of_the_judge(self, number, arguments, named):
        """Call a function that the judge handed over."""
        request = {"number": number, "arguments": list(arguments), "named": named}
        self.wire.write(self.replies, self.border.pack(request))
        reply = self.border.unpack(self.wire.read(self.requests))
        if "raised" in reply:
            raise RuntimeError(reply["raised"])
        return reply["value"]


class Printed(io.StringIO):
    """What is printed, up to a length."""

    def write(self, text):
        room = PRINTED - self.tell()
        super().write(text[: max(room, 0)])
        return len(text)


def _described(error):
    """An exception in words: its type, its text, and the function that raised it."""
    frame, function = error.__traceback__, ""
    while frame:
        function, frame = frame.tb_frame.f_code.co_name, frame.tb_next
    arguments = [each for each in error.args if type(each) in (str, int, float, bool, tuple)]
    return {
        "type": type(error).__name__,
        "text": str(error.msg if isinstance(error, SyntaxError) else error)[:PRINTED],
        "arguments": arguments if len(arguments) == len(error.args) else None,
        "filename": str(error.filename) if isinstance(error, OSError) and error.filename is not None else None,
        "function": function,
    }


def _watched(function, found, *arguments, **named):
    """Call a function, and add to ``found`` the functions of the library that a cell's own lines call."""
    steps = 0

    def watch(frame, event, _):
        nonlocal steps
        steps += 1
        if steps > STEPS:
            sys.setprofile(None)
        elif event == "call" and frame.f_back and CELL.match(frame.f_back.f_code.co_filename):
            module = frame.f_globals.get("__name__") or ""
            if module.split(".")[0] == PACKAGE and frame.f_code.co_name != "<module>":
                found.add(f"{module}.{frame.f_code.co_qualname}")

    sys.setprofile(watch)
    try:
        return function(*arguments, **named)
    finally:
        sys.setprofile(None)


def _library_names(function):
    """The name of a function of the library itself, in a set; an empty one for the student's own."""
    module = getattr(function, "__module__", None) or ""
    return {f"{module}.{function.__qualname__}"} if module.split(".")[0] == PACKAGE else set()


def _take_over_the_pipes():
    """The judge's requests and the answers to it, away from where a program reads and prints."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    sys.stdin = open(os.devnull)  # noqa: SIM115  as long as the process
    return requests, replies


def _limit():
    """Bound what the process may take; Windows has no such limits."""
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, FILE), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most, most) if hard == resource.RLIM_INFINITY or hard > most else (hard, hard))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
