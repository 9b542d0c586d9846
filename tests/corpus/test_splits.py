"""Hold-out and folds by speaker: disjoint, close to the wish, a function of ids and seed alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_corpus import CLASSES, corpus_of

from medusa_jax.corpus.ravdess import read_ravdess
from medusa_jax.corpus.splits import check_speakers_disjoint, hold_out, read_hold_out, speaker_folds
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
