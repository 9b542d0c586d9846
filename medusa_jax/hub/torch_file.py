"""Read the tensors of a file that PyTorch's `save` wrote, without PyTorch and without running code.

Both forms are read: the zip archive since PyTorch 1.6, whose `data.pkl` names the storages beside
it, and the earlier stream of pickles with the storages at its end. Of the names in a pickle, those
of tensors are resolved to the plain classes below, and any other is refused.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import ml_dtypes
import numpy as np

from medusa_jax.corpus.pickle_scan import own_opcodes

_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an earlier file
_HEAD = 4  # pickles of an earlier file: magic number, version, system, contents


class TorchFileError(ValueError):
    """The file is damaged, or holds something that is no tensor."""


@dataclass
class _Storage:
    """Numbers that tensors view; `data` is read after the pickle that names them."""

    dtype: np.dtype
    data: np.ndarray


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """A copy. Raises `TorchFileError` for a view of more than its storage."""
        data, steps = self.storage.data, zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * step for size, step in steps)
        numbers = (self.offset, *self.shape, *self.strides)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise TorchFileError("a tensor's shape is damaged")
        if 0 in self.shape:
            return np.zeros(self.shape, data.dtype)
        if last >= len(data):
            raise TorchFileError("a tensor is longer than its storage")
        strides = [step * data.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, strides)
        return view.copy()


def read_torch_file(path: Path) -> object:
    """The contents of the file, each tensor as an array with memory of its own.

    Arrays stand where tensors stood, in a dictionary; contents of another form are returned as they
    are. Raises `TorchFileError` if the file is damaged or names anything but tensors.
    """
    try:
        contents = _of_archive(path) if zipfile.is_zipfile(path) else _of_stream(path)
        if not isinstance(contents, dict):
            return contents
        return {
            key: value.array() if isinstance(value, _Tensor) else value
            for key, value in contents.items()
        }
    except TorchFileError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        raise TorchFileError(f"{type(error).__name__}: {error}") from error


def _of_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = pickled.removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist():
            _refuse_order(archive.read(f"{root}byteorder").decode())

        def storage(dtype: np.dtype, key: str, count: int) -> _Storage:
            return _Storage(dtype, _numbers(archive.read(f"{root}data/{key}"), dtype, count))

        with archive.open(pickled) as file:
            return _Unpickler(file, storage).load()


def _of_stream(path: Path) -> Any:
    storages: dict[str, tuple[_Storage, int]] = {}

    def storage(dtype: np.dtype, key: str, count: int) -> _Storage:
        return storages.setdefault(key, (_Storage(dtype, np.empty(0, dtype)), count))[0]

    with path.open("rb") as file:
        magic, _, system, contents = (_Unpickler(file, storage).load() for _ in range(_HEAD))
        if magic != _MAGIC:
            raise TorchFileError("this is no file of PyTorch's")
        _refuse_order("little" if system["little_endian"] else "big")
        for key in _Unpickler(file, storage).load():
            held, count = storages[key]
            stated = file.read(8)
            if len(stated) != 8 or int.from_bytes(stated, "little") != count:
                raise TorchFileError("a storage has another size than stated")
            held.data = _numbers(file.read(count * held.dtype.itemsize), held.dtype, count)
    return contents


def _numbers(raw: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    if len(raw) != count * dtype.itemsize:
        raise TorchFileError("a storage has another size than stated")
    return np.frombuffer(raw, dtype)


def _refuse_order(order: str) -> None:
    if order != "little":
        raise TorchFileError(f"the byte order is {order}, not little")


class _Unpickler(pickle._Unpickler):
    """Resolves the names of tensors only, and sets no attribute of anything; `storage` makes one of
    dtype, key and count. This is Python's own unpickler, not that in C, whose steps are fixed.
    """

    def __init__(self, file: IO[bytes], storage: Callable[[np.dtype, str, int], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name. Raises `TorchFileError` for one that is not a tensor's."""
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        found = _NAMES.get((module, name))
        if found is None:
            raise TorchFileError(f"it names {module}.{name}, which is no tensor")
        return found

    def ignore_state(self) -> None:
        """Drop the state of an object, such as the versions that a model's dictionary carries."""
        self.stack.pop()  # type: ignore[attr-defined]

    # Not EXT1, EXT2 and EXT4: a name that Python has in its cache would not reach `find_class`.
    dispatch: ClassVar[dict[int, Any]] = own_opcodes(
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BINPERSID", "SETITEM", "SETITEMS", "DICT"),
        BUILD=ignore_state,
    )

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage of ("storage", dtype, key, device, count) and, in earlier files, a view."""
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or any(part is not None for part in view):
            raise TorchFileError("it holds a storage that is not read")
        return self._storage(dtype, key, count)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
