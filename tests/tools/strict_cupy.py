"""A strict stand-in for CuPy, which computes with NumPy and needs no GPU: put into ``sys.modules["cupy"]``.

It has what the package uses of CuPy and nothing else, with CuPy's signatures. Where CuPy raises, it raises: an array
of the device does not mix with one of the host, does not become one unless asked to (``get``, ``asnumpy``, or a number
by ``float``, ``int``, ``bool``), and knows no ``einsum(..., out=)``. In some places it is stricter, so that nothing
relies on what CuPy does silently: it raises for a function of NumPy's, which CuPy would replace by its own; for an
index on the host, which CuPy would send to the device; for an index out of range, which CuPy wraps around; for an
assignment whose result depends on the order of its indices. New memory is not zero but NaN.

``transfers`` counts what crosses between host and device, also what CuPy sends of its own accord: the size of what a
mask selects, and a number that is assigned to chosen places.

It is a class around an array and not a subclass of NumPy's, as ``np.asarray(x)`` returns the memory of a subclass
silently.
"""

import operator
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

float32, float64, int64, inf = np.float32, np.float64, np.int64, np.inf

IMPLICIT = "Implicit conversion to a NumPy array is not allowed. Please use `.get()`"
TO_DEVICE, TO_HOST = "host to device", "device to host"


@dataclass(frozen=True)
class Transfer:
    """What crossed in one go. where: "file.py:line" of the code that made it."""

    direction: str
    bytes: int
    where: str


transfers = []  # all since the list was last cleared


def _count(direction, nbytes):
    frame = sys._getframe(1)
    while frame.f_globals is globals():
        frame = frame.f_back
    where = f"{frame.f_code.co_filename.replace(chr(92), '/').rpartition('/')[2]}:{frame.f_lineno}"
    transfers.append(Transfer(direction, int(nbytes), where))


def _is_scalar(x):
    return isinstance(x, bool | int | float | np.number | np.bool_)


def _inner(x):
    """NumPy's array in an array of ours; numbers pass, everything else is refused."""
    if isinstance(x, ndarray):
        return x._array
    if _is_scalar(x):
        return x
    raise TypeError(f"Unsupported type {type(x)}")


def _own(x):
    """As ``_inner``, for arguments that must be arrays."""
    if not isinstance(x, ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return x._array


def _wrap(result, *sources):
    """An array of ours around NumPy's, with the base of the source whose memory it shows."""
    if isinstance(result, tuple):
        return tuple(_wrap(part, *sources) for part in result)
    result = np.asarray(result)
    base = next((x for x in sources if result.size and np.may_share_memory(result, x._array)), None)
    if base is not None and result is base._array:
        return base
    return ndarray._around(result, base if base is None or base.base is None else base.base)


def _index(key):
    """An index for NumPy, and whether it holds arrays and masks; indices on the host are refused."""
    parts, arrays, masks = [], False, False
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, ndarray):
            arrays, masks = True, masks or part.dtype.kind == "b"
            part = part._array
        elif not (part is None or part is Ellipsis or isinstance(part, slice | int | np.integer)):
            raise TypeError(f"an index on the host, {type(part)}, would be sent to the device; send it beforehand")
        elif isinstance(part, slice) and any(isinstance(end, ndarray) for end in (part.start, part.stop, part.step)):
            raise TypeError("'cupy.ndarray' object cannot be interpreted as an integer")
        parts.append(part)
    return tuple(parts), arrays, masks


class ndarray:
    """An array on the device."""

    __slots__ = ("_array", "base")
    __hash__ = None

    @classmethod
    def _around(cls, array, base=None):
        self = cls.__new__(cls)
        self._array, self.base = array, base
        return self

    # What can be asked without waiting for the device.
    dtype = property(lambda self: self._array.dtype)
    shape = property(lambda self: self._array.shape)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    itemsize = property(lambda self: self._array.itemsize)
    nbytes = property(lambda self: self._array.nbytes)
    strides = property(lambda self: self._array.strides)
    flags = property(lambda self: SimpleNamespace(
        c_contiguous=self._array.flags.c_contiguous, f_contiguous=self._array.flags.f_contiguous
    ))  # fmt: skip
    data = property(lambda self: SimpleNamespace(ptr=self._array.ctypes.data))
    T = property(lambda self: _wrap(self._array.T, self))

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # What brings numbers to the host.
    def get(self):
        if self.size:
            _count(TO_HOST, self.nbytes)
        return np.array(self._array, order="C")

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __repr__(self):
        return repr(self.get())

    def __format__(self, specification):
        return format(self.get(), specification)

    # What NumPy would do with it.
    def __array__(self, dtype=None, copy=None):
        raise TypeError(IMPLICIT)

    def __array_ufunc__(self, function, method, *inputs, **options):
        if method == "__call__" and isinstance(inputs[0], np.generic) and not options:  # number + array
            return _wrap(function(*map(_inner, inputs)))
        for x in inputs:
            _inner(x)
        raise TypeError(f"numpy.{function.__name__} on an array of the device; take the module from the array")

    def __array_function__(self, function, types, arguments, options):
        raise TypeError(f"numpy.{function.__name__} on an array of the device; take the module from the array")

    # Views, copies, choices.
    def __getitem__(self, key):
        key, _, masks = _index(key)
        if masks:
            _count(TO_HOST, 4)  # how many there are
        return _wrap(self._array[key], self)

    def __setitem__(self, key, value):
        key, arrays, masks = _index(key)
        if masks:
            _count(TO_HOST, 4)
        if arrays and not isinstance(value, ndarray):
            _count(TO_DEVICE, self.itemsize)
        value = _inner(value)
        self._array[key] = value
        if arrays and not masks:
            found, meant = np.broadcast_arrays(self._array[key], np.asarray(value).astype(self.dtype))
            if not ((found == meant) | ((found != found) & (meant != meant))).all():
                raise RuntimeError("places that are assigned twice hold any of the two values on a device")

    def reshape(self, *shape):
        return _wrap(self._array.reshape(*shape), self)

    def ravel(self):
        return _wrap(self._array.ravel(), self)

    def transpose(self, *axes):
        return _wrap(self._array.transpose(*axes), self)

    def swapaxes(self, a, b):
        return _wrap(self._array.swapaxes(a, b), self)

    def astype(self, dtype, copy=True):
        return _wrap(self._array.astype(dtype, copy=copy), self)

    def copy(self):
        return _wrap(self._array.copy())

    def fill(self, value):
        if not _is_scalar(value):
            raise TypeError(f"Unsupported type {type(value)}")
        self._array.fill(value)

    # Reductions: arrays without dimensions stay on the device.
    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return _reduced(self, "sum", axis, out, dtype=dtype, keepdims=keepdims)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        return _reduced(self, "mean", axis, out, dtype=dtype, keepdims=keepdims)

    def max(self, axis=None, out=None, keepdims=False):
        return _reduced(self, "max", axis, out, keepdims=keepdims)

    def min(self, axis=None, out=None, keepdims=False):
        return _reduced(self, "min", axis, out, keepdims=keepdims)

    def all(self, axis=None, out=None, keepdims=False):
        return _reduced(self, "all", axis, out, keepdims=keepdims)

    def any(self, axis=None, out=None, keepdims=False):
        return _reduced(self, "any", axis, out, keepdims=keepdims)

    def argmax(self, axis=None, out=None, dtype=None, keepdims=False):
        return _reduced(self, "argmax", axis, out, keepdims=keepdims)

    def cumsum(self, axis=None, dtype=None, out=None):
        return _reduced(self, "cumsum", axis, out, dtype=dtype)


def _reduced(x, name, axis, out, **options):
    result = getattr(x._array, name)(axis=axis, out=None if out is None else _own(out), **options)
    return out if out is not None else _wrap(result)


ndarray.__module__ = "cupy"


class ufunc:
    """A function of each element, of arrays of the device and numbers."""

    def __init__(self, name):
        self.__name__ = name
        self._of_numpy = getattr(np, name)

    def __call__(self, *arrays, out=None):
        if len(arrays) != self._of_numpy.nin:
            raise TypeError(f"{self.__name__} takes {self._of_numpy.nin} arrays")
        inner = [_inner(x) for x in arrays]
        if out is None:
            return _wrap(self._of_numpy(*inner))
        self._of_numpy(*inner, out=_own(out))
        return out

    def at(self, a, indices, b):
        self._of_numpy.at(_own(a), _own(indices), _own(b))


add, subtract, multiply, divide, maximum = map(ufunc, ("add", "subtract", "multiply", "divide", "maximum"))
exp, log, sqrt, tanh, isfinite = map(ufunc, ("exp", "log", "sqrt", "tanh", "isfinite"))


def _operators():
    """The operators of ``ndarray``: x + y, y + x for a number y, x += y and their like."""

    def define(name, function, reflected=True):
        def binary(x, y):
            return _wrap(function(x._array, _inner(y)))

        def reversed_binary(x, y):
            return _wrap(function(_inner(y), x._array))

        def in_place(x, y):
            changed = getattr(operator, f"__i{name}__")(x._array, _inner(y))
            assert changed is x._array
            return x

        setattr(ndarray, f"__{name}__", binary)
        if reflected:
            setattr(ndarray, f"__r{name}__", reversed_binary)
            setattr(ndarray, f"__i{name}__", in_place)

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
        define(name, getattr(operator, f"__{name}__"))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        define(name, getattr(operator, name), reflected=False)
    ndarray.__matmul__ = lambda x, y: matmul(x, y)
    ndarray.__neg__ = lambda x: _wrap(-x._array)
    ndarray.__invert__ = lambda x: _wrap(~x._array)
    ndarray.__abs__ = lambda x: _wrap(abs(x._array))


_operators()


# New arrays.


def empty(shape, dtype=float, order="C"):
    array = np.empty(shape, dtype, order)
    array.fill(np.nan if array.dtype.kind == "f" else array.dtype.kind == "b" or np.iinfo(array.dtype).min)
    return _wrap(array)


def zeros(shape, dtype=float, order="C"):
    return _wrap(np.zeros(shape, dtype, order))


def ones(shape, dtype=float, order="C"):
    return _wrap(np.ones(shape, dtype, order))


def full(shape, fill_value, dtype=None, order="C"):
    return _wrap(np.full(shape, _inner(fill_value), dtype, order))


def empty_like(prototype, dtype=None):
    return empty(_own(prototype).shape, dtype or prototype.dtype)


def zeros_like(a, dtype=None):
    return _wrap(np.zeros_like(_own(a), dtype))


def ones_like(a, dtype=None):
    return _wrap(np.ones_like(_own(a), dtype))


def arange(start, stop=None, step=1, dtype=None):
    return _wrap(np.arange(start, stop, step, dtype) if stop is not None else np.arange(0, start, step, dtype))


def asarray(a, dtype=None, order=None):
    if isinstance(a, ndarray):
        return _wrap(np.asarray(a._array, dtype, order), a)
    array = np.array(a, dtype, order=order or "K")  # a list that holds arrays of the device is refused by __array__
    if array.size:
        _count(TO_DEVICE, array.nbytes)
    return _wrap(array)


def asnumpy(a):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


# Functions of arrays.


def matmul(a, b, out=None):
    if out is None:
        return _wrap(np.matmul(_own(a), _own(b)))
    np.matmul(_own(a), _own(b), out=_own(out))
    return out


def einsum(subscripts, *operands, dtype=None, optimize=False):
    return _wrap(np.einsum(subscripts, *map(_own, operands), dtype=dtype, optimize=optimize))


def vdot(a, b):
    return _wrap(np.vdot(_own(a), _own(b)))


def where(condition, x=None, y=None):
    if x is None or y is None:
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    return _wrap(np.where(_own(condition), _inner(x), _inner(y)))


def take(a, indices, axis=None, out=None):
    return _wrap(np.take(_own(a), _own(indices), axis))


def take_along_axis(a, indices, axis):
    return _wrap(np.take_along_axis(_own(a), _own(indices), axis))


def triu(m, k=0):
    return _wrap(np.triu(_own(m), k))


def repeat(a, repeats, axis=None):
    if isinstance(repeats, ndarray):
        raise ValueError("cupy.ndaray cannot be specified as `repeats` argument.")
    return _wrap(np.repeat(_own(a), repeats, axis))


def concatenate(tup, axis=0):
    return _wrap(np.concatenate([_own(x) for x in tup], axis))


def argsort(a, axis=-1, kind=None):
    if kind not in (None, "stable"):
        raise ValueError("kind must be None or 'stable'")
    return _wrap(np.argsort(_own(a), axis, kind="stable"))


def partition(a, kth, axis=-1):
    return _wrap(np.sort(_own(a), axis))  # which is a partition


def argpartition(a, kth, axis=-1):
    if not 0 <= kth < a.shape[axis]:
        raise ValueError(f"kth(={kth}) out of bounds {a.shape[axis]}")
    return argsort(a, axis)  # as CuPy does


def ix_(*arguments):
    return tuple(_wrap(x) for x in np.ix_(*map(_own, arguments)))


# Random numbers.


class Philox4x3210:
    """Its numbers are not those of a GPU, but the same for the same seed."""

    def __init__(self, seed=None):
        self.rng = np.random.default_rng([int(seed), 4, 3210])


class Generator:
    def __init__(self, bit_generator):
        self._rng = bit_generator.rng

    def random(self, size=None, dtype=np.float64, out=None):
        return _wrap(self._rng.random(size, dtype))


random = SimpleNamespace(Philox4x3210=Philox4x3210, Generator=Generator)


def is_available():
    return True
