"""From samples to frames: the convolutions of wav2vec 2.0.

Legend: `b` utterance, `n` sample, `t` frame, `c` channel, `h` hidden.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from medusa_jax.backbones.speech_config import SpeechConfig
from medusa_jax.layers.layer_norm import EPSILON, layer_norm
from medusa_jax.layers.matmul import dense

_WAVE_EPSILON = 1e-7  # of transformers' feature extractor


def gelu(x: Array) -> Array:
    """The exact GELU, by the error function."""
    return jax.nn.gelu(x, approximate=False)


class Convolution(nnx.Module):
    """A convolution without padding, a norm where the model has one, and GELU."""

    def __init__(self, config: SpeechConfig, layer: int, *, rngs: nnx.Rngs) -> None:
        into = config.conv_dim[layer - 1] if layer else 1
        out = config.conv_dim[layer]
        self.conv = nnx.Conv(
            into,
            out,
            kernel_size=config.conv_kernel[layer],
            strides=config.conv_stride[layer],
            padding="VALID",
            use_bias=config.conv_bias,
            rngs=rngs,
        )
        self.stride = config.conv_stride[layer]
        self.over_time = config.grouped and layer == 0
        normed = self.over_time or not config.grouped
        self.norm = layer_norm(out, rngs) if normed else None

    def __call__(
        self, x_bnc: Float[Array, "b n _"], valid_bt: Bool[Array, "b t"], compute: DTypeLike
    ) -> Float[Array, "b t c"]:
        """The next frames; a norm over time is over the valid ones alone."""
        kernel, bias = self.conv.kernel[...], self.conv.bias
        x_btc = jax.lax.conv_general_dilated(
            x_bnc.astype(compute),
            kernel.astype(compute),
            window_strides=(self.stride,),
            padding="VALID",
            dimension_numbers=("NWC", "WIO", "NWC"),
            preferred_element_type=jnp.float32,
        )
        x_btc = x_btc if bias is None else x_btc + bias[...]
        if self.norm is not None:
            x_btc = over_time(self.norm, x_btc, valid_bt) if self.over_time else self.norm(x_btc)
        return gelu(x_btc)


def over_time(
    norm: nnx.LayerNorm, x_btc: Float[Array, "b t c"], valid_bt: Bool[Array, "b t"]
) -> Float[Array, "b t c"]:
    """PyTorch's GroupNorm with a group for each channel, over the valid frames of an utterance."""
    valid_bt1 = valid_bt[:, :, None]
    count_b11 = valid_bt1.sum(axis=1, keepdims=True)
    mean_b1c = jnp.where(valid_bt1, x_btc, 0).sum(axis=1, keepdims=True) / count_b11
    centred_btc = jnp.where(valid_bt1, x_btc - mean_b1c, 0)
    variance_b1c = (centred_btc**2).sum(axis=1, keepdims=True) / count_b11
    unit_btc = centred_btc / jnp.sqrt(variance_b1c + EPSILON)
    assert norm.scale is not None, "published models have a scale and a bias"
    assert norm.bias is not None
    return unit_btc * norm.scale[...] + norm.bias[...]


class Convolutions(nnx.Module):
    """The feature encoder: a frame each 20 ms for 16 kHz."""

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        count = len(config.conv_dim)
        self.stack = nnx.List([Convolution(config, i, rngs=rngs) for i in range(count)])
        self.config = config

    def __call__(
        self, wave_bn: Float[Array, "b n"], samples_b: Int[Array, " b"], compute: DTypeLike
    ) -> tuple[Float[Array, "b t c"], Bool[Array, "b t"]]:
        """Frames and which are valid; those that see padding are none."""
        x_bnc, count_b = wave_bn[:, :, None], samples_b
        valid_bt = jnp.ones(wave_bn.shape, bool)
        shapes = zip(self.config.conv_kernel, self.config.conv_stride, strict=True)
        for conv, (kernel, stride) in zip(self.stack, shapes, strict=True):
            count_b = (count_b - kernel) // stride + 1
            frames = (x_bnc.shape[1] - kernel) // stride + 1
            valid_bt = jnp.arange(frames) < count_b[:, None]
            x_bnc = conv(x_bnc, valid_bt, compute)
        return x_bnc, valid_bt


class Projection(nnx.Module):
    """From the convolutions' width to the layers', behind a norm where the model has one."""

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        width = config.conv_dim[-1]
        self.norm = layer_norm(width, rngs, config.epsilon) if config.project_norm else None
        self.linear = nnx.Linear(width, config.hidden, rngs=rngs)

    def __call__(self, x_btc: Float[Array, "b t c"], compute: DTypeLike) -> Float[Array, "b t h"]:
        """Frames as the layers take them."""
        x_btc = x_btc if self.norm is None else self.norm(x_btc)
        return dense(self.linear, x_btc, compute)


def normalised(wave_bn: Float[Array, "b n"], samples_b: Int[Array, " b"]) -> Float[Array, "b n"]:
    """Waves with mean 0 and variance 1 over their valid samples, zeros behind them: the
    preprocessing of models with `do_normalize`.
    """
    valid_bn = jnp.arange(wave_bn.shape[1]) < samples_b[:, None]
    count_b1 = jnp.maximum(samples_b, 1)[:, None]
    mean_b1 = jnp.where(valid_bn, wave_bn, 0).sum(axis=1, keepdims=True) / count_b1
    centred_bn = jnp.where(valid_bn, wave_bn - mean_b1, 0)
    variance_b1 = (centred_bn**2).sum(axis=1, keepdims=True) / count_b1
    return centred_bn / jnp.sqrt(variance_b1 + _WAVE_EPSILON)
