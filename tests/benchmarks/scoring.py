"""The work of an evaluation: the built-in model scores a text and many last words; minigpt2 against transformers.

Both read the same batches of the same tokens; transformers makes the logits of the positions that count, no more.
"""

import numpy as np
from race import Workload
from texts import english

from minigpt2 import GPT2, Tokenizer
from minigpt2.evaluation import total_nats
from minigpt2.storage import hub
from minigpt2.tasks.likelihood import TOKENS_AT_A_TIME, continuation_log_probs

TOKENS = 32_768  # of the text: 128 windows of 256, no matter how they are batched
PASSAGES, LAST = 256, 3  # passages of 20 to 120 tokens, of which the last are scored


def net(contestant):
    folder = hub.locate("shakespeare")
    if contestant == "minigpt2":
        return GPT2.from_pretrained(folder)
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(folder, dtype="float32").eval()


def ids():
    return np.asarray(Tokenizer.from_pretrained("shakespeare").encode(english()[: 8 * TOKENS]))[: TOKENS + 1]


def perplexity(contestant, folder):
    """-log p of every token, in windows that do not overlap. Comes to the nats."""
    model, tokens = net(contestant), ids()
    if contestant == "minigpt2":
        return lambda: total_nats(model, tokens)
    import torch

    T = model.config.n_positions
    inputs = torch.from_numpy(tokens[:-1].reshape(-1, T))
    targets = torch.from_numpy(tokens[1:].reshape(-1, T))
    B = TOKENS_AT_A_TIME // T

    @torch.inference_mode()
    def turn():
        total = 0.0
        for x, y in zip(inputs.split(B), targets.split(B), strict=True):
            logits = model(x, use_cache=False).logits
            total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
        return total

    return turn


def last_words(contestant, folder):
    """log p of the last tokens of passages of unequal length, sorted and padded. Comes to their sum."""
    model, tokens, rng = net(contestant), ids(), np.random.default_rng(0)
    lengths = rng.integers(20, 121, PASSAGES)
    starts = rng.integers(0, TOKENS - 120, PASSAGES)
    passages = [tokens[start : start + n] for start, n in zip(starts, lengths, strict=True)]
    if contestant == "minigpt2":
        first = [len(passage) - LAST for passage in passages]
        return lambda: float(sum(scores.sum() for scores, _ in continuation_log_probs(model, passages, first)))
    import torch

    order, batches = sorted(range(PASSAGES), key=lambda i: -lengths[i]), []
    while order:
        size = max(1, TOKENS_AT_A_TIME // lengths[order[0]])
        batches.append([passages[i] for i in order[:size]])
        order = order[size:]

    @torch.inference_mode()
    def turn():
        total = 0.0
        for rows in batches:
            T, shortest = len(rows[0]), min(map(len, rows))
            x, y = torch.zeros((len(rows), T), dtype=torch.int64), torch.full((len(rows), T), -100)
            for row, passage in enumerate(rows):
                x[row, : len(passage)] = torch.from_numpy(passage)
                y[row, len(passage) - LAST : len(passage)] = torch.from_numpy(passage[-LAST:])
            counted = T - shortest + LAST  # positions, from the end
            logits = model(x[:, :-1], use_cache=False, logits_to_keep=counted).logits
            y = y[:, 1:][:, -counted:].flatten()
            total -= torch.nn.functional.cross_entropy(logits.flatten(0, 1), y, reduction="sum").item()
        return total

    return turn


WORKLOADS = {
    "perplexity": Workload(
        "perplexity, built-in model", perplexity, ("minigpt2", "transformers"), TOKENS, "tokens",
    ),
    "last-words": Workload(
        "last words, built-in model", last_words, ("minigpt2", "transformers"), PASSAGES, "passages",
    ),
}  # fmt: skip
