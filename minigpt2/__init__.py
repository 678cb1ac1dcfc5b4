"""minigpt2: GPT-2 in plain NumPy, every component's forward pass and hand-written backward pass."""

import sys
from pathlib import Path

try:
    from minigpt2.components.optimizer import SGD, AdamW
    from minigpt2.config import GPT2Config
    from minigpt2.gradcheck import gradient_check
    from minigpt2.model import GPT2
    from minigpt2.parameters import flatten, unflatten
    from minigpt2.tokenizer import Tokenizer
    from minigpt2.verification.trace import trace
    from minigpt2.version import __version__
except KeyboardInterrupt:  # the command line begins with these imports, and Ctrl-C ends it without a traceback
    if Path(sys.argv[0]).stem in ("-m", "minigpt2"):
        sys.exit(130)
    raise

__all__ = [
    "GPT2", "SGD", "AdamW", "GPT2Config", "Tokenizer", "__version__", "flatten", "gradient_check", "trace", "unflatten",
]  # fmt: skip
