"""The samples of an utterance as frames of one feature, for encoders that are trained on them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from medusa_jax.audio.chunks import check_length
from medusa_jax.config.features import WaveformConfig

SHORTEST = 400
"""Samples: a frame of wav2vec 2.0, HuBERT and WavLM."""


class Waveform:
    """Mono audio at 16 kHz, full scale ±1, unchanged."""

    name = "waveform"
    width = 1
    reads: Literal["audio"] = "audio"
    parallel = True
    packages: tuple[str, ...] = ("numpy",)

    def __init__(self, config: WaveformConfig) -> None:
        self.config = config

    def identity(self) -> dict[str, object]:
        """Return the settings."""
        return {**self.config.model_dump(mode="json"), "version": 1}

    def prepare(self) -> None:
        """Load nothing."""

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return samples `[n, 1]`. Raises `AudioError` for audio shorter than a frame."""
        return [self._one(wave_n) for wave_n in inputs]

    def _one(self, wave_n: np.ndarray) -> np.ndarray:
        check_length(wave_n, SHORTEST)
        return np.asarray(wave_n, np.float32)[:, None]
