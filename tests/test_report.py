"""The evaluation report: its figures against direct computations, its files, and what it refuses."""

import json
import math
import sys
import warnings

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.evaluation import evaluate
from minigpt2.measures import distinct_n, repeated_n_grams, self_bleu
from minigpt2.report import evaluation_report, loss_table, measure_table, write_report

pytest.importorskip("sacrebleu", reason="it comes with the extra [evaluation]")

DRAMA = "".join(
    f"  Scene {n}. Enter {who} with {n * n} {things}, and says:\nWhat news of the {things}, my good {who}?\n\n"
    for n, (who, things) in enumerate([("Anna", "swords"), ("Ben", "letters"), ("Cleo", "crowns")] * 7)
)
VERSE = "".join(
    f"The {n}th rose is red as {n + 1} others are,\nand none is like its {n - 1} sisters.\n" for n in range(30)
)
SETTINGS = {"temperatures": (0.7, 1.0), "samples": 3, "length": 20, "seed": 5}


def tiny(tokenizer, seed=1, n_positions=16):
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=n_positions, n_embd=16, n_layer=1, n_head=2, initializer_range=0.2
    )
    return GPT2(config, seed=seed, dtype="float64"), tokenizer


@pytest.fixture(scope="module")
def bpe():
    return Tokenizer.train(DRAMA + VERSE, 300)


@pytest.fixture(scope="module")
def models(bpe):
    return {
        "words": tiny(bpe),
        "other words": tiny(bpe, seed=2),
        "characters": tiny(CharTokenizer.train(DRAMA + VERSE)),
    }


@pytest.fixture(scope="module")
def report(models):
    return evaluation_report(models, {"drama": DRAMA, "verse": VERSE}, **SETTINGS)


def test_ids_without_a_token_are_not_sampled(bpe):
    """As of a vocabulary that was padded to a round number, even where the model prefers them."""
    config = GPT2Config(vocab_size=len(bpe) + 40, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    model = GPT2(config, seed=1)
    model.params["wte"]["weight"][len(bpe) :] *= 100
    found = evaluation_report({"padded": (model, bpe)}, {"verse": VERSE}, **SETTINGS)
    assert all(row["words"] for row in found["texts"])


def only(rows, **fields):
    """The one row with these fields."""
    (row,) = [row for row in rows if all(row[name] == value for name, value in fields.items())]
    return row


def test_losses_are_those_of_evaluate(report, models):
    assert len(report["losses"]) == 3 * 2
    for row in report["losses"]:
        text = {"drama": DRAMA, "verse": VERSE}[row["domain"]]
        result = evaluate(*models[row["model"]], text, stride=8)
        for name in ("nats", "tokens", "characters", "loss", "perplexity", "bits_per_character"):
            assert row[name] == getattr(result, name)


def test_a_model_with_more_rows_than_its_tokenizer_has_tokens_writes_text(bpe):
    model = GPT2(GPT2Config(len(bpe) + 500, n_positions=16, n_embd=16, n_layer=1, n_head=2), seed=2)
    report = evaluation_report({"padded": (model, bpe)}, {"drama": DRAMA}, **SETTINGS | {"temperatures": (0, 2.0)})
    assert len(report["texts"]) == 3


@pytest.mark.parametrize("name", ["words", "characters"])
def test_the_near_context_is_eight_tokens(report, models, name):
    model, tokenizer = models[name]
    ids, nats = tokenizer.encode(VERSE), 0.0
    for i in range(1, len(ids)):
        logits = model.forward([ids[max(0, i - 8) : i]])[0][0, -1]
        nats -= logits[ids[i]] - logits.max() - math.log(np.exp(logits - logits.max()).sum())
    row = only(report["losses"], domain="verse", model=name)
    assert row["near_nats"] == pytest.approx(nats, rel=1e-12)
    assert row["near_bits_per_character"] == pytest.approx(nats / math.log(2) / row["characters"], rel=1e-12)
    assert row["far_context_bits"] == pytest.approx((nats - row["nats"]) / math.log(2) / row["characters"], rel=1e-9)


def test_the_far_context_is_worth_nothing_to_a_model_that_looks_at_one_token(bpe):
    model, _ = tiny(bpe)
    model.params["wpe"]["weight"][...] = 0
    model.params["h"][0]["attn"]["c_proj"]["weight"][...] = 0
    found = evaluation_report({"bigram": (model, bpe)}, {"verse": VERSE}, **SETTINGS)
    assert found["losses"][0]["far_context_bits"] == pytest.approx(0, abs=1e-12)


def test_prompts_are_beginnings_of_lines_and_humans_go_on(report, models, bpe):
    lines, place = [], 0
    for line in DRAMA.splitlines(keepends=True):
        if line.strip():
            lines.append(place + len(line) - len(line.lstrip()))
        place += len(line)
    starts = [min(line for line in lines if line >= n * len(DRAMA) / 3) for n in range(3)]
    human = only(report["texts"], domain="drama", writer="human text as for characters")
    assert human["temperature"] is None
    assert human["prompts"] == [DRAMA[start : start + 16] for start in starts]
    assert human["continuations"] == [DRAMA[start + 16 : start + 36] for start in starts]
    human = only(report["texts"], domain="drama", writer="human text as for words, other words")
    ids = [bpe.encode(DRAMA[start:])[:36] for start in starts]
    assert human["prompts"] == [bpe.decode(row[:16]) for row in ids]
    assert human["continuations"] == [bpe.decode(row[16:]) for row in ids]


def test_samples_are_drawn_with_the_seed_and_measured(report, models):
    model, tokenizer = models["other words"]
    row = only(report["texts"], domain="verse", writer="other words", temperature=0.7)
    human = only(report["texts"], domain="verse", writer="human text as for words, other words")
    assert row["prompts"] == human["prompts"]
    # A prompt's own tokens need not be those of its text alone, so they are taken from the passage.
    ids = [tokenizer.encode(p + c)[:16] for p, c in zip(human["prompts"], human["continuations"], strict=True)]
    drawn = model.generate(ids, 20, temperature=0.7, seed=5)[:, 16:].tolist()
    drawn = [each[: each.index(tokenizer.eos_id)] if tokenizer.eos_id in each else each for each in drawn]
    assert row["continuations"] == [tokenizer.decode(each) for each in drawn]
    for row in report["texts"]:
        texts = row["continuations"]
        assert row["repeated_4_grams"] == repeated_n_grams(texts, 4)
        assert [row["distinct_1"], row["distinct_2"], row["distinct_3"]] == [distinct_n(texts, n) for n in (1, 2, 3)]
        assert row["self_bleu"] == self_bleu(texts)
    assert len(report["texts"]) == 2 * (2 + 3 * 2)


def test_a_figure_does_not_depend_on_what_else_is_reported(report, models):
    alone = evaluation_report({"words": models["words"]}, {"verse": VERSE}, **SETTINGS | {"temperatures": [1.0]})
    assert alone["losses"] == [only(report["losses"], domain="verse", model="words")]
    human, sample = alone["texts"]
    assert sample == only(report["texts"], domain="verse", writer="words", temperature=1.0)
    assert human["writer"] == "human text"
    other = evaluation_report({"words": models["words"]}, {"verse": VERSE}, **SETTINGS | {"seed": 6})
    assert other["losses"] == alone["losses"] and other["texts"][2]["continuations"] != sample["continuations"]


def test_top_k_of_one_is_greedy(models):
    some = {"words": models["words"]}, {"verse": VERSE}
    found = evaluation_report(*some, (0, 1.3), samples=2, length=9, top_k=1, seed=3)
    assert found["texts"][1]["continuations"] == found["texts"][2]["continuations"]


@pytest.mark.parametrize("end", ["<|endoftext|>", "e"])
def test_a_model_that_says_nothing(bpe, tmp_path, end):
    model, _ = tiny(bpe)
    bpe = Tokenizer(bpe.vocab, bpe.merges, eos_ids=[bpe.vocab[end]])  # its own end token, or another one besides
    wte, ln_f = model.params["wte"]["weight"], model.params["ln_f"]
    wte[bpe.vocab[end]] *= 10
    ln_f["weight"][...], ln_f["bias"][...] = 0, wte[bpe.vocab[end]]  # always that
    found = evaluation_report({"silent": (model, bpe)}, {"verse": VERSE}, **SETTINGS)
    row = found["texts"][1]
    assert row["continuations"] == ["", "", ""] and row["words"] == 0
    assert {row[name] for name in ("repeated_4_grams", "distinct_1", "distinct_2", "self_bleu")} == {None}
    write_report(tmp_path, found)
    assert "| – |" in " ".join(measure_table(found).split())


def test_the_same_seed_writes_the_same_bytes(report, models, tmp_path):
    pytest.importorskip("matplotlib", reason="it comes with the extra [notebooks]")
    again = evaluation_report(models, {"drama": DRAMA, "verse": VERSE}, **SETTINGS)
    assert again == report
    for folder, found in (("one", report), ("two/deep", again)):
        assert write_report(tmp_path / folder, found, "minigpt2 report ...") == tmp_path / folder / "report.md"
        assert {path.name for path in (tmp_path / folder).iterdir()} == {"report.md", "report.png", "report.json"}
    for name in ("report.md", "report.png", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two/deep" / name).read_bytes()
    assert (tmp_path / "one/report.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert json.loads((tmp_path / "one/report.json").read_text(encoding="utf-8")) == report


def test_the_report_shows_every_figure_and_a_sample_of_each(report, tmp_path):
    text = write_report(tmp_path, report, "minigpt2 report --seed 5").read_text(encoding="utf-8")
    assert loss_table(report) in text and measure_table(report) in text
    assert "```\nminigpt2 report --seed 5\n```" in text
    for row in report["losses"]:
        (line,) = [x for x in loss_table(report).splitlines() if x.split("|")[1:3] == _cells(row, "model", report)]
        assert f"{row['loss']:.4f}" in line and f"{row['far_context_bits']:.4f}" in line
    for row in report["texts"]:
        assert f"{row['distinct_2']:.3f}" in measure_table(report)
        at = "" if row["temperature"] is None else f", temperature {row['temperature']:g}"
        assert f"\n{row['writer']}{at}:\n" in text


def _cells(row, name, report):
    """The first two cells of a row as the table pads them."""
    header = loss_table(report).splitlines()[1].split("|")
    return [f" {row['domain']:<{len(header[1]) - 2}} ", f" {row[name]:<{len(header[2]) - 2}} "]


def test_a_fence_is_longer_than_those_in_the_text(report, tmp_path):
    row = dict(report["texts"][0], continuations=["a\n````\nb\x00\x1b[1m"])
    text = write_report(tmp_path, report | {"texts": [row]}).read_text(encoding="utf-8")
    assert "`````text\na\n````\nb\ufffd\ufffd[1m\n`````\n" in text


def test_names_that_a_picture_or_a_table_cannot_show_as_they_are(models, tmp_path):
    names = {"唐诗": models["words"], "$a$ | b": models["characters"]}
    found = evaluation_report(names, {"_x": VERSE, "a" * 60: DRAMA}, **SETTINGS)
    with warnings.catch_warnings(action="error"):  # matplotlib warns of a missing glyph
        text = write_report(tmp_path, found).read_text(encoding="utf-8")
    assert r"$a$ \| b" in text and "唐诗" in text


def test_without_matplotlib_there_is_no_picture(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = write_report(tmp_path, report).read_text(encoding="utf-8")
    assert "report.png" not in text and {path.name for path in tmp_path.iterdir()} == {"report.md", "report.json"}


@pytest.mark.parametrize(
    ("domain", "settings", "message"),
    [
        ("", {}, "domain 'd' is too short: .* part 1 of 3 to that in the next there are 0 tokens"),
        (VERSE[:80], {}, "domain 'd' is too short"),
        (VERSE.replace("\n", " "), {}, "part 2 of 3 .* there are 0 tokens"),
        (VERSE, {"length": 900}, "16 and 900 to compare with are needed; use a longer text"),
        (VERSE, {"length": 0}, "length must be at least 1 token, got 0"),
        (VERSE, {"samples": 1}, "at least 2 samples are needed .* got 1"),
        (VERSE, {"temperatures": []}, "at least one model, domain and temperature"),
        (VERSE, {"temperatures": [1, 0.5, 1.0]}, "give each temperature once, got 1 0.5 1.0"),
        (VERSE + "é\n", {}, r"model 'characters' cannot read domain 'd': character 'é'"),
    ],
)
def test_what_cannot_be_reported(models, domain, settings, message):
    with pytest.raises(ValueError, match=message):
        evaluation_report({"characters": models["characters"]}, {"d": domain}, **SETTINGS | settings)


def test_without_sacrebleu_it_says_so_at_once(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    monkeypatch.setattr("minigpt2.report.evaluate", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(ValueError, match="needs sacrebleu"):
        evaluation_report({"words": models["words"]}, {"verse": VERSE}, **SETTINGS)


def test_a_picture_that_cannot_be_replaced_is_a_warning(report, tmp_path):
    pytest.importorskip("matplotlib", reason="it comes with the extra [notebooks]")
    (tmp_path / "report.png").mkdir()  # on Windows: open in another program
    with pytest.warns(UserWarning, match=r"report\.png is not of this report: .*; is it open elsewhere\?"):
        text = write_report(tmp_path, report).read_text(encoding="utf-8")
    assert "report.png" not in text and text.startswith("# Evaluation report")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md", "report.png"]


def test_a_picture_that_cannot_be_drawn_is_a_warning(report, tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("'module://ipykernel.pylab' is not a valid value for backend")

    monkeypatch.setattr("minigpt2.report.plot_report", refuse)
    with pytest.warns(UserWarning, match=r"report\.png cannot be drawn: 'module.* is not a valid value for backend"):
        text = write_report(tmp_path, report).read_text(encoding="utf-8")
    assert "report.png" not in text and text.startswith("# Evaluation report")


def test_sampling_that_is_wrong_is_found_before_the_work(models, monkeypatch):
    monkeypatch.setattr("minigpt2.report.evaluate", lambda *_: pytest.fail("the work has begun"))
    for wrong, message in (({"temperatures": [1, -1]}, "temperature must be .*, got -1"), ({"top_k": 0}, "top_k must")):
        with pytest.raises(ValueError, match=message):
            evaluation_report({"words": models["words"]}, {"verse": VERSE}, **SETTINGS | wrong)
