"""Evaluation files: both layouts, both class orders, and an order that is given or proven."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medusa_jax.errors import SubmissionError
from submission.challenges import ALPHABETICAL, ATTRIBUTES, CLASSES, INTERSPEECH2025, LETTER_OF
from submission.logit_files import (
    LOGITS,
    class_order,
    predicted_classes,
    read_predictions,
    to_submission,
    write_member,
    write_organisers,
)

NAMES = [f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, 41)]
SMALL = INTERSPEECH2025.with_names(NAMES)
TRUTH = [CLASSES[i % 8] for i in range(40)]


def predictions(right: float = 0.6) -> pd.DataFrame:
    """Named predictions of which about `right` are the truth."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 8))
    for row in np.flatnonzero(rng.random(40) < right):
        logits[row, CLASSES.index(TRUTH[row])] = 5
    frame = pd.DataFrame(logits, columns=list(LOGITS))
    frame.insert(0, "FileName", NAMES)
    return frame.assign(**{a: rng.uniform(1, 7, 40) for a in ATTRIBUTES})


def labels(tmp_path: Path, count: int = 40) -> Path:
    path = tmp_path / "labels.csv"
    pd.DataFrame(
        {"FileName": NAMES[:count], "EmoClass": [LETTER_OF[c] for c in TRUTH[:count]]}
    ).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("order", ["organisers", "alphabetical", "NCDFUHSA"])
def test_both_layouts_round_trip_bit_for_bit_in_any_order(tmp_path: Path, order: str) -> None:
    frame = predictions()
    pd.testing.assert_frame_equal(
        read_predictions(write_member(tmp_path / "m.csv", frame, order), order=order),
        frame,
        check_exact=True,
    )
    plain = frame.drop(columns=list(ATTRIBUTES))
    pd.testing.assert_frame_equal(
        read_predictions(write_organisers(tmp_path / "o.csv", frame, order), order=order),
        plain,
        check_exact=True,
    )


def test_files_as_their_authors_write_them(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_bytes(
        b"Filename,Label,Prediction\r\n"
        b'MSP-PODCAST_0001_0008.wav,"1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",'
        b'"0.1, -2.5, 3, 0, 0, 0, 0, 1e-3"\r\n'
    )
    row = read_predictions(path, order="organisers").iloc[0]
    assert row["FileName"] == "MSP-PODCAST_0001_0008.wav"
    assert (row["logit_angry"], row["logit_sad"], row["logit_happy"], row["logit_neutral"]) == (
        0.1,
        -2.5,
        3.0,
        0.001,
    )
    path.write_text(
        'FileName,Prediction\nMSP-PODCAST_test3_0001.wav,"1,2,3,4,5,6,7,8,1.5,2.5,3.5"\n'
    )
    row = read_predictions(path, order="alphabetical").iloc[0]
    by_class = {c: row[f"logit_{c}"] for c in CLASSES}
    assert by_class == {c: i + 1 for i, c in enumerate(ALPHABETICAL)}
    assert (by_class["contempt"], by_class["disgust"], by_class["surprise"]) == (2, 3, 8)
    assert (row["arousal"], row["valence"], row["dominance"]) == (1.5, 2.5, 3.5), (
        "EmoAct, EmoVal, EmoDom"
    )


def test_written_layouts_are_the_documented_ones(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "FileName": ["a.wav"],
            **{f"logit_{c}": [float(i)] for i, c in enumerate(CLASSES)},
            "dominance": [3.0],
            "arousal": [1.0],
            "valence": [2.0],
        }
    )
    assert (
        write_organisers(tmp_path / "o.csv", frame).read_text()
        == 'Filename,Prediction\na.wav,"0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0"\n'
    )
    text = write_member(tmp_path / "m.csv", frame, "alphabetical").read_text()
    assert (
        text
        == 'FileName,Prediction\na.wav,"0.0, 6.0, 5.0, 4.0, 2.0, 7.0, 1.0, 3.0, 1.0, 2.0, 3.0"\n'
    )
    with pytest.raises(SubmissionError, match="lack the column"):
        write_member(tmp_path / "m.csv", frame.drop(columns="valence"))


def test_the_order_must_be_given_or_checked(tmp_path: Path) -> None:
    path = write_member(tmp_path / "m.csv", predictions())
    with pytest.raises(SubmissionError, match="class order"):
        read_predictions(path)
    for wrong in ("alphabetic", "ASHUFDC", "AASHUFDC", "ashufdcn"):
        with pytest.raises(SubmissionError, match="unknown class order"):
            read_predictions(path, order=wrong)
    assert class_order("ASHUFDCN") == CLASSES


@pytest.mark.parametrize("order", ["organisers", "alphabetical"])
def test_labels_find_the_order_out_and_contradict_a_wrong_one(tmp_path: Path, order: str) -> None:
    frame = predictions()
    path, answers = write_member(tmp_path / "m.csv", frame, order), labels(tmp_path)
    assert read_predictions(path, check_against=answers).equals(frame)
    assert read_predictions(path, order=order, check_against=answers).equals(frame)
    wrong = {"organisers": "alphabetical", "alphabetical": "organisers"}[order]
    with pytest.raises(SubmissionError, match="contradict the given class order"):
        read_predictions(path, order=wrong, check_against=answers)


def test_a_given_order_of_eight_letters_is_checked_too(tmp_path: Path) -> None:
    frame, answers = predictions(0.9), labels(tmp_path)
    path = write_member(tmp_path / "m.csv", frame, "NCDFUHSA")
    assert read_predictions(path, order="NCDFUHSA", check_against=answers).equals(frame)
    with pytest.raises(SubmissionError, match=r"do not decide|contradict"):
        read_predictions(path, order="organisers", check_against=answers)


@pytest.mark.parametrize(
    "case", ["too few labels", "no labelled file", "a third order", "chance", "only angry"]
)
def test_labels_that_do_not_decide_are_refused(tmp_path: Path, case: str) -> None:
    frame = predictions(0.0 if case == "chance" else 0.6)
    if case == "only angry":
        frame["logit_angry"] = 9.0
    path = write_member(
        tmp_path / "m.csv", frame, "NCDFUHSA" if case == "a third order" else "organisers"
    )
    answers = labels(tmp_path, 3 if case == "too few labels" else 40)
    if case == "no labelled file":
        answers.write_text("FileName,EmoClass\nMSP-PODCAST_0001_0008.wav,A\n")
    with pytest.raises(SubmissionError, match="do not decide"):
        read_predictions(path, check_against=answers)


EIGHT = "1,2,3,4,5,6,7,8"
BAD_ROWS: dict[str, tuple[bytes, str]] = {
    "seven numbers": (
        f'a.wav,"{EIGHT}"\nb.wav,"1,2,3,4,5,6,7"\n'.encode(),
        "7 numbers instead of 8.*\n.*line 3",
    ),
    "mixed widths": (
        f'a.wav,"{EIGHT}"\nb.wav,"{EIGHT},1,2,3"\n'.encode(),
        "11 numbers where the first row has 8\n.*line 3",
    ),
    "not quoted": (f"a.wav,{EIGHT}\n".encode(), "9 field.*\n.*line 2"),
    "text": (b'a.wav,"1,2,3,4,5,6,7,x"\n', "'x' is not a number\n.*line 2"),
    "empty number": (b'a.wav,"1,2,3,4,5,6,7,"\n', "'' is not a number\n.*line 2"),
    "nan": (b'a.wav,"1,2,3,4,5,6,7,nan"\n', "a prediction is nan\n.*line 2"),
    "inf": (b'a.wav,"1,2,3,4,5,6,7,inf"\n', "a prediction is inf\n.*line 2"),
    "duplicate": (
        f'a.wav,"{EIGHT}"\na.wav,"{EIGHT}"\n'.encode(),
        "a.wav stands twice, first on line 2\n.*line 3",
    ),
    "no name": (f' ,"{EIGHT}"\n'.encode(), "file name is empty\n.*line 2"),
    "blank line": (f'a.wav,"{EIGHT}"\n\n'.encode(), "0 field.*\n.*line 3"),
    "quote never closed": (f'a.wav,"{EIGHT}\n'.encode(), "readable CSV"),
    "latin-1": (f'\xe9.wav,"{EIGHT}"\n'.encode("latin-1"), "readable CSV"),
    "no rows": (b"", "no rows"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused_by_line(tmp_path: Path, case: str) -> None:
    rows, message = BAD_ROWS[case]
    path = tmp_path / "m.csv"
    path.write_bytes(b"FileName,Prediction\n" + rows)
    with pytest.raises(SubmissionError) as refused:
        read_predictions(path, order="organisers")
    assert refused.match(message)


def test_other_headers_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("FileName,EmoClass\na.wav,A\n")
    with pytest.raises(SubmissionError, match="unknown header 'FileName,EmoClass'"):
        read_predictions(tmp_path / "m.csv", order="organisers")
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(SubmissionError, match="readable CSV"):
            read_predictions(path, order="organisers")


def test_conversion_takes_the_largest_logit_by_name(tmp_path: Path) -> None:
    frame = predictions()
    member = read_predictions(
        write_member(tmp_path / "m.csv", frame, "alphabetical"), order="alphabetical"
    )
    path = to_submission(tmp_path / "task1.csv", member, SMALL, "categorical")
    expected = [LETTER_OF[c] for c in frame[list(LOGITS)].idxmax(axis=1).str.removeprefix("logit_")]
    assert [line.split(",")[1] for line in path.read_text().splitlines()[1:]] == expected
    assert predicted_classes(member) == predicted_classes(frame)
    lines = (
        to_submission(tmp_path / "task2.csv", member, SMALL, "attributes").read_text().splitlines()
    )
    assert lines[1].split(",") == [
        NAMES[0],
        *(repr(float(frame[a][0])) for a in ("arousal", "valence", "dominance")),
    ]


def test_conversion_writes_nothing_it_should_not(tmp_path: Path) -> None:
    frame = predictions()
    with pytest.raises(SubmissionError, match="no values for arousal"):
        to_submission(
            tmp_path / "task2.csv", frame.drop(columns=list(ATTRIBUTES)), SMALL, "attributes"
        )
    with pytest.raises(SubmissionError, match=r"test file\(s\) have no row"):
        to_submission(tmp_path / "task1.csv", frame, INTERSPEECH2025, "categorical")
    assert list(tmp_path.iterdir()) == []
