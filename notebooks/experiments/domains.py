"""The experiment of notebooks 3.2, 3.3 and 5: three domains, and a model's knowledge of one it was not trained on.

    python notebooks/experiments/domains.py --verse poems.txt --out runs/domains

The domains: English drama (tiny Shakespeare), Chinese verse (any UTF-8 text of poems), technical English (the help
texts of Python itself, ``pydoc_data.topics``). One byte-level BPE serves all three. For each domain and each of three
seeds a general model is trained on the two *other* domains, half and half. Then these are compared:
    zero-shot     the general model, unchanged
    scratch       a new model, trained only on the domain
    fine-tuned    the general model, trained on the domain for the same number of steps
    half-frozen   the same with embeddings and the first two of four blocks frozen
    LoRA          the same with adapters of rank 8 and everything else frozen
*Forgotten* is the loss on the other two domains after fine-tuning, minus the loss before.
"""

import argparse
import math
import shlex
import statistics
from pathlib import Path
from pydoc_data.topics import topics

from matplotlib.figure import Figure
from runs import Runs

from minigpt2.storage.files import atomic_write, write_json

SEEDS = (1, 2, 3)
GENERAL_STEPS, DOMAIN_STEPS = 1000, 300
SIZES = {"n_layer": 4, "n_head": 4, "n_embd": 128}
COMMON = {"block_size": 64, "batch_size": 12, "dropout": 0.0}
DOMAINS = {"drama": "English drama", "verse": "Chinese verse", "technical": "technical English"}
WAYS = {
    "scratch": {},
    "fine-tuned": {},
    "half-frozen": {"freeze": ["wte", "wpe", "h.0", "h.1"]},
    "LoRA": {"lora_rank": 8},
}
COLOURS = {"zero-shot": "0.75", "scratch": "#d9a441", "fine-tuned": "#0b559f", "half-frozen": "#5b8fc7",
           "LoRA": "#a3c4e6"}  # fmt: skip


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drama", default="shakespeare", help="a text file, or 'shakespeare' for a download")
    parser.add_argument("--verse", required=True, help="a text file of Chinese poems")
    parser.add_argument("--out", default="runs/domains", help="folder for the runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="folder for table and picture")
    options = parser.parse_args(arguments)
    runs = Runs(options.out)
    runs.folder.mkdir(parents=True, exist_ok=True)
    technical = runs.folder / "technical.txt"
    with atomic_write(technical, "w") as file:
        file.write("\n".join(topics.values()))
    write = f"open({str(technical)!r}, 'w').write('\\n'.join(topics.values()))"
    program = f"from pydoc_data.topics import topics; {write}"
    runs.preparation = [f"mkdir -p {shlex.quote(options.out)}", shlex.join(["python", "-c", program])]
    files = {"drama": options.drama, "verse": options.verse, "technical": str(technical)}

    def weights(**given):
        return [f"{file}:{given.get(domain, 0)}" for domain, file in files.items()]

    everything = {"data": weights(drama=1, verse=1, technical=1), "vocab_size": 2048}
    runs.add("mixed", steps=GENERAL_STEPS, eval_every=250, seed=1, **everything, **SIZES, **COMMON)
    for seed in SEEDS:
        for domain in DOMAINS:
            others = {"data": weights(**{other: 1 for other in DOMAINS if other != domain})}
            new = {"tokenizer": runs.folder / "mixed", **SIZES}
            runs.add(f"general-{domain}-{seed}", steps=GENERAL_STEPS, eval_every=250, seed=seed,
                     **others, **new, **COMMON)  # fmt: skip
            for way, flags in WAYS.items():
                start = new if way == "scratch" else {"init_from": runs.folder / f"general-{domain}-{seed}"}
                only = {"data": weights(**{domain: 1}), "warmup_steps": 30}
                runs.add(f"{way}-{domain}-{seed}", steps=DOMAIN_STEPS, eval_every=50, seed=seed,
                         **only, **start, **flags, **COMMON)  # fmt: skip
    runs.run("mixed")
    runs.run(*(name for name in runs.commands if name.startswith("general")))
    runs.run(*runs.commands)

    losses, forgotten = collect(runs, files)
    here = options.results
    mixed = bits(runs.best("mixed"), files)
    write_json(here / "domains.json", {"bits per character": losses, "forgotten, bits per character": forgotten,
                                       "one model for all": mixed, "commands": runs.shell().split("\n")})  # fmt: skip
    with atomic_write(here / "domains.md", "w") as file:
        file.write(report(losses, forgotten, mixed, runs))
    draw(losses, here / "domains.png")
    print(report(losses, forgotten, mixed, runs))


def bits(line, files):
    """Bits per character of each domain in a line of a run's metrics."""
    return {domain: line["corpora"][file] / math.log(2) for domain, file in files.items()}


def collect(runs, files):
    """{way: {domain: [bits per character, a number per seed]}}, and the same for the forgotten bits."""
    losses = {way: {domain: [] for domain in DOMAINS} for way in ("zero-shot", *WAYS)}
    forgotten = {way: {domain: [] for domain in DOMAINS} for way in WAYS if way != "scratch"}
    for domain in DOMAINS:
        for seed in SEEDS:
            before = bits(runs.best(f"general-{domain}-{seed}"), files)
            losses["zero-shot"][domain].append(before[domain])
            for way in WAYS:
                after = bits(runs.best(f"{way}-{domain}-{seed}"), files)
                losses[way][domain].append(after[domain])
                if way in forgotten:
                    others = [after[other] - before[other] for other in DOMAINS if other != domain]
                    forgotten[way][domain].append(statistics.mean(others))
    return losses, forgotten


def report(losses, forgotten, mixed, runs):
    """The tables as Markdown, with the commands."""

    def table(results):
        yield "| | " + " | ".join(DOMAINS.values()) + " |"
        yield "|---|" + "---|" * len(DOMAINS)
        for way, by_domain in results.items():
            cells = (f"{statistics.mean(n):.3f} ± {statistics.stdev(n):.3f}" for n in by_domain.values())
            yield f"| {way} | " + " | ".join(cells) + " |"

    return "\n".join([
        "# Zero-shot, from scratch, fine-tuned (notebooks 3.2, 3.3 and 5)",
        "",
        f"Bits per character on each domain's last tenth; mean and standard deviation of {len(SEEDS)} seeds. General "
        f"models: {GENERAL_STEPS:,} steps on the two other domains; the others: {DOMAIN_STEPS} steps on the domain.",
        "",
        *table(losses),
        "| one model for all three (seed 1) | " + " | ".join(f"{number:.3f}" for number in mixed.values()) + " |",
        "",
        "Forgotten: the rise of the loss on the two other domains, in bits per character, the mean of the two.",
        "",
        *table(forgotten),
        "",
        "```sh",
        runs.shell(),
        "```",
        "",
    ])  # fmt: skip


def draw(losses, path):
    """Bars: a group per domain, a bar per way, a dot per seed."""
    figure = Figure(figsize=(8, 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(DOMAINS))
    for axes, (domain, title) in zip(panels, DOMAINS.items(), strict=True):
        for place, (way, by_domain) in enumerate(losses.items()):
            numbers = by_domain[domain]
            axes.bar(place, statistics.mean(numbers), color=COLOURS[way], width=0.8)
            axes.plot([place] * len(numbers), numbers, ".", color="0.2", markersize=4)
            axes.text(place, max(numbers), f"{statistics.mean(numbers):.2f}", ha="center", va="bottom", fontsize=8)
        axes.set_xticks(range(len(losses)), losses, rotation=60, ha="right", fontsize=9)
        axes.set_title(title, fontsize=11)
        axes.margins(y=0.1)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("bits per character, lower is better")
    with atomic_write(path) as file:
        figure.savefig(file, format="png")


if __name__ == "__main__":
    main()
