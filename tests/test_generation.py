"""Generation: against the definition, against transformers, and against itself without the cache."""

import dataclasses
import inspect
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigpt2 import GPT2, GPT2Config, Tokenizer
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.generation import (
    beam_search,
    end_ids,
    generate,
    generate_texts,
    prompt_ids,
    stream,
    stream_text,
)
from minigpt2.sampling import (
    Sampling,
    apply_repetition_penalty,
    draw,
    keep_top_k,
    keep_top_p,
    next_token_probs,
)

V, P = 50, 16
PROMPT = [7, 3, 42, 3]
PROMPTS = [[7, 3, 42, 3], [0, 49, 1, 1], [8, 8, 30, 2]]


def tiny(seed, vocab_size=V, n_positions=P):
    """A random model with large weights, for distributions that are far from flat."""
    size = {"n_embd": 24, "n_layer": 2, "n_head": 3, "initializer_range": 0.3}
    return GPT2(GPT2Config(vocab_size=vocab_size, n_positions=n_positions, **size), seed=seed)


@pytest.fixture(scope="module")
def model():
    return tiny(seed=1)


def last_logits(model, ids):
    """Logits (V,) after ids (T,), by the plainest call there is, of the last P tokens."""
    return model.forward(np.asarray(ids)[None, -model.config.n_positions :])[0][0, -1]


# Greedy decoding, the cache, the window.


def test_greedy_takes_the_best_token_each_time_also_past_the_window(model):
    expected = list(PROMPT)
    for _ in range(40):
        expected.append(int(last_logits(model, expected).argmax()))
    result = generate(model, PROMPT, 40)
    assert result.dtype == np.int64
    assert result.tolist() == expected
    assert len(set(expected)) > 5  # it does not repeat one token, which any fault would survive


@pytest.mark.parametrize("T", [1, 4, P - 1, P, P + 1, 2 * P + 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.3},
        {"temperature": 0.8, "top_k": 10, "top_p": 0.9, "num_samples": 3},
        {"repetition_penalty": 1.4},
        {"beams": 3, "stop": 5},
    ],
    ids=str,
)
def test_same_tokens_without_the_cache(model, T, options):
    ids = np.random.default_rng(T).integers(0, V, (2, T))
    with_cache = generate(model, ids, 24, **options)
    assert np.array_equal(with_cache, generate(model, ids, 24, use_cache=False, **options))
    assert np.array_equal(with_cache[:: options.get("num_samples", 1), :T], ids)


def test_the_cache_is_used(model, monkeypatch):
    seen = []
    forward = model.forward

    def spy(ids, **options):
        seen.append(ids.shape)
        logits, cache = forward(ids, **options)
        assert logits.shape == (len(ids), 1, V) and logits.dtype == np.float32  # no more than is needed
        return logits, cache

    monkeypatch.setattr(model, "forward", spy)
    generate(model, PROMPT, 16, num_samples=2, temperature=1)
    # The prompt once for both samples, then token by token while the window is not full, then all of it.
    assert seen == [(1, 4), *[(2, 1)] * 12, *[(2, P)] * 3]


def test_batch_equals_one_prompt_at_a_time(model):
    together = generate(model, PROMPTS, 30)
    assert together.shape == (3, 34)
    for row, prompt in zip(together, PROMPTS, strict=True):
        assert np.array_equal(row, generate(model, prompt, 30))


def test_shapes(model):
    assert generate(model, PROMPT, 0).tolist() == PROMPT
    assert generate(model, np.array(PROMPT, "uint8"), 2).shape == (6,)
    assert generate(model, [PROMPT], 2).shape == (1, 6)
    assert generate(model, PROMPT, 2, num_samples=3).shape == (3, 6)
    assert generate(model, PROMPTS, 2, num_samples=2).shape == (6, 6)
    assert generate(model, PROMPTS, 0, num_samples=2).tolist() == np.repeat(PROMPTS, 2, axis=0).tolist()
    assert generate(model, PROMPTS, 0, beams=2).tolist() == PROMPTS
    assert generate(model, PROMPTS, 3, beams=2).shape == (3, 7)


def test_method_of_the_model(model):
    assert np.array_equal(model.generate(PROMPT, 9), generate(model, PROMPT, 9))
    drawn = model.generate(PROMPT, 9, temperature=0.9, top_k=20, top_p=0.8, seed=5, repetition_penalty=1.2)
    options = {"temperature": 0.9, "top_k": 20, "top_p": 0.8, "seed": 5, "repetition_penalty": 1.2}
    assert np.array_equal(drawn, generate(model, PROMPT, 9, **options))


# Prompts of unequal length.

UNEQUAL = [[7, 3, 42, 3], [5], [*range(P + 4)], [1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.0, "seed": 3},
        {"temperature": 0.9, "top_k": 9, "top_p": 0.9, "num_samples": 3},
        {"repetition_penalty": 1.5},
        {"stop": [3, 30, 7, 9]},
        {"beams": 3, "stop": 5},
        {"temperature": 1.0, "allowed": range(10)},
    ],
    ids=str,
)
@pytest.mark.parametrize("prompts", [UNEQUAL, [UNEQUAL[1], UNEQUAL[0]], UNEQUAL[:2] + UNEQUAL[3:]], ids=len)
def test_each_of_unequal_prompts_is_continued_as_if_alone(model, prompts, options, use_cache):
    together = generate(model, prompts, 20, use_cache=use_cache, **options)
    n = options.get("num_samples", 1)
    assert type(together) is list and len(together) == n * len(prompts)
    for number, row in enumerate(together):
        alone = np.atleast_2d(generate(model, prompts[number // n], 20, **options))[number % n]
        assert row.dtype == np.int64 and row.tolist() == alone[: len(row)].tolist()
        assert len(row) == len(alone) or set(row[-1:]) == set(alone[len(row) :]) <= {options["stop"]}


def test_unequal_prompts_may_be_arrays_and_nothing_may_follow(model):
    prompts = [np.array([1, 2], "uint8"), (3, 4, 5)]
    assert [row.tolist() for row in generate(model, prompts, 0)] == [[1, 2], [3, 4, 5]]
    assert [row.tolist() for row in generate(model, prompts, 0, num_samples=2)] == [[1, 2]] * 2 + [[3, 4, 5]] * 2
    assert len(model.generate(prompts, 3)[1]) == 6 and len(generate(model, prompts, 2, beams=2)[0]) == 4


def test_a_row_of_unequal_prompts_ends_with_its_own_stop_token(model):
    free = generate(model, UNEQUAL, 12)
    stops = [int(free[0][6]), int(free[3][12])]
    rows = generate(model, UNEQUAL, 12, stop=stops)
    assert [row.tolist() for row in rows] == [generate(model, prompt, 12, stop=stops).tolist() for prompt in UNEQUAL]
    assert len({len(row) - len(prompt) for row, prompt in zip(rows, UNEQUAL, strict=True)}) > 1


def test_stream_of_unequal_prompts(model):
    columns = list(stream(model, UNEQUAL, 9, temperature=1.0))
    assert all(column.shape == (4,) for column in columns)
    rows = generate(model, UNEQUAL, 9, temperature=1.0)
    new = [row[len(prompt) :] for row, prompt in zip(rows, UNEQUAL, strict=True)]
    assert np.array_equal(np.stack(columns, axis=1), new)


def test_unequal_prompts_share_a_generator_or_have_one_each(model):
    options = {"temperature": 1.0}
    rng = np.random.default_rng(5)
    one, two = generate(model, UNEQUAL, 6, seed=rng, **options), generate(model, UNEQUAL, 6, seed=rng, **options)
    assert any(not np.array_equal(a, b) for a, b in zip(one, two, strict=True))  # it was drawn from, and goes on
    rngs = [np.random.default_rng(number) for number in range(4)]
    for number, row in enumerate(generate(model, UNEQUAL, 6, seed=rngs, **options)):
        assert row.tolist() == generate(model, UNEQUAL[number], 6, seed=number, **options).tolist()


def test_shorter_prompts_cost_no_pass_of_their_own(model, monkeypatch):
    seen, forward = [], model.forward
    monkeypatch.setattr(model, "forward", lambda ids, **options: seen.append(ids.shape) or forward(ids, **options))
    generate(model, UNEQUAL[:2], 14, num_samples=2, temperature=1)
    assert seen == [(2, 4), *[(4, 1)] * 12, (4, P)]


# Tokens that may be chosen.


@pytest.mark.parametrize("options", [
    {}, {"temperature": 5.0}, {"temperature": 2.0, "top_k": 40, "num_samples": 20}, {"temperature": 3.0, "top_p": 0.99},
    {"repetition_penalty": 3.0}, {"beams": 4}, {"beams": 12, "stop": [4]},
], ids=str)  # fmt: skip
def test_no_other_token_than_those_allowed_is_chosen(model, options):
    allowed = [4, 9, 17, 33, 48]
    free = np.array(generate(model, PROMPTS, 25, **options))[:, 4:]
    new = np.array(generate(model, PROMPTS, 25, allowed=iter(allowed), **options))[:, 4:]
    assert set(new.ravel().tolist()) <= set(allowed) and not set(free.ravel().tolist()) <= set(allowed)


def test_the_allowed_tokens_keep_their_order_and_proportions(model):
    allowed = np.arange(0, V, 3)
    logits = last_logits(model, PROMPT)[allowed].astype("float64")
    assert generate(model, PROMPT, 1, allowed=allowed)[-1] == allowed[logits.argmax()]
    drawn = generate(model, PROMPT, 1, temperature=1.0, num_samples=20_000, allowed=allowed)[:, -1]
    probs = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(drawn, minlength=V)[allowed] / 20_000, probs, atol=0.02)


def test_one_allowed_token_is_all_that_follows(model):
    for allowed in 7, [7], {7, V + 3}:
        assert set(generate(model, PROMPT, 5, temperature=1.0, allowed=allowed)[4:].tolist()) == {7}


def test_all_tokens_allowed_changes_nothing(model):
    for options in ({"temperature": 1.0}, {"beams": 3}):
        free = generate(model, PROMPTS, 20, **options)
        assert np.array_equal(free, generate(model, PROMPTS, 20, allowed=range(V + 100), **options))


@pytest.mark.parametrize("steps", [1, 3])
def test_beams_find_the_best_of_the_allowed(steps):
    """All of them fit into the beams, and the probabilities are those among the allowed tokens."""
    model, allowed = tiny(seed=4, vocab_size=9), [2, 5]

    def score(new):
        logits = model.forward([[1, 2, *new]])[0][0, 1:-1, allowed].astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(axis=0))
        return sum(log_probs[allowed.index(token), n] for n, token in enumerate(new))

    best = max(itertools.product(allowed, repeat=steps), key=score)
    assert generate(model, [1, 2], steps, beams=16, allowed=allowed)[2:].tolist() == list(best)


# Drawing.


def test_same_seed_same_tokens_and_other_seed_others(model):
    options = {"temperature": 1.0, "num_samples": 4}
    first = generate(model, PROMPT, 20, seed=3, **options)
    assert np.array_equal(first, generate(model, PROMPT, 20, seed=3, **options))
    assert np.array_equal(first, generate(model, PROMPT, 20, seed=np.random.default_rng(3), **options))
    assert not np.array_equal(first, generate(model, PROMPT, 20, seed=4, **options))
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(first, 2))


def test_a_tiny_temperature_is_greedy(model):
    for temperature in (1e-6, 1e-300, 5e-324):
        drawn = generate(model, PROMPT, 20, temperature=temperature, seed=1)
        assert np.array_equal(drawn, generate(model, PROMPT, 20))


def test_one_candidate_is_greedy(model):
    for options in ({"top_k": 1}, {"top_p": 1e-9}):
        drawn = generate(model, PROMPTS, 20, temperature=2.0, seed=1, **options)
        assert np.array_equal(drawn, generate(model, PROMPTS, 20))


def test_greedy_takes_the_lowest_id_of_equals():
    model = tiny(seed=0)
    model.params["wte"]["weight"][...] = 0  # every token scores the same
    assert generate(model, [9], 3).tolist() == [9, 0, 0, 0]


@pytest.mark.parametrize(
    "options",
    [{"temperature": 1.0}, {"temperature": 0.7, "top_k": 12}, {"temperature": 1.5, "top_p": 0.8}],
    ids=str,
)
def test_frequencies_are_the_distribution(model, options):
    """Chi-square of 20,000 draws: a right sampler fails it for one seed in 10,000; the seed here is fixed."""
    N = 20_000
    tokens = generate(model, PROMPT, 1, num_samples=N, seed=11, **options)[:, -1]
    logits = last_logits(model, PROMPT).astype("float64") / options["temperature"]
    probs = np.exp(logits - logits.max())
    if "top_k" in options:
        probs[np.argsort(probs)[: -options["top_k"]]] = 0
    if "top_p" in options:
        best_first = np.argsort(-probs)
        mass = np.cumsum(probs[best_first]) / probs.sum()
        probs[best_first[np.searchsorted(mass, options["top_p"]) + 1 :]] = 0
    expected = N * probs / probs.sum()
    counts = np.bincount(tokens, minlength=V)
    assert not counts[expected == 0].any()

    often = expected >= 5  # chi-square is an approximation that wants five; the rare ones count together
    observed, expected = (np.append(x[often], x[~often].sum()) for x in (counts, expected))
    observed, expected = observed[expected > 0], expected[expected > 0]
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert freedom >= 5
    # Wilson & Hilferty's cube root: the quantile 1 - 1e-4 of chi-square, from the normal one, 3.719.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.719 * math.sqrt(2 / (9 * freedom))) ** 3
    assert statistic < limit


def test_each_token_has_its_share_of_the_unit_interval():
    class Numbers:
        def random(self, size):
            return np.linspace(0, 1, size, endpoint=False)

    probs = np.repeat([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]], 1000, axis=0)
    assert np.bincount(draw(probs, Numbers()), minlength=6).tolist() == [0, 250, 0, 500, 250, 0]


def test_the_largest_random_number_draws_no_impossible_token():
    class Largest:
        def random(self, size):
            return np.full(size, np.nextafter(1.0, 0.0))

    for n in (10, 1000):  # ten tenths sum to a little less than 1, a thousand thousandths to a little more
        probs = np.zeros((1, 50_257))
        probs[0, :n] = 1 / n
        assert (probs.cumsum()[-1] < 1) == (n == 10)
        assert draw(probs, Largest()).tolist() == [n - 1]


tenths = st.integers(-200, 200).map(lambda n: n / 10)  # so that some are equal
rows = hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=tenths)


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(1, 40))
def test_top_k_keeps_the_best_k(logits, k):
    kept = keep_top_k(logits, k)
    for before, after in zip(logits, kept, strict=True):
        stays = after > -math.inf
        assert np.array_equal(after[stays], before[stays])
        assert stays.sum() >= min(k, len(before))
        if not stays.all():
            assert before[~stays].max() < before[stays].min()
            assert (before > before[stays].min()).sum() < k  # no more than needed, but for equals


@settings(max_examples=200, deadline=None)
@given(rows, st.floats(1e-6, 1))
def test_top_p_keeps_the_smallest_set_of_mass_p(logits, p):
    kept = keep_top_p(logits, p)
    for before, after in zip(logits, kept, strict=True):
        probs = np.exp(before - before.max())
        probs /= probs.sum()
        stays = after > -math.inf
        assert np.array_equal(after[stays], before[stays])
        assert stays.any() and probs[stays].sum() >= p - 1e-12
        assert stays.sum() == 1 or probs[stays].sum() - probs[stays].min() < p + 1e-12
        if not stays.all():
            assert before[~stays].max() <= before[stays].min()


@settings(max_examples=100, deadline=None)
@given(rows, st.floats(0.01, 100), st.none() | st.integers(1, 40), st.none() | st.floats(0.01, 1))
def test_what_is_drawn_from_is_a_distribution(logits, temperature, top_k, top_p):
    before = logits.copy()
    probs = next_token_probs(logits, temperature, top_k, top_p)
    assert np.array_equal(logits, before)
    assert (probs >= 0).all() and np.allclose(probs.sum(axis=1), 1, rtol=0, atol=1e-12)
    # The best token stays the best.
    assert np.array_equal(np.take_along_axis(probs, logits.argmax(1)[:, None], 1)[:, 0], probs.max(axis=1))


def test_top_p_of_one_keeps_the_rarest_token():
    logits = np.random.default_rng(0).normal(0, 10, (4, 50_257))
    assert np.array_equal(keep_top_p(logits, 1.0), logits)


def test_top_p_close_to_zero_keeps_the_best_token():
    logits = np.random.default_rng(0).normal(0, 20, (10, 300))
    kept = keep_top_p(logits, 5e-324)
    assert np.array_equal((kept > -math.inf).sum(axis=1), np.ones(10))
    assert np.array_equal(kept.max(axis=1), logits.max(axis=1))


def test_top_p_prefers_lower_ids_among_equals():
    logits = np.random.default_rng(0).integers(0, 2, (1, 512)) * 30.0  # about half of them share all the mass
    equals = np.flatnonzero(logits[0])
    stay = np.flatnonzero(keep_top_p(logits, 0.25)[0] > -math.inf)
    assert np.array_equal(stay, equals[: math.ceil(len(equals) / 4)])


def test_filters_keep_the_dtype():
    logits = np.random.default_rng(0).standard_normal((2, 9), dtype="float32")
    assert keep_top_k(logits, 3).dtype == np.float32
    assert keep_top_p(logits, 0.5).dtype == np.float32
    assert apply_repetition_penalty(logits, np.array([[1], [2]]), 1.3).dtype == np.float32


def test_repetition_penalty_by_hand():
    scores = np.array([[2.0, -2.0, 0.0, 3.0], [2.0, -2.0, 0.0, 3.0]])
    ids = np.array([[0, 1, 1], [2, 3, 3]])  # a token that occurred twice pays once
    expected = [[1.0, -4.0, 0.0, 3.0], [2.0, -2.0, 0.0, 1.5]]
    assert apply_repetition_penalty(scores, ids, 2.0).tolist() == expected


def test_repetition_penalty_covers_prompt_and_new_tokens(model):
    # So high that nothing is taken twice until all 50 have been there, if every score is above 0.
    model = tiny(seed=2)
    model.params["ln_f"]["weight"][...] = 0
    model.params["ln_f"]["bias"][...] = 1  # one activation, whatever the input
    model.params["wte"]["weight"][...] = np.linspace(1, 2, V)[:, None]
    result = generate(model, [49, 48], 48, repetition_penalty=1e6)
    assert result.tolist() == list(range(49, -1, -1))


# Stopping.


def test_stop_ends_one_sequence(model):
    free = generate(model, PROMPT, 30)
    stop = int(free[12])
    first = 4 + free[4:].tolist().index(stop)
    assert generate(model, PROMPT, 30, stop=stop).tolist() == free[: first + 1].tolist()
    assert generate(model, PROMPT, 30, stop=[stop, stop]).tolist() == free[: first + 1].tolist()
    assert generate(model, PROMPT, 30, stop=[]).tolist() == free.tolist()


def test_a_stop_token_in_the_prompt_stops_nothing(model):
    unused = sorted(set(range(V)) - set(generate(model, PROMPT, 10)[4:].tolist()))
    prompt = [*PROMPT[:3], unused[0]]
    continued = generate(model, prompt, 10)
    assert len(generate(model, prompt, 10, stop=unused[0])) >= 5
    assert continued[4] == generate(model, prompt, 10, stop=unused[0])[4]


def test_rows_that_stop_early_repeat_their_stop_token(model):
    free = generate(model, PROMPTS, 30)
    stops = [int(free[0, 6]), int(free[1, 9])]
    result = generate(model, PROMPTS, 30, stop=stops)
    lengths = []
    for row, prompt in zip(result, PROMPTS, strict=True):
        alone = generate(model, prompt, 30, stop=stops)
        lengths.append(len(alone))
        assert np.array_equal(row[: len(alone)], alone)
        if len(alone) < len(row):
            assert set(row[len(alone) - 1 :].tolist()) == {int(alone[-1])} <= set(stops)
    assert len(set(lengths)) > 1 and result.shape[1] == max(lengths)  # it ended when the last one did


# Beam search.


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_enough_beams_find_the_very_best(steps):
    model = tiny(seed=4, vocab_size=5)

    def score(new):
        logits = model.forward([[1, 2, *new]])[0][0, 1:-1].astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return log_probs[np.arange(steps), list(new)].sum()

    best = max(itertools.product(range(5), repeat=steps), key=score)
    assert generate(model, [1, 2], steps, beams=5**steps)[2:].tolist() == list(best)


def test_beams_of_a_batch_are_searched_one_by_one_and_padded(model):
    options = {"beams": 4, "stop": [3, 30]}
    together = generate(model, PROMPTS, 12, **options)
    lengths = set()
    for row, prompt in zip(together, PROMPTS, strict=True):
        alone = generate(model, prompt, 12, **options)
        lengths.add(len(alone))
        assert np.array_equal(row[: len(alone)], alone)
        assert (row[len(alone) :] == alone[-1]).all()
    assert len(lengths) > 1


def test_beam_search_where_everything_stops(model):
    result = generate(model, PROMPT, 12, beams=3, stop=range(V))
    assert result.tolist() == generate(model, PROMPT, 1).tolist()


# Streaming.


def test_stream_is_generate_token_by_token(model):
    for options in ({}, {"temperature": 1.1, "seed": 2}, {"beams": 3}):
        tokens = list(stream(model, PROMPT, 25, **options))
        assert all(type(token) is int for token in tokens)
        assert tokens == generate(model, PROMPT, 25, **options)[4:].tolist()
        columns = list(stream(model, PROMPTS, 25, **options))
        assert all(column.shape == (3,) for column in columns)
        assert np.array_equal(np.stack(columns, axis=1), generate(model, PROMPTS, 25, **options)[:, 4:])


def test_stream_does_not_run_ahead(model):
    tokens = stream(model, PROMPT, 10**9)
    assert list(itertools.islice(tokens, 3)) == generate(model, PROMPT, 3)[4:].tolist()


TEXT = "Sein oder Nichtsein; das ist hier die Frage: 床前明月光，疑是地上霜。🦉🎉 " * 3


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXT, 280)


@pytest.mark.parametrize("seed", range(5))
def test_pieces_join_to_the_text(tokenizer, seed):
    model = tiny(seed, len(tokenizer))
    options = {"temperature": 1.0, "seed": seed}
    pieces = list(stream_text(model, tokenizer, "Sein", 60, **options))
    prompt = tokenizer.encode("Sein")
    expected = tokenizer.decode(generate(model, prompt, 60, **options)[len(prompt) :])
    assert "".join(pieces) == expected
    assert "\ufffd" in expected  # a random model writes bytes that are no characters


def test_a_character_is_held_back_until_it_is_whole(tokenizer, monkeypatch):
    model, ids = tiny(0, len(tokenizer)), tokenizer.encode(TEXT)
    left = iter(ids[1:])

    def recite(ids, **options):  # in place of the model: what comes next in the text
        logits = np.zeros((1, 1, len(tokenizer)), "float32")
        logits[0, 0, next(left)] = 1
        return logits, {}

    monkeypatch.setattr(model, "forward", recite)
    pieces = list(stream_text(model, tokenizer, tokenizer.decode(ids[:1]), len(ids) - 1, use_cache=False))
    assert "".join([tokenizer.decode(ids[:1]), *pieces]) == TEXT
    assert all(pieces) and 20 < len(pieces) < len(ids) - 1  # piece by piece, but no piece within a character


def test_bytes_that_never_become_a_character_are_replaced(tokenizer, monkeypatch):
    owl = tokenizer.encode("\U0001f989")
    assert len(owl) > 1
    model = tiny(0, len(tokenizer))
    left = iter(owl[:-1])
    one_hot = np.eye(len(tokenizer), dtype="float32")
    monkeypatch.setattr(model, "forward", lambda ids, **options: (one_hot[[[next(left)]]], {}))
    assert list(stream_text(model, tokenizer, "S", len(owl) - 1, use_cache=False)) == ["\ufffd"]


def test_pieces_of_characters():
    tokenizer = CharTokenizer.train(TEXT)
    model = tiny(3, len(tokenizer))
    pieces = list(stream_text(model, tokenizer, "Sein", 30))
    assert "".join(pieces) == tokenizer.decode(generate(model, tokenizer.encode("Sein"), 30)[4:])
    assert [len(piece) for piece in pieces] == [1] * 30


def test_text_ends_before_the_stop_token():
    tokenizer = CharTokenizer.train(TEXT)
    model = tiny(3, len(tokenizer))
    whole = "".join(stream_text(model, tokenizer, "Sein", 30))
    stop = whole[10]
    for ids in (tokenizer.encode(stop)[0], tokenizer.encode(stop), iter(tokenizer.encode(stop))):
        assert "".join(stream_text(model, tokenizer, "Sein", 30, stop=ids)) == whole[: whole.index(stop)]


def padded(tokenizer, rows=40):
    """A model with more rows than its tokenizer has tokens, all of which it likes better."""
    model = tiny(2, len(tokenizer) + rows)
    model.params["wte"]["weight"][len(tokenizer) :] = 3 * model.params["wte"]["weight"][:rows]
    return model


@pytest.mark.parametrize("options", [{}, {"temperature": 3.0}, {"beams": 3}], ids=str)
def test_ids_that_no_tokenizer_knows_are_not_written(tokenizer, options):
    model = padded(tokenizer)
    ids = generate(model, tokenizer.encode("Sein"), 40, **options)
    assert ids.max() >= len(tokenizer)
    text = "".join(stream_text(model, tokenizer, "Sein", 40, **options))
    prompt = tokenizer.encode("Sein")
    expected = generate(model, prompt, 40, allowed=tokenizer.known_ids, **options)[len(prompt) :]
    assert text == tokenizer.decode(expected)
    assert generate_texts(model, tokenizer, ["Sein"], 40, **options) == [text]


def test_a_stop_token_that_the_tokenizer_does_not_know_still_ends_a_text(tokenizer):
    model = padded(tokenizer)
    stop = range(len(tokenizer), len(tokenizer) + 40)
    assert len("".join(stream_text(model, tokenizer, "Sein", 40, stop=stop))) < 40
    assert len(tokenizer.decode(generate(model, tokenizer.encode("Sein"), 40, allowed=tokenizer.known_ids))) > 40


def test_a_tokenizer_may_know_more_than_the_model(tokenizer):
    model = tiny(0, len(tokenizer) - 3)
    assert "".join(stream_text(model, tokenizer, "Sein", 5))
    assert end_ids(model, tokenizer) == [] and tokenizer.eos_id == len(tokenizer) - 1


def with_ids(model, bos=None, eos=None):
    """The same model with these tokens in its configuration; a list as some configurations have it."""
    other = GPT2(model.config)
    other.params, other.config = model.params, dataclasses.replace(model.config)
    for name, value in ("bos_token_id", bos), ("eos_token_id", eos):
        object.__setattr__(other.config, name, value)
    return other


def test_a_text_without_a_prompt_begins_as_documents_do(tokenizer):
    model, end = tiny(3, len(tokenizer)), tokenizer.eos_id
    assert prompt_ids(model, tokenizer, "") == [end] and prompt_ids(model, tokenizer, "S") == tokenizer.encode("S")
    plain = Tokenizer(tokenizer.vocab, tokenizer.merges, [])  # its end token is text like any other
    assert prompt_ids(with_ids(model, bos=7), plain, "") == [7]
    assert prompt_ids(with_ids(model, bos=7, eos=8), plain, "") == [8]
    assert prompt_ids(with_ids(model, bos=7, eos=[0, 8]), plain, "") == [0]
    assert prompt_ids(with_ids(model, bos=50256, eos=-1), plain, "") == plain.encode("\n")
    expected = tokenizer.decode(generate(model, [end], 9)[1:])
    assert "".join(stream_text(model, tokenizer, "", 9)) == expected
    assert generate_texts(model, tokenizer, ["", "Sein"], 9)[0] == expected


def test_characters_without_a_prompt_begin_with_a_line_or_else_the_first():
    for text, first in ("a\nb", "\n"), ("3141592", "1"):
        tokenizer = CharTokenizer.train(text)
        model = tiny(3, len(tokenizer))
        assert prompt_ids(model, tokenizer, "") == tokenizer.encode(first)
        assert len("".join(stream_text(model, tokenizer, "", 9))) == 9


def test_a_special_token_in_a_prompt_is_one_where_that_is_allowed(tokenizer):
    model, text = tiny(3, len(tokenizer)), "<|endoftext|>Sein"
    as_token, as_text = tokenizer.encode(text, allow_special=True), tokenizer.encode(text)
    for options, ids in ({}, as_text), ({"allow_special": True}, as_token):
        expected = tokenizer.decode(generate(model, ids, 9)[len(ids) :])
        assert "".join(stream_text(model, tokenizer, text, 9, **options)) == expected
        assert generate_texts(model, tokenizer, [text], 9, **options) == [expected]


def test_a_text_ends_with_the_end_tokens_of_tokenizer_and_configuration(tokenizer):
    model, end = tiny(3, len(tokenizer)), tokenizer.eos_id
    assert end_ids(model, tokenizer) == end_ids(with_ids(model, eos=end), tokenizer) == [end]
    assert end_ids(with_ids(model, eos=7), tokenizer) == [end, 7]
    assert end_ids(with_ids(model, eos=[7, end, 5]), tokenizer) == [end, 7, 5]
    assert end_ids(with_ids(model, eos=50256), CharTokenizer("ab")) == []
    several = Tokenizer(tokenizer.vocab, tokenizer.merges, eos_ids=[9, 5])  # as a generation_config.json names them
    assert end_ids(with_ids(model, eos=5), several) == [end, 9, 5]


@pytest.mark.parametrize("options", [{}, {"stop": range(40)}, {"temperature": 1.0}, {"beams": 2}], ids=str)
def test_several_texts_at_once_are_those_one_by_one(tokenizer, options):
    model, prompts = tiny(1, len(tokenizer)), ["Sein", "", "Nichtsein; das", "oder"]
    expected = ["".join(stream_text(model, tokenizer, prompt, 15, **options)) for prompt in prompts]
    assert generate_texts(model, tokenizer, prompts, 15, **options) == expected
    assert len(set(expected)) == 4


def test_several_samples_of_several_texts(tokenizer):
    model, options = tiny(1, len(tokenizer)), {"temperature": 1.0, "num_samples": 2}
    texts = generate_texts(model, tokenizer, ["Sein", "oder"], 15, **options)  # a token each
    for prompt, found in ("Sein", texts[:2]), ("oder", texts[2:]):
        assert found == generate_texts(model, tokenizer, [prompt], 15, **options) and found[0] != found[1]


# Bad input.


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([], ValueError, "at least one token"),
        ([[]], ValueError, "at least one token"),
        (3, ValueError, "at least one token"),
        ([[[1]]], ValueError, "at least one token"),
        ([[1, 2], []], ValueError, r"at least one token to continue, got shape \(0,\) for prompt 1"),
        ([[1, 2], [[3]]], ValueError, r"got shape \(1, 1\) for prompt 1"),
        ([[1, 2], 3], ValueError, r"got shape \(\) for prompt 1"),
        ([[1, 2], [3.0]], TypeError, r"ids\[1\] must be integers, got float64"),
        ([[1, 2], [V]], ValueError, r"0 \.\.\. 49, got 1 \.\.\. 50"),
        ([1.0, 2.0], TypeError, "must be integers"),
        ([1, V], ValueError, r"0 \.\.\. 49, got 1 \.\.\. 50"),
        ([-1, 2], ValueError, r"0 \.\.\. 49, got -1 \.\.\. 2"),
        ([V] + [1] * 100, ValueError, r"0 \.\.\. 49"),  # outside of the window
    ],
)
def test_bad_prompts(model, ids, error, message):
    with pytest.raises(error, match=message):
        generate(model, ids)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_new_tokens": -1}, ValueError),
        ({"max_new_tokens": 1.0}, TypeError),
        ({"temperature": -0.1}, ValueError),
        ({"temperature": math.nan}, ValueError),
        ({"temperature": math.inf}, ValueError),
        ({"temperature": "1"}, TypeError),
        ({"temperature": None}, TypeError),
        ({"top_k": 0}, ValueError),
        ({"top_k": -1}, ValueError),
        ({"top_k": 2.0}, TypeError),
        ({"top_k": True}, TypeError),
        ({"top_p": 0}, ValueError),
        ({"top_p": 1.01}, ValueError),
        ({"top_p": math.nan}, ValueError),
        ({"top_p": "0.9"}, TypeError),
        ({"repetition_penalty": 0}, ValueError),
        ({"repetition_penalty": -1.0}, ValueError),
        ({"repetition_penalty": math.nan}, ValueError),
        ({"num_samples": 0}, ValueError),
        ({"num_samples": 1.5}, TypeError),
        ({"beams": 0}, ValueError),
        ({"beams": "2"}, TypeError),
        ({"stop": V}, ValueError),
        ({"stop": [1, -1]}, ValueError),
        ({"stop": 1.0}, TypeError),
        ({"stop": "a"}, TypeError),
        ({"seed": -1}, ValueError),
        ({"seed": "one"}, TypeError),
        ({"seed": [1, 2]}, TypeError),
        ({"allowed": []}, ValueError),
        ({"allowed": [V]}, ValueError),
        ({"allowed": [-1]}, ValueError),
        ({"allowed": [0.5]}, TypeError),
        ({"allowed": "ab"}, TypeError),
        ({"allowed": [True]}, TypeError),
    ],
    ids=str,
)
def test_bad_options_are_named_before_anything_is_computed(model, options, error):
    (name,) = options
    with pytest.raises(error, match=f"^{name} must be"):
        stream(model, PROMPT, **options)


@pytest.mark.parametrize(
    "options", [{"temperature": 1.0}, {"top_k": 5}, {"top_p": 0.5}, {"num_samples": 2}], ids=str
)
def test_beams_do_not_draw(model, options):
    with pytest.raises(ValueError, match="leave them out, or use beams=1"):
        generate(model, PROMPT, beams=2, **options)


def test_unknown_options_are_refused_and_the_known_ones_named(model):
    known = "temperature, top_k, top_p, repetition_penalty, seed, num_samples, beams, allowed, stop and use_cache$"
    for function in (generate, stream):
        with pytest.raises(TypeError, match=f"'top_q'; the options are {known}"):
            function(model, PROMPT, top_q=1)
    with pytest.raises(TypeError, match=f"'top_q'; the options are {known}"):
        stream_text(model, CharTokenizer("ab"), "a", top_q=1)
    with pytest.raises(TypeError, match="top_q"):
        model.generate(PROMPT, top_q=1)


def test_options_of_the_method_are_those_of_the_function():
    """They are written out there for help() and completion, with the same defaults, and all are passed on."""
    method = {name: p.default for name, p in inspect.signature(GPT2.generate).parameters.items()}
    function = {name: p.default for name, p in inspect.signature(generate).parameters.items() if name != "options"}
    sampling = {field.name: field.default for field in dataclasses.fields(Sampling)}
    assert list(method)[:7] == ["self", "ids", "max_new_tokens", "temperature", "top_k", "top_p", "seed"]
    del method["self"], function["model"]
    assert method == function | sampling


@pytest.mark.parametrize("options", [
    {"temperature": 1.0, "seed": 7}, {"temperature": 1.0, "top_k": 3}, {"temperature": 1.0, "top_p": 0.4},
    {"repetition_penalty": 2.0}, {"stop": 5}, {"temperature": 1.0, "num_samples": 3}, {"beams": 3},
    {"use_cache": False}, {"allowed": range(0, V, 2)},
], ids=str)  # fmt: skip
def test_the_method_passes_each_option_on(model, options, monkeypatch):
    from minigpt2 import generation

    expected, seen = generate(model, PROMPT, 12, **options), {}
    monkeypatch.setattr(generation, "generate", lambda m, ids, n, **o: seen.update(o) or generate(m, ids, n, **o))
    assert np.array_equal(model.generate(PROMPT, 12, **options), expected)
    assert {name: seen[name] for name in options} == options


def test_sampling_is_checked_once_and_cannot_change():
    sampling = Sampling(temperature=0.5, top_k=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampling.top_k = -1
    with pytest.raises(ValueError, match=r"^top_k must be an integer, 1 or more; None keeps all tokens, got 0$"):
        dataclasses.replace(sampling, top_k=0)
    scores = np.array([[0.0, 1.0, 3.0, 2.0], [3.0, 0.0, 3.0, 1.0]])
    assert Sampling().choose(scores, None).tolist() == [2, 0]
    assert set(Sampling(temperature=1.0, top_k=1).choose(np.repeat(scores[:1], 50, 0), sampling.generator())) == {2}


def test_everything_after_the_number_of_tokens_is_named(model):
    """A temperature in fourth place would otherwise be taken for a stop token."""
    for function in (generate, stream):
        with pytest.raises(TypeError, match="positional"):
            function(model, PROMPT, 5, 1)


def test_one_text_at_a_time(model):
    with pytest.raises(ValueError, match="one text"):
        stream_text(model, CharTokenizer("ab"), "a", num_samples=2)


def test_weights_that_are_not_numbers():
    model = tiny(seed=0)
    model.params["ln_f"]["bias"][0] = math.nan
    for options in ({}, {"temperature": 1.0}, {"beams": 2}):
        with pytest.raises(ValueError, match="not finite"):
            generate(model, PROMPT, **options)


# transformers.


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch", reason="compares with transformers, which needs torch (extra: reference)")
    return pytest.importorskip("transformers", reason="compares with transformers (extra: reference)")


@pytest.fixture(scope="module")
def twin(transformers, tmp_path_factory):
    """A function that gives transformers' model with the weights of ours."""

    def load(model):
        folder = tmp_path_factory.mktemp("twin")
        model.save_pretrained(folder)
        return transformers.GPT2LMHeadModel.from_pretrained(folder).eval()

    return load


def theirs(twin, prompts, n, **options):
    """What transformers' generate writes, without drawing."""
    import torch

    ids = torch.tensor(prompts)
    options = {"max_new_tokens": n, "do_sample": False, "pad_token_id": 0, "eos_token_id": None} | options
    return twin.generate(ids, attention_mask=torch.ones_like(ids), **options)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_greedy_as_transformers(twin, seed, penalty):
    model = tiny(seed, n_positions=64)
    expected = theirs(twin(model), PROMPTS, 50, repetition_penalty=penalty).numpy()
    assert np.array_equal(generate(model, PROMPTS, 50, repetition_penalty=penalty), expected)


def test_unequal_prompts_as_transformers_pads_them_at_the_left(twin):
    import torch

    model, T = tiny(2, n_positions=64), max(map(len, UNEQUAL))
    ids = torch.tensor([[0] * (T - len(prompt)) + prompt for prompt in UNEQUAL])
    mask = torch.tensor([[0] * (T - len(prompt)) + [1] * len(prompt) for prompt in UNEQUAL])
    options = {"max_new_tokens": 40, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    expected = twin(model).generate(ids, attention_mask=mask, **options).numpy()[:, T:]
    for row, prompt, new in zip(generate(model, UNEQUAL, 40), UNEQUAL, expected, strict=True):
        assert row.tolist() == prompt + new.tolist()
    assert len(set(map(tuple, expected.tolist()))) == 4


@pytest.mark.slow
def test_beam_search_as_transformers(twin):
    compared = stopped = differs = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        model = tiny(seed, vocab_size=int(rng.integers(24, 60)), n_positions=64)
        other = twin(model)
        for _ in range(8):
            beams, n, stops = int(rng.integers(2, 7)), int(rng.integers(1, 30)), int(rng.integers(0, 4))
            stop = rng.choice(model.config.vocab_size, stops, replace=False).tolist()
            prompt = rng.integers(0, model.config.vocab_size, 4).tolist()
            penalty = float(rng.choice([1.0, 1.3]))
            options = {"num_beams": beams, "repetition_penalty": penalty, "eos_token_id": stop or None}
            expected = theirs(other, [prompt], n, **options)[0]
            options = {"repetition_penalty": penalty, "stop": stop}
            found = generate(model, prompt, n, beams=beams, **options)
            assert found.tolist() == expected.tolist()
            compared += 1
            stopped += len(found) < 4 + n
            differs += not np.array_equal(found, generate(model, prompt, n, **options))
    assert compared == 40 and stopped > 3 and differs > 15  # it has seen what it is for


def test_beam_search_scores_as_transformers(twin):
    model = tiny(0, n_positions=64)
    options = {"num_beams": 4, "output_scores": True, "return_dict_in_generate": True}
    output = theirs(twin(model), [PROMPT], 12, **options)
    new = beam_search(model, np.array(PROMPT), 12, 4)
    logits = model.forward([[*PROMPT, *new]])[0][0, 3:-1].astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    score = log_probs[np.arange(12), new].mean()
    assert score == pytest.approx(float(output.sequences_scores[0]), abs=1e-5)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_filters_as_transformers(transformers, scale):
    import torch
    from transformers.generation import logits_process as theirs

    logits = scale * np.random.default_rng(0).standard_normal((20, 300), dtype="float32")
    ids = np.random.default_rng(1).integers(0, 300, (20, 40))
    tensor, tokens = torch.tensor(logits), torch.tensor(ids)
    for k in (1, 2, 50, 299, 300, 1000):
        assert np.array_equal(keep_top_k(logits, k), theirs.TopKLogitsWarper(k)(tokens, tensor).numpy())
    for p in (0.01, 0.5, 0.9, 0.99):
        assert np.array_equal(keep_top_p(logits, p), theirs.TopPLogitsWarper(p)(tokens, tensor).numpy())
    for penalty in (0.5, 1.2, 3.0):
        expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(tokens, tensor.clone()).numpy()
        assert np.array_equal(apply_repetition_penalty(logits, ids, penalty), expected)

    warpers = [theirs.TemperatureLogitsWarper(0.7), theirs.TopKLogitsWarper(40), theirs.TopPLogitsWarper(0.9)]
    expected = tensor.double()
    for warper in warpers:
        expected = warper(tokens, expected)
    expected = expected.softmax(-1).numpy()
    np.testing.assert_allclose(next_token_probs(logits, 0.7, 40, 0.9), expected, rtol=1e-12, atol=0)


def test_ties_as_transformers(transformers):
    import torch

    logits = np.array([[1.0, 3.0, 3.0, 2.0, 2.0, 2.0, 0.0]])
    for k in range(1, 8):
        expected = transformers.TopKLogitsWarper(k)(None, torch.tensor(logits)).numpy()
        assert np.array_equal(keep_top_k(logits, k), expected)


def test_rows_with_generators_of_their_own_do_not_depend_on_each_other():
    model = GPT2(GPT2Config(vocab_size=9, n_positions=8, n_embd=4, n_layer=1, n_head=1, initializer_range=1.0), seed=1)
    prompts = [[1, 2], [3, 4], [1, 2]]

    def rng(row):
        return np.random.default_rng([7, row])

    together = generate(model, prompts, 5, temperature=1.0, seed=[rng(0), rng(1), rng(2)])
    alone = [generate(model, prompt, 5, temperature=1.0, seed=rng(row)) for row, prompt in enumerate(prompts)]
    assert (together == alone).all() and (together[0] != together[2]).any()
    with pytest.raises(ValueError, match="2 generators, but 3 rows"):
        generate(model, prompts, 5, temperature=1.0, seed=[rng(0), rng(1)])


@pytest.fixture(scope="module")
def shakespeare():
    return GPT2.from_pretrained("shakespeare"), Tokenizer.from_pretrained("shakespeare")


def test_texts_need_a_list_of_prompts(shakespeare):
    model, tokenizer = shakespeare
    for prompts in ("ROMEO:", None, 5):  # a str is a list of its characters, too
        with pytest.raises(TypeError, match=r"prompts must be a list of str, got .*; a single one is \[prompt\]"):
            generate_texts(model, tokenizer, prompts, 2)
    assert generate_texts(model, tokenizer, [], 2) == []


def test_what_is_no_model_or_tokenizer_is_named(shakespeare):
    model, tokenizer = shakespeare
    with pytest.raises(TypeError, match=r"model must be a GPT2, got str; GPT2.from_pretrained loads one"):
        generate("gpt2", [1, 2], 2)
    with pytest.raises(TypeError, match=r"model must be a GPT2, got Tokenizer"):
        stream_text(tokenizer, model, "a", 2)
    with pytest.raises(TypeError, match=r"tokenizer must be a Tokenizer or a CharTokenizer, got object"):
        stream_text(model, object(), "a", 2)


def test_a_truth_value_is_neither_seed_nor_id(shakespeare):
    model, _ = shakespeare
    with pytest.raises(TypeError, match=r"seed must be an integer, 0 or more, .*, got True"):
        model.generate([1, 2], 2, temperature=1.0, seed=True)
    for ids in ([1, True], [[1, 2], [True]]):
        with pytest.raises(TypeError, match="must be integers"):
            model.generate(ids, 2)
