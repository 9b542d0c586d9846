"""RAVDESS from file names: the real clips, every nesting, and names that are not RAVDESS's."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from medusa_jax.corpus.ravdess import CLASSES, read_ravdess
from medusa_jax.errors import CorpusError, LabelError


def clip(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(1600), 16000)


def test_the_real_clips_agree_with_their_metadata(shared_data):
    corpus = read_ravdess(shared_data / "ravdess")
    theirs = pd.read_csv(shared_data / "ravdess" / "metadata.csv", dtype=str)
    theirs = theirs.set_index(theirs["file"].str.removesuffix(".flac")).loc[corpus.frame["id"]]
    frame = corpus.frame
    assert len(corpus) == len(theirs) == 1440
    assert frame["seconds"].sum() / 3600 == pytest.approx(1.48, abs=0.005)
    assert (frame["speaker"].to_numpy() == theirs["actor"].to_numpy()).all()
    assert (frame["gender"].to_numpy() == theirs["gender"].str.lower().to_numpy()).all()
    assert (frame["transcript"].to_numpy() == theirs["statement"].to_numpy()).all()
    assert (frame["consensus"].to_numpy() == theirs["emotion"].to_numpy()).all()
    assert np.allclose(frame["seconds"], theirs["seconds"].astype(float), atol=1e-3)
    assert all(corpus.audio_path(row).is_file() for row in range(len(corpus)))


def test_one_clip_read_field_by_field(tmp_path):
    clip(tmp_path / "Actor_12" / "03-01-06-01-02-01-12.wav")
    corpus = read_ravdess(tmp_path)
    row = corpus.frame.iloc[0]
    assert row["audio"] == "Actor_12/03-01-06-01-02-01-12.wav"
    assert (row["id"], row["speaker"], row["gender"]) == ("03-01-06-01-02-01-12", "12", "female")
    assert (row["consensus"], row["split"], row["transcript"]) == (
        "fearful",
        "train",
        "Dogs are sitting by the door",
    )
    assert row["seconds"] == pytest.approx(0.1)
    assert corpus.votes.tolist() == corpus.soft.tolist() == [[0, 0, 0, 0, 0, 1, 0, 0]]
    assert np.isnan(corpus.attributes).all()
    assert CLASSES[corpus.labels[0]] == "fearful"


def test_nested_flat_flac_and_song(tmp_path):
    clip(tmp_path / "Actor_01" / "03-01-01-01-01-01-01.wav")
    clip(tmp_path / "03-01-05-02-01-02-02.flac")
    clip(tmp_path / "03-02-05-02-01-02-02.wav")  # song
    clip(tmp_path / "01-01-05-02-01-02-02.wav")  # the sound of a video
    (tmp_path / "README.md").write_text("no audio")
    assert read_ravdess(tmp_path).frame["id"].tolist() == [
        "03-01-01-01-01-01-01",
        "03-01-05-02-01-02-02",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "03-01-09-01-01-01-01",
        "03-01-01-01-01-01-25",
        "03-01-01-01-01-01-00",
        "03-01-01-01-01-01",
        "speech",
    ],
)
def test_other_audio_is_named(tmp_path, name):
    clip(tmp_path / f"{name}.wav")
    with pytest.raises(LabelError, match="not a RAVDESS file name") as caught:
        read_ravdess(tmp_path)
    assert name in str(caught.value.where)


def test_a_clip_in_two_places_and_no_clip(tmp_path):
    with pytest.raises(CorpusError, match="no RAVDESS speech clip"):
        read_ravdess(tmp_path)
    clip(tmp_path / "03-01-01-01-01-01-01.wav")
    clip(tmp_path / "copy" / "03-01-01-01-01-01-01.flac")
    with pytest.raises(CorpusError, match="duplicate clip"):
        read_ravdess(tmp_path)
