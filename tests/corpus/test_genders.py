"""Genders from a table fill what a corpus hides."""

from dataclasses import replace

import pytest
from toy_task import toy_corpus

from medusa_jax.corpus.genders import read_genders, with_genders
from medusa_jax.errors import LabelError


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "genders.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_hidden_genders_are_filled_and_known_ones_stay(table):
    corpus = toy_corpus()
    frame = corpus.frame.copy()
    frame.loc[0, "gender"] = "female"
    path = table(
        "id,gender,probability\nu00.wav,male,.9\nu01.wav,male,.8\nelsewhere.wav,female,1\n"
    )
    filled = with_genders(replace(corpus, frame=frame), path).frame["gender"]
    assert filled[:3].tolist() == ["female", "male", None]
    assert filled.notna().sum() == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,sex\nu00.wav,male\n", "gender"),
        ("id,gender\nu00.wav,male\nu01.wav,other\n", "unknown gender 'other'.*line 3"),
        ("id,gender\nu00.wav,male\nu00.wav,female\n", "twice"),
        ("id,gender\nelse.wav,male\n", "no utterance"),
        ("", "cannot be read"),
    ],
)
def test_a_bad_table_is_refused(text, words, table):
    with pytest.raises(LabelError, match=f"(?s){words}"):
        with_genders(toy_corpus(), table(text))


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        read_genders(tmp_path / "none.csv")
