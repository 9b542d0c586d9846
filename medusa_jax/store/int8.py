"""Frames in 8 bits: integers from -127 to 127, and a scale per feature of each utterance.

Scales are an utterance's own, so no number depends on its neighbours. Legend: `t` frame,
`d` feature.
"""

from typing import NamedTuple

import numpy as np

STEPS = 127


class Quantised(NamedTuple):
    """`codes_td` int8 and `scale_d` float32; a frame is their product."""

    codes_td: np.ndarray
    scale_d: np.ndarray

    def decoded(self) -> np.ndarray:
        """Return frames `[t, d]`, float16, within half a step of the originals plus rounding."""
        return np.multiply(self.codes_td, self.scale_d, dtype=np.float32).astype(np.float16)


def quantise(x_td: np.ndarray) -> Quantised:
    """Round to the nearest codes, symmetric around zero.

    The scale is a 127th of the largest absolute value, so nothing is clipped. Zero stays zero.
    """
    scale_d = (np.abs(x_td).max(axis=0) / STEPS).astype("<f4")
    # A feature that is zero throughout, or too small for float32, has scale 0.
    steps_d = np.where(scale_d > 0, scale_d, np.float32(1))
    codes_td = np.clip(np.rint(x_td / steps_d), -STEPS, STEPS).astype(np.int8)
    return Quantised(codes_td, scale_d)
