"""Feature pickles of IEMOCAP and MELD -> one table of conversations, and streams of features.

Splits follow the corpora: IEMOCAP's test part is session 5 and its development part session 4;
MELD's are its own, the development part from a file with validation ids, or by order.

Legend: n utterance of the table, d feature.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.corpus import meld
from medusa_jax.corpus import pickle_layouts as layouts
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.iemocap import LABEL_SETS, SESSIONS
from medusa_jax.corpus.pickle_fields import FeatureFile, read_feature_file
from medusa_jax.corpus.pickle_layouts import CLASSES
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError

MELD_TRAIN, MELD_DEVELOPMENT = 1152, 114
"""Dialogues of MELD's training and development parts together, and of the latter."""
_SESSION = re.compile(r"Ses0?([1-5])")
_ORDERS = {"iemocap": LABEL_SETS[6], "meld": meld.CLASSES}
"""Classes in the order of the tables that the corpora's own files give."""
_GENDERS = {"F": "female", "M": "male"}
_PLAIN_ID = re.compile(r"[\w.\- ]{1,200}")


@dataclass(frozen=True)
class Stream:
    """The features `[n, d]` of one modality, float32, in the order of the table, and its file."""

    name: str
    x_nd: np.ndarray
    role: str
    file: FeatureFile


@dataclass(frozen=True)
class FeatureCorpus:
    """A table of conversations, its streams, and remarks for its user."""

    corpus: Corpus
    streams: tuple[Stream, ...]
    remarks: tuple[str, ...]


def read_feature_pickles(paths: Sequence[Path], root: Path) -> FeatureCorpus:
    """Read one file, or several of the same dialogues, into a table with folder `root`.

    Labels, speakers and the rest come from the first file that has them. A stream whose name is
    taken gets the next free number (`text5`). Raises `CorpusError` for a file that is refused,
    files that contradict each other, or no file with labels, speakers or, for MELD, a split.
    """
    files = [read_feature_file(path) for path in paths]
    corpus = _one_corpus(files)
    dialogues = _dialogues(files)
    _check_agreement(files, dialogues)
    splits, remarks = _splits(corpus, files, dialogues)
    table = _table(corpus, files, dialogues, splits, root)
    left = set(next(iter(files[0].streams.values()))) - set(dialogues)
    if left:
        remarks.append(f"{len(left)} dialogue(s) are in no list of the file and were left out")
    return FeatureCorpus(table, _streams(files, dialogues), tuple(remarks))


def _one_corpus(files: Sequence[FeatureFile]) -> str:
    """The corpus of all files. Raises `CorpusError` if they have several."""
    first = files[0].layout.corpus
    for file in files[1:]:
        if file.layout.corpus != first:
            raise CorpusError(
                f"a file of {file.layout.corpus} cannot be joined with one of {first}",
                where=file.path,
            )
    return first


def _dialogues(files: Sequence[FeatureFile]) -> list[str]:
    """Dialogues, equal in all files, by number or name. Raises `CorpusError` if they differ."""
    wanted = files[0].dialogues()
    for file in files[1:]:
        differing = sorted(wanted ^ file.dialogues())
        if differing:
            lacking = files[0] if differing[0] not in wanted else file
            raise CorpusError(
                f"the ids of the files do not match: {len(differing)} dialogue(s), the first "
                f"is {differing[0]}, missing from {lacking.path.name}",
                where=file.path,
                hint=f"join files of one release with {files[0].path.name}",
            )
    numbered = all(name.isdecimal() for name in wanted)
    return sorted(wanted, key=lambda name: (int(name), name) if numbered else (0, name))


def _check_agreement(files: Sequence[FeatureFile], dialogues: Sequence[str]) -> None:
    """Files that have the same dialogues have the same turns, labels and speakers."""
    for file in files[1:]:
        for name in dialogues:
            one, other = (_turns(found, name) for found in (files[0], file))
            if one != other:
                raise CorpusError(
                    f"{other} utterances where {files[0].path.name} has {one}",
                    where=f"{file.path}, dialogue {name}",
                )
    for role in (layouts.LABELS, layouts.SPEAKERS):
        having = [file for file in files if getattr(file, role)]
        for file in having[1:]:
            for name in dialogues:
                if getattr(file, role)[name] != getattr(having[0], role)[name]:
                    raise CorpusError(
                        f"the {role} are not those of {having[0].path.name}",
                        where=f"{file.path}, dialogue {name}",
                        hint="join files of one release",
                    )


def _turns(file: FeatureFile, dialogue: str) -> int:
    return len(next(iter(file.streams.values()))[dialogue])


def _first(files: Sequence[FeatureFile], role: str) -> dict[str, list[Any]] | None:
    """A field of the first file that has it."""
    having = (getattr(file, role) for file in files)
    return next((field for field in having if field), None)


def _required(files: Sequence[FeatureFile], role: str) -> dict[str, list[Any]]:
    """The same. Raises `CorpusError` if no file has it."""
    found = _first(files, role)
    if found is None:
        raise CorpusError(
            f"{files[0].layout.name} has no {role}",
            where=files[0].path,
            hint="add a file of the same dialogues that has them: --with OTHER.pkl",
        )
    return found


def _splits(
    corpus: str, files: Sequence[FeatureFile], dialogues: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """The split of each dialogue, and remarks on it."""
    for role in (layouts.TEST, layouts.VALIDATION):
        having = [file for file in files if file.lists.get(role)]
        for file in having[1:]:
            if set(file.lists[role]) != set(having[0].lists[role]):
                raise CorpusError(
                    f"the {role} ids are not those of {having[0].path.name}", where=file.path
                )
    return _iemocap_splits(files, dialogues) if corpus == "iemocap" else _meld_splits(files)


def session_of(dialogue: str) -> int:
    """Session of a dialogue of IEMOCAP, from its name. Raises `CorpusError` if it has none."""
    match = _SESSION.match(dialogue)
    if match is None:
        raise CorpusError(
            "the name of the dialogue has no session of IEMOCAP",
            where=f"dialogue {dialogue}",
            hint="names are like Ses01F_impro01",
        )
    return int(match[1])


def _iemocap_splits(
    files: Sequence[FeatureFile], dialogues: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Session 4 is the development part, session 5 the test part, as the test ids must confirm."""
    splits = {name: SESSIONS[session_of(name)] for name in dialogues}
    for file in files:
        listed = set(file.lists.get(layouts.TEST, ()))
        fifth = {name for name, split in splits.items() if split == "test1"}
        if listed and listed != fifth:
            raise CorpusError(
                f"the test ids are not session 5: {min(listed ^ fifth)} differs",
                where=file.path,
                hint="speakers of one session must not be in two parts",
            )
    return splits, ["splits: sessions 1 to 3 train, 4 development, 5 test1"]


def _meld_splits(files: Sequence[FeatureFile]) -> tuple[dict[str, str], list[str]]:
    """The corpus's own parts; without validation ids, development is the end of the training ids.

    Raises `CorpusError` if no file has lists of ids.
    """
    having = next((file for file in files if file.lists.get(layouts.VALIDATION)), None)
    merged = next((file for file in files if file.lists), None)
    if merged is None:
        raise CorpusError(
            "no file has lists of training and test ids",
            where=files[0].path,
            hint="add one that has them: --with OTHER.pkl",
        )
    lists = (having or merged).lists
    train = sorted(lists[layouts.TRAIN], key=_number)
    if having:
        development = lists[layouts.VALIDATION]
        remark = f"splits: MELD's own, development by the validation ids of {having.path.name}"
    else:
        count = max(1, round(len(train) * MELD_DEVELOPMENT / MELD_TRAIN))
        train, development = train[:-count], train[-count:]
        remark = (
            f"splits: development is the last {count} of the {count + len(train)} training "
            "dialogues by number, where MELD's own were appended; a file with validation ids "
            "(--with meld_features_roberta.pkl) would settle it"
        )
    splits = dict.fromkeys(train, "train") | dict.fromkeys(development, "development")
    return splits | dict.fromkeys(lists[layouts.TEST], "test1"), [remark]


def _number(dialogue: str) -> tuple[int, str]:
    return (int(dialogue), dialogue) if dialogue.isdecimal() else (-1, dialogue)


def _table(
    corpus: str,
    files: Sequence[FeatureFile],
    dialogues: Sequence[str],
    splits: dict[str, str],
    root: Path,
) -> Corpus:
    """The table, without audio: the label is the consensus, and MELD's only vote."""
    labels = _required(files, layouts.LABELS)
    speakers = _required(files, layouts.SPEAKERS)
    sentences, ids = _first(files, layouts.SENTENCES), _ids(files, dialogues)
    places = [(name, turn) for name in dialogues for turn in range(len(labels[name]))]
    said = [speakers[name][turn] for name, turn in places]
    consensus = [CLASSES[corpus][labels[name][turn]] for name, turn in places]
    plain = {
        "id": ids,
        "audio": [""] * len(places),
        "split": [splits[name] for name, _ in places],
        "speaker": [_speaker(corpus, *pair) for pair in zip(places, said, strict=True)],
        "gender": [_GENDERS.get(gender) for gender in said],
        "consensus": consensus,
        "transcript": [sentences[name][turn] if sentences else None for name, turn in places],
        "dialogue": [name for name, _ in places],
        "turn": [turn for _, turn in places],
    }
    classes = _ORDERS[corpus]
    none_nc = np.zeros((len(places), len(classes) + 1), np.int64)
    votes_nc = none_nc.copy()
    if corpus == "meld":  # IEMOCAP's raters are not in the file
        votes_nc[np.arange(len(places)), [classes.index(name) for name in consensus]] = 1
    return Corpus(assemble(plain, votes_nc, none_nc, classes), classes, root, corpus)


def _speaker(corpus: str, place: tuple[str, int], speaker: str) -> str:
    """`Ses01F` in IEMOCAP, whose sessions have one woman and one man each; MELD's slot."""
    return f"Ses{session_of(place[0]):02d}{speaker}" if corpus == "iemocap" else speaker


def _ids(files: Sequence[FeatureFile], dialogues: Sequence[str]) -> list[str]:
    """Ids of the file if they are unique plain names, else `DIALOGUE_TURN`."""
    field = _first(files, layouts.IDS)
    if field is not None:
        ids = [id for name in dialogues for id in field[name]]
        plain = all(_PLAIN_ID.fullmatch(id) and not id.isdecimal() for id in ids)
        if plain and len(set(ids)) == len(ids):
            return ids
    first = next(iter(files[0].streams.values()))
    return [f"{name}_{turn}" for name in dialogues for turn in range(len(first[name]))]


def _streams(files: Sequence[FeatureFile], dialogues: Sequence[str]) -> tuple[Stream, ...]:
    """Every stream of every file under a name of its own."""
    streams: dict[str, Stream] = {}
    for file in files:
        for role, field in file.streams.items():
            x_nd = np.concatenate([field[name] for name in dialogues])
            name = _free_name(role.rstrip("0123456789"), streams)
            streams[name] = Stream(name, x_nd, role, file)
    return tuple(streams.values())


def _free_name(stem: str, taken: dict[str, Stream]) -> str:
    """`text`, or the first of `text2`, `text3`, … that is free."""
    number = 1
    while (name := stem if number == 1 else f"{stem}{number}") in taken:
        number += 1
    return name
