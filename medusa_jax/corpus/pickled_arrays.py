"""Stand-ins for the names that a feature pickle may use: arrays are built here, not by NumPy.

A name maps to a `StandIn`, in the spellings of Python 2 and 3 and of NumPy 1 and 2; a name that is
not in `_STAND_INS` is refused. Arrays are built from their shape, dtype and bytes after each is
checked, since NumPy's own `__setstate__` trusts its argument.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from medusa_jax.errors import CorpusError

MAX_AXES = 4
KEYS = (str, int, float, bool, bytes)
"""Types of the keys of a dictionary, and of the items of a set."""
_KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_PLAIN = (str, int, float, bool)
_ORDERS = ("<", ">", "|", "=")


class PickleError(CorpusError):
    """A pickle that is damaged, or that holds more than numbers, text and arrays."""


def _refused(reason: str) -> PickleError:
    return PickleError(f"the pickle {reason}")


@dataclass
class Budget:
    """Bytes and items that may still be copied: no honest file copies more than it holds."""

    left: int

    def spend(self, amount: int) -> None:
        """Take `amount`. Raises `PickleError` when nothing is left."""
        self.left -= amount
        if self.left < 0:
            raise _refused("expands to more than it holds")


@dataclass(frozen=True, eq=False)
class StandIn:
    """Takes the place of a class or function; `make` is called where the pickle calls that."""

    name: str
    make: Callable[..., Any]


@dataclass(eq=False)
class Dtype:
    """A dtype of numbers, of text with a fixed length, or of objects."""

    value: np.dtype[Any]

    def describe(self, budget: Budget, state: Any) -> None:
        """Set byte order and length of text. Raises `PickleError` for fields or metadata."""
        if type(state) is not tuple or len(state) < 8 or state[0] not in (3, 4):
            raise _refused("describes a dtype in an unknown form")
        if state[2:5] != (None, None, None) or any(part for part in state[8:]):
            raise _refused("has a dtype with fields, shape or metadata, not of plain numbers")
        order, size = state[1], state[5]
        if order not in _ORDERS:
            raise _refused("has a dtype of unknown byte order")
        if self.value.kind in "US" and size not in (-1, self.value.itemsize):
            raise _refused("has text of contradictory lengths")
        self.value = self.value.newbyteorder(order)


@dataclass(eq=False)
class Array:
    """An array; None until the pickle has described it."""

    value: np.ndarray | None = None

    def describe(self, budget: Budget, state: Any) -> None:
        """Build the array of (version, shape, dtype, Fortran order, contents).

        Raises `PickleError` unless the contents have exactly the size of shape and dtype.
        """
        if self.value is not None or type(state) is not tuple or len(state) not in (4, 5):
            raise _refused("describes an array in an unknown form")
        shape, dtype, fortran, contents = state[-4:]
        if type(fortran) not in (bool, int):
            raise _refused("describes an array in an unknown form")
        self.value = _built(budget, shape, dtype, "F" if fortran else "C", contents)


def _built(budget: Budget, shape: Any, dtype: Any, order: str, contents: Any) -> np.ndarray:
    """The array of this shape; `contents` are bytes, or the objects as a list."""
    count = _count(shape)
    if type(dtype) is not Dtype:
        raise _refused("has an array without a dtype")
    if dtype.value.kind == "O":
        return _objects(budget, shape, count, order, contents)
    raw = _raw(budget, contents)
    if len(raw) != count * dtype.value.itemsize:
        wanted = count * dtype.value.itemsize
        raise _refused(f"has an array of {len(raw)} bytes where its shape needs {wanted}")
    if not count:
        return np.zeros(shape, dtype.value)
    return np.frombuffer(raw, dtype.value).reshape(shape, order=order)  # type: ignore[call-overload]


def _count(shape: Any) -> int:
    """Number of elements. Raises `PickleError` for a shape that is none."""
    if type(shape) is not tuple or len(shape) > MAX_AXES:
        raise _refused(f"has an array of no shape, or of more than {MAX_AXES} axes")
    if not all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
        raise _refused("has an array of an impossible shape")
    return math.prod(shape)


def _raw(budget: Budget, contents: Any) -> bytes | bytearray:
    """Bytes; Python 2's arrived as text in Latin-1."""
    if type(contents) is str:
        budget.spend(len(contents))
        return contents.encode("latin-1")
    if type(contents) not in (bytes, bytearray):
        raise _refused("has an array without bytes")
    return contents


def _objects(budget: Budget, shape: Any, count: int, order: str, contents: Any) -> np.ndarray:
    """An array of objects, which are numbers and text only."""
    if type(contents) is not list or len(contents) != count:
        raise _refused("has an array of objects of another size than its shape")
    budget.spend(count)
    if not all(type(item) in _PLAIN for item in contents):
        raise _refused("has an array of objects other than numbers and text")
    flat = np.empty(count, object)
    flat[:] = contents
    return flat.reshape(shape, order=order)  # type: ignore[call-overload]


def _make_dtype(budget: Budget, code: Any, *rest: Any) -> Dtype:
    """`numpy.dtype('f4', align, copy)`."""
    if type(code) is not str or not all(type(flag) in (int, bool) for flag in rest):
        raise _refused("has a dtype that is not named by text")
    kind, digits = code[:1], code[1:]
    size = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 7 else -1
    known = size in _KINDS.get(kind, ()) or (kind in ("U", "S") and size > 0)
    if not known and code not in ("O", "O4", "O8"):
        raise _refused(f"has the dtype {code[:20]!r}, which is no plain number or text")
    return Dtype(np.dtype(object if kind == "O" else code))


def _make_array(budget: Budget, kind: Any, shape: Any, code: Any) -> Array:
    """`_reconstruct(ndarray, (0,), b'b')`: an array that is described later."""
    if kind is not _NDARRAY or shape != (0,) or code not in ("b", b"b"):
        raise _refused("rebuilds an array that is no plain one")
    return Array()


def _make_from_buffer(budget: Budget, raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    """`_frombuffer(bytes, dtype, shape, order)` of protocol 5."""
    if order not in ("C", "F"):
        raise _refused("has an array in an unknown order")
    if type(dtype) is Dtype and dtype.value.kind == "O":
        raise _refused("has an array of objects made from bytes")
    return Array(_built(budget, shape, dtype, order, raw))


def _make_scalar(budget: Budget, dtype: Any, raw: Any) -> Any:
    """`scalar(dtype, bytes)`: a plain number or text."""
    if type(dtype) is Dtype and dtype.value.kind == "O":
        raise _refused("has a scalar that is an object")
    return _built(budget, (1,), dtype, "C", raw)[0].item()


def _make_bytes(budget: Budget, text: Any, encoding: Any) -> bytes:
    """`_codecs.encode(text, 'latin1')`, Python 3's bytes in protocols 0 to 2."""
    if type(text) is not str or encoding != "latin1":
        raise _refused("calls _codecs.encode with other arguments than text and 'latin1'")
    budget.spend(len(text))
    return text.encode("latin-1")


def _items(budget: Budget, given: tuple[Any, ...]) -> Iterable[Any]:
    """The items that a container is made of: none, or those of one list or tuple."""
    if not given:
        return ()
    if len(given) > 1 or type(given[0]) not in (list, tuple):
        raise _refused("makes a container of something that is no list")
    budget.spend(len(given[0]))
    return given[0]


def _make_set(budget: Budget, *given: Any) -> set[Any]:
    found = list(_items(budget, given))
    if not all(type(item) in KEYS for item in found):
        raise _refused("has a set of something other than text and numbers")
    return set(found)


def _make_dict(budget: Budget, *given: Any) -> dict[Any, Any]:
    """`dict`, `OrderedDict`, with pairs or without."""
    pairs = list(_items(budget, given))
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise _refused("makes a dictionary of something other than pairs")
    if not all(type(key) in KEYS for key, _ in pairs):
        raise _refused("has a key that is neither text nor a number")
    return dict(pairs)


def _make_default_dict(budget: Budget, *given: Any) -> dict[Any, Any]:
    """`defaultdict(list)`: an ordinary dictionary, so that nothing is made on access."""
    if len(given) > 1 or not all(item is None or type(item) is StandIn for item in given):
        raise _refused("makes a defaultdict with unknown contents")
    return {}


def _never(budget: Budget, *given: Any) -> Any:
    raise _refused("makes an array in an unknown form")


_NDARRAY = StandIn("ndarray", _never)
_ARRAYS = {
    "_reconstruct": StandIn("_reconstruct", _make_array),
    "scalar": StandIn("scalar", _make_scalar),
}
_FROM_BUFFER = StandIn("_frombuffer", _make_from_buffer)
_CONTAINERS = {
    "set": StandIn("set", _make_set),
    "frozenset": StandIn("frozenset", lambda *given: frozenset(_make_set(*given))),
    "list": StandIn("list", lambda budget, *given: list(_items(budget, given))),
    "tuple": StandIn("tuple", lambda budget, *given: tuple(_items(budget, given))),
    "dict": StandIn("dict", _make_dict),
}
_STAND_INS: dict[tuple[str, str], StandIn] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): StandIn("dtype", _make_dtype),
    ("numpy.core.multiarray", "_reconstruct"): _ARRAYS["_reconstruct"],
    ("numpy.core.multiarray", "scalar"): _ARRAYS["scalar"],
    ("numpy._core.multiarray", "_reconstruct"): _ARRAYS["_reconstruct"],
    ("numpy._core.multiarray", "scalar"): _ARRAYS["scalar"],
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    **{("builtins", name): made for name, made in _CONTAINERS.items()},
    **{("__builtin__", name): made for name, made in _CONTAINERS.items()},
    ("collections", "OrderedDict"): StandIn("OrderedDict", _make_dict),
    ("collections", "defaultdict"): StandIn("defaultdict", _make_default_dict),
    ("_codecs", "encode"): StandIn("encode", _make_bytes),
}
"""Every name that a pickle may use, exactly: no prefix of a module, no attribute of a name."""


def stand_in(module: str, name: str) -> StandIn:
    """The stand-in of a name. Raises `PickleError` for any name that is not on the list."""
    found = _STAND_INS.get((module, name))
    if found is None:
        dotted = ", a dotted name," if "." in name else ""
        shown = f"{module}.{name}"[:80]
        raise PickleError(
            f"the pickle names {shown}{dotted} which is neither an array nor a container",
            hint="such a file can run code when a pickle reader opens it; do not open it elsewhere",
        )
    return found
