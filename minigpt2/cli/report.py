"""``minigpt2 report``: measure what models write on several texts, and write it up in a folder."""

from pathlib import Path

from minigpt2.cli.common import add_command, add_device, documents_of, load, named, reproduce


def add_parser(commands):
    """The flags of ``minigpt2 report``."""
    sub = add_command(
        commands, "report", report, "measure quality, coherence and diversity of models on several texts",
        "minigpt2 report --data shakespeare --out reports/shakespeare",
        "minigpt2 report --model zero-shot=shakespeare --model fine-tuned=runs/x --data drama.txt verse.txt "
        "--out reports/x",
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


def report(options):
    """Measure what models write on several texts, and write it up in a folder."""
    from minigpt2.report import evaluation_report, loss_table, write_report

    if Path(options.out).exists() and not Path(options.out).is_dir():
        raise ValueError(f"--out: {options.out} is a file; give a folder for the report")
    paths = named(map(name_and_model, options.model or ["shakespeare"]), "--model", "give one a name: NAME=M")
    sources = named(((Path(source).stem, source) for source in options.data), "--data", "rename a file")
    domains = {name: "\n".join(documents_of(source, options.split)) for name, source in sources.items()}
    models = {name: load(path, options.device) for name, path in paths.items()}
    found = evaluation_report(
        models, domains, options.temperatures, options.samples, options.length, options.top_k, options.seed,
        progress=True,
    )  # fmt: skip
    command = reproduce(options, model=[f"{name}={path}" for name, path in paths.items()])
    path = write_report(options.out, found, command)
    print(loss_table(found))
    print(f"the report is in {path}")
    print(f"reproduce: {command}")


def name_and_model(value):
    """What ``report --model NAME=M`` means; without NAME=, or if a folder is called so, it is the folder's name."""
    name, equals, path = value.partition("=")
    return (name, path) if equals and not Path(value).is_dir() else (Path(value).resolve().name, value)
