"""Scores of one system trained with several seeds: their mean, and two spreads to keep apart.

The interval is the spread over other speakers or dialogues (sampling); `seed_sd` is that over
other initialisations (training). The interval, and the p of a comparison in `significance`, take
the seeds as given: with few seeds a difference can be certain on new speakers and still be smaller
than the change that another seed brings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medusa_jax.evaluation.headline import SPEECH, Headline
from medusa_jax.evaluation.intervals import RESAMPLES, Interval, macro_f1_interval, seed_confusions
from medusa_jax.evaluation.metrics import macro_f1_of


@dataclass(frozen=True)
class SeedScores:
    """Each seed's headline score, their mean with its interval, mean Macro-F1 and accuracy.

    The headline score of speech is Macro-F1 itself.
    """

    by_seed: tuple[float, ...]
    mean: float
    interval: Interval
    macro_f1: float
    accuracy: float
    headline: Headline = SPEECH

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.by_seed)

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation of the headline score over seeds (n − 1); None for one seed."""
        return float(np.std(self.by_seed, ddof=1)) if self.seeds > 1 else None


def seed_scores(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: Sequence[str],
    clusters: Sequence[str | None] | pd.Series,
    *,
    headline: Headline = SPEECH,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> SeedScores:
    """Score `predictions` `[r, n]`, one row a seed, against `labels` `[n]` (−1: not scored).

    The interval draws whole clusters, each with the predictions of all seeds. Raises
    `EvaluationError` for fewer than two clusters, shapes that do not fit, indices of no class, or
    no labelled utterance.
    """
    cluster = headline.cluster
    confusion_rcc = seed_confusions(labels, predictions, classes, clusters, cluster).sum(axis=0)
    own_r = headline.metric(confusion_rcc)
    accuracy = confusion_rcc.trace(axis1=-2, axis2=-1).sum() / confusion_rcc.sum()
    interval = macro_f1_interval(
        labels,
        predictions,
        classes,
        clusters,
        metric=headline.metric,
        resamples=resamples,
        seed=seed,
        level=level,
        cluster=cluster,
    )
    return SeedScores(
        by_seed=tuple(own_r.tolist()),
        mean=float(own_r.mean()),
        interval=interval,
        macro_f1=float(macro_f1_of(confusion_rcc).mean()),
        accuracy=float(accuracy),
        headline=headline,
    )
