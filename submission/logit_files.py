"""Evaluation files that teams exchange: a quoted string of logits a row, in one of two orders.

| origin | header | numbers a row |
|---|---|---|
| the organisers | `Filename,Prediction`, in some with a column `Label` | 8 logits |
| MEDUSA's members | `FileName,Prediction` | 8 logits, then EmoAct, EmoVal, EmoDom |

Such a file does not name its class order, so the order is given or inferred from labels. Tables
returned here name every column.
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.errors import SubmissionError
from medusa_jax.files import write_whole
from submission.answers import read_answers
from submission.challenges import ATTRIBUTES, CLASS_OF, CLASSES, LETTER_OF, ORDERS, Challenge, Kind
from submission.writer import disk_errors, write_attributes, write_categorical

LOGITS: tuple[str, ...] = tuple(f"logit_{name}" for name in CLASSES)
_HEADERS = (
    ["Filename", "Prediction"],
    ["FileName", "Prediction"],
    ["Filename", "Label", "Prediction"],
)

# Two orders agree on few classes, so the right one wins by far: above this p labels are too few.
_SIGNIFICANCE = 1e-3


def read_predictions(
    path: Path, *, order: str | None = None, check_against: Path | None = None
) -> pd.DataFrame:
    """Columns `FileName`, `logit_angry`, …, and the attributes by name where the file has them.

    `order` is `organisers`, `alphabetical` or eight letters such as `ASHUFDCN`. `check_against`
    is a label file with `FileName,EmoClass` to infer the order from, or to check it with. Raises
    `SubmissionError` if neither is given, if the labels contradict the order or are too few, or for
    a bad row, naming its line.
    """
    if order is None and check_against is None:
        raise SubmissionError(
            "the file does not name its class order",
            where=path,
            hint=f"give the order ({', '.join(ORDERS)}, or eight letters), or labels to infer it",
        )
    given = None if order is None else class_order(order)
    names, values = _read_rows(Path(path))
    if check_against is not None:
        given = _checked_order(path, names, values[:, : len(CLASSES)], given, check_against)
    assert given is not None
    columns = dict(zip((f"logit_{c}" for c in given), values.T, strict=False))
    frame = pd.DataFrame({"FileName": names, **{name: columns[name] for name in LOGITS}})
    # The file's order is Act, Val, Dom, as that of ATTRIBUTES.
    for attribute, column in zip(ATTRIBUTES, values.T[len(CLASSES) :], strict=False):
        frame[attribute] = column
    return frame


def class_order(order: str) -> tuple[str, ...]:
    """The classes of a named order or of eight letters. Raises `SubmissionError` otherwise."""
    if order in ORDERS:
        return ORDERS[order]
    if sorted(order) == sorted(LETTER_OF.values()):
        return tuple(CLASS_OF[letter] for letter in order)
    hint = f"give {', '.join(ORDERS)}, or the eight letters in the file's order, such as ASHUFDCN"
    raise SubmissionError(f"unknown class order {order!r}", hint=hint)


def write_organisers(path: Path, predictions: pd.DataFrame, order: str = "organisers") -> Path:
    """Write the organisers' layout, `Filename,Prediction` with 8 logits. Returns `path`."""
    return _write(path, "Filename", predictions, [f"logit_{c}" for c in class_order(order)])


def write_member(path: Path, predictions: pd.DataFrame, order: str = "organisers") -> Path:
    """Write MEDUSA's layout: `FileName,Prediction`, 8 logits, 3 attributes. Returns `path`."""
    logits = [f"logit_{c}" for c in class_order(order)]
    return _write(path, "FileName", predictions, [*logits, *ATTRIBUTES])


def to_submission(path: Path, predictions: pd.DataFrame, challenge: Challenge, kind: Kind) -> Path:
    """Write a submission from `read_predictions`: the largest logit's class, or the attributes.

    Returns `path`. Raises `SubmissionError`, and writes nothing, if the result would be invalid.
    """
    names = predictions["FileName"].tolist()
    if kind == "attributes":
        return write_attributes(path, names, predictions, challenge)
    return write_categorical(path, names, predicted_classes(predictions), challenge)


def predicted_classes(predictions: pd.DataFrame) -> list[str]:
    """The class of each row's largest logit."""
    return [CLASSES[i] for i in predictions[list(LOGITS)].to_numpy(float).argmax(axis=1)]


def _read_rows(path: Path) -> tuple[list[str], np.ndarray]:
    """Names, and the numbers `[utterance, 8 or 11]` in the file's order."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(rows, [])
        if header not in _HEADERS:
            hint = "expected Filename,Prediction or FileName,Prediction"
            raise SubmissionError(
                f"unknown header {','.join(header)[:80]!r}", where=f"{path}, line 1", hint=hint
            )
        names: dict[str, int] = {}
        values = [_row(path, rows.line_num, row, len(header), names) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SubmissionError(f"not a readable CSV file: {error}", where=path) from error
    if not values:
        raise SubmissionError("the file has no rows", where=path)
    for line, row in zip(names.values(), values, strict=True):
        if len(row) != len(values[0]):
            raise SubmissionError(
                f"{len(row)} numbers where the first row has {len(values[0])}",
                where=f"{path}, line {line}",
            )
    return list(names), np.asarray(values)


def _row(
    path: Path, line: int, row: Sequence[str], fields: int, names: dict[str, int]
) -> list[float]:
    where = f"{path}, line {line}"
    if len(row) != fields:
        hint = "the numbers stand in one quoted string, separated by commas"
        raise SubmissionError(f"{len(row)} field(s) instead of {fields}", where=where, hint=hint)
    name = row[0].strip()
    if not name:
        raise SubmissionError("the file name is empty", where=where)
    if name in names:
        raise SubmissionError(
            f"{name} stands twice, first on line {names[name]}",
            where=where,
            hint="keep one row a file",
        )
    names[name] = line
    parts = row[-1].split(",")
    if len(parts) not in (len(CLASSES), len(CLASSES) + len(ATTRIBUTES)):
        raise SubmissionError(
            f"{len(parts)} numbers instead of 8 (logits) or 11 (logits and attributes)", where=where
        )
    return [_number(part, where) for part in parts]


def _number(part: str, where: str) -> float:
    try:
        number = float(part)
    except ValueError as error:
        raise SubmissionError(f"{part.strip()!r} is not a number", where=where) from error
    if not math.isfinite(number):
        hint = "predict a finite number; NaN and inf come from the model"
        raise SubmissionError(f"a prediction is {number}", where=where, hint=hint)
    return number


def _checked_order(
    path: Path, names: list[str], logits: np.ndarray, given: tuple[str, ...] | None, labels: Path
) -> tuple[str, ...]:
    """The order with the most right labels. Raises `SubmissionError` if it is not significantly so.

    It also must be the `given` one, if any.
    """
    truth = read_answers(labels, "categorical")["emotion"].reindex(names)
    top, orders = logits.argmax(axis=1), dict(ORDERS)
    if given is not None and given not in orders.values():
        orders["given"] = given
    right = {
        key: np.array([order[i] == label for i, label in zip(top, truth, strict=True)])
        for key, order in orders.items()
    }
    best = max(right, key=lambda key: right[key].sum())
    counts = ", ".join(f"{key} {hits.sum()} right" for key, hits in right.items())
    shown = f"{counts} of {truth.notna().sum()} labelled"
    if not all(_better(right[best], right[other]) for other in right.keys() - {best}):
        raise SubmissionError(
            f"the labels do not decide the class order ({shown})",
            where=path,
            hint="give more labels, or give the order and leave the check out",
        )
    if given is not None and orders[best] != given:
        raise SubmissionError(
            f"the labels contradict the given class order ({shown})",
            where=path,
            hint="give the order that gets more right",
        )
    return orders[best]


def _better(right: np.ndarray, other: np.ndarray) -> bool:
    """True if one order is right significantly more often, by a sign test on where they differ."""
    from scipy.stats import binomtest

    wins, losses = int((right & ~other).sum()), int((other & ~right).sum())
    if wins + losses == 0:
        return False
    return bool(binomtest(wins, wins + losses).pvalue < _SIGNIFICANCE)


def _write(path: Path, name_column: str, predictions: pd.DataFrame, columns: Sequence[str]) -> Path:
    missing = [c for c in ("FileName", *columns) if c not in predictions.columns]
    if missing:
        raise SubmissionError(
            f"the predictions lack the column(s) {', '.join(missing)}", where=path
        )
    with (
        disk_errors(Path(path)),
        write_whole(Path(path)) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([name_column, "Prediction"])
        for name, row in zip(
            predictions["FileName"], predictions[list(columns)].to_numpy(float), strict=True
        ):
            writer.writerow([name, ", ".join(repr(float(value)) for value in row)])
    return Path(path)
