"""A check: one figure that must not exceed its tolerance, and the result."""

import math
from collections.abc import Callable
from dataclasses import dataclass


class Skipped(Exception):
    """A check that cannot be made here, and why."""


@dataclass(frozen=True)
class Check:
    """One comparison.

    measure: () -> (figure, where it was found); raises Skipped
    source:  the reference compared with
    """

    name: str
    source: str
    tolerance: float
    measure: Callable

    def run(self):
        """Measure and judge; returns a Result, even if the measurement itself breaks."""
        try:
            figure, where = self.measure()
        except Skipped as reason:
            return Result(self.name, self.source, self.tolerance, "skipped", None, str(reason))
        except Exception as error:  # code that is being verified may break in any way
            problem = f"{type(error).__name__}: {error}"
            return Result(self.name, self.source, self.tolerance, "FAILED", None, problem)
        verdict = "ok" if figure <= self.tolerance else "FAILED"  # NaN is not
        return Result(self.name, self.source, self.tolerance, verdict, figure, where)


@dataclass(frozen=True)
class Result:
    """The result of a check; one line when printed.

    verdict: "ok", "FAILED" or "skipped"
    figure:  the number measured, None if there is none
    note:    the place of the figure, or the reason why there is none
    """

    name: str
    source: str
    tolerance: float
    verdict: str
    figure: float | None
    note: str

    def __str__(self):
        figure = "" if self.figure is None else f"{self.figure:.2g} (at most {self.tolerance:g})"
        detail = {"ok": self.source, "FAILED": f"{self.source}: {self.note}", "skipped": self.note}[self.verdict]
        return f"{self.verdict:7}  {self.name:38}  {figure:24}  {detail}"

    def to_dict(self):
        """The same for JSON, which knows neither infinity nor NaN."""
        figure = self.figure if self.figure is not None and math.isfinite(self.figure) else None
        return vars(self) | {"figure": figure}
