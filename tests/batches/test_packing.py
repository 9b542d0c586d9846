"""Dialogues packed into rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medusa_jax.batches.packing import dealt, packed, shared_out


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(0, 3))
def test_every_dialogue_is_in_one_row_that_it_fits_in(turns, seed):
    turns = np.array(turns)
    order = np.random.default_rng(seed).permutation(len(turns))
    rows = packed(order, turns, 30)
    assert sorted(np.concatenate(rows)) == list(range(len(turns)))
    filled = [turns[row].sum() for row in rows]
    assert max(filled) <= 30
    # of best-fit decreasing: at most 11/9 of the fewest possible, and 6/9 of a row
    assert len(rows) <= 11 / 9 * np.ceil(turns.sum() / 30) + 6 / 9 or min(turns) > 10
    again = packed(np.arange(len(turns)), turns, 30)
    assert sorted(filled) == sorted(turns[row].sum() for row in again)


def test_only_the_given_units_are_packed():
    rows = packed(np.array([3, 1]), np.array([9, 2, 9, 3]), 9)
    assert rows == [[3, 1]]


def test_little_is_left_empty_at_the_sizes_of_iemocap_and_meld():
    rng = np.random.default_rng(0)
    for count, mean, deviation, longest in ((120, 48, 18, 112), (1038, 9.6, 5.5, 24)):
        turns = np.clip(rng.normal(mean, deviation, count).round(), 1, longest).astype(int)
        rows = packed(np.arange(count), turns, longest)
        assert turns.sum() / (len(rows) * longest) > 0.95


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((53, 120, 32), (4, 14)),  # rows, dialogues, batch size: steps, rows of a batch
        ((10, 14, 4), (3, 4)),
        ((416, 1038, 100), (10, 42)),
        ((64, 128, 32), (4, 16)),
        ((1, 1, 32), (1, 1)),
        ((5, 5, 100), (1, 5)),
        ((0, 0, 4), (1, 1)),
    ],
)
def test_steps_and_rows_of_a_batch(given, wanted):
    assert shared_out(*given) == wanted


def test_rows_are_dealt_once_each():
    rows = [[0, 1], [2], [3]]
    found = dealt(rows, 5, np.random.default_rng(0))
    assert sorted(found) == [[], [], [0, 1], [2], [3]]
    assert found != dealt(rows, 5, np.random.default_rng(1))
