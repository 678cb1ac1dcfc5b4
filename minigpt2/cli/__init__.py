"""The command line: ``minigpt2 generate | train | eval | report | data | tokenize | trace | compare | verify``.

One function per command; the parser is below them. Exit code 0 on success, 1 on a user's error with one line on
standard error (and where ``compare`` or ``verify`` finds a difference), 130 on Ctrl-C.
"""

import argparse
import dataclasses
import inspect
import json
import os
import shlex
import sys
from pathlib import Path

from minigpt2.settings import RUNS, TrainingSettings
from minigpt2.tasks import TASKS, function_of
from minigpt2.version import __version__


def main(arguments=None):
    """Run one command; ``arguments`` are those after the program's name. Returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
        code = options.command(options)
        sys.stdout.flush()
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader, e.g. `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"minigpt2: error: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("minigpt2: stopped", file=sys.stderr)
        return 130
    return code or 0


def generate(options):
    """Print the prompt and its continuation while it is being written."""
    from minigpt2.generation import stream_text

    model, tokenizer = _load(options.model, options.device)
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


def train(options):
    """Train a model in a run folder, or go on with one."""
    from minigpt2.training import Trainer

    given = {name: value for name, value in vars(options).items() if name in _SETTINGS}
    if options.resume:
        device = given.pop("device", None)
        if given or options.preset or options.out:
            raise ValueError("--resume goes on with the run's own settings; give no others but --device")
        run = Trainer.resume(options.resume, device)
    else:
        preset = options.preset or "shakespeare"
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        settings = dataclasses.replace(RUNS[preset], **given)
        sizes = [name for name in _SIZES if name in given]
        if settings.init_from and sizes:
            flag = sizes[0].replace("_", "-")
            raise ValueError(f"--init-from brings its own sizes and tokenizer; leave --{flag} away")
        run = Trainer(settings, options.out or f"runs/{preset}")
    print(
        f"{run.model.num_parameters:,} parameters, {run.mixture.train_tokens:,} training tokens; "
        f"everything goes to {run.folder}",
        file=sys.stderr,
    )
    try:
        best = run.run()
    except KeyboardInterrupt:
        print(f"\nstep {run.saved} is saved; go on with: minigpt2 train --resume {run.folder}", file=sys.stderr)
        raise
    if run.settings.patience and run.stale >= run.settings.patience:
        print(f"stopped at step {run.step}: {run.stale} evaluations without a lower loss")
    print(f"best validation loss: {best:.4f} {run.unit}")
    for corpus, before, after in run.changes() if run.settings.init_from else ():
        print(f"  {corpus}: {before:.4f} before, {after:.4f} after ({after - before:+.4f})")
    if run.settings.objective == "mlm":
        print(f"go on with: minigpt2 train --init-from {run.folder} --objective causal --head-layers 4 --out NEW")
    else:
        print(f"try it: minigpt2 generate --model {run.folder} --prompt 'The '")
    print("reproduce:", _train_command(run))


def _train_command(run):
    """The command that makes a run again. Last digits may differ with another number of BLAS threads."""
    words = ["minigpt2", "train", "--out", str(run.folder)]
    for name, field in _SETTINGS.items():
        value = getattr(run.settings, name)
        if value != field.default and not (run.settings.init_from and name in _SIZES):
            values = value if isinstance(value, tuple) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def evaluate(options):
    """Print loss and perplexity of a text, or with --task what ``_evaluate_task`` does."""
    from minigpt2.evaluation import evaluate

    if options.task:
        return _evaluate_task(options)
    if others := [name for name in _given_to_task(options) if name != "stride"]:
        raise ValueError(f"{_words(others[0], getattr(options, others[0]))[0]} belongs to a task; give --task as well")
    part = options.split or "all"
    model, tokenizer = _load(options.model, options.device)
    texts = [text for source in options.data for text in _documents(source, part)]
    result = evaluate(model, tokenizer, texts, options.stride, progress=True)
    print(f"tokens predicted           {result.tokens:>12,}   in windows of {model.config.n_positions},"
          f" one every {options.stride or model.config.n_positions}")  # fmt: skip
    print(f"characters predicted       {result.characters:>12,}   {result.characters / result.tokens:.3f} per token")
    print(f"loss per token             {result.loss:>12.4f}   nats")
    print(f"perplexity per token       {result.perplexity:>12.3f}")
    print(f"loss per character         {result.loss_per_character:>12.4f}   nats,"
          f" {result.bits_per_character:.4f} bits")  # fmt: skip
    print(f"perplexity per character   {result.perplexity_per_character:>12.3f}")
    _print_reproduce("--model", options.model, "--data", *options.data, "--split", part,
                     "--stride", options.stride or model.config.n_positions, *_device_words(options))  # fmt: skip


def _load(name, device):
    """A model that predicts the next token, and its tokenizer; ValueError for one that guesses masked tokens."""
    from minigpt2 import GPT2, Tokenizer
    from minigpt2.storage.files import read_json

    settings = Path(name) / "settings.json"
    if settings.is_file() and read_json(settings).get("objective") == "mlm":
        raise ValueError(
            f"{name} was trained to guess masked tokens, not the next one; convert it with: minigpt2 train "
            f"--init-from {name} --objective causal --head-layers 4 --out NEW"
        )
    return GPT2.from_pretrained(name).to(device), Tokenizer.from_pretrained(name)


def _documents(source, part):
    """The documents of a source, all of them or the part on which ``train`` trains or validates."""
    from minigpt2.data import documents, split_documents

    texts = list(documents(source))
    return texts if part == "all" else split_documents(texts)[part == "validation"]


def _evaluate_task(options):
    """Print how a zero-shot task was done, its figures with the paper's beside them, and the command."""
    from minigpt2.tasks.published import FIGURES, NOTES, SIZES, name_of, published

    run, named = function_of(options.task)
    parameters = inspect.signature(run).parameters
    given = _given_to_task(options)
    if options.split:
        raise ValueError(f"--split does not belong to the task {options.task}")
    for name, value in given.items():
        if name not in parameters:
            raise ValueError(f"{_words(name, value)[0]} does not belong to the task {options.task}")

    model, tokenizer = _load(options.model, options.device)
    result = run(model, tokenizer, options.data, **named, **given, progress=True)
    used = {name: parameters[name].default for name in parameters if name in _TASK_OPTIONS} | given
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
    _print_reproduce("--task", options.task, "--model", options.model, "--data", *options.data,
                     *(word for name, value in used.items() for word in _words(name, value)),
                     *_device_words(options))  # fmt: skip


# Arguments of the tasks' functions, and the options that give those that are True or False.
_TASK_OPTIONS = (
    "context", "stride", "detokenize", "by_line", "target", "stop_words", "preprocess", "score", "direction", "hint",
    "seed", "limit",
)  # fmt: skip
_FLAGS = {
    ("detokenize", False): "--no-detokenizer", ("preprocess", False): "--no-preprocess", ("hint", False): "--no-hint",
    ("stop_words", True): "--stop-words", ("by_line", True): "--by-line", ("by_line", False): "--no-by-line",
}  # fmt: skip


def _given_to_task(options):
    return {name: getattr(options, name) for name in _TASK_OPTIONS if getattr(options, name) is not None}


def _words(name, value):
    """An argument of a task's function as the command line writes it; nothing for what it need not be told."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [_FLAGS[name, value]] if (name, value) in _FLAGS else []
    return [f"--{name.replace('_', '-')}", str(value)]


def _device_words(options):
    return [] if options.device == "numpy" else ["--device", options.device]


def _print_reproduce(*words):
    print("reproduce:", shlex.join(["minigpt2", "eval", *map(str, words)]))


def report(options):
    """Measure what models write on several texts, and write it up in a folder."""
    from minigpt2.report import evaluation_report, loss_table, write_report

    if Path(options.out).exists() and not Path(options.out).is_dir():
        raise ValueError(f"--out: {options.out} is a file; give a folder for the report")
    paths = _named(map(_name_and_model, options.model or ["shakespeare"]), "--model", "give one a name: NAME=M")
    sources = _named(((Path(source).stem, source) for source in options.data), "--data", "rename a file")
    domains = {name: "\n".join(_documents(source, options.split)) for name, source in sources.items()}
    models = {name: _load(path, options.device) for name, path in paths.items()}
    found = evaluation_report(
        models, domains, options.temperatures, options.samples, options.length, options.top_k, options.seed,
        progress=True,
    )  # fmt: skip
    command = shlex.join([
        "minigpt2", "report", *(word for name, path in paths.items() for word in ("--model", f"{name}={path}")),
        "--data", *options.data, "--out", options.out, "--split", options.split, "--samples", str(options.samples),
        "--length", str(options.length), "--temperatures", *map(str, options.temperatures),
        *(["--top-k", str(options.top_k)] if options.top_k is not None else []), "--seed", str(options.seed),
        *_device_words(options),
    ])  # fmt: skip
    path = write_report(options.out, found, command)
    print(loss_table(found))
    print(f"the report is in {path}")
    print(f"reproduce: {command}")


def data(options):
    """Print what there is in corpora, clean them, and write them as token files."""
    from itertools import chain

    from minigpt2 import Tokenizer
    from minigpt2.data import documents
    from minigpt2.data.cleaning import CorpusReport, Seen, describe, mark_duplicates, overlap
    from minigpt2.data.token_file import in_parts, write_tokens

    learn = options.vocab_size is not None
    if (learn or options.no_duplicates) and not options.out:
        flag = "--vocab-size" if learn else "--no-duplicates"
        raise ValueError(f"{flag} needs --out, the folder for the token files")
    if options.out:
        named = _named(((Path(source).stem, source) for source in options.sources), "--out", "rename a file")
        if Path(options.out).exists() and not Path(options.out).is_dir():
            raise ValueError(f"--out: {options.out} is a file; give a folder for the token files")

    def kept(seen):
        """What is left of each source in turn: what an earlier one has is removed from a later one."""
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
        contents = kept(Seen()) if options.deduplicate else named.values()
        for name, content in zip(named, contents, strict=True):
            path = Path(options.out) / f"{name}.tokens"
            written[path] = file = write_tokens(path, tokenizer, [content], True)
            if options.no_duplicates:
                tokens = len(file.ids) - (file.documents - 1)  # without what separates documents
                reports.append(
                    CorpusReport(named[name], file.bytes, file.characters, file.documents, tokens, None, None)
                )
        if learn:
            tokenizer.save_pretrained(options.out)

    head = "corpus", "bytes", "characters", "documents", "tokens", "bytes/token", "exact duplicates", "near duplicates"
    rows = [head]
    for r in reports:
        rows.append([
            r.name, f"{r.bytes:,}", f"{r.characters:,}", f"{r.documents:,}", f"{r.tokens:,}",
            f"{r.bytes_per_token:.3f}",
            *("-" if n is None else f"{n:,}" for n in (r.exact_duplicates, r.near_duplicates)),
        ])  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *figures in rows:
        print(name.ljust(widths[0]), *map(str.rjust, figures, widths[1:]), sep="  ")
    for text, share in shares.items():
        print(f"{share:.2%} of the {options.ngram}-grams of {text} occur in these corpora")
    if learn:
        print(f"{options.out}: a vocabulary of {len(tokenizer):,} tokens")
    for path, file in written.items():
        print(f"{path}: {file.documents:,} documents, {file.ids.size:,} tokens")
    print("reproduce:", shlex.join([
        "minigpt2", "data", *options.sources,
        *(["--vocab-size", str(options.vocab_size)] if learn else ["--model", options.model]),
        *(["--against", *options.against] if options.against else []),
        *(["--deduplicate"] if options.deduplicate else []),
        *(["--no-duplicates"] if options.no_duplicates else []),
        "--ngram", str(options.ngram), "--threshold", str(options.threshold),
        *(["--out", options.out] if options.out else []),
    ]))  # fmt: skip


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
        print(tokenizer.decode(_numbers(options.ids)))
        return
    text = options.text if options.text is not None else load_text([options.file])
    if options.explain:
        if not hasattr(tokenizer, "explain"):
            raise ValueError("--explain: a character tokenizer has no steps to show")
        for piece in tokenizer.explain(text):
            print(piece)
    else:
        print(*tokenizer.encode(text, allow_special=options.allow_special))


def trace(options):
    """Write every activation, and on request every gradient, of one pass to a file."""
    from minigpt2 import GPT2, Tokenizer, trace
    from minigpt2.verification.trace import write_trace

    path = Path(options.output)
    if not path.absolute().parent.is_dir():
        raise ValueError(f"-o: there is no folder {path.parent} to write {path.name} to")
    if options.ids is not None:
        ids = _numbers(options.ids)
    else:
        ids = Tokenizer.from_pretrained(options.model).encode(options.text)
    targets = None if options.targets is None else _numbers(options.targets, "--targets")
    model = GPT2.from_pretrained(options.model, options.dtype).to(options.device)
    tensors = trace(model, ids, targets, options.backward, options.label_smoothing)
    write_trace(path, tensors, {
        "model": options.model, "config": model.config.to_dict(), "label_smoothing": options.label_smoothing,
    })  # fmt: skip
    print(f"{path}: {len(tensors)} tensors of {tensors['ids'].size} tokens, {options.dtype}, "
          f"{path.stat().st_size / 1e6:,.1f} MB")  # fmt: skip
    print(f"loss {tensors['loss']:.6f} nats per target")


def compare(options):
    """Print where another implementation parts from ours, and why if it is a classic mistake."""
    from minigpt2.verification.compare import compare
    from minigpt2.verification.names import MAPS, read_map
    from minigpt2.verification.trace import layer_norm_epsilon, read_trace

    names = options.map if options.map is None or options.map in MAPS else read_map(options.map)
    ours, metadata = read_trace(options.ours)
    theirs, _ = read_trace(options.theirs)
    report = compare(ours, theirs, options.rtol, options.atol, names, layer_norm_epsilon(metadata))
    print(report)
    return 0 if report else 1


def verify(options):
    """Hold the library against its references, a line per check; exit code 1 if any fails."""
    from tqdm import tqdm

    from minigpt2.verification.verify import verify

    results = []
    for result in verify(options.model, options.debug_state):
        results.append(result)
        if not options.json:
            tqdm.write(str(result), file=sys.stdout)
            sys.stdout.flush()
    failed = [result.name for result in results if result.verdict == "FAILED"]
    skipped = sum(result.verdict == "skipped" for result in results)
    if options.json:
        checks = [result.to_dict() for result in results]
        print(json.dumps({"minigpt2": __version__, "passed": not failed, "checks": checks}, indent=2))
    else:
        ok = len(results) - skipped - len(failed)
        print(f"{len(results)} checks: {ok} ok, {len(failed)} failed, {skipped} skipped")
    return int(bool(failed))


def _numbers(text, option="--ids"):
    try:
        return [int(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"{option} takes whole numbers such as 15496,11,616; got {text!r}") from None


def _name_and_model(value):
    """What ``report --model NAME=M`` means; without NAME=, or if a folder is called so, it is the folder's name."""
    name, equals, path = value.partition("=")
    return (name, path) if equals and not Path(value).is_dir() else (Path(value).resolve().name, value)


def _named(pairs, option, advice):
    named = {}
    for name, value in pairs:
        if not name or name in named:
            raise ValueError(f"{option}: {f'two are called {name!r}' if name else f'{value!r} has no name'}; {advice}")
        named[name] = value
    return named


def _one_line(error):
    return " ".join(str(error).split())


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call as one line and exit code 1, like every other error of the user's."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message):
        raise ValueError(f"{message} (see `{self.prog} --help`)")


_SIZES = "n_layer", "n_head", "n_embd", "tokenizer", "vocab_size"  # which a trained model brings along
_SETTINGS = {field.name: field for field in dataclasses.fields(TrainingSettings)}


def _parser():
    parser = _Parser(
        prog="minigpt2",
        description="GPT-2 in plain NumPy: generate text, train, evaluate, look at tokens, verify.",
        epilog='example:\n  minigpt2 generate --prompt "ROMEO:"',
    )
    parser.add_argument("--version", action="version", version=f"minigpt2 {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name, function, description, example):
        sub = commands.add_parser(name, help=description, description=description, epilog=f"example:\n  {example}")
        sub.set_defaults(command=function)
        return sub

    def add_model(sub):
        sub.add_argument(
            "--model", default="shakespeare", metavar="M",
            help="'shakespeare' (built in, default), a folder, or gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2",
        )  # fmt: skip

    def add_device(sub):
        sub.add_argument(
            "--device", choices=["numpy", "cupy"], default="numpy",
            help="where to compute: numpy, the processor (default), or cupy, a CUDA device (pip install "
            "'minigpt2[cupy]'); the last digits may differ",
        )  # fmt: skip

    sub = command(
        "generate", generate, "continue a text",
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

    sub = command("train", train, "train a model on a text",
                  "minigpt2 train --preset nanogpt-cpu --out runs/nano\n  minigpt2 train --data my.txt --steps 500\n"
                  "  minigpt2 train --resume runs/nano\n"
                  "  minigpt2 train --data a.txt:0.7 b.txt:0.3 --out runs/mixed\n"
                  "  minigpt2 train --init-from runs/mixed --data a.txt:1 b.txt:0 --freeze wte h.0 --patience 3\n"
                  "  minigpt2 train --init-from shakespeare --data my.txt --lora-rank 8 --out runs/lora\n"
                  "  minigpt2 train --objective mlm --out runs/mlm\n"
                  "  minigpt2 train --init-from runs/mlm --head-layers 4 --out runs/converted")  # fmt: skip
    sub.add_argument("--preset", choices=RUNS, help="settings to start from (default shakespeare, the built-in's)")
    sub.add_argument("--out", metavar="RUN", help="new folder for the run (default runs/PRESET)")
    sub.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    settings = sub.add_argument_group("settings", "they change the preset's; shown are those of 'shakespeare'")
    for name, field in _SETTINGS.items():
        lists = {"data": "FILE", "freeze": "PART"}
        kind = {"nargs": "+", "metavar": lists[name]} if name in lists else {"type": field.type, "metavar": "X"}
        shown = " ".join(field.default) if name in lists else field.default
        shown = "none" if shown == "" else shown
        settings.add_argument(
            f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=f"{field.metadata['help']} ({shown})", **kind
        )

    sub = command("eval", evaluate, "loss and perplexity of a text, per token and per character, or a zero-shot task",
                  "minigpt2 eval --data shakespeare --split validation --stride 64\n"
                  "  minigpt2 eval --task lambada --data lambada_test.jsonl --model gpt2")  # fmt: skip
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

    sub = command("report", report, "measure quality, coherence and diversity of models on several texts",
                  "minigpt2 report --data shakespeare --out reports/shakespeare\n  minigpt2 report "
                  "--model zero-shot=shakespeare --model fine-tuned=runs/x --data drama.txt verse.txt --out reports/x"
                  )  # fmt: skip
    sub.add_argument("--model", action="append", metavar="[NAME=]M",
                     help="a model as for `minigpt2 generate`, and what the report calls it (default: its folder's "
                     "name); once for each model (default shakespeare)")  # fmt: skip
    sub.add_argument("--data", nargs="+", required=True, metavar="FILE",
                     help="text files, a domain each, or 'shakespeare'")  # fmt: skip
    sub.add_argument("--out", required=True, metavar="FOLDER", help="where to write report.md, .png and .json")
    sub.add_argument("--split", choices=["all", "train", "validation"], default="validation",
                     help="of each text its last 10 %% (default), its first 90 %% or all")  # fmt: skip
    sub.add_argument("--samples", type=int, default=8, metavar="N",
                     help="texts per model, domain and temperature (default 8)")  # fmt: skip
    sub.add_argument("--length", type=int, default=64, metavar="N", help="tokens in each (default 64)")
    sub.add_argument("--temperatures", type=float, nargs="+", default=[0.5, 0.8, 1.0, 1.2], metavar="X",
                     help="of the samples (default 0.5 0.8 1.0 1.2)")  # fmt: skip
    sub.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same report (default 0)")
    add_device(sub)

    sub = command("data", data, "describe corpora, clean them, and write them as token files",
                  "minigpt2 data a.txt b.jsonl --against test.txt\n"
                  "  minigpt2 data a.txt b.jsonl --deduplicate --vocab-size 8192 --out corpora\n"
                  "  minigpt2 train --tokenizer corpora --data corpora/a.tokens")  # fmt: skip
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

    sub = command("tokenize", tokenize, "turn text into token ids and back",
                  'minigpt2 tokenize --text "Hello, world" --explain')  # fmt: skip
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

    sub = command("trace", trace, "write every activation and gradient of one pass to a safetensors file",
                  'minigpt2 trace --text "To be, or not to be" --backward -o ours.safetensors')  # fmt: skip
    add_model(sub)
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="text to run the model on")
    what.add_argument("--ids", help="the same as token ids, e.g. 15496,11,616")
    sub.add_argument("--targets", metavar="IDS",
                     help="tokens that should follow, -100 where none counts: --targets=-100,7,8 "
                     "(default: the next)")  # fmt: skip
    sub.add_argument("--backward", action="store_true", help="the gradients of all activations and parameters too")
    sub.add_argument("--dtype", choices=["float32", "float64"], default="float32",
                     help="precision to compute in (default float32)")  # fmt: skip
    sub.add_argument("--label-smoothing", type=float, default=0.0, metavar="E", help="of the loss (default 0)")
    sub.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    add_device(sub)

    sub = command("verify", verify, "hold minigpt2 against differences, PyTorch and published answers",
                  "minigpt2 verify\n  minigpt2 verify --model gpt2 --json")  # fmt: skip
    sub.add_argument("--model", metavar="M",
                     help="weights to verify too: a folder, or gpt2, ... "
                     "(default: gpt2 if it has been downloaded)")  # fmt: skip
    sub.add_argument("--debug-state", metavar="FILE",
                     help="llm.c's gpt2_124M_debug_state.bin, with --model gpt2: logits, loss, gradients")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    sub = command("compare", compare, "find the first tensor in which another implementation differs, and why",
                  "minigpt2 compare ours.safetensors theirs.npz --map transformers")  # fmt: skip
    sub.add_argument("ours", help="a file that `minigpt2 trace` wrote")
    sub.add_argument("theirs", help="the other implementation's tensors, .safetensors or .npz")
    sub.add_argument("--rtol", type=float, metavar="X",
                     help="largest difference relative to a tensor's size (default: 5e-5, float64 1e-10)")  # fmt: skip
    sub.add_argument("--atol", type=float, metavar="X", help="differences below are none (default rtol * 1e-6)")
    sub.add_argument("--map", metavar="NAMES",
                     help="what their names stand for: transformers, nanogpt (also minGPT), llm.c, or a JSON file with "
                     '{"their.{i}.name": "h.{i}.our.name", ...}')  # fmt: skip
    return parser
