"""Selection scores: Macro-F1 with classes alike, by samples or by weights."""

import math

import numpy as np
import pytest
from sklearn import metrics

from medusa_jax.evaluation.balanced import (
    balanced_macro_f1,
    class_weighted_error,
    class_weighted_macro_f1,
    selection_score,
)


def uneven(seed: int, counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of classes with recall 0.8, 0.6, 0.5."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), counts)
    right = rng.random(len(labels)) < np.array([0.8, 0.6, 0.5])[labels]
    return labels, np.where(right, labels, rng.integers(0, 3, len(labels)))


def test_class_weighted_is_sklearns_with_balanced_sample_weights() -> None:
    labels, guess = uneven(0, [400, 60, 20])
    weights = (1 / np.bincount(labels))[labels]
    expected = metrics.f1_score(labels, guess, average="macro", sample_weight=weights)
    assert class_weighted_macro_f1(labels, guess, 3) == pytest.approx(expected, abs=1e-12)


def test_class_weighted_is_the_limit_of_many_draws() -> None:
    labels, guess = uneven(1, [2000, 500, 300])
    many = balanced_macro_f1(labels, guess, 3, draws=300, seed=0)
    assert class_weighted_macro_f1(labels, guess, 3) == pytest.approx(many, abs=2e-3)


def test_absent_classes_and_unlabelled_rows_are_ignored() -> None:
    labels, guess = uneven(2, [30, 20, 10])
    some = labels != 1
    labels = np.concatenate([labels[some], [-1, -1]])
    guess = np.concatenate([guess[some], [0, 2]])
    for how in ("class_weighted", "balanced_draws"):
        more = selection_score(labels, guess, 5, how, 3, 0)
        assert more == selection_score(labels[:-2], guess[:-2], 3, how, 3, 0)


def test_the_two_scores_differ_and_only_one_depends_on_the_seed() -> None:
    labels, guess = uneven(3, [400, 60, 20])
    draws = [selection_score(labels, guess, 3, "balanced_draws", 2, seed) for seed in (0, 1)]
    exact = [selection_score(labels, guess, 3, "class_weighted", 2, seed) for seed in (0, 1)]
    assert draws[0] != draws[1]
    assert exact[0] == exact[1]
    assert exact[0] not in draws


def test_the_standard_error_is_the_spread_of_repeated_samples() -> None:
    samples = [uneven(seed, [200, 100, 50]) for seed in range(400)]
    spread = np.std([class_weighted_macro_f1(*one, 3) for one in samples])
    errors = [class_weighted_error(*one, 3) for one in samples]
    assert np.mean(errors) == pytest.approx(spread, rel=0.1)


def test_perfect_predictions_have_no_error() -> None:
    labels = np.repeat(np.arange(3), [5, 4, 3])
    assert class_weighted_error(labels, labels, 4) == 0
    assert class_weighted_macro_f1(labels, labels, 4) == 1


def test_balanced_selection_score_is_sklearns_on_balanced_samples() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 400, p=[0.1, 0.2, 0.2, 0.5])
    guess = np.where(rng.random(400) < 0.5, labels, rng.integers(0, 4, 400))
    score = balanced_macro_f1(labels, guess, 4, draws=400, seed=3)
    rng, smallest = np.random.default_rng(99), min((labels == c).sum() for c in range(4))
    by_sklearn = []
    for _ in range(400):
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(labels == c), smallest, replace=False) for c in range(4)]
        )
        by_sklearn.append(metrics.f1_score(labels[rows], guess[rows], average="macro"))
    assert score == pytest.approx(np.mean(by_sklearn), abs=4 * np.std(by_sklearn) / math.sqrt(200))
    plain = metrics.f1_score(labels, guess, average="macro")
    assert abs(score - plain) > 0.02, "the balance makes no difference: the test is blind"
    assert score == balanced_macro_f1(labels, guess, 4, draws=400, seed=3)
    assert score != balanced_macro_f1(labels, guess, 4, draws=400, seed=4)


def test_balanced_set_has_one_balanced_sample() -> None:
    labels = np.repeat(np.arange(4), 20)
    guess = np.random.default_rng(0).integers(0, 4, 80)
    assert balanced_macro_f1(labels, guess, 4, draws=3, seed=0) == pytest.approx(
        metrics.f1_score(labels, guess, average="macro"), abs=1e-12
    )


def test_balanced_score_of_constant_predictions_does_not_depend_on_the_imbalance() -> None:
    labels = np.repeat(np.arange(4), [5, 40, 40, 400])
    score = balanced_macro_f1(labels, np.full(485, 3), 4, draws=2, seed=0)
    # one class with precision 1/4 and recall 1, three with F1 = 0
    assert score == pytest.approx(0.1)
