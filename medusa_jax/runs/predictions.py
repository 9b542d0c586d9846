"""One file of predictions, read and compared with the run's corpus."""

from pathlib import Path

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.errors import EvaluationError


def read_predictions(
    path: Path,
    corpus: Corpus,
    rows: np.ndarray | None = None,
    *,
    missing: str = "no predictions found",
    command: str = "medusa train",
) -> Predictions:
    """The predictions in a file, of exactly these `rows` (default: all) of the corpus, in order.

    Raises `EvaluationError` if the file is `missing` (`command` makes it), damaged, or of other
    utterances.
    """
    if not path.exists():
        hint = f"run `{command}` with the same configuration first, or `medusa run` for all steps"
        raise EvaluationError(missing, where=path, hint=hint)
    found = Predictions.load(path, corpus.classes)
    ids = corpus.frame["id"] if rows is None else corpus.frame["id"].iloc[rows]
    if found.ids != tuple(ids):
        what = "these predictions are of other utterances than the run's corpus"
        raise EvaluationError(what, where=path, hint="use a fresh --out")
    return found
