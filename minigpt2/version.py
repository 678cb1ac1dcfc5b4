"""The version of minigpt2."""

__version__ = "0.1.0"
