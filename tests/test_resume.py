"""A run that is stopped, killed, or out of room ends in the same bits as one that never was."""

import dataclasses
import errno
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

if not hasattr(os, "fork"):
    pytest.skip("processes are killed and forked, which Windows does not know", allow_module_level=True)

from kills import Reference, beside, files_of, kill_and_compare, settings_of
from test_training import interrupt

from minigpt2.cli import main
from minigpt2.data import pipe
from minigpt2.parameters import flatten
from minigpt2.run_folder import STATE, read_metrics
from minigpt2.storage.checkpoint import read_tensors, write_tensors
from minigpt2.storage.files import write_json
from minigpt2.storage.run_checkpoints import CHECKSUMS, checksums
from minigpt2.training import Trainer


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C works as in a terminal, also where the shell that started the tests has told them to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return settings_of(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def reference(settings, tmp_path_factory):
    return Reference(settings, tmp_path_factory.mktemp("reference") / "whole")


def stop_in_step(run, step, *signals):
    """Have signals come while the gradients of the step after ``step`` are computed, the first of its batches."""
    loss_and_grads, left = run.model.loss_and_grads, list(signals)

    def interrupted(*arguments, **options):
        while run.step == step and left:
            os.kill(os.getpid(), left.pop())
        return loss_and_grads(*arguments, **options)

    run.model.loss_and_grads = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.run()


# Kills.


@pytest.mark.slow
def test_twenty_kills(settings, reference, tmp_path):
    rng, moments = random.Random(0), []
    for number in range(20):
        kills, different = kill_and_compare(settings, tmp_path / str(number), reference, rng)
        assert not different, f"killed at {kills}: {different}"
        moments += kills
    assert len(moments) >= 20 and len(set(moments)) > 10


def test_what_killed_processes_left_is_removed_and_nothing_else(settings, reference, tmp_path):
    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 5)
    ours = [".model.safetensors.abcd_123.tmp", ".metrics.jsonl.abcd_123.tmp", ".checkpoint-000008.tmp/config.json"]
    theirs = [".notes.tmp", ".model.safetensors.tmp", "notes.txt", "checkpoint-old/x"]
    for name in (*ours, *theirs):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    Trainer.resume(folder).run()
    files = files_of(folder)
    assert files.keys() - reference.files.keys() == {*theirs, "checkpoint-old"}
    assert all(files[name] == content for name, content in reference.files.items())


# Damaged checkpoints.


def truncate(checkpoint):
    os.truncate(checkpoint / "training_state.safetensors", 5000)


def flip(checkpoint):
    content = bytearray((checkpoint / "model.safetensors").read_bytes())
    content[-3] ^= 1  # the last bits of a number
    (checkpoint / "model.safetensors").write_bytes(content)


def lose(name):
    return lambda checkpoint: (checkpoint / name).unlink()


def change_metrics(checkpoint):
    content = (checkpoint / "metrics.jsonl").read_text()
    (checkpoint / "metrics.jsonl").write_text(content.replace("1", "2", 1))


DAMAGES = [truncate, flip, lose("config.json"), lose("metrics.jsonl"), lose("checksums.json"), change_metrics]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(settings, reference, tmp_path, damage):
    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 9)
    damage(folder / "checkpoint-000008")
    words = re.escape(f"{folder / 'checkpoint-000008'} is damaged") + ".*; checkpoint-000004 is taken instead"
    with pytest.warns(UserWarning, match=words) as caught:
        run = Trainer.resume(folder)
    assert run.step == 4 and len(caught) == 1
    run.run()
    assert files_of(folder) == reference.files


def test_without_a_whole_checkpoint_nothing_is_changed(settings, tmp_path):
    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 9)
    truncate(folder / "checkpoint-000008")
    flip(folder / "checkpoint-000004")
    (folder / ".loss.png.abcd_123.tmp").touch()
    before = files_of(folder)
    with pytest.raises(ValueError, match=r"no whole checkpoint: .*000008 is damaged .*; .*000004 is damaged"):
        Trainer.resume(folder)
    assert files_of(folder) == before


def test_checkpoints_are_ordered_by_number(settings, tmp_path):
    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 9)
    (folder / "checkpoint-000008").rename(folder / "checkpoint-1000000")
    (folder / "checkpoint-000004").rename(folder / "checkpoint-999999")
    assert Trainer.resume(folder).step == 8


# Ctrl-C.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "number"), [(0, signal.SIGINT), (5, signal.SIGTERM), (7, signal.SIGINT), (11, signal.SIGINT)]
)
def test_ctrl_c_lets_the_step_end_and_saves_it(settings, reference, tmp_path, step, number):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    folder = tmp_path / "run"
    run = Trainer(settings, folder)
    stop_in_step(run, step, number)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert run.step == run.saved == step + 1 and (folder / f"checkpoint-{step + 1:06d}").is_dir()
    resumed = Trainer.resume(folder)
    assert resumed.step == step + 1
    resumed.run()
    assert files_of(folder) == reference.files


def test_a_second_ctrl_c_stops_at_once_and_saves_nothing(settings, reference, tmp_path):
    folder = tmp_path / "run"
    run = Trainer(settings, folder)
    stop_in_step(run, 6, signal.SIGINT, signal.SIGINT)
    assert (run.step, run.saved) == (6, 4)
    with pytest.raises(ValueError, match=r"was stopped; resume it with: Trainer\.resume"):
        run.run()
    Trainer.resume(folder).run()
    assert files_of(folder) == reference.files


def test_ctrl_c_on_the_command_line(settings, tmp_path, monkeypatch, capsys):
    step = Trainer._train_step

    def interrupted(run):
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(run)

    monkeypatch.setattr(Trainer, "_train_step", interrupted)
    sizes = ["--n-layer", "1", "--n-head", "1", "--n-embd", "8", "--block-size", "8", "--batch-size", "2"]
    call = ["train", "--data", settings.data[0], *sizes, "--vocab-size", "260", "--steps", "5"]
    assert main([*call, "--out", str(tmp_path / "run")]) == 130
    assert f"step 3 is saved; resume with: minigpt2 train --resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0


# Everything that a run can have.


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"lora_rank": 2, "patience": 3},
        {"freeze": ("wte", "h.0.attn"), "head_layers": 2, "patience": 1, "lr": 0.5},
    ],
)
@pytest.mark.parametrize("stop", ["at once", "saved"])
def test_fine_tuning_with_everything(settings, reference, tmp_path, changes, stop):
    Trainer(settings, tmp_path / "base").run()
    settings = dataclasses.replace(settings, init_from=str(tmp_path / "base"), **changes)
    whole = Trainer(settings, tmp_path / "whole")
    whole.run()
    cut = Trainer(settings, tmp_path / "cut")
    if stop == "saved":
        stop_in_step(cut, 5 if whole.step > 6 else 2, signal.SIGINT)
    else:
        interrupt(cut, 5 if whole.step > 6 else 2)
    shutil.move(tmp_path / "base", tmp_path / "moved")  # a checkpoint needs it no more, but for its name
    resumed = Trainer.resume(tmp_path / "cut")
    assert resumed.run() == whole.best_loss
    ours, theirs = flatten(resumed.model.params), flatten(whole.model.params)
    assert all((ours[name] == parameter).all() for name, parameter in theirs.items())
    assert resumed.rng.bit_generator.state == whole.rng.bit_generator.state
    last = f"checkpoint-{whole.step:06d}"
    cut_files, whole_files = files_of(tmp_path / "cut"), files_of(tmp_path / "whole")
    for name in (n for n in whole_files if n.startswith(last) or not n.startswith("checkpoint")):
        assert cut_files[name] == whole_files[name], name


# What began otherwise.


def test_what_a_run_began_with_must_not_change(settings, reference, tmp_path):
    texts = [tmp_path / name for name in ("bottles.txt", "verses.txt")]
    settings = dataclasses.replace(settings_of(tmp_path), steps=4)
    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 2)
    for path, old, new, message in (
        (texts[0], "7 little", "7 LITTLE", r"bottles\.txt has changed since the run started; undo that, or start"),
        (texts[1], "59th", "58th", r"verses\.txt has changed"),  # in the part to validate on
        (folder / "settings.json", '"lr": 0.01', '"lr": 0.02', r"settings\.json: lr was 0.01 .* and is now 0.02"),
        (folder / "merges.txt", "l i", "i l", r"tokenizer in .* is not the one|merges\.txt"),
    ):
        before = path.read_text()
        assert old in before, path
        path.write_text(before.replace(old, new, 1))
        with pytest.raises(ValueError, match=message):
            Trainer.resume(folder)
        path.write_text(before)
    os.utime(texts[0])  # only the content counts
    Trainer.resume(folder).run()


# Two runs in one folder.


def test_a_second_run_in_the_folder_is_refused_while_the_first_lives(settings, tmp_path):
    folder = tmp_path / "run"
    first = Trainer(settings, folder)
    message = rf"another process \(pid {os.getpid()}\) is training in .*run: wait until it ends, or stop it"
    with pytest.raises(BlockingIOError, match=message):
        Trainer.resume(folder)
    with pytest.raises(BlockingIOError, match=message):
        Trainer(settings, folder)
    first.run()
    with pytest.raises(FileExistsError, match="already holds a run"):
        Trainer(settings, folder)
    assert Trainer.resume(folder).run() == first.best_loss
    (folder / "settings.json").unlink()
    with pytest.raises(FileExistsError, match="already holds a run"):  # its steps are not thrown away
        Trainer(settings, folder)


def test_the_lock_of_a_killed_process_is_free(settings, tmp_path):
    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 1)
    code = "import sys; from minigpt2.training import Trainer; run = Trainer.resume(sys.argv[1]); print(1); input()"
    command = [sys.executable, "-u", "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"1\n"
        try:
            with pytest.raises(BlockingIOError, match=rf"pid {child.pid}\)"):
                Trainer.resume(folder)
        finally:
            child.kill()
    assert Trainer.resume(folder).step == 0


def test_a_failed_start_frees_the_lock(settings, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("minigpt2.run_folder.write_json", full)
        with pytest.raises(OSError, match="No space left") as failure:  # holds the frames, and so the Trainer
            Trainer(settings, tmp_path / "run")
    assert failure.value.errno == errno.ENOSPC
    Trainer(settings, tmp_path / "run")


# A full disk.


@pytest.mark.slow
@pytest.mark.parametrize("at", range(0, 42, 6))  # without matplotlib there are a few calls less
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(settings, reference, tmp_path, monkeypatch, at):
    """The system's own call fails, in whichever file it is: the best model, the picture, any part of a checkpoint."""
    folder = tmp_path / "run"
    run = Trainer(settings, folder)
    fsync, calls = os.fsync, iter(range(1000))

    def full(descriptor):
        if next(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"stopped at step \d+: .*No space left.*is saved: remove the cause") as failure:
        run.run()
    monkeypatch.undo()
    assert failure.value.errno == errno.ENOSPC and f"minigpt2 train --resume {folder}" in str(failure.value)
    assert not list(folder.rglob("*.tmp")), "nothing temporary is left on a full disk"
    resumed = Trainer.resume(folder)
    # A checkpoint is there from its rename on, also where flushing the folder after that fails.
    assert run.saved <= resumed.step <= run.step
    resumed.run()
    assert files_of(folder) == reference.files


def test_metrics_that_do_not_fit(settings, reference, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    run = Trainer(settings, folder)

    class Full:
        """A file that a line does not fit into."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, text):
            self.file.write(text[:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path, mode, **options):
        file = open(path, mode, **options)  # noqa: SIM115
        return Full(file) if mode == "a" and run.step == 10 else file

    monkeypatch.setattr("minigpt2.run_folder.open", opened, raising=False)
    with pytest.raises(OSError, match=r"stopped at step 10: .*No space left.*metrics\.jsonl"):
        run.run()
    monkeypatch.undo()
    Trainer.resume(folder).run()
    assert files_of(folder) == reference.files


def test_files_that_may_not_grow(settings, reference, tmp_path):
    """The real thing, but for the number of the error: the system lets the child's files have so many bytes only."""
    import resource

    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 5)
    limit = (folder / "checkpoint-000004/model.safetensors").stat().st_size + 1000  # the moments take twice as much
    child = os.fork()
    if child == 0:
        os.dup2(os.open(beside(folder, "err"), os.O_WRONLY | os.O_CREAT), 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with warnings.catch_warnings(action="ignore"):
            code = main(["train", "--resume", str(folder)])
        sys.stderr.flush()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    error = beside(folder, "err").read_text()
    assert "File too large" in error and error.splitlines()[-1].startswith("minigpt2: error: ")
    assert "Traceback" not in error and f"--resume {folder}" in error
    assert not list(folder.rglob("*.tmp"))
    Trainer.resume(folder).run()
    assert files_of(folder) == reference.files


# From elsewhere, and for more steps.


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A run that was started in a folder of its own with relative paths and stopped at step 4 of 12; its settings."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    settings = dataclasses.replace(settings_of(home), data=("bottles.txt:0.7", "verses.txt:0.3"))
    interrupt(Trainer(settings, "run"), 5)
    return settings


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A function that makes another folder the current one."""

    def change(name):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)

    return change


def without_names(folder):
    """The files of a finished run, but for what differs with the place of its data: names, and with them checksums."""
    files = files_of(folder)
    return {name: content for name, content in files.items() if name.endswith((".safetensors", "config.json"))}


@pytest.mark.slow
def test_resumed_from_another_folder_a_run_ends_in_the_same_bits(moved, tmp_path, elsewhere):
    shutil.copytree("run", "whole")
    Trainer.resume("whole").run()
    elsewhere("other")
    run = Trainer.resume(tmp_path / "home/run")
    run.run()
    assert files_of(tmp_path / "home/run") == files_of(tmp_path / "home/whole")
    assert run.settings == moved and [corpus.name for corpus in run.mixture.corpora] == ["bottles.txt", "verses.txt"]


def test_a_run_and_its_data_move_together(moved, tmp_path, elsewhere):
    """Where the first folder is no more, relative paths begin in the current one."""
    shutil.move(tmp_path / "home", tmp_path / "moved")
    elsewhere("moved")
    assert Trainer.resume("run").step == 4


def test_a_run_on_standard_input_asks_for_its_data(tmp_path, monkeypatch):
    def standard_input(content):
        monkeypatch.setattr(pipe, "_kept", {})  # as in another process
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))

    settings, folder = dataclasses.replace(settings_of(tmp_path), data=("-",)), tmp_path / "run"
    text = (tmp_path / "bottles.txt").read_bytes()
    standard_input(text)
    interrupt(Trainer(settings, folder), 5)
    standard_input(b"")
    with pytest.raises(FileNotFoundError, match=r"-: nothing came through .* say where: .* --resume .* --data"):
        Trainer.resume(folder)
    standard_input(text)
    assert Trainer.resume(folder).step == 4


@pytest.mark.slow
def test_data_that_moved_are_named_and_must_be_the_same(moved, tmp_path, elsewhere):
    shutil.copytree("run", "whole")
    Trainer.resume("whole").run()
    elsewhere("data")
    shutil.move(tmp_path / "home/bottles.txt", "b.txt")
    shutil.move(tmp_path / "home/verses.txt", "v:0.5.txt")
    folder, before = tmp_path / "home/run", files_of(tmp_path / "home/run")
    for data, message in (
        (None, r"bottles\.txt: no such .*; the run was started in .*home: .* say where: .* --resume .* --data"),
        (["b.txt"], r"as many as the run has, 2 \(bottles\.txt:0\.7, verses\.txt:0\.3\), .*; got 1"),
        (["b.txt:0.6", "v:0.5.txt:0.4"], r"the weights stay as they are .*; give b\.txt without one"),
        (["v:0.5.txt", "b.txt"], r"order of the run's data is bottles\.txt, verses\.txt; give --data in this order"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            Trainer.resume(folder, data=data)
        assert files_of(folder) == before
    (tmp_path / "data/other.txt").write_text((tmp_path / "data/b.txt").read_text().replace("7 little", "7 LITTLE", 1))
    with pytest.raises(ValueError, match=r"other\.txt does not hold what bottles\.txt held when the run started"):
        Trainer.resume(folder, data=["other.txt", "v:0.5.txt"])
    assert files_of(folder) == before
    run = Trainer.resume(folder, data=["b.txt:0.7", "v:0.5.txt"])
    assert [corpus.weight for corpus in run.mixture.corpora] == [0.7, 0.3]
    interrupt(run, 9)
    elsewhere("nowhere")  # the new place is remembered
    again = Trainer.resume(folder)
    assert again.step == 8 and again.settings.data == (f"{tmp_path}/data/b.txt:0.7", f"{tmp_path}/data/v:0.5.txt:0.3")
    again.run()
    ours, theirs = without_names(folder), without_names(tmp_path / "home/whole")
    ours, theirs = ({n: c for n, c in files.items() if "training_state" not in n} for files in (ours, theirs))
    assert ours == theirs
    losses = [[list(line["corpora"].values()) for line in read_metrics(path) if "corpora" in line] for path in (
        folder, tmp_path / "home/whole")]  # fmt: skip
    assert losses[0] == losses[1]
    assert [name for name, _, _ in again.changes()] == [f"{tmp_path}/data/b.txt", f"{tmp_path}/data/v:0.5.txt"]


def test_a_path_in_the_settings_may_be_changed_by_hand(moved, tmp_path):
    (tmp_path / "home/data").mkdir()
    shutil.move("bottles.txt", "data/bottles.txt")
    path = tmp_path / "home/run/settings.json"
    text = path.read_text().replace('"bottles.txt:0.7"', '"data/bottles.txt:0.7"')
    path.write_text(text)
    assert Trainer.resume("run").step == 4
    for old, new, message in (
        ("bottles.txt:0.7", "bottles.txt:0.6", "data was .*0.7.* when the run started and is now .*0.6"),
        ('"steps": 12', '"steps": 20', "steps was 12 when the run started and is now 20; give --steps with --resume"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=message):
            Trainer.resume("run")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [None, 5])
def test_more_steps_follow_the_same_cosine_and_stay_at_its_end(settings, reference, tmp_path, stop):
    """An extended run, be it finished or not, ends in the bits of one that had all its steps from the start."""
    folder, whole = tmp_path / "run", tmp_path / "whole"
    interrupt(Trainer(settings, folder), stop) if stop else Trainer(settings, folder).run()
    with pytest.raises(ValueError, match=r"steps: .*run has taken (12|4); give more than that, got 3"):
        Trainer.resume(folder, steps=3)
    run = Trainer.resume(folder, steps=18)
    assert run.settings == dataclasses.replace(settings, steps=18, decay_steps=12)
    interrupt(run, 17)
    resumed = Trainer.resume(folder)  # without saying so again
    resumed.run()
    assert resumed.step == 18 and resumed.optimizer.lr == settings.min_lr
    Trainer(resumed.settings, whole).run()
    for name, content in files_of(whole).items():
        if "checkpoint-000018" not in name or name.endswith("model.safetensors"):  # the random state is in both
            assert files_of(folder)[name] == content, name
    with pytest.raises(ValueError, match=r"has taken 18; give more than that, got 18"):
        Trainer.resume(folder, steps=18)


def test_the_schedule_comes_back_where_the_steps_do(settings, tmp_path):
    interrupt(Trainer(settings, tmp_path / "run"), 5)
    Trainer.resume(tmp_path / "run", steps=20).run_folder.unlock()
    run = Trainer.resume(tmp_path / "run", steps=12)
    assert run.settings == settings


def test_a_run_out_of_patience_takes_no_more_steps(settings, tmp_path):
    still = {"lr": 0.0, "min_lr": 0.0, "weight_decay": 0.0, "patience": 1}
    Trainer(dataclasses.replace(settings, **still), tmp_path / "run").run()
    with pytest.raises(ValueError, match=r"ended at step 8 .*no longer fell \(patience 1\); .* --init-from"):
        Trainer.resume(tmp_path / "run", steps=40)


def test_runs_from_before_they_could_be_moved_are_resumed(moved, tmp_path):
    """Their settings.json has neither started_in nor decay_steps, and no more has the state of their checkpoints."""
    path = tmp_path / "home/run/settings.json"
    values = json.loads(path.read_text())
    assert values.pop("started_in") == str(tmp_path / "home") and values.pop("decay_steps") == 0
    path.write_text(json.dumps(values))
    checkpoint = tmp_path / "home/run/checkpoint-000004"
    tensors, metadata = read_tensors(checkpoint / STATE)
    state = json.loads(metadata["state"])
    del state["origin"]["settings"]["decay_steps"]
    write_tensors(checkpoint / STATE, tensors, {"state": json.dumps(state)})
    write_json(checkpoint / CHECKSUMS, checksums(checkpoint))
    assert Trainer.resume("run", steps=15).settings.decay_steps == 12


def test_a_name_from_a_damaged_file_cannot_write_on_the_terminal(settings, tmp_path):
    folder = tmp_path / "run"
    interrupt(Trainer(settings, folder), 9)
    path = folder / "checkpoint-000008" / "checksums.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"\x1b[31m": "0"}))
    with pytest.warns(UserWarning, match=r"'\\x1b\[31m' is missing or has changed"):
        Trainer.resume(folder)
