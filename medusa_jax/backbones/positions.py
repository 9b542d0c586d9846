"""Where a frame stands: the positional convolution of wav2vec 2.0, and WavLM's relative positions.

Legend: `b` utterance, `t` query frame, `s` key frame, `h` hidden, `n` head, `e` width of a head,
`k` tap, `i` channel of a group.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from medusa_jax.backbones.speech_config import SpeechConfig
from medusa_jax.backbones.waveform import gelu
from medusa_jax.layers.matmul import summed

_GATE = 8  # outputs of the gate's projection, summed four and four


class PositionalConvolution(nnx.Module):
    """A grouped convolution over time whose weights are `g · v / ‖v‖`, with a g for each tap."""

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        k, h, groups = config.position_kernel, config.hidden, config.position_groups
        bound = math.sqrt(4 / (k * h))
        v_kih = bound * jax.random.normal(rngs.params(), (k, h // groups, h))
        self.v = nnx.Param(v_kih)
        self.g = nnx.Param(jnp.sqrt((v_kih**2).sum(axis=(1, 2))))
        self.bias = nnx.Param(jnp.zeros(h))
        self.groups = groups

    def __call__(self, x_bth: Float[Array, "b t h"], compute: DTypeLike) -> Float[Array, "b t h"]:
        """The part that is added to each frame."""
        v_kih = self.v[...]
        norm_k = jnp.sqrt((v_kih**2).sum(axis=(1, 2)))
        w_kih = v_kih * (self.g[...] / norm_k)[:, None, None]
        y_bth = grouped(x_bth, w_kih, self.groups, compute)
        return gelu(y_bth + self.bias[...])


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def grouped(
    x_bth: Float[Array, "b t h"], w_kih: Float[Array, "k i h"], groups: int, compute: DTypeLike
) -> Float[Array, "b t h"]:
    """A grouped convolution that keeps the length: of an even number of taps the last output is
    dropped.

    XLA's own gradient of the weights takes more than ten times as long on a CPU as one product a
    tap, which is taken here.
    """
    taps = len(w_kih)
    return jax.lax.conv_general_dilated(
        x_bth.astype(compute),
        w_kih.astype(compute),
        window_strides=(1,),
        padding=[(taps // 2, taps // 2 - (taps % 2 == 0))],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
        preferred_element_type=jnp.float32,
    )


def _grouped_forward(
    x_bth: Array, w_kih: Array, groups: int, compute: DTypeLike
) -> tuple[Array, tuple[Array, Array]]:
    x_bth, w_kih = x_bth.astype(compute), w_kih.astype(compute)
    return grouped(x_bth, w_kih, groups, compute), (x_bth, w_kih)


def _grouped_backward(
    groups: int, compute: DTypeLike, saved: tuple[Array, Array], g_bth: Array
) -> tuple[Array, Array]:
    x_bth, w_kih = saved
    (b, t, h), taps = x_bth.shape, len(w_kih)
    g_bth = g_bth.astype(compute)
    # the convolution from outputs to inputs: taps reversed, and each group's widths exchanged
    own_kigo = w_kih.reshape(taps, -1, groups, h // groups)
    back_kogi = own_kigo[::-1].transpose(0, 3, 2, 1).reshape(taps, h // groups, h)
    before = taps // 2 - (taps % 2 == 0)
    dx_bth = jax.lax.conv_general_dilated(
        g_bth,
        back_kogi,
        window_strides=(1,),
        padding=[(before, taps // 2)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
        preferred_element_type=jnp.float32,
    )
    padded_bsh = jnp.pad(x_bth, ((0, 0), (taps // 2, before), (0, 0)))
    g_btgo = g_bth.reshape(b, t, groups, -1)

    def of_tap(k: Array) -> Array:
        x_btgi = jax.lax.dynamic_slice_in_dim(padded_bsh, k, t, axis=1).reshape(g_btgo.shape)
        return summed("btgi,btgo->igo", x_btgi, g_btgo)

    dw_kigo = jax.lax.map(of_tap, jnp.arange(taps))
    return dx_bth, dw_kigo.reshape(w_kih.shape)


grouped.defvjp(_grouped_forward, _grouped_backward)


def bucket_of(distance: Int[np.ndarray, " d"], buckets: int, farthest: int) -> np.ndarray:
    """WavLM's bucket of a key's distance from its query: half for each sign, exact when near,
    logarithmic beyond.
    """
    half = buckets // 2
    exact, away = half // 2, np.abs(distance)
    grown = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(exact))
    far = exact + grown / np.float32(math.log(farthest / exact)) * np.float32(half - exact)
    near = np.where(away < exact, away, np.minimum(far.astype(np.int64), half - 1))
    return np.asarray(near + (distance > 0) * half)


class RelativeBias(nnx.Module):
    """WavLM's bias on attention by distance, one table for all layers."""

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        table = 0.02 * jax.random.normal(rngs.params(), (config.buckets, config.heads))
        self.table = nnx.Param(table)
        self.buckets, self.farthest = config.buckets, config.farthest

    def __call__(self, frames: int) -> Float[Array, "n t t"]:
        """The bias of every head; 2t − 1 distances are looked up."""
        distance = np.arange(-frames + 1, frames)
        by_distance = self.table[...][bucket_of(distance, self.buckets, self.farthest)]
        place_ts = np.arange(frames)[None, :] - np.arange(frames)[:, None] + frames - 1
        return by_distance[place_ts].transpose(2, 0, 1)


class Gate(nnx.Module):
    """How strongly each query of a layer takes the relative bias."""

    def __init__(self, config: SpeechConfig, *, rngs: nnx.Rngs) -> None:
        self.project = nnx.Linear(config.hidden // config.heads, _GATE, rngs=rngs)
        self.constant = nnx.Param(jnp.ones(config.heads))

    def __call__(self, x_bnte: Float[Array, "b n t e"]) -> Float[Array, "b n t 1"]:
        """From the attention's input by heads, in float32."""
        parts = self.project(x_bnte)
        a_b = jax.nn.sigmoid(parts.reshape(*parts.shape[:-1], 2, _GATE // 2).sum(axis=-1))
        a, b = a_b[..., :1], a_b[..., 1:]
        return a * (b * self.constant[...][:, None, None] - 1) + 2
