"""Action units: intensities of the rated range, moved by emotion and by speech."""

import numpy as np
import pytest

from medusa_jax.audio.decode import RATE
from medusa_jax.synthetic.face import UNITS, Face, action_units
from medusa_jax.synthetic.moods import EMOTIONS

SILENCE = np.zeros(4 * RATE, np.float32)


def mean_of(emotion, strength=1.0, wave_n=SILENCE, count=40):
    """Mean intensity by unit over `count` utterances of as many speakers."""
    rng = np.random.default_rng(0)
    frames = [
        action_units(emotion, strength, Face.draw(rng), wave_n, rng).mean(0) for _ in range(count)
    ]
    return dict(zip(UNITS, np.mean(frames, axis=0), strict=True))


def test_ten_frames_a_second_of_seventeen_intensities():
    rng = np.random.default_rng(1)
    for samples in (RATE // 20, RATE, 3 * RATE + 7):
        wave_n = rng.normal(0, 0.1, samples).astype(np.float32)
        frames_tu = action_units("happy", 1.0, Face.draw(rng), wave_n, rng)
        assert frames_tu.shape == (max(1, 10 * samples // RATE), 17)
        assert frames_tu.dtype == np.float32
        assert 0 <= frames_tu.min() <= frames_tu.max() <= 5


@pytest.mark.parametrize(
    ("emotion", "unit"),
    [("happy", 12), ("sad", 15), ("angry", 4), ("surprise", 2), ("disgust", 9)],
)
def test_each_emotion_moves_its_unit_most(emotion, unit):
    others = [mean_of(name)[unit] for name in EMOTIONS if name != emotion]
    strong, weak = mean_of(emotion)[unit], mean_of(emotion, 0.4)[unit]
    assert strong > max(others) + 0.4
    assert strong > weak + 0.3


def test_the_mouth_moves_with_speech_and_the_brow_does_not():
    rng = np.random.default_rng(2)
    syllables_n = np.sin(2 * np.pi * 2 * np.arange(8 * RATE) / RATE) ** 2
    wave_n = (0.3 * syllables_n * rng.normal(0, 1, 8 * RATE)).astype(np.float32)
    level_t = np.abs(wave_n).reshape(-1, RATE // 10).mean(1)
    together = {25: [], 4: []}
    for _ in range(10):
        frames_tu = action_units("neutral", 1.0, Face.draw(rng), wave_n, rng)
        for unit, found in together.items():
            found.append(np.corrcoef(level_t, frames_tu[:, UNITS.index(unit)])[0, 1])
    assert np.mean(together[25]) > 0.6
    assert abs(np.mean(together[4])) < 0.2
    assert mean_of("neutral", wave_n=wave_n)[25] > mean_of("neutral")[25] + 0.4


def test_equal_seeds_give_equal_faces():
    def made(seed):
        rng = np.random.default_rng(seed)
        return action_units("sad", 0.7, Face.draw(rng), SILENCE, rng)

    assert np.array_equal(made(3), made(3))
    assert not np.array_equal(made(3), made(4))
