"""The evaluation report: the quality of models and of their texts, domain by domain, a number for each claim.

    quality     how well a model predicts a text that it was not trained on, in bits per character
    coherence   how much the far context helps it to do so, and how rarely its own texts repeat themselves
    diversity   how much its texts differ within and from one another

Every measure of a model's text is shown beside the same measure of the human text in that place.
Shapes: B samples, T tokens.
"""

import math
import warnings
from pathlib import Path

import numpy as np
import regex

from minigpt2.data import words
from minigpt2.evaluation import evaluate, total_nats
from minigpt2.generation import before_stop, end_ids, generate
from minigpt2.measures import distinct_n, repeated_n_grams, self_bleu
from minigpt2.progress import progress_bar
from minigpt2.sampling import Sampling
from minigpt2.storage.files import atomic_write, write_json

PROMPT_TOKENS = 16
NEAR_TOKENS = 8  # the near context: about two words for characters, half a line for a large vocabulary
FIRST_CHARACTERS = regex.compile(r"(?m)^[^\S\n]*\S")  # up to the first visible character of a line
COLOURS = "#0b559f", "#d9730d", "#2f8f5b", "#9b4fb0", "#b5342c", "#6b6b6b"


def evaluation_report(
    models, domains, temperatures=(0.5, 0.8, 1.0, 1.2), samples=8, length=64, top_k=None, seed=0, progress=False
):
    """Measure quality, coherence and diversity of models on held-out texts.

        quality   = -log2 p(text) / characters
        coherence = (-log2 p(text | NEAR_TOKENS tokens) + log2 p(text | all that fit)) / characters

    The full context moves on by half of n_positions at a time, so that a token is predicted from at least that
    many; the near context by one token, so that it is always NEAR_TOKENS (for the first tokens: all there are). In
    tokens read, that costs two passes over the text, and another NEAR_TOKENS passes.

    The text is cut into ``samples`` equal parts. The first PROMPT_TOKENS tokens after the first line start of each
    are a prompt, and the ``length`` tokens after them are the human text. A model continues all prompts
    together, once per temperature; a sample ends before <|endoftext|> if that comes first. Prompts are cut in a
    model's own tokens, so models with different vocabularies start in the same places, with the same number of
    tokens but not of characters.

    models: {name: (GPT2, its Tokenizer or CharTokenizer)}; domains: {name: str, a text that no model has seen}
    temperatures: of the samples, each once; 0 is greedy
    samples: texts per model, domain and temperature, 2 or more; length: tokens in each, 1 or more
    top_k: as in ``minigpt2.generation.stream``
    seed: for the draws, the same for each model, domain and temperature: none depends on what else is reported
    progress: True shows bars on standard error
    returns a dict that JSON can hold: "settings"; "losses", a dict per domain and model, in nats and bits;
        "texts", a dict per domain, writer and temperature (None for the human) with the measures of
        ``minigpt2.measures`` (None where there was nothing to measure), the prompts and the continuations.
    raises: ValueError when something is missing, out of range, too short, or not in a tokenizer's vocabulary,
        before the work begins; and as ``minigpt2.measures.self_bleu``.
    """
    temperatures = list(temperatures)
    _check(models, domains, temperatures, samples, length)
    for temperature in temperatures:
        Sampling(temperature, top_k, seed=seed)
    passages = {
        (domain, name): _passages(domain, text, name, tokenizer, samples, length)
        for domain, text in domains.items()
        for name, (_, tokenizer) in models.items()
    }
    losses, texts = [], []
    steps = len(passages) * (1 + len(temperatures))
    with progress_bar(desc="report", total=steps, show=progress) as bar:
        for domain, text in domains.items():
            texts += _human_texts(domain, {name: passages[domain, name] for name in models}, models)
            for name, (model, tokenizer) in models.items():
                losses.append({"domain": domain, "model": name} | _losses(model, tokenizer, text, progress))
                bar.update()
                prompts, stop = passages[domain, name][:, :PROMPT_TOKENS], end_ids(model, tokenizer)
                for temperature in temperatures:
                    ids = generate(
                        model, prompts, length, temperature=temperature, top_k=top_k, seed=seed, stop=stop,
                        allowed=tokenizer.known_ids,
                    )  # fmt: skip
                    continuations = _decode(tokenizer, ids[:, PROMPT_TOKENS:], stop)
                    texts.append(_text_row(domain, name, temperature, _decode(tokenizer, prompts), continuations))
                    bar.update()
    settings = {
        "models": {
            name: {"vocabulary": len(tokenizer), "n_positions": model.config.n_positions,
                   "parameters": model.num_parameters}
            for name, (model, tokenizer) in models.items()
        },
        "domains": {domain: {"characters": len(text)} for domain, text in domains.items()},
        "temperatures": temperatures, "samples": samples, "length": length, "prompt_tokens": PROMPT_TOKENS,
        "near_tokens": NEAR_TOKENS, "top_k": top_k, "seed": seed,
    }  # fmt: skip
    return {"settings": settings, "losses": losses, "texts": texts}


def write_report(folder, report, command=None):
    """Write what ``evaluation_report`` returned as report.md to read, report.png and report.json.

    folder: made if it does not exist; files of the same names are replaced
    command: the command line that reproduces this report, if there is one
    returns the path of report.md. The picture is omitted when matplotlib is not installed, and with a warning when it
        cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", report)
    try:
        picture = plot_report(folder / "report.png", report)
    except OSError as error:  # on Windows a program that shows the old one keeps it from being replaced
        warnings.warn(f"{folder / 'report.png'} is not of this report: {error}; is it open elsewhere?", stacklevel=2)
        picture = None
    except Exception as error:  # matplotlib's own: the measurements are worth more than their picture
        warnings.warn(f"{folder / 'report.png'} cannot be drawn: {error}", stacklevel=2)
        picture = None
    with atomic_write(folder / "report.md", "w") as file:
        file.write(_markdown(report, picture, command))
    return folder / "report.md"


def loss_table(report):
    """Quality and the use of context, a row per domain and model, as a Markdown table."""
    near = report["settings"]["near_tokens"]
    header = [
        "domain", "model", "tokens", "loss", "perplexity", "bits per character", f"from {near} tokens", "saved",
    ]  # fmt: skip
    return _table(header, [
        [row["domain"], row["model"], f"{row['tokens']:,}", f"{row['loss']:.4f}", f"{row['perplexity']:,.2f}",
         f"{row['bits_per_character']:.4f}", f"{row['near_bits_per_character']:.4f}",
         f"{row['far_context_bits']:.4f}"]
        for row in report["losses"]
    ])  # fmt: skip


def measure_table(report):
    """Repetition and diversity, a row per domain, writer and temperature, as a Markdown table."""
    header = [
        "domain", "writer", "temperature", "words", "repeated 4-grams", "distinct-1", "distinct-2", "distinct-3",
        "self-BLEU",
    ]  # fmt: skip
    shares = "repeated_4_grams", "distinct_1", "distinct_2", "distinct_3"
    return _table(header, [
        [row["domain"], row["writer"], _number(row["temperature"], "g"), f"{row['words']:,}",
         *(_number(row[name], ".3f") for name in shares), _number(row["self_bleu"], ".2f")]
        for row in report["texts"]
    ])  # fmt: skip


def plot_report(path, report):
    """Draw a report: bits per character on the left, repetition and diversity over temperature on the right.

    returns the path, or None when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    settings = report["settings"]
    models, domains, temperatures = list(settings["models"]), list(settings["domains"]), settings["temperatures"]
    figure = Figure(figsize=(10, 5), dpi=120, layout="constrained")
    axes = figure.subplot_mosaic([["bits", "repeated"], ["bits", "distinct"]], width_ratios=[1.15, 1])
    drawn, labels = [], []

    width = 0.8 / max(len(models), 2)
    for n, name in enumerate(models):
        bits = [row["bits_per_character"] for row in report["losses"] if row["model"] == name]
        places = np.arange(len(domains)) + (n - (len(models) - 1) / 2) * width
        bars = axes["bits"].bar(places, bits, 0.92 * width, color=COLOURS[n % len(COLOURS)])
        if len(models) * len(domains) <= 12:  # with more, the numbers would overlap
            axes["bits"].bar_label(bars, fmt="%.2f", padding=2, fontsize=9)
        drawn.append(bars)
        labels.append(_label(name, f"model {n + 1}"))
    axes["bits"].set_xticks(range(len(domains)), [_label(name, f"domain {n + 1}") for n, name in enumerate(domains)])
    if sum(len(name) for name in domains) > 45:
        for text in axes["bits"].get_xticklabels():
            text.set(rotation=25, ha="right", rotation_mode="anchor")
    axes["bits"].margins(y=0.1)
    axes["bits"].set(title="Quality: bits per character (lower is better)", xlim=(-0.6, len(domains) - 0.4))

    humans = sorted({row["writer"] for row in report["texts"] if row["temperature"] is None})
    for place, measure, title in (
        ("repeated", "repeated_4_grams", "Coherence: share of repeated 4-grams"),
        ("distinct", "distinct_2", "Diversity: distinct-2"),
    ):
        for n, name in enumerate(models):
            means = [_mean_over_domains(report, name, temperature, measure) for temperature in temperatures]
            axes[place].plot(temperatures, means, color=COLOURS[n % len(COLOURS)], marker="o", markersize=5, zorder=3)
        for human in humans:
            mean = _mean_over_domains(report, human, None, measure)
            line = axes[place].axhline(math.nan if mean is None else mean, color="0.35", linestyle="--", linewidth=1.2)
        axes[place].set_xticks(temperatures, [f"{temperature:g}" for temperature in temperatures])
        axes[place].margins(y=0.15)
        axes[place].set_title(title)
    axes["repeated"].set_ylim(0, max(0.05, axes["repeated"].get_ylim()[1]))  # often nothing is repeated
    axes["repeated"].tick_params("x", labelbottom=False)
    axes["distinct"].set_xlabel("temperature" + (" (values: means over the domains)" if len(domains) > 1 else ""))

    for panel in axes.values():
        panel.spines[["top", "right"]].set_visible(False)
        panel.title.set_fontsize(11)
        panel.grid(axis="y", color="0.9")
        panel.set_axisbelow(True)
    figure.legend(
        [*drawn, line], [*labels, "human text"], loc="outside lower center", ncols=min(len(drawn) + 1, 4), frameon=False
    )
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    return path


def _check(models, domains, temperatures, samples, length):
    if not models or not domains or not temperatures:
        raise ValueError(
            f"report: at least one model, domain and temperature are needed, got {len(models)}, {len(domains)} and "
            f"{len(temperatures)}"
        )
    if len(set(temperatures)) < len(temperatures):
        raise ValueError(f"report: give each temperature once, got {' '.join(map(str, temperatures))}")
    if samples < 2:
        raise ValueError(f"report: at least 2 samples are needed to compare one with another, got {samples}")
    if length < 1:
        raise ValueError(f"report: length must be at least 1 token, got {length}")


def _passages(domain, text, name, tokenizer, samples, length):
    """Prompts and the human text after them: tokens (B, PROMPT_TOKENS + length) from evenly spaced lines."""
    try:
        tokenizer.encode(text)
    except ValueError as error:
        raise ValueError(f"report: model {name!r} cannot read domain {domain!r}: {error}") from None
    lines = [match.end() - 1 for match in FIRST_CHARACTERS.finditer(text)] + [len(text)]
    parts = np.arange(samples) * len(text) / samples
    starts = [lines[i] for i in np.searchsorted(lines, parts)]
    rows = []
    for n, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True), 1):
        ids = tokenizer.encode(text[start:end])
        if len(ids) < PROMPT_TOKENS + length:
            raise ValueError(
                f"report: domain {domain!r} is too short: from the first line start in part {n} of {samples} to that "
                f"in the next there are {len(ids)} tokens of model {name!r}, but a prompt of {PROMPT_TOKENS} and "
                f"{length} to compare with are needed; use a longer text, fewer samples or a smaller length"
            )
        rows.append(ids[: PROMPT_TOKENS + length])
    return np.asarray(rows)


def _losses(model, tokenizer, text, progress):
    full = evaluate(model, tokenizer, text, max(1, model.config.n_positions // 2), progress)
    near = min(NEAR_TOKENS, model.config.n_positions)
    near_nats = total_nats(model, tokenizer.encode(text), stride=1, context=near, progress=progress)
    near_bits = near_nats / full.characters / math.log(2)
    return {
        "tokens": full.tokens, "characters": full.characters, "nats": full.nats, "near_nats": near_nats,
        "loss": full.loss, "perplexity": full.perplexity, "bits_per_character": full.bits_per_character,
        "near_bits_per_character": near_bits, "far_context_bits": near_bits - full.bits_per_character,
    }  # fmt: skip


def _human_texts(domain, passages, models):
    """A row for the human text, or several if the vocabularies cut it in different places."""
    writers = {}  # (prompts, continuations) -> names of the models that get these
    for name, ids in passages.items():
        parts = ids[:, :PROMPT_TOKENS], ids[:, PROMPT_TOKENS:]
        prompts, continuations = (tuple(_decode(models[name][1], part)) for part in parts)
        writers.setdefault((prompts, continuations), []).append(name)
    return [
        _text_row(
            domain, "human text" if len(writers) == 1 else f"human text as for {', '.join(names)}", None,
            list(prompts), list(continuations),
        )
        for (prompts, continuations), names in writers.items()
    ]  # fmt: skip


def _text_row(domain, writer, temperature, prompts, continuations):
    return {
        "domain": domain, "writer": writer, "temperature": temperature,
        "words": sum(len(words(text)) for text in continuations),
        "repeated_4_grams": repeated_n_grams(continuations, 4),
        "distinct_1": distinct_n(continuations, 1), "distinct_2": distinct_n(continuations, 2),
        "distinct_3": distinct_n(continuations, 3), "self_bleu": self_bleu(continuations),
        "prompts": prompts, "continuations": continuations,
    }  # fmt: skip


def _decode(tokenizer, ids, ends=None):
    """The texts of token ids (B, T), each up to the first of ``ends``; by default that between documents."""
    ends = [tokenizer.eos_id] if ends is None else ends
    return [tokenizer.decode(before_stop(row, ends)) for row in ids.tolist()]


def _mean_over_domains(report, writer, temperature, measure):
    values = [
        row[measure]
        for row in report["texts"]
        if (row["writer"], row["temperature"]) == (writer, temperature) and row[measure] is not None
    ]
    return sum(values) / len(values) if values else None


def _label(name, otherwise):
    """A name that a picture can show: the font has Latin letters only, and a $ would start a formula."""
    if not name.isprintable() or any(character > "\u024f" for character in name):
        return otherwise
    return (name if len(name) <= 28 else f"{name[:27]}…").replace("$", r"\$")


def _number(value, form):
    return "–" if value is None else format(value, form)


def _table(header, rows):
    """A Markdown table that is readable as plain text: names to the left, numbers to the right."""
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    columns = []
    for n, column in enumerate(zip(header, *rows, strict=True)):
        width = max(map(len, column))
        first, *others = (cell.ljust(width) if n < 2 else cell.rjust(width) for cell in column)
        columns.append([first, "-" * width if n < 2 else "-" * (width - 1) + ":", *others])
    return "".join(f"| {' | '.join(row)} |\n" for row in zip(*columns, strict=True))


def _markdown(report, picture, command):
    settings = report["settings"]
    models = "".join(
        f"- model **{name}**: {model['parameters']:,} parameters, a vocabulary of {model['vocabulary']:,}, "
        f"{model['n_positions']:,} positions\n"
        for name, model in settings["models"].items()
    )
    domains = "".join(
        f"- domain **{name}**: {domain['characters']:,} characters\n" for name, domain in settings["domains"].items()
    )
    parts = [
        "# Evaluation report: quality, coherence, diversity\n",
        models + domains,
        "## Quality, and the value of the far context\n",
        loss_table(report),
        "## The samples: repetition and diversity\n",
        measure_table(report),
        *(["![Bits per character; repetition and diversity over temperature](report.png)\n"] if picture else []),
        "## The columns\n",
        _protocol(settings),
        *(["## The command\n", f"```\n{command}\n```\n"] if command else []),
        "## Samples\n",
        "The first sample of each model, domain and temperature; report.json holds them all.\n",
        *_samples(report),
    ]
    return "\n".join(parts)


def _protocol(settings):
    names = "near_tokens", "prompt_tokens", "length", "samples", "seed"
    near, prompt, length, samples, seed = (settings[name] for name in names)
    top_k = "" if settings["top_k"] is None else f" from the {settings['top_k']} likeliest tokens"
    return f"""\
Quality and context, measured on all of a domain's text:

- **tokens**: the number predicted, all but the first.
- **loss**: mean of -log p over these tokens, in nats; **perplexity**: exp(loss). Both depend on the vocabulary:
  compare them only between models with the same one. A token is predicted from at least half of the model's
  positions, wherever the text has that many tokens before it.
- **bits per character**: the same sum in bits, divided by the number of characters. This is the quality; it can
  be compared across vocabularies (Radford et al. 2019, section 3.1). Lower is better.
- **from {near} tokens**: bits per character when a token is predicted from the {near} tokens before it and no others.
- **saved**: the difference, the bits per character that the far context saves: a first number for coherence. A model
  that uses only the nearest words saves nothing. {near} tokens of a large vocabulary are more text than {near}
  of a small one: compare it only between models with the same vocabulary.

The samples: a domain's text is cut into {samples} equal parts. The first {prompt} tokens after the first line start of
each are a prompt, and the model continues each with {length} tokens, drawn{top_k} with seed {seed}, up to <|endoftext|>
if that comes first. Only the continuation is measured. **human text** is the text that follows the same prompts, the
same number of tokens: a model's numbers should be neither higher nor lower. Words are in lower case and without
punctuation; a Chinese character counts as a word.

- **temperature**: below 1 the likely tokens are drawn more often than the model predicts, above 1 less often.
- **words**: in all {samples} continuations together. Distinct-n falls as texts get longer, so compare only texts
  of about the same length.
- **repeated 4-grams**: share of a text's runs of four words that occurred earlier in the same text, averaged over the
  texts; the second number for coherence (seq-rep-4; Welleck et al. 2020, "Neural Text Generation with Unlikelihood
  Training").
- **distinct-1, -2, -3**: distinct words, pairs and triples of words, divided by all of them (Li et al. 2016, "A
  Diversity-Promoting Objective Function for Neural Conversation Models").
- **self-BLEU**: mean BLEU-4 of each text with the others as references, 0 to 100; high when the texts are alike (Zhu
  et al. 2018, "Texygen"; computed with sacrebleu, smoothing "floor" 0.1).
"""


def _samples(report):
    """The first prompt of each domain and every writer's continuation of it, as Markdown."""
    by_prompt = {}  # vocabularies may cut the prompt in different places
    for row in report["texts"]:
        by_prompt.setdefault((row["domain"], row["prompts"][0]), []).append(row)
    for (domain, prompt), rows in by_prompt.items():
        yield f"### {domain}\n\nThe prompt:\n\n{_fenced(prompt)}"
        for row in rows:
            at = "" if row["temperature"] is None else f", temperature {row['temperature']:g}"
            yield f"{row['writer']}{at}:\n\n{_fenced(row['continuations'][0])}"


def _fenced(text):
    """A text as a block that ends where it should: without control characters, in a fence that it does not contain."""
    text = regex.sub(r"[^\P{C}\n\t]", "\ufffd", text)
    fence = "`" * max(3, 1 + max(map(len, regex.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}\n"
