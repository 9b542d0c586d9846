"""Layout of MSP-Podcast on disk, and the writer of its label files."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pandas as pd

from medusa_jax.corpus.labels import CLASSES, LETTER_OF, consensus
from medusa_jax.corpus.ratings import (
    DETAIL_FIELDS,
    RATING_COLUMNS,
    Rating,
    check_name,
    format_packed,
    make_rating,
    tally,
)
from medusa_jax.errors import CorpusError, LabelError
from medusa_jax.files import write_text, write_whole

AUDIOS, LABELS, TRANSCRIPTS = "Audios", "Labels", "Transcripts"
CONSENSUS_COLUMNS = (
    "FileName",
    "EmoClass",
    "EmoAct",
    "EmoVal",
    "EmoDom",
    "SpkrID",
    "Gender",
    "Split_Set",
)
UTTERANCE_COLUMNS = ("FileName", "SpkrID", "Gender", "Split_Set", "transcript")
SPLIT_OF = {
    "Train": "train",
    "Development": "development",
    "Test1": "test1",
    "Test2": "test2",
    "Test3": "test3",
}
UNKNOWN = "Unknown"
SYNTHETIC_NOTE = "synthetic.json"
"""File that marks a corpus folder as generated speech."""

Layout = Literal["packed", "columns", "json"]


def write_msp_podcast_labels(
    root: Path, ratings: pd.DataFrame, utterances: pd.DataFrame, layout: Layout = "packed"
) -> None:
    """Write the label files and transcripts of a corpus, each label file whole or not at all.

    `ratings` has `RATING_COLUMNS`, `utterances` has `UTTERANCE_COLUMNS` (SpkrID a number or
    `Unknown`; transcript None: no file). Files without ratings (test3) are listed in
    `Partitions.txt` and `Speaker_ids.txt` only. Consensus attributes are means over raters.
    `packed` writes CSV, JSON and `labels.txt` as in releases 1.7 to 1.12; `columns` CSV and JSON
    as in 1.6 and 2.0; `json` no CSV. Raises `LabelError` for a rating that is invalid, duplicate
    or about a file that is not listed.
    """
    _require(utterances, UTTERANCE_COLUMNS, "utterances")
    _require(ratings, RATING_COLUMNS, "ratings")
    rows = [make_rating(*row) for row in ratings[list(RATING_COLUMNS)].itertuples(index=False)]
    _check_ids(rows, [check_name(name) for name in utterances["FileName"]])
    table = _consensus_table(pd.DataFrame(rows, columns=list(RATING_COLUMNS)), utterances)
    _write_transcripts(root / TRANSCRIPTS, utterances)
    _write_consensus(root / LABELS, table, layout)
    _write_detailed(root / LABELS, rows, layout)
    if layout == "packed":
        write_text(root / LABELS / "labels.txt", "".join(_text_blocks(table, rows)))
    write_text(root / "Partitions.txt", "".join(_partition_lines(utterances)))
    write_text(root / "Speaker_ids.txt", "".join(_speaker_lines(utterances)))


def _require(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise CorpusError(f"missing column(s) in the table of {what}: {', '.join(missing)}")


def _check_ids(rows: list[Rating], names: list[str]) -> None:
    known = set(names)
    if len(known) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise LabelError(f"duplicate row for {repeated} in the table of utterances")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if row[0] not in known:
            raise LabelError(f"rating of {row[0]}, which is not in the table of utterances")
        if row[:2] in seen:
            raise LabelError(f"two ratings of {row[0]} by {row[1]}")
        seen.add((row[0], row[1]))


def _consensus_table(ratings: pd.DataFrame, utterances: pd.DataFrame) -> pd.DataFrame:
    rated = utterances[utterances["FileName"].isin(ratings["FileName"])].reset_index(drop=True)
    votes, _ = tally(ratings, rated["FileName"])
    table = rated[["FileName", "Gender", "Split_Set"]].copy()
    table["SpkrID"] = [speaker_of(value) or UNKNOWN for value in rated["SpkrID"]]
    table["Gender"] = [UNKNOWN if pd.isna(value) else str(value) for value in rated["Gender"]]
    table["EmoClass"] = [LETTER_OF[name] for name in consensus(votes, CLASSES)]
    means = ratings.groupby("FileName")[["EmoAct", "EmoVal", "EmoDom"]].mean()
    table[["EmoAct", "EmoVal", "EmoDom"]] = means.loc[table["FileName"]].to_numpy()
    return table[list(CONSENSUS_COLUMNS)]


def speaker_of(value: object) -> str | None:
    """A speaker's id as text, None for `Unknown` or an empty field.

    Drops the `.0` of a column of numbers with gaps.
    """
    text = "" if value is None or value != value else str(value).strip().removesuffix(".0")
    return None if text.lower() in ("", "nan", UNKNOWN.lower()) else text


def _write_consensus(folder: Path, table: pd.DataFrame, layout: Layout) -> None:
    if layout != "json":
        with write_whole(folder / "labels_consensus.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    records = {
        name: {k: _number(v) for k, v in fields.items()}
        for name, fields in table.set_index("FileName").to_dict("index").items()
    }
    write_text(
        folder / "labels_consensus.json",
        json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False),
    )


def _write_detailed(folder: Path, rows: list[Rating], layout: Layout) -> None:
    if layout == "packed":
        frame = pd.DataFrame(
            {"FileName": [row[0] for row in rows], "Labels": [format_packed(row) for row in rows]}
        )
    else:
        fields = ["FileName", "Workers", *DETAIL_FIELDS]
        frame = pd.DataFrame(
            [(*row[:3], ",".join(row[3]), *row[4:]) for row in rows], columns=fields
        )
    if layout != "json":
        with write_whole(folder / "labels_detailed.csv") as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
    nested: dict[str, dict[str, object]] = {}
    for name, worker, primary, secondary, *attributes in rows:
        values = (primary, ",".join(secondary), *map(_number, attributes))
        nested.setdefault(name, {})[worker] = dict(zip(DETAIL_FIELDS, values, strict=True))
    write_text(
        folder / "labels_detailed.json",
        json.dumps(nested, indent=1, ensure_ascii=False, allow_nan=False),
    )


def _number(value: object) -> object:
    # JSON has no NaN: an attribute without ratings is null.
    return None if value != value else value


def _write_transcripts(folder: Path, utterances: pd.DataFrame) -> None:
    # An fsync for each of thousands of files would take minutes; the label files, written last,
    # mark completion.
    folder.mkdir(parents=True, exist_ok=True)
    for name, transcript in zip(utterances["FileName"], utterances["transcript"], strict=True):
        if not pd.isna(transcript):
            (folder / f"{Path(name).stem}.txt").write_text(
                f"{transcript}\n", encoding="utf-8", newline="\n"
            )


def _text_blocks(table: pd.DataFrame, rows: list[Rating]) -> Iterable[str]:
    votes: dict[str, list[str]] = {}
    for row in rows:
        votes.setdefault(row[0], []).append(format_packed(row))
    for name, letter, act, val, dom, *_ in table.itertuples(index=False):
        yield (
            f"{name}; {letter}; A:{act:.6f}; V:{val:.6f}; D:{dom:.6f};\n"
            + "\n".join(votes[name])
            + "\n\n"
        )


def _partition_lines(utterances: pd.DataFrame) -> Iterable[str]:
    for split, name in zip(utterances["Split_Set"], utterances["FileName"], strict=True):
        yield f"{split}; {name}\n"


def _speaker_lines(utterances: pd.DataFrame) -> Iterable[str]:
    speakers = [speaker_of(value) for value in utterances["SpkrID"]]
    genders = {s: g for s, g in zip(speakers, utterances["Gender"], strict=True) if s}
    for speaker, gender in genders.items():
        yield f"Speaker_{speaker}; {UNKNOWN if pd.isna(gender) else gender}\n"
    for name, owner in zip(utterances["FileName"], speakers, strict=True):
        yield f"{name};{owner or UNKNOWN}\n"
