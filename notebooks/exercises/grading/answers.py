"""The judge's hold on the process of the answers: cells go in, calls go over, and what hangs or dies is replaced."""

import bdb
import builtins
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from grading import border
from minigpt2.exercises import guard

HERE = Path(__file__).resolve().parent
CELL_SECONDS = 30.0  # of processor time, for each cell
CALL_SECONDS = 10.0  # for each call of a function that belongs to no task
SOONER = 0.9  # of the time that the judge allows: then the process itself says in which line it was
KINDS = (builtins, np.exceptions, np.linalg, bdb)  # modules of exceptions that hints know by their class
INHERITED = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV")
SETTINGS = {  # one thread: several notebooks are graded at once
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
    "MPLBACKEND": "Agg", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1",
}  # fmt: skip


class Answers:
    """The answers of one notebook, in a process of their own.

    limit: seconds, by the clock on the wall, for everything
    seconds: name of a function -> seconds of processor time for one call of it
    """

    def __init__(self, limit, seconds):
        self.limit, self.seconds, self.deadline = limit, seconds, time.monotonic() + limit
        self.library = {}  # name of a function -> the library's functions that it was seen to call
        self.undefined = {}  # name of a function -> why there is none
        self.notes = []  # why calls failed, where that is not to be seen in the answer itself
        self._refused = {}  # name of a function -> makes the error that each further call of it raises
        self._cells, self._process, self._spent = [], None, 0.0
        self._waits = False  # for a reply; if that is so when the next request is made, somebody stopped waiting for it
        self._end = threading.Timer(limit, lambda: self._process and self._process.kill())
        self._end.daemon = True
        self._end.start()

    def cell(self, name, source):
        """Execute a cell; returns (what it printed, what went wrong in words or "")."""
        late = f"stopped after {CELL_SECONDS:g} seconds"
        outcome = guard.call(self._ask, [self._request(name, source)], CELL_SECONDS, owner=self)
        if not outcome.ended:  # it will not be executed again where the process has to be replaced
            self._discard()
            return "", late if outcome.late else str(outcome.error)
        reply, error = outcome.value, outcome.value.get("error")
        place = f" ({reply['place']})" if reply.get("place") else ""
        if reply.get("late"):
            self._discard()
            return reply["printed"], late + place
        self._cells.append((name, source))
        return reply["printed"], f"{error['type']}: {error['text']}{place}" if error else ""

    def proxy(self, name):
        """A function that calls the answers' function of that name."""
        return Proxy(self, name)

    def processor_time(self):
        """Seconds of the processor that the process has used, those of its start not counted."""
        return self._spent + (self._process.used() if self._process else 0.0)

    def call(self, target, arguments, named):
        """Call a function over there: by its name, or by the number of an object.

        One that was stopped, or ended its process, is not called again.
        raises: the error that it raised, as far as there is one of that kind here; guard.Stopped where its time was up;
            RuntimeError where the process ended. Each with ``place``, the line of the answer.
        """
        if target in self._refused:
            error = self._refused[target]()
            if isinstance(error, RuntimeError):
                self.notes.append(f"in a call of {target}, {error}")
            raise error
        seconds = _allowed(self.seconds.get(target, CALL_SECONDS))
        self._refused[target] = guard.Stopped  # raised by guard in what follows, at any place and several times
        try:
            reply = self._ask({"function": target, "arguments": list(arguments), "named": named, "seconds": seconds})
        except RuntimeError as error:
            told = str(error)
            self.notes.append(f"in a call of {target}, {told}")
            self._refused[target] = lambda: _with_place(RuntimeError(told))
            raise self._refused[target]() from None
        del self._refused[target]
        print(reply["printed"], end="")
        self.library.setdefault(target, set()).update(reply.get("library", ()))
        if reply.get("late"):
            self._discard()  # what was stopped somewhere in the middle is not trusted any more
            self._refused[target] = lambda: _with_place(guard.Stopped(), reply["place"])
            raise self._refused[target]()
        if error := reply.get("error"):
            if reply.get("undefined"):
                error["text"] = self.undefined.get(target, error["text"])
                self.notes.append(error["text"])
            raise _with_place(_error(error), reply.get("place", ""), error.get("function", ""))
        if "changed" in reply:
            _write_back(list(arguments), reply["changed"])
        return reply["value"]

    def close(self):
        """End the process, and all that it started."""
        self._end.cancel()
        self._discard()

    @staticmethod
    def _request(name, source):
        return {"source": source, "name": name, "seconds": _allowed(CELL_SECONDS)}

    def _ask(self, request):
        """Send a request and return the reply; in between the process may call functions that it was handed."""
        try:
            self._start()
            self._waits = True
            reply = _checked(self._process.ask(request))
            self._waits = False
            return reply
        except (OSError, EOFError):
            raise RuntimeError(self._epitaph()) from None
        except (border.Broken, KeyError, TypeError, AttributeError) as error:
            raise RuntimeError(f"its process sent what is no answer: {error}") from None

    def _start(self):
        """See to it that there is a process that waits for a request, with all the cells so far."""
        if self._process and self._process.is_alive() and not self._waits:
            return
        self._discard()
        if time.monotonic() >= self.deadline:
            raise EOFError
        process = Process(self.call)
        self._process = process
        for name, source in self._cells:
            process.ask(self._request(name, source))
        process.start_counting()

    def _discard(self):
        process, self._process, self._waits = self._process, None, False
        if process:
            self._spent += process.used()
            process.end()

    def _epitaph(self):
        """How the process ended, in words."""
        if time.monotonic() >= self.deadline:
            return f"the {self.limit:g} seconds for the whole notebook are over"
        code = self._process.exit_code() if self._process else None
        if code is None:
            return "its process no longer answers"
        return f"its process was ended by signal {-code}" if code < 0 else f"its process ended, exit code {code}"


class Proxy:
    """Stands for a function of the answers."""

    def __init__(self, answers, name):
        self._answers, self.__name__ = answers, name

    def __call__(self, *arguments, **named):
        return self._answers.call(self.__name__, arguments, named)

    def processor_time(self):
        """See ``Answers``: the clock by which ``minigpt2.exercises.guard`` stops a call."""
        return self._answers.processor_time()


class Process:
    """A running process of answers.

    call: (number, arguments, named) -> the result of an object of the process
    """

    def __init__(self, call):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        places = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "MINIGPT2_CACHE"), self._folder.name)
        path = [folder for folder in sys.path if folder and Path(folder).resolve() != HERE.parent]
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", str(HERE / "student.py"), json.dumps(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env=inherited | places | SETTINGS,
            start_new_session=True,
        )
        self._border, self._messages, self._began = border.Border(call), queue.Queue(maxsize=1), None
        threading.Thread(target=self._forward, daemon=True).start()

    def ask(self, request):
        """Send a request and return the reply. Raises OSError or EOFError when the process is gone, border.Broken."""
        self._send(request)
        while "number" in (reply := self._receive()):
            self._send(self._serve(**reply))
        return reply

    def is_alive(self):
        """Whether it has not ended."""
        return self._popen.poll() is None

    def start_counting(self):
        """Begin to count the seconds that it uses."""
        self._began = self._clock()

    def used(self):
        """Seconds of the processor since ``start_counting``; by the clock on the wall where the system does not say."""
        return 0.0 if self._began is None else self._clock() - self._began

    def kill(self):
        """End it, and what it started."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.kill()

    def end(self):
        """End it, remove its folder, and return its exit code."""
        self.kill()
        code = self._popen.wait()
        self._folder.cleanup()
        return code

    def exit_code(self):
        """That with which it ended by itself, or None where it did not."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._popen.wait(1)  # its pipe may be closed a moment before

    def _clock(self):
        if sys.platform != "linux":
            return time.monotonic()
        try:
            return time.clock_gettime((~self._popen.pid << 3) | 2)  # the processor time of another process
        except OSError:  # it has ended
            return self._began or 0.0

    def _send(self, value):
        border.write(self._popen.stdin, self._border.pack(value))

    def _receive(self):
        while True:
            try:
                message = self._messages.get(timeout=0.1)  # in short steps, between which guard can stop this thread
            except queue.Empty:
                continue
            if isinstance(message, Exception):
                raise message
            return self._border.unpack(message)

    def _serve(self, number, arguments, named):
        try:
            return {"value": self._border.kept(number)(*arguments, **named)}
        except Exception as error:  # of the function that was handed over: the answers hear of it
            return {"raised": f"{type(error).__name__}: {error}"}

    def _forward(self):
        """Put what the process sends into the queue, where waiting for it can be interrupted."""
        try:
            while True:
                self._messages.put(border.read(self._popen.stdout))
        except (OSError, EOFError, ValueError) as error:  # the last two: it has ended; it is no message
            self._messages.put(error)


def _allowed(seconds):
    """The seconds of the processor that the process allows itself, where ``guard`` here allows it ``seconds``."""
    return SOONER * seconds * guard.slowness()


def _checked(reply):
    """A reply in which every part is of its kind: anybody may have written it. Raises KeyError, TypeError."""
    error = reply.get("error") or {}
    texts = [reply["printed"], reply.get("place", ""), error.get("function", "")]
    texts += [error["type"], error["text"]] if error else []
    if not all(isinstance(text, str) for text in [*texts, *reply.get("library", ())]):
        raise TypeError("a text that is none")
    return reply


def _error(told):
    """The exception that was described; one of a class that is known here, or of one with the same name."""
    name, arguments = told["type"], told.get("arguments")
    arguments = (told["text"],) if not isinstance(arguments, list) else arguments
    if told.get("filename") is not None:
        arguments = [*arguments[:2], told["filename"]]
    kind = next((kind for kind in (getattr(module, name, None) for module in KINDS) if _is_error(kind)), None)
    try:
        return kind(*arguments)
    except TypeError:  # unknown, or made of something else
        return type(name if name.isidentifier() else "Error", (Exception,), {})(told["text"])


def _is_error(kind):
    return isinstance(kind, type) and (issubclass(kind, Exception) or kind is SystemExit)


def _with_place(error, place="", function=""):
    """Note in an exception the line and the function over there, where ``minigpt2.exercises`` looks for them."""
    error.place, error.function = place, function
    return error


def _write_back(ours, theirs):
    """Change values as a call has changed their copies."""
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray) and ours.dtype == theirs.dtype:
        if ours.size == theirs.size:
            ours.shape = theirs.shape
            ours[...] = theirs
    elif isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        for key in ours:
            ours[key] = _changed(ours[key], theirs[key])
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        ours.clear()
        ours.update(theirs)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        ours[:] = [_changed(*pair) for pair in zip(ours, theirs, strict=True)]
    elif isinstance(ours, list) and isinstance(theirs, list):
        ours[:] = theirs
    elif isinstance(ours, tuple) and isinstance(theirs, tuple):
        for pair in zip(ours, theirs, strict=False):
            _write_back(*pair)


def _changed(ours, theirs):
    """``ours``, changed in place if that is possible, else ``theirs``."""
    if type(ours) is not type(theirs) or not isinstance(ours, np.ndarray | dict | list | tuple):
        return theirs
    _write_back(ours, theirs)
    return ours
