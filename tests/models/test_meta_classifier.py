"""The meta-classifier's features and its one layer, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.models import meta_classifier


def test_features_go_member_by_member_posteriors_then_attributes():
    logits = np.log([[[0.1, 0.9], [0.6, 0.4]]])
    attributes = jnp.array([[[1.0, 4, 7], [2.5, 4, 5.5]]])
    x = meta_classifier.features_of(jnp.asarray(logits, jnp.float32), attributes)
    np.testing.assert_allclose(x, [[0.1, 0.9, -1, 0, 1, 0.6, 0.4, -0.5, 0, 0.5]], atol=1e-6)


def test_fourteen_members_give_154_features_or_112():
    logits, attributes = jnp.zeros((2, 14, 8)), jnp.full((2, 14, 3), 4.0)
    assert meta_classifier.features_of(logits, attributes).shape == (2, 154)
    assert meta_classifier.features_of(logits, None).shape == (2, 112)


def test_the_layer_by_hand_and_without_activation():
    params = {
        "w": jnp.array([[1.0, -1, 0, 0.5, -2], [0, 2, 1, 0, 0]]),
        "b": jnp.array([0.0, -3, 0, 0, 1]),
    }
    logits, attributes = meta_classifier.forward(params, jnp.array([[2.0, 1]]), 2)
    # Logits 2·(1, −1) + 1·(0, 2) + (0, −3) = (2, −3): a ReLU would cut the second.
    # Attributes 4 + 3·(1, 1, −3) = (7, 7, −5).
    np.testing.assert_allclose(logits, [[2, -3]])
    np.testing.assert_allclose(attributes, [[7, 7, -5]])


def test_without_attribute_outputs_all_outputs_are_classes():
    params = meta_classifier.initial(np.random.default_rng(0), 112, 8)
    logits, attributes = meta_classifier.forward(params, jnp.ones((2, 112)), 8)
    assert (logits.shape, attributes.shape) == ((2, 8), (2, 0))
    np.testing.assert_allclose(logits[0], params["w"].sum(axis=0) + params["b"], rtol=1e-5)


@pytest.mark.parametrize("outputs", [8, 11])
def test_initial_weights_are_within_torchs_bound(outputs):
    params = meta_classifier.initial(np.random.default_rng(0), 100, outputs)
    assert params["w"].shape == (100, outputs)
    assert 0.09 < np.abs(params["w"]).max() <= 0.1
