"""Synthesised speech: pitch, loudness and tempo follow the emotion."""

import numpy as np
from speech_statistics import pitch_of

from medusa_jax.corpus.labels import CLASSES
from medusa_jax.synthetic.prosody import Voice, prosody
from medusa_jax.synthetic.voice import speak


def test_emotions_move_pitch_loudness_and_tempo_as_in_the_literature() -> None:
    measured = {
        name: np.mean([described(name, seed) for seed in range(12)], axis=0)
        for name in ("angry", "sad", "neutral")
    }
    angry, sad, neutral = measured["angry"], measured["sad"], measured["neutral"]
    assert angry[0] > 1.15 * sad[0], "pitch"
    assert angry[1] > sad[1] + 3, "decibels"
    assert angry[2] < 0.9 * sad[2], "seconds"
    assert sad[1] < neutral[1] < angry[1]


def described(emotion: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    voice = Voice.draw("Female" if seed % 2 else "Male", rng)
    wave_n = speak(
        "We went to the station, and that is how it works.",
        voice,
        prosody(np.eye(8)[CLASSES.index(emotion)], voice, rng),
        rng,
    )
    return np.array(
        [np.median(pitch_of(wave_n)), 10 * np.log10(np.mean(wave_n**2)), len(wave_n) / 16_000]
    )
