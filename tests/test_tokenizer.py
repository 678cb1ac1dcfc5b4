"""The BPE tokenizer against tiktoken, transformers, known answers, and the definition of BPE."""

import json
import pickle
import random
import string
import sys
import unicodedata
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.tokenizer import ASCII_PIECES, CHUNKS, PIECES, FastEncoder, Tokenizer, learn_merges
from minigpt2.vocabulary import PRINTABLE

SAMPLE = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
    "foolishness; it's 1859, I'm here, you're there, they've said we'll see, I'd not, don't 'S 'D."
    "\n\n  def f(x):\n\treturn x ** 2  # naïve  \n"
    "Строка на русском языке. 日本語の文章です。 هذا نص عربي 👩‍👩‍👧 e\u0301 \u00a0\u3000 x²½ ١٢٣ "
    "<|endoftext|>"
)
# Every code point that Python's own table assigns: newer tables only add to it, so that what is a letter,
# a number or a space here is one for tiktoken, transformers and `regex` alike, whichever Unicode they have.
ASSIGNED = st.characters(exclude_categories=["Cs", "Cn"])
WORDY = st.text(st.one_of(st.sampled_from(" 's\n\tabcde1,"), ASSIGNED), max_size=60)

# The 256 bytes and GPT-2's first merges: no file needed.
MERGES = [("Ġ", "t"), ("Ġ", "a"), ("h", "e"), ("i", "n"), ("r", "e"), ("o", "n"), ("Ġt", "he")]


def small(merges=MERGES, special_tokens=("<|endoftext|>",)):
    tokens = dict.fromkeys([*PRINTABLE.values(), *("".join(pair) for pair in merges), *special_tokens])
    return Tokenizer({token: i for i, token in enumerate(tokens)}, merges, special_tokens)


def merge_pair(ids, pair, new_id):
    """Byte-pair encoding's one step, by definition: each ``pair``, from left to right, becomes ``new_id``."""
    merged = []
    for i in ids:
        if merged and (merged[-1], i) == pair:
            merged[-1] = new_id
        else:
            merged.append(i)
    return merged


class Counting(FastEncoder):
    """Counts the bytes of long pieces that are merged, and remembers the longest run of them."""

    work = longest = 0

    def merge_long(self, piece):
        self.work += len(piece)
        self.longest = max(self.longest, len(piece))
        return super().merge_long(piece)


def counting(merges, special_tokens):
    tokenizer = small(merges, special_tokens)
    fast = tokenizer._fast
    tokenizer._fast = Counting(fast.merge, fast.byte_ids, fast.ranks, fast.merged, fast.bytes_of)
    return tokenizer


@pytest.fixture(scope="module")
def gpt2(gpt2_vocab):
    return Tokenizer.from_pretrained(gpt2_vocab)


@pytest.fixture(scope="module")
def tiktoken_gpt2(gpt2_vocab):
    """tiktoken's encoder, built from the files alone (its own download is not needed)."""
    tiktoken = pytest.importorskip("tiktoken", reason="it comes with the extra [reference]")
    # Derived here and not with our table: a character below U+0100 is its byte, the others count up.
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    byte_of = {chr(b): b for b in visible}
    byte_of |= {chr(256 + n): b for n, b in enumerate(sorted(set(range(256)) - visible))}
    vocab = json.loads((gpt2_vocab / "encoder.json").read_text(encoding="utf-8"))
    end = vocab.pop("<|endoftext|>")
    return tiktoken.Encoding(
        name="gpt2",
        pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks={bytes(byte_of[c] for c in token): i for token, i in vocab.items()},
        special_tokens={"<|endoftext|>": end},
    )


@pytest.fixture(scope="module")
def transformers_gpt2(gpt2, tmp_path_factory):
    transformers = pytest.importorskip("transformers", reason="it comes with the extra [reference]")
    folder = tmp_path_factory.mktemp("gpt2")
    gpt2.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


# ------------------------------------------------------------------------------------- against other encoders


KNOWN = {
    "Hello!! I'm Andrej Karpathy. It's 2022. w00t :D 🤗": [
        15496, 3228, 314, 1101, 10948, 73, 509, 5117, 10036, 13, 632, 338, 33160, 13, 266, 405, 83, 1058, 35,
        12520, 97, 245,
    ],
    "Hello, my dog is cute": [15496, 11, 616, 3290, 318, 13779],
    "Hello world": [15496, 995],
    "": [],
}  # fmt: skip


@pytest.mark.parametrize("text", KNOWN)
def test_known_ids(gpt2, text):
    assert gpt2.encode(text) == KNOWN[text]
    assert gpt2.decode(KNOWN[text]) == text


def test_gpt2_layout(gpt2):
    assert len(gpt2) == 50257
    assert gpt2.eos_id == 50256
    assert gpt2.encode("<|endoftext|>", allow_special=True) == [50256]
    assert gpt2.encode("<|endoftext|>") == [27, 91, 437, 1659, 5239, 91, 29]
    assert gpt2.decode([50256]) == "<|endoftext|>"
    assert list(gpt2.vocab.values())[:256] == list(range(256))
    assert list(gpt2.vocab)[:256] == list(PRINTABLE.values())  # the computed table is that of the file


def test_same_ids_as_tiktoken_and_transformers(gpt2, tiktoken_gpt2, transformers_gpt2):
    for text in (SAMPLE, SAMPLE * 50, SAMPLE.replace(" ", ""), " " * 3000 + "x", "\n" * 999, "=" * 3000):
        assert gpt2.encode(text) == tiktoken_gpt2.encode_ordinary(text)
        assert gpt2.encode(text, allow_special=True) == transformers_gpt2(text)["input_ids"]
        assert gpt2.encode(text, allow_special=True) == tiktoken_gpt2.encode(text, allowed_special="all")


@settings(max_examples=400, deadline=None)
@given(text=WORDY)
def test_same_ids_on_random_text(gpt2, tiktoken_gpt2, transformers_gpt2, text):
    ids = gpt2.encode(text)
    assert ids == tiktoken_gpt2.encode_ordinary(text)
    assert transformers_gpt2(text)["input_ids"] == gpt2.encode(text, allow_special=True)
    assert gpt2.decode(ids) == text


@pytest.mark.slow
def test_same_ids_on_every_assigned_character(gpt2, tiktoken_gpt2):
    everything = map(chr, range(sys.maxunicode + 1))
    # but for private use (Co), 137,468 code points that no table says anything about
    characters = [c for c in everything if unicodedata.category(c) not in ("Cs", "Cn", "Co")]
    assert len(characters) > 140_000
    texts = [f"a{c}1{c} {c}\n" for c in characters]
    text = "".join(texts)
    if gpt2.encode(text) != tiktoken_gpt2.encode_ordinary(text):
        differ = [t for t in texts if gpt2.encode(t) != tiktoken_gpt2.encode_ordinary(t)]
        pytest.fail(f"{len(differ)} characters differ, the first is {differ[:1]!r}")


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 50256), max_size=40))
def test_same_bytes_of_any_ids(gpt2, tiktoken_gpt2, ids):
    assert gpt2.decode_bytes(ids) == tiktoken_gpt2.decode_bytes(ids)
    assert gpt2.decode(ids) == tiktoken_gpt2.decode_bytes(ids).decode("utf-8", errors="replace")


@settings(max_examples=60, deadline=None)
@given(unit=st.text(st.sampled_from("abcdehilnorst中ß"), min_size=1, max_size=9), n=st.integers(2000, 9000))
def test_long_words_match_tiktoken(gpt2, tiktoken_gpt2, unit, n):
    word = (unit * n)[:n]  # longer than the window of GPT-2's vocabulary, 2048 bytes
    assert gpt2.encode(word) == tiktoken_gpt2.encode_ordinary(word)


# ---------------------------------------------------------------------------------- encode and decode alone


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_round_trip(text):
    tokenizer = small()
    for allow_special in (False, True):
        ids = tokenizer.encode(text, allow_special=allow_special)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(ids) == text.encode()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_encode_is_bpe_by_definition(data):
    """Join the pair of the lowest rank wherever it stands, until none is left: for any sound merge list."""
    corpus = data.draw(st.text("abc", min_size=30, max_size=200))
    merges = list(learn_merges(Counter([corpus]), 40))
    tokens = list(PRINTABLE.values())
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    tokenizer = small([(tokens[left], tokens[right]) for left, right in merges], special_tokens=())

    length = data.draw(st.integers(1, 1500))  # up to many windows
    text = data.draw(st.text("abc", min_size=1, max_size=length)) * 5
    ids = [tokens.index(c) for c in text]
    while present := set(pairwise(ids)) & set(merges):
        best = min(present, key=merges.index)
        ids = merge_pair(ids, best, 256 + merges.index(best))
    assert tokenizer.encode(text) == ids


@st.composite
def odd_tokenizers(draw):
    """Merges in an order that is allowed, but few of which a text can teach.

    A token may be made in several ways, or in none: no merge makes "bab" unless one is drawn that does.
    """
    tokens, used, merges = ["a", "b", "bab"], set(), []
    for _ in range(draw(st.integers(1, 12))):
        left, right = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        if left + right not in used and (left, right) not in merges and len(left + right) < 12:
            merges.append((left, right))
            used |= {left, right}
            tokens.append(left + right)
    vocab = dict.fromkeys([*PRINTABLE.values(), *tokens])
    return Tokenizer({token: i for i, token in enumerate(vocab)}, merges, ())


def by_definition(tokenizer, text):
    """The ids of one piece of printable ASCII."""
    symbols = list(text)
    while present := set(pairwise(symbols)) & set(tokenizer.merges):
        pair = min(present, key=tokenizer.merges.index)
        symbols = merge_pair(symbols, pair, "".join(pair))
    return [tokenizer.vocab[symbol] for symbol in symbols]


@settings(max_examples=500, deadline=None)
@given(tokenizer=odd_tokenizers(), texts=st.lists(st.text("ab", min_size=1, max_size=100), max_size=10))
def test_any_allowed_merges_give_the_ids_of_the_definition(tokenizer, texts):
    """Also for the texts of tokens: some come out as that token, others as several."""
    for text in ["bab", *map("".join, tokenizer.merges), *texts]:
        ids = by_definition(tokenizer, text)
        assert tokenizer.encode(text) == tokenizer._merge(text.encode()) == ids
        assert tokenizer._fast.merge_long(text.encode()) == ids
        assert (text.encode() in tokenizer._fast.whole) == (len(ids) == 1)


@pytest.mark.parametrize("merges, text, tokens", [
    ("a+b b+c a+bc", "abc", "ab c"),  # "abc" is a token, but b is taken before bc can be
    ("b+c a+b ab+c", "abc", "a bc"),
    ("a+b b+c a+bc ab+c", "abc", "abc"),  # made in two ways, of which the second comes about
    ("a+b b+c a+bc abc+d", "abcd", "ab c d"),  # a part is no word by itself
    ("a+a a+aa", "aaa", "aa a"),  # of pairs of one rank the left one is first
    ("a+a aa+a", "aaa", "aaa"),
    ("a+a aa+aa", "aaaa", "aaaa"),
])  # fmt: skip
def test_a_token_is_used_only_where_merging_makes_it(merges, text, tokens):
    tokenizer = small([tuple(merge.split("+")) for merge in merges.split()], ())
    assert tokenizer.encode(text) == [tokenizer.vocab[token] for token in tokens.split()]


def test_a_token_that_no_merge_makes_is_not_used():
    vocab = small().vocab
    vocab["rain"] = len(vocab)
    tokenizer = Tokenizer(vocab, MERGES)
    assert tokenizer.encode("rain") == [tokenizer.vocab[token] for token in ("r", "a", "in")]
    merges = [*MERGES, ("rain", "s")]
    vocab["rains"] = len(vocab)
    assert Tokenizer(vocab, merges).encode("rains") == tokenizer.encode("rains")


def test_all_words_of_gpt2_need_no_merging(gpt2):
    assert len(gpt2._fast.whole) == 50256
    for token, i in gpt2._fast.whole.items():
        assert gpt2._merge(token) == [i]


def test_long_words_take_linear_time():
    """Counted work: the bytes that are merged grow with the word's length, or hardly when it repeats."""
    rng = np.random.default_rng(0)
    letters = "".join(rng.choice(list("aehinort"), 40_000))
    for word, allowance in ((letters, 2.0), ("a" * 40_000, 0.2), ("the" * 13_000, 0.2)):
        tokenizer = counting(MERGES, ())
        ids, fast = tokenizer.encode(word), tokenizer._fast
        assert 0 < fast.work < allowance * len(word)
        assert fast.longest <= fast.window
        assert ids == fast.merge_long(word.encode())


def test_windows_that_disagree_fall_back_to_the_whole_word(monkeypatch):
    """Letters pair up from the right end, so that the last letter decides about the first."""
    monkeypatch.setattr("minigpt2.tokenizer.SHORT", 0)
    letters = string.ascii_letters
    merges = list(pairwise(letters))[::-1]
    tokenizer = counting(merges, ())
    odd = letters[:51]
    expected = [odd[0], *(odd[i : i + 2] for i in range(1, 51, 2))]
    assert tokenizer._fast.window == 32 and len(odd) == 51
    assert tokenizer.encode(odd) == [tokenizer.vocab[token] for token in expected]
    assert tokenizer._fast.longest == 51


@given(st.text(st.one_of(st.sampled_from(" 's!\n\t\x1c\x1f\x85\xa0\u2003abc1"), ASSIGNED), max_size=40))
def test_no_piece_reaches_across_chunks(text):
    chunks = CHUNKS.findall(text)
    assert "".join(chunks) == text
    assert [piece for chunk in chunks for piece in PIECES.findall(chunk)] == PIECES.findall(text)


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_pieces_of_ascii(text):
    assert ASCII_PIECES.findall(text) == PIECES.findall(text)


def test_pieces_of_any_two_ascii_characters():
    for pair in map("".join, product(map(chr, range(128)), repeat=2)):
        assert ASCII_PIECES.findall(pair) == PIECES.findall(pair)


def test_the_cache_stays_small(monkeypatch):
    monkeypatch.setattr("minigpt2.tokenizer.CACHE_BYTES", 1000)
    tokenizer = small()
    text = " ".join(f"word{n}" for n in range(5000))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    fast = tokenizer._fast
    for cache in (fast.chunks, fast.pieces, fast.windows):
        assert sum(map(len, cache)) <= 1000 + fast.window


@settings(max_examples=300, deadline=None)
@given(text=WORDY)
def test_encode_is_the_formula_of_its_docstring(gpt2, text):
    ids = []
    for piece in PIECES.findall(text):
        ids += gpt2._merge(piece.encode())
    assert gpt2.encode(text) == ids


@pytest.mark.parametrize("special_tokens, described", [
    ((), "263 tokens: 256 bytes, 7 merges"),
    (("<|endoftext|>",), "264 tokens: 256 bytes, 7 merges, special <|endoftext|>"),
    (("a\nb", "x" * 99), r"265 tokens: 256 bytes, 7 merges, special a\nb, xxxxxxxxxxxx...xxxxxxxxxxxxx"),
    ([f"<|{n}|>" for n in range(9)], "272 tokens: 256 bytes, 7 merges, special <|0|>, <|1|>, <|2|> and 6 more"),
])  # fmt: skip
def test_repr_is_one_line_that_describes(special_tokens, described):
    assert repr(small(special_tokens=special_tokens)) == f"Tokenizer({described})"


def test_repr_of_gpt2(gpt2):
    assert repr(gpt2) == "Tokenizer(50,257 tokens: 256 bytes, 50,000 merges, special <|endoftext|>)"


def test_a_tokenizer_can_be_sent_to_another_process():
    copy = pickle.loads(pickle.dumps(small()))
    assert copy.encode("the train") == small().encode("the train")


def test_answers_are_independent_copies():
    tokenizer = small()
    tokenizer.encode("the").append(7)
    tokenizer.encode("x" * 5000).clear()
    assert tokenizer.encode("the") == small().encode("the")
    assert len(tokenizer.encode("x" * 5000)) == 5000


def test_special_tokens_are_text_unless_allowed():
    tokenizer = small(special_tokens=("<|endoftext|>", "<|a|>", "<|a|><|b|>", "(?:x)"))
    end, a, ab, pattern = (tokenizer.vocab[t] for t in tokenizer.special_tokens)
    text = "x<|a|><|b|>x<|a|>(?:x)<|endoftext|>"
    x = tokenizer.vocab["x"]
    assert tokenizer.encode(text, allow_special=True) == [x, ab, x, a, pattern, end]
    assert not {end, a, ab, pattern} & set(tokenizer.encode(text))
    assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.decode([x, ab, x, a, pattern, end]) == text
    assert tokenizer.eos_id == end
    assert small(special_tokens=()).eos_id is None


def test_decode_takes_any_iterable_of_integers():
    tokenizer = small()
    ids = tokenizer.encode("the rain, then")
    for form in (tuple(ids), np.array(ids), np.array(ids, dtype=np.uint16), iter(ids), (i for i in ids)):
        assert tokenizer.decode(form) == "the rain, then"
    assert tokenizer.decode([]) == tokenizer.decode(np.array([], dtype=np.int64)) == ""


def test_bytes_that_are_not_utf8_become_replacement_characters():
    tokenizer = small()
    first, *rest = tokenizer.encode("é")
    assert tokenizer.decode([first]) == "\ufffd"
    assert tokenizer.decode([first, tokenizer.vocab["a"]]) == "\ufffda"
    assert tokenizer.decode_bytes([first]) == b"\xc3"
    assert tokenizer.decode([first, *rest]) == "é"


@pytest.mark.parametrize("ids, error, message", [
    ([0, 9999], ValueError, "id 9999 at position 1 .* 0 to 263"),
    ([-1], ValueError, "id -1 at position 0"),
    ([1.0], TypeError, "integers, got 1.0"),
    ([True], TypeError, "integers, got True"),
    (["a"], TypeError, "integers, got 'a'"),
    (np.array([1.5]), TypeError, "integers"),
    (np.array([True]), TypeError, "integers"),
    (np.zeros((1, 2), int), TypeError, r"integers, got \[0, 0\]"),
    (5, TypeError, "integers in a list or an array, got 5"),
])  # fmt: skip
def test_decode_rejects(ids, error, message):
    with pytest.raises(error, match=message):
        small().decode(ids)


def test_encode_rejects():
    tokenizer = small()
    for allow_special in (False, True):
        with pytest.raises(ValueError, match=r"lone surrogate, U\+D83D, at position 3"):
            tokenizer.encode("abc\ud83d", allow_special=allow_special)
        with pytest.raises(ValueError, match=r"U\+DC80, at position 6 \(line 2, column 4\): half a character"):
            tokenizer.encode("ab\ncde\udc80f", allow_special=allow_special)
    for text in (None, b"abc", 5, ["a"]):
        with pytest.raises(TypeError, match="expected a str as the text, got"):
            tokenizer.encode(text)


# -------------------------------------------------------------------------------------------------- explain


def test_explain_shows_every_step():
    the, rain = small().explain("the rain")
    assert the.text == "the" and the.bytes == b"the" and the.symbols == ["t", "h", "e"]
    assert [(m.rank, m.left, m.right, m.symbols) for m in the.merges] == [(2, "h", "e", ["t", "he"])]
    assert rain.symbols == ["Ġ", "r", "a", "i", "n"]
    assert [(m.rank, m.symbols) for m in rain.merges] == [(3, ["Ġ", "r", "a", "in"])]
    assert rain.tokens == ["Ġ", "r", "a", "in"]

    (piece,) = small().explain(" the")
    assert [m.rank for m in piece.merges] == [0, 2, 6]
    assert str(piece).splitlines() == [
        "' the'",
        "  bytes    20 74 68 65",
        "  symbols  Ġ t h e",
        "  rank 0      Ġ + t  ->  Ġt h e",
        "  rank 2      h + e  ->  Ġt he",
        "  rank 6      Ġt + he  ->  Ġthe",
        "  tokens   Ġthe",
        f"  ids      {small().vocab['Ġthe']}",
    ]


def test_explain_agrees_with_encode(gpt2):
    pieces = gpt2.explain(SAMPLE)
    assert "".join(p.text for p in pieces) == SAMPLE
    assert [i for p in pieces for i in p.ids] == gpt2.encode(SAMPLE)
    for p in pieces:
        assert p.bytes == p.text.encode() == gpt2.decode_bytes(p.ids)
        assert len(p.symbols) - len(p.merges) == len(p.tokens) == len(p.ids)
        assert (p.merges[-1].symbols if p.merges else p.symbols) == p.tokens
        assert all(gpt2.merges[m.rank] == (m.left, m.right) for m in p.merges)


# ---------------------------------------------------------------------------------------------------- train


def train_naively(texts, n_merges):
    """The definition: count every pair of the whole corpus anew for each merge."""
    byte_ids = {byte: i for i, byte in enumerate(PRINTABLE)}
    words = [[byte_ids[b] for b in piece.encode()] for text in texts for piece in PIECES.findall(text)]
    merges = []
    for new_id in range(256, 256 + n_merges):
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts or max(counts.values()) < 2:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        words = [merge_pair(word, best, new_id) for word in words]
    return merges


@settings(max_examples=300, deadline=None)
@given(
    texts=st.lists(st.text("aab cé'\n", max_size=80), max_size=4),
    length=st.integers(0, 400),
    seed=st.integers(0, 2**32),
    n_merges=st.integers(0, 30),
)
def test_training_is_the_definition_but_faster(texts, length, seed, n_merges):
    # hypothesis alone seldom writes long words
    texts.append("".join(random.Random(seed).choices("aaabbcdé ", k=length)))
    counts = Counter(piece for text in texts for piece in PIECES.findall(text))
    assert list(learn_merges(counts, n_merges)) == train_naively(texts, n_merges)


def test_training_example():
    """Wikipedia's "aaabdaaabac": Z = aa, Y = ab, X = ZY gives XdXac."""
    tokenizer = Tokenizer.train("aaabdaaabac", vocab_size=256 + 3, special_tokens=())
    assert tokenizer.merges == [("a", "a"), ("a", "b"), ("aa", "ab")]
    d, a, c = (tokenizer.vocab[x] for x in "dac")
    assert tokenizer.encode("aaabdaaabac") == [258, d, 258, a, c]


def test_training_lays_out_ids_as_gpt2_does():
    tokenizer = Tokenizer.train(SAMPLE * 3, vocab_size=300, special_tokens=("<|endoftext|>", "<|pad|>"))
    tokens = list(tokenizer.vocab)
    assert list(tokenizer.vocab.values()) == list(range(300))
    assert tokens[:256] == list(PRINTABLE.values())
    assert tokens[256:298] == [left + right for left, right in tokenizer.merges]
    assert tokens[298:] == ["<|endoftext|>", "<|pad|>"]
    assert len(tokenizer) == 300 and tokenizer.eos_id == 298


@pytest.mark.parametrize("language", [
    "the cat sat on the mat and the cat sat on the hat. ", "кот сидел на коте и кот сидел. ",
    "日本語の日本語の文章。", "قطة تجلس قطة تجلس ", "แมวนั่งบนแมวนั่งบน", "👩‍👩‍👧👩‍👩‍👧 🤗🤗 ",
    "\n\n\t  \u3000\u00a0\u2028\u0085 ",
])  # fmt: skip
def test_training_on_any_language(language):
    tokenizer = Tokenizer.train(language * 10, vocab_size=268)
    assert tokenizer.decode(tokenizer.encode(language)) == language
    assert len(tokenizer.encode(language)) < len(language.encode())


def test_training_is_deterministic_and_order_does_not_matter():
    texts = SAMPLE.splitlines(keepends=True) * 3
    first = Tokenizer.train(texts, vocab_size=320)
    assert Tokenizer.train(iter(texts), vocab_size=320).vocab == first.vocab
    assert Tokenizer.train(reversed(texts), vocab_size=320).merges == first.merges


def test_texts_of_an_iterable_are_separate():
    with pytest.warns(UserWarning, match="too small"):
        apart = Tokenizer.train(["ab", "ab", "ab"], vocab_size=300, special_tokens=())
    assert apart.merges == [("a", "b")]
    joined = Tokenizer.train("ababab", vocab_size=258, special_tokens=())
    assert joined.merges == [("a", "b"), ("ab", "ab")]  # "ab" + "ab" occurs twice, though they overlap


def test_training_on_too_little_text_stops_early():
    for text, n_merges in (("", 0), ([], 0), ("abcdefg", 0), ("abab", 1)):
        with pytest.warns(UserWarning, match=f"after {n_merges} merges no pair occurs twice"):
            tokenizer = Tokenizer.train(text, vocab_size=1000)
        assert len(tokenizer) == 257 + n_merges
        assert tokenizer.decode(tokenizer.encode("any text at all é")) == "any text at all é"


@pytest.mark.parametrize("arguments, error, message", [
    (dict(text="a", vocab_size=256), ValueError, "at least 257 .* got 256"),
    (dict(text="a", vocab_size=255, special_tokens=()), ValueError, "at least 256"),
    (dict(text="a", vocab_size=300.0), TypeError, "integer"),
    (dict(text="a", vocab_size=True), TypeError, "integer"),
    (dict(text=["a", 5]), TypeError, r"expected a str as the text, got 5 \(int\)"),
    (dict(text=b"abc"), TypeError, "expected a str as the text, or several, got b'abc'"),
    (dict(text=None), TypeError, "expected a str as the text, or several, got None"),
    (dict(text="a\udc80"), ValueError, "surrogate"),
    (dict(text="a", special_tokens=("x",)), ValueError, "special tokens"),
    (dict(text="a", special_tokens=("",)), ValueError, "special tokens"),
    (dict(text="a", special_tokens="<|endoftext|>"), TypeError, "special_tokens must be a list of str"),
    (dict(text="a", special_tokens=("<|a|>", "<|a|>")), ValueError, "special tokens"),
    (dict(text="a", special_tokens=(7,)), ValueError, "special tokens"),
])  # fmt: skip
def test_training_rejects(arguments, error, message):
    with pytest.raises(error, match=message):
        Tokenizer.train(**arguments)


def test_progress_bar_only_where_asked(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    Tokenizer.train(SAMPLE, vocab_size=270)
    assert capsys.readouterr().err == ""
    Tokenizer.train(SAMPLE, vocab_size=270, progress=True)
    assert "learning merges: 100%" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ files, in and out


def test_save_and_load(tmp_path):
    tokenizer = Tokenizer.train(SAMPLE * 3, 330, special_tokens=("<|endoftext|>", "<|pad|>", "a b"))
    tokenizer.save_pretrained(tmp_path / "new" / "folder")
    again = Tokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert again.vocab == tokenizer.vocab
    assert again.merges == tokenizer.merges
    assert again.special_tokens == tokenizer.special_tokens
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "merges.txt", "tokenizer_config.json", "vocab.json",
    ]  # fmt: skip


@pytest.mark.parametrize("special_tokens", [
    (), ("<|endoftext|>",), ("<|pad|>",), ("<|endoftext|>", "<|pad|>", "a b"),
])  # fmt: skip
def test_transformers_opens_what_we_save(tmp_path, special_tokens):
    transformers = pytest.importorskip("transformers", reason="it comes with the extra [reference]")
    ours = Tokenizer.train(SAMPLE * 3, vocab_size=330, special_tokens=special_tokens)
    ours.save_pretrained(tmp_path)
    text = SAMPLE + "<|pad|>x a b y"
    for loader in (transformers.AutoTokenizer, transformers.GPT2Tokenizer):
        theirs = loader.from_pretrained(tmp_path)
        assert len(theirs) == len(ours)
        assert theirs.eos_token_id == ours.eos_id
        assert theirs(text)["input_ids"] == ours.encode(text, allow_special=True)
        assert theirs.decode(ours.encode(text), clean_up_tokenization_spaces=False) == text


def test_both_names_of_the_files(gpt2, gpt2_vocab, tmp_path):
    gpt2.save_pretrained(tmp_path)
    assert (tmp_path / "merges.txt").read_bytes() == (gpt2_vocab / "vocab.bpe").read_bytes()
    assert json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8")) == gpt2.vocab
    again = Tokenizer.from_pretrained(str(tmp_path))
    assert again.merges == gpt2.merges and again.encode(SAMPLE) == gpt2.encode(SAMPLE)


def test_loads_what_a_char_tokenizer_saved(tmp_path):
    CharTokenizer.train("hello").save_pretrained(tmp_path)
    assert isinstance(Tokenizer.from_pretrained(tmp_path), CharTokenizer)


def test_merges_with_windows_line_ends_or_without_version_line(tmp_path):
    small().save_pretrained(tmp_path)
    path = tmp_path / "merges.txt"
    for content in (path.read_bytes().replace(b"\n", b"\r\n"), path.read_bytes().partition(b"\n")[2]):
        path.write_bytes(content)
        assert Tokenizer.from_pretrained(tmp_path).merges == MERGES


def test_an_empty_merge_list_is_a_byte_tokenizer(tmp_path):
    small([]).save_pretrained(tmp_path)
    assert Tokenizer.from_pretrained(tmp_path).encode("!é") == [0, 127, 102]


def broken(folder, name, change):
    path = folder / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def vocabulary(**entries):
    return lambda text: json.dumps({k: v for k, v in (json.loads(text) | entries).items() if v is not ...})


@pytest.mark.parametrize("name, change, message", [
    ("vocab.json", lambda text: text[:-9], r"vocab.json is not valid JSON"),
    ("vocab.json", lambda text: "[1]", r"vocab.json: expected a JSON object"),
    ("vocab.json", lambda text: "{}", r"'<\|endoftext\|>' has the id 263, expected 0"),
    ("vocab.json", vocabulary(a=5), r"vocab.json: the id 5 of 'a' is given twice"),
    ("vocab.json", vocabulary(a="5"), r"vocab.json: the id of 'a' must be an integer, 0 or more, got '5'"),
    ("vocab.json", vocabulary(a=-1), r"vocab.json: the id of 'a' must be"),
    ("vocab.json", vocabulary(a=True), r"vocab.json: the id of 'a' must be"),
    ("vocab.json", vocabulary(a=1.5), r"vocab.json: the id of 'a' must be"),
    ("vocab.json", vocabulary(日本=999), r"vocab.json: '日本' \(id 999\) is neither"),
    ("vocab.json", vocabulary(Ġthe=...), r"merges.txt, line 8: merge 7 .*'Ġthe' is not an ordinary token"),
    ("merges.txt", lambda text: text + "q\n", r"merges.txt, line 9: expected two tokens .* got 'q'"),
    ("merges.txt", lambda text: text + "q u e\n", r"merges.txt, line 9: expected two tokens"),
    ("merges.txt", lambda text: text.replace("h e", "h  e"), r"merges.txt, line 4: expected two tokens"),
    ("merges.txt", lambda text: text.replace("h e\n", "h e\n\n"), r"merges.txt, line 5: expected two tokens"),
    ("merges.txt", lambda text: text + "q u\n", r"merges.txt, line 9: merge 8 \('q' \+ 'u'\): 'qu' is no"),
    ("merges.txt", lambda text: text + "h e\n", r"merges.txt, line 9: .* the same pair as merge 3"),
    ("merges.txt", lambda text: text.replace("h e\n", "") + "h e\n", r"line 8: .* already uses 'he'"),
    ("tokenizer_config.json", lambda text: "x", r"tokenizer_config.json is not valid JSON"),
    ("tokenizer_config.json", lambda text: '{"added_tokens_decoder": 5}', r"tokenizer_config.json: .* expected"),
    ("tokenizer_config.json", lambda text: '{"added_tokens_decoder": {"x": {"content": 1, "special": true}}}',
     r"tokenizer_config.json: .* expected"),
])  # fmt: skip
def test_malformed_files_are_named(tmp_path, name, change, message):
    small().save_pretrained(tmp_path)
    broken(tmp_path, name, change)
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_pretrained(tmp_path)


def test_files_that_are_not_text(tmp_path):
    small().save_pretrained(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"#version: 0.2\n\xff \xfe\n")
    with pytest.raises(ValueError, match=r"merges\.txt is not UTF-8"):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_missing_files(tmp_path, name):
    small().save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer: expected vocab.json and merges.txt"):
        Tokenizer.from_pretrained(tmp_path)


def test_ids_may_have_gaps(tmp_path):
    small().save_pretrained(tmp_path)
    broken(tmp_path, "vocab.json", vocabulary(Ġthe=10**12))
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == 10**12 + 1
    assert tokenizer.decode(tokenizer.encode(" the")) == " the"
    with pytest.raises(ValueError, match="id 500 at position 0"):
        tokenizer.decode([500])


def test_added_tokens_of_a_configuration_are_special(tmp_path):
    small().save_pretrained(tmp_path)
    added = {"264": {"content": "[PAD]", "special": True}, "69": {"content": "f", "special": False}}
    broken(tmp_path, "tokenizer_config.json", lambda _: json.dumps({"added_tokens_decoder": added}))
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.special_tokens == ("<|endoftext|>", "[PAD]")
    assert tokenizer.encode("[PAD]", allow_special=True) == [264]


@pytest.mark.parametrize(
    "ids, message",
    [
        (5, r"ids must be integers in a list or an array, got 5; a single one is \[id\]"),
        (np.int64(5), r"got 5; a single one is \[id\]"),
        (None, "in a list or an array, got None"),
        (b"abc", "in a list or an array, got b'abc'"),
        ([[1, 2]], r"got \[1, 2\] \(list\) at position 0; decode one sequence at a time"),
        (np.array([[1, 2]]), "decode one sequence at a time"),
    ],
)
def test_decode_names_what_are_no_ids(ids, message):
    with pytest.raises(TypeError, match=message):
        Tokenizer.train("", 257).decode(ids)


def test_decode_takes_tensors():
    class Tensor:  # as torch's, JAX's or CuPy's: its elements are no integers to Python
        def tolist(self):
            return [72, 73]

    tokenizer = Tokenizer.train("", 257)
    assert tokenizer.decode(Tensor()) == tokenizer.decode([72, 73])


@pytest.mark.parametrize(
    "mistake, message",
    [
        (lambda t: t.encode(["a"]), r"expected a str as the text, got \['a'\] \(list\); give one text at a time"),
        (lambda t: t.encode(b"a"), r"got b'a' \(bytes\); decode it first: text.decode\(\)"),
        (lambda t: t.encode("a", allow_special="all"), "allow_special must be True or False, got 'all'"),
        (lambda t: Tokenizer("vocab.json", "merges.txt"), "vocab must be a dict .*, got 'vocab.json'"),
        (lambda t: Tokenizer.train("a", 300, special_tokens="<|x|>"), r"special_tokens must be a list .* is \[token\]"),
        (lambda t: Tokenizer.train(Path("a.txt"), 300), "a str as the text, or several, got .*; read a file first"),
        (lambda t: Tokenizer.train({"text": "a"}, 300), "expected a str as the text, or several, got"),
    ],
)
def test_texts_as_beginners_give_them_are_named(mistake, message):
    with pytest.raises(TypeError, match=message):
        mistake(Tokenizer.train("", 257))
