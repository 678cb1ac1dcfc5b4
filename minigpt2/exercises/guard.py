"""Call somebody's function so that nothing it does can harm the caller: errors, endless loops, ``exit()``."""

import ctypes
import functools
import linecache
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigpt2.parallel import blas_at_one_thread

CALIBRATION = 0.03  # seconds of the calculation in ``slowness`` where the limits were set
IDLE = 50  # one that uses less than this part of the time that passes, waits; so crowded is no machine
OURS = str(Path(__file__).parents[1])  # the package: lines of its files are not the student's


class Stopped(BaseException):
    """Raised inside a function whose time is up; no ``except Exception`` of its own catches it."""

    place = ""  # where a function that stands for one in another process says in which line that was


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call.

    value: the function's result
    error: the exception that it raised, or None
    place: the function's own line where that happened or where its time was up, as text; "" if there is none
    late:  whether its time was up
    running: whether even then it could not be stopped
    """

    value: Any = None
    error: BaseException | None = None
    place: str = ""
    late: bool = False
    running: bool = False

    @property
    def ended(self):
        """Whether the function returned."""
        return self.error is None and not self.late


def call(function, arguments, seconds, owner=None):
    """Call ``function(*arguments)`` on a separate thread, for ``seconds`` of processor time at most.

    An endless loop in Python is stopped. A call that no exception can stop, such as a product of huge arrays, continues
    in the background, but the caller does not wait for it. Processor time, scaled by ``slowness``, is the same on a
    busy machine as on an idle one; the clock on the wall only ends a call that waits for something.

    owner: the function whose lines are shown, where ``function`` only calls it
    returns Outcome.
    raises: nothing, whatever the function does; KeyboardInterrupt of the caller goes through.
    """
    outcome, owner = [], owner or function

    def work():
        try:
            with np.errstate(all="ignore"):  # an overflow shows in the result
                outcome.append(Outcome(function(*arguments)))
        except Stopped as stopped:
            if stopped.place:
                outcome.append(Outcome(late=True, place=stopped.place))
        except BaseException as error:  # SystemExit as well
            outcome.append(Outcome(error=error, place=_place_of_error(error, owner)))

    thread = threading.Thread(target=work, daemon=True)
    place = ""
    slowness()  # measured now, and not beside a loop that takes all turns
    with blas_at_one_thread():  # whose threads would use several seconds in one
        clock = getattr(owner, "processor_time", time.process_time)  # of the process in which it runs
        begin, begin_used = time.monotonic(), clock()
        thread.start()
        try:
            while thread.is_alive() and not _is_over(time.monotonic() - begin, clock() - begin_used, seconds):
                thread.join(0.05)
            place = _place_now(thread, owner)
        finally:
            _stop(thread)
    return outcome[0] if outcome else Outcome(late=True, place=place, running=thread.is_alive())


def _is_over(passed, used, seconds):
    """Whether a call had its time: ``used`` seconds of the processor, or ``passed`` seconds without using it."""
    if passed < seconds:
        return False
    limit = seconds * slowness()
    return used > limit or used < passed / IDLE or passed > limit * IDLE


@functools.cache
def slowness():
    """How many times as long as on the machine where the limits were set a calculation takes here; 1 at least."""

    def calculate():
        begin = time.thread_time()
        x = np.ones((64, 64))
        for _ in range(2000):
            x = x @ x / 64
        return time.thread_time() - begin

    return max(1.0, min(calculate() for _ in range(3)) / CALIBRATION)


def _stop(thread):
    """End a thread that runs Python code; one try may be caught by a bare ``except:``, so there are several."""
    for _ in range(20):
        if not thread.is_alive():
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))
        thread.join(0.05)


def _place_of_error(error, function):
    """The last line of the function's own file, or at least not of a library, on the way to the error."""
    if hasattr(error, "place"):  # it was raised in another process
        return error.place
    if isinstance(error, SyntaxError) and error.lineno:
        return _line(error.filename, error.lineno, "<module>")
    return _own_line(traceback.extract_tb(error.__traceback__), function)


def _place_now(thread, function):
    """The function's own line that a thread is at; "" where the function only waits for another process."""
    if hasattr(function, "processor_time"):
        return ""
    frame = sys._current_frames().get(thread.ident)
    return _own_line(traceback.extract_stack(frame) if frame else [], function)


def _own_line(frames, function):
    code = getattr(function, "__code__", None)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    foreign = [f for f in frames if not f.filename.startswith(OURS) and f.filename != threading.__file__]
    last = (own or foreign or [None])[-1]
    return _line(last.filename, last.lineno, last.name) if last else ""


def _line(filename, number, function):
    """The place of a line and its text. The file of a notebook's cell has a name that says nothing."""
    text = linecache.getline(filename, number).strip()
    name = Path(filename).name
    where = f"line {number}" if "ipykernel" in filename or name.startswith("<") else f"{name}, line {number}"
    where += "" if function.startswith("<") else f", in {function}"
    return f"{where}: {text}" if text else where
