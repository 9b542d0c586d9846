"""Layouts of the pickled feature files that circulate for IEMOCAP and MELD, and their recognition.

Each file is a tuple; most fields are dictionaries by dialogue, with one entry an utterance. A
layout is recognised by the number of fields and the form of each, never by the file's name. The
order of the fields is that of the loaders published with DialogueGCN, MMGCN, M3Net, COSMIC and SDT.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medusa_jax.corpus.pickled_arrays import Array
from medusa_jax.errors import CorpusError

Field = str | tuple[str, int]
"""A role, a stream and its width, or `UNUSED`."""
UNUSED = ""
IDS, SPEAKERS, LABELS, SENTENCES = "ids", "speakers", "labels", "sentences"
TRAIN, TEST, VALIDATION = "train", "test", "validation"
LISTS = (TRAIN, TEST, VALIDATION)
CLASSES = {
    "iemocap": ("happy", "sad", "neutral", "angry", "excited", "frustrated"),
    "meld": ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"),
}
"""Names of the labels 0, 1, 2, … of each corpus."""
SLOTS = 9
"""Width of MELD's one-hot speakers."""


@dataclass(frozen=True)
class Layout:
    """The corpus and the fields of a kind of file; `name` is that of the best-known one."""

    name: str
    corpus: str
    fields: tuple[Field, ...]

    def roles(self) -> dict[str, int]:
        """Position of each named field."""
        named = (field if isinstance(field, str) else field[0] for field in self.fields)
        return {role: place for place, role in enumerate(named) if role != UNUSED}


_HEAD = (IDS, SPEAKERS, LABELS)
_ROBERTA = (("text", 1024), ("text2", 1024), ("text3", 1024), ("text4", 1024))
_SPLIT = (SENTENCES, TRAIN, TEST)
_IEMOCAP = (("audio", 1582), ("visual", 342))
_MELD = (("audio", 300), ("visual", 342))
LAYOUTS = (
    Layout("IEMOCAP_features.pkl", "iemocap", (*_HEAD, ("text", 100), *_IEMOCAP, *_SPLIT)),
    Layout("MELD_features_raw1.pkl", "meld", (*_HEAD, ("text", 600), *_MELD, *_SPLIT, UNUSED)),
    # The roberta files as COSMIC's loader names their fields, then as later loaders do.
    Layout(
        "iemocap_features_roberta.pkl, with labels",
        "iemocap",
        (SPEAKERS, LABELS, *_ROBERTA, *_SPLIT, VALIDATION),
    ),
    Layout("iemocap_features_roberta.pkl", "iemocap", (IDS, UNUSED, *_ROBERTA, *((UNUSED,) * 4))),
    Layout(
        "meld_features_roberta.pkl, with labels",
        "meld",
        (SPEAKERS, LABELS, UNUSED, *_ROBERTA, *_SPLIT, VALIDATION),
    ),
    Layout(
        "meld_features_roberta.pkl",
        "meld",
        (IDS, UNUSED, UNUSED, *_ROBERTA, UNUSED, TRAIN, TEST, VALIDATION),
    ),
    Layout("iemocap_multimodal_features.pkl", "iemocap", (*_HEAD, *_ROBERTA, *_IEMOCAP, *_SPLIT)),
    Layout("meld_multimodal_features.pkl", "meld", (*_HEAD, *_ROBERTA, *_MELD, *_SPLIT, UNUSED)),
)


def recognise_layout(contents: object, where: str) -> tuple[Layout, Sequence[Any]]:
    """The layout of a pickle's contents, and its fields.

    Raises `CorpusError` for contents that are no tuple of known length, or a field of another form:
    the message names the field that differs from the nearest layout.
    """
    lengths = sorted({len(layout.fields) for layout in LAYOUTS})
    if not isinstance(contents, tuple | list) or len(contents) not in lengths:
        found = (
            f"{len(contents)} fields"
            if isinstance(contents, tuple | list)
            else "no tuple of fields"
        )
        raise CorpusError(
            f"the pickle holds {found}, so it is no known feature file of IEMOCAP or MELD",
            where=where,
            hint=f"known files have {', '.join(map(str, lengths[:-1]))} or {lengths[-1]} fields",
        )
    forms = [_form(value) for value in contents]
    layouts = [layout for layout in LAYOUTS if len(layout.fields) == len(contents)]
    nearest = max(layouts, key=lambda layout: _fitting(layout, forms))
    for place, (field, form) in enumerate(zip(nearest.fields, forms, strict=True)):
        if not _fits(nearest.corpus, field, form):
            raise CorpusError(
                f"field {place + 1}, {_name(field)}, holds {form}, not "
                f"{' or '.join(_wanted(nearest.corpus, field))}",
                where=where,
                hint=f"compared with {nearest.name}, the nearest known file",
            )
    return nearest, contents


def _fitting(layout: Layout, forms: Sequence[str]) -> tuple[bool, int]:
    """Order of likeness: a layout that fits, then one with more streams and fields that fit."""
    fits = [_fits(layout.corpus, *pair) for pair in zip(layout.fields, forms, strict=True)]
    pairs = zip(layout.fields, fits, strict=True)
    weights = (0 if field == UNUSED else 2 if isinstance(field, tuple) else 1 for field, _ in pairs)
    return all(fits), sum(weight for weight, fit in zip(weights, fits, strict=True) if fit)


def _fits(corpus: str, field: Field, form: str) -> bool:
    return field == UNUSED or form in _wanted(corpus, field)


def _wanted(corpus: str, field: Field) -> tuple[str, ...]:
    """Forms that a field may have."""
    if isinstance(field, tuple):
        return (_vectors(field[1]),)
    if field == SPEAKERS:
        return ("'M' and 'F'",) if corpus == "iemocap" else (_vectors(SLOTS),)
    if field in LISTS:
        return ("a list of ids",)
    return {
        IDS: ("text", "whole numbers"),
        LABELS: ("whole numbers",),
        SENTENCES: ("text", "'M' and 'F'"),
    }[field]


def _name(field: Field) -> str:
    return field if isinstance(field, str) else field[0]


def _vectors(width: int) -> str:
    return f"vectors of {width}"


def _form(value: Any) -> str:
    """The form of a field, by the first utterance of its first dialogue."""
    if isinstance(value, Mapping):
        turns = next(iter(value.values()), None)
        return "nothing" if turns is None else _form_of_turns(turns)
    if isinstance(value, Array):
        value = [] if value.value is None else value.value.ravel()[:1].tolist()
    if isinstance(value, list | tuple | set | frozenset):
        first = next(iter(value), "")
        return "a list of ids" if type(first) in (str, int) or _whole(first) else "a list"
    return "something else"


def _form_of_turns(turns: Any) -> str:
    if isinstance(turns, Array):
        array = turns.value
        if array is None or not array.size:
            return "nothing"
        if array.ndim == 2 and array.dtype.kind in "fiu":
            return _vectors(array.shape[1])
        return _form_of_turn(array.flat[0]) if array.ndim == 1 else "something else"
    if not isinstance(turns, list | tuple) or not turns:
        return "nothing" if isinstance(turns, list | tuple) else "something else"
    return _form_of_turn(turns[0])


def _form_of_turn(turn: Any) -> str:
    if isinstance(turn, Array):
        array = turn.value
        return "something else" if array is None or array.ndim != 1 else _vectors(len(array))
    if isinstance(turn, list | tuple):
        return _vectors(len(turn))
    if isinstance(turn, str | bytes):
        return "'M' and 'F'" if turn in ("M", "F", b"M", b"F") else "text"
    return "whole numbers" if _whole(turn) else "something else"


def _whole(value: Any) -> bool:
    """True for an integer, NumPy's or Python's; not for a truth value."""
    return type(value) is int or getattr(getattr(value, "dtype", None), "kind", "") in ("i", "u")
