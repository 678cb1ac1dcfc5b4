"""The result of a task: its figures, and the protocol without which they mean nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """The outcome of a task.

    task:     its name on the command line
    examples: how many were scored
    figures:  name with unit -> number, in the order in which they are printed, the paper's own first
    protocol: a step -> how it was done, e.g. {"context": "1,024 tokens", "decoding": "greedy"}
    """

    task: str
    examples: int
    figures: dict[str, float]
    protocol: dict[str, str]
