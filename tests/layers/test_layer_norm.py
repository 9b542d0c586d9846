"""Layer normalisation against flax's own, and against the definition where that loses digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.layers.layer_norm import EPSILON, normalised


def both(shift=0.0, width=16):
    """The same norm twice, ours and flax's, of the same rows: output and all gradients of each."""
    norm = nnx.LayerNorm(width, epsilon=EPSILON, use_fast_variance=False, rngs=nnx.Rngs(0))
    k_scale, k_bias, k_x, k_g = jax.random.split(jax.random.key(1), 4)
    norm.scale[...], norm.bias[...] = (
        jax.random.normal(k_scale, (width,)),
        jax.random.normal(k_bias, (width,)),
    )
    x, g = shift + jax.random.normal(k_x, (3, 5, width)), jax.random.normal(k_g, (3, 5, width))
    found = []
    for function in (normalised, lambda norm, x: norm(x)):
        graph, state = nnx.split(norm)
        value, back = jax.vjp(
            lambda state, x, f=function, graph=graph: f(nnx.merge(graph, state), x), state, x
        )
        found.append([*jax.tree.leaves(back(g)), value])
    return found


def test_value_and_gradients_are_flax_s():
    ours, flax_s = both()
    assert len(ours) == 4
    for one, other in zip(ours, flax_s, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_large_mean_costs_no_digits():
    """Variance as the mean of squares less the square of the mean would be noise here."""
    ours, _ = both(shift=1e3)
    shifted, _ = both()
    np.testing.assert_allclose(ours[-1], shifted[-1], atol=2e-3)


@pytest.mark.parametrize("scale", [0.0, 1e-20])
def test_a_scale_of_nothing_still_has_its_gradient(scale):
    norm = nnx.LayerNorm(4, rngs=nnx.Rngs(0))
    norm.scale[...] = jnp.full(4, scale)
    x = jnp.arange(8.0).reshape(2, 4) ** 2
    graph, state = nnx.split(norm)
    gradient, of_x = jax.grad(
        lambda state, x: (normalised(nnx.merge(graph, state), x) * x).sum(), argnums=(0, 1)
    )(state, x)
    assert jnp.isfinite(of_x).all()
    assert jnp.abs(gradient["scale"][...]).min() > 0


def test_a_constant_row_is_its_bias():
    norm = nnx.LayerNorm(4, rngs=nnx.Rngs(0))
    norm.bias[...] = jnp.arange(4.0)
    np.testing.assert_array_equal(normalised(norm, jnp.full((1, 4), 7.0)), norm.bias[...][None])
