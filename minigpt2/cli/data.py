"""``minigpt2 data``: describe corpora, clean them, and write them as token files."""

from itertools import chain
from pathlib import Path

from minigpt2 import Tokenizer
from minigpt2.cli.common import Files, add_command, add_model, by_name, check_folder, check_new_vocabulary
from minigpt2.cli.reproduce import command_line
from minigpt2.cli.tokenize import learnable
from minigpt2.data import document_parts, documents
from minigpt2.data.cleaning import CorpusReport, Seen, corpus_table, describe, mark_duplicates, overlap
from minigpt2.data.token_file import write_tokens


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "data", run, "describe corpora, clean them, and write them as token files",
        "minigpt2 data a.txt b.jsonl --against test.txt",
        "minigpt2 data a.txt b.jsonl --deduplicate --vocab-size 8192 --out corpora",
        "minigpt2 train --tokenizer corpora --data corpora/a.tokens",
    )  # fmt: skip
    add = parser.add_argument
    add("sources", nargs="+", action=Files, metavar="FILE",
        help="one corpus each: JSON lines with a document in the field \"text\" of each; otherwise text in which "
        "<|endoftext|> separates documents; - for standard input; or 'alice', 'shakespeare'")  # fmt: skip
    vocabulary = parser.add_mutually_exclusive_group()
    add_model(vocabulary)
    vocabulary.add_argument("--vocab-size", type=int, metavar="N",
                            help="instead of using a model's, learn a vocabulary of N tokens from all corpora "
                            "together (including what `train` keeps for validation), and save it in --out, a "
                            "folder without one")  # fmt: skip
    add("--against", nargs="+", action=Files, default=[], metavar="FILE",
        help="evaluation texts: print what share of their n-grams occurs in the corpora")  # fmt: skip
    duplicates = parser.add_mutually_exclusive_group()
    duplicates.add_argument("--deduplicate", action="store_true",
                            help="write only documents that repeat no earlier one in these files")  # fmt: skip
    duplicates.add_argument("--no-duplicates", action="store_true",
                            help="do not look for duplicates; the search needs memory: 8 bytes per word, and room "
                            "for a whole document")  # fmt: skip
    add("--ngram", type=int, default=8, metavar="N", help="words in an n-gram (default 8)")
    add("--threshold", type=float, default=0.5, metavar="SHARE",
        help="a document is a near duplicate if more than this share of its n-grams occurred in the documents "
        "kept before it (default 0.5)")  # fmt: skip
    add("--out", metavar="FOLDER", help="write each corpus to FOLDER/NAME.tokens")


def run(options):
    """Print statistics of corpora, clean them, and write them as token files."""
    named = _sources_by_name(options)
    learn = options.vocab_size is not None
    tokenizer = _learned(options) if learn else Tokenizer.from_pretrained(options.model)
    reports, shares, seen = [], {}, Seen()
    for source in () if options.no_duplicates else options.sources:
        reports.append(
            describe(source, documents(source), tokenizer, options.ngram, options.threshold, seen, progress=True)
        )
    for text in options.against:
        corpora = chain.from_iterable(map(documents, options.sources))
        shares[text] = overlap(corpora, documents(text), options.ngram, progress=True)
    for report in reports if options.deduplicate else ():
        if report.documents == report.exact_duplicates + report.near_duplicates:
            raise ValueError(
                f"{report.name}: there is no document to write, since each repeats an earlier one; leave this file out"
            )
    written = _write(options, tokenizer, named) if options.out else {}
    if options.no_duplicates:
        reports = list(map(_report_of, options.sources, written.values()))
    if learn:
        tokenizer.save_pretrained(options.out)

    print(corpus_table(reports))
    for text, share in shares.items():
        print(f"{share:.2%} of the {options.ngram}-grams of {text} occur in these corpora")
    if learn:
        print(f"{options.out}: a vocabulary of {len(tokenizer):,} tokens")
    for path, file in written.items():
        print(f"{path}: {file.documents:,} document{'s' * (file.documents > 1)}, {file.ids.size:,} tokens")
    print("reproduce:", command_line(options, vars(options) | ({"model": None} if learn else {})))


def _sources_by_name(options):
    """Dict from the name of a token file to its source, {} without --out; ValueError if that does not fit."""
    if not options.out:
        for name in ("vocab_size", "no_duplicates", "deduplicate"):
            if getattr(options, name) not in (None, False):
                raise ValueError(f"--{name.replace('_', '-')} needs --out, the folder for the token files")
        return {}
    named = by_name(((_stem(source), source) for source in options.sources), "--out", "rename a file")
    check_folder(options.out, "token files")
    if options.vocab_size is not None:
        check_new_vocabulary(options.out)
    return named


def _stem(source):
    """The name of a source's token file, without its ending."""
    return "stdin" if source == "-" else Path(source).stem


def _kept(options):
    """For each source in turn its documents, without those that repeat an earlier one of this or another source."""
    seen = Seen()
    for source in options.sources:
        marked = mark_duplicates(documents(source), options.ngram, options.threshold, seen)
        yield (document for document, kind in marked if kind is None)


def _learned(options):
    """A tokenizer whose vocabulary comes from all sources."""
    kept = (([text] for text in texts) for texts in _kept(options))
    return Tokenizer.train(
        learnable(kept if options.deduplicate else map(document_parts, options.sources)), options.vocab_size
    )


def _write(options, tokenizer, named):
    """Write each source to its token file; returns a dict from path to TokenFile."""
    Path(options.out).mkdir(parents=True, exist_ok=True)
    # By its name a source is read in parts: with --no-duplicates a document may be larger than the memory.
    contents = _kept(options) if options.deduplicate else named.values()
    paths = [Path(options.out) / f"{name}.tokens" for name in named]
    return {
        path: write_tokens(path, tokenizer, [content], True) for path, content in zip(paths, contents, strict=True)
    }


def _report_of(source, file):
    """The statistics that a token file holds: all but the duplicates."""
    tokens = len(file.ids) - (file.documents - 1)  # without the separators of documents
    return CorpusReport(source, file.bytes, file.characters, file.documents, tokens, None, None)
