"""A whole GPT-2 out of somebody's own parts, held against ours, tensor by tensor.

    from minigpt2.exercises import whole
    print(whole.check_whole({"layer_norm_forward": my_layer_norm_forward, "gelu_backward": my_gelu_backward}))
    print(whole.check_notebooks("."))  # the functions in the notebooks of exercises 2 to 10 in this folder

What is missing is ours. Larger parts are made of the smaller ones and then replaced, so that the first tensor that
differs names the part that is wrong.
"""

import ast
import itertools
import json
import linecache
from pathlib import Path

import numpy as np

from minigpt2.exercises import EXERCISES, check
from minigpt2.exercises.ex10_model import SORTER
from minigpt2.exercises.guard import call
from minigpt2.exercises.report import Finding, Report
from minigpt2.model import GPT2
from minigpt2.parameters import flatten

TASKS = {task.name: task for exercise in EXERCISES for task in exercise.TASKS}
LEAVES = ("embedding", "position", "layer_norm", "linear", "gelu", "attention", "unembedding", "cross_entropy")
COMPOSITES = ("feed_forward", "block", "gpt2")  # each is made of those before it
PARTS = (
    *(f"{pair}_{way}" for pair in LEAVES + COMPOSITES for way in ("forward", "backward")),
    "sorting_batch", "clip_by_norm", "adamw_step",
)  # fmt: skip
DEFAULTS = {"start": 0, "eps": 1e-5, "label_smoothing": 0.0, "ignore_index": -100}  # of arguments that may be omitted
TITLE = "the whole model"
STEPS = 20  # of training
TOLERANCE = 1e-7  # of the largest number of a tensor; rounding makes 1e-12
SECONDS = 10.0  # for a call
STAGES = {
    "forward": "every activation, from the token vectors to the loss",
    "backward": "every gradient, from the loss to the token vectors",
    "training": f"{STEPS} steps of training on sorting",
}


def check_whole(functions, remarks=()):
    """Join somebody's parts to a whole GPT-2, and find the first tensor in which it differs from ours.

    functions: {name: function}, names as in the exercises; others, and those that are not written, are passed over
    remarks:   sentences to be shown with the result
    returns Report.
    """
    own = {name: functions[name] for name in PARTS if _is_written(name, functions.get(name))}
    if not own:
        text = f"  None of these is written yet: {', '.join(PARTS)}."
        return Report(TITLE, (Finding("it is written", False, text),), remarks=tuple(remarks))
    mine, text = _steps(join(own)), ""
    for agreed, (place, name, expected) in enumerate(_steps(join({}))):
        outcome = call(next, [mine], SECONDS)
        if wrong := _difference(name, outcome.value[2], expected) if outcome.ended else _fate(outcome):
            whose = "yours" if name in own else "ours, which calls yours"
            text = f"  They part at {place}: {name}, {whose}.\n{wrong}\n  The {agreed} results before it agree."
            break
    titles = list(STAGES.values())
    reached = titles.index(STAGES[_stage(place, name)]) if text else len(titles)
    findings = [Finding(title, True) for title in titles[:reached]]
    findings += [Finding(title, False, text) for title in titles[reached : reached + 1]]
    findings += [Finding(title, None) for title in titles[reached + 1 :]]
    return Report(TITLE, tuple(findings), remarks=(_whose(own), *remarks))


def check_notebooks(folder="."):
    """``check_whole`` of the functions in the notebooks of exercises 2 to 10 in a folder, as they are saved there.

    returns Report; a notebook that is missing or broken is a remark in it.
    """
    functions, remarks = {}, []
    for number, exercise in enumerate(EXERCISES[1:10], start=2):
        paths = sorted(Path(folder).glob(f"{number:02}_*.ipynb"))
        if not paths:
            remarks.append(f"there is no notebook {number:02}_....ipynb in this folder.")
            continue
        scope, problem = _definitions(paths[0])
        if problem:
            remarks.append(f"{paths[0].name}: {problem}")
        if number == 10:  # its functions call the parts, which it has imported from the library
            parts = join({name: function for name, function in functions.items() if _is_written(name, function)})
            given = {name for name in parts if str(getattr(scope.get(name), "__module__", "")).startswith("minigpt2.")}
            scope |= {name: parts[name] for name in given}
        functions |= {task.name: scope[task.name] for task in exercise.TASKS if task.name in scope}
    return check_whole(functions, remarks)


def forward_of(name):
    """The name of the forward pass in the course whose cache a backward pass gets, or None."""
    forward = name.replace("_backward", "_forward")
    return forward if forward not in (name, "softmax_forward") and forward in TASKS else None


def own_forward(name, functions):
    """Somebody's own forward pass for a backward pass, if it is written and returns a cache, or None.

    name: of the backward pass; functions: {name: function}
    """
    forward = forward_of(name)
    function = functions.get(forward)
    if function is None:
        return None
    outcome = call(function, _first_inputs(forward), SECONDS)
    if outcome.ended:
        return None if _split(outcome.value)[1] is None else function
    return None if type(outcome.error) is NotImplementedError else function


def join(own):
    """All the parts, {name: function}: somebody's own, and ours in place of the others.

    A forward pass returns (y, cache) here, and the cache is one with which the backward pass of the same name works.
    """
    parts = {name: own.get(name, TASKS[name].reference) for name in PARTS[-3:]}
    for pair in LEAVES:
        task = TASKS[f"{pair}_backward"]
        parts |= _pair(pair, own, task.forward, task.reference)
    for pair, forward, backward in (
        ("feed_forward", _feed_forward, _feed_forward_backward),
        ("block", _block, _block_backward),
        ("gpt2", _gpt2, _gpt2_backward),
    ):
        parts |= _pair(pair, own, _last(forward, parts), _last(backward, parts))
    return parts


def _pair(pair, own, our_forward, our_backward):
    """A forward and a backward pass that fit each other: with somebody's own cache or ours, whichever does better."""
    name = f"{pair}_backward"
    forward, backward = own.get(f"{pair}_forward"), own.get(name)
    fits = backward and own_forward(name, own) and _score(name, backward, forward) >= _score(name, backward, None)
    names = list(TASKS[name].cases(np.random.default_rng(0))[0].inputs)

    def ours(*inputs, **named):
        arguments = DEFAULTS | dict(zip(names, inputs, strict=False)) | named
        return our_forward(*(arguments[name] for name in names))

    def joined(*inputs, **named):
        if not forward:
            return ours(*inputs, **named)
        y, cache = _split(forward(*inputs, **named))
        return y, cache if fits else ours(*inputs, **named)[1]

    return {f"{pair}_forward": joined, name: backward or our_backward}


def _score(name, backward, forward):
    return check(name, backward, forward=forward).score


def _last(generator, parts):
    """A function that returns what a generator of steps returns at its end."""

    def run(*inputs):
        steps = generator(parts, "", *inputs)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    return run


# The model, a step at a time. Each yields (place, name of the part, its result) and returns what the part returns.


def _feed_forward(parts, at, x, params):
    h, c_fc = parts["linear_forward"](x, params["c_fc"]["weight"], params["c_fc"]["bias"])
    yield f"{at}.c_fc", "linear_forward", h
    g, gelu = parts["gelu_forward"](h)
    yield f"{at}.gelu", "gelu_forward", g
    y, c_proj = parts["linear_forward"](g, params["c_proj"]["weight"], params["c_proj"]["bias"])
    yield f"{at}.c_proj", "linear_forward", y
    return y, {"c_fc": c_fc, "gelu": gelu, "c_proj": c_proj}


def _feed_forward_backward(parts, at, dy, cache):
    dg, *c_proj = parts["linear_backward"](dy, cache["c_proj"])
    yield f"{at}.c_proj", "linear_backward", (dg, *c_proj)
    dh = parts["gelu_backward"](dg, cache["gelu"])
    yield f"{at}.gelu", "gelu_backward", dh
    dx, *c_fc = parts["linear_backward"](dh, cache["c_fc"])
    yield f"{at}.c_fc", "linear_backward", (dx, *c_fc)
    return dx, {"c_fc": _named(c_fc), "c_proj": _named(c_proj)}


def _block(parts, at, x, params, n_head):
    normed, ln_1 = parts["layer_norm_forward"](x, params["ln_1"]["weight"], params["ln_1"]["bias"])
    yield f"{at}.ln_1", "layer_norm_forward", normed
    branch, attn = parts["attention_forward"](normed, params["attn"], n_head)
    yield f"{at}.attn", "attention_forward", branch
    mid = x + branch
    normed, ln_2 = parts["layer_norm_forward"](mid, params["ln_2"]["weight"], params["ln_2"]["bias"])
    yield f"{at}.ln_2", "layer_norm_forward", normed
    _, inside = yield from _feed_forward(parts, f"{at}.mlp", normed, params["mlp"])
    branch, mlp = parts["feed_forward_forward"](normed, params["mlp"])
    yield f"{at}.mlp", "feed_forward_forward", branch
    return mid + branch, {
        "ln_1": ln_1, "attn": attn, "ln_2": ln_2, "mlp": mlp, "inside_mlp": inside,
        "x": x, "resid_mid": mid, "params": params, "n_head": n_head,
    }  # fmt: skip


def _block_backward(parts, at, dy, cache):
    yield from _feed_forward_backward(parts, f"{at}.mlp", dy, cache["inside_mlp"])
    dnormed, mlp = parts["feed_forward_backward"](dy, cache["mlp"])
    yield f"{at}.mlp", "feed_forward_backward", (dnormed, mlp)
    dbranch, *ln_2 = parts["layer_norm_backward"](dnormed, cache["ln_2"])
    yield f"{at}.ln_2", "layer_norm_backward", (dbranch, *ln_2)
    dmid = dy + dbranch
    dnormed, attn = parts["attention_backward"](dmid, cache["attn"])
    yield f"{at}.attn", "attention_backward", (dnormed, attn)
    dbranch, *ln_1 = parts["layer_norm_backward"](dnormed, cache["ln_1"])
    yield f"{at}.ln_1", "layer_norm_backward", (dbranch, *ln_1)
    return dmid + dbranch, {"ln_1": _named(ln_1), "attn": attn, "ln_2": _named(ln_2), "mlp": mlp}


def _gpt2(parts, at, ids, params, n_head):
    x, wte = parts["embedding_forward"](ids, params["wte"]["weight"])
    yield "wte", "embedding_forward", x
    x, wpe = parts["position_forward"](x, params["wpe"]["weight"])
    yield "wpe", "position_forward", x
    blocks, inside = [], []
    for i, block in enumerate(params["h"]):
        _, steps = yield from _block(parts, f"h.{i}", x, block, n_head)
        x, cache = parts["block_forward"](x, block, n_head)
        yield f"h.{i}", "block_forward", x
        inside.append(steps)
        blocks.append(cache)
    x, ln_f = parts["layer_norm_forward"](x, params["ln_f"]["weight"], params["ln_f"]["bias"])
    yield "ln_f", "layer_norm_forward", x
    logits, lm_head = parts["unembedding_forward"](x, params["wte"]["weight"])
    yield "lm_head", "unembedding_forward", logits
    return logits, {"wte": wte, "wpe": wpe, "h": blocks, "inside_h": inside, "ln_f": ln_f, "lm_head": lm_head}


def _gpt2_backward(parts, at, dlogits, cache):
    dx, dwte_output = parts["unembedding_backward"](dlogits, cache["lm_head"])
    yield "lm_head", "unembedding_backward", (dx, dwte_output)
    dx, *ln_f = parts["layer_norm_backward"](dx, cache["ln_f"])
    yield "ln_f", "layer_norm_backward", (dx, *ln_f)
    blocks = []
    for i in reversed(range(len(cache["h"]))):
        yield from _block_backward(parts, f"h.{i}", dx, cache["inside_h"][i])
        dx, grads = parts["block_backward"](dx, cache["h"][i])
        yield f"h.{i}", "block_backward", (dx, grads)
        blocks.insert(0, grads)
    dx, dwpe = parts["position_backward"](dx, cache["wpe"])
    yield "wpe", "position_backward", (dx, dwpe)
    dwte = parts["embedding_backward"](dx, cache["wte"])
    yield "wte", "embedding_backward", dwte
    return {"wte": {"weight": dwte_output + dwte}, "wpe": {"weight": dwpe}, "h": blocks, "ln_f": _named(ln_f)}


def _steps(parts):
    """One pass forward and backward, part by part, and then training, in which the parts work as a whole."""
    params, n_head = GPT2(SORTER, 0, "float64").params, SORTER.n_head
    flat, rng = dict(flatten(params)), np.random.default_rng(0)
    m, v = ({name: np.zeros_like(w) for name, w in flat.items()} for _ in range(2))
    for t in range(1, STEPS + 1):
        at = f"step {t}"
        ids, targets = parts["sorting_batch"](rng.integers(0, SORTER.vocab_size, (8, 6)))
        yield at, "sorting_batch", (ids, targets)
        if t == 1:
            _, inside = yield from _gpt2(parts, "", ids, params, n_head)
        logits, cache = parts["gpt2_forward"](ids, params, n_head)
        yield at, "gpt2_forward", logits
        loss, loss_cache = parts["cross_entropy_forward"](logits, targets)
        yield at, "cross_entropy_forward", loss
        dlogits = parts["cross_entropy_backward"](1.0, loss_cache)
        yield at, "cross_entropy_backward", dlogits
        if t == 1:
            yield from _gpt2_backward(parts, "", dlogits, inside)
        grads = parts["gpt2_backward"](dlogits, cache)
        yield at, "gpt2_backward", grads
        grads, norm = parts["clip_by_norm"](flatten(grads), 1.0)
        yield at, "clip_by_norm", (grads, norm)
        for name, w in flat.items():
            decay = 0.1 if w.ndim > 1 else 0.0
            new = parts["adamw_step"](w, grads[name], m[name], v[name], t, 3e-3, 0.9, 0.95, 1e-8, decay)
            yield f"{at}, {name}", "adamw_step", new
            w[...], m[name], v[name] = new


def _named(gradients):
    return dict(zip(("weight", "bias"), gradients, strict=True))


# What somebody has written.


def _is_written(name, function):
    """Whether there is more than the exercise's skeleton."""
    if not callable(function):
        return False
    return type(call(function, _first_inputs(name), SECONDS).error) is not NotImplementedError


def _first_inputs(name):
    """Arguments of a function: those of the first case of its task."""
    task = TASKS[name]
    inputs = list(task.cases(np.random.default_rng(0))[0].inputs.values())
    if not task.forward:
        return inputs
    y, cache = task.forward(*inputs)
    return [np.ones_like(y), cache]


def _split(result):
    """(y, cache) of what a forward pass returned; None for a cache that is empty or missing."""
    if isinstance(result, tuple) and len(result) == 2:
        y, cache = result
        return y, None if isinstance(cache, dict | list | tuple) and not cache else cache
    return result, None


def _definitions(path):
    """The names that the cells of a notebook define, and what is wrong with it in a sentence, or "".

    Nothing but imports, functions, classes and assignments is executed, and of the cells that were given only imports.
    """
    scope, problem = {"__name__": path.stem}, ""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return scope, "it cannot be read as a notebook."
    for number, cell in enumerate(cells, start=1):
        if cell.get("cell_type") != "code":
            continue
        source, filename = "".join(cell["source"]), f"<{path.name}, cell {number}>"
        given = cell.get("metadata", {}).get("nbgrader", {}).get("locked")
        kinds = (ast.Import, ast.ImportFrom)
        kinds += () if given else (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            problem = problem or f"cell {number} is not Python, {error.msg}."
            continue
        tree.body = [node for node in tree.body if isinstance(node, kinds)]
        linecache.cache[filename] = len(source), None, source.splitlines(keepends=True), filename
        outcome = call(exec, [compile(tree, filename, "exec"), scope], SECONDS)
        if not outcome.ended:
            problem = problem or f"cell {number} fails, {_fate(outcome).strip()}."
    return scope, problem


# The result in words.


def _whose(own):
    missing = [name for name in PARTS if name not in own]
    return f"yours: {len(own)} of {len(PARTS)}" + (f"; ours: {', '.join(missing)}." if missing else ".")


def _stage(place, name):
    if place.startswith("step ") and (place != "step 1" or name in PARTS[-3:]):
        return "training"
    return "backward" if name.endswith("_backward") else "forward"


def _difference(part, actual, expected):
    """How a result of a part differs from ours, or ""."""
    expected = _arrays(part, expected)
    try:
        actual = _arrays(part, actual)
    except (TypeError, ValueError):
        actual = {}
    if actual.keys() != expected.keys():
        return f"  came back  {', '.join(actual) or 'nothing of the kind'}\n  expected   {', '.join(expected)}"
    for name, array in expected.items():
        if actual[name].shape != array.shape:
            return f"  {name} has shape {actual[name].shape}, expected {array.shape}"
        gap = np.abs(actual[name] - array).max(initial=0.0)
        if not gap <= TOLERANCE * max(1e-3, np.abs(array).max(initial=0.0)):
            return f"  {name} is off by {gap:.3g}; its largest number should be {np.abs(array).max():.3g}"
    return ""


def _arrays(part, result):
    results = result if isinstance(result, tuple) else (result,)
    named = dict(itertools.zip_longest(TASKS[part].outputs, results[: len(TASKS[part].outputs)]))
    return {name: np.asarray(leaf, float) for name, leaf in flatten(named).items()}


def _fate(outcome):
    what = f"nothing within {SECONDS:g} seconds" if outcome.late else f"{type(outcome.error).__name__}: {outcome.error}"
    return f"  {what}" + (f"\n  at {outcome.place}" if outcome.place else "")
