"""Equal layers whose parameters are stacked, so that one is compiled for all, and their states.

Legend: `b` utterance, `t` frame, `h` hidden, `l` layer.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
from flax import nnx
from jaxtyping import Array

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
