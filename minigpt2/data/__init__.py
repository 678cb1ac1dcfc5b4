"""From text to batches: text files, windows of tokens, weighted mixtures, token files, and cleaning."""

from minigpt2.data.batches import mask_tokens, random_windows, split_documents
from minigpt2.data.text import (
    document_parts,
    documents,
    has_json_lines,
    load_text,
    locate,
    read_jsonl,
    read_lines,
    read_pieces,
    words,
)

__all__ = [
    "document_parts", "documents", "has_json_lines", "load_text", "locate", "mask_tokens", "random_windows",
    "read_jsonl", "read_lines", "read_pieces", "split_documents", "words",
]  # fmt: skip
