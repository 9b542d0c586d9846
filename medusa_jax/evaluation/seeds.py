"""One system trained with several seeds: its mean score, and two spreads that are not to be mixed.

The interval says how far other speakers might move the mean (sampling); the deviation over seeds says how far another
initialisation might (training). Comparisons of two such systems are in `paired`.

What the interval and a comparison's p do not say: they take the seeds as they are. With few seeds a difference can be
sure on new speakers and still be smaller than what another seed would change; `seed_sd` beside it shows that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.evaluation.intervals import RESAMPLES, Interval, macro_f1_interval, seed_confusions
from medusa_jax.evaluation.metrics import macro_f1_of


@dataclass(frozen=True)
class SeedScores:
    """Scores of one system over its seeds: each seed's Macro-F1, their mean with its interval over speakers, and the mean accuracy."""

    by_seed: tuple[float, ...]
    macro_f1: float
    interval: Interval
    accuracy: float

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.by_seed)

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation of Macro-F1 over seeds (n − 1); None for one seed, which tells nothing of the spread."""
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
    """Score a system's `predictions` `[r, n]`, one row a seed, against `labels` `[n]`: class indices, label −1: not scored.

    For the interval whole speakers are drawn, each with the predictions of all seeds. Raises `EvaluationError` for
    fewer than two speakers, shapes that do not fit, indices of no class, or no labelled utterance.
    """
    confusion_rcc = seed_confusions(labels, predictions, classes, speakers).sum(axis=0)
    f1_r = macro_f1_of(confusion_rcc)
    accuracy = confusion_rcc.trace(axis1=-2, axis2=-1).sum() / confusion_rcc.sum()
    interval = macro_f1_interval(
        labels, predictions, classes, speakers, resamples=resamples, seed=seed, level=level
    )
    return SeedScores(tuple(f1_r.tolist()), float(f1_r.mean()), interval, float(accuracy))
