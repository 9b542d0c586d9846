"""Low-rank parts: nothing at first, and then x·A·B."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.backbones.lora import Linear, adapted


def test_a_low_rank_part_adds_its_product():
    layer = Linear(12, 5, 3, rngs=nnx.Rngs(0))
    x_bi = jax.random.normal(jax.random.key(1), (4, 12))
    plain = x_bi @ layer.kernel[...] + layer.bias[...]
    np.testing.assert_allclose(adapted(layer, x_bi, jnp.float32), plain, atol=1e-5)
    layer.up[...] = jax.random.normal(jax.random.key(2), (3, 5))
    wanted = plain + x_bi @ layer.down[...] @ layer.up[...]
    np.testing.assert_allclose(adapted(layer, x_bi, jnp.float32), wanted, atol=1e-5)


def test_without_a_rank_there_are_no_more_parameters():
    params = nnx.state(Linear(12, 5, rngs=nnx.Rngs(0)), nnx.Param)
    assert sorted(params) == ["bias", "kernel"]
