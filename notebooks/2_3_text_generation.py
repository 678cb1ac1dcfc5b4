# %% [markdown] tags=["en"]
# # 2.3 文本生成 · Text generation
#
# How does a machine write? It guesses what comes next, again and again. This notebook builds three machines that can
# guess, a table of counts, a recurrent network and a small GPT, and gives them the same text and the same number of
# parameters. Then it turns the knobs with which one chooses among the guesses.
#
# You need Python, NumPy, the chain rule from school, and these words:
#
# - A **token** is the unit that a text is made of: here a character in the first half, a piece of a word in the second.
#   There are $V$ different ones, the *vocabulary*.
# - A **language model** is a function that takes the tokens so far and returns a probability for each of the $V$ tokens
#   to be the next one. Its **parameters** are the numbers in it that were learned.
# - **Decoding** is the step that turns these probabilities into a text. (The word has a second meaning:
#   `tokenizer.decode` makes text from token numbers. That is not meant here.)
# - The **loss** of a model on a text is the mean of $-\ln p$ over its tokens, where $p$ is the probability that the
#   model gave to the token that actually came. It is measured in *nats*. Small is good. A uniform guess gives every
#   token $1/V$ and has a loss of $\ln V$.
#
# The rules R1 to R7 of backward passes are in [2.0, the toolbox](2_0_toolbox.ipynb).
#
# **Exercise:** [11, generation](../exercises/student/11_generation.ipynb)

# %%
import re
import sys
from collections import Counter
from fractions import Fraction
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.components.embedding import embedding_backward, embedding_forward
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.components.optimizer import learning_rate
from minigpt2.data import random_windows
from minigpt2.measures import distinct_n, n_grams
from minigpt2.sampling import draw, keep_top_k, next_token_probs

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document splits text generation in two: a language model, which knows how probable a text is, and a generator,
# which writes one accordingly, token by token, until an end token or some limit is reached. It calls recurrent networks
# (RNN, LSTM, GRU) the tradition, and GPT-2 a stack of transformer blocks. In outline this is right. Four details are
# not:
#
# 1. A language model "能够估计出当前看到的词是否是之前出现过的词的概率", estimates the probability that the present
#    word is one that has occurred before. It estimates which token comes *next*, and that may well be a new one.
# 2. "文本生成模型包括两部分，即一个语言模型和一个生成模型", a model of generation has two parts, a language model and a
#    generation model. The second one is not a model: decoding has no parameters and learns nothing.
# 3. "传统的文本生成模型往往采用条件生成方式 … 而GPT-2模型采用的是transformers的结构", the tradition conditions on the
#    text so far, whereas GPT-2 is made of transformers. But GPT-2 conditions on the text so far (Radford et al. 2019,
#    section 2, eq. 1), and so does every model below. The structure is another question.
# 4. "每一个transformer块由多头自注意力机制 … 、位置编码 … 、前馈神经网络 … 和layer normalization组成", each block has
#    attention, positional encoding, feed-forward network and layer normalization. In GPT-2 a position vector is added
#    once, below the first block; and the residual connections are missing in the list.
#
# And the tradition is older than RNNs: for half a century language models were made of tables of counts, so-called
# *n-grams* (Shannon 1948, "A Mathematical Theory of Communication", section 3, writes text with them).
#
# The first, third and fourth point can be seen in the small model inside this package.

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")

prompt = "ROMEO:\nBut soft, what light"
ids = tokenizer.encode(prompt)
logits, _ = model.forward([ids])
probs = next_token_probs(logits[:, -1])[0]
occurred = sorted(set(ids))
print(f"1. probability of the prompt's tokens {probs[occurred].sum():.2f}, of others {1 - probs[occurred].sum():.2f}")

other = [*ids[:-1], tokenizer.encode(" night")[0]]  # another last token
changed, _ = model.forward([other])
same = [np.allclose(logits[0, t], changed[0, t], atol=1e-4) for t in range(len(ids))]
print("3. unchanged rows of logits:", *(int(flag) for flag in same))

names = list(minigpt2.flatten(model.params))
print("4. positions:", [name for name in names if "wpe" in name])
print("   a block:  ", [name.removeprefix("h.0.") for name in names if name.startswith("h.0.") and "weight" in name])

# %% [markdown] tags=["en"]
# So, first, 87 % go to tokens that have *not* occurred. Third, another last token changes the last row of logits and
# none before it: a row depends on the tokens up to its own. Fourth, there is one table of positions, outside the
# blocks.
#
# ## 2. The idea
#
# **All possible texts are a tree, and writing is a walk in it.** At every fork there are $V$ tokens that may come next,
# each with its probability. The language model writes the numbers at the forks. Decoding is the way you walk: always
# along the likeliest branch, or at random, or at random among the best few.

# %%
figure, axes = plt.subplots(figsize=(7.2, 3.4))
axes.set(xlim=(-0.02, 1), ylim=(-0.06, 1.04))
axes.axis("off")
box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": style.BLUE}


def best_continuations(ids, k):
    """The k likeliest next tokens of the built-in model, and their probabilities."""
    probs = next_token_probs(model.forward([ids])[0][:, -1])[0]
    return [(int(i), probs[i]) for i in np.argsort(-probs)[:k]]


def label(token):
    return repr(tokenizer.decode([token]))


def branch(start, end, p):
    axes.plot(*zip(start, end, strict=True), color=style.BLUE, lw=25 * p, ls="-", zorder=0)
    middle = (start[0] + 0.55 * (end[0] - start[0]), start[1] + 0.55 * (end[1] - start[1]))
    axes.text(*middle, f"{p:.2f}", ha="center", va="center", fontsize=8, bbox={"fc": "white", "ec": "none", "pad": 1})


axes.text(0, 0.5, prompt, va="center", bbox=box)
for i, (first, p) in enumerate(best_continuations(ids, 3)):
    here = (0.5, 0.86 - 0.36 * i)
    branch((0.12, 0.5), here, p)
    axes.text(*here, label(first), ha="center", va="center", bbox=box)
    for j, (second, q) in enumerate(best_continuations([*ids, first], 3)):
        there = (0.88, here[1] + 0.12 - 0.12 * j)
        branch((0.52, here[1]), there, q)
        axes.text(*there, label(second), va="center", bbox=box | {"boxstyle": "round,pad=0.2"}, fontsize=8)
plt.show()

# %% [markdown] tags=["en", "alt"]
# A tree from left to right. From the prompt, three branches lead to the likeliest next tokens, and from each of these
# three more; the probability stands on each branch, which is the thicker, the larger it is.

# %% [markdown] tags=["en"]
# The thicker the branch, the more probable. At each fork only the three best of a thousand are drawn.
#
# ## 3. The mathematics
#
# ### The probability of a text
#
# Write $x_0, x_1, \dots, x_{T-1}$ for the tokens of a text. Whatever the probabilities are, the rules learned at school
# allow us to take the tokens one after the other:
#
# $$p(x_0, x_1, \dots, x_{T-1}) = \prod_{t} p(x_t \mid x_0, \dots, x_{t-1}).$$
#
# Nothing is assumed here; the bar reads "given". Take the logarithm, divide by the number of tokens, change the sign,
# and there is the loss: $-\frac1T\sum_t \ln p(x_t \mid x_0, \dots, x_{t-1})$. The three machines differ in one thing
# only: **how much of the past they keep, and in what form.**
#
# | | keeps of $x_0, \dots, x_{t-1}$ | learns |
# |---|---|---|
# | n-gram | the last $n-1$ tokens | how often each token followed them |
# | RNN | one vector of $C$ numbers | how to update the vector, and to read from it |
# | GPT | a vector for each of the tokens | how to look back at them, and to read from that |
#
# ### n-gram: counting
#
# An *n-gram* is a run of $n$ tokens. Call $c$ the last $n-1$ tokens, the *context*. We count three things in the
# training text: $\#(c)$, how often $c$ stands there with something after it; $\#(c\,v)$, how often that was the token
# $v$; and $U(c)$, how many *different* tokens followed.
#
# **First try**: the plain share, $p(v \mid c) = \#(c\,v)/\#(c)$. It is of no use: a single token that never followed
# would have probability 0, and a loss of infinity.
#
# **Second try**: keep something back for what has not been seen. How much? Where many different tokens have followed,
# another new one is likely. So act as if, beside the $\#(c)$ tokens that were seen, there had been $U(c)$ more, and
# nobody had noted which. Each of them we guess by the *next shorter context* $c'$, which drops the first token:
#
# $$p_n(v \mid c) = \frac{\#(c\,v) + U(c)\;p_{n-1}(v \mid c')}{\#(c) + U(c)}, \qquad p_0(v) = \frac1V .$$
#
# The probabilities add up to 1, as the numerators add up to $\#(c) + U(c)$. For an unseen context, $\#(c) = U(c) = 0$,
# take $p_{n-1}(v \mid c')$ itself. (Witten & Bell 1991, "The zero-frequency problem", method C; in this recursive form
# in Chen & Goodman 1998, section 2.5. $p_1$ looks at no context at all.)
#
# ### RNN: forward
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x_t$ | `x[:, t]` | `(B, C)` | learned vector of token $t$, for $B$ texts at once |
# | $h_t$ | `h[t + 1]` | `(B, C)` | the *state* after token $t$; $h_{-1} = 0$ is `h[0]` |
# | $W$, $b$ | `rnn.weight`, `rnn.bias` | `(C, C)`, `(C,)` | how the old state acts on the new one |
# | $W_o$, $b_o$ | `head.weight`, `head.bias` | `(C, V)`, `(V,)` | reads scores from the state |
#
# $$u_t = x_t + h_{t-1} W + b, \qquad h_t = \tanh(u_t), \qquad \mathrm{logits}_t = h_t W_o + b_o .$$
#
# (Elman 1990, "Finding Structure in Time".) The **logits** are scores, any numbers. The *softmax* makes probabilities
# of them, for the RNN as for GPT: $p_v = e^{\mathrm{logits}_v} / \sum_u e^{\mathrm{logits}_u}$, where $u$ runs over
# all $V$ tokens.
#
# ### RNN: backward
#
# We are given $d\,\mathrm{logits}_t$, the gradient of the loss at the logits, for every $t$ (it is derived in
# 2.5.8; for any number $z$, $dz$ is short for $\partial\,\mathrm{loss}/\partial z$). We go from the last token to the
# first.
#
# **Step 1: the state.** $h_t$ acts on the loss in *two* places: it makes the logits of its own time, and through $W$ it
# enters $u_{t+1}$. The two are added (R6), and each goes back through a product (R2):
#
# $$dh_t = d\,\mathrm{logits}_t\,W_o^\top + du_{t+1} W^\top, \qquad du_T = 0 .$$
#
# **Step 2: the tanh** (R3). Its derivative is $1-\tanh^2$, and $\tanh(u_t)$ is $h_t$, which we have kept. With $\odot$
# for the product element by element:
#
# $$du_t = dh_t \odot (1 - h_t \odot h_t).$$
#
# **Step 3: the parameters.** The same $W$ and $b$ are used at every time, so their gradients are sums over time (R6
# again):
#
# $$dW = \sum_t h_{t-1}^\top\, du_t, \qquad db = \sum_t \sum_{\text{texts}} du_t, \qquad dx_t = du_t .$$
#
# $W_o$ and $b_o$ belong to a linear layer, whose gradients are derived in 2.1. And $dx_t$ is added to the row of the
# embedding from which $x_t$ was taken (R5).
#
# That is *backpropagation through time* (Werbos 1990). Put step 1 into step 2, again and again, and see what remains of
# a gradient that comes from $k$ tokens later: it was multiplied $k$ times by $W^\top$ and by factors $1 - h^2 \le 1$. A
# product of many factors dies or explodes (Bengio, Simard & Frasconi 1994; Pascanu et al. 2013, section 2). Remember
# this for section 6.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# The package has no n-gram model and no RNN, so they are written here, the second from the package's linear layer and
# embedding. First the counting. It keeps one number for each n-gram that occurs; these are its parameters.


# %%
class NGram:
    """Counts of runs of 1 ... n characters."""

    def __init__(self, text, n, V):
        self.n, self.V = n, V
        self.count = Counter(gram for k in range(1, n + 1) for gram in n_grams(text, k))
        self.followers, self.U = Counter(), Counter()  # of each context: all, and different ones
        for gram, times in self.count.items():
            self.followers[gram[:-1]] += times
            self.U[gram[:-1]] += 1

    def prob(self, v, context):
        """p(v | context); context: the characters before, of which the last n - 1 count."""
        p = 1 / self.V
        for k in range(self.n):  # from no context to the longest
            c = tuple(context[len(context) - k :])
            if len(c) < k or not self.followers[c]:
                break
            p = (self.count[(*c, v)] + self.U[c] * p) / (self.followers[c] + self.U[c])
        return p

    def loss(self, text, start):
        """Mean -ln p of the characters from ``start`` on."""
        return -np.mean([np.log(self.prob(text[i], text[i - self.n + 1 : i])) for i in range(start, len(text))])


# %% [markdown] tags=["en"]
# ### By hand
#
# Train it on the word "abracadabra": 11 letters, 5 different ones. How likely is b after a?

# %%
small = NGram("abracadabra", n=2, V=5)
print("#(a) =", small.followers[("a",)], "  U(a) =", small.U[("a",)], "  #(ab) =", small.count[("a", "b")])
print("p_1(b)     =", Fraction(small.prob("b", ())).limit_denominator(1000))
print("p_2(b | a) =", Fraction(small.prob("b", ("a",))).limit_denominator(1000))
print("sum over all letters:", round(sum(small.prob(v, ("a",)) for v in "abcdr"), 12))

# %% [markdown] tags=["en"]
# Four of the five a's have a letter after them: b, c, d, b. Without context, b occurs twice in 11 letters, and with
# five different ones $p_1(b) = (2 + 5\cdot\tfrac15)/(11+5) = 3/16$. With it, $p_2(b\mid a) = (2 +
# 3\cdot\tfrac3{16})/(4+3) = \tfrac{41}{16}/7 = 41/112$: less than the plain share of 1/2, because room must be left for
# what was never seen.
#
# ### The RNN
#
# Compare each line with section 3. Time is a Python loop: $h_t$ cannot be had before $h_{t-1}$, and that is not a
# matter of programming.


# %%
def rnn_forward(ids, params):
    """ids (B, T) -> logits (B, T, V) and the cache for ``rnn_backward``."""
    x, wte = embedding_forward(ids, params["wte"]["weight"])
    W, b = params["rnn"]["weight"], params["rnn"]["bias"]
    B, T, C = x.shape
    h = np.zeros((T + 1, B, C), x.dtype)  # time first; h[0] is the state before the first token
    for t in range(T):
        np.tanh(x[:, t] + h[t] @ W + b, out=h[t + 1])
    logits, head = linear_forward(h[1:].swapaxes(0, 1).copy(), **params["head"])
    return logits, {"wte": wte, "h": h, "W": W, "head": head}


def rnn_backward(dlogits, cache):
    """Gradients of all parameters, nested like ``params``."""
    h, W = cache["h"], cache["W"]
    dh, *dhead = linear_backward(dlogits, cache["head"])
    du = np.zeros_like(h)  # du[t] for t = 0 ... T - 1, and du[T] = 0
    for t in reversed(range(len(h) - 1)):
        du[t] = (dh[:, t] + du[t + 1] @ W.T) * (1 - h[t + 1] ** 2)  # steps 1 and 2
    du = du[:-1]
    C = len(W)
    return {
        "wte": {"weight": embedding_backward(du.swapaxes(0, 1).copy(), cache["wte"])},
        "rnn": {"weight": h[:-1].reshape(-1, C).T @ du.reshape(-1, C), "bias": du.sum(axis=(0, 1))},
        "head": {"weight": dhead[0], "bias": dhead[1]},
    }


def new_rnn(V, C, dtype="float32", seed=0):
    """Random parameters; those of W keep a vector's length about the same."""
    rng = np.random.default_rng(seed)
    params = {
        "wte": {"weight": rng.normal(0, 0.5, (V, C))},
        "rnn": {"weight": rng.normal(0, 0.9 / np.sqrt(C), (C, C)), "bias": np.zeros(C)},
        "head": {"weight": rng.normal(0, 1 / np.sqrt(C), (C, V)), "bias": np.zeros(V)},
    }
    return minigpt2.unflatten({name: p.astype(dtype) for name, p in minigpt2.flatten(params).items()})


# %% [markdown] tags=["en"]
# ### The RNN by hand
#
# One channel, three tokens, and numbers chosen such that every state is $\tfrac12$, where the slope of tanh is
# $1 - \tfrac14 = \tfrac34$. With $W = \tfrac43$ a gradient that goes back by one token is multiplied by
# $\tfrac43\cdot\tfrac34 = 1$. The output is $y_t = h_t$, and the gradient that comes from above is 1 at every time.

# %%
u = np.arctanh(0.5)
by_hand = {
    "wte": {"weight": np.array([[u], [u - 2 / 3]])},  # x of token 0; x of token 1, which follows a state of 1/2
    "rnn": {"weight": np.array([[4 / 3]]), "bias": np.zeros(1)},
    "head": {"weight": np.ones((1, 1)), "bias": np.zeros(1)},
}
y, cache = rnn_forward(np.array([[0, 1, 1]]), by_hand)
for name, grad in minigpt2.flatten(rnn_backward(np.ones((1, 3, 1)), cache)).items():
    print(f"d {name:12}", *(Fraction(float(g)).limit_denominator(100) for g in grad.ravel()))

x, h = [u, u - 2 / 3, u - 2 / 3], [0.5, 0.5, 0.5]
dh, du, after = [0.0] * 3, [0.0] * 3, 0.0  # after: what comes back from the next time
for t in (2, 1, 0):
    dh[t] = 1 + after  # step 1
    du[t] = dh[t] * 3 / 4  # step 2
    after = du[t] * 4 / 3

nodes, edges = {}, []
for t in range(3):
    state, row = f"tanh(+)#{t}", 3 * t
    nodes |= {f"$x_{t}$": (row, 0 if t == 0 else 1), state: (row + 1, 0), f"$y_{t}$": (row + 3 - (t == 2), -(t < 2))}
    edges.append((f"$x_{t}$", state, x[t], du[t], "x"))
    if t > 0:
        edges.append((f"$W$#{t}", state, h[t - 1] * 4 / 3, du[t]))
    if t < 2:
        nodes |= {f"•#{t}": (row + 2, 0), f"$W$#{t + 1}": (row + 3, 0)}
        edges += [(state, f"•#{t}", h[t], dh[t]), (f"•#{t}", f"$y_{t}$", h[t], 1.0)]
        edges.append((f"•#{t}", f"$W$#{t + 1}", h[t], du[t + 1] * 4 / 3))
    else:
        edges.append((state, f"$y_{t}$", h[t], 1.0))
graphs.draw(nodes, edges)
plt.show()

# %% [markdown] tags=["en", "alt"]
# The RNN unrolled over three times, from left to right. A token vector enters each tanh from below or the left, and
# each state of 1/2 splits at a dot: up to the output y, and on through W to the next tanh. Below the edges the
# gradients, read from right to left: 1, 2 and 3 at the three states, and 3/4, 3/2 and 9/4 at the token vectors.

# %% [markdown] tags=["en"]
# Read the orange numbers from the right. The last state has only its own output to answer for, $dh_2 = 1$. At each dot
# two ways meet and are added (R6): $dh_1 = 1 + 1$, $dh_0 = 1 + 2$. Each tanh takes three quarters: $du = \tfrac94,
# \tfrac32, \tfrac34$. The two boxes $W$ are the *same* parameter, so $dW = h_0\,du_1 + h_1\,du_2 =
# \tfrac12\cdot\tfrac32 + \tfrac12\cdot\tfrac34 = \tfrac98$, and $db = \tfrac94 + \tfrac32 + \tfrac34 = \tfrac92$. Token
# 1 was read twice, so its row gets $\tfrac32 + \tfrac34 = \tfrac94$, which happens to be what token 0 gets.
#
# With $W = \tfrac23$ the way back would halve a gradient at every token, with $W = \tfrac83$ double it (if the states
# stayed where they are). That is what dying and exploding means.
#
# ### Decoding
#
# This is the library's own code. A *temperature* divides the logits before the softmax, *top-k* keeps the $k$ best
# tokens and drops the others, and then a token is drawn at random. (`top_p` is for question 5. `xp` in the source is
# NumPy, or CuPy where the arrays lie on a graphics card.)

# %%
style.show_source(next_token_probs, keep_top_k, draw)

# %% [markdown] tags=["en"]
# Three tokens with logits $\ln 1, \ln 2, \ln 4$ can be done in your head. The softmax undoes the logarithm, so the
# probabilities are in the ratio 1 : 2 : 4. Dividing the logits by 1/2 squares these numbers, dividing by 2 takes their
# square roots.

# %%
logits_by_hand = np.log([[1.0, 2.0, 4.0]])
for options in ({}, {"temperature": 0.5}, {"top_k": 2}, {"top_k": 1}):
    row = next_token_probs(logits_by_hand, **options)[0]
    print(f"{options!s:22}", *(f"{Fraction(p).limit_denominator(1000)!s:>6}" for p in row))

# %% [markdown] tags=["en"]
# $1 + 2 + 4 = 7$; squared, $1 + 4 + 16 = 21$. With `top_k=1` only the best token is left, which is *greedy* decoding;
# temperature 0 stands for the same.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# The gradient check of 2.0, for every parameter of the RNN. Then a mistake on purpose, the classic one: someone forgets
# that the state acts on the next state too, and leaves out the second term of step 1.


# %%
def forgetful_backward(dlogits, cache):
    """The RNN's backward pass without the term that comes from the future."""
    W = cache["W"]
    return rnn_backward(dlogits, cache | {"W": np.zeros_like(W)})


inputs = {"ids": np.array([[0, 3, 1, 1, 2], [4, 2, 0, 3, 3]]), "params": new_rnn(V=5, C=4, dtype="float64")}
for backward in (rnn_backward, forgetful_backward):
    report = minigpt2.gradient_check(rnn_forward, backward, inputs)
    print(f"{backward.__name__}: {'passed' if report else 'FAILED'}")
    for check in report.checks:
        verdict = "ok" if check.error < report.tolerance else f"WRONG, error {check.error:.2g}"
        print(f"  {check.name:20} {check.shape!s:8} {verdict}")

# %% [markdown] tags=["en"]
# The output layer is beyond the mistake and stays right; everything below it is wrong. (There are no recorded values to
# compare an RNN with, as GPT-2 contains no RNN. Its parts, `linear` and `embedding`, are compared with PyTorch in the
# notebooks of the components.)

# %% [markdown] tags=["en"]
# ## 6. Which guesses best, at equal numbers of parameters?
#
# ### On a text
#
# The text is one that comes with every Python, the help on the language (the exact words differ a little between
# versions, and so may the last digit of the figures below). Paragraphs that occur twice are used once, letters are made
# lower case, and only 33 different characters are kept. The models read the first part and are tested on another part
# that they have not seen.

# %%
paragraphs = dict.fromkeys("\n\n".join(topics[name] for name in sorted(topics)).split("\n\n"))
text = re.sub(r"[^a-z .,()_'\n]", "", "\n\n".join(paragraphs).lower())
text = re.sub(r"\s+", " ", text)
characters = CharTokenizer.train(text)
V = len(characters)
text_ids = np.array(characters.encode(text))
train_ids, test_ids = text_ids[:200_000], text_ids[200_000:210_000]
print(V, "characters; the test begins:", repr(text[200_000:200_060]))


# %% [markdown] tags=["en"]
# All are trained in the same way. The random numbers at the beginning: GPT-2's own, of standard deviation 0.02, suit
# its width of 768; a narrow model needs larger ones. With $1/\sqrt C$ a sum of $C$ products is about as large as each
# of the numbers that go in (2.1, section 5).


# %%
def train(params, loss_and_grads, batch, steps, lr):
    """Train in place with AdamW, at a rate that rises and then falls (2.5.9); returns the losses of all steps."""
    optimizer = minigpt2.AdamW(params, betas=(0.9, 0.99))
    rng, losses = np.random.default_rng(0), []
    for step in range(steps):
        optimizer.lr = learning_rate(step, lr, lr / 10, 50, steps)
        loss, grads = loss_and_grads(*batch(rng))
        optimizer.step(grads, max_norm=1.0)
        losses.append(float(loss))
    return losses


def rnn_loss_and_grads(params):
    """The RNN's counterpart of ``GPT2.loss_and_grads``."""

    def loss_and_grads(ids, targets):
        logits, cache = rnn_forward(ids, params)
        loss, loss_cache = cross_entropy_forward(logits, targets)
        return loss, rnn_backward(cross_entropy_backward(1.0, loss_cache), cache)

    return loss_and_grads


def new_gpt(V, P, C, seed=0):
    """A GPT-2 of one block, without dropout."""
    config = minigpt2.GPT2Config(
        vocab_size=V, n_positions=P, n_embd=C, n_layer=1, n_head=4, initializer_range=C**-0.5,
        embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    return minigpt2.GPT2(config, seed)


def size(params):
    return sum(p.size for p in minigpt2.flatten(params).values())


T = 32  # characters in a window


def windows(rng):
    return random_windows(train_ids, 32, T, rng)


def test_losses(forward):
    """The loss at each place 0 ... T - 1 of a window, a mean over the windows of the test text."""
    n = (len(test_ids) - 1) // T
    ids, targets = test_ids[: n * T].reshape(n, T), test_ids[1 : n * T + 1].reshape(n, T)
    logits, _ = forward(ids)
    return [float(cross_entropy_forward(logits[:, t], targets[:, t])[0]) for t in range(T)]


# %% [markdown] tags=["en"]
# First the tables, from $n=1$ to $n=6$, and how much of the test they have never seen:

# %%
results = {"n-gram": [], "RNN": [], "GPT": []}  # (parameters, loss) of each
test_text = text[200_000 - T : 210_000]
for n in range(1, 7):
    counts = NGram(text[:200_000], n, V)
    results["n-gram"].append((len(counts.count), counts.loss(test_text, T)))
    print(f"n = {n}: {results['n-gram'][-1][0]:7,} numbers, loss {results['n-gram'][-1][1]:.2f}")

for n in (4, 6, 30):
    runs = [test_text[i : i + n] for i in range(len(test_text) - n + 1)]
    print(f"runs of {n:2}: {np.mean([run not in text[:200_000] for run in runs]):.2f} are not in the training text")

# %% [markdown] tags=["en"]
# And two pairs of networks of about equal size:

# %%
for C_rnn, C_gpt in ((52, 20), (124, 40)):
    params = new_rnn(V, C_rnn)
    train(params, rnn_loss_and_grads(params), windows, steps=700, lr=5e-3)
    rnn_places = test_losses(lambda ids, params=params: rnn_forward(ids, params))
    results["RNN"].append((size(params), np.mean(rnn_places)))
    gpt = new_gpt(V, T, C_gpt)
    train(gpt.params, gpt.loss_and_grads, windows, steps=700, lr=1e-2)
    gpt_places = test_losses(gpt.forward)
    results["GPT"].append((gpt.num_parameters, np.mean(gpt_places)))
    for name in ("RNN", "GPT"):
        print(f"{name}: {results[name][-1][0]:7,} parameters, loss {results[name][-1][1]:.1f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3))
for (name, pairs), marker in zip(results.items(), "os^", strict=True):
    left.plot(*zip(*pairs, strict=True), marker=marker, label=name)
for n, (count, loss) in enumerate(results["n-gram"], 1):
    where = (4, 5) if n < 3 or n == 6 else (-12, -12)
    left.annotate(f"n={n}", (count, loss), xytext=where, textcoords="offset points", fontsize=8)
left.set(xscale="log", xlabel="parameters", ylabel="loss on the test text (nats)", title="size")
left.set(xlim=(12, 3e5), ylim=(1.1, 3.2))
left.legend()
right.plot(range(1, T + 1), rnn_places, color=style.ORANGE, ls="--", label="RNN")
right.plot(range(1, T + 1), gpt_places, color=style.GREEN, ls="-.", label="GPT")
right.set(xlabel="characters of context", ylabel="loss (nats)", title="context, larger pair")
right.axhline(results["n-gram"][3][1], color=style.BLUE, ls="-", label="n-gram, n = 4")
right.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left: loss on the test text against parameters, from 30 to 100,000. The table's curve falls from 3.0 to 1.3 and is
# flat from n = 5 to 6; the two RNNs and the two GPTs lie on one another, near n = 3 and a little above n = 4. Right:
# the loss of the larger pair by characters of context. Both fall from 2.6 to about 1.5 at five to seven characters and
# then stay, with few exceptions above the table's 1.4.

# %% [markdown] tags=["en"]
# The oldest machine holds its own! The smaller pair is nearly as good as the table of its size, $n=3$; the larger pair
# does not reach $n=4$; and RNN and GPT are nearly equal. (The networks begin each window with one character of context,
# the tables with all they need. Without the first two places the smaller pair has 1.82, RNN, and 1.85, GPT, the larger
# one 1.58 and 1.54: the order stays.) There is no mistake in this. A table of counts is hard to beat on a short text,
# where the last three or four characters already say much about the next one. The networks live on them as well: in the
# right picture, after seven characters or so neither gains anything from seeing more. And counting is done after one
# pass over the text, while the networks had 700 steps and have not finished learning. (With `steps=1400`, which takes
# twice as long, the smaller pair ends at 1.73, RNN, and 1.75, GPT, and so passes $n=3$ with its 1.79; the larger pair
# ends at 1.50 and 1.49, still above the 1.40 of $n=4$.)
#
# But look at the end of the blue curve. The table for $n=6$ has twice as many numbers as that for $n=5$ and is no
# better: as the cell says, a fifth of the runs of six characters in the test was never seen. A table cannot know
# that *this case* and *that case* are alike; each run stands alone, and nearly every run of 30 characters is new. So it
# is a comfortable road that ends soon. On a corpus of a billion words a table of word runs has a *perplexity* (the
# exponential of the loss) of 68, and a recurrent network with half as many parameters one of 44 (Jozefowicz et al.
# 2016, "Exploring the Limits of Language Modeling", table 1).
#
# ### On a task that needs memory
#
# Why then attention and not an RNN? Let us test the one thing in which they differ: how they keep the past. The text is
# now twelve random symbols out of eight, and then *the same twelve again*. The second half can be predicted without any
# error, by looking back twelve symbols. A model that does not use the first half has a loss of at least $\ln 8$ there,
# on average, and so does any n-gram with $n \le 12$; a table for $n = 13$ would have to have seen all $8^{12}$
# beginnings.
#
# A second RNN runs as a **control**. It differs in the random numbers that it begins with. Its $W$ is *orthogonal*,
# that is, it changes the length of no vector (Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning
# in deep linear neural networks"), and the token vectors are a fifth as large, so that the slope of the tanh is near 1.
# Both keep the factors of section 3, by which a gradient is multiplied on its way back, closer to 1. If these were what
# the first RNN suffers from, the second must do better.

# %%
half, symbols = 12, 8


def repeated(rng, B=32):
    """ids, targets (B, 24): a start token 0, and twelve symbols 1 ... 8 twice; only the second time counts."""
    once = rng.integers(1, symbols + 1, (B, half))
    both = np.concatenate([once, once], axis=1)
    ids = np.concatenate([np.zeros((B, 1), int), both[:, :-1]], axis=1)
    targets = both.copy()
    targets[:, :half] = -100  # cannot be known, does not count
    return ids, targets


curves = {"RNN": [], "RNN, orthogonal": [], "GPT": []}  # the losses of all steps, with three seeds
for seed in range(3):
    rnn, other = (new_rnn(symbols + 1, 80, seed=seed) for _ in range(2))
    other["rnn"]["weight"][:] = np.linalg.qr(other["rnn"]["weight"])[0]  # orthogonal: it changes no vector's length
    other["wte"]["weight"] *= 0.2  # too small to drive the tanh to its flat ends
    gpt = new_gpt(symbols + 1, 2 * half, 24, seed)
    for name, params, loss_and_grads in (
        ("RNN", rnn, rnn_loss_and_grads(rnn)),
        ("RNN, orthogonal", other, rnn_loss_and_grads(other)),
        ("GPT", gpt.params, gpt.loss_and_grads),
    ):
        curves[name].append(train(params, loss_and_grads, repeated, steps=200, lr=1e-2))
print(f"parameters: RNN {size(rnn):,}, GPT {gpt.num_parameters:,}")
for name, seeds in curves.items():
    print(f"{name}: last loss, seeds 0, 1, 2:", *(f"{losses[-1]:.1f}" for losses in seeds))

# %%
figure, axes = plt.subplots(figsize=(5.4, 3.2))
looks = (style.ORANGE, "--"), (style.BLUE, "-"), (style.GREEN, "-.")
for (name, seeds), (colour, dash) in zip(curves.items(), looks, strict=True):
    for seed, losses in enumerate(seeds):
        axes.plot(losses, label=None if seed else f"{name}, three seeds", color=colour, ls=dash, lw=1)
axes.axhline(np.log(symbols), color="0.6", lw=1, ls=":", label="ln 8")
axes.set(xlabel="training step", ylabel="loss in the second half (nats)", ylim=(-0.05, 2.9))
axes.legend(loc="center right", bbox_to_anchor=(1, 0.3))
plt.show()

# %% [markdown] tags=["en", "alt"]
# Loss in the second half over 200 training steps, with three seeds each, and a dotted line at ln 8 = 2.08. The three
# GPT curves reach the line at step 20, leave it at about step 45 and are near 0 by step 80. Two RNN curves stay on the
# line; the third leaves it and is at 1.4 in the end. The three curves of the orthogonal RNN fall from the beginning,
# first fast and then slowly, and are near 0 at the end.

# %% [markdown] tags=["en"]
# The GPT can do it before step 100, with all three seeds. The first RNN, with as many parameters, the same batches and
# the same learning rate, has at best begun to learn it at the end. But the second one has nearly learned it: an RNN of
# this size *can* do it. What two of the first kind lacked is a beginning in which the state, and the gradient on its
# way back, survive. (Either change alone helps too: to 0.6 to 0.8 with $W$, to 0.4 with the vectors. The GPT got no
# such help: its random numbers are those of the text above.)
#
# How does the GPT do it? Here are the weights of its four heads on one text. Place $12 + i$ is asked for the symbol
# that was read at place $1 + i$, eleven places back.

# %%
ids, _ = repeated(np.random.default_rng(1), B=1)
_, cache = gpt.forward(ids)
probs = cache["h"][0]["attn"]["probs"][0]  # (H, T, T)
back = np.arange(half, 2 * half)
weights = probs[:, back, back - half + 1]  # (H, half): eleven places back
for head, row in enumerate(weights):
    print(f"head {head}, weight eleven places back:", *(f"{w:.1f}" for w in row))
print("largest of the four heads:           ", *(f"{w:.1f}" for w in weights.max(axis=0)))

figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.7), sharey=True)
for head, axis in enumerate(axes):
    image = axis.imshow(probs[head], vmin=0, vmax=1)
    axis.set(xlabel="attended place", title=f"head {head}")
    axis.grid(visible=False)
axes[0].set_ylabel("attending place")
figure.colorbar(image, ax=axes, label="attention weight", shrink=0.9)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Four maps of 24 by 24 attention weights, one for each head, empty above the diagonal. In the lower half, rows 12 to
# 23, heads 1 and 3 have a dark diagonal that begins at column 1, each with gaps; heads 0 and 2 have single dark
# squares.

# %% [markdown] tags=["en"]
# In the lower half of heads 1 and 3 there is a dark diagonal: most places look eleven places back, at the symbol that
# must come next. No head does so everywhere; where one of the two looks elsewhere, the other does not. At each of the
# twelve places at least one head gives the right symbol 0.8 or more.
#
# That a head looks somewhere does not yet mean that the model makes use of it. The **control**: silence two of the
# heads (the rows of `c_proj` that read them are set to 0), and see what becomes of the loss on 64 new texts.

# %%
ids, targets = repeated(np.random.default_rng(1), B=64)
output = gpt.params["h"][0]["attn"]["c_proj"]["weight"]  # (C, C): its rows are four heads of C / 4 channels
kept, D = output.copy(), len(output) // 4
for heads in ((), (0, 2), (1, 3)):
    for head in heads:
        output[head * D : (head + 1) * D] = 0
    print(f"silenced {heads!s:7} loss in the second half {gpt.loss(ids, targets):.1f}")
    output[:] = kept

# %% [markdown] tags=["en"]
# Without heads 0 and 2 nothing is lost; without 1 and 3 the model is worse than a uniform guess. It is these two that
# do it.
#
# The RNN has to press twelve symbols into one vector and keep each of them through eleven multiplications by $W$, and
# its gradient has to come back the same way, of which the end of section 3 warned. In a GPT the way between any two
# places is a single step (Vaswani et al. 2017, section 4 and table 1), however far apart they are. So a longer way must
# hurt the one and not the other, and it does: with `half = 24` the GPT is below 0.1 by step 100 again, and the
# orthogonal RNN ends at 0.7 (seeds 0 and 1). The loop over time is gone too, so that in training all places can be
# computed at once. The same is seen with large models and real texts: an LSTM, a better RNN, is as good as a
# transformer for tokens with little context, and falls behind where there is more to look back on (Kaplan et al. 2020,
# "Scaling Laws for Neural Language Models", figure 7).
#
# It is one size, one task and one learning rate. LSTM and GRU carry their state with additions, which helps. Longer
# training helps too: after 1,000 steps the three of the first kind are at 1.9, 2.1 and 0.3, those of the second at
# 0.00. And a GPT sees no more tokens than it has positions (24 here), while an RNN reads on for ever.
#
# ### Decoding: quality against variety
#
# Now we leave the model alone and change only how we choose. The built-in model continues one prompt 48 times in each
# way. Two numbers describe the results. The **surprise** is the mean of $-\ln p$ of the tokens that were chosen, by the
# model's own judgement at temperature 1: low is predictable. **Variety** is *distinct-2* (`minigpt2.measures`): the
# share of different ones among all pairs of neighbouring words in 24 texts; we take the mean of two groups of 24, and
# their difference shows how much chance there is in it. (Only the first 20 words of each text count, as longer texts
# repeat more.) For comparison we let the model read a poet's work, Prospero's speech from *The Tempest*, and measure
# how surprised it is.

# %%
start = tokenizer.encode("ROMEO:\n")
prospero = """Our revels now are ended. These our actors,
As I foretold you, were all spirits and
Are melted into air, into thin air:
And, like the baseless fabric of this vision,
The cloud-capp'd towers, the gorgeous palaces,
The solemn temples, the great globe itself,
Yea, all which it inherit, shall dissolve
And, like this insubstantial pageant faded,
Leave not a rack behind. We are such stuff
As dreams are made on, and our little life
Is rounded with a sleep."""


def surprise(rows):
    """Mean -ln p of all tokens after the start, in nats; rows: (B, T) ids that begin with ``start``."""
    targets = rows[:, 1:].copy()
    targets[:, : len(start) - 1] = -100  # given, not chosen: does not count
    return model.loss(rows[:, :-1], targets)


def decode_many(**options):
    """Two groups of 24 continuations: variety and surprise of each group (2, 2), and the first text."""
    rows = model.generate(start, max_new_tokens=50, num_samples=48, seed=0, **options)
    texts = [" ".join(tokenizer.decode(row[len(start) :]).split()[:20]) for row in rows]
    groups = [slice(i, i + 24) for i in (0, 24)]
    return np.array([(distinct_n(texts[g], 2), surprise(rows[g])) for g in groups]), texts[0]


# %%
ways = {
    "temperature": [{"temperature": t} for t in (0.2, 0.4, 0.6, 0.7, 0.9, 1.0, 1.3)],
    "top-k": [{"temperature": 1.0, "top_k": k} for k in (2, 5, 20, 100)],
}
points = {}
print("variety and surprise, mean and difference of two groups")
for way, settings in ways.items():
    for options in settings:
        found, sample = decode_many(**options)
        points.setdefault(way, []).append(found.mean(axis=0))
        knob = f"k = {options['top_k']}" if "top_k" in options else f"T = {options['temperature']}"
        (variety, nats), (spread, other_spread) = found.mean(axis=0), np.ptp(found, axis=0)
        print(f"{knob:8}   {variety:.2f} ({spread:.2f})   {nats:.1f} ({other_spread:.1f})")
        if knob in ("T = 0.2", "T = 0.7", "T = 1.3"):
            print(f"   {sample!r}")

shuffled = " ".join(np.random.default_rng(0).permutation(prospero.split()))
written, broken = (surprise(np.array([start + tokenizer.encode(text)])) for text in (prospero, shuffled))
print(f"surprise at Prospero's speech {written:.1f}, at its words in random order {broken:.1f}")

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.6))
axes.axhline(written, color="0.6", lw=1, ls=":")
axes.text(0.02, written - 0.24, "Prospero's speech", color="0.4")
for (way, pairs), marker in zip(points.items(), "os", strict=True):
    (line,) = axes.plot(*zip(*pairs, strict=True), marker=marker, label=way)
    for options, pair in zip(ways[way], pairs, strict=True):
        knob = f"k={options['top_k']}" if "top_k" in options else str(options["temperature"])
        above = ("top_k" in options) != (knob in ("k=100", "1.0", "1.3"))  # close to a point or a line
        where, side = ((-6, 4), "right") if above else ((6, -9), "left")
        axes.annotate(knob, pair, xytext=where, textcoords="offset points", fontsize=8, ha=side)
axes.set(xlabel="variety: distinct-2", ylabel="surprise (nats per token)", title="temperature and top-k")
axes.set(xlim=(0, 1.06), ylim=(1.2, 4.3))
axes.legend(loc="upper left", bbox_to_anchor=(0, 0.6))
plt.show()

# %% [markdown] tags=["en", "alt"]
# Surprise against variety. Both curves, temperature from 0.2 to 1.3 and top-k from 2 to 100, rise slowly from 1.5 nats
# at variety 0.2 to 2.3 at 0.9, and then steeply; they lie close together. Temperature 1.3 reaches 4.0; a dotted line
# at 3.9 marks Prospero's speech.

# %% [markdown] tags=["en"]
# From the left to the right on the blue line the same model changes from a bore into a babbler. At temperature 0.2 the
# 24 walks through the tree use the same few pairs of words over and over. At 1.3 hardly any two words meet twice, and
# some are not words. The text one wants lies in between. (This small model breaks a word now and then even there.)
#
# And top-k? Compared with temperature 1 and nothing cut off, $k=20$ makes the text less surprising at a small cost in
# variety. But so does a lower temperature: 0.7 does as well. The two curves lie on one another, as far as the
# difference of the groups allows one to tell. (With five seeds instead of one: temperature 0.7 has variety 0.88 and
# surprise 2.28, $k=20$ has 0.89 and 2.36; from seed to seed they change by some 0.02 and 0.06.) *By these two numbers*
# there is no reason to prefer top-k. What top-k does and temperature does not is to make sure: a token outside the best
# $k$ never comes, however long one writes. With temperature alone each of the many improbable tokens may come, and
# together they are not improbable; one of them is enough to lead a long text astray (Holtzman et al. 2020, "The Curious
# Case of Neural Text Degeneration"). Twenty words are too short to show that. GPT-2's own samples were drawn with
# $k=40$ (Radford et al. 2019, appendix).
#
# Now the dotted line. Prospero surprises the model more than its own writing at temperature 1, about as much as its own
# babble at 1.3. So surprise is not quality! One is tempted to say that babble surprises because it is broken, and
# Prospero because he has something to say. But so does any speech from the plays that the model has not read: the 35 of
# 350 to 560 characters in the held-out part of its data have 3.8 on average, from 3.4 (the offer of a lodging) to 4.3.
# What people write is not the likeliest text; that is the point of the paper just named, and the reason why one does
# not simply look for the likeliest. Nor is it any improbable text: Prospero's words in random order have 5.6.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Why is the generator not a second model? Name everything in `next_token_probs` and `draw` that was learned.
#    *Hint: what do they take besides the logits, and who chooses it?*
#
#    <details><summary>Answer</summary>
#
#    Nothing in them was learned. Besides the logits they take `temperature`, `top_k` and `top_p`, which we choose, and
#    a random number. There are no parameters, so there is nothing that training could change.
#
#    </details>
# 2. Compute $p_2(c \mid a)$ for "abracadabra" by hand, and $p_2(a \mid a)$. Then check with `small.prob`. *Hint: the
#    second was never seen; it has a probability nevertheless.*
#
#    <details><summary>Answer</summary>
#
#    Without context $p_1(c) = (1 + 5\cdot\tfrac15)/(11+5) = \tfrac18$ and $p_1(a) = (5+1)/16 = \tfrac38$. After a, c
#    came once and a never: $p_2(c\mid a) = (1 + 3\cdot\tfrac18)/(4+3) = \tfrac{11}{56}$ and $p_2(a\mid a) = (0 +
#    3\cdot\tfrac38)/7 = \tfrac{9}{56}$.
#
#    </details>
# 3. In `rnn_backward`, what changes if `du[t + 1]` is used only where `t + 1` is not a multiple of 8, and 0 is taken
#    otherwise? Predict whether the RNN still learns to predict text, and whether it learns to repeat. *Hint: this is
#    called truncated backpropagation.*
#
#    <details><summary>Answer</summary>
#
#    The gradient of a state then knows of losses in its own stretch of eight tokens only. On the text nothing is lost:
#    the smaller RNN ends within a hundredth of its 1.86, as it uses the last few characters only. On the repetition the
#    symbol and the place where it is wanted, eleven later, are always in different stretches, so that nothing says what
#    should be remembered: the three seeds of the first RNN end at 2.08, that is at $\ln 8$, where one of them had
#    reached 1.4, and those of the orthogonal one at 2.1, 1.9 and 2.0 instead of 0.04. (The little that it has is what
#    its $W$ keeps by itself, without having learned to.)
#
#    </details>
# 4. Let the symbols come in *reverse* order the second time. Which of the three finds this easier than before? Change
#    one line of `repeated` and see. *Hint: how far back is the symbol that is wanted now?*
#
#    <details><summary>Answer</summary>
#
#    The first RNN. The symbol that place $12 + i$ is asked for was now read at place $12 - i$, that is $2i$ places
#    back: the first is the one just read, the second stands two places back. After 200 steps the three seeds are at
#    1.5, 1.5 and 1.5 instead of 2.1, 2.1 and 1.4: there is something near to begin with. After 1,000 steps they are at
#    0.9, 0.9 and 0.8, and the nearer, the better: with seed 0 from 0.4 for the symbol just read to 1.7 for the one 22
#    places back. The orthogonal RNN finds it *harder*, with 1.3, 1.3 and 1.2 after 200 steps instead of 0.04: one $W$
#    that keeps everything for eleven steps no longer does for all places. To the GPT it makes no difference; it is
#    below 0.01 after 200 steps, as before.
#
#    </details>
# 5. Add `top_p` (not used so far; see `keep_top_p` in `minigpt2/sampling.py`) to the last picture. Where do you expect
#    the points? *Hint: it keeps few tokens where the model is sure, and many where it is not.*
#
#    <details><summary>Answer</summary>
#
#    On the same curve or slightly below it. With $p$ = 0.3, 0.5, 0.7, 0.9, at temperature 1 and in the mean of seeds 0
#    to 2, variety/surprise are 0.51/1.66, 0.76/1.95, 0.90/2.24, 0.95/2.60. Temperature 0.6 and 0.7 have 0.79/2.04 and
#    0.88/2.28. The distance, a tenth of a nat at most, is hardly more than what changes from seed to seed.
#
#    </details>
#
# **Next:** what GPT-2 was trained on, and how text becomes tokens: [2.4, data sets](2_4_datasets.ipynb)
