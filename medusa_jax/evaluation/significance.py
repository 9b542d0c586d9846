"""Tests of the difference between two systems on the same utterances, corrected for their number.

Two scores with overlapping intervals can still differ significantly, since both systems err on
the same hard utterances: a paired test looks at the difference itself. The unit is the speaker,
or the dialogue, as in `intervals`.

Legend: `n` utterance, `k` cluster, `s` resample, `c` class, `r` seed, `p` one of a pair.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.intervals import (
    RESAMPLES,
    Interval,
    interval_of_sums,
    seed_confusions,
    seed_mean,
)
from medusa_jax.evaluation.metrics import macro_f1_of


@dataclass(frozen=True)
class Comparison:
    """The difference of the scores of system `one` and `other`, with its interval and p-values.

    `p` is the two-sided permutation p-value; `corrected` is `p` after Holm's correction.
    """

    one: str
    other: str
    difference: float
    interval: Interval
    p: float
    corrected: float


def compare(
    labels: np.ndarray,
    systems: Mapping[str, np.ndarray],
    pairs: Sequence[tuple[str, str]],
    classes: Sequence[str],
    clusters: Sequence[str | None] | pd.Series,
    *,
    metric: Callable[[np.ndarray], np.ndarray] = macro_f1_of,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    cluster: str = "speaker",
) -> list[Comparison]:
    """Compare `pairs` of `systems` by Macro-F1, or any `metric` of confusion matrices `[…, c, c]`.

    Systems are predicted class indices `[n]`, or `[r, n]` of several seeds: then the seeds' means
    are compared, and both systems need the same number. The interval of the difference is a
    bootstrap over clusters. The p-value comes from exchanging the two systems' predictions, all
    seeds together, for whole clusters at random; Holm's correction runs over all `pairs`. Raises
    `EvaluationError` for an unknown system, fewer than two clusters, or shapes that do not fit.
    """
    _check_known(pairs, systems)
    counts = {
        name: seed_confusions(labels, guess, classes, clusters, cluster)
        for name, guess in systems.items()
    }
    found: list[Comparison] = []
    for one, other in pairs:
        _check_seeds(one, other, counts[one].shape[1], counts[other].shape[1])
        both_kprcc = np.stack([counts[one], counts[other]], axis=1)
        shape, both_kx = both_kprcc.shape[1:], both_kprcc.reshape(len(both_kprcc), -1)

        def difference(sums_sx: np.ndarray, shape: tuple[int, ...] = shape) -> np.ndarray:
            means_sp = seed_mean(metric, sums_sx.reshape(*sums_sx.shape[:-1], *shape))
            return np.asarray(means_sp[..., 0] - means_sp[..., 1])

        interval = interval_of_sums(
            both_kx, difference, resamples=resamples, seed=seed, level=level, cluster=cluster
        )
        observed = float(difference(both_kx.sum(axis=0)))
        p = _exchanged(both_kx, difference, abs(observed), resamples, seed)
        found.append(Comparison(one, other, observed, interval, p, p))
    corrected = holm([one.p for one in found])
    return [replace(one, corrected=p) for one, p in zip(found, corrected, strict=True)]


def difference_columns(found: Comparison | None) -> dict[str, str | float | None]:
    """The columns of a comparison; all None where there is none."""
    names = ("difference", "difference_low", "difference_high", "p", "p_corrected")
    if found is None:
        return dict.fromkeys(names)
    values = (found.difference, found.interval.low, found.interval.high, found.p, found.corrected)
    return dict(zip(names, values, strict=True))


def _check_known(pairs: Sequence[tuple[str, str]], systems: Mapping[str, np.ndarray]) -> None:
    unknown = sorted({name for pair in pairs for name in pair} - set(systems))
    if unknown:
        raise EvaluationError(
            f"no predictions of {', '.join(unknown)} to compare",
            hint=f"choose among {', '.join(systems)}",
        )


def _check_seeds(one: str, other: str, seeds: int, others: int) -> None:
    if seeds != others:
        hint = "compare systems that were trained with equally many seeds"
        raise EvaluationError(f"{one} has {seeds} seed(s) and {other} has {others}", hint=hint)


def _exchanged(
    both_kx: np.ndarray,
    difference: Callable[[np.ndarray], np.ndarray],
    observed: float,
    resamples: int,
    seed: int,
) -> float:
    """Share of random exchanges, the observed one included, with a difference at least as large."""
    first_kx, second_kx = np.split(both_kx.astype(np.float64), 2, axis=1)
    swap_sk = np.random.default_rng((seed, 5)).integers(0, 2, (resamples, len(both_kx)))
    moved_sx = swap_sk.astype(np.float64) @ (second_kx - first_kx)
    both_sx = np.concatenate([first_kx.sum(0) + moved_sx, second_kx.sum(0) - moved_sx], axis=1)
    chance_s = difference(both_sx)
    return float((1 + (np.abs(chance_s) >= observed - 1e-12).sum()) / (1 + resamples))


def holm(p: Sequence[float]) -> list[float]:
    """p-values after Holm's step-down correction for all the tests together (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, np.float64)[order] * (len(p) - np.arange(len(p)))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(p) else steps
    return corrected.tolist()
