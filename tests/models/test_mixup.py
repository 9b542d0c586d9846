"""Manifold MixUp: how often, how strongly, with whom; and that everything of an utterance is mixed
alike.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.models.mixup import draw_mix, manifold_mixup, mix_pair

SIZE, DRAWS = 16, 2000


def tagged_batch(size=SIZE):
    """Row i of the representation is the i-th unit vector, so a mixed row shows λ and the partner;
    targets are random.
    """
    rng = np.random.default_rng(0)
    return tuple(
        jnp.asarray(a, jnp.float32)
        for a in (np.eye(size), rng.dirichlet(np.ones(8), size), rng.uniform(1, 7, (size, 3)))
    )


def mixed(key, batch, probability, alpha):
    """The mixed batch and λ `[b]`."""
    mix = draw_mix(key, len(batch[0]), probability, alpha)
    return manifold_mixup(mix, batch), mix.lam_b


@partial(jax.jit, static_argnums=(0, 1))
def draws(probability, alpha):
    """Representation `[draw, b, b]`, soft labels, attributes and λ `[draw, b]` under many keys."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    return jax.vmap(lambda key: mixed(key, tagged_batch(), probability, alpha))(keys)


@pytest.fixture(scope="module")
def many():
    """Representations and λ at the paper's settings."""
    (x, _, _), lam = jax.device_get(draws(0.3, 0.2))
    return x, lam


def test_three_batches_in_ten_are_mixed(many):
    share = (many[1] != 1).any(axis=1).mean()
    assert share == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / DRAWS))


def test_a_batch_is_mixed_as_a_whole_with_a_lambda_for_each_utterance(many):
    lam = many[1]
    touched = lam[(lam != 1).any(axis=1)]
    assert (lam[~(lam != 1).any(axis=1)] == 1).all()
    assert (touched.std(axis=1) > 0.01).all(), "one λ for the whole batch"
    assert len({tuple(row) for row in touched.round(6)}) == len(touched)


def test_lambda_has_the_moments_of_beta(many):
    # Beta(α, α): mean 1/2, variance 1 / (4 (2α + 1)) = 1 / 5.6 at α = 0.2; the kurtosis bound of a
    # variable in [0, 1] gives the tolerance.
    lam = many[1][(many[1] != 1).any(axis=1)].ravel()
    variance = 1 / (4 * (2 * 0.2 + 1))
    assert lam.mean() == pytest.approx(0.5, abs=4 * np.sqrt(variance / len(lam)))
    assert lam.var() == pytest.approx(variance, abs=4 * 0.25 / np.sqrt(len(lam)))
    assert ((lam >= 0) & (lam <= 1)).all()


def test_another_alpha_has_another_spread():
    lam = np.asarray(draws(1.0, 4.0)[1])
    assert lam.var() == pytest.approx(1 / 36, rel=0.05)


def test_partners_are_a_permutation(many):
    x, lam = many
    for rows, lambdas in zip(
        x[(lam != 1).any(axis=1)][:100], lam[(lam != 1).any(axis=1)][:100], strict=True
    ):
        partner_weight = rows - np.diag(lambdas)  # what is not the row's own share
        np.testing.assert_allclose(partner_weight.sum(axis=1), 1 - lambdas, atol=1e-6)
        assert ((partner_weight > 1e-6).sum(axis=1) <= 1).all()
        partners = partner_weight.argmax(axis=1)[1 - lambdas > 1e-3]
        assert len(set(partners)) == len(partners)


def test_labels_and_attributes_are_mixed_with_the_same_lambda_and_partner():
    batch = tagged_batch()
    drawn = jax.device_get(draws(1.0, 4.0))
    for (x, soft, attributes), lam in (
        jax.tree.map(lambda leaf, i=i: leaf[i], drawn) for i in range(20)
    ):
        others = x - np.diag(np.diag(x))
        alone = others.sum(axis=1) < 1e-6  # its own partner
        assert alone.sum() < SIZE // 2
        partner = np.where(alone, np.arange(SIZE), others.argmax(axis=1))
        own = np.where(alone, lam, np.diag(x))
        np.testing.assert_allclose(own, lam, atol=1e-6)
        for found, targets in ((soft, np.asarray(batch[1])), (attributes, np.asarray(batch[2]))):
            np.testing.assert_allclose(
                found, own[:, None] * targets + (1 - own[:, None]) * targets[partner], atol=1e-5
            )
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)


def test_probability_zero_changes_nothing_at_all():
    batch = tagged_batch()
    result, lam = draws(0.0, 0.2)
    assert (lam == 1).all()
    for one, other in zip(jax.tree.leaves(result), jax.tree.leaves(batch), strict=True):
        np.testing.assert_array_equal(one, np.broadcast_to(other, one.shape))


def test_a_pair_by_hand():
    # 0.25 · (2, 4) + 0.75 · (6, 0) = (5, 1); 0.25 · 1 + 0.75 · 0 = 0.25.
    x, label = mix_pair(
        jnp.float32(0.25),
        (jnp.array([2.0, 4.0]), jnp.array(1.0)),
        (jnp.array([6.0, 0.0]), jnp.array(0.0)),
    )
    np.testing.assert_allclose(x, [5, 1])
    assert label == 0.25
