"""Votes by hand, and what every vote promises."""

import numpy as np
import pytest
from hand_made_predictions import CLASSES, outputs, three_members

from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.votes import majority_vote, soft_vote


def test_soft_vote_by_hand():
    voted = soft_vote(three_members())
    # Row 0: (0.4 + 0.4 + 0.02) / 3 = 0.273333, (0.3 + 0.3 + 0.95) / 3 = 0.516667,
    # 0.42 / 3 = 0.14, 0.21 / 3 = 0.07.
    np.testing.assert_allclose(voted.posteriors[0], [0.273333, 0.516667, 0.14, 0.07], atol=1e-5)
    # Row 1: 0.8 / 3, 0.8 / 3, 1.1 / 3, 0.3 / 3.
    np.testing.assert_allclose(voted.posteriors[1], [0.266667, 0.266667, 0.366667, 0.1], atol=1e-5)
    np.testing.assert_allclose(voted.attributes, [[11 / 3] * 3] * 3, rtol=1e-6)


def test_majority_vote_by_hand():
    voted = majority_vote(three_members())
    assert voted.logits.argmax(axis=1).tolist() == [0, 2, 3], (
        "two against one surer one; three ways, the surest wins"
    )
    np.testing.assert_allclose(voted.posteriors[0], [2 / 3, 1 / 3, 0, 0], atol=1e-3)
    np.testing.assert_allclose(voted.posteriors[1], [1 / 3, 1 / 3, 1 / 3, 0], atol=1e-3)
    np.testing.assert_allclose(voted.attributes, [[3, 2, 3]] * 3)


def test_a_tie_never_beats_a_vote():
    """One vote more decides, however sure the others: six of fourteen against five and three."""
    sure = [outputs([[0.0001, 0.9997, 0.0001, 0.0001]])] * 5 + [
        outputs([[0.0001, 0.4, 0.5, 0.0999]])
    ] * 3
    unsure = [outputs([[0.26, 0.25, 0.25, 0.24]])] * 6
    assert majority_vote([*sure, *unsure]).logits.argmax() == 0
    assert soft_vote([*sure, *unsure]).logits.argmax() == 1


@pytest.mark.parametrize("vote", [soft_vote, majority_vote])
def test_votes_do_not_depend_on_the_members_order(vote):
    members = three_members()
    np.testing.assert_allclose(vote(members).posteriors, vote(members[::-1]).posteriors, atol=1e-6)
    np.testing.assert_allclose(
        vote(members[:1] * 3).posteriors.argmax(axis=1), members[0].posteriors.argmax(axis=1)
    )


def test_impossible_posteriors_stay_finite():
    certain = Predictions(
        ("a",),
        CLASSES,
        np.array([[0, -500, -500, -500]], np.float32),
        np.full((1, 3), 4, np.float32),
    )
    for vote in (soft_vote, majority_vote):
        assert np.isfinite(vote([certain, certain]).logits).all()
