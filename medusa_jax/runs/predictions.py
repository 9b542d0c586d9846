"""Predictions that a run has on disk."""

from pathlib import Path

import numpy as np

from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.errors import EvaluationError
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.run import JOINED, OUTPUTS, Run
from medusa_jax.runs.training_splits import outputs_of


def member_outputs(run: Run, corpus: Corpus, fold: int, member: str) -> Predictions:
    """A trained member's outputs. Raises `EvaluationError` if it is not trained or they belong to other utterances."""
    return _there(
        run.member_folder(fold, member) / OUTPUTS,
        corpus,
        np.arange(len(corpus)),
        f"member {member} is not trained yet",
        "medusa train",
    )


def out_of_fold_outputs(prepared: Prepared, fold: int, member: str) -> Predictions:
    """What a member said of the fold's training part out of fold, likewise."""
    path, rows = prepared.run.member_folder(fold, member) / JOINED, prepared.folds[fold].fit
    return _there(
        path,
        prepared.corpus,
        rows,
        f"member {member} has no out-of-fold outputs yet",
        "medusa train",
    )


def ensemble_outputs(run: Run, corpus: Corpus, fold: int, system: str) -> Predictions:
    """The outputs of one of `ENSEMBLES`, likewise."""
    path = run.fold_folder(fold) / "ensemble" / f"{system}.parquet"
    return _there(
        path, corpus, np.arange(len(corpus)), "the ensemble is not made yet", "medusa ensemble"
    )


def _there(path: Path, corpus: Corpus, rows: np.ndarray, absent: str, command: str) -> Predictions:
    if not path.exists():
        raise EvaluationError(
            absent,
            where=path,
            hint=f"run `{command}` with the same configuration first, or `medusa run` for all steps",
        )
    return outputs_of(path, corpus, rows)
