"""Language modelling: how well a model predicts a corpus, word by word, without having been trained on it.

The corpora come tokenised, each in its own way, and their published perplexities are per token *of the corpus*. GPT-2
reads plain text in tokens of its own, so -log p of the whole text is divided by the number of units that name a figure:
words, characters or bytes of the original.
Source: Radford et al. 2019, section 3.1 and table 3.
"""

import math
import os
import re

from minigpt2.data import load_text, locate, read_lines
from minigpt2.evaluation import exponential, total_nats
from minigpt2.tasks import detokenizers
from minigpt2.tasks.likelihood import continuation_log_probs
from minigpt2.tasks.result import Result

# task -> de-tokeniser, whether each line ends with an end-of-line token that counts as a word, the paper's figure
CORPORA = {
    "wikitext2": (detokenizers.wikitext, True, "perplexity per original word"),
    "wikitext103": (detokenizers.wikitext, True, "perplexity per original word"),
    "ptb": (detokenizers.penn_treebank, True, "perplexity per original word"),
    "1bw": (detokenizers.one_billion_words, True, "perplexity per original word"),
    "text8": (detokenizers.identity, False, "bits per character"),
    "enwik8": (detokenizers.identity, False, "bits per byte"),
}
BENCHMARK_BYTES = 100_000_000  # in all of text8, and in all of enwik8
TEST_BYTES = 5_000_000  # the last ones, which are the test part


def language_modeling(
    model, tokenizer, data, task, context=None, stride=None, detokenize=True, by_line=None, limit=None, progress=False
):
    """Predict every token of a corpus.

        perplexity per original word = exp(-sum_t log p(x_t | x_<t) / number of words of the original text)

    model: GPT2; tokenizer: its own
    data:    paths of files in the corpus's own format, e.g. wiki.test.tokens, ptb.test.txt, news.en.heldout-...,
        text8, enwik8
    task:    one of CORPORA
    context: tokens in a window, 1 ... n_positions; n_positions by default
    stride:  tokens between windows, 1 ... context; context by default: no overlap
    detokenize: False scores the text as it is in the file
    by_line: True scores each line alone, False all as one stream; by default True for 1bw, whose sentences are
        shuffled, else False
    limit:   text8 and enwik8: how many tokens at most, from the first on; else whole lines from the first on, until
        they have that many tokens
    progress: True shows a bar on standard error
    returns Result; its examples are the tokens that were predicted.
    raises: FileNotFoundError or ValueError, naming file and line, for bad data; ValueError for a number out of range.
    """
    if task not in CORPORA:
        raise ValueError(f"task must be one of {', '.join(CORPORA)}, got {task!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more tokens, got {limit}")
    P = model.config.n_positions
    context = P if context is None else context
    stride = context if stride is None else stride
    if not 1 <= stride <= context <= P:
        raise ValueError(f"context must be 1 ... {P} tokens and stride 1 ... context, got {context} and {stride}")
    detokenizer, counts_line_ends, main_figure = CORPORA[task]
    by_line = task == "1bw" if by_line is None else by_line
    if not detokenize:
        detokenizer = detokenizers.identity
    eos = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    if by_line and not eos:
        raise ValueError("by_line: each line begins with <|endoftext|>, and this tokenizer has no such token")

    part = "all of the text"
    if counts_line_ends:
        lines = [line for path in data for line in read_lines(path)]
        if limit:
            lines = _first_lines(lines, limit, lambda line: len(tokenizer.encode(detokenizer(line))))
            part = f"the first {len(lines):,} lines, enough for {limit:,} tokens"
    else:
        text, part = load_bytes(data)
        ids = tokenizer.encode(text)
        if limit and limit < len(ids):
            ids, text = _whole_characters(tokenizer, ids[:limit])
            part = f"the first {len(ids):,} tokens of {part}"
        lines = re.findall(r"[^\n]*\n|[^\n]+", text) if by_line else [text]
    original = "".join(lines)
    words = sum(len(line.split()) + counts_line_ends for line in lines)
    if not words:
        raise ValueError(f"{', '.join(map(str, data))}: it contains no words")

    if by_line:
        sequences = [eos + tokenizer.encode(detokenizer(line)) for line in lines]
        nats = _nats_of_lines(model, sequences, context, stride, progress)
        tokens = sum(len(ids) - 1 for ids in sequences)
    else:
        if counts_line_ends:
            ids = tokenizer.encode(detokenizer(original))
        nats = total_nats(model, eos + ids, stride, context, progress)
        tokens = len(ids) - (not eos)
    given = "" if eos else tokenizer.decode(ids[:1])  # which nothing predicts
    characters, size = len(original) - len(given), len(original.encode()) - len(given.encode())

    figures = {
        "perplexity per original word": exponential(nats / words),
        "bits per byte": nats / math.log(2) / max(size, 1),
        "bits per character": nats / math.log(2) / max(characters, 1),
        "perplexity per token": exponential(nats / tokens),
        "loss per token (nats)": nats / tokens,
    }
    protocol = {
        "scored by": "likelihood of the given text",
        "part": part,
        "text": _description(detokenizer),
        "read as": "each line alone" if by_line else "one stream",
        "context": f"{context:,} tokens, a window every {stride:,}",
        "first token": "predicted from <|endoftext|>" if eos else "given, as the tokenizer has no <|endoftext|>",
        "original words": f"{words:,}, separated by white space"
        + (f", {len(lines):,} line ends among them" if counts_line_ends else ""),
        "tokens": f"{tokens:,} predicted, line ends included",
        "bytes, characters": f"{size:,} and {characters:,} of the original text, line ends included",
    }
    return Result(task, tokens, {main_figure: figures.pop(main_figure)} | figures, protocol)


def load_bytes(data):
    """The text of files that are not read by lines, and a description of the part it is.

    Of a file of exactly 100 million bytes, the size of text8 and of enwik8, only the last 5 million are read, from
    the first whole character on.

    data: paths
    returns text, description.
    raises: FileNotFoundError; ValueError, naming the file, when one is empty or not UTF-8.
    """
    texts, part = [], "all of the text"
    for source in data:
        path = locate(source)
        if path.stat().st_size != BENCHMARK_BYTES:
            texts.append(load_text([source]))
            continue
        part = f"the last {TEST_BYTES:,} of {BENCHMARK_BYTES:,} bytes"
        with open(path, "rb") as file:
            file.seek(-TEST_BYTES, os.SEEK_END)
            content = file.read()
        begin = next((i for i in range(4) if content[i] & 0xC0 != 0x80), 0)  # not within a character
        try:
            texts.append(content[begin:].decode("utf-8"))
        except UnicodeDecodeError as error:
            position = BENCHMARK_BYTES - TEST_BYTES + begin + error.start
            raise ValueError(f"{source}: not UTF-8 text (byte {position:,} of the file: {error.reason})") from None
    return "".join(texts), part


def _first_lines(lines, limit, count):
    """The first lines, until they have ``limit`` tokens together."""
    tokens = 0
    for n, line in enumerate(lines, 1):
        tokens += count(line)
        if tokens >= limit:
            return lines[:n]
    return lines


def _nats_of_lines(model, sequences, context, stride, progress):
    """Summed -log p of every token but the first of each sequence; sequences above the context are read in windows."""
    short = [ids for ids in sequences if len(ids) <= context]
    nats = sum(total_nats(model, ids, stride, context) for ids in sequences if len(ids) > context)
    scores = continuation_log_probs(model, short, [1] * len(short), progress=progress)
    return nats - sum(float(log_probs.sum()) for log_probs, _ in scores)


def _description(detokenizer):
    if detokenizer is detokenizers.identity:
        return "as it is in the file"
    return f"de-tokenised (minigpt2.tasks.detokenizers.{detokenizer.__name__})"


def _whole_characters(tokenizer, ids):
    """The ids without an incomplete character at the end, and the text that they spell."""
    while True:
        try:
            return ids, tokenizer.decode_bytes(ids).decode("utf-8")
        except UnicodeDecodeError:
            ids = ids[:-1]
