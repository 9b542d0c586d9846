"""Dialogues become arrays: every turn in its place, zero where there is nothing."""

import numpy as np
import pytest
from dialogue_task import LONGEST, SILENT, WIDTHS, dialogue_corpus, dialogue_stores

from medusa_jax.batches.dialogues import conversations
from medusa_jax.errors import CorpusError, FeatureError


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return dialogue_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def talks(given):
    corpus, stores = given
    return conversations(corpus, tuple(WIDTHS), stores, shapes=2)


def test_each_turn_stands_in_its_place(given, talks):
    corpus, stores = given
    dialogues = np.array([5, 0, 13])
    rank_n = talks.rank(np.arange(len(corpus)))
    batch = talks.batch([[g] for g in dialogues], talks.longest, rank_n)
    for row, g in enumerate(dialogues):
        own = corpus.frame[corpus.frame["dialogue"] == talks.names[g]].sort_values("turn")
        count = len(own)
        assert batch.mask[row].tolist() == [1.0] * count + [0.0] * (len(batch.mask[row]) - count)
        for u, (n, utterance) in enumerate(own.iterrows()):
            assert batch.one_hot[row, u].argmax() == corpus.labels[n] or corpus.labels[n] < 0
            np.testing.assert_allclose(batch.soft[row, u], np.nan_to_num(corpus.soft[n]))
            for name in WIDTHS:
                there = utterance["id"] in stores[name]
                assert batch.present[name][row, u] == there
                if there:
                    mean_d = stores[name].frames(utterance["id"]).mean(axis=0)
                    np.testing.assert_allclose(batch.streams[name][row, u], mean_d, atol=1e-6)
        for name in WIDTHS:
            assert not batch.streams[name][row, count:].any()


def test_a_turn_without_features_is_absent_and_not_zero_by_chance(talks):
    for values_nd, there_n in talks.vectors:
        assert not there_n[SILENT]
        assert not values_nd[SILENT].any()
        assert there_n.sum() == len(there_n) - 1


def test_speakers_are_numbered_as_they_appear(given, talks):
    corpus = given[0]
    for rows in talks.turns:
        seen: list[str] = []
        for n in rows:
            name = corpus.frame["speaker"][n]
            seen += [name] if name not in seen else []
            assert talks.order[n] == seen.index(name)


def test_speakers_are_ranked_by_the_training_part_alone(given, talks):
    corpus = given[0]
    speakers = corpus.frame["speaker"].to_numpy()
    fit = np.flatnonzero(np.isin(speakers, ["0-0", "1-0", "1-1"]))
    rank_n = talks.rank(fit)
    names, counts = np.unique(speakers[fit], return_counts=True)
    assert set(rank_n[speakers == names[counts.argmax()]]) == {0}
    assert set(rank_n[~np.isin(speakers, names)]) == {len(names)}


def test_batches_have_the_stated_shapes_and_types(talks):
    whole = talks.batch([[0], [], [1]], talks.longest, talks.order)
    assert whole.mask.shape == (3, talks.longest)
    assert not whole.mask[1].any()
    assert talks.longest >= LONGEST
    shapes = talks.largest_batch(3)
    for name in ("mask", "first", "soft", "rank", "rated"):
        made, wanted = getattr(whole, name), getattr(shapes, name)
        assert (made.shape, made.dtype) == (wanted.shape, wanted.dtype)


def test_a_corpus_without_dialogues_is_refused(given):
    corpus, stores = given
    plain = corpus.where(np.ones(len(corpus), bool))
    plain = type(plain)(
        plain.frame.drop(columns=["dialogue", "turn"]), plain.classes, plain.root, plain.name
    )
    with pytest.raises(CorpusError, match="has no dialogues"):
        conversations(plain, tuple(WIDTHS), stores, shapes=1)


def test_features_that_are_not_finite_are_refused_by_name(given):
    corpus, stores = given

    class Broken:
        ids, lengths, width = stores["words"].ids, stores["words"].lengths, WIDTHS["words"]
        folder = "here"

        def frames(self, identity):
            return np.full((1, self.width), np.nan if identity == "u003" else 0.0)

    talks = conversations(corpus, ("words",), {"words": Broken()}, shapes=1)
    with pytest.raises(FeatureError, match="not finite") as caught:
        talks.batch([[0], [1]], talks.longest, talks.order)
    assert "u003" in str(caught.value)


def test_the_corpus_has_its_rows_out_of_order():
    """Otherwise the tests above would hold for any order."""
    frame = dialogue_corpus().frame
    assert not frame["dialogue"].is_monotonic_increasing
