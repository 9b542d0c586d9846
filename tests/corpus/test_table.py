"""The table of utterances: refused content, and an exact round trip through Parquet."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import Corpus, columns_of
from medusa_jax.errors import CorpusError

CLASSES = ("angry", "happy")
VOTES = np.array([[2, 1, 1], [0, 0, 3], [1, 1, 0], [0, 0, 0]])


def table(variant="primary", **changes):
    plain = {
        "id": ["a.wav", "b.wav", "c.wav", "d.wav"],
        "audio": ["Audios/a.wav", "Audios/b.wav", "Audios/c.wav", "Audios/d.wav"],
        "seconds": [1.0, 2.5, np.nan, 3.0],
        "split": ["train", "train", "development", "test3"],
        "speaker": ["1", None, "2", None],
        "gender": ["male", None, "female", None],
        "consensus": ["angry", "other", "no_agreement", None],
        "arousal": [1.0, 7.0, np.nan, np.nan],
        "valence": [2.0, 4.0, np.nan, np.nan],
        "dominance": [3.0, 4.0, np.nan, np.nan],
        "transcript": ["hello", "", None, None],
    }
    return assemble({**plain, **changes}, VOTES, np.zeros_like(VOTES), CLASSES, variant)


def corpus(tmp_path, variant="primary", **changes):
    return Corpus(
        frame=table(variant, **changes),
        classes=CLASSES,
        root=tmp_path,
        name="test",
        soft_labels=variant,
    )


@pytest.mark.parametrize("variant", ["primary", "with_other"])
def test_parquet_gives_the_table_back(tmp_path, variant):
    before = corpus(tmp_path, variant)
    before.save(tmp_path / "folder" / "table.parquet")
    after = Corpus.load(tmp_path / "folder" / "table.parquet")
    pd.testing.assert_frame_equal(after.frame, before.frame)
    assert (after.classes, after.root, after.name, after.soft_labels, after.synthetic) == (
        CLASSES,
        tmp_path,
        "test",
        variant,
        False,
    )
    assert (
        after.targets
        == before.targets
        == (*CLASSES, *(["other"] if variant == "with_other" else []))
    )


def test_the_digest_is_of_the_content(tmp_path):
    first = corpus(tmp_path)
    assert (
        Corpus(frame=table(), classes=CLASSES, root=tmp_path / "elsewhere", name="test").digest()
        == first.digest()
    )
    assert corpus(tmp_path, transcript=["hello", "x", None, None]).digest() != first.digest()
    assert corpus(tmp_path, seconds=[1.0, 2.5, np.nan, 3.1]).digest() != first.digest()
    assert (
        Corpus(frame=table(), classes=CLASSES, root=tmp_path, name="test", synthetic=True).digest()
        != first.digest()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"speaker": [None] * 4},
        {"transcript": ["", "", "", ""]},
        {"consensus": [None] * 4, "gender": [None] * 4},
    ],
)
def test_the_digest_survives_parquet(tmp_path, changes):
    before = corpus(tmp_path, **changes)
    before.save(tmp_path / "table.parquet")
    assert Corpus.load(tmp_path / "table.parquet").digest() == before.digest()


def test_columns_follow_the_schema(tmp_path):
    assert tuple(table().columns) == columns_of(CLASSES)
    nine = table("with_other").columns.tolist()
    assert nine.index("soft_other") == nine.index("soft_happy") + 1
    assert [name for name in nine if name != "soft_other"] == list(columns_of(CLASSES))


def test_views(tmp_path):
    whole = corpus(tmp_path)
    assert whole.votes.tolist() == [[2, 1], [0, 0], [1, 1], [0, 0]]
    np.testing.assert_allclose(
        whole.soft, [[2 / 3, 1 / 3], [np.nan] * 2, [0.5, 0.5], [np.nan] * 2], atol=1e-7
    )
    assert whole.labels.tolist() == [0, -1, -1, -1]
    np.testing.assert_array_equal(whole.attributes[:2], [[1, 2, 3], [7, 4, 4]])
    assert (whole.soft.dtype, whole.attributes.dtype) == (np.float32, np.float32)
    part = whole.of_split("development", "test3")
    assert part.frame["id"].tolist() == ["c.wav", "d.wav"]
    assert part.frame.index.tolist() == [0, 1]
    assert part.audio_path(1) == tmp_path / "Audios/d.wav"
    assert len(whole.where(np.zeros(4, bool))) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"id": ["a.wav", "b.wav", "a.wav", "d.wav"]},
            r"1 duplicate utterance id.* the first is 'a.wav'",
        ),
        ({"split": ["train", "dev", "train", "train"]}, "unknown split 'dev'"),
        ({"split": ["train", None, "train", "train"]}, "unknown split"),
        ({"gender": ["male", "M", None, None]}, "unknown gender 'M'"),
        ({"consensus": ["sad", "angry", None, None]}, "unknown consensus 'sad'"),
        ({"audio": ["../secret.wav", "b", "c", "d"]}, r"'../secret.wav' leaves the corpus folder"),
        ({"audio": ["Audios/../../x.wav", "b", "c", "d"]}, "leaves the corpus folder"),
        ({"audio": ["/etc/passwd", "b", "c", "d"]}, "leaves the corpus folder"),
        ({"audio": ["..\\x.wav", "b", "c", "d"]}, "leaves the corpus folder"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(tmp_path, change, message):
    with pytest.raises(CorpusError, match=message):
        corpus(tmp_path, **change)


@pytest.mark.parametrize(
    "column", ["id", "votes_happy", "secondary_other", "soft_angry", "transcript"]
)
def test_a_missing_column_is_named(tmp_path, column):
    with pytest.raises(CorpusError, match=rf"missing column\(s\): {column}"):
        Corpus(frame=table().drop(columns=column), classes=CLASSES, root=tmp_path, name="test")


def test_soft_labels_that_do_not_sum_to_one_are_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"sums to 0\.8000, not 1") as caught:
        Corpus(
            frame=table().assign(soft_angry=[2 / 3, np.nan, 0.3, np.nan]),
            classes=CLASSES,
            root=tmp_path,
            name="test",
        )
    assert "c.wav" in str(caught.value.where)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("id,audio\n")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    corpus(tmp_path).save(tmp_path / "cut.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:-20])
    for name, message in (
        ("missing.parquet", "not a readable"),
        ("text.parquet", "not a readable"),
        ("cut.parquet", "not a readable"),
        ("other.parquet", "not a corpus table"),
    ):
        with pytest.raises(CorpusError, match=message) as caught:
            Corpus.load(tmp_path / name)
        assert caught.value.where == tmp_path / name


TURNS = {
    "split": ["train", "train", "train", "test3"],
    "dialogue": ["b", "a", "b", "c"],
    "turn": [4, 0, 1, 2],
}


def conversations(tmp_path, **changes):
    """The table with dialogues; `changes` of a column, or None to leave it out."""
    columns = {**TURNS, **changes}
    frame = table(split=columns.pop("split"))
    added = {name: values for name, values in columns.items() if values is not None}
    return Corpus(frame=frame.assign(**added), classes=CLASSES, root=tmp_path, name="test")


def test_dialogues_are_in_the_order_of_their_turns(tmp_path):
    found = conversations(tmp_path)
    assert found.conversational
    dialogues = {name: rows.tolist() for name, rows in found.dialogues().items()}
    assert dialogues == {"b": [2, 0], "a": [1], "c": [3]}
    assert list(dialogues) == ["b", "a", "c"]
    part = found.of_split("train").where(np.array([True, False, True]))
    assert {name: rows.tolist() for name, rows in part.dialogues().items()} == {"b": [1, 0]}


def test_dialogues_survive_parquet_and_count_in_the_digest(tmp_path):
    before = conversations(tmp_path)
    before.save(tmp_path / "table.parquet")
    after = Corpus.load(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(after.frame, before.frame)
    assert after.digest() == before.digest() != conversations(tmp_path, turn=[3, 0, 1, 2]).digest()
    assert before.digest() != conversations(tmp_path, dialogue=["b", "a", "b", "d"]).digest()


def test_a_corpus_without_dialogues_has_none_to_offer(tmp_path):
    plain = corpus(tmp_path)
    assert not plain.conversational
    with pytest.raises(CorpusError, match="no dialogues") as caught:
        plain.dialogues()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "message", "place"),
    [
        ({"turn": None}, "without a dialogue or a turn", "test"),
        ({"dialogue": ["b", None, "b", "c"]}, "without a dialogue or a turn", "test"),
        ({"turn": [4.0, 0.0, 1.0, 2.0]}, "whole numbers", "test"),
        ({"turn": ["4", "0", "1", "2"]}, "whole numbers", "test"),
        ({"turn": [4, -1, 1, 2]}, "whole numbers", "test"),
        ({"turn": [1, 0, 1, 2]}, "turn 1 occurs twice", "dialogue b"),
        ({"split": ["train", "train", "test1", "test3"]}, "in two splits", "dialogue b"),
    ],
)
def test_turns_that_contradict_themselves_are_refused(tmp_path, change, message, place):
    with pytest.raises(CorpusError, match=message) as caught:
        conversations(tmp_path, **change)
    assert place in str(caught.value.where)


def test_equal_turns_of_two_dialogues_and_no_audio_are_fine(tmp_path):
    found = conversations(tmp_path, turn=[0, 0, 1, 0])
    silent = Corpus(frame=found.frame.assign(audio=""), classes=CLASSES, root=tmp_path, name="text")
    assert len(silent.dialogues()) == 3
