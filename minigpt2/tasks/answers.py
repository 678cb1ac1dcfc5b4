"""Shared by the tasks: the first examples of a data set, and answers to many prompts at once.

Shapes: B prompts at a time, T tokens in a prompt, P positions (n_positions).
"""

from itertools import islice, takewhile

import numpy as np

from minigpt2.generation import generate
from minigpt2.progress import progress_bar

TOKENS_AT_A_TIME = 4096  # in prompts read together; decoding reads the weights once for all of them


def first_examples(examples, limit, data):
    """The examples of a data set, or the first ``limit`` of them, as a list.

    examples: iterable; limit: how many at most, None: all; data: list of paths, for the message
    raises: ValueError when limit is below 1 or there is no example.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more examples, got {limit}")
    found = list(islice(examples, limit))
    if not found:
        raise ValueError(f"{', '.join(map(str, data))}: there is no example to score")
    return found


def prompt_room(model, needed, max_new_tokens):
    """The number of prompt tokens that fit in front of max_new_tokens, P - max_new_tokens.

    needed: tokens that the prompt must have room for
    raises: ValueError when they do not fit.
    """
    P = model.config.n_positions
    if needed + max_new_tokens > P:
        raise ValueError(
            f"the task needs room for {needed} tokens of prompt and {max_new_tokens} new ones, "
            f"but the model looks at {P}; use a model with a larger n_positions"
        )
    return P - max_new_tokens


def greedy_lines(model, tokenizer, prompts, max_new_tokens, progress=False):
    """The rest of the line that each prompt starts, by greedy decoding.

    Prompts of equal length are continued together.

    model: GPT2; tokenizer: its Tokenizer
    prompts: list of lists of token ids, T of each >= 1 and T + max_new_tokens <= P
    max_new_tokens: how many to add at most; a line end or <|endoftext|> ends an answer earlier
    progress: True shows a bar on standard error
    returns list of str in the order of the prompts, without the line end and the white space around it.
    """
    ends = [i for i in tokenizer.vocab.values() if b"\n" in tokenizer.decode_bytes([i])]
    stop = [*ends, *tokenizer.eos_ids]
    texts = _continuations(model, tokenizer, prompts, max_new_tokens, progress, lambda numbers: {"stop": stop})
    return [text.split("\n")[0].strip() for text in texts]


def sampled_texts(model, tokenizer, prompts, max_new_tokens, top_k, seed=0, progress=False):
    """A continuation of each prompt, drawn from the top_k likeliest tokens at each step (temperature 1).

    Each prompt has a random generator of its own, seeded by (seed, its place in the list): its draws do not depend on
    how many others there are. Prompts of equal length are continued together.

    top_k: as in ``minigpt2.sampling.keep_top_k``; seed: integer, 0 or more; the others as in ``greedy_lines``
    returns list of str, up to <|endoftext|> if the model writes it.
    raises: ValueError when seed is below 0.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")

    def options(numbers):
        rngs = [np.random.default_rng([seed, number]) for number in numbers]
        return {"temperature": 1.0, "top_k": top_k, "seed": rngs, "stop": tokenizer.eos_ids}

    return _continuations(model, tokenizer, prompts, max_new_tokens, progress, options)


def _continuations(model, tokenizer, prompts, max_new_tokens, progress, options):
    """The text that follows each prompt. options: (list of prompts' numbers) -> arguments of ``generate``."""
    by_length = {}
    for number, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(number)
    texts, allowed = [None] * len(prompts), tokenizer.known_ids
    with progress_bar(desc="generating", total=len(prompts), show=progress) as bar:
        for T, numbers in sorted(by_length.items()):
            B = max(1, TOKENS_AT_A_TIME // T)
            for chunk in (numbers[first : first + B] for first in range(0, len(numbers), B)):
                ids = [prompts[number] for number in chunk]
                rows = generate(model, ids, max_new_tokens, allowed=allowed, **options(chunk))
                for number, row in zip(chunk, rows[:, T:].tolist(), strict=True):
                    texts[number] = _text(tokenizer, row)
                bar.update(len(chunk))
    return texts


def _text(tokenizer, ids):
    """The text of new tokens, up to an end token."""
    return tokenizer.decode(takewhile(lambda i: i not in tokenizer.eos_ids, ids))
