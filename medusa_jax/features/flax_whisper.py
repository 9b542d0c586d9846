"""Whisper's encoder as an encoder of `features.flax_runner`."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medusa_jax.audio.chunks import Piece, cut, in_rows
from medusa_jax.backbones.whisper_config import FRAME
from medusa_jax.backbones.whisper_weights import load_encoder
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.flax_runner import rung_of

_SHORTEST = 50  # frames
_SHARES = (8, 4, 2)  # of the full window: it is encoded whole, but its silence is not fetched


class WhisperEncoder:
    """Waveforms, in windows of 30 s where they are longer."""

    def __init__(self, folder: Path, config: HuggingFaceConfig) -> None:
        self.model = load_encoder(folder, config.window)
        self._positions = self.model.config.positions
        self._full = config.window == "full"

    def pieces(self, wave_n: np.ndarray) -> list[Piece]:
        """Windows of the waveform; only the frames of each one's real length are kept."""
        size = self._positions if self._full else None
        return cut(wave_n, self.model.config.window, FRAME, size)

    def rung(self, piece: Piece) -> int:
        """The next of few lengths: shares of the window, or from a second on."""
        if not self._full:
            return min(rung_of(piece.frames, _SHORTEST), self._positions)
        lengths = [math.ceil(self._positions / share) for share in _SHARES]
        return next((rung for rung in lengths if piece.frames <= rung), self._positions)

    def arrays(self, pieces: Sequence[Piece], rung: int, rows: int) -> tuple[np.ndarray, ...]:
        """Waves `[b, n]` and their samples `[b]`; rows without a piece are a frame of silence."""
        return in_rows([piece.values for piece in pieces], rows, rung * FRAME, least=FRAME)
