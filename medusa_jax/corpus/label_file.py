"""Label files as text, CSV and JSON: read with a place for every record, so that an error can name its line."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from medusa_jax.errors import CorpusError, LabelError

T = TypeVar("T")


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file. Raises `CorpusError` if it is missing or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise CorpusError(f"cannot read the label file: {error.strerror}", where=path) from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"the label file is not UTF-8 text (byte {error.start})",
            where=path,
            hint="save it again as UTF-8",
        ) from error


def read_csv(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file with their line numbers, header first (its names stripped), empty lines left out.

    Raises `CorpusError` if there is no row at all or the quoting is broken.
    """
    reader = csv.reader((line + "\n" for line in read_lines(path)), strict=True)
    rows: list[tuple[int, list[str]]] = []
    start = 1  # where a record begins: an open quote runs on over the lines behind it
    try:
        for row in reader:
            rows += [(start, row)] if row else []
            start = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"not valid CSV: {error}", where=f"{path}, line {start}") from error
    if not rows:
        raise CorpusError("the label file is empty", where=path)
    number, header = rows[0]
    return [(number, [name.strip() for name in header]), *rows[1:]]


def read_records(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a CSV file with a header, as its place and its fields. Raises `CorpusError` for a missing column, `LabelError` for a ragged row."""
    (_, header), *rows = read_csv(path)
    missing = [name for name in columns if name not in header]
    if missing:
        raise CorpusError(
            f"the file lacks the column(s) {', '.join(missing)}",
            where=path,
            hint=f"it has {', '.join(header)}",
        )
    for number, row in rows:
        where = f"{path}, line {number}"
        if len(row) != len(header):
            raise LabelError(f"{len(row)} fields where the header has {len(header)}", where=where)
        yield where, dict(zip(header, row, strict=True))


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file. Raises `CorpusError` for broken JSON, `LabelError` for a key that stands twice."""

    def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
        kept = dict(pairs)
        if len(kept) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise LabelError(f"{repeated!r} stands twice", where=path, hint="remove one of the two")
        return kept

    try:
        value = json.loads("\n".join(read_lines(path)), object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"not valid JSON: {error.msg}", where=f"{path}, line {error.lineno}"
        ) from error
    if not isinstance(value, dict):
        raise CorpusError("the JSON file does not hold an object", where=path)
    return value


def fields_of(value: object, required: tuple[str, ...], where: str) -> dict[str, object]:
    """`value` if it is an object with these fields. Raises `LabelError`."""
    if not isinstance(value, dict):
        raise LabelError("expected an object of fields", where=where)
    missing = [field for field in required if field not in value]
    if missing:
        raise LabelError(f"lacks the field(s) {', '.join(missing)}", where=where)
    return value


def placed(where: str, make: Callable[..., T], *values: object) -> T:
    """`make(*values)`; a `LabelError` that it raises is given its place."""
    try:
        return make(*values)
    except LabelError as error:
        error.where = where
        raise


def attribute(value: object, field: str) -> float:
    """A rating on the scale 1–7, from a number or text; NaN for nothing. Raises `LabelError` for anything else."""
    text = "" if value is None else str(value).strip()
    if text.lower() in ("", "nan", "none"):
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not 1 <= number <= 7:
        raise LabelError(f"{field} is {text!r}, not a number from 1 to 7")
    return number


def check_name(name: object) -> str:
    """`name`, stripped, if it is the plain name of a `.wav` file. Raises `LabelError` (without a place) if it is not."""
    text = str(name).strip()
    if "/" in text or "\\" in text or "\0" in text or not text.lower().endswith(".wav"):
        hint = "label files hold plain names such as MSP-PODCAST_0001_0008.wav"
        raise LabelError(
            f"{text!r} is not the name of a .wav file inside the audio folder", hint=hint
        )
    return text
