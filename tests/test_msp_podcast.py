"""MSP-Podcast's label files: every layout round-trips, every damage is named with its file and line."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from medusa_jax.corpus.labels import CLASSES
from medusa_jax.corpus.medusa_csv import read_medusa_csv, write_medusa_csv
from medusa_jax.corpus.msp_layout import SYNTHETIC_NOTE, write_msp_podcast_labels
from medusa_jax.corpus.msp_podcast import read_consensus, read_msp_podcast, read_partitions, read_speakers
from medusa_jax.corpus.ratings import RATING_COLUMNS, read_ratings
from medusa_jax.errors import CorpusError, LabelError

A, B, C, D, E = (f"MSP-PODCAST_{number}.wav" for number in ("0001_0008", "0001_0009_0002", "0002_0001", "0003_0001", "0004_0001"))
TEST3 = [f"MSP-PODCAST_test3_000{i}.wav" for i in (1, 2)]

RATINGS = pd.DataFrame(
    [
        (A, "WORKER01", "Happy", ["Happy", "Amused", "Excited"], 4.0, 6.0, 5.0),
        (A, "WORKER02", "Happy", [], 5.0, 5.0, 4.0),
        (A, "WORKER03", "Surprise", ["Neutral", "Surprise"], 3.0, 4.0, 3.0),
        (B, "WORKER01", "Other-bored; or, perhaps, tired", ["Other-half asleep, really", "Sad"], 1.0, 2.0, 3.0),
        (B, "WORKER02", "Other", ["Disappointed"], 2.0, 2.0, 2.0),
        (C, "WORKER02", "Angry", ["Annoyed", "Angry"], 7.0, 1.0, 7.0),
        (C, "WORKER04", "Contempt", ["Frustrated"], 6.0, 1.0, 6.0),
        (D, "WORKER03", "Neutral", ["Neutral"], np.nan, np.nan, np.nan),
        (E, "WORKER05", 'Other-she said "no"', ["Confused"], 3.25, 3.5, 4.125),
        (E, "WORKER01", "Fear", ["Fear", "Concerned", "Depressed"], 3.0, 3.0, 3.0),
        (E, "WORKER02", "Fear", ["Other"], 3.0, 3.0, 3.0),
    ],
    columns=list(RATING_COLUMNS),
)
UTTERANCES = pd.DataFrame(
    [
        (A, 12, "Male", "Train", "well hello"),
        (B, "Unknown", "Unknown", "Train", "mm"),
        (C, 7, "Female", "Development", ""),
        (D, 12, "Male", "Train", None),
        (E, 9, "Female", "Test1", "naïve café"),
        (TEST3[0], "Unknown", "Unknown", "Test3", None),
    ],
    columns=["FileName", "SpkrID", "Gender", "Split_Set", "transcript"],
)
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
    files = sorted(p.name for p in (tmp_path / "Labels").iterdir() if "detailed" in p.name or p.suffix == ".txt")
    csvs = ["labels_detailed.csv"] if layout != "json" else []
    assert files == (["labels.txt"] if layout == "packed" else []) + csvs + ["labels_detailed.json"]
    for name in files:
        pd.testing.assert_frame_equal(read_ratings(tmp_path / "Labels" / name), RATINGS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_table(tmp_path, root, layout):
    write_msp_podcast_labels(tmp_path / "other", RATINGS, UTTERANCES, layout)
    pd.testing.assert_frame_equal(read_msp_podcast(tmp_path / "other").frame, read_msp_podcast(root).frame)


@pytest.mark.parametrize(
    "removed",
    [
        ["labels_consensus.csv"],
        ["labels_detailed.csv"],
        ["labels_consensus.csv", "labels_consensus.json"],  # labels.txt stands in, with Partitions.txt and Speaker_ids.txt
        ["labels_detailed.csv", "labels_detailed.json"],
        ["labels_consensus.csv", "labels_consensus.json", "labels.txt"],  # plurality and means stand in
        ["../Partitions.txt", "../Speaker_ids.txt"],
    ],
)
def test_whatever_files_are_there_tell_the_same(root, removed):
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
    assert corpus.frame["split"].tolist() == ["train", "train", "development", "train", "test1", "test3", "test3"]
    assert corpus.frame["consensus"].astype(object).where(corpus.frame["consensus"].notna(), None).tolist() == [
        "happy", "other", "no_agreement", "neutral", "fear", None, None,
    ]  # fmt: skip
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
    sad, happy, neutral, surprise = (CLASSES.index(c) for c in ("sad", "happy", "neutral", "surprise"))
    assert mentions.soft[row_of[B], sad] == 1  # the only class that anyone named
    assert mentions.soft[row_of[A], [happy, neutral, surprise]] == pytest.approx([3 / 6, 1 / 6, 2 / 6])
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


def test_a_generated_folder_says_so(root):
    (root / SYNTHETIC_NOTE).write_text("{}")
    assert read_msp_podcast(root).synthetic


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
        ("d.csv", f'FileName,WorkerID,{COLUMNS}\n{A},WORKER00000044,Surprise,"Neutral,Surprise",3,5.0,3\n'),
        ("d.csv", f'FileName,Workers,Extra,{COLUMNS}\n{A},WORKER00000044,x,Surprise,"Neutral, Surprise,",3,5,3\n'),
        ("d.json", json_with(EmoClass_Second="Neutral,Surprise", EmoAct="3.0", EmoVal="5", EmoDom=3, Gender="Male")),
        ("d.json", json_with(EmoClass_Second=["Neutral", "Surprise"], EmoAct=3, EmoVal=5, EmoDom=3)),
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
        ("d.csv", csv_with(LINE.replace("Surprise; Neutral", "Joy; Neutral")), "unknown primary emotion 'Joy'", "line 3"),
        ("d.csv", csv_with(LINE.replace("Neutral,", "Nuetral,")), "unknown secondary emotion 'Nuetral'", "line 3"),
        ("d.csv", csv_with(LINE.replace("V:5.000000", "V:8.000000")), "EmoVal is '8.000000'", "line 3"),
        ("d.csv", csv_with(LINE.replace("A:3.000000", "A:high")), "EmoAct is 'high'", "line 3"),
        ("d.csv", csv_with(LINE.replace("D:3.000000", "D:-inf")), "EmoDom is '-inf'", "line 3"),
        ("d.csv", csv_with("WORKER1; Surprise; A:3.0; V:5.0; D:3.0;"), "no secondary field", "line 3"),
        ("d.csv", csv_with("WORKER1; Surprise"), "not a vote line", "line 3"),
        ("d.csv", csv_with(LINE.replace("WORKER00000044", " ")), "names no rater", "line 3"),
        ("d.csv", csv_with(LINE).replace(B, A), "rates MSP-PODCAST_0001_0008.wav a second time", "line 3"),
        ("d.csv", csv_with(LINE).replace(B, "../x.wav"), "'../x.wav' is not the name", "line 3"),
        ("d.csv", csv_with(LINE).replace(B, "/etc/passwd"), "'/etc/passwd' is not the name", "line 3"),
        ("d.csv", csv_with(LINE).replace(B, "a\\b.wav"), "is not the name", "line 3"),
        ("d.csv", 'FileName,Labels\nx.wav,"unclosed\n', "not valid CSV", "line 2"),
        ("d.csv", "", "empty", "d.csv"),
        ("d.csv", "FileName,Workers,EmoClass_Major,EmoAct,EmoVal,EmoDom\n", "lacks the column.s. EmoClass_Second", "d.csv"),
        ("d.csv", "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\nx.wav,W,Sad,,1,1\n", "6 fields", "line 2"),
        ("d.csv", "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\nx.wav,W,sadness,,1,1,1\n", "'sadness'", "line 2"),
        ("d.txt", f"{LINE}\n", "before the first file", "line 1"),
        ("d.txt", f"{A}; N; A:2.4; V:4.0; D:2.8;\nWORKER; Surprise\n", "not a vote line", "line 2"),
        ("d.json", '{"a.wav": {"W": {"EmoClass_Major": "Sad"}}}', "lacks the field.s. EmoClass_Second", "a.wav, W"),
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
        ("c.csv", HEADER + GOOD + GOOD.replace("N,", "Z,").replace("a.", "b."), "unknown class letter 'Z'", "line 3"),
        ("c.csv", HEADER + GOOD.replace("N,", "n,"), "unknown class letter 'n'", "line 2"),
        ("c.csv", HEADER + GOOD.replace("Train", "Holdout"), "unknown split 'Holdout'", "line 2"),
        ("c.csv", HEADER + GOOD.replace("Train", ""), "unknown split ''", "line 2"),
        ("c.csv", HEADER + GOOD.replace("Male", "M"), "unknown gender 'M'", "line 2"),
        ("c.csv", HEADER + GOOD.replace("4.0", "9.5", 1), "EmoAct is '9.5'", "line 2"),
        ("c.csv", HEADER + GOOD + GOOD, "a.wav stands twice", "line 3"),
        ("c.csv", HEADER + GOOD.replace("a.wav", "../a.wav"), "'../a.wav' is not the name", "line 2"),
        ("c.csv", HEADER + GOOD.replace("a.wav", "a.mp3"), "'a.mp3' is not the name", "line 2"),
        ("c.csv", HEADER + "a.wav,N\n", "2 fields where the header has 8", "line 2"),
        ("c.json", '{"a.wav": {"EmoClass": "N"}}', "lacks the field.s. EmoAct", "a.wav"),
        ("c.json", '{"a.wav": {}, "a.wav": {}}', "stands twice", "c.json"),
        ("c.txt", "a.wav; N; A:2.4; V:4.0\n", "not a file line", "line 1"),
        ("c.txt", "a.wav; N; A:2.4; V:4; D:2;\n\na.wav; N; A:2.4; V:4; D:2;\n", "stands twice", "line 3"),
    ],
)
def test_damaged_consensus_files_are_named_with_file_and_line(tmp_path, name, text, message, place):
    (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_consensus(tmp_path / name)
    assert place in str(caught.value.where)


def test_json_values_may_be_strings(tmp_path):
    fields = {"EmoClass": "N", "EmoAct": "4.5", "EmoVal": "4", "EmoDom": 3, "SpkrID": "127.0", "Gender": "Female", "Split_Set": "Development"}
    (tmp_path / "c.json").write_text(json.dumps({"a.wav": fields, "b.wav": {**fields, "SpkrID": 127, "Gender": "Unknown"}}))
    first, second = read_consensus(tmp_path / "c.json").values()
    assert (first.consensus, first.arousal, first.speaker, first.gender, first.split) == ("neutral", 4.5, "127", "female", "development")
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


def test_partition_file_names_and_old_split_names(root):
    (root / "Partitions.txt").rename(root / "Partition.txt")
    assert (read_msp_podcast(root).frame["split"] == "test3").sum() == 1
    (root / "Partition.txt").write_text(f"Validation; {A}\n")
    with pytest.raises(CorpusError, match="is in train by the consensus file and in development"):
        read_msp_podcast(root)


def test_a_speaker_told_twice_is_the_consensus_files_and_said(root, caplog):
    lines = (root / "Speaker_ids.txt").read_text().replace(f"{A};12", f"{A};13")
    (root / "Speaker_ids.txt").write_text(lines)
    assert row(read_msp_podcast(root), A)["speaker"] == "12"
    assert "1 utterance(s) have another speaker" in caplog.text


def test_rated_files_in_no_split_are_left_out_and_said(root, caplog):
    for name in ("labels_consensus.csv", "labels_consensus.json"):
        (root / "Labels" / name).unlink()
    (root / "Labels" / "labels.txt").unlink()
    (root / "Partitions.txt").write_text(f"Train; {A}\n")
    assert read_msp_podcast(root).frame["id"].tolist() == [A]
    assert "4 rated file(s) stand in no split" in caplog.text


def test_folders_that_are_no_corpus(tmp_path, root):
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


def test_medusas_table_round_trips(root, tmp_path):
    corpus = read_msp_podcast(root)
    write_medusa_csv(corpus, tmp_path / "soft.csv")
    header, first, *rest = (tmp_path / "soft.csv").read_text().splitlines()
    assert header == "FileName,Angry,Sad,Happy,Surprise,Fear,Disgust,Contempt,Neutral,EmoAct,EmoVal,EmoDom,Split_Set"
    assert first == f"{A},0.0,0.0,0.6666666666666666,0.3333333333333333,0.0,0.0,0.0,0.0,4.0,5.0,4.0,Train"
    assert len(rest) == 4  # test3 has no labels
    back = read_medusa_csv(tmp_path / "soft.csv", root)
    labelled = corpus.of_split("train", "development", "test1")
    np.testing.assert_array_equal(back.soft, labelled.soft)
    np.testing.assert_array_equal(back.attributes, labelled.attributes)
    for column in ("id", "audio", "split"):
        assert back.frame[column].tolist() == labelled.frame[column].tolist()
    assert back.frame["consensus"].astype(object).where(back.frame["consensus"].notna(), None).tolist() == [
        "happy", None, "no_agreement", "neutral", "fear",
    ]  # fmt: skip
    write_medusa_csv(back, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "soft.csv").read_bytes()
    with pytest.raises(LabelError, match="MEDUSA's table has the classes"):
        write_medusa_csv(read_msp_podcast(root, soft_labels="with_other"), tmp_path / "nine.csv")


MEDUSA = "FileName,Angry,Sad,Happy,Surprise,Fear,Disgust,Contempt,Neutral,EmoAct,EmoVal,EmoDom,Split_Set\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav,.5,.4,0,0,0,0,0,0,4,4,4,Train", "sum is 0.9000"),
        ("a.wav,1.5,-.5,0,0,0,0,0,0,4,4,4,Train", "not a distribution"),
        ("a.wav,nan,0,0,0,0,0,0,1,4,4,4,Train", "not a distribution"),
        ("a.wav,x,0,0,0,0,0,0,1,4,4,4,Train", "not made of numbers"),
        ("a.wav,0,0,0,0,0,0,0,1,4,4,4,Test3", "unknown split 'Test3'"),
        ("a.wav,0,0,0,0,0,0,0,1,4,0,4,Train", "EmoVal is '0'"),
        ("../a.wav,0,0,0,0,0,0,0,1,4,4,4,Train", "is not the name"),
        ("b.wav,0,0,0,0,0,0,0,1,4,4,4,Train", "b.wav stands twice"),
    ],
)
def test_damage_to_medusas_table_is_named(tmp_path, line, message):
    (tmp_path / "soft.csv").write_text(f"{MEDUSA}b.wav,0,0,0,0,0,0,0,1,4,4,4,Train\n{line}\n")
    with pytest.raises(LabelError, match=message) as caught:
        read_medusa_csv(tmp_path / "soft.csv")
    assert "line 3" in str(caught.value.where)
    (tmp_path / "soft.csv").write_text(MEDUSA.replace("Fear,", ""))
    with pytest.raises(CorpusError, match=r"lacks the column.s. Fear"):
        read_medusa_csv(tmp_path / "soft.csv")
