"""Label files as they circulate: the files of a test set, and the answers to them."""

import re
from pathlib import Path

import pandas as pd

from medusa_jax.errors import SubmissionError
from submission.challenges import CLASS_OF, COLUMN_OF, LETTER_OF, Challenge, Kind

_SPLIT = "Split_Set"
_NO_CLASS = ("O", "X", "")


def read_names(path: Path, challenge: Challenge) -> tuple[str, ...]:
    """The challenge's file names in `path`, sorted.

    `path` is a folder of audio, a table with `FileName`, or a list with one name a line. Of a table
    with `Split_Set` the rows of Test3 count; else the names that match the challenge's pattern,
    or all if none does. Raises `SubmissionError` if there is none, or a repeated one.
    """
    path = Path(path)
    if path.is_dir():
        found = [entry.name for entry in path.iterdir() if entry.suffix == ".wav"]
    elif path.suffix.lower() == ".csv":
        found = _test_rows(_read(path, ("FileName",)))["FileName"].tolist()
    else:
        found = [line.strip() for line in _text(path).splitlines() if line.strip()]
    matching = [
        name for name in found if re.fullmatch(challenge.categorical.pattern, name, re.ASCII)
    ]
    if not found:
        hint = "give a folder of .wav files, a CSV with FileName, or a list, one name a line"
        raise SubmissionError("no test file is named there", where=path, hint=hint)
    return challenge.with_names(matching or found).categorical.names or ()


def read_answers(path: Path, kind: Kind, *, test_only: bool = False) -> pd.DataFrame:
    """The answers to one task, indexed by `FileName`.

    Column `emotion` is a class (missing for O and X), or there are three attributes (NaN: unrated).
    `path` is `labels_consensus.csv` with at least the task's columns, or a file in the task's own
    layout; `test_only` keeps the rows whose `Split_Set` is Test3. Raises `SubmissionError` naming
    the row of a bad or repeated answer.
    """
    columns = ("EmoClass",) if kind == "categorical" else tuple(COLUMN_OF.values())
    frame = _read(path, ("FileName", *columns))
    frame = _test_rows(frame) if test_only else frame
    repeated = frame["FileName"].duplicated()
    if repeated.any():
        raise SubmissionError(
            f"{frame['FileName'][repeated].iloc[0]} has two answers",
            where=path,
            hint="keep one answer a file",
        )
    index = pd.Index(frame["FileName"].astype(object), name="FileName")
    if kind == "categorical":
        answers = zip(index, frame["EmoClass"], strict=True)
        emotion = [_class(path, *answer) for answer in answers]
        return pd.DataFrame({"emotion": emotion}, index=index, dtype=object)

    def numbers(column: str) -> list[float]:
        return [_number(path, *answer) for answer in zip(index, frame[column], strict=True)]

    return pd.DataFrame({a: numbers(column) for a, column in COLUMN_OF.items()}, index=index)


def _class(path: Path, name: str, letter: str) -> str | None:
    if letter in _NO_CLASS:
        return None
    if letter not in CLASS_OF:
        hint = f"answers are {','.join(LETTER_OF.values())}, or O or X (not scored)"
        raise SubmissionError(
            f"the answer {letter!r} is not a class", where=f"{path}, {name}", hint=hint
        )
    return CLASS_OF[letter]


def _number(path: Path, name: str, value: str) -> float:
    try:
        return float(value) if value.strip() else float("nan")
    except ValueError as error:
        raise SubmissionError(
            f"the answer {value!r} is not a number", where=f"{path}, {name}"
        ) from error


def _test_rows(frame: pd.DataFrame) -> pd.DataFrame:
    test = frame[_SPLIT].str.casefold() == "test3" if _SPLIT in frame.columns else None
    return frame if test is None or not test.any() else frame[test].reset_index(drop=True)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV with all cells as text. Raises `SubmissionError` unless it has `columns`."""
    _text(path)
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SubmissionError(f"not a readable CSV file: {error}", where=path) from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise SubmissionError(
            f"the table lacks the column(s) {', '.join(missing)}",
            where=path,
            hint=f"it needs {','.join(columns)}",
        )
    if frame.empty:
        raise SubmissionError("the table has no rows", where=path)
    return frame.fillna("")


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(
            f"not a readable text file: {error}", where=path, hint="check the path; text is UTF-8"
        ) from error
