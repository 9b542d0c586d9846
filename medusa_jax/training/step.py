"""One optimiser step and one prediction step, each a single compiled program for one member or for a stack of them.

Programs are kept by model structure. All that members of a structure may differ in is an argument: weights, `Settings`, keys.
Legend: `b` utterance, `h` hidden, `c` class, `a` attribute; in a stack every array of a member has a leading `m`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array

from medusa_jax.batches.examples import Batch
from medusa_jax.machines.xla import compiler_options
from medusa_jax.models.deepser import DeepSER
from medusa_jax.models.mixup import manifold_mixup
from medusa_jax.tasks.hyperparameters import Settings, learning_rate
from medusa_jax.tasks.objective import attribute_loss, classification_loss

PyTree = Any
LOSSES = ("loss", "class_loss", "attribute_loss")
ADAM = optax.scale_by_adam()


class State(NamedTuple):
    """All that a step changes: what a checkpoint holds."""

    params: PyTree
    adam: PyTree  # its count is the step of the stage
    ema: PyTree | None  # running mean of params, if there is one
    step: Array  # int32, counts over both stages
    sums: Array  # [3] this epoch's sums of LOSSES

    @property
    def scored(self) -> PyTree:
        """The weights that are scored and kept."""
        return self.params if self.ema is None else self.ema


def new_state(params: PyTree, ema: bool) -> State:
    """The state before the first step. It takes a copy: steps consume their state."""
    params = jax.tree.map(jnp.copy, params)
    mean = jax.tree.map(jnp.copy, params) if ema else None
    return State(params, ADAM.init(params), mean, jnp.zeros((), jnp.int32), jnp.zeros(len(LOSSES)))


def for_next_stage(state: State) -> State:
    """The same weights with a fresh optimiser (spec section 6)."""
    return state._replace(adam=ADAM.init(state.params))


@lru_cache(maxsize=64)
def train_step(
    graph: nnx.GraphDef,
    micro_batches: int = 1,
    stacked: bool = False,
    where: NamedSharding | None = None,
) -> Callable[..., tuple[State, Array]]:
    """A program `(state, statistics, settings, batch) → (state, losses [3])`; it consumes `state`.

    Dropout and MixUp of step k depend on (settings.key, k) only. `stacked`: all but the batch have a leading member axis. What
    comes back lies as `where` says.
    """

    def step(
        state: State, statistics: PyTree, settings: Settings, batch: Batch
    ) -> tuple[State, Array]:
        key = jax.random.fold_in(settings.key, state.step)
        gradients, parts = jax.grad(partial(losses, graph, micro_batches), has_aux=True)(
            state.params, statistics, settings, batch, key
        )
        return _updated(state, gradients, settings)._replace(
            step=state.step + 1, sums=state.sums + parts
        ), parts

    run = jax.vmap(step, in_axes=(0, 0, 0, None)) if stacked else step
    return jax.jit(run, donate_argnums=0, out_shardings=where, compiler_options=compiler_options())


def losses(
    graph: nnx.GraphDef,
    micro_batches: int,
    params: PyTree,
    statistics: PyTree,
    settings: Settings,
    batch: Batch,
    key: Array,
) -> tuple[Array, Array]:
    """What a step minimises (paper eq. 1), and LOSSES `[3]`, on a batch with dropout and MixUp drawn from `key`."""
    model = nnx.merge(graph, params, statistics)
    k_drop, k_mix = jax.random.split(key)
    x_bh = _fused(model, batch, micro_batches, k_drop)
    target_bc = jnp.where(settings.one_hot > 0, batch.one_hot, batch.soft)
    mixable = (x_bh, target_bc, batch.attributes, batch.rated)
    (x_bh, target_bc, truth_ba, rated_ba), _ = manifold_mixup(
        k_mix, mixable, settings.mixup_probability, settings.mixup_alpha
    )
    logits_bc, predicted_ba = model.heads(x_bh)
    both_ba = (rated_ba > 1 - 1e-6).astype(
        jnp.float32
    )  # a mixed rating exists where both utterances were rated
    class_part = classification_loss(logits_bc, target_bc, settings.weights_c)
    attribute_part = attribute_loss(predicted_ba, truth_ba, both_ba)
    total = settings.class_loss * class_part + settings.attribute_loss * attribute_part
    return total, jnp.stack([total, class_part, attribute_part])


def _fused(model: DeepSER, batch: Batch, parts: int, key: Array) -> Array:
    """The fused representation `[b, h]`; in `parts` that are computed one by one, and once more for the gradient.

    So a batch in parts costs a third more and the memory of one part, and MixUp still sees the whole batch. A part takes
    every parts-th utterance: where a batch is spread over devices, so is each part. A batch that does not divide stays whole.
    """
    b = len(batch.soft)
    inputs, lengths = jax.tree.map(jnp.asarray, (batch.inputs, batch.lengths))
    if parts == 1 or b % parts:
        return model.fuse(inputs, lengths, key)
    cut = jax.tree.map(
        lambda a: a.reshape(b // parts, parts, *a.shape[1:]).swapaxes(0, 1), (inputs, lengths)
    )
    fuse = jax.checkpoint(lambda part: model.fuse(*part))
    x_pbh = jax.lax.map(fuse, (*cut, jax.random.split(key, parts)))
    return x_pbh.swapaxes(0, 1).reshape(b, -1)


def _updated(state: State, gradients: PyTree, settings: Settings) -> State:
    """AdamW (decoupled decay) at the schedule's rate, clipped and averaged if the settings say so."""
    if settings.clip is not None:
        scale = jnp.minimum(1, settings.clip / jnp.maximum(optax.tree.norm(gradients), 1e-12))
        gradients = jax.tree.map(lambda g: scale * g, gradients)
    rate = learning_rate(settings, state.adam.count)
    updates, adam = ADAM.update(gradients, state.adam)
    params = jax.tree.map(
        lambda p, u: p - rate * (u + settings.weight_decay * p), state.params, updates
    )
    if settings.ema is None:
        return state._replace(params=params, adam=adam)
    decay = jnp.minimum(
        settings.ema, (1 + state.step) / (10 + state.step)
    )  # short at first: the initial weights are soon forgotten
    mean = jax.tree.map(lambda m, p: decay * m + (1 - decay) * p, state.ema, params)
    return state._replace(params=params, adam=adam, ema=mean)


@lru_cache(maxsize=64)
def predict_step(
    graph: nnx.GraphDef, stacked: bool = False, where: NamedSharding | None = None
) -> Callable[..., tuple[Array, Array]]:
    """A program `(params, statistics, batch) → (logits [b, c], attributes [b, 3])`; of a stack, `[b, m, c]` and `[b, m, 3]`."""

    def step(params: PyTree, statistics: PyTree, batch: Batch) -> tuple[Array, Array]:
        return nnx.merge(graph, params, statistics)(batch.inputs, batch.lengths)

    run = jax.vmap(step, in_axes=(0, 0, None), out_axes=1) if stacked else step
    return jax.jit(run, out_shardings=where, compiler_options=compiler_options())
