"""Small SUMMERs and random dialogues for them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.models.summer import Summer, Turns

WIDTHS = {"text": 7, "speech": 6, "visual": 5}
CLASSES = 4


def member(streams=3, spread=0.2, **keys):
    """A small SUMMER of the first modalities, every weight moved away from where it starts."""
    config = ConversationConfig(**{"width": 16, "heads": 2, "speaker_slots": 4, **keys})
    model = Summer(config, list(WIDTHS)[:streams], WIDTHS, CLASSES, rngs=nnx.Rngs(0))
    rng, params = np.random.default_rng(1), nnx.state(model, nnx.Param)

    def moved(leaf):
        return leaf + jnp.asarray(spread * rng.normal(size=leaf.shape), jnp.float32)

    nnx.update(model, jax.tree.map(moved, params))
    return model


def dialogues(lengths, streams=3, seed=0, longest=None, missing=0.2):
    """Random dialogues, one a row, padded with zeros; of a share of the turns a stream is
    `missing`.
    """
    rng = np.random.default_rng(seed)
    shape = len(lengths), longest or max(lengths)
    parts = [rng.normal(size=(*shape, d)) for d in list(WIDTHS.values())[:streams]]
    mask_bu = np.arange(shape[1]) < np.array(lengths)[:, None]
    return Turns(
        tuple(jnp.asarray(x_bud * mask_bu[..., None], jnp.float32) for x_bud in parts),
        jnp.asarray((rng.random((*shape, streams)) >= missing) & mask_bu[..., None]),
        jnp.asarray(rng.integers(0, 4, shape) * mask_bu, jnp.int32),
        jnp.asarray(mask_bu),
        jnp.asarray(mask_bu & (np.arange(shape[1]) == 0)),
    )
