"""The tables of `medusa ablate` and `medusa ensemble --study`, as a run's folder keeps them, read back for its report."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.tables import Row

_SCORED = ("macro_f1", "macro_f1_low", "macro_f1_high", "seed_sd", "accuracy")
_TESTED = ("difference", "difference_low", "difference_high", "p", "p_corrected")
ABLATION = ("row", "member", "seeds", *_SCORED, *_TESTED)
ENSEMBLE = ("system", "members", "learned_from", "seeds", *_SCORED, "ece", "against", *_TESTED)
QUESTION = ("question", "one", "other", *_TESTED)
_WORDS = ("row", "member", "system", "members", "learned_from", "against")
MEAN = "mean"
"""The member whose line is the mean over the members."""


@dataclass(frozen=True)
class StudyRecord:
    """What a study found: the rows of its table; what the table is read for, each question tested; sentences that a reader must know."""

    rows: Sequence[Row]
    questions: Sequence[Row] = ()
    notes: Sequence[str] = ()


def read_study(path: Path, columns: Sequence[str]) -> StudyRecord:
    """A study's CSV file, numbers as numbers, None where a cell is empty; questions and notes from the JSON file beside it.

    A JSON file of other rows than the table's is left alone. Raises `EvaluationError` naming the file if it cannot be read,
    lacks one of `columns`, or has words where numbers belong.
    """
    hint = "run the study again, or move the file away"
    try:
        text = path.read_text(encoding="utf-8")
        lines = list(csv.DictReader(io.StringIO(text), strict=True))
        rows = [{name: line[name] or None for name in columns} for line in lines]
    except (OSError, ValueError, csv.Error) as error:
        raise EvaluationError(
            f"the study cannot be read: {error}", where=path, hint=hint
        ) from error
    except KeyError as error:
        raise EvaluationError(
            f"the study lacks the column {error}", where=path, hint=hint
        ) from error
    if rows and (
        not text.endswith("\n") or any(None in line or None in line.values() for line in lines)
    ):
        raise EvaluationError("the study's table is cut off", where=path, hint=hint)
    if not rows:
        raise EvaluationError("the study's table has no rows", where=path, hint=hint)
    return _with_words([_numbered(row, path, hint) for row in rows], path.with_suffix(".json"))


def _numbered(row: dict[str, str | None], path: Path, hint: str) -> Row:
    """The row with numbers where numbers belong. Raises `EvaluationError` for anything else there."""
    try:
        numbers = {
            name: float(value)
            for name, value in row.items()
            if value is not None and name not in _WORDS
        }
    except ValueError as error:
        raise EvaluationError(
            f"there is something else than a number: {error}", where=path, hint=hint
        ) from error
    if not all(map(math.isfinite, numbers.values())):
        raise EvaluationError("a number is not finite", where=path, hint=hint)
    return row | numbers


def _with_words(rows: Sequence[Row], path: Path) -> StudyRecord:
    """The rows with the questions and notes of the JSON file, if it is there and of the same table."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        same = [row["macro_f1"] for row in told["rows"]] == [row["macro_f1"] for row in rows]
        questions = [{name: row[name] for name in QUESTION} for row in told.get("questions", [])]
        notes = [str(note) for note in told.get("notes", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return StudyRecord(rows)
    return StudyRecord(rows, questions, notes) if same else StudyRecord(rows)
