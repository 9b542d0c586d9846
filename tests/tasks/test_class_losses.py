"""Class losses of fine-tuning against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from medusa_jax.tasks.class_losses import class_loss, secondary_loss, smoothed

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (6, 4)).astype(np.float32)
SOFT = RNG.dirichlet(np.ones(4), 6).astype(np.float32)
SOFT[1], SOFT[4] = 0, (0, 1, 0, 0)  # without a target, and of one class
WEIGHTS = np.array([1.0, 0.5, 2.0, 3.0], np.float32)
LOGS = log_softmax(np.float64(LOGITS), axis=1)


def loss_of(kind, logits=LOGITS, gamma=2.0, target=SOFT):
    return class_loss(kind, jnp.asarray(logits), jnp.asarray(target), jnp.asarray(WEIGHTS), gamma)


def test_cross_entropy():
    wanted = -(WEIGHTS * SOFT * LOGS).sum(axis=1).mean()
    assert float(loss_of("cross_entropy")) == pytest.approx(wanted, rel=1e-5)


def test_focal():
    wanted = -(WEIGHTS * SOFT * (1 - np.exp(LOGS)) ** 1.5 * LOGS).sum(axis=1).mean()
    assert float(loss_of("focal", gamma=1.5)) == pytest.approx(wanted, rel=1e-5)
    assert float(loss_of("focal", gamma=0.0)) == pytest.approx(float(loss_of("cross_entropy")))
    sure = np.where(SOFT == 1, 60.0, 0.0).astype(np.float32)
    gradient = jax.grad(lambda x: loss_of("focal", x, 0.5))(jnp.asarray(sure))
    assert np.isfinite(gradient).all(), "where a posterior is one"


def test_kl_is_zero_at_the_target_and_has_the_gradient_of_cross_entropy():
    entropy = -(WEIGHTS * SOFT * np.log(np.where(SOFT > 0, SOFT, 1))).sum(axis=1).mean()
    wanted = float(loss_of("cross_entropy")) - entropy
    assert float(loss_of("kl")) == pytest.approx(wanted, rel=1e-5)
    known = SOFT[[0, 2, 3, 5]]
    assert float(loss_of("kl", np.log(known), target=known)) == pytest.approx(0, abs=1e-6)
    found, same = (jax.grad(lambda x, k=k: loss_of(k, x))(LOGITS) for k in ("kl", "cross_entropy"))
    np.testing.assert_allclose(found, same, atol=1e-7)


def test_smoothing_spreads_a_share_and_leaves_rows_without_a_target():
    found = np.asarray(smoothed(jnp.asarray(SOFT), 0.2))
    np.testing.assert_allclose(found[4], [0.05, 0.85, 0.05, 0.05], atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=1), SOFT.sum(axis=1), atol=1e-6)
    assert not found[1].any()
    np.testing.assert_array_equal(smoothed(jnp.asarray(SOFT), 0.0), SOFT)


@pytest.mark.parametrize("kind", ["cross_entropy", "kl", "focal"])
def test_an_utterance_without_a_target_teaches_nothing(kind):
    gradient = np.asarray(jax.grad(lambda x: loss_of(kind, x))(jnp.asarray(LOGITS)))
    assert not gradient[1].any()
    assert np.abs(np.delete(gradient, 1, axis=0)).max(axis=1).min() > 1e-3


def test_secondary_emotions_have_binary_cross_entropy():
    """Of each class by itself; an utterance without secondary ratings teaches nothing."""
    shares = np.random.default_rng(1).uniform(0, 1, LOGITS.shape).astype(np.float32)
    known = np.array([1, 0, 1, 1, 0, 1], np.float32)
    shares *= known[:, None]
    chance = 1 / (1 + np.exp(-np.float64(LOGITS)))
    terms = shares * np.log(chance) + (1 - shares) * np.log(1 - chance)
    wanted = -(terms * known[:, None]).mean()
    given = jnp.asarray(shares), jnp.asarray(known)
    found = float(secondary_loss(jnp.asarray(LOGITS), *given))
    assert found == pytest.approx(wanted, rel=1e-5)
    gradient = np.asarray(jax.grad(lambda x: secondary_loss(x, *given))(jnp.asarray(LOGITS)))
    assert not gradient[known == 0].any()
    np.testing.assert_allclose(
        gradient, (chance - shares) * known[:, None] / LOGITS.size, atol=1e-6
    )
