"""One optimiser step and one prediction step, each a single compiled program.

The programs are kept by (model structure, the settings they compute with), so that members which differ by their seed,
their learning rates or their epochs share them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array

from medusa_jax.config import TrainingConfig
from medusa_jax.models.mixup import manifold_mixup
from medusa_jax.training.examples import Batch
from medusa_jax.training.objective import attribute_loss, classification_loss

PyTree = Any
LOSSES = ("loss", "class_loss", "attribute_loss")
_COMPUTED_WITH = {"weight_decay", "mixup_probability", "mixup_alpha", "class_loss", "attribute_loss"}


class State(NamedTuple):
    """All that a step changes: what a checkpoint holds."""

    params: PyTree
    optimiser: PyTree
    step: Array  # int32, counts over both stages
    sums: Array  # [3] this epoch's sums of LOSSES


def optimiser_of(config: TrainingConfig) -> optax.GradientTransformation:
    """AdamW at learning rate 1; the step scales its update, so that one program serves every stage's rate."""
    return optax.adamw(1.0, weight_decay=config.weight_decay)


def train_step(graph: nnx.GraphDef, config: TrainingConfig) -> Callable[..., tuple[State, Array]]:
    """A program `(state, statistics, batch, key, rate, class_weights) → (state, losses [3])`; it consumes `state`.

    Dropout and MixUp of step k depend on (key, k) only.
    """
    return _train_step(graph, TrainingConfig(**config.model_dump(include=_COMPUTED_WITH)))


@lru_cache(maxsize=64)
def _train_step(graph: nnx.GraphDef, config: TrainingConfig) -> Callable[..., tuple[State, Array]]:
    optimiser = optimiser_of(config)

    def losses(params: PyTree, statistics: PyTree, batch: Batch, key: Array, weights_c: Array) -> tuple[Array, Array]:
        model = nnx.merge(graph, params, statistics)
        k_drop, k_mix = jax.random.split(key)
        x_bh = model.fuse(batch.inputs, batch.lengths, k_drop)
        mixable = (x_bh, batch.soft, batch.attributes, batch.rated)
        (x_bh, soft_bc, truth_ba, rated_ba), _ = manifold_mixup(k_mix, mixable, config.mixup_probability, config.mixup_alpha)
        logits_bc, predicted_ba = model.heads(x_bh)
        both_ba = (rated_ba > 1 - 1e-6).astype(jnp.float32)  # a mixed rating exists where both utterances were rated
        class_part = classification_loss(logits_bc, soft_bc, weights_c)
        attribute_part = attribute_loss(predicted_ba, truth_ba, both_ba)
        total = config.class_loss * class_part + config.attribute_loss * attribute_part
        return total, jnp.stack([total, class_part, attribute_part])

    def step(state: State, statistics: PyTree, batch: Batch, key: Array, rate: Array, weights_c: Array) -> tuple[State, Array]:
        gradients, parts = jax.grad(losses, has_aux=True)(state.params, statistics, batch, jax.random.fold_in(key, state.step), weights_c)
        updates, moments = optimiser.update(gradients, state.optimiser, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: rate * u, updates))
        return State(params, moments, state.step + 1, state.sums + parts), parts

    return jax.jit(step, donate_argnums=0)


@lru_cache(maxsize=64)
def predict_step(graph: nnx.GraphDef) -> Callable[..., tuple[Array, Array]]:
    """A program `(params, statistics, batch) → (logits [b, c], attributes [b, 3])`."""

    def step(params: PyTree, statistics: PyTree, batch: Batch) -> tuple[Array, Array]:
        return nnx.merge(graph, params, statistics)(batch.inputs, batch.lengths)

    return jax.jit(step)
