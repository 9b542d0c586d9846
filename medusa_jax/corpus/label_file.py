"""Readers of text, CSV and JSON label files that keep the place of each record for errors."""

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
    """The rows of a CSV file with their line numbers, header first, without empty lines.

    Names in the header are stripped. Raises `CorpusError` for an empty file or broken quoting.
    """
    reader = csv.reader((line + "\n" for line in read_lines(path)), strict=True)
    rows: list[tuple[int, list[str]]] = []
    start = 1  # first line of a record: an open quote continues over the next lines
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
    """The place and the fields of each row of a CSV file with a header.

    Raises `CorpusError` for a missing column, `LabelError` for a row of another length.
    """
    (_, header), *rows = read_csv(path)
    missing = [name for name in columns if name not in header]
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
        yield where, dict(zip(header, row, strict=True))


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file.

    Raises `CorpusError` for broken JSON, `LabelError` for a duplicate key.
    """

    def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
        kept = dict(pairs)
        if len(kept) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise LabelError(
                f"duplicate key {repeated!r}", where=path, hint="remove one of the two"
            )
        return kept

    try:
        value = json.loads("\n".join(read_lines(path)), object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"not valid JSON: {error.msg}", where=f"{path}, line {error.lineno}"
        ) from error
    if not isinstance(value, dict):
        raise CorpusError("the JSON file does not contain an object", where=path)
    return value


def fields_of(value: object, required: tuple[str, ...], where: str) -> dict[str, object]:
    """`value` as an object with the `required` fields. Raises `LabelError` for anything else."""
    if not isinstance(value, dict):
        raise LabelError("expected an object of fields", where=where)
    missing = [field for field in required if field not in value]
    if missing:
        raise LabelError(f"missing field(s): {', '.join(missing)}", where=where)
    return value


def placed(where: str, make: Callable[..., T], *values: object) -> T:
    """`make(*values)`, with `where` set on a `LabelError` that it raises."""
    try:
        return make(*values)
    except LabelError as error:
        error.where = where
        raise


def attribute(value: object, field: str) -> float:
    """A rating from 1 to 7; NaN for an empty field. Raises `LabelError` for anything else."""
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
    """`name`, stripped. Raises `LabelError` unless it is a `.wav` file name without a folder."""
    text = str(name).strip()
    if "/" in text or "\\" in text or "\0" in text or not text.lower().endswith(".wav"):
        hint = "label files contain plain names such as MSP-PODCAST_0001_0008.wav"
        raise LabelError(
            f"{text!r} is not the name of a .wav file inside the audio folder", hint=hint
        )
    return text
