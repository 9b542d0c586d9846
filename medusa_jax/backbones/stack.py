"""Equal layers whose parameters are stacked, so that one is compiled for all, and their states.

Legend: `b` utterance, `t` frame, `h` hidden, `l` layer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool

PyTree = Any
Layer = TypeVar("Layer", bound=nnx.Module)


class States(NamedTuple):
    """Hidden states of all layers, the embedding first; `valid_bt` marks an utterance's frames."""

    states_lbth: Array
    valid_bt: Array


def stack_of(layer: Callable[[nnx.Rngs], Layer], count: int, rngs: nnx.Rngs) -> Layer:
    """So many layers as one, whose parameters have a leading axis; to be scanned over."""
    make = nnx.vmap(lambda key: layer(nnx.Rngs(key)))
    stacked: Layer = make(jax.random.split(rngs.params(), count))
    return stacked


def through(
    step: Callable[[Array, PyTree], tuple[Array, PyTree]],
    x_bth: Array,
    layers: PyTree,
    *,
    frozen: int = 0,
    remat: bool = False,
) -> tuple[Array, PyTree]:
    """Scan `step(x, layer) -> (x, kept)` over a stack: the last x, and what each layer keeps.

    The first `frozen` layers get no gradient, and what lies below them none through them. With
    `remat` a layer is computed again for its gradient.
    """
    run = jax.checkpoint(step) if remat else step
    if not frozen:
        return jax.lax.scan(run, x_bth, layers)
    # stopped before the scan and not behind it: nothing is differentiated that is not wanted
    below = jax.lax.stop_gradient(jax.tree.map(lambda x: x[:frozen], layers))
    x_bth, first = jax.lax.scan(step, jax.lax.stop_gradient(x_bth), below)
    x_bth, rest = jax.lax.scan(run, x_bth, jax.tree.map(lambda x: x[frozen:], layers))
    return x_bth, jax.tree.map(lambda *parts: jnp.concatenate(parts), first, rest)


def unless(skipped: Bool[Array, ""] | None, layer: Callable[[Array], Array], x_bth: Array) -> Array:
    """The output of a layer, or its input where it is skipped (None: never): nothing is computed
    then, except where several members step as one.
    """
    if skipped is None:
        return layer(x_bth)
    kept: Array = jax.lax.cond(skipped, lambda x_bth: x_bth, layer, x_bth)
    return kept
