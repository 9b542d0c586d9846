"""Log-mel energies, `[t, bands]`: one frame each hop, the same numbers whatever the rest of the corpus holds."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.config.features import LogMelConfig

LOWEST, HIGHEST = 20.0, RATE / 2
FLOOR = 1e-10
_CHUNK = 4096


class LogMel:
    """ln(max(mel energy, 1e-10)) of Hann windows of a full-scale ±1 waveform; no padding, so no frame sees silence that is not there."""

    name = "logmel"
    reads: Literal["audio"] = "audio"
    parallel = True
    packages: tuple[str, ...] = ("numpy",)

    def __init__(self, config: LogMelConfig) -> None:
        self.config, self.width = config, config.bands
        self._window = round(config.window_ms * RATE / 1000)
        self._hop = round(config.hop_ms * RATE / 1000)
        # Eight bins a band leave no low triangle without a bin.
        self._size = 1 << (max(self._window, 8 * config.bands) - 1).bit_length()
        self._hann = (
            0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self._window) / self._window)
        ).astype(np.float32)
        self._filters = mel_filters(config.bands, self._size)

    def identity(self) -> dict[str, object]:
        """The settings."""
        return {**self.config.model_dump(mode="json"), "version": 1}

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log energies `[t, bands]`; t = 1 + (samples − window) // hop, at least 1 (a shorter waveform is padded with zeros)."""
        return [self._one(wave_n) for wave_n in inputs]

    def _one(self, wave_n: np.ndarray) -> np.ndarray:
        wave_n = np.pad(wave_n, (0, max(0, self._window - len(wave_n))))
        windows_tn = np.lib.stride_tricks.sliding_window_view(wave_n, self._window)[:: self._hop]
        # In pieces: the spectra of an hour of speech would fill the memory.
        return np.concatenate(
            [
                self._energies(windows_tn[start : start + _CHUNK])
                for start in range(0, len(windows_tn), _CHUNK)
            ]
        )

    def _energies(self, windows_tn: np.ndarray) -> np.ndarray:
        spectrum_tf = np.fft.rfft(windows_tn * self._hann, self._size)
        power_tf = spectrum_tf.real**2 + spectrum_tf.imag**2
        # float64 and rows one by one in einsum: a matrix product may round a frame by how many frames stand beside it.
        energy_td = np.einsum("tf,fd->td", power_tf, self._filters)
        return np.log(np.maximum(energy_td, FLOOR)).astype(np.float32)


def mel_filters(bands: int, size: int) -> np.ndarray:
    """Triangles `[size // 2 + 1, bands]`, peak 1, evenly spaced on the HTK mel scale from 20 Hz to 8 kHz."""
    mels = np.linspace(_mel(LOWEST), _mel(HIGHEST), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.arange(size // 2 + 1)[:, None] * RATE / size
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))
