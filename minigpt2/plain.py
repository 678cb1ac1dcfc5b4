# fmt: off
"""GPT-2 on one page, gradient included: every component as its formula and its gradient, the model, its training.

`_backward` takes the gradient of the `_forward`'s result, and the cache (softmax: the result). Input is not checked.
`params` and `grads` are trees, named as in Hugging Face's files; 2.5.x are the notebooks. Shapes: B batch, T time
(tokens), S = T keys, C channels, H heads, D = C / H, F = 4 C, V vocabulary, P positions; I in, O out, N rows.
"""
import numpy as np


# -------------------------------------------------------------------- 2.5.1 token embedding, 2.5.2 positions
def embedding_forward(ids, weight):
    return weight[ids], (ids, weight)  # (B, T), (V, C) -> (B, T, C)
def embedding_backward(dy, cache):
    ids, weight = cache
    dweight = np.zeros_like(weight)
    np.add.at(dweight, ids, dy)  # dweight[ids] += dy would count a token that occurs twice only once
    return dweight  # (V, C)

def unembedding_forward(x, weight):  # the output layer; weight is the embedding's if they are tied
    return x @ weight.T, (x, weight)  # (N, C) @ (C, V) -> (N, V)
def unembedding_backward(dlogits, cache):
    x, weight = cache
    return dlogits @ weight, rows(dlogits).T @ rows(x)  # (N, V) @ (V, C) -> (N, C);  (V, N) @ (N, C) -> (V, C)

def position_forward(x, weight, start=0):  # start: tokens before these, 0 in the model below
    return x + weight[start : start + x.shape[-2]], (weight, start)  # (B, T, C) + (T, C)
def position_backward(dy, cache):
    weight, start = cache
    dweight = np.zeros_like(weight)
    dweight[start : start + dy.shape[-2]] = dy.sum(axis=0)  # over the batch
    return dy, dweight  # (B, T, C), (P, C)

# ------------------------------------------------------------------------------------------- 2.5.3 attention
def softmax_forward(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))  # the maximum cancels, and keeps exp finite
    return e / e.sum(axis=-1, keepdims=True)
def softmax_backward(dprobs, probs):
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))  # (diag(p) - p p^T) dp for each row p

def attention_forward(x, params, n_head, causal=True):
    qkv, c_attn = linear_forward(x, **params["c_attn"])  # (B, T, C) -> (B, T, 3C)
    q, k, v = (split_heads(part, n_head) for part in np.split(qkv, 3, axis=-1))  # (B, H, T, D) each
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5  # (B, H, T, D) @ (B, H, D, S) -> (B, H, T, S)
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)  # no token sees a later one
    probs = softmax_forward(scores)
    y, c_proj = linear_forward(merge_heads(probs @ v), **params["c_proj"])  # probs @ v (B, H, T, D), merged (B, T, C)
    return y, (c_attn, q, k, v, probs, c_proj)
def attention_backward(dy, cache):
    c_attn, q, k, v, probs, c_proj = cache
    dheads, *dc_proj = linear_backward(dy, c_proj)  # dc_proj: [dweight, dbias]
    dheads = split_heads(dheads, q.shape[-3])  # (B, T, C) -> (B, H, T, D)
    dprobs = dheads @ v.swapaxes(-1, -2)  # (B, H, T, D) @ (B, H, D, S) -> (B, H, T, S)
    dv = probs.swapaxes(-1, -2) @ dheads  # (B, H, S, T) @ (B, H, T, D) -> (B, H, S, D)
    dscores = softmax_backward(dprobs, probs)  # (B, H, T, S), zero where a score was -inf
    dq = dscores @ k / q.shape[-1] ** 0.5  # (B, H, T, S) @ (B, H, S, D) -> (B, H, T, D)
    dk = dscores.swapaxes(-1, -2) @ q / q.shape[-1] ** 0.5  # (B, H, S, T) @ (B, H, T, D) -> (B, H, S, D)
    dqkv = np.concatenate([merge_heads(part) for part in (dq, dk, dv)], axis=-1)  # (B, T, 3C)
    dx, *dc_attn = linear_backward(dqkv, c_attn)
    return dx, {"c_attn": named(*dc_attn), "c_proj": named(*dc_proj)}

def split_heads(x, n_head):
    return x.reshape(*x.shape[:-1], n_head, -1).swapaxes(-2, -3)  # (B, T, C) -> (B, T, H, D) -> (B, H, T, D)
def merge_heads(x):
    return x.swapaxes(-2, -3).reshape(*x.shape[:-3], x.shape[-2], -1)  # (B, H, T, D) -> (B, T, H, D) -> (B, T, C)

# ---------------------------------------------------------------------------------------- 2.5.4 feed-forward
def linear_forward(x, weight, bias):
    return x @ weight + bias, (x, weight)  # (N, I) @ (I, O) + (O,) -> (N, O)
def linear_backward(dy, cache):
    x, weight = cache
    return dy @ weight.T, rows(x).T @ rows(dy), rows(dy).sum(axis=0)  # (N, I), (I, O), (O,)

def gelu_forward(x):
    tanh = np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))
    return x * (1 + tanh) / 2, (x, tanh)
def gelu_backward(dy, cache):
    x, tanh = cache
    du_dx = (2 / np.pi) ** 0.5 * (1 + 3 * 0.044715 * x**2)  # u: the argument of tanh
    return dy * (1 + tanh + x * (1 - tanh**2) * du_dx) / 2

def feed_forward_forward(x, params):
    h, c_fc = linear_forward(x, **params["c_fc"])  # (B, T, C) -> (B, T, F)
    h, gelu = gelu_forward(h)
    y, c_proj = linear_forward(h, **params["c_proj"])  # (B, T, F) -> (B, T, C)
    return y, (c_fc, gelu, c_proj)
def feed_forward_backward(dy, cache):
    c_fc, gelu, c_proj = cache
    dh, *dc_proj = linear_backward(dy, c_proj)
    dx, *dc_fc = linear_backward(gelu_backward(dh, gelu), c_fc)
    return dx, {"c_fc": named(*dc_fc), "c_proj": named(*dc_proj)}

# ------------------------------------------- 2.5.5 residual connection and layer normalisation, 2.5.6 dropout
def residual_forward(x, y):
    return x + y, ()
def residual_backward(dz, cache):
    return dz, dz

def layer_norm_forward(x, weight, bias, eps=1e-5):
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)  # (N, 1)
    x_hat = (x - x.mean(axis=-1, keepdims=True)) * rstd  # (N, C): each row has mean 0 and, but for eps, variance 1
    return x_hat * weight + bias, (x_hat, rstd, weight)
def layer_norm_backward(dy, cache):
    x_hat, rstd, weight = cache
    dx_hat = dy * weight
    along_1 = dx_hat.mean(axis=-1, keepdims=True)  # (N, 1): x also acts through its mean ...
    along_x_hat = (dx_hat * x_hat).mean(axis=-1, keepdims=True)  # (N, 1): ... and through its variance
    return rstd * (dx_hat - along_1 - x_hat * along_x_hat), rows(dy * x_hat).sum(axis=0), rows(dy).sum(axis=0)

def dropout_forward(x, p, rng):  # not in the model below: GPT-2's released code has none
    mask = (rng.random(x.shape, dtype=np.float32) >= p).astype(x.dtype) / (1 - p)  # / (1 - p) keeps the mean
    return x * mask, mask
def dropout_backward(dy, mask):
    return dy * mask

# ---------------------------------------------------------------- 2.5.7 label smoothing, 2.5.8 cross-entropy
def cross_entropy_forward(logits, targets, label_smoothing=0.0):  # no source gives GPT-2 any
    q = (targets[..., None] == np.arange(logits.shape[-1])).astype(logits.dtype)  # (B, T, V), one-hot
    q = (1 - label_smoothing) * q + label_smoothing / logits.shape[-1]
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (B, T, V)
    counted = targets != -100  # -100 marks a position without a target
    return -(q * log_p).sum(axis=-1)[counted].mean(), (np.exp(log_p), q, counted)
def cross_entropy_backward(dloss, cache):
    p, q, counted = cache
    return dloss * (p - q) * counted[..., None] / int(counted.sum())  # predicted minus target distribution

# --------------------------------------------------------------------------------------- the block, the model
def block_forward(x, params, n_head, eps=1e-5):
    y, ln_1 = layer_norm_forward(x, **params["ln_1"], eps=eps)
    y, attn = attention_forward(y, params["attn"], n_head)
    x, _ = residual_forward(x, y)
    y, ln_2 = layer_norm_forward(x, **params["ln_2"], eps=eps)
    y, mlp = feed_forward_forward(y, params["mlp"])
    x, _ = residual_forward(x, y)
    return x, (ln_1, attn, ln_2, mlp)
def block_backward(dz, cache):
    ln_1, attn, ln_2, mlp = cache
    dx, dy = residual_backward(dz, ())
    dy, dmlp = feed_forward_backward(dy, mlp)
    dy, *dln_2 = layer_norm_backward(dy, ln_2)
    dx, dy = residual_backward(dx + dy, ())  # stream and branch both read x: their gradients add
    dy, dattn = attention_backward(dy, attn)
    dy, *dln_1 = layer_norm_backward(dy, ln_1)
    return dx + dy, {"ln_1": named(*dln_1), "attn": dattn, "ln_2": named(*dln_2), "mlp": dmlp}

def gpt2_forward(ids, params, n_head, eps=1e-5):
    x, wte = embedding_forward(ids, params["wte"]["weight"])  # (B, T) -> (B, T, C)
    x, wpe = position_forward(x, params["wpe"]["weight"])
    h = []
    for block in params["h"]:
        x, cache = block_forward(x, block, n_head, eps)
        h.append(cache)
    x, ln_f = layer_norm_forward(x, **params["ln_f"], eps=eps)
    tied = "lm_head" not in params  # as in the released models
    logits, lm_head = unembedding_forward(x, params["wte" if tied else "lm_head"]["weight"])  # (B, T, V)
    return logits, (wte, wpe, h, ln_f, lm_head, tied)
def gpt2_backward(dlogits, cache):
    wte, wpe, h, ln_f, lm_head, tied = cache
    dx, dlm_head = unembedding_backward(dlogits, lm_head)
    dx, *dln_f = layer_norm_backward(dx, ln_f)
    dh = []
    for block_cache in reversed(h):
        dx, dblock = block_backward(dx, block_cache)
        dh.insert(0, dblock)
    dx, dwpe = position_backward(dx, wpe)
    dwte = embedding_backward(dx, wte) + (dlm_head if tied else 0)  # one matrix, used twice, collects both
    grads = {"wte": {"weight": dwte}, "wpe": {"weight": dwpe}, "h": dh, "ln_f": named(*dln_f)}
    return dx, (grads if tied else grads | {"lm_head": {"weight": dlm_head}})

# -------------------------------------------------------------------------- training (2.5.9 AdamW), generation
def loss_and_grads(ids, targets, params, n_head):
    logits, cache = gpt2_forward(ids, params, n_head)
    loss, loss_cache = cross_entropy_forward(logits, targets)
    return loss, gpt2_backward(cross_entropy_backward(1.0, loss_cache), cache)[1]  # ids have no gradient

def adamw(params, grads, moments, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, max_norm=1.0):
    norm = sum(float((g.astype(float) ** 2).sum()) for g in leaves(grads)) ** 0.5  # of all gradients together
    for w, g, (m, v) in zip(leaves(params), leaves(grads), moments, strict=True):
        g = g * min(1.0, max_norm / (norm + 1e-6))  # clipped: all gradients together are at most max_norm long
        m[...] = betas[0] * m + (1 - betas[0]) * g
        v[...] = betas[1] * v + (1 - betas[1]) * g**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)  # t counts steps from 1
        w -= lr * (weight_decay * (w.ndim > 1) * w + m_hat / (np.sqrt(v_hat) + eps))  # vectors do not decay
    return norm

def train_step(ids, targets, params, n_head, moments, t, lr=1e-3):  # changes params and moments
    loss, grads = loss_and_grads(ids, targets, params, n_head)
    adamw(params, grads, moments, t, lr)
    return loss

def generate(ids, params, n_head, n):  # the likeliest token, n times
    for _ in range(n):
        logits, _ = gpt2_forward(ids[..., -len(params["wpe"]["weight"]) :], params, n_head)  # the last P
        ids = np.concatenate([ids, logits[..., -1:, :].argmax(axis=-1)], axis=-1)
    return ids  # (B, T + n)

# ------------------------------------------------------------------------------------------------ helpers
def rows(x):
    return x.reshape(-1, x.shape[-1])  # (..., C) -> (N, C)
def named(dweight, dbias):
    return {"weight": dweight, "bias": dbias}
def leaves(tree):  # the arrays of a tree: a dict's by name, a list's by index
    if isinstance(tree, np.ndarray):
        return [tree]
    return [leaf for i in (sorted(tree) if isinstance(tree, dict) else range(len(tree))) for leaf in leaves(tree[i])]

if __name__ == "__main__":
    import sys

    from minigpt2 import GPT2, Tokenizer

    prompt, name = (sys.argv[1:] + ["ROMEO:", "shakespeare"][len(sys.argv) - 1 :])[:2]  # or gpt2
    model, tokenizer = GPT2.from_pretrained(name), Tokenizer.from_pretrained(name)
    ids = generate(np.array([tokenizer.encode(prompt)]), model.params, model.config.n_head, 100)
    print(tokenizer.decode(ids[0].tolist()))
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in leaves(model.params)]
    batch = ids[:, :-1], ids[:, 1:], model.params, model.config.n_head, moments
    print(f"\nIts loss: {train_step(*batch, 1):.3f} nats per token; after a training step {train_step(*batch, 2):.3f}")
