"""Experts are switched off and mixed as configured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.models.experts import route


def routed(logits, gumbel=None, temperature=0.5, **keys):
    config = ConversationConfig(experts=logits.shape[-1], gumbel=temperature, **keys)
    weights, on = route(jnp.asarray(logits, jnp.float32), config, gumbel)
    return np.asarray(weights), np.asarray(on)


def gates(experts, turns=400, seed=0):
    return np.random.default_rng(seed).normal(size=(2, turns, experts))


@pytest.mark.parametrize("keys", [{"alpha": 0.3}, {"routing": "top_k"}, {"gate": "softmax"}])
def test_weights_sum_to_one_over_the_experts_that_are_on(keys):
    weights, on = routed(gates(8), **keys)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    assert on.any(axis=-1).all(), "one expert at least stays on"
    np.testing.assert_array_equal(weights > 0, on)


def test_experts_outside_the_range_are_off():
    logits = np.array([[[0.0, 1, 2, 3, 4, 30]]])
    assert routed(logits)[1][0, 0].tolist() == [True] * 5 + [False]  # 2.2 deviations above
    assert routed(-logits)[1][0, 0].tolist() == [True] * 5 + [False]  # the worst one too
    # after a softmax one weight of nearly 1 stands outside all the same
    assert not routed(logits, gate="softmax")[1][0, 0, -1]


def test_the_smaller_alpha_the_fewer_are_on():
    shares = [routed(gates(8), alpha=alpha)[1].mean() for alpha in (0.1, 0.5, 1, 1.5, 2)]
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[-1] > 0.9


@pytest.mark.parametrize("experts", [2, 3, 4, 5])
def test_below_six_experts_two_deviations_switch_nothing_off(experts):
    """No weight lies further than √(n−1) deviations from the mean of n."""
    assert routed(gates(experts, 4000), alpha=2.01)[1].all()
    assert not routed(gates(6, 4000), alpha=2.01)[1].all()


def test_the_best_stays_on_where_none_is_in_the_range():
    weights, on = routed(np.array([[[-1.0, 1.0, -1.1, 1.1]]]), alpha=0.2)
    assert on[0, 0].tolist() == [False, False, False, True]
    assert weights[0, 0, 3] == 1


def test_equal_weights_are_all_on():
    assert routed(np.zeros((1, 1, 8)))[1].all()
    assert routed(np.ones((1, 1, 1)))[1].all()


def test_top_k_takes_the_best():
    logits = gates(8)
    _, on = routed(logits, routing="top_k", top_k=3)
    best = np.argsort(logits, axis=-1)[..., -3:]
    assert (on.sum(axis=-1) == 3).all()
    assert np.take_along_axis(on, best, axis=-1).all()


def test_gumbel_noise_and_temperature_in_training():
    logits, noise = gates(8), jax.random.gumbel(jax.random.key(0), (2, 400, 8))
    weights, on = routed(logits, noise, 0.25, routing="all")
    noisy = (logits + np.asarray(noise)) / 0.25
    wanted = np.exp(noisy - noisy.max(axis=-1, keepdims=True))
    wanted /= wanted.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights, wanted, atol=1e-5)
    np.testing.assert_array_equal(on, routed(logits, routing="all")[1])
    plain = routed(logits, None, 0.25, routing="all")[0]
    np.testing.assert_allclose(plain, jax.nn.softmax(jnp.asarray(logits)), atol=1e-6)
    assert np.abs(plain - weights).max() > 0.1


def test_noise_does_not_choose_the_experts():
    logits, noise = gates(8), 10 * jax.random.gumbel(jax.random.key(0), (2, 400, 8))
    np.testing.assert_array_equal(routed(logits, noise)[1], routed(logits)[1])
