"""MSP-Podcast's folder → one table of utterances (spec/corpus_and_challenge.md, Layout).

Every label file is optional as long as each utterance has a split. Where two files say the same thing, the first wins:
consensus CSV, JSON, `labels.txt`; detailed CSV, JSON, `labels.txt`; the consensus file's split, speaker and gender before
`Partitions.txt` and `Speaker_ids.txt`. Without a consensus file the plurality of the votes and the means of the ratings stand in.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.corpus.assembly import assemble, measure
from medusa_jax.corpus.label_file import (
    attribute,
    check_name,
    fields_of,
    placed,
    read_json,
    read_lines,
    read_records,
)
from medusa_jax.corpus.labels import CLASSES, CONSENSUS_OF, consensus
from medusa_jax.corpus.msp_layout import (
    AUDIOS,
    CONSENSUS_COLUMNS,
    LABELS,
    SPLIT_OF,
    SYNTHETIC_NOTE,
    TRANSCRIPTS,
    UNKNOWN,
    speaker_of,
)
from medusa_jax.corpus.ratings import RATING_COLUMNS, read_ratings, tally
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError, LabelError

logger = logging.getLogger(__name__)

# Release 1.6 and older call the development set "Validation".
_SPLITS = {name.lower(): split for name, split in SPLIT_OF.items()} | {"validation": "development"}
_GENDERS = {"male": "male", "female": "female", UNKNOWN.lower(): None, "": None, "nan": None}


@dataclass(frozen=True)
class Head:
    """What a consensus file says about one utterance; None and NaN: it does not say."""

    consensus: str | None = None
    arousal: float = float("nan")
    valence: float = float("nan")
    dominance: float = float("nan")
    speaker: str | None = None
    gender: str | None = None
    split: str | None = None


def read_msp_podcast(
    root: Path, *, soft_labels: str = "primary", transcripts: Path | None = None
) -> Corpus:
    """Read the corpus in `root`: a row for every labelled or partitioned utterance and for every test3 audio file, sorted by id.

    `soft_labels` is a variant of `medusa_jax.corpus.labels.SOFT_LABELS`. `transcripts` is a folder of `<stem>.txt` that takes the
    place of `Transcripts/` (spec/medusa.md section 1 wants ASR transcripts in every split). Test3 files have no labels.
    Raises `CorpusError` or `LabelError`, naming file and line, for whatever the label files get wrong.
    """
    if not root.is_dir():
        raise CorpusError("the corpus folder does not exist", where=root)
    ratings = _ratings(root)
    heads = _heads(root)
    splits = _splits(root, heads)
    ids = sorted(splits)
    left_out = set(ratings["FileName"]) - set(splits)
    if left_out:
        logger.warning(
            "%d rated file(s) stand in no split and are left out, the first is %s",
            len(left_out),
            min(left_out),
        )
    votes, secondary = tally(ratings, ids)
    audio = [f"{AUDIOS}/{name}" for name in ids]
    plain = {
        "id": ids,
        "audio": audio,
        "seconds": measure(root, audio),
        "split": [splits[name] for name in ids],
        "transcript": _transcripts(
            root / TRANSCRIPTS if transcripts is None else transcripts,
            ids,
            required=transcripts is not None,
        ),
        **_described(root, ids, heads, ratings, votes),
    }
    frame = assemble(plain, votes, secondary, CLASSES, soft_labels)
    synthetic = (root / SYNTHETIC_NOTE).is_file()
    name = "generated" if synthetic else "msp-podcast"
    return Corpus(
        frame=frame,
        classes=CLASSES,
        root=root,
        name=name,
        soft_labels=soft_labels,
        synthetic=synthetic,
    )


def read_consensus(path: Path) -> dict[str, Head]:
    """Read `labels_consensus.csv`, `labels_consensus.json` or the file lines of `labels.txt`.

    Raises `LabelError` naming file and line for an unknown letter, split or gender, a name that leaves the folder, or a file that
    stands twice; `CorpusError` for a missing column.
    """
    records = {".json": _json_records, ".txt": _text_records}.get(path.suffix, _csv_records)(path)
    heads: dict[str, Head] = {}
    for where, fields in records:
        name = placed(where, check_name, fields["FileName"])
        if name in heads:
            raise LabelError(
                f"{name} stands twice", where=where, hint="remove one of the two lines"
            )
        heads[name] = placed(where, _head, fields)
    return heads


def read_partitions(path: Path) -> dict[str, str]:
    """File → split from lines `Train; MSP-PODCAST_….wav`. Raises `LabelError` naming file and line."""
    splits: dict[str, str] = {}
    for where, (split, name) in _pairs(path):
        name = placed(where, check_name, name)
        if name in splits:
            raise LabelError(
                f"{name} stands twice", where=where, hint="remove one of the two lines"
            )
        splits[name] = placed(where, _known, split, _SPLITS, "split") or ""
    return splits


def read_speakers(path: Path) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """File → speaker and speaker → gender from the two kinds of lines in `Speaker_ids.txt`. Raises `LabelError` naming file and line."""
    speakers: dict[str, str | None] = {}
    genders: dict[str, str | None] = {}
    for where, (key, value) in _pairs(path):
        is_gender = key.lower().startswith("speaker_")
        kept, name = (
            (genders, key[len("speaker_") :])
            if is_gender
            else (speakers, placed(where, check_name, key))
        )
        if name in kept:
            raise LabelError(f"{key} stands twice", where=where, hint="remove one of the two lines")
        kept[name] = (
            placed(where, _known, value, _GENDERS, "gender") if is_gender else speaker_of(value)
        )
    return speakers, genders


def _known(value: object, names: dict[str, str] | dict[str, str | None], what: str) -> str | None:
    key = "" if value is None else str(value).strip().lower()
    if key not in names:
        raise LabelError(
            f"unknown {what} {value!r}",
            hint=f"known: {', '.join(name.capitalize() for name in names if name not in ('', 'nan'))}",
        )
    return names[key]


def _head(fields: dict[str, object]) -> Head:
    letter = str(fields["EmoClass"]).strip()
    if letter not in CONSENSUS_OF:
        raise LabelError(
            f"unknown class letter {letter!r}", hint=f"known: {', '.join(CONSENSUS_OF)}"
        )
    return Head(
        consensus=CONSENSUS_OF[letter],
        arousal=attribute(fields["EmoAct"], "EmoAct"),
        valence=attribute(fields["EmoVal"], "EmoVal"),
        dominance=attribute(fields["EmoDom"], "EmoDom"),
        speaker=speaker_of(fields.get("SpkrID")),
        gender=_known(fields.get("Gender"), _GENDERS, "gender"),
        split=_known(fields["Split_Set"], _SPLITS, "split") if "Split_Set" in fields else None,
    )


def _csv_records(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for where, fields in read_records(path, CONSENSUS_COLUMNS):
        yield where, dict(fields)


def _json_records(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for name, fields in read_json(path).items():
        where = f"{path}, {name}"
        yield where, {**fields_of(fields, CONSENSUS_COLUMNS[1:], where), "FileName": name}


def _text_records(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for number, line in enumerate(read_lines(path), 1):
        fields = [field.strip() for field in line.strip().rstrip(";").split(";")]
        if not fields[0].lower().endswith(".wav"):
            continue
        where = f"{path}, line {number}"
        if len(fields) != 5 or [field[:2] for field in fields[2:]] != ["A:", "V:", "D:"]:
            raise LabelError(
                f"not a file line: {line.strip()[:120]!r}",
                where=where,
                hint="expected 'NAME.wav; N; A:2.4; V:4.0; D:2.8;'",
            )
        name, letter, act, val, dom = fields
        yield (
            where,
            {
                "FileName": name,
                "EmoClass": letter,
                "EmoAct": act[2:],
                "EmoVal": val[2:],
                "EmoDom": dom[2:],
            },
        )


def _pairs(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        fields = [field.strip() for field in line.strip().rstrip(";").split(";")]
        if len(fields) != 2:
            raise LabelError(
                f"expected two fields with a semicolon between them: {line.strip()[:120]!r}",
                where=where,
            )
        yield where, (fields[0], fields[1])


def _find(root: Path, *names: str) -> Path | None:
    places = (folder / name for name in names for folder in (root / LABELS, root))
    return next((path for path in places if path.is_file()), None)


def _ratings(root: Path) -> pd.DataFrame:
    path = _find(root, "labels_detailed.csv", "labels_detailed.json", "labels.txt")
    return read_ratings(path) if path else pd.DataFrame({name: [] for name in RATING_COLUMNS})


def _heads(root: Path) -> dict[str, Head]:
    path = _find(root, "labels_consensus.csv", "labels_consensus.json", "labels.txt")
    return read_consensus(path) if path else {}


def _splits(root: Path, heads: dict[str, Head]) -> dict[str, str]:
    path = _find(root, "Partitions.txt", "Partition.txt")
    splits = read_partitions(path) if path else {}
    for name, head in heads.items():
        if head.split is not None and splits.setdefault(name, head.split) != head.split:
            what = (
                f"{name} is in {head.split} by the consensus file and in {splits[name]} by this one"
            )
            raise CorpusError(what, where=path, hint="correct one of the two")
        if name not in splits:
            raise CorpusError(
                f"{name} is in no split",
                where=root,
                hint="add Partitions.txt, or a consensus file with the column Split_Set",
            )
    for audio in sorted((root / AUDIOS).glob("MSP-PODCAST_test3_*.wav")):
        splits.setdefault(audio.name, "test3")
    if not splits:
        raise CorpusError(
            "no utterance found: neither labels, nor partitions, nor test3 audio",
            where=root,
            hint="the folder should hold Labels/labels_consensus.csv (or .json), Partitions.txt and Audios/",
        )
    return splits


def _described(
    root: Path, ids: list[str], heads: dict[str, Head], ratings: pd.DataFrame, votes: np.ndarray
) -> dict[str, list[object]]:
    path = _find(root, "Speaker_ids.txt")
    speakers, genders = read_speakers(path) if path else ({}, {})
    means = ratings.groupby("FileName")[["EmoAct", "EmoVal", "EmoDom"]].mean().T.to_dict("list")
    plurality = consensus(votes, CLASSES)
    rows = []
    for i, name in enumerate(ids):
        head = heads.get(name) or Head(plurality[i], *means.get(name, ()))
        speaker = head.speaker or speakers.get(name)
        rows.append(
            (
                head.consensus,
                head.arousal,
                head.valence,
                head.dominance,
                speaker,
                head.gender or genders.get(speaker or ""),
            )
        )
    contradicted = sum(
        1
        for name, head in heads.items()
        if head.speaker and speakers.get(name) not in (None, head.speaker)
    )
    if contradicted:
        logger.warning(
            "%d utterance(s) have another speaker in %s than in the consensus file, which is used",
            contradicted,
            path,
        )
    names = ("consensus", "arousal", "valence", "dominance", "speaker", "gender")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _transcripts(folder: Path, ids: list[str], *, required: bool) -> list[str | None]:
    if required and not folder.is_dir():
        raise CorpusError("the folder of transcripts does not exist", where=folder)
    present = {path.stem for path in folder.glob("*.txt")}
    return [
        "\n".join(read_lines(folder / f"{Path(name).stem}.txt")).strip()
        if Path(name).stem in present
        else None
        for name in ids
    ]
