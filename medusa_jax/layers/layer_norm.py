"""Layer normalisation whose gradient keeps the normalised values and nothing else of their size.

Differentiated plainly, XLA for CPUs keeps the centred values too and, at full size, the factors
that they are scaled by: a quarter of what a whole step keeps.

Legend: `r` row (an utterance's frame), `h` hidden.
"""

import jax
from flax import nnx
from jaxtyping import Array, Float

from medusa_jax.layers.tuning import tuned

EPSILON = 1e-5  # PyTorch's


def layer_norm(
    width: int, rngs: nnx.Rngs, epsilon: float = EPSILON, bias: bool = True
) -> nnx.LayerNorm:
    """A layer norm with PyTorch's epsilon, whose variance is of the centred values."""
    return nnx.LayerNorm(width, epsilon=epsilon, use_bias=bias, use_fast_variance=False, rngs=rngs)


def normalised(norm: nnx.LayerNorm, x: Float[Array, "*r h"]) -> Float[Array, "*r h"]:
    """`x` of each row shifted and scaled to mean 0 and variance 1, then by the scale and bias of
    `norm`; float32.
    """
    if not tuned("norm"):
        return norm(x)
    assert norm.scale is not None, "DeepSER's norms have a scale and a bias"
    assert norm.bias is not None
    return _normalised(x, norm.scale[...], norm.bias[...])


@jax.custom_vjp
def _normalised(x: Array, scale_h: Array, bias_h: Array) -> Array:
    return _forward(x, scale_h, bias_h)[0]


def _forward(x: Array, scale_h: Array, bias_h: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    centred = x - x.mean(axis=-1, keepdims=True)
    factor_r1 = jax.lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
    # computed once, kept as they are
    unit, factor_r1 = jax.lax.optimization_barrier((centred * factor_r1, factor_r1))
    return unit * scale_h + bias_h, (unit, factor_r1, scale_h)


def _backward(kept: tuple[Array, Array, Array], g: Array) -> tuple[Array, Array, Array]:
    # else what is shared with the forward pass stays from then to now
    unit, factor_r1, scale_h = jax.lax.optimization_barrier(kept)
    rows = tuple(range(g.ndim - 1))
    scaled = g * scale_h
    dx = factor_r1 * (
        scaled
        - scaled.mean(axis=-1, keepdims=True)
        - unit * (scaled * unit).mean(axis=-1, keepdims=True)
    )
    return dx, (g * unit).sum(axis=rows), g.sum(axis=rows)


_normalised.defvjp(_forward, _backward)
