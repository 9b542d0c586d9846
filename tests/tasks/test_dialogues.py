"""A dataset of dialogues: its parts, and the way from utterances to dialogues and back."""

import numpy as np
import pytest
from dialogue_task import (
    HELD_OUT,
    TEST,
    dialogue_data,
    dialogue_member,
    dialogue_rows,
    dialogue_stores,
)

from medusa_jax.errors import TrainingError
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.task import Dataset


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return dialogue_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def data(given):
    return dialogue_data(*given, dialogue_member())


def names_of(data, units):
    return {data.examples.names[unit] for unit in units}


def test_it_is_a_dataset_with_parts_apart(data):
    assert isinstance(data, Dataset)
    data.check()
    assert names_of(data, data.held_out) == {f"d{number:02d}" for number in HELD_OUT}
    assert names_of(data, data.watched) == {f"d{number:02d}" for number in TEST}
    parts = [*data.fit, *data.held_out, *data.watched]
    assert len(parts) == len(set(parts)) == len(data)


def test_nothing_is_watched_unless_asked_for(given):
    silent = dialogue_member(conversation={"test_scores": False})
    assert len(dialogue_data(*given, silent).watched) == 0


def test_an_epoch_holds_each_training_dialogue_once(data):
    """Packed anew each epoch, as batches of one shape; the same when asked again."""
    own, orders = data.examples, []
    for when in ((0, 0), (0, 1), (1, 0), (0, 0)):
        plan = data.plan(*when)
        batches = [data.batch(rows, when=when) for rows in plan]
        shapes = {batch.mask.shape for batch in batches}
        assert shapes == {(data.size, own.longest)}
        orders.append(np.concatenate([batch.order[batch.mask > 0] for batch in batches]))
        seen = np.concatenate([data.names(rows, when) for rows in plan])
        assert sorted(seen) == sorted(f"dialogue {name}" for name in names_of(data, data.fit))
        assert sum(batch.mask.sum() for batch in batches) == own.lengths[data.fit].sum()
        assert sum(batch.first.sum() for batch in batches) == len(data.fit)
    same = [np.array_equal(orders[0], other) for other in orders[1:]]
    assert same == [False, False, True]


def test_dialogues_of_a_row_stand_one_behind_the_other(data):
    when, own = (0, 3), data.examples
    (rows, *_) = data.plan(*when)
    batch, part = data.batch(rows, when=when), data.batch(rows, slice(1, 3), when)
    np.testing.assert_array_equal(part.soft, batch.soft[1:3])
    for b in range(len(rows)):
        dialogues = [int(name.split("d")[-1]) for name in data.names(rows[b : b + 1], when)]
        turns = [own.turns[own.names.index(f"d{number:02d}")] for number in dialogues]
        starts = np.cumsum([0, *map(len, turns)])
        assert np.flatnonzero(batch.first[b]).tolist() == starts[:-1].tolist()
        assert batch.mask[b].sum() == starts[-1]
        for turn, start in zip(turns, starts, strict=False):
            got = batch.streams["words"][b, start : start + len(turn)]
            np.testing.assert_array_equal(got, own.vectors[0][0][turn])


def test_predictions_come_back_by_utterance(data):
    """In any order, of any part: the number of its dialogue and of its turn, for each utterance."""
    rows = np.random.default_rng(1).permutation(len(data.examples.corpus))[:40]
    units = data.units(rows)
    found = np.zeros((len(units), data.examples.longest, 2))
    found[..., 0] = units[:, None]
    found[..., 1] = np.arange(data.examples.longest)
    got = data.by_utterance({"place": found}, rows)["place"]
    for (unit, turn), row in zip(got.astype(int), rows, strict=True):
        assert data.examples.turns[unit][turn] == row


def test_labels_are_those_of_the_given_utterances(data):
    corpus = data.examples.corpus
    labels_nu = data.labels(data.held_out, data.held_rows)
    assert labels_nu.shape == (len(HELD_OUT), data.examples.longest)
    found = np.sort(labels_nu[labels_nu >= 0])
    held = corpus.labels[data.held_rows]
    np.testing.assert_array_equal(found, np.sort(held[held >= 0]))
    assert (data.labels(data.fit, data.held_rows) == -1).all()


def test_a_digest_follows_the_parts(given, data):
    fit, held = dialogue_rows(given[0])
    other = Dialogues(data.examples, fit[:-3], held, held[:0], 4, 0)
    same = Dialogues(data.examples, fit, held, held[:0], 8, 9)
    assert other.digest != data.digest == same.digest


@pytest.mark.parametrize("part", ["held_rows", "fit_rows"])
def test_parts_without_labels_are_refused(data, part):
    unlabelled = np.flatnonzero(data.examples.corpus.labels < 0)
    rows = {"held_rows": data.held_rows, "fit_rows": data.fit_rows}
    rows[part] = unlabelled if part == "held_rows" else unlabelled[:0]
    broken = Dialogues(data.examples, rows["fit_rows"], rows["held_rows"], data.watched_rows, 4, 0)
    with pytest.raises(TrainingError, match=r"consensus class|no training dialogue"):
        broken.check()
