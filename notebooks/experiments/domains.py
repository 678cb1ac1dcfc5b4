"""The experiment of notebooks 3.2, 3.3 and 5: three domains, and a model's knowledge of one it was not trained on.

    python notebooks/experiments/domains.py --verse poems.txt --out runs/domains

The domains: English drama (tiny Shakespeare), Chinese verse (any UTF-8 text of poems), technical English (the help
texts of Python itself, ``pydoc_data.topics``, without copies). One byte-level BPE serves all three. For each domain and
each of two seeds a general model is trained on the two *other* domains, half and half. Then these are compared:
    zero-shot     the general model, unchanged
    scratch       a new model, trained only on the domain
    fine-tuned    the general model, trained on the domain for the same number of steps
    half-frozen   the same with the tables and the lower one of two blocks frozen
    LoRA          the same with adapters of rank 8 and everything else frozen
and two controls, since the table ``wte`` is the output layer too, and holds tokens that the general model never read:
    half-frozen, wte free      the same, but ``wte`` is trained
    LoRA, wte free             the same, but ``wte`` is trained (``lora_and_wte.py``)
For verse there is a third: the general model with new random vectors for the tokens that it never read
(``new_rows.py``), unchanged and fine-tuned.

The learning rate of each way is the best of three on drama with seed 1; for verse, two ways are tried with all three
rates. It and the step at which a model is taken are chosen on one text and reported on another (``split.py``).
*Forgotten* is the loss on the other two domains after the training on a domain, minus the loss before.
"""

import argparse
import math
import shlex
import statistics
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from new_rows import read_tokens
from runs import Runs
from split import split

from minigpt2 import GPT2, Tokenizer
from minigpt2.data import documents
from minigpt2.data.mixture import Mixture, read_corpora
from minigpt2.storage.files import atomic_write, write_json

SEEDS = (1, 2)
GENERAL_STEPS, DOMAIN_STEPS = 500, 150
RATES = (1e-3, 3e-3, 1e-2)
MOST = 300_000  # characters of a domain
VOCABULARY = 2048
SIZES = {"n_layer": 2, "n_head": 4, "n_embd": 64}
COMMON = {"block_size": 64, "batch_size": 12, "dropout": 0.0}
DOMAINS = {"drama": "English drama", "verse": "Chinese verse", "technical": "technical English"}
WAYS = {
    "scratch": {},
    "fine-tuned": {},
    "half-frozen": {"freeze": ["wte", "wpe", "h.0"]},
    "LoRA": {"lora_rank": 8},
}
HERE = Path(__file__).parent
CONTROLS = {
    "half-frozen, wte free": {"freeze": ["wpe", "h.0"]},
    "LoRA, wte free": {"lora_rank": 8, "program": ("python", "notebooks/experiments/lora_and_wte.py")},
}
COLOURS = {"zero-shot": "0.75", "scratch": "#d9a441", "fine-tuned": "#0b559f", "half-frozen": "#5b8fc7",
           "LoRA": "#a3c4e6"}  # fmt: skip
PROMPTS = {"drama": "ROMEO:\n", "verse": "春", "technical": "The "}


class Experiment:
    """The runs and where their texts are."""

    def __init__(self, options):
        self.runs = Runs(options.out, options.jobs)
        self.texts = {"drama": options.drama, "verse": options.verse, "technical": "topics"}
        self.learn = {domain: str(self.runs.folder / f"{domain}.txt") for domain in DOMAINS}
        self.test = {domain: str(self.runs.folder / f"{domain}-test.txt") for domain in DOMAINS}

    def prepare(self):
        """Cut the texts."""
        for domain, text in self.texts.items():
            split(text, self.runs.folder / domain, MOST)
            words = ["python", "notebooks/experiments/split.py", text, str(self.runs.folder / domain)]
            self.runs.preparation.append(shlex.join([*words, "--most", str(MOST)]))

    def data(self, *domains):
        """The flag for training on some domains in equal shares; all are tested."""
        return [f"{self.learn[domain]}:1" for domain in domains] + [f"{test}:0" for test in self.test.values()]

    def train_general(self):
        """The models before they meet a domain."""
        general = {"steps": GENERAL_STEPS, "lr": 3e-3, "eval_every": max(GENERAL_STEPS // 2, 1)}
        self.runs.add("mixed", **general, seed=1, data=self.data(*DOMAINS), vocab_size=VOCABULARY, **SIZES, **COMMON)
        self.runs.run("mixed")
        for seed in SEEDS:
            for domain in DOMAINS:
                others = self.data(*(other for other in DOMAINS if other != domain))
                self.runs.add(f"general-{domain}-{seed}", **general, seed=seed, data=others,
                              tokenizer=self.runs.folder / "mixed", **SIZES, **COMMON)  # fmt: skip
        self.runs.run(*self.runs.commands)

    def add(self, way, domain, seed, rate, origin=None, name=None):
        """Training on a domain; returns the run's name."""
        flags = (WAYS | CONTROLS)[way]
        if way == "scratch":
            start = {"tokenizer": self.runs.folder / "mixed", **SIZES}
        else:
            start = {"init_from": origin or self.runs.folder / f"general-{domain}-{seed}"}
        name = name or f"{way.replace(', ', '-').replace(' ', '-')}-{domain}-{seed}-{rate:g}"
        self.runs.add(name, steps=DOMAIN_STEPS, lr=rate, eval_every=max(DOMAIN_STEPS // 3, 1), seed=seed,
                      data=self.data(domain), **start, **flags, **COMMON)  # fmt: skip
        return name

    def try_rates(self, domain, ways):
        """{way: {rate: the loss of seed 1 on the domain's selection text}}, in bits per character."""
        names = {way: {rate: self.add(way, domain, 1, rate) for rate in RATES} for way in ways}
        self.runs.run(*(name for by_rate in names.values() for name in by_rate.values()))
        return {
            way: {rate: self.runs.best(name)["val_loss_per_character"] / math.log(2) for rate, name in by_rate.items()}
            for way, by_rate in names.items()
        }

    def train_domains(self, rates):
        """{way: {domain: [the name of a run, for each seed]}}. rates: {way: learning rate}"""
        names = {way: {domain: [] for domain in DOMAINS} for way in WAYS | CONTROLS}
        for seed in SEEDS:
            for domain in DOMAINS:
                for way in names:
                    names[way][domain].append(self.add(way, domain, seed, rates[way]))
        self.runs.run(*(name for by_domain in names.values() for each in by_domain.values() for name in each))
        return names

    def train_with_new_rows(self, rate):
        """For verse, names of the runs that begin with new vectors for the tokens that were never read."""
        names = []
        for seed in SEEDS:
            origin = self.runs.folder / f"new-rows-{seed}"
            learn = [self.learn[domain] for domain in DOMAINS if domain != "verse"]
            model = self.runs.folder / f"general-verse-{seed}"
            self.runs.add(f"new-rows-{seed}", ("python", "notebooks/experiments/new_rows.py"), model=model, data=learn,
                          seed=seed)  # fmt: skip
            names.append(self.add("fine-tuned", "verse", seed, rate, origin, f"fine-tuned-new-rows-{seed}-{rate:g}"))
        self.runs.run(*(name for name in self.runs.commands if name.startswith("new-rows")))
        self.runs.run(*names)
        return names

    def bits(self, line):
        """Bits per character of each domain's test text in a line of a run's metrics."""
        return {domain: line["corpora"][test] / math.log(2) for domain, test in self.test.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drama", default="shakespeare", help="a text file, or 'shakespeare' for a download")
    parser.add_argument("--verse", required=True, help="a text file of Chinese poems")
    parser.add_argument("--out", default="runs/domains", help="folder for the runs")
    parser.add_argument("--results", type=Path, default=HERE, help="folder for table and picture")
    parser.add_argument("--jobs", type=int, help="commands at a time; by default one on each core")
    options = parser.parse_args(arguments)
    experiment = Experiment(options)
    experiment.prepare()
    experiment.train_general()
    rates = {"drama": experiment.try_rates("drama", WAYS | CONTROLS)}
    best = {way: min(by_rate, key=by_rate.get) for way, by_rate in rates["drama"].items()}
    names = experiment.train_domains(best)
    new = experiment.train_with_new_rows(best["fine-tuned"])
    rates["verse"] = experiment.try_rates("verse", ("scratch", "fine-tuned"))  # would others have been better there?
    results = collect(experiment, names, new)
    results |= {"learning rates": rates, "commands": experiment.runs.shell().split("\n")}
    here = options.results
    write_json(here / "domains.json", results)
    with atomic_write(here / "domains.md", "w") as file:
        file.write(report(results))
    draw(results["bits per character"], here / "domains.png")
    print(report(results))


def collect(experiment, names, new):
    """The results as they are written to domains.json."""
    runs = experiment.runs

    def losses(name):
        return experiment.bits(runs.best(name))

    general = {domain: [losses(f"general-{domain}-{seed}") for seed in SEEDS] for domain in DOMAINS}
    found = {"zero-shot": {domain: [each[domain] for each in general[domain]] for domain in DOMAINS}}
    forgotten = {}
    for way, by_domain in names.items():
        after = {domain: [losses(name) for name in by_domain[domain]] for domain in DOMAINS}
        found[way] = {domain: [each[domain] for each in after[domain]] for domain in DOMAINS}
        if way != "scratch":
            forgotten[way] = {
                domain: [
                    statistics.mean(now[other] - before[other] for other in DOMAINS if other != domain)
                    for now, before in zip(after[domain], general[domain], strict=True)
                ]
                for domain in DOMAINS
            }
    before = [experiment.bits(runs.evaluations(name)[0])["verse"] for name in new]
    return {
        "bits per character": {way: found[way] for way in ("zero-shot", *WAYS)},
        "forgotten, bits per character": {way: forgotten[way] for way in WAYS if way != "scratch"},
        "wte free, bits per character": {way: found[way] for way in CONTROLS},
        "wte free, forgotten, bits per character": {way: forgotten[way] for way in CONTROLS},
        "new vectors for tokens never read, verse": {
            "zero-shot": before, "fine-tuned": [losses(name)["verse"] for name in new],
        },
        "one model for all": losses("mixed"),
        "without a model": {domain: without_a_model(experiment, domain) for domain in DOMAINS},
        "samples": {domain: samples(experiment, names, domain) for domain in DOMAINS},
    }  # fmt: skip


def without_a_model(experiment, domain):
    """What a guess costs on a domain's test text, and how much of it the general models had never read."""
    tokenizer = Tokenizer.from_pretrained(experiment.runs.folder / "mixed")
    corpus = Mixture(read_corpora([experiment.test[domain]]), tokenizer, block_size=1).corpora[0]
    text = "".join(documents(experiment.test[domain]))
    text = text[int(0.9 * len(text)) :]
    others = [experiment.learn[other] for other in DOMAINS if other != domain]
    ids = corpus.validation_ids
    unread = ~np.isin(ids, read_tokens(others, tokenizer))
    per_character = len(ids) / len(text)
    return {
        "characters": len(text), "tokens per character": per_character,
        "uniform over the vocabulary, bits per character": math.log2(len(tokenizer)) * per_character,
        "plain file, bits per character": 8 * len(text.encode()) / len(text),
        "share of tokens never read": float(unread.mean()),
        "different tokens": len(np.unique(ids)), "of these never read": len(np.unique(ids[unread])),
    }  # fmt: skip


def samples(experiment, names, domain):
    """{way: what its first model writes after the domain's prompt, at temperature 0.7}"""
    folder = experiment.runs.folder
    found, paths = {}, {"zero-shot": f"general-{domain}-{SEEDS[0]}"} | {way: names[way][domain][0] for way in names}
    for way, name in paths.items():
        model, tokenizer = GPT2.from_pretrained(folder / name), Tokenizer.from_pretrained(folder / name)
        prompt = tokenizer.encode(PROMPTS[domain])
        ids = model.generate(prompt, 60, temperature=0.7, seed=1, allowed=tokenizer.known_ids)
        found[way] = tokenizer.decode(ids)
    return found


def report(results):
    """The tables as Markdown, with the commands."""

    def table(*parts):
        yield "| | " + " | ".join(DOMAINS.values()) + " |"
        yield "|---|" + "---|" * len(DOMAINS)
        for way, by_domain in (row for part in parts for row in results[part].items()):
            cells = (f"{statistics.mean(n):.3f} ± {statistics.stdev(n):.3f}" for n in by_domain.values())
            yield f"| {way} | " + " | ".join(cells) + " |"

    def line(name, form, row):
        return f"| {name} | " + " | ".join(form.format(results["without a model"][d][row]) for d in DOMAINS) + " |"

    new = results["new vectors for tokens never read, verse"]
    rates = results["learning rates"]
    return "\n".join([
        "# Zero-shot, from scratch, fine-tuned (notebooks 3.2, 3.3 and 5)",
        "",
        f"Bits per character at the end of each domain's text; mean and standard deviation of {len(SEEDS)} seeds. "
        f"General models: {GENERAL_STEPS:,} steps on the two other domains; the others: {DOMAIN_STEPS} steps on the "
        "domain. The step at which a model is taken, and the learning rate of each way, are chosen on another text.",
        "",
        *table("bits per character", "wte free, bits per character"),
        "| one model for all three (seed 1) | "
        + " | ".join(f"{number:.3f}" for number in results["one model for all"].values()) + " |",
        line("uniform guess", "{:.3f}", "uniform over the vocabulary, bits per character"),
        line("plain file", "{:.3f}", "plain file, bits per character"),
        line("tokens that the general model never read", "{:.0%}", "share of tokens never read"),
        "",
        "Verse, the general model with new random vectors for the tokens that it never read: "
        + "; ".join(f"{way} {statistics.mean(n):.3f} ± {statistics.stdev(n):.3f}" for way, n in new.items()) + ".",
        "",
        "Forgotten: the rise of the loss on the two other domains, in bits per character, the mean of the two.",
        "",
        *table("forgotten, bits per character", "wte free, forgotten, bits per character"),
        "",
        "Learning rates with seed 1, bits per character on the text that things are chosen on. Those that are used are "
        "the best on drama; the rates on verse show what another choice would have changed.",
        "",
        "| | " + " | ".join(f"{rate:g}" for rate in RATES) + " |",
        "|---|" + "---|" * len(RATES),
        *(
            f"| {way}, {domain} | " + " | ".join(f"{n:.3f}" for n in by_rate.values()) + " |"
            for domain, ways in rates.items()
            for way, by_rate in ways.items()
        ),
        "",
        "```sh",
        *results["commands"],
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
