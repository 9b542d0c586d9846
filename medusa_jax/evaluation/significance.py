"""Are two systems different? Tests on the same utterances, speaker by speaker, corrected for how many were made.

Two scores with overlapping intervals can differ for certain, because both systems err on the same hard utterances; a
paired test asks about the difference itself. The unit is the speaker, as in `intervals`.

Legend: `n` utterance, `k` cluster (speaker), `s` resample, `c` class, `r` seed, `p` one of a pair.
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
    """System `one` against `other`: the difference of their scores, its interval, and how often chance alone makes one as large.

    `p` is the two-sided permutation p-value; `corrected` the same after Holm's correction, `p` itself where it was the only one.
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
    speakers: Sequence[str | None] | pd.Series,
    *,
    metric: Callable[[np.ndarray], np.ndarray] = macro_f1_of,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> list[Comparison]:
    """Compare the named `pairs` of `systems` (class indices `[n]`) by Macro-F1, or by any `metric` of confusion matrices `[…, c, c]`.

    A system may be trained with several seeds: predictions `[r, n]`, the same number of seeds for both of a pair; then
    the seeds' means are compared. The interval of the difference is a bootstrap over speakers; the p-value comes from
    exchanging the two systems' predictions, all seeds together, for whole speakers at random. Holm's correction runs
    over all `pairs`. Raises `EvaluationError` for an unknown system, fewer than two speakers, or shapes that do not fit.
    """
    unknown = sorted({name for pair in pairs for name in pair} - set(systems))
    if unknown:
        raise EvaluationError(
            f"no predictions of {', '.join(unknown)} to compare",
            hint=f"choose among {', '.join(systems)}",
        )
    counts = {
        name: seed_confusions(labels, guess, classes, speakers) for name, guess in systems.items()
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
            both_kx, difference, resamples=resamples, seed=seed, level=level
        )
        observed = float(difference(both_kx.sum(axis=0)))
        p = _exchanged(both_kx, difference, abs(observed), resamples, seed)
        found.append(Comparison(one, other, observed, interval, p, p))
    return [
        replace(one, corrected=after)
        for one, after in zip(found, holm([one.p for one in found]), strict=True)
    ]


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
    """Share of random exchanges, the one that was observed among them, whose difference is at least as large."""
    first_kx, second_kx = np.split(both_kx.astype(np.float64), 2, axis=1)
    swap_sk = (
        np.random.default_rng((seed, 5))
        .integers(0, 2, (resamples, len(both_kx)))
        .astype(np.float64)
    )
    moved_sx = swap_sk @ (second_kx - first_kx)
    chance_s = difference(
        np.concatenate([first_kx.sum(0) + moved_sx, second_kx.sum(0) - moved_sx], axis=1)
    )
    return float((1 + (np.abs(chance_s) >= observed - 1e-12).sum()) / (1 + resamples))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that hold for all the tests together, in the order given (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, np.float64)[order] * (len(p) - np.arange(len(p)))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(p) else steps
    return corrected.tolist()
