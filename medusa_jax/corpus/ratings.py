"""Table of single ratings, from any layout of MSP-Podcast.

One row a rating, columns `RATING_COLUMNS`: file, worker, primary emotion (a class name or
`Other-…`), list of secondary emotions, activation, valence, dominance (1–7, NaN: not rated).
Layouts are recognised by their shape, not by header names:

- packed: two columns, or `labels.txt`:
  `WORKER00000044; Surprise; Neutral,Surprise; A:3.000000; V:5.000000; D:3.000000;`
- columns: one column a field
- JSON: `{file: {worker: {EmoClass_Major, EmoClass_Second, EmoAct, …}}}`
"""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.corpus.label_file import (
    attribute,
    check_name,
    fields_of,
    placed,
    read_csv,
    read_json,
    read_lines,
)
from medusa_jax.corpus.labels import CLASSES, is_other, primary_bucket, secondary_bucket
from medusa_jax.errors import CorpusError, LabelError

RATING_COLUMNS = ("FileName", "Worker", "Primary", "Secondary", "EmoAct", "EmoVal", "EmoDom")
DETAIL_FIELDS = ("EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom")

Rating = tuple[str, str, str, list[str], float, float, float]

# Free text may contain semicolons: the worker ends at the first one, the attributes come last.
_PACKED = re.compile(
    r"(?P<worker>[^;]*);(?P<emotions>.*)"
    r";\s*A:(?P<act>[^;]*);\s*V:(?P<val>[^;]*);\s*D:(?P<dom>[^;]*);?\s*"
)


def read_ratings(path: Path) -> pd.DataFrame:
    """Read `labels_detailed.csv` (both shapes), `labels_detailed.json` or `labels.txt`.

    Returns `RATING_COLUMNS` in file order. Raises `LabelError` with file and line (in JSON: file
    and rater) for a syntax error, an unknown emotion, a name that leaves the folder, or two
    ratings of one file by one rater; `CorpusError` for a missing file or column.
    """
    rows = {".json": _from_json, ".txt": _from_text}.get(path.suffix, _from_csv)(path)
    seen: dict[tuple[str, str], str] = {}
    ratings = []
    for where, rating in rows:
        first = seen.setdefault(rating[:2], where)
        if first != where:
            raise LabelError(
                f"second rating of {rating[0]} by {rating[1]}, the first is at {first}",
                where=where,
                hint="remove one of the two",
            )
        ratings.append(rating)
    return pd.DataFrame(ratings, columns=list(RATING_COLUMNS))


def tally(ratings: pd.DataFrame, ids: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Primary votes and secondary mentions `[b, 9]`, int64, one row for each of `ids`.

    Columns are `CLASSES`, then `other`. A rater counts once a column, however many names of the
    secondary list belong to it. Ratings of other files are ignored.
    """
    index = pd.Index(list(ids))
    row_of = index.get_indexer(pd.Index(ratings["FileName"]))
    primary = np.array([primary_bucket(name) for name in ratings["Primary"]], dtype=np.int64)
    mentions = [
        (i, bucket)
        for i, names in enumerate(ratings["Secondary"])
        for bucket in {secondary_bucket(name) for name in names}
    ]
    rating, secondary = np.array(mentions, dtype=np.int64).reshape(-1, 2).T
    return _count(row_of, primary, len(index)), _count(row_of[rating], secondary, len(index))


def _count(rows: np.ndarray, buckets: np.ndarray, height: int) -> np.ndarray:
    counts = np.zeros((height, len(CLASSES) + 1), np.int64)
    known = rows >= 0
    np.add.at(counts, (rows[known], buckets[known]), 1)
    return counts


def parse_packed(text: str, name: str) -> Rating:
    """The rating in one packed line about file `name`. Raises `LabelError` (without a place)."""
    match = _PACKED.fullmatch(text.strip())
    if match is None:
        raise LabelError(
            f"not a vote line: {text.strip()[:120]!r}",
            hint="expected 'WORKER; Primary; Secondary,Secondary; A:3.0; V:5.0; D:3.0;'",
        )
    primary, separator, secondary = match["emotions"].rpartition(";")
    if not separator:
        raise LabelError(
            f"the vote line has no secondary field: {text.strip()[:120]!r}",
            hint="an empty one is written '; ;'",
        )
    return make_rating(
        name, match["worker"], primary, secondary, match["act"], match["val"], match["dom"]
    )


def format_packed(rating: Rating) -> str:
    """The packed line of one rating, without the name of the file."""
    _, worker, primary, secondary, act, val, dom = rating
    return f"{worker}; {primary}; {','.join(secondary)}; A:{act:.6f}; V:{val:.6f}; D:{dom:.6f};"


def make_rating(
    name: str,
    worker: object,
    primary: object,
    secondary: object,
    act: object,
    val: object,
    dom: object,
) -> Rating:
    """A checked rating from the fields of a label file. Raises `LabelError` (without a place)."""
    rater, emotion = str(worker).strip(), str(primary).strip()
    if not rater:
        raise LabelError("the rating has no rater")
    primary_bucket(emotion)
    names = split_secondary(secondary)
    return (
        check_name(name),
        rater,
        emotion,
        names,
        attribute(act, "EmoAct"),
        attribute(val, "EmoVal"),
        attribute(dom, "EmoDom"),
    )


def split_secondary(value: object) -> list[str]:
    """Secondary emotions of `Neutral,Surprise`, a list, or None. `Other-…` keeps its commas."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    parts = (
        [str(part).strip() for part in value] if isinstance(value, list) else str(value).split(",")
    )
    names: list[str] = []
    for part in parts:
        name = part.strip()
        try:
            if name:
                secondary_bucket(name)
                names.append(name)
        except LabelError:
            if not names or not is_other(names[-1]):
                raise
            names[-1] += f",{part}"
    return names


def _from_json(path: Path) -> Iterator[tuple[str, Rating]]:
    for name, workers in read_json(path).items():
        for worker, fields in fields_of(workers, (), f"{path}, {name}").items():
            where = f"{path}, {name}, {worker}"
            values = fields_of(fields, DETAIL_FIELDS, where)
            ordered = [values[field] for field in DETAIL_FIELDS]
            yield where, placed(where, make_rating, name, worker, *ordered)


def _from_text(path: Path) -> Iterator[tuple[str, Rating]]:
    name = ""
    for number, line in enumerate(read_lines(path), 1):
        first = line.split(";")[0].strip()
        if first.lower().endswith(".wav"):
            name = first
        elif line.strip():
            where = f"{path}, line {number}"
            if not name:
                raise LabelError("a vote line before the line of its file", where=where)
            yield where, placed(where, parse_packed, line, name)


def _from_csv(path: Path) -> Iterator[tuple[str, Rating]]:
    rows = read_csv(path)
    header = rows[0][1]
    if len(header) == 2:
        yield from _packed_rows(path, rows if ";" in header[1] else rows[1:])
    else:
        yield from _column_rows(path, header, rows[1:])


def _packed_rows(path: Path, rows: list[tuple[int, list[str]]]) -> Iterator[tuple[str, Rating]]:
    for number, (name, *rest) in rows:
        # CSV splits an unquoted packed field at the commas of its secondary list.
        yield (where := f"{path}, line {number}"), placed(where, parse_packed, ",".join(rest), name)


def _column_rows(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]]
) -> Iterator[tuple[str, Rating]]:
    position = {
        ("Worker" if name.lower().startswith("worker") else name): i
        for i, name in enumerate(header)
    }
    wanted = ("FileName", "Worker", *DETAIL_FIELDS)
    missing = [name for name in wanted if name not in position]
    if missing:
        raise CorpusError(
            f"missing column(s): {', '.join(missing)}",
            where=path,
            hint=f"the file has {', '.join(header)}",
        )
    for number, row in rows:
        where = f"{path}, line {number}"
        if len(row) != len(header):
            raise LabelError(f"{len(row)} fields where the header has {len(header)}", where=where)
        yield where, placed(where, make_rating, *(row[position[name]] for name in wanted))
