"""Exercise 2 as students write it: right in several styles, and wrong in the ways that are known."""

import sys
from types import SimpleNamespace

import numpy as np

from minigpt2.components import embedding


def by_index(ids, weight):
    return weight[ids], {"ids": ids, "V": len(weight)}


def by_take(ids, weight):
    return np.take(weight, ids, axis=0)


def by_one_hot(ids, weight):
    one_hot = (ids[:, :, None] == np.arange(weight.shape[0])).astype(weight.dtype)
    return one_hot @ weight, {"one_hot": one_hot}


def in_loops(ids, weight):
    B, T = ids.shape
    y = np.empty((B, T, weight.shape[1]))
    for b in range(B):
        for t in range(T):
            y[b, t] = weight[ids[b, t]]
    return y, {"ids": ids}


def with_a_list_as_cache(ids, weight):
    y = np.stack([weight[sequence] for sequence in ids])
    return y, [ids, weight.shape]


def with_an_object_as_cache(ids, weight):
    print("shapes", ids.shape, weight.shape, file=sys.stderr)
    return weight[ids, :], SimpleNamespace(ids=ids, weight=weight)


def refusing(ids, weight):
    if ids.min() < 0 or ids.max() >= len(weight):
        raise ValueError("no such token")
    return weight[ids], {}


def backward_in_loops(dy, cache):
    ids = cache["ids"]
    dweight = np.zeros_like(cache["weight"])
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            dweight[ids[b, t]] += dy[b, t]
    return dweight


def backward_by_add_at(dy, cache):
    dweight = np.zeros(cache["weight"].shape)
    np.add.at(dweight, cache["ids"], dy)
    return dweight


def backward_by_one_hot(dy, cache):
    return np.einsum("btv,btc->vc", cache["one_hot"], dy)


def backward_token_by_token(dy, cache):
    return np.array([dy[cache["ids"] == v].sum(axis=0) for v in range(len(cache["weight"]))])


def backward_by_bincount(dy, cache):
    ids, V = cache["ids"].ravel(), len(cache["weight"])
    columns = [np.bincount(ids, weights=column, minlength=V) for column in dy.reshape(len(ids), -1).T]
    return np.stack(columns, axis=1)


def backward_by_sorting(dy, cache):
    ids = cache["ids"].ravel()
    order = np.argsort(ids, kind="stable")
    tokens, starts = np.unique(ids[order], return_index=True)
    dweight = np.zeros_like(cache["weight"])
    dweight[tokens] = np.add.reduceat(dy.reshape(len(ids), -1)[order], starts, axis=0)
    return dweight


def scores_with_a_tuple_as_cache(x, weight):
    logits = np.empty((*x.shape[:-1], len(weight)), x.dtype)
    for v, row in enumerate(weight):
        logits[..., v] = x @ row
    return logits, (x, weight)


def scores(x, weight):
    return x @ weight.T, {"x": x, "weight": weight}


def scores_by_einsum(x, weight):
    return np.einsum("...c,vc->...v", x, weight)


def scores_token_by_token(x, weight):
    return np.stack([(x * row).sum(-1) for row in weight], axis=-1)


def scores_backward(dlogits, cache):
    x, weight = cache["x"], cache["weight"]
    return dlogits @ weight, np.tensordot(dlogits, x, axes=(range(x.ndim - 1), range(x.ndim - 1)))


def scores_backward_by_einsum(dlogits, cache):
    x, (V, C) = cache["x"], cache["weight"].shape
    dweight = np.einsum("nv,nc->vc", dlogits.reshape(-1, V), x.reshape(-1, C))
    return np.einsum("...v,vc->...c", dlogits, cache["weight"]), dweight


def scores_backward_in_loops(dlogits, cache):
    x, weight = cache["x"], cache["weight"]
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for index in np.ndindex(x.shape[:-1]):
        for v, score in enumerate(dlogits[index]):
            dx[index] += score * weight[v]
            dweight[v] += score * x[index]
    return dx, dweight


def tied_without_cache(ids, weight):
    return scores(by_index(ids, weight)[0], weight)[0], None


def tied(ids, weight):
    return (weight @ weight.T)[ids]  # all scores of all tokens, once


def tied_backward(dlogits, cache):
    ids, weight = cache["ids"], cache["weight"]
    dproducts = np.zeros((len(weight), len(weight)), weight.dtype)
    np.add.at(dproducts, ids, dlogits)
    return (dproducts + dproducts.T) @ weight


RIGHT = [
    ("embedding_forward", embedding.embedding_forward),
    ("embedding_forward", by_index),
    ("embedding_forward", with_a_list_as_cache),
    ("embedding_forward", with_an_object_as_cache),
    ("embedding_forward", by_take),
    ("embedding_forward", by_one_hot),
    ("embedding_forward", in_loops),
    ("embedding_forward", refusing),
    ("embedding_backward", embedding.embedding_backward),
    ("embedding_backward", backward_in_loops),
    ("embedding_backward", backward_by_add_at),
    ("embedding_backward", backward_by_one_hot),
    ("embedding_backward", backward_token_by_token),
    ("embedding_backward", backward_by_bincount),
    ("embedding_backward", backward_by_sorting),
    ("unembedding_forward", embedding.unembedding_forward),
    ("unembedding_forward", scores),
    ("unembedding_forward", scores_with_a_tuple_as_cache),
    ("unembedding_forward", scores_by_einsum),
    ("unembedding_forward", scores_token_by_token),
    ("unembedding_backward", embedding.unembedding_backward),
    ("unembedding_backward", scores_backward),
    ("unembedding_backward", scores_backward_by_einsum),
    ("unembedding_backward", scores_backward_in_loops),
    ("tied_embedding_forward", tied),
    ("tied_embedding_forward", tied_without_cache),
    ("tied_embedding_backward", tied_backward),
]


def columns(ids, weight):
    return np.transpose(weight)[ids], {}


def columns_by_axis(ids, weight):
    return weight[:, ids].transpose(1, 2, 0), {}


def from_one(ids, weight):
    return weight[ids.astype(int) - 1], {}


def next_row(ids, weight):
    return weight[ids.astype(int) + 1], {}


def take_without_axis(ids, weight):
    return np.take(weight, ids), {}


def bag_of_words(ids, weight):
    return weight[ids].sum(axis=1), {}


def mean_of_words(ids, weight):
    return weight[ids].mean(axis=1), {}


def time_first(ids, weight):
    return np.swapaxes(weight[ids], 0, 1), {}


def first_sequence(ids, weight):
    return np.array([weight[token] for token in ids[0]]), {}


def scaled(ids, weight):
    return weight[ids] * weight.shape[1] ** 0.5, {}


def columns_turned(ids, weight):
    return np.take(weight, ids, axis=1).T, {}


def last_sequence(ids, weight):
    for sequence in ids:
        y = weight[sequence]
    return y, {}


def read_down_the_columns(ids, weight):
    T, B = ids.T.shape
    return np.array([weight[token] for token in ids.ravel(order="F")]).reshape(B, T, -1), {}


def successor(ids, weight):
    following = np.concatenate([ids[:, 1:], ids[:, :1]], axis=1)
    return weight[following], {}


def whole_table(ids, weight):
    return weight.copy(), {"ids": ids}


def one_hot_alone(ids, weight):
    return (ids[..., np.newaxis] == np.arange(len(weight))).astype(float), {}


def numbered_places(ids, weight):
    y = weight[ids]
    for t in range(y.shape[1]):
        y[:, t] += t
    return y, {}


def zero_is_padding(ids, weight):
    return np.where((ids == 0)[:, :, None], 0.0, weight[ids]), {}


def scaled_and_from_one(ids, weight):
    return np.sqrt(weight.shape[1]) * weight[ids.astype(int) - 1], {}


def cache_first(ids, weight):
    return {"ids": ids, "weight": weight}, weight[ids]


def one_long_list(ids, weight):
    return weight[ids.ravel()], {}


def buffered(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["ids"]] += dy
    return dweight


def assigned(dy, cache):
    ids, dweight = cache["ids"], np.zeros_like(cache["weight"])
    for b in range(len(ids)):
        for t in range(len(ids[b])):
            dweight[ids[b, t]] = dy[b, t]
    return dweight


def first_alone(dy, cache):
    seen, dweight = set(), np.zeros_like(cache["weight"])
    for token, row in zip(cache["ids"].ravel().tolist(), dy.reshape(-1, dy.shape[-1]), strict=True):
        if token not in seen:
            dweight[token] = row
            seen.add(token)
    return dweight


def mean_of_occurrences(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for token in np.unique(cache["ids"]):
        dweight[token] = dy[cache["ids"] == token].mean(axis=0)
    return dweight


def added_to_weight(dy, cache):
    dweight = cache["weight"].copy()
    np.add.at(dweight, cache["ids"], dy)
    return dweight


def takes_the_step_already(dy, cache):
    dweight = backward_in_loops(dy, cache)
    cache["weight"] -= 0.1 * dweight
    return dweight


def first_sequence_back(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for token, row in zip(cache["ids"][0], dy[0], strict=True):
        dweight[token] += row
    return dweight


def a_table_for_each(dy, cache):
    V, C = cache["weight"].shape
    dweight = np.zeros((len(dy), V, C), dy.dtype)
    for b in range(len(dy)):
        np.add.at(dweight[b], cache["ids"][b], dy[b])
    return dweight


def only_those_that_occur(dy, cache):
    tokens = sorted(set(cache["ids"].ravel().tolist()))
    return np.array([dy[cache["ids"] == token].sum(axis=0) for token in tokens])


def by_appearance(dy, cache):
    rows, dweight = {}, np.zeros_like(cache["weight"])
    for token, row in zip(cache["ids"].ravel().tolist(), dy.reshape(-1, dy.shape[-1]), strict=True):
        dweight[rows.setdefault(token, len(rows))] += row
    return dweight


def moved_together(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    for row, token in enumerate(np.unique(cache["ids"])):
        dweight[row] = dy[cache["ids"] == token].sum(axis=0)
    return dweight


def all_into_every_row(dy, cache):
    return np.tile(dy.sum(axis=(0, 1)), (len(cache["weight"]), 1))


def of_the_places(dy, cache):
    return dy * 1


def within_a_sequence(dy, cache):
    dweight = np.zeros(cache["weight"].shape, dy.dtype)
    for sequence, rows in zip(cache["ids"], dy, strict=True):
        dweight[sequence] += rows
    return dweight


def across_sequences(dy, cache):
    dweight = np.zeros(cache["weight"].shape, dy.dtype)
    for t, tokens in enumerate(cache["ids"].T):
        dweight[tokens] = dweight[tokens] + dy[:, t]
    return dweight


def last_sequence_back(dy, cache):
    for ids, rows in zip(cache["ids"], dy, strict=True):
        dweight = np.zeros_like(cache["weight"])
        np.add.at(dweight, ids, rows)
    return dweight


def dy_time_first(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    np.add.at(dweight, cache["ids"].ravel(), np.concatenate(list(dy.swapaxes(0, 1))))
    return dweight


def into_the_row_before(dy, cache):
    return np.roll(backward_in_loops(dy, cache), -1, axis=0)


def begun_with_ones(dy, cache):
    return np.ones_like(cache["weight"]) + backward_by_add_at(dy, cache)


def mean_of_all_places(dy, cache):
    return backward_in_loops(dy, cache) / (len(dy) * dy.shape[1])


def mean_of_sequences(dy, cache):
    return np.mean([backward_by_add_at(rows[None], cache | {"ids": ids[None]}) for ids, rows in _pairs(dy, cache)], 0)


def _pairs(dy, cache):
    return zip(cache["ids"], dy, strict=True)


def times_the_table(dy, cache):
    return cache["weight"] * backward_token_by_token(dy, cache)


def added_up_between_calls(dy, cache, store={}):  # noqa: B006
    dweight = store.setdefault(cache["weight"].shape, np.zeros(cache["weight"].shape))
    dweight += backward_by_add_at(dy, cache)
    return dweight


def buffered_mean(dy, cache):
    return buffered(dy, cache) / len(dy)


def with_a_cache(dy, cache):
    return backward_in_loops(dy, cache), cache


def transposed_back(dy, cache):
    return backward_in_loops(dy, cache).T


def columns_for_rows(x, weight):
    return x @ weight, {}


def dot_of_columns(x, weight):
    return np.dot(x, weight), {}


def other_way_round(x, weight):
    return np.matmul(weight, x.transpose()), {}


def three_axes_only(x, weight):
    return np.einsum("btc,vc->btv", x, weight), {}


def overflowing_probabilities(x, weight):
    e = np.exp(x @ weight.T)
    return e / np.sum(e, axis=-1, keepdims=True), {}


def winner(x, weight):
    return np.argmax(x @ weight.T, axis=-1), {}


def scaled_by_channels(x, weight):
    return np.einsum("...c,vc->...v", x, weight) / weight.shape[1], {}


def half_a_cosine(x, weight):
    return x @ (weight / np.linalg.norm(weight, axis=1)[:, None]).T, {}


def scaled_columns(x, weight):
    return (x @ weight) / x.shape[-1] ** 0.5, {}


def reshaped(x, weight):
    V, C = weight.shape
    return x @ weight.reshape(C, V), {}


def probabilities(x, weight):
    logits = x @ weight.T
    e = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True), {}


def log_probabilities(x, weight):
    logits = x @ weight.T
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)), {}


def log_of_probabilities(x, weight):
    return np.log(probabilities(x, weight)[0]), {}


def scaled_scores(x, weight):
    return x @ weight.T / x.shape[-1] ** 0.5, {}


def last_place(x, weight):
    return x[..., -1, :] @ weight.T, {}


def cosine(x, weight):
    norm = np.linalg.norm
    return (x / norm(x, axis=-1, keepdims=True)) @ (weight / norm(weight, axis=-1, keepdims=True)).T, {}


def dx_transposed(dlogits, cache):
    return dlogits @ cache["weight"].T, scores_backward(dlogits, cache)[1]


def dweight_transposed(dlogits, cache):
    dx, dweight = scores_backward(dlogits, cache)
    return dx, dweight.T


def dweight_reshaped(dlogits, cache):
    (V, C), N = cache["weight"].shape, dlogits[..., 0].size
    return dlogits @ cache["weight"], dlogits.reshape(V, N) @ cache["x"].reshape(N, C)


def dweight_for_each(dlogits, cache):
    return dlogits @ cache["weight"], np.einsum("...tv,...tc->...vc", dlogits, cache["x"])


def dweight_of_the_last(dlogits, cache):
    for b in range(len(dlogits)):
        dweight = scores_backward_by_einsum(dlogits[b], cache | {"x": cache["x"][b]})[1]
    return dlogits @ cache["weight"], dweight


def dweight_of_the_first(dlogits, cache):
    return dlogits @ cache["weight"], scores_backward(dlogits[0], cache | {"x": cache["x"][0]})[1]


def dweight_of_the_first_axis(dlogits, cache):
    each = np.matmul(dlogits.swapaxes(-2, -1), cache["x"])
    return scores_backward(dlogits, cache)[0], each.sum(axis=0)


def dweight_of_sums(dlogits, cache):
    axes = tuple(range(dlogits.ndim - 1))
    return dlogits @ cache["weight"], dlogits.sum(axes)[:, None] * cache["x"].sum(axes)


def dweight_with_dx(dlogits, cache):
    dx = dlogits @ cache["weight"]
    return dx, scores_backward(dlogits, cache | {"x": dx})[1]


def dweight_mean_of_sequences(dlogits, cache):
    dx, dweight = scores_backward(dlogits, cache)
    return dx, dweight / dlogits.shape[0]


def dx_negative(dlogits, cache):
    dx, dweight = scores_backward_by_einsum(dlogits, cache)
    return 0 - dx, dweight


def dweight_negative(dlogits, cache):
    dx, dweight = scores_backward_by_einsum(dlogits, cache)
    return dx, 0 - dweight


def dx_transposed_dweight_too(dlogits, cache):
    return np.dot(dlogits, cache["weight"].T), scores_backward(dlogits, cache)[1].T


def dx_negative_and_a_mean(dlogits, cache):
    dx, dweight = dweight_averaged(dlogits, cache)
    return -dx, dweight


def dx_alone(dlogits, cache):
    return dlogits @ cache["weight"]


def dweight_averaged(dlogits, cache):
    return dlogits @ cache["weight"], scores_backward(dlogits, cache)[1] / dlogits[..., 0].size


def exchanged(dlogits, cache):
    dx, dweight = scores_backward(dlogits, cache)
    return dweight, dx


def with_softmax(dlogits, cache):
    p = probabilities(cache["x"], cache["weight"])[0]
    return scores_backward(p * (dlogits - np.sum(dlogits * p, axis=-1, keepdims=True)), cache)


def tied_vectors(ids, weight):
    return weight[ids], {}


def tied_not_transposed(ids, weight):
    return np.matmul(weight[ids], weight), {}


def tied_without_ids(ids, weight):
    return np.inner(weight, weight), {}


def tied_probabilities(ids, weight):
    return probabilities(weight[ids], weight)


def shares(dlogits, cache):
    ids, weight = cache["ids"], cache["weight"]
    lookup = np.zeros_like(weight)
    np.add.at(lookup, ids, dlogits @ weight)
    return lookup, np.einsum("btv,btc->vc", dlogits, weight[ids])


def output_alone(dlogits, cache):
    return shares(dlogits, cache)[1]


def lookup_alone(dlogits, cache):
    return shares(dlogits, cache)[0]


def mean_of_shares(dlogits, cache):
    return np.mean(shares(dlogits, cache), axis=0)


def overwritten(dlogits, cache):
    lookup, dweight = shares(dlogits, cache)
    for token in cache["ids"].ravel():
        dweight[token] = lookup[token]
    return dweight


def overwritten_at_once(dlogits, cache):
    dweight = shares(dlogits, cache)[1]
    dweight[cache["ids"]] = dlogits @ cache["weight"]
    return dweight


def shares_multiplied(dlogits, cache):
    return np.prod(shares(dlogits, cache), axis=0)


def buffered_mean_of_shares(dlogits, cache):
    return tied_buffered(dlogits, cache) / 2


def tied_buffered(dlogits, cache):
    dweight = shares(dlogits, cache)[1]
    dweight[cache["ids"]] += dlogits @ cache["weight"]
    return dweight


def up_to_the_highest(dy, cache):
    dweight = np.zeros((cache["ids"].max() + 1, dy.shape[-1]))
    np.add.at(dweight, cache["ids"], dy)
    return dweight


WRONG = [
    ("embedding_forward", columns, "It looks up columns"),
    ("embedding_forward", columns_by_axis, "It looks up columns"),
    ("embedding_forward", from_one, "the row beside the right one"),
    ("embedding_forward", next_row, "the row beside the right one"),
    ("embedding_forward", take_without_axis, "without an axis np.take"),
    ("embedding_forward", bag_of_words, "added up or averaged to one"),
    ("embedding_forward", mean_of_words, "added up or averaged to one"),
    ("embedding_forward", time_first, "Batch and time are exchanged"),
    ("embedding_forward", first_sequence, "Only one sequence is looked up"),
    ("embedding_forward", scaled, "multiplied by sqrt(C)"),
    ("embedding_forward", columns_turned, "It looks up columns"),
    ("embedding_forward", last_sequence, "Only one sequence is looked up"),
    ("embedding_forward", read_down_the_columns, "read down the columns"),
    ("embedding_forward", successor, "the token after it"),
    ("embedding_forward", whole_table, "the whole table, whatever the ids are"),
    ("embedding_forward", one_hot_alone, "as one-hot rows"),
    ("embedding_forward", numbered_places, "The number of the place is added"),
    ("embedding_forward", zero_is_padding, "Token 0 gets zeros"),
    ("embedding_forward", scaled_and_from_one, "2 things at once. (1) It is the row beside the right one"),
    ("embedding_forward", cache_first, "A dict comes first"),
    ("embedding_forward", one_long_list, "The numbers of y are right, but its shape is not"),
    ("embedding_backward", buffered, "occurs twice, only one occurrence counts"),
    ("embedding_backward", assigned, "occurs twice, only one occurrence counts"),
    ("embedding_backward", first_alone, "only its first occurrence"),
    ("embedding_backward", mean_of_occurrences, "occurrences are averaged"),
    ("embedding_backward", up_to_the_highest, "ends with the highest token"),
    ("embedding_backward", added_to_weight, "the table plus its gradient"),
    ("embedding_backward", takes_the_step_already, "An operation in place"),
    ("embedding_backward", first_sequence_back, "Only one sequence counts"),
    ("embedding_backward", a_table_for_each, "a table for each sequence"),
    ("embedding_backward", only_those_that_occur, "rows only for the tokens that occur"),
    ("embedding_backward", by_appearance, "in a different order from those of weight"),
    ("embedding_backward", moved_together, "in a different order from those of weight"),
    ("embedding_backward", all_into_every_row, "Every row gets the gradients of all tokens"),
    ("embedding_backward", of_the_places, "the gradient of each place"),
    ("embedding_backward", within_a_sequence, "twice in one sequence"),
    ("embedding_backward", across_sequences, "at the same place in two sequences"),
    ("embedding_backward", last_sequence_back, "Only one sequence counts"),
    ("embedding_backward", dy_time_first, "dy is read in another order"),
    ("embedding_backward", into_the_row_before, "in the row beside the right one"),
    ("embedding_backward", begun_with_ones, "does not begin with zeros"),
    ("embedding_backward", mean_of_all_places, "divided by a number of tokens or sequences"),
    ("embedding_backward", mean_of_sequences, "divided by a number of tokens or sequences"),
    ("embedding_backward", times_the_table, "dweight is multiplied by the table"),
    ("embedding_backward", added_up_between_calls, "Called twice with equal arguments"),
    ("embedding_backward", buffered_mean, "2 things at once. (1) If a token occurs twice"),
    ("embedding_backward", with_a_cache, "A tuple of 2 came back"),
    ("embedding_backward", transposed_back, "dweight is right, but transposed"),
    ("unembedding_forward", columns_for_rows, "weight is not transposed"),
    ("unembedding_forward", dot_of_columns, "weight is not transposed"),
    ("unembedding_forward", other_way_round, "x and weight have changed places"),
    ("unembedding_forward", three_axes_only, "The letters of einsum do not fit"),
    ("unembedding_forward", overflowing_probabilities, "These are probabilities"),
    ("unembedding_forward", winner, "the token with the highest score"),
    ("unembedding_forward", scaled_by_channels, "divided by C, or by its root"),
    ("unembedding_forward", half_a_cosine, "as for a cosine"),
    ("unembedding_forward", scaled_columns, "weight is not transposed"),
    ("unembedding_forward", reshaped, "A reshape is not a transpose"),
    ("unembedding_forward", probabilities, "These are probabilities"),
    ("unembedding_forward", log_of_probabilities, "These are log-probabilities"),
    ("unembedding_forward", log_probabilities, "These are log-probabilities"),
    ("unembedding_forward", scaled_scores, "divided by C, or by its root"),
    ("unembedding_forward", last_place, "only for the last place"),
    ("unembedding_forward", cosine, "as for a cosine"),
    ("unembedding_backward", dx_transposed, "dx uses weight transposed"),
    ("unembedding_backward", dweight_transposed, "dweight is transposed"),
    ("unembedding_backward", dweight_reshaped, "a reshape in place of a transpose"),
    ("unembedding_backward", dweight_for_each, "still has the axes of the batch"),
    ("unembedding_backward", dweight_of_the_last, "of only one sequence"),
    ("unembedding_backward", dweight_of_the_first, "of only one sequence"),
    ("unembedding_backward", dweight_of_the_first_axis, "summed over one leading axis"),
    ("unembedding_backward", dweight_of_sums, "added up before they are multiplied"),
    ("unembedding_backward", dweight_with_dx, "dweight is made with dx"),
    ("unembedding_backward", dweight_mean_of_sequences, "dweight is a mean"),
    ("unembedding_backward", dx_negative, "The sign of dx is wrong"),
    ("unembedding_backward", dweight_negative, "The sign of dweight is wrong"),
    ("unembedding_backward", dx_negative_and_a_mean, "(2) The sign of dx is wrong"),
    ("unembedding_backward", dx_transposed_dweight_too, "2 things at once. (1) dx uses weight transposed"),
    ("unembedding_backward", dx_alone, "a single result came back"),
    ("unembedding_backward", dweight_averaged, "dweight is a mean"),
    ("unembedding_backward", exchanged, "in the wrong order"),
    ("unembedding_backward", with_softmax, "the derivative of a softmax"),
    ("tied_embedding_forward", tied_vectors, "the scores are missing"),
    ("tied_embedding_forward", tied_not_transposed, "not with its rows"),
    ("tied_embedding_forward", tied_without_ids, "Where do the ids come in"),
    ("tied_embedding_forward", tied_probabilities, "turned into probabilities"),
    ("tied_embedding_backward", output_alone, "The share of the lookup is missing"),
    ("tied_embedding_backward", lookup_alone, "The share of the output layer is missing"),
    ("tied_embedding_backward", mean_of_shares, "the mean of the two shares"),
    ("tied_embedding_backward", overwritten, "overwrites the rows"),
    ("tied_embedding_backward", overwritten_at_once, "overwrites the rows"),
    ("tied_embedding_backward", shares_multiplied, "The two shares are multiplied"),
    ("tied_embedding_backward", buffered_mean_of_shares, "(2) It is the mean of the two shares"),
    ("tied_embedding_backward", tied_buffered, "adds only one occurrence"),
]
