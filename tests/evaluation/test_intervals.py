"""Intervals over speakers agree with a brute-force bootstrap and cover as often as they should."""

import numpy as np
import pytest
from sklearn import metrics
from slow_interval import slow_interval

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.intervals import (
    Interval,
    clusters_of,
    macro_f1_interval,
)

CLASSES = ("angry", "sad", "happy")


def correlated(
    rng: np.random.Generator, speakers: int, each: int, spread: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, predictions and speakers; accuracy differs between speakers by `spread` (0 to 1)."""
    skill = np.clip(0.5 + spread * rng.choice([-0.5, 0.5], speakers), 0, 1).repeat(each)
    labels = rng.integers(0, 3, speakers * each)
    guess = np.where(
        rng.random(speakers * each) < skill, labels, rng.integers(0, 3, speakers * each)
    )
    return labels, guess, [f"s{k}" for k in np.arange(speakers).repeat(each)]


def test_unknown_speakers_are_clusters_of_their_own() -> None:
    clusters = clusters_of(["a", None, "b", "a", float("nan"), None])  # type: ignore[list-item]
    assert clusters[0] == clusters[3]
    assert len(set(clusters.tolist())) == 5


def test_confusion_matrices_give_what_resampled_rows_give() -> None:
    labels, guess, speakers = correlated(np.random.default_rng(0), 12, 9, 0.8)

    def by_sklearn(rows: np.ndarray) -> float:
        return float(
            metrics.f1_score(
                labels[rows], guess[rows], labels=range(3), average="macro", zero_division=0
            )
        )

    fast = macro_f1_interval(labels, guess, CLASSES, speakers, resamples=300, seed=5)
    slow = slow_interval(by_sklearn, speakers, resamples=300, seed=5)
    assert (fast.low, fast.high) == pytest.approx(slow, abs=1e-12)
    assert fast.low < by_sklearn(np.arange(len(labels))) < fast.high
    assert fast == macro_f1_interval(labels, guess, CLASSES, speakers, resamples=300, seed=5)
    assert fast != macro_f1_interval(labels, guess, CLASSES, speakers, resamples=300, seed=6)


def test_unlabelled_utterances_change_nothing() -> None:
    labels, guess, speakers = correlated(np.random.default_rng(0), 12, 9, 0.8)
    more = macro_f1_interval(
        np.append(labels, [-1, -1]),
        np.append(guess, [0, 0]),
        CLASSES,
        [*speakers, "s0", "silent"],
        resamples=100,
    )
    assert more == macro_f1_interval(labels, guess, CLASSES, speakers, resamples=100)


def test_a_speaker_counts_once_however_much_they_say() -> None:
    labels, guess, speakers = correlated(np.random.default_rng(0), 10, 6, 0.8)
    once = macro_f1_interval(labels, guess, CLASSES, speakers, resamples=200)
    thrice = macro_f1_interval(
        np.tile(labels, 3), np.tile(guess, 3), CLASSES, speakers * 3, resamples=200
    )
    naive = macro_f1_interval(
        np.tile(labels, 3), np.tile(guess, 3), CLASSES, [None] * 180, resamples=200
    )
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high), abs=1e-12)
    assert naive.high - naive.low < 0.8 * (once.high - once.low)


def test_one_speaker_and_wrong_lengths_are_refused() -> None:
    labels, guess, speakers = correlated(np.random.default_rng(0), 2, 5, 0.5)
    with pytest.raises(EvaluationError, match="at least two speakers"):
        macro_f1_interval(labels, guess, CLASSES, ["one"] * 10)
    with pytest.raises(EvaluationError, match="9 speakers do not fit 10"):
        macro_f1_interval(labels, guess, CLASSES, speakers[:9])


def coverage(interval_of: object, trials: int, truth: float) -> float:
    rng = np.random.default_rng(7)
    draws = [correlated(rng, 24, 30, 0.8) for _ in range(trials)]
    intervals = [interval_of(*draw) for draw in draws]  # type: ignore[operator]
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


@pytest.mark.slow
def test_covers_new_speakers_at_the_promised_rate_where_a_naive_bootstrap_does_not() -> None:
    labels, guess, _ = correlated(np.random.default_rng(11), 40_000, 30, 0.8)
    truth = metrics.f1_score(labels, guess, average="macro")

    def clustered(labels: np.ndarray, guess: np.ndarray, speakers: list[str]) -> Interval:
        return macro_f1_interval(labels, guess, CLASSES, speakers, resamples=400)

    def naive(labels: np.ndarray, guess: np.ndarray, speakers: list[str]) -> Interval:
        return macro_f1_interval(labels, guess, CLASSES, [None] * len(speakers), resamples=400)

    # 400 trials: a rate of .95 is measured as .95 ± .022 (two standard errors).
    assert 0.92 <= coverage(clustered, 400, truth) <= 0.985
    assert coverage(naive, 400, truth) < 0.75
