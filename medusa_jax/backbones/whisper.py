"""Whisper's encoder: waveforms to the hidden states of every layer, as published.

Radford et al., 2022. The energies are part of the model, layers are alike, so that one is compiled
for all, and norms, softmax and energies are float32 at every precision.

Legend: `b` utterance, `n` sample (of a wave) or head, `t` frame (20 ms), `s` key frame,
`c` channel, `h` hidden, `e` width of a head, `l` layer.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from medusa_jax.backbones.mel import log_mel
from medusa_jax.backbones.stack import States, stack_of
from medusa_jax.backbones.waveform import gelu
from medusa_jax.backbones.whisper_config import FRAME, WhisperConfig
from medusa_jax.errors import FeatureError
from medusa_jax.layers.attention import attend, by_head, together
from medusa_jax.layers.layer_norm import layer_norm
from medusa_jax.layers.matmul import dense, product
from medusa_jax.layers.tuning import tuned

Window = Literal["full", "real"]
_LONG = 512  # frames


class Stored(nnx.Param):
    """A parameter of published weights that fine-tuning leaves as it is."""


class Attention(nnx.Module):
    """Attention to keys and values of the same frames, or of others."""

    def __init__(self, hidden: int, heads: int, *, rngs: nnx.Rngs) -> None:
        self.query, self.value, self.out = (nnx.Linear(hidden, hidden, rngs=rngs) for _ in range(3))
        self.key = nnx.Linear(hidden, hidden, use_bias=False, rngs=rngs)
        self.heads = heads

    def keys(
        self, x_bsh: Float[Array, "b s h"], compute: DTypeLike
    ) -> tuple[Float[Array, "b n s e"], Float[Array, "b n s e"]]:
        """Keys and values of frames, in the dtype of the products."""
        k_bnse, v_bnse = (
            by_head(dense(part, x_bsh, compute).astype(compute), self.heads)
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
    ) -> Float[Array, "b t h"]:
        """Each frame's mean of the values at valid keys."""
        q_bnte = by_head(dense(self.query, x_bth, compute), self.heads)
        mixed_bnte = _attended(q_bnte, k_bnse, v_bnse, valid_bs, compute)
        return dense(self.out, together(mixed_bnte), compute)


def _attended(
    q_bnte: Array, k_bnse: Array, v_bnse: Array, valid_bs: Array, compute: DTypeLike
) -> Array:
    """`attend`; of long utterances head by head where a CPU's cache holds the scores of one."""
    b, n, t, _ = q_bnte.shape
    if t < _LONG or not tuned("attention"):
        return attend(q_bnte, k_bnse, v_bnse, valid_bs, None, 0.0, compute)
    valid_rs = jnp.repeat(valid_bs, n, axis=0)[:, None]
    by_head = (x.reshape(b * n, 1, 1, *x.shape[2:]) for x in (q_bnte, k_bnse, v_bnse))

    def one(given: tuple[Array, Array, Array, Array]) -> Array:
        return attend(*given, None, 0.0, compute)

    return jax.lax.map(one, (*by_head, valid_rs)).reshape(q_bnte.shape)


class FeedForward(nnx.Module):
    """Widen, GELU, narrow, of a normed input."""

    def __init__(self, hidden: int, wide: int, *, rngs: nnx.Rngs) -> None:
        self.norm = layer_norm(hidden, rngs)
        self.wide = nnx.Linear(hidden, wide, rngs=rngs)
        self.narrow = nnx.Linear(wide, hidden, rngs=rngs)

    def __call__(self, x_bth: Float[Array, "b t h"], compute: DTypeLike) -> Float[Array, "b t h"]:
        """What is added to each frame."""
        wide = gelu(dense(self.wide, self.norm(x_bth), compute))
        return dense(self.narrow, wide, compute)


class Layer(nnx.Module):
    """A layer of the encoder, with norms before its parts."""

    def __init__(self, config: WhisperConfig, *, rngs: nnx.Rngs) -> None:
        self.norm = layer_norm(config.hidden, rngs)
        self.attention = Attention(config.hidden, config.heads, rngs=rngs)
        self.feed = FeedForward(config.hidden, config.feedforward, rngs=rngs)

    def __call__(
        self, x_bth: Float[Array, "b t h"], valid_bt: Bool[Array, "b t"], compute: DTypeLike
    ) -> Float[Array, "b t h"]:
        """Attend, then widen and narrow, each added to what came in."""
        normed_bth = self.norm(x_bth)
        keys = self.attention.keys(normed_bth, compute)
        x_bth += self.attention(normed_bth, *keys, valid_bt, compute)
        return x_bth + self.feed(x_bth, compute)


class WhisperEncoder(nnx.Module):
    """A pretrained speech encoder for waves of at most 30 s.

    With the window `full` frames attend to all 30 s, silence behind the utterance included, as in
    Whisper's training; with `real` to the utterance alone. Either way an utterance's states do not
    depend on its batch or padding, rounding aside.
    """

    def __init__(self, config: WhisperConfig, window: Window = "full", *, rngs: nnx.Rngs) -> None:
        h = config.hidden
        self.conv1 = nnx.Conv(config.bands, h, kernel_size=3, rngs=rngs)
        self.conv2 = nnx.Conv(h, h, kernel_size=3, strides=2, rngs=rngs)
        self.positions = Stored(_sinusoids(config.positions, h))
        self.layers = stack_of(lambda own: Layer(config, rngs=own), config.layers, rngs)
        self.norm = layer_norm(h, rngs)
        self.config, self.window = config, window

    def __call__(
        self,
        wave_bn: Float[Array, "b n"],
        samples_b: Int[Array, " b"],
        compute: DTypeLike = jnp.float32,
        remat: bool = False,
    ) -> States:
        """Hidden states `[l + 1, b, t, h]`, float32, of waves of so many valid samples (16 kHz).

        t is the number of frames that n samples have, the last one counted whole. Products have
        operands of dtype `compute`. With `remat` a layer is computed again for its gradient. The
        last state is normed. Raises `FeatureError` for waves longer than the model's window.
        """
        frames = math.ceil(wave_bn.shape[1] / FRAME)
        x_bth, attended_bt = self._embedded(wave_bn, samples_b, compute)

        def one(layer: Layer, x_bth: Array) -> tuple[Array, Array]:
            x_bth = layer(x_bth, attended_bt, compute)
            return x_bth, x_bth[:, :frames]

        last_bth, states_lbth = self._through(one, x_bth, remat)
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
        x_bth, attended_bt = self._embedded(wave_bn, samples_b, compute)

        def one(layer: Layer, x_bth: Array) -> tuple[Array, None]:
            return layer(x_bth, attended_bt, compute), None

        return self.norm(self._through(one, x_bth, remat=False)[0])

    def _embedded(
        self, wave_bn: Array, samples_b: Array, compute: DTypeLike
    ) -> tuple[Array, Array]:
        """The input of the first layer `[b, t, h]`, and which frames are attended to `[b, t]`."""
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
        x_bth = _convolved(self.conv1, mel_btd, 1, compute)
        x_bth = _convolved(self.conv2, x_bth, 2, compute)
        return x_bth + self.positions[...][: x_bth.shape[1]], attended_bt

    def _through(
        self, one: Callable[[Layer, Array], tuple[Array, Any]], x_bth: Array, remat: bool
    ) -> tuple[Array, Any]:
        """Scan over the layers."""
        graph, stacked = nnx.split(self.layers)

        def step(x_bth: Array, own: nnx.State) -> tuple[Array, Any]:
            return one(nnx.merge(graph, own), x_bth)

        return jax.lax.scan(jax.checkpoint(step) if remat else step, x_bth, stacked)


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
