"""What every extractor is: a waveform or a transcript goes in, frames come out."""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np


class Extractor(Protocol):
    """One way to turn utterances into frames. Deterministic: equal input and `identity` give equal frames."""

    reads: Literal["audio", "text"]
    """`audio`: mono float32 waveforms `[sample]` at 16 kHz; `text`: transcripts."""
    width: int
    """`d`, the number of features of a frame."""

    def identity(self) -> dict[str, object]:
        """Everything that determines the numbers (settings, versions, digests of weights), JSON-serialisable."""
        ...

    def __call__(self, inputs: Sequence[np.ndarray] | Sequence[str]) -> list[np.ndarray]:
        """Frames `[t, d]`, float32, t ≥ 1, one array an input; an utterance's frames never depend on its neighbours.

        Raises `FeatureError` or `AudioError` for an input that cannot give frames (too short, …).
        """
        ...
