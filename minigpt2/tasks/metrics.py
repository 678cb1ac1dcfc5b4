"""How close a generated text comes to a reference: ROUGE for summaries, F1 and exact match for answers, BLEU.

Each is 0 ... 1 for one text, except BLEU, which is 0 ... 100 for a whole corpus.
"""

import re
import string
from collections import Counter
from itertools import pairwise

import numpy as np

ROUGE_WORDS = re.compile(r"[a-z0-9]+")
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def rouge(text, reference):
    """The F1 of ROUGE-1, ROUGE-2 and ROUGE-L.

        P = matches / n(text),   R = matches / n(reference),   F1 = 2 P R / (P + R)

    n counts words for ROUGE-1, pairs of neighbours for ROUGE-2, and each matches as often as it occurs in both;
    for ROUGE-L, n counts words, and the matches are the longest common subsequence of the two whole texts.
    Words are runs of a-z and 0-9 of the lower-cased text, not stemmed.

    text, reference: str
    returns three floats, 0 ... 1; 0 where one of the two has nothing to count.
    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", sections 2 and 3.1.
    """
    a, b = ROUGE_WORDS.findall(text.lower()), ROUGE_WORDS.findall(reference.lower())
    two = _overlap_f1(list(pairwise(a)), list(pairwise(b)))
    return _overlap_f1(a, b), two, _f1(_longest_common_subsequence(a, b), len(a), len(b))


def exact_match(answer, references):
    """Whether the answer equals one of the references, both after ``normalize``.

    answer: str; references: list of str
    returns bool.
    Source: Rajpurkar et al. 2016, "SQuAD", section 6.1.
    """
    return normalize(answer) in map(normalize, references)


def token_f1(answer, reference):
    """F1 of the words that answer and reference share, both after ``normalize``.

        P = shared / n(answer),   R = shared / n(reference),   F1 = 2 P R / (P + R)

    answer, reference: str
    returns float, 0 ... 1; where one of them has no words: 1 if neither has, else 0.
    Source: Rajpurkar et al. 2016, "SQuAD", section 6.1.
    """
    a, b = normalize(answer).split(), normalize(reference).split()
    return _overlap_f1(a, b) if a and b else float(a == b)


def coqa_f1(answer, references):
    """The best ``token_f1`` with one of n references, computed as in CoQA.

        F1 = (1 / n) sum_i max_{j != i} token_f1(answer, reference_j),   token_f1(answer, reference_1) for n = 1

    People are scored against the other people's answers, n - 1 of them; so that a model has no more to match,
    each reference is left out once.

    answer: str; references: list of str, at least one
    returns float, 0 ... 1.
    Source: Reddy et al. 2019, "CoQA: A Conversational Question Answering Challenge", section 6.1.
    """
    scores = [token_f1(answer, reference) for reference in references]
    if len(scores) == 1:
        return scores[0]
    return sum(max(scores[:i] + scores[i + 1 :]) for i in range(len(scores))) / len(scores)


def normalize(text):
    """Lower case, no ASCII punctuation, no articles (a, an, the), single spaces: as SQuAD compares answers.

    text: str
    returns str.
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def bleu(texts, references):
    """BLEU of a corpus, by sacrebleu with its own settings: 13a tokens, case kept, exponential smoothing.

        BLEU = 100 min(1, exp(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4)

    p_n is the share of the texts' n-grams that are in their references; c and r are the lengths of all texts and
    of all references.

    texts, references: lists of str, one reference for each text
    returns float, 0 ... 100.
    raises: ValueError when sacrebleu is not installed.
    Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation", section 2.3;
        Post 2018, "A Call for Clarity in Reporting BLEU Scores".
    """
    return float(sacrebleu().corpus_bleu(texts, [references]).score)


def sacrebleu():
    """The package sacrebleu, which only BLEU needs; ValueError when it is not installed."""
    try:
        import sacrebleu
    except ImportError:
        raise ValueError("BLEU needs the package sacrebleu: pip install -e '.[evaluation]'") from None
    return sacrebleu


def _overlap_f1(a, b):
    """F1 of two lists, whose entries match as often as they occur in both."""
    return _f1((Counter(a) & Counter(b)).total(), len(a), len(b))


def _f1(matches, n, m):
    """2 P R / (P + R) with P = matches / n and R = matches / m."""
    return 2 * matches / (n + m) if matches else 0.0


def _longest_common_subsequence(a, b):
    """The length of the longest list that striking out words can leave of both a and b."""
    b = np.array(b, dtype=object)
    lengths = np.zeros(len(b) + 1, int)  # for the words of a so far and each prefix of b
    for word in a:
        lengths[1:] = np.maximum.accumulate(np.maximum(lengths[1:], lengths[:-1] + (b == word)))
    return int(lengths[-1])
