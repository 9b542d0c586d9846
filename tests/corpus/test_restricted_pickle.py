"""Pickles read without running code: equal contents in every form, and every attack refused."""

import collections
import copyreg
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from feature_pickles import FORMS
from python2_pickle import Name, Python2Pickler

from medusa_jax.corpus import pickle_scan
from medusa_jax.corpus.pickled_arrays import Array, PickleError
from medusa_jax.corpus.restricted_pickle import read_pickle
from medusa_jax.errors import CorpusError

CONTENTS = (
    {"Ses01F": [np.arange(5, dtype="f4"), np.float64(3.5)], 7: np.int64(9)},
    {"a", "b"},
    collections.defaultdict(list, {1: [2.5, -70000, None, True]}),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(10, dtype=">i4")[::2],
    np.array(["caf\xe9", "x"]),
    np.array([1, "x", 2.5], object),
    np.array([b"ab", b"c"]),
    "caf\xe9",
    np.zeros((3, 4), "f2"),
)


def plain(value):
    """Contents with arrays in place of `Array`s."""
    if isinstance(value, Array):
        return value.value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def equal(one, other) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@pytest.mark.parametrize("form", FORMS)
def test_contents_are_equal_in_every_form(form, tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(FORMS[form](CONTENTS))
    assert equal(plain(read_pickle(path)), list(CONTENTS))
    path.write_bytes(FORMS[form](CONTENTS[:-1]))
    assert not equal(plain(read_pickle(path)), list(CONTENTS)), "and the comparison can fail"


CANARY = "canary"
RUN = f"__import__('pathlib').Path({CANARY!r}).touch()"


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value.encode())]) + value.encode()


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + pickle.STACK_GLOBAL


def array(shape: bytes, dtype: bytes, raw: bytes) -> bytes:
    """An array with these opcodes for its parts."""
    begun = named("numpy._core.multiarray", "_reconstruct") + named("numpy", "ndarray")
    begun += b"K\x00\x85" + text("b") + b"\x87R"
    return pickle.PROTO + b"\4" + begun + b"(K\1" + shape + dtype + b"\x89" + raw + b"tb."


def dtype(code: str) -> bytes:
    return named("numpy", "dtype") + text(code) + b"\x89\x88\x87R"


F4 = dtype("f4")
EVAL = b"cbuiltins\neval\n"
CALL = b"(S" + repr(RUN).encode() + b"\nt"
EXTENSION = {1: 201, 2: 60001, 4: 70001}
RUNS_CODE = {
    "GLOBAL": EVAL + CALL + b"R.",
    "GLOBAL of Python 2": b"c__builtin__\neval\n" + CALL + b"R.",
    "STACK_GLOBAL": b"\x80\4" + named("builtins", "eval") + text(RUN) + b"\x85R.",
    "INST": b"(S" + repr(RUN).encode() + b"\nibuiltins\neval\n.",
    "OBJ": b"(" + EVAL + b"S" + repr(RUN).encode() + b"\no.",
    "EXT1": b"\x80\2\x82" + bytes([EXTENSION[1]]) + CALL + b"R.",
    "EXT2": b"\x80\2\x83" + struct.pack("<H", EXTENSION[2]) + CALL + b"R.",
    "EXT4": b"\x80\2\x84" + struct.pack("<i", EXTENSION[4]) + CALL + b"R.",
    "dotted name": b"\x80\4" + named("pickle", "io.open") + text(CANARY) + text("w") + b"\x86R.",
    "os.system": b"cos\nsystem\n(S'touch " + CANARY.encode() + b"'\ntR.",
    "BUILD with __setstate__": (
        b"\x80\4" + named("types", "SimpleNamespace") + b")R}" + text("__setstate__")
        + named("builtins", "eval") + b"sb" + text(RUN) + b"b."
    ),
    "in a list": b"]" + EVAL + CALL + b"Ra.",
    "in a state of an array": array(b"K\1\x85", EVAL + CALL + b"R", b"C\4abcd"),
}  # fmt: skip
"""Pickles that create the canary when an ordinary reader opens them."""


@pytest.fixture
def extensions():
    """`eval` under three numbers, already seen, so that readers take it from their cache."""
    for number in EXTENSION.values():
        copyreg.add_extension("builtins", "eval", number)
        copyreg._extension_cache[number] = eval
        del copyreg._extension_registry["builtins", "eval"]
    yield
    for number in EXTENSION.values():
        copyreg._extension_cache.pop(number, None)
        copyreg._inverted_registry.pop(number, None)


@pytest.mark.parametrize("attack", RUNS_CODE)
def test_no_code_runs(attack, extensions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file.pkl").write_bytes(RUNS_CODE[attack])
    with pytest.raises(PickleError, match=r"names|opcode|calls") as refused:
        read_pickle(Path("file.pkl"))
    assert "file.pkl" in str(refused.value.where)
    assert refused.value.hint
    assert not Path(CANARY).exists()
    try:
        file = pickle.loads(RUNS_CODE[attack])
        getattr(file, "close", lambda: None)()
    except Exception:
        pass
    assert Path(CANARY).exists(), "an ordinary reader runs it"


def nested(count: int) -> bytes:
    return b"\x80\4" + b"]" * count + b"a" * (count - 1) + b"."


def quadratic(count: int) -> bytes:
    """A list of copies of a list of 1,000 numbers: `count` bytes would become `count` thousands."""
    copied = named("builtins", "list") + b"h\0\x85R"
    return b"\x80\4(" + b"](" + b"K\1" * 1000 + b"e\x94" + copied * count + b"t."


def pickled(value: object, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol)


STRUCTURED = np.dtype([("a", "f4"), ("b", "f4")])
REFUSED = {
    "a class": (pickled(Path), "names pathlib"),
    "a name that begins as an allowed one": (b"cnumpy.core.multiarray\nfromfile\n.", "fromfile"),
    "a module that begins as an allowed one": (b"cnumpy.dtypes\nFloat32DType\n.", "names"),
    "a dotted name": (b"\x80\4" + named("builtins", "list.__init__") + b".", "a dotted name"),
    "a dotted name in GLOBAL": (b"ccollections\nOrderedDict.update\n.", "a dotted name"),
    "NEWOBJ": (b"\x80\2" + b"cbuiltins\nlist\n)\x81.", "opcode NEWOBJ"),
    "NEWOBJ_EX": (b"\x80\4" + named("builtins", "list") + b")}\x92.", "opcode NEWOBJ_EX"),
    "PERSID": (b"Pname\n.", "opcode PERSID"),
    "BINPERSID": (b"\x80\2K\1Q.", "opcode BINPERSID"),
    "NEXT_BUFFER": (b"\x80\5\x97.", "opcode NEXT_BUFFER"),
    "READONLY_BUFFER": (b"\x80\5\x97\x98.", "opcode NEXT_BUFFER"),
    "a call of an array": (
        b"\x80\4" + named("numpy", "ndarray") + b"K\1\x85\x85R.", "an array in an unknown form"
    ),
    "a call of text": (b"\x80\4" + text("eval") + b"K\1\x85R.", "calls something"),
    "a state of a name": (b"\x80\4" + named("builtins", "list") + b"}b.", "sets the state"),
    "a state of a dictionary": (b"\x80\4}}b.", "sets the state"),
    "_codecs.encode to rot13": (
        b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "other arguments than text"
    ),
    "_codecs.encode of bytes": (
        b"\x80\4" + named("_codecs", "encode") + b"C\1a" + text("latin1") + b"\x86R.", "other arg"
    ),
    "objects in an array": (pickled(np.array([{}, None], object)), "other than numbers and text"),
    "arrays in an array": (
        pickled(np.array([np.zeros(2), np.zeros(3)], object)), "other than numbers and text"
    ),
    "objects made of bytes": (array(b"K\1\x85", dtype("O8"), b"C\x08" + b"A" * 8), "of objects"),
    "a scalar that is an object": (
        b"\x80\4" + named("numpy.core.multiarray", "scalar") + dtype("O8") + b"C\x08"
        + b"A" * 8 + b"\x86R.", "a scalar that is an object"
    ),
    "objects from a buffer": (
        b"\x80\5" + named("numpy.core.numeric", "_frombuffer") + b"(C\x08" + b"A" * 8
        + dtype("O8") + b"K\1\x85" + text("C") + b"tR.", "objects made from bytes"
    ),
    "a structured dtype": (pickled(np.zeros(2, STRUCTURED)), "dtype 'V8'"),
    "a dtype with metadata": (
        pickled(np.zeros(2, np.dtype("f4", metadata={"a": 1}))), "metadata"
    ),
    "dates": (pickled(np.zeros(2, "M8[s]")), "dtype 'M8'"),
    "complex numbers": (pickled(np.zeros(2, "c8")), "dtype 'c8'"),
    "a dtype of a huge size": (b"\x80\4" + dtype("U99999999") + b".", "no plain number"),
    "too few bytes for a shape": (array(b"K\2\x85", F4, b"C\4abcd"), "4 bytes where .* 8"),
    "a huge shape": (
        array(b"\x8a\x05\0\0\0\0\x40\x8a\x05\0\0\0\0\x40\x86", F4, b"C\4abcd"), "4 bytes where"
    ),
    "an impossible shape": (array(b"\x8a\x07" + b"\xff" * 6 + b"\1\x85", F4, b"C\0"), "impossible"),
    "a negative shape": (array(b"J\xff\xff\xff\xff\x85", F4, b"C\0"), "impossible shape"),
    "a shape of a thousand axes": (array(b"(" + b"K\1" * 1000 + b"t", F4, b"C\4abcd"), "axes"),
    "huge bytes": (b"\x80\4\x8e" + b"\xff" * 7 + b"\x0f.", "damaged"),
    "huge bytes that a file could have": (b"\x80\4\x8e" + struct.pack("<Q", 1 << 40), "damaged"),
    "huge text": (b"\x80\4\x8d" + struct.pack("<Q", 1 << 40) + b"a.", "damaged"),
    "a huge byte array": (b"\x80\5\x96" + struct.pack("<Q", 1 << 40) + b"a.", "damaged"),
    "a huge whole number": (b"\x80\2\x8b" + struct.pack("<i", 2**31 - 1) + b"\1.", "damaged"),
    "a whole number of 800 bits": (b"\x80\2\x8a\x64" + b"\x7f" * 100 + b".", "beyond 64 bits"),
    "a number of a million digits": (b"L" + b"9" * 1_000_000 + b"L\n.", "damaged|64 bits"),
    "a huge frame": (b"\x80\4\x95" + struct.pack("<Q", 2**62) + b"N.", "truncated"),
    "a huge place in the memo": (b"\x80\2Nr\xff\xff\xff\xff.", "remembers more"),
    "a negative place in the memo": (b"Np-1\n.", "remembers more"),
    "a missing place in the memo": (b"\x80\2h\5.", "damaged"),
    "copies of copies": (quadratic(200), "expands to more"),
    "deep lists": (nested(100_000), "nested deeper"),
    "deep tuples": (b"\x80\2)" + b"\x85" * 100_000 + b".", "nested deeper"),
    "deep marks": (b"(" * 100_000 + b"t" * 100_000 + b".", "nested deeper"),
    "a tuple as a key": (b"\x80\2}K\1\x85K\1s.", "neither text nor a number"),
    "a tuple in a set": (b"\x80\4\x8f(K\1\x85\x90.", "neither text nor a number"),
    "a list in a set": (pickled({1}, 2).replace(b"K\1", b"]"), "other than text and numbers"),
    "a set that fills a list": (b"\x80\4](K\1\x90.", "no set to fill"),
    "an odd dictionary": (b"(K\1d.", "a key without a value"),
    "an underflow": (b"\x80\2K\1\x86.", "finds no object"),
    "a mark in the way": (b"\x80\2K\1(K\1\x86.", "finds no object"),
    "bytes behind the end": (pickled([1]) + b"x", "1 bytes after the end"),
    "a second pickle": (pickled([1]) + pickled([2]), "after the end"),
    "no pickle": (b"hello", "opcode|unknown|damaged"),
    "an unknown opcode": (b"\x80\2\xff.", "unknown opcode"),
    "nothing": (b"", "file of 0 bytes"),
    "a later protocol": (b"\x80\x09N.", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_its_reason(case, tmp_path):
    content, reason = REFUSED[case]
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(PickleError, match=reason):
        read_pickle(path)


def test_honest_nesting_and_copies_are_not_refused(tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(nested(30))
    assert read_pickle(path) != []
    path.write_bytes(quadratic(3))
    assert len(read_pickle(path)) == 4


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(CorpusError, match="No such file"):
        read_pickle(tmp_path / "nothing.pkl")
    with pytest.raises(CorpusError, match="directory"):
        read_pickle(tmp_path)


def test_opcodes_are_counted(tmp_path, monkeypatch):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickled(list(range(100))))
    monkeypatch.setattr(pickle_scan, "MAX_OPCODES", 200)
    assert read_pickle(path) == list(range(100))
    monkeypatch.setattr(pickle_scan, "MAX_OPCODES", 100)
    with pytest.raises(PickleError, match="more than 100 opcodes"):
        read_pickle(path)


@pytest.mark.parametrize("form", ["Python 2, protocol 2", "Python 3, protocol 4, NumPy 2"])
def test_it_is_refused_at_every_cut(form, tmp_path):
    whole = FORMS[form](CONTENTS)
    path = tmp_path / "file.pkl"
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(PickleError):
            read_pickle(path)


@pytest.mark.parametrize("form", ["Python 2, protocol 2", "Python 3, protocol 4, NumPy 2"])
def test_a_flipped_byte_is_refused_or_changes_a_value(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = FORMS[form]((*CONTENTS, "S'open'", RUN))
    refused = 0
    rng = np.random.default_rng(0)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        Path("file.pkl").write_bytes(damaged)
        try:
            read_pickle(Path("file.pkl"))
        except PickleError:
            refused += 1
    assert refused > len(whole) / 4
    assert [path.name for path in Path().iterdir()] == ["file.pkl"]


def test_python_2_names_are_written_as_it_did():
    """The tests' own pickler: an ordinary reader agrees with it."""
    written = Python2Pickler(2).dumps((np.arange(3.0), {"a"}, Name("__builtin__", "list")))
    assert b"c__builtin__\nset\n" in written
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in written
    found = pickle.loads(written.replace(b"numpy.core", b"numpy._core"), encoding="latin1")
    assert found[0].tolist() == [0, 1, 2]
    assert found[1:] == ({"a"}, list)
