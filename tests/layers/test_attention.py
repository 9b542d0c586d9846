"""Attention against its plain formula: values and gradients, padding, dropout, bfloat16, and what
is kept for the gradient.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.layers.attention import attend
from medusa_jax.layers.dropout import kept, seed_of
from medusa_jax.layers.matmul import product

B, N, T, E = 3, 2, 24, 8
RATE = 0.25
VALID = jnp.arange(T) < jnp.array([[T], [1], [13]])
SEED = seed_of(jax.random.key(8))


def plain(q, k, v, seed):
    """The formula, for `jax.grad` to differentiate."""
    scores = jnp.where(VALID[:, None, None, :], q @ k.swapaxes(-1, -2) / E**0.5, -jnp.inf)
    weights = jax.nn.softmax(scores)
    if seed is not None:
        weights = jnp.where(kept(seed, RATE, weights.shape), weights / (1 - RATE), 0)
    return weights @ v


def arrays():
    return jax.random.normal(jax.random.key(0), (4, B, N, T, E))


def value_and_gradients(function, q, k, v, g):
    value, back = jax.vjp(function, q, k, v)
    return value, *back(g)


@pytest.mark.parametrize("seed", [None, SEED], ids=["whole", "dropped"])
# the second: scores in the hundreds, of which few weigh anything
@pytest.mark.parametrize("scale", [1, 10])
def test_value_and_gradients(seed, scale):
    q, k, v, g = arrays()
    q, k = scale * q, scale * k
    found = value_and_gradients(
        lambda *qkv: attend(*qkv, VALID, seed, RATE, jnp.float32), q, k, v, g
    )
    for one, wanted in zip(
        found, value_and_gradients(lambda *qkv: plain(*qkv, seed), q, k, v, g), strict=True
    ):
        np.testing.assert_allclose(one, wanted, atol=1e-5 * scale)


def test_the_mask_matters():
    """The negative control: other seeds and no seed give other numbers."""
    q, k, v, _ = arrays()
    one, other, none = (
        attend(q, k, v, VALID, seed, RATE, jnp.float32) for seed in (SEED, SEED + 1, None)
    )
    assert jnp.abs(one - other).max() > 0.1
    assert jnp.abs(one - none).max() > 0.1


def test_invalid_keys_have_no_part_and_no_gradient():
    q, k, v, g = arrays()
    behind = ~VALID[:, None, :, None]
    loud = [jnp.where(behind, 1e6, x) for x in (k, v)]
    found = value_and_gradients(
        lambda *qkv: attend(*qkv, VALID, None, 0.0, jnp.float32), q, *loud, g
    )
    wanted = value_and_gradients(
        lambda *qkv: attend(*qkv, VALID, None, 0.0, jnp.float32), q, k, v, g
    )
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert all((np.asarray(jnp.where(behind, gradient, 0)) == 0).all() for gradient in found[2:])


def test_bfloat16_within_its_rounding():
    q, k, v, g = arrays()
    run = {
        d: value_and_gradients(lambda *qkv, d=d: attend(*qkv, VALID, SEED, RATE, d), q, k, v, g)
        for d in (jnp.float32, jnp.bfloat16)
    }
    for exact, rounded in zip(*run.values(), strict=True):
        error = np.abs(np.asarray(rounded - exact)).max() / np.abs(np.asarray(exact)).max()
        assert rounded.dtype == jnp.float32
        assert 1e-5 < error < 2e-2


def test_one_array_the_size_of_the_scores_is_kept():
    q, k, v, _ = arrays()

    def kept_of(function):
        sizes = [leaf.size for leaf in jax.tree.leaves(jax.vjp(function, q, k, v)[1])]
        return sum(size == B * N * T * T for size in sizes)

    assert kept_of(lambda *qkv: attend(*qkv, VALID, SEED, RATE, jnp.float32)) == 1
    assert kept_of(lambda *qkv: plain(*qkv, SEED)) > 1


@pytest.mark.parametrize("shape", [(5, 16, 4), (5, 4, 16)])  # a wide input, a wide output
@pytest.mark.parametrize(("compute", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
def test_product_and_its_gradients(shape, compute, tolerance):
    r, i, o = shape
    x, w, g = (
        jax.random.normal(jax.random.key(n), s)
        for n, s in enumerate([(2, r, i), (i, o), (2, r, o)])
    )
    value, back = jax.vjp(lambda x, w: product(x, w, compute), x, w)
    wanted, wanted_back = jax.vjp(lambda x, w: x @ w, x, w)
    for one, other in zip((value, *back(g)), (wanted, *wanted_back(g)), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, atol=tolerance * float(jnp.abs(other).max()))
