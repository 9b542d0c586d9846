"""Weights, temperature and prior: each finds what was planted, and keeps what it promises."""

import numpy as np
import pytest
from scipy.special import softmax

from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.recalibration import (
    fit_weights,
    rebalanced,
    temperature_of,
    tempered,
    weighted_vote,
)
from medusa_jax.ensemble.votes import soft_vote
from medusa_jax.errors import EvaluationError

CLASSES = ("angry", "sad", "happy")
rng = np.random.default_rng(0)
TRUTH = rng.dirichlet(np.ones(3), 4000)


def outputs(logits: np.ndarray) -> Predictions:
    n = len(logits)
    return Predictions(
        tuple(map(str, range(n))),
        CLASSES,
        logits.astype(np.float32),
        np.full((n, 3), 4, np.float32),
    )


def mixture(weights: list[float]) -> tuple[list[Predictions], np.ndarray]:
    """Members of random posteriors, and targets that are exactly their weighted mean."""
    members = [outputs(2 * rng.normal(size=(3000, 3))) for _ in weights]
    return members, sum(w * m.posteriors for w, m in zip(weights, members, strict=True))


def test_planted_weights_are_found() -> None:
    planted = [0.5, 0.3, 0.0, 0.2]
    members, targets = mixture(planted)
    weights = fit_weights(members, targets)
    assert weights == pytest.approx(planted, abs=5e-3)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)


def test_rows_without_target_do_not_count() -> None:
    members, targets = mixture([0.7, 0.3])
    silent = targets.copy()
    silent[::2] = 0
    assert fit_weights(members, silent) == pytest.approx([0.7, 0.3], abs=5e-3)
    with pytest.raises(EvaluationError, match="no utterance has a target"):
        fit_weights(members, np.zeros_like(targets))


def test_a_better_member_weighs_more_and_the_fit_never_loses_to_the_even_vote() -> None:
    good, bad = (
        outputs(np.log(TRUTH) + 0.3 * rng.normal(size=TRUTH.shape)),
        outputs(2 * rng.normal(size=TRUTH.shape)),
    )
    weights = fit_weights([good, bad], TRUTH)
    assert weights[0] > 0.9

    def loss(one: Predictions) -> float:
        return float(-(TRUTH * np.log(one.posteriors)).sum(axis=1).mean())

    assert loss(weighted_vote([good, bad], weights)) <= loss(soft_vote([good, bad]))


def test_even_weights_are_the_soft_vote() -> None:
    members, _ = mixture([0.5, 0.5])
    assert weighted_vote(members, np.array([0.5, 0.5])).posteriors == pytest.approx(
        soft_vote(members).posteriors, abs=1e-6
    )


@pytest.mark.parametrize("planted", [0.4, 1.0, 2.5])
def test_the_planted_temperature_is_found_and_no_choice_changes(planted: float) -> None:
    sharp = outputs(np.log(TRUTH) * planted)
    assert temperature_of(sharp, TRUTH) == pytest.approx(planted, rel=1e-2)
    assert (tempered(sharp, planted).logits.argmax(axis=1) == sharp.logits.argmax(axis=1)).all()
    assert tempered(sharp, planted).posteriors == pytest.approx(TRUTH, abs=1e-4)


def test_rebalancing_undoes_the_prior() -> None:
    likelihood = rng.normal(size=(50, 3))
    prior = np.array([0.7, 0.2, 0.1])
    learned = outputs(np.log(softmax(likelihood, axis=1)) + np.log(prior))
    assert rebalanced(learned, prior).posteriors == pytest.approx(
        softmax(likelihood, axis=1), abs=1e-6
    )
    with pytest.raises(EvaluationError, match="sad"):
        rebalanced(learned, np.array([0.5, 0, 0.5]))
