"""The experiment of notebook 3.1: does masked pre-training, converted as the document says, help a causal model?

    python notebooks/experiments/masked_then_causal.py --data shakespeare --out runs/masked

Three ways to spend the same number of tokens, three seeds each:
    causal         2,000 steps of next-token prediction, from scratch
    converted      1,000 steps of masked language modelling; then the output layer is replaced by four new
                   fully-connected layers, and 1,000 steps of next-token prediction follow
    same-head      the same, but with the existing output layer: the effect of the objective without a new head
And for comparison
    half           1,000 steps of next-token prediction from scratch: the second stage without the first
All have the same blocks, the same tokenizer and the same learning-rate schedule per stage.
"""

import argparse
import statistics
from pathlib import Path

from matplotlib.figure import Figure
from runs import Runs

from minigpt2.storage.files import atomic_write, write_json

SEEDS = (1, 2, 3)
STEPS = 2000
SIZES = {"n_layer": 4, "n_head": 4, "n_embd": 128}
COMMON = {"block_size": 64, "batch_size": 12, "dropout": 0.0, "eval_every": 100}
WAYS = {"causal": "causal from scratch", "converted": "masked, then causal with four new layers",
        "same-head": "masked, then causal with the same output layer",
        "half": "causal from scratch, half the steps"}  # fmt: skip
COLOURS = {"causal": "#0b559f", "converted": "#c0392b", "same-head": "#d9a441", "half": "0.6"}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shakespeare", help="a text file, or 'shakespeare' for a download")
    parser.add_argument("--out", default="runs/masked", help="folder for the runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="folder for table and picture")
    options = parser.parse_args(arguments)
    runs = Runs(options.out)
    common = COMMON | {"data": options.data}

    for seed in SEEDS:
        runs.add(f"masked-{seed}", objective="mlm", steps=STEPS // 2, vocab_size=1024, seed=seed, **SIZES, **common)
        masked = runs.folder / f"masked-{seed}"
        runs.add(f"causal-{seed}", steps=STEPS, tokenizer=masked, seed=seed, **SIZES, **common)
        runs.add(f"half-{seed}", steps=STEPS // 2, tokenizer=masked, seed=seed, **SIZES, **common)
        runs.add(f"same-head-{seed}", init_from=masked, steps=STEPS // 2, seed=seed, **common)
        runs.add(f"converted-{seed}", init_from=masked, head_layers=4, steps=STEPS // 2, seed=seed, **common)
    runs.run(*(f"masked-{seed}" for seed in SEEDS))
    runs.run(*(f"{way}-{seed}" for seed in SEEDS for way in WAYS))

    results = {way: [runs.best(f"{way}-{seed}")["val_loss_per_character"] for seed in SEEDS] for way in WAYS}
    here = options.results
    write_json(here / "masked_then_causal.json", {"nats per character": results, "commands": runs.shell().split("\n")})
    with atomic_write(here / "masked_then_causal.md", "w") as file:
        file.write(report(results, runs))
    draw(runs, here / "masked_then_causal.png")
    print(report(results, runs))


def report(results, runs):
    """The table as Markdown, with the commands."""
    lines = [
        "# Masked pre-training, then causal training (notebook 3.1)",
        "",
        f"Lowest validation loss in nats per character; {STEPS:,} steps of {COMMON['batch_size']} windows of "
        f"{COMMON['block_size']} tokens in each row except the last, which has half of them.",
        "",
        "| way | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean | standard deviation |",
        "|---|" + "---|" * (len(SEEDS) + 2),
    ]
    for way, losses in results.items():
        row = [*losses, statistics.mean(losses), statistics.stdev(losses)]
        lines.append(f"| {WAYS[way]} | " + " | ".join(f"{number:.4f}" for number in row) + " |")
    return "\n".join([*lines, "", "```sh", runs.shell(), "```", ""])


def draw(runs, path):
    """The validation loss over the number of tokens seen, masked ones included."""
    figure = Figure(figsize=(8, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    for way, label in WAYS.items():
        start = 0 if way in ("causal", "half") else STEPS // 2
        for seed in SEEDS:
            lines = [line for line in runs.evaluations(f"{way}-{seed}") if line["step"]]
            steps = [start + line["step"] for line in lines]
            losses = [line["val_loss_per_character"] for line in lines]
            axes.plot(steps, losses, color=COLOURS[way], linewidth=1.2, label=label if seed == SEEDS[0] else None)
    axes.axvline(STEPS // 2, color="0.8", linewidth=0.8, zorder=0)
    axes.annotate("masked text until here for two of them", (STEPS // 2, 1), (-4, 0), ("data", "axes fraction"),
                  "offset points", ha="right", va="top", color="0.4", fontsize=8, in_layout=False)  # fmt: skip
    axes.set(xlabel="optimizer steps, both stages", ylabel="validation loss, nats per character",
             title="Masked pre-training against causal training, three seeds each")  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")


if __name__ == "__main__":
    main()
