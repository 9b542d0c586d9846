"""Frames that travel to the device in eight bits and are decoded there: half the bytes of float16.

Legend: `b` utterance, `t` frame, `d` feature.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Coded(NamedTuple):
    """Codes `[b, t, d]`, int8, and a scale `[b, d]`, float32, of each utterance's features."""

    codes: Any
    scale: Any


def frames_of(x: Coded | np.ndarray | Array) -> Float[Array, "b t d"]:
    """Frames as float32; decoded ones equal those that a store reads as float16."""
    if isinstance(x, Coded):
        frames = jnp.asarray(x.codes, jnp.float32) * jnp.asarray(x.scale)[:, None, :]
        return frames.astype(jnp.float16).astype(jnp.float32)
    return jnp.asarray(x, jnp.float32)
