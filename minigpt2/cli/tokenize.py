"""``minigpt2 tokenize``: turn text into token ids and back, or learn a vocabulary."""

from minigpt2 import Tokenizer
from minigpt2.cli.common import add_command, add_model, numbers
from minigpt2.data import load_text


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "tokenize", run, "turn text into token ids and back",
        'minigpt2 tokenize --text "Hello, world" --explain',
    )  # fmt: skip
    add_model(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="text to encode")
    what.add_argument("--file", help="text file to encode")
    what.add_argument("--ids", help="token ids to decode, e.g. 15496,11,616")
    what.add_argument("--train", nargs="+", metavar="FILE", help="learn a new vocabulary from text files")
    add = parser.add_argument
    add("--explain", action="store_true", help="show pieces, bytes and merges in order")
    add("--allow-special", action="store_true", help="read <|endoftext|> as a token, not as text")
    add("--vocab-size", type=int, default=1024, metavar="N",
        help="with --train: tokens in the vocabulary (default 1024)")  # fmt: skip
    add("--out", metavar="FOLDER", help="with --train: where to save the vocabulary")


def run(options):
    """Print the token ids of a text, the text of token ids, or each step between them; or learn a vocabulary."""
    if options.train:
        if not options.out:
            raise ValueError("--train needs --out, the folder in which to save the vocabulary")
        tokenizer = Tokenizer.train(load_text(options.train), options.vocab_size)
        tokenizer.save_pretrained(options.out)
        print(f"{len(tokenizer):,} tokens saved in {options.out}")
        return
    tokenizer = Tokenizer.from_pretrained(options.model)
    if options.ids is not None:
        print(tokenizer.decode(numbers(options.ids)))
        return
    text = options.text if options.text is not None else load_text([options.file])
    if options.explain:
        if not hasattr(tokenizer, "explain"):
            raise ValueError("--explain: a character tokenizer has no steps to show")
        for piece in tokenizer.explain(text):
            print(piece)
    else:
        print(*tokenizer.encode(text, allow_special=options.allow_special))
