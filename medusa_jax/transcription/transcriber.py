"""Speech → words, by Whisper (spec section 1). To the store a transcriber is an extractor whose frames are a text's bytes.

So transcripts are made, shared out, resumed and checked as features are (`extract`); `Transcripts` reads them.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.catalogue import short_name
from medusa_jax.config.features import TranscriptionConfig
from medusa_jax.errors import MedusaError

WINDOW = 30 * RATE
"""Samples that Whisper hears at once."""
_SEARCH, _STEP = 5 * RATE, RATE // 10
_OUTSIDE = {"model", "revision", "offline", "device", "batch_seconds"}


class Decoder(Protocol):
    """A Whisper model at work."""

    window: int
    """Samples that it takes at once."""

    def __call__(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """The words in each waveform `[n]`, n ≤ `window`, or why there are none; nobody's words depend on the others'."""
        ...


class Transcriber:
    """An extractor: waveforms in, the bytes of one line of UTF-8 `[t, 1]` out, the newline included. Longer audio is heard window by window."""

    width = 1
    parallel = False
    reads: Literal["audio"] = "audio"

    def __init__(self, config: TranscriptionConfig) -> None:
        self.config = config
        if config.backend == "faster-whisper":
            from medusa_jax.transcription import faster_whisper as backend
        else:
            from medusa_jax.transcription import whisper as backend  # type: ignore[no-redef]
        self.packages: tuple[str, ...] = backend.PACKAGES
        self._source = backend.Source(config)
        self.name = re.sub(r"[^A-Za-z0-9_.-]", "-", short_name(config.model))

    def identity(self) -> dict[str, object]:
        """Settings, the model's name and commit where it has one, and the digest of each of its files."""
        settings = self.config.model_dump(mode="json", exclude=_OUTSIDE)
        return {
            "extractor": "transcription",
            **settings,
            "version": 1,
            "model": self.name,
            **self._source.identity(),
        }

    def prepare(self) -> None:
        """Load the model. Raises `DependencyError` for a missing extra, `FeatureError` if it does not load."""
        _ = self._decoder

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray | MedusaError]:
        """Each waveform's words, `[byte, 1]` uint8."""
        parts = [windows(wave_n, self._decoder.window) for wave_n in inputs]
        heard = iter(self._decoder([wave_n for some in parts for wave_n in some]))
        return [_joined([next(heard) for _ in some]) for some in parts]

    @cached_property
    def _decoder(self) -> Any:
        return self._source.decoder()


def _joined(texts: list[str | MedusaError]) -> np.ndarray | MedusaError:
    for text in texts:
        if isinstance(text, MedusaError):
            return text
    words = " ".join(" ".join(str(text).split()) for text in texts).strip()
    return np.frombuffer(f"{words}\n".encode(), np.uint8)[:, None]


def windows(wave_n: np.ndarray, window: int = WINDOW) -> list[np.ndarray]:
    """`wave_n` cut into parts of at most `window` samples, each where the last sixth of its window is quietest, so as to split no word."""
    parts, search = [], min(_SEARCH, window // 6)
    while len(wave_n) > window:
        steps = (
            wave_n[window - search : window][: search // _STEP * _STEP].reshape(-1, _STEP)
            if search >= _STEP
            else None
        )
        quietest = 0 if steps is None else int(np.square(steps).sum(axis=1).argmin())
        cut = window if steps is None else window - search + quietest * _STEP + _STEP // 2
        parts.append(wave_n[:cut])
        wave_n = wave_n[cut:]
    return [*parts, wave_n]
