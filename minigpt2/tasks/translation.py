"""Translation without training: example pairs "english sentence = french sentence", and one left open."""

from minigpt2.data import read_jsonl, read_lines
from minigpt2.tasks.answers import first_examples, greedy_lines, prompt_room
from minigpt2.tasks.metrics import bleu, sacrebleu
from minigpt2.tasks.result import Result

DIRECTIONS = ("en-fr", "fr-en")
PAIRS = 5  # shown to the model as examples
SHORT = 15  # words in a sentence shown, at most
TOKENS = 200  # in a translation, at most


def translation(model, tokenizer, data, direction="en-fr", limit=None, progress=False):
    """BLEU of a model's translations.

    model: GPT2; tokenizer: its Tokenizer
    data: list of one path, of a JSONL file of {"translation": {"en": "...", "fr": "..."}}; or of two, of text
        files with a sentence per line: the sentences to translate and their translations
    direction: "en-fr" or "fr-en", from-to
    limit: how many sentences at most, from the first on; None: all. The pairs shown do not count
    progress: True shows a bar on standard error
    returns Result.
    raises: FileNotFoundError or ValueError, naming file and line, for bad data; ValueError for another direction,
        when sacrebleu is not installed, or when there are too few short pairs to show.
    Source: Radford et al. 2019, section 3.7.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be {' or '.join(DIRECTIONS)}, got {direction!r}")
    version = sacrebleu().__version__  # missing packages are reported before hours of work
    pairs = _read_pairs(data, direction)
    shown = [number for number, pair in enumerate(pairs) if all(1 <= len(s.split()) <= SHORT for s in pair)][:PAIRS]
    if len(shown) < PAIRS:
        raise ValueError(
            f"{', '.join(map(str, data))}: {PAIRS} pairs with at most {SHORT} words in each sentence are needed "
            f"as examples for the model, there are {len(shown)}"
        )
    scored = (pair for number, pair in enumerate(pairs) if number not in shown)
    sources, references = zip(*first_examples(scored, limit, data), strict=True)

    context = "".join(f"{source} = {target}\n" for source, target in (pairs[number] for number in shown))
    new = min(TOKENS, model.config.n_positions // 2)
    room = prompt_room(model, 1, new)
    prompts = [tokenizer.encode(f"{context}{source} =") for source in sources]
    cut = sum(len(prompt) > room for prompt in prompts)
    texts = greedy_lines(model, tokenizer, [prompt[-room:] for prompt in prompts], new, progress)
    return Result(
        task="translation",
        examples=len(texts),
        figures={"BLEU (%)": bleu(texts, list(references))},
        protocol={
            "direction": direction,
            "prompt": f"{PAIRS} lines 'sentence = translation', then 'sentence ='",
            "examples shown": f"the first {PAIRS} pairs of the data with at most {SHORT} words per sentence, "
            f"number {', '.join(str(number + 1) for number in shown)}; they are not scored",
            "too long": f"prompts keep their last {room:,} tokens, {cut:,} of {len(texts):,} were cut",
            "decoding": "greedy",
            "tokens": f"{new} at most",
            "translation": "up to the first line end or <|endoftext|>, without white space around it",
            "normalisation": f"none; sacrebleu {version}, its own settings: 13a tokens, case kept, "
            "exponential smoothing, one reference",
            "denominator": "one BLEU for all sentences together",
        },
    )


def _read_pairs(data, direction):
    """All (sentence, translation) of one JSONL file or two parallel text files, without white space around them."""
    if len(data) == 1:
        return list(_read_translations(data[0], *direction.split("-")))
    if len(data) != 2:
        raise ValueError(
            "translation takes one JSONL file, or two text files: the sentences and their translations; "
            f"got {len(data)} paths"
        )
    sources, references = ([line.strip() for line in read_lines(path)] for path in data)
    if len(sources) != len(references):
        raise ValueError(
            f"{data[0]} has {len(sources):,} lines, {data[1]} has {len(references):,}; "
            "line for line they must be a sentence and its translation"
        )
    return list(zip(sources, references, strict=True))


def _read_translations(path, source, target):
    for number, example in read_jsonl(path, ("translation",)):
        pair = example["translation"]
        if not isinstance(pair, dict) or not all(isinstance(pair.get(language), str) for language in (source, target)):
            raise ValueError(
                f"{path}, line {number}: 'translation' must be an object with the texts {source!r} and {target!r}, "
                f"got {str(pair)[:80]}"
            )
        yield pair[source].strip(), pair[target].strip()
