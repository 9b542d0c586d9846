"""SUMMER: padding and missing streams change nothing, and experts are chosen as configured."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.models.summer import Summer, Turns

WIDTHS = {"text": 7, "speech": 6, "visual": 5}


def member(streams=3, **keys):
    """A small SUMMER of the first modalities."""
    config = ConversationConfig(width=16, heads=2, speaker_slots=4, **keys)
    return Summer(config, list(WIDTHS)[:streams], WIDTHS, 4, rngs=nnx.Rngs(0))


def dialogues(lengths, streams=3, seed=0, longest=None, missing=0.2):
    """Random dialogues, padded with zeros."""
    rng = np.random.default_rng(seed)
    shape = len(lengths), longest or max(lengths)
    parts = [rng.normal(size=(*shape, d)) for d in list(WIDTHS.values())[:streams]]
    mask_bu = np.arange(shape[1]) < np.array(lengths)[:, None]
    return Turns(
        tuple(jnp.asarray(x_bud * mask_bu[..., None], jnp.float32) for x_bud in parts),
        jnp.asarray((rng.random((*shape, streams)) >= missing) & mask_bu[..., None]),
        jnp.asarray(rng.integers(0, 4, shape) * mask_bu, jnp.int32),
        jnp.asarray(mask_bu),
    )


def test_the_student_predicts_every_turn():
    outcome = member()(dialogues([5, 1, 3]), jax.random.key(0))
    assert outcome.logits_buc.shape == (3, 5, 4)
    np.testing.assert_allclose(outcome.attributes_bua, 4.0)
