"""Summarisation without training: an article, "TL;DR:", and what the model writes next."""

import numpy as np
import regex

from minigpt2.data import read_jsonl
from minigpt2.tasks.answers import first_examples, prompt_room, sampled_texts
from minigpt2.tasks.metrics import rouge
from minigpt2.tasks.result import Result

HINT = "\nTL;DR:"
NO_HINT = "\n"
TOKENS = 100
TOP_K = 2
SENTENCES = 3

# A full stop after a title or a single capital letter (U.S., J. Smith) does not end a sentence.
END_OF_SENTENCE = regex.compile(
    r"""(?: (?<! \b(?:Mr|Mrs|Ms|Dr|St|\p{Lu}) ) \. | [!?] ) [.!?]* ["'”’)\]]* (?: \s+ | $ ) | \s*\n\s*""", regex.X
)


def summarization(model, tokenizer, data, limit=None, hint=True, seed=0, progress=False):
    """ROUGE of a model's summaries of news articles.

    model: GPT2; tokenizer: its Tokenizer
    data: list of paths of JSONL files with the fields "article" and "highlights", as CNN/Daily Mail has them
    limit: how many articles at most, from the first on; None: all
    hint: False omits "TL;DR:", to show how much of the result is due to it
    seed: integer, for the draws; each article has a generator of its own, so ``limit`` changes no summary
    progress: True shows a bar on standard error
    returns Result.
    raises: FileNotFoundError or ValueError, naming file and line, for bad data; ValueError when the model has
        not enough positions.
    Source: Radford et al. 2019, section 3.6.
    """
    examples = first_examples(_articles(data), limit, data)
    ending = tokenizer.encode(HINT if hint else NO_HINT, continues=True)
    room = prompt_room(model, len(ending) + 1, TOKENS) - len(ending)
    articles = [tokenizer.encode(article) for article, _ in examples]
    prompts = [ids[:room] + ending for ids in articles]
    texts = sampled_texts(model, tokenizer, prompts, TOKENS, TOP_K, seed, progress)

    scores = [
        rouge(first_sentences(text, SENTENCES), highlights)
        for text, (_, highlights) in zip(texts, examples, strict=True)
    ]
    one, two, longest = (100 * float(mean) for mean in np.mean(scores, axis=0))
    return Result(
        task="summarization",
        examples=len(examples),
        figures={
            "ROUGE-1 F1 (%)": one,
            "ROUGE-2 F1 (%)": two,
            "ROUGE-L F1 (%)": longest,
            "mean of the three (%)": (one + two + longest) / 3,
        },
        protocol={
            "prompt": f"the article, then {HINT if hint else NO_HINT!r}",
            "too long": f"articles are cut at their end to {room:,} tokens, "
            f"{sum(len(ids) > room for ids in articles):,} of {len(examples):,} were",
            "decoding": f"drawn from the {TOP_K} likeliest tokens, temperature 1; generator of (seed {seed}, article)",
            "tokens": f"{TOKENS}, fewer if <|endoftext|> comes first",
            "summary": f"the first {SENTENCES} sentences; one ends at . ! ? before white space, but not after "
            "Mr, Mrs, Ms, Dr, St or a single capital, and at an end of line",
            "normalisation": "lower case, runs of a-z and 0-9, no stemming; ROUGE-L on the whole text",
            "denominator": "mean over the articles",
        },
    )


def first_sentences(text, n):
    """The first n sentences of a text, all of it if there are fewer; see ``END_OF_SENTENCE``.

    returns str without white space around it.
    """
    text = text.strip()
    ends = [match.end() for match in END_OF_SENTENCE.finditer(text)]
    return text[: ends[n - 1]].rstrip() if len(ends) >= n else text


def _articles(data):
    """Yield (article, highlights) of JSONL files."""
    for source in data:
        for number, example in read_jsonl(source, ("article", "highlights")):
            for name in ("article", "highlights"):
                if not isinstance(example[name], str):
                    raise ValueError(
                        f"{source}, line {number}: {name!r} must be a text, got {type(example[name]).__name__}"
                    )
            yield example["article"].strip(), example["highlights"]
