"""Exercise 1 as students write it: right in several styles, and wrong in the ways that are known."""

import codecs
import heapq
import re
import sys
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np

from minigpt2 import tokenizer, vocabulary

# Counting.


def counts_by_loop(ids):
    counts = {}
    for i in range(len(ids) - 1):
        pair = (ids[i], ids[i + 1])
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def counts_by_zip(ids):
    return Counter(pairwise(ids))


def counts_by_numpy(ids):
    if len(ids) < 2:
        return {}
    pairs, counts = np.unique(np.array([ids[:-1], ids[1:]]), axis=1, return_counts=True)
    return {(left, right): count for left, right, count in zip(*pairs, counts, strict=True)}


def counts_by_default(ids):
    counts = defaultdict(int)
    for i in range(1, len(ids)):
        pair = ids[i - 1], ids[i]
        counts[pair] += 1
    return counts


def counts_by_iterator(ids):
    """With a note for whoever looks on."""
    print("counting", len(ids), file=sys.stderr)
    counts, left = Counter(), None
    for right in ids:
        counts[left, right] += 1
        left = right
    return {pair: n for pair, n in counts.items() if pair[0] is not None}


def counts_past_the_end(ids):
    counts = {}
    for i in range(len(ids)):
        pair = (ids[i], ids[i + 1])
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def counts_two_by_two(ids):
    return dict(Counter((ids[i], ids[i + 1]) for i in range(0, len(ids) - 1, 2)))


def counts_without_overlaps(ids):
    counts, taken = {}, {}
    for i in range(len(ids) - 1):
        pair = (ids[i], ids[i + 1])
        if taken.get(pair) == i - 1:
            continue
        taken[pair] = i
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def counts_of_changes(ids):
    """A pair that is the same as the one before it is passed over."""
    counts, before = {}, None
    for pair in pairwise(ids):
        if pair != before:
            counts[pair] = counts.get(pair, 0) + 1
        before = pair
    return counts


def counts_of_different(ids):
    return Counter((a, b) for a, b in pairwise(ids) if a != b)


def counts_turned(ids):
    return Counter((b, a) for a, b in pairwise(ids))


def counts_by_index(ids):
    counts = {}
    for x in ids[:-1]:
        pair = (x, ids[ids.index(x) + 1])
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def counts_of_nothing(ids):
    counts = {}
    for pair in pairwise(ids):
        counts.setdefault(pair, 0)
    return counts


def counts_from_two(ids):
    counts = {}
    for pair in pairwise(ids):
        counts.setdefault(pair, 1)
        counts[pair] += 1
    return counts


def counts_of_left(ids):
    return {pair: ids.count(pair[0]) for pair in pairwise(ids)}


def counts_of_all_later(ids):
    return Counter((ids[i], ids[j]) for j in range(len(ids)) for i in range(j))


def counts_the_first(ids):
    counts = {}
    for pair in pairwise(ids):
        counts[pair] = counts.get(pair, 0) + 1
        return counts
    return counts


def counts_returning_in_the_loop(ids):
    counts = {}
    for pair in pairwise(ids):
        counts[pair] = counts.get(pair, 0) + 1
        return counts


def counts_repeated(ids):
    counts = counts_by_zip(ids)
    return {pair: counts[pair] for pair in counts if counts[pair] >= 2}


def counts_in_bytes(ids):
    text = bytes(ids)
    return {(a, b): text.count(bytes([a, b])) for a, b in pairwise(ids)}


def counts_turned_without_last(ids):
    return Counter((ids[i + 1], ids[i]) for i in range(len(ids) - 2))


def counts_by_text(ids):
    return Counter(f"{a},{b}" for a, b in pairwise(ids))


def counts_as_floats(ids):
    counts = counts_by_zip(ids)
    return {pair: n / len(ids) for pair, n in counts.items()}


def counts_kept(ids, counts={}):  # noqa: B006
    for pair in pairwise(ids):
        counts[pair] = counts.get(pair, 0) + 1
    return dict(counts)


def counts_with_total(ids):
    counts = counts_by_zip(ids)
    return counts, sum(counts.values())


def counts_sorted(ids):
    return Counter((min(a, b), max(a, b)) for a, b in pairwise(ids))


def counts_without_last(ids):
    return Counter((ids[i], ids[i + 1]) for i in range(len(ids) - 2))


def counts_without_first(ids):
    return Counter((ids[i], ids[i + 1]) for i in range(1, len(ids) - 1))


def counts_round_the_end(ids):
    return Counter((ids[i - 1], ids[i]) for i in range(len(ids)))


def counts_of_one(ids):
    counts = {}
    for pair in pairwise(ids):
        counts[pair] = 1
    return counts


def counts_from_zero(ids):
    counts = {}
    for pair in pairwise(ids):
        counts[pair] = counts[pair] + 1 if pair in counts else 0
    return counts


def counts_of_ids(ids):
    return Counter(ids)


def counts_of_slices(ids):
    counts = defaultdict(int)
    for i in range(len(ids)):
        counts[tuple(ids[i : i + 2])] += 1
    return counts


def counts_over_one(ids):
    return Counter(zip(ids, ids[2:], strict=False))


def counts_by_truth(ids):
    """An id of 0 is taken for none."""
    counts, left = Counter(), None
    for right in ids:
        if left:
            counts[left, right] += 1
        left = right
    return counts


def counts_without_none(ids):
    left, *rest = ids
    counts = Counter()
    for right in rest:
        counts[left, right] += 1
        left = right
    return counts


def counts_by_index_to_the_end(ids):
    counts = Counter()
    for x in ids:
        after = ids.index(x) + 1
        if after < len(ids):
            counts[x, ids[after]] += 1
    return counts


def counts_different_and_repeated(ids):
    return {pair: n for pair, n in counts_of_different(ids).items() if n != 1}


def counts_as_array(ids):
    return np.array([[*pair, n] for pair, n in counts_by_zip(ids).items()])


def counts_and_empties(ids):
    counts = {}
    while len(ids) > 1:
        pair = (ids.pop(0), ids[0])
        counts[pair] = counts.get(pair, 0) + 1
    return counts


# Merging.


def merge_by_while(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge_on_a_copy(ids, pair, new_id):
    ids = list(ids)
    i = 0
    while i < len(ids) - 1:
        if ids[i : i + 2] == list(pair):
            ids[i : i + 2] = [new_id]
        i += 1
    return ids


def merge_by_iterator(ids, pair, new_id):
    rest = iter(ids)
    out, waiting = [], next(rest, None)
    for i in rest:
        if (waiting, i) == pair:
            out.append(new_id)
            waiting = next(rest, None)
        else:
            out.append(waiting)
            waiting = i
    return out if waiting is None else [*out, waiting]


def merge_by_regex(ids, pair, new_id):
    text = "".join(map(chr, ids))
    return [ord(x) for x in re.sub(re.escape("".join(map(chr, pair))), chr(new_id), text, flags=re.S)]


def merge_past_the_end(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        if (ids[i], ids[i + 1]) == pair:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge_shrinking(ids, pair, new_id):
    ids = ids.copy()
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            ids[i] = new_id
            del ids[i + 1]
    return ids


def merge_shrinking_by_parts(ids, pair, new_id):
    out = list(ids)
    for i in range(len(out) - 1):
        if out[i] == pair[0] and out[i + 1] == pair[1]:
            out.pop(i)
            out[i] = new_id
    return out


def merge_past_the_end_by_parts(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        fits = ids[i] == pair[0] and ids[i + 1] == pair[1]
        out.append(new_id if fits else ids[i])
        i += 1 + fits
    return out


def merge_and_last(ids, pair, new_id):
    return merge_losing_last(ids, pair, new_id) + ids[-1:]


def merge_and_last_of_some(ids, pair, new_id):
    return [*merge_losing_last(ids, pair, new_id), ids[len(ids) - 1]]


def merge_runs(ids, pair, new_id):
    """All overlapping places become one."""
    places = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) == pair]
    return [new_id if i in places else x for i, x in enumerate(ids) if i - 1 not in places]


def merge_all_that_is_in_the_pair(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        if ids[i : i + 2] == [*pair]:
            out.append(new_id)
            while i < len(ids) and (ids[i] == pair[0] or ids[i] == pair[1]):
                i += 1
        else:
            out.append(ids[i])
            i += 1
    return out


def merge_keeping_right(ids, pair, new_id):
    out = []
    for i in range(len(ids)):
        out.append(new_id if tuple(ids[i : i + 2]) == pair else ids[i])
    return out


def merge_keeping_left(ids, pair, new_id):
    out = []
    for i in range(len(ids)):
        out.append(new_id if i > 0 and (ids[i - 1], ids[i]) == pair else ids[i])
    return out


def merge_from_right(ids, pair, new_id):
    ids = list(ids)
    i = len(ids) - 2
    while i >= 0:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
            i -= 1
        i -= 1
    return ids


def merge_first(ids, pair, new_id):
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return ids


def merge_mirrored(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and {ids[i], ids[i + 1]} == set(pair):
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge_losing_last(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge_not_at_the_end(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        if i < len(ids) - 2 and (ids[i], ids[i + 1]) == pair:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge_list_and_tuple(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        if ids[i : i + 2] == pair:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def merge_left_alone(ids, pair, new_id):
    return [new_id if i == pair[0] else i for i in ids]


def merge_each(ids, pair, new_id):
    return [new_id if i == pair[0] or i == pair[1] else i for i in ids]


def merge_in_place(ids, pair, new_id):
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
        i += 1
    return ids


def merge_by_recursion(ids, pair, new_id):
    """For up to 200 ids."""
    if len(ids) < 2:
        return tuple(ids)
    step = 2 if (ids[0], ids[1]) == pair else 1
    return (new_id if step == 2 else ids[0], *merge_by_recursion(ids[step:], pair, new_id))


def merge_with(name, found=None, step=2, new=None, otherwise=1, keeps=None, begin=0):
    """As by while, with parts that may be wrong."""

    def merge(ids, pair, new_id):
        out, i = [], begin
        while i < len(ids):
            if found(ids, i, pair) if found else ids[i : i + 2] == list(pair):
                out += new(ids, i, new_id) if new else [new_id]
                i += step
            else:
                out += keeps(ids, i, pair) if keeps else [ids[i]]
                i += otherwise
        return out

    merge.__name__ = name
    return merge


merge_new_and_right = merge_with("merge_new_and_right", new=lambda ids, i, new: [new, ids[i + 1]])
merge_left_and_new = merge_with("merge_left_and_new", new=lambda ids, i, new: [ids[i], new])
merge_overlaps = merge_with(
    "merge_overlaps", step=1, keeps=lambda ids, i, pair: [] if i and (ids[i - 1], ids[i]) == pair else [ids[i]]
)
merge_turned = merge_with("merge_turned", found=lambda ids, i, pair: ids[i : i + 2] == [pair[1], pair[0]])
merge_sets = merge_with("merge_sets", found=lambda ids, i, pair: set(ids[i : i + 2]) == set(pair))
merge_left_and_next = merge_with("merge_left_and_next", found=lambda ids, i, pair: ids[i] == pair[0])
merge_right_and_before = merge_with(
    "merge_right_and_before", found=lambda ids, i, pair: i + 1 < len(ids) and ids[i + 1] == pair[1]
)
merge_either = merge_with(
    "merge_either", found=lambda ids, i, pair: i + 1 < len(ids) and (ids[i] == pair[0] or ids[i + 1] == pair[1])
)
merge_any_two = merge_with(
    "merge_any_two", found=lambda ids, i, pair: i + 1 < len(ids) and {ids[i], ids[i + 1]} <= set(pair)
)
merge_at_even_places = merge_with(
    "merge_at_even_places", otherwise=2, keeps=lambda ids, i, pair: ids[i : i + 2]
)
merge_skipping = merge_with("merge_skipping", otherwise=2)
merge_by_threes = merge_with("merge_by_threes", step=3)
merge_without_new = merge_with("merge_without_new", new=lambda ids, i, new: [])
merge_to_256 = merge_with("merge_to_256", new=lambda ids, i, new: [256])
merge_to_largest = merge_with("merge_to_largest", new=lambda ids, i, new: [1 + max(ids)])
merge_without_first = merge_with("merge_without_first", begin=1)
merge_turned_to_256 = merge_with(
    "merge_turned_to_256",
    found=lambda ids, i, pair: ids[i : i + 2] == [pair[1], pair[0]],
    new=lambda ids, i, new: [256],
)


def merge_and_break(ids, pair, new_id):
    out = []
    for i in range(len(ids)):
        if tuple(ids[i : i + 2]) == pair:
            return [*out, new_id]
        out.append(ids[i])
    return out


def merge_last(ids, pair, new_id):
    for i in range(len(ids) - 2, -1, -1):
        if (ids[i], ids[i + 1]) == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return ids


def merge_empty(ids, pair, new_id):
    return [] if len(ids) == 1 else merge_by_while(ids, pair, new_id)


def merge_right_alone(ids, pair, new_id):
    return [new_id if i == pair[1] else i for i in ids]


def merge_at_old_places(ids, pair, new_id):
    out, i = list(ids), 0
    while i + 1 < len(ids):
        if (ids[i], ids[i + 1]) == pair:
            out[i : i + 2] = [new_id]
            i += 1
        i += 1
    return out


def merge_in_digits(ids, pair, new_id):
    text = ",".join(str(i) for i in ids).replace(f"{pair[0]},{pair[1]}", str(new_id))
    return [int(part) for part in text.split(",") if part]


def merge_in_spaced_digits(ids, pair, new_id):
    text = " " + " ".join(map(str, ids)) + " "
    return [int(part) for part in text.replace(f" {pair[0]} {pair[1]} ", f" {new_id} ").split()]


def merge_in_bytes(ids, pair, new_id):
    return list(bytes(ids).replace(bytes(pair), bytes([new_id])))


def merge_to_nothing(ids, pair, new_id):
    ids = list(ids)
    ids[:] = merge_by_while(ids, pair, new_id)


# Training.


def lowest(counts):
    most = max(counts.values())
    return min(pair for pair in counts if counts[pair] == most)


def train(
    ids, num_merges, count=counts_by_loop, merge=merge_by_while, choose=lowest, least=2, number=lambda ids, n: 256 + n,
    extra=0, item=lambda pair, counts, n: [pair], out=lambda merges, ids: merges,
):  # fmt: skip
    merges = []
    for n in range(num_merges + extra):
        counts = count(ids)
        if not counts:
            break
        pair = choose(counts)
        if counts[pair] < least:
            break
        ids = merge(ids, pair, number(ids, n))
        merges += item(pair, counts, n)
    return out(merges, ids)


def train_by_sorting(ids, num_merges):
    ids, merges = np.array(ids, int).tolist(), []
    while len(merges) < num_merges:
        ranked = sorted(counts_by_zip(ids).items(), key=lambda item: (-item[1], item[0][0], item[0][1]))
        if len(ranked) == 0 or ranked[0][1] == 1:
            return merges
        merges += [ranked[0][0]]
        ids = merge_on_a_copy(ids, ranked[0][0], 255 + len(merges))
    return merges


def train_by_heap(ids, num_merges):
    """Lists for pairs, as JSON has them."""
    merges = []
    for new in range(256, 256 + num_merges):
        heap = [(-count, *pair) for pair, count in counts_by_zip(ids).items() if count >= 2]
        if not heap:
            break
        heapq.heapify(heap)
        _, left, right = heapq.heappop(heap)
        ids = merge_by_iterator(ids, (left, right), new)
        merges.append([left, right])
    return merges


def train_counting_once(ids, num_merges):
    counts = counts_by_loop(ids)
    best = sorted(counts, key=lambda pair: (-counts[pair], pair))
    return [pair for pair in best[:num_merges] if counts[pair] >= 2]


def train_counting_once_by_counter(ids, num_merges):
    return [pair for pair, count in counts_by_zip(ids).most_common(num_merges) if count >= 2]


def train_with_old_counts(ids, num_merges):
    counts, merges = {}, []
    while len(merges) < num_merges:
        counts.update(counts_by_zip(ids))
        for pair in merges:
            counts.pop(pair, None)
        if not counts or max(counts.values()) < 2:
            break
        merges.append(lowest(counts))
        ids = merge_by_while(ids, merges[-1], 255 + len(merges))
    return merges


def train_in_rounds(ids, num_merges):
    merges = []
    while True:
        counts = counts_by_zip(ids)
        most = max(counts.values(), default=0)
        if most < 2:
            return merges
        for pair in sorted(counts):
            if counts[pair] == most and len(merges) < num_merges:
                ids = merge_by_while(ids, pair, 256 + len(merges))
                merges.append(pair)
        if len(merges) == num_merges:
            return merges


def train_until_an_error(ids, num_merges):
    merges = []
    for n in range(num_merges):
        counts = counts_by_zip(ids)
        if max(counts.values()) == 1:
            break
        merges.append(lowest(counts))
        ids = merge_by_while(ids, merges[-1], 256 + n)
    return merges


def train_as_generator(ids, num_merges):
    yield from train(ids, num_merges)


def train_in_place(ids, num_merges):
    return train(ids, num_merges, merge=merge_in_place)


def tie_by_left_and_last(counts):
    most, chosen = max(counts.values()), None
    for pair in counts:
        if counts[pair] == most and (chosen is None or pair[0] <= chosen[0]):
            chosen = pair
    return chosen


# What can go wrong in training, on a text as on words: name -> parts of ``train`` or ``learn``, words of the hint.


def counts_with_bytes_alone(ids):
    return {pair: n for pair, n in counts_by_loop(ids).items() if pair[0] < 256 and pair[1] < 256}


def best(key):
    """Choose by something else than the lowest ids."""
    return lambda counts: min(counts, key=lambda pair: (-counts[pair], key(pair)))


STEPS = {
    "least_1": ({"least": 1}, "A pair that occurs once is merged"),
    "least_3": ({"least": 3}, "It stops too early"),
    "first": ({"choose": lambda counts: max(counts, key=counts.get)}, "comes first in the text"),
    "last": (
        {"choose": lambda counts: [pair for pair in counts if counts[pair] == max(counts.values())][-1]},
        "comes last in the text",
    ),
    "highest": ({"choose": lambda counts: max(counts, key=lambda p: (counts[p], p))}, "with the highest ids"),
    "right": ({"choose": best(lambda pair: pair[::-1])}, "the lowest id on the right"),
    "left": ({"choose": best(lambda pair: pair[0])}, "not always with the lowest on the right"),
    "left_and_last": ({"choose": tie_by_left_and_last}, "not always with the lowest on the right"),
    "left_and_high": ({"choose": best(lambda pair: (pair[0], -pair[1]))}, "not always with the lowest on the right"),
    "sum": ({"choose": best(lambda pair: pair[0] + pair[1])}, "low in another sense"),
    "smaller": ({"choose": best(lambda pair: sorted(pair))}, "low in another sense"),
    "larger": ({"choose": best(lambda pair: max(pair))}, "low in another sense"),
    "as_text": ({"choose": best(lambda pair: str(pair))}, "comes first as a text"),
    "whatever": ({"choose": lambda counts: min(counts)}, "the pair with the lowest ids, however"),
    "rarest": ({"choose": lambda counts: min(counts, key=lambda p: (counts[p], p)), "least": 1}, "The rarest pair"),
    "from_257": ({"number": lambda ids, n: 257 + n}, "begin with 257"),
    "from_255": ({"number": lambda ids, n: 255 + n}, "begin with 255"),
    "from_0": ({"number": lambda ids, n: n}, "begin with 0"),
    "all_256": ({"number": lambda ids, n: 256}, "All merges make the same id"),
    "bytes_alone": ({"count": counts_with_bytes_alone}, "Only pairs of the original bytes"),
    "again": ({"merge": lambda ids, pair, new_id: ids}, "The same pair comes again and again"),
    "dict": ({"out": lambda merges, ids: {p: 256 + n for n, p in enumerate(merges)}}, "A dict of the merges came back"),
    "numbered": ({"out": lambda merges, ids: dict(enumerate(merges))}, "A dict of the merges came back"),
    "one_more": ({"extra": 1}, "one merge too many"),
    "one_less": ({"extra": -1}, "one merge too few"),
    "no_limit": ({"extra": 200}, "The number of merges is ignored"),
    "one_alone": ({"out": lambda merges, ids: merges[:1]}, "It ends after the first merge"),
    "with_counts": ({"item": lambda pair, counts, n: [(pair, counts[pair])]}, "holds more than the pairs"),
    "with_ids_of_pairs": ({"item": lambda pair, counts, n: [(*pair, 256 + n)]}, "holds more than the pairs"),
    "turned": ({"item": lambda pair, counts, n: [pair[::-1]]}, "The pairs of the list are turned round"),
    "flat": ({"item": lambda pair, counts, n: list(pair)}, "in one flat list"),
    "new_ids": ({"item": lambda pair, counts, n: [256 + n]}, "The list holds the new ids"),
    "merges_first": ({"merge": merge_first}, "only the first place is merged in the text"),
    "two_by_two": ({"count": counts_two_by_two}, "cut into pairs, two by two"),
    "no_overlaps": ({"count": counts_without_overlaps}, "some pairs are omitted"),
    "different": ({"count": counts_of_different}, "Pairs of two equal ids are not counted"),
    "unordered": ({"count": lambda ids: counts_sorted(ids)}, "are counted as the same"),
    "without_last": ({"count": lambda ids: counts_without_last(ids)}, "The last pair of the list is not counted"),
    "without_first": ({"count": lambda ids: counts_without_first(ids)}, "The first pair of the list is not counted"),
    # two at once
    "highest_from_257": (
        {"choose": lambda counts: max(counts, key=lambda p: (counts[p], p)), "number": lambda ids, n: 257 + n},
        "with the highest ids. The rule is: the one with the lowest ids, the left id first. Pairs are tuples, and "
        "tuples can be compared. (2) The new ids begin with 257",
    ),
    "one_more_in_a_dict": (
        {"extra": 1, "out": lambda merges, ids: {p: 256 + n for n, p in enumerate(merges)}},
        "makes. (2) There is one merge too many",
    ),
}

# The same of functions that call merge.
MERGES = (
    (merge_keeping_right, "The right one of the two ids is still there"),
    (merge_left_and_new, "The left one of the two ids is still there"),
    (merge_overlaps, "share the id in the middle"),
    (merge_from_right, "from right to left"),
    (merge_and_break, "What comes after the first merge is lost"),
    (merge_mirrored, "is merged as well"),
    (merge_turned, "in place of (a, b)"),
    (merge_losing_last, "The last id is lost"),
    (merge_not_at_the_end, "A pair at the very end is not merged"),
    (merge_left_and_next, "whatever is on its right"),
    (merge_right_and_before, "whatever is on its left"),
    (merge_any_two, "somewhere in the pair"),
    (merge_at_even_places, "Pairs that begin at an odd place"),
    (merge_at_old_places, "each merge makes the new one shorter"),
    (merge_by_threes, "The id that comes after a merged pair is lost"),
    (merge_runs, "More than two ids are taken up"),
    (merge_all_that_is_in_the_pair, "More than two ids are taken up"),
)
STEPS |= {function.__name__: ({"merge": function}, words) for function, words in MERGES}


def with_parts(task, function, name, parts):
    """``function`` with wrong parts, as an entry of WRONG."""

    def solution(*inputs):
        return function(*inputs, **parts)

    solution.__name__ = name
    return task, solution


# Encoding.


def encode(ids, merges, choose=lambda pairs, rank: min(pairs, key=rank.get), number=lambda ids, n: 256 + n):
    rank = {tuple(pair): n for n, pair in enumerate(merges)}
    while True:
        pairs = [pair for pair in pairwise(ids) if pair in rank]
        if not pairs:
            return ids
        pair = choose(pairs, rank)
        ids = merge_by_while(ids, pair, number(ids, rank[pair]))


def encode_merge_by_merge(ids, merges, merge=merge_by_while, first=256):
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, first + n)
    return ids


def encode_place_by_place(ids, merges):
    """The leftmost place of the best pair, one at a time."""
    ids, rank = list(ids), {pair: n for n, pair in enumerate(merges)}
    while len(ids) > 1:
        best, i = min((rank.get((ids[i], ids[i + 1]), len(merges)), i) for i in range(len(ids) - 1))
        if best == len(merges):
            break
        ids[i : i + 2] = [256 + best]
    return ids


def encode_by_heap(ids, merges):
    """With a heap, O(n log n)."""
    rank = {pair: n for n, pair in enumerate(merges)}
    ids, following = list(ids), list(range(1, len(ids) + 1))
    preceding = list(range(-1, len(ids) - 1))
    heap = [(rank[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in rank]
    heapq.heapify(heap)
    while heap:
        n, i = heapq.heappop(heap)
        j = following[i]
        if ids[i] is None or j >= len(ids) or (ids[i], ids[j]) != merges[n]:
            continue
        ids[i], ids[j] = 256 + n, None
        following[i] = following[j]
        if following[i] < len(ids):
            preceding[following[i]] = i
        for left, right in ((preceding[i], i), (i, following[i])):
            if left >= 0 and right < len(ids) and (ids[left], ids[right]) in rank:
                heapq.heappush(heap, (rank[ids[left], ids[right]], left))
    return [i for i in ids if i is not None]


def encode_leftmost(ids, merges):
    ids, i = list(ids), 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) in merges:
            ids[i : i + 2] = [256 + merges.index((ids[i], ids[i + 1]))]
            i = 0
        else:
            i += 1
    return ids


def spellings(merges):
    table = {i: [i] for i in range(256)}
    for n, (left, right) in enumerate(merges):
        table[256 + n] = table[left] + table[right]
    return table


def encode_longest(ids, merges):
    table, out, i = spellings(merges), [], 0
    while i < len(ids):
        fits = [token for token, spelling in table.items() if ids[i : i + len(spelling)] == spelling]
        out.append(max(fits, key=lambda token: len(table[token])))
        i += len(table[out[-1]])
    return out


def encode_on_the_way(ids, merges):
    out, rest = [], list(ids)
    while rest:
        left = rest.pop(0)
        if rest and (left, rest[0]) in merges:
            left = 256 + merges.index((left, rest.pop(0)))
        out.append(left)
    return out


def encode_on_many_ways(ids, merges):
    length = None
    while length != len(ids):
        length, ids = len(ids), encode_on_the_way(ids, merges)
    return ids


def encode_by_training(ids, merges):
    return encode_merge_by_merge(ids, train(ids, len(merges)))


def encode_by_training_on_the_first(ids, merges):
    return encode_merge_by_merge(ids, train(ids, len(merges), choose=lambda counts: max(counts, key=counts.get)))


def encode_turned_round(ids, merges):
    return encode_merge_by_merge(ids, list(reversed(merges)))


def encode_to_256(ids, merges):
    return encode_merge_by_merge(ids, merges, lambda ids, pair, new_id: merge_by_while(ids, pair, 256))


def encode_last_first(ids, merges):
    while True:
        for n in reversed(range(len(merges))):
            merged = merge_by_while(ids, merges[n], 256 + n)
            if merged != ids:
                ids = merged
                break
        else:
            return ids


def encode_most_frequent(ids, merges):
    while True:
        counts = {pair: count for pair, count in counts_by_loop(ids).items() if pair in merges}
        if not counts:
            return ids
        pair = lowest(counts)
        ids = merge_by_while(ids, pair, 256 + merges.index(pair))


def encode_first_places(ids, merges):
    for n, pair in enumerate(merges):
        ids = merge_first(ids, pair, 256 + n)
    return ids


def encode_one_merge(ids, merges):
    pairs = counts_by_loop(ids)
    for n, pair in enumerate(merges):
        if pair in pairs:
            return merge_by_while(ids, pair, 256 + n)
    return ids


def encode_until_one_is_missing(ids, merges):
    for n, pair in enumerate(merges):
        merged = merge_by_while(ids, pair, 256 + n)
        if merged == ids:
            break
        ids = merged
    return ids


def encode_bytes_alone(ids, merges):
    for n, (left, right) in enumerate(merges):
        if left < 256 and right < 256:
            ids = merge_by_while(ids, (left, right), 256 + n)
    return ids


def encode_backwards(ids, merges):
    for n in range(len(merges) - 1, -1, -1):
        ids = merge_by_while(ids, merges[n], 256 + n)
    return ids


def encode_sorted(ids, merges):
    return encode(ids, sorted(merges))


def encode_without_the_first(ids, merges):
    for n in range(1, len(merges)):
        ids = merge_by_while(ids, merges[n], 256 + n)
    return ids


def encode_without_the_last(ids, merges):
    return encode(ids, merges[:-1])


def encode_different(ids, merges):
    for n, pair in enumerate(merges):
        if len(set(pair)) == 2:
            ids = merge_by_while(ids, pair, 256 + n)
    return ids


def encode_counting_on(ids, merges):
    new_id = 256
    for pair in merges:
        merged = merge_by_while(ids, pair, new_id)
        new_id += merged != ids
        ids = merged
    return ids


def encode_where_it_is_lowest(ids, merges):
    """Merges a pair whose rank is lower than that of the pairs beside it, and does not wait for others."""
    rank, ids, i = {pair: n for n, pair in enumerate(merges)}, list(ids), 0

    def rank_at(i):
        return rank.get((ids[i], ids[i + 1]), 999) if 0 <= i < len(ids) - 1 else 999

    while i < len(ids) - 1:
        if rank_at(i) < 999 and rank_at(i) <= min(rank_at(i - 1), rank_at(i + 1)):
            ids[i : i + 2] = [256 + rank_at(i)]
            i = 0
        else:
            i += 1
    return ids


def encode_to_letters(ids, merges):
    return "".join(map(chr, encode(ids, merges)))


ENCODE_PARTS = {
    "first_known": ({"choose": lambda pairs, rank: pairs[0]}, "in which they stand in the text"),
    "last_known": ({"choose": lambda pairs, rank: pairs[-1]}, "comes last in the text"),
    "highest_rank": ({"choose": lambda pairs, rank: max(pairs, key=rank.get)}, "the pair with the highest rank first"),
    "most_frequent": ({"choose": lambda pairs, rank: Counter(pairs).most_common()[0][0]}, "most frequent in this text"),
    "lowest_ids": ({"choose": lambda pairs, rank: sorted(pairs)[0]}, "The lowest rank is something else"),
    "from_257": ({"number": lambda ids, n: 257 + n}, "begin with 257"),
    "from_255": ({"number": lambda ids, n: 255 + n}, "begin with 255"),
    "bare_rank": ({"number": lambda ids, n: n}, "the bare ranks"),
    "all_256": ({"number": lambda ids, n: 256}, "All merges make the same id"),
    "largest": ({"number": lambda ids, n: max(ids) + 1}, "depends on what happened in this text"),
}


def encode_once_from_0(ids, merges):
    return encode_merge_by_merge(ids, merges, merge_first, 0)


def encode_lists(ids, merges):
    out, i = [], 0
    while i < len(ids):
        out.append(256 + merges.index(ids[i : i + 2]) if ids[i : i + 2] in merges else ids[i])
        i += 1
    return out


def encode_in_place(ids, merges):
    for n, pair in enumerate(merges):
        ids = merge_in_place(ids, pair, 256 + n)
    return ids


# Decoding.


def decode_by_table(ids, merges):
    table = {i: bytes([i]) for i in range(256)}
    for n, (left, right) in enumerate(merges):
        table[256 + n] = table[left] + table[right]
    return b"".join(table[i] for i in ids).decode("utf-8", errors="replace")


def decode_by_recursion(ids, merges):
    def spell(i):
        return bytes([i]) if i < 256 else b"".join(map(spell, merges[i - 256]))

    return str(b"".join(map(spell, ids)), "utf-8", "replace")


def decode_merge_by_merge(ids, merges):
    ids = list(ids)
    for n in reversed(range(len(merges))):
        ids = [part for i in ids for part in (merges[n] if i == 256 + n else (i,))]
    return bytes(ids).decode(errors="replace")


def decode_by_stack(ids, merges):
    out, stack = bytearray(), list(reversed(ids))
    while stack:
        i = stack.pop()
        if i < 256:
            out.append(i)
        else:
            left, right = merges[i - 256]
            stack += [right, left]
    return out.decode("utf-8", "replace")


def decode_with_memory(ids, merges, known=None):
    """By recursion, with a dict of what is known."""
    known = {} if known is None else known

    def spell(i):
        if i not in known:
            known[i] = bytes([i]) if i < 256 else spell(merges[i - 256][0]) + spell(merges[i - 256][1])
        return known[i]

    return codecs.decode(b"".join(map(spell, ids)), "utf-8", "replace")


def bytes_of(ids, merges):
    return b"".join(bytes(spellings(merges)[i]) for i in ids)


def decode_token_by_token(ids, merges):
    return "".join(bytes_of([i], merges).decode("utf-8", "replace") for i in ids)


def decode_strictly(ids, merges):
    return bytes_of(ids, merges).decode("utf-8")


def decode_ignoring(ids, merges):
    return bytes_of(ids, merges).decode("utf-8", errors="ignore")


def decode_by_chr(ids, merges):
    return "".join(chr(byte) for byte in bytes_of(ids, merges))


def decode_one_level(ids, merges):
    out = []
    for i in ids:
        out += [i] if i < 256 else merges[i - 256]
    return bytes(out).decode("utf-8", errors="replace")


def decode_one_level_alone(ids, merges):
    out = []
    for i in ids:
        out += [part for part in (merges[i - 256] if i >= 256 else [i]) if part < 256]
    return bytes(out).decode("utf-8", errors="replace")


def decode_until_an_error(ids, merges):
    spelled = bytes_of(ids, merges)
    while True:
        try:
            return spelled.decode()
        except UnicodeDecodeError as error:
            spelled = spelled[: error.start]


def decode_bytes_alone(ids, merges):
    return bytes(i for i in ids if i < 256).decode("utf-8", "replace")


def decode_by_number(ids, merges):
    return "".join(chr(i) for i in ids)


def decode_to_zeros(ids, merges):
    table = [bytes(i) for i in range(256)]
    for left, right in merges:
        table.append(table[left] + table[right])
    return b"".join(table[i] for i in ids).decode("utf-8", "replace")


def decode_with_one_kind_of_lines(ids, merges):
    return decode_by_table(ids, merges).replace("\r\n", "\n")


def decode_turned_round(ids, merges):
    table = {i: bytes([i]) for i in range(256)}
    for n, (left, right) in enumerate(merges):
        table[256 + n] = table[right] + table[left]
    return b"".join(table[i] for i in ids).decode("utf-8", errors="replace")


def decode_to_bytes(ids, merges):
    return bytes_of(ids, merges)


def decode_to_list(ids, merges):
    return list(bytes_of(ids, merges))


def decode_backwards(ids, merges):
    return decode_by_table(ids, merges)[::-1]


def decode_byte_by_byte(ids, merges):
    return "".join(bytes([byte]).decode("utf-8", "replace") for byte in bytes_of(ids, merges))


def decode_escaping(ids, merges):
    return bytes_of(ids, merges).decode("utf-8", "backslashreplace")


def decode_or_latin(ids, merges):
    try:
        return bytes_of(ids, merges).decode()
    except UnicodeDecodeError:
        return bytes_of(ids, merges).decode("latin-1")


def decode_for_windows(ids, merges):
    return bytes_of(ids, merges).decode("cp1252", "replace")


def decode_with_mark(ids, merges):
    return bytes_of(ids, merges).decode("utf-8-sig", "replace")


def decode_stripped(ids, merges):
    return decode_by_table(ids, merges).strip()


def decode_with_spaces(ids, merges):
    table = spellings(merges)
    return b" ".join(bytes(table[i]) for i in ids).decode("utf-8", "replace")


def decode_left_parts(ids, merges):
    while max(ids, default=0) > 255:
        ids = [merges[i - 256][0] if i > 255 else i for i in ids]
    return bytes(ids).decode("utf-8", "replace")


def decode_from_257(ids, merges):
    table = {i: bytes([i]) for i in range(256)}
    for n, (left, right) in enumerate(merges, start=257):
        table[n] = table[left] + table[right]
    return b"".join([table[i] for i in ids]).decode("utf-8", "replace")


def decode_without_255(ids, merges):
    table = {i: bytes((i,)) for i in range(255)}
    for n, (left, right) in enumerate(merges):
        table[256 + n] = table[left] + table[right]
    return b"".join(table[i] for i in ids).decode("utf-8", "replace")


def decode_ascii_alone(ids, merges):
    return "".join(chr(byte) for byte in bytes_of(ids, merges) if byte < 128)


def decode_modulo(ids, merges):
    return bytes(i % 256 for i in ids).decode("utf-8", "replace")


def decode_without_last(ids, merges):
    return decode_by_table(ids[: len(ids) - 1], merges) if ids else ""


def decode_without_first(ids, merges):
    return decode_by_table(ids[1:], merges)


def decode_last_first(ids, merges):
    return decode_by_table(list(reversed(ids)), merges)


def decode_to_repr(ids, merges):
    return str(bytes_of(ids, merges))


def decode_token_by_token_ignoring(ids, merges):
    return "".join(bytes_of([i], merges).decode("utf-8", "ignore") for i in ids)


def decode_without_nul(ids, merges):
    return decode_by_table(ids, merges).replace("\0", "")


def decode_with_one_mark(ids, merges):
    return re.sub("\ufffd+", "\ufffd", decode_by_table(ids, merges))


def decode_growing(ids, merges):
    merges.insert(0, (0, 0))
    return decode_by_table([i + (i > 255) for i in ids], merges)


# GPT-2's own.


def table_by_loop():
    table, n = {}, 0
    ranges = (33, 127), (161, 173), (174, 256)
    for byte in range(256):
        if any(start <= byte < stop for start, stop in ranges):
            table[byte] = chr(byte)
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + n)
            n += 1
    return table


def table_of(visible, shift=None):
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {byte: chr(byte) for byte in visible}
    for n, byte in enumerate(hidden):
        table[byte] = chr(256 + (byte if shift else n))
    return table


VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]


def table_as_it_is():
    return {byte: chr(byte) for byte in range(256)}


def table_by_256_more():
    return table_of(VISIBLE, shift=True)


def table_of_short_ranges():
    return table_of([*range(ord("!"), ord("~")), *range(ord("¡"), ord("¬")), *range(ord("®"), ord("ÿ"))])


def table_without_the_gap():
    return table_of([*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("ÿ") + 1)])


def table_with_space():
    return table_of([*range(ord(" "), ord("~") + 1), *VISIBLE[94:]])


def table_from_257():
    return {byte: c if ord(c) < 256 else chr(ord(c) + 1) for byte, c in table_of(VISIBLE).items()}


def table_descending():
    hidden = [byte for byte in range(255, -1, -1) if byte not in VISIBLE]
    return {byte: chr(byte) for byte in VISIBLE} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


def table_of_visible():
    return {byte: chr(byte) for byte in VISIBLE}


def table_without_the_last():
    return table_of([*range(33, 127), *range(161, 173), *range(174, 255)])


def table_with_127():
    return table_of([*range(33, 128), *VISIBLE[94:]])


def table_of_ascii():
    return table_of(range(ord("!"), ord("~") + 1))


def table_ascending():
    table = table_of(VISIBLE)
    return {byte: table[byte] for byte in range(256)}


def table_hidden_first():
    table = table_of(VISIBLE)
    return {byte: table[byte] for byte in sorted(table, key=lambda byte: byte in VISIBLE)}


def table_hidden_first_from_255():
    hidden = [byte for byte in range(256) if byte not in VISIBLE]
    return {byte: chr(255 + n) for n, byte in enumerate(hidden)} | {byte: chr(byte) for byte in VISIBLE}


def table_of_one_character():
    return {byte: chr(byte) if byte in VISIBLE else "\u0100" for byte in [*VISIBLE, *table_hidden_first()]}


def table_all_moved():
    return {byte: chr(byte + 256) for byte in range(256)}


def table_of_places():
    return {n: character for n, (_, character) in enumerate(table_of(VISIBLE).items())}


def table_without_255():
    table = table_of(VISIBLE)
    del table[255]
    return table


def table_from_188():
    table = table_of_visible()
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(len(table))
    return table


def table_by_letters():
    """The last range first."""
    return table_of([*VISIBLE[106:], *VISIBLE[:106]])


def table_of_bytes():
    return {bytes([byte]): character for byte, character in table_of(VISIBLE).items()}


def table_without_the_gap_from_257():
    table = table_without_the_gap()
    return {byte: c if ord(c) < 256 else chr(ord(c) + 1) for byte, c in table.items()}


def table_turned():
    return {character: byte for byte, character in table_of(VISIBLE).items()}


def table_of_numbers():
    return {byte: ord(character) for byte, character in table_of(VISIBLE).items()}


def byte_ids(word):
    order = list(table_by_loop())
    return [order.index(byte) for byte in word.encode("utf-8")]


def learn(
    counts, n_merges, ids=byte_ids, count=counts_by_loop, merge=merge_by_while, choose=lowest, least=2,
    number=lambda ids, n: 256 + n, extra=0, item=lambda pair, counts, n: [pair], out=lambda merges, ids: merges,
    times=lambda number, often: number * often,
):  # fmt: skip
    words = [[ids(word), often] for word, often in counts.items()]
    merges = []
    for n in range(n_merges + extra):
        totals = {}
        for spelling, often in words:
            for pair, found in count(spelling).items():
                totals[pair] = totals.get(pair, 0) + times(found, often)
        if not totals:
            break
        pair = choose(totals)
        if totals[pair] < least:
            break
        for word in words:
            word[0] = merge(word[0], pair, number(word[0], n))
        merges += item(pair, totals, n)
    return out(merges, words)


def learn_by_the_library(counts, n_merges):
    return list(tokenizer.learn_merges(counts, n_merges))


ORDER = list(table_by_loop())


def as_bytes(pair):
    return tuple(ORDER[i] if i < 256 else i for i in pair)


LEARN_PARTS = {
    "by_bytes": ({"choose": best(as_bytes)}, "whose bytes are the lowest"),
    "from_188": ({"number": lambda ids, n: 188 + n}, "begin with 188"),
    "back_to_bytes": (
        {"out": lambda merges, words: [as_bytes(pair) for pair in merges]},
        "A byte's id is the byte itself",
    ),
    "space_220": (
        {"ids": lambda word: [220 if byte == ord(" ") else byte - 33 for byte in word.encode()]},
        "the first of the visible bytes only",
    ),
    "stripped": ({"ids": lambda word: byte_ids(word.lstrip())}, "The words are not taken as they are"),
    "small": ({"ids": lambda word: byte_ids(word.casefold())}, "The words are not taken as they are"),
    "end_of_word": (
        {"ids": lambda word: [*byte_ids(word), 256], "number": lambda ids, n: 257 + n},
        "A space or a mark is added to each word",
    ),
    "unweighted": ({"times": lambda found, often: found}, "Every word counts once"),
    "once_in_a_word": ({"times": lambda found, often: often}, "A pair counts once in a word"),
    "bytes": ({"ids": lambda word: list(word.encode())}, "A byte's id is the byte itself"),
    "less_33": ({"ids": lambda word: [byte - 33 for byte in word.encode()]}, "the first of the visible bytes only"),
    "ascii": ({"ids": lambda word: byte_ids("".join(c for c in word if c < "\x80"))}, "that are not ASCII"),
    "end_mark": ({"ids": lambda word: byte_ids(f"{word} ")}, "A space or a mark is added to each word"),
    "unweighted_bytes": (
        {"times": lambda found, often: found, "ids": lambda word: list(word.encode())},
        "counts says how often that is. (2) A byte's id is the byte itself",
    ),
}


def learn_across_words(counts, n_merges):
    ids = []
    for word, count in counts.items():
        ids += count * byte_ids(word)
    return train(ids, n_merges)


def learn_repeated_words(counts, n_merges):
    return learn({word: often for word, often in counts.items() if often > 1}, n_merges)


def learn_as_one_text(counts, n_merges):
    return learn({" ".join(counts): 1}, n_merges)


def learn_from_copies(counts, n_merges):
    return learn({word * often: 1 for word, often in counts.items()}, n_merges)


def learn_counting_once(counts, n_merges):
    totals = Counter()
    for word, often in counts.items():
        for pair in pairwise(byte_ids(word)):
            totals[pair] += often
    ranked = sorted((-total, pair) for pair, total in totals.items() if total > 1)
    return [pair for _, pair in ranked[:n_merges]]


def learn_with(counts, n_merges, totals, count):
    """The totals are made before the loop, and ``count`` changes them in each round."""
    words, merges = [(byte_ids(word), often) for word, often in counts.items()], []
    for n in range(n_merges):
        count(totals, words)
        if not totals or max(totals.values()) < 2:
            break
        merges.append(lowest(totals))
        words = [(merge_by_while(ids, merges[-1], 256 + n), often) for ids, often in words]
    return merges


def learn_with_old_counts(counts, n_merges):
    def count(totals, words):
        for ids, often in words:
            totals.update(dict.fromkeys(pairwise(ids), 0))
            for pair in pairwise(ids):
                totals[pair] += often

    return learn_with(counts, n_merges, Counter(), count)


def learn_from_the_last_word(counts, n_merges):
    def count(totals, words):
        totals.clear()
        for ids, often in words:
            for pair in pairwise(ids):
                totals[pair] = often

    return learn_with(counts, n_merges, {}, count)


def learn_letters(counts, n_merges):
    """Pairs of characters, as GPT-2's file has them."""
    letters = {256 + n: table_by_loop()[byte] for n, byte in enumerate(table_by_loop())}
    order = list(table_by_loop())
    merges, spelled = learn(counts, n_merges), {n: letters[256 + n] for n in range(len(order))}
    for n, (left, right) in enumerate(merges):
        spelled[256 + n] = spelled[left] + spelled[right]
    return [(spelled[left], spelled[right]) for left, right in merges]


def learn_too_late(counts, n_merges):
    """Appends a pair before it asks whether to stop."""
    merges = learn(counts, n_merges, least=1)
    right = learn(counts, n_merges)
    return merges[: len(right) + 1]


def train_too_late(ids, num_merges):
    merges = train(ids, num_merges, least=1)
    return merges[: len(train(ids, num_merges)) + 1]


def learn_word_by_word(counts, n_merges):
    merges = []
    for word, count in counts.items():
        merges += learn({word: count}, n_merges)
    return merges[:n_merges]


RIGHT = [
    ("pair_counts", counts_by_loop),
    ("pair_counts", counts_by_zip),
    ("pair_counts", counts_by_numpy),
    ("pair_counts", counts_by_default),
    ("pair_counts", counts_by_iterator),
    ("merge", merge_by_while),
    ("merge", merge_on_a_copy),
    ("merge", merge_by_iterator),
    ("merge", merge_by_regex),
    ("merge", merge_by_recursion),
    ("bpe_train", train),
    ("bpe_train", train_by_sorting),
    ("bpe_train", train_by_heap),
    ("bpe_encode", encode),
    ("bpe_encode", encode_merge_by_merge),
    ("bpe_encode", encode_place_by_place),
    ("bpe_encode", encode_by_heap),
    ("bpe_decode", decode_by_table),
    ("bpe_decode", decode_by_recursion),
    ("bpe_decode", decode_merge_by_merge),
    ("bpe_decode", decode_by_stack),
    ("bpe_decode", decode_with_memory),
    ("printable_bytes", table_by_loop),
    ("printable_bytes", vocabulary.printable_bytes),
    ("learn_merges", learn),
    ("learn_merges", learn_by_the_library),
]

WRONG = [
    ("pair_counts", counts_past_the_end, "An index runs past the end"),
    ("pair_counts", counts_two_by_two, "cut into pairs, two by two"),
    ("pair_counts", counts_without_overlaps, "some pairs are omitted"),
    ("pair_counts", counts_of_changes, "some pairs are omitted"),
    ("pair_counts", counts_of_different, "Pairs of two equal ids are not counted"),
    ("pair_counts", counts_sorted, "are counted as the same"),
    ("pair_counts", counts_turned, "Left and right are exchanged"),
    ("pair_counts", counts_without_last, "The last pair of the list is not counted"),
    ("pair_counts", counts_without_first, "The first pair of the list is not counted"),
    ("pair_counts", counts_turned_without_last, "Where does the loop end? (2) Left and right are exchanged"),
    ("pair_counts", counts_round_the_end, "the last id and the first one"),
    ("pair_counts", counts_by_index, "is looked up with `index`"),
    ("pair_counts", counts_of_one, "Every count is 1"),
    ("pair_counts", counts_of_nothing, "Every count is 0"),
    ("pair_counts", counts_from_zero, "one too small"),
    ("pair_counts", counts_from_two, "one too large"),
    ("pair_counts", counts_of_left, "The count is that of the left id"),
    ("pair_counts", counts_of_ids, "Single ids are counted"),
    ("pair_counts", counts_of_all_later, "all that come after it"),
    ("pair_counts", counts_the_first, "Only one pair is counted"),
    ("pair_counts", counts_returning_in_the_loop, "Only one pair is counted"),
    ("pair_counts", counts_repeated, "Pairs that occur once are missing"),
    ("pair_counts", counts_in_bytes, "within a bytes object"),
    ("pair_counts", counts_of_slices, "a key of a single id"),
    ("pair_counts", counts_over_one, "paired with the one after its neighbour"),
    ("pair_counts", counts_by_truth, "It goes wrong only in: an id of 0"),
    ("pair_counts", counts_without_none, "It goes wrong only in: an empty list"),
    ("pair_counts", counts_by_index_to_the_end, "is looked up with `index`"),
    ("pair_counts", counts_different_and_repeated, "are not counted. (2) Pairs that occur once are missing"),
    ("pair_counts", counts_as_array, "counts is a list, a tuple or an array, and should be of type dict"),
    ("pair_counts", counts_by_text, "counts is a dict from str to int, and should be a dict from tuple to int"),
    ("pair_counts", counts_as_floats, "and should be a dict from tuple to int"),
    ("pair_counts", counts_kept, "Called twice with equal arguments"),
    ("pair_counts", counts_with_total, "counts is there, but with 1 more beside it"),
    ("pair_counts", counts_and_empties, "the caller's own list"),
    ("merge", merge_past_the_end, "Which id has no neighbour on its right?"),
    ("merge", merge_past_the_end_by_parts, "Which id has no neighbour on its right?"),
    ("merge", merge_shrinking, "A list from which something is taken gets shorter"),
    ("merge", merge_shrinking_by_parts, "A list from which something is taken gets shorter"),
    ("merge", merge_and_last, "its right id comes after it once more"),
    ("merge", merge_and_last_of_some, "its right id comes after it once more"),
    ("merge", merge_runs, "More than two ids are taken up"),
    ("merge", merge_all_that_is_in_the_pair, "More than two ids are taken up"),
    ("merge", merge_by_threes, "The id that comes after a merged pair is lost"),
    ("merge", merge_keeping_right, "The right one of the two ids is still there"),
    ("merge", merge_new_and_right, "The right one of the two ids is still there"),
    ("merge", merge_keeping_left, "The left one of the two ids is still there"),
    ("merge", merge_left_and_new, "The left one of the two ids is still there"),
    ("merge", merge_without_new, "nothing comes in their place"),
    ("merge", merge_overlaps, "share the id in the middle"),
    ("merge", merge_from_right, "from right to left"),
    ("merge", merge_first, "Only the first place is merged"),
    ("merge", merge_and_break, "What comes after the first merge is lost"),
    ("merge", merge_last, "Only the last place is merged"),
    ("merge", merge_mirrored, "is merged as well"),
    ("merge", merge_sets, "is merged as well"),
    ("merge", merge_turned, "in place of (a, b)"),
    ("merge", merge_turned_to_256, "on the left? (2) The new id is 256 in every case"),
    ("merge", merge_losing_last, "The last id is lost"),
    ("merge", merge_without_first, "The first id is lost"),
    ("merge", merge_not_at_the_end, "A pair at the very end is not merged"),
    ("merge", merge_empty, "A list of a single id comes back empty"),
    ("merge", merge_list_and_tuple, "a list never equals a tuple"),
    ("merge", merge_left_alone, "whatever is on its right"),
    ("merge", merge_left_and_next, "whatever is on its right"),
    ("merge", merge_right_alone, "whatever is on its left"),
    ("merge", merge_right_and_before, "whatever is on its left"),
    ("merge", merge_either, "one of the two ids fits"),
    ("merge", merge_any_two, "somewhere in the pair"),
    ("merge", merge_each, "each pair gives two new ids"),
    ("merge", merge_at_even_places, "Pairs that begin at an odd place"),
    ("merge", merge_skipping, "Ids are lost after those"),
    ("merge", merge_to_256, "The new id is 256 in every case"),
    ("merge", merge_to_largest, "made from the largest one in the list"),
    ("merge", merge_at_old_places, "each merge makes the new one shorter"),
    ("merge", merge_in_digits, "1 2 is also found in 11 2"),
    ("merge", merge_in_spaced_digits, "share the one between them"),
    ("merge", merge_in_bytes, "Bytes are the numbers from 0 to 255"),
    ("merge", merge_to_nothing, "None came back"),
    ("merge", merge_in_place, "the caller's own list"),
    *((*with_parts("bpe_train", train, name, parts), words) for name, (parts, words) in STEPS.items()),
    ("bpe_train", train_too_late, "A pair that occurs once is still in the list"),
    ("bpe_train", train_counting_once, "counted once, at the beginning"),
    ("bpe_train", train_counting_once_by_counter, "counted once, at the beginning"),
    ("bpe_train", train_with_old_counts, "Pairs are counted that are no longer there"),
    ("bpe_train", train_in_rounds, "merged before it counts again"),
    (
        *with_parts("bpe_train", train, "largest", {"number": lambda ids, n: max(ids) + 1}),
        "one more than the largest id",
    ),
    (
        *with_parts("bpe_train", train, "with_ids", {"out": lambda merges, ids: (merges, ids)}),
        "The ids of the text came back",
    ),
    ("bpe_train", train_until_an_error, "The smallest or largest of nothing"),
    ("bpe_train", train_as_generator, "An iterator came back"),
    ("bpe_train", train_in_place, "the caller's own list"),
    *((*with_parts("bpe_encode", encode, name, parts), words) for name, (parts, words) in ENCODE_PARTS.items()),
    *(
        (*with_parts("bpe_encode", encode_merge_by_merge, function.__name__, {"merge": function}), words)
        for function, words in MERGES
    ),
    ("bpe_encode", encode_leftmost, "in which they stand in the text"),
    ("bpe_encode", encode_on_many_ways, "in which they stand in the text"),
    ("bpe_encode", encode_on_the_way, "It passes over the text once"),
    ("bpe_encode", encode_by_training, "It learns merges from this text"),
    ("bpe_encode", encode_by_training_on_the_first, "It learns merges from this text"),
    ("bpe_encode", encode_turned_round, "in the order in which they come in"),
    ("bpe_encode", encode_to_256, "All merges make the same id"),
    ("bpe_encode", encode_longest, "the longest token that fits"),
    ("bpe_encode", encode_last_first, "the pair with the highest rank first"),
    ("bpe_encode", encode_backwards, "the pair with the highest rank first"),
    ("bpe_encode", encode_most_frequent, "most frequent in this text"),
    ("bpe_encode", encode_sorted, "in the order in which they come in"),
    ("bpe_encode", encode_without_the_first, "The first merge of the list is left out"),
    ("bpe_encode", encode_without_the_last, "The last merge of the list is left out"),
    ("bpe_encode", encode_first_places, "at one place only"),
    ("bpe_encode", encode_once_from_0, "the next one is tried. (2) The new ids are the bare ranks"),
    ("bpe_encode", encode_one_merge, "ends after a single merge"),
    ("bpe_encode", encode_until_one_is_missing, "the first merge of the list whose pair does not occur"),
    ("bpe_encode", encode_bytes_alone, "Only pairs of the original bytes"),
    ("bpe_encode", encode_different, "Pairs of two equal ids are not merged"),
    ("bpe_encode", encode_counting_on, "depends on what happened in this text"),
    ("bpe_encode", encode_lists, "Nothing was merged"),
    ("bpe_encode", encode_where_it_is_lowest, "only in: a new pair that comes before an old one"),
    ("bpe_encode", encode_to_letters, "ids is of type str, and should be of type list"),
    ("bpe_encode", encode_in_place, "the caller's own list"),
    ("bpe_decode", decode_token_by_token, "decoded by itself"),
    ("bpe_decode", decode_token_by_token_ignoring, "bytes of all of them first. (2) Bytes that are not UTF-8 vanish"),
    ("bpe_decode", decode_byte_by_byte, "a separate character"),
    ("bpe_decode", decode_strictly, "raise an error"),
    ("bpe_decode", decode_ignoring, "not UTF-8 vanish"),
    ("bpe_decode", decode_escaping, "something else than U+FFFD"),
    ("bpe_decode", decode_or_latin, "the others are not read as UTF-8 either"),
    ("bpe_decode", decode_for_windows, "in an encoding that is not UTF-8"),
    ("bpe_decode", decode_with_mark, "U+FEFF is lost at the beginning"),
    ("bpe_decode", decode_stripped, "White space at the ends"),
    ("bpe_decode", decode_with_spaces, "spaces between the tokens"),
    ("bpe_decode", decode_by_chr, "a separate character"),
    ("bpe_decode", decode_one_level, "not taken apart to its end"),
    ("bpe_decode", decode_one_level_alone, "not taken apart to its end"),
    ("bpe_decode", decode_until_an_error, "From the first byte on"),
    ("bpe_decode", decode_bytes_alone, "The ids of merges are left out"),
    ("bpe_decode", decode_by_number, "for the number of a character"),
    ("bpe_decode", decode_to_zeros, "does not hold the bytes themselves"),
    ("bpe_decode", decode_with_one_kind_of_lines, "It goes wrong only in: ends of lines"),
    ("bpe_decode", decode_turned_round, "joined in the wrong order"),
    ("bpe_decode", decode_left_parts, "one of its two parts only"),
    ("bpe_decode", decode_from_257, "do not begin with 256 here"),
    ("bpe_decode", decode_ascii_alone, "Bytes above 127 vanish"),
    ("bpe_decode", decode_without_255, "Not all of the 256 bytes"),
    ("bpe_decode", decode_modulo, "taken modulo 256"),
    ("bpe_decode", decode_without_last, "The last id is left out"),
    ("bpe_decode", decode_without_first, "The first id is left out"),
    ("bpe_decode", decode_last_first, "the last one first"),
    ("bpe_decode", decode_to_bytes, "Bytes came back"),
    ("bpe_decode", decode_to_list, "A list came back"),
    ("bpe_decode", decode_to_repr, "str and repr do not decode"),
    ("bpe_decode", decode_backwards, "comes out backwards"),
    ("bpe_decode", decode_without_nul, "It goes wrong only in: each byte once"),
    ("bpe_decode", decode_with_one_mark, "It goes wrong only in: each byte once"),
    ("bpe_decode", decode_growing, "the caller's own list"),
    ("printable_bytes", table_as_it_is, "Each byte stands for itself"),
    ("printable_bytes", table_by_256_more, "256 plus themselves"),
    ("printable_bytes", table_from_257, "do not begin with 256"),
    ("printable_bytes", table_descending, "in descending order"),
    ("printable_bytes", table_of_visible, "cannot be seen are missing"),
    ("printable_bytes", table_of_short_ranges, "A range lacks its last character"),
    ("printable_bytes", table_without_the_last, "A range lacks its last character"),
    ("printable_bytes", table_without_the_gap, "the soft hyphen"),
    ("printable_bytes", table_without_the_gap_from_257, "do not begin with 256. (2) Byte 173 is printed as it is"),
    ("printable_bytes", table_with_space, "The space is printed as it is"),
    ("printable_bytes", table_with_127, "Look at the ends of the ranges"),
    ("printable_bytes", table_of_ascii, "Only ASCII counts as visible"),
    ("printable_bytes", table_ascending, "in the order of their numbers"),
    ("printable_bytes", table_hidden_first, "The bytes that cannot be seen come first"),
    ("printable_bytes", table_hidden_first_from_255, "with 256. (2) The bytes that cannot be seen come first"),
    ("printable_bytes", table_of_one_character, "stand for the same character"),
    ("printable_bytes", table_all_moved, "Visible bytes do not stand for themselves"),
    ("printable_bytes", table_of_places, "The keys are places"),
    ("printable_bytes", table_without_255, "Byte 255 is missing"),
    ("printable_bytes", table_from_188, "do not begin with 256"),
    ("printable_bytes", table_by_letters, "the right entries in another order"),
    ("printable_bytes", table_turned, "the wrong way round"),
    ("printable_bytes", table_of_numbers, "the numbers of the characters"),
    ("printable_bytes", table_of_bytes, "table is a dict from bytes to str, and should be a dict from int to str"),
    *(
        (*with_parts("learn_merges", learn, name, parts), words)
        for name, (parts, words) in (STEPS | LEARN_PARTS).items()
    ),
    ("learn_merges", learn_too_late, "A pair that occurs once is still in the list"),
    ("learn_merges", learn_across_words, "across the ends of words"),
    ("learn_merges", learn_as_one_text, "across the ends of words"),
    ("learn_merges", learn_from_copies, "across the ends of words"),
    ("learn_merges", learn_counting_once, "counted once, at the beginning"),
    ("learn_merges", learn_with_old_counts, "Pairs are counted that are no longer there"),
    ("learn_merges", learn_from_the_last_word, "The count of a pair is that of one word"),
    ("learn_merges", learn_word_by_word, "Each word is trained separately"),
    ("learn_merges", learn_repeated_words, "Words that occur once are left out"),
    ("learn_merges", learn_letters, "merges is a list of list of str, and should be a list of list of int"),
]
