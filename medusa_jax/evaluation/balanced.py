"""Which epoch is best: mean Macro-F1 over several class-balanced samples of the held-out part (spec section 6)."""

import numpy as np


def balanced_draws(labels: np.ndarray, classes: int, draws: int, seed: int) -> np.ndarray:
    """Positions `[draw, k]` of `draws` random samples with as many utterances of each class as the smallest has.

    `labels` `[n]` are class indices (−1 does not count). The classes that do not occur among the labels are left out; the
    samples depend on (labels, seed) only, so that epochs are compared on equal samples.
    """
    members = [np.flatnonzero(labels == c) for c in range(classes) if (labels == c).any()]
    size = min(map(len, members))
    rng = np.random.default_rng((seed, 3))
    return np.stack(
        [
            np.concatenate([rng.choice(one, size, replace=False) for one in members])
            for _ in range(draws)
        ]
    )


def balanced_macro_f1(
    labels: np.ndarray, predicted: np.ndarray, classes: int, draws: int, seed: int
) -> float:
    """Mean Macro-F1 of the predicted classes `[n]` over `balanced_draws`."""
    present = np.unique(labels[labels >= 0])
    scores = []
    for chosen in balanced_draws(labels, classes, draws, seed):
        confusion = np.bincount(
            labels[chosen] * classes + predicted[chosen], minlength=classes**2
        ).reshape(classes, classes)
        scores.append(float(f1_of(confusion)[present].mean()))
    return float(np.mean(scores))


def f1_of(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class `[..., c]` from counts `[..., true, predicted]`; 0 where a class is neither true nor predicted."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)
