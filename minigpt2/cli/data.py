"""``minigpt2 data``: statistics of corpora, cleaning, and token files."""

from itertools import chain
from pathlib import Path

from minigpt2.cli.common import add_command, add_model, named, reproduce


def add_parser(commands):
    """The flags of ``minigpt2 data``."""
    sub = add_command(
        commands, "data", data, "describe corpora, clean them, and write them as token files",
        "minigpt2 data a.txt b.jsonl --against test.txt",
        "minigpt2 data a.txt b.jsonl --deduplicate --vocab-size 8192 --out corpora",
        "minigpt2 train --tokenizer corpora --data corpora/a.tokens",
    )  # fmt: skip
    sub.add_argument("sources", nargs="+", metavar="FILE",
                     help="a corpus each: .jsonl with a document per line, in the field \"text\"; else a text file, "
                     "in which <|endoftext|> separates documents; or 'shakespeare'")  # fmt: skip
    vocabulary = sub.add_mutually_exclusive_group()
    add_model(vocabulary)
    vocabulary.add_argument("--vocab-size", type=int, metavar="N",
                            help="instead of taking a model's, learn a vocabulary of N tokens from all corpora "
                            "together (also from what `train` keeps to validate), saved in --out")  # fmt: skip
    sub.add_argument("--against", nargs="+", default=[], metavar="FILE",
                     help="evaluation texts: how many of their n-grams occur in the corpora")  # fmt: skip
    duplicates = sub.add_mutually_exclusive_group()
    duplicates.add_argument("--deduplicate", action="store_true",
                            help="write only documents that repeat no earlier one in these files")  # fmt: skip
    duplicates.add_argument("--no-duplicates", action="store_true",
                            help="do not look for any, which takes memory: 8 bytes a word, "
                            "and a document at a time")  # fmt: skip
    sub.add_argument("--ngram", type=int, default=8, metavar="N", help="words in an n-gram (default 8)")
    sub.add_argument("--threshold", type=float, default=0.5, metavar="X",
                     help="a document is a near duplicate if more than this share of its n-grams occurred in those "
                     "kept before it (default 0.5)")  # fmt: skip
    sub.add_argument("--out", metavar="FOLDER", help="write each corpus to FOLDER/NAME.tokens")


def data(options):
    """Print statistics of corpora, clean them, and write them as token files."""
    from minigpt2 import Tokenizer
    from minigpt2.data import documents
    from minigpt2.data.cleaning import CorpusReport, Seen, corpus_table, describe, mark_duplicates, overlap
    from minigpt2.data.token_file import in_parts, write_tokens

    learn = options.vocab_size is not None
    if (learn or options.no_duplicates) and not options.out:
        flag = "--vocab-size" if learn else "--no-duplicates"
        raise ValueError(f"{flag} needs --out, the folder for the token files")
    if options.out:
        names = named(((Path(source).stem, source) for source in options.sources), "--out", "rename a file")
        if Path(options.out).exists() and not Path(options.out).is_dir():
            raise ValueError(f"--out: {options.out} is a file; give a folder for the token files")

    def kept(seen):
        """Each source in turn, without the documents that an earlier one has."""
        for source in options.sources:
            marked = mark_duplicates(documents(source), options.ngram, options.threshold, seen)
            yield (document for document, kind in marked if kind is None)

    if learn:
        texts = chain.from_iterable(kept(Seen()) if options.deduplicate else map(documents, options.sources))
        tokenizer = Tokenizer.train(chain.from_iterable(in_parts([text]) for text in texts), options.vocab_size)
    else:
        tokenizer = Tokenizer.from_pretrained(options.model)
    reports, seen = [], Seen()
    for source in () if options.no_duplicates else options.sources:
        reports.append(
            describe(source, documents(source), tokenizer, options.ngram, options.threshold, seen, progress=True)
        )
    shares = {}
    for text in options.against:
        corpora = chain.from_iterable(map(documents, options.sources))
        shares[text] = overlap(corpora, documents(text), options.ngram, progress=True)
    written = {}
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        # By its name a source is read in parts: with --no-duplicates a document may be larger than the memory.
        contents = kept(Seen()) if options.deduplicate else names.values()
        for name, content in zip(names, contents, strict=True):
            path = Path(options.out) / f"{name}.tokens"
            written[path] = file = write_tokens(path, tokenizer, [content], True)
            if options.no_duplicates:
                tokens = len(file.ids) - (file.documents - 1)  # without what separates documents
                reports.append(
                    CorpusReport(names[name], file.bytes, file.characters, file.documents, tokens, None, None)
                )
        if learn:
            tokenizer.save_pretrained(options.out)

    if reports:
        print(corpus_table(reports))
    for text, share in shares.items():
        print(f"{share:.2%} of the {options.ngram}-grams of {text} occur in these corpora")
    if learn:
        print(f"{options.out}: a vocabulary of {len(tokenizer):,} tokens")
    for path, file in written.items():
        print(f"{path}: {file.documents:,} documents, {file.ids.size:,} tokens")
    print("reproduce:", reproduce(options, model=None if learn else options.model))
