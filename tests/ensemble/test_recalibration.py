"""Temperature and prior: each finds what was planted, and keeps what it promises."""

import numpy as np
import pytest
from scipy.special import softmax

from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.recalibration import rebalanced, temperature_of, tempered
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
