"""Tools to verify another GPT-2: traces, their first divergence, the likely mistake, and checks of our own code."""

from minigpt2.verification.recorder import Recorder, record

__all__ = ["Recorder", "record"]
