"""``minigpt2 eval``: loss and perplexity of a text, or a zero-shot task of the GPT-2 paper."""

import argparse
import inspect
from pathlib import Path

from minigpt2.cli.common import add_command, add_device, add_model, documents_of, load, reproduce
from minigpt2.tasks import TASKS, function_of

# Arguments of the tasks' functions, by the names of the options' destinations.
TASK_OPTIONS = (
    "context", "stride", "detokenize", "by_line", "target", "stop_words", "preprocess", "score", "direction", "hint",
    "seed", "limit",
)  # fmt: skip


def add_parser(commands):
    """The flags of ``minigpt2 eval``."""
    sub = add_command(
        commands, "eval", run, "loss and perplexity of a text, per token and per character, or a zero-shot task",
        "minigpt2 eval --data shakespeare --split validation --stride 64",
        "minigpt2 eval --task lambada --data lambada_test.jsonl --model gpt2",
    )  # fmt: skip
    add_model(sub)
    sub.add_argument("--data", nargs="+", required=True, metavar="FILE",
                     help="text files, or 'shakespeare'; with --task files in the format of the task")  # fmt: skip
    sub.add_argument("--split", choices=["all", "train", "validation"],
                     help="all of the text (default), its first 90 %% or its last 10 %%; not with --task")  # fmt: skip
    sub.add_argument("--stride", type=int, metavar="N",
                     help="tokens between windows; fewer is slower and gives each token more context "
                     "(default: no overlap)")  # fmt: skip
    add_device(sub)
    task = sub.add_argument_group("zero-shot tasks", "as in the GPT-2 paper; each takes the options that it needs")
    task.add_argument("--task", choices=TASKS, metavar="TASK", help="; ".join(f"{k}: {v}" for k, v in TASKS.items()))
    task.add_argument("--limit", type=int, metavar="N", help="only the first N examples; language modelling: tokens")
    task.add_argument("--context", type=int, metavar="N",
                      help="language modelling: tokens in a window (default: the model's n_positions)")  # fmt: skip
    task.add_argument("--by-line", action=argparse.BooleanOptionalAction,
                      help="language modelling: each line alone (default for 1bw), or all as one stream")  # fmt: skip
    task.add_argument("--no-detokenizer", dest="detokenize", action="store_false", default=None,
                      help="language modelling, cbt: keep the spaces and symbols of tokenised text")  # fmt: skip
    task.add_argument("--target", choices=["word", "token"],
                      help="lambada: all tokens of the last word (default), or only the last of them")  # fmt: skip
    task.add_argument("--stop-words", action="store_true", default=None,
                      help="lambada: words such as 'the' are no answer")  # fmt: skip
    task.add_argument("--no-preprocess", dest="preprocess", action="store_false", default=None,
                      help="lambada: leave quotation marks and white space as they are")  # fmt: skip
    task.add_argument("--score", choices=["rest", "candidate"],
                      help="cbt: the candidate and the rest of its sentence (default), or it alone")  # fmt: skip
    task.add_argument("--direction", choices=["en-fr", "fr-en"], help="translation: from - to (default en-fr)")
    task.add_argument("--no-hint", dest="hint", action="store_false", default=None,
                      help="summarization: do not ask with 'TL;DR:'")  # fmt: skip
    task.add_argument("--seed", type=int, metavar="N", help="summarization: of what is drawn (default 0)")


def run(options):
    """Print what is asked for, and the command that prints it again."""
    return evaluate_task(options) if options.task else evaluate_text(options)


def evaluate_text(options):
    """Print loss and perplexity of a text."""
    from minigpt2.evaluation import evaluate

    if others := [name for name in _given_to_task(options) if name != "stride"]:
        raise ValueError(f"{_flag(options, others[0])} belongs to a task; give --task as well")
    part = options.split or "all"
    model, tokenizer = load(options.model, options.device)
    texts = [text for source in options.data for text in documents_of(source, part)]
    result = evaluate(model, tokenizer, texts, options.stride, progress=True)
    print(f"tokens predicted           {result.tokens:>12,}   in windows of {model.config.n_positions},"
          f" one every {options.stride or model.config.n_positions}")  # fmt: skip
    print(f"characters predicted       {result.characters:>12,}   {result.characters / result.tokens:.3f} per token")
    print(f"loss per token             {result.loss:>12.4f}   nats")
    print(f"perplexity per token       {result.perplexity:>12.3f}")
    print(f"loss per character         {result.loss_per_character:>12.4f}   nats,"
          f" {result.bits_per_character:.4f} bits")  # fmt: skip
    print(f"perplexity per character   {result.perplexity_per_character:>12.3f}")
    print("reproduce:", reproduce(options, split=part, stride=options.stride or model.config.n_positions))


def evaluate_task(options):
    """Print how a zero-shot task was done, its figures with the paper's beside them, and the command."""
    from minigpt2.tasks.published import FIGURES, NOTES, SIZES, name_of, published

    run, named = function_of(options.task)
    parameters = inspect.signature(run).parameters
    given = _given_to_task(options)
    if options.split:
        raise ValueError(f"--split does not belong to the task {options.task}")
    for name in given:
        if name not in parameters:
            raise ValueError(f"{_flag(options, name)} does not belong to the task {options.task}")

    model, tokenizer = load(options.model, options.device)
    result = run(model, tokenizer, options.data, **named, **given, progress=True)
    used = {name: parameters[name].default for name in parameters if name in TASK_OPTIONS} | given
    if "context" in used:
        used["context"] = used["context"] or model.config.n_positions
        used["stride"] = used["stride"] or used["context"]

    lines = {"task": f"{options.task}, {TASKS[options.task]}", "model": options.model,
             "data": ", ".join(options.data), "examples": f"{result.examples:,}"}  # fmt: skip
    for name, text in (lines | result.protocol).items():
        print(f"{name:<22} {text}")
    variant = {name: used[name] for name in ("hint", "direction") if name in used}
    paper, released = {}, options.model in SIZES and not Path(options.model).is_dir()
    if released:
        paper = published(options.model, options.task, **variant)
    print()
    for name, value in result.figures.items():
        beside = next((key for key in paper if name.startswith(key)), None)
        print(f"{name:<30} {value:>16,.4f}" + (f"   paper {paper.pop(beside):g}" if beside else ""))
    name = name_of(options.task, **variant)
    if not released:
        print(f"\n{'in the paper':<30}" + "".join(f" {size:>9}" for size in SIZES.values()))
        for figure, row in FIGURES[name].items():
            print(f"{figure:<30}" + "".join(f" {'-' if value is None else format(value, 'g'):>9}" for value in row))
    if name in NOTES:
        print(f"of the paper: {NOTES[name]}")
    print()
    print("reproduce:", reproduce(options, **used))


def _given_to_task(options):
    """The options that only tasks have, as far as they are given: dict from name to value."""
    return {name: getattr(options, name) for name in TASK_OPTIONS if getattr(options, name) is not None}


def _flag(options, name):
    """An option as the user wrote it."""
    (action,) = [action for action in options.parser._actions if action.dest == name]
    negative = isinstance(action, argparse.BooleanOptionalAction) and getattr(options, name) is False
    return action.option_strings[-1 if negative else 0]
