"""Which epoch is best: mean Macro-F1 over several class-balanced samples of the held-out part (spec section 6)."""

import numpy as np


def balanced_macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int, draws: int, seed: int) -> float:
    """Mean Macro-F1 over `draws` random samples with as many utterances of each class as the smallest has.

    `labels` `[n]` are class indices (−1 does not count), `predicted` `[n]` likewise. The classes that do not occur among
    the labels are left out; the samples depend on (labels, seed) only, so that epochs are compared on equal samples.
    """
    present = [c for c in range(classes) if (labels == c).any()]
    size = min(int((labels == c).sum()) for c in present)
    rng = np.random.default_rng((seed, 3))
    scores = []
    for _ in range(draws):
        chosen = np.concatenate([rng.choice(np.flatnonzero(labels == c), size, replace=False) for c in present])
        confusion = np.bincount(labels[chosen] * classes + predicted[chosen], minlength=classes**2).reshape(classes, classes)
        scores.append(float(f1_of(confusion)[present].mean()))
    return float(np.mean(scores))


def f1_of(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class `[..., c]` from counts `[..., true, predicted]`; 0 where a class is neither true nor predicted."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)
