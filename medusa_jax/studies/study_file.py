"""The files of a study, `NAME.csv`, `NAME.json` and `NAME.md`: written, and read for the report."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.tables import Row, csv_text
from medusa_jax.files import write_text
from medusa_jax.studies.study import Study
from medusa_jax.studies.tables import markdown

_SCORED = ("macro_f1", "macro_f1_low", "macro_f1_high", "seed_sd", "accuracy")
_TESTED = ("difference", "difference_low", "difference_high", "p", "p_corrected")
_CONVERSATIONS = ("weighted_f1", "weighted_f1_low", "weighted_f1_high", "seed_sd", "accuracy")
ABLATION = ("row", "member", "seeds", *_SCORED, *_TESTED)
ENSEMBLE = ("system", "members", "learned_from", "seeds", *_SCORED, "ece", "against", *_TESTED)
QUESTION = ("question", "one", "other", *_TESTED)
_WORDS = ("row", "member", "system", "members", "learned_from", "against")
MEAN = "mean"
"""The member whose line is the mean over the members."""
_HINT = "run the study again, or move the file away"


@dataclass(frozen=True)
class StudyRecord:
    """The rows, questions and notes of a study that was read back."""

    rows: Sequence[Row]
    questions: Sequence[Row] = ()
    notes: Sequence[str] = ()


def write_study(folder: Path, name: str, study: Study) -> list[Path]:
    """Write `NAME.csv`, `.json` and `.md` into `folder`, each whole or not at all."""
    record = asdict(study)
    del record["words"], record["reference_note"]  # of the Markdown table alone
    texts = {
        "csv": csv_text(study.rows),
        "json": json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "md": markdown(study),
    }
    paths = [folder / f"{name}.{form}" for form in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def read_study(path: Path, columns: Sequence[str]) -> StudyRecord:
    """A study's CSV file with the questions and notes of the JSON file beside it.

    Numbers are floats, empty cells None. A JSON file of another table's rows is ignored. Raises
    `EvaluationError` naming the file if it cannot be read, is cut off, lacks one of `columns`, or
    has words for numbers.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = list(csv.DictReader(io.StringIO(text), strict=True))
        wanted = _present(columns, lines)
        rows = [{name: line[name] or None for name in wanted} for line in lines]
    except (OSError, ValueError, csv.Error) as error:
        what = f"the study cannot be read: {error}"
        raise EvaluationError(what, where=path, hint=_HINT) from error
    except KeyError as error:
        what = f"the study lacks the column {error}"
        raise EvaluationError(what, where=path, hint=_HINT) from error
    if not rows:
        raise EvaluationError("the study's table has no rows", where=path, hint=_HINT)
    ragged = any(None in line or None in line.values() for line in lines)
    if ragged or not text.endswith("\n"):
        raise EvaluationError("the study's table is cut off", where=path, hint=_HINT)
    return _with_words([_numbered(row, path) for row in rows], path.with_suffix(".json"))


def _present(columns: Sequence[str], lines: Sequence[dict[str, str]]) -> Sequence[str]:
    """The `columns`, with the scores of conversations if the file is of them."""
    if not lines or "weighted_f1" not in lines[0]:
        return columns
    first = columns.index(_SCORED[0])
    rest = columns[first + len(_SCORED) :]
    return *columns[:first], *_CONVERSATIONS, "macro_f1", *rest


def _numbered(row: dict[str, str | None], path: Path) -> Row:
    """The row with its numbers as floats. Raises `EvaluationError` for words in their place."""
    try:
        numbers = {
            name: float(value)
            for name, value in row.items()
            if value is not None and name not in _WORDS
        }
    except ValueError as error:
        what = f"a cell that must be a number is not: {error}"
        raise EvaluationError(what, where=path, hint=_HINT) from error
    if not all(map(math.isfinite, numbers.values())):
        raise EvaluationError("a number is not finite", where=path, hint=_HINT)
    return row | numbers


def _with_words(rows: Sequence[Row], path: Path) -> StudyRecord:
    """The rows with the questions and notes of the JSON file, if it has the same rows."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = [row["macro_f1"] for row in record["rows"]] == [row["macro_f1"] for row in rows]
        questions = [{name: row[name] for name in QUESTION} for row in record.get("questions", [])]
        notes = [str(note) for note in record.get("notes", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return StudyRecord(rows)
    return StudyRecord(rows, questions, notes) if same else StudyRecord(rows)
