"""``minigpt2 generate``: continue a text, and print it while it is being written."""

from minigpt2.cli.common import add_command, add_device, add_model, load


def add_parser(commands):
    """The flags of ``minigpt2 generate``."""
    sub = add_command(
        commands, "generate", generate, "continue a text",
        'minigpt2 generate --prompt "ROMEO:" --temperature 0.8 --top-k 50 --seed 1',
    )  # fmt: skip
    add_model(sub)
    sub.add_argument("--prompt", default="\n", help="the text to continue (default: a new line)")
    sub.add_argument("--max-new-tokens", type=int, default=200, metavar="N", help="tokens to add (default 200)")
    sub.add_argument("--temperature", type=float, default=None, metavar="X",
                     help="0 takes the likeliest token each time, 1 draws as the model predicts "
                     "(default 0.8, with --beams 0)")  # fmt: skip
    sub.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    sub.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that make up P")
    sub.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X",
                     help="above 1 makes tokens that occurred less likely (default 1)")  # fmt: skip
    sub.add_argument("--beams", type=int, default=1, metavar="N", help="beam search with N beams; not with sampling")
    sub.add_argument("--num-samples", type=int, default=1, metavar="N", help="how many texts (default 1)")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (default 0)")
    add_device(sub)


def generate(options):
    """Print the prompt and its continuation while it is being written."""
    from minigpt2.generation import stream_text

    model, tokenizer = load(options.model, options.device)
    if options.temperature is None:
        options.temperature = 0.0 if options.beams > 1 else 0.8
    for sample in range(options.num_samples):
        if options.num_samples > 1:
            print(f"--- sample {sample + 1} of {options.num_samples} ---")
        pieces = stream_text(
            model, tokenizer, options.prompt, options.max_new_tokens, stop=tokenizer.eos_id,
            temperature=options.temperature, top_k=options.top_k, top_p=options.top_p,
            repetition_penalty=options.repetition_penalty, beams=options.beams, seed=options.seed + sample,
        )  # fmt: skip
        print(options.prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
