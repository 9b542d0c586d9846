"""Published results stand only beside runs on the same corpus with the same classes."""

from dataclasses import replace
from pathlib import Path

import pytest
from scored_run import scored_corpus

from medusa_jax.corpus.table import Corpus
from medusa_jax.evaluation.published_results import COLUMNS, PUBLISHED, published_on

SEVEN = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")


def conversations(folder: Path, name: str, classes: int) -> Corpus:
    return scored_corpus(folder, audio=False, turns=8, classes=SEVEN[:classes], name=name)


@pytest.fixture
def meld(tmp_path: Path) -> Corpus:
    return conversations(tmp_path, "meld", 7)


def test_runs_have_the_published_results_of_their_corpus(meld, tmp_path) -> None:
    rows = {row["system"]: row for row in published_on(meld)}
    assert (rows["SUMMER"]["accuracy"], rows["SUMMER"]["weighted_f1"]) == (0.6878, 0.6981)
    assert "test part" in str(rows["SDT"]["epoch"])
    assert rows["SDT"]["weighted_f1"] is None, "no number without a source"
    assert all(set(row) == set(COLUMNS) for row in rows.values())
    six = conversations(tmp_path, "IEMOCAP_features", 6)
    assert {row["weighted_f1"] for row in published_on(six)} == {0.7895, 0.709, None}


def test_other_corpora_have_none(meld) -> None:
    single = replace(meld, frame=meld.frame.drop(columns=["dialogue", "turn"]))
    others = (
        replace(meld, name="generated"),
        replace(meld, synthetic=True),
        replace(meld, name="iemocap"),  # seven classes: another task
        single,
    )
    assert [published_on(other) for other in others] == [[], [], [], []]


def test_numbers_are_shares_with_a_source_and_a_selection() -> None:
    for one in PUBLISHED:
        numbers = [x for x in (one.accuracy, one.weighted_f1) if x is not None]
        assert all(0.5 < x < 0.9 for x in numbers), one
        assert one.source
        assert one.epoch
