"""The parameter tree: nested dicts in memory, dotted names on disk, one flat buffer underneath.

``params["h"][3]["attn"]["c_attn"]["weight"]`` and the checkpoint's ``h.3.attn.c_attn.weight`` are the
same array, and that array is a view into one flat buffer that holds every parameter: the matrices
first, then the vectors. The gradients and the optimizer's moments have the same layout, so an
optimizer walks four long rows of numbers and need not know that a model exists.
"""

import math

import numpy as np

from minigpt2.backend import address, array_module, keep_freed_memory, on_host, to_host


def flatten(tree: dict | list, prefix: str = "") -> dict:
    """Dotted names of a nested tree: ``{"h": [{"ln_1": {"bias": b}}]}`` -> ``{"h.0.ln_1.bias": b}``.

    tree: dicts and lists, nested as you like, with anything else as leaves.
    returns: dict from name to the leaf itself, in the tree's order.
    """
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    leaves = {}
    for key, value in items:
        if isinstance(value, dict | list):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def unflatten(leaves: dict) -> dict:
    """The inverse of ``flatten``: a level whose keys are all numbers becomes a list, in the order of the numbers.

    raises: ValueError where a number is missing.
    """
    tree = {}
    for name, leaf in leaves.items():
        *path, last = name.split(".")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[last] = leaf

    def lists(node):
        if not isinstance(node, dict):
            return node
        node = {key: lists(value) for key, value in node.items()}
        if not node or not all(key.isdigit() for key in node):
            return node
        ordered = sorted(node, key=int)  # names in alphabetical order, as in many files, have 10 before 2
        if list(map(int, ordered)) != list(range(len(ordered))):
            raise ValueError(f"unflatten: a list must have the items 0 ... {len(ordered) - 1}, got {', '.join(node)}")
        return [node[key] for key in ordered]

    return lists(tree)


def arrays_of(tree, name, kinds="fiu"):
    """The arrays of a nested tree by their dotted names, as from ``flatten``.

    name: what the tree is, for the message; kinds: NumPy's letters for the numbers that are welcome
    raises: TypeError for what is no tree, and for a leaf that is no array of such numbers; ValueError for an empty one.
    """
    if not isinstance(tree, dict | list):
        raise TypeError(
            f"{name} must be a nested dict of arrays, such as model.params or the second result of loss_and_grads, got "
            f"{type(tree).__name__}"
        )
    leaves = flatten(tree)
    for leaf_name, leaf in leaves.items():
        is_array = isinstance(leaf, array_module(leaf).ndarray)
        if not is_array or leaf.dtype.kind not in kinds:
            wanted = "float32 or float64" if kinds == "f" else "real numbers"
            kind = leaf.dtype if is_array else type(leaf).__name__
            raise TypeError(f"{name}: {leaf_name} must be an array of {wanted}, got {kind}")
    if not leaves:
        raise ValueError(f"{name} is empty: there is no array in it")
    return leaves


def layout(shapes):
    """The place of each parameter in the flat buffer: matrices first, then vectors.

    shapes: dict from dotted name to shape.
    returns: (dict from name to slice, number of elements in matrices, number of elements in all).
    """
    slices, start, matrix_end = {}, 0, 0
    for name in sorted(shapes, key=lambda name: len(shapes[name]) < 2):  # stable: keeps the tree's order
        slices[name] = slice(start, start + math.prod(shapes[name]))
        start = slices[name].stop
        if len(shapes[name]) >= 2:
            matrix_end = start
    return slices, matrix_end, start


def allocate(shapes, dtype, xp):
    """An uninitialised tree whose leaves are views into one new flat buffer.

    shapes: dict from dotted name to shape; dtype: of every parameter; xp: numpy or cupy.
    """
    if xp is np:
        keep_freed_memory()
    return _views(xp.empty(layout(shapes)[2], dtype), shapes)


def allocate_like(params):
    """An uninitialised tree with the same names, shapes, dtype and array module as ``params``."""
    leaves = flatten(params)
    first = next(iter(leaves.values()))
    return allocate(shapes_of(leaves), first.dtype, array_module(first))


def moved(params, xp):
    """The tree as arrays of ``xp``: ``params`` itself if it is one already, else a copy, moved in one transfer."""
    leaves = flatten(params)
    if array_module(next(iter(leaves.values()))) is xp:
        return params
    flat, _ = flat_view(leaves)
    return _views(to_host(flat) if xp is np else xp.asarray(flat), shapes_of(leaves))


def shapes_of(leaves):
    """Dict from dotted name to shape, for a dict from dotted name to array."""
    return {name: leaf.shape for name, leaf in leaves.items()}


def flat_view(leaves):
    """The flat buffer under a tree made by ``allocate``, or a packed copy of any other tree.

    leaves: dict from dotted name to array, as ``flatten`` gives it.
    returns: (flat, shared): a 1-D array in the order of ``layout``, and whether writing to it
        writes to the leaves.
    """
    first = next(iter(leaves.values()))
    xp, slices, size = array_module(first), *_slices_and_size(leaves)
    flat = first.base
    shared = (
        isinstance(flat, xp.ndarray)  # an array that was unpickled or memory-mapped lies in another object
        and flat.shape == (size,)
        and all(
            leaf.base is flat and address(leaf) == address(flat) + slices[name].start * flat.itemsize
            for name, leaf in leaves.items()
        )
    )
    if not shared:
        flat = xp.empty(size, first.dtype)
        for name, leaf in leaves.items():
            flat[slices[name]] = leaf.ravel()
    return flat, shared


def check_writable(leaves, name):
    """Raise ValueError for the first array that cannot be changed, as after a memory map with mode "r".

    leaves: dict from dotted name to array; name: of what would change them, for the message
    """
    for leaf_name, leaf in leaves.items():
        if on_host(leaf) and not leaf.flags.writeable:
            raise ValueError(
                f"{name}: {leaf_name} is read-only and cannot be trained; train a copy (copy.deepcopy), or, if it is "
                "memory-mapped, open it with mode 'c'"
            )


def unpack(flat, leaves):
    """Copy a flat buffer into the leaves of a tree, in place."""
    slices, _ = _slices_and_size(leaves)
    for name, leaf in leaves.items():
        leaf[...] = flat[slices[name]].reshape(leaf.shape)


def _views(flat, shapes):
    slices, _, _ = layout(shapes)
    return unflatten({name: flat[slices[name]].reshape(shape) for name, shape in shapes.items()})


def _slices_and_size(leaves):
    slices, _, size = layout(shapes_of(leaves))
    return slices, size
