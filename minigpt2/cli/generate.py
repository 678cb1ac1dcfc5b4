"""``minigpt2 generate``: continue a text."""

from minigpt2.cli.common import add_command, add_device, add_model, load
from minigpt2.generation import stream_text


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "generate", run, "continue a text",
        'minigpt2 generate --prompt "ROMEO:" --temperature 0.8 --top-k 50 --seed 1',
    )  # fmt: skip
    add_model(parser)
    add = parser.add_argument
    add("--prompt", default="\n", help="the text to continue (default: a new line)")
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
    add("--num-samples", type=int, default=1, metavar="N", help="number of texts (default 1)")
    add("--seed", type=int, default=0, help="the same seed gives the same text (default 0)")
    add_device(parser)


def run(options):
    """Print the prompt and its continuation while it is being written."""
    model, tokenizer = load(options.model, options.device)
    temperature = options.temperature
    if temperature is None:
        temperature = 0.0 if options.beams > 1 else 0.8
    for sample in range(options.num_samples):
        if options.num_samples > 1:
            print(f"--- sample {sample + 1} of {options.num_samples} ---")
        pieces = stream_text(
            model, tokenizer, options.prompt, options.max_new_tokens, stop=tokenizer.eos_id, temperature=temperature,
            top_k=options.top_k, top_p=options.top_p, repetition_penalty=options.repetition_penalty,
            beams=options.beams, seed=options.seed + sample,
        )  # fmt: skip
        print(options.prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
