"""The figures of the GPT-2 paper, printed beside ours.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", table 3 unless noted.
"""

# The models under their names on the hub, and the numbers of parameters that the paper gives them; OpenAI corrected
# these later to 124, 355, 774 and 1,558 million.
SIZES = {"gpt2": "117M", "gpt2-medium": "345M", "gpt2-large": "762M", "gpt2-xl": "1542M"}

# task -> beginning of a figure's name -> the figure of each of the four, None where the paper has none
FIGURES = {
    "lambada": {
        "accuracy": (45.99, 55.48, 60.12, 63.24),
        "perplexity": (35.13, 15.60, 10.87, 8.63),
    },
    "cbt_cn": {"accuracy": (87.65, 92.35, 93.45, 93.30)},
    "cbt_ne": {"accuracy": (83.4, 87.1, 88.0, 89.05)},
    "wikitext2": {"perplexity per original word": (29.41, 22.76, 19.93, 18.34)},
    "ptb": {"perplexity per original word": (65.85, 47.33, 40.31, 35.76)},
    "enwik8": {"bits per byte": (1.16, 1.01, 0.97, 0.93)},
    "text8": {"bits per character": (1.17, 1.06, 1.02, 0.98)},
    "wikitext103": {"perplexity per original word": (37.50, 26.37, 22.05, 17.48)},
    "1bw": {"perplexity per original word": (75.20, 55.72, 44.575, 42.16)},
    "summarization": {
        "ROUGE-1": (None, None, None, 29.34),
        "ROUGE-2": (None, None, None, 8.27),
        "ROUGE-L": (None, None, None, 26.58),
        "mean": (None, None, None, 21.40),
    },
    "summarization without hint": {
        "ROUGE-1": (None, None, None, 21.58),
        "ROUGE-2": (None, None, None, 4.03),
        "ROUGE-L": (None, None, None, 19.47),
        "mean": (None, None, None, 15.03),
    },
    "translation en-fr": {"BLEU": (None, None, None, 5.0)},
    "translation fr-en": {"BLEU": (None, None, None, 11.5)},
    "natural_questions": {"exact match": (None, None, None, 4.1)},
    "coqa": {"F1": (None, None, None, 55.0)},
}
NOTES = {
    "lambada": "the accuracy of 1542M is with a stop-word filter, without it 52.66 (section 3.3); of the other sizes "
    "the paper does not say, nor per what the perplexity is",
    "wikitext2": "the same test text as wikitext103; the paper does not say per what, and others find about its figure "
    "of 117M per token, 29.94, and its figure for wikitext103 per word, 37.37 (transformers issue 13761)",
    "summarization": "table 4",
    "summarization without hint": "table 4",
    "translation en-fr": "section 3.7",
    "translation fr-en": "section 3.7",
    "natural_questions": "section 3.8; below 1.0 for the smallest model",
    "coqa": "section 3.5",
}


def published(model, task, hint=True, direction="en-fr"):
    """The paper's figures for a model and a task.

    model: "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl"
    task:  one of ``minigpt2.tasks.TASKS``
    hint:  for summarization: whether "TL;DR:" asked for it; direction: for translation, "en-fr" or "fr-en"
    returns {beginning of the figure's name: number}; it is empty if the paper has no figure.
    raises: ValueError for any other model or task.
    """
    if model not in SIZES:
        raise ValueError(f"model must be one of {', '.join(SIZES)}, got {model!r}")
    column = list(SIZES).index(model)
    figures = FIGURES[name_of(task, hint, direction)]
    return {name: row[column] for name, row in figures.items() if row[column] is not None}


def name_of(task, hint=True, direction="en-fr"):
    """The name in FIGURES and NOTES of a task in one of its variants; arguments as in ``published``."""
    name = {
        "summarization": "summarization" if hint else "summarization without hint",
        "translation": f"translation {direction}",
    }.get(task, task)
    if name not in FIGURES:
        raise ValueError(f"task must be one that the paper reports, got {name!r}")
    return name
