"""Hash words to vectors: text features without a download or a vocabulary."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from medusa_jax.config.features import HashedTextConfig

_WORD = re.compile(r"\w+(?:['’]\w+)*|[!?]")


class HashedText:
    """One unit-length frame per word: half from the word, half from its character n-grams."""

    name = "hashed_text"
    reads: Literal["text"] = "text"
    # Pure Python: threads would only wait for the GIL.
    parallel = False
    packages: tuple[str, ...] = ()

    def __init__(self, config: HashedTextConfig) -> None:
        self.config, self.width = config, config.width
        self._word = lru_cache(maxsize=65536)(self._embed)

    def identity(self) -> dict[str, object]:
        """Return the settings."""
        return {**self.config.model_dump(mode="json"), "version": 1}

    def prepare(self) -> None:
        """Load nothing."""

    def __call__(self, inputs: Sequence[str]) -> list[np.ndarray]:
        """Return frames `[word, width]`, float32; one zero frame for a transcript without words."""
        return [self._one(text) for text in inputs]

    def _one(self, text: str) -> np.ndarray:
        words = words_of(text)
        if not words:
            return np.zeros((1, self.width), np.float32)
        return np.stack([self._word(word) for word in words])

    def _embed(self, word: str) -> np.ndarray:
        grams = ngrams_of(word, *self.config.ngrams)
        vector = np.zeros(self.width)
        self._add(vector, f"word {word}", 1.0)
        for gram in grams:
            self._add(vector, f"gram {gram}", len(grams) ** -0.5)
        # Entries of opposite sign may cancel all of a short word, but a zero frame means
        # "no words".
        norm = float(np.linalg.norm(vector))
        if norm < 1e-6:
            self._add(vector, f"rest {word}", 1.0)
            norm = float(np.linalg.norm(vector))
        return (vector / norm).astype(np.float32)

    def _add(self, vector: np.ndarray, key: str, weight: float) -> None:
        number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        vector[(number >> 1) % self.width] += weight if number & 1 else -weight


def words_of(text: str) -> list[str]:
    """Split into lower-case words; `!` and `?` are words, other punctuation is dropped."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def ngrams_of(word: str, shortest: int, longest: int) -> list[str]:
    """Return the character n-grams of `<word>`; the brackets mark prefix and suffix."""
    marked = f"<{word}>"
    grams = []
    for n in range(shortest, longest + 1):
        grams += [marked[i : i + n] for i in range(len(marked) - n + 1)]
    return grams
