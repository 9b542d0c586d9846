"""Annotator dropout and re-weighting of the soft labels: by hand, on the training part alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import Corpus
from medusa_jax.corpus.training_labels import drop_votes, reweight, training_labels
from medusa_jax.errors import LabelError

CLASSES = ("angry", "happy")
VOTES = shapes.arrays(
    np.int64, st.tuples(st.integers(0, 6), st.just(9)), elements=st.integers(0, 12)
)


def corpus_of(tmp_path, votes, variant="primary", secondary=None, split=None):
    """A corpus of the votes `[b, 3]` for angry, happy and other, the last row in development."""
    votes = np.array(votes)
    ids = [f"u{i:05d}.wav" for i in range(len(votes))]
    nothing = [None] * len(ids)
    plain = {
        "id": ids,
        "audio": ids,
        "split": split or ["train"] * (len(ids) - 1) + ["development"],
        "speaker": nothing,
        "gender": nothing,
        "consensus": ["angry"] * len(ids),
        "transcript": nothing,
    }
    secondary = np.zeros_like(votes) if secondary is None else np.array(secondary)
    frame = assemble(plain, votes, secondary, CLASSES, variant)
    return Corpus(frame=frame, classes=CLASSES, root=tmp_path, name="test", soft_labels=variant)


def test_off_is_the_corpus_itself(tmp_path):
    corpus = corpus_of(tmp_path, [[3, 1, 0], [0, 2, 2]])
    assert training_labels(corpus, dropout=0, reweighted=False, seed=0) is corpus


def test_reweighting_divides_by_the_frequencies_of_the_training_part(tmp_path):
    corpus = corpus_of(tmp_path, [[1, 1, 0], [2, 0, 0], [0, 0, 5], [1, 3, 0]])
    soft = training_labels(corpus, dropout=0, reweighted=True, seed=0).soft
    assert soft[0] == pytest.approx([0.25, 0.75])  # (.5/.75, .5/.25), normalised
    assert soft[1].tolist() == [1, 0]
    assert np.isnan(soft[2]).all()
    assert soft[3].tolist() == [0.25, 0.75], "development keeps its soft label"


def test_dropout_counts_the_training_votes_again(tmp_path):
    corpus = corpus_of(tmp_path, [[3, 2, 9]] * 400 + [[0, 0, 4], [0, 0, 0], [3, 2, 9]])
    changed = training_labels(corpus, dropout=0.4, reweighted=False, seed=3)
    expected = drop_votes(np.array([[3, 2]] * 400), 0.4, 3)
    np.testing.assert_allclose(
        changed.soft[:400], expected / expected.sum(axis=1, keepdims=True), atol=1e-6
    )
    assert len(np.unique(changed.soft[:400], axis=0)) > 5
    assert np.isnan(changed.soft[400]).all(), "votes for Other alone give no class target"
    np.testing.assert_array_equal(changed.soft[401:], corpus.soft[401:])
    np.testing.assert_array_equal(changed.votes, corpus.votes)
    assert changed.digest() != corpus.digest()


@pytest.mark.parametrize(
    ("variant", "angry"), [("primary", 1), ("primary+secondary", 0.5), ("with_other", 0.25)]
)
def test_dropout_draws_from_the_votes_of_the_variant(tmp_path, variant, angry):
    rows = 2000
    corpus = corpus_of(tmp_path, [[2, 0, 6]] * rows, variant, [[0, 2, 3]] * rows, ["train"] * rows)
    soft = training_labels(corpus, dropout=0.3, reweighted=False, seed=0).soft
    assert soft[:, 0].mean() == pytest.approx(angry, abs=0.02)
    assert (soft[:, 0].std() > 0.05) == (angry < 1)


def test_dropout_before_reweighting(tmp_path):
    corpus = corpus_of(tmp_path, [[3, 2, 0]] * 50)
    dropped = training_labels(corpus, dropout=0.4, reweighted=False, seed=3)
    both = training_labels(corpus, dropout=0.4, reweighted=True, seed=3)
    expected = training_labels(dropped, dropout=0, reweighted=True, seed=3)
    np.testing.assert_allclose(both.soft, expected.soft, atol=1e-6)


def test_dropout_with_nothing_to_drop_is_refused(tmp_path):
    corpus = corpus_of(tmp_path, [[1, 0, 5], [0, 0, 0], [4, 4, 0]])
    with pytest.raises(LabelError, match="dropout changes nothing"):
        training_labels(corpus, dropout=0.1, reweighted=False, seed=0)


@given(VOTES, st.floats(0, 0.99), st.integers(0, 2**32))
def test_annotator_dropout_only_removes_and_never_empties(counts, rate, seed):
    kept = drop_votes(counts, rate, seed)
    assert (kept <= counts).all()
    assert (kept >= 0).all()
    assert ((kept.sum(axis=1) > 0) == (counts.sum(axis=1) > 0)).all()
    np.testing.assert_array_equal(drop_votes(counts, rate, seed), kept)


def test_annotator_dropout_leaves_out_its_share():
    counts = np.full((4000, 9), 5)
    kept = drop_votes(counts, 0.3, 7)
    assert kept.mean() / 5 == pytest.approx(0.7, abs=0.01)
    assert (drop_votes(counts, 0.3, 8) != kept).any()
    np.testing.assert_array_equal(drop_votes(counts, 0.0, 7), counts)


def test_the_vote_that_survives_is_drawn_in_proportion():
    kept = drop_votes(np.tile([1, 3], (6000, 1)), 0.99, 0)
    bare = kept[kept.sum(axis=1) == 1]
    assert bare[:, 1].mean() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_annotator_dropout_needs_a_rate(rate):
    with pytest.raises(LabelError, match="rate of annotator dropout"):
        drop_votes(np.ones((1, 2), np.int64), rate, 0)


def test_a_class_without_votes_is_left_alone():
    assert reweight(np.array([[1.0, 0.0], [1.0, 0.0]])).tolist() == [[1, 0], [1, 0]]
