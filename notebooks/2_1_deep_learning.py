# %% [markdown] tags=["en"]
# # 2.1 深度学习（Deep Learning）· Deep learning
#
# Deep learning is three ideas: *layers* that bend, the *chain rule* that says how each number in them should change,
# and *gradient descent* that changes them. This notebook does all three by hand on the smallest problem that needs
# them, and then asks why the layers must bend, and why it is better to have several.
#
# You need Python, NumPy and the chain rule from school. The words:
#
# - A **layer** is a function from vectors to vectors. **Linear** here means multiply and add, $xW + b$, as the
#   library's `linear` does. **Deep** means: several layers, each of which takes the output of the one before it.
# - The **parameters** are the numbers in $W$ and $b$, those that are learned.
# - A language model reads **tokens**, pieces of text, and predicts the next one.
# - The **loss** is one number that says how bad the output is. Its derivative with respect to a number is called the
#   **gradient** there: for any number $z$ in the model, $dz$ is short for $\partial\,\mathrm{loss}/\partial z$.
#
# The rules R1 to R7 of backward passes, and the check of a gradient, are in [2.0, the toolbox](2_0_toolbox.ipynb).
#
# **Exercise:** [4, linear layer and GELU](../exercises/student/04_linear_and_gelu.ipynb)

# %%
import sys
from fractions import Fraction
from itertools import pairwise
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "..")  # style.py lies beside the sources of the notebooks
import graphs
import style

import minigpt2
from minigpt2.components.deep_head import head_backward, head_forward
from minigpt2.components.feed_forward import gelu_backward, gelu_forward
from minigpt2.components.linear import linear_backward, linear_forward
from minigpt2.components.loss import cross_entropy_backward, cross_entropy_forward
from minigpt2.reference import recorded, relative_error

style.use()

# %% [markdown] tags=["en"]
# ## 1. In the document
#
# The document says: deep learning works "通过构建多个非线性的处理层、数据挖掘方法、优化算法", by building several
# non-linear layers, with methods of data mining and optimization; "数据被不断转换，层层递进，最终达到更高级的抽象形式",
# the data are transformed layer by layer into more abstract forms. It learns features from the raw data,
# "而不需要人工指定规则或模式", without rules or patterns that people would have to state, and can also make use of
# "人类学习经验和启发法则", of human experience.
#
# The heart of this is right, and the built-in GPT-2 shows it. Its parameters begin as random numbers, and nobody puts
# in a rule of grammar. And the bending matters. Each of its blocks contains a function called *GELU*, the only thing in
# the feed-forward network that is not linear. Let us straighten it out and read a line of Shakespeare again. There is
# more than one way to do so, and the first that comes to mind is not the fairest:
#
# - **tangent**: the line that touches GELU at 0, $x/2$;
# - **fitted line**: for each of the 4,096 neurons the straight line that comes closest (least squares) to what GELU
#   makes of that neuron's own numbers, on a text that the model writes for the purpose.

# %%
model = minigpt2.GPT2.from_pretrained("shakespeare")
tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
ids = np.array([tokenizer.encode("ROMEO:\nBut soft, what light through yonder window breaks?\n")])
new = minigpt2.GPT2(model.config, seed=0)

written = model.generate(tokenizer.encode("\n\n"), max_new_tokens=200, num_samples=8, temperature=1.0, seed=0)
activations, lines, negative = minigpt2.trace(model, written), [], []
for block in range(model.config.n_layer):
    a, y = (activations[f"h.{block}.mlp.{name}"] for name in ("fc", "gelu"))  # before and after GELU
    a_mean, y_mean = a.mean(axis=(0, 1)), y.mean(axis=(0, 1))
    slope = ((a - a_mean) * (y - y_mean)).mean(axis=(0, 1)) / a.var(axis=(0, 1))
    lines.append((slope, y_mean - slope * a_mean))
    negative.append(f"{(a < 0).mean():.2f}")


def loss_with(gelu):
    """The loss on the line with another function in the place of GELU."""
    with mock.patch("minigpt2.components.feed_forward.gelu_forward", gelu):
        return model.loss(ids[:, :-1], ids[:, 1:])


todo = iter(lines)  # of one block after the other


def fitted(x):
    slope, intercept = next(todo)
    return slope * x + intercept, {}


print(f"blocks: {model.config.n_layer}, vocabulary: {model.config.vocab_size}")
print(f"uniform guess, ln V          {np.log(model.config.vocab_size):.1f}")
print(f"untrained model              {new.loss(ids[:, :-1], ids[:, 1:]):.1f}")
print(f"trained model                {model.loss(ids[:, :-1], ids[:, 1:]):.1f}")
print(f"trained model, tangent       {loss_with(lambda x: (x / 2, {})):.1f}")
print(f"trained model, fitted line   {loss_with(fitted):.1f}")
print("share of GELU's inputs that are negative, by block:", *negative)

# %% [markdown] tags=["en"]
# (The loss is the mean of $-\ln p$, where $p$ is the probability that the model gave to the token that actually came.
# It is measured in *nats*. A uniform guess gives $1/V$ to each of the $V$ tokens of the vocabulary. `mock.patch` puts
# one function in the place of another for as long as the `with` block lasts.)
#
# With the tangent most of what was learned seems lost. But nearly nine in ten of GELU's inputs are negative, where it
# gives almost nothing and the tangent gives a lot: that model does not only lack bends, it is flooded. With the fitted
# lines a little less than half of the distance between guessing and the trained model is lost. *At most* that much
# hangs on the bends, in this model, on this line: other straight lines might lose less still. (Whether a model could do
# without bends from the beginning is a question for section 3.)
#
# Three remarks on what the document adds:
#
# - It counts methods of *data mining* among the parts of deep learning. GPT-2 has no such part. It has layers, a loss
#   and an optimizer, and the rest of this book finds nothing else in it.
# - It is true of the parameters that no rules are written by hand. The *shape* of the model is a human choice (how many
#   layers, what attention may see), and so is the first step of the tokenizer: a pattern, written by hand, says where a
#   text may be cut (notebook 2.4). There is the human experience that the document speaks of.
# - It names optimization, and does not say *how* the parameters are found. That is what sections 3 to 5 are for.
#
# ## 2. The idea
#
# Here is the smallest problem that a linear function cannot solve. There are two inputs, each 0 or 1. The answer is 1
# if exactly one of them is 1; this function is called **XOR**, *exclusive or*. Try to draw a straight line that has
# both circles on one side and both squares on the other. There is none.
#
# A bend helps. On the right is GELU, which leaves large positive numbers nearly as they are and pushes negative ones
# towards 0. A layer with GELU bends the plane: where a neuron's input is positive, things stay in place, and where it
# is negative, they are pressed almost flat. One straight cut through the bent plane is then a bent cut through the
# original one, and may do what no straight one can. You will see it done in section 6.

# %%
points = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
answers = np.array([0, 1, 1, 0])


def draw_points(axis, positions):
    """Circles where the answer is 0, squares where it is 1."""
    for answer, marker, colour in ((0, "o", style.BLUE), (1, "s", style.ORANGE)):
        some = positions[answers == answer]
        axis.plot(*some.T, marker, color=colour, ms=8, ls="", label=f"answer {answer}", zorder=3)


figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), width_ratios=[1, 1.4])
draw_points(left, points)
left.plot([0.5, 0.5], [-0.3, 1.4], color="0.5", ls=":")
left.plot([-0.3, 1.3], [0.3, 1.4], color="0.5", ls=":")
left.set(xlim=(-0.3, 1.3), ylim=(-0.3, 1.9), xlabel="$x_1$", ylabel="$x_2$", title="XOR")
left.legend(loc="upper center", ncols=2, fontsize=8, columnspacing=1)
x = np.linspace(-4, 3, 200)
right.plot(x, x, color=style.GREY, ls=":", label="x")
right.plot(x, gelu_forward(x)[0], color=style.BLUE, ls="-", label="GELU(x)")
right.set(xlabel="x", ylabel="y", title="GELU", ylim=(-2, 3))
right.legend()
plt.show()

# %% [markdown] tags=["en", "alt"]
# Left: the four points of XOR at the corners of a square, circles for answer 0 at (0, 0) and (1, 1), squares for answer
# 1 at the other two corners; each of two dotted straight lines has a wrong point on one side. Right: GELU against x; it
# follows the dotted line y = x for large x, and for negative x runs just below 0.

# %% [markdown] tags=["en"]
# ## 3. The mathematics
#
# ### Depth without a bend
#
# Two linear layers, one on top of the other:
#
# $$(x W_1 + b_1)\,W_2 + b_2 = x\,\underbrace{W_1 W_2}_{W} + \underbrace{b_1 W_2 + b_2}_{b}.$$
#
# This is a single linear layer, and so is a tower of a hundred of them. And a single one cannot do XOR. It gives a
# number $s(x_1, x_2) = w_1 x_1 + w_2 x_2 + b$, which should be above 0 for the answer 1 and below 0 for the answer 0.
# But
#
# $$s(0,0) + s(1,1) = w_1 + w_2 + 2b = s(0,1) + s(1,0).$$
#
# The left side would have to be negative and the right side positive. (Minsky & Papert 1969, "Perceptrons".)
#
# ### A network of two layers, forward
#
# | symbol | in the code | shape | meaning |
# |---|---|---|---|
# | $x$ | `x` | `(N, 2)` | inputs of $N$ examples |
# | $W_1$, $b_1$ | `params[0]` | `(2, M)`, `(M,)` | first layer, $M$ *neurons* |
# | $a = x W_1 + b_1$ | | `(N, M)` | before the bend |
# | $h = \mathrm{gelu}(a)$ | | `(N, M)` | after it; these values are called *hidden* |
# | $W_2$, $b_2$ | `params[1]` | `(M, 2)`, `(2,)` | second layer |
# | $z = h W_2 + b_2$ | `logits` | `(N, 2)` | a score for each of the two answers |
#
# The scores become probabilities by the *softmax*, $p_v = e^{z_v} / \sum_u e^{z_u}$, and the loss of an example with
# the right answer $t$ is $-\ln p_t$. The loss of all is the mean.
#
# ### The chain rule, backward
#
# If $y = f(g(x))$, then $y' = f'(g(x))\cdot g'(x)$: the derivatives along the way are *multiplied*. If a number acts
# along several ways, the ways are *added* (R6). That is all there is to it. We walk from the loss back to the input.
#
# **Step 1: loss and softmax.** For one example $-\ln p_t = -z_t + \ln\sum_u e^{z_u}$. The first term has the derivative
# $-1$ for $v = t$ and 0 otherwise; the second one $e^{z_v}/\sum_u e^{z_u} = p_v$. The mean divides by $N$. With
# $\delta_{vt}$ for 1 if $v = t$ and 0 otherwise:
#
# $$dz_{nv} = \frac1N\,(p_{nv} - \delta_{v t_n}).$$
#
# Predicted minus wanted: easy to remember. (What this says about training is the subject of 2.5.8.)
#
# **Step 2: the second layer.** Written out, $z_{nv} = \sum_f h_{nf} W_{2,fv} + b_{2,v}$. A hidden value acts on the
# loss through every score, so we sum over $v$; a parameter acts through every example, so we sum over $n$:
#
# $$dh_{nf} = \sum_v dz_{nv} W_{2,fv}, \qquad dW_{2,fv} = \sum_n h_{nf}\,dz_{nv}, \qquad db_{2,v} = \sum_n dz_{nv},$$
#
# or in matrices $dh = dz\,W_2^\top$, $dW_2 = h^\top dz$: rule R2, and R1 for the bias.
#
# **Step 3: the bend.** It treats each number alone, so there is one factor (R3):
#
# $$da_{nf} = dh_{nf}\cdot\mathrm{gelu}'(a_{nf}).$$
#
# GELU is $\mathrm{gelu}(a) = \tfrac12\,a\,(1+\tanh u)$ with $u = \sqrt{2/\pi}\,(a + 0.044715\,a^3)$. The product rule,
# the chain rule and $\tanh' = 1 - \tanh^2$ give
#
# $$\mathrm{gelu}'(a) = \tfrac12\Bigl((1+\tanh u) + a\,(1-\tanh^2 u)\,\sqrt{2/\pi}\,(1 + 3\cdot 0.044715\,a^2)\Bigr).$$
#
# At 0 it is $\tfrac12$: the tangent of section 1.
#
# **Step 4: the first layer**, the same as step 2: $\;dx = da\,W_1^\top, \quad dW_1 = x^\top da, \quad db_1 = \sum_n
# da_n$.
#
# More layers mean more of steps 3 and 4. A GPT-2 is nothing else, with some other kinds of layers in between.
#
# ### Gradient descent
#
# Collect all parameters in one long vector $\theta$ and their gradients in $g$. For a small step the loss changes by
# about the sum of (change of a parameter) times (its gradient). Which step makes it fall? The one against the gradient,
#
# $$\theta \leftarrow \theta - \mathrm{lr}\cdot g, \qquad
#   \mathrm{loss}_{\text{new}} \approx \mathrm{loss} - \mathrm{lr}\cdot\sum_i g_i^2,$$
#
# as a sum of squares is never negative. The *learning rate* lr must be small enough for "approximately" to be true.
# (Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors".)

# %% [markdown] tags=["en"]
# ## 4. The code
#
# The library has all of it: the linear layer, GELU, and a stack of linear layers with GELU in between. (It is called
# *head*, because its purpose is an experiment in 3.1 with a deeper output layer.) First the two parts, from the page
# that explains, line by line what section 3 says:

# %%
style.show_plain("linear", "gelu")

# %% [markdown] tags=["en"]
# And the stack of them, as the library runs it. (Its own linear layer and GELU, in `minigpt2/components`, compute the
# same with fewer passes through memory. `out` is for the optimizer's sake and can be skipped.)

# %%
style.show_source(head_forward, head_backward)

# %% [markdown] tags=["en"]
# ### By hand
#
# One example, $x = (1, 1)$ with the right answer 0, and one hidden neuron. The parameters are chosen such that $a = 0$,
# where GELU can be done in the head: its value is 0 and its slope $\tfrac12$.

# %%
x = np.array([[1.0, 1.0]])
params = [
    {"weight": np.array([[1.0], [-1.0]]), "bias": np.zeros(1)},
    {"weight": np.array([[2.0, -2.0]]), "bias": np.zeros(2)},
]
logits, cache = head_forward(x, params)
loss, loss_cache = cross_entropy_forward(logits, np.array([0]))
dlogits = cross_entropy_backward(1.0, loss_cache)
dx, grads = head_backward(dlogits, cache)


def show(**arrays):
    """Print arrays as fractions."""
    for name, array in arrays.items():
        print(f"{name:8}", *(f"{Fraction(float(v)).limit_denominator(100)!s:>5}" for v in np.ravel(array)))


show(logits=logits, dlogits=dlogits, dW_2=grads[1]["weight"], db_2=grads[1]["bias"])
show(dW_1=grads[0]["weight"], db_1=grads[0]["bias"], dx=dx)
print("loss is ln 2:", np.isclose(loss, np.log(2)))

a, h = np.array([[0.0]]), cache["layers"][1]["x"]
dh = dlogits @ params[1]["weight"].T
da = dh / 2  # GELU's slope at 0

# %% [markdown] tags=["en"]
# Forward: $a = 1\cdot1 + 1\cdot(-1) = 0$, so $h = 0$ and $z = (0, 0)$. Both answers have probability $\tfrac12$, and
# the loss is $-\ln\tfrac12 = \ln 2$. Backward: $dz = (\tfrac12 - 1, \tfrac12 - 0) = (-\tfrac12, \tfrac12)$. As $h = 0$,
# $dW_2 = 0$. Then $dh = -\tfrac12\cdot2 + \tfrac12\cdot(-2) = -2$, and the slope of the bend makes it $da =
# -2\cdot\tfrac12 = -1$. So $dW_1 = (1, 1)^\top\cdot(-1)$, $db_1 = -1$, and $dx = (-1)\cdot(1, -1) = (-1, 1)$.
#
# The same as a *graph*. Read the blue numbers from left to right, the orange ones from right to left: at each box the
# gradient that comes from the right is multiplied by what the box does to a small change.

# %%
graphs.draw(
    {
        "x": (0, 0), "$W_1$": (0, 1), "matmul#1": (1, 0), "$b_1$": (1, 1), "+#1": (2, 0), "GELU": (3, 0),
        "$W_2$": (3, 1), "matmul#2": (4, 0), "$b_2$": (4, 1), "+#2": (5, 0), "loss": (6, 0),
    },
    [
        ("x", "matmul#1", x, dx, "x"), ("$W_1$", "matmul#1", params[0]["weight"], grads[0]["weight"]),
        ("matmul#1", "+#1", a, da), ("$b_1$", "+#1", params[0]["bias"], grads[0]["bias"]),
        ("+#1", "GELU", a, da, "a"), ("GELU", "matmul#2", h, dh, "h"),
        ("$W_2$", "matmul#2", params[1]["weight"], grads[1]["weight"]),
        ("matmul#2", "+#2", logits, dlogits), ("$b_2$", "+#2", params[1]["bias"], grads[1]["bias"]),
        ("+#2", "loss", logits, dlogits, "z"),
    ],
)  # fmt: skip
plt.show()

# %% [markdown] tags=["en", "alt"]
# The example by hand as a graph from left to right: x times W1, plus b1, GELU, times W2, plus b2, loss. Above each edge
# stands its value: x = (1, 1), a = 0, h = 0, z = (0, 0); below it its gradient: dz = (-1/2, 1/2), dh = -2, da = -1, dx
# = (-1, 1).

# %% [markdown] tags=["en"]
# ## 5. Is it right?
#
# The gradient check of 2.0, with random numbers. Then a mistake on purpose: someone forgets step 3 and lets the
# gradient pass through the bend unchanged.
#
# How large should random parameters be? A neuron adds up $n$ products $x_i w_i$. If the $w_i$ are independent, with
# mean 0, the variance of the sum is $n\,\mathrm{Var}(w)$ times the mean of $x_i^2$. A bend that sets one half of the
# numbers to 0 halves that mean. So with $\mathrm{Var}(w) = 2/n$ the numbers have about the same size in every layer,
# neither dying out nor exploding. That is derived for ReLU, $\max(0, a)$ (He et al. 2015, "Delving Deep into
# Rectifiers", eq. 10); we use it for GELU too.


# %%
def new_network(sizes, seed):
    """Random parameters for layers of these sizes, of variance 2 / n_in."""
    rng = np.random.default_rng(seed)
    return [
        {"weight": rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)), "bias": np.zeros(n_out)}
        for n_in, n_out in pairwise(sizes)
    ]


def forgetful_backward(dlogits, cache):
    """The backward pass of someone who forgets the slope of GELU."""
    with mock.patch("minigpt2.components.deep_head.gelu_backward", lambda dy, cache: dy):
        return head_backward(dlogits, cache)


inputs = {"x": np.random.default_rng(0).normal(size=(5, 2)), "params": new_network((2, 4, 3, 2), seed=1)}
for backward in (head_backward, forgetful_backward):
    report = minigpt2.gradient_check(head_forward, backward, inputs)
    print(f"{backward.__name__}: {'passed' if report else 'FAILED'}")
    for check in report.checks:
        verdict = "ok" if check.error < report.tolerance else f"WRONG, error {check.error:.2g}"
        print(f"  {check.name:16} {check.shape!s:8} {verdict}")

# %% [markdown] tags=["en"]
# Everything above the last bend stays right, everything below is wrong. And now the comparison with PyTorch's results,
# recorded once:

# %%
for name, forward, backward in (
    ("linear", linear_forward, linear_backward),
    ("gelu", gelu_forward, gelu_backward),
    ("head", head_forward, head_backward),
):
    reference = recorded(name)
    y, cache = forward(**reference["inputs"])
    gradients = backward(reference["dy"], cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    found = {"y": y, **dict(zip(reference["gradients"], gradients, strict=True))}
    error, _ = relative_error(found, {"y": reference["y"], **reference["gradients"]})
    style.show_agreement(f"{name}: y, and gradients of {', '.join(reference['gradients'])}", error)

# %% [markdown] tags=["en"]
# And gradient descent? Section 3 promises by how much the loss falls in one step, and the smaller the step, the closer
# what is found comes to the promise:


# %%
def loss_and_grads(params, x, targets):
    logits, cache = head_forward(x, params)
    loss, loss_cache = cross_entropy_forward(logits, targets)
    return float(loss), head_backward(cross_entropy_backward(1.0, loss_cache), cache)[1]


print("     lr   promised     found")
for lr in (1.0, 0.1, 0.01):
    params = new_network((2, 2, 2), seed=0)
    before, grads = loss_and_grads(params, points, answers)
    promised = lr * sum((g * g).sum() for g in minigpt2.flatten(grads).values())
    minigpt2.SGD(params, lr=lr).step(grads)
    after, _ = loss_and_grads(params, points, answers)
    print(f"{lr:7} {promised:10.5f} {before - after:9.5f}")

# %% [markdown] tags=["en"]
# ## 6. Why bends, and why depth?
#
# ### XOR, with and without the bend
#
# Two hidden neurons, gradient descent, nothing else. Beside it the same network with its bend taken out.


# %%
def train_xor(sizes=(2, 2, 2), steps=1500):
    """Trained parameters, and the loss at every step."""
    params, losses = new_network(sizes, seed=0), []
    optimizer = minigpt2.SGD(params, lr=0.5)
    for _ in range(steps):
        loss, grads = loss_and_grads(params, points, answers)
        optimizer.step(grads)
        losses.append(loss)
    return params, losses


params, bent_losses = train_xor()
no_bend = {"gelu_forward": lambda x: (x, {}), "gelu_backward": lambda dy, cache: dy}
with mock.patch.multiple("minigpt2.components.deep_head", **no_bend):
    _, straight_losses = train_xor()
print(f"loss with the bend {bent_losses[-1]:.2f}, without it {straight_losses[-1]:.2f}; ln 2 is {np.log(2):.2f}")

# %% [markdown] tags=["en"]
# Without the bend the network stays at $\ln 2$, which is what it gets for saying "one half" to everything. With it the
# loss goes to 0. How does it do that? One is tempted to say: the bend has folded the plane such that the two circles
# come to lie on one another. Let us look, layer by layer, before we say so. $a$ is what the first layer's *linear* part
# makes of the four points, $h$ comes after the bend.


# %%
def hidden(x):
    """What the first layer makes of points, before and after the bend."""
    a, _ = linear_forward(x, **params[0])
    return a, gelu_forward(a)[0]


for name, network in (("before training", new_network((2, 2, 2), seed=0)), ("after", params)):
    large, small = np.linalg.svd(network[0]["weight"], compute_uv=False)
    print(f"singular values of W_1, {name:16} {large:.2f} {small:.2f}")
for point, answer, a, h in zip(points.astype(int).tolist(), answers, *hidden(points), strict=True):
    print(f"{point}, answer {answer}:   a", *(f"{v:6.1f}" for v in a), "   h", *(f"{v.round(1) + 0:6.1f}" for v in h))

# %% [markdown] tags=["en"]
# The *singular values* of a matrix say how much it stretches in the direction that it stretches most, and in the one
# across. The second is almost 0: the trained $W_1$ has pressed the plane onto a *line*. Both rows of the table with
# answer 0 have nearly the same $a$, before there was any bend. The linear part alone has laid the circles on one
# another, by computing (nearly) a multiple of $x_1 - x_2$, which is 0 for both.
#
# What is left for the bend? On the line the circles lie *between* the squares, and no single cut has the middle
# of a line on one side and both ends on the other. The bend bends the line where the circles are.
#
# (Is it always so? Of the seeds 0 to 19, 15 end with a $W_1$ that is as good as a line: 8 with a multiple of $x_1 -
# x_2$, 7 with one of $x_1 + x_2$, where it is the *squares* that fall on one another, between the circles. The other
# five keep two directions.)


# %%
def score(logits):
    """Above 0 where the network says 1."""
    return logits[..., 1] - logits[..., 0]


def draw_cut(axis, reach):
    """Grey where the second layer, given two numbers, says 1; in the range of the points ``reach``."""
    low, high = reach.min(axis=0) - 0.6, reach.max(axis=0) + 0.6
    sides = [np.linspace(low[i], high[i], 100) for i in range(2)]
    cut = score(linear_forward(np.stack(np.meshgrid(*sides), axis=-1), **params[1])[0])
    axis.contourf(*sides, cut, levels=[-1e3, 0, 1e3], colors=["white", "0.88"], zorder=0)


side = np.linspace(-0.5, 1.5, 200)
plane = np.stack(np.meshgrid(side, side), axis=-1)
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6))
axes[0].plot(bent_losses, color=style.BLUE, ls="-", label="with GELU")
axes[0].plot(straight_losses, color=style.GREY, ls=":", label="without")
axes[0].set(xlabel="step", ylabel="loss (nats)", title="training", ylim=(0, 1.3))
axes[0].legend(fontsize=8)
axes[1].contourf(side, side, score(head_forward(plane, params)[0]), levels=[-1e3, 0, 1e3], colors=["white", "0.88"])
draw_points(axes[1], points)
axes[1].set(xlabel="$x_1$", ylabel="$x_2$", title="input", xticks=[0, 1], yticks=[0, 1])
for axis, name, grid, some in zip(axes[2:], "ah", hidden(plane[::12]), hidden(points), strict=True):
    axis.plot(*grid.reshape(-1, 2).T, ".", color="0.6", ms=1, ls="")
    draw_points(axis, some)
    axis.set(xlabel=f"${name}_1$", ylabel=f"${name}_2$")
axes[2].set_title("a: linear part")
axes[3].set_title("h: after GELU")
draw_cut(axes[3], hidden(plane)[1].reshape(-1, 2))
plt.show()

# %% [markdown] tags=["en", "alt"]
# Four panels. Training: the loss with GELU falls from 0.7 to 0 within 300 steps, without it stays at 0.69. Input: the
# two squares lie in grey corners, the two circles in a white diagonal band. Linear part: all grey dots lie on a
# straight line, both circles at one place in its middle, a square towards each end. After GELU: the line has a knee at
# the circles, and one straight edge has them on its white side and both squares on the grey one.

# %% [markdown] tags=["en"]
# The second picture shows the network's answers: 1 in the grey regions, 0 in the white band. No single straight cut
# makes such a band. The third and fourth show where the whole plane has gone, as grey dots. There is nothing left of
# the plane but a straight line, and after GELU a bent one, with the circles near the bend and both arms in the grey:
# now one straight cut is enough.
#
# So the work is shared. The linear part *throws away* what does not matter, the bend makes the ends of the line
# separable from its middle. Nobody told the network to compute a difference; its hidden values are a *representation*
# of the input that makes the question easy, and it found it by walking downhill. This is what the document means by
# features that are learned.
#
# If a line is all that is needed, are two neurons? GELU has a dip: it is 0 at 0, falls to $-0.17$ at about $-0.75$, and
# comes back to 0. Put the circles into the dip, and a *single* neuron will do:

# %%
a = np.array([[0.75], [-0.75]]), np.array([-0.75])
h, _ = gelu_forward(linear_forward(points, *a)[0])
for point, answer, value in zip(points.astype(int).tolist(), answers, h[:, 0], strict=True):
    print(f"{point}, answer {answer}: GELU((3/4) (x_1 - x_2) - 3/4) = {value.round(2) + 0:.2f}")
print(f"one neuron, trained for 4,000 steps: loss {train_xor((2, 1, 2), steps=4000)[1][-1]:.2f}")

# %% [markdown] tags=["en"]
# The circles are below $-0.13$ and the squares above it. With a bend that only rises, such as ReLU, this is impossible:
# "$f(s)$ is above a limit" then means "$s$ is above a limit", and that is a straight cut. There one needs two.
#
# ### Why more than one hidden layer?
#
# A second layer bends what the first one has bent, so the number of pieces may be *multiplied*, whereas more neurons in
# the same layer only *add* some. The picture for it is a folded sheet of paper: fold it once, and one cut goes through
# two layers, fold it again, and it goes through four. (A single ReLU does not fold a sheet, it presses half of it flat.
# But two that mirror each other do, $\max(0, a) + \max(0, -a) = |a|$, and on such pairs the theorem of Montúfar et al.
# rests, which is named below.)
#
# Does that matter? Two spirals are wound into one another, and a network has to say which of the two a point is on. We
# give about the same number of parameters to networks without a hidden layer, with one wide one, or with several
# narrower ones. (A network without a hidden layer has few parameters and cannot have more.) They are trained with
# AdamW, gradient descent with a step of its own for every parameter (notebook 2.5.9), and looked at after 1,000 steps
# and again after 2,500.

# %%
rng = np.random.default_rng(0)


def spirals(n, turns=2.5):
    """n points on two spirals that are wound into one another, and which of the two each is on."""
    radius, which = rng.uniform(0.1, 1, n), rng.integers(0, 2, n)
    angle = 2 * np.pi * turns * radius + np.pi * which
    return (radius * np.stack([np.cos(angle), np.sin(angle)])).T + 0.01 * rng.normal(size=(n, 2)), which


def network_sizes(layers, budget=150):
    """Hidden layers of equal width, as wide as it takes to have ``budget`` parameters."""
    width = 1
    while layers and 3 * width + (layers - 1) * (width + 1) * width + 2 * (width + 1) < budget:
        width += 1
    return (2, *[width] * layers, 2)


train_points, train_answers = spirals(300)
test_points, test_answers = spirals(1000)
side = np.linspace(-1.15, 1.15, 150)
plane = np.stack(np.meshgrid(side, side), axis=-1)
regions = {}  # of each depth: the scores in the plane after 1,000 steps, with seed 0

# %%
print("share that is right on the test, seeds 0, 1, 2")
print("hidden layers  width  parameters  after 1,000 steps  after 2,500")
for layers in range(4):
    sizes, shares = network_sizes(layers), {1000: [], 2500: []}
    for seed in range(3):
        network = new_network(sizes, seed)
        optimizer = minigpt2.AdamW(network, lr=1e-2, weight_decay=0.0)
        for step in range(1, 2501):
            optimizer.step(loss_and_grads(network, train_points, train_answers)[1])
            if step in shares:
                right = head_forward(test_points, network)[0].argmax(axis=1) == test_answers
                shares[step].append(f"{right.mean():.1f}")
                regions.setdefault(layers, score(head_forward(plane, network)[0]))
    count = sum(p.size for p in minigpt2.flatten(network).values())
    width = sizes[1] if layers else 0
    print(f"{layers:13} {width:6} {count:11}  {' '.join(shares[1000]):>17}  {' '.join(shares[2500]):>11}")

# %%
figure, axes = plt.subplots(1, 4, figsize=(9.4, 3.3), sharey=True)
for layers, axis in enumerate(axes):
    axis.contourf(side, side, regions[layers], levels=[-1e3, 0, 1e3], colors=["white", "0.85"])
    for which, marker, colour, fill in ((0, "o", style.BLUE, style.BLUE), (1, "s", style.ORANGE, "white")):
        axis.plot(*train_points[train_answers == which].T, marker, color=colour, mfc=fill, ms=3.2, mew=0.8, ls="",
                  label=f"answer {which}")  # fmt: skip
    axis.set(title=f"hidden layers: {layers}", aspect="equal", xlabel="$x_1$", xticks=[-1, 0, 1])
    axis.grid(visible=False)
axes[0].set_ylabel("$x_2$")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
plt.show()

# %% [markdown] tags=["en", "alt"]
# Four pictures of two spirals, filled circles and open squares, over the networks' answers in grey and white after
# 1,000 steps. No hidden layer: one straight edge through the middle. One: a grey region with a few bays, many points on
# the wrong side. Two and three: a grey spiral arm along the squares, a white one along the circles.

# %% [markdown] tags=["en"]
# The picture shows the networks after 1,000 steps, with seed 0. Without a hidden layer: a straight cut, hardly better
# than guessing, however long one trains. One hidden layer of thirty neurons has begun to wind, but is not there yet.
# Two layers of ten neurons have it, with about as many parameters, and three layers have it too. (Three layers have a
# few more parameters. But a single layer of 37 neurons, which has as many, is no faster: 0.7, 0.8 and 0.7.) After 2,500
# steps the single layer has it as well: in this race depth bought speed, with these three seeds and this learning rate.
# (The rate matters: at 0.05 instead of 0.01 the single layer has 0.9, 1.0 and 0.9 after 1,000 steps.) That depth can
# also save very many neurons is a theorem for networks whose bends are sharp (Telgarsky 2016, "Benefits of depth in
# neural networks"; Montúfar et al. 2014, "On the Number of Linear Regions of Deep Neural Networks").
#
# Two things are not shown by this. First, that one needs depth: a single hidden layer with enough neurons comes as
# close as you like to any continuous function on a closed and bounded region, as long as its bend is not a polynomial
# (Leshno et al. 1993, "Multilayer Feedforward Networks with a Nonpolynomial Activation Function Can Approximate Any
# Function"). (Closed as well as bounded: $1/x$ is continuous for $0 < x < 1$, and no network follows it to infinity.)
# Second, that deeper is always better (question 3). In section 3 the gradient was multiplied by a factor at every bend
# and every layer, and a product of many factors tends to vanish or to explode. How GPT-2 nevertheless gets to 12 and 48
# blocks is told in notebook 2.5.5.

# %% [markdown] tags=["en"]
# ## Questions
#
# 1. In the example by hand $dW_2$ is 0. Does that mean that the second layer has nothing to learn? *Hint: which number
#    made it 0, and will it be 0 after one step?*
#
#    <details><summary>Answer</summary>
#
#    No. $dW_2 = h^\top dz$ is 0 because $h = 0$. After one step $W_1 = (1, -1)^\top - \mathrm{lr}\,(-1, -1)^\top =
#    (1+\mathrm{lr}, -1+\mathrm{lr})^\top$ and $b_1 = \mathrm{lr}$, so $a = 3\,\mathrm{lr} > 0$ and $h > 0$, and from
#    then on $dW_2$ is not 0. (And $db_2 = (-\tfrac12, \tfrac12)$ is not 0 even now.) A gradient is about this point
#    only.
#
#    </details>
# 2. Start the XOR network with all parameters at 0. Predict every gradient before you compute it. Why must parameters
#    begin as *random* numbers? *Hint: steps 2 and 4.*
#
#    <details><summary>Answer</summary>
#
#    All are exactly 0, and the network stays at $\ln 2$ for ever. $h = \mathrm{gelu}(0) = 0$ makes $dW_2 = h^\top dz =
#    0$; $W_2 = 0$ makes $dh = dz\,W_2^\top = 0$, and everything below it is then 0; and $db_2 = \sum_n dz_n = 0$, as
#    both answers occur twice: $dz_n = \tfrac14(\pm\tfrac12, \mp\tfrac12)$. Equal numbers other than 0 would not be
#    enough: neurons with the same parameters have the same gradients and stay the same for ever, so a layer of thirty
#    does the work of one. Random numbers make them different.
#
#    </details>
# 3. Set `budget` to 70, and guess first: which depth suffers least, and does the deepest one still win?
#    *Hint: look at the column of widths.*
#
#    <details><summary>Answer</summary>
#
#    | hidden layers | width | after 1,000 steps | after 2,500 |
#    |---|---|---|---|
#    | 1 | 14 | 0.8 0.7 0.7 | 0.9 0.8 0.9 |
#    | 2 | 6 | 1.0 0.9 0.9 | 1.0 1.0 1.0 |
#    | 3 | 5 | 0.9 0.8 0.9 | 0.9 0.8 1.0 |
#
#    Two layers suffer least. Three layers have only five neurons each and are no longer ahead: after 2,500 steps they
#    are about as good as the single layer.
#
#    </details>
# 4. Replace GELU by $x^2$ (with `mock.patch`, as above; its derivative is $2x$). Can two hidden neurons still do XOR?
#    And can they with $x^3$? *Hint: $(x_1 - x_2)^2$; and what are $s^3$ and $(s - 2)^3$, with $s = x_1 + x_2$, at
#    the four points?*
#
#    <details><summary>Answer</summary>
#
#    Yes, both. $(x_1-x_2)^2$ *is* XOR, with a single neuron. $s^3$ is 0, 1, 1, 8 at $(0,0), (0,1), (1,0), (1,1)$, and
#    $(s-2)^3$ is $-8, -1, -1, 0$; the difference of these two neurons is 8, 2, 2, 8: below 5 says 1, above 5 says 0.
#    (One neuron is not enough for $x^3$, which only rises.) With lr 0.05 and 6,000 steps, seeds 0 to 5, gradient
#    descent finds XOR every time with $x^2$ and twice with $x^3$: that a network *can* is one thing, that training gets
#    there another. That polynomials can do this one problem does not contradict Leshno et al.: they cannot do *every*
#    one.
#
#    </details>
# 5. In the table of promised and found, the promise is too high, and more so the larger the step. What does that say
#    about how the loss curves along the way? *Hint: the second derivative.*
#
#    <details><summary>Answer</summary>
#
#    With one more term, $\mathrm{loss}(\theta - \mathrm{lr}\,g) \approx \mathrm{loss} - \mathrm{lr}\sum_i g_i^2 +
#    \tfrac12\,\mathrm{lr}^2 \sum_{ij} g_i H_{ij}\, g_j$, where $H$ holds the second derivatives. Less is found than
#    promised, so the last sum is positive: along the gradient the loss curves upwards. Its size can be read off: at lr
#    = 1 the shortfall is $0.0230 - 0.0150 = 0.0080$, at lr = 0.1 it is 0.00008, a hundredth for a tenth, as
#    $\mathrm{lr}^2$ says.
#
#    </details>
#
# **Next:** what it means that a model has learned something: [2.2, models](2_2_models.ipynb)
