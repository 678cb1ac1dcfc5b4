"""The log-probability of given tokens after others, for many sequences at once.

Shapes: B sequences at a time, T tokens in the longest of them, V vocabulary, P positions (n_positions).
"""

import math

import numpy as np

from minigpt2.backend import array_module, at_a_time, to_host
from minigpt2.parallel import in_parallel
from minigpt2.progress import progress_bar

TOKENS_AT_A_TIME = 4096
CHUNK = 1 << 18  # logits processed at a time: they fit into the processor's cache


def continuation_log_probs(model, sequences, starts, excluded=(), progress=False):
    """log p of each token of each sequence from its start on, given all tokens before it.

        log p(x_t | x_0 ... x_{t-1}),   t = start ... L - 1

    Sequences are sorted by length and read in batches, padded at the end, where earlier tokens never look. Of a
    sequence of more than P + 1 tokens the last P + 1 are kept: the last one is predicted and not read.

    model:     GPT2
    sequences: lists or arrays of integers (L,), of any lengths
    starts:    for each sequence the position of the first token to score, 1 ... L - 1
    excluded:  token ids ruled out as the greedy choice of the first scored token; log p stays the same
    progress:  True shows a bar on standard error
    returns a list of (log_probs, greedy) in the order of the sequences: float64 (L - start,) in nats, and bool
        (L - start,), whether the token is the most likely one (on ties, the one with the lowest id).
    raises: ValueError when a start is out of range, or the tokens to score do not fit into P.
    """
    P = model.config.n_positions
    kept = [np.asarray(sequence)[-P - 1 :] for sequence in sequences]
    first = np.asarray([start - max(len(ids) - P - 1, 0) for start, ids in zip(starts, sequences, strict=True)])
    for i in range(len(kept)):
        if not 1 <= starts[i] < len(sequences[i]):
            raise ValueError(
                f"sequence {i}: start must be 1 ... {len(sequences[i]) - 1}, got {starts[i]}; "
                "the first token has none before it"
            )
        if first[i] < 1:
            raise ValueError(
                f"sequence {i}: {len(sequences[i]) - starts[i]} tokens to score, but the model looks at {P}, "
                "and one must come before them"
            )
    results = [None] * len(kept)
    with progress_bar(desc="scoring", total=len(kept), show=progress) as bar:
        for batch in _batches([len(ids) for ids in kept]):
            ids, real = _pad([kept[i] for i in batch])
            begin = first[batch].min()
            logits, _ = model.forward(ids[:, :-1], positions=slice(begin - 1, None), keep=False)
            wanted = real & (np.arange(ids.shape[1]) >= first[batch, None])
            scores = _score(logits, ids[:, begin:], wanted[:, begin:], excluded)
            for i, score in zip(batch, scores, strict=True):
                results[i] = score
            bar.update(len(batch))
    return results


def shared_prefix_log_probs(model, prefix, continuations):
    """log p of each token of several continuations of one prefix, which is read only once.

    The same as ``continuation_log_probs`` of prefix + continuation, from the prefix's end on; but if not all of
    them fit into P tokens, the prefix loses its beginning, the same amount for each continuation.

    prefix: (L,) integers, at least one; continuations: lists or arrays of integers, at least one each
    returns a list of (log_probs, greedy) as ``continuation_log_probs`` does.
    raises: ValueError when the longest continuation leaves no room for a token of the prefix, or one is empty.
    """
    P = model.config.n_positions
    lengths = [len(continuation) for continuation in continuations]
    if not lengths or min(lengths) < 1 or len(prefix) < 1:
        raise ValueError("a prefix and continuations of at least one token each are needed")
    if max(lengths) > P:
        raise ValueError(f"a continuation of {max(lengths)} tokens leaves no room for what comes before it in {P}")
    prefix = np.asarray(prefix)[-(P + 1 - max(lengths)) :]
    past = model.key_value_cache(1, len(prefix) + max(lengths) - 1)
    logits, _ = model.forward(prefix[None], past=past, positions=slice(-1, None), keep=False)
    xp = array_module(logits)
    logits = xp.repeat(logits, len(lengths), axis=0)
    ids, real = _pad([np.asarray(continuation) for continuation in continuations])
    if max(lengths) > 1:
        past.select(np.zeros(len(lengths), "int64"))
        later, _ = model.forward(ids[:, :-1], past=past, keep=False)
        logits = xp.concatenate([logits, later], axis=1)
    return _score(logits, ids, real)


def _batches(lengths):
    """Indices of sequences to read together, the longest first: about TOKENS_AT_A_TIME tokens each."""
    order = np.argsort([-length for length in lengths], kind="stable")
    done = 0
    while done < len(order):
        batch = order[done : done + max(1, TOKENS_AT_A_TIME // lengths[order[done]])]
        yield batch
        done += len(batch)


def _pad(rows):
    """The rows as one array (B, T), padded with zeros at their ends, and a mask of the tokens in it."""
    lengths = np.asarray([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(real.shape, "int64")
    ids[real] = np.concatenate(rows)
    return ids, real


def _score(logits, targets, wanted, excluded=()):
    """log p of the wanted targets and whether each is the greedy choice, a pair of arrays for each row.

    logits: (B, T, V); targets: (B, T) integers; wanted: (B, T) bool; excluded: as in ``continuation_log_probs``
    """
    xp = array_module(logits)
    rows = logits.reshape(-1, logits.shape[-1])
    where = np.flatnonzero(wanted)
    targets = targets.ravel()[where]
    counts = wanted.sum(axis=1)
    is_first = np.zeros(len(where), bool)
    is_first[counts.cumsum() - counts] = True  # the first of each row
    excluded = xp.asarray(list(excluded), "int64")

    places, ids = xp.asarray(where), xp.asarray(targets)
    log_probs, best = xp.empty(len(where)), xp.empty(len(where), "int64")
    size = max(1, at_a_time(rows, CHUNK) // rows.shape[1])

    def score(chunk):
        x = rows[places[chunk]]
        n = xp.arange(len(x))
        best[chunk] = x.argmax(axis=-1)
        x -= x[n, best[chunk]][:, None]  # so that exp cannot overflow
        log_sum = xp.log(xp.exp(x) @ xp.ones(x.shape[1], x.dtype))
        log_probs[chunk] = x[n, ids[chunk]].astype("float64") - log_sum
        if excluded.size and is_first[chunk].any():
            x[xp.ix_(xp.asarray(np.flatnonzero(is_first[chunk])), excluded)] = -math.inf
            best[chunk] = x.argmax(axis=-1)

    in_parallel(score, [slice(start, start + size) for start in range(0, len(where), size)], xp)
    log_probs, greedy = to_host(log_probs), to_host(best) == targets
    if not np.isfinite(log_probs).all():
        raise ValueError("the model's logits are not finite: its weights hold NaN or inf, or overflow")
    ends = counts.cumsum()[:-1]
    return list(zip(np.split(log_probs, ends), np.split(greedy, ends), strict=True))
