"""A pickler that writes as Python 2's cPickle did, in protocol 0 or 2: opcode by opcode.

Text is a byte string, names are `__builtin__`'s and `numpy.core.multiarray`'s, a dtype's flags are
0 and 1, an array's contents are a byte string. Written from the description of each opcode in
`pickletools`.
"""

import pickle
import struct
from typing import Any

import numpy as np


class Name:
    """A global, as `module\\nname`."""

    def __init__(self, module: str, name: str) -> None:
        self.text = f"{module}\n{name}\n".encode()
        self.key = (module, name)


_RECONSTRUCT = Name("numpy.core.multiarray", "_reconstruct")
_SCALAR = Name("numpy.core.multiarray", "scalar")
_NDARRAY, _DTYPE = Name("numpy", "ndarray"), Name("numpy", "dtype")
_SET, _DEFAULT = Name("__builtin__", "set"), Name("collections", "defaultdict")
_LIST = Name("__builtin__", "list")


class Python2Pickler:
    """`dumps` of tuples, lists, dictionaries, sets, text, numbers and arrays."""

    def __init__(self, protocol: int = 2) -> None:
        assert protocol in (0, 2)
        self._binary = protocol == 2
        self._out: list[bytes] = [pickle.PROTO + b"\2"] if self._binary else []
        self._memo: dict[Any, int] = {}

    def dumps(self, value: Any) -> bytes:
        self._save(value)
        return b"".join([*self._out, pickle.STOP])

    def _save(self, value: Any) -> None:
        kind = type(value)
        if isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, np.generic):
            self._called(_SCALAR, (value.dtype, value.tobytes()))
        elif isinstance(value, np.dtype):
            self._dtype(value)
        else:
            getattr(self, f"_{kind.__name__.lower()}")(value)

    def _write(self, *parts: bytes) -> None:
        self._out += parts

    def _put(self, key: Any) -> None:
        """Remember an object; numbers begin with 1, as cPickle's."""
        number = self._memo.setdefault(key, len(self._memo) + 1)
        if not self._binary:
            self._write(pickle.PUT, b"%d\n" % number)
        elif number < 256:
            self._write(pickle.BINPUT, bytes([number]))
        else:
            self._write(pickle.LONG_BINPUT, struct.pack("<I", number))

    def _known(self, key: Any) -> bool:
        number = self._memo.get(key)
        if number is None:
            return False
        if not self._binary:
            self._write(pickle.GET, b"%d\n" % number)
        elif number < 256:
            self._write(pickle.BINGET, bytes([number]))
        else:
            self._write(pickle.LONG_BINGET, struct.pack("<I", number))
        return True

    def _nonetype(self, value: None) -> None:
        self._write(pickle.NONE)

    def _bool(self, value: bool) -> None:
        known = pickle.NEWTRUE if value else pickle.NEWFALSE
        self._write(known if self._binary else b"I0%d\n" % value)

    def _int(self, value: int) -> None:
        if not self._binary:
            self._write(b"I%d\n" % value)
        elif 0 <= value < 256:
            self._write(pickle.BININT1, bytes([value]))
        else:
            self._write(pickle.BININT, struct.pack("<i", value))

    def _float(self, value: float) -> None:
        text = pickle.FLOAT + repr(value).encode() + b"\n"
        self._write(pickle.BINFLOAT + struct.pack(">d", value) if self._binary else text)

    def _str(self, value: str) -> None:
        self._bytes(value.encode("latin-1"))

    def _bytes(self, value: bytes) -> None:
        if self._known(value):
            return
        if not self._binary:
            self._write(pickle.STRING, repr(value)[1:].encode("ascii"), b"\n")
        elif len(value) < 256:
            self._write(pickle.SHORT_BINSTRING, bytes([len(value)]), value)
        else:
            self._write(pickle.BINSTRING, struct.pack("<i", len(value)), value)
        self._put(value)

    def _name(self, value: Name) -> None:
        if not self._known(value.key):
            self._write(pickle.GLOBAL, value.text)
            self._put(value.key)

    def _tuple(self, value: tuple[Any, ...]) -> None:
        short = {0: pickle.EMPTY_TUPLE, 1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}
        code = short.get(len(value)) if self._binary else None
        if code is None:
            self._write(pickle.MARK)
        for item in value:
            self._save(item)
        self._write(code or pickle.TUPLE)
        self._put(object())

    def _list(self, value: list[Any]) -> None:
        self._write(pickle.EMPTY_LIST if self._binary else pickle.MARK + pickle.LIST)
        self._put(object())
        for start in range(0, len(value) if self._binary else 0, 1000):
            self._write(pickle.MARK)
            for item in value[start : start + 1000]:
                self._save(item)
            self._write(pickle.APPENDS)
        for item in [] if self._binary else value:
            self._save(item)
            self._write(pickle.APPEND)

    def _dict(self, value: dict[Any, Any]) -> None:
        self._write(pickle.EMPTY_DICT if self._binary else pickle.MARK + pickle.DICT)
        self._put(object())
        self._items(value)

    def _items(self, value: dict[Any, Any]) -> None:
        for key, item in value.items():
            self._save(key)
            self._save(item)
            self._write(pickle.SETITEM)

    def _defaultdict(self, value: dict[Any, Any]) -> None:
        self._called(_DEFAULT, (_LIST,))
        self._items(value)

    def _set(self, value: set[Any]) -> None:
        self._called(_SET, (list(value),))

    def _called(self, name: Name, arguments: tuple[Any, ...]) -> None:
        self._name(name)
        self._tuple(arguments)
        self._write(pickle.REDUCE)
        self._put(object())

    def _array(self, value: np.ndarray) -> None:
        self._called(_RECONSTRUCT, (_NDARRAY, (0,), "b"))
        fortran = value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous
        objects = value.dtype.kind == "O"
        raw = value.ravel().tolist() if objects else value.tobytes("A" if fortran else "C")
        self._tuple((1, value.shape, value.dtype, fortran, raw))
        self._write(pickle.BUILD)

    def _dtype(self, value: np.dtype[Any]) -> None:
        if self._known(value):
            return
        self._name(_DTYPE)
        self._tuple((value.str[1:] if value.kind != "O" else "O8", 0, 1))
        self._write(pickle.REDUCE)
        self._put(value)
        sized = value.kind in "US"
        width = (value.itemsize, 4 if value.kind == "U" else 1) if sized else (-1, -1)
        order = {"O": "|", "S": "|"}.get(value.kind, value.str[0])
        self._tuple((3, order, None, None, None, *width, 63 if value.kind == "O" else 0))
        self._write(pickle.BUILD)
