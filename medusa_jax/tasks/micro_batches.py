"""A batch computed in parts, one after the other, to save memory.

Legend: `b` utterance of a batch, `p` part of a batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

PyTree = Any


def in_parts(
    run: Callable[[PyTree, PRNGKeyArray], Array], batch: PyTree, parts: int, key: PRNGKeyArray
) -> Float[Array, "b h"]:
    """`run(batch, key)` `[b, h]`; in `parts` that are computed one by one, and once more for the
    gradient.

    A batch in parts costs a third more and the memory of one part. A part takes every parts-th
    utterance: where a batch is spread over devices, so is each part. A batch that does not divide
    stays whole.
    """
    batch = jax.tree.map(jnp.asarray, batch)
    b = len(jax.tree.leaves(batch)[0])
    if parts == 1 or b % parts:
        return run(batch, key)
    cut = jax.tree.map(lambda a: _dealt(a, parts), batch)
    one = jax.checkpoint(lambda part: run(*part))
    x_pbh = jax.lax.map(one, (cut, jax.random.split(key, parts)))
    return x_pbh.swapaxes(0, 1).reshape(b, -1)


def _dealt(a: Array, parts: int) -> Array:
    """`a` `[b, …]` as `[p, b/p, …]`, every parts-th row together."""
    return a.reshape(len(a) // parts, parts, *a.shape[1:]).swapaxes(0, 1)
