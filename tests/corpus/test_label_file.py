"""MSP-Podcast's label files: shapes seen in releases are read, every damage is named with its file and line."""

import json

import pandas as pd
import pytest
from small_msp import RATINGS, UTTERANCES, A, B

from medusa_jax.corpus.msp_layout import write_msp_podcast_labels
from medusa_jax.corpus.msp_podcast import read_consensus, read_partitions, read_speakers
from medusa_jax.corpus.ratings import read_ratings
from medusa_jax.errors import CorpusError, LabelError

LINE = "WORKER00000044; Surprise; Neutral,Surprise; A:3.000000; V:5.000000; D:3.000000;"
RATING = (A, "WORKER00000044", "Surprise", ["Neutral", "Surprise"], 3.0, 5.0, 3.0)
COLUMNS = "EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom"


def json_with(**fields):
    return json.dumps({A: {"WORKER00000044": {"EmoClass_Major": "Surprise", **fields}}})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.csv", f'Name,Text\n{A},"{LINE}"\n'),
        ("d.csv", f'{A},"{LINE}"\n'),  # no header
        ("d.csv", f"FileName,Labels\n{A},{LINE}\n"),  # commas not quoted
        ("d.csv", f'\ufeffFileName,Labels\r\n{A},"{LINE}"\r\n\r\n'),
        (
            "d.csv",
            f'FileName,WorkerID,{COLUMNS}\n{A},WORKER00000044,Surprise,"Neutral,Surprise",3,5.0,3\n',
        ),
        (
            "d.csv",
            f'FileName,Workers,Extra,{COLUMNS}\n{A},WORKER00000044,x,Surprise,"Neutral, Surprise,",3,5,3\n',
        ),
        (
            "d.json",
            json_with(
                EmoClass_Second="Neutral,Surprise",
                EmoAct="3.0",
                EmoVal="5",
                EmoDom=3,
                Gender="Male",
            ),
        ),
        (
            "d.json",
            json_with(EmoClass_Second=["Neutral", "Surprise"], EmoAct=3, EmoVal=5, EmoDom=3),
        ),
        ("d.txt", f"{A}; N; A:2.4; V:4.0; D:2.8;\n{LINE}\n\n"),
        ("d.txt", f"{A}; N; A:2.4; V:4.0; D:2.8;\r\n  {LINE[:-1]}\r\n"),
    ],
)
def test_shapes_seen_in_releases(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    assert read_ratings(tmp_path / name).to_numpy().tolist() == [list(RATING)]


def csv_with(line):
    return f'FileName,Labels\n{A},"{LINE}"\n{B},"{line}"\n'


@pytest.mark.parametrize(
    ("name", "text", "message", "place"),
    [
        (
            "d.csv",
            csv_with(LINE.replace("Surprise; Neutral", "Joy; Neutral")),
            "unknown primary emotion 'Joy'",
            "line 3",
        ),
        (
            "d.csv",
            csv_with(LINE.replace("Neutral,", "Nuetral,")),
            "unknown secondary emotion 'Nuetral'",
            "line 3",
        ),
        (
            "d.csv",
            csv_with(LINE.replace("V:5.000000", "V:8.000000")),
            "EmoVal is '8.000000'",
            "line 3",
        ),
        ("d.csv", csv_with(LINE.replace("A:3.000000", "A:high")), "EmoAct is 'high'", "line 3"),
        ("d.csv", csv_with(LINE.replace("D:3.000000", "D:-inf")), "EmoDom is '-inf'", "line 3"),
        (
            "d.csv",
            csv_with("WORKER1; Surprise; A:3.0; V:5.0; D:3.0;"),
            "no secondary field",
            "line 3",
        ),
        ("d.csv", csv_with("WORKER1; Surprise"), "not a vote line", "line 3"),
        ("d.csv", csv_with(LINE.replace("WORKER00000044", " ")), "names no rater", "line 3"),
        (
            "d.csv",
            csv_with(LINE).replace(B, A),
            "rates MSP-PODCAST_0001_0008.wav a second time",
            "line 3",
        ),
        ("d.csv", csv_with(LINE).replace(B, "../x.wav"), "'../x.wav' is not the name", "line 3"),
        (
            "d.csv",
            csv_with(LINE).replace(B, "/etc/passwd"),
            "'/etc/passwd' is not the name",
            "line 3",
        ),
        ("d.csv", csv_with(LINE).replace(B, "a\\b.wav"), "is not the name", "line 3"),
        ("d.csv", 'FileName,Labels\nx.wav,"unclosed\n', "not valid CSV", "line 2"),
        ("d.csv", "", "empty", "d.csv"),
        (
            "d.csv",
            "FileName,Workers,EmoClass_Major,EmoAct,EmoVal,EmoDom\n",
            "lacks the column.s. EmoClass_Second",
            "d.csv",
        ),
        (
            "d.csv",
            "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\nx.wav,W,Sad,,1,1\n",
            "6 fields",
            "line 2",
        ),
        (
            "d.csv",
            "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\nx.wav,W,sadness,,1,1,1\n",
            "'sadness'",
            "line 2",
        ),
        ("d.txt", f"{LINE}\n", "before the first file", "line 1"),
        ("d.txt", f"{A}; N; A:2.4; V:4.0; D:2.8;\nWORKER; Surprise\n", "not a vote line", "line 2"),
        (
            "d.json",
            '{"a.wav": {"W": {"EmoClass_Major": "Sad"}}}',
            "lacks the field.s. EmoClass_Second",
            "a.wav, W",
        ),
        ("d.json", '{"a.wav": {"W": 3}}', "expected an object", "a.wav, W"),
        ("d.json", '{"a.wav": {"W": {}, "W": {}}}', "'W' stands twice", "d.json"),
        ("d.json", '{"a.wav": {}, "a.wav": {}}', "'a.wav' stands twice", "d.json"),
        ("d.json", '{"a.wav": {}\n', "not valid JSON", "line 2"),
        ("d.json", "[]", "does not hold an object", "d.json"),
    ],
)
def test_damaged_votes_are_named_with_file_and_line(tmp_path, name, text, message, place):
    (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_ratings(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value.where)
    assert place in str(caught.value.where)


HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
GOOD = "a.wav,N,4.0,4.0,4.0,1,Male,Train\n"


@pytest.mark.parametrize(
    ("name", "text", "message", "place"),
    [
        ("c.csv", HEADER.replace(",Gender", ""), "lacks the column.s. Gender", "c.csv"),
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
        ("c.csv", HEADER + GOOD + GOOD, "a.wav stands twice", "line 3"),
        (
            "c.csv",
            HEADER + GOOD.replace("a.wav", "../a.wav"),
            "'../a.wav' is not the name",
            "line 2",
        ),
        ("c.csv", HEADER + GOOD.replace("a.wav", "a.mp3"), "'a.mp3' is not the name", "line 2"),
        ("c.csv", HEADER + "a.wav,N\n", "2 fields where the header has 8", "line 2"),
        ("c.json", '{"a.wav": {"EmoClass": "N"}}', "lacks the field.s. EmoAct", "a.wav"),
        ("c.json", '{"a.wav": {}, "a.wav": {}}', "stands twice", "c.json"),
        ("c.txt", "a.wav; N; A:2.4; V:4.0\n", "not a file line", "line 1"),
        (
            "c.txt",
            "a.wav; N; A:2.4; V:4; D:2;\n\na.wav; N; A:2.4; V:4; D:2;\n",
            "stands twice",
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
        (read_partitions, "Train; a.wav\nTest1; a.wav\n", "stands twice"),
        (read_partitions, "Train; a.wav\nTrain b.wav\n", "two fields"),
        (read_partitions, "Train; a.wav\nTrain; ../b.wav\n", "is not the name"),
        (read_speakers, "Speaker_1; Male\nSpeaker_2; Mal\n", "unknown gender 'Mal'"),
        (read_speakers, "Speaker_1; Male\nSpeaker_1; Female\n", "stands twice"),
        (read_speakers, "a.wav;1\na.wav;2\n", "stands twice"),
        (read_speakers, "a.wav;1\nnobody;2\n", "is not the name"),
    ],
)
def test_damaged_lists_are_named_with_file_and_line(tmp_path, reader, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(LabelError, match=message) as caught:
        reader(tmp_path / "list.txt")
    assert "list.txt, line 2" in str(caught.value.where)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, u: (r, u.drop(columns="Gender")), "lacks the column.s. Gender"),
        (lambda r, u: (r.drop(columns="EmoVal"), u), "lacks the column.s. EmoVal"),
        (lambda r, u: (r, u.iloc[1:]), "rated but not in the table"),
        (lambda r, u: (pd.concat([r, r]), u), "WORKER01 rates .* twice"),
        (lambda r, u: (r, pd.concat([u, u])), "stands twice"),
        (lambda r, u: (r.assign(Primary="Joy"), u), "unknown primary"),
        (lambda r, u: (r, u.assign(FileName=["../x.wav", *u["FileName"][1:]])), "is not the name"),
    ],
)
def test_the_writer_refuses_what_no_reader_would_take(tmp_path, change, message):
    with pytest.raises(CorpusError, match=message):
        write_msp_podcast_labels(tmp_path / "msp", *change(RATINGS, UTTERANCES))
    assert not (tmp_path / "msp").exists()
