"""Windows of a stream of samples, whatever pieces it comes in."""

from typing import NamedTuple

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.errors import ConfigError

SHORTEST = 0.1
"""Seconds of a window at least, so that an extractor has something to read."""


class Window(NamedTuple):
    """Samples `[n]` at 16 kHz from `start` seconds on."""

    start: float
    wave_n: np.ndarray

    @property
    def end(self) -> float:
        """In seconds."""
        return self.start + len(self.wave_n) / RATE


class Windows:
    """Cuts windows of `length` seconds every `hop` seconds.

    A last, shorter window covers what the others leave.
    """

    def __init__(self, length: float, hop: float) -> None:
        if not (length >= SHORTEST and SHORTEST <= hop <= length):
            raise ConfigError(
                f"windows of {length:g} s every {hop:g} s leave gaps or are shorter than "
                f"{SHORTEST:g} s",
                where="windows",
                hint="give length/hop in seconds, the hop at most as long: 6/3",
            )
        self.length, self.hop = round(length * RATE), round(hop * RATE)
        self._first = self._covered = 0  # samples before what is kept, and within a window
        self._kept = np.zeros(0, np.float32)

    def feed(self, chunk_n: np.ndarray) -> list[Window]:
        """The windows that are complete with these samples."""
        self._kept = np.concatenate([self._kept, chunk_n])
        found = []
        while len(self._kept) >= self.length:
            found.append(self._cut(self.length))
        return found

    def end(self) -> list[Window]:
        """The last window, if samples are in none yet; fewer than `SHORTEST` are left out unless
        they are all.
        """
        left = self._first + len(self._kept) > self._covered
        enough = len(self._kept) >= SHORTEST * RATE or not self._covered
        return [self._cut(len(self._kept))] if left and enough else []

    def _cut(self, length: int) -> Window:
        found = Window(self._first / RATE, self._kept[:length].copy())
        self._covered = self._first + length
        self._kept, self._first = self._kept[self.hop :], self._first + self.hop
        return found
