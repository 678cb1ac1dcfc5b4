"""``minigpt2 eval --task``: a zero-shot task of the GPT-2 paper, with the paper's figures beside ours."""

import argparse
import inspect
from pathlib import Path

from minigpt2.cli.common import load
from minigpt2.cli.reproduce import command_line, flag_and_value
from minigpt2.tasks import TASKS, function_of
from minigpt2.tasks.published import FIGURES, NOTES, SIZES, name_of, published

# The options that are arguments of the tasks' functions.
OPTIONS = (
    "context", "stride", "detokenize", "by_line", "target", "stop_words", "preprocess", "score", "direction", "hint",
    "seed", "limit",
)  # fmt: skip


def add_flags(parser):
    """Add --task, and the flags that belong to tasks alone; an option that is not given is None."""
    group = parser.add_argument_group(
        "zero-shot tasks", "as in the GPT-2 paper; each task takes only the options described for it"
    )
    add = group.add_argument
    add("--task", choices=TASKS, metavar="TASK", help="; ".join(f"{k}: {v}" for k, v in TASKS.items()))
    add("--limit", type=int, metavar="N",
        help="use only the first N examples; language modelling, and without --task: N tokens")  # fmt: skip
    add("--context", type=int, metavar="N",
        help="language modelling: tokens in a window (default: the model's n_positions)")  # fmt: skip
    add("--by-line", action=argparse.BooleanOptionalAction,
        help="language modelling: each line alone (default for 1bw), or all as one stream")  # fmt: skip
    add("--no-detokenizer", dest="detokenize", action="store_false", default=None,
        help="language modelling, cbt: keep the spaces and symbols of tokenised text")  # fmt: skip
    add("--target", choices=["word", "token"],
        help="lambada: predict all tokens of the last word (default), or only the last of them")  # fmt: skip
    add("--stop-words", action="store_true", default=None,
        help="lambada: do not answer with words such as 'the'")  # fmt: skip
    add("--no-preprocess", dest="preprocess", action="store_false", default=None,
        help="lambada: leave quotation marks and white space as they are")  # fmt: skip
    add("--score", choices=["rest", "candidate"],
        help="cbt: score the candidate and the rest of its sentence (default), or the candidate alone")  # fmt: skip
    add("--direction", choices=["en-fr", "fr-en"],
        help="translation: source and target language (default en-fr)")  # fmt: skip
    add("--no-hint", dest="hint", action="store_false", default=None,
        help="summarization: do not ask with 'TL;DR:'")  # fmt: skip
    add("--seed", type=int, metavar="N", help="summarization: the same seed gives the same summaries (default 0)")


def check_none(options):
    """Raise ValueError where an option of a task is given without --task; two have a meaning of their own there."""
    for name, value in _given(options).items():
        if name not in ("stride", "limit"):
            raise ValueError(f"{_flag(options, name, value)} belongs to a task; give --task as well")


def run(options):
    """Print how the task was done, its figures with the paper's beside them, and the command."""
    task, variant, result, used = _do(options)
    lines = {"task": f"{task}, {TASKS[task]}", "model": options.model, "data": ", ".join(options.data),
             "examples": f"{result.examples:,}"}  # fmt: skip
    for name, text in (lines | result.protocol).items():
        print(f"{name:<22} {text}")
    print()
    released = options.model in SIZES and not Path(options.model).is_dir()
    paper = published(options.model, task, **variant) if released else {}
    for name, value in result.figures.items():
        beside = next((key for key in paper if name.startswith(key)), None)
        print(f"{name:<30} {value:>16,.4f}" + (f"   paper {paper.pop(beside):g}" if beside else ""))
    in_paper = name_of(task, **variant)
    if not released:
        print(f"\n{'in the paper':<30}" + "".join(f" {size:>9}" for size in SIZES.values()))
        for figure, row in FIGURES[in_paper].items():
            print(f"{figure:<30}" + "".join(f" {'-' if value is None else format(value, 'g'):>9}" for value in row))
    if in_paper in NOTES:
        print(f"on the paper's figures: {NOTES[in_paper]}")
    print()
    first = {"task": task, "model": options.model, "data": options.data}
    print("reproduce:", command_line(options, first | used | {"device": options.device}))


def _do(options):
    """Do the task; returns its name, which variant of it the paper means, its Result, and the options used."""
    task = options.task
    function, named = function_of(task)
    parameters = inspect.signature(function).parameters
    given = _given(options)
    for flag in (flag for flag in ("split", "short_last_window") if getattr(options, flag)):
        raise ValueError(f"--{flag.replace('_', '-')} does not belong to the task {task}")
    for name, value in given.items():
        if name not in parameters:
            raise ValueError(f"{_flag(options, name, value)} does not belong to the task {task}")
    model, tokenizer = load(options.model, options.device)
    result = function(model, tokenizer, options.data, **named, **given, progress=True)
    used = {name: parameters[name].default for name in parameters if name in OPTIONS} | given
    if "context" in used:
        used["context"] = used["context"] or model.config.n_positions
        used["stride"] = used["stride"] or used["context"]
    return task, {name: used[name] for name in ("hint", "direction") if name in used}, result, used


def _given(options):
    return {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}


def _flag(options, name, value):
    """The flag that gave an option its value."""
    action = next(action for action in options.parser._actions if action.dest == name)
    return flag_and_value(action, value)[0].partition("=")[0]
