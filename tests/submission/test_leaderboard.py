"""Ours and the published scores stand beside each other and are never mistaken for each other."""

import json
from pathlib import Path

import pandas as pd
import pytest

from medusa_jax.errors import SubmissionError
from submission.challenges import INTERSPEECH2025, ODYSSEY2024
from submission.leaderboard import (
    SCORE_FILE,
    leaderboard,
    read_scores,
    write_leaderboard,
    write_score,
)


def add(run: Path, value: float = 0.9, **changes: object) -> Path:
    given = {
        "challenge": "interspeech2025",
        "task": "categorical",
        "system": "soup",
        "metrics": {"macro_f1": value, "micro_f1": 0.5, "f1_angry": 0.4},
        "corpus": "generated",
        "synthetic": True,
        "file": "submission/task1.csv",
    }
    return write_score(run, **{**given, **changes})  # type: ignore[arg-type]


def test_published_scores_are_the_published_ones_and_say_so() -> None:
    task1, task2 = INTERSPEECH2025.tasks
    assert {p.system: p.metrics["macro_f1"] for p in task1.published} == {
        "MEDUSA": 0.4316,
        "SAIL": 0.4281,
        "ABHINAYA": 0.4181,
        "MATER": 0.4101,
        "UNICAMP": 0.4094,
    }
    assert task1.published[0].metrics == {
        "macro_f1": 0.4316,
        "micro_f1": 0.4319,
        "accuracy": 0.4319,
    }
    assert [p.metrics["ccc_mean"] for p in task2.published] == [0.6076, 0.6003, 0.5955, 0.5928]
    assert [p.metrics["macro_f1"] for p in ODYSSEY2024.categorical.published] == [
        0.3569,
        0.3543,
        0.3441,
        0.311,
    ]
    assert [p.metrics["ccc_mean"] for p in ODYSSEY2024.attributes.published] == [0.5327]
    for challenge in (INTERSPEECH2025, ODYSSEY2024):
        assert all(
            p.source.startswith(f"published ({challenge.title} leaderboard, challenge test set")
            for t in challenge.tasks
            for p in t.published
        )


def test_ours_come_first_best_first_and_every_row_says_what_it_is(tmp_path: Path) -> None:
    add(tmp_path / "a", 0.5)
    add(tmp_path / "a", 0.6, system="soft vote")
    add(tmp_path / "b", 0.4, corpus="msp-podcast", synthetic=False)
    add(tmp_path / "b", task="attributes", metrics={"ccc_mean": 0.3})
    add(tmp_path / "c", challenge="odyssey2024")
    (tmp_path / "unrelated").mkdir()
    table = leaderboard(tmp_path, INTERSPEECH2025)
    first = table[table["task"] == "categorical"]
    assert first["system"].tolist()[:4] == ["soft vote", "soup", "soup", "MEDUSA"]
    assert first["run"].tolist()[:4] == ["a", "a", "b", ""]
    assert first["source"].tolist()[:3] == [
        *["this run (generated corpus, synthetic speech)"] * 2,
        "this run (corpus msp-podcast, scored here)",
    ]
    assert first["source"][3:].str.startswith("published (").all()
    assert (table["task"] == "attributes").sum() == 1 + 4
    assert not set(table["source"][table["run"] != ""]) & set(table["source"][table["run"] == ""])
    alone = leaderboard(tmp_path / "c", ODYSSEY2024)
    assert alone["run"].tolist()[0] == "c"
    assert alone["score"].tolist()[:2] == [0.9, 0.3569]


def test_the_csv_reads_back(tmp_path: Path) -> None:
    add(tmp_path / "a", 1 / 3)
    table = leaderboard(tmp_path, INTERSPEECH2025)
    back = pd.read_csv(write_leaderboard(table, tmp_path / "leaderboard.csv"))
    assert list(back.columns[:6]) == ["challenge", "task", "system", "metric", "score", "source"]
    assert back["score"].tolist() == table["score"].tolist()
    assert back.loc[back["system"] == "soup", "micro_f1"].item() == 0.5
    assert back.loc[back["system"] == "SRPOL", "macro_f1"].isna().all()


def test_a_score_written_again_replaces_only_its_own(tmp_path: Path) -> None:
    add(tmp_path, 0.1)
    add(tmp_path, 0.2, system="vote")
    add(tmp_path, 0.3)
    assert {s.system: s.metrics["macro_f1"] for s in read_scores(tmp_path)} == {
        "vote": 0.2,
        "soup": 0.3,
    }
    entry = json.loads((tmp_path / SCORE_FILE).read_text())["scores"][1]
    assert set(entry) == {
        "challenge",
        "task",
        "system",
        "metrics",
        "corpus",
        "synthetic",
        "run",
        "file",
    }
    assert entry["run"] == tmp_path.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenge": "interspeech2026"}, "unknown challenge"),
        ({"task": "regression"}, "task"),
        ({"metrics": {"accuracy": 0.5}}, "lacks macro_f1"),
        ({"metrics": {"macro_f1": float("nan")}}, "macro_f1.*finite"),
    ],
)
def test_scores_that_are_not_right_are_not_written(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(SubmissionError, match=message):
        add(tmp_path, **changes)  # type: ignore[arg-type]
    assert not (tmp_path / SCORE_FILE).exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"scores": {}}',
        '{"scores": [3]}',
        '{"scores": [{"challenge": "interspeech2025"}]}',
    ],
)
def test_a_damaged_score_file_is_a_row_and_never_read(tmp_path: Path, text: str) -> None:
    add(tmp_path / "good")
    path = add(tmp_path / "damaged")
    path.write_text(text)
    with pytest.raises(SubmissionError, match=r"damaged/submission/score\.json"):
        read_scores(tmp_path / "damaged")
    with pytest.raises(SubmissionError, match=r"score\.json"):
        add(tmp_path / "damaged", system="another")
    assert path.read_text() == text
    table = leaderboard(tmp_path, INTERSPEECH2025)
    assert table["run"].tolist().count("good") == 1
    last = table.iloc[-1]
    assert last["run"] == "damaged"
    assert last["source"].startswith("not read: ")
    assert pd.isna(last["score"])


def test_a_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="no such folder"):
        leaderboard(tmp_path / "absent", INTERSPEECH2025)
