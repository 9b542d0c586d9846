"""ModernBERT in Flax (Warner et al. 2024): rotary positions, gated feed-forward, and layers that
see all tokens between layers that see the near ones.

Layers are stacked and scanned, so one is compiled instead of 28. For that a layer norms its own
output for the next one's attention: the first layer attends to the embedding as it is, and what the
last one norms is the model's result.

Legend: `b` utterance, `t` query token, `s` key token, `h` hidden, `l` layer, `n` head, `e` width of
a head, `f` half of it, `k` kind of layer: those that see all tokens, and the others.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from medusa_jax.backbones.stack import States, stack_of
from medusa_jax.backbones.text_config import ModernBertConfig
from medusa_jax.backbones.waveform import gelu
from medusa_jax.layers.attention import together
from medusa_jax.layers.layer_norm import layer_norm
from medusa_jax.layers.matmul import contract, dense

_NEVER = -1e30


def rotations(tokens: int, width: int, bases: tuple[float, float]) -> Float[Array, "k 2 t f"]:
    """Cosines and sines of the angles of each position, for both kinds of layers (RoPE)."""
    powers_f = jnp.arange(0, width, 2, dtype=jnp.float32) / width
    speeds_kf = 1 / jnp.array(bases, jnp.float32)[:, None] ** powers_f
    angles_ktf = jnp.arange(tokens, dtype=jnp.float32)[:, None] * speeds_kf[:, None, :]
    return jnp.stack([jnp.cos(angles_ktf), jnp.sin(angles_ktf)], axis=1)


def rotated(
    x_bnte: Float[Array, "b n t e"], turns_2tf: Float[Array, "2 t f"]
) -> Float[Array, "b n t e"]:
    """`x` with the first half of its width as real and the second as imaginary parts, turned."""
    real, imaginary = jnp.split(x_bnte, 2, axis=-1)
    cos_tf, sin_tf = turns_2tf
    turned = [real * cos_tf - imaginary * sin_tf, imaginary * cos_tf + real * sin_tf]
    return jnp.concatenate(turned, axis=-1)


class Attention(nnx.Module):
    """Self-attention with rotary positions among the tokens that each one sees."""

    def __init__(self, config: ModernBertConfig, *, rngs: nnx.Rngs) -> None:
        h, biased = config.hidden, config.attention_bias
        self.parts = nnx.Linear(h, 3 * h, use_bias=biased, rngs=rngs)  # query, key, value
        self.out = nnx.Linear(h, h, use_bias=biased, rngs=rngs)
        self.heads = config.heads

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        seen_bts: Bool[Array, "b t s"],
        turns_2tf: Float[Array, "2 t f"],
        compute: DTypeLike,
    ) -> Float[Array, "b t h"]:
        """Each token's mean of the values that it sees."""
        b, t, _ = x_bth.shape
        parts_bt3ne = dense(self.parts, x_bth, compute).reshape(b, t, 3, self.heads, -1)
        q_bnte, k_bnse, v_bnse = parts_bt3ne.transpose(2, 0, 3, 1, 4)
        q_bnte, k_bnse = rotated(q_bnte, turns_2tf), rotated(k_bnse, turns_2tf)
        q_bnte /= math.sqrt(q_bnte.shape[-1])
        scores_bnts = contract("bnte,bnse->bnts", q_bnte, k_bnse, compute)
        weights_bnts = jax.nn.softmax(jnp.where(seen_bts[:, None], scores_bnts, _NEVER))
        mixed_bnte = contract("bnts,bnse->bnte", weights_bnts, v_bnse, compute)
        return dense(self.out, together(mixed_bnte), compute)


class Layer(nnx.Module):
    """Attention, gated feed-forward, and the norm before the next layer's attention."""

    def __init__(self, config: ModernBertConfig, *, rngs: nnx.Rngs) -> None:
        h, wide, biased = config.hidden, config.feedforward, config.feedforward_bias
        self.attention = Attention(config, rngs=rngs)
        self.norm = layer_norm(config.hidden, rngs, config.epsilon, config.norm_bias)
        self.wide = nnx.Linear(h, 2 * wide, use_bias=biased, rngs=rngs)  # values, gates
        self.narrow = nnx.Linear(wide, h, use_bias=biased, rngs=rngs)
        self.after = layer_norm(config.hidden, rngs, config.epsilon, config.norm_bias)

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        normed_bth: Float[Array, "b t h"],
        seen_bts: Bool[Array, "b t s"],
        turns_2tf: Float[Array, "2 t f"],
        compute: DTypeLike,
    ) -> tuple[Float[Array, "b t h"], Float[Array, "b t h"]]:
        """The layer's output, and the same normed."""
        x_bth += self.attention(normed_bth, seen_bts, turns_2tf, compute)
        values, gates = jnp.split(dense(self.wide, self.norm(x_bth), compute), 2, axis=-1)
        x_bth += dense(self.narrow, gelu(values) * gates, compute)
        return x_bth, self.after(x_bth)


class ModernBertBackbone(nnx.Module):
    """A pretrained ModernBERT. A text's states do not depend on its batch or padding, rounding
    aside.
    """

    def __init__(self, config: ModernBertConfig, *, rngs: nnx.Rngs) -> None:
        self.words = nnx.Embed(config.vocabulary, config.hidden, rngs=rngs)
        self.norm = layer_norm(config.hidden, rngs, config.epsilon, config.norm_bias)
        self.layers = stack_of(lambda own: Layer(config, rngs=own), config.layers, rngs)
        self.config = config

    def __call__(
        self,
        ids_bt: Int[Array, "b t"],
        count_b: Int[Array, " b"],
        compute: DTypeLike = jnp.float32,
        remat: bool = False,
    ) -> States:
        """Hidden states `[l + 1, b, t, h]`, float32, of texts of so many tokens, special ones
        included: at least 1. The last one is normed.

        Products have operands of dtype `compute`; positions are turned in float32. With `remat` a
        layer is computed again for its gradient.
        """
        config, tokens = self.config, jnp.arange(ids_bt.shape[1])
        valid_bt = tokens < count_b[:, None]
        near_ts = jnp.abs(tokens[:, None] - tokens) <= config.reach
        turns_k2tf = rotations(len(tokens), config.hidden // config.heads, config.bases)
        x_bth = self.norm(self.words.embedding[...][ids_bt])
        graph, stacked = nnx.split(self.layers)

        def one(
            states: tuple[Array, Array], own: tuple[nnx.State, Array]
        ) -> tuple[tuple[Array, Array], Array]:
            params, everywhere = own
            seen_bts = valid_bt[:, None, :] & (near_ts | everywhere)
            turns_2tf = jnp.where(everywhere, turns_k2tf[0], turns_k2tf[1])
            states = nnx.merge(graph, params)(*states, seen_bts, turns_2tf, compute)
            return states, states[0]

        over = stacked, jnp.array(config.everywhere)
        step = jax.checkpoint(one) if remat else one
        (_, result_bth), states_lbth = jax.lax.scan(step, (x_bth, x_bth), over)
        states_lbth = states_lbth.at[-1].set(result_bth)
        return States(jnp.concatenate([x_bth[None], states_lbth]), valid_bt)
