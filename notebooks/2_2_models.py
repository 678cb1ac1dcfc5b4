# %% [markdown] tags=["en"]
# # 2.2 模型 · Models
#
# A model is a function with numbers inside that can be adjusted. Training adjusts them until the function does well on
# examples. Whether it does well on *other* examples is another question, and the more important one. In this notebook
# you train a line with a pencil, a GPT with the library, and you watch that GPT learn a text by heart instead of
# learning the language. For once we can tell for certain, because we know the truth that it ought to find.
#
# You need Python, NumPy and derivatives from school. The words:
#
# - A **parameter** is a number inside the model that training may change, a weight for instance.
# - The **loss** is one number that says how bad the predictions are. Its derivative with respect to a parameter is
#   the **gradient** there: for any number $z$ in the model, $dz$ is short for $\partial\,\mathrm{loss}/\partial z$.
# - **Training data** are the examples that the parameters are fitted to, **validation data** those that were set aside.
# - To **generalise** is to do well on data that were set aside. To **overfit** is to do well only on the others.
#
# **Exercise:** none of its own; the nearest is [9, AdamW](../exercises/student/09_adamw.ipynb)

# %%
import sys
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.char_tokenizer import CharTokenizer
from minigpt2.components.feed_forward import gelu_forward
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.data import random_windows
from minigpt2.model import gpt2_forward

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document says: "深度学习模型是一个函数", a model is a function from inputs to predictions. It is made of neurons,
# each of which "根据一定的权重加权求和，再经过激活函数处理", adds up its inputs with certain weights and sends the sum
# through an activation function, and together they form "复杂的决策边界", a complex decision boundary. Training updates
# the parameters step by step so that a loss becomes small and the model "能够拟合训练数据集上的真实分布", can fit the
# true distribution of the training data. A model that fits training data and test data well has learned to generalise.
#
# All of this can be seen in a GPT-2. First, it *is* a function, of the tokens and of the parameters, and nothing else.
# Second, here is one of its neurons, computed by hand: neuron 7 in the feed-forward network (2.5.4) of the first block,
# at the last token of a line. (`minigpt2.trace` returns all that the model computes on the way, by name.)

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("What light through yonder window breaks?")])

once, _ = gpt2_forward(ids, model.params, model.config)
again, _ = gpt2_forward(ids, model.params, model.config)
print("same result twice:", np.array_equal(once, again))

activations = minigpt2.trace(model, ids)
inputs = activations["h.0.ln_2"][0, -1]  # (C,)
weights = model.params["h"][0]["mlp"]["c_fc"]["weight"][:, 7]  # (C,)
bias = model.params["h"][0]["mlp"]["c_fc"]["bias"][7]
total = sum(x * w for x, w in zip(inputs, weights, strict=True)) + bias
neuron, _ = gelu_forward(np.array([total]))
print(f"by hand {neuron[0]:.4f}, in the model {activations['h.0.mlp.gelu'][0, -1, 7]:.4f}")

# %% [markdown] tags=["en"]
# Four things are missing or not quite right.
#
# 1. **Not everything is such a neuron.** Attention (2.5.3) also forms weighted sums, but its weights are not
#    parameters: they are computed from the text, afresh for each text. The cell below shows it: the third token is the
#    same in three texts, only the first one is another, and the weights of the third change, while no parameter does.
# 2. **The output is not a decision boundary.** GPT-2 puts out a score for every token, which becomes a probability.
# 3. **Nobody can fit the true distribution of the data.** There is only a sample of it. That makes section 6
#    interesting.
# 4. **A test that was used for choosing is no test.** If you try ten models and keep the one that does best on the
#    validation data, its loss there is a little too good. So there ought to be a third part that is looked at only
#    once. (The card of the built-in model says so about its own figure: `minigpt2/pretrained/shakespeare/README.md`.)
#
# And GPT-2 itself? It had so much text that it never reached overfitting: all four sizes *underfit* their training
# data, and their loss would have gone on falling with more training (Radford et al. 2019, section 3).

# %%
for line in ("What light", "That light", "The light"):
    text_ids = tokenizer.encode(line)
    _, cache = model.forward([text_ids])
    weights = cache["h"][0]["attn"]["probs"][0, 0, 2]  # block 0, head 0: how token 2 weighs tokens 0, 1, 2
    print([tokenizer.decode([i]) for i in text_ids], *(f"{w:.3f}" for w in weights))

# %% [markdown] tags=["en"]
# ## 2. The idea
#
# Take the simplest picture there is: points in a plane, and a curve that should run through them. The points were made
# from a known curve (dotted) with random noise on top. The model is a polynomial, and its parameters are its
# coefficients. Filled points are for training. The open ones are for validation; no fit has seen them. What happens
# with 2, with 4 and with 12 coefficients?

# %%
rng = np.random.default_rng(1)


def truth(x):
    return np.sin(2.5 * x)


noise = 0.2
x_train, x_valid = np.linspace(-1, 1, 12), np.linspace(-0.95, 0.95, 40)
y_train, y_valid = (truth(x) + noise * rng.standard_normal(x.size) for x in (x_train, x_valid))

figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.1), sharey=True)
grid = np.linspace(-1, 1, 300)
print(f"mean square of the error; that of the noise is {noise**2:.2f} on average")
print(f"{'parameters':>10} {'training':>10} {'validation':>10}")
for axis, parameters in zip(axes, (2, 4, 12), strict=True):
    curve = np.polynomial.Polynomial.fit(x_train, y_train, parameters - 1)
    losses = [np.mean((curve(x) - y) ** 2) for x, y in ((x_train, y_train), (x_valid, y_valid))]
    print(f"{parameters:10} {losses[0]:10.2f} {losses[1]:10.2f}")
    axis.plot(grid, truth(grid), color="0.4", ls=":", lw=1.2, label="truth")
    axis.plot(grid, curve(grid), color=style.BLUE, ls="-", label="fit")
    axis.plot(x_train, y_train, "o", color=style.BLUE, ms=5, ls="", label="training")
    axis.plot(x_valid, y_valid, "o", color=style.ORANGE, ms=4, mfc="none", ls="", label="validation")
    axis.set(title=f"{parameters} parameters", xlabel="x", ylim=(-2, 2))
losses = [np.mean((truth(x) - y) ** 2) for x, y in ((x_train, y_train), (x_valid, y_valid))]  # the noise alone
print(f"{'truth':>10} {losses[0]:10.2f} {losses[1]:10.2f}")
axes[0].set_ylabel("y")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Three fits to the same twelve filled training points, with open validation points and the dotted true curve. With two
# parameters: a straight line that misses the bend at both ends. With four: close to the dotted curve. With twelve: a
# curve through every filled point, which swings far above and below the open ones at the two ends.

# %% [markdown] tags=["en"]
# Two parameters are too stiff, four about right. Twelve parameters meet twelve points exactly: the training loss is
# zero. Such a curve has learned the *noise*, which will be different next time, and between the points it goes astray.
# The curve with four parameters does not even try: its losses are about those of the true curve in the last row, which
# are the noise in these points and nothing else. **A training loss far below the noise is the sign that something was
# learned by heart.** Keep that in mind for the end.
#
# ## 3. The mathematics
#
# ### Training
#
# Write $f(x;\theta)$ for a model, $\theta$ for all its parameters together, and $(x_n, y_n)$, $n = 1 \dots N$, for the
# examples. The training loss is the mean over the examples, and *gradient descent* moves every parameter a little
# against its gradient; lr is the *learning rate*:
#
# $$\mathrm{loss}(\theta) = \frac1N\sum_n \ell\bigl(f(x_n;\theta),\,y_n\bigr), \qquad
#   \theta \leftarrow \theta - \mathrm{lr}\cdot d\theta .$$
#
# Take the smallest model there is, a neuron without activation, and the square for $\ell$:
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `x` | `(N, 1)` | inputs |
# | $t$ | `t` | `(N, 1)` | targets |
# | $w$, $b$ | `weight`, `bias` | `(1, 1)`, `(1,)` | parameters |
# | $y = xw + b$ | `y` | `(N, 1)` | predictions |
#
# **Step 1: the loss.** $\mathrm{loss} = \frac1N\sum_n (y_n-t_n)^2$; only one term contains $y_n$, and the
# derivative of $z^2$ is $2z$:
#
# $$dy_n = \frac2N\,(y_n - t_n).$$
#
# **Step 2: the neuron.** $y_n = x_n w + b$, so $\partial y_n/\partial w = x_n$ and $\partial y_n/\partial b = 1$. Both
# parameters act through every example, so we sum (rules R2 and R1 of [2.0](2_0_toolbox.ipynb)):
#
# $$dw = \sum_n x_n\,dy_n, \qquad db = \sum_n dy_n .$$

# %% [markdown] tags=["en"]
# ## 4. The code
#
# The neuron is the library's linear layer, whose source is in 2.1, with a single input and a single output.
#
# ### By hand
#
# Three examples, $(0, 1)$, $(1, 3)$ and $(2, 5)$, which lie on the line $2x + 1$. We begin with $w = b = 0$ and take
# one step with lr = 1/10.


# %%
def square_forward(x, weight, bias, t):
    """Mean square of the error of a linear layer, and the cache for ``square_backward``."""
    y, linear = linear_forward(x, weight, bias)
    return np.mean((y - t) ** 2), {"y": y, "t": t, "linear": linear}


def square_backward(dloss, cache):
    """dx, dweight, dbias and dt."""
    y, t = cache["y"], cache["t"]
    dy = dloss * 2 / y.size * (y - t)
    return *linear_backward(dy, cache["linear"]), -dy


x, t = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]])
weight, bias = np.zeros((1, 1)), np.zeros(1)
loss, cache = square_forward(x, weight, bias, t)
_, dweight, dbias, _ = square_backward(1.0, cache)


def fraction(number):
    return Fraction(float(np.squeeze(number))).limit_denominator(1000)


print("loss", fraction(loss), "  dw", fraction(dweight), "  db", fraction(dbias))
print("after a step: w", fraction(weight - 0.1 * dweight), "  b", fraction(bias - 0.1 * dbias))

for step in range(1, 301):
    loss, cache = square_forward(x, weight, bias, t)
    _, dweight, dbias, _ = square_backward(1.0, cache)
    weight -= 0.1 * dweight
    bias -= 0.1 * dbias
    if step in (1, 10, 100, 300):
        print(f"step {step:3}: loss {loss:7.4f}   w {weight[0, 0]:.3f}   b {bias[0]:.3f}")
print("at x = 3, which it has not seen:", round(float(linear_forward(np.array([[3.0]]), weight, bias)[0][0, 0]), 2))

# %% [markdown] tags=["en"]
# With $w = b = 0$ the errors $y - t$ are $-1, -3, -5$, and the loss is $(1+9+25)/3 = 35/3$. Then
# $dw = \tfrac23\,(0\cdot(-1) + 1\cdot(-3) + 2\cdot(-5)) = -\tfrac{26}3$ and $db = \tfrac23\,(-9) = -6$. A tenth of
# that is taken off: $w = \tfrac{26}{30} = \tfrac{13}{15}$, $b = \tfrac35$. In the end it has found the line, and so it
# is right where it was never trained. That is generalisation, and here it was easy: no noise, and two parameters
# for three examples. The first step once more as a graph, values above and gradients below each edge:

# %%
zero = np.zeros((1, 1))
loss, cache = square_forward(x, zero, zero[0], t)
y, dy = cache["y"], 2 / 3 * (cache["y"] - t)
_, dweight, dbias, dt = square_backward(1.0, cache)
graphs.draw(
    {
        "x": (0, 0), "w": (0, 1), "·": (1, 0), "b": (1, 1), "+": (2, 0), "t": (2, 1),
        "mean (y − t)²": (3, 0), "loss": (4, 0),
    },
    [
        ("x", "·", x, dy * zero), ("w", "·", zero, dweight), ("·", "+", y, dy), ("b", "+", zero, dbias.reshape(1, 1)),
        ("+", "mean (y − t)²", y, dy, "y"), ("t", "mean (y − t)²", t, dt), ("mean (y − t)²", "loss", loss, 1.0),
    ],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# The first step as a graph: x times w, plus b, gives y; y and t give the mean square of the error, 35/3. Below the
# edges the gradients: dy = (-2/3, -2, -10/3), dw = -26/3, db = -6, dx = 0, as w is 0, and dt = -dy.

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# The gradient check of 2.0, first as it is, then with a mistake on purpose: someone forgets that the loss is a *mean*
# and omits $1/N$. (The linear layer alone is compared with PyTorch in 2.1.)

# %%
inputs = {"x": x, "weight": np.array([[0.5]]), "bias": np.array([0.1]), "t": t}
style.show_check(minigpt2.gradient_check(square_forward, square_backward, inputs))


def forgetful_backward(dloss, cache):
    """The backward pass without the 1 / N of the mean."""
    return square_backward(dloss * cache["y"].size, cache)


style.show_check(minigpt2.gradient_check(square_forward, forgetful_backward, inputs))

# %% [markdown] tags=["en"]
# ## 6. Learning, or learning by heart?
#
# Now a GPT. How well can it possibly do? That can be said, before anything is trained, and it takes one small detour.
#
# ### How low can the loss get?
#
# Somebody throws a coin that shows heads in three cases out of four, and you give a probability to each side before
# each throw. Your loss is the mean of $-\ln$ of the probability that you gave to what came. If you say 1/2 and 1/2, it
# is $\ln 2 = 0.69$ every time. If you say 3/4 and 1/4, as it is, your mean is $-\tfrac34\ln\tfrac34 -
# \tfrac14\ln\tfrac14 = 0.56$. And if you are bold and say 9/10, it is $-\tfrac34\ln\tfrac9{10} - \tfrac14\ln\tfrac1{10}
# = 0.65$. The truth is the best that one can say, and even the truth does not bring the loss to 0: the coin is not to
# be predicted.
#
# It is so for any number of sides. A language model gives the probability $q(v)$ to each token $v$. Let $p(v)$ be the
# true probability of $v$ in this place. On average over many texts the loss is
#
# $$-\sum_v p(v)\ln q(v) = \underbrace{-\sum_v p(v)\ln p(v)}_{\text{entropy}}
#   + \underbrace{\sum_v p(v)\ln\frac{p(v)}{q(v)}}_{\text{the model's shortfall}} .$$
#
# (To see that the two sides are equal, write the last logarithm as a difference. $\sum_v$ runs over all tokens that can
# come here, those with $p(v) > 0$.) The first term is called the *entropy*: the noise of the language, the same for
# every model. The second one is never negative. For $\ln z \le z-1$ (the line $z - 1$ touches the logarithm at 1, and
# the logarithm is concave: its second derivative, $-1/z^2$, is negative, so it stays below its tangent), and therefore
#
# $$\sum_v p(v)\ln\frac{p(v)}{q(v)} = -\sum_v p(v)\ln\frac{q(v)}{p(v)} \ge -\sum_v p(v)\Bigl(\frac{q(v)}{p(v)} - 1\Bigr)
#   = -\sum_v q(v) + \sum_v p(v) \ge -1 + 1 = 0 .$$
#
# (Cover & Thomas 2006, "Elements of Information Theory", theorem 2.6.3.) So **on fresh text no model in the world is
# better than the entropy on average.** On the training text it can be: it has seen the answers.
#
# ### A language whose truth we know
#
# To know the entropy, we need a language whose probabilities are known. We have one: the built-in model. Let it write a
# text at random, and take this text as the language to be learned. Call the built-in model the teacher, and those that
# learn from its text the pupils. The teacher's own loss on the text is an estimate of the entropy.
#
# It is an estimate from *above*. The teacher writes pieces of words, the pupils write characters, and some texts can be
# put together from pieces in several ways; the loss counts the way that was taken only, so the text is a little more
# probable than that. And it is a mean over 80 samples, not over all. A pupil slightly below our number would break no
# law; one far below it has seen the text.

# %%
start = tokenizer.encode("\n\n")
rows = model.generate(start, max_new_tokens=160, temperature=1.0, num_samples=80, seed=0)
written = [tokenizer.decode(row[len(start) :]) for row in rows]
targets = rows[:, 1:].copy()
targets[:, : len(start) - 1] = -100  # the loss leaves these places out: the start was given, not written
nats = model.loss(rows[:, :-1], targets) * (targets != -100).sum()
entropy = nats / sum(map(len, written))
print(f"entropy, estimated from above: {entropy:.1f} nats per character")
print(repr(written[0][:120]))

# %% [markdown] tags=["en"]
# (In nats per character, so that teacher and pupils can be compared.) The pupils are small GPTs, trained with AdamW, a
# kind of gradient descent that is explained in notebook 2.5.9. Their random numbers at the beginning are five times as
# large as GPT-2's, whose 0.02 suits a width of 768 channels (2.1, section 5).

# %%
characters = CharTokenizer.train("".join(written))
valid_ids = np.array(characters.encode("".join(written[:12])))
train_ids = np.array(characters.encode("".join(written[12:])))
T = 32  # characters in a window


def loss_on(pupil, ids):
    """In nats per character, on at most 4,000 characters."""
    n = min(len(ids) - 1, 4000) // T
    return pupil.loss(ids[: n * T].reshape(n, T), ids[1 : n * T + 1].reshape(n, T))


def learn(ids, steps=400):
    """A new small GPT trained on ids, and (step, training loss, validation loss) on the way."""
    config = minigpt2.GPT2Config(
        vocab_size=len(characters), n_positions=T, n_embd=48, n_layer=2, n_head=4, initializer_range=0.1,
        embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    pupil = minigpt2.GPT2(config, seed=0)
    optimizer = minigpt2.AdamW(pupil.params, lr=3e-3)
    rng, history = np.random.default_rng(0), []
    for step in range(steps + 1):
        if step % 25 == 0:
            history.append((step, loss_on(pupil, ids), loss_on(pupil, valid_ids)))
        _, grads = pupil.loss_and_grads(*random_windows(ids, 16, T, rng))
        optimizer.step(grads, max_norm=1.0)
    return pupil, np.array(history)


pupils, histories = {}, {}
for size in (1000, 5000, 25000):
    pupils[size], histories[size] = learn(train_ids[:size])

# %%
print(f"parameters: {pupils[1000].num_parameters:,} each")
print(f"uniform guess {np.log(len(characters)):.1f}, entropy {entropy:.1f} nats per character\n")
print(f"{'characters':>10} {'epochs':>8} {'training':>9} {'validation':>11} {'lowest':>8}")
for size, history in histories.items():
    times, best = 400 * 16 * T / size, history[:, 2].min()
    print(f"{size:10,} {times:8.0f} {history[-1, 1]:9.1f} {history[-1, 2]:11.1f} {best:8.1f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(7.8, 3), sharey=True)
for axis, (size, history) in zip(axes, histories.items(), strict=True):
    step, training, validation = history.T
    axis.plot(step, training, label="training")
    axis.plot(step, validation, label="validation")
    axis.plot(step[validation.argmin()], validation.min(), "o", color=style.ORANGE, ls="")
    axis.axhline(entropy, color="0.4", lw=1, ls=":")
    axis.set(title=f"{size:,} characters", xlabel="step", ylim=(0, 5.5))
axes[0].set_ylabel("loss (nats per character)")
axes[0].text(400, entropy + 0.08, "entropy", color="0.4", ha="right")
axes[2].legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Training and validation loss over 400 steps, for texts of 1,000, 5,000 and 25,000 characters, with a dotted line at
# the entropy, 1.2, and a circle at the lowest validation loss. 1,000: training falls to 0.3, validation rises from 3.0
# at step 50 to 5.3. 5,000: training falls to 1.5, validation is flat at 2.5 from step 200 on and then rises. 25,000:
# both fall to about 2.1, side by side.

# %% [markdown] tags=["en"]
# Three pupils, alike in everything but the length of the text that they learned from. (An *epoch* is one reading of all
# of it; *lowest* is the lowest validation loss on the way.)
#
# - **1,000 characters.** The training loss falls through the entropy as if it were not there. That is no skill: nobody
#   can guess noise. The pupil remembers the text. The validation loss turns after a few dozen steps, and in the end the
#   pupil is worse than a uniform guess, for it is wrong *with conviction*.
# - **5,000 characters.** The two curves part, and long before the end validation gets no better. The training loss has
#   not reached the entropy: not every overfitted model gives itself away by that. The gap tells.
# - **25,000 characters.** The two curves stay close together, and both still fall at the last step. Little is learned
#   by heart yet. This is where GPT-2 was when its training ended.
#
# The circle marks the step with the lowest validation loss. To stop there is the cheapest remedy; it is called *early
# stopping*, and the library's trainer always keeps the best model (`minigpt2.training`). (A loss that was chosen for
# being the lowest is a little too good, by point 4 of section 1.) The best remedy is more text: compare the circles.
# Other remedies to try are dropout (2.5.6) and a smaller model (question 4).
#
# ### Can it recite?
#
# Give each pupil 16 characters from a text and let it continue, always with the likeliest character. What share of the
# next 16 agrees with the text? On the training text a pupil can know them by heart, on the validation text it cannot.


# %%
def recited(pupil, ids):
    """The share of the 16 characters after each of 40 places in ids that the pupil gets right; and an example."""
    places = np.linspace(0, min(len(ids), 4000) - 32, 40).astype(int)
    texts = ids[places[:, None] + np.arange(32)]
    continued = pupil.generate(texts[:, :16], max_new_tokens=16)
    return (continued == texts)[:, 16:].mean(), texts[1], continued[1]


print("characters  training  validation")
for size, pupil in pupils.items():
    print(f"{size:10,} {recited(pupil, train_ids[:size])[0]:9.1f} {recited(pupil, valid_ids)[0]:11.1f}")
_, text, continued = recited(pupils[1000], train_ids[:1000])
print("\ntraining text", repr(characters.decode(text)))
print("continuation ", repr(characters.decode(continued)))

# %% [markdown] tags=["en"]
# The first pupil recites nine characters in ten, and on other text does no better than the others; by its validation
# loss it is much the worst. Had you looked at the training loss only, or tried the model on lines that it was trained
# on, you would have chosen the wrong one. That is what validation data are for.
#
# (The limits of the picture: it is one seed and one size of model. Very large models can have a training loss near zero
# and generalise nevertheless, see Zhang et al. 2017, "Understanding deep learning requires rethinking generalization".
# The pupils see at most 32 characters and the teacher up to 160 tokens, so a part of the distance to the entropy can
# never be closed.)

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. Name the parameters of the neuron in section 1, and say how many there are. Which numbers in its formula are not
#    parameters? *Hint: which of them does training change?*
#
#    <details><summary>Answer</summary>
#
#    Its weights, a column of `c_fc.weight`, and its bias: $256 + 1 = 257$. Not parameters are the 256 inputs, the sum
#    and the output, which are computed afresh for each text, and the constants in GELU such as 0.044715, which nobody
#    trains.
#
#    </details>
# 2. Do the second step of gradient descent by hand, from $w = 13/15$, $b = 3/5$. Then let the cell print it.
#    *Hint: the errors are now $-\tfrac25$, $-\tfrac{23}{15}$, $-\tfrac83$.*
#
#    <details><summary>Answer</summary>
#
#    The loss is $\tfrac13(\tfrac4{25} + \tfrac{529}{225} + \tfrac{64}9) = \tfrac13\cdot\tfrac{36+529+1600}{225} =
#    \tfrac{433}{135}$, about 3.21. $dw = \tfrac23\,(-\tfrac{23}{15} - 2\cdot\tfrac{40}{15}) = -\tfrac{206}{45}$ and $db
#    = \tfrac23\,(-\tfrac{6}{15} - \tfrac{23}{15} - \tfrac{40}{15}) = -\tfrac{46}{15}$. So $w = \tfrac{13}{15} +
#    \tfrac{206}{450} = \tfrac{298}{225}$ and $b = \tfrac35 + \tfrac{46}{150} = \tfrac{68}{75}$.
#
#    </details>
# 3. A model has a validation loss *below* the entropy of the language. Name two possible reasons.
#    *Hint: one is in point 4 of section 1. What if a piece of the training text is in the validation text too?*
#
#    <details><summary>Answer</summary>
#
#    The model was chosen, among several, by this very loss. Or the validation text was seen in training, in whole or in
#    part. Two more: the validation text is short and happens to be easy (only the *average* over all texts cannot be
#    below), or what is called the entropy is an estimate that is too high, as ours may be.
#
#    </details>
# 4. Predict the left picture of section 6 for a pupil with `n_embd=16`, and for one with dropout 0.3 in all three
#    places (give `loss_and_grads` a generator as `rng`). Which of the two has the lower circle? Then run it.
#    *Hint: how much can the small one remember? And what does dropout do to what was remembered?*
#
#    <details><summary>Answer</summary>
#
#    | pupil | training, last | validation, last | lowest | at step |
#    |---|---|---|---|---|
#    | as above | 0.3 | 5.3 | 2.95 | 50 |
#    | `n_embd=16` | 1.5 | 3.5 | 2.89 | 125 |
#    | dropout 0.3 | 1.5 | 3.2 | 2.92 | 75 |
#
#    Both remember less, and neither passes through the entropy. But the circles hardly move: from a thousand characters
#    there is no more to be had. (With dropout one draw of random numbers; the two lowest differ by less than another
#    draw would change.) Both *delay* overfitting; more text prevents it.
#
#    </details>
# 5. How many characters would it take for the two curves to stay within 0.1 of one another for 600 steps? Write down a
#    number, then try (`num_samples=200` writes enough text). *Hint: by what factor did the length grow from picture to
#    picture, and what became of the epochs?*
#
#    <details><summary>Answer</summary>
#
#    Some 70,000. After 600 steps the distance is 0.25 with 25,000 characters (12 epochs), 0.16 with 37,500 (8 epochs),
#    0.14 with 50,000 (6) and 0.09 with 71,000 (4; a little above 0.1 on the way). From picture to picture the length
#    grew five times and the epochs fell to a fifth; what counts is how often each character is read, and here it must
#    not be much more than four times.
#
#    </details>
#
# **Next:** models that write: [2.3, text generation](2_3_text_generation.ipynb)
