"""Ratings of MSP-Podcast: the layouts of all releases, and errors with file and line."""

import json

import pytest
from small_msp import A, B

from medusa_jax.corpus.ratings import read_ratings
from medusa_jax.errors import CorpusError

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
            f"FileName,WorkerID,{COLUMNS}\n"
            f'{A},WORKER00000044,Surprise,"Neutral,Surprise",3,5.0,3\n',
        ),
        (
            "d.csv",
            f"FileName,Workers,Extra,{COLUMNS}\n"
            f'{A},WORKER00000044,x,Surprise,"Neutral, Surprise,",3,5,3\n',
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
def test_the_layouts_of_all_releases(tmp_path, name, text):
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
        ("d.csv", csv_with(LINE.replace("WORKER00000044", " ")), "has no rater", "line 3"),
        (
            "d.csv",
            csv_with(LINE).replace(B, A),
            "second rating of MSP-PODCAST_0001_0008.wav",
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
            "missing column.s.*: EmoClass_Second",
            "d.csv",
        ),
        (
            "d.csv",
            "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
            "x.wav,W,Sad,,1,1\n",
            "6 fields",
            "line 2",
        ),
        (
            "d.csv",
            "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
            "x.wav,W,sadness,,1,1,1\n",
            "'sadness'",
            "line 2",
        ),
        ("d.txt", f"{LINE}\n", "before the line of its file", "line 1"),
        ("d.txt", f"{A}; N; A:2.4; V:4.0; D:2.8;\nWORKER; Surprise\n", "not a vote line", "line 2"),
        (
            "d.json",
            '{"a.wav": {"W": {"EmoClass_Major": "Sad"}}}',
            "missing field.s.: EmoClass_Second",
            "a.wav, W",
        ),
        ("d.json", '{"a.wav": {"W": 3}}', "expected an object", "a.wav, W"),
        ("d.json", '{"a.wav": {"W": {}, "W": {}}}', "duplicate key 'W'", "d.json"),
        ("d.json", '{"a.wav": {}, "a.wav": {}}', "duplicate key 'a.wav'", "d.json"),
        ("d.json", '{"a.wav": {}\n', "not valid JSON", "line 2"),
        ("d.json", "[]", "does not contain an object", "d.json"),
    ],
)
def test_damaged_votes_are_named_with_file_and_line(tmp_path, name, text, message, place):
    (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_ratings(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value.where)
    assert place in str(caught.value.where)
