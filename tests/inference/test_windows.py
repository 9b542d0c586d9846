"""Windows cover a stream once, whatever pieces it comes in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medusa_jax.audio.decode import RATE
from medusa_jax.errors import ConfigError
from medusa_jax.inference.windows import SHORTEST, Windows


def cut(wave_n, length, hop, places=()):
    windows = Windows(length, hop)
    found = [one for piece in np.split(wave_n, sorted(places)) for one in windows.feed(piece)]
    return [*found, *windows.end()]


@given(
    st.integers(0, 5 * RATE),
    st.sampled_from([(2.0, 1.0), (1.0, 1.0), (0.5, 0.2), (3.0, 0.7)]),
    st.lists(st.integers(0, 5 * RATE), max_size=6),
)
def test_pieces_change_nothing_and_all_is_covered(count, size, places):
    wave_n = np.arange(count, dtype=np.float32)
    whole = cut(wave_n, *size)
    pieces = cut(wave_n, *size, places)
    assert [one.start for one in pieces] == [one.start for one in whole]
    covered = np.zeros(count, bool)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.wave_n, other.wave_n)
        start = round(one.start * RATE)
        np.testing.assert_array_equal(one.wave_n, wave_n[start : start + len(one.wave_n)])
        assert not covered[start : start + len(one.wave_n)].all()
        covered[start : start + len(one.wave_n)] = True
    assert (~covered).sum() < SHORTEST * RATE
    assert all(len(one.wave_n) == size[0] * RATE for one in whole[:-1])


def test_a_recording_shorter_than_a_window_is_one():
    assert [(one.start, one.end) for one in cut(np.zeros(RATE // 20), 2, 1)] == [(0, 0.05)]


@pytest.mark.parametrize("size", [(0, 0), (1, 2), (2, 0), (-1, -1), (0.05, 0.05)])
def test_impossible_windows_are_refused(size):
    with pytest.raises(ConfigError, match="leave gaps or are shorter"):
        Windows(*size)
