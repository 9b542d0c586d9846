"""wav2vec 2.0, HuBERT and WavLM: waveforms to the hidden states of every layer, as published.

They differ in norms and in WavLM's attention, which adds a gated bias by distance (Chen et al.,
2022). Layers are alike, so that one is compiled for all. Norms, softmax, gate and bias are float32
at every precision.

Legend: `b` utterance, `n` sample (of a wave) or head, `t` query frame, `s` key frame, `h` hidden,
`e` width of a head, `l` layer.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from medusa_jax.backbones.positions import Gate, PositionalConvolution, RelativeBias
from medusa_jax.backbones.speech_config import SpeechConfig
from medusa_jax.backbones.waveform import Convolutions, gelu, layer_norm
from medusa_jax.layers.matmul import contract, dense

_NEVER = -1e30


class States(NamedTuple):
    """Hidden states of all layers, the embedding first; `valid_bt` marks an utterance's frames."""

    states_lbth: Array
    valid_bt: Array


class Attention(nnx.Module):
    """Self-attention among an utterance's valid frames."""

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        h = config.hidden
        self.query, self.key, self.value, self.out = (nnx.Linear(h, h, rngs=rngs) for _ in range(4))
        self.gate = Gate(config, rngs=rngs) if config.buckets else None
        self.heads = config.heads

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        valid_bt: Bool[Array, "b t"],
        bias_nts: Float[Array, "n t t"] | None,
        compute: DTypeLike,
    ) -> Float[Array, "b t h"]:
        """Each frame's mean of the values at valid keys."""
        q_bnte, k_bnse, v_bnse = (
            self._by_head(dense(part, x_bth, compute))
            for part in (self.query, self.key, self.value)
        )
        scores_bnts = contract(
            "bnte,bnse->bnts", q_bnte / math.sqrt(q_bnte.shape[-1]), k_bnse, compute
        )
        if self.gate is not None and bias_nts is not None:
            scores_bnts += self.gate(self._by_head(x_bth)) * bias_nts
        weights_bnts = jax.nn.softmax(jnp.where(valid_bt[:, None, None, :], scores_bnts, _NEVER))
        mixed_bnte = contract("bnts,bnse->bnte", weights_bnts, v_bnse, compute)
        return dense(self.out, mixed_bnte.swapaxes(1, 2).reshape(x_bth.shape), compute)

    def _by_head(self, x_bth: Array) -> Array:
        b, t, _ = x_bth.shape
        return x_bth.reshape(b, t, self.heads, -1).swapaxes(1, 2)


class Layer(nnx.Module):
    """A transformer layer, with norms before its parts (`stable`) or behind them."""

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        h = config.hidden
        self.attention = Attention(config, rngs=rngs)
        self.norm1 = layer_norm(config.hidden, config.epsilon, rngs)
        self.wide = nnx.Linear(h, config.feedforward, rngs=rngs)
        self.narrow = nnx.Linear(config.feedforward, h, rngs=rngs)
        self.norm2 = layer_norm(config.hidden, config.epsilon, rngs)
        self.stable = config.stable

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        valid_bt: Bool[Array, "b t"],
        bias_nts: Float[Array, "n t t"] | None,
        compute: DTypeLike,
    ) -> Float[Array, "b t h"]:
        """Attend, then widen and narrow, each added to what came in."""
        if self.stable:
            x_bth += self.attention(self.norm1(x_bth), valid_bt, bias_nts, compute)
            return x_bth + self._fed(self.norm2(x_bth), compute)
        x_bth = self.norm1(x_bth + self.attention(x_bth, valid_bt, bias_nts, compute))
        return self.norm2(x_bth + self._fed(x_bth, compute))

    def _fed(self, x_bth: Array, compute: DTypeLike) -> Array:
        return dense(self.narrow, gelu(dense(self.wide, x_bth, compute)), compute)


class SpeechBackbone(nnx.Module):
    """A pretrained speech encoder.

    Of models without norms over time ("layer"), and of those with one, an utterance's states do not
    depend on its batch or padding, rounding aside.
    """

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        self.convolutions = Convolutions(config, rngs=rngs)
        self.positions = PositionalConvolution(config, rngs=rngs)
        self.norm = layer_norm(config.hidden, config.epsilon, rngs)
        self.bias = RelativeBias(config, rngs=rngs) if config.buckets else None
        make = nnx.vmap(lambda key: Layer(config, rngs=nnx.Rngs(key)))
        self.layers = make(jax.random.split(rngs.params(), config.layers))
        self.config = config

    def __call__(
        self,
        wave_bn: Float[Array, "b n"],
        samples_b: Int[Array, " b"],
        compute: DTypeLike = jnp.float32,
        remat: bool = False,
    ) -> States:
        """Hidden states `[l + 1, b, t, h]`, float32, of waves of so many valid samples (16 kHz).

        Products have operands of dtype `compute`. With `remat` a layer is computed again for its
        gradient. The last state of a `stable` model is normed, as published features are. Every
        wave needs samples for a frame.
        """
        x_bth, valid_bt = self.convolutions(wave_bn, samples_b, compute)
        x_bth = jnp.where(valid_bt[:, :, None], x_bth, 0)
        x_bth += self.positions(x_bth, compute)
        if not self.config.stable:
            x_bth = self.norm(x_bth)
        bias_nts = None if self.bias is None else self.bias(x_bth.shape[1])
        graph, stacked = nnx.split(self.layers)

        def one(x_bth: Array, own: nnx.State) -> tuple[Array, Array]:
            x_bth = nnx.merge(graph, own)(x_bth, valid_bt, bias_nts, compute)
            return x_bth, x_bth

        last_bth, states_lbth = jax.lax.scan(jax.checkpoint(one) if remat else one, x_bth, stacked)
        if self.config.stable:
            states_lbth = states_lbth.at[-1].set(self.norm(last_bth))
        return States(jnp.concatenate([x_bth[None], states_lbth]), valid_bt)
