"""The table of an ablation from predictions alone: its lines, comparisons and corrections."""

import json
import re

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import f1_score

from medusa_jax.evaluation.scores_file import CorpusFacts
from medusa_jax.evaluation.significance import compare, holm
from medusa_jax.evaluation.tables import Row
from medusa_jax.studies.ablation_table import WORDS, ablation_rows
from medusa_jax.studies.study import Study
from medusa_jax.studies.study_file import ABLATION, MEAN, read_study, write_study
from medusa_jax.studies.tables import study_table

CLASSES = ("angry", "sad", "happy")
SPEAKERS, EACH, SEEDS = 12, 15, 2


def guesses(rng: np.random.Generator, labels: np.ndarray, skill: float) -> np.ndarray:
    """Predictions of a member's seeds `[r, n]`, right with chance `skill` or by luck."""
    return np.where(
        rng.random((SEEDS, len(labels))) < skill, labels, rng.integers(0, 3, (SEEDS, len(labels)))
    )


@pytest.fixture(scope="module")
def known() -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]], list[str]]:
    """Labels, predictions by row and member, speakers.

    Row `worse` is worse, `partial` has one of the members, unchanged.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, SPEAKERS * EACH)
    base = {"a": guesses(rng, labels, 0.7), "b": guesses(rng, labels, 0.6)}
    rows = {
        "base": base,
        "worse": {m: guesses(rng, labels, 0.2) for m in base},
        "partial": {"b": base["b"].copy()},
    }
    return labels, rows, [f"s{k}" for k in np.arange(SPEAKERS).repeat(EACH)]


@pytest.fixture(scope="module")
def table(known) -> list[Row]:
    labels, predictions, speakers = known
    return ablation_rows(labels, predictions, CLASSES, speakers, resamples=300)


def line(table: list[Row], row: str, member: str) -> Row:
    (found,) = [one for one in table if (one["row"], one["member"]) == (row, member)]
    return found


def test_every_row_has_its_members_and_their_mean(table):
    assert [(one["row"], one["member"]) for one in table] == [
        *(("base", m) for m in ("a", "b", MEAN)),
        *(("worse", m) for m in ("a", "b", MEAN)),
        *(("partial", m) for m in ("b", MEAN)),
    ]
    assert all(tuple(one) == ABLATION for one in table)
    assert all(one["difference"] is None and one["p_corrected"] is None for one in table[:3])


def test_the_scores_are_scikit_learns(known, table):
    labels, predictions, _ = known
    for row, own in predictions.items():
        f1 = {
            m: [f1_score(labels, guess, average="macro") for guess in seeds]
            for m, seeds in own.items()
        }
        for member, values in f1.items():
            found = line(table, row, member)
            assert (found["macro_f1"], found["seed_sd"]) == (
                pytest.approx(np.mean(values)),
                pytest.approx(np.std(values, ddof=1)),
            )
        mean = line(table, row, MEAN)
        assert mean["macro_f1"] == pytest.approx(np.mean(list(f1.values())))
        assert mean["seed_sd"] == pytest.approx(
            np.std(np.mean(list(f1.values()), axis=0), ddof=1)
        ), "of the mean, not of all members"
        assert mean["seeds"] == SEEDS


def test_a_row_is_compared_over_the_members_that_it_has(table):
    assert line(table, "partial", MEAN)["difference"] == 0
    assert line(table, "partial", MEAN)["p"] == 1
    worse = line(table, "worse", MEAN)
    assert worse["difference"] == pytest.approx(
        worse["macro_f1"] - line(table, "base", MEAN)["macro_f1"]
    )
    assert worse["difference_high"] < 0
    assert worse["p_corrected"] < 0.05


def test_means_and_members_are_corrected_apart(known, table):
    for members in (True, False):
        family = [
            one for one in table if one["row"] != "base" and (one["member"] != MEAN) is members
        ]
        assert len(family) == (3 if members else 2)
        assert [one["p_corrected"] for one in family] == pytest.approx(
            holm([float(one["p"]) for one in family])
        )
    labels, predictions, speakers = known
    systems = {"worse": predictions["worse"]["a"], "base": predictions["base"]["a"]}
    (alone,) = compare(labels, systems, [("worse", "base")], CLASSES, speakers, resamples=300)
    assert (line(table, "worse", "a")["difference"], line(table, "worse", "a")["p"]) == (
        alone.difference,
        alone.p,
    )


def test_one_member_and_one_seed_still_make_a_table(known):
    labels, predictions, speakers = known
    single = {row: {"b": own["b"][:1]} for row, own in predictions.items()}
    found = ablation_rows(labels, single, CLASSES, speakers, resamples=100)
    assert [one["seed_sd"] for one in found] == [None] * 6
    for row in single:
        own, mean = line(found, row, "b"), line(found, row, MEAN)
        assert own | {"member": MEAN} == mean


def test_the_files_and_the_terminal_show_the_same(table, tmp_path):
    facts = CorpusFacts("made | up", True, {"speakers": SPEAKERS})
    reference = [{"row": "worse", "change in %": -51.5, "paper, change in %": None}]
    study = Study(
        "An ablation", facts, WORDS, table, ["A note."], reference, {"seeds": SEEDS}, {"jax": "0"}
    )
    paths = {path.suffix: path for path in write_study(tmp_path, "ablation-test1", study)}
    assert [path.name for path in paths.values()] == [
        "ablation-test1.csv",
        "ablation-test1.json",
        "ablation-test1.md",
    ]
    record = json.loads(paths[".json"].read_text())
    assert record["rows"] == table
    assert record["corpus"] == {
        "name": "made | up",
        "synthetic": True,
        "counts": {"speakers": SPEAKERS},
    }
    read = read_study(paths[".csv"], ABLATION)
    assert [[row[name] for name in ABLATION] for row in read.rows] == [
        [row[name] for name in ABLATION] for row in table
    ], "as the report reads it"
    page = paths[".md"].read_text()
    worse = line(table, "worse", MEAN)
    numbers = f"{worse['macro_f1']:.3f} [", f"{worse['difference']:+.3f} ["
    for words in (*numbers, " * |", "synthetic", "A note.", "-51.50", "made | up (synthetic)"):
        assert words in page, words
    assert (
        page.count(" * |")
        == sum(one["p_corrected"] is not None and one["p_corrected"] < 0.05 for one in table)
        == 3
    )


def test_the_terminal_shows_all_in_80_columns_and_marks_what_is_significant(table, capsys):
    named = [
        {**row, "row": f"no_{row['row']}", "member": f"mel-txt-{row['member']}"} for row in table
    ]
    for synthetic in (True, False):
        Console(width=80).print(
            study_table(Study("An ablation", CorpusFacts("some", synthetic, {}), WORDS, named))
        )
        said = capsys.readouterr().out
        assert "…" not in said
        assert sum(line.rstrip().endswith(" *") for line in said.splitlines()) == 3
        assert len(re.findall(r"\[\S+, \S+\]", said)) == 2 * len(table) - 3, (
            "every interval whole, on its line"
        )
        assert [line.strip() for line in said.splitlines() if " no_" in line] == [
            f"no_{r}" for r in ("base", "worse", "partial")
        ]
        assert all(f"mel-txt-{member} " in said for member in ("a", "b", MEAN))
        assert ("generated, synthetic speech" in said) is synthetic
