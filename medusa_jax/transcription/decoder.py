"""The interface of a Whisper model that is ready to transcribe."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.errors import MedusaError

WINDOW = 30 * RATE
"""Samples in Whisper's window of 30 s."""


BATCH_SECONDS = {"cpu": 120.0, "cuda": 720.0}
"""Audio in a batch by default, each window counted as 30 s."""


class Decoder(Protocol):
    """Waveforms in, words out; a result never depends on the other waveforms."""

    window: int
    """Longest waveform, in samples."""

    def __call__(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """Return the words of each waveform `[n]`, n ≤ `window`, or the error that prevented it."""
        ...
