"""Matrix products at a chosen precision: operands of float32 or bfloat16, sums always of float32.

Legend: `r` row (an utterance's frame), `i` width of the input, `o` width of the output. docs/performance.md has the
measurements behind each choice.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def dense(layer: nnx.Linear, x: Float[Array, "*r i"], compute: DTypeLike) -> Float[Array, "*r o"]:
    """`layer` of `x` with operands of dtype `compute`; result, bias and gradients are float32."""
    y = product(x, layer.kernel[...], compute)
    return y if layer.bias is None else y + layer.bias[...]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(
    x: Float[Array, "*r i"], w_io: Float[Array, "i o"], compute: DTypeLike
) -> Float[Array, "*r o"]:
    """`x @ w_io`, whose gradients are products of the same precision."""
    return summed("...i,io->...o", x.astype(compute), w_io.astype(compute))


def _forward(x: Array, w_io: Array, compute: DTypeLike) -> tuple[Array, tuple[Array, Array]]:
    x, w_io = x.astype(compute), w_io.astype(compute)
    return summed("...i,io->...o", x, w_io), (x, w_io)


def _backward(compute: DTypeLike, kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, w_io = kept
    g = g.astype(compute)
    x_ri, g_ro = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
    if x_ri.shape[1] <= g_ro.shape[1]:
        dw_io = over_rows("ri,ro->io", x_ri, g_ro)
    else:  # XLA's kernel for CPUs is half as fast again with the wider operand on the right
        dw_io = jax.lax.optimization_barrier(over_rows("ro,ri->oi", g_ro, x_ri)).T
    return summed("...o,io->...i", g, w_io), dw_io


product.defvjp(_forward, _backward)


def summed(equation: str, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """`einsum` whose sums and result are float32, whatever its operands."""
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


def over_rows(equation: str, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """`summed` over the rows of both operands: XLA for CPUs is faster with float32 there, so bfloat16 is widened first."""
    if a.dtype != jnp.float32 and jax.default_backend() == "cpu":
        a, b = jax.lax.optimization_barrier((a.astype(jnp.float32), b.astype(jnp.float32)))
    return summed(equation, a, b)
