"""Exercise 1, the tokenizer: byte-pair encoding, learned from a text, applied to another, and decoded."""

from collections import Counter
from itertools import pairwise

from minigpt2 import tokenizer, vocabulary
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_4_datasets"
TEXT = "Der Bär und die Bären, das Café und die Cafés: naïve Bücher, 3 € oder 30 €, 30 € oder 3 €. "


def _ids(rng, pattern, ordered=False):
    """List of ids below 256 with the pattern of a word; ``ordered``: an earlier letter is a lower id."""
    letters = sorted(set(pattern))
    values = rng.choice(256, len(letters), replace=False)
    values = sorted(values) if ordered else values
    id_of = dict(zip(letters, map(int, values), strict=True))
    return [id_of[letter] for letter in pattern]


def _random_ids(rng, length, different):
    """Ids, some of which are more frequent than others."""
    values = rng.choice(256, different, replace=False)
    return [int(values[int(different * rng.random() ** 2)]) for _ in range(length)]


# 1. Count.


def pair_counts(ids):
    """How often each pair of neighbours occurs: {(left, right): count}."""
    return dict(Counter(pairwise(ids)))


def _count_cases(rng):
    return [
        Case("seven ids", {"ids": _ids(rng, "abcabcb")}),
        Case("runs of equal ids", {"ids": _ids(rng, "aaabbaaaacbb")}),
        Case("the same id five times", {"ids": _ids(rng, "aaaaa")}),
        Case("a pair and its mirror image", {"ids": _ids(rng, "abcbacab")}),
        Case("the first id is also the last", {"ids": _ids(rng, "abca")}),
        Case("two ids", {"ids": _ids(rng, "ab")}),
        Case("an empty list", {"ids": []}),
        Case("three hundred ids", {"ids": _random_ids(rng, 300, 12)}),
        Case("ids above 255, of earlier merges", {"ids": [256, 300, 256, 300, 300, 7, 300, 300]}),
    ]


def _apart(ids):
    """Counts in which no id belongs to two equal pairs."""
    counts, i, last = Counter(), 0, None
    for i, pair in enumerate(pairwise(ids)):
        if last is not None and pair == last[1] and i == last[0] + 1:
            last = None
            continue
        counts[pair] += 1
        last = (i, pair)
    return dict(counts)


def _in_any_order(ids):
    return dict(Counter(tuple(sorted(pair)) for pair in pairwise(ids)))


COUNTS = Task(
    name="pair_counts",
    outputs=("counts",),
    reference=pair_counts,
    cases=_count_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "An index runs past the end. The last id has no neighbour on its right: how many pairs do n ids have?",
            lambda ids: [ids[i + 1] for i in range(len(ids))],
        ),
        Mistake(
            "The ids are cut into pairs, two by two. But every id is the left one of a pair with its right neighbour: "
            "in a b c d the pair (b, c) counts too.",
            lambda ids: dict(Counter(zip(ids[::2], ids[1::2], strict=False))),
        ),
        Mistake(
            "In a run of equal ids every second pair is omitted. At how many places of a a a does the pair (a, a) "
            "begin? Overlaps count here, though only one of the two can be merged later.",
            _apart,
        ),
        Mistake(
            "(a, b) and (b, a) are counted as the same. A pair has an order: the left id stays on the left.",
            _in_any_order,
        ),
        Mistake(
            "The last pair of the list is not counted. Where does the loop end?",
            lambda ids: pair_counts(ids[:-1]),
        ),
        Mistake(
            "The first pair of the list is not counted. Where does the loop begin?",
            lambda ids: pair_counts(ids[1:]),
        ),
        Mistake(
            "There is a pair of the last id and the first one: in Python the index -1 is not an error, it is the other "
            "end.",
            lambda ids: dict(Counter(zip([*ids[-1:], *ids[:-1]], ids, strict=True))),
        ),
        Mistake(
            "Every count is 1: it is set again at each place. Where is the old one added?",
            lambda ids: dict.fromkeys(pairwise(ids), 1),
        ),
        Mistake(
            "Every count is one too small. What is the count of a pair when it has been met for the first time?",
            lambda ids: {pair: count - 1 for pair, count in pair_counts(ids).items()},
        ),
        Mistake(
            "Single ids are counted, not pairs.",
            lambda ids: dict(Counter(ids)),
        ),
    ),
)


# 2. Merge.


def merge(ids, pair, new_id):
    """ids with every ``pair`` replaced by ``new_id``, from left to right."""
    merged = []
    for i in ids:
        if merged and (merged[-1], i) == tuple(pair):
            merged[-1] = new_id
        else:
            merged.append(i)
    return merged


def _merge_case(title, ids, pattern, wanted, new_id=256):
    """Merge the pair that two letters of the pattern stand for."""
    return Case(title, {"ids": ids, "pair": tuple(ids[pattern.index(x)] for x in wanted), "new_id": new_id})


def _merge_cases(rng):
    cases = [
        ("the pair occurs three times", "abcabbaab", "ab", 256),
        ("the same id three times", "baaac", "aa", 257),
        ("a run of four", "aaaab", "aa", 256),
        ("a run of five", "baaaaa", "aa", 256),
        ("the mirror image too", "baabba", "ab", 260),
        ("the pair is at the end", "cacab", "ab", 256),
        ("nothing but the pair", "ab", "ab", 300),
    ]
    cases = [_merge_case(title, _ids(rng, word), word, pair, new_id) for title, word, pair, new_id in cases]
    ids = _random_ids(rng, 200, 4)
    return [
        *cases,
        Case("an empty list", {"ids": [], "pair": (1, 2), "new_id": 256}),
        Case("two hundred ids", {"ids": ids, "pair": (ids[0], ids[1]), "new_id": 1000}),
    ]


def _merge_from_the_right(ids, pair, new_id):
    return merge(ids[::-1], pair[::-1], new_id)[::-1]


def _merge_and_keep_right(ids, pair, new_id):
    return [new_id if two == pair else two[0] for two in pairwise(ids)] + ids[-1:]


def _merge_and_keep_left(ids, pair, new_id):
    return ids[:1] + [new_id if two == pair else two[1] for two in pairwise(ids)]


def _merge_once(ids, pair, new_id):
    at = next((i for i, two in enumerate(pairwise(ids)) if two == pair), None)
    return ids if at is None else [*ids[:at], new_id, *ids[at + 2 :]]


def _merge_in_any_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = sorted(ids[i : i + 2]) == sorted(pair)
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def _merge_without_the_last(ids, pair, new_id):
    """The loop goes over all ids except the last one, which is then lost."""
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def _merge_but_the_last_pair(ids, pair, new_id):
    """The loop ends before the last pair."""
    return merge(ids[:-1], pair, new_id) + ids[-1:]


MERGE = Task(
    name="merge",
    outputs=("ids",),
    reference=merge,
    cases=_merge_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "An index runs past the end. The last id has no neighbour on its right; and a list from which something is "
            "taken gets shorter, while `range(len(...))` does not.",
            lambda ids, pair, new_id: [ids[i + 1] for i in range(len(ids))],
        ),
        Mistake(
            "The right one of the two ids is still there. After a merge, how far must the loop move on?",
            _merge_and_keep_right,
        ),
        Mistake(
            "The left one of the two ids is still there. Two ids become one.",
            _merge_and_keep_left,
        ),
        Mistake(
            "It merges from right to left: in a a a the last two. The rule is from left to right, and encoding must do "
            "the same as training.",
            _merge_from_the_right,
        ),
        Mistake(
            "Only the first place is merged. Does something return, or break, too early?",
            _merge_once,
        ),
        Mistake(
            "The mirror image (b, a) is merged as well. A pair has an order.",
            _merge_in_any_order,
        ),
        Mistake(
            "The last id is lost where it is not part of a pair. Where does the loop end, and what copies that id?",
            _merge_without_the_last,
        ),
        Mistake(
            "A pair at the very end is not merged. Where does the loop end?",
            _merge_but_the_last_pair,
        ),
        Mistake(
            "Nothing is merged at all: in Python a list never equals a tuple, [1, 2] == (1, 2) is False. What do you "
            "compare with pair?",
            lambda ids, pair, new_id: ids,
        ),
        Mistake(
            "Every id that is the left one of the pair is replaced, whatever is on its right.",
            lambda ids, pair, new_id: [new_id if i == pair[0] else i for i in ids],
        ),
        Mistake(
            "Both ids of the pair are replaced wherever they occur, so each pair gives two new ids.",
            lambda ids, pair, new_id: [new_id if i in pair else i for i in ids],
        ),
    ),
)


# 3. Train.


def _lowest(counts):
    """The most frequent pair; among equally frequent ones the one with the lowest ids, left id first."""
    return min(counts, key=lambda pair: (-counts[pair], pair))


def bpe_train(ids, num_merges, choose=_lowest, count=pair_counts, merge=merge, least=2, new_id=lambda ids, n: 256 + n):
    """The list of pairs that are merged, best first; the n-th, from 0, makes the id 256 + n."""
    merges = []
    while len(merges) < num_merges:
        counts = count(ids)
        if not counts or counts[pair := choose(counts)] < least:
            break
        ids = merge(ids, pair, new_id(ids, len(merges)))
        merges.append(pair)
    return merges


def _train_cases(rng):
    def case(title, pattern, num_merges, ordered=False):
        return Case(title, {"ids": _ids(rng, pattern, ordered), "num_merges": num_merges})

    return [
        case("two merges", "abcdabcdebcdebcdefbc", 2),
        case("one merge", "abcbcabc", 1),
        case("equally frequent pairs", "mnmnzyzyacackbkbpqpq", 5, ordered=True),
        case("the same id again and again", "aaaaaaaabaaac", 3),
        case("fewer pairs than merges", "abababcab", 50),
        Case("an empty list", {"ids": [], "num_merges": 3}),
        Case("two hundred ids", {"ids": _random_ids(rng, 200, 6), "num_merges": 25}),
        Case("the bytes of a text", {"ids": list(TEXT.encode()), "num_merges": 40}),
    ]


def _sorted_once(ids, num_merges):
    counts = {pair: count for pair, count in pair_counts(ids).items() if count > 1}
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[:num_merges]


def _as_dict(ids, num_merges):
    return {pair: 256 + n for n, pair in enumerate(bpe_train(ids, num_merges))}


def _with_counts(ids, num_merges):
    entries = []
    for n, pair in enumerate(bpe_train(ids, num_merges)):
        entries.append((pair, pair_counts(ids)[pair]))
        ids = merge(ids, pair, 256 + n)
    return entries


TIE = (
    "Among equally frequent pairs it takes {}. The rule is: the one with the lowest ids, the left id first. Pairs are "
    "tuples, and tuples can be compared."
)

TRAIN = Task(
    name="bpe_train",
    outputs=("merges",),
    reference=bpe_train,
    cases=_train_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "In runs of equal ids every second pair is missing from the counts. Does it count with pair_counts?",
            lambda ids, num_merges: bpe_train(ids, num_merges, count=_apart),
        ),
        Mistake(
            "A pair that occurs once is merged. It would save a single place in this text and none in another: when "
            "must training stop?",
            lambda ids, num_merges: bpe_train(ids, num_merges, least=1),
        ),
        Mistake(
            "It stops too early: a pair that occurs twice is worth a merge.",
            lambda ids, num_merges: bpe_train(ids, num_merges, least=3),
        ),
        Mistake(
            TIE.format("the one that comes first in the text"),
            lambda ids, num_merges: bpe_train(ids, num_merges, lambda counts: max(counts, key=counts.get)),
        ),
        Mistake(
            TIE.format("the one whose first occurrence comes last in the text"),
            lambda ids, num_merges: bpe_train(
                ids, num_merges, lambda counts: max(reversed(counts), key=counts.get)
            ),
        ),
        Mistake(
            TIE.format("the one with the highest ids"),
            lambda ids, num_merges: bpe_train(
                ids, num_merges, lambda counts: max(counts, key=lambda pair: (counts[pair], pair))
            ),
        ),
        Mistake(
            TIE.format("the one with the lowest id on the right"),
            lambda ids, num_merges: bpe_train(
                ids, num_merges, lambda counts: min(counts, key=lambda pair: (-counts[pair], pair[::-1]))
            ),
        ),
        Mistake(
            "The pairs are counted once, at the beginning. A merge makes new pairs and takes away old ones: what must "
            "happen before the next one is chosen?",
            _sorted_once,
        ),
        Mistake(
            "The pairs are counted once, at the beginning. A merge makes new pairs and takes away old ones: what must "
            "happen before the next one is chosen?",
            lambda ids, num_merges: [
                pair for pair, count in Counter(pairwise(ids)).most_common(num_merges) if count > 1
            ],
        ),
        Mistake(
            "The new ids begin with 257. What is the first number that no byte has?",
            lambda ids, num_merges: bpe_train(ids, num_merges, new_id=lambda ids, n: 257 + n),
        ),
        Mistake(
            "The new ids begin with 255, which is a byte. What is the first number that no byte has?",
            lambda ids, num_merges: bpe_train(ids, num_merges, new_id=lambda ids, n: 255 + n),
        ),
        Mistake(
            "The new ids begin with 0, where the bytes are.",
            lambda ids, num_merges: bpe_train(ids, num_merges, new_id=lambda ids, n: n),
        ),
        Mistake(
            "A new id is one more than the largest id of this text. All 256 bytes have their ids, including those that "
            "do not occur here.",
            lambda ids, num_merges: bpe_train(ids, num_merges, new_id=lambda ids, n: max(ids) + 1),
        ),
        Mistake(
            "A dict of the merges came back. A list of the pairs is wanted; the place of a pair in it says which id it "
            "makes.",
            _as_dict,
        ),
        Mistake(
            "There is one merge too many. How many are in the list when the loop must end?",
            lambda ids, num_merges: bpe_train(ids, num_merges + 1),
        ),
        Mistake(
            "There is one merge too few. How many are in the list when the loop must end?",
            lambda ids, num_merges: bpe_train(ids, num_merges - 1),
        ),
        Mistake(
            "num_merges is ignored: the loop continues until no pair occurs twice.",
            lambda ids, num_merges: bpe_train(ids, len(ids)),
        ),
        Mistake(
            "After each choice only the first place is merged in the text. Does it merge with your function merge?",
            lambda ids, num_merges: bpe_train(ids, num_merges, merge=_merge_once),
        ),
        Mistake(
            "The rarest pair is taken. The most frequent one saves most.",
            lambda ids, num_merges: bpe_train(
                ids, num_merges, lambda counts: min(counts, key=lambda pair: (counts[pair], pair)), least=1
            ),
        ),
        Mistake(
            "The list also holds how often each pair occurred. Only the pairs are wanted.",
            _with_counts,
        ),
    ),
)


# 4. Encode.


def bpe_encode(ids, merges, choose=min, merge=merge, first=256):
    """ids with all merges carried out, always the pair of the lowest rank."""
    rank = {pair: n for n, pair in enumerate(merges)}
    while known := [pair for pair in pairwise(ids) if pair in rank]:
        pair = choose(known, key=rank.get)
        ids = merge(ids, pair, first + rank[pair])
    return ids


def _encode_cases(rng):
    a, b, c, d = _ids(rng, "abcd", ordered=True)
    trained = bpe_train(_random_ids(rng, 400, 6), 30)
    letters = [i for pair in trained for i in pair if i < 256]
    once = [(c, b), (a, b), (c, d), (256, d), (d, 257)]
    return [
        Case("seven ids", {"ids": [a, b, c, d, b, c, d], "merges": [(b, c), (a, b), (c, d), (b, 258)]}),
        Case("a merge that is of no use, and one of a merged id", {"ids": [c, d, a, b, d, a, b, d], "merges": once}),
        Case("five of a kind", {"ids": [a] * 5, "merges": [(a, a), (256, a), (256, 256)]}),
        Case("eleven of a kind", {"ids": [a] * 11 + [b], "merges": [(a, a), (256, 256), (257, 257)]}),
        Case("an empty list", {"ids": [], "merges": [(a, b)]}),
        Case("one pair", {"ids": [a, b], "merges": [(a, b)]}),
        Case("sixty ids, thirty merges", {"ids": [int(i) for i in rng.choice(letters, 60)], "merges": trained}),
        Case(
            "the bytes of a text",
            {"ids": list("Der naïve Bär, 33 €".encode()), "merges": bpe_train(list(TEXT.encode()), 40)},
        ),
    ]


def _encode_leftmost(ids, merges):
    """Always the pair of the list that comes first in the text."""
    while pair := next((pair for pair in pairwise(ids) if pair in merges), None):
        ids = _merge_once(ids, pair, 256 + merges.index(pair))
    return ids


def _spelled(merges, order=1):
    """id -> its bytes, as a tuple; order -1 joins the right one to the left one."""
    spelling = {i: (i,) for i in range(256)}
    for n, pair in enumerate(merges):
        left, right = pair[::order]
        spelling[256 + n] = spelling[left] + spelling[right]
    return spelling


def _encode_longest(ids, merges):
    """From left to right, always the longest token that fits."""
    id_of = {spelling: i for i, spelling in reversed(_spelled(merges).items())}
    found, at = [], 0
    while at < len(ids):
        length = max(n for n in range(1, len(ids) - at + 1) if tuple(ids[at : at + n]) in id_of)
        found.append(id_of[tuple(ids[at : at + length])])
        at += length
    return found


def _encode_in_one_pass(ids, merges, merge=merge, stop=False):
    """The merges one after the other; that is right if every place is merged, and no merge is skipped."""
    for n, pair in enumerate(merges):
        if stop and pair not in list(pairwise(ids)):
            break
        ids = merge(ids, pair, 256 + n)
    return ids


def _encode_most_frequent(ids, merges):
    while known := {pair: count for pair, count in pair_counts(ids).items() if pair in merges}:
        pair = _lowest(known)
        ids = merge(ids, pair, 256 + merges.index(pair))
    return ids


def _encode_one_step(ids, merges):
    """A single merge, the one with the lowest rank."""
    found = [pair for pair in merges if pair in list(pairwise(ids))]
    return merge(ids, found[0], 256 + merges.index(found[0])) if found else ids


def _encode_of_bytes(ids, merges):
    """Merges of the original ids only; merged ids are not merged again."""
    return _encode_in_one_pass(ids, [pair if max(pair) < 256 else (-1, -1) for pair in merges])


ENCODE = Task(
    name="bpe_encode",
    outputs=("ids",),
    reference=bpe_encode,
    cases=_encode_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "It merges the known pair that comes first in the text. The order is that of training: which of the known "
            "pairs has the lowest rank, wherever it occurs?",
            _encode_leftmost,
        ),
        Mistake(
            "It takes the longest token that fits, from left to right. Other tokenizers do so (WordPiece); BPE replays "
            "its merges in the order in which they were learned.",
            _encode_longest,
        ),
        Mistake(
            "It takes the pair with the highest rank first, the one that was learned last. The pair that was learned "
            "first is merged first.",
            lambda ids, merges: bpe_encode(ids, merges, max),
        ),
        Mistake(
            "It takes the pair that is most frequent in this text. Counting belongs to training; here the list of "
            "merges decides.",
            _encode_most_frequent,
        ),
        Mistake(
            "Each merge is carried out at one place only, and then the next one is tried.",
            lambda ids, merges: _encode_in_one_pass(ids, merges, _merge_once),
        ),
        Mistake(
            "It ends after a single merge. A merge can make new pairs that are in the list: when is there nothing left "
            "to do?",
            _encode_one_step,
        ),
        Mistake(
            "It ends at the first merge of the list whose pair does not occur. Later ones may still occur.",
            lambda ids, merges: _encode_in_one_pass(ids, merges, stop=True),
        ),
        Mistake(
            "Only pairs of the original bytes are merged. Ids that were made by a merge can also be part of a pair.",
            _encode_of_bytes,
        ),
        Mistake(
            "The new ids are not 256 + rank: they begin with 257. The ranks count from 0.",
            lambda ids, merges: bpe_encode(ids, merges, first=257),
        ),
        Mistake(
            "The new ids are the bare ranks, which are the ids of bytes. Which number must be added?",
            lambda ids, merges: bpe_encode(ids, merges, first=0),
        ),
        Mistake(
            "Runs of equal ids are merged from right to left. In a a a the first two become one.",
            lambda ids, merges: bpe_encode(ids, merges, merge=_merge_from_the_right),
        ),
        Mistake(
            "Nothing was merged. Are the neighbours compared with the pairs of the list as tuples?",
            lambda ids, merges: ids,
        ),
    ),
)


# 5. Decode.


def bpe_decode(ids, merges, errors="replace", order=1):
    """The text that ids spell; bytes that are not UTF-8 become U+FFFD."""
    spelling = _spelled(merges, order)
    return bytes(byte for i in ids for byte in spelling[i]).decode(errors=errors)


def _decode_cases(rng):
    letters = list(rng.permutation(list(b"abcdefgh")))
    a, b, c, d = map(int, letters[:4])
    merges = bpe_train(list(TEXT.encode()), 60)
    accent, euro = list("é".encode()), list("€".encode())
    return [
        Case("merges of merges", {"ids": [258, a, 257, 256], "merges": [(a, b), (256, c), (d, 257)]}),
        Case("letters alone", {"ids": [c, a, b], "merges": [(a, b)]}),
        Case("a character of two bytes", {"ids": [a, 256, b], "merges": [tuple(accent)]}),
        Case("a character in two tokens", {"ids": [a, *accent, b, 256, euro[2]], "merges": [tuple(euro[:2])]}),
        Case("half a character", {"ids": [a, accent[0], b, 256], "merges": [tuple(euro[:2])]}),
        Case("an empty list", {"ids": [], "merges": [(a, b)]}),
        Case("no merges", {"ids": list("¿Qué?".encode()), "merges": []}),
        Case("a text", {"ids": bpe_encode(list(TEXT.encode()), merges), "merges": merges}),
    ]


def _decode_one_level(ids, merges):
    """The two parts of a merge, which may be merges themselves."""
    return bytes(byte for i in ids for byte in (merges[i - 256] if i > 255 else (i,))).decode(errors="replace")


DECODE = Task(
    name="bpe_decode",
    outputs=("text",),
    reference=bpe_decode,
    cases=_decode_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "Each token is decoded by itself. But a token can hold one half of a character: join the bytes of all of "
            "them first.",
            lambda ids, merges: "".join(bpe_decode([i], merges) for i in ids),
        ),
        Mistake(
            "Bytes that are not UTF-8 raise an error. A model may write any ids; look up what `errors` can be in "
            "bytes.decode.",
            lambda ids, merges: bpe_decode(ids, merges, "strict"),
        ),
        Mistake(
            "Bytes that are not UTF-8 vanish. One should see that something was there: look up what else `errors` can "
            "be in bytes.decode.",
            lambda ids, merges: bpe_decode(ids, merges, "ignore"),
        ),
        Mistake(
            "Each byte became a separate character. In UTF-8 a character can have up to four bytes.",
            lambda ids, merges: "".join(chr(byte) for i in ids for byte in _spelled(merges)[i]),
        ),
        Mistake(
            "A merge is taken apart only once. Its parts may be merges themselves.",
            _decode_one_level,
        ),
        Mistake(
            "The two parts of a merge are joined in the wrong order: the left part stays on the left.",
            lambda ids, merges: bpe_decode(ids, merges, order=-1),
        ),
        Mistake(
            "Bytes came back. One step is missing from them to a text.",
            lambda ids, merges: bytes(byte for i in ids for byte in _spelled(merges)[i]),
        ),
        Mistake(
            "A list of bytes came back. Two steps are missing from it to a text.",
            lambda ids, merges: [byte for i in ids for byte in _spelled(merges)[i]],
        ),
        Mistake(
            "The text comes out backwards. When a merge is taken apart on a stack, which part comes off first?",
            lambda ids, merges: bpe_decode(ids, merges)[::-1],
        ),
    ),
)


# The harder part: GPT-2's way, word by word, on bytes in a special order.


def _printable(visible, shift=lambda byte, n: 256 + n):
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(shift(byte, n)) for n, byte in enumerate(hidden)}


VISIBLE = list(vocabulary.PRINTABLE)[:188]

PRINTABLE_BYTES = Task(
    name="printable_bytes",
    outputs=("table",),
    reference=vocabulary.printable_bytes,
    cases=lambda rng: [Case("the table", {})],
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "Each byte stands for itself, even those that cannot be seen. Which character does a space become?",
            lambda: {byte: chr(byte) for byte in range(256)},
        ),
        Mistake(
            "The bytes that cannot be seen get 256 plus themselves. They get the characters from 256 on, one after the "
            "other: what number does the n-th of them have?",
            lambda: _printable(VISIBLE, lambda byte, n: 256 + byte),
        ),
        Mistake(
            "The three ranges lack their last characters: Python's range ends before its second number.",
            lambda: _printable([byte for byte in VISIBLE if chr(byte) not in "~¬ÿ"]),
        ),
        Mistake(
            "Byte 173 is printed as it is. It is the soft hyphen, which most programs do not show: there is a gap "
            "between the last two ranges.",
            lambda: _printable([*VISIBLE, 173]),
        ),
        Mistake(
            "The space is printed as it is. Then a token that begins with a space could not be told from two tokens in "
            "merges.txt.",
            lambda: _printable([*VISIBLE, 32]),
        ),
        Mistake(
            "The table is the wrong way round: it gives the byte of a character.",
            lambda: dict(vocabulary.BYTE_OF),
        ),
        Mistake(
            "The values are the numbers of the characters. `chr` turns them into characters.",
            lambda: {byte: ord(character) for byte, character in vocabulary.PRINTABLE.items()},
        ),
    ),
)


def learn_merges(counts, n_merges):
    """The library's own, as a list."""
    return list(tokenizer.learn_merges(counts, n_merges))


BYTE_IDS = {byte: i for i, byte in enumerate(vocabulary.PRINTABLE)}


def _gpt2_ids(word):
    return [BYTE_IDS[byte] for byte in word.encode()]


def _learn_merges(counts, n_merges, ids=_gpt2_ids, weight=int, choose=_lowest):
    """The same, but all pairs are counted again each time."""
    words = [(ids(word), weight(count)) for word, count in counts.items()]
    merges = []
    while len(merges) < n_merges:
        totals = Counter()
        for spelling, count in words:
            for pair in pairwise(spelling):
                totals[pair] += count
        if not totals or totals[pair := choose(totals)] < 2:
            break
        words = [(merge(spelling, pair, 256 + len(merges)), count) for spelling, count in words]
        merges.append(pair)
    return merges


def _words_case(title, text, n_merges):
    return Case(title, {"counts": dict(Counter(tokenizer.PIECES.findall(text))), "n_merges": n_merges})


def _words_cases(rng):
    names = [" Anna", " Hannah", " Nathan", " Ana", " Dana", " Diana", " Susanna", " Ännchen", " Renée"]
    text = "".join(names[int(len(names) * rng.random() ** 2)] for _ in range(120))
    return [
        Case("three words", {"counts": {" hug": 3, " pug": 2, " hugs": 2, "pun": 4}, "n_merges": 4}),
        Case("a word that occurs once", {"counts": {" banana": 1, " bat": 1}, "n_merges": 20}),
        Case("bytes and GPT-2's ids are in another order", {"counts": {"a b a b": 2, "xy": 4, "é": 4}, "n_merges": 3}),
        Case("words that begin and end alike", {"counts": {"ab": 5, "ba": 5, "aab": 1}, "n_merges": 3}),
        Case("words of one letter", {"counts": {"a": 9, "b": 9}, "n_merges": 2}),
        _words_case("a hundred names", text, 40),
    ]


LEARN_MERGES = Task(
    name="learn_merges",
    outputs=("merges",),
    reference=learn_merges,
    cases=_words_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "Every word counts once. A pair occurs as often as the words that contain it: counts says how often that "
            "is.",
            lambda counts, n_merges: _learn_merges(counts, n_merges, weight=lambda count: 1),
        ),
        Mistake(
            "A byte's id is the byte itself. In GPT-2 it is the byte's place in the table of printable_bytes.",
            lambda counts, n_merges: _learn_merges(counts, n_merges, lambda word: list(word.encode())),
        ),
        Mistake(
            "Pairs are counted across the ends of words. No token may reach from one word into the next.",
            lambda counts, n_merges: _learn_merges({"".join(word * n for word, n in counts.items()): 1}, n_merges),
        ),
        Mistake(
            "Among equally frequent pairs it takes the one that comes first. The rule is that of bpe_train.",
            lambda counts, n_merges: _learn_merges(counts, n_merges, choose=lambda totals: max(totals, key=totals.get)),
        ),
        Mistake(
            "Each word is trained separately. The counts of all words must be added up, and then one pair is chosen "
            "for all of them.",
            lambda counts, n_merges: [
                pair for word, n in counts.items() for pair in _learn_merges({word: n}, n_merges)
            ][:n_merges],
        ),
    ),
)

TASKS = (COUNTS, MERGE, TRAIN, ENCODE, DECODE, PRINTABLE_BYTES, LEARN_MERGES)
