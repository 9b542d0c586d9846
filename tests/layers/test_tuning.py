"""The switch between code tuned for CPUs and XLA's own path: the same numbers and gradients by
either.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from medusa_jax.config.model import ModelConfig
from medusa_jax.errors import ConfigError
from medusa_jax.layers.coded import Coded, frames_of
from medusa_jax.layers.tuning import PARTS, tuned
from medusa_jax.models.deepser import DeepSER
from medusa_jax.store.int8 import quantise


def outcome(precision):
    """Predictions, fused representation under dropout and all gradients of a small DeepSER."""
    config = ModelConfig(hidden=16, feedforward=24, layers=2, heads=2, precision=precision)
    graph, params = nnx.split(DeepSER(config, [6, 5], 4, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    inputs = [jnp.asarray(rng.normal(size=(3, 9, d)), jnp.float32) for d in (6, 5)]
    lengths = [jnp.array([9, 4, 1]), jnp.array([2, 9, 5])]

    def loss(params):
        model = nnx.merge(graph, params)
        logits, attributes = model.heads(model.fuse(inputs, lengths, jax.random.key(1)))
        return (logits**2).sum() + attributes.sum(), model(inputs, lengths)

    (_, predicted), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    return jax.device_get((predicted, jax.tree.leaves(gradients)))


@pytest.mark.parametrize("part", ["xla", *sorted(PARTS - {"vectors"})])
def test_every_path_gives_the_same_numbers_and_gradients(monkeypatch, part):
    monkeypatch.setenv("MEDUSA_TUNED", "cpu")
    all_tuned = outcome("float32")
    monkeypatch.setenv("MEDUSA_TUNED", part)
    other = outcome("float32")
    for one, two in zip(jax.tree.leaves(all_tuned), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=2e-5)


def test_bfloat16_is_near_on_either_path(monkeypatch):
    monkeypatch.setenv("MEDUSA_TUNED", "xla")
    exact, near = outcome("float32"), outcome("bfloat16")
    np.testing.assert_allclose(near[0][0], exact[0][0], atol=0.05)
    assert np.abs(near[0][0] - exact[0][0]).max() > 1e-6


def test_the_switch_knows_its_parts(monkeypatch):
    monkeypatch.setenv("MEDUSA_TUNED", "attention,norm")
    assert [part for part in sorted(PARTS) if tuned(part)] == ["attention", "norm"]
    monkeypatch.setenv("MEDUSA_TUNED", "atention")
    with pytest.raises(ConfigError, match="atention"):
        tuned("norm")


def test_coded_frames_are_decoded_to_the_stores_bits():
    quantised = quantise(np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32))
    coded = Coded(quantised.codes_td[None], quantised.scale_d[None])
    np.testing.assert_array_equal(frames_of(coded)[0], quantised.decoded().astype(np.float32))
