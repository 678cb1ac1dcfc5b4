"""``python -m minigpt2`` is the same as ``minigpt2``."""

import sys

from minigpt2.cli import main

sys.exit(main())
