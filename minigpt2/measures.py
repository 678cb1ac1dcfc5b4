"""Text statistics that need no model: how often texts repeat themselves, and how much they differ.

Words are those of ``minigpt2.data.words``: lower case, no punctuation, a Chinese character counts as a word. The
n-grams of a text of W words are its W - n + 1 runs of n words; none crosses from one text into the next.
"""

from minigpt2.data import words


def distinct_n(texts, n):
    """The share of distinct n-grams among all n-grams of all texts together.

        distinct-n = |set of n-grams| / |list of n-grams|,   1 when no n-gram occurs twice

    It falls as the texts get longer: compare texts of equal length only.

    texts: list of str; n: words in an n-gram, 1 or more
    returns float in (0, 1], or None when no text has n words.
    raises: ValueError when n is below 1.
    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models",
        who divide by the number of words, which for n > 1 keeps the quotient below 1.
    """
    grams = [gram for text in texts for gram in n_grams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else None


def repeated_n_grams(texts, n=4):
    """The share of a text's n-grams that occurred earlier in the same text, averaged over the texts.

        seq-rep-n = 1 - |set of n-grams| / |list of n-grams|,   0 when no n-gram occurs twice

    texts: list of str; those of fewer than n words have no n-grams and are left out of the mean
    n: words in an n-gram, 1 or more
    returns float in [0, 1), or None when no text has n words.
    raises: ValueError when n is below 1.
    Source: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training", there for tokens.
    """
    lists = [grams for text in texts if (grams := n_grams(words(text), n))]
    return sum(1 - len(set(grams)) / len(grams) for grams in lists) / len(lists) if lists else None


def self_bleu(texts):
    """How alike the texts are: the mean BLEU-4 of each with all the others as references.

        BLEU = 100 min(1, exp(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4)

    p_n is the share of a text's n-grams that occur in the others, each counted at most as often as in the other that
    has it most often; c is the text's length, r the closest length among the others. 100 for equal texts, close to 0
    for texts that have little in common. Smoothing is sacrebleu's "floor", 0.1 in place of a count of 0 (Chen and
    Cherry 2014, method 1), as Texygen's code has it. For a text of fewer than four words, only the orders up to its
    length count.

    texts: list of str; those without a word are left out
    returns float in [0, 100], or None when fewer than two texts have a word.
    raises: ValueError when sacrebleu is not installed.
    Source: Zhu et al. 2018, "Texygen: A Benchmarking Platform for Text Generation Models"; BLEU: Papineni
        et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation".
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise ValueError("self-BLEU needs sacrebleu: pip install -e '.[evaluation]'") from None
    bleu = BLEU(tokenize="none", smooth_method="floor", smooth_value=0.1, effective_order=True)
    lines = [line for text in texts if (line := " ".join(words(text)))]
    if len(lines) < 2:
        return None
    scores = [bleu.sentence_score(line, lines[:i] + lines[i + 1 :]).score for i, line in enumerate(lines)]
    return sum(scores) / len(scores)


def n_grams(sequence, n):
    """The runs of n neighbours in a list, as tuples, in order; none if it is shorter.

    raises: ValueError when n is below 1.
    """
    if n < 1:
        raise ValueError(f"an n-gram has at least 1 word, got n = {n}")
    return list(zip(*(sequence[start:] for start in range(n)), strict=False))
