"""``minigpt2 tokenize``: the token ids of a text, the text of token ids, or each step between them."""

from minigpt2.cli.common import add_command, add_model, integers


def add_parser(commands):
    """The flags of ``minigpt2 tokenize``."""
    sub = add_command(
        commands, "tokenize", tokenize, "turn text into token ids and back",
        'minigpt2 tokenize --text "Hello, world" --explain',
    )  # fmt: skip
    add_model(sub)
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="text to encode")
    what.add_argument("--file", help="text file to encode")
    what.add_argument("--ids", help="token ids to decode, e.g. 15496,11,616")
    what.add_argument("--train", nargs="+", metavar="FILE", help="learn a new vocabulary from text files")
    sub.add_argument("--explain", action="store_true", help="show pieces, bytes and merges in order")
    sub.add_argument("--allow-special", action="store_true", help="read <|endoftext|> as a token, not as text")
    sub.add_argument("--vocab-size", type=int, default=1024, metavar="N", help="with --train (default 1024)")
    sub.add_argument("--out", metavar="FOLDER", help="with --train: where to save the vocabulary")


def tokenize(options):
    """Print the token ids of a text, the text of token ids, or each step between them."""
    from minigpt2 import Tokenizer
    from minigpt2.data import load_text

    if options.train:
        if not options.out:
            raise ValueError("--train needs --out, the folder in which to save the vocabulary")
        tokenizer = Tokenizer.train(load_text(options.train), options.vocab_size)
        tokenizer.save_pretrained(options.out)
        print(f"{len(tokenizer):,} tokens saved in {options.out}")
        return
    tokenizer = Tokenizer.from_pretrained(options.model)
    if options.ids is not None:
        print(tokenizer.decode(integers(options.ids, "--ids")))
        return
    text = options.text if options.text is not None else load_text([options.file])
    if options.explain:
        if not hasattr(tokenizer, "explain"):
            raise ValueError("--explain: a character tokenizer has no steps to show")
        for piece in tokenizer.explain(text):
            print(piece)
    else:
        print(*tokenizer.encode(text, allow_special=options.allow_special))
