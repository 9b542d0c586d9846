"""Feature pickles of IEMOCAP and MELD as tables of conversations, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
from feature_pickles import (
    FORMS,
    LAYOUTS,
    SMALL,
    Conversations,
    contents,
    conversations,
)

from medusa_jax.corpus.pickle_layouts import CLASSES
from medusa_jax.corpus.pickles import read_feature_pickles
from medusa_jax.errors import CorpusError

IEMOCAP, IEMOCAP_TEXT, IEMOCAP_SDT, MELD, MELD_TEXT, MELD_SDT = LAYOUTS
OTHERS = {IEMOCAP_TEXT: IEMOCAP, MELD_TEXT: MELD}
"""Files without labels, and one to join with each."""


@pytest.fixture
def write(tmp_path):
    """Write contents as a file and return its path."""

    def written(name, value, form="Python 3, protocol 4, NumPy 2"):
        path = tmp_path / name
        path.write_bytes(FORMS[form](value))
        return path

    return written


def read(tmp_path, *paths):
    return read_feature_pickles(paths, tmp_path / "out")


def spoiled(layout, role, change):
    """Contents of a layout with one field changed: `change(field)` returns another."""
    places = {"ids": 0, "speakers": 1, "labels": 2, "text": 3, "audio": 4, "sentences": 6}
    places |= {"train": 7, "test": 8}
    fields = list(copy.deepcopy(contents(layout, conversations(layout))))
    fields[places[role]] = change(fields[places[role]])
    return tuple(fields)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_becomes_a_table_and_streams(layout, write, tmp_path):
    made = conversations(layout)
    paths = [write(layout, contents(layout, made))]
    if layout in OTHERS:
        paths.append(write("other.pkl", contents(OTHERS[layout], made)))
    found = read(tmp_path, *paths)
    frame, classes = found.corpus.frame, CLASSES[made.corpus]
    assert found.corpus.name == made.corpus
    assert found.corpus.classes == tuple(sorted(classes)), "as those of the release"
    assert frame["dialogue"].tolist() == [str(n) for n in made.names for _ in range(made.turns[n])]
    assert frame["turn"].tolist() == [t for n in made.names for t in range(made.turns[n])]
    assert frame["consensus"].tolist() == [classes[i] for n in made.names for i in made.labels[n]]
    assert frame["transcript"].tolist() == [text for n in made.names for text in made.sentences[n]]
    assert set(frame["audio"]) == {""}
    streams = {stream.name: stream for stream in found.streams}
    for name, (role, width) in expected_streams(layout).items():
        wanted = np.concatenate(list(made.stream(role, width).values()))
        np.testing.assert_array_equal(streams[name].x_nd, wanted, err_msg=name)
        assert streams[name].x_nd.dtype == np.float32


def expected_streams(layout):
    """Name -> generator's role and width, for a file (joined with another if it needs one)."""
    widths = {"audio": 1582, "visual": 342} if "iemocap" in layout.lower() else {"audio": 300}
    streams = {role: (role, width) for role, width in {**widths, "visual": 342}.items()}
    glove = ("glove", 100 if "iemocap" in layout.lower() else 600)
    if layout in (IEMOCAP, MELD):
        return streams | {"text": glove}
    roberta = {
        "text" if part == 1 else f"text{part}": (f"text{part}", 1024) for part in range(1, 5)
    }
    return streams | roberta | ({"text5": glove} if layout in OTHERS else {})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", [IEMOCAP, MELD])
def test_every_form_gives_the_same(layout, form, write, tmp_path):
    value = contents(layout, conversations(layout))
    wanted = read(tmp_path, write("wanted.pkl", value))
    found = read(tmp_path, write("found.pkl", value, form))
    assert found.corpus.digest() == wanted.corpus.digest()
    assert [stream.name for stream in found.streams] == ["text", "audio", "visual"]
    for one, other in zip(found.streams, wanted.streams, strict=True):
        np.testing.assert_array_equal(one.x_nd, other.x_nd)


def test_speakers_and_splits_of_iemocap(write, tmp_path):
    made = conversations(IEMOCAP)
    frame = read(tmp_path, write(IEMOCAP, contents(IEMOCAP, made))).corpus.frame
    said = [letter for name in made.names for letter in made.speakers[name]]
    assert frame["id"].tolist() == [id for name in made.names for id in made.ids[name]]
    assert frame["speaker"].tolist() == [
        f"{d[:5]}{letter}" for d, letter in zip(frame["dialogue"], said, strict=True)
    ]
    assert frame["gender"].tolist() == [{"F": "female", "M": "male"}[letter] for letter in said]
    sessions = frame.groupby("split")["dialogue"].unique().map(lambda names: {n[4] for n in names})
    assert sessions.to_dict() == {"train": {*"123"}, "development": {"4"}, "test1": {"5"}}
    assert frame.groupby("speaker")["split"].nunique().max() == 1, "no speaker in two parts"


def test_a_test_part_other_than_session_5_is_refused(write, tmp_path):
    value = list(contents(IEMOCAP, conversations(IEMOCAP)))
    moved = {max(value[7])}
    value[7], value[8] = value[7] - moved, value[8] | moved
    with pytest.raises(CorpusError, match=r"test ids are not session 5: Ses04\w* differs"):
        read(tmp_path, write("file.pkl", tuple(value)))


def test_speakers_and_splits_of_meld(write, tmp_path):
    made = conversations(MELD)
    alone = write(MELD, contents(MELD, made))
    found = read(tmp_path, alone)
    slots = [vector.index(1) for name in made.names for vector in made.speakers[name]]
    assert found.corpus.frame["speaker"].tolist() == [f"speaker_{slot}" for slot in slots]
    assert dialogues_of(found, "development") == [str(name) for name in made.development]
    assert dialogues_of(found, "test1") == [str(name) for name in made.test]
    assert "last 2 of the 24 training dialogues" in found.remarks[0]


def test_validation_ids_choose_melds_development_part(write, tmp_path):
    made = conversations(MELD)
    alone = write(MELD, contents(MELD, made))
    fields = list(contents(MELD_TEXT, made))
    fields[8], fields[10] = made.train[3:], made.train[:3]
    found = read(tmp_path, alone, write(MELD_TEXT, tuple(fields)))
    assert dialogues_of(found, "development") == ["0", "1", "2"]
    assert dialogues_of(found, "train") == [str(name) for name in made.train[3:]]
    assert "validation ids" in found.remarks[0]


def dialogues_of(found, split):
    return found.corpus.of_split(split).frame["dialogue"].unique().tolist()


@pytest.mark.parametrize("layout", [IEMOCAP_TEXT, MELD_TEXT])
def test_a_roberta_file_with_labels_stands_alone(layout, write, tmp_path):
    """The form of COSMIC's loader: speakers and labels in the fields that later loaders skip."""
    made = conversations(layout)
    fields = list(contents(layout, made))
    fields[0], fields[1] = made.speakers, made.labels
    if layout == IEMOCAP_TEXT:
        fields[6:] = made.sentences, made.train[1:], made.test, made.train[:1]
    else:
        fields[7] = made.sentences
    frame = read(tmp_path, write(layout, tuple(fields))).corpus.frame
    wanted = [label for name in made.names for label in made.labels[name]]
    assert frame["consensus"].tolist() == [CLASSES[made.corpus][label] for label in wanted]
    assert frame["id"][0] == f"{made.names[0]}_0"


def test_a_dialogue_in_no_list_is_left_out_aloud(write, tmp_path):
    value = spoiled(MELD, "train", lambda names: names[1:])
    found = read(tmp_path, write(MELD, value))
    assert "0" not in set(found.corpus.frame["dialogue"])
    assert found.remarks[-1].startswith("1 dialogue(s) are in no list")


def with_item(key, change):
    """A change of the entry of one dialogue."""
    return lambda field: {**field, key: change(field[key])}


def filled(value):
    def change(x_ud):
        x_ud[1][3] = value
        return x_ud

    return change


def with_turns(key, change):
    """A change of every utterance of one dialogue."""
    return with_item(key, lambda turns: [change(turn) for turn in turns])


def without(key):
    return lambda field: {name: turns for name, turns in field.items() if name != key}


FIRST, SECOND = "Ses01F_impro000", "Ses01M_impro001"
NARROW = slice(None, -1)
BAD = {
    "narrow": (
        IEMOCAP, "audio", with_turns(SECOND, lambda x_d: x_d[NARROW]),
        f"audio, dialogue {SECOND}, turn 0",
    ),
    "narrow in the first": (
        IEMOCAP, "audio", with_turns(FIRST, lambda x_d: x_d[NARROW]), "audio, holds vectors of 1581"
    ),
    "no numbers": (IEMOCAP, "text", with_turns(SECOND, lambda _: "a"), "no numbers"),
    "NaN": (IEMOCAP, "text", with_item(FIRST, filled(np.nan)), "NaN or infinity"),
    "infinity": (MELD, "audio", with_item(3, filled(np.inf)), "NaN or infinity"),
    "beyond float32": (
        MELD, "audio", with_turns(3, lambda x_d: x_d.astype("f8") * 1e300), "infinity"
    ),
    "a label too large": (IEMOCAP, "labels", with_turns(FIRST, lambda _: 6), "label 6 is"),
    "a label below 0": (MELD, "labels", with_turns(3, lambda _: -1), "label -1 is"),
    "a label that is no number": (MELD, "labels", with_turns(3, lambda _: "joy"), "label joy is"),
    "a label of 0.5": (MELD, "labels", with_turns(3, lambda _: 0.5), "label 0.5 is"),
    "a label that is a truth value": (MELD, "labels", with_turns(3, lambda _: True), "label True"),
    "an unknown speaker": (IEMOCAP, "speakers", with_turns(SECOND, lambda _: "X"), "neither 'M'"),
    "two speakers at once": (MELD, "speakers", with_turns(3, lambda _: [1] * 9), "no one-hot"),
    "no speaker": (MELD, "speakers", with_turns(3, lambda _: [0] * 9), "no one-hot"),
    "ten slots": (MELD, "speakers", with_turns(3, lambda hot: [*hot, 0]), "features of shape [10]"),
    "a dialogue missing from a stream": (IEMOCAP, "audio", without(SECOND), "is missing"),
    "a dialogue missing from the labels": (MELD, "labels", without(3), "is missing"),
    "a listed dialogue missing from all": (MELD, "train", lambda x: [*x, 999], "is missing"),
    "a turn less": (IEMOCAP, "audio", with_item(FIRST, lambda x: x[NARROW]), "where text has"),
    "a sentence less": (MELD, "sentences", with_item(3, lambda x: x[NARROW]), "where text has"),
    "a dialogue in two lists": (MELD, "test", lambda x: [*x, 0], "in the lists train and test"),
    "a dialogue listed twice": (MELD, "train", lambda x: [*x, 0], "listed twice"),
    "one name, two dialogues": (MELD, "text", lambda x: {**x, "3": x[3]}, "one name"),
    "a name that is a path": (MELD, "text", lambda x: {**x, "../x": x[3]}, "no name of a dialogue"),
    "a long sentence": (MELD, "sentences", with_turns(3, lambda _: "a" * 20_000), "10000"),
    "a stream that is a list": (MELD, "audio", lambda x: list(x.values()), "audio, holds a list"),
    "no dialogues": (MELD, "audio", lambda x: {}, "audio, holds nothing"),
    "no sentences": (MELD, "sentences", lambda x: None, "sentences, holds something else"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_field_is_refused_with_its_place(case, write, tmp_path):
    layout, role, change, reason = BAD[case]
    path = write("file.pkl", spoiled(layout, role, change))
    with pytest.raises(CorpusError) as refused:
        read(tmp_path, path)
    assert reason in str(refused.value)
    assert "file.pkl" in str(refused.value.where)


def test_copies_by_reference_are_bounded(write, tmp_path):
    """A file of kilobytes names one dialogue of many turns under many names."""
    turns = [np.zeros(100, np.float32)] * 400
    value = spoiled(IEMOCAP, "text", lambda x: {f"Ses01F_{i}": turns for i in range(400)})
    path = write("file.pkl", value)
    with pytest.raises(CorpusError, match=r"160000 utterances, more than 100000"):
        read(tmp_path, path)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": 1}, "no tuple of fields"),
        ((1, 2, 3), "holds 3 fields"),
        (
            contents(MELD, conversations(MELD))[:9],
            "field 2, speakers, holds vectors of 9, not 'M' and 'F'",
        ),
    ],
    ids=["a dictionary", "three fields", "nine fields of MELD"],
)
def test_another_layout_is_refused(value, reason, write, tmp_path):
    with pytest.raises(CorpusError, match=r"known|nearest") as refused:
        read(tmp_path, write("file.pkl", value))
    assert reason in refused.value.what


def test_files_that_do_not_belong_together_are_refused(write, tmp_path):
    made = conversations(IEMOCAP)
    alone = write("text.pkl", contents(IEMOCAP_TEXT, made))
    with pytest.raises(CorpusError, match="has no labels"):
        read(tmp_path, alone)
    other = write("meld.pkl", contents(MELD, conversations(MELD)))
    with pytest.raises(CorpusError, match="cannot be joined"):
        read(tmp_path, alone, other)
    fewer = Conversations("iemocap", (7, 2, 37))
    with pytest.raises(CorpusError, match=r"ids of the files do not match"):
        read(tmp_path, alone, write("fewer.pkl", contents(IEMOCAP, fewer)))
    train, test, utterances = SMALL["iemocap"]
    longer = Conversations("iemocap", (train, test, utterances + 1))
    with pytest.raises(CorpusError, match=r"utterances where text\.pkl has"):
        read(tmp_path, alone, write("longer.pkl", contents(IEMOCAP, longer)))
    relabelled = Conversations("iemocap", SMALL["iemocap"], seed=1)
    both = [
        write("one.pkl", contents(IEMOCAP, made)),
        write("two.pkl", contents(IEMOCAP, relabelled)),
    ]
    with pytest.raises(CorpusError, match=r"the labels are not those of one\.pkl"):
        read(tmp_path, *both)


def test_melds_text_alone_has_no_labels(write, tmp_path):
    path = write("text.pkl", contents(MELD_TEXT, conversations(MELD)))
    with pytest.raises(CorpusError, match="has no labels") as refused:
        read(tmp_path, path)
    assert "--with" in (refused.value.hint or "")


def test_tests_generate_what_an_ordinary_reader_reads():
    value = contents(MELD_SDT, conversations(MELD_SDT))
    found = pickle.loads(FORMS["Python 3, protocol 5, NumPy 2"](value))
    assert [type(field) for field in found] == [type(field) for field in value]
    assert len(found) == 13
