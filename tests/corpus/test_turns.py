"""`Conversations.csv`: dialogues and turns of a folder in MSP-Podcast's layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_msp import RATINGS, TEST3, UTTERANCES, A, B, C, D, E

from medusa_jax.corpus.msp_layout import write_msp_podcast_labels
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.errors import CorpusError, LabelError

ROWS = {A: ("late", "2"), B: ("early", "1"), D: ("early", "0"), C: ("mid", "7"), E: ("end", "0")}
ROWS |= {TEST3[0]: ("hidden", "0")}
NAMED = ("angry", "sad", "happy", "surprise", "fear", "neutral", "contempt")


def write(root: Path, rows=None, classes=None) -> Path:
    """The folder of `small_msp`, with turns and a note of the classes where given."""
    write_msp_podcast_labels(root, RATINGS, UTTERANCES)
    given = ROWS if rows is None else rows
    lines = [f"{name},{dialogue},{turn}" for name, (dialogue, turn) in given.items()]
    text = "\n".join(["FileName,dialogue,turn", *lines]) + "\n"
    (root / "Conversations.csv").write_text(text)
    if classes is not None:
        (root / "synthetic.json").write_text(json.dumps({"classes": classes}))
    return root


def test_rows_are_sorted_by_dialogue_and_turn(tmp_path):
    corpus = read_msp_podcast(write(tmp_path))
    assert corpus.conversational
    assert corpus.frame["id"].tolist() == [D, B, E, TEST3[0], A, C]
    assert corpus.frame["turn"].tolist() == [0, 1, 0, 0, 2, 7]
    assert {k: v.tolist() for k, v in corpus.dialogues().items()}["early"] == [0, 1]
    assert corpus.frame.set_index("id")["consensus"][E] == "fear"


def test_without_the_file_nothing_changes(tmp_path):
    root = write(tmp_path)
    (root / "Conversations.csv").unlink()
    corpus = read_msp_podcast(root)
    assert not corpus.conversational
    assert corpus.name == "msp-podcast"


@pytest.mark.parametrize("variant", ["primary", "primary+secondary", "with_other"])
def test_classes_are_those_that_the_note_names(tmp_path, variant):
    corpus = read_msp_podcast(write(tmp_path, classes=[*NAMED]), soft_labels=variant)
    assert corpus.classes == ("angry", "sad", "happy", "surprise", "fear", "contempt", "neutral")
    assert corpus.synthetic
    assert "votes_disgust" not in corpus.frame.columns
    full = read_msp_podcast(write(tmp_path / "all"), soft_labels=variant)
    kept = [full.targets.index(name) for name in corpus.targets]
    np.testing.assert_array_equal(corpus.soft, full.soft[:, kept])


def test_votes_for_a_class_that_the_note_lacks_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="votes for fear"):
        read_msp_podcast(write(tmp_path, classes=["angry", "happy", "contempt", "surprise"]))


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ({k: v for k, v in ROWS.items() if k != C}, CorpusError, f"lacks the utterance {C}"),
        (ROWS | {"other.wav": ("x", "0")}, CorpusError, "lacks the utterance other.wav"),
        (ROWS | {A: ("late", "two")}, LabelError, "'two'"),
        (ROWS | {A: ("late", "-1")}, LabelError, "'-1'"),
        (ROWS | {A: ("late", "²")}, LabelError, "turn"),
        (ROWS | {A: ("", "0")}, LabelError, "dialogue ''"),
        (ROWS | {A: ("early", "1")}, CorpusError, "occurs twice"),
        (ROWS | {A: ("mid", "1")}, CorpusError, "in two splits"),
    ],
)
def test_wrong_rows_are_refused(tmp_path, rows, error, words):
    with pytest.raises(error, match=words):
        read_msp_podcast(write(tmp_path, rows))


def test_a_second_row_and_a_missing_column_are_refused(tmp_path):
    root = write(tmp_path)
    path = root / "Conversations.csv"
    text = path.read_text()
    path.write_text(text + f"{A},late,3\n")
    with pytest.raises(LabelError, match="second row"):
        read_msp_podcast(root)
    path.write_text(text.replace("turn", "place"))
    with pytest.raises(CorpusError, match="turn"):
        read_msp_podcast(root)
