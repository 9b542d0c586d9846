"""IEMOCAP: label sets, votes and order of a folder in its layout, and damage to it."""

import numpy as np
import pytest
from small_iemocap import CODES, write_iemocap

from medusa_jax.corpus.iemocap import LABEL_SETS, read_iemocap
from medusa_jax.corpus.iemocap_labels import read_evaluation, read_transcriptions
from medusa_jax.corpus.splits import shared_speakers
from medusa_jax.errors import CorpusError, LabelError

EVALUATION = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
TRANSCRIPTION = "Session1/dialog/transcriptions/Ses01F_impro01.txt"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_iemocap(tmp_path_factory.mktemp("iemocap"))


@pytest.fixture
def small(tmp_path):
    return write_iemocap(tmp_path, sessions=(1, 5), scenes=("impro01",), turns=4)


def row_of(corpus, code):
    """The first utterance of session 1 with this emotion in its file."""
    turn = (CODES.index(code) - 1) % len(CODES)
    return corpus.frame.iloc[turn]


def test_an_utterance_by_hand(root):
    corpus = read_iemocap(root)
    row = corpus.frame.iloc[1]
    wav = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"
    assert (row["id"], row["audio"]) == ("Ses01F_impro01_M000", wav)
    assert (row["split"], row["speaker"], row["gender"]) == ("train", "Ses01M", "male")
    assert (row["dialogue"], row["turn"]) == ("Ses01F_impro01", 1)
    assert row["seconds"] == pytest.approx(0.3)
    assert row["transcript"] == "It is Excited today."
    assert row["consensus"] == "excited"
    assert (row["votes_excited"], row["votes_neutral"], row["votes_other"]) == (3, 1, 0)
    assert row["soft_excited"] == 0.75
    # 3.0, 2.5 and 3.5 of 1 to 5
    assert (row["arousal"], row["valence"], row["dominance"]) == (4.0, 3.25, 4.75)


def test_sessions_speakers_and_turns(root):
    corpus = read_iemocap(root)
    frame = corpus.frame
    assert len(corpus) == 5 * 2 * 8
    sessions = frame.groupby("split")["speaker"].unique().map(sorted).to_dict()
    assert sessions["train"] == [f"Ses0{i}{sex}" for i in (1, 2, 3) for sex in "FM"]
    assert (sessions["development"], sessions["test1"]) == (
        ["Ses04F", "Ses04M"],
        ["Ses05F", "Ses05M"],
    )
    splits = [(frame["split"] == split).to_numpy() for split in sessions]
    assert not shared_speakers(corpus, splits)
    assert len(corpus.dialogues()) == 10
    for rows in corpus.dialogues().values():
        assert frame["turn"].iloc[rows].tolist() == list(range(8))


def test_turns_are_in_the_order_of_time(small):
    path = small / EVALUATION
    head, *blocks = path.read_text().split("\n\n")
    path.write_text("\n\n".join([head, *blocks[2:], *blocks[:2]]))
    ids = read_iemocap(small).frame["id"]
    assert ids.tolist()[:4] == [
        f"Ses01F_impro01_{name}" for name in ("F000", "M000", "F001", "M001")
    ]


EXPECTED = {
    (6, False): {"exc": "excited", "hap": "happy", "fru": "frustrated"},
    (5, False): {"exc": "other", "hap": "happy", "fru": "frustrated"},
    (5, True): {"exc": "happy", "hap": "happy", "fru": "frustrated"},
    (4, False): {"exc": "other", "hap": "happy", "fru": "other"},
    (4, True): {"exc": "happy", "hap": "happy", "fru": "other"},
}


@pytest.mark.parametrize(("size", "merged"), EXPECTED)
def test_label_sets(root, size, merged):
    corpus = read_iemocap(root, label_set=size, merge_excited=merged)
    assert corpus.classes == LABEL_SETS[size]
    known = {"xxx": "no_agreement", "fea": "other", "sad": "sad", "neu": "neutral", "ang": "angry"}
    for code, name in {**known, **EXPECTED[size, merged]}.items():
        row = row_of(corpus, code)
        assert row["consensus"] == name
        if name not in ("no_agreement", "other"):
            assert (row[f"votes_{name}"], row["votes_neutral"]) == (
                (3, 3) if name == "neutral" else (3, 1)
            )
    assert len(corpus) == 80
    assert {len(rows) for rows in corpus.dialogues().values()} == {8}


def test_a_rater_counts_once_a_class_and_the_actor_not_at_all(small):
    path = small / EVALUATION
    text = path.read_text().replace(
        "C-E2:\tAnger;", "C-E2:\tHappiness; Excited; Fear; Surprise;", 1
    )
    path.write_text(text)
    row = read_iemocap(small, label_set=4, merge_excited=True).frame.iloc[0]
    votes = {name: row[f"votes_{name}"] for name in ("happy", "angry", "neutral", "other")}
    assert votes == {"happy": 1, "angry": 2, "neutral": 1, "other": 1}
    assert row["consensus"] == "angry"
    wide = read_iemocap(small, soft_labels="with_other")
    assert wide.frame["soft_other"].iat[0] == pytest.approx(1 / 6)


def test_means_off_the_scale_are_clipped(small):
    path = small / EVALUATION
    path.write_text(path.read_text().replace("[2.5000, 3.0000, 3.5000]", "[5.5, 0.5, 1.0]", 1))
    row = read_iemocap(small).frame.iloc[0]
    assert (row["valence"], row["arousal"], row["dominance"]) == (7, 1, 1)


def test_a_folder_without_sound_has_text_alone(tmp_path):
    corpus = read_iemocap(write_iemocap(tmp_path, sound=False))
    assert set(corpus.frame["audio"]) == {""}
    np.testing.assert_allclose(corpus.frame["seconds"], 0.3)
    assert corpus.frame["transcript"].str.startswith("It is").all()


def test_a_missing_wav_is_named(small):
    wav = small / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav"
    wav.unlink()
    with pytest.raises(CorpusError, match=r"1 of 8 WAV files .*F001\.wav") as caught:
        read_iemocap(small)
    assert str(caught.value.where).endswith("Ses01F_impro01.txt, line 19")


@pytest.mark.parametrize(
    ("line", "message", "place"),
    [
        ("C-E2:\tAnger;\t()", None, None),
        ("C-E2:\tAnger\t()", None, None),
        ("C-E2:\tJealousy;\t()", "unknown emotion 'jealousy'", "line 4"),
        ("C-E2;\tAnger;\t()", "not a rating", "line 4"),
        ("C-X2:\tAnger;\t()", "not a rating", "line 4"),
        ("A-E2\tval 3;", "not a line of an evaluation", "line 4"),
        ("garbage", "not a line of an evaluation", "line 4"),
        ("[6.3 - 7.0]\tSes01F_impro01_F009\tang", "not the first line", "line 4"),
        ("[6.3 - 7.0]\tSes01F_impro02_F009\tang\t[1, 2, 3]", "no utterance of Ses01F", "line 4"),
        ("[6.3 - 7.0]\t../../F009\tang\t[1, 2, 3]", "no utterance of Ses01F", "line 4"),
        ("[6.3 - 7.0]\tSes01F_impro01_F009\tbad\t[1, 2, 3]", "unknown emotion 'bad'", "line 4"),
        ("[6.3 - 7.0]\tSes01F_impro01_F009\tang\t[1, 9, 3]", "'9' is not a number", "line 4"),
        ("[6.3 - 7..0]\tSes01F_impro01_F009\tang\t[1, 2, 3]", "'7..0' is not a number", "line 4"),
        ("[6.3 - 7.0]\tSes01F_impro01_F000\tang\t[1, 2, 3]", "rated twice", "line 4"),
    ],
)
def test_damage_to_an_evaluation_is_named(small, line, message, place):
    path = small / EVALUATION
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:3], line, *lines[3:]]))
    if message is None:
        assert len(read_evaluation(path)) == 4
        return
    with pytest.raises(LabelError, match=message) as caught:
        read_iemocap(small)
    assert str(caught.value.where).endswith(f"Ses01F_impro01.txt, {place}")


def test_a_rating_belongs_to_an_utterance(tmp_path):
    (tmp_path / "Ses01F_impro01.txt").write_text("% header\n\nC-E2:\tAnger;\t()\n")
    with pytest.raises(LabelError, match="before the line of its utterance") as caught:
        read_evaluation(tmp_path / "Ses01F_impro01.txt")
    assert "line 3" in str(caught.value.where)


def test_transcriptions_may_lack_nothing(small):
    path = small / TRANSCRIPTION
    text = path.read_text()
    assert len(read_transcriptions(path)) == 4
    first = next(line for line in text.split("\n") if "F000" in line)
    path.write_text(text.replace(first, ""))
    with pytest.raises(CorpusError, match=r"F000 has no line in .*transcriptions") as caught:
        read_iemocap(small)
    assert str(caught.value.where).endswith("Ses01F_impro01.txt, line 3")
    path.write_text(text.replace(first, first.replace("[", "(")))
    with pytest.raises(LabelError, match="not a transcription") as caught:
        read_iemocap(small)
    assert str(caught.value.where).endswith("transcriptions/Ses01F_impro01.txt, line 1")
    path.unlink()
    with pytest.raises(CorpusError, match="cannot read the label file"):
        read_iemocap(small)


def test_folders_and_label_sets_that_do_not_exist(tmp_path, small):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no evaluation of a dialogue found"):
        read_iemocap(tmp_path / "empty")
    with pytest.raises(CorpusError, match="no label set of 7"):
        read_iemocap(small, label_set=7)
    with pytest.raises(CorpusError, match="cannot be merged"):
        read_iemocap(small, label_set=6, merge_excited=True)
    (small / EVALUATION).rename(small / "Session1/dialog/EmoEvaluation/Ses05F_impro02.txt")
    with pytest.raises(CorpusError, match="another session than 1"):
        read_iemocap(small)
