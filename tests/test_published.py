"""What is done with published figures: on a small random model, transformers says what each figure would be.

The released weights are not here. So every measure gets a "published" figure that transformers computes for the small
model, by the protocol of the project that published it, and must find it right, and another one wrong.
"""

import itertools
import json
import math

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer, flatten, trace
from minigpt2.components import feed_forward
from minigpt2.verification import figures, published
from minigpt2.verification.check import Skipped

SIZES = {"vocab_size": 280, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
TEXT = "The old man and the sea. The old sea and the man, and the boat.\nOne man, two boats; the sea was old.\n" * 3
CLOSE = 1e-9  # the worst measured is 3e-11, of a perplexity: the table of erf_gelu


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sharp predictions, so that greedy texts, beams and penalties do not depend on rounding."""
    folder = tmp_path_factory.mktemp("model")
    Tokenizer.train(TEXT, SIZES["vocab_size"]).save_pretrained(folder)
    model = GPT2(GPT2Config(**SIZES), seed=5)
    rng = np.random.default_rng(1)
    for parameter in flatten(model.params).values():
        parameter += 0.3 * rng.standard_normal(parameter.shape).astype("float32")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return GPT2.from_pretrained(folder, dtype="float64"), Tokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def theirs(folder):
    """Function: transformers' model in float64, with other settings if wanted."""
    torch = pytest.importorskip("torch", reason="the figures are transformers'")
    transformers = pytest.importorskip("transformers", reason="the figures are transformers'")
    settings = {"attn_implementation": "eager", "dtype": torch.float64}
    return lambda **more: transformers.GPT2LMHeadModel.from_pretrained(folder, **settings, **more).eval()


@pytest.fixture(scope="module")
def logits(theirs):
    """Function: token ids (T,) -> transformers' logits (T, V)."""
    import torch

    def logits(ids, model=theirs()):  # noqa: B008 - one model for all
        with torch.no_grad():
            return model(torch.tensor([list(ids)])).logits[0].numpy()

    return logits


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


# Texts.


def test_a_greedy_text_up_to_a_stop(loaded):
    model, tokenizer = loaded
    ids = tokenizer.encode("The old")
    text = tokenizer.decode(model.generate(ids, max_new_tokens=12)[len(ids) :])
    end = next(i for i in range(3, len(text)) if text[i] not in text[:i])
    before, stop = text[:end], text[end]
    assert published.continuation_error(model, tokenizer, "The old", before, ("\0", stop))[0] == 0
    assert published.continuation_error(model, tokenizer, "The old", before, ("\0",))[0] > 0, "it goes on"
    assert published.continuation_error(model, tokenizer, "The old", before + "~", ("\0", stop))[0] == 1
    assert published.continuation_error(model, tokenizer, "The old", before[:-1], (stop,))[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.1, 1.6])
def test_the_penalty_counts_occurrences(loaded, theirs, penalty):
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    class ByOccurrence(LogitsProcessor):
        def __call__(self, ids, scores):
            factor = torch.ones_like(scores)
            for token in ids[0]:
                factor[0, token] *= penalty
            return torch.where(scores < 0, scores * factor, scores / factor)

    model, tokenizer = loaded
    ids = torch.tensor([tokenizer.encode("The old man")])
    options = {"max_length": 30, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    processors = LogitsProcessorList([ByOccurrence()])
    text = tokenizer.decode(theirs().generate(ids, logits_processor=processors, **options)[0].tolist())
    assert published.penalised_error(model, tokenizer, "The old man", penalty, 30, text)[0] == 0
    assert published.penalised_error(model, tokenizer, "The old man", penalty, 30, text[:-1] + "\0")[0] >= 1
    assert published.penalised_error(model, tokenizer, "The old man", penalty, 29, text)[0] >= 1
    once = tokenizer.decode(theirs().generate(ids, repetition_penalty=penalty, **options)[0].tolist())
    assert penalty == 1.1 or once != text, "the two formulas tell themselves apart"


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_beams_are_transformers(loaded, theirs, temperature):
    """Without an end, all texts are of one length. The temperature divides the logits: its final norm is divided."""
    import torch

    model, tokenizer = loaded
    scaled = theirs()
    with torch.no_grad():
        scaled.transformer.ln_f.weight /= temperature
        scaled.transformer.ln_f.bias /= temperature
    ids = torch.tensor([tokenizer.encode("The old")])
    found = scaled.generate(
        ids, num_beams=5, num_return_sequences=3, max_length=12, do_sample=False, early_stopping=True,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    texts = [tokenizer.decode(row) for row in found.tolist()]
    case = model, Endless(tokenizer), "The old", 5, 12
    assert published.beams_error(*case, temperature, texts)[0] == 0
    assert published.beams_error(*case, temperature, [texts[1], texts[0], texts[2]])[0] == 2
    assert published.beams_error(*case, 3.5 - temperature, texts)[0] > 0, "the temperature matters"
    assert published.beams_error(*case[:3], 1, 12, temperature, texts)[0] >= 2, "only one is found"


class Endless:
    """A tokenizer without a token that ends a text."""

    def __init__(self, tokenizer):
        self.encode, self.decode, self.eos_id = tokenizer.encode, tokenizer.decode, None


class Letters:
    """Tokens 0 to 2 are letters, and 3 ends a text."""

    eos_id = 3

    def encode(self, text):
        return ["abc".index(letter) for letter in text]

    def decode(self, ids):
        return "".join("abc"[i] for i in ids)


def test_beams_that_end_are_ranked_by_their_whole_length():
    """With beams for every text there is, the search is exhaustive: each text of four letters, or ended before."""
    model = GPT2(GPT2Config(vocab_size=4, n_positions=8, n_embd=8, n_layer=1, n_head=1, initializer_range=1.0), seed=2)
    prompt, length = "ab", 4
    ended = []
    for n in range(length - len(prompt) + 1):
        for letters in itertools.product("abc", repeat=n):
            text = prompt + "".join(letters)
            ids = Letters().encode(text) + [3] * (n < length - len(prompt))
            log_probs = log_softmax(model.forward([ids])[0][0].astype("float64") / 1.2)
            total = sum(log_probs[t - 1, ids[t]] for t in range(len(prompt), len(ids)))
            ended.append((-total / len(text), text))
    texts = [text for _, text in sorted(ended)]
    assert published.beam_texts(model, Letters(), prompt, 100, length, 1.2) == texts
    few = published.beam_texts(model, Letters(), prompt, 1, length, 1.2)
    assert len(few) == 1, "the first end is the end"


# Numbers.


def test_log_likelihood(loaded, logits):
    model, tokenizer = loaded
    before, after = tokenizer.encode("The old m"), tokenizer.encode("an and the sea")
    log_probs = log_softmax(logits(before + after))
    figure = sum(log_probs[len(before) + i - 1, token] for i, token in enumerate(after))
    case = model, tokenizer, "The old m", "an and the sea"
    assert published.log_likelihood_error(*case, figure)[0] < CLOSE
    assert published.log_likelihood_error(*case, 1.01 * figure)[0] == pytest.approx(0.01, rel=0.1)
    assert before + after != tokenizer.encode("The old man and the sea"), "they become tokens separately"


@pytest.mark.parametrize("window, length", [(5, 4), (5, 10), (7, 17), (7, 21), (64, 17)])
def test_log_probs_by_token_in_windows(loaded, logits, window, length):
    """Each window predicts up to ``window`` tokens that none before it did, from as many tokens as fit."""
    model, tokenizer = loaded
    text = tokenizer.decode(tokenizer.encode(TEXT)[:length])
    ids = tokenizer.encode(text)
    assert len(ids) == length
    stream, expected, done = [tokenizer.eos_id, *ids], [], 0
    while done < length:
        more = min(window, length - done)
        read = stream[max(0, done + more - window) : done + more]
        expected += [log_softmax(logits(read))[i - more, ids[done + i]] for i in range(more)]
        done += more
    case = model, tokenizer, text, window
    assert published.token_error(*case, expected)[0] < CLOSE
    expected[-1] *= 1.01
    error, where = published.token_error(*case, expected)
    assert error == pytest.approx(0.01, rel=0.1) and where.startswith(f"token {length - 1}, ")


@pytest.mark.parametrize("tensor", ["ln_f", "logits"])
def test_a_slice_is_transformers(loaded, theirs, logits, tensor):
    import torch

    model, tokenizer = loaded
    ids = tuple(tokenizer.encode(TEXT)[:9])
    with torch.no_grad():
        hidden = theirs().transformer(torch.tensor([list(ids)])).last_hidden_state[0].numpy()
    expected = {"ln_f": hidden, "logits": logits(ids)}[tensor][1:4, 1:4]
    assert published.slice_error(model, tokenizer, tensor, ids, expected.tolist())[0] < CLOSE
    other = expected + np.array([[0, 0, 0], [0, 0, 0.1], [0, 0, 0]])
    error, where = published.slice_error(model, tokenizer, tensor, ids, other)
    assert error == pytest.approx(0.1 / (1 + abs(other[1, 2]))) and where == "at [1, 2]"
    before_the_norm = trace(model, list(ids))["h.1.resid_post"][0, 1:4, 1:4]
    assert published.slice_error(model, tokenizer, "ln_f", ids, before_the_norm)[0] > 0.1


def test_the_hidden_state_is_transformers(loaded, theirs):
    import torch

    model, tokenizer = loaded
    with torch.no_grad():
        hidden = theirs().transformer(torch.tensor([tokenizer.encode("The sea")])).last_hidden_state.flatten()[:10]
    expected = hidden.tolist()
    assert published.hidden_error(model, tokenizer, "The sea", expected)[0] < CLOSE
    expected[7] += 1e-3
    error, where = published.hidden_error(model, tokenizer, "The sea", expected)
    assert error == pytest.approx(1e-3) and where == "at [7]"


def test_the_best_next_token_is_transformers(loaded, logits):
    model, tokenizer = loaded
    last = logits(tokenizer.encode("The old man"))[-1]
    token = tokenizer.decode([int(last.argmax())])
    case = model, tokenizer, "The old man"
    assert published.best_token_error(*case, token, last.max())[0] < CLOSE
    assert published.best_token_error(*case, token, last.max() + 0.2)[0] == pytest.approx(0.2)
    assert published.best_token_error(*case, token + "!", last.max())[0] == math.inf


# Perplexities, in the erf form.


def test_the_erf_form_is_that_of_the_normal_distribution_and_ends():
    x = np.linspace(-12, 12, 10_007)
    expected = [value * math.erfc(-value / math.sqrt(2)) / 2 for value in x]
    tanh_form = feed_forward.gelu_forward
    with published.erf_gelu():
        y, _ = feed_forward.gelu_forward(x)
        assert np.abs(y - expected).max() < 1e-8 and np.abs(tanh_form(x)[0] - expected).max() > 4e-4
        assert feed_forward.gelu_forward(np.ones((2, 3), "float32"))[0].dtype == "float32"
    with pytest.raises(KeyError), published.erf_gelu():
        raise KeyError
    assert feed_forward.gelu_forward is tanh_form


def test_the_perplexity_of_joined_rows(loaded, theirs, logits, tmp_path):
    """The windows of numpygrad's benchmark: each begins stride tokens after the one before, the last one is short."""
    model, tokenizer = loaded
    raw = " \n = The sea = \n \n The old man and the sea . \n The boat was old . \n \n" * 6
    (tmp_path / "wiki.test.raw").write_text(raw, encoding="utf-8")
    rows = [line if line.strip() else "" for line in raw.splitlines(keepends=True)]
    ids = tokenizer.encode("\n\n".join(rows))
    whole, limit, stride, P = len(ids), 150, 32, 64
    assert limit < whole and (limit - 1 - P) % stride
    ids, nats, done = ids[:limit], 0.0, 0
    erf = theirs(activation_function="gelu")
    for begin in itertools.count(0, stride):
        end = min(begin + P, limit - 1)
        log_probs = log_softmax(logits(ids[begin:end], erf))
        nats -= sum(log_probs[t - begin, ids[t + 1]] for t in range(done, end))
        done = end
        if end == limit - 1:
            break
    expected = {"perplexity": math.exp(nats / (limit - 1))}
    case = model, tokenizer, lambda: tmp_path / "wiki.test.raw"
    error = published.wikitext_error(*case, expected, limit, stride, whole)
    assert error[0] < CLOSE
    wrong = {"perplexity": 1.01 * expected["perplexity"]}
    assert published.wikitext_error(*case, wrong, limit, stride, whole)[0] > 5e-3
    assert published.wikitext_error(*case, expected, limit, stride - 1, whole)[0] > 1e-5, "the stride matters"
    with pytest.raises(Skipped, match=f"has {whole} tokens, and the raw test set 287,644: it is another text"):
        published.wikitext_error(*case, expected)


@pytest.mark.slow
def test_perplexity_and_accuracy_of_last_words(loaded, theirs, logits, tmp_path):
    model, tokenizer = loaded
    erf, nats, tokens, right = theirs(activation_function="gelu"), 0.0, 0, 0
    words = TEXT.split()
    passages = [" ".join(words[i : i + 12]) for i in range(15)]
    for i, n in itertools.product(range(20), range(2, 20)):  # until the model guesses a word, to be right once
        context = " ".join(words[i : i + n])
        word = tokenizer.decode([int(logits(tokenizer.encode(context), erf)[-1].argmax())])
        if word[0] == " " and word[1:].isalpha():
            passages[4] = context + word
            break
    for passage in passages:
        context, word = passage.rsplit(" ", 1)
        context, word = tokenizer.encode(context), tokenizer.encode(" " + word)
        scores = logits(context + word, erf)[len(context) - 1 : -1]
        nats -= sum(log_softmax(scores)[i, token] for i, token in enumerate(word))
        tokens += len(word)
        right += scores.argmax(axis=-1).tolist() == word
    path = tmp_path / "lambada_test.jsonl"
    passages += ["not read"]
    path.write_text("".join(json.dumps({"text": passage}) + "\n" for passage in passages), encoding="utf-8")
    expected = {"perplexity": math.exp(nats / tokens), "accuracy": right / 15}
    case = model, tokenizer, lambda: path
    assert right and published.lambada_error(*case, expected, 15, tokens)[0] < CLOSE
    wrong = expected | {"accuracy": (right + 1) / 15}
    assert published.lambada_error(*case, wrong, 15, tokens) == (pytest.approx(1 / (right + 1)), "accuracy")
    with pytest.raises(Skipped, match=f"the last words of 15 passages have {tokens} tokens, not 177"):
        published.lambada_error(*case, expected, 15)


# The checks.


def test_the_figures_are_those_of_gpt2s_tokens(gpt2_vocab):
    """As many tokens as there are figures, and texts as long as their searches."""
    tokenizer = Tokenizer.from_pretrained(gpt2_vocab)
    for expected in figures.TOKEN_LOG_PROBS.values():
        assert len(tokenizer.encode(figures.TOKEN_TEXT)) == len(expected) == 17
    assert [tokenizer.encode(case[1]) for case in figures.BEST_TOKENS.values()] == [[1936], [14104]]
    _, _, length, text = figures.PENALISED
    assert len(tokenizer.encode(text)) < length, "it ends with <|endoftext|>"
    _, _, length, _, texts = figures.BEAMS
    assert {len(tokenizer.encode(text)) for text in texts} == {length}
    prompt, text, stop = figures.STOPPED
    assert tokenizer.encode(prompt + text + stop[0])[: len(tokenizer.encode(prompt))] == tokenizer.encode(prompt)


@pytest.mark.slow
def test_every_check_runs_on_a_model_of_gpt2s_vocabulary(gpt2_vocab, tmp_path, monkeypatch):
    """Of random weights none is right, and each says how wrong they are."""
    config = GPT2Config(n_embd=16, n_layer=1, n_head=1)
    made = lambda *_: (GPT2(config, seed=0), Tokenizer.from_pretrained(gpt2_vocab))  # noqa: E731
    monkeypatch.setattr(published, "released_model", made)
    monkeypatch.setattr(published, "shakespeare", lambda: "First Citizen:\nSpeak, speak.\n\n" * 40)
    for file in ("wiki.test.raw", "lambada_test.jsonl"):
        (tmp_path / file).write_text('{"text": "The old man and the sea"}\n')
    results = [check.run() for check in published.published_checks(dict.fromkeys(published.MODELS), tmp_path)]
    assert len({result.name for result in results}) == len(results) == 25
    for result in results[:-2]:
        assert result.verdict == "FAILED" and result.figure > result.tolerance, result
    assert [result.verdict for result in results[-2:]] == ["skipped"] * 2, "these are other texts"


def test_without_weights_or_texts_each_check_says_what_to_do(loaded, tmp_path, monkeypatch):
    results = {c.name: c.run() for c in published.published_checks(dict.fromkeys(published.MODELS))}
    assert {result.verdict for result in results.values()} == {"skipped"}
    name = "published: best next token, distilgpt2"
    assert results[name].note == "distilgpt2 is not in the cache; --model distilgpt2 downloads it"
    monkeypatch.setattr(published, "released_model", lambda *_: loaded)
    for folder in (None, tmp_path):
        *_, wikitext, lambada = published.published_checks(dict.fromkeys(published.MODELS), folder)
        for check, file in ((wikitext, "wiki.test.raw"), (lambada, "lambada_test.jsonl")):
            assert check.run().note == f"{file} is not here; --benchmarks FOLDER is the folder that it is in"


def test_sizes_tell_gpt2_from_distilgpt2(folder, monkeypatch):
    changed = GPT2Config(**SIZES | {"n_layer": 6})
    monkeypatch.setattr(GPT2Config, "preset", lambda name, n_layer=2: GPT2Config(**SIZES | {"n_layer": n_layer}))
    assert published.released_model("gpt2", folder)[0].config.n_layer == 2
    assert changed.n_layer == published.MODELS["distilgpt2"]["n_layer"]
    with pytest.raises(Skipped, match="of distilgpt2, and this is another model; --model distilgpt2 checks it"):
        published.released_model("distilgpt2", folder)
