"""Frames in 8 bits: whole numbers from -127 to 127 and, for every feature of every utterance, the step they count.

The steps are an utterance's own, so that no number depends on its neighbours. Legend: `t` frame, `d` feature.
"""

from typing import NamedTuple

import numpy as np

STEPS = 127


class Quantised(NamedTuple):
    """`codes_td` int8, `scale_d` float32."""

    codes_td: np.ndarray
    scale_d: np.ndarray

    def decoded(self) -> np.ndarray:
        """Frames `[t, d]`, float16: within half a step of what was given, and half a unit of float16's last place."""
        return np.multiply(self.codes_td, self.scale_d, dtype=np.float32).astype(np.float16)


def quantise(x_td: np.ndarray) -> Quantised:
    """The nearest codes; symmetric, the step a 127th of the largest absolute value, so that nothing is cut. Zero stays zero."""
    scale_d = (np.abs(x_td).max(axis=0) / STEPS).astype("<f4")
    steps_d = np.where(
        scale_d > 0, scale_d, np.float32(1)
    )  # a feature that is zero throughout, or smaller than float32 can tell from it
    codes_td = np.clip(np.rint(x_td / steps_d), -STEPS, STEPS).astype(np.int8)
    return Quantised(codes_td, scale_d)
