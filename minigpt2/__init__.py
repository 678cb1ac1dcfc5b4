"""minigpt2: GPT-2 in plain NumPy, every component's forward pass and hand-written backward pass."""

import os

from minigpt2.backend import keep_freed_memory
from minigpt2.components.optimizer import SGD, AdamW
from minigpt2.config import GPT2Config
from minigpt2.gradcheck import gradient_check
from minigpt2.model import GPT2
from minigpt2.parameters import flatten, unflatten
from minigpt2.tokenizer import Tokenizer
from minigpt2.trace import trace

__all__ = [
    "GPT2", "SGD", "AdamW", "GPT2Config", "Tokenizer", "flatten", "gradient_check", "trace", "unflatten",
]  # fmt: skip
__version__ = "0.1.0"

if os.environ.get("MINIGPT2_MALLOPT") != "0":
    keep_freed_memory()
