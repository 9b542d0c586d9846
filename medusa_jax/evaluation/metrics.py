"""F1, accuracy and recall of the classes, and concordance of the attributes.

Scikit-learn and audmetric compute them; only F1 of many confusion matrices at once, for
intervals, is computed here, and a test compares it with scikit-learn's.

Legend: `n` utterance, `c` class, `a` attribute, `s` sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from medusa_jax.errors import EvaluationError

ATTRIBUTES = ("arousal", "valence", "dominance")


@dataclass(frozen=True)
class ClassificationScores:
    """Scores over `utterances` labelled utterances; scores by class are in the order of `classes`.

    `confusion[i][j]` counts utterances of class i predicted as class j. `absent` names the classes
    without a labelled example, which count as 0 in the means.
    """

    classes: tuple[str, ...]
    macro_f1: float
    micro_f1: float
    accuracy: float
    uar: float
    f1: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    utterances: int
    absent: tuple[str, ...]

    @property
    def weighted_f1(self) -> float:
        """Mean F1 of the classes, each weighted by its number of labelled utterances."""
        return float(weighted_f1_of(np.array(self.confusion)))

    def as_dict(self) -> dict[str, float]:
        """The numbers under flat names: `macro_f1`, …, `f1_angry`, `precision_angry`, …"""
        whole = {
            name: getattr(self, name)
            for name in ("macro_f1", "micro_f1", "accuracy", "uar", "utterances")
        }
        return whole | {
            f"{kind}_{c}": x
            for kind in ("f1", "precision", "recall")
            for c, x in zip(self.classes, getattr(self, kind), strict=True)
        }


@dataclass(frozen=True)
class AttributeScores:
    """Concordance correlation (−1 to 1) of each attribute.

    NaN where ratings and predictions are the same constant.
    """

    arousal: float
    valence: float
    dominance: float
    utterances: int

    @property
    def mean(self) -> float:
        """Mean of the three."""
        return (self.arousal + self.valence + self.dominance) / 3

    def as_dict(self) -> dict[str, float]:
        """The numbers under flat names: `ccc_arousal`, …, `ccc_mean`, `rated_utterances`."""
        return {f"ccc_{name}": getattr(self, name) for name in (*ATTRIBUTES, "mean")} | {
            "rated_utterances": self.utterances
        }


def classification_scores(
    labels: np.ndarray, posteriors: np.ndarray, classes: Sequence[str]
) -> ClassificationScores:
    """Score `posteriors` `[n, c]` (any finite scores; the highest wins) against `labels` `[n]`.

    Labels are class indices, −1: not scored. The means run over all `classes`, with or without an
    example. Raises `EvaluationError` for scores that are not finite, labels out of range, shapes
    that do not fit, or no labelled utterance.
    """
    from sklearn import metrics

    _check_shape(labels, posteriors, classes)
    check_finite(posteriors, "posteriors")
    truth_n, guess_n = scored(labels, posteriors.argmax(axis=1), classes)
    every = np.arange(len(classes))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth_n, guess_n, labels=every, zero_division=0
    )
    micro_f1 = metrics.f1_score(truth_n, guess_n, labels=every, average="micro", zero_division=0)
    confusion = metrics.confusion_matrix(truth_n, guess_n, labels=every).tolist()
    return ClassificationScores(
        classes=tuple(classes),
        macro_f1=float(f1.mean()),
        micro_f1=float(micro_f1),
        accuracy=float(metrics.accuracy_score(truth_n, guess_n)),
        uar=float(recall.mean()),
        f1=tuple(f1.tolist()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        confusion=tuple(map(tuple, confusion)),
        utterances=len(truth_n),
        absent=tuple(c for c, count in zip(classes, support, strict=True) if count == 0),
    )


def _check_shape(labels: np.ndarray, posteriors: np.ndarray, classes: Sequence[str]) -> None:
    if posteriors.shape != (len(labels), len(classes)):
        shape = f"posteriors of shape {posteriors.shape}"
        raise EvaluationError(
            f"{shape} do not fit {len(labels)} labels and {len(classes)} classes",
            hint="score a system on the table of utterances that it predicted",
        )


def attribute_scores(ratings: np.ndarray, predictions: np.ndarray) -> AttributeScores:
    """Concordance of `predictions` with `ratings`, both `[n, 3]` (arousal, valence, dominance).

    NaN ratings are left out; variances are those of the whole set, never averaged over batches.
    Raises `EvaluationError` for predictions that are not finite, shapes that do not fit, or an
    attribute with fewer than two ratings.
    """
    import audmetric

    check_ratings(ratings, predictions)
    # float64 first: the sums of a hundred thousand float32 ratings lose the fourth digit.
    truth_na, guess_na = ratings.astype(np.float64), predictions.astype(np.float64)
    rated_na = ~np.isnan(ratings)
    arousal, valence, dominance = (
        float(audmetric.concordance_cc(truth_na[rated_na[:, a], a], guess_na[rated_na[:, a], a]))
        for a in range(3)
    )
    return AttributeScores(arousal, valence, dominance, utterances=int(rated_na.any(axis=1).sum()))


def macro_f1_of(confusion: Num[np.ndarray, "*s c c"]) -> Float[np.ndarray, "*s"]:
    """Macro-F1 of each confusion matrix, true class first."""
    return np.asarray(f1_of(confusion).mean(axis=-1))


def weighted_f1_of(confusion: Num[np.ndarray, "*s c c"]) -> Float[np.ndarray, "*s"]:
    """F1 of the classes of each confusion matrix, weighted by their true counts; 0 without any."""
    support, f1 = confusion.sum(axis=-1), f1_of(confusion)
    total = support.sum(axis=-1)
    weighted = (support * f1).sum(axis=-1)
    return np.divide(weighted, total, out=np.zeros(total.shape), where=total > 0)


def accuracy_of(confusion: Num[np.ndarray, "*s c c"]) -> Float[np.ndarray, "*s"]:
    """Share of hits of each confusion matrix; 0 without any utterance."""
    total = confusion.sum(axis=(-2, -1))
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    return np.divide(hits, total, out=np.zeros(total.shape), where=total > 0)


def f1_of(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class `[…, c]` from counts `[…, true, predicted]`.

    0 for a class that neither occurs nor is predicted.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)


def scored(
    labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted class indices of the labelled utterances, both `[n]`.

    Raises `EvaluationError` for shapes that do not fit, no labelled utterance, or an index of no
    class.
    """
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise EvaluationError(
            f"labels of shape {labels.shape} do not fit predictions of shape {predictions.shape}"
        )
    truth_n, guess_n = labels[labels != -1], predictions[labels != -1]
    if len(truth_n) == 0:
        raise EvaluationError(
            "no utterance has a label to score against", hint="choose a split that is labelled"
        )
    for name, index_n in (("label", truth_n), ("prediction", guess_n)):
        bad = (index_n < 0) | (index_n >= len(classes))
        if bad.any():
            known = f"the {len(classes)} classes ({', '.join(classes)})"
            raise EvaluationError(f"{name} {index_n[bad][0]} is not the index of one of {known}")
    return truth_n, guess_n


def check_ratings(ratings: np.ndarray, predictions: np.ndarray) -> None:
    """Raise `EvaluationError` unless attributes can be scored.

    Both must be `[n, 3]`, predictions finite, and each attribute rated at least twice.
    """
    if not ratings.shape == predictions.shape == (len(ratings), len(ATTRIBUTES)):
        shapes = f"ratings of shape {ratings.shape} and predictions of shape {predictions.shape}"
        raise EvaluationError(f"{shapes}: both must be [utterance, 3]")
    check_finite(predictions, "attribute predictions")
    if np.isinf(ratings).any():
        raise EvaluationError(
            "a rating is infinite", where=f"row {np.isinf(ratings).any(axis=1).argmax()}"
        )
    for name, rated_n in zip(ATTRIBUTES, (~np.isnan(ratings)).T, strict=True):
        if rated_n.sum() < 2:
            raise EvaluationError(
                f"{name} has {rated_n.sum()} rating(s): concordance needs two",
                hint="choose a split with attribute ratings",
            )


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise `EvaluationError` with the first row of `values` `[n, …]` that is not finite."""
    bad_n = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad_n.any():
        raise EvaluationError(
            f"the {name} of {bad_n.sum()} utterance(s) hold NaN or infinity",
            where=f"row {bad_n.argmax()}",
            hint="train the member again; it diverged",
        )
