"""The fields of a feature pickle as text, whole numbers and arrays, each checked.

Legend: u utterance of a dialogue, d feature.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.corpus import pickle_layouts as layouts
from medusa_jax.corpus.pickle_layouts import CLASSES, SLOTS, Layout, recognise_layout
from medusa_jax.corpus.pickled_arrays import Array
from medusa_jax.corpus.restricted_pickle import read_pickle
from medusa_jax.errors import CorpusError
from medusa_jax.files import sha256_of

MAX_UTTERANCES = 100_000
MAX_TEXT = 10_000
"""Bounds on what a file may expand to: a pickle can name one object a million times."""
_NAME = re.compile(r"[\w.\- ]{1,200}")


@dataclass
class FeatureFile:
    """One file: by dialogue, ids, speakers, labels, sentences `[u]` and streams `[u, d]`.

    A role that the file lacks is an empty dictionary; `lists` has the dialogues of its split.
    """

    path: Path
    sha256: str
    layout: Layout
    ids: dict[str, list[str]] = field(default_factory=dict)
    speakers: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, list[int]] = field(default_factory=dict)
    sentences: dict[str, list[str]] = field(default_factory=dict)
    streams: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def dialogues(self) -> set[str]:
        """The dialogues of the split; all of the file if it has none."""
        if self.lists:
            return set().union(*self.lists.values())
        return set(next(iter(self.streams.values())))


def read_feature_file(path: Path) -> FeatureFile:
    """Read and check one file.

    Raises `CorpusError` for a pickle that is damaged or of no known layout, a dialogue that a field
    lacks, fields of different lengths, a width, label or speaker out of range, NaN or infinity.
    """
    contents = read_pickle(path)
    layout, fields = recognise_layout(contents, str(path))
    found = FeatureFile(path, sha256_of(path), layout)
    for role, place in layout.roles().items():
        _read_field(found, role, fields[place])
    _check(found)
    return found


def _read_field(found: FeatureFile, role: str, value: Any) -> None:
    """Add one field to the file."""
    where = f"{found.path}, {role}"
    if role in layouts.LISTS:
        found.lists[role] = _dialogue_list(value, where)
        return
    readers: dict[str, Callable[[Any, str], Any]] = {
        layouts.IDS: _texts,
        layouts.SENTENCES: _sentences,
        layouts.LABELS: lambda turns, place: _labels(turns, CLASSES[found.layout.corpus], place),
        layouts.SPEAKERS: _genders if found.layout.corpus == "iemocap" else _slots,
    }
    widths = dict(part for part in found.layout.fields if isinstance(part, tuple))
    stream = role in widths
    read = (lambda turns, place: _vectors(turns, widths[role], place)) if stream else readers[role]
    read_field = {
        name: read(turns, f"{where}, dialogue {name}")
        for name, turns in _by_dialogue(value, where).items()
    }
    if stream:
        found.streams[role] = read_field
    else:
        setattr(found, role, read_field)


def _by_dialogue(value: Any, where: str) -> dict[str, Any]:
    """A field's dictionary with names as text."""
    named = {_dialogue(key, where): turns for key, turns in value.items()}
    if len(named) != len(value):
        raise CorpusError("two dialogues have one name", where=where)
    total = sum(len(_turns(turns, where)) for turns in named.values())
    if total > MAX_UTTERANCES:
        raise CorpusError(f"{total} utterances, more than {MAX_UTTERANCES}", where=where)
    return named


def _dialogue(key: Any, where: str) -> str:
    """The name of a dialogue. Raises `CorpusError` if it is neither a plain name nor a number."""
    name = key.decode("latin-1") if isinstance(key, bytes) else str(key)
    if isinstance(key, bool | float) or not _NAME.fullmatch(name):
        raise CorpusError(f"{name[:40]!r} is no name of a dialogue", where=where)
    return name


def _dialogue_list(value: Any, where: str) -> list[str]:
    names = [_dialogue(key, where) for key in _turns(value, where)]
    if len(set(names)) < len(names):
        raise CorpusError("a dialogue is listed twice", where=where)
    return names


def _turns(value: Any, where: str) -> list[Any]:
    """The entries of a list or array, one an utterance."""
    if isinstance(value, Array) and value.value is not None and value.value.ndim:
        array = value.value
        return list(array) if array.ndim > 1 else array.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    raise CorpusError(f"a {type(value).__name__} in place of a list or an array", where=where)


def _texts(value: Any, where: str) -> list[str]:
    """Names of utterances: text, or whole numbers."""
    turns = _turns(value, where)
    if not all(type(turn) in (str, bytes, int) for turn in turns):
        raise CorpusError("an id that is neither text nor a number", where=where)
    return [turn.decode("latin-1") if isinstance(turn, bytes) else str(turn) for turn in turns]


def _sentences(value: Any, where: str) -> list[str]:
    texts = _texts(value, where)
    if any(len(text) > MAX_TEXT for text in texts):
        raise CorpusError(f"a sentence of more than {MAX_TEXT} characters", where=where)
    return texts


def _labels(value: Any, classes: tuple[str, ...], where: str) -> list[int]:
    labels = _turns(value, where)
    for label in labels:
        if type(label) is not int or not 0 <= label < len(classes):
            known = ", ".join(f"{index} {name}" for index, name in enumerate(classes))
            raise CorpusError(
                f"the label {str(label)[:20]} is none of the {len(classes)} classes",
                where=where,
                hint=f"known: {known}",
            )
    return labels


def _genders(value: Any, where: str) -> list[str]:
    """IEMOCAP's speakers: F or M."""
    genders = _texts(value, where)
    unknown = [gender for gender in genders if gender not in ("F", "M")]
    if unknown:
        raise CorpusError(f"the speaker {unknown[0][:20]!r} is neither 'M' nor 'F'", where=where)
    return genders


def _slots(value: Any, where: str) -> list[str]:
    """MELD's speakers: `speaker_0` to `speaker_8`, the place of the one in a one-hot vector."""
    hot_ud = _vectors(value, SLOTS, where)
    if len(hot_ud) and not (np.isin(hot_ud, (0, 1)).all() and (hot_ud.sum(axis=1) == 1).all()):
        raise CorpusError(f"a speaker that is no one-hot vector of {SLOTS}", where=where)
    return [f"speaker_{slot}" for slot in hot_ud.argmax(axis=1)]


def _vectors(value: Any, width: int, where: str) -> np.ndarray:
    """Features `[u, d]`, float32, finite."""
    turns = _turns(value, where)
    x_ud = np.empty((len(turns), width), np.float32)
    for turn, vector in enumerate(turns):
        x_d = _vector(vector, f"{where}, turn {turn}")
        if x_d.shape != (width,):
            raise CorpusError(
                f"features of shape {list(x_d.shape)} where the stream has {width}",
                where=f"{where}, turn {turn}",
            )
        with np.errstate(over="ignore"):
            x_ud[turn] = x_d
    if not np.isfinite(x_ud).all():
        turn = int(np.argmin(np.isfinite(x_ud).all(axis=1)))
        raise CorpusError("features with NaN or infinity", where=f"{where}, turn {turn}")
    return x_ud


def _vector(value: Any, where: str) -> np.ndarray:
    """The numbers of one utterance."""
    found = value.value if isinstance(value, Array) else value
    if isinstance(found, list | tuple) and all(type(item) in (int, float) for item in found):
        return np.array(found, np.float64)
    if isinstance(found, np.ndarray) and found.dtype.kind in "fiu":
        return found
    raise CorpusError("features that are no numbers", where=where)


def _check(found: FeatureFile) -> None:
    """Every dialogue is in every field, with as many utterances; none is in two lists."""
    fields: dict[str, dict[str, Any]] = {
        **found.streams,
        layouts.IDS: found.ids,
        layouts.SPEAKERS: found.speakers,
        layouts.LABELS: found.labels,
        layouts.SENTENCES: found.sentences,
    }
    _check_lists(found)
    first = next(iter(found.streams))
    for name in sorted(found.dialogues()):
        for role, by_dialogue in fields.items():
            if not by_dialogue:
                continue
            where = f"{found.path}, {role}, dialogue {name}"
            if name not in by_dialogue:
                raise CorpusError("the dialogue is missing", where=where)
            count, wanted = len(by_dialogue[name]), len(found.streams[first].get(name, ()))
            if count != wanted:
                raise CorpusError(f"{count} utterances where {first} has {wanted}", where=where)


def _check_lists(found: FeatureFile) -> None:
    pairs: Iterable[tuple[str, str]] = [
        (layouts.TRAIN, layouts.TEST),
        (layouts.TRAIN, layouts.VALIDATION),
        (layouts.TEST, layouts.VALIDATION),
    ]
    for one, other in pairs:
        shared = sorted(set(found.lists.get(one, ())) & set(found.lists.get(other, ())))
        if shared:
            raise CorpusError(
                f"the dialogue {shared[0]} is in the lists {one} and {other}", where=found.path
            )
