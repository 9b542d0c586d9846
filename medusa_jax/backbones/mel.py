"""Whisper's log-mel energies as matrix products, so that waveform and encoder are one program.

The transform is a product with cosines and sines, always of float32 and never rounded: energies of
a frame span eight powers of ten.

Legend: `b` utterance, `n` sample, `t` energies' frame (10 ms), `k` sample of half a frame,
`f` frequency, `d` band.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from medusa_jax.backbones.whisper_config import FFT, HOP, RATE

_FREQUENCIES = FFT // 2 + 1
_EDGE = FFT // 2  # samples by which the first frame reaches beyond the wave
_STEP = 80  # divides both FFT and HOP
_FLOOR, _RANGE = 1e-10, 8.0
# Slaney's scale: linear to 1000 Hz, logarithmic above
_LINEAR, _BREAK, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def log_mel(
    wave_bn: Float[Array, "b n"], bands: int, *, reflect: bool
) -> Float[Array, "b t {bands}"]:
    """Energies of waves whose n is a multiple of the hop; t = n / 160.

    Each is relative to the loudest of its wave, of which zeros are no part. A wave goes on behind
    its end as its mirror image (`reflect`), or as silence.
    """
    power_btf = _power(_frames(wave_bn, reflect))
    mel_btd = _exact("btf,fd->btd", power_btf, mel_filters(bands))
    log_btd = jnp.log10(jnp.maximum(mel_btd, _FLOOR))
    loudest_b11 = log_btd.max(axis=(1, 2), keepdims=True)
    return (jnp.maximum(log_btd, loudest_b11 - _RANGE) + 4) / 4


def _frames(wave_bn: Array, reflect: bool) -> Array:
    """Overlapping frames `[b, t, FFT]`, the first centred on the first sample."""
    beyond = FFT - HOP - _EDGE
    before_bn = wave_bn[:, _EDGE:0:-1]
    after_bn = wave_bn[:, -2 : -2 - beyond : -1]
    after_bn = after_bn if reflect else jnp.zeros_like(after_bn)
    whole_bn = jnp.concatenate([before_bn, wave_bn, after_bn], axis=1)
    steps = whole_bn.reshape(len(wave_bn), -1, _STEP)
    count, jump = wave_bn.shape[1] // HOP, HOP // _STEP
    parts = [steps[:, i : i + (count - 1) * jump + 1 : jump] for i in range(FFT // _STEP)]
    return jnp.concatenate(parts, axis=2)


def _power(frames_btn: Array) -> Array:
    """The squared magnitudes `[b, t, f]` of the windowed frames' spectrum.

    Cosines are even about a frame's middle and sines odd, so sums and differences of its halves
    need half of the products, and round less. The Hann window leaves nothing of the first sample.
    """
    half = FFT // 2
    first_btk, second_btk = frames_btn[..., 1 : half + 1], frames_btn[..., : half - 1 : -1]
    cosine_kf, sine_kf = _waves()
    real_btf = _exact("btk,kf->btf", first_btk + second_btk, cosine_kf)
    imaginary_btf = _exact("btk,kf->btf", first_btk - second_btk, sine_kf)
    return real_btf**2 + imaginary_btf**2


def _exact(equation: str, a: Array, b: np.ndarray) -> Array:
    """A product of float32 that no GPU rounds to TF32."""
    return jnp.einsum(equation, a, b, precision=jax.lax.Precision.HIGHEST)


@cache
def _waves() -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines `[k, f]` of half a frame, under a periodic Hann window."""
    k = np.arange(1, FFT // 2 + 1)
    angle_kf = 2 * np.pi * (np.outer(k, np.arange(_FREQUENCIES)) % FFT) / FFT
    hann_k = 0.5 - 0.5 * np.cos(2 * np.pi * k / FFT)
    hann_k[-1] /= 2  # the middle is in both halves
    cosine_kf, sine_kf = np.cos(angle_kf) * hann_k[:, None], np.sin(angle_kf) * hann_k[:, None]
    return cosine_kf.astype(np.float32), sine_kf.astype(np.float32)


@cache
def mel_filters(bands: int) -> np.ndarray:
    """Slaney's triangles `[f, d]`, each of area 1, even on his mel scale from 0 to 8 kHz."""
    edges = _hertz(np.linspace(0, _mel(RATE / 2), bands + 2))
    bins = np.linspace(0, RATE / 2, _FREQUENCIES)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rise, fall)) * 2 / (edges[2:] - edges[:-2])
    return filters.astype(np.float32)


def _mel(hertz: float) -> float:
    """The mel of a frequency above `_BREAK`."""
    return float(_BREAK / _LINEAR + np.log(hertz / _BREAK) / _LOG_STEP)


def _hertz(mel: np.ndarray) -> np.ndarray:
    above = _BREAK * np.exp(_LOG_STEP * (mel - _BREAK / _LINEAR))
    return np.where(mel < _BREAK / _LINEAR, mel * _LINEAR, above)
