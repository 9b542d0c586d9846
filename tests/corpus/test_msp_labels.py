"""Label files of MSP-Podcast with one record an utterance: errors with file and line."""

import json

import pytest

from medusa_jax.corpus.msp_labels import read_consensus, read_partitions, read_speakers
from medusa_jax.errors import CorpusError, LabelError

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
GOOD = "a.wav,N,4.0,4.0,4.0,1,Male,Train\n"


@pytest.mark.parametrize(
    ("name", "text", "message", "place"),
    [
        ("c.csv", HEADER.replace(",Gender", ""), "missing column.s.*: Gender", "c.csv"),
        (
            "c.csv",
            HEADER + GOOD + GOOD.replace("N,", "Z,").replace("a.", "b."),
            "unknown class letter 'Z'",
            "line 3",
        ),
        ("c.csv", HEADER + GOOD.replace("N,", "n,"), "unknown class letter 'n'", "line 2"),
        ("c.csv", HEADER + GOOD.replace("Train", "Holdout"), "unknown split 'Holdout'", "line 2"),
        ("c.csv", HEADER + GOOD.replace("Train", ""), "unknown split ''", "line 2"),
        ("c.csv", HEADER + GOOD.replace("Male", "M"), "unknown gender 'M'", "line 2"),
        ("c.csv", HEADER + GOOD.replace("4.0", "9.5", 1), "EmoAct is '9.5'", "line 2"),
        ("c.csv", HEADER + GOOD + GOOD, "duplicate line for a.wav", "line 3"),
        (
            "c.csv",
            HEADER + GOOD.replace("a.wav", "../a.wav"),
            "'../a.wav' is not the name",
            "line 2",
        ),
        ("c.csv", HEADER + GOOD.replace("a.wav", "a.mp3"), "'a.mp3' is not the name", "line 2"),
        ("c.csv", HEADER + "a.wav,N\n", "2 fields where the header has 8", "line 2"),
        ("c.json", '{"a.wav": {"EmoClass": "N"}}', "missing field.s.: EmoAct", "a.wav"),
        ("c.json", '{"a.wav": {}, "a.wav": {}}', "duplicate", "c.json"),
        ("c.txt", "a.wav; N; A:2.4; V:4.0\n", "not a file line", "line 1"),
        (
            "c.txt",
            "a.wav; N; A:2.4; V:4; D:2;\n\na.wav; N; A:2.4; V:4; D:2;\n",
            "duplicate",
            "line 3",
        ),
    ],
)
def test_damaged_consensus_files_are_named_with_file_and_line(tmp_path, name, text, message, place):
    (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_consensus(tmp_path / name)
    assert place in str(caught.value.where)


def test_json_values_may_be_strings(tmp_path):
    fields = {
        "EmoClass": "N",
        "EmoAct": "4.5",
        "EmoVal": "4",
        "EmoDom": 3,
        "SpkrID": "127.0",
        "Gender": "Female",
        "Split_Set": "Development",
    }
    (tmp_path / "c.json").write_text(
        json.dumps({"a.wav": fields, "b.wav": {**fields, "SpkrID": 127, "Gender": "Unknown"}})
    )
    first, second = read_consensus(tmp_path / "c.json").values()
    assert (first.consensus, first.arousal, first.speaker, first.gender, first.split) == (
        "neutral",
        4.5,
        "127",
        "female",
        "development",
    )
    assert (second.speaker, second.gender) == ("127", None)


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (read_partitions, "Train; a.wav\nTrial; b.wav\n", "unknown split 'Trial'"),
        (read_partitions, "Train; a.wav\nTest1; a.wav\n", "duplicate"),
        (read_partitions, "Train; a.wav\nTrain b.wav\n", "two fields"),
        (read_partitions, "Train; a.wav\nTrain; ../b.wav\n", "is not the name"),
        (read_speakers, "Speaker_1; Male\nSpeaker_2; Mal\n", "unknown gender 'Mal'"),
        (read_speakers, "Speaker_1; Male\nSpeaker_1; Female\n", "duplicate"),
        (read_speakers, "a.wav;1\na.wav;2\n", "duplicate"),
        (read_speakers, "a.wav;1\nnobody;2\n", "is not the name"),
    ],
)
def test_damaged_lists_are_named_with_file_and_line(tmp_path, reader, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(LabelError, match=message) as caught:
        reader(tmp_path / "list.txt")
    assert "list.txt, line 2" in str(caught.value.where)
