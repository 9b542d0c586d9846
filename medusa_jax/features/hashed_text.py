"""Words hashed to vectors: text features that need no download and no vocabulary, the same on every machine."""

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
    """One unit-length frame a word: half of it the whole word, half the character n-grams it shares with its relatives."""

    name = "hashed_text"
    reads: Literal["text"] = "text"
    # Pure Python: threads only wait for each other.
    parallel = False
    packages: tuple[str, ...] = ()

    def __init__(self, config: HashedTextConfig) -> None:
        self.config, self.width = config, config.width
        self._word = lru_cache(maxsize=65536)(self._embed)

    def identity(self) -> dict[str, object]:
        """The settings."""
        return {**self.config.model_dump(mode="json"), "version": 1}

    def prepare(self) -> None:
        """Nothing to load."""

    def __call__(self, inputs: Sequence[str]) -> list[np.ndarray]:
        """Frames `[word, width]`, float32; a transcript without words is one zero frame."""
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
        # Two entries of opposite sign in one place can cancel all of a short word; a zero frame would mean "no words".
        norm = float(np.linalg.norm(vector))
        if norm < 1e-6:
            self._add(vector, f"rest {word}", 1.0)
            norm = float(np.linalg.norm(vector))
        return (vector / norm).astype(np.float32)

    def _add(self, vector: np.ndarray, key: str, weight: float) -> None:
        number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        vector[(number >> 1) % self.width] += weight if number & 1 else -weight


def words_of(text: str) -> list[str]:
    """Words in lower case, `!` and `?` as words of their own; other punctuation and spacing do not count."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def ngrams_of(word: str, shortest: int, longest: int) -> list[str]:
    """Character n-grams of `<word>`; the brackets tell a prefix and a suffix from the middle."""
    marked = f"<{word}>"
    return [
        marked[i : i + n] for n in range(shortest, longest + 1) for i in range(len(marked) - n + 1)
    ]
