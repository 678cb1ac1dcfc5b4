"""``minigpt2 tokenize``: turn text into token ids and back, or learn a vocabulary."""

from itertools import chain

from minigpt2 import Tokenizer
from minigpt2.cli.common import Files, add_command, add_model, check_new_vocabulary, numbers
from minigpt2.data import document_parts, load_text
from minigpt2.data.token_file import in_parts


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "tokenize", run, "turn text into token ids and back, or learn a vocabulary",
        'minigpt2 tokenize --text "Hello, world" --explain',
        "minigpt2 tokenize --train my.txt --vocab-size 8192 --out vocabularies/mine",
    )  # fmt: skip
    add_model(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="TEXT", help="text to encode")
    what.add_argument("--file", metavar="FILE", help="text file to encode, or - for standard input")
    what.add_argument("--ids", metavar="IDS", help="token ids to decode, e.g. 15496,11,616")
    what.add_argument("--train", nargs="+", action=Files, metavar="FILE",
                      help="learn a new vocabulary from text files: .jsonl, or text in which <|endoftext|> separates "
                      "documents; - for standard input; or 'alice', 'shakespeare'")  # fmt: skip
    add = parser.add_argument
    add("--explain", action="store_true", help="show pieces, bytes and merges in order")
    add("--allow-special", action="store_true", help="read <|endoftext|> as a token, not as text")
    add("--vocab-size", type=int, metavar="N", help="with --train: tokens in the vocabulary (default 1024)")
    add("--out", metavar="FOLDER", help="with --train: new folder for the vocabulary")


def run(options):
    """Print the token ids of a text, the text of token ids, or each step between them; or learn a vocabulary."""
    encodes = options.text is not None or options.file is not None
    for name, given in (("--explain", options.explain), ("--allow-special", options.allow_special)):
        if given and not encodes:
            raise ValueError(f"{name} belongs to --text and --file, which turn text into ids")
    if options.train:
        return _learn(options)
    for name, value in (("--vocab-size", options.vocab_size), ("--out", options.out)):
        if value is not None:
            raise ValueError(f"{name} belongs to --train, which learns a vocabulary; give --train FILE as well")
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


def _learn(options):
    """Learn a vocabulary from files, and save it in a folder that has none."""
    if not options.out:
        raise ValueError("--train needs --out, the folder in which to save the vocabulary")
    check_new_vocabulary(options.out)
    size = 1024 if options.vocab_size is None else options.vocab_size
    tokenizer = Tokenizer.train(learnable(map(document_parts, options.train)), size)
    tokenizer.save_pretrained(options.out)
    print(f"{len(tokenizer):,} tokens saved in {options.out}")


def learnable(sources):
    """What a vocabulary is learned from: the documents of several sources, of each a part at a time.

    sources: iterable; each entry holds the documents of a source, as ``document_parts`` yields them
    """
    return chain.from_iterable(in_parts(parts) for documents in sources for parts in documents)
