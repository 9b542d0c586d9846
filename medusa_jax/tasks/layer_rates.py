"""Learning rates by layer of a pretrained encoder: factors, and layers that open one by one.

Legend: `l` layer of a stack.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from medusa_jax.backbones.pretrained import LAYERS
from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.tasks.optimisers import Rate, adamw

PyTree = Any
_ENCODERS, _LOW_RANK = "backbones", ("down", "up")


def layerwise(
    learning_rate: Rate,
    weight_decay: Rate,
    opened: Rate = np.inf,
    clip: Rate | None = None,
    *,
    config: FinetuningConfig,
) -> optax.GradientTransformation:
    """AdamW whose rate, decay included, falls from the top layer down by `config.layer_decay`, with
    `config.head_factor` for all but the encoders.

    Only the `opened` top layers are trained, and what lies below all of them only once all are.
    """

    def opened_only(updates: PyTree, params: PyTree | None = None) -> PyTree:
        return _scaled(updates, config, opened, factors=False)

    def scaled(updates: PyTree, params: PyTree | None = None) -> PyTree:
        return _scaled(updates, config, opened, factors=True)

    return optax.chain(
        optax.stateless(opened_only),
        adamw(learning_rate, weight_decay, clip),
        optax.stateless(scaled),
    )


def _scaled(tree: PyTree, config: FinetuningConfig, opened: Rate, factors: bool) -> PyTree:
    depth = _depth(tree)
    top = np.inf if config.top_layers is None else config.top_layers

    def scale(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        names = [getattr(step, "key", getattr(step, "name", None)) for step in path]
        if _ENCODERS not in names:
            return leaf * config.head_factor if factors else leaf
        if any(name in _LOW_RANK for name in names):
            return leaf
        # projection and positions lie below all layers; a norm behind the layers counts with these
        below = np.arange(len(leaf))[::-1] if LAYERS in names else np.array(depth)
        factor = config.layer_decay**below if factors else np.ones(below.shape)
        trained = jnp.where((below < opened) & (below < top), factor, 0.0)
        return leaf * trained.reshape(trained.shape + (1,) * (leaf.ndim - trained.ndim))

    return jax.tree_util.tree_map_with_path(scale, tree)


def _depth(tree: PyTree) -> int:
    """The layers of the deepest stack; 0 without one."""
    found = [0]
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        names = [getattr(step, "key", None) for step in path]
        if _ENCODERS in names and LAYERS in names:
            found.append(len(leaf))
    return max(found)
