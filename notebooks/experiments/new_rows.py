"""A trained model with new random vectors for the tokens that never occur in the texts it was trained on.

    python notebooks/experiments/new_rows.py --model runs/general --data a.txt b.txt --seed 1 --out runs/new

Training did change them: whenever another token was right, theirs were made a little less likely.
"""

import argparse

import numpy as np

from minigpt2 import GPT2, Tokenizer
from minigpt2.data.mixture import Mixture, read_corpora


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the trained model")
    parser.add_argument("--data", nargs="+", required=True, help="the texts that it was trained on")
    parser.add_argument("--seed", type=int, default=0, help="for the new vectors")
    parser.add_argument("--out", required=True, help="folder of the new model")
    options = parser.parse_args(arguments)
    model, tokenizer = GPT2.from_pretrained(options.model), Tokenizer.from_pretrained(options.model)
    new = ~np.isin(np.arange(len(tokenizer)), read_tokens(options.data, tokenizer))
    table = model.params["wte"]["weight"]
    rows = np.random.default_rng(options.seed).normal(0.0, model.config.initializer_range, table[new].shape)
    table[new] = rows.astype(table.dtype)
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    print(f"{new.sum()} of {len(new)} tokens have a new vector")


def read_tokens(data, tokenizer):
    """The ids of the tokens that occur in the training parts of texts."""
    corpora = Mixture(read_corpora(data), tokenizer, block_size=1).corpora
    return np.unique(np.concatenate([corpus.train_ids for corpus in corpora]))


if __name__ == "__main__":
    main()
