"""Scores of one system trained with several seeds: their mean, and two spreads to keep apart.

The interval is the spread over other speakers (sampling); `seed_sd` is the spread over other
initialisations (training). The interval, and the p of a comparison in `significance`, take the
seeds as given: with few seeds a difference can be certain on new speakers and still be smaller
than the change that another seed brings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.evaluation.intervals import RESAMPLES, Interval, macro_f1_interval, seed_confusions
from medusa_jax.evaluation.metrics import macro_f1_of


@dataclass(frozen=True)
class SeedScores:
    """Each seed's Macro-F1, their mean with its interval over speakers, and the mean accuracy."""

    by_seed: tuple[float, ...]
    macro_f1: float
    interval: Interval
    accuracy: float

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.by_seed)

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation of Macro-F1 over seeds (n − 1); None for one seed."""
        return float(np.std(self.by_seed, ddof=1)) if self.seeds > 1 else None


def seed_scores(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: Sequence[str],
    speakers: Sequence[str | None] | pd.Series,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> SeedScores:
    """Score `predictions` `[r, n]`, one row a seed, against `labels` `[n]` (−1: not scored).

    The interval draws whole speakers, each with the predictions of all seeds. Raises
    `EvaluationError` for fewer than two speakers, shapes that do not fit, indices of no class, or
    no labelled utterance.
    """
    confusion_rcc = seed_confusions(labels, predictions, classes, speakers).sum(axis=0)
    f1_r = macro_f1_of(confusion_rcc)
    accuracy = confusion_rcc.trace(axis1=-2, axis2=-1).sum() / confusion_rcc.sum()
    interval = macro_f1_interval(
        labels, predictions, classes, speakers, resamples=resamples, seed=seed, level=level
    )
    return SeedScores(tuple(f1_r.tolist()), float(f1_r.mean()), interval, float(accuracy))
