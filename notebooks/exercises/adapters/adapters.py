"""The tests beside this file find your functions here: let each of these call yours, or write it here.

    import my_gpt2

    def gelu_forward(x):
        return my_gpt2.gelu(x)

Made by notebooks/exercises/make.py from the exercises' skeletons.
"""


def pair_counts(ids):
    """Count the pairs of neighbours.

    ids: list of integers
    returns a dict {(left, right): how often}.
    """
    raise NotImplementedError


def merge(ids, pair, new_id):
    """Replace a pair by one id.

    ids: list of integers; pair: tuple (left, right); new_id: integer
    returns a new list.
    """
    raise NotImplementedError


def bpe_train(ids, num_merges):
    """Learn which pairs to merge.

    ids: list of integers from 0 to 255; num_merges: how many merges at most
    returns merges, a list of pairs (left, right); the n-th, counted from 0, makes the id 256 + n.
    """
    raise NotImplementedError


def bpe_encode(ids, merges):
    """Carry out the merges on another text.

    ids: list of integers from 0 to 255; merges: list of pairs, as from ``bpe_train``
    returns list of ids.
    """
    raise NotImplementedError


def bpe_decode(ids, merges):
    """The text that ids stand for.

    ids: list of ids; merges: list of pairs, as from ``bpe_train``
    returns str, with U+FFFD for bytes that are not UTF-8.
    """
    raise NotImplementedError


def printable_bytes():
    """Returns {byte: the character that stands for it}, 256 entries in GPT-2's order."""
    raise NotImplementedError


def learn_merges(counts, n_merges):
    """Learn which pairs to merge within words.

    counts: {word: how often it occurs}, words as str; n_merges: how many merges at most
    returns merges, a list of pairs of ids; a byte's id is its place in ``printable_bytes()``.
    """
    raise NotImplementedError


def embedding_forward(ids, weight):
    """Look up the vector of each token.

    ids: (B, T) integers from 0 to V-1; weight: (V, C)
    returns y (B, T, C) and a cache for the backward pass.
    """
    raise NotImplementedError


def embedding_backward(dy, cache):
    """Gradient of ``embedding_forward``.

    dy: (B, T, C)
    cache: what your own embedding_forward returned; while it returns none, ours: {"ids", "weight", "one_hot"}
    returns dweight (V, C).
    """
    raise NotImplementedError


def unembedding_forward(x, weight):
    """Score every token of the vocabulary.

    x: (..., C), with one leading axis or more; weight: (V, C)
    returns logits (..., V) and a cache for the backward pass.
    """
    raise NotImplementedError


def unembedding_backward(dlogits, cache):
    """Gradients of ``unembedding_forward``.

    dlogits: (..., V)
    cache: what your own unembedding_forward returned; while it returns none, ours: {"x", "weight"}
    returns dx (..., C), dweight (V, C).
    """
    raise NotImplementedError


def tied_embedding_forward(ids, weight):
    """ids: (B, T); weight: (V, C); returns logits (B, T, V) and a cache for the backward pass."""
    raise NotImplementedError


def tied_embedding_backward(dlogits, cache):
    """dlogits: (B, T, V); returns dweight (V, C).

    cache: what your own tied_embedding_forward returned; while it returns none, ours: {"ids", "weight", "x"}
    """
    raise NotImplementedError


def position_forward(x, weight, start=0):
    """Add the vector of each token's position.

    x: (B, T, C); weight: (P, C); start: position of the first token, so that start + T <= P
    returns y (B, T, C) and a cache for the backward pass.
    """
    raise NotImplementedError


def position_backward(dy, cache):
    """Gradients of ``position_forward``.

    dy: (B, T, C)
    cache: what your own position_forward returned; while it returns none, ours: {"x", "weight", "start", "positions"}
    returns dx (B, T, C), dweight (P, C).
    """
    raise NotImplementedError


def sinusoidal_positions(P, C):
    """The position vectors of the 2017 Transformer.

    P: how many positions; C: how many channels, even or odd
    returns weight (P, C).
    """
    raise NotImplementedError


def shift_matrix(k, C):
    """k: any integer; C: even; returns M (C, C), which moves a row of the table k positions ahead."""
    raise NotImplementedError


def linear_forward(x, weight, bias):
    """Affine map of the last dimension.

    x: (..., I), with one leading axis or more; weight: (I, O); bias: (O,)
    returns y (..., O) and a cache for the backward pass.
    """
    raise NotImplementedError


def linear_backward(dy, cache):
    """Gradients of ``linear_forward``.

    dy: (..., O)
    cache: what your own linear_forward returned; while it returns none, ours: {"x", "weight", "bias", "y"}
    returns dx (..., I), dweight (I, O), dbias (O,).
    """
    raise NotImplementedError


def gelu_forward(x):
    """GELU in its tanh form.

    x: any shape
    returns y, shaped like x, and a cache for the backward pass.
    """
    raise NotImplementedError


def gelu_backward(dy, cache):
    """Gradient of ``gelu_forward``.

    dy: shaped like x
    cache: what your own gelu_forward returned; while it returns none, ours: {"x", "u", "tanh", "y"}
    returns dx, shaped like x.
    """
    raise NotImplementedError


def feed_forward_forward(x, params):
    """x: (B, T, C); params: {"c_fc", "c_proj"}; returns y (B, T, C) and a cache for the backward pass."""
    raise NotImplementedError


def feed_forward_backward(dy, cache):
    """dy: (B, T, C); returns dx (B, T, C) and grads, structured like params.

    cache: what your own feed_forward_forward returned; while it returns none, ours: {"c_fc", "gelu", "c_proj", "x",
        "params", "h", "g"}
    """
    raise NotImplementedError


def layer_norm_forward(x, weight, bias, eps=1e-05):
    """Normalise the last dimension.

    x: (..., C); weight, bias: (C,); eps: keeps the root away from 0
    returns y (..., C) and a cache for the backward pass.
    """
    raise NotImplementedError


def layer_norm_backward(dy, cache):
    """Gradients of ``layer_norm_forward``.

    dy: (..., C)
    cache: what your own layer_norm_forward returned; while it returns none, ours: {"x", "x_hat", "rstd", "mean",
        "variance", "weight", "bias", "eps"}
    returns dx (..., C), dweight (C,), dbias (C,).
    """
    raise NotImplementedError


def rms_norm_forward(x, weight, eps=1e-05):
    """x: (..., C); weight: (C,); returns y (..., C) and a cache for the backward pass."""
    raise NotImplementedError


def rms_norm_backward(dy, cache):
    """dy: (..., C); returns dx (..., C), dweight (C,).

    cache: what your own rms_norm_forward returned; while it returns none, ours: {"x", "rms", "weight", "eps"}
    """
    raise NotImplementedError


def softmax_forward(scores):
    """Turn scores into shares, along the last axis.

    scores: (..., S), some of them may be -inf, never a whole row
    returns probs (..., S), each row sums to 1.
    """
    raise NotImplementedError


def split_heads(x, n_head):
    """Cut the channels into heads.

    x: (B, T, C); n_head: H, a divisor of C
    returns heads (B, H, T, D).
    """
    raise NotImplementedError


def merge_heads(heads):
    """Put the heads of each token side by side again.

    heads: (B, H, T, D)
    returns x (B, T, C).
    """
    raise NotImplementedError


def causal_scores(q, k):
    """How well each query fits each key that it may see.

    q, k: (B, H, T, D)
    returns scores (B, H, T, T), -inf where the key comes after the query.
    """
    raise NotImplementedError


def attention_forward(x, params, n_head):
    """Causal multi-head self-attention.

    x: (B, T, C)
    params: {"c_attn": {"weight" (C, 3C), "bias" (3C,)}, "c_proj": {"weight" (C, C), "bias" (C,)}}
    n_head: H, a divisor of C
    returns y (B, T, C) and a cache.
    """
    raise NotImplementedError


def attention_by_blocks(q, k, v, size):
    """softmax(q k^T / sqrt(D)) v, one block of keys after the other.

    q: (T, D); k, v: (S, D); size: keys in a block
    returns head (T, D), log_sums (T,).
    """
    raise NotImplementedError


def softmax_backward(dprobs, probs):
    """Gradient of the softmax along the last axis.

    dprobs, probs: (..., S)
    returns dscores (..., S).
    """
    raise NotImplementedError


def dot_product_attention_backward(dheads, cache):
    """Gradients of queries, keys and values.

    dheads: (B, H, T, D)
    cache: {"q", "k", "v", "scores", "probs", "heads"}
    returns dq, dk, dv (B, H, T, D).
    """
    raise NotImplementedError


def attention_backward(dy, cache):
    """Gradients of attention_forward(x, params, n_head).

    dy: (B, T, C)
    cache: what your own attention_forward returned; while it returns none, ours: {"c_attn", "q", "k", "v", "probs",
        "mask", "heads", "c_proj", "out", "causal", "x", "params", "n_head", "qkv", "scores"}
    returns dx (B, T, C) and grads, nested like params.
    """
    raise NotImplementedError


def attention_by_blocks_backward(dhead, cache):
    """Gradients of attention_by_blocks, from q, k, v, head and log_sums.

    dhead: (T, D)
    cache: {"q", "k", "v", "size", "head", "log_sums"}
    returns dq (T, D), dk (S, D), dv (S, D).
    """
    raise NotImplementedError


def cross_entropy_forward(logits, targets, label_smoothing=0.0, ignore_index=-100):
    """Mean cross-entropy between targets and softmax(logits), in nats.

    logits: (..., V); targets: (...) integers, or ignore_index where there is nothing to predict
    label_smoothing: e, from 0 to 1
    returns loss, a number, and a cache for the backward pass.
    """
    raise NotImplementedError


def cross_entropy_backward(dloss, cache):
    """Gradient of ``cross_entropy_forward``.

    dloss: a number
    cache: what your own cross_entropy_forward returned; while it returns none, ours: {"logits", "targets", "counted",
        "label_smoothing", "probs", "log_sum_exp", "ignore_index"}
    returns dlogits (..., V).
    """
    raise NotImplementedError


def z_loss_forward(logits, weight=0.0001):
    """logits: (..., V); weight: a number; returns loss, a number, and a cache for the backward pass."""
    raise NotImplementedError


def z_loss_backward(dloss, cache):
    """dloss: a number; returns dlogits (..., V).

    cache: what your own z_loss_forward returned; while it returns none, ours: {"logits", "weight", "log_z", "probs"}
    """
    raise NotImplementedError


def adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """One step of AdamW.

    w, g, m, v: arrays of one shape, the weights, their gradient and the two moments
    t: number of this step, the first is 1; the others are numbers
    returns w, m, v after the step.
    """
    raise NotImplementedError


def clip_by_norm(grads, max_norm):
    """Scale gradients down to a global norm, if theirs is larger.

    grads: dict of arrays, name -> gradient; max_norm: a number above 0
    returns grads, a new dict with the same names, and norm, their norm before clipping.
    """
    raise NotImplementedError


def learning_rate(step, max_lr, min_lr, warmup_steps, decay_steps):
    """The learning rate of a step.

    step: number of steps already taken; max_lr, min_lr: rates; warmup_steps, decay_steps: numbers of steps
    returns lr, a number.
    """
    raise NotImplementedError


def block_forward(x, params, n_head):
    """One block.

    x: (B, T, C); params: {"ln_1", "attn", "ln_2", "mlp"}; n_head: number of heads
    returns y (B, T, C) and a dict for the backward pass, with the keys of params.
    """
    raise NotImplementedError


def block_backward(dy, cache):
    """Gradients of ``block_forward``.

    dy: (B, T, C)
    cache: what your own block_forward returned; while it returns none, ours: {"ln_1", "attn", "ln_2", "mlp", "x",
        "resid_mid", "params", "n_head"}
    returns dx (B, T, C) and grads, a dict of the form of params.
    """
    raise NotImplementedError


def gpt2_forward(ids, params, n_head):
    """The whole model.

    ids: (B, T) integers; params: {"wte", "wpe", "h", "ln_f"}; n_head: number of heads
    returns logits (B, T, V).
    """
    raise NotImplementedError


def sorting_batch(digits):
    """The ids that the model reads, and the targets that it should predict.

    digits: (B, n) integers
    returns ids (B, 2n - 1), targets (B, 2n - 1).
    """
    raise NotImplementedError


def count_sorted(ids):
    """How many texts have, as their second half, their first half sorted.

    ids: (N, 2n) integers; returns an int.
    """
    raise NotImplementedError


def train_sorter(config, seed=0):
    """Train a new model until it sorts.

    config: of the model; seed: of its first parameters and of the digits
    returns its parameters, model.params.
    """
    raise NotImplementedError


def gpt2_backward(dlogits, cache):
    """Gradients of the whole model.

    dlogits: (B, T, V)
    cache: what your own gpt2_forward returned; while it returns none, ours: {"wte", "wpe", "h", "ln_f", "lm_head"}
    returns grads, a dict of the form of params.
    """
    raise NotImplementedError


def attention_step(x, params, n_head, past_k, past_v):
    """Attention of new tokens to all tokens so far.

    x: (B, T, C) the new ones; params: {"c_attn", "c_proj"}, each with "weight" and "bias"
    past_k, past_v: (B, H, S - T, D) keys and values of the old ones
    returns y (B, T, C), k (B, H, S, D), v (B, H, S, D).
    """
    raise NotImplementedError


def gpt2_step(ids, params, n_head, past):
    """GPT-2 on new tokens.

    ids: (B, T) the new ones; params: {"wte", "wpe", "h", "ln_f"}
    past: list of {"k", "v"}, one for each block, of the old ones; None if there are none
    returns logits (B, T, V), and the past for the next call.
    """
    raise NotImplementedError


def generate_greedy(step, ids, max_new_tokens, n_positions):
    """Continue texts, with the best token each time.

    step: (ids (B, T), past) -> logits (B, T, V), past
    ids: (B, T) the prompts; max_new_tokens: n, at least 1; n_positions: the most tokens that step can look at
    returns prompts and new tokens, (B, T + n).
    """
    raise NotImplementedError


def next_token_probs(logits, temperature=1.0, top_k=None):
    """The distribution from which the next token is drawn.

    logits: (B, V); temperature: above 0; top_k: at least 1, or None for all
    returns probs (B, V), each row sums to 1.
    """
    raise NotImplementedError


def keep_top_p(logits, p):
    """Keep the nucleus.

    logits: (B, V); p: in (0, 1]
    returns logits (B, V), -inf for tokens outside the nucleus.
    """
    raise NotImplementedError
