"""Level of each channel of a file, accumulated while decoding, and the warnings that follow.

`n` sample, `c` channel.
"""

import numpy as np

SILENT_DB = -70.0
"""Root mean square re full scale below which a file is `silent`.

RAVDESS has intelligible speech at −64 dB.
"""
CLIPPED = 1e-3
"""Share of a channel's samples at full scale above which a file is `clipped`."""
OUT_OF_RANGE = 2.0
"""Peak of floating-point samples from which a file is `out_of_range`.

Decoders of lossy formats overshoot, but not to twice full scale.
"""
DC_OFFSET = 0.02
"""Mean, relative to full scale or a larger peak, above which a file has a `dc_offset`."""
VERY_SHORT = 0.1
"""Seconds below which an utterance is `very_short`."""
CANCELLED = 0.02
"""Power of the channels' mean below which they cancel each other: −17 dB.

Relative to the power that the mean of unrelated channels would have.
"""


class Level:
    """Power, peak and full-scale samples of the channels of a file, and the power of their mean."""

    def __init__(self, channels: int, subtype: str) -> None:
        self.frames = 0
        self.peak = 0.0
        # The largest positive sample of 8 bits is 127/128.
        self._full = 127 / 128 if subtype in ("PCM_U8", "PCM_S8") else 32767 / 32768
        self._power_c, self._clipped_c = np.zeros(channels), np.zeros(channels, np.int64)
        self._power = self._sum = 0.0

    def add(self, block_nc: np.ndarray, mono_n: np.ndarray) -> None:
        """Add a block of samples and its mono mix."""
        size_nc = np.abs(block_nc)
        self.frames += len(block_nc)
        self.peak = float(np.maximum(self.peak, size_nc.max()))  # NaN stays
        self._clipped_c += (size_nc >= self._full).sum(axis=0)
        self._power_c += np.einsum("nc,nc->c", size_nc, size_nc, dtype=np.float64)
        self._power += float(np.einsum("n,n->", mono_n, mono_n, dtype=np.float64))
        self._sum += float(mono_n.sum(dtype=np.float64))

    @property
    def cancels(self) -> bool:
        """True if the channels cancel in their mean, as with one reversed cable of a pair."""
        return len(self._power_c) > 1 and self._power < CANCELLED * self._power_c.mean() / len(
            self._power_c
        )

    @property
    def loudest(self) -> int:
        """The channel with the most power."""
        return int(self._power_c.argmax())

    def warnings(self, wave_n: np.ndarray, rate: int, source_rate: int) -> tuple[str, ...]:
        """Names of the warnings for a file at `source_rate` decoded to `wave_n` at `rate`."""
        loudness = float(
            np.sqrt(np.einsum("n,n->", wave_n, wave_n, dtype=np.float64) / len(wave_n))
        )
        found = {
            "silent": loudness < 10 ** (SILENT_DB / 20),
            "clipped": self.peak < OUT_OF_RANGE and self._clipped_c.max() > CLIPPED * self.frames,
            "out_of_range": self.peak >= OUT_OF_RANGE,
            "dc_offset": abs(self._sum) > DC_OFFSET * self.frames * max(1, self.peak),
            "opposite_phase": self.cancels,
            "narrow_band": source_rate < rate,
            "very_short": len(wave_n) < VERY_SHORT * rate,
        }
        return tuple(name for name, holds in found.items() if holds)
