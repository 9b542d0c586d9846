"""The epoch that test labels would pick is found, and never called a result."""

import json
from pathlib import Path

import pytest

from medusa_jax.evaluation.picked_by_test import (
    WARNING,
    PickedByTest,
    picked_by_test,
    picked_rows,
    picked_sentences,
)


def written(path: Path, epochs: list[dict]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in epochs), encoding="utf-8")
    return path


def epoch(number: int, phase: str, f1: float | None) -> dict:
    scores = {} if f1 is None else {"test_weighted_f1": f1, "test_accuracy": f1 + 0.01}
    return {"epoch": number, "phase": phase, "loss": 1.0, **scores}


def test_the_best_epoch_of_the_last_phase_is_found(tmp_path: Path) -> None:
    epochs = [
        epoch(1, "teacher", 0.9),  # a teacher's: the student makes the predictions
        epoch(2, "student", 0.5),
        epoch(3, "student", 0.62),
        epoch(4, "student", 0.62),  # an equal one later changes nothing
        epoch(5, "student", 0.6),
    ]
    found = picked_by_test(written(tmp_path / "m.jsonl", epochs), "text")
    assert found == PickedByTest("text", 3, "student", 0.62, 0.63)
    teacher = picked_by_test(written(tmp_path / "t.jsonl", epochs[:1]), "text")
    assert teacher == PickedByTest("text", 1, "teacher", 0.9, 0.91)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        json.dumps(epoch(1, "student", None)),
        json.dumps({"epoch": 1, "test_weighted_f1": 0.5}),
        json.dumps(epoch(1, "student", float("nan"))),
        "[1]",
    ],
)
def test_without_scores_there_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text, encoding="utf-8")
    assert picked_by_test(path, "text") is None
    assert picked_by_test(tmp_path / "absent.jsonl", "text") is None


def test_it_stands_beside_the_own_score_and_is_named() -> None:
    picked = [PickedByTest("text", 3, "student", 0.612, 0.65)]
    systems = [{"system": "text", "weighted_f1": 0.601, "accuracy": 0.63}]
    assert picked_sentences(picked, systems) == [
        "text: weighted F1 .601; epoch picked by test: .612 (not a result: chosen by test labels)"
    ]
    (row,) = picked_rows(picked, systems)
    assert (row["weighted_f1"], row["test_weighted_f1"], row["test_epoch"]) == (0.601, 0.612, 3)
    assert WARNING == "not a result: chosen by test labels"
