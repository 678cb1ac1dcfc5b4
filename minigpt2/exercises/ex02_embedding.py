"""Exercise 2, the embedding: one row per token, the gradient of repeated ones, and the same table as output layer."""

import numpy as np

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


def embedding_forward(ids, weight):
    """The row of each token, and a cache with everything that a backward pass may want."""
    y = weight[ids]
    return y, {"ids": ids, "weight": weight, "one_hot": np.eye(len(weight), dtype=weight.dtype)[ids]}


COLUMNS = "It looks up columns. A token of the vocabulary is a row of weight: which axis has length V?"
BESIDE = "It is the row beside the right one: ids count from 0, as NumPy's rows do."
BAG = "The vectors of a sequence are added up or averaged to one. Every token keeps its own."
ONE_SEQUENCE = "Only one sequence is looked up. What about the others?"

FORWARD = Task(
    name="embedding_forward",
    outputs=("y",),
    reference=embedding_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(COLUMNS, (("weight[ids]", "weight.T[ids]"),)),
        Mistake(COLUMNS, (("weight[ids]", "weight[:, ids]"),)),
        Mistake(COLUMNS, (("weight[ids]", "weight[:, ids].T"),)),
        Mistake(BESIDE, (("weight[ids]", "weight[ids - 1]"),)),
        Mistake(BESIDE, (("weight[ids]", "weight[ids + 1]"),)),
        Mistake(BESIDE, (("weight[ids]", "weight[ids.astype(int) - 1]"),)),
        Mistake(
            "Single numbers are looked up, not vectors: without an axis np.take reads the table as one long row.",
            (("weight[ids]", "np.take(weight, ids)"),),
        ),
        Mistake(ONE_SEQUENCE, (("weight[ids]", "weight[ids[0]]"),)),
        Mistake(ONE_SEQUENCE, (("weight[ids]", "weight[ids[-1]]"),)),
        Mistake(
            "The tokens come out in another order: ids are read down the columns, and y is filled along the rows.",
            (("weight[ids]", "weight[ids.T].reshape(*ids.shape, -1)"),),
        ),
        Mistake(
            "Every place has the vector of the token after it. That token is to be predicted; here each place gets "
            "its own.",
            (("weight[ids]", "weight[np.roll(ids, -1, axis=1)]"),),
        ),
        Mistake(
            "It is the whole table, whatever the ids are.",
            (("weight[ids]", "weight"),),
        ),
        Mistake(
            "These are the ids as one-hot rows. Where does the table come in?",
            (("weight[ids]", "np.eye(len(weight))[ids.astype(int)]"),),
        ),
        Mistake(BAG, (("return y,", "return y.sum(1),"),)),
        Mistake(BAG, (("return y,", "return y.mean(1),"),)),
        Mistake(
            "Batch and time are exchanged: y must begin with the axes of ids, in their order.",
            (("return y,", "return y.swapaxes(0, 1),"),),
        ),
        Mistake(
            "The vectors are multiplied by sqrt(C). The Transformer of 2017 does so; GPT-2 uses the rows unchanged.",
            (("return y,", "return y * np.sqrt(weight.shape[1]),"),),
        ),
        Mistake(
            "The number of the place is added to each vector. Positions are the next exercise.",
            (("return y,", "return y + np.arange(ids.shape[1])[:, None],"),),
        ),
        Mistake(
            "Token 0 gets zeros. Its row is in the table, like those of all others.",
            (("return y,", "return y * (ids != 0)[..., None],"),),
        ),
    ),
)


def embedding_backward(dy, cache):
    """Each row collects the gradients of its token's places."""
    ids, weight = cache["ids"], cache["weight"]
    dweight = np.zeros_like(weight)
    np.add.at(dweight, ids, dy)
    return dweight


COLLECT = "np.add.at(dweight, ids, dy)"
ONLY_ONE = (
    "If a token occurs twice, only one occurrence counts. With = the later one overwrites the earlier, and += on many "
    "rows at once does so too: it reads all of them before it writes any."
)
FIRST_OR_LAST = "Only one sequence counts, the first or the last. All sequences of a batch use the same table."
AVERAGED = (
    "dweight is divided by a number of tokens or sequences. Each place adds its part to the loss: is there a mean in "
    "the forward pass?"
)
OTHER_ORDER = (
    "The rows are in a different order from those of weight: row v must belong to token v, not to the v-th token that "
    "comes along."
)
BEGINS_FULL = "The sum does not begin with zeros: what is dweight before the first place is added to it?"
BESIDE_BACK = "The gradients are in the row beside the right one: ids count from 0, as NumPy's rows do."


def _numbered_by_appearance(ids):
    """Which different token comes along at each place: 0 for the first one, 1 for the next one."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.reshape(ids.shape)]


def _times_used(ids, V):
    return np.maximum(1, np.bincount(ids.ravel(), minlength=V))[:, None]


BACKWARD = Task(
    name="embedding_backward",
    outputs=("dweight",),
    reference=embedding_backward,
    forward=embedding_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(ONLY_ONE, ((COLLECT, "dweight[ids] += dy"),)),
        Mistake(ONLY_ONE, ((COLLECT, "dweight[ids] = dy"),)),
        Mistake(
            "If a token occurs twice in one sequence, only one occurrence counts: += on many rows at once reads all of "
            "them before it writes any.",
            ((COLLECT, "for b in range(len(ids)): dweight[ids[b]] += dy[b]"),),
        ),
        Mistake(
            "If a token is at the same place in two sequences, only one of them counts: += on many rows at once reads "
            "all of them before it writes any.",
            ((COLLECT, "for t in range(ids.shape[1]): dweight[ids[:, t]] += dy[:, t]"),),
        ),
        Mistake(
            "If a token occurs twice, only its first occurrence counts. What happens to the others?",
            ((COLLECT, "dweight[ids.ravel()[::-1]] = dy.reshape(-1, dy.shape[2])[::-1]"),),
        ),
        Mistake(FIRST_OR_LAST, ((COLLECT, "np.add.at(dweight, ids[0], dy[0])"),)),
        Mistake(FIRST_OR_LAST, ((COLLECT, "np.add.at(dweight, ids[-1], dy[-1])"),)),
        Mistake(OTHER_ORDER, ((COLLECT, "np.add.at(dweight, _numbered_by_appearance(ids), dy)"),)),
        Mistake(
            OTHER_ORDER,
            ((COLLECT, "np.add.at(dweight, np.unique(ids, return_inverse=True)[1].reshape(ids.shape), dy)"),),
        ),
        Mistake(
            "dy is read in another order than ids: a place's gradient goes to the token of another place.",
            ((COLLECT, "np.add.at(dweight, ids, dy.swapaxes(0, 1).reshape(dy.shape))"),),
        ),
        Mistake(BESIDE_BACK, ((COLLECT, "np.add.at(dweight, ids - 1, dy)"),)),
        Mistake(BESIDE_BACK, ((COLLECT, "np.add.at(dweight, ids + 1, dy)"),)),
        Mistake(BESIDE_BACK, ((COLLECT, "np.add.at(dweight, ids.astype(int) - 1, dy)"),)),
        Mistake(
            "Every row gets the gradients of all tokens. A row acts only on the places where its token occurs.",
            ((COLLECT, "dweight += dy.sum((0, 1))"),),
        ),
        Mistake(
            "It is the table plus its gradient: what is dweight before the first place is added to it?",
            (("np.zeros_like(weight)", "weight.copy()"),),
        ),
        Mistake(BEGINS_FULL, (("np.zeros_like(weight)", "np.ones_like(weight)"),)),
        Mistake(
            "The table ends with the highest token that occurs. Every token of the vocabulary has a row: take the "
            "shape from weight.",
            (("np.zeros_like(weight)", "np.zeros((ids.max() + 1, dy.shape[2]))"),),
        ),
        Mistake(
            "The gradients of a token's occurrences are averaged. The loss changes through each of them: is there a "
            "mean in the forward pass?",
            (("return dweight", "return dweight / _times_used(ids, len(weight))"),),
        ),
        Mistake(AVERAGED, (("return dweight", "return dweight / len(ids)"),)),
        Mistake(AVERAGED, (("return dweight", "return dweight / ids.shape[1]"),)),
        Mistake(AVERAGED, (("return dweight", "return dweight / ids.size"),)),
        Mistake(
            "There is a table for each sequence of the batch. They share one, so its gradient is a sum over the batch "
            "as well.",
            (("return dweight", 'return np.einsum("btv,btc->bvc", cache["one_hot"], dy)'),),
        ),
        Mistake(
            "There are rows only for the tokens that occur. The gradient has the shape of weight, with zeros where "
            "a token did not occur.",
            (("return dweight", "return dweight[np.unique(ids)]"),),
        ),
        Mistake(
            "It is the gradient of each place, dy, and not of the table. Which rows of the table did those places use?",
            (("return dweight", "return dy"),),
        ),
        Mistake(
            "dweight is multiplied by the table. How much does y change when a number of the table grows by a little?",
            (("return dweight", "return dweight * weight"),),
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


def unembedding_forward(x, weight):
    """The score of every token of the vocabulary."""
    logits = x @ weight.T
    return logits, {"x": x, "weight": weight}


def _softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _overflowing_softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def _log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


NOT_TRANSPOSED = (
    "weight is not transposed. Each logit is a dot product of x with a row of weight. Where V and C differ NumPy says "
    "that the shapes do not fit; where they are equal it says nothing, and the logits are wrong."
)
PROBABILITIES = (
    "These are probabilities: there is one softmax too many. Logits are the scores before it, of any size and sign."
)
LOG_PROBABILITIES = (
    "These are log-probabilities: something is subtracted so that their exp sums to 1. Logits are the plain scores."
)
SCALED = "The scores are divided by C, or by its root. That belongs to attention; the output layer has no scale."
COSINE = "Vectors are brought to length 1 first, as for a cosine. Here the lengths of x and of the rows count too."

UNEMBEDDING_FORWARD = Task(
    name="unembedding_forward",
    outputs=("logits",),
    reference=unembedding_forward,
    has_cache=True,
    cases=_score_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(NOT_TRANSPOSED, (("x @ weight.T", "x @ weight"),)),
        Mistake(NOT_TRANSPOSED, (("x @ weight.T", "np.dot(x, weight)"),)),
        Mistake(
            "x and weight have changed places, and all axes of x are reversed. Which axis of x should stay the first?",
            (("x @ weight.T", "weight @ x.T"),),
        ),
        Mistake(
            "A reshape is not a transpose: it reads the numbers in the same order and only breaks the lines elsewhere.",
            (("weight.T", "weight.reshape(weight.shape[::-1])"),),
        ),
        Mistake(
            "There are logits only for the last place. Every place of a text predicts the token after it.",
            (("x @", "x[..., -1, :] @"),),
        ),
        Mistake(COSINE, (("x @", "_unit(x) @"),)),
        Mistake(COSINE, (("weight.T", "_unit(weight).T"),)),
        Mistake(COSINE, (("x @ weight.T", "_unit(x) @ _unit(weight).T"),)),
        Mistake(PROBABILITIES, (("return logits", "return _softmax(logits)"),)),
        Mistake(PROBABILITIES, (("return logits", "return _overflowing_softmax(logits)"),)),
        Mistake(LOG_PROBABILITIES, (("return logits", "return _log_softmax(logits)"),)),
        Mistake(LOG_PROBABILITIES, (("return logits", "return np.log(_softmax(logits))"),)),
        Mistake(
            "It is the token with the highest score. Return all the scores.",
            (("return logits", "return logits.argmax(-1)"),),
        ),
        Mistake(SCALED, (("return logits", "return logits / np.sqrt(x.shape[-1])"),)),
        Mistake(SCALED, (("return logits", "return logits / x.shape[-1]"),)),
    ),
)


def _rows(array):
    return array.reshape(-1, array.shape[-1])


def _through_softmax(dlogits, cache):
    probs = _softmax(cache["x"] @ cache["weight"].T)
    return probs * (dlogits - (dlogits * probs).sum(-1, keepdims=True))


def unembedding_backward(dlogits, cache):
    """Both gradients, as sums over the vocabulary and over the places."""
    x, weight = cache["x"], cache["weight"]
    dx = dlogits @ weight
    dweight = _rows(dlogits).T @ _rows(x)
    return dx, dweight


PRODUCT = "_rows(dlogits).T @ _rows(x)"
DX_TRANSPOSED = (
    "dx uses weight transposed, as the forward pass does. On the way back V numbers become C: which sum is that? Where "
    "V and C are equal NumPy does not complain."
)
ONE_SEQUENCE_BACK = (
    "dweight is that of only one sequence, the first or the last. Is the sum of the others overwritten?"
)
MEAN = (
    "dweight is a mean. Each place adds its part to the loss; if there is a 1/N in it, then dlogits has it already."
)

UNEMBEDDING_BACKWARD = Task(
    name="unembedding_backward",
    outputs=("dx", "dweight"),
    reference=unembedding_backward,
    forward=unembedding_forward,
    cases=_score_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(DX_TRANSPOSED, (("dlogits @ weight", "dlogits @ weight.T"),)),
        Mistake(DX_TRANSPOSED, (("dlogits @ weight", "np.dot(dlogits, weight.T)"),)),
        Mistake(
            "dweight is transposed. A gradient has the shape of its array, and with V = C only the numbers can tell.",
            ((PRODUCT, "_rows(x).T @ _rows(dlogits)"),),
        ),
        Mistake(
            "dweight has been made with a reshape in place of a transpose: numbers of different tokens and "
            "channels get mixed.",
            ((PRODUCT, "dlogits.reshape(dlogits.shape[-1], -1) @ _rows(x)"),),
        ),
        Mistake(
            "dweight still has the axes of the batch. weight scores every token of the batch, so its gradient is a sum "
            "over all of them.",
            ((PRODUCT, "np.swapaxes(dlogits, -1, -2) @ x"),),
        ),
        Mistake(
            "dweight is summed over one leading axis, as if there were always just one beside time. There may be more, "
            "or none.",
            ((PRODUCT, "(np.swapaxes(dlogits, -1, -2) @ x).sum(0)"),),
        ),
        Mistake(
            "The places are added up before they are multiplied. A sum of products is not the product of the sums.",
            ((PRODUCT, "np.outer(_rows(dlogits).sum(0), _rows(x).sum(0))"),),
        ),
        Mistake(
            "dweight is made with dx. What was each number of weight multiplied by in the forward pass?",
            ((PRODUCT, "_rows(dlogits).T @ _rows(dx)"),),
        ),
        Mistake(ONE_SEQUENCE_BACK, ((PRODUCT, "_rows(dlogits[-1]).T @ _rows(x[-1])"),)),
        Mistake(ONE_SEQUENCE_BACK, ((PRODUCT, "_rows(dlogits[0]).T @ _rows(x[0])"),)),
        Mistake(MEAN, ((PRODUCT, "_rows(dlogits).T @ _rows(x) / len(_rows(x))"),)),
        Mistake(MEAN, ((PRODUCT, "_rows(dlogits).T @ _rows(x) / len(x)"),)),
        Mistake(
            "The sign of dx is wrong.",
            (("return dx,", "return -dx,"),),
        ),
        Mistake(
            "The sign of dweight is wrong.",
            (("return dx, dweight", "return dx, -dweight"),),
        ),
        Mistake(
            "The two gradients are in the wrong order: first that of x, then that of weight.",
            (("return dx, dweight", "return dweight, dx"),),
        ),
        Mistake(
            "dlogits goes through the derivative of a softmax. There is none in the forward pass; it belongs to the "
            "loss.",
            (("x, weight =", "dlogits = _through_softmax(dlogits, cache)\n    x, weight ="),),
        ),
    ),
)


# The harder part: one table for both ends.


def tied_embedding_forward(ids, weight):
    """The smallest language model: look a token up, and score all tokens with the same table."""
    x = weight[ids]
    logits = x @ weight.T
    return logits, {"ids": ids, "weight": weight, "x": x}


def tied_embedding_backward(dlogits, cache):
    """The sum of the shares of output layer and lookup."""
    ids, x, weight = cache["ids"], cache["x"], cache["weight"]
    dx = dlogits @ weight
    dweight = _rows(dlogits).T @ _rows(x)
    np.add.at(dweight, ids, dx)
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
            (("x @ weight.T", "x"),),
        ),
        Mistake(
            "The scores are made with the columns of the table, not with its rows.",
            (("x @ weight.T", "x @ weight"),),
        ),
        Mistake(
            "All tokens of the vocabulary are scored against each other. Where do the ids come in?",
            (("x @ weight.T", "weight @ weight.T"),),
        ),
        Mistake(
            "The scores are turned into probabilities. Return the logits.",
            (("x @ weight.T", "_softmax(x @ weight.T)"),),
        ),
    ),
)

ADD_LOOKUP = "np.add.at(dweight, ids, dx)"
OVERWRITES = (
    "The lookup overwrites the rows of the tokens that occur, and the share of the output layer is lost there."
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
            ((ADD_LOOKUP, ""),),
        ),
        Mistake(
            "The share of the output layer is missing: the table acts on the logits at both ends.",
            (("_rows(dlogits).T @ _rows(x)", "np.zeros_like(weight)"),),
        ),
        Mistake(
            "A repeated token adds only one occurrence to the share of the output layer. You have met this before.",
            ((ADD_LOOKUP, "dweight[ids] += dx"),),
        ),
        Mistake(OVERWRITES, ((ADD_LOOKUP, "dweight[ids] = dx"),)),
        Mistake(OVERWRITES, ((ADD_LOOKUP, "dweight[ids] = 0; np.add.at(dweight, ids, dx)"),)),
        Mistake(
            "The two shares are multiplied. What does the chain rule do where a number acts in two ways?",
            ((ADD_LOOKUP, 'dweight *= embedding_backward(dx, {"ids": ids, "weight": weight})'),),
        ),
        Mistake(
            "It is the mean of the two shares. What does the chain rule do where a number acts in two ways?",
            (("return dweight", "return dweight / 2"),),
        ),
    ),
)

TASKS = (FORWARD, BACKWARD, UNEMBEDDING_FORWARD, UNEMBEDDING_BACKWARD, TIED_FORWARD, TIED_BACKWARD)
