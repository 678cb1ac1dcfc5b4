"""Where the tests beside this file find your functions: let each of these call yours, or write it here.

    import my_gpt2

    def gelu_forward(x):
        return my_gpt2.gelu(x)

Made by notebooks/exercises/make.py from the exercises' skeletons.
"""


def embedding_forward(ids, weight):
    """Look up the vector of each token.

    ids: (B, T) integers from 0 to V-1; weight: (V, C)
    returns y (B, T, C) and a dict for the backward pass.
    """
    raise NotImplementedError


def embedding_backward(dy, cache):
    """Gradient of ``embedding_forward``.

    dy: (B, T, C)
    returns dweight (V, C).
    """
    raise NotImplementedError


def unembedding_forward(x, weight):
    """Score every token of the vocabulary.

    x: (..., C), with one leading axis or more; weight: (V, C)
    returns logits (..., V) and a dict for the backward pass.
    """
    raise NotImplementedError


def unembedding_backward(dlogits, cache):
    """Gradients of ``unembedding_forward``.

    dlogits: (..., V)
    returns dx (..., C), dweight (V, C).
    """
    raise NotImplementedError


def tied_embedding_forward(ids, weight):
    """ids: (B, T); weight: (V, C); returns logits (B, T, V) and a dict for the backward pass."""
    raise NotImplementedError


def tied_embedding_backward(dlogits, cache):
    """dlogits: (B, T, V); returns dweight (V, C)."""
    raise NotImplementedError


def position_forward(x, weight, start=0):
    """Add the vector of each token's position.

    x: (B, T, C); weight: (P, C); start: position of the first token, so that start + T <= P
    returns y (B, T, C) and a dict for the backward pass.
    """
    raise NotImplementedError


def position_backward(dy, cache):
    """Gradients of ``position_forward``.

    dy: (B, T, C)
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
    """k: any integer; C: even; returns M (C, C), by which a row of the table is moved k positions on."""
    raise NotImplementedError


def linear_forward(x, weight, bias):
    """Affine map of the last dimension.

    x: (..., I), with one leading axis or more; weight: (I, O); bias: (O,)
    returns y (..., O) and a dict for the backward pass.
    """
    raise NotImplementedError


def linear_backward(dy, cache):
    """Gradients of ``linear_forward``.

    dy: (..., O)
    returns dx (..., I), dweight (I, O), dbias (O,).
    """
    raise NotImplementedError


def gelu_forward(x):
    """GELU in its tanh form.

    x: any shape
    returns y, shaped like x, and a dict for the backward pass.
    """
    raise NotImplementedError


def gelu_backward(dy, cache):
    """Gradient of ``gelu_forward``.

    dy: shaped like x
    returns dx, shaped like x.
    """
    raise NotImplementedError


def feed_forward_forward(x, params):
    """x: (B, T, C); params: see above; returns y (B, T, C) and a dict for the backward pass."""
    raise NotImplementedError


def feed_forward_backward(dy, cache):
    """dy: (B, T, C); returns dx (B, T, C) and grads, structured like params."""
    raise NotImplementedError


def layer_norm_forward(x, weight, bias, eps=1e-05):
    """Normalise the last dimension.

    x: (..., C); weight, bias: (C,); eps: keeps the root away from 0
    returns y (..., C) and a dict for the backward pass.
    """
    raise NotImplementedError


def layer_norm_backward(dy, cache):
    """Gradients of ``layer_norm_forward``.

    dy: (..., C)
    returns dx (..., C), dweight (C,), dbias (C,).
    """
    raise NotImplementedError


def rms_norm_forward(x, weight, eps=1e-05):
    """x: (..., C); weight: (C,); returns y (..., C) and a dict for the backward pass."""
    raise NotImplementedError


def rms_norm_backward(dy, cache):
    """dy: (..., C); returns dx (..., C), dweight (C,)."""
    raise NotImplementedError


def softmax_forward(scores):
    """Turn scores into shares, along the last axis.

    scores: (..., S), some of them may be -inf
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
    returns y (B, T, C) and a dict.
    """
    raise NotImplementedError


def attention_by_blocks(q, k, v, size):
    """softmax(q k^T / sqrt(D)) v, from one block of keys after the other.

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
    cache: see above
    returns dx (B, T, C) and grads, nested like params.
    """
    raise NotImplementedError


def attention_by_blocks_backward(dhead, cache):
    """Gradients of attention_by_blocks, from q, k, v, head and log_sums.

    dhead: (T, D)
    returns dq (T, D), dk (S, D), dv (S, D).
    """
    raise NotImplementedError
