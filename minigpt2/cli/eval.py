"""``minigpt2 eval``: loss and perplexity of a text, or with --task a zero-shot task."""

from minigpt2.cli import eval_task
from minigpt2.cli.common import Files, add_command, add_device, add_model, documents_of, load
from minigpt2.cli.reproduce import command_line
from minigpt2.evaluation import evaluate


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "eval", run, "loss and perplexity of a text, per token and per character, or a zero-shot task",
        "minigpt2 eval --data shakespeare --split validation --stride 64",
        "minigpt2 eval --task lambada --model gpt2",
    )  # fmt: skip
    add_model(parser)
    add = parser.add_argument
    add("--data", nargs="+", action=Files, metavar="FILE",
        help="text files, - for standard input, 'alice' or 'shakespeare'; with --task files in the format of the task "
        "(default: a download, for lambada, wikitext2, ptb, natural_questions and coqa)")  # fmt: skip
    add("--split", choices=["all", "train", "validation"],
        help="all of the text (default), its first 90 %% or its last 10 %%; not with --task")  # fmt: skip
    add("--stride", type=int, metavar="N",
        help="tokens between windows; fewer is slower and gives each token more context "
        "(default: no overlap)")  # fmt: skip
    add("--short-last-window", action="store_true",
        help="the last window begins --stride after the one before and is shorter, as in Hugging Face's guide "
        "(default: it ends the text and is as long as the others); not with --task")  # fmt: skip
    add_device(parser)
    eval_task.add_flags(parser)


def run(options):
    """Print the loss and the perplexity of a text, or do the task."""
    if not options.data:
        from minigpt2.storage.hub import CORPORA  # imports requests, for which nobody who has data should wait

        if options.task not in CORPORA:
            options.parser.error("the following arguments are required: --data")
        options.data = [options.task]
    if options.task:
        return eval_task.run(options)
    eval_task.check_none(options)
    part = options.split or "all"
    model, tokenizer = load(options.model, options.device)
    texts = [text for source in options.data for text in documents_of(source, part)]
    short = options.short_last_window
    result = evaluate(model, tokenizer, texts, options.stride, True, options.limit, short)
    stride = options.stride or model.config.n_positions
    print(f"tokens predicted           {result.tokens:>12,}   in windows of {model.config.n_positions},"
          f" one every {stride}" + ", the last one shorter" * short)  # fmt: skip
    print(f"characters predicted       {result.characters:>12,}   {result.characters / result.tokens:.3f} per token")
    print(f"loss per token             {result.loss:>12.4f}   nats")
    print(f"perplexity per token       {result.perplexity:>12.3f}")
    print(f"loss per character         {result.loss_per_character:>12.4f}   nats,"
          f" {result.bits_per_character:.4f} bits")  # fmt: skip
    print(f"perplexity per character   {result.perplexity_per_character:>12.3f}")
    print("reproduce:", command_line(options, vars(options) | {"split": part, "stride": stride}))
