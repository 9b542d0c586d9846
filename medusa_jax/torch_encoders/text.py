"""RoBERTa, ModernBERT, BERT and their like: tokens in, one frame a token out, without the special ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Piece, padded
from medusa_jax.torch_encoders.device import Placement
from medusa_jax.torch_encoders.hidden_states import HiddenStates


class TextEncoder:
    """Pieces of tokens in, hidden states out."""

    alike = False

    def __init__(
        self, model: Any, tokenizer: Any, states: HiddenStates, placement: Placement
    ) -> None:
        self._model, self._tokenizer, self._states, self._placement = (
            model,
            tokenizer,
            states,
            placement,
        )
        self._filler = int(getattr(model.config, "pad_token_id", None) or 0)
        # RoBERTa counts positions from padding_idx + 1.
        offset = getattr(
            getattr(getattr(model, "embeddings", None), "position_embeddings", None),
            "padding_idx",
            None,
        )
        positions = int(model.config.max_position_embeddings) - (
            offset + 1 if offset is not None else 0
        )
        self._longest = min(positions, int(tokenizer.model_max_length))

    def pieces(self, text: str) -> list[Piece]:
        """Windows that the model can take, each between the special tokens, which are not kept; none for a text without tokens."""
        encoded = self._tokenizer(
            text, return_special_tokens_mask=True, truncation=False, verbose=False
        )
        ids, special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
        if all(special):
            return []
        first, last = special.index(0), len(special) - special[::-1].index(0)
        before, content, after = ids[:first], ids[first:last], ids[last:]
        room = self._longest - len(before) - len(after)
        made = []
        for start in range(0, len(content), room):
            window = np.array(before + content[start : start + room] + after, np.int64)
            made.append(
                Piece(
                    window, len(window), slice(len(before), len(window) - len(after)), len(window)
                )
            )
        return made

    def forward(self, pieces: Sequence[Piece]) -> Any:
        """Combined hidden states `[b, t, width]`, float32, on the device."""
        ids_bt = self._placement.tensor(padded([piece.values for piece in pieces], self._filler))
        mask_bt = self._placement.mask([piece.frames for piece in pieces])
        mask_bt = mask_bt if mask_bt is None else mask_bt.long()
        return self._states.combined(
            lambda: self._model(input_ids=ids_bt, attention_mask=mask_bt).last_hidden_state
        )
