"""``minigpt2 generate``: continue a text, or several."""

import sys

import numpy as np

from minigpt2.cli.common import add_command, add_device, add_model, flag_of, load
from minigpt2.data import documents
from minigpt2.data.pipe import STANDARD_INPUT, announce
from minigpt2.generation import end_ids, generate_texts, stream_text
from minigpt2.sampling import COUNT, REQUIREMENTS, check_option

TOGETHER = 8  # texts continued at once: each has a key/value cache, for gpt2 of up to 75 MB


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "generate", run, "continue a text",
        'minigpt2 generate --prompt "ROMEO:" --temperature 0.8 --top-k 50 --seed 1',
    )  # fmt: skip
    add_model(parser)
    add = parser.add_argument
    add("text", nargs="?", metavar="PROMPT", help="a text to continue, like --prompt")
    add("--prompt", action="append", default=[], metavar="TEXT",
        help="a text to continue, given again for several; - reads one from standard input (default: none, the text "
        "begins as after <|endoftext|>)")  # fmt: skip
    add("--prompt-file", action="append", default=[], metavar="FILE",
        help="a file whose text is a prompt, or each of its documents: one a line in JSON lines, or between "
        "<|endoftext|>; a line end at the end of a prompt is left out, as from standard input")  # fmt: skip
    add("--allow-special", action="store_true", help="read <|endoftext|> in a prompt as a token, not as text")
    add("--max-new-tokens", type=int, default=200, metavar="N", help="tokens to add (default 200)")
    add("--temperature", type=float, metavar="X",
        help="0 takes the likeliest token each time, 1 draws as the model predicts "
        "(default 0.8, or 0 with --beams)")  # fmt: skip
    add("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    add("--top-p", type=float, metavar="P",
        help="draw from the smallest set of likeliest tokens whose probabilities reach P")  # fmt: skip
    add("--repetition-penalty", type=float, default=1.0, metavar="X",
        help="above 1 makes tokens that have occurred less likely (default 1)")  # fmt: skip
    add("--beams", type=int, default=1, metavar="N", help="beam search with N beams, without sampling")
    add("--num-samples", type=int, default=1, metavar="N", help="number of texts for each prompt (default 1)")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same text (default 0)")
    add_device(parser)


def run(options):
    """Print each prompt and its continuation: a single one while it is being written."""
    _check(options)
    prompts = _prompts(options)
    model, tokenizer = load(options.model, options.device)
    n, samples = len(prompts), options.num_samples
    for number, (prompt, pieces) in enumerate(_texts(options, model, tokenizer, prompts)):
        heading = [f"prompt {number // samples + 1} of {n}"] if n > 1 else []
        heading += [f"sample {number % samples + 1} of {samples}"] if samples > 1 else []
        if heading:
            print(f"--- {', '.join(heading)} ---")
        print(prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()


def _texts(options, model, tokenizer, prompts):
    """Yield each prompt, once for each sample, and an iterable of the pieces of its continuation."""
    settings = {name: getattr(options, name) for name in ("top_k", "top_p", "repetition_penalty", "beams")}
    temperature = options.temperature
    if temperature is None:
        temperature = 0.0 if options.beams > 1 else 0.8
    settings |= {"temperature": temperature, "allow_special": options.allow_special, "stop": end_ids(model, tokenizer)}
    for prompt in prompts:
        tokenizer.encode(prompt, options.allow_special)  # an error in any of them comes before the first text
    seeds, n = range(options.seed, options.seed + options.num_samples), options.max_new_tokens
    if len(prompts) == 1:
        for seed in seeds:
            yield prompts[0], stream_text(model, tokenizer, prompts[0], n, seed=seed, **settings)
        return
    at_once = max(1, TOGETHER // len(seeds))
    for some in (prompts[first : first + at_once] for first in range(0, len(prompts), at_once)):
        rngs = [np.random.default_rng(seed) for _ in some for seed in seeds]  # each text is the one that it is alone
        texts = generate_texts(model, tokenizer, some, n, num_samples=len(seeds), seed=rngs, **settings)
        yield from zip((prompt for prompt in some for _ in seeds), ([text] for text in texts), strict=True)


def _prompts(options):
    """The prompts in the order of the command line, those of files last; an empty one where there is none.

    raises: FileNotFoundError or ValueError, naming the file, for one that cannot be read.
    """
    given = [*([] if options.text is None else [options.text]), *options.prompt]
    if given.count("-") + sum(file in STANDARD_INPUT for file in options.prompt_file) > 1:
        raise ValueError("--prompt -: standard input can be read once, but it is given several times")
    prompts = [_standard_input() if prompt == "-" else prompt for prompt in given]
    for file in options.prompt_file:
        prompts += [_without_line_end(text) for text in documents(file)]
    return prompts or [""]


def _standard_input():
    announce("-")
    try:
        return _without_line_end(sys.stdin.buffer.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"--prompt -: standard input is not UTF-8 text (byte {error.start}: {error.reason})") from None


def _without_line_end(text):
    return text.removesuffix("\n").removesuffix("\r")


def _check(options):
    """Raise ValueError, naming the flag, for a number out of range and for flags that contradict each other."""
    requirements = REQUIREMENTS | {"max_new_tokens": COUNT, "seed": COUNT}
    for name, requirement in requirements.items():
        if (value := getattr(options, name)) is not None:
            check_option(flag_of(name), value, *requirement)
    drawing = [name for name in ("temperature", "top_k", "top_p") if getattr(options, name)]
    drawing += ["num_samples"] if options.num_samples > 1 else []
    if options.beams > 1 and drawing:
        flags = ", ".join(map(flag_of, drawing))
        raise ValueError(
            f"--beams {options.beams} looks for the likeliest text and draws nothing: leave out {flags}, or --beams"
        )
    if options.num_samples > 1 and (options.temperature == 0 or options.top_k == 1):
        fixed = "--temperature 0" if options.temperature == 0 else "--top-k 1"
        raise ValueError(
            f"--num-samples {options.num_samples} would give the same text each time, since {fixed} always takes the "
            f"likeliest token: leave out one of the two"
        )
