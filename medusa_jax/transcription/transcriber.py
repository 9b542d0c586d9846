"""Whisper as an extractor whose frames are the bytes of a text.

So `extract` makes, shares, resumes and checks transcripts as it does features, and
`medusa_jax.transcription.transcripts` reads them.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import MedusaError
from medusa_jax.hub.catalogue import short_name
from medusa_jax.transcription import faster_whisper
from medusa_jax.transcription.decoder import WINDOW, Decoder
from medusa_jax.transcription.source import Source

_SEARCH, _STEP = 5 * RATE, RATE // 10
# Settings that change the place and the speed of the work, not the words.
_OUTSIDE = {"model", "revision", "offline", "device", "batch_seconds", "backend"}


class Transcriber:
    """An extractor: waveforms in, one line of UTF-8 `[t, 1]` out, the newline included.

    Audio longer than the model's window is transcribed window by window.
    """

    width = 1
    parallel = False
    reads: Literal["audio"] = "audio"

    def __init__(self, config: TranscriptionConfig) -> None:
        self.config = config
        self._source = (
            faster_whisper.Source(config) if config.backend == "faster-whisper" else Source(config)
        )
        self.packages: tuple[str, ...] = self._source.packages
        self.name = re.sub(r"[^A-Za-z0-9_.-]", "-", short_name(config.model))

    def identity(self) -> dict[str, object]:
        """Return the settings, the library, the model's name and commit, and its files' digests."""
        settings = self.config.model_dump(mode="json", exclude=_OUTSIDE)
        return {
            "extractor": "transcription",
            **settings,
            "version": 1,
            "model": self.name,
            **self._source.identity(),
        }

    def prepare(self) -> None:
        """Load the model. Raises `DependencyError` or `FeatureError` if that fails."""
        _ = self._decoder

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray | MedusaError]:
        """Return the words of each waveform, `[byte, 1]` uint8."""
        parts = [windows(wave_n, self._decoder.window) for wave_n in inputs]
        texts = iter(self._decoder([wave_n for some in parts for wave_n in some]))
        return [_joined([next(texts) for _ in some]) for some in parts]

    @cached_property
    def _decoder(self) -> Decoder:
        if isinstance(self._source, faster_whisper.Source):
            return faster_whisper.FasterWhisperDecoder(self._source)
        if self._source.backend == "flax":
            from medusa_jax.transcription.flax_whisper import FlaxDecoder

            return FlaxDecoder(self._source)
        from medusa_jax.transcription.whisper import WhisperDecoder

        return WhisperDecoder(self._source)


def _joined(texts: list[str | MedusaError]) -> np.ndarray | MedusaError:
    """Join the windows' words, or return the first error among them."""
    for text in texts:
        if isinstance(text, MedusaError):
            return text
    words = " ".join(" ".join(str(text).split()) for text in texts).strip()
    return np.frombuffer(f"{words}\n".encode(), np.uint8)[:, None]


def windows(wave_n: np.ndarray, window: int = WINDOW) -> list[np.ndarray]:
    """Split `wave_n` into parts of at most `window` samples.

    Each cut is at the quietest place of the last sixth of its window, so that no word is split.
    """
    parts = []
    while len(wave_n) > window:
        cut = _quietest(wave_n, window)
        parts.append(wave_n[:cut])
        wave_n = wave_n[cut:]
    return [*parts, wave_n]


def _quietest(wave_n: np.ndarray, window: int) -> int:
    """Return the sample to cut at: the middle of the quietest step near the window's end."""
    search = min(_SEARCH, window // 6)
    if search < _STEP:
        return window
    steps = wave_n[window - search : window][: search // _STEP * _STEP].reshape(-1, _STEP)
    quietest = int(np.square(steps).sum(axis=1).argmin())
    return window - search + quietest * _STEP + _STEP // 2
