"""What do the readers make of files that are damaged, or written to do harm? Change small valid files and see.

Run by hand; ``test_hostile_files.py`` runs the same changes for a few seconds:

    python tests/tools/fuzz.py --cases 20000 --seed 0       # every kind of file, a few minutes
    python tests/tools/fuzz.py trace --cases 1000           # one kind
    python tests/tools/fuzz.py --repeat FILE                # a case that went wrong and was kept, with its traceback
    python tests/tools/fuzz.py --atheris 20                 # guided by coverage, 20 seconds a file; needs atheris

A reader gives an object that works, or raises ValueError with a message that names the file, or an OSError such as
FileNotFoundError. Anything else goes wrong: another exception, more than SECONDS, more memory than twice the files'
size and SLACK, a file that was written, changed or removed. The exit code is 1 then, and the case is kept.
"""

import argparse
import contextlib
import functools
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import tracemalloc
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

SECONDS = 10  # for one case
SLACK = 2**22  # bytes: Python's own objects, whatever the size of the file, and what JSON becomes in memory
FAILURES = Path(tempfile.gettempdir()) / "minigpt2-fuzz-failures"
TEXT = "the cat sat on the mat, the dog on the log; that cat, this dog. " * 12

# ------------------------------------------------------------------------------------------- valid files


@dataclass(frozen=True)
class Kind:
    """Files that are read together: name -> content, which of them are changed, and what reads their folder."""

    files: dict[str, bytes]
    changed: tuple[str, ...]
    read: Callable[[Path], object]
    writes: bool = False  # whether reading may write, but only into the folder


@functools.cache
def kinds():
    """Name -> Kind."""
    import numpy as np
    from llm_c_model import write_llm_c

    from minigpt2 import GPT2, GPT2Config, Tokenizer
    from minigpt2.char_tokenizer import CharTokenizer
    from minigpt2.data.mixture import Mixture, Source
    from minigpt2.data.token_file import write_tokens
    from minigpt2.parameters import flatten
    from minigpt2.run_folder import read_metrics
    from minigpt2.settings import TrainingSettings
    from minigpt2.storage.checkpoint import write_tensors
    from minigpt2.storage.conversion import convert
    from minigpt2.storage.files import write_json
    from minigpt2.storage.run_checkpoints import CHECKSUMS, checksums
    from minigpt2.training import Trainer
    from minigpt2.verification.compare import compare
    from minigpt2.verification.dump import MAGIC
    from minigpt2.verification.maps import LLM_C, read_map
    from minigpt2.verification.names import translate
    from minigpt2.verification.trace import layer_norm_epsilon, read_trace, trace, write_trace
    from minigpt2.vocabulary import END_OF_TEXT

    tokenizer, characters = Tokenizer.train(TEXT, 270), CharTokenizer.train(TEXT)
    model = GPT2(GPT2Config(vocab_size=11, n_positions=6, n_embd=8, n_layer=2, n_head=2))
    ours = trace(model, np.arange(6) % 11)

    def read_model(folder):
        with np.errstate(all="ignore"):  # weights may be huge
            return GPT2.from_pretrained(folder).forward(np.zeros((1, 1), int))

    def converted(folder):
        no_torch = mock.patch.dict(sys.modules, torch=None)  # which takes seconds to import
        with no_torch, tempfile.TemporaryDirectory() as new, np.errstate(all="ignore"):
            convert(folder, Path(new) / "new")
            GPT2.from_pretrained(Path(new) / "new")

    def read_tokenizer(folder):
        found = Tokenizer.from_pretrained(folder)
        with contextlib.suppress(ValueError):  # of a character that is not in the vocabulary
            assert found.decode(found.encode("the cat")).endswith("the cat")  # a space or a token may stand before it

    def read_tokens(folder):
        source = Source(str(folder / "corpus.tokens"), None, None)
        return Mixture([source], tokenizer, 8).windows(4, 8, np.random.default_rng(0))

    def compared(name, folder):
        theirs, metadata = read_trace(folder / name)
        eps = layer_norm_epsilon(metadata)
        with contextlib.suppress(ValueError), np.errstate(all="ignore"):  # which names the tensor, not the file
            compare(ours, theirs, eps=eps)

    def read_run(folder):
        os.environ["MINIGPT2_CACHE"] = str(folder / "cache")  # so that "shakespeare" is no download
        with contextlib.chdir(folder):
            read_metrics(folder)
            run = Trainer.resume(folder)
            assert type(run.step) is type(run.optimizer.t) is type(run.stale) is int and run.step >= 0
            assert isinstance(run.best_loss, float)

    def read_fitted(folder):
        for checkpoint in folder.glob("checkpoint-*"):
            write_json(checkpoint / CHECKSUMS, checksums(checkpoint))
        read_run(folder)

    made = {}

    def kind(name, read, *changed, writes=False):
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        made[name] = Kind(files, changed or tuple(files), read, writes)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        model.save_pretrained(folder)
        kind("model", read_model)
        folder = Path(temporary) / "shards"
        model.save_pretrained(folder)
        (folder / "model.safetensors").unlink()
        names = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(flatten(model.params))}
        for shard in set(names.values()):
            tensors = {name: tensor for name, tensor in flatten(model.params).items() if names[name] == shard}
            write_tensors(folder / shard, tensors)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
        kind("shards", read_model, "model.safetensors.index.json", "model-1.safetensors")

        folder = Path(temporary) / "llm.c"
        folder.mkdir()
        write_llm_c(folder / "model.bin", model)
        kind("llm.c", converted)
        folder = Path(temporary) / "foreign"
        folder.mkdir()
        turned = {f"net.{name}": p.T.copy() if "h." in name else p for name, p in flatten(model.params).items()}
        write_tensors(folder / "weights.safetensors", turned)
        (folder / "config.json").write_text(json.dumps({"model": {"n_head": 2, "block_size": 6, "dropout": 0.1}}))
        kind("foreign", converted)

        folder = Path(temporary) / "tokenizer"
        tokenizer.save_pretrained(folder)
        kind("tokenizer", read_tokenizer)
        (folder / "vocab.json").rename(folder / "encoder.json")
        (folder / "merges.txt").rename(folder / "vocab.bpe")
        kind("tokenizer of OpenAI", read_tokenizer, "encoder.json", "vocab.bpe")
        folder = Path(temporary) / "tokenizer of old"
        Tokenizer(tokenizer.vocab, tokenizer.merges, ()).save_pretrained(folder)
        (folder / "tokenizer_config.json").write_text('{"add_prefix_space": false}')
        (folder / "special_tokens_map.json").write_text('{"pad_token": {"content": "[PAD]", "normalized": true}}')
        (folder / "added_tokens.json").write_text(json.dumps({"[PAD]": len(tokenizer)}))
        (folder / "config.json").write_text('{"model_type": "gpt2", "eos_token_id": [7, 9]}')
        kind("tokenizer of old", read_tokenizer)
        folder = Path(temporary) / "tokenizer in one file"
        folder.mkdir()
        model_of_whole = {"type": "BPE", "vocab": tokenizer.vocab, "merges": tokenizer.merges}
        end = {"id": tokenizer.eos_id, "content": END_OF_TEXT, "special": True, "lstrip": False}
        (folder / "tokenizer.json").write_text(json.dumps({
            "added_tokens": [end], "normalizer": None, "model": model_of_whole,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]},
            "decoder": {"type": "ByteLevel"},
        }))  # fmt: skip
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
        kind("tokenizer in one file", read_tokenizer)
        folder = Path(temporary) / "characters"
        characters.save_pretrained(folder)
        kind("characters", read_tokenizer)

        folder = Path(temporary) / "tokens"
        folder.mkdir()
        write_tokens(folder / "corpus.tokens", tokenizer, [[TEXT, TEXT]])
        kind("tokens", read_tokens)

        folder = Path(temporary) / "trace"
        folder.mkdir()
        write_trace(folder / "trace.safetensors", ours, {"config": model.config.to_dict()})
        kind("trace", functools.partial(compared, "trace.safetensors"))
        for name, save in ("npz", np.savez), ("npz, compressed", np.savez_compressed):
            folder = Path(temporary) / name
            folder.mkdir()
            save(folder / "trace.npz", **ours)
            kind(name, functools.partial(compared, "trace.npz"))
        folder = Path(temporary) / "dump"
        folder.mkdir()
        with open(folder / "theirs.dump", "wb") as file:
            file.write(MAGIC)
            for name, x in ours.items():
                file.write(f"{' '.join([name, x.dtype.name, *map(str, x.shape)])}\n".encode() + x.tobytes())
        kind("dump", functools.partial(compared, "theirs.dump"))
        folder = Path(temporary) / "map"
        folder.mkdir()
        (folder / "map.json").write_text(json.dumps(LLM_C))
        kind("map", lambda folder: translate({"preatt": np.zeros((2, 1))}, read_map(folder / "map.json")))

        folder = Path(temporary) / "run"
        with contextlib.redirect_stderr(io.StringIO()), contextlib.chdir(temporary):
            Path("corpus.txt").write_text(TEXT)
            settings = TrainingSettings(
                data=("corpus.txt",), tokenizer="char", n_layer=1, n_head=1, n_embd=8, block_size=4, batch_size=2,
                steps=2, eval_every=1,
            )  # fmt: skip
            Trainer(settings, folder).run()
        (folder / "loss.png").unlink(missing_ok=True)
        (folder / "cache" / "corpora").mkdir(parents=True)
        for corpus in "corpus.txt", "cache/corpora/shakespeare.txt":
            (folder / corpus).write_text(TEXT)
        changed = sorted(
            str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")
        )
        changed = [name for name in changed if not name.startswith("model")]
        kind("run", read_run, "metrics.jsonl", *changed, writes=True)
        changed = [name for name in changed if name.startswith("checkpoint") and "checksums" not in name]
        kind("run, checksums made to fit", read_fitted, *changed, writes=True)
    return made


# --------------------------------------------------------------------------------------- changes of bytes

EXTREMES = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
CHUNKS = [b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b"{", b"[" * 2000, b"9" * 30, b"\xf0\x9f"]


def truncate(content, rng):
    return content[: rng.randrange(len(content))]


def flip(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def cut(content, rng):
    """Two places, near each other as often as far away."""
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.randrange(1, rng.choice([4, 64, len(content) + 1])))


def delete(content, rng):
    start, end = cut(content, rng)
    return content[:start] + content[end:]


def duplicate(content, rng):
    start, end = cut(content, rng)
    return content[:end] + content[start:end] * rng.choice([1, 1, 1, 100]) + content[end:]


def insert(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + rng.choice(CHUNKS) + content[place:]


def overwrite(content, rng):
    place, width = rng.randrange(len(content)), rng.choice([1, 2, 4, 8])
    number = (rng.choice(EXTREMES) % 256**width).to_bytes(width, "little")
    return content[:place] + number + content[place + width :]


BYTES = [truncate, flip, flip, delete, duplicate, insert, overwrite]

# ------------------------------------------------------------------- changes that keep a format's structure

RAW = [  # in place of a value in JSON, as it would stand in the file
    "null", "true", "false", "0", "-1", "1", "2", "7", "256", "1.5", "-0.0", "1e-400", "1e999", "NaN", "Infinity",
    "-Infinity", "2147483648", "1000000000", "4294967296", "1000000000000", "9223372036854775807",
    "18446744073709551615", "1" + "0" * 30, "1" + "0" * 5000, "01", "0x10", '""', '"a"', '"\\u0000"',
    '"\\ud800"', '"\\n\\u001b[31m"', "'a'",
    '"../x.safetensors"', '"/etc/passwd"', '"model.bin"', '"' + "x" * 20000 + '"', "[]", "{}", "[0]", "[0, 0]",
    "[[[[[[[[]]]]]]]]", "[" * 900 + "]" * 900, "[" * 100000, '{"a": ' * 3000, '{"a": 1, "a": 2}', "[-1]", "[1.5]",
    "[0, 9223372036854775808]", "[1000000000000, 0]", "[1000000000000, 1000000000000]", "[0, 8]", "[8, 0]", "[4, 2]",
    '"F64"', '"F16"', '"BF16"', '"I64"', '"F8_E4M3"', '"F4"', '"BOOL"',
    '{"dtype": "F32", "shape": [], "data_offsets": [0, 4]}',
]  # fmt: skip
MARK = "\u2603"  # which no valid file has


def change_json(content, rng):
    """Another value, one more, one less, or a key twice."""
    value = json.loads(content)
    node, places = value, []
    while isinstance(node, dict | list) and node and (not places or rng.random() < 0.8):
        keys = list(node) if isinstance(node, dict) else range(len(node))
        places.append((node, rng.choice(keys)))
        node = node[places[-1][1]]
    node, key = rng.choice(places)
    old, raw = node[key], rng.choice(RAW)
    change = rng.choice(["replace", "replace", "replace", "delete", "add", "twice"])
    if change == "replace" or isinstance(node, list):
        node[key] = MARK
    elif change == "delete":
        del node[key]
    elif change == "add":
        node[rng.choice(["", "../x", "\x1b[31m", "x" * 2000, "__metadata__", "n_layer", "Ā", "transformer.h.7"])] = MARK
    else:
        node[MARK] = rng.choice([old, 0])
        return json.dumps(value, ensure_ascii=False).replace(MARK, str(key)).encode()
    return json.dumps(value, ensure_ascii=False).replace(f'"{MARK}"', raw).encode(errors="replace")


def change_json_line(content, rng):
    lines = content.split(b"\n")
    place = rng.randrange(len(lines) - 1)
    lines[place] = change_json(lines[place], rng)
    return b"\n".join(lines)


def change_safetensors(content, rng):
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    if rng.random() < 0.2:
        data = rng.choice([b"", data + bytes(8), data[:-4], b"\xff" * len(data), b"\x7f\x80" * (len(data) // 2)])
    else:
        header = change_json(header, rng)
    return len(header).to_bytes(8, "little") + header + data


def change_tokens(content, rng):
    """A field of the header and the checksum that fits it, or an id."""
    from minigpt2.data.token_file import FIELDS, HEADER_BYTES

    fields, ids = list(FIELDS.unpack(content[: FIELDS.size])), content[HEADER_BYTES:]
    if rng.random() < 0.3:
        ids = overwrite(ids, rng)
    else:
        place = rng.randrange(1, 8)
        old = fields[place]
        fields[place] = rng.choice([*EXTREMES, old + 1, max(old - 1, 0), 2 * old]) % 2 ** (32 if place < 3 else 64)
        if rng.random() < 0.2:
            fields[3], fields[4], ids = 0, 1, b""
    header = FIELDS.pack(*fields)
    return header + hashlib.sha256(header).digest() + ids


MEMBERS = ["../x.npy", "/x.npy", "C:\\x.npy", "a/../../x.npy", "x", "", "x.txt", "ids", "\x1b[31m.npy", "n" * 9999]


def change_npz(content, rng):
    """A member's name, its claims, or how it is packed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(member.filename, archive.read(member), member.compress_type) for member in archive.infolist()]
    place = rng.randrange(len(members))
    name, array, packing = members[place]
    change = rng.choice(["name", "twice", "header", "header", "header", "packing", "data"])
    if change == "name":
        name = rng.choice(MEMBERS)
    elif change == "twice":
        members.append((name, array, packing))
    elif change == "header":
        array = change_npy(array, rng)
    elif change == "packing":
        packing = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    else:
        array = rng.choice([b"", array[:-1], array + b"\0", b"hello", bytes(100_000)])
    members[place] = name, array, packing
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that occurs twice
        for name, array, packing in members:
            archive.writestr(zipfile.ZipInfo(name), array, packing)
    return packed.getvalue()


CLAIMS = [
    ("descr", "'|O'", "'<f8'", "'>f4'", "'<f2'", "'<c8'", "'S0'", "'V0'", "'<U9'", "'<M8[s]'", "[('a', '<f4')]", "{}"),
    (
        "shape", "(1000000000000,)", "(-1,)", "(0,)", "(0, 4611686018427387904)", "(0, 9223372036854775808)", "()",
        "(True,)", "(4294967296, 4294967296)", "(1.5,)", "None", "(" * 60, "(" + "1, " * 40 + ")",
        "(" + "9" * 5000 + ",)", "-" * 5000 + "1", "[" * 3000, "'a'",
    ),
    ("fortran_order", "True", "1", "None"),
]  # fmt: skip


def change_npy(content, rng):
    """What the header of an array claims."""
    length = struct.unpack("<H", content[8:10])[0]
    header, data = content[10 : 10 + length].decode(), content[10 + length :]
    key, *values = rng.choice(CLAIMS)
    value = rng.choice(values)
    old = {"descr": r"'descr': '[^']*'", "shape": r"'shape': \([^)]*\)", "fortran_order": "'fortran_order': False"}[key]
    header = re.sub(old, lambda _: f"'{key}': {value}", header).encode()
    return content[:8] + struct.pack("<H", len(header)) + header + data


LINES = [b"", b" ", b"a", b"a b", b"a b c", b"a  b", b"\0 \0", b"\xff \xff", b"#version", b"a b\r", b"x " * 5000]


def change_line(content, rng):
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    new = [rng.choice([*LINES, rng.choice(lines)])] * rng.choice([0, 1, 1, 2])
    lines[place : place + rng.choice([0, 1])] = new
    return b"\n".join(lines)


def change_header(content, rng):
    """Of a model of llm.c: one of the eight numbers with which it begins."""
    place, number = 4 * rng.randrange(8), rng.choice([rng.randrange(-1, 9), *EXTREMES]) % 2**32
    return content[:place] + number.to_bytes(4, "little") + content[place + 4 :]


STRUCTURED = {
    ".json": change_json, ".jsonl": change_json_line, ".safetensors": change_safetensors, ".tokens": change_tokens,
    ".npz": change_npz, ".txt": change_line, ".bpe": change_line, ".bin": change_header,
    ".dump": change_line,
}  # fmt: skip


def mutate(content, name, rng):
    """A changed copy of a file's content.

    name: of the file, whose suffix tells its format; rng: random.Random
    """
    structured = STRUCTURED[Path(name).suffix]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = rng.choice(BYTES) if rng.random() < 0.5 else structured
        if content and change is structured:
            with contextlib.suppress(Exception):  # where an earlier change left nothing of the structure
                content = change(content, rng)
        elif content:
            content = change(content, rng)
    return content


# ------------------------------------------------------------------------------------------ one case


class TakesTooLong(BaseException):
    """Not an Exception: nobody on the way shall catch it."""


@dataclass(frozen=True)
class Outcome:
    """How reading ended: "read", "ValueError", "OSError" or "wrong"; why; peak memory and size of the files, bytes."""

    verdict: str
    reason: str
    memory: int
    size: int


class Sandbox:
    """A folder per kind with its valid files, in which one file at a time is changed, read and put back."""

    def __init__(self, root):
        self.root = Path(root)
        for name in kinds():
            self._fill(name)

    def folder(self, name):
        return self.root / re.sub(r"\W+", "-", name)

    def run(self, name, file, content):
        """The Outcome of reading kind ``name`` with ``content`` in ``file``."""
        path = self.folder(name) / file
        path.write_bytes(content)
        try:
            with expired_after(SECONDS):
                return self._read(name, path)
        finally:
            if kinds()[name].writes:
                shutil.rmtree(self.folder(name))
                self._fill(name)
            path.write_bytes(kinds()[name].files[file])

    def _fill(self, name):
        for file, content in kinds()[name].files.items():
            path = self.folder(name) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _read(self, name, path):
        folder, before = self.folder(name), self._snapshot(name)
        size = sum(file.stat().st_size for file in folder.rglob("*"))
        verdict, reason = "read", ""
        tracemalloc.start()
        try:
            kinds()[name].read(folder)
        except (ValueError, OSError) as error:
            verdict, reason = "ValueError" if isinstance(error, ValueError) else "OSError", str(error)
            files = {str(folder), *(Path(file).name for file in kinds()[name].files)}
            if verdict == "ValueError" and not any(file in reason for file in files):
                verdict, reason = "wrong", f"the message does not name the file: {reason}"
            elif len(reason) > 5000:
                verdict, reason = "wrong", f"a message of {len(reason)} characters: {reason[:200]} ..."
        except (Exception, TakesTooLong):
            verdict, reason = "wrong", traceback.format_exc()
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if used > 2 * size + SLACK:
            verdict, reason = "wrong", f"{used:,} bytes of memory for {size:,} bytes of files; {reason}"
        if self._snapshot(name) != before:
            verdict, reason = "wrong", f"reading changed the disk; {reason}"
        return Outcome(verdict, reason, used, size)

    def _snapshot(self, name):
        """Size and time of each file that reading kind ``name`` must leave alone."""
        may_change = [self.folder(name)] if kinds()[name].writes else []
        paths = [p for p in self.root.rglob("*") if not any(p == own or own in p.parents for own in may_change)]
        return {path: (status.st_size, status.st_mtime_ns) for path in paths if (status := path.lstat())}


@contextlib.contextmanager
def expired_after(seconds):
    """Raise TakesTooLong in the block after so many seconds, where the system has such a clock."""

    def expire(*_):
        raise TakesTooLong(f"more than {seconds} seconds")

    if not hasattr(signal, "setitimer"):
        yield
        return
    old = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# ------------------------------------------------------------------------------------------ many cases


class Table:
    """What became of the cases, a line per kind."""

    def __init__(self):
        self.verdicts, self.most = Counter(), {}

    def add(self, name, outcome):
        self.verdicts[name, outcome.verdict] += 1
        self.most[name] = max(self.most.get(name, (0, 0)), (outcome.memory, outcome.size))

    def __str__(self):
        verdicts = ("read", "ValueError", "OSError", "wrong")
        lines = [f"{'kind':44}{'cases':>8}" + "".join(f"{v:>11}" for v in verdicts) + "   most memory, of files of"]
        for kind in [*self.most, "all"]:
            kinds_meant = list(self.most) if kind == "all" else [kind]
            counts = [sum(self.verdicts[its, verdict] for its in kinds_meant) for verdict in verdicts]
            memory, size = max(self.most[its] for its in kinds_meant)
            line = f"{kind:44}{sum(counts):>8,}" + "".join(f"{n:>11,}" for n in counts)
            lines.append(f"{line}{memory / 1000:>11,.0f} KB{size / 1000:>9,.0f} KB")
        return "\n".join(lines)

    @property
    def wrong(self):
        return sum(n for (_, verdict), n in self.verdicts.items() if verdict == "wrong")


def fuzz(names, cases, seed):
    """Random changes, the same for the same seed."""
    from tqdm import tqdm

    table = Table()
    with tempfile.TemporaryDirectory() as root:
        sandbox = Sandbox(root)
        for name in names:  # what Python makes once, such as compiled patterns, is not the file's
            kinds()[name].read(sandbox.folder(name))
        for case in tqdm(range(cases), disable=None, leave=False):
            name = names[case % len(names)]
            rng = random.Random(f"{seed} {case}")
            file = rng.choice(kinds()[name].changed)
            content = mutate(kinds()[name].files[file], file, rng)
            outcome = sandbox.run(name, file, content)
            table.add(name, outcome)
            if outcome.verdict == "wrong":
                tqdm.write(f"{keep(name, file, content)}: {outcome.reason.strip().splitlines()[-1][:300]}")
    return table


def keep(name, file, content):
    """Write a case to FAILURES; its name tells the kind and the file."""
    FAILURES.mkdir(exist_ok=True)
    path = FAILURES / "--".join([name, file.replace("/", "+"), hashlib.sha256(content).hexdigest()[:8]])
    path.write_bytes(content)
    return path


def repeat(path):
    """The Outcome of a case that ``keep`` kept."""
    name, file, _ = Path(path).name.split("--")
    with tempfile.TemporaryDirectory() as root:
        return Sandbox(root).run(name, file.replace("+", "/"), Path(path).read_bytes())


def guided(names, seconds, seed):
    """Changes that atheris (libFuzzer) finds by the branches that they reach; a process for each file."""
    from tqdm import tqdm

    table = Table()
    pairs = [(name, file) for name in names for file in kinds()[name].changed]
    for name, file in tqdm(pairs, disable=None, leave=False):
        with tempfile.TemporaryDirectory() as root:
            if not (child := os.fork()):
                run_atheris(name, file, Path(root), seconds, seed)
            os.waitpid(child, 0)
            log = (Path(root) / "log").read_text(errors="replace")
            for line in (Path(root) / "outcomes").read_text().splitlines():
                verdict, memory, size = line.split()
                table.add(f"{name}: {file}", Outcome(verdict, "", int(memory), int(size)))
            coverage = re.findall(r"cov: (\d+)", log)
            tqdm.write(f"{name}: {file}: branches reached {coverage[0]} -> {coverage[-1]}" if coverage else log[-2000:])
    return table


def run_atheris(name, file, root, seconds, seed):
    """Does not return: libFuzzer ends its process."""
    import atheris

    corpus = root / "corpus"
    corpus.mkdir()
    (corpus / "valid").write_bytes(kinds()[name].files[file])
    sandbox = Sandbox(root / "sandbox")
    outcomes = open(root / "outcomes", "w", buffering=1)  # noqa: SIM115  open until the process ends

    def one(content):
        outcome = sandbox.run(name, file, content)
        outcomes.write(f"{outcome.verdict} {outcome.memory} {outcome.size}\n")
        if outcome.verdict == "wrong":
            keep(name, file, content)

    def mutated(content, most, rng_seed):
        content = content or kinds()[name].files[file]
        if rng_seed % 2:
            return mutate(content, file, random.Random(rng_seed))[:most]
        return atheris.Mutate(content, most)

    log = os.open(root / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = [f"-max_total_time={seconds}", f"-seed={seed + 1}", "-max_len=1000000", "-rss_limit_mb=0", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one, custom_mutator=mutated)
    atheris.Fuzz()
    os._exit(0)


def main():
    warnings.simplefilter("ignore")  # of a run's damaged checkpoint, thousands of times
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="such as model, trace, run; all of them by default")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", metavar="FILE", help=f"read a case in {FAILURES} again")
    parser.add_argument("--atheris", metavar="SECONDS", type=int, help="guided by coverage, so long for each file")
    options = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.atheris:
        import atheris

        with atheris.instrument_imports(include=["minigpt2", "json", "zipfile"]):
            kinds()
    if options.repeat:
        outcome = repeat(options.repeat)
        print(f"{outcome.verdict}, {outcome.memory:,} bytes of memory for {outcome.size:,} of files\n{outcome.reason}")
        sys.exit(outcome.verdict == "wrong")
    if unknown := set(options.kinds) - kinds().keys():
        parser.error(f"there is no kind {sorted(unknown)[0]!r}, only {', '.join(kinds())}")
    names = options.kinds or list(kinds())
    if options.atheris:
        table = guided(names, options.atheris, options.seed)
    else:
        table = fuzz(names, options.cases, options.seed)
    print(table)
    sys.exit(bool(table.wrong))


if __name__ == "__main__":
    main()
