"""Low-rank adaptation of a pretrained linear map (Hu et al., 2021): `x·W + x·A·B`, B zero at first.

Legend: `r` rank, `i` width of the input, `o` width of the output.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from medusa_jax.layers.matmul import dense, product


class Linear(nnx.Linear):
    """A linear map; with a `rank` it has parameters A and B beside its own."""

    def __init__(
        self, d_in: int, d_out: int, rank: int = 0, *, use_bias: bool = True, rngs: nnx.Rngs
    ) -> None:
        super().__init__(d_in, d_out, use_bias=use_bias, rngs=rngs)
        self.rank = rank
        if rank:
            bound = 1 / math.sqrt(d_in)
            start_ir = jax.random.uniform(rngs.params(), (d_in, rank), minval=-bound, maxval=bound)
            self.down, self.up = nnx.LoRAParam(start_ir), nnx.LoRAParam(jnp.zeros((rank, d_out)))


def adapted(layer: Linear, x: Float[Array, "*b i"], compute: DTypeLike) -> Float[Array, "*b o"]:
    """`layer` of `x` with operands of dtype `compute`, its low-rank part included."""
    y = dense(layer, x, compute)
    if not layer.rank:
        return y
    return y + product(product(x, layer.down[...], compute), layer.up[...], compute)
