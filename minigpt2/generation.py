"""Generation: GPT-2 predicts the next token, the token is appended, and GPT-2 predicts the one after.

Tokens are on the host, where they are read, and scores are where the model is: at each step the new tokens go to the
model, and the chosen ones come back with a flag for scores that are not finite.

Shapes: B sequences of L tokens so far, V vocabulary, P positions (n_positions).
"""

import codecs
import dataclasses
from collections.abc import Iterable
from itertools import takewhile
from numbers import Integral

import numpy as np

from minigpt2.backend import array_module, to_host
from minigpt2.components.embedding import token_array
from minigpt2.progress import progress_bar
from minigpt2.sampling import COUNT, Sampling, apply_repetition_penalty, check_option, keep_allowed


def generate(model, ids, max_new_tokens=20, *, stop=None, use_cache=True, **options):
    """Continue token ids.

    model, ids, max_new_tokens, stop, use_cache, options: as in ``stream``
    returns the prompt and its n new tokens, (T + n,) or (B, T + n), int64. n is max_new_tokens, or less if
        all sequences stop earlier; one that stops before the others repeats its stop token. With
        num_samples > 1 the shape is (B num_samples, T + n), samples of the same prompt side by side.
        For prompts of unequal length a list of as many arrays, each (T + n,) up to its own stop token.
    raises: as ``stream``.
    """
    stop = _as_list(stop)
    prompts, one, columns = _begin(model, ids, max_new_tokens, stop, use_cache, options)
    new = _rows(columns, prompts)
    if _unequal(prompts):
        return [np.append(prompt, _up_to_stop(tokens, stop)) for prompt, tokens in zip(prompts, new, strict=True)]
    rows = np.concatenate([prompts, new], axis=1)
    return rows[0] if one else rows


def stream(model, ids, max_new_tokens=20, *, stop=None, use_cache=True, **options):
    """Continue token ids, one token at a time.

        x_L ~ p(x_L | x_0 ... x_{L-1}),   L = T, T + 1, ...

    A token is predicted from the P tokens before it. Up to P, keys and values of earlier tokens are
    remembered and only the newest token is read. Beyond P the window slides, and since GPT-2 learned a
    vector for each absolute position, every step moves every token to another one: all P are read again.

    Prompts of unequal length are filled up at the left, to the length of the longest. No token sees what fills them
    up, and positions count from the first token of each prompt: what follows a prompt is what follows it alone. As soon
    as the longest is beyond P, all of them are read again at every step.

    model:          GPT2
    ids:            (T,) or (B, T) integers, one prompt or B prompts; or a list of B arrays or lists, where their
                    lengths differ
    max_new_tokens: how many tokens to add at most
    stop:           a token id, or several, that end a sequence
    use_cache:      False reads everything again at each step: the same tokens, only slower
    options:        the fields of ``Sampling``: temperature, top_k, top_p, repetition_penalty, seed, num_samples, beams,
                    allowed
    returns a generator of the new tokens: an int at a time for one sequence, else (B num_samples,) NumPy arrays.
        It ends when every sequence has stopped; one that stops before the others repeats its stop token.
        From beam search all tokens come at the end, as none of them is certain before.
    raises: TypeError or ValueError for arguments of the wrong kind or out of range; at once, not only when
        the first token is asked for. Later, ValueError for a model whose scores are not finite.
    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2, eq. 1.
    """
    _, one, columns = _begin(model, ids, max_new_tokens, _as_list(stop), use_cache, options)
    return _integers(columns) if one else columns


def stream_text(
    model, tokenizer, prompt, max_new_tokens=20, *, stop=None, use_cache=True, allow_special=False, **options
):
    """Continue a text, piece by piece.

    A token may end within a character; its last bytes are then held back until the character is whole. Ids that the
    tokenizer does not know, as in a vocabulary that was padded, are not chosen, except those in ``stop``.

    model: GPT2; tokenizer: the Tokenizer or CharTokenizer that belongs to it
    prompt: str; where it is empty, the text begins as ``prompt_ids`` says
    allow_special: as in ``Tokenizer.encode``, for the prompt
    max_new_tokens, stop, use_cache, options: as in ``stream``, for one sample
    returns a generator of str, none empty. Joined they are the text of the new tokens up to the stop token,
        which is not part of the text.
    raises: as ``stream``.
    """
    if options.get("num_samples", 1) != 1:
        raise ValueError("stream_text writes one text; for several call it with several seeds")
    stop, ids = _as_list(stop), prompt_ids(model, tokenizer, prompt, allow_special)
    options = {"allowed": [*tokenizer.known_ids, *stop]} | options
    _, _, columns = _begin(model, ids, max_new_tokens, stop, use_cache, options)
    return _pieces(_integers(columns), tokenizer, stop)


def generate_texts(
    model, tokenizer, prompts, max_new_tokens=20, *, stop=None, use_cache=True, allow_special=False, **options
):
    """Continue several texts at once.

    Each prompt draws what it would alone, also beside others that have as many tokens.

    prompts: list of str
    model, tokenizer, max_new_tokens, stop, use_cache, allow_special, options: as in ``stream_text``
    returns list of str, the continuations, num_samples of each prompt side by side, without their stop tokens.
    raises: as ``stream``.
    """
    if isinstance(prompts, str) or not isinstance(prompts, Iterable):
        raise TypeError(f"prompts must be a list of str, got {prompts!r}; a single one is [prompt]")
    stop, ids = _as_list(stop), [prompt_ids(model, tokenizer, prompt, allow_special) for prompt in prompts]
    if not ids:
        return []
    options = {"allowed": [*tokenizer.known_ids, *stop]} | options
    prompts, _, columns = _begin(model, ids, max_new_tokens, stop, use_cache, options, in_turn=False)
    columns = progress_bar(columns, "generating", max_new_tokens, unit="token", delay=2)
    return ["".join(_pieces(row, tokenizer, stop)) for row in _rows(columns, prompts).tolist()]


def prompt_ids(model, tokenizer, prompt, allow_special=False):
    """The token ids of a prompt.

    An empty one is the end token, which stood before each document that the model was trained on. In a vocabulary
    without an end token it is a new line, or else the first token.

    model, tokenizer, prompt, allow_special: as in ``stream_text``
    returns list of int, one or more.
    """
    _check_model(model)
    if not hasattr(tokenizer, "known_ids"):
        raise TypeError(
            f"tokenizer must be a Tokenizer or a CharTokenizer, got {type(tokenizer).__name__}; "
            "Tokenizer.from_pretrained reads the folder of any other"
        )
    if ids := tokenizer.encode(prompt, allow_special=allow_special):
        return ids
    bos = model.config.bos_token_id
    if ends := end_ids(model, tokenizer) or [i for i in [bos] if i in range(model.config.vocab_size)]:
        return ends[:1]
    known = tokenizer.known_ids
    return [next((i for i in known if tokenizer.decode_bytes([i]) == b"\n"), known[0])]


def end_ids(model, tokenizer):
    """The ids that end a text: the tokenizer's, and those of the model's configuration, which may differ."""
    ends = [*tokenizer.eos_ids, *_as_list(model.config.eos_token_id)]
    return list(dict.fromkeys(i for i in ends if i in range(model.config.vocab_size)))


def before_stop(tokens, stop):
    """An iterator over the tokens before the first one in ``stop``; all of them where there is none."""
    return takewhile(lambda token: token not in stop, tokens)


def _begin(model, ids, max_new_tokens, stop, use_cache, options, in_turn=True):
    """Check the arguments of ``stream`` (``stop`` a list, ``options`` a dict) and prepare what they ask for.

    in_turn: whether prompts of equal length draw from one generator in turn
    returns a list of the prompts (T,), each as often as it is continued; whether there is only one sequence, whose
        prompt was given as (T,); and a generator of the next tokens of all, arrays (B num_samples,).
    """
    names = [field.name for field in dataclasses.fields(Sampling)]
    if unknown := [name for name in options if name not in names]:
        raise TypeError(f"unknown option {unknown[0]!r}; the options are {', '.join(names)}, stop and use_cache")
    _check_model(model)
    V = model.config.vocab_size
    prompts, one = _prompts(ids, V)
    check_option("max_new_tokens", max_new_tokens, *COUNT)
    for token in stop:
        check_option("stop", token, Integral, lambda i: 0 <= i < V, f"a token id in 0 ... {V - 1}, or several")
    sampling = Sampling(**options)
    allowed = _allowed(model, sampling.allowed)
    in_turn = in_turn and not _unequal(prompts)
    rng, n = sampling.generator(None if in_turn else len(prompts)), sampling.num_samples
    if sampling.beams > 1:
        columns = _beam_columns(model, prompts, max_new_tokens, sampling, stop, use_cache, allowed)
    else:
        ids, lengths = _left_padded(prompts)
        columns = next_tokens(
            model, ids, max_new_tokens, sampling, rng, stop, use_cache, lengths=lengths, allowed=allowed
        )
    return [prompt for prompt in prompts for _ in range(n)], one and n == 1, columns


def _check_model(model):
    if not hasattr(model, "key_value_cache"):
        raise TypeError(f"model must be a GPT2, got {type(model).__name__}; GPT2.from_pretrained loads one")


def _rows(columns, prompts):
    """The new tokens of all sequences, (B num_samples, n), from those of each step."""
    return np.array(list(columns), "int64").reshape(-1, len(prompts)).T


def _integers(columns):
    """The tokens of one sequence as int, from arrays (1,)."""
    return (int(tokens[0]) for tokens in columns)


def _pieces(tokens, tokenizer, stop):
    """Yield the text of tokens before the first one in ``stop``, whole characters at a time."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in before_stop(tokens, stop):
        if piece := decoder.decode(tokenizer.decode_bytes([token])):
            yield piece
    if piece := decoder.decode(b"", final=True):
        yield piece


def next_tokens(
    model, ids, max_new_tokens, sampling, rng, stop=(), use_cache=True, *, lengths=None, allowed=None
):
    """Yield the next tokens of all sequences, step by step, until all of them have stopped.

    model: GPT2; ids: (B, T) int64, the prompts; max_new_tokens: steps at most
    sampling: Sampling, with beams=1; rng: from ``sampling.generator``
    stop, use_cache: as in ``stream``, stop as a list
    lengths: (B,) tokens in each prompt, from ``_left_padded``; None: all T
    allowed: (V,) truth values, as in ``keep_allowed``
    yields arrays (B num_samples,) on the host; samples of the same prompt are side by side.
    """
    P, n, penalty = model.config.n_positions, sampling.num_samples, sampling.repetition_penalty
    stopped = np.zeros(len(ids) * n, bool)
    past = _key_value_cache(model, ids, max_new_tokens) if use_cache else None
    for step in range(max_new_tokens):
        logits = _next_logits(model, ids, past, lengths)  # (B, V)
        scores, xp = keep_allowed(logits, allowed), array_module(logits)
        if step == 0 and n > 1:  # the prompt has been read once, and each sample continues from there
            samples = np.repeat(np.arange(len(ids)), n)
            ids, scores = ids[samples], xp.repeat(scores, n, axis=0)
            lengths = None if lengths is None else lengths[samples]
            if past:
                past.select(samples)
        with np.errstate(invalid="ignore"):  # _chosen finds scores that are not finite
            if penalty != 1:
                scores = apply_repetition_penalty(scores, xp.asarray(ids), penalty)
            tokens = sampling.choose(scores, rng)
        tokens = np.where(stopped, ids[:, -1], _chosen(tokens, logits))
        ids = np.concatenate([ids, tokens[:, None]], axis=1)
        if penalty == 1:  # otherwise tokens that the model no longer reads are still needed
            ids = ids[:, -P - 1 :]
        lengths = None if lengths is None else lengths + 1
        stopped |= np.isin(tokens, stop)
        yield tokens
        if stopped.all():
            return


def beam_search(model, ids, max_new_tokens, beams, stop=(), repetition_penalty=1.0, use_cache=True, allowed=None):
    """Look for the likeliest continuation: keep the best few at each step instead of only one.

        score(x_T ... x_{T+n-1}) = (1 / n) sum_t log p(x_t | x_0 ... x_{t-1})

    Each step extends every beam by every token and ranks the results by the sum of their log p. Those among
    the first ``beams`` that end (with a stop token, or with the last step) are finished; the best ones that
    do not end continue. The search is over when ``beams`` have finished and the best running one scores no
    better than the worst of them: a heuristic, since a later token may still raise a mean. Without the
    division by n, short texts would win.

    model: GPT2; ids: (T,) array, the prompt; max_new_tokens: steps at most; beams: how many to keep
    stop:  token ids that end a sequence
    repetition_penalty: as in ``apply_repetition_penalty``, here on log p
    use_cache: as in ``stream``
    allowed: (V,) truth values, as in ``keep_allowed``
    returns the tokens (n,) after the prompt of the best finished sequence.
    Source: Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks", section 3.2. Division
        and end of search as in transformers (length_penalty=1.0, early_stopping=False).
    """
    T = len(ids)
    running, totals = ids[None], np.zeros(1)  # (B, L) sequences and (B,) their sums of log p
    finished = []  # (score, sequence), best first
    past = _key_value_cache(model, running, max_new_tokens) if use_cache else None
    for n in progress_bar(range(1, max_new_tokens + 1), "beam search", delay=2):
        logits = _next_logits(model, running, past)
        xp = array_module(logits)
        with np.errstate(invalid="ignore"):  # _chosen finds scores that are not finite
            log_probs = _log_softmax(keep_allowed(logits, allowed))
            if repetition_penalty != 1:
                log_probs = apply_repetition_penalty(log_probs, xp.asarray(running), repetition_penalty)
            sums = (xp.asarray(totals)[:, None] + log_probs).ravel()
            # Enough that ``beams`` of them continue even if each beam can end with every stop token.
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


def _beam_columns(model, prompts, max_new_tokens, sampling, stop, use_cache, allowed):
    """Yield the (B,) next tokens of the sequences that beam search finds, one prompt after the other."""
    options = max_new_tokens, sampling.beams, stop, sampling.repetition_penalty, use_cache, allowed
    found = [beam_search(model, ids, *options) for ids in prompts]
    for step in range(max(len(tokens) for tokens in found)):
        yield np.stack([tokens[min(step, len(tokens) - 1)] for tokens in found])


def _next_logits(model, ids, past, lengths=None):
    """The scores (B, V) of each token as the next one after ids (B, L), from the last P of them.

    lengths: (B,) tokens of each sequence, where what precedes them in ids only fills it up; None: all are sequences
    """
    P, L = model.config.n_positions, ids.shape[1]
    padding = None if lengths is None else np.maximum(min(L, P) - lengths, 0)
    if past is None or L > P:
        ids, past = ids[:, -P:], None
    else:
        ids = ids[:, past.length :]  # those not read yet: the prompt, then one token at each step
    return model.forward(ids, past=past, positions=slice(-1, None), keep=False, padding=padding)[0][:, 0]


def _chosen(indices, logits):
    """The choice made from these logits, brought to the host; ValueError where the logits are not finite.

    One transfer brings both: -1 instead of the choice says that they are not.
    """
    xp = array_module(logits)
    indices = to_host(xp.where(xp.isfinite(logits).all(), indices, -1))
    if indices[0] < 0:
        raise ValueError("the model's logits are not finite: its weights hold NaN or inf, or overflow")
    return indices


def _key_value_cache(model, ids, max_new_tokens):
    """An empty cache with room for all tokens that it will ever hold, at most P."""
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


def _prompts(ids, V):
    """The prompts, a list of int64 arrays (T,), and whether there is one, given as (T,).

    raises: ValueError where one has no token, or one that is not in the vocabulary; TypeError for what is no integer.
    """
    try:
        ids = token_array(ids, "ids")
    except ValueError:  # their lengths differ
        rows = [token_array(row, f"ids[{number}]") for number, row in enumerate(ids)]
    else:
        rows = list(ids) if ids.ndim == 2 and len(ids) else [ids]
    for number, row in enumerate(rows):
        if row.ndim != 1 or not row.size:
            raise ValueError(
                "ids must be (T,) or (B, T), or a list of several (T,), with at least one token to continue, got shape "
                f"{row.shape} for prompt {number}; where there is no prompt, begin with the token <|endoftext|>"
            )
    low, high = min(int(row.min()) for row in rows), max(int(row.max()) for row in rows)
    if low < 0 or high >= V:
        raise ValueError(
            f"ids must lie in 0 ... {V - 1}, got {low} ... {high}; does the tokenizer belong to this model?"
        )
    return [row.astype("int64") for row in rows], isinstance(ids, np.ndarray) and ids.ndim == 1


def _unequal(prompts):
    return len({len(prompt) for prompt in prompts}) > 1


def _left_padded(prompts):
    """Prompts as one array (B, T), and their lengths (B,), or None where all are T.

    A shorter one begins with its first token again and again: with no token, and no activation, that it does not have
    anyway.
    """
    if not _unequal(prompts):
        return np.stack(prompts), None
    lengths = np.array([len(prompt) for prompt in prompts])
    T = lengths.max()
    return np.stack([np.pad(prompt, (T - len(prompt), 0), "edge") for prompt in prompts]), lengths


def _up_to_stop(tokens, stop):
    """The tokens up to the first one in ``stop``, with it; all of them where there is none."""
    stops = np.flatnonzero(np.isin(tokens, stop))
    return tokens[: stops[0] + 1] if len(stops) else tokens


def _allowed(model, allowed):
    """Which tokens may be chosen, (V,) truth values where the model is; None: all of them.

    allowed: ids; those beyond the model's vocabulary, which a tokenizer may know, do not count
    raises: TypeError for what is no integer; ValueError for a negative one, and where none is left.
    """
    if allowed is None:
        return None
    V, weight = model.config.vocab_size, model.params["wte"]["weight"]
    ids = token_array(_as_list(allowed), "allowed")
    mask = np.isin(np.arange(V), ids)
    if ids.ndim != 1 or not mask.any() or ids.min() < 0:
        raise ValueError(f"allowed must be one or more token ids in 0 ... {V - 1}, or None for all of them")
    return None if mask.all() else array_module(weight).asarray(mask)


def _as_list(ids):
    if ids is None:
        return []
    return list(ids) if isinstance(ids, Iterable) else [ids]
