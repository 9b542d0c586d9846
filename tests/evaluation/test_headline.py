"""Conversations are scored by weighted F1 over dialogues, as scikit-learn computes it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scored_run import scored_corpus
from sklearn import metrics
from slow_interval import slow_interval

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.headline import CONVERSATIONS, SPEECH, headline_of, headline_of_row
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.metrics import accuracy_of, classification_scores, weighted_f1_of
from medusa_jax.evaluation.seeds import seed_scores
from medusa_jax.evaluation.significance import compare

CLASSES = ("neutral", "joy", "anger")


def skewed(seed: int = 0, dialogues: int = 14) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels of unequal frequency, predictions, and the dialogue of each; speakers alternate."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, dialogues * 8, p=[0.7, 0.2, 0.1])
    guess = np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, 3, len(labels)))
    return labels, guess, [f"d{i // 8}" for i in range(len(labels))]


def test_weighted_f1_and_accuracy_are_scikit_learns() -> None:
    labels, guess, _ = skewed()
    counts = metrics.confusion_matrix(labels, guess, labels=range(3))
    expected = metrics.f1_score(labels, guess, average="weighted", labels=range(3))
    found = classification_scores(labels, np.eye(3)[guess], CLASSES)
    assert found.weighted_f1 == pytest.approx(expected, abs=1e-12)
    assert weighted_f1_of(counts) == pytest.approx(expected, abs=1e-12)
    assert accuracy_of(counts) == pytest.approx(metrics.accuracy_score(labels, guess), abs=1e-12)
    assert abs(expected - found.macro_f1) > 0.02, "a control: Macro-F1 is another score"
    assert weighted_f1_of(np.zeros((2, 3, 3))).tolist() == [0, 0]
    assert accuracy_of(np.zeros((2, 3, 3))).tolist() == [0, 0]


def test_a_class_that_never_occurs_counts_as_nothing() -> None:
    labels, guess = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    expected = metrics.f1_score(labels, guess, average="weighted", labels=range(3), zero_division=0)
    found = classification_scores(labels, np.eye(3)[guess], CLASSES).weighted_f1
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_interval_draws_dialogues() -> None:
    labels, guess, dialogues = skewed()

    def by_sklearn(rows: np.ndarray) -> float:
        return float(
            metrics.f1_score(
                labels[rows], guess[rows], labels=range(3), average="weighted", zero_division=0
            )
        )

    found = macro_f1_interval(
        labels, guess, CLASSES, dialogues, metric=weighted_f1_of, resamples=200, seed=3
    )
    slow = slow_interval(by_sklearn, dialogues, resamples=200, seed=3)
    assert (found.low, found.high) == pytest.approx(slow, abs=1e-12)
    speakers = [f"s{i % 2}" for i in range(len(labels))]
    other = macro_f1_interval(
        labels, guess, CLASSES, speakers, metric=weighted_f1_of, resamples=200, seed=3
    )
    assert (found.clusters, other.clusters) == (14, 2)
    assert (found.low, found.high) != (other.low, other.high)


def test_errors_name_the_clusters() -> None:
    labels, guess, dialogues = skewed()
    with pytest.raises(EvaluationError, match="at least two dialogues"):
        macro_f1_interval(labels, guess, CLASSES, ["d"] * len(labels), cluster="dialogue")
    with pytest.raises(EvaluationError, match="dialogues do not fit"):
        seed_scores(labels, guess[None], CLASSES, dialogues[:-1], headline=CONVERSATIONS)
    pair = {"one": guess, "other": labels}
    with pytest.raises(EvaluationError, match="at least two dialogues"):
        compare(labels, pair, [("one", "other")], CLASSES, ["d"] * len(labels), cluster="dialogue")


def test_seeds_are_scored_by_the_headline() -> None:
    labels, guess, dialogues = skewed()
    seeds = np.stack([guess, labels])
    found = seed_scores(labels, seeds, CLASSES, dialogues, headline=CONVERSATIONS, resamples=50)
    weighted = [metrics.f1_score(labels, one, average="weighted") for one in seeds]
    assert found.by_seed == pytest.approx(weighted, abs=1e-12)
    assert found.mean == pytest.approx(np.mean(weighted), abs=1e-12)
    macro = [metrics.f1_score(labels, one, average="macro") for one in seeds]
    assert found.macro_f1 == pytest.approx(np.mean(macro), abs=1e-12)
    plain = seed_scores(labels, seeds, CLASSES, dialogues, resamples=50)
    assert plain.mean == plain.macro_f1 == pytest.approx(np.mean(macro), abs=1e-12)


def test_the_corpus_decides(tmp_path: Path) -> None:
    corpus = scored_corpus(tmp_path, audio=False, turns=8)
    assert headline_of(corpus) is CONVERSATIONS
    assert CONVERSATIONS.clusters(corpus).nunique() == 18
    frame = corpus.frame.drop(columns=["dialogue", "turn"])
    assert headline_of(replace(corpus, frame=frame)) is SPEECH
    assert headline_of_row({"weighted_f1": 0.5, "macro_f1": 0.4}) is CONVERSATIONS
    assert headline_of_row({"weighted_f1": None, "macro_f1": 0.4}) is SPEECH
