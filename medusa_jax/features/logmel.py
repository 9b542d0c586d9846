"""Log-mel energies `[t, bands]`, one frame per hop, without statistics of the corpus."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.config.features import LogMelConfig

LOWEST, HIGHEST = 20.0, RATE / 2
FLOOR = 1e-10
_CHUNK = 4096


class LogMel:
    """ln(max(mel energy, 1e-10)) of Hann windows of a full-scale ±1 waveform, without padding."""

    name = "logmel"
    reads: Literal["audio"] = "audio"
    parallel = True
    packages: tuple[str, ...] = ("numpy",)

    def __init__(self, config: LogMelConfig) -> None:
        self.config, self.width = config, config.bands
        self._window = round(config.window_ms * RATE / 1000)
        self._hop = round(config.hop_ms * RATE / 1000)
        # With eight bins per band, no low triangle lacks a bin.
        self._size = 1 << (max(self._window, 8 * config.bands) - 1).bit_length()
        self._hann = (
            0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self._window) / self._window)
        ).astype(np.float32)
        self._filters = mel_filters(config.bands, self._size)

    def identity(self) -> dict[str, object]:
        """Return the settings."""
        return {**self.config.model_dump(mode="json"), "version": 1}

    def prepare(self) -> None:
        """Load nothing."""

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return log energies `[t, bands]` of each waveform.

        t = 1 + (samples − window) // hop, and at least 1: a shorter waveform is padded with zeros.
        """
        return [self._one(wave_n) for wave_n in inputs]

    def _one(self, wave_n: np.ndarray) -> np.ndarray:
        wave_n = np.pad(wave_n, (0, max(0, self._window - len(wave_n))))
        windows_tn = np.lib.stride_tricks.sliding_window_view(wave_n, self._window)[:: self._hop]
        # In chunks: the spectra of an hour of speech would fill the memory.
        starts = range(0, len(windows_tn), _CHUNK)
        return np.concatenate(
            [self._energies(windows_tn[start : start + _CHUNK]) for start in starts]
        )

    def _energies(self, windows_tn: np.ndarray) -> np.ndarray:
        spectrum_tf = np.fft.rfft(windows_tn * self._hann, self._size)
        power_tf = spectrum_tf.real**2 + spectrum_tf.imag**2
        # einsum in float64, row by row: a matrix product may round a frame differently depending
        # on the number of frames.
        energy_td = np.einsum("tf,fd->td", power_tf, self._filters)
        return np.log(np.maximum(energy_td, FLOOR)).astype(np.float32)


def mel_filters(bands: int, size: int) -> np.ndarray:
    """Return triangles `[size // 2 + 1, bands]`, peak 1, even on the HTK mel scale to 8 kHz."""
    mels = np.linspace(_mel(LOWEST), _mel(HIGHEST), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.arange(size // 2 + 1)[:, None] * RATE / size
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))
