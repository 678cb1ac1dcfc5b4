"""Generation: GPT-2 predicts the next token, the token is appended, and GPT-2 predicts the one after.

Tokens are on the host, where they are read, and scores are where the model is: at each step the new tokens go there,
and what was chosen comes back, with word of scores that are not finite.

Shapes: B sequences of L tokens so far, V vocabulary, P positions (n_positions).
"""

import codecs
import math
from collections.abc import Iterable
from numbers import Integral, Real

import numpy as np
from tqdm import tqdm

from minigpt2.backend import array_module, to_host
from minigpt2.components.embedding import token_array
from minigpt2.sampling import apply_repetition_penalty, draw, next_token_probs


def generate(model, ids, max_new_tokens=20, **options):
    """Continue token ids.

    model: GPT2
    ids:   (T,) or (B, T) integers, one prompt or B prompts of equal length; lists are welcome
    max_new_tokens, options: named and explained in ``stream``, on which this is built
    returns the prompt and its n new tokens, (T + n,) or (B, T + n), int64. n is max_new_tokens, or less if
        every sequence stopped before; one that stopped before the others repeats its stop token. With
        num_samples > 1 the shape is (B num_samples, T + n), samples of the same prompt side by side.
    raises: as ``stream``.
    """
    columns = list(stream(model, ids, max_new_tokens, **options))
    ids = token_array(ids, "ids")
    rows = np.repeat(_prompts(model, ids), options.get("num_samples", 1), axis=0)
    rows = np.concatenate([rows, *(np.asarray(tokens).reshape(-1, 1) for tokens in columns)], axis=1)
    return rows[0] if ids.ndim == 1 and len(rows) == 1 else rows


def stream(
    model, ids, max_new_tokens=20, temperature=0.0, top_k=None, top_p=None, seed=0,
    repetition_penalty=1.0, stop=None, num_samples=1, beams=1, use_cache=True,
):  # fmt: skip
    """Continue token ids, one token at a time.

        x_L ~ p(x_L | x_0 ... x_{L-1}),   L = T, T + 1, ...

    A token is predicted from the P tokens before it. Up to P, keys and values of earlier tokens are
    remembered and only the newest token is read. Beyond P the window slides, and since GPT-2 learned a
    vector for each absolute position, every step moves every token to another one: all P are read again.

    model:          GPT2
    ids:            (T,) or (B, T) integers, one prompt or B prompts of equal length; lists are welcome
    max_new_tokens: how many tokens to add at most
    temperature:    0 takes the best token each time (greedy), of equals that with the lowest id;
                    above 0 draws one from ``next_token_probs``, 1 as the model predicts
    top_k, top_p:   what may be drawn, see ``keep_top_k`` and ``keep_top_p``; None: every token
    seed:           integer; the same seed draws the same tokens. Or a numpy.random.Generator, or a list of them, one
                    for each row of tokens: what a row draws then does not depend on the others
    repetition_penalty: above 1 makes tokens that occurred less likely, see ``apply_repetition_penalty``
    stop:           a token id, or several, that end a sequence
    num_samples:    continuations of each prompt; they can differ where the temperature is above 0
    beams:          above 1 looks for the likeliest continuation with ``beam_search``, without drawing
    use_cache:      False reads everything again at each step: the same tokens, only slower
    returns a generator of the new tokens: an int at a time for one sequence, else (B num_samples,) NumPy arrays.
        It ends when every sequence has stopped; one that stops before the others repeats its stop token.
        From beam search all tokens come at the end, as none of them is certain before.
    raises: TypeError or ValueError for arguments of the wrong kind or out of range; at once, not only when
        the first token is asked for.
    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2, eq. 1.
    """
    ids = token_array(ids, "ids")
    prompts = _prompts(model, ids)
    _check("max_new_tokens", max_new_tokens, Integral, lambda n: n >= 0, "an integer, 0 or more")
    _check("temperature", temperature, Real, lambda t: 0 <= t < math.inf, "a number, 0 (greedy) or above")
    if top_k is not None:
        _check("top_k", top_k, Integral, lambda k: k >= 1, "an integer, 1 or more; None keeps all tokens")
    if top_p is not None:
        _check("top_p", top_p, Real, lambda p: 0 < p <= 1, "a number in (0, 1]; None keeps all tokens")
    _check("repetition_penalty", repetition_penalty, Real, lambda r: 0 < r < math.inf, "a number above 0")
    _check("num_samples", num_samples, Integral, lambda n: n >= 1, "an integer, 1 or more")
    _check("beams", beams, Integral, lambda n: n >= 1, "an integer, 1 or more")
    V = model.config.vocab_size
    stop = _as_list(stop)
    for token in stop:
        _check("stop", token, Integral, lambda i: 0 <= i < V, f"a token id in 0 ... {V - 1}, or several")

    if beams > 1:
        if temperature > 0 or top_k is not None or top_p is not None or num_samples > 1:
            raise ValueError(
                f"beams={beams} looks for the likeliest text, while temperature, top_k, top_p and "
                "num_samples are for drawing; leave them out, or use beams=1"
            )
        columns = _beam_columns(model, prompts, max_new_tokens, beams, stop, repetition_penalty, use_cache)
    else:
        rng = _RowGenerators(seed) if isinstance(seed, list) else np.random.default_rng(seed)

        def choose(scores):
            if temperature == 0:
                return scores.argmax(axis=-1)
            return draw(next_token_probs(scores, temperature, top_k, top_p), rng)

        columns = _columns(model, prompts, max_new_tokens, num_samples, stop, repetition_penalty, use_cache, choose)
    one = ids.ndim == 1 and num_samples == 1
    return (int(tokens[0]) for tokens in columns) if one else columns


def stream_text(model, tokenizer, prompt, max_new_tokens=20, stop=None, **options):
    """Continue a text, piece by piece.

    A token may end within a character; its last bytes are then held back until the character is whole.

    model: GPT2; tokenizer: the Tokenizer or CharTokenizer that belongs to it
    prompt: str, at least one character
    max_new_tokens, stop, options: as in ``stream``, for one sample
    returns a generator of str, none empty. Joined they are the text of the new tokens up to the stop token,
        which is not part of the text.
    raises: as ``stream``.
    """
    if options.get("num_samples", 1) != 1:
        raise ValueError("stream_text writes one text; for several call it with several seeds")
    tokens = stream(model, tokenizer.encode(prompt), max_new_tokens, stop=stop, **options)
    return _pieces(tokens, tokenizer, _as_list(stop))


def _pieces(tokens, tokenizer, stop):
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        if token in stop:
            break
        if piece := decoder.decode(tokenizer.decode_bytes([token])):
            yield piece
    if piece := decoder.decode(b"", final=True):
        yield piece


# What turns the model's scores into a choice, in the order in which it is applied.


def beam_search(model, ids, max_new_tokens, beams, stop=(), repetition_penalty=1.0, use_cache=True):
    """Look for the likeliest continuation: keep the best few at each step instead of only one.

        score(x_T ... x_{T+n-1}) = (1 / n) sum_t log p(x_t | x_0 ... x_{t-1})

    Each step extends every beam by every token and ranks the results by the sum of their log p. Those among
    the first ``beams`` that end (with a stop token, or with the last step) are finished; the best ones that
    do not end go on. The search is over when ``beams`` have finished and the best running one scores no
    better than the worst of them: a heuristic, since a later token may still raise a mean. Without the
    division by n, short texts would win.

    model: GPT2; ids: (T,) array, the prompt; max_new_tokens: steps at most; beams: how many to keep
    stop:  token ids that end a sequence
    repetition_penalty: as in ``apply_repetition_penalty``, here on log p
    use_cache: as in ``stream``
    returns the tokens (n,) after the prompt of the best finished sequence.
    Source: Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks", section 3.2. Division
        and end of search as in transformers (length_penalty=1.0, early_stopping=False).
    """
    T = len(ids)
    running, totals = ids[None], np.zeros(1)  # (B, L) sequences and (B,) their sums of log p
    finished = []  # (score, sequence), best first
    past = _key_value_cache(model, running, max_new_tokens) if use_cache else None
    for n in tqdm(range(1, max_new_tokens + 1), "beam search", delay=2, disable=None, leave=False):
        logits = _next_logits(model, running, past)
        xp = array_module(logits)
        with np.errstate(invalid="ignore"):  # of scores that are not finite, which _chosen finds
            log_probs = _log_softmax(logits)
            if repetition_penalty != 1:
                log_probs = apply_repetition_penalty(log_probs, xp.asarray(running), repetition_penalty)
            sums = (xp.asarray(totals)[:, None] + log_probs).ravel()
            # So many that ``beams`` of them go on even if each beam can end with every stop token.
            best = _indices_of_largest(sums, (1 + len(stop)) * beams)
        sums, best = to_host(sums[best]), _chosen(best, logits)
        parents, tokens = np.divmod(best, log_probs.shape[1])
        candidates = np.concatenate([running[parents], tokens[:, None]], axis=1)
        stops = np.isin(tokens, stop)

        for i in range(min(beams, len(best))):
            if stops[i] or n == max_new_tokens:
                finished.append((float(sums[i]) / n, candidates[i]))
        finished = sorted(finished, key=lambda pair: -pair[0])[:beams]
        onward = np.flatnonzero(~stops)[:beams]
        running, totals = candidates[onward], sums[onward]
        if not len(onward) or (len(finished) == beams and float(totals[0]) / n <= finished[-1][0]):
            break
        if past:
            past.select(parents[onward])
    return finished[0][1][T:] if finished else ids[:0]


def _columns(model, ids, max_new_tokens, num_samples, stop, repetition_penalty, use_cache, choose):
    """Yield the (B num_samples,) next tokens of all sequences until they have stopped."""
    P = model.config.n_positions
    stopped = np.zeros(len(ids) * num_samples, bool)
    past = _key_value_cache(model, ids, max_new_tokens) if use_cache else None
    for step in range(max_new_tokens):
        scores = logits = _next_logits(model, ids, past)
        xp = array_module(logits)
        if step == 0 and num_samples > 1:  # the prompt has been read once, and each sample goes on from there
            samples = np.repeat(np.arange(len(ids)), num_samples)
            ids, scores = ids[samples], xp.repeat(logits, num_samples, axis=0)
            if past:
                past.select(samples)
        with np.errstate(invalid="ignore"):  # of scores that are not finite, which _chosen finds
            if repetition_penalty != 1:
                scores = apply_repetition_penalty(scores, xp.asarray(ids), repetition_penalty)
            tokens = choose(scores)
        tokens = np.where(stopped, ids[:, -1], _chosen(tokens, logits))
        ids = np.concatenate([ids, tokens[:, None]], axis=1)
        if repetition_penalty == 1:  # which alone asks for tokens that the model no longer reads
            ids = ids[:, -P - 1 :]
        stopped |= np.isin(tokens, stop)
        yield tokens
        if stopped.all():
            return


class _RowGenerators:
    """A numpy.random.Generator for each row, which together draw like one."""

    def __init__(self, generators):
        self.generators = generators

    def random(self, n):
        if n != len(self.generators):
            raise ValueError(f"seed: there are {len(self.generators)} generators, but {n} rows of tokens")
        return np.array([generator.random() for generator in self.generators])


def _beam_columns(model, prompts, max_new_tokens, *options):
    """Yield the (B,) next tokens of the sequences that beam search finds, one prompt after the other."""
    found = [beam_search(model, ids, max_new_tokens, *options) for ids in prompts]
    for step in range(max(len(tokens) for tokens in found)):
        yield np.stack([tokens[min(step, len(tokens) - 1)] for tokens in found])


def _next_logits(model, ids, past):
    """The scores (B, V) of what may follow ids (B, L), from the last P of them."""
    P = model.config.n_positions
    if past is None or ids.shape[1] > P:
        ids, past = ids[:, -P:], None
    else:
        ids = ids[:, past.length :]  # what has not been read yet: the prompt, then a token each time
    return model.forward(ids, past=past, positions=slice(-1, None), keep=False)[0][:, 0]


def _chosen(indices, logits):
    """What was chosen by these logits, on the host; ValueError where they are not finite.

    Both are learned from one transfer: where they are not, -1 was chosen.
    """
    xp = array_module(logits)
    indices = to_host(xp.where(xp.isfinite(logits).all(), indices, -1))
    if indices[0] < 0:
        raise ValueError("the model's logits are not finite: its weights hold NaN or inf, or overflow")
    return indices


def _key_value_cache(model, ids, max_new_tokens):
    """An empty cache with room for all that will ever be in it, which is at most P tokens."""
    return model.key_value_cache(len(ids), min(ids.shape[1] + max_new_tokens, model.config.n_positions))


def _log_softmax(x):
    xp = array_module(x)
    x = x.astype("float64")  # beams are compared by sums over many tokens
    x -= x.max(axis=-1, keepdims=True)
    return x - xp.log(xp.exp(x).sum(axis=-1, keepdims=True))


def _indices_of_largest(x, k):
    """Indices of the k largest of x (N,), the largest first; of all where N < k."""
    xp = array_module(x)
    k = min(k, len(x))
    indices = xp.argpartition(-x, k - 1)[:k]
    return indices[xp.argsort(-x[indices])]


def _prompts(model, ids):
    """The prompts as (B, T) int64, or an error that says what is wrong with them."""
    if ids.ndim not in (1, 2) or 0 in ids.shape:
        raise ValueError(
            f"ids must be (T,) or (B, T) with at least one token to continue, got shape {ids.shape}; "
            "where there is no prompt, begin with the token <|endoftext|>"
        )
    low, high, V = int(ids.min()), int(ids.max()), model.config.vocab_size
    if low < 0 or high >= V:
        raise ValueError(
            f"ids must lie in 0 ... {V - 1}, got {low} ... {high}; does the tokenizer belong to this model?"
        )
    return ids.reshape(-1, ids.shape[-1]).astype("int64")


def _as_list(stop):
    if stop is None:
        return []
    return list(stop) if isinstance(stop, Iterable) else [stop]


def _check(name, value, kind, valid, wanted):
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    if not valid(value):
        raise ValueError(f"{name} must be {wanted}, got {value}")
