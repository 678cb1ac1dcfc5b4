"""Progress where a bar cannot be drawn, where one can, and where it is turned off."""

import errno
import io
import os
import subprocess
import sys
import threading
import time

import pytest

from minigpt2 import progress
from minigpt2.progress import progress_bar, write_line


class Clock:
    """A clock that goes on only when it is told to."""

    now = 1000.0

    def time(self):
        return self.now


class Stream(io.StringIO):
    terminal = False

    def isatty(self):
        return self.terminal


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock.time)
    return clock


@pytest.fixture
def screen(monkeypatch):
    """A function that puts a stream in the place of standard error: pytest does so too, before a test is called."""

    def put(terminal=False):
        stream = Stream()
        stream.terminal = terminal
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


def test_lines_come_seldom_and_ever_more_seldom(clock, screen):
    stderr = screen()
    times = []
    for second in progress_bar(range(200), "reading", unit="text"):
        if stderr.getvalue().count("\n") > len(times):
            times.append(second)
        clock.now += 1
    assert times == [2, 6, 14, 30, 60, 90, 120, 150, 180]
    lines = stderr.getvalue().splitlines()
    assert lines[0].startswith("reading:   1% 2/200 [00:02<") and "1.00text/s" in lines[0]
    assert len(lines) == len(times), "no last line of what does not stay"


def test_a_last_line_stays_with_what_came_last(clock, screen):
    stderr = screen()
    with progress_bar(desc="fetching", total=4000, unit="B", unit_scale=True, initial=1000, leave=True) as bar:
        for _ in range(3):
            clock.now += 1
            bar.set_postfix_str("so far")
            bar.update(1000)
    first, last = stderr.getvalue().splitlines()
    assert first.startswith("fetching:  50% 2.00k/4.00k") or first.startswith("fetching:  75%")
    assert last.startswith("fetching: 100% 4.00k/4.00k [00:03<00:00, ") and last.endswith(", so far]")


def test_a_last_line_says_more_than_the_one_before(clock, screen):
    stderr = screen()
    for _ in progress_bar(range(2), "quick", leave=True):
        clock.now += 3
    lines = stderr.getvalue().splitlines()
    assert [line[:16] for line in lines] == ["quick:  50% 1/2 ", "quick: 100% 2/2 "]


def test_a_line_comes_before_a_slow_first_update(screen, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(progress, "FIRST", 0.1)
    stderr, threads = screen(), threading.active_count()

    def wait_until(condition):
        deadline = time.monotonic() + 10
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert condition()

    with progress_bar(desc="evaluating", total=2) as bar:
        wait_until(stderr.getvalue)
        assert stderr.getvalue().startswith("evaluating:   0% 0/2 [00:00<?, ?it/s]\n")
        bar.update(2)
    progress.FIRST = 60
    for _ in range(20):
        progress_bar(range(2)).close()
    wait_until(lambda: threading.active_count() <= threads + 1)  # tqdm has a thread of its own, but no timer is left


@pytest.mark.parametrize("leave", [False, True])
def test_no_line_for_what_takes_less_than_two_seconds(leave, clock, screen):
    stderr = screen()
    for _ in progress_bar(range(19), "quick", leave=leave):
        clock.now += 0.1
    assert stderr.getvalue() == ""


def test_a_line_written_between_is_whole(clock, screen):
    stderr = screen()
    with progress_bar(desc="slow", total=9) as bar:
        clock.now += 5
        bar.update()
        write_line("step 1")
        clock.now += 5
        bar.update()
    assert [line[:6] for line in stderr.getvalue().splitlines()] == ["slow: ", "step 1", "slow: "]
    assert "\r" not in stderr.getvalue()


def test_an_error_shows_how_far_it_came(clock, screen):
    stderr = screen()
    with pytest.raises(KeyboardInterrupt), progress_bar(desc="training", total=9, leave=True) as bar:
        clock.now += 5
        bar.update(2)
        bar.update(1)
        raise KeyboardInterrupt
    assert stderr.getvalue().splitlines()[-1].startswith("training:  33% 3/9 [00:05")


def test_a_terminal_has_a_bar(clock, screen):
    stderr = screen(terminal=True)
    with progress_bar(desc="slow", total=2) as bar:
        bar.update()
        clock.now += 1
        bar.update()
    assert "\rslow: 100%" in stderr.getvalue() and "\n" not in stderr.getvalue()
    for _ in progress_bar(range(9), "quick", delay=2):
        clock.now += 0.1
    assert "quick" not in stderr.getvalue()


@pytest.mark.parametrize("how", ["show", "environment", "none", "closed"])
def test_where_nothing_shows(how, clock, screen, monkeypatch, capsys):
    stderr = screen(terminal=True)
    if how == "environment":
        monkeypatch.setenv("TQDM_DISABLE", "1")
    elif how == "none":
        monkeypatch.setattr(sys, "stderr", None)
    elif how == "closed":
        stderr.close()
    with progress_bar(total=3, show=how != "show") as bar:
        for _ in range(3):
            clock.now += 9
            bar.set_postfix_str("x")
            bar.update()
        assert bar.format_dict["rate"] is None
    assert how == "closed" or stderr.getvalue() == ""
    if how == "none":
        write_line("a line of training")
        assert capsys.readouterr().out == "", "it does not end up in standard output"


NOTEBOOK = """
import sys, tqdm.notebook
import types, warnings
kernel = types.ModuleType("ipykernel.zmqshell")
class Shell: config = {}
sys.modules["ipykernel.zmqshell"] = kernel
ipython = sys.modules["IPython"] = types.ModuleType("IPython")
ipython.get_ipython = Shell
if "without" in sys.argv:
    tqdm.notebook.IProgress = None
from minigpt2.progress import progress_bar
bar = progress_bar(range(3), "working", leave=True)
print([kind.__name__ for kind in type(bar).__mro__ if "notebook" in kind.__name__], bar.delay)
print(progress_bar(range(3), "a part").delay)
"""


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_has_widgets_or_else_a_bar_of_text(widgets):
    pytest.importorskip("ipywidgets") if widgets else None
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", NOTEBOOK, "with" if widgets else "without"],
        capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    kind, delay = done.stdout.splitlines()[-2:]
    assert kind == ("['tqdm_notebook'] 0" if widgets else "[] 0") and delay == "2", done.stderr
    assert "Warning" not in done.stderr and ("working:" in done.stderr) != widgets


def test_the_class_of_lines_is_chosen_when_the_bar_is_made(clock, screen):
    stderr = screen()
    assert isinstance(progress_bar(range(3)), progress.Lines)
    stderr.terminal = True
    assert not isinstance(progress_bar(range(3)), progress.Lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_gone_stops_no_work(terminal, clock, screen):
    stderr = screen(terminal)

    def gone(text):
        raise OSError(errno.EIO, "Input/output error")

    stderr.write = gone
    for _ in progress_bar(range(9), "training", leave=True):
        clock.now += 2
        write_line("step")

    def full(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    stderr.write = full
    with pytest.raises(OSError, match="No space"):
        write_line("step")
