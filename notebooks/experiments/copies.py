"""Does the built-in model copy its training text (notebook 5)? As in section 8.2 of the GPT-2 paper.

    python notebooks/experiments/copies.py --data shakespeare.txt

The built-in model continues 100 prompts from the tenth of tiny Shakespeare that it was not trained on, with 240 tokens
each. Of each sample, the share of n-grams of words is counted that stand in the other nine tenths, for n = 4 and 8.
Beside it the text that really follows the prompts, and stretches of the training text itself, which show that copies
would be seen.
"""

import argparse
from pathlib import Path

import numpy as np

import minigpt2
from minigpt2.data import load_text
from minigpt2.data.cleaning import ngram_hashes, word_hashes
from minigpt2.storage.files import write_json

PROMPT, LENGTH, PROMPTS = 16, 240, 100
SAMPLINGS = {"temperature 1": {"temperature": 1.0}, "temperature 1, top-k 40": {"temperature": 1.0, "top_k": 40},
             "temperature 0.5": {"temperature": 0.5}, "greedy": {"temperature": 0.0}}  # fmt: skip


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shakespeare", help="tiny Shakespeare, or 'shakespeare' for a download")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="folder for copies.json")
    options = parser.parse_args(arguments)
    text = load_text([options.data])
    training, held_out = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]
    shares = copies(training, held_out)
    write_json(options.results / "copies.json", shares)
    for writer, by_n in shares.items():
        print(f"{writer:26}", *(f"n = {n}: mean {np.mean(found):.4f}" for n, found in by_n.items()))


def passages(tokenizer, text):
    """Prompts (PROMPTS, PROMPT) from evenly spaced places of a text, and what follows them there."""
    ids = np.array(tokenizer.encode(text))
    starts = np.linspace(0, len(ids) - PROMPT - LENGTH, PROMPTS).astype(int)
    windows = ids[starts[:, None] + np.arange(PROMPT + LENGTH)]
    return windows[:, :PROMPT], [tokenizer.decode(row) for row in windows[:, PROMPT:]]


def copies(training, held_out):
    """{writer: {n: the shares of n-grams that stand in the training text, one per text}}"""
    model, tokenizer = (part.from_pretrained("shakespeare") for part in (minigpt2.GPT2, minigpt2.Tokenizer))
    prompts, human = passages(tokenizer, held_out)
    texts = {"training text": passages(tokenizer, training)[1], "held-out text": human}
    for name, sampling in SAMPLINGS.items():
        ids = model.generate(prompts, LENGTH, seed=0, **sampling)
        texts[name] = [tokenizer.decode(row[PROMPT:]) for row in ids]
    shares = {writer: {} for writer in texts}
    for n in (4, 8):
        known = np.unique(ngram_hashes(word_hashes(training), n))
        for writer, written in texts.items():
            found = [np.isin(ngram_hashes(word_hashes(text), n), known).mean() for text in written]
            shares[writer][str(n)] = [round(float(share), 4) for share in found]
    return shares


if __name__ == "__main__":
    main()
