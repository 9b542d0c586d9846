"""A submission is valid or is not written."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medusa_jax.errors import SubmissionError
from submission.answers import read_names
from submission.challenges import (
    ALPHABETICAL,
    CLASS_OF,
    CLASSES,
    INTERSPEECH2025,
    LETTER_OF,
    ORGANISERS,
)
from submission.scoring import read_submission
from submission.validator import validate
from submission.writer import write_attributes, write_categorical

NAMES = [f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, 5)]
SMALL = INTERSPEECH2025.with_names(NAMES)
FLAT = {"arousal": [4.0] * 4, "valence": [4.0] * 4, "dominance": [4.0] * 4}


def test_classes_letters_and_both_orders() -> None:
    assert "".join(LETTER_OF[c] for c in ORGANISERS) == "ASHUFDCN"
    assert "".join(LETTER_OF[c] for c in ALPHABETICAL) == "ACDFHNSU"
    assert CLASS_OF["U"] == "surprise"
    assert CLASS_OF["C"] == "contempt"
    assert len({*CLASSES}) == 8


def test_categorical_is_sorted_and_exact(tmp_path: Path) -> None:
    path = write_categorical(
        tmp_path / "out" / "task1.csv",
        NAMES[::-1],
        ["neutral", "contempt", "surprise", "angry"],
        SMALL,
    )
    rows = "".join(f"MSP-PODCAST_test3_000{i}.wav,{c}\n" for i, c in enumerate("AUCN", 1))
    assert path.read_bytes() == f"FileName,EmoClass\n{rows}".encode()
    assert [p.name for p in path.parent.iterdir()] == ["task1.csv"]


def test_attributes_stand_in_the_order_act_val_dom_clipped_and_unrounded(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "dominance": [3.0, 3.1, 3.2, 3.3],
            "arousal": [0.5, 1 / 3 + 1, 7.5, 2.0],
            "valence": np.float32([5.1, 5.2, 5.3, 5.4]),
        }
    )
    path = write_attributes(tmp_path / "task2.csv", NAMES, frame, SMALL)
    lines = path.read_text().splitlines()
    assert lines[0] == "FileName,EmoAct,EmoVal,EmoDom"
    assert lines[2] == f"{NAMES[1]},1.3333333333333333,5.199999809265137,3.1"
    assert lines[1].split(",")[1] == "1.0"
    assert lines[3].split(",")[1] == "7.0"


@settings(max_examples=30)
@given(st.lists(st.floats(1, 7), min_size=12, max_size=12), st.permutations(range(4)))
def test_attributes_survive_the_file_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], order: list[int]
) -> None:
    path = tmp_path_factory.mktemp("w") / "task2.csv"
    table = dict(zip(("arousal", "valence", "dominance"), np.reshape(values, (3, 4)), strict=True))
    write_attributes(
        path, [NAMES[i] for i in order], {k: v[order] for k, v in table.items()}, SMALL
    )
    back = read_submission(path, SMALL.attributes)
    assert back.index.tolist() == NAMES
    for name, column in table.items():
        assert back[name].tolist() == column.tolist()


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (NAMES, ["angry", "sad", "happy"], "4 names but 3 classes"),
        (NAMES, ["angry", "sad", "happy", "other"], "'other' is not a class"),
        (NAMES, ["A", "S", "H", "N"], "'A' is not a class"),
        (NAMES, [0, 1, 2, 7], "0 is not a class"),
        (NAMES, ["angry", "sad", "happy", None], "None is not a class"),
        (NAMES[:3], ["angry"] * 3, "have no row"),
        ([*NAMES[:3], NAMES[0]], ["angry"] * 4, "stands twice"),
        ([*NAMES[:3], "MSP-PODCAST_test3_0099.wav"], ["angry"] * 4, "is not a test file"),
        ([n.removesuffix(".wav") for n in NAMES], ["angry"] * 4, "does not end in .wav"),
        ([*NAMES[:3], "a,b.wav"], ["angry"] * 4, "is not a test file|does not end|field"),
    ],
)
def test_an_invalid_categorical_file_is_not_written(
    tmp_path: Path, names: list[str], classes: list[str], message: str
) -> None:
    path = tmp_path / "task1.csv"
    path.write_text("what was there before")
    with pytest.raises(SubmissionError, match=message) as refused:
        write_categorical(path, names, classes, SMALL)
    assert path.read_text() == "what was there before"
    assert [p.name for p in tmp_path.iterdir()] == ["task1.csv"]
    assert ".tmp" not in str(refused.value)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({**FLAT, "valence": [4.0, math.nan, 4.0, 4.0]}, "valence is nan"),
        ({**FLAT, "arousal": [4.0, math.inf, 4.0, 4.0]}, "arousal is inf"),
        ({k: v for k, v in FLAT.items() if k != "dominance"}, "no values for dominance"),
        ({**FLAT, "valence": [4.0] * 3}, r"shape \[3\] for 4 names"),
        ({**FLAT, "valence": [[4.0]] * 4}, r"shape \[4, 1\]"),
        ({**FLAT, "valence": ["a"] * 4}, "not a number"),
        ({**FLAT, "valence": [0.1, 0.2, 0.3, 1.4]}, "75% of valence lies outside"),
        (pd.DataFrame(FLAT, index=NAMES[::-1]), "in another order"),
        (pd.DataFrame({**FLAT, "FileName": NAMES[::-1]}), "in another order"),
    ],
)
def test_invalid_attributes_are_not_written(
    tmp_path: Path, attributes: object, message: str
) -> None:
    with pytest.raises(SubmissionError, match=message):
        write_attributes(tmp_path / "task2.csv", NAMES, attributes, SMALL)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_names_the_same_files_is_written(tmp_path: Path) -> None:
    for frame in (pd.DataFrame(FLAT, index=NAMES), pd.DataFrame({**FLAT, "FileName": NAMES})):
        assert (
            validate(
                write_attributes(tmp_path / "task2.csv", NAMES, frame, SMALL), SMALL.attributes
            )
            == []
        )


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SubmissionError, match="cannot write the file"):
        write_categorical(tmp_path / "file" / "task1.csv", NAMES, ["sad"] * 4, SMALL)


@pytest.mark.parametrize("names", [[], ["a.wav", "a.wav"], ["a"], ["x/a.wav"], ["a,b.wav"], [3]])
def test_unusable_sets_of_names_are_refused(names: list[str]) -> None:
    with pytest.raises(SubmissionError):
        INTERSPEECH2025.with_names(names)


def test_names_come_from_a_folder_a_table_or_a_list(tmp_path: Path) -> None:
    audios = tmp_path / "Audios"
    audios.mkdir()
    for name in (*NAMES, "MSP-PODCAST_0001_0008.wav", "notes.txt"):
        (audios / name).touch()
    rows = "".join(f"{name},Test3\n" for name in NAMES[::-1])
    (tmp_path / "labels.csv").write_text(
        f"FileName,Split_Set\nMSP-PODCAST_0001_0008.wav,Train\n{rows}"
    )
    (tmp_path / "list.txt").write_text("\n".join(NAMES))
    for source in (audios, tmp_path / "labels.csv", tmp_path / "list.txt"):
        assert read_names(source, INTERSPEECH2025) == tuple(NAMES), source
    (tmp_path / "list.txt").write_text("")
    for source in (tmp_path / "list.txt", tmp_path / "absent"):
        with pytest.raises(SubmissionError):
            read_names(source, INTERSPEECH2025)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = write_categorical(tmp_path / "task1.csv", NAMES, ["sad"] * 4, SMALL)
    before = path.read_bytes()
    code = (
        "import resource\n"
        "from medusa_jax.errors import SubmissionError\n"
        "from submission.challenges import INTERSPEECH2025\n"
        "from submission.writer import write_categorical\n"
        f"names, path = {NAMES!r}, {str(path)!r}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "small = INTERSPEECH2025.with_names(names)\n"
        "try:\n"
        "    write_categorical(path, names, ['angry'] * 4, small)\n"
        "except SubmissionError as error:\n"
        "    assert 'cannot write the file' in str(error), error\n"
        "else:\n"
        "    raise SystemExit('written past the limit')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["task1.csv"]
