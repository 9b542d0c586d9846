"""Effects of emotion and speaker on a voice, as settings of the synthesiser.

Emotions are points in arousal, valence and dominance (`AFFECT`, after Russell & Mehrabian 1977,
rounded; disgust and contempt in their cold forms). These move the voice as the literature on
vocal expression reports (Scherer 2003; Juslin & Laukka 2003): arousal raises pitch, pitch range,
loudness and tempo and flattens the spectral tilt; valence has little effect; dominance lowers
pitch and raises loudness. Some effects belong to one emotion (`_OWN`): the rising end of
surprise, the tremor of fear, the drawl of contempt. All sizes are assumptions, set so that the
classes overlap as much as for a listener.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medusa_jax.corpus.labels import CLASSES

AFFECT = np.array(
    [
        [0.65, -0.55, 0.35],
        [-0.45, -0.6, -0.35],
        [0.45, 0.8, 0.35],
        [0.65, 0.25, -0.15],
        [0.55, -0.65, -0.5],
        [0.05, -0.6, 0.1],
        [-0.15, -0.3, 0.35],
        [-0.15, 0.05, 0.0],
    ]
)
"""Arousal, valence, dominance on −1 to 1 of each class of `CLASSES`."""

FIELDS = (
    "pitch",
    "range",
    "loudness",
    "tempo",
    "tilt",
    "jitter",
    "shimmer",
    "breath",
    "tremor",
    "ending",
    "pauses",
    "smile",
)
"""Units: semitones; log factor; dB; log factor; dB per octave; share of a period; share of the
amplitude; share of noise; semitones; semitones; probability of a pause at a comma; log factor on
the formants."""
_CORRELATES = np.array(
    [
        [4.2, 0.35, 6.5, 0.16, 2.6, 0.004, 0.015, -0.05, 0.0, 0.3, -0.15, 0.0],
        [0.3, 0.12, 0.3, 0.02, 0.0, -0.004, -0.01, 0.0, 0.0, 0.3, 0.0, 0.025],
        [-0.8, 0.05, 2.0, 0.01, 0.8, -0.002, 0.0, -0.04, -0.05, -0.4, -0.03, 0.0],
    ]
)
_OWN = {
    "angry": {"shimmer": 0.05, "tilt": 0.8, "ending": -1.2},
    "sad": {"breath": 0.10, "ending": -1.2, "pauses": 0.15, "range": -0.15},
    "happy": {"smile": 0.05, "range": 0.15, "ending": 0.6},
    "surprise": {"ending": 5.0, "range": 0.3, "pitch": 1.0},
    "fear": {"tremor": 0.55, "jitter": 0.010, "breath": 0.12, "tempo": 0.06},
    "disgust": {"jitter": 0.014, "shimmer": 0.07, "tempo": -0.14, "pitch": -1.5},
    "contempt": {"tempo": -0.20, "pitch": -1.6, "ending": -2.0, "smile": -0.02},
    "neutral": {"range": -0.12},
}
_USUAL = np.array([0.0, 0.0, 0.0, 0.0, -3.0, 0.010, 0.05, 0.12, 0.08, -1.0, 0.25, 0.0])
_SCATTER = np.array([1.3, 0.16, 2.2, 0.08, 0.9, 0.004, 0.02, 0.04, 0.10, 1.2, 0.12, 0.012])
"""Standard deviation of each field between utterances of the same emotion."""
_MOOD_SCATTER = np.array([0.24, 0.20, 0.20])
"""Standard deviation of arousal, valence and dominance within an emotion."""
_LOWEST = np.array([-9.0, -1.0, -14.0, -0.4, -7.0, 0.002, 0.01, 0.02, 0.0, -5.0, 0.0, -0.08])
_HIGHEST = np.array([11.0, 0.9, 14.0, 0.4, 2.5, 0.04, 0.22, 0.5, 1.4, 7.0, 0.8, 0.1])

_STRENGTH = 1.6
"""Set so that acoustic statistics reach a Macro-F1 of about .35 on test3 (chance: .125)."""

Gender = Literal["Female", "Male"]


@dataclass(frozen=True)
class Voice:
    """A speaker: pitch in Hz, factor on formants, expressiveness, offsets to `FIELDS`."""

    gender: Gender
    pitch_hz: float
    tract: float
    expressiveness: float
    habits: np.ndarray

    @classmethod
    def draw(cls, gender: Gender, rng: np.random.Generator) -> "Voice":
        """A random speaker of this gender."""
        middle, tract = (200.0, 1.15) if gender == "Female" else (118.0, 1.0)
        pitch = middle * 2 ** (float(np.clip(rng.normal(0, 2.0), -4, 4)) / 12)
        tract *= float(np.exp(rng.normal(0, 0.04)))
        expressiveness = float(np.exp(rng.normal(0, 0.2)))
        return cls(gender, pitch, tract, expressiveness, rng.normal(0, 0.7, len(FIELDS)) * _SCATTER)


def affect_of(heard_bc: np.ndarray) -> np.ndarray:
    """True arousal, valence, dominance on 1–7, `[b, 3]`, of the emotion mixtures `heard_bc`."""
    return 4 + 3 * np.clip(1.15 * heard_bc @ AFFECT, -1, 1)


def prosody(heard_c: np.ndarray, voice: Voice, rng: np.random.Generator) -> dict[str, float]:
    """A number for each of `FIELDS`: the delivery of the emotion mixture `heard_c` by `voice`."""
    own_cf = np.array([[_OWN[name].get(field, 0.0) for field in FIELDS] for name in CLASSES])
    affect_a = heard_c @ AFFECT + rng.normal(0, _MOOD_SCATTER)
    moved_f = affect_a @ _CORRELATES + heard_c @ own_cf
    values_f = (
        _USUAL
        + voice.habits
        + voice.expressiveness * _STRENGTH * moved_f
        + rng.normal(0, 1, len(FIELDS)) * _SCATTER
    )
    return dict(zip(FIELDS, np.clip(values_f, _LOWEST, _HIGHEST).tolist(), strict=True))
