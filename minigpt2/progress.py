"""Progress of long work, wherever it can be shown: a bar on a terminal, a bar of widgets in a notebook, or lines.

Lines go where a bar cannot be drawn over and over: to a pipe, to a file, into the log of a job. As in every program
that shows progress with tqdm, the environment variable ``TQDM_DISABLE=1`` turns all of them off.
"""

import errno
import os
import sys
import threading
import warnings

from tqdm import TqdmWarning, tqdm

FIRST, LONGEST = 2, 30  # seconds until the first line, and between two lines at most


def progress_bar(iterable=None, desc=None, total=None, *, show=True, leave=False, delay=None, **options):
    """A progress bar as tqdm's, with its methods: iterate over it, or call ``update`` in a ``with`` block.

    desc: what is being done; total: how many updates there will be, if known
    show: False shows nothing
    leave: True leaves the bar, or a last line, where it is when the work is done
    delay: seconds until it shows. By default a bar shows at once, and the first line after two seconds; so does a bar
        in a notebook that does not stay, since it leaves an empty output
    options: as tqdm's: unit, unit_scale, initial
    """
    kind = _kind() if show and not os.environ.get("TQDM_DISABLE") else None
    if kind is None:
        return tqdm(iterable, desc, total, disable=True)
    if delay is None:
        delay = FIRST if kind is Lines or (kind is not tqdm and not leave) else 0
    return kind(iterable, desc, total, leave, delay=delay, disable=False, **options)


def write_line(text, file=None):
    """Print a line above the bars. file: standard error by default; nothing is written where there is none.

    A terminal that is gone stops no work, be it hours of training.
    """
    if file := file or sys.stderr:
        try:
            tqdm.write(text, file=file)
        except OSError as error:
            if error.errno != errno.EIO:
                raise


class Lines(tqdm):
    """A progress bar as lines: one after two seconds, the next after four more, then eight, ... thirty at most.

    All but the first come with updates: the first shows that there is work, however long it takes to the first update.
    """

    def __init__(self, *arguments, delay=FIRST, **options):
        self._due, self._pause, self._written = delay, FIRST, None
        super().__init__(*arguments, ncols=0, miniters=0, delay=delay, **options)
        self._first = threading.Timer(delay, self.refresh)
        self._first.daemon = True
        self._first.start()

    def display(self, msg=None, pos=None):
        """Write a line if it is time for one."""
        elapsed = self.format_dict["elapsed"]
        if elapsed >= self._due:
            self._pause = min(2 * self._pause, LONGEST)
            self._due = elapsed + self._pause
            self._write()

    def clear(self, *_, **__):
        """A line stays, also when another one is written."""

    def close(self):
        """Write a last line, if it shall stay, is not the first, and says more than the one before."""
        if getattr(self, "disable", True):  # closed already
            return
        self._first.cancel()
        self.disable = True
        self._decr_instances(self)
        if self.leave and self._written not in (None, self.n):
            self._write()

    def _write(self):
        self._written = self.n
        self.fp.write(f"{str(self).strip()}\n")
        self.fp.flush()


def _kind():
    """The class that shows progress where this process writes its errors; None if it has nowhere to."""
    if "ipykernel.zmqshell" in sys.modules:  # a notebook; tqdm.auto knows which ones show widgets
        with warnings.catch_warnings(action="ignore", category=TqdmWarning):
            from tqdm.auto import tqdm as notebook_bar
        return notebook_bar
    if sys.stderr is None or getattr(sys.stderr, "closed", False):
        return None
    return tqdm if sys.stderr.isatty() else Lines
