"""benchmarks/meld_text.py: its baselines and tables on small conversations."""

import sys
from pathlib import Path

import numpy as np
import pytest
from benchmark_scripts import benchmark
from scored_run import scored_corpus, scored_run
from sklearn.metrics import f1_score

from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError


@pytest.fixture(scope="module")
def script():
    """benchmarks/meld_text.py as a module."""
    yield benchmark("meld_text")
    del sys.modules["meld_text"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Dialogues of all three parts; the label depends on the turn."""
    table = scored_corpus(tmp_path_factory.mktemp("meld"), audio=False, turns=6, speakers=24)
    third = np.isin(table.frame["dialogue"], [f"d{i:02d}" for i in range(12, 24)])
    table.frame.loc[third & (table.frame["split"] == "train"), "split"] = "development"
    return table


@pytest.fixture(scope="module")
def vectors(corpus: Corpus) -> np.ndarray:
    """Vectors in which the class is heard, with noise."""
    rng = np.random.default_rng(0)
    return (np.eye(8)[corpus.labels] + 0.4 * rng.standard_normal((len(corpus), 8))).astype("f4")


def test_weighted_f1_is_scikit_learns(script):
    rng = np.random.default_rng(1)
    labels, guess = rng.integers(0, 3, (2, 60))
    found = script.weighted_f1(labels, guess, 3)
    assert found == pytest.approx(f1_score(labels, guess, average="weighted"))


def test_the_baselines_learn(script, corpus, vectors):
    test = (corpus.frame["split"] == "test1").to_numpy()
    alone = script.regression(corpus, vectors)
    assert (alone == corpus.labels)[test].mean() > 0.7


def test_the_gru_learns_and_keeps_seeds_apart(script, corpus, vectors):
    pytest.importorskip("torch")
    test = (corpus.frame["split"] == "test1").to_numpy()
    one, again, other = (script.recurrent(corpus, vectors, s, epochs=8) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert (one == corpus.labels)[test].mean() > 0.7


def test_runs_stand_beside_the_baselines(script, tmp_path: Path, capsys):
    table = scored_corpus(tmp_path / "audio", audio=False, turns=6)
    run = scored_run(tmp_path, members=3, table=table).run
    test = table.of_split("test1")
    found, notes = script.members_of(run.folder, test)
    assert found.shape == (3, len(test))
    assert notes[0] == "m0: epoch picked by test: .600 (not a result: chosen by test labels)"
    rng = np.random.default_rng(3)
    guesses = {
        script.REGRESSION: rng.integers(0, 3, (1, len(test))),
        script.GRU: rng.integers(0, 3, (5, len(test)))[:3],
        "ours": found,
    }
    rows, tested = script.report(test, guesses, [run.folder], notes)
    own = [f1_score(test.labels, one, average="weighted") for one in found]
    assert rows[2]["weighted_f1"] == pytest.approx(np.mean(own))
    assert [(one["one"], one["other"]) for one in tested] == [
        ("ours", script.REGRESSION),
        ("ours", script.GRU),
    ]
    assert tested[0]["difference"] == pytest.approx(rows[2]["weighted_f1"] - rows[0]["weighted_f1"])
    lines = script.targets(rows, tested)
    assert [line.rsplit(": ", 1)[1] for line in lines[-2:]] != ["missed", "missed"]
    assert "chosen by test labels" in capsys.readouterr().out
    with pytest.raises(EvaluationError, match="another one than MELD's"):
        script.members_of(run.folder, test.where(np.arange(len(test)) > 0))
