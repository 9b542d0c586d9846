"""WavLM, HuBERT and wav2vec 2.0 as encoders of `features.flax_runner`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Grid, Piece, in_rows
from medusa_jax.backbones.speech_weights import load_speech
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.flax_runner import rung_of

_SHORTEST = 50  # frames


class SpeechEncoder:
    """Waveforms, cut into chunks where they are long."""

    def __init__(self, folder: Path, feeder: Any, config: HuggingFaceConfig) -> None:
        self.model = load_speech(folder)
        self._feeder, self._seconds = feeder, (config.chunk_seconds, config.overlap_seconds)
        shape = self.model.config
        self._grid = Grid.of(shape.conv_kernel, shape.conv_stride)

    def pieces(self, wave_n: np.ndarray) -> list[Piece]:
        """The utterance as the model expects it, in chunks: see `Grid.pieces`."""
        return self._grid.pieces(wave_n, self._feeder, *self._seconds)

    def rung(self, piece: Piece) -> int:
        """The next of few lengths from a second on."""
        return rung_of(piece.frames, _SHORTEST)

    def arrays(self, pieces: Sequence[Piece], rung: int, rows: int) -> tuple[np.ndarray, ...]:
        """Waves `[b, n]` and their samples `[b]`; rows without a piece have those of one frame."""
        samples, field = (rung - 1) * self._grid.stride + self._grid.field, self._grid.field
        return in_rows([piece.values for piece in pieces], rows, samples, least=field)
