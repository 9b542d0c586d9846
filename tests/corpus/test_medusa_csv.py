"""The soft-label table of MEDUSA's authors: a round trip, and damage by name."""

import numpy as np
import pytest
from small_msp import RATINGS, UTTERANCES, A

from medusa_jax.corpus.medusa_csv import read_medusa_csv, write_medusa_csv
from medusa_jax.corpus.msp_layout import write_msp_podcast_labels
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.errors import CorpusError, LabelError


@pytest.fixture
def root(tmp_path):
    write_msp_podcast_labels(tmp_path / "msp", RATINGS, UTTERANCES)
    return tmp_path / "msp"


def test_medusas_table_round_trips(root, tmp_path):
    corpus = read_msp_podcast(root)
    write_medusa_csv(corpus, tmp_path / "soft.csv")
    header, first, *rest = (tmp_path / "soft.csv").read_text().splitlines()
    assert header + "\n" == MEDUSA
    assert (
        first
        == f"{A},0.0,0.0,0.6666666666666666,0.3333333333333333,0.0,0.0,0.0,0.0,4.0,5.0,4.0,Train"
    )
    assert len(rest) == 4  # test3 has no labels
    back = read_medusa_csv(tmp_path / "soft.csv")
    labelled = corpus.of_split("train", "development", "test1")
    np.testing.assert_array_equal(back.soft, labelled.soft)
    np.testing.assert_array_equal(back.attributes, labelled.attributes)
    for column in ("id", "audio", "split"):
        assert back.frame[column].tolist() == labelled.frame[column].tolist()
    found = back.frame["consensus"].astype(object)
    assert found.where(found.notna(), None).tolist() == [
        "happy",
        None,
        "no_agreement",
        "neutral",
        "fear",
    ]
    write_medusa_csv(back, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "soft.csv").read_bytes()
    with pytest.raises(LabelError, match="the table needs the classes"):
        write_medusa_csv(read_msp_podcast(root, soft_labels="with_other"), tmp_path / "nine.csv")


MEDUSA = (
    "FileName,Angry,Sad,Happy,Surprise,Fear,Disgust,Contempt,Neutral,"
    "EmoAct,EmoVal,EmoDom,Split_Set\n"
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav,.5,.4,0,0,0,0,0,0,4,4,4,Train", "sum is 0.9000"),
        ("a.wav,1.5,-.5,0,0,0,0,0,0,4,4,4,Train", "not a distribution"),
        ("a.wav,nan,0,0,0,0,0,0,1,4,4,4,Train", "not a distribution"),
        ("a.wav,x,0,0,0,0,0,0,1,4,4,4,Train", "contains a non-number"),
        ("a.wav,0,0,0,0,0,0,0,1,4,4,4,Test3", "unknown split 'Test3'"),
        ("a.wav,0,0,0,0,0,0,0,1,4,0,4,Train", "EmoVal is '0'"),
        ("../a.wav,0,0,0,0,0,0,0,1,4,4,4,Train", "is not the name"),
        ("b.wav,0,0,0,0,0,0,0,1,4,4,4,Train", "duplicate row for b.wav"),
    ],
)
def test_damage_to_medusas_table_is_named(tmp_path, line, message):
    (tmp_path / "soft.csv").write_text(f"{MEDUSA}b.wav,0,0,0,0,0,0,0,1,4,4,4,Train\n{line}\n")
    with pytest.raises(LabelError, match=message) as caught:
        read_medusa_csv(tmp_path / "soft.csv")
    assert "line 3" in str(caught.value.where)
    (tmp_path / "soft.csv").write_text(MEDUSA.replace("Fear,", ""))
    with pytest.raises(CorpusError, match=r"missing column.s.: Fear"):
        read_medusa_csv(tmp_path / "soft.csv")
