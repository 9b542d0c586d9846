"""A batch in parts is the batch: values, gradients, order; each part has a key of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.tasks.micro_batches import in_parts

KEY, W = jax.random.key(0), jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32)


def batch(size):
    rng = np.random.default_rng(1)
    return rng.normal(size=(size, 4, 3)).astype(np.float32), np.arange(size, dtype=np.float32)


def encode(w, some):
    x_btd, place_b = some
    return jnp.tanh(x_btd @ w).sum(axis=1) + place_b[:, None]


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_rows_keep_their_order_and_gradients_are_the_same(parts):
    def loss(w, parts):
        x_bh = in_parts(lambda some, _: encode(w, some), batch(8), parts, KEY)
        return (x_bh * jnp.arange(8)[:, None]).sum(), x_bh

    found, x_bh = jax.grad(loss, has_aux=True)(W, parts)
    wanted, whole_bh = jax.grad(loss, has_aux=True)(W, 1)
    np.testing.assert_allclose(x_bh, whole_bh, atol=1e-5)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_a_batch_that_does_not_divide_stays_whole():
    shapes = []

    def run(some, key):
        shapes.append(some[0].shape)
        return encode(W, some)

    assert in_parts(run, batch(7), 2, KEY).shape == (7, 5)
    assert shapes == [(7, 4, 3)]


def test_each_part_has_noise_of_its_own():
    def noise(some, key):
        return jax.random.normal(key, (len(some[0]), 2))

    assert len(np.unique(in_parts(noise, batch(8), 4, KEY))) == 16
