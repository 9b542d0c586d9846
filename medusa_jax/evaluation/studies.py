"""The tables of `medusa ablate` and `medusa ensemble --study`, as a run's folder keeps them, read back for its report."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.tables import Row

_SCORED = ("macro_f1", "macro_f1_low", "macro_f1_high", "seed_sd", "accuracy")
_TESTED = ("difference", "difference_low", "difference_high", "p", "p_corrected")
ABLATION = ("row", "member", "seeds", *_SCORED, *_TESTED)
ENSEMBLE = ("system", "members", "learned_from", "seeds", *_SCORED, "ece", "against", *_TESTED)
_WORDS = ("row", "member", "system", "members", "learned_from", "against")
MEAN = "mean"
"""The member whose line is the mean over the members."""


def read_study(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a study's CSV file, numbers as numbers, None where a cell is empty.

    Raises `EvaluationError` naming the file if it cannot be read, lacks one of `columns`, or has words where numbers belong.
    """
    mend = "run the study again, or move the file away"
    try:
        frame = pd.read_csv(path, dtype={name: str for name in _WORDS}, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise EvaluationError(f"the study cannot be read: {error}", where=path, mend=mend) from error
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise EvaluationError(f"the study lacks the column(s) {', '.join(lacking)}", where=path, mend=mend)
    words = [name for name in columns if name not in _WORDS and not pd.api.types.is_numeric_dtype(frame[name])]
    if words and len(frame):
        raise EvaluationError(f"there are other things than numbers in the column(s) {', '.join(words)}", where=path, mend=mend)
    kept = frame[list(columns)].astype(object)
    return [{str(name): value for name, value in row.items()} for row in kept.where(kept.notna(), None).to_dict("records")]
