"""Scores that choose an epoch: Macro-F1 as on a class-balanced test set (paper section 4).

Legend: `n` utterance, `c` class, `r` true class, `k` utterance of a draw.
"""

import numpy as np

from medusa_jax.evaluation.metrics import f1_of


def selection_score(
    labels: np.ndarray, predicted: np.ndarray, classes: int, how: str, draws: int, seed: int
) -> float:
    """Macro-F1 of the predicted classes `[n]`, all classes among `labels` counting alike.

    `labels` are class indices; rows with −1 are ignored. `how` is `balanced_draws`, the mean over
    `draws` class-balanced samples (the paper's), or `class_weighted`, the F1 of the confusion
    matrix that such samples have on average: every row is used, and chance plays no part.
    """
    if how == "class_weighted":
        return class_weighted_macro_f1(labels, predicted, classes)
    return balanced_macro_f1(labels, predicted, classes, draws, seed)


def balanced_draws(labels: np.ndarray, classes: int, draws: int, seed: int) -> np.ndarray:
    """Positions `[draw, k]` of random samples with as many utterances a class as the smallest has.

    `labels` `[n]` are class indices (−1 is ignored). Classes that do not occur are left out. The
    samples depend on (labels, seed) only, so that epochs are compared on equal samples.
    """
    members = [np.flatnonzero(labels == c) for c in range(classes) if (labels == c).any()]
    size = min(map(len, members))
    rng = np.random.default_rng((seed, 3))
    samples = []
    for _ in range(draws):
        sample = [rng.choice(one, size, replace=False) for one in members]
        samples.append(np.concatenate(sample))
    return np.stack(samples)


def balanced_macro_f1(
    labels: np.ndarray, predicted: np.ndarray, classes: int, draws: int, seed: int
) -> float:
    """Mean Macro-F1 of the predicted classes `[n]` over `balanced_draws`."""
    present = np.unique(labels[labels >= 0])
    scores = []
    for chosen in balanced_draws(labels, classes, draws, seed):
        counts = confusion(labels[chosen], predicted[chosen], classes)
        scores.append(float(f1_of(counts)[present].mean()))
    return float(np.mean(scores))


def class_weighted_macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Macro-F1 of the confusion matrix of all labelled rows, each true class scaled to weight 1."""
    rates_rc, present = _rates(labels, predicted, classes)
    return float(f1_of(rates_rc)[present].mean())


def class_weighted_error(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Standard error of `class_weighted_macro_f1`, by the delta method.

    The predictions of each true class are taken as independent draws from one distribution.
    """
    rates_rc, present = _rates(labels, predicted, classes)
    counts_r = np.bincount(labels[labels >= 0], minlength=classes)[present]
    total_c = rates_rc.sum(axis=0) + rates_rc.sum(axis=1)
    f1_c = f1_of(rates_rc)
    # F1_c = 2·rate_cc / total_c, and total_c has every rate_rc of its column once.
    slope_rc = np.tile(
        -np.divide(f1_c, total_c, out=np.zeros(classes), where=present), (classes, 1)
    )
    slope_rc += np.diag(np.divide(2, total_c, out=np.zeros(classes), where=present))
    rates_rc, slope_rc = rates_rc[present], slope_rc[present] / present.sum()
    mean_r = (rates_rc * slope_rc).sum(axis=1)
    variance_r = (rates_rc * slope_rc**2).sum(axis=1) - mean_r**2
    return float(np.sqrt((variance_r / counts_r).sum()))


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts `[true, predicted]` of the rows; every label must be a class index."""
    pairs = labels * classes + predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _rates(
    labels: np.ndarray, predicted: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shares `[r, c]` of the predictions of each true class, and which classes occur `[r]`."""
    known = labels >= 0
    counts_rc = confusion(labels[known], predicted[known], classes)
    total_r1 = counts_rc.sum(axis=1, keepdims=True)
    return counts_rc / np.maximum(total_r1, 1), total_r1[:, 0] > 0
