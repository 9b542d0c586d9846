"""What members say: votes by hand, outputs that come back as they were, damage that is named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from medusa_jax.ensemble.predictions import Outputs, majority_vote, soft_vote, stacked
from medusa_jax.errors import EvaluationError

CLASSES = ("angry", "sad", "happy", "neutral")


def outputs(posteriors, attributes=None, ids=None, classes=CLASSES):
    """What a member says, from its posteriors `[n, c]`."""
    logits = np.log(np.asarray(posteriors, np.float32))
    said = (
        np.full((len(logits), 3), 4, np.float32)
        if attributes is None
        else np.asarray(attributes, np.float32)
    )
    return Outputs(ids or tuple(f"u{i}" for i in range(len(logits))), classes, logits, said)


# Votes


def three_members():
    """Row 0: two against one. Row 1: three ways, the third is surest. Row 2: all agree."""
    return [
        outputs(
            [[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]], [[1, 2, 3]] * 3
        ),
        outputs(
            [[0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1], [0.2, 0.2, 0.2, 0.4]], [[3, 2, 1]] * 3
        ),
        outputs(
            [[0.02, 0.95, 0.02, 0.01], [0.1, 0.1, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4]], [[7, 7, 7]] * 3
        ),
    ]


def test_soft_vote_by_hand():
    voted = soft_vote(three_members())
    # Row 0: (0.4 + 0.4 + 0.02) / 3 = 0.273333, (0.3 + 0.3 + 0.95) / 3 = 0.516667, 0.42 / 3 = 0.14, 0.21 / 3 = 0.07.
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
    """However sure the others are, one vote more decides: six of fourteen against five and three."""
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
    certain = Outputs(
        ("a",),
        CLASSES,
        np.array([[0, -500, -500, -500]], np.float32),
        np.full((1, 3), 4, np.float32),
    )
    for vote in (soft_vote, majority_vote):
        assert np.isfinite(vote([certain, certain]).logits).all()


@pytest.mark.parametrize("other", [dict(ids=("u0", "u2", "u1")), dict(classes=CLASSES[::-1])])
def test_members_that_speak_of_something_else_are_refused(other):
    members = three_members()
    foreign = outputs(members[0].posteriors, **other)
    with pytest.raises(EvaluationError, match="different utterances or classes"):
        stacked([members[0], foreign])


# Outputs


def test_outputs_come_back_as_they_were(tmp_path: Path):
    rng = np.random.default_rng(0)
    said = Outputs(
        ("b.wav", "a.wav"),
        CLASSES,
        rng.normal(size=(2, 4)).astype(np.float32),
        rng.uniform(1, 7, (2, 3)).astype(np.float32),
    )
    said.save(tmp_path / "deep" / "out.parquet")
    back = Outputs.load(tmp_path / "deep" / "out.parquet", CLASSES)
    assert (back.ids, back.classes) == (said.ids, said.classes)
    np.testing.assert_array_equal(back.logits, said.logits)
    np.testing.assert_array_equal(back.attributes, said.attributes)
    frame = pd.read_parquet(tmp_path / "deep" / "out.parquet")
    assert list(frame.columns)[1:9] == [
        f"{kind}_{name}" for kind in ("logit", "p") for name in CLASSES
    ]
    np.testing.assert_allclose(frame[[f"p_{name}" for name in CLASSES]].sum(axis=1), 1, atol=1e-6)


def test_classes_are_found_by_name_not_by_place(tmp_path: Path):
    said = outputs([[0.1, 0.2, 0.3, 0.4]])
    said.save(tmp_path / "out.parquet")
    back = Outputs.load(tmp_path / "out.parquet", CLASSES[::-1])
    np.testing.assert_allclose(back.posteriors, [[0.4, 0.3, 0.2, 0.1]], atol=1e-6)


def test_rows_by_position():
    chosen = three_members()[0].where(np.array([2, 0]))
    assert chosen.ids == ("u2", "u0")
    np.testing.assert_allclose(chosen.posteriors[:, 3], [0.7, 0.1], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["logits", "attributes"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad, column):
    said = outputs(softmax(np.zeros((3, 4)), axis=1))
    getattr(said, column)[1, 2] = bad
    with np.errstate(invalid="ignore"):
        said.save(tmp_path / "out.parquet")
    with pytest.raises(EvaluationError, match="not finite") as caught:
        Outputs.load(tmp_path / "out.parquet", CLASSES)
    assert caught.value.where == tmp_path / "out.parquet"


def test_other_classes_are_refused(tmp_path: Path):
    path = tmp_path / "out.parquet"
    outputs([[0.1, 0.2, 0.3, 0.4]]).save(path)
    with pytest.raises(EvaluationError, match="the outputs lack logit_fear"):
        Outputs.load(path, (*CLASSES, "fear"))
    with pytest.raises(EvaluationError, match="classes that this corpus has not: logit_neutral"):
        Outputs.load(path, CLASSES[:3])


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but no more", b"id,logit_angry\n"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content):
    path = tmp_path / "out.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match="cannot be read"):
        Outputs.load(path, CLASSES)
