"""`medusa submit …` from the outside: what it prints, its exit codes, and that it needs no jax."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from medusa_jax.cli.submit import app
from medusa_jax.errors import SubmissionError
from submission.challenges import CLASSES, INTERSPEECH2025, LETTER_OF
from submission.logit_files import LOGITS, write_member
from submission.writer import write_attributes, write_categorical

NAMES = [f"MSP-PODCAST_test3_{i:04d}.wav" for i in range(1, 9)]
SMALL = INTERSPEECH2025.with_names(NAMES)


def medusa(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(a) for a in arguments])


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES))
    return path


@pytest.fixture
def task1(tmp_path: Path) -> Path:
    return write_categorical(tmp_path / "task1.csv", NAMES, list(CLASSES), SMALL)


def test_check_says_valid_and_tells_the_task_from_the_header(
    tmp_path: Path, names: Path, task1: Path
) -> None:
    table = {"arousal": [4.0] * 8, "valence": [4.0] * 8, "dominance": [4.0] * 8}
    task2 = write_attributes(tmp_path / "task2.csv", NAMES, table, SMALL)
    for path, task in ((task1, "Task 1"), (task2, "Task 2")):
        result = medusa("check", path, "--names", names)
        assert result.exit_code == 0, result.output
        assert "valid" in result.output
        assert task in result.output
    assert medusa("check", task1, "--names", names, "--task", "attributes").exit_code == 9


def test_check_shows_each_kind_of_problem_once_with_its_hint(names: Path, task1: Path) -> None:
    task1.write_text(task1.read_text().replace(".wav,", ".wav,[b]").replace("[b]N", "O"))
    result = medusa("check", task1, "--names", names)
    assert result.exit_code == 9
    assert "'[b]A' is not a class" in result.output, "square brackets are text, not markup"
    assert "EmoClass is O (other)" in result.output
    assert result.output.count("write one of A,S,H,U,F,D,C,N") == 1
    assert medusa("check", task1).exit_code == 9, "8 of 3,200 files"


def test_score_prints_the_ranking_metric_first(tmp_path: Path, task1: Path) -> None:
    answers = tmp_path / "answers.csv"
    pd.DataFrame({"FileName": NAMES, "EmoClass": list(LETTER_OF.values())}).to_csv(
        answers, index=False
    )
    result = medusa("score", task1, answers)
    assert result.exit_code == 0, result.output
    assert result.output.index("macro_f1 (ranking)") < result.output.index("accuracy")
    assert "1.0000" in result.output
    assert "8 files scored" in result.output


def test_convert_writes_a_checked_file_or_explains(
    tmp_path: Path, names: Path, task1: Path
) -> None:
    frame = pd.DataFrame(
        {
            "FileName": NAMES,
            **{name: [float(i == j) for j in range(8)] for i, name in enumerate(LOGITS)},
        }
    )
    member = write_member(
        tmp_path / "member.csv",
        frame.assign(arousal=4.0, valence=4.0, dominance=4.0),
        "alphabetical",
    )
    out = tmp_path / "converted.csv"
    result = medusa("convert", member, out, "--names", names)
    assert isinstance(result.exception, SubmissionError), "the order was not told"
    assert not out.exists()
    assert (
        medusa("convert", member, out, "--order", "alphabetical", "--names", names).exit_code == 0
    )
    assert out.read_bytes() == task1.read_bytes()
    assert (
        medusa(
            "convert",
            member,
            out,
            "--order",
            "alphabetical",
            "--names",
            names,
            "--task",
            "attributes",
        ).exit_code
        == 0
    )
    assert out.read_text().splitlines()[1] == f"{NAMES[0]},4.0,4.0,4.0"


def test_the_package_works_without_jax() -> None:
    code = (
        "import sys\n"
        "absent = ('jax', 'flax', 'orbax', 'optax', 'torch', 'datasets')\n"
        "sys.modules.update({name: None for name in absent})\n"
        "import submission.logit_files, submission.scoring, medusa_jax.cli.submit\n"
        "assert not {'sklearn', 'audmetric', 'scipy'} & sys.modules.keys(), 'imported when needed'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
