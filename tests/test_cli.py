"""The command line, run as a user runs it."""

import dataclasses
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.cli import main, make_parser
from minigpt2.cli.report import name_and_model
from minigpt2.cli.reproduce import command_line
from minigpt2.cli.train import _begin
from minigpt2.data import documents
from minigpt2.data.token_file import encode_documents, open_tokens
from minigpt2.evaluation import evaluate
from minigpt2.generation import stream_text
from minigpt2.shell import option, shell_line
from minigpt2.verification.trace import read_trace

TEXT = "Shall I compare thee to a summer's day? Thou art more lovely and more temperate.\n" * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with its tokenizer, and a text."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer.train(TEXT, 280)
    tokenizer.save_pretrained(folder)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=1, n_head=2)
    GPT2(config, seed=1).save_pretrained(folder)
    (folder / "text.txt").write_bytes(TEXT.encode())
    return folder


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def fails(capsys, *arguments, code=1):
    """Run a wrong call: exit code 1, nothing on standard output, one line on standard error; returns it."""
    found, out, err = run(capsys, *arguments)
    assert (found, out, err.count("\n")) == (code, "", 1) and err.startswith("minigpt2: error: "), err
    return err


@pytest.mark.parametrize(
    "command",
    [
        [], ["generate"], ["train"], ["eval"], ["report"], ["data"], ["tokenize"], ["trace"], ["compare"], ["verify"],
        ["convert"],
    ],
)  # fmt: skip
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    out = capsys.readouterr().out
    assert exit.value.code == 0
    assert re.search(rf"example:\n  minigpt2 {' '.join(command)}", out)


HELPS = """
import contextlib, io, sys
from minigpt2.cli import main
for command in ["", *"generate train eval report data tokenize trace compare verify convert".split()]:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([*command.split(), "--help"])
    print([command, *{"requests", "minigpt2.training"} & set(sys.modules)])
"""


def test_help_does_not_wait_for_requests_or_training(folder, tmp_path):
    """Nor does ``compare``, which reads two files and needs neither."""
    done = subprocess.run([sys.executable, "-c", HELPS], capture_output=True, text=True, timeout=120)
    assert done.stderr == "" and re.fullmatch(r"(\['\w*'\]\n){11}", done.stdout), done.stdout
    path = str(tmp_path / "ours.safetensors")
    assert main(["trace", "--model", str(folder), "--ids", "1,2,3", "-o", path]) == 0
    code = "import sys; from minigpt2.cli import main; print(main(sys.argv[1:]), 'requests' in sys.modules)"
    command = [sys.executable, "-c", code, "compare", path, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def test_generate_writes_prompt_and_continuation(folder, capsys):
    call = ["generate", "--model", folder, "--prompt", "Shall", "--max-new-tokens", 40, "--seed", 3]
    code, out, err = run(capsys, *call)
    assert code == 0 and out.startswith("Shall") and out.endswith("\n") and err == ""
    assert run(capsys, *call) == (code, out, err)
    assert run(capsys, *call[:-1], 4)[1] != out
    tokenizer, model = Tokenizer.from_pretrained(folder), GPT2.from_pretrained(folder)
    greedy = model.generate(tokenizer.encode("Shall"), 40)
    assert run(capsys, *call, "--temperature", 0)[1] == tokenizer.decode(greedy) + "\n"


def test_generate_takes_its_prompt_from_anywhere(folder, tmp_path, capsys, monkeypatch):
    def given(prompt, *words, standard_input=None):
        if standard_input is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(standard_input), encoding="ascii"))
        code, out, err = run(capsys, "generate", "--model", folder, "--max-new-tokens", 5, *words)
        assert (code, err) == (0, "") and out.startswith(prompt)
        return out

    expected = given("né", "--prompt", "né")
    assert given("né", "né") == given("né", "--temperature", 0.8, "né", "--seed", 0) == expected
    for data in "né", "né\n", "né\r\n", "\ufeffné\n":  # the last with a byte order mark
        assert given("né", "-", standard_input=data.encode()) == expected
        assert given("né", "--prompt", "-", standard_input=data.encode()) == expected
    (tmp_path / "prompt.txt").write_bytes("né\n".encode())
    assert given("né", "--prompt-file", tmp_path / "prompt.txt") == expected
    assert given("né\n", "--prompt", "né\n") != expected  # here the line end was meant
    assert given("", "--prompt", "-", standard_input=b"") == given("")


@pytest.mark.parametrize("data", [b"caf\xe9", "To be".encode("utf-16")])
def test_a_prompt_that_is_not_utf8_is_refused(data, folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert "standard input is not UTF-8 text" in fails(capsys, "generate", "--model", folder, "--prompt", "-")


def test_standard_input_is_one_prompt_and_waited_for_with_a_line(folder, capsys, monkeypatch):
    for words in (["-", "--prompt", "-"], ["--prompt", "-", "--prompt-file", "-"], ["-", "--prompt-file=/dev/stdin"]):
        assert "standard input can be read once" in fails(capsys, "generate", "--model", folder, *words)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"To be\n"), isatty=lambda: True))
    code, out, err = run(capsys, "generate", "--model", folder, "--max-new-tokens", 2, "--prompt", "-")
    assert code == 0 and out.startswith("To be") and err.startswith("reading - from the terminal, up to Ctrl-D")


def test_generate_without_a_prompt_begins_with_the_end_token(folder, capsys):
    call = ["generate", "--model", folder, "--max-new-tokens", 20]
    code, out, err = run(capsys, *call)
    model, tokenizer = GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    text = "".join(stream_text(model, tokenizer, "", 20, stop=tokenizer.eos_id, temperature=0.8))
    assert (code, out, err) == (0, f"{text}\n", "")
    assert run(capsys, *call, "--prompt", "")[1] == out
    marked = run(capsys, *call, "--prompt", "<|endoftext|>", "--allow-special")[1]
    assert marked == f"<|endoftext|>{out}" != run(capsys, *call, "--prompt", "<|endoftext|>")[1]


def test_generate_with_characters_and_no_line_end(tmp_path, capsys):
    tokenizer = CharTokenizer.train("3141592653589793")
    tokenizer.save_pretrained(tmp_path)
    GPT2(GPT2Config(len(tokenizer), n_positions=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    code, out, err = run(capsys, "generate", "--model", tmp_path, "--max-new-tokens", 9)
    assert (code, err) == (0, "") and re.fullmatch(r"\d{9}\n", out)


def test_generate_continues_several_prompts_each_as_if_alone(folder, tmp_path, capsys):
    call = ["generate", "--model", folder, "--max-new-tokens", 40]
    documents = ["Shall I", "a day", "temperate and", "x"] * 3
    (tmp_path / "prompts.jsonl").write_bytes("".join(json.dumps({"text": d}) + "\n" for d in documents).encode())
    alone = {prompt: run(capsys, *call, "--prompt", prompt)[1] for prompt in ["Thou", "", *documents]}
    found = run(capsys, *call, "Thou", "--prompt", "", "--prompt-file", tmp_path / "prompts.jsonl")[1]
    expected = [alone[prompt] for prompt in ["Thou", "", *documents]]
    assert found == "".join(f"--- prompt {n} of 14 ---\n{text}" for n, text in enumerate(expected, 1))

    found = run(capsys, *call, "Thou", "--prompt", "day", "--num-samples", 2, "--seed", 4)[1]
    expected = [
        f"--- prompt {number} of 2, sample {sample} of 2 ---\n"
        + run(capsys, *call, prompt, "--seed", 3 + sample)[1]
        for number, prompt in enumerate(["Thou", "day"], 1)
        for sample in (1, 2)
    ]  # fmt: skip
    assert found == "".join(expected)


def test_generate_ends_with_the_end_token_of_the_configuration(folder, tmp_path, capsys):
    """In a model that writes nothing else, and whose tokenizer does not know it."""
    model, tokenizer = GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    end = len(tokenizer) + 3
    config = dataclasses.replace(model.config, vocab_size=end + 1, eos_token_id=end)
    other = GPT2(config)
    other.params["ln_f"]["weight"][...] = 0
    other.params["ln_f"]["bias"][...] = 1  # one activation, whatever the input
    other.params["wte"]["weight"][...] = 0
    other.params["wte"]["weight"][end] = 1
    other.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    for more in [], ["--beams", 2], ["--prompt", "day"], ["--temperature", 0]:
        code, out, err = run(capsys, "generate", "--model", tmp_path, "Shall", *more)
        both = "--- prompt 1 of 2 ---\nShall\n--- prompt 2 of 2 ---\nday\n"
        assert (code, out, err) == (0, both if "day" in more else "Shall\n", "")


def test_generate_writes_no_id_that_the_tokenizer_does_not_know(folder, tmp_path, capsys):
    model, tokenizer = GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    padded = GPT2(dataclasses.replace(model.config, vocab_size=len(tokenizer) + 300), seed=2)
    padded.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    for more in ["--temperature", 2, "--num-samples", 3], ["--beams", 3], ["--prompt", "day"]:
        code, out, err = run(capsys, "generate", "--model", tmp_path, "Shall", *more)
        assert (code, err) == (0, "") and "Shall" in out


def test_generate_several_samples_and_beams(folder, capsys):
    out = run(capsys, "generate", "--model", folder, "--prompt", "Shall", "--num-samples", 2)[1]
    assert re.fullmatch(r"--- sample 1 of 2 ---\nShall.*\n--- sample 2 of 2 ---\nShall.*\n", out, flags=re.S)
    code, out, _ = run(capsys, "generate", "--model", folder, "--prompt", "Shall", "--beams", 3, "--max-new-tokens", 5)
    assert code == 0 and out.startswith("Shall")


def test_eval_prints_the_figures_of_evaluate(folder, capsys):
    code, out, _ = run(
        capsys, "eval", "--model", folder, "--data", folder / "text.txt", "--split", "validation", "--stride", 8
    )
    text = TEXT[int(0.9 * len(TEXT)) :]
    result = evaluate(GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder), text, 8)
    assert code == 0
    assert f"{result.loss:.4f}" in out and f"{result.loss_per_character:.4f}" in out
    assert f"{result.perplexity:.3f}" in out and f"{result.tokens:,}" in out


def test_eval_reads_the_first_tokens_in_windows_as_others_do(folder, capsys):
    call = "eval", "--model", folder, "--data", folder / "text.txt", "--stride", 5, "--limit", 30, "--short-last-window"
    code, out, _ = run(capsys, *call)
    result = evaluate(
        GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder), TEXT, 5, limit=30, short_last=True
    )
    assert code == 0 and re.search(r"predicted +29   in windows of \d+, one every 5, the last one shorter\n", out)
    assert f"{result.perplexity:.3f}" in out and f"{result.loss_per_character:.4f}" in out
    again = out.splitlines()[-1]
    assert "--stride 5" in again and "--limit 30" in again and "--short-last-window" in again


def test_report_measures_models_on_texts(folder, tmp_path, capsys):
    pytest.importorskip("sacrebleu", reason="it comes with the extra [evaluation]")
    other = tmp_path / "a=b c.txt"
    other.write_bytes((TEXT[::2] + TEXT).encode())
    call = ["report", "--model", f"my model={folder}", "--model", folder, "--data", folder / "text.txt", other,
            "--out", tmp_path / "out", "--split", "all", "--samples", 2, "--length", 9, "--temperatures", 0.9,
            "--top-k", 7]  # fmt: skip
    code, out, err = run(capsys, *call)
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "out/report.json").read_text())
    expected = evaluate(GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder), TEXT, 16)
    assert [(row["domain"], row["model"]) for row in found["losses"]] == [
        (domain, model) for domain in ("text", "a=b c") for model in ("my model", folder.name)
    ]
    assert found["losses"][0]["nats"] == found["losses"][1]["nats"] == expected.nats
    assert f"{expected.loss:.4f}" in out and f"{expected.bits_per_character:.4f}" in out
    settings = found["settings"]
    assert (settings["samples"], settings["length"], settings["temperatures"], settings["top_k"], settings["seed"]) == (
        2, 9, [0.9], 7, 0
    )  # fmt: skip
    assert f"the report is in {tmp_path / 'out/report.md'}\n" in out

    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    last = out.splitlines()[-1]
    assert last.startswith("reproduce: minigpt2 report ") and last[len("reproduce: ") :].encode() in before["report.md"]
    assert run(capsys, *shlex.split(last)[2:]) == (0, out, "")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_report_takes_the_last_tenth_of_a_text(folder, tmp_path, capsys):
    pytest.importorskip("sacrebleu", reason="it comes with the extra [evaluation]")
    call = ["--model", folder, "--data", folder / "text.txt", "--out", tmp_path / "out", "--samples", 2]
    assert run(capsys, "report", *call, "--length", 4)[0] == 0
    found = json.loads((tmp_path / "out/report.json").read_text())
    assert found["settings"]["domains"] == {"text": {"characters": len(TEXT) - int(0.9 * len(TEXT))}}
    assert found["settings"]["temperatures"] == [0.5, 0.8, 1.0, 1.2]


def test_report_names(folder, tmp_path, capsys):
    data = ["--data", folder / "text.txt", "--out", tmp_path / "out"]
    assert f"--model: two are called '{folder.name}'; give one a name" in fails(
        capsys, "report", "--model", folder, "--model", folder, *data
    )
    assert f"{str(folder)!r} has no name; give" in fails(capsys, "report", "--model", f"={folder}", *data)
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    assert "--data: two are called 'text'; rename a file" in fails(
        capsys, "report", "--data", folder / "text.txt", tmp_path / "text.txt", "--out", tmp_path / "out"
    )
    assert "is a file); give another folder" in fails(capsys, "report", *data[:2], "--out", tmp_path / "text.txt")
    assert "is too short" in fails(capsys, "report", "--model", folder, *data)
    assert not (tmp_path / "out").exists()
    assert name_and_model("nano=runs/lr=1") == ("nano", "runs/lr=1")
    (tmp_path / "lr=1").mkdir()
    assert name_and_model(f"{tmp_path}/lr=1/") == ("lr=1", f"{tmp_path}/lr=1/")


def reproduced(capsys, out):
    """What the command on the last line of ``out`` prints."""
    last = out.splitlines()[-1]
    assert last.startswith("reproduce: minigpt2 eval --")
    return run(capsys, *shlex.split(last)[2:])[1]


@pytest.mark.parametrize(
    ("name", "content", "call", "expected"),
    [
        ("te'st.jsonl", '{"text": "thou art lovely"}\n' * 2, ["--task", "lambada", "--target", "token", "--stop-words"],
         [r"examples +2\n", r"target +the last token", r"accuracy of the last token \(%\) +0\.0000\n",
          r"accuracy +45\.99 ", "--target token --stop-words"]),
        ("wiki.test.tokens", " = A = \n a day , \n", ["--task", "wikitext2", "--context", "8", "--no-detokenizer"],
         [r"original words +8, ", r"context +8 tokens, a window every 8\n", r"text +as it is", r"29\.41 +22\.76",
          "--context 8 --stride 8 --no-detokenizer"]),
        ("ptb test.txt", "a day\nthou\n", ["--task", "ptb", "--by-line", "--limit", 3],
         [r"read as +each line alone", "--by-line"]),
        ("enwik8", "<a>thee</a>", ["--task", "enwik8"], [r"\n\nbits per byte +\d"]),
        ("cbt.txt", "".join(f"{n} a .\n" for n in range(1, 21)) + "21 XXXXX !\ta\t\ta|to\n",
         ["--task", "cbt_ne", "--score", "candidate"], [r"accuracy \(%\) +(0|100)\.0000", "--score candidate"]),
    ],
)  # fmt: skip
def test_eval_of_a_task_tells_how_and_can_be_repeated(name, content, call, expected, folder, tmp_path, capsys):
    (tmp_path / name).write_bytes(content.encode())
    code, out, err = run(capsys, "eval", "--model", folder, "--data", tmp_path / name, *call)
    assert (code, err) == (0, "")
    for pattern in expected:
        assert re.search(pattern, out), pattern
    assert reproduced(capsys, out) == out


def test_eval_of_a_released_model_has_the_papers_figure_beside_ours(folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "x.txt").write_bytes(b"thou art lovely\n")
    ours = GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    monkeypatch.setattr(GPT2, "from_pretrained", lambda name: ours[0])
    monkeypatch.setattr(Tokenizer, "from_pretrained", lambda name: ours[1])
    out = run(capsys, "eval", "--task", "lambada", "--model", "gpt2-medium", "--data", tmp_path / "x.txt")[1]
    assert re.search(r"accuracy of the last word \(%\) +\S+ +paper 55\.48\n", out)
    assert re.search(r"perplexity per last word +\S+ +paper 15\.6\n", out) and "117M" not in out
    assert re.search(r"perplexity per target token +\S+\n", out)


def test_plain_eval_can_be_repeated(folder, capsys):
    out = run(capsys, "eval", "--model", folder, "--data", folder / "text.txt", "--split", "train")[1]
    assert "--split train --stride 32" in out and reproduced(capsys, out) == out


SIZES = ["--n-layer", "1", "--n-head", "1", "--n-embd", "8", "--block-size", "8", "--vocab-size", "270"]
PRINTING = {  # calls that give all that their reproduce line gives, with MODEL and OUT for paths
    "eval": ["--model", "MODEL", "--data", "a b.txt", "it's.txt", "--split", "train", "--stride", "5"],
    "eval of lambada": ["--task", "lambada", "--model", "MODEL", "--data", "a b.txt", "--target", "token",
                        "--stop-words", "--no-preprocess", "--limit", "3"],
    "eval of ptb": ["--task", "ptb", "--model", "MODEL", "--data", "a b.txt", "--context", "9", "--stride", "5",
                    "--no-by-line", "--no-detokenizer", "--limit", "30"],
    "eval of 1bw": ["--task", "1bw", "--model", "MODEL", "--data", "a b.txt", "--context", "9", "--stride", "9",
                    "--by-line", "--limit", "30"],
    "report": ["--model", "my $model=MODEL", "--model=-x=MODEL", "--data", "a b.txt", "it's.txt", "--out", "OUT",
               "--split", "all", "--samples", "2", "--length", "7", "--temperatures", "0.9", "1", "--top-k", "3",
               "--seed", "4"],
    "data": ["a b.txt", "it's.txt", "--model", "MODEL", "--against", "it's.txt", "--deduplicate", "--ngram", "3",
             "--threshold", "0.25", "--out", "OUT"],
    "data and its vocabulary": ["a b.txt", "--vocab-size", "270", "--no-duplicates", "--out", "OUT"],
    "train": ["--preset", "alice", "--out", "OUT", "--data", "a b.txt:2", "it's.txt:0", *SIZES, "--steps", "2",
              "--warmup-steps", "1", "--lr", "0.01", "--min-lr", "1e-05"],
    "train further": ["--preset", "alice", "--out", "OUT", "--data", "a b.txt", "--init-from", "MODEL", "--freeze",
                      "wte", "h.0.attn", "--block-size", "8", "--steps", "2", "--warmup-steps", "0", "--patience", "1"],
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTING)
def test_the_printed_command_gives_the_same_options(name, folder, tmp_path, capsys, monkeypatch):
    if name == "report":
        pytest.importorskip("sacrebleu", reason="it comes with the extra [evaluation]")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.txt").write_text(TEXT)
    (tmp_path / "it's.txt").write_text(TEXT[::-1])
    words = [word.replace("MODEL", str(folder)).replace("OUT", "my $out") for word in PRINTING[name]]
    call = [name.split()[0], *words]
    code, out, _ = run(capsys, *call)
    last = out.splitlines()[-1]
    assert code == 0 and last.startswith(f"reproduce: minigpt2 {call[0]} ")
    parse = make_parser().parse_args
    assert comparable(parse(shlex.split(last)[2:])) == comparable(parse(call))


def comparable(options):
    """The options without ``parser``, the object that each parser adds to them."""
    return {name: value for name, value in vars(options).items() if name != "parser"}


@pytest.mark.parametrize(
    "call",
    [
        ["generate", "--prompt", "-a b\n'$HOME'", "--temperature", "0", "--top-p", "1e-05", "--device", "cupy"],
        ["generate", "--prompt=--model", "--repetition-penalty", "1.25", "--beams", "2", "--seed=-1"],
        ["eval", "--data", "x", "--task", "cbt_cn", "--score", "candidate", "--no-hint", "--direction", "fr-en"],
        ["tokenize", "--train", "a", "b c", "--vocab-size", "300", "--out=-o"],
        ["tokenize", "--ids=-1,2", "--explain", "--allow-special"],
        ["trace", "--ids", "1,2", "--targets=-100,4", "--backward", "--dtype", "float64", "-o", "x.safetensors"],
        ["compare", "a b", "c", "--rtol", "1e-07", "--atol", "0", "--map", "llm.c"],
        ["verify", "--model", "gpt2", "--json"],
        ["train", "--resume", "a b", "--device", "cupy"],
        ["convert", "a b.pt", "--out", "c", "--n-head", "3", "--tokenizer", "gpt2"],
    ],
)
def test_a_command_line_is_made_of_any_options(call):
    options = make_parser().parse_args(call)
    again = shlex.split(command_line(options, vars(options)))
    assert again[:2] == ["minigpt2", call[0]]
    assert comparable(make_parser().parse_args(again[1:])) == comparable(options)


def test_tokenize_there_and_back(folder, capsys):
    ids = run(capsys, "tokenize", "--model", folder, "--text", "a summer's day")[1]
    assert run(capsys, "tokenize", "--model", folder, "--ids", ids)[1] == "a summer's day\n"
    assert "rank" in run(capsys, "tokenize", "--model", folder, "--text", "summer", "--explain")[1]
    many = run(capsys, "tokenize", "--model", folder, "--file", folder / "text.txt")[1]
    assert [int(i) for i in many.split()] == Tokenizer.from_pretrained(folder).encode(TEXT)


def test_tokenize_learns_a_vocabulary(folder, tmp_path, capsys):
    call = ["tokenize", "--train", folder / "text.txt", "--vocab-size", 270]
    assert "--out" in fails(capsys, *call)
    assert run(capsys, *call, "--out", tmp_path / "bpe")[1] == f"270 tokens saved in {tmp_path / 'bpe'}\n"
    assert len(Tokenizer.from_pretrained(tmp_path / "bpe")) == 270


@pytest.fixture
def corpora(tmp_path):
    """a.txt: one document. b.jsonl: three, the second again as the third."""
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    texts = ["one two three four five six seven eight nine", "né", "né"]
    (tmp_path / "b.jsonl").write_bytes("".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
    (tmp_path / "test.txt").write_bytes(b"Two, three, four, five, six, seven, eight, nine: ten!")
    return tmp_path


def test_data_describes_corpora(folder, corpora, capsys):
    a, b, test = corpora / "a.txt", corpora / "b.jsonl", corpora / "test.txt"
    call = ["data", a, b, "--model", folder, "--against", test, a, "--threshold", 0.25]
    code, out, err = run(capsys, *call)
    head, row_a, row_b, *shares, last = out.splitlines()
    tokenizer = Tokenizer.from_pretrained(folder)
    tokens = len(tokenizer.encode(TEXT)), len(tokenizer.encode("one two three four five six seven eight nine")) + 6
    assert (code, err) == (0, "") and head.startswith("corpus ") and head.endswith("exact duplicates  near duplicates")
    assert row_a.split() == [str(a), "1,620", "1,620", "1", f"{tokens[0]:,}", f"{1620 / tokens[0]:.3f}", "0", "0"]
    assert row_b.split() == [str(b), "50", "48", "3", str(tokens[1]), f"{50 / tokens[1]:.3f}", "1", "0"]
    assert shares == [
        f"50.00% of the 8-grams of {test} occur in these corpora",
        f"100.00% of the 8-grams of {a} occur in these corpora",
    ]
    assert last.startswith("reproduce: minigpt2 data ")
    assert run(capsys, *shlex.split(last)[2:]) == (code, out, err)
    assert sorted(path.name for path in corpora.iterdir()) == ["a.txt", "b.jsonl", "test.txt"]


def test_data_writes_token_files(folder, corpora, capsys):
    a, b, out_folder = corpora / "a.txt", corpora / "b.jsonl", corpora / "my corpora"
    tokenizer = Tokenizer.from_pretrained(folder)
    for flags, texts in (([], 3), (["--deduplicate"], 2)):
        code, out, _ = run(capsys, "data", a, b, "--model", folder, "--out", out_folder, *flags)
        file = open_tokens(out_folder / "b.tokens", tokenizer)
        assert code == 0 and file.ids.tolist() == encode_documents(tokenizer, list(documents(b))[:texts])
        assert f"{out_folder / 'b.tokens'}: {texts} documents, {file.ids.size:,} tokens\n" in out
        assert open_tokens(out_folder / "a.tokens", tokenizer).ids.tolist() == tokenizer.encode(TEXT)
        assert shlex.split(out.splitlines()[-1])[-2:] == ["--out", str(out_folder)]


def test_data_learns_one_vocabulary_for_all_corpora(corpora, capsys):
    a, b, out_folder = corpora / "a.txt", corpora / "b.jsonl", corpora / "bpe"
    code, out, _ = run(capsys, "data", a, b, "--vocab-size", 280, "--out", out_folder)
    learned, expected = Tokenizer.from_pretrained(out_folder), Tokenizer.train([TEXT, *documents(b)], 280)
    assert code == 0 and f"{out_folder}: a vocabulary of 280 tokens\n" in out
    assert (learned.vocab, learned.merges) == (expected.vocab, expected.merges)
    assert open_tokens(out_folder / "b.tokens", learned).documents == 3
    assert "--vocab-size 280" in out.splitlines()[-1] and "--model" not in out


def test_data_refuses_what_does_not_fit(folder, corpora, capsys):
    a = corpora / "a.txt"
    (corpora / "more").mkdir()
    (corpora / "more/a.jsonl").write_bytes(b'{"text": "x"}\n{"txt": "y"}\n')
    before = sorted(corpora.rglob("*"))
    call = ["data", a, "--model", folder]
    assert "two are called 'a'" in fails(capsys, "data", a, corpora / "more/a.jsonl", "--out", corpora / "new")
    assert "a.jsonl, line 2: there is no field 'text'" in fails(capsys, "data", corpora / "more/a.jsonl")
    assert "not allowed with" in fails(capsys, *call, "--vocab-size", 300, "--out", corpora / "new", code=2)
    assert "--vocab-size needs --out" in fails(capsys, "data", a, "--vocab-size", 300)
    assert "is a file" in fails(capsys, *call, "--out", a)
    assert "at least 1 word" in fails(capsys, *call, "--ngram", 0)
    assert "0 ... 1, got 2.0" in fails(capsys, *call, "--threshold", 2)
    assert "no overlap is defined" in fails(capsys, *call, "--against", corpora / "test.txt", "--ngram", 50)
    assert sorted(corpora.rglob("*")) == before


def test_train_in_two_stages(folder, tmp_path, capsys):
    (tmp_path / "domain.txt").write_bytes(("The bamboo bends, the river sends a boat that never ends.\n" * 20).encode())
    sizes = ["--n-layer", 1, "--n-head", 1, "--n-embd", 8, "--block-size", 8, "--vocab-size", 270]
    common = ["--batch-size", 2, "--eval-every", 2, "--steps", 4]
    general = ["--data", folder / "text.txt", "--objective", "mlm", *sizes, *common, "--out", tmp_path / "general"]
    code, out, _ = run(capsys, "train", *general)
    assert code == 0 and "nats per hidden token" in out
    assert f"continue with: minigpt2 train --init-from {tmp_path / 'general'} --objective causal --head-layers 4" in out
    call = ["train", "--init-from", tmp_path / "general", "--head-layers", 4, *common, "--out", tmp_path / "domain"]
    call += ["--data", f"{tmp_path / 'domain.txt'}:1", f"{folder / 'text.txt'}:0", "--freeze", "wte", "h.0.attn"]
    assert "--init-from brings its own sizes" in fails(capsys, *call, "--n-layer", 2)
    code, out, _ = run(capsys, *call)
    number = r"\d+\.\d{4}"
    for path in (tmp_path / "domain.txt", folder / "text.txt"):
        line = rf"  {re.escape(str(path))}: {number} before, {number} after \([+-]{number}\)\n"
        assert code == 0 and re.search(line, out), out
    assert GPT2.from_pretrained(tmp_path / "domain").config.head_layers == 4
    stop = ["--patience", 1, "--lr", 0, "--min-lr", 0, "--weight-decay", 0, "--steps", 9]
    out = run(capsys, *call[:3], *common, *stop, "--data", folder / "text.txt", "--out", tmp_path / "stopped")[1]
    assert "stopped at step 2: evaluations in a row without a lower loss: 1" in out
    for command in (["generate"], ["eval", "--data", folder / "text.txt"], ["report", "--data", folder / "text.txt"]):
        out = ["--out", tmp_path / "report"] if command[0] == "report" else []
        assert "convert it with: minigpt2 train" in fails(capsys, *command, *out, "--model", tmp_path / "general")


def test_eval_of_a_split_is_what_train_validates_on(folder, tmp_path, capsys):
    """Also where there are several documents and several files, with the same figure to the last digit printed."""
    lines = [{"text": f"{n} {word}"} for n, word in enumerate(TEXT.split()[:60])] + [{"text": TEXT[:800]}]
    (tmp_path / "docs.jsonl").write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode())
    (tmp_path / "docs.txt").write_bytes("\n<|endoftext|>\n".join(line["text"] for line in lines).encode())
    sizes = ["--n-layer", 1, "--n-head", 1, "--n-embd", 8, "--block-size", 8, "--vocab-size", 270, "--steps", 2]
    for name in ("docs.jsonl", "docs.txt"):
        call = ["train", "--data", tmp_path / name, *sizes, "--out", tmp_path / f"run {name}"]
        out = run(capsys, *call)[1]
        loss = re.search(r"best validation loss: (\S+) nats", out)[1]
        model = ["--model", tmp_path / f"run {name}", "--data", tmp_path / name, "--split", "validation"]
        assert f"loss per character   {loss:>18}" in run(capsys, "eval", *model)[1]
        # And the command that is printed makes the run again.
        again = shlex.split(out.splitlines()[-1].removeprefix("reproduce: minigpt2 "))
        again[again.index("--out") + 1] = str(tmp_path / f"again {name}")
        assert f"best validation loss: {loss} nats" in run(capsys, *again)[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "text.txt: the file is empty"),
        (b"one\ntwo\nthr\xffee\n", "text.txt, line 3: not UTF-8 text"),
        ("two".encode("utf-16"), "text.txt seems to be UTF-16 text, expected UTF-8: save it as UTF-8"),
    ],
)
def test_bad_text_is_one_error_with_file_and_line(content, message, tmp_path, capsys):
    (tmp_path / "text.txt").write_bytes(content)
    for call in (["train", "--out", tmp_path / "run", "--data"], ["eval", "--data"], ["data"], ["tokenize", "--file"]):
        assert message in fails(capsys, *call, tmp_path / "text.txt")
    assert "weights sum to 0" in fails(capsys, "train", "--data", f"{tmp_path / 'text.txt'}:0")
    assert not (tmp_path / "run").exists()


def test_train_and_resume(folder, tmp_path, capsys):
    sizes = {"n-layer": 1, "n-head": 1, "n-embd": 8, "block-size": 8, "batch-size": 2, "eval-every": 2, "steps": 4}
    flags = [word for name, size in sizes.items() for word in (f"--{name}", size)]
    call = ["train", "--data", folder / "text.txt", "--tokenizer", "char", *flags, "--out", tmp_path / "run"]
    code, out, err = run(capsys, *call)
    assert code == 0 and "nats per character" in out and "step 4: validation loss" in err
    settings = json.loads((tmp_path / "run/settings.json").read_text())
    assert (settings["steps"], settings["n_embd"], settings["seed"]) == (4, 8, 1337)
    assert "already holds a run" in fails(capsys, *call)
    assert run(capsys, "train", "--resume", tmp_path / "run")[0] == 0
    assert "own settings" in fails(capsys, "train", "--resume", tmp_path / "run", "--n-embd", 9)
    assert run(capsys, "generate", "--model", tmp_path / "run", "--prompt", "Shall", "--max-new-tokens", 3)[0] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["generate", "--model", "gpt-2"], "did you mean 'gpt2'"),
        (["generate", "--model", "./nowhere"], "no folder"),
        (["trace", "--text", "", "-o", "x"], "--text: there is no token in it"),
        (["trace", "--ids=", "-o", "x"], "--ids: there is no token in it"),
        (["trace", "--text", "a", "-o", "."], ". is a folder, and nothing takes its place: give the name of a file"),
        (["compare", "nowhere.npz", "b.npz"], "error: nowhere.npz: No such file or directory\n"),  # without [Errno 2]
        (["compare", "a", "b", "--map", "nope"], "--map: nope is no file; give auto, torch, transformers, nanogpt"),
        (["generate", "--temperature", "-1"], r"--temperature must be a number, 0 \(greedy\) or above, got -1"),
        (["generate", "--top-k", "0"], "--top-k must be an integer, 1 or more, got 0"),
        (["generate", "--top-p", "1.5"], "--top-p must be"),
        (["generate", "--repetition-penalty", "0"], "--repetition-penalty must be a number above 0"),
        (["generate", "--num-samples", "0"], "--num-samples must be an integer, 1 or more, got 0"),
        (["generate", "--num-samples", "-2"], "--num-samples must be an integer, 1 or more, got -2"),
        (["generate", "--beams", "0"], "--beams must be an integer, 1 or more, got 0"),
        (["generate", "--max-new-tokens", "-1"], "--max-new-tokens must be an integer, 0 or more, got -1"),
        (["generate", "--seed", "-1"], "--seed must be an integer, 0 or more, got -1"),
        (["generate", "--beams", "4", "--num-samples", "3"], "--beams 4 .* leave out --num-samples"),
        (["generate", "--beams", "4", "--top-k", "3", "--temperature", "1"], "leave out --temperature, --top-k, or"),
        (["generate", "--temperature", "0", "--num-samples", "3"], "--num-samples 3 .* since --temperature 0"),
        (["generate", "--top-k", "1", "--num-samples", "2"], "--num-samples 2 .* since --top-k 1"),
        (["generate", "-", "--prompt", "-"], "standard input can be read once"),
        (["generate", "--prompt-file", "nowhere.txt"], "nowhere.txt: no such text file"),
        (["generate", "--prompt-file", "shakespeare/"], "no such text file"),
        (["eval", "--data", "nowhere.txt"], "no such text file"),
        (["eval", "--data", "x", "--target", "word"], "--target belongs to a task; give --task"),
        (["eval", "--data", "x", "--task", "ptb", "--short-last-window"], "--short-last-window does not belong to the"),
        (["eval", "--data", "x", "--no-detokenizer"], "--no-detokenizer belongs to a task"),
        (["eval", "--data", "x", "--task", "lambada", "--stride", "5"], "--stride does not belong to the task lambada"),
        (["eval", "--data", "x", "--task", "ptb", "--no-hint"], "--no-hint does not belong to the task ptb"),
        (["eval", "--data", "x", "--task", "coqa", "--no-by-line"], "--no-by-line does not belong to the task coqa"),
        (["eval", "--data", "x", "--task", "ptb", "--split", "all"], "--split does not belong to the task ptb"),
        (["eval", "--data", "nowhere.jsonl", "--task", "lambada"], "no such text file"),
        (["eval", "--data", "nowhere", "--task", "text8"], "no such text file"),
        (["report", "--data", "nowhere.txt", "--out", "r"], "no such text file"),
        (["report", "--model", "x=gpt-2", "--data", __file__, "--out", "r"], "did you mean 'gpt2'"),
        (["tokenize", "--ids", "1,two"], "whole numbers"),
        (["tokenize", "--ids", "99999"], "99999"),
        (["train", "--resume", "nowhere"], "holds no run"),
        (["train", "--data", "nowhere.txt"], "no such text file"),
        (["train", "--steps", "0"], "steps must be at least 1"),
    ],
)
def test_a_users_error_is_one_line(call, message, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--model" not in call and call[:1] in (["generate"], ["eval"], ["tokenize"]):
        call = [*call, "--model", folder]
    assert re.search(message, fails(capsys, *call, code=2 if call[0] == "compare" else 1))
    assert list(tmp_path.iterdir()) == []


def test_help_as_a_module():
    done = subprocess.run([sys.executable, "-m", "minigpt2", "--help"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: minigpt2 ")


def test_as_a_module_without_a_terminal(folder):
    """In a process of its own: no progress bar, no warning, and a reader that leaves early is no error."""
    command = [sys.executable, "-m", "minigpt2", "generate", "--model", str(folder), "--prompt", "Shall"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("Shall")
    piped = subprocess.run(
        ["bash", "-c", '"$@" | head -c 1; exit ${PIPESTATUS[0]}', "-", *command, "--max-new-tokens", "300"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (piped.returncode, piped.stdout, piped.stderr) == (0, "S", "")


GENERATED = {
    "summarization": ({"article": "The king came to London.", "highlights": "The king spoke."}, "ROUGE-1", 29.34),
    "natural_questions": ({"question": "who is the king", "answer": ["Richard"]}, "exact match", 4.1),
    "coqa": ({"data": [{
        "story": "The king came to London.", "questions": [{"turn_id": 1, "input_text": "Who came?"}],
        "answers": [{"turn_id": 1, "input_text": "the king"}],
    }]}, "F1", 55),
}  # fmt: skip


@pytest.mark.parametrize("task", GENERATED)
def test_eval_of_a_task_that_generates(task, tmp_path, capsys):
    example, figure, paper = GENERATED[task]
    path = tmp_path / "data.jsonl"
    path.write_bytes((json.dumps(example) + "\n").encode())
    code, out, _ = run(capsys, "eval", "--task", task, "--data", path)
    assert code == 0 and re.search(rf"^{figure} .*\d\.\d{{4}}$", out, flags=re.M), out
    assert re.search(rf"^{figure} .* {paper:g}$", out, flags=re.M), "the paper's figure"
    reproduce = out.splitlines()[-1]
    command = ["minigpt2", "eval", "--task", task, "--model", "shakespeare", "--data", str(path)]
    assert reproduce.startswith(f"reproduce: {shlex.join(command)}")
    again = run(capsys, *shlex.split(reproduce)[2:])
    assert again[1] == out, "the printed command gives the same figures to the last digit"


def test_eval_of_translation(tmp_path, capsys):
    pytest.importorskip("sacrebleu", reason="BLEU needs the extra 'evaluation'")
    pairs = [("the king", "le roi"), ("a day", "un jour"), ("my lord", "monseigneur"), ("good night", "bonne nuit"),
             ("the sea", "la mer"), ("come, sir", "venez, monsieur")]  # fmt: skip
    path = tmp_path / "pairs.jsonl"
    path.write_bytes("".join(json.dumps({"translation": {"en": en, "fr": fr}}) + "\n" for en, fr in pairs).encode())
    code, out, _ = run(capsys, "eval", "--task", "translation", "--direction", "fr-en", "--data", path)
    assert code == 0 and "BLEU" in out and "11.5" in out
    assert run(capsys, *shlex.split(out.splitlines()[-1])[2:])[1] == out


def test_data_removes_what_an_earlier_file_has(folder, tmp_path, capsys):
    (tmp_path / "again.txt").write_bytes(TEXT.encode())
    call = ["data", folder / "text.txt", tmp_path / "again.txt", "--model", folder, "--deduplicate"]
    assert "again.txt: there is no document to write" in fails(capsys, *call, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "--deduplicate needs --out" in fails(capsys, *call)
    (tmp_path / "again.txt").write_bytes(f"{TEXT}<|endoftext|>a new day, and no other".encode())
    out = run(capsys, *call, "--out", tmp_path / "out")[1]
    assert re.search(r"again.txt .* 0 +1\n", out) and "again.tokens: 1 document," in out
    tokenizer = Tokenizer.from_pretrained(folder)
    assert tokenizer.decode(open_tokens(tmp_path / "out/again.tokens").ids) == "a new day, and no other"
    out = run(capsys, *call[:-1], "--no-duplicates", "--out", tmp_path / "all")[1]
    assert re.search(r"again.txt .* - +-\n", out) and "again.tokens: 2 documents" in out
    characters = len(TEXT.rstrip("\n")) + len("a new day, and no other")
    assert re.search(rf"again.txt +{characters:,} +{characters:,} +2 ", out)
    assert "--no-duplicates needs --out" in fails(capsys, *call[:-1], "--no-duplicates")


# ------------------------------------------------------------------------- data from anywhere, and what it may replace


def test_a_vocabulary_is_never_replaced(folder, tmp_path, capsys):
    """Neither a model's, a run's nor another vocabulary: a model's ids would silently mean something else."""
    (tmp_path / "text.txt").write_text(TEXT)
    for name in ("config.json", "settings.json", "model.safetensors", "tokenizer.json", "merges.txt", "vocab.bpe"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
    (tmp_path / "stopped" / "checkpoint-000000").mkdir(parents=True)
    holders = [folder, *(path for path in tmp_path.iterdir() if path.is_dir())]
    before = {path: path.read_bytes() for holder in holders for path in holder.rglob("*") if path.is_file()}
    for holder in holders:
        for call in (["tokenize", "--train", tmp_path / "text.txt"], ["data", tmp_path / "text.txt"]):
            error = fails(capsys, *call, "--vocab-size", 270, "--out", holder)
            assert f"--out: {holder} already holds a model or a vocabulary" in error and "choose a new folder" in error
    assert before == {path: path.read_bytes() for holder in holders for path in holder.rglob("*") if path.is_file()}
    assert len(holders) == 8
    assert run(capsys, "data", tmp_path / "text.txt", "--model", folder, "--out", tmp_path / "stopped")[0] == 0


def test_a_folder_that_cannot_be_written_is_found_at_once(tmp_path, capsys, monkeypatch):
    (tmp_path / "text.txt").write_text(TEXT)

    def refused(**_):  # root, whom no permission stops, runs tests too
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    for call in (["tokenize", "--train"], ["data", "--vocab-size", 270]):
        error = fails(capsys, *call, tmp_path / "text.txt", "--out", tmp_path / "new")
        assert f"nothing can be written to {tmp_path / 'new'} ({tmp_path}: Permission denied); give another" in error


def test_flags_for_files_add_up_and_expand_patterns(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a.txt", "c[1].txt"):
        (tmp_path / name).write_text(TEXT)
    (tmp_path / "folder.txt").mkdir()
    parse = make_parser().parse_args
    assert parse(["tokenize", "--train", "x", "y", "--train", "z"]).train == ["x", "y", "z"]
    assert parse(["data", "*.txt"]).sources == ["a.txt", "b.txt", "c[1].txt"]
    assert parse(["data", "c[1].txt"]).sources == ["c[1].txt"], "a file of that name is no pattern"
    assert parse(["data", "x", "--against", "[ab].txt", "--against", "?.md"]).against == ["a.txt", "b.txt", "?.md"]
    assert "*.md is a pattern, expected a text file: no file matches it" in fails(capsys, "data", "*.md")


def test_what_belongs_to_learning_is_not_ignored(capsys):
    assert "--out belongs to --train" in fails(capsys, "tokenize", "--text", "a", "--out", "x")
    assert "--vocab-size belongs to --train" in fails(capsys, "tokenize", "--ids", "1", "--vocab-size", "300")


def test_a_vocabulary_is_learned_from_documents(tmp_path, capsys):
    """The same one from text with markers, from JSON lines of any name, and in ``data`` and ``tokenize``."""
    texts = [TEXT, "one two three " * 30]
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(texts))
    (tmp_path / "a.data").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    expected = Tokenizer.train(texts, 275)
    for name in ("a.txt", "a.data"):
        for number, call in enumerate((["tokenize", "--train"], ["data"])):
            out = tmp_path / f"{name} {number}"
            assert run(capsys, *call, tmp_path / name, "--vocab-size", 275, "--out", out)[0] == 0
            assert Tokenizer.from_pretrained(out).merges == expected.merges


@pytest.mark.skipif(os.name == "nt", reason="cmd has no pipes of this kind")
@pytest.mark.slow
def test_texts_through_pipes(folder, tmp_path):
    """Every command that reads a text reads it from a pipe, also those that need it twice."""
    (tmp_path / "text.txt").write_text(TEXT)
    minigpt2 = f"{shlex.quote(sys.executable)} -m minigpt2"
    model, sizes = f"--model {shlex.quote(str(folder))}", shlex.join([*SIZES, "--steps", "1"])
    ids = " ".join(map(str, Tokenizer.from_pretrained(folder).encode(TEXT)))
    for command, expected in {
        f"cat text.txt | {minigpt2} tokenize {model} --file -": ids,
        f"{minigpt2} tokenize {model} --file /dev/stdin < text.txt": ids,
        f"cat text.txt | {minigpt2} eval {model} --data /dev/stdin": "loss per token",
        f"{minigpt2} eval {model} --data <(cat text.txt) --split validation": "loss per token",
        f"cat text.txt | {minigpt2} data {model} - --against - --out data": "100.00% of the 8-grams",
        f"cat text.txt | {minigpt2} tokenize --train - --vocab-size 270 --out bpe": "270 tokens saved",
        f"cat text.txt | {minigpt2} train --data - --out run {sizes}": "best validation loss",
        f"cat text.txt | {minigpt2} train --resume run": "best validation loss",
        f"true | {minigpt2} eval {model} --data -": "nothing came through this pipe",
    }.items():
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
        assert expected in done.stdout + done.stderr, (command, done)
    assert (tmp_path / "data" / "stdin.tokens").is_file()


def test_a_task_brings_its_data_along(folder, tmp_path, capsys, monkeypatch):
    """Without --data those of its name are downloaded, if they have one public address."""
    (tmp_path / "lambada.jsonl").write_text(json.dumps({"text": TEXT[:82]}))
    monkeypatch.setattr("minigpt2.storage.hub.corpus", lambda name: tmp_path / f"{name}.jsonl")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "eval", "--task", "lambada", "--model", folder)
    assert code == 0 and "data                   lambada\n" in out
    assert out.splitlines()[-1].startswith("reproduce: minigpt2 eval --task lambada --model ")
    for call in (["--task", "text8"], ["--split", "all"]):
        assert main(["eval", "--model", str(folder), *call]) != 0
        assert "required: --data" in capsys.readouterr().err


# ------------------------------------------------------------------------- wrong calls, terminals and pipes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["sing"], "unknown command 'sing' (see `minigpt2 --help`)"),
        (["trian", "--steps", "5"], "unknown command 'trian'; did you mean train? (see `minigpt2 --help`)"),
        (["Generate"], "unknown command 'Generate'; did you mean generate?"),
        (["--versoin"], "unknown option --versoin; did you mean --version? (see `minigpt2 --help`)"),
        (["train", "--step", "5"], "unknown option --step; did you mean --steps? (see `minigpt2 train --help`)"),
        (["train", "--step=5"], "unknown option --step; did you mean --steps?"),
        (["train", "-steps", "5"], "unknown option -steps; did you mean --steps?"),
        (["generate", "--max_new_tokens", "5"], "did you mean --max-new-tokens? (see `minigpt2 generate --help`)"),
        (["generate", "--TOP-K", "5"], "unknown option --TOP-K; did you mean --top-k?"),
        (["generate", "--xyzzy"], "unknown option --xyzzy (see `minigpt2 generate --help`)"),
        (["report", "--dat", "x"], "unknown option --dat; did you mean --data?"),  # before: --data is missing
        (["train", "a.txt"], "unexpected argument 'a.txt' (see `minigpt2 train --help`)"),
        (["eval", __file__], f"unexpected argument {__file__!r}; did you mean --data {__file__}? (see `minigpt2 eval"),
        (["generate", "To", "be"], "unexpected argument 'be'; a text of several words stands in quotes (see `minigpt2"),
        (["train", "--learning_rate", "1"], "unknown option --learning_rate; did you mean --lr?"),
        (["train", "--max-iters=9"], "unknown option --max-iters; did you mean --steps?"),
        (["eval", "--max-iters=9"], "unknown option --max-iters (see"),
        (["generate", "--prompt", "-x"], "a value that begins with - is written after an equals sign: --prompt=-x"),
        (["trace", "--targets", "-100,7"], "is written after an equals sign: --targets=-100,7 (see `minigpt2 trace"),
        (["generate", "--model", ""], "argument --model: MODEL must not be empty (see `minigpt2 generate --help`)"),
        (["train", "--resume", ""], "argument --resume: RUN must not be empty"),
        (["train", "--out="], "argument --out: RUN must not be empty"),
        (["data", "a.txt", "--out", ""], "argument --out: FOLDER must not be empty"),
        (["eval", "--data", "a", ""], "argument --data: FILE must not be empty"),
        (["trace", "--text", "a", "-o", ""], "argument -o/--out: FILE must not be empty"),
        (["generate", "--max-new-tokens", "ten"], "invalid int"),
        (["generate", "--prompt"], "argument --prompt: expected one argument (see `minigpt2 generate --help`)"),
        (["eval", "--data", "x", "--task", "winograd"], "invalid choice"),
        (["report", "--data", __file__], "required: --out (see `minigpt2 report --help`)"),
        (["tokenize"], "one of the arguments"),
        (["tokenize", "--ids", "1", "--text", "a"], "not allowed with"),
        (["generate", "--prompt", "caf\udce9"], r"'caf\udce9' is not utf-8"),
    ],
)
def test_a_wrong_call_names_its_commands_help_and_the_nearest_word(call, message, capsys):
    assert message in fails(capsys, *call, code=2)


def test_words_that_begin_with_a_dash_and_are_no_options(folder, tmp_path, capsys):
    call = ["tokenize", "--model", folder, "--text"]
    for text in ("- a", "-5", "-.5", "-"):
        assert run(capsys, *call, text) == run(capsys, *call[:-1], f"--text={text}")
        assert run(capsys, *call, text)[0] == 0, text
    parse = make_parser().parse_args
    assert parse(["trace", "--text", "a", "-ox.safetensors"]) is not None
    assert parse(["data", "--", "--step"]).sources == ["--step"]


def test_the_bare_command_shows_the_help(capsys):
    with pytest.raises(SystemExit) as exit:
        main([])
    assert exit.value.code == 0 and capsys.readouterr().out.startswith("usage: minigpt2 ")


def test_a_list_goes_on_when_its_flag_is_repeated():
    parse = make_parser().parse_args
    assert parse(["eval", "--data", "a", "b", "--data", "c"]).data == ["a", "b", "c"]
    lists = ["--data", "a", "--data", "b", "c", "--temperature", "1", "--temperatures", "2", "3"]
    options = parse(["report", "--out", "r", *lists])
    assert (options.data, options.temperatures) == (["a", "b", "c"], [1, 2, 3])


def test_report_has_the_options_of_generate():
    call = ["report", "--data", "a", "--out", "r", "--num-samples", "3", "--max-new-tokens", "9"]
    call += ["--temperature", "1.0"]
    options = make_parser().parse_args(call)
    assert (options.samples, options.length, options.temperatures) == (3, 9, [1])
    given = ("data", "out", "samples", "length", "temperatures")
    line = command_line(options, {name: getattr(options, name) for name in given})
    assert line == shlex.join(["minigpt2", *call])


def test_no_metavar_says_nothing():
    commands = next(action.choices for action in make_parser()._actions if action.dest == "==SUPPRESS==")
    for name in ("eval", "report", "verify"):
        for action in commands[name]._actions:
            assert action.nargs == 0 or action.choices or action.metavar not in (None, "X", "M"), action.option_strings


def process(*arguments, shell="", **environment):
    """Run the command in a process of its own; ``shell`` is what follows it in a shell, such as a redirection."""
    command = shlex.join([sys.executable, "-m", "minigpt2", *map(str, arguments)])
    environment = {name: value for name, value in (os.environ | environment).items() if value is not None}
    done = subprocess.run(
        ["bash", "-c", f"{command} {shell}\nexit ${{PIPESTATUS[0]}}"], capture_output=True, timeout=120, env=environment
    )
    return done.returncode, done.stdout.decode().replace("\r", ""), done.stderr.decode().replace("\r", "")


PLAIN = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "\N{BLACK HEART SUIT}\ufffd\n"),
        (PLAIN, "\N{BLACK HEART SUIT}\ufffd\n"),
        ({"PYTHONIOENCODING": "ascii"}, "\\u2665\\ufffd\n"),
        ({"PYTHONIOENCODING": "cp1252"}, "\\u2665\\ufffd\n"),
        ({"PYTHONIOENCODING": "latin-1:replace"}, "??\n"),
        ({"PYTHONIOENCODING": "utf-8:strict"}, "\N{BLACK HEART SUIT}\ufffd\n"),
    ],
)
def test_output_takes_every_character(environment, expected, folder):
    heart = Tokenizer.from_pretrained(folder).encode("\N{BLACK HEART SUIT}")
    ids = ",".join(map(str, [*heart, heart[0]]))  # the first byte of a heart is no character
    assert process("tokenize", "--model", folder, "--ids", ids, **environment) == (0, expected, "")


def test_a_terminal_keeps_its_encoding(folder):
    pty = pytest.importorskip("pty", reason="Windows has none")
    parent, child = pty.openpty()
    ids = ",".join(map(str, Tokenizer.from_pretrained(folder).encode("\N{BLACK HEART SUIT}")))
    command = [sys.executable, "-m", "minigpt2", "tokenize", "--model", str(folder), "--ids", ids]
    subprocess.run(command, stdout=child, env=os.environ | PLAIN, timeout=120, check=True)
    assert os.read(parent, 100) == b"\\u2665\r\n"
    os.close(child)
    os.close(parent)


def test_training_survives_a_name_that_its_output_cannot_show(tmp_path):
    data = tmp_path / "\u8bd7.txt"
    data.write_text("\u5929\u5730\u7384\u9ec4\n" * 300, encoding="utf-8")
    sizes = [*SIZES, "--steps", "2", "--vocab-size", "260"]
    code, out, err = process("train", "--data", data, *sizes, "--out", tmp_path / "m", PYTHONIOENCODING="cp1252")
    assert code == 0 and "\\u8bd7.txt" in out.splitlines()[-1] and "step 2: validation loss" in err


WRONG = ["train", "--step", "0"]
WRITTEN = "minigpt2: error: unknown option --step; did you mean --steps? (see `minigpt2 train --help`)\n"


@pytest.mark.parametrize(
    ("shell", "wrong", "expected"),
    [
        (">&-", False, (0, "", "")),
        ("2>&-", False, (0, "IDS", "")),
        ("<&- >&- 2>&-", False, (0, "", "")),
        ("> /dev/full", False, (1, "", "minigpt2: error: [Errno 28] No space left on device\n")),
        ("2> /dev/full", False, (0, "IDS", "")),
        (">&-", True, (2, "", WRITTEN)),
        ("2>&-", True, (2, "", "")),
        ("2> /dev/full", True, (2, "", "")),
        ("2>&1 >&- | head -c 30", True, (2, WRITTEN[:30], "")),
        ("2>&1 >&- | true", True, (2, "", "")),
    ],
)
def test_streams_that_are_closed_or_full(shell, wrong, expected, folder):
    if "/dev/full" in shell and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    call = WRONG if wrong else ["tokenize", "--model", folder, "--text", "Shall"]
    ids = " ".join(map(str, Tokenizer.from_pretrained(folder).encode("Shall"))) + "\n"
    assert process(*call, shell=shell) == (expected[0], expected[1].replace("IDS", ids), expected[2])


def test_a_reader_that_leaves_before_the_help_is_written():
    assert process("--help", shell="| true") == (0, "", "")


def test_a_warning_is_one_line_without_its_source(folder, tmp_path):
    (tmp_path / "short.txt").write_bytes(b"ab ab ab")
    call = ["tokenize", "--train", tmp_path / "short.txt", "--vocab-size", "300", "--out", tmp_path / "bpe"]
    code, _, err = process(*call)
    assert code == 0 and re.fullmatch(r"minigpt2: warning: the text is too small for 300 tokens: .*\n", err)


def test_a_warning_that_is_made_an_error_is_one_line(tmp_path, capsys):
    (tmp_path / "short.txt").write_bytes(b"ab ab ab")
    with warnings.catch_warnings(action="error"):  # as PYTHONWARNINGS=error
        line = fails(capsys, "tokenize", "--train", tmp_path / "short.txt", "--out", tmp_path / "bpe")
    assert line.startswith("minigpt2: error: the text is too small for 1024 tokens")


def test_a_warning_in_the_library_is_as_before(tmp_path):
    before = warnings.showwarning
    with pytest.warns(UserWarning, match="too small"):
        Tokenizer.train("ab ab ab", 300)
    main(["tokenize", "--ids", "1"])
    assert warnings.showwarning is before


posix = pytest.mark.skipif(os.name == "nt", reason="there a process cannot be sent Ctrl-C alone")


def heed_ctrl_c():
    """In a new process: a job in the background, as the tests themselves may be, has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@posix
@pytest.mark.parametrize("module", ["regex", "minigpt2.cli.compare"])  # of minigpt2/__init__.py, of the command line
@pytest.mark.parametrize("how", ["module", "script"])
def test_ctrl_c_while_it_starts(module, how, tmp_path):
    """It comes when a module is imported, which the interpreter is told to watch for."""
    (tmp_path / "sitecustomize.py").write_text(f"""
import os, signal, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Watch())
""")
    script = tmp_path / "minigpt2"
    script.write_text("import sys\nfrom minigpt2.__main__ import main\nsys.exit(main())\n")
    start = ["-m", "minigpt2"] if how == "module" else [str(script)]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, *start, "tokenize", "--ids", "1"], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": path}, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_in_a_library_is_an_exception(tmp_path):
    (tmp_path / "regex.py").write_text("raise KeyboardInterrupt")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    code = "try: import minigpt2\nexcept KeyboardInterrupt: print('caught')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert done.stdout == "caught\n", done.stderr


@posix
def test_ctrl_c_while_it_works(folder):
    command = [sys.executable, "-m", "minigpt2", "generate", "--model", str(folder), "--prompt", "Shall"]
    child = subprocess.Popen(
        [*command, "--max-new-tokens", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    assert child.stdout.read(5) == "Shall"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "minigpt2: stopped\n")


# Training: what is printed, and what goes with what.

TINY = ["--n-layer", "1", "--n-head", "1", "--n-embd", "8", "--block-size", "8", "--batch-size", "2", "--steps", "2"]


@pytest.mark.parametrize(
    ("text", "name", "tokenizer"),
    [
        ("3141592653589793" * 60, "pi", "char"),
        ("la la\tla\n" * 90, "it's $my run", "char"),
        ("ab" * 400, "shakespeare", "char"),
        ("天地玄黃宇宙洪荒\n" * 90, "--model", "char"),
        (" ,.;\n" * 90, "a;b&c", "char"),
        ("-_-+" * 90, 'say "run"', "char"),
        ("\n" * 90, "a b", "char"),
        ("the cat, the cat sat. " * 90, "-x", "bpe"),
        ("..\n<|endoftext|>\n.. " * 90, "~", "bpe"),
    ],
)
def test_try_it_works_as_printed(text, name, tokenizer, tmp_path, capsys, monkeypatch):
    """The prompt comes from the text that was trained on, and everything is quoted, for a name may be anything."""
    if os.name == "nt" and '"' in name:
        pytest.skip("Windows refuses such a name")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_bytes(text.encode())
    vocabulary = ["--tokenizer", tokenizer, *(["--vocab-size", "257"] if tokenizer == "bpe" else [])]
    code, out, _ = run(capsys, "train", "--data", "text.txt", *vocabulary, *TINY, f"--out={name}")
    assert code == 0
    command = out.partition("try it: minigpt2 ")[2].partition("\nreproduce")[0]
    code, out, err = run(capsys, *shlex.split(command), "--max-new-tokens", 3)
    (prompt,) = make_parser().parse_args(shlex.split(command)).prompt
    assert (code, err) == (0, "") and out.startswith(prompt) and prompt and prompt in text
    error = fails(capsys, "train", "--data", "text.txt", *vocabulary, *TINY, f"--out={name}")
    assert "already holds a run: resume it with --resume" in error
    flag = shlex.split(error.partition("resume it with ")[2].partition(" or choose")[0])
    assert run(capsys, "train", *flag)[0] == 0


def test_commands_are_quoted_for_the_shell_at_hand():
    words = ["minigpt2", "train", *option("--resume", "my run's"), *option("--out", "-x")]
    assert shlex.split(shell_line(*words, windows=False)) == ["minigpt2", "train", "--resume", "my run's", "--out=-x"]
    assert shell_line(*words, windows=True) == 'minigpt2 train --resume "my run\'s" --out=-x'
    for word, expected in (
        ("runs/a", "runs/a"), ("C:\\runs\\a", '"C:\\runs\\a"'), ("C:\\my runs\\", '"C:\\my runs\\\\"'),
        ("C:\\runs\\", '"C:\\runs\\\\"'), ("a&b", '"a&b"'), ("it's", '"it\'s"'), ('a"b', '"a\\"b"'), ("", '""'),
    ):  # fmt: skip
        assert shell_line(word, windows=True) == expected
        assert shlex.split(expected) == [word], "and bash on Windows reads it alike"


@pytest.mark.parametrize(
    ("flags", "expected", "notes"),
    [
        ([], {"lr": 1e-3, "min_lr": 1e-4, "steps": 1000, "warmup_steps": 100}, []),
        (["--lr", "1e-5"], {"lr": 1e-5, "min_lr": 1e-6}, ["--min-lr is 1e-06, in proportion to --lr"]),
        (["--lr", "3e-3", "--min-lr", "1e-5"], {"lr": 3e-3, "min_lr": 1e-5}, []),
        (["--lr", "1e-3"], {"lr": 1e-3, "min_lr": 1e-4}, []),
        (["--lr", "0"], {"lr": 0.0, "min_lr": 0.0}, ["--min-lr is 0,"]),
        (["--steps", "400"], {"steps": 400, "warmup_steps": 40}, ["--warmup-steps is 40, in proportion to --steps"]),
        (["--steps", "50"], {"warmup_steps": 5}, ["--warmup-steps is 5,"]),
        (["--steps", "50", "--warmup-steps", "100"], {"steps": 50, "warmup_steps": 100}, []),
        (["--preset", "nanogpt-cpu", "--steps", "200"], {"steps": 200, "warmup_steps": 10}, ["--warmup-steps is 10,"]),
    ],
)
def test_settings_that_follow_others(flags, expected, notes, capsys, monkeypatch):
    """A lower rate is not undone by the preset's lowest one, nor a short run by the preset's warm-up."""
    begun = []
    monkeypatch.setattr("minigpt2.training.Trainer", lambda settings, out: begun.append(settings))
    _, lines = _begin(make_parser().parse_args(["train", *flags]))
    (settings,) = begun
    assert {name: getattr(settings, name) for name in expected} == expected
    assert len(lines) == len(notes) and all(line.startswith(note) for line, note in zip(lines, notes, strict=True))


def test_a_lowest_rate_above_the_highest_is_refused(capsys):
    assert "--min-lr must be at most lr, which is 1e-05, got 0.0001" in fails(
        capsys, "train", "--lr", 1e-5, "--min-lr", 1e-4
    )
    assert "--min-lr must be at most lr, which is 0.001, got 0.01" in fails(capsys, "train", "--min-lr", 0.01)


def test_a_setting_that_is_wrong_is_called_by_its_flag(capsys):
    for call, message in (
        (["--warmup-steps", -1], "--warmup-steps must be at least 0, got -1"),
        (["--seed", -1], "--seed must be at least 0, got -1"),
        (["--beta2", 1], "--beta2 must be in [0, 1), got 1.0"),
        (["--head-layers", 2], "--head-layers replaces the output layer of a trained model; give --init-from"),
    ):
        assert fails(capsys, "train", *call) == f"minigpt2: error: {message}\n"


def test_what_the_preset_sets_is_printed_at_the_start(folder, tmp_path, capsys):
    call = ["train", "--preset", "nanogpt-cpu", "--data", folder / "text.txt", *TINY, "--warmup-steps", 5]
    code, _, err = run(capsys, *call, "--out", tmp_path / "run")
    first, rate, third, *_ = err.splitlines()
    assert code == 0 and first.startswith("preset nanogpt-cpu: 1 block, 1 head, 8 channels, 2")
    assert "2 steps of 2 windows of 8 tokens, dropout 0, seed 1337" in first
    assert rate == (
        "learning rate: 5 steps of warm-up to 0.001, then a cosine to 0.0001 at step 2; "
        "but the run ends at step 2, within the warm-up"
    )
    assert str(folder / "text.txt") in third and f"everything goes to {tmp_path / 'run'}" in third


def test_flags_of_several_values_may_be_repeated(capsys):
    call = ["train", "--data", "a", "b", "--data", "c", "--freeze", "wte", "--freeze", "h.0", "wpe"]
    options = make_parser().parse_args(call)
    assert (options.data, options.freeze) == (["a", "b", "c"], ["wte", "h.0", "wpe"])
    again = shlex.split(command_line(options, vars(options) | {"data": ("-a", "b")}))
    assert make_parser().parse_args(again[1:]).data == ["-a", "b"]


def test_help_of_train_says_what_each_value_is(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert " X" not in out.partition("example:")[0]
    for flag in ("--objective {causal,mlm}", "--device {numpy,cupy}", "--lr RATE", "--steps N", "--dropout P",
                 "--data FILE [FILE ...]", "--init-from MODEL", "--freeze PART [PART ...]", "--seed SEED"):  # fmt: skip
        assert flag in out, flag


def test_a_resumed_run_says_how_it_goes_on_and_how_to_make_it_again(folder, tmp_path, capsys, monkeypatch):
    """From another folder, for more steps, with its data elsewhere; the printed command makes the same run."""
    home, other = tmp_path / "my home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    (home / "text.txt").write_text(TEXT)
    monkeypatch.chdir(home)
    call = ["train", "--data", "text.txt", "--tokenizer", "char", *TINY]
    assert run(capsys, *call, "--out", "run")[0] == 0
    monkeypatch.chdir(other)
    code, out, err = run(capsys, "train", "--resume", home / "run", "--steps", 4)
    assert code == 0 and "resuming at step 2 of 4: " in err
    assert "then a cosine to 0.0001 at step 2, where it stays until step 4\n" in err
    change, _, command = out.splitlines()[-1].removeprefix("reproduce: ").partition(" && ")
    assert shlex.split(change) == ["cd", str(home)]
    words = shlex.split(command)
    assert words[words.index("--out") + 1] == str(home / "run") and "--decay-steps 2" in command
    monkeypatch.chdir(home)
    words[words.index("--out") + 1] = "again"
    assert run(capsys, *words[1:])[0] == 0
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (home / "run" / name).read_bytes() == (home / "again" / name).read_bytes()

    (home / "text.txt").rename(other / "moved text.txt")
    monkeypatch.chdir(other)
    assert "say where: minigpt2 train --resume" in fails(capsys, "train", "--resume", home / "run", "--steps", 6)
    code, out, _ = run(capsys, "train", "--resume", home / "run", "--steps", 6, "--data", "moved text.txt")
    again = make_parser().parse_args(shlex.split(out.splitlines()[-1].removeprefix("reproduce: minigpt2 ")))
    assert (code, again.data, again.steps) == (0, [str(other / "moved text.txt")], 6)
    assert "give no others but --device, --data and --steps" in fails(
        capsys, "train", "--resume", home / "run", "--seed", 1
    )


def test_ctrl_c_before_the_first_step_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Tokenizer, "train", interrupted)
    code, out, err = run(capsys, "train", "--data", folder / "text.txt", "--out", tmp_path / "run")
    assert (code, out, err) == (130, "", "minigpt2: stopped\n") and not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:the text is too small")
def test_a_run_without_a_finite_loss_says_so(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minigpt2.training.total_nats", lambda *_, **__: float("inf"))
    code, out, err = run(capsys, "train", "--data", folder / "text.txt", *TINY, "--out", tmp_path / "run")
    assert code == 1 and out.startswith("reproduce: ") and "no evaluation gave a finite loss" in err
    assert "Traceback" not in err


def test_options_that_would_do_nothing_are_refused(folder, tmp_path, capsys):
    text = folder / "text.txt"
    for flag in "--explain", "--allow-special":
        for what in ["--ids", "1"], ["--train", text, "--out", tmp_path / "bpe"]:
            assert f"{flag} belongs to --text and --file" in fails(capsys, "tokenize", *what, flag)
    assert not (tmp_path / "bpe").exists()


def test_trace_is_told_what_is_wrong_before_the_pass(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minigpt2.cli.trace.trace", lambda *_, **__: pytest.fail("the pass has begun"))
    call = ["trace", "--model", folder, "--out"]
    assert "is a folder, and nothing takes its place" in fails(capsys, *call, tmp_path, "--ids", "1,2")
    assert "--text: there is no token in it" in fails(capsys, *call, tmp_path / "x", "--text", "")
    assert "--ids: there is no token in it" in fails(capsys, *call, tmp_path / "x", "--ids", "")
    assert "--map: nonogpt is no file; give auto, torch, transformers, nanogpt" in fails(
        capsys, "compare", tmp_path / "x", tmp_path / "x", "--map", "nonogpt", code=2
    )


def test_settings_that_would_do_nothing_are_refused(capsys):
    for call, message in (
        (["--tokenizer", "char", "--vocab-size", 300], "--vocab-size belongs to --tokenizer bpe; that of char has"),
        (["--preset", "nanogpt-cpu", "--vocab-size", 300], "--vocab-size belongs to --tokenizer bpe"),
        (["--lora-rank", 4], "--lora-rank adapts a trained model: give --init-from"),
    ):
        assert message in fails(capsys, "train", *call)


def test_the_examples_of_train_can_be_pasted_one_after_another():
    """No run goes to the folder of another one, and what is resumed or started from was made before."""
    train = make_parser()._subparsers._group_actions[0].choices["train"]
    folders = {"shakespeare"}
    for example in train.epilog.splitlines()[1:]:
        options = make_parser().parse_args(shlex.split(example)[1:])
        if options.resume:
            assert options.resume in folders
        else:
            assert getattr(options, "init_from", "shakespeare") in folders
            folder = options.out or f"runs/{options.preset or 'alice'}"
            assert folder not in folders
            folders.add(folder)


def test_a_trace_without_weights(folder, tmp_path):
    paths = [str(tmp_path / name) for name in ("with.safetensors", "without.safetensors")]
    for path, flags in zip(paths, ([], ["--no-weights"]), strict=True):
        assert main(["trace", "--model", str(folder), "--ids", "1,2,3", "--backward", "-o", path, *flags]) == 0
    whole, rest = (read_trace(path)[0] for path in paths)
    assert whole.keys() - rest.keys() == {name[5:] for name in rest if name.endswith((".weight", ".bias"))}
    assert main(["compare", paths[1], paths[0], "--quiet"]) == main(["compare", *paths, "--quiet"]) == 0
