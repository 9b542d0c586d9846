"""Label files of MSP-Podcast with one record an utterance: consensus, partitions and speakers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.corpus.label_file import (
    attribute,
    check_name,
    fields_of,
    placed,
    read_json,
    read_lines,
    read_records,
)
from medusa_jax.corpus.labels import CONSENSUS_OF
from medusa_jax.corpus.msp_layout import CONSENSUS_COLUMNS, SPLIT_OF, UNKNOWN, speaker_of
from medusa_jax.errors import LabelError

# Release 1.6 and older call the development set "Validation".
_SPLITS = {name.lower(): split for name, split in SPLIT_OF.items()} | {"validation": "development"}
_GENDERS = {"male": "male", "female": "female", UNKNOWN.lower(): None, "": None, "nan": None}


@dataclass(frozen=True)
class Head:
    """An utterance's record in a consensus file; None and NaN for a missing field."""

    consensus: str | None = None
    arousal: float = float("nan")
    valence: float = float("nan")
    dominance: float = float("nan")
    speaker: str | None = None
    gender: str | None = None
    split: str | None = None


def read_consensus(path: Path) -> dict[str, Head]:
    """Read `labels_consensus.csv`, `labels_consensus.json` or the file lines of `labels.txt`.

    Raises `LabelError` with file and line for an unknown letter, split or gender, a name that
    leaves the folder, or a duplicate file; `CorpusError` for a missing column.
    """
    records = {".json": _json_records, ".txt": _text_records}.get(path.suffix, _csv_records)(path)
    heads: dict[str, Head] = {}
    for where, fields in records:
        name = placed(where, check_name, fields["FileName"])
        _refuse_repeat(name, name in heads, where)
        heads[name] = placed(where, _head, fields)
    return heads


def read_partitions(path: Path) -> dict[str, str]:
    """File → split, from lines `Train; NAME.wav`. Raises `LabelError` with file and line."""
    splits: dict[str, str] = {}
    for where, (split, name) in _pairs(path):
        name = placed(where, check_name, name)
        _refuse_repeat(name, name in splits, where)
        splits[name] = placed(where, _known, split, _SPLITS, "split") or ""
    return splits


def read_speakers(path: Path) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """File → speaker and speaker → gender, from the two kinds of lines in `Speaker_ids.txt`.

    Raises `LabelError` with file and line.
    """
    speakers: dict[str, str | None] = {}
    genders: dict[str, str | None] = {}
    for where, (key, value) in _pairs(path):
        if key.lower().startswith("speaker_"):
            speaker = key[len("speaker_") :]
            _refuse_repeat(key, speaker in genders, where)
            genders[speaker] = placed(where, _known, value, _GENDERS, "gender")
        else:
            name = placed(where, check_name, key)
            _refuse_repeat(key, name in speakers, where)
            speakers[name] = speaker_of(value)
    return speakers, genders


def _refuse_repeat(name: str, known: bool, where: str) -> None:
    if known:
        raise LabelError(f"duplicate line for {name}", where=where, hint="remove one of the two")


def _known(value: object, names: dict[str, str] | dict[str, str | None], what: str) -> str | None:
    key = "" if value is None else str(value).strip().lower()
    if key not in names:
        shown = [name.capitalize() for name in names if name not in ("", "nan")]
        raise LabelError(f"unknown {what} {value!r}", hint=f"known: {', '.join(shown)}")
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
        attributes = [field[2:] for field in fields[2:]]
        yield where, dict(zip(CONSENSUS_COLUMNS[:5], (*fields[:2], *attributes), strict=True))


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
