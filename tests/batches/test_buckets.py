"""The padded shapes: everyone fits, there are few, and nearly the least is computed in vain."""

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medusa_jax.batches.buckets import ROUND, ladder_of, rungs_of


def speech(count, seed=0):
    """Lengths `[n, 3]` much like MSP-Podcast's: 2.75 to 11 seconds at 50 frames a second, twice,
    and about 3.5 words a second.
    """
    rng = np.random.default_rng(seed)
    seconds = np.clip(2 + rng.gamma(4, 1.2, count), 2.75, 11)
    frames = (50 * seconds).astype(int)
    words = np.maximum(1, 3.5 * seconds * rng.normal(1, 0.25, count)).astype(int)
    return np.stack([frames, frames - rng.integers(0, 2, count), words], axis=1)


def computed(lengths, ladder):
    return ladder.sum(axis=1)[rungs_of(lengths, ladder)].sum()


@given(
    count=st.integers(1, 60),
    modalities=st.integers(1, 3),
    shapes=st.integers(1, 8),
    longest=st.integers(1, 300),
    seed=st.integers(0, 9),
)
@settings(max_examples=100)
def test_everyone_fits_and_in_no_smaller_rung(count, modalities, shapes, longest, seed):
    lengths = np.random.default_rng(seed).integers(0, longest + 1, (count, modalities))
    ladder, rungs = ladder_of(lengths, shapes)
    assert 1 <= len(ladder) <= shapes
    assert (np.diff(ladder, axis=0) >= 0).all()
    assert ((ladder <= ROUND) | (ladder % ROUND == 0)).all()
    assert (ladder >= 1).all(), "no frame at all is no shape"
    assert (lengths <= ladder[rungs]).all()
    for length, rung in zip(lengths, rungs, strict=True):
        assert not (length <= ladder[:rung]).all(axis=1).any()


@pytest.mark.parametrize("seed", range(6))
def test_one_modality_is_near_the_exhaustive_optimum(seed):
    rng = np.random.default_rng(seed)
    lengths = (20 + 300 * rng.beta(*rng.uniform(0.5, 3, 2), 400)).astype(int)[:, None]
    ladder, _ = ladder_of(lengths, 3)
    possible = np.unique(-(-lengths // ROUND) * ROUND)
    best = min(
        computed(lengths, np.array([*two, possible[-1]])[:, None])
        for two in combinations(possible[:-1], 2)
    )
    assert best <= computed(lengths, ladder) < 1.01 * best
    equal = np.quantile(lengths, [1 / 3, 2 / 3, 1], method="higher")[:, None]
    assert best < computed(lengths, -(-equal // ROUND) * ROUND), (
        "rungs of equal size are not the optimum"
    )


def test_two_modalities_are_near_the_exhaustive_optimum():
    lengths = speech(500)[:, [0, 2]]
    ladder, _ = ladder_of(lengths, 2)
    top = ladder[-1]
    pairs = [(a, b) for a in range(ROUND, top[0], ROUND) for b in range(ROUND, top[1] + 1, ROUND)]
    best = min(computed(lengths, np.array([pair, top])) for pair in pairs)
    assert best <= computed(lengths, ladder) < 1.01 * best


@pytest.mark.parametrize(("shapes", "wanted"), [(1, 0.42), (4, 0.15), (8, 0.095)])
def test_padding_of_speech_with_text(shapes, wanted):
    lengths = speech(84_000)
    began = time.process_time()
    ladder, rungs = ladder_of(lengths, shapes)
    assert time.process_time() - began < 2
    share = 1 - lengths.sum() / ladder[rungs].sum()
    assert wanted - 0.03 < share < wanted


def test_equal_lengths_need_one_shape():
    ladder, rungs = ladder_of(np.full((50, 2), [1, 40]), 8)
    assert ladder.tolist() == [[1, 40]]
    assert not rungs.any()
