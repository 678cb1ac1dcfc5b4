"""What it looks like when a call ends with an error, never, with changed arguments or with something of another kind.

Each hint says what is the case, and asks what may be the cause. What cannot be sure says less.
"""

import inspect
import re
from bdb import BdbQuit
from collections.abc import Iterator

import numpy as np

from minigpt2.exercises.results import describe, outputs_of
from minigpt2.exercises.trees import arrays_in

# The most frequent meanings of exceptions, by their texts.
ERRORS = (
    (
        r"einstein sum|subscripts",
        "The letters of einsum do not fit the arrays: there is one for each axis, and it stands for one length. Has "
        "the array as many axes in every case? `...` stands for any number of leading ones.",
    ),
    (
        r"could not be broadcast together",
        "Two arrays have shapes that do not fit. Compare them from the right: where are two lengths not equal, and "
        "none of them 1? Is one of them transposed, does a slice end early, or did a sum, mean or max remove an axis, "
        "which keepdims=True keeps with length 1?",
    ),
    (
        r"could not broadcast input|non-broadcastable|to indexing result|NumPy boolean array indexing assignment",
        "An array does not fit into the place that it is written to. Print both shapes: has one an axis more than the "
        "other, has the place the length of another array, or does a slice end earlier than you think?",
    ),
    (
        r"matmul|shapes .* not aligned",
        "The inner dimensions of a product do not fit. Write the shapes beside the factors: (n, k) @ (k, m). Must one "
        "of them be transposed, or the batch flattened to rows first? `.T` reverses all axes of an array.",
    ),
    (
        r"ufunc .* output .* with casting rule|Cannot cast ufunc",
        "An operation in place (+=, -=, *=, /=) cannot change an array's dtype: integers stay integers. Make a new "
        "array, or one of the dtype of the floats.",
    ),
    (
        r"negative integer power",
        "In NumPy an integer cannot be raised to a negative one: 10 ** -2 is no integer. Is one of them a float?",
    ),
    (r"bitwise_xor|for \^:", "`^` is not a power in Python, but a comparison of bits: a power is written `**`."),
    (
        r"cannot reshape array of size",
        "The requested shape has a different number of elements from the array. Which letter of the shape legend does "
        "each axis stand for? Is one of them a fixed number, or a length divided by another that does not go into it?",
    ),
    (
        r"NoneType",
        "Something is None: a function without a return that is reached, or one that works in place and returns "
        "nothing, such as np.add.at, list.sort or list.append.",
    ),
    (
        r"must match exactly|same number of dimensions|must have the same shape",
        "Arrays are joined whose shapes do not fit. Print them: along which axis should they be joined, and must they "
        "first have another shape?",
    ),
    (
        r"inhomogeneous|setting an array element with a sequence",
        "An array is made of parts of different shapes, such as a pair (y, cache) that is taken whole.",
    ),
    (
        r"'(tuple|list|dict)' object has no attribute|operand.*'(tuple|dict)'",
        "A tuple, a list or a dict stands where you need something else, such as an array. Which of your calls returns "
        "it?",
    ),
    (
        r"missing \d+ required positional argument|takes \d+ positional argument|takes from \d+",
        "The arguments do not fit: a function is called with more or fewer than it has. If it is yours, compare its "
        "first line with the skeleton; an argument with a default may be left out.",
    ),
    (
        r"only (length-1|size-1|0-dimensional) arrays can be converted",
        "A whole array stands where a single number is needed: float(), int() and the functions of `math` take one "
        "number each.",
    ),
    (
        r"string indices|'str' object has no attribute|concatenate str|of type 'str'|dtype\('<U",
        "A text stands where an array is needed. A dict that is unpacked, or run through in a loop, gives its keys.",
    ),
    (
        r"only integer|must be integers|cannot be interpreted as an integer|slice indices",
        "An index, a shape or a range must be an integer. Print it: `/` gives a float even where nothing is left over.",
    ),
    (
        r"axis \d+ is out of bounds|AxisError",
        "There is no such axis here: an array has fewer axes than you think. "
        "Counting from the end, as in axis=-1, works for any number of them.",
    ),
    (
        r"out of bounds|index out of range|list assignment index",
        "An index is beyond the end. Print it and the length: how many are there, and where does counting begin?",
    ),
    (
        r"referenced before assignment|cannot access local variable",
        "A variable is used before it has a value: is it set "
        "on every way through the function, also when a loop runs zero times?",
    ),
    (
        r"too many values to unpack|not enough values to unpack",
        "A result or a shape has another number of parts than there are names on the left side. Print it.",
    ),
    (r"has no attribute", "Something has another type than you think. Print its type there."),
    (r"name '.*' is not defined", "A name is not known here: a typing mistake, or a cell above that was not run."),
    (
        r"(division|modulo) by zero",
        "The divisor is 0 in this case. Where does it come from: should it be 0, and what is the right result then?",
    ),
    (
        r"too many indices",
        "There are more indices in the brackets than the array has axes. Print its shape: has an axis been lost, or is "
        "there one less in this case?",
    ),
    (
        r"(iterable|sequence) .*empty|empty (iterable|sequence)",
        "The smallest or largest of nothing is asked for. In which case is there nothing, and what is the right result "
        "there?",
    ),
    (r"is not in list|not in tuple|substring not found", "What is looked for is not there. What is right then?"),
    (
        r"must be in range\(0, 256\)",
        "Bytes are the numbers from 0 to 255, and another one came in. Which numbers can there be here?",
    ),
    (
        r"codec can't decode",
        "There are bytes that stand for no character in this encoding. Which bytes can come, and what is wanted then?",
    ),
    (
        r"codec can't encode",
        "There are characters that this encoding does not have. Which characters can come, and which encoding has them "
        "all?",
    ),
    (
        r"unhashable type",
        "A list, a dict or an array can be neither a key of a dict nor an element of a set. A tuple of numbers can.",
    ),
    (
        r"changed (size|its size) during iteration|mutated during iteration",
        "A loop walks over something that it changes. Let it walk over a copy, or build something new.",
    ),
    (r"object is not callable", "Something is called that is not a function. Has a variable the name of a function?"),
    (
        r"unsupported operand|can only concatenate|not supported between|must be str, not",
        "Something has another type than that line needs. Print the types of what stands in it.",
    ),
    (r"read-only", "The input may not be written to. Work on a new array: `x * 1`, `x.copy()`, `np.zeros_like(x)`."),
)

ASKS = (
    "It waits for something to be typed, and nobody is there while it is checked or graded: whatever it needs comes in "
    "as an argument."
)
LATE = "It may never end: does every loop come nearer to its end each time? Print the values in its condition."
KIND = "What came back is of another kind than the docstring says. Print it, and its type."
KEPT = (
    "Each call must return a result of its own. What is kept from one call to the next: a global array, a default "
    "argument such as `store={}`?"
)
FORGETFUL = (
    "Called twice with equal arguments, it gives different results. What is kept from one call to the next: a global "
    "array, a default argument such as `store={}`? Is something random, or an element of np.empty never written to?"
)
DIFFERENCES = (
    "The formulas agree where they were tried, but a small change of an input does not change the result as the "
    "gradient says. Does your forward pass compute what your backward pass assumes?"
)
FORWARD = "The backward pass is tried with the cache of your own forward pass: mend that first."
OWN_FORWARD = (
    "The backward pass is tried with the cache of your own forward pass, which does not give what it should: mend that "
    "first."
)
CACHE = (
    "The result is right, but the gradients cannot be computed from this cache. Here the text says what is in it: "
    "which parts, under which names, each as its own forward pass returned it."
)


def of_fate(outcome, arguments=None):
    """What the end of a call that did not end well may mean.

    arguments: of the call, by name
    """
    return of_lateness(outcome.place) if outcome.late else of_error(outcome.error, outcome.place, arguments or {})


def of_lateness(place):
    """The likeliest reason why a function was not done in time.

    place: its line at the end, as text
    """
    return ASKS if re.search(r"\b(input|getpass|breakpoint|set_trace)\(|\bstdin\b", place) else LATE


def of_error(error, place, arguments):
    """The most frequent meaning of an exception.

    place:     the line that raised it, as text
    arguments: of the call that ended with it, by name
    """
    if isinstance(error, RecursionError):
        return "The function calls itself endlessly."
    if isinstance(error, KeyError):
        is_name = isinstance(next(iter(error.args), None), str)
        return f"{error} is not a key of that dict. Print its keys, and how they come in." + (
            " If it is the cache of your own forward pass, it holds what you put there." if is_name else ""
        )
    asked = re.search("^(raw_input|getpass) was called|reading from stdin", str(error))
    if asked or isinstance(error, EOFError | BdbQuit):
        return ASKS
    if isinstance(error, OSError) and error.filename is not None:
        return "It looks for a file that is not on every machine: whatever it needs comes in as an argument."
    if re.search(r": (raise|assert)\b", place):
        return "Your function itself refuses these arguments, which the docstring allows. What is special about them?"
    text = str(error)
    nothing = [name for name, value in arguments.items() if value is None]
    if nothing and "NoneType" in text:
        return (
            f"{' and '.join(nothing)} may be None, and {'is' if len(nothing) == 1 else 'are'} in this case. What does "
            "the text say of that? Or is something else None that should not be?"
        )
    known = next((hint for pattern, hint in ERRORS if re.search(pattern, text)), "")
    return known or (
        f"It ends with {type(error).__name__}. Print the shapes and types of what stands in that line: which of them "
        "is not what you thought?"
    )


def of_defaults(function, ours, inputs):
    """An argument that is left out, where somebody's function has another default than ours; "" if there is none."""
    try:
        its, defaults = (list(inspect.signature(each).parameters.values())[len(inputs) :] for each in (function, ours))
    except (TypeError, ValueError):  # something that can be called and has no signature
        return ""
    for one, other in zip(its, defaults, strict=False):
        if one.default is not inspect.Parameter.empty and repr(one.default) != repr(other.default):
            return (
                f"In this case {other.name} is left out, and so has its default, {describe(one.default)} in your first "
                "line. What is it in the skeleton?"
            )
    return ""


def of_change(name, attempt):
    """An argument that was changed.

    name: of what is changed, `cache["probs"]`
    """
    key = name.partition("[")[0]
    before = attempt.trial.arguments[key]
    if isinstance(before, list):
        return (
            f"{name} is the caller's own list, which it still needs, with all that is in it. `{name}[i] = ...`, "
            f"append, pop, del, sort and writing into `{name}[i]` change it; make new ones."
        )
    if isinstance(before, dict) and (name == key or not arrays_in(before)):
        return (
            f"{key} is the caller's own dict, which it still needs: nothing may be put into it, taken out or changed. "
            "Begin with a dict of your own."
        )
    if name != key:
        return (
            f"An operation in place (`{name} -= ...`, `out=...`) writes into the caller's array, and `{name} = ...` "
            "puts another one into the caller's dict: which of them is it? Both are still needed. Make new arrays and "
            "a new dict; a copy of a dict holds the same arrays."
        )
    return (
        f"An operation in place (`{name} -= ...`, `{name}[...] = ...`, `out=...`) writes into the array of the caller, "
        "who still needs it. A slice, a reshape or a transpose of an array is the same memory. Write `a = a - b` for "
        "`a -= b`, or copy first."
    )


def of_kind(task, value, expected):
    """A result that is not made of the outputs that the docstring names.

    expected: dotted name -> array
    """
    names = ", ".join(task.outputs)
    wanted = f"`{names}`" + (" and a cache" if task.has_cache else "")
    if value is None:
        return (
            "None came back: either no return is reached, or the line `return ...` returns the result of something "
            f"that works in place, such as np.add.at, list.sort or list.append. Expected: {wanted}."
        )
    if isinstance(value, Iterator):
        return (
            f"An iterator came back, of type {type(value).__name__}: it holds nothing, and gives each item only once. "
            f"Expected: {wanted}, complete."
        )
    is_nested = any(key.startswith(f"{task.outputs[0]}.") for key in expected)
    if isinstance(value, dict) and not task.exact and not is_nested:
        return f"A dict came back in place of {wanted}."
    count = len(task.outputs) + task.has_cache
    if isinstance(value, tuple | list) and count > 1 and value and isinstance(value[0], dict) and not is_nested:
        return f"A dict comes first. In this order: {wanted}."
    if isinstance(value, tuple) and len(task.outputs) == 1 and not task.has_cache:
        return f"A tuple of {len(value)} came back. Expected is {wanted} alone."
    outputs = outputs_of(task, value) if isinstance(value, tuple | list) or len(task.outputs) == 1 else (value,)
    if len(outputs) != len(task.outputs):
        there = f"{len(outputs)} results" if len(outputs) > 1 else "a single result"
        return f"Expected are {len(task.outputs)} results, {wanted}, in this order; {there} came back."
    for name, output in zip(task.outputs, outputs, strict=True):
        nested = [key for key in expected if key.startswith(f"{name}.")]
        kind = list if nested and nested[0].split(".")[1].isdecimal() else dict
        if nested and not isinstance(output, kind):
            return (
                f"{name} should be a {kind.__name__} with the names {', '.join(nested)}; it is {_kind(output)}. In "
                f"this order: {wanted}."
            )
        if nested:
            there, lacking = _difference_of_names(name, output, nested)
            if there or lacking:
                return (
                    f"The names in {name} are not as expected. Missing: {', '.join(lacking) or 'none'}. Not known "
                    f"here: {', '.join(there) or 'none'}."
                )
        elif output is None:
            return f"{name} is None: is it never made, or by something that returns nothing?"
        elif isinstance(output, list):
            order = f" In this order: {wanted}." if count > 1 else ""
            return f"{name} is a list of {len(output)}, and should be a single array.{order}"
        elif isinstance(output, tuple):
            return (
                f"{name} is itself a tuple of {len(output)}. Was a function that returns several things, as (y, "
                "cache), taken whole, or is there a pair of brackets too many?"
            )
        elif isinstance(output, dict):
            return f"{name} is a dict, and should be a single array or number. In this order: {wanted}."
    return f"{KIND} Expected: {wanted}."


def _difference_of_names(name, output, wanted):
    """The dotted names in a nested dict that are not wanted, and those that are missing; a leaf must not be a tuple."""
    found = []

    def walk(node, path):
        if isinstance(node, dict):
            for key, item in node.items():
                walk(item, f"{path}.{key!r}" if "." in str(key) else f"{path}.{key}")
        elif isinstance(node, list):
            for i, item in enumerate(node):
                walk(item, f"{path}.{i}")
        else:
            found.append(f"{path} (a tuple)" if isinstance(node, tuple) else f"{path} (None)" if node is None else path)

    walk(output, name)
    return [each for each in found if each not in wanted], [each for each in wanted if each not in found]


def _kind(value):
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"
