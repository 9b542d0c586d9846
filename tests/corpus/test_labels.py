"""Votes → consensus and soft labels: hand-computed numbers and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medusa_jax.corpus import labels
from medusa_jax.errors import LabelError

VOTES = st.integers(1, 12).flatmap(
    lambda n: hnp.arrays(np.int64, (n, 9), elements=st.integers(0, 6))
)


def votes(**counts: int) -> np.ndarray:
    row = [counts.get(name, 0) for name in (*labels.CLASSES, "other")]
    return np.array([row], np.int64)


def test_the_order_of_classes_is_the_organisers():
    assert "".join(labels.LETTERS) == "ASHUFDCN"
    assert labels.LETTER_OF == {
        "angry": "A", "sad": "S", "happy": "H", "surprise": "U", "fear": "F", "disgust": "D", "contempt": "C", "neutral": "N",
        "other": "O", "no_agreement": "X",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"happy": 3, "neutral": 2}, "happy"),
        ({"happy": 2, "neutral": 2, "sad": 1}, "no_agreement"),
        ({"other": 3, "neutral": 2}, "other"),
        ({"other": 2, "neutral": 2}, "no_agreement"),
        ({"sad": 1}, "sad"),
        ({"other": 1}, "other"),
        ({}, None),
    ],
)
def test_consensus_is_the_plurality(counts, expected):
    assert labels.consensus(votes(**counts), labels.CLASSES).tolist() == [expected]


def test_soft_labels_by_hand():
    primary = np.concatenate([votes(happy=2, neutral=1, other=1), votes(other=4)])
    secondary = np.concatenate([votes(happy=1, sad=2, other=3), votes(fear=1, other=2)])
    h, n, s, f = (labels.CLASSES.index(name) for name in ("happy", "neutral", "sad", "fear"))

    soft = labels.soft_labels(primary, secondary, "primary")
    assert soft[0, [h, n]] == pytest.approx([2 / 3, 1 / 3])
    assert soft.shape == (2, 8)
    assert np.isnan(soft[1]).all()  # only Other: no class target

    soft = labels.soft_labels(primary, secondary, "primary+secondary")
    assert soft[0, [h, n, s]] == pytest.approx([3 / 6, 1 / 6, 2 / 6])
    assert soft[1, f] == 1

    soft = labels.soft_labels(primary, secondary, "with_other")
    assert soft.shape == (2, 9)
    assert soft[0, [h, n, 8]] == pytest.approx([2 / 4, 1 / 4, 1 / 4])
    assert soft[1, 8] == 1


@given(VOTES)
def test_soft_labels_are_distributions_that_ignore_the_order_of_rows(counts):
    for variant in labels.SOFT_LABELS:
        soft = labels.soft_labels(counts, counts[::-1], variant)
        rated = ~np.isnan(soft).any(axis=1)
        assert np.allclose(soft[rated].sum(axis=1), 1)
        assert np.isnan(soft[~rated]).all()
        np.testing.assert_array_equal(labels.soft_labels(counts[::-1], counts, variant), soft[::-1])


def test_an_unknown_variant_is_refused():
    with pytest.raises(LabelError, match="secondary_only"):
        labels.soft_labels(votes(sad=1), votes(), "secondary_only")


def test_seventeen_secondary_names_and_only_classes_count_for_classes():
    assert len(set(labels.SECONDARY_NAMES)) == 17
    classes = {name for name in labels.SECONDARY_NAMES if labels.secondary_bucket(name) < 8}
    assert classes == set(labels.PRIMARY_NAMES)
    assert all(
        labels.CLASSES[labels.primary_bucket(name)] == name.lower() for name in labels.PRIMARY_NAMES
    )
    for name in (
        "Amused",
        "Frustrated",
        "Depressed",
        "Concerned",
        "Disappointed",
        "Excited",
        "Confused",
        "Annoyed",
        "Other",
        "Other-bored",
    ):
        assert labels.secondary_bucket(name) == 8


@pytest.mark.parametrize("name", ["Amused", "Joy", "", "Others", "Otherwise"])
def test_a_primary_vote_is_a_class_or_other(name):
    with pytest.raises(LabelError, match="unknown primary"):
        labels.primary_bucket(name)


def test_reweighting_by_hand():
    soft = np.array([[0.5, 0.5], [1.0, 0.0], [np.nan, np.nan]])
    frequencies = labels.class_frequencies(soft)
    assert frequencies == pytest.approx([0.75, 0.25])
    weighted = labels.reweight(soft, frequencies)
    assert weighted[0] == pytest.approx([0.25, 0.75])  # (.5/.75, .5/.25), normalised
    assert weighted[1] == pytest.approx([1, 0])
    assert np.isnan(weighted[2]).all()


def test_reweighting_refuses_a_class_that_training_never_saw():
    with pytest.raises(LabelError, match="class 1 has votes but frequency 0"):
        labels.reweight(np.array([[0.5, 0.5]]), np.array([1.0, 0.0]))
    assert labels.reweight(np.array([[1.0, 0.0]]), np.array([1.0, 0.0])).tolist() == [[1, 0]]
    with pytest.raises(LabelError, match="no utterance"):
        labels.class_frequencies(np.full((2, 8), np.nan))


@given(VOTES, st.floats(0, 0.99), st.integers(0, 2**32))
def test_annotator_dropout_only_removes_and_never_empties(counts, rate, seed):
    kept = labels.drop_votes(counts, rate, seed)
    assert (kept <= counts).all()
    assert (kept >= 0).all()
    assert ((kept.sum(axis=1) > 0) == (counts.sum(axis=1) > 0)).all()
    np.testing.assert_array_equal(labels.drop_votes(counts, rate, seed), kept)


def test_annotator_dropout_leaves_out_its_share():
    counts = np.full((4000, 9), 5)
    kept = labels.drop_votes(counts, 0.3, 7)
    assert kept.mean() / 5 == pytest.approx(0.7, abs=0.01)
    assert (labels.drop_votes(counts, 0.3, 8) != kept).any()
    np.testing.assert_array_equal(labels.drop_votes(counts, 0.0, 7), counts)


def test_the_vote_that_survives_is_drawn_in_proportion():
    counts = np.tile(votes(happy=1, neutral=3), (6000, 1))
    kept = labels.drop_votes(counts, 0.99, 0)
    bare = kept[kept.sum(axis=1) == 1]
    assert bare[:, labels.CLASSES.index("neutral")].mean() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_annotator_dropout_needs_a_rate(rate):
    with pytest.raises(LabelError, match="rate of annotator dropout"):
        labels.drop_votes(votes(sad=1), rate, 0)
