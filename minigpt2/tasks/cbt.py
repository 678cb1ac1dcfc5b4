"""The Children's Book Test: twenty sentences of a book, and ten words to choose from for a gap in the next one.

Source: Hill et al. 2016, "The Goldilocks Principle: Reading Children's Books with Explicit Memory Representations";
Radford et al. 2019, section 3.2, who choose by the probability of the candidate and of the rest of its sentence.
"""

from dataclasses import dataclass

from minigpt2.data import read_lines
from minigpt2.progress import progress_bar
from minigpt2.tasks.answers import first_examples
from minigpt2.tasks.detokenizers import childrens_book_test, identity
from minigpt2.tasks.likelihood import shared_prefix_log_probs
from minigpt2.tasks.result import Result

BLANK = "XXXXX"
SENTENCES = 20


@dataclass(frozen=True)
class Cloze:
    """An example: the text before and after the blank, the candidates and the right one among them."""

    before: str
    after: str
    candidates: list[str]
    answer: str


def cbt(model, tokenizer, data, task="cbt_cn", score="rest", detokenize=True, limit=None, progress=False):
    """Choose the candidate that makes the text the most likely.

        argmax_c  log p(c | before) + log p(after | before, c)

    model: GPT2; tokenizer: its own
    data:  paths of files in the format of cbtest_CN_test_2500ex.txt
    task:  "cbt_cn" (common nouns) or "cbt_ne" (named entities): the name of the result
    score: "rest" as above, as in the paper; "candidate" omits the second term
    detokenize: False keeps the spaces and symbols of the file
    limit: how many examples, from the first on; None: all
    progress: True shows a bar on standard error
    returns Result. On ties the first candidate is chosen.
    raises: FileNotFoundError or ValueError, naming file and line, for bad data; ValueError for an unknown score.
    """
    if score not in ("rest", "candidate"):
        raise ValueError(f"score must be 'rest' or 'candidate', got {score!r}")
    examples = first_examples(load(data, detokenize), limit, data)
    P, right, cut = model.config.n_positions, 0, 0
    for example in progress_bar(examples, "scoring", show=progress):
        # A space before the candidate belongs to its first token.
        before = example.before.rstrip(" ")
        space = example.before[len(before) :]
        candidates = [tokenizer.encode(space + candidate) for candidate in example.candidates]
        after = [tokenizer.encode(example.after.replace(BLANK, candidate)) for candidate in example.candidates]
        if score == "candidate":
            after = [[] for _ in candidates]
        prefix = tokenizer.encode(before)
        continuations = [a + b for a, b in zip(candidates, after, strict=True)]
        cut += len(prefix) + max(map(len, continuations)) > P + 1  # the last token is predicted, not read
        scores = shared_prefix_log_probs(model, prefix, continuations)
        totals = [float(log_probs.sum()) for log_probs, _ in scores]
        right += example.candidates[totals.index(max(totals))] == example.answer
    protocol = {
        "scored by": "likelihood of the candidate"
        + (" and of the rest of its sentence" if score == "rest" else " alone"),
        "text": "de-tokenised (minigpt2.tasks.detokenizers.childrens_book_test), sentences joined by a space"
        if detokenize
        else "as it is in the file, sentences joined by a space",
        "context": f"{SENTENCES} sentences; {cut:,} examples lose their beginning, as the model looks at {P:,} tokens",
    }
    return Result(task, len(examples), {"accuracy (%)": 100 * right / len(examples)}, protocol)


def load(data, detokenize=True):
    """Yield a Cloze for each example.

    data, detokenize: as in ``cbt``
    raises: FileNotFoundError; ValueError, naming file and line, when an example does not have the format.
    """
    spell = childrens_book_test if detokenize else identity
    for path in data:
        sentences, number = [], 0
        for number, line in enumerate(read_lines(path), 1):
            if not line.strip():
                if sentences:
                    raise ValueError(f"{path}, line {number}: the example ends after {len(sentences)} sentences, "
                                     f"expected {SENTENCES} and the question")  # fmt: skip
                continue
            count, _, sentence = line.strip().partition(" ")
            if count != str(len(sentences) + 1):
                raise ValueError(f"{path}, line {number}: expected sentence {len(sentences) + 1} of the example, "
                                 f"got {line.strip()!r:.60}")  # fmt: skip
            if len(sentences) < SENTENCES:
                sentences.append(spell(sentence))
                continue
            question, answer, candidates = _question(path, number, sentence)
            before, _, after = spell(question).partition(BLANK)
            yield Cloze(" ".join([*sentences, before]), after, candidates, answer)
            sentences = []
        if sentences:
            raise ValueError(f"{path}, line {number}: the file ends after {len(sentences)} sentences of an example, "
                             f"expected {SENTENCES} and the question")  # fmt: skip


def _question(path, number, sentence):
    """The question with its blank, the answer and the candidates, which are separated by tabs."""
    fields = [field.strip() for field in sentence.split("\t")]
    candidates = [candidate for candidate in fields[-1].split("|") if candidate]
    if len(fields) != 4 or BLANK not in fields[0] or len(candidates) < 2:
        raise ValueError(
            f"{path}, line {number}: expected a sentence with {BLANK}, a tab, the answer, two tabs and "
            f"candidates with | between them; got {sentence!r:.80}"
        )
    if fields[1] not in candidates:
        raise ValueError(f"{path}, line {number}: the answer {fields[1]!r} is not among the candidates {candidates}")
    return fields[0], fields[1], candidates
