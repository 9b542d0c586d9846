"""Every malformed file is refused with the message that says what to fix; a valid one is not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from malformed_files import FILES, NAMES, SMALL, TASK1, TASK2, replaced
from malformed_rows import ROWS

from medusa_jax.errors import SubmissionError
from submission.challenges import INTERSPEECH2025, ODYSSEY2024
from submission.problems import RefusedSubmissionError
from submission.validator import check, task_of, validate

MALFORMED = {**FILES, **ROWS}


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
