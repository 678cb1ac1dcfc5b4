"""LAMBADA: the last word of a passage, which people guess only if they have read more than the last sentence.

Published accuracies of the same model differ by a third, because they disagree on what to predict: all tokens of the
last word, or only the final one, with which others came close to the figures of GPT-2's paper. The paper does not say
which; it does say that words such as "the" are not accepted as answers in its best figure.
Source: Paperno et al. 2016, "The LAMBADA dataset"; Radford et al. 2019, section 3.3; OpenAI describe how they prepared
the text in issue 131 of their repository gpt-2.
"""

import re

from minigpt2.data import has_json_lines, read_jsonl, read_lines
from minigpt2.evaluation import exponential
from minigpt2.tasks.answers import first_examples
from minigpt2.tasks.likelihood import continuation_log_probs
from minigpt2.tasks.result import Result

FUNCTION_WORDS = """
a about above after again against all also although always am among an and another any are around as at be because been
before being below between both but by can could did do does down during each either else enough ever every few for from
had has have he her here hers herself him himself his how I if in into is it its itself just many may me might mine more
most much must my myself neither no nor not of off on once only onto or other our ours out over shall she should since
so some such than that the their theirs them themselves then there these they this those though through to too toward
under until up upon us very was we were what when where whether which while who whom whose why will with within without
would yet you your yours yourself
"""
STOP_WORDS = frozenset(FUNCTION_WORDS.split())


def lambada(
    model, tokenizer, data, target="word", stop_words=False, preprocess=True, limit=None, progress=False
):
    """Predict the last word of each passage.

    A prediction is right if every token of the target is the greedy choice after all tokens before it. Passages are
    read from their first token on, without <|endoftext|>; of one that is too long, only the last n_positions tokens.

    model: GPT2; tokenizer: its own
    data:       paths: JSON lines with {"text": passage}, or plain text with a passage on each line
    target:     "word": all tokens of the last word, the space before it included; "token": only the last of them,
        given those before
    stop_words: True forbids the tokens that spell a word of STOP_WORDS as the first one of the target; this changes
        the accuracy, but no perplexity
    preprocess: curly double quotes become straight, white space at both ends is removed, and a line feed is put first
    limit:      how many passages, from the first on; None: all
    progress:   True shows a bar on standard error
    returns Result.
    raises: FileNotFoundError or ValueError, naming file and line, for bad data; ValueError for an unknown target.
    """
    if target not in ("word", "token"):
        raise ValueError(f"target must be 'word' or 'token', got {target!r}")
    passages = first_examples(load(data, preprocess), limit, data)
    contexts = [tokenizer.encode(context) for context, _ in passages]
    words = [tokenizer.encode(word, continues=True) for _, word in passages]
    excluded = _single_tokens(tokenizer) if stop_words else ()
    scores = continuation_log_probs(
        model, [context + word for context, word in zip(contexts, words, strict=True)],
        [len(context) for context in contexts], excluded, progress,
    )  # fmt: skip
    if target == "token":
        scores = [(log_probs[-1:], greedy[-1:]) for log_probs, greedy in scores]
    nats = -sum(float(log_probs.sum()) for log_probs, _ in scores)
    tokens = sum(len(log_probs) for log_probs, _ in scores)
    right = sum(bool(greedy.all()) for _, greedy in scores)

    figures = {f"accuracy of the last {target} (%)": 100 * right / len(scores)}
    if target == "word":
        figures["perplexity per last word"] = exponential(nats / len(scores))
    figures["perplexity per target token"] = exponential(nats / tokens)
    P = model.config.n_positions
    cut = sum(len(context) + len(word) > P + 1 for context, word in zip(contexts, words, strict=True))
    protocol = {
        "scored by": "greedy choice; for the perplexity, likelihood",
        "target": "all tokens of the last word" if target == "word" else "the last token of the last word",
        "stop words": f"{len(STOP_WORDS)} words are ruled out" if stop_words else "allowed as answers",
        "text": "quotes straight, stripped, after a line feed" if preprocess else "as it is in the file",
        "context": f"the whole passage; of {cut:,} longer ones the {P:,} tokens before the last",
        "target tokens": f"{tokens:,} of {len(scores):,} words",
    }
    return Result("lambada", len(scores), figures, protocol)


def load(data, preprocess=True):
    """Yield (context, last word) of each passage; the word begins with the white space before it.

    data, preprocess: as in ``lambada``
    raises: FileNotFoundError; ValueError, naming file and line, also when a passage has fewer than two words.
    """
    for path in data:
        if has_json_lines(path):
            texts = ((number, line["text"]) for number, line in read_jsonl(path, ["text"]))
        else:
            texts = ((number, line) for number, line in enumerate(read_lines(path), 1) if line.strip())
        for number, text in texts:
            if not isinstance(text, str) or len(text.split()) < 2:
                raise ValueError(f"{path}, line {number}: expected a passage of at least two words, got {text!r:.60}")
            text = text.rstrip()
            if preprocess:
                text = "\n" + text.replace("“", '"').replace("”", '"').lstrip()
            last = re.search(r"\s\S+$", text).start()
            yield text[:last], text[last:]


def _single_tokens(tokenizer):
    """The ids of the tokens that spell a space and a stop word."""
    ids = (tokenizer.encode(f" {word}", continues=True) for word in sorted(STOP_WORDS))
    return [token[0] for token in ids if len(token) == 1]
