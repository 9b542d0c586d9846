"""ENC: two linear maps, L transformer encoder layers, mean over the valid frames (paper
Algorithm 1).

Legend: `b` utterance, `t` frame, `d` input width, `h` hidden width, `n` head, `e` width of a head.
Post-norm, ReLU, no positional encoding: PyTorch's `TransformerEncoderLayer` as the paper's code
uses it, and initialised as PyTorch does, so that the paper's learning rates mean the same here.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

from medusa_jax.config.model import ModelConfig
from medusa_jax.layers.attention import attend, by_head, together
from medusa_jax.layers.dropout import Seed, dropout, relu_dropout, seed_of
from medusa_jax.layers.layer_norm import layer_norm, normalised
from medusa_jax.layers.matmul import dense, operand_type

DROPOUTS = 4  # of a layer: attention weights, attended, widened, narrowed
Seeds = UInt32[Array, "l 4 2"]
"""A seed for each dropout of an encoder's layers."""


def seeds_of(
    key: PRNGKeyArray, encoders: int, layers: int
) -> UInt32[Array, "{encoders} {layers} 4 2"]:
    """Seeds of every dropout of several encoders.

    All at once: each call of JAX's generator is a hundred operations to compile.
    """

    def of_layer(key: PRNGKeyArray, layer: Array) -> Array:
        return jax.vmap(seed_of)(jax.random.split(jax.random.fold_in(key, layer), DROPOUTS))

    of_encoder = jax.vmap(of_layer, in_axes=(None, 0))
    return jax.vmap(of_encoder, in_axes=(0, None))(
        jax.random.split(key, encoders), jnp.arange(layers)
    )


def linear(d_in: int, d_out: int, rngs: nnx.Rngs, zero_bias: bool = False) -> nnx.Linear:
    """A linear map with PyTorch's initialisation: weights and, unless `zero_bias`, bias uniform
    within ±1/√d_in.
    """
    bound = 1 / math.sqrt(d_in)

    def initial(
        key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = jnp.float32, **_: object
    ) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(
        d_in,
        d_out,
        kernel_init=initial,
        bias_init=jax.nn.initializers.zeros if zero_bias else initial,
        rngs=rngs,
    )


class Attention(nnx.Module):
    """Self-attention that gives padded frames no weight."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        h, xavier = config.hidden, jax.nn.initializers.xavier_uniform()
        self.into = nnx.Linear(
            h, 3 * h, kernel_init=xavier, bias_init=jax.nn.initializers.zeros, rngs=rngs
        )
        self.out = linear(h, h, rngs, zero_bias=True)
        self.heads, self.rate, self.compute = (
            config.heads,
            config.dropout,
            operand_type(config.precision),
        )

    def __call__(
        self, x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"], seed: Seed | None
    ) -> Float[Array, "b t h"]:
        """Mix each utterance's valid frames."""
        parts_bth = jnp.split(dense(self.into, x_bth, self.compute), 3, axis=-1)
        q_bnte, k_bnte, v_bnte = (by_head(part_bth, self.heads) for part_bth in parts_bth)
        seed = None if self.rate == 0 else seed
        mixed_bnte = attend(q_bnte, k_bnte, v_bnte, valid_bt, seed, self.rate, self.compute)
        return dense(self.out, together(mixed_bnte), self.compute)


class Layer(nnx.Module):
    """One post-norm transformer encoder layer."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.attention = Attention(config, rngs=rngs)
        self.norm1 = layer_norm(config.hidden, rngs)
        self.wide = linear(config.hidden, config.feedforward, rngs)
        self.narrow = linear(config.feedforward, config.hidden, rngs)
        self.norm2 = layer_norm(config.hidden, rngs)
        self.rate, self.compute = config.dropout, operand_type(config.precision)

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        valid_bt: Bool[Array, "b t"],
        seeds: UInt32[Array, "4 2"] | None,
    ) -> Float[Array, "b t h"]:
        """Attend, then widen and narrow, each with a residual and a norm behind it."""
        s_weights, s_attended, s_wide, s_narrow = (None,) * DROPOUTS if seeds is None else seeds
        attended_bth = dropout(self.attention(x_bth, valid_bt, s_weights), self.rate, s_attended)
        x_bth = normalised(self.norm1, x_bth + attended_bth)
        wide = relu_dropout(dense(self.wide, x_bth, self.compute), self.rate, s_wide)
        narrow_bth = dropout(dense(self.narrow, wide, self.compute), self.rate, s_narrow)
        return normalised(self.norm2, x_bth + narrow_bth)


class Encoder(nnx.Module):
    """ENC of the paper: returns what every layer saw, and the mean of the last. `width` is that of
    its input.
    """

    def __init__(self, width: int, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.w1 = linear(width, config.hidden, rngs)
        self.w2 = linear(config.hidden, config.hidden, rngs)
        self.layers = nnx.List([Layer(config, rngs=rngs) for _ in range(config.layers)])
        self.remat, self.compute = config.remat, operand_type(config.precision)

    def __call__(
        self, x_btd: Float[Array, "b t d"], valid_bt: Bool[Array, "b t"], seeds: Seeds | None
    ) -> tuple[list[Float[Array, "b t h"]], Float[Array, "b h"]]:
        """The output of each layer, and the mean of the last one over the valid frames (h1, h2 and
        h3 for two layers).
        """
        x_bth = dense(self.w2, jax.nn.relu(dense(self.w1, x_btd, self.compute)), self.compute)
        outputs = []
        for i, layer in enumerate(self.layers):
            run = partial(layer, valid_bt=valid_bt, seeds=None if seeds is None else seeds[i])
            x_bth = jax.checkpoint(run)(x_bth) if self.remat else run(x_bth)
            outputs.append(x_bth)
        return outputs, masked_mean(x_bth, valid_bt)


def masked_mean(x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"]) -> Float[Array, "b h"]:
    """Mean over the valid frames of each utterance."""
    total_bh = jnp.where(valid_bt[:, :, None], x_bth, 0).sum(axis=1)
    return total_bh / valid_bt.sum(axis=1, keepdims=True)
