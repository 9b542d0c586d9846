"""Confidence intervals by bootstrap over clusters: speakers, or the dialogues of conversations.

Utterances of one speaker are not independent: resampling utterances would give intervals that are
too narrow for a new speaker. So whole speakers are drawn with replacement, each with all its
utterances. An utterance of unknown speaker is a cluster of its own. Dialogues likewise: each turn
answers the one before.

Legend: `n` utterance, `k` cluster, `s` resample, `r` seed, `c` class, `x` sums over utterances.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Num

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.metrics import macro_f1_of, scored

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """The interval of a metric at confidence `level`, and its number of clusters and resamples."""

    low: float
    high: float
    level: float
    clusters: int
    resamples: int


def clusters_of(names: Sequence[str | None] | pd.Series) -> Int[np.ndarray, " n"]:
    """Cluster number of each utterance, from 0; each utterance of unknown speaker has its own."""
    codes_n, known = pd.factorize(pd.Series(list(names), dtype=object))
    unknown_n = codes_n < 0
    codes_n[unknown_n] = len(known) + np.arange(unknown_n.sum())
    return codes_n


def macro_f1_interval(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: Sequence[str],
    clusters: Sequence[str | None] | pd.Series,
    *,
    metric: Callable[[np.ndarray], np.ndarray] = macro_f1_of,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    cluster: str = "speaker",
) -> Interval:
    """Interval of Macro-F1, or of any `metric` that maps confusion matrices `[…, c, c]` to `[…]`.

    `labels` and `predictions` are class indices `[n]`, label −1: not scored. Predictions `[r, n]`
    of several seeds are scored seed by seed; the interval is that of their mean. `clusters` are the
    names of each utterance's `cluster`. Raises `EvaluationError` where the score itself would, and
    for fewer than two clusters.
    """
    confusion_krcc = seed_confusions(labels, predictions, classes, clusters, cluster)
    shape, confusion_kx = confusion_krcc.shape[1:], confusion_krcc.reshape(len(confusion_krcc), -1)
    return interval_of_sums(
        confusion_kx,
        lambda x: seed_mean(metric, x.reshape(*x.shape[:-1], *shape)),
        resamples=resamples,
        seed=seed,
        level=level,
        cluster=cluster,
    )


def seed_mean(
    metric: Callable[[np.ndarray], np.ndarray], confusion: Num[np.ndarray, "*s r c c"]
) -> Float[np.ndarray, "*s"]:
    """Mean over seeds `r` of a `metric` of confusion matrices."""
    return np.asarray(metric(confusion)).mean(axis=-1)


def seed_confusions(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: Sequence[str],
    clusters: Sequence[str | None] | pd.Series,
    cluster: str = "speaker",
) -> Int[np.ndarray, "k r c c"]:
    """Confusion matrices of each cluster and seed, from predictions `[r, n]`, or `[n]` of one seed.

    Raises as `cluster_confusions`.
    """
    if not 1 <= predictions.ndim <= 2 or 0 in predictions.shape[:-1]:
        raise EvaluationError(
            f"predictions of shape {predictions.shape}: they must be [utterance] or "
            "[seed, utterance], with at least one seed"
        )
    seeds = np.atleast_2d(predictions)
    return np.stack(
        [cluster_confusions(labels, one, classes, clusters, cluster) for one in seeds], axis=1
    )


def cluster_confusions(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: Sequence[str],
    clusters: Sequence[str | None] | pd.Series,
    cluster: str = "speaker",
) -> Int[np.ndarray, "k c c"]:
    """Confusion matrix, true class first, of each cluster that has a labelled utterance.

    Raises `EvaluationError` where the score would.
    """
    clusters_n = _clusters(clusters, len(labels), cluster)[labels != -1]
    width = len(classes)
    truth_n, guess_n = scored(labels, predictions, classes)
    clusters_n = np.unique(clusters_n, return_inverse=True)[1]
    cells_n = (clusters_n * width + truth_n) * width + guess_n
    return np.bincount(cells_n, minlength=(clusters_n.max() + 1) * width**2).reshape(
        -1, width, width
    )


def interval_of_sums(
    sums: Num[np.ndarray, "k x"],
    metric: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    cluster: str = "speaker",
) -> Interval:
    """Interval of a metric `[…, x] → […]` of sums (counts) that add up over clusters.

    Raises `EvaluationError` for fewer than two clusters.
    """
    # Whole numbers stay exact in float64; a product of integers takes fifty times as long.
    sums_kx = sums.astype(np.float64)

    def statistic(rows: np.ndarray, axis: int = -1) -> np.ndarray:
        # Draws of each cluster, times its sums: no resampled data set is ever built.
        rows_sk = np.moveaxis(rows, axis, -1)
        times_sk = _times_drawn(rows_sk.reshape(-1, rows.shape[axis]), len(sums))
        return metric(times_sk @ sums_kx).reshape(rows_sk.shape[:-1])

    return _bootstrap(statistic, len(sums), resamples, seed, level, cluster)


def _times_drawn(drawn_sk: np.ndarray, clusters: int) -> np.ndarray:
    """Draws `[s, k]` of each cluster, from the cluster numbers drawn in each resample."""
    offset_s = np.arange(len(drawn_sk))[:, None] * clusters
    counts = np.bincount((drawn_sk + offset_s).ravel(), minlength=len(drawn_sk) * clusters)
    return counts.reshape(len(drawn_sk), clusters)


def _bootstrap(
    statistic: Callable[..., object],
    clusters: int,
    resamples: int,
    seed: int,
    level: float,
    cluster: str,
) -> Interval:
    from scipy import stats

    if clusters < 2:
        raise EvaluationError(
            f"an interval over {cluster}s needs at least two {cluster}s",
            hint="report the score without an interval",
        )
    # With few speakers the percentile interval is too narrow; a level from Student's t widens it
    # (Hesterberg 2015, section 5.1).
    t = np.sqrt(clusters / (clusters - 1)) * stats.t.ppf((1 + level) / 2, clusters - 1)
    expanded = 1 - 2 * stats.norm.cdf(-t)
    # SciPy has no clusters, so it resamples the clusters' numbers.
    result = stats.bootstrap(
        (np.arange(clusters),),
        statistic,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, min(resamples, 2_000_000 // clusters)),
        confidence_level=expanded,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(low), float(high), level, clusters, resamples)


def _clusters(names: Sequence[str | None] | pd.Series, utterances: int, cluster: str) -> np.ndarray:
    clusters_n = clusters_of(names)
    if len(clusters_n) != utterances:
        raise EvaluationError(f"{len(clusters_n)} {cluster}s do not fit {utterances} utterances")
    return clusters_n
