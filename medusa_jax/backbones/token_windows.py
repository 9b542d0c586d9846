"""A text as tokens, in windows of a model's length."""

from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Piece


class TokenWindows:
    """Cuts texts into windows of at most `longest` tokens, or of fewer if the tokenizer says so."""

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self._tokenizer = tokenizer
        self.longest = min(longest, int(tokenizer.model_max_length))

    def pieces(self, text: str) -> list[Piece]:
        """Split the text into windows of the model's length, each with its special tokens.

        The special tokens are not kept as frames. A text without tokens gives no piece.
        """
        encoded = self._tokenizer(
            text, return_special_tokens_mask=True, truncation=False, verbose=False
        )
        ids, special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
        if all(special):
            return []
        first, last = special.index(0), len(special) - special[::-1].index(0)
        before, content, after = ids[:first], ids[first:last], ids[last:]
        room = self.longest - len(before) - len(after)
        pieces = []
        for start in range(0, len(content), room):
            window = np.array(before + content[start : start + room] + after, np.int64)
            keep = slice(len(before), len(window) - len(after))
            pieces.append(Piece(window, len(window), keep, len(window)))
        return pieces
