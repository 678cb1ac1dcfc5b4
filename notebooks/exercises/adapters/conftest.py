"""Points at the end of a test run, in the order of the course."""

import json
from pathlib import Path

POINTS = json.loads(Path(__file__).with_name("points.json").read_text(encoding="utf-8"))


def pytest_terminal_summary(terminalreporter):
    """A line for each exercise of which something was tested.

    A function counts what its check in the notebook does, times the share of its cases that are right; the points of an
    exercise are the sum, scaled to 10. What was not tested counts as wrong, and the harder parts count nothing.
    """
    reports = [report for each in terminalreporter.stats.values() for report in each]
    scores = dict(value for report in reports for _, value in getattr(report, "user_properties", ()))
    tested = {title: worth for title, worth in POINTS.items() if worth.keys() & scores.keys()}
    if not tested:
        return
    terminalreporter.section("points")
    total = 0.0
    for title, worth in tested.items():
        points = 10 * sum(worth[name] * scores.get(name, 0.0) for name in worth) / sum(worth.values())
        right = sum(scores.get(name) == 1.0 for name in worth)
        terminalreporter.line(f"{title:42} {right} of {len(worth)} functions right {points:8.1f} of 10")
        total += points
    terminalreporter.line(f"{'together':64} {total:8.1f} of {10 * len(tested)}")
