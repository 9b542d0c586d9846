"""Hold-out and folds by speaker: disjoint, close to the wish, a function of ids and seed alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_iemocap import write_iemocap
from split_corpus import CLASSES, corpus_of

from medusa_jax.corpus.iemocap import read_iemocap
from medusa_jax.corpus.ravdess import read_ravdess
from medusa_jax.corpus.splits import (
    check_dialogues_whole,
    check_speakers_disjoint,
    hold_out,
    inner_folds,
    read_hold_out,
    speaker_folds,
)
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import CorpusError


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    draw = np.random.default_rng(0)
    speakers = [f"s{i}" if i < 150 else None for i in draw.zipf(1.3, 6000) % 200]
    consensus = draw.choice([*CLASSES, "other", None], 6000, p=[0.06, 0.2, 0.5, 0.04, 0.2]).tolist()
    splits = draw.choice(["train", "development"], 200).tolist()
    return corpus_of(
        tmp_path_factory.mktemp("many"), speakers, consensus, [splits[hash_of(s)] for s in speakers]
    )


def hash_of(speaker):
    return int(speaker[1:]) if speaker else 0


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3])
def test_the_held_out_part_is_close_disjoint_and_stratified(many, fraction):
    mask = hold_out(many, fraction, 1)
    train = (many.frame["split"] == "train").to_numpy()
    assert not (mask & ~train).any()
    assert mask.sum() / train.sum() == pytest.approx(fraction, abs=0.01)
    check_speakers_disjoint(many, mask, train & ~mask)
    for name in CLASSES:
        of_class = train & (many.frame["consensus"] == name).to_numpy()
        assert (mask & of_class).sum() / of_class.sum() == pytest.approx(fraction, abs=0.02)


def test_the_held_out_part_depends_on_ids_and_seed_alone(many):
    held = set(many.frame["id"][hold_out(many, 0.1, 1)])
    order = np.random.default_rng(1).permutation(len(many))
    shuffled = Corpus(
        frame=many.frame.iloc[order].reset_index(drop=True),
        classes=CLASSES,
        root=many.root,
        name="test",
    )
    assert set(shuffled.frame["id"][hold_out(shuffled, 0.1, 1)]) == held
    assert set(many.frame["id"][hold_out(many, 0.1, 2)]) != held


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=30),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_neither_side_is_ever_empty(tmp_path_factory, speakers, fraction, seed):
    corpus = corpus_of(
        tmp_path_factory.getbasetemp(), speakers, [CLASSES[i % 3] for i in range(len(speakers))]
    )
    groups = len({s for s in speakers if s}) + speakers.count(None)
    if groups < 2:
        with pytest.raises(CorpusError, match="none can be held out"):
            hold_out(corpus, fraction, seed)
        return
    mask = hold_out(corpus, fraction, seed)
    assert 0 < mask.sum() < len(corpus)
    check_speakers_disjoint(corpus, mask, ~mask)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2.0])
def test_a_fraction_is_between_0_and_1(many, fraction):
    with pytest.raises(CorpusError, match="fraction to hold out"):
        hold_out(many, fraction, 0)


def test_a_shared_speaker_is_named(tmp_path):
    corpus = corpus_of(tmp_path, ["a", "b", "a", None, None], ["happy"] * 5)
    check_speakers_disjoint(
        corpus, np.array([1, 0, 1, 1, 0], bool), np.array([0, 1, 0, 0, 1], bool)
    )
    with pytest.raises(CorpusError, match=r"1 speaker.* a\n"):
        check_speakers_disjoint(
            corpus,
            np.array([1, 0, 0, 0, 0], bool),
            np.array([0, 1, 0, 0, 0], bool),
            np.array([0, 0, 1, 0, 0], bool),
        )


def test_ravdess_folds_are_four_actors_each(shared_data):
    corpus = read_ravdess(shared_data / "ravdess")
    fold = speaker_folds(corpus, 6)
    assert np.bincount(fold).tolist() == [240] * 6
    for k in range(6):
        assert sorted(corpus.frame["speaker"][fold == k].unique()) == [
            f"{actor:02d}" for actor in range(4 * k + 1, 4 * k + 5)
        ]
    check_speakers_disjoint(corpus, *(fold == k for k in range(6)))


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_need_a_speaker_each(tmp_path, folds):
    with pytest.raises(CorpusError, match=f"cannot make {folds} folds"):
        speaker_folds(corpus_of(tmp_path, ["a", "b", "c"], ["happy"] * 3), folds)


def test_an_unknown_speaker_belongs_to_no_fold(tmp_path):
    with pytest.raises(CorpusError, match="unknown speaker") as caught:
        speaker_folds(corpus_of(tmp_path, ["a", None, "c"], ["happy"] * 3), 2)
    assert "u00001.wav" in str(caught.value.where)


def test_given_hold_out_lists(tmp_path):
    corpus = corpus_of(tmp_path, ["a", "b", "c"], ["happy"] * 3)
    (tmp_path / "list.txt").write_text("u00002.wav\nu00000.wav\n\n")
    assert read_hold_out(corpus, tmp_path / "list.txt").tolist() == [True, False, True]
    splits = enumerate(("Train", "Test", "Development"))
    rows = [f"u0000{i}.wav,0,1,4,4,4,{split}\n" for i, split in splits]
    columns = "FileName,Angry,Sad,EmoAct,EmoVal,EmoDom,Split_Set\n"
    (tmp_path / "medusa.csv").write_text(columns + "".join(rows))
    assert read_hold_out(corpus, tmp_path / "medusa.csv").tolist() == [False, True, False]
    for text, message in (
        ("", "list is empty"),
        ("u00009.wav\n", "1 held-out utterance.* u00009.wav"),
    ):
        (tmp_path / "list.txt").write_text(text)
        with pytest.raises(CorpusError, match=message):
            read_hold_out(corpus, tmp_path / "list.txt")


def test_a_speaker_named_like_an_utterance_is_another_group(tmp_path):
    corpus = corpus_of(tmp_path, ["u00001.wav", None], ["happy", "happy"])
    assert pd.Series(hold_out(corpus, 0.5, 0)).sum() == 1


def conversations(tmp_path, pairs, *, turns=4, splits=None):
    """A corpus of one dialogue for each of `pairs` of speakers, with `turns` utterances."""
    speakers = [pair[turn % 2] for pair in pairs for turn in range(turns)]
    consensus = [CLASSES[i % 3] for i in range(len(speakers))]
    spread = None if splits is None else [one for one in splits for _ in range(turns)]
    corpus = corpus_of(tmp_path, speakers, consensus, spread)
    dialogues = [f"d{n:02d}" for n in range(len(pairs)) for _ in range(turns)]
    frame = corpus.frame.assign(dialogue=dialogues, turn=list(range(turns)) * len(pairs))
    return Corpus(frame=frame, classes=CLASSES, root=tmp_path, name="talks")


APART = [("a", "b"), ("c", "d"), ("b", "e"), ("f", "g"), ("h", "i"), ("c", "j"), ("k", "l")]
LINKED = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("d", "e")]


def whole(corpus, values):
    """True if all utterances of each dialogue have the same of `values`."""
    return (corpus.frame.assign(value=values).groupby("dialogue")["value"].nunique() == 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_whole_dialogues_are_held_out_and_no_speaker_is_on_both_sides(tmp_path, seed):
    corpus = conversations(tmp_path, APART)
    mask = hold_out(corpus, 0.3, seed)
    assert 0 < mask.sum() < len(corpus)
    assert whole(corpus, mask)
    check_speakers_disjoint(corpus, mask, ~mask)
    assert whole(corpus, shared := hold_out(corpus, 0.3, seed, "shared"))
    assert shared.sum() == 8


def test_shared_speakers_may_be_held_out_where_no_dialogue_is_apart(tmp_path):
    corpus = conversations(tmp_path, LINKED)
    with pytest.raises(CorpusError, match=r"1 group.s. of dialogues in train") as caught:
        hold_out(corpus, 0.3, 0)
    assert "corpus.speakers: shared" in caught.value.hint
    mask = hold_out(corpus, 0.3, 0, "shared")
    assert whole(corpus, mask)
    with pytest.raises(CorpusError, match="both sides") as caught:
        check_speakers_disjoint(corpus, mask, ~mask)
    assert "corpus.speakers: shared" in caught.value.hint


def test_folds_of_conversations(tmp_path):
    apart = conversations(tmp_path, APART)
    for folds in (2, 5):
        fold_n = speaker_folds(apart, folds)
        assert whole(apart, fold_n)
        check_speakers_disjoint(apart, *(fold_n == k for k in range(folds)))
    linked = conversations(tmp_path, LINKED)
    assert np.bincount(speaker_folds(linked, 5, "shared")).tolist() == [4] * 5
    for corpus, folds in ((apart, 6), (linked, 2)):
        with pytest.raises(CorpusError, match="cannot make") as caught:
            speaker_folds(corpus, folds)
        assert "corpus.speakers: shared" in caught.value.hint


def test_inner_folds_of_conversations(tmp_path):
    apart, linked = conversations(tmp_path, APART), conversations(tmp_path, LINKED)
    rows = np.arange(len(apart))
    fold_n = inner_folds(apart, rows, 3)
    assert whole(apart, fold_n)
    check_speakers_disjoint(apart, *(fold_n == k for k in range(3)))
    rows = np.arange(len(linked))
    assert whole(linked, inner_folds(linked, rows, 4, "shared"))
    with pytest.raises(CorpusError, match=r"1 group.s. of dialogues cannot make 2") as caught:
        inner_folds(linked, rows, 2)
    assert "corpus.speakers: shared" in caught.value.hint


def test_sessions_of_iemocap_are_its_folds(tmp_path):
    corpus = read_iemocap(write_iemocap(tmp_path, sound=False))
    sessions = corpus.frame["id"].str[3:5].astype(int) - 1
    np.testing.assert_array_equal(speaker_folds(corpus, 5), sessions)


def test_a_torn_dialogue_is_named(tmp_path):
    corpus = conversations(tmp_path, APART)
    first = np.arange(len(corpus)) < 6
    check_dialogues_whole(corpus, first & (corpus.frame["dialogue"] == "d00"), ~first)
    with pytest.raises(CorpusError, match="dialogue is on both sides") as caught:
        check_dialogues_whole(corpus, first, ~first)
    assert "d01" in str(caught.value.where)
    plain = corpus_of(tmp_path, ["a", "a"], ["happy"] * 2)
    check_dialogues_whole(plain, np.array([True, False]), np.array([False, True]))
