"""Dialogues of a folder in MSP-Podcast's layout: its `Conversations.csv`."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from medusa_jax.corpus.label_file import read_records
from medusa_jax.corpus.msp_layout import SYNTHETIC_NOTE
from medusa_jax.corpus.table import Corpus, columns_of
from medusa_jax.errors import CorpusError, LabelError

TURNS = "Conversations.csv"
_COLUMNS = ("FileName", "dialogue", "turn")


def with_turns(corpus: Corpus) -> Corpus:
    """`corpus` with the columns `dialogue` and `turn`, sorted by them; unchanged without the file.

    The classes of generated conversations are those that `synthetic.json` names. Raises
    `CorpusError` for an utterance that the file lacks or that the corpus lacks, `LabelError` for a
    row that is wrong.
    """
    path = corpus.root / TURNS
    if not path.is_file():
        return corpus
    places = _places(path)
    ids = corpus.frame["id"]
    unknown = sorted(set(places).symmetric_difference(ids))
    if unknown:
        lacking = "the corpus" if unknown[0] in places else TURNS
        raise CorpusError(f"{lacking} lacks the utterance {unknown[0]}", where=path)
    frame = corpus.frame.assign(
        dialogue=[places[name][0] for name in ids], turn=[places[name][1] for name in ids]
    ).sort_values(["dialogue", "turn"], ignore_index=True)
    classes = _classes(corpus)
    return replace(corpus, frame=_of_classes(frame, corpus, classes), classes=classes)


def _places(path: Path) -> dict[str, tuple[str, int]]:
    """Dialogue and turn of each utterance."""
    places: dict[str, tuple[str, int]] = {}
    for where, row in read_records(path, _COLUMNS):
        name, dialogue, turn = (row[column].strip() for column in _COLUMNS)
        if name in places:
            raise LabelError(f"a second row for {name}", where=where, hint="remove one of the two")
        if not dialogue or not turn.isascii() or not turn.isdigit():
            raise LabelError(
                f"dialogue {dialogue!r}, turn {turn!r}",
                where=where,
                hint="give the dialogue a name and the turn a whole number from 0",
            )
        places[name] = dialogue, int(turn)
    return places


def _classes(corpus: Corpus) -> tuple[str, ...]:
    """The classes that the note names, in the order of the corpus; all without it."""
    try:
        note = json.loads((corpus.root / SYNTHETIC_NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return corpus.classes
    named = note.get("classes", corpus.classes) if isinstance(note, dict) else corpus.classes
    return tuple(name for name in corpus.classes if name in named)


def _of_classes(frame: pd.DataFrame, corpus: Corpus, classes: tuple[str, ...]) -> pd.DataFrame:
    """`frame` without the columns of other classes. Raises `CorpusError` if they have votes."""
    others = [name for name in corpus.classes if name not in classes]
    voted = [name for name in others if frame[f"votes_{name}"].any()]
    if voted:
        raise CorpusError(
            f"votes for {voted[0]}, which is no class of this corpus",
            where=corpus.root / SYNTHETIC_NOTE,
            hint="name the class there, or remove the votes",
        )
    kept = set(columns_of(classes)) | {"soft_other", "dialogue", "turn"}
    return frame[[column for column in frame.columns if column in kept]]
