"""Exercises that check themselves: write a component, and hear at once what is right, what is wrong and why.

    from minigpt2.exercises import check
    print(check("layer_norm_backward", my_layer_norm_backward))

A task is one function. Each module here holds those of one exercise: the cases that are tried, and the mistakes that
people make, each with its wrong result, by which it can be recognised.
"""

import difflib

from minigpt2.exercises import (
    checking,
)
from minigpt2.exercises import (
    ex01_tokenizer as tokenizer,
)
from minigpt2.exercises import (
    ex02_embedding as embedding,
)
from minigpt2.exercises import (
    ex03_position as position,
)
from minigpt2.exercises import (
    ex04_linear_and_gelu as linear_and_gelu,
)
from minigpt2.exercises import (
    ex05_layer_norm as layer_norm,
)
from minigpt2.exercises import (
    ex06_attention_forward as attention_forward,
)
from minigpt2.exercises import (
    ex07_attention_backward as attention_backward,
)
from minigpt2.exercises import (
    ex08_cross_entropy as cross_entropy,
)
from minigpt2.exercises import (
    ex09_adamw as adamw,
)
from minigpt2.exercises import (
    ex10_model as model,
)
from minigpt2.exercises import (
    ex11_generation as generation,
)
from minigpt2.exercises.report import Report

__all__ = ["Report", "check", "names"]

# In the order of the course:
EXERCISES = (
    tokenizer,
    embedding,
    position,
    linear_and_gelu,
    layer_norm,
    attention_forward,
    attention_backward,
    cross_entropy,
    adamw,
    model,
    generation,
)
_TASKS = {task.name: task for exercise in EXERCISES for task in exercise.TASKS}


def names():
    """The functions that ``check`` knows, in the order of the exercises: a list of str."""
    return list(_TASKS)


def check(name, function, forward=None, seed=0):
    """Try a function that somebody wrote for an exercise, and say what is right, what is wrong and why.

    It is tried on arrays of several shapes and of extreme values, in float64 and float32; it must not change its
    inputs; and gradients must agree with finite differences. Whatever it does, the check comes to an end: an error
    is reported with the line of the function that raised it, and an endless loop is stopped.

    name:     of the task, see ``names``
    function: the solution; it is called with the arguments in the order of its docstring
    forward:  with a backward pass: your own forward pass, whose cache it then gets; by default ours, whose cache has
        everything that one may need
    seed:     of the random inputs
    returns Report: ``report.passed``, ``report.score`` (from 0.0 to 1.0), ``report.hint``, and a text when printed.
    raises: ValueError for a name that is not in ``names``; no error of ``function``.
    """
    if name not in _TASKS:
        close = difflib.get_close_matches(str(name), _TASKS, n=1)
        hint = f"did you mean {close[0]!r}? There are" if close else "there are"
        raise ValueError(f"check: there is no task {name!r}; {hint} {', '.join(_TASKS)}")
    return checking.run(_TASKS[name], function, forward, seed)
