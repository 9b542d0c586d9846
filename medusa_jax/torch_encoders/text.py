"""RoBERTa, ModernBERT, BERT and similar: one frame per token, special tokens excluded."""

from collections.abc import Sequence
from typing import Any

from medusa_jax.audio.chunks import Piece, padded
from medusa_jax.backbones.token_windows import TokenWindows
from medusa_jax.torch_encoders.device import Placement
from medusa_jax.torch_encoders.hidden_states import HiddenStates


class TextEncoder:
    """Pieces of tokens in, hidden states out."""

    alike = False

    def __init__(
        self, model: Any, tokenizer: Any, states: HiddenStates, placement: Placement
    ) -> None:
        self._model, self._states, self._placement = model, states, placement
        self._filler = int(getattr(model.config, "pad_token_id", None) or 0)
        self.pieces = TokenWindows(tokenizer, _positions(model)).pieces

    def forward(self, pieces: Sequence[Piece]) -> Any:
        """Return combined hidden states `[b, t, width]`, float32, on the device."""
        ids_bt = self._placement.tensor(padded([piece.values for piece in pieces], self._filler))
        mask_bt = self._placement.mask([piece.frames for piece in pieces])
        mask_bt = mask_bt if mask_bt is None else mask_bt.long()
        return self._states.combined(
            lambda: self._model(input_ids=ids_bt, attention_mask=mask_bt).last_hidden_state
        )


def _positions(model: Any) -> int:
    """Return the number of positions; RoBERTa starts counting at padding_idx + 1."""
    embeddings = getattr(model, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return int(model.config.max_position_embeddings) - (0 if padding is None else padding + 1)
