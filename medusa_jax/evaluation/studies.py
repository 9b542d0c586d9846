"""The tables of `medusa ablate` and `medusa ensemble --study`, as a run's folder keeps them, read back for its report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

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
    mend = "run the study again, or move the file away"
    try:
        frame = pd.read_csv(path, dtype={name: str for name in _WORDS}, keep_default_na=False, na_values=[""], float_precision="round_trip")
    except (OSError, ValueError) as error:
        raise EvaluationError(f"the study cannot be read: {error}", where=path, mend=mend) from error
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise EvaluationError(f"the study lacks the column(s) {', '.join(lacking)}", where=path, mend=mend)
    words = [name for name in columns if name not in _WORDS and not pd.api.types.is_numeric_dtype(frame[name])]
    if words and len(frame):
        raise EvaluationError(f"there are other things than numbers in the column(s) {', '.join(words)}", where=path, mend=mend)
    kept = frame[list(columns)].astype(object)
    rows = [{str(name): value for name, value in row.items()} for row in kept.where(kept.notna(), None).to_dict("records")]
    return _with_words(rows, path.with_suffix(".json"))


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
