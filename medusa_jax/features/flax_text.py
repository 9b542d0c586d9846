"""BERT, RoBERTa and ModernBERT as encoders of `features.flax_runner`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from medusa_jax.audio.chunks import Piece, in_rows
from medusa_jax.backbones.text_weights import load_text
from medusa_jax.backbones.token_windows import TokenWindows
from medusa_jax.errors import FeatureError
from medusa_jax.features.flax_runner import rung_of

_SHORTEST = 16  # tokens


class TextEncoder:
    """Texts, cut into windows where they are long; a frame for each token but the special ones."""

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        model = load_text(folder)
        self.model: nnx.Module = model
        self._shape = model.config
        self._windows = TokenWindows(tokenizer, self._shape.longest)

    def pieces(self, text: str) -> list[Piece]:
        """The text in windows: see `TokenWindows.pieces`.

        Raises `FeatureError` for a token that the model has no embedding of.
        """
        pieces = self._windows.pieces(text)
        largest = max((int(piece.values.max()) for piece in pieces), default=0)
        if largest >= self._shape.vocabulary:
            raise FeatureError(
                f"the tokenizer gives token {largest}, the model has {self._shape.vocabulary}",
                hint="give a folder whose tokenizer and weights are of one model",
            )
        return pieces

    def rung(self, piece: Piece) -> int:
        """The next of few lengths, the longest of which is the model's."""
        return min(rung_of(piece.frames, _SHORTEST), self._windows.longest)

    def arrays(self, pieces: Sequence[Piece], rung: int, rows: int) -> tuple[np.ndarray, ...]:
        """Tokens `[b, t]` and their number `[b]`; rows without a piece are of one token."""
        texts = [piece.values.astype(np.int32) for piece in pieces]
        return in_rows(texts, rows, rung, self._shape.filler, least=1)
