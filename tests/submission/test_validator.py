"""Every malformed file is refused with the message that says what to fix; a valid one is not."""

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from medusa_jax.errors import SubmissionError
from submission.challenges import INTERSPEECH2025, ODYSSEY2024
from submission.problems import RefusedSubmissionError
from submission.validator import LARGEST, check, task_of, validate

NAMES = [f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, 9)]
SMALL = INTERSPEECH2025.with_names(NAMES)
LETTERS = "ASHUFDCN"
TASK1 = "FileName,EmoClass\n" + "".join(
    f"{name},{letter}\n" for name, letter in zip(NAMES, LETTERS, strict=True)
)
TASK2 = "FileName,EmoAct,EmoVal,EmoDom\n" + "".join(
    f"{name},4.25,{1 + i / 2},7\n" for i, name in enumerate(NAMES)
)


def replaced(text: str, old: str, new: str) -> bytes:
    assert old in text
    return text.replace(old, new, 1).encode()


def without(text: str, *lines: int) -> bytes:
    return "".join(
        line for i, line in enumerate(text.splitlines(keepends=True), 1) if i not in lines
    ).encode()


def packed(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("submission.csv", text)
    return buffer.getvalue()


def parquet(text: str) -> bytes:
    return pd.read_csv(io.StringIO(text)).to_parquet()


MALFORMED: dict[str, tuple[str, bytes, int | None, str]] = {
    # name: task, bytes, line (None: the file), a part of the message
    "byte order mark": ("categorical", b"\xef\xbb\xbf" + TASK1.encode(), 1, "byte order mark"),
    "utf-16": ("categorical", TASK1.encode("utf-16"), None, "not UTF-8"),
    "utf-16 without mark": ("categorical", TASK1.encode("utf-16-le"), None, "NUL bytes"),
    "latin-1": (
        "categorical",
        replaced(TASK1, "0003", "000é").decode().encode("latin-1"),
        4,
        "0xe9 is not UTF-8",
    ),
    "crlf": ("categorical", TASK1.replace("\n", "\r\n").encode(), 1, "CRLF"),
    "one crlf": ("categorical", replaced(TASK1, "0003.wav,H\n", "0003.wav,H\r\n"), 4, "CRLF"),
    "cr only": ("attributes", TASK2.replace("\n", "\r").encode(), 1, "CR or CRLF"),
    "gzip": ("categorical", gzip.compress(TASK1.encode()), None, "gzip"),
    "zip": ("categorical", packed(TASK1), None, "zip"),
    "parquet": ("categorical", parquet(TASK1), None, "Parquet"),
    "empty": ("categorical", b"", None, "empty"),
    "only blanks": ("categorical", b"\n \n", None, "empty"),
    "far too large": ("categorical", b"a" * (LARGEST + 1), None, "MiB"),
    "far too many lines": (
        "categorical",
        TASK1.encode() + b"\n" * 200,
        None,
        "208 lines instead of 8 rows",
    ),
    "header in lower case": (
        "categorical",
        replaced(TASK1, "FileName", "filename"),
        1,
        "upper and lower case",
    ),
    "header with spaces": (
        "categorical",
        replaced(TASK1, ",Emo", ", Emo"),
        1,
        "spaces around its names",
    ),
    "header quoted": (
        "categorical",
        replaced(TASK1, "FileName,EmoClass", '"FileName","EmoClass"'),
        1,
        "quoted",
    ),
    "header missing": ("categorical", without(TASK1, 1), 1, "no header"),
    "header in another order": (
        "attributes",
        replaced(TASK2, "EmoAct,EmoVal,EmoDom", "EmoAct,EmoDom,EmoVal"),
        1,
        "another order",
    ),
    "header of other words": (
        "categorical",
        replaced(TASK1, "EmoClass", "Emotion"),
        1,
        "lacks 1 column",
    ),
    "first line blank": ("categorical", b"\n" + TASK1.encode(), 1, "first line is blank"),
    "index column": (
        "categorical",
        pd.read_csv(io.StringIO(TASK1)).to_csv().encode(),
        1,
        "index column",
    ),
    "extra column": (
        "categorical",
        TASK1.replace("\n", ",0.9\n").replace("EmoClass,0.9", "EmoClass,Score").encode(),
        1,
        "columns too many",
    ),
    "repeated column": (
        "categorical",
        replaced(TASK1, "EmoClass", "EmoClass,EmoClass"),
        1,
        "columns too many",
    ),
    "semicolons": ("categorical", TASK1.replace(",", ";").encode(), 1, "semicolons"),
    "tabs": ("attributes", TASK2.replace(",", "\t").encode(), 1, "tabs"),
    "the other task's file": ("attributes", TASK1.encode(), 1, "Task 1 (categorical), given as"),
    "the other task's file, too": (
        "categorical",
        TASK2.encode(),
        1,
        "Task 2 (attributes), given as",
    ),
    "organisers' logits": (
        "categorical",
        b'Filename,Prediction\nMSP-PODCAST_test3_0001.wav,"0.1, 0.2"\n',
        1,
        "evaluation file",
    ),
    "json": ("categorical", b'{"MSP-PODCAST_test3_0001.wav": "A"}\n', 1, "lacks 2 column"),
    "a name is missing": (
        "categorical",
        without(TASK1, 5),
        None,
        "1 test file(s) have no row: MSP-PODCAST_test3_0004.wav",
    ),
    "rows too few": ("categorical", without(TASK1, 5, 6), None, "6 rows instead of 8"),
    "only the header": ("categorical", b"FileName,EmoClass\n", None, "0 rows instead of 8"),
    "a name twice": (
        "categorical",
        replaced(TASK1, "0004.wav", "0003.wav"),
        5,
        "stands twice, first on line 4",
    ),
    "an unknown name": (
        "categorical",
        replaced(TASK1, "0008.wav", "0009.wav"),
        9,
        "is not a test file",
    ),
    "without .wav": ("categorical", replaced(TASK1, "0004.wav", "0004"), 5, "does not end in .wav"),
    "another extension": (
        "attributes",
        replaced(TASK2, "0004.wav", "0004.npy"),
        5,
        "does not end in .wav",
    ),
    "with a folder": (
        "categorical",
        replaced(TASK1, "MSP-PODCAST_test3_0004", "Audios/MSP-PODCAST_test3_0004"),
        5,
        "holds a folder",
    ),
    "with a Windows folder": (
        "categorical",
        replaced(TASK1, "MSP-PODCAST_test3_0004", "Audios\\MSP-PODCAST_test3_0004"),
        5,
        "holds a folder",
    ),
    "name in lower case": (
        "categorical",
        replaced(TASK1, "MSP-PODCAST_test3_0004", "msp-podcast_test3_0004"),
        5,
        "upper and lower case",
    ),
    "name with spaces": (
        "categorical",
        replaced(TASK1, "0004.wav,", "0004.wav ,"),
        5,
        "spaces around the name",
    ),
    "name empty": (
        "categorical",
        replaced(TASK1, "MSP-PODCAST_test3_0004.wav,", ","),
        5,
        "file name is empty",
    ),
    "not sorted": (
        "categorical",
        "".join(TASK1.splitlines(keepends=True)[i] for i in (0, 1, 3, 2, 4, 5, 6, 7, 8)).encode(),
        4,
        "not sorted",
    ),
    "letter O": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,O"),
        4,
        "EmoClass is O (other)",
    ),
    "letter X": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,X"),
        4,
        "EmoClass is X (no agreement)",
    ),
    "letter in lower case": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,h"),
        4,
        "lower case",
    ),
    "letter as a word": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,Happy"),
        4,
        "is a word",
    ),
    "letter as a number": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,2"),
        4,
        "is a number",
    ),
    "letter unknown": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,Z"),
        4,
        "is not a class",
    ),
    "letter empty": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,"),
        4,
        "EmoClass is empty",
    ),
    "letter with a space": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav, H"),
        4,
        "spaces around it",
    ),
    "letter quoted": (
        "categorical",
        replaced(TASK1, "0003.wav,H", '0003.wav,"H"'),
        4,
        "quotation marks",
    ),
    "a field too many": (
        "categorical",
        replaced(TASK1, "0003.wav,H", "0003.wav,H,"),
        4,
        "3 field(s) instead of 2",
    ),
    "a field too few": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25,", "0003.wav,"),
        4,
        "3 field(s) instead of 4",
    ),
    "NaN": ("attributes", replaced(TASK2, "0003.wav,4.25", "0003.wav,nan"), 4, "EmoAct is nan"),
    "inf": ("attributes", replaced(TASK2, "0003.wav,4.25", "0003.wav,-inf"), 4, "EmoAct is -inf"),
    "text": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25", "0003.wav,high"),
        4,
        "'high' is not a number",
    ),
    "tensor": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25", "0003.wav,tensor(4.25)"),
        4,
        "is not a number",
    ),
    "underscore number": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25", "0003.wav,4_2"),
        4,
        "not a plain decimal",
    ),
    "value empty": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25", "0003.wav,"),
        4,
        "EmoAct is empty",
    ),
    "value with a space": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25", "0003.wav, 4.25"),
        4,
        "spaces around it",
    ),
    "below the range": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25", "0003.wav,0.9999"),
        4,
        "'0.9999' is below 1",
    ),
    "above the range": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25,2.0,7", "0003.wav,4.25,2.0,7.0000001"),
        4,
        "EmoDom '7.0000001' is above 7",
    ),
    "decimal commas": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25,2.0,7", "0003.wav,4,25,2,0,7,0"),
        4,
        "decimals were written with commas",
    ),
    "quoted decimal commas": (
        "attributes",
        replaced(TASK2, "0003.wav,4.25,2.0,7", '0003.wav,"4,25","2,0","7,0"'),
        4,
        "quotation marks",
    ),
    "a blank line": (
        "categorical",
        replaced(TASK1, "0003.wav,H\n", "0003.wav,H\n\n"),
        5,
        "blank line",
    ),
    "a blank line at the end": ("categorical", (TASK1 + "\n").encode(), 10, "blank line"),
    "no last line end": ("categorical", TASK1[:-1].encode(), 9, "cut off"),
    "cut in a number": ("attributes", TASK2[:-3].encode(), 9, "cut off"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused_with_the_right_message(tmp_path: Path, case: str) -> None:
    kind, data, line, message = MALFORMED[case]
    path = tmp_path / "submission.csv"
    path.write_bytes(data)
    problems = validate(path, SMALL.task(kind))
    assert any(p.line == line and message in p.message for p in problems), [
        str(p) for p in problems
    ]
    assert all(p.hint for p in problems)
    with pytest.raises(RefusedSubmissionError) as refused:
        check(path, SMALL.task(kind))
    assert refused.value.problems == tuple(problems)
    assert refused.value.exit_code == 9
    assert str(path) in str(refused.value)


def test_there_are_at_least_25_malformed_cases_and_valid_files_pass(tmp_path: Path) -> None:
    assert len(MALFORMED) >= 25
    for kind, text in (("categorical", TASK1), ("attributes", TASK2)):
        path = tmp_path / f"{kind}.csv"
        path.write_text(text)
        assert validate(path, SMALL.task(kind)) == []
        check(path, SMALL.task(kind))
        assert task_of(path, SMALL).kind == kind


@pytest.mark.parametrize(
    "case",
    [
        "without .wav",
        "with a folder",
        "name in lower case",
        "name with spaces",
        "letter O",
        "letter quoted",
        "crlf",
        "header missing",
    ],
)
def test_one_slip_is_one_problem(tmp_path: Path, case: str) -> None:
    kind, data, _, _ = MALFORMED[case]
    (tmp_path / "submission.csv").write_bytes(data)
    assert len(validate(tmp_path / "submission.csv", SMALL.task(kind))) == 1


@pytest.mark.parametrize(
    "number", ["1", "7", "1.0", "7.", "4e0", "+4.5", "3.9999999999999996", "4.2500000000000001e+00"]
)
def test_plain_numbers_in_the_range_are_accepted(tmp_path: Path, number: str) -> None:
    path = tmp_path / "submission.csv"
    path.write_bytes(replaced(TASK2, "0003.wav,4.25", f"0003.wav,{number}"))
    assert validate(path, SMALL.attributes) == []


def test_every_single_cut_of_a_valid_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    three = INTERSPEECH2025.with_names(NAMES[:3])
    for text, task in ((TASK1, three.categorical), (TASK2, three.attributes)):
        data = "".join(text.splitlines(keepends=True)[:4]).encode()
        path.write_bytes(data)
        assert validate(path, task) == []
        for length in range(len(data)):
            path.write_bytes(data[:length])
            assert validate(path, task), length


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    (told,) = validate(tmp_path, SMALL.categorical)
    assert "folder" in told.message
    (told,) = validate(tmp_path / "absent.csv", SMALL.categorical)
    assert "no such file" in told.message


def test_the_text_of_the_error_stays_short_and_groups_like_problems(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    path.write_text(TASK1.replace(".wav,", ".wav, "))
    with pytest.raises(
        SubmissionError, match=r"8 problems\n  - line 2: .*spaces around it \(and 7 more like it\)"
    ):
        check(path, SMALL.categorical)


def full(names: list[str]) -> str:
    return "FileName,EmoClass\n" + "".join(f"{name},N\n" for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names, None),
        (lambda names: names[:-1], "3,199 rows instead of 3,200"),
        (lambda names: [*names, "MSP-PODCAST_test3_3201.wav"], "is not a test file"),
        (lambda names: [n.replace("test3_0", "test3_") for n in names], "is not a test file"),
    ],
)
def test_interspeech_takes_exactly_its_3200_names(
    tmp_path: Path, change: Callable[[list[str]], list[str]], message: str | None
) -> None:
    names = list(INTERSPEECH2025.categorical.names or ())
    assert (len(names), names[0], names[-1]) == (
        3200,
        "MSP-PODCAST_test3_0001.wav",
        "MSP-PODCAST_test3_3200.wav",
    )
    (tmp_path / "s.csv").write_text(full(change(names)))
    found = validate(tmp_path / "s.csv", INTERSPEECH2025.categorical)
    assert any(message in p.message for p in found) if message else found == []


def test_odyssey_without_names_checks_pattern_and_number(tmp_path: Path) -> None:
    names = [f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(2, 2349)]
    (tmp_path / "s.csv").write_text(full(names))
    assert ODYSSEY2024.categorical.names is None
    assert validate(tmp_path / "s.csv", ODYSSEY2024.categorical) == []
    (tmp_path / "s.csv").write_text(full([*names[:-1], "MSP-PODCAST_0001_0008.wav"]))
    assert any(
        "is not a test file" in p.message
        for p in validate(tmp_path / "s.csv", ODYSSEY2024.categorical)
    )
    exact = ODYSSEY2024.with_names(names).categorical
    (tmp_path / "s.csv").write_text(
        full([f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, 2348)])
    )
    assert {p.message.split(":")[0] for p in validate(tmp_path / "s.csv", exact)} == {
        "'MSP-PODCAST_test3_0001.wav' is not a test file",
        "1 test file(s) have no row",
    }
