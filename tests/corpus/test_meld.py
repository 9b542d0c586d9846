"""MELD: rows, dialogues and speakers of its CSV files, their damage, and the whole corpus."""

import numpy as np
import pytest
from small_meld import write_meld, write_rows, write_sound

from medusa_jax.corpus.meld import CLASSES, read_meld, repaired
from medusa_jax.errors import CorpusError, LabelError

ROW = [1, "Hi.", "Joey", "joy", "positive", 0, 0, 8, 21, "00:16:16,059", "00:16:21,731"]


@pytest.fixture
def root(tmp_path):
    return write_meld(tmp_path)


def with_row(root, **changes):
    """Replace the training file by one row with changes by position."""
    row = list(ROW)
    for place, value in changes.items():
        row[int(place[1:])] = value
    write_rows(root / "train_sent_emo.csv", [row])
    return root


def test_rows(root):
    corpus = read_meld(root)
    assert (len(corpus), corpus.classes, corpus.root) == (63, CLASSES, root)
    row = corpus.frame.iloc[3]
    assert (row["id"], row["audio"], row["split"]) == ("train_dia0_utt3", "", "train")
    assert (row["dialogue"], row["turn"]) == ("train_0", 3)
    assert (row["speaker"], row["gender"]) == ("Rachel", None)
    assert row["seconds"] == pytest.approx(1.5)
    assert row["transcript"] == "train, I’d call it surprise"
    assert row["consensus"] == "surprise"
    assert corpus.votes[3].tolist() == [0] * 6 + [1]
    assert corpus.frame["id"].is_unique
    splits = corpus.frame.groupby("split")["dialogue"].unique().map(list).to_dict()
    assert splits == {
        "train": ["train_0", "train_1", "train_2"],
        "development": ["dev_0", "dev_1", "dev_2"],
        "test1": ["test_0", "test_1", "test_2"],
    }


def test_only_the_training_file_is_required(root):
    (root / "test_sent_emo.csv").unlink()
    assert set(read_meld(root).frame["split"]) == {"train", "development"}
    (root / "dev_sent_emo.csv").unlink()
    assert len(read_meld(root)) == 21
    (root / "train_sent_emo.csv").unlink()
    with pytest.raises(CorpusError, match="cannot read the label file"):
        read_meld(root)


def test_turns_are_sorted_and_may_have_gaps(tmp_path):
    rows = [[*ROW[:5], dialogue, turn, *ROW[7:]] for dialogue, turn in ((1, 4), (0, 2), (1, 0))]
    write_rows(tmp_path / "train_sent_emo.csv", rows)
    frame = read_meld(tmp_path).frame
    assert frame["id"].tolist() == ["train_dia0_utt2", "train_dia1_utt0", "train_dia1_utt4"]
    assert frame["turn"].tolist() == [2, 0, 4]


def test_speakers_differ_in_more_than_case_and_spaces(tmp_path):
    names = ["Joey", " JOEY ", "Dr. Ledbetter", "Dr.  Ledbetter", "Dr. Leedbetter"]
    rows = [[1, "Hi.", name, *ROW[3:6], turn, *ROW[7:]] for turn, name in enumerate(names)]
    write_rows(tmp_path / "train_sent_emo.csv", rows)
    found = read_meld(tmp_path).frame["speaker"].tolist()
    assert found == ["Joey", "Joey", "Dr. Ledbetter", "Dr. Ledbetter", "Dr. Leedbetter"]


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        ("I\x92m \x93here\x94\x85", "I’m “here”…"),
        ("Iâ€™m here", "I’m here"),
        ("I\xe2\x80\x99m here", "I’m here"),
        ("fiancÃ©â€¦", "fiancé…"),
        ("fiancé…”", "fiancé…”"),
        ("â la carte", "â la carte"),
        ("\x81", "\x81"),
        ("You’ve", "You’ve"),
    ],
)
def test_windows_1252_is_repaired_where_it_is_unambiguous(root, damaged, text):
    assert repaired(damaged) == text
    assert repaired(text) == text
    assert read_meld(with_row(root, _1=damaged)).frame["transcript"].iat[0] == text


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("00:16:16,059", "00:16:21,731", 5.672),
        ("0:59:59,5", "1:00:01,005", 2.0),
        ("0:12:32,632", "0:12:32,632", np.nan),
        ("0:12:33,632", "0:12:32,632", np.nan),
    ],
)
def test_seconds_are_those_of_the_subtitles(root, start, end, seconds):
    found = read_meld(with_row(root, _9=start, _10=end)).frame["seconds"].iat[0]
    np.testing.assert_allclose(found, seconds)


def test_seconds_are_those_of_the_audio_where_there_is_some(root):
    write_sound(root / "train" / "dia0_utt0.wav", 0.3)
    (root / "train" / "dia0_utt1.wav").write_bytes(b"not a sound")
    frame = read_meld(root).frame
    assert frame["audio"].iloc[:3].tolist() == ["train/dia0_utt0.wav", "train/dia0_utt1.wav", ""]
    np.testing.assert_allclose(frame["seconds"].iloc[:3], [0.3, 1.5, 1.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_3": "bliss"}, "unknown emotion 'bliss'"),
        ({"_5": "zero"}, "not whole numbers"),
        ({"_6": "-1"}, "not whole numbers"),
        ({"_6": "²"}, "not whole numbers"),
        ({"_2": "  "}, "no speaker"),
        ({"_9": "16:16"}, "'16:16' is not a time"),
    ],
)
def test_damage_to_a_row_is_named(root, change, message):
    with pytest.raises(LabelError, match=message) as caught:
        read_meld(with_row(root, **change))
    assert str(caught.value.where).endswith("train_sent_emo.csv, line 2")


def test_damage_to_a_file_is_named(root):
    path = root / "dev_sent_emo.csv"
    text = path.read_text()
    path.write_text(text + text.split("\n")[2] + "\n")
    with pytest.raises(LabelError, match=r"utterance 1 twice, first at .*line 3") as caught:
        read_meld(root)
    assert str(caught.value.where).endswith("dev_sent_emo.csv, line 23")
    path.write_text(text.replace("Speaker", "Name", 1))
    with pytest.raises(CorpusError, match=r"missing column\(s\): Speaker"):
        read_meld(root)
    path.write_text(text.split("\n")[0] + "\n")
    with pytest.raises(CorpusError, match="no utterances"):
        read_meld(root)


def test_the_whole_corpus(shared_data):
    corpus = read_meld(shared_data / "meld_text")
    frame = corpus.frame
    parts = frame.groupby("split").agg({"id": "size", "dialogue": "nunique"})
    assert parts.loc["train"].tolist() == [9989, 1038]
    assert parts.loc["development"].tolist() == [1109, 114]
    assert parts.loc["test1"].tolist() == [2610, 280]
    assert frame["consensus"].value_counts().to_dict() == {
        "neutral": 6436,
        "joy": 2308,
        "surprise": 1636,
        "anger": 1607,
        "sadness": 1002,
        "disgust": 361,
        "fear": 358,
    }
    assert set(frame["audio"]) == {""}
    assert frame["seconds"].isna().sum() == 1
    assert not frame["transcript"].str.contains("[\x80-\x9f]").any()
    order = [frame["turn"].iloc[rows].to_numpy() for rows in corpus.dialogues().values()]
    assert all((np.diff(turns) > 0).all() for turns in order)
