"""Exercise 2, the embedding: one row per token, the gradient of repeated ones, and the same table as output layer."""

import numpy as np

from minigpt2.components.embedding import (
    embedding_backward,
    embedding_forward,
    unembedding_backward,
    unembedding_forward,
)
from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_1_embedding"


def _look_up(rng, pattern, V, C, dtype="int64"):
    """Arguments of ``embedding_forward``: ids that are equal where the pattern is, whatever the seed."""
    ids = rng.permutation(V)[np.array(pattern)].astype(dtype)
    return {"ids": ids, "weight": rng.standard_normal((V, C))}


def _cases(rng):
    return [
        Case("two sequences of three tokens, five in the vocabulary", _look_up(rng, [[0, 1, 0], [2, 3, 1]], 5, 4)),
        Case("no token twice", _look_up(rng, [[0, 1], [2, 3], [4, 5]], 7, 3)),
        Case("one token", _look_up(rng, [[0]], 3, 2)),
        Case("the same token everywhere", _look_up(rng, [[0] * 4] * 2, 3, 5)),
        Case("a vocabulary of one", _look_up(rng, [[0, 0, 0]], 1, 3)),
        Case("B = T = C = V", _look_up(rng, [[0, 1, 1, 2], [3, 2, 0, 1], [1, 1, 2, 0], [3, 3, 1, 0]], 4, 4)),
        Case("ids of the type uint16, as in a file of tokens", _look_up(rng, [[0, 1, 2], [2, 1, 1]], 9, 4, "uint16")),
    ]


FORWARD = Task(
    name="embedding_forward",
    outputs=("y",),
    reference=embedding_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "It looks up columns. A token of the vocabulary is a row of weight: which axis has length V?",
            lambda ids, weight: weight.T[ids],
        ),
        Mistake(
            "It looks up columns. A token of the vocabulary is a row of weight: which axis has length V?",
            lambda ids, weight: weight[:, ids],
        ),
        Mistake(
            "It is the row beside the right one: ids count from 0, as NumPy's rows do.",
            lambda ids, weight: weight[ids.astype(np.int64) - 1],
        ),
        Mistake(
            "It is the row beside the right one: ids count from 0, as NumPy's rows do.",
            lambda ids, weight: weight[ids.astype(np.int64) + 1],
        ),
        Mistake(
            "Single numbers are looked up, not vectors: without an axis np.take reads the table as one long row.",
            lambda ids, weight: np.take(weight, ids),
        ),
        Mistake(
            "The vectors of a sequence are added up or averaged to one. Every token keeps its own.",
            lambda ids, weight: weight[ids].sum(1),
        ),
        Mistake(
            "The vectors of a sequence are added up or averaged to one. Every token keeps its own.",
            lambda ids, weight: weight[ids].mean(1),
        ),
        Mistake(
            "Batch and time are exchanged: y must begin with the axes of ids, in their order.",
            lambda ids, weight: weight[ids.T],
        ),
        Mistake(
            "Only the first sequence is looked up.",
            lambda ids, weight: weight[ids[0]],
        ),
        Mistake(
            "The vectors are multiplied by sqrt(C). The Transformer of 2017 does so; GPT-2 uses the rows unchanged.",
            lambda ids, weight: weight[ids] * np.sqrt(weight.shape[1]),
        ),
    ),
)


def _forward(ids, weight):
    """Our forward pass, with everything that a backward pass may want in the cache."""
    y, cache = embedding_forward(ids, weight)
    return y, cache | {"one_hot": np.eye(len(weight), dtype=weight.dtype)[ids]}


def _once(dy, cache):
    dweight = np.zeros_like(cache["weight"])
    dweight[cache["ids"]] += dy
    return dweight


def _at_the_first(dy, cache):
    """Each token's gradient, of its first occurrence only."""
    dweight = np.zeros_like(cache["weight"])
    ids, first = np.unique(cache["ids"], return_index=True)
    dweight[ids] = dy.reshape(-1, dy.shape[-1])[first]
    return dweight


def _collected(dy, cache, rows):
    """A table whose row ``rows[n]`` collects the gradient of token n."""
    dweight = np.zeros_like(cache["weight"])
    np.add.at(dweight, rows, dy.reshape(-1, dy.shape[-1]))
    return dweight


def _in_order_of_appearance(ids):
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.ravel()]


def _occurrences(cache):
    return np.maximum(np.bincount(cache["ids"].ravel(), minlength=len(cache["weight"])), 1)[:, None]


BACKWARD = Task(
    name="embedding_backward",
    outputs=("dweight",),
    reference=embedding_backward,
    forward=_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "If a token occurs twice, only one occurrence counts. With = the later one overwrites the earlier, and += "
            "on many rows at once does so too: it reads all of them before it writes any.",
            _once,
        ),
        Mistake(
            "If a token occurs twice, only its first occurrence counts. What happens to the others?",
            _at_the_first,
        ),
        Mistake(
            "The gradients of a token's occurrences are averaged. The loss changes through each of them: is there a "
            "mean in the forward pass?",
            lambda dy, cache: embedding_backward(dy, cache) / _occurrences(cache),
        ),
        Mistake(
            "It begins with weight itself and not with zeros: the result is the table plus its gradient.",
            lambda dy, cache: embedding_backward(dy, cache) + cache["weight"],
        ),
        Mistake(
            "Only the first sequence counts. All sequences of a batch use the same table.",
            lambda dy, cache: embedding_backward(dy[:1], cache | {"ids": cache["ids"][:1]}),
        ),
        Mistake(
            "There is a table for each sequence of the batch. They share one, so its gradient is a sum over the batch "
            "as well.",
            lambda dy, cache: np.einsum("btv,btc->bvc", cache["one_hot"], dy),
        ),
        Mistake(
            "There are rows only for the tokens that occur. The gradient has the shape of weight, with zeros where "
            "a token did not occur.",
            lambda dy, cache: embedding_backward(dy, cache)[np.unique(cache["ids"])],
        ),
        Mistake(
            "The table ends with the highest token that occurs. Every token of the vocabulary has a row: take the "
            "shape from weight.",
            lambda dy, cache: embedding_backward(dy, cache)[: cache["ids"].max() + 1],
        ),
        Mistake(
            "The rows are in a different order from those of weight: row v must belong to token v, not to the v-th "
            "token that comes along.",
            lambda dy, cache: _collected(dy, cache, _in_order_of_appearance(cache["ids"])),
        ),
        Mistake(
            "The rows are in a different order from those of weight: row v must belong to token v, not to the v-th "
            "token that comes along.",
            lambda dy, cache: _collected(dy, cache, np.unique(cache["ids"], return_inverse=True)[1].ravel()),
        ),
        Mistake(
            "Every row gets the gradients of all tokens. A row acts only on the places where its token occurs.",
            lambda dy, cache: np.zeros_like(cache["weight"]) + dy.sum((0, 1)),
        ),
        Mistake(
            "It is the gradient of each place, dy, and not of the table. Which rows of the table did those places use?",
            lambda dy, cache: dy,
        ),
    ),
)


def _score(rng, V, *shape):
    return {"x": rng.standard_normal(shape), "weight": rng.standard_normal((V, shape[-1]))}


def _score_cases(rng):
    return [
        Case("two sequences of three tokens, five in the vocabulary", _score(rng, 5, 2, 3, 4)),
        Case("as many tokens in the vocabulary as channels", _score(rng, 3, 2, 4, 3)),
        Case("one token", _score(rng, 4, 1, 1, 3)),
        Case("B = T = C = V", _score(rng, 4, 4, 4, 4)),
        Case("no axis of time", _score(rng, 2, 6, 3)),
        Case("four axes", _score(rng, 3, 2, 1, 3, 5)),
        Case("large activations", _score(rng, 5, 2, 3, 4) | {"x": 1000 * rng.standard_normal((2, 3, 4))}),
    ]


def _softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


UNEMBEDDING_FORWARD = Task(
    name="unembedding_forward",
    outputs=("logits",),
    reference=unembedding_forward,
    has_cache=True,
    cases=_score_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "weight is not transposed. Each logit is a dot product of x with a row of weight. Where V and C differ "
            "NumPy says that the shapes do not fit; where they are equal it says nothing, and the logits are wrong.",
            lambda x, weight: x @ weight,
        ),
        Mistake(
            "A reshape is not a transpose: it reads the numbers in the same order and only breaks the lines elsewhere.",
            lambda x, weight: x @ weight.reshape(weight.shape[::-1]),
        ),
        Mistake(
            "These are probabilities: there is one softmax too many. Logits are the scores before it, of any size and "
            "sign.",
            lambda x, weight: _softmax(x @ weight.T),
        ),
        Mistake(
            "These are log-probabilities: something is subtracted so that their exp sums to 1. Logits are the plain "
            "scores.",
            lambda x, weight: np.log(_softmax(x @ weight.T)),
        ),
        Mistake(
            "The scores are divided by sqrt(C). That belongs to attention; the output layer has no scale.",
            lambda x, weight: x @ weight.T / np.sqrt(x.shape[-1]),
        ),
        Mistake(
            "There are logits only for the last place. Every place of a text predicts the token after it.",
            lambda x, weight: x[..., -1, :] @ weight.T,
        ),
        Mistake(
            "Each vector is brought to length 1 first: that is the cosine. Here its length counts too.",
            lambda x, weight: _unit(x) @ _unit(weight).T,
        ),
    ),
)


def _unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def _scores(dlogits, cache, dx=None, dweight=None):
    """The right gradients, except for the one that is given."""
    right = unembedding_backward(dlogits, cache)
    return right[0] if dx is None else dx, right[1] if dweight is None else dweight


def _rows(array):
    return array.reshape(-1, array.shape[-1])


UNEMBEDDING_BACKWARD = Task(
    name="unembedding_backward",
    outputs=("dx", "dweight"),
    reference=unembedding_backward,
    forward=unembedding_forward,
    cases=_score_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "dx uses weight transposed, as the forward pass does. On the way back V numbers become C: which sum is "
            "that? Where V and C are equal NumPy does not complain.",
            lambda dlogits, cache: _scores(dlogits, cache, dlogits @ cache["weight"].T),
        ),
        Mistake(
            "dweight is transposed. A gradient has the shape of its array, and with V = C only the numbers can tell.",
            lambda dlogits, cache: _scores(dlogits, cache, dweight=_rows(cache["x"]).T @ _rows(dlogits)),
        ),
        Mistake(
            "dweight has been made with a reshape in place of a transpose: numbers of different tokens and "
            "channels get mixed.",
            lambda dlogits, cache: _scores(
                dlogits, cache, dweight=dlogits.reshape(dlogits.shape[-1], -1) @ _rows(cache["x"])
            ),
        ),
        Mistake(
            "dweight still has the axes of the batch. weight scores every token of the batch, so its gradient is a sum "
            "over all of them.",
            lambda dlogits, cache: _scores(dlogits, cache, dweight=np.swapaxes(dlogits, -1, -2) @ cache["x"]),
        ),
        Mistake(
            "dweight is that of only one sequence, the first or the last. Is the sum of the others overwritten?",
            lambda dlogits, cache: _scores(dlogits, cache, dweight=_rows(dlogits[-1]).T @ _rows(cache["x"][-1])),
        ),
        Mistake(
            "dweight is that of only one sequence, the first or the last. Is the sum of the others overwritten?",
            lambda dlogits, cache: _scores(dlogits, cache, dweight=_rows(dlogits[0]).T @ _rows(cache["x"][0])),
        ),
        Mistake(
            "dweight is a mean over the tokens. Each of them adds its part to the loss; if there is a 1/N in it, then "
            "dlogits has it already.",
            lambda dlogits, cache: _scores(
                dlogits, cache, dweight=unembedding_backward(dlogits, cache)[1] / len(_rows(dlogits))
            ),
        ),
        Mistake(
            "The two gradients are in the wrong order: first that of x, then that of weight.",
            lambda dlogits, cache: unembedding_backward(dlogits, cache)[::-1],
        ),
        Mistake(
            "dlogits goes through the derivative of a softmax. There is none in the forward pass; it belongs to the "
            "loss.",
            lambda dlogits, cache: unembedding_backward(_through_softmax(dlogits, cache), cache),
        ),
    ),
)


def _through_softmax(dlogits, cache):
    probs = _softmax(cache["x"] @ cache["weight"].T)
    return probs * (dlogits - (dlogits * probs).sum(-1, keepdims=True))


# The harder part: one table for both ends.


def tied_embedding_forward(ids, weight):
    """The smallest language model: look a token up, and score all tokens with the same table.

        x = W[ids]      logits = x W^T

    ids: (B, T); weight: (V, C)
    returns logits (B, T, V) and the cache.
    """
    x, _ = embedding_forward(ids, weight)
    logits, _ = unembedding_forward(x, weight)
    return logits, {"ids": ids, "weight": weight, "x": x}


def tied_embedding_backward(dlogits, cache):
    """dW is the sum of the shares of lookup and output layer. dlogits: (B, T, V); returns dweight (V, C)."""
    dx, dweight = unembedding_backward(dlogits, cache)
    return dweight + embedding_backward(dx, cache)


def _tied_shares(dlogits, cache):
    """The share of the lookup in the table's gradient, and that of the output layer."""
    dx, output = unembedding_backward(dlogits, cache)
    return embedding_backward(dx, cache), output


def _overwritten(dlogits, cache):
    dx, dweight = unembedding_backward(dlogits, cache)
    lookup, used = embedding_backward(dx, cache), np.unique(cache["ids"])
    dweight[used] = lookup[used]
    return dweight


def _added_once(dlogits, cache):
    dx, dweight = unembedding_backward(dlogits, cache)
    dweight[cache["ids"]] += dx
    return dweight


TIED_FORWARD = Task(
    name="tied_embedding_forward",
    outputs=("logits",),
    reference=tied_embedding_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "It returns the vectors of the tokens; the scores are missing.",
            lambda ids, weight: weight[ids],
        ),
        Mistake(
            "The scores are made with the columns of the table, not with its rows.",
            lambda ids, weight: weight[ids] @ weight,
        ),
        Mistake(
            "The scores are turned into probabilities. Return the logits.",
            lambda ids, weight: _softmax(weight[ids] @ weight.T),
        ),
    ),
)

TIED_BACKWARD = Task(
    name="tied_embedding_backward",
    outputs=("dweight",),
    reference=tied_embedding_backward,
    forward=tied_embedding_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The share of the lookup is missing: the table acts on the logits at both ends.",
            lambda dlogits, cache: _tied_shares(dlogits, cache)[1],
        ),
        Mistake(
            "The share of the output layer is missing: the table acts on the logits at both ends.",
            lambda dlogits, cache: _tied_shares(dlogits, cache)[0],
        ),
        Mistake(
            "It is the mean of the two shares. What does the chain rule do where a number acts in two ways?",
            lambda dlogits, cache: sum(_tied_shares(dlogits, cache)) / 2,
        ),
        Mistake(
            "The lookup overwrites the rows of the tokens that occur, and the share of the output layer is lost there.",
            _overwritten,
        ),
        Mistake(
            "A repeated token adds only one occurrence to the share of the output layer. You have met this before.",
            _added_once,
        ),
    ),
)

TASKS = (FORWARD, BACKWARD, UNEMBEDDING_FORWARD, UNEMBEDDING_BACKWARD, TIED_FORWARD, TIED_BACKWARD)
