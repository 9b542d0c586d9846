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
_ENCODERS, _TINY = "backbones", 1e-12


def layerwise(
    learning_rate: Rate,
    weight_decay: Rate,
    opened: Rate = np.inf,
    clip: Rate | None = None,
    *,
    config: FinetuningConfig,
) -> optax.GradientTransformation:
    """AdamW whose rate, decay included, falls from the top layer down by `config.layer_decay`, with
    `config.head_factor` for all but the encoders; `clip` bounds the norm of what is trained.

    Only the `opened` top layers are trained, and what lies below all of them only once all are.
    AdamW follows the others' gradients too: a layer that opens begins with moments of its own, not
    with zeros that were bias-corrected long ago, after which steps are several times the rate.
    """

    def bounded(gradients: PyTree, params: PyTree | None = None) -> PyTree:
        if clip is None:
            return gradients
        trained = jax.tree.leaves(_scaled(gradients, config, opened, factors=False))
        norm = jnp.sqrt(sum((x**2).sum() for x in trained))
        share = jnp.minimum(1.0, clip / jnp.maximum(norm, _TINY))
        return jax.tree.map(lambda x: x * share, gradients)

    def scaled(updates: PyTree, params: PyTree | None = None) -> PyTree:
        return _scaled(updates, config, opened, factors=True)

    return optax.chain(
        optax.stateless(bounded),
        adamw(learning_rate, weight_decay),
        optax.stateless(scaled),
    )


def _scaled(tree: PyTree, config: FinetuningConfig, opened: Rate, factors: bool) -> PyTree:
    """A tree with zeros for what is not trained, and each layer's factor if asked for."""
    depth = _depth(tree)
    top = np.inf if config.top_layers is None else config.top_layers

    def scale(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        names = [getattr(step, "key", getattr(step, "name", None)) for step in path]
        if _ENCODERS not in names:
            return leaf * config.head_factor if factors else leaf
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
