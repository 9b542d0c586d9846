"""Tables and score files show the same numbers, and what is no score file is refused."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.metrics import attribute_scores, classification_scores
from medusa_jax.evaluation.scores_file import CorpusFacts, read_scores, write_scores
from medusa_jax.evaluation.tables import SystemScores, csv_text, markdown_table, rich_table

CLASSES = ("angry", "sad", "happy", "neutral")


def some_predictions(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Labels `[n]`, one in ten −1, and posteriors `[n, 4]` better than chance."""
    rng = np.random.default_rng(0)
    labels = rng.choice(4, n, p=[0.1, 0.2, 0.2, 0.5])
    posteriors = rng.dirichlet(np.ones(4), n) + 0.3 * np.eye(4)[labels]
    return np.where(rng.random(n) < 0.1, -1, labels), posteriors / posteriors.sum(1, keepdims=True)


def some_systems() -> list[SystemScores]:
    labels, posteriors = some_predictions()
    rng = np.random.default_rng(2)
    ratings = rng.uniform(1, 7, (300, 3))
    interval = macro_f1_interval(
        labels, posteriors.argmax(1), CLASSES, [f"s{i % 20}" for i in range(300)], resamples=200
    )
    scores = classification_scores(labels, posteriors, CLASSES)
    return [
        SystemScores(
            "member 1", "member", scores, attribute_scores(ratings, ratings + 1), interval
        ),
        SystemScores(
            "soft | vote [all]",
            "vote",
            classification_scores(labels, np.roll(posteriors, 1, axis=1), CLASSES),
        ),
        SystemScores(
            "constant", "member", None, attribute_scores(np.full((3, 3), 4.0), np.full((3, 3), 4.0))
        ),
    ]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_tables_say_the_same_and_escape_names() -> None:
    systems = some_systems()
    markdown = markdown_table(systems).splitlines()
    assert markdown[0].startswith("| system | kind | Macro-F1 |")
    assert len({line.replace("\\|", "").count("|") for line in markdown}) == 1, "a name broke a row"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(rich_table(systems, "scores [x]", synthetic=True))
    text = console.export_text()
    macro = systems[0].classification.macro_f1  # type: ignore[union-attr]
    assert f"{macro:.3f} [{systems[0].interval.low:.3f}, " in text  # type: ignore[union-attr]
    assert f"**{macro:.3f} [" in markdown[2]
    assert "soft | vote [all]" in text
    assert "scores [x]" in text
    assert "synthetic speech" in text
    rows = list(csv.DictReader(csv_text(systems).splitlines()))
    assert float(rows[0]["macro_f1"]) == macro
    assert rows[1]["system"] == "soft | vote [all]"
    assert rows[1]["ccc_mean"] == rows[2]["macro_f1"] == rows[2]["ccc_mean"] == ""


def test_report_numbers_agree_and_synthetic_is_said_aloud(tmp_path: Path) -> None:
    systems = some_systems()
    facts = CorpusFacts("generated", True, {"utterances": 300, "speakers": 20})
    report = write_scores(
        tmp_path / "run", "Demo", facts, systems, shown="member 1", provenance={"config": "abc"}
    )
    text = report.read_text(encoding="utf-8")
    assert "synthetic speech" in text
    assert "## Confusion: member 1" in text
    assert "config: abc" in text
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    with open(tmp_path / "run" / "scores.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["corpus"] for row in rows} == {"generated (synthetic)"}
    assert scores["corpus"] == {
        "name": "generated",
        "synthetic": True,
        "counts": {"utterances": 300, "speakers": 20},
    }
    for row, system in zip(rows, scores["systems"], strict=True):
        assert {k: v for k, v in row.items() if v and k != "corpus"} == {
            k: str(v) for k, v in system.items() if v is not None
        }
    back = read_scores(tmp_path / "run" / "scores.json")
    assert back.corpus == facts
    assert markdown_table(back.rows) == markdown_table(systems)
    assert csv_text([dict(sorted(row.items())) for row in back.rows]) == csv_text(
        [dict(sorted(system.row().items())) for system in systems]
    )


def test_report_of_recorded_speech_does_not_call_it_synthetic(tmp_path: Path) -> None:
    text = write_scores(
        tmp_path, "RAVDESS", CorpusFacts("RAVDESS", False, {"clips": 1440}), some_systems()[:2]
    ).read_text(encoding="utf-8")
    assert "synthetic" not in text
    assert "Corpus: RAVDESS; 1,440 clips." in text
    assert "## Confusion: soft | vote [all]" in text


@pytest.mark.parametrize(
    ("names", "shown", "message"),
    [
        ([], None, "no systems"),
        (["a", "a"], None, "two systems are called 'a'"),
        (["a"], "b", "no system called 'b'"),
    ],
)
def test_report_refuses(tmp_path: Path, names: list[str], shown: str | None, message: str) -> None:
    systems = [SystemScores(name, "member", some_systems()[0].classification) for name in names]
    with pytest.raises(EvaluationError, match=message):
        write_scores(tmp_path, "t", CorpusFacts("c", False, {}), systems, shown=shown)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "{}", "[]", "\udcff", '{"systems": 3}'),
        '{"corpus": {"name": "a", "synthetic": false, "counts": {}}, "systems": [],'
        ' "provenance": {}}',
    ],
)
def test_a_file_that_is_no_scores_file_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "scores.json"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(
        EvaluationError, match="no scores to read" if text is None else "scores.json is damaged"
    ):
        read_scores(path)
