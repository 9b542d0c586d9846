"""Matrix products at a chosen precision: operands of float32 or bfloat16, sums always of float32.

Legend: `r` row (an utterance's frame), `i` width of the input, `o` width of the output.
docs/performance.md has the measurements behind each choice.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from medusa_jax.layers.tuning import tuned


def operand_type(precision: str) -> np.dtype:
    """The dtype of operands at a configured precision (`float32`, `tf32`, `bfloat16`)."""
    return np.dtype(jnp.bfloat16 if precision == "bfloat16" else jnp.float32)


def matmul_precision(precision: str) -> AbstractContextManager[Any]:
    """A context in which products of float32 operands are what the configuration asks for.

    XLA on NVIDIA GPUs takes float32 operands as TF32 unless told otherwise: `float32` tells it,
    `tf32` asks for it.
    """
    if jax.default_backend() == "cpu":
        return nullcontext()
    return jax.default_matmul_precision("tensorfloat32" if precision == "tf32" else "float32")


def dense(layer: nnx.Linear, x: Float[Array, "*r i"], compute: DTypeLike) -> Float[Array, "*r o"]:
    """`layer` of `x` with operands of dtype `compute`; result, bias and gradients are float32."""
    y = product(x, layer.kernel[...], compute)
    return y if layer.bias is None else y + layer.bias[...]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(
    x: Float[Array, "*r i"], w_io: Float[Array, "i o"], compute: DTypeLike
) -> Float[Array, "*r o"]:
    """`x @ w_io`, whose gradients are products of the same precision.

    The gradient is our own on every backend: JAX's would multiply float32 by bfloat16, off the fast
    path of either.
    """
    return summed("...i,io->...o", x.astype(compute), w_io.astype(compute))


def _forward(x: Array, w_io: Array, compute: DTypeLike) -> tuple[Array, tuple[Array, Array]]:
    x, w_io = x.astype(compute), w_io.astype(compute)
    return summed("...i,io->...o", x, w_io), (x, w_io)


def _backward(compute: DTypeLike, kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, w_io = kept
    g = g.astype(compute)
    x_ri, g_ro = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
    if not tuned("products") or x_ri.shape[1] <= g_ro.shape[1]:
        dw_io = over_rows("ri,ro->io", x_ri, g_ro)
    else:  # XLA's kernel for CPUs is half as fast again with the wider operand on the right
        dw_io = jax.lax.optimization_barrier(over_rows("ro,ri->oi", g_ro, x_ri)).T
    return summed("...o,io->...i", g, w_io), dw_io


product.defvjp(_forward, _backward)


def summed(equation: str, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """`einsum` whose sums and result are float32, whatever its operands."""
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


def over_rows(equation: str, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """`summed` over the rows of both operands: XLA for CPUs is faster with float32 there, so
    bfloat16 is widened first.
    """
    if a.dtype != jnp.float32 and tuned("products"):
        a, b = jax.lax.optimization_barrier((a.astype(jnp.float32), b.astype(jnp.float32)))
    return summed(equation, a, b)


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def contract(
    equation: str, a: Float[Array, "..."], b: Float[Array, "..."], compute: DTypeLike
) -> Float[Array, "..."]:
    """`einsum` of two operands in dtype `compute` with sums in float32, and gradients likewise.

    Every index of an operand must be one of the other's or of the result's.
    """
    return summed(equation, a.astype(compute), b.astype(compute))


def _contract_forward(
    equation: str, a: Array, b: Array, compute: DTypeLike
) -> tuple[Array, tuple[Array, Array]]:
    a, b = a.astype(compute), b.astype(compute)
    return summed(equation, a, b), (a, b)


def _contract_backward(
    equation: str, compute: DTypeLike, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    (one, other), result = equation.split("->")[0].split(","), equation.split("->")[1]
    a, b = saved
    g = g.astype(compute)
    return summed(f"{result},{other}->{one}", g, b), summed(f"{one},{result}->{other}", a, g)


contract.defvjp(_contract_forward, _contract_backward)
