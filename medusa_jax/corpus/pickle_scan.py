"""The first pass over a pickle: every opcode is checked before anything is built.

Opcodes that have no place in a file of features are refused: EXT1, EXT2 and EXT4 (which Python's
`find_class` does not see), INST, OBJ, NEWOBJ, persistent ids, buffers outside the file. Opcodes,
memo, nesting and whole numbers are bounded, and the file ends where the pickle does.
"""

import mmap
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any

from medusa_jax.corpus.pickled_arrays import PickleError, stand_in

MAX_OPCODES = 20_000_000
MAX_MEMO = 10_000_000
MAX_DEPTH = 32
"""Bounds on a file; MELD's largest has 0.5 GB, 2 million opcodes and a depth of 8."""

DATA = (
    "MARK", "STOP", "PROTO", "FRAME", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1",
    "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2",
    "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "EMPTY_SET", "GET",
    "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
)  # fmt: skip
"""Opcodes that build plain data, whose code in Python's unpickler is used as it is."""
_OWN = (
    "DICT", "SETITEM", "SETITEMS", "ADDITEMS", "FROZENSET", "GLOBAL", "STACK_GLOBAL", "REDUCE",
    "BUILD",
)  # fmt: skip
"""Opcodes with code of their own in `restricted_pickle`."""
_ALLOWED = frozenset((*DATA, *_OWN))
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_WHOLE = ("INT", "LONG", "LONG1", "LONG4")
_FILLED = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS")
_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
_BY_CODE = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


def scan(data: mmap.mmap, size: int) -> int:
    """Check every opcode and return their number. Raises `PickleError` for the first bad one."""
    count, depths = 0, _Depths()
    for count, (opcode, argument) in enumerate(_opcodes(data), 1):
        if opcode.name not in _ALLOWED:
            raise PickleError(
                f"the pickle uses the opcode {opcode.name}, which has no place in a feature file"
            )
        if count > MAX_OPCODES:
            raise PickleError(f"the pickle has more than {MAX_OPCODES} opcodes")
        if opcode.name in _WHOLE and abs(argument) >= 1 << 64:
            raise PickleError("the pickle holds a whole number beyond 64 bits")
        if opcode.name == "FRAME" and argument > size - data.tell():
            raise PickleError("the pickle is truncated: a frame is longer than the file")
        if opcode.name == "GLOBAL":
            stand_in(*argument.split(" ", 1))
        depths.after(opcode, argument)
    if data.tell() != size:
        raise PickleError(f"{size - data.tell()} bytes after the end of the pickle")
    return count


def _opcodes(file: mmap.mmap) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Opcodes and arguments up to STOP, as `pickletools.genops` gives them.

    `genops` itself refuses text of Python 2's protocol 0 that is not ASCII, as raw arrays are.
    """
    data: Any = file  # `pickletools` declares a file, and uses only its reading
    name = ""
    while name != "STOP":
        code = data.read(1)
        opcode = _BY_CODE.get(code)
        if opcode is None:
            raise PickleError("the pickle is truncated" if not code else f"unknown opcode {code!r}")
        name = opcode.name
        if name == "STRING":
            yield opcode, data.readline()
        elif name not in _ALLOWED:  # refused by the caller: its argument is not read
            yield opcode, None
        else:
            yield opcode, opcode.arg.reader(data) if opcode.arg else None


class _Depths:
    """Nesting of each object on the pickle machine's stack, from the opcodes alone."""

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._marks: list[int] = []
        self._memo: dict[int, int] = {}

    def after(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Follow one opcode. Raises `PickleError` for too deep a nesting or too large a memo."""
        name, stack = opcode.name, self._stack
        if name == "MARK":
            self._marks.append(len(stack))
        elif name in _GETS:
            stack.append(self._memo[int(argument)])
        elif name in _PUTS or name == "MEMOIZE":
            self._put(len(self._memo) if name == "MEMOIZE" else int(argument))
        else:
            self._replace(name, _EFFECTS[name])
        if len(self._marks) > MAX_DEPTH or (stack and stack[-1] > MAX_DEPTH):
            raise PickleError(f"the pickle is nested deeper than {MAX_DEPTH} levels")

    def _put(self, index: int) -> None:
        if not 0 <= index < MAX_MEMO:
            raise PickleError(f"the pickle remembers more than {MAX_MEMO} objects")
        self._memo[index] = self._stack[-1]

    def _replace(self, name: str, effect: tuple[bool, int, int]) -> None:
        """Take the objects that an opcode uses and push its result."""
        marked, before, pushed = effect
        stack = self._stack
        items: list[int] = []
        if marked:
            start = self._marks.pop()
            items = stack[start:]
            del stack[start:]
        floor = self._marks[-1] if self._marks else 0
        if before > len(stack) - floor:
            raise PickleError(f"the pickle is damaged: {name} finds no object")
        taken = [stack.pop() for _ in range(before)]
        if pushed and name in _FILLED:
            inner = items if marked else taken[:-1]
            stack.append(max(taken[-1], 1 + max(inner, default=-1)))
        elif pushed and name == "BUILD":
            stack.append(taken[-1])
        elif pushed:
            stack.append(1 + max((*taken, *items), default=0) if marked or before else 0)


def _effect(opcode: pickletools.OpcodeInfo) -> tuple[bool, int, int]:
    """True if it takes the objects above a mark; objects that it takes below; pushes."""
    marked = pickletools.markobject in opcode.stack_before
    before = opcode.stack_before
    taken = before.index(pickletools.markobject) if marked else len(before)
    return marked, taken, len(opcode.stack_after)


_EFFECTS = {opcode.name: _effect(opcode) for opcode in pickletools.opcodes}


def own_opcodes(*names: str, **own: Any) -> dict[int, Any]:
    """A dispatch table for Python's unpickler: plain data, these opcodes as they are, `own` ones.

    An opcode that is not in the table cannot be read, whatever the file holds.
    """
    table = {_CODES[name]: pickle._Unpickler.dispatch[_CODES[name]] for name in (*DATA, *names)}
    return table | {_CODES[name]: method for name, method in own.items()}
