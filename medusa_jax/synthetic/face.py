"""Face-like action units of the generated conversations: intensities in time.

Emotions move the units as the prototypes of EMFACS (Friesen & Ekman 1983), simplified; sizes and
noise are assumptions. The mouth moves with speech, so that a smile or a drop of the jaw is hard
to tell from a loud vowel, and every speaker has a resting face.

Legend: `t` frame of 100 ms, `u` action unit, `n` sample.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from medusa_jax.audio.decode import RATE

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""Numbers of the action units, the 17 that OpenFace rates."""
FRAMES_A_SECOND = 10
HIGHEST = 5.0
_PROTOTYPES = {
    "angry": {4: 2.6, 5: 1.2, 7: 1.8, 23: 1.8},
    "sad": {1: 1.9, 4: 1.1, 15: 1.7, 17: 0.9},
    "happy": {6: 2.1, 12: 2.8, 25: 0.5},
    "surprise": {1: 1.5, 2: 2.1, 5: 1.8, 26: 1.3},
    "disgust": {9: 2.4, 10: 1.9, 15: 0.6, 17: 0.8},
    "neutral": {},
}
_SPEECH = {10: 0.3, 20: 0.6, 25: 2.2, 26: 1.6}
"""Rise of the mouth's units at the loudest moment of an utterance."""
_BLINK = 45
_BLINKS_A_SECOND = 0.3
_NOISE, _MEMORY = 0.35, 0.8
"""Standard deviation of the tracker's noise, and its correlation from frame to frame."""
_OFFSET = 0.25
"""Standard deviation of a unit's offset from one utterance to the next."""


@dataclass(frozen=True)
class Face:
    """A speaker: intensities at rest `[u]` and a factor on expressions."""

    rest_u: np.ndarray
    expressiveness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Face":
        """A random speaker."""
        return cls(rng.gamma(1.2, 0.3, len(UNITS)), float(np.exp(rng.normal(0, 0.25))))


def action_units(
    emotion: str, strength: float, face: Face, wave_n: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Intensities `[t, u]`, float32, 0 to 5, ten frames a second, while `face` says `wave_n`.

    `strength` is the size of the expression of `emotion`, 1 for the prototype.
    """
    loudness_t = _loudness(wave_n)
    shape = len(loudness_t), len(UNITS)
    expression_tu = _course(len(loudness_t), rng)[:, None] * _row(_PROTOTYPES[emotion])
    offset_u = rng.normal(0, _OFFSET, len(UNITS))
    noise_tu = rng.normal(0, _NOISE * np.sqrt(1 - _MEMORY**2), shape)
    moved_tu = (
        face.rest_u
        + offset_u
        + face.expressiveness * strength * expression_tu
        + loudness_t[:, None] * _row(_SPEECH)
        + lfilter([1.0], [1.0, -_MEMORY], noise_tu, axis=0)
    )
    blinks_t = rng.random(len(loudness_t)) < _BLINKS_A_SECOND / FRAMES_A_SECOND
    moved_tu[:, UNITS.index(_BLINK)] += 3.0 * blinks_t
    return np.clip(moved_tu, 0, HIGHEST).astype(np.float32)


def _row(sizes: dict[int, float]) -> np.ndarray:
    return np.array([sizes.get(unit, 0.0) for unit in UNITS])


def _loudness(wave_n: np.ndarray) -> np.ndarray:
    """Root mean square of each frame over that of the loudest, `[t]`."""
    hop = RATE // FRAMES_A_SECOND
    frames = max(1, len(wave_n) // hop)
    padded_n = np.pad(wave_n, (0, max(0, hop - len(wave_n))))[: frames * hop]
    level_t = np.sqrt(np.mean(np.square(padded_n.reshape(frames, hop)), axis=1))
    return level_t / max(float(level_t.max()), 1e-9)


def _course(frames: int, rng: np.random.Generator) -> np.ndarray:
    """An expression in time `[t]`: it rises to 1 within half a second, stays, and may fade."""
    place_t = np.arange(frames) / FRAMES_A_SECOND
    onset, length = rng.uniform(-0.5, 0.25), frames / FRAMES_A_SECOND
    fades_at = length * rng.uniform(0.6, 1.4)
    rise_t = np.clip((place_t - onset) / 0.5, 0, 1)
    return rise_t * (1 - 0.7 * np.clip((place_t - fades_at) / 0.5, 0, 1))
