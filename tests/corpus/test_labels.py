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
        "angry": "A", "sad": "S", "happy": "H", "surprise": "U", "fear": "F", "disgust": "D",
        "contempt": "C", "neutral": "N", "other": "O", "no_agreement": "X",
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
