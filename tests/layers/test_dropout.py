"""Dropout: the share it says, noise without pattern, and gradients through what was kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.layers.dropout import dropout, kept, relu_dropout, seed_of


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.999])
def test_dropout_drops_its_share_and_scales_the_rest(rate):
    x = jnp.ones((501, 399))
    dropped = np.asarray(dropout(x, rate, seed_of(jax.random.key(0))))
    assert (dropped == 0).mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / x.size))
    np.testing.assert_allclose(dropped[dropped != 0], 1 / (1 - rate), rtol=1e-4)
    for axis in (0, 1):
        assert (dropped == 0).mean(axis=axis).std() < 3 * np.sqrt(rate * (1 - rate) / x.shape[axis])


def test_dropout_without_seed_or_rate_is_the_identity():
    x = jnp.arange(5.0)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, seed_of(jax.random.key(0))) is x


def test_dropout_depends_on_its_seed_alone():
    x = jnp.ones(1000)
    one, same, other = (
        np.asarray(dropout(x, 0.5, seed_of(jax.random.key(seed)))) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert 0.4 < (one != other).mean() < 0.6


@pytest.mark.parametrize("shape", [(64, 4096), (8, 2, 128, 128)])
def test_masks_of_neighbouring_keys_and_elements_are_independent(shape):
    keys = jax.random.split(jax.random.key(3), 12)
    masks = np.stack([np.asarray(kept(seed_of(key), 0.5, shape)).ravel() for key in keys]) * 2.0 - 1
    noise = 5 / np.sqrt(masks.shape[1])  # correlations of independent masks stay within this
    assert np.abs(np.corrcoef(masks) - np.eye(len(keys))).max() < noise
    for lag in (1, 2, 16, shape[-1], 2 * shape[-1]):
        assert np.abs((masks[:, lag:] * masks[:, :-lag]).mean(axis=1)).max() < noise
    low = np.random.default_rng(0).random(masks.shape[1]) < 10 * noise
    assert (
        masks[0] * np.where(low, masks[0], masks[1])
    ).mean() > noise  # the negative control: a tenth copied would be seen


def test_bits_of_a_seed_both_matter():
    one = np.asarray(kept(jnp.array([1, 2], jnp.uint32), 0.5, (4096,)))
    for other in ([1, 3], [2, 2]):
        changed = np.asarray(kept(jnp.array(other, jnp.uint32), 0.5, (4096,))) != one
        assert 0.4 < changed.mean() < 0.6


def test_gradients_pass_where_values_did():
    seed, x = seed_of(jax.random.key(1)), jax.random.normal(jax.random.key(2), (40, 30))
    dropped, back = jax.vjp(lambda x: dropout(x, 0.3, seed), x)
    np.testing.assert_allclose(
        back(jnp.ones_like(x))[0], np.where(dropped != 0, 1 / 0.7, 0), rtol=1e-6
    )


def test_relu_dropout_is_dropout_of_relu():
    seed, x = seed_of(jax.random.key(1)), jax.random.normal(jax.random.key(2), (40, 30))
    for s in (seed, None):
        value, back = jax.vjp(lambda x, s=s: relu_dropout(x, 0.3, s), x)
        wanted, wanted_back = jax.vjp(lambda x, s=s: dropout(jax.nn.relu(x), 0.3, s), x)
        np.testing.assert_allclose(value, wanted, rtol=1e-6)
        np.testing.assert_allclose(back(x)[0], wanted_back(x)[0], rtol=1e-6)


def test_a_stack_of_members_drops_as_each_alone():
    keys, x = jax.random.split(jax.random.key(5), 3), jnp.ones((7, 9))
    together = jax.vmap(lambda key: dropout(x, 0.5, seed_of(key)))(keys)
    np.testing.assert_array_equal(
        together, jnp.stack([dropout(x, 0.5, seed_of(key)) for key in keys])
    )
