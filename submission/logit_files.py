"""The evaluation files teams pass around: a quoted string of logits a row, in one of two class orders.

| whose | header | numbers a row |
|---|---|---|
| the organisers' | `Filename,Prediction`, in some with a column `Label` | 8 logits |
| MEDUSA's members | `FileName,Prediction` | 8 logits, then EmoAct, EmoVal, EmoDom |

Such a file does not say its class order, so a reader is told it or finds it out from labels; what leaves this module
names every column.
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

# Two orders agree on few classes, so a right one wins by far; below this the labels do not decide.
_SIGNIFICANCE = 1e-3


def read_predictions(
    path: Path, *, order: str | None = None, check_against: Path | None = None
) -> pd.DataFrame:
    """Columns `FileName`, `logit_angry`, …, `logit_neutral` and, where the file holds them, `arousal`, `valence`, `dominance`.

    `order` is `organisers`, `alphabetical` or eight letters such as `ASHUFDCN`; `check_against` a label file with
    `FileName,EmoClass` by which the order is found out, or a told one checked. Raises `SubmissionError` if neither is
    given, if the labels contradict the order or do not decide, or for a bad row, naming its line.
    """
    if order is None and check_against is None:
        raise SubmissionError(
            "the file does not say in which order its classes stand",
            where=path,
            hint=f"tell the order ({', '.join(ORDERS)}, or eight letters), or give labels to check it against",
        )
    told = None if order is None else class_order(order)
    names, values = _read_rows(Path(path))
    if check_against is not None:
        told = _checked_order(path, names, values[:, : len(CLASSES)], told, check_against)
    assert told is not None
    columns = dict(zip((f"logit_{c}" for c in told), values.T, strict=False))
    frame = pd.DataFrame({"FileName": names, **{name: columns[name] for name in LOGITS}})
    for i, attribute in enumerate(
        ATTRIBUTES if values.shape[1] > len(CLASSES) else ()
    ):  # the file's order: Act, Val, Dom
        frame[attribute] = values[:, len(CLASSES) + i]
    return frame


def class_order(order: str) -> tuple[str, ...]:
    """The classes of a named order or of eight letters. Raises `SubmissionError` for anything else."""
    if order in ORDERS:
        return ORDERS[order]
    if sorted(order) == sorted(LETTER_OF.values()):
        return tuple(CLASS_OF[letter] for letter in order)
    hint = f"say {', '.join(ORDERS)}, or the eight letters in the file's order, such as ASHUFDCN"
    raise SubmissionError(f"unknown class order {order!r}", hint=hint)


def write_organisers(path: Path, predictions: pd.DataFrame, order: str = "organisers") -> Path:
    """Write the organisers' layout (`Filename,Prediction`, 8 logits) from named columns. Returns `path`."""
    return _write(path, "Filename", predictions, [f"logit_{c}" for c in class_order(order)])


def write_member(path: Path, predictions: pd.DataFrame, order: str = "organisers") -> Path:
    """Write MEDUSA's member layout (`FileName,Prediction`, 8 logits, then arousal, valence, dominance). Returns `path`."""
    return _write(
        path, "FileName", predictions, [*(f"logit_{c}" for c in class_order(order)), *ATTRIBUTES]
    )


def to_submission(path: Path, predictions: pd.DataFrame, challenge: Challenge, kind: Kind) -> Path:
    """Write what `read_predictions` returned as a submission: the class of the largest logit, or the attributes. Returns `path`.

    Raises `SubmissionError`, and writes nothing, where the result would not be valid.
    """
    names = predictions["FileName"].tolist()
    if kind == "attributes":
        return write_attributes(path, names, predictions, challenge)
    return write_categorical(path, names, predicted_classes(predictions), challenge)


def predicted_classes(predictions: pd.DataFrame) -> list[str]:
    """The class of each row's largest logit."""
    return [CLASSES[i] for i in predictions[list(LOGITS)].to_numpy(float).argmax(axis=1)]


def _read_rows(path: Path) -> tuple[list[str], np.ndarray]:
    """Names, and the numbers `[utterance, 8 or 11]` as they stand in the file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(rows, [])
        if header not in (
            ["Filename", "Prediction"],
            ["FileName", "Prediction"],
            ["Filename", "Label", "Prediction"],
        ):
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
    lines = list(names.values())
    for line, row in zip(lines, values, strict=True):
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
        raise SubmissionError(
            f"a prediction is {number}",
            where=where,
            hint="predict a finite number; NaN and inf are faults of the model",
        )
    return number


def _checked_order(
    path: Path, names: list[str], logits: np.ndarray, told: tuple[str, ...] | None, labels: Path
) -> tuple[str, ...]:
    """The order the labels speak for: against every other, the files that exactly one of the two gets right decide (sign test)."""
    from scipy.stats import binomtest

    truth = read_answers(labels, "categorical")["emotion"].reindex(names)
    top = logits.argmax(axis=1)
    orders = dict(ORDERS) if told is None or told in ORDERS.values() else {**ORDERS, "told": told}
    right = {
        key: np.array([order[i] == t for i, t in zip(top, truth, strict=True)])
        for key, order in orders.items()
    }
    best = max(right, key=lambda key: right[key].sum())
    shown = (
        ", ".join(f"{key} {hits.sum()} right" for key, hits in right.items())
        + f" of {truth.notna().sum()} labelled"
    )
    for other in right.keys() - {best}:
        for_best, for_other = (
            int((right[best] & ~right[other]).sum()),
            int((right[other] & ~right[best]).sum()),
        )
        if (
            for_best + for_other == 0
            or binomtest(for_best, for_best + for_other).pvalue >= _SIGNIFICANCE
        ):
            hint = "give more labels, or tell the order and leave the check out"
            raise SubmissionError(
                f"the labels do not decide the class order ({shown})", where=path, hint=hint
            )
    if told is not None and orders[best] != told:
        raise SubmissionError(
            f"the labels contradict the told class order ({shown})",
            where=path,
            hint="tell the order that gets more right",
        )
    return orders[best]


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
