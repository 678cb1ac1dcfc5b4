"""The result of a check, in the words of a tutor."""

import textwrap
from dataclasses import dataclass

WIDTH = 100  # characters in a line
MARKS = {True: "ok", False: "WRONG", None: "-"}


@dataclass(frozen=True)
class Finding:
    """How one case went.

    title:  of the case
    passed: None when it was not tried, because a case before it left no hope
    text:   the arguments, the result and the expected result; "" when it passed
    hint:   the kind of mistake that it looks like, or ""
    """

    title: str
    passed: bool | None
    text: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Report:
    """The verdict of ``check`` on one function: true in a condition when all is right, a text when printed.

    name:     of the function
    findings: one for each case
    notebook: the notebook that explains the subject
    remarks:  on things that are not wrong but could be better
    """

    name: str
    findings: tuple[Finding, ...]
    notebook: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def passed(self):
        """Whether every case is right."""
        return all(finding.passed for finding in self.findings)

    @property
    def score(self):
        """The share of the cases that are right, from 0.0 to 1.0."""
        return sum(finding.passed is True for finding in self.findings) / len(self.findings)

    @property
    def hint(self):
        """The kind of mistake that it looks like, from the first case that is wrong; "" when all is right."""
        return "" if self.passed else self._explained.hint

    @property
    def text(self):
        """The report in words."""
        right = sum(finding.passed is True for finding in self.findings)
        lines = [f"{self.name}: {right} of {len(self.findings)} checks passed", ""]
        lines += [f"  {MARKS[finding.passed]:6} {finding.title}" for finding in self.findings]
        if not self.passed:
            finding = self._explained
            several = len(self.findings) > 1
            lines += ["", *([f"Look at this one first: {finding.title}."] if several else []), finding.text]
            if finding.hint:
                lines += ["", _fill(f"What it looks like: {finding.hint}")]
            if self.notebook and several:
                lines += ["", f"To read again: notebooks/en/{self.notebook}.ipynb"]
        for remark in self.remarks:
            lines += ["", _fill(f"Remark: {remark}")]
        return "\n".join(lines)

    @property
    def _explained(self):
        """The first wrong case: those after it are more special."""
        return next(finding for finding in self.findings if finding.passed is False)

    def __bool__(self):
        return self.passed

    def __str__(self):
        return self.text


def _fill(text):
    """A paragraph of lines that fit into a notebook; a word with a hyphen stays whole."""
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)
