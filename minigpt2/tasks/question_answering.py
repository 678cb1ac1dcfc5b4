"""Question answering without training: from memory (Natural Questions), and about a text (CoQA)."""

from minigpt2.data import locate, read_jsonl
from minigpt2.storage.files import read_json
from minigpt2.tasks.answers import first_examples, greedy_lines, prompt_room
from minigpt2.tasks.metrics import coqa_f1, exact_match
from minigpt2.tasks.result import Result

# Written like those of Natural Questions, which were typed into a search box.
SHOWN = (
    ("what is the capital of france", "Paris"),
    ("how many days are there in a week", "seven"),
    ("who painted the mona lisa", "Leonardo da Vinci"),
    ("in which year did the first world war begin", "1914"),
    ("what is the largest ocean on earth", "the Pacific Ocean"),
)
FACT_TOKENS = 20  # in an answer from memory, at most
TOKENS = 50  # in an answer about a text, at most
NORMALISATION = "lower case, no ASCII punctuation, no a, an, the, single spaces (SQuAD)"
ANSWER = "up to the first line end or <|endoftext|>, without white space around it"


def natural_questions(model, tokenizer, data, limit=None, progress=False):
    """The share of questions that a model answers, from memory, exactly as in one of the given answers.

    model: GPT2; tokenizer: its Tokenizer
    data: list of paths of JSONL files of {"question": "...", "answer": ["...", ...]}, as NQ-open has them
    limit: how many questions at most, from the first on; None: all
    progress: True shows a bar on standard error
    returns Result.
    raises: FileNotFoundError or ValueError, naming file and line, for bad data; ValueError when the model has
        not enough positions.
    Source: Radford et al. 2019, section 3.8; Kwiatkowski et al. 2019, "Natural Questions"; in open
        form: Lee et al. 2019, "Latent Retrieval for Weakly Supervised Open Domain Question Answering".
    """
    examples = first_examples(_facts(data), limit, data)
    shown = "".join(f"Q: {question}\nA: {answer}\n" for question, answer in SHOWN)
    room = prompt_room(model, 1, FACT_TOKENS)
    prompts = [tokenizer.encode(f"{shown}Q: {question}\nA:") for question, _ in examples]
    cut = sum(len(prompt) > room for prompt in prompts)
    answers = greedy_lines(model, tokenizer, [prompt[-room:] for prompt in prompts], FACT_TOKENS, progress)
    right = sum(exact_match(answer, references) for answer, (_, references) in zip(answers, examples, strict=True))
    return Result(
        task="natural_questions",
        examples=len(examples),
        figures={"exact match (%)": 100 * right / len(examples)},
        protocol={
            "prompt": f"{len(SHOWN)} questions of our own with answers, then the question: 'Q: ...\\nA:'",
            "too long": f"prompts keep their last {room:,} tokens, {cut:,} of {len(examples):,} were cut",
            "decoding": "greedy",
            "tokens": f"{FACT_TOKENS} at most",
            "answer": ANSWER,
            "normalisation": NORMALISATION,
            "denominator": "all questions; right if equal to any of the answers",
        },
    )


def coqa(model, tokenizer, data, limit=None, progress=False):
    """F1 of a model's answers in conversations about a text.

    model: GPT2; tokenizer: its Tokenizer
    data: list of paths of JSON files like coqa-dev-v1.0.json
    limit: how many questions at most, from the first on; None: all
    progress: True shows a bar on standard error
    returns Result.
    raises: FileNotFoundError; ValueError, naming file and place, for bad data; ValueError when the model has not
        enough positions.
    Source: Radford et al. 2019, section 3.5; Reddy et al. 2019, "CoQA: A Conversational Question Answering
        Challenge", section 6.1.
    """
    examples = first_examples(_turns(data), limit, data)
    room = prompt_room(model, 1, TOKENS)
    prompts, cut = [], 0
    for story, conversation, _ in examples:
        story, conversation = tokenizer.encode(story), tokenizer.encode(conversation, continues=True)
        kept = max(room - len(conversation), 0)
        cut += len(story) > kept
        prompts.append(story[:kept] + conversation[-room:])
    answers = greedy_lines(model, tokenizer, prompts, TOKENS, progress)
    f1 = sum(coqa_f1(answer, references) for answer, (*_, references) in zip(answers, examples, strict=True))
    return Result(
        task="coqa",
        examples=len(examples),
        figures={"F1 (%)": 100 * f1 / len(examples)},
        protocol={
            "prompt": "the text, the conversation so far and the question: 'Q: ...\\nA: ...\\nQ: ...\\nA:'",
            "conversation": "with the given answers, not those of the model",
            "too long": f"the text is cut at its end, then the conversation at its beginning, to {room:,} tokens; "
            f"{cut:,} of {len(examples):,} were cut",
            "decoding": "greedy",
            "tokens": f"{TOKENS} at most",
            "answer": ANSWER,
            "normalisation": NORMALISATION,
            "F1": "the best of the references; if there are several, each is left out once (CoQA's script)",
            "denominator": "mean over all questions",
        },
    )


def _facts(data):
    """Yield (question, list of answers) of JSONL files."""
    for source in data:
        for number, example in read_jsonl(source, ("question", "answer")):
            question, answers = example["question"], example["answer"]
            if not isinstance(question, str):
                raise ValueError(f"{source}, line {number}: 'question' must be a text, got {type(question).__name__}")
            if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
                raise ValueError(
                    f"{source}, line {number}: 'answer' must be a list of one or more texts, got {str(answers)[:80]}"
                )
            yield question.strip(), answers


def _turns(data):
    """Yield (story, conversation up to "A:", list of answers) of every question in CoQA's files."""
    for source in data:
        for number, document in enumerate(_field(read_json(locate(source)), "data", list, source)):
            place = f"{source}: data[{number}]"
            story = _field(document, "story", str, place).strip()
            questions = _texts(document, "questions", place)
            more = _field({"additional_answers": {}} | document, "additional_answers", dict, place)
            answers = {"answers": _texts(document, "answers", place)} | {
                f"additional_answers.{name}": _texts(more, name, f"{place}.additional_answers") for name in more
            }
            for name, texts in answers.items():
                if texts.keys() != questions.keys():
                    odd = min(texts.keys() ^ questions.keys())
                    raise ValueError(
                        f"{place}: turn_id {odd} is missing in {name if odd in questions else 'questions'}, "
                        f"but is in {'questions' if odd in questions else name}"
                    )
            conversation = "\n"
            for turn, question in questions.items():
                conversation += f"\nQ: {question}\nA:"
                yield story, conversation, [texts[turn] for texts in answers.values()]
                conversation += f" {answers['answers'][turn]}"


def _texts(value, name, place):
    """{turn_id: input_text} of one of CoQA's lists."""
    texts = {}
    for number, entry in enumerate(_field(value, name, list, place)):
        here = f"{place}.{name}[{number}]"
        turn = _field(entry, "turn_id", int, here)
        if turn in texts:
            raise ValueError(f"{here}: turn_id {turn} occurs twice")
        texts[turn] = _field(entry, "input_text", str, here).strip()
    return texts


def _field(value, name, kind, place):
    """value[name], or an error that says what is missing and where."""
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected a JSON object {{...}} as in CoQA, got {type(value).__name__}")
    if name not in value:
        raise ValueError(f"{place}: there is no field {name!r} as in CoQA, only {', '.join(map(repr, value))}")
    if not isinstance(value[name], kind):
        raise ValueError(f"{place}.{name}: expected {kind.__name__} as in CoQA, got {type(value[name]).__name__}")
    return value[name]
