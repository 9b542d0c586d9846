"""Any ported speech encoder of a model folder, to be trained further.

Legend: `b` utterance, `n` sample, `t` frame, `c` channel, `l` layer, `h` hidden.
"""

from pathlib import Path

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from medusa_jax.audio.chunks import Grid
from medusa_jax.backbones import speech_config, whisper_config
from medusa_jax.backbones.speech_weights import fill_speech
from medusa_jax.backbones.stack import States
from medusa_jax.backbones.wav2vec2 import SpeechBackbone
from medusa_jax.backbones.waveform import normalised
from medusa_jax.backbones.whisper import WhisperEncoder, Window
from medusa_jax.backbones.whisper_weights import fill_encoder
from medusa_jax.hub.model_folder import read_settings

LAYERS = "layers"
"""The name of the stack of layers in every backbone's parameters."""


class Backbone(nnx.Module):
    """A speech encoder that takes waveforms, or the frames that its convolutions made of them."""

    def __init__(
        self,
        folder: Path,
        *,
        rngs: nnx.Rngs,
        rank: int = 0,
        window: Window = "real",
        published: bool = True,
    ) -> None:
        settings = read_settings(folder)
        self.encoder: SpeechBackbone | WhisperEncoder
        if settings.get("model_type") == "whisper":
            whisper = whisper_config.read_config(folder)
            self.encoder = WhisperEncoder(whisper, window, rank, rngs=rngs)
            self.conv_width, self.normalise = None, False
            self.shortest = whisper_config.FRAME
        else:
            config = speech_config.read_config(folder)
            self.encoder = SpeechBackbone(config, rank, rngs=rngs)
            self.conv_width = config.conv_dim[-1]
            self.normalise = speech_config.normalises(folder)
            self.shortest = Grid.of(config.conv_kernel, config.conv_stride).field
        if published and isinstance(self.encoder, WhisperEncoder):
            fill_encoder(self.encoder, folder)
        elif published and isinstance(self.encoder, SpeechBackbone):
            fill_speech(self.encoder, folder)
        self.layers, self.hidden = self.encoder.config.layers, self.encoder.config.hidden

    def __call__(
        self,
        x_btd: Float[Array, "b n d"],
        length_b: Int[Array, " b"],
        compute: DTypeLike = jnp.float32,
        remat: bool = False,
        key: PRNGKeyArray | None = None,
        frozen: int = 0,
    ) -> States:
        """Hidden states of waves `[b, n, 1]` or convolutional frames `[b, t, c]`.

        A slot shorter than one frame counts as one frame of silence. With a `key` there is the
        noise of training; the first `frozen` layers get no gradient.
        """
        if x_btd.shape[2] == self.conv_width:
            assert isinstance(self.encoder, SpeechBackbone)
            valid_bt = jnp.arange(x_btd.shape[1]) < jnp.maximum(length_b, 1)[:, None]
            return self.encoder.encoded(x_btd, valid_bt, compute, remat, key, frozen)
        short = max(0, self.shortest - x_btd.shape[1])
        wave_bn = jnp.pad(x_btd[:, :, 0], ((0, 0), (0, short)))
        samples_b = jnp.maximum(length_b, self.shortest)
        if isinstance(self.encoder, WhisperEncoder):
            return self.encoder(wave_bn, samples_b, compute, remat, key, frozen)
        wave_bn = normalised(wave_bn, samples_b) if self.normalise else wave_bn
        frames = self.encoder.convolutions(wave_bn, samples_b, compute)
        return self.encoder.encoded(*frames, compute, remat, key, frozen)


def encoder_flops(folder: Path, frames: float, wave: bool, window: Window = "real") -> float:
    """Operations of an encoder on an utterance of so many frames, forward; of a `wave` its
    convolutions' too, and of Whisper's full window all its frames.
    """
    if read_settings(folder).get("model_type") == "whisper":
        whisper = whisper_config.read_config(folder)
        frames = whisper.positions if window == "full" else frames
        return _layers_flops(whisper.layers, whisper.hidden, whisper.feedforward, frames)
    config = speech_config.read_config(folder)
    total = _layers_flops(config.layers, config.hidden, config.feedforward, frames)
    widths = (1, *config.conv_dim)
    rate = 1
    for place in reversed(range(len(config.conv_dim))):
        taps, before, after = config.conv_kernel[place], widths[place], widths[place + 1]
        total += wave * 2 * taps * before * after * rate * frames
        rate *= config.conv_stride[place]
    return total


def _layers_flops(layers: int, hidden: int, feedforward: int, frames: float) -> float:
    products = 8 * hidden**2 + 4 * hidden * feedforward
    return layers * frames * (products + 4 * hidden * frames)
