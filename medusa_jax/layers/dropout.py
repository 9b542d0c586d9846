"""Dropout whose masks are never stored: an element's noise is a hash of its index, made again where
the gradient needs it.

Threefry's bits take time on a CPU, and lie in memory until the backward pass reads them. A dozen
integer operations an element, in the pass that uses them, take little of either. The noise depends
on the key and on the index alone: it is the same in a stack of members and on any number of
devices.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

Seed = UInt32[Array, "2"]


def seed_of(key: PRNGKeyArray) -> Seed:
    """The two words that a mask hangs on."""
    return jax.random.bits(key, (2,), jnp.uint32)


def kept(seed: Seed, rate: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """Mask of the elements of `shape` that stay: a share 1 − `rate` of them, in a pattern that
    follows from `seed`.
    """
    x, stride = seed[0], 1
    for axis in reversed(range(len(shape))):
        x = x + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride % 2**32)
        stride *= shape[axis]
    # the hash triple32 of C. Wellons, with the second word stirred in after its first round
    x = (x ^ (x >> 17)) * np.uint32(0xED5AD4BB)
    x = (x ^ (x >> 11) ^ seed[1]) * np.uint32(0xAC4C1B51)
    x = (x ^ (x >> 15)) * np.uint32(0x31848BAB)
    return (x ^ (x >> 14)) >= np.uint32(min(round(rate * 2**32), 2**32 - 1))


def dropout(x: Float[Array, "..."], rate: float, seed: Seed | None) -> Float[Array, "..."]:
    """Zero a share `rate` of `x` and scale the rest; the identity if `seed` is None or `rate`
    is 0.
    """
    return x if seed is None or rate == 0 else _dropped(x, seed, rate)


def relu_dropout(x: Float[Array, "..."], rate: float, seed: Seed | None) -> Float[Array, "..."]:
    """`dropout(relu(x))`. Its gradient needs nothing but the result: what is above zero was let
    through.
    """
    return jax.nn.relu(x) if seed is None or rate == 0 else _dropped_relu(x, seed, rate)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dropped(x: Array, seed: Seed, rate: float) -> Array:
    return jnp.where(kept(seed, rate, x.shape), x * (1 / (1 - rate)), 0)


def _dropped_forward(x: Array, seed: Seed, rate: float) -> tuple[Array, Seed]:
    return _dropped(x, seed, rate), seed


def _dropped_backward(rate: float, seed: Seed, g: Array) -> tuple[Array, None]:
    return _dropped(g, seed, rate), None


_dropped.defvjp(_dropped_forward, _dropped_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dropped_relu(x: Array, seed: Seed, rate: float) -> Array:
    return jnp.where(kept(seed, rate, x.shape) & (x > 0), x * (1 / (1 - rate)), 0)


def _dropped_relu_forward(x: Array, seed: Seed, rate: float) -> tuple[Array, Array]:
    y = _dropped_relu(x, seed, rate)
    return y, y


def _dropped_relu_backward(rate: float, y: Array, g: Array) -> tuple[Array, None]:
    return jnp.where(y > 0, g * (1 / (1 - rate)), 0), None


_dropped_relu.defvjp(_dropped_relu_forward, _dropped_relu_backward)
