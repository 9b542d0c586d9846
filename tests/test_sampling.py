"""Which utterances make an epoch: balanced, new each time, alike in length, and a function of (seed, epoch) alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medusa_jax.errors import TrainingError
from medusa_jax.training.sampling import WINDOW, balanced_subset, epoch_batches

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
    often = np.bincount(np.concatenate([subset(epoch) for epoch in range(300)]), minlength=len(LABELS))[LABELS == 0] / 300
    assert often.mean() == pytest.approx(20 / 120)
    assert np.abs(often - 20 / 120).max() < 5 * np.sqrt(1 / 6 * 5 / 6 / 300), "some utterances are favoured"


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


@given(count=st.integers(1, 400), batch=st.integers(1, 40), seed=st.integers(0, 99), epoch=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_batches_are_a_permutation_less_the_remainder(count, batch, seed, epoch):
    positions = np.random.default_rng(count).choice(1000, count, replace=False)
    costs = np.random.default_rng(1).integers(1, 500, 1000)
    batches = epoch_batches(positions, costs, batch, seed, epoch)
    size = min(batch, count)
    assert batches.shape == (count // size, size)
    assert len(set(batches.ravel().tolist())) == batches.size, "an utterance stands twice in an epoch"
    assert set(batches.ravel().tolist()) <= set(positions.tolist())
    np.testing.assert_array_equal(batches, epoch_batches(positions, costs, batch, seed, epoch))


def test_the_remainder_changes_from_epoch_to_epoch():
    positions, costs = np.arange(19), np.arange(19)
    left_out = [frozenset(set(range(19)) - set(epoch_batches(positions, costs, 8, 0, epoch).ravel().tolist())) for epoch in range(20)]
    assert all(len(left) == 3 for left in left_out)
    assert len(set(left_out)) > 15
    assert set().union(*left_out) == set(range(19)), "an utterance is never left out, so another one is more often"


def test_other_seeds_and_epochs_have_other_orders():
    positions, costs = np.arange(64), np.ones(64, int)
    orders = {epoch_batches(positions, costs, 8, seed, epoch).tobytes() for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def padding(batches, costs):
    """Share of padding if every batch is padded to its longest."""
    return 1 - costs[batches].sum() / (costs[batches].max(axis=1) * batches.shape[1]).sum()


def test_batches_are_alike_in_length():
    rng = np.random.default_rng(3)
    costs = rng.integers(100, 550, 4000)
    batches = epoch_batches(np.arange(4000), costs, 16, 0, 0)
    random = rng.permutation(4000).reshape(-1, 16)
    assert padding(random, costs) > 0.3
    assert padding(batches, costs) < 0.1


def test_short_and_long_batches_come_in_any_order():
    costs = np.random.default_rng(3).integers(100, 550, 16 * WINDOW * 4)
    means = costs[epoch_batches(np.arange(len(costs)), costs, 16, 0, 0)].mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5
    assert (np.diff(means[:WINDOW]) < 0).any()
