# %% [markdown] tags=["en"]
# # 2.5.8 损失函数 · Loss function
#
# Training needs one number that says how wrong the model is, and it must be a number that can be differentiated. This
# notebook derives that number from a question that could not be plainer, *how probable did the model think the token
# was that really came?*, and then its gradient, which turns out to be a subtraction.
#
# You need Python, NumPy, logarithms and the chain rule from school. The words:
#
# - A **token** is a piece of text. The model knows $V$ different ones, its *vocabulary*, and each has a number, its
#   *id*, from 0 to $V-1$.
# - For every token that it reads, the model gives each token of the vocabulary a score, called a **logit**: the higher,
#   the more likely that this one comes next. For $B$ texts of $T$ tokens that is an array of shape `(B, T, V)`.
# - The **target** is the token that really came next: an array of shape `(B, T)`. It is the text itself, moved on by
#   one.
# - The **loss** compares the two. Its derivative with respect to a number in the model is called the **gradient**
#   there. Training moves every parameter a little against it (notebook 2.5.9).
#
# **Exercise:** [8, the loss](../exercises/student/08_cross_entropy.ipynb)

# %%
import math
import re
import sys
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py and graphs.py lie beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.evaluation import evaluate
from minigpt2.reference import CASES, LABEL_SMOOTHING, recorded, relative_error
from minigpt2.verification.figures import TOKEN_LOG_PROBS, TOKEN_TEXT

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document gives this subject one sentence: 损失函数（Loss Function）用于衡量模型的预测值和真实值的差距, a loss
# function measures how far the predictions of the model are from the true values. That is right, but it leaves two
# questions open.
#
# **What is the true value?** Nobody labels the text by hand. The true value at each position is the next token, so
# every text is its own answer sheet.
#
# **Which function?** GPT-2 is a *language model*: it gives a probability to a whole text, as the product of the
# probabilities of its tokens, each given those before it (Radford et al. 2019, section 2, eq. 1). Training makes that
# probability as large as it can (Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
# eq. 1). The loss that does this is called **cross-entropy**. (Section 2.5.7 of the document adds *label smoothing* to
# it; nothing that is published says that GPT-2 did, see notebook 2.5.7.)
#
# The evidence comes in two parts. First the answer sheet. We ask the small model that comes with this package for its
# loss on a few words, once with the *next* tokens as targets and once with the *same* ones, as if it had to repeat what
# it reads:

# %%
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
model = minigpt2.GPT2.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("My lord, I thank you for your love to me.")])
print("V =", model.config.vocab_size)
print(f"targets moved on by one: loss {model.loss(ids[:, :-1], ids[:, 1:]):.1f}")
print(f"targets not moved:       loss {model.loss(ids[:, :-1], ids[:, :-1]):.1f}")

# %% [markdown] tags=["en"]
# It was trained for the first; the second is even above $\ln V \approx 6.9$, which section 3 will show to be the loss
# of a uniform guess, the same probability for each token. Second, the function. The package carries results of other
# implementations, and `recorded(name)` reads them. Here these are the logits that Hugging Face's GPT-2 once computed
# from some random parameters, and the cross-entropy that PyTorch computed from the logits. Ours computes the same:

# %%
reference = recorded("trace")
logits, targets = reference["activations"]["logits"], reference["inputs"]["targets"]
loss, _ = cross_entropy_forward(logits, targets, LABEL_SMOOTHING)
style.show_agreement("loss of a recorded GPT-2", relative_error(loss, reference["activations"]["loss"])[0])

# %% [markdown] tags=["en"]
# (This recording was made with some label smoothing, so that one recording tests both. Section 5 has one without.)
#
# ## 2. The idea
#
# **The loss is the surprise.** Before the next token is shown, the model spreads its belief over the vocabulary: the
# probabilities $p_v$, positive, with sum 1. Then the token is shown. If the model gave it $p = 1$, it is not surprised
# at all; if it gave it next to nothing, it is thunderstruck. The measure of surprise is $-\ln p$, where $\ln$ is the
# natural logarithm: 0 for $p = 1$, and without bound as $p$ goes to 0.
#
# Why not something simpler, such as the square of the shortfall, $(1-p)^2$? The picture has both. The left side shows
# the loss (the surprise in nats, the unit of $\ln$; the square has no unit), the right side how hard it pulls, that
# is, the size of its derivative with respect to the target's logit. (Section 3 derives the curves: $1-p$ for the
# surprise, $2p(1-p)^2$ for the square.)

# %%
p = np.linspace(1e-3, 1, 400)
figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3))
left.plot(p, -np.log(p), label=r"surprise, $-\ln\,p$ (nats)")
left.plot(p, (1 - p) ** 2, label="square, $(1-p)^2$")
left.set(xlabel="p, probability of the target", ylabel="loss", title="loss", ylim=(0, 5))
left.legend()
right.plot(p, 1 - p, label="surprise, $1-p$")
right.plot(p, 2 * p * (1 - p) ** 2, label="square, $2p(1-p)^2$")
right.set(xlabel="p, probability of the target", ylabel="|d loss / d logit of the target|")
right.set(title="size of the gradient", ylim=(0, 1.05))
right.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Two panels over the probability p of the target, from 0 to 1. Left: the surprise falls from above 5 at p near 0 to 0
# at p = 1; the square falls from 1 to 0. Right: the gradient of the surprise falls in a straight line from 1 to 0; that
# of the square is 0 at both ends and never above 0.3.

# %% [markdown] tags=["en"]
# Look at the left end of the right-hand picture. There the model is sure of something else, and wrong. The square has
# let go: its gradient is almost 0 just where there is most to learn. The surprise still pulls with full force.
#
# And why not the share of wrong guesses, which we would really like to be small? Because it does not change when a
# parameter changes by a little: its derivative is 0 nearly everywhere, and training would have nothing to follow.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### From likelihood to loss
#
# The probability of a text of tokens $x_1, x_2, \dots$ is that of its first token, times that of the second given the
# first, and so on. This is exact:
#
# $$P(x_1, x_2, \dots) = P(x_1)\,P(x_2 \mid x_1)\,P(x_3 \mid x_1, x_2)\cdots$$
#
# Seen as a function of the model's parameters this is called the **likelihood** of the text, and we want the parameters
# that make it largest. A product of hundreds of small numbers soon becomes smaller than any number that a computer can
# hold, and it is hard to differentiate. Its logarithm is a sum, and is largest where the product is. Change the sign,
# so that less is better, and divide by the number $N$ of predicted tokens, so that long and short texts can be
# compared:
#
# $$\mathrm{loss} = -\frac1N\sum_{n=1}^{N}\ln p_{n,\,\mathrm{target}_n},$$
#
# where $p_{n,v}$ is the probability that the model gave to token $v$ at position $n$. This is the mean surprise,
# nothing else.
#
# ### Nats, bits, perplexity
#
# The unit that belongs to $\ln$ is the **nat**. With the logarithm to base 2 it would be the **bit**: one bit is the
# surprise at the toss of a fair coin. As $\log_2 p = \ln p / \ln 2$, a nat is $1/\ln 2 \approx 1.44$ bits.
#
# The loss can be turned back into a probability. The **perplexity** is $e^{\mathrm{loss}}$: if a model is as surprised,
# on average, as someone who has to guess among $k$ equally likely tokens, then its loss is $-\ln\frac1k = \ln k$ and
# its perplexity is $k$. In particular, **a uniform guess, which gives all tokens the same probability $1/V$, has a loss
# of $\ln V$ and a perplexity of $V$.** That is about where training begins. A loss *above* $\ln V$ is worse than
# knowing nothing: the model is sure of things that are not true.
#
# ### Cross-entropy
#
# Write the truth at one position as a distribution as well: $q_v$ is 1 if $v$ is the target and 0 otherwise. This is
# called *one-hot*. Then the surprise is
#
# $$H(q, p) = -\sum_v q_v \ln p_v,$$
#
# the **cross-entropy** of $q$ and $p$. The formula makes sense for every $q$, and there is a reason to like it: *for
# a given $q$ it is smallest when $p = q$.* To see it we need $\ln t \le t - 1$ for all $t > 0$. The difference
# $f(t) = t - 1 - \ln t$ has the derivative $1 - \frac1t$, which is negative for $t < 1$ and positive for $t > 1$; so
# $f$ falls until $t = 1$, rises from there on, and is smallest at $t = 1$, where it is 0. Now let the sums run over
# those $v$ for which $q_v$ is not 0:
#
# $$H(q,q) - H(q,p) = \sum_v q_v \ln\frac{p_v}{q_v} \le \sum_v q_v\Bigl(\frac{p_v}{q_v} - 1\Bigr)
#   = \sum_v p_v - \sum_v q_v \le 1 - 1 = 0 .$$
#
# A model cannot win by hedging or by boasting: on average over many texts, where $q$ is how often each token really
# comes next, it does best by saying what it should believe. The remaining part, $H(q,q)$, is the **entropy** of the
# text, the uncertainty that no model can remove.
#
# ### From logits to log-probabilities, without overflow
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $z$ | `logits`, `rows` | `(..., V)`; `(N, V)` | the model's scores |
# | $\mathrm{target}$ | `targets` | `(...)`; `(N,)` | ids of the tokens that came |
# | $p$ | `p` | `(N, V)` | probabilities |
# | $q$ | `q` on the first page; not made in the component | `(N, V)` | the target distribution |
# | $\ln\sum_u e^{z_u}$ | `log_sum_exp` | `(N,)` | one number for each position |
# | $N_c$ | `counted.sum()` | one number | positions that count, see below |
# | $e$ | `label_smoothing` | one number | 0 here, except in two recordings; see notebook 2.5.7 |
#
# (Only $e$ by itself is the smoothing; $e$ with an exponent is Euler's number, as always.)
#
# The positions of all texts are in one long list; from here on, let us look at one of them. The **softmax** turns
# scores into probabilities,
#
# $$p_v = \frac{e^{z_v}}{\sum_u e^{z_u}}, \qquad\text{and so}\qquad \ln p_v = z_v - \ln\sum_u e^{z_u}.$$
#
# A computer must not follow the formula to the letter. $e^{1000}$ is more than a floating-point number can hold, and
# the logarithm of a $p$ that was rounded to 0 is minus infinity. There are two remedies, both exact. Subtract the
# highest score $z_{\max}$ first,
#
# $$\ln\sum_u e^{z_u} = z_{\max} + \ln\sum_u e^{z_u - z_{\max}},$$
#
# so that no exponent is above 0 and one of them is 0: the sum lies between 1 and $V$. And never take the logarithm of
# $p$, but subtract, as the formula for $\ln p_v$ does. The loss of the position is
# $\ln\sum_u e^{z_u} - z_{\mathrm{target}}$.
#
# ### Backward
#
# As everywhere in this book, for any number $z$ in the model, $dz$ is short for the derivative of the loss with respect
# to it. We are given $d\mathrm{loss}$, which is 1 when we minimise the loss itself, and want $dz_v$ for each logit.
# (R1, R2 ... are the rules of backward passes in notebook [2.0](2_0_toolbox.ipynb).)
#
# **Step 1: the logarithm of the sum.** The chain rule, with $1/t$ for the derivative of $\ln t$. Only the term $u = v$
# contains $z_v$:
#
# $$\frac{\partial}{\partial z_v}\ln\sum_u e^{z_u} = \frac{1}{\sum_u e^{z_u}}\cdot e^{z_v} = p_v .$$
#
# **Step 2: the log-probabilities.** With $\delta_{uv}$ for 1 if $u = v$ and 0 otherwise,
#
# $$\frac{\partial \ln p_u}{\partial z_v} = \delta_{uv} - p_v .$$
#
# These $V \times V$ numbers are the *Jacobian* of the log-probabilities. (From it follows
# $\partial p_u/\partial z_v = p_u(\delta_{uv}-p_v)$, because $p_u = e^{\ln p_u}$; as a matrix this is
# $\mathrm{diag}(p) - p\,p^\mathsf{T}$, the Jacobian of the softmax, rule R7. With $u = v = \mathrm{target}$ we have
# the curves in section 2: the surprise has the derivative $-(1-p)$, and the square $(1-p)^2$ has
# $-2(1-p)\cdot p(1-p)$.)
#
# **Step 3: the cross-entropy.** The Jacobian is multiplied from the left by the derivatives $-q_u$ of the
# cross-entropy, a *vector-Jacobian product*, and need not be made. Sum over $u$; the $q_u$ add up to 1:
#
# $$\frac{\partial}{\partial z_v}\Bigl(-\sum_u q_u\ln p_u\Bigr) = -\sum_u q_u(\delta_{uv}-p_v)
#   = -q_v + p_v\sum_u q_u = p_v - q_v .$$
#
# **Step 4: the mean.** Each of the $N_c$ positions has a share of $1/N_c$ in it (R1):
#
# $$dz_v = d\mathrm{loss}\cdot\frac{p_v - q_v}{N_c}.$$
#
# *Predicted minus wanted.* Training goes against the gradient. So it pushes the target's logit up ($p-1$ is negative)
# and all others down, each by as much as it was believed. At each position the pushes add up to 0, because $p$ and $q$
# have the same sum.
#
# **Targets that do not count.** Sometimes there is nothing to predict: padding after a short text, or all positions but
# the masked ones (notebook 3.1). Their target is set to $-100$, which is not the number of a token. They are left out
# of the mean, both of the sum and of the count $N_c$, and their gradient is 0.

# %% [markdown] tags=["en"]
# ## 4. The code
#
# First the bare formulas, from the page of the package that has the whole of GPT-2. They serve label smoothing too
# (2.5.7); without it, `q` is 1 at the target and 0 elsewhere. `counted` marks the positions that have a target.

# %%
style.show_plain("cross_entropy")

# %% [markdown] tags=["en"]
# Now the library's own code. There is an `e` for the smoothing; with `e = 0` its terms disappear. The page above makes
# five arrays of $V$ numbers per token, with GPT-2's vocabulary a megabyte for each token. Here the probabilities are
# never stored, which makes the pair five times as fast (512 tokens of GPT-2, on two cores of an Intel Xeon,
# `python tests/benchmarks page-cross_entropy`): forward keeps `log_sum_exp`, one number for each position, and backward
# computes $p$ again from it. `in_parallel` hands a few rows at a time to the processor's cores, which is faster, and
# changes no number. `check_targets` refuses targets that are not tokens, and `masked_mean(losses, counted)` is
# `losses[counted].mean()`.

# %%
style.show_source(cross_entropy_forward, cross_entropy_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# Take a vocabulary of three tokens and logits $\ln 1, \ln 2, \ln 5$ at each of three positions. The exponentials are 1,
# 2 and 5, with the sum 8. The targets are token 2, token 0, and none.

# %%
logits = np.log([[1.0, 2, 5]] * 3)
targets = np.array([2, 0, -100])
loss, cache = cross_entropy_forward(logits, targets)
dlogits = cross_entropy_backward(1.0, cache)


def show(name, array):
    """Print an array as fractions, a row on a line."""
    for row in np.atleast_2d(array):
        print(f"{name:12}", *(f"{Fraction(float(v)).limit_denominator(100)!s:>6}" for v in row))
        name = ""


show("p", np.exp(logits - cache["log_sum_exp"][:, None])[0])
show("dlogits", dlogits)
print(f"loss {loss:.4f},  by hand {(math.log(8 / 5) + math.log(8 / 1)) / 2:.4f}")

# %% [markdown] tags=["en"]
# Position one: the target had $p = 5/8$, the surprise is $\ln\frac85$. Position two: $p = 1/8$, surprise $\ln 8$. The
# third does not count, so we divide by 2. The first row of `dlogits` is
# $\tfrac12\,(\tfrac18 - 0,\ \tfrac14 - 0,\ \tfrac58 - 1)$, and each row adds up to 0.
#
# The same as a graph, the values above each edge, the gradients below it; a dot stands where there is no number. Read
# the gradients from right to left.

# %%
counted, one_hot = (targets >= 0)[:, None], np.eye(3)[targets.clip(0)]
log_sum_exp = np.log(np.exp(logits).sum(axis=1, keepdims=True))
share = np.where(counted, 1 / counted.sum(), 0.0)  # of each position in the mean
at_target = np.where(counted, (one_hot * logits).sum(axis=1, keepdims=True), np.nan)
graphs.draw(
    {"logits": (0, 0.5), "•": (1, 0.5), "ln Σ exp": (2, 0), "at target": (2, 1), "−": (3, 0.5), "mean": (4, 0.5),
     "loss": (5, 0.5)},
    [("logits", "•", logits, dlogits, "z"),
     ("•", "ln Σ exp", None, share * np.exp(logits - log_sum_exp)),
     ("•", "at target", None, -share * one_hot),
     ("ln Σ exp", "−", log_sum_exp, share),
     ("at target", "−", at_target, -share),
     ("−", "mean", log_sum_exp - at_target, share),
     ("mean", "loss", loss, 1.0)],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# A graph from the 3 by 3 logits to the loss 1.27. The logits go two ways, into the logarithm of the sum of the
# exponentials and into the choice of the target's logit; the difference of the two is averaged. Below the edges stand
# the gradients: 1/2, 1/2, 0 for the three positions, then p/2 on the upper way and -1/2 at the targets on the lower
# one. Their sum is the gradient of the logits.

# %% [markdown] tags=["en"]
# The mean gives each counted position $\tfrac12$ (R1). The upper way multiplies that by the softmax (step 1): the rows
# $\tfrac12 p$. The lower way picked one number from each row, so it gives the gradient back at that place, with the
# minus sign of the difference (R5, gather and scatter). The logits were used twice, so the two gradients add up (R6):
# $\tfrac12(p-q)$.
#
# And the overflow. With these logits $e^{1000}$ is infinite, in the numerator and in the denominator. (`errstate` keeps
# NumPy from complaining.)

# %%
extreme, target = np.array([[1000.0, 0, -1000]]), np.array([1])
with np.errstate(all="ignore"):
    p = np.exp(extreme) / np.exp(extreme).sum()
    print("by the letter:   p =", p[0], "  loss =", -np.log(p[0, target[0]]))
loss, cache = cross_entropy_forward(extreme, target)
print("by the library:  loss =", loss, "  dlogits =", cross_entropy_backward(1.0, cache)[0])

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# **Against the definition of a derivative.** `gradient_check` (notebook [2.0](2_0_toolbox.ipynb)) compares `dlogits`
# with difference quotients of the loss. One target in three does not count.

# %%
rng = np.random.default_rng(0)
targets = rng.integers(0, 7, (2, 6))
targets.flat[::3] = -100
inputs = {"logits": rng.normal(size=(2, 6, 7)), "targets": targets}
style.show_check(minigpt2.gradient_check(cross_entropy_forward, cross_entropy_backward, inputs))

# %% [markdown] tags=["en"]
# Now a common mistake: dividing by the number of *all* positions instead of those that count. The direction is right,
# so a model would learn; every gradient is just too small, by a factor that differs between batches.


# %%
def diluted_backward(dloss, cache):
    """The gradient, divided by the number of all positions."""
    counted = cache["counted"]
    return cross_entropy_backward(dloss, cache) * (counted.sum() / counted.size)


style.show_check(minigpt2.gradient_check(cross_entropy_forward, diluted_backward, inputs))

# %% [markdown] tags=["en"]
# **Against another implementation.** The package carries the results of PyTorch's `cross_entropy` in 64-bit floating
# point, without and with smoothing (the second also has targets that do not count), and the gradients of its autograd.
# `CASES[name].options` are the options with which each was recorded.

# %%
for name in ("cross_entropy", "cross_entropy_smoothed"):
    reference = recorded(name)
    loss, cache = cross_entropy_forward(**reference["inputs"], **CASES[name].options)
    dlogits = cross_entropy_backward(reference["dy"], cache)
    error, _ = relative_error(
        {"y": loss, "logits": dlogits}, {"y": reference["y"], "logits": reference["gradients"]["logits"]}
    )
    style.show_agreement(f"{name}: loss and dlogits", error)

# %% [markdown] tags=["en"]
# ## 6. What is the loss made of?
#
# Numbers such as "loss 3.5" mean little until one has looked inside. We write a scene that the built-in model cannot
# have read, and look.

# %%
SCENE = """\
First Gardener:
Good morrow, sir. How fares the garden now?

Second Gardener:
Alas, the frost hath come before his time,
And all the roses that we set in spring
Hang down their heads, like men that fear the king.

First Gardener:
Then must we weep, and make our tears the rain.
Hath any flower lived to see the day?

Second Gardener:
But one, my lord, a little yellow thing
That grew beneath the shadow of the wall.
The wind did pass it by, and so it stands,
And knows not that its brothers all are dead.

First Gardener:
O happy ignorance! I would I were
As little as that flower, and as blind;
For he that sees the most shall mourn the most,
And he that stands the highest, soonest falls.

Second Gardener:
What, shall I dig it up, and bring it in?

First Gardener:
No, let it be. Give me thy hand, good friend.
We two have dug this earth for twenty years;
The frost hath come before, and come again,
And yet the summer never broke her word.

Second Gardener:
I thank you, sir. I'll fetch the spade and go,
And sweep the snow from off the garden gate.

First Gardener:
Farewell, and if thou see the gentle lady,
Tell her the yellow flower is for her.
"""

# %%
ids = np.array(tokenizer.encode(SCENE))
result = evaluate(model, tokenizer, SCENE)
print(f"{result.tokens} tokens predicted, {result.characters} characters")
print(f"loss        {result.loss:6.2f} nats per token = {result.loss / math.log(2):.2f} bits per token")
print(f"perplexity  {result.perplexity:6.1f}")
print(f"            {result.bits_per_character:6.2f} bits per character")

# %% [markdown] tags=["en"]
# The perplexity says: it is as hard as choosing among so many equally likely tokens, out of $V$. The last line is a
# promise that can be kept. With a model and a method called *arithmetic coding* the text could be stored in that many
# bits per character, where a plain file takes 8 (Witten, Neal & Cleary 1987, "Arithmetic Coding for Data Compression").
# To read it again, one needs the same model, and the first token, which nobody predicted: it has to be stored as it is,
# in $\log_2 V = 10$ bits, for the whole text 0.01 bits per character.
#
# ### Can a model do worse than knowing nothing?
#
# A model of the same shape with fresh random parameters should have a loss near $\ln V$. And what happens if we take
# the trained model's logits and multiply all of them by a factor? With 0 they are all equal: a uniform guess. With a
# large factor it becomes more and more certain of its favourites.

# %%
new = minigpt2.GPT2(model.config, seed=0)
x, y = ids[None, :256], ids[None, 1:257]
logits, _ = model.forward(x)
logits = logits.astype(np.float64)
ln_v = math.log(model.config.vocab_size)
print(f"ln V                  {ln_v:.2f}")
print(f"a new model           {new.loss(x, y):.2f}")
print(f"the trained model     {model.loss(x, y):.2f}")
factors = np.linspace(0, 4, 33)
losses = [float(cross_entropy_forward(factor * logits, y)[0]) for factor in factors]
crossing = factors[np.argmax((factors > 1) & (np.array(losses) > ln_v))]
print(f"the trained model with logits times {crossing:.1f}: {losses[np.argmax(factors == crossing)]:.2f}")

figure, axes = plt.subplots(figsize=(6.2, 3))
axes.plot(factors, losses)
axes.axhline(ln_v, color="0.6", lw=1, ls=":")
axes.text(1, ln_v + 0.1, r"$\ln V$, uniform guess", color="0.4")
axes.plot(1, losses[8], "o", color=style.ORANGE)
axes.annotate("as trained", (1, losses[8]), (1.05, losses[8] - 0.75), color=style.ORANGE_TEXT)
axes.set(xlabel="factor on all logits", ylabel="loss (nats per token)", ylim=(2, 9))
plt.show()

# %% [markdown] tags=["en", "alt"]
# The loss of the trained model over the factor on its logits. It begins at ln V = 6.9 for factor 0, is lowest, about
# 3.5, a little to the left of factor 1, which is marked, and rises again. It crosses the dotted line at ln V between 3
# and 3.5 and reaches about 8 at factor 4.

# %% [markdown] tags=["en"]
# The factor does not change which token the model likes best, so the share of right guesses is the same all along the
# curve (except at 0). The loss is not: it punishes unearned certainty, and far enough to the right the trained model
# fares worse than a uniform guess. The trained model, at factor 1, sits close to the bottom of the valley. Nobody told
# it to. But the cross-entropy rewards it, as section 3 has shown, for saying what it should believe. (Exactly at the
# bottom it is not: question 4.)
#
# ### How much does context help?
#
# We let the model predict the same tokens again and again, each time with more of the text before them in sight: 1
# token, 2, 4, and so on. The targets are always the same, all but the first 65. The windows of text stand where texts
# begin, at position 0; so the place at which a target is predicted moves with the length of the window. Is it the
# context that we measure, or the place? As a control, the same windows once more, but moved so that each of them ends
# at position 63. (The rows of `wpe`, the table of positions, are moved in a copy of the model; notebook 2.5.2.)


# %%
def token_losses(logits, targets):
    """The loss of every single position, in nats; logits (N, V), targets (N,)."""
    rows = zip(logits[:, None], targets[:, None], strict=True)
    return np.array([float(cross_entropy_forward(z, t)[0]) for z, t in rows])


def predict(model, context):
    """The loss of each predicted token when ``context`` tokens before it are in sight."""
    windows = ids[predicted[:, None] - context + np.arange(context)]
    # The logits at the last position of each window, the only ones that we need, for some windows at a time; with
    # keep=False the model does not keep what only the backward pass would need.
    last = [model.forward(some, positions=slice(-1, None), keep=False)[0][:, 0] for some in np.array_split(windows, 8)]
    return token_losses(np.concatenate(last), ids[predicted])


predicted = np.arange(65, len(ids))
contexts, nats, moved = [1, 2, 4, 8, 16, 32, 64], {}, {}
table, shifted = model.params["wpe"]["weight"], minigpt2.GPT2.from_pretrained("shakespeare")
for context in contexts:
    nats[context] = predict(model, context)
    shifted.params["wpe"]["weight"][:context] = table[64 - context : 64]
    moved[context] = predict(shifted, context)
    print(f"{context:2} in sight: {nats[context].mean():.2f} nats, ending at position 63: {moved[context].mean():.2f}")

figure, axes = plt.subplots(figsize=(5.6, 2.9))
axes.plot(contexts, [nats[context].mean() for context in contexts], marker="o", label="beginning at position 0")
axes.plot(contexts, [moved[context].mean() for context in contexts], marker="s", label="ending at position 63")
axes.set_xscale("log", base=2)
axes.set_xticks(contexts, contexts)
axes.set(xlabel="tokens in sight", ylabel="loss (nats per token)", ylim=(3, 5.2))
axes.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# The loss over the number of tokens in sight, 1 to 64. Windows that begin at position 0: from 4.0 down to 3.5 at 16
# tokens, then level. The same windows ending at position 63: from 5.0 down to 3.5, still falling at 64.

# %% [markdown] tags=["en"]
# The two curves are far apart: **the place counts as well as the context.** A token at position 63 always had 63 tokens
# before it in training. With one, the model is in a situation that it never met, and does worse than with the same
# token at position 0, where it is at home. So the lower curve is the one that says what this model can make of a short
# context. There **the first tokens are worth the most**: from one to four the loss falls by 0.4, then slowly, and
# beyond sixteen not at all. On this text the model lives on the last few words, although it could look back over 256
# tokens. (GPT-2 as released can look back over 1,024.) The upper curve tells something else: how many tokens it takes
# until the model behaves as it was trained to.

# %% [markdown] tags=["en"]
# And **which tokens cost the most?** With 64 tokens in sight, we sort the predicted tokens by kind: *line end*,
# *speaker* (all the tokens of a speaker's name and its colon), *punctuation*, *word start*, *word rest*. Tokens are
# pieces, so a word may be one of them or several.


# %%
def kind(i):
    """The kind of the i-th token of the scene."""
    before, piece = tokenizer.decode(ids[:i]), tokenizer.decode([ids[i]])
    line = SCENE[before.rfind("\n") + 1 :].split("\n")[0]  # the whole line in which it stands
    if piece == "\n":
        return "line end"
    if line.endswith(":"):
        return "speaker"
    if not re.search(r"\w", piece):
        return "punctuation"
    return "word start" if piece[0] == " " or before.endswith("\n") else "word rest"


kinds = np.array([kind(i) for i in predicted])
names = sorted(set(kinds), key=lambda name: nats[64][kinds == name].mean())
means = [nats[64][kinds == name].mean() for name in names]
shares = [nats[64][kinds == name].sum() / nats[64].sum() for name in names]
print(f"{'':18}{'tokens':>7}{'nats each':>11}{'share of the loss':>20}")
for name, mean, share in zip(names, means, shares, strict=True):
    print(f"{name:18}{(kinds == name).sum():7}{mean:11.1f}{share:20.2f}")

figure, axes = plt.subplots(figsize=(5.6, 2.2))
axes.barh(names, means, color=style.BLUE)
axes.grid(axis="y", visible=False)
axes.set(xlabel="loss (nats per token)")
plt.show()

# %% [markdown] tags=["en", "alt"]
# Five bars, the mean loss of each kind of token: line end 0.3, punctuation 2.6, word rest 2.8, speaker 3.2, word start
# 4.8 nats.

# %% [markdown] tags=["en"]
# **The beginnings of words make up most of the loss.** The end of a line is hardly a surprise (blank lines and the ends
# of names are among them), and the rest of a word is easier than its beginning. The hard part is one that a person
# would find hard too: which word it will be. A loss is a mean over very different things, and two models with the same
# loss may be good at different ones.
#
# One more look, at the two most expensive tokens and at one that returns. A gardener is announced again and again.
# Does the model get used to it? This time it sees all the text before, as far as its 256 positions go, and we count how
# often the word stands there. Two more columns are a control: every gardener in sight is turned into a servant, or into
# a citizen, and only the one to be predicted remains.

# %%
for i in predicted[np.argsort(-nats[64])[:2]]:
    text = tokenizer.decode(ids[i - 4 : i])
    print(f"{nats[64][i - 65]:5.1f} nats for {tokenizer.decode([ids[i]])!r} after {text!r}")
in_sight = ("Gardener", "Servant", "Citizen")
print("nats for the 'ard' of 'Gardener'\nin sight:" + "".join(f"{word:>10}" for word in in_sight))
for i in range(1, len(ids)):
    if tokenizer.decode(ids[i - 1 : i + 1]) == " Gard":
        costs = []
        for word in in_sight:
            seen = np.array(tokenizer.encode(tokenizer.decode(ids[:i]).replace("Gardener", word))[-256:])
            last, _ = model.forward(seen[None], positions=slice(-1, None), keep=False)
            costs.append(token_losses(last[:, 0], ids[i : i + 1])[0])
        count = tokenizer.decode(ids[max(0, i - 256) : i]).count("Gardener")
        print(f"{count:9}" + "".join(f"{cost:10.1f}" for cost in costs))

# %% [markdown] tags=["en"]
# It does not: with four and five gardeners in sight the word is *more* surprising than the first time. That is not the
# gardeners' doing. Without them it is about as surprising (servants) or a little less (citizens); the first time is
# cheap because hardly any text stands before it. To copy a word from the context is something that models learn, and
# not only large ones: Olsson et al. 2022, "In-context Learning and Induction Heads", find it in models with only two
# layers, after a few billion tokens of training (figure 3). Ours has four layers, but read 12 million tokens (4,000
# steps of 12 texts of 256). So the number of its layers is not the reason. Notebook [2.5.3](2_5_3_attention.ipynb)
# looks for heads that would copy.
#
# And even the most expensive token had some probability, or its surprise would have been infinite. A softmax never
# gives exactly 0, except by rounding.
#
# The experiment is limited: it is one scene of a few hundred tokens, written for this notebook in imitation of the
# plays that the model knows. Other verses would give other numbers, and perhaps another order of the bars.

# %% [markdown] tags=["en"]
# ### The released GPT-2
#
# What does the loss of the real one look like? Its weights, half a gigabyte, are not carried by this package, but
# others have published what it answers. The tests of EleutherAI's *lm-evaluation-harness* (version 0.3.0,
# `tests/test_models.py`) state the log-probability that the smallest released GPT-2 gives to each token of one
# sentence: once with all of the sentence in sight, the first token being predicted from `<|endoftext|>`, and once in
# blocks of five, where the first token of a block sees only the one before it, and the fifth sees five. (The last block
# is filled up to five with tokens that have had their turn.) The package carries these numbers (`TOKEN_LOG_PROBS`), and
# the vocabulary is GPT-2's own.

# %%
released = style.released_tokenizer()
pieces = [released.decode([i]) for i in released.encode(TOKEN_TEXT)]
whole, blocks = (-np.array(TOKEN_LOG_PROBS[window]) for window in (1024, 5))
print(f"{'token':14} {'surprise':>8} {'in blocks of 5':>15}")
for piece, one, two in zip(pieces, whole, blocks, strict=True):
    print(f"{piece!r:14} {one:8.1f} {two:15.1f}")
print(f"{'loss':14} {whole.mean():8.2f} {blocks.mean():15.2f}")
print(f"perplexity {math.exp(whole.mean()):.0f}; uniform guess: loss {math.log(len(released)):.2f}")
print(f"bits per character {whole.sum() / math.log(2) / len(TOKEN_TEXT):.2f}")

# %% [markdown] tags=["en"]
# The sentence opens a paper on language models that is younger than the model (Kaplan et al. 2020). *scaling*, *laws*
# and *loss* are expensive. After *cross* the model is almost sure of the hyphen, and after *-ent* of *ropy*; but that
# "cross-" goes on with *ent* costs 5.1 nats, a probability of 0.6 percent. With at most five tokens in sight the whole
# is dearer, 6.48 nats against 5.59, above all *model*, which then sees only " laws for language", and *performance*.
# But not every token is: *loss* and the full stop (in the last block, which begins to read at *cross*) are cheaper with
# less in sight. A perplexity of 267 is high for GPT-2, and one sentence says little about a model. On whole corpora,
# without any training on them, the paper reports 37.50 on WikiText-103 and 65.85 on the Penn Treebank for the smallest
# model (Radford et al. 2019, table 3), and these are perplexities per word, which are higher than those per token.
#
# If the weights are on this machine, the next cell compares the published numbers with its own.

# %%
if gpt2 := style.released_model():
    sentence = np.array([released.eos_id, *released.encode(TOKEN_TEXT)])
    logits, _ = gpt2.forward(sentence[None, :-1], keep=False)
    error, _ = relative_error(token_losses(logits[0].astype(np.float64), sentence[1:]), whole)
    style.show_agreement("surprise of each token, as published", error, tolerance=1e-3)

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. A model gives the right token the probability 1/2 at every position. What are its loss in nats and in bits, and its
#    perplexity? *Hint: a coin.*
#
#    <details><summary>Answer</summary>
#
#    The loss is $-\ln\frac12 = \ln 2 = 0.693$ nats, which is exactly 1 bit, and the perplexity is $e^{\ln 2} = 2$. It
#    does not matter how the model spreads the other half.
#
#    </details>
#
# 2. Add the same number to all logits of one position. What happens to the loss, and which property of `dlogits`
#    expresses the same fact? *Hint: the sum of a row.*
#
#    <details><summary>Answer</summary>
#
#    Nothing happens: with $z_v + c$ for $z_v$, $\ln\sum_u e^{z_u}$ grows by $c$ and $z_{\mathrm{target}}$ does too, and
#    the loss is their difference. So its derivative with respect to $c$ is 0. By the chain rule this derivative is
#    $\sum_v dz_v$: each row of `dlogits` adds up to 0, as $\sum_v p_v - \sum_v q_v = 1 - 1$ says.
#
#    </details>
#
# 3. A model with a vocabulary of 50,257 tokens and one with 256 both report a loss of 3 nats per token. Which of the
#    two knows more about the text, and in what unit should they have reported it? *Hint: `Evaluation` has
#    `loss_per_character`.*
#
#    <details><summary>Answer</summary>
#
#    The one with the large vocabulary: its tokens are longer, so it pays 3 nats for more text. A vocabulary of 256 is
#    one of bytes, and 3 nats per byte are 4.3 bits of the 8 that a byte has. GPT-2's vocabulary cuts the scene of
#    section 6, 1,153 characters, into 326 tokens, 3.5 characters each; with them the 3 nats are 0.85 per character, or
#    1.2 bits. They should have reported nats or bits per character (or per byte), which do not depend on how the text
#    was cut.
#
#    </details>
#
# 4. In the experiment with the factor, find the factor at which the loss is smallest, to two decimals. Is the model too
#    sure of itself on this scene, or not sure enough? Predict the answer for lines that it was trained on, and for
#    a page of modern English, then try. *Hint: `np.linspace(0.5, 1.5, 101)`.*
#
#    <details><summary>Answer</summary>
#
#    0.88, with a loss of 3.52 instead of 3.55: a little too sure of itself. On the first 140 tokens of tiny Shakespeare
#    ("Before we proceed any further, hear me speak ..."), which it was trained on, the best factor is 0.95, on twelve
#    random windows of its training text 0.98. On "The train to the airport leaves every twenty minutes. You can buy a
#    ticket from the machine on the platform, or pay with your phone. The journey takes about half an hour." it is 0.68,
#    with 4.31 instead of 4.64: the further a text is from those of the training, the less its certainty is earned.
#    (Other lines give other numbers.)
#
#    </details>
#
# 5. Draw the curve of loss against context for each kind of token separately. For which kind does context help most?
#    *Hint: `nats[context][kinds == name].mean()`; nothing has to be computed again.*
#
#    <details><summary>Answer</summary>
#
#    From 1 token to 64 the *word rest* falls from 3.58 to 2.76, the *speaker* from 3.88 to 3.17, *punctuation* and
#    *line end* by 0.5 each (3.11 to 2.59, 0.77 to 0.26), *word start* only from 5.11 to 4.79. So the rest of words
#    gains most, and nearly all of it from the second token (2.86): a piece in the middle of a word needs the piece
#    before it. The speaker goes on gaining up to 64 tokens. The line end gains most as a share: two thirds of its loss.
#
#    </details>
#
# The loss says how wrong the model is, its gradient which way is better; how far to go, and how fast, is next.
#
# **Next:** [2.5.9, the optimizer](2_5_9_optimizer.ipynb)
