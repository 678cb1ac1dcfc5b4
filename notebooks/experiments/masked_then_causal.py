"""The experiment of notebook 3.1: does masked pre-training, converted as the document says, help a causal model?

    python notebooks/experiments/masked_then_causal.py --data shakespeare --out runs/masked

Ways to spend the same number of tokens, two seeds each:
    causal         1,200 steps of next-token prediction, from scratch
    restart        the same as two trainings of 600 steps each, as the next two are: the second begins with the weights
                   of the first, a new optimizer and a new schedule of the learning rate
    converted      600 steps of masked language modelling; then the output layer is replaced by four new
                   fully-connected layers, and 600 steps of next-token prediction follow
    same-head      the same, but with the existing output layer: the effect of the objective without a new head
And for comparison
    half           600 steps of next-token prediction from scratch: the second stage without the first
All have the same blocks, the same tokenizer and the same learning-rate schedule per stage. The step at which a model is
taken is chosen on one text and its loss is reported on another (``split.py``). How varied a model writes is measured
on samples at temperature 1: the share of different pairs among all pairs of neighbouring words.
"""

import argparse
import shlex
import statistics
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from runs import Runs
from split import split

from minigpt2 import GPT2, Tokenizer
from minigpt2.data import load_text, words
from minigpt2.data.mixture import Mixture, read_corpora
from minigpt2.measures import distinct_n
from minigpt2.storage.files import atomic_write, write_json

SEEDS = (1, 2)
STEPS = 1200
MOST = 800_000  # characters to learn from
SAMPLES, TOKENS, WORDS = 100, 60, 24  # samples of each model, their tokens, and how many words of each are counted
SIZES = {"n_layer": 2, "n_head": 4, "n_embd": 64}
COMMON = {"block_size": 64, "batch_size": 12, "dropout": 0.0, "lr": 3e-3, "eval_every": 150}
EARLIER = (
    "An earlier and larger run (commit c86f7c7: four blocks of 128 channels, 2,000 steps, learning rate 0.001, three "
    "seeds) had no restart, and its steps were chosen on the text that is reported: causal 1.638, masked and four new "
    "layers 1.736, masked and the same output layer 1.740, half the steps 1.763."
)
WAYS = {"causal": "causal from scratch", "restart": "causal, then causal with a restart",
        "converted": "masked, then causal with four new layers",
        "same-head": "masked, then causal with the same output layer",
        "half": "causal from scratch, half the steps"}  # fmt: skip
COLOURS = {"causal": "#0b559f", "restart": "#5b8fc7", "converted": "#c0392b", "same-head": "#d9a441", "half": "0.6"}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shakespeare", help="a text file, or 'shakespeare' for a download")
    parser.add_argument("--out", default="runs/masked", help="folder for the runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="folder for table and picture")
    parser.add_argument("--jobs", type=int, help="commands at a time; by default one on each core")
    options = parser.parse_args(arguments)
    runs = train(options.data, options.out, options.jobs)

    results = {way: [losses(runs, f"{way}-{seed}") for seed in SEEDS] for way in WAYS}
    masked = [min(line["val_loss"] for line in runs.evaluations(f"masked-{seed}")) for seed in SEEDS]
    diversity, samples = write_samples(runs)
    here = options.results
    write_json(here / "masked_then_causal.json", {
        "nats per character": {way: [pair["test"] for pair in pairs] for way, pairs in results.items()},
        "on the text that the step was chosen on": {way: [pair["selection"] for pair in pairs] for way, pairs in
                                                    results.items()},
        "nats per hidden token after the masked stage": masked,
        "frequencies alone, nats per token": by_frequency(runs),
        "distinct pairs of words": diversity,
        "samples": samples,
        "curves": {way: curves(runs, way) for way in ("masked", *WAYS)},
        "commands": runs.shell().split("\n"),
    })  # fmt: skip
    with atomic_write(here / "masked_then_causal.md", "w") as file:
        file.write(report(results, diversity, runs))
    draw(runs, here / "masked_then_causal.png")
    print(report(results, diversity, runs))


def train(data, out, jobs=None):
    """The runs, finished."""
    runs = Runs(out, jobs)
    name = runs.folder / "text"
    split(data, name, MOST)
    words = ["python", "notebooks/experiments/split.py", data, str(name), "--most", str(MOST)]
    runs.preparation = [shlex.join(words)]
    learn, test = f"{name}.txt:1", f"{name}-test.txt:0"
    half, common = STEPS // 2, {**COMMON, "data": [learn, test]}
    for seed in SEEDS:
        masked = runs.folder / f"masked-{seed}"
        runs.add(masked.name, objective="mlm", steps=half, vocab_size=1024, seed=seed, **SIZES,
                 **(common | {"data": [learn]}))  # fmt: skip
        runs.add(f"causal-{seed}", steps=STEPS, tokenizer=masked, seed=seed, **SIZES, **common)
        runs.add(f"half-{seed}", steps=half, tokenizer=masked, seed=seed, **SIZES, **common)
        runs.add(f"restart-{seed}", init_from=runs.folder / f"half-{seed}", steps=half, seed=seed + 100, **common)
        runs.add(f"same-head-{seed}", init_from=masked, steps=half, seed=seed, **common)
        runs.add(f"converted-{seed}", init_from=masked, head_layers=4, steps=half, seed=seed, **common)
    for stage in (("masked",), ("half", "causal"), ("restart", "same-head", "converted")):
        runs.run(*(f"{way}-{seed}" for seed in SEEDS for way in stage))
    return runs


def losses(runs, name):
    """The losses per character of the chosen step, on the text that it was chosen on and on the test text."""
    selection, test = runs.best(name)["corpora"].values()
    return {"selection": selection, "test": test}


def curves(runs, way):
    """{step: [test loss for each seed]}; of the masked stage the loss per hidden token on the selection text."""
    found = {}
    for seed in SEEDS:
        for line in runs.evaluations(f"{way}-{seed}"):
            loss = line["val_loss"] if way == "masked" else list(line["corpora"].values())[1]
            found.setdefault(str(line["step"]), []).append(loss)
    return found


def by_frequency(runs):
    """The loss per token of the tokens' frequencies, learned and measured where the masked stage is."""
    tokenizer = Tokenizer.from_pretrained(runs.folder / f"masked-{SEEDS[0]}")
    corpus = Mixture(read_corpora([f"{runs.folder / 'text'}.txt"]), tokenizer, block_size=1).corpora[0]
    counts = np.bincount(corpus.train_ids, minlength=len(tokenizer)) + 1.0
    return float(-np.log(counts / counts.sum())[corpus.validation_ids].mean())


def write_samples(runs):
    """{way: [distinct-2 for each seed]} and {way: a sample of the first seed}; "people": the test text itself."""
    diversity, samples = {way: [] for way in WAYS}, {}
    for way in WAYS:
        for seed in SEEDS:
            folder = runs.folder / f"{way}-{seed}"
            model, tokenizer = GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)
            prompt = tokenizer.encode("\n")
            ids = model.generate(prompt, TOKENS, temperature=1.0, seed=seed, num_samples=SAMPLES,
                                 allowed=tokenizer.known_ids)  # fmt: skip
            texts = [tokenizer.decode(row[len(prompt) :]) for row in ids]
            diversity[way].append(distinct(texts))
            if seed == SEEDS[0]:
                samples[way] = texts[0]
    test = load_text([f"{runs.folder / 'text'}-test.txt"])
    test = words(test[len(test) * 9 // 10 :])
    step = max(len(test) // SAMPLES, 1)
    diversity["people"] = [distinct([" ".join(test[i : i + WORDS]) for i in range(0, len(test) - WORDS, step)])]
    return diversity, samples


def distinct(texts):
    """distinct-2 of the first words of texts, equally many of each and of ``SAMPLES`` texts that have them."""
    long = [" ".join(found[:WORDS]) for text in texts if len(found := words(text)) >= WORDS]
    return distinct_n(long[: SAMPLES // 2], 2)


def report(results, diversity, runs):
    """The tables as Markdown, with the commands."""
    lines = [
        "# Masked pre-training, then causal training (notebook 3.1)",
        "",
        f"Nats per character on tiny Shakespeare's end; {STEPS:,} steps of {COMMON['batch_size']} windows of "
        f"{COMMON['block_size']} tokens in each row except the last, which has half of them. The step at which a model "
        "is taken is the best on another text (in brackets: the mean loss there).",
        "",
        "| way | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean | standard deviation | (chosen on) |",
        "|---|" + "---|" * (len(SEEDS) + 3),
    ]
    for way, pairs in results.items():
        tests = [pair["test"] for pair in pairs]
        row = [*tests, statistics.mean(tests), statistics.stdev(tests)]
        chosen = statistics.mean(pair["selection"] for pair in pairs)
        lines.append(f"| {WAYS[way]} | " + " | ".join(f"{number:.4f}" for number in row) + f" | ({chosen:.4f}) |")
    lines += [
        "",
        f"distinct-2, the share of different pairs of words, in {SAMPLES // 2} samples of {WORDS} words at temperature "
        f"1; people: {diversity['people'][0]:.3f}.",
        "",
        "| way | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean |",
        "|---|" + "---|" * (len(SEEDS) + 1),
    ]
    for way in WAYS:
        row = [*diversity[way], statistics.mean(diversity[way])]
        lines.append(f"| {WAYS[way]} | " + " | ".join(f"{number:.3f}" for number in row) + " |")
    return "\n".join([*lines, "", EARLIER, "", "```sh", runs.shell(), "```", ""])


def draw(runs, path):
    """The test loss over the number of steps, and that of the masked stage, which has another unit."""
    figure = Figure(figsize=(8, 4.4), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    for seed in range(len(SEEDS)):
        masked = curves(runs, "masked")
        left.plot([int(step) for step in masked], [by_seed[seed] for by_seed in masked.values()], color="#c0392b")
        for way, label in WAYS.items():
            start = 0 if way in ("causal", "half") else STEPS // 2
            points = {start + int(step): by_seed[seed] for step, by_seed in curves(runs, way).items() if int(step)}
            right.plot(list(points), list(points.values()), color=COLOURS[way], linewidth=1.2,
                       label=None if seed else label)  # fmt: skip
    left.set(xlabel="steps", ylabel="nats per hidden token", title="First stage: masked")
    right.set(xlabel="steps, both stages", ylabel="test loss, nats per character", title="Next-token prediction")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")


if __name__ == "__main__":
    main()
