"""Scores against scikit-learn, audmetric and hand-computed numbers; bad input is refused."""

import audmetric
import numpy as np
import pytest
from sklearn import metrics

from medusa_jax.errors import EvaluationError
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.metrics import attribute_scores, classification_scores, macro_f1_of

CLASSES = ("angry", "sad", "happy", "neutral")


def some_predictions(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels `[n]`, unbalanced and one in ten −1, and posteriors `[n, 4]` that know a little."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, n, p=[0.1, 0.2, 0.2, 0.5])
    posteriors = rng.dirichlet(np.ones(4), n) + 0.3 * np.eye(4)[labels]
    return np.where(rng.random(n) < 0.1, -1, labels), posteriors / posteriors.sum(1, keepdims=True)


def test_classification_agrees_with_sklearn_and_audmetric() -> None:
    labels, posteriors = some_predictions()
    scores = classification_scores(labels, posteriors, CLASSES)
    truth, guess = labels[labels >= 0], posteriors.argmax(1)[labels >= 0]
    assert 0.3 < scores.macro_f1 < 0.95
    assert scores.macro_f1 == pytest.approx(
        metrics.f1_score(truth, guess, average="macro"), abs=1e-12
    )
    assert scores.micro_f1 == pytest.approx(scores.accuracy, abs=1e-12)
    assert scores.accuracy == pytest.approx(audmetric.accuracy(truth, guess), abs=1e-12)
    assert scores.uar == pytest.approx(audmetric.unweighted_average_recall(truth, guess), abs=1e-12)
    assert scores.uar == pytest.approx(metrics.balanced_accuracy_score(truth, guess), abs=1e-12)
    assert scores.confusion == tuple(map(tuple, metrics.confusion_matrix(truth, guess)))
    assert macro_f1_of(np.array(scores.confusion)) == pytest.approx(scores.macro_f1, abs=1e-12)
    assert scores.utterances == len(truth) < len(labels)


def test_truth_and_prediction_are_not_swapped() -> None:
    # Two angry, both heard as sad; one sad, heard as sad: by hand, precision of sad 1/3, recall 1.
    scores = classification_scores(np.array([0, 0, 1]), np.eye(4)[[1, 1, 1]], CLASSES)
    named = scores.as_dict()
    assert named["precision_sad"] == pytest.approx(1 / 3)
    assert named["recall_sad"] == 1.0
    assert named["f1_sad"] == pytest.approx(0.5)
    assert scores.confusion[0] == (0, 2, 0, 0)


def test_absent_classes_count_as_zero_and_are_named() -> None:
    scores = classification_scores(np.array([0, 1, -1]), np.eye(4)[[0, 1, 2]], CLASSES)
    assert scores.macro_f1 == scores.uar == 0.5
    assert scores.accuracy == 1.0
    assert scores.absent == ("happy", "neutral")


def test_relabelling_the_classes_changes_no_mean() -> None:
    labels, posteriors = some_predictions()
    order = np.array([2, 0, 3, 1])
    renamed = np.where(labels < 0, -1, np.argsort(order)[labels])
    one = classification_scores(labels, posteriors, CLASSES).as_dict()
    other = classification_scores(
        renamed, posteriors[:, order], [CLASSES[i] for i in order]
    ).as_dict()
    assert one == pytest.approx(other, abs=1e-12)


def test_concordance_agrees_with_audmetric_and_population_variance() -> None:
    rng = np.random.default_rng(1)
    ratings = rng.uniform(1, 7, (200, 3)).astype(np.float32)
    predictions = (0.6 * ratings + rng.normal(0, 1, ratings.shape)).astype(np.float32)
    ratings[:40, 0] = np.nan
    scores = attribute_scores(ratings, predictions)
    y, x = ratings[40:, 0].astype(float), predictions[40:, 0].astype(float)
    by_hand = 2 * np.cov(y, x, ddof=0)[0, 1] / (y.var() + x.var() + (y.mean() - x.mean()) ** 2)
    assert scores.arousal == pytest.approx(by_hand, abs=1e-12)
    assert scores.valence == pytest.approx(
        audmetric.concordance_cc(ratings[:, 1].astype(float), predictions[:, 1].astype(float)),
        abs=1e-12,
    )
    assert scores.as_dict()["ccc_mean"] == pytest.approx(
        (scores.arousal + scores.valence + scores.dominance) / 3
    )
    assert scores.utterances == 200


NOTHING = np.full((3, 4), 0.25)
DAMAGE = {
    "nan posterior": (
        lambda: classification_scores(
            np.arange(3), np.where(np.eye(3, 4) > 0, np.nan, 0.0), CLASSES
        ),
        "NaN or infinity",
    ),
    "infinite posterior": (
        lambda: classification_scores(
            np.array([-1, 0, 1]), np.array([[np.inf] * 4, *NOTHING[:2]]), CLASSES
        ),
        "NaN or infinity",
    ),
    "too few posteriors": (
        lambda: classification_scores(np.arange(4), NOTHING, CLASSES),
        "do not fit",
    ),
    "too few classes": (
        lambda: classification_scores(np.arange(3), NOTHING, CLASSES[:3]),
        "do not fit",
    ),
    "nothing labelled": (
        lambda: classification_scores(np.full(3, -1), NOTHING, CLASSES),
        "no utterance has a label",
    ),
    "empty": (
        lambda: classification_scores(np.zeros(0, int), NOTHING[:0], CLASSES),
        "no utterance has a label",
    ),
    "label out of range": (
        lambda: classification_scores(np.array([0, 4, 1]), NOTHING, CLASSES),
        "label 4 is not",
    ),
    "negative label": (
        lambda: classification_scores(np.array([0, -2, 1]), NOTHING, CLASSES),
        "label -2 is not",
    ),
    "prediction out of range": (
        lambda: macro_f1_interval(np.arange(3), np.array([0, 1, 9]), CLASSES, "abc"),
        "prediction 9 is not",
    ),
    "more predictions": (
        lambda: macro_f1_interval(np.arange(3), np.arange(4), CLASSES, "abc"),
        "do not fit",
    ),
    "nan attribute": (
        lambda: attribute_scores(np.ones((2, 3)), np.array([[1, 2, np.nan], [1, 2, 3]])),
        "NaN or infinity",
    ),
    "infinite rating": (
        lambda: attribute_scores(np.array([[1, 2, np.inf], [1, 2, 3]]), np.ones((2, 3))),
        "rating is infinite",
    ),
    "attribute shapes": (lambda: attribute_scores(np.ones((2, 3)), np.ones((3, 3))), "must be"),
    "two attributes": (lambda: attribute_scores(np.ones((2, 2)), np.ones((2, 2))), "must be"),
    "unrated attribute": (
        lambda: attribute_scores(np.array([[1, 2, np.nan], [1, 2, 3]]), np.ones((2, 3))),
        "dominance has 1 rating",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_cannot_be_scored_is_refused(case: str) -> None:
    call, message = DAMAGE[case]
    with pytest.raises(EvaluationError, match=message):
        call()
