"""``minigpt2 report``: measure models on several texts, and write a report with a picture."""

from pathlib import Path

from minigpt2.cli.common import Files, add_command, add_device, by_name, check_folder, documents_of, load
from minigpt2.cli.reproduce import command_line
from minigpt2.report import evaluation_report, loss_table, write_report


def add_parser(commands):
    """Add the command and its flags."""
    parser = add_command(
        commands, "report", run, "measure quality, coherence and diversity of models on several texts",
        "minigpt2 report --data shakespeare --out reports/shakespeare",
        "minigpt2 report --model zero-shot=shakespeare --model fine-tuned=runs/x --data drama.txt verse.txt "
        "--out reports/x",
    )  # fmt: skip
    add = parser.add_argument
    add("--model", action="append", metavar="[NAME=]MODEL",
        help="a model as for `minigpt2 generate`, and its name in the report (default: its folder's name); give the "
        "flag once for each model (default shakespeare)")  # fmt: skip
    add("--data", nargs="+", action=Files, required=True, metavar="FILE",
        help="text files, one for each domain; or 'alice', 'shakespeare'")  # fmt: skip
    add("--out", required=True, metavar="FOLDER", help="where to write report.md, .png and .json")
    add("--split", choices=["all", "train", "validation"], default="validation",
        help="which part of each text: its last 10 %% (default), its first 90 %% or all")  # fmt: skip
    add("--samples", "--num-samples", type=int, default=8, metavar="N",
        help="samples per model, domain and temperature (default 8)")  # fmt: skip
    add("--length", "--max-new-tokens", type=int, default=64, metavar="N", help="tokens in each sample (default 64)")
    add("--temperatures", "--temperature", type=float, nargs="+", action="extend", metavar="T",
        help="temperatures of the samples (default 0.5 0.8 1.0 1.2)")  # fmt: skip
    add("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same report (default 0)")
    add_device(parser)


def run(options):
    """Measure, write the report, and print its table of losses."""
    check_folder(options.out, "report")
    options.temperatures = options.temperatures or [0.5, 0.8, 1.0, 1.2]
    paths = by_name(map(name_and_model, options.model or ["shakespeare"]), "--model", "give one a name: NAME=MODEL")
    sources = by_name(((Path(source).stem, source) for source in options.data), "--data", "rename a file")
    domains = {name: "\n".join(documents_of(source, options.split)) for name, source in sources.items()}
    models = {name: load(path, options.device) for name, path in paths.items()}
    found = evaluation_report(
        models, domains, options.temperatures, options.samples, options.length, options.top_k, options.seed,
        progress=True,
    )  # fmt: skip
    command = command_line(options, vars(options) | {"model": [f"{name}={path}" for name, path in paths.items()]})
    path = write_report(options.out, found, command)
    print(loss_table(found))
    print(f"the report is in {path}")
    print(f"reproduce: {command}")


def name_and_model(value):
    """What --model NAME=MODEL means; without NAME=, or if the whole value is a folder, the name is the folder's."""
    name, equals, path = value.partition("=")
    return (name, path) if equals and not Path(value).is_dir() else (Path(value).resolve().name, value)
