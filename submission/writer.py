"""Write the files that a challenge accepts: a submission is valid or is not written."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medusa_jax.errors import SubmissionError
from medusa_jax.files import write_whole
from submission.challenges import ATTRIBUTES, CLASSES, LETTER_OF, Challenge, Task
from submission.validator import check


def write_categorical(
    path: Path, names: Sequence[str], classes: Sequence[str], challenge: Challenge
) -> Path:
    """Write the Task 1 file, sorted: a class name (`angry`, …) for each file name.

    Returns `path`. Raises `SubmissionError`, and writes nothing, for an unknown class, lengths that
    differ, or a file that the validator refuses.
    """
    if len(names) != len(classes):
        raise SubmissionError(f"{len(names)} names but {len(classes)} classes", where=path)
    for name, predicted in zip(names, classes, strict=True):
        if not isinstance(predicted, str) or predicted not in LETTER_OF:
            raise SubmissionError(
                f"{predicted!r} is not a class",
                where=f"{path}, {name}",
                hint=f"give class names, never positions: {', '.join(CLASSES)}",
            )
    return _write(Path(path), names, [(LETTER_OF[c],) for c in classes], challenge.categorical)


def write_attributes(
    path: Path,
    names: Sequence[str],
    attributes: pd.DataFrame | Mapping[str, Any],
    challenge: Challenge,
) -> Path:
    """Write the Task 2 file: arousal, valence and dominance by name, rows as in `names`.

    Values are clipped to 1–7 and not rounded. Returns `path`. Raises `SubmissionError`, and writes
    nothing, for a missing attribute, NaN or inf, lengths or row labels that differ, values on
    another scale, or a file that the validator refuses.
    """
    task, names = challenge.attributes, list(names)
    _check_alignment(path, names, attributes)
    columns = [_column(path, names, attributes, attribute, task) for attribute in ATTRIBUTES]
    rows = [tuple(repr(float(value)) for value in row) for row in zip(*columns, strict=True)]
    return _write(Path(path), names, rows, task)


def _check_alignment(
    path: Path, names: Sequence[str], attributes: pd.DataFrame | Mapping[str, Any]
) -> None:
    """Raise `SubmissionError` if the table has names of its own that are not `names`, in order."""
    if not isinstance(attributes, pd.DataFrame):
        return
    own = attributes["FileName"] if "FileName" in attributes.columns else attributes.index
    named = isinstance(own, pd.Series) or not pd.api.types.is_integer_dtype(own.dtype)
    if named and list(own) != list(names):
        what = "the table of attributes names other files, or in another order, than `names`"
        raise SubmissionError(what, where=path, hint="align them by name first")


def _column(
    path: Path,
    names: Sequence[str],
    attributes: pd.DataFrame | Mapping[str, Any],
    attribute: str,
    task: Task,
) -> np.ndarray:
    """An attribute's values, clipped. Raises `SubmissionError` for values that cannot be scores."""
    values = _numbers(path, attributes, attribute)
    if values.shape != (len(names),):
        raise SubmissionError(
            f"{attribute} has shape {list(values.shape)} for {len(names)} names", where=path
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise SubmissionError(
            f"{attribute} is {values[bad[0]]} for {len(bad)} file(s)",
            where=f"{path}, {names[bad[0]]}",
            hint="every file needs finite predictions",
        )
    outside = (values < task.low) | (values > task.high)
    # Clipping is for stray values: a column mostly outside is on another scale.
    if outside.mean() > 0.5:
        limits = f"{task.low:g}–{task.high:g}"
        raise SubmissionError(
            f"{outside.mean():.0%} of {attribute} lies outside {limits} (mean {values.mean():.3g})",
            where=path,
            hint="bring it to the 1–7 scale first (from 0–1: 1 + 6·x)",
        )
    return np.clip(values, task.low, task.high)


def _numbers(
    path: Path, attributes: pd.DataFrame | Mapping[str, Any], attribute: str
) -> np.ndarray:
    if attribute not in attributes:
        hint = f"name the columns {', '.join(ATTRIBUTES)}"
        raise SubmissionError(f"no values for {attribute}", where=path, hint=hint)
    try:
        return np.asarray(attributes[attribute], dtype=np.float64)
    except (TypeError, ValueError) as error:
        what = f"{attribute} has a value that is not a number: {error}"
        raise SubmissionError(what, where=path) from error


def _write(path: Path, names: Sequence[str], values: Sequence[tuple[str, ...]], task: Task) -> Path:
    rows = sorted(zip(map(str, names), values, strict=True), key=lambda row: row[0])
    lines = [task.header, *((name, *value) for name, value in rows)]
    text = "".join(f"{','.join(fields)}\n" for fields in lines)
    with disk_errors(path), write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        check(temporary, task, where=path)
    return path


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` (a full disk, a folder without permission) into a `SubmissionError`."""
    try:
        yield
    except OSError as error:
        raise SubmissionError(
            f"cannot write the file: {error.strerror or error}",
            where=path,
            hint="free space, or choose another folder",
        ) from error
