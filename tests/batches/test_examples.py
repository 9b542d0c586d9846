"""Utterances as arrays: batches hold what the stores and the corpus hold, by name, for every member
that reads them.
"""

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
import pytest
from toy_task import SILENT, WIDTHS, toy_examples, toy_parts

from medusa_jax.batches.examples import gather
from medusa_jax.batches.moments import frame_statistics

FIT, _ = toy_parts()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


def test_a_batch_holds_the_stored_frames_and_zeros_behind_them(examples):
    rows = np.array([3, SILENT, 40, 7])
    batch = examples.batch(rows)
    assert set(batch.inputs) == set(batch.lengths) == set(WIDTHS)
    for name, store in zip(examples.modalities, examples.stores, strict=True):
        x_btd, length_b = batch.inputs[name], batch.lengths[name]
        assert x_btd.dtype == store.dtype
        assert length_b[1] == 0, "the utterance whose extraction failed"
        for x_td, length, identity in zip(
            x_btd, length_b, examples.corpus.frame["id"][rows], strict=True
        ):
            if length:
                np.testing.assert_array_equal(x_td[:length], store[identity])
            assert not x_td[length:].any()


def test_a_batch_holds_both_kinds_of_target(examples):
    batch, labels = examples.batch(np.arange(16)), examples.corpus.labels[:16]
    np.testing.assert_array_equal(batch.soft, np.nan_to_num(examples.corpus.soft[:16]))
    assert (batch.soft[0] > 0).sum() == 3
    assert not batch.one_hot[0].any(), "utterance 0 has no consensus"
    np.testing.assert_array_equal(batch.one_hot.argmax(axis=1)[labels >= 0], labels[labels >= 0])
    assert set(batch.one_hot.sum(axis=1)[labels >= 0]) == {1.0}


def test_a_members_view_has_its_modalities_in_slots(examples):
    whole = examples.batch(FIT[:8])
    turned = whole.of(["letters", "words"])
    assert [x.shape[2] for x in turned.inputs] == [WIDTHS["letters"], WIDTHS["words"]]
    np.testing.assert_array_equal(turned.inputs[0], whole.inputs["letters"])
    np.testing.assert_array_equal(turned.lengths[1], whole.lengths["words"])
    np.testing.assert_array_equal(turned.soft, whole.soft)
    alone = toy_like(examples, ("letters",)).batch(FIT[:8]).of(["letters"])
    np.testing.assert_array_equal(alone.inputs[0], turned.inputs[0])


def test_the_largest_batch_is_known_without_reading_it(examples):
    longest = np.argmax(examples.rungs)
    batch = examples.batch(np.repeat(longest, 16))
    outline = examples.largest_batch(16)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), outline) == jax.tree.map(
        lambda a: (a.shape, a.dtype), batch
    )


def toy_like(examples, modalities):
    """The same examples with some of their modalities."""
    return gather(
        examples.corpus,
        modalities,
        dict(zip(examples.modalities, examples.stores, strict=True)),
        shapes=1,
    )


@pytest.mark.parametrize("modality", WIDTHS)
def test_statistics_are_those_of_all_frames(examples, modality):
    store = examples.stores[examples.modalities.index(modality)]
    frames = np.concatenate(
        [store[identity] for identity in examples.corpus.frame["id"][FIT] if identity in store]
    ).astype(np.float64)
    mean, deviation = frame_statistics(examples, modality, FIT)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, frames.std(axis=0), rtol=1e-5, atol=1e-6)


def test_statistics_of_many_are_those_of_a_sample(examples):
    """The sample is the same whatever the order, spreads over everyone, and is not everyone."""
    mean, _ = frame_statistics(examples, "words", FIT, enough=20)
    np.testing.assert_array_equal(
        mean, frame_statistics(examples, "words", FIT[::-1], enough=20)[0]
    )
    assert 0 < np.abs(mean - frame_statistics(examples, "words", FIT)[0]).max() < 0.2


def test_statistics_of_nobody_are_zero(examples):
    mean, deviation = frame_statistics(examples, "words", np.array([SILENT]))
    assert not mean.any()
    assert not deviation.any()


def test_the_share_of_padding_counts_every_frame(examples):
    rows = np.arange(24).reshape(3, 8)
    batches = [examples.batch(row) for row in rows]
    computed = sum(x.shape[0] * x.shape[1] for batch in batches for x in batch.inputs.values())
    real = sum(length.sum() for batch in batches for length in batch.lengths.values())
    assert examples.padding_share(rows) == pytest.approx(1 - real / computed)


def test_some_rows_of_a_batch_are_those_of_the_whole(examples):
    """What a process reads of a global batch has the global batch's shape."""
    positions = np.random.default_rng(0).permutation(16)
    whole, part = examples.batch(positions), examples.batch(positions, slice(4, 8))
    jax.tree.map(lambda one, all: np.testing.assert_array_equal(one, all[4:8]), part, whole)


CROPS = {"words": 2, "letters": 6}


@pytest.fixture(scope="module")
def cropped(examples):
    stores = dict(zip(examples.modalities, examples.stores, strict=True))
    return gather(examples.corpus, examples.modalities, stores, 2, CROPS)


def test_what_is_longer_than_a_crop_is_cut_at_its_start_in_evaluation(examples, cropped):
    rows = np.argsort(-examples.lengths.sum(axis=1))[:8]
    whole, found = examples.batch(rows), cropped.batch(rows)
    for name, crop in CROPS.items():
        wanted = np.minimum(whole.lengths[name], crop)
        np.testing.assert_array_equal(found.lengths[name], wanted)
        assert wanted.min() < whole.lengths[name].max(), "something is cut"
        for one, all, length in zip(found.inputs[name], whole.inputs[name], wanted, strict=True):
            np.testing.assert_array_equal(one[:length], all[:length])
            assert not one[length:].any()


def test_a_random_part_lies_within_the_utterance_and_follows_from_seed_and_position(
    examples, cropped
):
    rows = np.argsort(-examples.lengths.sum(axis=1))[:8]
    whole, starts = examples.batch(rows), []
    for epoch in range(20):
        seed = (7, 0, epoch)
        found = cropped.batch(rows, seed=seed)
        alone = cropped.batch(rows[[5, 2]], seed=seed)
        for name in CROPS:
            length = min(alone.inputs[name].shape[1], found.inputs[name].shape[1])
            parts = found.inputs[name][[5, 2], :length]
            np.testing.assert_array_equal(alone.inputs[name][:, :length], parts)
        starts.append([_starts(whole, found, row) for row in range(len(rows))])
    longest = whole.lengths["letters"][0]
    drawn = set().union(*(of_row[0]["letters"] for of_row in starts))
    assert drawn == set(range(longest - CROPS["letters"] + 1)), "each start is drawn"
    again = cropped.batch(rows, seed=(7, 0, 3))
    assert [_starts(whole, again, row) for row in range(len(rows))] == starts[3]
    assert any(one != other for one, other in pairwise(starts))


def _starts(whole, part, row):
    """By modality, the places in an utterance where this part of it may have been cut."""
    found = {}
    for name in CROPS:
        length, all = part.lengths[name][row], whole.inputs[name][row, : whole.lengths[name][row]]
        own = part.inputs[name][row, :length]
        places = range(len(all) - length + 1)
        found[name] = {place for place in places if (all[place : place + length] == own).all()}
        assert found[name], "it is a part of the utterance"
    return found


def test_every_modality_is_cut_at_the_same_share_of_the_way(cropped):
    """So that samples and frames of one utterance stay beside each other."""
    spare = cropped.stored - cropped.lengths
    row = int(np.argmax(spare.min(axis=1)))
    assert spare[row].min() > 0
    share = np.random.default_rng([1, 0, 2, row]).random()
    batch = cropped.batch(np.array([row]), seed=(1, 0, 2))
    for k, name in enumerate(cropped.modalities):
        start = round(share * spare[row, k])
        frames = cropped.stores[k][cropped.ids[row]]
        length = batch.lengths[name][0]
        np.testing.assert_array_equal(batch.inputs[name][0, :length], frames[start:][:length])


def test_secondary_emotions_are_shares_of_raters_and_only_there_if_asked_for(examples):
    """Of 4 raters 3 named the first class; where nothing was named, nothing is known."""
    frame = examples.corpus.frame.copy()
    votes = [f"votes_{name}" for name in (*examples.corpus.classes, "other")]
    named = [f"secondary_{name}" for name in (*examples.corpus.classes, "other")]
    frame.loc[[0, 1, 2], votes] = [[2, 1, 0, 1]] * 3
    frame.loc[[0, 1, 2], named] = [[3, 1, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0]]
    corpus = replace(examples.corpus, frame=frame)
    stores = dict(zip(examples.modalities, examples.stores, strict=True))
    made = gather(corpus, examples.modalities, stores, 1, secondary=True)
    wanted = [[0.75, 0.25, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(made.batch(np.arange(3)).secondary, np.float32(wanted))
    longest = np.repeat(np.argmax(made.rungs), 4)
    shapes = [(x.shape, x.dtype) for x in (made.largest_batch(4).secondary,)]
    assert shapes == [(x.shape, x.dtype) for x in (made.batch(longest).secondary,)]
    assert examples.batch(np.arange(3)).secondary is None
    assert examples.largest_batch(3).secondary is None
