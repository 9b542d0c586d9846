"""A folder of MSP-Podcast: every layout and subset of label files gives the same table."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from small_msp import RATINGS, TEST3, UTTERANCES, A, B, C, D, E

from medusa_jax.corpus.labels import CLASSES
from medusa_jax.corpus.msp_layout import SYNTHETIC_NOTE, write_msp_podcast_labels
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.corpus.ratings import read_ratings
from medusa_jax.errors import CorpusError, LabelError

LAYOUTS = ("packed", "columns", "json")


@pytest.fixture
def root(tmp_path):
    write_msp_podcast_labels(tmp_path / "msp", RATINGS, UTTERANCES)
    return tmp_path / "msp"


def row(corpus, name):
    return corpus.frame.set_index("id").loc[name]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_label_file_gives_the_ratings_back(tmp_path, layout):
    write_msp_podcast_labels(tmp_path, RATINGS, UTTERANCES, layout)
    files = sorted(
        p.name
        for p in (tmp_path / "Labels").iterdir()
        if "detailed" in p.name or p.suffix == ".txt"
    )
    csvs = ["labels_detailed.csv"] if layout != "json" else []
    assert files == (["labels.txt"] if layout == "packed" else []) + csvs + ["labels_detailed.json"]
    for name in files:
        pd.testing.assert_frame_equal(read_ratings(tmp_path / "Labels" / name), RATINGS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_table(tmp_path, root, layout):
    write_msp_podcast_labels(tmp_path / "other", RATINGS, UTTERANCES, layout)
    pd.testing.assert_frame_equal(
        read_msp_podcast(tmp_path / "other").frame, read_msp_podcast(root).frame
    )


@pytest.mark.parametrize(
    "removed",
    [
        ["labels_consensus.csv"],
        ["labels_detailed.csv"],
        # labels.txt stands in, with Partitions.txt and Speaker_ids.txt
        [
            "labels_consensus.csv",
            "labels_consensus.json",
        ],
        ["labels_detailed.csv", "labels_detailed.json"],
        # plurality and means stand in
        [
            "labels_consensus.csv",
            "labels_consensus.json",
            "labels.txt",
        ],
        ["../Partitions.txt", "../Speaker_ids.txt"],
    ],
)
def test_any_subset_of_label_files_gives_the_same_table(root, removed):
    whole = read_msp_podcast(root).frame
    for name in removed:
        (root / "Labels" / name).unlink()
    if "../Partitions.txt" in removed:
        whole = whole[whole["split"] != "test3"].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_msp_podcast(root).frame, whole, check_exact=False, atol=1e-6)


def test_the_table_row_by_row(root):
    (root / "Audios").mkdir()
    soundfile.write(root / "Audios" / A, np.zeros(24000), 16000)
    for name in TEST3:
        soundfile.write(root / "Audios" / name, np.zeros(8000), 16000)
    corpus = read_msp_podcast(root)
    assert corpus.frame["id"].tolist() == [A, B, C, D, E, *TEST3]
    assert corpus.frame["split"].tolist() == [
        "train",
        "train",
        "development",
        "train",
        "test1",
        "test3",
        "test3",
    ]
    found = corpus.frame["consensus"].astype(object)
    labelled = ["happy", "other", "no_agreement", "neutral", "fear"]
    assert found.where(found.notna(), None).tolist() == [*labelled, None, None]
    happy, surprise, neutral = (CLASSES.index(c) for c in ("happy", "surprise", "neutral"))
    assert corpus.votes[0, [happy, surprise]].tolist() == [2, 1]
    assert corpus.soft[0, [happy, surprise]] == pytest.approx([2 / 3, 1 / 3])
    assert corpus.attributes[0] == pytest.approx([4, 5, 4])
    assert row(corpus, A)["secondary_other"] == 1  # one rater, though two names
    assert row(corpus, A)["secondary_neutral"] == 1
    assert row(corpus, B)["votes_other"] == 2
    assert np.isnan(corpus.soft[1]).all()
    assert corpus.soft[3, neutral] == 1
    assert np.isnan(corpus.attributes[3]).all()
    assert (row(corpus, A)["speaker"], row(corpus, A)["gender"]) == ("12", "male")
    assert pd.isna(row(corpus, B)["speaker"])
    assert pd.isna(row(corpus, B)["gender"])
    assert row(corpus, A)["seconds"] == 1.5
    assert np.isnan(row(corpus, B)["seconds"])
    assert row(corpus, TEST3[1])["seconds"] == 0.5
    assert corpus.votes[-2:].sum() == 0
    assert np.isnan(corpus.soft[-2:]).all()
    assert row(corpus, E)["transcript"] == "naïve café"
    assert row(corpus, C)["transcript"] == ""
    assert pd.isna(row(corpus, D)["transcript"])
    assert not corpus.synthetic


def test_variants_of_soft_labels(root):
    row_of = {name: i for i, name in enumerate([A, B, C, D, E])}
    mentions = read_msp_podcast(root, soft_labels="primary+secondary")
    sad, happy, neutral, surprise = (
        CLASSES.index(c) for c in ("sad", "happy", "neutral", "surprise")
    )
    assert mentions.soft[row_of[B], sad] == 1  # the only class that anyone named
    assert mentions.soft[row_of[A], [happy, neutral, surprise]] == pytest.approx(
        [3 / 6, 1 / 6, 2 / 6]
    )
    nine = read_msp_podcast(root, soft_labels="with_other")
    assert nine.targets == (*CLASSES, "other")
    assert nine.soft[row_of[B], 8] == 1
    assert nine.soft[row_of[E], 8] == pytest.approx(1 / 3)
    with pytest.raises(LabelError, match="unknown variant"):
        read_msp_podcast(root, soft_labels="soft")


def test_labels_without_votes_are_one_hot(root):
    for path in root.glob("Labels/labels_detailed.*"):
        path.unlink()
    (root / "Labels" / "labels.txt").unlink()
    corpus = read_msp_podcast(root)
    assert corpus.votes.sum() == 0
    assert corpus.soft[0, CLASSES.index("happy")] == 1
    assert np.isnan(corpus.soft[1:3]).all()  # other, no agreement


def test_transcripts_from_another_folder(root, tmp_path):
    (tmp_path / "asr").mkdir()
    (tmp_path / "asr" / f"{TEST3[0][:-4]}.txt").write_text("heard\n")
    corpus = read_msp_podcast(root, transcripts=tmp_path / "asr")
    assert row(corpus, TEST3[0])["transcript"] == "heard"
    assert corpus.frame["transcript"].notna().sum() == 1
    with pytest.raises(CorpusError, match="folder of transcripts"):
        read_msp_podcast(root, transcripts=tmp_path / "whisper")
    (root / "Transcripts" / f"{A[:-4]}.txt").write_bytes(b"caf\xe9")
    with pytest.raises(CorpusError, match="not UTF-8") as caught:
        read_msp_podcast(root)
    assert A[:-4] in str(caught.value.where)


def test_a_generated_folder_is_marked(root):
    (root / SYNTHETIC_NOTE).write_text("{}")
    assert read_msp_podcast(root).synthetic


def test_partition_file_names_and_old_split_names(root):
    (root / "Partitions.txt").rename(root / "Partition.txt")
    assert (read_msp_podcast(root).frame["split"] == "test3").sum() == 1
    (root / "Partition.txt").write_text(f"Validation; {A}\n")
    with pytest.raises(CorpusError, match="is in development here but in train"):
        read_msp_podcast(root)


def test_the_speaker_of_the_consensus_file_wins_with_a_warning(root, caplog):
    lines = (root / "Speaker_ids.txt").read_text().replace(f"{A};12", f"{A};13")
    (root / "Speaker_ids.txt").write_text(lines)
    assert row(read_msp_podcast(root), A)["speaker"] == "12"
    assert "1 utterance(s) have another speaker" in caplog.text


def test_rated_files_without_a_split_are_left_out_with_a_warning(root, caplog):
    for name in ("labels_consensus.csv", "labels_consensus.json"):
        (root / "Labels" / name).unlink()
    (root / "Labels" / "labels.txt").unlink()
    (root / "Partitions.txt").write_text(f"Train; {A}\n")
    assert read_msp_podcast(root).frame["id"].tolist() == [A]
    assert "4 rated file(s) without a split" in caplog.text


def test_a_folder_without_a_corpus_is_refused(tmp_path, root):
    with pytest.raises(CorpusError, match="does not exist"):
        read_msp_podcast(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no utterance found"):
        read_msp_podcast(tmp_path / "empty")
    for name in ("Labels/labels_consensus.csv", "Labels/labels_consensus.json", "Partitions.txt"):
        (root / name).unlink()
    with pytest.raises(CorpusError, match="is in no split"):
        read_msp_podcast(root)
    shutil.rmtree(root / "Labels")
    (root / "Audios").mkdir()
    (root / "Audios" / TEST3[0]).touch()
    assert read_msp_podcast(root).frame["split"].tolist() == ["test3"]
