"""Calibration and agreement: known answers, an independent implementation, bad input."""

import numpy as np
import pytest

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.calibration import agreement, calibration


def drawn(temperature: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from known distributions, and these sharpened by `temperature`.

    1 is calibrated, below 1 overconfident.
    """
    rng = np.random.default_rng(0)
    true_nc = rng.dirichlet(np.full(4, 0.7), n)
    labels = (true_nc.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    sharp = true_nc ** (1 / temperature)
    return labels, sharp / sharp.sum(axis=1, keepdims=True)


def test_what_is_calibrated_has_no_error_and_what_is_sharpened_has() -> None:
    good, sure, unsure = (calibration(*drawn(t)) for t in (1.0, 0.3, 3.0))
    assert good.ece < 0.015
    assert sure.ece > 0.08
    assert sure.overconfidence == pytest.approx(sure.ece, abs=0.01)
    assert unsure.overconfidence < -0.08


def test_ece_is_the_mean_gap_of_the_bins() -> None:
    labels, posteriors = drawn(0.5, 500)
    labels[::7] = -1
    found = calibration(labels, posteriors, bins=5)
    kept = labels >= 0
    order = np.argsort(posteriors[kept].max(axis=1), kind="stable")
    confidence, right = (
        posteriors[kept].max(axis=1)[order],
        (posteriors[kept].argmax(axis=1) == labels[kept])[order],
    )
    bins = zip(np.array_split(confidence, 5), np.array_split(right, 5), strict=True)
    gaps = [(abs(c.mean() - r.mean()), len(r)) for c, r in bins]
    assert found.ece == pytest.approx(sum(gap * size for gap, size in gaps) / kept.sum())
    assert sum(found.utterances) == kept.sum()


def test_few_utterances_make_few_bins() -> None:
    found = calibration(np.array([0, 1, -1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.5, 0.5]]))
    assert (found.utterances, found.accuracy) == ((1, 1), (0.0, 1.0))
    with pytest.raises(EvaluationError, match="no utterance has a label"):
        calibration(np.array([-1]), np.array([[0.5, 0.5]]))


def test_agreement_by_hand() -> None:
    votes = np.array([[1, 0], [0.5, 0.5], [np.nan, np.nan], [0, 0]])
    posteriors = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9], [0.1, 0.9]])
    found = agreement(votes, posteriors)
    assert found.utterances == 2
    assert found.kl == pytest.approx(-np.log(0.8) / 2)
    assert found.cross_entropy == pytest.approx((-np.log(0.8) + np.log(2)) / 2)
    assert found.entropy_correlation == pytest.approx(1)


def test_the_votes_themselves_agree_best() -> None:
    votes = np.random.default_rng(1).dirichlet(np.ones(8), 200)
    assert agreement(votes, votes).kl == pytest.approx(0, abs=1e-9)
    assert agreement(votes, np.full_like(votes, 1 / 8)).kl > 0.1
    assert np.isnan(agreement(votes, np.full_like(votes, 1 / 8)).entropy_correlation)


@pytest.mark.parametrize(
    ("rows", "message"),
    [([[0.9, 0.3]], "no distribution"), ([[-0.1, 1.1]], "no distribution"), ([[np.nan, 1]], "NaN")],
)
def test_rows_that_are_no_distributions_are_refused(rows: list[list[float]], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        calibration(np.array([0]), np.array(rows))


def test_without_votes_there_is_no_agreement() -> None:
    with pytest.raises(EvaluationError, match="no utterance has votes"):
        agreement(np.zeros((2, 3)), np.full((2, 3), 1 / 3))
