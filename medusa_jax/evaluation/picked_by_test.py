"""The score of the epoch that the test labels would pick: printed beside a member's own score.

Most published results on conversations are of this kind. It chooses nothing here, and it is no
result: the labels that it is scored on have chosen it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat
from pydantic.dataclasses import dataclass

from medusa_jax.evaluation.tables import Row

WARNING = "not a result: chosen by test labels"


@dataclass(frozen=True)
class PickedByTest:
    """The epoch of `member` with the best weighted F1 on the test part, and its scores.

    Among the epochs of the phase that made the member's predictions: the last one.
    """

    member: str
    epoch: int
    phase: str
    weighted_f1: FiniteFloat
    accuracy: FiniteFloat


def picked_by_test(path: Path, member: str) -> PickedByTest | None:
    """The epoch of a member's `metrics.jsonl` that test labels would pick.

    None if its epochs were not scored on the test part, or the file cannot be read.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        phase = lines[-1]["phase"]
        scored = [line for line in lines if line["phase"] == phase and _scored(line)]
        # The first of equal ones, as the published loops keep it.
        best = max(scored, key=lambda line: float(line["test_weighted_f1"]))
        epoch = int(best["epoch"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    f1, accuracy = float(best["test_weighted_f1"]), float(best["test_accuracy"])
    return PickedByTest(member, epoch, str(phase), f1, accuracy)


def picked_rows(picked: Sequence[PickedByTest], systems: Sequence[Row]) -> list[Row]:
    """A row a member: its own weighted F1 and accuracy, and those of the epoch picked by test."""
    own = {row["system"]: row for row in systems}
    return [
        {
            "member": one.member,
            "weighted_f1": own.get(one.member, {}).get("weighted_f1"),
            "accuracy": own.get(one.member, {}).get("accuracy"),
            "test_epoch": one.epoch,
            "test_weighted_f1": one.weighted_f1,
            "test_accuracy": one.accuracy,
        }
        for one in picked
    ]


def picked_sentences(picked: Sequence[PickedByTest], systems: Sequence[Row]) -> list[str]:
    """`text: weighted F1 .601; epoch picked by test: .612 (not a result: …)`, a line a member."""
    lines = []
    for row in picked_rows(picked, systems):
        own = row["weighted_f1"]
        known = f"weighted F1 {shown(own)}; " if own is not None else ""
        picked_score = shown(row["test_weighted_f1"])
        lines.append(f"{row['member']}: {known}epoch picked by test: {picked_score} ({WARNING})")
    return lines


def shown(score: object) -> str:
    """A score as it is printed in this literature, without its leading zero: `.601`."""
    return f"{float(score):.3f}".removeprefix("0") if isinstance(score, int | float) else ""


def _scored(line: Mapping[str, Any]) -> bool:
    values = [line.get(name) for name in ("test_weighted_f1", "test_accuracy")]
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
