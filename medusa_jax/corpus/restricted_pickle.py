"""Read a pickle of numbers, text and arrays, of Python 2 or 3, without running code.

`pickle_scan` refuses all opcodes that could reach code. The rest is read by Python's own unpickler
with those opcodes alone; names resolve to the stand-ins of `pickled_arrays`, and nothing else is
ever called.
"""

import mmap
import pickle
from pathlib import Path
from typing import Any, ClassVar

from medusa_jax.corpus.pickle_scan import own_opcodes, scan
from medusa_jax.corpus.pickled_arrays import (
    KEYS,
    Array,
    Budget,
    Dtype,
    PickleError,
    StandIn,
    stand_in,
)

MAX_BYTES = 8 << 30


def read_pickle(path: Path) -> object:
    """The contents: tuples, lists, dictionaries and sets of numbers, text and `Array`s.

    Text of Python 2 is read as Latin-1. Raises `PickleError` for a file that is missing, damaged,
    larger than the bounds above, or that holds anything else. Runs no code of the file.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if not 0 < size <= MAX_BYTES:
                raise PickleError(f"a file of {size} bytes is no feature pickle", where=path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(data, size, path)
    except OSError as error:
        raise PickleError(f"cannot read the pickle: {error.strerror}", where=path) from error


def _read(data: mmap.mmap, size: int, path: Path) -> object:
    """The contents of mapped `data`; the place of an error is `path` and the byte."""
    try:
        count = scan(data, size)
        data.seek(0)
        return _Unpickler(data, Budget(2 * size + count)).load()
    except PickleError as error:
        place = f"{path}, before byte {data.tell()}"
        hint = error.hint or "get the file again from its source; no code of it was run"
        raise PickleError(error.what, where=place, hint=hint) from error
    except Exception as error:  # a damaged pickle raises anything
        raise PickleError(
            f"the pickle is damaged ({type(error).__name__}: {str(error)[:120]})",
            where=f"{path}, before byte {data.tell()}",
            hint="get the file again from its source; no code of it was run",
        ) from error


class _Unpickler(pickle._Unpickler):
    """Python's unpickler (not that in C, whose steps are fixed) on the allowed opcodes."""

    def __init__(self, file: mmap.mmap, budget: Budget) -> None:
        super().__init__(file, encoding="latin1")  # type: ignore[arg-type]
        self._budget = budget

    def find_class(self, module: str, name: str) -> StandIn:
        """The stand-in of a name. Raises `PickleError` for one that is not on the list."""
        return stand_in(module, name)

    def _take(self) -> Any:
        return self.stack.pop()  # type: ignore[attr-defined]

    def _above_mark(self) -> list[Any]:
        return self.pop_mark()  # type: ignore[attr-defined]

    def _top(self, kind: type) -> Any:
        """The object that an opcode fills. Raises `PickleError` if it is of another kind."""
        found = self.stack[-1]  # type: ignore[attr-defined]
        if type(found) is not kind:
            raise PickleError(f"the pickle is damaged: no {kind.__name__} to fill")
        return found

    def _push(self, value: object) -> None:
        self.stack.append(value)  # type: ignore[attr-defined]

    def named(self) -> None:
        """GLOBAL."""
        module = self.readline()[:-1].decode("utf-8")  # type: ignore[attr-defined]
        name = self.readline()[:-1].decode("utf-8")  # type: ignore[attr-defined]
        self._push(stand_in(module, name))

    def named_on_stack(self) -> None:
        """STACK_GLOBAL."""
        name, module = self._take(), self._take()
        if type(name) is not str or type(module) is not str:
            raise PickleError("the pickle is damaged: a name is no text")
        self._push(stand_in(module, name))

    def made(self) -> None:
        """REDUCE."""
        arguments, called = self._take(), self._take()
        if type(called) is not StandIn or type(arguments) is not tuple:
            raise PickleError("the pickle calls something that is no array or container")
        self._push(called.make(self._budget, *arguments))

    def described(self) -> None:
        """BUILD."""
        state = self._take()
        built = self.stack[-1]  # type: ignore[attr-defined]
        if type(built) not in (Array, Dtype):
            raise PickleError("the pickle sets the state of something that is no array")
        built.describe(self._budget, state)

    def set_item(self) -> None:
        """SETITEM."""
        value, key = self._take(), self._take()
        self._top(dict)[_key(key)] = value

    def set_items(self) -> None:
        """SETITEMS."""
        items = self._above_mark()
        self._top(dict).update(_pairs(items))

    def dictionary(self) -> None:
        """DICT."""
        self._push(_pairs(self._above_mark()))

    def add_items(self) -> None:
        """ADDITEMS."""
        items = self._above_mark()
        self._top(set).update(map(_key, items))

    def frozen(self) -> None:
        """FROZENSET."""
        self._push(frozenset(map(_key, self._above_mark())))

    dispatch: ClassVar[dict[int, Any]] = own_opcodes(
        GLOBAL=named,
        STACK_GLOBAL=named_on_stack,
        REDUCE=made,
        BUILD=described,
        SETITEM=set_item,
        SETITEMS=set_items,
        DICT=dictionary,
        ADDITEMS=add_items,
        FROZENSET=frozen,
    )


def _key(value: Any) -> Any:
    """A key of a dictionary or set: a nested one could exhaust the stack when it is hashed."""
    if type(value) not in KEYS:
        raise PickleError("the pickle has a key that is neither text nor a number")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise PickleError("the pickle is damaged: a key without a value")
    return dict(zip(map(_key, items[::2]), items[1::2], strict=True))
