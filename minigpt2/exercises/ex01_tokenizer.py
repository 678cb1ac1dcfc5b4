"""Exercise 1, the tokenizer: byte-pair encoding, learned from a text, applied to another, and decoded."""

from collections import Counter
from itertools import combinations, pairwise

from minigpt2 import tokenizer
from minigpt2.exercises.recognition import changed
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


def _ways(hint, *ways):
    """One mistake that is made in several ways."""
    return tuple(Mistake(hint, wrong) for wrong in ways)


def _wrong(function, mistake):
    """One of our functions with a mistake in it."""
    return mistake.wrong if callable(mistake.wrong) else changed(function, mistake.wrong)


INSIDE = "It does not do what {} does. {}"


def _inside(name, mistakes):
    """Mistakes of one of our functions within another one; ``mistakes``: the name of their list in this module."""
    return tuple(
        Mistake(INSIDE.format(name, mistake.hint), ((f"{name}(ids", f"_wrong({name}, {mistakes}[{n}])(ids"),))
        for n, mistake in enumerate(globals()[mistakes])
    )


# 1. Count.


def pair_counts(ids):
    """How often each pair of neighbours occurs: {(left, right): count}."""
    counts = {}
    for i in range(len(ids) - 1):
        pair = (ids[i], ids[i + 1])
        counts[pair] = counts.get(pair, 0) + 1
    return counts


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
        Case("an id of 0", {"ids": [7, 0, 0, 7, 0]}),
    ]


def _apart(ids):
    """Counts in which no id belongs to two equal pairs."""
    return {pair: merge(ids, pair, -1).count(-1) for pair in pairwise(ids)}


PAIR = "(ids[i], ids[i + 1])"
COUNT = "counts.get(pair, 0) + 1"
STORE = "counts[pair] = "
RETURN = "return counts"

# Those that may be made within other functions too.
COUNTING = (
    Mistake(
        "The ids are cut into pairs, two by two. But every id is the left one of a pair with its right neighbour: "
        "in a b c d the pair (b, c) counts too.",
        (("range(", "range(0, "), ("- 1)", "- 1, 2)")),
    ),
    *_ways(
        "In a run of equal ids some pairs are omitted. At how many places of a a a does the pair (a, a) begin? "
        "Overlaps count here, though only one of the two can be merged later.",
        _apart,
        ((COUNT, "counts.get(pair, 0) + (i == 0 or ids[i - 1 : i + 1] != list(pair))"),),
    ),
    Mistake(
        "Pairs of two equal ids are not counted.",
        ((STORE, f"if pair[0] != pair[1]: {STORE}"),),
    ),
    Mistake(
        "(a, b) and (b, a) are counted as the same. A pair has an order: the left id stays on the left.",
        ((PAIR, "tuple(sorted(ids[i : i + 2]))"),),
    ),
    Mistake("The last pair of the list is not counted. Where does the loop end?", (("- 1)", "- 2)"),)),
    Mistake("The first pair of the list is not counted. Where does the loop begin?", (("range(", "range(1, "),)),
)

COUNTS = Task(
    name="pair_counts",
    outputs=("counts",),
    reference=pair_counts,
    cases=_count_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        *COUNTING,
        Mistake(
            "An index runs past the end. The last id has no neighbour on its right: how many pairs do n ids have?",
            (("len(ids) - 1", "len(ids)"),),
        ),
        Mistake(
            "There is also a key of a single id. The last id has no neighbour on its right: how many pairs do n ids "
            "have?",
            (("- 1)", ")"), (PAIR, "tuple(ids[i : i + 2])")),
        ),
        Mistake(
            "Each id is paired with the one after its neighbour. A pair is two neighbours.",
            (("- 1)", "- 2)"), (PAIR, "(ids[i], ids[i + 2])")),
        ),
        Mistake("Left and right are exchanged in the pairs.", ((PAIR, "(ids[i + 1], ids[i])"),)),
        Mistake(
            "There is a pair of the last id and the first one. In Python the index -1 is not an error, it is the other "
            "end; and what does % do at the end?",
            (("- 1)", ")"), (PAIR, "(ids[i - 1], ids[i])")),
        ),
        *_ways(
            "The right neighbour is looked up with `index`, which finds the first place of an id, and not this one.",
            ((PAIR, "(ids[i], ids[ids.index(ids[i]) + 1])"),),
            ((PAIR, "(ids[i], ids[ids.index(ids[i]) + 1])"), ("- 1)", ")")),
            (
                ("- 1)", ")"),
                (PAIR, "(ids[i], *ids[ids.index(ids[i]) + 1 :][:1])"),
                (STORE, f"if len(pair) == 2: {STORE}"),
            ),
        ),
        Mistake("Every count is 1: it is set again at each place. Where is the old one added?", ((COUNT, "1"),)),
        Mistake("Every count is 0. What is added at each place?", ((COUNT, "counts.get(pair, 0)"),)),
        Mistake(
            "Every count is one too small. What is the count of a pair when it has been met for the first time?",
            ((COUNT, "counts.get(pair, -1) + 1"),),
        ),
        Mistake(
            "Every count is one too large. What is the count of a pair before it has been met?",
            ((COUNT, "counts.get(pair, 1) + 1"),),
        ),
        Mistake(
            "The count is that of the left id, whatever is on its right.",
            ((COUNT, "ids.count(ids[i])"),),
        ),
        *_ways("Single ids are counted, not pairs.", lambda ids: dict(Counter(ids)), ((PAIR, "ids[i]"),)),
        Mistake(
            "Each id is paired with all that come after it. A pair is two neighbours.",
            lambda ids: dict(Counter(combinations(ids, 2))),
        ),
        *_ways(
            "Only one pair is counted: is the loop left at its first round, or the dict made anew in each?",
            ((f"    {RETURN}", f"        {RETURN}"),),
            ((f"    {RETURN}", f"        {RETURN}\n    {RETURN}"),),
            (("pair = ", "counts = {}; pair = "),),
        ),
        Mistake(
            "Pairs that occur once are missing. Here all of them count.",
            ((RETURN, "return {pair: n for pair, n in counts.items() if n > 1}"),),
        ),
        Mistake(
            "The ids are counted within a bytes object. Its count omits overlaps, and it cannot hold ids above 255.",
            lambda ids: {pair: bytes(ids).count(bytes(pair)) for pair in pairwise(ids)},
        ),
    ),
)


# 2. Merge.


def merge(ids, pair, new_id):
    """ids with every ``pair`` replaced by ``new_id``, from left to right."""
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
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
        ("each of the two ids twice", "caabbc", "ab", 256),
        ("the pair is at the end", "cacab", "ab", 256),
        ("nothing but the pair", "ab", "ab", 300),
    ]
    cases = [_merge_case(title, _ids(rng, word), word, pair, new_id) for title, word, pair, new_id in cases]
    ids = _random_ids(rng, 200, 4)
    return [
        *cases,
        Case("a single id", {"ids": _ids(rng, "a"), "pair": (1, 2), "new_id": 256}),
        Case("an empty list", {"ids": [], "pair": (1, 2), "new_id": 256}),
        Case("numbers that look alike", {"ids": [1, 2, 11, 2, 1, 21, 1, 2, 1, 2, 0], "pair": (1, 2), "new_id": 256}),
        Case("two hundred ids", {"ids": ids, "pair": (ids[0], ids[1]), "new_id": 1000}),
        Case("an id of 0", {"ids": [7, 0, 0, 7, 0, 0, 9, 0], "pair": (7, 0), "new_id": 256}),
    ]


def _merge_from_the_right(ids, pair, new_id):
    return merge(ids[::-1], pair[::-1], new_id)[::-1]


def _merge_once(ids, pair, new_id):
    at = next((i for i, two in enumerate(pairwise(ids)) if two == pair), None)
    return ids if at is None else [*ids[:at], new_id, *ids[at + 2 :]]


def _merge_the_last(ids, pair, new_id):
    return _merge_once(ids[::-1], pair[::-1], new_id)[::-1]


def _merge_and_keep_left(ids, pair, new_id):
    return ids[:1] + [new_id if two == pair else two[1] for two in pairwise(ids)]


def _merge_at_old_places(ids, pair, new_id):
    merged, i = ids, 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged = [*merged[:i], new_id, *merged[i + 2 :]] if found else merged
        i += 2 if found else 1
    return merged


def _merge_in_the_list(ids, pair, new_id, found=lambda ids, i, pair: (ids[i], ids[i + 1]) == pair):
    """The list gets shorter, while the range of its indices does not."""
    for i in range(len(ids) - 1):
        if found(ids, i, pair):
            ids[i : i + 2] = [new_id]
    return ids


def _found_left_first(ids, i, pair):
    return ids[i] == pair[0] and ids[i + 1] == pair[1]


def _merge_as_text(ids, pair, new_id, around=""):
    """In a text of numbers, which may be found within longer ones."""
    text = f" {' '.join(map(str, ids))} "
    found = f"{around}{pair[0]} {pair[1]}{around}"
    return [int(number) for number in text.replace(found, f"{around}{new_id}{around}").split()]


FOUND = "tuple(ids[i : i + 2]) == pair"
ONE_BY_ONE = "ids[i] == pair[0] and ids[i + 1] == pair[1]"
STEP = "i += 2"
NEW = "merged.append(new_id)"
OLD = "merged.append(ids[i])"

# The same.
MERGING = (
    *_ways(
        "The right one of the two ids is still there. After a merge, how far must the loop move on?",
        (("i += 2", "i += 1"),),
        ((NEW, "merged += [new_id, ids[i + 1]]"),),
    ),
    *_ways(
        "The left one of the two ids is still there. Two ids become one.",
        ((NEW, "merged += [ids[i], new_id]"),),
        _merge_and_keep_left,
    ),
    Mistake(
        "In a a a both pairs are merged, though they share the id in the middle. An id that was merged is used up.",
        (("i += 2", "i += 1"), (OLD, "merged += [] if tuple(ids[i - 1 : i + 1]) == pair else [ids[i]]")),
    ),
    Mistake(
        "It merges from right to left: in a a a the last two. The rule is from left to right, and encoding must do "
        "the same as training.",
        _merge_from_the_right,
    ),
    *_ways(
        "More than two ids are taken up by one merge, as in a a a or a b a b. How far must the loop move on?",
        ((STEP, f"i += 1\n            while {FOUND}:\n                i += 1\n            i += 1"),),
        ((STEP, "i += 1\n            while i < len(ids) and ids[i] in pair:\n                i += 1"),),
    ),
    Mistake(
        "The id that comes after a merged pair is lost. After a merge, how far must the loop move on?",
        ((STEP, "i += 3"),),
    ),
    Mistake(
        "What comes after the first merge is lost. Does something return, or break, too early?",
        (("i += 2", "break"),),
    ),
    *_ways(
        "The mirror image (b, a) is merged as well. A pair has an order.",
        ((FOUND, "sorted(ids[i : i + 2]) == sorted(pair)"),),
        ((FOUND, "set(ids[i : i + 2]) == set(pair)"),),
    ),
    Mistake(
        "The mirror image (b, a) is merged in place of (a, b). Which of the two is on the left?",
        ((FOUND, f"{FOUND}[::-1]"),),
    ),
    *_ways(
        "The last id is lost. Where does the loop end, and what copies that id?",
        (("i < len(ids)", "i < len(ids) - 1"),),
        (("return merged", "return merged[:-1]"),),
    ),
    Mistake(
        "A pair at the very end is not merged. Where does the loop end?",
        ((FOUND, f"i < len(ids) - 2 and {FOUND}"),),
    ),
    *_ways(
        "An id that is the left one of the pair is replaced, whatever is on its right.",
        ((FOUND, "ids[i] == pair[0]"),),
        ((FOUND, "ids[i] == pair[0]"), ("i += 2", "i += 1")),
    ),
    *_ways(
        "An id that is the right one of the pair is replaced, whatever is on its left.",
        ((FOUND, "ids[i + 1 : i + 2] == [pair[1]]"),),
        ((FOUND, "ids[i] == pair[1]"), ("i += 2", "i += 1")),
    ),
    Mistake(
        "Two neighbours are merged as soon as each of them is somewhere in the pair, as in a a and b b.",
        ((FOUND, "ids[i + 1 :] and ids[i] in pair and ids[i + 1] in pair"),),
    ),
    Mistake(
        "Pairs that begin at an odd place are not found: without a merge, how far may the loop move on?",
        ((OLD, "merged += ids[i : i + 2]"), ("i += 1", "i += 2")),
    ),
    Mistake(
        "The places are those of the old list, but each merge makes the new one shorter: what comes after it moves.",
        _merge_at_old_places,
    ),
)

MERGE = Task(
    name="merge",
    outputs=("ids",),
    reference=merge,
    cases=_merge_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        *MERGING,
        *_ways(
            "An index runs past the end. Which id has no neighbour on its right?",
            ((FOUND, "(ids[i], ids[i + 1]) == pair"),),
            ((FOUND, ONE_BY_ONE),),
        ),
        *_ways(
            "An index runs past the end. A list from which something is taken gets shorter, while `range(len(...))` "
            "does not.",
            _merge_in_the_list,
            lambda ids, pair, new_id: _merge_in_the_list(ids, pair, new_id, _found_left_first),
        ),
        *_ways(
            "A pair at the very end is merged, and its right id comes after it once more.",
            (("i < len(ids)", "i < len(ids) - 1"), ("return merged", "return merged + ids[-1:]")),
            (("i < len(ids)", "i < len(ids) - 1"), ("return merged", "return [*merged, ids[-1]]")),
        ),
        *_ways(
            "The ids of the pair are taken out, and nothing comes in their place.",
            ((NEW, "pass"),),
            ((FOUND, "ids[i] in pair"), (NEW, "pass"), ("i += 2", "i += 1")),
        ),
        Mistake(
            "Only the first place is merged. Does something return, or break, too early?",
            (("i += 2", "return merged + ids[i + 2 :]"),),
        ),
        Mistake("Only the last place is merged.", _merge_the_last),
        Mistake("The first id is lost. Where does the loop begin?", (("[], 0", "[], 1"),)),
        Mistake(
            "A list of a single id comes back empty.",
            (("    while", "    if len(ids) < 2:\n        return merged\n    while"),),
        ),
        Mistake(
            "Nothing is merged at all, the ids come back as they were. Is it the new list that is returned? And what "
            "do you compare with pair: in Python a list never equals a tuple, [1, 2] == (1, 2) is False.",
            ((FOUND, "False"),),
        ),
        Mistake(
            "It is enough for a merge that one of the two ids fits. Both must.",
            ((FOUND, "ids[i + 1 :] and (ids[i] == pair[0] or ids[i + 1] == pair[1])"),),
        ),
        Mistake(
            "Both ids of the pair are replaced wherever they occur, so each pair gives two new ids.",
            ((FOUND, "ids[i] in pair"), ("i += 2", "i += 1")),
        ),
        Mistake(
            "Ids are lost after those that are not merged: without a merge, how far may the loop move on?",
            (("i += 1", "i += 2"),),
        ),
        Mistake("The new id is 256 in every case. It comes in as an argument.", (("(new_id)", "(256)"),)),
        Mistake(
            "The new id is made from the largest one in the list. It comes in as an argument.",
            (("(new_id)", "(max(ids) + 1)"),),
        ),
        Mistake("The pair is looked for in a text. There 1 2 is also found in 11 2 and in 1 21.", _merge_as_text),
        Mistake(
            "The pair is looked for in a text, with a space on either side. Two pairs in a row share the one between "
            "them.",
            lambda ids, pair, new_id: _merge_as_text(ids, pair, new_id, " "),
        ),
    ),
)


# 3. Train.


def bpe_train(ids, num_merges):
    """The list of pairs that are merged, best first; the n-th, from 0, makes the id 256 + n."""
    merges = []
    for n in range(num_merges):
        counts = pair_counts(ids)
        pair = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if pair is None or counts[pair] < 2:
            break
        ids = merge(ids, pair, 256 + n)
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
        Case("numbers that look alike", {"ids": [1, 2, 11, 2, 1, 21, 1, 2, 1, 2, 25, 6, 25, 6, 1, 2], "num_merges": 5}),
        Case("a pair at the end", {"ids": _ids(rng, "abcabcab"), "num_merges": 3}),
        Case("an id of 0", {"ids": [0, 7, 0, 0, 7, 9, 0, 7, 9], "num_merges": 2}),
    ]


def _sorted_once(ids, num_merges):
    counts = {pair: count for pair, count in pair_counts(ids).items() if count > 1}
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[:num_merges]


def _first_once(ids, num_merges):
    return [pair for pair, count in Counter(pairwise(ids)).most_common(num_merges) if count > 1]


def _round_by_round(ids, num_merges):
    """All equally frequent pairs in one round."""
    merges = []
    while len(merges) < num_merges and max((counts := pair_counts(ids)).values(), default=0) > 1:
        for pair in sorted(pair for pair in counts if counts[pair] == max(counts.values())):
            ids = merge(ids, pair, 256 + len(merges))
            merges.append(pair)
    return merges[:num_merges]


KEY = "(-counts[pair], pair)"
CHOICE = f"min(counts, key=lambda pair: {KEY}, default=None)"
TIE = (
    "Among equally frequent pairs it takes {}. The rule is: the one with the lowest ids, the left id first. Pairs are "
    "tuples, and tuples can be compared."
)
ONCE = (
    "The pairs are counted once, at the beginning. A merge makes new pairs and takes away old ones: what must happen "
    "before the next one is chosen?"
)
OLD_COUNTS = "Pairs are counted that are no longer there. After a merge, what must happen to the old counts?"
NUMBER = "256 + n)"
ROUNDS = "range(num_merges)"
APPEND = "merges.append(pair)"
LIST = "return merges"

# Those that can be made in a text as well as in a list of words.
TRAINING = (
    Mistake(
        "A pair that occurs once is merged. It would save a single place in this text and none in another: when must "
        "training stop?",
        (("< 2", "< 1"),),
    ),
    Mistake("It stops too early: a pair that occurs twice is worth a merge.", (("< 2", "< 3"),)),
    Mistake(TIE.format("the one that comes first in the text"), ((KEY, "-counts[pair]"),)),
    Mistake(
        TIE.format("the one whose first occurrence comes last in the text"),
        ((CHOICE, "max(reversed(counts), key=counts.get, default=None)"),),
    ),
    Mistake(
        TIE.format("the one with the highest ids"),
        ((CHOICE, "max(counts, key=lambda pair: (counts[pair], pair), default=None)"),),
    ),
    *_ways(
        TIE.format("the one with the lowest id on the right"),
        ((KEY, "(-counts[pair], pair[1], pair[0])"),),
        ((KEY, "(-counts[pair], pair[1])"),),
    ),
    *_ways(
        TIE.format("one with the lowest id on the left, but not always with the lowest on the right"),
        ((KEY, "(-counts[pair], pair[0])"),),
        ((KEY, "(-counts[pair], pair[0], -pair[1])"),),
        ((CHOICE, "min(reversed(counts), key=lambda pair: (-counts[pair], pair[0]), default=None)"),),
    ),
    *_ways(
        TIE.format("one that is low in another sense, such as by the sum, the smaller or the larger of its ids"),
        ((KEY, "(-counts[pair], sum(pair))"),),
        ((KEY, "(-counts[pair], sum(pair), pair)"),),
        ((KEY, "(-counts[pair], sorted(pair))"),),
        ((KEY, "(-counts[pair], sorted(pair), pair)"),),
        ((KEY, "(-counts[pair], min(pair))"),),
        ((KEY, "(-counts[pair], max(pair))"),),
    ),
    Mistake(
        TIE.format("the one that comes first as a text, where 10 comes before 9"),
        ((KEY, "(-counts[pair], str(pair))"),),
    ),
    Mistake("It takes the pair with the lowest ids, however often it occurs.", ((KEY, "pair"),)),
    *_ways(
        "The rarest pair is taken. The most frequent one saves most.",
        ((KEY, "(counts[pair], pair)"), ("< 2", "< 1")),
        ((KEY, "(counts[pair] < 2, counts[pair], pair)"),),
    ),
    Mistake("The new ids begin with 257. What is the first number that no byte has?", ((NUMBER, "257 + n)"),)),
    Mistake(
        "The new ids begin with 255, which is a byte. What is the first number that no byte has?",
        ((NUMBER, "255 + n)"),),
    ),
    Mistake("The new ids begin with 0, where the bytes are.", ((NUMBER, "n)"),)),
    Mistake("All merges make the same id.", ((NUMBER, "256)"),)),
    Mistake(
        "Only pairs of the original bytes are merged. Ids that were made by a merge can also be part of a pair.",
        (("min(counts, key", "min([pair for pair in counts if max(pair) < 256], key"),),
    ),
    Mistake(
        "The same pair comes again and again: it is chosen, and the ids stay as they were.",
        ((f"merge(ids, pair, {NUMBER}", "ids"),),
    ),
    *_ways(
        "A dict of the merges came back. A list of the pairs is wanted; the place of a pair in it says which id it "
        "makes.",
        ((LIST, "return {pair: 256 + n for n, pair in enumerate(merges)}"),),
        ((LIST, "return {256 + n: pair for n, pair in enumerate(merges)}"),),
        ((LIST, "return {pair: n for n, pair in enumerate(merges)}"),),
        ((LIST, "return dict(enumerate(merges))"),),
    ),
    Mistake(
        "There is one merge too many. How many are in the list when the loop must end?",
        ((ROUNDS, "range(num_merges + 1)"),),
    ),
    Mistake(
        "There is one merge too few. How many are in the list when the loop must end?",
        ((ROUNDS, "range(num_merges - 1)"),),
    ),
    Mistake(
        "The number of merges is ignored: the loop continues until no pair occurs twice.",
        ((ROUNDS, "range(300)"),),
    ),
    Mistake(
        "A pair that occurs once is still in the list. What comes first: to ask whether to stop, or to append?",
        (("            break", "            return merges if pair is None else [*merges, pair]"),),
    ),
    Mistake(
        "It ends after the first merge. Does something return, or break, too early?",
        ((APPEND, f"{APPEND}\n        {LIST}"),),
    ),
    *_ways(
        "The list holds more than the pairs: how often each of them occurred, or the rank or the id that it has.",
        ((APPEND, "merges.append((pair, counts[pair]))"),),
        ((APPEND, "merges.append((*pair, counts[pair]))"),),
        ((APPEND, "merges.append((pair, n))"),),
        ((APPEND, "merges.append((*pair, n))"),),
        ((APPEND, f"merges.append((pair, {NUMBER})"),),
        ((APPEND, f"merges.append((*pair, {NUMBER})"),),
    ),
    Mistake(
        "The pairs of the list are turned round: the left id belongs on the left.",
        ((APPEND, "merges.append(pair[::-1])"),),
    ),
    *_ways(
        "The ids of all pairs stand in one flat list. A list of pairs is wanted.",
        ((LIST, "return [i for pair in merges for i in pair]"),),
        ((APPEND, "merges += pair"), (ROUNDS, "range((num_merges + 1) // 2)")),
    ),
    Mistake(
        "After each choice only the first place is merged in the text. Does it merge with your function merge?",
        (("merge(ids", "_merge_once(ids"),),
    ),
    *_inside("pair_counts", "COUNTING"),
    *_inside("merge", "MERGING"),
    Mistake(
        "The list holds the new ids. The pairs that make them are wanted.",
        ((APPEND, f"merges.append({NUMBER}"),),
    ),
)

TRAIN = Task(
    name="bpe_train",
    outputs=("merges",),
    reference=bpe_train,
    cases=_train_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        *TRAINING,
        *_ways(ONCE, _sorted_once, _first_once),
        *_ways(
            OLD_COUNTS,
            (
                ("merges = []", "merges, counts = [], {}"),
                ("= pair_counts(ids)", "= {p: n for p, n in (counts | pair_counts(ids)).items() if p not in merges}"),
            ),
            (
                ("merges = []", "merges, counts = [], Counter()"),
                ("counts = pair_counts(ids)", "counts.update(pair_counts(ids))"),
            ),
        ),
        Mistake(
            "All pairs that are equally frequent are merged before it counts again. The first of these merges can take "
            "away places of the others.",
            _round_by_round,
        ),
        Mistake(
            "A new id is one more than the largest id of this text. All 256 bytes have their ids, including those that "
            "do not occur here.",
            ((NUMBER, "max(ids) + 1)"),),
        ),
        *_ways(
            "The ids of the text came back beside the merges, or in their place. Only the list of pairs is wanted.",
            ((LIST, "return merges, ids"),),
            ((LIST, "return ids"),),
            lambda ids, num_merges: ids,
        ),
    ),
)


# 4. Encode.


def bpe_encode(ids, merges):
    """ids with all merges carried out, always the pair of the lowest rank."""
    rank = {pair: n for n, pair in enumerate(merges)}
    for _ in range(len(ids)):  # each merge makes the list shorter: these are more rounds than it can take
        known = [pair for pair in pairwise(ids) if pair in rank]
        if not known:
            break
        pair = min(known, key=rank.get)
        ids = merge(ids, pair, 256 + rank[pair])
    return ids


def _encode_cases(rng):
    a, b, c, d = _ids(rng, "abcd", ordered=True)
    trained = bpe_train(_random_ids(rng, 400, 6), 30)
    letters = [i for pair in trained for i in pair if i < 256]
    once = [(c, b), (a, b), (c, d), (256, d), (d, 257)]
    return [
        Case("seven ids", {"ids": [a, b, c, d, b, c, d], "merges": [(b, c), (a, b), (c, d), (b, 258)]}),
        Case("a merge that is of no use, and one of a merged id", {"ids": [c, d, a, b, d, a, b, d], "merges": once}),
        Case("a new pair that comes before an old one", {"ids": [a, b, c, d], "merges": [(c, d), (b, 256), (a, b)]}),
        Case("five of a kind", {"ids": [a] * 5, "merges": [(a, a), (256, a), (256, 256)]}),
        Case("eleven of a kind", {"ids": [a] * 11 + [b], "merges": [(a, a), (256, 256), (257, 257)]}),
        Case("an empty list", {"ids": [], "merges": [(a, b)]}),
        Case("one pair", {"ids": [a, b], "merges": [(a, b)]}),
        Case("an id of 0", {"ids": [0, a, 0, 0, b, 0], "merges": [(0, b), (a, 0), (0, 0), (257, 0)]}),
        Case("pairs that share an id", {"ids": [d, c, b, a, d, c], "merges": [(c, b), (b, a), (d, c), (a, d)]}),
        Case("sixty ids, thirty merges", {"ids": [int(i) for i in rng.choice(letters, 60)], "merges": trained}),
        Case(
            "the bytes of a text",
            {"ids": list("Der naïve Bär, 33 €".encode()), "merges": bpe_train(list(TEXT.encode()), 40)},
        ),
    ]


def _encode_leftmost(ids, merges):
    """Always the pair of the list that comes first in the text, one place at a time."""
    while pair := next((pair for pair in pairwise(ids) if pair in merges), None):
        ids = _merge_once(ids, pair, 256 + merges.index(pair))
    return ids


def _encode_in_one_pass(ids, merges):
    """Each pair of the list that one meets on the way from left to right."""
    found, i = [], 0
    while i < len(ids):
        pair = tuple(ids[i : i + 2])
        found.append(256 + merges.index(pair) if pair in merges else ids[i])
        i += 2 if pair in merges else 1
    return found


def _encode_in_passes(ids, merges):
    while (found := _encode_in_one_pass(ids, merges)) != ids:
        ids = found
    return ids


def _encode_trained_anew(ids, merges, train):
    return _encode_one_by_one(ids, train(ids, len(merges)))


def _spelled(merges):
    """id -> its bytes, as a tuple."""
    spelling = {i: (i,) for i in range(256)}
    for n, (left, right) in enumerate(merges):
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


def _encode_backwards(ids, merges):
    """One merge of the list after the other, from its end."""
    for n, pair in reversed(list(enumerate(merges))):
        ids = merge(ids, pair, 256 + n)
    return ids


def _encode_until_missing(ids, merges):
    for n, pair in enumerate(merges):
        if pair not in pairwise(ids):
            break
        ids = merge(ids, pair, 256 + n)
    return ids


def _one_by_one(mistake):
    """A mistake of merge in a loop over the list of merges."""
    return Mistake(
        INSIDE.format("merge", mistake.hint),
        lambda ids, merges: _encode_one_by_one(ids, merges, _wrong(merge, mistake)),
    )


def _encode_one_by_one(ids, merges, merge=merge, first=256):
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, first + n)
    return ids


BEST = "min(known, key=rank.get)"
RANKS = "enumerate(merges)"
KNOWN = "if pair in rank]"

ENCODE = Task(
    name="bpe_encode",
    outputs=("ids",),
    reference=bpe_encode,
    cases=_encode_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        *_ways(
            "It merges known pairs in the order in which they stand in the text. The order is that of training: which "
            "of them has the lowest rank, wherever it occurs?",
            _encode_leftmost,
            ((BEST, "known[0]"),),
            _encode_in_passes,
        ),
        Mistake(
            "It passes over the text once, and merges each known pair that it meets. Which of them has the lowest "
            "rank? And when is there nothing left to do?",
            _encode_in_one_pass,
        ),
        *_ways(
            "It learns merges from this text. Counting belongs to training; here the merges are given.",
            lambda ids, merges: _encode_trained_anew(ids, merges, bpe_train),
            lambda ids, merges: _encode_trained_anew(ids, merges, changed(bpe_train, ((KEY, "-counts[pair]"),))),
        ),
        Mistake(
            "It merges the known pair that comes last in the text. Which has the lowest rank?",
            ((BEST, "known[-1]"),),
        ),
        Mistake(
            "It takes the longest token that fits, from left to right. Other tokenizers do so (WordPiece); BPE replays "
            "its merges in the order in which they were learned.",
            _encode_longest,
        ),
        *_ways(
            "It takes the pair with the highest rank first, the one that was learned last. The pair that was learned "
            "first is merged first.",
            ((BEST, "max(known, key=rank.get)"),),
            _encode_backwards,
        ),
        *_ways(
            "It takes the pair that is most frequent in this text. Counting belongs to training; here the list of "
            "merges decides.",
            ((BEST, "max(known, key=known.count)"),),
            ((BEST, "min(known, key=lambda pair: (-known.count(pair), pair))"),),
            ((BEST, "min(known, key=lambda pair: (-known.count(pair), rank[pair]))"),),
        ),
        Mistake("It takes the pair with the lowest ids. The lowest rank is something else.", ((BEST, "min(known)"),)),
        *_ways(
            "The merges are not taken in the order in which they come in. Are they sorted, turned round, or in a set?",
            ((RANKS, "enumerate(sorted(merges))"),),
            ((RANKS, "enumerate(sorted(merges, key=lambda pair: pair[::-1]))"),),
            ((RANKS, "enumerate(merges[::-1])"),),
            lambda ids, merges: _encode_one_by_one(ids, sorted(merges)),
            lambda ids, merges: _encode_one_by_one(ids, merges[::-1]),
        ),
        *_ways(
            "The first merge of the list is left out.",
            ((RANKS, "enumerate(merges[1:])"),),
            ((RANKS, "enumerate(merges[1:], 1)"),),
        ),
        Mistake("The last merge of the list is left out.", ((RANKS, "enumerate(merges[:-1])"),)),
        Mistake(
            "Each merge is carried out at one place only, and then the next one is tried.",
            (("merge(ids", "_merge_once(ids"), ("rank[pair])", "rank.pop(pair))")),
        ),
        Mistake(
            "It ends after a single merge. A merge can make new pairs that are in the list: when is there nothing left "
            "to do?",
            (("ids = merge(", "return merge("),),
        ),
        Mistake(
            "It ends at the first merge of the list whose pair does not occur. Later ones may still occur.",
            _encode_until_missing,
        ),
        Mistake(
            "Only pairs of the original bytes are merged. Ids that were made by a merge can also be part of a pair.",
            ((KNOWN, "if pair in rank and max(pair) < 256]"),),
        ),
        Mistake("Pairs of two equal ids are not merged.", ((KNOWN, "if pair in rank and pair[0] != pair[1]]"),)),
        Mistake(
            "The new ids are not 256 + rank: they begin with 257. The ranks count from 0.",
            (("256 +", "257 +"),),
        ),
        Mistake(
            "The new ids are not 256 + rank: they begin with 255, which is a byte.",
            (("256 +", "255 +"),),
        ),
        *_ways(
            "The new ids are the bare ranks, which are the ids of bytes. Which number must be added?",
            (("256 + rank", "rank"),),
            lambda ids, merges: _encode_one_by_one(ids, merges, first=0),
        ),
        *_ways(
            "All merges make the same id.",
            (("256 + rank[pair]", "256"),),
            lambda ids, merges: _encode_one_by_one(ids, merges, lambda ids, pair, new_id: merge(ids, pair, 256)),
        ),
        *_ways(
            "A new id depends on what happened in this text, such as the number of merges so far or the largest id. "
            "It belongs to its pair: what is the rank of a pair?",
            (("256 + rank[pair]", "max(ids) + 1"),),
            (("256 + rank[pair]", "max(255, *ids) + 1"),),
            (("for _ in", "for n in"), ("rank[pair])", "n)")),
        ),
        *map(_one_by_one, MERGING),
        *_inside("merge", "MERGING"),
        Mistake(
            "Nothing was merged. Are the neighbours compared with the pairs of the list as tuples? Is the new list "
            "returned?",
            lambda ids, merges: ids,
        ),
    ),
)


# 5. Decode.


def bpe_decode(ids, merges):
    """The text that ids spell; bytes that are not UTF-8 become U+FFFD."""
    table = {i: bytes([i]) for i in range(256)}
    for n, (left, right) in enumerate(merges):
        table[256 + n] = table[left] + table[right]
    parts = [table[i] for i in ids]
    return b"".join(parts).decode("utf-8", errors="replace")


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
        Case("ends of lines", {"ids": [a, 13, 10, b, 13, c, 10, d, 256], "merges": [(13, 10)]}),
        Case("a text", {"ids": bpe_encode(list(TEXT.encode()), merges), "merges": merges}),
        Case("U+FEFF at the beginning, which has no width", {"ids": [*"\ufeff".encode(), a], "merges": []}),
        Case("each byte once", {"ids": [*range(64, 256), *range(64)], "merges": [(a, b)]}),
    ]


def _decode_levels(ids, merges, levels, join=bytes):
    """Merges taken apart a few times, which may not be enough."""
    for _ in range(levels):
        ids = [part for i in ids for part in (merges[i - 256] if i > 255 else (i,))]
    return join(ids).decode(errors="replace")


def _modulo(ids):
    return bytes(i % 256 for i in ids)


def _bytes_alone(ids):
    return bytes(i for i in ids if i < 256)


def _decode_or_else(ids, merges, other):
    """Something else, wherever a single byte is not UTF-8."""
    joined = bytes(byte for i in ids for byte in _spelled(merges)[i])
    try:
        return joined.decode()
    except UnicodeDecodeError:
        return other(joined)


def _apiece(parts, *args, between="", **options):
    """Each part decoded by itself."""
    return between.join(part.decode(*args, **options) for part in parts)


REPLACE = 'errors="replace"'
JOINED = 'b"".join(parts).decode('
ENCODING = '"utf-8"'
TO_TEXT = '.decode("utf-8", errors="replace")'

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
            ((JOINED, "_apiece(parts, "),),
        ),
        *_ways(
            "Each byte became a separate character. In UTF-8 a character can have up to four bytes.",
            ((ENCODING, '"latin-1"'),),
            ((JOINED, "_apiece([bytes([byte]) for part in parts for byte in part], "),),
        ),
        Mistake(
            "Bytes that are not UTF-8 raise an error. A model may write any ids; look up what `errors` can be in "
            "bytes.decode.",
            ((f", {REPLACE}", ""),),
        ),
        Mistake(
            "Bytes that are not UTF-8 vanish. One should see that something was there: look up what else `errors` can "
            "be in bytes.decode.",
            ((REPLACE, 'errors="ignore"'),),
        ),
        *_ways(
            "Bytes that are not UTF-8 become something else than U+FFFD: look up what else `errors` can be in "
            "bytes.decode.",
            ((REPLACE, 'errors="backslashreplace"'),),
            ((REPLACE, 'errors="surrogateescape"'),),
            lambda ids, merges: bpe_decode(ids, merges).replace("\ufffd", "?"),
        ),
        *_ways(
            "Where one byte is not UTF-8, the others are not read as UTF-8 either. They should still be.",
            lambda ids, merges: _decode_or_else(ids, merges, lambda joined: joined.decode("latin-1")),
            lambda ids, merges: _decode_or_else(ids, merges, lambda joined: "\ufffd"),
            lambda ids, merges: _decode_or_else(ids, merges, lambda joined: ""),
        ),
        Mistake(
            "From the first byte on that is not UTF-8, the text is lost.",
            lambda ids, merges: bpe_decode(ids, merges).partition("\ufffd")[0],
        ),
        *_ways(
            "The bytes are read in an encoding that is not UTF-8.",
            ((ENCODING, '"cp1252"'),),
            ((ENCODING, '"utf-16"'),),
        ),
        Mistake(
            "U+FEFF is lost at the beginning. With this encoding it is a mark, and not part of the text.",
            ((ENCODING, '"utf-8-sig"'),),
        ),
        Mistake("White space at the ends of the text is lost.", lambda ids, merges: bpe_decode(ids, merges).strip()),
        *_ways(
            "There are spaces between the tokens. A token that begins a word brings its own.",
            (('b"".join', 'b" ".join'),),
            ((JOINED, '_apiece(parts, between=" ", encoding='),),
        ),
        *_ways(
            "A merge is not taken apart to its end. Its parts may be merges themselves, and theirs too.",
            lambda ids, merges: _decode_levels(ids, merges, 1),
            lambda ids, merges: _decode_levels(ids, merges, 2),
            lambda ids, merges: _decode_levels(ids, merges, 1, _modulo),
            lambda ids, merges: _decode_levels(ids, merges, 2, _modulo),
            lambda ids, merges: _decode_levels(ids, merges, 1, _bytes_alone),
            lambda ids, merges: _decode_levels(ids, merges, 2, _bytes_alone),
        ),
        Mistake(
            "The two parts of a merge are joined in the wrong order: the left part stays on the left.",
            (("table[left] + table[right]", "table[right] + table[left]"),),
        ),
        *_ways(
            "A merge gives one of its two parts only.",
            (("table[left] + table[right]", "table[left]"),),
            (("table[left] + table[right]", "table[right]"),),
        ),
        *_ways(
            "The ids of the merges do not begin with 256 here. What is the first number that no byte has?",
            (("256 + n", "257 + n"),),
            (("256 + n", "255 + n"),),
            (("256 + n", "n"),),
        ),
        Mistake(
            "Bytes above 127 vanish. Are all 256 in the table?",
            lambda ids, merges: bpe_decode(ids, merges).encode("ascii", "ignore").decode(),
        ),
        *_ways(
            "Not all of the 256 bytes are in the table.",
            (("range(256)", "range(255)"),),
            (("range(256)", "range(128)"),),
            (("range(256)", "range(1, 256)"),),
        ),
        Mistake(
            "An id above 255 is taken modulo 256, so that it becomes another byte.",
            (("table[i]", "table[i % 256]"),),
        ),
        Mistake("The ids of merges are left out.", (("in ids]", "in ids if i < 256]"),)),
        *_ways(
            "An id is taken for the number of a character. It stands for bytes: of one, or of all those that a merge "
            "has joined.",
            lambda ids, merges: "".join(map(chr, ids)),
        ),
        Mistake(
            "The table does not hold the bytes themselves. What does `bytes` make of a number, and what of a list?",
            (("bytes([i])", "bytes(i)"),),
        ),
        Mistake("The last id is left out.", (("in ids]", "in ids[:-1]]"),)),
        Mistake("The first id is left out.", (("in ids]", "in ids[1:]]"),)),
        Mistake("The tokens come in the wrong order, the last one first.", (("in ids]", "in ids[::-1]]"),)),
        Mistake(
            "The text comes out backwards. When a merge is taken apart on a stack, which part comes off first?",
            lambda ids, merges: bpe_decode(ids, merges)[::-1],
        ),
        Mistake("Bytes came back. One step is missing from them to a text.", ((TO_TEXT, ""),)),
        *_ways(
            "A list came back. Which steps are missing from it to a text?",
            lambda ids, merges: [byte for i in ids for byte in _spelled(merges)[i]],
            (('b"".join(parts)' + TO_TEXT, "parts"),),
            ((JOINED, "[part.decode("), (REPLACE + ")", REPLACE + ") for part in parts]")),
        ),
        *_ways(
            "Python's way to write bytes or a text came back, with quotation marks: str and repr do not decode.",
            lambda ids, merges: repr(bpe_decode(ids, merges)),
            ((f"b\"\".join(parts){TO_TEXT}", 'str(b"".join(parts))'),),
        ),
    ),
)


# The harder part: GPT-2's way, word by word, on bytes in a special order.


def printable_bytes():
    """The visible bytes as they are, then the others as the characters from 256 on: {byte: character}."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in visible}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(visible))
    return table


NUMBERED = "chr(256 + len(table) - len(visible))"
TABLE = "return table"

PRINTABLE_BYTES = Task(
    name="printable_bytes",
    outputs=("table",),
    reference=printable_bytes,
    cases=lambda rng: [Case("the table", {})],
    exact=True,
    ordered=True,
    notebook=NOTEBOOK,
    mistakes=(
        *_ways(
            "Each byte stands for itself, even those that cannot be seen. Which character does a space become?",
            lambda: {byte: chr(byte) for byte in range(256)},
            ((NUMBERED, "chr(byte)"),),
        ),
        Mistake(
            "The bytes that cannot be seen get 256 plus themselves. They get the characters from 256 on, one after the "
            "other: what number does the n-th of them have?",
            ((NUMBERED, "chr(256 + byte)"),),
        ),
        *_ways(
            "The characters of the bytes that cannot be seen do not begin with 256.",
            ((NUMBERED, "chr(257 + len(table) - len(visible))"),),
            ((NUMBERED, "chr(255 + len(table) - len(visible))"),),
            ((NUMBERED, "chr(len(table))"),),
        ),
        Mistake(
            "All bytes that cannot be seen stand for the same character. What is counted, and where is it raised?",
            ((NUMBERED, "chr(256)"),),
        ),
        Mistake(
            "Visible bytes do not stand for themselves. In three ranges a byte is the number of its character.",
            ((TABLE, "return {byte: chr(256 + byte) for byte in range(256)}"),),
        ),
        Mistake(
            "The keys are places, counted from 0. A key is the byte that a character stands for.",
            ((TABLE, "return dict(enumerate(table.values()))"),),
        ),
        Mistake(
            "Byte 255 is missing: Python's range ends before its second number.",
            ((TABLE, "return {byte: table[byte] for byte in table if byte < 255}"),),
        ),
        Mistake(
            "The bytes that cannot be seen come first. Which come first in GPT-2?",
            ((TABLE, "return dict(sorted(table.items(), key=lambda item: item[0] in visible))"),),
        ),
        Mistake(
            "The bytes that cannot be seen get their characters in descending order.",
            (("in range(256)", "in range(255, -1, -1)"),),
        ),
        Mistake(
            "The bytes that cannot be seen are missing.",
            ((TABLE, "return {byte: table[byte] for byte in visible}"),),
        ),
        *_ways(
            "A range lacks its last character, or each of the three does: Python's range ends before its second "
            "number.",
            (("127", "126"), ("173", "172"), ("256)]", "255)]")),
            (("127", "126"),),
            (("173", "172"),),
            (("256)]", "255)]"),),
        ),
        Mistake(
            "Byte 173 is printed as it is. It is the soft hyphen, which most programs do not show: there is a gap "
            "between the last two ranges.",
            (("173), *range(174", "173), *range(173"),),
        ),
        Mistake(
            "The space is printed as it is. Then a token that begins with a space could not be told from two tokens in "
            "merges.txt.",
            (("range(33", "range(32"),),
        ),
        *_ways(
            "A byte that cannot be seen stands for itself. Look at the ends of the ranges.",
            (("127", "128"),),
            (("161", "160"),),
        ),
        Mistake(
            "Only ASCII counts as visible. There are three ranges.",
            ((", *range(161, 173), *range(174, 256)", ""),),
        ),
        Mistake(
            "The bytes are in the order of their numbers. Which come first in GPT-2?",
            ((TABLE, "return dict(sorted(table.items()))"),),
        ),
        Mistake(
            "The table is the wrong way round: it gives the byte of a character.",
            ((TABLE, "return {character: byte for byte, character in table.items()}"),),
        ),
        Mistake(
            "The values are the numbers of the characters. `chr` turns them into characters.",
            ((TABLE, "return {byte: ord(character) for byte, character in table.items()}"),),
        ),
    ),
)


PRINTABLE = printable_bytes()
BYTE_IDS = {byte: i for i, byte in enumerate(PRINTABLE)}


def learn_merges(words, num_merges):
    """The merges within words that occur so often: {word: count}; a byte's id is its place in ``printable_bytes``."""
    spellings = [([BYTE_IDS[byte] for byte in word.encode()], often) for word, often in words.items()]
    merges = []
    for n in range(num_merges):
        counts = Counter()
        for ids, often in spellings:
            for pair, times in pair_counts(ids).items():
                counts[pair] += times * often
        pair = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if pair is None or counts[pair] < 2:
            break
        spellings = [(merge(ids, pair, 256 + n), often) for ids, often in spellings]
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
        Case("ties", {"counts": {"ac": 3, "ab": 3, "db": 3, "da": 3, "cc": 3}, "n_merges": 5}),
        Case("letters in a row", {"counts": {"aaaa": 2, "bc": 8, "baaab": 2, "ababab": 1}, "n_merges": 6}),
        Case("words of one letter", {"counts": {"a": 9, "b": 9}, "n_merges": 2}),
        _words_case("a hundred names", text, 40),
    ]


def _word_by_word(counts, n_merges):
    return [pair for word, n in counts.items() for pair in learn_merges({word: n}, n_merges)][:n_merges]


WORDS = "for word, often in words.items()]"
BYTES = "word.encode()"
ADD = "counts[pair] += times * often"
VALUES = "tuple(list(PRINTABLE)[i] if i < 256 else i for i in pair)"
ID = "[BYTE_IDS[byte]"

LEARN_MERGES = Task(
    name="learn_merges",
    outputs=("merges",),
    reference=learn_merges,
    cases=_words_cases,
    exact=True,
    notebook=NOTEBOOK,
    mistakes=(
        *TRAINING,
        Mistake(
            TIE.format("the one whose bytes are the lowest, which are no ids here"),
            ((KEY, f"(-counts[pair], {VALUES})"),),
        ),
        Mistake(
            "The new ids begin with 188, the number of visible bytes. The others have their ids too.",
            ((NUMBER, "188 + n)"),),
        ),
        Mistake(
            ONCE,
            (("merge(ids, pair, 256 + n)", "ids"), (ADD, "counts[pair] += 0 if pair in merges else times * often")),
        ),
        Mistake(OLD_COUNTS, (("merges = []", "merges, counts = [], Counter()"), ("counts = Counter()", "pass"))),
        *_ways(
            "The count of a pair is that of one word. It may be in others too: are their counts added up?",
            ((ADD, "counts[pair] = times * often"),),
            ((ADD, "counts[pair] = often"),),
        ),
        *_ways(
            "The words are not taken as they are: a space at the beginning or capital letters are lost.",
            ((BYTES, "word.strip().encode()"),),
            ((BYTES, "word.lower().encode()"),),
        ),
        Mistake(
            "Every word counts once. A pair occurs as often as the words that contain it: counts says how often that "
            "is.",
            (("times * often", "times"),),
        ),
        Mistake(
            "A pair counts once in a word, however often it occurs there.",
            (("times * often", "often"),),
        ),
        *_ways(
            "A byte's id is the byte itself. In GPT-2 it is the byte's place in the table of printable_bytes.",
            ((ID, "[byte"),),
            ((LIST, f"return [{VALUES} for pair in merges]"),),
        ),
        *_ways(
            "A byte's id is not its place in the table of printable_bytes. Is it the number of a character, or right "
            "for the first of the visible bytes only?",
            ((ID, "[ord(PRINTABLE[byte])"),),
            ((ID, "[ord(PRINTABLE[byte])"), (NUMBER, "512 + n)")),
            ((ID, "[byte - 33"),),
            ((ID, "[220 if byte == 32 else byte - 33"),),
        ),
        *_ways(
            "Characters that are not ASCII are not cut into their bytes, or are left out.",
            ((BYTES, 'word.encode("ascii", "ignore")'),),
            ((BYTES, "map(ord, word)"),),
        ),
        *_ways(
            "Pairs are counted across the ends of words. No token may reach from one word into the next.",
            ((WORDS, 'for word, often in [("".join(word * often for word, often in words.items()), 1)]]'),),
            ((WORDS, 'for word, often in [("".join(words), 1)]]'),),
            ((WORDS, 'for word, often in [(" ".join(words), 1)]]'),),
            ((BYTES, "(word * often).encode()"), ("times * often", "times")),
        ),
        Mistake(
            "Each word is trained separately. The counts of all words must be added up, and then one pair is chosen "
            "for all of them.",
            _word_by_word,
        ),
        *_ways(
            "A space or a mark is added to each word. The words are whole as they come in.",
            ((BYTES, '(word + " ").encode()'),),
            ((BYTES, '(" " + word).encode()'),),
            ((f"{BYTES}]", f"{BYTES}] + [256]"), (NUMBER, "257 + n)")),
        ),
        Mistake("Words that occur once are left out.", ((WORDS, "for word, often in words.items() if often > 1]"),)),
    ),
)

TASKS = (COUNTS, MERGE, TRAIN, ENCODE, DECODE, PRINTABLE_BYTES, LEARN_MERGES)
