"""The command line, run as a user runs it."""

import json
import re
import subprocess
import sys

import pytest

from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.cli import main
from minigpt2.evaluation import evaluate

TEXT = "Shall I compare thee to a summer's day? Thou art more lovely and more temperate.\n" * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with its tokenizer, and a text."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer.train(TEXT, 280)
    tokenizer.save_pretrained(folder)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=1, n_head=2)
    GPT2(config, seed=1).save_pretrained(folder)
    (folder / "text.txt").write_text(TEXT)
    return folder


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def fails(capsys, *arguments):
    """Run a wrong call: exit code 1, nothing on standard output, one line on standard error; returns it."""
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1) and err.startswith("minigpt2: error: "), err
    return err


@pytest.mark.parametrize(
    "command", [[], ["generate"], ["train"], ["eval"], ["tokenize"], ["trace"], ["compare"], ["verify"]]
)
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    out = capsys.readouterr().out
    assert exit.value.code == 0
    assert re.search(rf"example:\n  minigpt2 {' '.join(command)}", out)


def test_generate_writes_prompt_and_continuation(folder, capsys):
    call = ["generate", "--model", folder, "--prompt", "Shall", "--max-new-tokens", 40, "--seed", 3]
    code, out, err = run(capsys, *call)
    assert code == 0 and out.startswith("Shall") and out.endswith("\n") and err == ""
    assert run(capsys, *call) == (code, out, err)
    assert run(capsys, *call[:-1], 4)[1] != out
    tokenizer, model = Tokenizer.from_pretrained(folder), GPT2.from_pretrained(folder)
    greedy = model.generate(tokenizer.encode("Shall"), 40)
    assert run(capsys, *call, "--temperature", 0)[1] == tokenizer.decode(greedy) + "\n"


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
    assert "own settings" in fails(capsys, "train", "--resume", tmp_path / "run", "--steps", 9)
    assert run(capsys, "generate", "--model", tmp_path / "run", "--prompt", "Shall", "--max-new-tokens", 3)[0] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ([], "required"),
        (["sing"], "invalid choice"),
        (["generate", "--model", "gpt-2"], "did you mean 'gpt2'"),
        (["generate", "--model", "./nowhere"], "no folder"),
        (["generate", "--temperature", "-1"], "temperature"),
        (["generate", "--top-k", "0"], "top_k"),
        (["generate", "--top-p", "1.5"], "top_p"),
        (["generate", "--prompt", ""], "empty|at least one"),
        (["generate", "--max-new-tokens", "ten"], "invalid int"),
        (["eval", "--data", "nowhere.txt"], "no such text file"),
        (["tokenize", "--ids", "1,two"], "whole numbers"),
        (["tokenize", "--ids", "99999"], "99999"),
        (["tokenize"], "one of the arguments"),
        (["train", "--resume", "nowhere"], "holds no run"),
        (["train", "--data", "nowhere.txt"], "no such text file"),
        (["train", "--steps", "0"], "steps must be at least 1"),
    ],
)
def test_a_users_error_is_one_line(call, message, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--model" not in call and call[:1] in (["generate"], ["eval"], ["tokenize"]):
        call = [*call, "--model", folder]
    assert re.search(message, fails(capsys, *call))
    assert list(tmp_path.iterdir()) == []


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
