"""The tasks that generate text: every answer against transformers on the same weights, from files in public formats."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.tasks import answers as answers_module
from minigpt2.tasks.answers import first_examples, greedy_lines, prompt_room, sampled_texts
from minigpt2.tasks.metrics import coqa_f1, rouge
from minigpt2.tasks.question_answering import coqa, natural_questions
from minigpt2.tasks.summarization import first_sentences, summarization
from minigpt2.tasks.translation import translation


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained("shakespeare")


@pytest.fixture(scope="module")
def model(tokenizer):
    """The built-in model, 256 positions; its ends of line are made rarer, or half of its answers would be empty."""
    model = GPT2.from_pretrained("shakespeare")
    model.params["wte"]["weight"][tokenizer.encode("\n")] *= 0.5
    return model


@pytest.fixture(scope="module")
def theirs(model, tmp_path_factory):
    """A function that gives what transformers writes after a list of ids, up to <|endoftext|> or ``stop``."""
    torch = pytest.importorskip("torch", reason="compares with transformers, which needs torch (extra: reference)")
    transformers = pytest.importorskip("transformers", reason="compares with transformers (extra: reference)")
    folder = tmp_path_factory.mktemp("twin")
    model.save_pretrained(folder)
    twin = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()

    def write(ids, max_new_tokens, stop=(), **options):
        assert len(ids) + max_new_tokens <= 256
        prompt = torch.tensor([ids])
        new = twin.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=max_new_tokens, do_sample=False,
            eos_token_id=[1023, *stop], pad_token_id=1023, **options,
        )[0, len(ids) :].tolist()  # fmt: skip
        return new[:-1] if new[-1] in (1023, *stop) else new

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is small: threads would wait for each other
    yield write
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def their_line(theirs, tokenizer):
    """A function that gives the rest of a prompt's last line, by greedy decoding with transformers."""
    end_of_line = tokenizer.encode("\n")
    return lambda ids, max_new_tokens: tokenizer.decode(theirs(ids, max_new_tokens, end_of_line)).strip()


@pytest.fixture(scope="module")
def their_sample(theirs, tokenizer):
    """A function that draws 100 tokens after a prompt, always one of transformers' two best."""

    def sample(ids, number, seed):
        rng = np.random.default_rng([seed, number])

        def draw(_, scores):
            low, high = sorted(scores[0].topk(2).indices.tolist())
            p_low = 1 / (1 + np.exp(float(scores[0, high]) - float(scores[0, low])))
            drawn = low if rng.random() < p_low else high
            scores = scores * 0
            scores[0, drawn] = 1  # which greedy decoding then takes
            return scores

        return tokenizer.decode(theirs(ids, 100, logits_processor=[draw]))

    return sample


@pytest.fixture
def prompts_seen(monkeypatch):
    """The prompts, as token ids, that a task has answered: a list of them for each call."""
    seen = []

    def record(model, tokenizer, prompts, *options):
        seen.append(prompts)
        return greedy_lines(model, tokenizer, prompts, *options)

    for module in ("translation", "question_answering"):
        monkeypatch.setattr(f"minigpt2.tasks.{module}.greedy_lines", record)
    return seen


def write_jsonl(path, objects):
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in objects), encoding="utf-8")
    return path


# Answers to many prompts.

BEGINNINGS = [
    "Now is the", "The king", "ROMEO:\nI", "My lord", "What is", "O, my", "Come, let", "I have a", "Thou art",
    "JULIET:\nO Romeo", "The", "First Citizen:\nWe are", "Good", "And", "But", "To be", "KING",
]  # fmt: skip


@pytest.mark.slow
def test_greedy_lines_are_those_of_transformers(model, tokenizer, their_line):
    prompts = [tokenizer.encode(text) for text in BEGINNINGS]
    assert len({len(prompt) for prompt in prompts}) > 3 < max(map([*map(len, prompts)].count, range(1, 9)))
    expected = [their_line(prompt, 30) for prompt in prompts]
    assert sum(map(bool, expected)) > 10 and len(set(expected)) > 10
    assert greedy_lines(model, tokenizer, prompts, 30) == expected
    cut = [their_line(prompt, 3) for prompt in prompts]
    assert cut != expected and greedy_lines(model, tokenizer, prompts, 3) == cut


@pytest.mark.slow
def test_prompts_of_equal_length_are_read_together_but_not_too_many(model, tokenizer, monkeypatch):
    seen = []
    generate = answers_module.generate
    monkeypatch.setattr(
        answers_module, "generate", lambda m, ids, n, **o: seen.append(np.shape(ids)) or generate(m, ids, n, **o)
    )
    prompts = [tokenizer.encode(text) for text in BEGINNINGS]
    expected = greedy_lines(model, tokenizer, prompts, 8)
    lengths = sorted({len(prompt) for prompt in prompts})
    assert seen == [(sum(len(prompt) == T for prompt in prompts), T) for T in lengths]
    monkeypatch.setattr(answers_module, "TOKENS_AT_A_TIME", 6)
    seen.clear()
    assert greedy_lines(model, tokenizer, prompts, 8) == expected
    assert all(B * T <= 6 or B == 1 for B, T in seen) and (3, 2) in seen
    assert greedy_lines(model, tokenizer, [], 8) == []


def test_no_token_is_generated_after_the_end_of_line(model, tokenizer, monkeypatch):
    prompt = tokenizer.encode("KING")
    new = model.generate(prompt, 60)[len(prompt) :].tolist()
    forward, calls = model.forward, []
    monkeypatch.setattr(model, "forward", lambda ids, **options: calls.append(ids.shape) or forward(ids, **options))
    greedy_lines(model, tokenizer, [prompt, prompt], 60)
    steps = new.index(tokenizer.encode("\n")[0]) + 1
    assert 3 < steps < 30
    assert calls == [(2, len(prompt)), *[(2, 1)] * (steps - 1)]  # with the cache: one new token each


def scripted(tokenizer, text, eos=None):
    """A stand-in for a model's choices: ``generate`` that writes a text, whatever the prompt."""

    def generate(model, ids, max_new_tokens, **options):
        new = tokenizer.encode(text) + ([eos, eos, eos] if eos is not None else [])
        return np.hstack([np.atleast_2d(ids), np.tile(new, (len(np.atleast_2d(ids)), 1))])

    return generate


def test_answers_hold_no_id_that_the_tokenizer_does_not_know(tokenizer):
    model = GPT2(GPT2Config(len(tokenizer) + 500, n_positions=32, n_embd=16, n_layer=1, n_head=1), seed=2)
    prompts = [tokenizer.encode(text) for text in ("To be", "or not", "that is the question")]
    assert max(row.max() for row in model.generate(prompts, 12)) >= len(tokenizer)
    assert len(greedy_lines(model, tokenizer, prompts, 12)) == 3
    assert len(sampled_texts(model, tokenizer, prompts, 12, top_k=50)) == 3


def test_an_answer_ends_at_any_end_token(model, tokenizer):
    """As a generation_config.json may name several."""
    prompt = tokenizer.encode("KING")
    new = model.generate(prompt, 12)[len(prompt) :].tolist()
    several = Tokenizer(tokenizer.vocab, tokenizer.merges, eos_ids=[new[4]])
    expected = tokenizer.decode(new[: new.index(new[4])])
    assert greedy_lines(model, several, [prompt], 12) == [expected.split("\n")[0].strip()]
    assert sampled_texts(model, several, [prompt], 12, top_k=1) == [expected]


def test_an_answer_ends_at_the_end_of_line_or_of_the_document(model, tokenizer, monkeypatch):
    for text, eos, line in [
        (" yes \nQ: no", None, "yes"), (" yes", 1023, "yes"), ("\nyes", None, ""), ("", 1023, ""),
        ("<|endoftext|> is text", None, "<|endoftext|> is text"),
    ]:  # fmt: skip
        monkeypatch.setattr(answers_module, "generate", scripted(tokenizer, text, eos))
        assert greedy_lines(model, tokenizer, [[1, 2], [3, 4]], 9) == [line, line]
        assert sampled_texts(model, tokenizer, [[1, 2]], 9, 2) == [text]


def test_a_tokenizer_without_end_of_text():
    tokenizer = CharTokenizer("\nabc")
    model = GPT2(GPT2Config(vocab_size=4, n_positions=32, n_embd=8, n_layer=1, n_head=2, initializer_range=0.7), seed=6)
    prompts = [[1, 2], [3], [2, 2], [1], [1, 2, 3]]
    together = greedy_lines(model, tokenizer, prompts, 12)
    alone = [tokenizer.decode(model.generate(p, 12)[len(p) :].tolist()).split("\n")[0] for p in prompts]
    assert together == alone and any(alone)


@pytest.mark.slow
def test_samples_are_drawn_from_the_two_best_of_transformers(model, tokenizer, their_sample):
    prompts = [tokenizer.encode(text) for text in BEGINNINGS[:4]]
    expected = [their_sample(prompt, number, 7) for number, prompt in enumerate(prompts)]
    assert sampled_texts(model, tokenizer, prompts, 100, 2, seed=7) == expected
    assert len(set(sampled_texts(model, tokenizer, prompts[:1] * 3, 20, 2))) == 3  # each has a seed of its own


def test_the_first_examples_and_their_number():
    assert first_examples(iter("abc"), 2, ["x"]) == ["a", "b"]
    assert first_examples(iter("abc"), 5, ["x"]) == first_examples("abc", None, ["x"]) == ["a", "b", "c"]
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f"limit must be 1 or more examples, got {limit}"):
            first_examples("abc", limit, ["x"])
    with pytest.raises(ValueError, match="x, y: there is no example"):
        first_examples("", None, ["x", Path("y")])


def test_a_model_with_too_few_positions_is_refused(model):
    assert prompt_room(model, 6, 250) == 6
    with pytest.raises(ValueError, match="7 tokens of prompt and 250 new ones, but the model looks at 256"):
        prompt_room(model, 7, 250)


# Summarisation.

ARTICLES = [
    {
        "article": "The king of England came to London . He spoke to the people about the war, and was gone.",
        "highlights": "The king spoke to the people .\nMy lord, I will not go to London .",
        "id": "0001",
    },
    {"article": "My lord is dead. " * 60, "highlights": "I am a king, and my lord is dead .", "id": "0002"},
    {"article": "Romeo loved Juliet — she loved him.\n", "highlights": "And I'll not be so, Romeo .", "id": "0003"},
]


@pytest.fixture
def articles(tmp_path):
    return write_jsonl(tmp_path / "cnn.jsonl", ARTICLES)


@pytest.mark.slow
@pytest.mark.parametrize("hint", [True, False])
def test_summarization_as_transformers(model, tokenizer, their_sample, articles, hint):
    ending = tokenizer.encode("\nTL;DR:" if hint else "\n")
    scores = []
    for number, example in enumerate(ARTICLES):
        prompt = tokenizer.encode(example["article"].strip())[: 256 - 100 - len(ending)] + ending
        summary = first_sentences(their_sample(prompt, number, 3), 3)
        scores.append(rouge(summary, example["highlights"]))
    expected = [100 * sum(column) / 3 for column in zip(*scores, strict=True)]
    assert min(expected) > 0

    result = summarization(model, tokenizer, [articles], hint=hint, seed=3)
    assert list(result.figures) == ["ROUGE-1 F1 (%)", "ROUGE-2 F1 (%)", "ROUGE-L F1 (%)", "mean of the three (%)"]
    assert list(result.figures.values()) == pytest.approx([*expected, sum(expected) / 3], rel=1e-12)
    assert (result.task, result.examples) == ("summarization", 3)
    assert ("TL;DR:" in result.protocol["prompt"]) == hint and "1 of 3 were" in result.protocol["too long"]


def test_summaries_do_not_depend_on_the_others(model, tokenizer, articles, monkeypatch):
    seen = {}
    module = sys.modules["minigpt2.tasks.summarization"]
    monkeypatch.setattr(
        module, "rouge", lambda text, reference: seen.setdefault((seed, limit), []).append(text) or (0, 0, 0)
    )
    for seed, limit in [(0, 2), (0, 1), (1, 1)]:
        summarization(model, tokenizer, [articles], limit=limit, seed=seed)
    assert seen[0, 1] == seen[0, 2][:1] and len(seen[0, 2]) == 2
    assert seen[1, 1] != seen[0, 1]


def test_same_call_same_figures(model, tokenizer, articles):
    call = model, tokenizer, [articles], 1
    assert summarization(*call) == summarization(*call)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four.", "One. Two! Three?"),
        ("  One .\nTwo .\n\nThree . Four", "One .\nTwo .\n\nThree ."),
        ("One. Two", "One. Two"),
        ("One. Two. Three.", "One. Two. Three."),
        ("One.5 is it. Two... Three?! Four", "One.5 is it. Two... Three?!"),
        ('"One." (Two.) He said "three!" Four.', '"One." (Two.) He said "three!"'),
        ("Mr. J. Smith of the U.S. One. Dr. No. St. John. Four.", "Mr. J. Smith of the U.S. One. Dr. No. St. John."),
        ("A headline\n\nAnother \n Two. Four.", "A headline\n\nAnother \n Two."),
        ("", ""),
    ],
)
def test_first_three_sentences(text, expected):
    assert first_sentences(text, 3) == expected


# Translation.

SENTENCES = [
    ("The king is dead .", "Le roi est mort ."),
    (" ".join(["A sentence of more words than fifteen"] * 9), "Une longue phrase ."),
    ("I love thee .", "Je t' aime ."),
    ("", ""),
    ("Good night .", "Bonne nuit ."),
    ("A word .", " ".join(["mot"] * 60)),
    ("My lord .", "Mon seigneur ."),
    ("Where is he ?", "Où est-il ?"),
    ("The queen is here .", "La reine est ici ."),
    ("What is the king's name ?", "Quel est le nom du roi ?"),
]
SHOWN, SCORED = (0, 2, 4, 6, 7), (1, 3, 5, 8, 9)


@pytest.fixture
def english_french(tmp_path):
    return write_jsonl(tmp_path / "wmt.jsonl", [{"translation": {"en": en, "fr": fr}} for en, fr in SENTENCES])


@pytest.fixture
def sacrebleu():
    return pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu (extra: evaluation)")


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["en-fr", "fr-en"])
def test_translation_as_transformers(model, tokenizer, their_line, sacrebleu, tmp_path, prompts_seen, direction):
    pairs = SENTENCES if direction == "en-fr" else [pair[::-1] for pair in SENTENCES]
    context = "".join(f"{pairs[i][0]} = {pairs[i][1]}\n" for i in SHOWN)
    prompts = [tokenizer.encode(f"{context}{pairs[i][0]} =")[-128:] for i in SCORED]
    texts = [their_line(prompt, 128) for prompt in prompts]
    assert any(len(text.split()) >= 4 for text in texts)
    # References that agree with the model, but for their last word: BLEU is then neither 0 nor 100.
    references = [text.rsplit(" ", 1)[0] + " fin" for text in texts]
    pairs = list(pairs)
    for i, reference in zip(SCORED, references, strict=True):
        pairs[i] = (pairs[i][0], reference if i not in (3, 5) else " ".join(["mot"] * 16))
    references = [pairs[i][1] for i in SCORED]
    languages = direction.split("-")
    path = write_jsonl(
        tmp_path / "wmt.jsonl", [{"translation": dict(zip(languages, pair, strict=True))} for pair in pairs]
    )
    expected = sacrebleu.corpus_bleu(texts, [references]).score
    assert 1 < expected < 99

    result = translation(model, tokenizer, [path], direction)
    assert prompts_seen == [prompts]
    cut = sum(len(prompt) == 128 for prompt in prompts)
    assert 0 < cut < 5 and f"{cut} of 5 were cut" in result.protocol["too long"]
    assert result.figures == {"BLEU (%)": pytest.approx(expected, rel=1e-12)}
    assert (result.task, result.examples) == ("translation", 5)
    assert "number 1, 3, 5, 7, 8;" in result.protocol["examples shown"]
    assert result.protocol["direction"] == direction

    text_files = tmp_path / "source.txt", tmp_path / "reference.txt"
    for text_file, lines in zip(text_files, zip(*pairs, strict=True), strict=True):
        text_file.write_text("\r\n".join(lines), encoding="utf-8", newline="")
    assert translation(model, tokenizer, text_files, direction) == result

    two = translation(model, tokenizer, [path], direction, limit=2)
    assert two.figures["BLEU (%)"] == pytest.approx(sacrebleu.corpus_bleu(texts[:2], [references[:2]]).score)
    assert two.examples == 2


def test_parallel_files_of_unequal_length(model, tokenizer, sacrebleu, tmp_path):
    a, b = tmp_path / "a.en", tmp_path / "b.fr"
    a.write_text("one\ntwo\nthree\n")
    b.write_text("un\ndeux")
    with pytest.raises(ValueError, match=re.escape(f"{a} has 3 lines, {b} has 2")):
        translation(model, tokenizer, [a, b])


def test_translation_says_what_is_wrong(model, tokenizer, sacrebleu, english_french, tmp_path):
    with pytest.raises(ValueError, match="direction must be en-fr or fr-en, got 'en-de'"):
        translation(model, tokenizer, [english_french], "en-de")
    for paths in ([], [english_french] * 3):
        with pytest.raises(ValueError, match=f"got {len(paths)} paths"):
            translation(model, tokenizer, paths)
    few = write_jsonl(tmp_path / "few.jsonl", [{"translation": {"en": "one", "fr": "un"}}] * 4)
    with pytest.raises(ValueError, match=r"few\.jsonl: 5 pairs with at most 15 words .* there are 4"):
        translation(model, tokenizer, [few])
    five = write_jsonl(tmp_path / "five.jsonl", [{"translation": {"en": "one", "fr": "un"}}] * 5)
    with pytest.raises(ValueError, match=r"five\.jsonl: there is no example"):
        translation(model, tokenizer, [five])


def test_without_sacrebleu_nothing_is_generated(model, tokenizer, english_french, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setattr("minigpt2.tasks.translation.greedy_lines", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[evaluation\]'"):
        translation(model, tokenizer, [english_french])


# Natural Questions.

EXAMPLES = """\
Q: what is the capital of france
A: Paris
Q: how many days are there in a week
A: seven
Q: who painted the mona lisa
A: Leonardo da Vinci
Q: in which year did the first world war begin
A: 1914
Q: what is the largest ocean on earth
A: the Pacific Ocean
"""
QUESTIONS = ["who is the king of england", "where is my lord", "when is the day", "how old is he", "why do you weep"]


@pytest.mark.slow
def test_natural_questions_as_transformers(model, tokenizer, their_line, tmp_path, prompts_seen):
    long = "who " * 150 + "is he"  # its prompt loses its beginning
    questions = [*QUESTIONS, long]
    prompts = [tokenizer.encode(f"{EXAMPLES}Q: {question}\nA:")[-236:] for question in questions]
    texts = [their_line(prompt, 20) for prompt in prompts]
    words = [text for text in texts if text]
    assert len(words) >= 2
    # Every second one that is not empty is given as an answer, in another spelling.
    right = [bool(text) and words.index(text) % 2 == 0 for text in texts]
    answers = [
        ["no such thing", f"The {text.upper()}!"] if good else ["nothing of it"]
        for text, good in zip(texts, right, strict=True)
    ]
    path = write_jsonl(
        tmp_path / "nq.jsonl", [{"question": q, "answer": a} for q, a in zip(questions, answers, strict=True)]
    )
    assert 0 < sum(right) < 6
    result = natural_questions(model, tokenizer, [path])
    assert prompts_seen == [prompts]
    assert result.figures == {"exact match (%)": pytest.approx(100 * sum(right) / 6)}
    assert (result.task, result.examples) == ("natural_questions", 6)
    assert "1 of 6 were cut" in result.protocol["too long"]
    for limit in (1, 2, 3, 4):
        some = natural_questions(model, tokenizer, [path], limit=limit)
        assert some.figures == {"exact match (%)": pytest.approx(100 * sum(right[:limit]) / limit)}
        assert some.examples == limit


# CoQA.


def document(story, questions, answers, *additional):
    """A document as in coqa-dev-v1.0.json."""

    def turns(texts, **more):
        return [{"span_start": 0, "span_end": 4, "span_text": "", "input_text": text, "turn_id": turn} | more
                for turn, text in enumerate(texts, 1)]  # fmt: skip

    value = {
        "source": "mctest", "id": "3dr23u6we5exclen4th8uq9rb42tel", "filename": "mc160.test.41", "story": story,
        "questions": [{"input_text": text, "turn_id": turn} for turn, text in enumerate(questions, 1)],
        "answers": turns(answers, bad_turn="false"), "name": "mc160.test.41",
    }  # fmt: skip
    if additional:
        value["additional_answers"] = {str(number): turns(texts) for number, texts in enumerate(additional)}
    return value


def write_coqa(path, *documents):
    path.write_text(json.dumps({"version": "1.0", "data": documents}))
    return path


STORIES = [
    ("The king had a daughter. She was fair and young.", ["Who had a daughter?", "Was she fair?", "And what more?"]),
    (" ".join(f"Romeo loved Juliet {n} days." for n in range(40)), ["Who loved Juliet?", "Who is dead?"]),
    ("A tale.", ["What is it? " * 30, "Why so? " * 30, "Who?"]),
]


@pytest.mark.slow
def test_coqa_as_transformers(model, tokenizer, their_line, tmp_path, prompts_seen):
    documents, prompts, scores = [], [], []
    for number, (story, questions) in enumerate(STORIES):
        conversation, given, others = "\n", [], []
        for turn, question in enumerate(questions):
            conversation += f"\nQ: {question.strip()}\nA:"
            tail = tokenizer.encode(conversation)[-206:]
            prompt = tokenizer.encode(story.strip())[: 206 - len(tail)] + tail
            prompts.append(prompt)
            text = their_line(prompt, 50)
            given.append("yes" if turn else text or "nobody")
            others.append([f"The {text} indeed", text.upper() + "."])
            references = [given[-1], *others[-1]] if number != 2 else [given[-1]]
            scores.append(coqa_f1(text, references))
            conversation += f" {given[-1]}"
        more = zip(*others, strict=True) if number != 2 else ()
        documents.append(document(story, questions, given, *more))
    assert len({*scores}) > 2
    path = write_coqa(tmp_path / "coqa.json", *documents)
    result = coqa(model, tokenizer, [path])
    assert prompts_seen == [prompts]
    assert result.figures == {"F1 (%)": pytest.approx(100 * sum(scores) / 8, rel=1e-12)}
    assert (result.task, result.examples) == ("coqa", 8)
    assert "4 of 8 were cut" in result.protocol["too long"]
    some = coqa(model, tokenizer, [path], limit=4)
    assert some.figures == {"F1 (%)": pytest.approx(100 * sum(scores[:4]) / 4, rel=1e-12)}
    assert coqa(model, tokenizer, [path, path]).figures == {"F1 (%)": pytest.approx(result.figures["F1 (%)"])}


def without(value, *keys):
    """A copy of nested JSON without one entry."""
    value = json.loads(json.dumps(value))
    inner = value
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return value


GOOD = {
    "data": [document("A story.", ["Who?"], ["he"], ["she"]), document("Two.", ["a?", "b?"], ["c", "d"], ["e", "f"])]
}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1], r"expected a JSON object \{\.\.\.\}, got list"),
        ({"version": "1.0"}, r": there is no field 'data' as in CoQA, only 'version'"),
        ({"data": {}}, r"\.data: expected list as in CoQA, got dict"),
        ({"data": ["text"]}, r": data\[0\]: expected a JSON object \{\.\.\.\} as in CoQA, got str"),
        ({"data": []}, "there is no example"),
        (without(GOOD, "data", 1, "story"), r"data\[1\]: there is no field 'story'"),
        (without(GOOD, "data", 1, "questions"), r"data\[1\]: there is no field 'questions'"),
        (without(GOOD, "data", 1, "answers"), r"data\[1\]: there is no field 'answers'"),
        (without(GOOD, "data", 1, "questions", 1, "input_text"), r"data\[1\]\.questions\[1\]: .* 'input_text'"),
        (without(GOOD, "data", 1, "answers", 0, "turn_id"), r"data\[1\]\.answers\[0\]: .* 'turn_id'"),
        (without(GOOD, "data", 1, "answers", 0), r"data\[1\]: turn_id 1 is missing in answers, but is in questions"),
        (without(GOOD, "data", 1, "questions", 1), r"data\[1\]: turn_id 2 is missing in questions, but is in answers"),
        (
            without(GOOD, "data", 1, "additional_answers", "0", 1, "input_text"),
            r"data\[1\]\.additional_answers\.0\[1\]: there is no field 'input_text'",
        ),
        (
            without(GOOD, "data", 0, "additional_answers", "0", 0),
            r"data\[0\]: turn_id 1 is missing in additional_answers\.0, but is in questions",
        ),
        (
            GOOD | {"data": [GOOD["data"][0] | {"story": None}]},
            r"data\[0\]\.story: expected str as in CoQA, got NoneType",
        ),
        (
            {"data": [GOOD["data"][0] | {"answers": [{"input_text": "he", "turn_id": 1}] * 2}]},
            r"data\[0\]\.answers\[1\]: turn_id 1 occurs twice",
        ),
    ],
)
def test_coqa_says_what_is_missing_where(model, tokenizer, tmp_path, bad, message):
    path = tmp_path / "coqa.json"
    path.write_text(json.dumps(bad))
    with pytest.raises(ValueError, match=message) as raised:
        coqa(model, tokenizer, [path])
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_additional_answers_may_be_left_out(model, tokenizer, tmp_path):
    path = write_coqa(tmp_path / "train.json", document("A story.", ["Who?"], ["he"]))
    assert coqa(model, tokenizer, [path]).examples == 1


# Bad files and bad wishes, of every task.

TASKS = {
    "summarization": (summarization, {"article": "A king.", "highlights": "King."}),
    "translation": (translation, {"translation": {"en": "king", "fr": "roi"}}),
    "natural_questions": (natural_questions, {"question": "who", "answer": ["he"]}),
}


@pytest.mark.parametrize("name", [*TASKS, "coqa"])
def test_a_limit_below_one_a_missing_and_an_empty_file(model, tokenizer, tmp_path, name):
    if name == "translation":
        pytest.importorskip("sacrebleu", reason="BLEU needs sacrebleu, of the extra 'evaluation'")
    task, good = TASKS.get(name, (coqa, None))
    path = tmp_path / "data"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        task(model, tokenizer, [path])
    path.write_text("")
    with pytest.raises(ValueError, match=re.escape(str(path))):
        task(model, tokenizer, [path])
    if good:
        write_jsonl(path, [good] * 6)
    else:
        path.write_text(json.dumps(GOOD))
    with pytest.raises(ValueError, match="limit must be 1 or more examples, got 0"):
        task(model, tokenizer, [path], limit=0)


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("summarization", {"article": "A king."}, "there is no field 'highlights'"),
        ("summarization", {"highlights": "A king."}, "there is no field 'article'"),
        ("summarization", {"article": None, "highlights": ""}, "'article' must be a text, got NoneType"),
        ("summarization", {"article": "", "highlights": ["one"]}, "'highlights' must be a text, got list"),
        ("translation", {"en": "king"}, "there is no field 'translation'"),
        ("translation", {"translation": {"en": "king", "de": "der"}}, "the texts 'en' and 'fr', got {'en'"),
        ("translation", {"translation": {"en": 1, "fr": "un"}}, "the texts 'en' and 'fr'"),
        ("translation", {"translation": "roi"}, "must be an object"),
        ("natural_questions", {"question": "who"}, "there is no field 'answer'"),
        ("natural_questions", {"question": 1, "answer": ["a"]}, "'question' must be a text, got int"),
        ("natural_questions", {"question": "who", "answer": "he"}, "'answer' must be a list of one or more texts"),
        ("natural_questions", {"question": "who", "answer": []}, "'answer' must be a list of one or more texts"),
        ("natural_questions", {"question": "who", "answer": [1]}, "'answer' must be a list of one or more texts"),
    ],
)
def test_a_bad_line_is_named(model, tokenizer, tmp_path, name, bad, message):
    if name == "translation":
        pytest.importorskip("sacrebleu", reason="BLEU is computed by sacrebleu (extra: evaluation)")
    task, good = TASKS[name]
    path = write_jsonl(tmp_path / "data.jsonl", [good, bad])
    with pytest.raises(ValueError, match=f"line 2: .*{message}") as raised:
        task(model, tokenizer, [path])
    assert str(path) in str(raised.value)
    if name != "translation":
        assert task(model, tokenizer, [path], limit=1).examples == 1


def test_too_few_positions(tokenizer, articles, tmp_path):
    config = GPT2Config(vocab_size=1024, n_positions=20, n_embd=8, n_layer=1, n_head=1)
    small = GPT2(config)
    nq = write_jsonl(tmp_path / "nq.jsonl", [TASKS["natural_questions"][1]])
    dev = tmp_path / "coqa.json"
    dev.write_text(json.dumps(GOOD))
    for task, path in [(summarization, articles), (natural_questions, nq), (coqa, dev)]:
        with pytest.raises(ValueError, match="the model looks at 20; use a model with a larger n_positions"):
            task(small, tokenizer, [path])
    one_more = GPT2(dataclasses.replace(config, n_positions=21))
    assert natural_questions(one_more, tokenizer, [nq]).examples == 1
