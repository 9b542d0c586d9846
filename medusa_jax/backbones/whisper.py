"""Whisper's encoder: waveforms to the hidden states of every layer, as published.

Radford et al., 2022. The energies are part of the model, layers are alike, so that one is compiled
for all, and norms, softmax and energies are float32 at every precision.

Legend: `b` utterance, `n` sample (of a wave) or head, `t` frame (20 ms), `s` key frame,
`c` channel, `h` hidden, `e` width of a head, `l` layer.
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from medusa_jax.backbones.lora import Linear, adapted
from medusa_jax.backbones.mel import log_mel
from medusa_jax.backbones.noise import Noise, augmented, draw_noise, seed_at
from medusa_jax.backbones.stack import States, stack_of, through, unless
from medusa_jax.backbones.waveform import gelu
from medusa_jax.backbones.whisper_config import FRAME, WhisperConfig
from medusa_jax.errors import FeatureError
from medusa_jax.layers.attention import attend, by_head, together
from medusa_jax.layers.dropout import Seed, dropout
from medusa_jax.layers.layer_norm import layer_norm
from medusa_jax.layers.matmul import product
from medusa_jax.layers.tuning import tuned

Window = Literal["full", "real"]
_LONG = 512  # frames


class Stored(nnx.Param):
    """A parameter of published weights that fine-tuning leaves as it is."""


class Attention(nnx.Module):
    """Attention to keys and values of the same frames, or of others."""

    def __init__(self, hidden: int, heads: int, rank: int = 0, *, rngs: nnx.Rngs) -> None:
        self.query, self.value, self.out = (
            Linear(hidden, hidden, rank, rngs=rngs) for _ in range(3)
        )
        self.key = Linear(hidden, hidden, rank, use_bias=False, rngs=rngs)
        self.heads = heads

    def keys(
        self, x_bsh: Float[Array, "b s h"], compute: DTypeLike
    ) -> tuple[Float[Array, "b n s e"], Float[Array, "b n s e"]]:
        """Keys and values of frames, in the dtype of the products."""
        k_bnse, v_bnse = (
            by_head(adapted(part, x_bsh, compute).astype(compute), self.heads)
            for part in (self.key, self.value)
        )
        return k_bnse, v_bnse

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        k_bnse: Float[Array, "b n s e"],
        v_bnse: Float[Array, "b n s e"],
        valid_bs: Bool[Array, "b s"],
        compute: DTypeLike,
        dropped: float = 0.0,
        seed: Seed | None = None,
    ) -> Float[Array, "b t h"]:
        """Each frame's mean of the values at valid keys, of whose weights a share is dropped."""
        q_bnte = by_head(adapted(self.query, x_bth, compute), self.heads)
        seed = seed if dropped else None
        mixed_bnte = _attended(q_bnte, k_bnse, v_bnse, valid_bs, seed, dropped, compute)
        return adapted(self.out, together(mixed_bnte), compute)


def _attended(
    q_bnte: Array,
    k_bnse: Array,
    v_bnse: Array,
    valid_bs: Array,
    seed: Seed | None,
    dropped: float,
    compute: DTypeLike,
) -> Array:
    """`attend`; of long utterances head by head where a CPU's cache holds the scores of one."""
    b, n, t, _ = q_bnte.shape
    if t < _LONG or not tuned("attention"):
        return attend(q_bnte, k_bnse, v_bnse, valid_bs, seed, dropped, compute)
    valid_rs = jnp.repeat(valid_bs, n, axis=0)[:, None]
    by_head = (x.reshape(b * n, 1, 1, *x.shape[2:]) for x in (q_bnte, k_bnse, v_bnse))
    seed_r2 = None
    if seed is not None:
        # the noise of an element follows from its place among all heads
        first_r = jnp.arange(b * n, dtype=jnp.uint32) * jnp.uint32(t * k_bnse.shape[2])
        seed_r2 = jnp.stack([seed[0] + first_r, jnp.full(b * n, seed[1])], axis=1)

    def one(given: tuple[Array, Array, Array, Array, Seed | None]) -> Array:
        return attend(*given, dropped, compute)

    return jax.lax.map(one, (*by_head, valid_rs, seed_r2)).reshape(q_bnte.shape)


class FeedForward(nnx.Module):
    """Widen, GELU, narrow, of a normed input."""

    def __init__(self, hidden: int, wide: int, rank: int = 0, *, rngs: nnx.Rngs) -> None:
        self.norm = layer_norm(hidden, rngs)
        self.wide = Linear(hidden, wide, rank, rngs=rngs)
        self.narrow = Linear(wide, hidden, rank, rngs=rngs)

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        compute: DTypeLike,
        dropped: float = 0.0,
        seed: Seed | None = None,
    ) -> Float[Array, "b t h"]:
        """The part that is added to each frame; of what was widened a share is dropped."""
        wide = gelu(adapted(self.wide, self.norm(x_bth), compute))
        return adapted(self.narrow, dropout(wide, dropped, seed), compute)


class Layer(nnx.Module):
    """A layer of the encoder, with norms before its parts."""

    def __init__(self, config: WhisperConfig, rank: int, *, rngs: nnx.Rngs) -> None:
        self.norm = layer_norm(config.hidden, rngs)
        self.attention = Attention(config.hidden, config.heads, rank, rngs=rngs)
        self.feed = FeedForward(config.hidden, config.feedforward, rank, rngs=rngs)
        self.rates = config.rates

    def __call__(
        self,
        x_bth: Float[Array, "b t h"],
        valid_bt: Bool[Array, "b t"],
        compute: DTypeLike,
        seeds: UInt32[Array, "4 2"] | None = None,
    ) -> Float[Array, "b t h"]:
        """Attend, then widen and narrow, each added to its input; `seeds` are of its dropouts."""
        rates, normed_bth = self.rates, self.norm(x_bth)
        keys = self.attention.keys(normed_bth, compute)
        noise = rates.attention_dropout, seed_at(seeds, 0)
        y_bth = self.attention(normed_bth, *keys, valid_bt, compute, *noise)
        x_bth += dropout(y_bth, rates.hidden_dropout, seed_at(seeds, 1))
        y_bth = self.feed(x_bth, compute, rates.activation_dropout, seed_at(seeds, 2))
        return x_bth + dropout(y_bth, rates.hidden_dropout, seed_at(seeds, 3))


class WhisperEncoder(nnx.Module):
    """A pretrained speech encoder for waves of at most 30 s; with a `rank`, its layers' linear maps
    have low-rank parts.

    With the window `full` frames attend to all 30 s, silence behind the utterance included, as in
    Whisper's training; with `real` to the utterance alone. Either way an utterance's states do not
    depend on its batch or padding, rounding aside.
    """

    def __init__(
        self, config: WhisperConfig, window: Window = "full", rank: int = 0, *, rngs: nnx.Rngs
    ) -> None:
        h = config.hidden
        self.conv1 = nnx.Conv(config.bands, h, kernel_size=3, rngs=rngs)
        self.conv2 = nnx.Conv(h, h, kernel_size=3, strides=2, rngs=rngs)
        self.positions = Stored(_sinusoids(config.positions, h))
        self.layers = stack_of(lambda own: Layer(config, rank, rngs=own), config.layers, rngs)
        self.norm = layer_norm(h, rngs)
        self.config, self.window = config, window

    def __call__(
        self,
        wave_bn: Float[Array, "b n"],
        samples_b: Int[Array, " b"],
        compute: DTypeLike = jnp.float32,
        remat: bool = False,
        key: PRNGKeyArray | None = None,
        frozen: int = 0,
    ) -> States:
        """Hidden states `[l + 1, b, t, h]`, float32, of waves of so many valid samples (16 kHz).

        t is the number of frames that n samples have, the last one counted whole. Products have
        operands of dtype `compute`. With `remat` a layer is computed again for its gradient. The
        last state is normed. With a `key` there is the noise of training (`config.rates`); no
        gradient flows through or below the first `frozen` layers. Raises `FeatureError` for waves
        longer than the model's window.
        """
        frames = math.ceil(wave_bn.shape[1] / FRAME)
        mel_btd, attended_bt = self._heard(wave_bn, samples_b)
        noise = None if key is None else self._noise(key, samples_b, mel_btd)
        x_bth = self._embedded(mel_btd, noise, compute)
        x_bth = jax.lax.stop_gradient(x_bth) if frozen else x_bth
        graph, stacked = nnx.split(self.layers)
        drawn = None if noise is None else (noise.layers_ls2, noise.skipped_l)

        def one(x_bth: Array, layer: tuple[nnx.State, Any]) -> tuple[Array, Array]:
            own, drawn = layer
            seeds, skipped = (None, None) if drawn is None else drawn

            def run(x_bth: Array) -> Array:
                y_bth: Array = nnx.merge(graph, own)(x_bth, attended_bt, compute, seeds)
                return y_bth

            x_bth = unless(skipped, run, x_bth)
            return x_bth, x_bth[:, :frames]

        found = through(one, x_bth, (stacked, drawn), frozen=frozen, remat=remat)
        last_bth, states_lbth = found
        states_lbth = states_lbth.at[-1].set(self.norm(last_bth[:, :frames]))
        states_lbth = jnp.concatenate([x_bth[None, :, :frames], states_lbth])
        return States(states_lbth, _valid(samples_b, frames))

    def last(
        self,
        wave_bn: Float[Array, "b n"],
        samples_b: Int[Array, " b"],
        compute: DTypeLike = jnp.float32,
    ) -> Float[Array, "b t h"]:
        """The last state alone, of all frames that are attended to: 30 s of the window `full`."""
        mel_btd, attended_bt = self._heard(wave_bn, samples_b)
        graph, stacked = nnx.split(self.layers)

        def one(x_bth: Array, own: nnx.State) -> tuple[Array, None]:
            return nnx.merge(graph, own)(x_bth, attended_bt, compute), None

        return self.norm(through(one, self._embedded(mel_btd, None, compute), stacked)[0])

    def _heard(self, wave_bn: Array, samples_b: Array) -> tuple[Array, Array]:
        """The energies `[b, 2 t, d]`, and which frames are attended to `[b, t]`."""
        window, (b, given) = self.config.window, wave_bn.shape
        if given > window:
            raise FeatureError(f"{given} samples are more than the model's window ({window})")
        samples = window if self.window == "full" else math.ceil(given / FRAME) * FRAME
        wave_bn = jnp.where(jnp.arange(given) < samples_b[:, None], wave_bn, 0)
        wave_bn = jnp.pad(wave_bn, ((0, 0), (0, samples - given)))
        mel_btd = log_mel(wave_bn, self.config.bands, reflect=samples == window)
        attended_bt = jnp.ones((b, samples // FRAME), bool)
        if self.window == "real":
            attended_bt = _valid(samples_b, samples // FRAME)
            mel_btd = jnp.where(jnp.repeat(attended_bt, 2, axis=1)[:, :, None], mel_btd, 0)
        return mel_btd, attended_bt

    def _noise(self, key: PRNGKeyArray, samples_b: Array, mel_btd: Array) -> Noise:
        """The noise of a batch; energies are masked within an utterance alone."""
        _, count, bands = mel_btd.shape
        valid_bt = jnp.repeat(_valid(samples_b, count // 2), 2, axis=1)
        return draw_noise(self.config.rates, key, self.config.layers, valid_bt, bands)

    def _embedded(self, mel_btd: Array, noise: Noise | None, compute: DTypeLike) -> Array:
        """The input of the first layer `[b, t, h]`."""
        mel_btd = mel_btd if noise is None else augmented(mel_btd, noise)
        x_bth = _convolved(self.conv1, mel_btd, 1, compute)
        x_bth = _convolved(self.conv2, x_bth, 2, compute)
        x_bth += self.positions[...][: x_bth.shape[1]]
        rate = self.config.rates.hidden_dropout
        return x_bth if noise is None else dropout(x_bth, rate, noise.outside_s2[1])


def _valid(samples_b: Array, frames: int) -> Array:
    """The frames `[b, t]` that hold samples of an utterance."""
    return jnp.arange(frames) < -(-samples_b // FRAME)[:, None]


def _convolved(conv: nnx.Conv, x_btc: Array, stride: int, compute: DTypeLike) -> Array:
    """GELU of a convolution padded by a frame at each end, as one product over its taps."""
    kernel = conv.kernel[...]
    taps, _, out = kernel.shape
    last = (x_btc.shape[1] - 1) // stride * stride + 1
    x_btc = jnp.pad(x_btc, ((0, 0), (1, 1), (0, 0)))
    parts = [x_btc[:, tap : tap + last : stride] for tap in range(taps)]
    y_bth = product(jnp.concatenate(parts, axis=2), kernel.reshape(-1, out), compute)
    assert conv.bias is not None, "published models have a bias"
    return gelu(y_bth + conv.bias[...])


def _sinusoids(count: int, width: int) -> Float[Array, "{count} {width}"]:
    """Sines, then cosines of positions, as Whisper's weights store them."""
    steps = width // 2
    scales = jnp.exp(-math.log(10_000) / (steps - 1) * jnp.arange(steps))
    angle = jnp.arange(count)[:, None] * scales
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)
