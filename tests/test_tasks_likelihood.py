"""Zero-shot tasks scored by likelihood, against transformers reading one sequence at a time."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import minigpt2.data.text
from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.tasks import TASKS, lambada, language_modeling
from minigpt2.tasks.cbt import cbt
from minigpt2.tasks.cbt import load as load_cbt
from minigpt2.tasks.detokenizers import one_billion_words, penn_treebank, wikitext
from minigpt2.tasks.likelihood import continuation_log_probs, shared_prefix_log_probs
from minigpt2.tasks.published import FIGURES, SIZES, name_of, published

FOLDER = Path(minigpt2.__file__).parent / "pretrained/shakespeare"
TEXT = (
    "Now is the winter of our discontent made glorious summer by this sun of York; and all the clouds that lour'd "
    "upon our house in the deep bosom of the ocean buried. "
)


@pytest.fixture(scope="module")
def model():
    return GPT2.from_pretrained("shakespeare")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained("shakespeare")


@pytest.fixture(scope="module")
def log_probs_of():
    """(ids) -> (len(ids) - 1, V) float64: log p of every token after each, by transformers."""
    torch = pytest.importorskip("torch", reason="PyTorch is in the extra 'reference'")
    transformers = pytest.importorskip("transformers", reason="transformers is in the extra 'reference'")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(FOLDER, dtype=torch.float64).eval()  # the file is float16

    def log_probs_of(ids):
        with torch.no_grad():
            logits = theirs(torch.tensor([list(ids[:-1])])).logits[0]
        return logits.log_softmax(-1).numpy()

    return log_probs_of


def reference(log_probs_of, ids, start, excluded=()):
    """(log p, greedy) of ids[start:], the last of them from the n_positions tokens before it."""
    cut = max(len(ids) - 257, 0)
    table = log_probs_of(ids[cut:])[start - cut - 1 :]
    scored = np.arange(len(table)), ids[start:]
    log_probs = table[scored]
    table = table.copy()
    table[0, list(excluded)] = -np.inf
    return log_probs, table.argmax(-1) == ids[start:]


def nats_in_windows(log_probs_of, ids, context, stride):
    """-log p of ids[1:], each from the window in which it is scored first."""
    T = min(context, len(ids) - 1)
    total, done = 0.0, 0
    for start in [*range(0, len(ids) - 1 - T, stride), len(ids) - 1 - T]:
        window = ids[start : start + T + 1]
        log_probs = log_probs_of(window)[np.arange(T), window[1:]]
        total -= log_probs[max(done - start, 0) :].sum()
        done = start + T
    return total


# ------------------------------------------------------------------------------------ likelihood


@pytest.mark.slow
def test_continuations_equal_transformers_one_at_a_time(model, log_probs_of):
    rng = np.random.default_rng(0)
    lengths = [2, 300, 7, 256, 120, 40, 40, 3, 257, 90, *rng.integers(2, 120, 12)]
    sequences = [rng.integers(0, 1000, n).tolist() for n in lengths]
    for ids in sequences:  # a token that is surely greedy, so that both answers occur
        ids[-1] = int(log_probs_of([*ids[-257:-1], 0])[-1].argmax()) if len(ids) % 2 else ids[-1]
    starts = [max(1, len(ids) - 257 + 1, int(rng.integers(1, len(ids)))) for ids in sequences]
    for excluded in ((), list(range(0, 1000, 2))):
        found = continuation_log_probs(model, sequences, starts, excluded)
        for ids, start, (log_probs, greedy) in zip(sequences, starts, found, strict=True):
            expected, expected_greedy = reference(log_probs_of, ids, start, excluded)
            assert log_probs.dtype == np.float64 and greedy.dtype == bool
            np.testing.assert_allclose(log_probs, expected, rtol=1e-5, atol=2e-6)  # float32 logits
            np.testing.assert_array_equal(greedy, expected_greedy)
        assert 0 < sum(greedy.sum() for _, greedy in found) < sum(len(greedy) for _, greedy in found)


@pytest.mark.parametrize("prefix", [1, 30, 250])
def test_a_shared_prefix_gives_the_same(model, prefix):
    rng = np.random.default_rng(prefix)
    before = rng.integers(0, 1000, prefix).tolist()
    continuations = [rng.integers(0, 1000, n).tolist() for n in (1, 6, 3, 1, 4)]
    found = shared_prefix_log_probs(model, before, continuations)
    plain = continuation_log_probs(model, [before + c for c in continuations], [prefix] * 5)
    for (log_probs, greedy), (expected, expected_greedy) in zip(found, plain, strict=True):
        np.testing.assert_allclose(log_probs, expected, rtol=1e-5, atol=2e-6)  # float32 logits
        np.testing.assert_array_equal(greedy, expected_greedy)
    single = shared_prefix_log_probs(model, before, [c[:1] for c in continuations])
    assert [s[0][0] for s in single] == pytest.approx([f[0][0] for f in found], rel=1e-5)


def test_a_long_prefix_loses_its_beginning_for_all(model):
    rng = np.random.default_rng(1)
    before, continuations = rng.integers(0, 1000, 400).tolist(), [[5], [6, 7, 8]]
    found = shared_prefix_log_probs(model, before, continuations)
    plain = continuation_log_probs(model, [before[-254:] + c for c in continuations], [254] * 2)
    for (log_probs, _), (expected, _) in zip(found, plain, strict=True):
        np.testing.assert_allclose(log_probs, expected, rtol=1e-5, atol=2e-6)  # float32 logits


def test_wrong_starts_and_lengths(model):
    for start in (0, 3, -1):
        with pytest.raises(ValueError, match=r"sequence 1: start must be 1 \.\.\. 2, got"):
            continuation_log_probs(model, [[1, 2], [1, 2, 3]], [1, start])
    with pytest.raises(ValueError, match="257 tokens to score"):
        continuation_log_probs(model, [[1] * 300], [43])
    assert len(continuation_log_probs(model, [[1] * 300], [44])[0][0]) == 256
    with pytest.raises(ValueError, match="at least one token"):
        shared_prefix_log_probs(model, [1], [[2], []])
    with pytest.raises(ValueError, match="leaves no room"):
        shared_prefix_log_probs(model, [1], [[2] * 257])
    assert len(shared_prefix_log_probs(model, [1], [[2] * 256])[0][0]) == 256
    assert continuation_log_probs(model, [], []) == []


def test_weights_that_are_no_numbers_are_an_error(tokenizer):
    broken = GPT2(GPT2Config(vocab_size=8, n_positions=4, n_embd=4, n_layer=1, n_head=1))
    broken.params["ln_f"]["bias"][...] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        continuation_log_probs(broken, [[1, 2]], [1])


# ------------------------------------------------------------------------------------ language modelling

CORPORA = {
    "wikitext2": (
        "wiki.test.tokens", " \n = Richard III = \n \n Now is the well @-@ known winter , of <unk> 's 1 @,@ 000 . \n",
        wikitext, 1 + 5 + 1 + 16,  # ends of lines included
    ),
    "ptb": ("ptb.test.txt", " the king is n't here \n he 's N years old \n", penn_treebank, 6 + 6),
    "1bw": (
        "news.en.heldout-00000-of-00050", "He don 't know .\nThe \" king \" -- of York -- is here .\n",
        one_billion_words, 6 + 12,
    ),
    "text8": ("text8", " now is the winter of our discontent", str, 7),
    "enwik8": ("enwik8", "<page>\n  <title>Caf\u00e9 &amp; King</title>\n</page>\n", str, 5),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("task", CORPORA)
@pytest.mark.parametrize("by_line", [False, True])
@pytest.mark.parametrize("detokenize", [False, True])
def test_language_modeling_equals_transformers(task, by_line, detokenize, model, tokenizer, log_probs_of, tmp_path):
    name, text, detokenizer, words = CORPORA[task]
    (tmp_path / name).write_bytes(text.encode())
    result = language_modeling.language_modeling(
        model, tokenizer, [tmp_path / name], task, context=16, stride=5, by_line=by_line, detokenize=detokenize
    )
    pieces = text.splitlines(keepends=True) if by_line else [text]
    nats = tokens = 0
    for piece in pieces:
        ids = [tokenizer.eos_id, *tokenizer.encode(detokenizer(piece) if detokenize else piece)]
        nats += nats_in_windows(log_probs_of, ids, 16, 5)
        tokens += len(ids) - 1
    figures = result.figures
    assert figures["loss per token (nats)"] == pytest.approx(nats / tokens, rel=1e-5)
    assert figures["perplexity per token"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert figures["perplexity per original word"] == pytest.approx(math.exp(nats / words), rel=1e-4)
    assert figures["bits per byte"] == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-5)
    assert figures["bits per character"] == pytest.approx(nats / math.log(2) / len(text), rel=1e-5)
    assert next(iter(figures)) == next(iter(FIGURES[task]))
    assert (result.task, result.examples) == (task, tokens)
    assert f"{words:,}, separated" in result.protocol["original words"]


def test_sentences_of_1bw_are_read_alone_unless_told_otherwise(model, tokenizer, tmp_path):
    (tmp_path / "x").write_bytes(b"a king\nis here\n")
    run = language_modeling.language_modeling
    alone = run(model, tokenizer, [tmp_path / "x"], "1bw")
    assert alone == run(model, tokenizer, [tmp_path / "x"], "1bw", by_line=True)
    stream = run(model, tokenizer, [tmp_path / "x"], "1bw", by_line=False)
    assert alone.figures != stream.figures and stream.protocol["read as"] == "one stream"


def test_limit(model, tokenizer, tmp_path):
    """Whole lines of a corpus of lines, whole characters of the others."""
    run = language_modeling.language_modeling
    (tmp_path / "lines").write_bytes(b"a king\nis here\nand there\n")
    (tmp_path / "two").write_bytes(b"a king\nis here\n")
    n = len(tokenizer.encode("a king\n"))
    limited = run(model, tokenizer, [tmp_path / "lines"], "ptb", limit=n + 1)
    assert limited.figures == run(model, tokenizer, [tmp_path / "two"], "ptb").figures
    assert "the first 2 lines" in limited.protocol["part"]
    everything = run(model, tokenizer, [tmp_path / "lines"], "ptb", limit=999)
    assert everything.figures == run(model, tokenizer, [tmp_path / "lines"], "ptb").figures

    text = "to be or 日本"  # six tokens at least spell the last two characters
    (tmp_path / "bytes").write_bytes(text.encode())
    length = len(tokenizer.encode("to be or "))
    limited = run(model, tokenizer, [tmp_path / "bytes"], "enwik8", limit=length + 1)
    (tmp_path / "short").write_bytes(b"to be or ")
    assert limited.figures == run(model, tokenizer, [tmp_path / "short"], "enwik8").figures
    with pytest.raises(ValueError, match="limit must be 1"):
        run(model, tokenizer, [tmp_path / "bytes"], "enwik8", limit=0)


def test_of_the_whole_text8_the_end_is_the_test(model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(language_modeling, "BENCHMARK_BYTES", 40)
    monkeypatch.setattr(language_modeling, "TEST_BYTES", 10)
    (tmp_path / "whole").write_bytes(b"x" * 29 + "日".encode() + b" to be so")  # the cut is within a character
    assert (tmp_path / "whole").stat().st_size == 41
    (tmp_path / "whole").write_bytes((tmp_path / "whole").read_bytes()[1:])
    text, part = language_modeling.load_bytes([tmp_path / "whole"])
    assert (text, part) == (" to be so", "the last 10 of 40 bytes")
    (tmp_path / "part").write_bytes(b"y" * 39)
    assert language_modeling.load_bytes([tmp_path / "part"]) == ("y" * 39, "all of the text")


def test_without_end_of_text_the_first_token_is_given(tmp_path):
    text = "日本 is far\nand near\n"
    (tmp_path / "x").write_bytes(text.encode())
    tokenizer = CharTokenizer.train(text)
    model = GPT2(GPT2Config(vocab_size=len(tokenizer), n_positions=8, n_embd=8, n_layer=1, n_head=1), seed=1)
    result = language_modeling.language_modeling(model, tokenizer, [tmp_path / "x"], "text8", stride=3)
    assert result.examples == len(text) - 1 and "given" in result.protocol["first token"]
    nats = result.figures["loss per token (nats)"] * (len(text) - 1)
    assert result.figures["bits per character"] == pytest.approx(nats / math.log(2) / (len(text) - 1))
    assert result.figures["bits per byte"] == pytest.approx(nats / math.log(2) / (len(text.encode()) - 3))
    with pytest.raises(ValueError, match="no such token"):
        language_modeling.language_modeling(model, tokenizer, [tmp_path / "x"], "text8", by_line=True)


@pytest.mark.parametrize(("context", "stride"), [(0, None), (257, None), (16, 17), (None, 0)])
@pytest.mark.parametrize("task", ["ptb", "1bw"])
def test_context_and_stride_out_of_range(task, context, stride, model, tokenizer, tmp_path):
    (tmp_path / "x").write_bytes(b"a\n")
    with pytest.raises(ValueError, match=r"context must be 1 \.\.\. 256 tokens and stride 1"):
        language_modeling.language_modeling(model, tokenizer, [tmp_path / "x"], task, context, stride)


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("wikitext2", b"", "the file is empty"),
        ("text8", b"", "the file is empty"),
        ("ptb", b"one\ntw\xff\n", "line 2: not UTF-8 text .byte 2"),
        ("enwik8", b"one\ntw\xff\n", "line 2: not UTF-8 text .byte 2"),
        ("text8", b"  \n", "no word"),
        ("wikitext103", b"x\n" + b"y" * 101 + b"\n", "line 2: longer than 100 bytes"),
    ],
)
def test_bad_corpora(task, content, message, model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(minigpt2.data.text, "MAX_LINE", 100)
    path = tmp_path / "corpus"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        language_modeling.language_modeling(model, tokenizer, [path], task)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(FileNotFoundError):
        language_modeling.language_modeling(model, tokenizer, [tmp_path / "nowhere"], task)


def test_one_long_line_is_no_mistake_in_text8(model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(minigpt2.data.text, "MAX_LINE", 100)
    (tmp_path / "text8").write_bytes(("the king " * 50).encode())
    assert language_modeling.language_modeling(model, tokenizer, [tmp_path / "text8"], "text8").examples > 100


# ------------------------------------------------------------------------------------ LAMBADA

PASSAGES = ["  “" + TEXT[:n].rsplit(" ", 1)[0] + "” " + word for n, word in [
    (60, "the"), (100, "and"), (140, "York"), (40, "discontentedness"), (150, "king"), (90, "sun"), (30, "of"),
]] + [TEXT * 12 + "house", "I am the king, and thou art\nmy lord"]  # fmt: skip


@pytest.fixture(scope="module")
def lambada_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lambada")
    (folder / "lambada_test.jsonl").write_bytes("".join(json.dumps({"text": p}) + "\n" for p in PASSAGES).encode())
    (folder / "lambada_test.txt").write_bytes("".join(p.replace("\n", " ") + "\n" for p in PASSAGES).encode())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("target", ["word", "token"])
@pytest.mark.parametrize("stop_words", [False, True])
@pytest.mark.parametrize("preprocess", [False, True])
def test_lambada_equals_transformers(
    target, stop_words, preprocess, model, tokenizer, log_probs_of, lambada_files
):
    nats, tokens, right = 0.0, 0, 0
    excluded = [i for i in range(1023) if tokenizer.decode([i])[:1] == " "
                and tokenizer.decode([i])[1:] in lambada.STOP_WORDS]  # fmt: skip
    assert len(excluded) > 50
    for passage in PASSAGES:
        if preprocess:
            passage = "\n" + passage.replace("“", '"').replace("”", '"').strip()
        word = passage.split()[-1]
        space = passage[-len(word) - 1]
        before, after = tokenizer.encode(passage[: -len(word) - 1]), tokenizer.encode(space + word)
        log_probs, greedy = reference(
            log_probs_of, before + after, len(before), excluded if stop_words else ()
        )
        if target == "token":
            log_probs, greedy = log_probs[-1:], greedy[-1:]
        nats, tokens, right = nats - log_probs.sum(), tokens + len(log_probs), right + greedy.all()
    path = lambada_files / "lambada_test.jsonl"
    result = lambada.lambada(model, tokenizer, [path], target, stop_words, preprocess)
    assert result.examples == len(PASSAGES)
    assert result.figures[f"accuracy of the last {target} (%)"] == 100 * right / len(PASSAGES)
    assert result.figures["perplexity per target token"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    if target == "word":
        assert result.figures["perplexity per last word"] == pytest.approx(math.exp(nats / len(PASSAGES)), rel=1e-5)


def test_greedy_words_are_right_and_a_stop_word_filter_forbids_them(model, tokenizer, tmp_path):
    """Passages that end with what the model itself would write."""
    passages = []
    for n in range(4, 30):
        context = " ".join(TEXT.split()[:n])
        ids = tokenizer.encode("\n" + context)
        token = tokenizer.decode(model.generate(ids, 1)[-1:])
        if token.startswith(" ") and token.strip().isalpha() and len(tokenizer.encode(token)) == 1:
            passages.append(context + token)
    stops = sum(passage.split()[-1] in lambada.STOP_WORDS for passage in passages)
    assert 0 < stops < len(passages)
    (tmp_path / "x.txt").write_bytes("\n".join(passages).encode())
    accuracy = "accuracy of the last word (%)"
    assert lambada.lambada(model, tokenizer, [tmp_path / "x.txt"]).figures[accuracy] == 100
    filtered = lambada.lambada(model, tokenizer, [tmp_path / "x.txt"], stop_words=True).figures[accuracy]
    assert filtered == pytest.approx(100 * (1 - stops / len(passages)))


def test_lambada_formats_and_limit(lambada_files):
    jsonl = list(lambada.load([lambada_files / "lambada_test.jsonl"]))
    plain = list(lambada.load([lambada_files / "lambada_test.txt"]))
    assert jsonl[:-1] == plain[:-1]
    assert jsonl[-1] == ("\nI am the king, and thou art\nmy", " lord")
    assert jsonl[0] == ('\n"Now is the winter of our discontent made glorious summer by"', " the")
    raw = next(iter(lambada.load([lambada_files / "lambada_test.jsonl"], preprocess=False)))
    assert raw == ("  “Now is the winter of our discontent made glorious summer by”", " the")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"text": "a b"}\n{"txt": "a b"}\n', "line 2: there is no field 'text'"),
        ("x.jsonl", b'{"text": "a b"}\n\n{"text": "b"}\n', "line 3: expected a passage of at least two words"),
        ("x.jsonl", b'{"text": 5}\n', "line 1: expected a passage"),
        ("x.jsonl", b'{"text": "a b"\n', "line 1 is not valid JSON"),
        ("x.txt", b"a b\nword\n", "line 2: expected a passage"),
        ("x.txt", b"\xff", "line 1: not UTF-8"),
        ("x.txt", b"", "the file is empty"),
        ("x.txt", b"\n\n", "no example"),
    ],
)
def test_bad_passages(name, content, message, model, tokenizer, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        lambada.lambada(model, tokenizer, [tmp_path / name])
    assert str(tmp_path / name) in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="target must be"):
        lambada.lambada(model, tokenizer, [tmp_path / name], target="last")


# ------------------------------------------------------------------------------------ Children's Book Test

SENTENCES = ["`` I ca n't , '' said the king -LRB- a lord -RRB- .", "The queen 's men were here ."] * 10
QUESTIONS = [
    ("`` What , '' said the XXXXX , `` is n't here ? ''", "king", ["house", "king", "sun", "sword", "lord"]),
    ("XXXXX 's men were gone .", "Henry", ["Henry", "York", "Edward IV", "God", "Rome"]),
    ("He gave it to the XXXXX", "wood", ["day", "wood", "night"]),
]


def write_cbt(path, sentences=SENTENCES, questions=QUESTIONS):
    examples = [
        "".join(f"{n} {line}\n" for n, line in enumerate(sentences, 1))
        + f"{len(sentences) + 1} {question}\t{answer}\t\t{'|'.join(candidates)}\n"
        for question, answer, candidates in questions
    ]
    path.write_bytes(("\n".join(examples) + "\n").encode())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("score", ["rest", "candidate"])
@pytest.mark.parametrize("sentences", [["A king ."] * 20, SENTENCES])  # the second is too long for the model
def test_cbt_equals_transformers(score, sentences, model, tokenizer, log_probs_of, tmp_path):
    texts = ["A king."] * 20 if len(sentences[0]) < 20 else (
        ['"I can\'t," said the king (a lord).', "The queen's men were here."] * 10)  # fmt: skip
    befores = [' "What," said the', "", " He gave it to the"]
    afters = [', "isn\'t here?"', "'s men were gone.", ""]
    right = 0
    for before, after, (_, answer, candidates) in zip(befores, afters, QUESTIONS, strict=True):
        prefix = tokenizer.encode(" ".join(texts) + before)
        ids = [(tokenizer.encode(f" {c}"), tokenizer.encode(after) if score == "rest" else []) for c in candidates]
        longest = max(len(a + b) for a, b in ids)
        prefix = prefix[-(256 - longest) :]
        totals = [reference(log_probs_of, prefix + a + b, len(prefix))[0].sum() for a, b in ids]
        right += candidates[int(np.argmax(totals))] == answer
    path = write_cbt(tmp_path / "cbtest_CN_test_2500ex.txt", sentences)
    result = cbt(model, tokenizer, [path], "cbt_ne", score)
    assert result.figures == {"accuracy (%)": 100 * right / 3}
    assert (result.task, result.examples) == ("cbt_ne", 3)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["rest", "candidate"])
def test_cbt_chooses_what_transformers_finds_likeliest(score, model, tokenizer, log_probs_of, tmp_path):
    """Every candidate once as the answer: of these examples only the one with the candidate chosen is right."""
    _, _, candidates = QUESTIONS[0]
    prefix = tokenizer.encode("A king. " * 20 + '"What," said the')
    ids = [(tokenizer.encode(f" {c}"), tokenizer.encode(', "isn\'t here?"')) for c in candidates]
    ids = [a + b if score == "rest" else a for a, b in ids]
    totals = [reference(log_probs_of, prefix + c, len(prefix))[0].sum() for c in ids]
    best = candidates[int(np.argmax(totals))]
    for answer in candidates:
        path = write_cbt(tmp_path / "x.txt", ["A king ."] * 20, [(QUESTIONS[0][0], answer, candidates)])
        accuracy = cbt(model, tokenizer, [path], score=score).figures["accuracy (%)"]
        assert accuracy == (100 if answer == best else 0)


def test_cbt_is_read_and_spelled(tmp_path):
    path = write_cbt(tmp_path / "x.txt", ["A ; b ."] * 20)
    example = next(iter(load_cbt([path])))
    assert example.before == "A; b. " * 20 + '"What," said the ' and example.after == ', "isn\'t here?"'
    assert (example.answer, example.candidates) == ("king", QUESTIONS[0][2])
    raw = next(iter(load_cbt([path], detokenize=False)))
    assert raw.before == "A ; b . " * 20 + "`` What , '' said the " and raw.after == " , `` is n't here ? ''"
    assert len(list(load_cbt([path, path]))) == 6


def test_malformed_cbt(model, tokenizer, tmp_path):
    path = write_cbt(tmp_path / "x.txt", questions=QUESTIONS[:1])
    good = path.read_text()
    lines = good.splitlines(keepends=True)
    for content, message in [
        ("".join(lines[:10]), "line 10: the file ends after 10 sentences"),
        ("".join(lines[:10]) + "\n" + good, "line 11: the example ends after 10 sentences"),
        ("".join(lines[:3] + lines[4:]), "line 4: expected sentence 4 of the example, got .5 "),
        (good.replace("XXXXX", "king"), "line 21: expected a sentence with XXXXX"),
        (good.replace("\t\t", "\t"), "line 21: expected a sentence"),
        (good.replace("house|king", "house|lord"), "line 21: the answer 'king' is not among"),
        (good + "\n" + good.replace("|", " "), "line 44: expected a sentence"),
        ("", "empty"),
    ]:
        path.write_bytes(content.encode())
        with pytest.raises(ValueError, match=message) as raised:
            cbt(model, tokenizer, [path])
        assert str(path) in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="score must be"):
        cbt(model, tokenizer, [path], score="mean")


# ------------------------------------------------------------------------------------ the paper's figures


def test_published_figures():
    assert published("gpt2", "wikitext103") == {"perplexity per original word": 37.50}
    assert published("gpt2-xl", "lambada") == {"accuracy": 63.24, "perplexity": 8.63}
    assert published("gpt2-large", "1bw") == {"perplexity per original word": 44.575}
    assert published("gpt2-medium", "cbt_ne") == {"accuracy": 87.1}
    assert published("gpt2-xl", "summarization", hint=False)["ROUGE-L"] == 19.47
    assert published("gpt2-xl", "translation", direction="fr-en") == {"BLEU": 11.5}
    assert published("gpt2", "coqa") == {}
    for wrong in (("gpt3", "coqa"), ("gpt2", "winograd")):
        with pytest.raises(ValueError, match="must be one"):
            published(*wrong)
    for task in TASKS:
        assert name_of(task) in FIGURES
    assert all(len(row) == len(SIZES) for figures in FIGURES.values() for row in figures.values())
