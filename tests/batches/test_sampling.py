"""Which utterances make an epoch: balanced, new each time, alike in length, and a function of
(seed, stage, epoch) alone.
"""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medusa_jax.batches.sampling import balanced_subset, epoch_batches, every_batch
from medusa_jax.errors import TrainingError

CLASSES = ("angry", "sad", "happy")
LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, -1], [120, 20, 60, 40]))


def subset(epoch=0, seed=1, no_consensus=False):
    return balanced_subset(LABELS, CLASSES, seed, epoch, no_consensus)


def test_every_class_has_as_many_as_the_smallest():
    for epoch in range(5):
        chosen = subset(epoch)
        assert np.bincount(LABELS[chosen], minlength=3).tolist() == [20, 20, 20]
        assert len(set(chosen.tolist())) == 60, "drawn twice"


def test_every_epoch_draws_a_new_subset():
    drawn = [frozenset(subset(epoch).tolist()) for epoch in range(10)]
    assert len(set(drawn)) == 10
    rare = set(np.flatnonzero(LABELS == 1).tolist())
    assert all(rare <= one for one in drawn), "the smallest class is always there in full"
    often = (
        np.bincount(np.concatenate([subset(epoch) for epoch in range(300)]), minlength=len(LABELS))[
            LABELS == 0
        ]
        / 300
    )
    assert often.mean() == pytest.approx(20 / 120)
    assert np.abs(often - 20 / 120).max() < 5 * np.sqrt(1 / 6 * 5 / 6 / 300), (
        "some utterances are favoured"
    )


def test_a_subset_is_a_function_of_seed_and_epoch():
    np.random.default_rng().random(3)
    np.testing.assert_array_equal(subset(epoch=7), subset(epoch=7))
    assert set(subset(seed=1)) != set(subset(seed=2))


def test_no_consensus_adds_as_many_as_one_class_has():
    chosen = subset(no_consensus=True)
    assert [(LABELS[chosen] == c).sum() for c in (-1, 0, 1, 2)] == [20] * 4
    assert set(subset(0, no_consensus=True)) != set(subset(1, no_consensus=True))


@pytest.mark.parametrize(("without", "wanted"), [(0, 0), (3, 3), (99, 5)])
def test_no_consensus_takes_what_there_is(without, wanted):
    labels = np.concatenate([np.repeat([0, 1, 2], 5), np.full(without, -1)])
    chosen = balanced_subset(labels, CLASSES, 0, 0, no_consensus=True)
    assert (labels[chosen] == -1).sum() == wanted
    assert (labels[chosen] >= 0).sum() == 15


@pytest.mark.parametrize("labels", [[0, 0, 1, -1], [], [-1, -1]])
def test_a_class_without_utterances_is_an_error_that_names_it(labels):
    with pytest.raises(TrainingError, match="'happy'" if labels[:1] == [0] else "'angry'"):
        balanced_subset(np.array(labels, int), CLASSES, 0, 0)


@given(
    count=st.integers(1, 400),
    batch=st.integers(1, 40),
    rungs=st.integers(1, 6),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 99),
)
@example(count=1, batch=2, rungs=1, seed=0, epoch=0)
@settings(max_examples=100)
def test_batches_are_a_permutation_less_the_remainder(count, batch, rungs, seed, epoch):
    positions = np.random.default_rng(count).choice(1000, count, replace=False)
    rung_n = np.random.default_rng(1).integers(0, rungs, 1000)
    batches = epoch_batches(positions, rung_n, batch, seed, 1, epoch)
    size = min(batch, count)
    assert batches.shape == (count // size, size)
    assert len(set(batches.ravel().tolist())) == batches.size, (
        "an utterance stands twice in an epoch"
    )
    assert set(batches.ravel().tolist()) <= set(positions.tolist())
    np.testing.assert_array_equal(batches, epoch_batches(positions, rung_n, batch, seed, 1, epoch))
    mixed = (rung_n[batches].min(axis=1) < rung_n[batches].max(axis=1)).sum()
    assert mixed < rungs, "more than the leftovers of a rung went up"


@pytest.mark.parametrize("batch", [8, 5])
def test_chance_alone_leaves_utterances_out(batch):
    """However long or short: the rungs have 3, 9 and 7 utterances, so their own remainders would
    always hit the same ones.
    """
    count, epochs, rungs = 19, 4000, np.repeat([0, 1, 2], [3, 9, 7])
    drawn = [
        epoch_batches(np.arange(count), rungs, batch, 0, 1, epoch).ravel()
        for epoch in range(epochs)
    ]
    often, left = np.bincount(np.concatenate(drawn), minlength=count) / epochs, count % batch
    assert often.mean() == pytest.approx(1 - left / count)
    assert np.abs(often - often.mean()).max() < 4.5 * np.sqrt(
        often.mean() * (1 - often.mean()) / epochs
    )
    assert len({frozenset(one.tolist()) for one in drawn}) > 100


def test_other_seeds_stages_and_epochs_have_other_orders():
    positions, rungs = np.arange(64), np.zeros(64, int)
    orders = {epoch_batches(positions, rungs, 8, *clock).tobytes() for clock in np.ndindex(5, 3, 5)}
    assert len(orders) == 75


def together(batches):
    """All pairs that share a batch."""
    return {
        tuple(sorted((a, b)))
        for row in batches.tolist()
        for i, a in enumerate(row)
        for b in row[:i]
    }


def test_who_shares_a_batch_changes_from_epoch_to_epoch():
    """By chance alone: a rung of 500 has 15 of 499 others in a batch of 16."""
    rungs = np.repeat([0, 1], 500)
    first, second = (
        together(epoch_batches(np.arange(1000), rungs, 16, 0, 1, epoch)) for epoch in (0, 1)
    )
    assert len(first & second) / len(first) == pytest.approx(15 / 499, rel=0.2)


def test_short_and_long_batches_come_in_any_order():
    rungs = np.repeat(np.arange(8), 200)
    means = rungs[epoch_batches(np.arange(1600), rungs, 16, 0, 1, 0)].mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_an_epoch_of_msp_podcast_is_planned_in_no_time():
    rungs = np.random.default_rng(0).integers(0, 8, 84_000)
    began = time.process_time()
    assert epoch_batches(np.arange(84_000), rungs, 16, 0, 1, 0).shape == (5250, 16)
    assert time.process_time() - began < 0.5


@given(count=st.integers(1, 200), batch=st.integers(1, 40))
@example(count=1, batch=2)
@settings(max_examples=50)
def test_every_batch_holds_everyone_and_repeats_one(count, batch):
    positions = np.random.default_rng(count).choice(1000, count, replace=False)
    rungs = np.random.default_rng(1).integers(0, 4, 1000)
    batches = every_batch(positions, rungs, batch)
    assert batches.shape == (-(-count // batch), batch)
    held = batches.ravel().tolist()
    assert set(held) == set(positions.tolist())
    assert {i for i in held if held.count(i) > 1} <= {positions[0]}
    assert (np.diff(rungs[batches].max(axis=1)) >= 0).all(), "short to long"
