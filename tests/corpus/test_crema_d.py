"""CREMA-D: soft labels against the votes of real raters, and damage to the vote table."""

import shutil

import numpy as np
import pandas as pd
import pytest

from medusa_jax.corpus.crema_d import CLASSES, LETTERS, read_crema_d
from medusa_jax.errors import CorpusError, LabelError

HEADER = '"","A","D","F","H","N","S","fileName"\n'


@pytest.fixture(scope="module")
def corpora(shared_data):
    return {
        modality: read_crema_d(shared_data / "crema_d_votes", modality=modality)
        for modality in ("voice", "face", "both")
    }


@pytest.fixture(scope="module")
def table(shared_data):
    return pd.read_csv(shared_data / "crema_d_votes" / "tabulatedVotes.csv", index_col=0)


@pytest.mark.parametrize(
    ("modality", "name", "soft"),
    [
        ("voice", "1001_IEO_NEU_XX", {"happy": 1 / 11, "neutral": 10 / 11}),
        ("voice", "1001_IEO_HAP_LO", {"happy": 3 / 9, "neutral": 6 / 9}),
        ("both", "1002_TAI_HAP_XX", {"happy": 7 / 10, "neutral": 3 / 10}),
    ],
)
def test_soft_labels_by_hand(corpora, modality, name, soft):
    row = corpora[modality].frame.set_index("id").loc[name]
    assert {c: row[f"soft_{c}"] for c in CLASSES if row[f"soft_{c}"] > 0} == pytest.approx(soft)
    assert row["consensus"] == max(soft, key=soft.get)


def test_every_row_agrees_with_the_authors_summary(corpora, table):
    for digit, corpus in zip("123", corpora.values(), strict=True):
        theirs = (
            table[table.index.astype(str).str.startswith(digit)]
            .set_index("fileName")
            .loc[corpus.frame["id"]]
        )
        assert len(corpus) == len(theirs) == 7442
        assert np.allclose(corpus.soft.sum(axis=1), 1)
        np.testing.assert_array_equal(corpus.votes, theirs[list(LETTERS)])
        assert np.allclose(corpus.soft.max(axis=1), theirs["agreement"], atol=1e-6)
        letter = dict(zip(CLASSES, LETTERS, strict=True))
        ours = corpus.frame["consensus"].map(letter)
        tied = theirs["emoVote"].str.contains(":").to_numpy()
        np.testing.assert_array_equal(corpus.frame["consensus"] == "no_agreement", tied)
        assert (ours[~tied].to_numpy() == theirs["emoVote"][~tied].to_numpy()).all()


def test_speakers_splits_and_genders(corpora):
    frame = corpora["voice"].frame
    assert frame.groupby("split")["speaker"].nunique().to_dict() == {
        "train": 56,
        "development": 18,
        "test1": 17,
    }
    assert (frame.groupby("speaker")["split"].nunique() == 1).all()
    assert frame.drop_duplicates("speaker")["gender"].value_counts().to_dict() == {
        "male": 48,
        "female": 43,
    }
    assert frame["transcript"].nunique() == 12
    assert frame.loc[0, "audio"] == "AudioWAV/1001_DFA_ANG_XX.wav"
    assert frame["seconds"].isna().all()


@pytest.mark.parametrize(
    ("text", "error", "message", "place"),
    [
        ("", CorpusError, "empty", "tabulatedVotes.csv"),
        (
            '"","A","D","F","H","N","fileName"\n',
            CorpusError,
            "missing column.s.: S",
            "tabulatedVotes.csv",
        ),
        (HEADER, CorpusError, "no votes on voice", "tabulatedVotes.csv"),
        (
            HEADER + "200001,0,0,0,1,1,0,1001_IEO_NEU_XX\n",
            CorpusError,
            "no votes on voice",
            "tabulatedVotes.csv",
        ),
        (
            HEADER + "100001,0,0,0,x,1,0,1001_IEO_NEU_XX\n",
            LabelError,
            "not whole numbers",
            "line 2",
        ),
        (
            HEADER + "100001,0,0,0,-1,1,0,1001_IEO_NEU_XX\n",
            LabelError,
            "not whole numbers",
            "line 2",
        ),
        (
            HEADER + "100001,0,0,0,1,1,0,../../secret\n",
            LabelError,
            "not the name of a clip",
            "line 2",
        ),
        (HEADER + "100001,0,0,0,1,1,0\n", LabelError, "7 fields", "line 2"),
        (
            HEADER + 2 * "100001,0,0,0,1,1,0,1001_IEO_NEU_XX\n",
            LabelError,
            "duplicate row",
            "line 3",
        ),
    ],
)
def test_damage_to_the_vote_table_is_named(tmp_path, text, error, message, place):
    (tmp_path / "tabulatedVotes.csv").write_text(text)
    with pytest.raises(error, match=message) as caught:
        read_crema_d(tmp_path)
    assert place in str(caught.value.where)


def test_the_other_files_are_optional_but_not_wrong(tmp_path):
    (tmp_path / "tabulatedVotes.csv").write_text(HEADER + "100001,0,0,0,1,2,0,1001_IEO_NEU_XX\n")
    row = read_crema_d(tmp_path).frame.iloc[0]
    assert row["split"] == "train"
    assert pd.isna(row["gender"])
    for name, text, message in (
        ("speaker_splits.json", '{"train": [1002]}', "speaker 1001 is in no split"),
        ("speaker_splits.json", '{"train": [1001], "dev": [1001]}', "in two splits"),
        ("speaker_splits.json", '{"valid": [1001]}', "unknown split 'valid'"),
        ("VideoDemographics.csv", "ActorID,Sex\n1001,F\n", "unknown gender 'F'"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(CorpusError, match=message):
            read_crema_d(tmp_path)
        (tmp_path / name).unlink()


def test_variants_reach_the_reader(shared_data, tmp_path):
    shutil.copy(shared_data / "crema_d_votes" / "tabulatedVotes.csv", tmp_path)
    corpus = read_crema_d(tmp_path, soft_labels="with_other")
    assert corpus.targets == (*CLASSES, "other")
    assert (corpus.soft[:, -1] == 0).all()
