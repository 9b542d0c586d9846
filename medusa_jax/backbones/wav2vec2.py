"""wav2vec 2.0, HuBERT and WavLM: waveforms to the hidden states of every layer, as published.

They differ in norms and in WavLM's attention, which adds a gated bias by distance (Chen et al.,
2022). Layers are alike, so that one is compiled for all. Norms, softmax, gate and bias are float32
at every precision.

Legend: `b` utterance, `n` sample (of a wave) or head, `t` query frame, `s` key frame, `h` hidden,
`e` width of a head, `l` layer.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from medusa_jax.backbones.lora import Linear, adapted
from medusa_jax.backbones.noise import Noise, augmented, draw_noise, seed_at
from medusa_jax.backbones.positions import Gate, PositionalConvolution, RelativeBias
from medusa_jax.backbones.speech_config import SpeechConfig
from medusa_jax.backbones.stack import States, stack_of, through, unless
from medusa_jax.backbones.waveform import Convolutions, Projection, gelu
from medusa_jax.layers.attention import by_head, together
from medusa_jax.layers.dropout import Seed, dropout
from medusa_jax.layers.layer_norm import layer_norm
from medusa_jax.layers.matmul import contract

_NEVER = -1e30


class Attention(nnx.Module):
    """Self-attention among an utterance's valid frames."""

    def __init__(self, config: SpeechConfig, rank: int, *, rngs: nnx.Rngs) -> None:
        h = config.hidden
        self.query, self.key, self.value, self.out = (
            Linear(h, h, rank, rngs=rngs) for _ in range(4)
        )
        self.gate = Gate(config, rngs=rngs) if config.buckets else None
        self.heads = config.heads

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        valid_bt: Bool[Array, "b t"],
        bias_nts: Float[Array, "n t t"] | None,
        compute: DTypeLike,
        dropped: float = 0.0,
        seed: Seed | None = None,
    ) -> Float[Array, "b t h"]:
        """Each frame's mean of the values at valid keys, of whose weights a share is dropped."""
        q_bnte, k_bnse, v_bnse = (
            by_head(adapted(part, x_bth, compute), self.heads)
            for part in (self.query, self.key, self.value)
        )
        scores_bnts = contract(
            "bnte,bnse->bnts", q_bnte / math.sqrt(q_bnte.shape[-1]), k_bnse, compute
        )
        if self.gate is not None and bias_nts is not None:
            scores_bnts += self.gate(by_head(x_bth, self.heads)) * bias_nts
        weights_bnts = jax.nn.softmax(jnp.where(valid_bt[:, None, None, :], scores_bnts, _NEVER))
        weights_bnts = dropout(weights_bnts, dropped, seed)
        mixed_bnte = contract("bnts,bnse->bnte", weights_bnts, v_bnse, compute)
        return adapted(self.out, together(mixed_bnte), compute)


class Layer(nnx.Module):
    """A transformer layer, with norms before its parts (`stable`) or behind them."""

    def __init__(self, config: SpeechConfig, rank: int, *, rngs: nnx.Rngs) -> None:
        h = config.hidden
        self.attention = Attention(config, rank, rngs=rngs)
        self.norm1 = layer_norm(config.hidden, rngs, config.epsilon)
        self.wide = Linear(h, config.feedforward, rank, rngs=rngs)
        self.narrow = Linear(config.feedforward, h, rank, rngs=rngs)
        self.norm2 = layer_norm(config.hidden, rngs, config.epsilon)
        self.stable, self.rates = config.stable, config.rates

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        valid_bt: Bool[Array, "b t"],
        bias_nts: Float[Array, "n t t"] | None,
        compute: DTypeLike,
        seeds: UInt32[Array, "4 2"] | None = None,
    ) -> Float[Array, "b t h"]:
        """Attend, then widen and narrow, each added to its input; `seeds` are of its dropouts."""
        if self.stable:
            x_bth += self._attended(self.norm1(x_bth), valid_bt, bias_nts, compute, seeds)
            return x_bth + self._fed(self.norm2(x_bth), compute, seeds)
        x_bth = self.norm1(x_bth + self._attended(x_bth, valid_bt, bias_nts, compute, seeds))
        return self.norm2(x_bth + self._fed(x_bth, compute, seeds))

    def _attended(
        self,
        x_bth: Array,
        valid_bt: Array,
        bias_nts: Array | None,
        compute: DTypeLike,
        seeds: Array | None,
    ) -> Array:
        rates = self.rates.attention_dropout, seed_at(seeds, 0)
        y_bth = self.attention(x_bth, valid_bt, bias_nts, compute, *rates)
        return dropout(y_bth, self.rates.hidden_dropout, seed_at(seeds, 1))

    def _fed(self, x_bth: Array, compute: DTypeLike, seeds: Array | None) -> Array:
        wide_btf = gelu(adapted(self.wide, x_bth, compute))
        wide_btf = dropout(wide_btf, self.rates.activation_dropout, seed_at(seeds, 2))
        y_bth = adapted(self.narrow, wide_btf, compute)
        return dropout(y_bth, self.rates.hidden_dropout, seed_at(seeds, 3))


class SpeechBackbone(nnx.Module):
    """A pretrained speech encoder; with a `rank`, its layers' linear maps have low-rank parts.

    An utterance's states do not depend on its batch or padding, rounding aside.
    """

    def __init__(self, config: SpeechConfig, rank: int = 0, *, rngs: nnx.Rngs) -> None:
        self.convolutions = Convolutions(config, rngs=rngs)
        self.projection = Projection(config, rngs=rngs)
        self.masked = nnx.Param(jax.random.uniform(rngs.params(), (config.hidden,)))
        self.positions = PositionalConvolution(config, rngs=rngs)
        self.norm = layer_norm(config.hidden, rngs, config.epsilon)
        self.bias = RelativeBias(config, rngs=rngs) if config.buckets else None
        self.layers = stack_of(lambda own: Layer(config, rank, rngs=own), config.layers, rngs)
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
        x_btc, valid_bt = self.convolutions(wave_bn, samples_b, compute)
        return self.encoded(x_btc, valid_bt, compute, remat)

    def encoded(
        self,
        x_btc: Float[Array, "b t c"],
        valid_bt: Bool[Array, "b t"],
        compute: DTypeLike = jnp.float32,
        remat: bool = False,
        key: PRNGKeyArray | None = None,
        frozen: int = 0,
    ) -> States:
        """Hidden states, as above, of frames of the convolutions.

        With a `key` there is the noise of training (`config.rates`); no gradient flows through or
        below the first `frozen` layers.
        """
        rates, noise = self.config.rates, None
        x_bth = self.projection(x_btc, compute)
        if key is not None:
            shape = self.config.layers, valid_bt, self.config.hidden
            noise = draw_noise(rates, key, *shape, first_stays=self.bias is not None)
            x_bth = dropout(x_bth, rates.feat_proj_dropout, noise.outside_s2[0])
            x_bth = augmented(x_bth, noise, self.masked[...])
        x_bth = jnp.where(valid_bt[:, :, None], x_bth, 0)
        x_bth += self.positions(x_bth, compute)
        if not self.config.stable:
            x_bth = self.norm(x_bth)
        if noise is not None:
            x_bth = dropout(x_bth, rates.hidden_dropout, noise.outside_s2[1])
        states_lbth = self._layered(x_bth, valid_bt, compute, remat, noise, frozen)
        if self.config.stable:
            states_lbth = states_lbth.at[-1].set(self.norm(states_lbth[-1]))
        return States(states_lbth, valid_bt)

    def _layered(
        self,
        x_bth: Array,
        valid_bt: Array,
        compute: DTypeLike,
        remat: bool,
        noise: Noise | None,
        frozen: int,
    ) -> Array:
        """The input of the layers and the output of each `[l + 1, b, t, h]`."""
        bias_nts = None if self.bias is None else self.bias(x_bth.shape[1])
        if frozen:  # what serves all layers is trained with the lowest
            x_bth, bias_nts = jax.lax.stop_gradient((x_bth, bias_nts))
        graph, stacked = nnx.split(self.layers)
        drawn = None if noise is None else (noise.layers_ls2, noise.skipped_l)

        def one(x_bth: Array, layer: tuple[nnx.State, Any]) -> tuple[Array, Array]:
            own, drawn = layer
            seeds, skipped = (None, None) if drawn is None else drawn

            def run(x_bth: Array) -> Array:
                y_bth: Array = nnx.merge(graph, own)(x_bth, valid_bt, bias_nts, compute, seeds)
                return y_bth

            x_bth = unless(skipped, run, x_bth)
            return x_bth, x_bth

        _, states_lbth = through(one, x_bth, (stacked, drawn), frozen=frozen, remat=remat)
        return jnp.concatenate([x_bth[None], states_lbth])
