"""Exercise 1 as students write it: right in several styles, and wrong in the ways that are known."""

import heapq
import re
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np

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


# Training.


def lowest(counts):
    most = max(counts.values())
    return min(pair for pair in counts if counts[pair] == most)


def train(
    ids, num_merges, count=counts_by_loop, merge=merge_by_while, choose=lowest, least=2, first=256, extra=0, new_id=None
):
    merges = []
    for n in range(num_merges + extra):
        counts = count(ids)
        if not counts:
            break
        pair = choose(counts)
        if counts[pair] < least:
            break
        ids = merge(ids, pair, new_id(ids) if new_id else first + n)
        merges.append(pair)
    return merges


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


def train_with(name, **parts):
    def bpe_train(ids, num_merges):
        return train(ids, num_merges, **parts)

    bpe_train.__name__ = name
    return bpe_train


def train_counting_once(ids, num_merges):
    counts = counts_by_loop(ids)
    best = sorted(counts, key=lambda pair: (-counts[pair], pair))
    return [pair for pair in best[:num_merges] if counts[pair] >= 2]


def train_counting_once_by_counter(ids, num_merges):
    return [pair for pair, count in counts_by_zip(ids).most_common(num_merges) if count >= 2]


def train_to_a_dict(ids, num_merges):
    return {pair: 256 + n for n, pair in enumerate(train(ids, num_merges))}


def train_without_limit(ids, num_merges):
    return train(ids, 10_000)


def train_with_counts(ids, num_merges):
    merges = []
    while len(merges) < num_merges:
        counts = counts_by_loop(ids)
        if not counts or max(counts.values()) < 2:
            break
        pair = lowest(counts)
        ids = merge_by_while(ids, pair, 256 + len(merges))
        merges.append((pair, counts[pair]))
    return merges


def train_in_place(ids, num_merges):
    return train(ids, num_merges, merge=merge_in_place)


# Encoding.


def encode(ids, merges, merge=merge_by_while, first=256):
    rank = {tuple(pair): n for n, pair in enumerate(merges)}
    while True:
        pairs = [pair for pair in pairwise(ids) if pair in rank]
        if not pairs:
            return ids
        pair = min(pairs, key=lambda pair: rank[pair])
        ids = merge(ids, pair, first + rank[pair])


def encode_merge_by_merge(ids, merges):
    for n, pair in enumerate(merges):
        ids = merge_by_while(ids, pair, 256 + n)
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


def encode_from_257(ids, merges):
    return encode(ids, merges, first=257)


def encode_ranks(ids, merges):
    return encode(ids, merges, first=0)


def encode_from_right(ids, merges):
    return encode(ids, merges, merge_from_right)


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


def table_turned():
    return {character: byte for byte, character in table_of(VISIBLE).items()}


def table_of_numbers():
    return {byte: ord(character) for byte, character in table_of(VISIBLE).items()}


def byte_ids(word):
    order = list(table_by_loop())
    return [order.index(byte) for byte in word.encode("utf-8")]


def learn(counts, n_merges, ids=byte_ids, choose=lowest, times=None):
    words = [[ids(word), times or count] for word, count in counts.items()]
    merges = []
    while len(merges) < n_merges:
        totals = {}
        for spelling, count in words:
            for pair, number in counts_by_loop(spelling).items():
                totals[pair] = totals.get(pair, 0) + number * count
        if not totals:
            break
        pair = choose(totals)
        if totals[pair] < 2:
            break
        for word in words:
            word[0] = merge_by_while(word[0], pair, 256 + len(merges))
        merges.append(pair)
    return merges


def learn_unweighted(counts, n_merges):
    return learn(counts, n_merges, times=1)


def learn_bytes(counts, n_merges):
    return learn(counts, n_merges, lambda word: list(word.encode()))


def learn_across_words(counts, n_merges):
    ids = []
    for word, count in counts.items():
        ids += count * byte_ids(word)
    return train(ids, n_merges)


def learn_first_of_equals(counts, n_merges):
    return learn(counts, n_merges, choose=lambda totals: max(totals, key=totals.get))


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
    ("merge", merge_by_while),
    ("merge", merge_on_a_copy),
    ("merge", merge_by_iterator),
    ("merge", merge_by_regex),
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
    ("printable_bytes", table_by_loop),
    ("learn_merges", learn),
]

WRONG = [
    ("pair_counts", counts_past_the_end, "An index runs past the end"),
    ("pair_counts", counts_two_by_two, "cut into pairs, two by two"),
    ("pair_counts", counts_without_overlaps, "every second pair is omitted"),
    ("pair_counts", counts_sorted, "are counted as the same"),
    ("pair_counts", counts_without_last, "The last pair of the list is not counted"),
    ("pair_counts", counts_without_first, "The first pair of the list is not counted"),
    ("pair_counts", counts_round_the_end, "the last id and the first one"),
    ("pair_counts", counts_of_one, "Every count is 1"),
    ("pair_counts", counts_from_zero, "one too small"),
    ("pair_counts", counts_of_ids, "Single ids are counted"),
    ("pair_counts", counts_and_empties, "An operation in place"),
    ("merge", merge_past_the_end, "An index runs past the end"),
    ("merge", merge_shrinking, "An index runs past the end"),
    ("merge", merge_keeping_right, "The right one of the two ids is still there"),
    ("merge", merge_keeping_left, "The left one of the two ids is still there"),
    ("merge", merge_from_right, "from right to left"),
    ("merge", merge_first, "Only the first place is merged"),
    ("merge", merge_mirrored, "is merged as well"),
    ("merge", merge_losing_last, "The last id is lost"),
    ("merge", merge_not_at_the_end, "A pair at the very end is not merged"),
    ("merge", merge_list_and_tuple, "a list never equals a tuple"),
    ("merge", merge_left_alone, "whatever is on its right"),
    ("merge", merge_each, "each pair gives two new ids"),
    ("merge", merge_in_place, "An operation in place"),
    ("bpe_train", train_with("least_1", least=1), "A pair that occurs once is merged"),
    ("bpe_train", train_with("least_3", least=3), "It stops too early"),
    ("bpe_train", train_with("first", choose=lambda c: max(c, key=c.get)), "comes first in the text"),
    (
        "bpe_train",
        train_with("last", choose=lambda c: [pair for pair in c if c[pair] == max(c.values())][-1]),
        "comes last in the text",
    ),
    ("bpe_train", train_with("highest", choose=lambda c: max(c, key=lambda p: (c[p], p))), "with the highest ids"),
    (
        "bpe_train",
        train_with("right", choose=lambda c: min(c, key=lambda p: (-c[p], p[1], p[0]))),
        "the lowest id on the right",
    ),
    ("bpe_train", train_counting_once, "counted once, at the beginning"),
    ("bpe_train", train_counting_once_by_counter, "counted once, at the beginning"),
    ("bpe_train", train_with("from_257", first=257), "begin with 257"),
    ("bpe_train", train_with("from_255", first=255), "begin with 255"),
    ("bpe_train", train_with("from_0", first=0), "begin with 0"),
    ("bpe_train", train_with("largest", new_id=lambda ids: max(ids) + 1), "one more than the largest id"),
    ("bpe_train", train_to_a_dict, "A dict of the merges came back"),
    ("bpe_train", train_with("one_more", extra=1), "one merge too many"),
    ("bpe_train", train_with("one_less", extra=-1), "one merge too few"),
    ("bpe_train", train_without_limit, "num_merges is ignored: the loop continues"),
    ("bpe_train", train_with("no_overlaps", count=counts_without_overlaps), "Does it count with pair_counts"),
    ("bpe_train", train_with("merges_first", merge=merge_first), "only the first place is merged in the text"),
    (
        "bpe_train",
        train_with("rarest", choose=lambda c: min(c, key=lambda p: (c[p], p)), least=1),
        "The rarest pair is taken",
    ),
    ("bpe_train", train_with_counts, "how often each pair occurred"),
    ("bpe_train", train_in_place, "An operation in place"),
    ("bpe_encode", encode_leftmost, "comes first in the text"),
    ("bpe_encode", encode_longest, "the longest token that fits"),
    ("bpe_encode", encode_last_first, "the pair with the highest rank first"),
    ("bpe_encode", encode_most_frequent, "most frequent in this text"),
    ("bpe_encode", encode_first_places, "at one place only"),
    ("bpe_encode", encode_one_merge, "ends after a single merge"),
    ("bpe_encode", encode_until_one_is_missing, "the first merge of the list whose pair does not occur"),
    ("bpe_encode", encode_bytes_alone, "Only pairs of the original bytes"),
    ("bpe_encode", encode_from_257, "begin with 257"),
    ("bpe_encode", encode_ranks, "the bare ranks"),
    ("bpe_encode", encode_from_right, "merged from right to left"),
    ("bpe_encode", encode_lists, "Nothing was merged"),
    ("bpe_encode", encode_in_place, "An operation in place"),
    ("bpe_decode", decode_token_by_token, "decoded by itself"),
    ("bpe_decode", decode_strictly, "raise an error"),
    ("bpe_decode", decode_ignoring, "not UTF-8 vanish"),
    ("bpe_decode", decode_by_chr, "a separate character"),
    ("bpe_decode", decode_one_level, "taken apart only once"),
    ("bpe_decode", decode_turned_round, "joined in the wrong order"),
    ("bpe_decode", decode_to_bytes, "Bytes came back"),
    ("bpe_decode", decode_to_list, "A list of bytes came back"),
    ("bpe_decode", decode_backwards, "comes out backwards"),
    ("bpe_decode", decode_growing, "An operation in place"),
    ("printable_bytes", table_as_it_is, "Each byte stands for itself"),
    ("printable_bytes", table_by_256_more, "256 plus themselves"),
    ("printable_bytes", table_of_short_ranges, "lack their last characters"),
    ("printable_bytes", table_without_the_gap, "the soft hyphen"),
    ("printable_bytes", table_with_space, "The space is printed as it is"),
    ("printable_bytes", table_turned, "the wrong way round"),
    ("printable_bytes", table_of_numbers, "the numbers of the characters"),
    ("learn_merges", learn_unweighted, "Every word counts once"),
    ("learn_merges", learn_bytes, "A byte's id is the byte itself"),
    ("learn_merges", learn_across_words, "across the ends of words"),
    ("learn_merges", learn_first_of_equals, "takes the one that comes first"),
    ("learn_merges", learn_word_by_word, "Each word is trained separately"),
]
