"""Exercise 4, linear layer and GELU: the parts of the feed-forward network."""

import math

import numpy as np

from minigpt2.exercises.task import Case, Mistake, Task

NOTEBOOK = "2_5_4_feed_forward"


# Linear layer.


def linear_forward(x, weight, bias):
    """Affine map of the last dimension."""
    y = x @ weight + bias
    return y, {"x": x, "weight": weight, "bias": bias, "y": y}


def linear_backward(dy, cache):
    """Gradients of ``linear_forward``."""
    x, weight = cache["x"], cache["weight"]
    rows, drows = _rows(x), _rows(dy)  # (N, I), (N, O)
    dx = dy @ weight.T
    dweight = rows.T @ drows
    dbias = drows.sum(axis=0)
    return dx, dweight, dbias


def _rows(array):
    return array.reshape(-1, array.shape[-1])


def _affine(rng, I, O):
    return {"weight": rng.standard_normal((I, O)), "bias": 1 + rng.standard_normal(O)}


def _inputs(rng, O, *shape):
    return {"x": rng.standard_normal(shape), **_affine(rng, shape[-1], O)}


def _cases(rng):
    return [
        Case("two sequences of three tokens, four inputs, five outputs", _inputs(rng, 5, 2, 3, 4)),
        Case("as many outputs as inputs", _inputs(rng, 4, 2, 3, 4)),
        Case("one token, one output", _inputs(rng, 1, 1, 1, 6)),
        Case("one input", _inputs(rng, 3, 2, 4, 1)),
        Case("B = T = I = O", _inputs(rng, 3, 3, 3, 3)),
        Case("no axis of time", _inputs(rng, 2, 5, 3)),
        Case("four axes", _inputs(rng, 3, 2, 1, 4, 2)),
    ]


RESHAPED = (
    "A reshape is not a transpose: it reads the numbers in the same order and only breaks the lines elsewhere. And is "
    "a transpose needed?"
)
ACTIVATED = "An activation function is already there. It comes later, as a separate function."

LINEAR_FORWARD = Task(
    name="linear_forward",
    outputs=("y",),
    reference=linear_forward,
    has_cache=True,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "weight is transposed, as PyTorch stores it. Here it is (I, O): where I = O NumPy does not complain, and "
            "the numbers are wrong.",
            (("x @ weight", "x @ weight.T"),),
        ),
        Mistake(RESHAPED, (("x @ weight", "x @ weight.reshape(weight.shape[::-1]).T"),)),
        Mistake(RESHAPED, (("x @ weight", "x @ weight.reshape(weight.shape[::-1])"),)),
        Mistake(
            "`*` multiplies number by number. The formula has a sum over the inputs: which product is that?",
            (("x @ weight", "x * weight"),),
        ),
        Mistake(
            "weight comes first in the product. Which two axes does A @ B sum over, and which do the formula's sum?",
            (("x @ weight", "weight @ x"),),
        ),
        Mistake("bias is missing.", ((" + bias", ""),)),
        Mistake("bias is subtracted.", ((" + bias", " - bias"),)),
        Mistake("bias is added twice.", ((" + bias", " + 2 * bias"),)),
        Mistake("bias multiplies. It is a shift, and not a gain.", ((" + bias", " * bias"),)),
        Mistake(
            "bias is added to x, before the product. It belongs to the outputs.",
            (("x @ weight + bias", "(x + bias) @ weight"),),
        ),
        Mistake(
            "bias runs along the tokens. There is one number for each output, and all tokens share it.",
            ((" + bias", " + bias[:, None]"),),
        ),
        *(
            Mistake("bias is made one number. There is one for each output.", ((" + bias", number),))
            for number in (" + bias.sum()", " + bias[0]")
        ),
        Mistake(
            "Negative outputs are cut off: there is one activation function too many. A linear layer has none.",
            (("return y,", "return np.maximum(y, 0),"),),
        ),
        Mistake(ACTIVATED, (("return y,", "return gelu_forward(y)[0],"),)),
        Mistake(ACTIVATED, (("return y,", "return np.tanh(y),"),)),
        Mistake("x is added to the result. There is no way around a linear layer.", (("return y,", "return x + y,"),)),
    ),
)

TOKENS = "Every token is a way in which a parameter acts on the loss: over which axes must be summed?"

LINEAR_BACKWARD = Task(
    name="linear_backward",
    outputs=("dx", "dweight", "dbias"),
    reference=linear_backward,
    forward=linear_forward,
    cases=_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "dx uses weight as the forward pass does. On the way back O numbers become I: which sum is that? Where I = "
            "O NumPy does not complain.",
            (("weight.T", "weight"),),
        ),
        Mistake(
            "dx has been made with a reshape of weight in place of a transpose: the numbers get other places.",
            (("weight.T", "weight.reshape(weight.shape[::-1])"),),
        ),
        Mistake(
            "bias is added to dx. Does y move more with x if bias is larger?",
            (("dy @ weight.T", 'dy @ weight.T + cache["bias"].sum()'),),
        ),
        Mistake(
            "dweight is transposed. A gradient has the shape of its array; where I = O only the numbers tell.",
            (("rows.T @ drows", "drows.T @ rows"),),
        ),
        *(
            Mistake(
                "dweight has been made with a reshape in place of a transpose: numbers of different tokens, inputs and "
                "outputs get mixed.",
                (("rows.T @ drows", product),),
            )
            for product in ("x.reshape(x.shape[-1], -1) @ drows", "(drows.T @ rows).reshape(weight.shape)")
        ),
        Mistake(
            f"dweight still has the axes of the batch. {TOKENS}",
            (("rows.T @ drows", "np.swapaxes(x, -1, -2) @ dy"),),
        ),
        Mistake(
            f"dweight is summed over the first axis only. That is right where x has three axes. {TOKENS}",
            (("rows.T @ drows", "(np.swapaxes(x, -1, -2) @ dy).sum(axis=0)"),),
        ),
        *(
            Mistake(
                "dweight is that of only one sequence, the first or the last. Does something overwrite the others?",
                (("rows.T @ drows", f"_rows(x[{b}]).T @ _rows(dy[{b}])"),),
            )
            for b in (0, -1)
        ),
        *(
            Mistake(
                "dweight is that of only one token, the first or the last. Does something overwrite the others?",
                (("rows.T @ drows", f"np.outer(rows[{n}], drows[{n}])"),),
            )
            for n in (0, -1)
        ),
        *(
            Mistake(
                "dweight is a mean over the tokens or the sequences. If there is a 1/N in the loss, then dy has it "
                "already.",
                (("rows.T @ drows", f"rows.T @ drows / {count}"),),
            )
            for count in ("len(rows)", "len(x)", "x.shape[-2]")
        ),
        Mistake(
            "dweight is made with y. By how much does one output grow with one number of weight: what does it multiply "
            "in the forward pass?",
            (("rows.T @ drows", '_rows(cache["y"]).T @ drows'),),
        ),
        Mistake(
            "dweight is multiplied by weight, or made with it. By how much does y change with one number of weight?",
            (("rows.T @ drows", "rows.T @ drows * weight"),),
        ),
        Mistake(f"dbias is dy itself. {TOKENS}", (("drows.sum(axis=0)", "dy"),)),
        Mistake(
            "dbias is summed over the first axis only. Over which axes of y is bias shared?",
            (("drows.sum(axis=0)", "dy.sum(axis=0)"),),
        ),
        Mistake(
            "dbias is summed over the tokens of each sequence only. Over which axes of y is bias shared?",
            (("drows.sum(axis=0)", "dy.sum(axis=-2)"),),
        ),
        Mistake(
            "dbias is summed over the first two axes. That is right where y has three axes. Over which axes of y is "
            "bias shared?",
            (("drows.sum(axis=0)", "dy.sum(axis=(0, 1))"),),
        ),
        Mistake(
            "dbias is one number, the sum over all axes. Each output has its own bias.",
            (("drows.sum(axis=0)", "drows.sum()"),),
        ),
        *(
            Mistake("dbias is summed over the outputs. Which axis has to be left?", (("drows.sum(axis=0)", total),))
            for total in ("drows.sum(axis=1)", "dy.sum(axis=-1)")
        ),
        *(
            Mistake(
                "dbias is that of only one sequence, the first or the last. Does something overwrite the others?",
                (("drows.sum(axis=0)", f"_rows(dy[{b}]).sum(axis=0)"),),
            )
            for b in (0, -1)
        ),
        *(
            Mistake(
                "dbias is that of only one token, the first or the last. Does something overwrite the others?",
                (("drows.sum(axis=0)", f"drows[{n}]"),),
            )
            for n in (0, -1)
        ),
        *(
            Mistake(
                "dbias is a mean over the tokens or the sequences. If there is a 1/N in the loss, then dy has it "
                "already.",
                (("drows.sum(axis=0)", f"drows.sum(axis=0) / {count}"),),
            )
            for count in ("len(rows)", "len(x)", "x.shape[-2]")
        ),
        Mistake(
            "dbias is made from dx. bias acts on y, not on x: which gradient does it come from?",
            (("drows.sum(axis=0)", "_rows(dx).sum(axis=0)"),),
        ),
        Mistake(
            "dbias is multiplied by bias. By how much does y change with one number of bias?",
            (("drows.sum(axis=0)", 'drows.sum(axis=0) * cache["bias"]'),),
        ),
        *(
            Mistake(
                "The gradients are in the wrong order: it is that of the forward pass's arguments.",
                (("dx, dweight, dbias", order),),
            )
            for order in ("dx, dbias, dweight", "dweight, dx, dbias", "dweight, dbias, dx", "dbias, dweight, dx")
        ),
    ),
)


# GELU.


def gelu_forward(x):
    """GELU in its tanh form."""
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    tanh = np.tanh(u)
    y = 0.5 * x * (1 + tanh)
    return y, {"x": x, "u": u, "tanh": tanh, "y": y}


def gelu_backward(dy, cache):
    """Gradient of ``gelu_forward``."""
    x, tanh = cache["x"], cache["tanh"]
    du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    dtanh = (1 - tanh**2) * du
    slope = 0.5 * (1 + tanh) + 0.5 * x * dtanh
    return dy * slope


def _erf(x):
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


def _gelu_cases(rng):
    return [
        Case("two sequences of three tokens, four channels", {"x": 2 * rng.standard_normal((2, 3, 4))}),
        Case("from -4 to 4, where it bends", {"x": np.linspace(-4, 4, 33)}),
        Case("zero and numbers near it", {"x": np.array([[0.0, 1e-3, -1e-3, 1e-9, -1e-9]])}),
        Case("negative numbers only", {"x": -0.1 - np.abs(rng.standard_normal((3, 4)))}),
        Case("large numbers of either sign", {"x": np.array([[-1000.0, -30.0, -10.0], [10.0, 30.0, 1000.0]])}),
        Case("four axes", {"x": rng.standard_normal((2, 1, 3, 2))}),
    ]


SQUARED = "x is not cubed in u, but squared or multiplied. A power is written `**`."

GELU_FORWARD = Task(
    name="gelu_forward",
    outputs=("y",),
    reference=gelu_forward,
    has_cache=True,
    cases=_gelu_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "This is the erf form. GPT-2 was trained with the tanh form, which differs from it in the fourth digit.",
            (("np.tanh(u)", "_erf(x / math.sqrt(2))"),),
        ),
        Mistake(
            "The gate has erf of x itself. In the erf form x is divided by a root first; GPT-2 has the tanh form.",
            (("np.tanh(u)", "_erf(x)"),),
        ),
        Mistake(
            "This is the approximation with a sigmoid, x sigmoid(1.702 x). GPT-2 was trained with the tanh form.",
            (("np.tanh(u)", "np.tanh(1.702 * x / 2)"),),
        ),
        Mistake(
            "This is x sigmoid(x), which is called SiLU or swish. The GELU's gate has another formula.",
            (("np.tanh(u)", "np.tanh(x / 2)"),),
        ),
        Mistake("This is the ReLU. The GELU is its rounded relative.", (("np.tanh(u)", "np.sign(x)"),)),
        Mistake(
            "The gate has a sigmoid of u in place of its tanh. How far do the two reach?",
            (("np.tanh(u)", "1 / (1 + np.exp(-u))"),),
        ),
        *(
            Mistake(
                "exp overflows for large numbers, and infinity divided by infinity is NaN. NumPy has the function that "
                "you build here, and avoids that.",
                (("np.tanh(u)", tanh),),
            )
            for tanh in (
                "(np.exp(u) - np.exp(-u)) / (np.exp(u) + np.exp(-u))",
                "(1 - np.exp(-2 * u)) / (1 + np.exp(-2 * u))",
                "(np.exp(2 * u) - 1) / (np.exp(2 * u) + 1)",
            )
        ),
        *(Mistake(SQUARED, (("x**3", power),)) for power in ("x**2", "3 * x")),
        Mistake("The cubic term in u is missing, or is zero.", (("0.044715 * x**3", "0 * x"),)),
        Mistake("The cubic term in u has no constant.", (("0.044715 * x**3", "x**3"),)),
        Mistake("The cubic term in u is subtracted.", (("+ 0.044715", "- 0.044715"),)),
        *(
            Mistake("The power covers too much: what is cubed in u?", (change,))
            for change in (
                ("x + 0.044715 * x**3", "x + (0.044715 * x) ** 3"),
                ("(x + 0.044715 * x**3)", "(x + 0.044715 * x) ** 3"),
                ("(x + 0.044715 * x**3)", "((1 + 0.044715) * x) ** 3"),
            )
        ),
        Mistake(
            "The constant of the cubic term has one digit too few: 0.044715 begins with two zeros.",
            (("0.044715", "0.44715"),),
        ),
        Mistake(
            "The root of 2/pi multiplies only x. What does the bracket in u hold?",
            (("(x + 0.044715 * x**3)", "x + 0.044715 * x**3"),),
        ),
        Mistake("There is no root over 2/pi.", (("math.sqrt(2 / math.pi)", "(2 / math.pi)"),)),
        Mistake(
            "The root covers only 2 and not pi. Count the brackets.",
            (("math.sqrt(2 / math.pi)", "(math.sqrt(2) / math.pi)"),),
        ),
        Mistake(
            "The root covers only pi and not 2. Count the brackets.",
            (("math.sqrt(2 / math.pi)", "(2 / math.sqrt(math.pi))"),),
        ),
        *(
            Mistake("2 or pi is on the wrong side of the fraction under the root.", (("(2 / math.pi)", fraction),))
            for fraction in ("(2 * math.pi)", "(math.pi / 2)", "(1 / (2 * math.pi))")
        ),
        Mistake("The factor before u is missing.", (("math.sqrt(2 / math.pi) * ", ""),)),
        Mistake(
            "It is twice as large as it should be: a gate lies between 0 and 1, and 1 + tanh u between 0 and 2.",
            (("0.5 * x", "x"),),
        ),
        Mistake("There is one 1/2 too many.", (("0.5 * x", "0.25 * x"),)),
        Mistake(
            "The 1 is missing: tanh u lies between -1 and 1, so a negative x comes out positive.",
            (("(1 + tanh)", "tanh"),),
        ),
        Mistake("The gate opens the wrong way: it has to open as x grows.", (("(1 + tanh)", "(1 - tanh)"),)),
        Mistake("A bracket is missing: what does x multiply?", (("x * (1 + tanh)", "x * 1 + tanh"),)),
        Mistake("The gate is added to x. What does a gate do?", (("0.5 * x * (1 + tanh)", "x + 0.5 * (1 + tanh)"),)),
        Mistake("It is only the gate. What does it multiply?", (("0.5 * x", "0.5"),)),
        Mistake(
            "The gate multiplies u. u is only what opens it: what passes through?",
            (("0.5 * x", "0.5 * u"),),
        ),
    ),
)

POWER = "In the derivative of u there is a wrong power of x. Which power is in the derivative of x^3?"
HALVES = "The 1/2 belongs to both terms of the product rule, to each once."

GELU_BACKWARD = Task(
    name="gelu_backward",
    outputs=("dx",),
    reference=gelu_backward,
    forward=gelu_forward,
    cases=_gelu_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The gate is treated as a constant. x moves it as well: the product rule has a second term.",
            ((" + 0.5 * x * dtanh", ""),),
        ),
        Mistake(
            "The gate itself is missing. The product rule has two terms, and this is the second one.",
            (("0.5 * (1 + tanh) + ", ""),),
        ),
        *(
            Mistake(
                "The two terms of the product rule are multiplied. What does the rule do with them?",
                ((" + 0.5 * x * dtanh", product),),
            )
            for product in (" * x * dtanh", " * 0.5 * x * dtanh")
        ),
        Mistake("The second term is subtracted. In which direction does x move the gate?", (("+ 0.5 *", "- 0.5 *"),)),
        Mistake(
            "The chain rule stops at u, which is a function of x too: multiply by its derivative.",
            ((" * du", ""),),
        ),
        Mistake("The derivative of tanh is missing in the second term.", (("(1 - tanh**2) * ", ""),)),
        Mistake(
            "The derivative of tanh is not 1 - tanh: something in it is squared.",
            (("tanh**2", "tanh"),),
        ),
        *(
            Mistake("The derivative of tanh is made with another number than tanh u.", (("tanh**2", square),))
            for square in ('cache["u"] ** 2', "x * x", 'cache["y"] ** 2')
        ),
        Mistake(
            "In the derivative of tanh there is a plus in place of the minus.",
            (("1 - tanh**2", "1 + tanh**2"),),
        ),
        Mistake(
            "tanh has been taken twice. What is in the cache under that name already?",
            (('cache["tanh"]', 'np.tanh(cache["tanh"])'),),
        ),
        Mistake("u stands in the place of tanh u. What is in the cache?", (('cache["tanh"]', 'cache["u"]'),)),
        Mistake("tanh is taken of x. In the forward pass, of what?", (('cache["tanh"]', 'np.tanh(cache["x"])'),)),
        Mistake("In the derivative of u a factor of the cubic term is missing.", (("3 * ", ""),)),
        *(Mistake(POWER, (("x**2", power),)) for power in ("x**3", "x")),
        Mistake("In the derivative of u the cubic term is missing, or is zero.", ((" + 3 * 0.044715 * x**2", ""),)),
        Mistake(
            "In the derivative of u there is only the cubic term's. What is the derivative of the other one?",
            (("1 + 3", "3"),),
        ),
        Mistake(
            "In the derivative of u one x is still there. What is the derivative of x?",
            (("1 + 3", "x + 3"),),
        ),
        Mistake(
            "In the derivative of u stands u itself, or its formula without a derivative.",
            (("(1 + 3 * 0.044715 * x**2)", "(x + 0.044715 * x**3)"),),
        ),
        Mistake(
            "In the derivative of u the constant of the cubic term has one digit too few.",
            (("0.044715", "0.44715"),),
        ),
        Mistake(
            "In the derivative of u the number before the bracket is missing.",
            (("math.sqrt(2 / math.pi) * ", ""),),
        ),
        *(
            Mistake(
                "In the derivative of u, the number before the bracket is another one than in the forward pass.",
                (("math.sqrt(2 / math.pi)", number),),
            )
            for number in ("(2 / math.pi)", "(math.sqrt(2) / math.pi)", "math.sqrt(math.pi / 2)", "(2 / math.pi**0.5)")
        ),
        Mistake(
            "In the derivative of u the number before the bracket multiplies only the first term.",
            (("(1 + 3 * 0.044715 * x**2)", "1 + 3 * 0.044715 * x**2"),),
        ),
        Mistake(
            "The second term lacks the factor x: the product rule leaves it unchanged where the gate is "
            "differentiated.",
            (("0.5 * x * dtanh", "0.5 * dtanh"),),
        ),
        Mistake(
            "In the second term stands y in place of x. Which factor is left unchanged where the gate is "
            "differentiated?",
            (("0.5 * x * dtanh", '0.5 * cache["y"] * dtanh'),),
        ),
        *(
            Mistake(HALVES, (change,))
            for change in (
                ("0.5 * x * dtanh", "x * dtanh"),
                ("0.5 * (1 + tanh)", "(1 + tanh)"),
                ("0.5 * x * dtanh", "0.25 * x * dtanh"),
            )
        ),
        Mistake("The gate lacks its 1 in the first term.", (("(1 + tanh)", "tanh"),)),
        Mistake(
            "dx is twice as large as it should be: there is a 1/2 in the forward pass.",
            (("dy * slope", "2 * dy * slope"),),
        ),
        Mistake(
            "dy does not occur. This is the slope of the GELU; the chain rule continues from there.",
            (("dy * slope", "slope"),),
        ),
        Mistake("dy is added. What does the chain rule do with it?", (("dy * slope", "dy + slope"),)),
        Mistake(
            "It is multiplied by the GELU itself. Its slope is needed.",
            (("dy * slope", 'dy * cache["y"]'),),
        ),
        Mistake(
            "This is the derivative of the erf form. Yours must be that of the forward pass, the tanh form.",
            (
                (
                    "dy * slope",
                    "dy * (0.5 * (1 + _erf(x / 2**0.5)) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))",
                ),
            ),
        ),
        Mistake("This is the derivative of the ReLU.", (("dy * slope", "dy * (x > 0)"),)),
    ),
)


# The harder part: both together.


def feed_forward_forward(x, params):
    """Two linear layers with a GELU between them."""
    h, c_fc = linear_forward(x, **params["c_fc"])
    g, gelu = gelu_forward(h)
    y, c_proj = linear_forward(g, **params["c_proj"])
    return y, {"c_fc": c_fc, "gelu": gelu, "c_proj": c_proj, "x": x, "params": params, "h": h, "g": g}


def feed_forward_backward(dy, cache):
    """Gradients of ``feed_forward_forward``, in reverse order."""
    dg, dproj_weight, dproj_bias = linear_backward(dy, cache["c_proj"])
    dh = gelu_backward(dg, cache["gelu"])
    dx, dfc_weight, dfc_bias = linear_backward(dh, cache["c_fc"])
    c_fc = {"weight": dfc_weight, "bias": dfc_bias}
    c_proj = {"weight": dproj_weight, "bias": dproj_bias}
    return dx, {"c_fc": c_fc, "c_proj": c_proj}


def _network(rng, F, *shape):
    C = shape[-1]
    return {
        "x": rng.standard_normal(shape),
        "params": {"c_fc": _affine(rng, C, F), "c_proj": _affine(rng, F, C)},
    }


def _network_cases(rng):
    return [
        Case("two sequences of three tokens, four channels, seven inner ones", _network(rng, 7, 2, 3, 4)),
        Case("B = T = C = F", _network(rng, 3, 3, 3, 3)),
        Case("one token", _network(rng, 8, 1, 1, 2)),
        Case("one inner channel", _network(rng, 1, 2, 2, 3)),
    ]


FEED_FORWARD_FORWARD = Task(
    name="feed_forward_forward",
    outputs=("y",),
    reference=feed_forward_forward,
    has_cache=True,
    cases=_network_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "There is nothing between the two linear layers: two of them in a row are no more than one.",
            (("gelu_forward(h)", "h, {}"),),
        ),
        Mistake(
            "There is a ReLU between the two layers. Use your GELU.",
            (("gelu_forward(h)", "np.maximum(h, 0), {}"),),
        ),
        Mistake("The GELU comes twice between the layers.", (("gelu_forward(h)", "gelu_forward(gelu_forward(h)[0])"),)),
        Mistake("There is a GELU after the second layer.", (("return y,", "return gelu_forward(y)[0],"),)),
        Mistake(
            "There is a GELU before the first layer.",
            (("linear_forward(x,", "linear_forward(gelu_forward(x)[0],"),),
        ),
        Mistake(
            "x is added to the result. The block does that, outside this function.",
            (("return y,", "return x + y,"),),
        ),
        Mistake(
            "The bias of the first layer is missing.",
            (('**params["c_fc"]', 'params["c_fc"]["weight"], 0'),),
        ),
        Mistake(
            "The bias of the second layer is missing.",
            (('**params["c_proj"]', 'params["c_proj"]["weight"], 0'),),
        ),
    ),
)

FEED_FORWARD_BACKWARD = Task(
    name="feed_forward_backward",
    outputs=("dx", "grads"),
    reference=feed_forward_backward,
    forward=feed_forward_forward,
    cases=_network_cases,
    notebook=NOTEBOOK,
    mistakes=(
        Mistake(
            "The gradient passes the GELU as if it were not there.",
            (('gelu_backward(dg, cache["gelu"])', "dg"),),
        ),
        Mistake(
            "The gradient is multiplied by the GELU itself on its way back. Which function takes it through the GELU?",
            (('gelu_backward(dg, cache["gelu"])', 'dg * cache["g"]'),),
        ),
        Mistake(
            "The slope of the GELU is taken after it, at g. It is a function of h.",
            (('gelu_backward(dg, cache["gelu"])', 'gelu_backward(dg, gelu_forward(cache["g"])[1])'),),
        ),
        Mistake(
            "The gradient of c_proj's weight is made with h. What was the input of the second layer in the forward "
            "pass?",
            (('cache["c_proj"]', 'cache["c_proj"] | {"x": cache["h"]}'),),
        ),
        Mistake(
            "dy is added to dx. That is the way around this network, which belongs to the block.",
            (("return dx,", "return dx + dy,"),),
        ),
        Mistake(
            "The gradients of the two layers are exchanged: to which does each name belong?",
            (('"c_fc": c_fc, "c_proj": c_proj', '"c_fc": c_proj, "c_proj": c_fc'),),
        ),
    ),
)

TASKS = (
    LINEAR_FORWARD,
    LINEAR_BACKWARD,
    GELU_FORWARD,
    GELU_BACKWARD,
    FEED_FORWARD_FORWARD,
    FEED_FORWARD_BACKWARD,
)
