"""Pooling over time against NumPy on the valid frames alone."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.layers.pooling import Kind, Pooling

HIDDEN, LENGTHS = 6, (9, 4, 1)
KINDS = get_args(Kind)


def frames(padded=9, filler=0.0):
    rng, found = np.random.default_rng(0), []
    for length in LENGTHS:
        own = rng.normal(2.0, 3.0, (length, HIDDEN)).astype(np.float32)
        found.append(np.pad(own, ((0, padded - length), (0, 0)), constant_values=filler))
    return np.stack(found), np.arange(padded) < np.array(LENGTHS)[:, None]


def by_hand(pooling, x_th):
    """One utterance without padding, in float64."""
    weight_t = np.full(len(x_th), 1 / len(x_th))
    if pooling.attentive:
        inner, outer = pooling.inner, pooling.outer
        h_th = np.tanh(x_th @ np.float64(inner.kernel[...]) + np.float64(inner.bias[...]))
        score_t = (h_th @ np.float64(outer.kernel[...]))[:, 0]
        weight_t = np.exp(score_t) / np.exp(score_t).sum()
    mean_h = weight_t @ x_th
    deviation_h = np.sqrt(np.maximum(weight_t @ (x_th - mean_h) ** 2, 1e-5))
    return {
        "mean": mean_h,
        "attention_mean": mean_h,
        "std": deviation_h,
        "mean_std": np.concatenate([mean_h, deviation_h]),
        "attention": np.concatenate([mean_h, deviation_h]),
    }[pooling.kind]


@pytest.fixture(params=KINDS)
def pooling(request):
    return Pooling(request.param, HIDDEN, rngs=nnx.Rngs(0))


def test_statistics_are_of_the_valid_frames_alone(pooling):
    x_bth, valid_bt = frames()
    found = pooling(jnp.asarray(x_bth), jnp.asarray(valid_bt), jnp.float32)
    assert found.shape == (3, pooling.width)
    for row, x_th, length in zip(found, x_bth, LENGTHS, strict=True):
        np.testing.assert_allclose(row, by_hand(pooling, np.float64(x_th[:length])), atol=1e-5)


def test_neither_the_number_of_padded_frames_nor_what_is_in_them_matters(pooling):
    wanted = pooling(*map(jnp.asarray, frames()), jnp.float32)
    for padded, filler in ((9, 7.0), (30, -100.0)):
        found = pooling(*map(jnp.asarray, frames(padded, filler)), jnp.float32)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_gradients_of_a_single_frame_are_finite(pooling):
    """Its variance is zero, where a square root has none."""
    x_bth, valid_bt = (jnp.asarray(a[2:]) for a in frames())
    gradient = jax.grad(lambda x: pooling(x, valid_bt, jnp.float32).sum())(x_bth)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[:, 1:].any()
